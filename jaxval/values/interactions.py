"""Interactions of two players: how much more, or less, they add together than each of them alone.

I_ij = Σ_{S⊆N∖{i,j}} w_{|S|} [v(S∪{i,j}) - v(S∪{i}) - v(S∪{j}) + v(S)]. The two indices differ only in the weights w.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxval.types import Table
from jaxval.values._tables import (
    check_table,
    gains_over_empty,
    pair_sums,
    player_sums,
    players_of,
    small_gains,
    weighted_sum,
)

__all__ = ["banzhaf_interactions", "shapley_interactions"]

Interactions = Float[Array, "players players *objectives"]


def shapley_interactions(table: Table) -> Interactions:
    """The Shapley interaction index of pairs, w_s = s! (n - s - 2)! / (n - 1)!.

    Source: Grabisch and Roubens (1999). The diagonal is 0.

    Args:
        table: (2^n, *objectives) utilities of all coalitions, bit i of the index being player i.

    Returns:
        (n, n, *objectives) symmetric interactions. An interaction is above 0 if the two players add more together than
        each of them alone.

    Raises:
        ValueError: if the table's length is not a power of two of at least 2, or a utility is not finite.

    Example:
        >>> shapley_interactions([0.0, 1.0, 2.0, 4.0]).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    return _shapley_interactions(gains_over_empty(check_table(table)))


def banzhaf_interactions(table: Table) -> Interactions:
    """The Banzhaf interaction index of pairs, w_s = 1 / 2^(n-2).

    Source: Grabisch and Roubens (1999). The diagonal is 0.

    The argument, the result and the errors are those of `shapley_interactions`.

    Example:
        >>> banzhaf_interactions([0.0, 1.0, 2.0, 4.0]).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    return _banzhaf_interactions(gains_over_empty(check_table(table)))


@jax.jit
def _shapley_interactions(table: Array) -> Array:
    n = players_of(table)
    return _interactions(table, np.array([1 / ((n - 1) * math.comb(n - 2, size)) for size in range(n - 1)]))


@jax.jit
def _banzhaf_interactions(table: Array) -> Array:
    n = players_of(table)
    return _interactions(table, np.full(n - 1, 0.5 ** (n - 2)))


def _interactions(table: Array, weights: Any) -> Array:
    """Σ_S c(S) v(S) for each pair: c(S) is w_{s-2} if both players are in S, -w_{s-1} if one is, w_s if none is."""
    n, table = players_of(table), small_gains(table)
    none = jnp.pad(jnp.asarray(weights, dtype=table.dtype), (0, 2))
    one, both = jnp.roll(none, 1), jnp.roll(none, 2)
    pairs = pair_sums(table, both + 2 * one + none)
    single = player_sums(table, one + none)
    interactions = pairs - single[:, None] - single[None, :] + weighted_sum(table, none)[None, None]
    off = ~np.eye(n, dtype=bool).reshape(n, n, *(1,) * (table.ndim - 1))
    return jnp.where(off, interactions, 0)
