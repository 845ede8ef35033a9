"""The task of `benchmarks.social_choice` by Evalica (Ustalov), whose solvers are in Rust."""

from collections.abc import Callable

import evalica
import numpy as np

PACKAGES = ("evalica", "numpy", "pandas")


def bradley_terry(inputs: dict[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
    """Its Bradley-Terry scores, as log-strengths with mean zero; its list of winners is made beforehand."""
    winners = [evalica.Winner.X] * len(inputs["winner"])

    def run() -> dict[str, np.ndarray]:
        found = evalica.bradley_terry(inputs["winner"], inputs["loser"], winners, tolerance=1e-9, limit=10_000)
        rewards = np.log(found.scores.sort_index().to_numpy())
        return {"rewards": rewards - rewards.mean()}

    return run


TASKS = {"bradley_terry": bradley_terry}
