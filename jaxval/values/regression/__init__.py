"""Shapley values by regression: the design of coalitions, the surrogates, and the estimate from both.

A `Design` holds the pairs of complementary coalitions that are evaluated, and `choose` fits surrogates to the
differences of their utilities. The estimate is the sum of two parts: the values of the surrogates, and the errors of
the surrogates as estimated from the evaluated pairs.
"""

from jaxval.values.regression.estimate import RegressionState, regress_shapley, regression_estimator

__all__ = ["RegressionState", "regress_shapley", "regression_estimator"]
