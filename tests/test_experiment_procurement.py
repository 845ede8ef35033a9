"""The experiment on buying ratings: task and values of a round against plain NumPy, resuming, small runs."""

import itertools
import json
import math

import jax
import numpy as np
import optax
import pytest

from experiments.commands import precision
from experiments.procurement import __main__ as procurement
from experiments.procurement import market, raters, rounds
from experiments.procurement.market import DESIGN, Candidates, Market
from experiments.procurement.rounds import Size
from jaxval import policies

pytestmark = pytest.mark.once

SIZE = Size(rounds=2, instances=10, biased=20, draws=2)


def test_the_design_has_rank_10_and_perfect_ratings_leave_the_part_that_no_rating_tells(rng):
    assert DESIGN.shape == (64, 12)
    assert np.linalg.matrix_rank(DESIGN) == 10
    assert (DESIGN.reshape(64, 3, 4).sum(axis=2) == 1).all()
    part_worths = rng.uniform(0, 95 / 3, 12)
    # Minimum norm: the mean over the 64 products, (m1 + m2 + m3) of the attributes' means, is shared equally.
    by_attribute = part_worths.reshape(3, 4)
    means = by_attribute.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(market.identified(part_worths), (by_attribute - means + means.mean()).ravel())
    perfect = np.tile((DESIGN @ part_worths)[:, None], (1, 5))
    raw, identified = market.estimation_errors(perfect, part_worths)
    assert identified < 1e-12
    assert raw == pytest.approx(np.abs(means - means.mean()).mean())


def test_answers_that_are_no_rating_are_left_out(rng):
    part_worths = rng.uniform(0, 95 / 3, 12)
    ratings = np.tile((DESIGN @ part_worths)[:, None], (1, 2))
    ratings[:, 1] = np.nan
    ratings[5, 0] = np.nan
    assert market.estimation_errors(ratings, part_worths)[1] < 1e-12
    with pytest.raises(FloatingPointError, match="no answer of the model was a rating"):
        market.estimation_errors(np.full((64, 2), np.nan), part_worths)
    assert raters.read_rating("Rating: 57") == 57
    assert [raters.read_rating(text) for text in ("Rating: 100", " Rating: 0\n")] == [100, 0]
    assert np.isnan([raters.read_rating(text) for text in ("Rating: 101", "57", "Rating: 5 or 7", "")]).all()


def test_offers_have_the_stated_shares_of_noisy_ratings(rng):
    none, full = np.zeros(12), np.full(12, 40.0)  # no part-worth: about 0; large ones: clipped to 100
    offered = market.draw_candidates(rng, Market(none, full, none), 50)
    assert (offered.ratings > 50).sum(axis=1).tolist() == [15, 30, 45]
    assert offered.ratings.min() == 0
    assert offered.ratings.max() == 100


class Stub(raters.Rater):
    """A model whose parameters are part-worths, moved half-way to those of what it is fine-tuned on."""

    def tune(self, params, products, ratings, key, stage):
        return 0.5 * params + 0.5 * np.linalg.lstsq(DESIGN[products], ratings.astype(float), rcond=None)[0]

    def start(self, key):
        return np.zeros(12)


@pytest.fixture
def rater():
    return Stub(None, lambda key, params, draws: np.tile((DESIGN @ params)[:, None], (1, draws)), None, None)


@pytest.fixture
def offered(rng):
    return Candidates(rng.integers(0, 64, (3, 30)), rng.integers(0, 101, (3, 30)))


def test_values_of_a_round_against_the_definition(rng, rater, offered):
    params, part_worths = rng.uniform(0, 30, 12), rng.uniform(0, 30, 12)
    key = jax.random.key(0)
    after = rounds.trainer(rater, params, offered, key)
    found = {name: rounds.value_round(name, rater, after, part_worths, key, 2) for name in rounds.VALUES}
    v = {}
    for size in range(4):
        for S in itertools.combinations(range(3), size):
            state = params
            if S:
                rows = offered.products[list(S)].ravel(), offered.ratings[list(S)].ravel()
                state = rater.tune(params, *rows, None, None)
            v[S] = -np.array(market.estimation_errors(rater.rate(None, state, 2), part_worths))
    for z in range(3):
        others = [other for other in range(3) if other != z]
        shapley = sum(
            (v[tuple(sorted((*S, z)))] - v[S]) / (3 * math.comb(2, size))
            for size in range(3)
            for S in itertools.combinations(others, size)
        )
        np.testing.assert_allclose(found["ADS"].values[0, z], shapley, atol=1e-5)
        np.testing.assert_allclose(found["leave-one-out"].values[0, z], v[0, 1, 2] - v[tuple(others)], atol=1e-5)


def test_a_run_that_stopped_between_rounds_goes_on_as_if_it_had_not(rater, tmp_path, monkeypatch):
    calm = rounds.one_run(rater, 3, SIZE, tmp_path)
    assert len(calm["methods"]["ADS"]["errors"]) == SIZE.rounds + 1
    assert calm["methods"]["cleanest"]["bought"] == [0, 0]
    other = tmp_path / "other"
    other.mkdir()
    save, counted = rounds.save_state, []

    def stopping(path, state):
        save(path, state)
        if path.name == "3-leave-one-out.npz" and int(state["rounds"]) == 1 and not counted:
            counted.append(1)
            raise KeyboardInterrupt

    monkeypatch.setattr(rounds, "save_state", stopping)
    with pytest.raises(KeyboardInterrupt):
        rounds.one_run(rater, 3, SIZE, other)
    advanced = []
    assert rounds.one_run(rater, 3, SIZE, other, advanced.append) == calm
    assert sum(advanced) == rounds.evaluations_of(SIZE)


def test_the_linear_policy_learns_ratings_and_draws_around_their_means(rng):
    rater = raters.make_rater("linear")
    part_worths, products = rng.uniform(5, 25, 12), np.arange(64)
    ratings = np.rint(DESIGN @ part_worths).astype(int)
    stage = rater.first._replace(batch_size=64, epochs=100)
    params = rater.tune(rater.start(None), products, ratings, jax.random.key(1), stage)
    drawn = rater.rate(jax.random.key(2), params, 400)
    assert np.abs(drawn.mean(axis=1) - DESIGN @ part_worths).max() < 2  # standard error 0.4, and the training's rest
    assert np.std(drawn[40] - drawn[40].mean()) == pytest.approx(raters.SPREAD * raters.TEMPERATURE**0.5, rel=0.15)


def test_a_sequence_model_writes_ratings():
    tokeniser = policies.byte_tokeniser()
    stage = raters.Stage(optax.adamw(3e-2), epochs=60, batch_size=2)
    with precision(False):  # as make_rater has it
        model = policies.transformer(vocabulary=259, length=32, width=16, layers=1, heads=2)
        rater = raters._writer(model, tokeniser, ["red", "blue"], stage, stage)
    params = rater.tune(rater.start(jax.random.key(0)), np.array([0, 1]), np.array([57, 100]), jax.random.key(1), stage)
    assert rater.rate(jax.random.key(2), params, 2).tolist() == [[57, 57], [100, 100]]


def test_a_small_run_of_the_command_resumes_and_draws(rater, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(procurement, "make_rater", lambda *_: rater)
    arguments = ["--policy", "linear", "--runs", "2", "--rounds", "2", "--instances", "10", "--biased", "20"]
    arguments += ["--out", str(tmp_path)]
    assert procurement.main([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in printed["summary"]] == list(rounds.METHODS)
    assert len(printed["claims"]) == 12
    runs = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert max(np.max(run["methods"]["ADS"]["efficiency"]) for run in runs.values()) < 1e-13
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "procurement-linear.png", "results.json"]
    monkeypatch.setattr(procurement, "make_rater", None)  # nothing is computed again
    assert procurement.main(arguments) == 0
    assert "perfect ratings would leave" in capsys.readouterr().out


@pytest.mark.mistakes
def test_a_missing_model_is_named(tmp_path, capsys):
    arguments = ["--policy", "smollm", "--model", str(tmp_path / "none"), "--out", str(tmp_path)]
    assert procurement.main(arguments) == 2
    assert "--model: no" in capsys.readouterr().err
