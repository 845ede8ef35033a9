"""Data-OOB: values of training rows from a bagged model that has been trained already."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Num

from jaxval import _checks
from jaxval.types import BadArgument, Estimate

__all__ = ["out_of_bag"]


def out_of_bag(
    scores: Num[ArrayLike, "models rows"] | Bool[ArrayLike, "models rows"] | list[Any],
    in_bag: Bool[ArrayLike, "models rows"] | list[Any],
) -> Estimate:
    """The mean score of a training row under the models of a bag that were trained without it.

    φ_i = Σ_b [i ∉ bag b] s_bi / Σ_b [i ∉ bag b], where s_bi says how well model b predicts row i. A row with a wrong
    label has a low value. No model is trained for the values, and no test rows are needed.

    Source: Kwon and Zou (2023), "Data-OOB".

    Args:
        scores: (models, rows) the score of each row under each model, such as 1 if the model predicts the row's label.
        in_bag: (models, rows) whether the model was trained on the row.

    Returns:
        An `Estimate` with standard errors over the models; `evaluations` is the number of models.

    Raises:
        ValueError: if the shapes differ, `in_bag` is not boolean, or a row is left out by fewer than two models.

    Example:
        >>> right = np.array([[True, False], [True, True], [False, False], [True, False]])
        >>> in_bag = np.array([[False, True], [False, True], [True, False], [True, False]])
        >>> out_of_bag(right, in_bag).values.tolist()
        [1.0, 0.0]
    """
    known = np.asarray(_checks.floating("scores", scores, ndim=2, expected="(models, rows) scores"))
    inside = np.asarray(_checks.real_array("in_bag", in_bag, f"booleans of shape {known.shape}"))
    if inside.dtype != bool or inside.shape != known.shape:
        raise BadArgument("in_bag", expected=f"booleans of shape {known.shape}", got=f"{inside.dtype} {inside.shape}")
    count = (~inside).sum(axis=0)
    if count.size == 0 or count.min() < 2:
        got = f"{count.min()} for row {int(count.argmin())}" if count.size else "no rows"
        raise BadArgument("in_bag", expected="at least two models without each row", got=got, advice="use more models")
    mean = np.where(inside, 0, known).sum(axis=0) / count
    squares = np.where(inside, 0, known - mean[None]) ** 2
    errors = np.sqrt(squares.sum(axis=0) / (count * (count - 1)))
    return Estimate(jnp.asarray(mean), jnp.asarray(errors), jnp.asarray(len(known)))
