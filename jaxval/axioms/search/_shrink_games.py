"""Shrinking: from a game on which a value violates an axiom to one that nothing simpler of its kind violates."""

from collections.abc import Callable, Iterator

import numpy as np

from jaxval.axioms._games import null_rows

__all__ = ["consecutive", "shrunk_games"]

ONE_BY_ONE = 6  # players up to which utilities change one by one too; beyond, only all that are equal together

Violated = Callable[[np.ndarray, np.ndarray], np.ndarray]


def shrunk_games(violated: Violated, tables: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take the first simpler game that still violates, again and again, until there is none.

    Simpler is, in this order: a player less; a group less, or players in the order of their groups; utilities that are
    nearer to 0, whole, and positive. Utilities change alone, with all that equal them, or so that marginals stay, as
    the premises of axioms need it.

    Args:
        violated: of (candidates, games, 2^n) and the groups, which candidates violate the axiom.
        tables: (games, 2^n) the one game of an axiom, or the two, that violate it.
        groups: (n,) groups.

    Returns:
        The tables and the groups where it stops.
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
        for player in range(players):  # without the player; or with the player in every coalition
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
    """The same games with rounder utilities, or with fewer different ones."""
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
                    # The other game changes as much, and differences between the two stay.
                    yield tables + changed * (target - utility)
                for player in range(players if players <= ONE_BY_ONE else 0):  # the marginals of one player stay
                    pair = alone | (np.arange(len(table)) == row ^ 1 << player)
                    yield _shifted(tables, game, pair * (target - utility))


def _shifted(tables: np.ndarray, game: int, shift: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(tables))[:, None] == game, tables + shift, tables)


def _complexity(tables: np.ndarray) -> tuple[int, float, list[float]]:
    """Whether v(∅) is not 0; how far utilities are from 0, and more for each that is not 0, negative or a fraction."""
    cost = np.abs(tables) + (tables != 0) + 0.5 * (tables < 0)
    cost = cost + (tables != np.round(tables)) + 2 * (2 * tables != np.round(2 * tables))
    return int((tables[:, 0] != 0).sum()), round(float(cost.sum()), 6), tables.ravel().tolist()
