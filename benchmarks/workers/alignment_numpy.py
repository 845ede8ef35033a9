"""The tasks of `benchmarks.alignment` in NumPy, vectorised over pairs, from the losses' definitions."""

from collections.abc import Callable, Sequence

import numpy as np

PACKAGES = ("numpy",)
BETA = 0.1


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0, -x)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(log_sigmoid(x))


def exo(margin: np.ndarray) -> np.ndarray:
    right = sigmoid(margin) * (log_sigmoid(margin) - np.log1p(-1e-3))
    return right + sigmoid(-margin) * (log_sigmoid(-margin) - np.log(1e-3))


def discopop(margin: np.ndarray) -> np.ndarray:
    sharp = margin / 0.05
    return -sigmoid(-sharp) * log_sigmoid(margin) + np.exp(log_sigmoid(sharp) - margin)


def mallows_phi(gap: np.ndarray, phi: np.ndarray) -> np.ndarray:
    t = np.abs(gap)
    above = (t + 1) / (1 - phi ** (t + 1)) - t / (1 - phi**t)
    return -np.log(np.where(gap > 0, above, 1 - above))


def mallows_phi_limit(u: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(u))
    above = (1 - e - np.abs(u) * e) / (1 - e) ** 2
    return -np.log(np.where(u > 0, above, 1 - above))


def one(name: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """One loss of every pair."""
    chosen, rejected, chosen_0, rejected_0 = inputs["log_probs"]
    plus, minus, phi = chosen - chosen_0, rejected - rejected_0, inputs["dispersion"]
    margin = BETA * (plus - minus)
    up, down = BETA * plus, BETA * minus
    lengths = inputs["lengths"]
    return {
        "dpo": lambda: -log_sigmoid(margin),
        "robust_dpo": lambda: -log_sigmoid(margin),
        "hinge": lambda: np.maximum(1 - margin, 0),
        "ipo": lambda: (plus - minus - 0.5 / BETA) ** 2,
        "length_normalised_dpo": lambda: -log_sigmoid(BETA * (plus / lengths[0] - minus / lengths[1])),
        "exo": lambda: exo(margin),
        "discopop": lambda: discopop(margin),
        "nca": lambda: -log_sigmoid(up) - 0.5 * log_sigmoid(-up) - 0.5 * log_sigmoid(-down),
        "bco": lambda: -log_sigmoid(up) - log_sigmoid(-down),
        "sppo": lambda: (plus - 0.5 / BETA) ** 2 + (minus + 0.5 / BETA) ** 2,
        "apo_zero": lambda: sigmoid(-up) + sigmoid(down),
        "apo_down": lambda: sigmoid(up) + sigmoid(-margin),
        "mallows_theta": lambda: -log_sigmoid(-2 * np.log(phi) * margin),
        "mallows_phi": lambda: mallows_phi(margin, phi),
        "mallows_phi_limit": lambda: mallows_phi_limit(-np.log(phi) * margin),
    }[name]()


def losses(
    inputs: dict[str, np.ndarray], *, names: Sequence[str], calls: int = 1
) -> Callable[[], dict[str, np.ndarray]]:
    """Every loss of every pair, and their means."""

    def run() -> dict[str, np.ndarray]:
        for _ in range(calls):
            means = [one(name, inputs).mean() for name in names]
        return {"means": np.array(means)}

    return run


TASKS = {"losses": losses}
