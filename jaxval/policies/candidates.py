"""Candidate responses by their ids: checks that all policies share, conditioning on the candidates, and draws."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxval import _checks
from jaxval.types import BadArgument, Number, Params, Policy

__all__ = ["normalise", "sample_responses"]


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
    log_probs = _checks.numbers("log_probs", log_probs)
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


def sample_responses(
    key: Any,
    policy: Policy,
    params: Params,
    contexts: Int[ArrayLike, "rows"] | list[Any],
    candidates: Int[ArrayLike, "rows candidates"] | list[Any],
    *,
    num: int,
    temperature: Number = 1.0,
) -> Int[Array, "rows num"]:
    """Responses of any policy, drawn among candidates: y with probability ∝ π(y|x)^{1/temperature}.

    Row i draws its response j with a key made of `key`, i and j alone. `sample` draws from a `SequenceModel` without
    candidates.

    Args:
        key: a random key.
        policy: any policy, such as a tabular or log-linear one.
        params: its parameters.
        contexts: (rows,) ids of prompts.
        candidates: (rows, candidates) ids of responses, -1 for none.
        num: how many responses of each row.
        temperature: 0 takes the most likely candidate, the first of several equally likely ones.

    Returns:
        (rows, num) ids of responses.

    Raises:
        ValueError: if an id is outside the catalogue, a row has no candidate, or the temperature is negative.

    Example:
        >>> from jaxval.policies import tabular
        >>> policy = tabular(1, 3)
        >>> params = jnp.log(jnp.array([[0.5, 0.5, 0.0]]) + 1e-9)
        >>> drawn = sample_responses(jax.random.key(0), policy, params, [0], [[0, 1, 2]], num=1000)
        >>> bool(abs(jnp.mean(drawn) - 0.5) < 0.06), int(jnp.max(drawn))
        (True, 1)
    """
    _checks.check_key(key)
    num = _checks.check_size("num", num)
    heat = _checks.check_number("temperature", temperature, low=0.0, high=jnp.inf, expected="a number of at least 0")
    _checks.check_record("policy", policy, Policy)
    _checks.integers("contexts", contexts, ndim=1, expected="(rows,) ids of prompts")
    _checks.integers("candidates", candidates, ndim=2, expected="(rows, candidates) ids of responses")
    log_probs = policy.log_probs(params, contexts, candidates)
    if _checks.concrete(log_probs) and np.isnan(np.asarray(log_probs)).any():
        raise BadArgument("params", expected="parameters whose log-probabilities are numbers", got="NaN")
    if _checks.concrete(log_probs) and (np.asarray(log_probs) == -np.inf).all(axis=1).any():
        row = int((np.asarray(log_probs) == -np.inf).all(axis=1).argmax())
        raise BadArgument("candidates", expected="a candidate in every row", got=f"none in row {row}")
    _checks.check_memory("num", num, *jnp.shape(log_probs))
    return _sample(key, log_probs, jnp.asarray(candidates), heat, num)


@functools.partial(jax.jit, static_argnums=4)
def _sample(key: Array, log_probs: Array, candidates: Array, temperature: Array, num: int) -> Array:
    rows, draws = jnp.arange(len(log_probs)), jnp.arange(num)
    tilted = log_probs / jnp.where(temperature == 0, 1, temperature)

    def of_row(row: Array, logits: Array) -> Array:
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.fold_in(key, row), draws)
        return jax.vmap(jax.random.categorical, in_axes=(0, None))(keys, logits)

    drawn = jnp.where(temperature == 0, jnp.argmax(log_probs, axis=1)[:, None], jax.vmap(of_row)(rows, tilted))
    return jnp.take_along_axis(candidates, drawn, axis=1)
