"""The figure and the page of `jaxval aggregate`."""

import math
from typing import TYPE_CHECKING, Any

from jaxval.cli import votes_report, votes_words
from jaxval.cli._pages import inline_svg, render
from jaxval.cli._tables import shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw", "page"]

MOST_GROUPS = 8


def draw(result: dict[str, Any], *, top: int) -> "Figure":
    """The lotteries of one pool of votes, as bars.

    Args:
        result: what `aggregate` returned, without contexts.
        top: how many alternatives are drawn, and the winner of every rule beside them.

    Example:
        >>> from jaxval.cli import aggregate
        >>> from jaxval.data import textbook_election
        >>> figure = draw(aggregate(textbook_election(), rules=("borda",)), top=3)
        >>> [axes.get_title() for axes in figure.axes]
        ['u', 'Borda']
    """
    from jaxval import plots

    rows, others = votes_report.shown_rows(result, top)
    heads = votes_words.plain_headings(result)
    intervals = {"u": "share_bound_interval"}
    if "proportional" in heads:
        intervals[heads["proportional"]] = "proportional_interval"
    more = f", {len(others):,} more alternatives left out" if others else ""
    return plots.plot_lotteries(
        [votes_report.name_of(row, 36) for row in rows],
        {head: [row[rule] for row in rows] for rule, head in heads.items()},
        bounds=[row["share_bound"] for row in rows],
        intervals={
            head: _lows_and_highs([row[key] for row in rows]) for head, key in intervals.items() if key in rows[0]
        },
        title=shortened(result["title"], 60) + more,
    )


def page(result: dict[str, Any], *, top: int, command: list[str]) -> str:
    """The report as one page of HTML.

    Args:
        result: what `aggregate` returned.
        top: how many alternatives are shown.
        command: the words of the command, without jaxval.

    Example:
        >>> from jaxval.cli import aggregate
        >>> from jaxval.data import textbook_election
        >>> text = page(aggregate(textbook_election(), rules=("borda",)), top=3, command=["aggregate"])
        >>> text.startswith("<!DOCTYPE html>"), "<script" in text
        (True, False)
    """
    filters = {"share": votes_report.share, "ends": votes_report.ends}
    parts = [_part(part, top, number) for number, part in enumerate(votes_report.parts_of(result), 1)]
    return render("votes.html", title=result["title"], parts=parts, command=command, filters=filters)


def _part(result: dict[str, Any], top: int, number: int) -> dict[str, Any]:
    rows, others = votes_report.shown_rows(result, top)
    by_name = {row["name"]: row for row in result["alternatives"]}
    heads = votes_words.plain_headings(result)
    rules = [
        {
            "head": head,
            "words": votes_words.words_of(result, rule),
            "winner": by_name[winner["name"]],
            "more": winner["equal"] - 1,
            "probability": winner["probability"],
            "votes": winner["votes"],
            "seen": winner["pairs"]["compared"],
            "of": winner["pairs"]["of"],
            "win_rate": result["win_rates"][rule],
            "win_rate_interval": result.get("win_rate_intervals", {}).get(rule),
            "by_groups": result["levels"][rule].get("by_groups"),
            "guaranteed": result["levels"][rule]["guaranteed"],
        }
        for (rule, head), winner in zip(heads.items(), result["winners"].values(), strict=True)
    ]
    groups = [
        {
            **row,
            "number": row.get("voters", row.get("votes")),
            "favourite": by_name[row["favourites"][0]],
            "more": len(row["favourites"]) - 1,
            "rates": [row["rules"][rule] for rule in heads],
        }
        for row in result.get("groups", [])
    ]
    figure = inline_svg(
        draw(result, top=top),
        says=f"Bars of the probabilities that each rule gives to {len(rows)} alternatives; the table below has them.",
        name=f"lotteries-{number}",
    )
    return {
        "title": result["title"],
        "paragraphs": votes_words.paragraphs(result),
        "sentences": votes_words.sentences(result),
        "few": result["few"],
        "model": result.get("model"),
        "heads": heads,
        "rules": rules,
        "groups": groups,
        "kind": votes_report.kind_of_rows(result),
        "intervals": "win_rate_intervals" in result,
        "group_figure": _group_figure(groups, heads, number),
        "rows": rows,
        "others": len(others),
        "estimated": "share_bound_interval" in rows[0],
        "figure": figure,
    }


def _group_figure(groups: list[dict[str, Any]], heads: dict[str, str], number: int) -> Any:
    if not 2 <= len(groups) <= MOST_GROUPS:
        return None
    from jaxval import plots

    rates = {head: [row["rates"][k]["win_rate"] for row in groups] for k, head in enumerate(heads.values())}
    intervals = None
    if "win_rate_interval" in groups[0]["rates"][0]:
        intervals = {
            head: _lows_and_highs([row["rates"][k]["win_rate_interval"] for row in groups])
            for k, head in enumerate(heads.values())
        }
    drawn = plots.plot_groups([row["name"] for row in groups], rates, intervals=intervals)
    says = "Win rates of each rule in each group, as in the table above."
    return inline_svg(drawn, says=says, name=f"groups-{number}")


def _lows_and_highs(intervals: list[list[float] | None]) -> tuple[list[float], list[float]]:
    known = [interval or (math.nan, math.nan) for interval in intervals]  # no bar where there is no interval
    return [low for low, _ in known], [high for _, high in known]
