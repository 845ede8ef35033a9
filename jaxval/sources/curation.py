"""What values of sources are for: choosing and weighting sources, finding a harmful one, paying for them."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from jaxval import _checks
from jaxval.types import BadArgument, Table
from jaxval.values._tables import check_table, players_of

__all__ = ["Detection", "best_coalition", "harm_detection", "payments", "source_weights", "top_sources"]

SourceVector = Float[ArrayLike, "sources"] | list[Any]
Cases = Float[ArrayLike, "cases sources"] | list[Any]
HarmfulSources = Bool[ArrayLike, "cases sources"] | list[Any]


class Detection(NamedTuple):
    """How well low values point to harmful sources, over many cases.

    Attributes:
        auc: the mean over cases of the area under the ROC curve.
        standard_error: of that mean; NaN for a single case.
        by_case: (cases,) the area in each.
    """

    auc: Float[Array, ""]
    standard_error: Float[Array, ""]
    by_case: Float[Array, "cases"]


def best_coalition(table: Table, *, size: int | None = None) -> Bool[Array, "sources"]:
    """The coalition of the largest utility, argmax_S u(S): which sources to train on.

    All 2^n utilities come from n trainings, so that no search is needed. The coalition is the best for the held-out
    prompts that the utilities were taken on, which flatters its utility there. Of coalitions of equal utility the
    smallest is taken, and of these the first in the order of indices.

    Source: Tamine et al., section 5.

    Args:
        table: (2^n,) utilities under one reward, as `SourceValues.utilities[:, k]`.
        size: how many sources; None allows any number.

    Returns:
        (sources,) a mask.

    Raises:
        ValueError: if the table is not of one reward, or the size is no number of sources.

    Example:
        >>> best_coalition([0.0, 1.0, 2.0, 1.5]).tolist()
        [False, True]
        >>> best_coalition([0.0, 1.0, 2.0, 1.5], size=2).tolist()
        [True, True]
    """
    known = np.asarray(check_table(table))
    if known.ndim != 1:
        raise BadArgument(
            "table", expected="utilities (2^n,) under one reward", got=f"shape {known.shape}", advice="pick a column"
        )
    players = players_of(check_table(table))
    indices = np.arange(len(known))
    sizes = np.bitwise_count(indices)
    allowed = np.ones(len(known), bool)
    if size is not None:
        if not 0 <= size <= players:
            raise BadArgument("size", expected=f"a whole number in 0..{players}", got=f"{size!r}")
        allowed = sizes == size
    order = np.lexsort((indices, sizes, -known, ~allowed))
    return jnp.asarray((order[0] >> np.arange(players)) & 1 == 1)


def top_sources(values: SourceVector, *, size: int | None = None) -> Bool[Array, "sources"]:
    """The sources of the largest values: `size` of them, or all above 0.

    It takes values alone, so it also serves where there are too many sources for a table. A value is a mean over
    coalitions, not a marginal at the chosen one: copies of a good source all have good values.

    Args:
        values: (sources,) values under one reward.
        size: how many; None takes all of positive value.

    Returns:
        (sources,) a mask; of equal values at the edge, the first.

    Raises:
        ValueError: if a value is not finite, or the size is no number of sources.

    Example:
        >>> top_sources([0.3, -0.1, 0.2]).tolist(), top_sources([0.3, -0.1, 0.2], size=1).tolist()
        ([True, False, True], [True, False, False])
    """
    known = np.asarray(_checks.floating("values", values, ndim=1, expected="(sources,) values under one reward"))
    if size is None:
        return jnp.asarray(known > 0)
    if not 0 <= size <= len(known):
        raise BadArgument("size", expected=f"a whole number in 0..{len(known)}", got=f"{size!r}")
    return jnp.zeros(len(known), bool).at[np.argsort(-known, kind="stable")[:size]].set(True)


def source_weights(values: SourceVector, *, power: float = 1.0) -> Float[Array, "sources"]:
    """Weights to train on all sources with: w_ℓ ∝ max(φ_ℓ, 0)^power, with mean one.

    They go into `training.union_dpo(..., weights=...)`, which multiplies the comparisons of a source, or as a weighted
    coalition into `coalitions.combine`, which needs no training. A source of no value or of harm has weight 0.

    Source: Tamine et al., section 5, who foresee algorithms that weight their data.

    Args:
        values: (sources,) values under one reward.
        power: 0 weights all sources of positive value equally; larger numbers follow the values more sharply.

    Returns:
        (sources,) weights.

    Raises:
        ValueError: if no value is positive, or one is not finite.

    Example:
        >>> source_weights([3.0, 1.0, -1.0]).tolist()
        [2.25, 0.75, 0.0]
    """
    known = _checks.floating("values", values, ndim=1, expected="(sources,) values under one reward")
    exponent = _checks.check_number("power", power, low=0.0, high=1e3, expected="a number of at least 0")
    if _checks.concrete(known) and not (np.asarray(known) > 0).any():
        raise BadArgument("values", expected="a source of positive value to train on", got="none")
    positive = jnp.maximum(known / jnp.max(known), 0)
    raised = jnp.where(known > 0, positive**exponent, 0)
    return raised * len(known) / jnp.sum(raised)


def harm_detection(values: Cases, harmful: HarmfulSources) -> Detection:
    """How well low values point to harmful sources: the chance that a harmful one is valued below another.

    AUC = P(φ_harmful < φ_other) + P(φ_harmful = φ_other) / 2, over the pairs of a harmful and another source of the
    same case: 1 if all harmful ones come last, 1/2 if values say nothing.

    Source: the Mann-Whitney statistic; Hanley and McNeil (1982).

    Args:
        values: (cases, sources) values, each case with sources of its own.
        harmful: (cases, sources) booleans; in each case some are and some are not.

    Returns:
        `Detection`, with the spread over cases.

    Raises:
        ValueError: if shapes differ, or all or none of the sources of a case are harmful.

    Example:
        >>> found = harm_detection([[0.5, 0.1, -0.2], [0.3, 0.4, 0.35]], [[False, False, True], [False, False, True]])
        >>> found.by_case.tolist(), float(found.auc)
        ([1.0, 0.5], 0.75)
    """
    known = np.asarray(_checks.floating("values", values, ndim=2, expected="(cases, sources) values"))
    marked = np.asarray(harmful)
    if marked.dtype != bool or marked.shape != known.shape:
        raise BadArgument(
            "harmful", expected=f"booleans of shape {known.shape}", got=f"{marked.dtype} of {marked.shape}"
        )
    if len(known) == 0 or marked.all(axis=1).any() or not marked.any(axis=1).all():
        raise BadArgument("harmful", expected="some harmful sources and some others in every case", got="one without")
    below = known[:, :, None] - known[:, None, :]
    wins = np.where(below < 0, 1.0, np.where(below == 0, 0.5, 0.0))
    both = marked[:, :, None] & ~marked[:, None, :]
    by_case = (wins * both).sum(axis=(1, 2)) / both.sum(axis=(1, 2))
    error = by_case.std(ddof=1) / np.sqrt(len(by_case)) if len(by_case) > 1 else np.nan
    return Detection(jnp.asarray(by_case.mean()), jnp.asarray(error), jnp.asarray(by_case))


def payments(values: SourceVector, *, total: float | None = None, negative: str = "charged") -> Float[Array, "sources"]:
    """What each source is paid, so that payments sum to the utility, or to a budget in its place.

    "charged": p_ℓ = φ_ℓ B / Σ φ, so that a source of negative value pays. "unpaid": p_ℓ = max(φ_ℓ, 0) B / Σ max(φ, 0):
    nobody pays, and the useful sources together bear what the harmful ones have cost.

    Source: Tamine et al., section 5; efficiency of the Shapley value.

    Args:
        values: (sources,) Shapley values under one reward, whose sum is u(N) - u(∅).
        total: the budget B, above 0; None is that sum.
        negative: "charged" or "unpaid".

    Returns:
        (sources,) payments that sum to B.

    Raises:
        ValueError: if the values do not sum to more than 0: nothing was gained that could be paid out.

    Example:
        >>> payments([3.0, 2.0, -1.0]).tolist()
        [3.0, 2.0, -1.0]
        >>> [round(float(paid), 2) for paid in payments([3.0, 2.0, -1.0], negative="unpaid")]
        [2.4, 1.6, 0.0]
    """
    known = _checks.floating("values", values, ndim=1, expected="(sources,) values under one reward")
    _checks.check_choice("negative", negative, ("charged", "unpaid"))
    gained = float(np.asarray(known, dtype=np.float64).sum())
    if not gained > 0:
        raise BadArgument("values", expected="a sum above 0, for it is what can be paid out", got=f"{gained:g}")
    expected = "a budget above 0"
    budget = _checks.check_number("total", gained if total is None else total, low=1e-30, high=1e30, expected=expected)
    shares = known if negative == "charged" else jnp.maximum(known, 0)
    return shares * (budget / jnp.sum(shares))
