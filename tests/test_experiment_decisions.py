"""Real pairs of the experiment on decisions: their sources and rewards; its tables."""

import numpy as np
import pytest

from experiments import decisions

pytestmark = pytest.mark.once


@pytest.mark.parametrize("kind", decisions.SETS)
def test_sources_and_rewards_of_real_pairs(data_path, kind):
    """Four sources of at most 30 pairs; a response that always won has the reward 1, one that always lost 0."""
    pairs = decisions.read_pairs(data_path("preferences"), kind, 30)
    assert len(pairs.sources) == 4
    counts = np.bincount(np.asarray(pairs.source))
    assert (counts == 30).all()
    context, winner, loser, _ = (np.asarray(field) for field in pairs.comparisons)
    assert set(context.tolist()) == set(range(len(pairs.prompts)))
    (reward,) = pairs.scores.values()
    assert np.isfinite(reward[context, winner]).all()
    if kind != "ultrafeedback":
        assert (reward[context, winner] >= reward[context, loser]).all()
        assert reward[context, winner].mean() > 0.9


def test_tables_tell_every_run():
    drops = {
        "values": {"1": {"loss": [0.1, 0.0, 0.2], "promised": [0.3, 0.1, 0.5]}},
        "random": {"1": {"loss": [0.05, 0.0, 0.1], "promised": None}},
    }
    one = {
        "scores": {"values": [0.5, 0.1, 0.9], "pairs": None},
        "drops": drops,
        "weights": {"weights": [1.0, 0.0], "by fold": [], "gains": {"equal": [0.1, -0.1, 0.3]}},
        "seconds": {"training": 1.0, "arithmetic": 0.5, "retraining": 3.0},
    }
    found = decisions.tables({"hh, log-linear, response": one, "hh, transformer, token": one | {"weights": None}})
    assert [table.row_count for table in found] == [2, 2, 1]
