"""Which coalitions a regression evaluates: pairs of a coalition and its complement, by size and without replacement.

Every size has its share of the pairs, and within a size all pairs are equally likely, so that a mean over those drawn
estimates the mean over all without bias. Leverage scores give every size the same number (Musco and Witter, 2025); the
shares here lean towards small and large coalitions, s and n - s, as 1 / √(s (n - s)), which is the standard deviation
of one coalition's part in a value where the utilities' deviations from a fit are alike at all sizes (Neyman).
"""

from itertools import combinations
from math import comb

import numpy as np

__all__ = ["draw_pairs", "most_pairs", "pairs_of_size", "share_pairs"]


def pairs_of_size(players: int) -> list[int]:
    """How many pairs there are of sizes (s, n - s), s = 1, ..., n // 2."""
    return [comb(players, size) // (2 if 2 * size == players else 1) for size in range(1, players // 2 + 1)]


def most_pairs(players: int) -> int:
    """How many pairs there are in all, without that of the empty and the full coalition."""
    return 2 ** (players - 1) - 1


def share_pairs(players: int, pairs: int) -> np.ndarray:
    """How many pairs each size gets: as its share says, no more than there are, and one where there are enough."""
    sizes = np.arange(1, players // 2 + 1)
    there = np.array([float(min(count, pairs)) for count in pairs_of_size(players)])
    wanted = np.where(2 * sizes == players, 0.5, 1.0) / np.sqrt(sizes * (players - sizes))
    counts = np.minimum(there, 1.0) if pairs >= len(sizes) else np.zeros(len(sizes))
    floor, full = counts.copy(), np.zeros(len(sizes), bool)
    if pairs >= len(sizes):
        while True:  # those that would get more than there are, or less than one, get that; the others share the rest
            left = pairs - counts[full].sum()
            shares = wanted * left / max(wanted[~full].sum(), 1e-300)
            over = ~full & (shares >= there)
            if not over.any():
                break
            counts[over], full[over] = there[over], True
        counts[~full] = np.maximum(shares[~full], floor[~full])
        counts = np.where(full, counts, np.floor(counts))
        while counts.sum() > pairs:
            counts[np.argmax(np.where(counts > floor, counts, 0))] -= 1
    else:
        shares = wanted * pairs / wanted.sum()
    while counts.sum() < pairs:  # the largest remainder first
        counts[np.argmax(np.where(counts < there, shares - counts, -np.inf))] += 1
    return counts.astype(int)


def draw_pairs(bits: np.random.Philox, players: int, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One coalition of each pair, (pairs, players), in random order within each size; and its size.

    Only the generator's raw bits are used, which are the same everywhere.
    """
    drawn = [_draw_size(bits, players, size, int(count)) for size, count in enumerate(counts, start=1)]
    return np.concatenate([np.zeros((0, players), bool), *drawn]), np.repeat(np.arange(1, len(counts) + 1), counts)


def _draw_size(bits: np.random.Philox, players: int, size: int, count: int) -> np.ndarray:
    there = comb(players, size) // (2 if 2 * size == players else 1)
    if 2 * count >= there:  # all of them in random order
        every = np.array(list(combinations(range(players), size)))[:there]  # the first half holds player 0 where 2s = n
        chosen = every[np.argsort(bits.random_raw(there), kind="stable")[:count]]
        masks = np.zeros((count, players), bool)
        np.put_along_axis(masks, chosen, True, axis=1)
        return masks
    masks = np.zeros((0, players), bool)
    while len(masks) < count:
        order = np.argsort(bits.random_raw(2 * count * players).reshape(-1, players), axis=1, kind="stable")
        more = order < size  # order is a random permutation, so these are random places
        if 2 * size == players:
            more = more ^ ~more[:, :1]  # of a coalition and its complement the one with player 0
        masks = np.concatenate([masks, more])
        first = np.unique(np.packbits(masks, axis=1), axis=0, return_index=True)[1]
        masks = masks[np.sort(first)]
    return masks[:count]
