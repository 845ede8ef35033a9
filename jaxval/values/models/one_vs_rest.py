"""One logistic regression for each class against the rest, along a permutation of the training rows.

θ_c = argmin Σ_i w_i log(1 + exp(-s_ic x_i·θ)) + λ/2 |θ|². The optimum is in the span of the rows, θ_c = Σ_i α_ic x_i,
and its gradient is Σ_i g_ic x_i with g = λα - (t - σ(F)), where F = Kα are the logits, K = XXᵀ and t is 1 for the rows
of the class and 0 for the others.

The second derivative of the loss is at most 1/4 (Böhning and Lindsay), so that M = λI + K/4 bounds the Hessian in the
span, for all classes and all parameters. M⁻¹ is bordered when a row comes in, and preconditions conjugate gradients.
One step costs one product of M⁻¹ with g, because K M⁻¹g = 4 (g - λM⁻¹g) moves the logits. Newton's method would solve
a system for each class in each step.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxval.values.models.weighted import TrainingPath

__all__ = ["bordered_path"]

BOUND = 4  # one over the largest second derivative of the logistic loss
MAX_STEPS = 500
SETTLED = 1e-4  # how far the last step may move a logit of a training row
HIGHEST = jax.lax.Precision.HIGHEST


class _Prefix(NamedTuple):
    """The optimum of the rows that have come in; entries of the other rows are 0.

    Attributes:
        members: (rows,) which rows have come in.
        inverse: (rows, rows) M⁻¹ of these rows.
        weights: (rows, classes) α.
    """

    members: Bool[Array, "rows"]
    inverse: Float[Array, "rows rows"]
    weights: Float[Array, "rows classes"]


class _Descent(NamedTuple):
    """A step of conjugate gradients in all classes at once.

    Attributes:
        weights: (rows, classes) α.
        logits: (rows, classes) F = Kα.
        direction: (rows, classes) d, in which α moves.
        moves: (rows, classes) Kd, in which F moves.
        gradient: (rows, classes) g before the step.
        size: (classes,) gᵀKM⁻¹g before the step.
        moved: by how much the step changed a logit at most.
        steps: how many steps were taken.
    """

    weights: Array
    logits: Array
    direction: Array
    moves: Array
    gradient: Array
    size: Array
    moved: Array
    steps: Array


def bordered_path(
    rows: Float[Array, "rows inputs"], targets: Float[Array, "rows classes"], penalty: float
) -> TrainingPath:
    """The optimum of one-vs-rest logistic regression on each prefix; each starts from the one before.

    Source: Böhning and Lindsay (1988) for the bound; Polak and Ribière (1969) for the directions.

    Args:
        rows: (rows, inputs) features.
        targets: (rows, classes) 1 where a row is of the class, 0 elsewhere.
        penalty: λ.

    Returns:
        A `TrainingPath`; parameters are (inputs, classes), NaN if the steps do not converge.

    Example:
        >>> start, add = bordered_path(jnp.ones((2, 1)), jnp.eye(2), 1.0)
        >>> _, params = add(start, jnp.asarray(0))
        >>> bool(jnp.isclose(params[0, 0], -params[0, 1]))  # the only row is of the first class
        True
    """
    count = len(rows)
    gram = jnp.matmul(rows, rows.T, precision=HIGHEST)
    bound = penalty * jnp.eye(count, dtype=rows.dtype) + gram / BOUND

    def add(state: _Prefix, row: Array) -> tuple[_Prefix, Array]:
        members = state.members.at[row].set(True)
        inverse = _bordered(state.inverse, jnp.where(state.members, bound[row], 0), bound[row, row], row)
        logits = jnp.matmul(gram, state.weights, precision=HIGHEST)
        weights = _descend(state.weights, logits, inverse, members[:, None], targets, penalty)
        return _Prefix(members, inverse, weights), jnp.matmul(rows.T, weights, precision=HIGHEST)

    nothing = jnp.zeros((count, count), rows.dtype)
    return TrainingPath(_Prefix(jnp.zeros(count, bool), nothing, jnp.zeros_like(targets)), add)


def _bordered(inverse: Array, column: Array, corner: Array, row: Array) -> Array:
    """The inverse of [[M, k], [kᵀ, c]] from that of M: M⁻¹ + (M⁻¹k - e)(M⁻¹k - e)ᵀ / (c - kᵀM⁻¹k)."""
    moved = jnp.matmul(inverse, column, precision=HIGHEST)
    left = corner - jnp.matmul(column, moved, precision=HIGHEST)
    moved = moved.at[row].add(-1)
    return inverse + moved[:, None] * (moved / left)[None, :]


def _descend(weights: Array, logits: Array, inverse: Array, inside: Array, targets: Array, penalty: float) -> Array:
    """Conjugate gradients from α to the optimum of the rows that are inside; NaN if the steps do not converge."""

    def step(now: _Descent) -> _Descent:
        chance = jax.nn.sigmoid(now.logits)
        gradient = jnp.where(inside, penalty * now.weights - (targets - chance), 0)
        newton = jnp.matmul(inverse, gradient, precision=HIGHEST)
        moves = jnp.where(inside, BOUND * (gradient - penalty * newton), 0)  # K M⁻¹g
        size = jnp.sum(gradient * moves, axis=0)
        turned = jnp.sum((gradient - now.gradient) * moves, axis=0) / jnp.where(now.size > 0, now.size, 1)
        keep = jnp.where(now.size > 0, jnp.maximum(turned, 0), 0)
        # A direction that does not descend is left for that of the gradient.
        keep = jnp.where(keep * jnp.sum(gradient * now.moves, axis=0) < size, keep, 0)[None]
        direction, moves = keep * now.direction - newton, keep * now.moves - moves
        slope = jnp.sum(gradient * moves, axis=0)
        curvature = jnp.where(inside, chance * (1 - chance), 0)
        bend = penalty * jnp.sum(direction * moves, axis=0) + jnp.sum(curvature * moves**2, axis=0)
        length = jnp.where(bend > 0, -slope / jnp.where(bend > 0, bend, 1), 0)
        # |ℓ'''| ≤ |x·step| ℓ'' for the logistic loss: a step is shortened by log(1 + d) / d.
        far = length * jnp.max(jnp.abs(moves), axis=0)
        length = (length * jnp.where(far > 0, jnp.log1p(far) / jnp.where(far > 0, far, 1), 1))[None]
        moved = jnp.max(jnp.abs(length * moves))
        return _Descent(
            now.weights + length * direction,
            now.logits + length * moves,
            direction,
            moves,
            gradient,
            size,
            moved,
            now.steps + 1,
        )

    still, none = jnp.zeros_like(weights), jnp.zeros_like(weights[0])
    start = _Descent(weights, logits, still, still, still, none, jnp.asarray(jnp.inf, none.dtype), jnp.asarray(0))
    end = jax.lax.while_loop(lambda now: (now.moved > SETTLED) & (now.steps < MAX_STEPS), step, start)
    return jnp.where(end.moved <= SETTLED, end.weights, jnp.nan)
