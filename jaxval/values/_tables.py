"""The common parts of exact values: the check of a table, and weighted sums over coalitions in O(2^n) work.

The n bits of a row's index are divided into digits, each of several bits. A sum over one digit, by the number of its
bits that are set, leaves an array (size, 2^(n - width), ...), which is small enough to be weighted by |S|. The players
outside that digit remain in it. Two such sums cover every player and three cover every pair of players, so a table is
read two or three times. The only array of the table's size that is written is v(S) - v(∅), and only if the level of
the utilities would cost digits.
"""

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
    return jnp.sum(_sum_digit(table, weights, 0, _digit(players_of(table))), axis=0)


def player_sums(table: Array, weights: Array) -> Array:
    """Σ_{S∋i} weights[|S|] table[S] for every player i, (n, ...), with (n + 1,) weights."""
    n = players_of(table)
    digit = _digit(n)
    below = _member_sums(_sum_digit(table, weights, n - digit, digit))
    above = _member_sums(_sum_digit(table, weights, 0, digit))
    return jnp.concatenate([below, above[n - 2 * digit :]])


def pair_sums(table: Array, weights: Array) -> Array:
    """Σ_{S∋i,j} weights[|S|] table[S] for every pair of players, (n, n, ...); the diagonal holds `player_sums`."""
    n = players_of(table)
    digit = n // 3
    starts = (0, digit, n - digit)
    widths = (digit, n - 2 * digit, digit)
    sums = jnp.zeros((n, n, *table.shape[1:]), table.dtype)
    for start, width in zip(starts, widths, strict=True):
        left = np.setdiff1d(np.arange(n), np.arange(start, start + width))
        if len(left):
            rest = _sum_digit(table, weights, start, width)
            member = _bits(len(left), table.dtype)
            pairs = jnp.einsum("si,sj,s...->ij...", member, member, rest, precision=HIGHEST)
            sums = sums.at[left[:, None], left[None, :]].set(pairs)
    return sums


def _digit(players: int) -> int:
    """The width of a digit: half of the players, but at most 7, so that the work for a coalition stays bounded."""
    return min(players // 2, 7)  # a digit of 7 bits has 8 sizes, which fill the registers of a product; 9 do not


def _sum_digit(table: Array, weights: Array, start: int, width: int) -> Array:
    """Σ weights[|S|] table[S] over the subsets of players start..start+width-1; 2^(n-width) rows are left."""
    n = players_of(table)
    above, below = n - start - width, start
    by_size = _of_size(width, table.dtype)
    digits = table.reshape(2**above, 2**width, -1)
    # Matrix products in these plain forms need no copy of the table. Accelerators would round the utilities to 10 bits
    # if full precision were not asked for.
    if digits.shape[2] == 1:
        sums = jnp.matmul(digits[:, :, 0], by_size, precision=HIGHEST)
    elif above == 0:
        sums = jnp.matmul(by_size.T, digits[0], precision=HIGHEST)
    else:
        sums = jnp.matmul(jnp.broadcast_to(by_size.T, (2**above, *by_size.T.shape)), digits, precision=HIGHEST)
    # weights[|above| + size + |below|], again by products, because a gather of that many numbers is slow on CPUs.
    size = np.arange(above + 1)[:, None] + np.arange(width + 1)[None, :]
    size = size.reshape(above + 1, width + 1, 1) + np.arange(below + 1).reshape(1, 1, below + 1)
    expanded = weights[size].reshape(above + 1, -1)
    if above:
        expanded = jnp.matmul(_of_size(above, table.dtype), expanded, precision=HIGHEST)
    if below:
        expanded = jnp.matmul(expanded.reshape(-1, below + 1), _of_size(below, table.dtype).T, precision=HIGHEST)
    sums = sums.reshape(2**above, width + 1, -1)
    expanded = expanded.reshape(2**above, width + 1, 2**below)
    if table.ndim == 1:
        return jnp.sum(sums * expanded, axis=1).reshape(-1)
    sums = sums.reshape(*expanded.shape, -1) * expanded[..., None]
    return jnp.sum(sums, axis=1).reshape(2 ** (n - width), *table.shape[1:])


def _member_sums(table: Array) -> Array:
    """Σ_{S∋i} table[S] for every player i, (n, ...), from two sums over half of the bits each."""
    n = players_of(table)
    digits = table.reshape(2 ** (n - n // 2), 2 ** (n // 2), -1)
    parts = [(digits.sum(axis=0), n // 2), (digits.sum(axis=1), n - n // 2)]
    sums = [_bits(width, table.dtype).T @ half for half, width in parts]
    return jnp.concatenate(sums).reshape(n, *table.shape[1:])


def _of_size(players: int, dtype: Any) -> np.ndarray:
    """1 if a coalition has s members and 0 otherwise, (2^players, players + 1)."""
    return (_bits(players, int).sum(axis=1)[:, None] == np.arange(players + 1)[None, :]).astype(dtype)


def _bits(players: int, dtype: Any) -> np.ndarray:
    index = np.arange(2**players)[:, None]
    return ((index >> np.arange(players)[None, :]) & 1).astype(dtype)
