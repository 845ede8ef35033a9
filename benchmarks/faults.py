"""An experiment that is killed at random moments and resumed, beside an undisturbed run of the same command.

    python -m benchmarks.faults [--kills N] [--longest SECONDS] [--seed N] EXPERIMENT [OPTION ...]

For example `python -m benchmarks.faults experiments.data_market --seeds 1 --images 10`. The command runs once
undisturbed. Then it runs again in another folder: each time it gets SIGKILL after a random time, up to `--longest`,
and starts again with the same `--out`, until it was killed so many times; the last start is left alone. Everything in
the two `results.json` has to be equal, except what is named "seconds".
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if the results are the same, and 1 if they differ, the run ended too early, or the command fails."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--longest", type=float, metavar="SECONDS", help="(default: half of the undisturbed run)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments (default: %(default)s)")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="EXPERIMENT [OPTION ...]")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory() as folder:
        calm, killed = Path(folder, "calm"), Path(folder, "killed")
        began = time.monotonic()
        if start(options.command, calm).wait() != 0:
            console.print("the undisturbed run failed")
            return 1
        took = time.monotonic() - began
        console.print(f"undisturbed: {took:.0f} s, {finished(calm)} runs")
        rng = random.Random(options.seed)
        for kill in range(options.kills):
            process = start(options.command, killed)
            try:
                process.wait(timeout=rng.uniform(0, options.longest or took / 2))
                console.print(f"the run ended after {kill} kills, with status {process.returncode}: lower --longest")
                return 1
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                console.print(f"kill {kill + 1}: {finished(killed)} of {finished(calm)} runs finished")
        if start(options.command, killed).wait() != 0:
            console.print("the last start failed")
            return 1
        same = outcome(calm) == outcome(killed)
        console.print(
            f"{options.kills} kills; undisturbed {took:.0f} s; the results are {'the same' if same else 'different'}"
        )
        return 0 if same else 1


def start(command: list[str], out: Path) -> subprocess.Popen[bytes]:
    """Start the experiment, without its output; all starts share what they compile, so that little is repeated."""
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(out.parent / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return subprocess.Popen(
        [sys.executable, "-m", *command, "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**cache, **os.environ},
    )


def finished(folder: Path) -> int:
    """How many runs `results.json` holds."""
    path = folder / "results.json"
    return len(json.loads(path.read_text(encoding="utf-8"))["runs"]) if path.exists() else 0


def outcome(folder: Path) -> Any:
    """The results without the times."""
    return json.loads((folder / "results.json").read_text(encoding="utf-8"), object_hook=_without_seconds)


def _without_seconds(part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name != "seconds"}


if __name__ == "__main__":
    sys.exit(main())
