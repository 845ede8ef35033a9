"""Semivalues from sampled permutations, and leave-one-out, of a utility too large for a table.

With p_s = C(n-1, s) w_s, the total weight of the coalitions of s others, a semivalue is

φ_i = Σ_s p_s E[v(S ∪ {i}) - v(S) | S a uniform coalition of s others] = E[n p_s (v(π^{<i} ∪ {i}) - v(π^{<i}))],

where π is a uniform permutation and s the position of i in it, which is uniform on 0, ..., n - 1. For Banzhaf values,
`sample_banzhaf` uses each coalition for every player instead.

Arguments that a function does not list are described in `jaxval.values`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Key, Num

from jaxval import _checks
from jaxval.coalitions.evaluation import evaluate_coalitions
from jaxval.types import Estimate, Number, Utility
from jaxval.values.permutations import sample_permutations

__all__ = ["evaluate_leave_one_out", "sample_beta_shapley", "sample_semivalue"]


def sample_semivalue(
    key: Key[Array, ""],
    utility: Utility,
    players: int,
    *,
    size_weights: Num[ArrayLike, "players"] | list[Any],
    permutations: int,
    antithetic: bool = True,
    strata: int = 1,
    spread: float | Sequence[float] | None = None,
    batch_size: int = 1024,
) -> Estimate:
    """The semivalue with given weights of sizes, from sampled permutations.

    φ_i = Σ_s p_s E[v(S ∪ {i}) - v(S)], the expectation over the coalitions S of s others. Each marginal of a
    permutation is weighted by n p_s. If few sizes carry the weight, most marginals of a player count little. Strata
    help then: the order is divided into `strata` equal parts, and each player stands once in each part. The smallest
    and the largest sizes are not evaluated if their weights together are lost in rounding.

    Source: Dubey, Neyman and Weber (1981); Kwon and Zou (2022), section 3, for the weighted marginals.

    Args:
        size_weights: (n,) the total weight p_s of the coalitions of s = 0, ..., n - 1 others; no weight is negative,
            and they sum to one. They are C(n-1, s) times the `weights` of `semivalue`.

    Returns:
        An `Estimate` with intervals as in `sample_shapley`; `evaluations` counts distinct coalitions, and among
        them the empty and the full one.

    Raises:
        ValueError: if the weights are not (n,) numbers of at least 0 that sum to one; the permutations are too few for
            a standard error, or no multiple of those drawn together; or the utility returns anything but finite
            numbers.

    Example:
        With all weight on the empty coalition, a player is worth what it does alone.

        >>> import jax
        >>> alone = [1.0, 0.0, 0.0]
        >>> estimate = sample_semivalue(
        ...     jax.random.key(0), lambda coalition: coalition.any(), 3, size_weights=alone, permutations=60, strata=3
        ... )
        >>> estimate.values.tolist()
        [1.0, 1.0, 1.0]
    """
    return sample_permutations(
        key,
        utility,
        players,
        permutations=permutations,
        antithetic=antithetic,
        strata=strata,
        size_weights=size_weights,
        spread=spread,
        batch_size=batch_size,
    )


def sample_beta_shapley(
    key: Key[Array, ""],
    utility: Utility,
    players: int,
    *,
    alpha: Number,
    beta: Number,
    permutations: int,
    antithetic: bool = True,
    strata: int = 1,
    spread: float | Sequence[float] | None = None,
    batch_size: int = 1024,
) -> Estimate:
    """Beta Shapley values from sampled permutations, p_s = C(n-1, s) B(s + β, n - s - 1 + α) / B(α, β).

    α = β = 1 gives Shapley values. A larger α puts weight on small coalitions, whose marginals stand out more from
    noise; Kwon and Zou use α = 4 or 16 and β = 1.

    Source: Kwon and Zou (2022), equation (5).

    Args:
        alpha: α, above 0.
        beta: β, above 0.

    Returns:
        An `Estimate`, as `sample_semivalue` gives it.

    Raises:
        ValueError: if α or β is not above 0 and finite, or in the cases of `sample_semivalue`.

    Example:
        >>> import jax
        >>> gifts = jnp.array([1.0, 2.0, 3.0])
        >>> estimate = sample_beta_shapley(
        ...     jax.random.key(0), lambda coalition: coalition @ gifts, 3, alpha=4, beta=1, permutations=300, strata=3
        ... )
        >>> [round(float(value), 4) for value in estimate.values]
        [1.0, 2.0, 3.0]
    """
    from scipy.special import betaln, gammaln

    players = _checks.check_size("players", players)
    a, b = (
        float(_checks.check_number(name, value, low=1e-6, high=1e6, expected="a number from 1e-6 to 1e6"))
        for name, value in (("alpha", alpha), ("beta", beta))
    )
    _checks.check_memory("players", players)
    size = np.arange(players)
    choices = gammaln(players) - gammaln(size + 1) - gammaln(players - size)
    weights = np.exp(choices + betaln(size + b, players - 1 - size + a) - betaln(a, b))
    return sample_semivalue(
        key,
        utility,
        players,
        size_weights=weights / weights.sum(),  # the sum is 1 up to rounding
        permutations=permutations,
        antithetic=antithetic,
        strata=strata,
        spread=spread,
        batch_size=batch_size,
    )


def evaluate_leave_one_out(utility: Utility, players: int, *, batch_size: int = 1024) -> Estimate:
    """The utility that the full coalition loses without player i, φ_i = v(N) - v(N∖{i}), from n + 1 evaluations.

    Source: Cook (1977); the baseline of Ghorbani and Zou (2019).

    Args:
        utility: a JAX function from a mask (players,) to a scalar or a vector of objectives, or an `evaluator`.

    Returns:
        An `Estimate`, whose errors are 0.

    Raises:
        ValueError: if the utility returns anything but finite numbers.

    Example:
        >>> estimate = evaluate_leave_one_out(lambda coalition: coalition.sum() ** 2, 40)
        >>> estimate.values[:2].tolist(), int(estimate.evaluations)
        ([79.0, 79.0], 41)
    """
    players = _checks.check_size("players", players)
    _checks.check_memory("players", players + 1, players, itemsize=1)
    coalitions = np.concatenate([np.ones((1, players), bool), ~np.eye(players, dtype=bool)])
    utilities = evaluate_coalitions(utility, coalitions, batch_size=batch_size)
    values = utilities[:1] - utilities[1:]
    return Estimate(values, jnp.zeros_like(values), jnp.asarray(players + 1), jnp.stack([values, values]))
