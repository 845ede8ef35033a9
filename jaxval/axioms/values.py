"""Axioms of values: for each a gap and a witness, on one game given as a table.

`axiom(value, table, ...) -> (gap, witness)`, as for rules: larger is worse, violated where the gap is above the
tolerance, -inf where nobody meets the premise. A value is a function of a table (one positional parameter) or of a
table and groups (two), to one number for each player. Utilities within the tolerance, times the largest, are equal.

Few games have null, symmetric or dependent players. `with_null_player` and its siblings change a game so that it has,
and reach every game that does: an axiom holds if it holds on what they make of all games.
"""

import inspect
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxval import _checks
from jaxval.axioms._profiles import finish
from jaxval.types import Groups, Table
from jaxval.values._neighbours import check_groups
from jaxval.values._tables import check_table, players_of

__all__ = [
    "GroupWitness",
    "PairWitness",
    "PlayerWitness",
    "TotalWitness",
    "Value",
    "as_value",
    "efficiency",
    "group_efficiency",
    "linearity",
    "marginality",
    "mutual_dependence",
    "nullity",
    "precedence",
    "symmetry",
    "with_dependent_players",
    "with_null_player",
    "with_same_marginals",
    "with_symmetric_players",
    "within_group_symmetry",
]

Value = Callable[..., Any]
Gap = Float[Array, ""]


class TotalWitness(NamedTuple):
    """What the values sum to and what they should.

    Attributes:
        total: Σ φ.
        expected: v(N) - v(∅).
        values: (players,) what the value says.
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
        values: (players,) what the value says.
    """

    group: Int[Array, ""]
    total: Float[Array, ""]
    expected: Float[Array, ""]
    values: Float[Array, "players"]


class PlayerWitness(NamedTuple):
    """The player whose value departs most from what it should be.

    Attributes:
        player: its number; -1 where nobody meets the premise.
        values: (players,) what the value says.
        expected: (players,) what it should say of those who meet the premise.
    """

    player: Int[Array, ""]
    values: Float[Array, "players"]
    expected: Float[Array, "players"]


class PairWitness(NamedTuple):
    """The pair of players whose values are furthest from what they should be.

    Attributes:
        first: the one, of the earlier group where they are in two; -1 where no pair meets the premise.
        second: the other.
        values: (players,) what the value says.
    """

    first: Int[Array, ""]
    second: Int[Array, ""]
    values: Float[Array, "players"]


def as_value(value: Value) -> Callable[[Array, np.ndarray], Array]:
    """The value as a function of (table, groups), with its result checked; one of the table alone ignores the groups.

    Args:
        value: a function of a table (2^n,), or of a table and groups (n,), to (n,) values. Options are keyword-only or
            fixed beforehand, such as by `functools.partial`.

    Returns:
        A function of (table, groups) to (n,) values.

    Raises:
        ValueError: where the parameters tell neither; and, when called, where the result is not (n,).

    Example:
        >>> from jaxval.values import shapley
        >>> as_value(shapley)(jnp.array([0.0, 1.0, 2.0, 4.0]), np.array([0, 1])).tolist()
        [1.5, 2.5]
    """
    takes_groups = _takes_groups(value)

    def of_groups(table: Array, groups: np.ndarray) -> Array:
        values = jnp.asarray(value(table, groups) if takes_groups else value(table), dtype=float)
        if values.shape != groups.shape:
            raise ValueError(f"value: expected one number for each of {len(groups)} players; got shape {values.shape}")
        return values

    return of_groups


def efficiency(value: Value, table: Table, groups: Groups | None = None) -> tuple[Gap, TotalWitness]:
    """How far the values are from sharing out everything, |Σ_z φ(z) - (v(N) - v(∅))|.

    Source: Zheng et al., Axiom 3.1.

    Args:
        value: a function of a table, or of a table and groups.
        table: (2^n,) utilities of all coalitions, bit i of the index being player i.
        groups: (n,) groups for a value that takes them; one group where None.

    Returns:
        (gap, `TotalWitness`).

    Raises:
        ValueError: where the table is none, the groups leave a gap, or the value says NaN or has another shape.

    Example:
        >>> from jaxval import values
        >>> majority = [0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0]
        >>> float(efficiency(values.banzhaf, majority)[0])
        0.5
    """
    table, groups = _door(table, groups)
    values = as_value(value)(table, groups)
    total, expected = jnp.sum(values), table[-1] - table[0]
    return finish(jnp.abs(total - expected), of="value"), TotalWitness(total, expected, values)


def group_efficiency(value: Value, table: Table, groups: Groups) -> tuple[Gap, GroupWitness]:
    """How far a group is from sharing out what it adds, max_t |Σ_{z ∈ D_t} φ(z) - (v(U_t) - v(U_{t-1}))|.

    Source: Zheng et al., Proposition 4.2.

    Args:
        value: a function of a table, or of a table and groups.
        table: (2^n,) utilities of all coalitions.
        groups: (n,) the group of each player, 0 first.

    Returns:
        (gap, `GroupWitness`).

    Raises:
        ValueError: as `efficiency` does.

    Example:
        >>> from jaxval import values
        >>> gap, witness = group_efficiency(values.shapley, [0.0, 1.0, 1.0, 1.0], [0, 1])
        >>> float(gap), int(witness.group), float(witness.expected)
        (0.5, 0, 1.0)
    """
    table, groups = _door(table, groups)
    values = as_value(value)(table, groups)
    members = groups[None, :] == np.arange(groups.max() + 1)[:, None]
    rows = np.cumsum([0, *(members @ (1 << np.arange(len(groups))))])
    totals = jnp.sum(jnp.where(members, values[None, :], 0), axis=1)
    expected = table[rows[1:]] - table[rows[:-1]]
    gaps = jnp.abs(totals - expected)
    worst = jnp.argmax(gaps)
    return finish(gaps[worst], of="value"), GroupWitness(worst, totals[worst], expected[worst], values)


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
        value: a function of a table, or of a table and groups.
        table: (2^n,) the game u.
        other: (2^n,) the game v.
        groups: (n,) groups for a value that takes them; one group where None.
        scalars: α and β.

    Returns:
        (gap, `PlayerWitness`), its values those of the combination.

    Raises:
        ValueError: as `efficiency` does, or where the games are not of the same players.

    Example:
        >>> shares = lambda table: jnp.array([table[1], table[2]]) / (table[1] + table[2])
        >>> gap, witness = linearity(shares, [0.0, 1.0, 1.0, 2.0], [0.0, 0.0, 2.0, 2.0], scalars=(1.0, 1.0))
        >>> float(gap), witness.values.tolist(), witness.expected.tolist()
        (0.75, [0.25, 0.75], [0.5, 1.5])
    """
    table, groups = _door(table, groups)
    other = _same_players(other, table)
    alpha, beta = scalars
    of = as_value(value)
    values = of(alpha * table + beta * other, groups)
    expected = alpha * of(table, groups) + beta * of(other, groups)
    return _worst_player(values, expected, jnp.ones(len(groups), dtype=bool))


def nullity(value: Value, table: Table, groups: Groups | None = None) -> tuple[Gap, PlayerWitness]:
    """The largest |φ(z)| of a player who adds nothing to any coalition, v(S ∪ {z}) = v(S) for all S.

    Source: Zheng et al., Axiom 3.3.

    Args:
        value: a function of a table, or of a table and groups.
        table: (2^n,) utilities of all coalitions; see `with_null_player`.
        groups: (n,) groups for a value that takes them; one group where None.

    Returns:
        (gap, `PlayerWitness`); -inf where there is no null player.

    Raises:
        ValueError: as `efficiency` does.

    Example:
        >>> equal = lambda table: jnp.full(2, (table[-1] - table[0]) / 2)
        >>> gap, witness = nullity(equal, [0.0, 1.0, 0.0, 1.0])
        >>> float(gap), int(witness.player)
        (0.5, 1)
    """
    table, groups = _door(table, groups)
    values = as_value(value)(table, groups)
    null = jnp.stack([_equal(_marginals(table, z), 0, table) for z in range(len(groups))])
    return _worst_player(values, jnp.zeros_like(values), null)


def marginality(value: Value, table: Table, other: Table, groups: Groups | None = None) -> tuple[Gap, PlayerWitness]:
    """How far the values of a player differ between two games in which its marginals are the same.

    max |φ(z; u) - φ(z; v)| over the z with u(S ∪ {z}) - u(S) = v(S ∪ {z}) - v(S) for all S.

    Source: Young (1985). With efficiency and symmetry it characterises the Shapley value.

    Args:
        value: a function of a table, or of a table and groups.
        table: (2^n,) the game u.
        other: (2^n,) the game v; see `with_same_marginals`.
        groups: (n,) groups for a value that takes them; one group where None.

    Returns:
        (gap, `PlayerWitness`), its expected values those in v; -inf where nobody's marginals are the same.

    Raises:
        ValueError: as `efficiency` does, or where the games are not of the same players.

    Example:
        >>> equal = lambda table: jnp.full(2, (table[-1] - table[0]) / 2)
        >>> float(marginality(equal, [0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 2.0])[0])
        0.5
    """
    table, groups = _door(table, groups)
    other = _same_players(other, table)
    of = as_value(value)
    difference = table - other
    scale = jnp.maximum(jnp.max(jnp.abs(table)), jnp.max(jnp.abs(other)))
    same = jnp.stack([_equal(_marginals(difference, z), 0, scale) for z in range(len(groups))])
    return _worst_player(of(table, groups), of(other, groups), same)


def symmetry(value: Value, table: Table, groups: Groups | None = None) -> tuple[Gap, PairWitness]:
    """The largest |φ(z) - φ(z')| of two players who do the same, v(S ∪ {z}) = v(S ∪ {z'}) for all S without both.

    Source: Zheng et al., Axiom 3.4.

    Args:
        value: a function of a table, or of a table and groups.
        table: (2^n,) utilities of all coalitions; see `with_symmetric_players`.
        groups: (n,) groups for a value that takes them; one group where None.

    Returns:
        (gap, `PairWitness`); -inf where no two players are symmetric.

    Raises:
        ValueError: as `efficiency` does.

    Example:
        >>> from jaxval import values
        >>> gap, witness = symmetry(values.asymmetric_shapley, [0.0, 1.0, 1.0, 1.0], [0, 1])
        >>> float(gap), witness.values.tolist()
        (1.0, [1.0, 0.0])
    """
    table, groups = _door(table, groups)
    values, pairs = as_value(value)(table, groups), _pairs(groups)
    return _worst_pair(values, pairs, _difference(values, pairs), _symmetric(table, pairs))


def within_group_symmetry(value: Value, table: Table, groups: Groups) -> tuple[Gap, PairWitness]:
    """The largest |φ(z) - φ(z')| of two players of one group who do the same: `symmetry` of the pairs with κ equal.

    Source: Zheng et al., Axiom 4.1, first case, as printed; ADS has it, for it is Shapley's value within each group.

    Args:
        value: a function of a table, or of a table and groups.
        table: (2^n,) utilities of all coalitions; see `with_symmetric_players`.
        groups: (n,) the group of each player, 0 first.

    Returns:
        (gap, `PairWitness`); -inf where no two players of a group are symmetric.

    Raises:
        ValueError: as `efficiency` does.

    Example:
        >>> from jaxval import values
        >>> one_by_one = lambda table, groups: values.asymmetric_shapley(table, np.arange(2))
        >>> float(within_group_symmetry(one_by_one, [0.0, 1.0, 1.0, 1.0], [0, 0])[0])
        1.0
        >>> float(within_group_symmetry(one_by_one, [0.0, 1.0, 1.0, 1.0], [0, 1])[0])
        -inf
    """
    table, groups = _door(table, groups)
    values, pairs = as_value(value)(table, groups), _pairs(groups)
    together = jnp.asarray(groups[pairs[:, 0]] == groups[pairs[:, 1]])
    return _worst_pair(values, pairs, _difference(values, pairs), _symmetric(table, pairs) & together)


def precedence(value: Value, table: Table, groups: Groups) -> tuple[Gap, PlayerWitness]:
    """How far a player's value depends on what later groups do.

    max |φ(z; v) - φ(z; v_t)| over the groups t and the z in D_t, where v_t(S) = v(S ∩ U_t): in v_t those who come after
    group t add nothing. Where groups go in order, a contributor may be paid before the next group has come.

    Source: Zheng et al., Definition 4.2 and equation (9), where only coalitions of U_t enter.

    Args:
        value: a function of a table, or of a table and groups.
        table: (2^n,) utilities of all coalitions.
        groups: (n,) the group of each player, 0 first.

    Returns:
        (gap, `PlayerWitness`), its expected values those without the later groups.

    Raises:
        ValueError: as `efficiency` does.

    Example:
        >>> from jaxval import values
        >>> gap, witness = precedence(values.shapley, [0.0, 1.0, 1.0, 1.0], [0, 1])
        >>> float(gap), int(witness.player), witness.expected.tolist()
        (0.5, 0, [1.0, 0.5])
    """
    table, groups = _door(table, groups)
    of = as_value(value)
    values = expected = of(table, groups)
    for t in range(groups.max()):
        until = int(np.sum(1 << np.flatnonzero(groups <= t)))
        truncated = of(table[np.arange(len(table)) & until], groups)
        expected = jnp.where(groups == t, truncated, expected)
    return _worst_player(values, expected, jnp.ones(len(groups), dtype=bool))


def mutual_dependence(value: Value, table: Table, groups: Groups, *, version: str = "cited") -> tuple[Gap, PairWitness]:
    """How far two mutually dependent players are from equal values in one group, and from 0 for the earlier of two.

    max of |φ(z_i) - φ(z_j)| where κ(z_i) = κ(z_j), and of |φ(z_i)| where κ(z_i) < κ(z_j), over the dependent pairs:

    - version="cited", after Nowak and Radzik: v(S ∪ {z_i}) = v(S) = v(S ∪ {z_j}) for all S without both; neither adds
      anything without the other. Asymmetric Data Shapley has it: the later of the two brings what they are worth.
    - version="printed", the wording of Axiom 4.1: v(S ∪ {z_i}) = v(S ∪ {z_j}), the premise of symmetry. No value has it
      together with efficiency, linearity and nullity: in v(S) = |S| both of two players are worth 1 by these three, and
      the axiom wants 0 for the earlier one.

    Source: Zheng et al., Axiom 4.1; Nowak and Radzik (1995), ω-mutual dependence with equal weights.

    Args:
        value: a function of a table, or of a table and groups.
        table: (2^n,) utilities of all coalitions; see `with_dependent_players` and `with_symmetric_players`.
        groups: (n,) the group of each player, 0 first.
        version: "cited" or "printed".

    Returns:
        (gap, `PairWitness`); -inf where no pair is dependent.

    Raises:
        ValueError: as `efficiency` does, or where the version is another word.

    Example:
        >>> from jaxval import values
        >>> both_needed, each_alone = [0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 2.0]
        >>> float(mutual_dependence(values.asymmetric_shapley, both_needed, [0, 1])[0])
        0.0
        >>> float(mutual_dependence(values.asymmetric_shapley, each_alone, [0, 1], version="printed")[0])
        1.0
    """
    _checks.check_choice("version", version, ("cited", "printed"))
    table, groups = _door(table, groups)
    values, pairs = as_value(value)(table, groups), _pairs(groups)
    premise = _symmetric(table, pairs)
    if version == "cited":
        nobody, first, _ = _without_both(table, pairs)
        premise = premise & _equal(first, nobody, table)
    together = jnp.asarray(groups[pairs[:, 0]] == groups[pairs[:, 1]])
    gaps = jnp.where(together, _difference(values, pairs), jnp.abs(values[pairs[:, 0]]))
    return _worst_pair(values, pairs, gaps, premise)


def with_null_player(table: Table, player: int) -> Float[Array, "coalitions"]:
    """The game in which a player adds nothing, v(S - z). Every game with that null player is one, namely of itself.

    Args:
        table: (2^n,) utilities of all coalitions.
        player: z.

    Returns:
        (2^n,) utilities.

    Raises:
        ValueError: where the table is none or there is no such player.

    Example:
        >>> with_null_player([0.0, 1.0, 2.0, 4.0], 0).tolist()
        [0.0, 0.0, 2.0, 2.0]
    """
    table = _game(table)
    (z,) = _bits(table, player)
    return table[np.arange(len(table)) & ~z]


def with_symmetric_players(table: Table, first: int, second: int) -> Float[Array, "coalitions"]:
    """The game in which two players do the same: the mean of the game and of the one with their places changed.

    Args:
        table: (2^n,) utilities of all coalitions.
        first: z.
        second: z', another player.

    Returns:
        (2^n,) utilities.

    Raises:
        ValueError: where the table is none or these are not two of its players.

    Example:
        >>> with_symmetric_players([0.0, 1.0, 2.0, 4.0], 0, 1).tolist()
        [0.0, 1.5, 1.5, 4.0]
    """
    table = _game(table)
    i, j = _bits(table, first, second)
    index = np.arange(len(table))
    alone = ((index & i) > 0) != ((index & j) > 0)
    return (table + table[np.where(alone, index ^ (i | j), index)]) / 2


def with_dependent_players(table: Table, first: int, second: int) -> Float[Array, "coalitions"]:
    """The game in which neither of two players adds anything without the other: v(S) with both, else v(S - z - z').

    Args:
        table: (2^n,) utilities of all coalitions.
        first: z.
        second: z', another player.

    Returns:
        (2^n,) utilities.

    Raises:
        ValueError: where the table is none or these are not two of its players.

    Example:
        >>> with_dependent_players([0.0, 1.0, 2.0, 4.0], 0, 1).tolist()
        [0.0, 0.0, 0.0, 4.0]
    """
    table = _game(table)
    i, j = _bits(table, first, second)
    index = np.arange(len(table))
    both = (index & (i | j)) == (i | j)
    return table[np.where(both, index, index & ~(i | j))]


def with_same_marginals(table: Table, other: Table, player: int) -> Float[Array, "coalitions"]:
    """A game in which a player's marginals are those of `table`, u(S) + w(S - z). Each such game is one, for some w.

    Args:
        table: (2^n,) the game u.
        other: (2^n,) the game w.
        player: z.

    Returns:
        (2^n,) utilities.

    Raises:
        ValueError: where a table is none, they are not of the same players, or there is no such player.

    Example:
        >>> with_same_marginals([0.0, 1.0, 2.0, 4.0], [0.0, 0.0, 5.0, 7.0], 0).tolist()
        [0.0, 1.0, 7.0, 9.0]
    """
    table = _game(table)
    return table + with_null_player(_same_players(other, table), player)


def _takes_groups(value: Value) -> bool:
    """Whether a value is a function of (table, groups) rather than of the table alone."""
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"value: expected a function of a table, or of a table and groups; got {type(value).__name__}, whose "
            "parameters are not known; wrap it, such as value=lambda table: ..."
        ) from error
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) == 1:
        return False
    if len(positional) == 2 and positional[1].default in (inspect.Parameter.empty, None):
        return True
    raise ValueError(
        f"value: expected one positional parameter (a table) or two (table, groups); got "
        f"({', '.join(str(p) for p in parameters)}); fix options first, such as functools.partial(value, weights=...)"
    )


def _door(table: Table, groups: Groups | None) -> tuple[Array, np.ndarray]:
    """The game and the groups, checked."""
    table = _game(table)
    return table, check_groups(groups, players_of(table))


def _game(table: Table, *, name: str = "table") -> Array:
    """A table of one number for each coalition."""
    array = check_table(table, name=name)
    if array.ndim != 1:
        raise ValueError(
            f"{name}: expected one number for each coalition; got shape {array.shape}; "
            "each objective is a game of its own: table[:, 0]"
        )
    return array


def _same_players(other: Table, table: Array) -> Array:
    other = _game(other, name="other")
    if other.shape != table.shape:
        raise ValueError(f"other: expected a game of as many players as table, {table.shape}; got shape {other.shape}")
    return other


def _bits(table: Array, *players: int) -> tuple[int, ...]:
    """The bits of different players."""
    known = range(players_of(table))
    if any(player not in known for player in players) or len(set(players)) < len(players):
        raise ValueError(f"player: expected different players in [0, {len(known)}); got {', '.join(map(str, players))}")
    return tuple(1 << int(player) for player in players)


def _marginals(table: Array, player: int) -> Array:
    """v(S ∪ {z}) - v(S) for all S without z, (2^(n-1),)."""
    halves = table.reshape(-1, 2, 1 << player)
    return (halves[:, 1] - halves[:, 0]).reshape(-1)


def _pairs(groups: np.ndarray) -> np.ndarray:
    """All pairs of players, (pairs, 2), the one of the earlier group first."""
    pairs = np.array(list(itertools.combinations(range(len(groups)), 2)), dtype=int).reshape(-1, 2)
    return np.take_along_axis(pairs, np.argsort(groups[pairs], axis=1, kind="stable"), axis=1)


def _without_both(table: Array, pairs: np.ndarray) -> tuple[Array, Array, Array]:
    """v(S), v(S ∪ {z_i}) and v(S ∪ {z_j}) for each pair and all S without both, each (pairs, 2^(n-2))."""
    bits = 1 << pairs
    index = np.arange(len(table))
    rows = np.array([index[(index & (i | j)) == 0] for i, j in bits], dtype=int).reshape(len(pairs), len(table) // 4)
    return table[rows], table[rows | bits[:, :1]], table[rows | bits[:, 1:]]


def _symmetric(table: Array, pairs: np.ndarray) -> Array:
    """Whether the players of each pair do the same."""
    _, first, second = _without_both(table, pairs)
    return _equal(first, second, table)


def _equal(left: Array, right: Array | int, table: Array) -> Array:
    """Whether utilities agree throughout the last axis, within the tolerance times the largest of the table."""
    limit = _checks.tolerance(left.dtype) * jnp.max(jnp.abs(table))
    return jnp.all(jnp.abs(left - right) <= limit, axis=-1)


def _difference(values: Array, pairs: np.ndarray) -> Array:
    return jnp.abs(values[pairs[:, 0]] - values[pairs[:, 1]])


def _worst_player(values: Array, expected: Array, premise: Array) -> tuple[Array, PlayerWitness]:
    """The largest |values - expected| among those who meet the premise, and who it is."""
    gaps = jnp.where(premise, jnp.abs(values - expected), -jnp.inf)
    worst = jnp.argmax(gaps)
    gap = jnp.where(jnp.any(jnp.isnan(values)), jnp.nan, gaps[worst])
    return finish(gap, of="value"), PlayerWitness(jnp.where(jnp.any(premise), worst, -1), values, expected)


def _worst_pair(values: Array, pairs: np.ndarray, gaps: Array, premise: Array) -> tuple[Array, PairWitness]:
    """The largest gap of the pairs that meet the premise, and the pair; of one player there is no pair."""
    gaps = jnp.append(jnp.where(premise, gaps, -jnp.inf), -jnp.inf)
    found = jnp.append(jnp.where(premise[:, None], pairs, -1), jnp.full((1, 2), -1), axis=0)
    worst = jnp.argmax(gaps)
    gap = jnp.where(jnp.any(jnp.isnan(values)), jnp.nan, gaps[worst])
    return finish(gap, of="value"), PairWitness(found[worst, 0], found[worst, 1], values)
