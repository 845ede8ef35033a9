"""Kim et al., Appendices T and U, phase 1: selectors and û, equations (49), (50) and (55) to (60)."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxval import preferences, social_choice
from jaxval.theorems.ppa._tasks import Task, by_hand, diagonal, normalised, objective, selected, softmax_policy, tasks
from jaxval.theorems.records import AtMost

TWO_BALLOTS = ["abc", "bac"], [0.75, 0.25]


def smallest(P: Array, *, itself: bool = False) -> Array:
    """u(y|x) = min_z P(y ≻ z | x), over z ≠ y, or over all of Y as (49) is printed."""
    return jnp.min(P if itself else diagonal(P, 1.0), axis=2)


def minimisers(cost: Array, *, itself: bool) -> Array:
    """Which z have the smallest cost[x, y, z] for y, of all of Y or of z ≠ y."""
    cost = cost if itself else diagonal(cost, jnp.inf)
    return cost <= jnp.min(cost, axis=2, keepdims=True) + 1e-9


def elsewhere(selector: Array) -> Array:
    """The selector on z ≠ y."""
    return normalised(diagonal(selector, 0.0))


def expected_loss(c: Task, selector: Array, *, by_winner: bool = False) -> Array:
    """The expectation of (59): a query (y, z) is labelled y ≻ z with probability P; loss μ(y^l|x,y^w)/π_d(y^l|x)."""
    under = c.queries[:, :, None] if by_winner else c.queries[:, None, :]
    loss = selector / under  # indexed by the winner, then the loser
    labelled = c.P * loss + (1 - c.P) * jnp.swapaxes(loss, 1, 2)
    return jnp.einsum("x,xy,xz,xyz->", c.prompts, c.queries, c.queries, labelled)


@tasks.claim(
    "ppa/equation-49",
    "Appendix T, equation (49)",
    fails="convention",
    quote="We approximate a softmax policy proposed in Section 4.3: [...] where u(y|x) := min_{z∈𝒴} P(y≻z|x).",
    why="𝒴 contains y, and P(y ≻ y) = 1/2, as in (48), caps u at 1/2: with abc 3/4 and bac 1/4, (49) has u = (1/2, "
    "1/4, 0) and π(a) = 2/3, and section 4.3 gives 3/4. Definition 4.3 and Appendix U leave y out of the minimum.",
    corrected="π ∝ u exp(βu) with u(y|x) = min_{z≠y} P(y ≻ z|x) is the policy of section 4.3.",
    correction={"itself": False},
    counterexample=lambda: by_hand(*TWO_BALLOTS),
)
def equation_49(c: Task, itself: bool = True) -> Any:
    """π ∝ u exp(βu) with u(y|x) = min_{z∈𝒴} P(y ≻ z|x) is the softmax policy of section 4.3."""
    of_section_4_3 = jax.vmap(lambda P: social_choice.proportional(P, beta=c.beta))(c.P)
    return softmax_policy(smallest(c.P, itself=itself), c.beta), of_section_4_3


@tasks.claim(
    "ppa/equation-50",
    "Appendix T, equation (50), and Appendix U",
    fails="root error",
    quote="Then, the estimated û can be obtained from û(y|x) = Σ_{z∈𝒴} P̂(y≻z|x) μ̂(z|x,y).",
    why="A selector on all of 𝒴 may select y itself. If a query is two independent draws, y costs (50) as much as a z "
    "with P(y ≻ z) = 1/2; if no response is compared with itself, y costs nothing, and every μ̂(.|x,y) selects it. "
    "With abc 3/4 and bac 1/4, û(a) is 1/2 and u(a) is 3/4.",
    corrected="With endless data, û = Σ_z P μ̂ is u = min_{z≠y} P(y ≻ z|x) for every minimiser μ̂ of (50) on z ≠ y.",
    correction={"itself": False},
    counterexample=lambda: by_hand(*TWO_BALLOTS),
)
def equation_50(c: Task, itself: bool = True) -> Any:
    """With endless data, û = u for every minimiser μ̂ of (50) over all selectors, μ̂(.|x,y) ∈ Δ(𝒴).

    Here û(y|x) = Σ_z P(y ≻ z|x) μ̂(z|x,y) and u(y|x) = min_{z≠y} P(y ≻ z|x).
    """
    # The expectation of (50) is linear in μ: a minimiser is on the z of the smallest coefficients.
    chosen = minimisers(jax.grad(lambda selector: expected_loss(c, selector))(c.selector), itself=itself)
    u = smallest(c.P)[:, :, None]
    return jnp.where(chosen, c.P, u), jnp.broadcast_to(u, c.P.shape)


@tasks.claim(
    "ppa/selector-from-data",
    "Appendix T, below equation (50)",
    false="However often each pair is compared, (50) on the data, over z ≠ y, gives û(y|x) = min_{z≠y} P̂(y ≻ z|x).",
    neighbour={"balanced": False},
)
def selector_from_data(c: Task, balanced: bool = True) -> Any:
    """If pairs are compared in proportion to π_d(y|x) π_d(z|x), (50) on the data gives û(y|x) = min_{z≠y} P̂(y ≻ z|x).

    Here û(y|x) = Σ_z P̂(y ≻ z|x) μ̂(z|x,y) with any minimiser μ̂ over the selectors on z ≠ y, and P̂ is that of (60).
    """
    pairs = 1000 * c.queries[:, :, None] * c.queries[:, None, :]
    wins = diagonal(pairs * c.P, 0.0) if balanced else c.counts
    estimate = jax.vmap(preferences.empirical_matrix)(wins)
    chosen = minimisers(wins / c.queries[:, None, :], itself=False)
    u = smallest(estimate)[:, :, None]
    return jnp.where(chosen, estimate, u), jnp.broadcast_to(u, c.P.shape)


@tasks.claim(
    "ppa/normalised",
    "Appendix T, above equation (51)",
    fails="convention",
    quote="Let π̂_β be the normalized softmax policy constructed with û following (49).",
    why="P̂ need not come from a profile: after ab, bc and ca, first preferred, û is 0 throughout, and (49) is 0/0.",
    corrected="With u(y|x) = min_{z≠y} P(y ≻ z|x) and P of a profile, u exp(βu) divided by its sum over y is a policy.",
    correction={"of_data": False},
    counterexample=lambda: by_hand(["abc"], [1.0], wins=["ab", "bc", "ca"]),
)
def normalised_policy(c: Task, of_data: bool = True) -> Any:
    """With û(y|x) = min_{z≠y} P̂(y ≻ z|x) and P̂ of (60), û exp(βû) divided by its sum over y is a policy."""
    u = smallest(jax.vmap(preferences.empirical_matrix)(c.counts) if of_data else c.P)
    return jnp.sum(softmax_policy(u, c.beta), axis=1), jnp.ones(len(u))


@tasks.claim(
    "ppa/equation-55",
    "Appendix U, equation (55)",
    false="The uniform selector μ on z ≠ y has Σ_z P(y ≻ z|x) μ(z|x,y) = min_{z≠y} P(y ≻ z|x).",
    neighbour={"uniform": True},
)
def equation_55(c: Task, uniform: bool = False) -> Any:
    """u(y|x) = min_{z≠y} P(y ≻ z|x) = Σ_z P(y ≻ z|x) μ*(z|x,y) if μ*(.|x,y) is on a minimiser of P(y ≻ .|x), z ≠ y."""
    chosen = jnp.ones_like(c.P) if uniform else minimisers(c.P, itself=False).astype(float)
    return smallest(c.P), selected(c.P, elsewhere(chosen))


@tasks.claim(
    "ppa/equation-56",
    "Appendix U, equation (56)",
    fails="convention",
    quote="[...] via the following linear programming (LP): u(y|x) = min_{μ(·|x,y)∈Δ(𝒴)} Σ_{z∈𝒴} P(y≻z|x) μ(z|x,y).",
    why="Δ(𝒴) has the point mass on y itself, and P(y ≻ y) = 1/2, as in (48): for a Condorcet winner the minimum is "
    "1/2, not u. With abc 3/4 and bac 1/4 it is 1/2 for a, and u(a) is 3/4. With P(y ≻ y) = 1 (56) would be right.",
    corrected="u(y|x) = min_{z≠y} P(y ≻ z|x) is the minimum of Σ_z P(y ≻ z|x) μ(z|x,y) over μ(.|x,y) ∈ Δ(𝒴∖{y}).",
    correction={"itself": False},
    counterexample=lambda: by_hand(*TWO_BALLOTS),
)
def equation_56(c: Task, itself: bool = True) -> Any:
    """u(y|x) = min_{z≠y} P(y ≻ z|x) is the minimum of Σ_z P(y ≻ z|x) μ(z|x,y) over μ(.|x,y) ∈ Δ(𝒴)."""
    vertices = c.P if itself else diagonal(c.P, jnp.inf)
    selector = c.selector if itself else elsewhere(c.selector)
    return {
        "at a vertex": (smallest(c.P), jnp.min(vertices, axis=2)),
        "elsewhere": AtMost(smallest(c.P), selected(c.P, selector)),
    }


@tasks.claim(
    "ppa/equation-57",
    "Appendix U, equation (57)",
    false="E_{z~π_d} [P(y ≻ z|x) μ(z|x,y)/π_d(y|x)] = Σ_z P(y ≻ z|x) μ(z|x,y) for every μ.",
    neighbour={"other": True},
)
def equation_57(c: Task, other: bool = False) -> Any:
    """E_{z~π_d} [P(y ≻ z|x) μ(z|x,y)/π_d(z|x)] = Σ_z P(y ≻ z|x) μ(z|x,y), the objective of (56), for every μ."""
    under = c.queries[:, :, None] if other else c.queries[:, None, :]
    weighted = c.P * c.selector / under
    return jnp.sum(c.queries[:, None, :] * weighted, axis=2), selected(c.P, c.selector)


@tasks.claim(
    "ppa/equation-58",
    "Appendix U, equation (58)",
    false="The objective of (58) is 1.95 Σ_{x,y} ρ(x) π_d(y|x) Σ_z P(y ≻ z|x) μ(z|x,y) for every μ.",
    neighbour={"scale": 1.95},
)
def equation_58(c: Task, scale: float = 2.0) -> Any:
    """The objective of (58) is 2 Σ_{x,y} ρ(x) π_d(y|x) Σ_z P(y ≻ z|x) μ(z|x,y) for every μ.

    The symmetrical term doubles it, and what minimises it is what minimises the objective of (56) for every x and y.
    """
    outer = scale * c.prompts[:, None] * c.queries
    least = normalised(minimisers(c.P, itself=True).astype(float))
    excess = outer * (selected(c.P, c.selector) - smallest(c.P, itself=True))
    return {
        "doubled": (objective(c, c.selector), jnp.sum(outer * selected(c.P, c.selector))),
        "minimisers": (objective(c, c.selector) - objective(c, least), jnp.sum(excess)),
    }


@tasks.claim(
    "ppa/equation-59",
    "Appendix U, equation (59)",
    false="The mean of μ(y^l|x,y^w)/π_d(y^w|x) over independent queries and their labels is (58), for every μ.",
    neighbour={"by_winner": True},
)
def equation_59(c: Task, by_winner: bool = False) -> Any:
    """The mean of μ(y^l|x,y^w)/π_d(y^l|x) over independent queries and their labels is (58), for every μ."""
    return expected_loss(c, c.selector, by_winner=by_winner), objective(c, c.selector)


@tasks.claim(
    "ppa/equation-60",
    "Appendix U, equation (60)",
    false="P̂(y ≻ z) = N(y, z)/(N(y, z) + N(z, y)), and 0 if neither was seen, is the library's and is skew-symmetric.",
    neighbour={"unseen": 0.0},
)
def equation_60(c: Task, unseen: float = 0.5) -> Any:
    """P̂(y ≻ z) = N(y, z)/(N(y, z) + N(z, y)), and 1/2 if neither was seen, is the library's and is skew-symmetric."""
    seen = c.counts + jnp.swapaxes(c.counts, 1, 2)
    estimate = diagonal(jnp.where(seen > 0, c.counts / jnp.where(seen > 0, seen, 1), unseen), 0.5)
    return {
        "library": (jax.vmap(preferences.empirical_matrix)(c.counts), estimate),
        "skew": (estimate + jnp.swapaxes(estimate, 1, 2), jnp.ones_like(estimate)),
    }
