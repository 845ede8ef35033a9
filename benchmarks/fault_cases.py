"""Every command and experiment that resumes, under kills and under broken disks.

    python -m benchmarks.fault_cases [--only NAME ...] [--kills N] [--longest SECONDS] [--seed N] [--out FILE]

Each case runs once undisturbed, then again with SIGKILL at random moments as in `benchmarks.faults`, and must end with
the same results. Afterwards it runs once for each of these faults, which must be named in one sentence that names the
folder or the file, without a traceback:

full disk    the output folder is on a disk with room for less than the results; with more room the run goes on
read-only    the output folder is on a disk that cannot be written
second run   a second run starts in the folder of one that is running
changed byte one byte of the largest files is changed: the file is refused, or the results do not depend on it

A full and a read-only disk are mounted, which takes the rights of root and Linux; without them these two are left out.
The table goes to standard output, and to `--out` as Markdown.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks.faults import _without_seconds

VALUE = ("jaxval.cli", "value", "--resume")
CASES = {
    "value": (*VALUE, "--seeds", "5", "--truth"),
    "value, transformer": (*VALUE, "--policy", "transformer", "--seeds", "2", "--epochs", "1"),
    "two_phase": ("experiments.two_phase", "--replicates", "2", "--steps", "40"),
    "pool_coverage": ("experiments.pool_coverage", "--pools", "20"),
    "sparse_votes": ("experiments.sparse_votes", "--part", "planted", "--seeds", "1"),
    "movielens": ("experiments.movielens", "--synthetic", "--voters", "60", "--comparisons", "500", "--episodes", "1"),
    "federated": ("experiments.federated", "--quick"),
    "data_market": ("experiments.data_market", "--seeds", "3", "--images", "10"),
    "procurement": ("experiments.procurement", "--policy", "linear", "--runs", "3", "--rounds", "3"),
    "synthetic_data": ("experiments.synthetic_data", "--quick"),
    "label_noise": ("experiments.label_noise", "--set", "adult", "--seeds", "1", "--fits", "50", "--rows", "60"),
    "deliberation": ("experiments.deliberation", "--quick"),
    "decisions": ("experiments.decisions", "--policy", "log-linear", "--pairs", "60", "--seeds", "1"),
    "dpo_shapley": ("experiments.dpo_shapley", "--quick", "--seeds", "1"),
    "ultrafeedback": ("experiments.ultrafeedback",),
}
LEFT_OUT = {
    "value --policy FOLDER, --samples, --adapters": "need a published checkpoint",
    "experiments.smollm": "needs a published checkpoint and hours",
    "aggregate, verify": "finish in one piece; their files are written whole or not at all",
}
MOST = 4  # files in which a byte is changed, the largest ones
TOLD = ("No space", "Read-only", "read-only", "full", "another run", "in use", "--out")


class Run(NamedTuple):
    """How a run ended: its status, and what it said on standard error."""

    status: int
    said: str

    @property
    def named(self) -> bool:
        """Whether an error was told in words, without a traceback."""
        return self.status == 2 and "Traceback" not in self.said and any(word in self.said for word in TOLD)


def start(command: tuple[str, ...], out: Path, programs: Path) -> subprocess.Popen[str]:
    """Start the case; all starts share what they compile, so that little is repeated."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(programs), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    words = [sys.executable, "-m", *command, "--out", str(out)]
    null = subprocess.DEVNULL
    return subprocess.Popen(words, stdout=null, stderr=subprocess.PIPE, text=True, env={**cache, **os.environ})


def run(command: tuple[str, ...], out: Path, programs: Path) -> Run:
    """Run the case to its end."""
    process = start(command, out, programs)
    said = process.communicate()[1]
    return Run(process.returncode, said)


def kept(folder: Path) -> int:
    """How many finished parts the folder holds: runs of results.json, or else files of finished work."""
    path = folder / "results.json"
    if path.exists():
        runs = json.loads(path.read_text(encoding="utf-8")).get("runs")
        if runs is not None:
            return len(runs)
    finished = folder / "finished"
    return sum(path.is_file() for path in finished.rglob("*")) if finished.exists() else 0


def outcome(folder: Path) -> Any:
    """The results without times and without the name of the folder."""
    text = (folder / "results.json").read_text(encoding="utf-8").replace(str(folder), "")
    return json.loads(text, object_hook=_without_seconds)


def kills(command: tuple[str, ...], calm: Path, programs: Path, options: argparse.Namespace, took: float) -> str:
    """Kill and resume; a sentence on what came of it."""
    killed, rng, parts = calm.with_name("killed"), random.Random(options.seed), []
    longest = options.longest or took / 2
    for kill in range(options.kills):
        process = start(command, killed, programs)
        try:
            process.communicate(timeout=rng.uniform(0, longest))
            return f"ended after {kill} kills with status {process.returncode}: lower --longest"
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            parts.append(kept(killed))
    last = run(command, killed, programs)
    if last.status != 0:
        return f"the last start failed: {last.said[-300:]}"
    same = "the same" if outcome(calm) == outcome(killed) else "DIFFERENT"
    return f"{same} after {options.kills} kills at {min(parts)} to {max(parts)} of {kept(calm)} parts"


class Disk:
    """A small disk in memory, mounted on a folder; needs root."""

    def __init__(self, folder: Path, size: str) -> None:
        self.folder = folder
        folder.mkdir()
        self._do("mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder))

    def change(self, option: str) -> None:
        """Mount again with an option."""
        self._do("mount", "-o", f"remount,{option}", str(self.folder))

    def __enter__(self) -> "Disk":
        return self

    def __exit__(self, *_: Any) -> None:
        self._do("umount", str(self.folder))

    @staticmethod
    def _do(*words: str) -> None:
        subprocess.run(words, check=True, capture_output=True)


def full_disk(command: tuple[str, ...], calm: Path, programs: Path) -> str:
    """Too little room, then enough."""
    size = sum(path.stat().st_size for path in calm.rglob("*") if path.is_file())
    with Disk(calm.with_name("full"), f"{max(4, size // 2048)}k") as disk:
        first = run(command, disk.folder / "out", programs)
        disk.change("size=2g")
        second = run(command, disk.folder / "out", programs)
        same = second.status == 0 and outcome(disk.folder / "out") == outcome(calm)
    return f"{_told(first)}; then {'the same' if same else f'DIFFERENT ({second.said[-200:]})'}"


def read_only(command: tuple[str, ...], calm: Path, programs: Path) -> str:
    """A folder that cannot be written."""
    with Disk(calm.with_name("read-only"), "1m") as disk:
        disk.change("ro")
        return _told(run(command, disk.folder / "out", programs))


def second_run(command: tuple[str, ...], calm: Path, programs: Path) -> str:
    """A second run in the folder of one that is running."""
    out = calm.with_name("twice")
    first = start(command, out, programs)
    deadline = time.monotonic() + 120
    while not (out.exists() and any(out.iterdir())) and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    second = run(command, out, programs)
    first.communicate()
    same = first.returncode == 0 and outcome(out) == outcome(calm)
    return f"{_told(second)}; the first is {'the same' if same else 'DIFFERENT'}"


def changed_byte(command: tuple[str, ...], calm: Path, programs: Path) -> str:
    """One byte of each of the largest files is changed, in the middle: refused, or without influence."""
    refused = harmless = 0
    largest = sorted((path for path in calm.rglob("*") if path.is_file()), key=os.path.getsize)[-MOST:]
    for path in largest:
        changed = calm.with_name("changed")
        shutil.copytree(calm, changed)
        copy = changed / path.relative_to(calm)
        content = bytearray(copy.read_bytes())
        content[len(content) // 2] ^= 16
        copy.write_bytes(content)
        again = run(command, changed, programs)
        if again.status == 0 and outcome(changed) == outcome(calm):
            harmless += 1
        elif again.status == 2 and "Traceback" not in again.said:
            refused += 1
        else:
            return f"{path.relative_to(calm)}: status {again.status}, USED or {again.said[-200:]!r}"
        shutil.rmtree(changed)
    return f"{refused} refused, {harmless} without influence"


def _told(end: Run) -> str:
    words = " ".join(end.said.split())[-160:]
    return "named" if end.named else f"NOT NAMED (status {end.status}: {words})"


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 1 if a case failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fault_cases",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES), metavar="NAME")
    parser.add_argument("--kills", type=int, default=50, metavar="N", help="0 leaves them out (default: %(default)s)")
    parser.add_argument("--longest", type=float, metavar="SECONDS", help="(default: half of the undisturbed run)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments (default: %(default)s)")
    parser.add_argument("--only-kills", action="store_true", help="leave out the other faults")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the table is added to this file")
    options = parser.parse_args(arguments)
    console, rows = Console(highlight=False, soft_wrap=True), []
    faults = () if options.only_kills else (full_disk, read_only, second_run, changed_byte)
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            calm, programs, began = Path(folder, "calm"), Path(folder, "programs"), time.monotonic()
            first = run(CASES[name], calm, programs)
            if first.status != 0:
                rows.append((name, f"the undisturbed run FAILED: {' '.join(first.said.split())[-200:]}"))
            else:
                warm = time.monotonic()
                run(CASES[name], calm.with_name("warm"), programs)
                took = time.monotonic() - warm
                told = [f"{warm - began:.0f} s, then {took:.0f} s"]
                told += [kills(CASES[name], calm, programs, options, took)] if options.kills else []
                for fault in faults:
                    try:
                        told.append(f"{fault.__name__.replace('_', ' ')}: {fault(CASES[name], calm, programs)}")
                    except (OSError, subprocess.CalledProcessError) as error:
                        told.append(f"{fault.__name__.replace('_', ' ')}: left out ({error})")
                rows.append((name, *told))
        console.print(" | ".join(rows[-1]), markup=False)
        if options.out:
            with options.out.open("a", encoding="utf-8") as table:
                table.write(f"| {' | '.join(rows[-1])} |\n")
    for name, why in LEFT_OUT.items():
        console.print(f"not run: {name} ({why})", markup=False)
    return int(any(word in cell for row in rows for cell in row for word in ("DIFFERENT", "FAILED", "USED", "NOT ")))


if __name__ == "__main__":
    sys.exit(main())
