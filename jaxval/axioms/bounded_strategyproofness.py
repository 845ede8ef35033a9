"""The population-bounded guarantee: a group does best to top-rank its alternative, and then stays within its bound.

`jaxval.axioms` describes the arguments that every axiom takes; functions list only their further ones.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxval.axioms._profiles import checked_profile, compiled, each, finish
from jaxval.axioms.manipulation import group_bounds
from jaxval.axioms.rules import as_profile_rule
from jaxval.preferences import first_choice_shares
from jaxval.types import Orders, Rule, Weights

__all__ = ["BoundedStrategyproofnessWitness", "population_bounded_strategyproofness"]

ALL_GROUPS = 6  # with at most six ballots, every set of them is tried as a group: 63 sets


class BoundedStrategyproofnessWitness(NamedTuple):
    """Where Appendix N fails: a group that loses by top-ranking its alternative, or one above the bound (41).

    Attributes:
        claim: 0 if the first claim fails (top-ranking costs probability), 1 if the second fails (the bound is broken).
        alternative: k.
        group: (rankings,) a mask of the group's ballots.
        bound: the right side of the claim: Φ after the lift for claim 0, the bound for claim 1.
        orders: (rankings, alternatives) the profile after the lift for claim 0, the profile as given for claim 1.
        lottery: (alternatives,) the lottery of the profile as given.
        lifted_lottery: (alternatives,) the lottery of `orders`.
    """

    claim: Int[Array, ""]
    alternative: Int[Array, ""]
    group: Bool[Array, "rankings"]
    bound: Float[Array, ""]
    orders: Int[Array, "rankings alternatives"]
    lottery: Float[Array, "alternatives"]
    lifted_lottery: Float[Array, "alternatives"]

    def words(self) -> dict[str, str]:
        """What the number in a field means: a dictionary from the name of the field to words."""
        claims = "top-ranking one's own alternative costs", "the probability is above the bound"
        return {"claim": claims[int(self.claim)]}


def population_bounded_strategyproofness(
    rule: Rule,
    orders: Orders,
    weights: Weights | None = None,
    *,
    bound: str = "share_bounds",
    gamma: float | int = 0.5,
) -> tuple[Float[Array, ""], BoundedStrategyproofnessWitness]:
    """How far the population-bounded guarantee of Appendix N fails, when every group may misreport and reports σ'.

    The guarantee has two claims:

    1. Top-ranking one's own alternative is a dominant strategy: for all ballots σ' and every group k, lifting y_k to
       the top of all of the group's ballots does not lower Φ(σ')(y_k).
    2. If every group top-ranks its alternative, then Φ(σ')(y_k) ≤ u'_k / (u'_k + 1 - w_k), where u' are the share
       bounds of the reports. The first choices in σ' then tell the groups.

    This is not `strategyproofness`, and neither implies the other. Majority rule between two alternatives is
    strategyproof and breaks the bound, as it gives a majority of w_k < 1 the probability 1. The proportional policy
    keeps the bound and is not strategyproof.

    The profile given is σ', so that the axiom holds if the gap is at most 0 on all profiles. With up to 6 ballots, the
    first claim is checked for every set of ballots as the group. With more ballots, these groups are checked: each
    ballot alone, all ballots with the same first choice, all with the same ranking, all but those with one first
    choice, all ballots, and 32 sets from a fixed seed.

    Source: Kim et al., Appendix N, equation (41).

    Args:
        orders: (rankings, alternatives) the reports, best first.
        bound: "share_bounds" for the bound above, or "affine" for γ w_k + (1 - γ).
        gamma: γ in (0, 1] of the affine bound.

    Returns:
        (gap, `BoundedStrategyproofnessWitness`), for the claim that fails by more; the axiom is violated if gap > 0.

    Example:
        >>> from jaxval import social_choice
        >>> profile = [[0, 1, 2], [1, 0, 2], [2, 0, 1]], [0.30, 0.45, 0.25]
        >>> gap, _ = population_bounded_strategyproofness(social_choice.proportional, *profile)
        >>> bool(gap <= 1e-6)
        True
        >>> gap, witness = population_bounded_strategyproofness(social_choice.maximal_borda, *profile)
        >>> int(witness.claim), int(witness.alternative), round(float(gap), 4)
        (1, 0, 0.56)
    """
    orders, weights = checked_profile(orders, weights)
    gap, witness = compiled(_bounded_strategyproofness, rule)(
        orders, weights, group_bounds(orders, weights, bound, gamma)
    )
    return finish(gap), witness


def _bounded_strategyproofness(
    rule: Rule, orders: Array, weights: Array, bounds: Array
) -> tuple[Array, BoundedStrategyproofnessWitness]:
    num, alternatives = orders.shape
    groups = _groups(orders)
    profile_rule = as_profile_rule(rule)
    # Candidate 0 lifts nothing, so that the same batch gives the lottery of the profile as given.
    which = np.concatenate([[0], np.repeat(np.arange(1, len(groups)), alternatives)])
    lifted_to_top = np.concatenate([[0], np.tile(np.arange(alternatives), len(groups) - 1)])

    def lifted(group: Array, alternative: Array) -> Array:
        return jnp.where(groups[group][:, None], _topped(orders, alternative), orders)

    lotteries = each(
        lambda g, y: profile_rule(lifted(g, y), weights), which, lifted_to_top, numbers=num * alternatives**2
    )
    lottery = lotteries[0]
    losses = lottery[lifted_to_top] - lotteries[jnp.arange(len(which)), lifted_to_top]
    some = jnp.any(groups & (weights > 0)[None], axis=1)[which]
    losses = jnp.where(some, losses, jnp.where(jnp.isnan(lottery[0]), jnp.nan, -jnp.inf))
    above = jnp.where(first_choice_shares(orders, weights) > 0, lottery - bounds, -jnp.inf)
    loss, excess = jnp.argmax(losses), jnp.argmax(above)
    # If neither claim fails, the witness shows the second.
    claim = jnp.where(losses[loss] > jnp.maximum(above[excess], 0), 0, 1)
    first = claim == 0
    alternative = jnp.where(first, jnp.asarray(lifted_to_top)[loss], excess)
    group = jnp.where(first, groups[jnp.asarray(which)[loss]], (orders[:, 0] == excess) & (weights > 0))
    lifted_lottery = jnp.where(first, lotteries[loss], lottery)
    witness = BoundedStrategyproofnessWitness(
        claim,
        alternative,
        group,
        jnp.where(first, lotteries[loss, alternative], bounds[excess]),
        jnp.where((first & group)[:, None], _topped(orders, alternative), orders),
        lottery,
        lifted_lottery,
    )
    return jnp.maximum(losses[loss], above[excess]), witness


def _groups(orders: Array) -> Array:
    """Sets of ballots, (groups, rankings); the caller does not use the first."""
    num, alternatives = orders.shape
    if num <= ALL_GROUPS:
        return (jnp.arange(2**num)[:, None] >> jnp.arange(num)[None]) & 1 == 1
    first = orders[:, 0][None] == jnp.arange(alternatives)[:, None]
    same = jnp.all(orders[:, None] == orders[None], axis=2)
    drawn = np.random.default_rng(0).random((32, num)) < 0.5
    return jnp.concatenate([jnp.ones((2, num), bool), jnp.eye(num, dtype=bool), first, ~first, same, drawn])


def _topped(orders: Array, alternative: Array) -> Array:
    """Every ranking with the alternative lifted to the top; the others keep their order."""
    return jnp.take_along_axis(orders, jnp.argsort(orders != alternative, axis=1, stable=True), axis=1)
