"""Random orders of players: orders that respect groups or unions, what is drawn together, and prefixes as masks."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval import _checks
from jaxval.types import BadArgument

__all__ = ["check_permutations", "draw_order", "order_variants", "prefixes"]


def draw_order(key: Array, groups: np.ndarray, unions: np.ndarray | None = None) -> Array:
    """A uniform permutation among those whose groups are in order: players sorted by group, then by random bits.

    With unions, (levels, players), it is uniform among those in which every union stands together: players are sorted
    by the random bits of their coarsest union, then by those of the next level, and last by their own.
    """
    if unions is not None:
        random = jax.random.bits(key, (len(unions) + 1, len(groups)))
        # The number of a union keeps unions apart whose bits happen to be equal.
        levels = [
            part for union, bits in zip(unions, random, strict=False) for part in (bits[union], jnp.asarray(union))
        ]
        return jax.lax.sort((*levels, random[-1], jnp.arange(len(groups))), num_keys=len(levels) + 1)[-1]
    bits = jax.random.bits(key, groups.shape)
    if groups.max() == 0:
        return jnp.argsort(bits)
    return jax.lax.sort((jnp.asarray(groups), bits, jnp.arange(len(groups))), num_keys=2)[2]


def prefixes(orders: Array, sizes: np.ndarray) -> Array:
    """The prefixes of each order that have these sizes as masks, (orders, sizes, n)."""
    count, players = orders.shape
    ranks = jnp.zeros_like(orders).at[jnp.arange(count)[:, None], orders].set(jnp.arange(players)[None, :])
    return ranks[:, None, :] < jnp.asarray(sizes)[None, :, None]


def check_permutations(permutations: int, together: int) -> int:
    """Check that there are enough permutations for a standard error, and an even number if they come in pairs."""
    permutations = _checks.check_size("permutations", permutations)
    if permutations % together:
        expected = "an even number, as they come in antithetic pairs" if together == 2 else f"a multiple of {together}"
        got = f"{permutations}" if together == 2 else f"{permutations}, and {together} are drawn together"
        raise BadArgument("permutations", expected=expected, got=got)
    if permutations < 2 * together:
        raise BadArgument("permutations", expected=f"at least {2 * together}, for a standard error", got=permutations)
    return permutations


def order_variants(groups: np.ndarray, antithetic: bool, strata: int) -> np.ndarray:
    """(together, n) the positions of an order that are drawn together: shifted and reversed within each group."""
    sizes = np.bincount(groups)
    starts = np.cumsum(sizes) - sizes

    def within(rearrange: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        parts = zip(starts, sizes, strict=True)
        return np.concatenate([start + rearrange(np.arange(size)) for start, size in parts])

    def shift(part: int) -> np.ndarray:
        return within(lambda one: np.roll(one, part * len(one) // strata))

    shifted = [shift(part) for part in range(strata)]
    reverse = within(lambda one: one[::-1])
    return np.stack([order for one in shifted for order in ([one, one[reverse]] if antithetic else [one])])
