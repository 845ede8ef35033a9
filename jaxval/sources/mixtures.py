"""Weights of sources from what was valued: the best ones, and what they become in a training or in an adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxval import _checks
from jaxval.coalitions import pool_sizes, pool_utility, reward_utility
from jaxval.sources.arithmetic import Evaluated
from jaxval.sources.pool import PoolValues, pool_log_q
from jaxval.sources.valuation import SourceValues
from jaxval.sources.weights import BestWeights, best_weights
from jaxval.types import BadArgument

__all__ = ["sampling_shares", "weigh_sources", "write_mixture"]

SourceVector = Float[ArrayLike, "sources"] | list[Any]


def weigh_sources(
    valued: SourceValues | PoolValues,
    *,
    over: str = "box",
    most: float = 1.0,
    objective: Mapping[str, float] | None = None,
    floors: Mapping[str, float] | None = None,
    least_effective: float = 10.0,
    folds: int = 5,
) -> BestWeights:
    """The weights of valued sources with the largest reward, and their gain on prompts that they were not fitted on.

    The policy of weights λ is π_λ ∝ π_0 Π_ℓ (π_ℓ / π_0)^{λ_ℓ}, evaluated on the prompts of the values, those of all
    seeds together: no policy is trained or run again. See `best_weights` for the search and the intervals.

    Args:
        valued: from `value_sources` or `value_adapters` with the arithmetic of responses, from `value_pool` or from
            `value_samples`.
        over: "box" (each weight from 0 to `most`), "simplex" or "subsets".
        most: the largest weight in the box; at 1 a source counts as it was trained.
        objective: the weight of each reward by its name, 0 for the others; None means the mean of all rewards.
        floors: the least utility by the name of a reward.
        least_effective: for a pool of draws, the least geometric mean over prompts of the effective sample sizes.
        folds: the number of folds of prompts.

    Returns:
        `BestWeights`.

    Raises:
        ValueError: if the values are of another arithmetic, a reward is unknown, or an argument is wrong as in
            `best_weights`.

    Example:
        >>> import jax
        >>> from jaxval import data, sources
        >>> drawn = data.synthetic_preferences(
        ...     jax.random.key(0), contexts=40, responses=4, sources={"experts": 1.0, "foes": -0.5})
        >>> valued = sources.value_sources(drawn, policy="tabular", beta=1.0)
        >>> found = sources.weigh_sources(valued, objective={"helpful": 1.0}, floors={"harmless": 0.0})
        >>> found.weights.round(3).tolist(), bool(found.gains["equal"][1] > 0)
        ([1.0, 0.0], True)
    """
    if not isinstance(valued, SourceValues | PoolValues):
        raise BadArgument("valued", expected="what value_sources or value_pool returns", got=f"{valued!r:.80}")
    for name in ("names", "rewards"):
        _checks.check_names(f"valued.{name}", getattr(valued, name), "texts")
    for name, by_reward in (("objective", objective), ("floors", floors)):
        if by_reward is not None and not isinstance(by_reward, Mapping):
            raise BadArgument(name, expected="numbers by the names of rewards", got=f"{by_reward!r:.80}")
        for reward, number in (by_reward or {}).items():
            _checks.check_number(f"{name}[{reward!r}]", number, low=-np.inf, high=np.inf, expected="a number")
    names = list(valued.rewards)
    shares = None
    if objective is not None:
        shares = [float(objective.get(name, 0.0)) for name in names]
    for argument, asked in (("objective", objective), ("floors", floors)):
        for name in asked or {}:
            if name not in names:
                raise BadArgument(argument, expected=f"rewards among {', '.join(map(repr, names))}", got=repr(name))
    if isinstance(valued, PoolValues):
        utility, sizes, prompts = _of_pool(valued)
    else:
        utility, sizes, prompts = _of_seeds(valued.evaluated)
    return best_weights(
        utility,
        len(valued.names),
        rewards=names,
        over=over,
        most=most,
        objective=shares,
        floors={names.index(name): floor for name, floor in (floors or {}).items()},
        effective_sizes=sizes,
        least_effective=least_effective,
        prompts=prompts,
        folds=folds,
    )


def sampling_shares(weights: SourceVector, pairs: SourceVector) -> np.ndarray:
    """The share of each source in a mixture from which a training draws pairs, p_ℓ = λ_ℓ m_ℓ / Σ_j λ_j m_j.

    A pair that is drawn by these shares, and uniformly within its source, has the expected loss of all pairs with the
    weights λ, up to a constant factor.

    Args:
        weights: (sources,) λ, at least 0 and not all 0.
        pairs: (sources,) the number m_ℓ of pairs of each source.

    Returns:
        (sources,) shares that sum to one.

    Raises:
        ValueError: if a weight is negative or not finite, all weights are 0, or shapes differ.

    Example:
        >>> sampling_shares([1.0, 0.5, 0.0], [100, 200, 300]).tolist()
        [0.5, 0.5, 0.0]
    """
    pairs = np.asarray(_checks.floating("pairs", pairs, ndim=1, expected="(sources,) numbers of pairs"), np.float64)
    known = check_weights(weights, len(pairs))
    counted = known * pairs
    if not counted.sum() > 0:
        raise BadArgument("weights", expected="a weight above 0 of a source with pairs", got=known.tolist())
    return counted / counted.sum()


def check_weights(weights: Any, sources: int) -> np.ndarray:
    """The weights of sources as numbers of at least 0, not all of them 0."""
    known = np.asarray(_checks.floating("weights", weights, ndim=1, expected=f"({sources},) weights"), np.float64)
    if known.shape != (sources,) or not np.isfinite(known).all() or (known < 0).any():
        expected = f"a finite weight of at least 0 for each of {sources} sources"
        raise BadArgument("weights", expected=expected, got=known.tolist())
    if not known.any():
        raise BadArgument("weights", expected="a weight above 0", got="0 for every source")
    return known


def write_mixture(valued: SourceValues, folder: str | Path, weights: SourceVector) -> Path:
    """Write one adapter of PEFT that is the weighted sum of the sources' adapters, ΔW = Σ_ℓ λ_ℓ ΔW_ℓ.

    The sum is exact, with the ranks of the adapters side by side. It is the arithmetic of parameters, which is not that
    of responses by which `weigh_sources` finds weights: evaluate the merged adapter before it is used. Of several
    seeds, the adapters are those of the first. A reference adapter is part of the sum.

    Args:
        valued: from `value_sources` with the folder of a checkpoint, or from `value_adapters`, with the arithmetic of
            responses.
        folder: the folder that is written.
        weights: (sources,) λ, at least 0 and not all 0.

    Returns:
        The folder.

    Raises:
        ValueError: if the sources are no adapters, or weights are wrong.

    Example:
        >>> import jax
        >>> from jaxval import data, sources
        >>> drawn = data.synthetic_preferences(jax.random.key(0), contexts=4, responses=3, sources={"a": 1.0, "b": 0.0})
        >>> try:
        ...     sources.write_mixture(sources.value_sources(drawn, policy="tabular", beta=1.0), "merged", [1.0, 0.5])
        ... except ValueError as error:
        ...     print(error)
        valued: expected sources whose policies are adapters; got policies of another kind
    """
    if not isinstance(valued, SourceValues):
        raise BadArgument("valued", expected="what value_sources returns", got=f"{valued!r:.80}")
    known = check_weights(weights, len(valued.names))
    if not has_adapters(valued):
        expected = "sources whose policies are adapters"
        raise BadArgument("valued", expected=expected, got="policies of another kind")
    write: Any = valued.evaluated[0].write
    write(Path(folder), known)
    return Path(folder)


def has_adapters(valued: Any) -> bool:
    """Whether the sources are adapters that can be written."""
    return bool(getattr(valued, "evaluated", ())) and valued.evaluated[0].write is not None


def _of_pool(valued: PoolValues) -> tuple[Callable[[Any], Array], Any, None]:
    """The utility of weights on every prompt of a pool, and the effective sizes of draws."""
    pool = valued.pool
    log_q, _ = pool_log_q(pool)
    utility = pool_utility(pool.log_probs, pool.scores, proposal=log_q, by_context=True)
    return utility, None if pool.candidates else pool_sizes(pool.log_probs, proposal=log_q), None


def _of_seeds(seeds: Sequence[Evaluated]) -> tuple[Callable[[Any], Array], None, np.ndarray]:
    """The utility of weights on the prompts of all seeds, one seed after another, and the ids of these prompts."""
    if not seeds:
        raise BadArgument("valued", expected="values by the arithmetic of responses", got="another arithmetic")
    parts = [
        (reward_utility(one.reference, one.sources, one.rewards, by_context=True), jnp.asarray(one.level).ravel())
        for one in seeds
    ]

    def utility(weights: Array) -> Array:
        return jnp.concatenate([of_seed(weights) + level for of_seed, level in parts])

    return utility, None, np.concatenate([one.prompts for one in seeds])
