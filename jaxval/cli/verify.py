"""`jaxval verify`: check whether the papers' statements hold."""

import argparse
import contextlib
import math
import os
import time
from collections import Counter
from typing import Any

from jaxval._errors import json_text
from jaxval.cli._words import count, naming_options

__all__: list[str] = []

DIFFERS, INCONCLUSIVE = 1, 3
CONJECTURES = "conjectures/"


def add_command(commands: Any) -> None:
    """Add the command `jaxval verify` and its options."""
    command = commands.add_parser(
        "verify",
        help="check the papers' statements on random instances",
        description="Check the papers' statements against their plain definitions, on random instances, finite "
        "families and boundary cases, in float64: about two minutes for all. The table shows the claims that do not "
        "hold as printed, or whose verdict is not the recorded one. --list prints the statements and what is recorded, "
        "at once. --claim prints one claim in full: the printed sentence, both sides at the counterexample, the "
        "version that holds, and the Python lines that replay it.",
        epilog="exit status: 0 if every verdict is the recorded one, 1 if one differs, 3 if one is inconclusive",
    )
    command.add_argument("--paper", metavar="PAPER", help="only coalition, mallows, ads, ppa or conjectures")
    command.add_argument(
        "--claim", action="append", metavar="ID", help="only this one, such as ppa/lemma-4.9, in full; may be repeated"
    )
    command.add_argument("--all", action="store_true", help="print the verdict of every claim, with its scope")
    command.add_argument("--list", action="store_true", help="print the claims and their recorded verdicts, unchecked")
    command.add_argument(
        "--instances",
        type=count,
        default=10_000,
        metavar="N",
        help="random instances of each claim, fewer if one is costly; finite families come on top (default 10000)",
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of the instances (default 0)")
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
        with naming_options():
            return _list(arguments) if arguments.list else _verify_in_float64(arguments)
    finally:
        jax.config.update("jax_enable_x64", before)


def _list(arguments: argparse.Namespace) -> int:
    """Print every claim with its statement and its recorded verdict; nothing is computed."""
    from jaxval import theorems

    claims = theorems.claims(paper=arguments.paper, ids=arguments.claim)
    if arguments.json:
        print(json_text([of_claim(claim) for claim in claims], allow_nan=True))
        return 0
    for claim in claims:
        print(f"{claim.id} ({claim.source}): {_recorded(claim)}\n    {claim.words}")
    return 0


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
        print(json_text([_entry(verdict) for verdict in verdicts], allow_nan=True))
    elif arguments.claim:
        print("\n\n".join(theorems.page(verdict) for verdict in verdicts))
    else:
        _print_tables(verdicts, time.perf_counter() - started, every=arguments.all)
    unknown = any(verdict.outcome == "inconclusive" for verdict in verdicts)
    differs = any(not verdict.as_recorded and verdict.outcome != "inconclusive" for verdict in verdicts)
    return DIFFERS if differs else INCONCLUSIVE if unknown else 0


def _print_tables(verdicts: list[Any], seconds: float, *, every: bool) -> None:
    """Print tables of the papers' statements and of conjectures, then counts and, with `every`, what has no claim."""
    from rich.console import Console

    from jaxval import theorems

    console = Console(markup=False)
    for title, wanted in (("statements of the papers", False), ("conjectures, which no paper states", True)):
        rows = [verdict for verdict in verdicts if verdict.claim.id.startswith(CONJECTURES) == wanted]
        rows = [verdict for verdict in rows if every or not _plainly_holds(verdict)]
        if rows:
            console.print(_table(title if every else f"{title}: those that do not simply hold", rows, every=every))
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    instances = sum(verdict.instances for verdict in verdicts)
    told = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.items())
    console.print(f"{len(verdicts)} claims on {instances:,} instances in {seconds:.0f} s: {told}")
    kinds = Counter(verdict.claim.kind for verdict in verdicts if verdict.claim.kind)
    if kinds:
        console.print("of those that fail as printed:", ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()))
    entries = theorems.coverage()
    covered = sum(bool(entry.claims) for entry in entries)
    console.print(
        f"{covered} of {len(entries)} numbered statements of the papers have a claim{'; without one:' * every}"
    )
    for entry in entries:
        if every and not entry.claims:
            console.print(f"  {entry.id}: {entry.exemption}")
    console.print(
        "--list prints the statements, --claim ID one claim in full: why it fails, and what holds instead"
        + ("" if every else "; --all every verdict with its scope, and the statements without a claim")
    )


def _plainly_holds(verdict: Any) -> bool:
    return verdict.as_recorded and verdict.outcome == "holds"


def _table(title: str, verdicts: list[Any], *, every: bool) -> Any:
    """A table of verdicts: a line each, or, with `every`, also corrected gaps and scopes."""
    from rich.table import Table

    from jaxval import theorems

    table = Table(title=title, pad_edge=False)
    for column in ("claim", "verdict", "largest gap", "scope" if every else "kind"):
        table.add_column(column, justify="right" if column == "largest gap" else "left", overflow="fold")
    for verdict in verdicts:
        gap, kind = f"{verdict.worst_gap:.1e}", verdict.claim.kind or ""
        outcome = verdict.outcome + ("" if verdict.as_recorded else f" (recorded: {verdict.claim.verdict})")
        if not every:
            table.add_row(verdict.claim.id, outcome, gap, kind)
            continue
        if verdict.claim.correction:
            gap += f"\ncorrected {verdict.corrected_gap:.1e}"
        table.add_row(verdict.claim.id, f"{outcome}\n{kind}".strip(), gap, theorems.scope(verdict))
    return table


def _recorded(claim: Any) -> str:
    return claim.verdict + (f", {claim.kind}" if claim.kind else "") + (f" {claim.root}" if claim.root else "")


def of_claim(claim: Any) -> dict[str, Any]:
    """What is recorded of a claim, in JSON's types."""
    return {
        "id": claim.id,
        "source": claim.source,
        "statement": claim.words,
        "recorded": claim.verdict,
        "kind": claim.kind,
        "root": claim.root,
        "quote": claim.quote,
        "why": claim.why,
        "corrected": claim.corrected or None,
        "false_neighbour": claim.false or ("the statement as printed" if claim.correction else None),
        "tolerance": claim.setting.tolerance,
        "covers": list(claim.covers),
        "proof": claim.proof,
    }


def _entry(verdict: Any) -> dict[str, Any]:
    """A verdict in JSON's types; a number that is not finite becomes null."""
    from jaxval import theorems

    def number(value: float) -> float | None:
        return value if math.isfinite(value) else None

    claim = verdict.claim
    fails = verdict.worst_gap > claim.setting.tolerance
    shown = claim.counterexample() if fails and claim.counterexample else verdict.worst
    return of_claim(claim) | {
        "verdict": verdict.outcome,
        "scope": theorems.scope(verdict),
        "instances": verdict.instances,
        "sampled": verdict.sampled,
        "enumerated": verdict.enumerated,
        "replayed": verdict.replayed,
        "inconclusive": verdict.inconclusive,
        "worst_gap": number(verdict.worst_gap),
        "part": verdict.part,
        "counterexample_gap": number(verdict.counterexample_gap),
        "corrected_gap": number(verdict.corrected_gap),
        "false_gap": number(verdict.refuted_gap),
        "counterexample": _plain(shown) if fails else None,
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
