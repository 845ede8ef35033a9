"""Preference functions of sparse comparisons: which model of P predicts, and what depends on it.

    python -m experiments.sparse_votes [--part PART ...] [--data FOLDER] [--seeds N] [--out FOLDER]

planted   P with a cycle through 200 alternatives, of which few pairs are compared: the error of P on the other pairs
llmfao    8,931 votes on 59 language models, where 927 of 1,711 pairs were compared: the log-likelihood of votes that
          were held out, with whole pairs or within pairs, and the lotteries under each model

Strengths are chosen anew without the votes that are held out. Intervals are at 95 %: those of a log-likelihood come
from redrawing pairs with all their votes, those of lotteries from redrawing the votes of each pair from the model.

Written to `--out`: `results.json` and `sparse_votes.png`. Parts that are finished are kept.
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.commands import documented_parser, guarded, positive, progress
from experiments.results import open_results, save_results
from jaxval import preferences, social_choice
from jaxval.data import data_folder, read_comparisons_csv
from jaxval.plots._drawing import BLUE, GREY, NORMAL, ORANGE, SMALL, VERMILLION, new_figure
from jaxval.preferences.sparse import hold_out

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw", "llmfao", "main", "planted", "planted_matrix"]

MODELS = ("tie", "bradley-terry", "low-rank")
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


def planted(seed: int, *, size: int = SIZE, shares: tuple[float, ...] = SHARES, each: int = EACH) -> dict[str, Any]:
    """The root mean square error of P on pairs never compared, by the share of pairs that are, for each model."""
    matrix = planted_matrix(size)
    i, j = np.triu_indices(size, 1)
    result: dict[str, Any] = {}
    for share in shares:
        rng = np.random.default_rng(seed)
        seen = rng.random(len(i)) < share
        won = rng.binomial(each, matrix[i, j]) * seen
        wins = np.zeros((size, size))
        wins[i, j], wins[j, i] = won, each * seen - won
        errors = {}
        for model in MODELS:
            found, _ = preferences.complete_matrix(jax.random.key(seed), wins, unseen=model, rank=1)
            away = (np.asarray(found) - matrix)[i, j]
            majority = np.sign(np.asarray(found)[i, j] - 0.5) == np.sign(matrix[i, j] - 0.5)
            errors[model] = {
                "error of unseen pairs": float(np.sqrt(np.mean(away[~seen] ** 2))),
                "right majorities of unseen pairs": float(np.mean(majority[~seen])),
            }
        result[str(share)] = errors
    return result


def llmfao(path: Path) -> dict[str, Any]:
    """Held-out log-likelihoods and lotteries of each model."""
    votes = read_comparisons_csv(path)
    wins = np.asarray(preferences.count_wins(votes.comparisons, alternatives=len(votes.names)))
    return {
        "names": list(votes.names),
        "comparisons": float(wins.sum()),
        "held out": {by: _held_out(wins, by) for by in ("pairs", "comparisons")},
        "lotteries": {model: _lotteries(wins, model) for model in MODELS},
    }


def _held_out(wins: np.ndarray, by: str) -> dict[str, Any]:
    """The mean log-likelihood of a vote that was held out, and its difference from that of Bradley-Terry, in nats."""
    scores = {name: np.zeros_like(wins) for name in ("coin", *MODELS)}
    for fold, part in enumerate(np.asarray(hold_out(jax.random.key(7), jnp.asarray(wins), by=by, folds=FOLDS))):
        rest = wins - part
        scores["coin"] += part * np.log(0.5)
        for model in MODELS:
            strengths = preferences.choose_strengths(jax.random.key(fold), rest, model=model)
            scores[model] += part * np.log(np.asarray(preferences.smoothed_matrix(rest, strengths)))
    i, j = np.nonzero(np.triu(wins + wins.T, 1))
    totals = {name: (score + score.T)[i, j] for name, score in scores.items()}
    votes = (wins + wins.T)[i, j]
    redrawn = np.random.default_rng(0).integers(len(i), size=(REDRAWS, len(i)))
    result = {}
    for name, total in totals.items():
        result[name] = {
            "mean": total.sum() / votes.sum(),
            "interval": _ends(total[redrawn].sum(axis=1) / votes[redrawn].sum(axis=1)),
            "over bradley-terry": (total - totals["bradley-terry"]).sum() / votes.sum(),
            "interval of the difference": _ends(
                (total - totals["bradley-terry"])[redrawn].sum(axis=1) / votes[redrawn].sum(axis=1)
            ),
        }
    return result


def _ends(drawn: np.ndarray) -> list[float]:
    return np.quantile(drawn, [0.025, 0.975], axis=0).tolist()


def _lotteries(wins: np.ndarray, model: str) -> dict[str, Any]:
    """The lotteries of each rule with intervals, the share bounds and what follows from them."""
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


def draw(runs: dict[str, Any]) -> Figure:
    """Three panels: error of unseen pairs, held-out log-likelihood, and F* of the leading models under each model."""
    figure = new_figure(7.2, 2.9)
    axes = figure.subplots(1, 3, gridspec_kw={"width_ratios": [1.0, 0.9, 1.3]})
    plantings = [run for name, run in runs.items() if name.startswith("planted")]
    if plantings:
        shares = list(plantings[0])
        for model in MODELS:
            errors = np.array([[one[s][model]["error of unseen pairs"] for s in shares] for one in plantings])
            axes[0].plot([100 * float(s) for s in shares], errors.mean(axis=0), "o-", color=COLOURS[model], ms=3.5)
            axes[0].text(
                100 * float(shares[-1]) * 1.1,
                errors.mean(axis=0)[-1],
                model,
                color=COLOURS[model],
                fontsize=SMALL,
                va={"tie": "top", "bradley-terry": "bottom"}.get(model, "center"),
            )
        axes[0].set_xscale("log")
        axes[0].set_xticks([100 * float(s) for s in shares], [f"{100 * float(s):g}" for s in shares])
        axes[0].minorticks_off()
        axes[0].set_xlim(2, 75)
        axes[0].set_ylim(0, None)
        axes[0].set_xlabel("pairs that were compared, %", fontsize=NORMAL)
        axes[0].set_ylabel("error of P on the others", fontsize=NORMAL)
        axes[0].set_title("a planted cycle", fontsize=NORMAL)
    if "llmfao" in runs:
        _draw_llmfao(runs["llmfao"], axes[1], axes[2])
    for axis in axes:
        axis.tick_params(labelsize=SMALL)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def _draw_llmfao(run: dict[str, Any], left: Any, right: Any) -> None:
    for row, by in enumerate(("pairs", "comparisons")):
        for k, model in enumerate(MODELS):
            one = run["held out"][by][model]
            y = -row + 0.22 * (1 - k)
            left.plot(one["interval"], [y, y], color=COLOURS[model], lw=1.5)
            left.plot(one["mean"], y, "o", color=COLOURS[model], ms=4)
    left.axvline(np.log(0.5), color=VERMILLION, lw=0.8, ls=":")
    left.text(np.log(0.5), -1.62, "a coin", color=VERMILLION, fontsize=SMALL, ha="center")
    left.set_yticks([0, -1], ["whole\npairs", "votes"])
    left.set_ylim(-1.7, 0.5)
    left.set_xlabel("log-likelihood of a held-out vote, nats", fontsize=NORMAL)
    left.set_title("llmfao", fontsize=NORMAL)
    order = np.argsort(-np.array(run["lotteries"]["bradley-terry"]["rules"]["u"]["estimate"]))[:10]
    for k, model in enumerate(MODELS):
        rule = run["lotteries"][model]["rules"]["F*"]
        y = -np.arange(len(order)) + 0.24 * (1 - k)
        for row, i in enumerate(order):
            right.plot([rule["low"][i], rule["high"][i]], [y[row]] * 2, color=COLOURS[model], lw=1.2)
        right.plot(np.array(rule["estimate"])[order], y, "o", color=COLOURS[model], ms=3, label=model)
    right.set_yticks(-np.arange(len(order)), [run["names"][i] for i in order])
    right.set_xlim(0, None)
    right.set_xlabel("probability under F*", fontsize=NORMAL)
    right.legend(fontsize=SMALL, frameon=False, loc="lower right")


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment and return the exit status: 0, 2 for input that is wrong, 130 if interrupted."""
    parser = documented_parser("experiments.sparse_votes", __doc__)
    add = parser.add_argument
    add("--part", action="append", choices=("planted", "llmfao"), help="may be repeated (default: both)")
    add("--data", type=Path, metavar="FOLDER", help="the folder with votes/llmfao (default: $JAXVAL_DATA, or data/)")
    add("--seeds", type=positive, default=3, metavar="N", help="draws of the planted votes (default: %(default)s)")
    add("--out", type=Path, default=Path("results/sparse_votes"), metavar="FOLDER", help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    return guarded(
        run,
        options,
        kept="parts that were finished are kept",
        without_data="python -m experiments.sparse_votes --part planted",
    )


def run(options: argparse.Namespace, notes: Console) -> None:
    """Run the parts that are missing, print all, and draw the figure."""
    parts = options.part or ["planted", "llmfao"]
    results, note = open_results(options.out, "sparse_votes", {"size": SIZE, "each": EACH, "folds": FOLDS})
    if note:
        notes.print(note)
    work = {f"planted {seed}": functools.partial(planted, seed) for seed in range(options.seeds) if "planted" in parts}
    if "llmfao" in parts:
        work["llmfao"] = functools.partial(
            llmfao, data_folder("votes/llmfao", path=options.data) / "crowd-comparisons.csv"
        )
    with progress(notes) as bar:
        task = bar.add_task("models of P", total=len(work))
        for name, part in work.items():
            if name not in results["runs"]:
                results["runs"][name] = part()
                save_results(options.out, results)
            bar.advance(task)
    shown = {name: results["runs"][name] for name in work}
    _print(shown)
    draw(shown).savefig(options.out / "sparse_votes.png", dpi=300)
    notes.print(f"figure written to {options.out / 'sparse_votes.png'}")


def _print(runs: dict[str, Any]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    plantings = [one for name, one in runs.items() if name.startswith("planted")]
    if plantings:
        table = Table("pairs compared", *MODELS, title="error of P on pairs never compared (right majorities), planted")
        for share in plantings[0]:
            means = {
                key: [np.mean([one[share][model][key] for one in plantings]) for model in MODELS]
                for key in ("error of unseen pairs", "right majorities of unseen pairs")
            }
            table.add_row(f"{float(share):.1%}", *(f"{e:.3f} ({m:.1%})" for e, m in zip(*means.values(), strict=True)))
        console.print(table)
    if "llmfao" not in runs:
        return
    run = runs["llmfao"]
    for by, scores in run["held out"].items():
        table = Table("model", "mean of a vote", "95 %", "over bradley-terry", "95 %", title=f"held out: {by}")
        for name, one in scores.items():
            table.add_row(
                name,
                f"{one['mean']:.4f}",
                _span(one["interval"]),
                f"{one['over bradley-terry']:+.4f}",
                _span(one["interval of the difference"]),
            )
        console.print(table)
    table = Table("model", "Condorcet winner", "top cycle", "Σu", "Borda", "F*, largest", "maximal lottery")
    for model, found in run["lotteries"].items():
        rules, names = found["rules"], run["names"]
        lottery = np.array(rules["maximal lottery"]["estimate"])
        support = [f"{names[i]} {lottery[i]:.2f}" for i in np.argsort(-lottery) if lottery[i] >= AT_LEAST]
        winner = found["condorcet winner"]
        largest = int(np.argmax(rules["F*"]["estimate"]))
        table.add_row(
            model,
            names[winner] if winner >= 0 else "none",
            str(found["top cycle"]),
            f"{found['sum of bounds']:.2f}",
            names[int(np.argmax(rules["Borda"]["estimate"]))],
            f"{names[largest]} {rules['F*']['estimate'][largest]:.3f}"
            f" [{rules['F*']['low'][largest]:.3f}, {rules['F*']['high'][largest]:.3f}]",
            ", ".join(support[:4]) + (f" and {len(support) - 4} more" if len(support) > 4 else ""),
        )
    console.print(table)
    for one, other in (("tie", "bradley-terry"), ("bradley-terry", "low-rank")):
        for rule in RULES:
            apart = np.subtract(*(run["lotteries"][model]["rules"][rule]["estimate"] for model in (one, other)))
            console.print(f"{rule}: half the distance of {one} and {other}: {np.abs(apart).sum() / 2:.3f}")


def _span(ends: list[float]) -> str:
    return f"{ends[0]:+.4f} to {ends[1]:+.4f}"


if __name__ == "__main__":
    sys.exit(main())
