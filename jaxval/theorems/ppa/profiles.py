"""Section 2 and Appendix C: preference functions of profiles, RLHF and maximal Borda, NLHF and maximal lotteries."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval.preferences import (
    borda_scores,
    bradley_terry_solve,
    condorcet_winner,
    first_choice_shares,
    preference_matrix,
)
from jaxval.social_choice import maximal_borda, maximal_lottery_solve
from jaxval.theorems.ppa._profiles import (
    APART,
    Case,
    Instance,
    Profile,
    borda,
    by_hand,
    halved,
    induced,
    lottery_of_three,
    mixture,
    over,
    places,
    shares,
)
from jaxval.theorems.records import AtMost


def one_voter(**asked: Any) -> Instance:
    """One voter, who ranks 0 1 2 and so on."""
    return by_hand(*((["012345"[:size]], [1.0]) for size in range(2, 7)), **asked)


@over(2, 5).claim(
    "ppa/equation-1",
    "equation (1) and below (2)",
    fails="convention",
    quote="Any P ∈ 𝒫 satisfies consistency conditions known as the Block-Marschak inequalities [32], including "
    "skew-symmetry: P(y ≻ y') + P(y' ≻ y) = 1 ∀ y, y' ∈ 𝒴.",
    why="No ranking puts y above itself, so that (1) gives P(y ≻ y) = 0, and the sum is 0 at y' = y. The matrices "
    "(24), (25) and (28) of the paper have 1/2 there, as the game of section 2.2 needs.",
    corrected="P(y ≻ y') + P(y' ≻ y) = 1 for all y, y' ∈ Y, if (1) is read for y ≠ y' and P(y ≻ y) = 1/2.",
    correction={"diagonal": 0.5},
    counterexample=one_voter,
)
def equation_1(c: Case, diagonal: float = 0.0) -> Any:
    """P^σ(y ≻ y') := Σ_r σ_r 1{r(y) < r(y')} has P(y ≻ y') + P(y' ≻ y) = 1 for all y, y' ∈ Y."""
    P = induced(c.profile) + diagonal * jnp.eye(len(c.rewards))
    return {"(1)": (P + P.T, 1.0), "library": (preference_matrix(*c.profile), halved(P))}


@over(3, 6).claim(
    "ppa/equation-2",
    "equation (2)",
    false="Every P with P(i ≻ j) + P(j ≻ i) = 1 has 0 ≤ P(i ≻ j) + P(j ≻ k) - P(i ≻ k) ≤ 1.",
    neighbour={"by_profile": False, "only": "M = 3"},
)
def equation_2(c: Case, by_profile: bool = True) -> Any:
    """P ∈ 𝒫 has 0 ≤ P(i ≻ j) + P(j ≻ k) - P(i ≻ k) ≤ 1 for distinct i, j, k; 𝒫 is convex, as profiles can be mixed."""
    P = c.P if by_profile else c.skew
    sums = P[:, :, None] + P[None, :, :] - P[:, None, :]
    apart = APART[len(P)]
    sums = jnp.where(apart[:, :, None] & apart[None, :, :] & apart[:, None, :], sums, 0.5)
    t = c.share
    mixed = halved(induced(mixture([(t, c.profile), (1 - t, c.reports)])))
    return {
        "at least 0": AtMost(0.0, sums),
        "at most 1": AtMost(sums, 1.0),
        "mixed": (mixed, t * c.P + (1 - t) * halved(induced(c.reports))),
    }


@over(2, 5).claim(
    "ppa/groups",
    "section 3.2, above Definition 3.1",
    fails="convention",
    quote="For notational convenience, we define σ_k ∈ Δ(𝒮) as the normalized sub-profile restricted to rankings in "
    "G_k, where σ_{k,r} = σ_r / w_k^σ for all r ∈ G_k, and σ_{k,r} = 0 for all r ∉ G_k.",
    why="A group without members has w_k = 0 and σ_k = 0/0. One voter with 0 above 1 is enough: w = (1, 0), and P_1 is "
    "undefined.",
    corrected="σ_{k,r} = σ_r / w_k on G_k gives P_k(y_k ≻ y) = 1 for the groups with members, and P = Σ_k w_k P_k "
    "whatever P_k of an empty group is, as it counts for nothing.",
    correction={"members": True},
    counterexample=one_voter,
)
def groups(c: Case, members: bool = False) -> Any:
    """σ_{k,r} = σ_r / w_k on G_k gives P_k(y_k ≻ y) = 1 for y ≠ y_k, P = Σ_k w_k P_k, and Σ_k w_k = 1."""
    w, r = c.w, places(c.profile.orders)
    empty = members & (w == 0)
    own = jnp.where(r == 1, c.profile.weights[:, None], 0) / jnp.where(empty, 1, w)[None]
    P_k = jax.vmap(lambda weights: induced(Profile(c.profile.orders, weights)))(own.T)
    top = jnp.diagonal(P_k).T + jnp.eye(len(w))
    return {
        "P_k": (jnp.where(empty[:, None], 1, top), 1.0),
        "P": (halved(jnp.sum(w[:, None, None] * P_k, axis=0)), c.P),
        "Σw": (jnp.sum(w), 1.0),
        "library": (first_choice_shares(*c.profile), w),
    }


# RLHF


def sigmoid_sums(rewards: Array) -> Array:
    """Σ_{j≠i} sigmoid(r_i - r_j)."""
    return jnp.sum(jax.nn.sigmoid(rewards[:, None] - rewards[None]), axis=1) - 0.5


def likelihood(rewards: Array, P: Array) -> Array:
    """Equation (10)."""
    chance = jnp.exp(rewards)[:, None] / (jnp.exp(rewards)[:, None] + jnp.exp(rewards)[None])
    return jnp.sum(jnp.where(APART[len(P)], P * jnp.log(chance), 0))


@over(4).claim(
    "ppa/rlhf",
    "section 2.2, RLHF",
    fails="convention",
    quote="As proved in Appendix C, the ranking from BT-optimized rewards coincides with Borda rankings, so RLHF "
    "without regularization (denoted by F^RL) implements the maximal Borda rule (denoted by Φ^MB).",
    why="To implement Φ^MB, F^RL needs a value for every P of a profile. If some alternatives never lose to the "
    "others, the likelihood has no maximiser: for one voter with 0 above 1, L(r) = log sigmoid(r_0 - r_1) rises for "
    "ever.",
    corrected="The alternative of largest reward is the maximal Borda winner for every P of a profile, if P is first "
    "mixed with 1/2, (1 - t) P + t/2 for any t in (0, 1), which keeps the order of the Borda scores.",
    correction={"mixed": True},
    counterexample=one_voter,
    tolerance=1e-7,
)
def rlhf(c: Case, mixed: bool = False) -> Any:
    """The alternative of largest reward, for rewards of largest likelihood, is the maximal Borda winner."""
    t = 0.01 + 0.9 * c.share if mixed else 0.0
    P = (1 - t) * c.P + t / 2
    rewards, _ = bradley_terry_solve(P * APART[len(P)])
    best = (rewards >= jnp.max(rewards) - 1e-7).astype(float)
    policy = jnp.where(jnp.all(jnp.isfinite(rewards)), best / jnp.sum(best), jnp.nan)
    return policy, maximal_borda(c.P)


@over(4).claim(
    "ppa/proposition-C.1",
    "Proposition C.1, equations (10), (11), (13), (14), (16), (21)",
    false="The order of r* is that of the shares of first choices.",
    neighbour={"score": shares},
    covers=(
        "ppa/equation-10", "ppa/equation-11", "ppa/equation-13", "ppa/equation-14", "ppa/equation-16",
        "ppa/equation-21",
    ),
    proof="B(i) = Σ_{j≠i} sigmoid(r*_i - r*_j), and B(i) - B(k) increases with r*_i - r*_k, with slope at most M/4",
    tolerance=1e-8,
)  # fmt: skip
def proposition_c1(c: Case, score: Callable[..., Any] = borda) -> Any:
    """At a maximiser r* of L, Σ_{j≠i} [P(i ≻ j) - sigmoid(r*_i - r*_j)] = 0, and r*_i > r*_j iff B(i) > B(j).

    Where B(i) ≥ B(j), r*_i - r*_j is at least 4/M (B(i) - B(j)), which gives both directions.
    """
    P = ((1 - c.share) * c.P + c.share / 2) * APART[len(c.P)]  # with two voters who are opposed, there often is an r*
    scores = (1 - c.share) * score(c.profile)
    rewards, diagnostics = bradley_terry_solve(P)
    found = diagnostics.strongly_connected  # a maximiser exists
    r = jnp.where(found, rewards, 0)
    apart, scores_apart = r[:, None] - r[None], scores[:, None] - scores[None]
    asked = found & (scores_apart >= 0)
    return {
        "(10)": AtMost(jnp.where(found, likelihood(c.rewards, P) - likelihood(r, P), 0), 0.0),
        "(13)": (jnp.where(found, jnp.sum(P, axis=1) - sigmoid_sums(r), 0), 0.0),
        "(11)": AtMost(jnp.where(asked, 4 / len(P) * scores_apart - apart, 0), 0.0),
    }


@over(2, 5).claim(
    "ppa/equation-12",
    "equation (12)",
    false="∂L/∂r_i = Σ_{j≠i} [P(i ≻ j) - sigmoid(r_j - r_i)] for every r.",
    neighbour={"sign": -1.0, "only": "M = 2"},
)
def equation_12(c: Case, sign: float = 1.0) -> Any:
    """∂L/∂r_i = Σ_{j≠i} [P(i ≻ j) - sigmoid(r_i - r_j)] for every r."""
    return jax.grad(likelihood)(c.rewards, c.P), jnp.sum(c.P, axis=1) - 0.5 - sigmoid_sums(sign * c.rewards)


@over(2, 5).claim(
    "ppa/equation-15",
    "equations (15) and (22)",
    false="The difference of the two sums is at least 1.05 tanh((r_i - r_k)/2) if r_i > r_k.",
    neighbour={"factor": 1.05},
    covers=("ppa/equation-22",),
    proof="the difference is tanh((r_i - r_k)/2) and M - 2 terms from 0 to (r_i - r_k)/4",
)
def equation_15(c: Case, factor: float = 1.0) -> Any:
    """r_i > r_k gives Σ_{j≠i} sigmoid(r_i - r_j) > Σ_{j≠k} sigmoid(r_k - r_j), and only r_i > r_k does.

    The difference is at least tanh((r_i - r_k)/2) and at most M/4 (r_i - r_k).
    """
    r, sums = c.rewards, sigmoid_sums(c.rewards)
    apart, sums_apart = r[:, None] - r[None], sums[:, None] - sums[None]
    return {
        "(15)": AtMost(jnp.where(apart >= 0, factor * jnp.tanh(apart / 2) - sums_apart, 0), 0.0),
        "(22)": AtMost(jnp.where(sums_apart >= 0, sums_apart - len(r) / 4 * apart, 0), 0.0),
    }


@over(2, 5).claim(
    "ppa/equation-18",
    "equations (17) to (20) and the Borda score of section 2.2",
    false="Σ_{j≠i} 1{r(y_i) < r(y_j)} = M - r(y_i) if the first choice has r(y) = 0.",
    neighbour={"first": 0, "only": "M = 2"},
    covers=("ppa/equation-17", "ppa/equation-19", "ppa/equation-20"),
)
def equation_18(c: Case, first: int = 1) -> Any:
    """Σ_{j≠i} 1{r(y_i) < r(y_j)} = M - r(y_i), so that Σ_{j≠i} P(y_i ≻ y_j) = Σ_r σ_r (M - r(y_i)) = B(y_i)."""
    r, weights = places(c.profile.orders), c.profile.weights
    below = jnp.sum(r[:, :, None] < r[:, None, :], axis=2)
    sums = jnp.sum(c.P, axis=1) - 0.5  # without y_i itself
    return {
        "(18)": (below, len(sums) - (r - 1 + first)),
        "(17)": (sums, weights @ below),
        "(20)": (sums, borda(c.profile)),
        "library": (borda_scores(c.P), borda(c.profile)),
    }


# NLHF


@over(2, 5).claim(
    "ppa/nlhf",
    "section 2.2, NLHF",
    fails="convention",
    quote="the game-theoretic approach, known as Nash learning from human feedback (NLHF) [9, 10, 11, 12], has been "
    "adopted to model preference learning as a two-player constant-sum game max_{π1 ∈ Δ(𝒴)} min_{π2 ∈ Δ(𝒴)} E_{(y1, "
    "y2) ∼ (π1, π2)}[P(y1 ≻ y2)], where the equilibrium policy π* cannot be uniformly outperformed.",
    why="By (1) P(y ≻ y) = 0, so that two draws of the same y give nobody a point. With two alternatives and shares "
    "1/2 ± ε the equilibrium is then (1/2 - ε, 1/2 + ε), not (1, 0), the lottery of section 3.1.",
    corrected="max_π1 min_π2 E[P(y1 ≻ y2)], with P(y ≻ y) = 1/2, is a two-player constant-sum game.",
    correction={"diagonal": 0.5},
    counterexample=lambda: by_hand(lotteries=((1.0,), (1.0,))),
)
def nlhf(c: Case, diagonal: float = 0.0) -> Any:
    """max_π1 min_π2 E[P(y1 ≻ y2)], with P of (1), is a two-player constant-sum game."""
    P, (first, second) = c.P + (diagonal - 0.5) * jnp.eye(len(c.P)), c.lotteries
    return first @ P @ second + second @ P @ first, 1.0


@over(3).claim(
    "ppa/maximal-lotteries",
    "section 2.2, NLHF, and Table 1",
    false="No lottery beats Φ^MB.",
    neighbour={"rule": maximal_borda},
    tolerance=1e-8,
)
def maximal_lotteries(c: Case, rule: Callable[..., Any] = lambda P: maximal_lottery_solve(P)[0]) -> Any:
    """No lottery beats Φ^ML, which is Pareto efficient.

    Of three alternatives without a winner or ties, each has a probability in proportion to the others' margin.
    """
    policy, unanimous = rule(c.P), c.P >= 1 - 1e-12
    ties = jnp.any(jnp.abs(c.P - 0.5 + np.eye(3)) < 1e-6)
    return {
        "not beaten": AtMost(0.5, policy @ c.P),
        "a policy": AtMost(-policy, 0.0),
        "Pareto": AtMost(jnp.where(unanimous, policy[None] - policy[:, None], 0), 0.0),
        "of three": (jnp.where(ties, 0, policy), jnp.where(ties, 0, lottery_of_three(c.P))),
    }


@over(2).claim(
    "ppa/binary-example",
    "section 3.1",
    false="RLHF and NLHF both give (1, 0) for ε = 0.",
    neighbour={"least": 0.0},
)
def binary_example(c: Case, least: float = 5e-5) -> Any:
    """With shares (1/2 + ε, 1/2 - ε), P(y1 ≻ y2) = 1/2 + ε, and RLHF and NLHF give (1, 0) for ε > 0, (0, 1) for -ε.

    Here ε is at least 5e-5.
    """
    epsilon = least + (0.5 - least) * c.share

    def policies(epsilon: Array) -> tuple[Array, Array, Array]:
        P = halved(induced(Profile(jnp.array([[0, 1], [1, 0]]), jnp.stack([0.5 + epsilon, 0.5 - epsilon]))))
        return P[0, 1], maximal_borda(P), jnp.min(P, axis=1) >= 0.5  # whoever beats the other, is taken

    above, by_borda, unbeaten = jax.vmap(policies)(jnp.stack([epsilon, -epsilon]))
    return {
        "P": (above, jnp.stack([0.5 + epsilon, 0.5 - epsilon])),
        "RLHF": (by_borda, jnp.eye(2)),
        "NLHF": (unbeaten, jnp.eye(2)),
    }


@over(3, 6).claim(
    "ppa/condorcet-paradox",
    "section 2.2, NLHF",
    false="Of groups that rank 0 1 2 ..., 1 2 ... 0 and so on, each with less than 0.525 of the voters, there is no "
    "Condorcet winner.",
    neighbour={"most": 0.525},
    proof="y_{k+1} is below y_k in all rankings but its own group's, so that P(y_k ≻ y_{k+1}) = 1 - w_{k+1}",
)
def condorcet_paradox(c: Case, most: float = 0.5) -> Any:
    """There need be no Condorcet winner.

    Groups that rank 0 1 2 ..., 1 2 ... 0 and so on have none, if each has less than half of the voters.
    """
    size = len(c.rewards)
    w = c.lotteries[0] + 1e-3
    w = w / jnp.sum(w)
    orders = (np.arange(size)[:, None] + np.arange(size)[None]) % size
    P = halved(induced(Profile(jnp.asarray(orders), w)))
    winner = jnp.any(jnp.sum(P > 0.5, axis=1) == size - 1)
    near = jnp.abs(jnp.max(w) - 0.5) < 1e-6
    return {
        "no winner": AtMost(1.0 * (winner & (jnp.max(w) < most)), 0.0),
        "library": (jnp.where(near, 0, condorcet_winner(P) >= 0), jnp.where(near, 0, winner)),
    }
