"""Whether a pool of samples can be trusted: effective sample sizes, and checks that tell a wrong pool from a right one.

Two kinds of identities hold for a pool whose log-probabilities are those of its draws, and for hardly any other.

- For every policy k, the mean of π_k/q over the draws is 1. Another truncation, template or temperature shows there.
- If the draws say which policy they came from, that label has the probability p_k(y) = a_k π_k(y) / q(y) given the
  draw. Hence Σ_j (1[label_j = k] - p_k(y_j)) h_k(y_j) is 0 in expectation for any function h_k. With the log-odds of
  p_k for h_k, this is the score of a logistic regression of the labels on their log-odds, whose slope is 1. Exchanged
  columns have a slope below 0, and draws at a low temperature one above 1, although no mean of π_k/q may show either.
"""

from __future__ import annotations

from functools import partial
from statistics import NormalDist
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxval.coalitions.masks import all_coalitions, check_coalitions
from jaxval.coalitions.pools import (
    Labels,
    PoolLogProbs,
    PoolProposal,
    WeighedPool,
    check_labels,
    check_log_probs,
    check_proposal,
    label_shares,
    log_weights,
    mixture,
    split_prompts,
    weigh_pool,
)
from jaxval.parallel.chunks import map_chunks
from jaxval.types import BadArgument, Coalitions

__all__ = ["PoolDiagnostics", "pool_diagnostics"]

LEVEL = 0.01  # the chance that a right pool is refused, over all its policies together
SMALLEST_MEAN, SMALLEST_SLOPE = 0.02, 0.1  # differences below these are never refused: half precision makes them
CLIP = 6.0  # the largest log-odds that count, so that no draw decides alone
MOST_LISTED = 12  # sources whose coalitions are all listed by default


class PoolDiagnostics(NamedTuple):
    """What a pool says about itself.

    Attributes:
        effective_sizes: (coalitions, prompts) (Σ_j w_j)² / Σ_j w_j², from 1 to the number of draws.
        mean_ratios: (policies,) the mean over prompts of the mean of π_k/q over the draws, of further proposals
            too; 1 for a right pool.
        mean_errors: (policies,) their standard errors.
        slopes: (policies + 1,) the slope of the labels' log-odds for each policy, and last for all of them together; 1
            for a right pool. None if no labels are given, and NaN if a policy cannot be told from the mixture.
        slope_errors: (policies + 1,) their standard errors.
        faults: one sentence for each number that differs from 1 by more than chance explains.
    """

    effective_sizes: Float[Array, "coalitions prompts"]
    mean_ratios: np.ndarray
    mean_errors: np.ndarray
    slopes: np.ndarray | None
    slope_errors: np.ndarray | None
    faults: tuple[str, ...]


def pool_diagnostics(
    log_probs: PoolLogProbs,
    coalitions: Coalitions | None = None,
    *,
    proposal: PoolProposal = None,
    drawn_from: Labels | None = None,
    further: PoolLogProbs | None = None,
    refuse: bool = True,
) -> PoolDiagnostics:
    """The effective sample sizes of coalitions, and whether the log-probabilities can be those of the draws.

    For every policy k the mean of π_k/q over the draws is 1 in expectation. It differs if log-probabilities and draws
    differ in truncation, template or temperature. With `drawn_from`, the labels must agree with their probabilities
    a_k π_k / q, which tells exchanged columns. A right pool is refused with a probability of at most about 1 %. A wrong
    pool is found only if the policies differ: no ratio tells a temperature that all policies share from another if all
    policies are the same.

    Args:
        log_probs: (sources + 1, prompts, samples) as in `pool_utility`.
        coalitions: (coalitions, sources) masks of the coalitions whose effective sizes are computed. None means all of
            them for up to 12 sources; beyond, the empty one, every source alone, and all sources together.
        proposal: (prompts, samples) as in `pool_utility`. None means the mixture of `drawn_from` in its shares if it is
            given, and otherwise that of all policies in equal shares.
        drawn_from: (prompts, samples) the index of what each draw came from, as in `pool_proposal`; None if unknown.
        further: (proposals, prompts, samples) log-probabilities of further proposals, which `drawn_from` counts after
            the sources.
        refuse: whether a wrong pool raises an error; otherwise `faults` tells.

    Returns:
        `PoolDiagnostics`.

    Raises:
        ValueError: if an argument is wrong as in `pool_utility` and `pool_proposal`, or the pool is wrong.

    Example:
        >>> log_probs = np.log([[[0.5, 0.5]], [[0.75, 0.25]]])
        >>> found = pool_diagnostics(log_probs, proposal=np.log([[0.5, 0.5]]))
        >>> [round(float(size), 4) for size in found.effective_sizes[:, 0]], found.mean_ratios.tolist()
        ([2.0, 1.6], [1.0, 1.0])

    Source: Veach and Guibas (1995) for the mixture; Kong (1992) for the effective size.
    """
    scores = check_log_probs(log_probs)
    every = scores if further is None else np.concatenate([scores, _check_further(further, scores)])
    labels = None if drawn_from is None else check_labels(drawn_from, every)
    shares = np.full((len(scores), scores.shape[1]), 1 / len(scores)) if proposal is None else None
    if labels is not None:
        shares = label_shares(labels, len(every))
    if proposal is not None:
        log_q = check_proposal(proposal, scores)
    else:
        log_q = mixture(every, shares, None if labels is None else labels >= 0)
    pool = weigh_pool(scores, np.zeros(scores.shape[1:]), log_q)
    sources = len(scores) - 1
    sizes = effective_sizes(pool, check_coalitions(_default(sources) if coalitions is None else coalitions))
    means, errors = ratio_means(every, log_q, shares)
    slopes, slope_errors = (
        (None, None) if labels is None or shares is None else label_slopes(every, log_q, shares, labels)
    )
    names = ["the reference", *(f"source {i}" for i in range(sources))]
    names += [f"further proposal {i}" for i in range(len(every) - len(scores))]
    faults = pool_faults(names, means, errors, slopes, slope_errors)
    if faults and refuse:
        raise wrong_pool("log_probs", faults)
    return PoolDiagnostics(sizes, means, errors, slopes, slope_errors, faults)


def effective_sizes(pool: WeighedPool, masks: Array, *, batch_size: int = 256) -> Array:
    """(coalitions, prompts) effective sample sizes."""
    if masks.ndim != 2 or masks.shape[1] != len(pool.steps):
        expected = f"(coalitions, {len(pool.steps)}) masks"
        raise BadArgument("coalitions", expected=expected, got=f"shape {masks.shape}")
    return _effective_sizes(split_prompts(pool), masks, min(batch_size, len(masks)))[:, : len(pool.base)]


@partial(jax.jit, static_argnames="batch_size")
def _effective_sizes(blocks: WeighedPool, masks: Array, batch_size: int) -> Array:
    def of_block(block: WeighedPool) -> Array:
        def of_rows(rows: Array) -> Array:
            log_w = log_weights(masks[rows].astype(block.base.dtype), block)
            weights = jnp.exp(log_w - jnp.max(log_w, axis=2, keepdims=True))
            return jnp.sum(weights, axis=2) ** 2 / jnp.sum(weights**2, axis=2)

        return map_chunks(of_rows, len(masks), batch_size)

    return jnp.moveaxis(jax.lax.map(of_block, blocks), 0, 1).reshape(len(masks), -1)


def ratio_means(scores: np.ndarray, log_q: np.ndarray, shares: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(policies,) the mean of π_k/q, each prompt counting the same, and its standard error about 1."""
    drawn = log_q < np.inf
    part = 1 / (drawn.sum(axis=1) * len(drawn))
    means, errors = np.ones(len(scores)), np.zeros(len(scores))
    for k, score in enumerate(scores):
        ratio = np.where(drawn, np.exp(np.minimum(score - np.where(drawn, log_q, 0), 300)), 1)
        deviations = (ratio - 1) * part[:, None]
        # A ratio may be rare and large. The largest possible one, or else the largest drawn, is counted once more among
        # the squares, so that a pool without it is not refused.
        largest = np.max(np.abs(deviations))
        if shares is not None and (shares[k] > 0).all():
            largest = np.max((1 / shares[k] - 1) * part)
        means[k] += deviations.sum()
        errors[k] = np.sqrt(np.sum(deviations**2) + largest**2)
    return means, errors


def label_slopes(
    scores: np.ndarray, log_q: np.ndarray, shares: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(policies + 1,) one Newton step from 1 of the slope of the labels' log-odds, and its standard error.

    Given the draws, the labels are independent with known probabilities. So are the variances of the scores below.
    """
    drawn = labels >= 0
    slopes, errors = np.full((2, len(scores) + 1), np.nan)
    expected, square, seen = (np.zeros(labels.shape) for _ in range(3))  # of the log-odds of the label
    for k, score in enumerate(scores):
        share = np.broadcast_to(shares[k][:, None], labels.shape)
        mixed = drawn & (share > 0) & (share < 1)
        prior = np.where(mixed, share, 0.5)
        chance = np.where(mixed, np.clip(np.exp(np.where(mixed, score - log_q, 0)) * prior, 1e-30, 1 - 1e-15), 0.5)
        odds = np.clip(np.log(chance / (1 - chance)) - np.log(prior / (1 - prior)), -CLIP, CLIP)
        odds, chance = np.where(mixed, odds, 0), np.where(mixed, chance, 0)
        of_policy = labels == k
        slopes[k], errors[k] = _slope(
            np.sum((of_policy - chance) * odds),
            np.sum(chance * (1 - chance) * odds**2),
            np.max(np.abs((of_policy - chance) * odds)),
        )
        expected, square = expected + chance * odds, square + chance * odds**2
        seen = np.where(of_policy, odds, seen)
    variances = np.maximum(square - expected**2, 0)
    slopes[-1], errors[-1] = _slope(
        np.sum(seen - expected), np.sum(variances), np.max(np.abs(seen - expected), initial=0)
    )
    return slopes, errors


def _slope(score: Any, information: Any, largest: Any) -> tuple[float, float]:
    if information <= 0:
        return np.nan, np.nan
    return 1 + score / information, np.sqrt(information + largest**2) / information


def pool_faults(
    names: Any, means: np.ndarray, errors: np.ndarray, slopes: np.ndarray | None, slope_errors: np.ndarray | None
) -> tuple[str, ...]:
    """A sentence for each mean and slope that is not 1. The level is shared among all of them (Bonferroni)."""
    tests = len(means) + (0 if slopes is None else len(slopes))
    reach = -NormalDist().inv_cdf(LEVEL / 2 / tests)
    faults = [
        f"the mean of π/q over the draws is {mean:.3f} ± {error:.3f} for {name}, in place of 1"
        for name, mean, error in zip(names, means, errors, strict=False)
        if abs(mean - 1) > max(reach * error, SMALLEST_MEAN)
    ]
    if slopes is not None and slope_errors is not None:
        faults += [
            f"the draws labelled as those of {name} follow its log-probabilities with slope {slope:.2f} ± {error:.2f}, "
            "in place of 1"
            for name, slope, error in zip([*names, "all policies together"], slopes, slope_errors, strict=True)
            if abs(slope - 1) > max(reach * error, SMALLEST_SLOPE)
        ]
    return tuple(faults)


def wrong_pool(name: str, faults: tuple[str, ...]) -> BadArgument:
    """The error of a pool that the checks refuse."""
    more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    return BadArgument(
        name,
        expected="the log-probabilities of the draws, under the policies and at the temperature that they came from",
        got="; ".join(faults[:3]) + more,
        advice=(
            "check that draws and log-probabilities have the same template, end token, limit of length and temperature "
            "1 (or give the proposal's log-probabilities), and that no columns are exchanged"
        ),
    )


def _check_further(further: Any, scores: np.ndarray) -> np.ndarray:
    array = check_log_probs(further)
    if array.shape[1:] != scores.shape[1:]:
        expected = f"(proposals, {', '.join(map(str, scores.shape[1:]))})"
        raise BadArgument("further", expected=expected, got=f"shape {array.shape}")
    return array


def _default(sources: int) -> Any:
    if sources <= MOST_LISTED:
        return all_coalitions(sources)
    return np.concatenate([np.zeros((1, sources), bool), np.eye(sources, dtype=bool), np.ones((1, sources), bool)])
