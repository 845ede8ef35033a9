"""Prompts that are read once for all their responses, against a full forward pass for each whole sequence."""

import functools
import importlib
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import coalitions, policies, sources
from jaxval.coalitions import TokenArithmetic, combine_next_tokens, score_coalitions, token_arithmetic
from jaxval.types import SequenceModel

V = 5
PROMPTS = [[1, 2, 3], [4]]
RESPONSES = [[[2, 2], [3, 1, 4], [1]], [[1, 2, 3], [4]]]


@pytest.fixture(scope="session")
def base():
    return policies.transformer(vocabulary=V, length=10, width=8, layers=3, heads=2, key_value_heads=1)


@pytest.fixture(scope="session")
def params(base):
    return jax.tree.map(lambda leaf: 2 * leaf, base.init(jax.random.key(0)))  # far from uniform


@pytest.fixture(scope="session")
def adapted(base, params):
    """Adapters of the last two of three layers, and three of them whose B is not zero."""
    model = policies.low_rank(base, params, rank=2, alpha=3.0, layers=2)
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return model, [jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), shapes)] + [
        jax.tree.map(lambda leaf: jnp.asarray(0.7 * rng.normal(size=leaf.shape), leaf.dtype), shapes) for _ in range(2)
    ]


@pytest.fixture(scope="session")
def grouped(base):
    return policies.group_responses(base, PROMPTS, RESPONSES)


@pytest.fixture(scope="session")
def rough(x64):
    return {"atol": 1e-11 if x64 else 3e-5, "rtol": 0}


def by_definition(logits_of, prompts=PROMPTS, responses=RESPONSES, width=3):
    """The log-probability of each token, from the logits of one whole sequence after the other."""
    found = np.zeros((len(prompts), max(map(len, responses)), width))
    for row, (prompt, some) in enumerate(zip(prompts, responses, strict=True)):
        for column, response in enumerate(some):
            sequence = [*prompt, *response]
            logits = np.asarray(logits_of(np.array([sequence])), float)[0]
            log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
            for t, token in enumerate(response):
                found[row, column, t] = log_probs[len(prompt) + t - 1, token]
    return found


def test_scores_are_those_of_whole_sequences(base, params, adapted, grouped, rough):
    model, (one, *_) = adapted
    of_base = policies.score_responses(base, params, grouped)
    np.testing.assert_allclose(of_base, by_definition(functools.partial(base.logits, params)), **rough)
    of_one = by_definition(functools.partial(model.logits, one))
    np.testing.assert_allclose(policies.score_responses(model, one, grouped), of_one, **rough)
    assert np.abs(of_one - of_base).max() > 0.1
    without_parts = policies.score_responses(base._replace(parts=None), params, grouped)
    np.testing.assert_allclose(without_parts, of_base, **rough)


def test_the_trunk_is_the_same_for_all_adapters(adapted, grouped, rough):
    model, (one, other, _) = adapted
    states = policies.trunk_states(model, grouped)
    for adapter in (one, other):
        kept = policies.score_responses(model, adapter, grouped, states=states)
        np.testing.assert_allclose(kept, policies.score_responses(model, adapter, grouped), **rough)


def test_adapters_of_the_last_layers_are_merged_into_them(base, params, adapted):
    merged = policies.merge(params, adapted[1][0], alpha=3.0)["layers"]["query"]["kernel"]
    kernel, adapter = params["layers"]["query"]["kernel"], adapted[1][0]["layers"]["query"]
    assert jnp.array_equal(merged[0], kernel[0])
    np.testing.assert_allclose(merged[1:], kernel[1:] + 1.5 * adapter["A"] @ adapter["B"], atol=1e-5)
    again = policies.low_rank(base, params, rank=2, alpha=3.0, layers=2, merged=True)
    tokens = np.array([[1, 2, 3, 4]])
    unmerged = adapted[0].logits(adapted[1][0], tokens)
    np.testing.assert_allclose(again.logits(adapted[1][0], tokens), unmerged, atol=1e-4)


@pytest.mark.once
def test_a_policy_over_a_catalogue_and_its_gradient(adapted, rough):
    """With the trunk kept, in batches, against a model that has no parts."""
    model, (one, *_) = adapted
    ids = np.array([[0, 2], [1, -1]])
    policy = policies.over_catalogue(model, PROMPTS, RESPONSES, batch_size=2)
    plain = policies.over_catalogue(model._replace(parts=None), PROMPTS, RESPONSES)

    def total(policy, adapter):
        return jnp.sum(jnp.where(ids >= 0, policy.log_probs(adapter, np.array([0, 1]), ids), 0))

    values, gradients = zip(
        *(jax.value_and_grad(functools.partial(total, p))(one) for p in (policy, plain)), strict=True
    )
    np.testing.assert_allclose(*values, **rough)
    for ours, theirs in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=10 * rough["atol"])


@pytest.mark.once
def test_states_that_need_much_memory_are_computed_anew(adapted, monkeypatch):
    model, (one, *_) = adapted
    kept = policies.over_catalogue(model, PROMPTS, RESPONSES)
    monkeypatch.setattr(importlib.import_module("jaxval.policies.catalogue"), "KEPT", 10)
    anew = policies.over_catalogue(model, PROMPTS, RESPONSES)
    both = [policy.log_probs(one, np.array([0, 1]), np.array([[0, 1], [1, 0]])) for policy in (kept, anew)]
    assert kept.log_probs.args[0][1] is not None
    assert anew.log_probs.args[0][1] is None
    np.testing.assert_allclose(*both, atol=1e-5)


@pytest.mark.once
def test_responses_to_one_prompt_are_drawn_as_to_copies_of_it(base, params):
    key = jax.random.key(3)
    together = policies.sample(key, base, params, PROMPTS, num_tokens=4, responses=3, end=0)
    copies = [prompt for prompt in PROMPTS for _ in range(3)]
    alone = policies.sample(key, base, params, copies, num_tokens=4, cache=False, end=0)
    assert jnp.array_equal(together.tokens, alone.tokens)
    assert jnp.array_equal(together.lengths, alone.lengths)
    assert len({tuple(row) for row in together.tokens.tolist()}) > 3


@pytest.mark.once
def test_wide_vocabularies_are_drawn_from_in_blocks():
    """600 tokens are three blocks; some tokens are impossible, and temperatures scale the logits."""
    logits = np.random.default_rng(0).normal(size=600) + np.where(np.arange(600) % 7 == 0, 4.0, 0.0)
    logits[np.arange(600) % 5 == 1] = -np.inf
    model = SequenceModel(
        lambda key: jnp.asarray(logits), lambda params, tokens: jnp.broadcast_to(params, (*tokens.shape, 600)), 600, 2
    )
    drawn = policies.sample(
        jax.random.key(0), model, model.init(None), [[0]], num_tokens=1, responses=20_000, temperature=2.0
    )
    counts = np.bincount(np.asarray(drawn.tokens)[:, 0], minlength=600)
    expected = np.exp(logits / 2) / np.exp(logits / 2).sum() * 20_000
    assert (counts[expected == 0] == 0).all()
    possible = expected > 0
    chi_square = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    degrees = possible.sum() - 1
    assert abs(chi_square - degrees) < 5 * np.sqrt(2 * degrees)


def test_coalitions_by_tokens_are_scored_as_defined(adapted, grouped, rough):
    model, trained = adapted
    reference = jax.tree.map(jnp.zeros_like, trained[0])
    every = TokenArithmetic(jnp.ones(3), reference, jax.tree.map(lambda *leaves: jnp.stack(leaves), *trained))
    masks = np.asarray(coalitions.all_coalitions(3), float)
    found = score_coalitions(model, every, grouped, masks, states=policies.trunk_states(model, grouped))

    def logits(mask, tokens):
        each = np.stack([model.logits(one, tokens) for one in trained])
        return combine_next_tokens(model.logits(reference, tokens), each, mask)

    for row in (0, 3, 7):
        expected = by_definition(functools.partial(logits, masks[row])).sum(axis=2)
        np.testing.assert_allclose(found[row], expected, atol=3 * rough["atol"])
    heated = score_coalitions(model, every, grouped, masks[7:], temperature=2.0)
    expected = by_definition(lambda tokens: np.asarray(logits(masks[7], tokens)) / 2).sum(axis=2)
    np.testing.assert_allclose(heated[0], expected, atol=3 * rough["atol"])


@pytest.mark.once
def test_coalitions_of_adapters_are_sampled_with_one_trunk(adapted):
    model, trained = adapted
    reference = jax.tree.map(jnp.zeros_like, trained[0])
    every = TokenArithmetic(jnp.ones(2), reference, jax.tree.map(lambda *leaves: jnp.stack(leaves), *trained[:2]))
    combined = token_arithmetic(model, 2)
    _, cache = combined.start(every, jnp.array([[1, 2]]), jnp.array([2]), 3, 2)
    assert cache.below[0].shape[0] == 1  # one layer, and no axis of policies
    assert cache.above[0].shape[:2] == (3, 2)  # the policies, and their layers
    draw = functools.partial(policies.sample, jax.random.key(5), combined, every, PROMPTS, num_tokens=4, responses=2)
    assert jnp.array_equal(draw().tokens, draw(cache=False).tokens)


def test_entropies_are_those_of_whole_sequences(base, params, grouped, rough):
    found = policies.response_entropies(base, params, grouped)
    whole = policies.next_token_entropies(base, params, np.array([[1, 2, 3, 3, 1, 4]]), [3], [6])
    np.testing.assert_allclose(found[0, 1], whole[0, 2:5], **rough)
    assert found[1, 2].tolist() == [0, 0, 0]  # there is no such response


@pytest.fixture(scope="session")
def pool(adapted):
    """The arguments of `draw_pool` for two sources, and what it returns."""
    model, trained = adapted
    how = {"samples": 64, "new_tokens": 2, "end": 0}
    arguments = (jax.random.key(1), model, jax.tree.map(jnp.zeros_like, trained[0]), trained[1:], PROMPTS)
    return arguments, how, sources.draw_pool(*arguments, **how)


def test_a_pool_is_scored_as_defined_and_gives_the_exact_utilities(pool, rough):
    """Every response of at most two tokens can be listed, so that the policy of a coalition is known."""
    (_, model, reference, trained, _), _, draws = pool
    assert draws.tokens.shape == (2, 64, 2)
    texts = [
        [row[:n].tolist() for row, n in zip(*some, strict=True)]
        for some in zip(draws.tokens, draws.lengths, strict=True)
    ]
    for policy, params in enumerate((reference, *trained)):
        expected = by_definition(functools.partial(model.logits, params), PROMPTS, [row[:20:4] for row in texts], 2)
        np.testing.assert_allclose(draws.log_probs[policy, :, :20:4], expected.sum(axis=2), **rough)
    listed = [[0], *([a, b] for a, b in itertools.product(range(1, V), range(V)))]
    rewards = np.random.default_rng(0).uniform(size=len(listed))
    scores = np.array([[[rewards[listed.index(text)]] for text in row] for row in texts])
    sampled = sources.pool_of_draws(draws, scores, prompts=["a", "b"], sources=["s", "t"], rewards=["r"], title="all")
    found = sources.value_pool(sampled)
    every = policies.group_responses(model, PROMPTS, [listed] * 2)
    logs = np.stack([policies.score_responses(model, params, every).sum(axis=2) for params in (reference, *trained)])
    np.testing.assert_allclose(np.exp(logs).sum(axis=2), 1, atol=1e-5)
    exact = coalitions.tabulate(coalitions.reward_utility(logs[0], logs[1:], np.stack([rewards] * 2)), 2)
    errors = np.abs(found.utilities[:, 0] - np.asarray(exact)) / found.utility_errors[1][:, 0]
    assert errors.max() < 4
    assert found.draws == 128


@pytest.mark.once
def test_a_pool_that_was_interrupted_is_the_same(pool, tmp_path):
    arguments, how, draws = pool
    kept = sources.draw_pool(*arguments, **how, folder=tmp_path)
    for name in ("drawn-1-0.npz", "scores-1.npz"):
        (tmp_path / name).unlink()
    again = sources.draw_pool(*arguments, **how, folder=tmp_path)
    for one, other, third in zip(draws[1:5], kept[1:5], again[1:5], strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, third)


@pytest.mark.once
def test_draws_at_a_temperature_are_proposals_of_their_own(pool):
    arguments, how, _ = pool
    draws = sources.draw_pool(*arguments, **how, temperature=1.5)
    assert draws.proposals[0] == "reference at temperature 1.5"
    assert draws.drawn_from.min() == 3
    checked = coalitions.pool_diagnostics(
        draws.log_probs, drawn_from=draws.drawn_from, further=draws.proposal_log_probs
    )
    assert not checked.faults


BIGRAM = SequenceModel(lambda key: jnp.zeros((3, 3)), lambda params, tokens: params[tokens], 3, 8)


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m, p, g: policies.group_responses(m, [[1]], [[[5]]]), r"responses: expected ids in \[0, 5\)"),
        (lambda m, p, g: policies.group_responses(m, [[]], [[[1]]]), "prompts: expected sequences of at least one id"),
        (lambda m, p, g: policies.group_responses(m, [[1] * 9], [[[1, 2]]]), r"length=10 tokens together; got 9 \+ 2"),
        (lambda m, p, g: policies.group_responses(m, [[1]], []), "responses: expected a list for each of 1 prompts"),
        (lambda m, p, g: policies.trunk_states(m, g), "adapters in the last layers; got one whose layers all depend"),
        (lambda m, p, g: policies.low_rank(m, p, rank=1, alpha=1.0, layers=4), "got 4 for a model of 3 layers"),
        (
            lambda m, p, g: policies.low_rank(
                BIGRAM, {"q": {"kernel": jnp.eye(2)}}, rank=1, alpha=1, targets=["q"], layers=1
            ),
            "got 1 for a model without parts",
        ),
        (lambda m, p, g: policies.response_states(BIGRAM, p, g), "model: expected a model with parts"),
        (lambda m, p, g: policies.sample(jax.random.key(0), m, p, [[1]], num_tokens=1, responses=0), "responses: "),
        (
            lambda m, p, g: sources.draw_pool(
                jax.random.key(0), m, p, [p], [[1]], samples=3, new_tokens=2, temperature=0.0
            ),
            "temperature: expected a number above 0; got 0",
        ),
        (
            lambda m, p, g: sources.draw_pool(jax.random.key(0), m, p, [p], [[1] * 9], samples=3, new_tokens=2),
            "new_tokens: expected at most 1 beside a prompt of 9 tokens, since the model reads 10 together; got 2",
        ),
    ],
)
def test_mistakes_are_named(base, params, grouped, call, said):
    with pytest.raises(ValueError, match=said):
        call(base, params, grouped)
