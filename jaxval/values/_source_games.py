"""From the policies of coalitions to values, prompt by prompt: tables too large for memory come in blocks."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval.coalitions import all_coalitions
from jaxval.values._coalition_policies import LogProbsOf
from jaxval.values.permutations import permutation_estimator
from jaxval.values.regression import regression_estimator

NUMBERS = 2**22  # of a table at a time
TRUSTED_PERMUTATIONS = 20
"""Of fewer, antithetic pairs are often equal by chance, and standard errors far too small."""


class Game(NamedTuple):
    """Values of one seed.

    Attributes:
        by_context: (contexts, sources, rewards) the values of each prompt; their mean is the value.
        utilities: (coalitions, rewards) the means over prompts; of a sample, the empty and the full one come first.
        standard_errors: (sources, rewards) of sampling; 0 where nothing was sampled, NaN where that was too little.
    """

    by_context: np.ndarray
    utilities: np.ndarray
    standard_errors: np.ndarray


class Sampler(NamedTuple):
    """Which coalitions are evaluated, and what values follow.

    Attributes:
        masks: (coalitions, sources), the empty and the full one first; some may come twice.
        estimate: from their utilities (coalitions, ...) to an `Estimate`.
        trusted: whether its standard errors can be trusted.
    """

    masks: np.ndarray
    estimate: Callable[[Array], Any]
    trusted: bool


def exact_game(players: int, log_probs: LogProbsOf, rewards: np.ndarray, value_of: Callable[[Any], Array]) -> Game:
    """A semivalue of the tables of all prompts."""
    masks = np.asarray(all_coalitions(players))

    def of_table(table: np.ndarray) -> np.ndarray:
        values = np.asarray(value_of(jnp.asarray(table.reshape(len(table), -1))))
        return values.reshape(players, *table.shape[1:])

    by_context, utilities = _in_blocks(masks, log_probs, rewards, of_table)
    return Game(by_context, utilities, np.zeros((players, rewards.shape[2])))


def sampler(key: Array, players: int, permutations: int, evaluations: int | None, groups: Any) -> Sampler:
    """Shapley values, asymmetric where there are groups, from permutations, or by regression on `evaluations`."""
    if evaluations is None:
        estimator = permutation_estimator(players, permutations=permutations, groups=groups)
    else:
        estimator = regression_estimator(players, evaluations=evaluations, groups=groups)
    masks = np.asarray(estimator.ask(estimator.init(key)))

    def estimate(flat: Array) -> Any:
        state = estimator.init(key, (flat.shape[1],))
        return estimator.estimate(estimator.tell(state, jnp.asarray(masks), flat))

    if evaluations is None:
        return Sampler(masks, jax.jit(estimate), permutations >= TRUSTED_PERMUTATIONS)
    return Sampler(masks, estimate, True)  # a regression is fitted on the host


def count_coalitions(masks: Sequence[np.ndarray]) -> int:
    """How many distinct coalitions there are among all masks."""
    return len(np.unique(np.concatenate(masks), axis=0))


def sampled_game(sampled: Sampler, log_probs: LogProbsOf, rewards: np.ndarray) -> Game:
    """Estimates from the tables of all prompts."""

    def of_table(table: np.ndarray) -> Any:
        return sampled.estimate(jnp.asarray(table.reshape(len(table), -1)))

    def values_of(table: np.ndarray) -> np.ndarray:
        return np.asarray(of_table(table).values).reshape(-1, *table.shape[1:])

    by_context, utilities = _in_blocks(sampled.masks, log_probs, rewards, values_of)
    errors = np.asarray(of_table(utilities).standard_errors)
    return Game(by_context, utilities, errors if sampled.trusted else np.full_like(errors, np.nan))


def _in_blocks(
    masks: np.ndarray, log_probs: LogProbsOf, rewards: np.ndarray, values_of: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """(contexts, players, rewards) values, and (coalitions, rewards) mean utilities.

    Each prompt's rewards are taken from the reference's expectation on, which no value depends on, so that rounding is
    relative to what coalitions add and not to the level of the rewards.
    """
    contexts = len(rewards)
    size = min(contexts, max(1, NUMBERS // (len(masks) * max(rewards.shape[1:]))))
    empty = np.zeros((1, masks.shape[1]), dtype=bool)
    values = []
    total, level = np.zeros((len(masks), rewards.shape[2])), np.zeros(rewards.shape[2])
    for start in range(0, contexts, size):
        block = np.arange(start, start + size)
        real = block < contexts
        block = np.where(real, block, 0)  # filled up: one shape
        own = np.asarray(_expected(log_probs(empty, block), rewards[block]))[0]
        table = np.asarray(_expected(log_probs(masks, block), rewards[block] - own[:, None, :]))
        values.append(np.moveaxis(values_of(table), 1, 0)[real])
        total = total + table[:, real].astype(np.float64).sum(axis=1)
        level = level + own[real].astype(np.float64).sum(axis=0)
    return np.concatenate(values), (total + level) / contexts


@jax.jit
def _expected(log_probs: Array, rewards: Array) -> Array:
    """(coalitions, contexts, rewards) of Σ_y π(y|x) r(x, y), for π conditioned on its candidates."""
    return jnp.einsum("mbr,brk->mbk", jnp.exp(log_probs), jnp.asarray(rewards, dtype=log_probs.dtype))
