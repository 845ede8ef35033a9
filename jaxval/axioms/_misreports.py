"""Joint reports of a group of voters: what their full enumeration and the search among them share."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval import _checks
from jaxval.axioms._profiles import cached, rankings
from jaxval.axioms.rules import as_profile_rule, call, is_matrix_rule
from jaxval.types import Rule

__all__ = [
    "Misreports",
    "count_misreports",
    "enumerate_misreports",
    "evaluator",
    "indicators",
    "profile_matrix",
    "settle",
]

CHUNK = 4096  # profiles that the enumeration evaluates at a time


class Misreports(NamedTuple):
    """The best known report of each group.

    Attributes:
        values: (alternatives,) Φ(σ'_k)(k), the probability of alternative k under the best report of group k.
        orders: (alternatives, rankings, alternatives) σ'_k, the whole profile with the best report of group k.
        lotteries: (alternatives, alternatives) Φ(σ'_k), one row for each group.
        lottery: (alternatives,) Φ(σ), the lottery of the true profile.
    """

    values: Array
    orders: Array
    lotteries: Array
    lottery: Array


def indicators(orders: Array) -> Array:
    """1{r(i) < r(j)} of each ranking, 1/2 on the diagonal; (..., alternatives, alternatives)."""
    rank = jnp.argsort(orders, axis=-1)
    first, second = rank[..., :, None], rank[..., None, :]
    return ((first < second).astype(float) + (first <= second)) / 2


def profile_matrix(orders: Array, weights: Array) -> Array:
    """Σ_r weights[r] indicators(r), which is P if the weights sum to one."""
    return jnp.tensordot(weights, indicators(orders), axes=1)


def evaluator(rule: Rule, alternatives: int) -> Callable[[Array, Array, Array], Array]:
    """The rule as a function of (matrix, orders, weights). A rule of P reads only the matrix, other rules ignore it."""
    if is_matrix_rule(rule):
        return lambda matrix, orders, weights: call(rule, matrix, alternatives=alternatives)
    profile_rule = as_profile_rule(rule)
    return lambda matrix, orders, weights: profile_rule(orders, weights)


def settle(values: Array, orders: Array, lotteries: Array, truth: Array, lottery: Array) -> Misreports:
    """The misreports of groups that gain more than the tolerance; the other groups report the truth."""
    honest = lottery
    pays = (values > honest + _checks.tolerance(values.dtype)) | jnp.isnan(values)
    return Misreports(
        jnp.where(pays, values, honest),
        jnp.where(pays[:, None, None], orders, truth[None]),
        jnp.where(pays[:, None], lotteries, lottery[None]),
        lottery,
    )


def count_misreports(orders: np.ndarray, weights: np.ndarray, *, common: bool) -> list[int]:
    """How many joint reports each group has.

    If the group reports one common ranking, there are M!. If each of its rows reports a ranking, there are (M!)^rows,
    or, if all rows have the same weight, as many as there are multisets of rankings.
    """
    every = math.factorial(orders.shape[1])
    counts = []
    for group in range(orders.shape[1]):
        shares = weights[_members(orders, weights, group)]
        if len(shares) == 0:
            counts.append(1)
        elif common:
            counts.append(every)
        elif len(np.unique(shares)) == 1:
            counts.append(math.comb(every + len(shares) - 1, len(shares)))
        else:
            counts.append(every ** len(shares))
    return counts


def enumerate_misreports(rule: Rule, orders: Array, weights: Array, *, common: bool) -> Misreports:
    """The best of all reports of every group, in chunks of one compiled shape; `orders` and `weights` are concrete."""
    known, shares = np.asarray(orders), np.asarray(weights)
    num, alternatives = known.shape
    every = rankings(alternatives)
    evaluate = _batch_evaluator(rule)

    def lotteries(profiles: np.ndarray) -> np.ndarray:
        padding = np.broadcast_to(known, (CHUNK - len(profiles), num, alternatives))
        return np.asarray(evaluate(np.concatenate([profiles, padding]), weights))[: len(profiles)]

    best_profiles = []
    for group in range(alternatives):
        rows = _members(known, shares, group)
        best_value, best_profile = -np.inf, known
        for reports in _joint_reports(len(every), shares[rows], common):
            profiles = np.repeat(known[None], len(reports), axis=0)
            profiles[:, rows] = every[reports]
            values = lotteries(profiles)[:, group]
            if not values.max() <= best_value:  # also true of NaN, which is kept to be refused later
                best_value, best_profile = values.max(), profiles[values.argmax()]
        best_profiles.append(best_profile)
    profiles = np.stack([*best_profiles, known])
    last = jnp.asarray(lotteries(profiles))
    return settle(jnp.diag(last), jnp.asarray(profiles[:-1]), last[:-1], orders, last[-1])


def _members(orders: np.ndarray, weights: np.ndarray, group: int) -> np.ndarray:
    return np.flatnonzero((orders[:, 0] == group) & (weights > 0))


def _joint_reports(every: int, shares: np.ndarray, common: bool) -> Iterator[np.ndarray]:
    """Chunks of joint reports, (CHUNK or fewer, rows), as indices of rankings."""
    rows = len(shares)
    if rows == 0:
        return
    joint: Iterable[tuple[int, ...]]
    if common:
        joint = ((index,) * rows for index in range(every))
    elif len(np.unique(shares)) == 1:
        joint = itertools.combinations_with_replacement(range(every), rows)
    else:
        joint = itertools.product(range(every), repeat=rows)
    joint = iter(joint)
    while chunk := list(itertools.islice(joint, CHUNK)):
        yield np.array(chunk, dtype=np.int32)


@cached
def _batch_evaluator(rule: Rule) -> Callable[[np.ndarray, Array], Array]:
    def one(orders: Array, weights: Array) -> Array:
        return evaluator(rule, orders.shape[1])(profile_matrix(orders, weights), orders, weights)

    return jax.jit(jax.vmap(one, in_axes=(0, None)))
