"""Population-proportional alignment: no group's probability falls far below its share of the population.

`jaxval.axioms` describes the arguments that every axiom takes; functions list only their further ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxval import _checks, _objects
from jaxval.axioms._profiles import checked_profile, compiled, finish
from jaxval.axioms.rules import as_profile_rule, is_matrix_rule
from jaxval.preferences import first_choice_shares, preference_matrix
from jaxval.types import Number, Orders, Rule, Vector, Weights

__all__ = ["ProportionalityWitness", "lemma_4_9_level", "population_proportional_alignment", "ppa_level"]


class ProportionalityWitness(NamedTuple):
    """The group that gets the least probability in proportion to its share.

    Attributes:
        alternative: k, the first choice of that group.
        achieved: π_k / w_k, at most 1.
        level: the level α(σ) that was required.
        shares: (alternatives,) w, the shares of first choices.
        lottery: (alternatives,) the lottery that the rule returns.
    """

    alternative: Int[Array, ""]
    achieved: Float[Array, ""]
    level: Float[Array, ""]
    shares: Float[Array, "alternatives"]
    lottery: Float[Array, "alternatives"]


def ppa_level(lottery: Vector, shares: Vector) -> Float[Array, ""]:
    """The level of population-proportional alignment, min_k π_k / w_k over the groups with w_k > 0, at most 1.

    Source: Kim et al., Definition 3.1 and section 5.1. Both π and w sum to one, so the minimum could exceed 1 only by
    rounding.

    Args:
        lottery: (alternatives,) probabilities π.
        shares: (alternatives,) shares of first choices w.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: if either is not a distribution, or their lengths differ.

    Example:
        >>> float(ppa_level([0.5, 0.25, 0.25], [0.25, 0.5, 0.25]))
        0.5
    """
    shares = _checks.floating("shares", shares, ndim=1, expected="(alternatives,) shares that sum to one")
    shares = _objects.check_weights(shares, len(shares), name="shares")
    lottery = _objects.check_lottery(lottery, len(shares))
    return jnp.minimum(jnp.min(_ratios(lottery, shares)), 1)


def population_proportional_alignment(
    rule: Rule,
    orders: Orders,
    weights: Weights | None = None,
    *,
    level: float | Callable[..., ArrayLike],
) -> tuple[Float[Array, ""], ProportionalityWitness]:
    """How far the level of alignment falls below the required level, α(σ) - min_k π(y_k)/w_k.

    Source: Kim et al., Definition 3.1. For the rule F* (`social_choice.proportional`), Theorem 4.10 guarantees the
    level α of equation (7) and Lemma 4.7 the level 1/Σ_j u_j, where u_j = min_{k≠j} P(j ≻ k).

    Args:
        level: α, a number in [0, 1], or a function of P or of (orders, weights) such as `social_choice.certificate`
            or `lemma_4_9_level`.

    Returns:
        (gap, `ProportionalityWitness`); the axiom is violated if gap > 0.

    Raises:
        ValueError: as every axiom does, and if the level lies outside [0, 1].

    Example:
        >>> from jaxval import social_choice
        >>> profile = [[0, 1, 2], [1, 2, 0], [2, 0, 1]], [0.5, 0.25, 0.25]
        >>> gap, _ = population_proportional_alignment(social_choice.proportional, *profile, level=lemma_4_9_level)
        >>> bool(gap <= 0)
        True
        >>> gap, witness = population_proportional_alignment(social_choice.maximal_borda, *profile, level=0.01)
        >>> round(float(gap), 4), int(witness.alternative)
        (0.01, 1)
    """
    orders, weights = checked_profile(orders, weights)
    if not callable(level):
        asked = _checks.check_number("level", level, low=0, high=1, expected="a number in [0, 1], or a function")
    elif is_matrix_rule(level, name="level"):
        asked = jnp.asarray(level(preference_matrix(orders, weights)), dtype=float)
    else:
        asked = jnp.asarray(level(orders, weights), dtype=float)
    gap, witness = compiled(_alignment, rule)(orders, weights, asked)
    return finish(gap, of="rule or level"), witness


def lemma_4_9_level(orders: Orders, weights: Weights | None = None, *, delta: Number = 1.0) -> Float[Array, ""]:
    """The level of alignment α(σ) = [(N_δ - 1)(1 - w¹) + (1 - w²) + (M - N_δ)(1 - δ)]⁻¹ that F* guarantees.

    F* is the rule `social_choice.proportional`. An alternative y is δ-dominated if some y' has P(y' ≻ y) ≥ δ, and N_δ
    is the number of alternatives that are not. w¹ and w² are the two largest shares of first choices; with one
    alternative, w² = 0.

    Source: Kim et al., Definition 4.8, equation (7), Lemma 4.9.

    Args:
        delta: δ in [0, 1]; P(y' ≻ y) within the tolerance of δ counts as at least δ.

    Returns:
        A number in (0, 1], at most 1/Σ_j u_j with u_j = min_{k≠j} P(j ≻ k).

    Raises:
        ValueError: if the arguments are not a profile or δ lies outside [0, 1].

    Example:
        Only alternatives 0 and 1 are someone's first choice, and only these are not 1-dominated, so α = 1.

        >>> round(float(lemma_4_9_level([[0, 1, 2], [1, 0, 2]], [0.75, 0.25])), 4)
        1.0
    """
    orders, weights = checked_profile(orders, weights)
    delta = _checks.check_number("delta", delta, low=0, high=1, expected="a number in [0, 1]")
    return _lemma_4_9(orders, weights, delta)


@jax.jit
def _lemma_4_9(orders: Array, weights: Array, delta: Array) -> Array:
    alternatives = orders.shape[1]
    matrix = preference_matrix(orders, weights)
    others = ~jnp.eye(alternatives, dtype=bool)
    dominated = jnp.any(others & (matrix >= delta - _checks.tolerance(matrix.dtype)), axis=0)
    undominated = alternatives - jnp.sum(dominated)
    largest = jnp.sort(jnp.append(first_choice_shares(orders, weights), 0))
    first, second = largest[-1], largest[-2]
    return 1 / ((undominated - 1) * (1 - first) + (1 - second) + (alternatives - undominated) * (1 - delta))


def _alignment(rule: Rule, orders: Array, weights: Array, level: Array) -> tuple[Array, ProportionalityWitness]:
    shares = first_choice_shares(orders, weights)
    lottery = as_profile_rule(rule)(orders, weights)
    ratios = _ratios(lottery, shares)
    worst = jnp.argmin(ratios)
    achieved = jnp.minimum(ratios[worst], 1)
    return level - achieved, ProportionalityWitness(worst, achieved, level, shares, lottery)


def _ratios(lottery: Array, shares: Array) -> Array:
    """π_k / w_k, which is inf if w_k = 0; NaN in the lottery stays NaN."""
    # The denominator is replaced by 1 before the division, so that no division by 0 takes place.
    ratios = lottery / jnp.where(shares > 0, shares, 1)
    return jnp.where(shares > 0, ratios, jnp.where(jnp.isnan(lottery), jnp.nan, jnp.inf))
