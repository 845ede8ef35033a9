"""Conclusions under other choices: by hand, and against the values that are compared."""

import itertools

import numpy as np
import pytest

from jaxval import sources, values
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
