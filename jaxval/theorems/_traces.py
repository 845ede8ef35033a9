"""Traced programs, kept from one run to the next beside the compiled ones (see `cli.programs`).

JAX needs the text of a program to find the compiled one, and tracing the claims for that text takes longer than loading
and running them. So the text itself is kept, under a name that holds the digest of all code of jaxval.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import typing
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

__all__ = ["name_fields", "traced_once"]


def traced_once(function: Callable[..., Any], name: str, *arguments: Any) -> Callable[..., Any]:
    """The function for arguments of these shapes, traced in this run, or in an earlier run of the same code.

    Args:
        function: a function of arrays to dictionaries, or to NamedTuples after `name_fields`; all its code is in jaxval
            and what jaxval imports.
        name: what tells it from other functions of jaxval.
        arguments: arrays of the shapes with which it is called.

    Returns:
        A function that does the same; the function itself if no folder for programs is set, or flatbuffers is missing.

    Example:
        >>> traced_once(abs, "the absolute value", np.zeros(3))(-2.0)
        2.0
    """
    folder = os.environ.get("JAXVAL_PROGRAMS")
    if folder is None or importlib.util.find_spec("flatbuffers") is None:  # JAX writes traced programs with it
        return function
    shapes = [(np.shape(argument), np.result_type(argument).str) for argument in arguments]
    digest = hashlib.blake2b(f"{_code()} {jax.__version__} {name} {shapes}".encode(), digest_size=16).hexdigest()
    path = Path(folder, f"traced-{digest}-cache")
    with contextlib.suppress(OSError, ValueError, zlib.error):  # none yet, or damaged
        return export.deserialize(bytearray(zlib.decompress(path.read_bytes()))).call
    traced = export.export(jax.jit(function))(*arguments)
    with contextlib.suppress(OSError):
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_bytes(zlib.compress(traced.serialize(), level=1))
        draft.replace(path)
    return traced.call


@functools.cache
def name_fields(kind: type) -> None:
    """Let a traced program return this NamedTuple, and those in its fields.

    Example:
        >>> from typing import NamedTuple
        >>> Point = NamedTuple("Point", [("x", np.ndarray)])
        >>> name_fields(Point)
        >>> traced_once(Point, "a point", np.zeros(3))(1.0)
        Point(x=1.0)
    """
    for field in typing.get_type_hints(kind).values():
        if hasattr(field, "_fields"):
            name_fields(field)
    export.register_namedtuple_serialization(kind, serialized_name=f"{kind.__module__}.{kind.__qualname__}")


@functools.cache
def _code() -> str:
    """The digest of jaxval's own files."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(str(path).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
