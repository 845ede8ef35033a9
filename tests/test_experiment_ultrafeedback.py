"""The measures of the UltraFeedback experiment by hand; the training itself is the library's."""

import numpy as np
import pytest

from experiments import ridge, ultrafeedback
from jaxval import policies
from jaxval.data import PreferencePairs
from jaxval.types import Comparisons

PAIRS = PreferencePairs(
    prompts=("What is tea?",),
    responses=(("A drink é", "Rain"),),
    comparisons=Comparisons([0], [0], [1], [1.0]),
    source=np.zeros(1, int),
    sources=("one",),
    scores={},
    title="tea",
)


@pytest.mark.once
def test_what_the_transformer_does_not_see():
    options = ultrafeedback.parse(["--prompt-bytes", "4", "--response-bytes", "9"])
    told = ultrafeedback.truncation(PAIRS, options)
    assert told["share of prompts cut"] == 1
    assert told["share of responses cut"] == 0.5
    assert ultrafeedback.cut_texts(PAIRS, options) == (["tea?"], [["A drink ", "Rain"]])  # é has two bytes, one is left


@pytest.mark.once
def test_a_pair_is_right_where_the_chosen_gained_more():
    policy = policies.tabular(1, 2)
    reference = np.array([[0.0, 2.0]])
    three = Comparisons([0, 0, 0], [0, 1, 0], [1, 0, 1], [1.0] * 3)
    assert ridge.right(policy, np.array([[0.0, 1.0]]), reference, three).tolist() == [1, 0, 1]
    assert ridge.right(policy, reference, reference, three).tolist() == [0.5, 0.5, 0.5]


@pytest.mark.once
def test_intervals_redraw_pairs_and_seeds():
    rng = np.random.default_rng(1)
    rows = (rng.random((3, 400)) < 0.6).astype(float)
    found = ultrafeedback.summary(
        {"length only": {"right": rows[0]}} | {f"transformer, seed {k}": {"right": row} for k, row in enumerate(rows)}
    )
    one = found["length only"]
    half = 1.96 * np.sqrt(rows[0].var() / 400)
    assert abs((one["high"] - one["low"]) / 2 - half) < 0.1 * half  # the normal interval of a mean
    assert found["transformer"]["seeds"] == rows.mean(axis=1).tolist()
    assert found["transformer"]["low"] < rows.mean() < found["transformer"]["high"]


@pytest.mark.mistakes
def test_sizes_are_whole_numbers(capsys):
    with pytest.raises(SystemExit):
        ultrafeedback.parse(["--seeds", "none"])
    assert "expected a whole number of at least 1, below 2^31; got 'none'" in capsys.readouterr().err
