"""Kim et al., sections 4.2 and Appendices J to N: what F* guarantees (Definition 4.5 to Theorem 4.11, (5) to (8))."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.optimize import linprog

from jaxval import axioms, social_choice
from jaxval.theorems.checks import Claim, Statement, largest
from jaxval.theorems.ppa.elections import (
    ALTERNATIVES,
    APART,
    Election,
    all_small_elections,
    bounds,
    election,
    generate,
    lifts,
    matrix,
    relaxed,
    shares,
)  # fmt: skip

__all__ = ["CLAIMS"]

CLOSE = 1e-9


def known(e: Election) -> tuple[Array, Array, Array]:
    """P, w and u."""
    P = matrix(e.orders, e.weights)
    return P, shares(e.orders, e.weights), bounds(P)


# Definition 4.5, Lemma 4.7


def proportional_policy(e: Election) -> Array:
    """How far F* is from (5), from a lottery, and Σu from at least 1."""
    P, _, u = known(e)
    policy = social_choice.proportional(P)
    gaps = jnp.stack([largest(policy * jnp.sum(u) - u), jnp.abs(jnp.sum(policy) - 1), 1 - jnp.sum(u), -jnp.min(policy)])
    return jnp.maximum(jnp.max(gaps), largest(social_choice.share_bounds(P) - u))


def alignment(e: Election, factor: float) -> Array:
    """Lemma 4.7: max_i factor · w_i - π_i Σu, with (33) on the way and 1/Σu from the library."""
    P, w, u = known(e)
    policy, total = relaxed(u), jnp.sum(u)
    steps = jnp.where(w > 0, policy / jnp.where(w > 0, w, 1) - u / (jnp.where(w > 0, w, 1) * total), 0)
    gaps = [jnp.max(factor * w - policy * total), largest(steps), jnp.max(w - u), total - ALTERNATIVES]
    return jnp.maximum(jnp.max(jnp.stack(gaps)), jnp.abs(social_choice.certificate(P) - 1 / total))


def box_vertices(u: np.ndarray) -> np.ndarray:
    """The vertices of {w ∈ Δ : w ≤ u}: all but one coordinate 0 or u_i."""
    found = []
    for free in range(len(u)):
        for ends in itertools.product((0, 1), repeat=len(u) - 1):
            w = np.insert(np.array(ends) * np.delete(u, free), free, 0.0)
            w[free] = 1 - w.sum()
            if -1e-12 <= w[free] <= u[free] + 1e-12:
                found.append(np.clip(w, 0, None))
    return np.array(found)


def plain_bounds(e: Election) -> np.ndarray:
    """U by counting."""
    r = np.argsort(e.orders, axis=1)
    P = np.einsum("r,rij->ij", np.asarray(e.weights), (r[:, :, None] < r[:, None, :]).astype(float))
    return np.where(APART, P, 1).min(axis=1)


def smallest_largest_ratio(policy: np.ndarray, u: np.ndarray) -> float:
    """1 / min_{w ≤ u} max_i π_i / w_i, in [0, 1]: the largest s with w ≥ s π, w in the box, by a linear programme."""
    m = len(u)
    above = np.hstack([-np.eye(m), policy[:, None]])
    equal = np.hstack([np.ones(m), 0.0])[None]
    found = linprog(
        np.append(np.zeros(m), -1), A_ub=above, b_ub=np.zeros(m), A_eq=equal, b_eq=[1.0],
        bounds=[(0, bound) for bound in u] + [(0, None)],
    )  # fmt: skip
    return -found.fun


def infinity_norm(e: Election, policy: Any) -> float:
    """By how much a vertex beats this policy in min_w ‖π/w‖_∞, as a part of its value: 1 - value / best."""
    u = plain_bounds(e)
    best = min(smallest_largest_ratio(vertex, u) for vertex in np.eye(len(u)))
    found = smallest_largest_ratio(policy(u), u)
    return (found - best) / max(found, 1e-12)


def smallest_ratio(e: Election, beta: float) -> float:
    """The same in min_w min_i π_i/w_i, against a linear programme over all policies; and how far its optimum is."""
    u = plain_bounds(e)
    policy = u * np.exp(beta * u) / np.sum(u * np.exp(beta * u))
    vertices = box_vertices(u)
    served = vertices > 0
    value = (np.broadcast_to(policy, vertices.shape)[served] / vertices[served]).min()
    m = len(u)
    above = np.vstack([np.hstack([-np.eye(m), w[:, None]]) for w in vertices])

    def solve(cost: np.ndarray, least: float) -> Any:
        return linprog(
            cost, A_ub=above, b_ub=np.zeros(len(above)), A_eq=np.append(np.ones(m), 0.0)[None], b_eq=[1.0],
            bounds=[(0, 1)] * m + [(least, None)],
        )  # fmt: skip

    best = -solve(np.append(np.zeros(m), -1), 0.0).fun
    furthest = solve(np.append(e.lottery, 0.0), best - 1e-10).x[:m]  # another optimum would lie in some direction
    return max(best - value, abs(best - 1 / u.sum()), np.abs(furthest - policy).max())


# Theorem 4.6


def never_lower(e: Election, *, others_neither: bool = False) -> Array:
    """The most that a lift costs the lifted alternative (or gains another), and Pareto's gap, against the axioms'."""
    P, _, u = known(e)
    policy = relaxed(u)
    losses = []
    for share in (1.0, 0.375):
        after, y = lifts(e, share)
        lotteries = jax.vmap(lambda P: relaxed(bounds(P)))(after)
        change = policy[None] - lotteries
        lifted = jnp.arange(ALTERNATIVES)[None, :] == y[:, None]
        losses.append(jnp.max(jnp.where(lifted, change, -change if others_neither else -jnp.inf)))
    unanimous = jnp.asarray(APART) & (P >= 1 - CLOSE)
    pareto = jnp.max(jnp.where(unanimous, policy[None, :] - policy[:, None], -jnp.inf))
    worst = jnp.maximum(jnp.max(jnp.stack(losses)), pareto)
    by_axiom = axioms.monotonicity(social_choice.proportional, e.orders, e.weights)[0]
    agrees = jnp.maximum(by_axiom, axioms.pareto(social_choice.proportional, e.orders, e.weights)[0])
    return jnp.maximum(worst, agrees)


def proof_of_monotonicity(e: Election, *, strictly: bool = False) -> Array:
    """Appendix K: u_y cannot fall, u_j cannot rise (falls, if strictly); who is unanimously below has u = 0, π = 0."""
    P, _, u = known(e)
    after, y = lifts(e, 1.0)
    change = jax.vmap(bounds)(after) - u[None]
    lifted = jnp.arange(ALTERNATIVES)[None, :] == y[:, None]
    rises = jnp.max(jnp.where(lifted, -change, change))
    if strictly:
        moved = jnp.max(jnp.abs(after - P[None]), axis=(1, 2)) > CLOSE
        rises = jnp.max((lifted & moved[:, None] & (u < 1)[None, :] & (change <= CLOSE)).astype(float))
    below = jnp.any(jnp.asarray(APART) & (P >= 1 - CLOSE), axis=0)
    return jnp.maximum(rises, jnp.max(jnp.where(below, u + relaxed(u), 0)))


# Definition 4.8, Lemma 4.9, Theorem 4.10


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
    return jnp.max(jnp.stack([total - inverse, 1 - total, library, *steps]))


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
    return jnp.max(jnp.stack([plain, jnp.where(alpha > 0, alpha - 1, 1.0), by_axiom]))


def two_undominated(e: Election, number: int) -> Array:
    """|α - 1|, |w¹ + w² - 1| and ‖Φ*(σ) - w‖ where N_1 is the number."""
    P, w, u = known(e)
    count = ALTERNATIVES - jnp.sum(is_dominated(P, jnp.ones(())))
    two = jnp.sum(jnp.sort(w)[-2:])
    gaps = [jnp.abs(inverse_level(P, w, 1.0) - 1), jnp.abs(two - 1), largest(relaxed(u) - w)]
    return jnp.where(count == number, jnp.max(jnp.stack(gaps)), 0)


def towards_one(e: Election, *, delta: Array | float | None = None, slope: float = ALTERNATIVES - 1) -> Array:
    """1/α - 1 less slope · (1 - w¹), which goes to 0 as w¹ → 1 (and w² → 0)."""
    P, w, _ = known(e)
    return inverse_level(P, w, e.delta if delta is None else delta) - 1 - slope * (1 - jnp.max(w))


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "ppa/definition-4.5",
        "Definition 4.5, equation (5)",
        Statement(
            "F*(P) = u / Σu is a policy for every P of a profile, where Σu ≥ 1; the library's is this.",
            proportional_policy,
            "So is u itself.",
            lambda e: jnp.abs(jnp.sum(known(e)[2]) - 1),
        ),
        generate,
        covers=("ppa/equation-5", "ppa-v1/definition-4.5", "ppa-v1/equation-5"),
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/definition-4.5-optimal",
        "section 4.2, below equation (5)",
        Statement(
            "F* solves max_π min_{w ∈ W̄(P)} ‖π/w‖_∞.",
            lambda e: infinity_norm(e, lambda u: u / u.sum()),
            "The uniform policy solves it.",
            lambda e: infinity_norm(e, lambda u: np.ones(len(u)) / len(u)),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "‖π/w‖_∞ is the largest ratio, at least 1 for all w, and F* lies in the box, so that w = π gives it 1, the "
            "least of all policies: with ab 3/4 and ba 1/4 the box is w = (3/4, 1/4), F* has 1, and π = (0, 1) has 4. "
            "What F* maximises is the smallest ratio."
        ),
        corrected=Statement(
            "F* solves max_π min_{w ∈ W̄(P)} min_i π_i/w_i, alone; its value is 1/Σu.",
            lambda e: smallest_ratio(e, 0.0),
            "F^β with β = 0.05 solves it.",
            lambda e: smallest_ratio(e, 0.05),
        ),
        counterexample=lambda: election(["ab", "ba"], [0.75, 0.25]),
        tolerance=1e-7,
        most=60,
        compiled=False,
    ),
    Claim(
        "ppa/theorem-4.6",
        "Theorem 4.6",
        Statement(
            "Φ* satisfies monotonicity (all lifts of all ballots, and of parts of them) and Pareto efficiency.",
            never_lower,
            "A lift of one alternative never raises another's probability either.",
            lambda e: never_lower(e, others_neither=True),
        ),
        generate,
        covers=("ppa-v1/theorem-4.6",),
    ),
    Claim(
        "ppa/section-K",
        "Appendix K",
        Statement(
            "A lift of y_i cannot lower u_i nor raise u_j; whom all rank below some other has u_j = 0 = Φ*(σ)(y_j).",
            proof_of_monotonicity,
            "A lift that changes P raises u_i unless it is 1.",
            lambda e: proof_of_monotonicity(e, strictly=True),
        ),
        generate,
    ),
    Claim(
        "ppa/lemma-4.7",
        "Lemma 4.7, equation (6), Appendix L (33)",
        Statement(
            "π(y_i)/w_i = u_i/(w_i Σu) ≥ 1/Σu ≥ 1/M, since w_i ≤ u_i.",
            lambda e: alignment(e, 1.0),
            "π(y_i)/w_i ≥ 1.05/Σu.",
            lambda e: alignment(e, 1.05),
        ),
        generate,
        covers=(
            "ppa/equation-6",
            "ppa/equation-33",
            "ppa-v1/lemma-4.7",
            "ppa-v1/equation-6",
            "ppa-v1/equation-36",
        ),
        exhaustive=all_small_elections,
    ),
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
