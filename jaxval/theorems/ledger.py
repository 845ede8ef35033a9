"""All claims, and the verdicts on those that are asked for."""

from collections.abc import Sequence

from jaxval.theorems import coalition, mallows
from jaxval.theorems.checks import Claim, Verdict, check_all

__all__ = ["claims", "verify"]

PAPERS = {"coalition": coalition.CLAIMS, "mallows": mallows.CLAIMS}


def claims(*, paper: str | None = None, ids: Sequence[str] | None = None) -> tuple[Claim, ...]:
    """The claims of one paper, or of all; or those with the ids.

    Args:
        paper: "coalition" (Tamine et al.), "mallows" (Chen et al.); all where None.
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
