"""Part c: four providers of real UltraFeedback pairs; three arithmetics against retraining all 16 coalitions.

Provider s has the pairs of file s whose prompt's index, turned by the seed, is s modulo 4: prompts are disjoint, and
over four seeds every quarter of the prompts is once with every provider. The utility of a policy is its expected score
over the two responses of each held-out prompt,

    v(π) = E_x Σ_y p(y|x) r(x, y),    p(y|x) ∝ π(y|x) / π_0(y|x):

the two responses count as equally likely at the start, as if they had been drawn from a uniform reference. Under
π_0 itself, a transformer with random weights, nearly all the probability lies on the shorter one, whatever is learned.
A second objective is the probability of the response with the higher score.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.dpo_shapley.log_linear_pairs import choose_ridge, linear_policy, log_linear_seed
from experiments.dpo_shapley.measures import Run, precision, summary
from experiments.dpo_shapley.providers import OBJECTIVES, PROVIDERS, N, Settings, read
from experiments.dpo_shapley.transformer_pairs import make_model, transformer_seed

Advance = Callable[[float], None]


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
    """The ridge, then each seed of the log-linear policy and of the transformer."""
    pairs = functools.cache(lambda: read(data))
    policy = functools.cache(lambda buckets: linear_policy(pairs(), buckets))
    model = functools.cache(lambda: make_model(pairs(), settings))

    @functools.cache
    def choice() -> dict[str, Any]:
        each = [choose_ridge(pairs(), policy(buckets), settings.beta) | {"buckets": buckets}
                for buckets in settings.buckets]  # fmt: skip
        return {"chosen": max(each, key=lambda entry: entry["best accuracy"]), "tried": each}

    def choose(advance: Advance) -> dict[str, Any]:
        with precision(True):
            chosen = choice()
        advance(4)
        return chosen

    def log_linear(advance: Advance, *, seed: int) -> dict[str, Any]:
        with precision(True):
            chosen = choice()["chosen"]
            return log_linear_seed(pairs(), policy(chosen["buckets"]), settings.beta, chosen["ridge"], seed, advance)

    def transformer(advance: Advance, *, seed: int) -> dict[str, Any]:
        with precision(False):
            return transformer_seed(pairs(), model(), settings, seed, out / "trainings" / f"seed-{seed}", advance)

    return {
        "features and ridge": Run(choose, 4.0),
        **{
            f"log-linear, seed {seed}": Run(functools.partial(log_linear, seed=seed), 1.0)
            for seed in range(settings.log_linear_seeds)
        },
        **{
            f"transformer, seed {seed}": Run(functools.partial(transformer, seed=seed), 46.0 * settings.epochs)
            for seed in range(settings.transformer_seeds)
        },
    }


def found(kept: dict[str, Any]) -> dict[str, Any]:
    """Over the seeds: values, their order, correlations with retraining, seconds."""
    summaries = {}
    for kind in ("log-linear", "transformer"):
        seeds = [run for name, run in kept.items() if name.startswith(f"{kind}, seed")]
        if not seeds:
            continue
        values = {way: np.array([run["values"][way] for run in seeds]) for way in seeds[0]["values"]}
        entries = {way: [run["against"][way] for run in seeds] for way in seeds[0]["against"]}
        summaries[kind] = {
            "seeds": len(seeds),
            "values": {
                way: [[summary(value[:, s, k]) for s in range(N)] for k in range(len(OBJECTIVES))]
                for way, value in values.items()
            },
            "order of the means": {
                way: [[PROVIDERS[s] for s in np.argsort(-value[:, :, k].mean(axis=0))] for k in range(len(OBJECTIVES))]
                for way, value in values.items()
            },
            "against": {
                way: [
                    {
                        measure: summary([run[k][measure] for run in runs])
                        for measure in runs[0][k]
                        if measure != "change sign"
                    }
                    | {"sign changes per seed": float(np.mean([len(run[k]["change sign"]) for run in runs]))}
                    for k in range(len(OBJECTIVES))
                ]
                for way, runs in entries.items()
            },
            "processor seconds": {
                way: summary([run["processor seconds"][way] for run in seeds]) for way in seeds[0]["processor seconds"]
            },
            "seconds": {way: summary([run["seconds"][way] for run in seeds]) for way in seeds[0]["seconds"]},
        }
    return summaries
