"""Truncated permutations: stop walking along a permutation once the utility of the full coalition is nearly reached.

If |v(N) - v(prefix)| < tolerance, the marginals of all later players are taken to be 0 (truncated Monte Carlo, Ghorbani
and Zou). This saves evaluations and is biased: the marginals of a permutation sum to v(N) - v(∅) only up to the
tolerance. The first permutations, the burn-in, are not truncated. If v(∅) itself is within the tolerance of v(N), every
later permutation would end before its first player, with marginals of 0 for all: such permutations are not counted.

Arguments that a function does not list are described in `jaxval.values`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval import _checks
from jaxval.coalitions.evaluation import as_evaluation, compiled
from jaxval.coalitions.evaluator import Evaluator, Walk
from jaxval.types import BadArgument, Estimate, Groups, Utility
from jaxval.values._intervals import reachable
from jaxval.values._neighbours import check_groups
from jaxval.values._orders import check_permutations, draw_order
from jaxval.values.estimators import Estimator, count_distinct, run_estimator
from jaxval.values.permutations import Drawn, add, estimate_of, nothing_drawn

__all__ = ["TruncatedState", "sample_truncated_shapley", "truncated_shapley_estimator"]

BURN_IN = 10  # permutations


class TruncatedState(NamedTuple):
    """The state of several walks along permutations. Walk c takes permutations c, c + walks, c + 2 walks, ...

    Attributes:
        key: the random key.
        number: (walks,) the number of the permutation of each walk. A walk is done if this is `permutations` or more.
        order: (walks, players) the permutation of each walk.
        step: (walks,) the number of players that each walk has passed.
        reached: (walks, *objectives) the utility of these players.
        marginals: (walks, players, *objectives) the marginals of these players; 0 for the others.
        drawn: the statistics of the finished permutations.
        asked: the number of asks that were answered.
    """

    key: Key[Array, ""]
    number: Int[Array, "walks"]
    order: Int[Array, "walks players"]
    step: Int[Array, "walks"]
    reached: Float[Array, "walks *objectives"]
    marginals: Float[Array, "walks players *objectives"]
    drawn: Drawn
    asked: Int[Array, ""]


def sample_truncated_shapley(
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
    """Shapley values, or asymmetric ones if `groups` is given, from truncated permutations.

    A permutation stops once |v(N) - v(prefix)| < tolerance. The marginals of the players after the prefix count as 0.

    If |v(N) - v(∅)| < tolerance, every permutation after the burn-in would stop before its first player. The values
    then rest on the burn-in alone, and a `UserWarning` says so. There is no warning inside `jit`.

    Source: Ghorbani and Zou (2019), Algorithm 1.

    Args:
        utility: a function from a mask (players,) to a scalar or a vector of objectives. A permutation stops only if
            all objectives are within the tolerance.
        permutations: the number of permutations.
        tolerance: the tolerance in units of the utility; with 0 no permutation is truncated.
        burn_in: the number of first permutations that are not truncated, at least 2. If it exceeds `permutations`, no
            permutation is truncated.
        walks: the number of permutations that are walked along at a time.

    Returns:
        An `Estimate`. Its standard errors and its intervals, which are computed as in `sample_shapley`, do not include
        the bias of the truncation.

    Raises:
        ValueError: if the permutations are too few for a standard error, the tolerance is negative, the burn-in
            is below 2, there is not one group for each player, a group number is left out, or the utility returns
            anything but finite numbers.

    Example:
        >>> estimate = sample_truncated_shapley(
        ...     jax.random.key(0), lambda coalition: coalition.any(), 20, permutations=200, tolerance=0.5
        ... )
        >>> round(float(estimate.values.sum()), 4), int(estimate.evaluations) < 250  # not 200 x 20
        (1.0, True)
    """
    players = _checks.check_size("players", players)
    estimator = truncated_shapley_estimator(
        players, permutations=permutations, tolerance=tolerance, burn_in=burn_in, groups=groups, walks=walks
    )
    _checks.check_key(key)
    batch_size = _checks.check_size("walks", walks) + 2
    evaluation = as_evaluation(utility, players, batch_size=batch_size)
    if isinstance(evaluation, Evaluator) and _checks.concrete(key):
        # On an executor no walk waits for another. The estimator then finds all utilities in the store.
        group_of = check_groups(groups, players)
        evaluation.walk_ahead(_walks(key, evaluation, group_of, permutations, tolerance, burn_in, walks))
    return run_estimator(key, estimator, utility, players, batch_size=batch_size)


def truncated_shapley_estimator(
    players: int,
    *,
    permutations: int,
    tolerance: float,
    burn_in: int = BURN_IN,
    groups: Groups | None = None,
    walks: int = 64,
) -> Estimator:
    """The adaptive estimator `init, ask, tell, estimate` of Shapley values from truncated permutations.

    One ask holds the empty and the full coalition, and then the next prefix of each walk. A walk that is done repeats
    the full coalition. In the first ask all walks repeat the full coalition, because it is not yet known whether v(∅)
    is within the tolerance of v(N).

    Args:
        permutations: the number of permutations.
        tolerance: the tolerance in units of the utility.
        burn_in: the number of first permutations that are not truncated.
        walks: the number of permutations that are walked along at a time.

    Returns:
        An `Estimator`; its `asks` is the largest number of asks.

    Raises:
        ValueError: if the permutations are too few for a standard error, the tolerance is negative or NaN, the
            burn-in is below 2, there is not one group for each player, or a group number is left out.

    Example:
        >>> estimator = truncated_shapley_estimator(3, permutations=2, tolerance=0.0)
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
    _checks.check_finite("tolerance", tolerance, "a finite number of at least 0")
    burn_in = _checks.check_size("burn_in", burn_in)
    if burn_in < 2:
        raise BadArgument("burn_in", expected="at least 2 permutations, for a standard error", got=burn_in)
    group_of = check_groups(groups, players)
    asks = 1 + -(-permutations // walks) * max(players - 1, 1)
    _checks.check_memory("permutations", asks, walks + 2, 2)
    _checks.check_memory("walks", walks, players)
    rows = np.arange(walks)

    def init(key: Array, objectives: tuple[int, ...] = ()) -> TruncatedState:
        number = jnp.arange(walks)
        return TruncatedState(
            key,
            number,
            _orders(key, number, group_of),
            jnp.zeros(walks, int),
            jnp.zeros((walks, *objectives)),
            jnp.zeros((walks, players, *objectives)),
            nothing_drawn(players, objectives, asks, walks + 2),
            jnp.asarray(0),
        )

    def ask(state: TruncatedState) -> Array:
        # The inverse of each permutation. On a CPU, sorting takes fifty times as long.
        ranks = jnp.zeros_like(state.order).at[rows[:, None], state.order].set(jnp.arange(players)[None, :])
        resting = (state.number >= permutations) | (state.asked == 0)
        ends = jnp.array([[False], [True]]).repeat(players, axis=1)
        return jnp.concatenate([ends, (ranks <= state.step[:, None]) | resting[:, None]])

    def tell(state: TruncatedState, coalitions: Array, utilities: Array) -> TruncatedState:
        utilities = utilities.astype(state.reached.dtype)
        empty, full, reached = utilities[0][None], utilities[1][None], utilities[2:]
        in_vain = _all_within(full - empty, tolerance)[0]  # walks after the burn-in would end before their first step
        walking = (state.number < permutations) & (state.asked > 0)
        before = jnp.where(_like(state.step == 0, reached), empty, state.reached)
        player = state.order[rows, state.step]
        marginals = state.marginals.at[rows, player].add(jnp.where(_like(walking, reached), reached - before, 0))
        step = jnp.where(walking, state.step + 1, state.step)
        near = (state.number >= burn_in) & _all_within(full - reached, tolerance)
        last = walking & ~near & (step == players - 1)  # the next prefix is the full coalition, whose utility is known
        marginals = marginals.at[rows, state.order[:, -1]].add(jnp.where(_like(last, reached), full - reached, 0))
        ended = walking & (near | (step >= players - 1))
        number = jnp.where(ended, state.number + walks, state.number)
        number = jnp.where(in_vain & (number >= burn_in), jnp.maximum(number, permutations), number)

        def drawn_anew() -> Array:
            return jnp.where(ended[:, None], _orders(state.key, number, group_of), state.order)

        return TruncatedState(
            state.key,
            number,
            jax.lax.cond(jnp.any(ended), drawn_anew, lambda: state.order),
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
        null = (drawn.tally.departures[0] == 0) & (tolerance == 0)  # a truncated gain is not known to be zero
        known = null & (evaluations >= min(reachable(group_of), 2**31 - 1))
        return estimate_of(drawn.moments, drawn.tally, evaluations, known, None)

    def finished(state: TruncatedState) -> Array:
        return ~jnp.any(state.number < permutations)

    identity = ("truncated", permutations, tolerance, burn_in, walks, tuple(group_of.tolist()))
    ask, tell = (compiled(part, (identity, part.__name__)) for part in (ask, tell))  # for loops by hand
    return Estimator(init, ask, tell, estimate, finished, asks, identity)


def _orders(key: Array, number: Array, group_of: np.ndarray) -> Array:
    """The permutations with these numbers: each depends on the key and on its number alone."""
    return jax.vmap(lambda k: draw_order(jax.random.fold_in(key, k), group_of))(number)


def _walks(
    key: Array,
    evaluation: Evaluator,
    group_of: np.ndarray,
    permutations: int,
    tolerance: float,
    burn_in: int,
    walks: int,
) -> Iterator[Walk]:
    """The walks of the estimator on their own: each yields its prefixes and is sent their utilities."""
    players = len(group_of)
    orders = np.asarray(_orders(key, jnp.arange(permutations), group_of))
    empty, full = np.asarray(evaluation.many(np.array([[False], [True]]).repeat(players, axis=1)))

    def walk(first: int) -> Walk:
        for number in range(first, permutations, walks):
            reached, prefix = empty, np.zeros(players, bool)
            for player in orders[number, :-1]:
                if number >= burn_in and _all_within((full - reached.astype(full.dtype))[None], tolerance)[0]:
                    break
                prefix[player] = True
                reached = yield prefix

    for first in range(min(walks, permutations)):
        yield walk(first)


def _warn_of_vain_walks(state: TruncatedState, permutations: int, tolerance: float) -> None:
    """Warn if only the permutations of the burn-in were walked along."""
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
    """Flags, one for each walk, reshaped to as many axes as the array has."""
    return flags.reshape(-1, *(1,) * (array.ndim - 1))


def _all_within(differences: Any, tolerance: float) -> Any:
    """Whether the differences of all objectives of each walk are below the tolerance; of JAX's or NumPy's arrays."""
    return (abs(differences) < tolerance).reshape(len(differences), -1).all(axis=1)
