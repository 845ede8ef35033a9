"""Pools of samples against plain NumPy and against policies over all responses, which can be listed."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pools_by_definition import as_sample_pool, plain_errors, plain_mixture, plain_utility, plain_weights, random_pool

from experiments.pool_coverage import (
    KINDS,
    MASKS,
    SOURCES,
    draw_model,
    draw_pool,
    exact_policies,
    exact_utilities,
    limit_sizes,
    main,
    responses,
)
from jaxval import coalitions, sources, values
from jaxval.coalitions import pools
from jaxval.coalitions.pool_errors import pool_estimates

# Utilities.


def test_utilities_are_those_of_the_definition(rng, close):
    log_probs, rewards = random_pool(rng)
    table = coalitions.tabulate(coalitions.pool_utility(log_probs, rewards), 3)
    log_q = plain_mixture(log_probs)
    close(table, [plain_utility(log_probs, rewards, log_q, mask) for mask in MASKS])
    single = coalitions.tabulate(coalitions.pool_utility(log_probs, rewards[:, :, 0]), 3)
    close(single, table[:, 0])


def test_blocks_of_prompts_change_nothing(rng, close, monkeypatch):
    log_probs, rewards = random_pool(rng)
    whole = coalitions.tabulate(coalitions.pool_utility(log_probs, rewards), 3)
    monkeypatch.setattr(pools, "BLOCK_DRAWS", 2 * 7)  # two prompts: the last of three blocks is filled up
    close(coalitions.tabulate(coalitions.pool_utility(log_probs, rewards), 3), whole)
    by_context = coalitions.pool_utility(log_probs, rewards, by_context=True)
    log_q, members = plain_mixture(log_probs), jnp.array([0.3, 0.0, 1.2])
    each = [
        plain_utility(log_probs[:, [x]], rewards[[x]], log_q[[x]], members) for x in range(len(rewards))
    ]  # prompt by prompt
    close(by_context(members), np.ravel(each))
    shares = plain_weights(log_probs, log_q, members)
    close(coalitions.pool_sizes(log_probs)(members), 1 / (shares**2).sum(axis=1), atol=2e-5)


def test_slots_without_a_draw_and_impossible_responses(rng, close):
    log_probs, rewards = random_pool(rng)
    log_q = plain_mixture(log_probs)
    log_q[1, 4:], rewards[1, 4:] = np.inf, np.nan
    log_probs[0, 2, 0] = log_probs[2, 3, 1] = log_probs[3, 3, 1] = -np.inf
    table = coalitions.tabulate(coalitions.pool_utility(log_probs, rewards, proposal=log_q), 3)
    close(table, [plain_utility(log_probs, rewards, log_q, mask) for mask in MASKS])


def test_all_responses_give_the_exact_policy(rng, close):
    """With every response once and a constant proposal, the weights are those of the policy over all responses."""
    model = draw_model(rng, 3, step=0.7)
    rewards = rng.normal(size=model.scores.shape[1:])
    utility = coalitions.pool_utility(model.scores, rewards, proposal=np.zeros(rewards.shape))
    exact = exact_utilities(model.scores, rewards).mean(axis=1)
    close(coalitions.tabulate(utility, SOURCES), exact)
    close(np.exp(model.scores).sum(axis=2), np.ones((SOURCES + 1, 3)))
    of_catalogue = coalitions.reward_utility(model.scores[0], model.scores[1:], rewards)
    close(coalitions.tabulate(of_catalogue, SOURCES), exact)


def test_utilities_converge_to_the_exact_policy(rng):
    model = draw_model(rng, 4, step=0.5)
    rewards = rng.normal(size=model.scores.shape[1:])
    pool = draw_pool(rng, model, 4096, stratified=False)
    found = estimates(pool.log_probs, np.take_along_axis(rewards, pool.responses, axis=1)[:, :, None])
    gaps = found.utilities[:, 0] - exact_utilities(model.scores, rewards).mean(axis=1)
    assert np.abs(gaps).max() < 4 * found.utility_errors[1].max() < 0.1


def test_gradients_in_the_weights(rng, close, x64):
    """∂u/∂λ_ℓ = E_x Cov(r, s_ℓ - s_0) under the weights of the draws, and the difference quotient of the definition."""
    log_probs, rewards = random_pool(rng)
    rewards, log_q = rewards[:, :, 0], plain_mixture(log_probs)
    at = np.array([0.3, 1.0, -0.4])
    gradient = jax.grad(coalitions.pool_utility(log_probs, rewards))(jnp.asarray(at))
    covariances, quotients = [], []
    shares = plain_weights(log_probs, log_q, at)
    for source in range(3):
        step = log_probs[source + 1] - log_probs[0]
        products = (shares * rewards * step).sum(axis=1) - (shares * rewards).sum(axis=1) * (shares * step).sum(axis=1)
        covariances.append(products.mean())
        nudge = 1e-5 * np.eye(3)[source]
        ends = [plain_utility(log_probs, rewards, log_q, at + sign * nudge) for sign in (1, -1)]
        quotients.append((ends[0] - ends[1]) / 2e-5)
    close(gradient, covariances, atol=1e-12 if x64 else 1e-5)
    close(gradient, quotients, atol=1e-8 if x64 else 1e-5)


@pytest.mark.once
def test_a_pool_goes_wherever_a_utility_goes(rng, close):
    log_probs, rewards = random_pool(rng)
    utility = coalitions.pool_utility(log_probs, rewards)
    table = coalitions.tabulate(utility, 3)
    exact = values.shapley(table)
    close(values.regress_shapley(jax.random.key(0), utility, 3, evaluations=8).values, exact)
    sampled = values.sample_shapley(jax.random.key(0), utility, 3, permutations=6)
    close(sampled.values.sum(axis=0), exact.sum(axis=0))
    grouped = values.sample_shapley(jax.random.key(0), utility, 3, permutations=4, groups=[0, 0, 1])
    close(grouped.values, values.asymmetric_shapley(table, [0, 0, 1]))
    close(coalitions.tabulate(coalitions.evaluator(utility, 3, batch_size=3), 3), table)
    close(jax.jit(utility)(jnp.array([True, False, True])), table[5])


def test_mixtures_of_the_shares_of_a_prompt(rng, close):
    log_probs, _ = random_pool(rng, prompts=2, samples=4)
    labels = np.array([[0, 0, 2, 3], [1, 1, 1, -1]])
    found = coalitions.pool_proposal(log_probs, labels)
    chances = np.exp(log_probs)
    expected = np.stack([(2 * chances[0, 0] + chances[2, 0] + chances[3, 0]) / 4, chances[1, 1]])
    close(np.exp(found)[labels >= 0], expected[labels >= 0])
    assert found[1, 3] == np.inf


# Errors.


def estimates(log_probs, rewards, proposal=None, labels=None, contributions=None):
    weights = np.asarray(jax.jacrev(values.shapley)(jnp.zeros(8))) if contributions is None else contributions
    return pool_estimates(pools.weigh_pool(log_probs, rewards, proposal), MASKS, weights, labels=labels)


@pytest.mark.parametrize("samples", [7, 8])
def test_errors_are_those_of_the_delta_method(rng, close, samples):
    log_probs, rewards = random_pool(rng, samples=samples)
    log_q = plain_mixture(log_probs)
    log_q[2, 5:], rewards[2, 5:] = np.inf, 0
    weights = np.asarray(jax.jacrev(values.banzhaf)(jnp.zeros(8)))
    found = estimates(log_probs, rewards, log_q, contributions=weights)
    utilities, of_utilities, of_values, sizes = plain_errors(log_probs, rewards, log_q, weights)
    close(found.utilities, utilities.mean(axis=1))
    close(found.utility_errors[0], utilities.std(axis=1, ddof=1) / np.sqrt(5))
    close(found.utility_errors[1], of_utilities)
    close(found.values, np.einsum("is,sxr->xir", weights, utilities))
    close(found.within_errors, of_values)
    close(found.median_sizes, np.median(sizes, axis=1), atol=1e-5)


def test_blocks_of_prompts_and_of_coalitions_change_no_error(rng, close, monkeypatch):
    log_probs, rewards = random_pool(rng)
    whole = estimates(log_probs, rewards)
    monkeypatch.setattr(pools, "BLOCK_DRAWS", 2 * 8)
    monkeypatch.setattr("jaxval.coalitions.pool_errors.BATCH", 3)
    for part, expected in zip(estimates(log_probs, rewards), whole, strict=True):
        close(part, expected, atol=1e-5)


@pytest.mark.float64
def test_halves_tell_the_bias(rng):
    """The mean of the estimated biases is the bias itself, over many pools of few draws."""
    model = draw_model(rng, 1, step=1.0)
    rewards = rng.normal(size=model.scores.shape[1:])
    exact = exact_utilities(model.scores, rewards)[:, 0]
    many = type(model)(*(np.repeat(part, 8_000, axis=1) for part in model))
    pool = draw_pool(rng, many, 16, stratified=False)
    reward = np.take_along_axis(np.repeat(rewards, 8_000, axis=0), pool.responses, axis=1)[:, :, None]
    found = estimates(pool.log_probs, reward)
    biases, errors = found.utilities[:, 0] - exact, found.utility_errors[0, :, 0]
    assert np.abs(biases).max() > 5 * errors.max()  # there is a bias to be told
    assert np.abs(found.utility_bias[:, 0] - biases).max() < 0.35 * np.abs(biases).max() + 4 * errors.max()


def test_halves_have_the_same_shares_of_what_draws_came_from(rng):
    labels = rng.permuted(np.repeat([[0, 1, 2, 3]], 5, axis=0).repeat(4, axis=1), axis=1)
    log_probs, rewards = random_pool(rng, samples=16)
    moved = pools.weigh_pool(log_probs, rewards, np.zeros(labels.shape))._replace(rewards=labels[:, :, None])
    from jaxval.coalitions.pool_errors import _in_halves

    halves = _in_halves(moved, labels).rewards[:, :, 0].reshape(5, 2, 8)
    for half in halves.reshape(10, 8):
        assert np.bincount(half).tolist() == [2, 2, 2, 2]


@pytest.mark.float64
def test_intervals_of_a_large_pool_hold(rng):
    """Of 60 intervals of values at 95 %, all but a few hold the exact value."""
    model = draw_model(rng, 60, step=0.5)
    rewards = rng.normal(size=model.scores.shape[1:])
    weights = np.asarray(jax.jacrev(values.shapley)(jnp.zeros(8)))
    exact = weights @ exact_utilities(model.scores, rewards)
    pool = draw_pool(rng, model, 256, stratified=False)
    reward = np.take_along_axis(rewards, pool.responses, axis=1)[:, :, None]
    held = 0
    for x in range(60):
        found = estimates(pool.log_probs[:, [x]], reward[[x]])
        held += np.sum(np.abs(found.values[0, :, 0] - exact[:, x]) <= 1.96 * found.within_errors[:, 0])
    assert 158 <= held <= 179  # of 180 with a chance of .95: 171 on average, with a deviation of 3


# Effective sizes and checks.


def test_effective_sizes(rng, close):
    log_probs, rewards = random_pool(rng)
    found = coalitions.pool_diagnostics(log_probs, refuse=False).effective_sizes
    close(found, plain_errors(log_probs, rewards, plain_mixture(log_probs), np.zeros((1, 8)))[3], atol=1e-5)
    alone = coalitions.pool_diagnostics(log_probs, MASKS[[0, 7]], refuse=False).effective_sizes
    close(alone, found[jnp.array([0, 7])], atol=1e-5)


def test_effective_sizes_tend_to_their_limits(rng):
    model = draw_model(rng, 2, step=0.5)
    pool = draw_pool(rng, model, 20_000, stratified=False)
    found = np.asarray(coalitions.pool_diagnostics(pool.log_probs).effective_sizes) / 20_000
    np.testing.assert_allclose(found, limit_sizes(model.scores), rtol=0.05)


def test_ratios_are_means_over_prompts(rng, close):
    log_probs, _ = random_pool(rng, prompts=2, samples=4)
    labels = np.array([[0, 0, 2, 3], [1, 2, 3, -1]])
    checks = coalitions.pool_diagnostics(log_probs, drawn_from=labels, refuse=False).checks
    log_q = np.asarray(coalitions.pool_proposal(log_probs, labels))
    ratios = np.exp(log_probs - log_q)
    close(checks.mean_ratios, (ratios[:, 0].mean(axis=1) + ratios[:, 1, :3].mean(axis=1)) / 2)


@pytest.mark.once
@pytest.mark.parametrize("labelled", [False, True])
def test_right_pools_are_accepted(rng, labelled):
    """At a level of 1 %, more than 3 of 60 right pools are refused with a chance of 3 in 1,000."""
    refused = 0
    for prompts, samples, step in itertools.islice(itertools.cycle([(4, 24, 0.5), (16, 32, 1.0), (16, 32, 2.0)]), 60):
        pool = draw_pool(rng, draw_model(rng, prompts, step=step), samples, stratified=not labelled)
        labels = pool.labels if labelled else None
        refused += bool(coalitions.pool_diagnostics(pool.log_probs, MASKS[:1], drawn_from=labels, refuse=False).faults)
    assert refused <= 3


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("kind", "labelled", "told"),
    [
        ("scored shorter", False, "mean of π/q"),
        ("shuffled", False, "mean of π/q"),
        ("temperature", True, "all policies together"),
        ("drawn shorter", True, "the draws of source 0"),
        ("exchanged", True, "the draws of source 0"),
    ],
)
def test_wrong_pools_are_refused(rng, kind, labelled, told):
    assert kind in KINDS
    pool = draw_pool(rng, draw_model(rng, 64, step=0.6), 64, kind=kind)
    labels = pool.labels if labelled else None
    with pytest.raises(ValueError, match=r"log_probs: expected log-probabilities π that fit the draws"):
        coalitions.pool_diagnostics(pool.log_probs, MASKS[:1], drawn_from=labels)
    faults = coalitions.pool_diagnostics(pool.log_probs, MASKS[:1], drawn_from=labels, refuse=False).faults
    assert any(told in fault for fault in faults)


def test_exchanged_columns_need_labels(rng):
    pool = draw_pool(rng, draw_model(rng, 64, step=0.6), 64, kind="exchanged")
    assert not coalitions.pool_diagnostics(pool.log_probs, MASKS[:1]).faults


# Values of sources.


def test_values_of_a_pool_are_those_of_its_table(rng, close):
    log_probs, rewards = random_pool(rng)
    pool = as_sample_pool(log_probs, rewards)
    table = coalitions.tabulate(coalitions.pool_utility(log_probs, rewards), 3)
    for name, of_table in (("shapley", values.shapley), ("banzhaf", values.banzhaf)):
        close(sources.value_pool(pool, semivalue=name, refuse=False).values, of_table(table))
    found = sources.value_pool(pool, groups=[0, 1, 1], refuse=False)
    close(found.values, values.asymmetric_shapley(table, [0, 1, 1]))
    close(found.utilities, table)
    assert found.exact
    assert found.names == ("s0", "s1", "s2")


def index_of(mask):
    return jnp.sum(jnp.where(mask, 2 ** jnp.arange(mask.shape[0]), 0))


@pytest.mark.float64
def test_sampled_and_regressed_values_of_a_pool(rng, close):
    log_probs, rewards = random_pool(rng, policies=6)
    pool = as_sample_pool(log_probs, rewards)
    utility = coalitions.pool_utility(log_probs, rewards)
    exact = sources.value_pool(pool, refuse=False)
    key = jax.random.key(3)
    sampled = sources.value_pool(pool, permutations=8, key=key, refuse=False)
    direct = values.sample_shapley(key, utility, 5, permutations=8)
    close(sampled.values, direct.values)
    close(sampled.sampling_errors, direct.standard_errors, atol=1e-5)
    regressed = sources.value_pool(pool, evaluations=20, key=key, refuse=False)
    with pytest.warns(UserWarning, match="evaluations"):
        direct = values.regress_shapley(key, utility, 5, evaluations=20)
    close(regressed.values, direct.values, atol=1e-5)
    close(sources.value_pool(pool, evaluations=32, key=key, refuse=False).values, exact.values, atol=1e-5)
    assert not sampled.exact
    assert not regressed.exact
    # The linear map is what the estimator makes of the 32 games that are 1 for one coalition and 0 for the others.
    games = values.sample_shapley(key, lambda mask: jax.nn.one_hot(index_of(mask), 32), 5, permutations=8)
    every = np.asarray(coalitions.all_coalitions(5))
    errors = plain_errors(log_probs, rewards, plain_mixture(log_probs), np.asarray(games.values), every)[2]
    close(sampled.within_errors, errors, atol=1e-5)
    nearly_all = sources.value_pool(pool, evaluations=28, key=key, refuse=False)
    np.testing.assert_allclose(nearly_all.within_errors, exact.within_errors, rtol=0.3)


def test_candidates_have_no_error_within_prompts(rng, close):
    log_probs, rewards = random_pool(rng)
    found = sources.value_pool(as_sample_pool(log_probs, rewards, proposal=np.zeros((5, 7)), candidates=True))
    table = coalitions.tabulate(coalitions.reward_utility(log_probs[0], log_probs[1:], rewards), 3)
    close(found.values, values.shapley(table))
    assert found.effective_sizes is None
    assert not found.within_errors.any()
    assert not found.unreliable.any()
    assert found.mean_ratios == {}


def test_small_effective_sizes_are_marked_and_a_further_proposal_helps(rng):
    """With steps of some nats the grand coalition has few effective draws of 16, until it is drawn from as well."""
    model = draw_model(rng, 24, step=1.5)
    rewards = rng.normal(size=model.scores.shape[1:])

    def found(pool, labels=None, further=None):
        reward = np.take_along_axis(rewards, pool, axis=1)[:, :, None]
        log_probs = np.take_along_axis(model.scores, np.broadcast_to(pool[None], (SOURCES + 1, *pool.shape)), axis=2)
        return sources.value_pool(as_sample_pool(log_probs, reward, drawn_from=labels, further=further))

    drawn = draw_pool(rng, model, 16)
    few = found(drawn.responses, drawn.labels)
    assert few.effective_sizes[-1] < 10
    assert few.unreliable.all()
    assert (few.weak_shares > 0.1).all()
    grand = exact_policies(model.scores)[-1]
    more = np.stack([rng.choice(len(responses()), size=48, p=chances) for chances in grand])
    both = np.concatenate([drawn.responses, more], axis=1)
    labels = np.concatenate([drawn.labels, np.full(more.shape, SOURCES + 1)], axis=1)
    further = np.take_along_axis(np.log(grand), both, axis=1)[None]
    helped = found(both, labels, further)
    assert helped.effective_sizes[-1] > 3 * few.effective_sizes[-1]
    assert set(helped.mean_ratios) == {"reference", "s0", "s1", "s2", "q0"}


@pytest.mark.once
def test_the_experiment_runs(tmp_path, capsys):
    assert main(["--pools", "2", "--part", "effective", "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["effective"]["largest relative difference at 100,000 draws"] < 0.05
    assert main(["--pools", "2", "--part", "effective", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "largest relative difference" in shown.out
    assert "they are kept" in shown.err


# What users get wrong.


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"log_probs": np.zeros((3, 4))}, r"log_probs: expected \(policies, prompts, samples\)"),
        (
            {"log_probs": np.full((3, 2, 4), 0.5)},
            r"log_probs: expected log-probabilities of whole responses, at most 0",
        ),
        ({"log_probs": np.full((3, 2, 4), np.nan)}, r"at most 0; got nan at \[0, 0, 0\]"),
        ({"log_probs": np.full((1, 2, 4), -1.0)}, r"the reference and at least one source; got 1 policies"),
        ({"log_probs": np.full((3, 2, 4), -np.inf)}, r"every draw to be possible"),
        ({"rewards": np.zeros((2, 5))}, r"rewards: expected \(2, 4\) or \(2, 4, objectives\).* got shape \(2, 5\)"),
        ({"rewards": np.full((2, 4), np.inf)}, r"rewards: expected finite numbers; got inf at \[0, 0, 0\]"),
        ({"proposal": np.zeros((2, 3))}, r"proposal: expected \(prompts, samples\) = \(2, 4\)"),
        ({"proposal": np.full((2, 4), -np.inf)}, r"proposal: expected the log-probability .* got -inf at \[0, 0\]"),
        ({"proposal": np.full((2, 4), np.inf)}, "proposal: .*one drawn response to every prompt; got none to prompt 0"),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    arguments = {"log_probs": np.full((3, 2, 4), -1.0), "rewards": np.zeros((2, 4)), "proposal": None} | changes
    with pytest.raises(ValueError, match=message):
        coalitions.pool_utility(arguments["log_probs"], arguments["rewards"], proposal=arguments["proposal"])


@pytest.mark.mistakes
def test_members_that_leave_no_draw(rng):
    log_probs, rewards = random_pool(rng)
    log_probs[1, 2] = -np.inf
    utility = coalitions.pool_utility(log_probs, rewards)
    assert np.isfinite(utility([False, True, True])).all()
    with pytest.raises(ValueError, match="members that leave a draw of every prompt possible"):
        utility([True, False, False])
    with pytest.raises(ValueError, match=r"NaN|nan"):
        coalitions.tabulate(utility, 3)
    with pytest.raises(ValueError, match=r"members that leave a draw of every prompt possible; got \[0\]"):
        estimates(log_probs, rewards)


@pytest.mark.mistakes
def test_wrong_labels_masks_and_options(rng):
    log_probs, rewards = random_pool(rng)
    with pytest.raises(ValueError, match=r"drawn_from: expected indices of 4 policies, or -1; got 0 to 4"):
        coalitions.pool_proposal(log_probs, np.full((5, 7), 4) - np.eye(5, 7, dtype=int) * 4)
    with pytest.raises(ValueError, match=r"drawn_from: expected \(prompts, samples\)"):
        coalitions.pool_proposal(log_probs, np.zeros((5, 7)))
    with pytest.raises(ValueError, match=r"coalitions: expected \(coalitions, 3\) masks"):
        coalitions.pool_diagnostics(log_probs, [[True, False]], refuse=False)
    with pytest.raises(ValueError, match=r"further: expected \(proposals, 5, 7\)"):
        coalitions.pool_diagnostics(log_probs, further=-np.ones((1, 5, 6)), refuse=False)
    pool = as_sample_pool(log_probs, rewards)
    with pytest.raises(ValueError, match=r"semivalue: expected shapley with groups"):
        sources.value_pool(pool, semivalue="banzhaf", groups=[0, 0, 1])
    with pytest.raises(ValueError, match=r"semivalue: expected shapley if coalitions are sampled"):
        sources.value_pool(pool, semivalue="banzhaf", permutations=4)
    with pytest.raises(ValueError, match=r"semivalue: expected a linear function of a table; got one that is not"):
        sources.value_pool(pool, semivalue=lambda table: values.shapley(table) ** 2, refuse=False)
    linear = sources.value_pool(pool, semivalue=lambda table: 2 * values.shapley(table), refuse=False)
    np.testing.assert_allclose(linear.values, 2 * sources.value_pool(pool, refuse=False).values, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"evaluations: expected permutations or evaluations; got both"):
        sources.value_pool(pool, evaluations=8, permutations=4)
    with pytest.raises(ValueError, match=r"pool: expected at least two responses to every prompt; got one to prompt 0"):
        sources.value_pool(as_sample_pool(log_probs[:, :, :1], rewards[:, :1]), refuse=False)
    log_probs[2] = log_probs[0]
    with pytest.raises(ValueError, match=r"s1 never differs from the reference: its adapter"):
        sources.value_pool(as_sample_pool(log_probs, rewards, proposal=np.zeros((5, 7)), candidates=True))
