"""Sides that run in turn: ours, a peer, ours, a peer, each in its own process, one at a time.

A `Race` starts with one call of every side, which compiles what there is to compile and gives the answers that are
compared; then come the rounds, in each of which every side runs once. A side's speed is its median, and a ratio is
one of medians in one race; processor time, all threads together, stands beside it for machines that are busy. A peer
that cannot be installed, fails or takes too long is reported as such.
"""

import contextlib
import json
import os
import signal
import statistics
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.environments import OURS, Environments, MissingPeerError, Peer

__all__ = ["Agreement", "Answers", "Bench", "FailedRunError", "Pair", "Profile", "Side", "Worker", "sides_of"]

ROOT = Path(__file__).resolve().parents[1]
# NumPy is loaded before the cores are chosen: more threads than cores would wait for each other, busily
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class FailedRunError(Exception):
    """A run that gave no answer; its message says why."""


class Side(NamedTuple):
    """One way to do the work.

    Attributes:
        name: as in the table.
        peer: whose environment it runs in.
        worker: the module in `benchmarks.workers`.
        task: one of its tasks.
        options: keyword arguments of the task.
        items: how many pieces of work one run does; ratios are of times a piece.
        x64: whether JAX computes in float64.
    """

    name: str
    peer: Peer
    worker: str
    task: str
    options: Mapping[str, Any] = {}
    items: float = 1
    x64: bool = False


def sides_of(benchmark: str) -> Callable[..., Side]:
    """The maker of a benchmark's sides; a peer's tasks are in the module `benchmarks.workers.BENCHMARK_PEER`."""

    def side(name: str, peer: Peer, task: str, *, items: float = 1, x64: bool = False, **options: Any) -> Side:
        return Side(name, peer, f"{benchmark}_{peer.name}", task, options, items, x64)

    return side


class Pair(NamedTuple):
    """Two sides to compare, by name.

    Attributes:
        ours: the side whose speed it is about.
        theirs: the side it is compared with.
        at_least: how many times faster it should be; None where there is no target.
        at_most: how many times as long it may take; None where there is no target.
    """

    ours: str
    theirs: str
    at_least: float | None = None
    at_most: float | None = None


class Profile(NamedTuple):
    """Why a side is not faster: how much of its time other sides of the race take for the same amount of work.

    Attributes:
        side: the side that it is about.
        parts: sides that do a part of its work alone, or the least that any way of doing it must do;
            `benchmarks.machine` has those that measure the machine.
        limit: what limits the side and what was tried, in words; every number is measured in the race.
    """

    side: str
    parts: Sequence[str]
    limit: str


class Agreement(NamedTuple):
    """How far two sides' answers are apart, and how far they may be.

    Attributes:
        gap: how far.
        limit: they agree where gap <= limit.
        unit: what the gap is measured in.
    """

    gap: float
    limit: float
    unit: str


Answers = dict[str, np.ndarray]


class Worker:
    """A process that serves the tasks of one module; see `benchmarks.worker`."""

    def __init__(self, python: Path, module: str, *, cores: int, limit: float, environment: Mapping[str, str]) -> None:
        self._limit = limit
        self._noise = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (it lives as long as we)
        self._process = subprocess.Popen(
            [str(python), "-m", "benchmarks.worker", f"benchmarks.workers.{module}", str(cores)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._noise,
            text=True,
            encoding="utf-8",
            cwd=ROOT,
            env=dict(environment) | dict.fromkeys(THREADS, str(cores)),
            start_new_session=True,
        )
        try:
            self.hello = self._read()
        except FailedRunError:
            self.close()
            raise

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send one request and wait for its answer.

        Raises:
            FailedRunError: where the run fails, the process dies, or the limit is over.
        """
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise FailedRunError("the process has ended") from error
        return self._read()

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # it was dead, with something left to say to it
                stream.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._kill()
            self._process.wait()
        self._noise.close()

    def _kill(self) -> None:
        """End the process and those it has started."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()

    def _read(self) -> dict[str, Any]:
        timer = threading.Timer(self._limit, self._kill)
        timer.start()
        line = self._process.stdout.readline()
        late = not timer.is_alive()
        timer.cancel()
        if not line:
            raise FailedRunError(
                f"no answer within {self._limit:g} s" if late else f"the process ended: {self._last_words()}"
            )
        answer = json.loads(line)
        if "error" in answer:
            raise FailedRunError(answer["error"])
        return answer

    def _last_words(self) -> str:
        self._noise.seek(0)
        words = [line.strip() for line in self._noise.read().splitlines() if line.strip()]
        return words[-1] if words else "it said nothing"


class Bench:
    """Runs races, one after the other, and keeps what came out.

    Args:
        environments: where the peers' interpreters are.
        repeats: rounds of every race.
        cores: how many cores each side may use.
        limit: seconds that one call may take.
        tell: called with a sentence on what happens.
        keep: called with all records after every race.
    """

    def __init__(
        self,
        environments: Environments,
        *,
        repeats: int = 5,
        cores: int = 2,
        limit: float = 600,
        tell: Callable[[str], None] = lambda sentence: None,
        keep: Callable[[list[dict[str, Any]]], None] = lambda records: None,
    ) -> None:
        self.records: list[dict[str, Any]] = []
        self.versions: dict[str, dict[str, str]] = {}
        self._environments, self._repeats, self._cores, self._limit = environments, repeats, cores, limit
        self.tell, self._keep = tell, keep
        self._workers: dict[tuple[str, str, bool], Worker] = {}
        self._missing: dict[str, str] = {}

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *_: Any) -> None:
        for worker in self._workers.values():
            worker.close()
        self._workers = {}

    def race(
        self,
        case: str,
        sizes: Mapping[str, Any],
        inputs: Answers,
        sides: Sequence[Side],
        *,
        pairs: Sequence[Pair] = (),
        compare: Callable[[Answers, Answers, Answers], Agreement] | None = None,
        rates: Mapping[str, float] = {},
        seconds: Mapping[str, float] = {},
        gigabytes: Mapping[str, float] = {},
        profiles: Sequence[Profile] = (),
        repeats: int | None = None,
    ) -> dict[str, Any]:
        """Let the sides run in turn on the same inputs and record what comes out.

        Args:
            case: the case's name.
            sizes: what the inputs' sizes are, for the record.
            inputs: NumPy arrays, the same for every side.
            sides: who runs; a side that cannot is recorded with the reason.
            pairs: whose answers and speeds are compared.
            compare: `(inputs, ours, theirs) -> Agreement`, called for every pair.
            rates: targets, items a second, by side.
            seconds: targets, seconds of the first call, by side.
            gigabytes: targets, the most memory of the process, by side.
            profiles: where the time of sides goes.
            repeats: rounds; the bench's where None, and 0 for the first call alone.

        Returns:
            The record, which is in `records` too.
        """
        title = ", ".join([case, *(f"{name} {size}" for name, size in sizes.items())])
        repeats = self._repeats if repeats is None else repeats
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "inputs.npz")
            np.savez(path, **inputs)
            entries, answers = {}, {}
            for side in sides:
                self.tell(f"{title}: first call of {side.name}")
                entries[side.name], answers[side.name] = self._first_call(side, path)
            for i in range(repeats):
                self.tell(f"{title}: round {i + 1} of {repeats}")
                for side in sides:
                    self._run_again(side, path, entries[side.name])
        for side in sides:
            _summarise(side, entries[side.name])
        record = {
            "case": case,
            "sizes": dict(sizes),
            "sides": list(entries.values()),
            "pairs": [_pair(pair, entries, answers, inputs, compare) for pair in pairs],
            "targets": [
                *(
                    _target(f"{name}: items a second", entries[name].get("rate"), least)
                    for name, least in rates.items()
                ),
                *(
                    _target(f"{name}: seconds", entries[name].get("first_seconds"), most, most=True)
                    for name, most in seconds.items()
                ),
                *(
                    _target(f"{name}: GB of memory", entries[name].get("gigabytes"), most, most=True)
                    for name, most in gigabytes.items()
                ),
            ],
        }
        record["targets"] += [
            _target(f"{p['ours']}: times faster than {p['theirs']}", p.get("ratio"), p["at_least"])
            for p in record["pairs"]
            if p["at_least"] is not None
        ]
        record["targets"] += [
            _target(f"{p['ours']}: times as long as {p['theirs']}", p.get("longer"), p["at_most"], most=True)
            for p in record["pairs"]
            if p["at_most"] is not None
        ]
        record["profiles"] = [_profile(profile, entries) for profile in profiles]
        return self.add(record)

    def once(self, side: Side, inputs: Answers) -> Answers:
        """The answers of one call, for what is measured but is no race.

        Raises:
            FailedRunError: where there are none.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "inputs.npz")
            np.savez(path, **inputs)
            entry, answers = self._first_call(side, path)
        if "missing" in entry:
            raise FailedRunError(entry["missing"])
        return answers

    def add(self, record: dict[str, Any]) -> dict[str, Any]:
        """Keep a record."""
        self.records.append(record)
        self._keep(self.records)
        return record

    def _first_call(self, side: Side, path: Path) -> tuple[dict[str, Any], Answers]:
        entry: dict[str, Any] = {"side": side.name, "peer": side.peer.name, "items": side.items}
        entry |= {"seconds": [], "cpu_seconds": []}
        answers_path = path.with_name("answers.npz")
        try:
            worker = self._worker(side)
            self.versions[f"{side.peer.name}, float64" if side.x64 else side.peer.name] = {
                **worker.hello["versions"],
                "device": worker.hello["device"],
                "cores": worker.hello["cores"],
            }
            told = self._ask(side, worker, path, answers_path)
        except (MissingPeerError, FailedRunError) as error:
            self.tell(f"{side.name}: {error}")
            return entry | {"missing": str(error)}, {}
        entry |= {"first_seconds": told["seconds"], "gigabytes": told["gigabytes"]}
        with np.load(answers_path) as archive:
            answers = dict(archive)
        entry["numbers"] = {name: float(answer) for name, answer in answers.items() if answer.ndim == 0}
        return entry, answers

    def _run_again(self, side: Side, path: Path, entry: dict[str, Any]) -> None:
        if "missing" in entry:
            return
        try:
            told = self._ask(side, self._worker(side), path, None)
            if told["first"]:  # a fresh process, because another side's run ended the one they share
                told = self._ask(side, self._worker(side), path, None)
            entry["seconds"].append(told["seconds"])
            entry["cpu_seconds"].append(told["cpu_seconds"])
            entry["gigabytes"] = told["gigabytes"]
        except (MissingPeerError, FailedRunError) as error:
            entry["missing"] = str(error)

    def _ask(self, side: Side, worker: Worker, path: Path, answers: Path | None) -> dict[str, Any]:
        try:
            return worker.ask(
                task=side.task, inputs=str(path), options=dict(side.options), answers=answers and str(answers)
            )
        except FailedRunError:
            self._workers.pop(_key(side)).close()  # the next case begins with a fresh process
            raise

    def _worker(self, side: Side) -> Worker:
        if _key(side) not in self._workers:
            if side.peer.name in self._missing:
                raise MissingPeerError(self._missing[side.peer.name])
            if side.peer.packages and side.peer.name not in self._environments.given:
                self.tell(f"{side.peer.name}: its environment is made where there is none yet")
            try:
                python = self._environments.interpreter(side.peer)
            except MissingPeerError as error:
                self._missing[side.peer.name] = str(error)
                raise
            self._workers[_key(side)] = Worker(
                python, side.worker, cores=self._cores, limit=self._limit, environment=_environment(side)
            )
        return self._workers[_key(side)]


def _key(side: Side) -> tuple[str, str, bool]:
    return side.peer.name, side.worker, side.x64


def _environment(side: Side) -> dict[str, str]:
    """Ours without what would leak: another environment's path, and programs compiled in an earlier run."""
    leaks = {"PYTHONHOME", "VIRTUAL_ENV", "JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_X64"}
    leaks |= set() if side.peer == OURS else {"PYTHONPATH"}
    kept = {name: value for name, value in os.environ.items() if name not in leaks}
    return kept | {"JAX_ENABLE_X64": "1" if side.x64 else "0", "PYTHONSAFEPATH": ""}


def _summarise(side: Side, entry: dict[str, Any]) -> None:
    if "missing" not in entry and entry["seconds"]:
        entry["median"] = statistics.median(entry["seconds"])
        entry["cpu_median"] = statistics.median(entry["cpu_seconds"])
        entry["rate"] = side.items / entry["median"]
        entry["compile_seconds"] = max(0.0, entry["first_seconds"] - entry["median"])


def _pair(
    pair: Pair,
    entries: dict[str, dict[str, Any]],
    answers: dict[str, Answers],
    inputs: Answers,
    compare: Callable[[Answers, Answers, Answers], Agreement] | None,
) -> dict[str, Any]:
    """How much faster ours is, a piece of work for a piece of work, and whether the answers agree."""
    entry: dict[str, Any] = pair._asdict()
    ours, theirs = entries[pair.ours], entries[pair.theirs]
    if "rate" in ours and "rate" in theirs:
        work = ours["items"] / theirs["items"]
        rounds = [work * t / o for o, t in zip(ours["seconds"], theirs["seconds"], strict=True)]
        entry |= {"ratio": ours["rate"] / theirs["rate"], "ratio_range": [min(rounds), max(rounds)]}
        entry["longer"] = 1 / entry["ratio"]
        if ours["cpu_median"] > 0:
            entry["cpu_ratio"] = work * theirs["cpu_median"] / ours["cpu_median"]
    if compare and answers[pair.ours] and answers[pair.theirs]:
        agreement = compare(inputs, answers[pair.ours], answers[pair.theirs])
        gap = float(agreement.gap)
        entry |= {"gap": gap if np.isfinite(gap) else None, "limit": float(agreement.limit), "unit": agreement.unit}
        entry["agrees"] = bool(gap <= agreement.limit)
    return entry


def _profile(profile: Profile, entries: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """A piece of work of the side in seconds, and the share of it that each part takes."""
    rate = entries[profile.side].get("rate")
    parts = [{"side": part, "rate": entries[part].get("rate")} for part in profile.parts]
    for part in parts:
        part["share"] = rate / part["rate"] if rate and part["rate"] else None
    return {"side": profile.side, "rate": rate, "parts": parts, "limit": profile.limit}


def _target(what: str, got: float | None, wanted: float, *, most: bool = False) -> dict[str, Any]:
    met = None if got is None else bool(got <= wanted if most else got >= wanted)
    return {"what": what, "wanted": f"{'at most' if most else 'at least'} {wanted:g}", "got": got, "met": met}
