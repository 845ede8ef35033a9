"""Ridge regression as a model of weighted rows, in closed form, and row by row along a permutation.

θ minimises Σ_i w_i |y_i - θᵀx_i|² + λ |θ|², where x_i ends with a 1 for the intercept, so that
θ = (XᵀWX + λI)⁻¹ XᵀWY. When row x comes in, C = (XᵀWX + λI)⁻¹ and θ become

C ← C - u uᵀ / (1 + x·u),  θ ← θ + u (y - θᵀx)ᵀ / (1 + x·u),  u = C x  (Sherman and Morrison; recursive least squares).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxval import _checks
from jaxval.types import BadArgument, Number
from jaxval.values.models.logistic import HIGHEST, class_targets, shared_accuracy, with_intercept
from jaxval.values.models.weighted import TrainingPath, WeightedModel

__all__ = ["ridge_regression"]

SCORES = ("squared_error", "r2", "accuracy")


def ridge_regression(*, ridge: Number = 1.0, classes: int | None = None, score: str | None = None) -> WeightedModel:
    """Ridge regression of numbers, or of classes coded as 0 and 1, in closed form for each vector of weights.

    θ = argmin Σ_i w_i |y_i - θᵀx_i|² + λ |θ|². The intercept is penalised like the other coefficients; without rows
    θ = 0. Along a permutation, each further row costs O(features²).

    Source: Hoerl and Kennard (1970); recursive least squares after Plackett (1950).

    Args:
        ridge: λ, above 0, in the units of one row. Features should have similar scales.
        classes: the number of classes if labels are the integers 0, 1, ...; each class then has an output whose target
            is 1 for its rows and 0 for others. None means that labels are numbers, (rows,) or (rows, outputs).
        score: "squared_error", minus the mean squared error of the outputs; "r2" without classes; "accuracy" with
            classes, where the largest output wins and k equal ones count 1/k. None means "accuracy" with classes and
            "squared_error" without.

    Returns:
        A `WeightedModel`. Its parameters are (features + 1, outputs), the intercept last.

    Raises:
        ValueError: if `ridge` is not above 0, the score does not suit the labels, or (when the model is used) labels
            are not in 0, ..., classes - 1.

    Example:
        >>> model = ridge_regression(ridge=0.5, classes=2)
        >>> x, y = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([0, 1, 1])
        >>> float(model.score(model.fit(x, y, jnp.ones(3)), x, y))
        1.0
    """
    penalty = float(_checks.check_number("ridge", ridge, low=1e-12, high=1e12, expected="a number from 1e-12 to 1e12"))
    classes = None if classes is None else _checks.check_size("classes", classes)
    score = ("squared_error" if classes is None else "accuracy") if score is None else score
    _checks.check_choice("score", score, SCORES)
    if score == ("accuracy" if classes is None else "r2"):
        expected = f"one of {', '.join(one for one in SCORES if one != score)}, for these labels"
        raise BadArgument("score", expected=expected, got=f"{score!r}", advice="pass classes= for classes")

    def fit(x: Array, y: Array, weights: Array) -> Array:
        rows, targets = with_intercept(x), _targets(y, classes)
        weighted = rows.T * weights[None, :]
        matrix = jnp.matmul(weighted, rows, precision=HIGHEST) + penalty * jnp.eye(rows.shape[1])
        right = jnp.matmul(weighted, targets, precision=HIGHEST)
        return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(matrix), right)

    def path(x: Array, y: Array) -> TrainingPath:
        rows, targets = with_intercept(x), _targets(y, classes)
        inputs, outputs = rows.shape[1], targets.shape[1]

        def add(state: tuple[Array, Array], row: Array) -> tuple[tuple[Array, Array], Array]:
            inverse, params = state
            here = rows[row]
            moved = jnp.matmul(inverse, here, precision=HIGHEST)
            scaled = moved / (1 + jnp.matmul(here, moved, precision=HIGHEST))
            error = targets[row] - jnp.matmul(here, params, precision=HIGHEST)
            params = params + scaled[:, None] * error[None, :]
            return (inverse - scaled[:, None] * moved[None, :], params), params

        return TrainingPath((jnp.eye(inputs) / penalty, jnp.zeros((inputs, outputs))), add)

    def score_of(params: Array, x: Array, y: Array) -> Array:
        outputs, targets = jnp.matmul(with_intercept(x), params, precision=HIGHEST), _targets(y, classes)
        if score == "accuracy":
            return shared_accuracy(outputs, targets)
        error = jnp.mean((outputs - targets) ** 2)
        return -error if score == "squared_error" else 1 - error / jnp.mean((targets - targets.mean(axis=0)[None]) ** 2)

    return WeightedModel(fit, score_of, path)


def _targets(y: Array, classes: int | None) -> Array:
    """The targets (rows, outputs)."""
    return jnp.asarray(y, dtype=float).reshape(len(y), -1) if classes is None else class_targets(y, classes)
