"""The experiment on federated learning: averages and values of a round against plain NumPy, and a small run."""

import itertools
import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.federated import __main__ as command
from experiments.federated import rounds as federated
from experiments.federated.rounds import Federation, State

pytestmark = pytest.mark.once

WIDTHS = (5, 4, 3, 2)
EPOCHS = 2


def logits(network, x):
    (a, b), (c, d), (e, f) = ((np.asarray(w, float), np.asarray(v, float)) for w, v in network)
    return np.maximum(np.maximum(x @ a + b, 0) @ c + d, 0) @ e + f


def trained(network, x, y):
    """The steps of gradient descent of one contributor, with the derivatives written out."""
    network = [(np.asarray(w, float), np.asarray(v, float)) for w, v in network]
    for _ in range(EPOCHS):
        inputs = [x]
        for w, v in network[:-1]:
            inputs.append(np.maximum(inputs[-1] @ w + v, 0))
        scores = inputs[-1] @ network[-1][0] + network[-1][1]
        chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        slope = (chances - np.eye(chances.shape[1])[y]) / len(y)
        for layer in (2, 1, 0):
            w, v = network[layer]
            network[layer] = (w - 0.01 * inputs[layer].T @ slope, v - 0.01 * slope.sum(axis=0))
            slope = (slope @ w.T) * (inputs[layer] > 0)
    return network


def mean_of(networks):
    return [
        tuple(np.mean(parts, axis=0) for parts in zip(*layers, strict=True)) for layers in zip(*networks, strict=True)
    ]


@pytest.fixture(scope="module")
def small():
    """Six contributors with four images of five pixels, three in each of two rounds, and thirty test images."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 4, 5)).astype(np.float32), rng.integers(0, 2, (6, 4))
    rounds = np.array([[0, 2, 5], [1, 3, 4]])
    federation = Federation(jnp.asarray(10 * x), jnp.asarray(y), np.array([True, False] * 3), rounds)
    network = federated.initial_network(rng, WIDTHS)
    images, labels = rng.integers(0, 256, (30, 5, 1)), rng.integers(0, 2, 30)
    return federation, network, federated.make_test(images, labels), (images.reshape(30, 5) / 255, labels)


def test_values_of_rounds_against_the_definition(small):
    """Every subset averaged and scored by itself, and (6) by enumeration, along the realised averages."""
    federation, network, test, (images, labels) = small
    found = federated.value_rounds(federation, network, test, EPOCHS)
    state = network
    for t, members in enumerate(federation.rounds):
        local = {z: trained(state, np.asarray(federation.images[z], float), federation.labels[z]) for z in members}
        v = {
            S: np.mean(np.argmax(logits(mean_of([local[z] for z in S]) if S else state, images), axis=1) == labels)
            for size in range(4)
            for S in itertools.combinations(members, size)
        }
        expected = np.zeros(6)
        for z in members:
            others = [other for other in members if other != z]
            for size in range(3):
                for S in itertools.combinations(others, size):
                    expected[z] += (v[tuple(sorted((*S, z)))] - v[S]) / (3 * math.comb(2, size))
        np.testing.assert_allclose(found.values[t], expected, atol=1e-6)
        assert float(found.utilities[t]) == pytest.approx(v[tuple(members)], abs=1e-6)
        state = mean_of([local[z] for z in members])
    for (w, b), (expected_w, expected_b) in zip(found.state.network, state, strict=True):
        np.testing.assert_allclose(w, expected_w, atol=1e-5)
        np.testing.assert_allclose(b, expected_b, atol=1e-5)
    np.testing.assert_allclose(found.state.responses, images @ state[0][0] + state[0][1], atol=1e-5)


def test_training_again_with_everybody_is_the_training_that_was_valued(small):
    federation, network, test, _ = small
    found = federated.value_rounds(federation, network, test, EPOCHS)
    best = [federation.rounds, federation.rounds[:, 1:]]
    again = federated.retrain(federation, network, best, test, EPOCHS)
    np.testing.assert_allclose(again[0], found.utilities, atol=1e-6)


def test_without_anybody_the_state_stays():
    before, local = State(jnp.array([1.0]), jnp.array([2.0])), State(jnp.array([[3.0], [5.0]]), jnp.zeros((2, 1)))
    context = local, before, jnp.array([0, 2])
    assert federated.average(context, jnp.array([False, False, False])) == before
    assert federated.average(context, jnp.array([True, False, True])).network.tolist() == [4.0]


def test_contributors_are_as_stated(rng):
    labels = np.repeat(np.arange(10), 400)
    federation = federated.draw_federation(np.tile(labels[:, None, None], (1, 2, 2)), labels, rng)
    assert federation.images.shape == (30, 120, 4)
    assert sorted(federation.rounds.ravel()) == list(range(30))
    truth = np.rint(np.asarray(federation.images[:, :, 0]) * 255).astype(int)
    assert np.bincount(truth.ravel()).tolist() == [360] * 10
    flipped = truth != np.asarray(federation.labels)
    assert federation.noisy.sum() == 15
    assert not flipped[~federation.noisy].any()
    assert 0.65 < flipped[federation.noisy].mean() < 0.75


def test_the_largest_scores_are_selected_and_noisy_contributors_counted():
    rounds = np.array([[3, 5, 7, 9]])
    assert federated._largest(np.array([[0.1, 0.4, 0.4, 0.0]]), rounds, 2).tolist() == [[5, 7]]
    scores = np.array([[0.3, 0.1, 0.2, 0.4], [1.0, 2.0, 3.0, 4.0]])
    noisy = np.array([[False, True, False, True], [True] * 4])  # the second round says nothing
    assert federated._detection(scores, noisy) == {"found": [0.0, 0.5, 0.5, 0.5, 1.0], "auc": 0.5}


def test_a_small_run_resumes_and_draws(monkeypatch, tmp_path, capsys):
    def files(path):
        count = 5000 if path.name.startswith("train") else 1000
        labels = np.arange(count) % 10
        rng = np.random.default_rng(0)
        return labels if "labels" in path.name else labels[:, None, None] * 20 + rng.integers(0, 9, (count, 2, 2))

    monkeypatch.setattr(command.data, "read_idx", files)
    monkeypatch.setattr(command.data, "data_folder", lambda name, path: path)
    monkeypatch.setattr(federated, "HIDDEN", 8)
    arguments = ["--quick", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert command.main([*arguments, "--seeds", "2", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {row["method"] for row in printed["summary"]} == set(federated.METHODS)
    assert len(printed["claims"]) == 10
    runs = json.loads((tmp_path / "out" / "results.json").read_text())["runs"]
    assert list(runs) == ["0", "1"]
    assert max(run["efficiency"] for run in runs.values()) < 1e-15
    assert (tmp_path / "out" / "federated.png").stat().st_size > 10_000
    monkeypatch.setattr(command, "one_seed", None)  # nothing is computed again
    assert command.main([*arguments, "--seeds", "2"]) == 0
    assert "seeds against" in capsys.readouterr().out
