"""Appendix I: groups that report any skew-symmetric preferences, (32), and how far the box is from W(P)."""

import functools
import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval.social_choice import box_distance, extended_membership, extended_shares
from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ppa._old_profiles import (
    Instance,
    Profile,
    by_hand,
    every,
    generate,
    halved,
    induced,
    shares,
    worst,
)
from jaxval.theorems.ppa._programs import by_box, by_definition, by_reports, plain, sizes

__all__ = ["CLAIMS"]


def extended_gap(c: Any, *, bounded: bool, scale: float = 1.0) -> float:
    """The extended W(P) against the box (`scale` times as wide), in two directions; and the library's.

    For a P of no profile, too: where Σu < 1 both are empty.
    """
    ends = [of(c.skew, c.rewards) for of in (functools.partial(by_reports, bounded=bounded), by_box)]
    gaps = [0.0 if ends[0] == ends[1] else abs(ends[0] - ends[1])]
    for matrix, w, direction in sizes(c):
        for d in (direction, direction[::-1]):
            gaps.append(abs(by_reports(matrix, d, bounded=bounded) - by_box(matrix, d, scale=scale)))
        gaps.append(extended_membership(matrix, w)[0])
        unit = np.eye(len(w))[0]
        gaps.append(abs(extended_shares(matrix).largest[0] - by_box(matrix, unit)))
        gaps.append(abs(extended_shares(matrix).smallest[0] + by_box(matrix, -unit)))
    return float(np.max(gaps))


def tight_gap(c: Any) -> float:
    """Joint distance of the box from W(P): 1/2 for two voters 0123 and 2130, 0 for three alternatives."""
    two_voters = plain(np.array([[0, 1, 2, 3], [2, 1, 3, 0]]), np.array([0.5, 0.5]))[0]
    three = plain(*c.three)[0]
    unit = np.array([0.0, 1.0, 1.0, 0.0])
    return max(
        abs(box_distance(two_voters).distance - 0.5),
        abs(by_box(two_voters, unit) - 1),
        abs(by_definition(two_voters, unit) - 0.5),
        box_distance(three).distance,
        abs(by_box(three, np.asarray(c.rewards)[:3]) - by_definition(three, np.asarray(c.rewards)[:3])),
    )


def no_gap_with_four(c: Any) -> float:
    """The distance for the two voters and some others beside them, four in five at most."""
    orders = np.concatenate([c.four.orders, [[0, 1, 2, 3], [2, 1, 3, 0]]])
    t = 0.8 * c.share
    weights = np.concatenate([t * c.four.weights, np.full(2, (1 - t) / 2)])
    return box_distance(plain(orders, weights)[0]).distance


def in_box(profile: Profile, c: Instance) -> Array:
    """A point of the box: a vertex, filled in the order of the rewards; or w^σ; or between them."""
    size = profile.orders.shape[1]
    bounds = jnp.min(jnp.where(jnp.eye(size, dtype=bool), jnp.inf, induced(profile)), axis=1)
    first = jnp.argsort(-c.rewards[:size])
    before = jnp.concatenate([jnp.zeros(1), jnp.cumsum(bounds[first])[:-1]])
    vertex = jnp.zeros(size).at[first].set(jnp.clip(1 - before, 0, bounds[first]))
    return (1 - c.share) * vertex + c.share * shares(profile)


def reports(matrix: Array, w: Array, *, voting: bool) -> Array:
    """(32), (k, i, j); 1/2 where w_i + w_j = 1 if only `voting` groups count, else 0/0."""
    size = len(w)
    left = 1 - w[:, None] - w[None, :]
    nobody = jnp.abs(left) < 1e-12
    formula = jnp.where(nobody, 0.5 if voting else jnp.nan, (matrix - w[:, None]) / jnp.where(nobody, 1, left))
    own = jnp.eye(size, dtype=bool)
    of_k = jnp.where(own[:, :, None], 1.0, jnp.where(own[:, None, :], 0.0, formula[None]))
    return jnp.where(own[None], 0.5, of_k)


def others_of(size: int) -> np.ndarray:
    """Whether i ≠ j are both other than k."""
    own = np.eye(size, dtype=bool)
    return ~(own[:, :, None] | own[:, None, :] | own[None])


def reports_gap(profile: Profile, w: Array, *, voting: bool) -> Array:
    """Whether the P_k of (32) are in [0, 1], skew-symmetric, and add up to P."""
    matrix = halved(induced(profile))
    groups = reports(matrix, w, voting=voting)
    counted = jnp.asarray(others_of(len(w)))
    return worst(
        jnp.max(jnp.where(counted, jnp.maximum(-groups, groups - 1), -1)),
        largest(jnp.where(counted, groups + jnp.swapaxes(groups, 1, 2) - 1, 0)),
        largest(jnp.einsum("k,kij->ij", w, groups) - matrix),
    )


def over_reports(c: Instance, *, voting: bool, boxed: bool = True) -> Array:
    three = in_box(c.three, c) if boxed else c.lotteries[0, :3] + c.lotteries[0, 3] / 3
    four = in_box(c.four, c) if boxed else c.lotteries[0]
    return worst(reports_gap(c.three, three, voting=voting), reports_gap(c.four, four, voting=voting))


def cycles(c: Instance) -> Array:
    """How far the P_k of (32) with four alternatives leave P(a ≻ b) + P(b ≻ d) + P(d ≻ a) ≤ 2 for the three others."""
    groups = reports(halved(induced(c.four)), in_box(c.four, c), voting=True)
    sums = [
        groups[k, a, b] + groups[k, b, d] + groups[k, d, a]
        for k in range(4)
        for a, b, d in itertools.permutations([i for i in range(4) if i != k])
    ]
    return jnp.max(jnp.stack(sums)) - 2


def with_three_gap(c: Instance) -> Array:
    """The P_k of (32) with three alternatives as profiles: k i j with P_k(i ≻ j), k j i with the rest."""
    w = in_box(c.three, c)
    matrix = halved(induced(c.three))
    groups = reports(matrix, w, voting=True)
    orders, weights = [], []
    for k in range(3):
        i, j = (other for other in range(3) if other != k)
        orders += [[k, i, j], [k, j, i]]
        weights += [w[k] * groups[k, i, j], w[k] * (1 - groups[k, i, j])]
    profile = Profile(jnp.array(orders), jnp.stack(weights))
    return worst(-jnp.min(profile.weights), largest(halved(induced(profile)) - matrix), largest(shares(profile) - w))


def own_pair_gap(*, other: bool) -> Array:
    """P_k(y_k ≻ y) = 1 and P_k(y ≻ y_k) = 0 for all y, or all `other` y, with P_k(y ≻ y') + P_k(y' ≻ y) = 1."""
    above, below = jnp.ones(3), jnp.zeros(3)  # what is set, for y = 0, 1, 2 and k = 0
    asked = jnp.arange(3) > 0 if other else jnp.ones(3, dtype=bool)
    same = jnp.arange(3) == 0
    contradiction = jnp.where(same, jnp.abs(above - below), jnp.abs(above + below - 1))
    return jnp.max(jnp.where(asked, contradiction, 0))


def two_voters() -> Instance:
    """0123 and 2130; the vertex (0, 1/2, 1/2, 0)."""
    return by_hand(four=([[0, 1, 2, 3], [2, 1, 3, 0]], [0.5, 0.5]), rewards=(1.0, 3.0, 2.0, 0.0), share=0.0)


def two_favourites() -> Instance:
    """0 1 2 and 1 0 2; w = (1/2, 1/2, 0)."""
    return by_hand(three=([[0, 1, 2], [1, 0, 2]], [0.5, 0.5]), share=1.0)


CLAIMS = (
    Claim(
        "ppa/equation-31",
        "Appendix I, equation (31)",
        Statement(
            "With 𝒫 := {P: Y² → [0, 1] | P(y ≻ y') + P(y' ≻ y) = 1}, W(P) = {w ∈ Δ : w_i ≤ u_i}. M = 2, 3, 4.",
            lambda c: extended_gap(c, bounded=True),
            "So it is without the range [0, 1] of section 2.1: of P = 1/2, w = (0.8, 0.1, 0.1) with P_2(y1 ≻ y3) = -3.",
            lambda c: extended_gap(c, bounded=False),
        ),
        generate,
        tolerance=1e-7,
        most=30,
        compiled=False,
        covers=("ppa-v1/equation-34",),
    ),
    Claim(
        "ppa/appendix-I-own-pair",
        "Appendix I, above (31) and below (32)",
        Statement(
            "P_k(y_k ≻ y) = 1, P_k(y ≻ y_k) = 0 for all y ∈ Y, and P_k(y ≻ y') + P_k(y' ≻ y) = 1 for all y, y' ∈ Y.",
            lambda c: own_pair_gap(other=False) + 0 * c.share,
            "Even where P_k(y ≻ y_k) = 0.05.",
            lambda c: own_pair_gap(other=True) + 0.05 + 0 * c.share,
        ),
        generate,
        verdict="holds as corrected",
        why="For y = y_k it sets P_k(y_k ≻ y_k) to 1 and to 0, where skew-symmetry would have 1/2.",
        corrected=Statement(
            "The same for all y ≠ y_k.",
            lambda c: own_pair_gap(other=True) + 0 * c.share,
            "Even where P_k(y ≻ y_k) = 0.05.",
            lambda c: own_pair_gap(other=True) + 0.05 + 0 * c.share,
        ),
        counterexample=by_hand,
        most=1,
    ),
    Claim(
        "ppa/equation-32",
        "Appendix I, equation (32)",
        Statement(
            "For w in the box, P_k(i ≻ j) = (P(i ≻ j) - w_i)/(1 - w_i - w_j), i, j ≠ k, is in [0, 1] and "
            "skew-symmetric, and Σ_k w_k P_k = P.",
            lambda c: over_reports(c, voting=False),
            "For any w ∈ Δ it is.",
            lambda c: over_reports(c, voting=True, boxed=False),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "It is 0/0 where w_i + w_j = 1: of two voters, 0 1 2 and 1 0 2, w = (1/2, 1/2, 0), and P_2(0 ≻ 1) = "
            "(1/2 - 1/2)/(1 - 1)."
        ),
        corrected=Statement(
            "It is where w_i + w_j < 1; else P(i ≻ j) = w_i, nobody else votes, and any P_k does, such as 1/2.",
            lambda c: over_reports(c, voting=True),
            "For any w ∈ Δ it is.",
            lambda c: over_reports(c, voting=True, boxed=False),
        ),
        counterexample=two_favourites,
        tolerance=1e-8,
        covers=("ppa-v1/equation-35",),
        exhaustive=every,
    ),
    Claim(
        "ppa/appendix-I-induced",
        "Appendix I, below (32), read of profiles of rankings (of extended ones it is so by definition)",
        Statement(
            "The P_k of (32) can be induced by some profile, so that P_k(a ≻ b) + P_k(b ≻ d) + P_k(d ≻ a) ≤ 2. M = 4.",
            cycles,
            "With three alternatives they can for any w ∈ Δ.",
            lambda c: over_reports(c, voting=True, boxed=False),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "Of two voters, 0 1 2 3 and 2 1 3 0, u = (1/2, 1/2, 1/2, 0), and w = (0, 1/2, 1/2, 0) is in the box; (32) "
            "has P_1(0 ≻ 2) = 1, P_1(2 ≻ 3) = 1, P_1(3 ≻ 0) = 1/2, and a ranking agrees with at most two of the three."
        ),
        corrected=Statement(
            "With up to three alternatives they can, by k i j and k j i; then W(P) is the whole box.",
            with_three_gap,
            "With four alternatives they can.",
            cycles,
        ),
        counterexample=two_voters,
        exhaustive=every,
    ),
    Claim(
        "ppa/appendix-I-gap",
        "Appendix I, first sentence",
        Statement(
            "As evaluators have strict rankings there is a gap between W(P) and the box: of two voters, 0123 and 2130, "
            "(0, 1/2, 1/2, 0) is in the box and 1/2 away from W(P) (total variation). With three alternatives there is "
            "none.",
            tight_gap,
            "With four there is none.",
            no_gap_with_four,
        ),
        generate,
        tolerance=1e-7,
        most=15,
        compiled=False,
    ),
)
