"""Part d: from 4 to 64 sources, evaluations and seconds that permutations and regression need for a given error.

The game is that of the arithmetic: n tabular policies are trained once each, and u(S) = v(π_S) for any S, where π_S is
a product of policies. The true values are enumerated up to 16 sources. With more sources, they are estimated by a long
run of sampled permutations, whose standard error is stated. The error is the largest over sources and rewards, relative
to the largest difference between the utilities of two coalitions on the way from none to all. The total u(N) - u(∅) may
be near 0, and would not serve as the scale.
"""

import functools
import itertools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.dpo_shapley.draws import draw_preferences, log_probs_of_sources, wins_of
from experiments.dpo_shapley.measures import Run, grouped
from jaxval import coalitions, policies, values

BATCH = 256
TARGET = 0.01
REGRESSIONS = {"least squares": "least_squares", "adjusted regression": "adjusted"}
METHODS = ("permutations", *REGRESSIONS)


class Settings(NamedTuple):
    """The sizes of the part."""

    sources: tuple[int, ...] = (4, 8, 16, 32, 64)
    contexts: int = 6
    responses: int = 4
    beta: float = 1.0
    lowest: float = 0.0  # useful sources only, so that the total is far from 0
    enumerated: int = 16
    long_run: int = 40_000  # permutations
    budgets: tuple[int, ...] = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
    most_adjusted: int = 1024  # its fit takes minutes beyond
    draws: int = 3
    seeds: int = 1


SIZES = {
    "default": Settings(),
    "full": Settings(contexts=24, long_run=400_000, draws=20, seeds=5),
    "quick": Settings(sources=(3,), contexts=2, responses=3, budgets=(6, 8), draws=2, long_run=8),
}


def runs(settings: Settings, *_: Any) -> dict[str, Run]:
    """One run for each number of sources and seed."""
    return {
        f"n={n}, seed {seed}": Run(functools.partial(grow, settings, n=n, seed=seed), 10.0 + n)
        for n, seed in itertools.product(settings.sources, range(settings.seeds))
    }


def grow(settings: Settings, *, n: int, seed: int) -> dict[str, Any]:
    """The true values, and the errors of both methods at every budget."""
    sizes = {"contexts": settings.contexts, "responses": settings.responses, "lowest": settings.lowest}
    drawn = draw_preferences(seed, sources=n, **sizes)
    policy, wins = policies.tabular(settings.contexts, settings.responses), wins_of(drawn)
    trained, seconds_of_training = _timed(lambda: log_probs_of_sources(policy, wins, beta=settings.beta))
    utility = coalitions.reward_utility(*trained, drawn.rewards)
    truth, uncertain, seconds_of_truth = find_truth(settings, utility, n, jax.random.key(1000 + seed))
    ends = utility(jnp.ones(n, dtype=bool)) - utility(jnp.zeros(n, dtype=bool))
    scale = float(np.abs(np.asarray(ends)).max())
    found: dict[str, Any] = {}
    for method in METHODS:
        found[method] = rows = []
        most = settings.most_adjusted if method == "adjusted regression" else max(settings.budgets)
        for budget in [budget for budget in settings.budgets if n + 2 <= budget <= most]:
            estimate = estimator(method, utility, n, budget)
            rows.append({"budget": budget, **errors(estimate, truth, scale, draws=settings.draws)})
            if rows[-1]["error"] < TARGET / 3 or rows[-1]["evaluations"] == 2**n:
                break
    return {
        "n": n,
        "scale": scale,
        "largest standard error of the truth, share": uncertain / scale,
        "enumerated": n <= settings.enumerated,
        "seconds of n trainings": seconds_of_training,
        "seconds of the truth": seconds_of_truth,
        **found,
    }


def errors(estimate: Callable[[Any], Any], truth: np.ndarray, scale: float, *, draws: int) -> dict[str, float]:
    """The medians of evaluations, errors and seconds over draws, and the range of the errors."""
    estimate(jax.random.key(0))  # compiled before the clock starts
    results, seconds = zip(*(_timed(estimate, jax.random.key(draw + 1)) for draw in range(draws)), strict=True)
    errors = [float(np.abs(np.asarray(result.values) - truth).max()) / scale for result in results]
    return {
        "evaluations": float(np.median([int(result.evaluations) for result in results])),
        "error": float(np.median(errors)),
        "lowest error": min(errors),
        "highest error": max(errors),
        "seconds": float(np.median(seconds)),
    }


def find_truth(settings: Settings, utility: Any, n: int, key: Any) -> tuple[np.ndarray, float, float]:
    """The true values (n, 2), the largest of their standard errors, and the seconds."""
    if n <= settings.enumerated:
        enumerate_all = jax.jit(lambda: values.shapley(coalitions.tabulate(utility, n, batch_size=min(2**n, 1024))))
        enumerate_all()  # compiled before the clock starts
        found, seconds = _timed(enumerate_all)
        return np.asarray(found), 0.0, seconds
    sample = functools.partial(values.sample_shapley, permutations=settings.long_run)
    long, seconds = _timed(sample, key, utility, n)
    return np.asarray(long.values), float(np.asarray(long.standard_errors).max()), seconds


def estimator(method: str, utility: Any, n: int, budget: int) -> Callable[[Any], Any]:
    """A function from a key to an `Estimate` from about `budget` evaluations."""
    if method == "permutations":
        count = 2 * max(2, round(budget / (2 * (n - 1))))
        return jax.jit(lambda key: values.sample_shapley(key, utility, n, permutations=count, batch_size=BATCH))
    options: Any = {"method": REGRESSIONS[method], "evaluations": min(budget, 2**n), "batch_size": BATCH}
    return lambda key: values.regress_shapley(key, utility, n, **options)


def _timed(work: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    started = time.perf_counter()
    result = jax.block_until_ready(work(*arguments))
    return result, time.perf_counter() - started


def needed(rows: list[dict[str, float]], measure: str, target: float) -> float | None:
    """The measure at which the error reaches the target, interpolated by a power law; None if it never does.

    The interpolation starts from the last budget whose error is above the target.
    """
    above = [index for index, row in enumerate(rows) if row["error"] > target]
    if not above:
        return float(rows[0][measure])
    if above[-1] == len(rows) - 1:
        return None
    before, after = rows[above[-1]], rows[above[-1] + 1]
    share = np.log(before["error"] / target) / np.log(before["error"] / max(after["error"], 1e-15))
    return float(before[measure] * (after[measure] / before[measure]) ** share)


def found(kept: dict[str, Any]) -> dict[str, Any]:
    """For each number of sources, the curves of the first seed, and the mean cost of an error of 1 % over seeds."""
    return {
        str(group[0]["n"]): group[0]
        | {
            f"{measure} for 1 %": {method: _mean_cost(group, method, measure) for method in METHODS}
            for measure in ("evaluations", "seconds")
        }
        for group in grouped(kept).values()
    }


def _mean_cost(group: list[dict[str, Any]], method: str, measure: str) -> float | None:
    """The mean cost of an error of 1 %, or of the whole table if a method reaches all coalitions first."""
    costs = []
    for run in group:
        last = run[method][-1]
        if last["error"] > TARGET and last["evaluations"] >= 2 ** run["n"]:
            costs.append(float(2 ** run["n"]) if measure == "evaluations" else run["seconds of the truth"])
        else:
            costs.append(needed(run[method], measure, TARGET))
    return None if None in costs else float(np.mean(costs))
