"""The tasks of `benchmarks.values_neighbours` by pyDVL (appliedAI)."""

from collections.abc import Callable

import numpy as np
from pydvl.valuation import Dataset, KNNShapleyValuation
from sklearn.neighbors import KNeighborsClassifier

PACKAGES = ("pyDVL", "scikit-learn", "numpy")


def exact(inputs: dict[str, np.ndarray], *, neighbours: int) -> Callable[[], dict[str, np.ndarray]]:
    train = Dataset(inputs["train_x"], inputs["train_y"])
    test = Dataset(inputs["test_x"], inputs["test_y"])

    def run() -> dict[str, np.ndarray]:
        model = KNeighborsClassifier(n_neighbors=neighbours, algorithm="brute")
        valuation = KNNShapleyValuation(model, test, progress=False)
        return {"values": np.asarray(valuation.fit(train).result.sort(key="index").values)}

    return run


TASKS = {"exact": exact}
