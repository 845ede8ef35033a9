"""All claims, the verdicts on those that are asked for, and which numbered statements they cover."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxval.theorems import coalition, conjectures, mallows
from jaxval.theorems.checks import Claim, Verdict, check_all

__all__ = ["Coverage", "claims", "coverage", "verify"]

PAPERS = {
    "coalition": coalition.CLAIMS,
    "mallows": mallows.CLAIMS,
    "conjectures": conjectures.CLAIMS,
}
EXEMPT: dict[str, str] = {}


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
            "conjectures", which are in none of them; all where None.
        ids: such as ["coalition/equation-6"]; all where None.

    Returns:
        The claims, in the order of the papers.

    Raises:
        ValueError: where there is no such paper or claim.

    Example:
        >>> claims(paper="coalition")[0].id
        'coalition/equation-1'
    """
    if paper is not None and paper not in PAPERS:
        raise ValueError(f"paper: expected one of {', '.join(PAPERS)}; got {paper!r}")
    found = [claim for name, those in PAPERS.items() if paper in (None, name) for claim in those]
    unknown = set(ids or []) - {claim.id for claim in found}
    if unknown:
        raise ValueError(f"ids: expected some of {', '.join(claim.id for claim in found)}; got {sorted(unknown)}")
    return tuple(claim for claim in found if ids is None or claim.id in ids)


def verify(
    *,
    paper: str | None = None,
    ids: Sequence[str] | None = None,
    instances: int = 10_000,
    seed: int = 0,
    progress: bool = False,
) -> list[Verdict]:
    """Check claims on random instances, their boundary cases among them.

    Args:
        paper: whose; all where None.
        ids: which; all where None.
        instances: how many for each claim, fewer where one is costly.
        seed: the same seed gives the same instances.
        progress: whether a bar with the time left goes to standard error.

    Returns:
        One `Verdict` for each claim.

    Raises:
        ValueError: where there is no such paper or claim, or JAX computes in float32.

    Example:
        >>> import jax
        >>> if jax.config.jax_enable_x64:
        ...     verdict, = verify(ids=["coalition/equation-3"], instances=10)
        ...     assert verdict.outcome == "holds"
    """
    return check_all(claims(paper=paper, ids=ids), instances=instances, seed=seed, progress=progress)


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
