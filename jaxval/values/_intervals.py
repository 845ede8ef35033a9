"""Ends of 95 % intervals: Student's t, and score intervals for a player whose gain takes few values.

If nearly all of d draws are equal, the standard error of their mean says little: a gain that was never seen adds
nothing to it. The draws x are then split at their usual value c, which is 0 or the first draw,

    mean of x = c + h p⁺ - l p⁻,   p⁺ = mean of max(x - c, 0) / h,   p⁻ = mean of max(c - x, 0) / l,

where gains lie in [c - l, c + h]. Both p are means of numbers in [0, 1], whose variance is at most p (1 - p). Wilson's
upper end U(p) solves (u - p)² = z² u (1 - u) / d. The lower end L(p) is Clopper and Pearson's, because Wilson's is too
high if less than one event is expected. The interval is c + h L(p⁺) - l U(p⁻) to c + h U(p⁺) - l L(p⁻).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxval import _checks
from jaxval._tables import FEW_GAINS
from jaxval.types import BadArgument, SeenGains
from jaxval.values.estimators import Moments, standard_errors

__all__ = [
    "TAIL",
    "Tally",
    "add_to_tally",
    "check_spread",
    "error_intervals",
    "gain_reaches",
    "interval_ends",
    "no_tally",
    "reachable",
    "reachable_with_unions",
    "seen_gains",
]

TAIL = 0.025  # the probability on either side of a 95 % interval
FEW = FEW_GAINS  # the same limit for draws that differ from the usual value
ROUNDING = 16  # a gain of fewer units in the last place of the largest utility counts as zero
TABLE = 200  # Student's quantiles come from a table up to this many degrees of freedom
HALVINGS = 60  # bisection steps


class Tally(NamedTuple):
    """What intervals need to know of the draws besides their moments.

    Attributes:
        first: (players, *objectives) the first draw.
        single: (players, *objectives) the first gain. It may differ from the first draw, which may be the mean of two
            gains.
        departures: (3, players, *objectives) the number of draws that held a gain other than zero, of draws that differ
            from the first draw, and of draws that held a gain other than the first gain.
        above: (2, players, *objectives) Σ max(x - c, 0) over the draws x, for c = 0 and for c the first draw.
        below: (2, players, *objectives) Σ max(c - x, 0) for the same two c.
        gains: (2, *objectives) the least and the greatest gain of any player.
        utilities: (2, *objectives) the least and the greatest utility.
    """

    first: Float[Array, "players *objectives"]
    single: Float[Array, "players *objectives"]
    departures: Int[Array, "3 players *objectives"]
    above: Float[Array, "2 players *objectives"]
    below: Float[Array, "2 players *objectives"]
    gains: Float[Array, "2 *objectives"]
    utilities: Float[Array, "2 *objectives"]


def no_tally(players: int, objectives: tuple[int, ...]) -> Tally:
    """The tally before the first draw."""
    each = jnp.zeros((players, *objectives))
    extremes = jnp.stack([jnp.full(objectives, jnp.inf), jnp.full(objectives, -jnp.inf)])
    twice = jnp.stack([each, each])
    return Tally(each, each, jnp.zeros((3, *each.shape), int), twice, twice, extremes, extremes)


def add_to_tally(tally: Tally, gains: Array, valid: Array, utilities: Array, drawn: Array) -> Tally:
    """The tally after more draws; draws that are not valid are ignored.

    Args:
        tally: the tally of the earlier draws.
        gains: (draws, together, players, *objectives) the gains in the permutations of each draw, which is their mean.
        valid: (draws,) whether each draw counts.
        utilities: (rows, *objectives) utilities of the coalitions evaluated.
        drawn: the number of earlier draws.

    Returns:
        The `Tally` of all draws.
    """
    draws = gains.mean(axis=1)
    counts = valid.reshape(-1, *(1,) * (draws.ndim - 1))
    earliest = jnp.argmax(valid)
    first = jnp.where(drawn > 0, tally.first, draws[earliest])
    single = jnp.where(drawn > 0, tally.single, gains[earliest, 0])
    apart = jnp.stack([draws, draws - first[None]])
    apart = jnp.where(counts[None], apart, 0)
    zero = _like(_rounding(jnp.abs(utilities).max(axis=0)), draws)
    moved = jnp.stack(
        [
            jnp.any(jnp.abs(gains) > zero[None], axis=1),
            jnp.abs(apart[1]) > zero,
            jnp.any(jnp.abs(gains - single[None, None]) > zero[None], axis=1),
        ]
    )
    return Tally(
        first,
        single,
        tally.departures + jnp.sum(moved & counts[None], axis=1),
        tally.above + jnp.sum(jnp.maximum(apart, 0), axis=1),
        tally.below + jnp.sum(jnp.maximum(-apart, 0), axis=1),
        _extremes(tally.gains, gains.reshape(-1, *gains.shape[3:])),
        _extremes(tally.utilities, utilities),
    )


@functools.partial(jax.jit, static_argnames="tail")
def gain_reaches(
    moments: Moments, tally: Tally, *, known: Array, spread: ArrayLike | None, tail: float
) -> Float[Array, "2 players *objectives"]:
    """The distances from the values to the low and the high ends of their intervals.

    Args:
        moments: the moments of the draws.
        tally: the tally of the same draws.
        known: (players, *objectives) whether a value is known without error.
        spread: the largest minus the smallest possible gain, or None; see `gain_range`.
        tail: the probability beyond either end.

    Returns:
        The distances. They are NaN if there are fewer than two draws, or if few draws hold a nonzero gain and the range
        of gains is unknown.
    """
    count, mean = moments.draws, moments.mean
    reach = student_factor(count - 1, tail) * standard_errors(moments)
    near_zero = (tally.departures[0] < FEW) & (tally.departures[0] < count)
    # The mean of two gains may be constant although the gains are not. Only a constant gain has an interval of width 0.
    near_first = (tally.departures[1] < FEW) & (2 * tally.departures[1] < count) & (tally.departures[2] > 0)
    usual = jnp.where(near_zero, 0, tally.first)
    least, greatest = (_like(end, mean) for end in gain_range(tally, spread))
    above, below = (jnp.where(near_zero, sums[0], sums[1]) for sums in (tally.above, tally.below))
    rise, fall = jnp.maximum(greatest - usual, 0), jnp.maximum(usual - least, 0)
    (least_rise, most_rise), (least_fall, most_fall) = (
        _score_ends(_divide(sums, jnp.maximum(count, 1) * scale), count, tail)
        for sums, scale in ((above, rise), (below, fall))
    )
    low = usual + rise * least_rise - fall * most_fall
    high = usual + rise * most_rise - fall * least_fall
    scored = jnp.maximum(jnp.stack([mean - low, high - mean]), 0)
    scored = jnp.where((greatest > least)[None], scored, jnp.nan)
    reaches = jnp.where((near_zero | near_first)[None], scored, reach[None])
    return jnp.where(count > 1, jnp.where(known[None], 0, reaches), jnp.nan)


def constant_draws(tally: Tally) -> Array:
    """Whether all draws of a player were equal, (players, *objectives)."""
    return (tally.departures[0] == 0) | (tally.departures[1] == 0)


@jax.jit
def seen_gains(tally: Tally, spread: ArrayLike | None) -> SeenGains:
    """What an estimate reports about the gains that it was computed from."""
    return SeenGains(tally.departures[0], gain_range(tally, spread), jnp.asarray(spread is not None))


def gain_range(tally: Tally, spread: ArrayLike | None) -> Float[Array, "2 *objectives"]:
    """The least and the greatest gain that are taken to be possible.

    If no player had a gain above zero, gains above zero are taken to be impossible; the same holds below zero. With a
    spread r, gains lie within [greatest seen - r, least seen + r]. Without a spread, no gain is larger than the
    difference between the largest and the smallest utility seen.
    """
    zero = _rounding(jnp.abs(tally.utilities).max(axis=0))
    least, greatest = tally.gains
    if spread is None:
        low, high = tally.utilities[0] - tally.utilities[1], tally.utilities[1] - tally.utilities[0]
        return jnp.stack([jnp.where(least < -zero, low, 0), jnp.where(greatest > zero, high, 0)])
    spread = jnp.asarray(spread, least.dtype)
    if spread.ndim and spread.shape != least.shape:
        raise BadArgument("spread", expected="one number for each objective", got=f"shape {spread.shape}")
    wide = jnp.maximum(spread, greatest - least)
    silent = (least >= -zero) & (greatest <= zero)
    low = jnp.where((least < -zero) | silent, greatest - wide, 0)
    high = jnp.where((greatest > zero) | silent, least + wide, 0)
    return jnp.stack([low, high])


def check_spread(spread: object, tally: Tally | None = None) -> np.ndarray | None:
    """Check the spread, which is None, a finite number above 0, or one such number for each objective.

    If a tally with known values is given, the spread must also be at least the largest minus the smallest gain seen.
    """
    if spread is None:
        return None
    array = np.asarray(_checks.real_array("spread", spread))
    if array.dtype.kind not in "iuf" or array.ndim > 1 or not np.all((array > 0) & np.isfinite(array)):
        raise BadArgument(
            "spread",
            expected=(
                "a finite number above 0, the largest minus the smallest possible gain, or one for each objective"
            ),
            got=f"{spread!r}",
        )
    if tally is not None and _checks.concrete(*tally):
        if array.ndim and array.shape != tally.gains.shape[1:]:
            raise BadArgument("spread", expected="one number for each objective", got=f"shape {array.shape}")
        least, greatest = np.asarray(tally.gains, float)
        slack = np.asarray(_rounding(jnp.abs(tally.utilities).max(axis=0)))
        if np.any(greatest - least > array + 2 * slack):
            raise BadArgument(
                "spread",
                expected="at least the largest minus the smallest gain",
                got=f"{array.tolist()}, and gains from {least.tolist()} to {greatest.tolist()} were seen",
            )
    return array


def interval_ends(values: Array, reaches: Array) -> Array:
    """The low and the high ends of intervals that lie `reaches` away from the values."""
    return jnp.stack([values - reaches[0], values + reaches[1]])


def error_intervals(values: Array, errors: Array, freedom: Array | None = None) -> Array:
    """Values ± Student's quantile times their standard errors; without degrees of freedom, the normal quantile."""
    factor = _normal_factor(TAIL) if freedom is None else student_factor(freedom, TAIL)
    return interval_ends(values, jnp.stack([factor * errors] * 2))


def reachable(groups: np.ndarray) -> int:
    """The number of coalitions that can be formed by adding players one by one in an order that respects the groups."""
    sizes = np.bincount(groups).tolist()
    return sum(2**size for size in sizes) - len(sizes) + 1


def reachable_with_unions(unions: np.ndarray) -> int:
    """The number of coalitions that can be formed in an order in which every union of each level stands together."""
    if len(unions) == 0 or unions.shape[1] == 1:
        return 2 ** unions.shape[1]
    inside = [reachable_with_unions(unions[1:, unions[0] == union]) for union in np.unique(unions[0])]
    # Some unions are whole, and at most one is neither empty nor whole.
    return 2 ** len(inside) + sum(2 ** (len(inside) - 1) * (coalitions - 2) for coalitions in inside)


def student_factor(freedom: Array, tail: float) -> Array:
    """The quantile that Student's t exceeds with probability `tail`."""
    # The table holds small degrees of freedom; for larger ones Cornish and Fisher's series is accurate.
    z = _normal_factor(tail)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    large = jnp.maximum(freedom, TABLE).astype(float)
    series = z + (terms[0] + (terms[1] + terms[2] / large) / large) / large
    small = jnp.asarray(_student_table(tail), float)[jnp.clip(freedom - 1, 0, TABLE - 1)]
    return jnp.where(freedom <= TABLE, small, series)


def binomial_lower_ends(draws: Array, tail: float) -> Float[Array, "events"]:
    """Clopper and Pearson's lower ends for 0, ..., 10 events: p with P(Binomial(draws, p) ≥ events) = tail."""
    # Bisection on P(Binomial(draws, p) < events), a sum of at most ten terms, each computed from the term before. In
    # float32 this is more exact for many draws than the incomplete beta function.
    events = jnp.arange(FEW + 1)
    draws = jnp.maximum(draws, 1).astype(float)

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        term = jnp.exp(draws * jnp.log1p(-middle))
        fewer = jnp.zeros_like(middle)
        for j in range(FEW):
            fewer = jnp.where(j < events, fewer + term, fewer)
            term = term * jnp.maximum(draws - j, 0) / (j + 1) * middle / (1 - middle)
        too_high = 1 - fewer > tail
        return jnp.where(too_high, low, middle), jnp.where(too_high, middle, high)

    nothing = jnp.zeros(FEW + 1)
    most = jnp.full(FEW + 1, 1 - 1e-6)
    low, _ = jax.lax.fori_loop(0, HALVINGS, halve, (nothing, most))
    return jnp.where(events == 0, 0, low)


def _score_ends(share: Array, count: Array, tail: float) -> tuple[Array, Array]:
    """Clopper and Pearson's lower end, interpolated between whole numbers of events, and Wilson's upper end."""
    z = _normal_factor(tail)
    draws = jnp.maximum(count, 1).astype(float)
    share = jnp.clip(share, 0, 1)
    low = jnp.interp(share * draws, jnp.arange(FEW + 1, dtype=float), binomial_lower_ends(count, tail))
    root = jnp.sqrt(share * (1 - share) / draws + (z / (2 * draws)) ** 2)
    high = (share + z**2 / (2 * draws) + z * root) / (1 + z**2 / draws)
    return jnp.minimum(low, share), jnp.maximum(high, share)


def _extremes(before: Array, more: Array) -> Array:
    return jnp.stack([jnp.minimum(before[0], more.min(axis=0)), jnp.maximum(before[1], more.max(axis=0))])


def _rounding(largest: Array) -> Array:
    """The rounding error of differences of utilities of this size."""
    return ROUNDING * jnp.finfo(largest.dtype).eps * largest


def _like(numbers: Array, array: Array) -> Array:
    """Numbers, one for each objective, reshaped to as many axes as the array has."""
    return numbers.reshape(*(1,) * (array.ndim - numbers.ndim), *numbers.shape)


def _divide(parts: Array, whole: Array) -> Array:
    return jnp.where(whole > 0, parts / jnp.where(whole > 0, whole, 1), 0)


@functools.cache
def _normal_factor(tail: float) -> float:
    from scipy.special import ndtri

    return float(-ndtri(tail))


@functools.cache
def _student_table(tail: float) -> np.ndarray:
    from scipy.special import stdtrit

    return -stdtrit(np.arange(1, TABLE + 1), tail)
