"""Intervals for comparisons in clusters: the many votes of one voter, or in one context, are not independent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Key
from scipy.special import ndtr, stdtrit

from jaxval import _checks
from jaxval.preferences import empirical_matrix
from jaxval.preferences.ballots import check_counts
from jaxval.preferences.profiles import reachable
from jaxval.social_choice.intervals import Intervals, check_level, interval_ends, pair_intervals
from jaxval.types import BadArgument, Comparisons, Wins

__all__ = ["cluster_intervals", "effective_counts", "majority_cycle"]


def cluster_intervals(
    key: Key[Array, ""],
    statistic: Callable[..., Array],
    clusters: int | Sequence[int],
    *,
    contributing: ArrayLike | Sequence[int] | None = None,
    samples: int = 1000,
    level: float = 0.95,
    batch_size: int = 50,
) -> Intervals:
    """Bootstrap intervals that resample whole clusters, such as voters, and not single comparisons.

    A statistic of the votes is written as a function of `times`, how often each cluster is counted. The data have
    times = (1, ..., 1). A resample draws n of n clusters with replacement, so that times ~ Multinomial(n; 1/n, ...).
    All votes of a voter then come or go together, and the more the voters differ, the wider are the intervals. A
    bootstrap of single comparisons treats ten votes of one voter on a pair as votes of ten voters, and its intervals
    are too narrow.

    If comparisons share voters and also contexts, give both numbers of clusters. Each kind of clusters is resampled
    independently, and a comparison counts as the product of the times of its clusters. These intervals are conservative
    (Owen's pigeonhole bootstrap).

    The ends are those of `bootstrap_intervals`, with the level adjusted for few clusters, z → t_{m-1} √(m / (m - 1)),
    where m is the number of clusters on which an entry depends: for a win rate within a group of voters, the voters of
    that group. The bootstrap is consistent for shares, win rates and entries of P that many voters have compared. It is
    not consistent for u, because u is a minimum, nor for lotteries near ties. For u, use `share_bound_intervals` with
    `effective_counts`. If most pairs have one or two votes, resamples lose some of these pairs, which then count as
    ties. Intervals of sums of such entries, as for `win_rate_over_uniform`, then lie too close to 1/2; intervals of
    `votes_won` do not.

    Source: Efron (1979); Davison and Hinkley (1997), section 3.8; Owen (2007), "The pigeonhole bootstrap"; the
    adjustment is Hesterberg's (2015).

    Args:
        key: a random key.
        statistic: a function from times, a (clusters,) array for each number of clusters, to an array. It must work
            under `jit`. A resample in which an entry is NaN, as the share of a group that was not drawn, is left out
            for that entry.
        clusters: n, the number of voters; or several numbers, such as those of voters and of contexts.
        contributing: m for each entry of the statistic, an array that broadcasts to the statistic's shape. None means
            that every entry depends on all clusters; of several numbers of clusters, the smallest counts.
        samples: the number of resamples.
        level: the share of resamples inside the interval, in (0, 1).
        batch_size: how many resamples are computed together; a smaller number takes less memory.

    Returns:
        `Intervals` of the statistic's shape. The ends are NaN where fewer than two clusters contribute, since one
        voter does not tell how much voters differ.

    Raises:
        ValueError: if there are fewer than two clusters, the level lies outside (0, 1), or `contributing` does not fit
            the statistic.

    Example:
        Ten voters compare one pair ten times each. Six always prefer the first alternative.

        >>> from jaxval.preferences import count_wins
        >>> voter = jnp.repeat(jnp.arange(10), 10)
        >>> votes = Comparisons(0 * voter, jnp.where(voter < 6, 0, 1), jnp.where(voter < 6, 1, 0), jnp.ones(100))
        >>> def share(times):
        ...     wins = count_wins(votes._replace(weight=votes.weight * times[voter]), alternatives=2)
        ...     return empirical_matrix(wins)[0, 1]
        >>> low, high = cluster_intervals(jax.random.key(0), share, 10)[1:]
        >>> bool(low < 0.35), bool(high > 0.85)
        (True, True)
    """
    numbers = [_checks.check_size("clusters", n) for n in (clusters if isinstance(clusters, Sequence) else [clusters])]
    if not numbers or min(numbers) < 2:
        raise BadArgument("clusters", expected="at least two clusters", got=numbers)
    samples, batch_size = _checks.check_size("samples", samples), _checks.check_size("batch_size", batch_size)
    _checks.check_memory("samples", samples)
    _checks.check_memory("clusters", min(batch_size, samples), sum(numbers))
    _checks.check_function("statistic", statistic, "a function of how often each cluster was drawn")
    _checks.check_key(key)
    check_level(level)

    def known(*counts: Array) -> Array:
        return _checks.numbers("statistic", statistic(*counts), "a function that returns numbers")

    @jax.jit
    def resampled(keys: Array) -> Array:
        return jax.lax.map(lambda key: known(*_draw(key, numbers)), keys, batch_size=min(batch_size, samples))

    estimate = jnp.asarray(jax.jit(known)(*(jnp.ones(n) for n in numbers)))
    drawn = resampled(jax.random.split(_checks.check_key(key), samples))
    few = min(numbers)
    given = jnp.asarray(few if contributing is None else _checks.real_array("contributing", contributing))
    try:
        m = jnp.broadcast_to(jnp.minimum(given, few), estimate.shape)
    except ValueError:
        expected = f"numbers for a statistic of shape {estimate.shape}"
        raise BadArgument("contributing", expected=expected, got=f"shape {given.shape}") from None
    tail = _adjusted_tails(few, level)[jnp.maximum(m, 2).astype(int) - 2]
    ends = (jnp.where(m < 2, jnp.nan, end) for end in interval_ends(drawn, estimate, tail))
    return Intervals(estimate, *ends)


def _adjusted_tails(most: int, level: float) -> Array:
    """(most - 1,) the probability below the lower end of a normal interval, adjusted for m = 2, ..., most clusters."""
    m = np.arange(2, most + 1)
    return jnp.asarray(ndtr(stdtrit(m - 1, (1 - level) / 2) * np.sqrt(m / (m - 1))))


def _draw(key: Array, numbers: Sequence[int]) -> list[Array]:
    """How often each cluster is drawn, for each kind of clusters."""
    keys = jax.random.split(key, len(numbers))
    drawn = (jax.random.randint(one, (n,), 0, n) for one, n in zip(keys, numbers, strict=True))
    return [jnp.zeros(n).at[rows].add(1) for rows, n in zip(drawn, numbers, strict=True)]


def effective_counts(
    comparisons: Comparisons, clusters: Int[ArrayLike, "comparisons"] | list[int], *, alternatives: int
) -> Float[Array, "alternatives alternatives"]:
    """The least number of independent comparisons that the votes on each pair are worth, (Σ_v n_v)² / Σ_v n_v².

    n_v is how often voter v compared the pair. The share P̂(i ≻ j) varies most if every voter always gives the same
    answer; the variance of P̂ is then P (1 - P) Σ n_v² / (Σ n_v)². Intervals for this number of comparisons therefore
    hold however much a voter's answers depend on each other. The number is at most the number of voters who compared
    the pair, and equal to it if all these voters compared the pair equally often.

    Source: Kish (1965), "Survey sampling", section 11.7.

    Args:
        comparisons: `Comparisons`, all fields (comparisons,).
        clusters: (comparisons,) the index of each comparison's voter, or other cluster.
        alternatives: M.

    Returns:
        (alternatives, alternatives) symmetric numbers, 0 for a pair never compared, for `share_bound_intervals`,
        `pair_intervals` and `majority_cycle`.

    Raises:
        ValueError: if lengths differ or an index is out of range.

    Example:
        One voter compared the pair nine times, another once: little more than one comparison.

        >>> votes = Comparisons([0] * 10, [0] * 9 + [1], [1] * 9 + [0], [1.0] * 10)
        >>> round(float(effective_counts(votes, [7] * 9 + [3], alternatives=2)[0, 1]), 2)
        1.22
    """
    _checks.check_record("comparisons", comparisons, Comparisons)
    alternatives, expected = _checks.check_size("alternatives", alternatives), "(comparisons,) integers"
    _checks.check_memory("alternatives", alternatives, alternatives)
    winner, loser = (
        np.asarray(_checks.integers(f"comparisons.{name}", getattr(comparisons, name), ndim=1, expected=expected))
        for name in ("winner", "loser")
    )
    voter = np.asarray(_checks.integers("clusters", clusters, ndim=1, expected="(comparisons,) integers"))
    weight = np.asarray(check_counts("comparisons.weight", comparisons.weight, len(winner)), dtype=float)
    if voter.shape != winner.shape or loser.shape != winner.shape:
        raise BadArgument("clusters", expected=f"one for each of {len(winner)} comparisons", got=f"shape {voter.shape}")
    low, high = np.minimum(winner, loser), np.maximum(winner, loser)
    if len(winner) and (low.min() < 0 or high.max() >= alternatives):
        raise BadArgument(
            "comparisons", expected=f"indices in 0..{alternatives - 1}", got=f"{low.min()} to {high.max()}"
        )
    pair = low.astype(np.int64) * alternatives + high
    cells, place = np.unique(np.stack([pair, voter]), axis=1, return_inverse=True)
    count = np.bincount(place.ravel(), weights=weight, minlength=cells.shape[1])
    total, squares = (np.bincount(cells[0], weights=n, minlength=alternatives**2) for n in (count, count**2))
    effective = np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0)
    effective = effective.reshape(alternatives, alternatives)
    return jnp.asarray(effective + effective.T, dtype=float)


def majority_cycle(
    wins: Wins, *, effective: Wins | None = None, level: float = 0.95
) -> tuple[tuple[int, ...], Bool[Array, "alternatives alternatives"]]:
    """A shortest majority cycle in which every majority is certain, and all majorities that are certain.

    A majority counts as certain if the interval of its P(i ≻ j) excludes 1/2. The probability of error is divided among
    the pairs that were compared (Bonferroni), so that all certain majorities together are right with probability
    `level`. In estimates of many nearly level alternatives, cycles appear by chance alone.

    Args:
        wins: (alternatives, alternatives) counts.
        effective: (alternatives, alternatives) the number of independent comparisons that the votes on each pair are
            worth, as `effective_counts` gives it; None means that all comparisons are independent.
        level: the probability with which no certain majority is wrong, in (0, 1).

    Returns:
        (cycle, certain): the cycle's alternatives, each of which beats the next, and the last the first, or () if no
        cycle is certain; (alternatives, alternatives) whether i certainly beats j.

    Raises:
        ValueError: as `pair_intervals`.

    Example:
        >>> cycle = [[0, 70, 30], [30, 0, 70], [70, 30, 0]]
        >>> majority_cycle(cycle)[0]
        (0, 1, 2)
        >>> majority_cycle([[count // 10 for count in row] for row in cycle])[0]  # ten votes a pair prove no majority
        ()
    """
    check_level(level)
    matrix = empirical_matrix(wins)
    compared = np.asarray(wins) + np.asarray(wins).T
    pairs = max(int((np.triu(compared, 1) > 0).sum()), 1)
    certain = pair_intervals(wins, effective=effective, level=1 - (1 - level) / pairs).low > 0.5
    certain = certain & ~jnp.eye(len(matrix), dtype=bool)
    return _shortest_cycle(np.asarray(certain)), certain


def _shortest_cycle(beats: np.ndarray) -> tuple[int, ...]:
    """A shortest cycle of the relation, found by breadth-first search from every alternative that is in one."""
    within = np.asarray(reachable(jnp.asarray(beats)))
    shortest: tuple[int, ...] = ()
    for start in np.flatnonzero((within & within.T).sum(axis=1) > 1).tolist():
        paths: dict[int, tuple[int, ...]] = {start: (start,)}
        ends = [start]
        while ends and not (shortest and len(paths[ends[0]]) >= len(shortest)):
            closing = [path for end in ends if beats[end, start] and len(path := paths[end]) > 1]
            if closing:
                shortest = closing[0]
                break
            reached: dict[int, tuple[int, ...]] = {}
            for end in ends:
                reached.update({int(i): (*paths[end], int(i)) for i in np.flatnonzero(beats[end]) if i not in paths})
            paths.update(reached)
            ends = list(reached)
    return shortest
