"""Section 3 and Appendix D: the axioms, random dictatorship, and who of Table 1 is monotone and Pareto efficient."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval.axioms import monotonicity, pareto, ppa_level
from jaxval.social_choice import maximal_borda, proportional, random_dictatorship
from jaxval.theorems.ppa._profiles import (
    APART,
    Case,
    Profile,
    halved,
    induced,
    lifted,
    lifts,
    lottery_of_three,
    manipulated,
    over,
    shares,
    to_top,
)
from jaxval.theorems.ppa.profiles import one_voter
from jaxval.theorems.records import AtMost


def policy(c: Case) -> Array:
    """Any policy, and w^σ itself in a third of the cases."""
    return jnp.where(c.share < 1 / 3, c.w, c.lotteries[0])


@over(2, 5).claim(
    "ppa/definition-3.1",
    "Definition 3.1",
    fails="convention",
    quote="A PSCF Φ satisfies α-population-proportional alignment if π(y_k)/w_k^σ ≥ α(σ) for all σ ∈ Δ(𝒮) and y_k ∈ 𝒴, "
    "where π = Φ(σ) and α: Δ(𝒮) → (0, 1].",
    why="π(y_k)/w_k is 0/0 for a group without members that gets nothing. For one voter with 0 above 1, random "
    "dictatorship, which is to have α = 1 for all σ, has π = w = (1, 0) and a ratio that is no number.",
    corrected="The largest α with π(y_k) ≥ α w_k for all k is at most 1; it is 1 for π = w alone, as π is within 1 - α "
    "of w in total variation.",
    correction={"members": True},
    counterexample=lambda: one_voter(lotteries=((1.0,), (1.0,)), share=0.0),
)
def definition_3_1(c: Case, members: bool = False) -> Any:
    """The largest α with π(y_k)/w_k ≥ α for all y_k ∈ Y is at most 1, and 1 for π = w alone.

    For π is within 1 - α of w in total variation.
    """
    w, lottery = c.w, policy(c)
    empty = members & (w == 0)

    def level(lottery: Array) -> Array:
        ratios = jnp.where(empty, jnp.inf, lottery / jnp.where(empty, 1, w))
        return jnp.where(jnp.any(jnp.isnan(ratios)), jnp.nan, jnp.min(ratios))

    return {
        "at most 1": AtMost(level(lottery), 1.0),
        "near w": AtMost(jnp.sum(jnp.abs(lottery - w)) / 2, 1 - level(lottery)),
        "of w": (level(w), 1.0),
        "library": (ppa_level(lottery, w), level(lottery)),
    }


@over(3).claim(
    "ppa/definition-3.2",
    "Definition 3.2",
    fails="convention",
    quote="Formally, σ'_k is a single-group manipulated profile of σ if there exists a profile σ' such that σ'_k = σ + "
    "w_k^σ(σ' - σ_k).",
    why="For a group without members σ_k = σ_r/w_k is 0/0, and so is σ'_k. One voter with 0 first is enough.",
    corrected="For groups with members σ'_k = σ + w_k (σ' - σ_k) is a profile for every σ', and P moves by w_k (P' - "
    "P_k); a group without members changes nothing.",
    correction={"members": True},
    counterexample=one_voter,
)
def definition_3_2(c: Case, members: bool = False) -> Any:
    """σ'_k = σ + w_k (σ' - σ_k) is the profile σ with σ' for σ_k, whatever σ' and k are; P moves by w_k (P' - P_k)."""
    size, w = len(c.w), c.w
    rankings = np.array(list(itertools.permutations(range(size))))

    def vector(profile: Profile) -> Array:
        same = jnp.all(profile.orders[:, None] == rankings[None], axis=2)
        return jnp.sum(jnp.where(same, profile.weights[:, None], 0), axis=0)

    def of_group(k: Array) -> tuple[Array, Array, Array]:
        empty = members & (w[k] == 0)
        sigma_k = jnp.where(rankings[:, 0] == k, vector(c.profile), 0) / jnp.where(empty, 1, w[k])
        changed = jnp.where(empty, vector(c.profile), vector(c.profile) + w[k] * (vector(c.reports) - sigma_k))
        P_k = induced(Profile(jnp.asarray(rankings), sigma_k))
        P = c.P * APART[size] + jnp.where(empty, 0, w[k] * (induced(c.reports) - P_k))
        return changed, induced(Profile(jnp.asarray(rankings), changed)), P

    changed, found, expected = jax.vmap(of_group)(jnp.arange(size))
    replaced = jax.vmap(lambda k: vector(manipulated(c.profile, k, c.reports)))(jnp.arange(size))
    return {"a profile": AtMost(-changed, 0.0), "in place of σ_k": (changed, replaced), "P": (found, expected)}


@over(2).claim(
    "ppa/definition-3.3",
    "Definition 3.3 and below",
    false="If γ1 + γ2 = 1.05, the bound γ1 w_k + γ2 is 1 for w_k = 1 alone.",
    neighbour={"total": 1.05},
    proof="γ1 w_k + 1 - γ1 = 1 - γ1 (1 - w_k)",
)
def definition_3_3(c: Case, total: float = 1.0) -> Any:
    """If γ1 > 0 and γ1 + γ2 = 1, the bound γ1 w_k + γ2 is 1 for w_k = 1 alone, lower for larger γ1, w_k for γ1 = 1."""
    w, gamma = c.share, 3 * c.small
    bound = gamma * w + total - gamma
    return {
        "below 1": AtMost(bound, 1 - gamma * (1 - w)),
        "larger γ1": AtMost((gamma + c.small) * w + total - gamma - c.small, bound),
        "γ1 = 1": (w + total - 1, w),
    }


@over(2, 5).claim(
    "ppa/strongest-forms",
    "below Definition 3.4",
    false="Every policy exceeds the bound of γ1 = 0.95 for some k.",
    neighbour={"gamma": 0.95},
    proof="Σ_k (π_k - γ1 w_k - 1 + γ1) = (γ1 - 1)(M - 1)",
)
def strongest_forms(c: Case, gamma: Any = None) -> Any:
    """γ = (1, 0) is the strongest form of PBM: by the truth every policy exceeds a bound of γ1 > 1 for some k."""
    gamma, size = 1 + c.small if gamma is None else gamma, len(c.rewards)
    above = policy(c) - (gamma * c.w + 1 - gamma)
    return AtMost(jnp.maximum(gamma - 1, 0) * (1 - 1 / size), jnp.max(above))


@over(2, 5).claim(
    "ppa/definition-3.4",
    "Definition 3.4",
    false="Φ^RD(σ) is the shares of second choices.",
    neighbour={"place": 1},
)
def definition_3_4(c: Case, place: int = 0) -> Any:
    """Φ^RD(σ) = w^σ, the shares of first choices."""
    chosen = c.profile.orders[:, place, None] == np.arange(len(c.rewards))[None]
    return random_dictatorship(*c.profile), jnp.sum(c.profile.weights[:, None] * chosen, axis=0)


@over(2, 5).claim(
    "ppa/random-dictatorship",
    "Proposition 3.5, second sentence, and Appendix E",
    false="Φ^RD satisfies PBM with γ1 = 1.05.",
    neighbour={"gamma": 1.05, "only": "M = 2"},
    proof="w_k(σ'_k) = w_k w_k(σ') ≤ w_k; a lift of y takes no first place from y; who is below another is never first",
)
def random_dictatorship_axioms(c: Case, gamma: float = 1.0) -> Any:
    """Φ^RD satisfies monotonicity, Pareto efficiency, PPA with α = 1 (of groups with members), PBM with γ = (1, 0)."""
    size, w, P = len(c.w), c.w, c.P

    def after(k: Array) -> Array:
        alone = Profile(to_top(jnp.arange(size)[None], k), jnp.ones(1))
        return jnp.stack([shares(manipulated(c.profile, k, reports))[k] for reports in (c.reports, alone)])

    better, y = lifted(c.profile)
    lotteries = jax.vmap(shares)(better)
    return {
        "monotonicity": AtMost(w[y], lotteries[jnp.arange(len(y)), y]),
        "Pareto": AtMost(jnp.where(P >= 1 - 1e-12, w[None] - w[:, None], 0), 0.0),
        "PPA": AtMost(w, random_dictatorship(*c.profile)),
        "PBM": AtMost(jax.vmap(after)(jnp.arange(size)), (gamma * w + 1 - gamma)[:, None]),
    }


@over(3).claim(
    "ppa/definition-D.1",
    "Definition D.1 and Table 1",
    false="Under Φ^MB no alternative loses probability by the lift of another.",
    neighbour={"others": True},
    covers=("ppa-v1/definition-3.1",),
)
def definition_d1(c: Case, others: bool = False) -> Any:
    """A lift of y, all else kept in order, raises P(y ≻ ·) and moves no other pair; Φ^MB does not lower y then."""
    better, y = lifted(c.profile)
    after = jax.vmap(lambda profile: halved(induced(profile)))(better)
    change = after - c.P[None]
    own = np.arange(len(c.rewards))[None] == y[:, None]
    loss = maximal_borda(c.P)[None] - jax.vmap(maximal_borda)(after)
    return {
        "P(y ≻ ·)": AtMost(jnp.where(own[:, :, None], -change, 0), 0.0),
        "other pairs": (jnp.where(own[:, :, None] | own[:, None, :], 0, change), 0.0),
        "Φ^MB": AtMost(jnp.where(own | others, loss, 0), 0.0),
        "P": (after, lifts(c)[0]),
        "library": AtMost(monotonicity(maximal_borda, *c.profile)[0], 0.0),
    }


@over(2, 4).claim(
    "ppa/definition-D.2",
    "Definition D.2 and Table 1",
    false="If 60 % of the voters have y above y', Φ^RD gives y at least as much as y'.",
    neighbour={"asked": 0.6, "only": "M = 4"},
    covers=("ppa-v1/definition-3.2",),
)
def definition_d2(c: Case, asked: float = 1.0) -> Any:
    """If all voters have y above y', Φ^MB and Φ^RD give y at least as much as y'."""
    above = asked - 1e-12 <= c.P
    by_borda, by_dictator = maximal_borda(c.P), c.w
    return {
        "Φ^MB": AtMost(jnp.where(above, by_borda[None] - by_borda[:, None], 0), 0.0),
        "Φ^RD": AtMost(jnp.where(above, by_dictator[None] - by_dictator[:, None], 0), 0.0),
        "library": AtMost(pareto(random_dictatorship, *c.profile)[0], 0.0),
    }


@over(3).claim(
    "ppa/lotteries-not-monotone",
    "Table 1",
    false="When the last group lifts 0 above 1, 0 keeps its probability under Φ^ML, (1 + 2d)/(3 - 6d).",
    neighbour={"kept": 1.0},
    proof="both profiles have a cycle, in which 0's probability is in proportion to the margin of 1 over 2",
)
def lotteries_not_monotone(c: Case, kept: float = 0.0) -> Any:
    """Φ^ML violates monotonicity: a lift of 0 above 1 lowers 0 from (1 + 2d)/(3 - 6d) to (1 + 2d)/3.

    The profile is 012, 120, 201 with (1 - d)/3 each and 102 with d < 1/4, whose voters lift 0.
    """
    d = 0.24 * c.small
    weights = jnp.stack([(1 - d) / 3, (1 - d) / 3, (1 - d) / 3, d])

    def probability(last: list[int]) -> Array:
        orders = jnp.asarray([[0, 1, 2], [1, 2, 0], [2, 0, 1], last])
        return lottery_of_three(halved(induced(Profile(orders, weights))))[0]

    return {
        "before": (probability([1, 0, 2]), (1 + 2 * d) / (3 - 6 * d)),
        "after": (probability([0, 1, 2]), (1 + 2 * d) / (3 - 6 * d * kept)),
    }


@over(3).claim(
    "ppa/pbm-not-strategyproofness",
    "below Definition 3.3",
    false="F* rewards no misreport in profile (26).",
    neighbour={"gain": 0.0},
)
def pbm_not_strategyproofness(c: Case, gain: float = 0.09) -> Any:
    """PBM is not strategyproofness, and neither implies the other.

    In profile (26) F*, within its bound of PBM, gives y2 0.36 by the truth and 0.45 if group 2 reports 1 2 0, of at
    most 0.725. The rule that always takes y1 rewards no misreport, and exceeds every bound of PBM where w_1 < 1.
    """
    weights = jnp.array([0.30, 0.45, 0.25])
    truth, lie = (jnp.array([[0, 1, 2], second, [2, 0, 1]]) for second in ([1, 0, 2], [1, 2, 0]))
    before, after = (proportional(halved(induced(Profile(orders, weights))))[1] for orders in (truth, lie))
    return {
        "truth": (before, 0.36),
        "misreport": (after, before + gain),
        "bound of F*": AtMost(after, (weights[1] + 1) / 2),
        "always y1": AtMost(c.small * weights[0] + 1 - c.small, 1 - 0.7 * c.small),
    }
