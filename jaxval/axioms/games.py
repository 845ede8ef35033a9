"""Functions that change a game so that it meets a premise: null, symmetric or dependent players, or given marginals.

Few games have such players. Each function can return every game that meets its premise. Hence an axiom holds if it
holds on what the function makes of every game.

Every function takes `table`, the (2^n,) utilities of all coalitions of n players, and the numbers of the players z, or
z and z'. It returns the (2^n,) utilities of the new game. It raises `ValueError` if the table is not a game or does not
have these players.
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
    with_rows,
)
from jaxval.types import Table

__all__ = ["with_dependent_players", "with_null_player", "with_same_marginals", "with_symmetric_players"]


def with_null_player(table: Table, player: int) -> Float[Array, "coalitions"]:
    """The game in which a player adds nothing, v(S - z). A game in which z is a null player is returned unchanged.

    Example:
        >>> with_null_player([0.0, 1.0, 2.0, 4.0], 0).tolist()
        [0.0, 0.0, 2.0, 2.0]
    """
    table = check_game(table)
    return with_rows(table, null_rows(check_players(table, player), player))


def with_symmetric_players(table: Table, first: int, second: int) -> Float[Array, "coalitions"]:
    """The game in which two players are symmetric: the mean of the game and of the game with the two exchanged.

    Example:
        >>> with_symmetric_players([0.0, 1.0, 2.0, 4.0], 0, 1).tolist()
        [0.0, 1.5, 1.5, 4.0]
    """
    table = check_game(table)
    return (table + with_rows(table, exchanged_rows(check_players(table, first, second), first, second))) / 2


def with_dependent_players(table: Table, first: int, second: int) -> Float[Array, "coalitions"]:
    """The game in which neither of two players adds anything without the other.

    A coalition S with both players has v(S), and any other coalition has v(S - z - z').

    Example:
        >>> with_dependent_players([0.0, 1.0, 2.0, 4.0], 0, 1).tolist()
        [0.0, 0.0, 0.0, 4.0]
    """
    table = check_game(table)
    return with_rows(table, dependent_rows(check_players(table, first, second), first, second))


def with_same_marginals(table: Table, other: Table, player: int) -> Float[Array, "coalitions"]:
    """A game in which a player's marginals are those of `table`: u(S) + w(S - z).

    Every game in which the player has these marginals is of this form, for some w.

    Args:
        table: (2^n,) the game u.
        other: (2^n,) the game w.

    Raises:
        ValueError: as the other functions do, and if the games do not have the same number of players.

    Example:
        >>> with_same_marginals([0.0, 1.0, 2.0, 4.0], [0.0, 0.0, 5.0, 7.0], 0).tolist()
        [0.0, 1.0, 7.0, 9.0]
    """
    table = check_game(table)
    return table + with_null_player(same_players(other, table), player)
