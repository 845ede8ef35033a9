"""Where statements on coalitions of sources fail, and limits of those that hold: each by hand, in plain NumPy."""

import itertools
import math

import numpy as np
import pytest

from jaxval.theorems import coalition, mallows

pytestmark = pytest.mark.once

THREE_TO_ONE = np.array([[0, 3, 3], [1, 0, 1], [1, 1, 0]])  # wins of response 0 over the other two, who are equal


def dpo_gradient(policy, reference, wins):
    """The gradient of Σ wins[i, j] log σ(log π_i/π0_i - log π_j/π0_j) in the logits of π, at β = 1."""
    steps = np.log(policy / reference)
    losing = 1 / (1 + np.exp(steps[:, None] - steps[None, :]))
    return (wins * losing).sum(axis=1) - (wins * losing).sum(axis=0)


def test_agreeing_sources_are_pooled_by_the_union_and_added_in_sequence():
    """coalition/equation-2: 3 to 1 from each of two sources is 3 to 1 on their union, and 9 to 1 in sequence."""
    even = np.ones(3) / 3
    once, twice = np.array([3, 1, 1]) / 5, np.array([9, 1, 1]) / 11
    np.testing.assert_allclose(dpo_gradient(once, even, THREE_TO_ONE), 0, atol=1e-12)
    np.testing.assert_allclose(dpo_gradient(once, even, THREE_TO_ONE + THREE_TO_ONE), 0, atol=1e-12)
    np.testing.assert_allclose(dpo_gradient(twice, once, THREE_TO_ONE), 0, atol=1e-12)
    example = coalition.agreeing()
    np.testing.assert_allclose(np.exp(example.unions[3]), once, rtol=1e-6)
    np.testing.assert_allclose(np.exp(example.forward[3]), twice, rtol=1e-6)


def test_values_of_agreeing_sources():
    """coalition/equation-7: four sources that agree have the same value, a quarter of what all bring together."""
    on_union, in_sequence = 3 / 5, 3**4 / (3**4 + 2)
    values = [(everything - 1 / 3) / 4 for everything in (on_union, in_sequence)]
    sizes = range(4)
    for value, policy in zip(values, (lambda k: 3 ** min(k, 1), lambda k: 3**k), strict=True):
        utility = [policy(k) / (policy(k) + 2) for k in range(5)]
        marginals = [math.comb(3, k) * (utility[k + 1] - utility[k]) / (4 * math.comb(3, k)) for k in sizes]
        np.testing.assert_allclose(sum(marginals), value)
    assert values[1] > 2 * values[0]


def test_one_comparison_has_no_best_rewards():
    """coalition/equation-4: log σ(t) rises for ever."""
    likelihoods = [-np.log1p(np.exp(-t)) for t in (0.0, 1.0, 10.0, 30.0)]
    assert likelihoods == sorted(likelihoods)
    assert likelihoods[-1] < 0


def test_a_collection_with_itself():
    """coalition/figure-1: odds 3 to 1 at β = 1 from even odds; the union with itself keeps them."""
    policy = np.array([3.0, 1.0]) / 4
    product = policy * policy / np.array([0.5, 0.5])
    np.testing.assert_allclose(product / product.sum(), [0.9, 0.1])


def test_three_items_in_spearmans_model():
    """mallows/theta-link: pairs in order with odds φ^-2 and φ^-4 are a ranking with a chance proportional to φ^d.

    The marginals of that model are another link: at φ = 3/4 the first two are in order more often than σ(-2 log φ).
    """
    phi = 0.75
    weights, distances = [], []
    for ranks in itertools.permutations(range(3)):
        odds = [phi ** (-2 * (j - i)) for i, j in ((0, 1), (0, 2), (1, 2))]
        ordered = [ranks[i] < ranks[j] for i, j in ((0, 1), (0, 2), (1, 2))]
        weights.append(np.prod([o / (1 + o) if right else 1 / (1 + o) for o, right in zip(odds, ordered, strict=True)]))
        distances.append(sum((rank - i) ** 2 for i, rank in enumerate(ranks)))
    model = phi ** np.array(distances)
    np.testing.assert_allclose(np.array(weights) / sum(weights), model / model.sum())
    in_order = [ranks[0] < ranks[1] for ranks in itertools.permutations(range(3))]
    assert model[in_order].sum() / model.sum() > 0.67 > 1 / (1 + phi**2)


def test_a_set_of_few_prompts_on_which_dpo_is_better():
    """mallows/dispersion-beats-dpo says "on average over prompts": on these four prompts of four pairs DPO is better.

    Margins w · d of the true reward w of length 2, and the components of d across it; two prompts have -2 log φ of 1/4,
    two of 2. The mean errors are more than ten standard errors apart.
    """
    margins = [
        [0.94, 0.13, 0.81, -0.28],
        [2.37, 1.61, -1.47, -3.4],
        [-2.05, -3.58, 1.35, -2.16],
        [3.31, 4.56, -1.89, 3.64],
    ]
    across = [
        [0.1, 1.28, -0.81, -0.58],
        [-0.86, -0.23, -0.12, 0.59],
        [-0.35, 1.22, -0.45, 0.77],
        [0.83, 1.56, 0.21, -0.46],
    ]
    features = np.stack([np.array(margins) / 2, np.array(across)], axis=-1)
    reward, sharpness = np.array([2.0, 0.0]), np.array([1, 1, 8, 8])[:, None] / 4
    random = np.random.default_rng(0)
    chances = 1 / (1 + np.exp(-sharpness * (features @ reward)))
    signs = np.where(random.uniform(size=(2_000, 4, 4)) < chances, 1, -1)[..., None]
    weighted, plain = (
        mallows.misdirection((signs * rows).reshape(2_000, 16, 2), reward)
        for rows in (sharpness[..., None] * features, features)
    )
    difference = weighted - plain
    assert difference.mean() > 10 * difference.std() / np.sqrt(len(difference))
