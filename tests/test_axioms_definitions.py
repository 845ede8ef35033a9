"""Every axiom against its definition in plain Python, on rules that keep it and rules that do not; and witnesses."""

from functools import partial

import axiom_definitions as plain
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import axioms, social_choice
from jaxval.preferences import first_choice_shares, preference_matrix


def shared(scores):
    winners = scores >= jnp.max(scores) - 1e-4
    return winners / jnp.sum(winners)


def fewest_first_choices(orders, weights):
    return shared(-first_choice_shares(orders, weights))


def first_voter(orders, weights):
    return jnp.eye(3)[orders[jnp.argmax(weights > 0), 0]]


def first_name(matrix):
    return jnp.eye(3)[jnp.argmax(jnp.sum(matrix, axis=1) > 1.5)]


RULES = {
    "proportional": (social_choice.proportional, plain.proportional),
    "minimax": (social_choice.minimax, plain.minimax),
    "maximal_borda": (social_choice.maximal_borda, plain.maximal_borda),
    "random_dictatorship": (social_choice.random_dictatorship, plain.random_dictatorship),
    "first_voter": (first_voter, plain.first_voter),
    "first_name": (first_name, plain.first_name),
    "fewest_first_choices": (fewest_first_choices, plain.fewest_first_choices),
}


def bounded_strategyproofness(rule, profile):
    return max(plain.top_ranking_costs(rule, profile), plain.above_bound(rule, profile))


# axiom, definition, options, a rule that keeps it on the profiles below, rules that break it there
CASES = {
    "monotonicity": (axioms.monotonicity, plain.monotonicity, {}, "proportional", ["fewest_first_choices"]),
    "monotonicity of blocs": (
        axioms.monotonicity,
        plain.monotonicity,
        {"moving": "bloc"},
        "proportional",
        ["fewest_first_choices"],
    ),
    "monotonicity of shares": (
        axioms.monotonicity,
        plain.monotonicity,
        {"share": 0.5},
        "proportional",
        ["fewest_first_choices"],
    ),
    "pareto": (axioms.pareto, plain.pareto, {}, "maximal_borda", ["fewest_first_choices"]),
    "condorcet": (axioms.condorcet, plain.condorcet, {}, "minimax", ["proportional", "fewest_first_choices"]),
    "pairwise_majority": (
        axioms.pairwise_majority,
        plain.pairwise_majority,
        {},
        "minimax",
        ["proportional", "fewest_first_choices"],
    ),
    "anonymity": (axioms.anonymity, plain.anonymity, {}, "random_dictatorship", ["first_voter"]),
    "neutrality": (axioms.neutrality, plain.neutrality, {}, "proportional", ["first_name"]),
    "pairwise_only": (axioms.pairwise_only, plain.pairwise_only, {}, "maximal_borda", ["random_dictatorship"]),
    "pairwise_only unmixed": (
        axioms.pairwise_only,
        plain.pairwise_only,
        {"mixture": 0},
        "maximal_borda",
        ["random_dictatorship"],
    ),
    "population_bounded_strategyproofness": (
        axioms.population_bounded_strategyproofness,
        bounded_strategyproofness,
        {},
        "proportional",
        ["maximal_borda", "fewest_first_choices"],
    ),
}
PAIRS = [(name, rule, rule != case[3]) for name, case in CASES.items() for rule in (case[3], *case[4])]


@pytest.fixture(scope="module")
def profiles():
    """Four ballots of three alternatives: equal and unequal shares, unanimous pairs, reverses, a share of zero."""
    rng = np.random.default_rng(1)
    orders = np.argsort(rng.random((24, 4, 3)), axis=-1).astype(np.int32)
    orders[8:14, 1] = orders[8:14, 0]
    orders[10:12] = [[0, 1, 2], [0, 2, 1], [2, 0, 1], [0, 1, 2]]
    orders[14:18, 3] = orders[14:18, 0, ::-1]
    weights = np.full((24, 4), 0.25)
    weights[12:] = rng.multinomial(17, [0.25] * 4, size=12) / 17
    weights[20:, 2] = 0
    weights[20:] /= weights[20:].sum(axis=1, keepdims=True)
    return orders, weights


@pytest.fixture(scope="module")
def results(profiles):
    """Gaps and witnesses of all profiles at once; each pair compiles once."""

    def run(axiom, rule, options):
        return jax.jit(jax.vmap(lambda o, w: axiom(rule, o, w, **options)))(*map(jnp.asarray, profiles))

    cache = {}

    def lookup(axiom_name, rule_name):
        if (axiom_name, rule_name) not in cache:
            axiom, _, options, *_ = CASES[axiom_name]
            cache[axiom_name, rule_name] = run(axiom, RULES[rule_name][0], options)
        return cache[axiom_name, rule_name]

    return lookup


@pytest.mark.parametrize(("axiom_name", "rule_name", "breaks"), PAIRS)
def test_gap_is_that_of_the_definition(axiom_name, rule_name, breaks, profiles, results, close):
    _, definition, options, *_ = CASES[axiom_name]
    gaps, _ = results(axiom_name, rule_name)
    expected = []
    for orders, weights in zip(*profiles, strict=True):
        # Rows of weight 0 are nobody's: the definition never sees them.
        profile = [(ranking, share) for ranking, share in plain.profile_of(orders, weights) if share > 0]
        expected.append(definition(RULES[rule_name][1], profile, **options))
    close(gaps, expected, atol=1e-6)
    assert bool(jnp.any(axioms.violated(gaps))) == breaks


def changed_profile(witness, orders, weights):
    return getattr(witness, "orders", orders), getattr(witness, "weights", weights)


@pytest.mark.parametrize("axiom_name", ["monotonicity", "monotonicity of blocs", "monotonicity of shares"])
def test_monotonicity_witness_replays(axiom_name, profiles, results, close):
    """The profile of the witness is the given one with y lifted, and the rule says of it what the witness says."""
    for rule_name in ("fewest_first_choices", "proportional"):
        rule = axioms.as_profile_rule(RULES[rule_name][0])
        gaps, witnesses = results(axiom_name, rule_name)
        for index in (0, 9, 12, 15, 22):
            orders, weights = profiles[0][index], profiles[1][index]
            gap, witness = jax.tree.map(lambda leaf, index=index: leaf[index], (gaps, witnesses))
            y, row, place = int(witness.alternative), int(witness.row), int(witness.rank)
            before = rule(orders, weights)
            after = rule(witness.orders, witness.weights)
            close(before[y] - after[y], gap, atol=1e-6)
            close(witness.lifted_lottery, after, atol=1e-6)
            lifted = plain.lift(tuple(orders[row].tolist()), y, place)
            assert orders[row].tolist().index(y) > place
            share = 0.5 if axiom_name.endswith("shares") else 1
            moving = "bloc" if axiom_name.endswith("blocs") else "ballot"
            expected = {}
            for other, (ranking, weight) in enumerate(plain.profile_of(orders, weights)):
                moves = ranking == tuple(orders[row].tolist()) if moving == "bloc" else other == row
                for r, w in (
                    [(lifted, weight * share), (ranking, weight * (1 - share))] if moves else [(ranking, weight)]
                ):
                    expected[r] = expected.get(r, 0) + w
            found = {}
            for r, w in plain.profile_of(witness.orders, np.asarray(witness.weights)):
                found[r] = found.get(r, 0) + w
            for ranking in expected.keys() | found.keys():
                assert abs(expected.get(ranking, 0) - found.get(ranking, 0)) < 1e-6


def test_pairwise_witness_has_two_profiles_of_one_matrix(profiles, results, close):
    for axiom_name in ("pairwise_only", "pairwise_only unmixed"):
        gaps, witnesses = results(axiom_name, "random_dictatorship")
        for index in np.flatnonzero(np.isfinite(gaps))[:8]:
            gap, witness = jax.tree.map(lambda leaf, index=index: leaf[index], (gaps, witnesses))
            one = preference_matrix(witness.orders, witness.weights)
            other = preference_matrix(witness.changed_orders, witness.changed_weights)
            close(one, other, atol=1e-6)
            lotteries = [
                social_choice.random_dictatorship(witness.orders, witness.weights),
                social_choice.random_dictatorship(witness.changed_orders, witness.changed_weights),
            ]
            close(abs(lotteries[0] - lotteries[1])[witness.alternative], gap, atol=1e-6)
            close(witness.lottery, lotteries[0], atol=1e-6)


def test_other_witnesses_replay(profiles, results, close):
    """Pareto, Condorcet, PMC: the pair named has the gap; Appendix N: the group named loses it or stands above it."""
    for axiom_name, better, worse in (("pareto", "better", "worse"), ("pairwise_majority", "better", "worse")):
        gaps, witness = results(axiom_name, "fewest_first_choices")
        named = np.isfinite(gaps)
        assert named.any()
        rows = np.arange(len(gaps))
        lotteries = np.asarray(witness.lottery)
        differences = lotteries[rows, getattr(witness, worse)] - lotteries[rows, getattr(witness, better)]
        close(differences[named], gaps[named])
        assert (np.asarray(getattr(witness, better))[~named] == -1).all()
    gaps, witness = results("condorcet", "fewest_first_choices")
    assert (np.asarray(witness.winner)[~np.isfinite(gaps)] == -1).all()
    gaps, witness = results("population_bounded_strategyproofness", "fewest_first_choices")
    rule = axioms.as_profile_rule(fewest_first_choices)
    for index in range(0, 24, 5):
        orders, weights = profiles[0][index], profiles[1][index]
        gap, one = jax.tree.map(lambda leaf, index=index: leaf[index], (gaps, witness))
        y = int(one.alternative)
        if one.claim == 0:
            lifted = [
                plain.lift(tuple(r), y, 0) if g else tuple(r) for r, g in zip(orders.tolist(), one.group, strict=True)
            ]
            assert [tuple(r) for r in one.orders.tolist()] == lifted
        close(
            rule(orders, weights)[y] - (rule(one.orders, weights)[y] if one.claim == 0 else one.bound), gap, atol=1e-6
        )


def test_a_rule_that_looks_at_the_first_voter_breaks_anonymity(close):
    def counts_rows(orders, weights):
        return jnp.mean(orders[:, :1] == jnp.arange(3)[None], axis=0)

    orders, weights = [[0, 1, 2], [1, 2, 0], [0, 1, 2]], [0.25, 0.5, 0.25]
    gap, witness = axioms.anonymity(first_voter, orders, weights)
    assert float(gap) == 1
    assert witness.orders[0, 0] == 1
    gap, _ = axioms.anonymity(counts_rows, orders, weights)
    assert float(gap) > 0.1
    assert int(axioms.anonymity(counts_rows, [[0, 1, 2], [1, 2, 0], [2, 0, 1]])[1].change) == 0  # nobody's ballot

    def counts_held_rows(orders, weights):
        held = (weights > 0)[:, None]
        return jnp.sum(held & (orders[:, :1] == jnp.arange(3)[None]), axis=0) / jnp.sum(held)

    # Three ballots of equal weight: no reordering shows it, splitting one does.
    gap, witness = axioms.anonymity(counts_held_rows, [[0, 1, 2], [1, 2, 0], [2, 0, 1]])
    assert float(gap) > 0.1
    assert int(witness.change) == 2
    close(witness.weights, [2 / 9, 1 / 3, 1 / 3, 1 / 9], atol=1e-6)
    # Three equal ballots: only merging leaves fewer than three.
    gap, witness = axioms.anonymity(lambda o, w: jnp.eye(3)[jnp.where(jnp.sum(w > 0) < 3, 0, 1)], [[0, 1, 2]] * 3)
    assert (float(gap), int(witness.change)) == (1, 3)


def test_ties_by_index_break_neutrality(close):
    def by_index(matrix):
        return jnp.eye(matrix.shape[0])[jnp.argmax(jnp.sum(matrix, axis=1))]

    cycle = [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    gap, witness = axioms.neutrality(by_index, cycle)
    assert float(gap) == 1
    renamed = axioms.as_profile_rule(by_index)(witness.orders)
    assert float(abs(renamed[witness.names[witness.alternative]] - witness.lottery[witness.alternative])) == 1


def test_large_profiles_use_the_tables_of_generators():
    """Six alternatives and seven ballots: beyond the full tables the checkers still tell right from wrong."""
    rng = np.random.default_rng(3)
    orders = np.argsort(rng.random((7, 6)), axis=1)

    def favourite(matrix):
        return jnp.eye(6)[5]

    assert float(axioms.neutrality(favourite, orders)[0]) == 1
    assert float(axioms.neutrality(social_choice.proportional, orders)[0]) < 1e-5
    assert float(axioms.anonymity(lambda orders, weights: jnp.eye(6)[orders[6, 0]], orders)[0]) == 1
    assert float(axioms.pairwise_only(social_choice.random_dictatorship, orders)[0]) > 0.1


def test_one_alternative_and_one_voter():
    """Degenerate sizes: nothing to lift, no pair, the only alternative wins."""
    one = [[0], [0]]
    rule = social_choice.proportional
    assert float(axioms.monotonicity(rule, one)[0]) == -np.inf
    assert float(axioms.pareto(rule, one)[0]) == -np.inf
    assert float(axioms.pairwise_majority(rule, one)[0]) == -np.inf
    assert float(axioms.condorcet(rule, one)[0]) == 0
    assert float(axioms.pairwise_only(rule, one)[0]) == 0
    assert float(axioms.population_bounded_strategyproofness(rule, one)[0]) == 0


def test_chunks_give_what_one_batch_gives(monkeypatch, close):
    from jaxval.axioms import _profiles

    rng = np.random.default_rng(5)
    orders = np.argsort(rng.random((6, 4)), axis=1)
    rule = partial(fewest_first_choices)
    whole = axioms.monotonicity(rule, orders)
    monkeypatch.setattr(_profiles, "AT_ONCE", 500)
    chunked = axioms.monotonicity(partial(fewest_first_choices), orders)
    jax.tree.map(close, whole, chunked)


def test_a_rule_that_cannot_be_hashed():
    class Rule:
        __hash__ = None

        def __call__(self, matrix):
            return matrix[:, 0] / jnp.sum(matrix[:, 0])

    assert float(axioms.pareto(Rule(), [[0, 1], [0, 1]])[0]) == -1
    gains, _ = axioms.manipulation_gains(Rule(), [[0, 1], [0, 1]])
    assert gains.tolist() == [0, 0]


def test_known_profiles_of_the_paper(close):
    """(47) violates PMC for every finite beta; Appendix F separates random dictatorship from every function of P."""
    orders, weights = [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]], [0.3, 0.1, 0.3, 0.3]
    gap, witness = axioms.pairwise_majority(social_choice.proportional, orders, weights)
    close(gap, 0.1 / 1.3, atol=1e-6)  # u = (0.3, 0.4, 0.6)
    assert witness.ranking.tolist() == [2, 0, 1]
    check = jax.vmap(
        lambda b: axioms.pairwise_majority(
            partial(social_choice.proportional, beta=b), jnp.array(orders), jnp.array(weights)
        )
    )
    gaps, _ = check(jnp.array([1.0, 10.0, jnp.inf]))
    assert (np.asarray(gaps[:2]) > 1e-3).all()
    assert float(gaps[2]) <= 0
    gap, witness = axioms.pairwise_only(social_choice.random_dictatorship, [[0, 1, 2], [1, 0, 2], [2, 0, 1]], mixture=0)
    close(gap, 1 / 3, atol=1e-6)


@pytest.mark.once
def test_nan_is_refused():
    def nothing(matrix):
        return jnp.full(matrix.shape[0], jnp.nan)

    orders = [[0, 1], [1, 0]]
    for axiom, options in (
        (axioms.monotonicity, {}),
        (axioms.pareto, {}),
        (axioms.condorcet, {}),
        (axioms.neutrality, {}),
        (axioms.population_proportional_alignment, {"level": 0.5}),
        (axioms.population_bounded_manipulability, {"method": "search"}),
    ):
        with pytest.raises(ValueError, match="NaN"):
            axiom(nothing, orders, **options)


@pytest.mark.mistakes
def test_mistakes_at_the_door():
    orders = [[0, 1], [1, 0]]
    rule = social_choice.proportional
    with pytest.raises(ValueError, match="orders: expected every row to be a permutation"):
        axioms.pareto(rule, [[0, 0], [1, 0]])
    with pytest.raises(ValueError, match="weights: expected shares that sum to one"):
        axioms.pareto(rule, orders, [1.0, 1.0])
    with pytest.raises(ValueError, match="moving: expected one of 'ballot', 'bloc'; got 'row'"):
        axioms.monotonicity(rule, orders, moving="row")
    with pytest.raises(ValueError, match=r"share: expected a number in \(0, 1\]; got 0"):
        axioms.monotonicity(rule, orders, share=0)
    with pytest.raises(ValueError, match=r"mixture: expected a number in \[0, 1\); got 1"):
        axioms.pairwise_only(rule, orders, mixture=1)
    with pytest.raises(ValueError, match=r"rule: expected a lottery of shape \(2,\); got shape \(\)"):
        axioms.pareto(lambda matrix: jnp.sum(matrix), orders)
    with pytest.raises(ValueError, match=r"fix options first, such as functools.partial"):
        axioms.pareto(lambda matrix, beta=1.0: matrix[0], orders)
    with pytest.raises(ValueError, match="rule: expected one positional parameter"):
        axioms.pareto(lambda: 0, orders)
    with pytest.raises(ValueError, match="rule: expected a function of JAX arrays"):
        axioms.monotonicity(lambda matrix: np.asarray(matrix)[0], orders)
    with pytest.raises(ValueError, match="rule: expected a function of a matrix"):
        axioms.pareto(3, orders)
