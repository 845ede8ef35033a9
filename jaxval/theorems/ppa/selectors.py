"""Kim et al., Appendices T and U, phase 1: selectors and û, equations (49), (50) and (55) to (60)."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.optimize import linprog

from jaxval import preferences, social_choice
from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ppa._tasks import (
    CONTEXTS,
    RESPONSES,
    SELF,
    TWO,
    Task,
    elsewhere,
    expected_loss,
    generate,
    objective,
    point_mass,
    selected,
    smallest,
    softmax_policy,
    task,
)

__all__ = ["CLAIMS"]


# (49), (55) to (59)


def same_policy(c: Task, *, itself: bool, tilt_only: bool = False) -> Array:
    """How far the policy of (49) is from that of section 4.3."""
    u = smallest(c.P, itself=itself)
    found = jax.nn.softmax(c.beta * u, axis=1) if tilt_only else softmax_policy(u, c.beta)
    return largest(found - jax.vmap(lambda P: social_choice.proportional(P, beta=c.beta))(c.P))


def point_selector(c: Task, *, uniform: bool = False) -> Array:
    """|Σ P μ* - u| with a point mass on the minimiser, and how far another selector on z ≠ y comes below u."""
    u = smallest(c.P)
    selector = elsewhere(jnp.ones_like(c.P)) if uniform else point_mass(c.P)
    attained = largest(selected(c.P, selector) - u)
    return jnp.maximum(attained, jnp.max(u - selected(c.P, elsewhere(c.selector))))


def least_over(c: Task, *, itself: bool, largest_instead: bool = False) -> Array:
    """|u - min_μ Σ_z P μ|, the minimum of a linear function being at a vertex; no other μ comes below it."""
    vertices = c.P if itself else jnp.where(jnp.asarray(SELF)[None], jnp.nan, c.P)
    found = jnp.nanmax(vertices, axis=2) if largest_instead else jnp.nanmin(vertices, axis=2)
    selector = c.selector if itself else elsewhere(c.selector)
    below = jnp.max(jnp.nanmin(vertices, axis=2) - selected(c.P, selector))
    return jnp.maximum(largest(found - smallest(c.P)), below)


def weighted(c: Task, *, other: bool = False) -> Array:
    """|E_{z ~ π_d} [P(y ≻ z) μ(z|x,y) / π_d(z)] - Σ_z P μ|, for any μ and for the minimiser."""
    under = c.queries[:, :, None] if other else c.queries[:, None, :]
    gaps = [
        largest(jnp.sum(c.queries[:, None, :] * (c.P * selector / under), axis=2) - selected(c.P, selector))
        for selector in (c.selector, point_mass(c.P))
    ]
    return jnp.maximum(*gaps)


def aggregated(c: Task, *, scale: float = 2.0) -> Array:
    """|(58) - 2 Σ_{x,y} ρ π_d Σ_z P μ|; how far the pointwise minimisers are from its minimum; that it is the only one.

    (58) exceeds its minimum by at least 2 ρ(x) π_d(y|x) times what μ(.|x,y) exceeds its own.
    """
    outer = c.prompts[:, None] * c.queries
    doubled = objective(c, c.selector) - scale * jnp.sum(outer * selected(c.P, c.selector))
    excess = objective(c, c.selector) - objective(c, point_mass(c.P, itself=True))
    pointwise = outer * (selected(c.P, c.selector) - smallest(c.P, itself=True))
    return jnp.maximum(jnp.abs(doubled), jnp.max(2 * pointwise) - excess)


def unbiased(c: Task, *, by_winner: bool = False) -> Array:
    """|E (59) - (58)|."""
    return jnp.abs(expected_loss(c, c.selector, by_winner=by_winner) - objective(c, c.selector))


def trained_selector(c: Task, *, itself: bool) -> float:
    """|Σ_z P μ̂ - u| for the minimiser μ̂ of the expectation of (50), by a linear programme over all selectors."""
    cost = np.zeros(np.shape(c.P))
    for x, y, z in itertools.product(range(CONTEXTS), range(RESPONSES), range(RESPONSES)):
        query = c.prompts[x] * c.queries[x, y] * c.queries[x, z]
        cost[x, y, z] += query * c.P[x, y, z] / c.queries[x, z]
        cost[x, z, y] += query * (1 - c.P[x, y, z]) / c.queries[x, y]
    rows = np.kron(np.eye(CONTEXTS * RESPONSES), np.ones(RESPONSES))
    most = np.ones(np.shape(c.P)) if itself else np.tile(1.0 - SELF, (CONTEXTS, 1, 1))
    found = linprog(cost.ravel(), A_eq=rows, b_eq=np.ones(len(rows)), bounds=[(0, bound) for bound in most.ravel()])
    u = np.where(SELF[None], 1, c.P).min(axis=2)
    return float(np.abs((c.P * found.x.reshape(np.shape(c.P))).sum(axis=2) - u).max())


def from_data(c: Task, *, balanced: bool, divided: bool = True, itself: bool = True) -> Array:
    """|û - min_{z≠y} P̂(y ≻ z)|, û = Σ P̂ μ̂, μ̂ the minimiser of (50) on the data over all selectors.

    Of several minimisers the worst is taken. Balanced data have every pair as often as π_d says, P̂ as P.
    """
    apart = ~jnp.asarray(SELF)[None]
    pairs = 1000 * c.queries[:, :, None] * c.queries[:, None, :] * apart
    wins = pairs * c.P if balanced else c.counts
    estimate = jax.vmap(preferences.empirical_matrix)(wins)
    cost = wins / c.queries[:, None, :] if divided else wins
    cost = cost if itself else jnp.where(apart, cost, jnp.inf)
    least = cost <= jnp.min(cost, axis=2, keepdims=True) + 1e-9
    wanted = smallest(estimate)
    furthest = jnp.max(jnp.where(least, jnp.abs(estimate - wanted[:, :, None]), 0))
    return furthest


def normalisable(c: Task, *, of: str) -> Array:
    """1 where û is 0 throughout; or how far Σ_y û(y|x) is below 1."""
    u = smallest(jax.vmap(preferences.empirical_matrix)(c.counts)) if "data" in of else smallest(c.P)
    total = jnp.sum(u, axis=1)
    return jnp.any(total <= 0).astype(float) if of == "data" else jnp.max(1 - total)


def counted(c: Task, *, unseen: float) -> Array:
    """(60) entry by entry against the library, which leaves 1/2 on the diagonal; and P̂ + P̂ᵀ = 1."""
    found = jax.vmap(preferences.empirical_matrix)(c.counts)
    seen = c.counts + jnp.swapaxes(c.counts, 1, 2)
    wanted = jnp.where(seen > 0, c.counts / jnp.where(seen > 0, seen, 1), unseen)
    wanted = jnp.where(jnp.asarray(SELF)[None], 0.5, wanted)
    return jnp.maximum(largest(found - wanted), largest(found + jnp.swapaxes(found, 1, 2) - 1))


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "ppa/equation-49",
        "Appendix T, equation (49)",
        Statement(
            "π ∝ u exp(βu) with u(y|x) = min_{z∈Y} P(y ≻ z|x) is the policy of section 4.3.",
            lambda c: same_policy(c, itself=True),
            "π ∝ exp(βu) is.",
            lambda c: same_policy(c, itself=True, tilt_only=True),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "Y contains y, and P(y ≻ y) = 1/2 in (48) caps u at 1/2 (by (1) it would be 0, and so all u): abc 3/4 and "
            "bac 1/4 have u = (1/2, 1/4, 0) and π(a) = 2/3 for 3/4. Definition 4.3 and Appendix U leave y out."
        ),
        corrected=Statement(
            "With u(y|x) = min_{z≠y} P(y ≻ z|x) it is.",
            lambda c: same_policy(c, itself=False),
            "With the minimum over all z it is.",
            lambda c: same_policy(c, itself=True),
        ),
        counterexample=lambda: TWO,
        covers=("ppa-v1/equation-10",),
    ),
    Claim(
        "ppa/equation-50",
        "Appendix T, equation (50), and Appendix U",
        Statement(
            "With all selectors and endless data, Σ_z P(y ≻ z|x) μ̂(z|x,y) = u(y|x) for the minimiser μ̂ of (50).",
            lambda c: trained_selector(c, itself=True),
            "The same of any selector.",
            lambda c: float(np.abs((c.P * c.selector).sum(axis=2) - np.where(SELF[None], 1, c.P).min(axis=2)).max()),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "μ̂(.|x,y) may choose y itself, which costs P(y ≻ y) = 1/2 where queries are independent draws, and nothing "
            "where a response is never compared with itself: abc 3/4 and bac 1/4 give a 1/2, not u = 3/4."
        ),
        corrected=Statement(
            "So it is with selectors on z ≠ y.",
            lambda c: trained_selector(c, itself=False),
            "With all selectors.",
            lambda c: trained_selector(c, itself=True),
        ),
        counterexample=lambda: TWO,
        covers=("ppa-v1/equation-11",),
        most=150,
        compiled=False,
    ),
    Claim(
        "ppa/selector-from-data",
        "Appendix T, below equation (50)",
        Statement(
            "û(y|x) = Σ_z P̂(y ≻ z|x) μ̂(z|x,y) is min_{z≠y} P̂(y ≻ z|x), μ̂ the minimiser of (50) of all selectors.",
            lambda c: from_data(c, balanced=False),
            "The same without the division by π_d.",
            lambda c: from_data(c, balanced=False, divided=False),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "Who was never compared with y costs (50) nothing, y itself least of all: with ab once and ba three times, "
            "μ̂(.|x,a) is on c or a itself, and û(a) = 1/2, not P̂(a ≻ b) = 1/4. Nor does (50) divide by how often a "
            "pair was seen: it takes the smallest N(y ≻ z)/π_d(z)."
        ),
        corrected=Statement(
            "So it is with selectors on z ≠ y where every pair was compared in proportion to π_d(y) π_d(z).",
            lambda c: from_data(c, balanced=True, itself=False),
            "So it is there without the division by π_d.",
            lambda c: from_data(c, balanced=True, itself=False, divided=False),
        ),
        counterexample=lambda: task(["abc"], [1.0], wins=["ab", "ba", "ba", "ba"]),
    ),
    Claim(
        "ppa/normalised",
        "Appendix T, above equation (51)",
        Statement(
            "û can be normalised to π̂_β: Σ_y û(y|x) > 0 for û(y|x) = min_{z≠y} P̂(y ≻ z|x) with P̂ of (60).",
            lambda c: normalisable(c, of="data"),
            "Σ_y û(y|x) ≥ 1.",
            lambda c: normalisable(c, of="data's sum"),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "P̂ need not come from a profile: with three comparisons, a preferred to b, b to c, c to a, û is 0 "
            "throughout and (49) is 0/0."
        ),
        corrected=Statement(
            "For P of a profile Σ_y u(y|x) ≥ 1.",
            lambda c: normalisable(c, of="profile"),
            "So it is for P̂.",
            lambda c: normalisable(c, of="data's sum"),
        ),
        counterexample=lambda: task(["abc"], [1.0], wins=["ab", "bc", "ca"]),
    ),
    Claim(
        "ppa/equation-55",
        "Appendix U, equation (55)",
        Statement(
            "u(y|x) = min_{z≠y} P(y ≻ z|x) = Σ_z P(y ≻ z|x) μ*(z|x,y), μ* on the minimiser; no μ on z ≠ y has less.",
            point_selector,
            "The uniform selector on z ≠ y has it.",
            lambda c: point_selector(c, uniform=True),
        ),
        generate,
        covers=("ppa-v1/equation-52",),
    ),
    Claim(
        "ppa/equation-56",
        "Appendix U, equation (56)",
        Statement(
            "u(y|x) = min_{μ(.|x,y) ∈ Δ(Y)} Σ_z P(y ≻ z|x) μ(z|x,y), u the minimum over z ≠ y.",
            lambda c: least_over(c, itself=True),
            "It is the maximum.",
            lambda c: least_over(c, itself=True, largest_instead=True),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "Δ(Y) has the point mass on y itself, with P(y ≻ y) = 1/2: for a Condorcet winner the minimum is 1/2, not "
            "u. With abc 3/4 and bac 1/4 it is 1/2 for a, and u = 3/4."
        ),
        corrected=Statement(
            "u(y|x) = min over μ(.|x,y) ∈ Δ(Y∖{y}).",
            lambda c: least_over(c, itself=False),
            "The minimum over Δ(Y).",
            lambda c: least_over(c, itself=True),
        ),
        counterexample=lambda: TWO,
        covers=("ppa-v1/equation-53",),
    ),
    Claim(
        "ppa/equation-57",
        "Appendix U, equation (57)",
        Statement(
            "E_{z~π_d} [P(y ≻ z|x) μ(z|x,y)/π_d(z|x)] = Σ_z P(y ≻ z|x) μ(z|x,y), the objective of (56), for every μ.",
            weighted,
            "With π_d(y|x) below.",
            lambda c: weighted(c, other=True),
        ),
        generate,
        covers=("ppa-v1/equation-54",),
    ),
    Claim(
        "ppa/equation-58",
        "Appendix U, equation (58)",
        Statement(
            "(58) is 2 Σ_{x,y} ρ π_d Σ_z P μ: the second term doubles it; the pointwise minimisers alone minimise it.",
            aggregated,
            "The second term adds 5 % to the first.",
            lambda c: aggregated(c, scale=1.05),
        ),
        generate,
        covers=("ppa-v1/equation-55",),
    ),
    Claim(
        "ppa/equation-59",
        "Appendix U, equation (59)",
        Statement(
            "The mean of μ(y^l|x,y^w)/π_d(y^l|x) over independent queries and their labels is (58), for every μ.",
            unbiased,
            "With π_d(y^w|x) below.",
            lambda c: unbiased(c, by_winner=True),
        ),
        generate,
    ),
    Claim(
        "ppa/equation-60",
        "Appendix U, equation (60)",
        Statement(
            "P̂(y ≻ z) = N(y, z)/(N(y, z) + N(z, y)), 1/2 where neither was seen, is skew; the library's is this.",
            lambda c: counted(c, unseen=0.5),
            "0 where neither was seen.",
            lambda c: counted(c, unseen=0.0),
        ),
        generate,
    ),
)
