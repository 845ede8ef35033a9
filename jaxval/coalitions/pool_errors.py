"""Utilities of a pool and linear functions of them, with standard errors over prompts and within prompts.

A value is linear in the utilities, φ_i = Σ_S c_i(S) u(S). By the delta method the draw y_j moves u_S(x) by
W_S(y_j) (r(x, y_j) - u_S(x)), with W the weights w divided by their sum. It moves φ_i by the same linear function of
these influences, ψ_ij = Σ_S c_i(S) W_S(y_j) (r(x, y_j) - u_S(x)), and the variance of φ_i at a prompt of m draws is
m / (m - 1) Σ_j ψ_ij². Coalitions go through in blocks: no array has both all coalitions and all draws.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval.coalitions.pools import HIGHEST, WeighedPool, log_weights, split_prompts
from jaxval.types import BadArgument

__all__ = ["PoolEstimates", "pool_estimates"]

BATCH = 256  # coalitions whose weights are computed at a time
MOST_SIZES = 2**26  # effective sizes kept for medians; of more, those of evenly spaced prompts are kept


class PoolEstimates(NamedTuple):
    """Utilities and linear functions of them, which are called values here.

    Errors within prompts hold for these prompts and other draws; errors over prompts for other prompts and draws.

    Attributes:
        utilities: (coalitions, objectives) u(S).
        utility_errors: (2, coalitions, objectives) standard errors over prompts, NaN for one prompt, and within them.
        utility_bias: (coalitions, objectives) the estimated bias of order 1/m.
        values: (prompts, values, objectives) φ at each prompt; φ is the mean over prompts.
        within_errors: (values, objectives) standard errors of φ within prompts.
        bias: (values, objectives) the estimated bias of φ of order 1/m.
        bias_errors: (values, objectives) the standard errors of the estimated bias over prompts; NaN for one prompt.
        median_sizes: (coalitions,) the median over prompts of the effective sample size.
    """

    utilities: np.ndarray
    utility_errors: np.ndarray
    utility_bias: np.ndarray
    values: np.ndarray
    within_errors: np.ndarray
    bias: np.ndarray
    bias_errors: np.ndarray
    median_sizes: np.ndarray


def pool_estimates(
    pool: WeighedPool, masks: np.ndarray, contributions: np.ndarray, *, labels: np.ndarray | None = None
) -> PoolEstimates:
    """Utilities of coalitions and linear functions of them, with errors by the delta method.

    The bias of a ratio of means is b/m + O(m^-2), so that two halves of the draws have twice the bias on average. The
    mean utility of the halves less that of the whole is therefore an estimate of b/m.

    Args:
        pool: the pool, from `weigh_pool`.
        masks: (coalitions, sources) the coalitions.
        contributions: (values, coalitions) c, whose rows sum to zero.
        labels: (prompts, samples) what each draw came from, so that both halves have the same shares; None if unknown.

    Returns:
        `PoolEstimates`.

    Raises:
        ValueError: if a coalition leaves no draw of a prompt possible.

    Example:
        >>> from jaxval.coalitions.pools import weigh_pool
        >>> pool = weigh_pool(np.log([[[0.5, 0.5]], [[0.75, 0.25]]]), np.array([[1.0, 0.0]]), np.log([[0.5, 0.5]]))
        >>> found = pool_estimates(pool, np.array([[False], [True]]), np.array([[-1.0, 1.0]]))
        >>> [part.round(4).tolist() for part in (found.utilities, found.values)]
        [[[0.5], [0.75]], [[[0.25]]]]
    """
    rows, prompts = len(masks), len(pool.base)
    blocks = jax.tree.map(np.asarray, split_prompts(_in_halves(_level(pool), labels)))  # NumPy compiles no indexing
    together = blocks.base.shape[1]
    batched_masks, batched_weights = _batches(masks, contributions, blocks.base.dtype)
    kept = np.arange(0, prompts, max(1, -(-prompts * rows // MOST_SIZES)))
    parts: list[_BlockSums] = []
    for number in range(len(blocks.base)):
        block = jax.tree.map(lambda part, number=number: part[number], blocks)
        real = number * together + np.arange(together) < prompts
        result = jax.tree.map(np.asarray, _of_block(block, real, batched_masks, batched_weights))
        sizes = result.sizes[:rows, np.isin(number * together + np.arange(together), kept)]
        parts.append(result._replace(sizes=sizes, **{name: getattr(result, name)[real] for name in BY_PROMPT}))
    sums = np.sum([part.sums[:, :rows].astype(np.float64) for part in parts], axis=0)
    if np.isnan(sums).any():
        members = np.flatnonzero(masks[int(np.isnan(sums).any(axis=(0, 2)).argmax())]).tolist()
        expected = "members that leave a draw of every prompt possible"
        raise BadArgument("coalition", expected=expected, got=members)
    by_prompt = [np.concatenate([getattr(part, name) for part in parts]).astype(np.float64) for name in BY_PROMPT]
    values, biases, squares = by_prompt
    moved, square, within, bias = sums / prompts
    return PoolEstimates(
        utilities=moved + np.asarray(pool.centre, dtype=np.float64).mean(axis=0),
        utility_errors=np.stack([_over_prompts(np.maximum(square - moved**2, 0), prompts), np.sqrt(within / prompts)]),
        utility_bias=bias,
        values=values,
        within_errors=np.sqrt(squares.sum(axis=0)) / prompts,
        bias=biases.mean(axis=0),
        bias_errors=_over_prompts(biases.var(axis=0), prompts),
        median_sizes=np.median(np.concatenate([part.sizes for part in parts], axis=1), axis=1),
    )


class _BlockSums(NamedTuple):
    """What one block of prompts gives.

    Attributes:
        sums: (4, coalitions, objectives) sums over prompts of the utility, its square, its variance within prompts and
            its bias.
        sizes: (coalitions, prompts) effective sample sizes.
        values: (prompts, values, objectives).
        biases: (prompts, values, objectives) of the values.
        squares: (prompts, values, objectives) the variances of the values within prompts.
    """

    sums: Any
    sizes: Any
    values: Any
    biases: Any
    squares: Any


BY_PROMPT = ("values", "biases", "squares")


@jax.jit
def _of_block(block: WeighedPool, real: Array, masks: Array, weights: Array) -> _BlockSums:
    """One block of prompts, whose draws are in two halves, for all coalitions (batches, batch, sources)."""
    prompts, samples, objectives = block.rewards.shape
    counts = jnp.sum(block.base > -jnp.inf, axis=1)
    unbiased = (counts / jnp.maximum(counts - 1, 1)).astype(block.base.dtype)
    rewards = jnp.moveaxis(block.rewards, 2, 0)  # (objectives, prompts, samples)
    level = block.centre.T[:, None]  # (objectives, 1, prompts)
    counted = jnp.where(real, 1, 0).astype(block.base.dtype)

    def of_batch(carry: Any, batch: Any) -> Any:
        moves, values, biases = carry
        members, contributions = batch
        log_w = log_weights(members, block).reshape(len(members), prompts, 2, samples // 2)
        # Each half has a peak of its own, so that the smaller half does not vanish beside the larger one.
        peak = jnp.max(log_w, axis=3)
        exponents = log_w - jnp.where(peak > -jnp.inf, peak, 0)[..., None]
        parts = jnp.exp(exponents)
        half_sums = jnp.sum(parts, axis=3)
        scale = jnp.exp(peak - jnp.max(peak, axis=2, keepdims=True))  # NaN if no draw is possible
        total = jnp.sum(scale * half_sums, axis=2)
        shares = (parts * (scale / total[..., None])[..., None]).reshape(len(members), prompts, samples)
        sizes = 1 / jnp.sum(shares**2, axis=2)
        sums: list[Array] = []
        new: tuple[list[Array], ...] = ([], [], [])
        for k in range(objectives):
            half_rewards = jnp.sum(parts * rewards[k].reshape(1, prompts, 2, -1), axis=3)
            utility = jnp.sum(scale * half_rewards, axis=2) / total
            halves = jnp.where(half_sums > 0, half_rewards / jnp.where(half_sums > 0, half_sums, 1), utility[..., None])
            bias = jnp.mean(halves, axis=2) - utility
            influences = shares * (rewards[k][None] - utility[..., None])
            variance = jnp.sum(influences**2, axis=2) * unbiased[None]
            levelled = utility + level[k]
            several = jnp.stack([levelled, levelled**2, variance, bias])
            sums.append(several @ counted)
            flat = influences.reshape(len(members), -1)
            new[0].append(jnp.matmul(contributions, flat, precision=HIGHEST))
            new[1].append(jnp.matmul(contributions, utility, precision=HIGHEST))
            new[2].append(jnp.matmul(contributions, bias, precision=HIGHEST))
        carry = tuple(old + jnp.stack(more) for old, more in zip((moves, values, biases), new, strict=True))
        return carry, (jnp.stack(sums, axis=2), sizes)

    shape = objectives, weights.shape[1]
    start = tuple(jnp.zeros((*shape, size), block.base.dtype) for size in (prompts * samples, prompts, prompts))
    (moves, values, biases), (sums, sizes) = jax.lax.scan(of_batch, start, (masks, weights))
    squares = jnp.sum(moves.reshape(*shape, prompts, samples) ** 2, axis=3) * unbiased[None, None]
    by_prompt = (jnp.moveaxis(part, (0, 1, 2), (2, 1, 0)) for part in (values, biases, squares))
    sums = jnp.moveaxis(sums, 1, 0).reshape(4, -1, objectives)
    return _BlockSums(sums, sizes.reshape(-1, prompts), *by_prompt)


def _level(pool: WeighedPool) -> WeighedPool:
    """The pool with centres of mean zero over prompts, so that squares of utilities are about as large as variances."""
    return pool._replace(centre=pool.centre - pool.centre.mean(axis=0))


def _batches(masks: np.ndarray, contributions: np.ndarray, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Masks (batches, batch, sources) and contributions (batches, values, batch).

    The last batch is filled up with empty coalitions that contribute nothing.
    """
    rows = len(masks)
    batch = min(BATCH, rows)
    batches = -(-rows // batch)
    padding = batches * batch - rows
    padded = np.pad(masks, [(0, padding), (0, 0)]).reshape(batches, batch, -1)
    weights = np.pad(contributions, [(0, 0), (0, padding)]).reshape(len(contributions), batches, batch)
    return padded.astype(dtype), np.moveaxis(weights, 1, 0).astype(dtype)


def _in_halves(pool: WeighedPool, labels: np.ndarray | None) -> WeighedPool:
    """The pool with the draws of each prompt in two random halves, one after the other.

    With labels, draws of the same origin are divided as evenly as possible, because a half of another mixture would not
    have the proposal's log-probabilities.
    """
    prompts, samples = pool.base.shape
    keys = np.random.default_rng(0).random((prompts, samples), dtype=np.float32)
    origin = np.zeros((prompts, samples)) if labels is None else labels
    # Slots without a draw come last. What has the same origin stands together, in random order.
    order = np.argsort(np.where(pool.base > -np.inf, origin, np.inf) + keys, axis=1)
    order = np.concatenate([order[:, ::2], order[:, 1::2]], axis=1)

    def arranged(part: np.ndarray, fill: float, axes: int) -> np.ndarray:
        places = order.reshape((1,) * (part.ndim - axes - 2) + order.shape + (1,) * axes)
        moved = np.take_along_axis(part, places, axis=part.ndim - axes - 1)
        if samples % 2 == 0:
            return moved
        return np.insert(moved, samples, fill, axis=part.ndim - axes - 1)

    return WeighedPool(
        arranged(pool.base, -np.inf, 0), arranged(pool.steps, 0.0, 0), arranged(pool.rewards, 0.0, 1), pool.centre
    )


def _over_prompts(variance: np.ndarray, prompts: int) -> np.ndarray:
    """The standard error of a mean over prompts from the variance without Bessel's correction; NaN for one prompt."""
    return np.sqrt(variance / (prompts - 1)) if prompts > 1 else np.full_like(variance, np.nan)
