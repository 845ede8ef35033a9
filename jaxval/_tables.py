"""Results as rows of text, and rows of text as lines for the terminal and as the escaped HTML that notebooks show."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxval._errors import printable, without_controls

if TYPE_CHECKING:
    from jaxval.types import Estimate

__all__ = [
    "estimate_columns",
    "estimate_notes",
    "estimate_rows",
    "first_and_last",
    "flat",
    "html_table",
    "interval",
    "player_names",
    "text_table",
]

FEW_GAINS = 10  # with fewer nonzero gains, a player's standard error cannot be trusted
SHOWN = 20  # rows shown at either end of a long table
WIDTH = 100  # the longest line of a table
GAP = "   "


def html_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], notes: Sequence[str] = (), *, align: str = "right"
) -> str:
    """A table of text, and a line for each note below it.

    Args:
        columns: the heads of the columns.
        rows: cells of text.
        notes: lines of text.
        align: the alignment of all columns but the first: "right" for numbers, "left" for words.

    Returns:
        HTML that holds no markup of the cells' own.

    Example:
        >>> html_table(["player", "value"], [["<b>", "1"]]).count("&lt;b&gt;")
        1
    """

    def line(cells: Sequence[str], tag: str) -> str:
        sides = ["left", *[align] * (len(cells) - 1)]
        told = zip(sides, cells, strict=True)
        return "".join(
            f'<{tag} style="text-align: {side}">{escape(without_controls(cell))}</{tag}>' for side, cell in told
        )

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    below = "".join(f"<div>{escape(without_controls(note))}</div>" for note in notes)
    return f"<table><thead><tr>{line(columns, 'th')}</tr></thead><tbody>{body}</tbody></table>{below}"


def text_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], notes: Sequence[str] = (), *, align: str = "right"
) -> str:
    """The same as lines of at most 100 characters, without colours.

    Columns that do not fit follow in a further table below, whose first column is the same. Long names are cut, and
    words (`align="left"`) are wrapped.

    Args:
        columns: the heads of the columns.
        rows: cells of text.
        notes: lines of text.
        align: as in `html_table`.

    Returns:
        The lines.

    Example:
        >>> print(text_table(["player", "value"], [["news", "1"], ["books", "-2.5"]], ["4 evaluations"]))
        player   value
        news         1
        books     -2.5
        4 evaluations
    """
    from rich.cells import cell_len, set_cell_size

    def cut(text: str, room: int) -> str:
        return text if cell_len(text) <= room else f"{set_cell_size(text, room - 1).rstrip()}…"

    def padded(text: str, side: str, room: int) -> str:
        return " " * (room - cell_len(text)) + text if side == "right" else set_cell_size(text, room)

    cells = [[without_controls(cell) for cell in row] for row in (columns, *rows)]
    if align == "left":  # a heading and words beside it
        heads = max(cell_len(head) for head, _ in cells)
        cells = [
            [head if not line else "", words]
            for head, text in cells
            for line, words in enumerate(textwrap.wrap(text, WIDTH - len(GAP) - heads, break_on_hyphens=False) or [""])
        ]
    widths = [min(max(map(cell_len, column)), WIDTH // 2) for column in zip(*cells, strict=True)]
    widths = widths if align == "right" else [widths[0], WIDTH]
    blocks = [[0]]
    for column in range(1, len(widths)):
        used = sum(widths[one] + len(GAP) for one in blocks[-1])
        if len(blocks[-1]) > 1 and used + widths[column] > WIDTH:
            blocks.append([0])
        blocks[-1].append(column)
    sides = ["left", *[align] * (len(widths) - 1)]
    lines = [
        GAP.join(padded(cut(row[one], widths[one]), sides[one], widths[one]) for one in block).rstrip()
        for block in blocks
        for row in cells
    ]
    below = [
        line for note in notes for part in note.splitlines() for line in textwrap.wrap(without_controls(part), WIDTH)
    ]
    return "\n".join([*lines, *below])


def interval(low: Any, high: Any) -> str:
    """The two ends of an interval with four digits."""
    return f"{low:.4g} to {high:.4g}"


def first_and_last(rows: list[list[str]]) -> list[list[str]]:
    """The rows, or the first and the last of many."""
    return rows if len(rows) <= 2 * SHOWN else [*rows[:SHOWN], ["...", *[""] * (len(rows[0]) - 1)], *rows[-SHOWN:]]


def flat(estimate: Estimate, numbers: Any) -> np.ndarray:
    """Numbers of an estimate as (players, objectives)."""
    return np.reshape(np.asarray(numbers), (len(estimate), -1))


def player_names(estimate: Estimate) -> tuple[str, ...]:
    """The names of the players, or their numbers."""
    return estimate.names or tuple(str(player) for player in range(len(estimate)))


def estimate_columns(estimate: Estimate) -> list[str]:
    """The heads of the columns of an estimate's table."""
    columns = ["player"]
    for objective in range(flat(estimate, estimate.values).shape[1]):
        mark = f" {objective}" if np.ndim(estimate.values) > 1 else ""
        beside = "standard error" if estimate.intervals is None else "95 % interval"
        columns += [f"value{mark}", f"{beside}{mark}"]
    return columns


def estimate_rows(estimate: Estimate) -> list[list[str]]:
    """The cells of an estimate's table, the largest value (of the first objective) first."""
    values = flat(estimate, estimate.values)
    names = player_names(estimate)
    if estimate.intervals is None:
        beside = [[f"{error:.4g}" for error in row] for row in flat(estimate, estimate.standard_errors)]
    else:
        ends = zip(*(flat(estimate, end) for end in estimate.intervals), strict=True)
        beside = [[interval(low, high) for low, high in zip(*row, strict=True)] for row in ends]
    numbers = [[f"{value:.4g}" for value in row] for row in values]
    return [
        [printable(names[i]), *(word for pair in zip(numbers[i], beside[i], strict=True) for word in pair)]
        for i in np.argsort(-values[:, 0], kind="stable")
    ]


def estimate_notes(estimate: Estimate) -> list[str]:
    """The number of evaluations, how many players rest on few nonzero gains, and which gains their intervals assume."""
    lines = [f"{int(np.asarray(estimate.evaluations))} evaluations"]
    if estimate.gains is None:
        return lines
    rare = flat(estimate, estimate.gains.nonzero) < FEW_GAINS
    for objective in np.flatnonzero(rare.any(axis=0)):
        low, high = np.reshape(np.asarray(estimate.gains.range), (2, -1))[:, objective]
        mark = f" of objective {objective}" if np.ndim(estimate.values) > 1 else ""
        origin = "by the spread stated" if estimate.gains.stated else "by the utilities seen; pass spread= if wider"
        lines.append(
            f"{rare[:, objective].sum()} of {len(estimate)} players{mark} rest on fewer than {FEW_GAINS} nonzero gains"
            f"\n(gains range from {low:.4g} to {high:.4g}, {origin})"
        )
    return lines
