"""Arrays of images and labels in the idx format, in which MNIST is published."""

from __future__ import annotations

import gzip
import os
import zlib

import numpy as np

from jaxval.data._text import FilePath, file_bytes
from jaxval.types import BadArgument

__all__ = ["read_idx"]

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_AXES = 64


def read_idx(path: FilePath) -> np.ndarray:
    """An array from a file in the idx format, gzipped or not, such as MNIST's images and labels.

    The file holds two zero bytes, a byte for the type of the numbers, a byte for the number of axes, the length of each
    axis in four bytes, and the numbers, all with the highest byte first.

    Source: LeCun, Cortes and Burges, "The MNIST database".

    Args:
        path: the file.

    Returns:
        A NumPy array of the machine's own byte order.

    Raises:
        ValueError: if the file is not in this format, is cut off, or holds more than its header says.
        FileNotFoundError: if there is no such file.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "labels-idx1-ubyte")
        ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
        ...     read_idx(path).tolist()
        [5, 0, 4]
    """
    content, name = file_bytes(path), os.fspath(path)
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise BadArgument(name, expected="a whole gzipped file", got=f"{error}") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        raise BadArgument(name, expected="a file in the idx format", got=f"the first bytes {content[:4].hex(' ')}")
    axes = content[3]
    if axes > MOST_AXES:
        raise BadArgument(name, expected=f"at most {MOST_AXES} axes, as NumPy has", got=axes)
    head = 4 + 4 * axes
    kind = np.dtype(TYPES[content[2]])
    if len(content) < head:
        raise BadArgument(name, expected=f"the lengths of {axes} axes", got=f"a file of {len(content)} bytes")
    shape = np.frombuffer(content, ">u4", axes, 4).tolist()
    wanted = head + kind.itemsize * int(np.prod(shape, dtype=object))
    if len(content) != wanted:
        raise BadArgument(name, expected=f"{wanted} bytes for an array {tuple(shape)}", got=f"{len(content)} bytes")
    return np.frombuffer(content, kind, offset=head).reshape(shape).astype(kind.newbyteorder("="))
