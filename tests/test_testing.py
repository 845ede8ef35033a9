"""The strategies draw what they say and shrink to what can be read; the contract is met by rules and by no stub."""

import importlib.util
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import find, given, settings

from jaxval import _checks, _objects, axioms, social_choice, testing
from jaxval.preferences import ballot_wins, preference_matrix
from jaxval.testing import fixtures

SETTINGS = settings(deadline=None, derandomize=True, max_examples=40)


@SETTINGS
@given(testing.profiles(alternatives=(1, 4), voters=(1, 5), weighted=True))
def test_profiles_are_profiles(profile):
    assert profile.orders.ndim == 2
    assert 1 <= profile.orders.shape[0] <= 5
    assert 1 <= profile.orders.shape[1] <= 4
    _objects.check_orders(profile.orders)
    _objects.check_weights(profile.weights, len(profile.orders))
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
        _objects.check_matrix(matrix)
    assert (np.asarray(any_matrix) * 16 % 1 == 0).all()
    # Only those of a profile have Σu >= 1.
    assert float(jnp.sum(social_choice.share_bounds(profile_matrix))) > 1 - 1e-6


@SETTINGS
@given(testing.grouped_profiles(alternatives=3, voters=(1, 4), groups=2, weighted=True))
def test_groups_of_profiles_have_no_gaps(drawn):
    profile, group = drawn
    _objects.check_weights(profile.weights, len(profile.orders))
    _objects.check_groups(group, len(profile.orders))
    assert group.max() <= 1


@pytest.mark.once
def test_a_rule_is_tested_on_groups():
    """Two parties of one voter each whose favourites differ: RLHF breaks the tie of no party's, F* serves both."""

    def level(rule, profile, group):
        parties = [preference_matrix(profile.orders[group == g]) for g in range(group.max() + 1)]
        shares = np.array([profile.weights[group == g].sum() for g in range(group.max() + 1)])
        lottery = rule(preference_matrix(*profile))
        return float(social_choice.group_outcomes(jnp.stack(parties), lottery, shares=shares).level)

    def unserved(drawn):
        return level(social_choice.maximal_borda, *drawn) < 1e-6

    profile, group = find(testing.grouped_profiles(alternatives=2, voters=(1, 3)), unserved, settings=SETTINGS)
    assert sorted(profile.orders[:, 0].tolist()) == [0, 0, 1]
    assert group.max() == 1
    assert level(social_choice.proportional, profile, group) > 0.99


@pytest.mark.once
def test_skew_matrices_reach_beyond_profiles():
    cycle = find(
        testing.skew_matrices(alternatives=3), lambda matrix: float(jnp.sum(social_choice.share_bounds(matrix))) < 0.5
    )
    assert cycle.shape == (3, 3)
    assert find(testing.skew_matrices(alternatives=2, steps=1), lambda matrix: matrix[0, 1] == 1).tolist() == [
        [0.5, 1.0],
        [0.0, 0.5],
    ]


@pytest.mark.once
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


@pytest.mark.once
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


def test_the_fixtures_know_every_axiom():
    others = {"as_profile_rule", "as_value", "find_counterexample", "format_game", "format_profile", "lemma_4_9_level"}
    others |= {"manipulation_gains", "of_values", "ppa_level", "violated"}
    public = {name for name in axioms.__all__ if name.islower() and not name.startswith("with_")}
    assert {*fixtures.RULE_AXIOMS, *fixtures.VALUE_AXIOMS} == public - others


TEN_LINES = """\
import pytest
from jaxval import social_choice

pytest_plugins = ["jaxval.testing.fixtures"]

@pytest.fixture
def rule():
    return social_choice.maximal_borda

def test_rule(rule_axiom):
    rule_axiom(alternatives=3, voters=3)
"""


@pytest.mark.once
def test_a_file_of_ten_lines_prints_the_minimal_counterexample(tmp_path):
    assert len([line for line in TEN_LINES.splitlines() if line]) <= 10
    tmp_path.joinpath("test_mine.py").write_text(TEN_LINES)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "condorcet or neutrality"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "condorcet violated by 0.5 with 3 alternatives and 3 voters:\n  2 x a > b > c\n" in ran.stdout
    assert "1 failed, 1 passed" in ran.stdout


def test_known_violations_are_held_to():
    search = fixtures._searcher(social_choice.maximal_borda, "condorcet", ("condorcet",), {})
    search(alternatives=3, voters=3)  # it is violated, as stated
    with pytest.raises(pytest.fail.Exception, match="no counterexample to condorcet was found"):
        search(alternatives=[2], voters=3)
    with pytest.raises(pytest.fail.Exception, match=r"violates: expected names among .*; got condorcets"):
        fixtures._searcher(social_choice.maximal_borda, "condorcet", ("condorcets",), {})


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
