"""The experiment on wrong labels: mistakes as stated, one small run from end to end, and its figure."""

import json

import numpy as np
import pytest

from experiments import datasets, label_noise
from jaxval import values

pytestmark = pytest.mark.once


def test_labels_are_flipped_to_other_classes(rng):
    labels = rng.integers(0, 10, 500)
    noisy, flipped = datasets.flip_labels(rng, labels, share=0.2, classes=10)
    assert flipped.sum() == 100
    assert ((noisy != labels) == flipped).all()
    assert set(noisy) <= set(range(10))
    assert len(set((noisy - labels)[flipped] % 10)) == 9


def test_components_are_uncorrelated_and_the_first_has_unit_variance(rng):
    split = datasets.Split(rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5)), None, rng.normal(size=(9, 5)), None)
    split = split._replace(train_y=np.zeros(40), test_y=np.zeros(9))
    x = datasets.principal_components(split, dimensions=3).train_x
    covariance = x.T @ x / 40
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-12)
    assert covariance[0, 0] == pytest.approx(1)


def test_a_small_run_resumes_and_draws(monkeypatch, tmp_path, rng, capsys):
    def task(name, folder, seed, *, rows):
        x = np.random.default_rng(seed).normal(size=(2 * rows, 3))
        y = (x[:, 0] > 0).astype(int)
        labels, wrong = datasets.flip_labels(np.random.default_rng(seed), y[:rows], share=0.2, classes=2)
        linear = [values.ridge_regression(classes=2, score=score) for score in ("accuracy", "squared_error")]
        return label_noise.Task(datasets.Split(x[:rows], labels, x[rows:], y[rows:]), wrong, *linear)

    monkeypatch.setattr(label_noise, "draw_task", task)
    arguments = ["--set", "mnist", "--rows", "20", "--fits", "80", "--out", str(tmp_path), "--json"]
    assert label_noise.main([*arguments, "--seeds", "1"]) == 0
    first = json.loads(capsys.readouterr().out)["mnist"]
    runs = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert list(runs) == ["mnist, 0"]
    assert {row["method"] for row in first} == {*label_noise.SAMPLED, *label_noise.FIXED}
    assert next(row for row in first if row["method"] == "KNN-Shapley")["auc"] > 0.7
    assert label_noise.main([*arguments, "--seeds", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["mnist"] == first
    assert (tmp_path / "auc.png").exists()
    assert (tmp_path / "removal.png").exists()


def test_intervals_are_those_of_student(rng):
    runs = [{"areas": [{"method": "a", "trainings": 3, "auc": auc}]} for auc in (0.7, 0.8, 0.9)]
    (row,) = label_noise.summary(runs)
    assert row["auc"] == pytest.approx(0.8)
    assert row["reach"] == pytest.approx(4.302653 * 0.1 / np.sqrt(3))


def test_adult_is_encoded(data_path):
    split = datasets.adult(data_path("adult"), np.random.default_rng(0), train=50, test=20)
    assert split.train_x.shape == (50, 49)
    assert split.test_x.shape == (20, 49)
    np.testing.assert_allclose(split.train_x[:, 5:].sum(axis=1), 6)  # one of each category
    assert set(split.test_y) == {0, 1}
