"""`jaxval verify`: check whether the papers' statements hold."""

import argparse
import contextlib
import json
import math
import os
import time
from collections import Counter
from typing import Any

from jaxval.cli._words import count

__all__: list[str] = []


def add_command(commands: Any) -> None:
    """Add the command `jaxval verify` and its options."""
    command = commands.add_parser(
        "verify",
        help="check the papers' statements on random instances",
        description="Check the papers' statements against their plain definitions, on random instances and boundary "
        "cases, in float64: a few minutes for all. With --claim, a statement that fails as printed is shown with the "
        "reason and the version that holds. Exit status 1 where a verdict differs from the recorded one.",
    )
    command.add_argument("--paper", metavar="PAPER", help="only coalition, mallows, ads, ppa or conjectures")
    command.add_argument(
        "--claim",
        action="append",
        metavar="ID",
        help="only this one, such as ppa/lemma-4.9, with the reason, the correction and the counterexample; may be "
        "repeated",
    )
    command.add_argument(
        "--instances",
        type=count,
        default=10_000,
        metavar="N",
        help="random ones of each claim, fewer where one is costly; finite cases come on top (10000)",
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of the instances (0)")
    workers = min(os.cpu_count() or 1, 4)
    command.add_argument(
        "--workers", type=count, default=workers, metavar="N", help=f"processes at the same time (here {workers})"
    )
    command.add_argument("--json", action="store_true", help="print the verdicts alone, as JSON, on standard output")
    command.set_defaults(run=_verify)


def _verify(arguments: argparse.Namespace) -> int:
    import jax

    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", True)
    try:
        return _verify_in_float64(arguments)
    finally:
        jax.config.update("jax_enable_x64", before)


def _verify_in_float64(arguments: argparse.Namespace) -> int:
    from jaxval import theorems
    from jaxval.parallel import ProcessPool

    started = time.perf_counter()
    chosen = theorems.claims(paper=arguments.paper, ids=arguments.claim)
    with contextlib.ExitStack() as stack:
        several = arguments.workers > 1 and len(chosen) > 1
        verdicts = theorems.verify(
            ids=[claim.id for claim in chosen],
            instances=arguments.instances,
            seed=arguments.seed,
            executor=stack.enter_context(ProcessPool(arguments.workers)) if several else None,
            progress=True,
        )
    if arguments.json:
        print(json.dumps([_entry(verdict) for verdict in verdicts], indent=1, ensure_ascii=False))
    else:
        _print_tables(verdicts, time.perf_counter() - started, witnesses=bool(arguments.claim))
    return 0 if all(verdict.as_recorded for verdict in verdicts) else 1


def _print_tables(verdicts: list[Any], seconds: float, *, witnesses: bool) -> None:
    """Print a table of the papers' statements and one of conjectures, then a summary.

    If claims were named by --claim, their counterexamples are printed in place of the summary.
    """
    from rich.console import Console

    from jaxval import theorems

    console = Console(markup=False)
    console.width = max(console.width, 120)
    apart = [verdict.claim.id.startswith("conjectures/") for verdict in verdicts]
    for title, wanted in (("statements of the papers", False), ("conjectures, which are in none of them", True)):
        rows = [verdict for verdict, conjecture in zip(verdicts, apart, strict=True) if conjecture == wanted]
        if rows:
            console.print(_table(title, rows, reasons=witnesses))
    if witnesses:
        for verdict in verdicts:
            if verdict.worst_gap > verdict.claim.tolerance:
                console.print(f"{verdict.claim.id}, counterexample:", json.dumps(_plain(verdict.witness)))
        return
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    console.print(
        f"{len(verdicts)} claims in {seconds:.0f} s:", ", ".join(f"{n} {what}" for what, n in outcomes.items())
    )
    entries = theorems.coverage()
    covered = sum(bool(entry.claims) for entry in entries)
    console.print(f"{covered} of {len(entries)} numbered statements of the papers have a claim; without one:")
    for entry in entries:
        if not entry.claims:
            console.print(f"  {entry.id}: {entry.exemption}")
    console.print("--claim ID tells why a statement fails, and what holds instead")


def _table(title: str, verdicts: list[Any], *, reasons: bool) -> Any:
    from rich.table import Table

    table = Table(title=title, show_lines=True)
    for column in ("claim", "statement", "instances", "worst gap", "verdict"):
        table.add_column(column, justify="right" if column in ("instances", "worst gap") else "left")
    for verdict in verdicts:
        words = [verdict.claim.printed.words]
        gap = f"{verdict.worst_gap:.1e}"
        if verdict.claim.why and reasons:
            words.append(f"But: {verdict.claim.why}")
        if verdict.claim.corrected:
            if reasons:
                words.append(f"Corrected: {verdict.claim.corrected.words}")
            gap += f"\ncorrected {verdict.corrected_gap:.1e}"
        recorded = "" if verdict.as_recorded else f" (recorded: {verdict.claim.verdict})"
        table.add_row(
            f"{verdict.claim.id}\n{verdict.claim.source}",
            "\n".join(words),
            f"{verdict.instances:,}",
            gap,
            verdict.outcome + recorded,
        )
    return table


def _entry(verdict: Any) -> dict[str, Any]:
    """A verdict in JSON's types; a number that is not finite becomes null."""

    def number(value: float) -> float | None:
        return value if math.isfinite(value) else None

    claim = verdict.claim
    return {
        "id": claim.id,
        "source": claim.source,
        "statement": claim.printed.words,
        "instances": verdict.instances,
        "worst_gap": number(verdict.worst_gap),
        "tolerance": claim.tolerance,
        "verdict": verdict.outcome,
        "recorded": claim.verdict,
        "why": claim.why,
        "corrected": claim.corrected.words if claim.corrected else None,
        "corrected_gap": number(verdict.corrected_gap),
        "false_neighbour": claim.printed.false_words,
        "false_gap": number(verdict.refuted_gap),
        "counterexample": _plain(verdict.witness) if verdict.worst_gap > claim.tolerance else None,
        "covers": list(claim.covers),
        "seconds": verdict.seconds,
    }


def _plain(tree: Any) -> Any:
    """An instance of a claim in JSON's types."""
    if hasattr(tree, "_asdict"):
        return {name: _plain(value) for name, value in tree._asdict().items()}
    if isinstance(tree, dict):
        return {name: _plain(value) for name, value in tree.items()}
    if isinstance(tree, (tuple, list)):
        return [_plain(value) for value in tree]
    return tree.tolist() if hasattr(tree, "tolist") else tree
