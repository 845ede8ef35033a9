"""Shrinking: from a profile that violates an axiom to one that nothing simpler of its kind violates."""

import itertools
from collections.abc import Callable, Iterator

import numpy as np

__all__ = ["shrunk"]

Violated = Callable[[np.ndarray], np.ndarray]


def shrunk(violated: Violated, orders: np.ndarray) -> np.ndarray:
    """Take the first simpler profile that still violates, again and again, until there is none.

    Simpler is, in this order: an alternative less; a voter less, or two; fewer different ballots, then fewer exchanges
    away from the order of the names, then smaller in the order of the rows.

    Args:
        violated: of (profiles, voters, alternatives), all of one shape, which violate the axiom.
        orders: (voters, alternatives) a profile that does.

    Returns:
        The profile where it stops.
    """
    orders = np.asarray(orders)
    while True:
        for candidates in _simpler(orders):
            if len(candidates) and (hits := np.flatnonzero(violated(candidates))).size:
                orders = candidates[hits[0]]
                break
        else:
            return orders


def _simpler(orders: np.ndarray) -> Iterator[np.ndarray]:
    voters, alternatives = orders.shape
    if alternatives > 2:
        yield np.stack([_without(orders, alternative) for alternative in range(alternatives)])
    if voters > 1:
        yield np.stack([np.delete(orders, voter, axis=0) for voter in range(voters)])
    if voters > 2:  # two at a time: an odd number of voters has no tied pairs, and dropping one would make some
        yield np.stack([np.delete(orders, pair, axis=0) for pair in itertools.combinations(range(voters), 2)])
    now = _complexity(orders)
    rewritten = sorted((candidate for candidate in _rewritten(orders) if _complexity(candidate) < now), key=_complexity)
    yield np.array(rewritten, dtype=orders.dtype).reshape(-1, voters, alternatives)


def _without(orders: np.ndarray, alternative: int) -> np.ndarray:
    """The profile of the other alternatives, renamed 0..M - 2 in their order."""
    voters, alternatives = orders.shape
    kept = orders[orders != alternative].reshape(voters, alternatives - 1)
    return kept - (kept > alternative)


def _rewritten(orders: np.ndarray) -> Iterator[np.ndarray]:
    """Names by one of the ballots; rows sorted; one ballot, or all like it, made like another or simpler."""
    voters, alternatives = orders.shape
    for ballot in np.unique(orders, axis=0):
        names = np.argsort(ballot)
        yield names[orders]
        yield _sorted(names[orders])
    yield _sorted(orders)
    for voter in range(voters):
        alike = (orders == orders[voter]).all(axis=1)
        options = [ballot for ballot in np.unique(orders, axis=0) if not np.array_equal(ballot, orders[voter])]
        for place in range(alternatives - 1):
            if orders[voter, place] > orders[voter, place + 1]:
                exchanged = orders[voter].copy()
                exchanged[[place, place + 1]] = exchanged[[place + 1, place]]
                options.append(exchanged)
        for option in options:
            for changed in (np.arange(voters) == voter, alike):
                yield np.where(changed[:, None], option, orders)


def _sorted(orders: np.ndarray) -> np.ndarray:
    """Frequent ballots first, then in lexicographic order."""
    ballots, counts = np.unique(orders, axis=0, return_counts=True)
    return np.repeat(ballots[np.argsort(-counts, kind="stable")], np.sort(counts)[::-1], axis=0)


def _complexity(orders: np.ndarray) -> tuple[int, int, list[int]]:
    places = np.triu_indices(orders.shape[1], k=1)
    exchanges = int((orders[:, places[0]] > orders[:, places[1]]).sum())
    return len(np.unique(orders, axis=0)), exchanges, orders.ravel().tolist()
