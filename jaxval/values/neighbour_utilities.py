"""Utilities of K nearest neighbours for sampled values: of one coalition, or of all coalitions along a permutation.

Distances are sorted once, when the utility is made. Along a permutation the K nearest neighbours of every test point
are kept up to date as players come in one by one; no classifier is fitted again.

There are two scores. "soft", the default, is the fraction of right labels, the utility for which `knn_shapley` is
exact. "accuracy" is that of the classifier, 1 if the majority of the neighbours has the right label. The empty
coalition is worth 0 under both scores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Num

from jaxval import _checks
from jaxval.types import BadArgument, Utility
from jaxval.values._neighbours import NORMALISE, check_instances, distances, nearest_first

__all__ = ["knn_path_utility", "knn_utility"]

MEASURES = ("accuracy", "soft")
TIES = ("shared", "smallest")
AT_ONCE = 1 << 23  # distances held in memory at a time
PASSES = 64  # more neighbours than this are sorted instead of taken one by one


class _Neighbours(NamedTuple):
    """The rank and the class of every training instance for every test point, as one integer code.

    A code is 2^bits times the rank of the instance in the order of (distance, index), plus its class. Codes are
    therefore in the order of the distances.

    Attributes:
        codes: (instances, tests) codes.
        right: (tests,) the class of each test point, -1 if no training instance has this class.
        bits: the number of bits of a class.
        classes: the number of classes.
    """

    codes: Array
    right: Array
    bits: int
    classes: int


def knn_utility(
    train_x: Num[ArrayLike, "instances features"] | list[Any],
    train_y: Int[ArrayLike, "instances"] | Bool[ArrayLike, "instances"] | list[Any],
    test_x: Num[ArrayLike, "tests features"] | list[Any],
    test_y: Int[ArrayLike, "tests"] | Bool[ArrayLike, "tests"] | list[Any],
    *,
    neighbours: int,
    measure: str = "soft",
    normalise: str = "neighbours",
    ties: str = "shared",
) -> Utility:
    """The utility of a coalition of training instances: the score of its K nearest neighbours on the test points.

    "soft" is the mean over test points of 1/K Σ_{l=1}^{min(K, |S|)} 1[y_l = y]; "accuracy" is the share of test points
    whose label has the most votes among the min(K, |S|) nearest. v(∅) = 0. Neighbours are ordered by (distance, index).

    Source: Zheng et al., Definition 5.2 (soft), section 6.1 (accuracy).

    Args:
        train_x: (instances, features) finite features of the players.
        train_y: (instances,) their integer labels.
        test_x: (tests, features) features of the test points.
        test_y: (tests,) their labels.
        neighbours: K, at least 1.
        measure: "soft" or "accuracy".
        normalise: for "soft", "neighbours" divides by K and "size" by min(K, |S|).
        ties: for "accuracy", the rule for labels with equally many votes. "shared" counts 1 / (labels that tie) if the
            right label is one of them; "smallest" takes the smallest label.

    Returns:
        A function of a mask (instances,) of booleans to a scalar; it may be jitted and vmapped.

    Raises:
        ValueError: if shapes or lengths disagree, a set is empty, features are not finite, labels are not integers, K
            is not a whole number of at least 1, or `measure`, `normalise` or `ties` is not one of its words.

    Example:
        >>> utility = knn_utility([[1.0], [2.0], [3.0]], [1, 1, 0], [[0.0]], [1], neighbours=2)
        >>> float(utility(jnp.array([True, False, True]))), float(utility(jnp.array([True, True, True])))
        (0.5, 1.0)
    """
    known = _neighbours(train_x, train_y, test_x, test_y, neighbours)
    rate = _measure(known, neighbours, measure, normalise, ties)
    length = min(neighbours, known.codes.shape[0])

    def utility(coalition: Bool[ArrayLike, "instances"]) -> Float[Array, ""]:
        members = jnp.where(jnp.asarray(coalition)[:, None], known.codes, _absent(known))
        return rate(_smallest(members, length, _absent(known)))

    return utility


def knn_path_utility(
    train_x: Num[ArrayLike, "instances features"] | list[Any],
    train_y: Int[ArrayLike, "instances"] | Bool[ArrayLike, "instances"] | list[Any],
    test_x: Num[ArrayLike, "tests features"] | list[Any],
    test_y: Int[ArrayLike, "tests"] | Bool[ArrayLike, "tests"] | list[Any],
    *,
    neighbours: int,
    measure: str = "soft",
    normalise: str = "neighbours",
    ties: str = "shared",
) -> Callable[[Int[ArrayLike, "instances"]], Float[Array, "prefixes"]]:
    """The utilities of all prefixes of a permutation, v(∅), v({π_1}), ..., v(D), where v is `knn_utility`.

    The arguments are those of `knn_utility`. When a player comes in, the K nearest neighbours of every test point are
    updated by one insertion into a sorted list, t'_j = min(t_j, max(t_{j-1}, r)). The marginals of a permutation are
    the differences of successive utilities.

    Source: Zheng et al., Algorithm 1 (lines 9 to 14).

    Returns:
        A function of a permutation (instances,) to (instances + 1,) utilities; it may be jitted and vmapped.

    Raises:
        ValueError: in the cases of `knn_utility`.

    Example:
        >>> utilities = knn_path_utility([[1.0], [2.0], [3.0]], [1, 0, 0], [[0.0]], [1], neighbours=1)
        >>> utilities(jnp.array([2, 0, 1])).tolist()
        [0.0, 0.0, 1.0, 1.0]
    """
    known = _neighbours(train_x, train_y, test_x, test_y, neighbours)
    rate = _measure(known, neighbours, measure, normalise, ties)
    instances, tests = known.codes.shape
    none = jnp.full((min(neighbours, instances), tests), _absent(known))

    def arrive(nearest: Array, player: Array) -> tuple[Array, Array]:
        nearer = jnp.concatenate([jnp.full((1, tests), -1), nearest[:-1]])
        nearest = jnp.minimum(nearest, jnp.maximum(nearer, known.codes[player][None, :]))
        return nearest, rate(nearest)

    def utilities(permutation: Int[ArrayLike, "instances"]) -> Float[Array, "prefixes"]:
        _, along = jax.lax.scan(arrive, none, jnp.asarray(permutation))
        return jnp.concatenate([jnp.zeros(1), along])

    return utilities


def _neighbours(train_x: Any, train_y: Any, test_x: Any, test_y: Any, neighbours: int) -> _Neighbours:
    """Check the arguments of `knn_utility`, and sort the instances by their distance from every test point."""
    train_x, train_y, test_x, test_y = check_instances(train_x, train_y, test_x, test_y)
    _checks.check_size("neighbours", neighbours)
    if not _checks.concrete(train_x.high, train_y, test_x.high, test_y):
        raise BadArgument(
            "train_x",
            expected="known numbers, for they are sorted once",
            got="a tracer",
            advice="make the utility outside jit",
        )
    labels, classes = np.unique(np.asarray(train_y), return_inverse=True)
    candidate = np.minimum(np.searchsorted(labels, np.asarray(test_y)), len(labels) - 1)
    right = np.where(labels[candidate] == np.asarray(test_y), candidate, -1)
    instances, tests, bits = len(train_y), len(test_y), max(1, (len(labels) - 1).bit_length())
    if (instances + 1) << bits >= 1 << 31:
        raise BadArgument("train_x", expected="instances x classes below 2^31", got=f"{instances} x {len(labels)}")
    codes = np.empty((tests, instances), dtype=np.int32)
    block = max(1, AT_ONCE // instances)
    for start in range(0, tests, block):
        some = jax.tree.map(lambda part, start=start: part[start : start + block], test_x)
        order = np.asarray(nearest_first(distances(some, train_x)))
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(instances, dtype=np.int32)[None, :], axis=1)
        codes[start : start + block] = (rank << bits) + classes[None, :]
    return _Neighbours(jnp.asarray(codes.T), jnp.asarray(right, dtype=jnp.int32), bits, len(labels))


def _smallest(codes: Array, length: int, absent: int) -> Array:
    """The smallest codes of each test point in order, (length, tests); only codes of missing neighbours repeat."""
    # On a CPU, XLA's `top_k` of 1,000 codes takes as long as some 100 passes over them.
    if length > PASSES:
        return -jax.lax.top_k(-codes.T, length)[0].T

    def next_smallest(last: Array, _: None) -> tuple[Array, Array]:
        smallest = jnp.min(jnp.where(codes > last[None, :], codes, absent), axis=0)
        return smallest, smallest

    return jax.lax.scan(next_smallest, jnp.full(codes.shape[1], -1, codes.dtype), length=length)[1]


def _absent(known: _Neighbours) -> int:
    """The code of a neighbour that is missing: it is farther than every instance."""
    return known.codes.shape[0] << known.bits


def _measure(
    known: _Neighbours, neighbours: int, measure: str, normalise: str, ties: str
) -> Callable[[Array], Float[Array, ""]]:
    """The function from the codes of the nearest neighbours, (K, tests), to the mean score."""
    _checks.check_choice("measure", measure, MEASURES)
    _checks.check_choice("normalise", normalise, NORMALISE)
    _checks.check_choice("ties", ties, TIES)
    right, absent = known.right, _absent(known)
    # Votes are counted for each class, or for the class of each neighbour if there are fewer neighbours than classes.
    by_class = known.classes <= neighbours

    def soft(nearest: Array) -> Array:
        label, present = nearest & ((1 << known.bits) - 1), nearest < absent
        rights = jnp.sum(present & (label == right[None, :]), axis=0)
        size = jnp.maximum(jnp.sum(present, axis=0), 1) if normalise == "size" else neighbours
        return jnp.mean(rights / jnp.asarray(size, dtype=float))

    def accuracy(nearest: Array) -> Array:
        label, present = nearest & ((1 << known.bits) - 1), nearest < absent
        candidate = jnp.broadcast_to(jnp.arange(known.classes)[:, None], (known.classes, label.shape[1]))
        candidate = candidate if by_class else label
        votes = jnp.sum((candidate[:, None, :] == label[None, :, :]) & present[None, :, :], axis=1)
        votes = votes if by_class else jnp.where(present, votes, 0)
        most = jnp.max(votes, axis=0)
        wins = (votes == most[None, :]) & (votes > 0)
        won = jnp.any(wins & (candidate == right[None, :]), axis=0)
        if ties == "smallest":
            return jnp.mean(won & ~jnp.any(wins & (candidate < right[None, :]), axis=0), dtype=float)
        winners = jnp.sum(wins, axis=0) / jnp.asarray(1 if by_class else jnp.maximum(most, 1), dtype=float)
        return jnp.mean(won / jnp.maximum(winners, 1))

    return soft if measure == "soft" else accuracy
