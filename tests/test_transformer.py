"""The transformer against its definition in NumPy; padding, cache, sampling, catalogues of texts."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxval import policies, testing
from jaxval.policies.transformer import rotary_frequencies
from jaxval.types import SequenceModel

V, LENGTH = 11, 12
TOKENS = np.array([[1, 2, 3, 4, 5, 6], [3, 1, 4, 0, 0, 0]])
LENGTHS = np.array([6, 3])


@pytest.fixture(scope="session")
def model():
    """Grouped heads, tied."""
    return policies.transformer(vocabulary=V, length=LENGTH, width=16, layers=2, heads=4, key_value_heads=2)


@pytest.fixture(scope="session")
def params(model):
    return model.init(jax.random.key(0))


@pytest.fixture(scope="session")
def bigram():
    """Three tokens, each row of the parameters the logits of what follows one."""
    return SequenceModel(lambda key: jax.random.normal(key, (3, 3)), lambda params, tokens: params[tokens], 3, 8)


def by_definition(params, tokens, *, heads, head_width, epsilon=1e-5, base=10000.0):
    """Logits of one sequence, position by position and head by head."""
    params = jax.tree.map(np.asarray, params)
    x = params["embedding"]["embedding"][tokens]

    def norm(x, scale):
        return scale * x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)

    def rotate(vector, t):
        half = head_width // 2
        pairs = vector[:half] + 1j * vector[half:]
        turned = pairs * np.exp(1j * t * base ** (-np.arange(half) / half))
        return np.concatenate([turned.real, turned.imag])

    for layer in range(len(params["layers"]["attention_norm"]["scale"])):
        block = jax.tree.map(lambda leaf, layer=layer: leaf[layer], params["layers"])
        inner = norm(x, block["attention_norm"]["scale"])
        query, key, value = (inner @ block[name]["kernel"] for name in ("query", "key", "value"))
        shared = key.shape[1] // head_width
        attended = np.zeros_like(query)
        for t, head in itertools.product(range(len(tokens)), range(heads)):
            own = slice(head * head_width, (head + 1) * head_width)
            group = slice(head * shared // heads * head_width, (head * shared // heads + 1) * head_width)
            turned = rotate(query[t, own], t)
            scores = np.array([turned @ rotate(key[s, group], s) for s in range(t + 1)]) / np.sqrt(head_width)
            weights = np.exp(scores - scores.max())
            attended[t, own] = weights / weights.sum() @ value[: t + 1, group]
        x = x + attended @ block["output"]["kernel"]
        inner = norm(x, block["hidden_norm"]["scale"])
        gate = inner @ block["gate"]["kernel"]
        x = x + (gate / (1 + np.exp(-gate)) * (inner @ block["up"]["kernel"])) @ block["down"]["kernel"]
    x = norm(x, params["norm"]["scale"])
    return x @ (params["scores"]["kernel"] if "scores" in params else params["embedding"]["embedding"].T)


def log_softmax(logits):
    logits = np.asarray(logits, dtype=float)
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@pytest.fixture(scope="session")
def rough(x64):
    """Rounding through a few layers."""
    return {"atol": 1e-12 if x64 else 1e-5, "rtol": 0}


def test_logits_follow_the_definition(model, params, rough):
    expected = by_definition(params, TOKENS[0], heads=4, head_width=4)
    np.testing.assert_allclose(model.logits(params, TOKENS)[0], expected, **rough)


def test_an_untied_model_with_heads_of_their_own_follows_the_definition(rough):
    model = policies.transformer(
        vocabulary=V,
        length=6,
        width=6,
        layers=1,
        heads=3,
        head_width=4,
        hidden=5,
        rope_base=50.0,
        epsilon=1e-2,
        tied=False,
    )
    params = model.init(jax.random.key(1))
    expected = by_definition(params, TOKENS[0], heads=3, head_width=4, epsilon=1e-2, base=50.0)
    np.testing.assert_allclose(model.logits(params, TOKENS)[0], expected, **rough)


def test_padding_on_the_right_changes_nothing(model, params, close):
    padded = model.logits(params, TOKENS)
    other = model.logits(params, np.where(np.arange(6) < LENGTHS[:, None], TOKENS, 9))
    assert jnp.array_equal(padded[1, :3], other[1, :3])
    assert not jnp.array_equal(padded[1, 3:], other[1, 3:])
    close(padded[1, :3], model.logits(params, TOKENS[1:, :3])[0])


@pytest.mark.float64
def test_gradients_do_not_see_the_padding(model, params, close):
    def log_prob(params, tokens, lengths):
        return policies.response_log_probs(model, params, [[1, 2], [3, 0]], [2, 1], tokens, lengths).sum()

    gradient = jax.jit(jax.grad(log_prob))
    padded = gradient(params, jnp.array([[4, 5, 6], [7, 8, 8]]), jnp.array([3, 1]))
    alone = gradient(params, jnp.array([[4, 5, 6], [7, 1, 2]]), jnp.array([3, 1]))
    for one, other in zip(jax.tree.leaves(padded), jax.tree.leaves(alone), strict=True):
        close(one, other)


def test_a_position_sees_nothing_to_its_right(model, params):
    changed = TOKENS.copy()
    changed[0, 4] = 10
    before, after = model.logits(params, TOKENS)[0], model.logits(params, changed)[0]
    assert jnp.array_equal(before[:4], after[:4])
    assert (jnp.abs(before[4:] - after[4:]).max(axis=1) > 1e-3).all()


def test_the_cache_gives_the_logits_of_the_whole(model, params, rough):
    """Prompts of 4 and 2 tokens, padded to 4, then what follows them, token by token."""
    whole = np.asarray(model.logits(params, np.concatenate([TOKENS, TOKENS[::-1]], axis=1)))
    logits, cache = model.start(params, np.where([[1] * 4, [1, 1, 0, 0]], TOKENS[:, :4], 7), np.array([4, 2]), 8, 1)
    np.testing.assert_allclose(logits, whole[[0, 1], [3, 1]], **rough)
    follow = np.concatenate([TOKENS, TOKENS[::-1]], axis=1)
    for step in range(8):
        logits, cache = model.advance(params, cache, follow[[0, 1], [4 + step, 2 + step]])
        np.testing.assert_allclose(logits, whole[[0, 1], [4 + step, 2 + step]], **rough)
    beyond, _ = model.advance(params, cache, follow[:, 0])
    assert jnp.isnan(beyond).all()  # the ninth new token, with room for eight


def test_parameters_are_a_plain_tree_in_the_default_precision(params, x64):
    leaves = jax.tree.leaves(params)
    assert type(params) is dict
    assert all(type(leaf) is jax.Array or isinstance(leaf, jax.Array) for leaf in leaves)
    assert {leaf.dtype for leaf in leaves} == {np.dtype("float64" if x64 else "float32")}


def test_stretched_rotary_frequencies():
    """Wavelengths 2π, 20π, 200π, 2000π of a context of 256: below 64 left alone, above 256 divided, mixed between."""
    scaling = policies.RopeScaling(factor=8.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_length=256)
    found = rotary_frequencies(8, base=10000.0, scaling=scaling)
    turns = 256 * 0.1 / (2 * np.pi)
    assert 1 < turns < 8
    mixed = min((turns - 1) / 3, 1)
    np.testing.assert_allclose(found, [1, (1 - mixed) * 0.1 / 8 + mixed * 0.1, 0.01 / 8, 0.001 / 8], rtol=1e-12)


@pytest.mark.once
def test_samples_are_the_same_with_and_without_the_cache(model, params):
    prompts = [[1, 2, 3], [4], [5, 6]]
    for seed in range(4):
        cached = policies.sample(jax.random.key(seed), model, params, prompts, num_tokens=6, end=3)
        anew = policies.sample(jax.random.key(seed), model, params, prompts, num_tokens=6, end=3, cache=False)
        assert jnp.array_equal(cached.tokens, anew.tokens)
        assert jnp.array_equal(cached.lengths, anew.lengths)
        ends = np.array([[*row, 3].index(3) + 1 for row in cached.tokens.tolist()])
        assert cached.lengths.tolist() == np.minimum(ends, 6).tolist()


@pytest.mark.once
def test_samples_of_a_row_do_not_depend_on_the_other_rows(bigram):
    params = bigram.init(jax.random.key(0))
    one = policies.sample(jax.random.key(1), bigram, params, [[0], [1, 2]], num_tokens=5)
    other = policies.sample(jax.random.key(1), bigram, params, [[0], [0, 0]], num_tokens=5)
    assert jnp.array_equal(one.tokens[0], other.tokens[0])


@pytest.mark.once
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_follow_the_softmax(bigram, temperature):
    """Two tokens after a 0: the nine frequencies of 4,000 samples against their probabilities (chi², 8 degrees)."""
    params, rows = bigram.init(jax.random.key(0)), 4000
    prompts = (jnp.zeros((rows, 1), dtype=int), jnp.ones(rows, dtype=int))
    found = np.asarray(
        policies.sample(jax.random.key(2), bigram, params, prompts, num_tokens=2, temperature=temperature).tokens
    )
    chances = np.exp(log_softmax(np.asarray(params) / temperature))
    expected = rows * chances[0][:, None] * chances
    counts = np.zeros((3, 3))
    np.add.at(counts, (found[:, 0], found[:, 1]), 1)
    assert ((counts - expected) ** 2 / expected).sum() < 26.1  # exceeded once in 1,000


@pytest.mark.once
def test_temperature_zero_takes_the_most_likely(bigram):
    params = jnp.array([[0.0, 2.0, 1.0], [1.0, 0.0, 2.0], [3.0, 3.0, 0.0]])
    found = policies.sample(jax.random.key(0), bigram, params, [[0]], num_tokens=4, temperature=0.0)
    assert found.tokens.tolist() == [[1, 2, 0, 1]]


@pytest.mark.once
def test_a_model_over_a_catalogue_keeps_the_contract(bigram):
    policy = policies.over_catalogue(bigram, [[1], [2, 0], [0]], [[[0, 2], [1]]] * 3)
    testing.check_policy(policy, contexts=3, responses=2)


PROMPTS = [[1, 2], [3], [4, 5, 6]]
RESPONSES = [[[7, 8, 10], [9, 10]], [[10]], [[1, 2, 3, 10], [4, 10], [5, 6, 10]]]
CONTEXTS, IDS = np.array([0, 2, 1, 2]), np.array([[0, 1, -1], [2, 0, 1], [-1, 0, -1], [1, 1, 1]])


@pytest.fixture(scope="session")
def policy(model):
    return policies.over_catalogue(model, PROMPTS, RESPONSES)


def test_log_probabilities_of_responses_are_sums_over_their_tokens(model, params, policy, rough):
    found = np.asarray(policy.log_probs(params, CONTEXTS, IDS))
    for (row, column), value in np.ndenumerate(found):
        if IDS[row, column] == -1:
            assert value == -np.inf
            continue
        prompt = PROMPTS[CONTEXTS[row]]
        response = RESPONSES[CONTEXTS[row]][IDS[row, column]]
        logits = log_softmax(by_definition(params, np.array(prompt + response), heads=4, head_width=4))
        expected = sum(logits[len(prompt) + t - 1, token] for t, token in enumerate(response))
        np.testing.assert_allclose(value, expected, **rough)


def test_batches_give_the_same_values_and_gradients(bigram, close):
    params = bigram.init(jax.random.key(0))
    prompts, responses = [[1, 2], [0]], [[[1, 0], [2], [2, 2, 1]], [[2], [0, 0]]]
    contexts, ids = np.array([0, 1, 0]), np.array([[0, 1, 2], [1, 0, -1], [-1, 2, 2]])

    def found(size):
        policy = policies.over_catalogue(bigram, prompts, responses, batch_size=size)

        @jax.jit
        def total(params):
            log_probs = policy.log_probs(params, contexts, ids)
            return jnp.sum(jnp.where(ids < 0, 0, log_probs)), log_probs

        return jax.value_and_grad(total, has_aux=True)(params)

    (_, whole), whole_gradient = found(None)
    (_, batched), batched_gradient = found(4)
    assert (np.isfinite(whole) == (ids >= 0)).all()
    assert jnp.isfinite(whole_gradient).all()
    close(batched, whole)
    close(batched_gradient, whole_gradient, atol=1e-5)


def test_all_responses_of_a_length_share_one_probability(bigram):
    """Σ_y π(y|x) over all 27 sequences of three tokens is 1."""
    every = [list(ids) for ids in itertools.product(range(3), repeat=3)]
    policy = policies.over_catalogue(bigram, [[0, 2]], [every])
    log_probs = policy.log_probs(policy.init(jax.random.key(3)), [0], [list(range(27))])
    assert float(jnp.exp(log_probs).sum()) == pytest.approx(1, abs=1e-6)


def test_ids_outside_the_catalogue_are_nan_inside_jit(bigram):
    policy = policies.over_catalogue(bigram, [[0], [1]], [[[1], [2]], [[1]]])
    found = jax.jit(policy.log_probs)(jnp.zeros((3, 3)), jnp.array([1, 2]), jnp.array([[1, 0, -1], [0, -1, -1]]))
    assert jnp.isnan(found).tolist() == [[True, False, False], [True, False, False]]
    assert found[0, 2] == -jnp.inf


def test_log_probabilities_of_tokens(bigram, close):
    params = bigram.init(jax.random.key(0))
    prompts, prompt_lengths = policies.pad_sequences([[1, 2], [0]], pad=1)
    tokens, lengths = policies.pad_sequences([[2], [1, 0, 2]], pad=1)
    take = jax.jit(lambda *arrays: policies.response_log_probs(bigram, *arrays))
    found = take(params, prompts, prompt_lengths, tokens, lengths)
    chances = log_softmax(params)
    close(found, [[chances[2, 2], 0, 0], [chances[0, 1], chances[1, 0], chances[0, 2]]])


def test_lengths_of_responses_count_the_end_token():
    arrays = policies.catalogue(PROMPTS, RESPONSES, length=LENGTH)
    assert policies.response_lengths(arrays, CONTEXTS, IDS).tolist() == [[3, 2, 0], [3, 4, 2], [0, 1, 0], [2, 2, 2]]


def test_entropies_of_the_next_token(bigram, close):
    params = jnp.array([[0.0, 1.0, 2.0], [0.0, 0.0, -jnp.inf], [5.0, 5.0, 5.0]])
    found = policies.next_token_entropies(bigram, params, [[0, 1, 2, 0]], [1], [3])
    chances = np.exp(log_softmax(np.array([0.0, 1.0, 2.0])))
    close(found, [[-(chances * np.log(chances)).sum(), np.log(2), 0]])


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.text(max_size=20))
def test_bytes_go_there_and_back(text):
    tokeniser = policies.byte_tokeniser()
    ids = tokeniser.encode(text)
    assert all(0 <= i < 256 for i in ids)
    assert tokeniser.decode([tokeniser.begin, *ids, tokeniser.end, tokeniser.pad]) == text


@pytest.mark.once
def test_texts_and_their_ids_are_one_policy(model):
    texts = SequenceModel(
        lambda key: jnp.zeros(259), lambda params, tokens: jnp.cos(params[None, None, :] + tokens[..., None]), 259, 9
    )
    prompts, responses = ["hi", "né"], [["a", "bc"], ["é"]]
    ids = policies.encode_catalogue(prompts, responses, length=9)
    assert ids == (
        [[256, 104, 105], [256, 110, 195, 169]],
        [[[97, 257], [98, 99, 257]], [[195, 169, 257]]],
    )
    params = jnp.arange(259.0)
    one, other = (policies.over_catalogue(texts, *both) for both in ((prompts, responses), ids))
    assert jnp.array_equal(
        one.log_probs(params, [0, 1], [[0, 1], [0, -1]]), other.log_probs(params, [0, 1], [[0, 1], [0, -1]])
    )


@pytest.mark.once
def test_cut_texts_keep_the_end_of_the_prompt_and_the_start_of_the_response():
    found = policies.encode_catalogue(["abcdef"], [["uvwxyz", "u"]], length=7, truncate=(4, 3))
    assert found == ([[256, 100, 101, 102]], [[[117, 118, 119], [117, 257]]])


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m, p: policies.transformer(vocabulary=5, length=0, width=8, layers=1, heads=2), "length: .* got 0"),
        (
            lambda m, p: policies.transformer(vocabulary=5, length=4, width=8, layers=1, heads=4, key_value_heads=3),
            "heads: expected a multiple of key_value_heads=3; got 4",
        ),
        (lambda m, p: policies.transformer(vocabulary=5, length=4, width=9, layers=1, heads=2), "width: .* heads=2"),
        (lambda m, p: policies.transformer(vocabulary=5, length=4, width=6, layers=1, heads=2), "head_width: .* even"),
        (lambda m, p: m.logits(p, [[1, V]]), f"tokens: expected ids in .0, {V}.*got {V}"),
        (lambda m, p: m.logits(p, [[-1]]), "tokens: .*got -1"),
        (lambda m, p: m.logits(p, [1, 2]), r"tokens: expected \(B, T\)"),
        (lambda m, p: m.logits(p, np.zeros((1, 13), dtype=int)), "length=12 tokens; got 13"),
        (lambda m, p: m.start(p, [[1, 2]], [0], 1, 1), r"lengths: expected numbers in \[1, 2\]; got 0 in row 0"),
        (lambda m, p: m.start(p, [[1, 2]], [1, 1], 1, 1), "lengths: expected one for each of 1 rows"),
        (lambda m, p: policies.over_catalogue(m, [[]], [[[1]]]), "prompts: .* begin; got none in context 0"),
        (
            lambda m, p: policies.over_catalogue(m, [[1]], [[[1], []]]),
            "no empty response; got an empty response 1 of context",
        ),
        (lambda m, p: policies.over_catalogue(m, [[1]], [[]]), "at least one candidate for context 0"),
        (lambda m, p: policies.over_catalogue(m, [[1]], []), "candidates for each of 1 prompts"),
        (lambda m, p: policies.over_catalogue(m, [[1] * 10], [[[1] * 3]]), "length=12 .* got 10 \\+ 3 in context 0"),
        (lambda m, p: policies.over_catalogue(m, [[1]], [[[V]]]), f"prompts, responses: .* got {V}"),
        (lambda m, p: policies.over_catalogue(m, ["a"], [["b"]]), "vocabulary of at least 259 for texts; got 11"),
        (lambda m, p: policies.encode_catalogue(["a" * 9], [["b"]], length=8), r"got 10 \+ 2 .* truncate="),
        (lambda m, p: policies.encode_catalogue(["a"], [[""]], length=8), "no empty response"),
        (lambda m, p: policies.encode_catalogue(["a"], ["b"], length=8), "list of at least one candidate"),
        (lambda m, p: policies.over_catalogue(m, [], []), "each of 0 prompts, and at least one prompt"),
        (lambda m, p: policies.over_catalogue(m, [[1]], [["b"]]), "responses: expected sequences of ids, or texts"),
        (lambda m, p: policies.over_catalogue(m, [[0.5]], [[[1]]]), "prompts: .* got .0.5. in context 0"),
        (lambda m, p: policies.encode_catalogue(["a"], [[[1]]], length=8), "responses: expected texts; got .1."),
        (lambda m, p: policies.encode_catalogue(["a"], [["b"]], length=8, truncate=4), "truncate: .* got 4"),
        (lambda m, p: m.logits({**p, "layers": {}}, [[1]]), "params: expected layers/.*; got parameters without it"),
        (lambda m, p: m.start({}, [[1]], [1], 1, 1), "params: expected embedding; got parameters without it"),
        (
            lambda m, p: m.logits({**p, "norm": {"scale": jnp.ones(3)}}, [[1]]),
            r"params: expected norm/scale of shape .16,.; got .3,.",
        ),
        (lambda m, p: policies.sample(jax.random.key(0), m, p, [[]], num_tokens=1), "one token in each"),
        (lambda m, p: policies.sample(jax.random.key(0), m, p, [[1]], num_tokens=12), "got 1 \\+ 12"),
        (lambda m, p: policies.sample(jax.random.key(0), m, p, [[1]], num_tokens=1, end=V), "end: .* got 11"),
        (
            lambda m, p: policies.sample(jax.random.key(0), m, p, [[1]], num_tokens=1, temperature=-1.0),
            "temperature: .* got -1",
        ),
    ],
)
def test_mistakes_are_named(model, params, call, said):
    with pytest.raises(ValueError, match=said):
        call(model, params)


@pytest.mark.mistakes
def test_ids_outside_the_catalogue_are_named(policy, params):
    with pytest.raises(ValueError, match=r"contexts: expected ids in \[0, 3\).* got 3"):
        policy.log_probs(params, [3], [[0]])
    with pytest.raises(ValueError, match=r"responses: expected ids in \[0, 1\) for context 1.* got 1"):
        policy.log_probs(params, [0, 1], [[1], [1]])
    with pytest.raises(ValueError, match=r"responses: .* got -2"):
        policy.log_probs(params, [0], [[-2]])
    with pytest.raises(ValueError, match="a row for each of 1 contexts; got 2"):
        policy.log_probs(params, [0], [[0], [1]])
