"""The strategies draw what they say and shrink to what can be read; the contract is met by rules and by no stub."""

import importlib.util
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import find, given, settings

from jaxval import _checks, axioms, social_choice, testing
from jaxval.preferences import ballot_wins

SETTINGS = settings(deadline=None, derandomize=True, max_examples=40)


@SETTINGS
@given(testing.profiles(alternatives=(1, 4), voters=(1, 5), weighted=True))
def test_profiles_are_profiles(profile):
    assert profile.orders.ndim == 2
    assert 1 <= profile.orders.shape[0] <= 5
    assert 1 <= profile.orders.shape[1] <= 4
    _checks.check_orders(profile.orders)
    _checks.check_weights(profile.weights, len(profile.orders))
    assert profile.weights.dtype == jnp.result_type(float)
    assert (profile.weights > 0).all()


@SETTINGS
@given(testing.ballots(alternatives=3, voters=(1, 3)))
def test_ballots_are_ballots(ballots):
    for place in ballots.positions:
        ranked = np.unique(place[place >= 0])
        assert ranked.tolist() == list(range(len(ranked)))
    assert ((ballots.weights >= 1) & (ballots.weights <= 9)).all()
    wins = np.asarray(ballot_wins(ballots))
    np.testing.assert_allclose((wins + wins.T)[~np.eye(3, dtype=bool)], ballots.weights.sum(), rtol=1e-6)


@SETTINGS
@given(testing.ballots(alternatives=3, ties=False, unranked=False))
def test_ballots_without_ties_and_gaps(ballots):
    assert (np.sort(ballots.positions, axis=1) == np.arange(3)).all()


@SETTINGS
@given(testing.preference_matrices(alternatives=3, voters=4), testing.skew_matrices(alternatives=(1, 4)))
def test_matrices_are_preference_functions(profile_matrix, any_matrix):
    for matrix in (profile_matrix, any_matrix):
        _checks.check_matrix(matrix)
    assert (np.asarray(any_matrix) * 16 % 1 == 0).all()
    # Only those of a profile have Σu >= 1.
    assert float(jnp.sum(social_choice.share_bounds(profile_matrix))) > 1 - 1e-6


def test_skew_matrices_reach_beyond_profiles():
    cycle = find(
        testing.skew_matrices(alternatives=3), lambda matrix: float(jnp.sum(social_choice.share_bounds(matrix))) < 0.5
    )
    assert cycle.shape == (3, 3)
    assert find(testing.skew_matrices(alternatives=2, steps=1), lambda matrix: matrix[0, 1] == 1).tolist() == [
        [0.5, 1.0],
        [0.0, 0.5],
    ]


def test_strategies_shrink():
    """The smallest Condorcet cycle, and the smallest profile on which F* is no Condorcet rule."""

    def cyclic(profile):
        matrix = np.asarray(axioms.as_profile_rule(lambda matrix: matrix[0])(*profile))
        return matrix[1] > 0.5 and matrix[2] < 0.5 and profile.orders.shape[0] == 3

    found = find(testing.profiles(alternatives=3, voters=3), cyclic, settings=settings(SETTINGS, max_examples=2000))
    assert found.orders.shape == (3, 3)
    assert found.orders[0].tolist() == [0, 1, 2]

    def broken(profile):
        return bool(axioms.violated(axioms.condorcet(social_choice.proportional, *profile)[0]))

    found = find(testing.profiles(alternatives=2, voters=(1, 3)), broken, settings=SETTINGS)
    assert sorted(found.orders.tolist()) == [[0, 1], [0, 1], [1, 0]]


@pytest.mark.parametrize("name", ["proportional", "random_dictatorship"])
def test_rules_meet_the_contract(name):
    testing.check_rule(getattr(social_choice, name), alternatives=(3,))


def uniform(matrix):
    return jnp.full(matrix.shape[0], 1 / matrix.shape[0])


STUBS = {
    "finite": lambda matrix: uniform(matrix) * jnp.nan,
    "at least 0": lambda matrix: uniform(matrix) + jnp.array([0.5, -0.5, 0.0]),
    "sum to 2": lambda matrix: 2 * uniform(matrix),
    "anonymity by 1": lambda orders, weights: jnp.eye(3)[orders[0, 0]],
    "neutrality by": lambda matrix: jnp.array([0.5, 0.25, 0.25]),
    "under jit": lambda matrix: uniform(matrix) if _checks.concrete(matrix) else jnp.array([1.0, 0.0, 0.0]),
}


@pytest.mark.parametrize("message", STUBS)
def test_stubs_do_not_meet_the_contract(message):
    with pytest.raises(AssertionError, match=message):
        testing.check_rule(STUBS[message], alternatives=(3,))


def test_what_is_not_asked_for_is_not_checked():
    testing.check_rule(STUBS["neutrality by"], alternatives=(3,), neutrality=False)
    testing.check_rule(STUBS["anonymity by 1"], alternatives=(3,), anonymity=False)
    with pytest.raises(ValueError, match=r"rule: expected a lottery of shape \(3,\)"):
        testing.check_rule(lambda matrix: matrix, alternatives=(3,))


def test_without_hypothesis_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    again = importlib.util.spec_from_file_location("testing_again", testing.__file__)
    with pytest.raises(ImportError, match=r'pip install "jaxval\[test\]"'):
        again.loader.exec_module(importlib.util.module_from_spec(again))


@pytest.mark.mistakes
def test_mistakes_at_the_door():
    with pytest.raises(ValueError, match="voters: expected a whole number of at least 1; got 0"):
        testing.profiles(voters=0)
    with pytest.raises(ValueError, match=r"alternatives: expected \(smallest, largest\); got \(4, 2\)"):
        testing.ballots(alternatives=(4, 2))
    with pytest.raises(ValueError, match="steps"):
        testing.skew_matrices(steps=0)
