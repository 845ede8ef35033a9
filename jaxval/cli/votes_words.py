"""What `jaxval aggregate` says in sentences: a paragraph that can be read aloud, and the guarantee."""

from typing import Any

from jaxval.cli._tables import shortened

__all__ = ["HEADINGS", "READ_ALOUD", "headings", "paragraphs", "plain_headings", "sentences", "words_of"]

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

ROOM = 40  # columns of the name of a group
READ_ALOUD = ("proportional", "borda", "maximal-lottery", "dictatorship")


def headings(result: dict[str, Any]) -> dict[str, str]:
    """The short name of each rule of a result; that of F^β contains the number β.

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


def paragraphs(result: dict[str, Any]) -> list[str]:
    """What a facilitator can read aloud: who took part, whom each rule serves best and worst, how sure this is.

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
        groups = [
            f"{shortened(row['name'], 40)} ({row.get('voters', row.get('votes')):,.0f})" for row in result["groups"]
        ]
        line += f" {len(groups)} groups are told apart: {_list(groups)}."
    elif "voters" in result:
        line += " No groups are told apart: --group COLUMN names those of voters."
    return line


def _of_rule(result: dict[str, Any], rule: str, quoted: set[str]) -> str:
    """What a rule chooses, and whom it serves best and worst. A text is quoted once; `quoted` holds those quoted."""
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
            f" In group {shortened(best, ROOM)}, which it serves best, a draw from it is preferred to {_article(noun)} "
            f"drawn evenly in {_rate(rates[best])} of 100 cases, and in group {shortened(worst, ROOM)}, which it "
            f"serves worst, in {_rate(rates[worst])}"
        )
        upper, lower = (rates[name].get("win_rate_interval") for name in (best, worst))
        if upper and lower and upper[0] <= lower[1]:
            line += "; the intervals meet, so the order of the two is not certain"
        line += "."
    elif not rows and rule in result.get("win_rate_intervals", {}):
        rate = {"win_rate": result["win_rates"][rule], "win_rate_interval": result["win_rate_intervals"][rule]}
        line += f" A draw from it is preferred to {_article(noun)} drawn evenly in {_rate(rate)} of 100 cases."
    return line


def _rate(rate: dict[str, Any]) -> str:
    interval = rate.get("win_rate_interval")
    if not interval:
        return f"{100 * rate['win_rate']:.0f}"
    digits = 0 if interval[1] - interval[0] > 0.02 else 1  # narrow intervals need a decimal place to be seen
    low, high = (f"{100 * end:.{digits}f}" for end in interval)
    return f"{100 * rate['win_rate']:.{digits}f} ({low} to {high})"


def _how_sure(result: dict[str, Any]) -> str:
    few = sum(row["votes"] < result["few"] for row in result["alternatives"])
    unseen = result["pairs"]["of"] - result["pairs"]["compared"]
    lines = []
    if "win_rate_intervals" in result:
        lines.append("Numbers in brackets are 95 % intervals over voters.")
    if few:
        lines.append(
            f"{few:,} of {len(result['alternatives']):,} {_noun(result)}s have fewer than {result['few']} votes."
            + ("" if result["left_out"] else f" --least-votes {result['few']} leaves them out.")
        )
    if unseen:
        share = unseen / result["pairs"]["of"]
        lines.append(
            f"{unseen:,} of {result['pairs']['of']:,} pairs ({_percent(share)}) were never compared. "
            + (
                f"P of all pairs is that of the {result['model']} model, towards which counts are shrunk."
                if "model" in result
                else "A pair never compared counts as a tie."
            )
        )
        if share > 0.5:
            lines.append(
                "So these votes say little: most of what the rules do rests on pairs that nobody compared, and a rule "
                "wins the votes that it was made of."
            )
    if result["left_out"]:
        least = result["least_votes"]
        lines.append(f"{result['left_out']:,} {_noun(result)}s with fewer than {least} votes are left out.")
    if "shown_first" in result:
        effect = result["shown_first"]
        lines.append(f"The alternative shown first won {_percent(effect['wins'])} of the comparisons.")
    return " ".join(lines)


def sentences(result: dict[str, Any]) -> list[str]:
    """The guarantee, the levels of the rules, the Condorcet winner, and how many pairs were compared.

    Example:
        >>> from jaxval.cli import aggregate
        >>> from jaxval.data import textbook_election
        >>> sentences(aggregate(textbook_election(), rules=("borda",)))[1]
        'Condorcet winner: Eve.'
    """
    certificate = result["certificate"]
    if certificate is None:
        guarantee = [
            f"No certificate: the share bounds sum to {result['sum_of_share_bounds']:.4f} < 1, "
            "so these preferences are those of no population of complete rankings."
        ]
    else:
        condition = "" if result["certificate_holds"] == "yes" else f", {result['certificate_holds']}"
        guarantee = [
            f"Certificate 1/Σu = {certificate:.4f}: F^β at β = 0 gives every group of voters with the same first "
            f"choice at least {certificate:.1%} of its share{condition}."
        ]
        if result["beta"] != 0:
            guarantee.append(f"That is no guarantee of the F^β above, β = {result['beta']}.")
    levels = {rule: level["by_groups"] for rule, level in result["levels"].items() if "by_groups" in level}
    if levels:
        heads = plain_headings(result)
        each = ", ".join(f"{heads[rule]} {level:.3f}" for rule, level in levels.items())
        guarantee.append(
            f"The level α, the smallest ratio of what a favourite of a group gets to the share of the voters whose "
            f"favourite it is: {each}."
        )
    if result["condorcet_winner"] is not None:
        winner = f"Condorcet winner: {shortened(result['condorcet_winner'], 60)}."
    else:
        cycle = result["top_cycle"]
        names = ", ".join(shortened(name, 24) for name in cycle[:8])
        if len(cycle) > 8:
            names = f"all {_noun(result)}s" if len(cycle) == len(result["alternatives"]) else f"{names} and others"
        winner = f"No Condorcet winner: a cycle or tie among {len(cycle)} at the top ({names})."
        if "certain_cycle" in result:
            cycle = [shortened(name, 24) for name in result["certain_cycle"]]
            winner += (
                f" Certain at 95 %: {' > '.join([*cycle, cycle[0]])}." if cycle else " No cycle is certain at 95 %."
            )
    compared = f"{result['pairs']['compared']:,} of {result['pairs']['of']:,} pairs were ever compared."
    return [*guarantee, winner, compared]


def _noun(result: dict[str, Any]) -> str:
    return "statement" if "votes" in result else "alternative"


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if share >= 0.1 else f"{100 * share:.2g} %"


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
