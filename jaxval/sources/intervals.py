"""How far values of sources can be trusted: held-out prompts redrawn, seeds compared, ranks compared."""

import numpy as np
from scipy import stats

RESAMPLES = 1000
LEVEL = 0.95


def over_contexts(by_context: np.ndarray, ids: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """The 95 % interval of the mean over prompts, prompts redrawn with replacement: a percentile bootstrap.

    `by_context` is (held out by some seed, ...) values of the prompts `ids`. A prompt that several seeds hold out is
    one prompt: it is redrawn with all of its values. The ends are (2, ...), NaN if there is one prompt only.
    """
    flat = by_context.reshape(len(by_context), -1).astype(np.float64)
    distinct, place = np.unique(ids, return_inverse=True)
    if len(distinct) == 1:
        return np.full((2, *by_context.shape[1:]), np.nan)
    totals = np.zeros((len(distinct), flat.shape[1]))
    np.add.at(totals, place, flat)
    counts = np.bincount(place).astype(float)
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(RESAMPLES):
        times = np.bincount(rng.integers(len(distinct), size=len(distinct)), minlength=len(distinct))
        means.append(times @ totals / (times @ counts))
    tail = (1 - LEVEL) / 2
    return np.quantile(means, [tail, 1 - tail], axis=0).reshape(2, *by_context.shape[1:])


def over_seeds(by_seed: np.ndarray) -> np.ndarray:
    """(2, ...) ends of the 95 % interval of the mean over seeds by Student's t; NaN if there is one seed."""
    seeds = len(by_seed)
    if seeds == 1:
        return np.full((2, *by_seed.shape[1:]), np.nan)
    reach = stats.t.ppf((1 + LEVEL) / 2, seeds - 1) * by_seed.std(axis=0, ddof=1) / np.sqrt(seeds)
    return by_seed.mean(axis=0) + np.stack([-reach, reach])


def rank_correlation(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(rewards,) Spearman's rank correlation of each column; NaN for a column that is constant."""
    found = []
    for pair in zip(ours.T, theirs.T, strict=True):
        # equal sources have values that differ by rounding alone: that is a tie
        one, other = (np.round(column / max(np.abs(column).max(), 1e-300), 6) for column in pair)
        found.append(stats.spearmanr(one, other).statistic if np.ptp(one) > 0 < np.ptp(other) else np.nan)
    return np.array(found)
