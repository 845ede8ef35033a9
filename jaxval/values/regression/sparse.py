"""A sparse sum of unanimity games and their duals, fitted greedily.

v(S) ~ c + Σ_j a_j [T_j ⊆ S] + Σ_k b_k [T_k ⊆ N - S]. Every game is a sum of unanimity games and also a sum of their
duals; many games are a sum of few of them. Orthogonal matching pursuit adds the term that explains most of the
residuals, refits all coefficients, and repeats this.
"""

from collections.abc import Callable

import numpy as np

__all__: list[str] = []

EXHAUSTIVE = 16  # with at most so many players, all 2^n carriers are tried for each term
BEAM = 24  # with more players, the carriers kept at each size
DEEPEST = 8  # players in the largest carriers of a beam search
MOST_TERMS = 150
ROWS_PER_TERM = 18  # with fewer rows for each term, only chance selects the right term among 2^(n+1)
PATIENCE = 12  # the search ends after so many terms in a row that do not improve the error on the rows held out

Search = Callable[[np.ndarray], tuple[np.ndarray, bool]]


def indicators(masks: np.ndarray, carriers: np.ndarray, absent: np.ndarray) -> np.ndarray:
    """The values 0 or 1 of the terms, (rows, terms): [T ⊆ S], or [T ⊆ N - S] for terms with `absent`."""
    common = masks.astype(float) @ carriers.T.astype(float)
    return (common == np.where(absent, 0, carriers.sum(axis=1))[None]).astype(float)


def greedy_terms(masks: np.ndarray, utilities: np.ndarray, train: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The terms in the order in which they are chosen, and the error after each of them.

    Args:
        masks: (rows, players) coalitions: first the rows to fit to, then the rows held out. The rows held out are some
            coalitions, then their complements in the same order.
        utilities: (rows,) utilities of the coalitions.
        train: the number of rows to fit to.

    Returns:
        The (terms, players) carriers; (terms,) whether the players of each carrier must be absent rather than present;
        and the (1 + terms,) mean squared errors of the differences v(S) - v(N - S) held out, before the first term and
        after each term.
    """
    rows, players = masks.shape
    search = (search_all if players <= EXHAUSTIVE else search_beam)(masks[:train])
    most = max(min(MOST_TERMS, train // ROWS_PER_TERM), 1)
    basis = np.empty((most + 1, rows))  # orthonormal on the rows to fit to
    basis[0] = 1 / np.sqrt(train)
    carriers, absent = np.empty((most, players), bool), np.empty(most, bool)
    left = utilities - utilities[:train].mean()
    errors = [_difference_error(left[train:])]
    nothing = 1e-20 * np.sum(utilities[:train] ** 2)
    for count in range(most):
        if left[:train] @ left[:train] <= nothing or count - int(np.argmin(errors)) >= PATIENCE:
            return carriers[:count], absent[:count], np.array(errors)
        carriers[count], absent[count] = search(left[:train])
        row = indicators(masks, carriers[count : count + 1], absent[count : count + 1])[:, 0]
        least = 1e-7 * np.linalg.norm(row[:train])
        inside = basis[: count + 1]
        for _ in range(2):  # Gram-Schmidt, repeated because rounding spoils the first pass
            row -= (inside[:, :train] @ row[:train]) @ inside
        size = np.linalg.norm(row[:train])
        if size <= least:  # the term is a linear combination of the earlier terms
            return carriers[:count], absent[:count], np.array(errors)
        basis[count + 1] = row / size
        left -= (basis[count + 1, :train] @ left[:train]) * basis[count + 1]
        errors.append(_difference_error(left[train:]))
    return carriers, absent, np.array(errors)


def search_all(masks: np.ndarray) -> Search:
    """A search over all carriers T for the largest |Σ_{S: T ⊆ S} r(S)| / √#{S: T ⊆ S}, or that with T ⊆ N - S."""
    # The sums over supersets run first over the upper bits of a coalition's index, and then over the lower bits in the
    # transposed table, so that all additions run along long contiguous rows. float32 suffices, because the sums are
    # only compared with one another.
    players = masks.shape[1]
    low = players // 2
    index = masks @ (1 << np.arange(players))
    both = np.concatenate([index, (2 << players) - 1 - index])  # the second table holds the complements

    def superset_sums(values: np.ndarray) -> np.ndarray:
        table = np.zeros(2 << players, np.float32)
        table[both] = np.concatenate([values, values])
        for bits in (players - low, low):
            table = table.reshape(2, 1 << bits, -1)
            width = table.shape[2]
            for bit in range(bits):
                pairs = table.reshape(-1, 2, width << bit)
                pairs[:, 0] += pairs[:, 1]
            table = np.ascontiguousarray(table.transpose(0, 2, 1))
        return table.reshape(-1)

    count = superset_sums(np.ones(len(masks)))
    of_use = (count > 1.5) & (count < len(masks) - 0.5)
    scale = np.where(of_use, 1 / np.sqrt(np.maximum(count, 1)), 0).astype(np.float32)

    def search(left: np.ndarray) -> tuple[np.ndarray, bool]:
        scores = superset_sums(left)
        np.abs(scores, out=scores)
        scores *= scale
        best = int(np.argmax(scores))
        return best >> np.arange(players) & 1 == 1, best >> players == 1

    return search


def search_beam(masks: np.ndarray) -> Search:
    """A beam search: the best carriers of each size are extended by one player at a time."""
    rows, players = masks.shape
    sides = [masks.astype(float), (~masks).astype(float)]

    def grow(left: np.ndarray, inside: np.ndarray) -> tuple[float, np.ndarray]:
        best, best_carrier = -1.0, np.zeros(players, bool)
        carriers, active = np.zeros((1, players), bool), np.ones((1, rows))
        for _ in range(min(DEEPEST, players - 1)):
            sums, count = (active * left) @ inside, active @ inside
            score = np.where((count > 1.5) & ~carriers, np.abs(sums) / np.sqrt(np.maximum(count, 1)), -1)
            order = np.argsort(-score, axis=None, kind="stable")[: 4 * BEAM]
            parent, player = np.unravel_index(order[score.ravel()[order] >= 0], score.shape)
            if len(parent) == 0:
                break
            children = carriers[parent]
            children[np.arange(len(parent)), player] = True
            if score[parent[0], player[0]] > best:
                best, best_carrier = float(score[parent[0], player[0]]), children[0]
            _, first = np.unique(children, axis=0, return_index=True)
            kept = np.sort(first)[:BEAM]
            carriers, active = children[kept], active[parent[kept]] * inside.T[player[kept]]
        return best, best_carrier

    def search(left: np.ndarray) -> tuple[np.ndarray, bool]:
        present, absent = (grow(left, inside) for inside in sides)
        return (absent[1], True) if absent[0] > present[0] else (present[1], False)

    return search


def _difference_error(residuals: np.ndarray) -> float:
    half = len(residuals) // 2
    return float(np.mean((residuals[:half] - residuals[half:]) ** 2))
