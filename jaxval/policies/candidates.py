"""Candidate responses by their ids: checks that all policies share, and conditioning on the candidates."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxval import _checks
from jaxval.types import BadArgument

__all__ = ["normalise"]


def normalise(log_probs: Float[ArrayLike, "*rows candidates"] | list[Any]) -> Float[Array, "*rows candidates"]:
    """Condition on the candidates: log π(y|x) - log Σ_z π(z|x) over the last axis.

    A candidate of probability 0 stays at -inf. If all candidates of a row have probability 0, they all stay at -inf. If
    one of them is NaN, the whole row is NaN.

    Source: Tamine et al., equation (6), normalised over a finite set of responses.

    Args:
        log_probs: (..., candidates) log-probabilities, up to a constant in each row.

    Returns:
        The same shape; each row's probabilities sum to one.

    Raises:
        ValueError: if `log_probs` is not an array of numbers, or has no candidate.

    Example:
        >>> [round(float(p), 3) for p in jnp.exp(normalise(jnp.log(jnp.array([0.1, 0.3, 0.0]))))]
        [0.25, 0.75, 0.0]
    """
    log_probs = jnp.asarray(log_probs, dtype=float)
    if log_probs.ndim == 0 or log_probs.shape[-1] == 0:
        raise BadArgument(
            "log_probs",
            expected="(..., candidates) numbers with at least one candidate",
            got=f"shape {log_probs.shape}",
        )
    return _normalise(log_probs)


@jax.jit
def _normalise(log_probs: Array) -> Array:
    there = log_probs != -jnp.inf  # a NaN counts as a candidate, so that it shows in the result
    some = jnp.any(there, axis=-1, keepdims=True)
    safe = jnp.where(there | ~some, jnp.where(some, log_probs, 0), -jnp.inf)
    return jnp.where(some, jax.nn.log_softmax(safe, axis=-1), -jnp.inf)


def check_ids(contexts: Any, responses: Any, *, limits: tuple[int, ...]) -> tuple[Int[Array, "B"], Int[Array, "B R"]]:
    """Check ids of prompts, (B,), and of candidates, (B, R), which are -1 if there is no candidate."""
    contexts = _checks.integers("contexts", contexts, ndim=1, expected="(rows,) ids of prompts")
    responses = _checks.integers("responses", responses, ndim=2, expected="(rows, candidates) ids of responses")
    if len(contexts) != len(responses):
        raise BadArgument(
            "responses", expected=f"a row for each of {len(contexts)} contexts", got=f"{len(responses)} rows"
        )
    for name, ids, low, high in (("contexts", contexts, 0, limits[0]), ("responses", responses, -1, limits[1])):
        if _checks.concrete(ids) and ids.size:
            values = np.asarray(ids)
            if values.min() < low or values.max() >= high:
                wrong = values[(values < low) | (values >= high)][0]
                raise BadArgument(name, expected=f"ids in {low}..{high - 1}, as in the catalogue", got=wrong)
    return contexts, responses


@jax.jit
def take_candidates(
    log_probs: Float[Array, "rows responses"], responses: Int[Array, "rows candidates"]
) -> Float[Array, "rows candidates"]:
    """The log-probabilities of the candidates, and -inf for a candidate whose id is -1."""
    taken = jnp.take_along_axis(log_probs, jnp.maximum(responses, 0), axis=1)
    return jnp.where(responses < 0, -jnp.inf, taken)
