"""Arithmetic of tokens and of parameters: language model arithmetic, responses by enumeration, merged adapters."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import coalitions, policies
from jaxval.coalitions import TokenArithmetic, add_adapters, add_parameters, combine_next_tokens, token_arithmetic
from jaxval.types import SequenceModel

V, SOURCES = 4, 3
FORMULAS = {  # rows of scores, and their coefficients; what the norm divides by is in the file
    "M1+M2": lambda m, c: ([m[0], m[1]], [1, 1]),
    "M1-0.6*M2": lambda m, c: ([m[0], m[1]], [1, -0.6]),
    "2*M1+0.5*M2-0.5*M3": lambda m, c: (list(m), [2, 0.5, -0.5]),
    "Union(M1,M2)": lambda m, c: ([np.maximum(m[0], m[1])], [1]),
    "Intersection(M1,M2)": lambda m, c: ([np.minimum(m[0], m[1])], [1]),
    "M1-0.6*M2+2*Union(M1,M3)": lambda m, c: ([m[0], m[1], np.maximum(m[0], m[2])], [1, -0.6, 2]),
    "M1-0.9*Union(M1,M2)": lambda m, c: ([m[0], np.maximum(m[0], m[1])], [1, -0.9]),
    "M1+C (classifier, norm 0)": lambda m, c: ([m[0] + c], [1]),
    "M1+2*C": lambda m, c: ([m[0] + c], [2]),  # two steps from M1 towards M1 + C
    "TopPTopK(M1,top_k=3)+M2": lambda m, c: ([np.where(m[0] >= np.sort(m[0])[-3], m[0], -np.inf), m[1]], [1, 1]),
}


def test_formulas_of_language_model_arithmetic(vectors_path):
    """All are weighted sums of scores: of models, of maxima and minima of two, of a model tilted by a classifier."""
    cases = json.loads(vectors_path("lm_arithmetic.json").read_text(encoding="utf-8"))
    assert {case["formula"] for case in cases} == set(FORMULAS)
    combine = jax.jit(combine_next_tokens)
    for case in cases:
        scores = {name: np.array(values) for name, values in case["inputs"].items()}
        models = np.array([scores["M1"], scores["M2"], scores["M3"]])
        rows, coefficients = FORMULAS[case["formula"]](models, scores["C"])
        found = combine(models[0], np.array(rows), np.array(coefficients) / np.mean(case["norm"]))
        expected = np.array(case["logprobs"])
        cut = expected < -1e6  # their -10^8 for a token that is cut off
        assert (np.asarray(found)[cut] == -np.inf).all()
        np.testing.assert_allclose(np.asarray(found)[~cut], expected[~cut], atol=1e-5, rtol=1e-5)


def look_up(params, tokens):
    """Logits (V,) of what follows two tokens; in front of the first stands a 0."""
    before = jnp.pad(tokens[:, :-1], ((0, 0), (1, 0)))
    return params[before, tokens]


def begin(params, tokens, lengths, room, copies):
    at = jnp.arange(len(tokens)), lengths - 1
    return jnp.repeat(look_up(params, tokens)[at], copies, axis=0), jnp.repeat(tokens[at], copies)


TRIGRAM = SequenceModel(
    lambda key: jax.random.normal(key, (V, V, V)),
    look_up,
    V,
    8,
    begin,
    lambda params, last, tokens: (params[last, tokens], tokens),
)


@pytest.fixture(scope="session")
def tiny():
    return policies.transformer(vocabulary=V, length=8, width=8, layers=1, heads=2)


@pytest.fixture(scope="session")
def both():
    """A reference, three sources, and the model of their coalitions."""
    combined = token_arithmetic(TRIGRAM, SOURCES)
    return combined, combined.init(jax.random.key(0))


def one_of(stacked, i):
    return jax.tree.map(lambda leaf: leaf[i], stacked)


def log_probs_of_all(model, params, length):
    """log π(y|x) of all sequences of a length after the prompt 0."""
    every = np.array(list(itertools.product(range(V), repeat=length)))
    rows = np.concatenate([np.zeros((len(every), 1), dtype=int), every], axis=1)
    logits = np.asarray(model.logits(params, rows))[:, :-1]
    tokens = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return np.take_along_axis(tokens, every[..., None], axis=-1)[..., 0].sum(axis=1)


@pytest.fixture(scope="session", params=[1, 5])
def gaps(request, both):
    """For each coalition of three: the largest difference of log-probabilities of token and response arithmetic, and
    their divergence Σ_y π_token(y) (log π_token(y) - log π_response(y)); both over all 4^length responses."""
    combined, params = both
    reference = log_probs_of_all(TRIGRAM, params.reference, request.param)
    sources = np.array([log_probs_of_all(TRIGRAM, one_of(params.sources, i), request.param) for i in range(SOURCES)])
    found = []
    combine = jax.jit(coalitions.combine)
    for coalition in coalitions.all_coalitions(SOURCES):
        at_tokens = log_probs_of_all(combined, params._replace(coalition=coalition), request.param)
        at_responses = np.asarray(combine(reference, sources, coalition.astype(float)))
        assert np.exp(at_tokens).sum() == pytest.approx(1, abs=1e-5)
        difference = at_tokens - at_responses
        found.append((np.abs(difference).max(), np.exp(at_tokens) @ difference))
    return request.param, np.array(found)


def test_tokens_and_responses_differ_only_beyond_one_token(gaps, x64):
    length, found = gaps
    for size, (largest, divergence) in zip(coalitions.coalition_sizes(SOURCES).tolist(), found, strict=True):
        print(f"length {length}, |S| = {size}: largest gap in log π {largest:.2e}, divergence {divergence:.2e}")
    rounding = 1e-12 if x64 else 1e-5
    together = coalitions.coalition_sizes(SOURCES) > 1
    assert found[~together, 0].max() < rounding  # the reference, and each source alone, are themselves
    if length == 1:
        assert found[:, 0].max() < rounding
    else:
        assert found[together, 0].min() > 1e-3
        assert found[together, 1].min() > 1e-6


@pytest.mark.once
def test_coalitions_are_sampled_in_one_call_with_the_cache_and_without(both):
    """`vmap` over three combinations with a cache, against each by itself without."""
    combined, params = both
    prompts = [[1, 2, 3], [2]]

    def draw(coalition, cache):
        now = params._replace(coalition=coalition)
        return policies.sample(jax.random.key(1), combined, now, prompts, num_tokens=5, cache=cache).tokens

    weights = jnp.array([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.5, -1.0, 2.0]])
    together = jax.vmap(lambda coalition: draw(coalition, True))(weights)
    assert jnp.array_equal(together, jnp.stack([draw(coalition, False) for coalition in weights]))
    assert len({str(row) for row in together.tolist()}) > 1


@pytest.mark.float64
def test_a_combination_of_transformers_has_a_cache_for_each(tiny, adapted, close):
    params, combined = adapted[0], token_arithmetic(tiny, 2)
    tokens, lengths = np.array([[1, 2, 3, 0], [2, 1, 0, 3]]), np.array([3, 1])
    sources = jax.tree.map(lambda leaf: jnp.stack([1.2 * leaf, 0.5 * leaf]), params)
    now = TokenArithmetic(jnp.array([1.0, 0.5]), params, sources)

    @jax.jit
    def logits(now):
        begun, caches = combined.start(now, tokens, lengths, 1, 1)
        return begun, combined.advance(now, caches, tokens[[0, 1], lengths])[0]

    begun, after = logits(now)
    each = jnp.stack([tiny.logits(one, tokens) for one in (params, one_of(sources, 0), one_of(sources, 1))])
    whole = combine_next_tokens(each[0], each[1:], now.coalition)
    close(begun, whole[[0, 1], lengths - 1])
    close(after, whole[[0, 1], lengths])


def test_steps_of_parameters_add_up(close, rng):
    base = {"a": rng.normal(size=(2, 3)), "b": {"c": rng.normal(size=4)}}
    sources = {"a": rng.normal(size=(3, 2, 3)), "b": {"c": rng.normal(size=(3, 4))}}
    found = add_parameters(base, sources, [1.0, 0.0, 0.5])
    close(found["a"], base["a"] + (sources["a"][0] - base["a"]) + 0.5 * (sources["a"][2] - base["a"]))
    close(found["b"]["c"], base["b"]["c"] + (sources["b"]["c"] * [[1], [0], [0.5]]).sum(0) - 1.5 * base["b"]["c"])
    every = jax.vmap(lambda coalition: add_parameters(base, sources, coalition))(coalitions.all_coalitions(3))
    assert jnp.array_equal(every["a"][0], jnp.asarray(base["a"], dtype=float))
    close(every["a"][2], sources["a"][1])


def test_for_a_table_of_logits_parameters_are_arithmetic(rng, x64):
    """Tabular policies: adding parameters is the combination of responses."""
    base, sources = rng.normal(size=(2, 5)), rng.normal(size=(3, 2, 5))

    @jax.jit
    @jax.vmap
    def both_ways(coalition):
        added = policies.normalise(add_parameters(base, sources, coalition))
        return added, coalitions.combine(base, sources, coalition.astype(float))

    added, combined = both_ways(coalitions.all_coalitions(3))
    np.testing.assert_allclose(added, combined, rtol=0, atol=1e-12 if x64 else 1e-5)


@pytest.fixture(scope="session")
def adapted(tiny):
    """The tiny model's parameters, and three adapters of rank 2 whose B is not zero."""
    params = tiny.init(jax.random.key(4))
    targets = ("query", "value", "down")
    shapes = jax.eval_shape(policies.low_rank(tiny, params, rank=2, alpha=3.0, targets=targets).init, jax.random.key(0))
    rng = np.random.default_rng(5)
    adapters = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=(3, *leaf.shape)), dtype=leaf.dtype), shapes)
    return params, adapters, targets


def test_merged_and_unmerged_adapters_give_equal_logits(tiny, adapted, x64):
    params, adapters, targets = adapted
    one = one_of(adapters, 0)
    tokens = np.array([[1, 2, 3, 0, 2]])
    apart = policies.low_rank(tiny, params, rank=2, alpha=3.0, targets=targets)
    merged = policies.low_rank(tiny, params, rank=2, alpha=3.0, targets=targets, merged=True)
    limit = {"atol": 1e-12 if x64 else 1e-5, "rtol": 0}
    np.testing.assert_allclose(apart.logits(one, tokens), merged.logits(one, tokens), **limit)
    kernel = np.asarray(params["layers"]["down"]["kernel"])
    by_hand = kernel + 3 / 2 * np.asarray(one["layers"]["down"]["A"]) @ np.asarray(one["layers"]["down"]["B"])
    np.testing.assert_allclose(policies.merge(params, one, alpha=3.0)["layers"]["down"]["kernel"], by_hand, **limit)
    assert np.abs(apart.logits(one, tokens) - tiny.logits(params, tokens)).max() > 0.1
    cached, _ = apart.start(one, tokens, np.array([3]), 1, 1)
    np.testing.assert_allclose(cached, apart.logits(one, tokens)[:, 2], **limit)


@pytest.mark.float64
def test_adapters_start_as_the_model_and_are_all_that_moves(tiny, adapted):
    params, _, targets = adapted
    model = policies.low_rank(tiny, params, rank=2, alpha=3.0, targets=targets)
    adapters = model.init(jax.random.key(7))
    tokens = np.array([[1, 2, 3, 0, 2]])
    assert jnp.array_equal(model.logits(adapters, tokens), tiny.logits(params, tokens))
    assert set(adapters) == {"layers"}
    assert set(adapters["layers"]) == set(targets)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(adapters)} == {1}
    gradient = jax.jit(jax.grad(lambda adapters: model.logits(adapters, tokens)[0, 1, 2]))(adapters)
    for target in targets:
        assert jnp.abs(gradient["layers"][target]["B"]).max() > 0
        assert jnp.abs(gradient["layers"][target]["A"]).max() == 0  # B is zero


def test_adapters_add_up_by_their_products(adapted, close):
    """Side by side they are the sum of what each adds, and not the product of the sums."""
    params, adapters, _ = adapted
    base = params["layers"]["query"]["kernel"]

    def merged(adapters):
        return policies.merge(params, adapters, alpha=3.0)["layers"]["query"]["kernel"]

    for coalition in ([True, False, True], [0.5, -1.0, 2.0], [0.0, 0.0, 0.0]):
        steps = sum(c * (merged(one_of(adapters, i)) - base) for i, c in enumerate(coalition))
        close(
            merged(add_adapters(adapters, coalition)), base + steps, atol=1e-5 if base.dtype == jnp.float32 else 1e-12
        )
    of_sums = merged(jax.tree.map(lambda leaf: leaf[0] + leaf[2], adapters))
    assert jnp.abs(of_sums - merged(add_adapters(adapters, [True, False, True]))).max() > 0.1


@pytest.mark.mistakes
def test_mistakes_with_parameters_are_named(tiny, adapted):
    params, adapters, _ = adapted
    with pytest.raises(ValueError, match=r"sources: expected leaves of shape \(2, 3\), .*; got shape \(2, 4\)"):
        add_parameters(np.zeros(3), np.zeros((2, 4)), [True, True])
    with pytest.raises(ValueError, match="sources: expected the tree structure of base"):
        add_parameters({"a": np.zeros(3)}, {"b": np.zeros((2, 3))}, [True, True])
    with pytest.raises(ValueError, match=r"coalition: expected .*\(sources,\)"):
        add_parameters(np.zeros(3), np.zeros((2, 3)), True)
    with pytest.raises(ValueError, match="coalition: expected one entry for each of 3 sources; got 2"):
        add_adapters(adapters, [True, True])
    with pytest.raises(ValueError, match="adapters: expected nested dictionaries"):
        add_adapters([np.zeros(3)], [True, True])
    with pytest.raises(ValueError, match=r"targets: expected names among \['down', 'gate', .*; got \['keys'\]"):
        policies.low_rank(tiny, params, rank=2, alpha=1.0, targets=("query", "keys"))
    with pytest.raises(ValueError, match="rank: expected a whole number"):
        policies.low_rank(tiny, params, rank=0, alpha=1.0)
    with pytest.raises(ValueError, match=r"adapters: expected names among .*; got {'layer'}"):
        policies.merge(params, {"layer": {}}, alpha=1.0)
    with pytest.raises(ValueError, match=r"adapters: expected adapters of matrices in params; got no matrix at norm"):
        policies.merge(params, {"norm": {"A": np.zeros((8, 1)), "B": np.zeros((1, 8))}}, alpha=1.0)
    with pytest.raises(ValueError, match=r"multiply to shape \(1, 8, 8\) at layers/query; got"):
        policies.merge(params, {"layers": {"query": {"A": np.zeros((8, 1)), "B": np.zeros((1, 8))}}}, alpha=1.0)
    with pytest.raises(ValueError, match="sources: expected a whole number"):
        token_arithmetic(tiny, 0)
    with pytest.raises(ValueError, match=r"sources: expected shape \(sources, 3\)"):
        combine_next_tokens(np.zeros(3), np.zeros((2, 4)), [True, True])


def test_a_combination_is_a_record_of_its_parts(both):
    combined, params = both
    assert isinstance(params, TokenArithmetic)
    assert (combined.vocabulary, combined.length) == (V, 8)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(params.sources)} == {SOURCES}


@pytest.mark.once
@pytest.mark.parametrize("cache", [True, False])
def test_members_that_exclude_each_others_tokens_are_not_sampled_from(cache):
    """After token 1 the two sources exclude each other; after 0 both give 1 and 2 alone."""
    model = SequenceModel(
        lambda key: jnp.zeros((3, 3)),
        lambda params, tokens: params[tokens],
        3,
        8,
        lambda params, tokens, lengths, room, copies: (params[tokens[jnp.arange(len(tokens)), lengths - 1]], lengths),
        lambda params, lengths, tokens: (params[tokens], lengths),
    )
    sources = np.zeros((2, 3, 3))
    sources[:, 0, 0], sources[0, 1, :2], sources[1, 1, 2] = -np.inf, -np.inf, -np.inf
    combined = token_arithmetic(model, 2)
    params = TokenArithmetic(jnp.ones(2), jnp.zeros((3, 3)), jnp.asarray(sources))
    assert np.isnan(combined.logits(params, jnp.array([[1]]))).all()
    assert policies.sample(jax.random.key(0), combined, params, [[0]], num_tokens=1, cache=cache).tokens[0, 0] in (1, 2)
    with pytest.raises(ValueError, match=r"params: .*NaN in row 1; .*token_arithmetic"):
        policies.sample(jax.random.key(0), combined, params, [[0], [1]], num_tokens=1, cache=cache)
    draw = jax.jit(lambda params: policies.sample(jax.random.key(0), combined, params, [[0], [1]], num_tokens=1))
    assert draw(params).tokens[1].tolist() == [-1]
