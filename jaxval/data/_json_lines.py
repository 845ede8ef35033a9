"""JSON lines, one object a line, plain or compressed by gzip. Reading is line by line: a file may be of any size.

A file that ends in .json or .json.gz holds one array of objects, and is read as a whole.
"""

import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxval import _checks
from jaxval.data._text import FilePath, conversion, ending_of, shorten, wrong
from jaxval.types import BadArgument

__all__ = ["ENDINGS", "json_objects"]

ENDINGS = (".jsonl", ".jsonl.gz")
ARRAYS = (".json", ".json.gz")
LONGEST = 2**26
"""Bytes of the longest line that is read: a file without line ends would otherwise fill the memory."""


def json_objects(path: FilePath, *, fields: str = "") -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file of JSON lines, each with its line's number; empty lines are skipped.

    The error of a file that is no JSON names the `fields` that an object has.
    """
    if os.fspath(_checks.check_path("path", path)).lower().endswith(ARRAYS) and Path(path).is_file():
        yield from _array_objects(path)
        return
    empty = True
    for number, line in _lines(path, fields):
        if line.strip():
            empty = False
            yield number, _object(path, number, line)
    if empty:
        raise wrong(path, 1, expected="at least one line", got="an empty file")


def _array_objects(path: FilePath) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of one array, each with the line on which it begins."""
    try:
        content = Path(path).read_bytes()
        text = (gzip.decompress(content) if os.fspath(path).lower().endswith(".gz") else content).decode("utf-8-sig")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise wrong(path, 1, expected="a whole gzip file", got=f"a fault here or later: {error}") from None
    except UnicodeDecodeError as error:
        raise wrong(path, 1, expected="UTF-8 text", got=f"byte {error.object[error.start]:#04x}") from None
    decoder, place, line = json.JSONDecoder(), 0, 1
    separator = re.compile(r"\s*,\s*|\s*")
    opened = re.match(r"\s*\[\s*", text)
    if opened is None:
        raise wrong(path, 1, expected="one JSON array of objects", got=shorten(text[:60].strip()))
    before, place = 0, opened.end()
    while text[place : place + 1] != "]":
        line += text.count("\n", before, place)
        before = place
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            got = f"{shorten(text[place : place + 60].strip())}; the file may be cut off"
            raise wrong(path, line, expected="a JSON object, and ] after the last", got=got) from None
        if not isinstance(value, dict):
            raise wrong(path, line, expected="a JSON object with fields", got=shorten(text[place:end]))
        yield line, value
        result = separator.match(text, end)
        assert result is not None  # it may be empty
        place = result.end()
    if before == 0:
        raise wrong(path, line, expected="at least one object", got="an empty array")


def _lines(path: FilePath, fields: str) -> Iterator[tuple[int, bytes]]:
    name = os.fspath(path)
    if Path(path).is_dir():
        raise BadArgument(
            name, expected="a file", got="a folder", advice="pass its files, such as sorted(folder.glob('*.jsonl'))"
        )
    if not name.lower().endswith(ENDINGS):
        expected = f"a file that ends in {' or '.join(ENDINGS)}, one JSON object a line{fields and ' with '}{fields}"
        raise BadArgument(name, expected=expected, got=ending_of(path), advice=conversion(path))
    if not Path(path).exists():
        raise FileNotFoundError(f"{name}: there is no such file")
    packed = name.lower().endswith(".gz")
    opened: Any = gzip.open(path, "rb") if packed else open(path, "rb")  # noqa: SIM115
    with opened as stream:
        number = 1
        while line := _next_line(path, number, stream):
            yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            number += 1


def _next_line(path: FilePath, number: int, stream: io.BufferedIOBase) -> bytes:
    try:
        line = stream.readline(LONGEST + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise wrong(path, number, expected="a whole gzip file", got=f"a fault here or later: {error}") from None
    if len(line) > LONGEST:
        raise wrong(path, number, expected=f"one JSON object a line, of at most {LONGEST} bytes", got="a longer line")
    return line


def _object(path: FilePath, number: int, line: bytes) -> dict[str, Any]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte {line[error.start]:#04x} in column {error.start + 1}"
        raise wrong(path, number, expected="UTF-8 text", got=byte, advice="save the file as UTF-8") from None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        fault = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        if isinstance(error, json.JSONDecodeError):  # its own line is always the first
            fault = f"{error.msg}: column {error.colno}"
        end = "" if line.endswith(b"\n") else "; the line has no end: the file may be cut off"
        raise wrong(path, number, expected="one JSON object", got=f"{shorten(text.rstrip())} ({fault}){end}") from None
    if not isinstance(value, dict):
        raise wrong(path, number, expected="a JSON object with fields", got=shorten(text.rstrip()))
    return value
