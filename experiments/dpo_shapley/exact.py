"""Part a: tabular policies at their optimum, where the paper's identities are exact.

φ̂ needs n trainings and arithmetic. φ retrains all 2^n coalitions, either on one source after another (Algorithm 1) or
on the union of their pairs. `sources.value_sources` computes both, and seconds include compiling. The closed form (6)
is computed from rewards that `preferences.bradley_terry` fits, and not from the policies.
"""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.dpo_shapley.draws import draw_preferences, log_probs_of_sources, wins_of
from experiments.dpo_shapley.measures import SHARE, Run, compare, grouped, summary
from jaxval import alignment, coalitions, policies, preferences, sources, training
from jaxval.data import SyntheticPreferences


class Settings(NamedTuple):
    """The sizes of the part."""

    sources: tuple[int, ...] = (4, 8, 12)
    betas: tuple[float, ...] = (0.1, 1.0, 10.0)
    contexts: int = 6
    responses: int = 4
    seeds: int = 10  # of the smallest; a third of them of the next, one of those with 10 sources or more


SIZES = {
    "default": Settings(),
    "full": Settings(contexts=32, responses=6, seeds=30),
    "quick": Settings(sources=(3,), betas=(1.0,), contexts=2, responses=3, seeds=1),
}


def runs(settings: Settings, *_: Any) -> dict[str, Run]:
    """One run for each number of sources, β and seed."""
    asked = {}
    for n, beta in itertools.product(settings.sources, settings.betas):
        seeds = 1 if n >= 10 else settings.seeds if n == min(settings.sources) else max(1, settings.seeds // 3)
        for seed in range(seeds):
            work = functools.partial(compare_all, settings, n=n, beta=beta, seed=seed)
            asked[f"n={n}, beta={beta:g}, seed {seed}"] = Run(work, n * 2.0**n)
    return asked


def compare_all(settings: Settings, *, n: int, beta: float, seed: int) -> dict[str, Any]:
    """φ̂ and φ of one draw of sources."""
    drawn = draw_preferences(seed, sources=n, contexts=settings.contexts, responses=settings.responses)
    valued = sources.value_sources(drawn, policy="tabular", beta=beta, ridge=0.0, truth=True)
    ways: dict[str, Any] = {"arithmetic": valued, **valued.truth}
    phi = {way: one.values for way, one in ways.items()}
    gap = float(np.abs(phi["arithmetic"] - phi["sequential"]).max())
    return {
        "n": n,
        "beta": beta,
        "seed": seed,
        "values": {way: value.tolist() for way, value in phi.items()},
        "gap to sequential": gap,
        "gap to sequential, share of the largest value": gap / float(np.abs(phi["sequential"]).max()),
        "union": [compare(*pair) for pair in zip(phi["arithmetic"].T, phi["union"].T, strict=True)],
        "gain of all sources": {way: (one.utilities[-1] - one.utilities[0]).tolist() for way, one in ways.items()},
        **identities(drawn, beta=beta),
        "seconds": {"arithmetic": sum(valued.seconds.values())}
        | {way: one.seconds for way, one in valued.truth.items()},
    }


def identities(drawn: SyntheticPreferences, *, beta: float) -> dict[str, float]:
    """The largest differences in log π after training on all sources: between orders, and from the closed form (6)."""
    policy, wins = policies.tabular(*drawn.responses.shape), wins_of(drawn)
    n = len(wins)
    reference, separate = log_probs_of_sources(policy, wins, beta=beta)
    rewards = jnp.stack([jnp.stack([preferences.bradley_terry(counts) for counts in source]) for source in wins])
    closed = alignment.kl_policy(reference, rewards.sum(axis=0), beta=beta)
    product = coalitions.combine(reference, separate, jnp.ones(n))
    generator = np.random.default_rng(0)
    orders = list(itertools.permutations(range(n))) if n <= 4 else [generator.permutation(n) for _ in range(4)]
    stacked = training.stack_sources(drawn.comparisons)
    trained = np.asarray(_in_orders(stacked, jnp.asarray(beta), np.array(orders), shape=drawn.responses.shape))
    return {
        "orders compared": len(trained),
        "gap between orders, nats": float(np.ptp(trained, axis=0).max()),
        "gap between product and (6), nats": float(np.abs(product - closed).max()),
        "gap between sequential and (6), nats": float(np.abs(trained - np.asarray(closed)[None]).max()),
    }


@functools.partial(jax.jit, static_argnames="shape")
def _in_orders(stacked: Any, beta: Any, orders: Any, *, shape: tuple[int, int]) -> Any:
    """(orders, contexts, responses) log π after training on all sources in each order."""
    policy = policies.tabular(*shape)

    def trained(order: Any) -> Any:
        params, _ = training.sequential_dpo(policy, policy.init(None), stacked, order, beta=beta)
        return policy.log_probs(params, jnp.arange(shape[0]), jnp.broadcast_to(jnp.arange(shape[1]), shape))

    return jax.vmap(trained)(orders)


def found(kept: dict[str, Any]) -> dict[str, Any]:
    """The results for each number of sources and β, over seeds and both rewards."""
    return {name: _summary(group) for name, group in grouped(kept).items()}


def _summary(group: list[dict[str, Any]]) -> dict[str, Any]:
    unions = [entry for run in group for entry in run["union"]]
    union, sequential = ([run["gain of all sources"][way] for run in group] for way in ("union", "sequential"))
    points = {
        way: np.concatenate([np.ravel(run["values"][way]) for run in group]).tolist() for way in group[0]["values"]
    }
    return {
        "n": group[0]["n"],
        "beta": group[0]["beta"],
        "seeds": len(group),
        **{name: max(run[name] for run in group) for name in group[0] if name.startswith("gap")},
        "union": {
            measure: summary([entry[measure] for entry in unions])
            for measure in ("largest gap", SHARE, "pearson", "spearman")
        },
        "median of union's gain over sequential's": float(np.median(np.divide(union, sequential))),
        "values that change sign": sum(len(entry["change sign"]) for entry in unions),
        "values": len(points["union"]),
        "points": points,
        "seconds": {way: summary([run["seconds"][way] for run in group]) for way in group[0]["seconds"]},
    }
