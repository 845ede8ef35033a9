"""The experiment on dispersion: models and measures by their definitions, sentences, and a run that goes on."""

import itertools
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.mallows import __main__ as command
from experiments.mallows import annotators, bandit, families, indices, maps
from jaxval import alignment
from jaxval.theorems.mallows import phi_link

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def prompts():
    direction = jnp.array([1.0, 0.0, 0.0, 0.0])
    return bandit.draw_prompts(jax.random.key(1), direction, count=6, model=jnp.asarray(0), spread=jnp.asarray(16.0))


@pytest.mark.parametrize("model", ["Mallows-θ", "Mallows-φ"])
def test_votes_are_those_of_the_enumerated_model(model):
    table, total = np.zeros((4, 4)), 0.0
    for order in itertools.permutations(range(4)):  # order[place] is the item
        places = [order.index(item) for item in range(4)]
        if model == "Mallows-θ":
            distance = sum((place - item) ** 2 for item, place in enumerate(places))
        else:
            distance = sum(places[i] > places[j] for i, j in itertools.combinations(range(4), 2))
        chance = np.exp(-0.3 * distance)
        total += chance
        for i, j in itertools.permutations(range(4), 2):
            table[i, j] += chance * (places[i] < places[j])
    found = np.asarray(bandit.vote_matrix(jnp.asarray(0.3), model))
    np.testing.assert_allclose(found, table / total + np.eye(4) / 2, atol=1e-5)
    if model == "Mallows-φ":  # a link of the gap alone
        np.testing.assert_allclose(found[1, 3], phi_link(2.0, np.exp(-0.3)), atol=1e-5)


def test_prompts_have_the_spread_the_order_and_the_entropy_that_they_should(prompts):
    sharpness = np.sort(np.asarray(prompts.sharpness))
    np.testing.assert_allclose(sharpness[1:] / sharpness[:-1], 16 ** (1 / 6), rtol=1e-4)
    best = np.asarray(prompts.features)[:, :, 0].argmax(axis=1)
    assert (np.asarray(prompts.reward).argmax(axis=1) == best).all()
    first = np.asarray(prompts.votes)[np.arange(6), best]
    assert (np.sort(first, axis=1)[:, 0] == 0.5).all()  # the best response loses to none
    off = np.log(-np.log(alignment.response_entropy_index(prompts.reference)) / prompts.sharpness) / bandit.NOISE
    assert 0.1 < np.abs(off).mean() < 2  # the index is off by a factor of e^{NOISE ε}


def test_a_policy_at_a_divergence_has_it_and_none_earns_more_than_the_best(prompts):
    reference = np.asarray(prompts.reference)
    for ratios in (prompts.reward, jax.random.normal(jax.random.key(0), reference.shape)):
        log_probs = np.asarray(bandit.at_divergence(prompts.reference, ratios, jnp.asarray(0.2)))
        divergence = (np.exp(log_probs) * (log_probs - reference)).sum(axis=1).mean()
        assert divergence == pytest.approx(0.2, abs=1e-4)
        gains = np.asarray(bandit.gains(prompts, log_probs) / bandit.best_gains(prompts, jnp.asarray(0.2)))
        assert (gains <= 1 + 1e-4).all()
    pi, pi0 = np.exp(log_probs), np.exp(reference)
    won = np.einsum("xy,xyz,xz->x", pi, np.asarray(prompts.votes), pi0).mean() - 0.5
    np.testing.assert_allclose(bandit.gains(prompts, log_probs)[1], won, atol=1e-5)


def test_dpo_is_the_weighted_loss_with_equal_dispersions(prompts):
    votes = bandit.draw_votes(jax.random.key(2), prompts, pairs=jnp.asarray(9))
    assert np.asarray(votes.sum(axis=(1, 2))).tolist() == [9] * 6
    told = bandit.dispersions(jax.random.key(3), prompts)
    np.testing.assert_allclose(np.sort(told[1]), np.sort(told[3]), rtol=1e-6)
    weighted = bandit.fit("table", prompts, votes, alignment.mallows_theta, 1.0, dispersion=told[0])
    plain = bandit.fit("table", prompts, votes, alignment.dpo, 1.0)
    np.testing.assert_allclose(weighted, plain, atol=1e-4)


def map_runs(gap):
    """A map of two cells; the true φ earns `gap` more than DPO on each of three problems."""
    rng = np.random.default_rng(0)
    unit = []
    for spread in (1.0, 16.0):
        earned = 0.5 + 0.1 * rng.uniform(size=(2, 1, 3)) + np.zeros((2, 4, 1))
        earned[:, 1] += gap + 1e-4 * rng.uniform(size=3)
        unit.append({"pairs": 4, "spread": spread, "earned": earned.tolist(), "z": [[-40.0, 1.0, 3.0]] * 2})
    return {"map, Mallows-θ, table, 4": unit}


@pytest.mark.parametrize(("gap", "verdict"), [(0.02, "helps"), (-0.02, "costs"), (-5e-5, "open")])
def test_words_follow_the_measurements(gap, verdict):
    runs = map_runs(gap)
    assert {row["verdict"] for row in maps.cells(runs)} == {verdict}
    words = " ".join(maps.sentences(runs))
    assert f"helps in {int(verdict == 'helps')} of 1 cells" in words
    assert f"costs in {int(verdict == 'costs')} of 1 cells" in words
    assert "on 1 of 3 problems, and DPO on 1, by up to 40 standard errors" in words


def test_rank_correlation_of_clusters():
    x = np.repeat(np.arange(20.0), 3)
    row = indices.rank_correlation(x, x**3, level=0.95, clusters=x)
    assert row["correlation"] == pytest.approx(1)
    assert row["n"] == 60
    rng = np.random.default_rng(0)
    noise = indices.rank_correlation(x, rng.normal(size=60), level=0.95)
    assert noise["low"] < noise["correlation"] < noise["high"]
    assert indices.rank_correlation(x, np.ones(60), level=0.95)["correlation"] is None


def test_indices_of_pairs_are_means_of_both_responses():
    entropies = np.array([[1.0, 3.0, 9.0], [2.0, 9.0, 9.0]])
    found = indices.pair_indices(entropies, [2, 1], np.array([0]), np.array([1]), vocabulary=np.int64(100))
    np.testing.assert_allclose(found, (2 + 2) / 2 / np.log(100), rtol=1e-5)


def test_rewards_are_read_off_at_the_same_divergence():
    def curve(reward):
        return {
            "divergence": [[0.0, 0.0], [0.2, 0.2], [0.4, 0.4]],
            "reward": [[0.0, 0.0], [reward, reward], [1.0, 1.0]],
        }

    shorter = {"divergence": [[0.0, 0.0], [0.1, 0.3]], "reward": [[0.0, 0.0], [0.5, 0.7]]}
    found = families.reward_at_equal_divergence({"DPO": curve(0.4), "θ, index": shorter})
    assert found == pytest.approx({"divergence": 0.2, "DPO": 0.4, "θ, index": 0.6})


def test_votes_of_one_half_are_held_against_the_other():
    from jaxval.data import NamedComparisons
    from jaxval.types import Comparisons

    winner = np.array([0, 0, 0, 1, 0])  # voters 0 to 2 of one half like the first statement, one voter of the other not
    comparisons = Comparisons(np.zeros(5, int), winner, 1 - winner, np.ones(5))
    votes = NamedComparisons(comparisons, ("a", "b"), ("q",), "", np.arange(5), tuple("vwxyz"))
    entropy, against, *_ = annotators.against_reference(votes, np.array([0, 0, 0, 1, 1]), 0)
    assert against.tolist() == [1.0, 0.0]
    assert (entropy < 1).all()


def test_a_run_goes_on_where_it_was_stopped(monkeypatch, tmp_path, capsys):
    calls = []

    def units(options, settings, stop=None):
        def work(label):
            calls.append(label)
            if len(calls) == stop:
                raise KeyboardInterrupt
            return map_runs(0.02)[label]

        return {label: command.Unit(1, True, partial(work, label)) for label in map_runs(0.02)}

    monkeypatch.setattr(command, "all_units", partial(units, stop=1))
    arguments = ["--part", "bandit", "--seeds", "3", "--out", str(tmp_path), "--json"]
    assert command.main(arguments) == 130
    assert command.main(arguments) == 0
    first = json.loads(capsys.readouterr().out)
    assert command.main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert len(calls) == 2
    assert (tmp_path / "map-mallows-theta.png").exists()


@pytest.mark.mistakes
def test_input_that_is_wrong_is_named(tmp_path, capsys, monkeypatch):
    assert command.main(["--model", str(tmp_path / "no.gguf"), "--out", str(tmp_path)]) == 2
    assert "--model" in capsys.readouterr().err
    assert command.main(["--part", "annotators", "--data", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "--part bandit families" in capsys.readouterr().err
