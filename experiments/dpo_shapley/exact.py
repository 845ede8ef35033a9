"""Part a: tabular policies at their optimum, where the paper's identities are exact.

φ̂ needs n trainings and arithmetic. φ retrains all 2^n coalitions, either on one source after another (Algorithm 1) or
on the union of their pairs. `sources.value_sources` computes both, and seconds include compiling. The closed form (6)
is computed from rewards that `preferences.bradley_terry` fits, and not from the policies.
"""

import functools
import itertools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.dpo_shapley.draws import Drawn, as_arrays, draw_preferences, log_probs_of_sources
from experiments.dpo_shapley.measures import Run, compare, summary
from jaxval import alignment, coalitions, policies, preferences, sources, training


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


def runs(settings: Settings, data: str | None, out: Path) -> dict[str, Run]:
    """One run for each number of sources, β and seed."""
    del data, out

    asked = {}
    for n, beta in itertools.product(settings.sources, settings.betas):
        seeds = 1 if n >= 10 else settings.seeds if n == min(settings.sources) else max(1, settings.seeds // 3)
        for seed in range(seeds):
            work = functools.partial(compare_all, settings, n=n, beta=beta, seed=seed)
            asked[f"n={n}, beta={beta:g}, seed {seed}"] = Run(work, n * 2.0**n)
    return asked


def compare_all(settings: Settings, *, n: int, beta: float, seed: int) -> dict[str, Any]:
    """φ̂ and φ of one draw of sources."""
    preferences = draw_preferences(seed, sources=n, contexts=settings.contexts, responses=settings.responses)
    valued = sources.value_sources(preferences, policy="tabular", beta=beta, ridge=0.0, truth=True)
    phi = {"arithmetic": valued.values} | {way: truth.values for way, truth in valued.truth.items()}
    tables = {"arithmetic": valued.utilities} | {way: truth.utilities for way, truth in valued.truth.items()}
    gap = float(np.abs(phi["arithmetic"] - phi["sequential"]).max())
    return {
        "n": n,
        "beta": beta,
        "seed": seed,
        "values": {way: value.tolist() for way, value in phi.items()},
        "gap to sequential": gap,
        "gap to sequential, share of the largest value": gap / float(np.abs(phi["sequential"]).max()),
        "union": [compare(phi["arithmetic"][:, k], phi["union"][:, k]) for k in range(len(valued.rewards))],
        "gain of all sources": {way: (found[-1] - found[0]).tolist() for way, found in tables.items()},
        **identities(as_arrays(preferences), settings, n=n, beta=beta),
        "seconds": {"arithmetic": sum(valued.seconds.values())}
        | {way: truth.seconds for way, truth in valued.truth.items()},
    }


def identities(drawn: Drawn, settings: Settings, *, n: int, beta: float) -> dict[str, float]:
    """The largest differences in log π after training on all sources: between orders, and from the closed form (6)."""
    policy = policies.tabular(settings.contexts, settings.responses)
    reference, separate = log_probs_of_sources(policy, drawn.wins, beta=beta)
    rewards = jnp.stack([jnp.stack([preferences.bradley_terry(wins) for wins in source]) for source in drawn.wins])
    closed = alignment.kl_policy(reference, rewards.sum(axis=0), beta=beta)
    product = coalitions.combine(reference, separate, jnp.ones(n))
    generator = np.random.default_rng(0)
    orders = list(itertools.permutations(range(n))) if n <= 4 else [generator.permutation(n) for _ in range(4)]

    trained = np.asarray(_in_orders(drawn, jnp.asarray(beta), np.array(orders)))
    return {
        "orders compared": len(trained),
        "gap between orders, nats": float((trained.max(axis=0) - trained.min(axis=0)).max()),
        "gap between product and (6), nats": float(np.abs(product - closed).max()),
        "gap between sequential and (6), nats": float(np.abs(trained - np.asarray(closed)[None]).max()),
    }


@jax.jit
def _in_orders(drawn: Drawn, beta: Any, orders: Any) -> Any:
    """(orders, contexts, responses) log π after training on all sources in each order."""
    contexts, responses, _ = drawn.rewards.shape
    policy = policies.tabular(contexts, responses)
    ids = jnp.arange(contexts), jnp.broadcast_to(jnp.arange(responses), (contexts, responses))

    def trained(order: Any) -> Any:
        params, _ = training.sequential_dpo(policy, policy.init(None), drawn.stacked, order, beta=beta)
        return policy.log_probs(params, *ids)

    return jax.vmap(trained)(orders)


def found(kept: dict[str, Any]) -> dict[str, Any]:
    """The results for each number of sources and β, over seeds and both rewards."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in kept.values():
        groups.setdefault(f"n={run['n']}, beta={run['beta']:g}", []).append(run)
    return {name: _summary(group) for name, group in groups.items()}


def _summary(group: list[dict[str, Any]]) -> dict[str, Any]:
    unions = [entry for run in group for entry in run["union"]]
    ratios = [
        union / sequential
        for run in group
        for union, sequential in zip(
            run["gain of all sources"]["union"], run["gain of all sources"]["sequential"], strict=True
        )
    ]
    worst = ("gap to sequential", "gap to sequential, share of the largest value", "gap between orders, nats",
             "gap between product and (6), nats", "gap between sequential and (6), nats")  # fmt: skip
    points = {way: np.concatenate([np.ravel(run["values"][way]) for run in group]).tolist() for way in
              ("arithmetic", "sequential", "union")}  # fmt: skip
    return {
        "n": group[0]["n"],
        "beta": group[0]["beta"],
        "seeds": len(group),
        **{name: max(run[name] for run in group) for name in worst},
        "union": {
            measure: summary([entry[measure] for entry in unions])
            for measure in ("largest gap", "largest gap, share of the largest value", "pearson", "spearman")
        },
        "median of union's gain over sequential's": float(np.median(ratios)),
        "values that change sign": sum(len(entry["change sign"]) for entry in unions),
        "values": len(points["union"]),
        "points": points,
        "seconds": {way: summary([run["seconds"][way] for run in group]) for way in group[0]["seconds"]},
    }
