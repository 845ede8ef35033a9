"""All coalitions of providers by a log-linear policy of text features and Newton's method."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.dpo_shapley.measures import stopwatch
from experiments.dpo_shapley.providers import MASKS, N, Pairs, joined, members_of, sources_of
from experiments.dpo_shapley.retraining import judged, table_of, train_coalitions
from jaxval import coalitions, policies, training
from jaxval.types import Comparisons, Params, Policy

RIDGES = tuple(10.0**power for power in range(-6, 1))  # for features in standard deviations, at β = 0.1
FOLDS = 5

Advance = Callable[[float], None]


def linear_policy(pairs: Pairs, buckets: int) -> Policy:
    """Log-linear in hashed n-grams, length and overlap, each in standard deviations."""
    texts = pairs.texts
    features = policies.text_features(texts.prompts, texts.responses, buckets=buckets).astype(float)
    there = np.arange(features.shape[1])[None, :] < np.array([len(row) for row in texts.responses])[:, None]
    spread = features[there].std(axis=0)
    return policies.log_linear(features / np.where(spread > 0, spread, 1), base=np.where(there, 0.0, -np.inf))


def choose_ridge(pairs: Pairs, policy: Policy, at_beta: float) -> dict[str, Any]:
    """The ridge with the best cross-validated accuracy on the providers' own pairs, and what it becomes at another β.

    In units of the reward, z = β (log π - log π_0), the objective is Σ log σ(z) less λ/(2 β²) Σ z²: with λ in
    proportion to β² the rewards do not depend on β.
    """
    reference = policy.init(None)
    train = joined(sources_of(pairs, 0), tuple(range(N)))
    fold = np.random.default_rng(0).permutation(len(train.weight)) % FOLDS

    def fitted(ridge: float, weight: np.ndarray, beta: float = at_beta) -> Params:
        rows = train._replace(weight=train.weight * weight)
        return training.fit(policy, reference, rows, beta=beta, ridge=ridge)[0]

    def accuracy(ridge: float) -> float:
        right = np.full(len(fold), np.nan)
        for k in range(FOLDS):
            params = fitted(ridge, (fold != k).astype(float))
            margins = np.diff(np.asarray(training.log_ratios(policy, params, train)))[:, 0]
            right[fold == k] = np.heaviside(-margins, 0.5)[fold == k]
        return float(right[train.weight > 0].mean())

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


def log_linear_seed(
    pairs: Pairs, policy: Policy, beta: float, ridge: float, seed: int, advance: Advance
) -> dict[str, Any]:
    """All coalitions of a log-linear policy by Newton's method."""
    start = policy.init(None)
    both = np.stack([pairs.held_out.winner, pairs.held_out.loser], axis=1)
    times: dict[str, list[float]] = {}

    def fit(before: Params, rows: Comparisons, name: str) -> Params:
        del name
        return training.fit(policy, before, rows, beta=beta, ridge=ridge)[0].block_until_ready()

    def gains(params: Params) -> np.ndarray:  # the base is uniform, so that the gains are the policy
        return np.asarray(policy.log_probs(params, pairs.held_out.context, both))

    sources = sources_of(pairs, seed)
    for rows in (sources[0], *(joined(sources, tuple(range(k))) for k in range(2, N + 1))):
        fit(start, rows, "compiled before the clock starts")
    sequential, union = train_coalitions(fit, start, sources, times)
    gained = {name: {members: gains(params) for members, params in found.items()}
              for name, found in (("sequential", sequential), ("union", union))}  # fmt: skip
    with stopwatch(times, "response"):
        single = np.stack([gained["sequential"][(s,)] for s in range(N)])
        response = {members_of(mask): coalitions.combine(gained["sequential"][()], single, mask) for mask in MASKS}
    with stopwatch(times, "parameter"):
        stacked = jnp.stack([sequential[(s,)] for s in range(N)])
        parameter = {members_of(mask): gains(coalitions.add_parameters(start, stacked, mask)) for mask in MASKS}
    tables = {
        "response": table_of(response, pairs),
        "parameter": table_of(parameter, pairs),
        **{name: table_of(found, pairs) for name, found in gained.items()},
    }
    advance(1)
    return judged(tables, times)
