"""Section 3 and Appendix D: the axioms, random dictatorship, and who of Table 1 is monotone and Pareto efficient."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval.axioms import (
    manipulation_gains,
    monotonicity,
    pareto,
    population_bounded_manipulability,
    population_proportional_alignment,
    ppa_level,
)
from jaxval.preferences import preference_matrix
from jaxval.social_choice import maximal_borda, maximal_lottery_solve, proportional, random_dictatorship
from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ppa._old_profiles import (
    Instance,
    Profile,
    by_hand,
    every,
    generate,
    halved,
    induced,
    over_sizes,
    places,
    shares,
    worst,
)

__all__ = ["CLAIMS"]

RANKINGS = np.array(list(itertools.permutations(range(3))))


def policy(c: Instance) -> Array:
    """Any policy, and w^σ itself in a third of the instances."""
    return jnp.where(c.share < 1 / 3, shares(c.four), c.lotteries[0])


# Definition 3.1


def level(lottery: Array, w: Array, *, members: bool) -> Array:
    """min_k π(y_k)/w_k, over the groups with members or over all; 0/0 of an empty group then makes it no number."""
    ratios = lottery / jnp.where(members & (w == 0), 1, w)
    ratios = jnp.where(members & (w == 0), jnp.inf, ratios)
    return jnp.where(jnp.any(jnp.isnan(ratios)), jnp.nan, jnp.min(ratios))


def level_gap(c: Instance, *, members: bool, most: float = 1.0) -> Array:
    """How far the level is above `most`, and from the library's; that of π = w from 1.

    And how far the distance of π from w (total variation) is above 1 - level, so that 1 is perfect proportionality.
    """
    w, lottery = shares(c.four), policy(c)
    found = level(lottery, w, members=members)
    apart = jnp.sum(jnp.abs(lottery - w)) / 2
    dictator, _ = population_proportional_alignment(random_dictatorship, *c.four, level=1.0)
    return worst(
        found - most,
        apart - (1 - found),
        jnp.abs(found - ppa_level(lottery, w)),
        jnp.abs(level(w, w, members=members) - 1),
        dictator,
    )


# Definition 3.2, profiles of three as (6,) vectors over all rankings


def vector(profile: Profile) -> Array:
    """σ ∈ Δ(S)."""
    same = jnp.all(profile.orders[:, None, :] == RANKINGS[None, :, :], axis=2)
    return jnp.sum(jnp.where(same, profile.weights[:, None], 0), axis=0)


def manipulated_gap(c: Instance, *, members: bool) -> Array:
    """σ'_k = σ + w_k (σ' - σ_k) for each k: a profile, σ but for what G_k reports; P moves by w_k (P' - P_k)."""
    other = Profile(c.three.orders[:, ::-1], jnp.roll(c.three.weights, 1))
    sigma, reports, w = vector(c.three), vector(other), shares(c.three)
    matrix, rankings = halved(induced(c.three)), jnp.asarray(RANKINGS)
    gaps = []
    for k in range(3):
        inside = RANKINGS[:, 0] == k
        empty = members & (w[k] == 0)
        own = jnp.where(inside, sigma, 0) / jnp.where(empty, 1, w[k])
        changed = sigma + w[k] * (reports - own)
        kept = changed - w[k] * reports
        found = preference_matrix(rankings, changed)
        expected = matrix + w[k] * (halved(induced(other)) - halved(induced(Profile(rankings, own))))
        expected = jnp.where(empty, matrix, expected)
        gaps += [jnp.max(-changed), jnp.abs(jnp.sum(changed) - 1), largest(kept - jnp.where(inside, 0, sigma))]
        gaps += [largest(found - expected)]
    return worst(*gaps)


def unweighted(c: Instance) -> Array:
    """How far below 0 σ + σ' - σ_0 is."""
    other = Profile(c.three.orders[:, ::-1], jnp.roll(c.three.weights, 1))
    own = jnp.where(RANKINGS[:, 0] == 0, vector(c.three), 0)
    w = shares(c.three)[0]
    return jnp.max(-(vector(c.three) + vector(other) - own / jnp.where(w == 0, 1, w)))


# Definition 3.3


def bound_gap(c: Instance, *, total: float = 1.0) -> Array:
    """γ1 w + γ2 = 1 - γ1 (1 - w), so 1 only at w = 1; smaller for larger γ1; w for γ1 = 1."""
    w, smaller, larger = c.share, 3 * c.small, 3 * c.small + c.small
    bound, other = smaller * w + total - smaller, larger * w + total - larger
    return worst(bound - 1 + smaller * (1 - w), other - bound, jnp.abs((w + total - 1) - w))


def beyond_gap(c: Instance, *, gamma: Array) -> Array:
    """Some k has Φ(σ)(y_k) above γ1 w_k + 1 - γ1, by (γ1 - 1)(1 - 1/M) at least: γ1 > 1 asks the impossible."""
    above = policy(c) - (gamma * shares(c.four) + 1 - gamma)
    return jnp.maximum(gamma - 1, 0) * 3 / 4 - jnp.max(above)


# Definitions D.1 and D.2


def lifts(profile: Profile, *, others_kept: bool = True) -> tuple[Array, Profile]:
    """Every alternative of every ballot moved to every better place: which alternative, and the profiles.

    Where not `others_kept`, the rest of the ballot is turned round.
    """
    voters, alternatives = profile.orders.shape
    place = places(profile.orders) - 1
    who = jnp.array(list(itertools.product(range(voters), range(alternatives), range(alternatives))))

    def lift(row: Array, y: Array, to: Array) -> Array:
        old = place[row, y]
        to = jnp.minimum(to, old)
        mine = place[row] + ((place[row] >= to) & (place[row] < old))
        if not others_kept:
            order = jnp.argsort(jnp.where(jnp.arange(alternatives) == y, alternatives, -mine))[: alternatives - 1]
            spots = jnp.sort(jnp.where(jnp.arange(alternatives) == to, alternatives, jnp.arange(alternatives)))[:-1]
            mine = mine.at[order].set(spots)
        return jnp.argsort(place.at[row].set(mine.at[y].set(to)), axis=1)

    lifted = jax.vmap(lift)(*who.T)
    return who[:, 1], Profile(lifted, jnp.broadcast_to(profile.weights, (len(who), voters)))


def losses(rule: Callable[[Profile], Array], profile: Profile, *, others_kept: bool = True) -> Array:
    """The most that a lifted alternative loses."""
    y, lifted = lifts(profile, others_kept=others_kept)
    return jnp.max(rule(profile)[y] - jax.vmap(rule)(lifted)[jnp.arange(len(y)), y])


def borda_rule(profile: Profile) -> Array:
    return maximal_borda(halved(induced(profile)))


def dictator_rule(profile: Profile) -> Array:
    return random_dictatorship(*profile)


def lifts_gap(c: Instance) -> Array:
    """A lift raises P(y ≻ ·) and moves no other pair; Borda and dictatorship do not lower y, so says `axioms`."""
    y, lifted = lifts(c.three)
    change = jax.vmap(induced)(lifted) - induced(c.three)[None]
    own = jnp.arange(3)[None] == y[:, None]
    untouched = jnp.where(own[:, :, None] | own[:, None, :], 0, change)
    raised = jnp.where(own[:, :, None], change, 0)
    borda_loss, dictator_loss = losses(borda_rule, c.three), losses(dictator_rule, c.three)
    by_library, _ = monotonicity(maximal_borda, *c.three)
    return worst(largest(untouched), jnp.max(-raised), borda_loss, dictator_loss, by_library)


def dictator_favours(c: Instance, *, share: float) -> Array:
    """w_{y'} - w_y where a share of the voters have y above y'."""
    w = shares(c.three)
    return jnp.max(jnp.where(halved(induced(c.three)) >= share - 1e-12, w[None, :] - w[:, None], -1))


def pareto_gap(c: Instance) -> Array:
    """Where all voters have y above y', π(y') - π(y), for Borda, lotteries and dictatorship."""
    matrix = halved(induced(c.three))
    asked = matrix >= 1 - 1e-12
    lotteries = (maximal_borda(matrix), maximal_lottery_solve(matrix)[0], dictator_rule(c.three))
    gaps = [jnp.max(jnp.where(asked, p[None, :] - p[:, None], -1)) for p in lotteries]
    by_library = [pareto(rule, *c.three)[0] for rule in (maximal_borda, random_dictatorship)]
    return worst(*gaps, *by_library)


def cyclic(small: Array) -> tuple[Array, Array, Array]:
    """d, and the maximal lotteries of 012, 120, 201 with (1 - d)/3 each and 102 with d, before and after 102 → 012."""
    d = 0.24 * small
    weights = jnp.stack([(1 - d) / 3, (1 - d) / 3, (1 - d) / 3, d])
    orders = jnp.array([[[0, 1, 2], [1, 2, 0], [2, 0, 1], last] for last in ([1, 0, 2], [0, 1, 2])])
    matrices = jax.vmap(lambda rows: preference_matrix(rows, weights))(orders)
    before, after = jax.vmap(lambda matrix: maximal_lottery_solve(matrix)[0])(matrices)
    return d, before, after


def lotteries_fall(c: Instance) -> Array:
    """p_0 = (1 + 2d)/(3 - 6d) falls to (1 + 2d)/3."""
    d, before, after = cyclic(c.small)
    return worst(
        jnp.abs(before[0] - (1 + 2 * d) / (3 - 6 * d)),
        jnp.abs(after[0] - (1 + 2 * d) / 3),
        after[0] - before[0] + 2 * d / 3,
    )


def lotteries_do_not_fall(c: Instance) -> Array:
    """The same from the margins: in a cycle the share of 0 is in proportion to that of 1 over 2."""
    d = 0.24 * c.small
    weights = jnp.stack([(1 - d) / 3, (1 - d) / 3, (1 - d) / 3, d])

    def share_of_0(last: list[int]) -> Array:
        matrix = induced(Profile(jnp.array([[0, 1, 2], [1, 2, 0], [2, 0, 1], last]), weights))
        margins = jnp.stack([matrix[1, 2], matrix[2, 0], matrix[0, 1]]) - 0.5
        return margins[0] / jnp.sum(margins)

    return share_of_0([1, 0, 2]) - share_of_0([0, 1, 2])


# Random dictatorship


def dictator_gap(c: Instance, *, gamma: float = 1.0) -> Array:
    """Its level, and what group k has after any report: w_k(σ'_k) = w_k w_k(σ') against γ w_k + 1 - γ."""
    w = shares(c.four)
    reports = shares(Profile(c.four.orders[:, ::-1], c.four.weights))
    gaps = []
    for k in range(4):
        for lottery in (reports, jnp.eye(4)[k]):  # any report, and the truth
            changed = w.at[k].set(0) + w[k] * lottery
            gaps.append(changed[k] - (gamma * w[k] + 1 - gamma))
    return worst(
        *gaps,
        1 - level(dictator_rule(c.four), w, members=True),
        losses(dictator_rule, c.three),
        pareto(random_dictatorship, *c.four)[0],
    )


def dictator_is_shares(profile: Profile, *, place: int = 1) -> Array:
    chosen = jnp.sum(jnp.where(places(profile.orders) == place, profile.weights[:, None], 0), axis=0)
    return largest(random_dictatorship(*profile) - chosen)


def gains_gap(*, strategyproof: bool) -> float:
    """Group 1 of profile (26) under F*: 0.36 by the truth, 0.45 by 1 2 0, of at most (w + 1)/2 = 0.725."""
    weights = np.array([0.30, 0.45, 0.25])
    lotteries = [
        np.asarray(proportional(preference_matrix(np.array([[0, 1, 2], second, [2, 0, 1]]), weights)))
        for second in ([1, 0, 2], [1, 2, 0])
    ]
    truth, lie = (float(lottery[1]) for lottery in lotteries)
    if strategyproof:
        return lie - truth
    orders = np.array([[0, 1, 2], [1, 0, 2], [2, 0, 1]])
    gains = [float(jnp.max(manipulation_gains(rule, orders, weights)[0])) for rule in (always_0, proportional)]
    outside, _ = population_bounded_manipulability(always_0, orders, weights, gamma=0.01)
    return max(abs(truth - 0.36), abs(lie - 0.45), lie - 0.725, abs(gains[1] - 0.09), gains[0], 1e-3 - float(outside))


def always_0(matrix: Array) -> Array:
    """A rule that nobody's report changes."""
    return jnp.zeros(len(matrix)).at[0].set(1.0)


def one_voter() -> Instance:
    """One voter, and the policy that follows her."""
    return by_hand(
        two=([[0, 1]], [1.0]), three=([[0, 1, 2]], [1.0]), four=([[0, 1, 2, 3]], [1.0]),
        lotteries=((1.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)), share=0.0,
    )  # fmt: skip


CLAIMS = (
    Claim(
        "ppa/definition-3.1",
        "Definition 3.1",
        Statement(
            "The level of alignment, the largest α with π(y_k)/w_k ≥ α for all y_k ∈ Y, is at most 1, and 1 "
            "for π = w alone.",
            lambda c: level_gap(c, members=False),
            "It is at most 0.95.",
            lambda c: level_gap(c, members=True, most=0.95),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "π(y_k)/w_k is 0/0 for a group without members that gets nothing. One voter with 0 above 1 and π = (1, 0): "
            "random dictatorship, which is to have α = 1 for all σ, has a ratio that is no number."
        ),
        corrected=Statement(
            "It is, over the groups with members: π(y_k) ≥ α w_k.",
            lambda c: level_gap(c, members=True),
            "It is at most 0.95.",
            lambda c: level_gap(c, members=True, most=0.95),
        ),
        counterexample=one_voter,
        covers=("ppa-v1/definition-3.3",),
        exhaustive=every,
    ),
    Claim(
        "ppa/definition-3.2",
        "Definition 3.2",
        Statement(
            "σ'_k = σ + w_k (σ' - σ_k) is a profile for every σ' and k, σ with σ' in place of σ_k; P moves by "
            "w_k (P' - P_k).",
            lambda c: manipulated_gap(c, members=False),
            "The same of σ + σ' - σ_k.",
            unweighted,
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "For a group without members σ_k = σ_r / w_k is 0/0, and so is σ'_k: one voter with 0 first and k = 1."
        ),
        corrected=Statement(
            "It is for groups with members; a group without changes nothing.",
            lambda c: manipulated_gap(c, members=True),
            "The same of σ + σ' - σ_k.",
            unweighted,
        ),
        counterexample=one_voter,
        covers=("ppa-v1/definition-3.4",),
        exhaustive=every,
    ),
    Claim(
        "ppa/definition-3.3",
        "Definition 3.3 and below",
        Statement(
            "With γ1 > 0 and γ1 + γ2 = 1 the bound γ1 w_k + γ2 is 1 - γ1 (1 - w_k): Φ(σ'_k)(y_k) = 1 only where "
            "w_k = 1; a larger γ1 bounds more; γ1 = 1 gives w_k.",
            bound_gap,
            "So it is with γ1 + γ2 = 1.05.",
            lambda c: bound_gap(c, total=1.05),
        ),
        generate,
        covers=("ppa-v1/definition-3.5",),
    ),
    Claim(
        "ppa/strongest-forms",
        "below Definition 3.4",
        Statement(
            "γ = (1, 0) is the strongest form: whatever Φ is, γ1 > 1 is exceeded by some k on the true profile.",
            lambda c: beyond_gap(c, gamma=1 + c.small),
            "So is γ1 = 0.95.",
            lambda c: beyond_gap(c, gamma=jnp.asarray(0.95)),
        ),
        generate,
        exhaustive=every,
    ),
    Claim(
        "ppa/definition-3.4",
        "Definition 3.4",
        Statement(
            "Φ^RD(σ) = w^σ, the shares of first choices.",
            over_sizes(dictator_is_shares),
            "It is the shares of second choices.",
            over_sizes(lambda p: dictator_is_shares(p, place=2)),
        ),
        generate,
        covers=("ppa-v1/definition-3.6",),
        exhaustive=every,
    ),
    Claim(
        "ppa/random-dictatorship",
        "Proposition 3.5, second sentence, and Appendix E",
        Statement(
            "Φ^RD satisfies monotonicity, Pareto efficiency, PPA with α = 1 for the groups with members, and PBM with "
            "γ = (1, 0), as w_k(σ'_k) = w_k w_k(σ').",
            dictator_gap,
            "It satisfies PBM with γ1 = 1.05.",
            lambda c: dictator_gap(c, gamma=1.05),
        ),
        generate,
        exhaustive=every,
    ),
    Claim(
        "ppa/definition-D.1",
        "Definition D.1 and Table 1",
        Statement(
            "Lifting y in a ballot, all else kept in order, raises P(y ≻ ·) and moves no other pair; Φ^MB (ties "
            "shared) and Φ^RD do not lower y then.",
            lifts_gap,
            "Nor do they where the rest of the ballot is turned round.",
            lambda c: losses(borda_rule, c.three, others_kept=False),
        ),
        generate,
        covers=("ppa-v1/definition-3.1",),
        exhaustive=every,
    ),
    Claim(
        "ppa/definition-D.2",
        "Definition D.2 and Table 1",
        Statement(
            "Where all have y above y', Φ^MB, Φ^ML and Φ^RD give y at least as much as y'.",
            pareto_gap,
            "Where 60 % have, Φ^RD does.",
            lambda c: dictator_favours(c, share=0.6),
        ),
        generate,
        tolerance=1e-8,
        covers=("ppa-v1/definition-3.2",),
        exhaustive=every,
    ),
    Claim(
        "ppa/lotteries-not-monotone",
        "Table 1",
        Statement(
            "Φ^ML violates monotonicity: of 012, 120, 201 with (1 - d)/3 each and 102 with d < 1/4, let the last "
            "lift 0 above 1; 0 falls from (1 + 2d)/(3 - 6d) to (1 + 2d)/3.",
            lotteries_fall,
            "0 does not fall.",
            lotteries_do_not_fall,
        ),
        generate,
        tolerance=1e-8,
    ),
    Claim(
        "ppa/pbm-not-strategyproofness",
        "below Definition 3.3",
        Statement(
            "PBM is not strategyproofness: F*, within its PBM bound, rewards a misreport in profile (26), 0.36 to "
            "0.45; the rule that always takes y1 rewards none, and exceeds every bound where w_1 < 1.",
            lambda c: gains_gap(strategyproof=False),
            "F* rewards no misreport there.",
            lambda c: gains_gap(strategyproof=True),
        ),
        generate,
        most=1,
        compiled=False,
    ),
)  # fmt: skip
