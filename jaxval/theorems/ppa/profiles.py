"""Section 2 and Appendix C: preference functions of profiles, RLHF and maximal Borda, NLHF and maximal lotteries."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxval.preferences import (
    borda_scores,
    bradley_terry_solve,
    condorcet_winner,
    first_choice_shares,
    preference_matrix,
)
from jaxval.social_choice import exploitability, maximal_borda, maximal_lottery_solve
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
    over_sizes,
    places,
    shares,
    worst,
)

__all__ = ["CLAIMS"]


# Equations (1), (2) and the groups of section 3.2


def not_skew(matrix: Array, *, apart: bool) -> Array:
    """How far P + Pᵀ is from 1: everywhere, or for y ≠ y' alone."""
    counted = ~jnp.eye(len(matrix), dtype=bool) if apart else jnp.ones(matrix.shape, dtype=bool)
    return largest(jnp.where(counted, matrix + matrix.T - 1, 0))


def not_induced(profile: Profile) -> Array:
    """The library's P against (1) with 1/2 on the diagonal."""
    found = preference_matrix(profile.orders, profile.weights)
    return worst(largest(found - halved(induced(profile))), not_skew(induced(profile), apart=True))


def not_induced_by_ballots(profile: Profile) -> Array:
    """The same where every ranking that somebody holds counts alike."""
    held = (profile.weights > 0) / jnp.sum(profile.weights > 0)
    return largest(induced(profile) - induced(Profile(profile.orders, held)))


def triangles(matrix: Array) -> Array:
    """How far some P(i ≻ j) + P(j ≻ k) - P(i ≻ k), all distinct, is outside [0, 1]."""
    sums = matrix[:, :, None] + matrix[None, :, :] - matrix[:, None, :]
    same = jnp.eye(len(matrix), dtype=bool)
    distinct = ~(same[:, :, None] | same[None, :, :] | same[:, None, :])
    return jnp.max(jnp.where(distinct, jnp.maximum(-sums, sums - 1), -jnp.inf))


def outside_induced(c: Instance) -> Array:
    """The conditions on P^σ, and whether 𝒫 is convex: mixed profiles induce the mixed P."""
    matrix = preference_matrix(c.four.orders, c.four.weights)
    other = c.four.orders[:, ::-1]
    mixed = Profile(
        jnp.concatenate([c.four.orders, other]),
        jnp.concatenate([c.share * c.four.weights, (1 - c.share) * jnp.roll(c.four.weights, 1)]),
    )
    parts = c.share * induced(c.four) + (1 - c.share) * induced(Profile(other, jnp.roll(c.four.weights, 1)))
    return worst(not_skew(matrix, apart=True), triangles(matrix), largest(induced(mixed) - parts))


def groups_gap(profile: Profile, *, members: bool, weighted: bool = True) -> Array:
    """How far w, P_k(y_k ≻ y) = 1 and P = Σ_k w_k P_k are from what the library has; P_k is σ_k's, σ_k = σ_r / w_k.

    Where `members`, an empty group has any P_k, here 0; else it is 0/0.
    """
    w = shares(profile)
    r = places(profile.orders)
    empty = members & (w == 0)
    own = jnp.where(r == 1, profile.weights[:, None], 0) / jnp.where(empty, 1, w)[None, :]
    groups = jnp.einsum("rk,rij->kij", own, (r[:, :, None] < r[:, None, :]).astype(float))
    top = jnp.einsum("kkj->kj", groups) + jnp.eye(len(w)) - 1
    total = jnp.einsum("k,kij->ij", w if weighted else jnp.full(len(w), 1 / len(w)), groups)
    return worst(
        largest(jnp.where(empty[:, None], 0, top)),
        largest(halved(total) - preference_matrix(profile.orders, profile.weights)),
        largest(w - first_choice_shares(profile.orders, profile.weights)),
        jnp.abs(jnp.sum(w) - 1),
    )


# Borda scores and rewards


def sigmoid_sums(rewards: Array) -> Array:
    """Σ_{j≠i} sigmoid(r_i - r_j)."""
    return jnp.sum(jax.nn.sigmoid(rewards[:, None] - rewards[None, :]), axis=1) - 0.5


def likelihood(rewards: Array, matrix: Array) -> Array:
    """Equation (10)."""
    chance = jnp.exp(rewards)[:, None] / (jnp.exp(rewards)[:, None] + jnp.exp(rewards)[None, :])
    total = jnp.zeros(())
    for i in range(len(matrix)):
        for j in range(i + 1, len(matrix)):
            total = total + matrix[i, j] * jnp.log(chance[i, j]) + matrix[j, i] * jnp.log(chance[j, i])
    return total


def gradient_gap(c: Instance, *, sign: float = 1.0) -> Array:
    """∂L/∂r_i against Σ_{j≠i} [P(i ≻ j) - sigmoid(r_i - r_j)]."""
    matrix = induced(c.four)
    formula = jnp.sum(matrix, axis=1) - sigmoid_sums(sign * c.rewards)
    return largest(jax.grad(likelihood)(c.rewards, matrix) - formula)


def places_gap(profile: Profile, *, best: int = 1) -> Array:
    """Σ_{j≠i} 1{r(i) < r(j)} = M - r(i) ranking by ranking, and summed over σ, where it is B; the library's B too."""
    r = places(profile.orders)
    below = jnp.sum(r[:, :, None] < r[:, None, :], axis=2)
    left = jnp.sum(profile.weights[:, None] * below, axis=0)
    matrix = preference_matrix(profile.orders, profile.weights)
    return worst(
        largest(below - (profile.orders.shape[1] - (r - 1 + best))),
        largest(left - borda(profile)),
        largest(jnp.sum(induced(profile), axis=1) - borda(profile)),
        largest(borda_scores(matrix) - borda(profile)),
    )


def steps_gap(c: Instance) -> Array:
    """(15) from r_i ≥ r_k, by at least tanh((r_i - r_k)/2); and back from (22), where M/4 bounds the slope."""
    r, sums = c.rewards, sigmoid_sums(c.rewards)
    apart, sums_apart = r[:, None] - r[None, :], sums[:, None] - sums[None, :]
    forth = jnp.where(apart >= 0, jnp.tanh(apart / 2) - sums_apart, 0)
    back = jnp.where(sums_apart >= 0, sums_apart - len(r) * apart / 4, 0)
    return worst(jnp.max(forth), jnp.max(back))


def steps_gap_with_ties(c: Instance) -> Array:
    """(15) strictly, for all i ≠ k with r_i ≥ r_k."""
    r, sums = c.rewards, sigmoid_sums(c.rewards)
    asked = (r[:, None] >= r[None, :]) & ~jnp.eye(len(r), dtype=bool)
    return jnp.max(jnp.where(asked, 1e-6 - (sums[:, None] - sums[None, :]), -jnp.inf))


def with_reversed(profile: Profile, share: Array) -> Profile:
    """(1 - t) σ and two rankings, one the reverse of the other, t/2 each: P becomes (1 - t) P + t/2."""
    pair = jnp.stack([profile.orders[0], profile.orders[0, ::-1]])
    return Profile(
        jnp.concatenate([profile.orders, pair]),
        jnp.concatenate([(1 - share) * profile.weights, jnp.full(2, share / 2)]),
    )


def not_in_order(rewards: Array, scores: Array) -> Array:
    """How far r fails to be ordered as the scores: r_i - r_j ≥ 4 (s_i - s_j)/M where s_i ≥ s_j, so ties are equal."""
    apart, scores_apart = rewards[:, None] - rewards[None, :], scores[:, None] - scores[None, :]
    gap = jnp.where(scores_apart >= 0, 4 * scores_apart / len(scores) - apart, -jnp.inf)
    return worst(jnp.max(gap), jnp.where(jnp.all(jnp.isfinite(rewards)), 0.0, jnp.nan))


def maximiser_gap(c: Instance, *, by_first_choices: bool = False) -> Array:
    """Where the likelihood has a maximiser r*: (13) at it, nothing better, and (11) for all pairs."""
    profile = with_reversed(c.four, c.share)
    matrix = induced(profile)
    rewards, diagnostics = bradley_terry_solve(matrix)
    scores = shares(profile) if by_first_choices else borda(profile)
    gap = worst(
        largest(jnp.sum(matrix, axis=1) - sigmoid_sums(rewards)),
        likelihood(c.rewards, matrix) - likelihood(rewards, matrix),
        not_in_order(rewards, scores),
    )
    return jnp.where(diagnostics.strongly_connected, gap, 0)


def rlhf_gap(profile: Profile, matrix: Array) -> Array:
    """The best of the optimised rewards against maximal Borda: the probability that is elsewhere."""
    rewards, _ = bradley_terry_solve(matrix * (1 - jnp.eye(len(matrix))))
    best = rewards >= jnp.max(rewards) - 1e-7
    wanted = maximal_borda(preference_matrix(profile.orders, profile.weights))
    gap = largest(best / jnp.sum(best) - wanted)
    return jnp.where(jnp.all(jnp.isfinite(rewards)), gap, jnp.inf)


def most_first_choices(c: Instance) -> Array:
    """Maximal Borda against the largest share of first choices."""
    w = shares(c.three)
    best = w >= jnp.max(w) - 1e-9
    return largest(best / jnp.sum(best) - maximal_borda(halved(induced(c.three))))


def mixed_matrix(c: Instance) -> Array:
    """(1 - t) P + t/2 with t from 0.01 to 0.91, or 1."""
    t = jnp.where(c.share == 1, 1.0, 0.01 + 0.9 * c.share)
    return (1 - t) * halved(induced(c.three)) + t / 2


# Maximal lotteries


def not_constant_sum(c: Instance, matrix: Array) -> Array:
    first, second = c.lotteries
    return jnp.abs(first @ matrix @ second + second @ matrix @ first - 1)


def outperformed(c: Instance) -> Array:
    """How far some lottery beats the library's maximal lottery, played with 1/2 on the diagonal."""
    matrix = halved(induced(c.three))
    lottery, _ = maximal_lottery_solve(matrix)
    plain = 0.5 - jnp.min(lottery @ matrix)
    return worst(plain, jnp.abs(exploitability(matrix, lottery) - 2 * jnp.maximum(plain, 0)), jnp.max(-lottery))


def borda_outperformed(c: Instance) -> Array:
    matrix = halved(induced(c.three))
    return 0.5 - jnp.min(maximal_borda(matrix) @ matrix)


def binary_gap(c: Instance) -> Array:
    """(w1, w2) = (1/2 ± ε) of section 3.1, either way round: P and both policies."""
    epsilon = c.small / 2
    w = jnp.stack([0.5 + epsilon, 0.5 - epsilon])

    def policies(w: Array) -> tuple[Array, Array, Array]:
        matrix = preference_matrix(jnp.array([[0, 1], [1, 0]]), w)
        return matrix, maximal_borda(matrix), maximal_lottery_solve(matrix)[0]

    matrices, *found = jax.vmap(policies)(jnp.stack([w, w[::-1]]))
    gaps = [largest(policy - jnp.eye(2)) for policy in found]
    return worst(*gaps, largest(matrices[0, 0, 1] - w[0]), largest(matrices[1, 0, 1] - w[1]))


def binary_tie(c: Instance) -> Array:
    """Maximal Borda where ε may be 0."""
    epsilon = jnp.where(c.share == 0, 0.0, c.small / 2)
    matrix = jnp.stack([jnp.stack([jnp.asarray(0.5), 0.5 + epsilon]), jnp.stack([0.5 - epsilon, jnp.asarray(0.5)])])
    return largest(maximal_borda(matrix) - jnp.eye(2)[0])


def paradox_gap(c: Instance, *, largest_share: float = 0.5) -> Array:
    """Three cyclic groups with shares below 1/2: 1 where some alternative is a Condorcet winner."""
    w = c.lotteries[0, :3] + 1e-3
    w = w / jnp.sum(w)
    asked = jnp.max(w) < largest_share
    matrix = preference_matrix(jnp.array([[0, 1, 2], [1, 2, 0], [2, 0, 1]]), w)
    majority = jnp.any(jnp.sum(matrix > 0.5, axis=1) == 2)
    agrees = jnp.abs(majority * 1.0 - (condorcet_winner(matrix) >= 0))
    return worst(jnp.where(asked, majority * 1.0, 0), jnp.where(jnp.abs(jnp.max(w) - 0.5) < 1e-6, 0, agrees))


def one_voter() -> Instance:
    """One voter, who has 0 first."""
    return by_hand(two=([[0, 1]], [1.0]), three=([[0, 1, 2]], [1.0]), four=([[0, 1, 2, 3]], [1.0]))


def same_lottery() -> Instance:
    """π1 = π2 = (1, 0, 0, 0)."""
    return by_hand(lotteries=((1.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)))


CLAIMS = (
    Claim(
        "ppa/equation-1",
        "equation (1) and below (2)",
        Statement(
            "P^σ(y ≻ y') := Σ_r σ_r 1{r(y) < r(y')} has P(y ≻ y') + P(y' ≻ y) = 1 for all y, y' ∈ Y.",
            over_sizes(lambda p: not_skew(induced(p), apart=False)),
            "P(y ≻ y') = P(y' ≻ y).",
            lambda c: largest(induced(c.three) - induced(c.three).T),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "No ranking puts y above itself, so that (1) gives P(y ≻ y) = 0 and the sum is 0, not 1, at y' = y. The "
            "matrices (24), (25) and (28) have 1/2 there, as the game of section 2.2 needs; so has the library."
        ),
        corrected=Statement(
            "It has so for all y ≠ y'; P(y ≻ y) = 1/2 is a convention beside (1).",
            over_sizes(not_induced),
            "It does whatever the shares: all rankings that are held count alike.",
            lambda c: not_induced_by_ballots(c.three),
        ),
        counterexample=one_voter,
        covers=("ppa-v1/equation-1",),
        exhaustive=every,
    ),
    Claim(
        "ppa/equation-2",
        "equation (2)",
        Statement(
            "P ∈ 𝒫 obeys the Block-Marschak inequalities, 0 ≤ P(i ≻ j) + P(j ≻ k) - P(i ≻ k) ≤ 1 and skew-symmetry for "
            "y ≠ y'; and 𝒫 is convex, as profiles can be mixed.",
            outside_induced,
            "Skew-symmetry alone gives the others.",
            lambda c: triangles(c.skew),
        ),
        generate,
        covers=("ppa-v1/equation-2",),
        exhaustive=every,
    ),
    Claim(
        "ppa/groups",
        "section 3.2, above Definition 3.1",
        Statement(
            "σ_{k,r} = σ_r / w_k on G_k gives P_k(y_k ≻ y) = 1 for y ≠ y_k, P = Σ_k w_k P_k, and Σ_k w_k = 1.",
            over_sizes(lambda p: groups_gap(p, members=False)),
            "P is the plain mean of the P_k.",
            lambda c: groups_gap(c.three, members=True, weighted=False),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "A group without members has w_k = 0 and σ_k = 0/0. One voter with 0 above 1 is enough: w = (1, 0), and "
            "P_1 is undefined."
        ),
        corrected=Statement(
            "It does for the groups with members; P_k of an empty group may be anything, as it counts for nothing.",
            over_sizes(lambda p: groups_gap(p, members=True)),
            "P is the plain mean of the P_k.",
            lambda c: groups_gap(c.three, members=True, weighted=False),
        ),
        counterexample=one_voter,
        exhaustive=every,
    ),
    Claim(
        "ppa/rlhf",
        "section 2.2, RLHF",
        Statement(
            "Rewards of largest likelihood, and then the policy of largest reward, are the maximal Borda rule: F^RL "
            "implements Φ^MB.",
            lambda c: rlhf_gap(c.three, induced(c.three)),
            "That takes the alternative with most first choices.",
            most_first_choices,
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "Where some alternatives never lose to the others the likelihood has no maximum and F^RL no value, though "
            "Φ^MB has one: for one voter with 0 above 1, L(r) = log sigmoid(r_0 - r_1) rises for ever."
        ),
        corrected=Statement(
            "They are wherever wins lead from every alternative to every other; on the whole of 𝒫 they are after "
            "mixing P with 1/2, (1 - t) P + t/2 for any t in (0, 1), which keeps the order of Borda scores.",
            lambda c: jnp.where(c.share == 1, 0, rlhf_gap(c.three, mixed_matrix(c))),
            "They are where t = 1, too: no order is left.",
            lambda c: rlhf_gap(c.three, mixed_matrix(c)),
        ),
        counterexample=one_voter,
        tolerance=1e-7,
        exhaustive=every,
    ),
    Claim(
        "ppa/proposition-C.1",
        "Proposition C.1, equations (10), (11), (13), (14), (16), (21)",
        Statement(
            "At a maximiser r* of L, Σ_{j≠i} [P(i ≻ j) - sigmoid(r*_i - r*_j)] = 0, and r*_i > r*_j iff B(i) > B(j); "
            "here r*_i - r*_j ≥ 4/M (B(i) - B(j)) where B(i) ≥ B(j), which gives both directions.",
            maximiser_gap,
            "The order of r* is that of the shares of first choices.",
            lambda c: maximiser_gap(c, by_first_choices=True),
        ),
        generate,
        tolerance=1e-8,
        covers=(
            "ppa/equation-10", "ppa/equation-11", "ppa/equation-13", "ppa/equation-14", "ppa/equation-16",
            "ppa/equation-21", "ppa-v1/proposition-B.1", "ppa-v1/equation-13", "ppa-v1/equation-14",
            "ppa-v1/equation-16", "ppa-v1/equation-17", "ppa-v1/equation-19", "ppa-v1/equation-24",
        ),
        exhaustive=every,
    ),
    Claim(
        "ppa/equation-12",
        "equation (12)",
        Statement(
            "∂L/∂r_i = Σ_{j≠i} [P(i ≻ j) - sigmoid(r_i - r_j)] for every r.",
            gradient_gap,
            "The same with sigmoid(r_j - r_i).",
            lambda c: gradient_gap(c, sign=-1.0),
        ),
        generate,
        covers=("ppa-v1/equation-15",),
        exhaustive=every,
    ),
    Claim(
        "ppa/equation-15",
        "equations (15) and (22)",
        Statement(
            "r_i > r_k gives Σ_{j≠i} sigmoid(r_i - r_j) > Σ_{j≠k} sigmoid(r_k - r_j), by tanh((r_i - r_k)/2) at least; "
            "and only r_i > r_k does: the difference is at most M/4 (r_i - r_k).",
            steps_gap,
            "r_i ≥ r_k gives it.",
            steps_gap_with_ties,
        ),
        generate,
        covers=("ppa/equation-22", "ppa-v1/equation-18", "ppa-v1/equation-25"),
        exhaustive=every,
    ),
    Claim(
        "ppa/equation-18",
        "equations (17) to (20) and the Borda score of section 2.2",
        Statement(
            "Σ_{j≠i} 1{r(y_i) < r(y_j)} = M - r(y_i), so that Σ_{j≠i} P(y_i ≻ y_j) = Σ_r σ_r (M - r(y_i)) = B(y_i).",
            over_sizes(places_gap),
            "It does where the first choice has r(y) = 0.",
            over_sizes(lambda p: places_gap(p, best=0)),
        ),
        generate,
        covers=(
            "ppa/equation-17", "ppa/equation-19", "ppa/equation-20", "ppa-v1/equation-20", "ppa-v1/equation-21",
            "ppa-v1/equation-22", "ppa-v1/equation-23",
        ),
        exhaustive=every,
    ),
    Claim(
        "ppa/nlhf",
        "section 2.2, NLHF",
        Statement(
            "max_π1 min_π2 E[P(y1 ≻ y2)], P of (1), is a two-player constant-sum game.",
            lambda c: not_constant_sum(c, induced(c.four)),
            "The maximal Borda rule is an equilibrium.",
            borda_outperformed,
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "By (1) P(y ≻ y) = 0, so that two draws of the same y give nobody a point. With two alternatives and "
            "shares 1/2 ± ε the equilibrium is then (1/2 - ε, 1/2 + ε), not (1, 0), the lottery of section 3.1."
        ),
        corrected=Statement(
            "It is with P(y ≻ y) = 1/2; no lottery beats its equilibrium, the maximal lottery, of value 1/2.",
            lambda c: worst(not_constant_sum(c, halved(induced(c.four))), outperformed(c)),
            "The maximal Borda rule is an equilibrium.",
            borda_outperformed,
        ),
        counterexample=same_lottery,
        tolerance=1e-8,
        exhaustive=every,
    ),
    Claim(
        "ppa/binary-example",
        "section 3.1",
        Statement(
            "With shares (1/2 + ε, 1/2 - ε), P(y1 ≻ y2) = 1/2 + ε, and for every ε > 0 RLHF and NLHF both give (1, 0); "
            "(0, 1) for -ε. Here ε ≥ 5e-5.",
            binary_gap,
            "They do for ε = 0.",
            binary_tie,
        ),
        generate,
        tolerance=1e-8,
    ),
    Claim(
        "ppa/condorcet-paradox",
        "section 2.2, NLHF",
        Statement(
            "There need be no Condorcet winner: three groups 012, 120, 201 with shares below 1/2 have none.",
            paradox_gap,
            "With shares below 0.525 they have none.",
            lambda c: paradox_gap(c, largest_share=0.525),
        ),
        generate,
    ),
)  # fmt: skip
