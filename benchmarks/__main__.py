"""All benchmarks, one after the other, and one table of what came out.

    python -m benchmarks [--only NAME ...] [--quick] [--environment NAME=PATH ...] [--out FOLDER]

Each runs as a command of its own and writes its results to FOLDER/NAME. What has finished is not run again, unless
`--again` is given. FOLDER/benchmarks.md and FOLDER/benchmarks.json hold every race: times with compilation apart,
memory, ratios to the peers and their versions, how times grow with each size, and every target, met or missed.
"""

import argparse
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.command import add_environment_options
from benchmarks.report import growth, machine, tables

RACES = (
    "values_exact",
    "values_sampling",
    "values_regressed",
    "values_neighbours",
    "training_data",
    "evaluator",
    "social_choice",
    "alignment",
    "training",
    "transformer",
    "adapters",
    "language_models",
    "startup",
)
# what has no peer, with the options that make it quick
OTHERS = {
    "sizes": ["--quick"],
    "vote_stream": ["--voters", "1000"],
    "coverage": ["--runs", "20", "--game", "voters, one"],
    "coverage_voters": ["--runs", "10"],
    "coverage_weights": ["--runs", "1"],
    "faults": ["--quick"],
}
STATUS = {0: "0", 1: "1: answers differ, or a limit is not kept", 2: "2: an option is wrong or data are missing"}


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for, write both files, print the table; the exit status is the greatest of the benchmarks'."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    names = [*RACES, *OTHERS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all works; no targets")
    parser.add_argument("--again", action="store_true", help="also run what has finished")
    parser.add_argument("--repeats", type=int, metavar="N", help="rounds of every race (default: each benchmark's own)")
    parser.add_argument("--out", type=Path, default=Path("results", "benchmarks"), metavar="FOLDER")
    add_environment_options(parser, "any peer")
    options = parser.parse_args(arguments)
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    runs = []
    for i, name in enumerate(options.only):
        console.print(f"{i + 1} of {len(options.only)}: {name}", markup=False)
        runs.append(_run(name, options))
        _write(options.out, runs)
    Console(width=max(Console().width, 140)).print(*_tables(runs), sep="\n")
    console.print(f"written to {options.out}: benchmarks.md, benchmarks.json", markup=False)
    return max(run["status"] for run in runs)


def _run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one benchmark, unless it has finished with the same options; its tables go to FOLDER/NAME/output.txt."""
    folder = options.out / name
    command = [*_command(name, options), *([] if name == "vote_stream" else ["--out", str(folder)])]
    finished, results = folder / "finished.json", folder / "results.json"
    if finished.exists() and not options.again:
        run = json.loads(finished.read_text(encoding="utf-8"))
        if run["command"] == command:
            return run
    folder.mkdir(parents=True, exist_ok=True)
    results.unlink(missing_ok=True)
    began = time.perf_counter()
    with (folder / "output.txt").open("w", encoding="utf-8") as output:
        status = subprocess.run([sys.executable, "-m", *command], stdout=output).returncode
    if status < 0 or status == 130:
        raise KeyboardInterrupt
    run = {"name": name, "command": command, "status": status, "seconds": time.perf_counter() - began}
    run |= json.loads(results.read_text(encoding="utf-8")) if name in RACES and results.exists() else {}
    finished.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return run


def _command(name: str, options: argparse.Namespace) -> list[str]:
    module = f"benchmarks.{name}"
    if name in OTHERS:
        return [module, *(OTHERS[name] if options.quick else [])]
    peers = {peer.name for peer in getattr(importlib.import_module(module), "PEERS", ())}
    given = [f"{peer}={path}" for peer, path in options.environment if peer in peers]
    return [
        module,
        *(["--quick"] if options.quick else []),
        *(["--repeats", str(options.repeats)] if options.repeats else []),
        *(["--environment", *given] if given else []),
        *(["--ours"] if options.ours else []),
        *["--python", options.python, "--environments", str(options.environments)],
    ]


def _tables(runs: Sequence[dict[str, Any]]) -> list[Table]:
    """Those of all races together, how their times grow, the versions, and the status of every benchmark."""
    records = [record for run in runs for record in run.get("records", ())]
    versions = Table(title="versions", title_justify="left")
    for name in ("benchmark", "side", "versions"):
        versions.add_column(name)
    status = Table(title="benchmarks", title_justify="left")
    for name in ("benchmark", "seconds", "status"):
        status.add_column(name)
    for run in runs:
        status.add_row(run["name"], f"{run['seconds']:.0f}", STATUS.get(run["status"], str(run["status"])))
        for side, found in run.get("versions", {}).items():
            versions.add_row(run["name"], side, ", ".join(f"{name} {value}" for name, value in found.items()))
    found = [*tables(records), growth(records), versions, status]
    return [table for table in found if table.row_count]


def _write(folder: Path, runs: Sequence[dict[str, Any]]) -> None:
    """Both files, each in one step."""
    console = Console(width=1000, color_system=None, force_terminal=False)
    parts = [f"# Benchmarks\n\n{json.dumps(machine(), ensure_ascii=False)}\n"]
    for table in _tables(runs):
        title, table.title, table.box = table.title, None, box.MARKDOWN
        for row in table.rows:
            row.end_section = False
        with console.capture() as captured:
            console.print(table)
        lines = [" ".join(line.split()) for line in captured.get().splitlines()]
        parts.append(f"## {title}\n\n" + "\n".join(line for line in lines if line) + "\n")
    texts = {"benchmarks.md": "\n".join(parts), "benchmarks.json": json.dumps(runs, indent=1, ensure_ascii=False)}
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        draft = folder / f".{name}"
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(folder / name)


if __name__ == "__main__":
    sys.exit(main())
