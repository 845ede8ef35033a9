"""Kim et al., sections 4.2 and Appendices J to N: what F* guarantees (Definition 4.5 to Lemma 4.7, (5) and (6))."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.optimize import linprog

from jaxval import axioms, social_choice
from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ppa._elections import (
    ALTERNATIVES,
    APART,
    CLOSE,
    RANKINGS,
    Election,
    all_small_elections,
    bounds,
    election,
    generate,
    highest,
    known,
    lifts,
    relaxed,
)

__all__ = ["CLAIMS"]


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
    return jnp.maximum(highest(jnp.stack(gaps)), jnp.abs(social_choice.certificate(P) - 1 / total))


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


def against_feasible(e: Election, beta: float) -> float:
    """What F^β lacks of the best smallest ratio against all shares of profiles with this P: 1/Σ m - min_i π_i/m_i.

    m_i is the largest share of y_i among them, by a linear programme over all rankings.
    """
    u = plain_bounds(e)
    r, policy = np.argsort(RANKINGS, axis=1), u * np.exp(beta * u) / np.sum(u * np.exp(beta * u))
    above = (r[:, :, None] < r[:, None, :]).reshape(len(r), -1).T.astype(float)
    places = np.argsort(e.orders, axis=1)
    P = np.einsum("r,rij->ij", np.asarray(e.weights), (places[:, :, None] < places[:, None, :]).astype(float)).ravel()
    first = (RANKINGS[:, :1] == np.arange(ALTERNATIVES)).astype(float)
    most = np.array([-linprog(-one, A_eq=above, b_eq=P).fun for one in first.T])
    return float(1 / most.sum() - (policy[most > 1e-9] / most[most > 1e-9]).min())


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
    worst = jnp.maximum(highest(jnp.stack(losses)), pareto)
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
        "ppa/definition-4.5-misalignment",
        "section 4.2, below equation (5)",
        Statement(
            "F* minimises the worst misalignment by what P does not tell: no policy has a larger min_i π_i/w_i against "
            "the shares of all profiles with this P, not only against the box.",
            lambda e: against_feasible(e, 0.0),
            "F^β with β = 0.05 does.",
            lambda e: against_feasible(e, 0.05),
        ),
        generate,
        tolerance=1e-7,
        most=80,
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
)
