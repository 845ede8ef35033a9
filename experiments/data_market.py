"""A data market: what contributors keep if a broker copies or augments their data (Zheng et al., Figure 3).

    python -m experiments.data_market [--seeds N] [--images N] [--data FOLDER] [--out FOLDER] [--json]

Contributors own 500 images of MNIST, 50 of each class; the broker adds to them. The model is 5 nearest neighbours, the
utility the soft accuracy on 500 test images, for which KNN-DS and KNN-ADS are exact. ADS has the contributors before
the broker.

replication    the broker adds one or two copies of every image
augmentation   the broker rotates, shifts and scales every image at random, and keeps what has a positive value under
               the rule that pays; all that is kept is valued again
minimisers     Lemma 3.1 on a utility of empirical risk minimisation, exactly, with five contributors of twelve images
               and a copy of each: squared errors of the classes are minimised, and there are many minimisers. The
               lemma needs a choice among them that depends on their set alone, as that of the smallest norm does. With
               a choice that depends on how many sources there are, the originals do not get half of v(D) - v(∅).

The paper prints no number for this figure, so that its claims are tested as inequalities and equations. It does not say
how many seeds it has; here they are 10, as in its Figure 2. An image and its copies are neighbours in the order of
indices, so that equal distances cannot part them.

Written to `--out`: `results.json` and `market.png`. Parts of seeds that are finished are kept.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.commands import documented_parser, guarded, positive, progress
from experiments.datasets import Split, mnist
from experiments.inequalities import half_width, inequality, inequality_table
from experiments.results import open_results, save_results
from experiments.synthetic_data.tasks import deform
from jaxval import coalitions, data, values
from jaxval.plots._drawing import BLACK, BLUE, GREY, NORMAL, ORANGE, SMALL, new_figure
from jaxval.types import Utility

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["augmentation", "erm_utility", "main", "minimisers", "plot_market", "replication"]

NEIGHBOURS, COPIES, IMAGES, SEEDS, LEVEL = 5, 2, 50, 10, 0.95
OWNERS, EACH = 5, 12  # contributors of the part `minimisers`, and the images of each
RULES = ("DS", "ADS")


def totals(split: Split, group: np.ndarray, rule: str) -> tuple[np.ndarray, np.ndarray]:
    """The values of all rows under a rule, and their totals by group: contributors are group 0.

    Args:
        split: the rows.
        group: (train,) 0 for contributors' rows, 1, 2, ... for what the broker adds.
        rule: "DS" or "ADS".

    Returns:
        ((train,) values, (groups,) totals).
    """
    groups = group if rule == "ADS" else None
    found = values.knn_shapley(*split, neighbours=NEIGHBOURS, groups=groups)
    return np.asarray(found), np.asarray(values.owner_totals(found, group))


def worth(split: Split, rows: np.ndarray) -> float:
    """The utility of some rows."""
    return float(values.knn_utility(*split, neighbours=NEIGHBOURS)(jnp.asarray(rows)))


def replication(split: Split, copies: int = COPIES) -> list[dict[str, Any]]:
    """The totals with 0, 1, ... copies of every row, and the errors of the equations that should hold."""
    rows = []
    for count in range(copies + 1):
        copied = split._replace(
            train_x=np.repeat(split.train_x, count + 1, axis=0), train_y=np.repeat(split.train_y, count + 1)
        )
        group = np.tile(np.arange(count + 1), len(split.train_y))
        found = {rule: totals(copied, group, rule) for rule in RULES}
        steps = np.diff([0.0, *(worth(copied, group <= k) for k in range(count + 1))])
        of_images = found["DS"][0].reshape(-1, count + 1)
        rows.append(
            {
                **{rule: total.tolist() for rule, (_, total) in found.items()},
                "group efficiency": float(np.abs(found["ADS"][1] - steps).max()),
                "copies differ": float(np.ptp(of_images, axis=1).max()),
                "broker's share": float(found["DS"][1][1:].sum() / found["DS"][1].sum()),
            }
        )
    return rows


def augmentation(split: Split, more_x: np.ndarray, fresh: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
    """The totals after each rule has kept the broker's rows of positive value, and utilities on fresh test rows.

    Args:
        split: the contributors' rows and the test rows.
        more_x: (train, features) the broker's rows, of the classes of the contributors' rows.
        fresh: features and classes of test rows that no value has seen.
    """
    count = len(split.train_y)
    every = split._replace(
        train_x=np.concatenate([split.train_x, more_x]), train_y=np.concatenate([split.train_y, split.train_y])
    )
    group = np.repeat([0, 1], count)
    others = every._replace(test_x=fresh[0], test_y=fresh[1])
    shown: dict[str, Any] = {
        "before": worth(every, group == 0),
        "fresh": {"originals": worth(others, group == 0), "all": worth(others, group >= 0)},
    }
    for rule in RULES:
        kept = (group == 0) | (totals(every, group, rule)[0] > 0)
        smaller = every._replace(train_x=every.train_x[kept], train_y=every.train_y[kept])
        _, total = totals(smaller, group[kept], rule)
        shown[rule] = {"totals": total.tolist(), "kept": int(kept.sum()) - count, "after": worth(every, kept)}
        shown["fresh"][rule] = worth(others, kept)
    return shown


def erm_utility(split: Split, owners: np.ndarray, *, starts: np.ndarray | None = None) -> Utility:
    """The accuracy of a minimiser of the mean squared error, for sources and an exact copy of each.

    A source may be present once, as itself or as its copy, or twice. The classes are coded as 0 and 1. Of all
    minimisers the one nearest to a point is taken: to 0, or to a point for each number of sources.

    Args:
        split: the rows.
        owners: (train,) the source 0, 1, ... of each row.
        starts: (2 sources + 1, features, classes) the points; None means 0, and the smallest norm.

    Returns:
        A function of a mask (2 sources,), the copies last.
    """
    classes = int(split.train_y.max()) + 1
    x, targets = jnp.asarray(split.train_x), jax.nn.one_hot(split.train_y, classes, dtype=float)
    test_x, right = jnp.asarray(split.test_x), jnp.asarray(split.test_y)
    sources = int(owners.max()) + 1

    def utility(mask: Any) -> Any:
        times = jnp.asarray(mask, dtype=float)
        root = jnp.sqrt(times[:sources] + times[sources:])[owners][:, None]
        start = jnp.zeros((x.shape[1], classes))
        if starts is not None:
            start = jnp.asarray(starts)[jnp.sum(mask)]
        gram = jnp.linalg.pinv((root * x) @ (root * x).T, hermitian=True, rtol=1e-9)
        params = start + (root * x).T @ (gram @ (root * (targets - x @ start)))
        outputs = test_x @ params
        wins = outputs == outputs.max(axis=1, keepdims=True)
        return jnp.mean(jnp.take_along_axis(wins, right[:, None], axis=1)[:, 0] / wins.sum(axis=1))

    return utility


def minimisers(split: Split, owners: np.ndarray, seed: int) -> dict[str, Any]:
    """The originals' total under DS and ADS beside v(D) - v(∅), if the choice among minimisers is fixed or not."""
    sources = int(owners.max()) + 1
    shape = (2 * sources + 1, split.train_x.shape[1], int(split.train_y.max()) + 1)
    starts = 0.1 * np.random.default_rng(seed).normal(size=shape)
    shown = {}
    for name, points in (("fixed", None), ("by number", starts)):
        table = coalitions.tabulate(erm_utility(split, owners, starts=points), 2 * sources, batch_size=512)
        group = np.repeat([0, 1], sources)
        rules = {"DS": values.shapley(table), "ADS": values.asymmetric_shapley(table, group)}
        shown[name] = {
            "added": float(table[2**sources - 1] - table[0]),
            **{rule: np.asarray(values.owner_totals(found, group)).tolist() for rule, found in rules.items()},
        }
    return shown


PARTS = ("replication", "augmentation", "minimisers")


@functools.lru_cache(maxsize=1)
def draw_market(folder: Path | None, seed: int, images: int) -> tuple[Split, tuple[np.ndarray, np.ndarray], Any]:
    """Contributors' rows and test rows of one seed, fresh test rows, and the source of what else is random."""
    rng = np.random.default_rng(seed)
    drawn = mnist(data.data_folder("mnist", path=folder), rng, train=(images,) * 10, test=(2 * images,) * 10)
    first = np.tile(np.arange(2 * images) < images, 10)
    test = drawn._replace(test_x=drawn.test_x[first], test_y=drawn.test_y[first])
    return test, (drawn.test_x[~first], drawn.test_y[~first]), rng.spawn(len(PARTS))


def one_part(part: str, folder: Path | None, seed: int, images: int) -> Any:
    """The results of one part on one seed."""
    split, fresh, sources = draw_market(folder, seed, images)
    rng = sources[PARTS.index(part)]
    if part == "replication":
        return replication(split)
    if part == "augmentation":
        return augmentation(split, deform(rng, split.train_x), fresh)
    rows = rng.choice(len(split.train_y), OWNERS * EACH, replace=False)
    few = split._replace(train_x=split.train_x[rows], train_y=split.train_y[rows])
    return minimisers(few, np.repeat(np.arange(OWNERS), EACH), seed)


def claims(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The paper's inequalities, from differences on the same seeds."""
    copied = [run["replication"] for run in runs]
    added = [run["augmentation"] for run in runs]
    zero = [0.0] * len(runs)

    def row(text: str, larger: Sequence[float], smaller: Sequence[float]) -> dict[str, Any]:
        return inequality(text, larger, smaller, level=LEVEL)

    def broker(count: int, rule: str) -> list[float]:
        return [sum(one[count][rule][1:]) for one in copied]

    names = ("once", "twice")
    rows = [row(f"copied {names[k - 1]}: broker gains under ADS", broker(k, "ADS"), zero) for k in (1, 2)]
    rows += [row("second copy gains under ADS", [one[2]["ADS"][2] for one in copied], zero)]
    rows += [row(f"copied {names[k - 1]}: broker, DS above ADS", broker(k, "DS"), broker(k, "ADS")) for k in (1, 2)]
    rows += [row("broker under DS: twice above once", broker(2, "DS"), broker(1, "DS"))]
    before = [one["before"] for one in added]
    rows += [row("augmented: contributors lose under DS", before, [one["DS"]["totals"][0] for one in added])]
    rows += [row("augmented: broker gains under ADS", [one["ADS"]["totals"][1] for one in added], zero)]
    rows += [
        row("augmented: broker, DS above ADS", *([one[rule]["totals"][1] for one in added] for rule in RULES)),
        row(
            "kept by ADS: gains on fresh rows",
            *([one["fresh"][which] for one in added] for which in ("ADS", "originals")),
        ),
    ]
    return rows


def equations(runs: list[dict[str, Any]]) -> dict[str, float]:
    """The equations that should hold exactly, and the largest error of each over the seeds."""
    copied = [run["replication"] for run in runs]
    fixed = [run["minimisers"]["fixed"] for run in runs]
    after = [run["augmentation"] for run in runs]
    return {
        "ADS: what a group gets is what it adds": max(row["group efficiency"] for one in copied for row in one),
        "ADS: contributors' total, copied or not": max(
            abs(row["ADS"][0] - one[0]["ADS"][0]) for one in copied for row in one
        ),
        "ADS: contributors' total, augmented or not": max(
            abs(one["ADS"]["totals"][0] - one["before"]) for one in after
        ),
        "DS: an image and its copies have one value": max(row["copies differ"] for one in copied for row in one),
        "DS: the broker's share is 1/2, then 2/3": max(
            abs(row["broker's share"] - k / (k + 1)) for one in copied for k, row in enumerate(one)
        ),
        "Lemma 3.1, fixed choice: originals' total is half of v(D) - v(∅) under DS": max(
            abs(one["DS"][0] - one["added"] / 2) for one in fixed
        ),
        "fixed choice: copies add nothing, under ADS originals get all": max(
            max(abs(one["ADS"][0] - one["added"]), abs(one["ADS"][1])) for one in fixed
        ),
    }


def plot_market(runs: list[dict[str, Any]]) -> Figure:
    """Contributors' and broker's totals under DS and ADS, as in Figure 3, with intervals over seeds."""
    copied = np.array([[[_pair(row[rule]) for rule in RULES] for row in run["replication"]] for run in runs])
    added = np.array(
        [
            [[(one["before"], 0.0)] * 2, [one[rule]["totals"] for rule in RULES]]
            for one in (run["augmentation"] for run in runs)
        ]
    )
    figure = new_figure(7.0, 2.8)
    figure.set_layout_engine("constrained", w_pad=0.05)
    panels = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [3, 2]})
    labels = (["original", "copied once", "copied twice"], ["original", "augmented,\npositive values kept"])
    for axes, numbers, names, title in zip(
        panels, (copied, added), labels, ("(a) replication", "(b) augmentation"), strict=True
    ):
        for k, rule in enumerate(RULES):
            at = np.arange(len(names)) + (k - 0.5) * 0.42
            parts = numbers[:, :, k]  # (seeds, configurations, 2)
            mean, reach = parts.mean(axis=0), half_width(parts, level=LEVEL)
            axes.bar(at, mean[:, 0], 0.38, color=BLUE, label="contributors" if k == 0 else None)
            axes.bar(
                at, mean[:, 1], 0.38, bottom=mean[:, 0], color=ORANGE, hatch="///", edgecolor="white", linewidth=0,
                label="broker" if k == 0 else None,
            )  # fmt: skip
            if len(runs) > 1:
                axes.errorbar(at, mean[:, 0], yerr=reach[:, 0], fmt="none", ecolor=BLACK, capsize=2, linewidth=0.8)
            for x, (low, high) in zip(at, mean, strict=True):
                axes.annotate(rule, (x, 0.02), ha="center", color="white", fontsize=NORMAL, weight="bold")
                axes.annotate(f"{low:.2f}", (x, low / 2), ha="center", color="white", fontsize=SMALL)
                if high:
                    axes.annotate(
                        f"{high:.2f}", (x, low + high), (0, 2), textcoords="offset points", ha="center", fontsize=SMALL
                    )
        axes.set_xticks(np.arange(len(names)), names)
        axes.set_title(title, fontsize=NORMAL)
        axes.tick_params(labelsize=NORMAL, width=0.6)
        axes.axhline(0, color=GREY, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("total value (soft accuracy of 5-NN)", fontsize=NORMAL)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=NORMAL, frameon=False)
    return figure


def _pair(total: list[float]) -> tuple[float, float]:
    """Contributors' and broker's totals."""
    return total[0], sum(total[1:])


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment and return the exit status: 0, 2 for input that is wrong, 130 if interrupted."""
    parser = documented_parser("experiments.data_market", __doc__)
    add = parser.add_argument
    add("--seeds", type=positive, default=SEEDS, metavar="N", help="draws of images (default: %(default)s)")
    add("--images", type=positive, default=IMAGES, metavar="N", help="of each class (default: %(default)s)")
    add("--data", type=Path, metavar="FOLDER", help="folder of data sets")
    add("--out", type=Path, default=Path("results/data_market"), metavar="FOLDER", help="(default: %(default)s)")
    add("--json", action="store_true", help="print the results alone, as JSON, on standard output")
    kept = "parts of seeds that were finished are kept"
    return guarded(run, parser.parse_args(arguments), kept=kept, without_data="there is none")


def run(options: argparse.Namespace, notes: Console) -> None:
    """Run the parts of seeds that are missing, print all, and draw the figure."""
    results, note = open_results(options.out, "data_market", {"images": options.images, "precision": "float64"})
    if note:
        notes.print(note, markup=False)
    wanted = [(seed, part) for seed in range(options.seeds) for part in PARTS]
    missing = [(seed, part) for seed, part in wanted if f"{seed}, {part}" not in results["runs"]]
    with progress(notes) as bar:
        task = bar.add_task("parts of seeds", total=len(missing))
        for seed, part in missing:
            results["runs"][f"{seed}, {part}"] = one_part(part, options.data, seed, options.images)
            save_results(options.out, results)
            bar.advance(task)
    runs = [{part: results["runs"][f"{seed}, {part}"] for part in PARTS} for seed in range(options.seeds)]
    results["claims"], results["equations"] = claims(runs), equations(runs)
    save_results(options.out, results)
    plot_market(runs).savefig(options.out / "market.png", dpi=200)
    if options.json:
        print(json.dumps({name: results[name] for name in ("claims", "equations")}, indent=1, ensure_ascii=False))
    else:
        show(runs, results["claims"], results["equations"])
    notes.print(f"written to {options.out}: results.json, market.png", markup=False)


def show(runs: list[dict[str, Any]], rows: list[dict[str, Any]], exact: dict[str, float]) -> None:
    """Print the totals, the equations and the inequalities."""
    console = Console(highlight=False, width=max(Console().width, 100))
    table = Table("", *(f"{rule}:\n{who}" for rule in RULES for who in ("contributors", "broker")), box=box.SIMPLE_HEAD)
    table.title = f"totals, means over {len(runs)} seeds"
    for k, name in enumerate(("original", "copied once", "copied twice")):
        cells = [np.mean([_pair(run["replication"][k][rule]) for run in runs], axis=0) for rule in RULES]
        table.add_row(name, *(f"{number:.4f}" for cell in cells for number in cell))
    cells = [np.mean([run["augmentation"][rule]["totals"] for run in runs], axis=0) for rule in RULES]
    table.add_row("augmented, positive kept", *(f"{number:.4f}" for cell in cells for number in cell))
    console.print(table)
    kept = {rule: np.mean([run["augmentation"][rule]["kept"] for run in runs]) for rule in RULES}
    fresh = {
        name: np.mean([run["augmentation"]["fresh"][name] for run in runs]) for name in ("originals", "all", *RULES)
    }
    console.print(f"Augmented images kept: {kept['DS']:.0f} by DS, {kept['ADS']:.0f} by ADS.")
    console.print(f"On fresh test rows: {', '.join(f'{name} {number:.4f}' for name, number in fresh.items())}.")
    console.print("\nEquations, and by how much they are missed at most:")
    for text, gap in exact.items():
        console.print(f"  {text}: {gap:.0e}")
    changing = [run["minimisers"]["by number"] for run in runs]
    gaps = [one["DS"][0] - one["added"] / 2 for one in changing]
    worst = int(np.argmax(np.abs(gaps)))
    console.print(
        f"Lemma 3.1 does not hold if the choice depends on the number of sources: on seed {worst} the originals get "
        f"{changing[worst]['DS'][0]:.4f}, and half of v(D) - v(∅) is {changing[worst]['added'] / 2:.4f}."
    )
    console.print(inequality_table(rows, level=LEVEL, title="the paper's claims, from differences on the same seeds"))


if __name__ == "__main__":
    sys.exit(main())
