"""Shapley values from a table of all coalitions, against shapiq's ExactComputer and vectorised NumPy.

    python -m benchmarks.values_exact [--case CASE ...] [--quick] [--environment NAME=PATH ...] [--out FOLDER]

Cases: a race by number of players; the same against the sum of the table; and, no race, memory at 24 players. One core
for every side; sides run in turn; compile time is told apart; answers are compared in the same run.
"""

import argparse
import sys
from functools import partial

import numpy as np
from rich.console import Console

from benchmarks.command import Cases, run_benchmark
from benchmarks.environments import OURS
from benchmarks.harness import Agreement, Answers, Bench, FailedRunError, Pair, Side
from benchmarks.peers import NUMPY, SHAPIQ

PEERS = (NUMPY, SHAPIQ)

JAXVAL = "values_exact_jaxval"
CALLS = 20  # in one run, where a call takes less than a thousandth of a second


def race(bench: Bench, options: argparse.Namespace) -> None:
    """Random tables in float64; ours in both precisions."""
    for players in [8] if options.quick else [12, 16]:
        table = np.random.default_rng(options.seed).normal(size=2**players)
        final = players == 16
        bench.race(
            "Shapley values from a table",
            {"players": players},
            {"table": table},
            [
                Side("jaxval, float64", OURS, JAXVAL, "shapley", {"calls": CALLS}, CALLS, x64=True),
                Side("jaxval, float32", OURS, JAXVAL, "shapley", {"calls": CALLS}, CALLS),
                Side("vectorised NumPy", NUMPY, "values_exact_numpy", "shapley", {"calls": CALLS}, CALLS),
                Side("shapiq ExactComputer", SHAPIQ, "values_exact_shapiq", "shapley"),
            ],
            pairs=[
                Pair("jaxval, float64", "vectorised NumPy", 10 if final else None),
                Pair("jaxval, float64", "shapiq ExactComputer", 1000 if final else None),
                Pair("jaxval, float32", "vectorised NumPy"),
                Pair("jaxval, float32", "shapiq ExactComputer"),
            ],
            compare=same_values,
        )


def passes(bench: Bench, options: argparse.Namespace) -> None:
    """How many sums of the table a value costs."""
    for players in [10] if options.quick else [16, 20]:
        table = np.random.default_rng(options.seed).normal(size=2**players)
        sides, pairs = [], []
        for precision, x64, most in (("float32", False, 8), ("float64", True, 10)):
            sides.append(Side(f"sum of the table, {precision}", OURS, JAXVAL, "total", {"calls": CALLS}, CALLS, x64))
            for value in ("shapley", "banzhaf", "shapley_interactions"):
                task = {"value": value, "calls": CALLS}
                sides.append(Side(f"{value}, {precision}", OURS, JAXVAL, "shapley", task, CALLS, x64))
                wanted = most if value == "shapley" and players == 20 else None
                pairs.append(Pair(f"{value}, {precision}", f"sum of the table, {precision}", at_most=wanted))
        bench.race("passes over a table", {"players": players}, {"table": table}, sides, pairs=pairs)


def memory(bench: Bench, options: argparse.Namespace) -> None:
    """Peak memory of a fresh process, table included, counted in tables of float32."""
    players = 16 if options.quick else 24
    bench.tell(f"memory at {players} players")
    try:
        answers = bench.once(Side("jaxval", OURS, JAXVAL, "memory", {"players": players}), {})
    except FailedRunError as error:
        bench.add({"case": "memory", "sizes": {"players": players}, "missing": str(error)})
        return
    with_table, peak = answers["tables"].tolist()
    bench.add(
        {
            "case": "memory",
            "sizes": {"players": players},
            "measured": {"table alone": with_table, "peak in tables": peak},
        }
    )


def show_memory(records: list[dict], console: Console) -> None:
    for record in records:
        if "measured" in record:
            console.print(f"memory, {record['sizes']}: {record['measured']}; wanted at most 3 tables", markup=False)


def same_values(inputs: Answers, ours: Answers, theirs: Answers) -> Agreement:
    return Agreement(np.abs(ours["values"] - theirs["values"]).max(), 1e-5, "in value")


CASES: Cases = {"memory": memory, "race": race, "passes": passes}

main = partial(run_benchmark, "values_exact", __doc__, CASES, PEERS, also_show=show_memory, cores=1)

if __name__ == "__main__":
    sys.exit(main())
