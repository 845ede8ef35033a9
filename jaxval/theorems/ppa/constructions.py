"""Proposition 3.5 and Appendices E and F: the profiles on which maximal Borda, maximal lotteries and RD fail."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from jaxval.axioms import as_profile_rule, population_bounded_manipulability, ppa_level
from jaxval.preferences import borda_scores, preference_matrix
from jaxval.social_choice import maximal_borda, maximal_lottery, maximal_lottery_solve, random_dictatorship
from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ppa._old_profiles import (
    Instance,
    Profile,
    borda,
    by_hand,
    every,
    generate,
    halved,
    induced,
    shares,
    worst,
)
from jaxval.types import Rule

__all__ = ["CLAIMS"]

SIZES = (2, 3, 4)


def near_tie_orders(size: int) -> np.ndarray:
    """Two rankings for each group: the others in one order, and in the reverse."""
    others = [[j for j in range(size) if j != k] for k in range(size)]
    return np.array([[k, *rest] for k in range(size) for rest in (others[k], others[k][::-1])])


def near_tie(size: int, epsilon: Array) -> Profile:
    """Shares (1/M + ε, 1/M - ε, 1/M, ...), half of each group for either of its rankings."""
    w = jnp.full(size, 1 / size).at[:2].add(jnp.stack([epsilon, -epsilon]))
    return Profile(jnp.asarray(near_tie_orders(size)), jnp.repeat(w, 2) / 2)


def bullets(size: int, epsilon: Array, *, factor: float = 0.5) -> Array:
    """P as Appendix E lists it below (23)."""
    matrix = jnp.full((size, size), 0.5)
    matrix = matrix.at[0, 2:].add(factor * epsilon).at[2:, 0].add(-factor * epsilon)
    matrix = matrix.at[1, 2:].add(-factor * epsilon).at[2:, 1].add(factor * epsilon)
    return matrix.at[0, 1].add(epsilon).at[1, 0].add(-epsilon)


def near_tie_gap(size: int, epsilon: Array) -> Array:
    """(23) and P below it, and whether both rules take y1: y1 beats all others, so that no other lottery is maximal."""
    place = near_tie_orders(size).argsort(axis=1).reshape(size, 2, size)
    groups = (place[:, :, :, None] < place[:, :, None, :]).mean(axis=1)  # P_k, (k, i, j)
    own = np.eye(size, dtype=bool)
    others = ~(own[:, :, None] | own[:, None, :] | own[None])
    w = jnp.full(size, 1 / size).at[:2].add(jnp.stack([epsilon, -epsilon]))
    matrix = halved(jnp.einsum("k,kij->ij", w, groups))
    return worst(
        largest(jnp.asarray(groups - 0.5) * others),
        -jnp.min(w),
        largest(matrix - bullets(size, epsilon)),
        largest(maximal_borda(matrix) - jnp.eye(size)[0]),
        jnp.max(0.5 + epsilon / 4 - matrix[0, 1:]),
    )


def over_near_ties(c: Instance, *, all_positive: bool) -> Array:
    """For M = 2, 3, 4; ε in (0, 1], or in (0, 1/M]."""
    return worst(*(near_tie_gap(m, c.small / m if all_positive else c.small) for m in SIZES))


def near_tie_by_library(c: Instance) -> Array:
    """The same for 0 < ε ≤ 1/M, and the library's P and w of three."""
    epsilon = c.small / 3
    profile = near_tie(3, epsilon)
    return worst(
        over_near_ties(c, all_positive=True),
        largest(preference_matrix(*profile) - bullets(3, epsilon)),
        largest(shares(profile) - jnp.stack([1 / 3 + epsilon, 1 / 3 - epsilon, jnp.asarray(1 / 3)])),
    )


def not_halved(c: Instance) -> Array:
    """P against the list with P(y1 ≻ y) = 1/2 + ε."""
    return largest(halved(induced(near_tie(3, c.small / 3))) - bullets(3, c.small / 3, factor=1.0))


def unaligned(c: Instance, *, ends: bool, tie: bool = False) -> Array:
    """The level of alignment of π = (1, 0, ...), for M = 2, 3, 4; ε = 1/M, where y2 has no voter, only where `ends`."""
    levels = []
    for m in SIZES:
        epsilon = c.small / m if ends else jnp.minimum(c.small, 0.999) / m
        profile = near_tie(m, jnp.where(tie & (c.share == 0), 0.0, epsilon))
        levels.append(ppa_level(maximal_borda(preference_matrix(*profile)), shares(profile)))
    return worst(*levels)


# (24) to (26)


def reported(epsilon: Array, *, manipulated: bool = True) -> Profile:
    """Appendix E with M = 3; G_3 reports 3 2 1 throughout where `manipulated`, else half of it does."""
    profile = near_tie(3, epsilon)
    return Profile(profile.orders.at[4].set(profile.orders[5]), profile.weights) if manipulated else profile


def printed_matrices(epsilon: Array) -> tuple[Array, Array]:
    """(24) and (25)."""
    e = epsilon
    first = [[1 / 2, 1 / 2 + e, (1 + e) / 2], [1 / 2 - e, 1 / 2, (1 - e) / 2], [(1 - e) / 2, (1 + e) / 2, 1 / 2]]
    second = [[1 / 2, 1 / 3 + e, (1 + e) / 2], [2 / 3 - e, 1 / 2, (1 - e) / 2], [(1 - e) / 2, (1 + e) / 2, 1 / 2]]
    return jnp.array(first), jnp.array(second)


def beaten(matrix: Array, lottery: Array) -> Array:
    """How far some y beats the lottery."""
    return 0.5 - jnp.min(lottery @ matrix)


def matrices_gap(epsilon: Array) -> Array:
    """(24) and (25)."""
    before, after = printed_matrices(epsilon)
    return worst(
        largest(preference_matrix(*reported(epsilon, manipulated=False)) - before),
        largest(preference_matrix(*reported(epsilon)) - after),
    )


def stochastic_gap(c: Instance) -> Array:
    """(25) for ε up to 1/3, where it is a profile: (24), (25), 1/12; and whether some y alone is beaten by none."""
    epsilon = c.small / 3
    example = beaten(preference_matrix(*reported(jnp.asarray(1 / 12))), jnp.array([0.25, 0.25, 0.5]))
    alone = jnp.max(jnp.min(printed_matrices(epsilon)[1], axis=1)) - 0.5  # the diagonal is 1/2
    unbeaten = jnp.where(alone >= 0, 1.0, 0.0)
    return worst(matrices_gap(epsilon), example, unbeaten)


def below_a_sixth(c: Instance) -> tuple[Array, Array]:
    """ε < 1/6 and 1/12, and (3ε, 3ε, 1 - 6ε)."""
    epsilons = jnp.stack([0.999 * c.small / 6, jnp.asarray(1 / 12)])
    return epsilons, jnp.stack([3 * epsilons, 3 * epsilons, 1 - 6 * epsilons], axis=1)


def below_a_sixth_gap(c: Instance) -> Array:
    """(24), (25) and Φ^ML for ε < 1/6."""
    epsilons, wanted = below_a_sixth(c)
    found = jax.vmap(lambda e: maximal_lottery_solve(preference_matrix(*reported(e)))[0])(epsilons)
    return worst(matrices_gap(epsilons[0]), largest(found - wanted))


def without_misreport(c: Instance) -> Array:
    """How far (3ε, 3ε, 1 - 6ε) is beaten in (24)."""
    epsilons, wanted = below_a_sixth(c)
    return beaten(printed_matrices(epsilons[0])[0], wanted[0])


def example_26() -> tuple[Profile, Profile]:
    weights = jnp.array([0.30, 0.45, 0.25])
    true = jnp.array([[0, 1, 2], [1, 0, 2], [2, 0, 1]])
    return Profile(true, weights), Profile(true.at[1].set(jnp.array([1, 2, 0])), weights)


def example_26_gap(c: Instance, *, factor: float = 1.0) -> Array:
    """Both Borda scores, both policies, and 1 against γ1 · 0.45 + 1 - γ1 (`factor` of it)."""
    true, false = example_26()
    gamma = 3 * c.small
    scores = [borda_scores(preference_matrix(*profile)) for profile in (true, false)]
    lotteries = [maximal_borda(preference_matrix(*profile)) for profile in (true, false)]
    return worst(
        largest(scores[0] - jnp.array([1.3, 1.20, 0.5])),
        largest(scores[1] - jnp.array([0.85, 1.2, 0.95])),
        *(largest(borda(profile) - score) for profile, score in zip((true, false), scores, strict=True)),
        largest(lotteries[0] - jnp.eye(3)[0]),
        largest(lotteries[1] - jnp.eye(3)[1]),
        (gamma * 0.45 + 1 - gamma) * factor - lotteries[1][1],
    )


# Proposition 3.5


def violations_gap(c: Instance, *, dictator: bool = False) -> Array:
    """By how much the constructions keep within α-PPA and γ-PBM, less half of what they are outside by; γ1 up to 3.

    Level 0 against α; π'(y3) = 1 - 6ε against 1 - 2γ1/3 with ε = γ1/10; π'(y2) = 1 against 1 - 0.55 γ1.
    """
    alpha, gamma = c.small, 3 * c.small
    even = near_tie(3, 1e-3 + 0.33 * c.share)
    capped = jnp.minimum(gamma, 1)
    third = reported(capped / 10)
    second = example_26()[1]
    w = shares(near_tie(3, capped / 10))[2]

    def rules(profile: Profile) -> tuple[Array, Array]:
        if dictator:
            return random_dictatorship(*profile), random_dictatorship(*profile)
        matrix = preference_matrix(*profile)
        return maximal_borda(matrix), maximal_lottery_solve(matrix)[0]

    lotteries = jax.vmap(rules)(jax.tree.map(lambda *x: jnp.stack(x), even, third))
    levels = [ppa_level(lottery[0], shares(even)) - alpha / 2 for lottery in lotteries]
    by_lottery = gamma * w + 1 - gamma - lotteries[1][1, 2] + capped * 0.03
    second_wins = (random_dictatorship(*second) if dictator else maximal_borda(preference_matrix(*second)))[1]
    by_borda = gamma * 0.45 + 1 - gamma - second_wins + capped * 0.27
    return worst(*levels, by_lottery, by_borda)


class Seed(NamedTuple):
    """Where a search starts."""

    seed: Int[Array, ""]
    alternatives: Int[Array, ""]


def seeds(key: Key[Array, ""]) -> Seed:
    """Any seed; M from 2 to 4."""
    seed, alternatives = jax.random.randint(key, (2,), 0, 2**20)
    return Seed(seed, 2 + alternatives % 3)


def not_found(c: Seed, rule: Rule, *, lying: bool) -> float:
    """1 where 60 random profiles of five voters over three alternatives do not violate both axioms, α = γ1 = 1e-4.

    Where `lying`, the truth must be within the bound and a misreport above it.
    """
    draw = np.random.default_rng(int(c.seed))
    gamma = 1e-4
    unaligned = exceeded = False
    for _ in range(60):
        orders = jnp.asarray([draw.permutation(3) for _ in range(5)])
        w = np.asarray(random_dictatorship(orders))
        lottery = np.asarray(as_profile_rule(rule)(orders, jnp.full(5, 0.2)))
        unaligned |= bool((lottery < 1e-4 * w - 1e-9).any())
        above = np.where(w > 0, lottery - (gamma * w + 1 - gamma), -1.0).max() > 1e-9
        if lying and not above:
            above = population_bounded_manipulability(rule, orders, gamma=gamma, reports="common")[0] > 1e-9
            exceeded |= bool(above)
        exceeded |= bool(above) and not lying
        if unaligned and exceeded:
            return 0.0
    return 1.0


# Appendix F


def example_27() -> tuple[Profile, Profile]:
    first = Profile(jnp.array([[0, 1, 2], [1, 0, 2], [2, 0, 1]]), jnp.full(3, 1 / 3))
    return first, Profile(jnp.array([[0, 1, 2], [0, 1, 2], [2, 1, 0]]), jnp.full(3, 1 / 3))


def example_27_gap(c: Instance, *, lotteries: bool = True) -> Array:
    """(27), (28), the two lotteries; and the two profiles mixed with any other still have one P and two w."""
    printed = jnp.array([[1 / 2, 2 / 3, 2 / 3], [1 / 3, 1 / 2, 2 / 3], [1 / 3, 1 / 3, 1 / 2]])
    wanted = jnp.array([[1 / 3, 1 / 3, 1 / 3], [2 / 3, 0, 1 / 3]])
    pair = example_27()
    t = 0.05 + 0.95 * c.share
    mixed = [
        Profile(
            jnp.concatenate([p.orders, c.three.orders]), jnp.concatenate([t * p.weights, (1 - t) * c.three.weights])
        )
        for p in pair
    ]
    one, other = (preference_matrix(*p) for p in mixed)
    return worst(
        *(largest(preference_matrix(*p) - printed) for p in pair),
        *(largest(random_dictatorship(*p) - w) for p, w in zip(pair, wanted, strict=True)),
        largest(one - other),
        largest(shares(mixed[0]) - shares(mixed[1]) - t * (wanted[0] - wanted[1]) * lotteries),
    )


def not_implementable(c: Seed, *, least: int, of: str = "first choices") -> float:
    """1 where σ's P determines the shares of first choices (or Borda scores): they add no rank to the map σ → P."""
    size = int(c.alternatives)
    if size < least:
        return 0.0
    rankings = np.array(list(itertools.permutations(range(size))))
    place = rankings.argsort(axis=1)
    known = [np.ones(len(rankings))] + [1.0 * (place[:, i] < place[:, j]) for i in range(size) for j in range(i)]
    asked = [1.0 * (place[:, k] == 0) if of == "first choices" else size - 1.0 - place[:, k] for k in range(size)]
    return float(np.linalg.matrix_rank(np.array(known + asked)) == np.linalg.matrix_rank(np.array(known)))


def two_alternatives() -> Seed:
    return Seed(jnp.asarray(0), jnp.asarray(2))


CLAIMS = (
    Claim(
        "ppa/proposition-3.5",
        "Proposition 3.5, first sentence",
        Statement(
            "For every α in (0, 1] and γ1 > 0 the profiles of Appendix E put Φ^MB and Φ^ML outside α-PPA and γ-PBM "
            "(M = 3; α from 1e-4, γ1 from 3e-4 to 3; G_3's ε = γ1/10 or 1/10).",
            violations_gap,
            "They put random dictatorship outside, too.",
            lambda c: violations_gap(c, dictator=True),
        ),
        generate,
        tolerance=1e-8,
        covers=("ppa-v1/proposition-3.7",),
    ),
    Claim(
        "ppa/violations-searched",
        "Proposition 3.5, first sentence",
        Statement(
            "Among 60 random profiles of five voters over three alternatives are some that violate α-PPA and γ-PBM, "
            "α = γ1 = 1e-4: under Φ^MB by a misreport where the truth does not, under Φ^ML without one.",
            lambda c: max(not_found(c, maximal_borda, lying=True), not_found(c, maximal_lottery, lying=False)),
            "There are under random dictatorship.",
            lambda c: not_found(c, random_dictatorship, lying=False),
        ),
        seeds,
        most=1,
        compiled=False,
    ),
    Claim(
        "ppa/equation-23",
        "equation (23) and the list below",
        Statement(
            "For any ε > 0, w = (1/M + ε, 1/M - ε, 1/M, ...) with P_k(i ≻ j) = 1/2 for i, j ≠ k gives P(y1 ≻ y2) = "
            "1/2 + ε, P(y1 ≻ y) = 1/2 + ε/2, P(y2 ≻ y) = 1/2 - ε/2, P(y ≻ y') = 1/2; Φ^MB and Φ^ML take y1.",
            lambda c: over_near_ties(c, all_positive=False),
            "P(y1 ≻ y) = 1/2 + ε.",
            not_halved,
        ),
        generate,
        verdict="holds as corrected",
        why="For ε > 1/M there is no such profile: M = 2 and ε = 1 would need w = (3/2, -1/2).",
        corrected=Statement(
            "The same for 0 < ε ≤ 1/M; M = 2, 3, 4.",
            near_tie_by_library,
            "P(y1 ≻ y) = 1/2 + ε.",
            not_halved,
        ),
        counterexample=lambda: by_hand(small=1.0),
        tolerance=1e-8,
        covers=("ppa-v1/equation-26",),
    ),
    Claim(
        "ppa/appendix-E-ppa",
        "Appendix E, the sentence after the list",
        Statement(
            "For any ε > 0 that leaves a profile, ε ≤ 1/M, π(y_i)/w_i = 0 for all i ≠ 1: α-PPA is violated for any α.",
            lambda c: unaligned(c, ends=True),
            "For ε = 0 it is.",
            lambda c: unaligned(c, ends=False, tie=True),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "M = 2 and ε = 1/2: all have y1 first, w = (1, 0), and π = (1, 0) is proportional; π(y2)/w2 is 0/0."
        ),
        corrected=Statement(
            "For 0 < ε < 1/M it is.",
            lambda c: unaligned(c, ends=False),
            "For ε = 0 it is.",
            lambda c: unaligned(c, ends=False, tie=True),
        ),
        counterexample=lambda: by_hand(small=1.0),
    ),
    Claim(
        "ppa/equation-25",
        "equations (24) and (25)",
        Statement(
            "Where G_3 reports y2 above y1, (24) becomes (25), and Φ^ML is a stochastic policy, no y alone being "
            "unbeaten: (1/4, 1/4, 1/2) at ε = 1/12. Here ε ≤ 1/3, as w_2 ≥ 0 needs.",
            stochastic_gap,
            "(3ε, 3ε, 1 - 6ε) is unbeaten without the misreport.",
            without_misreport,
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "From ε = 1/6 on y1 still wins against y2, P(y1 ≻ y2) = 1/3 + ε ≥ 1/2. At ε = 1/4 it is 7/12, and 5/8 "
            "against y3, so that Φ^ML is (1, 0, 0)."
        ),
        corrected=Statement(
            "For ε < 1/6 Φ^ML is (3ε, 3ε, 1 - 6ε), which goes to (0, 0, 1) with ε.",
            below_a_sixth_gap,
            "(3ε, 3ε, 1 - 6ε) is unbeaten without the misreport.",
            without_misreport,
        ),
        counterexample=lambda: by_hand(small=0.75),
        tolerance=1e-7,
        covers=("ppa/equation-24", "ppa-v1/equation-27", "ppa-v1/equation-28"),
    ),
    Claim(
        "ppa/equation-26",
        "equation (26)",
        Statement(
            "B = (1.3, 1.20, 0.5), and y1 is taken; after the second group's misreport B' = (0.85, 1.2, 0.95), and y2 "
            "is: 1 > γ1 · 0.45 + 1 - γ1 for every γ1 > 0.",
            example_26_gap,
            "1 is above 1.05 times that.",
            lambda c: example_26_gap(c, factor=1.05),
        ),
        generate,
        covers=("ppa-v1/equation-29",),
    ),
    Claim(
        "ppa/equation-27",
        "equations (27) and (28)",
        Statement(
            "σ1 and σ2 both induce (28), with Φ^RD = (1/3, 1/3, 1/3) and (2/3, 0, 1/3); mixed with any other profile "
            "they have one P and different w.",
            example_27_gap,
            "Mixed with another they have one w.",
            lambda c: example_27_gap(c, lotteries=False),
        ),
        generate,
        covers=("ppa/equation-28", "ppa-v1/equation-30", "ppa-v1/equation-31"),
        exhaustive=every,
    ),
    Claim(
        "ppa/random-dictatorship-not-implementable",
        "section 3.3 and Appendix F",
        Statement(
            "Φ^RD is not implementable by any pairwise preference learning algorithm: P does not determine w. "
            "M = 2, 3, 4.",
            lambda c: not_implementable(c, least=2),
            "Nor is maximal Borda.",
            lambda c: not_implementable(c, least=2, of="Borda scores"),
        ),
        seeds,
        verdict="holds as corrected",
        why="With two alternatives w = (P(y1 ≻ y2), P(y2 ≻ y1)): F(P) = that implements it. Appendix F takes M = 3.",
        corrected=Statement(
            "It is not for M ≥ 3 (here 3 and 4): w is outside the row space of the map σ → P.",
            lambda c: not_implementable(c, least=3),
            "Nor is maximal Borda.",
            lambda c: not_implementable(c, least=3, of="Borda scores"),
        ),
        counterexample=two_alternatives,
        most=30,
        compiled=False,
    ),
)  # fmt: skip
