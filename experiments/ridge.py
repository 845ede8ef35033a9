"""The ridge of a linear policy by cross-validation on its training pairs, for the experiments with UltraFeedback."""

from typing import Any

import numpy as np

from jaxval import training
from jaxval.types import Comparisons, Params, Policy

__all__ = ["choose_ridge", "fitted", "right"]

RIDGES = tuple(10.0**power for power in range(-6, 1))  # for features in standard deviations, at β = 0.1
FOLDS = 5


def fitted(policy: Policy, pairs: Comparisons, *, beta: float, ridge: float) -> Params:
    """The optimum of DPO with this ridge."""
    return training.newton_optimum(policy, policy.init(None), pairs, beta=beta, ridge=ridge)[0]


def right(policy: Policy, params: Params, reference: Params, comparisons: Comparisons) -> np.ndarray:
    """1 for each pair whose chosen response gained more log-probability than the rejected one, 1/2 for a tie."""
    gains = [
        np.diff(np.asarray(training.pair_log_probs(policy, p, comparisons, batch_size=32), dtype=float))[:, 0]
        for p in (reference, params)
    ]
    return np.heaviside(gains[0] - gains[1], 0.5)


def choose_ridge(policy: Policy, pairs: Comparisons, *, beta: float) -> dict[str, Any]:
    """The ridge with the best cross-validated accuracy on the pairs, and the accuracy of every ridge tried."""
    fold = np.random.default_rng(0).permutation(len(pairs.weight)) % FOLDS

    def accuracy(ridge: float) -> float:
        found = np.full(len(fold), np.nan)
        for k in range(FOLDS):
            params = fitted(policy, pairs._replace(weight=(fold != k).astype(float)), beta=beta, ridge=ridge)
            found[fold == k] = right(policy, params, policy.init(None), pairs)[fold == k]
        return float(found.mean())

    scores = {ridge: accuracy(ridge) for ridge in RIDGES}
    best = max(scores, key=scores.__getitem__)
    return {
        "ridge": best,
        "best accuracy": scores[best],
        "cross-validated accuracy": {f"{ridge:g}": score for ridge, score in scores.items()},
    }
