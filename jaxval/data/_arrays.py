"""Arrays from the lists that a reader gathers."""

import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from jaxval.data._text import FilePath
from jaxval.data.records import Election
from jaxval.types import BadArgument, Ballots

__all__ = ["build_election", "floats", "indices"]

MOST_CELLS = 2**31
"""Positions are stored densely; an election of more cells than this, 8 GiB, is refused."""


def indices(numbers: Sequence[Any] | np.ndarray) -> Int[Array, "..."]:
    """Whole numbers as a JAX array of int32."""
    # `device_put` compiles nothing, and `jnp.asarray` may compile a program for every shape.
    return jax.device_put(np.asarray(numbers, dtype=np.int32))


def floats(numbers: Sequence[float] | Sequence[int] | np.ndarray) -> Float[Array, "..."]:
    """Numbers as a JAX array in JAX's default precision, also by `device_put`."""
    return jax.device_put(np.asarray(numbers, dtype=jax.dtypes.canonicalize_dtype(float)))


def build_election(
    path: FilePath,
    rankings: Sequence[Sequence[Sequence[int]]],
    counts: Sequence[float] | Sequence[int],
    names: tuple[str, ...],
    title: str,
) -> Election:
    """An `Election` from rankings as lists of tied groups, best first. An alternative in no group is unranked."""
    shape = len(rankings), len(names)
    if shape[0] * shape[1] > MOST_CELLS:
        raise BadArgument(
            os.fspath(path), expected=f"at most {MOST_CELLS} ballots x alternatives", got=f"{shape[0]} x {shape[1]}"
        )
    positions = np.full(shape, -1, dtype=np.int32)
    for row, ranking in zip(positions, rankings, strict=True):
        for place, tied in enumerate(ranking):
            row[list(tied)] = place
    return Election(Ballots(indices(positions), floats(counts)), names, title)
