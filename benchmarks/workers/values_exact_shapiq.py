"""The tasks of `benchmarks.values_exact` by shapiq's ExactComputer."""

from collections.abc import Callable

import numpy as np
from shapiq import ExactComputer

PACKAGES = ("shapiq", "numpy")


def shapley(inputs: dict[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
    """The game is evaluated before the clock starts."""
    table = inputs["table"]
    players = int(np.log2(len(table)))
    bits = 1 << np.arange(players)

    computer = ExactComputer(
        lambda coalitions: table[coalitions.astype(int) @ bits], n_players=players, evaluate_game=True
    )

    def run() -> dict[str, np.ndarray]:
        return {"values": np.asarray(computer.probabilistic_value("SV").get_n_order_values(1))}

    return run


TASKS = {"shapley": shapley}
