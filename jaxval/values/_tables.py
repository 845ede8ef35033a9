"""The common parts of exact values: the check of a table, and weighted sums over coalitions in O(2^n) work.

The n bits of a row's index are players; a digit is a few of them that stand side by side. A sum over the subsets D of a
digit, sorted by size, leaves the coalitions R of the other players,

    Σ_D weights[|D| + |R|] table[D ∪ R] = Σ_s weights[s + |R|] Σ_{|D|=s} table[D ∪ R],

which costs one pass over the table, one addition a row, and gives the sums of all players outside the digit. Two digits
cover every player and three cover every pair of players, so a table is read two or three times, and once more for a sum
over all coalitions. The only array of the table's size that is written is v(S) - v(∅), and only if the level of the
utilities would cost digits.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval import _checks
from jaxval._objects import check_table, players_of

__all__ = ["check_table", "gains_over_empty", "pair_sums", "player_sums", "players_of", "small_gains", "weighted_sum"]

FEW = 1024  # rows that tell whether the level of a table costs digits
# Below LARGE rows v(∅) is subtracted inside the compiled sums, which is faster than testing whether that is needed.
# From a larger table it is subtracted only if needed, in BLOCKS blocks.
LARGE, BLOCKS = 2**18, 16
HIGHEST = jax.lax.Precision.HIGHEST


def gains_over_empty(table: Array) -> Array:
    """The game v(S) - v(∅), which has the values of v.

    Sums over it are rounded relative to the range of v, not to its level. A known table whose level costs no digits is
    returned as it is, and so is a small table, from which `small_gains` subtracts v(∅).
    """
    if len(table) < LARGE:
        return table
    if _checks.concrete(table):
        # If |v(∅)| is at most twice the range of v, then no |v| exceeds three times the range, and nothing is gained.
        # A few rows usually suffice to show this, because the range of all rows is at least theirs.
        few = np.asarray(table)[:FEW].astype(np.float64)
        if bool((np.abs(few[0]) <= 2 * np.ptp(few, axis=0)).all()):
            return table
    # The difference of two floating-point numbers near each other is exact; sums of such numbers are not. The weights
    # of the utilities in a value sum to zero, so a gradient through v(∅) would add nothing but rounding.
    empty = jax.lax.stop_gradient(table[0])
    # XLA would subtract once for each product that reads the result, and keep all the copies. The result of a loop is
    # computed once.
    blocks = table.reshape(BLOCKS, -1, *table.shape[1:])
    return jax.lax.map(lambda block: block - jnp.broadcast_to(empty, block.shape), blocks).reshape(table.shape)


def small_gains(table: Array) -> Array:
    """The game v(S) - v(∅) of a small table; a large table is returned unchanged. For use inside compiled functions."""
    return table - jax.lax.stop_gradient(table[:1]) if len(table) < LARGE else table


def weighted_sum(table: Array, weights: Array) -> Array:
    """Σ_S weights[|S|] table[S], with (n + 1,) weights."""
    first, _ = _digits(players_of(table))
    return _member_sums(_sum_digit(table, weights, first))[-1]


def player_sums(table: Array, weights: Array) -> Array:
    """Σ_{S∋i} weights[|S|] table[S] for every player i, (n, ...), with (n + 1,) weights."""
    first, second = _digits(players_of(table))
    others = _member_sums(_sum_digit(table, weights, first))[:-1]
    inside = _member_sums(_sum_digit(table, weights, second))[first.start : first.stop]
    return jnp.concatenate([others[: first.start], inside, others[first.start :]])


def pair_sums(table: Array, weights: Array) -> Array:
    """Σ_{S∋i,j} weights[|S|] table[S] for every pair of players, (n, n, ...); the diagonal holds `player_sums`."""
    n = players_of(table)
    width = min(n // 3, 6)
    sums = jnp.zeros((n, n, *table.shape[1:]), table.dtype)
    for digit in (range(n - 3 * width, n - 2 * width), range(n - 2 * width, n - width), range(n - width, n)):
        left = np.setdiff1d(np.arange(n), digit)
        rest = _sum_digit(table, weights, digit).reshape(2 ** len(left), *table.shape[1:])
        member = _bits(len(left), table.dtype)
        pairs = jnp.einsum("si,sj,s...->ij...", member, member, rest, precision=HIGHEST)
        sums = sums.at[left[:, None], left[None, :]].set(pairs)
    return sums


def _digits(players: int) -> tuple[range, range]:
    """Two digits that share no player, of at most 6 and 5 players; empty ones if there are too few players.

    The sum of one size adds up to 20 parts of the table, which lie 2^start rows apart. They come from the cache as long
    as this is less than a page of memory, so the digits start low. They leave out the lowest two players, so that a
    part is no single row.
    """
    first = min(max(players - 2, 0), 6)
    second = min(max(players - 2, 0) - first, 5)
    start = min(players, 2)
    return range(start, start + first), range(start + first, start + first + second)


def _sum_digit(table: Array, weights: Array, digit: range) -> Array:
    """Σ_D weights[|D| + |R|] table[D ∪ R] over the subsets D of a digit, (2^above, 2^below, ...)."""
    above, below = players_of(table) - digit.stop, digit.start
    parts = table.reshape(2**above, 2 ** len(digit), -1)
    subsets = [jnp.squeeze(part, 1) for part in jax.lax.split(parts, [1] * 2 ** len(digit), axis=1)]
    rest = jax.lax.population_count(jnp.arange(2 ** (above + below)))
    total: Any = 0
    for size in range(len(digit) + 1):
        of_size = functools.reduce(jnp.add, [part for D, part in enumerate(subsets) if D.bit_count() == size])
        weight = weights.at[size + rest].get(mode="promise_in_bounds")
        if table.ndim > 1:
            weight = jnp.repeat(weight, table[0].size)
        total += weight.reshape(of_size.shape) * of_size
    return total.reshape(2**above, 2**below, *table.shape[1:])


def _member_sums(sums: Array) -> Array:
    """Σ_{R∋i} sums[R] for every player i outside a digit, and then Σ_R sums[R]; sums are (2^above, 2^below, ...)."""
    above, below = (players_of(part) for part in (sums, sums[0]))
    middle = above // 2
    # By products with bits and a one, because XLA would compute `sums` anew for every other kind of sum.
    top, mid, low = (
        np.pad(_bits(players, sums.dtype), ((0, 0), (0, 1)), constant_values=1)
        for players in (above - middle, middle, below)
    )
    rows = jnp.einsum("ab...,bk->a...k", sums, low, precision=HIGHEST)
    rows = rows.reshape(len(top), len(mid), *rows.shape[1:])
    each = jnp.einsum("ti,tm...k,mj->ijk...", top, rows, mid, precision=HIGHEST)
    return jnp.concatenate([each[-1, -1, :-1], each[-1, :-1, -1], each[:, -1, -1]])


def _bits(players: int, dtype: Any) -> np.ndarray:
    index = np.arange(2**players)[:, None]
    return ((index >> np.arange(players)[None, :]) & 1).astype(dtype)
