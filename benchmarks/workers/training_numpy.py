"""The tasks of `benchmarks.training` in NumPy, and by a loop of SciPy's optimiser."""

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

PACKAGES = ("numpy", "scipy")

Run = Callable[[], dict[str, np.ndarray]]


def fit(inputs: dict[str, np.ndarray], *, beta: float, method: str) -> Run:
    """One optimisation for each source and context, from the uniform reference, with gradient (and Hessian)."""
    wins = inputs["wins"]
    responses = wins.shape[-1]
    centre = np.ones((responses, responses)) / responses

    def optimum(wins: np.ndarray) -> np.ndarray:
        def loss(step: np.ndarray) -> tuple[float, np.ndarray]:
            margins = beta * (step[:, None] - step[None, :])
            slopes = -beta * wins / (1 + np.exp(margins))
            return np.sum(wins * np.logaddexp(0, -margins)), slopes.sum(1) - slopes.sum(0)

        def hessian(step: np.ndarray) -> np.ndarray:
            chance = 1 / (1 + np.exp(beta * (step[:, None] - step[None, :])))
            flow = beta**2 * (wins + wins.T) * chance * (1 - chance)
            return np.diag(flow.sum(1)) - flow + centre

        options = {"gtol": 1e-9, "maxiter": 10_000} | ({"ftol": 1e-15} if method == "L-BFGS-B" else {})
        more = {"hess": hessian} if method == "trust-exact" else {}
        return minimize(loss, np.zeros(responses), jac=True, method=method, options=options, **more).x

    def run() -> dict[str, np.ndarray]:
        steps = np.array([[optimum(context) for context in source] for source in wins])
        return {"log_probs": steps - np.log(np.exp(steps).sum(-1, keepdims=True))}

    return run


def combine(inputs: dict[str, np.ndarray]) -> Run:
    """In batches of 256 coalitions, one product of matrices each."""
    reference, sources, rewards = inputs["reference"], inputs["sources"], inputs["rewards"]
    players, contexts, responses = sources.shape
    steps = (sources - reference).reshape(players, -1)
    shares = (rewards / contexts).astype(np.float32).ravel()

    def run() -> dict[str, np.ndarray]:
        utilities = np.empty(2**players, np.float32)
        for first in range(0, 2**players, 256):
            index = np.arange(first, min(first + 256, 2**players))
            masks = (index[:, None] >> np.arange(players) & 1).astype(np.float32)
            scores = (masks @ steps + reference.ravel()).reshape(-1, contexts, responses)
            chances = np.exp(scores - scores.max(-1, keepdims=True))
            chances /= chances.sum(-1, keepdims=True)
            utilities[index] = chances.reshape(len(index), -1) @ shares
        return {"utilities": utilities}

    return run


TASKS = {"fit": fit, "combine": combine}
