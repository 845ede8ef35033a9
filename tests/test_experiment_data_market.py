"""The data market: what holds exactly, least squares of the smallest norm, and one small run."""

import json

import numpy as np
import pytest

from experiments import data_market, datasets

pytestmark = pytest.mark.once


def market(seed):
    rng = np.random.default_rng(seed)
    y = np.tile([0, 1, 2], 5)
    x, test = rng.normal(size=(15, 4)) + y[:, None], rng.normal(size=(9, 4)) + y[:9, None]
    return datasets.Split(x, y, test, y[:9]), (test + 0.1, y[:9]), rng.spawn(3)


def test_the_minimiser_is_that_of_the_smallest_norm():
    """By NumPy's least squares, which returns it; a copy of a source weighs its rows twice."""
    split, _, _ = market(0)
    split, owners = split._replace(train_x=split.train_x[:3], train_y=split.train_y[:3]), np.array([0, 0, 1])
    utility = data_market.erm_utility(split, owners)
    for mask in ([1, 0, 0, 0], [1, 0, 1, 0], [1, 1, 0, 1], [0, 0, 0, 0]):
        times = np.array(mask[:2]) + mask[2:]
        rows = np.repeat(np.arange(3), times[owners])
        params = np.linalg.lstsq(split.train_x[rows], np.eye(3)[split.train_y[rows]], rcond=1e-5)[0]
        outputs = split.test_x @ params
        wins = np.isclose(outputs, outputs.max(axis=1, keepdims=True))
        expected = np.mean(wins[np.arange(9), split.test_y] / wins.sum(axis=1))
        assert float(utility(np.array(mask, dtype=bool))) == pytest.approx(expected, abs=1e-6)


def test_what_the_paper_proves_holds_and_a_run_goes_on(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(data_market, "draw_market", lambda folder, seed, images: market(seed))
    monkeypatch.setattr(data_market, "deform", lambda rng, x: x + 0.3 * rng.normal(size=x.shape))
    monkeypatch.setattr(data_market, "OWNERS", 2)
    monkeypatch.setattr(data_market, "EACH", 1)  # fewer rows than features: there are many minimisers
    arguments = ["--seeds", "2", "--out", str(tmp_path), "--json"]
    assert data_market.main(arguments) == 0
    shown = json.loads(capsys.readouterr().out)
    assert max(shown["equations"].values()) < 1e-9
    results = json.loads((tmp_path / "results.json").read_text())
    runs = results["runs"]
    assert list(runs) == [f"{seed}, {part}" for seed in range(2) for part in data_market.PARTS]
    shares = [row["broker's share"] for row in runs["0, replication"]]
    np.testing.assert_allclose(shares, [0, 1 / 2, 2 / 3], atol=1e-9)
    changing = [runs[f"{seed}, minimisers"]["by number"] for seed in range(2)]
    # Without a fixed choice, half of v(D) - v(∅) is not what the originals get.
    assert max(abs(one["DS"][0] - one["added"] / 2) for one in changing) > 0.01
    assert (tmp_path / "market.png").exists()
    del runs["1, augmentation"], results["sha256"]
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert data_market.main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == shown
