"""Coalitions as masks and as indices.

Bit i of a coalition's index is player i: index 0 is the empty coalition, index 2^n - 1 the full one.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int

from jaxval import _checks
from jaxval.types import BadArgument

__all__ = ["all_coalitions", "coalition_index", "coalition_sizes", "index_coalition"]

MOST_PLAYERS = 30  # an index has 31 bits


def all_coalitions(players: int) -> Bool[Array, "coalitions players"]:
    """All 2^n coalitions in the order of their indices.

    Args:
        players: how many, n.

    Returns:
        (2^n, n) masks.

    Raises:
        ValueError: if there is no player, or more coalitions than fit.

    Example:
        >>> all_coalitions(2).astype(int).tolist()
        [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    players = check_players(players)
    check_fits(players, row_bytes=players)
    return index_coalition(jnp.arange(2**players), players)


def index_coalition(index: Int[ArrayLike, "*batch"] | int, players: int) -> Bool[Array, "*batch {players}"]:
    """The mask of a coalition from its index: player i is in if bit i is set.

    Args:
        index: whole numbers in [0, 2^n), of any shape.
        players: how many, n; 30 at most.

    Returns:
        Masks, with one axis (n,) more than the index has.

    Raises:
        ValueError: if an index lies outside [0, 2^n), or there are more than 30 players.

    Example:
        >>> index_coalition(6, 3).tolist()
        [False, True, True]
    """
    players = check_players(players)
    index = _checks.integers("index", index, ndim=np.ndim(index), expected="whole numbers in [0, 2^players)")
    if _checks.concrete(index):
        values = np.asarray(index)
        if values.size and (values.min() < 0 or values.max() >= 2**players):
            raise BadArgument(
                "index", expected=f"numbers in [0, {2**players})", got=f"{values.min()} to {values.max()}"
            )
        return _checks.known_array(values[..., None] >> np.arange(players, dtype=values.dtype) & 1 == 1)
    bits = jnp.reshape(jnp.arange(players, dtype=index.dtype), (1,) * index.ndim + (players,))
    return (index[..., None] >> bits) & 1 == 1


def coalition_index(coalition: Bool[ArrayLike, "*batch players"] | list[Any]) -> Int[Array, "*batch"]:
    """The index of a coalition from its mask, Σ_i 2^i [i in S].

    Args:
        coalition: masks; the last axis holds the players, 30 at most.

    Returns:
        Whole numbers in [0, 2^n).

    Raises:
        ValueError: if the masks are not booleans, or have more than 30 players.

    Example:
        >>> int(coalition_index([False, True, True]))
        6
    """
    masks = check_coalitions(coalition)
    players = check_players(masks.shape[-1])
    if _checks.concrete(masks):
        return jnp.asarray(np.asarray(masks) @ (1 << np.arange(players)))
    bits = jnp.reshape(2 ** jnp.arange(players), (1,) * (masks.ndim - 1) + (players,))
    return jnp.sum(jnp.where(masks, bits, 0), axis=-1)


def coalition_sizes(players: int) -> Int[Array, "coalitions"]:
    """The number of members |S| of every coalition, in the order of their indices.

    Args:
        players: how many, n.

    Returns:
        (2^n,) sizes.

    Raises:
        ValueError: if there is no player, or more coalitions than fit.

    Example:
        >>> coalition_sizes(2).tolist()
        [0, 1, 1, 2]
    """
    players = check_players(players)
    check_fits(players, row_bytes=4)
    return jax.lax.population_count(jnp.arange(2**players))


def check_players(players: int) -> int:
    """A number of players for which coalitions can be numbered: 1 to 30."""
    players = _checks.check_size("players", players)
    if players > MOST_PLAYERS:
        raise BadArgument(
            "players",
            expected=f"at most {MOST_PLAYERS}, for 2^{players} coalitions cannot be listed",
            got=players,
            advice="sample instead: values.sample_shapley(key, utility, players, permutations=...)",
        )
    return players


def check_coalitions(coalitions: Any) -> Array:
    """Masks: booleans, with the players on the last axis."""
    masks = _checks.real_array("coalitions", coalitions, "boolean masks, players last")
    if masks.dtype != bool or masks.ndim == 0:
        raise BadArgument(
            "coalitions", expected="boolean masks, players last", got=f"{masks.dtype} of shape {masks.shape}"
        )
    return _checks.known_array(masks)


def check_fits(players: int, *, row_bytes: int) -> None:
    """2^n rows must fit into this machine's memory."""
    memory = _checks.memory_of_machine()
    if 2**players * row_bytes > memory:
        needed = 2**players * row_bytes / 2**30
        raise BadArgument(
            "players",
            expected=f"a table that fits into {memory / 2**30:.1f} GiB of memory",
            got=f"2^{players} rows of {row_bytes} bytes, which need {needed:.1f} GiB",
            advice="sample instead: values.sample_shapley(key, utility, players, permutations=...)",
        )
