"""Figures: what is drawn is what was given, nothing overlaps or is cut, and mistakes are named."""

import sys
from itertools import chain, pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from jaxval.plots import plot_lotteries, plot_removal, plot_signature, plot_tradeoff, plot_values
from jaxval.types import Estimate
from jaxval.values import RemovalCurves

pytestmark = pytest.mark.once
LONG = (
    "openai/gpt-4-1106-preview-with-a-long-name",
    "Star Wars: Episode V - The Empire Strikes Back (1980)",
    "a $x^2 name",
)


def election(alternatives):
    names = [f"{LONG[i % 3]} {i}" for i in range(alternatives)]
    shares = np.random.default_rng(alternatives).dirichlet(np.ones(alternatives))
    first = np.eye(alternatives)[0]
    rules = {"proportional": shares, "borda": first, "lottery": first, "minimax": first, "proportional-borda": shares}
    return names, shares, {**rules, "c1-lottery": first, "dictatorship": shares}


def texts(figure):
    """The boxes of the names in the rows, of the numbers of each column, and of everything else that is written."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    rows = [label.get_window_extent(renderer) for label in figure.axes[0].get_yticklabels()]
    numbers = [[text.get_window_extent(renderer) for text in axes.texts] for axes in figure.axes]
    heads = [axes.title.get_window_extent(renderer) for axes in figure.axes]
    return rows, numbers, heads


@pytest.mark.parametrize("alternatives", [4, 20, 59])
def test_nothing_overlaps_or_is_cut(alternatives):
    names, shares, lotteries = election(alternatives)
    figure = plot_lotteries(
        names, lotteries, bounds=shares, intervals={"u": (shares / 2, shares * 1.1)}, title="T" * 300
    )
    rows, numbers, heads = texts(figure)
    assert 3.3 <= figure.get_figwidth() <= 7
    assert figure.get_figheight() <= 11
    width, height = figure.bbox.width, figure.bbox.height
    for box in chain(rows, heads, *numbers):
        assert 0 <= box.x0 <= box.x1 <= width
        assert 0 <= box.y0 <= box.y1 <= height
    assert all(low.y1 <= high.y0 for low, high in pairwise(sorted(rows, key=lambda box: box.y0)))
    assert all(left.x1 <= right.x0 for left, right in pairwise(heads))
    for axes, column in zip(figure.axes, numbers, strict=True):
        assert all(box.x1 <= axes.bbox.x1 for box in column)


def test_bars_and_numbers_are_the_probabilities_sorted_by_the_first_column():
    lotteries = {"first": [0.2, 0.0, 0.7996, 0.0004], "second": [0.0, 1.0, 0.0, 0.0]}
    figure = plot_lotteries(["a", "b", "c", "d"], lotteries)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["c", "a", "d", "b"]
    assert [bar.get_width() for bar in figure.axes[0].patches if bar.get_height() < 0.9] == [0.7996, 0.2, 0.0004, 0.0]
    assert [text.get_text() for text in figure.axes[0].texts] == [".800", ".200", "<.001"]
    assert [text.get_text() for text in figure.axes[1].texts] == ["1"]


def test_intervals_reach_from_low_to_high():
    figure = plot_lotteries(["a", "b"], {"F": [0.3, 0.7]}, intervals={"F": ([0.1, 0.6], [0.4, 0.9])})
    segments = np.sort([segment[:, 0] for segment in figure.axes[0].collections[-1].get_segments()], axis=0)
    np.testing.assert_allclose(segments, [[0.1, 0.4], [0.6, 0.9]])


def test_long_names_keep_their_ends_and_formulas_stay_text():
    names, shares, _ = election(3)
    figure = plot_lotteries(names, {"F": shares})
    shown = {label.get_text() for label in figure.axes[0].get_yticklabels()}
    assert all(len(name) <= 36 for name in shown)
    assert {"a $x^2 name 2"} < shown
    assert any(name.startswith("Star Wars") and name.endswith("(1980) 1") for name in shown)


def test_written_as_png_without_pyplot(tmp_path):
    figure = plot_lotteries(["tea", "coffee"], {"F": [0.4, 0.6]})
    figure.savefig(tmp_path / "figure.png", dpi=100)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


SIGNATURE = ["web", "books", "a copy of web"], np.array([[0.1, -0.1], [3e-5, 0.2], [0.1, -0.1]])


def key_of(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_a_signature_says_what_its_bars_and_its_diagonal_are():
    names, values = SIGNATURE
    ends = values - 0.01, values + 0.02
    bars = "95 % interval over prompts"
    rewards = ["helpful", "harmless"]
    figure = plot_signature(names, values, rewards, intervals=ends, bars=bars, title="T" * 80)
    assert key_of(figure) == [f"value, {bars}", "same value under both"]
    drawn = [lines.get_segments()[0] for lines in figure.axes[0].collections]  # across and upwards, source by source
    np.testing.assert_allclose(
        np.sort([line[:, 0] for line in drawn[::2]], axis=0), np.sort(np.stack(ends)[:, :, 0].T, axis=0)
    )
    np.testing.assert_allclose(
        np.sort([line[:, 1] for line in drawn[1::2]], axis=0), np.sort(np.stack(ends)[:, :, 1].T, axis=0)
    )
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    box, axes = figure.legends[0].get_window_extent(renderer), figure.axes[0]
    assert 0 <= box.x0 <= box.x1 <= figure.bbox.width
    assert box.y1 <= axes.xaxis.label.get_window_extent(renderer).y0  # below everything else
    assert {text.get_text() for text in axes.texts} == {"web\na copy of web", "books"}
    assert key_of(plot_signature(names, values, rewards, intervals=(values * np.nan,) * 2)) == ["same value under both"]
    line = plot_signature(names, values[:, 0], rewards[:1], intervals=(ends[0][:, 0], ends[1][:, 0]), bars=bars)
    assert key_of(line) == [f"value, {bars}"]
    assert key_of(plot_signature(names, values[:, 0], rewards[:1])) == []


def test_the_power_of_ten_of_an_axis_is_no_larger_than_its_numbers():
    figure = plot_signature(["a", "b"], [1e-6, 2e-6], ["score"])
    sizes = [figure.axes[0].xaxis.get_offset_text().get_fontsize()]
    sizes += [label.get_fontsize() for label in figure.axes[0].get_xticklabels()]
    assert len(set(sizes)) == 1


@pytest.mark.mistakes
def test_mistakes_in_a_signature_are_named():
    names, values = SIGNATURE
    with pytest.raises(ValueError, match=r"values: expected \(sources, rewards\) for 3 sources.*\(3, 2\) and 1"):
        plot_signature(names, values, ["helpful"])
    with pytest.raises(ValueError, match="values: expected finite numbers; got nan"):
        plot_signature(names, values * np.nan, ["helpful", "harmless"])


@pytest.fixture
def results():
    rise, fall, gains = np.array([0.5, 0.6, 0.8]), np.array([0.4, 0.3, 0.0]), np.array([0.001, 0.01, 0.0])
    spread = [0.01, 0.02, 0.0]

    def baseline(rate, gain):
        return {
            "win_rate": {"mean": rate, "std": None},
            "ppa_level": {"mean": 0.0, "std": None},
            "gain": {"common": {"mean": gain, "std": None}, "bury": {"mean": 0.0, "std": None}},
        }

    proportional = {
        "win_rate": {"mean": rise.tolist(), "std": spread},
        "ppa_level": {"mean": fall.tolist(), "std": spread},
        "gain": {"common": {"mean": gains.tolist(), "std": spread}, "bury": {"mean": [0.0] * 3, "std": [None] * 3}},
    }
    baselines = {"RLHF": baseline(0.8, 0.06), "NLHF": baseline(0.7, 0.0)}
    return {"betas": [0.0, 1.0, 100.0], "proportional": proportional, **baselines}


def ends_at(corners, points):
    """The lowest and the highest corner of a band at each point, (2, points)."""
    at = [corners[corners[:, 0] == point, 1] for point in points]
    return np.array([[ends.min() for ends in at], [ends.max() for ends in at]])


def test_tradeoff_draws_the_measures(results, tmp_path):
    figure = plot_tradeoff(results, title="movies")
    rates, gains, levels = figure.axes
    np.testing.assert_array_equal(rates.lines[0].get_xdata(), results["betas"])
    np.testing.assert_array_equal(rates.lines[0].get_ydata(), [0.5, 0.6, 0.8])
    assert [line.get_ydata()[0] for line in rates.lines[1:]] == [0.8, 0.7]
    np.testing.assert_array_equal(levels.lines[0].get_ydata(), [0.4, 0.3, 0.0])
    np.testing.assert_allclose(gains.lines[0].get_ydata(), [0.001, 0.01, 0.001])  # zero lies on the lowest line
    assert gains.get_yscale() == "log"
    assert gains.get_yticklabels()[0].get_text() == r"$\leq 10^{-3}$"
    labels = [text.get_text() for text in gains.get_legend().get_texts()]
    assert {"RLHF", "NLHF", "common", "bury"} < set(labels)
    for axes, mean in ((rates, [0.5, 0.6, 0.8]), (levels, [0.4, 0.3, 0.0])):  # bands of one standard deviation
        (band,) = axes.collections
        ends = np.array([mean, mean]) + np.array([[-1], [1]]) * [0.01, 0.02, 0.0]
        np.testing.assert_allclose(ends_at(band.get_paths()[0].vertices, results["betas"]), ends)
    common, bury = gains.collections  # bars at the powers of ten, from the lowest line on
    np.testing.assert_allclose([bar[:, 1] for bar in common.get_segments()], [[0.001, 0.03], [0.001, 0.001]])
    np.testing.assert_allclose([bar[:, 1] for bar in bury.get_segments()], [[0.001, 0.001]] * 2)
    figure.savefig(tmp_path / "figure.png")
    rows, _, _ = texts(figure)
    assert all(box.x0 >= 0 for box in rows)


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a", "b"], {"F": [1.0]}), r"expected 2 finite numbers for 'F'; got shape \(1,\)"),
        ((["a", "b"], {"F": [np.nan, 1.0]}), "expected 2 finite numbers for 'F'"),
        (([], {"F": []}), "at least one rule and one name"),
        ((["a"], {}), "at least one rule and one name"),
    ],
)
def test_mistakes_in_lotteries_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        plot_lotteries(*arguments)


@pytest.mark.mistakes
def test_an_interval_of_no_column_is_named():
    with pytest.raises(ValueError, match="intervals: expected names among F; got G"):
        plot_lotteries(["a"], {"F": [1.0]}, intervals={"G": ([0.0], [1.0])})


@pytest.mark.mistakes
def test_a_missing_measure_is_named(results):
    del results["NLHF"]["ppa_level"]
    with pytest.raises(ValueError, match="none named 'ppa_level'"):
        plot_tradeoff(results)


@pytest.mark.mistakes
def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'jaxval\[plots\]'"):
        plot_lotteries(["a"], {"F": [1.0]})


def test_a_few_of_many_values_are_shown_at_either_end(tmp_path):
    estimate = Estimate(np.arange(300) / 300 - 0.5, np.full(300, 0.01), 4)
    figure = plot_values(estimate, top=2)
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["299", "298", "… 296 more …", "1", "0"]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], estimate.values[[299, 298, 1, 0]])
    assert [round(bar.get_y() + bar.get_height() / 2) for bar in axes.patches] == [0, 1, 3, 4]
    bars = axes.collections[0].get_segments()
    np.testing.assert_allclose(np.diff([line[:, 0] for line in bars])[:, 0], 2 * 1.96 * 0.01, rtol=1e-3)
    assert figure.get_figheight() < 3
    assert len(plot_values(Estimate(np.arange(4.0), np.zeros(4), 4), top=2).axes[0].patches) == 4


def test_curves_of_removal_are_drawn_with_their_band(tmp_path):
    counts = np.array([0, 5, 10])
    random = 0.8 + 0.01 * np.arange(21)[:, None] * np.array([0, 1, 2])[None, :]
    curves = RemovalCurves(counts, np.array([0.8, 0.9, 0.95]), np.array([0.8, 0.6, 0.5]), random)
    figure = plot_removal({"Shapley": curves, "Banzhaf": curves}, players=20, measure="accuracy", level=0.8)
    figure.savefig(tmp_path / "removal.png")
    left, right = figure.axes
    mean, lowest, highest = left.get_lines()
    np.testing.assert_allclose(lowest.get_xdata(), [0, 0.25, 0.5])
    np.testing.assert_allclose(lowest.get_ydata(), curves.lowest)
    np.testing.assert_allclose(highest.get_ydata(), curves.highest)
    np.testing.assert_allclose(mean.get_ydata(), random.mean(axis=0))
    band = left.collections[0].get_paths()[0].vertices
    np.testing.assert_allclose([band[:, 1].min(), band[:, 1].max()], [0.8, np.quantile(random[:, 2], 0.9)])
    assert (left.get_title(), right.get_title(), right.get_xlabel()) == (
        "Shapley",
        "Banzhaf",
        "share of players removed",
    )


@pytest.mark.mistakes
def test_mistakes_in_values_and_curves_are_named():
    two = RemovalCurves(np.arange(2), np.ones((2, 2)), np.ones((2, 2)), np.ones((3, 2, 2)))
    with pytest.raises(ValueError, match="curves: expected removal curves of one objective"):
        plot_removal(two)
    with pytest.raises(ValueError, match="top: expected a whole number of at least 1"):
        plot_values(Estimate(np.ones(3), np.ones(3), 4), top=0)
