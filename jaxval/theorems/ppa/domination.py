"""Kim et al., Definition 4.8 to Theorem 4.10, Appendix L: δ-domination, the level of alignment; (7), (34) to (37)."""

import jax.numpy as jnp
from jaxtyping import Array

from jaxval import axioms, social_choice
from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ppa._elections import (
    ALTERNATIVES,
    APART,
    CLOSE,
    Election,
    all_small_elections,
    election,
    generate,
    highest,
    known,
    relaxed,
)

__all__ = ["CLAIMS"]


def is_dominated(P: Array, delta: Array) -> Array:
    """Definition 4.8: some y' ≠ y has P(y' ≻ y) ≥ δ."""
    return jnp.any(jnp.asarray(APART) & (delta - CLOSE <= P), axis=0)


def dominated_by_bound(e: Election, *, strictly: bool = False) -> Array:
    P, w, u = known(e)
    by_bound = u < 1 - e.delta - CLOSE if strictly else u <= 1 - e.delta + CLOSE
    differs = jnp.any(is_dominated(P, e.delta) != by_bound).astype(float)
    return jnp.maximum(differs, jnp.max(jnp.where(is_dominated(P, jnp.ones(())), w, 0)))


def inverse_level(P: Array, w: Array, delta: Array | float, *, second: int = -2) -> Array:
    """1/α(σ) of equation (7)."""
    count = ALTERNATIVES - jnp.sum(is_dominated(P, jnp.asarray(delta)))
    ordered = jnp.sort(w)
    return (count - 1) * (1 - ordered[-1]) + (1 - ordered[second]) + (ALTERNATIVES - count) * (1 - delta)


def bound_of_bound(e: Election, *, second: int = -2) -> Array:
    """Lemma 4.9: Σu ∈ [1, 1/α], and its steps (34), (35); the library's α."""
    P, w, u = known(e)
    inverse, total = inverse_level(P, w, e.delta, second=second), jnp.sum(u)
    k = jnp.argmax(w)
    beside = jnp.where(jnp.arange(ALTERNATIVES) == k, -jnp.inf, u)
    steps = [
        jnp.max(jnp.where(is_dominated(P, e.delta), u - (1 - e.delta), -jnp.inf)),
        jnp.max(beside) - (1 - w[k]),
        jnp.max(jnp.where(jnp.arange(ALTERNATIVES) == k, -jnp.inf, beside - P[:, k])),
        u[k] - (1 - jnp.sort(w)[-2]),
    ]
    library = jnp.abs(axioms.lemma_4_9_level(e.orders, e.weights, delta=e.delta) * inverse_level(P, w, e.delta) - 1)
    return highest(jnp.stack([total - inverse, 1 - total, library, *steps]))


def steps_of_36(e: Election, *, exchanged: bool = False) -> tuple[Array, Array, Array, Array]:
    """Σu, the middle of (36), its right side, and whether the largest group's alternative is δ-dominated."""
    P, w, u = known(e)
    k = jnp.argmax(w)
    inside = is_dominated(P, e.delta)
    middle = (
        u[k] + jnp.sum(jnp.where(inside | (jnp.arange(ALTERNATIVES) == k), 0, u)) + jnp.sum(jnp.where(inside, u, 0))
    )
    right = inverse_level(P, w, e.delta)
    if exchanged:
        count = jnp.sum(inside)
        right = (1 - jnp.sort(w)[-2]) + (count - 1) * (1 - w[k]) + (ALTERNATIVES - count) * (1 - e.delta)
    return jnp.sum(u), middle, right, inside[k]


def sum_of_36(e: Election, *, exchanged: bool = False) -> Array:
    total, middle, right, _ = steps_of_36(e, exchanged=exchanged)
    return jnp.maximum(jnp.abs(total - middle), middle - right)


def sum_of_36_in_cases(e: Election, *, always: bool = False) -> Array:
    """(36) where y_k is not δ-dominated; else Σu ≤ N(1 - w¹) + (M - N)(1 - δ), which is at most its right side."""
    total, middle, right, inside = steps_of_36(e)
    P, w, _ = known(e)
    count = ALTERNATIVES - jnp.sum(is_dominated(P, e.delta))
    otherwise = count * (1 - jnp.max(w)) + (ALTERNATIVES - count) * (1 - e.delta)
    other_case = jnp.maximum(total - otherwise, otherwise - right)
    first_case = jnp.maximum(jnp.abs(total - middle), middle - right)
    return jnp.maximum(other_case, first_case) if always else jnp.where(inside, other_case, first_case)


def index_set(e: Election, *, of: str) -> Array:
    """How far |I| is from what is said of it, I the δ-dominated."""
    P, _, u = known(e)
    inside = jnp.sum(is_dominated(P, e.delta))
    free = jnp.sum(u > 1 - e.delta + CLOSE)
    wanted = {"N": free, "M - N": ALTERNATIVES - free, "M - 1": jnp.asarray(ALTERNATIVES - 1)}[of]
    return jnp.abs(inside - wanted).astype(float)


def aligned(e: Election, factor: float) -> Array:
    """Theorem 4.10: α(σ) w_i ≤ π_i, with α in (0, 1]; and the axiom's own gap."""
    P, w, u = known(e)
    alpha = 1 / inverse_level(P, w, e.delta)
    plain = jnp.max(factor * alpha * w - relaxed(u))
    level = jnp.clip(alpha, 0, 1)
    by_axiom = axioms.population_proportional_alignment(
        social_choice.proportional, e.orders, e.weights, level=lambda orders, weights: level
    )[0]
    return highest(jnp.stack([plain, jnp.where(alpha > 0, alpha - 1, 1.0), by_axiom]))


def two_undominated(e: Election, number: int) -> Array:
    """|α - 1|, |w¹ + w² - 1| and ‖Φ*(σ) - w‖ where N_1 is the number."""
    P, w, u = known(e)
    count = ALTERNATIVES - jnp.sum(is_dominated(P, jnp.ones(())))
    two = jnp.sum(jnp.sort(w)[-2:])
    gaps = [jnp.abs(inverse_level(P, w, 1.0) - 1), jnp.abs(two - 1), largest(relaxed(u) - w)]
    return jnp.where(count == number, highest(jnp.stack(gaps)), 0)


def sum_of_one(e: Election, *, limit: float) -> Array:
    """‖Φ*(σ) - w‖ where Σu is at most the limit."""
    _, w, u = known(e)
    return jnp.where(jnp.sum(u) <= limit + CLOSE, largest(relaxed(u) - w), 0)


def towards_one(e: Election, *, delta: Array | float | None = None, slope: float = ALTERNATIVES - 1) -> Array:
    """1/α - 1 less slope · (1 - w¹), which goes to 0 as w¹ → 1 (and w² → 0)."""
    P, w, _ = known(e)
    return inverse_level(P, w, e.delta if delta is None else delta) - 1 - slope * (1 - jnp.max(w))


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "ppa/definition-4.8",
        "Definition 4.8",
        Statement(
            "y is δ-dominated, P(y' ≻ y) ≥ δ for some y', iff u_y ≤ 1 - δ; where δ = 1 it is nobody's first choice.",
            dominated_by_bound,
            "Iff u_y < 1 - δ.",
            lambda e: dominated_by_bound(e, strictly=True),
        ),
        generate,
        covers=("ppa-v1/definition-4.8",),
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/lemma-4.9",
        "Lemma 4.9, equation (7), Appendix L (34), (35), (37)",
        Statement(
            "For δ in [0, 1], 1/Σu ∈ [α(σ), 1], 1/α = (N_δ-1)(1-w¹) + (1-w²) + (M-N_δ)(1-δ); N_δ = 0 and ties too.",
            bound_of_bound,
            "The same with w¹ in place of w².",
            lambda e: bound_of_bound(e, second=-1),
        ),
        generate,
        covers=(
            "ppa/equation-7",
            "ppa/equation-34",
            "ppa/equation-35",
            "ppa/equation-37",
            "ppa-v1/lemma-4.9",
            "ppa-v1/equation-7",
            "ppa-v1/equation-37",
            "ppa-v1/equation-38",
            "ppa-v1/equation-40",
        ),
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/equation-36",
        "Appendix L, equation (36)",
        Statement(
            "Σu = u_k + Σ_{i≠k, i∉I} u_i + Σ_{i∈I} u_i ≤ (1-w_l) + (N_δ-1)(1-w_k) + (M-N_δ)(1-δ), k the largest group.",
            sum_of_36,
            "The same with N_δ and M - N_δ exchanged on the right.",
            lambda e: sum_of_36(e, exchanged=True),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "Where y_k is δ-dominated itself, u_k is counted twice: with ab and ba, one half each, and δ = 1/2, both "
            "are in I, Σu = 1 and the sum says 3/2. The lemma survives: then Σu ≤ N(1-w¹) + (M-N)(1-δ), which is less."
        ),
        corrected=Statement(
            "(36) where y_k is not δ-dominated; where it is, Σu ≤ N_δ(1-w_k) + (M-N_δ)(1-δ) ≤ the right side of (36).",
            sum_of_36_in_cases,
            "Both bounds in both cases.",
            lambda e: sum_of_36_in_cases(e, always=True),
        ),
        counterexample=lambda: election(["ab", "ba"], [0.5, 0.5], delta=0.5),
        covers=("ppa-v1/equation-39",),
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/dominated-count",
        "Appendix L, above equation (34)",
        Statement(
            "Let I be the set of the δ-dominated alternatives, where |I| = N_δ (the number that are not δ-dominated).",
            lambda e: index_set(e, of="N"),
            "|I| = M - 1.",
            lambda e: index_set(e, of="M - 1"),
        ),
        generate,
        verdict="holds as corrected",
        why="A slip: where all say abcd, b, c and d are 1-dominated, |I| = 3, N_1 = 1. (36) goes on with M - N_δ.",
        corrected=Statement(
            "|I| = M - N_δ.",
            lambda e: index_set(e, of="M - N"),
            "|I| = N_δ.",
            lambda e: index_set(e, of="N"),
        ),
        counterexample=lambda: election(["abcd"], [1.0], delta=1.0),
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/theorem-4.10",
        "Theorem 4.10",
        Statement(
            "Φ* satisfies α-PPA with α of (7), in (0, 1], for every δ.",
            lambda e: aligned(e, 1.0),
            "With 1.05 α.",
            lambda e: aligned(e, 1.05),
        ),
        generate,
        covers=("ppa-v1/theorem-4.10",),
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/sum-of-one",
        "section 4.2, below Theorem 4.10",
        Statement(
            "The alignment is perfect where Σu = 1: Φ*(σ) = w.",
            lambda e: sum_of_one(e, limit=1.0),
            "Where Σu ≤ 1.05.",
            lambda e: sum_of_one(e, limit=1.05),
        ),
        generate,
        tolerance=1e-8,
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/two-undominated",
        "section 4.2, below Theorem 4.10",
        Statement(
            "Two alternatives that are not 1-dominated: w¹ + w² = 1, α(σ) = 1 and Φ*(σ) = w.",
            lambda e: two_undominated(e, 2),
            "Three.",
            lambda e: two_undominated(e, 3),
        ),
        generate,
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/dominating-group",
        "section 4.2, below Theorem 4.10",
        Statement(
            "When (w¹, w²) approaches (1, 0), α(σ) approaches 1: 1/α - 1 ≤ (M-1)(1-w¹), for every δ as in Lemma 4.9.",
            towards_one,
            "1/α ≤ 1 for every δ.",
            lambda e: towards_one(e, slope=0.0),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "Below δ = 1 the dominated alternatives count 1 - δ each, however small their u is: where all say abc, "
            "w = (1, 0, 0) and δ = 1/2, (7) gives α = 1/2, though Φ* = w. The limit holds for δ = 1."
        ),
        corrected=Statement(
            "So it is with δ = 1: 1/α - 1 ≤ (M-1)(1-w¹).",
            lambda e: towards_one(e, delta=1.0),
            "1/α - 1 ≤ 0.95 (M-2)(1-w¹).",
            lambda e: towards_one(e, delta=1.0, slope=0.95 * (ALTERNATIVES - 2)),
        ),
        counterexample=lambda: election(["abcd"], [1.0], delta=0.5),
        exhaustive=all_small_elections,
    ),
)
