"""Conclusions under other choices: by hand, and against the values that are compared."""

import itertools

import jax
import numpy as np
import pytest
import values_by_definition as definition

from jaxval import data, sources, values
from jaxval.sources import Variation


def test_conclusions_by_hand():
    """Source 0 above 1 above 2; the second choice puts 1 above 0, and takes 2 for useless, not for good."""
    same = Variation("semivalue", "banzhaf", np.array([0.4, 0.3, -0.1]))
    other = Variation("beta", "0.2", np.array([0.2, 0.3, 0.0]))
    found = sources.compare_variations([0.5, 0.3, -0.2], [same, other])
    assert found.sign.tolist() == [1, 1, -1]
    assert found.reversed == {(0, 1): (other,), (1, 2): ()}
    good = Variation("reward", "harmless", np.array([0.2, 0.3, 0.1]))
    assert sources.compare_variations([0.5, 0.3, -0.2], [same, good]).sign.tolist() == [1, 1, 0]


def test_ties_contradict_nothing():
    """Sources 1 and 2 differ by rounding; a choice that separates them takes back nothing that was concluded."""
    separated = Variation("semivalue", "banzhaf", np.array([0.5, 0.2, 0.3]))
    found = sources.compare_variations([0.5, 0.25, 0.25 - 1e-9], [separated])
    assert found.reversed == {(0, 1): (), (1, 2): ()}


def test_variations_of_a_table(close):
    table = np.random.default_rng(4).normal(size=8)
    groups = [0, 1, 0]
    found = {(each.kind, each.name): each.values for each in sources.table_variations(table, groups=groups)}
    close(found["semivalue", "banzhaf"], values.banzhaf(table))
    close(found["semivalue", "beta-shapley"], values.beta_shapley(table, alpha=4.0, beta=1.0))
    close(found["order", "as given"], values.asymmetric_shapley(table, groups))
    close(found["order", "reversed"], values.asymmetric_shapley(table, [1, 0, 1]))
    assert {kind for kind, _ in found} == {"semivalue", "order"}
    assert {variation.kind for variation in sources.table_variations(table)} == {"semivalue"}


@pytest.fixture(scope="module")
def valued():
    drawn = data.synthetic_preferences(
        jax.random.key(0), contexts=6, responses=3, sources={"a/one": 1.0, "a/two": 0.4, "b/one": -0.5}
    )
    return sources.value_sources(drawn, policy="tabular", beta=1.0, unions=[0, 0, 1])


@pytest.mark.parametrize("hierarchy", [True, False])
def test_copies_and_steps_by_the_definition(valued, hierarchy, x64):
    """A copy is a fourth source with the policy of its original; β halved doubles every step."""
    (one,) = valued.evaluated
    known = valued if hierarchy else valued._replace(totals=())
    steps = one.sources - one.reference

    def table(steps):
        rows = []
        for index in range(2 ** len(steps)):
            log_probs = one.reference + sum((s for i, s in enumerate(steps) if index >> i & 1), 0.0)
            chances = np.exp(log_probs) / np.exp(log_probs).sum(axis=1, keepdims=True)
            rows.append((chances * one.rewards[..., 0]).sum(axis=1).mean())
        return np.array(rows)

    def value(table, copied=None):
        if not hierarchy:
            return definition.shapley(table)
        unions = [0, 0, 1] if copied is None else [0, 0, 1, [0, 0, 1][copied]]
        return np.asarray(values.owen(table, unions))

    tolerance = 1e-9 if x64 else 2e-5
    for variation, scale in zip(sources.step_variations(known, 0), (2.0, 0.5), strict=True):
        np.testing.assert_allclose(variation.values, value(table(scale * steps)), atol=tolerance)
    copies = sources.duplicate_values(known, 0)
    for copied, found in enumerate(copies):
        expected = value(table(np.concatenate([steps, steps[[copied]]])), copied)
        np.testing.assert_allclose(found, expected[:3], atol=tolerance)
        assert expected[3] == pytest.approx(expected[copied], abs=1e-5)


def test_what_is_not_known_is_not_varied(valued):
    for unknown in (valued._replace(evaluated=()), valued._replace(utilities=None)):
        assert sources.step_variations(unknown, 0) == ()
        assert sources.duplicate_values(unknown, 0) is None


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sources.table_variations(np.zeros((4, 2))), r"table: .*under one reward.*\(4, 2\); pick a column"),
        (lambda: sources.table_variations(np.zeros(4), groups=[0]), r"groups: .*\(2,\)"),
        (
            lambda: sources.compare_variations([1.0, 2.0], [Variation("beta", "0.2", np.zeros(3))]),
            "variations: expected finite values of 2 sources.*0.2",
        ),
        (lambda: sources.compare_variations([np.nan, 2.0], []), "values: .*finite"),
    ],
    ids=itertools.count(),
)
def test_mistakes_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
