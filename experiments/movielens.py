"""Movies: section 5.1 and Figure 2 of Kim et al. on MovieLens 1M, under several ways to make rankings of its ratings.

    python -m experiments.movielens [--data FOLDER] [--out FOLDER] [--rules RULE ...] [--synthetic] [--json]
    python -m experiments.movielens --policy linear|transformer [--episodes N] [--out FOLDER] [--json]

Twenty most-rated movies; 50 episodes, each of 10^5 comparisons drawn from P. For F^β over a grid of β, RLHF (maximal
Borda of P̂), NLHF (a maximal lottery of P̂) and minimax: win rate against uniform, level of population-proportional
alignment, gain by manipulation, with standard deviations over the episodes; for every ranking rule the paper's figures
beside them. The paper does not say how it got its 1,297 rankings: `experiments.evaluators` states the rules,
`experiments.misreports` the families of misreports, `experiments.movielens_search` looks for the nearest rule.

With --policy, F^β is learned for six groups of users, over movies that are known by genres and decade alone, under the
first ranking rule: `experiments.movielens_policies`.

Written to `--out`: `results.json`, and a figure for every ranking rule. Rules that are finished are kept, so that a run
that was interrupted goes on where it was.
"""

import argparse
import hashlib
import json
import math
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from experiments import comparison
from experiments.commands import guarded, natural, positive, progress
from experiments.episodes import episode, measure, population, summary
from experiments.evaluators import DEFAULT, Completion, RankingRule, rank_evaluators
from experiments.misreports import FAMILIES
from experiments.movielens_policies import EPISODES, POLICIES, run_policies
from experiments.results import open_results, save_results
from jaxval.data import data_folder, rating_table, read_movielens, synthetic_mallows_mixture
from jaxval.plots import plot_tradeoff
from jaxval.social_choice import share_bounds

BETAS = (0.0, *(10.0 ** (i / 4) for i in range(-8, 17)))
RULES = ("14:predictions", "14:low-rank:low-rank", "14:mean:mean", "14:mean:random", "14:last:mean", "14:random:random")
WITHOUT_DATA = "python -m experiments.movielens --synthetic"
SYNTHETIC = {"groups": 5, "dispersion": 0.8}


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment and return the exit status: 0, 2 for input that is wrong or missing, 130 if interrupted."""
    kept = "rules that were finished are kept, and the same command goes on after them"
    return guarded(run, parse(arguments), kept=kept, without_data=WITHOUT_DATA)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.movielens",
        description=__doc__.split("\n")[0],
    )
    add_options(parser)
    parser.add_argument(
        "--policy", choices=POLICIES, help="learn F^β over genres for groups of users, by a policy of this kind"
    )
    parser.add_argument(
        "--episodes",
        type=positive,
        metavar="N",
        help="number of episodes for each ranking rule (default: 50; "
        + ", ".join(f"{name} {number}" for name, number in EPISODES.items())
        + ")",
    )
    parser.add_argument(
        "--comparisons",
        type=positive,
        default=100_000,
        metavar="N",
        help="number of comparisons in each episode (default: %(default)s)",
    )
    parser.add_argument(
        "--rules",
        nargs="+",
        type=ranking_rule,
        default=[RankingRule.parse(text) for text in RULES],
        metavar="RULE",
        help="K:UNRATED:TIES or K:predictions, as experiments/evaluators.py explains (default: "
        + " ".join(RULES)
        + ")",
    )
    parser.add_argument(
        "--rank",
        type=positive,
        default=DEFAULT.rank,
        metavar="N",
        help="rank of the low-rank completion (default: %(default)s)",
    )
    parser.add_argument(
        "--penalty",
        type=penalty,
        default=DEFAULT.penalty,
        metavar="X",
        help="ridge penalty of the completion (default: %(default)s)",
    )
    parser.add_argument(
        "--synthetic", action="store_true", help="draw voters from a Mallows mixture instead of reading MovieLens"
    )
    parser.add_argument(
        "--voters",
        type=positive,
        default=1323,
        metavar="N",
        help="number of voters of the Mallows mixture (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    options.episodes = options.episodes or EPISODES.get(options.policy, 50)
    return options


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every experiment on the movies takes."""
    parser.add_argument("--data", metavar="FOLDER", help="the folder of data sets (default: $JAXVAL_DATA, then data)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="the folder for results (default: results/NAME)")
    parser.add_argument(
        "--alternatives", type=positive, default=20, metavar="N", help="number of movies (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=natural,
        default=0,
        metavar="N",
        help="random seed of everything that is drawn (default: %(default)s)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the results as JSON, and nothing else, on standard output"
    )


def penalty(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive number; got {text!r}")
    return value


def ranking_rule(text: str) -> RankingRule:
    try:
        return RankingRule.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(options: argparse.Namespace, notes: Console) -> None:
    """Read or make the voters, do the runs that are not finished yet, and write and print the results."""
    if options.alternatives < 2:
        raise ValueError("--alternatives: expected at least 2; got 1")
    if not options.synthetic and (most := max(rule.at_least for rule in options.rules)) > options.alternatives:
        raise ValueError(
            f"--rules: expected rules that ask for at most {options.alternatives} rated movies, all there are; "
            f"got {most}; pass other rules"
        )
    if options.policy:
        run_policies(options, notes)
        return
    completion = Completion(options.rank, options.penalty)
    configuration: dict[str, Any] = {
        "episodes": options.episodes,
        "comparisons": options.comparisons,
        "alternatives": options.alternatives,
        "seed": options.seed,
        "betas": list(BETAS),
        "precision": "float64",
    }
    if options.synthetic:
        names, makers = synthetic(options)
        configuration |= {"source": "Mallows mixture", "voters": options.voters, **SYNTHETIC}
    else:
        names, makers, digest = movielens(options, completion)
        configuration |= {"source": "MovieLens 1M", "ratings": digest, "completion": completion._asdict()}
    folder = options.out or Path("results", "movielens-synthetic" if options.synthetic else "movielens")
    results, found = open_results(folder, "movielens", configuration)
    if found:
        notes.print(found, markup=False)
    results["names"] = list(names)
    if not options.synthetic:
        results["paper"] = {**comparison.PAPER, "gain": comparison.GAINS}
    todo = {name: maker for name, maker in makers.items() if name not in results["runs"]}
    folder.mkdir(parents=True, exist_ok=True)
    with progress(notes) as bar:
        task = bar.add_task("episodes", total=len(todo) * options.episodes)
        for name, (sentence, maker) in todo.items():
            bar.update(task, description=name)
            notes.print(f"{name}: {sentence}", markup=False)
            orders = maker()
            results["runs"][name] = one_run(orders, sentence, options, partial(bar.advance, task))
            save_results(folder, results)
    shown = {name: results["runs"][name] for name in makers}
    drawn = draw_figures(folder, shown, notes)
    if options.json:
        print(json.dumps({**results, "runs": shown}, indent=1, allow_nan=False))
    else:
        comparison.show(shown, Console(width=max(Console().width, 120)), paper=not options.synthetic)
    notes.print(f"written to {folder}: {', '.join(['results.json', *drawn])}", markup=False)


def movie_ratings(options: argparse.Namespace) -> tuple[np.ndarray, tuple[str, ...], str]:
    """The (users, movies) table of the most-rated movies, their titles, and a digest of the table."""
    ratings = read_movielens(data_folder("ml-1m", path=options.data))
    table, names = rating_table(ratings, alternatives=options.alternatives)
    table = np.asarray(table, dtype=float)
    return table, names, hashlib.sha256(np.nan_to_num(table).astype(np.int8).tobytes()).hexdigest()[:16]


def movielens(options: argparse.Namespace, completion: Completion) -> tuple[tuple[str, ...], dict, str]:
    """The titles, for each rule a sentence and a function that makes its rankings, and a digest of the ratings."""
    table, names, digest = movie_ratings(options)

    def maker(rule: RankingRule) -> tuple:
        sentence = rule.describe(options.alternatives)
        return sentence, lambda: rank_evaluators(table, rule, completion=completion, seed=options.seed)

    return names, {str(rule): maker(rule) for rule in options.rules}, digest


def synthetic(options: argparse.Namespace) -> tuple[tuple[str, ...], dict]:
    """The same for a Mallows mixture."""
    sizes = {"alternatives": options.alternatives, "voters": options.voters}
    profile, names = synthetic_mallows_mixture(jax.random.key(options.seed), **sizes, **SYNTHETIC)
    sentence = (
        f"{options.voters} voters of a Mallows mixture of {SYNTHETIC['groups']} groups, φ = {SYNTHETIC['dispersion']}"
    )
    return names, {"synthetic": (sentence, lambda: profile.orders)}


def one_run(orders: Any, sentence: str, options: argparse.Namespace, advance: Any) -> dict[str, Any]:
    """All episodes on one profile, and the same measures with P in place of P̂, the limit of many comparisons."""
    started = time.perf_counter()
    truth, betas = population(orders), jnp.array(BETAS)
    bounds = share_bounds(truth.matrix)
    measures = []
    for i in range(options.episodes):
        key = jax.random.fold_in(jax.random.key(options.seed), i)
        measures.append(jax.device_get(episode(key, truth, betas, comparisons=options.comparisons)))
        advance()
    entry = {
        "rule": sentence,
        "evaluators": len(orders),
        "distinct_rankings": len(np.unique(np.asarray(orders), axis=0)),
        "groups_with_members": int((truth.shares > 0).sum()),
        "shares": truth.shares.tolist(),
        "bounds": bounds.tolist(),
        "betas": list(BETAS),
        **summary(measures),
        "population": summary([jax.device_get(measure(truth.matrix, truth, betas))]),
    }
    entry["figures"] = comparison.figures(entry)
    entry["gain_figures"] = {family: comparison.gain_figures(entry, family) for family in FAMILIES}
    if not options.synthetic:
        entry["distance"] = comparison.distance(entry["figures"])
        entry["gain_distance"] = {name: comparison.gain_distance(gain) for name, gain in entry["gain_figures"].items()}
    entry["orderings"] = comparison.orderings(entry)
    entry["seconds"] = time.perf_counter() - started
    return entry


def draw_figures(folder: Path, runs: dict[str, Any], notes: Console) -> list[str]:
    """A figure of two panels for every run."""
    names = []
    try:
        for name, run in runs.items():
            file = f"tradeoff-{name.replace(':', '-')}.png"
            plot_tradeoff(run, title=f"{name}: {run['rule']}").savefig(folder / file, dpi=200)
            names.append(file)
    except ImportError as error:
        notes.print(f"no figures: {error}", markup=False)
    return names


if __name__ == "__main__":
    sys.exit(main())
