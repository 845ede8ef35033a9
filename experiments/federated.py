"""Values of participants in federated learning: whom to select, and who has wrong labels (Zheng et al., Figure 4).

    python -m experiments.federated [--seeds N] [--full] [--quick] [--data FOLDER] [--out FOLDER] [--json]

3,600 images of MNIST, 360 of each class, belong to 30 contributors with 120 each. Six contributors take part in each of
five rounds. Half of the contributors are noisy: each of their labels is replaced by another class with probability
0.7. A round trains the network 784-200-200-10 on the images of each contributor alone, by 50 steps of gradient descent
on all of them at rate 0.01, and averages the six networks. The utility is the accuracy on the 10,000 test images.

ADS            the Shapley value within a round at the realised state, from all 64 subsets of the round
leave-one-out  what the round loses without the contributor
random         a random number for each contributor

The training then starts again from the initial network, with only the contributors of the 3 or the 4 largest values in
each round. The detection curve tells which share of a round's noisy contributors is among those of the lowest values.

Where this departs from the paper: it draws 200 of the 720 orders of a round, and here all orders enter exactly. It
names no initial weights, and here they are those of PyTorch's linear layers. Rounds in which all six contributors are
noisy, or none, say nothing of a ranking and are left out of the detection curves; the paper leaves out only those
without a noisy one. The paper prints no number for this figure, so that its claims are tested as inequalities.

--full runs the paper's 100 seeds, --quick shows in less than a minute what happens. Written to `--out`: `results.json`
and `federated.png`. Seeds that are finished are kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.commands import documented_parser, guarded, positive, progress
from experiments.inequalities import half_width, inequality, inequality_table
from experiments.results import open_results, save_results
from jaxval import data, values
from jaxval.plots._drawing import BLACK, BLUE, GREY, NORMAL, SMALL, VERMILLION, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Federation", "State", "draw", "draw_federation", "main", "one_seed"]

CLASSES, ROUNDS, ACTIVE, IMAGES = 10, 5, 6, 120
HIDDEN, RATE, EPOCHS = 200, 0.01, 50
NOISY, FLIPPED = 0.5, 0.7
SELECTED = (3, 4)
SEEDS, PAPER_SEEDS = 20, 100
LEVEL = 0.95
METHODS = {"ADS": (BLUE, "o", "-"), "leave-one-out": (VERMILLION, "s", "--"), "random": (GREY, "^", ":")}

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
    """Deal equally many images of each class to contributors at random, contributors to rounds, and wrong labels."""
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
    """FedAvg: the mean of the local models of those who take part; the state of before if nobody does.

    Args:
        context: the local models, each leaf with a first axis (members,); the state of before; (members,) the numbers
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


def claims(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The paper's claims on Figure 4."""
    rows = []
    for k in SELECTED:
        for other in ("leave-one-out", "random"):
            pair = [np.array([run["accuracy"][f"{name}, top {k}"] for run in runs]) for name in ("ADS", other)]
            for what, at in (("mean over rounds", np.mean), ("after the last", lambda a, axis: a[:, -1])):
                numbers = [at(part, axis=1) for part in pair]
                rows.append(inequality(f"top {k}, {what}: ADS above {other}", *numbers, level=LEVEL))
    for other in ("leave-one-out", "random"):
        areas = [[run["detection"][name]["auc"] for run in runs] for name in ("ADS", other)]
        rows.append(inequality(f"AUC of noisy: ADS above {other}", *areas, level=LEVEL))
    return rows


def draw(runs: list[dict[str, Any]]) -> Figure:
    """The accuracies after selection, and the detection curves, with 95 % intervals over seeds."""
    figure = new_figure(7.0, 2.7)
    figure.set_layout_engine("constrained", w_pad=0.06)
    panels = figure.subplots(1, 3)
    steps = np.arange(1, ROUNDS + 1)
    for axes, k, letter in zip(panels, SELECTED, "ab", strict=False):
        every = np.array([run["accuracy"]["all six"] for run in runs]).mean(axis=0)
        axes.plot(steps, every, color=BLACK, linewidth=0.7, label="all six")
        for name in METHODS:
            _band(axes, steps, np.array([run["accuracy"][f"{name}, top {k}"] for run in runs]), name)
        axes.set_title(f"({letter}) top {k} of each round", fontsize=NORMAL, loc="left")
        axes.set_xlabel("round", fontsize=NORMAL)
        axes.set_xticks(steps)
    low = min(axes.get_ylim()[0] for axes in panels[:2])
    high = max(axes.get_ylim()[1] for axes in panels[:2])
    for axes in panels[:2]:
        axes.set_ylim(low, high)
    panels[0].set_ylabel("accuracy on test images", fontsize=NORMAL)
    for name in METHODS:
        _band(panels[2], np.arange(ACTIVE + 1), np.array([run["detection"][name]["found"] for run in runs]), name)
    panels[2].set_title("(c) noisy contributors found", fontsize=NORMAL, loc="left")
    panels[2].set_xlabel("contributors of a round inspected,\nlowest values first", fontsize=NORMAL)
    panels[2].set_ylabel("share of its noisy ones found", fontsize=NORMAL)
    for axes in panels:
        axes.tick_params(labelsize=SMALL)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=NORMAL, frameon=False)
    return figure


def _band(axes: Axes, at: np.ndarray, curves: np.ndarray, name: str) -> None:
    colour, marker, style = METHODS[name]
    mean, reach = curves.mean(axis=0), np.nan_to_num(half_width(curves, level=LEVEL))
    low, high = np.clip([mean - reach, mean + reach], 0, 1)
    axes.plot(at, mean, color=colour, marker=marker, markersize=3.5, linestyle=style, linewidth=1.3, label=name)
    axes.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment and return the exit status: 0, 2 for input that is wrong, 130 if interrupted."""
    parser = documented_parser("experiments.federated", __doc__)
    add = parser.add_argument
    add("--seeds", type=positive, metavar="N", help=f"draws of everything (default: {SEEDS})")
    add("--full", action="store_true", help=f"the paper's {PAPER_SEEDS} seeds")
    add("--quick", action="store_true", help="4 seeds, 1,000 test images and 20 steps of each local training")
    add("--data", type=Path, metavar="FOLDER", help="folder of data sets")
    add("--out", type=Path, default=Path("results/federated"), metavar="FOLDER", help="(default: %(default)s)")
    add("--json", action="store_true", help="print the results alone, as JSON, on standard output")
    options = parser.parse_args(arguments)
    if options.seeds is None:
        options.seeds = PAPER_SEEDS if options.full else 4 if options.quick else SEEDS
    return guarded(run, options, kept="seeds that were finished are kept", without_data="there is none")


def run(options: argparse.Namespace, notes: Console) -> None:
    """Run the seeds that are missing, print all, and draw the figure."""
    configuration = {"test images": 1_000 if options.quick else 10_000, "epochs": 20 if options.quick else EPOCHS}
    results, note = open_results(options.out, "federated", configuration)
    if note:
        notes.print(note, markup=False)
    missing = [seed for seed in range(options.seeds) if str(seed) not in results["runs"]]
    if missing:
        folder = data.data_folder("mnist", path=options.data)
        images, labels, test_images, test_labels = (
            data.read_idx(folder / f"{name}-ubyte.gz")
            for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
        )
        test = make_test(test_images[: configuration["test images"]], test_labels[: configuration["test images"]])
    with progress(notes) as bar:
        task = bar.add_task("seeds", total=len(missing))
        for seed in missing:
            results["runs"][str(seed)] = one_seed(
                images, labels.astype(int), test, seed, epochs=configuration["epochs"]
            )
            save_results(options.out, results)
            bar.advance(task)
    runs = [results["runs"][str(seed)] for seed in range(options.seeds)]
    results["claims"] = claims(runs)
    save_results(options.out, results)
    draw(runs).savefig(options.out / "federated.png", dpi=200)
    if options.json:
        print(json.dumps({"claims": results["claims"], "summary": summary(runs)}, indent=1))
    else:
        show(runs, results["claims"])
    notes.print(f"written to {options.out}: results.json, federated.png", markup=False)


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each method the mean accuracies, the AUC and the share of noisy contributors among the selected."""
    rows = []
    for name in METHODS:
        row: dict[str, Any] = {"method": name}
        for k in SELECTED:
            curves = np.array([run["accuracy"][f"{name}, top {k}"] for run in runs])
            row[f"top {k}"] = curves.mean(axis=0).tolist()
            row[f"top {k}, noisy"] = float(np.mean([run["noisy selected"][f"{name}, top {k}"] for run in runs]))
        row["auc"] = float(np.mean([run["detection"][name]["auc"] for run in runs]))
        rows.append(row)
    return rows


def show(runs: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Print the means, the claims, and how exactly each round's values sum to what the round adds."""
    console = Console(highlight=False, width=max(Console().width, 120))
    title = f"means over {len(runs)} seeds"
    heads = [f"top {k}:\n{what}" for k in SELECTED for what in ("after round 1", "after the last", "noisy selected")]
    table = Table("method", *heads, "AUC of noisy", box=box.SIMPLE_HEAD, title=title)
    for row in summary(runs):
        cells = [
            text
            for k in SELECTED
            for text in (f"{row[f'top {k}'][0]:.4f}", f"{row[f'top {k}'][-1]:.4f}", f"{row[f'top {k}, noisy']:.1%}")
        ]
        table.add_row(row["method"], *cells, f"{row['auc']:.4f}")
    console.print(table)
    every = np.mean([run["accuracy"]["all six"][-1] for run in runs])
    console.print(f"All six in every round: {every:.4f} after the last.")
    console.print(inequality_table(rows, level=LEVEL, title="the paper's claims, from differences on the same seeds"))
    gap = max(run["efficiency"] for run in runs)
    console.print(f"The values of a round sum to what the round adds, up to {gap:.0e} (Proposition 4.2).")


if __name__ == "__main__":
    sys.exit(main())
