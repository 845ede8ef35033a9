"""Coalitions as masks and as indices, and the table of a utility over all of them.

Bit i of a coalition's index is player i: index 0 is the empty coalition, index 2^n - 1 the full one, and row k of a
table is the utility of coalition k.
"""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int, Num

from jaxval import _checks
from jaxval.types import Coalitions, Utility

__all__ = ["all_coalitions", "coalition_index", "coalition_sizes", "evaluate", "index_coalition", "tabulate"]

MOST_PLAYERS = 30  # an index has 31 bits
AT_ONCE = 2**16  # masks that an evaluator is given


def all_coalitions(players: int) -> Bool[Array, "coalitions players"]:
    """All 2^n coalitions in the order of their indices.

    Args:
        players: how many, n.

    Returns:
        (2^n, n) masks.

    Raises:
        ValueError: where there is no player, or more coalitions than fit.

    Example:
        >>> all_coalitions(2).astype(int).tolist()
        [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    players = check_players(players)
    check_fits(players, row_bytes=players)
    return index_coalition(jnp.arange(2**players), players)


def index_coalition(index: Int[ArrayLike, "*batch"] | int, players: int) -> Bool[Array, "*batch {players}"]:
    """The mask of a coalition from its index: player i is in where bit i is set.

    Args:
        index: whole numbers in [0, 2^n), of any shape.
        players: how many, n; 30 at most.

    Returns:
        Masks, with one axis (n,) more than the index has.

    Raises:
        ValueError: where an index is no number of a coalition, or there are more than 30 players.

    Example:
        >>> index_coalition(6, 3).tolist()
        [False, True, True]
    """
    players = check_players(players)
    index = _checks.integers("index", index, ndim=np.ndim(index), expected="whole numbers in [0, 2^players)")
    if _checks.concrete(index) and index.size:
        values = np.asarray(index)
        if values.min() < 0 or values.max() >= 2**players:
            raise ValueError(f"index: expected numbers in [0, {2**players}); got {values.min()} to {values.max()}")
    bits = jnp.reshape(jnp.arange(players, dtype=index.dtype), (1,) * index.ndim + (players,))
    return (index[..., None] >> bits) & 1 == 1


def coalition_index(coalition: Bool[ArrayLike, "*batch players"] | list[Any]) -> Int[Array, "*batch"]:
    """The index of a coalition from its mask, Σ_i 2^i [i in S].

    Args:
        coalition: masks; the last axis holds the players, 30 at most.

    Returns:
        Whole numbers in [0, 2^n).

    Raises:
        ValueError: where the masks are no booleans, or have more than 30 players.

    Example:
        >>> int(coalition_index([False, True, True]))
        6
    """
    masks = check_coalitions(coalition)
    players = check_players(masks.shape[-1])
    bits = jnp.reshape(2 ** jnp.arange(players), (1,) * (masks.ndim - 1) + (players,))
    return jnp.sum(jnp.where(masks, bits, 0), axis=-1)


def coalition_sizes(players: int) -> Int[Array, "coalitions"]:
    """The number of members |S| of every coalition, in the order of their indices.

    Args:
        players: how many, n.

    Returns:
        (2^n,) sizes.

    Raises:
        ValueError: where there is no player, or more coalitions than fit.

    Example:
        >>> coalition_sizes(2).tolist()
        [0, 1, 1, 2]
    """
    players = check_players(players)
    check_fits(players, row_bytes=4)
    return jax.lax.population_count(jnp.arange(2**players))


def evaluate(
    utility: Utility, coalitions: Coalitions, *, batch_size: int = 1024
) -> Num[Array, "coalitions *objectives"]:
    """The utility of each coalition, `batch_size` of them at a time.

    A utility is written for one mask; this is the place where it is vectorised. The last batch is filled up, so that
    every batch has the same shape and a value does not depend on its neighbours.

    Args:
        utility: from a mask (n,) to a scalar or a vector of objectives, written in JAX; or an `evaluator`.
        coalitions: (coalitions, n) masks.
        batch_size: how many at a time; memory grows with it. An evaluator has its own.

    Returns:
        (coalitions, *objectives) utilities.

    Raises:
        ValueError: where the masks are not (coalitions, n) booleans, the utility cannot be traced, returns anything but
            a number or a vector of numbers, or a number that is not finite.

    Example:
        >>> evaluate(lambda coalition: coalition.sum(), [[True, False], [True, True]]).tolist()
        [1.0, 2.0]
    """
    masks = check_coalitions(coalitions)
    if masks.ndim != 2 or 0 in masks.shape:
        raise ValueError(f"coalitions: expected (coalitions, players) masks; got shape {masks.shape}")
    if isinstance(getattr(utility, "hosted", None), bool):
        return utility.many(masks)  # type: ignore[attr-defined]
    rows, players = masks.shape
    size = min(_checks.check_size("batch_size", batch_size), rows)
    call = checked_utility(utility, players)
    batches = -(-rows // size)

    def run(masks: Array) -> Array:
        filled = jnp.concatenate([masks, jnp.broadcast_to(masks[-1:], (batches * size - rows, players))])
        return join(jax.lax.map(jax.vmap(call), filled.reshape(batches, size, players)))[:rows]

    return check_utilities(jax.jit(run)(masks), lambda row: np.asarray(masks)[row])


def tabulate(utility: Utility, players: int, *, batch_size: int = 1024) -> Num[Array, "coalitions *objectives"]:
    """The utilities of all 2^n coalitions, `batch_size` of them at a time; row k is coalition k.

    Beside the table itself, memory is that of one batch: no more than `batch_size` masks exist at a time.

    Args:
        utility: from a mask (n,) to a scalar or a vector of objectives, written in JAX; or an `evaluator`.
        players: how many, n.
        batch_size: how many at a time. An evaluator has its own.

    Returns:
        (2^n, *objectives) utilities.

    Raises:
        ValueError: where the table cannot fit (before anything is allocated), the utility cannot be traced, returns
            anything but a number or a vector of numbers, or a number that is not finite.

    Example:
        >>> tabulate(lambda coalition: coalition.sum(), 2).tolist()
        [0.0, 1.0, 1.0, 2.0]
    """
    players = check_players(players)
    check_fits(players, row_bytes=4)
    if isinstance(getattr(utility, "hosted", None), bool):
        parts = [range(start, min(start + AT_ONCE, 2**players)) for start in range(0, 2**players, AT_ONCE)]
        return jnp.concatenate(
            [utility.many(index_coalition(jnp.asarray(part), players)) for part in parts]  # type: ignore[attr-defined]
        )
    rows = 2**players
    size = min(_checks.check_size("batch_size", batch_size), rows)
    call = checked_utility(utility, players)
    shape = jax.eval_shape(call, jax.ShapeDtypeStruct((players,), bool))
    check_fits(players, row_bytes=int(np.prod(shape.shape)) * shape.dtype.itemsize)

    def of_batch(first: Array) -> Array:
        index = jnp.minimum(first + jnp.arange(size), rows - 1)
        return jax.vmap(call)(index_coalition(index, players))

    run = jax.jit(lambda: join(jax.lax.map(of_batch, size * jnp.arange(-(-rows // size))))[:rows])
    return check_utilities(run(), lambda row: np.asarray(index_coalition(row, players)))


def join(batches: Array) -> Array:
    """One axis from the first two."""
    return batches.reshape(-1, *batches.shape[2:])


def checked_utility(utility: Utility, players: int) -> Utility:
    """The utility as a function to a floating-point scalar or vector; errors of its shape are raised here."""
    if not callable(utility):
        raise ValueError(f"utility: expected a function of a mask; got {type(utility).__name__}")

    def call(coalition: Array) -> Array:
        value = jnp.asarray(utility(coalition))
        return value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(float)

    try:
        result = jax.eval_shape(utility, jax.ShapeDtypeStruct((players,), bool))
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        raise ValueError(
            "utility: expected a function that JAX can trace; got one that needs the values of its mask; "
            "pass coalitions.evaluator(utility, players, host=True), which calls it with NumPy masks, each once"
        ) from error
    leaves = jax.tree.leaves(result)
    if len(leaves) != 1 or leaves[0] is not result or result.ndim > 1 or 0 in result.shape:
        got = [leaf.shape for leaf in leaves]
        raise ValueError(f"utility: expected a scalar or a vector of objectives; got shape {got[0] if got else None}")
    if not (jnp.issubdtype(result.dtype, jnp.floating) or result.dtype.kind in "biu"):
        raise ValueError(f"utility: expected real numbers; got dtype {result.dtype}")
    return call


def check_utilities(values: Array, coalition: Any) -> Array:
    """Utilities that are finite; the first that is not is named by its members."""
    if _checks.concrete(values):
        finite = np.isfinite(values)
        if not finite.all():
            row = int(np.argwhere(~finite)[0, 0])
            members = np.flatnonzero(coalition(row)).tolist()
            raise ValueError(f"utility: expected finite numbers; got {np.asarray(values[row])} for coalition {members}")
    return values


def check_players(players: int) -> int:
    """A number of players for which coalitions can be numbered: 1 to 30."""
    players = _checks.check_size("players", players)
    if players > MOST_PLAYERS:
        raise ValueError(
            f"players: expected at most {MOST_PLAYERS}, for 2^{players} coalitions cannot be listed; got {players}; "
            "sample instead: values.sample_shapley(key, utility, players, permutations=...)"
        )
    return players


def check_coalitions(coalitions: Any) -> Array:
    """Masks: booleans, with the players on the last axis."""
    masks = coalitions if isinstance(coalitions, jax.Array) else np.asarray(coalitions)
    if masks.dtype != bool or masks.ndim == 0:
        raise ValueError(f"coalitions: expected boolean masks, players last; got {masks.dtype} of shape {masks.shape}")
    return jnp.asarray(masks)


def check_fits(players: int, *, row_bytes: int) -> None:
    """2^n rows must fit into this machine's memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**62
    if 2**players * row_bytes > memory:
        raise ValueError(
            f"players: expected a table that fits into {memory / 2**30:.1f} GiB of memory; "
            f"2^{players} rows of {row_bytes} bytes need {2**players * row_bytes / 2**30:.1f} GiB; "
            "sample instead: values.sample_shapley(key, utility, players, permutations=...)"
        )
