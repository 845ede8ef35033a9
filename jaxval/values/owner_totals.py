"""Totals of values: for each source over its instances, or for each contributor over its sources."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Num

from jaxval import _checks
from jaxval.types import BadArgument

__all__ = ["owner_totals"]


def owner_totals(
    values: Num[ArrayLike, "players *objectives"] | list[Any],
    owners: Int[ArrayLike, "players"] | list[int],
    *,
    num: int | None = None,
) -> Float[Array, "owners *objectives"]:
    """The total of every owner, Φ_i = Σ φ(z) over the z that i owns.

    The players are the instances that sources own, or the sources that contributors own. The players of one owner may
    belong to different groups or rounds.

    Source: Zheng et al., Algorithm 1 (line 16), Algorithm 2 (lines 14 and 15) and Remark 3.1.

    Args:
        values: (players, *objectives) values.
        owners: (players,) the owner 0, 1, ... of each player.
        num: the number of owners, some of whom may own nothing. None means the largest number in `owners`
            plus one.

    Returns:
        (num, *objectives) totals. Their sum is the sum of the values.

    Raises:
        ValueError: if there is not one owner for each value, or an owner is not in [0, num).

    Example:
        >>> owner_totals([0.5, 0.25, -0.25], [0, 1, 0]).tolist()
        [0.25, 0.25]
    """
    values = jnp.asarray(_checks.floating("values", values, ndim=None, expected="(players, ...) values"))
    expected = f"({len(values)},) owners 0, 1, ..., one for each value"
    if not _checks.concrete(owners) and num is None:
        raise BadArgument(
            "num", expected="the number of owners, because `owners` is traced and its values are unknown", got="None"
        )
    try:
        owners = _checks.integers("owners", owners, ndim=1, expected=expected)
    except BadArgument as error:  # names, perhaps
        raise error.with_advice("call numpy.unique(owners, return_inverse=True)[1]") from None
    if owners.shape != values.shape[:1] or len(values) == 0:
        raise BadArgument("owners", expected=expected, got=f"shape {owners.shape}")
    if _checks.concrete(owners):
        largest, least = int(np.max(owners)), int(np.min(owners))
        num = largest + 1 if num is None else _checks.check_size("num", num)
        if least < 0 or largest >= num:
            raise BadArgument("owners", expected=f"numbers in [0, {num})", got=f"{least} to {largest}")
    assert num is not None  # told, or found in the owners
    _checks.check_memory("num", num, *values.shape[1:])
    return jax.ops.segment_sum(values, owners, num_segments=num)
