"""The tasks of `benchmarks.values_regressed` by shapiq's approximators."""

from collections.abc import Callable
from typing import Any

import numpy as np
from shapiq import approximator

PACKAGES = ("shapiq", "numpy", "xgboost")
OPTIONS: dict[str, dict[str, Any]] = {"RegressionMSR": {"index": "SV"}, "KernelSHAP": {"pairing_trick": True}}


def estimates(inputs: dict[str, np.ndarray], *, evaluations: int, method: str) -> Callable[[], dict[str, np.ndarray]]:
    """One estimate for each game; a game's number is its seed."""
    tables = inputs["tables"]
    players = int(np.log2(tables.shape[1]))
    bits = 1 << np.arange(players)
    make = getattr(approximator, method)

    def one(seed: int) -> list[float]:
        peer = make(n=players, random_state=seed, **OPTIONS.get(method, {}))
        found = peer.approximate(budget=evaluations, game=lambda masks: tables[seed][masks.astype(int) @ bits])
        return [found[(player,)] for player in range(players)]

    return lambda: {"values": np.array([one(seed) for seed in range(len(tables))])}


TASKS = {"estimates": estimates}
