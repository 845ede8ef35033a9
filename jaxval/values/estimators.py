"""The common parts of sampled values: estimators, running moments, and the count of distinct coalitions.

An estimator is four pure functions. Its state is a pytree: a run that was interrupted resumes from a saved state. `ask`
draws from the key in the state and does not change the state, so that a second call returns the same coalitions:

    state = estimator.init(key)
    coalitions = estimator.ask(state)                    # (rows, players) masks, the same shape every time
    state = estimator.tell(state, coalitions, utilities) # (rows, *objectives)
    estimate = estimator.estimate(state)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from jaxval import _checks
from jaxval.checkpoints import load_state, save_state
from jaxval.coalitions.evaluation import Evaluation, as_evaluation, compiled
from jaxval.parallel import progress as progress_bar
from jaxval.types import BadArgument, Estimate, Utility

__all__ = ["Estimator", "Moments", "run_estimator"]


class Estimator(NamedTuple):
    """An estimator as pure functions: `init`, `ask`, `tell` and `estimate`; `finished` says when to stop.

    Attributes:
        init: `init(key, objectives=())` gives the state, for utilities of shape `objectives`.
        ask: `ask(state)` gives the (rows, players) coalitions to evaluate next.
        tell: `tell(state, coalitions, utilities)` gives the state after these utilities.
        estimate: `estimate(state)` gives the `Estimate` so far. A value is NaN while no utility says anything about it.
        finished: `finished(state)` tells whether no coalitions are left to evaluate.
        asks: the number of asks of a fixed design; the largest number of asks of an adaptive one.
        identity: equal for two estimators that do the same, so that a program compiled for one serves the other. None
            means that this is unknown.
        traceable: whether JAX may trace the functions. If not, they are called with known states.
    """

    init: Callable[..., Any]
    ask: Callable[[Any], Bool[Array, "rows players"]]
    tell: Callable[[Any, Array, Array], Any]
    estimate: Callable[[Any], Estimate]
    finished: Callable[[Any], Bool[Array, ""]]
    asks: int
    identity: Hashable = None
    traceable: bool = True


class Moments(NamedTuple):
    """Running mean and variance of independent draws.

    Attributes:
        draws: the number of draws; one number, or one for each entry of the mean.
        mean: the mean of the draws so far.
        squares: Σ (x - mean)² over the draws so far.
    """

    draws: Int[Array, "..."]
    mean: Float[Array, "..."]
    squares: Float[Array, "..."]


def no_draws(shape: tuple[int, ...], count_shape: tuple[int, ...] = ()) -> Moments:
    """The moments before the first draw."""
    return Moments(jnp.zeros(count_shape, int), jnp.zeros(shape), jnp.zeros(shape))


def add_draws(moments: Moments, draws: Array, valid: Array) -> Moments:
    """The moments after more draws (draws, ...), of which only the valid ones count.

    Source: Chan, Golub and LeVeque (1983).
    """
    draws = jnp.where(valid.reshape(-1, *(1,) * (draws.ndim - 1)), draws, 0).astype(moments.mean.dtype)
    count = jnp.sum(valid)
    mean = jnp.sum(draws, axis=0) / jnp.maximum(count, 1)
    deviations = jnp.where(valid.reshape(-1, *(1,) * (draws.ndim - 1)), draws - mean[None], 0)
    return merge(moments, Moments(count, mean, jnp.sum(deviations**2, axis=0)))


def merge(left: Moments, right: Moments) -> Moments:
    """The moments of two sets of draws together. The axes of the counts are the first axes of the means."""
    expand = (..., *(None,) * (left.mean.ndim - left.draws.ndim))
    count = left.draws + right.draws
    share = (right.draws / jnp.maximum(count, 1))[expand]
    step = right.mean - left.mean
    squares = left.squares + right.squares + step**2 * (left.draws[expand] * share)
    return Moments(count, left.mean + share * step, squares)


def standard_errors(moments: Moments) -> Array:
    """The standard error √(s² / count) of the mean; NaN if there are fewer than two draws."""
    count = moments.draws[(..., *(None,) * (moments.mean.ndim - moments.draws.ndim))]
    variance = moments.squares / (jnp.maximum(count - 1, 1) * jnp.maximum(count, 1))
    return jnp.where(count > 1, jnp.sqrt(variance), jnp.nan)


def coalition_codes(coalitions: Bool[Array, "rows players"]) -> UInt32[Array, "rows 2"]:
    """64 bits that tell coalitions apart: the mask itself for up to 64 players, a sum of random codes for more players.

    With more than 64 players, two given coalitions have the same code with probability 2^-64.
    """
    players = coalitions.shape[1]
    if players <= 64:
        codes = np.zeros((players, 2), np.uint32)
        codes[np.arange(players), np.arange(players) // 32] = 1 << (np.arange(players, dtype=np.uint64) % 32)
    else:
        codes = np.random.default_rng(0).integers(2**32, size=(players, 2), dtype=np.uint32)
    words = [
        jnp.sum(jnp.where(coalitions, jnp.asarray(codes[None, :, word]), 0), axis=1, dtype=jnp.uint32)
        for word in (0, 1)
    ]
    return jnp.stack(words, axis=1)


def count_distinct(seen: UInt32[Array, "asks rows 2"], asked: Int[Array, ""]) -> Int[Array, ""]:
    """The number of different codes in the first `asked` asks."""
    if _checks.concrete(seen, asked):
        words = np.sort(np.asarray(seen)[: int(asked)].reshape(-1, 2).view(np.uint64)[:, 0])
        return jnp.asarray(np.count_nonzero(words[1:] != words[:-1]) + (len(words) > 0))
    codes = jnp.where((jnp.arange(len(seen)) < asked)[:, None, None], seen, seen[:1, :1]).reshape(-1, 2)
    high, low = jax.lax.sort((codes[:, 0], codes[:, 1]), num_keys=2)
    distinct = 1 + jnp.sum((high[1:] != high[:-1]) | (low[1:] != low[:-1]))
    return jnp.where(asked > 0, distinct, 0)


def run_estimator(
    key: Key[Array, ""],
    estimator: Estimator,
    utility: Utility,
    players: int,
    *,
    save: str | Path | None = None,
    batch_size: int = 1024,
    progress: bool = False,
) -> Estimate:
    """Ask, evaluate and tell until the estimator is finished; with `save`, write the state to a file after every step.

    A second call with the same arguments after an interruption resumes from the saved state. If the utility is an
    `evaluator` with a store, utilities that the interrupted step had finished are not evaluated again. The estimate is
    the same to the bit.

    Args:
        key: a random key.
        estimator: an estimator such as `permutation_estimator(players, permutations=..., per_ask=...)`.
        utility: a JAX function from a mask (players,) to a scalar or a vector of objectives, or an `evaluator`.
        players: the number n of players.
        save: a file for the state; None means that no state is saved.
        batch_size: about how many coalitions are evaluated at a time; an evaluator uses its own batch size instead.
        progress: whether a progress bar with the time left is written to standard error.

    Returns:
        An `Estimate`.

    Raises:
        ValueError: if the file holds the state of another kind of estimate, or a utility fails.

    Example:
        >>> import tempfile
        >>> from jaxval import coalitions, values
        >>> estimator = values.permutation_estimator(3, permutations=8, per_ask=2)
        >>> trained = coalitions.evaluator(lambda mask: float(mask.sum()), 3, traced=False)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save = f"{folder}/state.npz"
        ...     run_estimator(jax.random.key(0), estimator, trained, 3, save=save).values.tolist()
        [1.0, 1.0, 1.0]
    """
    of_many = as_evaluation(utility, _checks.check_size("players", players), batch_size=batch_size)
    state = run(key, estimator, of_many, save=save, progress=progress)
    return check_finite(estimator.estimate(state))


def run(
    key: Array,
    estimator: Estimator,
    of_many: Evaluation,
    *,
    save: str | Path | None = None,
    progress: bool | Callable[[int], None] = False,
) -> Any:
    """Ask, evaluate and tell until the estimator is finished, and return its last state.

    One compiled program does this if the estimator and the evaluation are traceable and neither a file nor a progress
    bar is wanted. Otherwise the host calls one compiled function after another.
    """
    _checks.check_key(key)
    if not isinstance(estimator, Estimator):
        raise BadArgument("estimator", expected="an Estimator", got=f"{estimator!r:.80}")
    if save is not None:
        _checks.check_path("save", save)
    if not callable(progress):
        _checks.check_flag("progress", progress)
    objectives = of_many.objectives()
    if estimator.traceable and of_many.traceable and save is None and not progress:

        def step(state: Any) -> Any:
            coalitions = estimator.ask(state)
            return estimator.tell(state, coalitions, of_many.many(coalitions))

        def whole(key: Array) -> Any:
            return jax.lax.while_loop(lambda s: ~estimator.finished(s), step, estimator.init(key, objectives))

        return compiled(whole, (estimator.identity, of_many.identity))(key)
    if not _checks.concrete(key):
        raise BadArgument(
            "key",
            expected="known numbers, for the estimator or the utility is called between compiled pieces",
            got="a tracer",
            advice="call it outside jit and vmap",
        )
    asked, state = jnp.asarray(0), estimator.init(key, objectives)
    if save is not None and Path(save).exists():
        asked, state = _resumed(save, (asked, state), key)
    ask, tell = estimator.ask, estimator.tell
    if estimator.traceable:
        ask, tell = (compiled(part, (estimator.identity, part.__name__, objectives)) for part in (ask, tell))
    many = compiled(of_many.many, (of_many.identity, "many")) if of_many.traceable else of_many.many
    with progress_bar(progress, estimator.asks, "asks") as advance:
        advance(int(asked))
        while not bool(estimator.finished(state)):
            coalitions = ask(state)
            asked, state = asked + 1, tell(state, coalitions, many(coalitions))
            if save is not None:
                save_state(save, (asked, state))
            advance(1)
    return state


def _resumed(save: str | Path, like: tuple[Array, Any], key: Array) -> tuple[Array, Any]:
    """The saved state and the number of asks it has answered; an error if the state belongs to another key."""
    asked, state = load_state(save, like=like)
    if not bool(jnp.all(jax.random.key_data(state.key) == jax.random.key_data(key))):
        raise BadArgument(
            "save",
            expected="a state of this key",
            got=f"the state of another key in {save}",
            advice="choose another file",
        )
    return jax.tree.map(jnp.asarray, (asked, state))


def check_finite(estimate: Estimate) -> Estimate:
    """The estimate, if its values are finite; otherwise an error, or NaN throughout inside `jit`."""
    values = jnp.asarray(estimate.values)
    if not _checks.concrete(values):
        return unknown_unless(jnp.all(jnp.isfinite(values)), estimate)
    if not np.isfinite(values).all():
        raise BadArgument(
            "utility",
            expected="finite numbers",
            got="NaN or infinity for a sampled coalition",
            advice="find it with coalitions.evaluate_coalitions(utility, masks)",
        )
    return estimate


def unknown_unless(sound: Array, estimate: Estimate) -> Estimate:
    """The estimate, with NaN for its values, errors and intervals unless `sound`; it can be used inside `jit`."""
    parts = {name: getattr(estimate, name) for name in ("values", "standard_errors", "intervals")}
    known: dict[str, Any] = {name: jnp.where(sound, part, jnp.nan) for name, part in parts.items() if part is not None}
    return dataclasses.replace(estimate, **known)
