"""Votes on statements as a table with a row per voter and a column per statement, as Polis exports them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxval import _checks
from jaxval.data._tables import (
    GROUPS,
    VOTERS,
    Table,
    check_cells,
    find_column,
    no_rows,
    numbered,
    read_head,
    read_rows,
    read_table,
)
from jaxval.data._text import FilePath, shorten, wrong
from jaxval.data.records import VoteMatrix
from jaxval.types import UNSEEN

__all__ = ["holds_matrix", "read_texts", "read_vote_matrix", "vote_batches"]

MARK = "participant"  # the column that tells a matrix of votes from a table of rankings
TALLIES = ("n-comments", "n-votes", "n-agree", "n-disagree")  # Polis counts them beside the votes
CODES = {"1": 1, "0": 0, "-1": 255, "": 256 + UNSEEN}  # as bytes, which NumPy reads as int8
ROWS = 4096
POLIS = "participants-votes"
IDS, TEXTS = ("comment-id", "id", "name", "statement"), ("comment-body", "text", "title")


def vote_batches(
    path: FilePath, *, voter: str | None = None, group: str | None = None, rows: int = ROWS
) -> Iterator[VoteMatrix]:
    r"""The votes of a file of any length, some voters at a time.

    Their wins add up: `sum(preferences.vote_wins(batch.votes) for batch in vote_batches(path))`.

    Args:
        path: as in `read_vote_matrix`.
        voter: as in `read_vote_matrix`.
        group: as in `read_vote_matrix`.
        rows: the most voters in a batch.

    Returns:
        An iterator of `VoteMatrix`, all with the same statements. The groups of a batch are all groups met so far, in
        order of appearance, so that an index means the same group in all batches.

    Raises:
        ValueError: as `read_vote_matrix`; a fault that only the whole file shows is raised after the last batch.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "votes.csv")
        ...     _ = path.write_text("participant,group-id,rents,buses\n7,A,1,\n8,B,-1,0\n9,,0,1\n")
        ...     batches = list(vote_batches(path, rows=2))
        >>> [batch.votes.tolist() for batch in batches], batches[1].group.tolist()
        ([[[1, -2], [-1, 0]], [[0, 1]]], [-1])
    """
    rows = _checks.check_size("rows", rows)
    body = read_rows(path)
    table = read_head(path, body)
    at, of = find_column(path, table, voter, (MARK, *VOTERS)), find_column(path, table, group, GROUPS)
    if at is None:
        expected = f"a column of voters, {', '.join((MARK, *VOTERS[:1]))}"
        raise wrong(path, table.line, expected=expected, got=shorten(",".join(table.columns)))
    labels = {*TALLIES, *GROUPS, MARK}
    asked = [k for name, k in table.index_of.items() if k not in (at, of) and name not in labels]
    names = tuple(table.columns[k] for k in asked)
    if not names:
        got = shorten(",".join(table.columns))
        raise wrong(path, table.line, expected="a column for each statement beside the voters'", got=got)
    # Polis calls every such file participants-votes, and the folder by the conversation.
    title = Path(path).stem if Path(path).stem != POLIS else Path(path).resolve().parent.name
    lines: dict[str, int] = {}  # of the voters
    groups: dict[str, int] = {}
    silent: dict[str, int] = {}  # lines of groups without votes so far
    seen = np.zeros(len(names), dtype=bool)
    part: list[tuple[str, int, bytes]] = []

    def batch() -> VoteMatrix:
        who, index, votes = zip(*part, strict=True)
        matrix = np.frombuffer(b"".join(votes), dtype=np.int8).reshape(len(part), len(names))
        np.logical_or(seen, (matrix != UNSEEN).any(axis=0), out=seen)
        kept = None if of is None else np.array(index, dtype=np.int32)
        part.clear()
        return VoteMatrix(matrix, names, title, who, kept, tuple(groups))

    for line, cells in body:
        check_cells(path, table, line, cells)
        name, votes = cells[at].strip(), _codes(path, line, [cells[k] for k in asked], names)
        if not name:
            raise wrong(path, line, expected=f"a name in column {table.columns[at]}", got="an empty cell")
        if name in lines:
            first = f"the votes of {shorten(name)} are in line {lines[name]} already"
            raise wrong(path, line, expected="every voter in one row, and so in one group", got=first)
        lines[name] = line
        index = -1
        if of is not None and (own := cells[of].strip()):
            index = groups.setdefault(own, len(groups))
            if votes.count(CODES[""]) < len(votes):
                silent[own] = 0
            else:
                silent.setdefault(own, line)
        part.append((name, index, votes))
        if len(part) == rows:
            yield batch()
    if part:
        yield batch()
    if not lines:
        raise no_rows(path, table)
    if of is not None and not groups:
        raise wrong(path, table.line, expected=f"a group in column {table.columns[of]}", got="only empty cells")
    for own, line in silent.items():
        if line:
            expected = f"votes of group {shorten(own)} in column {table.columns[of or 0]}"
            raise wrong(path, line, expected=expected, got="none, here or elsewhere", advice="leave its rows out")
    if not seen.all():
        name = names[int(seen.argmin())]
        got = f"none: nobody saw it; so it is with {int((~seen).sum())} statements"
        expected = f"votes in column {shorten(name)}"
        raise wrong(path, table.line, expected=expected, got=got, advice="leave the column out")


def read_vote_matrix(path: FilePath, *, voter: str | None = None, group: str | None = None) -> VoteMatrix:
    r"""Votes on statements: a row per voter, a column per statement, cells 1 agree, 0 pass, -1 disagree, empty unseen.

    Polis exports this table as `participants-votes.csv`. Its columns `n-comments`, `n-votes`, `n-agree` and
    `n-disagree` are skipped. Every column that names neither voters nor groups is a statement.

        participant,group-id,0,1,2
        17,A,1,-1,
        18,B,,0,1

    Args:
        path: a comma-separated file.
        voter: the column with the voters' names; None means `participant`, or else the first of `voter`, `worker`,
            `annotator` and `judge`.
        group: the column with the groups' names; None means `group` or `group-id`, if there is one. The cell of a voter
            in no group is empty.

    Returns:
        `VoteMatrix`. Voters and statements keep the file's order, groups are sorted.

    Raises:
        ValueError: if a cell holds another number, a voter has two rows, a group has no votes, or nobody saw a
            statement. The message names the line and the column.
        FileNotFoundError: if there is no such file.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "town.csv")
        ...     _ = path.write_text("participant,group-id,rents,buses\n7,B,1,\n8,A,-1,0\n9,,0,1\n")
        ...     matrix = read_vote_matrix(path)
        >>> matrix.votes.tolist(), matrix.names, matrix.voters
        ([[1, -2], [-1, 0], [0, 1]], ('rents', 'buses'), ('7', '8', '9'))
        >>> matrix.groups, matrix.group.tolist()
        (('A', 'B'), [1, 0, -1])

    Source: the exports of the Computational Democracy Project, https://github.com/compdemocracy/openData.
    """
    batches = list(vote_batches(path, voter=voter, group=group))
    last = batches[-1]
    votes, voters = np.concatenate([part.votes for part in batches]), sum((part.voters for part in batches), ())
    if last.group is None:
        return last._replace(votes=votes, voters=voters)
    groups, index = numbered(last.groups)
    renumbered = np.array([*(index[name] for name in last.groups), -1], dtype=np.int32)  # -1 reads the last, -1
    of = np.concatenate([part.group for part in batches if part.group is not None])
    return last._replace(votes=votes, voters=voters, group=renumbered[of], groups=groups)


def holds_matrix(path: FilePath) -> bool:
    r"""Whether a table holds votes on statements: one of its columns is called participant.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "town.csv")
        ...     _ = path.write_text("participant,rents\n7,1\n")
        ...     told = holds_matrix(path)
        >>> told
        True
    """
    _, columns = next(read_rows(path), (1, []))
    return MARK in [column.strip().lower() for column in columns]


def read_texts(path: FilePath, names: tuple[str, ...]) -> tuple[str, ...]:
    r"""The texts of statements from a second file, such as Polis' `comments.csv`.

    Args:
        path: a comma-separated file. The statement is named by its first column among `comment-id`, `id`, `name` and
            `statement`, and the text is in the first among `comment-body`, `text` and `title`.
        names: the statements' names in the file of votes.

    Returns:
        The text of each statement; it is empty if the file does not have the statement.

    Raises:
        ValueError: if the file names a statement that has no votes, or a statement twice. The message names the line
            and the column.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "comments.csv")
        ...     _ = path.write_text("comment-id,agrees,comment-body\n1,9,More buses\n0,4,Lower rents\n")
        ...     texts = read_texts(path, ("0", "1"))
        >>> texts
        ('Lower rents', 'More buses')
    """
    names = tuple(_checks.check_names("names", names, "the names of the statements"))
    table = read_table(path)
    place, text = (_one_of(path, table, usual) for usual in (IDS, TEXTS))
    index = {name: i for i, name in enumerate(names)}
    lines: dict[str, int] = {}
    texts = [""] * len(names)
    for line, cells in table.rows:
        name, column = cells[place], table.columns[place]
        if name not in index:
            got = f"{shorten(name)}, of which there are no votes"
            advice = f"the file names {len(table.rows)} and the votes {len(names)}; leave out what has no votes"
            raise wrong(path, line, expected=f"a statement with votes in column {column}", got=got, advice=advice)
        if name in lines:
            got = f"{shorten(name)} again, after line {lines[name]}"
            raise wrong(path, line, expected=f"every statement once in column {column}", got=got)
        lines[name] = line
        texts[index[name]] = " ".join(cells[text].split())
    return tuple(texts)


def _one_of(path: FilePath, table: Table, usual: tuple[str, ...]) -> int:
    place = find_column(path, table, None, usual)
    if place is None:
        got = shorten(",".join(table.columns))
        raise wrong(path, table.line, expected=f"a column called {' or '.join(usual)}", got=got)
    return place


def _codes(path: FilePath, line: int, cells: list[str], names: tuple[str, ...]) -> bytes:
    """The votes of a row, a byte each."""
    try:
        return bytes(map(CODES.__getitem__, cells))
    except KeyError:  # spaces around a vote do not count
        stripped = [cell.strip() for cell in cells]
        for cell, name in zip(stripped, names, strict=True):
            if cell not in CODES:
                expected = f"1 (agree), 0 (pass), -1 (disagree) or nothing in column {shorten(name)}"
                raise wrong(path, line, expected=expected, got=shorten(cell)) from None
        return bytes(map(CODES.__getitem__, stripped))
