"""Values of synthetic training rows: which to remove, which to add (Zheng et al., Figures 2 and 7).

    python -m experiments.synthetic_data [--set SET ...] [--seeds N] [--permutations N] [--full] [--quick]
        [--data FOLDER] [--out FOLDER] [--json]

adult         1,000 rows, and 600 more of the smaller class by Borderline-SMOTE; 5 nearest neighbours
mnist         500 images, and each of them rotated, shifted and scaled at random; 5 nearest neighbours
omniglot      100 drawings of 20 characters, and each of them deformed likewise; logistic regression
omniglot-3nn  the same, 3 nearest neighbours

Synthetic rows are removed from all rows, or added to the originals, from the lowest value or from the highest, 0 to
30 % of them. A method's area is that between its curve of relative accuracy and the curve of 20 random orders, divided
by the width: above 0, the order is better than chance. The utility is the accuracy on the test rows. As in the paper,
the curves are those of the same test rows; the areas on as many fresh test rows are beside them.

MC-ADS, MC-DS    sampled permutations of the classifier's accuracy; ADS has the originals before the synthetic rows
KNN-ADS, KNN-DS  exact values of the soft accuracy of nearest neighbours
LOO              the accuracy that all rows lose without one

By default 2 seeds with 200 permutations. --full is the paper: 10 seeds, 5,000 permutations (Adult), 3,000 (MNIST) and
2,000 (Omniglot). --quick is one seed of omniglot-3nn and 32 permutations.

Where this departs from the paper: deformed drawings in place of the GAN's for Omniglot, and 20 characters of the first
964 by seed, at 28 x 28 pixels, because the paper's characters 1420 to 1439 are of another file. Permutations come in
pairs, one the reverse of the other within each group. If two classes have equally many votes, each counts one half.
The intervals are at 95 %, as in section 6; appendix C.1 has 90 %. Bands are drawn for three seeds or more. The paper
prints no number for these figures, so that its claims are tested as inequalities.

Written to `--out`: `results.json`, `curves.png` and `areas.png`. What is finished is kept, of the logistic regression
also every eight permutations.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from experiments.commands import documented_parser, guarded, positive, precision, progress
from experiments.inequalities import inequality_table
from experiments.results import open_results, save_results
from experiments.synthetic_data import measures
from experiments.synthetic_data.figures import plot_areas, plot_curves
from experiments.synthetic_data.tasks import SETS, Task, draw_task

SEEDS, PERMUTATIONS = 2, 200
PAPER_SEEDS, QUICK_PERMUTATIONS = 10, 32


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment and return the exit status: 0, 2 for input that is wrong, 130 if interrupted."""
    kept = "what was finished is kept, and the same command goes on"
    return guarded(run, parse(arguments), kept=kept, without_data="there is none")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = documented_parser("experiments.synthetic_data", __doc__)
    add = parser.add_argument
    add("--set", nargs="+", choices=list(SETS), metavar="SET", help=f"any of {', '.join(SETS)} (default: all)")
    add("--seeds", type=positive, metavar="N", help=f"draws of rows (default: {SEEDS})")
    add("--permutations", type=positive, metavar="N", help=f"an even number (default: {PERMUTATIONS})")
    add("--full", action="store_true", help="the paper's seeds and permutations")
    add("--quick", action="store_true", help="the smallest set, one seed and few permutations")
    add("--data", type=Path, metavar="FOLDER", help="folder of data sets")
    add("--out", type=Path, default=Path("results/synthetic_data"), metavar="FOLDER", help="(default: %(default)s)")
    add("--json", action="store_true", help="print the results alone, as JSON, on standard output")
    options = parser.parse_args(arguments)
    options.set = options.set or (["omniglot-3nn"] if options.quick else list(SETS))
    options.seeds = options.seeds or (PAPER_SEEDS if options.full else 1 if options.quick else SEEDS)
    options.permutations = {name: options.permutations or _permutations(name, options) for name in SETS}
    return options


def _permutations(name: str, options: argparse.Namespace) -> int:
    if options.full:
        return SETS[name].permutations
    return QUICK_PERMUTATIONS if options.quick else PERMUTATIONS


def run(options: argparse.Namespace, notes: Console) -> None:
    """Do what is missing, print all, and draw the figures."""
    results, note = open_results(options.out, "synthetic_data", {"permutations": options.permutations})
    if note:
        notes.print(note, markup=False)
    units = itertools.product(range(options.seeds), options.set, measures.METHODS)
    missing = [(name, seed, m) for seed, name, m in units if _label(name, seed, m) not in results["runs"]]
    draw = functools.lru_cache(maxsize=1)(lambda name, seed: draw_task(name, options.data, seed))
    with progress(notes) as bar, precision(False):
        task = bar.add_task("", total=sum(_cost(*unit, options) for unit in missing))
        for name, seed, method in missing:
            bar.update(task, description=_label(name, seed, method))
            done = bar.tasks[task].completed + _cost(name, seed, method, options)
            results["runs"][_label(name, seed, method)] = one_run(
                draw(name, seed), name, seed, method, options, advance=functools.partial(bar.advance, task)
            )
            bar.update(task, completed=done)
            save_results(options.out, results)
    names, seeds = options.set, range(options.seeds)
    results["areas"] = measures.summary(results["runs"], names, seeds)
    results["claims"] = measures.claims(results["runs"], names, seeds)
    save_results(options.out, results)
    plot_curves(results["runs"], names, seeds).savefig(options.out / "curves.png", dpi=200)
    plot_areas(results["areas"]).savefig(options.out / "areas.png", dpi=200)
    if options.json:
        print(json.dumps({"areas": results["areas"], "claims": results["claims"]}, indent=1))
    else:
        show(results, names, options.seeds)
    notes.print(f"written to {options.out}: results.json, curves.png, areas.png", markup=False)


def _label(name: str, seed: int, method: str) -> str:
    return f"{name}, {seed}, {method}"


def _cost(name: str, seed: int, method: str, options: argparse.Namespace) -> float:
    """About how many milliseconds a run takes, so that the bar knows the time left."""
    each = SETS[name].milliseconds
    return each * (50 + options.permutations[name] * method.startswith("MC"))


def one_run(
    task: Task, name: str, seed: int, method: str, options: argparse.Namespace, *, advance: Callable[[float], None]
) -> dict[str, Any]:
    """The curves of one method on one seed, and the seconds that its values took."""
    key, began = measures.seeded(name, seed), time.perf_counter()
    found = task.synthetic * 0.0  # random orders need no values
    if method != "random":
        permutations, save = options.permutations[name], None
        if task.linear:  # permutations of nearest neighbours take less than a minute, and their states are large
            save = options.out / "unfinished" / f"{_label(name, seed, method)}, {permutations}.npz"
            save.parent.mkdir(parents=True, exist_ok=True)
        step = SETS[name].milliseconds * measures.PER_ASK[task.linear]
        found = measures.estimate(
            task,
            method,
            key,
            permutations=permutations,
            save=save,
            advance=lambda asks: advance(asks * step),
        )
        if save is not None:
            save.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another run's work may be there
                save.parent.rmdir()
    seconds = time.perf_counter() - began
    return {**measures.curves(task, method, key, found), "seconds": seconds}


def show(results: dict[str, Any], names: list[str], seeds: int) -> None:
    """Print the areas, the claims, and the claims that do not come out."""
    console = Console(highlight=False, width=max(Console().width, 92))
    for name in names:
        heads = ["remove\nlow (a)", "remove\nhigh (b)", "add\nlow (c)", "add\nhigh (d)", "mean", "mean,\nfresh rows"]
        title = f"{SETS[name].title}: areas in hundredths, ± 95 % over {seeds} seeds"
        table = Table("method", *heads, box=box.SIMPLE_HEAD, title=title)
        for row in results["areas"][name]:
            table.add_row(row["method"], *(_area(row[panel]) for panel in (*measures.PANELS, "mean", "fresh")))
        console.print(table)
        took = [(m, results["runs"][_label(name, seeds - 1, m)]["seconds"]) for m in measures.METHODS[:-1]]
        console.print(f"Seconds for the values of the last seed: {', '.join(f'{m} {s:.1f}' for m, s in took)}.\n")
    for panel, title in (
        ("mean", "the paper's claims, on the mean of four areas"),
        ("fresh", "the same on fresh test rows, of which the paper says nothing"),
    ):
        rows = [row for row in results["claims"] if row["panel"] == panel]
        console.print(inequality_table(rows, level=measures.LEVEL, title=title))
    for text in dict.fromkeys(row["claim"] for row in results["claims"]):
        rows = [row for row in results["claims"] if row["claim"] == text and row["panel"] != "fresh"]
        below = [row for row in rows if row["gap"] < 0]
        if below:
            cells = [f"{row['panel']} by {-row['gap']:.4f} (seeds {row['against']})" for row in below]
            console.print(f"Does not come out: {text}: {'; '.join(cells)}.")


def _area(cell: dict[str, Any]) -> str:
    reach = "" if cell["reach"] is None else f"±{100 * cell['reach']:.1f}"
    return f"{100 * cell['area']:+.1f}{reach}"


if __name__ == "__main__":
    sys.exit(main())
