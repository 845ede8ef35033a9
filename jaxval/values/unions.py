"""Values of players in unions: Owen's value, and Winter's value for unions within unions, from a table.

The unions of one level divide the players. With several levels, each union lies within one union of the level above it:
a provider's data sets, and the subsets of each data set.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxval import _checks, _objects
from jaxval.types import Table, Unions
from jaxval.values._tables import check_table, players_of
from jaxval.values.semivalues import shapley

__all__ = ["owen"]

SMALL = 2**16  # numbers


def owen(table: Table, unions: Unions) -> Float[Array, "players *objectives"]:
    """Owen's value: the mean marginal over the permutations in which the players of every union stand together.

    For a union U and a set T of its members, let the other unions join as wholes, and let T join in U's place:

    v_U(T) = Σ_{R⊆K∖{U}} |R|! (k - |R| - 1)! / k! [v(∪R ∪ T) - v(∪R)],

    where K is the set of the k unions. The value of a member of U is its Shapley value in the game v_U. If there are
    further levels, it is the member's Owen value in v_U for the unions of the next level. The values of a union
    therefore sum to the Shapley value of that union in the game between the unions.

    Source: Owen (1977); Winter (1989) for several levels.

    Args:
        table: (2^n, *objectives) utilities of all coalitions, bit i of the index being player i.
        unions: (n,) the union 0, 1, ... of each player, or (levels, n), coarsest first; integers, not a tracer.

    Returns:
        (n, *objectives) values; they sum to v(N) - v(∅). `owner_totals` sums them for each union of a level.

    Raises:
        ValueError: if the table's length is not a power of two of at least 2, a utility is not finite, there is not one
            union for each player, a number of a union is skipped, or a union lies in two unions of the level above.

    Example:
        >>> table = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]  # player 2 needs one of the players 0 and 1
        >>> [round(float(value), 4) for value in shapley(table)]
        [0.1667, 0.1667, 0.6667]
        >>> owen(table, [0, 0, 1]).tolist()
        [0.25, 0.25, 0.5]
    """
    table = check_table(table)
    levels = _objects.check_unions(unions, players_of(table))
    small = _checks.concrete(table) and table.size <= SMALL  # NumPy has nothing to compile for each size of a union
    return jnp.asarray(_owen(np.asarray(table) if small else table, levels))


def _owen(table: np.ndarray | Array, levels: np.ndarray) -> Any:
    """The value of every player of the game, whose unions are given coarsest first."""
    if len(levels) == 0:
        return shapley(table)
    numpy: Any = np if isinstance(table, np.ndarray) else jnp
    unions = [np.flatnonzero(levels[0] == union) for union in np.unique(levels[0])]
    # Shapley's weights of the sets R of other unions, |R| being the number of bits of R's index
    sizes = np.bitwise_count(np.arange(2 ** (len(unions) - 1), dtype=np.uint32))
    between = numpy.asarray(_shapley_weights(len(unions))[sizes], dtype=table.dtype)
    values = []
    for union, members in enumerate(unions):
        others = [sum(1 << int(other) for other in joined) for joined in unions[:union] + unions[union + 1 :]]
        rows = _sums(others)[:, None] + _sums([1 << int(member) for member in members])[None, :]
        played = table[rows]  # v(∪R ∪ T), (2^(k-1), 2^|U|, *objectives)
        within = numpy.tensordot(between, played - played[:, :1], axes=1)
        values.append(_owen(within, levels[1:, members]))
    return numpy.concatenate(values)[np.argsort(np.concatenate(unions))]


def _sums(numbers: list[int]) -> np.ndarray:
    """The sums of all subsets of numbers, bit j of the index being number j."""
    sums = np.zeros(1, np.int64)
    for number in numbers:
        sums = np.concatenate([sums, sums + number])
    return sums


def _shapley_weights(players: int) -> np.ndarray:
    """The weights s! (k - s - 1)! / k! of sets of s = 0, ..., k - 1 others."""
    weights = np.full(players, 1 / players)
    for size in range(1, players):
        weights[size] = weights[size - 1] * size / (players - size)
    return weights
