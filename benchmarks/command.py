"""What every benchmark's command takes and does: options, cases in order, results kept after each race."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.environments import Environments, Peer
from benchmarks.harness import Bench
from benchmarks.report import disagreements, machine, save, show

__all__ = ["Cases", "add_environment_options", "run_benchmark"]

Cases = Mapping[str, Callable[[Bench, argparse.Namespace], None]]


def run_benchmark(
    name: str,
    description: str,
    cases: Cases,
    peers: Sequence[Peer],
    arguments: Sequence[str] | None = None,
    *,
    also_show: Callable[[list[dict[str, Any]], Console], None] = lambda records, console: None,
    data: bool = False,
    **defaults: Any,
) -> int:
    """The main function of a benchmark: read the options, run the cases asked for, write and print.

    Args:
        name: the module's name in `benchmarks`.
        description: the module's docstring, whose first line `--help` shows.
        cases: what `--case` chooses from, in this order.
        peers: whose environments `--environment` may name.
        arguments: the command line; that of this process if None.
        also_show: prints what is no race, given all records.
        data: whether there is an option `--data` for a folder of data sets.
        defaults: of the options, where they differ from those of all benchmarks, such as `cores=1`.

    Returns:
        The exit status: 1 if answers differ or a side of ours failed, 2 if an option is wrong, 130 if interrupted, and
        0 otherwise, whether targets are met or not.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description.split("\n")[0])
    parser.add_argument("--case", nargs="+", choices=cases, default=list(cases), metavar="CASE", help=", ".join(cases))
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all works; no targets")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    if data:
        parser.add_argument("--data", metavar="FOLDER", help="folder of data sets")
    _add_options(parser, peers)
    parser.set_defaults(**defaults)
    return _run_cases(name, cases, parser.parse_args(arguments), also_show)


def _add_options(parser: argparse.ArgumentParser, peers: Sequence[Peer]) -> None:
    """How the sides run, and where environments and results are."""
    named = ", ".join(peer.name for peer in peers)
    parser.add_argument("--repeats", type=_positive, default=5, metavar="N", help="rounds, of which the median is told")
    parser.add_argument("--cores", type=_positive, default=2, metavar="N", help="for each side (default: 2)")
    parser.add_argument("--limit", type=_positive, default=600, metavar="SECONDS", help="for one call (default: 600)")
    add_environment_options(parser, named)
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where results go (default: results/benchmarks/NAME)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the results as JSON, and nothing else, on standard output"
    )
    parser.set_defaults(peers=tuple(peer.name for peer in peers))


def add_environment_options(parser: argparse.ArgumentParser, peers: str) -> None:
    """Where the environments of the peers named are, or are made, or that there are none."""
    parser.add_argument("--ours", action="store_true", help="jaxval's sides alone; for a machine that has no peers")
    parser.add_argument(
        "--python",
        default=sys.executable,
        metavar="PATH",
        help="the interpreter that makes the peers' environments, where it is new enough for the peer",
    )
    parser.add_argument(
        "--environment",
        nargs="+",
        action="extend",
        type=_environment,
        default=[],
        metavar="NAME=PATH",
        help=f"an environment that exists, for a peer: {peers}",
    )
    parser.add_argument(
        "--environments",
        type=Path,
        default=Path(".benchmarks"),
        metavar="FOLDER",
        help="where environments are made that do not exist (default: .benchmarks)",
    )


def _run_cases(
    name: str,
    cases: Cases,
    options: argparse.Namespace,
    also_show: Callable[[list[dict[str, Any]], Console], None],
) -> int:
    notes = Console(stderr=True, soft_wrap=True, highlight=False)
    unknown = [peer for peer, _ in options.environment if peer not in options.peers]
    if unknown:
        notes.print(f"error: --environment: expected one of {', '.join(options.peers)}; got {unknown[0]}", markup=False)
        return 2
    folder = options.out or Path("results", "benchmarks", name)
    environments = Environments(options.environments, options.python, dict(options.environment), options.ours)
    results: dict[str, Any] = {
        "benchmark": name,
        "configuration": {"repeats": options.repeats, "cores": options.cores, "seed": options.seed},
        "machine": machine(),
    }

    def keep(records: list[dict[str, Any]]) -> None:
        save(folder, {**results, "versions": bench.versions, "records": records})

    bench = Bench(
        environments,
        repeats=options.repeats,
        cores=options.cores,
        limit=options.limit,
        keep=keep,
        tell=lambda sentence: notes.print(sentence, markup=False),
    )
    interrupted = False
    try:
        with bench:
            for case in options.case:
                cases[case](bench, options)
    except KeyboardInterrupt:
        interrupted = True
        notes.print("interrupted; finished races are kept")
    differing = disagreements(bench.records)
    if hasattr(os, "getloadavg"):
        results["machine"]["load_after"] = os.getloadavg()[0]
    keep(bench.records)
    if options.json:
        print((folder / "results.json").read_text(encoding="utf-8"), end="")
    else:
        console = Console(width=max(Console().width, 140))
        show(bench.records, console)
        also_show(bench.records, console)
        console.print(_circumstances(results, options), markup=False)
    for sentence in differing:
        notes.print(f"NOT THE SAME: {sentence}", markup=False)
    notes.print(f"written to {folder}: results.json", markup=False)
    return 130 if interrupted else bool(differing)


def _circumstances(results: dict[str, Any], options: argparse.Namespace) -> str:
    machine = results["machine"]
    busy = (
        f"; load {machine['load_before']:.1f} before, {machine['load_after']:.1f} after"
        if "load_after" in machine
        else ""
    )
    return (
        f"{machine['processor'] or machine['system']}, {options.cores} cores for every side, median of "
        f"{options.repeats} rounds{busy}"
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1; got {text!r}")
    return int(text)


def _environment(text: str) -> tuple[str, Path]:
    name, mark, path = text.partition("=")
    if not (name and mark and path):
        raise argparse.ArgumentTypeError(f"expected NAME=PATH; got {text!r}")
    return name, Path(path)
