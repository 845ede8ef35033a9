"""Text files as numbered lines: whatever is wrong is a `ValueError` that names the file and the line."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["UNFINISHED", "FilePath", "file_bytes", "positive", "shorten", "text_lines", "whole", "wrong"]

FilePath = str | os.PathLike[str]
"""Whatever names a file."""

UNFINISHED = "the last line has no end: the file may be cut off; if it is not, end it by a newline"
"""What is said of a file whose last line lacks its end."""


def wrong(path: FilePath, line: int, message: str) -> ValueError:
    """The error that names the file and the line, counted from 1."""
    return ValueError(f"{os.fspath(path)}, line {line}: {message}")


def shorten(text: str) -> str:
    """`text` in quotes, cut to what fits in a message."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def file_bytes(path: FilePath) -> bytes:
    """What the file holds; a folder or an empty file is refused, a missing one is a `FileNotFoundError`."""
    if Path(path).is_dir():
        raise ValueError(f"{os.fspath(path)}: expected a file; got a folder; jaxval.data.read_votes says what it holds")
    if not Path(path).exists():
        raise FileNotFoundError(f"{os.fspath(path)}: there is no such file")
    content = Path(path).read_bytes()
    if not content:
        raise wrong(path, 1, "the file is empty")
    return content


def text_lines(path: FilePath) -> Iterator[str]:
    """The lines of a UTF-8 file with their ends; a byte order mark is dropped."""
    for number, line in enumerate(file_bytes(path).splitlines(keepends=True), 1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = f"byte {line[error.start]:#04x} in column {error.start + 1}"
            raise wrong(path, number, f"expected UTF-8 text; got {byte}; save the file as UTF-8") from None
        yield text.removeprefix("\ufeff") if number == 1 else text


def whole(text: str) -> int | None:
    """The whole number that `text` spells in at most 15 digits, or None."""
    return int(text) if re.fullmatch("[0-9]{1,15}", text) else None


def positive(text: str) -> float | None:
    """The number from 1e-15 to 1e15 that `text` spells, or None: such numbers are finite and not zero in float32."""
    if not re.fullmatch(r"[0-9]{0,20}\.?[0-9]{1,20}(?:[eE][-+]?[0-9]{1,2})?", text):
        return None
    number = float(text)
    return number if 1e-15 <= number <= 1e15 else None
