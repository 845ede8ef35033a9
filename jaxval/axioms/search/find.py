"""The search for a counterexample to an axiom: a profile if the axiom is of rules, a game if it is of values."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key

from jaxval import _checks
from jaxval.axioms.kinds import games_of, name_of
from jaxval.axioms.search._games import search_games
from jaxval.axioms.search._profiles import SearchedSize, check_most, count_profiles, plan_profiles, search_profiles
from jaxval.axioms.search.counterexample import Counterexample, GameCounterexample
from jaxval.axioms.values import Value
from jaxval.coalitions.masks import check_fits, check_players
from jaxval.types import BadArgument, Rule

__all__ = ["SearchedSize", "count_profiles", "find_counterexample", "search_plan"]

Sizes = int | Sequence[int]


def search_plan(
    *, alternatives: int | Sequence[int], voters: int | Sequence[int], profiles: int = 20_000, neutral: bool = False
) -> list[SearchedSize]:
    """The sizes of profiles that `find_counterexample` searches, in order of their numbers of profiles.

    Args:
        alternatives: the largest M, so that all from 2 up are searched; or a sequence of M.
        voters: the largest number of voters, so that all from 1 up are searched; or a sequence of numbers.
        profiles: the most profiles of one size; a size with no more profiles than this is searched in full.
        neutral: as in `find_counterexample`.

    Returns:
        A list of `SearchedSize`.

    Raises:
        ValueError: if a size is below 1.

    Example:
        >>> for size in search_plan(alternatives=[3], voters=[2, 9], profiles=1000):
        ...     print(*size)
        3 2 21 True
        3 9 1000 False
    """
    limit, neutral = _checks.check_size("profiles", profiles), _checks.check_flag("neutral", neutral)
    return plan_profiles(_sizes("alternatives", alternatives, 2), _sizes("voters", voters, 1), limit, neutral)


def find_counterexample(
    rule_or_value: Rule | Value,
    axiom: Callable[..., tuple[Array, Any]],
    *,
    alternatives: Sizes | None = None,
    voters: Sizes | None = None,
    players: Sizes | None = None,
    key: Key[Array, ""] | None = None,
    profiles: int = 20_000,
    games: int = 20_000,
    tolerance: float | None = None,
    neutral: bool = False,
    shrink: bool = True,
    batch_size: int = 1024,
    progress: bool = False,
    **options: Any,
) -> Counterexample | GameCounterexample | None:
    """A minimal counterexample: a profile on which a rule violates an axiom, or a game on which a value does.

    The axiom determines what is searched: games for axioms of values, which are those that `of_values` marks, and
    profiles for all other axioms. The result None means that the search met no violation. This is a proof only for
    sizes searched in full, with an axiom that is exact on each profile.

    Profiles have n voters of equal weight, and small sizes come first (`search_plan` lists them). A size with at most
    `profiles` profiles is searched in full, as multisets of rankings. Of a larger size, `profiles` random profiles are
    searched: a quarter each from the impartial culture, from Mallows models, near ties (ballots beside their reverses)
    and near cycles (rotations of one ranking). A violating profile is shrunk until every simpler profile satisfies the
    axiom. A profile is simpler without an alternative, without one or two voters, or if a ballot becomes equal to
    another or closer to the order of the names.

    Games with few players come first. All games with utilities 0 and 1, and all groupings of the players, are searched
    if these are at most `games`. Then `games` random games are searched: a quarter each have whole utilities, utilities
    0 and 1, monotone utilities, and additive utilities of which a few are changed. Three in four of them then get a
    null player or symmetric or dependent players. In most pairs of games, one player has the same marginals in both. If
    the axiom or the value takes groups, random games have random groupings. A violating game is shrunk until every
    simpler game satisfies the axiom. A game is simpler without a player, with two consecutive groups joined, or if a
    utility, alone or with all equal utilities, becomes rounder.

    Args:
        rule_or_value: a rule, a function of P or of (orders, weights) to a lottery; or a value, a function of a table
            or of (table, groups) to one number for each player. It must work under `vmap`.
        axiom: a function `axiom(rule, orders, weights, **options)`, or one that `of_values` marks, to (gap, witness).
        alternatives: for axioms of rules, the largest M, so that all from 2 up are searched; or a sequence of M.
        voters: for axioms of rules, the largest number of voters, so that all from 1 up are searched; or a sequence of
            numbers.
        players: for axioms of values, the largest number of players, so that all from 1 up are searched; or a sequence
            of numbers.
        key: the random key of random profiles and games; None means `jax.random.key(0)`.
        profiles: the most profiles of one size.
        games: how many random games of each number of players are searched.
        tolerance: the axiom is violated if gap > tolerance; None means 1e-9 in float64 and 1e-5 in float32.
        neutral: whether the first voter's ranking is fixed to 0, 1, ..., M - 1 in full searches, which then have up to
            M! times fewer profiles. This is sound if neither the rule nor the axiom depends on the names of the
            alternatives. For axioms of rules only.
        shrink: whether a violating profile or game is shrunk.
        batch_size: how many profiles or games are evaluated together; a smaller number takes less memory and more time.
        progress: whether a bar with the remaining time goes to standard error.
        **options: options of the axiom.

    Returns:
        A `Counterexample`, which prints as a table of ballots, a `GameCounterexample`, which prints its utilities, or
        None.

    Raises:
        ValueError: if a size is below 1, if sizes are given that the kind of axiom does not take, if a rule is given
            with an axiom of values or a value with an axiom of rules, or if the rule or value returns NaN or another
            shape.

    Example:
        >>> from jaxval import axioms, social_choice, values
        >>> found = find_counterexample(social_choice.maximal_borda, axioms.condorcet, alternatives=3, voters=5)
        >>> print(found)
        condorcet violated by 0.5 with 3 alternatives and 3 voters:
          2 x a > b > c
          1 x b > c > a
        winner: a
        lottery: [0.5 0.5 0. ]
        >>> print(find_counterexample(values.banzhaf, axioms.efficiency, players=3))
        efficiency violated by 0.25 with 3 players:
          1 for {1, 2}
          0 for all others
        total: 0.25
        expected: 0.
        values: [-0.25  0.25  0.25]
    """
    key = jax.random.key(0) if key is None else _checks.check_key(key)
    _check_options(axiom, options)
    batch_size = _checks.check_size("batch_size", batch_size)
    if tolerance is not None:
        expected = "a finite number of at least 0, or None"
        tolerance = float(_checks.check_number("tolerance", tolerance, low=0, high=1e30, expected=expected))
    common: dict[str, Any] = {
        "key": key,
        "tolerance": tolerance,
        "shrink": _checks.check_flag("shrink", shrink),
        "batch_size": batch_size,
        "progress": progress,
    }
    takes = games_of(axiom)
    if takes is None:
        _check_sizes(axiom, "rules", {"alternatives": alternatives, "voters": voters}, {"players": players})
        assert alternatives is not None  # for the type checker
        assert voters is not None
        plan = search_plan(alternatives=alternatives, voters=voters, profiles=profiles, neutral=neutral)
        return search_profiles(rule_or_value, axiom, options, plan=plan, neutral=neutral, **common)
    others = {"alternatives": alternatives, "voters": voters, "neutral": _checks.check_flag("neutral", neutral) or None}
    others |= {name: options.get(name) for name in ("table", "other", "groups")}
    _check_sizes(axiom, "values", {"players": players}, others)
    assert players is not None
    sizes, games = _sizes("players", players, 1), _checks.check_size("games", games)
    return search_games(rule_or_value, axiom, takes, options, players=sizes, games=games, **common)


def _check_options(axiom: Callable[..., Any], options: dict[str, Any]) -> None:
    """Check before the search that the axiom has all these options, and that no option without a default is missing."""
    _checks.check_function("axiom", axiom, "a function of a rule or of a value")
    parameters = inspect.signature(axiom).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    keywords = [p for p in parameters if p.kind is not p.VAR_POSITIONAL]
    for name in options:
        if name not in {p.name for p in keywords}:
            known = [p.name for p in keywords if p.kind is p.KEYWORD_ONLY]
            expected = f"an option of {name_of(axiom)}: {', '.join(known) or 'it has none'}"
            raise BadArgument(name, expected=expected, got=f"{name}={options[name]!r}")
    for p in keywords:
        if p.kind is p.KEYWORD_ONLY and p.default is p.empty and p.name not in options:
            raise BadArgument(
                p.name,
                expected=f"a value, because the axiom {name_of(axiom)} has no default for it",
                got="none",
                advice=f"pass {p.name}=... to find_counterexample",
            )


def _check_sizes(axiom: Callable[..., Any], kind: str, needed: dict[str, Any], others: dict[str, Any]) -> None:
    """Check that the sizes that this kind of axiom needs are given, and that no argument of the other kind is."""
    names = " and ".join(needed)
    hint = "; mark your own axioms of values with axioms.of_values" if kind == "rules" else ""
    for name, value in needed.items():
        if value is None:
            raise BadArgument(name, expected=f"{names}, as {name_of(axiom)} is an axiom of {kind}", got=f"None{hint}")
    for name, value in others.items():
        if value is not None:
            raise BadArgument(
                name, expected=f"only {names}, as {name_of(axiom)} is an axiom of {kind}", got=f"{value!r}{hint}"
            )


def _check_table(name: str, players: int) -> int:
    """Check a number of players of whose games there can be tables."""
    check_fits(check_players(players), row_bytes=8)
    return players


def _sizes(name: str, sizes: Sizes, smallest: int) -> list[int]:
    check = _check_table if name == "players" else check_most
    if isinstance(sizes, int | np.integer):
        largest = check(name, sizes)
        return list(range(min(smallest, largest), largest + 1))
    if not isinstance(sizes, Iterable):
        raise BadArgument(name, expected="a whole number of at least 1, or several", got=f"{sizes!r:.80}")
    return [check(name, size) for size in sizes]
