"""Who contributed what: values of sources against enumerations of the definition, and what they are for."""

import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import values_by_definition as definition

from jaxval import alignment, coalitions, data, policies, sources, training, values
from jaxval.sources import fidelity as sources_fidelity
from jaxval.types import Comparisons


@alignment.margin_loss(source="a loss of the user's own")
def dpo_of_margin(margin):
    return -jax.nn.log_sigmoid(margin)


def dpo_of_log_probs(chosen, rejected, reference_chosen, reference_rejected, *, beta):
    """A loss whose link nobody knows, so that minibatches train it."""
    return -jax.nn.log_sigmoid(beta * (chosen - rejected - reference_chosen + reference_rejected))


SHAPE = {"contexts": 12, "responses": 4}
SOURCES = {"experts": 1.5, "crowd": 0.7, "copy": "crowd", "noise": 0.0, "adversary": -1.0}


@pytest.fixture(scope="session")
def drawn():
    return data.synthetic_preferences(jax.random.key(3), **SHAPE, sources=SOURCES, repeats=8)


@pytest.fixture(scope="session")
def found(drawn):
    return sources.value_sources(drawn, policy="tabular", beta=1.0, truth=True, groups=drawn.groups)


def fitted_rewards(comparisons, *, contexts, responses, ridge):
    """argmin Σ w log(1 + exp(r⁻ - r⁺)) + ρ/2 Σ (r - mean)², by Newton's method in NumPy, prompt by prompt."""
    rewards = np.zeros((contexts, responses))
    context, winner, loser, weight = (np.asarray(field) for field in comparisons)
    centring = np.eye(responses) - 1 / responses
    for x in range(contexts):
        rows = context == x
        pairs = np.eye(responses)[winner[rows]] - np.eye(responses)[loser[rows]]
        for _ in range(30):
            chance = 1 / (1 + np.exp(pairs @ rewards[x]))
            slope = -pairs.T @ (weight[rows] * chance) + ridge * centring @ rewards[x]
            bend = (pairs * (weight[rows] * chance * (1 - chance))[:, None]).T @ pairs + ridge * centring
            rewards[x] -= np.linalg.solve(bend + 1 / responses, slope)
    return rewards


def test_utilities_and_values_are_those_of_the_definition(drawn, found, x64):
    """Rewards fitted, added, exponentiated and averaged in NumPy, nothing of the library in between."""
    each = [fitted_rewards(c, **SHAPE, ridge=0.1) for c in drawn.comparisons]
    truth = np.asarray(drawn.rewards, dtype=float)
    table = []
    for index in range(2 ** len(each)):
        total = sum((r for i, r in enumerate(each) if index >> i & 1), np.zeros(truth.shape[:2]))
        chances = np.exp(total) / np.exp(total).sum(axis=1, keepdims=True)  # uniform reference, β = 1
        table.append((chances[:, :, None] * truth).sum(axis=1).mean(axis=0))
    tolerance = 1e-8 if x64 else 2e-5
    np.testing.assert_allclose(found.utilities, table, atol=tolerance)
    np.testing.assert_allclose(found.values, definition.shapley(np.array(table)), atol=tolerance)


def test_efficiency_duplicates_noise_and_the_adversary(found, x64):
    limit = 1e-10 if x64 else 1e-5
    assert (found.efficiency_gap < limit).all()
    values_of = dict(zip(found.names, found.values, strict=True))
    np.testing.assert_allclose(values_of["crowd"], values_of["copy"], atol=limit)
    later = dict(zip(found.names, found.in_order, strict=True))
    alone = {name: found.utilities[1 << i] - found.utilities[0] for i, name in enumerate(found.names)}
    for k in range(2):
        assert values_of["experts"][k] > values_of["crowd"][k] > 0 > values_of["adversary"][k]
        assert abs(values_of["noise"][k]) < 0.5 * values_of["crowd"][k]
        assert 0 < later["copy"][k] < values_of["copy"][k] < later["crowd"][k] < alone["crowd"][k] * 1.5


def test_the_copy_gets_its_increment_over_all_others(found):
    """The copy is alone in the last group, so its value is u(N) - u(N without it)."""
    copy = found.names.index("copy")
    full = len(found.utilities) - 1
    expected = found.utilities[full] - found.utilities[full - 2**copy]
    np.testing.assert_allclose(found.in_order[copy], expected, atol=1e-5)


def test_retraining_one_after_another_is_arithmetic_and_the_union_is_not(found, x64):
    sequential, union = found.truth["sequential"], found.truth["union"]
    limit = 1e-8 if x64 else 2e-4
    assert (sequential.gap < limit).all()
    np.testing.assert_allclose(sequential.utilities, found.utilities, atol=limit)
    assert (sequential.rank_correlation > 0.89).all()  # the two copies may swap by rounding
    assert (union.gap > 0.01).all()
    np.testing.assert_allclose(union.utilities[:2], found.utilities[:2], atol=limit)  # one source: no difference


def test_union_retraining_is_union_dpo(drawn, found, x64):
    policy = policies.tabular(*SHAPE.values())
    mask = [True, False, False, True, True]
    params, _ = training.union_dpo(
        policy, policy.init(), [c for c, m in zip(drawn.comparisons, mask, strict=True) if m], beta=1.0, ridge=0.1
    )
    logs = policy.log_probs(params, drawn.contexts, drawn.responses)
    expected = coalitions.expected_reward(logs, drawn.rewards)
    np.testing.assert_allclose(found.truth["union"].utilities[0b11001], expected, atol=1e-8 if x64 else 2e-5)


def test_retraining_shares_its_beginnings():
    """A training that writes down its stages: every coalition once, in the order of the sources."""
    from jaxval.sources.arithmetic import retrainer

    parts = [Comparisons(*(np.full(1, float(i)),) * 4) for i in range(4)]
    calls = []

    def train(before, rows, key, folder):
        calls.append(rows)
        return (*before, tuple(np.asarray(rows.context).astype(int).tolist()))

    sequential, union = (retrainer(train, (), parts, jax.random.key(0), sequential=s) for s in (True, False))
    masks = np.asarray(coalitions.all_coalitions(4))
    assert [sequential(mask) for mask in masks][0b1101] == ((0,), (2,), (3,))
    assert len(calls) == 15
    assert [union(mask) for mask in masks][0b1001] == ((0, 3),)
    assert len(calls) == 30


@pytest.mark.once
@pytest.mark.parametrize(
    ("policy", "loss"),
    [
        ("tabular", "ipo"),
        ("tabular", "hinge"),
        ("log-linear", "mallows_theta"),
        ("log-linear", "length_normalised_dpo"),
        ("transformer", "length_normalised_dpo"),
        ("mine", dpo_of_margin),
        ("mine", dpo_of_log_probs),
        ("mine", "bco"),
    ],
)
def test_every_policy_takes_every_loss_in_one_way(policy, loss, pairs):
    """By Newton's method where it suits policy and loss, by minibatches elsewhere: the foe's value is the lowest."""
    makers = {
        "log-linear": functools.partial(sources.log_linear_learner, buckets=8),
        "transformer": functools.partial(
            sources.transformer_learner, width=8, layers=1, heads=2, prompt_bytes=3, response_bytes=6
        ),
        "mine": lambda pairs: policies.log_linear(policies.text_features(pairs.prompts, pairs.responses, buckets=4)),
    }
    newton = policy != "transformer" and loss in ("ipo", "mallows_theta", dpo_of_margin)
    options = {} if newton else {"epochs": 4, "batch_size": 16, "learning_rate": 3e-2, "accumulation": 2}
    found = sources.value_sources(
        pairs,
        policy=makers.get(policy, policy),
        loss=loss,
        seeds=None if policy == "tabular" and newton else 1,
        loss_options={"dispersion": 0.5} if loss == "mallows_theta" else None,
        **options,
    )
    one, two, foe = found.values[:, 0]
    assert foe < min(one, two)


@pytest.mark.once
def test_dpo_by_its_margin_is_dpo_and_lengths_are_words(pairs, small_features):
    """The same training by any way of naming it; IPO of equal lengths divides by them."""
    by_name = sources.value_sources(pairs, policy=small_features, seeds=1)
    mine = sources.value_sources(pairs, policy=small_features, seeds=1, loss=dpo_of_margin)
    np.testing.assert_allclose(mine.values, by_name.values, atol=1e-5)
    smoothed = functools.partial(alignment.dpo, label_smoothing=0.2)
    options = {"policy": small_features, "seeds": 1}
    np.testing.assert_array_equal(
        sources.value_sources(pairs, loss=smoothed, **options).values,
        sources.value_sources(pairs, loss_options={"label_smoothing": 0.2}, **options).values,
    )


def test_prompts_bring_an_interval_and_one_seed_none(found):
    low, high = found.context_intervals
    assert ((low < found.values) & (found.values < high)).all()
    assert np.isnan(found.seed_intervals).all()  # a table of fixed pairs: nothing is random
    assert found.by_seed.shape[0] == 1


def test_intervals_over_prompts_are_those_of_the_central_limit():
    from jaxval.sources.intervals import over_contexts, over_seeds, rank_correlation

    rng = np.random.default_rng(0)
    one = rng.normal(size=(400, 3))
    low, high = over_contexts(one, np.arange(400))
    np.testing.assert_allclose((high - low) / 2, 1.96 * one.std(axis=0) / 20, rtol=0.12)
    twice = over_contexts(np.concatenate([one, one]), np.tile(np.arange(400), 2))
    np.testing.assert_allclose(twice, [low, high])  # held out twice is not twice as much evidence
    seeds = np.array([[1.0], [2.0], [3.0]])
    np.testing.assert_allclose(over_seeds(seeds)[:, 0], 2 + np.array([-1, 1]) * 4.302653 / np.sqrt(3), rtol=1e-6)
    ranks = rank_correlation(np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [3.0], [2.0]]))
    np.testing.assert_allclose(ranks, [0.5])


def test_each_seed_draws_generated_data_anew():
    draw = functools.partial(data.synthetic_preferences, **SHAPE, sources={"good": 1.5, "bad": -1.5})
    found = sources.value_sources(draw, policy="tabular", beta=1.0, seeds=3)
    assert found.by_seed.shape == (3, 2, 2)
    np.testing.assert_allclose(found.values, found.by_seed.mean(axis=0))
    assert np.isfinite(found.seed_intervals).all()
    assert len({tuple(one.ravel()) for one in found.by_seed}) == 3


@pytest.mark.once
def test_values_of_prompts_are_compiled_once_for_all_seeds():
    from jaxval.sources.arithmetic import _reward_table

    draw = functools.partial(data.synthetic_preferences, contexts=5, responses=3, sources=dict.fromkeys("abc", 1.0))
    before = _reward_table._cache_size()
    for key in (0, 1):
        sources.value_sources(draw, policy="tabular", beta=1.0, seeds=2, key=jax.random.key(key))
    assert _reward_table._cache_size() == before + 1


@pytest.mark.once
def test_prompts_in_blocks_have_the_same_values(drawn, found, monkeypatch):
    """A table too large for memory comes in blocks of prompts, the last one filled up."""
    from jaxval.sources import arithmetic

    monkeypatch.setattr(arithmetic, "NUMBERS", 32 * 4 * 5)
    blocks = sources.value_sources(drawn, policy="tabular", beta=1.0, groups=drawn.groups)
    for name in ("values", "context_intervals", "utilities", "in_order"):
        np.testing.assert_allclose(getattr(blocks, name), getattr(found, name), atol=1e-6)


@pytest.mark.float64
def test_many_sources_are_sampled(x64):
    qualities = {f"source {i}": 1.0 - i / 7 for i in range(14)}
    drawn = data.synthetic_preferences(jax.random.key(0), contexts=6, responses=3, sources=qualities)
    found = sources.value_sources(drawn, policy="tabular", beta=1.0, permutations=60, groups=[0] * 7 + [1] * 7)
    assert found.utilities is None
    assert found.evaluations < 2**14
    assert (found.efficiency_gap < (1e-10 if x64 else 1e-5)).all()
    assert (found.standard_errors > 0).all()


@pytest.mark.once
def test_a_sample_of_all_coalitions_is_exact_and_a_small_one_has_no_standard_errors(drawn, found):
    """200 permutations of five sources meet all 32 coalitions; of 4, two pairs may well be equal and seem to agree."""
    options = {"policy": "tabular", "beta": 1.0, "groups": drawn.groups}
    for budget in ({"permutations": 200}, {"evaluations": 32}):
        all_of_them = sources.value_sources(drawn, **options, **budget)
        assert all_of_them.evaluations == 32
        np.testing.assert_array_equal(all_of_them.standard_errors, 0)
        np.testing.assert_allclose(all_of_them.values, found.values, atol=1e-6)
        np.testing.assert_allclose(all_of_them.in_order, found.in_order, atol=1e-6)
        np.testing.assert_allclose(all_of_them.utilities, found.utilities, atol=1e-6)
    few = sources.value_sources(drawn, **options, permutations=4)
    assert few.evaluations < 32
    assert few.utilities is None
    assert np.isnan(few.standard_errors).all()


@pytest.mark.once
def test_seeds_of_which_some_meet_all_coalitions(monkeypatch):
    """28 permutations of five sources meet all 32 coalitions by some keys only; the mean takes both kinds."""
    from jaxval.sources import valuation

    draw = functools.partial(data.synthetic_preferences, contexts=4, responses=3, sources=dict.fromkeys("abcde", 1.0))
    seen = []
    monkeypatch.setattr(valuation, "repeat", lambda *words, of=valuation.repeat: seen.append(of(*words)) or seen[-1])
    found = sources.value_sources(draw, policy="tabular", beta=1.0, permutations=28, seeds=6)
    assert {len(one.utilities["values"]) == 32 for one in seen} == {False, True}
    assert found.utilities is None
    assert found.evaluations == 32
    assert (found.standard_errors > 0).all()
    assert (found.efficiency_gap < 1e-5).all()


@pytest.mark.once
def test_a_reference_that_has_decided_is_told():
    def stubborn(pairs):
        learner = sources.tabular_learner(pairs)
        start = jnp.zeros_like(learner.policy.init(None)).at[:, 0].set(30.0)
        return learner._replace(policy=learner.policy._replace(init=lambda key: start))

    drawn = data.synthetic_preferences(jax.random.key(0), contexts=6, responses=3, sources={"a": 1.0, "b": 0.0})
    assert sources.value_sources(drawn, policy=stubborn, beta=1.0).reference_certain == 1
    assert sources.value_sources(drawn, policy="tabular", beta=1.0).reference_certain == 0


@pytest.mark.float64
def test_regressed_values_of_few_coalitions_are_near_the_sampled_ones():
    qualities = {f"source {i}": 1.0 - i / 4 for i in range(8)}
    drawn = data.synthetic_preferences(jax.random.key(0), contexts=6, responses=3, sources=qualities)
    exact = sources.value_sources(drawn, policy="tabular", beta=1.0, groups=[0] * 4 + [1] * 4)
    found = sources.value_sources(drawn, policy="tabular", beta=1.0, evaluations=120, groups=[0] * 4 + [1] * 4)
    assert found.evaluations <= 240  # plain and in order
    assert (found.efficiency_gap < 1e-10).all()
    assert (np.abs(found.values - exact.values) < 5 * found.standard_errors + 1e-6).all()
    assert np.abs(found.in_order - exact.in_order).max() < 0.05 * np.abs(exact.in_order).max()
    with pytest.raises(ValueError, match="permutations or evaluations"):
        sources.value_sources(drawn, policy="tabular", permutations=4, evaluations=100)


@pytest.mark.float64
def test_sampled_values_are_near_the_exact_ones():
    qualities = {f"source {i}": 1.0 - i / 4 for i in range(8)}
    drawn = data.synthetic_preferences(jax.random.key(0), contexts=6, responses=3, sources=qualities)
    exact = sources.value_sources(drawn, policy="tabular", beta=1.0)
    sampled = sources.value_sources(drawn, policy="tabular", beta=1.0, permutations=40)
    assert sampled.evaluations < 256
    assert (sampled.standard_errors > 0).all()
    assert (np.abs(sampled.values - exact.values) < 4.5 * sampled.standard_errors + 1e-5).all()


@pytest.mark.once
@pytest.mark.parametrize("name", ["banzhaf", "leave-one-out", "beta-shapley"])
def test_other_semivalues_of_the_same_table(name, drawn, found, close):
    other = sources.value_sources(drawn, policy="tabular", beta=1.0, semivalue=name)
    of_table = {
        "banzhaf": values.banzhaf,
        "leave-one-out": values.leave_one_out,
        "beta-shapley": functools.partial(values.beta_shapley, alpha=4.0, beta=1.0),
    }[name]
    close(other.values, of_table(jnp.asarray(found.utilities)), atol=2e-6)
    assert np.isnan(other.efficiency_gap).all()


TEXTS = {"good": ["surely", "gladly", "of", "course", "here"], "bad": ["no", "never", "cannot", "will", "not"]}


def write_pairs(path, *, count=90, sources=("one", "two", "foe"), prompt="question {}", scores=True):
    """Distinct prompts; the foe prefers what the others reject."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        for i in range(count):
            source = sources[i % len(sources)]
            texts = [" ".join(rng.choice(TEXTS[kind], 4)) for kind in ("good", "bad")]
            two = (1.0, 0.0) if source != "foe" else (0.0, 1.0)
            chosen, rejected = texts if source != "foe" else texts[::-1]
            row = {"prompt": prompt.format(i), "chosen": chosen, "rejected": rejected, "source": source}
            if scores:
                row |= {"metadata": {"score_chosen": two[0], "score_rejected": two[1]}}
            file.write(json.dumps(row) + "\n")
    return path


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    return data.read_preferences(write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.jsonl"))


@pytest.fixture(scope="session")
def small_features():
    return functools.partial(sources.log_linear_learner, buckets=8)


def test_a_file_of_distinct_prompts(pairs, small_features, x64):
    found = sources.value_sources(pairs, policy=small_features, seeds=2, truth=True)
    one, two, foe = found.values[:, 0]
    assert one > 0.05
    assert two > 0.05
    assert foe < 0
    assert found.contexts == 22  # a quarter of 90
    assert found.pairs.sum() == 68  # the pairs of the others
    assert found.by_seed.shape == (2, 3, 1)
    assert (found.truth["sequential"].gap < (1e-8 if x64 else 1e-3)).all()
    parameters = sources.value_sources(pairs, policy=small_features, seeds=1, arithmetic="parameter")
    responses = sources.value_sources(pairs, policy=small_features, seeds=1)
    np.testing.assert_allclose(parameters.utilities, responses.utilities, atol=1e-9 if x64 else 1e-4)


@pytest.mark.once
def test_rewards_of_every_kind_say_the_same(pairs, small_features, tmp_path):
    """The score is 1 for the kind words: as a function, as a table, as a mapping, from a file, and fitted."""

    def kind(prompt, response):
        assert prompt.startswith("question")
        return float(response.split()[0] in TEXTS["good"])

    table = pairs.scores["score"]
    path = tmp_path / "scores.jsonl"
    with path.open("w") as file:
        for prompt, row, scores in zip(pairs.prompts, pairs.responses, table, strict=True):
            for response, score in zip(row, scores, strict=True):
                file.write(json.dumps({"prompt": prompt, "response": response, "from a file": score}) + "\n")
    rewards = ["score", kind, {"named": table}, table, data.read_scores(path, pairs), "bradley-terry"]
    found = sources.value_sources(pairs, policy=small_features, seeds=1, reward=rewards)
    assert found.rewards == ("score", "kind", "named", "reward", "from a file", "bradley-terry:score")
    for column in range(1, 5):
        np.testing.assert_allclose(found.values[:, column], found.values[:, 0], atol=1e-6)
    assert (np.sign(found.values[:, 5]) == np.sign(found.values[:, 0])).all()


@pytest.mark.once
def test_held_out_pairs_of_their_own(pairs, small_features, tmp_path):
    """Prompts of the held-out file that the sources have too are not trained on."""
    other = data.read_preferences(write_pairs(tmp_path / "held.jsonl", count=30, sources=("x",)), source=None)
    found = sources.value_sources(pairs, policy=small_features, held_out=other, truth=False)
    assert found.contexts == 30
    assert found.pairs.sum() == 60
    assert found.by_seed.shape[0] == 1


@pytest.mark.once
def test_a_transformer_by_three_arithmetics(pairs, tmp_path):
    """Tiny, one step of training: the arithmetics agree on no source and on one, and equal sources on everything."""
    first = Comparisons(*(np.asarray(field)[::3] for field in pairs.comparisons))
    both = pairs._replace(
        comparisons=Comparisons(*(np.concatenate([field, field]) for field in first)),
        source=jnp.asarray([0] * 30 + [1] * 30),
        sources=("first", "again"),
    )
    learner = functools.partial(
        sources.transformer_learner, width=8, layers=1, heads=2, prompt_bytes=3, response_bytes=6
    )
    options = {"epochs": 1, "batch_size": 64, "learning_rate": 1e-2, "seeds": 1, "folder": tmp_path}
    found = {
        arithmetic: sources.value_sources(both, policy=learner, arithmetic=arithmetic, **options)
        for arithmetic in ("response", "token", "parameter")
    }
    for one in found.values():
        np.testing.assert_allclose(one.utilities[:3], found["response"].utilities[:3], atol=2e-5)
        np.testing.assert_array_equal(one.utilities[1], one.utilities[2])
    assert not np.allclose(found["token"].utilities[3], found["parameter"].utilities[3], atol=1e-7)


def test_token_arithmetic_is_the_model_that_combines_tokens(x64):
    """Against `coalitions.token_arithmetic` over the same catalogue, for a model of five tokens."""
    from jaxval.sources.arithmetic import sum_tokens
    from jaxval.types import SequenceModel

    bigram = SequenceModel(lambda key: jax.random.normal(key, (5, 5)), lambda params, tokens: params[tokens], 5, 8)
    prompts, responses = [[0], [1, 2]], [[[1, 2, 3], [4]], [[0, 0], [3, 2]]]
    keys = jax.random.split(jax.random.key(0), 3)
    reference, one, two = (bigram.init(key) for key in keys)
    stacked = jnp.stack([one, two])
    masks = np.array([[False, False], [True, False], [True, True]])
    arrays = policies.catalogue(prompts, responses, length=8)
    sums = jax.vmap(lambda mask: sum_tokens(bigram, arrays, reference, stacked, mask, np.arange(4)))(masks)
    combined = policies.over_catalogue(coalitions.token_arithmetic(bigram, 2), prompts, responses)
    for mask, row in zip(masks, sums, strict=True):
        params = coalitions.TokenArithmetic(jnp.asarray(mask), reference, stacked)
        expected = combined.log_probs(params, [0, 1], [[0, 1], [0, 1]]).reshape(-1)
        np.testing.assert_allclose(row, expected, atol=1e-10 if x64 else 1e-5)


@pytest.mark.float64
def test_the_order_of_qualities_comes_back():
    """100 redraws of five qualities at least 0.3 apart: all five in order, as one permutation, in at least 90.

    Qualities are a shuffle of -1, -0.5, 0, 0.5, 1, each moved by up to 0.1, under one reward, for 30 prompts.
    """
    rng = np.random.default_rng(0)
    recovered = 0
    for redraw in range(100):
        qualities = rng.permutation(np.linspace(-1, 1, 5)) + rng.uniform(-0.1, 0.1, 5)
        drawn = data.synthetic_preferences(
            jax.random.key(redraw),
            contexts=30,
            responses=4,
            objectives=["reward"],
            sources={f"source {i}": float(q) for i, q in enumerate(qualities)},
        )
        found = sources.value_sources(drawn, policy="tabular", beta=1.0)
        assert found.efficiency_gap[0] < 1e-10
        recovered += bool((np.argsort(found.values[:, 0]) == np.argsort(qualities)).all())
    assert recovered >= 90, recovered


def test_harmful_sources_are_found():
    """Over generated cases: the area under the ROC curve, with its spread; a coin toss would have 1/2."""
    cases, harmful = [], []
    rng = np.random.default_rng(1)
    for case in range(12):
        qualities = rng.permutation([1.0, 0.6, 0.2, -0.2, -0.6])
        drawn = data.synthetic_preferences(
            jax.random.key(case), **SHAPE, sources={f"{i}": float(q) for i, q in enumerate(qualities)}
        )
        cases.append(sources.value_sources(drawn, policy="tabular", beta=1.0).values.mean(axis=1))
        harmful.append(qualities < 0)
    found = sources.harm_auc(np.array(cases), np.array(harmful))
    assert float(found.auc) - 3 * float(found.standard_error) > 0.8, found
    shuffled = sources.harm_auc(np.array(cases), rng.permuted(np.array(harmful), axis=1))
    assert abs(float(shuffled.auc) - 0.5) < 0.25


def test_the_area_counts_pairs():
    rng = np.random.default_rng(2)
    scores, marked = rng.integers(0, 4, size=(5, 6)).astype(float), np.zeros((5, 6), bool)
    marked[:, :2] = True
    expected = [np.mean([1.0 if a < b else 0.5 if a == b else 0.0 for a in row[:2] for b in row[2:]]) for row in scores]
    np.testing.assert_allclose(sources.harm_auc(scores, marked).by_case, expected, atol=1e-6)


def test_the_best_coalition_by_enumeration():
    rng = np.random.default_rng(3)
    for _ in range(20):
        table = rng.integers(0, 5, size=16).astype(float)
        best = np.asarray(sources.best_coalition(table))
        index = int(best @ (1 << np.arange(4)))
        assert table[index] == table.max()
        assert best.sum() == min(i.bit_count() for i in range(16) if table[i] == table.max())
        two = np.asarray(sources.best_coalition(table, size=2))
        assert two.sum() == 2
        assert table[int(two @ (1 << np.arange(4)))] == max(table[i] for i in range(16) if i.bit_count() == 2)


@pytest.mark.parametrize("permutations", [None, 200])
def test_values_within_a_hierarchy(drawn, found, permutations, close, x64):
    """Owen values of the same utilities, and the totals of the unions of two levels; sampled ones sum as they do."""
    unions = [[0, 0, 0, 1, 1], [0, 1, 1, 2, 3]]
    valued = sources.value_sources(drawn, policy="tabular", beta=1.0, unions=unions, permutations=permutations)
    expected = values.owen(found.utilities, unions)
    tolerance = 1e-9 if x64 else 2e-4
    assert (valued.standard_errors == 0).all() == (permutations is None)
    assert (np.abs(valued.values - expected) <= 4 * valued.standard_errors + tolerance).all()
    for level, totals in zip(unions, valued.totals, strict=True):
        np.testing.assert_array_equal(totals.unions, level)
        close(totals.values, values.owner_totals(valued.values, level), atol=1e-9 if x64 else 1e-5)
        assert (totals.context_intervals[0] <= totals.values).all()
        assert (totals.values <= totals.context_intervals[1]).all()
    quotient = [found.utilities[sum(1 << i for i in range(5) if k >> unions[0][i] & 1)] for k in range(4)]
    if permutations is None:
        close(valued.totals[0].values, values.shapley(np.array(quotient)), atol=tolerance)


def test_fidelity_to_retraining(drawn, found):
    """All proper coalitions are judged by the utilities of retraining on the union, which `truth` has too."""
    valued = sources.value_sources(drawn, policy="tabular", beta=1.0, fidelity=30)
    judged = valued.fidelity
    assert judged.coalitions.shape == (30, 5)
    rows = np.asarray(coalitions.coalition_index(judged.coalitions))
    np.testing.assert_allclose(judged.utilities, found.truth["union"].utilities[rows], atol=1e-5)
    by_hand = values.datamodelling_score(valued.values[:, 0], judged.coalitions, judged.utilities[:, 0])
    assert judged.scores["values"][0].score == by_hand.score
    assert judged.scores["values"][0].score > judged.scores["random"][0].score
    assert judged.scores["pairs"][0] is None  # all sources have as many pairs
    assert judged.scores["agreement"][0].score > judged.scores["random"][0].score
    table, drops = found.truth["union"].utilities[:, 0], judged.drops["values"]
    assert drops.left_out.tolist() == [1, 2, 3, 4]
    order = np.argsort(-valued.values[:, 0], kind="stable")
    for k, drop in enumerate(drops.drop[:, 0], 1):
        left = sum(1 << i for i in order[k:].tolist())
        assert drop == pytest.approx(table[-1] - table[left], abs=1e-5)
        assert drops.promised[k - 1, 0] == pytest.approx(valued.values[order[:k], 0].sum(), abs=1e-6)
    assert (drops.intervals[0] <= drops.drop).all()
    assert (drops.drop <= drops.intervals[1]).all()
    assert (drops.promised_intervals[0] <= drops.promised).all()
    singles = [table[-1] - table[-1 - (1 << i)] for i in range(5)]
    assert judged.drops["random"].drop[0, 0] == pytest.approx(np.mean(singles), abs=1e-5)


def test_drops_by_hand():
    """Three sources at two prompts: u of {}, 0, 1, 01, 2, 02, 12, 012 at each, values (2, 1, 0) and (4, 1, 2).

    The best by the mean values (3, 1, 1) is source 0; without it {1, 2} is left, without 0 and 1 {2}. At the prompts,
    {0, 1, 2} has 3 and 7, {1, 2} has 1 and 3, {2} has 0 and 2: drops 2 and 4, mean 3; then 3 and 5, mean 4. The values
    promise 2 and 4, mean 3; then 3 and 5, mean 4. By pairs, source 2 goes first, then source 1.
    """
    table = np.array([[0, 2, 1, 3, 0, 2, 1, 3], [0, 4, 1, 5, 2, 6, 3, 7]], float).T[:, :, None]
    masks = np.array([[k >> i & 1 for i in range(3)] for k in range(8)], bool)
    by_prompt = np.array([[2.0, 1.0, 0.0], [4.0, 1.0, 2.0]])[:, :, None]
    scores = {"values": by_prompt.mean(axis=0), "pairs": np.array([[1.0], [2.0], [3.0]])}
    seed = sources_fidelity.Judged(masks[1:-1], masks[1:], table[1:], np.array([10.0]), scores, by_prompt)
    found = sources_fidelity.judge([seed], np.arange(2), 0.0)
    assert found.drops["values"].drop[:, 0].tolist() == [3, 4]
    assert found.drops["values"].promised[:, 0].tolist() == [3, 4]
    assert found.drops["values"].intervals[:, 0, 0].tolist() == [2, 4]
    assert found.drops["pairs"].drop[:, 0].tolist() == [1, 2]
    assert found.drops["pairs"].promised is None
    assert found.drops["random"].drop[:, 0].tolist() == [(3 + 1 + 1) / 3, (2 + 4 + 4) / 3]
    assert found.utilities[:, 0].tolist() == [13, 11, 14, 11, 14, 12]
    # Utilities are the sums of the values, plus 10.
    assert found.scores["values"][0].score == pytest.approx(1.0)


def test_agreement_by_hand():
    """One prompt with three candidates: steps of source 0 (0, 1, 2), of source 1 (0, 3, 1), together (0, 4, 3).

    Together 0 < 2 < 1. Source 0 orders 0 < 1 and 0 < 2 alike and 1 < 2 otherwise, source 1 all three alike. The second
    prompt has two candidates, which source 0 orders against both together and source 1 as they do.
    """
    own = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, -np.inf]])
    each = np.array([[[0, 1, 2], [0, 1, -np.inf]], [[0, 3, 1], [3, 0, -np.inf]]])
    np.testing.assert_allclose(sources_fidelity._agreement(own, each), [2 / 4, 1])


def test_some_coalitions_and_the_scores_of_another_tool_are_judged(drawn):
    """Six coalitions of two of five sources, all of them, and what is left without the best one and the best three."""
    scores = {"foes first": [-1.0, 0.0, 1.0, 2.0, 3.0]}
    valued = sources.value_sources(drawn, policy="tabular", beta=1.0, fidelity=6, fidelity_scores=scores)
    judged = valued.fidelity
    assert judged.coalitions.shape == (6, 5)
    assert judged.drops["foes first"].left_out.tolist() == [1, 3]
    assert judged.drops["random"].left_out.tolist() == [3]
    assert judged.drops["foes first"].drop[0, 0] < 0 < judged.drops["values"].drop[0, 0]
    assert judged.scores["foes first"][0].score < judged.scores["values"][0].score


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fidelity_scores": {"a": [1.0] * 5}}, "fidelity_scores: expected fidelity beside it"),
        ({"fidelity": 6, "fidelity_scores": {"pairs": [1.0] * 5}}, "fidelity_scores: expected other names .*'pairs'"),
        ({"fidelity": 6, "fidelity_scores": {"a": [1.0] * 4}}, r"fidelity_scores\['a'\]: .*each of 5 sources"),
    ],
)
def test_scores_that_do_not_fit_are_named(drawn, options, words):
    with pytest.raises(ValueError, match=words):
        sources.value_sources(drawn, policy="tabular", beta=1.0, **options)


def test_some_coalitions_of_half_of_the_sources_are_judged():
    masks = sources_fidelity.fidelity_coalitions(20, 9)
    assert masks.shape == (20, 9)
    assert (masks.sum(axis=1) == 4).all()
    assert len(np.unique(masks, axis=0)) == 20
    assert len(sources_fidelity.fidelity_coalitions(1000, 12)) == 924  # there are no more of size 6


@pytest.mark.once
def test_choosing_and_weighting_sources_beats_taking_all(drawn, found):
    """Under the mean of both rewards, which the sources judge by; retraining on the union, with weights and without."""
    table, worth = found.utilities.mean(axis=1), found.values.mean(axis=1)
    adversary = found.names.index("adversary")
    for chosen in (sources.best_coalition(table), sources.top_sources(worth)):
        assert not chosen[adversary]
        assert table[int(coalitions.coalition_index(chosen))] > table[-1]
    policy, rewards = policies.tabular(*SHAPE.values()), np.asarray(drawn.rewards).mean(axis=2)

    def retrained(weights):
        params, _ = training.union_dpo(policy, policy.init(), drawn.comparisons, weights=weights, beta=1.0, ridge=0.1)
        return float(coalitions.expected_reward(policy.log_probs(params, drawn.contexts, drawn.responses), rewards))

    weights = sources.source_weights(worth)
    assert float(weights.sum()) == pytest.approx(len(found.names), rel=1e-5)
    assert retrained(weights) > retrained(jnp.ones(len(found.names)))
    np.testing.assert_allclose(sources.source_weights([4.0, 1.0, -1.0], power=0.5), [2.0, 1.0, 0.0], rtol=1e-6)


@pytest.mark.parametrize("negative", ["charged", "unpaid"])
def test_payments_sum_to_the_utility(found, negative):
    gained = found.utilities[-1, 0] - found.utilities[0, 0]
    paid = np.asarray(sources.payments(found.values[:, 0], negative=negative), dtype=float)
    assert paid.sum() == pytest.approx(gained, rel=1e-5)
    assert np.asarray(sources.payments(found.values[:, 0], total=100.0, negative=negative)).sum() == pytest.approx(
        100.0, rel=1e-5
    )
    assert (paid >= 0).all() == (negative == "unpaid")


@pytest.mark.once
def test_a_folder_keeps_what_is_done_and_belongs_to_one_run(drawn, found, tmp_path, monkeypatch):
    options = {"policy": "tabular", "beta": 1.0, "folder": tmp_path}
    first = sources.value_sources(drawn, **options)
    monkeypatch.setattr(training, "newton_optimum", None)  # nothing is trained any more
    # A run that resumes may read its pairs in another precision than the first one did.
    wide = {"i": np.int64, "f": np.float64}
    read = jax.tree.map(lambda leaf: np.asarray(leaf, wide[leaf.dtype.kind]), drawn.comparisons)
    again = sources.value_sources(drawn._replace(comparisons=read), **options)
    np.testing.assert_array_equal(again.by_seed, first.by_seed)
    np.testing.assert_allclose(first.values, found.values, atol=1e-6)
    with pytest.raises(ValueError, match=r"folder: .*the folder of another run"):
        sources.value_sources(drawn, **{**options, "beta": 2.0})


def bad_pairs(pairs, **changes):
    return pairs._replace(**changes)


MISTAKES = {
    "one source": (lambda p: (p._replace(sources=("one",), source=p.source * 0), {}), "at least 2 sources.*'one'"),
    "no pairs at all": (lambda p: ({"prompt": "x"}, {}), "expected data.PreferencePairs.*dict"),
    "a source without a pair": (lambda p: (p._replace(sources=(*p.sources, "empty")), {}), "'empty'.*it has no pair"),
    "all held out": (lambda p: (p, {"held_out": 0.99}), "none of .*held-out prompts"),
    "a share of one": (lambda p: (p, {"held_out": 1.0}), "held_out"),
    "unknown policy": (lambda p: (p, {"policy": "linear"}), "policy: expected one of 'log-linear'"),
    "unknown arithmetic": (lambda p: (p, {"arithmetic": "tokens"}), "arithmetic: expected one of 'response'"),
    "unknown semivalue": (lambda p: (p, {"semivalue": "shapely"}), "semivalue: expected one of 'shapley'"),
    "unknown reward": (lambda p: (p, {"reward": "helpfulness"}), "reward: expected one of 'score'"),
    "unknown score": (lambda p: (p, {"reward": "score:harmless"}), "reward: expected one of 'score'; got 'harmless'"),
    "twice the same": (lambda p: (p, {"reward": ["score", "score"]}), "'score' twice"),
    "no scores": (lambda p: (p._replace(scores={}), {}), "expected pairs with scores.*bradley-terry"),
    "a pair without score": (
        lambda p: (p._replace(scores={"score": np.full_like(p.scores["score"], np.nan)}), {}),
        "a pair without score",
    ),
    "a table of another shape": (lambda p: (p, {"reward": np.zeros((3, 2))}), r"reward: expected an array \(90, 2\)"),
    "a function that fails to tell": (lambda p: (p, {"reward": lambda x, y: math.nan}), "finite.*nan"),
    "groups of another length": (lambda p: (p, {"groups": [0, 1]}), "groups: expected .*3"),
    "groups with a gap": (lambda p: (p, {"groups": [0, 2, 2]}), "groups.*without a gap"),
    "no seeds": (lambda p: (p, {"seeds": 0}), "seeds: expected a whole number"),
    "beta of zero": (lambda p: (p, {"beta": 0.0}), "beta"),
    "ridge below zero": (lambda p: (p, {"ridge": -1.0}), "ridge"),
    "Banzhaf of many": (
        lambda p: (
            data.synthetic_preferences(
                jax.random.key(0), contexts=2, responses=2, sources={f"{i}": 1.0 for i in range(13)}
            ),
            {"semivalue": "banzhaf", "policy": "tabular"},
        ),
        "got 'banzhaf' and 13 sources, more than 12; join sources",
    ),
    "tokens of features": (lambda p: (p, {"arithmetic": "token"}), "arithmetic: .*policy without tokens"),
    "sampled Banzhaf": (
        lambda p: (p, {"semivalue": "banzhaf", "permutations": 4}),
        "semivalue: expected 'shapley', .*; got 'banzhaf' and 4 permutations; leave that out",
    ),
    "the truth of a sample": (
        lambda p: (p, {"truth": True, "evaluations": 5}),
        "truth: expected no sample.*got 5 evaluations",
    ),
    "a ridge for a transformer": (
        lambda p: (p, {"policy": "transformer", "ridge": 1.0}),
        "ridge: expected the policy 'log-linear' or another that Newton's method fits",
    ),
    "epochs of Newton's method": (lambda p: (p, {"epochs": 2}), "epochs: expected the policy 'transformer'"),
    "held-out prompts of a table": (
        lambda p: (p, {"policy": "tabular", "held_out": 0.5}),
        "held_out: expected none with the policy 'tabular'",
    ),
    "seeds where nothing is random": (
        lambda p: (p, {"policy": "tabular", "seeds": 2}),
        "seeds: expected 1 with the policy 'tabular', where nothing is random; got 2",
    ),
    "a maker of something else": (
        lambda p: (p, {"policy": lambda pairs: 3}),
        "to a Policy or a Learner; got .* returns int",
    ),
    "unknown loss": (lambda p: (p, {"loss": "dop"}), "loss: expected one of 'dpo'"),
    "a loss that is none": (lambda p: (p, {"loss": 3}), "loss: expected a name of alignment.losses.*got 3"),
    "an option that a loss lacks": (
        lambda p: (p, {"loss_options": {"dispersion": 0.5}}),
        "loss_options: expected one of 'label_smoothing', 'divergence'; got 'dispersion'",
    ),
    "a loss without its option": (lambda p: (p, {"loss": "mallows_phi"}), "loss_options: expected dispersion"),
    "more accumulation than steps": (
        lambda p: (p, {"policy": "transformer", "epochs": 1, "accumulation": 99}),
        "steps: expected at least accumulation=99",
    ),
}


@pytest.mark.mistakes
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(mistake, pairs):
    make, message = MISTAKES[mistake]
    what, options = make(pairs)
    with pytest.raises(ValueError, match=message):
        sources.value_sources(what, **{"seeds": 1, **options})


@pytest.mark.mistakes
def test_a_retraining_that_fails_says_so_in_its_own_words(pairs):
    from jaxval.sources import arithmetic

    learner = sources.tabular_learner(pairs)
    here = arithmetic.Setting(
        learner, learner.policy.init(None), np.arange(1), np.array([[0, 1]]), np.ones((1, 2, 1)), None, False
    )

    def train(mask):
        if mask.all():
            raise FloatingPointError("train: the loss is nan at step 3; lower the learning rate")
        return here.reference

    with pytest.raises(FloatingPointError, match="nan at step 3"):
        list(arithmetic.tables("union", here, np.asarray(coalitions.all_coalitions(2)), train))


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"prompt": "question 0", "response": 3, "a": 1}'], "line 1: expected text in the field response"),
        (['{"prompt": "question 0", "response": "x"}'], "line 1: expected a number"),
        (['{"prompt": "question 0", "response": "x", "a": 1}'], "those of others only"),
        (['{"prompt": "q", "response": "x", "a": 1}', '{"prompt": "q", "response": "y", "b": 1}'], "line 2.*field a"),
    ],
)
def test_mistakes_in_a_table_of_scores(lines, message, pairs, tmp_path):
    path = tmp_path / "scores.jsonl"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=message):
        data.read_scores(path, pairs)


@pytest.mark.mistakes
def test_mistakes_of_what_values_are_for():
    for call, message in (
        (lambda: sources.best_coalition([0.0, 1.0, 2.0, 3.0], size=3), "size: .*0..2"),
        (lambda: sources.best_coalition(np.zeros((4, 2))), "one reward"),
        (lambda: sources.top_sources([1.0, 2.0], size=-1), "size"),
        (lambda: sources.source_weights([-1.0, 0.0]), "positive value"),
        (lambda: sources.harm_auc([[1.0, 2.0]], [[True, True]]), "some harmful"),
        (lambda: sources.payments([1.0, -1.0]), "a sum above 0"),
        (lambda: sources.payments([1.0, 2.0], negative="ignored"), "charged"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
