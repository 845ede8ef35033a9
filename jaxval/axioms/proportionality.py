"""Population-proportional alignment: no group's probability falls far below its share of the population.

Arguments that a function does not list are those of every axiom, which `jaxval.axioms` describes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxval import _checks
from jaxval.axioms._profiles import compiled, door, finish
from jaxval.axioms.rules import as_profile_rule, is_matrix_rule
from jaxval.preferences import first_choice_shares, preference_matrix
from jaxval.types import Number, Orders, Rule, Vector, Weights

__all__ = ["ProportionalityWitness", "lemma_4_9_level", "population_proportional_alignment", "ppa_level"]


class ProportionalityWitness(NamedTuple):
    """The group that the lottery serves worst for its share.

    Attributes:
        alternative: k, the first choice of that group.
        achieved: π_k / w_k, at most 1.
        level: what was asked of it.
        shares: (alternatives,) w, the shares of first choices.
        lottery: (alternatives,) what the rule says.
    """

    alternative: Int[Array, ""]
    achieved: Float[Array, ""]
    level: Float[Array, ""]
    shares: Float[Array, "alternatives"]
    lottery: Float[Array, "alternatives"]


def ppa_level(lottery: Vector, shares: Vector) -> Float[Array, ""]:
    """The level of population-proportional alignment, min_k π_k / w_k over the groups with w_k > 0, at most 1.

    Source: Kim et al., Definition 3.1 and section 5.1. Both sum to one, so the minimum is at most 1 but for rounding.

    Args:
        lottery: (alternatives,) probabilities π.
        shares: (alternatives,) shares of first choices w.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: where either is no distribution, or their lengths differ.

    Example:
        >>> float(ppa_level([0.5, 0.25, 0.25], [0.25, 0.5, 0.25]))
        0.5
    """
    shares = _checks.floating("shares", shares, ndim=1, expected="(alternatives,) shares that sum to one")
    shares = _checks.check_weights(shares, len(shares), name="shares")
    lottery = _checks.check_lottery(lottery, len(shares))
    return jnp.minimum(jnp.min(_ratios(lottery, shares)), 1)


def population_proportional_alignment(
    rule: Rule,
    orders: Orders,
    weights: Weights | None = None,
    *,
    level: float | Callable[..., ArrayLike],
) -> tuple[Float[Array, ""], ProportionalityWitness]:
    """How far the level of alignment falls below the one asked for, α(σ) - min_k π(y_k)/w_k.

    Source: Kim et al., Definition 3.1; for F* Theorem 4.10 promises α as in (7), and Lemma 4.7 promises 1/Σu.

    Args:
        level: α: a number in [0, 1], or a function of P or of (orders, weights) such as `social_choice.certificate` or
            `lemma_4_9_level`.

    Returns:
        (gap, `ProportionalityWitness`); the axiom is violated where gap > 0.

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
    orders, weights = door(orders, weights)
    if not callable(level):
        asked = _checks.check_number("level", level, low=0, high=1, expected="a number in [0, 1], or a function")
    elif is_matrix_rule(level, name="level"):
        asked = jnp.asarray(level(preference_matrix(orders, weights)), dtype=float)
    else:
        asked = jnp.asarray(level(orders, weights), dtype=float)
    gap, witness = compiled(_alignment, rule)(orders, weights, asked)
    return finish(gap, of="rule or level"), witness


def lemma_4_9_level(orders: Orders, weights: Weights | None = None, *, delta: Number = 1.0) -> Float[Array, ""]:
    """The level that F* guarantees, α(σ) = [(N_δ - 1)(1 - w¹) + (1 - w²) + (M - N_δ)(1 - δ)]⁻¹.

    N_δ counts the alternatives that are not δ-dominated: no y' has P(y' ≻ y) ≥ δ. w¹ and w² are the two largest shares
    of first choices (with one alternative w² = 0).

    Source: Kim et al., Definition 4.8, equation (7), Lemma 4.9.

    Args:
        delta: δ in [0, 1]; a P within the tolerance of δ dominates.

    Returns:
        A number in (0, 1], at most 1/Σu.

    Raises:
        ValueError: where the profile is none or δ lies outside [0, 1].

    Example:
        Two alternatives that are not 1-dominated: α = 1.

        >>> round(float(lemma_4_9_level([[0, 1, 2], [1, 0, 2]], [0.75, 0.25])), 4)
        1.0
    """
    orders, weights = door(orders, weights)
    delta = _checks.check_number("delta", delta, low=0, high=1, expected="a number in [0, 1]")
    return _lemma_4_9(orders, weights, delta)


@jax.jit
def _lemma_4_9(orders: Array, weights: Array, delta: Array) -> Array:
    alternatives = orders.shape[1]
    matrix = preference_matrix(orders, weights)
    others = ~jnp.eye(alternatives, dtype=bool)
    dominated = jnp.any(others & (matrix >= delta - _checks.tolerance(matrix.dtype)), axis=0)
    free = alternatives - jnp.sum(dominated)
    largest = jnp.sort(jnp.append(first_choice_shares(orders, weights), 0))
    first, second = largest[-1], largest[-2]
    return 1 / ((free - 1) * (1 - first) + (1 - second) + (alternatives - free) * (1 - delta))


def _alignment(rule: Rule, orders: Array, weights: Array, level: Array) -> tuple[Array, ProportionalityWitness]:
    shares = first_choice_shares(orders, weights)
    lottery = as_profile_rule(rule)(orders, weights)
    ratios = _ratios(lottery, shares)
    worst = jnp.argmin(ratios)
    achieved = jnp.minimum(ratios[worst], 1)
    return level - achieved, ProportionalityWitness(worst, achieved, level, shares, lottery)


def _ratios(lottery: Array, shares: Array) -> Array:
    """π_k / w_k, inf where w_k = 0."""
    ratios = lottery / jnp.where(shares > 0, shares, 1)
    return jnp.where(shares > 0, ratios, jnp.where(jnp.isnan(lottery), jnp.nan, jnp.inf))
