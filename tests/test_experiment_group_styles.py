"""The experiment on group styles: an exact judge, exact optima, what the paper's figures imply, a run of a bigram."""

import itertools
import json

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.group_styles import __main__ as styles
from experiments.group_styles import texts
from experiments.group_styles.writers import Size, Writer, make_task
from jaxval import policies
from jaxval.types import SequenceModel

pytestmark = pytest.mark.once


@pytest.mark.parametrize("category", texts.CATEGORIES.values(), ids=texts.CATEGORIES)
def test_the_judge_knows_every_response_and_no_other_text(category):
    for topic in texts.TOPICS:
        groups = [texts.recognise(category, text) for text in texts.responses(category, topic)]
        assert groups == [0, 0, 0, 1, 1, 1]
    for text in ("", "rain is easy", "rain is easy.!", "cheese is easy.", "Rain obeys a lemma.", "{} is easy."):
        assert texts.recognise(category, text) is None


def test_pairs_are_won_by_the_first_group_as_often_as_it_has_evaluators(rng):
    pairs = texts.draw_pairs(rng, texts.CATEGORIES["style"], 2000)
    assert np.mean(pairs.winner < 3) == pytest.approx(0.8, abs=0.03)
    assert ((pairs.winner < 3) != (pairs.loser < 3)).all()


def test_measures_and_optima_can_be_checked_by_hand():
    found = texts.measures(np.array([0.9, 0.1]), np.array([0.5, 0.5]))
    assert found["win rate"] == pytest.approx(0.9 * 0.65 + 0.1 * 0.35)
    assert found["PPA level"] == pytest.approx(0.5)
    odds = (0.8 / 0.2 * np.exp(0.6)) ** (1 / 1.01)  # an even reference leaves the power 1 / (1 + 0.01)
    exact = texts.optimum(texts.CATEGORIES["style"], 1.0)
    assert exact["PPA level"] == pytest.approx(1 / (1 + odds) / 0.2, rel=1e-4)
    assert texts.optimum(texts.CATEGORIES["style"], None)["PPA level"] == pytest.approx(0, abs=1e-6)


def test_the_papers_win_rates_on_style_are_those_of_no_reference():
    rows = texts.implied()
    assert all(row["share"] is None for row in rows if row["category"] == "style")
    of_first = [row["share"] for row in rows if row["category"] == "expertise"]
    # β = 0: π_2 = 0.2 · 0.1428, win = 0.8 π_1 + 0.5 π_2 - 0.3 r
    assert of_first[0] == pytest.approx((0.8 * 0.97144 + 0.5 * 0.02856 - 0.7613) / 0.3)
    shares = np.linspace(0, 1, 11)
    rates = [
        texts.measures(np.array([a, 1 - a]), np.array([r, 1 - r]))["win rate"]
        for a, r in itertools.product(shares, shares)
    ]
    assert max(rates) == pytest.approx(0.8)


def bigram(name, size, *_):
    """A writer whose next token depends on the last one alone."""
    del name, size
    tokeniser = policies.byte_tokeniser()
    model = SequenceModel(lambda key: jnp.zeros((259, 259)), lambda params, tokens: params[tokens], 259, 80)
    return Writer(model, tokeniser, False, optax.adam(0.3), optax.sgd(1.0))


def test_the_model_of_preferences_finds_the_share_of_the_evaluators():
    """600 prompts with one comparison each: P̂ of the first group's response is near 0.8 in every one."""
    size = Size(1, 1, 8, 1)
    task = make_task(bigram("", size), texts.CATEGORIES["style"], texts.prompts()[:600], size).drawn(100, seed=1)
    pairs = task.modelled()
    assert len(pairs.weight) == 1000
    np.testing.assert_allclose(pairs.weight[:500] + pairs.weight[500:], 1)
    of_first = pairs.weight[pairs.winner < 3]
    assert of_first.mean() == pytest.approx(0.8, abs=0.05)
    assert of_first.std() < 0.1


SMALL = [
    *("--seeds", "1", "--prompts", "6", "--held-out", "2", "--reference-steps", "30", "--steps", "3"),
    *("--batch-size", "4", "--draws", "2"),
]


def test_a_small_run_resumes_and_draws(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(styles, "make_writer", bigram)
    ends = (f"{kind}, β = {beta:g}" for kind in styles.KINDS for beta in (texts.BETAS[0], texts.BETAS[-1]))
    monkeypatch.setattr(styles, "METHODS", (*ends, "DPO"))
    monkeypatch.setattr(styles, "CATEGORIES", {"style": texts.CATEGORIES["style"]})
    arguments = [*SMALL, "--out", str(tmp_path), "--json"]
    assert styles.main(arguments) == 0
    first = json.loads(capsys.readouterr().out)
    path = tmp_path / "results.json"
    results = json.loads(path.read_text())
    assert len(results["runs"]) == 1 + len(styles.METHODS)
    assert not list(tmp_path.glob("unfinished-*"))
    run = results["runs"]["style, 0, reference"]
    assert 0 < run["candidates"][0] < 1
    assert sum(run["candidates"]) == pytest.approx(1)
    del results["runs"]["style, 0, DPO"], results["runs"]["style, 0, model, β = 1"], results["sha256"]
    path.write_text(json.dumps(results))
    assert styles.main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert styles.main(arguments[:-1]) == 0
    assert "is impossible if 80 %" in capsys.readouterr().out
    assert (tmp_path / "group_styles-transformer.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompts", "999"], "--prompts: expected at most 900; got 999"),
        (["--prompts", "5", "--held-out", "5"], "--held-out: expected fewer than --prompts 5"),
        (["--policy", "smollm", "--model", "nowhere.gguf"], "--model: no nowhere.gguf"),
        (["--width", "12"], "--width: expected a multiple of 8"),
    ],
)
def test_what_cannot_run_is_said(capsys, tmp_path, arguments, message):
    assert styles.main([*arguments, "--out", str(tmp_path)]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
