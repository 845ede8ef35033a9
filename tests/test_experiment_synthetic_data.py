"""The experiment on synthetic rows: values and curves against plain NumPy, and one small run that goes on."""

import json
from itertools import permutations

import jax
import numpy as np
import pytest

from experiments import datasets
from experiments.synthetic_data import __main__ as command
from experiments.synthetic_data import figures, measures, tasks

pytestmark = pytest.mark.once

ORIGINALS, SYNTHETIC, NEIGHBOURS = 3, 4, 2


@pytest.fixture(autouse=True)
def few_shares(monkeypatch):
    for module in (measures, figures):
        monkeypatch.setattr(module, "SHARES", np.array([0, 0.25]))  # none or one of the synthetic rows


def small_task(seed, *, linear=False):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(ORIGINALS + 12, 2)), np.array([0, 1, 0, *[0] * 6, *[1] * 6])
    x[:, 0] += y
    split = datasets.Split(x[:ORIGINALS], y[:ORIGINALS], x[ORIGINALS:], y[ORIGINALS:])
    more = np.array([0, 1, 1, 0])
    return tasks.make_task(
        rng, split, rng.normal(size=(SYNTHETIC, 2)) + more[:, None], more, neighbours=NEIGHBOURS, linear=linear
    )


def accuracy_by_definition(task, rows, test):
    """The share of test rows whose class has the most votes of the K nearest of some rows; a tie of two counts 1/2."""
    rows, right = np.sort(np.asarray(rows, dtype=int)), []
    if not len(rows):
        return 0.0
    for x, y in zip(*test, strict=True):
        order = np.argsort(((task.split.train_x[rows] - x) ** 2).sum(axis=1), kind="stable")[:NEIGHBOURS]
        votes = np.bincount(task.split.train_y[rows[order]], minlength=2)
        right.append((votes[y] == votes.max()) / (votes == votes.max()).sum())
    return float(np.mean(right))


def test_curves_by_definition():
    task = small_task(0)
    found = np.random.default_rng(1).normal(size=7)
    synthetic, originals = np.flatnonzero(task.synthetic), np.flatnonzero(~task.synthetic)
    order = synthetic[np.argsort(found[synthetic])]
    run = measures.curves(task, "LOO", jax.random.key(0), found)
    left = [accuracy_by_definition(task, [*originals, *order[count:]], task.test) for count in (0, 1)]
    added = [accuracy_by_definition(task, [*originals, *order[SYNTHETIC - k :]], task.fresh) for k in (0, 1)]
    np.testing.assert_allclose(np.array(run["removing"]["lowest"])[[0, -1], 0], left, atol=1e-6)
    np.testing.assert_allclose(np.array(run["adding"]["highest"])[[0, -1], 1], added, atol=1e-6)


def test_an_area_is_the_mean_gap_of_relative_accuracies():
    flat, falling = [[0.5, 0.5], [0.5, 0.5]], [[0.5, 0.5], [0.4, 0.4]]
    chance = {verb: {"lowest": flat, "highest": flat} for verb in ("removing", "adding")}
    mine = {verb: {"lowest": falling, "highest": falling} for verb in ("removing", "adding")}
    found = measures.areas({"s, 0, m": mine, "s, 0, random": chance}, "s", "m", [0])
    # The accuracy falls from 1 to 0.8 of itself, 0.1 below chance on average: bad in (a) and (d), good in (b) and (c).
    np.testing.assert_allclose(found, [[-0.1, 0.1, 0.1, -0.1]], atol=1e-12)


@pytest.mark.parametrize("method", ["MC-ADS", "MC-DS"])
def test_sampled_values_are_means_over_the_orders_that_keep_the_groups(method):
    task = small_task(1)
    asymmetric = method == "MC-ADS"
    total, orders, known = np.zeros(7), 0, {}

    def worth(rows):
        rows = tuple(sorted(rows))
        if rows not in known:
            known[rows] = accuracy_by_definition(task, rows, task.test)
        return known[rows]

    for order in permutations(range(7)):
        if asymmetric and task.synthetic[list(order)].argmax() < ORIGINALS:
            continue
        orders += 1
        for k, player in enumerate(order):
            total[player] += worth(order[: k + 1]) - worth(order[:k])
    found = measures.estimate(task, method, jax.random.key(0), permutations=2_000)
    np.testing.assert_allclose(found, total / orders, atol=0.03)
    if asymmetric:  # group efficiency
        originals = np.flatnonzero(~task.synthetic)
        np.testing.assert_allclose(found[originals].sum(), worth(originals), atol=1e-5)
    else:
        one = measures.estimate(task, "LOO", jax.random.key(0), permutations=2)
        by_hand = [worth(range(7)) - worth(set(range(7)) - {i}) for i in range(7)]
        np.testing.assert_allclose(one, by_hand, atol=1e-6)


def test_images_are_turned_shifted_and_scaled(monkeypatch):
    image = np.zeros((16, 16))
    image[5:9, 6:12] = 1.0
    rng = np.random.default_rng(0)
    moved = tasks.deform(rng, np.stack([image.ravel()] * 3))
    assert len(np.unique(moved.round(6), axis=0)) == 3
    assert 0.7 < moved.sum(axis=1).mean() / image.sum() < 1.3
    for name, unchanged in (("ROTATION", 0.0), ("SHIFT", 0.0), ("SCALE", (1.0, 1.0))):
        monkeypatch.setattr(tasks, name, unchanged)
    np.testing.assert_allclose(tasks.deform(rng, image.reshape(1, -1))[0], image.ravel(), atol=1e-12)
    monkeypatch.setattr(tasks, "SCALE", (0.5, 0.5))
    assert tasks.deform(rng, image.reshape(1, -1)).sum() == pytest.approx(image.sum() / 4, rel=0.01)


def test_oversampling_evens_the_classes_out():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(30, 2)), rng.normal(size=(10, 2)) + 1])
    more_x, more_y = tasks.oversample(rng, x, np.repeat([0, 1], [30, 10]))
    assert more_x.shape == (20, 2)
    assert set(more_y) == {1}


def test_a_run_goes_on_where_it_was_stopped(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "draw_task", lambda name, folder, seed: small_task(seed, linear=name == "omniglot"))
    arguments = ["--set", "omniglot", "--permutations", "4", "--seeds", "1", "--json"]

    def outcome(folder):
        return json.loads(capsys.readouterr().out), json.loads((folder / "results.json").read_text())

    assert command.main([*arguments, "--out", str(tmp_path / "whole")]) == 0
    first, whole = outcome(tmp_path / "whole")
    assert {row["method"] for row in first["areas"]["omniglot"]} == set(measures.METHODS) - {"random"}
    one_run, calls = command.one_run, []

    def stopped(*args, **rest):
        calls.append(args)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return one_run(*args, **rest)

    monkeypatch.setattr(command, "one_run", stopped)
    parts = [*arguments, "--out", str(tmp_path / "parts")]
    assert command.main(parts) == 130
    assert command.main(parts) == 0
    again, resumed = outcome(tmp_path / "parts")
    assert again == first
    assert len(calls) == 1 + len(whole["runs"])
    for runs in (whole["runs"], resumed["runs"]):
        for run in runs.values():
            del run["seconds"]
    assert resumed["runs"] == whole["runs"]
    written = {path.name for path in (tmp_path / "parts").iterdir()}
    assert written == {".lock", "areas.png", "curves.png", "results.json"}


def test_sets_are_those_of_the_paper(data_path):
    task = tasks.draw_task("omniglot", data_path("omniglot").parent, 0)
    assert task.split.train_x.shape == (200, 200)
    assert np.bincount(task.split.train_y[task.synthetic]).tolist() == [5] * 20
    assert len(task.test[1]) == len(task.fresh[1]) == 100
