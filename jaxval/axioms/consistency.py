"""Agreement with unanimous and majority preferences: Pareto efficiency, Condorcet winners, majority rankings.

`jaxval.axioms` describes the arguments that every axiom takes; functions list only their further ones.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxval.axioms._profiles import checked_profile, compiled, finish
from jaxval.axioms.rules import as_profile_rule
from jaxval.preferences import condorcet_winner, pmc_ranking, preference_matrix
from jaxval.types import Orders, Rule, Weights

__all__ = ["CondorcetWitness", "MajorityWitness", "ParetoWitness", "condorcet", "pairwise_majority", "pareto"]


class ParetoWitness(NamedTuple):
    """The pair on which the rule departs most from unanimity.

    Attributes:
        better: the alternative that every ballot ranks above the other; -1 if no pair is unanimous.
        worse: the other alternative of the pair; -1 if no pair is unanimous.
        lottery: (alternatives,) the lottery that the rule returns.
    """

    better: Int[Array, ""]
    worse: Int[Array, ""]
    lottery: Float[Array, "alternatives"]


class CondorcetWitness(NamedTuple):
    """The Condorcet winner and what the rule gives it.

    Attributes:
        winner: the Condorcet winner; -1 if the profile has none.
        lottery: (alternatives,) the lottery that the rule returns.
    """

    winner: Int[Array, ""]
    lottery: Float[Array, "alternatives"]


class MajorityWitness(NamedTuple):
    """The pair on which the lottery's order departs most from the majority ranking.

    Attributes:
        ranking: (alternatives,) the PMC ranking, best first; -1 throughout if the profile has none.
        better: the alternative of the pair that the ranking puts above; -1 if the profile has no PMC ranking.
        worse: the other alternative of the pair; -1 likewise.
        lottery: (alternatives,) the lottery that the rule returns.
    """

    ranking: Int[Array, "alternatives"]
    better: Int[Array, ""]
    worse: Int[Array, ""]
    lottery: Float[Array, "alternatives"]


def pareto(rule: Rule, orders: Orders, weights: Weights | None = None) -> tuple[Float[Array, ""], ParetoWitness]:
    """How much more probability an alternative has than one that every ballot prefers, max Φ(σ)(y') - Φ(σ)(y).

    The maximum is over pairs with r(y) < r(y') in every ranking r with σ_r > 0.

    Source: Kim et al., Definition D.2 (the weak inequality: equal probabilities are allowed).

    Returns:
        (gap, `ParetoWitness`); the axiom is violated if gap > 0. The gap is -inf if no pair is unanimous.

    Example:
        >>> constant = lambda matrix: jnp.array([0.25, 0.75])
        >>> gap, witness = pareto(constant, [[0, 1], [0, 1]])
        >>> float(gap), int(witness.better), int(witness.worse)
        (0.5, 0, 1)
        >>> float(pareto(constant, [[0, 1], [1, 0]])[0])
        -inf
    """
    gap, witness = compiled(_pareto, rule)(*checked_profile(orders, weights))
    return finish(gap), witness


def condorcet(rule: Rule, orders: Orders, weights: Weights | None = None) -> tuple[Float[Array, ""], CondorcetWitness]:
    """How much probability a Condorcet winner y* does not get, 1 - Φ(σ)(y*).

    Source: Kim et al., Definition 4.12. A share within the tolerance of 1/2 is not a majority.

    Returns:
        (gap, `CondorcetWitness`); the axiom is violated if gap > 0. The gap is -inf if there is no Condorcet winner.

    Example:
        >>> from jaxval import social_choice
        >>> profile = [[0, 1], [1, 0]], [0.75, 0.25]
        >>> [float(condorcet(rule, *profile)[0]) for rule in (social_choice.minimax, social_choice.proportional)]
        [0.0, 0.25]
    """
    gap, witness = compiled(_condorcet, rule)(*checked_profile(orders, weights))
    return finish(gap), witness


def pairwise_majority(
    rule: Rule, orders: Orders, weights: Weights | None = None
) -> tuple[Float[Array, ""], MajorityWitness]:
    """How much more probability an alternative has than one that the PMC ranking prefers, max Φ(σ)(y_j) - Φ(σ)(y_i).

    The maximum is over pairs with r^σ(y_i) < r^σ(y_j), where r^σ agrees with every majority.

    Source: Kim et al., Definitions R.1 and R.2 (the weak inequality). A share within the tolerance of 1/2 is a tie, and
    a profile with a tie has no PMC ranking.

    Returns:
        (gap, `MajorityWitness`); the axiom is violated if gap > 0. The gap is -inf if there is no PMC ranking or only
        one alternative.

    Example:
        Kim et al., profile (47): the majorities rank 2, 0, 1, but the lottery gives 0 and 1 0.3 / 1.3 < 0.4 / 1.3.

        >>> from jaxval import social_choice
        >>> orders, weights = [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]], [0.3, 0.1, 0.3, 0.3]
        >>> gap, witness = pairwise_majority(social_choice.proportional, orders, weights)
        >>> round(float(gap), 4), int(witness.better), int(witness.worse)
        (0.0769, 0, 1)
    """
    gap, witness = compiled(_pairwise_majority, rule)(*checked_profile(orders, weights))
    return finish(gap), witness


def _pareto(rule: Rule, orders: Array, weights: Array) -> tuple[Array, ParetoWitness]:
    lottery = as_profile_rule(rule)(orders, weights)
    rank = jnp.argsort(orders, axis=1)
    above = rank[:, :, None] < rank[:, None, :]
    unanimous = jnp.all(above | (weights == 0)[:, None, None], axis=0)
    gap, better, worse = _worst_pair(lottery, unanimous)
    return gap, ParetoWitness(better, worse, lottery)


def _condorcet(rule: Rule, orders: Array, weights: Array) -> tuple[Array, CondorcetWitness]:
    lottery = as_profile_rule(rule)(orders, weights)
    winner = condorcet_winner(preference_matrix(orders, weights))
    gap = jnp.where(winner >= 0, 1 - lottery[winner], -jnp.inf)
    return jnp.where(jnp.any(jnp.isnan(lottery)), jnp.nan, gap), CondorcetWitness(winner, lottery)


def _pairwise_majority(rule: Rule, orders: Array, weights: Array) -> tuple[Array, MajorityWitness]:
    lottery = as_profile_rule(rule)(orders, weights)
    ranking = pmc_ranking(preference_matrix(orders, weights))
    rank = jnp.argsort(ranking)
    above = (rank[:, None] < rank[None, :]) & (ranking[0] >= 0)
    gap, better, worse = _worst_pair(lottery, above)
    return gap, MajorityWitness(ranking, better, worse, lottery)


def _worst_pair(lottery: Array, above: Array) -> tuple[Array, Array, Array]:
    """The largest lottery[j] - lottery[i] over the pairs with above[i, j], and that pair.

    If above[i, j] holds for no pair, the difference is -inf and both indices are -1.
    """
    differences = jnp.where(above, lottery[None, :] - lottery[:, None], -jnp.inf)
    differences = jnp.where(jnp.isnan(lottery), jnp.nan, differences)
    worst = jnp.argmax(differences)
    better, worse = jnp.unravel_index(worst, above.shape)
    some = jnp.any(above)
    return differences.ravel()[worst], jnp.where(some, better, -1), jnp.where(some, worse, -1)
