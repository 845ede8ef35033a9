"""Text files as numbered lines. Errors are `ValueError`s that name the file and the line."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxval import _checks
from jaxval.types import BadArgument

__all__ = [
    "FilePath",
    "conversion",
    "ending_of",
    "file_bytes",
    "positive",
    "shorten",
    "text_lines",
    "unfinished",
    "whole",
    "wrong",
]

_READERS = {".csv": "read_csv({!r})", ".tsv": "read_csv({!r}, sep='\\t')", ".parquet": "read_parquet({!r})"}

FilePath = str | os.PathLike[str]
"""Whatever names a file."""


def wrong(path: FilePath, line: int, *, expected: Any, got: Any, advice: str | None = None, **how: Any) -> BadArgument:
    """The error that names the file and the line, counted from 1; `mentions` as in `BadArgument`."""
    return BadArgument(f"{os.fspath(path)}, line {line}", expected=expected, got=got, advice=advice, **how)


def unfinished(path: FilePath, line: int) -> BadArgument:
    """The error of a file whose last line has no newline."""
    advice = "if it is whole, end it by a newline"
    return wrong(
        path, line, expected="a newline after the last line", got="none: the file may be cut off", advice=advice
    )


def shorten(text: str) -> str:
    """`text` in quotes, cut to a length that fits in a message."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def ending_of(path: FilePath) -> str:
    """The ending of a file's name, for a message."""
    ending = Path(path).suffix
    return f"the ending {ending}" if ending else "no ending"


def conversion(path: FilePath) -> str | None:
    """How to make JSON lines of a table, as advice; None if the file's ending is not that of a table.

    Example:
        >>> print(conversion("pairs.csv"))
        with pandas, read_csv('pairs.csv').to_json('pairs.jsonl', orient='records', lines=True) converts it
    """
    reader = _READERS.get(Path(path).suffix.lower())
    if reader is None:
        return None
    written = os.fspath(Path(path).with_suffix(".jsonl"))
    return (
        f"with pandas, {reader.format(os.fspath(path))}.to_json({written!r}, orient='records', lines=True) converts it"
    )


def file_bytes(path: FilePath) -> bytes:
    """The content of a file. A folder or an empty file is refused; a missing one raises `FileNotFoundError`."""
    _check_file(path)
    return Path(path).read_bytes()


def text_lines(path: FilePath) -> Iterator[str]:
    """The lines of a UTF-8 file with their ends, one at a time; a byte order mark is dropped."""
    _check_file(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as lines:
            yield from lines
    except UnicodeDecodeError:
        raise _not_text(path) from None


def _check_file(path: FilePath) -> None:
    _checks.check_path("path", path)
    if Path(path).is_dir():
        raise BadArgument(
            os.fspath(path),
            expected="a file",
            got="a folder",
            advice="jaxval.data.read_votes reads the folder of MovieLens",
        )
    if not Path(path).exists():
        raise FileNotFoundError(f"{os.fspath(path)}: there is no such file")
    if not Path(path).stat().st_size:
        raise wrong(path, 1, expected="at least one line", got="an empty file")


def _not_text(path: FilePath) -> BadArgument:
    """The error that names the first line and column of a file that is no UTF-8."""
    for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = f"byte {line[error.start]:#04x} in column {error.start + 1}"
            return wrong(path, number, expected="UTF-8 text", got=byte, advice="save the file as UTF-8")
    raise AssertionError(f"{path} changed while it was read")


def whole(text: str) -> int | None:
    """The whole number that `text` spells in at most 15 digits, or None."""
    return int(text) if re.fullmatch("[0-9]{1,15}", text) else None


def positive(text: str) -> float | None:
    """The number from 1e-15 to 1e15 that `text` spells, or None: such numbers are finite and not zero in float32."""
    if not re.fullmatch(r"[0-9]{0,20}\.?[0-9]{1,20}(?:[eE][-+]?[0-9]{1,2})?", text):
        return None
    number = float(text)
    return number if 1e-15 <= number <= 1e15 else None
