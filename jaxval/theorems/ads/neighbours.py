"""Definition 5.2 and Theorem 5.1 of Zheng et al.: the utility of nearest neighbours and the four items.

Each statement is compared with ADS by its definition (8), all coalitions written out. Two utilities are told apart:
(12), which divides by K' = min(K, |S|) and of which the theorem speaks, and the same sum divided by K, for which the
proof's displays are right.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval.theorems.ads._neighbour_games import (
    CURRENT,
    NEARER,
    SETS,
    SIZES,
    Divisor,
    N,
    Neighbours,
    ads,
    differences,
    extra,
    group_of,
    items,
    knn,
    nearest,
    nearest_first,
)
from jaxval.theorems.records import AtMost

__all__: list[str] = []

LABELS = (SETS[:, None] & (NEARER[:, None] == np.arange(N)[None, :, None])).astype(float)  # whose label is I^i(x; S)


@nearest.claim(
    "ads/definition-5.2",
    "Definition 5.2, equation (12)",
    covers=("ads/equation-12",),
    fails="convention",
    quote="For any subset of sources S ⊆ D, ... The KNN utility of S at q_test is v_knn(S) := 1/K' Σ_{i=1}^{K'} "
    "1[y_{I_d^i(x_test; Ins(S))} = y_test], that is, the fraction of the K' nearest neighbors in Ins(S) whose labels "
    "equal y_test.",
    why="At S = ∅ it is 0/0, as K' = min{K, 0} = 0, and the values of the first group need v(∅).",
    corrected="For any S ⊆ D that is not empty, (12) is that fraction; and v(∅) = 0.",
    correction={"at_nothing": 0.0},
    counterexample=lambda: nearest_first("C", neighbours=1),
)
def definition_5_2(c: Neighbours, at_nothing: float = jnp.nan) -> tuple[Array, Array]:
    """For any S ⊆ D, 1/K' Σ_{i=1}^{K'} 1[y_i = y], K' = min{K, m(S)}, is the share of the K' nearest with label y."""
    size = jnp.minimum(c.neighbours, SIZES)
    total = jnp.sum(jnp.where(np.arange(N)[None] < size[:, None], LABELS @ c.right, 0), axis=1)
    return jnp.where(size > 0, total / jnp.maximum(size, 1), at_nothing), knn(c.right, c.neighbours)


@nearest.claim(
    "ads/neighbour-index",
    "Definition 5.2, the range of i",
    fails="slip",
    quote="For i = 1, ..., m(C_t), let I_d^i(x_test; Ins(S)) denote the index of the ith nearest neighbor of x_test "
    "among the instances in Ins(S) under d",
    why="The range should be m(S), as in Appendix B.6: with one instance in an earlier group, one in the group C_t and "
    "K = 2, (12) asks for the second neighbour of both, but m(C_t) = 1.",
    corrected="(12) asks for neighbours i = 1, ..., K' of a set S only, and K' = min{K, m(S)} ≤ m(S).",
    correction={"of": "S"},
    counterexample=lambda: nearest_first("PC", neighbours=2),
)
def neighbour_index(c: Neighbours, of: str = "C_t") -> AtMost:
    """(12) asks for neighbours i = 1, ..., K' of a set S only, and K' = min{K, m(S)} ≤ m(C_t)."""
    defined = SIZES if of == "S" else jnp.sum(c.role == CURRENT)
    return AtMost(jnp.minimum(c.neighbours, SIZES), defined)


def by_item(c: Neighbours, divisor: Divisor, *, added: float = 0.0) -> dict[str, tuple]:
    """φ_i - φ_{i+1} and what each item says of it, with `added` R (a_i - a_{i+1}); 0 where the item does not apply."""
    g = group_of(c.right, c.role)
    actual = differences(g, ads(knn(c.right, c.neighbours, divisor), c.role))
    applies, printed = items(g, c.neighbours)
    said = printed + added * extra(g, c.neighbours) * g.change[None]
    return {
        f"item {number}": (jnp.where(applies[row], actual, 0), jnp.where(applies[row], said[row], 0))
        for row, number in enumerate("1234")
    }


@nearest.claim(
    "ads/theorem-5.1",
    "Theorem 5.1",
    root="ads/neighbours-displaced",
    quote="2. If K > c_{t,i+1} = c_{t,i} = c_t, then φ^σ(q_{I_d^i(x_test;C_t)}; v_knn, Ins(D)) - "
    "φ^σ(q_{I_d^{i+1}(x_test;C_t)}; v_knn, Ins(D)) = (1[y_{I_d^i(x_test;C_t)} = y_test] - 1[y_{I_d^{i+1}(x_test;C_t)} "
    "= y_test])/K · min{K - c_t, i}/i.",
    why="While fewer than K instances are present, (12) divides by fewer than K. Item 2, K = 2, one group, a right "
    "label before a wrong one: the values are 3/4 and -1/4, so that their difference is 1, printed 1/2. Item 3, K = 3, "
    "a right label, a wrong one of an earlier group, a wrong one: 5/12 + 1/12 = 1/2, printed 1/3. Items 1 and 4 hold, "
    "and all four hold for the utility divided by K.",
    corrected="Items 1 and 4 hold as printed. In items 2 and 3 the difference is what is printed plus R (a_i - "
    "a_{i+1}), where R = 1/(m-1) Σ_{s=0}^{min(m-2, K-p-2)} [1/(p+s+1) - 1/K], p = m(P_t) and m = m(C_t); R = 0 if at "
    "least K - 1 instances are in earlier groups.",
    correction={"added": 1.0},
    counterexample=lambda: nearest_first("Cc", neighbours=2),
)
def theorem_5_1(c: Neighbours, added: float = 0.0) -> dict[str, tuple]:
    """Theorem 5.1 for (12): the difference of the values of the i-th and the (i+1)-th nearest of m in the group.

    Let a_i be 1 if the i-th nearest of the group has the right label and 0 otherwise, b_j the same for the j-th nearest
    of the earlier groups, and c_i how many of these are nearer than the i-th. Then φ_i - φ_{i+1} is
    (1) 0 if K ≤ c_i;
    (2) (a_i - a_{i+1})/K · min{K - c_i, i}/i if K > c_{i+1} = c_i;
    (3) (a_i - a_{i+1})/K · min{K - c_{i+1}, i}/i + D(K - c_{i+1}) if K > c_{i+1} > c_i;
    (4) D(0) if c_i < K ≤ c_{i+1}, where D(l) is 1/(m-1) times
    Σ_{s=l}^{m-2} Σ_{u=l}^{min{K-c_i-1, s}} C(s,u) C(m-2-s,i-1-u)/C(m-2,i-1) (a_i - b_{K-u})/K.
    """
    return by_item(c, "K'", added=added)


@nearest.claim(
    "ads/theorem-5.1-by-k",
    "Theorem 5.1, for the utility of its proof",
    false="For (12) the values of a group differ as items 1 to 4 of Theorem 5.1 say.",
    neighbour={"divisor": "K'"},
)
def theorem_5_1_by_k(c: Neighbours, divisor: Divisor = "K") -> dict[str, tuple]:
    """Items 1 to 4 of Theorem 5.1 hold for the utility that divides by K for every S.

    That is v(S) = 1/K Σ_{i=1}^{min(K, m(S))} 1[y_i = y]. A neighbour of the earlier groups that is not there counts as
    wrong.
    """
    return by_item(c, divisor)
