"""Part b: T steps on each source instead of convergence. Does the order still not matter, and how wrong is φ̂?

A stage minimises the mean of -log σ(β m) over a source's pairs, where m is the difference of log π - log π_k. It starts
from θ_k. If differences of log π are linear in θ, as for tabular and log-linear policies, the loss of a stage and its
gradients depend on θ - θ_k alone. Hence T steps of any optimiser with a new state give the same step θ_{k+1} - θ_k,
wherever the stage starts, and steps add up in any order, at every T. Three things break this, and are measured:

- an optimiser whose state is carried from stage to stage;
- weight decay, which acts on θ and not on the step of the stage;
- parameters in which log π is not linear, as θ = θ_0 + A B for adapters.

In units of the reward, z = β θ, gradient descent at rate c/β² makes the same steps for every β. At a fixed rate,
learning is slow if β is small: T has to grow as 1/β².
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.dpo_shapley.draws import draw_preferences, log_probs_of_sources, wins_of
from experiments.dpo_shapley.measures import Run, grouped
from jaxval import coalitions, policies
from jaxval.values import shapley

DESCENT, ADAM = 36.0, 0.05  # rates at β = 1; the largest stable one of gradient descent is 72 here
DECAY = 0.05
FEATURES = 6
UNEVEN = 0.1


class Kind(NamedTuple):
    """A kind of training, and the parameters that are trained.

    Attributes:
        parameters: "table", "features", "adapters" (of full rank), "thin adapters" (of rank 1).
        optimiser: "descent" or "Adam".
        scaled: whether the rate is c/β² (descent) or c/β (Adam) instead of c.
        carried: whether the optimiser's state is carried from one source to the next.
        decay: weight decay in each step, as a share of rate · β.
        ties: whether equal counts of wins stay equal; if not, every count is multiplied by a different number from 1 to
            1.1.
    """

    parameters: str = "table"
    optimiser: str = "descent"
    scaled: bool = True
    carried: bool = False
    decay: float = 0.0
    ties: bool = True


KINDS = {
    "tabular, gradient descent": Kind(),
    "tabular, gradient descent, rate not scaled": Kind(scaled=False),
    "tabular, Adam": Kind(optimiser="Adam"),
    "tabular, Adam, no ties": Kind(optimiser="Adam", ties=False),
    "log-linear, Adam": Kind("features", "Adam"),
    "tabular, Adam, state carried on": Kind(optimiser="Adam", carried=True),
    "tabular, Adam, weight decay": Kind(optimiser="Adam", decay=DECAY),
    "adapters of full rank, Adam": Kind("adapters", "Adam"),
    "adapters of rank 1, Adam": Kind("thin adapters", "Adam"),
}


class Settings(NamedTuple):
    """The sizes of the part."""

    sources: int = 4
    contexts: int = 6
    responses: int = 4
    betas: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
    steps: tuple[int, ...] = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
    kinds: tuple[str, ...] = tuple(KINDS)
    seeds: int = 3


SIZES = {
    "default": Settings(),
    "full": Settings(contexts=24, steps=tuple(2**k for k in range(14)), seeds=10),
    "quick": Settings(
        sources=2,
        contexts=2,
        responses=3,
        betas=(1.0,),
        steps=(1, 4),
        seeds=1,
        kinds=("tabular, gradient descent", "adapters of full rank, Adam"),
    ),
}


def runs(settings: Settings, *_: Any) -> dict[str, Run]:
    """One run for each kind and seed, with all β and all numbers of steps."""
    units = float(sum(settings.steps))
    return {
        f"{kind}, seed {seed}": Run(functools.partial(along_steps, settings, kind, seed), units)
        for kind, seed in itertools.product(settings.kinds, range(settings.seeds))
    }


class Trainable(NamedTuple):
    """The initial parameters, and log π of all responses as a function of parameters."""

    start: Any
    log_probs: Callable[[Any], Any]


def trainable(parameters: str, contexts: int, responses: int) -> Trainable:
    """A table, weights of features, or a fixed table and an adapter A B that starts at 0 as low-rank adapters do."""
    if parameters == "table":
        return Trainable(jnp.zeros((contexts, responses)), jax.nn.log_softmax)
    if parameters == "features":
        design = features(contexts, responses)
        return Trainable(jnp.zeros(FEATURES), lambda weights: jax.nn.log_softmax(design @ weights))
    rank = 1 if parameters == "thin adapters" else min(contexts, responses)
    first = jnp.asarray(np.random.default_rng(0).normal(size=(contexts, rank)))
    return Trainable(
        (first, jnp.zeros((rank, responses))), lambda two: jax.nn.log_softmax(two[0] @ two[1] / np.sqrt(rank))
    )


def features(contexts: int, responses: int) -> Any:
    """Random features of every response."""
    return jnp.asarray(np.random.default_rng(0).normal(size=(contexts, responses, FEATURES)))


def stage_loss(model: Trainable, params: Any, reference: Any, wins: Any, beta: Any) -> Any:
    """The mean of -log σ(β m) over the pairs of one source, counted in (contexts, responses, responses) wins."""
    steps = model.log_probs(params) - reference
    margins = steps[:, :, None] - steps[:, None, :]
    return -jnp.sum(wins * jax.nn.log_sigmoid(beta * margins)) / jnp.sum(wins)


def in_stages(kind: Kind, model: Trainable, wins: Any, order: Any, members: Any, steps: Any, beta: Any) -> Any:
    """Log π after `steps` steps on the pairs of each member of a coalition, in the given order."""
    rate = (DESCENT if kind.optimiser == "descent" else ADAM) * jnp.ones(())
    if kind.scaled:
        rate = rate / (beta**2 if kind.optimiser == "descent" else beta)
    optimiser = optax.identity() if kind.optimiser == "descent" else optax.scale_by_adam()

    def stage(state: tuple[Any, Any], source: Any) -> tuple[tuple[Any, Any], None]:
        params, inner = state
        reference = model.log_probs(params)

        def step(_: Any, now: tuple[Any, Any]) -> tuple[Any, Any]:
            slopes = jax.grad(lambda p: stage_loss(model, p, reference, wins[source], beta))(now[0])
            moves, inner = optimiser.update(slopes, now[1], now[0])
            shrink = 1 - kind.decay * rate * beta
            return jax.tree.map(lambda p, move: shrink * p - rate * move, now[0], moves), inner

        after = jax.lax.fori_loop(0, steps, step, (params, inner if kind.carried else optimiser.init(params)))
        return jax.tree.map(lambda new, old: jnp.where(members[source], new, old), after, state), None

    return model.log_probs(jax.lax.scan(stage, (model.start, optimiser.init(model.start)), order)[0][0])


@functools.cache
def _compiled(kind: Kind, sources: int, contexts: int, responses: int) -> Callable[..., Any]:
    """A compiled function to log π of all sources in every order, and of all coalitions; `steps` is traced."""
    model = trainable(kind.parameters, contexts, responses)
    orders = jnp.asarray(list(itertools.permutations(range(sources))))
    masks = coalitions.all_coalitions(sources)
    everyone = jnp.ones(sources, dtype=bool)

    def at(wins: Any, steps: Any, beta: Any) -> tuple[Any, Any]:
        every_order = jax.vmap(lambda order: in_stages(kind, model, wins, order, everyone, steps, beta))(orders)
        every_mask = jax.vmap(lambda mask: in_stages(kind, model, wins, orders[0], mask, steps, beta))(masks)
        return every_order, every_mask

    return jax.jit(jax.vmap(at, in_axes=(None, None, 0)))


def along_steps(settings: Settings, name: str, seed: int) -> dict[str, Any]:
    """The measures at every β (rows) and number of steps (columns)."""
    kind, n = KINDS[name], settings.sources
    drawn = draw_preferences(seed, sources=n, contexts=settings.contexts, responses=settings.responses)
    wins = wins_of(drawn)
    if not kind.ties:
        wins = wins * (1 + UNEVEN * jax.random.uniform(jax.random.key(seed), wins.shape))
    limits = [limit_table(drawn.rewards, wins, kind, beta) for beta in settings.betas]
    train = _compiled(kind, n, settings.contexts, settings.responses)
    found: list[list[dict[str, float]]] = [[] for _ in limits]  # by β, then by the number of steps
    for steps in settings.steps:
        trained = (np.asarray(part) for part in train(wins, steps, jnp.asarray(settings.betas)))
        for row, orders, masks, limit in zip(found, *trained, limits, strict=True):
            row.append(measures(drawn.rewards, orders, masks, limit))
    table = {measure: [[entry[measure] for entry in row] for row in found] for measure in found[0][0]}
    return {**table, "betas": list(settings.betas), "steps": list(settings.steps)}


def limit_table(rewards: Any, wins: Any, kind: Kind, beta: float) -> np.ndarray:
    """(2^n, 2) utilities at the optimum, from products of policies that Newton's method fits, equation (6)."""
    n, contexts, responses, _ = wins.shape
    policy = policies.tabular(contexts, responses)
    if kind.parameters == "features":
        policy = policies.log_linear(features(contexts, responses))
    utility = coalitions.reward_utility(*log_probs_of_sources(policy, wins, beta=beta), rewards)
    return np.asarray(coalitions.tabulate(utility, n))


def measures(rewards: Any, orders: np.ndarray, masks: np.ndarray, limit: np.ndarray) -> dict[str, float]:
    """The commutativity gap, and the error of φ̂ against equally short retraining and against the limit.

    Args:
        rewards: (contexts, responses, objectives).
        orders: (orders, contexts, responses) log π after training on all sources in each order.
        masks: (2^n, contexts, responses) log π of all coalitions, whose sources are trained on in one order.
        limit: (2^n, objectives) utilities at the optimum.
    """
    if not (np.isfinite(orders).all() and np.isfinite(masks).all()):
        raise FloatingPointError("part b: a training diverged; lower its rate")
    n = len(masks).bit_length() - 1

    def values_of(log_probs: np.ndarray) -> np.ndarray:
        return np.einsum("axy,xyk->ak", np.exp(log_probs), np.asarray(rewards)) / masks.shape[1]

    separate = masks[2 ** np.arange(n)]
    utility = coalitions.reward_utility(masks[0], separate, rewards)
    tables = coalitions.tabulate(utility, n), values_of(masks), limit
    short, retrained, final = (np.asarray(shapley(table)) for table in tables)
    spread = np.ptp(values_of(orders), axis=0) / np.ptp(limit, axis=0)
    scale = np.abs(final).max()
    return {
        "gap between orders, nats": float(np.ptp(orders, axis=0).max()),
        "largest change of log π, nats": float(np.abs(orders - masks[0][None]).max()),
        "range of the reward over orders": float(spread.max()),
        "error against equally short retraining": float(np.abs(short - retrained).max() / scale),
        "error against convergence": float(np.abs(short - final).max() / scale),
    }


def found(kept: dict[str, Any]) -> dict[str, Any]:
    """For each kind, the means over seeds at every β and T, and the largest mean of each measure with its β and T."""
    return {name: _summary(group) for name, group in grouped(kept).items()}


def _summary(group: list[dict[str, Any]]) -> dict[str, Any]:
    measured = dict(group[0])
    betas, steps = measured.pop("betas"), measured.pop("steps")
    entry: dict[str, Any] = {"seeds": len(group), "betas": betas, "steps": steps}
    for measure in measured:
        each = np.array([run[measure] for run in group])
        mean = each.mean(axis=0)
        _, row, column = np.unravel_index(each.argmax(), each.shape)
        entry[measure] = {
            "mean": mean.tolist(),
            "lowest seed": each.min(axis=0).tolist(),
            "highest seed": each.max(axis=0).tolist(),
            "largest": {"value": float(each.max()), "beta": betas[row], "steps": steps[column]},
            "most steps": mean[:, -1].tolist(),
            "fewest steps": mean[:, 0].tolist(),
        }
    return entry
