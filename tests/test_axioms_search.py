"""The search finds what is known to be there, nothing where nothing is, and shrinks it to what can be read."""

import axiom_definitions as plain
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import axioms, social_choice
from jaxval.axioms.search import _profiles as _profile_search
from jaxval.axioms.search import _shrink_profiles as _shrink


def smaller_profiles(orders):
    """Every profile with a voter or an alternative less."""
    for voter in range(len(orders)):
        if len(orders) > 1:
            yield np.delete(orders, voter, axis=0)
    alternatives = orders.shape[1]
    for gone in range(alternatives):
        if alternatives > 2:
            kept = orders[orders != gone].reshape(len(orders), -1)
            yield kept - (kept > gone)


@pytest.mark.float64
def test_maximal_lotteries_violate_monotonicity(close):
    """The smallest profile on which they do: three alternatives, five voters. By symmetry several lifts do the same."""
    rule = social_choice.maximal_lottery
    found = axioms.find_counterexample(
        rule, axioms.monotonicity, alternatives=[3], voters=[5], neutral=True, shrink=False, batch_size=126
    )
    assert found.orders.shape == (5, 3)
    assert found.gap > 0.13
    orders = np.array([[0, 1, 2], [0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
    gap, witness = axioms.monotonicity(rule, orders)
    close(gap, 1 / 3 - 1 / 5, atol=1e-4)
    close(witness.lottery, [1 / 3, 1 / 3, 1 / 3], atol=1e-4)
    close(witness.lifted_lottery[witness.alternative], 1 / 5, atol=1e-4)
    # By hand: before, majorities of 3 : 2 around a cycle, so 1/3 each. b at the top of c > b > a: it beats c by 4 : 1.
    after = plain.profile_of([[0, 1, 2], [0, 1, 2], [1, 2, 0], [2, 0, 1], [1, 2, 0]], [0.2] * 5)
    assert [plain.preferred(after, i, j) for i, j in ((0, 1), (1, 2), (2, 0))] == pytest.approx([0.6, 0.8, 0.6])
    # Margins 1, 3, 1 on the cycle: each has the probability of the margin opposite, so a 3/5, b and c 1/5.
    lottery = axioms.as_profile_rule(social_choice.maximal_lottery)(*(np.array(f) for f in zip(*after, strict=True)))
    close(lottery, [0.6, 0.2, 0.2], atol=1e-4)


def test_lotteries_of_the_majority_relation_violate_monotonicity(close):
    """Found among five voters and six alternatives: 4, lifted past 3 places in one ballot, falls from 1/3 to 1/5.

    No majority is a tie, so the lottery is the only one: exact equilibria, positive margins off their supports.
    """
    before = [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], [4, 2, 5, 3, 0, 1], [5, 1, 3, 0, 4, 2], [5, 3, 0, 4, 1, 2]]
    after = [[0, 4, 1, 2, 3, 5], *before[1:]]
    for orders, ninths_or_fifths in ((before, [1, 1, 0, 1, 3, 3]), (after, [1, 0, 1, 1, 1, 1])):
        profile = plain.profile_of(orders, [1] * 5)
        game = np.array(
            [[i != j and (1 if plain.preferred(profile, i, j) > 2.5 else -1) for j in range(6)] for i in range(6)]
        )
        margins = np.array(ninths_or_fifths) @ game
        assert (margins[np.array(ninths_or_fifths) > 0] == 0).all()
        assert (margins[np.array(ninths_or_fifths) == 0] > 0).all()
        lottery = axioms.as_profile_rule(social_choice.c1_maximal_lottery)(np.array(orders))
        close(lottery, np.array(ninths_or_fifths) / sum(ninths_or_fifths), atol=1e-4)


def test_what_holds_everywhere_small(x64):
    """Theorem 4.6, and others, on all 923 profiles of three alternatives and up to six voters."""
    for rule, axiom in (
        (social_choice.proportional, axioms.monotonicity),
        (social_choice.proportional, axioms.pareto),
        (social_choice.minimax, axioms.condorcet),
    ):
        assert axioms.find_counterexample(rule, axiom, alternatives=[3], voters=6, batch_size=512) is None


@pytest.mark.once
def test_found_is_minimal_and_replays():
    """From seven voters and four alternatives down to the smallest profile, from which nothing can be dropped."""
    rule, axiom = social_choice.maximal_borda, axioms.condorcet
    found = axioms.find_counterexample(
        rule, axiom, alternatives=[4], voters=[7], key=jax.random.key(1), profiles=500, batch_size=512
    )
    assert found.orders.shape == (3, 3)
    gap, witness = axiom(rule, found.orders, found.weights)
    assert float(gap) == found.gap
    jax.tree.map(np.testing.assert_array_equal, witness, found.witness)
    for smaller in smaller_profiles(found.orders):
        assert not bool(axioms.violated(axiom(rule, smaller)[0]))


def test_small_sizes_come_first_and_the_same_key_finds_the_same():
    def arguments(key):
        return {"alternatives": 4, "voters": 5, "key": jax.random.key(key), "profiles": 100, "batch_size": 128}

    found = axioms.find_counterexample(social_choice.proportional, axioms.condorcet, **arguments(0))
    assert found.orders.shape == (3, 2)
    again = axioms.find_counterexample(social_choice.proportional, axioms.condorcet, **arguments(0))
    np.testing.assert_array_equal(found.orders, again.orders)


def test_plan_counts_all_profiles():
    plan = axioms.search.find.search_plan(alternatives=3, voters=3, profiles=50)
    counts = {(size.alternatives, size.voters): size for size in plan}
    for (alternatives, voters), size in counts.items():
        every = np.concatenate(list(_profile_search._all_profiles(size._replace(profiles=10**6), False, 64)))
        multisets = {tuple(sorted(map(tuple, profile))) for profile in every.tolist()}
        assert len(multisets) == len(every) == axioms.search._profiles.count_profiles(alternatives, voters)
        assert size.exhaustive == (len(every) <= 50)
        assert size.profiles == min(len(every), 50)
    # One ballot fixed: every profile is a renaming of one of these.
    fixed = np.concatenate(list(_profile_search._all_profiles(counts[3, 3], True, 64)))
    assert len(fixed) == axioms.search._profiles.count_profiles(3, 3, neutral=True) == 21
    reached = {
        tuple(sorted(tuple(names[i] for i in ranking) for ranking in profile))
        for profile in fixed.tolist()
        for names in [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    }
    assert len(reached) == axioms.search._profiles.count_profiles(3, 3)


def test_random_profiles_are_profiles():
    size = axioms.search._profiles.SearchedSize(5, 6, 40, False)
    drawn = np.concatenate(list(_profile_search._random_profiles(jax.random.key(3), size, 16)))
    assert drawn.shape == (40, 6, 5)
    assert (np.sort(drawn, axis=-1) == np.arange(5)).all()
    tied = drawn[np.arange(40) % 16 % 4 == 2]  # every fourth of a chunk: ballots beside their reverses, disturbed
    opposed = [(profile[0] == profile[1][::-1]).mean() for profile in tied]
    assert np.mean(opposed) > 0.5


def test_shrinking_ends_where_nothing_simpler_violates():
    """A made-up axiom: at least two voters put 2 above 0. Two equal ballots as near to 0, 1, 2 as that allows."""

    def violated(profiles):
        place = np.argsort(profiles, axis=-1)
        if profiles.shape[-1] < 3:
            return np.zeros(len(profiles), dtype=bool)
        return (place[..., 2] < place[..., 0]).sum(axis=1) >= 2

    rng = np.random.default_rng(0)
    start = np.argsort(rng.random((9, 5)), axis=-1)
    assert violated(start[None])[0]
    shrunk = _shrink.shrunk(violated, start)
    assert shrunk.tolist() == [[1, 2, 0], [1, 2, 0]] or shrunk.tolist() == [[2, 0, 1], [2, 0, 1]]


def test_ballots_of_nobody_are_kept_where_they_matter():
    """A rule that goes wrong only beside a row of weight 0: the counterexample shows it, and no other does."""

    def upset_by_nobody(orders, weights):
        first = jax.nn.one_hot(orders[0, 0], orders.shape[1])
        return jnp.where(jnp.any(weights == 0), 1 - first, first)

    arguments = {"alternatives": [2], "batch_size": 8}
    assert axioms.find_counterexample(upset_by_nobody, axioms.pareto, voters=[3], **arguments) is None
    found = axioms.find_counterexample(upset_by_nobody, axioms.pareto, voters=[1, 3], **arguments)
    assert found.weights.tolist() == [1, 0, 0]
    assert "3 voters, some of weight 0:" in str(found)
    assert float(axioms.pareto(upset_by_nobody, found.orders, found.weights)[0]) == found.gap == 1


@pytest.mark.once
def test_printing():
    found = axioms.find_counterexample(
        social_choice.proportional, axioms.pairwise_majority, alternatives=3, voters=3, batch_size=64
    )
    assert str(found) == (
        "pairwise_majority violated by 0.333333 with 3 alternatives and 3 voters:\n"
        "  2 x a > b > c\n"
        "  1 x c > a > b\n"
        "ranking: a > b > c\n"
        "better: b\n"
        "worse: c\n"
        "lottery: [0.666667 0.       0.333333]"
    )
    assert axioms.format_profile([[0, 1], [1, 0]], [0.3, 0.7]) == "0.3 x a > b\n0.7 x b > a"
    assert axioms.format_profile([[0, 1], [1, 0]], [0.25, 0.75]) == "1 x a > b\n3 x b > a"


def test_progress_goes_to_standard_error(capsys):
    arguments = {"alternatives": [2], "voters": [2], "batch_size": 8}
    axioms.find_counterexample(social_choice.minimax, axioms.pareto, **arguments)
    assert capsys.readouterr() == ("", "")
    axioms.find_counterexample(social_choice.minimax, axioms.pareto, **arguments, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "pareto of minimax" in err


def test_nan_is_refused_with_its_profile():
    def nothing_for_b(matrix):
        return jnp.where(matrix[0, 1] > 0.5, 1.0, jnp.nan) * jnp.eye(2)[0]

    with pytest.raises(ValueError, match="got NaN, so pareto says nothing of\n  1 x b > a"):
        axioms.find_counterexample(nothing_for_b, axioms.pareto, alternatives=2, voters=1, batch_size=8)


@pytest.mark.mistakes
def test_mistakes_at_the_door():
    arguments = {"alternatives": 2, "voters": 2}
    with pytest.raises(ValueError, match="alternatives: expected a whole number of at least 1; got 0"):
        axioms.find_counterexample(social_choice.minimax, axioms.pareto, alternatives=0, voters=2)
    with pytest.raises(ValueError, match="profiles: expected a whole number of at least 1"):
        axioms.find_counterexample(social_choice.minimax, axioms.pareto, **arguments, profiles=0)
    with pytest.raises(ValueError, match="moving: expected one of"):
        axioms.find_counterexample(social_choice.minimax, axioms.monotonicity, **arguments, moving="all")


@pytest.mark.mistakes
def test_a_rule_that_is_no_lottery_is_refused():
    with pytest.raises(ValueError, match="rule: expected non-negative probabilities that sum to one; got a sum of 2"):
        axioms.find_counterexample(lambda matrix: matrix.sum(1), axioms.monotonicity, alternatives=3, voters=3)
