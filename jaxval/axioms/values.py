"""Axioms of values that speak of sums, of games or of single players: for each a gap and a witness, on games as tables.

`axiom(value, table, ...) -> (gap, witness)`, as for rules: larger is worse, the axiom is violated if the gap is above
the tolerance, and the gap is -inf if nobody meets the premise. Gaps are in the units of the utilities. Arguments that a
function does not list are those of every axiom, which `jaxval.axioms` describes.

Utilities are equal, and gaps are 0, within the tolerance times the spread of the game, its largest utility less its
smallest. `with_null_player` and its siblings make games that meet the premises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxval.axioms._functions import numbers_of, takes_one
from jaxval.axioms._games import check_games, equal_within, marginals, same_players, some_or_none
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
    """What the values sum to and what they should.

    Attributes:
        total: Σ φ.
        expected: v(N) - v(∅).
        values: (players,) the values that the value returns.
    """

    total: Float[Array, ""]
    expected: Float[Array, ""]
    values: Float[Array, "players"]


class GroupWitness(NamedTuple):
    """The group whose values depart most from what it adds.

    Attributes:
        group: its number.
        total: Σ φ over the group.
        expected: v(U_t) - v(U_{t-1}).
        values: (players,) the values that the value returns.
    """

    group: Int[Array, ""]
    total: Float[Array, ""]
    expected: Float[Array, ""]
    values: Float[Array, "players"]


class PlayerWitness(NamedTuple):
    """The player whose value departs most from what it should be.

    Attributes:
        player: its number; -1 if nobody meets the premise.
        values: (players,) the values that the value returns.
        expected: (players,) what it should say of those who meet the premise.
    """

    player: Int[Array, ""]
    values: Float[Array, "players"]
    expected: Float[Array, "players"]


def as_value(value: Value) -> Callable[[Array, np.ndarray], Array]:
    """The value as a function of (table, groups), with its result checked; one of the table alone ignores the groups.

    Args:
        value: a function of a table (2^n,), or of a table and groups (n,), to (n,) values. Options are keyword-only or
            fixed beforehand, such as by `functools.partial`.

    Returns:
        A function of (table, groups) to (n,) values.

    Raises:
        ValueError: if the parameters tell neither; and, when called, if the result is not (n,) or JAX cannot trace it.

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
    """Whether a value is a function of (table, groups) rather than of the table alone; an error if of neither."""
    return not takes_one(value, name="value", one="table", two=("table", "groups"), option="weights=...")


@of_values
def efficiency(value: Value, table: Table, groups: Groups | None = None) -> tuple[Gap, TotalWitness]:
    """How far the values are from sharing out everything, |Σ_z φ(z) - (v(N) - v(∅))|.

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
    """How far a group is from sharing out what it adds, max_t |Σ_{z ∈ D_t} φ(z) - (v(U_t) - v(U_{t-1}))|.

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
    totals = jnp.sum(jnp.where(members, values[None, :], 0), axis=1)
    expected = table[rows[1:]] - table[rows[:-1]]
    gaps = jnp.abs(totals - expected)
    worst = jnp.argmax(gaps)
    gap = some_or_none(gaps[worst], equal_within(table))
    return finish(gap, of="value"), GroupWitness(worst, totals[worst], expected[worst], values)


@of_values
def linearity(
    value: Value,
    table: Table,
    other: Table,
    groups: Groups | None = None,
    *,
    scalars: tuple[float, float] = (2.0, -0.5),
) -> tuple[Gap, PlayerWitness]:
    """How far the value of a combination is from that of its parts, max_z |φ(αu + βv) - αφ(u) - βφ(v)|.

    Source: Zheng et al., Axiom 3.2.

    Args:
        table: (2^n,) the game u.
        other: (2^n,) the game v.
        scalars: α and β.

    Returns:
        (gap, `PlayerWitness`), its values those of the combination.

    Raises:
        ValueError: as every axiom does, and if the games are not of the same players.

    Example:
        >>> shares = lambda table: jnp.array([table[1], table[2]]) / (table[1] + table[2])
        >>> gap, witness = linearity(shares, [0.0, 1.0, 1.0, 2.0], [0.0, 0.0, 2.0, 2.0], scalars=(1.0, 1.0))
        >>> float(gap), witness.values.tolist(), witness.expected.tolist()
        (0.75, [0.25, 0.75], [0.5, 1.5])
    """
    table, groups = check_games(table, groups)
    other = same_players(other, table)
    alpha, beta = scalars
    of = as_value(value)
    values = of(alpha * table + beta * other, groups)
    expected = alpha * of(table, groups) + beta * of(other, groups)
    # The combination is a rounded game. Unlike the premises, its rounding grows with the utilities, so an offset shows.
    rounding = 4 * jnp.finfo(table.dtype).eps * jnp.max(jnp.abs(alpha * table) + jnp.abs(beta * other))
    limit = equal_within(alpha * table, beta * other) + rounding
    return _worst_player(values, expected, jnp.ones(len(groups), dtype=bool), limit)


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
    null = jnp.stack([jnp.all(jnp.abs(marginals(table, z)) <= limit) for z in range(len(groups))])
    return _worst_player(values, jnp.zeros_like(values), null, limit)


@of_values
def marginality(value: Value, table: Table, other: Table, groups: Groups | None = None) -> tuple[Gap, PlayerWitness]:
    """How far the values of a player differ between two games in which its marginals are the same.

    max |φ(z; u) - φ(z; v)| over the z with u(S ∪ {z}) - u(S) = v(S ∪ {z}) - v(S) for all S.

    Source: Young (1985). With efficiency and symmetry it characterises the Shapley value.

    Args:
        table: (2^n,) the game u.
        other: (2^n,) the game v; see `with_same_marginals`.

    Returns:
        (gap, `PlayerWitness`), its expected values those in v; -inf if nobody's marginals are the same.

    Raises:
        ValueError: as every axiom does, and if the games are not of the same players.

    Example:
        >>> equal = lambda table: jnp.full(2, (table[-1] - table[0]) / 2)
        >>> float(marginality(equal, [0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 2.0])[0])
        0.5
    """
    table, groups = check_games(table, groups)
    other = same_players(other, table)
    of = as_value(value)
    limit = equal_within(table, other)
    # Marginals are subtracted and not games: the difference of two games with unlike offsets loses digits.
    changes = jnp.stack([marginals(table, z) - marginals(other, z) for z in range(len(groups))])
    same = jnp.all(jnp.abs(changes) <= limit, axis=1)
    return _worst_player(of(table, groups), of(other, groups), same, limit)


@of_values
def precedence(value: Value, table: Table, groups: Groups) -> tuple[Gap, PlayerWitness]:
    """How far a player's value depends on what later groups do.

    max |φ(z; v) - φ(z; v_t)| over the groups t and the z in D_t, where v_t(S) = v(S ∩ U_t): in v_t those who come after
    group t add nothing. Where groups go in order, a contributor may be paid before the next group has come.

    Source: Zheng et al., Definition 4.2 and equation (9), where only coalitions of U_t enter.

    Returns:
        (gap, `PlayerWitness`), its expected values those without the later groups.

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
        truncated = of(table[np.arange(len(table)) & until], groups)
        expected = jnp.where(groups == t, truncated, expected)
    return _worst_player(values, expected, jnp.ones(len(groups), dtype=bool), equal_within(table))


def _worst_player(values: Array, expected: Array, premise: Array, limit: Array) -> tuple[Array, PlayerWitness]:
    """The largest |values - expected| among those who meet the premise, and who it is."""
    gaps = jnp.where(premise, jnp.abs(values - expected), -jnp.inf)
    worst = jnp.argmax(gaps)
    gap = jnp.where(jnp.any(jnp.isnan(values)), jnp.nan, some_or_none(gaps[worst], limit))
    return finish(gap, of="value"), PlayerWitness(jnp.where(jnp.any(premise), worst, -1), values, expected)
