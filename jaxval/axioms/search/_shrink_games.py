"""Shrinking: from a game on which a value violates an axiom to a simpler game that cannot be shrunk further."""

from collections.abc import Callable, Iterator

import numpy as np

from jaxval.axioms._games import null_rows

__all__ = ["consecutive", "shrunk_games"]

ONE_BY_ONE = 6  # up to six players, single utilities change too; beyond, only all equal utilities together

Violated = Callable[[np.ndarray, np.ndarray], np.ndarray]


def shrunk_games(violated: Violated, tables: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Replace the game by the first simpler game that still violates the axiom, until no simpler game does.

    These games are simpler, in this order: games with one player fewer; games with one group fewer, or players in the
    order of their groups; games whose utilities are nearer to 0, whole, or positive. A utility changes alone, together
    with all equal utilities, or together with another one such that the marginals of a player stay. The last two keep
    the premises of axioms.

    Args:
        violated: a function of candidates (candidates, games, 2^n) and groups: which candidates violate the axiom.
        tables: (games, 2^n) the game, or the two games, on which the axiom is violated.
        groups: (n,) the group of each player.

    Returns:
        The tables and the groups of the last game.
    """
    while True:
        for candidates, simpler_groups in _simpler(tables, groups):
            if len(candidates) and (hits := np.flatnonzero(violated(candidates, simpler_groups))).size:
                tables, groups = candidates[hits[0]], simpler_groups
                break
        else:
            return tables, groups


def consecutive(groups: np.ndarray) -> np.ndarray:
    """The groups renumbered 0, 1, ... in their order."""
    return np.unique(groups, return_inverse=True)[1].reshape(-1).astype(np.int32)


def _simpler(tables: np.ndarray, groups: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    players = len(groups)
    index = np.arange(2**players)
    if players > 1:
        for player in range(players):  # remove the player from every coalition, or add the player to every coalition
            absent = index[index >> player & 1 == 0]
            smaller = np.stack([tables[:, absent], tables[:, absent | 1 << player]])
            yield smaller, consecutive(np.delete(groups, player))
    for group in range(groups.max()):
        yield tables[None], np.where(groups > group, groups - 1, groups)
    order = np.argsort(groups, kind="stable")
    if (order != np.arange(players)).any():  # player order[i] becomes player i
        rows = sum((index >> i & 1) << int(player) for i, player in enumerate(order))
        yield tables[:, rows][None], groups[order]
    now = _complexity(tables)
    rounder = sorted((candidate for candidate in _rounder(tables) if _complexity(candidate) < now), key=_complexity)
    yield np.array(rounder, dtype=tables.dtype).reshape(-1, *tables.shape), groups


def _rounder(tables: np.ndarray) -> Iterator[np.ndarray]:
    """The same games with rounder utilities, or with fewer different utilities."""
    players = tables.shape[1].bit_length() - 1
    largest = np.abs(tables).max(initial=1e-30)
    yield from (np.trunc(tables), tables / largest, tables - tables[:, :1], tables.max(axis=1, keepdims=True) - tables)
    for player in range(players):
        yield tables[:, null_rows(players, player)]
    for game, table in enumerate(tables):
        levels = np.unique(table)
        for row, utility in enumerate(table):
            nearer = utility - np.sign(utility)
            for target in np.unique([*levels, 0, 1, nearer, np.trunc(utility), np.round(2 * utility) / 2]):
                alone, alike = np.arange(len(table)) == row, table == utility
                for changed in (alone, alike) if players <= ONE_BY_ONE else (alike,):
                    yield _shifted(tables, game, changed * (target - utility))
                    # Both games change by the same amount, so that their difference stays.
                    yield tables + changed * (target - utility)
                # Change a pair of coalitions that differ by one player: the marginals of that player stay.
                for player in range(players if players <= ONE_BY_ONE else 0):
                    pair = alone | (np.arange(len(table)) == row ^ 1 << player)
                    yield _shifted(tables, game, pair * (target - utility))


def _shifted(tables: np.ndarray, game: int, shift: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(tables))[:, None] == game, tables + shift, tables)


def _complexity(tables: np.ndarray) -> tuple[int, float, list[float]]:
    """The order of simplicity of games: first v(∅) = 0, then a small cost, then small utilities.

    The cost sums the distances of utilities from 0, with a charge for each that is not 0, negative, or a fraction.
    """
    cost = np.abs(tables) + (tables != 0) + 0.5 * (tables < 0)
    cost = cost + (tables != np.round(tables)) + 2 * (2 * tables != np.round(2 * tables))
    return int((tables[:, 0] != 0).sum()), round(float(cost.sum()), 6), tables.ravel().tolist()
