"""Makers of premises: a game changed so that it has null, symmetric or dependent players, or given marginals.

Few games have such players. Each maker reaches every game that does, so that an axiom holds if it holds on what the
makers make of all games.

Every maker takes `table`, the (2^n,) utilities of all coalitions of n players, and the numbers of the players z, or z
and z', that it is about. It returns the (2^n,) utilities of the new game, and raises `ValueError` if the table is none
or has no such players.
"""

from __future__ import annotations

from jaxtyping import Array, Float

from jaxval.axioms._games import (
    check_game,
    check_players,
    dependent_rows,
    exchanged_rows,
    null_rows,
    same_players,
)
from jaxval.types import Table

__all__ = ["with_dependent_players", "with_null_player", "with_same_marginals", "with_symmetric_players"]


def with_null_player(table: Table, player: int) -> Float[Array, "coalitions"]:
    """The game in which a player adds nothing, v(S - z). Every game with that null player is one, namely of itself.

    Example:
        >>> with_null_player([0.0, 1.0, 2.0, 4.0], 0).tolist()
        [0.0, 0.0, 2.0, 2.0]
    """
    table = check_game(table)
    return table[null_rows(check_players(table, player), player)]


def with_symmetric_players(table: Table, first: int, second: int) -> Float[Array, "coalitions"]:
    """The game in which two players do the same: the mean of the game and of the one with their places changed.

    Example:
        >>> with_symmetric_players([0.0, 1.0, 2.0, 4.0], 0, 1).tolist()
        [0.0, 1.5, 1.5, 4.0]
    """
    table = check_game(table)
    return (table + table[exchanged_rows(check_players(table, first, second), first, second)]) / 2


def with_dependent_players(table: Table, first: int, second: int) -> Float[Array, "coalitions"]:
    """The game in which neither of two players adds anything without the other: v(S) with both, else v(S - z - z').

    Example:
        >>> with_dependent_players([0.0, 1.0, 2.0, 4.0], 0, 1).tolist()
        [0.0, 0.0, 0.0, 4.0]
    """
    table = check_game(table)
    return table[dependent_rows(check_players(table, first, second), first, second)]


def with_same_marginals(table: Table, other: Table, player: int) -> Float[Array, "coalitions"]:
    """A game in which a player's marginals are those of `table`, u(S) + w(S - z). Each such game is one, for some w.

    Args:
        table: (2^n,) the game u.
        other: (2^n,) the game w.

    Raises:
        ValueError: as the others, and if the games are not of the same players.

    Example:
        >>> with_same_marginals([0.0, 1.0, 2.0, 4.0], [0.0, 0.0, 5.0, 7.0], 0).tolist()
        [0.0, 1.0, 7.0, 9.0]
    """
    table = check_game(table)
    return table + with_null_player(same_players(other, table), player)
