"""What a user reads who took a wrong turn: messages that name the mistake, and help that begins with what is there."""

import inspect
import pydoc
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import experiments.movielens
import jaxval as jv
from jaxval.coalitions import TokenArithmetic, token_arithmetic
from jaxval.types import BadArgument, Comparisons, SequenceModel

BIGRAM = SequenceModel(lambda key: jnp.zeros((3, 3)), lambda params, tokens: params[tokens], 3, 8)
TRANSFORMER = jv.policies.transformer(vocabulary=3, length=8, width=4, layers=1, heads=1)
PAIRS = Comparisons(np.array([0]), np.array([0]), np.array([1]), np.array([1.0]))


def size(mask):
    return jnp.sum(mask) * 1.0


def draw_pairs(key):
    return jv.data.synthetic_preferences(key, contexts=4, responses=2, sources={"a": 1.0})


def no_sampler(key, *, num):
    raise AssertionError("the key is checked first")


KEYED = {
    "sample_impartial_culture": partial(jv.preferences.sample_impartial_culture, alternatives=3, num=2),
    "sample_mallows": lambda key: jv.preferences.sample_mallows(key, jnp.arange(3), dispersion=0.5, num=2),
    "sample_mixture": lambda key: jv.preferences.sample_mixture(key, [no_sampler], [1.0], num=2),
    "sample_plackett_luce": lambda key: jv.preferences.sample_plackett_luce(key, [0.0, 1.0], num=2),
    "sample_comparisons": lambda key: jv.preferences.sample_comparisons(key, [[0.5, 0.5], [0.5, 0.5]], num=2),
    "synthetic_mallows_mixture": partial(
        jv.data.synthetic_mallows_mixture, alternatives=3, voters=4, groups=2, dispersion=0.5
    ),
    "synthetic_preferences": draw_pairs,
    "bootstrap_intervals": lambda key: jv.social_choice.bootstrap_intervals(
        key, [[0.0, 2.0], [3.0, 0.0]], jv.social_choice.share_bounds
    ),
    "sample": lambda key: jv.policies.sample(key, BIGRAM, jnp.eye(3), [[1]], num_tokens=2),
    "init": TRANSFORMER.init,
    "init_adapters": lambda key: jv.policies.init_adapters(
        key, {"query": {"kernel": jnp.eye(3)}}, rank=1, targets=["query"]
    ),
    "source_key": lambda key: jv.training.comparisons.source_key(key, PAIRS),
    "sample_shapley": lambda key: jv.values.sample_shapley(key, size, 3, permutations=4),
    "sample_banzhaf": lambda key: jv.values.sample_banzhaf(key, size, 3, coalitions=4),
    "regress_shapley": lambda key: jv.values.regress_shapley(key, size, 3, evaluations=8),
    "sample_until": lambda key: jv.values.sample_until(key, size, 3, half_width=0.1, most=256),
    "value_sources": lambda key: jv.sources.value_sources(draw_pairs, policy="tabular", beta=1.0, key=key),
    "find_counterexample": lambda key: jv.axioms.find_counterexample(
        jv.social_choice.maximal_borda, jv.axioms.condorcet, alternatives=3, voters=3, key=key
    ),
}


@pytest.mark.mistakes
@pytest.mark.parametrize("name", KEYED)
def test_a_number_is_no_key(name):
    with pytest.raises(BadArgument, match=r"key: expected one JAX random key; got .*; pass jax\.random\.key\("):
        KEYED[name](7)


@pytest.mark.mistakes
def test_what_is_a_key():
    draw = KEYED["sample_plackett_luce"]
    assert draw(jax.random.PRNGKey(0)).shape == draw(np.zeros(2, np.uint32)).shape == (2, 2)
    assert jax.vmap(draw)(jax.random.split(jax.random.key(0), 3)).shape == (3, 2, 2)
    for wrong, got in (
        (7, r"got 7; pass jax\.random\.key\(7\)"),
        (True, r"got True; pass jax\.random\.key\(0\)"),
        ("seed", "got 'seed'"),
        (jax.random.split(jax.random.key(0)), r"got an array of key<fry> of shape \(2,\)"),
        (np.arange(3.0), r"got an array of float64 of shape \(3,\)"),
    ):
        with pytest.raises(BadArgument, match=got):
            draw(wrong)


@pytest.mark.mistakes
@pytest.mark.parametrize("prompts", [["hello"], "hello", ("hello", "you"), [[1], "you"]])
def test_texts_are_no_token_ids(prompts):
    with pytest.raises(BadArgument, match=r"prompts: expected sequences of token ids.*got the text '\w+'; encode text"):
        jv.policies.sample(jax.random.key(0), BIGRAM, jnp.eye(3), prompts, num_tokens=2)


@pytest.mark.mistakes
@pytest.mark.parametrize("sequences", [[[0.5]], [1, 2], [[[1]]], [[1], [2.0]]])
def test_ids_are_whole_numbers(sequences):
    """Numbers with a fraction were cut off to whole ones."""
    with pytest.raises(BadArgument, match="sequences: expected sequences of token ids, one list of whole numbers each"):
        jv.policies.pad_sequences(sequences)


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("sources", "got"),
    [
        ([jnp.eye(3), jnp.eye(3)], "got a list of 2"),
        (jnp.ones((3, 3, 3)), r"got a leaf of shape \(3, 3, 3\) where the reference has \(3, 3\)"),
        ({"a": jnp.ones((2, 3, 3))}, "got another dict"),
    ],
)
def test_sources_of_a_token_arithmetic_are_stacked(sources, got):
    params = TokenArithmetic(np.array([True, True]), jnp.eye(3), sources)
    model = token_arithmetic(BIGRAM, 2)
    message = rf"params\.sources: expected one pytree like params\.reference.*{got}; stack them: jax\.tree\.map"
    with pytest.raises(BadArgument, match=message):
        model.logits(params, jnp.array([[0]]))
    with pytest.raises(BadArgument, match=got):
        jv.policies.sample(jax.random.key(0), model, params, [[0]], num_tokens=1)


@pytest.mark.mistakes
@pytest.mark.parametrize("axiom", [jv.axioms.condorcet, jv.axioms.monotonicity], ids=lambda axiom: axiom.__name__)
@pytest.mark.parametrize("value", [jv.values.shapley, jv.values.asymmetric_shapley], ids=lambda value: value.__name__)
def test_a_value_is_no_rule(axiom, value):
    advice = f"{axiom.__name__} is an axiom of rules: for a value take an axiom of values"
    with pytest.raises(BadArgument, match=rf"^rule: expected a .*{advice}"):
        jv.axioms.find_counterexample(value, axiom, alternatives=3, voters=3)


@pytest.mark.mistakes
def test_a_rule_is_no_value():
    with pytest.raises(BadArgument, match=r"^value: expected a .*efficiency is an axiom of values: for a rule take"):
        jv.axioms.find_counterexample(jv.social_choice.maximal_borda, jv.axioms.efficiency, players=3)


@pytest.mark.mistakes
def test_options_of_an_axiom_are_checked_before_the_search():
    search = partial(jv.axioms.find_counterexample, jv.social_choice.proportional, alternatives=3, voters=2)
    axiom = jv.axioms.population_proportional_alignment
    with pytest.raises(BadArgument, match=r"^level: expected a value, because.*pass level=\.\.\. to find"):
        search(axiom)
    assert search(axiom, level=jv.axioms.lemma_4_9_level) is None
    assert search(partial(axiom, level=0.0)) is None
    with pytest.raises(BadArgument, match=r"^levl: expected an option of population_proportional_alignment: level;"):
        search(axiom, level=0.5, levl=0.5)
    with pytest.raises(BadArgument, match=r"^level: expected an option of condorcet: it has none; got level=0\.5"):
        search(jv.axioms.condorcet, level=0.5)


def model_rows(labels):
    return np.arange(6.0).reshape(3, 2), np.array(labels)


def weighted_by(labels, **options):
    rows = model_rows(labels)
    return jv.values.models.weighted_utility(jv.values.models.logistic_regression(**options), rows, rows)(jnp.ones(3))


TAKEN_FOR = {
    "a winner for a lottery": (
        lambda: jv.axioms.find_counterexample(
            lambda matrix: jnp.argmax(matrix.sum(axis=1)), jv.axioms.condorcet, alternatives=3, voters=3
        ),
        r"^rule: .*; got shape \(\); a rule returns a probability for each alternative: for a winner i, [^;]*$",
    ),
    "scores for a lottery": (
        lambda: jv.axioms.find_counterexample(
            lambda matrix: matrix.sum(axis=1), jv.axioms.condorcet, alternatives=3, voters=3
        ),
        r"^rule: .*; got a sum of 2 and a least probability of 0\.5; a rule returns [^;]*: divide scores by their sum$",
    ),
    "counts for shares": (
        lambda: jv.social_choice.proportional([[0, 65], [5, 0]]),
        r"got 0 to 65; from counts of wins call preferences\.empirical_matrix\(wins\)",
    ),
    "no rows": (
        lambda: jv.values.models.model_utility(None, (np.zeros((0, 2)), np.zeros(0)), model_rows([0, 1, 1])),
        r"^train: expected at least one row; got features of shape \(0, 2\)",
    ),
    "names of owners": (
        lambda: jv.values.models.model_utility(
            None, model_rows([0, 1, 1]), model_rows([0, 1, 1]), owners=np.array(["ann", "bob", "ann"])
        ),
        r"^owners: .*; call numpy\.unique\(owners, return_inverse=True\)\[1\]",
    ),
    "three classes": (lambda: weighted_by([0, 1, 2]), r"got .*labels \[0, 1, 2\]; for 3 classes pass classes=3$"),
    "a truth value for a gap": (
        lambda: jv.theorems.parts(jnp.all(jnp.ones(2) > 0)),
        r"^sides: .*AtMost\(left, right\).*; got truth values.*; return both sides",
    ),
    "text for a utility": (
        lambda: jv.coalitions.tabulate(jv.coalitions.evaluator(lambda mask: "good", 2, traced=False), 2),
        r"got text, 'good' for coalition \[\]",
    ),
    "more alternatives than memory holds": (
        lambda: jv.preferences.count_wins(PAIRS, alternatives=10**9),
        r"^alternatives: expected arrays that fit into .* GiB of memory; got 1000000000 x 1000000000 entries, which ",
    ),
    "an array larger than memory": (
        lambda: jv.social_choice.proportional(np.broadcast_to(0.5, (2**22, 2**22))),
        r"^matrix: expected arrays that fit into .* GiB of memory; got 4194304 x 4194304 entries, which need 65,536",
    ),
    "a smoothing for each of other pairs": (
        lambda: jv.alignment.dpo([-1.0, -2.0], [-1.0, -1.0], -1.0, -1.0, beta=1.0, label_smoothing=[0.1, 0.2, 0.3]),
        r"^label_smoothing: expected a scalar or the shape of the other arguments, \(2,\); got \(3,\)",
    ),
    "means for sums": (
        lambda: jv.coalitions.pool_diagnostics(np.full((2, 2, 50), -0.5), proposal=np.full((2, 50), -9.0)),
        r"^log_probs: [^;]*; got the mean of π/q .*; check that log-probabilities are sums over tokens, not means",
    ),
}


@pytest.mark.mistakes
@pytest.mark.parametrize("name", TAKEN_FOR)
def test_one_thing_taken_for_another_is_named(name):
    call, message = TAKEN_FOR[name]
    with pytest.raises(BadArgument, match=message):
        call()


@pytest.mark.once
def test_namespaces_show_what_they_offer():
    for module in (jv.types, jv.testing, jv.coalitions.games):
        assert sorted(dir(module)) == sorted(module.__all__)


@pytest.mark.once
def test_help_on_values_begins_with_what_there_is():
    lines = pydoc.render_doc(jv.values, renderer=pydoc.plaintext).splitlines()
    for name in jv.values.__all__:
        assert f"`{name}`" in "\n".join(lines[:40]), f"the first screens of help do not name {name}"
    assert not [line for line in lines if "tuple" in line and "inherited" in line]


@pytest.mark.mistakes
@pytest.mark.parametrize("room", jv.__all__)
def test_signatures_show_annotations_as_written(room):
    module = getattr(jv, room)
    for name in module.__all__:
        if inspect.isfunction(inspect.unwrap(getattr(module, name))):
            shown = str(inspect.signature(getattr(module, name)))
            assert "jaxlib" not in shown, f"{room}.{name}: add `from __future__ import annotations` to its file"


@pytest.mark.once
def test_help_of_an_experiment_shows_no_objects(capsys):
    with pytest.raises(SystemExit):
        experiments.movielens.main(["--help"])
    shown = capsys.readouterr().out
    assert "RankingRule(" not in shown
    assert "(default: None)" not in shown
    assert "(default: 20)" in shown
