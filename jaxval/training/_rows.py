"""Fitting a policy to rows of candidates, as both phases of `training.proportional` do: exactly, or by gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from jaxval import _checks
from jaxval.alignment import kl_policy, policy_divergence
from jaxval.alignment.divergences import Divergence, find_divergence
from jaxval.parallel.chunks import each_chunk
from jaxval.policies import normalise
from jaxval.preferences.newton import damped_descent
from jaxval.training.gradient import digest, minimise_rows, name_of
from jaxval.training.newton import design
from jaxval.types import BadArgument, Params, Policy

__all__ = ["FLOOR", "Rows", "candidate_log_probs", "fit_rows", "policy_loss", "selector_loss"]

MAX_STEPS = 500
FLOOR = -100.0  # the least log-probability of a target: no policy of finite logits has probability 0


class Rows(NamedTuple):
    """Rows of candidates: the context's id (rows,), ids (rows, R) or -1, and costs or log-probabilities of a target."""

    contexts: np.ndarray
    ids: np.ndarray
    goal: np.ndarray


def selector_loss(log_probs: Array, cost: Array, base: Array, coefficient: Array) -> Array:
    """Σ_z c(z) μ(z) + β_μ KL(μ ‖ π_ref), row by row, with c = 2 P̂(y ≻ z)."""
    return jnp.sum(jnp.exp(log_probs) * cost, axis=1) + coefficient * policy_divergence(log_probs, base)


def policy_loss(divergence: Divergence, log_probs: Array, goal: Array, base: Array, coefficient: Array) -> Array:
    """D(π ‖ π̂_β) + β_π KL(π ‖ π_ref), row by row."""
    apart = policy_divergence(log_probs, goal, divergence=divergence)
    return apart + coefficient * policy_divergence(log_probs, base)


def fit_rows(
    phase: str,
    loss: Callable[..., Array],
    policy: Policy,
    start: Params,
    rows: Rows,
    weight: np.ndarray,
    coefficient: Array,
    reference: Params | None = None,
    *,
    key: Array,
    optimiser: optax.GradientTransformation | None,
    options: dict[str, Any],
    checkpoints: str | Path | None,
) -> tuple[Params, Array | None]:
    """The parameters that minimise the weighted mean loss of the rows, and the losses of each step."""
    base = candidate_log_probs(policy, start if reference is None else reference, rows, options["batch_size"])
    share = jnp.asarray(weight / weight.sum(), dtype=float)
    if optimiser is not None:
        data = (*map(jnp.asarray, rows), base, jnp.full(len(base), coefficient))
        what = {
            "phase": phase,
            "loss": [name_of(loss), *(str(name_of(option)) for option in getattr(loss, "args", ()))],
            "rows": digest([*data, share]),
        }
        params, curves = minimise_rows(
            functools.partial(_mean_loss, loss),
            policy.log_probs,
            start,
            data,
            share,
            optimiser=optimiser,
            key=key,
            what=what,
            checkpoints=None if checkpoints is None else Path(checkpoints) / phase,
            **options,
        )
        return params, curves[0]
    if policy.linear is None:
        raise BadArgument(
            "optimiser",
            expected=f"an optimiser for phase {1 + (phase == 'policy')}, as the policy's logits are not linear",
            got=None,
            advice="pass optimiser=training.adamw(1e-3, steps=1000), steps=1000",
        )
    if policy.linear.features is None:
        return _closed_form(loss, policy, start, rows, base, coefficient), None
    if loss is selector_loss and float(coefficient) == 0:
        raise BadArgument(
            "selector_coefficient",
            expected="a number above 0, because no finite weights of features put all probability on one opponent",
            got=0,
            advice="raise it, or pass an optimiser",
        )
    return _descent(loss, policy, start, rows, base, share, coefficient), None


def _mean_loss(
    loss: Callable[..., Array], log_probs: Callable[..., Array], params: Params, rows: Any, weights: Array
) -> tuple[Array, tuple[()]]:
    contexts, ids, goal, base, coefficient = rows
    each = loss(normalise(log_probs(params, contexts, ids)), goal, base, coefficient)
    return jnp.sum(weights * each) / jnp.sum(weights), ()


def _closed_form(
    loss: Callable[..., Array], policy: Policy, start: Params, rows: Rows, base: Array, coefficient: Array
) -> Params:
    """The optimum of a table: the logits of the candidates, which keep the mass that they had together."""
    if loss is not selector_loss and float(coefficient) and loss.args != ("reverse_kl",):  # type: ignore[attr-defined]
        raise BadArgument(
            "divergence",
            expected="'reverse_kl', because only its optimum is a closed form if policy_coefficient is above 0",
            got=repr(loss.args[0]),  # type: ignore[attr-defined]
            advice="use reverse_kl, or pass an optimiser",
        )
    linear = policy.linear.base[rows.contexts]  # type: ignore[union-attr]
    return _set_rows(loss is selector_loss, jnp.asarray(start), linear, *map(jnp.asarray, rows), base, coefficient)


@functools.partial(jax.jit, static_argnums=0)
def _set_rows(
    selects: bool,
    start: Array,
    linear: Array,
    contexts: Array,
    ids: Array,
    goal: Array,
    base: Array,
    coefficient: Array,
) -> Array:
    if selects:
        optimum = kl_policy(base, -goal, beta=coefficient)
    else:  # π ∝ π_ref^{c/(1+c)} π̂^{1/(1+c)}
        optimum = kl_policy(base, jnp.where(ids >= 0, goal - base, 0), beta=1 + coefficient)
    logits = start[contexts] + linear
    mass = jax.nn.logsumexp(jnp.where(ids >= 0, logits, -jnp.inf), axis=1, keepdims=True)
    return start.at[contexts].add(jnp.where(ids >= 0, jnp.maximum(optimum, FLOOR) + mass - logits, 0))


def _descent(
    loss: Callable[..., Array],
    policy: Policy,
    start: Params,
    rows: Rows,
    base: Array,
    weight: Array,
    coefficient: Array,
) -> Params:
    """The optimum of a policy with linear logits, by natural gradient steps: the metric is the Fisher information.

    Newton's own matrix is indefinite far from the optimum. Its steps can put all probability on one response, where
    every derivative vanishes. For KL(π ‖ π̂) and a target that the policy can represent, one step is exact.
    """
    features = design(policy.linear)[rows.contexts]  # type: ignore[arg-type]
    data = (*map(jnp.asarray, rows), base, coefficient)
    log_probs = policy.log_probs
    if not isinstance(log_probs, jax.tree_util.Partial):
        log_probs = jax.tree_util.Partial(log_probs)
    params, settled = _naturally(loss, log_probs, start, features, data, weight)
    if not settled:
        raise RuntimeError(
            f"proportional did not converge in {MAX_STEPS} steps; standardise the features, pass a coefficient of the "
            "reference, or pass an optimiser"
        )
    return params


@functools.partial(jax.jit, static_argnums=0)  # arrays that `log_probs` holds are arguments of the program
def _naturally(
    loss: Callable[..., Array],
    log_probs: Callable[..., Array],
    start: Params,
    features: Array,
    data: tuple[Array, ...],
    weight: Array,
) -> tuple[Params, Array]:
    flat, unravel = ravel_pytree(start)
    mine, coefficient = data[1] >= 0, data[-1]
    bend = 0.0 if loss is selector_loss else jax.grad(find_divergence(*loss.args))(0.0)  # type: ignore[attr-defined]

    def probabilities(theta: Array) -> Array:
        return jnp.where(mine, jnp.exp(normalise(log_probs(unravel(theta), *data[:2]))), 0)

    def value(theta: Array) -> Array:
        return _mean_loss(loss, log_probs, unravel(theta), data, weight)[0]

    def derivatives(theta: Array) -> tuple[Array, Array, Array]:
        chances = probabilities(theta)
        centred = features - jnp.einsum("rz,rzf->rf", chances, features)[:, None]
        metric = jnp.einsum("r,rz,rzf,rzg->fg", (bend + coefficient) * weight, chances, centred, centred)
        size = jnp.diag(metric)
        return jax.grad(value)(theta), metric, size + 1e-9 * jnp.max(size)

    found, settled = damped_descent(value, derivatives, probabilities, flat, max_steps=MAX_STEPS)
    return unravel(found), settled


def candidate_log_probs(policy: Policy, params: Params, rows: Rows, size: int) -> Array:
    """The policy's log-probabilities, conditioned on the candidates, (rows, R)."""
    size = min(_checks.check_size("batch_size", size), len(rows.ids))
    some = each_chunk(lambda part: policy.log_probs(params, rows.contexts[part], rows.ids[part]), len(rows.ids), size)
    return normalise(some)
