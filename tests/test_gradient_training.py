"""Training by gradients: against Newton's optimum, and killed by another process at any moment."""

import functools
import random
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxval import alignment, checkpoints, policies, training
from jaxval.training import gradient
from jaxval.types import Comparisons

POLICY = policies.tabular(2, 3)
SOURCE = Comparisons(
    context=[0, 0, 0, 0, 1, 1, 1, 1],
    winner=[0, 1, 2, 1, 0, 1, 2, 2],
    loser=[1, 2, 0, 0, 2, 0, 1, 0],
    weight=[2.0, 1.0, 1.0, 1.0, 3.0, 1.0, 1.0, 1.0],
)
START = np.array([[0.1, 0.0, -0.2], [0.0, 0.3, 0.0]])
OPTIMISER = optax.adam(0.05)


def train(source=SOURCE, **options):
    defaults = {"beta": 1.0, "optimiser": OPTIMISER, "steps": 7, "batch_size": 3, "key": jax.random.key(0), "every": 3}
    return training.train_minibatches(POLICY, START, source, **(defaults | options))


def test_full_batches_reach_newtons_optimum():
    params, curves = train(steps=400, batch_size=8, every=100, optimiser=optax.sgd(1.0))
    exact, _ = training.newton_optimum(POLICY, START, SOURCE, beta=1.0)
    ids = (np.arange(2), np.tile(np.arange(3), (2, 1)))
    np.testing.assert_allclose(POLICY.log_probs(params, *ids), POLICY.log_probs(exact, *ids), atol=1e-4)
    assert curves.losses[0] == pytest.approx(np.log(2), abs=1e-6)  # training starts at the reference
    assert curves.margins[0] == 0
    assert curves.accuracies[0] == 0.5
    assert curves.losses[-1] < curves.losses[0]


def test_one_step_is_the_gradient_of_the_weighted_mean():
    """The definition: all pairs in one minibatch, a step of plain gradient descent by hand."""
    source = Comparisons([0, 1], [0, 2], [1, 0], [1.0, 3.0])
    params, _ = train(source, steps=1, batch_size=2, optimiser=optax.sgd(1.0))
    by_hand = np.array(START)
    for x, winner, loser, weight in zip(*source, strict=True):
        by_hand[x, winner] += weight / 4 * 0.5
        by_hand[x, loser] -= weight / 4 * 0.5
    np.testing.assert_allclose(params, by_hand, atol=1e-6)


def test_equal_sources_give_equal_policies_to_the_bit():
    order = np.random.default_rng(0).permutation(8)
    shuffled = Comparisons(*(np.asarray(field)[order] for field in SOURCE))
    longer = Comparisons([0, 1] * 6, [1, 0] * 6, [0, 1] * 6, [1.0] * 12)
    padded = Comparisons(*(field[0] for field in training.stack_sources([SOURCE, longer])))
    params, curves = train()
    for same in (shuffled, padded):
        others, their_curves = train(same)
        np.testing.assert_array_equal(params, others)
        np.testing.assert_array_equal(curves.losses, their_curves.losses)
    assert np.abs(np.asarray(params) - np.asarray(train(key=jax.random.key(1))[0])).max() > 0


def test_every_pair_is_seen_once_in_an_epoch():
    """With one pair a step and a step of plain descent, the sum of moves tells which pairs were seen."""
    source = Comparisons([0, 1, 1], [0, 0, 1], [1, 2, 2], [1.0, 1.0, 1.0])
    small = 1e-3
    params, _ = train(source, steps=3, batch_size=1, optimiser=optax.sgd(small), every=2)
    moves = (np.asarray(params) - START) / (small / 2)
    np.testing.assert_allclose(moves, [[1, -1, 0], [1, 1, -2]], atol=0.02)


@pytest.mark.once
def test_sequential_dpo_with_gradients_is_sequential():
    options = {"optimiser": optax.sgd(1.0), "steps": 300, "batch_size": 8, "key": jax.random.key(0), "every": 300}
    train = functools.partial(training.train_minibatches, **options)
    params, curves = training.sequential_dpo(POLICY, START, [SOURCE, SOURCE], [0, 1], train=train, beta=1.0)
    exact, _ = training.sequential_dpo(POLICY, START, [SOURCE, SOURCE], [0, 1], beta=1.0)
    assert len(curves) == 2
    ids = (np.arange(2), np.tile(np.arange(3), (2, 1)))
    np.testing.assert_allclose(POLICY.log_probs(params, *ids), POLICY.log_probs(exact, *ids), atol=1e-2)


@pytest.mark.once
def test_options_of_pairs_and_accumulated_clipped_updates():
    dispersion = np.where(np.asarray(SOURCE.context) == 0, 0.3, 0.8)
    optimiser = training.adamw(0.1, steps=8, accumulation=2, clip=0.5, weight_decay=0.01)
    params, curves = train(
        steps=8, loss=alignment.mallows_theta, pair_options={"dispersion": dispersion}, optimiser=optimiser
    )
    assert np.isfinite(np.asarray(params)).all()
    assert curves.losses[0] == curves.losses[1] == pytest.approx(np.log(2), abs=1e-6)  # no update after one of two


CHILD = """
import sys, jax, numpy as np, optax
from jaxval import policies, training
from jaxval.training import gradient
from jaxval.types import Comparisons
policy = policies.log_linear(np.random.default_rng(0).normal(size=(2, 2, 300)))
params = policy.init(None)
pairs = Comparisons([0, 0, 1, 1], [0, 1, 0, 1], [1, 0, 1, 0], [2.0, 1.0, 1.0, 3.0])
found, curves = training.train_minibatches(policy, params, pairs, beta=0.5, optimiser=training.adamw(1e-2, steps=60),
    steps=60, batch_size=3, key=jax.random.key(1), checkpoints=sys.argv[1], every=4)
np.savez(sys.argv[2], *jax.tree.leaves(found), curves.losses)
"""


@pytest.mark.once
def test_killed_at_a_random_step_and_started_again_it_ends_with_the_same_bits(tmp_path, monkeypatch):
    def end_here(folder):
        out = tmp_path / f"{folder.name}.npz"
        monkeypatch.setattr(sys, "argv", ["", str(folder), str(out)])
        exec(CHILD, {})
        with np.load(out) as found:
            return dict(found)

    whole, killed = end_here(tmp_path / "whole"), tmp_path / "killed"
    dice = random.Random(0)
    wanted = dice.randint(1, 13) * 4
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(killed), str(tmp_path / "none.npz")])
    while max((int(p.name) for p in killed.glob("[0-9]*") if p.name.isdigit()), default=0) < wanted:
        assert child.poll() is None
        time.sleep(0.002)
    time.sleep(dice.random() * 0.02)
    child.kill()
    child.wait()
    assert not list(killed.glob("60"))  # the kill came before the end
    found = end_here(killed)
    assert np.abs(whole["arr_0"]).max() > 0
    for name, value in whole.items():
        np.testing.assert_array_equal(found[name], value)


def damaged(folder, change):
    train(checkpoints=folder)
    change(max((p for p in Path(folder).iterdir() if p.name.isdigit()), key=lambda p: int(p.name)))
    train(checkpoints=folder)


def cut(step):
    for path in sorted(step.rglob("*")):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda folder: damaged(folder, cut), ValueError, "cut off.*delete that folder"),
        (
            lambda folder: (train(checkpoints=folder), train(checkpoints=folder, beta=2.0)),
            ValueError,
            "another run: beta",
        ),
        (
            lambda folder: (train(checkpoints=folder), train(checkpoints=folder, optimiser=optax.sgd(1.0))),
            ValueError,
            "another run: parameters",
        ),
        (lambda folder: train(SOURCE._replace(loser=SOURCE.winner)), ValueError, "the rejected response to differ"),
        (lambda folder: train(SOURCE._replace(winner=[9] * 8)), ValueError, "responses: expected ids in -1..2"),
        (lambda folder: train(pair_options={"dispersion": [0.5]}), ValueError, "one for each of 8 comparisons"),
        (lambda folder: train(steps=0), ValueError, "steps: expected a whole number"),
        (lambda folder: train(loss="dpo"), ValueError, "loss: expected a function"),
        (lambda folder: train(optimiser=optax.sgd(1e30), loss=alignment.ipo), FloatingPointError, "lower the learning"),
        (lambda folder: training.adamw(1e-3, steps=3, accumulation=4), ValueError, "at least accumulation=4"),
        (lambda folder: training.adamw(-1e-3, steps=3), ValueError, "learning_rate: expected"),
        (
            lambda folder: ((folder / "thesis.txt").write_text("x"), train(checkpoints=folder)),
            ValueError,
            "other files",
        ),
    ],
)
def test_mistakes(call, error, message, tmp_path):
    with pytest.raises(error, match=message):
        call(tmp_path)


@pytest.mark.mistakes
def test_a_finished_training_is_not_trained_again(tmp_path):
    first, _ = train(checkpoints=tmp_path)
    again, _ = train(checkpoints=tmp_path)
    np.testing.assert_array_equal(first, again)
    with checkpoints.open_checkpoints(tmp_path / "new", {}) as kept:
        assert kept.latest({"weight": jnp.zeros(2)}) is None


@pytest.mark.once
def test_arrays_that_a_policy_holds_are_arguments_of_one_compiled_program():
    """The weights of a large base would otherwise be constants, copied and compiled anew for every base."""

    def log_probs(held, params, contexts, responses):
        return POLICY.log_probs(params + held, contexts, responses)

    def trained(held):
        policy = POLICY._replace(log_probs=jax.tree_util.Partial(log_probs, jnp.asarray(held)))
        return training.train_minibatches(
            policy, 0 * START, SOURCE, beta=1.0, optimiser=OPTIMISER, steps=3, batch_size=3, key=jax.random.key(0)
        )[0]

    trained(0 * START)
    before = gradient._run._cache_size()
    moved = trained(START)
    assert gradient._run._cache_size() == before
    np.testing.assert_allclose(moved + START, train(steps=3)[0], atol=1e-6)


def test_fine_tuning_gives_a_table_the_shares_of_demonstrations():
    """The optimum of -Σ w log π is the share of each response; a demonstration of weight 0 counts for nothing."""
    contexts, responses, weights = [0, 0, 1, 1, 1], [0, 1, 2, 0, 1], [3.0, 1.0, 1.0, 1.0, 0.0]
    params, losses = training.fine_tune(
        POLICY,
        START,
        contexts,
        responses,
        weights=weights,
        optimiser=optax.adam(0.3),
        steps=200,
        batch_size=4,
        every=200,
        key=jax.random.key(0),
    )
    shares = np.exp(POLICY.log_probs(params, [0, 1], [[0, 1, 2]] * 2))
    np.testing.assert_allclose(shares, [[0.75, 0.25, 0], [0.5, 0, 0.5]], atol=0.01)
    assert losses[-1] < losses[0]


@pytest.mark.once
def test_fine_tuning_on_a_text_makes_a_reference_worth_sampling():
    """After "a" comes "b", and after "b" comes "a": the samples of a model that learnt it go on so."""
    model = policies.transformer(vocabulary=259, length=8, width=16, layers=1, heads=2)
    prompts, responses = policies.text_windows("ab" * 40, length=8)
    policy = policies.over_catalogue(model, prompts, responses)
    rows = np.arange(len(prompts))
    params, losses = training.fine_tune(
        policy,
        model.init(jax.random.key(0)),
        rows,
        0 * rows,
        optimiser=optax.adam(0.02),
        steps=80,
        batch_size=4,
        every=80,
        key=jax.random.key(0),
    )
    assert losses[-1] < 0.3 * losses[0]
    drawn = policies.sample(jax.random.key(1), model, params, [[256, 97]] * 20, num_tokens=1)
    assert np.mean(np.asarray(drawn.tokens) == 98) > 0.8


@pytest.mark.mistakes
def test_mistakes_of_fine_tuning():
    options = {"optimiser": OPTIMISER, "steps": 1, "batch_size": 2, "key": jax.random.key(0)}
    for contexts, responses, weights, message in (
        ([0], [0, 1], None, "responses: expected one for each of 1"),
        ([0], [0], [0.0], "weights: expected numbers"),
        ([0], [3], None, "responses: expected ids"),
        ([0], [0], [1.0, 1.0], "weights: expected one for each"),
    ):
        with pytest.raises(ValueError, match=message):
            training.fine_tune(POLICY, START, contexts, responses, weights=weights, **options)
