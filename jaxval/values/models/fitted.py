"""The utility of training rows for any model with `fit` and `predict` or `score`, such as scikit-learn's.

A coalition is a set of rows, or of owners of rows. A fresh model is fitted to these rows and scored on the test rows.
JAX does not trace such a utility. Functions that take an `evaluator` take this utility too. To store utilities or to
use a pool of processes, wrap the utility in an `evaluator`.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Int

from jaxval import _checks
from jaxval._errors import printable
from jaxval.coalitions import Evaluator, evaluator
from jaxval.types import BadArgument

__all__ = ["ModelUtility", "model_utility"]

Rows = tuple[Any, Any]
SCORES = ("own", "accuracy", "log_loss", "r2", "squared_error")
NUMBERED = "call numpy.unique(owners, return_inverse=True)[1]"
OF_CLASSES = ("accuracy", "log_loss")
LEAST_PROBABILITY = 1e-6  # a class that a coalition lacks has probability 0, whose logarithm is infinite


def model_utility(
    make_model: Any,
    train: Rows,
    test: Rows,
    *,
    score: str | Callable[[Any, Any, Any], Any] = "own",
    owners: Int[ArrayLike, "rows"] | list[int] | None = None,
    fewest: int = 1,
    empty: float | int | None = None,
) -> ModelUtility:
    """The utility v(S) = score of a model fitted to the training rows S, on the test rows.

    Every call makes a model, calls its `fit(x, y)` and scores it. scikit-learn is not needed: `predict(x)` is enough
    for "accuracy", "r2" and "squared_error", `predict_proba(x)` and `classes_` for "log_loss", `score(x, y)` for "own".
    Labels that are integers, booleans or text are classes; labels that are floating-point numbers are targets of a
    regression.

    Some coalitions are not fitted:

    - a coalition of fewer than `fewest` rows, such as the empty one, is worth `empty`;
    - if the labels are classes and a coalition has rows of one class only, its model predicts that class for certain.

    The model is fitted once to all rows when the utility is made, so that a mistake shows at once. This score is kept
    as the utility of the full coalition. If the model draws random numbers, set its seed.

    To use a pool of processes, wrap the utility: `evaluator(utility, utility.players, executor=ProcessPool(),
    store=path)`. The model must then be importable: pass a class, a `functools.partial`, or an unfitted model.

    Source: Ghorbani and Zou (2019), section 2.

    Args:
        make_model: a function without arguments that makes an unfitted model, such as a class; or an unfitted model,
            which is copied before each fit.
        train: (x, y), the features and the labels of the training rows: arrays, lists, frames or sparse matrices.
        test: (x, y), the features and the labels of the test rows.
        score: "own", the model's `score(x, y)`, or without such a method the accuracy for classes and R² otherwise;
            "accuracy"; "log_loss", the mean log-probability of the right class, where a probability below 1e-6 counts
            as 1e-6; "r2"; "squared_error", minus the mean squared error; or a function from a fitted model, x and y to
            a number or a vector of objectives. Larger is better.
        owners: (rows,) the owner 0, 1, ... of each training row. The players are then the owners, and a coalition holds
            all rows of its members. None means that each row is a player.
        fewest: the number of rows below which no model is fitted, at least 1. A 5-nearest-neighbour model needs 5.
        empty: the utility of a coalition with fewer rows than `fewest`. None means the score of a guess:
            1 / classes for an accuracy, -log classes for "log_loss", 0 for R², and the score of the prediction 0 for
            "squared_error". If `score` is a function, `empty` must be a number.

    Returns:
        A `ModelUtility`: a function of a mask (players,), with the attributes `players` and `full`.

    Raises:
        ValueError: if there is not one label for each row, the test rows have another number of features, labels are
            missing, the score does not suit the labels, `score` is a function and `empty` is None, the model cannot be
            fitted to all rows (the error names text and missing values among the features), or its score is not finite.

    Example:
        >>> class Nearest:
        ...     def fit(self, x, y): self.x, self.y = x, y
        ...     def predict(self, x): return self.y[np.abs(x - self.x.T).argmin(axis=1)]
        >>> rows = np.array([[0.0], [1.0], [0.1]]), np.array(["no", "yes", "yes"])
        >>> tests = np.array([[0.0], [0.9], [0.02]]), np.array(["no", "yes", "no"])
        >>> utility = model_utility(Nearest, rows, tests, score="accuracy")
        >>> utility.players, utility.full, round(utility(np.array([False, True, True])), 3)
        (3, 1.0, 0.333)
        >>> from jaxval import coalitions, values
        >>> [round(float(value), 2) + 0.0 for value in values.shapley(coalitions.tabulate(utility, 3))]
        [0.5, 0.0, 0.0]
    """
    x, y = _check_rows("train", train)
    test_x, test_y = _check_rows("test", test)
    if np.ndim(test_x) > 1 and np.shape(x)[1:] != np.shape(test_x)[1:]:
        expected = f"features of shape {np.shape(x)[1:]}, as in the training rows"
        raise BadArgument("test", expected=expected, got=f"shape {np.shape(test_x)[1:]}")
    classes = np.unique(y) if y.dtype.kind != "f" else None
    if not callable(score):
        _check_score(_checks.check_choice("score", score, SCORES), classes, y.dtype)
    elif empty is None:
        raise BadArgument("empty", expected="the utility of no rows, because the score is a function", got="None")
    if empty is not None:
        _checks.check_finite("empty", empty, "a finite number, the utility of no rows", least=-np.inf)
    _warn_of_classes(classes, test_y)
    owner_of, players = check_owners(owners, len(y))
    return ModelUtility(
        make_model,
        (x, y),
        (test_x, test_y),
        score,
        classes,
        owner_of,
        players,
        _checks.check_size("fewest", fewest),
        empty,
    )


class ModelUtility:
    """What `model_utility` makes: a function from the NumPy mask of a coalition to the utility of that coalition.

    Attributes:
        players: the number of training rows, or of owners.
        full: the utility of the full coalition.
        traceable: False, because JAX cannot trace the function.
    """

    traceable = False

    def __init__(
        self,
        make_model: Any,
        train: tuple[Any, np.ndarray],
        test: tuple[Any, np.ndarray],
        score: str | Callable[[Any, Any, Any], Any],
        classes: np.ndarray | None,
        owner_of: np.ndarray | None,
        players: int,
        fewest: int,
        empty: float | None,
    ) -> None:
        self.players, self._owner_of, self._fewest = players, owner_of, fewest
        self._make_model, self._train, self._test, self._score, self._classes = make_model, train, test, score, classes
        self._empty = self._guess() if empty is None else float(empty)
        self.full = self._of_all_rows()

    def __call__(self, coalition: Bool[ArrayLike, "players"]) -> Any:
        """The utility of one coalition, a mask (players,)."""
        mask = np.asarray(coalition)
        if mask.dtype != bool or mask.shape != (self.players,):
            raise BadArgument(
                "coalition", expected=f"a mask of {self.players} players", got=f"{mask.dtype} of shape {mask.shape}"
            )
        if mask.all():
            return self.full
        return self._of_rows(np.flatnonzero(mask if self._owner_of is None else mask[self._owner_of]))

    def as_evaluation(self) -> Evaluator:
        """An evaluator in this process, so that every function that takes a utility takes this one."""
        return evaluator(self, self.players)

    def _of_rows(self, rows: np.ndarray) -> Any:
        x, y = self._train
        if len(rows) < self._fewest:
            return self._empty if np.ndim(self.full) == 0 else np.full(np.shape(self.full), self._empty)
        labels = y[rows]
        if self._classes is not None and (labels == labels[0]).all():
            return self._scored(_OneClass(labels[0], self._classes))
        return self._scored(_fitted(self._make_model, _select(x, rows), labels))

    def _of_all_rows(self) -> Any:
        """The utility of the full coalition. A fault of the data or the model raises an error at this first fit."""
        (x, y), (test_x, _) = self._train, self._test
        try:
            model = _fitted(self._make_model, x, y)
        except Exception as error:
            raise _named_fault("train", x, "make_model", "a model that can be fitted to all rows", error) from error
        try:
            score = self._scored(model)
        except Exception as error:
            raise _named_fault("test", test_x, "score", "a score of the fitted model", error) from error
        if np.ndim(score) > 1 or np.asarray(score).dtype.kind not in "biuf" or not np.isfinite(score).all():
            raise BadArgument(
                "score", expected="a finite number or a vector of them", got=f"{score} for the model of all rows"
            )
        return score

    def _scored(self, model: Any) -> Any:
        x, y = self._test
        if callable(self._score):
            return self._score(model, x, y)
        if self._score == "own" and hasattr(model, "score"):
            return float(model.score(x, y))
        if self._score == "log_loss":
            return _log_loss(model, x, y)
        predicted = np.asarray(model.predict(x)).reshape(y.shape)
        if self._classes is not None:
            return float(np.mean(predicted == y))
        error = float(np.mean((predicted - y) ** 2))
        return -error if self._score == "squared_error" else 1 - error / float(np.var(y))

    def _guess(self) -> float:
        """The utility of guessing."""
        if self._score == "squared_error":
            return -float(np.mean(self._test[1] ** 2))
        if self._classes is None:
            return 0.0
        return -float(np.log(len(self._classes))) if self._score == "log_loss" else 1 / len(self._classes)


class _OneClass:
    """The model of rows that all have one label."""

    def __init__(self, label: Any, classes: np.ndarray) -> None:
        self.classes_, self._label = classes, label

    def predict(self, x: Any) -> np.ndarray:
        return np.full(np.shape(x)[0], self._label)

    def predict_proba(self, x: Any) -> np.ndarray:
        return np.tile((self.classes_ == self._label).astype(float), (np.shape(x)[0], 1))

    def score(self, x: Any, y: np.ndarray) -> float:
        return float(np.mean(y == self._label))


def check_owners(owners: Any, rows: int) -> tuple[np.ndarray | None, int]:
    """The owner of each row, or None if each row is a player, and the number of players."""
    if owners is None:
        return None, rows
    expected = f"({rows},) owners 0, 1, ..., one for each row, each of whom owns some"
    try:
        values = np.asarray(_checks.integers("owners", owners, ndim=1, expected=expected))
    except BadArgument as error:  # names, perhaps
        raise error.with_advice(NUMBERED) from None
    present = np.unique(values)
    if values.shape != (rows,) or present[0] != 0 or present[-1] != len(present) - 1:
        raise BadArgument(
            "owners",
            expected=expected,
            got=f"shape {values.shape}, owners {present[:8].tolist()}",
            advice=NUMBERED,
        )
    return values, len(present)


def _fitted(make_model: Any, x: Any, y: np.ndarray) -> Any:
    model = (
        make_model() if isinstance(make_model, type) or not hasattr(make_model, "fit") else copy.deepcopy(make_model)
    )
    model.fit(x, y)
    return model


def _select(x: Any, rows: np.ndarray) -> Any:
    return x.iloc[rows] if hasattr(x, "iloc") else x[rows]


def _log_loss(model: Any, x: Any, y: np.ndarray) -> float:
    """The mean log-probability of the right class."""
    known = np.asarray(model.classes_)
    column = np.clip(np.searchsorted(known, y), 0, len(known) - 1)
    probability = np.asarray(model.predict_proba(x))[np.arange(len(y)), column]
    right = np.where(known[column] == y, probability, 0.0)
    return float(np.mean(np.log(np.maximum(right, LEAST_PROBABILITY))))


def _check_rows(name: str, rows: Any) -> tuple[Any, np.ndarray]:
    """Check features and labels; labels become a NumPy array."""
    if not isinstance(rows, tuple | list) or len(rows) != 2:
        raise BadArgument(name, expected="a pair (x, y) of features and labels", got=type(rows).__name__)
    x, y = rows
    try:
        x = x if hasattr(x, "shape") and hasattr(x, "__getitem__") else np.asarray(x)
        y = np.asarray(y)
    except ValueError as error:
        raise BadArgument(name, expected="rows of one length, and a label for each", got=error) from None
    count = np.shape(x)[0] if np.ndim(x) else 0
    if count == 0:
        raise BadArgument(name, expected="at least one row", got=f"features of shape {np.shape(x)}")
    if y.shape != (count,):
        raise BadArgument(name, expected=f"one label for each of the {count} rows", got=f"labels of shape {y.shape}")
    missing = [value is None or value != value for value in y.tolist()] if y.dtype.kind in "fO" else [False]
    if any(missing):
        raise BadArgument(name, expected="a label for every row", got=f"none for row {missing.index(True)}")
    if y.dtype.kind == "O":
        y = y.astype(str) if all(isinstance(value, str) for value in y) else np.asarray(y.tolist())
    if y.dtype.kind not in "biufU":
        raise BadArgument(name, expected="labels that are numbers or text", got=f"dtype {y.dtype}")
    return x, y


def _check_score(score: str, classes: np.ndarray | None, dtype: Any) -> None:
    """Check that a named score suits the labels."""
    if score != "own" and (score in OF_CLASSES) != (classes is not None):
        wanted = "classes: integers, booleans or text" if score in OF_CLASSES else "floating-point numbers"
        advice = "convert the labels, or choose another score"
        raise BadArgument(
            "train", expected=f"labels that are {wanted}, because score is {score!r}", got=f"{dtype}", advice=advice
        )


def _warn_of_classes(classes: np.ndarray | None, test_y: np.ndarray) -> None:
    """Warn of classes that are only in the training rows, or only in the test rows."""
    if classes is None:
        return
    tested = np.unique(test_y)
    for absent, present, effect in (
        (np.setdiff1d(classes, tested), "training", "their rows can only do harm"),
        (np.setdiff1d(tested, classes), "test", "no model predicts them"),
    ):
        if len(absent):
            other = "test" if present == "training" else "training"
            names = ", ".join(printable(str(one)) for one in absent[:5].tolist())
            message = f"{present}: no {other} row has the class {names} of the {present} rows, so that {effect}"
            warnings.warn(message, UserWarning, stacklevel=3)


def _named_fault(rows: str, x: Any, name: str, expected: str, error: Exception) -> BadArgument:
    """The error if the model fails on all rows: it names text or missing values, or else quotes the model's error."""
    fault = _fault_of_features(x)
    if fault is None:
        return BadArgument(name, expected=expected, got=f"{type(error).__name__}: {error}")
    advice = "encode or impute it, or pass a model that does, such as a pipeline"
    return BadArgument(rows, expected="features that the model takes", got=fault, advice=advice)


def _fault_of_features(x: Any) -> str | None:
    """The first column that holds text or a missing value."""
    names = list(getattr(x, "columns", [])) or None
    table = np.asarray(x)
    if table.ndim != 2 or table.dtype.kind not in "fOU":
        return None
    for column in range(table.shape[1]):
        cells = table[:, column]
        label = f"column {column}" if names is None else f"column {names[column]!r}"
        if cells.dtype.kind in "OU":
            text = next((cell for cell in cells if isinstance(cell, str)), None)
            if text is not None:
                return f"text in {label}, such as {str(text)!r}"
        missing = sum(cell is None or cell != cell for cell in cells.tolist())
        if missing:
            return f"missing values in {label}, {missing} of {len(cells)}"
    return None
