"""The evaluator: kills that lose nothing, what an evaluation costs beside the utility, and two workers against one.

    python -m benchmarks.evaluator [--case CASE ...] [--quick] [--out FOLDER]

Cases: a stored run of 500 evaluations of a host function, killed 20 times at random moments and started again, against
one that is left alone; a race of the ways to evaluate a function that does nothing; a race of one worker and two at a
function that sleeps for a second. No peer takes part. Stores lie in the folder for temporary files ($TMPDIR).
"""

import argparse
import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from benchmarks.command import Cases, run_benchmark
from benchmarks.environments import OURS
from benchmarks.harness import ROOT, Agreement, Answers, Bench, Pair, Side

JAXVAL = "evaluator_jaxval"
DESIGNS = {
    "regress_shapley": ("regressed", 0),
    "regress_shapley, two workers": ("regressed", 2),
    "run_estimator, its state saved": ("permutations", 0),
}


class Killing(NamedTuple):
    """What came of a run that was killed again and again.

    Attributes:
        folder: with the log, the store and the values.
        recorded: after each kill, what the store held: value by coalition.
        lines: after each kill, how many lines the log had.
        seconds: of each run until its kill, the last one until its end.
    """

    folder: Path
    recorded: list[dict[str, bytes]]
    lines: list[int]
    seconds: list[float]


def kills(bench: Bench, options: argparse.Namespace) -> None:
    """SIGKILLs at random moments, from the start of the interpreter to the last evaluation."""
    number, evaluations, seconds = (3, 40, 0.01) if options.quick else (20, 500, 0.02)
    for title, (design, workers) in DESIGNS.items():
        rng = np.random.default_rng(options.seed)
        with tempfile.TemporaryDirectory() as name:
            arguments = [design, str(workers), str(evaluations), str(seconds)]
            bench.tell(f"kills: {title}: left alone")
            alone = Path(name, "alone")
            alone.mkdir()
            before, total = first_call_and_end(alone, arguments, options.limit)
            expected = {line.split()[1] for line in log(alone)}
            killed = Path(name, "killed")
            killed.mkdir()
            moments = list(random_moments(rng, number, len(expected), seconds, before))
            killing = kill_again_and_again(bench, title, killed, arguments, moments, options.limit)
            bench.add(judged(title, killing, alone, expected, len(moments)) | {"seconds_alone": total})


def random_moments(
    rng: np.random.Generator, number: int, evaluations: int, seconds: float, before: float
) -> Iterator[tuple[int | None, float]]:
    """After how many more calls, and how long after that; or, one in five, how long after the start."""
    for i in range(number):
        if i % 5 == 4:
            yield None, rng.uniform(0, before)
        else:
            yield int(rng.integers(0, max(2, int(1.5 * evaluations / (number + 1))))), rng.uniform(0, 1.2 * seconds)


def kill_again_and_again(
    bench: Bench, title: str, folder: Path, arguments: list[str], moments: list[tuple[int | None, float]], limit: float
) -> Killing:
    recorded, lines, seconds = [], [], []
    for i, (calls, delay) in enumerate(moments):
        bench.tell(f"kills: {title}: {i + 1} of {len(moments)}, {len(log(folder)) // 2} evaluations so far")
        begun, there = time.perf_counter(), len(log(folder))
        with launched(folder, arguments) as process:
            while calls is not None and begun_calls(log(folder)[there:]) <= calls and process.poll() is None:
                if time.perf_counter() - begun > limit:
                    raise TimeoutError(f"no {calls} calls within {limit} s")
                time.sleep(0.001)
            time.sleep(delay)
            alive = process.poll() is None
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            seconds.append(time.perf_counter() - begun)
        if not alive:
            raise RuntimeError(f"the run ended before kill {i + 1}: {(folder / 'noise.txt').read_text()[-500:]}")
        time.sleep(0.3)  # for workers to see that their parent is gone
        recorded.append(held(folder))
        lines.append(len(log(folder)))
    begun = time.perf_counter()
    with launched(folder, arguments) as process:
        if process.wait(timeout=limit):
            raise RuntimeError((folder / "noise.txt").read_text()[-500:])
    return Killing(folder, recorded, lines, [*seconds, time.perf_counter() - begun])


def judged(title: str, killing: Killing, alone: Path, expected: set[str], number: int) -> dict[str, Any]:
    """No evaluation that the store held was made again or lost, and the values are the same to the bit."""
    lines = [line.split() for line in log(killing.folder)]
    final, wanted = held(killing.folder), held(alone)
    again = sum(
        what == "begun" and mask in held_then
        for held_then, start in zip(killing.recorded, killing.lines, strict=True)
        for what, mask in lines[start:]
    )
    later = [*killing.recorded[1:], final]
    lost = sum(
        other.get(mask) != value
        for one, other in zip(killing.recorded, later, strict=True)
        for mask, value in one.items()
    )
    begun = Counter(mask for what, mask in lines if what == "begun")
    ended = Counter(mask for what, mask in lines if what == "ended")
    differ = differing_bits(killing.folder / "values.npz", alone / "values.npz")
    target = lambda what, got, most: {"what": what, "wanted": f"at most {most}", "got": got, "met": got <= most}  # noqa: E731
    return {
        "case": "kills",
        "sizes": {"run": title, "kills": number, "evaluations": len(expected)},
        "sides": [],
        "pairs": [
            {
                "ours": "killed",
                "theirs": "left alone",
                "at_least": None,
                "gap": float(differ),
                "limit": 0.0,
                "unit": "numbers that are not the same to the bit",
                "agrees": differ == 0 and final == wanted,
            },
        ],
        "targets": [
            target("recorded and evaluated again", again, 0),
            target("recorded and lost", lost, 0),
            target("coalitions missed", len(expected - set(begun)), 0),
            target("coalitions beside those of the other run", len(set(begun) - expected), 0),
            target("numbers that are not the same to the bit", differ, 0),
            target("entries of the stores that differ", sum(final.get(m) != wanted.get(m) for m in final | wanted), 0),
        ],
        "measured": {
            "kills": len(killing.recorded),
            "calls begun": begun.total(),
            "calls ended": ended.total(),
            "running at a kill, run again": begun.total() - ended.total(),
            "ended as the kill came, not recorded, run again": ended.total() - len(ended),
            "recorded at each kill": [len(one) for one in killing.recorded],
            "seconds until each kill and to the end": [round(second, 3) for second in killing.seconds],
        },
    }


def first_call_and_end(folder: Path, arguments: list[str], limit: float) -> tuple[float, float]:
    """Seconds to the first call of a run that nobody disturbs, and to its end."""
    begun, first = time.perf_counter(), None
    with launched(folder, arguments) as process:
        while process.poll() is None:
            if first is None and log(folder):
                first = time.perf_counter() - begun
            if time.perf_counter() - begun > limit:
                raise TimeoutError(f"the run did not end within {limit} s")
            time.sleep(0.005)
    if process.returncode or first is None:
        raise RuntimeError((folder / "noise.txt").read_text()[-500:])
    return first, time.perf_counter() - begun


@contextlib.contextmanager
def launched(folder: Path, arguments: list[str]) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", "benchmarks.workers.evaluator_run", str(folder), *arguments]
    with (folder / "noise.txt").open("w") as noise, subprocess.Popen(command, cwd=ROOT, stderr=noise) as process:
        try:
            yield process
        finally:
            process.kill()


def log(folder: Path) -> list[str]:
    path = folder / "calls.log"
    return path.read_text().splitlines() if path.exists() else []


def begun_calls(lines: list[str]) -> int:
    return sum(line.startswith("begun") for line in lines)


def held(folder: Path) -> dict[str, bytes]:
    """What a copy of the store holds, so that nobody tidies up the store itself before the run that comes next."""
    if not (folder / "store.sqlite").exists():
        return {}
    with tempfile.TemporaryDirectory() as name:
        for path in folder.glob("store.sqlite*"):
            if not path.name.endswith(".unfinished"):
                shutil.copy(path, name)
        with contextlib.closing(sqlite3.connect(Path(name, "store.sqlite"))) as database:
            rows = database.execute("select mask, value from evaluations").fetchall()
    return {"".join(f"{byte:08b}" for byte in mask): value for mask, value in rows}


def differing_bits(left: Path, right: Path) -> int:
    with np.load(left) as one, np.load(right) as other:
        return sum(int(np.sum(one[name].view(np.uint32) != other[name].view(np.uint32))) for name in one.files)


def overhead(bench: Bench, options: argparse.Namespace) -> None:
    """Different masks of 20 players, each evaluated once; the function of the host adds up its mask."""
    for kind, rows in (("host", 50), ("traced", 200)) if options.quick else (("host", 2000), ("traced", 20_000)):
        masks = different_masks(np.random.default_rng(options.seed), rows, 20)
        stored = {"stored": True}
        if kind == "host":
            ways: dict[str, dict[str, Any]] = {
                "in this process": {},
                "in this process, store on disk": stored,
                "one worker": {"workers": 1},
                "two workers": {"workers": 2},
                "two workers, store on disk": {"workers": 2, **stored},
                "two workers of the standard library": {"workers": 2, "library": True},
            }
            sides = [Side("a plain loop", OURS, JAXVAL, "plain", {}, rows)]
            sides += [Side(name, OURS, JAXVAL, "hosted", way, rows) for name, way in ways.items()]
            base = "a plain loop"
        else:
            base = "chunks"
            sides = [Side(base, OURS, JAXVAL, "traced", {}, rows)]
            sides += [Side("chunks, store on disk", OURS, JAXVAL, "traced", stored, rows)]
        pairs = [Pair(side.name, base) for side in sides[1:]]
        title = {"host": "overhead, host function", "traced": "overhead, utility written in JAX"}[kind]
        record = bench.race(title, {"evaluations": rows}, {"masks": masks}, sides, pairs=pairs, compare=same_utilities)
        medians = {entry["side"]: entry["median"] / rows * 1e6 for entry in record["sides"] if "median" in entry}
        record["measured"] = {f"microseconds an evaluation, {name}": round(each, 2) for name, each in medians.items()}


def scaling(bench: Bench, options: argparse.Namespace) -> None:
    """A function that sleeps, as one that waits for a training elsewhere; workers are there when the clock starts."""
    rows, seconds = (4, 0.05) if options.quick else (10, 1.0)
    masks = different_masks(np.random.default_rng(options.seed), rows, 8)
    ways = {name: {"workers": count, "seconds": seconds} for name, count in (("two workers", 2), ("one worker", 1))}
    bench.race(
        "scaling of a function that sleeps",
        {"evaluations": rows, "seconds": seconds},
        {"masks": masks},
        [Side(name, OURS, JAXVAL, "hosted", way, rows) for name, way in ways.items()],
        pairs=[Pair("two workers", "one worker", None if options.quick else 1.8)],
        compare=same_utilities,
    )


def different_masks(rng: np.random.Generator, rows: int, players: int) -> np.ndarray:
    codes = rng.choice(2**players, rows, replace=False)
    return (codes[:, None] >> np.arange(players)) % 2 == 1


def same_utilities(inputs: Answers, ours: Answers, theirs: Answers) -> Agreement:
    return Agreement(np.abs(ours["utilities"] - theirs["utilities"]).max(), 0, "in utility")


def show_measured(records: list[dict], console: Console) -> None:
    for record in records:
        for name, measured in record.get("measured", {}).items():
            console.print(
                f"{record['case']}, {', '.join(map(str, record['sizes'].values()))}: {name}: {measured}", markup=False
            )


CASES: Cases = {
    "kills": kills,
    "overhead": overhead,
    "scaling": scaling,
}

main = partial(run_benchmark, "evaluator", __doc__, CASES, (), also_show=show_measured)

if __name__ == "__main__":
    sys.exit(main())
