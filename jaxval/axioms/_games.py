"""What the axioms of values share: checked games, the rows that a change of a game reads, and what counts as equal.

The range of a game is its largest utility minus its smallest. Two utilities are equal if they differ by at most the
tolerance times the range, so that adding a constant to all utilities changes no premise. A gap of at most the same
limit is 0: neither the slack of a premise nor rounding counts as a violation.

The functions of arrays are compiled whole: operation by operation, an axiom would compile fifty programs.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval import _checks, _objects
from jaxval.types import BadArgument, Groups, Table

__all__ = [
    "check_game",
    "check_games",
    "check_players",
    "dependent_rows",
    "equal_within",
    "exchanged_rows",
    "marginals",
    "null_rows",
    "same_players",
    "some_or_none",
    "with_rows",
]


def check_game(table: Table, *, name: str = "table") -> Array:
    """The table, checked to hold one number for each coalition."""
    array = _objects.check_table(table, name=name)
    if array.ndim != 1:
        raise BadArgument(
            name,
            expected="one number for each coalition",
            got=f"shape {array.shape}",
            advice="each objective is a game of its own: table[:, 0]",
        )
    return array


def check_games(table: Table, groups: Groups | None) -> tuple[Array, np.ndarray]:
    """The game and the groups of its players, checked."""
    table = check_game(table)
    return table, _objects.check_groups(groups, _objects.players_of(table))


def same_players(other: Table, table: Array) -> Array:
    """Another game, checked to be of as many players."""
    other = check_game(other, name="other")
    if other.shape != table.shape:
        raise BadArgument(
            "other", expected=f"a game of as many players as table, {table.shape}", got=f"shape {other.shape}"
        )
    return other


def check_players(table: Array, *players: int) -> int:
    """Check that the players are different players of the game; return how many players the game has."""
    known = range(_objects.players_of(table))
    whole = all(isinstance(player, int | np.integer) for player in players)
    if not whole or any(player not in known for player in players) or len(set(players)) < len(players):
        raise BadArgument(
            "player", expected=f"different players in [0, {len(known)})", got=", ".join(map(str, players))
        )
    return len(known)


def null_rows(players: int, player: int) -> np.ndarray:
    """The row index of S - z for every coalition S, (2^n,)."""
    return np.arange(2**players) & ~(1 << player)


def exchanged_rows(players: int, first: int, second: int) -> np.ndarray:
    """The row index of S with z and z' exchanged, for every coalition S, (2^n,)."""
    index, both = np.arange(2**players), 1 << first | 1 << second
    one_of_them = ((index >> first) ^ (index >> second)) & 1 == 1
    return np.where(one_of_them, index ^ both, index)


def dependent_rows(players: int, first: int, second: int) -> np.ndarray:
    """For every coalition S, the row index of S if S contains both z and z', else of S - z - z', (2^n,)."""
    index, both = np.arange(2**players), 1 << first | 1 << second
    return np.where(index & both == both, index, index & ~both)


@jax.jit
def with_rows(table: Array, rows: Array) -> Array:
    """The game that has at each coalition the utility of the row given for it."""
    return table[rows]


@jax.jit
def marginals(table: Array) -> Array:
    """v(S ∪ {z}) - v(S) for every player z and all S without z, (n, 2^(n-1))."""
    halves = [table.reshape(-1, 2, 1 << player) for player in range(_objects.players_of(table))]
    return jnp.stack([(half[:, 1] - half[:, 0]).reshape(-1) for half in halves])


@jax.jit
def equal_within(*tables: Array) -> Array:
    """The largest difference of utilities that count as equal: the tolerance times the largest range of the games."""
    ranges = jnp.stack([jnp.max(table) - jnp.min(table) for table in tables])
    return _checks.tolerance(ranges.dtype) * jnp.max(ranges)


@jax.jit
def some_or_none(gap: Array, limit: Array) -> Array:
    """The gap, set to 0 if it is positive and at most the limit; NaN and -inf are returned unchanged."""
    return jnp.where((gap <= limit) & (gap > 0), 0, gap)
