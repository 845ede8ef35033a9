"""What tells one run from another: a fingerprint of its utility, its data and its seed."""

import dataclasses
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

__all__ = ["fingerprint"]


def fingerprint(*parts: Any) -> str:
    """A digest of everything that a utility's values depend on, the same in every process.

    Arrays count by type, shape and content, functions by name, source and what they close over (not by the functions
    and global variables that they use: name those too, or a version), files by content where they come as a
    `pathlib.Path`, containers by what they hold.

    Args:
        *parts: numbers, strings, None, arrays, random keys, functions, paths; lists, tuples, dictionaries and data
            classes of them.

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError: where a part is of another kind, or a function has no source.

    Example:
        >>> data = np.arange(3.0)
        >>> fingerprint("accuracy, version 2", data, 0) == fingerprint("accuracy, version 2", data.copy(), 0)
        True
        >>> fingerprint("accuracy, version 2", data, 0) == fingerprint("accuracy, version 2", data, 1)
        False
    """
    digest = hashlib.sha256()
    _add(digest.update, parts)
    return digest.hexdigest()


def _add(update: Callable[[bytes], None], part: Any) -> None:
    """One part after another, each with its kind and length in front, so that no two read the same."""

    def tell(kind: str, *texts: str | bytes) -> None:
        for text in (kind, *texts):
            content = text.encode() if isinstance(text, str) else text
            update(f"{len(content)}:".encode() + content)

    if isinstance(part, jax.Array) and jax.dtypes.issubdtype(part.dtype, jax.dtypes.prng_key):
        tell("key", str(part.dtype))
        part = np.asarray(jax.random.key_data(part))
    if part is None or isinstance(part, bool | int | float | complex | str | bytes):
        tell(type(part).__name__, part if isinstance(part, str | bytes) else repr(part))
    elif isinstance(part, np.ndarray | np.generic | jax.Array):
        array = np.asarray(part)
        if array.dtype.hasobject:
            raise ValueError(f"fingerprint: expected arrays of numbers or strings; got dtype {array.dtype}")
        tell("array", array.dtype.str, repr(array.shape), np.ascontiguousarray(array).tobytes())
    elif isinstance(part, Path):
        tell("file", part.read_bytes())
    elif isinstance(part, Mapping):
        tell("mapping", str(len(part)))
        for key in sorted(part, key=repr):
            _add(update, (key, part[key]))
    elif isinstance(part, list | tuple):
        tell(type(part).__name__, str(len(part)))
        for item in part:
            _add(update, item)
    elif dataclasses.is_dataclass(part) and not isinstance(part, type):
        tell("dataclass", type(part).__qualname__)
        _add(update, [getattr(part, field.name) for field in dataclasses.fields(part)])
    elif isinstance(part, partial):
        _add(update, ("partial", part.func, part.args, part.keywords))
    elif inspect.isfunction(part) or inspect.ismethod(part):
        function = part.__func__ if inspect.ismethod(part) else part
        tell("function", function.__qualname__, _source(function))
        closed = [cell.cell_contents for cell in function.__closure__ or ()]
        _add(update, [closed, function.__defaults__, function.__kwdefaults__])
        if inspect.ismethod(part):
            _add(update, part.__self__)
    else:
        raise ValueError(
            f"fingerprint: expected numbers, strings, arrays, functions or containers of them; got "
            f"{type(part).__name__}; name it by a string that changes with it"
        )


def _source(function: Any) -> str:
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise ValueError(
            f"fingerprint: expected functions with a source; got {function.__qualname__} without one; name it by a "
            "string that changes with it"
        ) from error
