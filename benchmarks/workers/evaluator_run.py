"""A stored run of `benchmarks.evaluator`, to be killed: `FOLDER DESIGN WORKERS EVALUATIONS SECONDS`.

Every call of the utility leaves a line in `FOLDER/calls.log` when it begins and one when it ends, in one append each.
The last run, the one that is not killed, leaves `FOLDER/values.npz`.
"""

import math
import os
import sys
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np

from jaxval import coalitions, parallel, values

PLAYERS = 16


def utility(mask: np.ndarray, *, log: str, seconds: float) -> float:
    """A training for so many seconds, of a score without structure."""
    name = "".join("01"[int(member)] for member in mask)
    note(log, f"begun {name}\n")
    time.sleep(seconds)
    note(log, f"ended {name}\n")
    return math.sin(int(name, 2)) + math.sqrt(name.count("1"))


def note(log: str, line: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def main(folder: Path, design: str, workers: int, evaluations: int, seconds: float) -> None:
    trained = coalitions.evaluator(
        partial(utility, log=str(folder / "calls.log"), seconds=seconds),
        PLAYERS,
        store=folder / "store.sqlite",
        executor=parallel.ProcessPool(workers) if workers else None,
        traced=False,
    )
    key = jax.random.key(0)
    if design == "regressed":
        estimate = values.regress_shapley(key, trained, PLAYERS, evaluations=evaluations)
    else:
        permutations = max(4, 2 * round((evaluations - 2) / (PLAYERS - 1) / 2))
        estimator = values.permutation_estimator(PLAYERS, permutations=permutations, per_ask=4)
        estimate = values.run_estimator(key, estimator, trained, PLAYERS, save=folder / "state.npz")
    np.savez(folder / "values.npz", values=estimate.values, standard_errors=estimate.standard_errors)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
