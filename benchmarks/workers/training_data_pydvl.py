"""The tasks of `benchmarks.training_data` by pyDVL (appliedAI)."""

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from joblib import parallel_config
from pydvl.valuation import (
    Dataset,
    KNNShapleyValuation,
    LOOValuation,
    MaxUpdates,
    ModelUtility,
    MSRBanzhafValuation,
    RelativeTruncation,
    SupervisedScorer,
    TMCShapleyValuation,
)
from pydvl.valuation.stopping import MaxSamples
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

PACKAGES = ("pyDVL", "scikit-learn", "numpy", "joblib")

Inputs = dict[str, np.ndarray]
Run = Callable[[], dict[str, np.ndarray]]
NEIGHBOURS = 5


def counted_accuracy(path: str, model: LogisticRegression, x: np.ndarray, y: np.ndarray) -> float:
    """The accuracy, and one byte more in a file, so that fits in all processes are counted."""
    with open(path, "ab") as file:
        file.write(b".")
    return float(np.mean(model.predict(x) == y))


def fitted(inputs: Inputs, workers: int, make: Callable[[ModelUtility], object]) -> Run:
    train, test = Dataset(inputs["train_x"], inputs["train_y"]), Dataset(inputs["test_x"], inputs["test_y"])
    log = Path(tempfile.mkdtemp(), "fits")

    def run() -> dict[str, np.ndarray]:
        log.write_bytes(b"")
        scorer = SupervisedScorer(partial(counted_accuracy, os.fspath(log)), test, default=0.5, range=(0, 1))
        utility = ModelUtility(LogisticRegression(max_iter=1000), scorer, show_warnings=False)
        with parallel_config("loky", n_jobs=workers, inner_max_num_threads=1):  # as ours, one thread a process
            result = make(utility).fit(train).result.sort(key="index")
        return {"values": np.asarray(result.values), "fits": np.asarray(log.stat().st_size)}

    return run


def banzhaf(inputs: Inputs, *, fits: int, workers: int) -> Run:
    def make(utility: ModelUtility) -> MSRBanzhafValuation:
        valuation = MSRBanzhafValuation(utility, is_done=MaxUpdates(fits), seed=0, show_warnings=False)
        valuation.is_done = MaxSamples(valuation.sampler, fits)
        return valuation

    return fitted(inputs, workers, make)


def truncated(inputs: Inputs, *, permutations: int, tolerance: float, workers: int) -> Run:
    def make(utility: ModelUtility) -> TMCShapleyValuation:
        return TMCShapleyValuation(
            utility, RelativeTruncation(rtol=tolerance), is_done=MaxUpdates(permutations), seed=0, show_warnings=False
        )

    return fitted(inputs, workers, make)


def leave_one_out(inputs: Inputs, *, workers: int) -> Run:
    return fitted(inputs, workers, LOOValuation)


def knn(inputs: Inputs) -> Run:
    train, test = Dataset(inputs["train_x"], inputs["train_y"]), Dataset(inputs["test_x"], inputs["test_y"])

    def run() -> dict[str, np.ndarray]:
        model = KNeighborsClassifier(n_neighbors=NEIGHBOURS, algorithm="brute")
        valuation = KNNShapleyValuation(model, test, progress=False)
        return {"values": np.asarray(valuation.fit(train).result.sort(key="index").values)}

    return run


TASKS = {"banzhaf": banzhaf, "truncated": truncated, "leave_one_out": leave_one_out, "knn": knn}
