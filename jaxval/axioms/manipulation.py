"""Manipulation by groups: what a group gains by misreporting, and the bounds that hold it down."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxval import _checks
from jaxval.axioms._misreport_search import search_misreports
from jaxval.axioms._misreports import Misreports, count_misreports, enumerate_misreports
from jaxval.axioms._profiles import compiled, door, each, finish
from jaxval.axioms.rules import as_profile_rule
from jaxval.preferences import first_choice_shares, preference_matrix
from jaxval.social_choice import share_bounds
from jaxval.types import BadArgument, Orders, Rule, Weights

__all__ = [
    "BoundedStrategyproofnessWitness", "ManipulationWitness", "Manipulations", "manipulation_gains",
    "population_bounded_manipulability", "population_bounded_strategyproofness", "strategyproofness",
]  # fmt: skip

BOUNDS = ("affine", "share_bounds")
ALL_GROUPS = 6  # ballots up to which every set of them counts as a group: 63


class Manipulations(NamedTuple):
    """What every group does at its best.

    Attributes:
        orders: (alternatives, rankings, alternatives) the profile when group k alone misreports, σ'_k.
        lotteries: (alternatives, alternatives) Φ(σ'_k), one row a group.
        lottery: (alternatives,) Φ(σ), when nobody does.
    """

    orders: Int[Array, "alternatives rankings alternatives"]
    lotteries: Float[Array, "alternatives alternatives"]
    lottery: Float[Array, "alternatives"]


class ManipulationWitness(NamedTuple):
    """The group that comes highest above its bound.

    Attributes:
        alternative: k, the first choice of that group; -1 where no group has members.
        bound: what its probability may be after any misreport.
        orders: (rankings, alternatives) the profile when it misreports, σ'_k; the weights stay.
        lottery: (alternatives,) Φ(σ), when nobody does.
        manipulated_lottery: (alternatives,) Φ(σ'_k).
    """

    alternative: Int[Array, ""]
    bound: Float[Array, ""]
    orders: Int[Array, "rankings alternatives"]
    lottery: Float[Array, "alternatives"]
    manipulated_lottery: Float[Array, "alternatives"]


class BoundedStrategyproofnessWitness(NamedTuple):
    """Where Appendix N fails: a group that loses by top-ranking its alternative, or one above the bound (41).

    Attributes:
        claim: 0: the first claim fails, top-ranking costs; 1: the second, the bound.
        alternative: k.
        group: (rankings,) which ballots are the group's.
        bound: the right side of the claim: Φ after the lift (0) or the bound (1).
        orders: (rankings, alternatives) the profile after the lift (0) or as given (1).
        lottery: (alternatives,) of the profile as given.
        lifted_lottery: (alternatives,) of `orders`.
    """

    claim: Int[Array, ""]
    alternative: Int[Array, ""]
    group: Bool[Array, "rankings"]
    bound: Float[Array, ""]
    orders: Int[Array, "rankings alternatives"]
    lottery: Float[Array, "alternatives"]
    lifted_lottery: Float[Array, "alternatives"]

    def words(self) -> dict[str, str]:
        """What the number stands for."""
        claims = "top-ranking one's own alternative costs", "the probability is above the bound"
        return {"claim": claims[int(self.claim)]}


def manipulation_gains(
    rule: Rule,
    orders: Orders,
    weights: Weights | None = None,
    *,
    reports: str = "ballots",
    method: str = "auto",
    limit: int = 20_000,
    starts: int = 1900,
    ascents: int = 8,
) -> tuple[Float[Array, "alternatives"], Manipulations]:
    """What each group gains at most by misreporting while the others tell the truth, max Φ(σ'_k)(y_k) - Φ(σ)(y_k).

    Group k are the ballots with first choice k. A row reports as one; to let a share of a row report by itself, split
    the row. The best report of a group is often a mixture: with `reports="common"` the gain can be far smaller.

    Source: Kim et al., Definition 3.2 and section 5.1 (policy gain).

    Args:
        rule: a function of P, or of (orders, weights), to a lottery.
        orders: (rankings, alternatives) rankings, best first.
        weights: (rankings,) shares that sum to one; equal shares where None.
        reports: "ballots": each row of the group reports any ranking; "common": the whole group reports one ranking.
        method: "enumerate": all reports, exact; "search": a search, whose gains are lower bounds (common rankings of
            M <= 6 it tries all); "auto": enumerates where no group has more than `limit` reports and the values are
            known, searches elsewhere, so always inside `jit` and `vmap`.
        limit: the most reports of a group that are enumerated.
        starts: how many joint reports the search looks at for each group (at least the M! common ones for M <= 6).
        ascents: from how many of them it climbs. Over many profiles `jax.lax.map` is faster than `vmap`, whose climbs
            all last as long as the longest.

    Returns:
        (gains (alternatives,), `Manipulations`); a gain within the tolerance is 0 and its report the truth. A group
        without members gains 0.

    Raises:
        ValueError: where the profile is none, an option is unknown, the reports are more than `limit` for "enumerate",
            or the rule returns NaN or another shape.

    Example:
        Kim et al., profile (26): the 45 % of group 1 bury alternative 0 and win.

        >>> from jaxval import social_choice
        >>> profile = [[0, 1, 2], [1, 0, 2], [2, 0, 1]], [0.30, 0.45, 0.25]
        >>> gains, found = manipulation_gains(social_choice.maximal_borda, *profile)
        >>> gains.tolist(), found.orders[1, 1].tolist()
        ([0.0, 1.0, 0.0], [1, 2, 0])
    """
    orders, weights = door(orders, weights)
    found = _misreports(
        rule, orders, weights, reports=reports, method=method, limit=limit, starts=starts, ascents=ascents
    )
    gains = found.values - found.lottery
    if _checks.concrete(gains):
        finish(jnp.sum(gains))
    return gains, Manipulations(found.orders, found.lotteries, found.lottery)


def population_bounded_manipulability(
    rule: Rule,
    orders: Orders,
    weights: Weights | None = None,
    *,
    bound: str = "affine",
    gamma: float | int = 0.5,
    reports: str = "ballots",
    method: str = "auto",
    limit: int = 20_000,
    starts: int = 1900,
    ascents: int = 8,
) -> tuple[Float[Array, ""], ManipulationWitness]:
    """How far a group can push its alternative above its bound, max_k Φ(σ'_k)(y_k) - bound_k.

    The bound is γ w_k + (1 - γ), or u_k / (u_k + 1 - w_k) with w and u of the true profile, which F* keeps. Groups
    without members do not count.

    Source: Kim et al., Definitions 3.2 and 3.3, Theorem 4.11.

    Args:
        rule: a function of P, or of (orders, weights), to a lottery.
        orders: (rankings, alternatives) rankings, best first.
        weights: (rankings,) shares that sum to one; equal shares where None.
        bound: "affine" or "share_bounds".
        gamma: γ1 in (0, 1] of the affine bound; γ2 = 1 - γ1.
        reports: as `manipulation_gains`, whose options these are.
        method: as there. Where the reports are searched, a gap of 0 or less is no proof.
        limit: as there.
        starts: as there.
        ascents: as there.

    Returns:
        (gap, `ManipulationWitness`); the axiom is violated where gap > 0.

    Raises:
        ValueError: as `manipulation_gains`, and where gamma lies outside (0, 1].

    Example:
        >>> from jaxval import social_choice
        >>> profile = [[0, 1, 2], [1, 0, 2], [2, 0, 1]], [0.30, 0.45, 0.25]
        >>> gap, witness = population_bounded_manipulability(social_choice.maximal_borda, *profile)
        >>> round(float(gap), 4), int(witness.alternative), round(float(witness.bound), 4)
        (0.35, 0, 0.65)
        >>> gap, _ = population_bounded_manipulability(social_choice.proportional, *profile, bound="share_bounds")
        >>> bool(gap <= 1e-6)
        True
    """
    orders, weights = door(orders, weights)
    bounds = _bounds(orders, weights, bound, gamma)
    found = _misreports(
        rule, orders, weights, reports=reports, method=method, limit=limit, starts=starts, ascents=ascents
    )
    gap, witness = _highest_above(found, bounds, first_choice_shares(orders, weights))
    return finish(gap), witness


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

    1. To top-rank one's own alternative is a dominant strategy: whatever the ballots of σ' are and whoever belongs to
       group k, lifting y_k to the top of all of the group's ballots does not lower Φ(σ')(y_k).
    2. When all do so, Φ(σ')(y_k) ≤ u'_k / (u'_k + 1 - w_k), u' of the reports: then the first choices in σ' are the
       groups.

    This is not `strategyproofness`, and neither implies the other. Majority rule between two alternatives is
    strategyproof and breaks the bound, as it gives a majority of w_k < 1 the probability 1. The proportional policy
    keeps the bound and is not strategyproof.

    The profile given is σ', so that the axiom holds if the gap is at most 0 on all profiles. For the first claim, the
    group is any set of up to 6 ballots; beyond, any ballot alone, all ballots with the same first choice, all with the
    same ranking, all but those with one first choice, all of them, and sets from a fixed seed.

    Source: Kim et al., Appendix N, equation (41).

    Args:
        rule: a function of P, or of (orders, weights), to a lottery.
        orders: (rankings, alternatives) the reports, best first.
        weights: (rankings,) shares that sum to one; equal shares where None.
        bound: "share_bounds" for the bound above, or "affine" for γ w_k + (1 - γ).
        gamma: γ in (0, 1] of the affine bound.

    Returns:
        (gap, `BoundedStrategyproofnessWitness`), the larger of the two; the axiom is violated where gap > 0.

    Raises:
        ValueError: where the profile is none, an option is unknown, or the rule returns NaN or another shape.

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
    orders, weights = door(orders, weights)
    gap, witness = compiled(_bounded_strategyproofness, rule)(orders, weights, _bounds(orders, weights, bound, gamma))
    return finish(gap), witness


def _bounded_strategyproofness(
    rule: Rule, orders: Array, weights: Array, bounds: Array
) -> tuple[Array, BoundedStrategyproofnessWitness]:
    num, alternatives = orders.shape
    groups = _groups(orders)
    profile_rule = as_profile_rule(rule)
    # Candidate 0 lifts nothing: the profile as given goes through the rule in the same batch.
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
    # Where neither fails, the bound is what the witness shows.
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


def strategyproofness(
    rule: Rule,
    orders: Orders,
    weights: Weights | None = None,
    *,
    reports: str = "ballots",
    method: str = "auto",
    limit: int = 20_000,
    starts: int = 1900,
    ascents: int = 8,
) -> tuple[Float[Array, ""], ManipulationWitness]:
    """How much a group gains by misreporting, max_k Φ(σ'_k)(y_k) - Φ(σ)(y_k).

    Group k are the ballots with first choice k, and its utility is the probability of y_k. The others' ballots are
    whatever they report, so a rule is strategyproof if the gap is 0 on all profiles.

    Source: Kim et al., Appendix N, first paragraph.

    Args:
        rule: a function of P, or of (orders, weights), to a lottery.
        orders: (rankings, alternatives) rankings, best first.
        weights: (rankings,) shares that sum to one; equal shares if None.
        reports: as `manipulation_gains`, whose options these are.
        method: as there. If the reports are searched, a gap of 0 is no proof.
        limit: as there.
        starts: as there.
        ascents: as there.

    Returns:
        (gap, `ManipulationWitness`), its bound Φ(σ)(y_k); the axiom is violated if gap > 0.

    Raises:
        ValueError: as `manipulation_gains`.

    Example:
        >>> from jaxval import social_choice
        >>> profile = [[0, 1, 2], [1, 0, 2], [2, 0, 1]], [0.30, 0.45, 0.25]
        >>> gap, witness = strategyproofness(social_choice.maximal_borda, *profile)
        >>> float(gap), int(witness.alternative)
        (1.0, 1)
        >>> float(strategyproofness(social_choice.random_dictatorship, *profile)[0])
        0.0
    """
    orders, weights = door(orders, weights)
    found = _misreports(
        rule, orders, weights, reports=reports, method=method, limit=limit, starts=starts, ascents=ascents
    )
    gap, witness = _highest_above(found, found.lottery, first_choice_shares(orders, weights))
    return finish(gap), witness


@jax.jit
def _highest_above(found: Misreports, bounds: Array, shares: Array) -> tuple[Array, ManipulationWitness]:
    above = jnp.where(shares > 0, found.values - bounds, jnp.where(jnp.isnan(found.values), jnp.nan, -jnp.inf))
    group = jnp.argmax(above)
    return above[group], ManipulationWitness(
        group, bounds[group], found.orders[group], found.lottery, found.lotteries[group]
    )


def _misreports(
    rule: Rule,
    orders: Array,
    weights: Array,
    *,
    reports: str,
    method: str,
    limit: int,
    starts: int,
    ascents: int,
) -> Misreports:
    _checks.check_choice("reports", reports, ("ballots", "common"))
    _checks.check_choice("method", method, ("auto", "enumerate", "search"))
    common = reports == "common"
    starts, ascents = _checks.check_size("starts", starts), _checks.check_size("ascents", ascents)
    if method != "search" and _checks.concrete(orders, weights):
        most = max(count_misreports(np.asarray(orders), np.asarray(weights), common=common))
        if most <= limit:
            return enumerate_misreports(rule, orders, weights, common=common)
        if method == "enumerate":
            raise BadArgument(
                "method",
                expected=f"at most limit={limit} reports of a group to enumerate",
                got=most,
                advice="pass method='search' or a larger limit",
            )
    elif method == "enumerate":
        raise BadArgument(
            "method",
            expected="known values to enumerate",
            got="a tracer",
            advice="pass method='search' inside jit and vmap",
        )
    return search_misreports(rule, orders, weights, common=common, starts=starts, ascents=ascents)


def _bounds(orders: Array, weights: Array, bound: str, gamma: float | int) -> Array:
    _checks.check_choice("bound", bound, BOUNDS)
    if not 0 < gamma <= 1:
        raise BadArgument("gamma", expected="a number in (0, 1]", got=f"{gamma!r}")
    shares = first_choice_shares(orders, weights)
    if bound == "affine":
        return gamma * shares + (1 - gamma)
    largest = share_bounds(preference_matrix(orders, weights))
    return largest / (largest + 1 - shares)  # u_k >= w_k, so the denominator is at least 1


def _groups(orders: Array) -> Array:
    """Sets of ballots, (groups, rankings); the first is a place holder."""
    num, alternatives = orders.shape
    if num <= ALL_GROUPS:
        return (jnp.arange(2**num)[:, None] >> jnp.arange(num)[None]) & 1 == 1
    first = orders[:, 0][None] == jnp.arange(alternatives)[:, None]
    same = jnp.all(orders[:, None] == orders[None], axis=2)
    drawn = np.random.default_rng(0).random((32, num)) < 0.5
    return jnp.concatenate([jnp.ones((2, num), bool), jnp.eye(num, dtype=bool), first, ~first, same, drawn])


def _topped(orders: Array, alternative: Array) -> Array:
    """Every ranking with the alternative lifted to the top, the others keeping their order."""
    return jnp.take_along_axis(orders, jnp.argsort(orders != alternative, axis=1, stable=True), axis=1)
