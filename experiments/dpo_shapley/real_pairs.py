"""Part c: four providers of real UltraFeedback pairs; three arithmetics against retraining all 16 coalitions.

Provider s has the pairs of file s whose prompt's index, shifted by the seed, is s modulo 4. Hence the providers'
prompts are disjoint, and over four seeds every provider has every quarter of the prompts once. The utility of a policy
is its expected score over the two responses of each held-out prompt,

    v(π) = E_x Σ_y p(y|x) r(x, y),    p(y|x) ∝ π(y|x) / π_0(y|x):

so that the two responses are equally likely at the start, as under a uniform reference. Under π_0 itself, a
transformer with random weights, nearly all probability is on the shorter response, whatever is learned. The second
objective is the probability of the response with the higher score. `sources.value_sources` computes all values.
"""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.dpo_shapley.measures import Run, compare, grouped, pearson, spearman, summary
from experiments.dpo_shapley.providers import (
    OBJECTIVES,
    PROVIDERS,
    N,
    Pairs,
    Settings,
    held_out_rewards,
    provider_pairs,
    read,
)
from experiments.ridge import choose_ridge, fitted
from jaxval import sources
from jaxval.data import PreferencePairs
from jaxval.types import Policy

SIZES = {
    "default": Settings(),
    "full": Settings(
        log_linear_seeds=20, transformer_seeds=4, width=128, layers=5, prompt_tokens=128, response_tokens=384, epochs=4
    ),
    "quick": Settings(
        buckets=(8,), log_linear_seeds=1, transformer_seeds=1, width=8, prompt_tokens=6, response_tokens=10, epochs=1
    ),
}


def runs(settings: Settings, data: str | None, out: Path) -> dict[str, Run]:
    """The run that chooses the ridge, then one run for each seed of the log-linear policy and of the transformer."""
    pairs = functools.cache(lambda: read(data))

    @functools.cache
    def choice() -> dict[str, Any]:
        train = provider_pairs(pairs(), 0)
        each = [chosen_ridge(train, buckets, settings.beta) for buckets in settings.buckets]
        return {"chosen": max(each, key=lambda entry: entry["best accuracy"]), "tried": each}

    def log_linear(seed: int) -> dict[str, Any]:
        chosen = choice()["chosen"]
        return value_all(
            pairs(),
            seed,
            ("response", "parameter"),
            beta=settings.beta,
            ridge=chosen["ridge"] / settings.beta**2,
            policy=functools.partial(linear_policy, buckets=chosen["buckets"]),
        )

    def transformer(seed: int) -> dict[str, Any]:
        policy = functools.partial(
            sources.transformer_learner,
            prompt_bytes=settings.prompt_tokens - 1,
            response_bytes=settings.response_tokens,
            width=settings.width,
            layers=settings.layers,
            key_value_heads=2,
        )
        return value_all(
            pairs(),
            seed,
            ("response", "token", "parameter"),
            policy=policy,
            reference="uniform",
            folder=out / "trainings" / f"seed-{seed}",
            beta=settings.beta,
            epochs=settings.epochs,
            batch_size=settings.batch,
            learning_rate=settings.learning_rate,
        )

    asked = {"features and ridge": Run(choice, 4.0)}
    for seed in range(settings.log_linear_seeds):
        asked[f"log-linear, seed {seed}"] = Run(functools.partial(log_linear, seed), 1.0)
    for seed in range(settings.transformer_seeds):
        work = functools.partial(transformer, seed)
        asked[f"transformer, seed {seed}"] = Run(work, 46.0 * settings.epochs, x64=False)
    return asked


def linear_policy(pairs: PreferencePairs, *, buckets: int) -> Policy:
    """The log-linear policy of the library, with the penalty on rewards and not on weights."""
    return sources.log_linear_learner(pairs, buckets=buckets).policy


def chosen_ridge(pairs: PreferencePairs, buckets: int, beta: float) -> dict[str, Any]:
    """The best ridge by cross-validation on the providers' pairs, and its accuracy at another β.

    In units of the reward, z = β (log π - log π_0), the objective is Σ log σ(z) - λ/(2 β²) Σ z². Hence the rewards do
    not depend on β if λ is proportional to β².
    """
    policy = linear_policy(pairs, buckets=buckets)
    chosen = choose_ridge(policy, pairs.comparisons, beta=beta)
    ones = pairs.comparisons._replace(weight=np.ones(len(pairs.comparisons.weight)))
    rewards = [
        at * np.asarray(fitted(policy, ones, beta=at, ridge=chosen["ridge"] * (at / beta) ** 2))
        for at in (beta, beta / 5)
    ]
    return chosen | {
        "beta": beta,
        "largest change of a reward's weight at a fifth of beta": float(np.abs(rewards[0] - rewards[1]).max()),
        "features": len(rewards[0]),
        "buckets": buckets,
    }


def value_all(pairs: Pairs, seed: int, ways: tuple[str, ...], **options: Any) -> dict[str, Any]:
    """Values by each arithmetic and by retraining, their comparison, and the seconds, compiling included."""
    by_way = {
        way: sources.value_sources(
            provider_pairs(pairs, seed),
            reward=held_out_rewards(pairs.held_out),
            held_out=pairs.held_out,
            arithmetic=way,
            seeds=1,
            truth=way == ways[0],
            key=jax.random.key(seed),
            **options,
        )
        for way in ways
    }
    first = by_way[ways[0]]
    everything: dict[str, Any] = {**by_way, **first.truth}
    return {
        "utilities": {way: one.utilities.tolist() for way, one in everything.items()},
        "values": {way: one.values.tolist() for way, one in everything.items()},
        "against": {
            f"{way} against {truth}": [against(everything[way], everything[truth], k) for k in range(len(OBJECTIVES))]
            for way in (*ways, "sequential")
            for truth in first.truth
            if way != truth
        },
        "seconds": {
            "separate": first.seconds["training"],
            **{way: one.seconds["arithmetic"] for way, one in by_way.items()},
            **{way: truth.seconds for way, truth in first.truth.items()},
        },
    }


def against(one: Any, other: Any, k: int) -> dict[str, Any]:
    """How far the values of objective k are from others, and the correlations of the coalitions' utilities."""
    tables = one.utilities[1:, k], other.utilities[1:, k]
    return compare(one.values[:, k], other.values[:, k]) | {
        "pearson of the coalitions' utilities": pearson(*tables),
        "spearman of the coalitions' utilities": spearman(*tables),
    }


def found(kept: dict[str, Any]) -> dict[str, Any]:
    """The results over the seeds: values, their order, correlations with retraining, and seconds."""
    return {kind: _summary(runs) for kind, runs in grouped(kept).items() if kind in ("log-linear", "transformer")}


def _summary(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    objectives, entry = range(len(OBJECTIVES)), seeds[0]
    values = {way: np.array([run["values"][way] for run in seeds]) for way in entry["values"]}
    means = {way: value.mean(axis=0) for way, value in values.items()}
    return {
        "seeds": len(seeds),
        "values": {
            way: [[summary(value[:, s, k]) for s in range(N)] for k in objectives] for way, value in values.items()
        },
        "order of the means": {
            way: [[PROVIDERS[s] for s in np.argsort(-mean[:, k])] for k in objectives] for way, mean in means.items()
        },
        "against": {
            way: [_summary_against([run["against"][way][k] for run in seeds]) for k in objectives]
            for way in entry["against"]
        },
        "seconds": {way: summary([run["seconds"][way] for run in seeds]) for way in entry["seconds"]},
    }


def _summary_against(entries: list[dict[str, Any]]) -> dict[str, Any]:
    changes = float(np.mean([len(entry["change sign"]) for entry in entries]))
    measures = [measure for measure in entries[0] if measure != "change sign"]
    return {m: summary([entry[m] for entry in entries]) for m in measures} | {"sign changes per seed": changes}
