"""Semivalues from the table of a game: weighted means of a player's marginals over the coalitions of the others.

φ_i = Σ_{S⊆N∖{i}} w_{|S|} [v(S∪{i}) - v(S)]. Semivalues differ only in the weights w. All of them are

φ_i = Σ_{S∋i} (w_{|S|-1} + w_{|S|}) v(S) - Σ_S w_{|S|} v(S),  w_{-1} = w_n = 0,

which takes a fixed number of passes over the table. If the utilities differ little from v(∅), then v(∅) is subtracted
first, so that a constant in the utilities costs no digits.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from jaxval import _checks
from jaxval.types import BadArgument, Number, Table
from jaxval.values._tables import check_table, gains_over_empty, player_sums, players_of, small_gains, weighted_sum

__all__ = ["banzhaf", "beta_shapley", "leave_one_out", "semivalue", "shapley"]

Values = Float[Array, "players *objectives"]


def shapley(table: Table) -> Values:
    """The Shapley value, φ_i = Σ_{S⊆N∖{i}} |S|! (n - |S| - 1)! / n! [v(S∪{i}) - v(S)].

    Source: Shapley (1953); Tamine et al., equation (3); Zheng et al., equation (2).

    Args:
        table: (2^n, *objectives) utilities of all coalitions, bit i of the index being player i.

    Returns:
        (n, *objectives) values; they sum to v(N) - v(∅).

    Raises:
        ValueError: if the table's length is not a power of two of at least 2, or a utility is not finite.

    Example:
        >>> shapley([0.0, 1.0, 2.0, 4.0]).tolist()
        [1.5, 2.5]
    """
    return _shapley(gains_over_empty(check_table(table)))


def banzhaf(table: Table) -> Values:
    """The Banzhaf value, φ_i = 1 / 2^(n-1) Σ_{S⊆N∖{i}} [v(S∪{i}) - v(S)].

    Source: Banzhaf (1965); Wang and Jia (2023) for data.

    The argument and the errors are those of `shapley`. The values need not sum to v(N) - v(∅).

    Example:
        >>> banzhaf([0.0, 1.0, 2.0, 4.0]).tolist()
        [1.5, 2.5]
    """
    return _banzhaf(gains_over_empty(check_table(table)))


def beta_shapley(table: Table, *, alpha: Number, beta: Number) -> Values:
    """Beta Shapley, the semivalue with w_s = B(s + β, n - s - 1 + α) / B(α, β).

    α = β = 1 gives the Shapley value. A larger α puts weight on small coalitions, a larger β on large coalitions.

    Source: Kwon and Zou (2022), equation (5).

    Args:
        table: (2^n, *objectives) utilities of all coalitions.
        alpha: α, above 0.
        beta: β, above 0.

    Returns:
        (n, *objectives) values.

    Raises:
        ValueError: if the table's length is not a power of two of at least 2, a utility is not finite, or α or β is not
            above 0 and finite.

    Example:
        >>> beta_shapley([0.0, 1.0, 2.0, 4.0], alpha=1.0, beta=1.0).tolist()
        [1.5, 2.5]
        >>> beta_shapley([0.0, 1.0, 2.0, 4.0], alpha=3.0, beta=1.0).tolist()
        [1.25, 2.25]
    """
    table = check_table(table)
    tiny, largest = float(jnp.finfo(table.dtype).tiny), float(jnp.finfo(table.dtype).max)
    alpha = _checks.check_number("alpha", alpha, low=tiny, high=largest, expected="a finite number above 0")
    beta = _checks.check_number("beta", beta, low=tiny, high=largest, expected="a finite number above 0")
    n = players_of(table)
    return jax.jit(_semivalue)(gains_over_empty(table), _beta_weights(alpha, beta, n))


def semivalue(table: Table, *, weights: Num[Any, "players"] | list[Any]) -> Values:
    """The semivalue with given weights, φ_i = Σ_{S⊆N∖{i}} w_{|S|} [v(S∪{i}) - v(S)].

    Source: Dubey, Neyman and Weber (1981).

    Args:
        table: (2^n, *objectives) utilities of all coalitions.
        weights: (n,) weights w_s of one coalition of s other players. No weight is negative, and
            Σ_s C(n-1, s) w_s = 1.

    Returns:
        (n, *objectives) values.

    Raises:
        ValueError: if the table's length is not a power of two of at least 2, a utility is not finite, there is not one
            weight for each size 0..n-1, a weight is negative, or Σ_s C(n-1, s) w_s is not 1.

    Example:
        >>> semivalue([0.0, 1.0, 2.0, 4.0], weights=[1.0, 0.0]).tolist()
        [1.0, 2.0]
    """
    table = check_table(table)
    n = players_of(table)
    weights = _checks.floating("weights", weights, ndim=1, expected=f"({n},) weights, one for each size 0..{n - 1}")
    if weights.shape != (n,):
        raise BadArgument(
            "weights", expected=f"one weight for each size 0..{n - 1} of a coalition", got=f"shape {weights.shape}"
        )
    if _checks.concrete(weights):
        known = np.asarray(weights, dtype=float)
        total = sum(math.comb(n - 1, size) * known[size] for size in range(n))
        if known.min() < 0:
            raise BadArgument(
                "weights",
                expected="no negative weight",
                got=f"{known.min():g} for coalitions of size {int(known.argmin())}",
            )
        if abs(total - 1) > max(_checks.tolerance(weights.dtype), 1e-8):
            raise BadArgument(
                "weights",
                expected="weights w_s for which the products C(n-1, s) w_s sum to one",
                got=f"a sum of {total:g}",
                advice="if each weight is the total of all coalitions of size s, divide it by C(n-1, s)",
            )
    return jax.jit(_semivalue)(gains_over_empty(table), weights)


def leave_one_out(table: Table) -> Values:
    """The utility that the full coalition loses without player i, φ_i = v(N) - v(N∖{i}).

    The argument and the errors are those of `shapley`. Only n + 1 of the 2^n rows enter. For a utility of many players,
    evaluate these coalitions alone, as the second example does.

    Example:
        >>> leave_one_out([0.0, 1.0, 2.0, 4.0]).tolist()
        [2.0, 3.0]
        >>> from jaxval.coalitions import evaluate_coalitions
        >>> everybody, all_but_one = np.ones((1, 40), bool), ~np.eye(40, dtype=bool)
        >>> full, without = jnp.split(evaluate_coalitions(jnp.sum, np.concatenate([everybody, all_but_one])), [1])
        >>> (full - without)[:3].tolist()
        [1.0, 1.0, 1.0]
    """
    return _leave_one_out(check_table(table))


@jax.jit
def _leave_one_out(table: Array) -> Array:
    full = table.shape[0] - 1
    return table[-1][None] - table[full - 2 ** np.arange(players_of(table))]


@functools.partial(jax.jit, static_argnames="n")
def _beta_weights(alpha: Array, beta: Array, n: int) -> Array:
    # As a product, w_s = Π_{k<s} (β + k) Π_{k<n-1-s} (α + k) / Π_{k<n-1} (α + β + k), which needs no gamma function.
    s, k = jnp.arange(n)[:, None], jnp.arange(n - 1)[None, :]
    return jnp.prod(jnp.where(k < s, beta + k, alpha + k - s) / (alpha + beta + k), axis=1)


@jax.jit
def _shapley(table: Array) -> Array:
    n = players_of(table)
    return _semivalue(table, np.array([1 / (n * math.comb(n - 1, size)) for size in range(n)]))


@jax.jit
def _banzhaf(table: Array) -> Array:
    n = players_of(table)
    return _semivalue(table, np.full(n, 0.5 ** (n - 1)))


def _semivalue(table: Array, weights: Any) -> Array:
    table, weights = small_gains(table), jnp.asarray(weights, dtype=table.dtype)
    without = jnp.append(weights, 0)
    within = without + jnp.insert(weights, 0, 0)
    return player_sums(table, within) - weighted_sum(table, without)[None]
