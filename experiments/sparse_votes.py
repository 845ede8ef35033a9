"""Preference functions of sparse comparisons: which model of P predicts, and what depends on it.

    python -m experiments.sparse_votes [--part PART ...] [--data FOLDER] [--seeds N] [--out FOLDER]

planted   P with a cycle through 200 alternatives, of which few pairs are compared: the error of P on the other pairs
held out  8,931 votes on 59 language models (llmfao), where 927 of 1,711 pairs were compared: the log-likelihood of
          votes that were held out, with whole pairs or one by one
lotteries what each rule gives the 59 under each model of P

Strengths are chosen anew without the votes that are held out. Intervals are at 95 %: those of a log-likelihood come
from redrawing pairs with all their votes, those of lotteries from redrawing the votes of each pair from the model.

Written to `--out`: `results.json` and `sparse_votes.png`. Parts that are finished are kept.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.commands import documented_parser, guarded, positive, progress
from experiments.results import open_results, save_results
from jaxval import preferences, social_choice
from jaxval._errors import printable
from jaxval.data import data_folder, read_comparisons_csv
from jaxval.plots._drawing import BLUE, GREY, LONGEST_NAME, NORMAL, ORANGE, SMALL, VERMILLION, new_figure, short
from jaxval.preferences.sparse import hold_out

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw", "held_out", "lotteries", "main", "planted", "planted_matrix"]

PARTS = ("planted", "held out", "lotteries")
MODELS = ("tie", "bradley-terry", "low-rank")
WAYS = ("pairs", "comparisons")
COLOURS = dict(zip(MODELS, (GREY, ORANGE, BLUE), strict=True))
SHARES = (0.025, 0.05, 0.1, 0.2)
SIZE, EACH = 200, 100
FOLDS, REDRAWS, RESAMPLES = 5, 2000, 200
RULES = {
    "F*": social_choice.proportional,
    "maximal lottery": social_choice.maximal_lottery,
    "Borda": social_choice.maximal_borda,
}
AT_LEAST = 0.005  # of a lottery, to be in its support


def planted_matrix(size: int, *, strength: float = 2.0) -> np.ndarray:
    """P of alternatives on a circle, each of which beats those up to half a turn behind it.

    logit P(i ≻ j) = strength · sin(θ_i - θ_j), a skew-symmetric matrix of rank 2. Majorities go round, so that no
    alternative is a Condorcet winner.
    """
    angles = 2 * np.pi * (np.arange(size) + np.random.default_rng(0).random(size)) / size
    return 1 / (1 + np.exp(-strength * np.sin(angles[:, None] - angles[None])))


def planted(share: float, seed: int, *, size: int = SIZE, each: int = EACH) -> dict[str, Any]:
    """How far P is from the truth on pairs that were never compared, for each model, if a share of pairs was."""
    matrix = planted_matrix(size)
    i, j = np.triu_indices(size, 1)
    rng = np.random.default_rng(seed)
    seen = rng.random(len(i)) < share
    won = rng.binomial(each, matrix[i, j]) * seen
    wins = np.zeros((size, size))
    wins[i, j], wins[j, i] = won, each * seen - won
    errors = {}
    for model in MODELS:
        estimate, _ = preferences.complete_matrix(jax.random.key(seed), wins, unseen=model, rank=1)
        away = (np.asarray(estimate) - matrix)[i, j]
        majority = np.sign(np.asarray(estimate)[i, j] - 0.5) == np.sign(matrix[i, j] - 0.5)
        errors[model] = {"error": np.sqrt(np.mean(away[~seen] ** 2)), "majorities": np.mean(majority[~seen])}
    return errors


def held_out(wins: np.ndarray, by: str) -> dict[str, Any]:
    """The mean log-likelihood of a vote that was held out, and its difference from that of Bradley-Terry, in nats."""
    scores = {name: np.zeros_like(wins) for name in ("coin", *MODELS)}
    for fold, part in enumerate(np.asarray(hold_out(jax.random.key(7), jnp.asarray(wins), by=by, folds=FOLDS))):
        rest = wins - part
        scores["coin"] += part * np.log(0.5)
        for model in MODELS:
            strengths = preferences.choose_strengths(jax.random.key(fold), rest, model=model)
            scores[model] += part * np.log(np.asarray(preferences.smoothed_matrix(rest, strengths)))
    i, j = np.nonzero(np.triu(wins + wins.T, 1))
    votes = (wins + wins.T)[i, j]
    redrawn = np.random.default_rng(0).integers(len(i), size=(REDRAWS, len(i)))

    def mean(totals: np.ndarray) -> dict[str, Any]:
        drawn = totals[redrawn].sum(axis=1) / votes[redrawn].sum(axis=1)
        return {"mean": totals.sum() / votes.sum(), "interval": _ends(drawn)}

    totals = {name: (score + score.T)[i, j] for name, score in scores.items()}
    against = totals["bradley-terry"]
    return {name: {"vote": mean(total), "over bradley-terry": mean(total - against)} for name, total in totals.items()}


def _ends(drawn: np.ndarray) -> list[float]:
    return np.quantile(drawn, [0.025, 0.975], axis=0).tolist()


def lotteries(wins: np.ndarray, model: str) -> dict[str, Any]:
    """The share bounds and the lottery of each rule with intervals, and what follows from P."""
    matrix, strengths = preferences.complete_matrix(jax.random.key(0), wins, unseen=model)
    estimate = functools.partial(preferences.smoothed_matrix, strengths=strengths) if strengths else None
    winner = int(preferences.condorcet_winner(matrix))

    def together(matrix: jax.Array) -> jax.Array:
        return jnp.stack([social_choice.share_bounds(matrix), *(rule(matrix) for rule in RULES.values())])

    found = social_choice.bootstrap_intervals(jax.random.key(1), wins, together, estimate=estimate, samples=RESAMPLES)
    return {
        "strengths": None if strengths is None else {k: str(float(v)) for k, v in strengths._asdict().items()},
        "condorcet winner": winner,
        "top cycle": int(jnp.sum(preferences.smith_set(matrix))),
        "sum of bounds": float(jnp.sum(found.estimate[0])),
        "rules": {
            name: {part: np.asarray(getattr(found, part)[k]).tolist() for part in ("estimate", "low", "high")}
            for k, name in enumerate(["u", *RULES])
        },
    }


def draw(runs: dict[str, Any], names: list[str]) -> Figure:
    """Three panels: error of unseen pairs, held-out log-likelihood, and F* of the leading models under each model."""
    figure = new_figure(7.2, 3.0)
    axes = figure.subplots(1, 3, gridspec_kw={"width_ratios": [1.0, 1.0, 1.0]})
    _draw_planted(runs, axes[0])
    _draw_held_out(runs, axes[1])
    _draw_lotteries(runs, names, axes[2])
    for axis in axes:
        axis.tick_params(labelsize=SMALL)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def _draw_planted(runs: dict[str, Any], axis: Any) -> None:
    shares = 100 * np.array(SHARES)
    for model in MODELS:
        errors = [np.mean([one[model]["error"] for one in _of_share(runs, share)]) for share in SHARES]
        tie = {"marker": "s", "ms": 6.5, "mfc": "none"} if model == "tie" else {"marker": "o", "ms": 3.5}  # one line
        axis.plot(shares, errors, color=COLOURS[model], lw=1.2, label=model, **tie)
    axis.set_xscale("log")
    axis.set_xticks(shares, [f"{share:g}" for share in shares])
    axis.minorticks_off()
    axis.set_ylim(0, None)
    axis.set_xlabel("pairs that were compared, %", fontsize=NORMAL)
    axis.set_ylabel("error of P on the other pairs", fontsize=NORMAL)
    axis.set_title("a planted cycle", fontsize=NORMAL)
    axis.legend(fontsize=SMALL, frameon=False, loc=(0.35, 0.45))


def _draw_held_out(runs: dict[str, Any], axis: Any) -> None:
    for row, by in enumerate(WAYS):
        for k, model in enumerate(MODELS):
            one, y = runs[f"held out, {by}"][model]["vote"], 0.22 * (1 - k) - row
            axis.plot(one["interval"], [y, y], color=COLOURS[model], lw=1.5)
            axis.plot(one["mean"], y, "o", color=COLOURS[model], ms=4)
    axis.axvline(np.log(0.5), color=VERMILLION, lw=0.8, ls=":")
    axis.text(np.log(0.5), 0.5, "  a coin", color=VERMILLION, fontsize=SMALL)
    axis.set_xlim(np.log(0.5) - 0.008, None)
    axis.set_yticks([0, -1], ["whole\npairs", "single\nvotes"])
    axis.set_ylim(-1.6, 0.7)
    axis.set_xlabel("log-likelihood of a\nheld-out vote, nats", fontsize=NORMAL)
    axis.set_title("llmfao, held out", fontsize=NORMAL)


def _draw_lotteries(runs: dict[str, Any], names: list[str], axis: Any) -> None:
    bounds = runs["lotteries, bradley-terry"]["rules"]["u"]["estimate"]
    order = np.argsort(-np.array(bounds))[:10]
    for k, model in enumerate(MODELS):
        rule = {part: np.array(column)[order] for part, column in runs[f"lotteries, {model}"]["rules"]["F*"].items()}
        y = 0.24 * (1 - k) - np.arange(len(order))
        axis.hlines(y, rule["low"], rule["high"], color=COLOURS[model], lw=1.2)
        axis.plot(rule["estimate"], y, "o", color=COLOURS[model], ms=3)
    axis.set_yticks(-np.arange(len(order)), [short(names[i], LONGEST_NAME) for i in order], parse_math=False)
    axis.set_xlim(0, None)
    axis.set_xlabel("probability under F*", fontsize=NORMAL)
    axis.set_title("llmfao, ten largest u", fontsize=NORMAL)


def _of_share(runs: dict[str, Any], share: float) -> list[dict[str, Any]]:
    return [one for name, one in runs.items() if name.startswith(f"planted, {share}, ")]


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment and return the exit status: 0, 2 for input that is wrong, 130 if interrupted."""
    parser = documented_parser("experiments.sparse_votes", __doc__)
    add = parser.add_argument
    add("--part", action="append", choices=PARTS, help="may be repeated (default: all)")
    add("--data", type=Path, metavar="FOLDER", help="the folder with votes/llmfao (default: $JAXVAL_DATA, or data/)")
    add("--seeds", type=positive, default=3, metavar="N", help="draws of the planted votes (default: %(default)s)")
    add("--out", type=Path, default=Path("results/sparse_votes"), metavar="FOLDER", help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    without = "python -m experiments.sparse_votes --part planted"
    return guarded(run, options, kept="parts that were finished are kept", without_data=without)


def run(options: argparse.Namespace, notes: Console) -> None:
    """Run the parts that are missing, print them, and draw the figure if no part is missing any more."""
    parts = options.part or PARTS
    results, note = open_results(options.out, "sparse_votes", {"size": SIZE, "each": EACH, "folds": FOLDS})
    if note:
        notes.print(note)
    work: dict[str, Any] = {}
    if "planted" in parts:
        work = {
            f"planted, {share}, {seed}": functools.partial(planted, share, seed)
            for share, seed in itertools.product(SHARES, range(options.seeds))
        }
    if set(parts) - {"planted"}:
        folder = data_folder("votes/llmfao", path=options.data)
        votes = read_comparisons_csv(folder / "crowd-comparisons.csv")
        wins = np.asarray(preferences.count_wins(votes.comparisons, alternatives=len(votes.names)))
        results["names"] = list(votes.names)
        for part, function, ways in (("held out", held_out, WAYS), ("lotteries", lotteries, MODELS)):
            if part in parts:
                work |= {f"{part}, {way}": functools.partial(function, wins, way) for way in ways}
    with progress(notes) as bar:
        task = bar.add_task("models of P", total=len(work))
        for name, one in work.items():
            if name not in results["runs"]:
                results["runs"][name] = json.loads(json.dumps(one(), default=float))
                save_results(options.out, results)
            bar.advance(task)
    runs = results["runs"]
    _print({name: runs[name] for name in work}, results.get("names", []))
    if {name.split(",")[0] for name in runs} == set(PARTS):
        draw(runs, results["names"]).savefig(options.out / "sparse_votes.png", dpi=300)
        notes.print(f"figure written to {options.out / 'sparse_votes.png'}")


def _print(runs: dict[str, Any], names: list[str]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    table = Table("pairs compared", *MODELS, title="planted: error of P on pairs never compared (right majorities)")
    for share in SHARES:
        if several := _of_share(runs, share):
            cells = [[np.mean([one[m][key] for one in several]) for key in ("error", "majorities")] for m in MODELS]
            table.add_row(f"{share:.1%}", *(f"{error:.3f} ({right:.1%})" for error, right in cells))
    if table.row_count:
        console.print(table)
    for by in WAYS:
        if scores := runs.get(f"held out, {by}"):
            table = Table("model", "a vote, nats", "95 %", "over bradley-terry", "95 %", title=f"held out: {by}")
            for name, row in scores.items():
                one, other = row["vote"], row["over bradley-terry"]
                table.add_row(name, f"{one['mean']:.4f}", _span(one), f"{other['mean']:+.4f}", _span(other))
            console.print(table)
    under = {model: runs[f"lotteries, {model}"] for model in MODELS if f"lotteries, {model}" in runs}
    if not under:
        return
    table = Table("model", "Condorcet winner", "top cycle", "Σu", "Borda", "F*, largest", "maximal lottery")
    for model, one in under.items():
        table.add_row(model, *_cells(one, names))
    console.print(table)
    for (one, first), (other, second) in itertools.pairwise(under.items()):
        for rule in RULES:
            apart = np.subtract(*(side["rules"][rule]["estimate"] for side in (first, second)))
            console.print(f"{rule}, {one} against {other}: total variation {np.abs(apart).sum() / 2:.3f}")


def _cells(one: dict[str, Any], names: list[str]) -> list[str]:
    rules, winner, names = one["rules"], one["condorcet winner"], [escape(printable(name)) for name in names]
    lottery, first = np.array(rules["maximal lottery"]["estimate"]), rules["F*"]
    support = [f"{names[i]} {lottery[i]:.2f}" for i in np.argsort(-lottery) if lottery[i] >= AT_LEAST]
    largest = int(np.argmax(first["estimate"]))
    estimate, low, high = (first[part][largest] for part in ("estimate", "low", "high"))
    return [
        names[winner] if winner >= 0 else "none",
        str(one["top cycle"]),
        f"{one['sum of bounds']:.2f}",
        names[int(np.argmax(rules["Borda"]["estimate"]))],
        f"{names[largest]} {estimate:.3f} [{low:.3f}, {high:.3f}]",
        ", ".join(support[:4]) + (f" and {len(support) - 4} more" if len(support) > 4 else ""),
    ]


def _span(one: dict[str, Any]) -> str:
    low, high = one["interval"]
    return f"{low:+.4f} to {high:+.4f}"


if __name__ == "__main__":
    sys.exit(main())
