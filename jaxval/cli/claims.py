"""`jaxval verify`: do the papers' statements hold?"""

import argparse
import json
import math
from typing import Any

__all__ = ["add_command"]


def add_command(commands: Any) -> None:
    """`verify`, among the commands of `jaxval`.

    Args:
        commands: what `add_subparsers` gave.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_command(parser.add_subparsers())
        >>> parser.parse_args(["verify", "--instances", "10"]).instances
        10
    """
    command = commands.add_parser(
        "verify",
        help="check the papers' statements on random instances",
        description="Check statements of the papers against their plain definitions, on random instances and boundary "
        "cases, in float64: coalition alignment and MallowsPO so far. A statement that fails as printed is shown with "
        "the version that holds. Exit status 1 where a verdict differs from the recorded one.",
    )
    command.add_argument("--paper", metavar="PAPER", help="only this paper's: coalition, mallows")
    command.add_argument("--claim", action="append", metavar="ID", help="only this one; may be repeated")
    command.add_argument("--instances", type=int, default=10_000, metavar="N", help="of each claim (10000)")
    command.add_argument("--seed", type=int, default=0, metavar="N")
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
    from rich.console import Console
    from rich.table import Table

    from jaxval import theorems

    verdicts = theorems.verify(
        paper=arguments.paper,
        ids=arguments.claim,
        instances=arguments.instances,
        seed=arguments.seed,
        progress=True,
    )
    if arguments.json:
        print(json.dumps([_entry(verdict) for verdict in verdicts], indent=1, ensure_ascii=False))
    else:
        table = Table(title="statements of the papers")
        for column in ("claim", "statement", "instances", "worst gap", "verdict"):
            table.add_column(column, justify="right" if column in ("instances", "worst gap") else "left")
        for verdict in verdicts:
            words = [verdict.claim.printed.words]
            if verdict.claim.corrected:
                words += [f"But: {verdict.claim.why}", f"Corrected: {verdict.claim.corrected.words}"]
            recorded = "" if verdict.as_recorded else f" (recorded: {verdict.claim.verdict})"
            gap = f"{verdict.worst_gap:.1e}"
            if verdict.claim.corrected:
                gap += f"\ncorrected {verdict.corrected_gap:.1e}"
            table.add_row(verdict.claim.id, "\n".join(words), f"{verdict.instances:,}", gap, verdict.outcome + recorded)
        console = Console(markup=False)
        console.width = max(console.width, 120)
        console.print(table)
    return 0 if all(verdict.as_recorded for verdict in verdicts) else 1


def _entry(verdict: Any) -> dict[str, Any]:
    """A verdict in JSON's types; no number is null."""

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
        "seconds": verdict.seconds,
    }
