"""`jaxval aggregate`: from ballots or comparisons to lotteries, with a guarantee."""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxval._errors import BadArgument

if TYPE_CHECKING:
    from jaxval.data import Election, NamedComparisons

__all__ = ["aggregate"]

RULES = {
    "proportional": "F^β, in proportion to the share bounds u (β by --beta)",
    "borda": "maximal Borda (RLHF)",
    "maximal-lottery": "maximal lottery (NLHF)",
    "minimax": "minimax, the limit of F^β",
    "proportional-borda": "in proportion to Borda scores",
    "c1-lottery": "maximal lottery of the majority relation",
    "dictatorship": "random dictatorship: shares of first choices (ballots only)",
}
RESAMPLES = 500
HEADINGS = {
    "proportional": "F^β",
    "borda": "Borda",
    "maximal-lottery": "maximal",
    "minimax": "minimax",
    "proportional-borda": "∝Borda",
    "c1-lottery": "C1",
    "dictatorship": "first",
}
FILES = """\
FILE is a PrefLib file (.soc, .soi, .toc, .toi); a CSV of rankings, one ballot a row (columns 1, 2, ... with names,
best first, or a column per alternative with its rank; optional count); a CSV of comparisons (columns winner and
loser, or left, right and winner, or model_a, model_b and winner; optional context, tie, count); or a folder with
MovieLens 1M (its 20 most rated movies). Without one, a textbook election.

In the table u is the largest share of voters whose first choice an alternative can be, with its 95 % interval where
P is estimated from comparisons; a dot is exactly zero."""


def aggregate(
    votes: "Election | NamedComparisons",
    *,
    rules: tuple[str, ...] = tuple(RULES),
    beta: float = 0.0,
    unranked: str = "below",
    unseen: str = "tie",
) -> dict[str, Any]:
    """The result of `jaxval aggregate` for an election or for comparisons, as plain numbers.

    Args:
        votes: `data.Election` or `data.NamedComparisons`.
        rules: names of rules; random dictatorship is left out if the votes are not ballots.
        beta: β of F^β.
        unranked: how ballots with unranked alternatives are read; see `preferences.ballot_wins`.
        unseen: what P is for pairs that were never compared; see `preferences.complete_matrix`.

    Returns:
        A dictionary that `json.dumps` takes: `alternatives` (each with its share bound u and a probability for each
        rule), `win_rates`, `certificate`, `pairs`, `condorcet_winner`, `top_cycle`, and how many votes were read.

    Raises:
        ValueError: if the name of a rule or an option is unknown.

    Example:
        >>> from jaxval.data import textbook_election
        >>> result = aggregate(textbook_election(), rules=("proportional", "maximal-lottery"))
        >>> result["condorcet_winner"], result["win_rates"]["maximal-lottery"] > result["win_rates"]["proportional"]
        ('Eve', True)
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxval import _checks, preferences, social_choice
    from jaxval.data import Election

    for rule in rules:
        _checks.check_choice("rule", rule, RULES)
    of_matrix = {
        "proportional": lambda matrix: social_choice.proportional(matrix, beta=beta),
        "borda": social_choice.maximal_borda,
        "maximal-lottery": social_choice.maximal_lottery,
        "minimax": social_choice.minimax,
        "proportional-borda": social_choice.proportional_borda,
        "c1-lottery": social_choice.c1_maximal_lottery,
    }
    if isinstance(votes, Election):
        wins = preferences.ballot_wins(votes.ballots, unranked=unranked)
        read = {"ballots": float(np.sum(votes.ballots.weights)), "unranked": unranked}
    else:
        wins = preferences.count_wins(votes.comparisons, alternatives=len(votes.names))
        read = {"comparisons": float(np.sum(votes.comparisons.weight)), "contexts": len(votes.contexts)}
    matrix, strengths = preferences.complete_matrix(jax.random.key(0), wins, unseen=unseen)

    @jax.jit  # compile one program in place of hundreds of small ones
    def facts(matrix: jax.Array) -> tuple[dict[str, jax.Array], ...]:
        lotteries = {rule: of_matrix[rule](matrix) for rule in rules if rule in of_matrix}
        return lotteries, {
            "bounds": social_choice.share_bounds(matrix),
            "certificate": social_choice.certificate(matrix),
            "winner": preferences.condorcet_winner(matrix),
            "top": preferences.smith_set(matrix),
        }

    lotteries, result = facts(matrix)
    for rule, lottery in lotteries.items():
        if np.isnan(lottery).any():
            raise RuntimeError(f"{rule}: did not converge on these preferences")
    if isinstance(votes, Election) and "dictatorship" in rules:
        lotteries["dictatorship"] = preferences.ballot_first_choices(votes.ballots)
    lotteries = {rule: lotteries[rule] for rule in rules if rule in lotteries}  # in the order of `rules`
    columns = {"share_bound": result["bounds"], **lotteries}
    if not isinstance(votes, Election):  # P is an estimate, so that what follows from it gets intervals
        estimate = partial(preferences.smoothed_matrix, strengths=strengths) if strengths else None
        redrawn = partial(
            social_choice.bootstrap_intervals, jax.random.key(0), wins, estimate=estimate, samples=RESAMPLES
        )
        bounds = redrawn(social_choice.share_bounds) if strengths else social_choice.share_bound_intervals(wins)
        intervals = {"share_bound": bounds}
        if "proportional" in lotteries:
            intervals["proportional"] = redrawn(of_matrix["proportional"])
        for name, interval in intervals.items():
            columns[f"{name}_interval"] = jnp.stack([interval.low, interval.high], axis=1)

    winner, top = int(result["winner"]), np.flatnonzero(result["top"])
    compared = int((np.triu(np.asarray(wins + wins.T), 1) > 0).sum())
    refuted = bool(np.isnan(result["certificate"]))
    # Ties and unranked alternatives then count as averages of complete rankings, so that P comes from a profile.
    from_rankings = read.get("unranked") == "below"
    plain = {name: np.asarray(column).tolist() for name, column in columns.items()}
    if strengths:
        numbers = {name: float(value) for name, value in strengths._asdict().items()}
        read["model"] = unseen
        read["strengths"] = {name: value if value < np.inf else "inf" for name, value in numbers.items()}
    return {
        "title": votes.title,
        **read,
        "beta": beta if beta < float("inf") else "inf",
        "alternatives": [
            {"name": name, **{key: column[i] for key, column in plain.items()}} for i, name in enumerate(votes.names)
        ],
        "win_rates": {
            rule: float(social_choice.win_rate_over_uniform(matrix, lottery)) for rule, lottery in lotteries.items()
        },
        "sum_of_share_bounds": float(result["bounds"].sum()),
        "certificate": None if refuted else float(result["certificate"]),
        "certificate_holds": "no" if refuted else "yes" if from_rankings else "if P is that of complete rankings",
        "pairs": {"compared": compared, "of": len(votes.names) * (len(votes.names) - 1) // 2},
        "condorcet_winner": votes.names[winner] if winner >= 0 else None,
        "top_cycle": [votes.names[i] for i in top] if winner < 0 else [],
    }


def add_command(commands: Any) -> None:
    """Add the command `jaxval aggregate` and its options."""
    command = commands.add_parser(
        "aggregate",
        help="from ballots or comparisons to a population-proportional policy with its guarantee",
        description="From ballots or comparisons to lotteries over the alternatives: the population-proportional\n"
        "policy with its guarantee, beside RLHF, NLHF and others.\n\n" + FILES,
        epilog="rules:\n" + "\n".join(f"  {name:20}{text}" for name, text in RULES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", nargs="?", metavar="FILE", help="ballots or comparisons; see above")
    command.add_argument(
        "--rule", action="append", choices=list(RULES), metavar="RULE", help="apply only this rule; may be repeated"
    )
    command.add_argument("--beta", type=_beta, default=0.0, help="β of F^β, from 0 (the default) to inf")
    command.add_argument(
        "--unranked",
        choices=("below", "ignored"),
        default="below",
        help="how unranked alternatives are read: they tie below the ranked ones (below, the default), or pairs with "
        "them are not counted (ignored)",
    )
    command.add_argument(
        "--unseen",
        choices=("tie", "bradley-terry", "low-rank"),
        default="tie",
        help="P of pairs that were never compared: a tie (the default), or that of a model of all comparisons, towards "
        "which the counts are shrunk as far as held-out comparisons advise; low-rank allows for cycles",
    )
    command.add_argument("--json", action="store_true", help="print the result alone, as JSON, on standard output")
    command.add_argument("--figure", type=Path, metavar="PNG", help="write a figure of the lotteries there")
    command.set_defaults(run=_aggregate)


def _beta(text: str) -> float:
    try:
        beta = float(text)
    except ValueError:
        beta = -1.0
    if not beta >= 0:
        raise argparse.ArgumentTypeError(f"expected a number in [0, inf]; got {text}")
    return beta


def _aggregate(arguments: argparse.Namespace) -> int:
    import jax

    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", True)
    try:
        return _aggregate_in_float64(arguments)
    finally:  # a caller of main() from Python keeps the precision that was set before
        jax.config.update("jax_enable_x64", before)


def _aggregate_in_float64(arguments: argparse.Namespace) -> int:
    from jaxval import data

    figure = arguments.figure
    if figure is not None and not (figure.suffix == ".png" and figure.resolve().parent.is_dir()):
        raise BadArgument("--figure", expected="a name that ends in .png, in a folder that exists", got=figure)
    if arguments.file == "":
        raise BadArgument("FILE", expected="a file or a folder", got="an empty name")
    votes = data.read_votes(arguments.file) if arguments.file else data.textbook_election()
    rules = tuple(dict.fromkeys(arguments.rule or RULES))
    if rules == ("dictatorship",) and not isinstance(votes, data.Election):
        raise BadArgument("--rule dictatorship", expected="ballots", got="comparisons, which do not tell first choices")
    result = aggregate(votes, rules=rules, beta=arguments.beta, unranked=arguments.unranked, unseen=arguments.unseen)
    if figure is not None:
        _draw(result, figure)
    if arguments.json:
        print(json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        _print(result)
    return 0


def _draw(result: dict[str, Any], path: Path) -> None:
    from jaxval import plots

    rows = result["alternatives"]

    def column(key: str) -> list[Any]:
        return [row[key] for row in rows]

    heads = {**HEADINGS, "proportional": f"F^β, β = {result['beta']}", "dictatorship": "first choices"}
    intervals = {"u": "share_bound_interval", heads["proportional"]: "proportional_interval"}
    figure = plots.plot_lotteries(
        column("name"),
        {heads[rule]: column(rule) for rule in result["win_rates"]},
        bounds=column("share_bound"),
        intervals={head: _ends(column(key)) for head, key in intervals.items() if key in rows[0]},
        title=result["title"],
    )
    figure.savefig(path, dpi=200, bbox_inches="tight")
    print(f"figure written to {path}", file=sys.stderr)


def _ends(intervals: list[list[float]]) -> tuple[list[float], list[float]]:
    return [low for low, _ in intervals], [high for _, high in intervals]


def _print(result: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    rules = list(result["win_rates"])
    rows = sorted(result["alternatives"], key=lambda row: (-row[rules[0]], -row["share_bound"]))
    estimated = "share_bound_interval" in rows[0]
    table = Table(title=result["title"], box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_footer=True)
    table.add_column("alternative", footer="win rate against uniform", overflow="fold", min_width=12)
    table.add_column("u", footer=f"Σ {result['sum_of_share_bounds']:.2f}", justify="right", no_wrap=True)
    if estimated:
        table.add_column("95 % of u", justify="right", no_wrap=True)
    for rule in rules:
        rate = _share(result["win_rates"][rule])
        head = HEADINGS[rule].replace("β", f"{result['beta']:g}" if result["beta"] != "inf" else "∞")
        table.add_column(head, footer=rate, justify="right", no_wrap=True)
    for row in rows:
        ends = ("–".join(map(_share, row["share_bound_interval"])),) if estimated else ()
        table.add_row(row["name"], _share(row["share_bound"]), *ends, *(_share(row[rule]) for rule in rules))
    console = Console(soft_wrap=not sys.stdout.isatty())
    console.print(table, markup=False)
    for line in _sentences(result):
        console.print(line, markup=False, highlight=False)


def _share(share: float) -> str:
    """A share with three decimal places; a dot if the share is exactly zero."""
    return "·" if share == 0 else f"{share:.3f}"


def _sentences(result: dict[str, Any]) -> list[str]:
    pairs, certificate = result["pairs"], result["certificate"]
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
    if result["condorcet_winner"] is not None:
        winner = f"Condorcet winner: {result['condorcet_winner']}."
    else:
        top = result["top_cycle"]
        names = ", ".join(top[:8]) + (f" and {len(top) - 8} more" if len(top) > 8 else "")
        winner = f"No Condorcet winner: a cycle or tie among {len(top)} at the top ({names})."
    if "ballots" in result:
        counted = f"{result['ballots']:,.10g} ballots; unranked alternatives {result['unranked']}"
    else:
        counted = f"{result['comparisons']:,.10g} comparisons; contexts: {result['contexts']}"
    compared = f"{counted}; {pairs['compared']:,} of {pairs['of']:,} pairs were ever compared."
    if "model" in result:
        compared += f" P of all pairs is that of the {result['model']} model, towards which counts are shrunk."
    elif pairs["compared"] < pairs["of"]:
        compared += " A pair never compared counts as a tie."
    return [guarantee, winner, compared]
