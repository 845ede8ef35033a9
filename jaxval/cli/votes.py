"""`jaxval aggregate`: from ballots or comparisons to lotteries, with a guarantee."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxval._errors import BadArgument, json_text
from jaxval.cli import votes_report
from jaxval.cli._folders import check_written
from jaxval.cli._words import count, naming_options

if TYPE_CHECKING:
    from jaxval.data.records import Votes

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
TOP = 20
FILES = """\
FILE is a PrefLib file (.soc, .soi, .toc, .toi); a CSV of rankings, one ballot a row (columns 1, 2, ... with names,
best first, or a column per alternative with its rank; optional count); a CSV of comparisons (columns winner and
loser, or left, right and winner, or model_a, model_b and winner; optional context, tie, count); a CSV of votes on
statements as Polis exports them (column participant, a column per statement with 1, 0, -1 or nothing); JSON of items
that several annotators judged, as PandaLM's; or a folder with MovieLens 1M (its 20 most rated movies). Without one, a
textbook election. Tables may have columns voter and group (or those that --voter and --group name): voters then count
as one in intervals, and the report tells what each rule gives each group.

In the table u is the largest share of voters whose first choice an alternative can be, with its 95 % interval where
P is estimated; a dot is exactly zero; a dagger marks fewer than 10 votes."""


def aggregate(
    votes: "Votes",
    *,
    rules: tuple[str, ...] = tuple(RULES),
    beta: float = 0.0,
    unranked: str = "below",
    unseen: str = "tie",
    equal: str = "half",
    each: str = "pair",
    by: str | None = None,
    least_votes: int = 0,
    texts: dict[str, str] | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """The result of `jaxval aggregate` for votes of any kind, as plain numbers.

    Args:
        votes: `data.Election`, `data.NamedComparisons` or `data.VoteMatrix`.
        rules: names of rules; random dictatorship is left out if the votes are not ballots.
        beta: β of F^β.
        unranked: how ballots with unranked alternatives are read; see `preferences.ballot_wins`.
        unseen: what P is for pairs that were never compared; see `preferences.complete_matrix`.
        equal: how equal votes of a voter on two statements are read; see `preferences.vote_wins`.
        each: whether each pair or each voter counts as one; see `preferences.vote_wins`.
        by: "context" gives a result for each context of comparisons; None gives one of all votes.
        least_votes: alternatives with fewer votes are left out.
        texts: what alternatives say, by name.
        progress: whether a progress bar goes to standard error.

    Returns:
        A dictionary that `json.dumps` takes: `alternatives` (each with its votes, its share bound u and a probability
        for each rule), `win_rates`, `winners`, `levels`, `groups`, `certificate`, `pairs`, `condorcet_winner`,
        `top_cycle`, and how many votes were read. With `by`, `by_context` holds one such dictionary for each context,
        and `pooled` that of all votes if contexts share alternatives.

    Raises:
        ValueError: if the name of a rule or an option is unknown, or there is nothing left to aggregate.

    Example:
        >>> from jaxval.data import textbook_election
        >>> result = aggregate(textbook_election(), rules=("proportional", "maximal-lottery"))
        >>> result["condorcet_winner"], result["win_rates"]["maximal-lottery"] > result["win_rates"]["proportional"]
        ('Eve', True)
    """
    from jaxval import _checks, social_choice
    from jaxval.cli import _votes_counts, _votes_facts
    from jaxval.parallel import progress as progress_bar

    for rule in rules:
        _checks.check_choice("rule", rule, RULES)
    of_matrix: dict[str, Any] = {
        "proportional": lambda matrix: social_choice.proportional(matrix, beta=beta),
        "borda": social_choice.maximal_borda,
        "maximal-lottery": social_choice.maximal_lottery,
        "minimax": social_choice.minimax,
        "proportional-borda": social_choice.proportional_borda,
        "c1-lottery": social_choice.c1_maximal_lottery,
        "dictatorship": None,
    }
    if by is not None:  # contexts differ in their numbers of alternatives
        for rule in ("maximal-lottery", "c1-lottery"):
            of_matrix[rule] = _votes_facts.in_steps(of_matrix[rule])
    reading = _votes_counts.Reading(unranked, unseen, equal, each)

    def described(votes: "Votes", advance: Callable[[int], None]) -> dict[str, Any]:
        kept = _votes_counts.votes_each(votes) >= least_votes
        if not kept.all():
            votes = _votes_counts.keep_alternatives(votes, kept)
        result = _votes_facts.describe(
            votes,
            {rule: of_matrix[rule] for rule in rules},
            beta=beta,
            reading=reading,
            texts=texts or {},
            advance=advance,
        )
        return {**result, "left_out": int((~kept).sum()), "least_votes": least_votes}

    if by is not None:
        _checks.check_choice("by", by, ("context",))
    parts = {} if by is None else _votes_counts.by_context(votes)
    pooled = by is None or sum(len(part.names) for part in parts.values()) > len(votes.names)
    steps = (len(parts) + pooled) * _votes_facts.steps(rules)
    with progress_bar(progress, steps, "counts, rules, intervals") as advance:
        by_context = [described(part, advance) for part in parts.values()]
        of_all = described(votes, advance) if pooled else None
    if by is None:
        assert of_all is not None
        return of_all
    result = {"title": votes.title, "by": by, "by_context": by_context}
    return {**result, "pooled": of_all} if pooled else result


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
    command.add_argument(
        "--equal",
        choices=("half", "ignored"),
        default="half",
        help="how equal votes of a voter on two statements are read: half a win each way (half, the default), or not "
        "at all (ignored)",
    )
    command.add_argument(
        "--each",
        choices=("pair", "voter"),
        default="pair",
        help="what counts as one in votes on statements: each pair that a voter saw (pair, the default), or all "
        "pairs of a voter together (voter)",
    )
    command.add_argument("--voter", metavar="COLUMN", help="the column with the voters' names; see above for the usual")
    command.add_argument("--group", metavar="COLUMN", help="the column with the groups of voters; see above")
    command.add_argument("--by", choices=("context",), help="a result for each context, such as a prompt or question")
    command.add_argument(
        "--names", type=Path, metavar="CSV", help="what the alternatives say: comment-id, comment-body"
    )
    command.add_argument(
        "--least-votes", type=count, default=0, metavar="N", help="leave out alternatives with fewer than N votes"
    )
    command.add_argument("--top", type=count, default=TOP, metavar="K", help=f"rows of the table (default: {TOP})")
    command.add_argument("--json", action="store_true", help="print the whole result, as JSON, on standard output")
    command.add_argument("--csv", type=Path, metavar="CSV", help="write all alternatives as a table there")
    command.add_argument("--report", type=Path, metavar="HTML", help="write a page with tables and figures there")
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

    check_written(arguments, figure=".png", csv=".csv", report=".html")
    if arguments.file == "":
        raise BadArgument("FILE", expected="a file or a folder", got="an empty name")
    if arguments.file:
        with naming_options():
            votes = data.read_votes(arguments.file, voter=arguments.voter, group=arguments.group)
    else:
        for option in ("voter", "group"):
            if getattr(arguments, option) is not None:
                raise BadArgument(f"--{option}", expected="a FILE with such a column", got="no FILE")
        votes = data.textbook_election()
    _check_readings(votes, arguments)
    rules = tuple(dict.fromkeys(arguments.rule or RULES))
    if rules == ("dictatorship",) and not isinstance(votes, data.Election):
        raise BadArgument("--rule dictatorship", expected="ballots", got="comparisons, which do not tell first choices")
    texts = data.read_texts(arguments.names, votes.names) if arguments.names else ()
    with naming_options():
        result = aggregate(
            votes,
            rules=rules,
            beta=arguments.beta,
            unranked=arguments.unranked,
            unseen=arguments.unseen,
            equal=arguments.equal,
            each=arguments.each,
            by=arguments.by,
            least_votes=arguments.least_votes,
            texts=dict(zip(votes.names, texts, strict=False)),
            progress=sys.stderr.isatty(),
        )
    _write(result, arguments)
    if arguments.json:
        print(json_text(result))
    else:
        votes_report.print_result(result, top=arguments.top)
    return 0


def _check_readings(votes: Any, arguments: argparse.Namespace) -> None:
    """Raise if an option says how something is read that these votes do not have."""
    from jaxval import data

    if isinstance(votes, data.Election):
        kind, useless = "ballots, which compare all that they rank", {"unseen": "tie", "equal": "half", "each": "pair"}
    elif isinstance(votes, data.VoteMatrix):
        kind, useless = "votes on statements, which rank nothing", {"unranked": "below"}
    else:
        kind = "comparisons of two alternatives each"
        useless = {"unranked": "below", "equal": "half", "each": "pair"}
    for option, default in useless.items():
        if getattr(arguments, option) != default:
            raise BadArgument(f"--{option}", expected="votes that it can change", got=kind, advice="leave it out")


def _write(result: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Write the files that were asked for."""
    from jaxval.checkpoints.files import whole_file, write_whole

    if arguments.figure is not None:
        if "by_context" in result:
            raise BadArgument(
                "--figure", expected="one pool of votes", got="--by", advice="--report draws every context"
            )
        from jaxval.cli.votes_page import draw

        with whole_file(arguments.figure) as draft:
            draw(result, top=arguments.top).savefig(draft, format="png", dpi=200, bbox_inches="tight")
        print(f"figure written to {arguments.figure}", file=sys.stderr)
    if arguments.csv is not None:
        write_whole(arguments.csv, votes_report.table_text(result))
        print(f"table written to {arguments.csv}", file=sys.stderr)
    if arguments.report is not None:
        from jaxval.cli.votes_page import page

        write_whole(arguments.report, page(result, top=arguments.top, command=arguments.words))
        print(f"report written to {arguments.report}", file=sys.stderr)
