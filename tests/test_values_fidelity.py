"""The linear datamodelling score, by hand and against SciPy's rank correlation."""

import itertools

import numpy as np
import pytest
from scipy import stats

from jaxval import values

SINGLES, PAIRS = (
    np.array([[i in chosen for i in range(4)] for chosen in itertools.combinations(range(4), size)]) for size in (1, 2)
)


def test_a_score_by_hand():
    """Singles: sums 1, 2, 3, 4 against utilities 2, 1, 3, 4: 1 - 6 (1 + 1) / (4 * 15) = .8.

    Pairs 01, 02, 03, 12, 13, 23: sums 3, 4, 5, 5, 6, 7 (ranks 1, 2, 3.5, 3.5, 5, 6) against ranks 6, ..., 1.
    """
    worth = [2.0, 1.0, 3.0, 4.0, *range(16, 10, -1)]
    found = values.datamodelling_score([1.0, 2.0, 3.0, 4.0], np.concatenate([SINGLES, PAIRS]), worth)
    assert found.by_size[1] == pytest.approx(0.8)
    # Pearson's correlation of the ranks: covariance -17 / sqrt(17 * 17.5)
    assert found.by_size[2] == pytest.approx(-17 / np.sqrt(17 * 17.5))
    assert found.score == pytest.approx((0.8 - np.sqrt(17 / 17.5)) / 2)


def test_scores_are_spearmans(rng):
    masks = np.stack([rng.permutation(10) < 5 for _ in range(30)])
    scores = rng.normal(size=10)
    worth = masks @ scores + rng.normal(size=30)
    found = values.datamodelling_score(scores, masks, worth)
    assert found.score == pytest.approx(stats.spearmanr(masks @ scores, worth).statistic)
    assert found.interval[0] < found.score < found.interval[1]


def test_intervals_hold_the_score_of_all_coalitions(rng):
    """Of 40 draws of 40 of the 252 coalitions of half of ten players, the 95 % interval holds in at least 34."""
    masks = np.array([[i in chosen for i in range(10)] for chosen in itertools.combinations(range(10), 5)])
    scores = rng.normal(size=10)
    worth = masks @ scores + 1.5 * rng.normal(size=len(masks))
    truth = stats.spearmanr(masks @ scores, worth).statistic
    held = 0
    for _ in range(40):
        rows = rng.integers(len(masks), size=40)
        low, high = values.datamodelling_score(scores, masks[rows], worth[rows]).interval
        held += low <= truth <= high
    assert held >= 34


def test_equal_sums_are_tied_and_say_nothing():
    found = values.datamodelling_score([0.1, 0.2, 0.3, 0.0], np.concatenate([SINGLES, PAIRS]), np.arange(10.0))
    # 0.1 + 0.2 and 0.3 + 0.0 are equal but for rounding
    assert found.by_size[2] == pytest.approx(stats.spearmanr([3, 4, 1, 5, 2, 3], np.arange(6)).statistic)
    constant = np.concatenate([np.ones(4), np.arange(6.0)])
    found = values.datamodelling_score([0.1, 0.2, 0.3, 0.0], np.concatenate([SINGLES, PAIRS]), constant)
    assert np.isnan(found.by_size[1])
    assert found.score == found.by_size[2]


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1.0, 2.0, 3.0], SINGLES, [1.0] * 4), r"coalitions: .*\(4, 3\).*\(4, 4\)"),
        (([1.0] * 4, SINGLES.astype(int), [1.0] * 4), r"coalitions: .*int"),
        (([1.0] * 4, SINGLES[:2], [1.0] * 2), r"coalitions: .*at least 3.*2 of size 1"),
        (([1.0] * 4, SINGLES, range(4)), r"values: .*equal ones throughout"),
        (([1.0, 2.0, 3.0, np.nan], SINGLES, [1.0] * 4), r"values: .*finite"),
    ],
    ids=itertools.count(),
)
def test_mistakes_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        values.datamodelling_score(*arguments)
