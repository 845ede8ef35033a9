import dataclasses

import jax
import numpy as np
import pytest

from jaxval.types import Estimate, SeenGains
from jaxval.values import estimate_frame, estimate_table, load_estimate, save_estimate

VALUES, ERRORS = np.array([0.125, 0.5, -1.0]), np.array([0.01, 0.02, 0.5])
ENDS = np.stack([VALUES - 2 * ERRORS, VALUES + 3 * ERRORS])  # wider above than below


@pytest.fixture
def estimate():
    return Estimate(VALUES, ERRORS, 8, ENDS).with_names(["news", "books", "chat"])


def test_estimates_print_as_a_sorted_table(estimate):
    lines = [line.split() for line in estimate_table(estimate).splitlines()]
    assert lines[0] == ["player", "value", "95", "%", "interval"]
    assert [line[0] for line in lines[1:4]] == ["books", "news", "chat"]
    assert lines[1] == ["books", "0.5", "0.46", "to", "0.56"]
    assert lines[4] == ["8", "evaluations"]
    wide = Estimate(np.ones((2, 3)), np.zeros((2, 3)), 4)
    assert "value 2" in estimate_table(wide)
    long = estimate_table(Estimate(np.arange(1000.0), np.zeros(1000), 4)).splitlines()
    assert [line.split()[0] for line in (long[1], long[20], long[21], long[22], long[41])] == [
        "999",
        "980",
        "...",
        "19",
        "0",
    ]


def test_estimates_without_intervals_print_their_standard_errors():
    lines = [line.split() for line in estimate_table(Estimate(VALUES, ERRORS, 8)).splitlines()]
    assert lines[0] == ["player", "value", "standard", "error"]
    assert lines[1] == ["1", "0.5", "0.02"]


def test_tables_say_how_many_players_rest_on_few_gains():
    gains = SeenGains(np.array([[3, 20], [9, 10], [10, 30]]), np.array([[0.0, -1.0], [0.5, 1.0]]), np.asarray(False))
    both = Estimate(np.ones((3, 2)), np.zeros((3, 2)), 8, np.ones((2, 3, 2)), gains=gains)
    text = estimate_table(both)
    assert "2 of 3 players of objective 0 rest on fewer than 10 nonzero gains" in text
    assert "from 0 to 0.5, by the utilities seen" in text
    assert "objective 1 rest" not in text
    stated = dataclasses.replace(both, gains=gains._replace(stated=np.asarray(True)))
    assert "from 0 to 0.5, by the spread stated" in estimate_table(stated)


def test_estimates_pass_through_jit_with_their_names(estimate):
    doubled = jax.jit(lambda e: jax.tree.map(lambda leaf: 2 * leaf, e))(estimate)
    assert doubled.names == ("news", "books", "chat")
    assert doubled.values.tolist() == [0.25, 1.0, -2.0]


def test_estimates_are_saved_and_loaded_without_loss(estimate, tmp_path):
    gains = SeenGains(np.array([1, 2, 3]), np.array([0.0, 1.0]), np.asarray(True))
    bare = Estimate(np.float32([[np.nan, 1e-30]]), np.zeros((1, 2)), 2)
    for k, kept in enumerate([estimate, bare, dataclasses.replace(estimate, gains=gains)]):
        path = tmp_path / f"estimate {k}.dat"
        save_estimate(kept, path)
        loaded = load_estimate(path)
        assert jax.tree.structure(loaded) == jax.tree.structure(kept)
        for mine, other in zip(jax.tree.leaves(kept), jax.tree.leaves(loaded), strict=True):
            assert np.asarray(mine).dtype == other.dtype
            np.testing.assert_array_equal(mine, other)
        assert loaded.names == kept.names


def test_estimates_as_a_frame(estimate):
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = estimate_frame(estimate)
    np.testing.assert_allclose(frame.loc["books"], [0.5, 0.46, 0.54, 0.02])
    assert list(frame.columns) == ["value", "low", "high", "standard error"]
    assert frame.attrs["evaluations"] == 8
    assert list(estimate_frame(Estimate(np.ones((2, 2)), np.ones((2, 2)), 4)).columns) == [
        "value 0",
        "standard error 0",
        "value 1",
        "standard error 1",
    ]


def test_estimates_as_bars_with_error_bars(estimate, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from jaxval.plots import plot_values

    figure = plot_values(estimate, level=0.9, title="three sources")
    figure.savefig(tmp_path / "values.png")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["books", "news", "chat"]
    assert [bar.get_width() for bar in axes.patches] == [0.5, 0.125, -1.0]
    reach = 1.6448536 * np.array([0.02, 0.01, 0.5])
    ends = [segment[:, 0] for segment in axes.collections[0].get_segments()]
    np.testing.assert_allclose(ends, np.array([0.5, 0.125, -1.0])[:, None] + reach[:, None] * np.array([[-1, 1]]))
    (axes,) = plot_values(estimate).axes  # the intervals, at 95 %
    ends = [segment[:, 0] for segment in axes.collections[0].get_segments()]
    np.testing.assert_allclose(ends, ENDS.T[[1, 0, 2]])
    assert len(plot_values(Estimate(np.ones((2, 3)), np.full((2, 3), np.nan), 4)).axes) == 3


@pytest.mark.mistakes
def test_mistakes_with_estimates_are_named(estimate, tmp_path):
    with pytest.raises(ValueError, match=r"names: .*3 players; got 2"):
        estimate.with_names(["a", "b"])
    with pytest.raises(ValueError, match=r"names: .*strings; got 3"):
        estimate.with_names(["a", "b", 3])
    from jaxval.plots import plot_values

    with pytest.raises(ValueError, match=r"estimate: .*nan"):
        plot_values(Estimate(np.array([np.nan]), np.zeros(1), 2))
    with pytest.raises(ValueError, match=r"level: .*1.0"):
        plot_values(estimate, level=1.0)
    path = tmp_path / "cut.npz"
    save_estimate(estimate, path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"path: .*cut\.npz"):
        load_estimate(path)
    np.savez(tmp_path / "other.npz", values=np.ones(2))
    with pytest.raises(ValueError, match=r"path: .*names"):
        load_estimate(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError):
        load_estimate(tmp_path / "none.npz")
