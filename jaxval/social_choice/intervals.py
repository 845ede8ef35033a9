"""Intervals for share bounds and for other statistics of P when P is estimated from finitely many comparisons."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float, Key

from jaxval import _checks
from jaxval.preferences import empirical_matrix
from jaxval.preferences.ballots import check_wins
from jaxval.types import BadArgument, Wins

__all__ = ["Intervals", "bootstrap_intervals", "pair_intervals", "share_bound_intervals"]


class Intervals(NamedTuple):
    """An estimate and the two ends of its interval.

    Attributes:
        estimate: the statistic of the observed counts.
        low: the lower end of the interval at the level asked for.
        high: the upper end of the interval.
    """

    estimate: Float[Array, "*values"]
    low: Float[Array, "*values"]
    high: Float[Array, "*values"]


def pair_intervals(wins: Wins, *, effective: Wins | None = None, level: float = 0.95) -> Intervals:
    """Wilson's score intervals of the entries of P: the shares p with |P̂ - p| ≤ z √(p (1 - p) / n).

    A pair that was never compared may have any share: its interval is [0, 1]. A tie counts as one comparison, half won.

    Source: Wilson (1927); with n made smaller for clusters, Dean and Pagano (2015).

    Args:
        wins: (alternatives, alternatives) counts.
        effective: (alternatives, alternatives) n, how many independent comparisons the votes on each pair are worth, as
            `effective_counts` gives it if voters have several votes; None means all comparisons.
        level: the probability with which the interval contains P(i ≻ j), in (0, 1).

    Returns:
        `Intervals` of shape (alternatives, alternatives); 1/2 on the diagonal.

    Raises:
        ValueError: if counts are negative or not square, `effective` has another shape, or the level lies outside
            (0, 1).

    Example:
        >>> low, high = pair_intervals([[0.0, 60.0], [40.0, 0.0]])[1:]
        >>> [round(float(end), 2) for end in (low[0, 1], high[0, 1])]
        [0.5, 0.69]
        >>> low, high = pair_intervals([[0.0, 60.0], [40.0, 0.0]], effective=[[0.0, 10.0], [10.0, 0.0]])[1:]
        >>> [round(float(end), 2) for end in (low[0, 1], high[0, 1])]
        [0.31, 0.83]
    """
    matrix, compared = _estimated(wins, effective)
    check_level(level)
    low = _score(matrix, compared, ndtri(jnp.asarray((1 - level) / 2, matrix.dtype)))
    itself = jnp.eye(len(matrix), dtype=bool)
    return Intervals(matrix, jnp.where(itself, 0.5, low), jnp.where(itself, 0.5, 1 - low.T))


def _estimated(wins: Wins, effective: Wins | None) -> tuple[Array, Array]:
    """P̂, and how many comparisons each pair counts for."""
    matrix = empirical_matrix(wins)
    if effective is None:
        wins = jnp.asarray(wins, dtype=matrix.dtype)
        return matrix, wins + wins.T
    compared = check_wins(effective, name="effective")
    if compared.shape != matrix.shape:
        raise BadArgument("effective", expected=f"the shape of wins, {matrix.shape}", got=f"shape {compared.shape}")
    return matrix, compared


def share_bound_intervals(wins: Wins, *, effective: Wins | None = None, level: float = 0.95) -> Intervals:
    """Intervals for u that cover it whatever the preferences are, from score intervals of the pairs.

    If [l_ij, h_ij] is Wilson's interval of P(i ≻ j), the interval of u_i runs from min_j l_ij to min_j h_ij. The lower
    end exceeds u_i only if l_ij is too high for the pair at which the minimum u_i is attained. The upper end is below
    u_i if h_ij is too low for any of the M - 1 pairs, so the probability of error is divided among them. The P(i ≻ j)
    of a pair that was never compared may be any number, and u may then be as low as zero. A tie counts as one
    comparison, half won. If voters compared a pair several times, `effective` keeps the intervals right.

    Source: Wilson (1927); the division is Bonferroni's.

    Args:
        wins: (alternatives, alternatives) counts.
        effective: (alternatives, alternatives) how many independent comparisons the votes on each pair are worth, as in
            `pair_intervals`.
        level: the probability with which each alternative's interval contains its u, in (0, 1).

    Returns:
        `Intervals` of shape (alternatives,).

    Raises:
        ValueError: as `pair_intervals`.

    Example:
        >>> intervals = share_bound_intervals([[0.0, 60.0], [40.0, 0.0]])
        >>> [round(float(end), 2) for end in (intervals.low[0], intervals.estimate[0], intervals.high[0])]
        [0.5, 0.6, 0.69]
    """
    matrix, compared = _estimated(wins, effective)
    check_level(level)
    return _bound_intervals(matrix, compared, (1 - level) / 2)


@jax.jit
def _bound_intervals(matrix: Array, compared: Array, tail: Array) -> Intervals:
    """Wilson's intervals of the pairs, and from them those of u, with the probability `tail` beyond either end."""
    alternatives, tail = len(matrix), jnp.asarray(tail, matrix.dtype)

    def smallest(ends: Array) -> Array:
        return jnp.min(jnp.where(jnp.eye(alternatives, dtype=bool), 1, ends), axis=1)

    low = smallest(_score(matrix, compared, ndtri(tail)))
    high = smallest(_score(matrix, compared, -ndtri(tail / max(alternatives - 1, 1))))
    return Intervals(smallest(matrix), low, high)


@jax.jit
def _score(matrix: Array, compared: Array, deviations: Array) -> Array:
    """One end of Wilson's interval: the share p with |P̂ - p| = z √(p (1 - p) / n), above P̂ for z > 0."""
    middle = compared * matrix + deviations**2 / 2
    shift = deviations * jnp.sqrt(compared * matrix * (1 - matrix) + deviations**2 / 4)
    return jnp.clip((middle + shift) / (compared + deviations**2), 0, 1)


def bootstrap_intervals(
    key: Key[Array, ""],
    wins: Wins,
    statistic: Callable[[Array], Array],
    *,
    estimate: Callable[[Array], Array] | None = None,
    samples: int = 1000,
    level: float = 0.95,
) -> Intervals:
    """Bootstrap intervals for any statistic of P: the comparisons of each pair are resampled.

    wins*[i, j] ~ Binomial(n_ij, (wins[i, j] + 1/2) / (n_ij + 1)) with n_ij = wins[i, j] + wins[j, i]. Because of the
    half counts (Jeffreys), a pair that was always won is not treated as certain. The interval is the smallest one that
    contains both the percentile and the bias-corrected percentile interval. u is a minimum over noisy entries, so its
    estimate is too low on average, and its resamples are lower still. Either interval alone therefore covers u too
    seldom if pairs were compared few times. `python -m benchmarks.social_choice --case coverage` measures the coverage.
    It is good for the lotteries of F*. For u it is too low if many alternatives are nearly level, even with 500
    comparisons a pair; use `share_bound_intervals` in that case.

    A tie counts as one comparison, half won, which makes intervals wider than necessary. A pair that was never compared
    stays at 1/2 in every sample, so the intervals do not include the uncertainty about it.

    With `estimate`, P is the estimate of a model. The counts are redrawn from that P, and the model is fitted to each
    resample. The intervals then hold if the model does.

    Source: Efron (1979), (1981); the smoothing is Brown, Cai and DasGupta's (2001).

    Args:
        key: a random key.
        wins: (alternatives, alternatives) counts.
        statistic: a function from P (alternatives, alternatives) to an array, such as `share_bounds` or a rule of P.
        estimate: a function from counts to P that JAX can trace, such as `functools.partial(
            preferences.smoothed_matrix, strengths=...)`; None means `preferences.empirical_matrix`.
        samples: the number of resamples.
        level: the share of resamples inside the interval, in (0, 1).

    Returns:
        `Intervals` of the statistic's shape.

    Raises:
        ValueError: if counts are negative or not square, or the level lies outside (0, 1).

    Example:
        >>> from jaxval.social_choice import share_bounds
        >>> intervals = bootstrap_intervals(jax.random.key(0), [[0.0, 60.0], [40.0, 0.0]], share_bounds)
        >>> bool(intervals.low[0] < 0.6) and bool(0.6 < intervals.high[0])
        True
    """
    wins = check_wins(wins)
    _checks.check_key(key)
    _checks.check_function("statistic", statistic, "a function of P")
    if estimate is not None:
        _checks.check_function("estimate", estimate, "a function from counts to P")
    matrix = (estimate or empirical_matrix)(wins)
    center = matrix if estimate else empirical_matrix(wins + 0.5)  # what the resamples are drawn from
    samples = _checks.check_size("samples", samples)
    _checks.check_memory("samples", samples, *wins.shape)
    check_level(level)
    keys = jax.random.split(_checks.check_key(key), samples)
    drawn = _resampled(keys, wins + wins.T, center, estimate or empirical_matrix, statistic)
    found, middle = (_checks.numbers("statistic", statistic(one)) for one in (matrix, center))
    low, high = interval_ends(drawn, middle, (1 - level) / 2)
    return Intervals(found, low, high)


@functools.partial(jax.jit, static_argnums=(3, 4))  # at module level, so that each statistic is compiled once
def _resampled(
    keys: Array,
    seen: Array,
    chances: Array,
    estimate: Callable[[Array], Array],
    statistic: Callable[[Array], Array],
) -> Array:
    """The statistic of every resample; every pair is compared as often as it was, rounded to a whole number."""
    i, j = jnp.triu_indices(len(seen), k=1)
    compared = jnp.round(seen[i, j])

    def resample(key: Array) -> Array:
        won = jax.random.binomial(key, compared, chances[i, j], dtype=chances.dtype)
        won = jnp.clip(won, 0, compared)
        drawn = estimate(jnp.zeros_like(chances).at[i, j].set(won).at[j, i].set(compared - won))
        return _checks.numbers("statistic", statistic(drawn))

    return jax.vmap(resample)(keys)


def check_level(level: float) -> None:
    """Check the level of intervals."""
    _checks.check_share("level", level, "a share in (0, 1)")


@jax.jit
def interval_ends(drawn: Array, center: Array, tail: Array) -> tuple[Array, Array]:
    """The smallest interval that contains the percentile and the bias-corrected percentile interval."""
    drawn = jnp.sort(drawn, axis=0)  # NaN comes last, and is not counted
    samples = jnp.maximum(jnp.sum(~jnp.isnan(drawn), axis=0), 1)
    below = jnp.sum((drawn < center[None]) + (drawn == center[None]) / 2, axis=0) / samples
    bias = ndtri(jnp.clip(below, 0.5 / samples, 1 - 0.5 / samples))
    tail = ndtri(jnp.asarray(tail, bias.dtype))

    def at(rank: Array) -> Array:
        index = jnp.clip(rank, 0, samples - 1).astype(int)[None]
        return jnp.take_along_axis(drawn, index, axis=0)[0]

    low, high = (
        [at(round_(ndtr(shift + sign * tail) * (samples - 1))) for shift in (jnp.zeros_like(bias), 2 * bias)]
        for sign, round_ in ((1, jnp.floor), (-1, jnp.ceil))
    )
    return jnp.minimum(*low), jnp.maximum(*high)
