"""The log-linear policy of text features, and its ridge by cross-validation."""

from typing import Any

import numpy as np

from jaxval import policies, training
from jaxval.data import PreferencePairs
from jaxval.types import Params, Policy

RIDGES = tuple(10.0**power for power in range(-6, 1))  # for features in standard deviations, at β = 0.1
FOLDS = 5


def linear_policy(pairs: PreferencePairs, *, buckets: int) -> Policy:
    """Log-linear in hashed n-grams, length and overlap, each in standard deviations."""
    features = policies.text_features(pairs.prompts, pairs.responses, buckets=buckets).astype(float)
    there = np.arange(features.shape[1])[None, :] < np.array([len(row) for row in pairs.responses])[:, None]
    spread = features[there].std(axis=0)
    return policies.log_linear(features / np.where(spread > 0, spread, 1), base=np.where(there, 0.0, -np.inf))


def choose_ridge(pairs: PreferencePairs, policy: Policy, at_beta: float) -> dict[str, Any]:
    """The ridge with the best cross-validated accuracy on the providers' own pairs, and what it becomes at another β.

    In units of the reward, z = β (log π - log π_0), the objective is Σ log σ(z) less λ/(2 β²) Σ z²: with λ in
    proportion to β² the rewards do not depend on β.
    """
    reference = policy.init(None)
    train = pairs.comparisons
    fold = np.random.default_rng(0).permutation(len(train.weight)) % FOLDS

    def fitted(ridge: float, weight: np.ndarray, beta: float = at_beta) -> Params:
        rows = train._replace(weight=weight)
        return training.newton_optimum(policy, reference, rows, beta=beta, ridge=ridge)[0]

    def accuracy(ridge: float) -> float:
        right = np.full(len(fold), np.nan)
        for k in range(FOLDS):
            params = fitted(ridge, (fold != k).astype(float))
            margins = np.diff(np.asarray(training.pair_log_probs(policy, params, train)))[:, 0]
            right[fold == k] = np.heaviside(-margins, 0.5)[fold == k]
        return float(right.mean())

    scores = {ridge: accuracy(ridge) for ridge in RIDGES}
    best = max(scores, key=scores.__getitem__)
    ones = np.ones(len(fold))
    rewards = [beta * np.asarray(fitted(best * (beta / at_beta) ** 2, ones, beta)) for beta in (at_beta, at_beta / 5)]
    return {
        "ridge": best,
        "beta": at_beta,
        "best accuracy": scores[best],
        "cross-validated accuracy": {f"{ridge:g}": score for ridge, score in scores.items()},
        "largest change of a reward's weight at a fifth of beta": float(np.abs(rewards[0] - rewards[1]).max()),
        "features": int(reference.shape[0]),
    }
