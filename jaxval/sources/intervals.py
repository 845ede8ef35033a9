"""The uncertainty of the values of sources: intervals over held-out prompts and over seeds, and rank correlation."""

import numpy as np

RESAMPLES = 1000
LEVEL = 0.95


def over_contexts(by_context: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The 95 % interval of the mean over prompts, by a percentile bootstrap over prompts.

    The array `by_context` has shape (held-out prompts of all seeds, ...) and holds the values of the prompts `ids`. If
    several seeds hold out the same prompt, its values are resampled together. The two ends of the interval have shape
    (2, ...); they are NaN if there is only one prompt.
    """
    flat = by_context.reshape(len(by_context), -1)
    distinct, index = np.unique(ids, return_inverse=True)
    if len(distinct) == 1:
        return np.full((2, *by_context.shape[1:]), np.nan)
    totals = np.zeros((len(distinct), flat.shape[1]))
    np.add.at(totals, index, flat)
    counts = np.bincount(index).astype(float)
    rng = np.random.default_rng(0)
    means = []
    for _ in range(RESAMPLES):
        times = np.bincount(rng.integers(len(distinct), size=len(distinct)), minlength=len(distinct))
        means.append(times @ totals / (times @ counts))
    tail = (1 - LEVEL) / 2
    return np.quantile(means, [tail, 1 - tail], axis=0).reshape(2, *by_context.shape[1:])


def over_seeds(by_seed: np.ndarray) -> np.ndarray:
    """(2, ...) ends of the 95 % interval of the mean over seeds, by Student's t; NaN if there is only one seed."""
    seeds = len(by_seed)
    if seeds == 1:
        return np.full((2, *by_seed.shape[1:]), np.nan)
    from scipy.special import stdtrit

    reach = stdtrit(seeds - 1, (1 + LEVEL) / 2) * by_seed.std(axis=0, ddof=1) / np.sqrt(seeds)
    return by_seed.mean(axis=0) + np.stack([-reach, reach])


def rank_correlation(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(rewards,) Spearman's rank correlation of each column; NaN for a column that is constant."""
    from scipy.stats import spearmanr  # it takes as long to load as JAX, so only this function loads it

    correlations = []
    for pair in zip(ours.T, theirs.T, strict=True):
        # Values of equal sources differ by rounding only. They are rounded, so that they count as tied.
        one, other = (np.round(column / max(np.abs(column).max(), 1e-300), 6) for column in pair)
        correlations.append(spearmanr(one, other).statistic if np.ptp(one) > 0 < np.ptp(other) else np.nan)
    return np.array(correlations)
