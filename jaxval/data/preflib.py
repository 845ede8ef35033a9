"""PrefLib's ordinal files (soc, soi, toc, toi), read strictly: every count in the header is compared with the body.

The field's own package, preflibtools, reads damaged files without an error (half a file, `{1,2,3` for `{1,2,3,4}`,
unknown alternatives, letters for numbers), so this module parses the format itself.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from jaxval import _checks
from jaxval.data._arrays import build_election
from jaxval.data._text import FilePath, shorten, text_lines, unfinished, whole, wrong
from jaxval.data.records import Election
from jaxval.types import BadArgument

__all__ = ["ENDINGS", "read_preflib"]

ENDINGS = {
    ".soc": "complete strict orders",
    ".soi": "strict orders, possibly incomplete",
    ".toc": "complete orders with ties",
    ".toi": "orders with ties, possibly incomplete",
}
"""The ordinal files of PrefLib: s or t for strict or tied, c or i for complete or incomplete."""

COUNTS = ("NUMBER ALTERNATIVES", "NUMBER VOTERS", "NUMBER UNIQUE ORDERS")
_ONE = "[0-9]{1,9}"
_TIED = rf"(?:{_ONE}|\{{\s*{_ONE}\s*(?:,\s*{_ONE}\s*)*\}})"
_GROUP = re.compile(_TIED)
_ORDER = re.compile(rf"{_TIED}(?:\s*,\s*{_TIED})*")


class _Header(NamedTuple):
    counts: dict[str, tuple[int, int]]  # (number, line)
    names: tuple[str, ...]
    title: str


def read_preflib(path: FilePath) -> Election:
    r"""An election from a PrefLib file of complete or incomplete orders, with or without ties.

    A line `840: 5,{1,2},4` says that 840 voters put 5 first, then 1 and 2 tied, then 4, and did not rank the rest:
    positions 0 for 5, 1 for 1 and 2, 2 for 4, -1 for the rest. In a toc file the voters' unranked alternatives are
    usually written as one tie at the end; they are then tied, not unranked.

    The reader refuses files whose numbers of alternatives, voters or orders differ from the header's, and orders that
    the file's ending does not allow. It refuses soi and toi files without a newline at the end, since it could not
    tell otherwise that such a file was cut off.

    Args:
        path: a file that ends in .soc, .soi, .toc or .toi.

    Returns:
        `Election` of one ballot per line. The weights are numbers of voters; names and title are those of the file.

    Raises:
        ValueError: if the file is malformed or cut off. The message names the line.
        FileNotFoundError: if there is no such file.

    Example:
        >>> import pathlib, tempfile
        >>> text = '''# TITLE: Lunch
        ... # NUMBER ALTERNATIVES: 3
        ... # NUMBER VOTERS: 5
        ... # NUMBER UNIQUE ORDERS: 2
        ... # ALTERNATIVE NAME 1: soup
        ... # ALTERNATIVE NAME 2: salad
        ... # ALTERNATIVE NAME 3: pie
        ... 3: 2,{1,3}
        ... 2: 3
        ... '''
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "lunch.toi")
        ...     _ = path.write_text(text)
        ...     election = read_preflib(path)
        >>> election.names, election.ballots.positions.tolist(), election.ballots.weights.tolist()
        (('soup', 'salad', 'pie'), [[1, 0, 1], [-1, -1, 0]], [3.0, 2.0])

    Source: Mattei and Walsh (2013), "PrefLib: a library for preferences"; the format of https://www.preflib.org/format.
    """
    kind = Path(_checks.check_path("path", path)).suffix.lower()
    if kind not in ENDINGS:
        raise BadArgument(
            path, expected=f"a PrefLib file ending in {', '.join(ENDINGS)}", got=f"{kind or 'no ending'!r}"
        )
    lines = list(enumerate(text_lines(path), 1))
    start = next((i for i, (_, line) in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    header = _read_header(path, kind, lines[:start])
    body = [(number, line.strip()) for number, line in lines[start:] if line.strip()]
    if kind[-1] == "i" and not lines[-1][1].endswith(("\n", "\r")):
        raise unfinished(path, len(lines))
    rankings, counts = [], []
    for number, line in body:
        count, ranking = _read_order(path, number, line, kind, len(header.names))
        counts.append(count)
        rankings.append(ranking)
    _check_counts(path, header, len(lines), [number for number, _ in body], counts)
    return build_election(path, rankings, counts, header.names, header.title)


def _read_header(path: FilePath, kind: str, lines: Iterable[tuple[int, str]]) -> _Header:
    counts: dict[str, tuple[int, int]] = {}
    names: dict[int, str] = {}
    taken: set[str] = set()
    title = Path(path).stem
    number = 1
    for number, line in lines:
        key, _, text = (part.strip() for part in line.lstrip("#").partition(":"))
        if key in COUNTS:
            value = whole(text)
            if not value or key in counts:
                raise wrong(path, number, expected=f"{key} once, a positive whole number", got=shorten(line.strip()))
            counts[key] = value, number
        elif match := re.fullmatch("ALTERNATIVE NAME ([0-9]{1,9})", key):
            if not text or text in taken or int(match[1]) in names:
                raise wrong(path, number, expected="a new number and a new name", got=shorten(line.strip()))
            names[int(match[1])] = text
            taken.add(text)
        elif key == "DATA TYPE" and "." + text.lower() != kind:
            raise wrong(path, number, expected=f"the data type of the file's ending, {kind[1:]}", got=shorten(text))
        elif key == "TITLE" and text:
            title = text
    for key in COUNTS:
        if key not in counts:
            raise wrong(path, number, expected=f"'# {key}: ...' in the header", got="its end: the file may be cut off")
    alternatives, stated = counts["NUMBER ALTERNATIVES"]
    if sorted(names) != list(range(1, len(names) + 1)) or len(names) != alternatives:
        raise wrong(
            path,
            number,
            expected=f"names of alternatives 1 to {alternatives} (line {stated}) in the header, which ends here",
            got=f"{len(names)}, up to number {max(names, default=0)}",
            advice="the file may be cut off",
        )
    return _Header(counts, tuple(names[i] for i in range(1, alternatives + 1)), title)


def _read_order(path: FilePath, number: int, line: str, kind: str, alternatives: int) -> tuple[int, list[list[int]]]:
    head, colon, order = (part.strip() for part in line.partition(":"))
    count = whole(head)
    if not colon or not count or not _ORDER.fullmatch(order):
        raise wrong(path, number, expected="voters and their order, such as 12: 3,{1,2},4", got=shorten(line))
    groups = [[int(one) - 1 for one in tied.strip("{}").split(",")] for tied in _GROUP.findall(order)]
    ranked = [alternative for tied in groups for alternative in tied]
    if min(ranked) < 0 or max(ranked) >= alternatives:
        alien = min(ranked) if min(ranked) < 0 else max(ranked)
        raise wrong(path, number, expected=f"alternatives from 1 to {alternatives}", got=alien + 1)
    if len(set(ranked)) < len(ranked):
        twice = next(one for one in ranked if ranked.count(one) > 1)
        raise wrong(path, number, expected="every alternative at most once in an order", got=f"{twice + 1} twice")
    if kind[1] == "s" and len(groups) < len(ranked):
        raise wrong(
            path, number, expected=f"no ties in a {kind} file", got=shorten(line), advice=f"call it .t{kind[2:]}"
        )
    if kind[-1] == "c" and len(ranked) < alternatives:
        raise wrong(
            path,
            number,
            expected=f"all {alternatives} alternatives in a {kind} file",
            got=len(ranked),
            advice=f"the file may be cut off, or call it .{kind[1:3]}i",
        )
    return count, groups


def _check_counts(path: FilePath, header: _Header, end: int, numbers: list[int], counts: list[int]) -> None:
    orders, stated = header.counts["NUMBER UNIQUE ORDERS"]
    if len(numbers) < orders:
        raise wrong(
            path,
            end,
            expected=f"{orders} orders (NUMBER UNIQUE ORDERS, line {stated})",
            got=f"the end after {len(numbers)} of them: the file may be cut off",
        )
    if len(numbers) > orders:
        raise wrong(
            path, numbers[orders], expected=f"{orders} orders (NUMBER UNIQUE ORDERS, line {stated})", got="more"
        )
    voters, stated = header.counts["NUMBER VOTERS"]
    if sum(counts) != voters:
        raise wrong(path, stated, expected=f"orders of {voters} voters in all (NUMBER VOTERS)", got=sum(counts))
