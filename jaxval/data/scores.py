"""Tables of scores beside the pairs: a reward model's numbers for responses, or another tool's for sources."""

import os
from collections.abc import Sequence

import numpy as np

from jaxval import _checks
from jaxval.data._json_lines import json_objects
from jaxval.data._tables import find_column, read_table
from jaxval.data._text import FilePath, shorten, wrong
from jaxval.data.records import PreferencePairs
from jaxval.types import BadArgument

__all__ = ["read_scores", "read_source_scores"]


LARGEST = float(np.finfo(np.float64).max)  # a whole number of a JSON file may be larger


def read_scores(path: FilePath, pairs: PreferencePairs) -> dict[str, np.ndarray]:
    r"""Scores of the pairs' responses from JSON lines: a prompt, a response, and a number for each reward.

    Prompts and responses are matched by their texts. Lines with other texts are ignored.

    Args:
        path: a file that ends in .jsonl or .jsonl.gz; every line has the fields `prompt` and `response`, strings, and
            the same fields of numbers, which name the rewards.
        pairs: the pairs whose responses are scored.

    Returns:
        By the name of a reward, (contexts, most responses) floats; NaN means that the file has no score.

    Raises:
        ValueError: if a line is malformed, lacks a number that the first line has, or scores a response again
            (the message names the line), or if no line scores a response of these pairs.
        FileNotFoundError: if there is no such file.

    Example:
        >>> import pathlib, tempfile
        >>> from jaxval.types import Comparisons
        >>> pairs = PreferencePairs(
        ...     ("p",), (("a", "b"),), Comparisons([0], [0], [1], [1.0]), np.array([0]), ("one",), {}, "example")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "scores.jsonl")
        ...     _ = path.write_text('{"prompt": "p", "response": "b", "helpful": 0.5}\n')
        ...     read_scores(path, pairs)
        {'helpful': array([[nan, 0.5]])}
    """
    _checks.check_record("pairs", pairs, PreferencePairs)
    _checks.check_names("pairs.prompts", pairs.prompts, "the texts of the prompts")
    _checks.check_list("pairs.responses", pairs.responses, "the responses to each prompt")
    for row in pairs.responses:
        _checks.check_names("pairs.responses", row, "the responses to each prompt")
    places = {prompt: x for x, prompt in enumerate(pairs.prompts)}
    shape = len(pairs.prompts), max(map(len, pairs.responses))
    scores: dict[str, np.ndarray] = {}
    known: set[tuple[int, int]] = set()
    for line, fields in json_objects(path, fields="the fields prompt and response, and numbers"):
        for name in ("prompt", "response"):
            if not isinstance(fields.get(name), str):
                raise wrong(path, line, expected=f"text in the field {name}", got=shorten(repr(fields.get(name))))
        names = [name for name in fields if name not in ("prompt", "response") and _is_number(fields[name])]
        if not scores:
            if not names:
                raise wrong(path, line, expected="a number beside prompt and response", got="none")
            scores = {name: np.full(shape, np.nan) for name in names}
        missing = [name for name in scores if name not in names]
        if missing:
            raise wrong(
                path, line, expected=f"a finite number in the field {missing[0]}, as the first line has", got="none"
            )
        x = places.get(fields["prompt"])
        if x is None or fields["response"] not in pairs.responses[x]:
            continue
        y = pairs.responses[x].index(fields["response"])
        if (x, y) in known:
            raise wrong(path, line, expected="each response once", got=f"{shorten(fields['response'])} again")
        known.add((x, y))
        for name, column in scores.items():
            column[x, y] = fields[name]
    if not known:
        raise BadArgument(os.fspath(path), expected="scores of responses of the pairs", got="those of others only")
    return scores


def read_source_scores(path: FilePath, sources: Sequence[str]) -> dict[str, np.ndarray]:
    r"""Scores of sources from a comma-separated table: a column `source`, and a column of numbers for each score.

    Args:
        path: the file; its first line names the columns, and each other line is a source.
        sources: the names of the sources, each of which needs a line; lines of other sources are refused.

    Returns:
        By the name of a column, (sources,) floats in the order of `sources`.

    Raises:
        ValueError: if the table is malformed, has no column of scores, lacks a source or has one twice, or a score is
            no finite number. The message names the line.
        FileNotFoundError: if there is no such file.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "scores.csv")
        ...     _ = path.write_text("source,trak\nweb,0.5\nschool,2\n")
        ...     read_source_scores(path, ("school", "web"))
        {'trak': array([2. , 0.5])}
    """
    _checks.check_names("sources", sources, "the names of the sources")
    table = read_table(path)
    of = find_column(path, table, "source", ())
    names = [name for name in table.columns if name.lower() != "source"]
    if not names:
        raise wrong(path, table.line, expected="a column of scores beside source", got="none")
    known: dict[str, list[float]] = {}
    for line, cells in table.rows:
        source = cells[of or 0]
        if source not in sources or source in known:
            got = f"{shorten(source)} again" if source in known else shorten(source)
            raise wrong(path, line, expected=f"each of {len(sources)} sources once", got=got)
        known[source] = []
        for name in names:
            cell = cells[table.columns.index(name)]
            number = _number(cell)
            if number is None:
                raise wrong(path, line, expected=f"a finite number in column {name}", got=shorten(cell))
            known[source].append(number)
    for source in sources:
        if source not in known:
            raise BadArgument(os.fspath(path), expected=f"a line of the source {source!r}", got="none")
    return dict(zip(names, np.array([known[source] for source in sources]).T, strict=True))


def _number(text: str) -> float | None:
    """The finite number that a text spells; None if it spells none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(abs(value) <= LARGEST)
