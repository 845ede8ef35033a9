"""Sample until the values are as precise as asked: intervals that stay valid although they are checked repeatedly.

The stopping rule is evaluated at looks, after m, 2m, 4m, ... draws. The standardised estimates at the looks are an
autoregressive process with corr(Z_k, Z_{k+1}) = √(1/2). The factor c with P(max_k |Z_k| ≤ c) = level is therefore a
small numerical integral, exact in the limit of the central limit theorem. At each look, Student's t with the number of
draws replaces the normal distribution. For players with few nonzero gains the score intervals of `sample_shapley` are
used, with c as their quantile. The level then holds for any rule that stops at a look (repeated intervals of Jennison
and Turnbull). The number of draws doubles from look to look, because few looks widen the intervals little.

With at most 8 looks and 64 draws at the first look, the half-width is at most 1.40 times that of a central-limit
interval with the same number of draws for a level of 0.95, 1.49 times for 0.9 and 1.29 times for 0.99.

Arguments that a function does not list are described in `jaxval.values`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxval import _checks
from jaxval.coalitions.evaluation import as_evaluation, compiled
from jaxval.types import BadArgument, Estimate, Groups, Utility
from jaxval.values._intervals import TAIL, check_spread, constant_draws, gain_reaches, interval_ends, reachable
from jaxval.values._neighbours import check_groups
from jaxval.values.estimators import (
    check_finite,
    count_distinct,
    run,
    unknown_unless,
)
from jaxval.values.permutations import PermutationState, exact_cases, known_values, permutation_estimator

__all__ = ["StoppingDiagnostics", "anytime_factors", "required_permutations", "sample_until", "sample_until_solve"]

FIRST_LOOK = 64  # draws at the first look, at least, unless `most` allows fewer
MOST_LOOKS = 8
NODES = 64  # of the quadrature


class StoppingDiagnostics(NamedTuple):
    """Whether sampling reached the half-width asked for, and after how many permutations.

    Attributes:
        converged: whether every half-width is as small as asked.
        half_widths: (players, *objectives) half-widths: each true value lies within `values` ± this at the level asked
            for.
        permutations: the number of permutations drawn.
        checks: how many times the stopping rule was evaluated.
    """

    converged: Bool[Array, ""]
    half_widths: Float[Array, "players *objectives"]
    permutations: Int[Array, ""]
    checks: Int[Array, ""]


def required_permutations(players: int, *, epsilon: float, delta: float, spread: float) -> int:
    """The number of independent permutations with P(max_z |φ̂_z - φ_z| ≤ ε) ≥ 1 - δ: m* = ⌈r² / (2ε²) log(2n / δ)⌉.

    The number counts independent draws, which are pairs with antithetic sampling. The bound is Hoeffding's and holds
    for any game. A stopping rule (`sample_until`) needs far fewer draws if the marginals vary less than they could.

    Source: Zheng et al., Definition 5.1 and below.

    Args:
        players: the number n of players.
        epsilon: the largest error ε allowed, above 0.
        delta: the probability δ of a larger error, in (0, 1).
        spread: r, the largest minus the smallest possible marginal, above 0. It is 1 for an accuracy that no player
            lowers. It is 2 for an accuracy that a player can also lower, whose marginals lie between -1 and 1.

    Returns:
        m*, at least 1.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> required_permutations(100, epsilon=0.05, delta=0.05, spread=1.0)
        1659
    """
    players = _checks.check_size("players", players)
    for name, value in (("epsilon", epsilon), ("spread", spread)):
        _checks.check_finite(name, value, "a finite number above 0", above=True)
    _checks.check_share("delta", delta, "a probability in (0, 1)")
    return max(1, math.ceil(spread**2 / (2 * epsilon**2) * math.log(2 * players / delta)))


def anytime_factors(draws: list[int] | tuple[int, ...], *, level: float) -> list[float]:
    """Factors on the standard errors with which the intervals of all looks hold together with probability `level`.

    c solves P(|Z_1| ≤ c, ..., |Z_K| ≤ c) = level for standard normal Z with corr(Z_j, Z_k) = √(m_j / m_k). The factor
    at a look of m draws is the quantile of Student's t_{m-1} with the tail probability of c.

    Source: Jennison and Turnbull (1989); the recursion is Armitage, McPherson and Rowe's (1969).

    Args:
        draws: the numbers of independent draws at the looks, m_1 < m_2 < ...
        level: the probability that all intervals hold, in (0, 1).

    Returns:
        One factor for each look.

    Raises:
        ValueError: if the draws do not increase, the first is below 2, or the level lies outside (0, 1).

    Example:
        >>> [round(factor, 2) for factor in anytime_factors([1000], level=0.95)]
        [1.96]
        >>> [round(factor, 2) for factor in anytime_factors([1000, 2000, 4000], level=0.95)]
        [2.32, 2.31, 2.31]
    """
    from scipy.special import stdtrit

    tail = _anytime_tail(draws, level)
    return [float(-stdtrit(count - 1, tail)) for count in np.asarray(draws)]


def _anytime_tail(draws: Sequence[int], level: float) -> float:
    """P(Z > c) for the factor c of `anytime_factors`."""
    from scipy.optimize import brentq
    from scipy.special import ndtr, ndtri

    counts = np.asarray(_checks.real_array("draws", draws, "increasing numbers of draws"))
    if counts.ndim != 1 or not counts.size or counts[0] < 2 or np.any(np.diff(counts) <= 0):
        raise BadArgument("draws", expected="increasing numbers of draws, the first at least 2", got=f"{draws!r:.80}")
    _checks.check_share("level", level, "a probability in (0, 1)")
    nodes, weights = np.polynomial.legendre.leggauss(NODES)

    def normal_density(x: np.ndarray, mean: np.ndarray | float, deviation: float) -> np.ndarray:
        return np.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))

    def coverage(c: float) -> float:
        density = normal_density(c * nodes, 0.0, 1.0)
        for correlation in np.sqrt(counts[:-1] / counts[1:]):
            before = correlation * c * nodes[None, :]
            moved = normal_density(c * nodes[:, None], before, float(np.sqrt(1 - correlation**2)))
            density = moved @ (c * weights * density)
        return float(c * weights @ density)

    most = -ndtri((1 - level) / (2 * len(counts))) + 1e-6
    return float(ndtr(-brentq(lambda c: coverage(c) - level, 1e-6, most)))


def sample_until(
    key: Key[Array, ""],
    utility: Utility,
    players: int,
    *,
    half_width: float,
    most: int,
    level: float = 0.95,
    groups: Groups | None = None,
    antithetic: bool = True,
    spread: float | Sequence[float] | None = None,
    batch_size: int = 1024,
) -> Estimate:
    """Shapley values, or asymmetric ones if `groups` is given, sampled until each is known to ± `half_width`.

    `sample_until_solve` describes the intervals and also returns diagnostics.

    Args:
        half_width: the half-width of the interval of every value, above 0.
        most: the largest number of permutations.
        level: the probability with which the interval of a value holds it.

    Returns:
        An `Estimate`.

    Raises:
        ValueError: in the cases of `sample_shapley`, or if the half-width is not above 0 or the level not in (0, 1).
        RuntimeError: if `most` permutations were not enough.

    Example:
        >>> from jaxval.coalitions import games
        >>> game = games.airport([1.0, 2.0, 4.0])
        >>> estimate = sample_until(jax.random.key(0), game.utility, 3, half_width=0.2, most=10_000)
        >>> bool(abs(estimate.values - game.shapley).max() < 0.2)
        True
    """
    estimate, diagnostics = sample_until_solve(
        key,
        utility,
        players,
        half_width=half_width,
        most=most,
        level=level,
        groups=groups,
        antithetic=antithetic,
        spread=spread,
        batch_size=batch_size,
    )
    if _checks.concrete(diagnostics.converged):
        if not diagnostics.converged:
            widest = float(jnp.max(diagnostics.half_widths))
            raise RuntimeError(
                f"after {int(diagnostics.permutations)} permutations the widest interval is ± {widest:.3g}, not "
                f"{half_width:g}; allow more than most={most}, or call sample_until_solve, which returns the estimate"
            )
        return estimate
    return unknown_unless(diagnostics.converged, estimate)


def sample_until_solve(
    key: Key[Array, ""],
    utility: Utility,
    players: int,
    *,
    half_width: float,
    most: int,
    level: float = 0.95,
    groups: Groups | None = None,
    antithetic: bool = True,
    spread: float | Sequence[float] | None = None,
    batch_size: int = 1024,
) -> tuple[Estimate, StoppingDiagnostics]:
    """`sample_until` with diagnostics; it returns the estimate even if `most` permutations were not enough.

    With probability `level`, the intervals of one value contain it at every look up to the last. For all players at
    once (Definition 5.1 of Zheng et al.) pass `level=1 - delta / players`.

    A player whose gains were zero in all but a few draws does not make sampling stop early: its half-width is the
    longer side of the interval of `sample_shapley`, scaled by the range of gains. For all other players, the mean of
    the draws at the first look must be nearly normal. The first look is after 64 to 128 draws, unless `most` allows
    fewer. A gain may be the same nonzero number in all but fewer than about one in 100 permutations. The first look may
    then have seen only this number, and the interval is too narrow. To avoid this, choose a smaller `half_width`, or
    draw `required_permutations`, whose bound holds for any game.

    The intervals in the estimate hold with probability 95 % at all looks together, whatever `level` is.

    Returns:
        An `Estimate`, and `StoppingDiagnostics`.

    Raises:
        ValueError: in the cases of `sample_shapley`, or if the half-width is not above 0 or the level not in (0, 1).

    Example:
        >>> from jaxval.coalitions import games
        >>> game = games.airport([1.0, 2.0, 4.0])
        >>> _, diagnostics = sample_until_solve(jax.random.key(0), game.utility, 3, half_width=1e-9, most=256)
        >>> bool(diagnostics.converged), int(diagnostics.permutations)
        (False, 256)
    """
    half_width = _checks.check_finite("half_width", half_width, "a finite number above 0", above=True)
    batch_size = _checks.check_size("batch_size", batch_size)
    players = _checks.check_size("players", players)
    together = 2 if _checks.check_flag("antithetic", antithetic) else 1
    looks, per_ask = look_schedule(_checks.check_size("most", most) // together, batch_size // (together * players))
    tail = _anytime_tail(looks, level)
    ends = np.asarray(looks)
    possible, group_of = check_spread(spread), check_groups(groups, players)
    estimator = permutation_estimator(
        players,
        permutations=looks[-1] * together,
        groups=groups,
        antithetic=antithetic,
        per_ask=per_ask * together,
        spread=spread,
    )
    whole = reachable(group_of)

    def reaches(state: PermutationState, tail: float) -> Array:
        evaluations = jnp.asarray(0)
        drawn = state.drawn
        if whole <= np.prod(drawn.seen.shape[:2]):  # otherwise not all coalitions can be seen, and none are counted
            evaluations = jax.lax.cond(
                jnp.any(constant_draws(drawn.tally)),
                lambda: count_distinct(drawn.seen, -(-drawn.moments.draws // per_ask)),
                lambda: evaluations,
            )
        known = known_values(drawn.tally, *exact_cases(evaluations, group_of, together))
        return gain_reaches(drawn.moments, drawn.tally, known=known, spread=possible, tail=tail)

    def widths(state: PermutationState) -> Array:
        return reaches(state, tail).max(axis=0)

    def finished(state: PermutationState) -> Array:
        draws = state.drawn.moments.draws
        narrow = jax.lax.cond(
            jnp.any(draws == ends), lambda: jnp.all(widths(state) <= half_width), lambda: jnp.asarray(False)
        )
        return narrow | (draws >= ends[-1])

    identity = (estimator.identity, "until", half_width, level, tuple(looks))
    estimator = estimator._replace(finished=finished, identity=identity)
    state = run(key, estimator, as_evaluation(utility, players, batch_size=batch_size))
    estimate = estimator.estimate(state)

    def summary(state: PermutationState, values: Array) -> tuple[Array, StoppingDiagnostics]:
        draws, half_widths = state.drawn.moments.draws, widths(state)
        converged = jnp.all(half_widths <= half_width)
        diagnostics = StoppingDiagnostics(converged, half_widths, together * draws, jnp.sum(ends <= draws))
        return interval_ends(values, reaches(state, _anytime_tail(looks, 1 - 2 * TAIL))), diagnostics

    intervals, diagnostics = compiled(summary, (estimator.identity, "summary"))(state, estimate.values)
    return check_finite(dataclasses.replace(estimate, intervals=intervals)), diagnostics


def look_schedule(draws: int, per_ask: int) -> tuple[list[int], int]:
    """The draws at each look, doubling up to at most `draws`, and the draws in one ask, which divide them."""
    if draws < 2:
        raise BadArgument("most", expected="permutations for at least 2 independent draws", got=draws)
    doublings = min(MOST_LOOKS - 1, max(int(np.log2(draws / FIRST_LOOK)), 0)) if draws >= FIRST_LOOK else 0
    first = draws // 2**doublings
    per_ask = min(max(per_ask, 1), first)
    first -= first % per_ask
    return [first * 2**k for k in range(doublings + 1)], per_ask
