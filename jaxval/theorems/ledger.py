"""All claims, the verdicts on those that are asked for, and which numbered statements they cover."""

import difflib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxval import _checks
from jaxval.parallel import progress as progress_bar
from jaxval.parallel.executors import run_all
from jaxval.theorems import ads, coalition, conjectures, mallows, ppa  # noqa: F401, their claims register themselves
from jaxval.theorems.checks import Verdict, check_claim, require_float64
from jaxval.theorems.records import Claim, registered
from jaxval.types import BadArgument

__all__ = ["Coverage", "claims", "coverage", "verify"]

PAPERS = ("coalition", "mallows", "ads", "ppa", "conjectures")
TOGETHER = 25  # the most claims that one call checks: more share the drawing, fewer are spread more evenly
EXEMPT = {**ads.EXEMPT, **ppa.EXEMPT}


class Coverage(NamedTuple):
    """What the ledger has on a numbered statement of a paper.

    Attributes:
        id: such as "ppa/equation-8".
        title: where the paper gives it one.
        claims: ids of the claims that compute it.
        exemption: a sentence that says why there is none; empty where there is one.
    """

    id: str
    title: str
    claims: tuple[str, ...]
    exemption: str


def claims(*, paper: str | None = None, ids: Sequence[str] | None = None) -> tuple[Claim, ...]:
    """The claims of one paper, or of all; or those with the ids.

    Args:
        paper: "coalition" (Tamine et al.), "mallows" (Chen et al.), "ads" (Zheng et al.), "ppa" (Kim et al.), or
            "conjectures", which no paper states; None means all.
        ids: such as ["coalition/equation-6"]; None means all.

    Returns:
        The claims, in the order of the papers.

    Raises:
        ValueError: if there is no such paper or claim.

    Example:
        >>> claims(paper="coalition")[0].id
        'coalition/equation-1'
    """
    if paper is not None:
        _checks.check_choice("paper", paper, PAPERS)
    order = {name: place for place, name in enumerate(PAPERS)}
    those = sorted(registered(), key=lambda claim: order.get(_paper(claim), len(order)))
    chosen = [claim for claim in those if paper in (None, _paper(claim))]
    known = [claim.id for claim in chosen]
    if ids is not None:
        _checks.check_names("ids", ids, "names of claims")
    for name in ids or []:
        if name not in known:
            near = [one for one in known if one.lower().endswith(name.lower().replace(" ", "-"))]
            near += difflib.get_close_matches(name, known, n=3)
            such = ", ".join(list(dict.fromkeys(near or known))[:3])
            raise BadArgument(
                "ids", expected=f"claims such as {such}", got=repr(name), advice="jaxval verify --list shows all"
            )
    return tuple(claim for claim in chosen if ids is None or claim.id in ids)


def _paper(claim: Claim) -> str:
    return claim.id.partition("/")[0]


def verify(
    *,
    paper: str | None = None,
    ids: Sequence[str] | None = None,
    instances: int = 10_000,
    seed: int = 0,
    executor: Executor | None = None,
    progress: bool = False,
) -> list[Verdict]:
    """Check claims on random instances, finite families and counterexamples.

    Args:
        paper: the paper; None means all.
        ids: the claims; None means all.
        instances: the number of random instances for each claim, fewer if one is costly.
        seed: the same seed gives the same instances, whatever other claims are checked.
        executor: where claims are checked at the same time, such as `parallel.ProcessPool()`; None checks one by one.
        progress: whether a bar with the time left goes to standard error.

    Returns:
        One `Verdict` for each claim.

    Raises:
        ValueError: if there is no such paper or claim, no instance is asked for, or JAX computes in float32.
        RuntimeError: if a check breaks.

    Example:
        >>> if jax.config.jax_enable_x64:
        ...     verdict, = verify(ids=["coalition/equation-3"], instances=10)
        ...     assert verdict.outcome == "holds"
    """
    require_float64()
    instances = _checks.check_size("instances", instances)
    chosen = {claim.id: claim for claim in claims(paper=paper, ids=ids)}
    verdicts: dict[str, Verdict] = {}
    with progress_bar(progress, len(chosen), "claims") as advance:
        jobs = [(ids, instances, seed) for ids in _together(chosen.values(), 1 if executor is None else TOGETHER)]
        for outcome in run_all(_check, jobs, executor=executor):
            if outcome is None:
                continue
            if outcome.error is not None:
                raise RuntimeError(str(outcome.cause)) from outcome.cause
            verdicts |= outcome.value
            advance(len(outcome.value))
    return [verdicts[name]._replace(claim=claim) for name, claim in chosen.items()]


def _together(chosen: Iterable[Claim], most: int) -> list[tuple[str, ...]]:
    """The ids in portions of claims that share their instances, the largest portions first."""
    sharing: dict[Any, list[str]] = {}
    for claim in chosen:
        sharing.setdefault(claim.setting.generate, []).append(claim.id)
    portions = [tuple(ids[at : at + most]) for ids in sharing.values() for at in range(0, len(ids), most)]
    return sorted(portions, key=len, reverse=True)


def _check(job: tuple[tuple[str, ...], int, int]) -> dict[str, Verdict]:
    """The verdicts by id, without the claims, whose functions cannot be sent from one process to another."""
    ids, instances, seed = job
    jax.config.update("jax_enable_x64", True)
    verdicts = {}
    for claim in claims(ids=ids):
        try:
            verdict = check_claim(claim, jax.random.key(seed), instances=instances)
        except Exception as error:
            raise RuntimeError(f"{claim.id}: {type(error).__name__}: {error}") from error
        verdicts[claim.id] = verdict._replace(claim=None)  # type: ignore[arg-type]
    return verdicts


def coverage() -> list[Coverage]:
    """Which claims compute each numbered statement of the papers; `experiments.statements` extracted the list.

    Returns:
        One `Coverage` for each definition, lemma, equation and so on, in the order of the papers.

    Example:
        >>> [entry.claims for entry in coverage() if entry.id == "coalition/equation-6"]
        [('coalition/algorithm-1',)]
    """
    listed = json.loads((Path(__file__).parent / "statements.json").read_text(encoding="utf-8"))["statements"]
    covering: dict[str, list[str]] = {}
    for claim in claims():
        for name in {claim.id: None, **dict.fromkeys(claim.covers)}:
            covering.setdefault(name, []).append(claim.id)
    return [
        Coverage(entry["id"], entry["title"], tuple(covering.get(entry["id"], ())), EXEMPT.get(entry["id"], ""))
        for entry in listed
    ]
