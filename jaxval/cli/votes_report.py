"""What `jaxval aggregate` prints: tables that fit 80 columns, and the same as comma-separated text."""

import csv
import io
import math
import sys
from typing import Any

from jaxval._errors import without_controls
from jaxval.cli._tables import new_table, shortened
from jaxval.cli.votes_words import READ_ALOUD, headings, paragraphs, plain_headings, sentences

__all__ = ["ends", "kind_of_rows", "name_of", "parts_of", "print_result", "share", "shown_rows", "table_text"]

WIDTH = 80
MARK = "†"


def parts_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The result of each context, and of all votes pooled; the result itself if it has no contexts.

    Example:
        >>> parts_of({"title": "all", "by_context": [{"title": "one"}], "pooled": {"title": "pooled"}})
        [{'title': 'one'}, {'title': 'pooled'}]
    """
    return [*result.get("by_context", [result]), *([result["pooled"]] if "pooled" in result else [])]


def print_result(result: dict[str, Any], *, top: int) -> None:
    """Print the tables and the paragraph of one pool, or of every context.

    Args:
        result: what `aggregate` returned.
        top: how many alternatives are shown.

    Example:
        >>> from jaxval.cli import aggregate
        >>> from jaxval.data import textbook_election
        >>> import contextlib, io
        >>> with contextlib.redirect_stdout(io.StringIO()) as printed:
        ...     print_result(aggregate(textbook_election(), rules=("borda",)), top=1)
        >>> max(map(len, printed.getvalue().splitlines()[:14])) <= 80
        True
    """
    for number, part in enumerate(parts_of(result)):
        if number:
            print()
        _print_part(part, top)
    if "by_context" in result:
        print(f"\n{len(result['by_context'])} contexts{', and all of them pooled' if 'pooled' in result else ''}.")


def _print_part(result: dict[str, Any], top: int) -> None:
    from rich.console import Console

    seen = sys.stdout.isatty()
    width = max(WIDTH, Console().width) if seen else WIDTH
    console = Console(width=width, markup=False, highlight=False, emoji=False)
    for table in (_alternatives(result, top, width), _rules(result, width), _group_table(result, width)):
        if table is not None:
            console.print(table)
    for line in filter(None, [*paragraphs(result), *sentences(result), _key(result, top)]):
        console.print(without_controls(line), soft_wrap=not seen)


def shown_rows(result: dict[str, Any], top: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows to show, and the others. Shown are the most probable by the first rule, and every rule's winner.

    Example:
        >>> result = {"win_rates": {"borda": 0.5}, "winners": {"borda": {"name": "b"}},
        ...     "alternatives": [{"name": name, "share_bound": 0.5, "votes": 9, "borda": 0.0} for name in "abc"]}
        >>> [row["name"] for row in shown_rows(result, 1)[0]]
        ['a', 'b']
    """
    first = next(iter(result["win_rates"]))
    rows = sorted(result["alternatives"], key=lambda row: (-row[first], -row["share_bound"], -row["votes"]))
    winners = {winner["name"] for winner in result["winners"].values()}
    shown = [row for place, row in enumerate(rows) if place < top or row["name"] in winners]
    return shown, [row for place, row in enumerate(rows) if place >= top and row["name"] not in winners]


def _alternatives(result: dict[str, Any], top: int, width: int) -> Any:
    heads = headings(result)
    shown, others = shown_rows(result, top)
    estimated = "share_bound_interval" in shown[0]
    table = new_table(shortened(result["title"], width), tight=True)
    columns = {"votes": [_votes(row["votes"], result["few"]) for row in shown]}
    columns["u"] = [share(row["share_bound"]) for row in shown]
    if estimated:
        columns["95 % of u"] = [ends(row["share_bound_interval"]) for row in shown]
    columns |= {heads[rule]: [share(row[rule]) for row in shown] for rule in heads}
    rest = [f"{len(others):,} more" if others else ""]
    rest += ["", f"Σ {result['sum_of_share_bounds']:.1f}", *([""] if estimated else [])]
    rest += [share(sum(row[rule] for row in others)) for rule in heads]
    parts = zip(columns.items(), rest[1:], strict=True)
    used = sum(1 + max(map(len, (*head.split("\n"), *cells, last))) for (head, cells), last in parts)
    table.add_column("alternative", no_wrap=True)
    for head in columns:
        table.add_column(head, justify="right", no_wrap=True)
    room = max(12, width - used - 2)
    for row, *cells in zip(shown, *columns.values(), strict=True):
        table.add_row(name_of(row, room), *cells)
    if others:
        table.add_section()
        table.add_row(*rest)
    return table


def _rules(result: dict[str, Any], width: int) -> Any:
    heads = plain_headings(result)
    texts = {row["name"]: row for row in result["alternatives"]}
    table = new_table("what each rule gives most to, and its win rate against any alternative")
    for head, justify in (("rule", "left"), ("most to", "left"), ("share", "right"), ("votes", "right")):
        table.add_column(head, justify=justify, no_wrap=True)
    table.add_column("pairs of the\nwinner seen", justify="right", no_wrap=True)
    table.add_column("win\nrate", justify="right", no_wrap=True)
    room = width - 54
    for rule, head in heads.items():
        winner = result["winners"][rule]
        pairs = winner["pairs"]
        unseen = f" {MARK}" if pairs["compared"] < pairs["of"] else ""
        more = f" and {winner['equal'] - 1} more" if winner["equal"] > 1 else ""
        table.add_row(
            head,
            name_of(texts[winner["name"]], room - len(more)) + more,
            share(winner["probability"]),
            _votes(winner["votes"], result["few"]),
            f"{pairs['compared']:,} of {pairs['of']:,}{unseen}",
            share(result["win_rates"][rule]),
        )
    return table


def _group_table(result: dict[str, Any], width: int) -> Any:
    if "groups" not in result:
        return None
    heads = plain_headings(result)
    rules = [rule for rule in READ_ALOUD if rule in heads][:3] or list(heads)[:3]
    texts = {row["name"]: row for row in result["alternatives"]}
    kind = kind_of_rows(result)
    table = new_table("win rate of each rule in each group: a draw from it against any alternative", tight=True)
    table.add_column("group", no_wrap=True)
    table.add_column(kind, justify="right", no_wrap=True)
    table.add_column("favourite", no_wrap=True)
    for rule in rules:
        table.add_column(heads[rule], justify="right", no_wrap=True)
    interval = "win_rate_interval" in result["groups"][0]["rules"][rules[0]]
    for row in result["groups"]:
        rates = [row["rules"][rule] for rule in rules]
        cells = [share(rate["win_rate"]) for rate in rates]
        if interval:
            cells = [f"{cell} ({ends(rate['win_rate_interval'])})" for cell, rate in zip(cells, rates, strict=True)]
        number = row["voters"] if "voters" in row else row["votes"]
        favourites = row["favourites"]
        more = f" +{len(favourites) - 1}" if len(favourites) > 1 else ""
        room = width - 24 - sum(1 + len(cell) for cell in cells) - len(more)
        table.add_row(
            shortened(row["name"], 12), f"{number:,.0f}", name_of(texts[favourites[0]], max(6, room)) + more, *cells
        )
    return table


def kind_of_rows(result: dict[str, Any]) -> str:
    """What the sizes of groups count.

    Example:
        >>> kind_of_rows({"ballots": 9.0, "groups": [{"name": "town", "votes": 9.0}]})
        'ballots'
    """
    if any("voters" in row for row in result.get("groups", [])):
        return "voters"
    return "ballots" if "ballots" in result else "votes"


def _key(result: dict[str, Any], top: int) -> str:
    shown, others = shown_rows(result, top)
    more = f" {len(others):,} more alternatives: --top, --csv or --json shows them." if others else ""
    winners = result["winners"].values()
    few = any(row["votes"] < result["few"] for row in [*shown, *winners])
    unseen = any(winner["pairs"]["compared"] < winner["pairs"]["of"] for winner in winners)
    marked = f"{MARK} fewer than {result['few']} votes, or pairs of the winner that nobody compared."
    return f"{marked if few or unseen else ''}{more}".strip()


def table_text(result: dict[str, Any]) -> str:
    r"""All alternatives as comma-separated text, a row each.

    Example:
        >>> from jaxval.cli import aggregate
        >>> from jaxval.data import textbook_election
        >>> table_text(aggregate(textbook_election(), rules=("borda",))).splitlines()[0]
        'name,votes,share_bound,borda'
    """
    parts = result.get("by_context", [result])
    by = [result["by"]] if "by_context" in result else []
    rules = list(parts[0]["win_rates"])
    keys = ["text"] if any("text" in row for part in parts for row in part["alternatives"]) else []
    estimated = [name for name in ("share_bound", "proportional") if f"{name}_interval" in parts[0]["alternatives"][0]]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    intervals = [f"{name}_{end}" for name in estimated for end in ("low", "high")]
    writer.writerow([*by, "name", *keys, "votes", "share_bound", *rules, *intervals])
    for part in parts:
        for row in part["alternatives"]:
            numbers = [row["votes"], row["share_bound"], *(row[rule] for rule in rules)]
            numbers += [end for name in estimated for end in row[f"{name}_interval"]]
            words = [*([part["title"]] if by else []), row["name"], *(row.get(key, "") for key in keys)]
            writer.writerow([*map(_no_formula, words), *(f"{number:.17g}" for number in numbers)])
    return text.getvalue()


FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # also as wide as a character of Chinese


def _no_formula(text: str) -> str:
    """A cell of text that no spreadsheet computes, by an apostrophe in front as spreadsheets write it."""
    cell = without_controls(text)
    return f"'{cell}" if cell.lstrip().startswith(FORMULAS) else cell


def name_of(row: dict[str, Any], room: int) -> str:
    """The name of an alternative, and as much of its text as there is room for.

    Example:
        >>> name_of({"name": "12", "text": "Rents should be lower"}, 20)
        '12 Rents shou…lower'
    """
    return shortened(f"{row['name']} {row['text']}" if "text" in row else row["name"], room)


def _votes(number: float, few: int) -> str:
    return f"{number:,.5g}{MARK if number < few else ''}"


def share(share: float) -> str:
    """A share with three decimal places; a dot if the share is exactly zero.

    Example:
        >>> share(0.25), share(0.0), share(1e-5), share(1.0)
        ('.250', '·', '<.001', '1')
    """
    if share == 0:
        return "·"
    return "<.001" if share < 0.0005 else "1" if share > 0.9995 else f"{share:.3f}".lstrip("0")


def ends(interval: list[float] | None) -> str:
    """The two ends of an interval, rounded outwards to two decimal places; a single voter gives no interval.

    Example:
        >>> ends([0.531, 0.534]), ends([0.512, 1.0]), ends(None)
        ('.53–.54', '.51–1', 'one voter')
    """
    if interval is None:
        return "one voter"
    low, high = interval
    hundredths = math.floor(100 * low + 1e-9), math.ceil(100 * high - 1e-9)
    return "–".join("1" if end == 100 else f"{end / 100:.2f}".lstrip("0") for end in hundredths)
