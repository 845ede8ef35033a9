"""Values of 300 rows of Adult with a fifth of labels wrong, by scikit-learn's logistic regression, against pyDVL.

    python -m benchmarks.training_data [--case CASE ...] [--quick] [--environment NAME=PATH ...] [--out FOLDER]

Cases: Banzhaf values by maximum sample reuse and truncated Shapley values, seconds for each fit, against pyDVL and
against a bare parallel loop over as many fits; leave-one-out and KNN-Shapley; all prefixes of permutations by the
vmapped logistic regression in JAX against scikit-learn's loop; KNN-Shapley of a million rows. AUCs of wrong labels
stand beside. Without Adult in --data or $JAXVAL_DATA, rows are drawn.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.command import Cases, run_benchmark
from benchmarks.environments import OURS
from benchmarks.harness import Agreement, Answers, Bench, Pair, Side, sides_of
from benchmarks.peers import PYDVL
from experiments.datasets import Split, adult, flip_labels
from jaxval import data, values

PEERS = (PYDVL,)

side = sides_of("training_data")


def banzhaf(bench: Bench, options: argparse.Namespace) -> None:
    """Maximum sample reuse; a fit is a piece of work."""
    fits = 60 if options.quick else 5_000
    work = {"fits": fits, "workers": options.cores}
    sides = [
        side("jaxval", OURS, "banzhaf", items=fits, **work),
        side("bare loop", OURS, "loop", items=fits, **work),
        side("pyDVL", PYDVL, "banzhaf", items=fits, **work),
    ]
    pairs = [Pair("jaxval", "bare loop", None if options.quick else 1 / 1.1), Pair("jaxval", "pyDVL")]
    _race(bench, options, f"Banzhaf, {fits} fits", sides, pairs, repeats=1)


def shapley(bench: Bench, options: argparse.Namespace) -> None:
    """Truncated permutations; the sides truncate alike, and a permutation is a piece of work."""
    permutations = 4 if options.quick else 40
    work = {"permutations": permutations, "tolerance": 0.01, "workers": options.cores}
    sides = [
        side("jaxval", OURS, "truncated", items=permutations, **work),
        side("pyDVL", PYDVL, "truncated", items=permutations, **work),
    ]
    _race(
        bench, options, f"truncated Shapley, {permutations} permutations", sides, [Pair("jaxval", "pyDVL")], repeats=1
    )


def exact(bench: Bench, options: argparse.Namespace) -> None:
    """Leave-one-out and KNN-Shapley."""
    # Equal and nearly equal distances, of which Adult has many, are ordered differently in float32 and float64.
    for task, work, limit in (("leave_one_out", {"workers": options.cores}, 1e-6), ("knn", {}, 1e-3)):
        sides = [side("jaxval", OURS, task, **work), side("pyDVL", PYDVL, task, **work)]
        _race(bench, options, task, sides, [Pair("jaxval", "pyDVL")], repeats=options.repeats, limit=limit)


def vmapped(bench: Bench, options: argparse.Namespace) -> None:
    """Prefixes of permutations, a fit at each; a fit is a piece of work, and scikit-learn makes fewer of them."""
    inputs = rows_of_adult(options)
    rows = len(inputs["train_y"])
    many, few = (8, 1) if options.quick else (2_000, 4)
    sides = [
        side("jaxval", OURS, "along", items=many * rows, permutations=many),
        side("scikit-learn", OURS, "loop_along", items=few * rows, permutations=few),
    ]
    sizes = {"rows": rows, "features": inputs["train_x"].shape[1], "permutations": many}
    record = bench.race("vmapped logistic regression", sizes, inputs, sides, pairs=[Pair("jaxval", "scikit-learn")])
    gradients = bench.once(side("gradients", OURS, "gradients"), inputs)
    record["measured"] = {name: float(largest) for name, largest in gradients.items()}


def million(bench: Bench, options: argparse.Namespace) -> None:
    """KNN-Shapley of a million rows of 100 features, drawn inside the worker; a test row is a piece of work."""
    rows, tests = (10_000, 5) if options.quick else (1_000_000, 100)
    work = {"rows": rows, "tests": tests, "features": 100}
    one = side("jaxval", OURS, "million", items=tests, **work)
    record = bench.race("KNN-Shapley of many rows", work, {}, [one], repeats=0)
    record["measured"] = {name: float(number) for name, number in bench.once(one, {}).items()}


def rows_of_adult(options: argparse.Namespace) -> Answers:
    """Rows to train on with wrong labels, rows to test on, and which labels are wrong."""
    rng = np.random.default_rng(options.seed)
    rows = 40 if options.quick else 300
    try:
        folder = data.data_folder("adult", path=Path(options.data) if options.data else None)
        split = adult(folder, rng, train=rows, test=rows)
    except FileNotFoundError:
        x = rng.normal(size=(2 * rows, 20))
        y = (x @ rng.normal(size=20) + 2 * rng.normal(size=2 * rows) > 0).astype(np.int32)
        split = Split(x[:rows], y[:rows], x[rows:], y[rows:])
    labels, flipped = flip_labels(rng, split.train_y, share=0.2, classes=2)
    return split._replace(train_y=labels)._asdict() | {"flipped": flipped}


def _race(
    bench: Bench,
    options: argparse.Namespace,
    case: str,
    sides: list[Side],
    pairs: list[Pair],
    *,
    repeats: int,
    limit: float = 0.1,
) -> None:
    """A race on the rows of Adult; the AUC of each side, and the fits that it made, are told beside."""
    inputs = rows_of_adult(options)
    areas: dict[str, float] = {}

    def compare(inputs: Answers, ours: Answers, theirs: Answers) -> Agreement:
        if "values" not in theirs:  # a bare loop has no values
            return Agreement(0.0, 1.0, "not compared")
        found = [values.detection_curve(one["values"], inputs["flipped"]).auc for one in (ours, theirs)]
        areas.update(zip(("AUC, jaxval", "AUC, pyDVL"), map(float, found), strict=True))
        for name, one in (("jaxval", ours), ("pyDVL", theirs)):
            if "fits" in one:
                areas[f"fits, {name}"] = float(one["fits"])
        if limit < 0.01:
            return Agreement(float(np.abs(ours["values"] - theirs["values"]).max()), limit, "in value")
        return Agreement(abs(float(found[0] - found[1])), limit, "in AUC")

    sizes = {"rows": len(inputs["train_y"]), "features": inputs["train_x"].shape[1]}
    record = bench.race(case, sizes, inputs, sides, pairs=pairs, compare=compare, repeats=repeats)
    record["measured"] = areas


def show_measured(records: list[dict], console: Console) -> None:
    for record in records:
        for name, measured in record.get("measured", {}).items():
            console.print(f"{record['case']}: {name}: {measured:.4g}", markup=False)


CASES: Cases = {"banzhaf": banzhaf, "shapley": shapley, "exact": exact, "vmapped": vmapped, "million": million}

main = partial(
    run_benchmark, "training_data", __doc__, CASES, PEERS, also_show=show_measured, data=True, repeats=3, limit=1200
)

if __name__ == "__main__":
    sys.exit(main())
