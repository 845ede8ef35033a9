"""For the tests of your own rules, values and policies: Hypothesis strategies, and contracts of rules and policies.

It needs the `test` extra. The strategies draw NumPy arrays in the records of `jaxval.types` and shrink towards few
voters, few alternatives, equal shares and the ranking 0, 1, ..., M - 1, or towards few players and one group.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxval import _checks, axioms
from jaxval.preferences import preference_matrix
from jaxval.types import BadArgument, Ballots, LinearLogits, Policy, Profile, Rule

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError('jaxval.testing needs Hypothesis; install the test extra: pip install "jaxval[test]"') from error

__all__ = [
    "ballots",
    "check_policy",
    "check_rule",
    "games",
    "preference_matrices",
    "profiles",
    "rankings",
    "skew_matrices",
]


def __dir__() -> list[str]:
    return list(__all__)


Sizes = int | tuple[int, int]


def rankings(alternatives: int) -> st.SearchStrategy[tuple[int, ...]]:
    """One ranking, best first; shrinks towards 0, 1, ..., M - 1.

    Args:
        alternatives: M.

    Returns:
        A strategy of tuples.

    Example:
        >>> from hypothesis import find
        >>> find(rankings(3), lambda ranking: ranking[0] == 2)
        (2, 1, 0)
    """
    return st.permutations(range(_checks.check_size("alternatives", alternatives))).map(tuple)


def profiles(
    *, alternatives: Sizes = (2, 4), voters: Sizes = (1, 6), weighted: bool = False
) -> st.SearchStrategy[Profile]:
    """Profiles of complete rankings.

    Args:
        alternatives: M, or the smallest and the largest.
        voters: the number of rankings, or the smallest and the largest. Every shape that is drawn may compile anew:
            few shapes make fast tests.
        weighted: whether shares are unequal, in proportions of 1 to 9.

    Returns:
        A strategy of `Profile`.

    Raises:
        ValueError: if a size is below 1, or the smallest above the largest.

    Example:
        >>> from hypothesis import find
        >>> profile = find(profiles(alternatives=3), lambda profile: len(set(profile.orders[:, 0])) == 2)
        >>> profile.orders.tolist(), profile.weights.tolist()
        ([[0, 1, 2], [1, 0, 2]], [0.5, 0.5])
    """
    few, many = _sizes("alternatives", alternatives)
    least, most = _sizes("voters", voters)

    @st.composite
    def draw_profile(draw: Any) -> Profile:
        ranking = rankings(draw(st.integers(few, many)))
        orders = draw(st.lists(ranking, min_size=least, max_size=most))
        num = len(orders)
        counts = draw(st.lists(st.integers(1, 9), min_size=num, max_size=num)) if weighted else [1] * num
        return Profile(np.array(orders, dtype=np.int32), _floats(counts) / _floats(sum(counts)))

    return draw_profile()


def ballots(
    *, alternatives: Sizes = (2, 4), voters: Sizes = (1, 6), ties: bool = True, unranked: bool = True
) -> st.SearchStrategy[Ballots]:
    """Ballots as cast, with ties and with alternatives that are not ranked.

    Args:
        alternatives: M, or the smallest and the largest.
        voters: the number of ballots, or the smallest and the largest.
        ties: whether alternatives may share a position.
        unranked: whether a ballot may leave out alternatives, even all.

    Returns:
        A strategy of `Ballots`, cast by 1 to 9 voters each; the positions are 0, 1, 2, ... without gaps.

    Raises:
        ValueError: as `profiles`.

    Example:
        >>> from hypothesis import find
        >>> find(ballots(alternatives=3), lambda ballots: ballots.positions.min() < 0).positions.tolist()
        [[0, 0, -1]]
    """
    few, many = _sizes("alternatives", alternatives)
    least, most = _sizes("voters", voters)

    @st.composite
    def draw_ballots(draw: Any) -> Ballots:
        count = draw(st.integers(few, many))
        places = st.lists(st.integers(0, count - 1), min_size=count, max_size=count) if ties else rankings(count)
        rows = []
        for _ in range(draw(st.integers(least, most))):
            place = np.array(draw(places))
            left_out = draw(st.lists(st.booleans(), min_size=count, max_size=count)) if unranked else [False] * count
            place[left_out] = count
            used, dense = np.unique(place, return_inverse=True)
            rows.append(np.where(left_out, -1, dense.reshape(place.shape)))
            assert (used >= 0).all()
        counts = draw(st.lists(st.integers(1, 9), min_size=len(rows), max_size=len(rows)))
        return Ballots(np.array(rows, dtype=np.int32), _floats(counts))

    return draw_ballots()


def preference_matrices(
    *, alternatives: Sizes = (2, 4), voters: Sizes = (1, 6), weighted: bool = False
) -> st.SearchStrategy[np.ndarray]:
    """Preference functions that come from a profile.

    Args:
        alternatives: as `profiles`.
        voters: as `profiles`.
        weighted: as `profiles`.

    Returns:
        A strategy of (alternatives, alternatives) arrays.

    Raises:
        ValueError: as `profiles`.

    Example:
        >>> from hypothesis import find
        >>> find(preference_matrices(alternatives=2), lambda matrix: True).tolist()
        [[0.5, 1.0], [0.0, 0.5]]
    """
    drawn = profiles(alternatives=alternatives, voters=voters, weighted=weighted)
    return drawn.map(lambda profile: np.asarray(preference_matrix(*profile)))


def skew_matrices(*, alternatives: Sizes = (2, 4), steps: int = 16) -> st.SearchStrategy[np.ndarray]:
    """Any matrices with P + Pᵀ = 1; most come from no profile.

    Args:
        alternatives: M, or the smallest and the largest.
        steps: the shares are multiples of 1/steps; a power of two makes them exact.

    Returns:
        A strategy of (alternatives, alternatives) arrays; shrinks towards 1/2 throughout.

    Raises:
        ValueError: if a size is below 1, or the smallest above the largest.

    Example:
        >>> from hypothesis import find
        >>> find(skew_matrices(alternatives=2), lambda matrix: matrix[0, 1] > 0.5).tolist()
        [[0.5, 0.5625], [0.4375, 0.5]]
    """
    few, many = _sizes("alternatives", alternatives)
    steps = _checks.check_size("steps", steps)

    @st.composite
    def draw_matrix(draw: Any) -> np.ndarray:
        count = draw(st.integers(few, many))
        upper = np.triu_indices(count, k=1)
        margins = draw(st.lists(st.integers(-steps, steps), min_size=len(upper[0]), max_size=len(upper[0])))
        matrix = np.zeros((count, count))
        matrix[upper] = np.trunc(np.array(margins) / 2) / steps if steps % 2 == 0 else np.array(margins) / (2 * steps)
        return _floats(0.5 + matrix - matrix.T)

    return draw_matrix()


def games(
    *, players: Sizes = (1, 4), largest: int = 4, special: bool = True
) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    """Games as tables, with a group for each player: what axioms of values take.

    Args:
        players: n, or the smallest and the largest.
        largest: utilities are whole numbers or halves in [-largest, largest], so that equal ones are equal.
        special: whether some games are changed so that they have a null player, or two players who are symmetric or
            dependent. Few random games have such players, and most axioms say nothing of other games.

    Returns:
        A strategy of (table, groups), (2^n,) and (n,); shrinks towards utilities of 0 and one group.

    Raises:
        ValueError: if a size is below 1, or the smallest above the largest.

    Example:
        >>> from hypothesis import find
        >>> table, groups = find(games(players=2), lambda game: game[0][3] > 0 and game[1].max() == 1)
        >>> table.tolist(), groups.tolist()
        ([0.0, 0.0, 0.0, 1.0], [0, 1])
    """
    few, many = _sizes("players", players)
    largest = _checks.check_size("largest", largest)

    @st.composite
    def draw_game(draw: Any) -> tuple[np.ndarray, np.ndarray]:
        count = draw(st.integers(few, many))
        utility = st.integers(-largest, largest)
        table = _floats(draw(st.lists(utility, min_size=2**count, max_size=2**count)))
        groups = draw(st.lists(st.integers(0, count - 1), min_size=count, max_size=count))
        if special and draw(st.booleans()):
            first, *others = draw(st.permutations(range(count)))
            if count == 1 or draw(st.booleans()):
                changed = axioms.with_null_player(table, first)
            elif draw(st.booleans()):
                changed = axioms.with_symmetric_players(table, first, others[0])
            else:
                changed = axioms.with_dependent_players(table, first, others[0])
            table = np.asarray(changed)
        return table, np.unique(groups, return_inverse=True)[1].reshape(-1).astype(np.int32)

    return draw_game()


def check_rule(
    rule: Rule,
    *,
    alternatives: tuple[int, ...] = (2, 3, 4),
    anonymity: bool = True,
    neutrality: bool = True,
    tolerance: float | None = None,
) -> None:
    """The contract of a rule: a lottery for every profile, the same under `jit` and `vmap`, blind to names.

    It is checked on 12 profiles of five ballots for each M, from a fixed seed. Among them are a unanimous one, a cycle,
    ties, unequal shares and a ballot that nobody holds.

    Args:
        rule: a function of P, or of (orders, weights), to a lottery.
        alternatives: the numbers of alternatives to try.
        anonymity: whether `axioms.anonymity` must hold.
        neutrality: whether `axioms.neutrality` must hold.
        tolerance: how far sums may be from one and results from each other; None means 1e-9 in float64 and 1e-5 in
            float32.

    Raises:
        AssertionError: if the rule fails. The message names the property and the profile.
        ValueError: if the rule is not a function of P or of (orders, weights), or JAX cannot trace it.

    Example:
        >>> from jaxval import social_choice
        >>> check_rule(social_choice.proportional, alternatives=(3,))
        >>> check_rule(lambda matrix: matrix[0], alternatives=(3,))
        Traceback (most recent call last):
        ...
        AssertionError: rule: probabilities sum to 2.5, not to 1, on
          5 x a > b > c
    """
    limit = _checks.tolerance(jnp.result_type(float)) if tolerance is None else tolerance
    profile_rule = axioms.as_profile_rule(rule)
    for count in alternatives:
        orders, weights = _contract_profiles(_checks.check_size("alternatives", count))
        together = np.asarray(jax.jit(jax.vmap(profile_rule))(orders, weights))
        compiled = jax.jit(profile_rule)
        for row, (one, shares) in enumerate(zip(orders, weights, strict=True)):
            where = f", on\n{axioms.format_profile(one, shares, indent='  ')}"
            lottery = np.asarray(profile_rule(one, shares))
            assert np.isfinite(lottery).all(), f"rule: expected finite probabilities; got {lottery.tolist()}{where}"
            assert lottery.min() >= -limit, f"rule: expected probabilities of at least 0; got {lottery.min():g}{where}"
            total = float(lottery.sum())
            assert abs(total - 1) <= limit * count, f"rule: probabilities sum to {total:g}, not to 1{where}"
            for name, other in (("jit", np.asarray(compiled(one, shares))), ("vmap", together[row])):
                difference = np.abs(other - lottery).max()
                assert difference <= limit, f"rule: differs by {difference:g} under {name}{where}"
        for name, wanted in (("anonymity", anonymity), ("neutrality", neutrality)):
            if wanted:
                axiom = getattr(axioms, name)
                gaps = np.asarray(jax.jit(jax.vmap(lambda o, w, axiom=axiom: axiom(rule, o, w)[0]))(orders, weights))
                worst = int(gaps.argmax())
                where = f", on\n{axioms.format_profile(orders[worst], weights[worst], indent='  ')}"
                assert gaps[worst] <= limit, f"rule: violates {name} by {gaps[worst]:g}{where}"


def check_policy(
    policy: Policy, *, contexts: int, responses: int, complete: bool = False, tolerance: float | None = None
) -> None:
    """The contract of a policy: log-probabilities of ids, -inf for -1, row by row, the same under `jit` and `vmap`.

    If the policy brings a linear map of its logits, `Policy.linear`, that map gives the same differences.

    It is checked at the parameters of `policy.init`, moved at random, on rows that repeat, reorder and leave out
    candidates.

    Args:
        policy: the policy to check.
        contexts: how many prompts its catalogue has.
        responses: how many candidates each prompt has; ids 0..responses - 1 must exist in all of them.
        complete: whether the candidates are all possible responses, so that their probabilities sum to one.
        tolerance: how far results may be from each other; None means 1e-9 in float64 and 1e-5 in float32.

    Raises:
        AssertionError: if the policy fails. The message names the property.

    Example:
        >>> from jaxval import policies
        >>> check_policy(policies.tabular(3, 2), contexts=3, responses=2, complete=True)
    """
    limit = (_checks.tolerance(jnp.result_type(float)) if tolerance is None else tolerance) * 10
    rng = np.random.default_rng(0)
    start = policy.init(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf + jnp.asarray(0.1 * rng.normal(size=leaf.shape), leaf.dtype), start)
    rows = jnp.asarray(rng.permutation(np.arange(contexts)).repeat(2))
    ids = np.stack([rng.permutation(responses) for _ in rows])
    whole = np.asarray(policy.log_probs(params, rows, jnp.asarray(ids)), dtype=float)
    assert whole.shape == ids.shape, f"log_probs: expected shape {ids.shape}, as the ids have; got {whole.shape}"
    assert np.isfinite(whole).all(), "log_probs: expected finite numbers for candidates of the catalogue"
    assert whole.max() <= limit, f"log_probs: expected at most 0; got {whole.max():g}"
    sums = np.exp(whole).sum(axis=1)
    assert sums.max() <= 1 + limit, f"log_probs: probabilities of the candidates sum to {sums.max():g}, above 1"
    if complete:
        assert sums.min() >= 1 - limit, f"log_probs: probabilities of all candidates sum to {sums.min():g}, not to 1"
    sorted_rows = [whole[row][np.argsort(ids[row])] for row in range(len(rows))]
    for row, context in enumerate(np.asarray(rows)):
        first = sorted_rows[int((np.asarray(rows) == context).argmax())]
        gap = np.abs(first - sorted_rows[row]).max()
        assert gap <= limit, f"log_probs: depends on the order of ids, prompt {context}"
    left = ids.copy()
    left[:, -1] = -1
    some = np.asarray(policy.log_probs(params, rows, jnp.asarray(left)), dtype=float)
    assert (some[:, -1] == -np.inf).all(), "log_probs: expected -inf where the id is -1"
    assert np.abs(some[:, :-1] - whole[:, :-1]).max() <= limit, "log_probs: an absent candidate changes the others"
    one = np.asarray(policy.log_probs(params, rows[:1], jnp.asarray(ids[:1])), dtype=float)
    assert np.abs(one - whole[:1]).max() <= limit, "log_probs: a row depends on the rows beside it"
    compiled = np.asarray(jax.jit(policy.log_probs)(params, rows, jnp.asarray(ids)), dtype=float)
    assert np.abs(compiled - whole).max() <= limit, "log_probs: differs under jit"
    stacked = jax.tree.map(lambda leaf, other: jnp.stack([leaf, other]), start, params)
    both = np.asarray(jax.vmap(policy.log_probs, in_axes=(0, None, None))(stacked, rows, jnp.asarray(ids)), dtype=float)
    assert np.abs(both[1] - whole).max() <= limit, "log_probs: differs under vmap over parameters"

    def total(params: Any) -> Any:
        taken = policy.log_probs(params, rows, jnp.asarray(left))
        return jnp.sum(jnp.where(jnp.asarray(left) < 0, 0, taken))

    slopes = jax.tree.leaves(jax.grad(total)(params))
    assert all(np.isfinite(np.asarray(slope)).all() for slope in slopes), "log_probs: a gradient is not finite"
    if policy.linear is not None:
        log_z = _logits(policy.linear, params)[np.asarray(rows)[:, None], ids] - whole
        gap = np.abs(log_z - log_z[:, :1]).max()
        assert gap <= limit * max(1, np.abs(log_z).max()), f"linear: its logits differ from log_probs by {gap:g}"


def _logits(linear: LinearLogits, params: Any) -> np.ndarray:
    """The logits that a linear map gives, b + f·θ, (contexts, responses)."""
    base = np.asarray(linear.base, dtype=float)
    if linear.features is None:
        return base + np.asarray(params)
    parts = jax.tree.map(lambda f, value: np.tensordot(f, value, axes=np.ndim(value)), linear.features, params)
    return base + sum(jax.tree.leaves(parts))


def _contract_profiles(alternatives: int) -> tuple[np.ndarray, np.ndarray]:
    """(12, 5, alternatives) orders and (12, 5) shares."""
    random = np.random.default_rng(0)
    orders = random.permuted(np.broadcast_to(np.arange(alternatives), (12, 5, alternatives)), axis=-1)
    orders[0] = np.arange(alternatives)
    orders[1] = [np.roll(np.arange(alternatives), -voter) for voter in range(5)]
    orders[2:4, 1::2] = orders[2:4, :4:2, ::-1]
    weights = np.full((12, 5), 0.2)
    weights[2:4] = [0.25, 0.25, 0.25, 0.25, 0]
    weights[8:] = random.multinomial(16, [0.2] * 5, size=4) / 16
    return orders.astype(np.int32), _floats(weights)


def _floats(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=jnp.result_type(float))


def _sizes(name: str, sizes: Sizes) -> tuple[int, int]:
    few, many = sizes if isinstance(sizes, tuple) else (sizes, sizes)
    few, many = _checks.check_size(name, few), _checks.check_size(name, many)
    if few > many:
        raise BadArgument(name, expected="(smallest, largest)", got=f"({few}, {many})")
    return few, many
