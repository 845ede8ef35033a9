"""A sum of few terms h_T(S) = [T ⊆ S] - [T ⊆ N - S], found greedily.

Every game is a sum of unanimity games, and many are a sum of few of them. Orthogonal matching pursuit adds, again and
again, the term that explains most of the residuals, and refits all coefficients.
"""

from collections.abc import Callable

import numpy as np

__all__ = ["greedy_terms", "indicators"]

EXHAUSTIVE = 16  # players up to which all 2^n carriers are tried for each term
BEAM = 24  # carriers kept at each size if there are more players
DEEPEST = 8  # players in the carriers that a beam reaches
MOST_TERMS = 150
PATIENCE = 25  # terms in a row that do not improve on the rows held out end the search

Search = Callable[[np.ndarray], np.ndarray]


def indicators(masks: np.ndarray, carriers: np.ndarray) -> np.ndarray:
    """h_T(S) = [T ⊆ S] - [T ⊆ N - S], (rows, carriers), -1, 0 or 1."""
    common = masks.astype(float) @ carriers.T.astype(float)
    return (common == carriers.sum(axis=1)[None]).astype(float) - (common == 0)


def greedy_terms(masks: np.ndarray, differences: np.ndarray, train: int) -> tuple[np.ndarray, np.ndarray]:
    """The best terms in order, and the error after each of them.

    Args:
        masks: (rows, players) the rows to fit to first, then those held out.
        differences: (rows,).
        train: how many rows to fit to.

    Returns:
        The (terms, players) carriers, and the (1 + terms,) mean squared errors on the rows held out, before the first
        term and after each.
    """
    rows, players = masks.shape
    search = (search_all if players <= EXHAUSTIVE else search_beam)(masks[:train])
    most = min(MOST_TERMS, train - 1)
    basis = np.empty((most, rows))  # orthonormal on the rows fitted to
    carriers = np.empty((most, players), bool)
    left = differences.astype(float)
    errors = [np.mean(left[train:] ** 2)]
    nothing = 1e-20 * np.sum(left[:train] ** 2)
    for count in range(most):
        if left[:train] @ left[:train] <= nothing or count - int(np.argmin(errors)) >= PATIENCE:
            return carriers[:count], np.array(errors)
        carriers[count] = search(left[:train])
        row = indicators(masks, carriers[count : count + 1])[:, 0]
        least = 1e-7 * np.linalg.norm(row[:train])
        for _ in range(2):  # Gram-Schmidt, repeated because once loses orthogonality to rounding
            row -= (basis[:count, :train] @ row[:train]) @ basis[:count]
        size = np.linalg.norm(row[:train])
        if size <= least:  # the term is a sum of those there are
            return carriers[:count], np.array(errors)
        basis[count] = row / size
        left -= (basis[count, :train] @ left[:train]) * basis[count]
        errors.append(np.mean(left[train:] ** 2))
    return carriers, np.array(errors)


def search_all(masks: np.ndarray) -> Search:
    """Over all carriers: |Σ_S r(S) h_T(S)| / √Σ_S h_T(S)² by sums over supersets.

    The sums are taken over the upper bits of a coalition's index, then over the lower ones in the transposed table, so
    that all additions run along long contiguous rows. They are only compared, so float32 does.
    """
    players = masks.shape[1]
    low = players // 2
    shape = (1 << (players - low), 1 << low)
    index = masks @ (1 << np.arange(players))
    outside = (1 << players) - 1 - index

    def superset_sums(inside: np.ndarray, complement: np.ndarray) -> np.ndarray:
        table = np.zeros(1 << players, np.float32)
        table[index], table[outside] = inside, complement
        for _ in range(2):
            table = table.reshape(shape if _ == 0 else shape[::-1])
            width = table.shape[1]
            for bit in range(table.shape[0].bit_length() - 1):
                pairs = table.reshape(-1, 2, width << bit)
                pairs[:, 0] += pairs[:, 1]
            table = np.ascontiguousarray(table.T)
        return table.reshape(-1)

    ones = np.ones(len(masks))
    norms = superset_sums(ones, ones)
    norms[0] = 0  # h_∅ = 0
    scale = np.where(norms > 1.5, 1 / np.sqrt(np.maximum(norms, 1)), 0).astype(np.float32)  # one row says nothing

    def search(left: np.ndarray) -> np.ndarray:
        scores = superset_sums(left, -left)
        np.abs(scores, out=scores)
        scores *= scale
        return int(np.argmax(scores)) >> np.arange(players) & 1 == 1

    return search


def search_beam(masks: np.ndarray) -> Search:
    """Carriers grown by one player at a time from the best of the last size."""
    players = masks.shape[1]
    inside = np.concatenate([masks, ~masks]).astype(float)

    def search(left: np.ndarray) -> np.ndarray:
        signed = np.concatenate([left, -left])
        best, best_carrier = -1.0, np.zeros(players, bool)
        carriers, active = np.zeros((1, players), bool), np.ones((1, len(inside)))
        for _ in range(min(DEEPEST, players - 1)):
            sums, count = (active * signed) @ inside, active @ inside
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
        return best_carrier

    return search
