"""Federated rounds on images: who takes part, what each round adds, and whom its values find.

A round trains the network of each contributor alone, all of them in one call, and averages the networks of those who
take part (FedAvg). The values of a round are exact, from the averages of all subsets of its contributors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval import values

__all__ = [
    "EPOCHS",
    "METHODS",
    "SELECTED",
    "Federation",
    "State",
    "Test",
    "average",
    "draw_federation",
    "initial_network",
    "make_test",
    "one_seed",
    "retrain",
    "train_locally",
    "value_rounds",
]

CLASSES, ROUNDS, ACTIVE, IMAGES = 10, 5, 6, 120
HIDDEN, RATE, EPOCHS = 200, 0.01, 50
NOISY, FLIPPED = 0.5, 0.7
SELECTED = (3, 4)
METHODS = ("ADS", "leave-one-out", "random")

Network = Any
"""Three layers, each a matrix of weights and a vector of biases."""


class Federation(NamedTuple):
    """The contributors of one seed.

    Attributes:
        images: (contributors, images, 784) shares of white, float32.
        labels: (contributors, images) classes, wrong ones included.
        noisy: (contributors,) whose labels were flipped.
        rounds: (rounds, active) the contributors of each round.
    """

    images: Array
    labels: Array
    noisy: np.ndarray
    rounds: np.ndarray


class State(NamedTuple):
    """A network, and what its first layer makes of the test images.

    The first layer is linear in its weights. An average of networks therefore has the average of their first layers'
    responses, which are computed once for each contributor and not for each subset of contributors.

    Attributes:
        network: the weights and biases.
        responses: (test images, hidden) of the first layer, before its ReLU.
    """

    network: Network
    responses: Array


def draw_federation(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Federation:
    """Deal images at random to contributors, as many of each class, and contributors to rounds; draw wrong labels."""
    contributors = ROUNDS * ACTIVE
    each = contributors * IMAGES // CLASSES
    rows = np.concatenate([rng.choice(np.flatnonzero(labels == k), each, replace=False) for k in range(CLASSES)])
    rows = rng.permutation(rows).reshape(contributors, IMAGES)
    noisy = np.zeros(contributors, bool)
    noisy[rng.choice(contributors, round(NOISY * contributors), replace=False)] = True
    flipped = noisy[:, None] & (rng.random(rows.shape) < FLIPPED)
    wrong = (labels[rows] + rng.integers(1, CLASSES, rows.shape)) % CLASSES
    rounds = rng.permutation(contributors).reshape(ROUNDS, ACTIVE)
    shown = jnp.asarray(_white(images[rows]))
    return Federation(shown, jnp.asarray(np.where(flipped, wrong, labels[rows])), noisy, np.sort(rounds, axis=1))


def _white(images: np.ndarray) -> np.ndarray:
    """(..., 784) shares of white, in float32."""
    return images.reshape(*images.shape[:-2], -1).astype(np.float32) / np.float32(255)


def initial_network(rng: np.random.Generator, widths: tuple[int, ...]) -> Network:
    """Weights and biases uniform in ±1/√(inputs), as PyTorch's linear layers have them, in float32."""
    return tuple(
        tuple(
            jnp.asarray(rng.uniform(-1, 1, shape) / np.sqrt(inputs), jnp.float32)
            for shape in ((inputs, outputs), outputs)
        )
        for inputs, outputs in pairwise(widths)
    )


def first_layer(network: Network, images: Array) -> Array:
    """The responses of the first layer before its ReLU."""
    weights, biases = network[0]
    return images @ weights + biases[None, :]


def later_layers(network: Network, responses: Array) -> Array:
    """The logits from the responses of the first layer."""
    for weights, biases in network[1:]:
        responses = jax.nn.relu(responses) @ weights + biases[None, :]
    return responses


@partial(jax.jit, static_argnames="epochs")
def train_locally(networks: Network, images: Array, labels: Array, *, epochs: int) -> Network:
    """Gradient descent on all images of a contributor, for many contributors in one call.

    Args:
        networks: the networks at the start, one for each job: every leaf has a first axis (jobs,).
        images: (jobs, images, 784).
        labels: (jobs, images).
        epochs: the number of steps.

    Returns:
        The networks after it.
    """

    def loss(network: Network, x: Array, y: Array) -> Array:
        log_probs = jax.nn.log_softmax(later_layers(network, first_layer(network, x)))
        return -jnp.mean(jnp.take_along_axis(log_probs, y[:, None], axis=1))

    def descend(network: Network, x: Array, y: Array) -> Network:
        def step(_: Any, network: Network) -> Network:
            return jax.tree.map(lambda w, slope: w - RATE * slope, network, jax.grad(loss)(network, x, y))

        return jax.lax.fori_loop(0, epochs, step, network)

    return jax.vmap(descend)(networks, images, labels)


@jax.jit
def _responses(networks: Network, images: Array) -> Array:
    """(networks, images, hidden) of the first layers, one network after another."""
    return jax.lax.map(lambda network: first_layer(network, images), networks)


def average(context: tuple[State, State, Array], coalition: Array) -> State:
    """FedAvg: the mean of the local models of those who take part; the previous state if nobody does.

    Args:
        context: the local models, each leaf with a first axis (members,); the previous state; (members,) the numbers
            of the members.
        coalition: (contributors,) who takes part.

    Returns:
        The next state.
    """
    local, before, members = context
    part = coalition[members].astype(jnp.float32)
    weights = part / jnp.maximum(jnp.sum(part), 1)
    return jax.tree.map(
        lambda each, old: jnp.where(jnp.any(coalition), jnp.tensordot(weights, each, 1), old), local, before
    )


class Test(NamedTuple):
    """The test images, and the accuracy on them as a function of a state.

    Attributes:
        images: (test, 784) shares of white, float32.
        accuracy: from a `State` to the share of the images whose class is right.
    """

    images: Array
    accuracy: Callable[[State], Array]


def make_test(images: np.ndarray, labels: np.ndarray) -> Test:
    """The test set; made once, so that one program serves all seeds."""
    classes = jnp.asarray(labels.astype(np.int32))

    def accuracy(state: State) -> Array:
        right = jnp.argmax(later_layers(state.network, state.responses), axis=1) == classes
        return jnp.sum(right) / len(classes)

    return Test(jnp.asarray(_white(images)), accuracy)


def value_rounds(federation: Federation, network: Network, test: Test, epochs: int) -> values.SequentialValues:
    """ADS of every contributor in its round, along the training in which all six of each round take part."""

    def prepare(state: State, mask: Array) -> tuple[State, State, Array]:
        members = np.flatnonzero(mask)
        start = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], len(members), axis=0), state.network)
        local = train_locally(start, federation.images[members], federation.labels[members], epochs=epochs)
        return State(local, _responses(local, test.images)), state, jnp.asarray(members)

    start = State(network, first_layer(network, test.images))
    contributors = len(federation.noisy)
    return values.sequential_shapley(
        average, test.accuracy, start, federation.rounds, players=contributors, prepare=prepare, batch_size=1
    )


def retrain(
    federation: Federation, network: Network, selections: list[np.ndarray], test: Test, epochs: int
) -> np.ndarray:
    """(selections, rounds) the accuracy after each round of trainings with selected contributors alone.

    All trainings advance together: the local trainings of a round, of all selections, are one call.

    Args:
        federation: the contributors.
        network: the initial network.
        selections: for each training (rounds, selected) the contributors that take part in each round.
        test: the test set.
        epochs: the number of steps of a local training.
    """
    networks = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], len(selections), axis=0), network)
    accuracies = []
    for t in range(len(federation.rounds)):
        owner = np.concatenate([np.full(one.shape[1], i) for i, one in enumerate(selections)])
        who = np.concatenate([one[t] for one in selections])
        start = jax.tree.map(lambda leaf, owner=owner: leaf[owner], networks)
        local = train_locally(start, federation.images[who], federation.labels[who], epochs=epochs)
        share = (owner[None, :] == np.arange(len(selections))[:, None]).astype(np.float32)
        share /= share.sum(axis=1, keepdims=True)
        networks = jax.tree.map(lambda each, share=share: jnp.tensordot(share, each, 1), local)
        accuracies.append(_accuracies(networks, test.images, test.accuracy))
    return np.stack(accuracies, axis=1)


@partial(jax.jit, static_argnames="accuracy")
def _accuracies(networks: Network, images: Array, accuracy: Callable[[State], Array]) -> Array:
    return jax.lax.map(lambda network: accuracy(State(network, first_layer(network, images))), networks)


def one_seed(images: np.ndarray, labels: np.ndarray, test: Test, seed: int, *, epochs: int = EPOCHS) -> dict[str, Any]:
    """The values of one seed, the accuracies after selection by them, and how soon they find noisy contributors."""
    rng = np.random.default_rng(seed)
    federation = draw_federation(images, labels, rng)
    network = initial_network(rng, (test.images.shape[1], HIDDEN, HIDDEN, CLASSES))
    found = value_rounds(federation, network, test, epochs)
    rounds, tables = federation.rounds, [np.asarray(table) for table in found.tables]
    scores = {
        "ADS": np.asarray(found.values)[np.arange(len(rounds))[:, None], rounds],
        "leave-one-out": np.stack([values.leave_one_out(table) for table in tables]),
        "random": rng.random(rounds.shape),
    }
    efficiency = scores["ADS"].sum(axis=1) - np.array([table[-1] - table[0] for table in tables])
    best = {(name, k): _largest(score, rounds, k) for name, score in scores.items() for k in SELECTED}
    accuracies = retrain(federation, network, list(best.values()), test, epochs)
    return {
        "values": {name: score.tolist() for name, score in scores.items()},
        "noisy": federation.noisy[rounds].tolist(),
        "accuracy": {
            "all six": np.asarray(found.utilities).tolist(),
            **{f"{name}, top {k}": row.tolist() for (name, k), row in zip(best, accuracies, strict=True)},
        },
        "noisy selected": {f"{name}, top {k}": federation.noisy[who].mean() for (name, k), who in best.items()},
        "detection": {name: _detection(score, federation.noisy[rounds]) for name, score in scores.items()},
        "efficiency": float(np.abs(efficiency).max()),
    }


def _largest(scores: np.ndarray, rounds: np.ndarray, k: int) -> np.ndarray:
    """(rounds, k) the contributors of the largest scores of each round."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(rounds, order, axis=1)


def _detection(scores: np.ndarray, noisy: np.ndarray) -> dict[str, Any]:
    """The mean detection curve and AUC of the rounds that have noisy contributors and others."""
    telling = noisy.any(axis=1) & ~noisy.all(axis=1)
    curves = [values.detection_curve(*pair) for pair in zip(scores[telling], noisy[telling], strict=True)]
    return {
        "found": np.mean([curve.recall for curve in curves], axis=0).tolist(),
        "auc": float(np.mean([curve.auc for curve in curves])),
    }
