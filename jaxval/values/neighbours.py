"""KNN-Shapley and KNN-ADS: exact values of training instances for the soft-label utility of K nearest neighbours.

The utility of a set S of instances at one test point is the number of right labels among its K nearest, divided by

- K (`normalise="neighbours"`): v(S) = 1/K Σ_{l=1}^{min(K, |S|)} 1[y_l = y], the utility of the proof of Theorem 5.1;
- min(K, |S|) (`normalise="size"`): the same sum divided by the number of neighbours, v(∅) = 0, Definition 5.2 (12).

With a kernel κ of the distance, a right label counts κ(d_l) in place of 1. In all that follows a_i may be any number,
so that the recursion carries these weighted neighbours too. It does not carry weights that are normalised over the
neighbours, nor the squared error of their mean in a regression, for these are no sums over neighbours.

The two utilities give a group the same values if at least K instances belong to earlier groups. The values are exact
for these two utilities only. The values for the accuracy of the majority vote are estimated by sampling, with
`measure="accuracy"` in `knn_utility` or `knn_path_utility`, whose default is the soft score.

Fix a test point and a group of m instances, nearest first, with p instances in earlier groups. Let a_i be 1 if the i-th
instance of the group has the right label and 0 otherwise, c_i the number of earlier instances that are nearer than it,
and B_j the number of right labels among the j nearest earlier instances. By Lemma B.1, and because the number of the
i - 1 nearer members that are present is uniform on 0..i-1 (19), all four cases of Theorem 5.1 and its base case are one
equation,

    φ_i - φ_{i+1} = [lo (a_i - a_{i+1}) + (hi - lo) a_i - (B_{K-lo} - B_{K-hi})] / (K i),
    lo = clip(K - c_{i+1}, 0, i),  hi = clip(K - c_i, 0, i),  with φ_{m+1} = 0 and c_{m+1} = ∞,

in which the double sums of cases 3 and 4 are differences of the cumulative sum B. The base case as printed has K - c_m
in place of min(K - c_m, m). It counts coalitions of m or more members besides the farthest, but only m - 1 other
members exist, so it fails if a group is smaller than K - c_m. With one group, the farthest instance is worth
min(K, n) / (K n), not 1 / n.

The two normalisations differ only for coalitions of fewer than K instances, all of whose members are neighbours:

    φ^size_i = φ_i + R (a_i - mean a) + (ΔV^size - ΔV) / m,  R = 1/(m-1) Σ_{s=0}^{min(m-2, K-p-2)} (1/(p+s+1) - 1/K),

where ΔV = v(U_t) - v(U_{t-1}) is what the group adds under the respective normalisation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Num

from jaxval import _checks
from jaxval.types import BadArgument, Groups
from jaxval.values._neighbours import (
    NORMALISE,
    Features,
    by_group,
    check_groups,
    check_instances,
    distances,
    nearest_first,
    sum_over_blocks,
)

__all__ = ["knn_shapley"]

EMBEDDED = 4096  # rows that an embedding is given at a time
AT_ONCE = 1 << 23  # numbers held in memory at a time, which sets the size of a block of test points


class _Groups(NamedTuple):
    """Instances group by group: the first positions hold group 0, nearest first, the next positions group 1, ...

    Attributes:
        group: (n,) the group at each position.
        member: (n,) the number i = 1, 2, ... of the instance within its group.
        last: (n,) whether the instance is the farthest of its group.
        starts: (groups,) the first position of each group, which is the number p of instances in earlier groups.
        sizes: (groups,) the number m of instances in each group.
        size_term: (groups,) R, what `normalise="size"` adds for each right label; None for `normalise="neighbours"`.
        before: (groups,) the weight of a right label in U_{t-1} minus 1/K, or None.
        after: (groups,) the weight of a right label in U_t minus 1/K, or None.
    """

    group: Array
    member: Array
    last: Array
    starts: Array
    sizes: Array
    size_term: Array | None
    before: Array | None
    after: Array | None


def knn_shapley(
    train_x: Num[ArrayLike, "instances *features"] | list[Any],
    train_y: Int[ArrayLike, "instances"] | Bool[ArrayLike, "instances"] | list[Any],
    test_x: Num[ArrayLike, "tests *features"] | list[Any],
    test_y: Int[ArrayLike, "tests"] | Bool[ArrayLike, "tests"] | list[Any],
    *,
    neighbours: int,
    groups: Groups | None = None,
    normalise: str = "neighbours",
    kernel: Callable[[Array], Array] | None = None,
    embed: Callable[[Any], Any] | None = None,
) -> Float[Array, "instances"]:
    """The exact Shapley value of every training instance for K nearest neighbours; with `groups`, the asymmetric value.

    φ(q) = 1/|D_t| Σ_{S ⊆ D_t - q} C(|D_t| - 1, |S|)^{-1} [v(U_{t-1} ∪ S ∪ {q}) - v(U_{t-1} ∪ S)] for q in group
    D_t, averaged over the test points. U_{t-1} is the union of the earlier groups, and v is the fraction of right
    labels among the K nearest (Euclidean) instances of a set, ordered by (distance, index).

    It takes O(n log n + T K) steps a test point for n instances in T groups. Test points are taken in blocks, so that
    memory does not grow with their number: beside the features it holds some tens of numbers for each instance. The
    function may be jitted if the groups are known.

    Source: Zheng et al., Theorem 5.1, Appendix B.6 and Algorithm 2; with one group Jia et al. (2019), Theorem 1. The
    base case of the recursion is corrected for groups smaller than K.

    Args:
        train_x: (instances, features) finite features; rows of any shape with `embed`.
        train_y: (instances,) integer labels.
        test_x: (tests, features) features of the test points.
        test_y: (tests,) their labels.
        neighbours: K, at least 1; it may exceed the number of instances.
        groups: (instances,) the group 0, 1, ... of each instance, earlier groups first; None means one group.
        normalise: "neighbours" divides by K; "size" by min(K, |S|), with v(∅) = 0.
        kernel: a JAX function from squared distances to weights of the same shape; a neighbour with the right label
            counts its weight, as in v(S) = 1/K Σ_{l=1}^{min(K, |S|)} κ(d_l²) 1[y_l = y]. None means weight 1.
        embed: a function from rows of features to rows of an embedding (rows, dimensions), in which distances are
            taken. It is called for 4,096 rows at a time, of any shape. None takes the features as they are.

    Returns:
        (instances,) values. The values of a group sum to what the group adds to the utility of the earlier groups.

    Raises:
        ValueError: if shapes or lengths disagree, a set is empty, features are not finite, labels are not integers, K
            is not a whole number of at least 1, or a group number is left out.

    Example:
        The second instance has the wrong label and is nearer than the third. In a later group it only does harm.

        >>> instances = [[1.0], [2.0], [3.0]], [1, 0, 1], [[0.0]], [1]
        >>> [round(float(value), 3) for value in knn_shapley(*instances, neighbours=2)]
        [0.333, -0.167, 0.333]
        >>> knn_shapley(*instances, neighbours=2, groups=[0, 1, 0]).tolist()
        [0.5, -0.5, 0.5]
        >>> near = knn_shapley(*instances, neighbours=2, kernel=lambda squared: 1 / squared)
        >>> [round(float(value), 3) for value in near]
        [0.481, -0.019, 0.037]
    """
    if embed is not None:
        train_x, test_x = (_embedded(name, embed, x) for name, x in (("train_x", train_x), ("test_x", test_x)))
    train, train_y, test, test_y = check_instances(train_x, train_y, test_x, test_y)
    neighbours = _checks.check_size("neighbours", neighbours)
    normalise = _checks.check_choice("normalise", normalise, NORMALISE)
    instances, tests = len(train_y), len(test_y)
    group_of = check_groups(groups, instances)
    layout = _layout(group_of, neighbours, normalise)

    def block_sum(x: Features, y: Array, counted: Array) -> Array:
        distance = distances(x, train)
        order = nearest_first(distance)
        rank = by_group(order, group_of)
        weight = None if kernel is None else _weights(kernel, jnp.take_along_axis(distance, order, axis=-1))
        return _block_sum(order, rank, train_y, y, counted, weight, layout, neighbours=neighbours)

    numbers = 16 * instances + 8 * (len(layout.sizes) + 1) * min(neighbours, instances)
    return sum_over_blocks(block_sum, test, test_y, at_once=AT_ONCE // numbers) / tests


def _embedded(name: str, embed: Callable[[Any], Any], rows: Any) -> np.ndarray:
    """The embedding of all rows, a block at a time."""
    _checks.check_function("embed", embed, "a function of rows")
    rows = rows if hasattr(rows, "shape") else np.asarray(rows)
    blocks = [np.asarray(embed(rows[start : start + EMBEDDED])) for start in range(0, len(rows), EMBEDDED)]
    if any(block.ndim != 2 for block in blocks) or sum(map(len, blocks)) != len(rows):
        shapes = sorted({block.shape for block in blocks})
        raise BadArgument("embed", expected=f"an embedding (rows, dimensions) of {name}", got=f"shapes {shapes}")
    return np.concatenate(blocks)


def _weights(kernel: Callable[[Array], Array], squared: Array) -> Array:
    """κ of the squared distances."""
    _checks.check_function("kernel", kernel, "a function of squared distances")
    weight = _checks.numbers("kernel", kernel(squared), f"finite weights of shape {squared.shape}")
    if weight.shape != squared.shape or (_checks.concrete(weight) and not np.isfinite(weight).all()):
        got = f"shape {weight.shape}" if weight.shape != squared.shape else "NaN or infinity"
        raise BadArgument("kernel", expected=f"finite weights of shape {squared.shape}", got=got)
    return weight


def _layout(group_of: np.ndarray, neighbours: int, normalise: str) -> _Groups:
    """The positions of each group, and how `normalise` weighs its coalitions."""
    instances = len(group_of)
    sizes = np.bincount(group_of)
    starts = np.cumsum(sizes) - sizes
    group = np.repeat(np.arange(len(sizes)), sizes)
    member = np.arange(instances) - starts[group] + 1
    of_size: tuple[np.ndarray | None, ...] = (None, None, None)
    if normalise == "size":
        # Coalitions with fewer than K instances have h = clip(K - p - 1, 0, m - 1) sizes. With the harmonic numbers H,
        # R (m - 1) = H_{p+h} - H_p - h / K.
        harmonic = np.cumsum(np.append(0.0, 1 / np.arange(1, instances + 1)))
        below = np.clip(neighbours - starts - 1, 0, sizes - 1)
        size_term = (harmonic[starts + below] - harmonic[starts] - below / neighbours) / np.maximum(sizes - 1, 1)
        weight = np.append(0.0, 1 / np.minimum(neighbours, np.arange(1, instances + 1))) - 1 / neighbours
        of_size = size_term, weight[starts], weight[starts + sizes]
    numbers = (None if array is None else _checks.known_array(array, float) for array in of_size)
    indices = (_checks.known_array(array, jnp.int32) for array in (starts, sizes))
    return _Groups(
        _checks.known_array(group, jnp.int32),
        _checks.known_array(member, jnp.int32),
        _checks.known_array(member == sizes[group]),
        *indices,
        *numbers,
    )


@partial(jax.jit, static_argnames="neighbours")
def _block_sum(
    order: Array,
    rank: Array,
    train_y: Array,
    test_y: Array,
    counted: Array,
    weight: Array | None,
    layout: _Groups,
    *,
    neighbours: int,
) -> Array:
    """The sum over a block of test points of the values of every instance, (n,), in the order of the training data."""
    right = ((train_y[order] == test_y[:, None]) & counted[:, None]).astype(jnp.int32)
    right = right if weight is None else right * weight
    values = jax.vmap(lambda rank, right: _point_values(rank, right, layout, neighbours=neighbours))(rank, right)
    instance = jnp.take_along_axis(order, rank, axis=-1)
    return jnp.zeros(order.shape[-1]).at[instance].add(values)


def _point_values(rank: Array, nearest_right: Array, layout: _Groups, *, neighbours: int) -> Array:
    """The values at one test point, group by group.

    Args:
        rank: (n,) the rank of each instance among all, group by group.
        nearest_right: (n,) a by rank: the weight of the nearest instance if its label is right, and 0 if not, ...
        layout: the groups.
        neighbours: K.
    """
    group, member, last, starts, sizes, size_term, before, after = layout
    K = min(neighbours, 2 * len(rank))  # a larger K clips to the same numbers, as c_i and i are at most n
    right = nearest_right[rank]
    nearest, B = _earlier_groups(rank, nearest_right, starts, sizes, neighbours=K)
    c = _count_nearer(nearest, group, rank) if len(sizes) > 1 else jnp.zeros_like(rank)  # none are earlier
    lo = jnp.where(last, 0, jnp.clip(K - jnp.roll(c, -1), 0, member))  # after the last member c = ∞, a = 0 and φ = 0
    hi = jnp.clip(K - c, 0, member)
    step = lo * (right - jnp.roll(right, -1)) + (hi - lo) * right
    if len(sizes) > 1:
        step = step - (_at(B, group, K - lo) - _at(B, group, K - hi))
    differences = step / (float(neighbours) * member)
    sums = jnp.append(jax.lax.cumsum(differences, reverse=True), 0)
    values = sums[:-1] - sums[starts + sizes][group]
    if size_term is None or before is None or after is None:
        return values
    m = sizes.astype(float)
    mean = jax.ops.segment_sum(right, group, len(sizes), indices_are_sorted=True) / m
    gain = (after * B[1:, -1] - before * B[:-1, -1]) / m
    return values + (size_term[group] * (right - mean[group]) + gain[group])


def _earlier_groups(
    rank: Array, nearest_right: Array, starts: Array, sizes: Array, *, neighbours: int
) -> tuple[Array, Array]:
    """The ranks of the K nearest of U_0, ..., U_T, (T + 1, K), and the sum of a over the j nearest, (T + 1, K + 1).

    A row with fewer than K neighbours is filled up with n, which is farther than every instance.
    """
    instances = rank.shape[0]
    length = min(neighbours, instances)
    column = jnp.arange(length)[None, :]
    head = rank[jnp.minimum(starts[:, None] + column, instances - 1)]
    head = jnp.where(column < sizes[:, None], head, instances)

    def add_group(nearest: Array, head: Array) -> tuple[Array, Array]:
        return jnp.sort(jnp.concatenate([nearest, head]))[:length], nearest

    final, earlier = jax.lax.scan(add_group, jnp.full(length, instances, dtype=rank.dtype), head)
    nearest = jnp.concatenate([earlier, final[None]])
    right = jnp.append(nearest_right, 0)[nearest]
    return nearest, jnp.pad(jnp.cumsum(right, axis=1), ((0, 0), (1, 0)))


def _count_nearer(nearest: Array, group: Array, rank: Array) -> Array:
    """c_i clipped at K: how many of the K nearest instances of earlier groups are nearer than i, by bisection."""
    length = nearest.shape[1]
    count = jnp.zeros_like(rank)
    for bit in reversed(range(length.bit_length())):
        more = count + (1 << bit)
        nearer = nearest[group, jnp.minimum(more, length) - 1] < rank
        count = jnp.where((more <= length) & nearer, more, count)
    return count


def _at(rights: Array, group: Array, neighbours: Array) -> Array:
    """B_j of the groups before each instance; a j beyond the number of instances gives the last entry."""
    return rights[group, jnp.minimum(neighbours, rights.shape[1] - 1)]
