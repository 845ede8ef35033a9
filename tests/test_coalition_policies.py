"""Model arithmetic over candidate responses and expected rewards, against plain definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import coalitions, values
from jaxval.policies import normalise

RNG = np.random.default_rng(3)
SOURCES, CONTEXTS, RESPONSES = 3, 4, 5
REFERENCE = np.log(RNG.dirichlet(np.ones(RESPONSES), size=CONTEXTS))
POLICIES = np.log(RNG.dirichlet(np.ones(RESPONSES), size=(SOURCES, CONTEXTS)))
REWARDS = RNG.normal(size=(CONTEXTS, RESPONSES, 2))
MASKS = [[bool(k >> i & 1) for i in range(SOURCES)] for k in range(2**SOURCES)]


def by_definition(reference, sources, members):
    """π_S(y|x) ∝ exp(Σ_{ℓ∈S} s_ℓ + (1 - |S|) s_0), a response at a time."""
    out = np.zeros(reference.shape)
    for x in range(len(reference)):
        weight = [
            np.prod([np.exp(sources[source, x, y]) ** c for source, c in enumerate(members)])
            * np.exp(reference[x, y]) ** (1 - sum(members))
            for y in range(reference.shape[1])
        ]
        out[x] = np.array(weight) / sum(weight)
    return out


def test_combine_is_its_definition_for_masks_and_weights(close):
    together = jax.vmap(lambda mask: coalitions.combine(REFERENCE, POLICIES, mask))(jnp.array(MASKS, dtype=float))
    for mask, policy in zip(MASKS, together, strict=True):
        close(np.exp(policy), by_definition(REFERENCE, POLICIES, mask), atol=1e-5)
    close(np.exp(together[0]), np.exp(REFERENCE), atol=1e-6)
    close(np.exp(together[2]), np.exp(POLICIES[1]), atol=1e-6)
    weights = [0.5, -1.0, 2.0]
    close(
        np.exp(coalitions.combine(REFERENCE, POLICIES, weights)), by_definition(REFERENCE, POLICIES, weights), atol=1e-5
    )


def test_constants_of_a_context_do_not_matter(close):
    shifted = POLICIES + RNG.normal(size=(SOURCES, CONTEXTS, 1))
    close(
        coalitions.combine(REFERENCE - 3, shifted, [True, True, False]),
        coalitions.combine(REFERENCE, POLICIES, [True, True, False]),
        atol=1e-5,
    )


def test_what_is_never_said(close):
    """The reference never says 0; the second source never says 1; the third, which says 0, cannot bring it back."""
    reference = np.array([-np.inf, 0.0, 0.0])
    sources = np.array([[-np.inf, 1.0, 0.0], [-np.inf, -np.inf, 0.0], [0.0, 0.0, 0.0]])
    close(np.exp(coalitions.combine(reference, sources, [True, False, True])), [0, np.e / (np.e + 1), 1 / (np.e + 1)])
    close(np.exp(coalitions.combine(reference, sources, [True, True, False])), [0, 0, 1])
    slope = jax.grad(lambda s: jnp.exp(coalitions.combine(reference, s, [True, True, False]))[2])(jnp.asarray(sources))
    assert np.isfinite(np.asarray(slope)).all()


EXCLUSIVE = np.array([[0.0, -np.inf], [-np.inf, 0.0]])


def test_members_that_exclude_each_other_have_no_policy(x64):
    """Each source gives the response that the other never gives: alone they have a policy, together they have none."""
    reference = np.zeros((1, 2))
    sources = EXCLUSIVE[:, None]
    np.testing.assert_array_equal(np.exp(coalitions.combine(reference, sources, [1, 0])), [[1, 0]])
    together = jax.jit(coalitions.combine)(reference, sources, jnp.array([1, 1]))
    assert np.isnan(together).all()
    utility = coalitions.reward_utility(reference, sources, [[1.0, 3.0]])
    assert [float(utility(jnp.array(mask))) for mask in ([0, 0], [1, 0], [0, 1])] == [2, 1, 3]
    assert np.isnan(jax.jit(utility)(jnp.array([1, 1])))
    # of two rows only the one without a candidate is lost
    rows = jax.jit(coalitions.combine)(np.zeros((2, 2)), np.stack([EXCLUSIVE, EXCLUSIVE[[0, 0]]], axis=1), jnp.ones(2))
    np.testing.assert_array_equal(np.isnan(rows), [[True, True], [False, False]])


def test_a_nan_inside_jit_is_seen_in_the_policy():
    sources = np.zeros((2, 3))
    sources[1, 2] = np.nan
    assert np.isnan(jax.jit(coalitions.combine)(np.zeros(3), sources, jnp.ones(2))).all()
    assert np.isnan(jax.jit(coalitions.combine)(sources[1], np.zeros((2, 3)), jnp.ones(2))).all()
    assert np.isnan(normalise(np.array([np.nan, 0.0, -np.inf]))).all()


def test_expected_rewards_and_the_table_of_all_coalitions(close):
    utility = coalitions.reward_utility(REFERENCE, POLICIES, REWARDS)
    table = coalitions.tabulate(utility, SOURCES, batch_size=3)
    assert table.shape == (8, 2)
    for mask, row in zip(MASKS, table, strict=True):
        policy = by_definition(REFERENCE, POLICIES, mask)
        expected = sum(policy[x, y] * REWARDS[x, y] for x in range(CONTEXTS) for y in range(RESPONSES)) / CONTEXTS
        close(row, expected, atol=1e-5)
    close(table[3], coalitions.expected_reward(coalitions.combine(REFERENCE, POLICIES, MASKS[3]), REWARDS), atol=1e-6)
    one = coalitions.tabulate(coalitions.reward_utility(REFERENCE, POLICIES, REWARDS[..., 1]), SOURCES)
    close(one, table[:, 1], atol=1e-6)
    close(values.shapley(table).sum(0), table[-1] - table[0], atol=1e-5)


def test_contexts_are_objectives_whose_mean_is_the_utility(close):
    for rewards in (REWARDS, REWARDS[..., 0]):
        mean = coalitions.tabulate(coalitions.reward_utility(REFERENCE, POLICIES, rewards), SOURCES)
        each = coalitions.tabulate(coalitions.reward_utility(REFERENCE, POLICIES, rewards, by_context=True), SOURCES)
        assert each.shape == (8, CONTEXTS * rewards[0, 0].size)
        close(each.reshape(8, CONTEXTS, *rewards.shape[2:]).mean(axis=1), mean, atol=1e-6)
        values_of_contexts = values.shapley(each).reshape(SOURCES, CONTEXTS, *rewards.shape[2:])
        close(values_of_contexts.mean(axis=1), values.shapley(mean), atol=1e-6)


def test_contexts_may_weigh_differently_and_missing_candidates_need_no_reward(close):
    log_probs = np.log(np.array([[0.5, 0.5, 1e-300], [0.25, 0.25, 0.5]]))
    log_probs[0, 2] = -np.inf
    rewards = np.array([[1.0, 3.0, np.nan], [0.0, 0.0, 8.0]])
    close(coalitions.expected_reward(log_probs, rewards), (2 + 4) / 2, atol=1e-6)
    close(coalitions.expected_reward(log_probs, rewards, weights=[0.75, 0.25]), 0.75 * 2 + 0.25 * 4, atol=1e-6)


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: coalitions.combine(REFERENCE, POLICIES[:, :2], [True] * 3), "sources: expected shape"),
        (lambda: coalitions.combine(REFERENCE, POLICIES, [True] * 2), "one entry for each of 3 sources"),
        (lambda: coalitions.combine(REFERENCE * np.nan, POLICIES, [True] * 3), "reference: expected log-probabilities"),
        (lambda: coalitions.combine(REFERENCE, POLICIES + np.inf, [True] * 3), "sources: expected log-probabilities"),
        (
            lambda: coalitions.combine([0.0, 0.0], EXCLUSIVE, [1, 1]),
            r"coalition: .*got \[0, 1\], who leave none in row",
        ),
        (
            lambda: coalitions.combine(np.zeros((2, 2)), EXCLUSIVE[:, None] + np.zeros((2, 2, 2)), [1, 0.5]),
            r"coalition: .*none in row \[0\]",
        ),
        (lambda: coalitions.combine([-np.inf, -np.inf], np.zeros((1, 2)), [0]), "coalition: .*as the reference"),
        (lambda: coalitions.combine_next_tokens([0.0, 0.0], EXCLUSIVE, [1, 1]), "coalition: .*leave none"),
        (
            lambda: coalitions.reward_utility(np.zeros((1, 2)), EXCLUSIVE[:, None], [[1.0, 3.0]])(jnp.ones(2)),
            r"coalition: .*none in row \[0\]",
        ),
        (
            lambda: coalitions.tabulate(
                coalitions.reward_utility(np.zeros((1, 2)), EXCLUSIVE[:, None], [[1.0, 3.0]]), 2
            ),
            "utility: expected finite",
        ),
        (lambda: coalitions.expected_reward([[-np.inf, -np.inf]], [[1.0, 3.0]]), "log_probs: .*row 0"),
        (lambda: coalitions.expected_reward(REFERENCE, REWARDS[:2]), "rewards: expected"),
        (lambda: coalitions.expected_reward(REFERENCE, REWARDS * np.nan), "rewards: expected finite.*nan at"),
        (lambda: coalitions.expected_reward(REFERENCE, REWARDS, weights=[1.0]), "one for each of 4 contexts"),
        (lambda: coalitions.expected_reward(REFERENCE, REWARDS, weights=[1.0] * 4), "sum to one"),
        (lambda: coalitions.reward_utility(REFERENCE, POLICIES, REWARDS * np.nan), "rewards: expected finite"),
        (
            lambda: coalitions.reward_utility(REFERENCE, POLICIES, REWARDS, weights=[0.25] * 4, by_context=True),
            "weights: expected none with by_context=True",
        ),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(ValueError, match=message):
        call()
