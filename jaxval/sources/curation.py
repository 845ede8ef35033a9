"""Decisions from the values of sources: choosing sources, weighting them, detecting harmful ones, paying for them."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from jaxval import _checks, _objects
from jaxval.coalitions import index_coalition
from jaxval.types import BadArgument, Table

__all__ = ["HarmAuc", "best_coalition", "harm_auc", "payments", "source_weights", "top_sources"]

SourceVector = Float[ArrayLike, "sources"] | list[Any]


class HarmAuc(NamedTuple):
    """How well low values indicate harmful sources, over many cases.

    Attributes:
        auc: the mean over cases of the area under the ROC curve.
        standard_error: the standard error of that mean; NaN for a single case.
        by_case: (cases,) the area under the ROC curve in each case.
    """

    auc: Float[Array, ""]
    standard_error: Float[Array, ""]
    by_case: Float[Array, "cases"]


def best_coalition(table: Table, *, size: int | None = None) -> Bool[Array, "sources"]:
    """The coalition of sources with the largest utility, argmax_S u(S): the sources to train on.

    The coalition is chosen on the prompts on which the utilities were evaluated, so that its utility there is biased
    upwards. If several coalitions have the largest utility, the one with the fewest sources is returned, and among
    these the one of the lowest index.

    Source: Tamine et al., section 5.

    Args:
        table: (2^n,) utilities under one reward, such as `SourceValues.utilities[:, k]`.
        size: the number of sources in the coalition; None allows any number.

    Returns:
        (sources,) a mask.

    Raises:
        ValueError: if the table is not of one reward, or the size is not a whole number from 0 to the number of
            sources.

    Example:
        >>> best_coalition([0.0, 1.0, 2.0, 1.5]).tolist()
        [False, True]
        >>> best_coalition([0.0, 1.0, 2.0, 1.5], size=2).tolist()
        [True, True]
    """
    utilities = _objects.check_table(table)
    known = np.asarray(utilities)
    if known.ndim != 1:
        expected, got = "utilities (2^n,) under one reward", f"shape {known.shape}"
        raise BadArgument("table", expected=expected, got=got, advice="pick a column")
    players, sizes = _objects.players_of(utilities), np.bitwise_count(np.arange(len(known)))
    allowed = np.ones(len(known), bool) if size is None else sizes == _check_size(size, players)
    return index_coalition(int(np.lexsort((sizes, -known, ~allowed))[0]), players)


def top_sources(values: SourceVector, *, size: int | None = None) -> Bool[Array, "sources"]:
    """The sources with the largest values: `size` of them, or all with a value above 0.

    It also applies if there are too many sources for a table. A value is a mean over coalitions, and not the marginal
    contribution to the chosen sources: copies of a good source all have good values.

    Args:
        values: (sources,) values under one reward.
        size: the number of sources; None means all sources of positive value.

    Returns:
        (sources,) a mask; among equal values the first sources are chosen.

    Raises:
        ValueError: if a value is not finite, or the size is not a whole number from 0 to the number of sources.

    Example:
        >>> top_sources([0.3, -0.1, 0.2]).tolist(), top_sources([0.3, -0.1, 0.2], size=1).tolist()
        ([True, False, True], [True, False, False])
    """
    known = np.asarray(_checks.floating("values", values, ndim=1, expected="(sources,) values under one reward"))
    if size is None:
        return jnp.asarray(known > 0)
    first = np.argsort(-known, kind="stable")[: _check_size(size, len(known))]
    return jnp.zeros(len(known), bool).at[first].set(True)


def _check_size(size: Any, most: int) -> int:
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or not 0 <= size <= most:
        raise BadArgument("size", expected=f"a whole number in 0..{most}", got=f"{size!r}")
    return int(size)


def source_weights(values: SourceVector, *, power: float = 1.0) -> Float[Array, "sources"]:
    """Weights for training on all sources: w_ℓ ∝ max(φ_ℓ, 0)^power, with mean one.

    `training.union_dpo(..., weights=...)` multiplies the comparisons of each source by its weight, and
    `coalitions.combine` takes the weights as a weighted coalition, without training.

    Source: Tamine et al., section 5, who propose algorithms that weight their data as future work.

    Args:
        values: (sources,) values under one reward.
        power: 0 weights all sources of positive value equally; larger numbers give larger values more of the weight.

    Returns:
        (sources,) weights.

    Raises:
        ValueError: if no value is positive, or a value is not finite.

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


def harm_auc(
    values: Float[ArrayLike, "cases sources"] | list[Any], harmful: Bool[ArrayLike, "cases sources"] | list[Any]
) -> HarmAuc:
    """How well low values indicate harmful sources: the probability that a harmful source has the lower value.

    AUC = P(φ_harmful < φ_other) + P(φ_harmful = φ_other) / 2, over the pairs of a harmful source and another source of
    the same case: 1 if all harmful sources have the lowest values, 1/2 if values are not related to harm.

    Source: the Mann-Whitney statistic; Hanley and McNeil (1982).

    Args:
        values: (cases, sources) values; different cases have different sources.
        harmful: (cases, sources) whether each source is harmful; in each case some are and some are not.

    Returns:
        `HarmAuc`, with the standard error over cases.

    Raises:
        ValueError: if shapes differ, or all or none of the sources of a case are harmful.

    Example:
        >>> found = harm_auc([[0.5, 0.1, -0.2], [0.3, 0.4, 0.35]], [[False, False, True], [False, False, True]])
        >>> found.by_case.tolist(), float(found.auc)
        ([1.0, 0.5], 0.75)
    """
    known = np.asarray(_checks.floating("values", values, ndim=2, expected="(cases, sources) values"))
    marked = np.asarray(_checks.real_array("harmful", harmful, "(cases, sources) truth values"))
    if marked.dtype != bool or marked.shape != known.shape:
        got = f"{marked.dtype} of {marked.shape}"
        raise BadArgument("harmful", expected=f"booleans of shape {known.shape}", got=got)
    if len(known) == 0 or marked.all(axis=1).any() or not marked.any(axis=1).all():
        expected = "some harmful sources and some others in every case"
        raise BadArgument("harmful", expected=expected, got="a case that lacks one kind")
    wins = (1 - np.sign(known[:, :, None] - known[:, None, :])) / 2
    both = marked[:, :, None] & ~marked[:, None, :]
    by_case = (wins * both).sum(axis=(1, 2)) / both.sum(axis=(1, 2))
    error = by_case.std(ddof=1) / np.sqrt(len(by_case)) if len(by_case) > 1 else np.nan
    return HarmAuc(jnp.asarray(by_case.mean()), jnp.asarray(error), jnp.asarray(by_case))


def payments(values: SourceVector, *, total: float | None = None, negative: str = "charged") -> Float[Array, "sources"]:
    """The payment of each source, so that the payments sum to the utility gained or to a given budget.

    With "charged", p_ℓ = φ_ℓ B / Σ φ, so that a source of negative value pays. With "unpaid",
    p_ℓ = max(φ_ℓ, 0) B / Σ max(φ, 0), so that no source pays, and the useful sources together bear the loss that
    harmful sources cause.

    Source: Tamine et al., section 5; efficiency of the Shapley value.

    Args:
        values: (sources,) Shapley values under one reward, whose sum is u(N) - u(∅).
        total: the budget B, above 0; None means u(N) - u(∅).
        negative: "charged" or "unpaid".

    Returns:
        (sources,) payments that sum to B.

    Raises:
        ValueError: if the values do not sum to more than 0, so that nothing was gained that could be paid out.

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
    asked = gained if total is None else total
    budget = _checks.check_number("total", asked, low=1e-30, high=1e30, expected="a budget above 0")
    shares = known if negative == "charged" else jnp.maximum(known, 0)
    return shares * (budget / jnp.sum(shares))
