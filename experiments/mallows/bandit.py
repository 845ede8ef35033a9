"""Prompts of known dispersion: votes drawn from Mallows models, policies fitted to them, and what each earns.

A prompt x has R responses and a central ranking of them. A voter's ranking has probability φ(x)^d / Z, where d is
Kendall's distance (Mallows-φ) or Spearman's (Mallows-θ) to the central one; all R! rankings are enumerated. A vote is
what one voter says of two random responses. The reward r(x, y) of a response is the number of responses below it in the
central ranking, so that a gap of rewards is the gap of ranks that the links take. In a third model, Bradley-Terry's
form of Mallows-θ, the reward is a linear function of the features, and a vote has probability σ(-2 log φ · gap): the
link of MallowsPO-θ is then exact, also for the log-linear policy.

Every loss here depends on β only through β times the log-ratios. One fit at β = 1 with a ridge on its log-ratios m
therefore gives the policies of all β, π ∝ π0 exp(t m) with t = 1/β. Two methods are compared at the t that gives each
of them the same mean KL divergence from π0.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from jaxval import alignment, policies, training
from jaxval.types import Comparisons

__all__ = [
    "FITTED",
    "MEASURES",
    "MODELS",
    "POLICIES",
    "RESPONSES",
    "RIDGES",
    "TOLD",
    "Prompts",
    "at_divergence",
    "cell",
    "draw_prompts",
    "fit",
    "frontier",
    "vote_matrix",
]

RESPONSES, FEATURES = 4, 4
MODELS = {"Mallows-θ": 0.2, "Mallows-φ": 0.5, "Bradley-Terry": 0.3}  # and -log φ of the middle prompt
POLICIES = ("table", "log-linear")
TOLD = ("DPO", "true φ", "index", "shuffled φ")  # the dispersions that MallowsPO-θ is told; the first make it DPO
FITTED = {  # the loss, and which dispersions it is told
    "DPO": ("θ", "DPO"),
    "IPO": ("IPO", "DPO"),
    "θ, true φ": ("θ", "true φ"),
    "θ, index": ("θ", "index"),
    "φ, true φ": ("φ", "true φ"),
    "φ, index": ("φ", "index"),
}
RIDGES = (0.1, 1.0, 10.0, 100.0)
MOST_PAIRS = 256
NOISE = 0.5  # standard deviation of the logarithm of index weight / true weight
KL = 0.2  # nats, where methods are compared
DIVERGENCES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.6)
MEASURES = ("reward", "votes")
STEPS, LEARNING_RATE = 400, 0.05  # of the gradient descent of the link φ


class Prompts(NamedTuple):
    """Prompts with their true preferences.

    Attributes:
        sharpness: (P,) -log φ(x).
        reward: (P, R) the number of responses below each in the central ranking, less their mean.
        votes: (P, R, R) the probability that a voter prefers the first response to the second; 1/2 on the diagonal.
        reference: (P, R) log π0, whose entropy, divided by log R, is φ(x) up to noise.
        features: (P, R, F) of which the log-linear policy is made; the central ranking is by one direction of them.
    """

    sharpness: Array
    reward: Array
    votes: Array
    reference: Array
    features: Array


def vote_matrix(sharpness: Array, model: str) -> Array:
    """(R, R): the probability that a voter ranks the k-th response of the central ranking above the l-th."""
    positions = np.array(list(itertools.permutations(range(RESPONSES))))
    above = positions[:, :, None] < positions[:, None, :]
    if model == "Mallows-θ":
        distance = ((positions - np.arange(RESPONSES)) ** 2).sum(axis=1)
    else:
        distance = np.triu(~above, 1).sum(axis=(1, 2))
    chances = jax.nn.softmax(-sharpness * distance)
    return jnp.tensordot(chances, above.astype(float), 1) + 0.5 * jnp.eye(RESPONSES)


def draw_prompts(key: Array, direction: Array, *, count: int, model: Array, spread: Array) -> Prompts:
    """Prompts whose -log φ are evenly spaced in their logarithm, the largest being `spread` times the smallest.

    The model is its number in `MODELS`; a number, and not a name, so that all models share what is compiled.
    """
    features, order, logits, noise = jax.random.split(key, 4)
    x = jax.random.normal(features, (count, RESPONSES, FEATURES))
    utility = x @ direction
    rank = jnp.argsort(jnp.argsort(-utility, axis=1), axis=1)
    levels = (jnp.arange(count) + 0.5) / count - 0.5
    sharpness = jnp.array(list(MODELS.values()))[model] * spread ** jax.random.permutation(order, levels)
    tables = []
    for name in ("Mallows-θ", "Mallows-φ"):
        centred = jax.vmap(functools.partial(vote_matrix, model=name))(sharpness)
        tables.append(jax.vmap(lambda table, rank: table[rank][:, rank])(centred, rank))
    tables.append(jax.nn.sigmoid(2 * sharpness[:, None, None] * (utility[:, :, None] - utility[:, None, :])))
    reward = jnp.where(model == 2, utility - jnp.mean(utility, axis=1, keepdims=True), (RESPONSES - 1) / 2 - rank)
    entropy = jnp.exp(-sharpness * jnp.exp(NOISE * jax.random.normal(noise, (count,))))
    reference = jax.vmap(_with_entropy)(jax.random.normal(logits, (count, RESPONSES)), entropy)
    return Prompts(sharpness, reward, jnp.stack(tables)[model], reference, x)


def _with_entropy(logits: Array, index: Array) -> Array:
    """Log softmax(s · logits) with the s at which its entropy is `index` times log R."""

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        flat = alignment.response_entropy_index(jnp.exp(middle) * logits) > index
        return jnp.where(flat, middle, low), jnp.where(flat, high, middle)

    low, _ = jax.lax.fori_loop(0, 50, halve, (jnp.asarray(-9.0), jnp.asarray(9.0)))
    return jax.nn.log_softmax(jnp.exp(low) * logits)


def draw_votes(key: Array, prompts: Prompts, *, pairs: Array) -> Array:
    """(P, R, R): how often the first response won, in `pairs` votes on random pairs of each prompt."""
    pair, winner = jax.random.split(key)
    ends = jnp.array(list(itertools.combinations(range(RESPONSES), 2)))
    count = len(prompts.reward)
    first, second = jnp.moveaxis(ends[jax.random.randint(pair, (count, MOST_PAIRS), 0, len(ends))], 2, 0)
    x = jnp.arange(count)[:, None]
    wins = jax.random.bernoulli(winner, prompts.votes[x, first, second])
    counted = jnp.where(jnp.arange(MOST_PAIRS) < pairs, 1.0, 0.0)
    table = jnp.zeros((count, RESPONSES, RESPONSES))
    return table.at[x, jnp.where(wins, first, second), jnp.where(wins, second, first)].add(counted)


def dispersions(key: Array, prompts: Prompts) -> Array:
    """(4, P): the φ(x) of `TOLD`. With φ = e^{-1/2} throughout, MallowsPO-θ is DPO."""
    index = alignment.response_entropy_index(prompts.reference)
    true = jnp.exp(-prompts.sharpness)
    estimated = alignment.dispersion_from_index(index, scale=2.0)  # φ = Ĥ, as the references were made
    return jnp.stack([jnp.full_like(true, np.exp(-0.5)), true, estimated, jax.random.permutation(key, true)])


def fit(
    policy: str, prompts: Prompts, votes: Array, loss: Callable[..., Array], ridge: Array, **options: Array
) -> Array:
    """The parameters of the log-ratios m at β = 1: (P, R) of a table, (F,) weights of features."""
    count = len(prompts.reward)
    rows = np.array([(x, *pair) for x in range(count) for pair in itertools.permutations(range(RESPONSES), 2)]).T
    context, winner, loser = (jnp.asarray(row) for row in rows)
    comparisons = Comparisons(context, winner, loser, votes[tuple(rows)])
    how: dict[str, Any] = {"beta": 1.0, "loss": loss, "context_options": options}
    if policy == "table":
        start = policies.tabular(count, RESPONSES)
        return training.newton_optimum(start, prompts.reference, comparisons, ridge=ridge, **how)[0] - prompts.reference
    linear = policies.log_linear(prompts.features, base=prompts.reference)
    return training.newton_optimum(linear, linear.init(None), comparisons, decay=ridge, **how)[0]


def descend(policy: str, prompts: Prompts, votes: Array, dispersion: Array, ridge: Array) -> Array:
    """The same for MallowsPO-φ, whose link jumps where training starts, by gradient descent from the reference."""

    def objective(params: Array) -> Array:
        ratios = log_ratios(policy, params, prompts)
        margins = ratios[:, :, None] - ratios[:, None, :]
        zero = jnp.zeros_like(margins)
        losses = alignment.mallows_phi(
            margins, zero, zero, zero, beta=1.0, dispersion=jnp.broadcast_to(dispersion[:, None, None], margins.shape)
        )
        return jnp.sum(votes * losses) + ridge / 2 * jnp.sum(params**2)

    optimiser = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, STEPS))

    def step(state: Any, _: None) -> tuple[Any, None]:
        params, memory = state
        update, memory = optimiser.update(jax.grad(objective)(params), memory)
        return (optax.apply_updates(params, update), memory), None

    start = jnp.zeros_like(prompts.reward) if policy == "table" else jnp.zeros(FEATURES)
    (params, _), _ = jax.lax.scan(step, (start, optimiser.init(start)), None, length=STEPS)
    return params


def log_ratios(policy: str, params: Array, prompts: Prompts) -> Array:
    """(P, R) m, up to a constant in each prompt."""
    return params if policy == "table" else prompts.features @ params


def at_divergence(reference: Array, ratios: Array, divergence: Array) -> Array:
    """(P, R) log π, π ∝ π0 exp(t m) with the t at which the mean over prompts of KL(π ‖ π0) is `divergence`."""

    def policy(log_t: Array) -> Array:
        return jax.nn.log_softmax(reference + jnp.exp(log_t) * ratios)

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        log_probs = policy(middle)
        near = jnp.mean(jnp.sum(jnp.exp(log_probs) * (log_probs - reference), axis=1)) < divergence
        return jnp.where(near, middle, low), jnp.where(near, high, middle)

    low, _ = jax.lax.fori_loop(0, 45, halve, (jnp.asarray(-8.0), jnp.asarray(12.0)))
    return policy(low)


def gains(prompts: Prompts, log_probs: Array) -> Array:
    """(2,): the mean reward above the reference's, and the share of votes above 1/2 against a draw of the reference."""
    change = jnp.exp(log_probs) - jnp.exp(prompts.reference)
    won = jnp.einsum("xy,xyz,xz->x", change, prompts.votes, jnp.exp(prompts.reference))
    return jnp.array([jnp.mean(jnp.sum(change * prompts.reward, axis=1)), jnp.mean(won)])


def best_gains(prompts: Prompts, divergence: Array) -> Array:
    """(2,): the largest gain of each kind that any policy has at this divergence."""
    votes = jnp.einsum("xyz,xz->xy", prompts.votes, jnp.exp(prompts.reference))
    found = [gains(prompts, at_divergence(prompts.reference, goal, divergence)) for goal in (prompts.reward, votes)]
    return jnp.array([found[0][0], found[1][1]])


def shares(policy: str, params: Array, tested: Prompts, divergence: Array) -> Array:
    """(2,): both gains as shares of the best."""
    log_probs = at_divergence(tested.reference, log_ratios(policy, params, tested), divergence)
    return gains(tested, log_probs) / best_gains(tested, divergence)


def problem(seed: Array, policy: str, *, count: int, model: Array, spread: Array) -> tuple[Prompts, Prompts, Array]:
    """The prompts to train on, those to test on (the same for a table, fresh ones for features), and a key."""
    towards, first, second, rest = jax.random.split(jax.random.fold_in(jax.random.key(0), seed), 4)
    direction = jax.random.normal(towards, (FEATURES,))
    draw = functools.partial(draw_prompts, direction=direction / jnp.linalg.norm(direction), model=model, spread=spread)
    trained = draw(first, count=count)
    return trained, trained if policy == "table" else draw(second, count=64), rest


@functools.partial(jax.jit, static_argnames=("policy", "count", "seeds", "redraws"))
def cell(model: Array, spread: Array, pairs: Array, *, policy: str, count: int, seeds: int, redraws: int) -> Array:
    """What MallowsPO-θ earns at `KL` nats when it is told each of `TOLD`.

    Args:
        model: the number of one of `MODELS`.
        spread: the largest -log φ of a prompt divided by the smallest.
        pairs: the number of votes on each prompt.
        policy: one of `POLICIES`.
        count: the number of prompts to train on.
        seeds: the number of problems, each with prompts of its own.
        redraws: the number of data sets of votes for each problem.

    Returns:
        (seeds, redraws, dispersions, ridges, 2) shares of the best gains.
    """

    def one_seed(seed: Array) -> Array:
        trained, tested, key = problem(seed, policy, count=count, model=model, spread=spread)
        mixed, *keys = jax.random.split(key, 1 + redraws)
        told = dispersions(mixed, trained)

        def one_fit(votes: Array, dispersion: Array, ridge: Array) -> Array:
            params = fit(policy, trained, votes, alignment.mallows_theta, ridge, dispersion=dispersion)
            return shares(policy, params, tested, jnp.asarray(KL))

        over = jax.vmap(jax.vmap(jax.vmap(one_fit, (None, None, 0)), (None, 0, None)), (0, None, None))
        votes = jax.vmap(lambda key: draw_votes(key, trained, pairs=pairs))(jnp.stack(keys))
        return over(votes, told, jnp.array(RIDGES))

    return jax.lax.map(one_seed, jnp.arange(seeds))


@functools.partial(jax.jit, static_argnames=("policy", "kind", "count", "seeds"))
def frontier(
    model: Array, spread: Array, pairs: Array, told: Array, *, policy: str, kind: str, count: int, seeds: int
) -> dict[str, Array]:
    """One method at every divergence, all seeds at once.

    Args:
        told: the number of the dispersions in `dispersions` that the loss is told.
        kind: θ (DPO if it is told the first dispersions), φ, or IPO, which needs none.

    Returns:
        `shares` (seeds, ridges, divergences, 2); `entropy` (seeds, ridges, divergences, 4), nats, by quartile of φ from
        the most consensual prompts to the most divided; `accuracy` (seeds, ridges, 4), the share of pairs of responses
        in the central order, a tie counting one half.
    """

    def one_seed(seed: Array, ridge: Array) -> dict[str, Array]:
        trained, tested, key = problem(seed, policy, count=count, model=model, spread=spread)
        mixed, key = jax.random.split(key)
        votes = draw_votes(key, trained, pairs=pairs)
        dispersion = dispersions(mixed, trained)[told]
        if kind == "φ":
            params = descend(policy, trained, votes, dispersion, ridge)
        elif kind == "θ":
            params = fit(policy, trained, votes, alignment.mallows_theta, ridge, dispersion=dispersion)
        else:
            params = fit(policy, trained, votes, alignment.ipo, ridge)
        ratios = log_ratios(policy, params, tested)
        order = jnp.argsort(-tested.sharpness)

        def at(divergence: Array) -> tuple[Array, Array]:
            log_probs = at_divergence(tested.reference, ratios, divergence)
            entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=1)
            return gains(tested, log_probs) / best_gains(tested, divergence), entropy[order].reshape(4, -1).mean(axis=1)

        above = tested.reward[:, :, None] > tested.reward[:, None, :]
        right = jnp.heaviside(ratios[:, :, None] - ratios[:, None, :], 0.5)
        accuracy = jnp.sum(jnp.where(above, right, 0), axis=(1, 2)) / (RESPONSES * (RESPONSES - 1) / 2)
        earned, entropy = jax.lax.map(at, jnp.array(DIVERGENCES))
        return {"shares": earned, "entropy": entropy, "accuracy": accuracy[order].reshape(4, -1).mean(axis=1)}

    return jax.vmap(jax.vmap(one_seed, (None, 0)), (0, None))(jnp.arange(seeds), jnp.array(RIDGES))
