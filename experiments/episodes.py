"""Episodes of section 5.1: comparisons drawn from a population, policies made from them, and three measures of each.

A policy π made from P̂ is measured against the truth, P and w:

- the win rate against a uniform draw, Σ_ij π_i P(i ≻ j) / M;
- the level of population-proportional alignment, α = min_{k: w_k > 0} π_k / w_k;
- the gain by manipulation, the mean over all M groups of `experiments.misreports.gains`.

Source: Kim et al., section 5.1.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.misreports import FAMILIES, gains, group_matrices
from jaxval.preferences import (
    condorcet_winner,
    count_wins,
    empirical_matrix,
    first_choice_shares,
    preference_matrix,
    sample_comparisons,
)
from jaxval.social_choice import (
    maximal_borda,
    maximal_lottery,
    minimax,
    proportional,
    share_bounds,
    win_rate_over_uniform,
)

__all__ = [
    "BASELINES",
    "Measures",
    "Population",
    "draw",
    "episode",
    "maximal_lotteries",
    "measure",
    "policies",
    "population",
    "ppa_level",
    "summary",
]

BASELINES = ("minimax", "RLHF", "NLHF")


class Population(NamedTuple):
    """The quantities of a profile that an episode's policies are measured against.

    Attributes:
        matrix: (alternatives, alternatives) P.
        shares: (alternatives,) w.
        groups: (alternatives, alternatives, alternatives) P_k.
    """

    matrix: Float[Array, "M M"]
    shares: Float[Array, "M"]
    groups: Float[Array, "M M M"]


class Measures(NamedTuple):
    """The measures of one episode; the policies are F^β for every β, then `BASELINES`.

    Attributes:
        win_rate: (policies,) the win rates against a uniform draw.
        ppa_level: (policies,) the levels α of population-proportional alignment.
        gain: (families, policies) the gains by manipulation, means over groups.
        bounds: (alternatives,) the share bounds u of P̂.
        agree: whether RLHF and minimax choose the same alternative.
    """

    win_rate: Float[Array, "policies"]
    ppa_level: Float[Array, "policies"]
    gain: Float[Array, "families policies"]
    bounds: Float[Array, "M"]
    agree: Float[Array, ""]


def population(orders: Int[Array, "rankings alternatives"]) -> Population:
    """P, w and the preference functions P_k of the groups, from rankings of equal weight."""
    orders = jnp.asarray(orders)
    return Population(preference_matrix(orders), first_choice_shares(orders), group_matrices(orders))


@partial(jax.jit, static_argnames="comparisons")
def draw(key: Key[Array, ""], matrix: Float[Array, "M M"], *, comparisons: int) -> Float[Array, "M M"]:
    """P̂, counted from comparisons that are drawn from P."""
    drawn = sample_comparisons(key, matrix, num=comparisons)
    return empirical_matrix(count_wins(drawn, alternatives=len(matrix)))


def policies(
    matrices: Float[Array, "matrices M M"], betas: Float[Array, "betas"]
) -> Float[Array, "matrices policies M"]:
    """The lotteries of all policies on each matrix: F^β for every β, then `BASELINES`."""
    family = jax.vmap(jax.vmap(lambda matrix, beta: proportional(matrix, beta=beta), (None, 0)), (0, None))(
        matrices, betas
    )
    baselines = [jax.vmap(minimax)(matrices), jax.vmap(maximal_borda)(matrices), maximal_lotteries(matrices)]
    return jnp.concatenate([family, jnp.stack(baselines, axis=1)], axis=1)


def ppa_level(lottery: Float[Array, "M"], shares: Float[Array, "M"]) -> Float[Array, ""]:
    """α = min π_k / w_k over the groups with members, w_k > 0."""
    return jnp.min(jnp.where(shares > 0, lottery / jnp.where(shares > 0, shares, 1), jnp.inf))


@jax.jit
def measure(estimate: Float[Array, "M M"], truth: Population, betas: Float[Array, "betas"]) -> Measures:
    """All measures of all policies made from P̂; NaN for a maximal lottery that did not converge."""
    lotteries, gained = gains(partial(policies, betas=betas), estimate, truth.shares, truth.groups)
    return Measures(
        win_rate=jax.vmap(partial(win_rate_over_uniform, truth.matrix))(lotteries),
        ppa_level=jax.vmap(partial(ppa_level, shares=truth.shares))(lotteries),
        gain=jnp.mean(gained, axis=1),
        bounds=share_bounds(estimate),
        agree=jnp.all(lotteries[-3] == lotteries[-2]),
    )


def episode(key: Key[Array, ""], truth: Population, betas: Float[Array, "betas"], *, comparisons: int) -> Measures:
    """One episode: draw comparisons from P, count them into P̂, and make and measure all policies."""
    return measure(draw(key, truth.matrix, comparisons=comparisons), truth, betas)


def maximal_lotteries(matrices: Float[Array, "matrices M M"], *, block: int = 128) -> Float[Array, "matrices M"]:
    """The maximal lottery of each matrix; only matrices without a Condorcet winner are solved, block by block."""
    winners = jax.vmap(condorcet_winner)(matrices)
    order = jnp.argsort(winners >= 0, stable=True)  # those without a winner first
    order = jnp.pad(order, (0, -len(order) % block), mode="edge")
    blocks = (jnp.sum(winners < 0) + block - 1) // block

    def solve(i: Array, lotteries: Array) -> Array:
        rows = jax.lax.dynamic_slice(order, (i * block,), (block,))
        solved = jax.vmap(maximal_lottery)(matrices[rows])
        return lotteries.at[rows].set(jnp.where(winners[rows, None] < 0, solved, lotteries[rows]))

    return jax.lax.fori_loop(0, blocks, solve, jax.nn.one_hot(winners, matrices.shape[1], dtype=matrices.dtype))


def summary(measures: list[Measures]) -> dict:
    """Means and standard deviations over episodes, for a JSON file; n - 1 is the denominator, None for one episode."""
    win_rates, levels, gained, bounds, agree = (np.stack(part) for part in zip(*measures, strict=True))

    def policy(index: int | slice) -> dict:
        by_family = {name: _summary(gained[:, i, index]) for i, name in enumerate(FAMILIES)}
        return {"win_rate": _summary(win_rates[:, index]), "ppa_level": _summary(levels[:, index]), "gain": by_family}

    total = bounds.sum(axis=1)
    return {
        "proportional": policy(slice(0, -len(BASELINES))),
        **{name: policy(i - len(BASELINES)) for i, name in enumerate(BASELINES)},
        "mean_bound": _summary(bounds.mean(axis=1)),
        "sum_of_bounds": _summary(total),
        "certificate": _summary(1 / np.maximum(total, 1)),
        "winners_agree": float(agree.mean()),
    }


def _summary(values: np.ndarray) -> dict:
    if not np.isfinite(values).all():
        raise FloatingPointError("a measure is not finite; the maximal lottery did not converge")
    deviation = values.std(axis=0, ddof=1).tolist() if len(values) > 1 else np.full(values.shape[1:], None).tolist()
    return {"mean": values.mean(axis=0).tolist(), "std": deviation}
