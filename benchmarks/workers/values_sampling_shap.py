"""The tasks of `benchmarks.values_sampling` by shap's PermutationExplainer."""

from collections.abc import Callable

import numpy as np
import shap

PACKAGES = ("shap", "numpy")


def pairwise(inputs: dict[str, np.ndarray], *, permutations: int) -> Callable[[], dict[str, np.ndarray]]:
    """Masks are rows of zeros and ones, the background is the empty coalition; each permutation goes both ways."""
    weights, interactions = inputs["weights"], inputs["interactions"]
    players = len(weights)

    def utility(members: np.ndarray) -> np.ndarray:
        return members @ weights + np.sum((members @ interactions) * members, axis=1) / 2

    def run() -> dict[str, np.ndarray]:
        explainer = shap.PermutationExplainer(utility, np.zeros((1, players)))
        evaluations = permutations * players + permutations // 2
        found = explainer(np.ones((1, players)), max_evals=evaluations, batch_size=2 * players + 1, silent=True)
        return {"values": found.values[0], "standard_errors": np.zeros(players)}

    return run


TASKS = {"pairwise": pairwise}
