"""Supervised fine-tuning: a policy that gives demonstrated responses their highest likelihood."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key

from jaxval import _checks
from jaxval.training.gradient import digest, minimise_rows
from jaxval.types import BadArgument, Params, Policy

__all__ = ["fine_tune"]


def fine_tune(
    policy: Policy,
    reference: Params,
    contexts: Int[ArrayLike, "rows"] | list[Any],
    responses: Int[ArrayLike, "rows"] | list[Any],
    *,
    weights: Float[ArrayLike, "rows"] | list[Any] | None = None,
    optimiser: optax.GradientTransformation,
    steps: int,
    batch_size: int,
    key: Key[Array, ""],
    checkpoints: str | Path | None = None,
    every: int = 50,
    progress: bool = False,
) -> tuple[Params, Float[Array, "steps"]]:
    """Minimise the weighted mean of -log π(y|x) over demonstrations, by minibatches.

    π(y|x) is the probability among all responses, not among candidates, so that a sequence model learns to write the
    demonstrated responses. The optimum of a tabular policy is the share of each response. To train on a text, take the
    catalogue of `policies.text_windows`. A training that was killed resumes from its checkpoints.

    Args:
        policy: any policy.
        reference: the parameters of the policy at the start.
        contexts: (rows,) ids of prompts.
        responses: (rows,) ids of the responses that were demonstrated.
        weights: (rows,) how often each response was demonstrated; None means once.
        optimiser: `adamw(...)`, or any optimiser of optax.
        steps: the number of minibatches.
        batch_size: the number of demonstrations in a minibatch.
        key: a random key, which decides the order of the demonstrations.
        checkpoints: the folder for checkpoints; None keeps none.
        every: the number of steps between checkpoints, and between updates of the progress bar.
        progress: whether a bar with the remaining time goes to standard error.

    Returns:
        (parameters, (steps,) mean losses of the minibatches).

    Raises:
        ValueError: if lengths differ, an id is outside the catalogue, or no weight is above 0.
        FloatingPointError: if the loss is no longer finite.

    Example:
        >>> from jaxval import policies
        >>> policy = policies.tabular(1, 2)
        >>> params, losses = fine_tune(policy, policy.init(None), [0, 0], [0, 1], weights=[3.0, 1.0],
        ...     optimiser=optax.sgd(2.0), steps=40, batch_size=2, key=jax.random.key(0))
        >>> jnp.exp(policy.log_probs(params, [0], [[0, 1]])).round(2).tolist()
        [[0.75, 0.25]]
    """
    _checks.check_key(key)
    _checks.check_record("policy", policy, Policy)
    batch_size = _checks.check_size("batch_size", batch_size)
    columns = [
        _checks.integers(name, ids, ndim=1, expected="(rows,) ids")
        for name, ids in (("contexts", contexts), ("responses", responses))
    ]
    rows = len(columns[0])
    given = np.ones(rows) if weights is None else weights
    weight = _checks.floating("weights", given, ndim=1, expected="(rows,) numbers of at least 0")
    for name, column in (("responses", columns[1]), ("weights", weight)):
        if len(column) != rows:
            raise BadArgument(name, expected=f"one for each of {rows} contexts", got=len(column))
    if not rows or float(jnp.min(weight)) < 0 or float(jnp.max(weight)) == 0:
        raise BadArgument("weights", expected="numbers of at least 0, one of them above 0", got=np.asarray(given)[:8])
    order = np.argsort(np.asarray(weight) == 0, kind="stable")  # rows of weight 0 come last
    columns = [column[order] for column in columns]
    policy.log_probs(reference, columns[0][:batch_size], columns[1][:batch_size, None])  # refuses ids outside
    params, curves = minimise_rows(
        _mean_loss,
        policy.log_probs,
        reference,
        tuple(columns),
        weight[order],
        optimiser=optimiser,
        steps=steps,
        batch_size=batch_size,
        key=key,
        checkpoints=checkpoints,
        what={"demonstrations": digest([*columns, weight]), "key": np.asarray(jax.random.key_data(key)).tolist()},
        every=every,
        progress=progress,
    )
    return params, curves[0]


def _mean_loss(log_probs: Callable[..., Array], params: Params, rows: Any, weights: Array) -> tuple[Array, tuple[()]]:
    contexts, responses = rows
    each = -log_probs(params, contexts, responses[:, None])[:, 0]
    return jnp.sum(jnp.where(weights > 0, weights * each, 0)) / jnp.sum(weights), ()
