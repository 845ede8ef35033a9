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
import itertools
import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.dpo_shapley.measures import Run, compare, pearson, precision, shapley, spearman, stopwatch, summary
from jaxval import coalitions, policies, training
from jaxval.data import PreferencePairs, data_folder, read_preferences
from jaxval.types import Comparisons, Params, Policy, SequenceModel

PROVIDERS = ("clean", "20 % flipped", "30 % flipped", "weak quality")
FILES = ("train_clean", "label_flip_20", "label_flip_30", "weak_quality_20", "eval_clean")
OBJECTIVES = ("score", "probability of the better")
N = len(PROVIDERS)
MASKS = np.array([[bool(index >> i & 1) for i in range(N)] for index in range(2**N)])
RIDGES = tuple(10.0**power for power in range(-6, 1))  # for features in standard deviations, at β = 0.1
FOLDS = 5
HELD_OUT_BATCH = 10

Advance = Callable[[float], None]
Tables = dict[str, np.ndarray]


class Settings(NamedTuple):
    """Sizes of the part."""

    beta: float = 0.1
    buckets: tuple[int, ...] = (8, 16, 32, 64, 256)
    log_linear_seeds: int = 8
    transformer_seeds: int = 3
    width: int = 88
    layers: int = 1
    prompt_tokens: int = 48
    response_tokens: int = 144
    epochs: int = 2
    batch: int = 25
    learning_rate: float = 5e-4


SIZES = {
    "default": Settings(),
    "full": Settings(
        log_linear_seeds=20, transformer_seeds=4, width=128, layers=5, prompt_tokens=128, response_tokens=384, epochs=4
    ),
    "quick": Settings(
        buckets=(8,), log_linear_seeds=1, transformer_seeds=1, width=8, prompt_tokens=6, response_tokens=10, epochs=1
    ),
}


class Pairs(NamedTuple):
    """The texts, which of them each provider has, and the held-out rewards."""

    texts: PreferencePairs
    provider_prompts: np.ndarray  # the prompts that the providers share out
    held_out: Comparisons
    rewards: np.ndarray  # (held-out prompts, 2, objectives)


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


def read(data: str | None) -> Pairs:
    """The pairs of all files with one catalogue of texts."""
    folder = data_folder("preferences", path=data)
    texts = read_preferences(
        [folder / f"ultrafeedback_{name}.jsonl.gz" for name in FILES], source=None, skip_unusable=True
    )
    owner, context = np.asarray(texts.source), np.asarray(texts.comparisons.context)
    held_out = Comparisons(*(np.asarray(field)[owner == N] for field in texts.comparisons))
    both = np.stack([held_out.winner, held_out.loser], axis=1)
    scores = next(iter(texts.scores.values()))[held_out.context[:, None], both]
    better = 0.5 + 0.5 * np.sign(scores - scores[:, ::-1])
    return Pairs(texts, np.unique(context[owner < N]), held_out, np.stack([scores, better], axis=2))


def sources_of(pairs: Pairs, seed: int) -> list[Comparisons]:
    """What each provider has under a seed; of one length, filled up with rows of weight 0."""
    prompts = pairs.provider_prompts
    place = np.arange(len(prompts))
    if seed >= N:  # beyond the first round the prompts are shuffled
        place = np.random.default_rng(seed // N).permutation(len(prompts))
    provider = np.full(len(pairs.texts.prompts), -1)
    provider[prompts] = (place + seed) % N
    owner, context = np.asarray(pairs.texts.source), np.asarray(pairs.texts.comparisons.context)
    length = math.ceil(len(prompts) / N)
    sources = []
    for s in range(N):
        rows = np.flatnonzero((owner == s) & (provider[context] == s))[:length]
        fields = [np.asarray(field)[rows] for field in pairs.texts.comparisons]
        missing = length - len(rows)
        fills = (fields[0][:1], fields[1][:1], fields[2][:1], np.zeros(1))
        sources.append(
            Comparisons(*(np.concatenate([f, np.repeat(x, missing)]) for f, x in zip(fields, fills, strict=True)))
        )
    return sources


def joined(sources: list[Comparisons], members: tuple[int, ...]) -> Comparisons:
    """The pairs of several providers in one record."""
    return Comparisons(*(np.concatenate(fields) for fields in zip(*(sources[s] for s in members), strict=True)))


# Retraining every coalition, whatever trains one stage.


def train_coalitions(
    fit: Callable[[Params, Comparisons, str], Params], start: Params, sources: list[Comparisons], times: dict
) -> tuple[dict[tuple[int, ...], Params], dict[tuple[int, ...], Params]]:
    """Parameters of all coalitions: sequential, in the providers' order, and union.

    A coalition's sequential training goes on from that of its members but the last: 2^n - 1 stages instead of
    n 2^(n-1).
    """
    sequential: dict[tuple[int, ...], Params] = {(): start}
    union: dict[tuple[int, ...], Params] = {(): start}
    for size in range(1, N + 1):
        for members in itertools.combinations(range(N), size):
            names = "".join(map(str, members))
            name = f"{'separate' if size == 1 else 'sequential'}-{names}"
            with unless_known(times, name):
                sequential[members] = fit(sequential[members[:-1]], sources[members[-1]], name)
            if size == 1:
                union[members] = sequential[members]
                continue
            with unless_known(times, f"union-{names}"):
                union[members] = fit(start, joined(sources, members), f"union-{names}")
    return sequential, union


def unless_known(times: dict[str, list[float]], name: str) -> AbstractContextManager[None]:
    """A stopwatch; none where the time of a training that was finished before is known."""
    return nullcontext() if name in times else stopwatch(times, name)


def table_of(gains: dict[tuple[int, ...], np.ndarray], pairs: Pairs) -> np.ndarray:
    """(2^n, objectives) utilities from the gains of each coalition."""
    return np.stack([utility(gains[tuple(np.flatnonzero(mask).tolist())], pairs) for mask in MASKS])


def utility(gains: Any, pairs: Pairs) -> np.ndarray:
    """v(π) from log π - log π_0 of the held-out responses, (prompts, 2)."""
    return np.asarray(coalitions.expected_reward(gains, pairs.rewards), dtype=float)


def margin(gains: np.ndarray) -> np.ndarray:
    """By how much more the first response of each pair has gained than the second, nats."""
    return gains[:, 0] - gains[:, 1]


def judged(tables: Tables, times: dict[str, list[float]]) -> dict[str, Any]:
    """Utilities, values, and how each arithmetic's compare with both ways of retraining, under both objectives."""
    phi = {name: shapley(table) for name, table in tables.items()}
    against: dict[str, Any] = {}
    for way in [name for name in tables if name not in ("sequential", "union")] + ["sequential"]:
        for truth in ("sequential", "union"):
            if way != truth:
                against[f"{way} against {truth}"] = [
                    {
                        **compare(phi[way][:, k], phi[truth][:, k]),
                        "pearson of the coalitions' utilities": pearson(tables[way][1:, k], tables[truth][1:, k]),
                        "spearman of the coalitions' utilities": spearman(tables[way][1:, k], tables[truth][1:, k]),
                    }
                    for k in range(len(OBJECTIVES))
                ]
    return {
        "utilities": {name: table.tolist() for name, table in tables.items()},
        "values": {name: value.tolist() for name, value in phi.items()},
        "against": against,
        "seconds": _by_way(times, 0),
        "processor seconds": _by_way(times, 1),
    }


def _by_way(times: dict[str, list[float]], which: int) -> dict[str, float]:
    """Seconds of all trainings of a way together: names are "way-members"."""
    totals: dict[str, float] = {}
    for name, seconds in times.items():
        way = name.split("-")[0]
        totals[way] = totals.get(way, 0.0) + seconds[which]
    return totals


# Log-linear.


def linear_policy(pairs: Pairs, buckets: int) -> Policy:
    """Log-linear in hashed n-grams, length and overlap, each in standard deviations."""
    texts = pairs.texts
    features = policies.text_features(texts.prompts, texts.responses, buckets=buckets).astype(float)
    there = np.arange(features.shape[1])[None, :] < np.array([len(row) for row in texts.responses])[:, None]
    spread = features[there].std(axis=0)
    return policies.log_linear(features / np.where(spread > 0, spread, 1), base=np.where(there, 0.0, -np.inf))


def choose_ridge(pairs: Pairs, policy: Policy, at_beta: float) -> dict[str, Any]:
    """The ridge with the best cross-validated accuracy on the providers' own pairs, and what it becomes at another β.

    In units of the reward, z = β (log π - log π_0), the objective is Σ log σ(z) less λ/(2 β²) Σ z²: with λ in
    proportion to β² the rewards do not depend on β.
    """
    reference = policy.init(None)
    train = joined(sources_of(pairs, 0), tuple(range(N)))
    fold = np.random.default_rng(0).permutation(len(train.weight)) % FOLDS

    def fitted(ridge: float, weight: np.ndarray, beta: float = at_beta) -> Params:
        rows = train._replace(weight=train.weight * weight)
        return training.fit(policy, reference, rows, beta=beta, ridge=ridge)[0]

    def accuracy(ridge: float) -> float:
        right = np.full(len(fold), np.nan)
        for k in range(FOLDS):
            params = fitted(ridge, (fold != k).astype(float))
            margins = np.diff(np.asarray(training.log_ratios(policy, params, train)))[:, 0]
            right[fold == k] = np.heaviside(-margins, 0.5)[fold == k]
        return float(right[train.weight > 0].mean())

    scores = {ridge: accuracy(ridge) for ridge in RIDGES}
    best = max(scores, key=scores.__getitem__)
    ones = np.ones(len(fold))
    rewards = [beta * np.asarray(fitted(best * (beta / at_beta) ** 2, ones, beta)) for beta in (at_beta, at_beta / 5)]
    return {
        "ridge": best,
        "beta": at_beta,
        "best accuracy": scores[best],
        "cross-validated accuracy": {f"{ridge:g}": score for ridge, score in scores.items()},
        "largest change of a reward's weight at a fifth of beta": float(np.abs(rewards[0] - rewards[1]).max()),
        "features": int(reference.shape[0]),
    }


def log_linear_seed(
    pairs: Pairs, policy: Policy, beta: float, ridge: float, seed: int, advance: Advance
) -> dict[str, Any]:
    """All coalitions of a log-linear policy by Newton's method."""
    start = policy.init(None)
    both = np.stack([pairs.held_out.winner, pairs.held_out.loser], axis=1)
    times: dict[str, list[float]] = {}

    def fit(before: Params, rows: Comparisons, name: str) -> Params:
        del name
        return training.fit(policy, before, rows, beta=beta, ridge=ridge)[0].block_until_ready()

    def gains(params: Params) -> np.ndarray:  # the base is uniform, so that the gains are the policy
        return np.asarray(policy.log_probs(params, pairs.held_out.context, both))

    sources = sources_of(pairs, seed)
    for rows in (sources[0], *(joined(sources, tuple(range(k))) for k in range(2, N + 1))):
        fit(start, rows, "compiled before the clock starts")
    sequential, union = train_coalitions(fit, start, sources, times)
    gained = {name: {members: gains(params) for members, params in found.items()}
              for name, found in (("sequential", sequential), ("union", union))}  # fmt: skip
    with stopwatch(times, "response"):
        single = np.stack([gained["sequential"][(s,)] for s in range(N)])
        response = {_members(mask): coalitions.combine(gained["sequential"][()], single, mask) for mask in MASKS}
    with stopwatch(times, "parameter"):
        stacked = jnp.stack([sequential[(s,)] for s in range(N)])
        parameter = {_members(mask): gains(coalitions.add_parameters(start, stacked, mask)) for mask in MASKS}
    tables = {
        "response": table_of(response, pairs),
        "parameter": table_of(parameter, pairs),
        **{name: table_of(found, pairs) for name, found in gained.items()},
    }
    advance(1)
    return judged(tables, times)


def _members(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(np.flatnonzero(mask).tolist())


# Transformer.


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
        gained["response"] = {_members(m): np.tensordot(m.astype(float), single, 1) for m in MASKS}
    with stopwatch(times, "parameter"):
        gained["parameter"] = {
            _members(m): log_probs(coalitions.add_parameters(start, stacked, m)) - base for m in MASKS
        }
    with stopwatch(times, "token"):
        by_token = token_level(model.combined, start, stacked, len(base)) - base
    gained["token"] = {_members(m): by_token[row] for row, m in enumerate(MASKS)}
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


# What was found.


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
