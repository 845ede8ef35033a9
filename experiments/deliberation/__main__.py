"""Deliberations and a leaderboard: what F*, maximal lotteries and Borda give each group, and how sure that is.

    python -m experiments.deliberation [--poll NAME ...] [--quick] [--data FOLDER] [--out FOLDER] [--json]

Three Polis conversations between opinion groups, four questions on campus protests between parties, and votes of
workers on language models, where prompts stand for groups. For every rule: the win rate within each group of a lottery
made of one half of the voters and judged by the other half, with 95 % intervals over voters (for language models over
workers and prompts), beside its rate in the same votes; the probability of each group's favourites beside its share,
the level of proportionality by the groups and over β; which majorities are certain; position bias. In Polis'
conversations also its group-informed consensus, where it disagrees with F*, and why. The win rate is that over a
uniform draw in conversations, where nearly all pairs were compared, and the share of votes won elsewhere.

Written to `--out`: `results.json` and two figures. Finished polls are kept, so that a run that was interrupted goes on.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.commands import documented_parser, guarded, natural, progress
from experiments.deliberation import figures
from experiments.deliberation.measures import Size, measure
from experiments.deliberation.polls import POLLS
from experiments.results import open_results, save_results
from jaxval._errors import json_text, without_controls
from jaxval.plots._drawing import short

NAMED = 40  # characters of a statement in tables


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment; the exit status is 0, 2 if input is wrong or missing, 130 if interrupted."""
    kept = "polls that were finished are kept, and the same command goes on after them"
    return guarded(run, parse(arguments), kept=kept, without_data="there is none; python -m experiments.figures")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = documented_parser("experiments.deliberation", __doc__)
    parser.add_argument("--poll", nargs="+", choices=list(POLLS), default=list(POLLS), metavar="NAME", help="(all)")
    parser.add_argument("--quick", action="store_true", help="few resamples, to see that it runs")
    parser.add_argument("--seed", type=natural, default=0, metavar="N", help="random seed (default: %(default)s)")
    parser.add_argument("--data", metavar="FOLDER", help="folder of data sets (default: $JAXVAL_DATA, then data)")
    parser.add_argument(
        "--out", type=Path, default=Path("results", "deliberation"), metavar="FOLDER", help="(%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the results alone, as JSON, on standard output")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, notes: Console) -> None:
    """Measure the polls that are not finished yet, and write and print the results."""
    size = Size(samples=20 if options.quick else 200)
    configuration = {**size._asdict(), "seed": options.seed, "precision": "float64"}
    results, said = open_results(options.out, "deliberation", configuration)
    if said:
        notes.print(said, markup=False)
    asked = list(dict.fromkeys(options.poll))
    todo = [name for name in asked if name not in results["runs"]]
    with progress(notes) as bar:
        task = bar.add_task("polls", total=len(todo))
        for name in todo:
            bar.update(task, description=name)
            results["runs"][name] = measure(POLLS[name](options.data), size, options.seed)
            bar.advance(task)
            save_results(options.out, results)
    shown = {name: results["runs"][name] for name in asked}
    save_results(options.out, results)
    drawn = draw(options.out, shown, notes)
    if options.json:
        print(json_text({**results, "runs": shown}))
    else:
        show(shown, Console(width=max(Console().width, 110)))
    notes.print(f"written to {options.out}: {', '.join(['results.json', *drawn])}", markup=False)


def draw(folder: Path, runs: dict[str, Any], notes: Console) -> list[str]:
    try:
        drawn = {"groups.png": figures.plot_groups(runs)}
        if any("consensus" in run for run in runs.values()):
            drawn["consensus.png"] = figures.plot_consensus(runs)
        for name, figure in drawn.items():
            figure.savefig(folder / name, dpi=200)
        return list(drawn)
    except ImportError as error:
        notes.print(f"no figures: {error}", markup=False)
        return []


def show(runs: dict[str, Any], console: Console) -> None:
    """Print a table for each poll, and sentences on what follows from it."""
    for name, poll in runs.items():
        table = Table(title=name, title_justify="left")
        few = len(poll["groups"]) <= 3
        groups = [group.replace("opinion ", "") for group in poll["groups"]] if few else []
        table.add_column("rule", no_wrap=True)
        table.add_column("same\nvotes", no_wrap=True)
        table.add_column("other voters:\nall", no_wrap=True)
        for group, share in zip(groups, poll["shares"], strict=False):
            table.add_column(f"{escape(short(group.partition('/')[0], NAMED))}\n{share:.0%}", no_wrap=True)
        table.add_column("level\nα", no_wrap=True)
        for rule, entry in poll["rules"].items():
            rates = [_ends(entry["win_rates"], i) for i in range(len(groups))]
            same = _share(entry["same_votes"]["win_rate"])
            name = rule.replace("maximal lottery", "maximal l.")
            table.add_row(name, same, _ends(entry["win_rate"]), *rates, _share(entry["level"]))
        console.print(table)
        for line in sentences(poll):
            console.print(without_controls(line), markup=False, highlight=False, soft_wrap=True)
        console.print()


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}".replace("0.", ".", 1)


def _ends(interval: dict[str, Any], at: int | None = None) -> str:
    estimate, low, high = (
        _share(interval[end] if at is None else interval[end][at]) for end in ("estimate", "low", "high")
    )
    return f"{estimate} [{low}, {high}]"


def sentences(poll: dict[str, Any]) -> list[str]:
    """What the numbers of a poll say."""
    pairs, certain = poll["pairs"], poll["majorities"]
    lines = [
        f"{poll['alternatives']} alternatives, {poll['voters']} voters; {pairs['compared']:,} of {pairs['of']:,} pairs "
        f"were compared, half of them by at most {poll['votes_per_compared_pair']:g} votes.",
        f"{certain['certain']:,} of {certain['pairs']:,} majorities are certain; the estimate has a top cycle of "
        f"{certain['top_cycle']}; "
        + (f"a certain cycle: {' > '.join(certain['cycle'])}." if certain["cycle"] else "no cycle is certain."),
    ]
    if "order" in poll:
        order = poll["order"]
        lines.append(
            f"The left side wins {_ends(order['first_wins'])} of comparisons; over {order['swapped']} pairs shown both "
            f"ways, an alternative wins more often on the left by {_ends(order['bias'])}."
        )
    if "consensus" in poll:
        found = poll["consensus"]
        correlations = ", ".join(f"{name} {value:.2f}" for name, value in found["rank_correlation"].items())
        lines.append(f"Rank correlations: {correlations}.")
        if not found["same_winner"]:
            lines.append(f"Winners: {'; '.join(f'{rule}: {text[:90]}' for rule, text in found['winners'].items())}")
        for row in found["largest_gaps"][:3]:
            agreed = " and ".join(f"{part:.0%}" for part in row["agreed"])
            lines.append(
                f"  {row['statement'][:NAMED]!r}: {row['rank_by_consensus']} by consensus, {row['rank_by_bound']} "
                f"by u, {row['rank_by_bound_if_groups_weigh_the_same']} if groups weigh the same; {agreed} agree; "
                f"its rival {row['rival'][:NAMED]!r} has {1 - row['bound']:.0%} of {row['votes_on_that_pair']:g} "
                f"votes: {row['reason']}."
            )
    return lines


if __name__ == "__main__":
    sys.exit(main())
