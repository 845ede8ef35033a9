"""Manipulation by groups: what a group gains by misreporting while the others tell the truth, and bounds on it.

`jaxval.axioms` describes the arguments that every axiom takes; functions list only their further ones.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxval import _checks
from jaxval.axioms._misreport_search import search_misreports
from jaxval.axioms._misreports import Misreports, count_misreports, enumerate_misreports
from jaxval.axioms._profiles import checked_profile, finish
from jaxval.preferences import first_choice_shares, preference_matrix
from jaxval.social_choice import share_bounds
from jaxval.types import BadArgument, Orders, Rule, Weights

__all__ = [
    "ManipulationWitness",
    "Manipulations",
    "manipulation_gains",
    "population_bounded_manipulability",
    "strategyproofness",
]

BOUNDS = ("affine", "share_bounds")


class Manipulations(NamedTuple):
    """The best report of every group.

    Attributes:
        orders: (alternatives, rankings, alternatives) σ'_k, the profile if group k alone misreports.
        lotteries: (alternatives, alternatives) Φ(σ'_k), one row for each group.
        lottery: (alternatives,) Φ(σ), the lottery if no group misreports.
    """

    orders: Int[Array, "alternatives rankings alternatives"]
    lotteries: Float[Array, "alternatives alternatives"]
    lottery: Float[Array, "alternatives"]


class ManipulationWitness(NamedTuple):
    """The group whose alternative gets furthest above its bound.

    Attributes:
        alternative: k, the first choice of that group; -1 if no group has members.
        bound: the most that the alternative's probability may be after any misreport.
        orders: (rankings, alternatives) σ'_k, the profile if the group misreports; the weights do not change.
        lottery: (alternatives,) Φ(σ), the lottery if no group misreports.
        manipulated_lottery: (alternatives,) Φ(σ'_k), the lottery if the group misreports.
    """

    alternative: Int[Array, ""]
    bound: Float[Array, ""]
    orders: Int[Array, "rankings alternatives"]
    lottery: Float[Array, "alternatives"]
    manipulated_lottery: Float[Array, "alternatives"]


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
    """The most that each group gains by misreporting while the others tell the truth, max Φ(σ'_k)(y_k) - Φ(σ)(y_k).

    Group k is the ballots with first choice k. All voters of a row report the same ranking. To let a share of a row
    report another ranking, split the row. The best report of a group is often a mixture of rankings: with
    `reports="common"` the gain can be far smaller.

    Source: Kim et al., Definition 3.2 and section 5.1 (policy gain).

    Args:
        reports: with "ballots", each row of the group reports any ranking; with "common", the whole group reports one
            ranking.
        method: "enumerate" tries all reports, so that the gains are exact. "search" runs a search, whose gains are
            lower bounds; if M <= 6, it tries all common rankings. "auto" enumerates if no group has more than
            `limit` reports and the arguments are concrete, and else searches, as it always does inside `jit` and
            `vmap`.
        limit: the most reports of a group that are enumerated.
        starts: how many joint reports the search evaluates for each group; at least the M! common ones if M <= 6.
        ascents: how many of these joint reports the search climbs from. For many profiles use `jax.lax.map`: under
            `vmap`, each climb waits for the slowest.

    Returns:
        (gains (alternatives,), `Manipulations`). If a gain is within the tolerance, it is 0 and the group's report is
        the truth. A group without members gains 0.

    Raises:
        ValueError: if the arguments are not a profile, an option is unknown, a group has more than `limit` reports and
            the method is "enumerate", or the rule returns NaN or another shape.

    Example:
        Kim et al., profile (26): group 1, 45 % of the voters, ranks alternative 0 last, and its own alternative wins.

        >>> from jaxval import social_choice
        >>> profile = [[0, 1, 2], [1, 0, 2], [2, 0, 1]], [0.30, 0.45, 0.25]
        >>> gains, found = manipulation_gains(social_choice.maximal_borda, *profile)
        >>> gains.tolist(), found.orders[1, 1].tolist()
        ([0.0, 1.0, 0.0], [1, 2, 0])
    """
    orders, weights = checked_profile(orders, weights)
    result = best_misreports(
        rule, orders, weights, reports=reports, method=method, limit=limit, starts=starts, ascents=ascents
    )
    gains = result.values - result.lottery
    if _checks.concrete(gains):
        finish(jnp.sum(gains))
    return gains, Manipulations(result.orders, result.lotteries, result.lottery)


def population_bounded_manipulability(
    rule: Rule,
    orders: Orders,
    weights: Weights | None = None,
    *,
    bound: str = "affine",
    gamma: float | int = 0.5,
    **options: Any,
) -> tuple[Float[Array, ""], ManipulationWitness]:
    """How far a group can push its alternative above its bound, max_k Φ(σ'_k)(y_k) - bound_k.

    Φ(σ'_k)(y_k) is the probability of group k's first choice y_k if the group reports what suits it best and the others
    tell the truth. Its bound is γ w_k + (1 - γ), or u_k / (u_k + 1 - w_k), where w_k is the group's share of the voters
    and u_k = min_{j≠k} P(k ≻ j) in the true profile. The rule `proportional` satisfies the second bound. Groups
    without members are not counted.

    Source: Kim et al., Definitions 3.2 and 3.3, Theorem 4.11.

    Args:
        bound: "affine" or "share_bounds".
        gamma: γ1 in (0, 1] of the affine bound; γ2 = 1 - γ1.
        options: the options of `manipulation_gains`. If reports are searched, better ones may be missed, and a gap of
            0 or less does not prove that the axiom holds.

    Returns:
        (gap, `ManipulationWitness`); the axiom is violated if gap > 0.

    Raises:
        ValueError: as `manipulation_gains`, and if gamma lies outside (0, 1].

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
    orders, weights = checked_profile(orders, weights)
    bounds = group_bounds(orders, weights, bound, gamma)
    result = best_misreports(rule, orders, weights, **options)
    gap, witness = _highest_above(result, bounds, first_choice_shares(orders, weights))
    return finish(gap), witness


def strategyproofness(
    rule: Rule,
    orders: Orders,
    weights: Weights | None = None,
    **options: Any,
) -> tuple[Float[Array, ""], ManipulationWitness]:
    """How much a group gains by misreporting, max_k Φ(σ'_k)(y_k) - Φ(σ)(y_k).

    Group k is the ballots with first choice k, and its utility is the probability of y_k. The rankings of
    the other groups are their reports, true or not. A rule is therefore strategyproof if the gap is 0 on all profiles.

    Source: Kim et al., Appendix N, first paragraph.

    Args:
        options: the options of `manipulation_gains`. If reports are searched, better ones may be missed, and a gap of
            0 does not prove that the axiom holds.

    Returns:
        (gap, `ManipulationWitness`), whose bound is Φ(σ)(y_k); the axiom is violated if gap > 0.

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
    orders, weights = checked_profile(orders, weights)
    result = best_misreports(rule, orders, weights, **options)
    gap, witness = _highest_above(result, result.lottery, first_choice_shares(orders, weights))
    return finish(gap), witness


@jax.jit
def _highest_above(result: Misreports, bounds: Array, shares: Array) -> tuple[Array, ManipulationWitness]:
    above = jnp.where(shares > 0, result.values - bounds, jnp.where(jnp.isnan(result.values), jnp.nan, -jnp.inf))
    group = jnp.argmax(above)
    return above[group], ManipulationWitness(
        group, bounds[group], result.orders[group], result.lottery, result.lotteries[group]
    )


def best_misreports(
    rule: Rule,
    orders: Array,
    weights: Array,
    *,
    reports: str = "ballots",
    method: str = "auto",
    limit: int = 20_000,
    starts: int = 1900,
    ascents: int = 8,
) -> Misreports:
    """The best report of each group and its lottery, by enumeration or by search; see `manipulation_gains`."""
    _checks.check_choice("reports", reports, ("ballots", "common"))
    _checks.check_choice("method", method, ("auto", "enumerate", "search"))
    common = reports == "common"
    starts, ascents = _checks.check_size("starts", starts), _checks.check_size("ascents", ascents)
    _checks.check_number("limit", limit, low=0, high=np.inf, expected="a number of reports")
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


def group_bounds(orders: Array, weights: Array, bound: str, gamma: float | int) -> Array:
    """The bound on the probability of each group's alternative: γ w_k + (1 - γ), or u_k / (u_k + 1 - w_k)."""
    _checks.check_choice("bound", bound, BOUNDS)
    if not 0 < gamma <= 1:
        raise BadArgument("gamma", expected="a number in (0, 1]", got=f"{gamma!r}")
    shares = first_choice_shares(orders, weights)
    if bound == "affine":
        return gamma * shares + (1 - gamma)
    largest = share_bounds(preference_matrix(orders, weights))
    return largest / (largest + 1 - shares)  # u_k >= w_k, so the denominator is at least 1
