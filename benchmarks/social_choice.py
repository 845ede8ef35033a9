"""Preferences, social choice and axioms of rules against NumPy, SciPy (HiGHS), pref_voting, prefsampling, Evalica.

    python -m benchmarks.social_choice [--case CASE ...] [--quick] [--environment NAME=PATH ...] [--out FOLDER]

Cases: maximal lotteries; one large lottery, and share bounds of many alternatives; ballots to P; Bradley-Terry rewards
from comparisons; Mallows rankings; monotonicity checks; the MovieLens experiment whole and cold; and, no race, how
often `bootstrap_intervals` cover the truth. Every side may use the same cores; sides run in turn, each in its own
process and environment; compile time is told apart; answers are compared in the same run.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.command import Cases, run_benchmark
from benchmarks.environments import OURS
from benchmarks.harness import Agreement, Answers, Bench, FailedRunError, Pair, Profile, sides_of
from benchmarks.peers import EVALICA, NUMPY, PREF_VOTING, PREFSAMPLING

PEERS = (NUMPY, PREF_VOTING, PREFSAMPLING, EVALICA)

LEVEL = 0.95

side = sides_of("social_choice")


def maximal_lotteries(bench: Bench, options: argparse.Namespace) -> None:
    """Batches of odd integer margins, so that every game has one equilibrium (Laffond, Laslier and Le Breton)."""
    sizes = [(10, 5)] if options.quick else [(100, 10), (1000, 10), (100, 20), (1000, 20)]
    for batch, alternatives in sizes:
        margins = odd_margins(np.random.default_rng(options.seed), batch, alternatives)
        matrices = (1 + margins / VOTERS) / 2
        final = (batch, alternatives) == (1000, 20)
        bench.race(
            "maximal lotteries",
            {"batch": batch, "alternatives": alternatives},
            {"margins": margins, "matrices": matrices},
            [
                side("jaxval, float64", OURS, "maximal_lottery", items=batch, x64=True),
                side("SciPy HiGHS", NUMPY, "maximal_lottery", items=batch),
                side("pref_voting", PREF_VOTING, "maximal_lottery", items=batch),
                *([side("the path's linear systems", OURS, "path_systems", items=batch, x64=True)] if final else []),
            ],
            profiles=[Profile("jaxval, float64", ["the path's linear systems"], LIMIT_OF_LOTTERIES)] if final else [],
            pairs=[
                Pair("jaxval, float64", "SciPy HiGHS", 25 if final else None),
                Pair("jaxval, float64", "pref_voting", 15 if final else None),
            ],
            compare=same_lotteries,
        )


VOTERS = 1001
LIMIT_OF_LOTTERIES = (
    "LAPACK factors the small systems one after the other, in one thread; the rest proves by an inverse that each "
    "equilibrium is the only one, and computes residuals to twice the precision. Tried without gain: several "
    "corrections in a step (the steps then stall at the boundary), an earlier end of the path (the slowest game saves "
    "one step, and the others lose their proof), residuals by sums instead of a product."
)


def odd_margins(rng: np.random.Generator, batch: int, alternatives: int) -> np.ndarray:
    """Margins of an odd number of voters: skew-symmetric, odd off the diagonal."""
    upper = np.triu(2 * rng.integers(-VOTERS // 2 + 1, VOTERS // 2, size=(batch, alternatives, alternatives)) + 1, k=1)
    return upper - upper.transpose(0, 2, 1)


def same_lotteries(inputs: Answers, ours: Answers, theirs: Answers) -> Agreement:
    return Agreement(np.abs(ours["lotteries"] - theirs["lotteries"]).max(), 1e-6, "in probability")


def large(bench: Bench, options: argparse.Namespace) -> None:
    """One maximal lottery of many alternatives, and share bounds from a NumPy array, checked at the door."""
    alternatives, many = (40, 200) if options.quick else (1000, 10_000)
    margins = odd_margins(np.random.default_rng(options.seed), 1, alternatives)
    bench.race(
        "a large maximal lottery",
        {"alternatives": alternatives},
        {"matrices": (1 + margins / VOTERS) / 2},
        [
            side("jaxval, float64", OURS, "maximal_lottery", items=1, x64=True),
            side("SciPy HiGHS", NUMPY, "maximal_lottery", items=1),
        ],
        pairs=[Pair("jaxval, float64", "SciPy HiGHS", 5 if alternatives == 1000 else None)],
        compare=same_lotteries,
    )
    bench.race(
        "share bounds",
        {"alternatives": many},
        {"seed": np.array(options.seed)},
        [
            side("jaxval", OURS, "share_bounds", items=1, alternatives=many),
            side("NumPy", NUMPY, "share_bounds", items=1, alternatives=many),
        ],
        pairs=[Pair("jaxval", "NumPy")],
        compare=lambda inputs, ours, theirs: Agreement(np.abs(ours["u"] - theirs["u"]).max(), 1e-6, "in share"),
    )


def ballots(bench: Bench, options: argparse.Namespace) -> None:
    """Rankings to P: as a user calls it, from a NumPy array with the check at the door, and the compiled core alone."""
    sizes = [(200, 5)] if options.quick else [(10_000, 10), (100_000, 20)]
    for num, alternatives in sizes:
        rng = np.random.default_rng(options.seed)
        orders = rng.permuted(np.tile(np.arange(alternatives), (num, 1)), axis=1)
        final = (num, alternatives) == (100_000, 20)
        bench.race(
            "ballots to P",
            {"ballots": num, "alternatives": alternatives},
            {"orders": orders},
            [
                side("jaxval", OURS, "preference_matrix", items=num),
                side("NumPy loop", NUMPY, "preference_matrix", items=num, tuned=False),
                side("jaxval, compiled core", OURS, "preference_matrix", items=num, core=True),
                side("NumPy loop, tuned", NUMPY, "preference_matrix", items=num, tuned=True),
                side("pref_voting", PREF_VOTING, "preference_matrix", items=num),
            ],
            pairs=[
                Pair("jaxval", "pref_voting", 50 if final else None),
                Pair("jaxval", "NumPy loop", 6 if final else None),
                Pair("jaxval", "NumPy loop, tuned"),
                Pair("jaxval, compiled core", "NumPy loop, tuned"),
            ],
            compare=same_counts,
        )


def same_counts(inputs: Answers, ours: Answers, theirs: Answers) -> Agreement:
    """In voters: below half a voter every count is the same, and what is left is float32."""
    voters = len(inputs["orders"])
    return Agreement(voters * np.abs(ours["matrix"] - theirs["matrix"]).max(), 0.02, "of a voter")


def strengths(bench: Bench, options: argparse.Namespace) -> None:
    """Comparisons of random pairs, won by the Bradley-Terry model of normal rewards, to the rewards."""
    sizes = [(2_000, 5)] if options.quick else [(100_000, 50), (1_000_000, 50), (1_000_000, 200)]
    for num, alternatives in sizes:
        rng = np.random.default_rng(options.seed)
        rewards, first = rng.normal(size=alternatives), rng.integers(alternatives, size=num)
        second = (first + rng.integers(1, alternatives, size=num)) % alternatives
        won = rng.random(num) < 1 / (1 + np.exp(rewards[second] - rewards[first]))
        bench.race(
            "Bradley-Terry rewards",
            {"comparisons": num, "alternatives": alternatives},
            {"winner": np.where(won, first, second), "loser": np.where(won, second, first)},
            [
                side("jaxval", OURS, "bradley_terry", items=num, alternatives=alternatives),
                side("Evalica", EVALICA, "bradley_terry", items=num),
            ],
            pairs=[Pair("jaxval", "Evalica", 5 if num == 1_000_000 else None)],
            compare=lambda inputs, ours, theirs: Agreement(
                np.abs(ours["rewards"] - theirs["rewards"]).max(), 1e-4, "in log-strength"
            ),
        )


def mallows(bench: Bench, options: argparse.Namespace) -> None:
    """Rankings by repeated insertion, φ = 0.8, from a shuffled center."""
    sizes = [(1000, 5)] if options.quick else [(10_000, 20), (100_000, 20)]
    for num, alternatives in sizes:
        drawn = {"num": num, "dispersion": DISPERSION}
        bench.race(
            "Mallows rankings",
            {"rankings": num, "alternatives": alternatives},
            {"center": np.random.default_rng(options.seed).permutation(alternatives)},
            [
                side("jaxval", OURS, "mallows", items=num, **drawn),
                side("NumPy insertion", NUMPY, "mallows", items=num, **drawn),
                side("prefsampling", PREFSAMPLING, "mallows", items=num, **drawn),
            ],
            pairs=[
                Pair("jaxval", "NumPy insertion", 1 if num == 100_000 else None),
                Pair("jaxval", "prefsampling"),
            ],
            compare=same_distribution,
        )


DISPERSION = 0.8


def same_distribution(inputs: Answers, ours: Answers, theirs: Answers) -> Agreement:
    """The difference of mean Kendall distances from the center, in its standard errors."""
    distances = [kendall_distances(answers["orders"], inputs["center"]) for answers in (ours, theirs)]
    error = np.sqrt(sum(d.var(ddof=1) / len(d) for d in distances))
    return Agreement(abs(distances[0].mean() - distances[1].mean()) / error, 4, "standard errors")


def kendall_distances(orders: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Pairs that each ranking and the center order differently; NaN throughout where a row is no permutation."""
    alternatives = len(center)
    if not np.array_equal(np.sort(orders, axis=1), np.broadcast_to(np.arange(alternatives), orders.shape)):
        return np.full(len(orders), np.nan)
    place = np.argsort(center)[orders]
    return sum(
        np.sum(place[:, [i]] > place[:, i + 1 :], axis=1, dtype=np.int64) for i in range(alternatives - 1)
    ) + np.zeros(len(orders))


def monotonicity(bench: Bench, options: argparse.Namespace) -> None:
    """Profiles of five voters and four alternatives, all lifts of each.

    pref_voting's checker takes rules that elect winners, who share the probability. The nearest to F^β is its limit
    β = inf, minimax, which is monotonic; instant runoff is not, so that verdicts are compared where there are
    violations.
    """
    num, theirs = (50, 20) if options.quick else (20_000, 1000)
    orders = np.random.default_rng(options.seed).permuted(np.tile(np.arange(4), (num, 5, 1)), axis=-1)
    checked = {"items": num, "x64": True}
    bench.race(
        "monotonicity checks",
        {"profiles": num, "voters": 5, "alternatives": 4},
        {"profiles": orders.astype(np.int32)},
        [
            side("F^β, single ballots", OURS, "monotonicity", rule="proportional", moving="ballot", **checked),
            side("F^β, blocs", OURS, "monotonicity", rule="proportional", moving="bloc", **checked),
            side("minimax", OURS, "monotonicity", rule="minimax", moving="ballot", **checked),
            side("minimax by pref_voting", PREF_VOTING, "monotonicity", items=theirs, rule="minimax", only=theirs),
            side("instant runoff", OURS, "monotonicity", rule="instant_runoff", moving="ballot", **checked),
            side(
                "instant runoff by pref_voting",
                PREF_VOTING,
                "monotonicity",
                items=theirs,
                rule="instant_runoff",
                only=theirs,
            ),
        ],
        pairs=[
            Pair("F^β, single ballots", "minimax by pref_voting"),
            Pair("minimax", "minimax by pref_voting"),
            Pair("instant runoff", "instant runoff by pref_voting"),
        ],
        compare=same_verdicts,
        rates={} if options.quick else {"F^β, single ballots": 3e5, "F^β, blocs": 3e5},
    )


def same_verdicts(inputs: Answers, ours: Answers, theirs: Answers) -> Agreement:
    """On the profiles that both have checked."""
    num = min(len(ours["violated"]), len(theirs["violated"]))
    return Agreement(np.sum(ours["violated"][:num] != theirs["violated"][:num]), 0, f"verdicts of {num}")


def movielens(bench: Bench, options: argparse.Namespace) -> None:
    """`python -m experiments.movielens` once, in a fresh process, all of it compiled anew."""
    arguments = ["--data", str(Path(options.data).absolute())] if options.data else []
    if options.quick:
        arguments += ["--episodes", "1", "--comparisons", "1000", "--rules", "14:mean:mean"]
    bench.race(
        "MovieLens experiment",
        {"episodes": 1 if options.quick else 50},
        {},
        [side("python -m experiments.movielens", OURS, "movielens", arguments=arguments)],
        seconds={} if options.quick else {"python -m experiments.movielens": 180},
        repeats=0,
    )


def coverage(bench: Bench, options: argparse.Namespace) -> None:
    """How often 95 % intervals hold the true u and F*: `bootstrap_intervals` and percentile intervals beside it.

    The percentile intervals resample with half counts as well, or plainly with the shares that were seen. P is that of
    1,001 rankings from a Mallows model (φ = 0.8) or of an impartial culture; every pair is compared equally often;
    shares are over draws of all comparisons, mean and least over the alternatives.
    """
    draws, samples = (5, 40) if options.quick else (200, 400)
    for alternatives in (5,) if options.quick else (5, 20):
        for population, dispersion in (("Mallows", DISPERSION), ("impartial culture", 1.0)):
            inputs = compared_draws(np.random.default_rng(options.seed), alternatives, dispersion, draws)
            for compared in PER_PAIR:
                cell = {"compared": compared, "samples": samples, "level": LEVEL}
                measured = {}
                for way in WAYS:
                    title = f"coverage, {population}, alternatives {alternatives}, {compared} a pair, {way}"
                    bench.tell(title)
                    one = side(title, OURS, "coverage", x64=True, way=way, **cell)
                    try:
                        measured[way] = of_statistics(bench.once(one, inputs))
                    except FailedRunError as error:
                        measured[way] = {"failed": str(error)}
                sizes = {"population": population, "alternatives": alternatives, "comparisons a pair": compared}
                bench.add({"case": "coverage", "sizes": sizes, "draws": draws, **cell, "measured": measured})


PER_PAIR = (10, 50, 500)
WAYS = ("bootstrap_intervals", "half counts", "plain")


def compared_draws(rng: np.random.Generator, alternatives: int, dispersion: float, draws: int) -> Answers:
    """P of a population and, for every number of comparisons a pair, counts of wins drawn from it."""
    place = np.zeros((alternatives, VOTERS), dtype=int)
    for i in range(1, alternatives):
        chances = dispersion ** np.arange(i + 1)
        place[i] = i - rng.choice(i + 1, size=VOTERS, p=chances / chances.sum())
        place[:i] += place[:i] >= place[i]
    matrix = np.mean(place[:, None] < place[None, :], axis=-1) + np.eye(alternatives) / 2
    inputs = {"matrix": matrix}
    for compared in PER_PAIR:
        upper = np.triu(rng.binomial(compared, matrix, size=(draws, *matrix.shape)), k=1)
        lower = np.tril(compared - upper.transpose(0, 2, 1), k=-1)
        inputs[f"wins_{compared}"] = upper + lower
    return inputs


def of_statistics(answers: Answers) -> dict[str, Any]:
    return {
        name: {"mean": float(covers.mean()), "least": float(covers.min()), "width": float(width.mean())}
        for name, covers, width in zip(("u", "F*"), answers["covers"], answers["width"], strict=True)
    }


def show_coverage(records: list[dict[str, Any]], console: Console) -> None:
    """A row for every cell of the grid."""
    cells = [record for record in records if record["case"] == "coverage"]
    if not cells:
        return
    table = Table(title=f"coverage of {LEVEL:.0%} bootstrap intervals: mean (least) over alternatives; mean width")
    for name in ("population", "M", "a pair", "statistic"):
        table.add_column(name)
    for way in WAYS:
        table.add_column(way, justify="right")
        table.add_column("width", justify="right")
    for cell in cells:
        for statistic in ("u", "F*"):
            row = []
            for way in WAYS:
                found = cell["measured"][way].get(statistic)
                row += [f"{found['mean']:.2f} ({found['least']:.2f})", f"{found['width']:.3f}"] if found else ["", ""]
            table.add_row(*map(str, cell["sizes"].values()), statistic, *row)
        table.add_section()
    console.print(table)


CASES: Cases = {
    "lotteries": maximal_lotteries,
    "large": large,
    "ballots": ballots,
    "strengths": strengths,
    "mallows": mallows,
    "monotonicity": monotonicity,
    "movielens": movielens,
    "coverage": coverage,
}

main = partial(run_benchmark, "social_choice", __doc__, CASES, PEERS, also_show=show_coverage, data=True)

if __name__ == "__main__":
    sys.exit(main())
