"""A small byte-level transformer on two families of prompts: voters nearly agree on one, and hardly on the other.

A prompt such as "fact c37?" names a family, a topic, and a number that means nothing. Its responses are four words. The
central ranking of the words depends on the topic alone, and voters follow Mallows-φ; φ depends on family and topic. The
reference learns from demonstrations, each a voter's first choice, on other prompts than those with votes; hence its
entropy knows something of φ. Trainings are compared on prompts that neither has seen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.mallows.bandit import vote_matrix
from experiments.mallows.indices import pair_indices
from jaxval import alignment, policies, training
from jaxval.training.gradient import digest, minimise_rows
from jaxval.types import Policy, SequenceModel

__all__ = ["CURVES", "FAMILIES", "LOSSES", "Size", "one_seed", "reward_at_equal_divergence"]

FAMILIES = {"consensual": ("fact", (1.0, 2.0)), "divided": ("taste", (0.05, 0.3))}  # the word, and -log φ from, to
WORDS = ("ox", "crow", "beetle", "nightingale")
TOPICS = "abcdefgh"
LOSSES = {  # the loss, and the dispersion that it is told
    "DPO": ("dpo", None),
    "θ, true φ": ("mallows_theta", "true"),
    "θ, index": ("mallows_theta", "index"),
    "φ, true φ": ("mallows_phi", "true"),
}
CURVES = ("reward", "entropy", "length", "divergence", "mass")  # each by family
BETA = 0.5
BATCH = 32


class Size(NamedTuple):
    """How much is trained."""

    steps: int = 120
    reference_steps: int = 250
    numbers: int = 6  # of each kind of prompt, with votes; as many for demonstrations, two held out
    votes: int = 8
    demonstrations: int = 8
    width: int = 32
    layers: int = 2


class Task(NamedTuple):
    """Prompts in three parts, one after the other: of demonstrations, of votes, held out; and their truth."""

    part: np.ndarray  # (prompts,) 0, 1 or 2
    family: np.ndarray  # (prompts,) 0 consensual, 1 divided
    sharpness: np.ndarray  # (prompts,) -log φ
    rank: np.ndarray  # (prompts, words) 0 is the best


class Setting(NamedTuple):
    """What all seeds share, so that it is compiled once: the prompts, the model, and the policy over them."""

    kinds: list[tuple[int, int, int]]  # (prompts,) part, family, topic
    texts: list[str]
    length: int
    model: SequenceModel
    policy: Policy


@functools.cache
def make_setting(size: Size) -> Setting:
    """Two families of eight topics; the numbers of each kind of prompt are in one part only."""
    rng, rows = np.random.default_rng(0), []
    for family, (word, _) in enumerate(FAMILIES.values()):
        for topic, letter in enumerate(TOPICS):
            numbers = rng.choice(100, 2 * size.numbers + 2, replace=False)
            for number, part in zip(numbers, np.repeat(range(3), [size.numbers, size.numbers, 2]), strict=True):
                rows.append((int(part), family, topic, f"{word} {letter}{number:02d}?"))
    rows.sort()
    texts = [text for *_, text in rows]
    length = 1 + max(map(len, texts)) + 1 + max(map(len, WORDS))
    model = policies.transformer(
        vocabulary=policies.byte_tokeniser().vocabulary, length=length, width=size.width, layers=size.layers, heads=4
    )
    policy = policies.over_catalogue(model, texts, [list(WORDS)] * len(texts))
    return Setting([row[:3] for row in rows], texts, length, model, policy)


@functools.cache
def optimiser(rate: float, steps: int) -> optax.GradientTransformation:
    """One object for all seeds, for which a training is compiled once."""
    return training.adamw(rate, steps=steps)


def draw_task(rng: np.random.Generator, kinds: list[tuple[int, int, int]]) -> Task:
    """A central ranking for each topic, and φ for each topic and family."""
    orders = np.stack([rng.permutation(len(WORDS)) for _ in TOPICS])
    levels = np.stack([np.geomspace(*ends, len(TOPICS))[rng.permutation(len(TOPICS))] for _, ends in FAMILIES.values()])
    part, family, topic = np.array(kinds).T
    return Task(part, family, levels[family, topic], orders[topic])


def demonstrations(rng: np.random.Generator, task: Task, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Prompts and words: a voter's first choice has rank k with probability φ^k / Z under Kendall's distance."""
    chances = np.exp(-task.sharpness[:, None] * task.rank)
    chances /= chances.sum(axis=1, keepdims=True)
    contexts = np.repeat(np.flatnonzero(task.part == 0), size.demonstrations)
    return contexts, np.array([rng.choice(len(WORDS), p=chances[x]) for x in contexts])


def votes(rng: np.random.Generator, task: Task, size: Size) -> np.ndarray:
    """(3, votes): prompt, winner and loser of votes on random pairs of words."""
    rows = []
    for x in np.flatnonzero(task.part == 1):
        table = np.asarray(vote_matrix(jnp.asarray(task.sharpness[x]), "Mallows-φ"))
        for _ in range(size.votes):
            first, second = rng.choice(len(WORDS), 2, replace=False)
            wins = rng.uniform() < table[task.rank[x, first], task.rank[x, second]]
            rows.append((x, first, second) if wins else (x, second, first))
    return np.array(rows).T


def one_seed(seed: int, size: Size) -> dict[str, Any]:
    """A reference, its index of every prompt with votes, and the curves of one training for each of `LOSSES`."""
    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    setting = make_setting(size)
    model, policy = setting.model, setting.policy
    task = draw_task(rng, setting.kinds)
    reference, _ = training.fine_tune(
        policy,
        policy.init(key),
        *demonstrations(rng, task, size),
        optimiser=optimiser(3e-3, size.reference_steps),
        steps=size.reference_steps,
        batch_size=2 * BATCH,
        key=key,
    )
    x, winner, loser = votes(rng, task, size)
    arrays = policies.catalogue(setting.texts, [list(WORDS)] * len(setting.texts), length=setting.length)
    entropies = policies.next_token_entropies(model, reference, arrays.sequences, arrays.prompt_lengths, arrays.lengths)
    starts = np.asarray(arrays.prompt_lengths) - 1  # the entropy before token t is in column t - 1
    at = np.minimum(starts[:, None] + np.arange(1 + max(map(len, WORDS))), setting.length - 2)
    first = np.asarray(arrays.first)[x]
    index = pair_indices(
        np.take_along_axis(np.asarray(entropies), at, axis=1),
        np.asarray(arrays.lengths) - np.asarray(arrays.prompt_lengths),
        first + winner,
        first + loser,
        vocabulary=model.vocabulary,
    )
    told = {
        None: np.ones(len(x)),
        "true": np.exp(-task.sharpness[x]),
        "index": np.asarray(alignment.dispersion_from_index(index)),
    }
    curves = {}
    for name, (loss, dispersion) in LOSSES.items():
        curves[name] = train(policy, reference, task, (x, winner, loser, told[dispersion]), loss, key, size)
    prompts = np.flatnonzero(task.part == 1)
    of_prompt = np.array([index[x == prompt].mean() for prompt in prompts])
    return {
        "curves": curves,
        "index": of_prompt.tolist(),
        "sharpness": task.sharpness[prompts].tolist(),
        "family": task.family[prompts].tolist(),
    }


def train(
    policy: Policy, reference: Any, task: Task, columns: tuple[np.ndarray, ...], loss: str, key: Any, size: Size
) -> dict[str, Any]:
    """Train on the votes; at every step measure the prompts that are held out, conditioned on the four words."""
    held = np.flatnonzero(task.part == 2)
    contexts, ids = jnp.asarray(held), jnp.tile(jnp.arange(len(WORDS)), (len(held), 1))
    family = jnp.asarray(np.stack([task.family[held] == f for f in range(2)]), dtype=float)
    truth = (
        contexts,
        ids,
        family / family.sum(axis=1, keepdims=True),
        jnp.asarray((len(WORDS) - 1) / 2 - task.rank[held], dtype=float),
        policies.normalise(policy.log_probs(reference, contexts, ids)),
    )
    x, winner, loser, dispersion = columns
    both = np.stack([winner, loser], axis=1)
    start = policy.log_probs(reference, x, both)
    rows = (jnp.asarray(x), jnp.asarray(both), start, jnp.asarray(dispersion, dtype=start.dtype))
    _, found = minimise_rows(
        functools.partial(_loss_and_measures, loss),
        jax.tree_util.Partial(_with_truth, truth, policy.log_probs),
        reference,
        rows,
        jnp.ones(len(x)),
        optimiser=optimiser(1e-3, size.steps),
        steps=size.steps,
        batch_size=BATCH,
        key=key,
        checkpoints=None,
        what={"votes": digest(list(rows)), "loss": loss},
        every=size.steps,
        progress=False,
    )
    thinned = np.linspace(0, size.steps - 1, min(size.steps, 61)).round().astype(int)
    by_family = np.stack(found[1:], axis=1).reshape(size.steps, len(CURVES), 2)[thinned]
    measures = {name: by_family[:, k].tolist() for k, name in enumerate(CURVES)}
    return {"step": thinned.tolist(), **measures}


def _with_truth(truth: Any, log_probs: Callable[..., Any], *arguments: Any) -> Any:
    """The log-probabilities. The truth travels with them as an argument of what is compiled, which all seeds share."""
    del truth
    return log_probs(*arguments)


def _loss_and_measures(
    loss: str, log_probs: jax.tree_util.Partial, params: Any, rows: Any, weights: Any
) -> tuple[Any, tuple[Any, ...]]:
    """The mean loss of a minibatch, and each of `CURVES` on the held-out prompts of both families."""
    x, both, start, dispersion = rows
    options = {} if loss == "dpo" else {"dispersion": dispersion}
    now = log_probs(params, x, both)
    each = alignment.find_loss(loss)(*now.T, *start.T, beta=BETA, **options)
    contexts, ids, family, reward, base = log_probs.args[0]
    whole = jax.lax.stop_gradient(log_probs(params, contexts, ids))
    pi = policies.normalise(whole)
    lengths = jnp.array([len(word) for word in WORDS], dtype=whole.dtype)
    measures = (
        jnp.sum(jnp.exp(pi) * reward, axis=1),
        -jnp.sum(jnp.exp(pi) * pi, axis=1),
        jnp.exp(pi) @ lengths,
        jnp.sum(jnp.exp(pi) * (pi - base), axis=1),
        jnp.sum(jnp.exp(whole), axis=1),
    )
    return jnp.sum(weights * each) / jnp.sum(weights), tuple(row @ measure for measure in measures for row in family)


def reward_at_equal_divergence(curves: dict[str, Any]) -> dict[str, float]:
    """The held-out reward of each training when it first reaches the largest KL that all trainings reach."""
    means = {
        name: [np.mean(curve[part], axis=1) for part in ("divergence", "reward")] for name, curve in curves.items()
    }
    level = min(divergence.max() for divergence, _ in means.values())
    found = {"divergence": float(level)}
    for name, (divergence, reward) in means.items():
        k = int(np.argmax(divergence >= level))
        before, after = divergence[max(k - 1, 0)], divergence[k]
        part = 1.0 if after == before else (level - before) / (after - before)
        found[name] = float(reward[max(k - 1, 0)] * (1 - part) + reward[k] * part)
    return found
