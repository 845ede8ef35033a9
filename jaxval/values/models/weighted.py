"""Utilities of models written in JAX, for which a coalition of training rows is a vector of weights.

A model is a pure function from the rows and their weights to parameters, and a score of parameters. All rows are passed
every time, and the rows outside a coalition have weight 0. All coalitions have one shape, so that a whole chunk of them
is trained in one vmapped call on any device. The utility is also a function of weights between 0 and 1, which can be
differentiated.

Along a permutation one row after another comes in. A model may tell how to move its optimum when a row comes in, by a
warm start or by an update of a factorisation. `weighted_path_utility` then trains each prefix for far less than the
cost of a training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxval import _checks
from jaxval.types import BadArgument, Params, Utility
from jaxval.values.models.fitted import check_owners

__all__ = ["TrainingPath", "WeightedModel", "influence", "warm_path", "weighted_path_utility", "weighted_utility"]

Rows = tuple[Any, Any]


class TrainingPath(NamedTuple):
    """How to train a model on each prefix while rows come in one by one.

    Attributes:
        start: the state before the first row, a pytree of arrays.
        add: `add(state, row)` gives the state after the row with that number has come in, and the parameters.
    """

    start: Any
    add: Callable[[Any, Array], tuple[Any, Params]]


class WeightedModel(NamedTuple):
    """A model of weighted rows; all functions are pure JAX functions.

    Attributes:
        fit: `fit(x, y, weights)` gives the parameters, a pytree, for features (rows, features), labels (rows, ...) and
            weights (rows,) from 0 to 1. It must return parameters also if all weights are 0, or all rows of one class.
        score: `score(params, x, y)` gives a scalar or a vector of objectives on test rows; larger is better.
        path: `path(x, y)` gives a `TrainingPath`; None trains every prefix anew by `fit`.
    """

    fit: Callable[[Array, Array, Array], Params]
    score: Callable[[Params, Array, Array], Array]
    path: Callable[[Array, Array], TrainingPath] | None = None


def warm_path(
    refit: Callable[[Array, Array, Array, Params], Params], x: Array, y: Array, params: Params
) -> TrainingPath:
    """The path of a model whose training on a prefix starts from the parameters of the previous prefix.

    Args:
        refit: `refit(x, y, weights, params)` gives the parameters for these weights, starting from `params`.
        x: (rows, features) features.
        y: (rows, ...) labels.
        params: the parameters before the first row.

    Returns:
        A `TrainingPath`; its state is the weights and the parameters.

    Example:
        >>> mean = lambda x, y, weights, params: (weights @ y) / weights.sum()
        >>> path = warm_path(mean, jnp.zeros((2, 1)), jnp.array([1.0, 3.0]), 0.0)
        >>> state, params = path.add(path.start, 1)
        >>> float(params), float(path.add(state, 0)[1])
        (3.0, 2.0)
    """
    x = jnp.asarray(_checks.real_array("x", x, "(rows, features) numbers"))
    if x.ndim == 0:
        raise BadArgument("x", expected="(rows, features) numbers", got="a number")

    def add(state: tuple[Array, Params], row: Array | int) -> tuple[tuple[Array, Params], Params]:
        weights = state[0].at[row].set(1)
        params = refit(x, y, weights, state[1])
        return (weights, params), params

    return TrainingPath((jnp.zeros(len(x)), params), add)


def weighted_utility(
    model: WeightedModel,
    train: Rows,
    test: Rows,
    *,
    owners: Int[ArrayLike, "rows"] | list[int] | None = None,
) -> Utility:
    """The utility v(w) = score(fit(x, y, w)) of weighted training rows; a coalition's mask counts as weights 0 and 1.

    The function may be jitted, vmapped and differentiated. The functions of `values` train a chunk of coalitions in one
    vmapped call; their `batch_size` bounds the memory.

    Args:
        model: a `WeightedModel`, such as `logistic_regression()`.
        train: (x, y), features (rows, features) and labels (rows, ...) of the training rows, finite numbers.
        test: (x, y) of the test rows.
        owners: (rows,) the owner 0, 1, ... of each training row. The players are then the owners, and a coalition holds
            all rows of its members. None means that each row is a player.

    Returns:
        A function of a mask or of weights (players,) to the score.

    Raises:
        ValueError: if rows and labels differ in number, the test rows have another number of features, numbers are
            not finite, or there is not one owner for each row.

    Example:
        >>> from jaxval import coalitions, values
        >>> model = values.ridge_regression(ridge=1.0)
        >>> utility = weighted_utility(model, ([[1.0], [1.0]], [1.0, 4.0]), ([[1.0]], [3.0]))
        >>> [round(float(u), 2) for u in coalitions.tabulate(utility, 2)]  # - (3 - prediction)²
        [-9.0, -5.44, -0.11, -1.0]
    """
    x, y, test_x, test_y = check_training(train, test)
    owner_of, players = check_owners(owners, len(x))

    def utility(coalition: Any) -> Array:
        weights = jnp.asarray(coalition, dtype=x.dtype)
        if weights.shape != (players,):
            raise BadArgument("coalition", expected=f"a mask or weights ({players},)", got=f"shape {weights.shape}")
        weights = weights if owner_of is None else weights[owner_of]
        return model.score(model.fit(x, y, weights), test_x, test_y)

    return utility


def weighted_path_utility(
    model: WeightedModel, train: Rows, test: Rows
) -> Callable[[Int[ArrayLike, "rows"]], Float[Array, "prefixes *objectives"]]:
    """The utilities of all prefixes of a permutation of the training rows, for `sample_shapley_along_paths`.

    The arguments and the errors are those of `weighted_utility`. If the model has a `path`, its training on a prefix
    starts from the state of the previous prefix.

    Returns:
        A function of a permutation (rows,) to (rows + 1, *objectives) utilities; it may be jitted and vmapped.

    Example:
        >>> from jaxval import values
        >>> model = values.ridge_regression(ridge=1.0)
        >>> along = weighted_path_utility(model, ([[1.0], [1.0]], [1.0, 4.0]), ([[1.0]], [3.0]))
        >>> [round(float(u), 2) for u in along(jnp.array([1, 0]))]
        [-9.0, -0.11, -1.0]
    """
    x, y, test_x, test_y = check_training(train, test)

    def from_scratch(x: Array, y: Array, weights: Array, _: Params) -> Params:
        return model.fit(x, y, weights)

    nothing = jnp.zeros(len(x))

    def utilities(permutation: Any) -> Array:
        empty = model.fit(x, y, nothing)
        start, add = warm_path(from_scratch, x, y, empty) if model.path is None else model.path(x, y)

        def arrive(state: Any, row: Array) -> tuple[Any, Array]:
            state, params = add(state, row)
            return state, jnp.asarray(model.score(params, test_x, test_y), dtype=float)

        _, along = jax.lax.scan(arrive, start, jnp.asarray(permutation))
        before = jnp.asarray(model.score(empty, test_x, test_y), dtype=float)
        return jnp.concatenate([before[None], along])

    return utilities


def influence(utility: Utility, players: int) -> Float[Array, "players *objectives"]:
    """The derivative of a utility in the weight of each player at the full coalition, φ_i = ∂v / ∂w_i at w = 1.

    This is the first-order approximation of leave-one-out, v(N) - v(N∖{i}) ≈ ∂v / ∂w_i. All players together need one
    training and one pass backwards through the fit. Accuracy has no useful derivative; use the score "log_likelihood"
    or a squared error.

    Source: Koh and Liang (2017).

    Args:
        utility: a JAX function from weights (players,) to a scalar or a vector of objectives, such as
            `weighted_utility` makes.
        players: the number n of players.

    Returns:
        (players, *objectives) derivatives.

    Raises:
        ValueError: if the derivatives are all zero or not finite.

    Example:
        >>> influence(lambda weights: (weights @ jnp.array([1.0, 2.0])) ** 2, 2).tolist()
        [6.0, 12.0]
    """
    players = _checks.check_size("players", players)
    _checks.check_memory("players", players)
    _checks.check_function("utility", utility, "a function of weights")
    expected = "a score that changes with the weights"
    derivative = jax.jacrev(lambda weights: _checks.numbers("utility", utility(weights), expected))(jnp.ones(players))
    derivative = jnp.moveaxis(derivative, -1, 0)
    if _checks.concrete(derivative):
        known = np.asarray(derivative)
        if not np.isfinite(known).all() or not known.any():
            got = "derivatives that are all zero" if np.isfinite(known).all() else "derivatives that are not finite"
            advice = "choose a smooth score, such as score='log_likelihood'"
            raise BadArgument("utility", expected=expected, got=got, advice=advice)
    return derivative


def check_training(train: Rows, test: Rows) -> tuple[Array, Array, Array, Array]:
    """Check the rows of a model written in JAX; features become floating point, labels stay integers if they are."""
    (x, y), (test_x, test_y) = _check_pair("train", train), _check_pair("test", test)
    if x.shape[1] != test_x.shape[1] or y.shape[1:] != test_y.shape[1:]:
        expected = f"features (rows, {x.shape[1]}) and labels (rows{''.join(f', {k}' for k in y.shape[1:])})"
        raise BadArgument("test", expected=expected, got=f"shapes {test_x.shape} and {test_y.shape}")
    return x, y, test_x, test_y


def _check_pair(name: str, rows: Any) -> tuple[Array, Array]:
    if not isinstance(rows, tuple | list) or len(rows) != 2:
        raise BadArgument(name, expected="a pair (x, y) of features and labels", got=type(rows).__name__)
    x = _checks.floating(f"{name}[0]", rows[0], ndim=2, expected="(rows, features), encoded as numbers")
    if len(x) == 0:
        raise BadArgument(f"{name}[0]", expected="at least one row", got=f"features of shape {x.shape}")
    labels = np.asarray(rows[1]) if _checks.concrete(rows[1]) else rows[1]
    if labels.dtype.kind not in "biuf" or labels.ndim not in (1, 2) or len(labels) != len(x):
        raise BadArgument(
            f"{name}[1]",
            expected=f"labels of shape ({len(x)},) or ({len(x)}, outputs), one for each row of features",
            got=f"{labels.dtype} of shape {labels.shape}",
            advice="for classes call numpy.unique(labels, return_inverse=True)[1]",
        )
    if labels.dtype.kind == "f":
        return x, _checks.floating(f"{name}[1]", labels, ndim=labels.ndim, expected="finite labels")
    return x, jnp.asarray(labels, dtype=jnp.int32)
