"""The level of alignment, its axiom, and the level that Lemma 4.9 promises."""

import axiom_definitions as plain
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import axioms, social_choice
from jaxval.preferences import first_choice_shares


@pytest.fixture(scope="module")
def profiles():
    rng = np.random.default_rng(2)
    orders = np.argsort(rng.random((40, 5, 4)), axis=-1).astype(np.int32)
    orders[10:20, 1:3] = orders[10:20, :1]
    orders[20:25] = orders[20:25, :1]
    weights = rng.multinomial(23, [0.2] * 5, size=40) / 23
    return orders, weights


def test_level_by_hand(close):
    close(axioms.ppa_level([0.5, 0.25, 0.25], [0.25, 0.5, 0.25]), 0.5)
    close(axioms.ppa_level([1.0, 0.0], [1.0, 0.0]), 1.0)  # nobody is behind the second: it does not count
    close(axioms.ppa_level([0.0, 1.0], [0.5, 0.5]), 0.0)


@pytest.mark.parametrize(
    ("rule_name", "level", "expected_level", "breaks"),
    [
        ("proportional", axioms.lemma_4_9_level, lambda profile: plain.lemma_4_9(profile, 1.0), False),
        ("proportional", social_choice.certificate, lambda profile: 1 / sum(plain.bounds_of(profile)), False),
        ("maximal_borda", 0.25, lambda profile: 0.25, True),
    ],
)
def test_gaps_are_those_of_the_definition(rule_name, level, expected_level, breaks, profiles, close):
    rule, definition = getattr(social_choice, rule_name), getattr(plain, rule_name)
    check = jax.jit(jax.vmap(lambda o, w: axioms.population_proportional_alignment(rule, o, w, level=level)))
    gaps, witness = check(*map(jnp.asarray, profiles))
    expected = []
    for orders, weights in zip(*profiles, strict=True):
        profile = plain.profile_of(orders, weights)
        achieved = plain.ppa_level(definition(profile), plain.shares_of(profile))
        expected.append(expected_level(profile) - achieved)
    close(gaps, expected, atol=1e-5)
    assert bool(jnp.any(axioms.violated(gaps, tolerance=1e-5))) == breaks
    # The witness names a group that is served that badly.
    rows = np.arange(len(gaps))
    shares = np.asarray(witness.shares)[rows, witness.alternative]
    ratios = np.asarray(witness.lottery)[rows, witness.alternative] / shares
    close(np.minimum(ratios, 1), witness.achieved, atol=1e-6)
    close(witness.level - witness.achieved, gaps)


def test_random_dictatorship_is_perfectly_aligned(profiles):
    gaps, _ = jax.vmap(
        lambda o, w: axioms.population_proportional_alignment(social_choice.random_dictatorship, o, w, level=1.0)
    )(*map(jnp.asarray, profiles))
    assert not bool(jnp.any(axioms.violated(gaps)))


@pytest.mark.parametrize("delta", [0.3, 0.6, 1.0])
def test_lemma_4_9(delta, profiles, close):
    """Equation (7) as written, and what the lemma says of it: at most 1/Σu, which is at most 1."""
    levels = jax.vmap(lambda o, w: axioms.lemma_4_9_level(o, w, delta=delta))(*map(jnp.asarray, profiles))
    expected = [plain.lemma_4_9(plain.profile_of(o, w), delta) for o, w in zip(*profiles, strict=True)]
    close(levels, expected, atol=2e-5)
    certificates = [1 / sum(plain.bounds_of(plain.profile_of(o, w))) for o, w in zip(*profiles, strict=True)]
    assert (np.asarray(levels) <= np.array(certificates) + 2e-5).all()
    assert (np.array(certificates) <= 1 + 1e-9).all()


def test_lemma_4_9_limits(close):
    """One dominating group, and two alternatives that nothing dominates: the level is 1."""
    close(axioms.lemma_4_9_level([[0, 1, 2], [0, 2, 1]], [0.5, 0.5]), 1.0, atol=1e-6)
    close(axioms.lemma_4_9_level([[0, 1, 2, 3], [1, 0, 2, 3]], [0.7, 0.3]), 1.0, atol=1e-6)
    close(axioms.lemma_4_9_level([[0]]), 1.0, atol=1e-6)


def test_shares_of_the_level_are_first_choices(profiles, close):
    orders, weights = profiles[0][0], profiles[1][0]
    _, witness = axioms.population_proportional_alignment(social_choice.proportional, orders, weights, level=0.5)
    close(witness.shares, first_choice_shares(orders, weights))


@pytest.mark.mistakes
def test_mistakes_at_the_door():
    with pytest.raises(ValueError, match="lottery: expected one probability for each of 3; got shape"):
        axioms.ppa_level([0.5, 0.5], [0.5, 0.25, 0.25])
    with pytest.raises(ValueError, match="shares: expected shares that sum to one"):
        axioms.ppa_level([0.5, 0.5], [0.5, 0.25])
    with pytest.raises(ValueError, match="level: expected a number in"):
        axioms.population_proportional_alignment(social_choice.proportional, [[0, 1]], level=2.0)
    with pytest.raises(ValueError, match="delta: expected a number in"):
        axioms.lemma_4_9_level([[0, 1]], delta=-0.5)
    with pytest.raises(ValueError, match="rule or level: expected finite numbers; got NaN"):
        axioms.population_proportional_alignment(social_choice.proportional, [[0, 1]], level=lambda matrix: jnp.nan)
