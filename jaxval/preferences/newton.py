"""Damped Newton steps to the minimum of a convex function, for rewards of pairs and for parameters of policies."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

__all__ = ["damped_newton"]

Step = tuple[Float[Array, "parameters"], Float[Array, ""], Float[Array, ""]]


def damped_newton(
    step_of: Callable[[Array], Step],
    start: Float[Array, "parameters"],
    *,
    feasible: Bool[Array, ""],
    max_steps: int,
    limit: float | None = None,
) -> tuple[Float[Array, "parameters"], Bool[Array, ""], Int[Array, ""], Float[Array, ""]]:
    """The point at which a Newton step moves less than 1e-11 (1e-5 in float32), or that share of a point beyond 1.

    Each step is shortened by log(1 + d) / d, which keeps the function falling if |f'''| ≤ d f'' along the step.

    Source: Sun and Tran-Dinh (2019), generalised self-concordant functions.

    Args:
        step_of: from a point to the Newton step, how far it moves what has to settle, and d.
        start: (parameters,) where the steps begin.
        feasible: whether there is a minimum; False takes no step.
        max_steps: how many steps there may be.
        limit: how small the last step must be, in place of 1e-11 (1e-5 in float32).

    Returns:
        (the point, whether it converged, the steps taken, how far the last one moved).

    Example:
        >>> square = lambda x: (3 - x, jnp.max(jnp.abs(3 - x)), jnp.asarray(0.0))
        >>> point, converged, steps, _ = damped_newton(square, jnp.zeros(1), feasible=jnp.asarray(True), max_steps=9)
        >>> point.tolist(), bool(converged), int(steps)
        ([3.0], True, 2)
    """
    if limit is None:
        limit = 1e-11 if start.dtype == jnp.float64 else 1e-5

    def settled(point: Array, size: Array) -> Array:
        return size <= limit * jnp.maximum(jnp.max(jnp.abs(point)), 1)

    def advance(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        point, _, steps = state
        step, size, bend = step_of(point)
        damping = jnp.where(bend > 0, jnp.log1p(bend) / jnp.where(bend > 0, bend, 1), 1)
        return point + damping * step, size, steps + 1

    def unfinished(state: tuple[Array, Array, Array]) -> Array:
        point, size, steps = state
        return ~settled(point, size) & (steps < max_steps)

    state = (start, jnp.where(feasible, jnp.inf, 0.0).astype(start.dtype), jnp.asarray(0))
    point, size, steps = jax.lax.while_loop(unfinished, advance, state)
    sound = jnp.all(jnp.isfinite(point))  # said apart: a compiled maximum may pass over NaN
    return point, feasible & sound & settled(point, size), steps, size
