"""Whether a pool of samples can be trusted: effective sample sizes, and checks that tell a wrong pool from a right one.

Two kinds of identities hold for a pool whose log-probabilities are those of its draws, and for hardly any other.

- For every policy k, the mean of π_k/q over the draws is 1. Another truncation, template or temperature shows there.
- If the draws say which policy they came from, that label has the probability p_k(y) = a_k π_k(y) / q(y) given the
  draw. Hence Σ_j (1[label_j = k] - p_k(y_j)) h_k(y_j) is 0 in expectation for any function h_k. With the log-odds of
  p_k for h_k, this is the score of a logistic regression of the labels on their log-odds, whose slope is 1. Exchanged
  columns have a slope below 0, and draws at a low temperature one above 1, although no mean of π_k/q may show either.
  With the rank of log q for h_k, it tells draws of one policy that were cut or drawn at another temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import NormalDist
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxval import _checks
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

__all__ = ["PoolChecks", "PoolDiagnostics", "pool_diagnostics"]

LEVEL = 0.01  # the chance that a right pool is refused, over all its policies together
LEAST_MEAN, LEAST_SLOPE, LEAST_SHIFT = 0.02, 0.1, 0.02  # less is never refused: half precision makes it
CLIP = 6.0  # the largest log-odds that count, so that no draw decides alone
SLICE = 2**20  # draws that are checked at a time
MOST_LISTED = 12  # sources whose coalitions are all listed by default


class PoolChecks(NamedTuple):
    """What holds for a right pool, with standard errors. Further proposals count as policies.

    Attributes:
        mean_ratios: (policies,) the mean over prompts of the mean of π_k/q over the draws; 1 for a right pool.
        mean_errors: (policies,)
        slopes: (policies + 1,) the slope of the labels' log-odds for each policy, and last for all of them together; 1
            for a right pool. NaN without labels, or if a policy cannot be told from the mixture.
        slope_errors: (policies + 1,)
        shifts: (policies,) how much more probable under q the draws with the label are than expected, as a mean rank
            from -1 to 1 among the draws of the prompt; 0 for a right pool. NaN likewise.
        shift_errors: (policies,)
    """

    mean_ratios: np.ndarray
    mean_errors: np.ndarray
    slopes: np.ndarray
    slope_errors: np.ndarray
    shifts: np.ndarray
    shift_errors: np.ndarray


class PoolDiagnostics(NamedTuple):
    """What a pool says about itself.

    Attributes:
        effective_sizes: (coalitions, prompts) (Σ_j w_j)² / Σ_j w_j², from 1 to the number of draws.
        checks: `PoolChecks`, the numbers that are known for a right pool.
        faults: one sentence for each number that differs from that of a right pool by more than chance explains.
    """

    effective_sizes: Float[Array, "coalitions prompts"]
    checks: PoolChecks
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
    pool is detected only if the policies differ: if all policies are the same, no ratio reveals the temperature at
    which they were used.

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
        >>> [round(float(size), 4) for size in found.effective_sizes[:, 0]], found.checks.mean_ratios.tolist()
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
    checks = check_pool(every, log_q, shares, labels)
    names = ["the reference", *(f"source {i}" for i in range(sources))]
    names += [f"further proposal {i}" for i in range(len(every) - len(scores))]
    faults = pool_faults(names, checks)
    if _checks.check_flag("refuse", refuse) and faults:
        raise wrong_pool("log_probs", faults)
    return PoolDiagnostics(sizes, checks, faults)


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


def check_pool(
    scores: np.ndarray, log_q: np.ndarray, shares: np.ndarray | None, labels: np.ndarray | None
) -> PoolChecks:
    """The checks of log-probabilities (policies, prompts, samples) against log q and labels.

    The shares are (policies, prompts) if they are known, and the labels if draws have any.
    """
    prompts = scores.shape[1]
    together = max(1, SLICE // scores.shape[2])
    sums, largest = np.zeros((3, len(scores) + 1, 3)), np.zeros((3, len(scores) + 1))
    for start in range(0, prompts, together):  # a slice of prompts at a time: large pools would need much memory
        part = slice(start, start + together)
        share = None if shares is None else shares[:, part]
        result = [_ratio_sums(scores[:, part], log_q[part], share, prompts)]
        if labels is not None and share is not None:
            result += _label_sums(scores[:, part], log_q[part], share, labels[part])
        for kind, (more, most) in enumerate(result):
            sums[kind] += more
            largest[kind] = np.maximum(largest[kind], most)
    total, variance, scale = np.moveaxis(sums, 2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        # A large deviation may be rare. The largest one counts once more among the squares, so that a pool in which a
        # rare one is missing is not refused.
        known = np.where((variance > 0) & (scale > 0), 1, np.nan)
        numbers = np.array([[1], [1], [0]]) + known * total / scale
        errors = known * np.sqrt(variance + largest**2) / scale
    ratios = np.nan_to_num(numbers[0, :-1], nan=1), np.nan_to_num(errors[0, :-1])  # π_k = q at every draw
    return PoolChecks(*ratios, numbers[1], errors[1], numbers[2, :-1], errors[2, :-1])


Sums = tuple[np.ndarray, np.ndarray]  # (policies + 1, 3) sums, their variances and what divides them; (policies + 1,)


def _ratio_sums(scores: np.ndarray, log_q: np.ndarray, shares: np.ndarray | None, prompts: int) -> Sums:
    """The sum over draws of π_k/q - 1, each of the prompts counting the same."""
    drawn = log_q < np.inf
    part = 1 / (drawn.sum(axis=1) * prompts)
    sums, largest = np.zeros((len(scores) + 1, 3)), np.zeros(len(scores) + 1)
    for k, score in enumerate(scores):
        ratio = np.where(drawn, np.exp(np.minimum(score - np.where(drawn, log_q, 0), 300)), 1)
        deviations = (ratio - 1) * part[:, None]
        sums[k] = np.sum(deviations), np.sum(deviations**2), 0
        largest[k] = np.max(np.abs(deviations))  # of those drawn, if the largest possible one is not known
        if shares is not None and k < len(shares) and (shares[k] > 0).all():
            largest[k] = np.max((1 / shares[k] - 1) * part)
    sums[:, 2] = len(drawn) / prompts
    return sums, largest


def _label_sums(scores: np.ndarray, log_q: np.ndarray, shares: np.ndarray, labels: np.ndarray) -> list[Sums]:
    """The sums over draws of (1[label = k] - p_k) h_k, with log-odds for h (one Newton step of the slope) and ranks.

    Given the draws, labels are independent with the probabilities p_k, so that the variances are known.
    """
    from scipy.stats import rankdata  # it takes as long to load as JAX, so only this function loads it

    drawn = labels >= 0
    counts = np.maximum(drawn.sum(axis=1, keepdims=True), 1)
    # Equal log-probabilities share their rank: an order by place would be one by label in a sorted file.
    ranks = np.where(drawn, (2 * rankdata(np.where(drawn, log_q, np.inf), axis=1) - 1) / counts - 1, 0)
    sums, largest = np.zeros((2, len(scores) + 1, 3)), np.zeros((2, len(scores) + 1))
    mean, square, seen = (np.zeros(labels.shape) for _ in range(3))  # of the log-odds of the label
    for k, score in enumerate(scores):
        share = np.broadcast_to(shares[k][:, None], labels.shape)
        mixed = drawn & (share > 0) & (share < 1)
        prior = np.where(mixed, share, 0.5)
        ratio = np.exp(np.where(mixed, score - np.where(drawn, log_q, 0), 0))
        chance = np.clip(ratio * prior, 1e-30, 1 - 1e-15)
        odds = np.log(chance / (1 - chance)) - np.log(prior / (1 - prior))
        odds, chance = np.where(mixed, np.clip(odds, -CLIP, CLIP), 0), np.where(mixed, chance, 0)
        surprise = np.where(mixed, (labels == k) - chance, 0)
        variance = chance * (1 - chance)
        information = np.sum(variance * odds**2)
        sums[0, k] = np.sum(surprise * odds), information, information
        sums[1, k] = np.sum(surprise * ranks), np.sum(variance * ranks**2), np.sum(labels == k)
        largest[:, k] = np.max(np.abs(surprise * odds)), np.max(np.abs(surprise * ranks))
        mean, square = mean + chance * odds, square + chance * odds**2
        seen = np.where(labels == k, odds, seen)
    information = np.sum(np.maximum(square - mean**2, 0))
    sums[0, -1], largest[0, -1] = (np.sum(seen - mean), information, information), np.max(np.abs(seen - mean))
    return list(zip(sums, largest, strict=True))


def pool_faults(names: Sequence[str], checks: PoolChecks) -> tuple[str, ...]:
    """A sentence for each number that is wrong. The level is shared among all of them (Bonferroni)."""
    kinds = (
        ("the mean of π/q over the draws is {} for {}, in place of 1", 1, LEAST_MEAN, checks[0:2]),
        ("the draws of {1} follow its log-probabilities with slope {0}, in place of 1", 1, LEAST_SLOPE, checks[2:4]),
        (
            "the probability of the draws of {1} is not as expected, by a mean rank of {0}",
            0,
            LEAST_SHIFT,
            checks[4:6],
        ),
    )
    tests = sum(int(np.isfinite(error).sum()) for _, _, _, (_, error) in kinds)
    reach = -NormalDist().inv_cdf(LEVEL / 2 / max(tests, 1))
    faults = []
    for sentence, expected, least, (result, errors) in kinds:
        for name, number, error in zip([*names, "all policies together"], result, errors, strict=False):
            if abs(number - expected) > max(reach * error, least):  # never for NaN
                faults.append(sentence.format(f"{number:.3f} ± {error:.3f}", name))
    return tuple(faults)


def wrong_pool(name: str, faults: tuple[str, ...]) -> BadArgument:
    """The error of a pool that the checks refuse."""
    more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    return BadArgument(
        name,
        expected="log-probabilities π that fit the draws, each of which was drawn with the probability q",
        got="; ".join(faults[:3]) + more,
        advice=(
            "check that log-probabilities are sums over tokens, not means, that draws and log-probabilities have the "
            "same template, end token, limit of length and temperature 1 (or give the proposal's log-probabilities), "
            "and that no columns are exchanged"
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
