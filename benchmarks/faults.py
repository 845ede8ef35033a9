"""An experiment that is killed at random moments and resumed, beside an undisturbed run of the same command.

    python -m benchmarks.faults [--kills N] [--longest SECONDS] [--seed N] EXPERIMENT [OPTION ...]

For example `python -m benchmarks.faults experiments.data_market --seeds 6 --images 10`. The command runs once
undisturbed. Then it runs again in another folder, gets SIGKILL at a random moment, and starts again with the same
`--out`, until it was killed so many times; the last start is left alone. Every other kill comes at a random time after
the start, up to `--longest`. The others come at a random time after the next run has finished, so that there is
something to lose: up to the time of a run.

Everything in the two `results.json` has to be equal, except what is named "seconds". Every run that was finished at a
kill has to be in the last results as it was, seconds included: it was not repeated. At half of the kills at least, some
runs must have finished and others not, or nothing is proven.
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
    """Return 0 if nothing was lost or repeated, and 1 if it was, too few runs had finished, or the command fails."""
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
        runs = len(finished(calm))
        console.print(f"undisturbed: {took:.0f} s, {runs} runs")
        rng = random.Random(options.seed)
        kept: list[dict[str, Any]] = []
        for kill in range(options.kills):
            process = start(options.command, killed)
            longest = options.longest or took / 2
            if kill % 2:
                while process.poll() is None and len(finished(killed)) == len(kept[-1]):
                    time.sleep(0.01)
                longest = took / runs
            try:
                process.wait(timeout=rng.uniform(0, longest))
                console.print(f"the run ended after {kill} kills, with status {process.returncode}: ask for more runs")
                return 1
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kept.append(finished(killed))
                console.print(f"kill {kill + 1}: {len(kept[-1])} of {runs} runs finished")
        if start(options.command, killed).wait() != 0:
            console.print("the last start failed")
            return 1
        telling = sum(0 < len(some) < runs for some in kept)
        same = outcome(calm) == outcome(killed)
        last = finished(killed)
        changed = {name for some in kept for name, run in some.items() if last.get(name) != run}
        console.print(
            f"{options.kills} kills, {telling} of them with some runs finished and some not; undisturbed {took:.0f} s; "
            f"{len(changed)} finished runs were lost or made again; "
            f"the results are {'the same' if same else 'different'}"
        )
        return 0 if same and not changed and 2 * telling >= options.kills else 1


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


def finished(folder: Path) -> dict[str, Any]:
    """The runs that `results.json` holds, by name."""
    path = folder / "results.json"
    return json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else {}


def outcome(folder: Path) -> Any:
    """The results without the times."""
    return json.loads((folder / "results.json").read_text(encoding="utf-8"), object_hook=_without_seconds)


def _without_seconds(part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name != "seconds"}


if __name__ == "__main__":
    sys.exit(main())
