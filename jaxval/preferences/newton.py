"""Damped Newton steps to a minimum, for rewards of pairs and for parameters of policies."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

__all__ = ["damped_descent", "damped_newton"]

Descent = tuple[Array, Array, Array, Array, Array]
Step = tuple[Float[Array, "parameters"], Float[Array, ""], Float[Array, ""]]


def damped_newton(
    step_of: Callable[[Array], Step],
    start: Float[Array, "parameters"],
    *,
    feasible: Bool[Array, ""],
    max_steps: int,
    limit: float | None = None,
) -> tuple[Float[Array, "parameters"], Bool[Array, ""], Int[Array, ""], Float[Array, ""]]:
    """The minimum of a convex function, by damped Newton steps until a step is at most 1e-11 (1e-5 in float32) long.

    If a coordinate of the point is larger than 1, this limit is multiplied by the largest coordinate. Each step is
    shortened by log(1 + d) / d, which keeps the function falling if |f'''| ≤ d f'' along the step.

    Source: Sun and Tran-Dinh (2019), generalised self-concordant functions.

    Args:
        step_of: from a point to the Newton step, the length of the step (in whatever has to settle), and d.
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


def damped_descent(
    value: Callable[[Array], Array],
    derivatives: Callable[[Array], tuple[Array, Array, Array]],
    moved: Callable[[Array], Array],
    start: Float[Array, "*parameters"],
    *,
    max_steps: int,
) -> tuple[Float[Array, "*parameters"], Bool[Array, ""]]:
    """A local minimum of a function that need not be convex, by the method of Levenberg and Marquardt.

    A step is -(H + μD)⁻¹g. If the function does not rise (up to rounding), the step is taken and μ is divided by 5.
    If the function rises, the step is not taken and μ is multiplied by 4. The steps end when μ < 1 and a step changes
    no entry of `moved` by more than 1e-9, or 1e-4 in float32.

    Source: Levenberg (1944); Marquardt (1963).

    Args:
        value: the function.
        derivatives: from a point to (g, H, D): the gradient g and the scales D > 0, both of the point's shape, and H,
            the Hessian or any matrix near it, whose shape is the point's shape twice.
        moved: from a point to an array, whose change decides when the steps end.
        start: the point where the steps begin.
        max_steps: the largest number of steps.

    Returns:
        (the point, whether it settled).

    Example:
        >>> well = lambda x: jnp.sum((x**2 - 1) ** 2)
        >>> slopes = lambda x: (4 * x * (x**2 - 1), jnp.diag(12 * x**2 - 4), jnp.ones_like(x))
        >>> point, settled = damped_descent(well, slopes, lambda x: x, jnp.array([0.1]), max_steps=50)
        >>> round(float(point[0]), 4), bool(settled)
        (1.0, True)
    """
    limit, noise = (1e-9, 1e-14) if start.dtype == jnp.float64 else (1e-4, 1e-6)

    def advance(state: Descent) -> Descent:
        point, level, damping, _, steps = state
        gradient, hessian, diagonal = derivatives(point)
        matrix = hessian.reshape(point.size, point.size) + damping * jnp.diag(diagonal.ravel())
        target = point - jnp.linalg.solve(matrix, gradient.ravel()).reshape(point.shape)
        reached = value(target)
        falls = reached <= level + noise * jnp.abs(level)  # NaN does not
        size = jnp.where(falls & (damping < 1), jnp.max(jnp.abs(moved(target) - moved(point))), jnp.inf)
        damping = jnp.where(falls, jnp.maximum(damping / 5, 1e-10), jnp.minimum(damping * 4, 1e10))
        point, level = jnp.where(falls, target, point), jnp.where(falls, reached, level)
        return point, level, damping, size, steps + 1

    def unfinished(state: Descent) -> Array:
        return (state[3] > limit) & (state[4] < max_steps)

    kind = start.dtype
    state = (start, value(start), jnp.asarray(0.1, kind), jnp.asarray(jnp.inf, kind), jnp.asarray(0))
    point, _, _, size, _ = jax.lax.while_loop(unfinished, advance, state)
    return point, size <= limit
