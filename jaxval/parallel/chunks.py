"""Many rows in chunks of one shape: the last chunk is filled up with copies of the last row, whose results are dropped.

A chunk of another shape would be compiled again, and its values would differ by rounding.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

__all__ = ["each_chunk", "map_chunks"]


def map_chunks(function: Callable[[Array], Any], rows: int, size: int) -> Any:
    """The function of all row numbers, `size` of them at a time, inside a compiled program.

    Args:
        function: from row numbers (size,) to arrays whose first axis has one entry for each of them; a pytree.
        rows: how many rows there are, at least 1.
        size: how many row numbers the function is given at a time; all of them if there are fewer.

    Returns:
        The arrays of all rows, with a first axis (rows,).

    Example:
        >>> squares = jnp.array([0, 1, 4, 9, 16])
        >>> map_chunks(lambda number: squares[number] + 1, 5, 2).tolist()
        [1, 2, 5, 10, 17]
    """
    size = min(size, rows)
    if size == rows:  # one chunk needs no loop
        return function(jnp.arange(rows))
    starts = size * jnp.arange(-(-rows // size))
    parts = jax.lax.map(lambda start: function(jnp.minimum(start + jnp.arange(size), rows - 1)), starts)
    return jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:])[:rows], parts)


def each_chunk(
    function: Callable[[np.ndarray], Any], rows: int, size: int, *, advance: Callable[[int], None] | None = None
) -> np.ndarray:
    """Call a function of row numbers for `size` rows at a time, and gather its results in the memory of the host.

    Args:
        function: from row numbers (size,) to an array with one entry for each of them.
        rows: how many rows there are, at least 1.
        size: how many row numbers every call gets, even if there are fewer rows.
        advance: called after each chunk with the number of rows that it finished; see `parallel.progress`.

    Returns:
        (rows, ...) a NumPy array.

    Example:
        >>> each_chunk(lambda number: number**2, 5, 2).tolist()
        [0, 1, 4, 9, 16]
    """
    parts = []
    for start in range(0, rows, size):
        parts.append(np.asarray(function(np.minimum(np.arange(start, start + size), rows - 1))))
        if advance is not None:
            advance(min(size, rows - start))
    return np.concatenate(parts)[:rows]
