"""Truncated permutations: stop walking along a permutation once the full coalition's utility is nearly reached.

Where |v(N) - v(beginning)| < tolerance the marginals of all players still to come are taken to be 0 (truncated Monte
Carlo, Ghorbani and Zou). That saves evaluations and is biased: a permutation's values sum to v(N) - v(∅) up to the
tolerance only. The first permutations, the burn-in, are walked whole. Where v(∅) itself is that near to v(N), every
other permutation would end before its first player and say 0 of everybody: those are not counted.

Arguments that a function does not list are described in `jaxval.values`.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval import _checks
from jaxval.types import BadArgument, Estimate, Groups, Utility
from jaxval.values._intervals import TAIL, gain_reaches, reachable
from jaxval.values._neighbours import check_groups
from jaxval.values.estimators import Estimator, count_distinct, run_estimator
from jaxval.values.permutations import Drawn, add, check_permutations, draw_order, estimate_of, nothing_drawn

__all__ = ["TruncatedState", "sample_truncated", "truncated_estimator"]

BURN_IN = 10


class TruncatedState(NamedTuple):
    """Several walks at once; walk c takes permutations c, c + walks, c + 2 walks, ...

    Attributes:
        key: the random key.
        number: (walks,) the permutation each walks along; from `permutations` on it is done.
        order: (walks, players) that permutation.
        step: (walks,) how many of its players are in.
        reached: (walks, *objectives) the utility of those.
        marginals: (walks, players, *objectives) of those; 0 for the others.
        drawn: what the permutations that are finished have told.
        asked: how often `ask` was answered.
    """

    key: Key[Array, ""]
    number: Int[Array, "walks"]
    order: Int[Array, "walks players"]
    step: Int[Array, "walks"]
    reached: Float[Array, "walks *objectives"]
    marginals: Float[Array, "walks players *objectives"]
    drawn: Drawn
    asked: Int[Array, ""]


def sample_truncated(
    key: Key[Array, ""],
    utility: Utility,
    players: int,
    *,
    permutations: int,
    tolerance: float,
    burn_in: int = BURN_IN,
    groups: Groups | None = None,
    walks: int = 64,
) -> Estimate:
    """Shapley values, or asymmetric ones, from permutations that stop where |v(N) - v(beginning)| < tolerance.

    Where |v(N) - v(∅)| < tolerance no permutation after the burn-in would set out. The values then rest on the burn-in
    alone, and a `UserWarning` says so; inside `jit` there is none.

    Source: Ghorbani and Zou (2019), Algorithm 1.

    Args:
        utility: from a mask (players,) to a scalar or a vector of objectives (all within the tolerance, to stop).
        permutations: how many in all.
        tolerance: in units of the utility; at 0 nothing is truncated.
        burn_in: how many permutations are walked whole first, 2 at least; those beyond `permutations` do not count.
        walks: how many permutations are walked along at a time.

    Returns:
        An `Estimate`; neither its standard errors nor its intervals, made as in `sample_shapley`, hold the truncation's
        bias.

    Raises:
        ValueError: if the permutations are too few for a standard error, the tolerance is negative, the burn-in
            is below 2, the groups are wrong, or the utility returns anything but finite numbers.

    Example:
        >>> estimate = sample_truncated(
        ...     jax.random.key(0), lambda coalition: coalition.any(), 20, permutations=200, tolerance=0.5
        ... )
        >>> round(float(estimate.values.sum()), 4), int(estimate.evaluations) < 250  # not 200 x 20
        (1.0, True)
    """
    players = _checks.check_size("players", players)
    estimator = truncated_estimator(
        players, permutations=permutations, tolerance=tolerance, burn_in=burn_in, groups=groups, walks=walks
    )
    return run_estimator(key, estimator, utility, players, batch_size=_checks.check_size("walks", walks) + 2)


def truncated_estimator(
    players: int,
    *,
    permutations: int,
    tolerance: float,
    burn_in: int = BURN_IN,
    groups: Groups | None = None,
    walks: int = 64,
) -> Estimator:
    """Truncated permutations as `init, ask, tell, estimate`; adaptive.

    One ask holds the empty and the full coalition, then the next beginning of each walk; a walk that is done repeats
    the full coalition, and so do all in the first ask, before which nobody can say whether to set out.

    Args:
        permutations: how many in all.
        tolerance: in units of the utility.
        burn_in: how many permutations are walked whole first.
        walks: how many permutations are walked along at a time.

    Returns:
        An `Estimator`; `asks` is how often it may be asked at most.

    Raises:
        ValueError: if the permutations are too few for a standard error, the tolerance is negative or NaN, the
            burn-in is below 2, or the groups are wrong.

    Example:
        >>> estimator = truncated_estimator(3, permutations=2, tolerance=0.0)
        >>> state = estimator.init(jax.random.key(0))
        >>> while not estimator.finished(state):
        ...     coalitions = estimator.ask(state)
        ...     state = estimator.tell(state, coalitions, coalitions.sum(axis=1))
        >>> estimator.estimate(state).values.tolist()
        [1.0, 1.0, 1.0]
    """
    players = _checks.check_size("players", players)
    permutations = check_permutations(permutations, 1)
    walks = min(_checks.check_size("walks", walks), permutations)
    if not 0 <= tolerance < float("inf"):
        raise BadArgument("tolerance", expected="a finite number of at least 0", got=f"{tolerance!r}")
    burn_in = _checks.check_size("burn_in", burn_in)
    if burn_in < 2:
        raise BadArgument("burn_in", expected="at least 2 permutations, for a standard error", got=burn_in)
    group_of = check_groups(groups, players)
    asks = 1 + -(-permutations // walks) * max(players - 1, 1)
    rows = np.arange(walks)

    def orders(key: Array, number: Array) -> Array:
        return jax.vmap(lambda k: draw_order(jax.random.fold_in(key, k), group_of))(number)

    def init(key: Array, objectives: tuple[int, ...] = ()) -> TruncatedState:
        number = jnp.arange(walks)
        return TruncatedState(
            key,
            number,
            orders(key, number),
            jnp.zeros(walks, int),
            jnp.zeros((walks, *objectives)),
            jnp.zeros((walks, players, *objectives)),
            nothing_drawn(players, objectives, asks, walks + 2),
            jnp.asarray(0),
        )

    def ask(state: TruncatedState) -> Array:
        places = jnp.argsort(state.order, axis=1)
        resting = (state.number >= permutations) | (state.asked == 0)
        ends = jnp.array([[False], [True]]).repeat(players, axis=1)
        return jnp.concatenate([ends, (places <= state.step[:, None]) | resting[:, None]])

    def tell(state: TruncatedState, coalitions: Array, utilities: Array) -> TruncatedState:
        utilities = utilities.astype(state.reached.dtype)
        empty, full, reached = utilities[0][None], utilities[1][None], utilities[2:]
        in_vain = _all_within(full - empty, tolerance)[0]  # walks after the burn-in end before their first step
        walking = (state.number < permutations) & (state.asked > 0)
        before = jnp.where(_like(state.step == 0, reached), empty, state.reached)
        player = state.order[rows, state.step]
        marginals = state.marginals.at[rows, player].add(jnp.where(_like(walking, reached), reached - before, 0))
        step = jnp.where(walking, state.step + 1, state.step)
        near = _all_within(full - reached, tolerance) & (state.number >= burn_in)
        last = walking & ~near & (step == players - 1)  # only the full coalition is left, and known
        marginals = marginals.at[rows, state.order[:, -1]].add(jnp.where(_like(last, reached), full - reached, 0))
        ended = walking & (near | (step >= players - 1))
        number = jnp.where(ended, state.number + walks, state.number)
        number = jnp.where(in_vain & (number >= burn_in), jnp.maximum(number, permutations), number)
        return TruncatedState(
            state.key,
            number,
            jnp.where(ended[:, None], orders(state.key, number), state.order),
            jnp.where(ended, 0, step),
            reached,
            jnp.where(_like(ended, marginals), 0, marginals),
            add(state.drawn, marginals[:, None], ended, coalitions, utilities, state.asked),
            state.asked + 1,
        )

    def estimate(state: TruncatedState) -> Estimate:
        drawn = state.drawn
        evaluations = count_distinct(drawn.seen, state.asked)
        if _checks.concrete(state.number, drawn.moments.draws):
            _warn_of_vain_walks(state, permutations, tolerance)
        null = (drawn.tally.departures[0] == 0) & (tolerance == 0)  # what was truncated is not known to be zero
        known = null & (evaluations >= min(reachable(group_of), 2**31 - 1))
        reaches = gain_reaches(drawn.moments, drawn.tally, known=known, spread=None, tail=TAIL)
        return estimate_of(drawn, evaluations, reaches, None)

    def finished(state: TruncatedState) -> Array:
        return ~jnp.any(state.number < permutations)

    identity = ("truncated", permutations, tolerance, burn_in, walks, tuple(group_of.tolist()))
    return Estimator(init, ask, tell, estimate, finished, asks, identity)


def _warn_of_vain_walks(state: TruncatedState, permutations: int, tolerance: float) -> None:
    """Warn where only the burn-in was walked along."""
    walked = int(state.drawn.moments.draws)
    if walked < permutations and int(state.number.min()) >= permutations:
        warnings.warn(
            f"tolerance: the utilities of the empty and of the full coalition differ by less than {tolerance:g}, so "
            f"that {permutations - walked} of {permutations} permutations ended before their first player; the values "
            f"rest on the {walked} of the burn-in; choose a smaller tolerance or a larger burn_in",
            UserWarning,
            stacklevel=4,
        )


def _like(flags: Array, array: Array) -> Array:
    """One flag a walk, with as many axes as the array has."""
    return flags.reshape(-1, *(1,) * (array.ndim - 1))


def _all_within(differences: Array, tolerance: float) -> Array:
    """Whether all objectives of a walk are nearer than the tolerance."""
    return jnp.all(jnp.abs(differences).reshape(len(differences), -1) < tolerance, axis=1)
