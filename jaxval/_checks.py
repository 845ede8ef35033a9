"""Checks of kinds of arguments: they raise a `ValueError` that names the argument, what was expected and what came.

Shapes are always checked. Values are checked only if they are known: under `jit`, `vmap` or `grad` an argument is a
tracer without values, so its values cannot be checked. To check them, call the function once outside, or wrap it with
`jax.experimental.checkify`. Preference functions, rankings, tables and the like are checked in `_objects`.
"""

import contextlib
import math
import os
import sys
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval.types import BadArgument


def concrete(*arrays: Any) -> bool:
    """Whether every array has values, so that they can be checked."""
    return not any(isinstance(array, jax.core.Tracer) for array in arrays)


def known_array(array: Any, dtype: Any = None) -> Array:
    """A copy of a NumPy array as a JAX array, in JAX's precision; anything else as `jnp.asarray` takes it.

    `jnp.asarray` would compile a program for every shape; `device_put` alone may share the memory of an array that its
    owner changes later.
    """
    if not isinstance(array, np.ndarray):
        return jnp.asarray(array, dtype=dtype)
    with np.errstate(over="ignore"):  # as in JAX, numbers beyond float32 are infinite
        return jax.device_put(np.array(array, dtype=jax.dtypes.canonicalize_dtype(dtype or array.dtype)))


def memory_of_machine() -> int:
    """The bytes of this machine's memory; 2^62 if the operating system does not tell."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**62


def check_memory(name: str, *shape: int, itemsize: int = 4) -> None:
    """Check that an array of this shape fits into this machine's memory, before JAX or the system ends the process."""
    needed, memory = itemsize * math.prod(shape), memory_of_machine()
    if needed > memory:
        raise BadArgument(
            name,
            expected=f"arrays that fit into {memory / 2**30:.1f} GiB of memory",
            got=f"{' x '.join(map(str, shape))} entries, which need {needed / 2**30:,.1f} GiB",
        )


def tolerance(dtype: Any) -> float:
    """The gap below which two numbers count as equal: 1e-9 in float64, 1e-5 in float32."""
    return 1e-9 if jnp.finfo(dtype).bits == 64 else 1e-5


def real_array(name: str, value: Any, expected: str = "real numbers") -> np.ndarray | Array:
    """`value` as an array of truth values, whole or real numbers: a JAX array as it is, anything else by NumPy."""
    try:
        array = value if isinstance(value, jax.Array) else np.asarray(value)
    except jax.errors.TracerArrayConversionError:  # a list of tracers
        array = jnp.asarray(value)
    except (ValueError, TypeError):  # a ragged list, or an object that says that it is an array
        array = np.empty(0, dtype=object)
    if array.dtype == bool or jnp.issubdtype(array.dtype, jnp.integer) or jnp.issubdtype(array.dtype, jnp.floating):
        check_memory(name, *array.shape)  # a file mapped into memory, or one number broadcast, may be larger
        return array
    got = f"{type(value).__name__} that is no array of numbers"
    raise BadArgument(name, expected=expected, got=f"{array.dtype} numbers" if array.dtype.kind == "c" else got)


def numbers(name: str, value: Any, expected: str = "real numbers") -> Array:
    """`value` as real numbers of any shape in JAX's default precision; infinite ones and NaN pass."""
    array = real_array(name, value, expected)
    return jnp.asarray(array, dtype=float) if isinstance(array, jax.Array) else known_array(array, float)


def host_numbers(name: str, value: Any, expected: str = "real numbers") -> np.ndarray:
    """`value` as real numbers of any shape in float64 on the host; infinite ones and NaN pass."""
    return np.asarray(real_array(name, value, expected), dtype=np.float64)


def check_finite(name: str, value: Any, expected: str, *, least: float = 0.0, above: bool = False) -> Any:
    """Check a finite number of at least `least`, or above it."""
    if not isinstance(value, int | float | np.number | np.ndarray | jax.Array) or np.ndim(value) != 0:
        raise BadArgument(name, expected=expected, got=f"{value!r:.80}")
    if isinstance(value, np.number | np.ndarray) and value.dtype.kind not in "biuf":
        raise BadArgument(name, expected=expected, got=f"{value!r:.80}")
    if isinstance(value, int):  # JAX takes whole numbers of 32 bits
        value = float(value) if abs(value) <= sys.float_info.max else math.copysign(math.inf, value)
    if concrete(value) and not (least < value < np.inf or (value == least and not above)):
        raise BadArgument(name, expected=expected, got=f"{value!r:.80}")
    return value


def check_share(name: str, value: Any, expected: str = "a number in (0, 1)") -> float:
    """Check a number strictly between 0 and 1."""
    if not isinstance(value, int | float | np.number) or not 0 < value < 1:
        raise BadArgument(name, expected=expected, got=f"{value!r:.80}")
    return float(value)


def check_flag(name: str, value: Any) -> bool:
    """Check that something is a truth value; an array, or a word such as "no", would count as true or be ambiguous."""
    if not isinstance(value, bool | np.bool_):
        raise BadArgument(name, expected="True or False", got=f"{value!r:.80}")
    return bool(value)


def check_function(name: str, value: Any, expected: str = "a function") -> Any:
    """Check that something can be called."""
    if not callable(value):
        raise BadArgument(name, expected=expected, got=f"{value!r:.80}")
    return value


def check_record(name: str, value: Any, kind: Any) -> Any:
    """Check that something has the fields of a record, such as `types.Ballots`."""
    if not all(hasattr(value, field) for field in kind._fields):
        fields = ", ".join(kind._fields)
        raise BadArgument(name, expected=f"{kind.__name__}({fields})", got=f"{type(value).__name__} without these")
    return value


def check_named(name: str, value: Any) -> Mapping[str, Any]:
    """Check options by name; None means none."""
    if value is not None and not (isinstance(value, Mapping) and all(isinstance(option, str) for option in value)):
        raise BadArgument(name, expected="a dictionary of options by name", got=f"{value!r:.80}")
    return value or {}


def check_text(name: str, value: Any) -> str:
    """Check that something is a text."""
    if not isinstance(value, str):
        raise BadArgument(name, expected="a text", got=f"{value!r:.80}")
    return value


def check_path(name: str, value: Any) -> Any:
    """Check that something names a file or a folder; a whole number would open whatever the process has open."""
    try:
        valid = isinstance(value, str | os.PathLike) and os.fsencode(value) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:  # half of a character, for which no file system has bytes
        valid = False
    if not valid:
        raise BadArgument(name, expected="a path, as a string or a pathlib.Path", got=f"{value!r:.80}")
    return value


def leaves_of(name: str, tree: Any) -> list[tuple[Any, Any]]:
    """The leaves of a pytree with their paths."""
    try:
        return jax.tree_util.tree_leaves_with_path(tree)
    except ValueError:  # JAX sorts the keys of dictionaries
        raise BadArgument(name, expected="dictionaries with keys of one kind", got=f"{tree!r:.80}") from None


def check_leaves(name: str, params: Any) -> Any:
    """Check that the leaves of a pytree are arrays of numbers."""
    for path, leaf in leaves_of(name, params):
        if not hasattr(leaf, "dtype") or not hasattr(leaf, "shape"):  # shapes without numbers are parameters too
            place = f"{name}{jax.tree_util.keystr(path)}"
            raise BadArgument(place, expected="an array of numbers", got=f"{leaf!r:.80}")
        if isinstance(leaf, np.ndarray) or (isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.number)):
            real_array(f"{name}{jax.tree_util.keystr(path)}", leaf, "an array of numbers")
    return params


def check_result(name: str, value: Any, expected: str) -> Any:
    """Check that a function that JAX traces has returned arrays or numbers, of whatever dtype."""
    for leaf in jax.tree.leaves(value):
        array = isinstance(leaf, jax.Array) or (
            isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind in "biufcV"
        )
        if not array and not isinstance(leaf, bool | int | float | complex):
            raise BadArgument(name, expected=expected, got=f"{leaf!r:.80}")
    return value


def check_members(name: str, coalition: Any, expected: str) -> Array:
    """A mask, or weights, as floating-point numbers."""
    return jnp.asarray(real_array(name, coalition, expected)).astype(float)


def check_sized(name: str, value: Any) -> Any:
    """Check a text or a sequence of ids."""
    if isinstance(value, Mapping) or not hasattr(value, "__len__") or getattr(value, "ndim", 1) == 0:
        raise BadArgument(name, expected="sequences of ids, or texts", got=f"{value!r:.80}")
    return value


def check_names(name: str, value: Any, expected: str) -> Any:
    """Check a list of texts, such as the names of players or of alternatives."""
    for item in check_list(name, value, expected):
        if not isinstance(item, str):
            raise BadArgument(name, expected=expected, got=f"{item!r:.80} among them")
    return value


def check_items(name: str, value: Any, expected: str) -> list[Any]:
    """The items of something that can be gone through, as a generator can, but no text and no dictionary."""
    if not isinstance(value, str | bytes | Mapping):
        with contextlib.suppress(TypeError):  # also raised by arrays without axes
            return list(value)
    raise BadArgument(name, expected=expected, got=f"{value!r:.80}")


def check_list(name: str, value: Any, expected: str) -> Any:
    """Check that something has a length and elements, and is neither one text nor a dictionary."""
    if isinstance(value, str | bytes | Mapping) or not (hasattr(value, "__len__") and hasattr(value, "__getitem__")):
        raise BadArgument(name, expected=expected, got=f"{value!r:.80}")
    if isinstance(value, np.ndarray | jax.Array) and value.ndim == 0:
        raise BadArgument(name, expected=expected, got="an array without axes")
    return value


def floating(name: str, value: Any, *, ndim: int | None, expected: str) -> Array:
    """`value` as a finite floating-point array of `ndim` dimensions, in JAX's default precision.

    Any number of dimensions from 1 on passes if `ndim` is None.
    """
    array = real_array(name, value, expected)
    if array.ndim != ndim and (ndim is not None or array.ndim == 0):
        raise BadArgument(name, expected=expected, got=f"shape {array.shape}")
    if not concrete(array):
        return jnp.asarray(array, dtype=float)
    kind = jax.dtypes.canonicalize_dtype(float)
    with np.errstate(over="ignore"):  # numbers that overflow float32 are refused below
        values = np.asarray(array).astype(kind, copy=not isinstance(array, jax.Array))
    if not all_finite(values):
        raise BadArgument(name, expected="finite numbers", got=np.asarray(array)[~np.isfinite(values)][0])
    return jnp.asarray(array, dtype=float) if isinstance(array, jax.Array) else jax.device_put(values)


def all_finite(values: np.ndarray) -> bool:
    """Whether no number is infinite or NaN."""
    # The sum of squares says so in half the time, unless it overflows.
    return bool(np.isfinite(np.vdot(values, values)) or np.isfinite(values).all())


def known_floats(name: str, value: Any, *, ndim: int, expected: str) -> np.ndarray | Array:
    """`value` as finite numbers in its given precision, on the host; a tracer in JAX's default precision."""
    array = real_array(name, value, expected)
    if array.ndim != ndim:
        raise BadArgument(name, expected=expected, got=f"shape {array.shape}")
    if not concrete(array):
        return jnp.asarray(array, dtype=float)
    values = np.asarray(array)
    values = values if values.dtype.kind == "f" else values.astype(np.float64)
    if not np.isfinite(values).all():
        raise BadArgument(name, expected="finite numbers", got=values[~np.isfinite(values)][0])
    return values


def integers(name: str, value: Any, *, ndim: int, expected: str) -> Array:
    """`value` as an integer array of `ndim` dimensions."""
    array = real_array(name, value, expected)
    if array.ndim != ndim:
        raise BadArgument(name, expected=expected, got=f"shape {array.shape}")
    if array.dtype.kind not in "iu":
        raise BadArgument(name, expected=expected, got=f"dtype {array.dtype}")
    if isinstance(array, np.ndarray) and array.size and not -(2**31) <= array.min() <= array.max() < 2**31:
        raise BadArgument(name, expected=f"{expected}, below 2^31", got=f"{array.min()} to {array.max()}")
    return known_array(array)


def check_number(name: str, value: Any, *, low: float | int, high: float | int, expected: str) -> Array:
    """Check a scalar in [low, high]; NaN is refused."""
    array = jnp.asarray(real_array(name, value, expected), dtype=float)
    if array.ndim != 0:
        raise BadArgument(name, expected=expected, got=f"shape {array.shape}")
    if concrete(array) and not low <= float(array) <= high:
        raise BadArgument(name, expected=expected, got=f"{float(array):g}")
    return array


def check_choice(name: str, value: Any, choices: Mapping[str, Any] | tuple[str, ...]) -> str:
    """Check that an option has one of its words."""
    if not isinstance(value, str) or value not in choices:
        raise BadArgument(name, expected=f"one of {', '.join(map(repr, choices))}", got=f"{value!r}")
    return value


def check_key(key: Any) -> Any:
    """Check that there is one random key, from `jax.random.key` or as the raw words of `jax.random.PRNGKey`."""
    typed = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim == 0
    raw = isinstance(key, jax.Array | np.ndarray) and key.dtype == np.uint32 and key.shape in ((2,), (4,))
    if typed or raw:
        return key
    array = isinstance(key, jax.Array | np.ndarray)
    got = f"an array of {key.dtype} of shape {key.shape}" if array else f"{key!r}"
    seed = key if isinstance(key, int) and not isinstance(key, bool) else 0
    raise BadArgument("key", expected="one JAX random key", got=got, advice=f"pass jax.random.key({seed})")


def check_size(name: str, value: int) -> int:
    """Check a whole number of at least 1, below 2^31: XLA ends the process at sizes that it cannot count."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value < 2**31:
        bound = ", below 2^31" if isinstance(value, int | np.integer) and value >= 2**31 else ""
        raise BadArgument(name, expected=f"a whole number of at least 1{bound}", got=f"{value!r:.80}")
    return int(value)
