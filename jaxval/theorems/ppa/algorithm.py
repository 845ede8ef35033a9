"""Kim et al., Appendix T, phase 2: the loss of the policy, equations (51) to (54)."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import rel_entr
from jaxtyping import Array

from jaxval import preferences
from jaxval.theorems.ppa._tasks import Task, by_hand, divergence, objective, selected, softmax_policy, tasks
from jaxval.theorems.records import AtMost


def target(c: Task) -> tuple[Array, Array]:
    """û = Σ_z P μ̂ and π̂_β ∝ û exp(βû)."""
    u = selected(c.P, c.selector)
    return u, softmax_policy(u, c.beta)


def offline_scores(of_winner: Array, of_loser: Array, *, exchanged: bool) -> tuple[Array, Array, Array]:
    """The scores of y^w and y^l in (53), and that in the exponent of y^l; `exchanged` as they are printed.

    The arguments are μ̂(y^l|x,y^w) and μ̂(y^w|x,y^l).
    """
    plus, minus = (of_loser, of_winner) if exchanged else (of_winner, of_loser)
    return (1 + plus) / 2, (1 - minus) / 2, (1 - of_loser) / 2


@tasks.claim(
    "ppa/equation-51",
    "Appendix T, equation (51)",
    false="With KL for L^π, (51) is at least E_x ‖π - π̂_β‖₁².",
    neighbour={"factor": 1.0},
)
def equation_51(c: Task, factor: float = 0.5) -> Any:
    """With KL for L^π, (51) is at least E_x ‖π - π̂_β‖₁²/2 (Pinsker), so that π̂_β alone minimises it."""
    _, wanted = target(c)
    apart = jnp.sum(c.prompts * jnp.sum(jnp.abs(c.policy - wanted), axis=1) ** 2)
    return AtMost(factor * apart, divergence(c, c.policy, wanted))


@tasks.claim(
    "ppa/equation-52",
    "Appendix T, equation (52)",
    false="E_x KL(π ‖ û) = E_{(x,y)~(ρ,π_d)} π log(π/û).",
    neighbour={"divided": False},
)
def equation_52(c: Task, divided: bool = True) -> Any:
    """E_x KL(π ‖ û) = E_{(x,y)~(ρ,π_d)} (π/π_d) log(π/û)."""
    u, _ = target(c)
    ratio = c.policy / c.queries if divided else c.policy
    return divergence(c, c.policy, u), jnp.einsum("x,xy,xy->", c.prompts, c.queries, ratio * jnp.log(c.policy / u))


@tasks.claim(
    "ppa/equation-52-substituted",
    "Appendix T, above equation (52)",
    fails="slip",
    quote="Substituting the KL divergence [...], the loss function becomes 𝔼_{x∼ρ}[D_KL(π(·|x) ‖ Σ_z P̂ μ̂(z|x,·))].",
    why="By (49) π̂_β is proportional to û exp(βû): (52) leaves the exponential out, and (53) has it again. At β = 1 "
    "and û = (9, 7, 2)/12 the minimiser of (51) has 0.56 for the first response, and that of (52) has 0.5.",
    corrected="With KL for L^π, (51) is E_x KL(π ‖ û exp(βû)) up to a constant, E_x log Σ_y û exp(βû).",
    correction={"tilt": 1.0},
    counterexample=lambda: by_hand(["abc", "bac"], [0.75, 0.25], beta=1.0),
)
def equation_52_substituted(c: Task, tilt: float = 0.0) -> Any:
    """With KL for L^π, (51) is E_x KL(π ‖ û) up to a constant."""
    u, wanted = target(c)
    score = u * jnp.exp(tilt * c.beta * u)
    return (
        divergence(c, c.policy, wanted) - divergence(c, c.reference, wanted),
        divergence(c, c.policy, score) - divergence(c, c.reference, score),
    )


@tasks.claim(
    "ppa/equation-53",
    "Appendix T, equation (53)",
    fails="root error",
    quote="Using the offline dataset and function approximation, we obtain π̂ ∈ argmin_{π∈ℱ_π} "
    "𝔼_{(x,y^w,y^l)∼D}[π(y^w|x)/π_d(y^w|x) log π(y^w|x)/((1/2 + 1/2 μ̂(y^w|x,y^l)) exp(β/2 + β/2 μ̂(y^w|x,y^l))) + "
    "π(y^l|x)/π_d(y^l|x) log π(y^l|x)/((1/2 - 1/2 μ̂(y^l|x,y^w)) exp(β/2 - β/2 μ̂(y^w|x,y^l)))].",
    why="By (60) one comparison has P̂(y^w ≻ z) = 1 at z = y^l and 1/2 elsewhere, so that û(y^w) = 1/2 + "
    "μ̂(y^l|x,y^w)/2 and û(y^l) = 1/2 - μ̂(y^w|x,y^l)/2. (53) has the other of the two selectors in all places but its "
    "last exponent: with a preferred to b, μ̂(b|a) = 1/2 and μ̂(a|b) = 0, û is 3/4 for a and 1/2 for b, and (53) has "
    "1/2 and 1/4.",
    corrected="After the one comparison y^w ≻ y^l, û = Σ_z P̂ μ̂ is 1/2 + μ̂(y^l|x,y^w)/2 for y^w and 1/2 - "
    "μ̂(y^w|x,y^l)/2 for y^l; these belong in front and in the exponents of (53).",
    correction={"exchanged": False},
    counterexample=lambda: by_hand(
        ["abc", "bac"], [0.75, 0.25], selector=[[0.25, 0.5, 0.25], [0.0, 0.5, 0.5], [0.5, 0.25, 0.25]]
    ),
)
def equation_53(c: Task, exchanged: bool = True) -> Any:
    """The scores in (53) are û = Σ_z P̂ μ̂ of y^w and of y^l, with P̂ of (60) from the one comparison y^w ≻ y^l.

    The scores are 1/2 + μ̂(y^w|x,y^l)/2 of y^w and 1/2 - μ̂(y^l|x,y^w)/2, in the exponent 1/2 - μ̂(y^w|x,y^l)/2, of y^l.
    """
    w, l = c.pair  # noqa: E741
    once = jnp.zeros(c.P.shape[1:]).at[w, l].set(1.0)
    u = selected(preferences.empirical_matrix(once)[None], c.selector)
    winner, loser, exponent = offline_scores(c.selector[:, w, l], c.selector[:, l, w], exchanged=exchanged)
    return {"y^w": (winner, u[:, w]), "y^l": (loser, u[:, l]), "exponent of y^l": (exponent, u[:, l])}


@tasks.claim(
    "ppa/equation-53-minimiser",
    "Appendix T, equation (53)",
    fails="root error",
    quote="Using the offline dataset and function approximation, we obtain π̂ ∈ argmin_{π∈ℱ_π} (53).",
    why="(53) puts the estimate of û from one comparison into the logarithm of (51), and the mean of that logarithm is "
    "not the logarithm of its mean. With abc 3/4, bac 1/4, μ̂ = π_d = 1/3 throughout and β = 0, (51) is minimised by "
    "π̂ ∝ û = (9, 7, 2)/12, and (53) by π ∝ 2^û, even with its selectors in the right places. With a point mass, the "
    "selector that (50) is for, (53) has logarithms of 0 and is infinite.",
    corrected="With endless data and û exp(βû) of y^w and of y^l in place of the estimates from one comparison, π̂_β ∝ "
    "û exp(βû) minimises (53) over all policies.",
    correction={"one_comparison": False},
    false="With endless data, and μ̂(y^l|x,y^w) and μ̂(y^w|x,y^l) in their right places in (53), π̂_β ∝ û exp(βû) "
    "minimises it over all policies.",
    neighbour={"exchanged": False},
    counterexample=lambda: by_hand(["abc", "bac"], [0.75, 0.25]),
)
def equation_53_minimiser(c: Task, exchanged: bool = True, one_comparison: bool = True) -> Any:
    """With endless data, (53) is minimised over all policies by π̂_β ∝ û exp(βû) with û = Σ_z P μ̂, as (51) is."""
    u, wanted = target(c)
    # won[x, y, z] is the score of y if it was preferred to z, lost[x, y, z] if z was.
    if one_comparison:
        of_y, of_z = c.selector, jnp.swapaxes(c.selector, 1, 2)
        won, _, _ = offline_scores(of_y, of_z, exchanged=exchanged)
        _, lost, exponent = offline_scores(of_z, of_y, exchanged=exchanged)
    else:
        won = lost = exponent = jnp.broadcast_to(u[:, :, None], c.P.shape)
    log_won, log_lost = jnp.log(won) + c.beta * won, jnp.log(lost) + c.beta * exponent

    # A query (y, z) comes in both orders, and y^w or y^l is y: both halves of (53) have each response twice.
    logs = jnp.sum(c.queries[:, None, :] * (c.P * log_won + (1 - c.P) * log_lost), axis=2)

    def loss(policy: Array) -> Array:
        return 2 * jnp.einsum("x,xy->", c.prompts, policy * (jnp.log(policy) - logs))

    others = {"(53)'s minimiser": jax.nn.softmax(logs, axis=1), "another policy": c.policy}
    return {name: AtMost(loss(wanted), loss(policy)) for name, policy in others.items()}


@tasks.claim(
    "ppa/equation-54",
    "Appendix T, equation (54)",
    false="If the coefficient of a term of (54) is doubled, the divergence of the minimiser from the reference falls "
    "to half or less.",
    neighbour={"drift": 0.5},
)
def equation_54(c: Task, drift: float = 1.0) -> Any:
    """The minimisers of (51) and (58) with the terms of (54) come no further from the reference as β_π and β_μ rise.

    The minimisers are π ∝ (π̂_β π_ref^{β_π})^{1/(1+β_π)} and μ(z|x,y) ∝ π_ref(z|x,y) exp(-2P(y ≻ z|x)/β_μ).
    """
    _, wanted = target(c)
    coefficients = c.coefficient * jnp.array([1.0, 0.5, 2.0])

    def policy(coefficient: Array) -> Array:
        return jax.nn.softmax((jnp.log(wanted) + coefficient * jnp.log(c.reference)) / (1 + coefficient), axis=1)

    def selector(coefficient: Array) -> Array:
        return jax.nn.softmax(jnp.log(c.reference_selector) - 2 * c.P / coefficient, axis=2)

    def of_policy(found: Array) -> tuple[Array, Array]:
        apart = divergence(c, found, c.reference)
        return divergence(c, found, wanted) + c.coefficient * apart, apart

    def of_selector(found: Array) -> tuple[Array, Array]:
        apart = jnp.einsum("x,xy,xyz->", c.prompts, c.queries, rel_entr(found, c.reference_selector))
        return objective(c, found) + c.coefficient * apart, apart

    found = {}
    for name, minimiser, of, other in (
        ("policy", policy, of_policy, c.policy),
        ("selector", selector, of_selector, c.selector),
    ):
        rivals = jnp.concatenate([jax.vmap(minimiser)(coefficients), other[None]])
        losses, apart = jax.vmap(of)(rivals)
        found[name] = {"minimiser": AtMost(losses[0], losses), "drift": AtMost(apart[2], drift * apart[0])}
    return found
