"""A command under SIGKILL: killed at random moments, resumed, and compared with an undisturbed run."""

import functools
import hashlib
import json
import os
import random
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.fault_starts import Starter

__all__ = ["Calm", "kept", "kill_and_resume", "outcome", "resumed_from", "undisturbed"]

TELLING = 10  # at least so many kills must come when some parts have finished and others not
POLL = 0.05  # seconds between two looks at the parts
VARIES = re.compile(r"second|\btimes?\b|\d s\b|memory|sha256")  # what differs between equal results: times, digests


class Calm(NamedTuple):
    """An undisturbed run: its folder, how many parts it has, and its times in seconds.

    Attributes:
        folder: the output folder.
        parts: how many parts it has.
        seconds: from the start to the end.
        cpu: the CPU seconds of the whole run.
        first: from the start to the end of the first part.
        each: the mean time of a further part.
    """

    folder: Path
    parts: int
    seconds: float
    cpu: float
    first: float
    each: float


def undisturbed(starter: Starter, words: tuple[str, ...], folder: Path) -> Calm | str:
    """Run the command to its end and see when its parts finish; what it said, if it fails."""
    began, process, count, times = time.monotonic(), starter.start(words, folder), 0, []
    while not process.ended():
        if (now := count_parts(folder)) > count:
            times += [time.monotonic() - began] * (now - count)
            count = now
        time.sleep(POLL)
    end = process.wait()
    assert end is not None
    seconds = time.monotonic() - began
    if end.status != 0:
        return f"FAILED, status {end.status}: {' '.join(end.said.split())[-300:]}"
    parts = count_parts(folder)
    times += [seconds] * (parts - len(times))
    each = (times[-1] - times[0]) / max(1, parts - 1) if parts else seconds
    return Calm(folder, parts, seconds, end.seconds, times[0] if parts else seconds, each)


def kill_and_resume(
    starter: Starter,
    words: tuple[str, ...],
    calm: Calm,
    *,
    kills: int,
    rng: random.Random,
    tell: Callable[[int], Any] = lambda kill: None,
    longest: float | None = None,
) -> tuple[dict[str, Any], Path | None]:
    """Kill the command so many times, starting it again with the same words, until its last start ends.

    Before kill k of K, 1 + k (n - 1) / K of the n parts have to be finished. Every other kill waits for that and comes
    at a random time after it. The others come at a random time after the start. A run that ends before all kills were
    made is compared with the undisturbed one, and the rest of the kills go to a further run in another folder.

    Args:
        starter: starts the command.
        words: the options of the command.
        calm: the undisturbed run of the same words.
        kills: K.
        rng: draws the moments.
        tell: called after each kill.
        longest: the most seconds from the start to a kill; None means the time of the first part and of one more.

    Returns:
        What came of it, and a copy of the folder at a kill with some parts finished and others not.
    """
    count, at, runs, lost = calm.parts, 0, 1, 0
    out, held, telling, half = calm.folder.with_name("killed-1"), [], 0, None
    found: dict[str, Any] = {"kills": kills, "parts": count}
    while True:
        process = starter.start(words, out)
        if at < kills:
            goal = min(1 + at * (count - 1) // kills, count - 1)
            after = calm.each
            if at % 2 and count_parts(out) < goal:
                while not process.ended() and count_parts(out) < goal:
                    time.sleep(POLL)
            else:
                after = longest or calm.first + calm.each
            end = process.wait(rng.uniform(0, after))
            if end is None:
                end = process.kill()
            if end.status == -9:
                held.append(kept(out))
                at, finished = at + 1, count_parts(out)
                telling += 0 < finished < count
                if half is None and 2 * finished >= count > finished > 0:
                    half = calm.folder.with_name("half")
                    shutil.copytree(out, half)
                tell(at)
                continue
        else:
            end = process.wait()
        assert end is not None
        if end.status != 0:
            said = " ".join(end.said.split())[-300:]
            return {**found, "kills": at, "fault": f"a start FAILED after {at} kills: {said}"}, half
        lost += count_changed(held, kept(out))
        if outcome(out) != outcome(calm.folder):
            return {**found, "kills": at, "fault": f"results DIFFERENT after {at} kills"}, half
        if at == kills:
            break
        runs += 1
        if runs > kills + 2:
            return {**found, "kills": at, "fault": f"{runs} runs ENDED before their kill: ask for more parts"}, half
        out, held = calm.folder.with_name(f"killed-{runs}"), []
    found |= {"runs": runs, "telling": telling, "lost or repeated": lost, "same": True}
    if lost:
        found["fault"] = f"{lost} parts LOST or repeated"
    elif telling < min(TELLING, kills / 2):
        found["fault"] = f"TOO FEW telling kills: {telling}"
    return found, half


def count_changed(held: list[dict[str, Any]], last: dict[str, Any]) -> int:
    """How many of the parts that were finished at some kill are not in the last results as they were."""
    return len({name for some in held for name, part in some.items() if last.get(name) != part})


def count_parts(folder: Path) -> int:
    """How many parts are finished: runs in `results.json`, or else files of arrays under `finished`."""
    if (runs := _runs(folder)) is not None:
        return len(runs)
    # `os.walk` passes over a folder that the command renames meanwhile.
    return sum(name.endswith(".npz") for *_, names in os.walk(folder / "finished") for name in names)


def _runs(folder: Path) -> dict[str, Any] | None:
    path = folder / "results.json"
    return _parsed(path, path.stat().st_mtime_ns, path.stat().st_ino) if path.exists() else None


@functools.lru_cache(maxsize=2)  # a file that was not replaced is not read again
def _parsed(path: Path, changed: int, number: int) -> dict[str, Any] | None:
    runs = json.loads(path.read_text(encoding="utf-8")).get("runs")
    if not isinstance(runs, dict):
        return None
    if all(isinstance(run, dict) and set(run) == {"settings", "runs"} for run in runs.values()):
        return {f"{part}, {name}": one for part, run in runs.items() for name, one in run["runs"].items()}
    return runs


def kept(folder: Path) -> dict[str, Any]:
    """The finished parts in a folder, by name, with what changes if they are made again.

    These are the runs in `results.json`, seconds included. A command that has none keeps arrays under `finished`, with
    the time at which the file was made, and evaluations in stores.
    """
    if (runs := _runs(folder)) is not None:
        return runs
    parts: dict[str, Any] = {}
    for file in sorted((folder / "finished").rglob("*")):
        name = str(file.relative_to(folder))
        if file.suffix == ".npz":
            parts[name] = [file.stat().st_mtime_ns, hashlib.sha256(file.read_bytes()).hexdigest()]
        elif file.suffix == ".store":
            parts |= {f"{name}, {mask}": value for mask, value in _evaluations(file).items()}
    return parts


def _evaluations(store: Path) -> dict[str, str]:
    """What a store holds, read from a copy of its files, so that the store stays as a kill has left it."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            for file in store.parent.glob(f"{store.name}*"):
                if not file.name.endswith("-shm"):
                    shutil.copy(file, folder)
            with closing(sqlite3.connect(Path(folder, store.name))) as database:
                rows = database.execute("select hex(mask), hex(value) from evaluations").fetchall()
        except (OSError, sqlite3.Error):  # it is just being made
            return {}
    return dict(rows)


def outcome(folder: Path) -> Any:
    """The results without entries of times, sentences about times, and the name of the folder."""

    def steady(part: dict[str, Any]) -> dict[str, Any]:
        return {name: one for name, one in part.items() if not varies(name) and not varies(one)}

    def varies(text: Any) -> bool:
        return isinstance(text, str) and bool(VARIES.search(text))

    text = (folder / "results.json").read_text(encoding="utf-8").replace(str(folder), "")
    return json.loads(text, object_hook=steady)


def resumed_from(folder: Path) -> list[Path]:
    """The files from which a run may resume, the smallest first."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".png" and path.name != ".lock"]
    return sorted(files, key=os.path.getsize)
