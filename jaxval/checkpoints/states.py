"""The state of an estimator in a file: every leaf to the bit, random keys included."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxval import _checks
from jaxval.checkpoints.files import whole_file
from jaxval.types import BadArgument

__all__ = ["load_state", "save_state"]


def save_state(path: str | Path, state: Any) -> None:
    """Write a pytree of arrays to a NumPy archive, in one step: an earlier file stays until the new one is complete.

    Args:
        path: the file to write.
        state: a pytree of arrays and random keys.

    Example:
        >>> import tempfile
        >>> state = {"key": jax.random.key(3), "mean": jnp.ones(2)}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_state(f"{folder}/state.npz", state)
        ...     loaded = load_state(f"{folder}/state.npz", like=state)
        >>> bool(loaded["key"] == state["key"]), loaded["mean"].tolist()
        (True, [1.0, 1.0])
    """
    leaves = []
    for place, leaf in _checks.leaves_of("state", state):
        leaves.append(np.asarray(_plain(leaf)))
        if leaves[-1].dtype == object:  # NumPy would write a pickle, which no reader loads
            name = f"state{jax.tree_util.keystr(place)}"
            raise BadArgument(name, expected="an array of numbers, or a random key", got=f"{leaf!r:.80}")
    with whole_file(path) as draft, draft.open("wb") as file:
        np.savez(file, *leaves, structure=np.array(_structure(state)))


def load_state(path: str | Path, like: Any) -> Any:
    """Read what `save_state` wrote.

    Args:
        path: the file.
        like: a state of the same kind, such as a fresh one of the same estimator.

    Returns:
        The state.

    Raises:
        ValueError: if `save_state` did not write the file, the file is cut off, or it holds a state of another kind.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_state(f"{folder}/state.npz", (jnp.zeros(2), jnp.asarray(3)))
        ...     int(load_state(f"{folder}/state.npz", like=(jnp.ones(2), jnp.asarray(0)))[1])
        3
    """
    _checks.leaves_of("like", like)
    with Path(_checks.check_path("path", path)).open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                structure = str(archive["structure"])
                leaves = [archive[f"arr_{i}"] for i in range(len(archive.files) - 1)]
        except Exception as error:  # a changed byte in an archive or in a header of NumPy's raises many kinds
            raise BadArgument("path", expected="an archive written by save_state", got=f"{path} ({error})") from error
    kinds, form = jax.tree.flatten(like)
    if structure != _structure(like):
        raise BadArgument("path", expected=f"a state of\n{_structure(like)}", got=f"{path}, which holds\n{structure}")
    if len(leaves) != len(kinds):  # a name in the archive was changed
        raise BadArgument("path", expected=f"{len(kinds)} arrays, as saved", got=f"{path} with {len(leaves)}")
    result = [_like(leaf, kind) for leaf, kind in zip(leaves, kinds, strict=True)]
    return jax.tree.unflatten(form, result)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _like(leaf: np.ndarray, kind: Any) -> Any:
    return jax.random.wrap_key_data(jnp.asarray(leaf), impl=jax.random.key_impl(kind)) if _is_key(kind) else leaf


def _structure(state: Any) -> str:
    """The paths of the leaves, and their types and shapes."""
    lines = []
    for place, leaf in jax.tree_util.tree_leaves_with_path(state):
        dtype = str(leaf.dtype) if _is_key(leaf) else np.asarray(leaf).dtype.name
        lines.append(f"{jax.tree_util.keystr(place)}: {dtype}{list(np.shape(leaf))}")
    return "\n".join(lines)
