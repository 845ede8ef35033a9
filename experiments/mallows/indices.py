"""The dispersion index of pairs from the entropies of a reference model, and how well it orders prompts."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxval import alignment

__all__ = ["pair_indices", "rank_correlation"]

REDRAWS = 1_000


def pair_indices(entropies: Any, lengths: Any, first: Any, second: Any, *, vocabulary: int) -> np.ndarray:
    """Ĥ of pairs of responses, `alignment.entropy_index`.

    Args:
        entropies: (responses, tokens) entropies before each token, in nats.
        lengths: (responses,) the number of tokens of each.
        first: (pairs,) one response of each pair.
        second: (pairs,) the other.
        vocabulary: the number of tokens that the model knows.

    Returns:
        (pairs,) indices in (0, 1].
    """
    table, mask = jnp.asarray(entropies), jnp.arange(np.shape(entropies)[1])[None, :] < jnp.asarray(lengths)[:, None]
    of_pair = functools.partial(alignment.entropy_index, vocabulary=vocabulary)
    return np.asarray(jax.vmap(of_pair)(table[first], mask[first], table[second], mask[second]))


def rank_correlation(
    index: Any, disagreement: Any, *, level: float, clusters: Any = None, seed: int = 0
) -> dict[str, Any]:
    """Spearman's correlation with a percentile interval, which resamples prompts or clusters of them.

    Args:
        index: (n,) what is to order.
        disagreement: (n,) the truth, or what people said.
        level: the probability of the interval.
        clusters: (n,) which cluster each belongs to, such as a voter; None means that each is its own.
        seed: of the resampling.

    Returns:
        The correlation, the ends of its interval, and n; the correlation is None if one of the two is constant.
    """
    x, y = np.asarray(index, dtype=float), np.asarray(disagreement, dtype=float)
    rng, found = np.random.default_rng(seed), []
    labels = np.unique(np.arange(len(x)) if clusters is None else clusters, return_inverse=True)[1]
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1])
    for _ in range(REDRAWS):
        rows = np.concatenate([members[k] for k in rng.integers(0, len(members), len(members))])
        found.append(_spearman(x[rows], y[rows]))
    known = [one for one in found if one is not None]
    whole = _spearman(x, y)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]) if whole is not None else (None, None)
    return {"correlation": whole, "low": _plain(low), "high": _plain(high), "n": len(x)}


def _plain(number: Any) -> float | None:
    return None if number is None else float(number)


def _spearman(x: np.ndarray, y: np.ndarray) -> float | None:
    from scipy.stats import rankdata

    ranks = np.stack([rankdata(x), rankdata(y)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    scale = np.sqrt((ranks**2).sum(axis=1).prod())
    return float(ranks[0] @ ranks[1] / scale) if scale > 0 else None
