"""What `jaxval aggregate` prints: tables that fit 80 columns, and a paragraph that can be read aloud."""

import csv
import io
import sys
from typing import Any

from jaxval.cli._tables import new_table, shortened

__all__ = [
    "ends",
    "headings",
    "kind_of_rows",
    "name_of",
    "paragraphs",
    "parts_of",
    "plain_headings",
    "print_result",
    "sentences",
    "share",
    "shown_rows",
    "table_text",
    "words_of",
]

WIDTH = 80
HEADINGS = {
    "proportional": "F^β",
    "borda": "Borda",
    "maximal-lottery": "maxi-\nmal",
    "minimax": "mini-\nmax",
    "proportional-borda": "∝\nBorda",
    "c1-lottery": "C1",
    "dictatorship": "first",
}
WORDS = {
    "proportional": "the proportional rule F^β",
    "borda": "Borda's rule (RLHF)",
    "maximal-lottery": "the maximal lottery (NLHF)",
    "minimax": "minimax",
    "proportional-borda": "the lottery in proportion to Borda scores",
    "c1-lottery": "the C1 maximal lottery",
    "dictatorship": "random dictatorship",
}
READ_ALOUD = ("proportional", "borda", "maximal-lottery", "dictatorship")
MARK = "†"


def headings(result: dict[str, Any]) -> dict[str, str]:
    """The short name of each rule of a result, β in figures.

    Example:
        >>> headings({"beta": "inf", "win_rates": {"proportional": 0.5, "borda": 0.6}})
        {'proportional': 'F^∞', 'borda': 'Borda'}
    """
    beta = "∞" if result["beta"] == "inf" else f"{result['beta']:g}"
    return {rule: HEADINGS[rule].replace("β", beta) for rule in result["win_rates"]}


def words_of(result: dict[str, Any], rule: str) -> str:
    """A rule in words, with its β.

    Example:
        >>> words_of({"beta": 1.0, "win_rates": {"proportional": 0.5}}, "proportional")
        'the proportional rule F^1'
    """
    return WORDS[rule].replace("F^β", headings(result).get("proportional", "F^β"))


def plain_headings(result: dict[str, Any]) -> dict[str, str]:
    """The short name of each rule in one line.

    Example:
        >>> plain_headings({"beta": 0.0, "win_rates": {"proportional": 0.5, "minimax": 0.6}})
        {'proportional': 'F^0', 'minimax': 'minimax'}
    """
    return {rule: head.replace("-\n", "").replace("\n", " ") for rule, head in headings(result).items()}


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
    for line in [*paragraphs(result), *sentences(result), _key(result, top)]:
        console.print(line, soft_wrap=not seen)


def shown_rows(result: dict[str, Any], top: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows to show, those of most probability by the first rule and every rule's winner, and the others.

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
    table = new_table("what each rule gives most to")
    for head, justify in (("rule", "left"), ("most to", "left"), ("share", "right"), ("votes", "right")):
        table.add_column(head, justify=justify, no_wrap=True)
    table.add_column("pairs seen", justify="right", no_wrap=True)
    table.add_column("win\nrate", justify="right", no_wrap=True)
    room = width - 52
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
    table = new_table("win rate of each rule in each group: a draw from it against any alternative")
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
        more = f" and {len(favourites) - 1} more" if len(favourites) > 1 else ""
        room = width - 22 - len(rules) * 15 - len(more)
        table.add_row(
            shortened(row["name"], 12), f"{number:,.0f}", name_of(texts[favourites[0]], max(8, room)) + more, *cells
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


def paragraphs(result: dict[str, Any]) -> list[str]:
    """What a facilitator can read aloud: who took part, who is well served by which rule and who is not, how sure.

    Example:
        >>> from jaxval.cli import aggregate
        >>> from jaxval.data import textbook_election
        >>> print(paragraphs(aggregate(textbook_election(), rules=("borda",)))[0])
        55 ballots rank 5 alternatives.
        >>> print(paragraphs(aggregate(textbook_election(), rules=("borda",)))[1])
        Borda's rule (RLHF) chooses Dan.
    """
    lines = [_took_part(result)]
    quoted: set[str] = set()
    chosen = [rule for rule in READ_ALOUD if rule in result["win_rates"]] or list(result["win_rates"])[:1]
    lines += [_of_rule(result, rule, quoted) for rule in chosen]
    return [line for line in [*lines, _how_sure(result)] if line]


def _took_part(result: dict[str, Any]) -> str:
    number = len(result["alternatives"])
    if "ballots" in result:
        line = f"{result['ballots']:,.10g} ballots rank {number:,} alternatives."
    elif "votes" in result:
        line = f"{result['voters']:,} voters cast {result['votes']:,} votes on {number:,} statements."
    else:
        who = f"{result['voters']:,} voters made " if "voters" in result else ""
        line = f"{who}{result['comparisons']:,.10g} comparisons of {number:,} alternatives."
    if "groups" in result:
        groups = [f"{row['name']} ({row.get('voters', row.get('votes')):,.0f})" for row in result["groups"]]
        line += f" {len(groups)} groups are told apart: {_list(groups)}."
    return line


def _of_rule(result: dict[str, Any], rule: str, quoted: set[str]) -> str:
    """What a rule chooses, and whom it serves best and worst. A text is quoted once; `quoted` keeps count."""
    winner, noun = result["winners"][rule], _noun(result)
    name = shortened(winner["name"], 80)
    text = next(row for row in result["alternatives"] if row["name"] == winner["name"]).get("text")
    if text and name not in quoted:
        name += f", “{shortened(text, 160)}”"
        quoted.add(winner["name"])
    words = words_of(result, rule)
    title = words[0].upper() + words[1:]
    if winner["supported"] == 1:
        line = f"{title} chooses {name}"
    else:
        equal = f", and as much to {winner['equal'] - 1} more" if winner["equal"] > 1 else ""
        line = f"{title} spreads over {winner['supported']:,} {noun}s and gives most to {name}, "
        line += f"{_percent(winner['probability'])}{equal}"
    unseen = winner["pairs"]["of"] - winner["pairs"]["compared"]
    if winner["votes"] < result["few"] or unseen:
        few = "only " if winner["votes"] < result["few"] else ""
        line += f" ({few}{winner['votes']:,.10g} vote{'' if winner['votes'] == 1 else 's'}"
        line += f"; {unseen:,} of its {winner['pairs']['of']:,} pairs were never compared)" if unseen else ")"
    line += "."
    rows = result.get("groups", [])
    if len(rows) > 1:
        rates = {row["name"]: row["rules"][rule] for row in rows}
        best = max(rates, key=lambda name: rates[name]["win_rate"])
        worst = min(rates, key=lambda name: rates[name]["win_rate"])
        line += (
            f" In group {best}, which it serves best, a draw from it is preferred to {_article(noun)} drawn evenly in "
            f"{_rate(rates[best])} of 100 cases, and in group {worst}, which it serves worst, in {_rate(rates[worst])}"
        )
        upper, lower = (rates[name].get("win_rate_interval") for name in (best, worst))
        if upper and lower and upper[0] <= lower[1]:
            line += "; the intervals meet, so the order of the two is not certain"
        line += "."
    return line


def _rate(rate: dict[str, Any]) -> str:
    interval = rate.get("win_rate_interval")
    brackets = f" ({100 * interval[0]:.0f} to {100 * interval[1]:.0f})" if interval else ""
    return f"{100 * rate['win_rate']:.0f}{brackets}"


def _how_sure(result: dict[str, Any]) -> str:
    few = sum(row["votes"] < result["few"] for row in result["alternatives"])
    unseen = result["pairs"]["of"] - result["pairs"]["compared"]
    lines = []
    if any("win_rate_interval" in rate for row in result.get("groups", []) for rate in row["rules"].values()):
        lines.append("Numbers in brackets are 95 % intervals over voters.")
    if few:
        lines.append(
            f"{few:,} of {len(result['alternatives']):,} {_noun(result)}s have fewer than {result['few']} votes."
            + ("" if result["left_out"] else f" --least-votes {result['few']} leaves them out.")
        )
    if unseen:
        share = unseen / result["pairs"]["of"]
        lines.append(
            f"{unseen:,} of {result['pairs']['of']:,} pairs ({share:.0%}) were never compared. "
            "A pair never compared counts as a tie."
        )
        if share > 0.5:
            lines.append(
                "So these votes say little: most of what the rules do rests on pairs that nobody compared, and a rule wins "
                "the votes that it was made of."
            )
    if result["left_out"]:
        least = result["least_votes"]
        lines.append(f"{result['left_out']:,} {_noun(result)}s with fewer than {least} votes are left out.")
    if "shown_first" in result:
        effect = result["shown_first"]
        lines.append(f"The alternative shown first won {_percent(effect['wins'])} of the comparisons.")
    return " ".join(lines)


def sentences(result: dict[str, Any]) -> list[str]:
    """The guarantee, the Condorcet winner, and how many pairs were compared.

    Example:
        >>> from jaxval.cli import aggregate
        >>> from jaxval.data import textbook_election
        >>> sentences(aggregate(textbook_election(), rules=("borda",)))[1]
        'Condorcet winner: Eve.'
    """
    certificate = result["certificate"]
    if certificate is None:
        guarantee = (
            f"No certificate: the share bounds sum to {result['sum_of_share_bounds']:.4f} < 1, "
            "so these preferences are those of no population of complete rankings."
        )
    else:
        condition = "" if result["certificate_holds"] == "yes" else f", {result['certificate_holds']}"
        guarantee = (
            f"Certificate 1/Σu = {certificate:.4f}: F^β at β = 0 gives every group of voters with the same first "
            f"choice at least {certificate:.1%} of its share{condition}."
        )
        if result["beta"] != 0:
            guarantee += f" That is no guarantee of the F^β above, β = {result['beta']}."
    levels = {rule: level["by_groups"] for rule, level in result["levels"].items() if "by_groups" in level}
    if levels:
        heads = plain_headings(result)
        each = ", ".join(f"{heads[rule]} {level:.3f}" for rule, level in levels.items())
        guarantee += f" By the given groups and their favourites, the level α is {each}."
    if result["condorcet_winner"] is not None:
        winner = f"Condorcet winner: {result['condorcet_winner']}."
    else:
        cycle = result["top_cycle"]
        names = ", ".join(cycle[:8]) + (f" and {len(cycle) - 8} more" if len(cycle) > 8 else "")
        winner = f"No Condorcet winner: a cycle or tie among {len(cycle)} at the top ({names})."
    compared = f"{result['pairs']['compared']:,} of {result['pairs']['of']:,} pairs were ever compared."
    return [guarantee, winner, compared]


def _key(result: dict[str, Any], top: int) -> str:
    others = len(shown_rows(result, top)[1])
    more = f" {others:,} more alternatives: --top, --csv or --json shows them." if others else ""
    return f"{MARK} fewer than {result['few']} votes, or pairs of the winner that nobody compared.{more}"


def table_text(result: dict[str, Any]) -> str:
    r"""All alternatives as comma-separated text, a row each.

    Example:
        >>> from jaxval.cli import aggregate
        >>> from jaxval.data import textbook_election
        >>> table_text(aggregate(textbook_election(), rules=("borda",))).splitlines()[:2]
        ['name,votes,share_bound,borda', 'Ada,55,0.32727272727272727,0']
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
            writer.writerow([*words, *(f"{number:.17g}" for number in numbers)])
    return text.getvalue()


def name_of(row: dict[str, Any], room: int) -> str:
    """The name of an alternative, and as much of its text as there is room for.

    Example:
        >>> name_of({"name": "12", "text": "Rents should be lower"}, 20)
        '12 Rents sho… lower'
    """
    return shortened(f"{row['name']} {row['text']}" if "text" in row else row["name"], room)


def _noun(result: dict[str, Any]) -> str:
    return "statement" if "votes" in result else "alternative"


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


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


def ends(interval: list[float]) -> str:
    """The two ends of an interval with two decimal places.

    Example:
        >>> ends([0.512, 1.0])
        '.51–1'
    """
    return "–".join("1" if end > 0.995 else f"{end:.2f}".lstrip("0") for end in interval)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if share >= 0.1 else f"{100 * share:.2g} %"


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
