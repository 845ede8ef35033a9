"""All coalitions of providers by a transformer and minibatches, and its arithmetic at three levels."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.dpo_shapley.measures import stopwatch
from experiments.dpo_shapley.providers import MASKS, N, Pairs, Settings, margin, members_of, sources_of, utility
from experiments.dpo_shapley.retraining import judged, table_of, train_coalitions
from jaxval import coalitions, policies, training
from jaxval.types import Comparisons, Params, Policy, SequenceModel

HELD_OUT_BATCH = 10

Advance = Callable[[float], None]


class Model(NamedTuple):
    """A transformer, as a policy over all texts, and its token-level combinations over the held-out ones."""

    policy: Policy
    combined: Policy  # of TokenArithmetic parameters, contexts numbered as the held-out pairs
    optimisers: dict[int, Any]


def make_model(pairs: Pairs, settings: Settings) -> Model:
    """Everything that is compiled once: the policies and the optimisers."""
    tokens = settings.prompt_tokens, settings.response_tokens
    model: SequenceModel = policies.transformer(
        vocabulary=policies.byte_tokeniser().vocabulary, length=sum(tokens), width=settings.width,
        layers=settings.layers, heads=4, key_value_heads=2,
    )  # fmt: skip
    prompts, responses = policies.encode_catalogue(
        pairs.texts.prompts, pairs.texts.responses, length=sum(tokens), truncate=tokens
    )
    chosen = zip(pairs.held_out.context, pairs.held_out.winner, pairs.held_out.loser, strict=True)
    two = [(prompts[x], [responses[x][y], responses[x][z]]) for x, y, z in chosen]
    combined = policies.over_catalogue(
        coalitions.token_arithmetic(model, N), [prompt for prompt, _ in two], [row for _, row in two]
    )
    steps = _epoch(len(pairs.provider_prompts), settings) * settings.epochs
    optimisers = {k: training.adamw(settings.learning_rate, steps=k * steps) for k in range(1, N + 1)}
    return Model(policies.over_catalogue(model, prompts, responses), combined, optimisers)


def _epoch(prompts: int, settings: Settings) -> int:
    """Minibatches in which a provider's pairs are seen once."""
    return math.ceil(math.ceil(prompts / N) / settings.batch)


def transformer_seed(
    pairs: Pairs, model: Model, settings: Settings, seed: int, folder: Path, advance: Advance
) -> dict[str, Any]:
    """All coalitions of a transformer by minibatches, and its arithmetic at three levels."""
    policy, key = model.policy, jax.random.key(seed)
    start = policy.init(key)
    sources = sources_of(pairs, seed)
    steps = _epoch(len(pairs.provider_prompts), settings) * settings.epochs
    clock = folder / "seconds.json"  # kept beside the checkpoints: what goes on after a stop has them already
    times: dict[str, list[float]] = json.loads(clock.read_text(encoding="utf-8")) if clock.exists() else {}

    def fit(before: Params, rows: Comparisons, name: str) -> Params:
        folder.mkdir(parents=True, exist_ok=True)
        clock.write_text(json.dumps(times), encoding="utf-8")
        several = len(rows.weight) // len(sources[0].weight)
        params, _ = training.train(
            policy, before, rows, beta=settings.beta, optimiser=model.optimisers[several], steps=several * steps,
            batch_size=settings.batch, key=key, every=several * steps, checkpoints=folder / name,
        )  # fmt: skip
        advance(several * settings.epochs)
        return jax.block_until_ready(params)

    def log_probs(params: Params) -> np.ndarray:
        return np.asarray(training.log_ratios(policy, params, pairs.held_out, batch_size=HELD_OUT_BATCH), dtype=float)

    sequential, union = train_coalitions(fit, start, sources, times)
    backwards = sequential[(N - 1,)]
    for s in reversed(range(N - 1)):
        backwards = fit(backwards, sources[s], f"backwards-{s}")
    base = log_probs(start)
    with stopwatch(times, "evaluation of 16 policies"):
        gained = {"sequential": {members: log_probs(params) - base for members, params in sequential.items()}}
    gained["union"] = {members: log_probs(params) - base for members, params in union.items()}
    single = np.stack([gained["sequential"][(s,)] for s in range(N)])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(sequential[(s,)] for s in range(N)))
    with stopwatch(times, "response"):
        gained["response"] = {members_of(m): np.tensordot(m.astype(float), single, 1) for m in MASKS}
    with stopwatch(times, "parameter"):
        gained["parameter"] = {
            members_of(m): log_probs(coalitions.add_parameters(start, stacked, m)) - base for m in MASKS
        }
    with stopwatch(times, "token"):
        by_token = token_level(model.combined, start, stacked, len(base)) - base
    gained["token"] = {members_of(m): by_token[row] for row, m in enumerate(MASKS)}
    tables = {name: table_of(gained[name], pairs) for name in ("response", "token", "parameter", "sequential", "union")}
    everyone = tuple(range(N))
    reverse = log_probs(backwards) - base
    return {
        **judged(tables, times),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(start)),
        "steps for each source": steps,
        "stages": {"separate": N, "sequential": 2**N - 1 - N, "union": sum(sum(m) for m in MASKS.tolist()) - N},
        "order": {  # of all four, forwards against backwards
            "largest gap in a pair's gain, nats": float(
                np.abs(margin(reverse) - margin(gained["sequential"][everyone])).max()
            ),
            "root mean square gap, share of the gains'": float(
                np.sqrt(np.mean((margin(reverse) - margin(gained["sequential"][everyone])) ** 2))
                / np.sqrt(np.mean(margin(gained["sequential"][everyone]) ** 2))
            ),
            "utility": {"forwards": utility(gained["sequential"][everyone], pairs).tolist(),
                        "backwards": utility(reverse, pairs).tolist()},
        },
        "error of a coalition's gains, share of the gains'": {
            f"{way} against {truth}": _rms_share(gained[way], gained[truth])
            for way in ("response", "token", "parameter", "sequential") for truth in ("sequential", "union")
            if way != truth
        },
        "tokens against responses, largest gap for single sources": float(
            max(np.abs(by_token[1 << s] - single[s]).max() for s in range(N))
        ),
        "share of prompts with 99 % on one response under the start": float(
            np.mean(np.abs(base[:, 0] - base[:, 1]) > np.log(99))
        ),
    }  # fmt: skip


def _rms_share(ours: dict[tuple[int, ...], np.ndarray], theirs: dict[tuple[int, ...], np.ndarray]) -> float:
    """Root mean square difference of the pairs' margins, over that of the margins; coalitions of two or more."""
    two = [members for members in theirs if len(members) > 1]
    left, right = (np.stack([margin(np.asarray(gains[members])) for members in two]) for gains in (ours, theirs))
    return float(np.sqrt(np.mean((left - right) ** 2) / np.mean(right**2)))


def token_level(combined: Policy, start: Params, stacked: Params, contexts: int) -> np.ndarray:
    """(16, held-out prompts, 2): log π_S of all coalitions at once; the five models' logits are computed once."""

    @jax.jit
    def of_batch(params: tuple[Params, Params], rows: Any) -> Any:
        ids = jnp.broadcast_to(jnp.arange(2), (HELD_OUT_BATCH, 2))

        def of_coalition(mask: Any) -> Any:
            return combined.log_probs(coalitions.TokenArithmetic(mask, *params), rows, ids)

        return jax.vmap(of_coalition)(jnp.asarray(MASKS))  # only what depends on the mask is done for each

    filled = np.arange(math.ceil(contexts / HELD_OUT_BATCH) * HELD_OUT_BATCH) % contexts
    parts = [np.asarray(of_batch((start, stacked), rows)) for rows in filled.reshape(-1, HELD_OUT_BATCH)]
    return np.concatenate(parts, axis=1)[:, :contexts].astype(float)
