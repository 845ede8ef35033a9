"""Axioms of values about two players: symmetric players, and players who depend on each other.

`jaxval.axioms` describes the arguments that every axiom takes; functions list only their further ones. The functions
`with_symmetric_players` and `with_dependent_players` make games with such players.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxval import _checks, _objects
from jaxval.axioms._games import check_games, equal_within, some_or_none
from jaxval.axioms._profiles import finish
from jaxval.axioms.kinds import of_values
from jaxval.axioms.values import Gap, Value, as_value
from jaxval.types import Groups, Table

__all__ = ["PairWitness", "mutual_dependence", "symmetry", "within_group_symmetry"]


class PairWitness(NamedTuple):
    """The pair of players whose values are furthest from what they should be.

    Attributes:
        first: one player of the pair, the one of the earlier group if their groups differ; -1 if no pair meets the
            premise.
        second: the other player of the pair; -1 likewise.
        values: (players,) the values that the value returns.
    """

    first: Int[Array, ""]
    second: Int[Array, ""]
    values: Float[Array, "players"]


@of_values
def symmetry(value: Value, table: Table, groups: Groups | None = None) -> tuple[Gap, PairWitness]:
    """The largest |φ(z) - φ(z')| of two symmetric players, v(S ∪ {z}) = v(S ∪ {z'}) for all S without both.

    Source: Zheng et al., Axiom 3.4.

    Returns:
        (gap, `PairWitness`). The gap is -inf if no two players are symmetric.

    Example:
        >>> from jaxval import values
        >>> gap, witness = symmetry(values.asymmetric_shapley, [0.0, 1.0, 1.0, 1.0], [0, 1])
        >>> float(gap), witness.values.tolist()
        (1.0, [1.0, 0.0])
    """
    table, groups = check_games(table, groups)
    values, pairs = as_value(value)(table, groups), _pairs(groups)
    return _worst_pair(table, values, pairs, _difference(values, pairs, True), _symmetric(table, pairs))


@of_values
def within_group_symmetry(value: Value, table: Table, groups: Groups) -> tuple[Gap, PairWitness]:
    """The largest |φ(z) - φ(z')| of two symmetric players of one group: `symmetry` over the pairs with equal κ.

    Source: Zheng et al., Axiom 4.1, first case, as printed. ADS satisfies it, because ADS is the Shapley value within
    each group.

    Returns:
        (gap, `PairWitness`). The gap is -inf if no two players of a group are symmetric.

    Example:
        >>> from jaxval import values
        >>> one_by_one = lambda table, groups: values.asymmetric_shapley(table, np.arange(2))
        >>> float(within_group_symmetry(one_by_one, [0.0, 1.0, 1.0, 1.0], [0, 0])[0])
        1.0
        >>> float(within_group_symmetry(one_by_one, [0.0, 1.0, 1.0, 1.0], [0, 1])[0])
        -inf
    """
    table, groups = check_games(table, groups)
    values, pairs = as_value(value)(table, groups), _pairs(groups)
    together = groups[pairs[:, 0]] == groups[pairs[:, 1]]
    return _worst_pair(table, values, pairs, _difference(values, pairs, True), _symmetric(table, pairs) & together)


@of_values
def mutual_dependence(value: Value, table: Table, groups: Groups, *, version: str = "cited") -> tuple[Gap, PairWitness]:
    """How far two mutually dependent players are from the values that their groups require.

    The gap of a pair is |φ(z_i) - φ(z_j)| if κ(z_i) = κ(z_j), and |φ(z_i)| if κ(z_i) < κ(z_j). The axiom's gap is the
    largest over all dependent pairs. There are two versions of the premise:

    - version="cited", after Nowak and Radzik: v(S ∪ {z_i}) = v(S) = v(S ∪ {z_j}) for all S without both. Neither player
      adds anything without the other. Asymmetric Data Shapley satisfies this version, because the player of the later
      group gets what the two add together.
    - version="printed", the wording of Axiom 4.1: v(S ∪ {z_i}) = v(S ∪ {z_j}), the premise of symmetry. No value
      satisfies this version together with efficiency, linearity and nullity: in the game v(S) = |S| of two players,
      these three axioms give each player the value 1, and the axiom requires 0 for the player of the earlier group.

    Source: Zheng et al., Axiom 4.1; Nowak and Radzik (1995), ω-mutual dependence with equal weights.

    Args:
        version: "cited" or "printed".

    Returns:
        (gap, `PairWitness`). The gap is -inf if no pair is dependent.

    Raises:
        ValueError: as every axiom does, and if the version is neither of the two.

    Example:
        >>> from jaxval import values
        >>> both_needed, each_alone = [0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 2.0]
        >>> float(mutual_dependence(values.asymmetric_shapley, both_needed, [0, 1])[0])
        0.0
        >>> float(mutual_dependence(values.asymmetric_shapley, each_alone, [0, 1], version="printed")[0])
        1.0
    """
    _checks.check_choice("version", version, ("cited", "printed"))
    table, groups = check_games(table, groups)
    values, pairs = as_value(value)(table, groups), _pairs(groups)
    premise = _symmetric(table, pairs)
    if version == "cited":
        rows = _rows_without_both(len(groups), pairs)
        premise = premise & _equal(table, rows | 1 << pairs[:, :1], rows)
    gaps = _difference(values, pairs, groups[pairs[:, 0]] == groups[pairs[:, 1]])
    return _worst_pair(table, values, pairs, gaps, premise)


def _pairs(groups: np.ndarray) -> np.ndarray:
    """All pairs of players, (pairs, 2); the player of the earlier group comes first."""
    pairs = np.array(list(itertools.combinations(range(len(groups)), 2)), dtype=int).reshape(-1, 2)
    return np.take_along_axis(pairs, np.argsort(groups[pairs], axis=1, kind="stable"), axis=1)


def _rows_without_both(players: int, pairs: np.ndarray) -> np.ndarray:
    """The rows of S for each pair and all S without both, (pairs, 2^(n-2))."""
    index = np.arange(2**players)
    rows = [index[(index & (i | j)) == 0] for i, j in 1 << pairs]
    return np.array(rows, dtype=int).reshape(len(pairs), len(index) // 4)


def _symmetric(table: Array, pairs: np.ndarray) -> Array:
    """Whether the players of each pair are symmetric, v(S ∪ {z_i}) = v(S ∪ {z_j}) for all S without both."""
    rows = _rows_without_both(_objects.players_of(table), pairs)
    return _equal(table, rows | 1 << pairs[:, :1], rows | 1 << pairs[:, 1:])


@jax.jit
def _equal(table: Array, left: Array, right: Array) -> Array:
    """Whether the utilities of the rows on both sides are equal, within the tolerance, throughout the last axis."""
    return jnp.all(jnp.abs(table[left] - table[right]) <= equal_within(table), axis=-1)


@jax.jit
def _difference(values: Array, pairs: Array, together: Array) -> Array:
    """|φ(z_i) - φ(z_j)| for a pair of one group, |φ(z_i)| for another pair."""
    return jnp.abs(values[pairs[:, 0]] - jnp.where(together, values[pairs[:, 1]], 0))


def _worst_pair(
    table: Array, values: Array, pairs: np.ndarray, gaps: Array, premise: Array
) -> tuple[Array, PairWitness]:
    """The largest gap of the pairs that meet the premise, and that pair."""
    gap, first, second = _largest(table, values, pairs, gaps, premise)
    return finish(gap, of="value"), PairWitness(first, second, values)


@jax.jit
def _largest(table: Array, values: Array, pairs: Array, gaps: Array, premise: Array) -> tuple[Array, Array, Array]:
    # One entry of -inf is appended, so that a game of one player, which has no pair, has a largest gap too.
    gaps = jnp.append(jnp.where(premise, gaps, -jnp.inf), -jnp.inf)
    named = jnp.append(jnp.where(premise[:, None], pairs, -1), jnp.full((1, 2), -1), axis=0)
    worst = jnp.argmax(gaps)
    gap = jnp.where(jnp.any(jnp.isnan(values)), jnp.nan, some_or_none(gaps[worst], equal_within(table)))
    return gap, named[worst, 0], named[worst, 1]
