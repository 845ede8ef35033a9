"""DPO by stochastic gradients, for policies and losses that Newton's method does not take."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key

from jaxval import _checks
from jaxval.alignment import dpo
from jaxval.checkpoints import open_checkpoints
from jaxval.parallel import progress as progress_bar
from jaxval.parallel.chunks import each_chunk
from jaxval.training._losses import one_of_equals
from jaxval.training.comparisons import check_comparisons, source_key
from jaxval.types import BadArgument, Comparisons, Number, Params, Policy

__all__ = ["MinibatchDiagnostics", "adamw", "pair_log_probs", "train_minibatches"]

ANY = 2**31 - 1  # no bound on ids: the policy knows the size of its catalogue, and checks them


class MinibatchDiagnostics(NamedTuple):
    """The curves of a training, one entry for each step, computed before the step's update.

    Attributes:
        losses: (steps,) weighted mean loss of the minibatch.
        margins: (steps,) weighted mean of the reward margin β [log π/π_k (chosen) - log π/π_k (rejected)].
        accuracies: (steps,) weighted share of pairs with a positive margin; a margin of zero counts one half.
    """

    losses: Float[Array, "steps"]
    margins: Float[Array, "steps"]
    accuracies: Float[Array, "steps"]


class _State(NamedTuple):
    params: Params
    optimiser: Any
    curves: tuple[Array, ...]


def adamw(
    learning_rate: float,
    *,
    steps: int,
    warmup: float = 0.1,
    clip: float = 1.0,
    weight_decay: float = 0.0,
    accumulation: int = 1,
) -> optax.GradientTransformation:
    """AdamW as preference training uses it: linear warm-up, cosine decay, clipping, accumulated gradients.

    The function is a convenience over optax; `train_minibatches` takes any `optax.GradientTransformation`.

    Args:
        learning_rate: the largest learning rate, at the end of the warm-up.
        steps: the number of steps of the training; each step is one minibatch.
        warmup: the share of updates during which the learning rate rises from 0.
        clip: the largest norm of a gradient; a gradient with a larger norm is scaled down.
        weight_decay: the weight decay of AdamW.
        accumulation: the number of minibatches whose gradients are averaged for one update.

    Returns:
        The optimiser.

    Raises:
        ValueError: if a number is out of range, or there are fewer steps than `accumulation`.

    Example:
        >>> optimiser = adamw(1e-3, steps=100, accumulation=4)
        >>> isinstance(optimiser, optax.GradientTransformation)
        True
    """
    steps, accumulation = _checks.check_size("steps", steps), _checks.check_size("accumulation", accumulation)
    for name, value, low, high in (
        ("learning_rate", learning_rate, 0.0, 1e6),
        ("warmup", warmup, 0.0, 1.0),
        ("clip", clip, 1e-30, 1e30),
        ("weight_decay", weight_decay, 0.0, 1e6),
    ):
        _checks.check_number(name, value, low=low, high=high, expected=f"a number in [{low:g}, {high:g}]")
    updates = steps // accumulation
    if updates == 0:
        raise BadArgument("steps", expected=f"at least accumulation={accumulation}, for one update", got=steps)
    rising = round(warmup * updates)
    schedule = optax.warmup_cosine_decay_schedule(0.0 if rising else learning_rate, learning_rate, rising, updates)
    one = optax.chain(optax.clip_by_global_norm(clip), optax.adamw(schedule, weight_decay=weight_decay))
    return optax.MultiSteps(one, accumulation).gradient_transformation() if accumulation > 1 else one


def train_minibatches(
    policy: Policy,
    reference: Params,
    comparisons: Comparisons,
    *,
    beta: Number,
    optimiser: optax.GradientTransformation,
    steps: int,
    batch_size: int,
    key: Key[Array, ""],
    loss: Callable[..., Array] = dpo,
    pair_options: Mapping[str, Any] | None = None,
    checkpoints: str | Path | None = None,
    every: int = 50,
    progress: bool = False,
) -> tuple[Params, MinibatchDiagnostics]:
    """Minimise the weighted mean loss of the pairs by minibatches, from the reference and against it.

    Each epoch goes once through all pairs, in an order that depends on `key` and on the content of the comparisons.
    Hence equal sources give equal policies, and a step depends only on its number and on the state. With `checkpoints`,
    a training that was killed resumes from its last checkpoint when it is called again. On the same machine, the final
    parameters are then identical to the bit to those of a training without interruption.

    Source: the DPO objective of Tamine et al., section 2.3, and the training of their section 4.

    Args:
        policy: any policy.
        reference: the policy's parameters at the reference π_k, where training starts.
        comparisons: the comparisons of one source; rows of weight 0 are ignored.
        beta: β > 0.
        optimiser: `adamw(...)`, or any optimiser of optax.
        steps: the number of minibatches.
        batch_size: the number of pairs in a minibatch; the last minibatch of an epoch may have fewer.
        key: a random key.
        loss: a loss of one pair; `alignment.losses` lists the losses.
        pair_options: options of the loss that differ between pairs, such as lengths or dispersions, (comparisons,)
            each; None means that no option does.
        checkpoints: the folder for checkpoints; None keeps none.
        every: the number of steps between checkpoints, and between updates of the progress bar.
        progress: whether a bar with the remaining time goes to standard error.

    Returns:
        (parameters, `MinibatchDiagnostics`).

    Raises:
        ValueError: if ids are outside the catalogue, chosen and rejected are the same, no comparison has weight, or
            `checkpoints` holds the checkpoint of another training or a broken one.
        FloatingPointError: if the loss is no longer finite; earlier checkpoints are kept.

    Example:
        >>> from jaxval import policies
        >>> policy = policies.tabular(1, 2)
        >>> pairs = Comparisons(context=[0, 0], winner=[0, 1], loser=[1, 0], weight=[3.0, 1.0])
        >>> params, curves = train_minibatches(policy, policy.init(jax.random.key(0)), pairs, beta=1.0,
        ...     optimiser=optax.sgd(2.0), steps=40, batch_size=2, key=jax.random.key(0))
        >>> [round(float(p), 2) for p in jnp.exp(policy.log_probs(params, [0], [[0, 1]]))[0]]
        [0.75, 0.25]
    """
    comparisons = check_comparisons(comparisons, contexts=ANY, responses=ANY)
    beta = _checks.check_number("beta", beta, low=1e-30, high=1e30, expected="a number above 0")
    steps, batch_size, every = (
        _checks.check_size(name, size)
        for name, size in (("steps", steps), ("batch_size", batch_size), ("every", every))
    )
    if not callable(loss):
        raise BadArgument("loss", expected="a function of one pair, such as alignment.dpo", got=type(loss).__name__)
    loss = one_of_equals(loss)
    pairs = np.size(comparisons.weight)
    given = _checks.check_named("pair_options", pair_options)
    options = {name: _checks.numbers(f"pair_options[{name!r}]", value) for name, value in given.items()}
    for name, value in options.items():
        if value.shape != (pairs,):
            raise BadArgument(
                f"pair_options[{name!r}]", expected=f"one for each of {pairs} comparisons", got=f"shape {value.shape}"
            )
    content = source_key(key, comparisons)
    comparisons, options = _sorted(comparisons, options)
    weighted = int(np.count_nonzero(comparisons.weight))  # sorted, these rows come first, and no other is looked at
    first = Comparisons(*(np.asarray(field)[:weighted] for field in comparisons))
    start = pair_log_probs(policy, reference, first, batch_size=batch_size)
    start = jnp.pad(start, ((0, pairs - weighted), (0, 0)))
    rows = (*comparisons[:3], start, jnp.full((pairs,), beta), options)
    weight = jnp.asarray(comparisons.weight)
    params, curves = minimise_rows(
        functools.partial(_pairs_loss, loss),
        policy.log_probs,
        reference,
        rows,
        weight,
        optimiser=optimiser,
        steps=steps,
        batch_size=batch_size,
        key=content,
        checkpoints=checkpoints,
        what={
            "comparisons and options": digest([*comparisons, *options.values(), start]),
            "loss": name_of(loss),
            "beta": float(beta),
            "key": np.asarray(jax.random.key_data(key)).tolist(),
        },
        every=every,
        progress=progress,
    )
    return params, MinibatchDiagnostics(*curves)


def minimise_rows(
    loss: Callable[..., tuple[Array, tuple[Array, ...]]],
    log_probs: Callable[..., Array],
    params: Params,
    rows: Any,
    weight: Float[Array, "rows"],
    *,
    optimiser: optax.GradientTransformation,
    steps: int,
    batch_size: int,
    key: Key[Array, ""],
    checkpoints: str | Path | None,
    what: Mapping[str, Any],
    every: int,
    progress: bool,
) -> tuple[Params, tuple[Float[Array, "steps"], ...]]:
    """Minimise the weighted mean loss of rows by minibatches, as `train_minibatches` describes it.

    Args:
        loss: `loss(log_probs, params, rows of a minibatch, their weights)` gives the mean loss of the minibatch and a
            tuple of other numbers. A `functools.partial` of functions that stay the same is compiled once.
        log_probs: a policy's function of `params`, contexts and responses. The arrays in a `jax.tree_util.Partial` are
            arguments of what is compiled, and no constants.
        params: the parameters at the start.
        rows: arrays of one length, a pytree.
        weight: (rows,) at least 0; rows of weight 0 come last, and are ignored.
        optimiser: any optimiser of optax.
        steps: the number of minibatches.
        batch_size: the number of rows in a minibatch.
        key: a random key, which decides the order of the rows.
        checkpoints: the folder for checkpoints; None keeps none.
        what: words and numbers that describe the rows and the loss, for the checkpoints.
        every: the number of steps between checkpoints, and between updates of the progress bar.
        progress: whether a bar with the remaining time goes to standard error.

    Returns:
        (parameters, (the losses, the other numbers), each (steps,)).

    Raises:
        ValueError: if `checkpoints` holds the checkpoint of another training or a broken one.
        FloatingPointError: if the loss is no longer finite.

    Example:
        >>> from jaxval import policies
        >>> policy = policies.tabular(1, 2)
        >>> def surprise(log_probs, params, rows, weights):
        ...     each = -log_probs(params, jnp.zeros_like(rows), rows[:, None])[:, 0]
        ...     return jnp.sum(weights * each) / jnp.sum(weights), ()
        >>> params, _ = minimise_rows(surprise, policy.log_probs, policy.init(None), jnp.array([0, 1]),
        ...     jnp.array([3.0, 1.0]), optimiser=optax.sgd(2.0), steps=40, batch_size=2, key=jax.random.key(0),
        ...     checkpoints=None, what={}, every=40, progress=False)
        >>> jnp.exp(policy.log_probs(params, [0], [[0, 1]])).round(2).tolist()
        [[0.75, 0.25]]
    """
    loss = one_of_equals(loss)
    if not isinstance(log_probs, jax.tree_util.Partial):
        log_probs = jax.tree_util.Partial(log_probs)
    steps, batch_size, every = (
        _checks.check_size(name, size)
        for name, size in (("steps", steps), ("batch_size", batch_size), ("every", every))
    )
    if not isinstance(optimiser, optax.GradientTransformation):
        raise BadArgument("optimiser", expected="an optimiser of optax", got=f"{optimiser!r:.80}")
    params = jax.tree.map(lambda leaf: jnp.asarray(_checks.real_array("params", leaf)), params)
    first = jax.eval_shape(lambda *columns: jax.tree.map(lambda column: column[:1], columns), rows, weight)
    _, others = jax.eval_shape(loss, log_probs, params, *first)
    curve = _checks.known_array(np.full(steps, np.nan))
    state = _State(params, optimiser.init(params), (curve,) * (1 + len(others)))
    what = {
        **what,
        "steps": steps,
        "batch_size": batch_size,
        "every": every,
        "parameters": [[list(leaf.shape), str(leaf.dtype)] for leaf in jax.tree.leaves(state)],
    }
    run = functools.partial(_run, loss, optimiser.update, every, steps, batch_size, log_probs, key, rows, weight)
    if checkpoints is not None:
        _checks.check_path("checkpoints", checkpoints)
    with open_checkpoints(checkpoints, what) if checkpoints else nullcontext() as kept:
        done, state = (kept and kept.latest(state)) or (0, state)
        with progress_bar(progress, steps, "training") as advance:
            advance(done)
            while done < steps:
                state = run(state, jnp.asarray(done))
                before, done = done, min(done + every, steps)
                _check_finite_losses(np.asarray(state.curves[0])[before:done], before, checkpoints)
                if kept:
                    kept.save(done, state)
                advance(done - before)
    return state.params, state.curves


def pair_log_probs(
    policy: Policy, params: Params, comparisons: Comparisons, *, batch_size: int = 256
) -> Float[Array, "comparisons 2"]:
    """Log π(y|x) of the chosen and the rejected response of each pair, `batch_size` pairs at a time.

    The reward margin of a pair is β [chosen - rejected] under a policy minus β [chosen - rejected] under its reference.

    Args:
        policy: any policy.
        params: the parameters of the policy.
        comparisons: the pairs; context, winner and loser are ids.
        batch_size: the number of pairs that are evaluated at a time.

    Returns:
        (comparisons, 2) log-probabilities, chosen first.

    Raises:
        ValueError: if ids are outside the catalogue.

    Example:
        >>> from jaxval import policies
        >>> policy = policies.tabular(1, 2)
        >>> pairs = Comparisons(context=[0], winner=[0], loser=[1], weight=[1.0])
        >>> [round(float(log_prob), 3) for log_prob in pair_log_probs(policy, jnp.array([[0.0, 0.0]]), pairs)[0]]
        [-0.693, -0.693]
    """
    _checks.check_record("policy", policy, Policy)
    _checks.check_record("comparisons", comparisons, Comparisons)
    context, winner, loser = (
        np.asarray(_checks.integers(f"comparisons.{name}", ids, ndim=1, expected="(comparisons,) ids"))
        for name, ids in zip(("context", "winner", "loser"), comparisons, strict=False)
    )
    if not context.shape == winner.shape == loser.shape:
        raise BadArgument("comparisons", expected="fields of one length", got=[len(context), len(winner), len(loser)])
    responses = np.stack([winner, loser], axis=1)
    rows = len(context)
    size = min(_checks.check_size("batch_size", batch_size), rows)
    return jnp.asarray(each_chunk(lambda part: policy.log_probs(params, context[part], responses[part]), rows, size))


def _pairs_loss(
    loss: Callable[..., Array], log_probs: Callable[..., Array], params: Params, rows: Any, weights: Array
) -> tuple[Array, tuple[Array, Array]]:
    """The weighted means of the loss, of the margin and of the accuracy of some pairs."""
    context, winner, loser, start, beta, options = rows
    policy_log_probs = log_probs(params, context, jnp.stack([winner, loser], axis=1))
    losses = jax.vmap(lambda pair, base, beta, numbers: loss(*pair, *base, beta=beta, **numbers))(
        policy_log_probs, start, beta, options
    )
    margins = beta * ((policy_log_probs[:, 0] - start[:, 0]) - (policy_log_probs[:, 1] - start[:, 1]))
    wins = jnp.where(margins > 0, 1.0, jnp.where(margins < 0, 0.0, 0.5))
    total = jnp.sum(weights)
    return jnp.sum(weights * losses) / total, (jnp.sum(weights * margins) / total, jnp.sum(weights * wins) / total)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _run(
    loss: Callable[..., Any],
    update: Callable[..., Any],
    count: int,
    steps: int,
    batch_size: int,
    log_probs: Callable[..., Array],
    content: Array,
    rows: Any,
    weight: Array,
    state: _State,
    first: Array,
) -> _State:
    """`count` steps from step `first` on; steps from `steps` on change nothing."""
    # Every call compiles to one shape, so that an interrupted training computes the same numbers as one that was not.
    positive = jnp.sum(weight > 0)  # the rows of positive weight come first

    def step(state: _State, number: Array) -> _State:
        chosen, valid = _minibatch(content, positive, len(weight), batch_size, number)
        batch, weights = jax.tree.map(lambda column: column[chosen], rows), jnp.where(valid, weight[chosen], 0)
        (value, others), slopes = jax.value_and_grad(loss, 1, has_aux=True)(log_probs, state.params, batch, weights)
        moves, inner = update(slopes, state.optimiser, state.params)
        curves = tuple(curve.at[number].set(entry) for curve, entry in zip(state.curves, (value, *others), strict=True))
        return _State(optax.apply_updates(state.params, moves), inner, curves)

    def step_if_any(state: _State, number: Array) -> tuple[_State, None]:
        return jax.lax.cond(number < steps, step, lambda state, _: state, state, number), None

    return jax.lax.scan(step_if_any, state, first + jnp.arange(count))[0]


def _minibatch(content: Array, pairs: Array, rows: int, batch_size: int, number: Array) -> tuple[Array, Array]:
    """The rows of one minibatch, and a mask of the rows that belong to it.

    An epoch is a random order of the first `pairs` rows. The order depends on the key, the epoch and the rows, and not
    on how many rows of weight 0 fill up the record.
    """
    batches = -(-pairs // batch_size)
    epoch, batch = number // batches, number % batches
    key = jax.random.fold_in(content, epoch)
    # Each row draws its own random number. A permutation of all rows would depend on how many rows there are.
    draws = jax.vmap(lambda row: jax.random.bits(jax.random.fold_in(key, row)))(jnp.arange(rows))
    order = jnp.lexsort((draws, jnp.arange(rows) >= pairs))
    chosen = batch * batch_size + jnp.arange(batch_size)
    return order[jnp.minimum(chosen, rows - 1)], chosen < pairs


def _sorted(comparisons: Comparisons, options: dict[str, Array]) -> tuple[Comparisons, dict[str, Array]]:
    """The rows sorted by their content, so that the order in which they were given has no effect; weight 0 is last."""
    fields = [np.asarray(field) for field in comparisons]
    order = np.lexsort([*(np.asarray(value) for value in options.values()), *fields[::-1], fields[3] <= 0])
    context, winner, loser, weight = (jnp.asarray(field[order]) for field in fields)
    return Comparisons(context, winner, loser, weight), {name: value[order] for name, value in options.items()}


def _check_finite_losses(losses: np.ndarray, before: int, checkpoints: str | Path | None) -> None:
    if not np.isfinite(losses).all():
        step = before + int((~np.isfinite(losses)).argmax())
        kept = f"; the checkpoint of step {before} stays" if checkpoints and before else ""
        raise FloatingPointError(
            f"the loss is {losses[step - before]} at step {step}{kept}; lower the learning rate, or clip the gradients"
        )


def digest(arrays: list[Any]) -> str:
    """A fingerprint of the arrays' values."""
    content = hashlib.sha256()
    for array in arrays:
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()


def name_of(function: Any) -> str:
    """The name of a function, and the options that `functools.partial` has set."""
    inner = getattr(function, "func", function)
    options = {name: repr(value) for name, value in sorted(getattr(function, "keywords", {}).items())}
    return f"{getattr(inner, '__module__', '')}.{getattr(inner, '__qualname__', repr(inner))}{options or ''}"
