"""The tasks of `benchmarks.values_sampling` by pyDVL (appliedAI)."""

from collections.abc import Callable

import numpy as np
from pydvl.valuation import Dataset, MaxUpdates, PermutationSampler, ShapleyValuation
from pydvl.valuation.utility.base import UtilityBase

PACKAGES = ("pyDVL", "numpy")


class Pairwise(UtilityBase):
    """The game as a utility of the indices that pyDVL hands over."""

    def __init__(self, weights: np.ndarray, interactions: np.ndarray) -> None:
        self.weights, self.interactions = weights, interactions

    def __call__(self, sample) -> float:
        """The utility of a sample's subset."""
        if sample is None or len(sample.subset) == 0:
            return 0.0
        members = np.zeros(len(self.weights))
        members[sample.subset] = 1
        return float(members @ self.weights + members @ self.interactions @ members / 2)


def pairwise(inputs: dict[str, np.ndarray], *, permutations: int) -> Callable[[], dict[str, np.ndarray]]:
    players = len(inputs["weights"])
    data = Dataset(np.arange(players)[:, None].astype(float), np.zeros(players))
    seeds = iter(range(1 << 30))

    def run() -> dict[str, np.ndarray]:
        utility = Pairwise(inputs["weights"], inputs["interactions"])
        valuation = ShapleyValuation(
            utility, PermutationSampler(seed=next(seeds)), is_done=MaxUpdates(permutations), progress=False
        )
        result = valuation.fit(data).result.sort(key="index")
        return {"values": np.asarray(result.values), "standard_errors": np.asarray(result.stderr)}

    return run


TASKS = {"pairwise": pairwise}
