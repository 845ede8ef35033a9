"""Section 4.1, Appendices G and H: which shares of first choices P allows, by linear programs and by construction."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval.axioms import ppa_level
from jaxval.social_choice import feasible_membership, feasible_shares, proportional, share_bounds
from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ppa._old_profiles import (
    Instance,
    Profile,
    every,
    generate,
    halved,
    induced,
    over_sizes,
    places,
    shares,
    worst,
)
from jaxval.theorems.ppa._programs import by_definition, by_groups, sizes

__all__ = ["CLAIMS"]


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


def unattainable_gap(c: Instance, *, most: float = 0.75) -> Array:
    """The least level of a policy over the two w behind (28): at most 3/4, which F* has."""
    both = jnp.array([[1 / 3, 1 / 3, 1 / 3], [2 / 3, 0, 1 / 3]])
    matrix = jnp.array([[1 / 2, 2 / 3, 2 / 3], [1 / 3, 1 / 2, 2 / 3], [1 / 3, 1 / 3, 1 / 2]])
    drawn = c.lotteries[0, :3] + c.lotteries[0, 3] / 3
    star = proportional(matrix)
    near = c.share * star + (1 - c.share) * drawn
    levels = jnp.stack([jnp.minimum(*(ppa_level(lottery, w) for w in both)) for lottery in (drawn, near, star)])
    return worst(jnp.max(levels) - most, jnp.abs(levels[2] - 0.75))


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
)  # fmt: skip
