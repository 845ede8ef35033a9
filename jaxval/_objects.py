"""Checks of the objects of the field: preference functions, rankings, lotteries; tables of games, groups, unions.

They are built from the checks of kinds of arguments, in `_checks`.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval._checks import check_memory, concrete, floating, integers, known_array, real_array, tolerance
from jaxval.types import BadArgument

SMALL = 2**16  # numbers
BLOCK = 256  # rows and columns
OF_WINS = "from counts of wins call preferences.empirical_matrix(wins)"
TABLE = "a table (2^players, *objectives), bit i of a row's index being player i"


def check_matrix(matrix: Any, *, name: str = "matrix") -> Array:
    """Check a preference function: square, in [0, 1], P + Pᵀ = 1, diagonal 1/2."""
    array = floating(name, matrix, ndim=2, expected="a square array (alternatives, alternatives)")
    if array.shape[0] != array.shape[1] or array.shape[0] == 0:
        raise BadArgument(name, expected="a square array (alternatives, alternatives)", got=f"shape {array.shape}")
    if concrete(array):
        values = np.asarray(array)
        limit = tolerance(array.dtype)
        if values.min() < -limit or values.max() > 1 + limit:
            got = f"{values.min():g} to {values.max():g}"
            raise BadArgument(name, expected="shares in [0, 1]", got=got, advice=OF_WINS)
        largest, i, j = _skewness(values)
        if largest > limit:
            raise BadArgument(
                name,
                expected="P + Pᵀ = 1 with diagonal 1/2",
                got=f"P[{i}, {j}] + P[{j}, {i}] = {values[i, j] + values[j, i]:g}",
                advice=OF_WINS,
            )
    return array


def _skewness(values: np.ndarray) -> tuple[float, int, int]:
    """The largest |P + Pᵀ - 1|, and where it is."""
    worst = (-1.0, 0, 0)
    for top in range(0, len(values), BLOCK):  # a transpose is fast if block and transposed block fit into the cache
        for left in range(top, len(values), BLOCK):
            block = values[top : top + BLOCK, left : left + BLOCK]
            skew = np.abs(block + values[left : left + BLOCK, top : top + BLOCK].T - 1)
            i, j = np.unravel_index(skew.argmax(), skew.shape)
            worst = max(worst, (float(skew[i, j]), top + int(i), left + int(j)))
    return worst


def check_orders(orders: Any, *, name: str = "orders") -> Array:
    """Check rankings: (rankings, alternatives) integers, every row a permutation, best first."""
    array = integers(name, orders, ndim=2, expected="integer rankings (rankings, alternatives), best first")
    if 0 in array.shape:
        raise BadArgument(name, expected="at least one ranking of at least one alternative", got=f"shape {array.shape}")
    if concrete(array):
        values = np.asarray(array)
        alternatives = values.shape[1]
        if values.size < SMALL:  # NumPy has nothing to compile
            wrong = (np.sort(values, axis=1) != np.arange(alternatives)).any(axis=1)
        else:
            with jax.ensure_compile_time_eval():  # known values stay known inside a caller's `jit`
                wrong = ~np.asarray(_permutations(array))
        if wrong.any():
            row = int(wrong.argmax())
            raise BadArgument(
                name,
                expected=f"every row to be a permutation of 0..{alternatives - 1}, best first",
                got=f"row {row} = {values[row].tolist()}",
                advice="ballots with ties or gaps go into types.Ballots",
            )
    return array


@jax.jit
def _permutations(orders: Array) -> Array:
    """Whether each row contains every alternative, and therefore each of them once."""
    # Each alternative sets one bit in a word of 32 bits; the row is complete if all bits are set.
    alternatives = orders.shape[1]
    complete = jnp.ones(orders.shape[0], dtype=bool)
    for first in range(0, alternatives, 32):
        inside = (orders >= first) & (orders < min(first + 32, alternatives))
        bits = jnp.where(inside, jnp.uint32(1) << jnp.where(inside, orders - first, 0).astype(jnp.uint32), 0)
        marked = jax.lax.reduce(bits, jnp.uint32(0), jax.lax.bitwise_or, (1,))
        complete &= marked == jnp.uint32(2 ** min(32, alternatives - first) - 1)
    return complete


def check_weights(weights: Any, rankings: int, *, name: str = "weights") -> Array:
    """Check the shares of the rankings: non-negative numbers that sum to one. None means equal shares."""
    if weights is None:
        return known_array(np.full(rankings, 1 / rankings))
    array = floating(name, weights, ndim=1, expected=f"({rankings},) shares that sum to one")
    if array.shape != (rankings,):
        raise BadArgument(name, expected=f"one share for each of {rankings} rankings", got=f"shape {array.shape}")
    if concrete(array):
        values = np.asarray(array, dtype=float)
        if values.min() < 0:
            raise BadArgument(
                name, expected="non-negative shares", got=f"{values.min():g} for ranking {int(values.argmin())}"
            )
        if abs(values.sum() - 1) > max(tolerance(array.dtype), len(values) * 1e-8):
            raise BadArgument(
                name,
                expected="shares that sum to one",
                got=f"a sum of {values.sum():g}",
                advice="for counts pass counts / counts.sum()",
            )
    return array


def check_lottery(lottery: Any, alternatives: int, *, name: str = "lottery") -> Array:
    """Check the probabilities of the alternatives: non-negative numbers that sum to one."""
    array = floating(name, lottery, ndim=1, expected=f"({alternatives},) probabilities")
    if array.shape != (alternatives,):
        raise BadArgument(name, expected=f"one probability for each of {alternatives}", got=f"shape {array.shape}")
    if concrete(array):
        values = np.asarray(array, dtype=float)
        if values.min() < -tolerance(array.dtype) or abs(values.sum() - 1) > max(tolerance(array.dtype), 1e-8):
            raise BadArgument(
                name,
                expected="non-negative probabilities that sum to one",
                got=f"a sum of {values.sum():g} and a least probability of {values.min():g}",
            )
    return array


def check_table(table: Any, *, name: str = "table", players: int = 1) -> Array:
    """Check a table: finite utilities of all 2^n coalitions of at least `players` players."""
    array = floating(name, table, ndim=None, expected=TABLE)
    rows = array.shape[0]
    if rows < 2**players or rows & (rows - 1) or array.size == 0:
        raise BadArgument(
            name,
            expected=f"{TABLE}, of at least {players} player{'s' * (players > 1)}",
            got=f"shape {array.shape}",
            advice="call coalitions.tabulate(utility, players)",
        )
    return array


def players_of(table: Array) -> int:
    """The number n of players of a table with 2^n rows."""
    return table.shape[0].bit_length() - 1


def check_groups(groups: Any, players: int) -> np.ndarray:
    """Check groups: known numbers 0, 1, ..., one for each player, without a gap. None means one group."""
    check_memory("players", players)
    if groups is None:
        return np.zeros(players, dtype=np.int32)
    expected = f"({players},) groups 0, 1, ..., one for each"
    if not concrete(groups):
        raise BadArgument(
            "groups", expected=f"{expected}, with known values", got="a tracer", advice="close over them outside jit"
        )
    with jax.ensure_compile_time_eval():
        values = np.asarray(integers("groups", groups, ndim=1, expected=expected))
    if values.shape != (players,):
        raise BadArgument("groups", expected=expected, got=f"shape {values.shape}")
    present = np.unique(values)
    if present[0] != 0 or present[-1] != len(present) - 1:
        raise BadArgument(
            "groups",
            expected="the groups 0, 1, ... without a gap",
            got=present[:8].tolist(),
            advice="call numpy.unique(groups, return_inverse=True)[1]",
        )
    return values.astype(np.int32)


def check_unions(unions: Any, players: int) -> np.ndarray:
    """Check unions, (levels, players): each level divides the players, and divides the unions of the level above."""
    expected = f"({players},) unions 0, 1, ..., one for each player, or (levels, {players}) of them"
    if not concrete(unions):
        advice = "close over them outside jit"
        raise BadArgument("unions", expected=f"{expected}, with known values", got="a tracer", advice=advice)
    with jax.ensure_compile_time_eval():  # known values stay known inside a caller's `jit`
        given = real_array("unions", unions, expected)
        array = np.asarray(integers("unions", given, ndim=max(1, min(given.ndim, 2)), expected=expected))
    levels = np.atleast_2d(array)
    if levels.shape[1] != players or len(levels) == 0:
        raise BadArgument("unions", expected=expected, got=f"shape {array.shape}")
    for level, row in enumerate(levels):
        present = np.unique(row)
        if present[0] != 0 or present[-1] != len(present) - 1:
            raise BadArgument(
                "unions",
                expected="the unions 0, 1, ... without a gap",
                got=f"{present[:8].tolist()} at level {level}",
                advice="call numpy.unique(unions, return_inverse=True)[1]",
            )
    for level, (above, row) in enumerate(itertools.pairwise(levels)):
        for union in range(row.max() + 1):
            if len(holders := np.unique(above[row == union])) > 1:
                raise BadArgument(
                    "unions",
                    expected="each union to lie within one union of the level above it",
                    got=f"union {union} of level {level + 1} in the unions {holders.tolist()} of level {level}",
                )
    return levels.astype(np.int32)
