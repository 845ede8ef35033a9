"""Banzhaf values by maximum sample reuse: every coalition evaluated is used for every player.

Coalitions S are drawn uniformly, and φ̂_i = mean of v(S) over S with i - mean of v(S) over S without i (Wang and Jia,
2023).

Arguments that a function does not list are described in `jaxval.values`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, UInt32

from jaxval import _checks
from jaxval.coalitions.evaluation import as_evaluation, compiled
from jaxval.types import BadArgument, Estimate, Utility
from jaxval.values._intervals import error_intervals
from jaxval.values.estimators import (
    Estimator,
    Moments,
    check_finite,
    coalition_codes,
    count_distinct,
    merge,
    no_draws,
    run,
    standard_errors,
)

__all__ = ["SampleReuseState", "sample_banzhaf", "sample_reuse_estimator"]


class SampleReuseState(NamedTuple):
    """The state of the estimator.

    Attributes:
        key: the random key; coalition k depends only on the key and on k.
        drawn: the number of coalitions whose utilities are known.
        moments: moments (2, players, *objectives) of the utilities without and with each player; counts (2, players).
        seen: (asks, rows, 2) codes of the coalitions evaluated.
    """

    key: Key[Array, ""]
    drawn: Int[Array, ""]
    moments: Moments
    seen: UInt32[Array, "asks rows 2"]


def sample_banzhaf(
    key: Key[Array, ""], utility: Utility, players: int, *, coalitions: int, batch_size: int = 1024
) -> Estimate:
    """Banzhaf values from uniformly drawn coalitions, each of which is used for every player.

    The intervals are Student's t with the degrees of freedom of the smaller of a player's two samples. They are NaN if
    all utilities seen are equal but not all coalitions were seen: the sample then says nothing about the error.

    Source: Wang and Jia (2023), section 4.2.

    Args:
        coalitions: the number of coalitions drawn.

    Returns:
        An `Estimate`; `evaluations` counts distinct coalitions. The empty and the full coalition are evaluated only if
        they are drawn.

    Raises:
        ValueError: if fewer than two of the coalitions drawn contain some player, or fewer than two do not contain it,
            or if the utility returns anything but finite numbers.

    Example:
        >>> estimate = sample_banzhaf(jax.random.key(0), lambda coalition: coalition.any(), 3, coalitions=1000)
        >>> bool(abs(estimate.values - 0.25).max() < 0.1), int(estimate.evaluations)
        (True, 8)
    """
    players = _checks.check_size("players", players)
    batch_size = _checks.check_size("batch_size", batch_size)
    estimator = sample_reuse_estimator(players, coalitions=coalitions, per_ask=batch_size)
    state = run(key, estimator, as_evaluation(utility, players, batch_size=batch_size))
    if _checks.concrete(state.moments.draws) and int(state.moments.draws.min()) < 2:
        raise BadArgument(
            "coalitions",
            expected="enough coalitions that each player is in at least two, and outside at least two",
            got=f"{coalitions} for {players} players",
        )
    return check_finite(estimator.estimate(state))


def sample_reuse_estimator(players: int, *, coalitions: int, per_ask: int | None = None) -> Estimator:
    """The estimator `init, ask, tell, estimate` of Banzhaf values by maximum sample reuse.

    Args:
        coalitions: the number of coalitions drawn in all.
        per_ask: the number of coalitions in one ask; None means all of them. The last ask is padded with copies of
            the last coalition, which do not count.

    Returns:
        An `Estimator`.

    Raises:
        ValueError: if `players`, `coalitions` or `per_ask` is below 1.

    Example:
        >>> estimator = sample_reuse_estimator(2, coalitions=64)
        >>> state = estimator.init(jax.random.key(0))
        >>> drawn = estimator.ask(state)
        >>> estimate = estimator.estimate(estimator.tell(state, drawn, drawn[:, 0] * 1.0))
        >>> round(float(estimate.values[0]), 4)
        1.0
    """
    players = _checks.check_size("players", players)
    coalitions = _checks.check_size("coalitions", coalitions)
    per_ask = coalitions if per_ask is None else min(_checks.check_size("per_ask", per_ask), coalitions)
    asks = -(-coalitions // per_ask)
    _checks.check_memory("coalitions", asks, per_ask, 2)
    _checks.check_memory("players", per_ask, players, itemsize=1)

    def init(key: Array, objectives: tuple[int, ...] = ()) -> SampleReuseState:
        moments = no_draws((2, players, *objectives), (2, players))
        return SampleReuseState(key, jnp.asarray(0), moments, jnp.zeros((asks, per_ask, 2), jnp.uint32))

    def ask(state: SampleReuseState) -> Array:
        draw = jnp.minimum(state.drawn + jnp.arange(per_ask), coalitions - 1)
        return jax.vmap(lambda k: jax.random.bernoulli(jax.random.fold_in(state.key, k), shape=(players,)))(draw)

    def tell(state: SampleReuseState, drawn: Array, utilities: Array) -> SampleReuseState:
        valid = state.drawn + jnp.arange(per_ask) < coalitions
        return SampleReuseState(
            state.key,
            state.drawn + jnp.sum(valid),
            merge(state.moments, _by_membership(drawn, utilities.astype(state.moments.mean.dtype), valid)),
            jax.lax.dynamic_update_index_in_dim(state.seen, coalition_codes(drawn), state.drawn // per_ask, 0),
        )

    def estimate(state: SampleReuseState) -> Estimate:
        evaluations = count_distinct(state.seen, -(-state.drawn // per_ask))
        return _estimate(state.moments, evaluations, evaluations < min(2**players, 2**31 - 1))

    def finished(state: SampleReuseState) -> Array:
        return state.drawn >= coalitions

    identity = ("reuse", players, coalitions, per_ask)
    ask, tell = (compiled(part, (identity, part.__name__)) for part in (ask, tell))  # for loops by hand
    return Estimator(init, ask, tell, estimate, finished, asks, identity)


@jax.jit
def _estimate(moments: Moments, evaluations: Array, unseen: Array) -> Estimate:
    """The differences of the means with and without each player; `unseen` tells whether coalitions are left."""
    errors = standard_errors(moments)
    drawn = moments.draws.reshape(*moments.draws.shape, *(1,) * (errors.ndim - 2)) > 0
    means = jnp.where(drawn, moments.mean, jnp.nan)
    values, error = means[1] - means[0], jnp.sqrt(errors[0] ** 2 + errors[1] ** 2)
    fewest = moments.draws.min(axis=0).reshape(-1, *(1,) * (values.ndim - 1))
    intervals = error_intervals(values, error, fewest - 1)
    silent = (values == 0) & (error == 0) & unseen  # all utilities seen are equal
    return Estimate(values, error, evaluations, jnp.where(silent[None], jnp.nan, intervals))


def _by_membership(coalitions: Array, utilities: Array, valid: Array) -> Moments:
    """Moments of the utilities of the coalitions without and with each player."""
    members = jnp.stack([~coalitions, coalitions]) & valid[None, :, None]
    count = jnp.sum(members, axis=1)
    # Utilities are centred first: a sum of squares minus a squared sum would lose the digits of large utilities.
    centre = jnp.mean(utilities, axis=0)
    flat = (utilities - centre[None]).reshape(len(utilities), -1)
    weights = members.astype(flat.dtype)
    exact = jax.lax.Precision.HIGHEST
    totals = jnp.einsum("mrp,ro->mpo", weights, flat, precision=exact)
    squares = jnp.einsum("mrp,ro->mpo", weights, flat**2, precision=exact)
    means = totals / jnp.maximum(count, 1)[..., None]
    deviations = jnp.maximum(squares - totals * means, 0)
    shape = (*count.shape, *utilities.shape[1:])
    return Moments(count, means.reshape(shape) + centre[None, None], deviations.reshape(shape))
