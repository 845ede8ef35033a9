"""Shrinking: from a profile on which a rule violates an axiom to a simpler profile that cannot be shrunk further."""

import itertools
from collections.abc import Callable, Iterator

import numpy as np

__all__ = ["shrunk"]

Violated = Callable[[np.ndarray], np.ndarray]


def shrunk(violated: Violated, orders: np.ndarray) -> np.ndarray:
    """Replace the profile by the first simpler profile that still violates the axiom, until no simpler profile does.

    These profiles are simpler, in this order: profiles with one alternative fewer; profiles with one or two voters
    fewer; profiles with fewer different ballots; profiles with fewer exchanges away from the order of the names;
    profiles that come first in lexicographic order.

    Args:
        violated: a function of profiles (profiles, voters, alternatives): which of them violate the axiom.
        orders: (voters, alternatives) a profile that violates the axiom.

    Returns:
        The last profile.
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
    if voters > 2:  # remove two voters: with an odd number of voters no pair is tied, and removing one may make a tie
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
    """Profiles with other names or ballots.

    The alternatives are renamed by one of the ballots, the rows are sorted, or one ballot, alone or with all equal
    ballots, is replaced by another ballot of the profile or by one closer to the order of the names.
    """
    voters, alternatives = orders.shape
    for ballot in np.unique(orders, axis=0):
        names = np.argsort(ballot)
        yield names[orders]
        yield _sorted(names[orders])
    yield _sorted(orders)
    for voter in range(voters):
        alike = (orders == orders[voter]).all(axis=1)
        options = [ballot for ballot in np.unique(orders, axis=0) if not np.array_equal(ballot, orders[voter])]
        for rank in range(alternatives - 1):
            if orders[voter, rank] > orders[voter, rank + 1]:
                exchanged = orders[voter].copy()
                exchanged[[rank, rank + 1]] = exchanged[[rank + 1, rank]]
                options.append(exchanged)
        for option in options:
            for changed in (np.arange(voters) == voter, alike):
                yield np.where(changed[:, None], option, orders)


def _sorted(orders: np.ndarray) -> np.ndarray:
    """Frequent ballots first, then in lexicographic order."""
    ballots, counts = np.unique(orders, axis=0, return_counts=True)
    return np.repeat(ballots[np.argsort(-counts, kind="stable")], np.sort(counts)[::-1], axis=0)


def _complexity(orders: np.ndarray) -> tuple[int, int, list[int]]:
    upper, lower = np.triu_indices(orders.shape[1], k=1)
    exchanges = int((orders[:, upper] > orders[:, lower]).sum())
    return len(np.unique(orders, axis=0)), exchanges, orders.ravel().tolist()
