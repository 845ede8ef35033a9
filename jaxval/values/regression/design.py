"""The coalitions that a regression evaluates: pairs of a coalition and its complement, drawn without replacement.

Every size has a share of the pairs. Within a size all pairs are equally likely, so that the mean over the pairs drawn
is an unbiased estimate of the mean over all pairs. Leverage scores give every size the same number of pairs (Musco and
Witter, 2025). The shares used here are larger for sizes s and n - s far from n / 2: they are in proportion to
1 / √(s (n - s)), the standard deviation of one coalition's part in a value if the utilities deviate from a fit equally
at all sizes (Neyman allocation).
"""

from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np

__all__ = ["Design", "Plan"]

FOLDS = 5


class Plan(NamedTuple):
    """The number of pairs drawn of each size.

    Attributes:
        counts: (n // 2,) the number of pairs of sizes (s, n - s), s = 1, ..., n // 2.
        single: whether one more coalition of size n / 2 is drawn, without its complement.
    """

    counts: np.ndarray
    single: bool


class Design(NamedTuple):
    """The pairs drawn of coalitions other than the empty and the full one.

    Attributes:
        masks: (pairs, players) one coalition of each pair, by ascending size and in random order within a size.
        sizes: (pairs,) |S|, at most n / 2.
        available: (n // 2,) the number of all pairs of each size. If a single coalition is drawn, the entry of size
            n / 2 is the number of all coalitions of that size.
        folds: (pairs,) the fold of each pair.
        single: whether the complement of the last coalition is not evaluated.
        complete: whether all coalitions are drawn.
    """

    masks: np.ndarray
    sizes: np.ndarray
    available: np.ndarray
    folds: np.ndarray
    single: bool
    complete: bool


def make_plan(players: int, evaluations: int) -> Plan:
    """The plan for `evaluations` coalitions other than the empty and the full one.

    If there are too few evaluations for a pair of every size, an odd evaluation is used for a single coalition of size
    n / 2. Without it, no coalition of that size would be evaluated.
    """
    pairs = min(evaluations // 2, most_pairs(players))
    single = players % 2 == 0 and pairs < players // 2 and evaluations > 2 * pairs
    if single and players > 2:
        return Plan(np.append(share_pairs(players - 1, pairs), 0), True)
    return Plan(share_pairs(players, pairs), single)


def draw(bits: np.random.Philox, players: int, plan: Plan) -> Design:
    """Draw the pairs of a plan."""
    masks, sizes = draw_pairs(bits, players, plan.counts)
    available = np.array([float(min(count, 10**300)) for count in pairs_of_size(players)])  # within float64
    if plan.single:
        alone = np.zeros((1, players), bool)
        alone[0, np.argsort(bits.random_raw(players), kind="stable")[: players // 2]] = True
        masks, sizes = np.concatenate([masks, alone]), np.append(sizes, players // 2)
        available[-1] *= 2
    # Successive pairs go to different folds. As the order within a size is random, each fold is a random sample.
    folds = np.arange(len(masks)) % max(min(FOLDS, len(masks)), 1)
    return Design(masks, sizes, available, folds, plan.single, int(plan.counts.sum()) == most_pairs(players))


def coalitions_of(design: Design) -> np.ndarray:
    """(rows, players) one coalition of each pair, then their complements, then the single one."""
    paired = len(design.masks) - design.single
    return np.concatenate([design.masks[:paired], ~design.masks[:paired], design.masks[paired:]])


def pair_utilities(design: Design, utilities: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The utilities of each pair's coalition and of its complement, (2, pairs, objectives).

    `utilities` are those of the rows of `coalitions_of`, and `ends` are v(N) and v(∅). The complement of a single
    coalition gets v(N) + v(∅) - v(S). This does not bias the estimate, because at size n / 2 the weights of the
    coalitions sum to zero for every player.
    """
    paired = len(design.masks) - design.single
    alone = utilities[2 * paired :]
    return np.stack(
        [
            np.concatenate([utilities[:paired], alone]),
            np.concatenate([utilities[paired : 2 * paired], ends.sum(axis=0) - alone]),
        ]
    )


def pairs_of_size(players: int) -> list[int]:
    """The number of all pairs of sizes (s, n - s), s = 1, ..., n // 2."""
    return [comb(players, size) // (2 if 2 * size == players else 1) for size in range(1, players // 2 + 1)]


def most_pairs(players: int) -> int:
    """The number of all pairs, without the pair of the empty and the full coalition."""
    return 2 ** (players - 1) - 1


def share_pairs(players: int, pairs: int) -> np.ndarray:
    """The number of pairs of each size: in proportion to its share, at most all pairs, and at least one if possible."""
    sizes = np.arange(1, players // 2 + 1)
    available = np.array([float(min(count, pairs)) for count in pairs_of_size(players)])
    wanted = np.where(2 * sizes == players, 0.5, 1.0) / np.sqrt(sizes * (players - sizes))
    counts = np.minimum(available, 1.0) if pairs >= len(sizes) else np.zeros(len(sizes))
    least, full = counts.copy(), np.zeros(len(sizes), bool)
    if pairs >= len(sizes):
        while True:  # a size whose share exceeds its pairs gets all of them; the other sizes share the rest
            left = pairs - counts[full].sum()
            shares = wanted * left / max(wanted[~full].sum(), 1e-300)
            over = ~full & (shares >= available)
            if not over.any():
                break
            counts[over], full[over] = available[over], True
        counts[~full] = np.maximum(shares[~full], least[~full])
        counts = np.where(full, counts, np.floor(counts))
        while counts.sum() > pairs:
            counts[np.argmax(np.where(counts > least, counts, 0))] -= 1
    else:
        shares = wanted * pairs / wanted.sum()
    while counts.sum() < pairs:  # the size with the largest remainder gets one pair more
        counts[np.argmax(np.where(counts < available, shares - counts, -np.inf))] += 1
    return counts.astype(int)


def share_evaluations(evaluations: int, sizes: list[int]) -> list[int]:
    """The evaluations of each group, without its two ends: n_g - 1, and the rest in proportion, up to 2^n_g - 2."""
    shares = np.array([size - 1 for size in sizes])
    most = np.array([min(2**size - 2, evaluations) for size in sizes])
    left = evaluations - 1 - len(sizes) - int(shares.sum())
    while left > 0 and (shares < most).any():
        unfilled = shares < most
        weight = np.where(unfilled, shares, 0)
        more = np.minimum(left * weight // weight.sum(), most - shares)
        if not more.any():
            more = np.zeros_like(shares)
            more[int(np.argmax(unfilled))] = 1
        shares, left = shares + more, left - int(more.sum())
    return shares.tolist()


def draw_pairs(bits: np.random.Philox, players: int, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One coalition of each pair, (pairs, players), in random order within each size; and its size."""
    # Only the raw bits of the generator are used, because they are the same on every machine.
    drawn = [_draw_size(bits, players, size, int(count)) for size, count in enumerate(counts, start=1)]
    return np.concatenate([np.zeros((0, players), bool), *drawn]), np.repeat(np.arange(1, len(counts) + 1), counts)


def _draw_size(bits: np.random.Philox, players: int, size: int, count: int) -> np.ndarray:
    available = comb(players, size) // (2 if 2 * size == players else 1)
    if 2 * count >= available:  # list all pairs, and take the first ones of a random order
        # In lexicographic order, the first half of the coalitions of size n / 2 contains player 0: one of each pair.
        every = np.array(list(combinations(range(players), size)))[:available]
        chosen = every[np.argsort(bits.random_raw(available), kind="stable")[:count]]
        masks = np.zeros((count, players), bool)
        np.put_along_axis(masks, chosen, True, axis=1)
        return masks
    masks = np.zeros((0, players), bool)
    while len(masks) < count:
        order = np.argsort(bits.random_raw(2 * count * players).reshape(-1, players), axis=1, kind="stable")
        more = order < size  # each row of `order` is a random permutation, so these are `size` random players
        if 2 * size == players:
            more = more ^ ~more[:, :1]  # replace a coalition without player 0 by its complement
        masks = np.concatenate([masks, more])
        first = np.unique(np.packbits(masks, axis=1), axis=0, return_index=True)[1]
        masks = masks[np.sort(first)]
    return masks[:count]
