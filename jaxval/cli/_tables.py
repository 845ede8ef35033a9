"""Tables and numbers on the terminal."""

import math
import sys
from typing import Any

from jaxval._errors import printable, without_controls

LONGEST = 22  # columns of a source's name in a table of 80 columns; JSON and reports have it whole
WIDEST = 140  # columns of a table if the output is not a terminal
LAYOUT: dict[str, Any] = {"padding": (0, 1, 0, 0), "pad_edge": False, "title_justify": "left"}


def new_table(title: str, *, tight: bool = False) -> Any:
    """An empty table with a title. Columns are two spaces apart, or one if the table is tight."""
    from rich import box
    from rich.table import Table

    class Plain(Table):
        """A table whose texts may come from strangers: they cannot move the cursor."""

        def add_column(self, header: Any = "", *rest: Any, **how: Any) -> None:
            super().add_column("\n".join(map(without_controls, header.split("\n"))), *rest, **how)

        def add_row(self, *cells: Any, **how: Any) -> None:
            super().add_row(*map(without_controls, cells), **how)

    return Plain(title=without_controls(title), box=box.SIMPLE_HEAD, **LAYOUT | ({"padding": 0} if tight else {}))


def print_tables(tables: list[Any], sentences: list[str]) -> None:
    """Print tables, and sentences below them, on standard output."""
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    seen = sys.stdout.isatty()
    for table in tables:
        wanted = console.measure(table, options=console.options.update_width(WIDEST))
        # On a terminal the table may be wider than the window, so that no column is left out.
        width = max(console.width, wanted.minimum) if seen else wanted.maximum
        Console(width=width, markup=False, highlight=False).print(table)
    for line in sentences:
        console.print("\n".join(map(without_controls, line.split("\n"))), soft_wrap=not seen)


def shortened(text: str, width: int) -> str:
    """The text in one line of at most `width` columns. A long text loses its middle, because its ends tell names apart.

    Characters that a terminal does not print, such as those that move the cursor, become spaces.
    """
    from rich.cells import cell_len, set_cell_size

    text = printable(text)
    if cell_len(text) <= width:
        return text
    end = max(0, (width - 1) // 3)
    kept = set_cell_size(text, width - 1 - end).rstrip()
    tail = set_cell_size(text[::-1], end)[::-1].lstrip() if end else ""
    return f"{kept}…{tail}"


def places(numbers: list[float]) -> int:
    """The number of decimal places: four, or more if the largest number needs more to show three digits."""
    largest = max(map(abs, numbers), default=0.0)
    return 4 if largest == 0 else min(9, max(4, 2 - math.floor(math.log10(largest))))


def fixed(value: float | None, digits: int, sign: str = "") -> str:
    """A number with `digits` decimal places; None is a dash."""
    if value is None:
        return "–"
    text = f"{value:{sign}.{digits}f}"
    return text if float(text) else f"{0:.{digits}f}"  # zero is written without a sign


def signed(value: float | None, digits: int) -> str:
    """A number with its sign."""
    return fixed(value, digits, "+")


def interval(ends: list[float | None], digits: int) -> str:
    """The two ends of an interval; a dash if one is unknown."""
    return "–" if None in ends else f"{signed(ends[0], digits)} to {signed(ends[1], digits)}"
