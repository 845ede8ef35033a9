"""The experiment on deliberations: a conversation whose answers are known, and the command on a small one."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.deliberation import measures
from experiments.deliberation.__main__ import main
from experiments.deliberation.polls import consensus as group_informed
from experiments.deliberation.polls import conversation
from jaxval import social_choice
from jaxval.types import UNSEEN

pytestmark = pytest.mark.once

NAME = "15-per-hour-seattle"
STATEMENTS = ("wages", "prices", "both", "nobody", "unseen")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """48 voters of group 0 want wages, 16 of group 1 prices, nearly all both; one saw the fifth statement."""
    root = tmp_path_factory.mktemp("data")
    home = root / "votes" / "polis" / NAME
    home.mkdir(parents=True)
    lines = ["participant,group-id,n-votes,0,1,2,3,4"]
    for i in range(64):
        group = int(i >= 48)
        mine, other = (1, -1) if i % 8 else (0, 0)
        votes = (mine, other) if group == 0 else (other, mine)
        lines.append(f"{i},{group},4,{votes[0]},{votes[1]},{1 if i % 4 else -1},-1,{1 if i == 0 else ''}")
    (home / "participants-votes.csv").write_text("\n".join(lines) + "\n")
    texts = [f"{i},{text}" for i, text in enumerate(STATEMENTS)]
    (home / "comments.csv").write_text("\n".join(["comment-id,comment-body", *texts]) + "\n")
    return root


def test_statements_that_few_have_seen_are_left_out(folder):
    poll = conversation(NAME, str(folder))
    assert poll.names == STATEMENTS[:4]
    assert poll.left_out == 1
    assert poll.members(jnp.ones(64)).tolist() == [48, 16]
    assert poll.wins(jnp.ones(64)).shape == (3, 4, 4)


def test_the_consensus_is_the_product_over_groups():
    votes = np.array([[1, 1], [1, -1], [0, UNSEEN], [-1, 1]])
    # group 0 has two voters: 2 of 2 agree with the first, 1 of 2 with the second; group 1: 0 of 2, and 1 of 1
    scores = group_informed(votes, np.array([0, 0, 1, 1]), 2)
    np.testing.assert_allclose(scores, [(3 / 4) * (1 / 4), (2 / 4) * (2 / 3)], rtol=1e-6)


def test_a_group_without_votes_has_no_rate():
    ends = social_choice.Intervals(*np.array([[0.5, np.nan], [0.25, np.nan], [1.0, np.nan]]))
    assert measures.interval(ends, slice(None)) == {"estimate": [0.5, None], "low": [0.25, None], "high": [1.0, None]}
    assert measures.interval(ends, 0) == {"estimate": 0.5, "low": 0.25, "high": 1.0}


def test_the_command_measures_draws_and_resumes(folder, tmp_path, capsys, monkeypatch):
    rules = {"F*": social_choice.proportional, "Borda": social_choice.maximal_borda}
    monkeypatch.setattr(measures, "RULES", rules)  # a maximal lottery takes seconds to compile
    command = ["--quick", "--poll", NAME, "--data", str(folder), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "4 alternatives, 64 voters; 6 of 6 pairs were compared" in printed
    result = json.loads((tmp_path / "out" / "results.json").read_text())["runs"][NAME]
    assert result["shares"] == [0.75, 0.25]
    assert result["favourites"] == [["wages"], ["prices"]]
    rates = result["rules"]["F*"]["win_rates"]
    assert all(low <= high for low, high in zip(rates["low"], rates["high"], strict=True))
    assert result["consensus"]["winners"]["consensus"] == "both"
    assert (tmp_path / "out" / "groups.png").stat().st_size > 10_000
    assert (tmp_path / "out" / "consensus.png").stat().st_size > 10_000
    monkeypatch.setattr("experiments.deliberation.__main__.measure", None)  # nothing is measured again
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == {NAME: result}


@pytest.mark.mistakes
def test_missing_data_are_named(tmp_path, capsys):
    assert main(["--poll", NAME, "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "votes/polis" in capsys.readouterr().err
