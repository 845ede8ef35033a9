"""Logistic regression as a model of weighted rows, to the optimum by Newton's method.

θ minimises Σ_i w_i log(1 + exp(-s_i x_i·θ)) + λ/2 |θ|², where s_i is 1 for class 1 and -1 for class 0, and x_i ends
with a 1 for the intercept. The intercept is penalised like the other coefficients, so that an optimum exists also for
rows of one class and for no rows. Without rows θ = 0, and all test rows have the logit 0. With more classes than two,
each class has such a regression against all others.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxval import _checks
from jaxval.preferences.newton import damped_newton
from jaxval.types import BadArgument, Number
from jaxval.values.models.one_vs_rest import bordered_path
from jaxval.values.models.weighted import TrainingPath, WeightedModel, warm_path

__all__ = ["logistic_regression"]

MAX_STEPS = 100
HIGHEST = jax.lax.Precision.HIGHEST
SETTLED = 1e-4  # the size of a last Newton step; the error after the step is of the order of its square
OUTER = 2**24  # the outer products of all rows are kept if they have at most so many numbers


def logistic_regression(*, ridge: Number = 1.0, classes: int | None = None, score: str = "accuracy") -> WeightedModel:
    """Logistic regression of two classes, or of each class against the rest, trained to the optimum for any weights.

    θ = argmin Σ_i w_i log(1 + exp(-s_i x_i·θ)) + λ/2 |θ|², s_i = ±1. The derivative of θ in the weights is that of the
    optimum, -H⁻¹ ∂g/∂w. If the steps do not converge, the parameters are NaN, and the error of an evaluation names the
    coalition.

    Along a permutation, the steps start from the optimum of the previous prefix: Newton's steps for two classes. With
    `classes`, conjugate gradients are preconditioned by a bound on all Hessians. The inverse of this bound is updated
    for each new row; memory is of the order of rows², and a step takes O(rows² classes).

    Source: scikit-learn's solver "liblinear" minimises the same loss with `C` = 1 / λ; Böhning and Lindsay (1988) for
    the bound.

    Args:
        ridge: λ, above 0, in the units of one row. Features should have similar scales.
        classes: the number of classes if labels are the integers 0, 1, ...: one regression for each class against all
            others, and the largest logit wins. None means the labels 0 and 1 and one regression.
        score: "accuracy", where k equal largest logits count 1/k (for two classes, a logit of 0 counts 1/2); or
            "log_likelihood", the mean log-probability of the right class, where the probabilities of several
            regressions are divided by their sum.

    Returns:
        A `WeightedModel`. Its parameters are (features + 1,), the intercept last; with `classes` (features + 1,
        classes).

    Raises:
        ValueError: if `ridge` is not above 0, `score` is neither word, or (when the model is used) a label is not one
            of the classes.

    Example:
        >>> model = logistic_regression(ridge=0.1)
        >>> x, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([0, 0, 1, 1])
        >>> params = model.fit(x, y, jnp.ones(4))
        >>> float(model.score(params, x, y)), float(model.score(model.fit(x, y, jnp.zeros(4)), x, y))
        (1.0, 0.5)
        >>> three = logistic_regression(ridge=0.1, classes=3)
        >>> x, y = jnp.eye(3), jnp.array([0, 1, 2])
        >>> float(three.score(three.fit(x, y, jnp.ones(3)), x, y))
        1.0
    """
    penalty = float(_checks.check_number("ridge", ridge, low=1e-12, high=1e12, expected="a number from 1e-12 to 1e12"))
    _checks.check_choice("score", score, ("accuracy", "log_likelihood"))
    if classes is not None:
        return _one_vs_rest(penalty, _checks.check_size("classes", classes), score)
    of_logits = _accuracy if score == "accuracy" else _log_likelihood

    def fit(x: Array, y: Array, weights: Array) -> Array:
        rows, signs = with_intercept(x), _signs(y)
        return _optimum(rows, signs, weights, jnp.zeros(rows.shape[1]), penalty)

    def refit(rows: Array, signs: Array, weights: Array, params: Array) -> Array:
        return _optimum(rows, signs, weights, params, penalty)

    def path(x: Array, y: Array) -> TrainingPath:
        rows = with_intercept(x)
        return warm_path(refit, rows, _signs(y), jnp.zeros(rows.shape[1]))

    def score_of(params: Array, x: Array, y: Array) -> Array:
        return of_logits(jnp.matmul(with_intercept(x), params, precision=HIGHEST) * _signs(y))

    return WeightedModel(fit, score_of, path)


def _one_vs_rest(penalty: float, classes: int, score: str) -> WeightedModel:
    """One regression for each class against all others."""

    def fit(x: Array, y: Array, weights: Array) -> Array:
        rows, signs = with_intercept(x), 2 * class_targets(y, classes).T - 1
        start = jnp.zeros(rows.shape[1])
        return jax.vmap(lambda sign: _optimum(rows, sign, weights, start, penalty), out_axes=1)(signs)

    def path(x: Array, y: Array) -> TrainingPath:
        return bordered_path(with_intercept(x), class_targets(y, classes), penalty)

    def score_of(params: Array, x: Array, y: Array) -> Array:
        logits, targets = jnp.matmul(with_intercept(x), params, precision=HIGHEST), class_targets(y, classes)
        if score == "accuracy":
            return shared_accuracy(logits, targets)
        chances = jax.nn.log_sigmoid(logits)
        right = jnp.sum(jnp.where(targets > 0, chances, 0), axis=1)
        return jnp.mean(right - jax.scipy.special.logsumexp(chances, axis=1))

    return WeightedModel(fit, score_of, path)


def class_targets(y: Array, classes: int) -> Float[Array, "rows classes"]:
    """1 where a row is of the class and 0 elsewhere.

    Example:
        >>> class_targets(jnp.array([1, 0]), 2).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    if _checks.concrete(y):
        known = np.asarray(y)
        if known.ndim != 1 or known.dtype.kind not in "iu" or known.min() < 0 or known.max() >= classes:
            got = f"{known.dtype} of shape {known.shape}, {known.min()} to {known.max()}"
            raise BadArgument("y", expected=f"integer labels 0 to {classes - 1}, one for each row", got=got)
    _checks.check_memory("classes", len(y), classes)
    return jax.nn.one_hot(y, classes, dtype=float)


def shared_accuracy(outputs: Float[Array, "rows classes"], targets: Float[Array, "rows classes"]) -> Float[Array, ""]:
    """The share of rows whose largest output is that of their class; k equal largest ones count 1/k.

    Example:
        >>> float(shared_accuracy(jnp.array([[1.0, 1.0], [0.0, 2.0]]), jnp.eye(2)))
        0.75
    """
    wins = outputs == outputs.max(axis=1, keepdims=True)
    return jnp.mean(jnp.sum(wins * targets, axis=1) / jnp.sum(wins, axis=1))


def with_intercept(x: Float[Array, "rows features"]) -> Float[Array, "rows inputs"]:
    """The features with a last column of ones."""
    return jnp.concatenate([x, jnp.ones((len(x), 1), x.dtype)], axis=1)


@partial(jax.custom_jvp, nondiff_argnums=(4,))
def _optimum(rows: Array, signs: Array, weights: Array, start: Array, penalty: float) -> Array:
    """The minimum by damped Newton steps from `start`; NaN if they do not converge."""
    identity = penalty * jnp.eye(rows.shape[1])
    # The Hessian Σ c_i x_i x_iᵀ of many coalitions is one product of matrices if the outer products are known.
    outer = rows[:, :, None] * rows[:, None, :] if rows.size * rows.shape[1] <= OUTER else None

    def step_of(params: Array) -> tuple[Array, Array, Array]:
        gradient, curvature = _slopes(rows, signs, weights, params, penalty)
        if outer is None:
            hessian = jnp.matmul(rows.T * curvature[None, :], rows, precision=HIGHEST) + identity
        else:
            flat = outer.reshape(len(rows), -1)
            hessian = jnp.matmul(curvature, flat, precision=HIGHEST).reshape(identity.shape) + identity
        step = -_solve(hessian, gradient)
        # |ℓ'''| ≤ |x·step| ℓ'' for the logistic loss.
        return step, jnp.max(jnp.abs(step)), jnp.max(jnp.abs(jnp.matmul(rows, step, precision=HIGHEST)))

    params, converged, _, _ = damped_newton(
        step_of, start, feasible=jnp.asarray(True), max_steps=MAX_STEPS, limit=SETTLED
    )
    return jnp.where(converged, params, jnp.nan)


@_optimum.defjvp
def _optimum_derivative(penalty: float, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """The optimum θ and dθ = -H⁻¹ dg, by the implicit function theorem.

    g is the gradient of the loss at θ, H its Hessian, and dg the change of g if rows, signs and weights change.
    """
    rows, signs, weights, _ = primals
    params = _optimum(*primals, penalty)

    def gradient(rows: Array, signs: Array, weights: Array) -> Array:
        return _slopes(rows, signs, weights, params, penalty)[0]

    _, moves = jax.jvp(gradient, (rows, signs, weights), tangents[:3])
    curvature = _slopes(rows, signs, weights, params, penalty)[1]
    hessian = jnp.matmul(rows.T * curvature[None, :], rows, precision=HIGHEST) + penalty * jnp.eye(rows.shape[1])
    return params, -_solve(hessian, moves)


def _slopes(rows: Array, signs: Array, weights: Array, params: Array, penalty: float) -> tuple[Array, Array]:
    """The gradient of the loss, and the weighted second derivative of each row's loss in its logit."""
    wrong = jax.nn.sigmoid(-signs * jnp.matmul(rows, params, precision=HIGHEST))  # probability of the other class
    gradient = penalty * params - jnp.matmul(weights * signs * wrong, rows, precision=HIGHEST)
    return gradient, weights * wrong * (1 - wrong)


def _solve(matrix: Array, right: Array) -> Array:
    return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(matrix), right)


def _signs(y: Array) -> Array:
    """Class 0 as -1 and class 1 as 1."""
    if _checks.concrete(y):
        present = np.unique(np.asarray(y))
        if np.ndim(y) != 1 or not np.isin(present, (0, 1)).all():
            known = np.array_equal(present, np.arange(len(present)))
            numbered = "" if known else ", and numpy.unique(labels, return_inverse=True)[1] for labels"
            raise BadArgument(
                "y",
                expected="the labels 0 and 1, one for each row",
                got=f"shape {np.shape(y)}, labels {present[:5].tolist()}",
                advice=f"for {len(present)} classes pass classes={len(present)}{numbered}"
                if len(present) > 2
                else "for two other classes call numpy.unique(labels, return_inverse=True)[1]",
            )
    return 2 * jnp.asarray(y, dtype=float) - 1


def _accuracy(margins: Array) -> Array:
    return jnp.mean((1 + jnp.sign(margins)) / 2)


def _log_likelihood(margins: Array) -> Array:
    return jnp.mean(jax.nn.log_sigmoid(margins))
