"""Hypothesis strategies: rankings, profiles, ballots, preference functions and games, as NumPy arrays."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from jaxval import _checks, axioms
from jaxval.preferences import preference_matrix
from jaxval.types import BadArgument, Ballots, Profile

__all__ = ["ballots", "games", "grouped_profiles", "preference_matrices", "profiles", "rankings", "skew_matrices"]

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


def grouped_profiles(
    *, alternatives: Sizes = (2, 4), voters: Sizes = (1, 6), groups: int = 3, weighted: bool = False
) -> st.SearchStrategy[tuple[Profile, np.ndarray]]:
    """Profiles of voters in groups, such as parties: what rules are judged by if groups are given.

    Args:
        alternatives: as `profiles`.
        voters: as `profiles`.
        groups: the largest number of groups.
        weighted: as `profiles`.

    Returns:
        A strategy of (profile, group): a `Profile` and (rankings,) the group of each ranking, 0, 1, ... without gaps.
        It shrinks towards one group.

    Raises:
        ValueError: as `profiles`, and if `groups` is below 1.

    Example:
        Two parties with different first choices.

        >>> from hypothesis import find
        >>> profile, group = find(grouped_profiles(alternatives=2), lambda drawn: drawn[0].orders[drawn[1] == 1].any())
        >>> profile.orders.tolist(), group.tolist()
        ([[0, 1], [0, 1]], [0, 1])
    """
    most = _checks.check_size("groups", groups)

    @st.composite
    def draw_groups(draw: Any, drawn: st.SearchStrategy[Profile]) -> tuple[Profile, np.ndarray]:
        profile = draw(drawn)
        num = len(profile.orders)
        group = draw(st.lists(st.integers(0, most - 1), min_size=num, max_size=num))
        return profile, np.unique(group, return_inverse=True)[1].reshape(-1).astype(np.int32)

    return draw_groups(profiles(alternatives=alternatives, voters=voters, weighted=weighted))


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
        >>> plain = games(players=2, special=False)
        >>> table, groups = find(plain, lambda game: game[0][3] > 0 and game[1].max() == 1)
        >>> table.tolist(), groups.tolist()
        ([0.0, 0.0, 0.0, 1.0], [0, 1])
    """
    few, many = _sizes("players", players)
    largest = _checks.check_size("largest", largest)
    if not isinstance(special, bool):
        raise BadArgument("special", expected="True or False", got=f"{special!r:.80}")

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


def _floats(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=jnp.result_type(float))


def _sizes(name: str, sizes: Sizes) -> tuple[int, int]:
    few, many = sizes if isinstance(sizes, tuple) else (sizes, sizes)
    few, many = _checks.check_size(name, few), _checks.check_size(name, many)
    if few > many:
        raise BadArgument(name, expected="(smallest, largest)", got=f"({few}, {many})")
    return few, many
