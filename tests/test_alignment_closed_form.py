"""The best policy at a temperature in closed form, and the Bradley-Terry rewards that it is given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from losses_by_definition import sigmoid

from jaxval import alignment, preferences
from jaxval.types import Comparisons


def test_kl_policy_is_the_tilted_reference(rng, close):
    reference, rewards = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))
    for beta in (0.1, 1.0, 25.0):
        tilted = np.exp(reference + rewards / beta)
        expected = tilted / tilted.sum(axis=-1, keepdims=True)
        close(np.exp(alignment.kl_policy(reference, rewards, beta=beta)), expected)
    base = np.exp(reference) / np.exp(reference).sum(axis=-1, keepdims=True)
    close(np.exp(alignment.kl_policy(reference, rewards, beta=np.inf)), base)
    policy = alignment.kl_policy(np.log(base), rewards, beta=0.5)
    back = alignment.implicit_reward(policy, np.log(base), beta=0.5)
    close(back - back[..., :1], rewards - rewards[..., :1], atol=1e-5 if back.dtype == jnp.float32 else 1e-12)


def test_kl_policy_maximises_the_regularised_reward(rng):
    base, rewards = rng.dirichlet(np.ones(4)), rng.normal(size=4)

    def objective(policy):
        return policy @ rewards - 0.3 * policy @ (np.log(policy) - np.log(base))

    best = np.exp(np.array(alignment.kl_policy(np.log(base), rewards, beta=0.3), dtype=float))
    others = [objective(policy) for policy in rng.dirichlet(np.ones(4), size=200)]
    nearby = [objective(0.99 * best + 0.01 * policy) for policy in rng.dirichlet(np.ones(4), size=200)]
    assert max(*others, *nearby) <= objective(best / best.sum()) + 1e-7


def test_kl_policy_at_no_temperature_shares_ties_in_proportion_to_the_reference(close):
    with np.errstate(divide="ignore"):
        reference = np.log([[0.2, 0.6, 0.2, 0.0], [0.0, 0.5, 0.25, 0.25]])
    rewards = np.array([[1.0, 1.0, 0.5, 9.0], [np.nan, 0.0, 2.0, 2.0 + 1e-12]])  # nobody can give the response at -inf
    greedy = alignment.kl_policy(reference, rewards, beta=0.0)
    close(np.exp(greedy), [[0.25, 0.75, 0, 0], [0, 0, 0.5, 0.5]])
    close(np.exp(alignment.kl_policy(reference, rewards, beta=1e-3)), np.exp(greedy), atol=1e-6)
    for beta in (0.0, 1e-300, 1.0, np.inf):
        policy = jax.jit(lambda b: alignment.kl_policy(reference, rewards, beta=b))(beta)
        assert (policy[:, [3, 0]].diagonal() == -np.inf).all()
        assert not np.isnan(policy).any()


def test_kl_policy_has_gradients_where_responses_are_missing():
    reference = jnp.array([-1.0, -1.0, -jnp.inf])
    slope = jax.grad(lambda r: alignment.kl_policy(reference, r, beta=0.5)[0])(jnp.array([0.3, 0.1, 0.0]))
    assert np.isfinite(slope).all()
    np.testing.assert_allclose(slope[0], 2 * sigmoid(-0.4), rtol=1e-5)


@pytest.fixture(scope="module")
def wins():
    return np.random.default_rng(3).integers(1, 9, size=(3, 4, 4)).astype(float)


def test_bradley_terry_rewards_solve_the_likelihoods_equations(wins, x64):
    rewards = np.array(preferences.bradley_terry(wins), dtype=float)
    np.testing.assert_allclose(rewards.sum(axis=1), 0, atol=1e-5)
    for table, reward in zip(wins * (1 - np.eye(4)), rewards, strict=True):
        expected = (table + table.T) * sigmoid(reward[:, None] - reward[None, :])
        np.testing.assert_allclose(table.sum(axis=1), expected.sum(axis=1), atol=1e-9 if x64 else 1e-3)


def test_the_optimum_of_dpo_is_the_closed_form_of_its_bradley_terry_fit(wins, rng, x64):
    reference = jax.nn.log_softmax(jnp.array(rng.normal(size=(3, 4))))
    policy = alignment.kl_policy(reference, preferences.bradley_terry(wins), beta=0.1)
    i, j = (index.ravel() for index in np.nonzero(1 - np.eye(4)))

    def total(log_probs):
        each = alignment.dpo(log_probs[:, i], log_probs[:, j], reference[:, i], reference[:, j], beta=0.1)
        return jnp.sum(wins[:, i, j] * each)

    np.testing.assert_allclose(jax.grad(total)(policy), np.zeros((3, 4)), atol=1e-9 if x64 else 1e-4)
    moved = policy + 0.1 * jnp.array(rng.normal(size=(3, 4)))
    assert total(moved) > total(policy)


def test_bradley_terry_loss_is_dpo_of_implicit_rewards(rng, close):
    columns = rng.normal(size=(4, 5))
    rewards = [alignment.implicit_reward(columns[k], columns[k + 2], beta=0.3) for k in (0, 1)]
    close(alignment.bradley_terry(*rewards), alignment.dpo(*columns, beta=0.3))


def test_context_wins_counts(rng):
    context, winner = rng.integers(3, size=30), rng.integers(4, size=30)
    loser, weight = (winner + rng.integers(1, 4, size=30)) % 4, rng.integers(1, 3, size=30).astype(float)
    expected = np.zeros((3, 4, 4))
    for row in zip(context, winner, loser, weight, strict=True):
        expected[row[:3]] += row[3]
    comparisons = Comparisons(context, winner, loser, weight)
    assert np.array_equal(preferences.count_wins(comparisons, contexts=3, alternatives=4), expected)


def test_a_context_without_a_finite_fit_is_nan_and_named(wins):
    apart = wins.copy()
    apart[1, :, 0] = 0  # nobody beats response 0
    rewards, diagnostics = preferences.bradley_terry_solve(apart)
    assert diagnostics.converged.tolist() == diagnostics.strongly_connected.tolist() == [True, False, True]
    assert np.isnan(rewards[1]).all()
    assert np.isfinite(rewards[0]).all()
    assert np.isnan(jax.jit(preferences.bradley_terry)(apart)[1]).all()
    with pytest.raises(ValueError, match=r"contexts \[1\]"):
        preferences.bradley_terry(apart)


MISTAKES = [
    (lambda: alignment.kl_policy([-1.0, -1.0], [1.0, 2.0], beta=-1.0), r"beta: expected a number in \[0, inf\]"),
    (lambda: alignment.kl_policy([-1.0, -1.0], [1.0, np.nan], beta=1.0), "rewards: expected finite numbers"),
    (lambda: alignment.kl_policy([-1.0, np.nan], [1.0, 0.0], beta=1.0), "reference: .*got NaN"),
    (lambda: alignment.kl_policy([-np.inf, -np.inf], [1.0, 0.0], beta=1.0), "reference: .*a row without"),
    (lambda: alignment.kl_policy([-1.0, -1.0], [1.0], beta=1.0), r"rewards: .*\(2,\); got shape \(1,\)"),
    (lambda: alignment.kl_policy(-1.0, 1.0, beta=1.0), r"reference: .*\(\.\.\., responses\)"),
    (lambda: preferences.bradley_terry(np.ones((1, 2, 3))), "wins: .*shape"),
    (lambda: preferences.bradley_terry(-np.ones((1, 2, 2))), "wins: expected non-negative counts"),
    (
        lambda: preferences.count_wins(Comparisons([0], [1], [1], [1.0]), contexts=1, alternatives=2),
        "two different alternatives; got 1 twice",
    ),
    (
        lambda: preferences.count_wins(Comparisons([5], [1], [0], [1.0]), contexts=2, alternatives=2),
        r"comparisons.context: expected indices in 0\.\.1; got 5",
    ),
]


@pytest.mark.mistakes
@pytest.mark.parametrize(("call", "message"), MISTAKES)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
