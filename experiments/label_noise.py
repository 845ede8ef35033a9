"""Wrong labels found by values: which method finds them, and after how many trainings.

    python -m experiments.label_noise [--set SET ...] [--seeds N] [--fits N ...] [--out FOLDER] [--json]

300 training rows, of which a fifth have another class than their own, and 300 test rows. Rows are inspected from the
lowest value up; the AUC is the probability that a wrong label has a lower value than a right one.

adult   logistic regression of who earns more than 50,000 dollars; five numbers and six categories
mnist   ridge regression of the ten digits on 32 principal components

The utility is the accuracy on the test rows. Methods that sample have a budget of trainings:

Shapley        permutations in antithetic pairs; each training starts from the one before
Beta(16, 1)    the semivalue with weight on small coalitions, from permutations in four strata
Banzhaf        maximum sample reuse
Data-OOB       models of bootstrap samples, scored on the rows that they left out
leave-one-out  301 trainings
influence      one training: the derivative of the log-likelihood (mnist: of the squared error) in each weight
KNN-Shapley    no training: exact, 5 neighbours

Written to `--out`: `results.json`, `auc.png`, and `removal.png` for the first seed. Seeds that are finished are kept.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.commands import documented_parser, guarded, positive, precision, progress
from experiments.datasets import Split, adult, flip_labels, mnist, principal_components
from experiments.results import open_results, save_results
from jaxval import data, values
from jaxval.plots import plot_removal
from jaxval.plots._drawing import BLACK, BLUE, GREEN, GREY, NORMAL, ORANGE, VERMILLION, new_figure
from jaxval.types import Estimate
from jaxval.values import RemovalCurves, WeightedModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Task", "draw_task", "main", "plot_auc", "summary"]

ROWS = 300
NEIGHBOURS = 5
BUDGETS = (3_000, 12_000)
SEEDS = 5
SAMPLED = {"Shapley": (BLUE, "o", "-"), "Beta(16, 1)": (GREEN, "s", "--"), "Banzhaf": (VERMILLION, "^", "-.")}
SAMPLED["Data-OOB"] = (ORANGE, "D", ":")
FIXED = {"KNN-Shapley": (BLACK, "P", ""), "influence": (BLACK, "X", ""), "leave-one-out": (GREY, "v", "")}
SHOWN = ("Shapley", "Banzhaf", "KNN-Shapley")  # in the figure of removals


class Task(NamedTuple):
    """A set of rows with wrong labels, and the models that value them.

    Attributes:
        split: the rows; the training labels are those with mistakes.
        flipped: (train,) which training labels are wrong.
        model: the model, scored by its accuracy.
        smooth: the same model with a score that has a derivative.
    """

    split: Split
    flipped: np.ndarray
    model: WeightedModel
    smooth: WeightedModel


def draw_task(name: str, folder: Path | None, seed: int, *, rows: int = ROWS, flipped: float = 0.2) -> Task:
    """Random rows of a set, and random mistakes in the labels of those to train on."""
    rng = np.random.default_rng(seed)
    path = data.data_folder(name, path=folder)
    if name == "adult":
        split, classes = adult(path, rng, train=rows, test=rows), 2
        model, smooth = (values.logistic_regression(ridge=1.0, score=score) for score in ("accuracy", "log_likelihood"))
    else:
        split, classes = principal_components(mnist(path, rng, train=rows, test=rows), dimensions=32), 10
        model, smooth = (
            values.ridge_regression(ridge=1.0, classes=classes, score=score) for score in ("accuracy", "squared_error")
        )
    labels, wrong = flip_labels(rng, split.train_y, share=flipped, classes=classes)
    return Task(split._replace(train_y=labels), wrong, model, smooth)


SETS = ("adult", "mnist")


def estimates(task: Task, seed: int, budgets: Iterable[int]) -> Iterable[tuple[str, int, Any]]:
    """Each method's name, the trainings that it made, and its values."""
    split, rows = task.split, len(task.flipped)
    train, test = (jnp.asarray(split.train_x), split.train_y), (jnp.asarray(split.test_x), split.test_y)
    utility = values.weighted_utility(task.model, train, test)
    along = values.weighted_path_utility(task.model, train, test)
    yield "KNN-Shapley", 0, values.knn_shapley(*train, *test, neighbours=NEIGHBOURS)
    yield "influence", 1, values.influence(values.weighted_utility(task.smooth, train, test), rows)
    yield "leave-one-out", rows + 1, values.evaluate_leave_one_out(utility, rows, batch_size=128)
    for budget in budgets:
        key = jax.random.key(seed)
        permutations = max(4, 2 * (budget // rows // 2))
        yield "Shapley", budget, values.sample_shapley_along_paths(key, along, rows, permutations=permutations)
        eighths = max(16, 8 * (budget // rows // 8))
        beta = values.sample_beta_shapley(
            key, utility, rows, alpha=16, beta=1, permutations=eighths, strata=4, batch_size=512
        )
        yield "Beta(16, 1)", int(beta.evaluations), beta
        yield "Banzhaf", budget, values.sample_banzhaf(key, utility, rows, coalitions=budget, batch_size=512)
        yield "Data-OOB", budget, bagged(key, task.model, *train, models=budget)


def bagged(key: Any, model: WeightedModel, x: Any, y: np.ndarray, *, models: int) -> Estimate:
    """Data-OOB of models that are trained on bootstrap samples, which are weights of rows."""

    def counts(key: Any) -> Any:
        drawn = jax.random.randint(key, (len(y),), 0, len(y))
        return jnp.zeros(len(y)).at[drawn].add(1.0)

    def right(weights: Any) -> Any:
        params = model.fit(x, y, weights)
        labels = jnp.asarray(y)
        return jax.vmap(lambda one, label: model.score(params, one[None], label[None]))(x, labels)

    weights = jax.vmap(counts)(jax.random.split(key, models))
    scores = jax.jit(lambda weights: jax.lax.map(right, weights, batch_size=256))(weights)
    return values.out_of_bag(scores, np.asarray(weights > 0))


def removals(task: Task, seed: int, found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The accuracy while rows are removed in the order of the values of some methods."""
    split = task.split
    utility = values.weighted_utility(task.model, (split.train_x, split.train_y), (split.test_x, split.test_y))
    curves = {
        name: values.removal_curves(jax.random.key(seed), utility, found[name], batch_size=128, draws=20)
        for name in SHOWN
    }
    return {
        name: {part: np.asarray(numbers).tolist() for part, numbers in curve._asdict().items() if part != "adding"}
        for name, curve in curves.items()
    }


def one_run(name: str, folder: Path | None, seed: int, budgets: tuple[int, ...], rows: int) -> dict[str, Any]:
    """The AUC of every method and budget on one draw of the set."""
    task = draw_task(name, folder, seed, rows=rows)
    areas, latest = [], {}
    for method, fits, found in estimates(task, zlib.crc32(f"{name} {seed}".encode()), budgets):
        auc = float(values.detection_curve(found, task.flipped).auc)
        areas.append({"method": method, "trainings": fits, "auc": auc})
        latest[method] = found
    first = {"removal": removals(task, seed, latest)} if seed == 0 else {}
    return {"areas": areas, **first}


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each method and budget the mean AUC over seeds, and Student's 95 % interval of the mean."""
    from scipy.special import stdtrit

    rows = []
    for cells in zip(*(run["areas"] for run in runs), strict=True):
        areas = np.array([cell["auc"] for cell in cells])
        reach = None  # one seed says nothing of the others
        if len(areas) > 1:
            reach = float(-stdtrit(len(areas) - 1, 0.025) * areas.std(ddof=1) / np.sqrt(len(areas)))
        fits = round(float(np.mean([cell["trainings"] for cell in cells])))
        rows.append({"method": cells[0]["method"], "trainings": fits, "auc": float(areas.mean()), "reach": reach})
    return rows


def plot_auc(summaries: dict[str, list[dict[str, Any]]]) -> Figure:
    """The AUC of each method against the number of trainings, with intervals over seeds, a panel for each set."""
    figure = new_figure(7.0, 3.4)
    figure.set_layout_engine("constrained", w_pad=0.05)
    panels = figure.subplots(1, len(summaries), sharey=True, squeeze=False)[0]
    for axes, (name, rows) in zip(panels, summaries.items(), strict=True):
        _panel(axes, rows)
        axes.set_title({"adult": "Adult, logistic regression", "mnist": "MNIST, ridge regression"}[name], fontsize=8)
        axes.set_xlabel("trainings", fontsize=NORMAL)
    panels[0].set_ylabel("AUC of wrong labels", fontsize=NORMAL)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=NORMAL, frameon=False)
    return figure


def _panel(axes: Axes, rows: list[dict[str, Any]]) -> None:
    axes.axhline(0.5, color=GREY, linewidth=0.6)
    for method, (colour, marker, style) in {**FIXED, **SAMPLED}.items():
        mine = [row for row in rows if row["method"] == method]
        x, y, reach = (np.array([row[name] or 0.0 for row in mine]) for name in ("trainings", "auc", "reach"))
        axes.errorbar(
            x, y, yerr=reach, color=colour, marker=marker, markersize=4.5, linestyle=style,
            linewidth=1.3, capsize=2, elinewidth=0.8, label=method,
        )  # fmt: skip
    most = max(row["trainings"] for row in rows)
    axes.set_xscale("symlog", linthresh=1, linscale=0.6)
    ticks = [0, *(10**k for k in range(int(np.log10(most)) + 1))]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(-0.4, 2 * most)
    axes.set_ylim(min(0.45, axes.get_ylim()[0]), 1.0)
    axes.tick_params(labelsize=NORMAL, width=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment and return the exit status: 0, 2 for input that is wrong, 130 if interrupted."""
    parser = documented_parser("experiments.label_noise", __doc__)
    add = parser.add_argument
    add("--set", nargs="+", choices=SETS, default=list(SETS), help="(default: both)")
    add("--seeds", type=positive, default=SEEDS, metavar="N", help="draws of rows and mistakes (default: %(default)s)")
    budgets = f"budgets of trainings (default: {' '.join(map(str, BUDGETS))})"
    add("--fits", nargs="+", type=positive, default=list(BUDGETS), metavar="N", help=budgets)
    add("--rows", type=positive, default=ROWS, metavar="N", help="to train on, and to test on (default: %(default)s)")
    add("--data", type=Path, metavar="FOLDER", help="folder of data sets")
    add("--out", type=Path, default=Path("results/label_noise"), metavar="FOLDER", help="(default: %(default)s)")
    add("--json", action="store_true", help="print the results alone, as JSON, on standard output")
    options = parser.parse_args(arguments)
    return guarded(run, options, kept="seeds that were finished are kept", without_data="there is none")


def run(options: argparse.Namespace, notes: Console) -> None:
    """Run the seeds that are missing, print all, and draw the figures."""
    configuration = {"rows": options.rows, "fits": sorted(options.fits)}
    results, note = open_results(options.out, "label_noise", configuration)
    if note:
        notes.print(note)
    wanted = [(name, seed) for seed in range(options.seeds) for name in options.set]
    missing = [one for one in wanted if "{}, {}".format(*one) not in results["runs"]]
    with progress(notes) as bar, precision(False):
        task = bar.add_task("seeds", total=len(missing))
        for name, seed in missing:
            found = one_run(name, options.data, seed, tuple(configuration["fits"]), options.rows)
            results["runs"][f"{name}, {seed}"] = found
            save_results(options.out, results)
            bar.advance(task)
    summaries = {
        name: summary([results["runs"][f"{name}, {seed}"] for seed in range(options.seeds)]) for name in options.set
    }
    _draw(options, results, summaries)
    if options.json:
        print(json.dumps(summaries, indent=1))
        return
    console = Console(highlight=False)
    for name, rows in summaries.items():
        console.print(_table(name, rows, options.seeds))
    notes.print(f"written to {options.out}: results.json, auc.png, removal.png")


def _draw(options: argparse.Namespace, results: dict[str, Any], summaries: dict[str, list[dict[str, Any]]]) -> None:
    plot_auc(summaries).savefig(options.out / "auc.png", dpi=200)
    curves = {}
    for name in options.set:
        for method, parts in results["runs"][f"{name}, 0"]["removal"].items():
            curves[f"{name}, {method}"] = RemovalCurves(**{part: np.array(cells) for part, cells in parts.items()})
    plot_removal(curves, players=options.rows, measure="accuracy").savefig(options.out / "removal.png", dpi=200)


def _table(name: str, rows: list[dict[str, Any]], seeds: int) -> Table:
    table = Table("method", "trainings", "AUC", f"95 % interval over {seeds} seeds", title=name, box=None)
    for row in rows:
        reach = row["reach"]
        ends = "unknown" if reach is None else f"{row['auc'] - reach:.3f} to {row['auc'] + reach:.3f}"
        table.add_row(row["method"], f"{row['trainings']:,}", f"{row['auc']:.3f}", ends)
    return table


if __name__ == "__main__":
    sys.exit(main())
