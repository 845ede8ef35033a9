"""Which ranking rule comes nearest to the paper's movies: an exploration, to state what was tried.

    python -m experiments.movielens_search [--data FOLDER] [--out FOLDER] [--episodes 10]

Every K from 8 to 18, every way to place unrated movies and to break ties, and rankings by low-rank predictions of
several ranks and penalties: the number of evaluators, and the paper's win rates, PPA level and mean u, on P̂ as in
`experiments.movielens` but without the gains. Sorted by the mean relative distance from the paper's figures. The
default rank and penalty of `experiments.evaluators` were chosen after such a search; nothing else was.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from experiments import comparison
from experiments.commands import guarded, positive, progress
from experiments.episodes import draw, policies, ppa_level
from experiments.evaluators import DEFAULT, TIES, UNRATED, Completion, RankingRule, rank_evaluators
from experiments.movielens import WITHOUT_DATA, add_options, movie_ratings
from experiments.results import save_results, versions
from jaxval.preferences import first_choice_shares, preference_matrix
from jaxval.social_choice import share_bounds, win_rate_over_uniform

AT_LEAST = range(8, 19)
RANKS, PENALTIES = (2, 3, 4, 5, 6, 8), (0.02, 0.05, 0.1)
COMPARISONS = 100_000
NEAREST = 20  # in the printed table


def main(arguments: list[str] | None = None) -> int:
    """Run the search and return the exit status, as `experiments.movielens` does."""
    parser = argparse.ArgumentParser(prog="python -m experiments.movielens_search", description=__doc__.split("\n")[0])
    add_options(parser)
    parser.add_argument(
        "--episodes",
        type=positive,
        default=10,
        metavar="N",
        help="number of episodes for each ranking rule (default: %(default)s)",
    )
    return guarded(search, parser.parse_args(arguments), kept="the search starts anew", without_data=WITHOUT_DATA)


def search(options: argparse.Namespace, notes: Console) -> None:
    """Try all rules, write all results and print those of the nearest rules."""
    table, names, digest = movie_ratings(options)
    choices = [
        (RankingRule(at_least, *words), completion)
        for at_least in AT_LEAST
        if at_least <= options.alternatives
        for words, completion in [
            *(((unrated, ties), DEFAULT) for unrated in UNRATED for ties in TIES),
            *((("predictions",), Completion(rank, penalty)) for rank in RANKS for penalty in PENALTIES),
        ]
    ]
    keys = jax.random.split(jax.random.key(options.seed), options.episodes)
    found = []
    with progress(notes) as bar:
        for rule, completion in bar.track(choices, description="rules"):
            orders = rank_evaluators(table, rule, completion=completion, seed=options.seed)
            distinct = len(np.unique(orders, axis=0))
            matrix, shares = preference_matrix(orders), first_choice_shares(orders)
            figures = {"evaluators": len(orders), **jax.tree.map(float, rates(keys, matrix, shares))}
            settings = {"rank": completion.rank, "penalty": completion.penalty} if "predictions" in rule else {}
            found.append(
                {
                    "rule": str(rule),
                    **settings,
                    "distinct_rankings": distinct,
                    "figures": figures,
                    "distance": comparison.distance(figures),
                }
            )
    found.sort(key=lambda one: one["distance"])
    configuration = {
        "episodes": options.episodes,
        "comparisons": COMPARISONS,
        "alternatives": options.alternatives,
        "seed": options.seed,
        "ratings": digest,
        "precision": "float64",
    }
    results = {
        "experiment": "movielens_search",
        "configuration": configuration,
        "versions": versions(),
        "names": list(names),
        "paper": comparison.PAPER,
        "rules": found,
    }
    path = save_results(options.out or Path("results", "movielens-search"), results)
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        show(found, Console(width=max(Console().width, 140)))
    notes.print(f"written to {path}", markup=False)


@jax.jit
def rates(keys: jax.Array, matrix: jax.Array, shares: jax.Array) -> dict[str, jax.Array]:
    """The reported figures without the gains, means over one episode for each key."""
    estimates = jax.lax.map(partial(draw, matrix=matrix, comparisons=COMPARISONS), keys)
    each = policies(estimates, jnp.array([0.0, 1e4]))
    lotteries = jnp.mean(each, axis=0)  # win rates are linear in them
    sharpest, rlhf, nlhf = lotteries[1], lotteries[3], lotteries[4]
    return {
        "win_rate_rlhf": win_rate_over_uniform(matrix, rlhf),
        "win_rate_nlhf": win_rate_over_uniform(matrix, nlhf),
        "win_rate_beta_0": win_rate_over_uniform(matrix, lotteries[0]),
        "win_rate_beta_max": win_rate_over_uniform(matrix, sharpest),
        "ppa_beta_0": jnp.mean(jax.vmap(ppa_level, in_axes=(0, None))(each[:, 0], shares)),
        "mean_bound": jnp.mean(jax.vmap(share_bounds)(estimates)),
    }


def show(found: list[dict], console: Console) -> None:
    """Print the nearest rules beside the paper's figures."""
    labels = comparison.LABELS
    table = Table(
        "rule",
        "distinct",
        *labels.values(),
        "distance",
        title=f"The nearest {NEAREST} of {len(found)} rules (and minus the paper's)",
        box=box.SIMPLE_HEAD,
    )
    table.columns[0].no_wrap = True
    table.add_row("paper", "", *(f"{value:g}" for value in comparison.PAPER.values()), "", end_section=True)
    for one in found[:NEAREST]:
        settings = f" ({one['rank']}, {one['penalty']})" if "rank" in one else ""
        cells = [comparison.beside(one["figures"][key], comparison.PAPER[key]) for key in labels]
        table.add_row(one["rule"] + settings, str(one["distinct_rankings"]), *cells, f"{one['distance']:.3f}")
    console.print(table)
    counts = {one["distinct_rankings"] for one in found} | {one["figures"]["evaluators"] for one in found}
    nearest = min(counts, key=lambda count: abs(count - comparison.PAPER["evaluators"]))
    console.print(
        f"The number of evaluators, or of distinct rankings, nearest to the paper's 1,297: {nearest:,}.",
        highlight=False,
    )


if __name__ == "__main__":
    sys.exit(main())
