"""Comma-separated tables (RFC 4180, UTF-8), whose first line names the columns, and the voter of each row.

Names of columns may be in capitals or not. Spaces around names and cells do not count. Empty lines are skipped.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxval import _checks
from jaxval.data._text import FilePath, positive, shorten, text_lines, wrong

__all__ = [
    "GROUPS",
    "VOTERS",
    "WEIGHTS",
    "Table",
    "check_cells",
    "find_column",
    "no_rows",
    "numbered",
    "people",
    "read_head",
    "read_rows",
    "read_table",
    "row_weights",
    "two_groups",
]

WEIGHTS = ("count", "weight")
VOTERS = ("voter", "participant", "worker", "annotator", "judge")
GROUPS = ("group", "group-id")


class Table(NamedTuple):
    """A table as it was written.

    Attributes:
        line: the number of the line that names the columns.
        columns: the columns' names as written.
        index_of: the index of each column by its name in small letters.
        rows: for each row, the line where it starts and its cells.
    """

    line: int
    columns: list[str]
    index_of: dict[str, int]
    rows: list[tuple[int, list[str]]]


def read_rows(path: FilePath) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with the line where it starts; a byte order mark is dropped."""
    reader = csv.reader(text_lines(path), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise wrong(
                path, line, expected="a row of comma-separated cells", got=f"one with a fault: {error}"
            ) from None
        if len(cells) > 1 or any(cell.strip() for cell in cells):
            yield line, cells


def read_head(path: FilePath, rows: Iterator[tuple[int, list[str]]]) -> Table:
    """A table without rows, with the columns that the first of `rows` names; their names must differ."""
    line, columns = next(rows, (1, []))
    columns = [name.strip() for name in columns]
    if len(columns) == 1 and (mark := next((mark for mark in (";", "\t") if mark in columns[0]), None)):
        got, advice = "semicolons" if mark == ";" else "tabs", "save it with commas between the cells"
        raise wrong(path, line, expected="columns separated by commas", got=got, advice=advice)
    places = {column.lower(): place for place, column in enumerate(columns)}
    if not all(columns) or not columns or len(places) < len(columns):
        raise wrong(path, line, expected="a different name for every column", got=shorten(",".join(columns)))
    return Table(line, columns, places, [])


def read_table(path: FilePath) -> Table:
    """A whole table, every row with a cell for each column."""
    rows = read_rows(path)
    table = read_head(path, rows)
    for line, cells in rows:
        table.rows.append((line, [cell.strip() for cell in check_cells(path, table, line, cells)]))
    if not table.rows:
        raise no_rows(path, table)
    return table


def check_cells(path: FilePath, table: Table, line: int, cells: list[str]) -> list[str]:
    """Check that a row has a cell for each column."""
    if len(cells) != len(table.columns):
        raise wrong(path, line, expected=f"{len(table.columns)} cells, one for each column", got=len(cells))
    return cells


def no_rows(path: FilePath, table: Table) -> Exception:
    """The error of a table that has only names of columns."""
    return wrong(path, table.line, expected="rows below the names of the columns", got="none")


def row_weights(path: FilePath, table: Table) -> list[float]:
    """The weight of each row, from the column `count` or `weight`; 1 if the table has neither."""
    columns = [name for name in WEIGHTS if name in table.index_of]
    if not columns:
        return [1.0] * len(table.rows)
    if len(columns) > 1:
        raise wrong(path, table.line, expected="one column of weights", got=" and ".join(columns), advice="remove one")
    weights = []
    for line, cells in table.rows:
        cell = cells[table.index_of[columns[0]]]
        weight = positive(cell)
        if weight is None:
            raise wrong(path, line, expected=f"a positive number in column {columns[0]}", got=shorten(cell))
        weights.append(weight)
    return weights


def find_column(path: FilePath, table: Table, wanted: str | None, usual: Sequence[str]) -> int | None:
    """The index of the wanted column; if none is wanted, of the first usual one; None if there is no usual one."""
    if wanted is None:
        return next((table.index_of[name] for name in usual if name in table.index_of), None)
    place = table.index_of.get(_checks.check_text("voter or group", wanted).strip().lower())
    if place is None:
        got = f"none among {shorten(', '.join(table.columns))}"
        raise wrong(path, table.line, expected=f"a column {shorten(wanted)}", got=got)
    return place


def people(
    path: FilePath, table: Table, voter: str | None, group: str | None, *, usual: Sequence[str] = VOTERS
) -> dict[str, Any]:
    """The fields `voter`, `voters`, `group` and `groups` of a record: who cast each row of the table.

    A voter may be in no group: the group is then empty in all rows of the voter. Names are sorted.
    """
    fields: dict[str, Any] = {}
    at, of = find_column(path, table, voter, usual), find_column(path, table, group, GROUPS)
    if at is not None:
        for line, cells in table.rows:
            if not cells[at]:
                raise wrong(path, line, expected=f"a name in column {table.columns[at]}", got="an empty cell")
        fields["voters"], index = numbered(cells[at] for _, cells in table.rows)
        fields["voter"] = np.array([index[cells[at]] for _, cells in table.rows], dtype=np.int32)
    if of is not None:
        names, index = numbered(cells[of] for _, cells in table.rows if cells[of])
        if not names:
            raise wrong(path, table.line, expected=f"a group in column {table.columns[of]}", got="only empty cells")
        fields["groups"] = names
        fields["group"] = np.array([index.get(cells[of], -1) for _, cells in table.rows], dtype=np.int32)
    if at is not None and of is not None:
        first: dict[str, tuple[int, str]] = {}
        for line, cells in table.rows:
            before, known = first.setdefault(cells[at], (line, cells[of]))
            if known != cells[of]:
                raise two_groups(path, line, table.columns[of], cells[at], known, before, cells[of])
    return fields


def two_groups(path: FilePath, line: int, column: str, voter: str, known: str, before: int, group: str) -> Exception:
    """The error of a voter who is in two groups."""
    return wrong(
        path,
        line,
        expected=f"{shorten(known)} in column {column}, the group of voter {shorten(voter)} in line {before}",
        got=shorten(group),
        advice="a voter is in one group",
    )


def numbered(names: Iterable[str]) -> tuple[tuple[str, ...], dict[str, int]]:
    """The different names, sorted, and the index of each."""
    different = tuple(sorted(set(names)))
    return different, {name: i for i, name in enumerate(different)}
