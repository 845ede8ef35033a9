"""Appendix I: groups that report any skew-symmetric preferences, (32), and how far the box is from W(P)."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval.social_choice import box_distance, extended_membership, extended_shares
from jaxval.theorems.ppa._profiles import Case, Instance, by_hand, over
from jaxval.theorems.ppa._programs import by_box, by_definition, by_reports, programs, remembered
from jaxval.theorems.records import AtMost


@over(3, 5, of=programs).claim(
    "ppa/equation-31",
    "Appendix I, equation (31)",
    false="Without the range [0, 1] of preference functions, W(P) is {w ∈ Δ : w_i ≤ u_i} as well; yet of P = 1/2, w = "
    "(0.8, 0.1, 0.1) is in W(P), with P_2(y1 ≻ y3) = -3.",
    neighbour={"bounded": False},
)
def equation_31(c: Case, bounded: bool = True) -> Any:
    """With 𝒫 := {P: Y² → [0, 1] | P(y ≻ y') + P(y' ≻ y) = 1}, W(P) = {w ∈ Δ : w_i ≤ u_i}.

    Both sets reach equally far in every direction (here two), for a P of no profile, too: if Σu < 1, both are empty.
    """
    P, w = c.P, c.w
    cases: list[Any] = [(P, c.rewards), (P, c.rewards[::-1].copy()), (c.skew, c.rewards)]
    unit = np.eye(len(w))[0]
    return {
        "(31)": (
            np.array([by_reports(*case, bounded=bounded) for case in cases]),
            np.array([by_box(*x) for x in cases]),
        ),
        "w^σ": AtMost(extended_membership(P, w)[0], 0.0),
        "library": (
            np.array([extended_shares(P).largest[0], extended_shares(P).smallest[0]]),
            np.array([by_box(P, unit), -by_box(P, -unit)]),
        ),
    }


def two_voters() -> Instance:
    """Two voters, 0123 and 2130."""
    return by_hand((["0123", "2130"], [0.5, 0.5]))


def in_box(c: Case) -> Array:
    """A point of the box: a vertex, filled in the order of the rewards; or w^σ; or between them."""
    u = c.u
    first = jnp.argsort(-c.rewards)
    before = jnp.cumsum(u[first]) - u[first]
    vertex = jnp.zeros(len(u)).at[first].set(jnp.clip(1 - before, 0, u[first]))
    return (1 - c.share) * vertex + c.share * c.w


@over(3, 5).claim(
    "ppa/equation-32",
    "Appendix I, equation (32) and around it",
    fails="convention",
    quote="Define each element of (P_1, ..., P_M) as P_k(y_i ≻ y_j) = (P(y_i ≻ y_j) - w_i)/(1 - w_i - w_j) for any i, "
    "j ≠ k, and let P_k(y_k ≻ y) = 1, P_k(y ≻ y_k) = 0 for all y ∈ 𝒴.",
    why="(32) is 0/0 if w_i + w_j = 1: of two voters, 0 1 2 and 1 0 2, w = (1/2, 1/2, 0), and P_2(0 ≻ 1) = (1/2 - "
    "1/2)/(1 - 1). And for y = y_k it sets P_k(y_k ≻ y_k) to 1 and to 0, where skew-symmetry would have 1/2.",
    corrected="If w_i ≤ u_i for all i, (32) for w_i + w_j < 1, P_k(y_i ≻ y_j) = 1/2, or any other, for w_i + w_j = 1, "
    "and P_k(y_k ≻ y_k) = 1/2 make preference functions in [0, 1] that are skew-symmetric, and Σ_k w_k P_k = P.",
    correction={"undefined": 0.5, "own": 0.5},
    false="For any w ∈ Δ, P_k of (32), with 1/2 where that is 0/0, is in [0, 1].",
    neighbour={"undefined": 0.5, "own": 0.5, "inside": False},
    counterexample=lambda: by_hand((["012", "102"], [0.5, 0.5]), share=1.0),
    tolerance=1e-8,
)
def equation_32(c: Case, undefined: float = jnp.nan, own: float = 1.0, inside: bool = True) -> Any:
    """If w_i ≤ u_i for all i, P_k(y_i ≻ y_j) = (P(y_i ≻ y_j) - w_i)/(1 - w_i - w_j) makes preference functions.

    With P_k(y_k ≻ y) = 1 and P_k(y ≻ y_k) = 0 for all y, they are in [0, 1] and skew-symmetric, and Σ_k w_k P_k = P.
    """
    P, size = c.P, len(c.P)
    w = in_box(c) if inside else c.lotteries[0]
    left = 1 - w[:, None] - w[None]
    nobody = (jnp.abs(left) < 1e-12) & ~np.eye(size, dtype=bool)
    formula = jnp.where(nobody, undefined, (P - w[:, None]) / jnp.where(jnp.abs(left) < 1e-12, 1, left))
    same = np.eye(size, dtype=bool)
    P_k = jnp.where(same[:, :, None], 1.0, jnp.where(same[:, None, :], 0.0, formula[None]))
    P_k = jnp.where(same[None], jnp.where(same[:, :, None] & same[:, None, :], own, 0.5), P_k)
    return {
        "[0, 1]": AtMost(jnp.maximum(-P_k, P_k - 1), 0.0),
        "skew-symmetric": (P_k + jnp.swapaxes(P_k, 1, 2), 1.0),
        "P": (jnp.where(same, 0.5, jnp.sum(w[:, None, None] * P_k, axis=0)), P),
    }


@programs._replace(cases=None).claim(
    "ppa/appendix-I-gap",
    "Appendix I, first sentence",
    false="With four alternatives there is no gap, either.",
    neighbour={"alternatives": "four"},
    most=4,
)
def appendix_i_gap(c: Instance, alternatives: str = "three") -> Any:
    """As evaluators have strict rankings, there is a gap between W(P) and the box, but none with three alternatives.

    Of two voters, 0123 and 2130, (0, 1/2, 1/2, 0) is in the box, and 1/2 away from W(P) in total variation.
    """
    P, unit = two_voters().four.P, np.array([0.0, 1.0, 1.0, 0.0])
    other = c.three.P if alternatives == "three" else (P + c.four.P) / 2
    return {
        "two voters": (remembered(box_distance)(P).distance, 0.5),
        "(0, 1/2, 1/2, 0)": (np.array([by_box(P, unit), by_definition(P, unit)]), np.array([1.0, 0.5])),
        "no gap": AtMost(remembered(box_distance)(other).distance, 0.0),
    }
