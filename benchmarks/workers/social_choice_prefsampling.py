"""The tasks of `benchmarks.social_choice` by prefsampling (Boehmer, Faliszewski, Janeczko and others)."""

from collections.abc import Callable

import numpy as np
from prefsampling.ordinal import mallows as sample

PACKAGES = ("prefsampling", "numpy")


def mallows(inputs: dict[str, np.ndarray], *, num: int, dispersion: float) -> Callable[[], dict[str, np.ndarray]]:
    center = inputs["center"]

    def run() -> dict[str, np.ndarray]:
        return {"orders": np.array(sample(num, len(center), dispersion, central_vote=center, seed=0))}

    return run


TASKS = {"mallows": mallows}
