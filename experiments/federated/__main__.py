"""Values of participants in federated learning: whom to select, and who has wrong labels (Zheng et al., Figure 4).

    python -m experiments.federated [--seeds N] [--full] [--quick] [--data FOLDER] [--out FOLDER] [--json]

3,600 images of MNIST, 360 of each class, belong to 30 contributors with 120 each. Six contributors take part in each of
five rounds. Half of the contributors are noisy: each of their labels is replaced by another class with probability
0.7. A round trains the network 784-200-200-10 on the images of each contributor alone, by 50 steps of gradient descent
on all of them at rate 0.01, and averages the six networks. The utility is the accuracy on the 10,000 test images.

ADS            the Shapley value within a round at the realised state, from all 64 subsets of the round
leave-one-out  what the round loses without the contributor
random         a random number for each contributor

The training then starts again from the initial network, with only the contributors of the 3 or the 4 largest values in
each round. The detection curve tells which share of a round's noisy contributors is among those of the lowest values.

Where this departs from the paper: it draws 200 of the 720 orders of a round, and here all orders enter exactly. It
names no initial weights, and here they are those of PyTorch's linear layers. Rounds in which all six contributors are
noisy, or none, say nothing of a ranking and are left out of the detection curves; the paper leaves out only those
without a noisy one. The paper prints no number for this figure, so that its claims are tested as inequalities.

--full runs the paper's 100 seeds, --quick shows in less than a minute what happens. Written to `--out`: `results.json`
and `federated.png`. Seeds that are finished are kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.commands import documented_parser, guarded, positive, progress
from experiments.federated.figures import LEVEL, draw
from experiments.federated.rounds import EPOCHS, METHODS, SELECTED, make_test, one_seed
from experiments.inequalities import inequality, inequality_table
from experiments.results import open_results, save_results
from jaxval import data

__all__ = ["main"]

SEEDS, PAPER_SEEDS = 20, 100


def claims(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The paper's claims on Figure 4."""
    rows = []
    for k in SELECTED:
        for other in ("leave-one-out", "random"):
            pair = [np.array([run["accuracy"][f"{name}, top {k}"] for run in runs]) for name in ("ADS", other)]
            for what, at in (("mean over rounds", np.mean), ("after the last", lambda a, axis: a[:, -1])):
                numbers = [at(part, axis=1) for part in pair]
                rows.append(inequality(f"top {k}, {what}: ADS above {other}", *numbers, level=LEVEL))
    for other in ("leave-one-out", "random"):
        areas = [[run["detection"][name]["auc"] for run in runs] for name in ("ADS", other)]
        rows.append(inequality(f"AUC of noisy: ADS above {other}", *areas, level=LEVEL))
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment and return the exit status: 0, 2 for input that is wrong, 130 if interrupted."""
    parser = documented_parser("experiments.federated", __doc__)
    add = parser.add_argument
    add("--seeds", type=positive, metavar="N", help=f"draws of everything (default: {SEEDS})")
    add("--full", action="store_true", help=f"the paper's {PAPER_SEEDS} seeds")
    add("--quick", action="store_true", help="4 seeds, 1,000 test images and 20 steps of each local training")
    add("--data", type=Path, metavar="FOLDER", help="folder of data sets")
    add("--out", type=Path, default=Path("results/federated"), metavar="FOLDER", help="(default: %(default)s)")
    add("--json", action="store_true", help="print the results alone, as JSON, on standard output")
    options = parser.parse_args(arguments)
    if options.seeds is None:
        options.seeds = PAPER_SEEDS if options.full else 4 if options.quick else SEEDS
    return guarded(run, options, kept="seeds that were finished are kept", without_data="there is none")


def run(options: argparse.Namespace, notes: Console) -> None:
    """Run the seeds that are missing, print all, and draw the figure."""
    configuration = {"test images": 1_000 if options.quick else 10_000, "epochs": 20 if options.quick else EPOCHS}
    results, note = open_results(options.out, "federated", configuration)
    if note:
        notes.print(note, markup=False)
    missing = [seed for seed in range(options.seeds) if str(seed) not in results["runs"]]
    if missing:
        folder = data.data_folder("mnist", path=options.data)
        images, labels, test_images, test_labels = (
            data.read_idx(folder / f"{name}-ubyte.gz")
            for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
        )
        test = make_test(test_images[: configuration["test images"]], test_labels[: configuration["test images"]])
    with progress(notes) as bar:
        task = bar.add_task("seeds", total=len(missing))
        for seed in missing:
            results["runs"][str(seed)] = one_seed(
                images, labels.astype(int), test, seed, epochs=configuration["epochs"]
            )
            save_results(options.out, results)
            bar.advance(task)
    runs = [results["runs"][str(seed)] for seed in range(options.seeds)]
    results["claims"] = claims(runs)
    save_results(options.out, results)
    draw(runs).savefig(options.out / "federated.png", dpi=200)
    if options.json:
        print(json.dumps({"claims": results["claims"], "summary": summary(runs)}, indent=1))
    else:
        show(runs, results["claims"])
    notes.print(f"written to {options.out}: results.json, federated.png", markup=False)


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each method the mean accuracies, the AUC and the share of noisy contributors among the selected."""
    rows = []
    for name in METHODS:
        row: dict[str, Any] = {"method": name}
        for k in SELECTED:
            curves = np.array([run["accuracy"][f"{name}, top {k}"] for run in runs])
            row[f"top {k}"] = curves.mean(axis=0).tolist()
            row[f"top {k}, noisy"] = float(np.mean([run["noisy selected"][f"{name}, top {k}"] for run in runs]))
        row["auc"] = float(np.mean([run["detection"][name]["auc"] for run in runs]))
        rows.append(row)
    return rows


def show(runs: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Print the means, the claims, and how exactly each round's values sum to what the round adds."""
    console = Console(highlight=False, width=max(Console().width, 120))
    title = f"means over {len(runs)} seeds"
    heads = [f"top {k}:\n{what}" for k in SELECTED for what in ("after round 1", "after the last", "noisy selected")]
    table = Table("method", *heads, "AUC of noisy", box=box.SIMPLE_HEAD, title=title)
    for row in summary(runs):
        cells = [
            text
            for k in SELECTED
            for text in (f"{row[f'top {k}'][0]:.4f}", f"{row[f'top {k}'][-1]:.4f}", f"{row[f'top {k}, noisy']:.1%}")
        ]
        table.add_row(row["method"], *cells, f"{row['auc']:.4f}")
    console.print(table)
    every = np.mean([run["accuracy"]["all six"][-1] for run in runs])
    console.print(f"All six in every round: {every:.4f} after the last.")
    console.print(inequality_table(rows, level=LEVEL, title="the paper's claims, from differences on the same seeds"))
    gap = max(run["efficiency"] for run in runs)
    console.print(f"The values of a round sum to what the round adds, up to {gap:.0e} (Proposition 4.2).")


if __name__ == "__main__":
    sys.exit(main())
