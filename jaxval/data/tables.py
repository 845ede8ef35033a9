"""Rankings and comparisons as comma-separated tables (RFC 4180, UTF-8), the first line naming the columns.

Names of columns may be in capitals or not. Spaces around names and cells do not count. Empty lines are skipped.
Readers raise `ValueError` for a malformed file, naming the line, and `FileNotFoundError` if there is no such file.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxval.data._arrays import build_election, floats, indices
from jaxval.data._tables import GROUPS, VOTERS, WEIGHTS, Table, numbered, people, read_rows, read_table, row_weights
from jaxval.data._text import FilePath, shorten, whole, wrong
from jaxval.data.records import Election, NamedComparisons
from jaxval.types import Comparisons

__all__ = ["holds_comparisons", "read_comparisons_csv", "read_rankings_csv"]

LABELS = ("ballot", "id")
CONTEXTS = ("context", "prompt", "question")
SIDES = (("left", "right"), ("model_a", "model_b"))
TIES = ("tie", "tie (bothbad)", "bothbad")
YES, NO = ("1", "true", "yes", "tie"), ("", "0", "false", "no")
_RANK = re.compile("(?:(?:rank|choice|place|preference)[ _-]?)?([0-9]{1,4})")


def read_rankings_csv(path: FilePath, *, voter: str | None = None, group: str | None = None) -> Election:
    r"""An election from a table with one row per ballot, in either of the two natural layouts.

    Columns are ranks: `1, 2, 3, ...`, or with a word before, as in `rank 1`, `choice_2`. Cells hold names, best first;
    `coffee=juice` ties two names; an empty cell is skipped; a name that is in no cell is unranked:

        count,1,2,3
        3,tea,coffee=juice,
        2,juice,tea,coffee

    Or columns are alternatives, and cells hold ranks: 1 is best, equal ranks are tied, an empty cell is unranked:

        count,tea,coffee,juice
        3,1,2,2
        2,2,3,1

    In both, an optional column `count` or `weight` says how many voters cast the ballot (one voter without such a
    column), and columns `ballot` and `id` are skipped. The numbers are ranks, not scores: 1 is best. Gaps between ranks
    do not count. Columns of voters and of groups are kept.

    Args:
        path: a comma-separated file.
        voter: the column with the voters' names; None means `voter`, if there is one.
        group: the column with the groups' names; None means `group` or `group-id`, if there is one.

    Returns:
        `Election`. If columns are ranks, names are sorted; if they are alternatives, names keep the columns' order. The
        title is the file's name without its ending.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "drinks.csv")
        ...     _ = path.write_text("count,1,2,3\n3,tea,coffee=juice,\n2,juice,tea,\n")
        ...     election = read_rankings_csv(path)
        >>> election.names, election.ballots.positions.tolist(), election.ballots.weights.tolist()
        (('coffee', 'juice', 'tea'), [[1, 1, 0], [-1, 0, 1]], [3.0, 2.0])
    """
    table = read_table(path)
    weights = row_weights(path, table)
    fields = people(path, table, voter, group, usual=VOTERS[:1])
    labels = {*WEIGHTS, *LABELS, *VOTERS[:1], *GROUPS, *(name.strip().lower() for name in (voter, group) if name)}
    others = {name: place for name, place in table.index_of.items() if name not in labels}
    ranks = {int(match[1]): place for name, place in others.items() if (match := _RANK.fullmatch(name))}
    if not ranks:
        _check_ranks(path, table, list(others.values()))
        names = tuple(table.columns[place] for place in others.values())
        ballots = [_ranks_in_cells(path, row, list(others.values())) for row in table.rows]
        return build_election(path, ballots, weights, names, Path(path).stem)._replace(**fields)
    if sorted(ranks) != list(range(1, len(others) + 1)):
        raise wrong(
            path,
            table.line,
            expected=(
                "columns 1, 2, 3, ... without gaps, and beside them only "
                + ", ".join((*WEIGHTS, *LABELS, *VOTERS[:1], *GROUPS[:1]))
            ),
            got=shorten(",".join(table.columns)),
            **_of_voters(table.columns[next((at for name, at in others.items() if not _RANK.fullmatch(name)), 0)]),
        )
    named = [_names_in_cells(path, row, [ranks[rank] for rank in sorted(ranks)]) for row in table.rows]
    names, index = numbered(name for ballot in named for tied in ballot for name in tied)
    ballots = [[[index[name] for name in tied] for tied in ballot] for ballot in named]
    return build_election(path, ballots, weights, names, Path(path).stem)._replace(**fields)


def read_comparisons_csv(path: FilePath, *, voter: str | None = None, group: str | None = None) -> NamedComparisons:
    r"""Pairwise comparisons from a table with one row each, in any of three layouts.

    Columns `winner` and `loser` hold names; an optional column `tie` (1, true, yes or tie; else 0, false, no or empty)
    marks rows where neither won. Or columns `left` and `right` hold names, and `winner` is `left`, `right` or `tie`. Or
    the same with `model_a` and `model_b`, where `tie (bothbad)` is a tie too (the layout of Chatbot Arena).

    In all three, an optional column `context`, `prompt` or `question` (the first of these) says what was compared, and
    an optional column `count` or `weight` says how often (once without it). Columns of voters and of groups are kept,
    other columns are skipped. A tie becomes two rows of half weight, one each way.

    Args:
        path: a comma-separated file.
        voter: the column with the voters' names; None means the first of `voter`, `participant`, `worker`, `annotator`
            and `judge`, if there is one.
        group: the column with the groups' names, as in `read_rankings_csv`.

    Returns:
        `NamedComparisons`. Comparisons are in the file's order, names and contexts are sorted, and the title is the
        file's name without its ending.

    Raises:
        ValueError: also if an alternative is compared with itself, or a voter is in two groups.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "models.csv")
        ...     _ = path.write_text("prompt,left,right,winner\nhaiku,owl,emu,left\nhaiku,emu,owl,tie\n")
        ...     matches = read_comparisons_csv(path)
        >>> matches.names, matches.contexts, matches.comparisons.weight.tolist()
        (('emu', 'owl'), ('haiku',), [1.0, 0.5, 0.5])
        >>> matches.comparisons.winner.tolist(), matches.comparisons.loser.tolist()
        ([1, 0, 1], [0, 1, 0])
    """
    table = read_table(path)
    weights = row_weights(path, table)
    outcomes = list(_outcomes(path, table))
    asked = next((table.index_of[name] for name in CONTEXTS if name in table.index_of), None)
    topics = ["" if asked is None else cells[asked] for _, cells in table.rows]
    names, index = numbered(name for first, second, _ in outcomes for name in (first, second))
    contexts, topic_index = numbered(topics)
    fields = people(path, table, voter, group)
    rows = []
    for (first, second, tied), topic, weight in zip(outcomes, topics, weights, strict=True):
        rows.append((topic_index[topic], index[first], index[second], weight / 2 if tied else weight))
        if tied:
            rows.append((topic_index[topic], index[second], index[first], weight / 2))
    context, winner, loser = (indices(field) for field in list(zip(*rows, strict=True))[:3])
    counts = floats([row[3] for row in rows])
    halves = np.array([1 + tied for *_, tied in outcomes])  # a tie is two rows
    fields |= {name: np.repeat(fields[name], halves) for name in ("voter", "group") if name in fields}
    if (sides := _sides(table)) is not None:
        firsts = [cells[table.index_of[sides[0]]] for _, cells in table.rows]
        fields["winner_first"] = np.repeat(firsts, halves) == [names[row[1]] for row in rows]
    return NamedComparisons(Comparisons(context, winner, loser, counts), names, contexts, Path(path).stem, **fields)


def holds_comparisons(path: FilePath) -> bool:
    r"""Whether the table's columns are those of comparisons: one of them is called winner.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "drinks.csv")
        ...     _ = path.write_text("left,right,winner\ntea,coffee,left\n")
        ...     found = holds_comparisons(path)
        >>> found
        True
    """
    _, columns = next(read_rows(path), (1, []))
    return "winner" in [column.strip().lower() for column in columns]


def _names_in_cells(path: FilePath, row: tuple[int, list[str]], places: Sequence[int]) -> list[list[str]]:
    line, cells = row
    ballot = [[name.strip() for name in cells[place].split("=")] for place in places if cells[place]]
    ranked = [name for tied in ballot for name in tied]
    if not ranked:
        raise wrong(
            path, line, expected="at least one name", got="a ballot that ranks nobody", advice="remove the line"
        )
    if not all(ranked):
        raise wrong(path, line, expected="names on both sides of =", got=shorten(",".join(cells)))
    if len(set(ranked)) < len(ranked):
        raise wrong(path, line, expected="every name at most once in a ballot", got=shorten(",".join(cells)))
    return ballot


def _check_ranks(path: FilePath, table: Table, places: Sequence[int]) -> None:
    """Check that cells hold ranks; the error tells columns of voters and of names by what is in them.

    A first column of numbers names voters if no two are equal, although there are more ballots than columns.
    """
    cells = {place: [row[place] for _, row in table.rows] for place in places}
    words = [place for place in places if not all(map(_is_rank, cells[place]))]
    first = cells[places[0]] if len(places) > 1 else [""]
    distinct = "" not in first and len(set(first)) == len(first)
    if places[:1] == words[:1]:
        voters = distinct and not any(cell in first for place in places[1:] for cell in cells[place])
    else:
        voters = distinct and len(first) > len(places)
    if not words and not voters:
        return
    at = words[0] if words else places[0]
    line, got = table.rows[0][0], "another number in every row"
    if words:
        line, got = next((line, shorten(row[at])) for line, row in table.rows if not _is_rank(row[at]))
    how = _of_voters(table.columns[places[0]]) if voters else {}
    if named := [place for place in words if not (voters and place == places[0])]:
        compared = ", or winner and loser if one won against the other" if len(named) == 2 else ""
        advice = f"where cells hold names, call the columns 1, 2, 3, ...{compared}"
        how["advice"] = f"{how['advice']}; {advice}" if voters else advice
    raise wrong(
        path, line, expected=f"a rank (1 is best) or nothing in column {shorten(table.columns[at])}", got=got, **how
    )


def _of_voters(column: str) -> dict[str, Any]:
    """The advice for a column that may name the voters."""
    named = shorten(column).replace("{", "{{").replace("}", "}}")
    return {"advice": f"if the column names the voters, pass {{0}} {named}", "mentions": ("voter",)}


def _is_rank(cell: str) -> bool:
    return not cell or bool(whole(cell))


def _ranks_in_cells(path: FilePath, row: tuple[int, list[str]], places: Sequence[int]) -> list[list[int]]:
    line, cells = row
    tied: dict[int, list[int]] = {}
    for alternative, place in enumerate(places):
        if cells[place]:
            tied.setdefault(int(cells[place]), []).append(alternative)
    if not tied:
        raise wrong(
            path, line, expected="at least one rank", got="a ballot that ranks nobody", advice="remove the line"
        )
    return [tied[rank] for rank in sorted(tied)]


def _outcomes(path: FilePath, table: Table) -> Iterator[tuple[str, str, bool]]:
    """The winner and the loser of each row, and whether they tied."""
    judge = _winner_and_loser if {"winner", "loser"} <= set(table.index_of) else _verdict(path, table)
    for line, cells in table.rows:
        first, second, tied = judge(path, line, {name: cells[place] for name, place in table.index_of.items()})
        if not first or not second or first == second:
            pair = f"{shorten(first)} and {shorten(second)}"
            raise wrong(path, line, expected="the names of two different alternatives", got=pair)
        yield first, second, tied


def _sides(table: Table) -> tuple[str, str] | None:
    """The columns of the alternative shown first and of the other, if the table has them."""
    if {"winner", "loser"} <= set(table.index_of):
        return None
    return next((pair for pair in SIDES if {*pair, "winner"} <= set(table.index_of)), None)


def _winner_and_loser(path: FilePath, line: int, row: Mapping[str, str]) -> tuple[str, str, bool]:
    tie = row.get("tie", "").lower()
    if tie not in YES + NO:
        words = ", ".join(filter(None, YES + NO))
        raise wrong(path, line, expected=f"one of {words} or nothing in column tie", got=shorten(tie))
    return row["winner"], row["loser"], tie in YES


def _verdict(path: FilePath, table: Table) -> Callable[[FilePath, int, Mapping[str, str]], tuple[str, str, bool]]:
    sides = _sides(table)
    if sides is None:
        raise wrong(
            path,
            table.line,
            expected="columns winner and loser, or left, right and winner, or model_a, model_b and winner",
            got=shorten(",".join(table.columns)),
        )
    left, right = sides

    def judge(path: FilePath, line: int, row: Mapping[str, str]) -> tuple[str, str, bool]:
        verdict = row["winner"].lower()
        if verdict not in (left, right, *TIES):
            expected = ", ".join((left, right, *TIES))
            raise wrong(path, line, expected=f"one of {expected} in column winner", got=shorten(row["winner"]))
        return (row[right], row[left], False) if verdict == right else (row[left], row[right], verdict != left)

    return judge
