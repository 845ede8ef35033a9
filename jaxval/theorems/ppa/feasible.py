"""Section 4.1 and Appendices G to I: which shares of first choices P allows, by linear programs and by construction."""

import functools
import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.optimize import linprog

from jaxval.axioms import ppa_level
from jaxval.social_choice import (
    box_distance,
    extended_membership,
    extended_shares,
    feasible_membership,
    feasible_shares,
    proportional,
    share_bounds,
)
from jaxval.theorems.checks import Claim, Statement, largest
from jaxval.theorems.ppa._profiles import (
    Instance,
    Profile,
    by_hand,
    every,
    generate,
    halved,
    induced,
    over_sizes,
    places,
    shares,
    worst,
)

__all__ = ["CLAIMS"]


# Linear programs, on the host


@functools.cache
def rankings(size: int) -> tuple[np.ndarray, np.ndarray]:
    """All rankings, and above[r, i, j] = 1{r puts i above j}."""
    orders = np.array(list(itertools.permutations(range(size))))
    place = orders.argsort(axis=1)
    return orders, (place[:, :, None] < place[:, None, :]).astype(float)


def pairs(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(size, 1)


def plain(orders: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P, with 1/2 on the diagonal, and w, ranking by ranking."""
    size = orders.shape[1]
    matrix, w = np.eye(size) / 2, np.zeros(size)
    for order, weight in zip(orders, weights, strict=True):
        w[order[0]] += weight
        for i, j in itertools.combinations(order, 2):
            matrix[i, j] += weight
    return matrix, w


def greatest(direction: np.ndarray, **constraints: Any) -> float:
    found = linprog(-direction, method="highs", **constraints)
    if found.status == 2:
        return -np.inf  # nothing is feasible
    return -found.fun if found.success else np.nan


def by_definition(matrix: np.ndarray, direction: np.ndarray) -> float:
    """The largest Σ_k d_k w_k of Definition 4.1: over σ ≥ 0 on all rankings with P^σ = P, Σσ = 1."""
    size = len(matrix)
    orders, above = rankings(size)
    i, j = pairs(size)
    rows = np.vstack([above[:, i, j].T, np.ones(len(orders))])
    return greatest(direction[orders[:, 0]], A_eq=rows, b_eq=np.append(matrix[i, j], 1))


def by_groups(matrix: np.ndarray, direction: np.ndarray, *, unanimous: bool = True) -> float:
    """The same of (3): over w_k σ_k ≥ 0 on all rankings for each k, with P_k(y_k ≻ y) = 1 and Σ_k w_k P_k = P."""
    size = len(matrix)
    orders, above = rankings(size)
    i, j = pairs(size)
    num = len(orders)
    rows = [np.tile(above[:, i, j].T, size), np.ones((1, size * num))]
    if unanimous:
        for k in range(size):
            block = np.zeros((size - 1, size * num))
            block[:, k * num : (k + 1) * num] = 1 - np.delete(above[:, k], k, axis=1).T
            rows.append(block)
    right = np.concatenate([matrix[i, j], [1], np.zeros(size * (size - 1) * unanimous)])
    return greatest(np.repeat(direction, num), A_eq=np.vstack(rows), b_eq=right)


def by_reports(matrix: np.ndarray, direction: np.ndarray, *, bounded: bool) -> float:
    """The same where P_k is any skew-symmetric function: over w and w_k P_k(i ≻ j), in [0, w_k] where `bounded`."""
    size = len(matrix)
    columns = [(k, i, j) for k in range(size) for i in range(size) for j in range(i + 1, size) if k not in (i, j)]
    cost = np.concatenate([direction, np.zeros(len(columns))])
    left, right = [1.0 * (np.arange(len(cost)) < size)], [1.0]
    for i, j in zip(*pairs(size), strict=True):
        row = np.zeros(len(cost))
        row[i] = 1
        for number, (_, *pair) in enumerate(columns):
            row[size + number] = pair == [i, j]
        left.append(row)
        right.append(matrix[i, j])
    most = np.zeros((len(columns), len(cost)))
    for number, (k, _, _) in enumerate(columns):
        most[number, k], most[number, size + number] = -1, 1
    limits = [(0, None)] * size + [(0, None) if bounded else (None, None)] * len(columns)
    kept = {"A_ub": most, "b_ub": np.zeros(len(columns))} if bounded and columns else {}
    return greatest(cost, A_eq=np.array(left), b_eq=np.array(right), bounds=limits, **kept)


def by_box(matrix: np.ndarray, direction: np.ndarray, *, scale: float = 1.0) -> float:
    """The same over {w ∈ Δ : w_i ≤ u_i}: as much as there is room for, the largest d first."""
    bounds = scale * np.array([np.delete(row, i).min() for i, row in enumerate(matrix)])
    total, left = 0.0, 1.0
    for i in np.argsort(-direction):
        taken = min(bounds[i], left)
        total, left = total + direction[i] * taken, left - taken
    return total if left < 1e-9 else -np.inf


def sizes(c: Any) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """P, w and a direction for M = 2, 3, 4."""
    return [
        (*plain(*profile), np.asarray(c.rewards)[: profile.orders.shape[1]]) for profile in (c.two, c.three, c.four)
    ]


def feasible_gap(c: Any) -> float:
    """How far w^σ is from W(P^σ), and the library's ends of each share from those by the definition."""
    gaps = []
    for matrix, w, _ in sizes(c):
        gaps.append(feasible_membership(matrix, w)[0])
        found = feasible_shares(matrix)
        for k, unit in enumerate(np.eye(len(w))):
            gaps.append(abs(found.largest[k] - by_definition(matrix, unit)))
            gaps.append(abs(found.smallest[k] + by_definition(matrix, -unit)))
    return float(np.max(gaps))


def moved_gap(c: Any) -> float:
    """How far w^σ is from W(P^σ) when 5 % of it has moved to y1."""
    return max(feasible_membership(matrix, 0.95 * w + 0.05 * np.eye(len(w))[0])[0] for matrix, w, _ in sizes(c))


def two_forms_gap(c: Any, *, unanimous: bool = True) -> float:
    """Definition 4.1 against (3), in two directions."""
    return float(
        np.max(
            [
                abs(by_definition(matrix, d) - by_groups(matrix, d, unanimous=unanimous))
                for matrix, _, direction in sizes(c)
                for d in (direction, direction[::-1])
            ]
        )
    )


def extended_gap(c: Any, *, bounded: bool, scale: float = 1.0) -> float:
    """The extended W(P) against the box (`scale` times as wide), in two directions; and the library's.

    For a P of no profile, too: where Σu < 1 both are empty.
    """
    ends = [of(c.skew, c.rewards) for of in (functools.partial(by_reports, bounded=bounded), by_box)]
    gaps = [0.0 if ends[0] == ends[1] else abs(ends[0] - ends[1])]
    for matrix, w, direction in sizes(c):
        for d in (direction, direction[::-1]):
            gaps.append(abs(by_reports(matrix, d, bounded=bounded) - by_box(matrix, d, scale=scale)))
        gaps.append(extended_membership(matrix, w)[0])
        unit = np.eye(len(w))[0]
        gaps.append(abs(extended_shares(matrix).largest[0] - by_box(matrix, unit)))
        gaps.append(abs(extended_shares(matrix).smallest[0] + by_box(matrix, -unit)))
    return float(np.max(gaps))


def identifiable_gap(c: Any, *, always: bool = False) -> float:
    """The best level that a policy can have for all w in W(P), 1/s, s = Σ_k max w_k, and whether s = 1 just for one w.

    s - 1 lies between the widest range of a share and the sum of the ranges. The policy is w_k ∝ max w_k.
    """
    gaps = []
    for matrix, _, _ in sizes(c):
        found = feasible_shares(matrix)
        ranges, total = found.largest - found.smallest, found.largest.sum()
        gaps += [total - 1] if always else [ranges.max() - (total - 1), (total - 1) - ranges.sum()]
    return float(np.max(gaps))


def tight_gap(c: Any) -> float:
    """Joint distance of the box from W(P): 1/2 for two voters 0123 and 2130, 0 for three alternatives."""
    two_voters = plain(np.array([[0, 1, 2, 3], [2, 1, 3, 0]]), np.array([0.5, 0.5]))[0]
    three = plain(*c.three)[0]
    unit = np.array([0.0, 1.0, 1.0, 0.0])
    return max(
        abs(box_distance(two_voters).distance - 0.5),
        abs(by_box(two_voters, unit) - 1),
        abs(by_definition(two_voters, unit) - 0.5),
        box_distance(three).distance,
        abs(by_box(three, np.asarray(c.rewards)[:3]) - by_definition(three, np.asarray(c.rewards)[:3])),
    )


def no_gap_with_four(c: Any) -> float:
    """The distance for the two voters and some others beside them, four in five at most."""
    orders = np.concatenate([c.four.orders, [[0, 1, 2, 3], [2, 1, 3, 0]]])
    t = 0.8 * c.share
    weights = np.concatenate([t * c.four.weights, np.full(2, (1 - t) / 2)])
    return box_distance(plain(orders, weights)[0]).distance


# By construction, compiled


def bounds_gap(profile: Profile, *, of: str = "min") -> Array:
    """u_i = min_{y≠y_i} P(y_i ≻ y): 1 - max P(y ≻ y_i), and who is left without those who prefer y' to y_i."""
    matrix = induced(profile)
    own = jnp.eye(len(matrix), dtype=bool)
    bounds = jnp.min(jnp.where(own, jnp.inf, matrix), axis=1)
    if of == "mean":
        bounds = jnp.sum(matrix, axis=1) / (len(matrix) - 1)
    most_preferred = jnp.argmax(jnp.where(own, -jnp.inf, matrix.T), axis=1)
    r = places(profile.orders)
    kept = jnp.sum(jnp.where(r[:, most_preferred] < r, 0, profile.weights[:, None]), axis=0)
    return worst(
        largest(share_bounds(halved(matrix)) - bounds),
        largest(1 - jnp.max(jnp.where(own, -jnp.inf, matrix.T), axis=1) - bounds),
        largest(kept - bounds),
    )


def within_box(profile: Profile, *, scale: float = 1.0) -> Array:
    """(29) and (30): P(y_i ≻ y) = w_i + Σ_{k≠i} w_k P_k(y_i ≻ y) ≥ w_i, and w_i ≤ u_i."""
    w, r = shares(profile), places(profile.orders)
    above = (r[:, :, None] < r[:, None, :]).astype(float)
    own = jnp.eye(len(w), dtype=bool)
    weights = jnp.where(r == 1, profile.weights[:, None], 0)
    groups = jnp.einsum("rk,rij->kij", weights, above)  # w_k P_k
    others = jnp.einsum("kij,ki->ij", groups, 1.0 - own)
    matrix = induced(profile)
    return worst(
        largest(jnp.where(own, 0, matrix - w[:, None] - others)),
        jnp.max(jnp.where(own, -1, w[:, None] - matrix)),
        jnp.max(w - scale * jnp.min(jnp.where(own, jnp.inf, matrix), axis=1)),
        jnp.max(w - share_bounds(halved(matrix))),
    )


def aggregated_gap(c: Instance, *, one_is_enough: bool = False) -> Array:
    """Appendix G: groups with y_k on top of every ballot, mixed by w, have P = Σ w_k P_k and first choices w.

    And P_k(y_k ≻ ·) = 1 leaves nobody in G_k who has another first: 1 - w_k ≤ Σ_y P(y ≻ y_k) in every profile.
    """
    w, size = c.lotteries[0], 4
    place = jnp.argsort(c.four.orders, axis=1)
    orders = jnp.stack([jnp.argsort(place.at[:, k].set(-1), axis=1) for k in range(size)])
    weights = jnp.stack([jnp.roll(c.four.weights, k) for k in range(size)])
    groups = jnp.stack([induced(Profile(orders[k], weights[k])) for k in range(size)])
    together = Profile(orders.reshape(-1, size), (w[:, None] * weights).reshape(-1))
    top = jnp.stack([groups[k, k].at[k].set(1) for k in range(size)])
    above_others = induced(c.four).T
    above_others = jnp.max(above_others, axis=1) if one_is_enough else jnp.sum(above_others, axis=1)
    return worst(
        largest(top - 1),
        largest(induced(together) - jnp.einsum("k,kij->ij", w, groups)),
        largest(shares(together) - w),
        jnp.max(1 - shares(c.four) - above_others),
    )


def in_box(profile: Profile, c: Instance) -> Array:
    """A point of the box: a vertex, filled in the order of the rewards; or w^σ; or between them."""
    size = profile.orders.shape[1]
    bounds = jnp.min(jnp.where(jnp.eye(size, dtype=bool), jnp.inf, induced(profile)), axis=1)
    first = jnp.argsort(-c.rewards[:size])
    before = jnp.concatenate([jnp.zeros(1), jnp.cumsum(bounds[first])[:-1]])
    vertex = jnp.zeros(size).at[first].set(jnp.clip(1 - before, 0, bounds[first]))
    return (1 - c.share) * vertex + c.share * shares(profile)


def reports(matrix: Array, w: Array, *, voting: bool) -> Array:
    """(32), (k, i, j); 1/2 where w_i + w_j = 1 if only `voting` groups count, else 0/0."""
    size = len(w)
    left = 1 - w[:, None] - w[None, :]
    nobody = jnp.abs(left) < 1e-12
    formula = jnp.where(nobody, 0.5 if voting else jnp.nan, (matrix - w[:, None]) / jnp.where(nobody, 1, left))
    own = jnp.eye(size, dtype=bool)
    of_k = jnp.where(own[:, :, None], 1.0, jnp.where(own[:, None, :], 0.0, formula[None]))
    return jnp.where(own[None], 0.5, of_k)


def others_of(size: int) -> np.ndarray:
    """Whether i ≠ j are both other than k."""
    own = np.eye(size, dtype=bool)
    return ~(own[:, :, None] | own[:, None, :] | own[None])


def reports_gap(profile: Profile, w: Array, *, voting: bool) -> Array:
    """Whether the P_k of (32) are in [0, 1], skew-symmetric, and add up to P."""
    matrix = halved(induced(profile))
    groups = reports(matrix, w, voting=voting)
    counted = jnp.asarray(others_of(len(w)))
    return worst(
        jnp.max(jnp.where(counted, jnp.maximum(-groups, groups - 1), -1)),
        largest(jnp.where(counted, groups + jnp.swapaxes(groups, 1, 2) - 1, 0)),
        largest(jnp.einsum("k,kij->ij", w, groups) - matrix),
    )


def over_reports(c: Instance, *, voting: bool, boxed: bool = True) -> Array:
    three = in_box(c.three, c) if boxed else c.lotteries[0, :3] + c.lotteries[0, 3] / 3
    four = in_box(c.four, c) if boxed else c.lotteries[0]
    return worst(reports_gap(c.three, three, voting=voting), reports_gap(c.four, four, voting=voting))


def cycles(c: Instance) -> Array:
    """How far the P_k of (32) with four alternatives leave P(a ≻ b) + P(b ≻ d) + P(d ≻ a) ≤ 2 for the three others."""
    groups = reports(halved(induced(c.four)), in_box(c.four, c), voting=True)
    sums = [
        groups[k, a, b] + groups[k, b, d] + groups[k, d, a]
        for k in range(4)
        for a, b, d in itertools.permutations([i for i in range(4) if i != k])
    ]
    return jnp.max(jnp.stack(sums)) - 2


def with_three_gap(c: Instance) -> Array:
    """The P_k of (32) with three alternatives as profiles: k i j with P_k(i ≻ j), k j i with the rest."""
    w = in_box(c.three, c)
    matrix = halved(induced(c.three))
    groups = reports(matrix, w, voting=True)
    orders, weights = [], []
    for k in range(3):
        i, j = (other for other in range(3) if other != k)
        orders += [[k, i, j], [k, j, i]]
        weights += [w[k] * groups[k, i, j], w[k] * (1 - groups[k, i, j])]
    profile = Profile(jnp.array(orders), jnp.stack(weights))
    return worst(-jnp.min(profile.weights), largest(halved(induced(profile)) - matrix), largest(shares(profile) - w))


def own_pair_gap(*, other: bool) -> Array:
    """P_k(y_k ≻ y) = 1 and P_k(y ≻ y_k) = 0 for all y, or all `other` y, with P_k(y ≻ y') + P_k(y' ≻ y) = 1."""
    above, below = jnp.ones(3), jnp.zeros(3)  # what is set, for y = 0, 1, 2 and k = 0
    asked = jnp.arange(3) > 0 if other else jnp.ones(3, dtype=bool)
    same = jnp.arange(3) == 0
    contradiction = jnp.where(same, jnp.abs(above - below), jnp.abs(above + below - 1))
    return jnp.max(jnp.where(asked, contradiction, 0))


def unattainable_gap(c: Instance, *, most: float = 0.75) -> Array:
    """The least level of a policy over the two w behind (28): at most 3/4, which F* has."""
    both = jnp.array([[1 / 3, 1 / 3, 1 / 3], [2 / 3, 0, 1 / 3]])
    matrix = jnp.array([[1 / 2, 2 / 3, 2 / 3], [1 / 3, 1 / 2, 2 / 3], [1 / 3, 1 / 3, 1 / 2]])
    drawn = c.lotteries[0, :3] + c.lotteries[0, 3] / 3
    star = proportional(matrix)
    near = c.share * star + (1 - c.share) * drawn
    levels = jnp.stack([jnp.minimum(*(ppa_level(lottery, w) for w in both)) for lottery in (drawn, near, star)])
    return worst(jnp.max(levels) - most, jnp.abs(levels[2] - 0.75))


def two_voters() -> Instance:
    """0123 and 2130; the vertex (0, 1/2, 1/2, 0)."""
    return by_hand(four=([[0, 1, 2, 3], [2, 1, 3, 0]], [0.5, 0.5]), rewards=(1.0, 3.0, 2.0, 0.0), share=0.0)


def two_favourites() -> Instance:
    """0 1 2 and 1 0 2; w = (1/2, 1/2, 0)."""
    return by_hand(three=([[0, 1, 2], [1, 0, 2]], [0.5, 0.5]), share=1.0)


CLAIMS = (
    Claim(
        "ppa/definition-4.1",
        "Definition 4.1",
        Statement(
            "w is feasible given P where some σ has w = w^σ and P = P^σ: w^σ is so given P^σ; the ends of each share "
            "are those over all σ. M = 2, 3, 4.",
            feasible_gap,
            "w^σ is so when 5 % of it has moved to y1.",
            moved_gap,
        ),
        generate,
        tolerance=1e-7,
        most=12,
        compiled=False,
        covers=("ppa-v1/definition-4.1",),
    ),
    Claim(
        "ppa/proposition-4.2",
        "Proposition 4.2 and equation (3)",
        Statement(
            "The feasible w are those of (3): both sets reach equally far in every direction. M = 2, 3, 4.",
            two_forms_gap,
            "So they do without P_i(y_i ≻ y) = 1.",
            lambda c: two_forms_gap(c, unanimous=False),
        ),
        generate,
        tolerance=1e-7,
        most=30,
        compiled=False,
        covers=("ppa/equation-3", "ppa-v1/proposition-4.2", "ppa-v1/equation-3"),
    ),
    Claim(
        "ppa/appendix-G",
        "Appendix G",
        Statement(
            "Groups that put y_k first, mixed by any w, have P = Σ_k w_k P_k and w^σ = w; P_k(y_k ≻ ·) = 1 has "
            "everybody put y_k first, as 1 - w_k ≤ Σ_y P(y ≻ y_k).",
            aggregated_gap,
            "1 - w_k ≤ max_y P(y ≻ y_k).",
            lambda c: aggregated_gap(c, one_is_enough=True),
        ),
        generate,
        exhaustive=every,
    ),
    Claim(
        "ppa/definition-4.3",
        "Definition 4.3 and below Theorem 4.4",
        Statement(
            "u_i := min_{y≠y_i} P(y_i ≻ y) = 1 - max_{y≠y_i} P(y ≻ y_i) = 1 - P(y' ≻ y_i): the share left without "
            "those who prefer y' to y_i.",
            over_sizes(bounds_gap),
            "u_i is the mean of P(y_i ≻ y) over y.",
            over_sizes(lambda p: bounds_gap(p, of="mean")),
        ),
        generate,
        covers=("ppa-v1/definition-4.3",),
        exhaustive=every,
    ),
    Claim(
        "ppa/theorem-4.4",
        "Theorem 4.4, equations (4), (29), (30)",
        Statement(
            "P(y_i ≻ y) = w_i P_i(y_i ≻ y) + Σ_{k≠i} w_k P_k(y_i ≻ y) ≥ w_i, hence W(P) ⊆ {w ∈ Δ : w_i ≤ u_i}.",
            over_sizes(within_box),
            "w_i ≤ 0.95 u_i.",
            over_sizes(lambda p: within_box(p, scale=0.95)),
        ),
        generate,
        covers=(
            "ppa/equation-4", "ppa/equation-29", "ppa/equation-30", "ppa-v1/theorem-4.4", "ppa-v1/equation-4",
            "ppa-v1/equation-32", "ppa-v1/equation-33",
        ),
        exhaustive=every,
    ),
    Claim(
        "ppa/not-identifiable",
        "below Theorem 4.4",
        Statement(
            "Perfect PPA is generally unattainable: behind (28) are w = (1/3, 1/3, 1/3) and (2/3, 0, 1/3), and no "
            "policy has a level above 3/4 for both; F* has 3/4.",
            unattainable_gap,
            "None has a level above 0.95 · 3/4.",
            lambda c: unattainable_gap(c, most=0.95 * 0.75),
        ),
        generate,
    ),
    Claim(
        "ppa/identifiable",
        "first version, below Theorem 4.4",
        Statement(
            "Perfect proportionality for all w ∈ W(P) is impossible unless W(P) has a single element: the best level "
            "is 1/Σ_k max w_k, and Σ_k max w_k - 1 is between the widest range of a share and the sum of all.",
            identifiable_gap,
            "It is always possible.",
            lambda c: identifiable_gap(c, always=True),
        ),
        generate,
        tolerance=1e-7,
        most=15,
        compiled=False,
    ),
    Claim(
        "ppa/equation-31",
        "Appendix I, equation (31)",
        Statement(
            "With 𝒫 := {P | P(y ≻ y') + P(y' ≻ y) = 1}, W(P) = {w ∈ Δ : w_i ≤ u_i}. M = 2, 3, 4.",
            lambda c: extended_gap(c, bounded=False),
            "W(P) = {w ∈ Δ : w_i ≤ 1.05 u_i}.",
            lambda c: extended_gap(c, bounded=True, scale=1.05),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "(31) sets no range. With three alternatives and P = 1/2 throughout, w = (0.8, 0.1, 0.1) has P_2(y1 ≻ y3) "
            "= P_3(y1 ≻ y2) = (0.5 - 0.8)/0.1 = -3 and P_1 = 1/2, skew-symmetric with Σ_k w_k P_k = P; u_1 = 1/2."
        ),
        corrected=Statement(
            "With 𝒫 := {P in [0, 1] | ...} it is.",
            lambda c: extended_gap(c, bounded=True),
            "W(P) = {w ∈ Δ : w_i ≤ 1.05 u_i}.",
            lambda c: extended_gap(c, bounded=True, scale=1.05),
        ),
        counterexample=by_hand,
        tolerance=1e-7,
        most=30,
        compiled=False,
        covers=("ppa-v1/equation-34",),
    ),
    Claim(
        "ppa/appendix-I-own-pair",
        "Appendix I, above (31) and below (32)",
        Statement(
            "P_k(y_k ≻ y) = 1, P_k(y ≻ y_k) = 0 for all y ∈ Y, and P_k(y ≻ y') + P_k(y' ≻ y) = 1 for all y, y' ∈ Y.",
            lambda c: own_pair_gap(other=False) + 0 * c.share,
            "Even where P_k(y ≻ y_k) = 0.05.",
            lambda c: own_pair_gap(other=True) + 0.05 + 0 * c.share,
        ),
        generate,
        verdict="holds as corrected",
        why="For y = y_k it sets P_k(y_k ≻ y_k) to 1 and to 0, where skew-symmetry would have 1/2.",
        corrected=Statement(
            "The same for all y ≠ y_k.",
            lambda c: own_pair_gap(other=True) + 0 * c.share,
            "Even where P_k(y ≻ y_k) = 0.05.",
            lambda c: own_pair_gap(other=True) + 0.05 + 0 * c.share,
        ),
        counterexample=by_hand,
        most=1,
    ),
    Claim(
        "ppa/equation-32",
        "Appendix I, equation (32)",
        Statement(
            "For w in the box, P_k(i ≻ j) = (P(i ≻ j) - w_i)/(1 - w_i - w_j), i, j ≠ k, is in [0, 1] and "
            "skew-symmetric, and Σ_k w_k P_k = P.",
            lambda c: over_reports(c, voting=False),
            "For any w ∈ Δ it is.",
            lambda c: over_reports(c, voting=True, boxed=False),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "It is 0/0 where w_i + w_j = 1: of two voters, 0 1 2 and 1 0 2, w = (1/2, 1/2, 0), and P_2(0 ≻ 1) = "
            "(1/2 - 1/2)/(1 - 1)."
        ),
        corrected=Statement(
            "It is where w_i + w_j < 1; else P(i ≻ j) = w_i, nobody else votes, and any P_k does, such as 1/2.",
            lambda c: over_reports(c, voting=True),
            "For any w ∈ Δ it is.",
            lambda c: over_reports(c, voting=True, boxed=False),
        ),
        counterexample=two_favourites,
        tolerance=1e-8,
        covers=("ppa-v1/equation-35",),
        exhaustive=every,
    ),
    Claim(
        "ppa/appendix-I-induced",
        "Appendix I, below (32)",
        Statement(
            "The P_k of (32) can be induced by some profile, so that P_k(a ≻ b) + P_k(b ≻ d) + P_k(d ≻ a) ≤ 2. M = 4.",
            cycles,
            "With three alternatives they can for any w ∈ Δ.",
            lambda c: over_reports(c, voting=True, boxed=False),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "Of two voters, 0 1 2 3 and 2 1 3 0, u = (1/2, 1/2, 1/2, 0), and w = (0, 1/2, 1/2, 0) is in the box; (32) "
            "has P_1(0 ≻ 2) = 1, P_1(2 ≻ 3) = 1, P_1(3 ≻ 0) = 1/2, and a ranking agrees with at most two of the three."
        ),
        corrected=Statement(
            "With up to three alternatives they can, by k i j and k j i; then W(P) is the whole box.",
            with_three_gap,
            "With four alternatives they can.",
            cycles,
        ),
        counterexample=two_voters,
        exhaustive=every,
    ),
    Claim(
        "ppa/appendix-I-gap",
        "Appendix I, first sentence",
        Statement(
            "As evaluators have strict rankings there is a gap between W(P) and the box: of two voters, 0123 and 2130, "
            "(0, 1/2, 1/2, 0) is in the box and 1/2 away from W(P) (total variation). With three alternatives there is "
            "none.",
            tight_gap,
            "With four there is none.",
            no_gap_with_four,
        ),
        generate,
        tolerance=1e-7,
        most=15,
        compiled=False,
    ),
)  # fmt: skip
