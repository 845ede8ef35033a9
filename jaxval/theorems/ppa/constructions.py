"""Proposition 3.5 and Appendices E and F: the profiles on which maximal Borda, maximal lotteries and RD fail."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval.axioms import ppa_level
from jaxval.preferences import borda_scores, preference_matrix
from jaxval.social_choice import maximal_borda, random_dictatorship
from jaxval.theorems.ppa._profiles import (
    APART,
    Case,
    Profile,
    borda,
    bounds,
    by_hand,
    halved,
    induced,
    lottery_of_three,
    mixture,
    over,
    profiles,
    shares,
)
from jaxval.theorems.records import AtMost


def near_tie(size: int, epsilon: Array) -> Profile:
    """(23): w = (1/M + ε, 1/M - ε, 1/M, ...), half of each group for the others in one order, half in the reverse."""
    others = [[j for j in range(size) if j != k] for k in range(size)]
    orders = jnp.array([[k, *rest] for k in range(size) for rest in (others[k], others[k][::-1])])
    w = jnp.full(size, 1 / size).at[:2].add(jnp.stack([epsilon, -epsilon]))
    return Profile(orders, jnp.repeat(w, 2) / 2)


def reported(epsilon: Array) -> Profile:
    """The same with M = 3, where G_3 reports 3 2 1 throughout."""
    profile = near_tie(3, epsilon)
    return profile._replace(orders=profile.orders.at[4].set(profile.orders[5]))


def example_26() -> tuple[Profile, ...]:
    """(26), and the profile in which the second group reports y2, y3, y1."""
    weights = jnp.array([0.30, 0.45, 0.25])
    return tuple(Profile(jnp.array([[0, 1, 2], row, [2, 0, 1]]), weights) for row in ([1, 0, 2], [1, 2, 0]))


def borda_and_lottery(profile: Profile) -> tuple[Array, Array]:
    """Φ^MB and Φ^ML of three alternatives."""
    P = halved(induced(profile))
    return maximal_borda(P), lottery_of_three(P)


@over(3).claim(
    "ppa/proposition-3.5",
    "Proposition 3.5, first sentence",
    false="The profiles of Appendix E put random dictatorship outside α-PPA and γ-PBM for every α and γ1.",
    neighbour={"rules": lambda profile: (shares(profile), shares(profile))},
)
def proposition_3_5(c: Case, rules: Callable[..., Any] = borda_and_lottery) -> Any:
    """Φ^MB and Φ^ML violate α-PPA for every α > 0 and γ-PBM for every γ1 > 0, on the profiles of Appendix E.

    Here M = 3, α is at least 1e-4, γ1 is from 3e-4 to 3, and ε of (25) is γ1/10 or, if that is less, 1/10. Half of α
    and a part of γ1 are to spare.
    """
    alpha, gamma = c.small, 3 * c.small
    capped = jnp.minimum(gamma, 1)
    even, third, second = near_tie(3, 1e-3 + 0.33 * c.share), reported(capped / 10), example_26()[1]
    by_borda, by_lottery = rules(even)
    return {
        "PPA of Φ^MB": AtMost(ppa_level(by_borda, shares(even)), alpha / 2),
        "PPA of Φ^ML": AtMost(ppa_level(by_lottery, shares(even)), alpha / 2),
        "PBM of Φ^MB": AtMost(gamma * 0.45 + 1 - gamma + 0.27 * capped, rules(second)[0][1]),
        "PBM of Φ^ML": AtMost(gamma / 3 + 1 - gamma + 0.03 * capped, rules(third)[1][2]),
    }


@over(2, 4).claim(
    "ppa/equation-23",
    "equation (23), the list below and the sentence after it",
    false="P(y1 ≻ y) = 1/2 + ε for y ≠ y1, y2.",
    neighbour={"factor": 1.0, "only": "M = 4"},
)
def equation_23(c: Case, factor: float = 0.5) -> Any:
    """The shares w = (1/M + ε, 1/M - ε, 1/M, ...) with P_k(i ≻ j) = 1/2 for i, j ≠ k have the P that is listed.

    That is P(y1 ≻ y2) = 1/2 + ε, P(y1 ≻ y) = 1/2 + ε/2, P(y2 ≻ y) = 1/2 - ε/2 and P(y ≻ y') = 1/2, for every ε with
    0 < ε < 1/M. Φ^MB and Φ^ML take y1, which beats all others, so that the level of alignment is 0.
    """
    size, epsilon = len(c.rewards), jnp.minimum(c.small, 0.999) / len(c.rewards)
    profile = near_tie(size, epsilon)
    P = halved(induced(profile))
    listed = jnp.full((size, size), 0.5).at[0, 2:].add(factor * epsilon).at[1, 2:].add(-factor * epsilon)
    listed = listed.at[0, 1].add(epsilon)
    listed = jnp.triu(listed) + jnp.tril(1 - listed.T, -1)
    groups = jax.vmap(lambda orders: induced(Profile(orders, jnp.full(2, 0.5))))(profile.orders.reshape(size, 2, size))
    others = APART[size][:, :, None] & APART[size][:, None, :] & APART[size][None]
    return {
        "w": (shares(profile)[:2], jnp.stack([1 / size + epsilon, 1 / size - epsilon])),
        "P_k": (jnp.where(others, groups, 0.5), 0.5),
        "P": (P, listed),
        "Φ^MB": (maximal_borda(P), jnp.eye(size)[0]),
        "Φ^ML": AtMost(0.5 + epsilon / 2, bounds(P)[0]),
        "PPA": (ppa_level(jnp.eye(size)[0], shares(profile)), 0.0),
    }


@over(3).claim(
    "ppa/equation-25",
    "equations (24) and (25)",
    fails="convention",
    quote="Φ^ML yields a stochastic policy that depends on the value of ε. For example, if ε = 1/12, the resulting "
    "policy is π = [1/4, 1/4, 1/2]. However, as ε approaches 0, the resulting policy converges to [0, 0, 1].",
    why="Any ε up to 1/3 leaves w_2 ≥ 0, but from ε = 1/6 on y1 still wins against y2, P(y1 ≻ y2) = 1/3 + ε ≥ 1/2. At "
    "ε = 1/4 it is 7/12, and 5/8 against y3, so that Φ^ML is (1, 0, 0).",
    corrected="If group 3 of (23) reports y2 above y1, (24) becomes (25), and Φ^ML is (3ε, 3ε, 1 - 6ε) for ε < 1/6.",
    correction={"most": 0.999 / 6},
    counterexample=lambda: by_hand(small=0.75),
    covers=("ppa/equation-24",),
)
def equation_25(c: Case, most: float = 1 / 3) -> Any:
    """If group 3 of (23) reports y2 above y1, (24) becomes (25), whose Φ^ML is a stochastic policy for all ε ≤ 1/3.

    It is (3ε, 3ε, 1 - 6ε) for ε < 1/6, such as (1/4, 1/4, 1/2) for ε = 1/12.
    """
    e = most * c.small
    before = [[1 / 2, 1 / 2 + e, (1 + e) / 2], [1 / 2 - e, 1 / 2, (1 - e) / 2], [(1 - e) / 2, (1 + e) / 2, 1 / 2]]
    after = [[1 / 2, 1 / 3 + e, (1 + e) / 2], [2 / 3 - e, 1 / 2, (1 - e) / 2], [(1 - e) / 2, (1 + e) / 2, 1 / 2]]
    lottery = lottery_of_three(jnp.array(after))
    formula = jnp.stack([3 * e, 3 * e, 1 - 6 * e])
    example = lottery_of_three(halved(induced(reported(jnp.asarray(1 / 12)))))
    return {
        "(24)": (halved(induced(near_tie(3, e))), jnp.array(before)),
        "(25)": (halved(induced(reported(e))), jnp.array(after)),
        "stochastic": AtMost(1.0 * (jnp.max(lottery) == 1), 0.0),
        "ε < 1/6": (jnp.where(e < 0.999 / 6, lottery, 0), jnp.where(e < 0.999 / 6, formula, 0)),
        "ε = 1/12": (example, jnp.array([1 / 4, 1 / 4, 1 / 2])),
    }


@over(3).claim(
    "ppa/equation-26",
    "equation (26)",
    false="1 is at least 1.05 times γ1 · 0.45 + 1 - γ1 for every γ1 > 0.",
    neighbour={"factor": 1.05},
)
def equation_26(c: Case, factor: float = 1.0) -> Any:
    """The profile (26) has the Borda scores (1.3, 1.20, 0.5), and (0.85, 1.2, 0.95) if group 2 reports y2, y3, y1.

    Φ^MB takes y1 at first and y2 then, and 1 is above the bound γ1 · 0.45 + 1 - γ1 for every γ1 > 0.
    """
    gamma, (true, false) = 3 * c.small, example_26()
    scores = jnp.array([[1.3, 1.20, 0.5], [0.85, 1.2, 0.95]])
    return {
        "B": (borda(true), scores[0]),
        "B'": (borda(false), scores[1]),
        "library": (jnp.stack([borda_scores(preference_matrix(*profile)) for profile in (true, false)]), scores),
        "policies": (jnp.stack([maximal_borda(halved(induced(p))) for p in (true, false)]), jnp.eye(3)[:2]),
        "PBM": AtMost(factor * (gamma * 0.45 + 1 - gamma), 1.0),
    }


# Appendix F


def example_27() -> tuple[Profile, Profile]:
    """The two profiles of (27)."""
    first = Profile(jnp.array([[0, 1, 2], [1, 0, 2], [2, 0, 1]]), jnp.full(3, 1 / 3))
    return first, Profile(jnp.array([[0, 1, 2], [2, 1, 0]]), jnp.array([2 / 3, 1 / 3]))


EQUATION_28 = np.array([[1 / 2, 2 / 3, 2 / 3], [1 / 3, 1 / 2, 2 / 3], [1 / 3, 1 / 3, 1 / 2]])
SHARES_27 = np.array([[1 / 3, 1 / 3, 1 / 3], [2 / 3, 0, 1 / 3]])


@over(3).claim(
    "ppa/equation-27",
    "equations (27) and (28)",
    false="Mixed with any other profile, the two profiles of (27) have one w.",
    neighbour={"apart": 0.0},
    covers=("ppa/equation-28",),
)
def equation_27(c: Case, apart: float = 1.0) -> Any:
    """Both profiles of (27) induce (28), with Φ^RD = (1/3, 1/3, 1/3) and (2/3, 0, 1/3).

    Mixed with any other profile, they have one P and different w.
    """
    pair, t = example_27(), 0.05 + 0.95 * c.share
    one, other = (mixture([(t, profile), (1 - t, c.profile)]) for profile in pair)
    return {
        "(28)": (jnp.stack([halved(induced(profile)) for profile in pair]), EQUATION_28[None]),
        "Φ^RD": (jnp.stack([random_dictatorship(*profile) for profile in pair]), SHARES_27),
        "mixed P": (induced(one), induced(other)),
        "mixed w": (shares(one) - shares(other), apart * t * (SHARES_27[0] - SHARES_27[1])),
    }


@functools.cache
def determined(size: int, asked: str) -> float:
    """Whether P tells the shares of first choices, Borda scores or profiles: no rank is added to the map σ → P."""
    place = np.argsort(np.array(list(itertools.permutations(range(size)))), axis=1)
    known = np.array([np.ones(len(place))] + [1.0 * (place[:, i] < place[:, j]) for i in range(size) for j in range(i)])
    rows = {"w": 1.0 * (place.T == 0), "B": size - 1.0 - place.T, "σ": np.eye(len(place))[: 2 * size]}[asked]
    return float(np.linalg.matrix_rank(np.vstack([known, rows])) == np.linalg.matrix_rank(known))


@profiles.claim(
    "ppa/random-dictatorship-not-implementable",
    "section 3.3 and Appendix F",
    fails="convention",
    quote="Because w^σ cannot be recovered solely from P^σ, no mapping from preference functions to policies can "
    "implement Φ^RD.",
    why="With two alternatives w = (P(y1 ≻ y2), P(y2 ≻ y1)), and F(P) = that implements Φ^RD. Appendix F takes M = 3.",
    corrected="For M ≥ 3 no mapping from preference functions to policies implements Φ^RD, as P does not determine w.",
    correction={"least": 3},
    counterexample=by_hand,
    false="For M ≥ 3 P does not determine the Borda scores.",
    neighbour={"least": 3, "asked": "B"},
    proof="w is outside the row space of the map σ → P, of which the ranks are computed for M = 2 to 6",
)
def random_dictatorship_not_implementable(c: Case, least: int = 2, asked: str = "w") -> Any:
    """No mapping from preference functions to policies implements Φ^RD, as P does not determine w."""
    size = len(c.rewards)
    return AtMost(0.0 * c.share + (size >= least) * determined(size, asked), 0.0)
