"""The best weights of sources: known optima, constraints, and the honesty of their gain."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import coalitions, data, sources

GRID = np.arange(-5.0, 7)
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


def test_subsets_are_evaluated_once(targets):
    """Each of the four coalitions once, and equal weights before them; nothing of them for the folds."""
    calls = []

    def counted(weights):
        weights = np.asarray(weights)
        calls.append(weights.tolist())
        return -(((weights - targets) ** 2).sum(axis=1)).astype(weights.dtype)

    def utility(weights):
        shape = jax.ShapeDtypeStruct((len(targets),), weights.dtype)
        return jax.pure_callback(counted, shape, weights, vmap_method="sequential")

    found = sources.best_weights(utility, 2, over="subsets")
    evaluated = sorted(tuple(call) for call in calls if set(call) <= {0.0, 1.0})
    assert evaluated == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 1)]
    assert tuple(found.weights) == (1, 0)


@pytest.mark.once
def test_rows_of_one_prompt_share_a_fold_and_count_together(utility, targets):
    """Every prompt in two rows: the same weights and gains, and intervals as wide as those of one row a prompt."""
    twice = sources.best_weights(
        lambda weights: jnp.concatenate([utility(weights), utility(weights)]),
        2,
        over="box",
        most=3.0,
        prompts=np.tile(np.arange(20), 2),
    )
    once = sources.best_weights(utility, 2, over="box", most=3.0)
    np.testing.assert_allclose(twice.by_fold, once.by_fold, atol=1e-3)
    np.testing.assert_allclose(twice.gains["equal"], once.gains["equal"], atol=1e-3)


def test_weights_in_proportion_to_values_stay_in_the_box(utility):
    found = sources.best_weights(utility, 2, over="box", most=1.0)
    assert found.others["values"].max() == pytest.approx(1.0)
    assert set(found.others) == {"equal", "coalition", "values"}


@pytest.fixture(scope="module")
def valued():
    drawn = data.synthetic_preferences(jax.random.key(1), contexts=12, responses=3, sources={"a": 1.0, "b": -0.5})
    return sources.value_sources(drawn, policy="tabular", beta=1.0)


@pytest.mark.once
def test_valued_sources_are_weighed_by_names(valued):
    """By the arithmetic itself: the best weights among coalitions are those of the table."""
    found = sources.weigh_sources(valued, over="subsets", objective={"harmless": 1.0})
    best = int(valued.utilities[:, 1].argmax())
    assert found.weights.tolist() == [best >> 0 & 1, best >> 1 & 1]
    np.testing.assert_allclose(found.utilities["best"], valued.utilities[best], atol=1e-5)
    level = valued.utilities[0, 0]
    kept = sources.weigh_sources(valued, objective={"harmless": -1.0}, floors={"helpful": float(level)})
    assert kept.utilities["best"][0] >= level - 1e-5


@pytest.mark.once
def test_seeds_are_weighed_together():
    """Two seeds of other prompts: the utility is the mean over both, and a prompt of both is one prompt."""
    drawn = functools.partial(data.synthetic_preferences, contexts=8, responses=3, sources={"a": 1.0, "b": -0.5})
    two = sources.value_sources(drawn, policy="tabular", beta=1.0, seeds=2)
    assert [one.prompts.tolist() for one in two.evaluated] == [list(range(8)), list(range(8, 16))]
    found = sources.weigh_sources(two, over="subsets", folds=2)
    np.testing.assert_allclose(found.utilities["equal"], two.utilities[3], atol=1e-5)


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda valued: sources.weigh_sources(valued, floors={"brief": 0.0}), "floors: .*'helpful', 'harmless'.*brief"),
        (lambda valued: sources.weigh_sources(valued._replace(evaluated=())), "valued: .*arithmetic of responses"),
        (lambda valued: sources.sampling_shares([1.0, -0.5], [2, 2]), "weights: .*at least 0 for each of 2"),
        (lambda valued: sources.sampling_shares([0.0, 0.0], [2, 2]), "weights: expected a weight above 0; got 0 for"),
        (lambda valued: sources.sampling_shares([1.0], [2, 2]), "weights: .*each of 2 sources"),
        (lambda valued: sources.write_mixture(valued, "nowhere", [1.0, -1.0]), "weights: .*at least 0"),
        (lambda valued: sources.write_mixture(valued, "nowhere", [1.0, 1.0]), "valued: .*adapters; got policies of an"),
    ],
    ids=itertools.count(),
)
def test_mistakes_of_weights_are_named(valued, call, words):
    with pytest.raises(ValueError, match=words):
        call(valued)


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
    with pytest.raises(ValueError, match=r"floors: expected .* that some weights reach, not 0\.5 for reward 1; got"):
        sources.best_weights(both, 2, floors={1: 0.5}, **options)


@pytest.mark.once
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
    with pytest.raises(ValueError, match=r"least_effective: expected .* that some weights reach, not 39; got"):
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
        ({"prompts": [0, 1]}, r"prompts: .*\(20,\) ids"),
        ({"prompts": [0] * 10 + [1] * 10, "folds": 3}, "folds: .*2 to 2, the prompts"),
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
