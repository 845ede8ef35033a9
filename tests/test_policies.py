"""Tabular and log-linear policies against their definitions, and the contract that all policies keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import policies, testing

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(3, 4, 5))
BASE = np.where(np.arange(12).reshape(3, 4) == 7, -np.inf, RNG.normal(size=(3, 4)))


@pytest.mark.once
def test_tabular_and_log_linear_keep_the_contract():
    testing.check_policy(policies.tabular(3, 4), contexts=3, responses=4, complete=True)
    testing.check_policy(policies.log_linear(FEATURES), contexts=3, responses=4, complete=True)
    testing.check_policy(policies.log_linear(FEATURES, base=BASE), contexts=3, responses=3)


@pytest.mark.once
def test_the_contract_refuses_what_breaks_it():
    good = policies.tabular(3, 2)

    def broken(change):
        return good._replace(log_probs=lambda params, x, y: change(good.log_probs(params, x, y), jnp.asarray(y)))

    for change, message in (
        (lambda out, y: out[:, :1], "shape"),
        (lambda out, y: out + 1, "at most 0"),
        (lambda out, y: out + 0.5 * out.min(), "not to 1"),
        (lambda out, y: jnp.where(y < 0, -1e9, out), "-inf where the id is -1"),
        (lambda out, y: out - 0.01 * len(out), "not to 1|rows beside"),
        (lambda out, y: out - 0.2 * jnp.arange(2.0)[None], "not to 1|order of ids"),
    ):
        with pytest.raises(AssertionError, match=message):
            testing.check_policy(broken(change), contexts=3, responses=2, complete=True)
    certain = broken(lambda out, y: jnp.where(y < 0, -jnp.inf, -0.1))  # each candidate has probability .9
    with pytest.raises(AssertionError, match=r"candidates sum to 1\.8\d*, above 1"):
        testing.check_policy(certain, contexts=3, responses=2)


@pytest.mark.once
def test_the_contract_refuses_a_linear_map_of_another_policy():
    for policy in (policies.tabular(3, 2), policies.log_linear(FEATURES[:, :2])):
        testing.check_policy(policy, contexts=3, responses=2)
        other = policy.linear._replace(base=policy.linear.base + jnp.array([[0.0, 0.1]] * 3))
        with pytest.raises(AssertionError, match=r"linear: its logits differ from log_probs by 0\.1"):
            testing.check_policy(policy._replace(linear=other), contexts=3, responses=2)


def test_log_linear_is_its_definition(close):
    policy = policies.log_linear(FEATURES, base=BASE)
    theta = RNG.normal(size=5)
    actual = policy.log_probs(jnp.asarray(theta), np.arange(3), np.tile(np.arange(4), (3, 1)))
    for x in range(3):
        weights = [np.exp(BASE[x, y] + FEATURES[x, y] @ theta) for y in range(4)]
        close(np.exp(actual[x]), np.array(weights) / sum(weights))
    assert actual[1, 3] == -np.inf
    close(policy.init(None), np.zeros(5))


def test_normalise_conditions_on_the_candidates(close):
    log_probs = np.array([[np.log(0.1), np.log(0.3), -np.inf], [-np.inf, -np.inf, -np.inf], [-800.0, -801.0, -900.0]])
    actual = np.asarray(policies.normalise(log_probs))
    close(np.exp(actual[0]), [0.25, 0.75, 0.0])
    assert (actual[1] == -np.inf).all()
    close(np.exp(actual[2]), np.exp([0.0, -1.0, -100.0]) / np.exp([0.0, -1.0, -100.0]).sum())
    slope = jax.grad(lambda row: jnp.sum(jnp.exp(policies.normalise(row))[0]))(jnp.array([0.0, 1.0, -jnp.inf]))
    assert np.isfinite(np.asarray(slope)[:2]).all()


def test_text_features_count_by_hand():
    prompts, responses = ["What is tea?"], [["Tea is tea", "A drink"]]
    features = policies.text_features(prompts, responses, buckets=64, longest_ngram=1)
    first, second = features[0]
    # "tea" twice and "is" once in two buckets, or three in one: lengths (2, 1) scaled to one
    assert sorted(np.abs(first[:64]).round(4))[-2:] == [0.4472, 0.8944]
    np.testing.assert_allclose(first[64:], [np.log1p(3), 2 / 3, 1.0], rtol=1e-6)
    np.testing.assert_allclose(second[64:], [np.log1p(2), 1.0, 0.0], rtol=1e-6)
    again = policies.text_features(["Who?"], [["tea IS Tea"]], buckets=64, longest_ngram=1)
    np.testing.assert_array_equal(again[0, 0, :64], first[:64])  # words, not their order or case
    ordered = policies.text_features(["Who?"], [["is tea tea", "tea is tea"]], buckets=64, longest_ngram=2)
    assert np.abs(ordered[0, 0, :64] - ordered[0, 1, :64]).max() > 0.1  # pairs of words know the order


def test_text_features_leave_zeros_for_missing_responses():
    features = policies.text_features(["a", "b"], [["x"], ["y", "z"]], buckets=8)
    assert features.shape == (2, 2, 11)
    assert not features[0, 1].any()
    assert features[1, 1].any()


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: policies.tabular(0, 2), "contexts: expected a whole number"),
        (lambda: policies.tabular(2, 1), "at least 2 candidates"),
        (lambda: policies.tabular(2, 2).log_probs(jnp.zeros((2, 2)), [2], [[0]]), "contexts: expected ids in 0..1.*2"),
        (lambda: policies.tabular(2, 2).log_probs(jnp.zeros((2, 2)), [0], [[-2]]), "responses: expected ids in -1..1"),
        (lambda: policies.tabular(2, 2).log_probs(jnp.zeros((2, 2)), [0, 1], [[0]]), "a row for each of 2 contexts"),
        (lambda: policies.tabular(2, 2).log_probs(jnp.zeros((3, 2)), [0], [[0]]), r"params: expected shape \(2, 2\)"),
        (lambda: policies.tabular(2, 2).log_probs(jnp.zeros((2, 2)), [0.5], [[0]]), "dtype float"),
        (lambda: policies.log_linear([[1.0, 2.0]]), "features: expected"),
        (lambda: policies.log_linear([[[np.nan], [1.0]]]), "features: expected finite"),
        (lambda: policies.log_linear([[[1.0], [1.0]]], base=[[0.0]]), r"base: expected shape \(1, 2\)"),
        (lambda: policies.log_linear([[[1.0], [1.0]]], base=[[0.0, np.nan]]), "base: expected log-probabilities"),
        (lambda: policies.log_linear([[[1.0], [1.0]]], base=[[-np.inf, -np.inf]]), "a response in every context"),
        (lambda: policies.log_linear([[[1.0], [1.0]]]).log_probs(jnp.zeros(2), [0], [[0]]), "params: expected shape"),
        (lambda: policies.normalise(0.0), "at least one"),
        (lambda: policies.text_features(["a"], []), "a list for each of 1 prompts"),
        (lambda: policies.text_features(["a"], [[" "]]), "expected text"),
        (lambda: policies.text_features(["a"], ["abc"]), "a list of responses"),
        (lambda: policies.text_features(["a"], [[]]), "a list of responses"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.once
def test_draws_of_candidates_have_the_policys_shares():
    """Tabular and log-linear, with a response left out, one of probability 0, and at other temperatures."""
    log_linear = policies.log_linear(FEATURES, base=BASE)
    table = policies.tabular(3, 4)
    ids = np.tile(np.arange(4), (3, 1))
    ids[2, 0] = -1
    for policy, params in ((table, jnp.asarray(np.linspace(-1, 1, 12).reshape(3, 4))), (log_linear, jnp.ones(5) / 2)):
        for temperature in (1.0, 0.5):
            drawn = np.asarray(
                policies.sample_responses(
                    jax.random.key(0), policy, params, np.arange(3), ids, num=3000, temperature=temperature
                )
            )
            shares = np.exp(np.asarray(policies.normalise(policy.log_probs(params, np.arange(3), ids) / temperature)))
            counted = np.stack([np.mean(drawn == y, axis=1) for y in range(4)], axis=1)
            wanted = np.stack([np.where(ids == y, shares, 0).sum(axis=1) for y in range(4)], axis=1)
            np.testing.assert_allclose(counted, wanted, atol=0.04)
        best = policies.sample_responses(jax.random.key(0), policy, params, [0], ids[:1], num=2, temperature=0.0)
        assert best.tolist() == [[int(policy.log_probs(params, [0], ids[:1])[0].argmax())] * 2]
    first = policies.sample_responses(
        jax.random.key(0), table, params=jnp.zeros((3, 4)), contexts=[0, 1], candidates=ids[:2], num=5
    )
    alone = policies.sample_responses(jax.random.key(0), table, jnp.zeros((3, 4)), [0], ids[:1], num=3)
    assert first[0, :3].tolist() == alone[0].tolist()


@pytest.mark.mistakes
def test_mistakes_of_draws_and_windows():
    table = policies.tabular(1, 2)
    for options, message in (({"num": 0}, "num"), ({"temperature": -1.0, "num": 1}, "temperature")):
        with pytest.raises(ValueError, match=message):
            policies.sample_responses(jax.random.key(0), table, jnp.zeros((1, 2)), [0], [[0, 1]], **options)
    with pytest.raises(ValueError, match="a candidate in every row; got none in row 0"):
        policies.sample_responses(jax.random.key(0), table, jnp.zeros((1, 2)), [0], [[-1, -1]], num=1)
    with pytest.raises(ValueError, match="length: expected at least 2"):
        policies.text_windows("abc", length=1)
    with pytest.raises(ValueError, match="text: expected a text"):
        policies.text_windows("", length=4)
