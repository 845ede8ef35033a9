"""Utilities of a user's own models, trained on coalitions of rows.

`model_utility` takes any model with `fit` and `predict`. `weighted_utility` takes models written in JAX, for which a
coalition is a vector of weights; `logistic_regression` and `ridge_regression` are such models. `out_of_bag` gives
values for bagged models without any retraining.
"""

from jaxval.values.models.bagged import out_of_bag
from jaxval.values.models.fitted import ModelUtility, model_utility
from jaxval.values.models.logistic import logistic_regression
from jaxval.values.models.ridge import ridge_regression
from jaxval.values.models.weighted import (
    TrainingPath,
    WeightedModel,
    influence,
    warm_path,
    weighted_path_utility,
    weighted_utility,
)

__all__ = [
    "ModelUtility",
    "TrainingPath",
    "WeightedModel",
    "influence",
    "logistic_regression",
    "model_utility",
    "out_of_bag",
    "ridge_regression",
    "warm_path",
    "weighted_path_utility",
    "weighted_utility",
]
