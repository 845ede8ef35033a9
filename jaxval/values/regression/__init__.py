"""Shapley values by regression: which coalitions, which surrogates, and the estimate from both.

A `Design` says which pairs of complementary coalitions are evaluated, `choose` fits surrogates to the differences of
their utilities, and the estimate adds to the surrogates' values what the evaluated pairs say about their errors.
"""

from jaxval.values.regression.estimate import RegressionState, regress_shapley, regression_estimator

__all__ = ["RegressionState", "regress_shapley", "regression_estimator"]
