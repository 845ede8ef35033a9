"""`experiments.movielens --policy`: F^β for groups of users over movies that a policy knows by genres and decade alone.

The contexts are six groups of users, by gender and age; the responses are the movies. Comparisons are drawn from the P
of each group. A policy that sees movies by their features, and groups by gender and age, learns from all groups
together, and has an answer for a group without comparisons. Beside it stand

exact      F^β of the group's true P
own        F^β of the group's own comparisons, which knows every movie by name
others     F^β of all comparisons of the other groups together, the answer to a new group without features
features   the policy, trained on all groups
new group  the policy, trained on the other groups

linear        features are genres and decade, and their products with gender and age; solved to the optimum
transformer   a group is two tokens, a movie its genres and its decade

Win rates against uniform and PPA levels are those of a group's true P and w, means over groups.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.commands import precision, progress
from experiments.episodes import ppa_level
from experiments.evaluators import Completion, rank_evaluators
from experiments.inequalities import half_width, inequality, inequality_table
from experiments.results import open_results, save_results
from jaxval import policies, preferences, social_choice, training
from jaxval.data import data_folder, rating_ballots, read_movielens
from jaxval.data.movielens import with_user_groups
from jaxval.plots._drawing import BLACK, BLUE, GREY, NORMAL, ORANGE, SMALL, VERMILLION, new_figure
from jaxval.types import Comparisons, Params, Policy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EPISODES", "POLICIES", "run_policies"]

POLICIES = ("linear", "transformer")
EPISODES = {"linear": 10, "transformer": 4}
BETAS = (0.0, 1.0, 10.0)
AGES = {"under 25": ("1", "18"), "25 to 34": ("25",), "35 and over": ("35", "45", "50", "56")}
GROUPS = [(gender, age) for gender in ("F", "M") for age in AGES]
KINDS = ("exact", "own", "others", "features", "new group")
MEASURES = ("win rate", "PPA level")
# Forward KL is convex in the weights of features, and leaves no group's favourite out; the KL to the uniform reference
# gives weights of rare features an optimum.
PHASE_2: dict[str, Any] = {"divergence": "forward_kl", "policy_coefficient": 0.01}
LEVEL = 0.95
NAMES = ("policy", "comparisons", "alternatives", "seed", "rank", "penalty")
STEPS, ROWS = 300, len(GROUPS)
STYLES = {
    "exact": (BLACK, "o", "Fᵝ of the true P"),
    "own": (BLUE, "s", "own comparisons"),
    "others": (GREY, "v", "others' comparisons"),
    "features": (ORANGE, "D", "features, all groups"),
    "new group": (VERMILLION, "^", "features, other groups"),
}


class Groups(NamedTuple):
    """The truth of each group: (groups, movies, movies) P, (groups, movies) w, and how many evaluators it has."""

    matrices: np.ndarray
    shares: np.ndarray
    sizes: list[int]


class Learner(NamedTuple):
    """A policy over groups and movies, where it starts, and how it is trained; features by movie, for the notes."""

    policy: Policy
    start: Params
    how: dict[str, Any]
    described: list[tuple[str, ...]]


def run_policies(options: argparse.Namespace, notes: Console) -> None:
    """Do the episodes that are missing, and write and print the results."""
    if options.synthetic:
        raise ValueError("--policy: expected MovieLens, which has genres and users; leave out --synthetic")
    path = data_folder("ml-1m", path=options.data)
    groups, described = read_groups(path, options)
    configuration = {
        **{
            name: getattr(options, name)
            for name in ("policy", "comparisons", "alternatives", "seed", "rank", "penalty")
        },
        **{"rule": str(options.rules[0]), "betas": list(BETAS), "sizes": groups.sizes},
    }
    folder = options.out or Path("results", f"movielens-{options.policy}")
    results, note = open_results(folder, "movielens", configuration)
    if note:
        notes.print(note, markup=False)
    runs, episodes = results["runs"], options.episodes
    missing = [str(k) for k in range(episodes) if str(k) not in runs]
    learner = make_learner(options.policy, described, options.seed) if missing else None
    with progress(notes) as bar:
        task = bar.add_task("trainings", total=len(missing) * len(BETAS) * (len(GROUPS) + 1))
        for name in missing:
            seed = [options.seed, int(name)]
            runs[name] = one_episode(groups, learner, options.comparisons, seed, lambda: bar.advance(task))  # type: ignore[arg-type]
            save_results(folder, results)
    shown = [runs[str(k)] for k in range(episodes)]
    results |= {"groups": [" ".join(group) for group in GROUPS], "movies": [" ".join(words) for words in described]}
    results |= {"claims": claims(shown), "summary": summary(shown)}
    save_results(folder, results)
    figure = f"movielens-{options.policy}.png"
    draw(shown).savefig(folder / figure, dpi=200)
    if options.json:
        print(json.dumps({name: results[name] for name in ("summary", "claims")}, indent=1, allow_nan=False))
    else:
        show(results, groups, described, options.policy, episodes)
    notes.print(f"written to {folder}: results.json, {figure}", markup=False)


def read_groups(path: Path, options: argparse.Namespace) -> tuple[Groups, list[tuple[str, ...]]]:
    """P and w of each group of evaluators, who are ranked all together; and the genres and the decade of each movie."""
    from experiments.movielens import movie_ratings  # it imports this module

    table, names, _ = movie_ratings(options)
    ratings = read_movielens(path)
    election = rating_ballots(ratings, alternatives=options.alternatives)
    known = [with_user_groups(election, path, field) for field in ("gender", "age")]
    of_user = {
        user: tuple(one.groups[np.asarray(one.group)[place]] for one in known)
        for place, user in enumerate(np.asarray(ratings.user_ids)[~np.isnan(table).all(axis=1)].tolist())
    }
    rule = options.rules[0]
    inside = (~np.isnan(table)).sum(axis=1) >= rule.at_least
    completion = Completion(options.rank, options.penalty)
    orders = rank_evaluators(table, rule, completion=completion, seed=options.seed)
    users = np.asarray(ratings.user_ids)[inside].tolist()
    parts = [
        orders[[of_user[user][0] == gender and of_user[user][1] in AGES[age] for user in users]]
        for gender, age in GROUPS
    ]
    empty = [group for group, part in zip(GROUPS, parts, strict=True) if not len(part)]
    if empty:
        raise ValueError(f"--rules: expected evaluators of every group; got none who is {' and '.join(empty[0])}")
    matrices = np.stack([preferences.preference_matrix(part) for part in parts])
    shares = np.stack([preferences.first_choice_shares(part) for part in parts])
    lines = (path / "movies.dat").read_text(encoding="latin-1").splitlines()
    genres = {line.split("::", 1)[1].rsplit("::", 1)[0]: line.rsplit("::", 1)[1].split("|") for line in lines if line}
    described = [(*genres[name], f"{name.rstrip(')')[-4:-1]}0s") for name in names]
    return Groups(matrices, shares, [len(part) for part in parts]), described


def make_learner(name: str, described: list[tuple[str, ...]], seed: int) -> Learner:
    """The policy of a name over groups and movies."""
    words = sorted({word for one in described for word in one})
    ages = list(AGES)
    if name == "linear":
        seen = np.array([[word in one for word in words] for one in described], float)
        left, sizes, _ = np.linalg.svd(seen - seen.mean(axis=0), full_matrices=False)
        movies = np.sqrt(len(described)) * left[:, sizes > 1e-9 * sizes[0]]  # the same span, of full rank
        users = np.array([[1, gender == "F", age == ages[0], age == ages[2]] for gender, age in GROUPS], float)
        features = np.einsum("gu,mf->gmuf", users, movies).reshape(len(GROUPS), len(described), -1)
        policy = policies.log_linear(features)
        return Learner(policy, policy.init(None), {}, described)
    ids = {word: number for number, word in enumerate(["F", "M", *ages, *words])}
    prompts = [[ids[gender], ids[age]] for gender, age in GROUPS]
    responses = [[[ids[word] for word in one] for one in described]] * len(prompts)
    longest = 2 + max(map(len, described))
    with precision(False):
        model = policies.transformer(vocabulary=len(ids), length=longest, width=32, layers=2, heads=2, tied=False)
        params = model.init(jax.random.key(seed))
        start = {**params, "scores": jax.tree.map(jnp.zeros_like, params["scores"])}
        how = {"optimiser": training.adamw(1e-2, steps=STEPS), "steps": STEPS, "every": STEPS, "batch_size": ROWS}
        return Learner(policies.over_catalogue(model, prompts, responses), start, how, described)


def one_episode(groups: Groups, learner: Learner, comparisons: int, seed: list[int], advance: Any) -> dict[str, Any]:
    """Draw comparisons in every group, and measure all kinds of policies: kind -> measure -> (betas, groups)."""
    wins = drawn_wins(np.random.default_rng(seed), groups.matrices, comparisons)
    together = wins.sum(axis=0)
    others = together[None] - wins
    estimates, elsewhere = (np.asarray(jax.vmap(preferences.empirical_matrix)(of)) for of in (wins, others))
    found: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    everybody = np.arange(len(GROUPS))
    for beta in BETAS:
        for kind, matrices in (("exact", groups.matrices), ("own", estimates), ("others", elsewhere)):
            found[kind].append([np.asarray(social_choice.proportional(one, beta=beta)) for one in matrices])
        found["features"].append(learned(learner, wins, everybody, beta))
        advance()
        new = []
        for group in everybody:
            new.append(learned(learner, wins, everybody[everybody != group], beta)[group])
            advance()
        found["new group"].append(new)
    return {kind: measured(np.array(lotteries), groups) for kind, lotteries in found.items()}


def drawn_wins(rng: np.random.Generator, matrices: np.ndarray, comparisons: int) -> np.ndarray:
    """(groups, movies, movies) counts of comparisons of random pairs, as many in each group."""
    i, j = np.triu_indices(matrices.shape[1], 1)
    compared = rng.multinomial(comparisons // len(matrices), np.full(len(i), 1 / len(i)), size=len(matrices))
    won = rng.binomial(compared, np.clip(matrices[:, i, j], 0, 1))
    wins = np.zeros(matrices.shape)
    wins[:, i, j], wins[:, j, i] = won, compared - won
    return wins


def learned(learner: Learner, wins: np.ndarray, trained: np.ndarray, beta: float) -> np.ndarray:
    """(groups, movies) probabilities of the policy after training on the comparisons of some groups."""
    chosen = np.zeros(wins.shape)
    chosen[trained] = wins[trained]
    context, winner, loser = np.nonzero(chosen)
    pairs = Comparisons(context, winner, loser, chosen[context, winner, loser])
    with precision(not learner.how):
        params, _ = training.proportional(learner.policy, learner.start, pairs, beta=beta, **PHASE_2, **learner.how)
        ids = np.tile(np.arange(wins.shape[1]), (len(wins), 1))
        log_probs = policies.normalise(learner.policy.log_probs(params, np.arange(len(wins)), ids))
        shares = np.exp(np.asarray(log_probs, dtype=float))
    return shares / shares.sum(axis=1, keepdims=True)


def measured(lotteries: Any, groups: Groups) -> dict[str, list[list[float]]]:
    """Win rate and PPA level of (betas, groups, movies) lotteries, in each group."""
    win = jax.vmap(jax.vmap(social_choice.win_rate_over_uniform), (None, 0))(groups.matrices, lotteries)
    level = jax.vmap(jax.vmap(ppa_level), (0, None))(lotteries, jnp.asarray(groups.shares))
    return {"win rate": np.asarray(win).tolist(), "PPA level": np.asarray(level).tolist()}


def of_kind(runs: list[dict[str, Any]], kind: str, measure: str) -> Any:
    """(episodes, betas) means over groups."""
    return np.array([run[kind][measure] for run in runs]).mean(axis=2)


def claims(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Figure 2's orderings by β for every kind that learns, and what the features are good for."""
    rows = []
    for kind in ("own", "features", "new group"):
        win, level = (of_kind(runs, kind, measure) for measure in MEASURES)
        rows.append(inequality(f"{kind}: win rate of β = 10 above β = 0", win[:, 2], win[:, 0], level=LEVEL))
        rows.append(inequality(f"{kind}: PPA level of β = 0 above β = 10", level[:, 0], level[:, 2], level=LEVEL))
    for better, worse in (("features", "own"), ("new group", "others")):
        for measure in MEASURES:
            for place, beta in ((0, 0), (2, 10)):
                larger, smaller = (of_kind(runs, kind, measure)[:, place] for kind in (better, worse))
                text = f"{measure} at β = {beta}: {better} above {worse}"
                rows.append(inequality(text, larger, smaller, level=LEVEL))
    return rows


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and half width of its interval over episodes, by kind, measure and β."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        found[kind] = {}
        for measure in MEASURES:
            numbers = of_kind(runs, kind, measure)
            reach = half_width(numbers, level=LEVEL)
            known = reach.tolist() if np.isfinite(reach).all() else None
            found[kind][measure] = {"betas": list(BETAS), "mean": numbers.mean(axis=0).tolist(), "half width": known}
    return found


def show(results: dict[str, Any], groups: Groups, described: list[tuple[str, ...]], policy: str, episodes: int) -> None:
    """Print the measures of all kinds, the claims, and how many movies the features tell apart."""
    console = Console(highlight=False, width=max(Console().width, 120))
    title = f"{policy}: win rate / PPA level, means over {len(GROUPS)} groups and {episodes} episodes"
    table = Table("β", *KINDS, box=box.SIMPLE_HEAD, title=title)
    for k, beta in enumerate(BETAS):
        cells = [
            " / ".join(f"{results['summary'][kind][measure]['mean'][k]:.3f}" for measure in MEASURES) for kind in KINDS
        ]
        table.add_row(f"{beta:g}", *cells)
    console.print(table)
    console.print(inequality_table(results["claims"], level=LEVEL, title="orderings, and what features are good for"))
    sizes = ", ".join(f"{' '.join(group)} {size}" for group, size in zip(GROUPS, groups.sizes, strict=True))
    distinct = len(set(described))
    console.print(f"Evaluators: {sizes}. Genres and decade tell {distinct} of {len(described)} movies apart.")


def draw(runs: list[dict[str, Any]]) -> Figure:
    """Win rate and PPA level of all kinds, by β."""
    figure = new_figure(6.0, 2.7)
    figure.set_layout_engine("constrained", w_pad=0.06)
    for axes, measure, letter in zip(figure.subplots(1, 2), MEASURES, "ab", strict=True):
        for shift, (kind, (colour, marker, label)) in enumerate(STYLES.items()):
            numbers = of_kind(runs, kind, measure)
            reach = np.nan_to_num(half_width(numbers, level=LEVEL))
            at = np.arange(len(BETAS)) + 0.06 * (shift - 2)
            axes.errorbar(at, numbers.mean(axis=0), reach, fmt=marker + "-", color=colour, ms=3.5, lw=0.9, label=label)
        axes.set_title(f"({letter}) {measure}, mean of six groups", fontsize=NORMAL, loc="left")
        axes.set_xticks(range(len(BETAS)), [f"{beta:g}" for beta in BETAS])
        axes.set_xlabel("β of Fᵝ", fontsize=NORMAL)
        axes.tick_params(labelsize=SMALL)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=SMALL, frameon=False)
    return figure
