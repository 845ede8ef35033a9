"""The best weights of sources: known optima, constraints, and the honesty of their gain."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import coalitions, sources

GRID = np.arange(-5, 6.01, 0.5)
POINTS = np.stack(np.meshgrid(GRID, GRID, indexing="ij"), axis=-1).reshape(-1, 2)


def shifts(targets):
    """Two sources that each shift a normal policy along an axis: π_λ is N(λ, I) on a grid.

    The reward is -|y - m|² / 2 with a target m for each prompt, so that u_x(λ) = -|λ - m_x|² / 2 - 1. Over the box the
    best λ is the mean target, and over the simplex the point of the simplex that is nearest to it.
    """
    reference = np.broadcast_to(-(POINTS**2).sum(axis=1) / 2, (len(targets), len(POINTS)))
    steps = np.stack([reference + POINTS[:, axis] for axis in (0, 1)])
    rewards = -((POINTS[None] - targets[:, None]) ** 2).sum(axis=-1) / 2
    return coalitions.reward_utility(reference, steps, rewards, by_context=True)


@pytest.fixture(scope="module")
def targets():
    return np.array([1.2, 0.4]) + 0.5 * np.random.default_rng(0).normal(size=(20, 2))


@pytest.fixture(scope="module")
def utility(targets):
    return shifts(targets)


def test_the_best_weights_of_a_box_are_the_mean_target(utility, targets):
    found = sources.best_weights(utility, 2, over="box", most=3.0)
    np.testing.assert_allclose(found.weights, targets.mean(axis=0), atol=1e-3)
    fold = np.arange(20) % 5
    for k, weights in enumerate(found.by_fold):
        np.testing.assert_allclose(weights, targets[fold != k].mean(axis=0), atol=1e-3)
    # The held-out gain over equal weights (1, 1), prompt by prompt from the formula
    plain = (((1 - targets) ** 2).sum(axis=1) - ((found.by_fold[fold] - targets) ** 2).sum(axis=1)) / 2
    np.testing.assert_allclose(found.gains["equal"][0], plain.mean(), atol=1e-3)
    reach = 2.093 * plain.std(ddof=1) / np.sqrt(20)  # Student's t with 19 degrees of freedom
    np.testing.assert_allclose(found.gains["equal"][1:], plain.mean() + np.array([-reach, reach]), atol=1e-3)
    assert found.utilities["best"][0] > found.held_out["best"][0]  # the fitted prompts flatter
    assert found.effective_size is None


def test_the_best_weights_of_the_simplex_and_of_subsets(utility, targets):
    mean = targets.mean(axis=0)
    simplex = sources.best_weights(utility, 2)
    np.testing.assert_allclose(simplex.weights, mean - (mean.sum() - 1) / 2, atol=1e-3)
    assert set(simplex.gains) == {"equal", "coalition", "values"}
    subsets = sources.best_weights(utility, 2, over="subsets")
    nearest = min(itertools.product([0.0, 1.0], repeat=2), key=lambda mask: ((mask - mean) ** 2).sum())
    assert tuple(subsets.weights) == nearest
    np.testing.assert_array_equal(subsets.gains["coalition"], 0)


def test_a_floor_on_another_reward_is_kept(targets):
    """The second reward falls with the weight of source 0: -y_0, so that a floor of -0.7 is λ_0 ≤ 0.7."""
    reference = np.broadcast_to(-(POINTS**2).sum(axis=1) / 2, (len(targets), len(POINTS)))
    steps = np.stack([reference + POINTS[:, axis] for axis in (0, 1)])
    near = -((POINTS[None] - targets[:, None]) ** 2).sum(axis=-1) / 2
    rewards = np.stack([near, np.broadcast_to(-POINTS[:, 0], near.shape)], axis=-1)
    both = coalitions.reward_utility(reference, steps, rewards, by_context=True)
    options = {"over": "box", "most": 3.0, "rewards": 2, "objective": [1.0, 0.0], "folds": 2}
    found = sources.best_weights(both, 2, floors={1: -0.7}, **options)
    np.testing.assert_allclose(found.weights, [0.7, targets.mean(axis=0)[1]], atol=1e-3)
    np.testing.assert_allclose(found.utilities["best"][1], -0.7, atol=1e-3)
    with pytest.raises(ValueError, match=r"floors: expected floors that some weights reach, 0\.5 for reward 1; got"):
        sources.best_weights(both, 2, floors={1: 0.5}, **options)


def test_a_pool_keeps_its_effective_size():
    """A reward that only grows with the weight: the effective size is what stops it."""
    rng = np.random.default_rng(1)
    scores = np.log(rng.dirichlet(np.ones(50), size=(2, 6)))[:, :, :40]
    rewards = scores[1] - scores[0]
    log_q = np.zeros(rewards.shape)
    utility = coalitions.pool_utility(scores, rewards, proposal=log_q, by_context=True)
    sizes = coalitions.pool_sizes(scores, proposal=log_q)
    options = {"over": "box", "most": 5.0, "folds": 2, "effective_sizes": sizes}
    found = sources.best_weights(utility, 1, least_effective=8.0, **options)
    np.testing.assert_allclose(found.effective_size, 8.0, rtol=1e-2)
    assert sources.best_weights(utility, 1, **(options | {"effective_sizes": None})).weights[0] > found.weights[0]
    with pytest.raises(ValueError, match="least_effective: expected a size that some weights have, 39; got"):
        sources.best_weights(utility, 1, least_effective=39.0, **options)


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"over": "sphere"}, "over: .*'simplex', 'box', 'subsets'.*'sphere'"),
        ({"most": 0.0}, "most: .*above 0"),
        ({"folds": 21}, "folds: .*2 to 20.*21"),
        ({"folds": 1}, "folds: .*2 to 20.*1"),
        ({"objective": [0.0]}, "objective: .*not all 0"),
        ({"objective": [1.0, 1.0]}, "objective: .*1 weights of rewards"),
        ({"most": 2.0}, "most: expected over='box' beside it; got over='simplex'"),
        ({"floors": {1: 0.0}}, "floors: .*0 to 0.*for 1"),
        ({"floors": {0: np.nan}}, "floors: .*finite.*nan"),
    ],
    ids=itertools.count(),
)
def test_mistakes_are_named(utility, options, words):
    with pytest.raises(ValueError, match=words):
        sources.best_weights(utility, 2, **options)


@pytest.mark.mistakes
def test_utilities_that_are_not_finite_are_named():
    with pytest.raises(ValueError, match=r"utility: expected finite utilities.*nan"):
        sources.best_weights(lambda weights: jnp.full(4, jnp.nan) * weights[0], 2)
    with pytest.raises(ValueError, match=r"utility: expected utilities of two prompts .*by_context=True"):
        sources.best_weights(lambda weights: jnp.sum(weights), 2)
    with pytest.raises(ValueError, match=r"over: expected subsets of at most 12 sources; got 13"):
        sources.best_weights(lambda weights: weights, 13, over="subsets")
