"""Axioms of values about sums of values, about two games or about single players: a gap and a witness for each.

`axiom(value, table, ...) -> (gap, witness)`, as for rules: a larger gap is worse, the axiom is violated if the gap is
above the tolerance, and the gap is -inf if no player meets the premise. Gaps are in the units of the utilities.
`jaxval.axioms` describes the arguments that every axiom takes; functions list only their further ones.

The range of a game is its largest utility minus its smallest. Two utilities are equal if they differ by at most the
tolerance times the range, and a gap up to this limit is 0. `with_null_player` and the functions beside it make games
that meet the premises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxval import _checks
from jaxval.axioms._functions import numbers_of, takes_one
from jaxval.axioms._games import check_games, equal_within, marginals, same_players, some_or_none, with_rows
from jaxval.axioms._profiles import finish
from jaxval.axioms.kinds import of_values
from jaxval.types import BadArgument, Groups, Table

__all__ = [
    "GroupWitness",
    "PlayerWitness",
    "TotalWitness",
    "Value",
    "as_value",
    "efficiency",
    "group_efficiency",
    "linearity",
    "marginality",
    "nullity",
    "precedence",
]

Value = Callable[..., Any]
Gap = Float[Array, ""]


class TotalWitness(NamedTuple):
    """The sum of the values, and the sum that the axiom requires.

    Attributes:
        total: Σ φ, the sum of the values.
        expected: v(N) - v(∅), the sum that efficiency requires.
        values: (players,) the values that the value returns.
    """

    total: Float[Array, ""]
    expected: Float[Array, ""]
    values: Float[Array, "players"]


class GroupWitness(NamedTuple):
    """The group whose values differ most from what the group adds.

    Attributes:
        group: t, the number of the group.
        total: Σ φ over the players of the group.
        expected: v(U_t) - v(U_{t-1}), what the group adds to the groups before it.
        values: (players,) the values that the value returns.
    """

    group: Int[Array, ""]
    total: Float[Array, ""]
    expected: Float[Array, ""]
    values: Float[Array, "players"]


class PlayerWitness(NamedTuple):
    """The player whose value differs most from what the axiom requires.

    Attributes:
        player: the number of the player; -1 if no player meets the premise.
        values: (players,) the values that the value returns.
        expected: (players,) the values that the axiom requires of the players who meet the premise.
    """

    player: Int[Array, ""]
    values: Float[Array, "players"]
    expected: Float[Array, "players"]


def as_value(value: Value) -> Callable[[Array, np.ndarray], Array]:
    """The value as a function of (table, groups) whose result is checked; a value of the table ignores the groups.

    Args:
        value: a function of a table (2^n,), or of a table and groups (n,), to (n,) values. Options are keyword-only or
            fixed beforehand, such as by `functools.partial`.

    Returns:
        A function of (table, groups) to (n,) values.

    Raises:
        ValueError: if the value does not have one or two positional parameters. The function returned raises if the
            result is not of shape (n,) or JAX cannot trace the value.

    Example:
        >>> from jaxval.values import shapley
        >>> as_value(shapley)(jnp.array([0.0, 1.0, 2.0, 4.0]), np.array([0, 1])).tolist()
        [1.5, 2.5]
    """
    grouped = takes_groups(value)

    def of_groups(table: Array, groups: np.ndarray) -> Array:
        values = numbers_of(value, *((table, groups) if grouped else (table,)), name="value")
        if values.shape != groups.shape:
            raise BadArgument(
                "value", expected=f"one number for each of {len(groups)} players", got=f"shape {values.shape}"
            )
        return values

    return of_groups


def takes_groups(value: Value) -> bool:
    """Whether a value is a function of (table, groups) rather than of the table alone; raises if it is neither."""
    return not takes_one(value, name="value", one="table", two=("table", "groups"), option="weights=...")


@of_values
def efficiency(value: Value, table: Table, groups: Groups | None = None) -> tuple[Gap, TotalWitness]:
    """How far the values are from dividing the whole gain, |Σ_z φ(z) - (v(N) - v(∅))|.

    Source: Zheng et al., Axiom 3.1.

    Returns:
        (gap, `TotalWitness`).

    Example:
        >>> from jaxval import values
        >>> majority = [0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0]
        >>> float(efficiency(values.banzhaf, majority)[0])
        0.5
    """
    table, groups = check_games(table, groups)
    values = as_value(value)(table, groups)
    total, expected = jnp.sum(values), table[-1] - table[0]
    gap = some_or_none(jnp.abs(total - expected), equal_within(table))
    return finish(gap, of="value"), TotalWitness(total, expected, values)


@of_values
def group_efficiency(value: Value, table: Table, groups: Groups) -> tuple[Gap, GroupWitness]:
    """How far a group's values are from dividing what the group adds, max_t |Σ_{z ∈ D_t} φ(z) - (v(U_t) - v(U_{t-1}))|.

    Source: Zheng et al., Proposition 4.2.

    Returns:
        (gap, `GroupWitness`).

    Example:
        >>> from jaxval import values
        >>> gap, witness = group_efficiency(values.shapley, [0.0, 1.0, 1.0, 1.0], [0, 1])
        >>> float(gap), int(witness.group), float(witness.expected)
        (0.5, 0, 1.0)
    """
    table, groups = check_games(table, groups)
    values = as_value(value)(table, groups)
    members = groups[None, :] == np.arange(groups.max() + 1)[:, None]
    rows = np.cumsum([0, *(members @ (1 << np.arange(len(groups))))])
    gap, witness = _worst_group(table, values, members, rows)
    return finish(gap, of="value"), witness


@of_values
def linearity(
    value: Value,
    table: Table,
    other: Table,
    groups: Groups | None = None,
    *,
    scalars: tuple[float, float] = (2.0, -0.5),
) -> tuple[Gap, PlayerWitness]:
    """How far the value of αu + βv is from the combination of the values, max_z |φ(αu + βv) - αφ(u) - βφ(v)|.

    Source: Zheng et al., Axiom 3.2.

    Args:
        table: (2^n,) the game u.
        other: (2^n,) the game v.
        scalars: α and β.

    Returns:
        (gap, `PlayerWitness`), whose values are those of the combination.

    Raises:
        ValueError: as every axiom does, and if the games do not have the same number of players.

    Example:
        >>> shares = lambda table: jnp.array([table[1], table[2]]) / (table[1] + table[2])
        >>> gap, witness = linearity(shares, [0.0, 1.0, 1.0, 2.0], [0.0, 0.0, 2.0, 2.0], scalars=(1.0, 1.0))
        >>> float(gap), witness.values.tolist(), witness.expected.tolist()
        (0.75, [0.25, 0.75], [0.5, 1.5])
    """
    table, groups = check_games(table, groups)
    other = same_players(other, table)
    if np.shape(_checks.real_array("scalars", scalars, "two numbers, α and β")) != (2,):
        raise BadArgument("scalars", expected="two numbers, α and β", got=f"{scalars!r:.80}")
    alpha, beta = scalars
    of = as_value(value)
    values = of(alpha * table + beta * other, groups)
    expected = alpha * of(table, groups) + beta * of(other, groups)
    # The combination is itself rounded. This error grows with the size of the utilities and not with their range, so
    # that a constant added to all utilities matters here, unlike in the premises.
    rounding = 4 * jnp.finfo(table.dtype).eps * jnp.max(jnp.abs(alpha * table) + jnp.abs(beta * other))
    limit = equal_within(alpha * table, beta * other) + rounding
    return _worst_player(values, expected, np.ones(len(groups), dtype=bool), limit)


@of_values
def nullity(value: Value, table: Table, groups: Groups | None = None) -> tuple[Gap, PlayerWitness]:
    """The largest |φ(z)| of a player who adds nothing to any coalition, v(S ∪ {z}) = v(S) for all S.

    `with_null_player` makes games with such a player.

    Source: Zheng et al., Axiom 3.3.

    Returns:
        (gap, `PlayerWitness`). The gap is -inf if there is no null player.

    Example:
        >>> equal = lambda table: jnp.full(2, (table[-1] - table[0]) / 2)
        >>> gap, witness = nullity(equal, [0.0, 1.0, 0.0, 1.0])
        >>> float(gap), int(witness.player)
        (0.5, 1)
    """
    table, groups = check_games(table, groups)
    values = as_value(value)(table, groups)
    limit = equal_within(table)
    return _worst_player(values, jnp.zeros_like(values), _null(marginals(table), limit), limit)


@of_values
def marginality(value: Value, table: Table, other: Table, groups: Groups | None = None) -> tuple[Gap, PlayerWitness]:
    """How much the value of a player differs between two games in which the player has the same marginals.

    The gap is max |φ(z; u) - φ(z; v)| over the players z with u(S ∪ {z}) - u(S) = v(S ∪ {z}) - v(S) for all S.

    Source: Young (1985). With efficiency and symmetry it characterises the Shapley value.

    Args:
        table: (2^n,) the game u.
        other: (2^n,) the game v; see `with_same_marginals`.

    Returns:
        (gap, `PlayerWitness`), whose expected values are those in v. The gap is -inf if no player has the same
        marginals in both games.

    Raises:
        ValueError: as every axiom does, and if the games do not have the same number of players.

    Example:
        >>> equal = lambda table: jnp.full(2, (table[-1] - table[0]) / 2)
        >>> float(marginality(equal, [0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 2.0])[0])
        0.5
    """
    table, groups = check_games(table, groups)
    other = same_players(other, table)
    of = as_value(value)
    limit = equal_within(table, other)
    # Marginals are subtracted rather than games: if a large constant is added to one of the games, the difference of
    # the games loses digits.
    same = _null(marginals(table) - marginals(other), limit)
    return _worst_player(of(table, groups), of(other, groups), same, limit)


@of_values
def precedence(value: Value, table: Table, groups: Groups) -> tuple[Gap, PlayerWitness]:
    """How much a player's value depends on what later groups add.

    The gap is max |φ(z; v) - φ(z; v_t)| over the groups t and the players z in D_t. Here v_t(S) = v(S ∩ U_t), so that
    players after group t add nothing in v_t. If the axiom holds, contributors of a group can be paid before the next
    group arrives.

    Source: Zheng et al., Definition 4.2 and equation (9), where only coalitions of U_t enter.

    Returns:
        (gap, `PlayerWitness`), whose expected values are those without the later groups.

    Example:
        >>> from jaxval import values
        >>> gap, witness = precedence(values.shapley, [0.0, 1.0, 1.0, 1.0], [0, 1])
        >>> float(gap), int(witness.player), witness.expected.tolist()
        (0.5, 0, [1.0, 0.5])
    """
    table, groups = check_games(table, groups)
    of = as_value(value)
    values = expected = of(table, groups)
    for t in range(groups.max()):
        until = int(np.sum(1 << np.flatnonzero(groups <= t)))
        truncated = of(with_rows(table, np.arange(len(table)) & until), groups)
        expected = jnp.where(groups == t, truncated, expected)
    return _worst_player(values, expected, np.ones(len(groups), dtype=bool), equal_within(table))


@jax.jit
def _worst_group(table: Array, values: Array, members: Array, rows: Array) -> tuple[Array, GroupWitness]:
    """The largest |Σ_{z ∈ D_t} φ(z) - (v(U_t) - v(U_{t-1}))|, where rows hold v(U_0), v(U_1), ..."""
    totals = jnp.sum(jnp.where(members, values[None, :], 0), axis=1)
    expected = table[rows[1:]] - table[rows[:-1]]
    gaps = jnp.abs(totals - expected)
    worst = jnp.argmax(gaps)
    gap = some_or_none(gaps[worst], equal_within(table))
    return gap, GroupWitness(worst, totals[worst], expected[worst], values)


@jax.jit
def _null(marginals: Array, limit: Array) -> Array:
    """Which players have only marginals that count as 0, (n,)."""
    return jnp.all(jnp.abs(marginals) <= limit, axis=1)


def _worst_player(
    values: Array, expected: Array, premise: Array | np.ndarray, limit: Array
) -> tuple[Array, PlayerWitness]:
    """The largest |values - expected| among the players who meet the premise, and that player."""
    gap, worst = _largest(values, expected, premise, limit)
    return finish(gap, of="value"), PlayerWitness(worst, values, expected)


@jax.jit
def _largest(values: Array, expected: Array, premise: Array, limit: Array) -> tuple[Array, Array]:
    gaps = jnp.where(premise, jnp.abs(values - expected), -jnp.inf)
    worst = jnp.argmax(gaps)
    gap = jnp.where(jnp.any(jnp.isnan(values)), jnp.nan, some_or_none(gaps[worst], limit))
    return gap, jnp.where(jnp.any(premise), worst, -1)
