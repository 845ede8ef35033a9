"""Kim et al., Definition 4.8 to Theorem 4.10, Appendix L: δ-domination, the level of alignment; (7), (34) to (37)."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from jaxval import axioms, social_choice
from jaxval.theorems.ppa._profiles import APART, Case, by_hand, profiles, relaxed
from jaxval.theorems.records import AtMost

CLOSE = 1e-9  # what differs by rounding is a tie


def is_dominated(P: Array, delta: Array | float) -> Array:
    """Definition 4.8: some y' ≠ y has P(y' ≻ y) ≥ δ."""
    return jnp.any(jnp.asarray(APART[len(P)]) & (delta - CLOSE <= P), axis=0)


def inverse_level(P: Array, w: Array, delta: Array | float, *, second: int = -2) -> Array:
    """1/α(σ) of equation (7)."""
    count, ordered = jnp.sum(~is_dominated(P, delta)), jnp.sort(w)
    return (count - 1) * (1 - ordered[-1]) + (1 - ordered[second]) + (len(P) - count) * (1 - delta)


@profiles.claim(
    "ppa/definition-4.8",
    "Definition 4.8",
    false="y is δ-dominated, P(y' ≻ y) ≥ δ for some y' ≠ y, iff u_y < 1 - δ.",
    neighbour={"strictly": True, "only": "M = 4"},
)
def definition_4_8(c: Case, strictly: bool = False) -> Any:
    """An alternative y is δ-dominated, P(y' ≻ y) ≥ δ for some y' ≠ y, iff u_y ≤ 1 - δ.

    An alternative that is 1-dominated is nobody's first choice.
    """
    by_bound = c.u < 1 - c.delta - CLOSE if strictly else c.u <= 1 - c.delta + CLOSE
    return {
        "u": (is_dominated(c.P, c.delta).astype(float), by_bound.astype(float)),
        "δ = 1": AtMost(jnp.where(is_dominated(c.P, 1.0), c.w, 0), jnp.zeros(len(c.P))),
    }


@profiles.claim(
    "ppa/lemma-4.9",
    "Lemma 4.9, equation (7), Appendix L (34), (35), (37)",
    covers=("ppa/equation-7", "ppa/equation-34", "ppa/equation-35", "ppa/equation-37"),
    false="For every δ in [0, 1], Σu ≤ (N_δ-1)(1-w¹) + (1-w¹) + (M-N_δ)(1-δ).",
    neighbour={"second": -1, "only": "M = 4"},
)
def lemma_4_9(c: Case, second: int = -2) -> Any:
    """For every δ in [0, 1], 1 ≤ Σu ≤ 1/α(σ) = (N_δ-1)(1-w¹) + (1-w²) + (M-N_δ)(1-δ), N_δ = 0 and ties included.

    The steps are u_i ≤ 1 - δ if y_i is δ-dominated, u_i ≤ P(i ≻ k) ≤ 1 - w_k for i ≠ k, and u_k ≤ 1 - w², k the
    largest group.
    """
    k = jnp.argmax(c.w)
    others = jnp.arange(len(c.w)) != k
    level = axioms.lemma_4_9_level(c.profile.orders, c.profile.weights, delta=c.delta)
    return {
        "(34)": jnp.where(is_dominated(c.P, c.delta), c.u - (1 - c.delta), -1.0),
        "(35), first": jnp.where(others, c.u - c.P[:, k], -1.0),
        "(35), second": jnp.where(others, c.P[:, k] - (1 - c.w[k]), -1.0),
        "u_k": AtMost(c.u[k], 1 - jnp.sort(c.w)[-2]),
        "(37)": AtMost(jnp.sum(c.u), inverse_level(c.P, c.w, c.delta, second=second)),
        "(37), from below": AtMost(1.0, jnp.sum(c.u)),
        "the library's α": (level * inverse_level(c.P, c.w, c.delta), 1.0),
    }


@profiles.claim(
    "ppa/equation-36",
    "Appendix L, equation (36)",
    fails="slip",
    quote="Σ_{i=1}^M u_i = u_k + Σ_{i≠k,i∉I} u_i + Σ_{i∈I} u_i ≤ (1-w_l^σ) + (N_δ^σ-1)(1-w_k^σ) + (M-N_δ^σ)(1-δ).",
    why="If y_k, the alternative of the largest group, is δ-dominated itself, u_k is counted twice: with ab and ba, "
    "one half each, and δ = 1/2, both are in I, and Σu = 1, the sum in the middle 3/2 and the right side 1. Lemma 4.9 "
    "survives, since then Σu ≤ N_δ(1-w_k) + (M-N_δ)(1-δ), which is at most the right side of (36).",
    corrected="(36) holds if y_k is not δ-dominated; otherwise Σu ≤ N_δ(1-w_k) + (M-N_δ)(1-δ) ≤ (1-w_l) + "
    "(N_δ-1)(1-w_k) + (M-N_δ)(1-δ).",
    correction={"in_cases": True},
    counterexample=lambda: by_hand((["01", "10"], [0.5, 0.5]), delta=0.5),
)
def equation_36(c: Case, in_cases: bool = False) -> Any:
    """Σu = u_k + Σ_{i≠k, i∉I} u_i + Σ_{i∈I} u_i ≤ (1-w_l) + (N_δ-1)(1-w_k) + (M-N_δ)(1-δ), k the largest group."""
    k, inside = jnp.argmax(c.w), is_dominated(c.P, c.delta)
    middle = c.u[k] + jnp.sum(jnp.where(inside, c.u, jnp.where(jnp.arange(len(c.w)) == k, 0, c.u)))
    right = inverse_level(c.P, c.w, c.delta)
    twice = inside[k] & in_cases
    count = jnp.sum(~inside)
    middle = jnp.where(twice, count * (1 - c.w[k]) + (len(c.P) - count) * (1 - c.delta), middle)
    return {
        "=": (jnp.where(twice, middle, jnp.sum(c.u)), middle),
        "≤": AtMost(jnp.stack([jnp.sum(c.u), middle]), jnp.stack([middle, right]))
        if in_cases
        else AtMost(middle, right),
    }


@profiles.claim(
    "ppa/dominated-count",
    "Appendix L, above equation (34)",
    fails="slip",
    quote="Let I ⊆ [M] be the set of indexes for δ-dominated alternatives, where |I| = N_δ^σ.",
    why="N_δ is the number of alternatives that are not δ-dominated: if all voters say abcd, then b, c and d are "
    "1-dominated, so that |I| = 3 and N_1 = 1. (36) goes on with M - N_δ, which is right.",
    corrected="|I| = M - N_δ, I the set of the δ-dominated alternatives and N_δ the number of the others.",
    correction={"complement": True},
    counterexample=lambda: by_hand((["0123"], [1.0])),
)
def dominated_count(c: Case, complement: bool = False) -> Any:
    """|I| = N_δ, I the set of the δ-dominated alternatives and N_δ the number of those that are not δ-dominated."""
    not_dominated = jnp.sum(c.u > 1 - c.delta + CLOSE)
    return jnp.sum(is_dominated(c.P, c.delta)), len(c.u) - not_dominated if complement else not_dominated


@profiles.claim(
    "ppa/theorem-4.10",
    "Theorem 4.10",
    false="Φ*(σ)(y_i) ≥ 1.05 α(σ) w_i for all i, with α of (7).",
    neighbour={"factor": 1.05, "only": "M = 4"},
)
def theorem_4_10(c: Case, factor: float = 1.0) -> Any:
    """Φ* satisfies α-PPA with α of (7), which is in (0, 1], for every δ."""
    inverse = inverse_level(c.P, c.w, c.delta)
    level = jnp.minimum(1 / inverse, 1.0)  # the axiom refuses 1 + 1e-16
    rule = social_choice.proportional
    axiom = axioms.population_proportional_alignment(rule, *c.profile, level=lambda orders, weights: level)
    return {
        "π": AtMost(factor * c.w / inverse, relaxed(c.u)),
        "α": AtMost(1.0, inverse),
        "the library's axiom": axiom[0],
    }


@profiles.claim(
    "ppa/sum-of-one",
    "section 4.2, below Theorem 4.10",
    false="If Σu ≤ 1.05, the alignment is perfect: Φ*(σ) = w.",
    neighbour={"limit": 1.05, "only": "M = 4"},
    tolerance=1e-8,
)
def sum_of_one(c: Case, limit: float = 1.0) -> Any:
    """If Σu = 1, the alignment is perfect: Φ*(σ) = w."""
    return jnp.where(jnp.sum(c.u) <= limit + CLOSE, relaxed(c.u), c.w), c.w


@profiles.claim(
    "ppa/two-undominated",
    "section 4.2, below Theorem 4.10",
    false="If three alternatives are not 1-dominated, then w¹ + w² = 1, α(σ) = 1 for δ = 1, and Φ*(σ) = w.",
    neighbour={"number": 3, "only": "M = 4"},
)
def two_undominated(c: Case, number: int = 2) -> Any:
    """If two alternatives are not 1-dominated, then w¹ + w² = 1, α(σ) = 1 for δ = 1, and Φ*(σ) = w."""
    such = jnp.sum(~is_dominated(c.P, 1.0)) == number
    return {
        "w": (jnp.where(such, jnp.sum(jnp.sort(c.w)[-2:]), 1.0), 1.0),
        "1/α": (jnp.where(such, inverse_level(c.P, c.w, 1.0), 1.0), 1.0),
        "Φ*": (jnp.where(such, relaxed(c.u), c.w), c.w),
    }


@profiles.claim(
    "ppa/dominating-group",
    "section 4.2, below Theorem 4.10",
    false="With δ = 1, 1/α(σ) - 1 ≤ (M-2)(1-w¹).",
    neighbour={"fewer": 2, "only": "M = 4"},
)
def dominating_group(c: Case, fewer: int = 1) -> Any:
    """With δ = 1, 1/α(σ) - 1 ≤ (M-1)(1-w¹), so that α(σ) approaches 1 as (w¹, w²) approaches (1, 0)."""
    return AtMost(inverse_level(c.P, c.w, 1.0) - 1, (len(c.w) - fewer) * (1 - jnp.max(c.w)))
