"""Section 4.1, Appendices G and H: which shares of first choices P allows, by linear programs and by construction."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxval.axioms import ppa_level
from jaxval.social_choice import feasible_membership, feasible_shares, proportional, share_bounds
from jaxval.theorems.ppa._profiles import APART, Case, Profile, induced, mixture, over, places, shares, to_top
from jaxval.theorems.ppa._programs import by_definition, by_groups, largest_shares, programs, remembered
from jaxval.theorems.ppa.constructions import EQUATION_28, SHARES_27
from jaxval.theorems.records import AtMost


@over(4, of=programs).claim(
    "ppa/definition-4.1",
    "Definition 4.1",
    false="The shares w^σ are still feasible given P^σ after 5 % of each has moved to y1.",
    neighbour={"moved": 0.05},
    most=4,
)
def definition_4_1(c: Case, moved: float = 0.0) -> Any:
    """The shares w^σ are feasible given P^σ, and each share ranges over what it is in the profiles with this P."""
    P, w = c.P, c.w
    found, units = remembered(feasible_shares)(P), np.eye(len(w))
    least = np.array([-by_definition(P, -unit) for unit in units])
    return {
        "w^σ": AtMost(feasible_membership(P, (1 - moved) * w + moved * units[0])[0], 0.0),
        "ends": (np.stack([found.largest, found.smallest]), np.stack([largest_shares(P), least])),
    }


@over(3, 5, of=programs).claim(
    "ppa/proposition-4.2",
    "Proposition 4.2 and equation (3)",
    false="The feasible w are those of (3) without P_i(y_i ≻ y) = 1.",
    neighbour={"unanimous": False},
    covers=("ppa/equation-3",),
)
def proposition_4_2(c: Case, unanimous: bool = True) -> Any:
    """The feasible w are those of (3): both sets reach equally far in every direction (here two)."""
    P, directions = c.P, (c.rewards, c.rewards[::-1].copy())
    return (
        np.array([by_definition(P, d) for d in directions]),
        np.array([by_groups(P, d, unanimous=unanimous) for d in directions]),
    )


@over(4).claim(
    "ppa/appendix-G",
    "Appendix G",
    false="1 - w_k ≤ max_y P(y ≻ y_k) in every profile.",
    neighbour={"over": jnp.max},
)
def appendix_g(c: Case, over: Callable[..., Any] = jnp.sum) -> Any:
    """Groups of profiles that put y_k first, mixed by any w, have P = Σ_k w_k P_k and first choices w.

    And P_k(y_k ≻ ·) = 1 has everybody in G_k put y_k first, as 1 - w_k ≤ Σ_y P(y ≻ y_k) in every profile.
    """
    w, size = c.lotteries[0], len(c.rewards)
    groups = [Profile(to_top(c.profile.orders, k), jnp.roll(c.profile.weights, k)) for k in range(size)]
    P_k = jnp.stack([induced(group) for group in groups])
    together = mixture(list(zip(w, groups, strict=True)))
    return {
        "P_k(y_k ≻ y)": (jnp.diagonal(P_k).T + jnp.eye(size), 1.0),
        "P": (induced(together), jnp.sum(w[:, None, None] * P_k, axis=0)),
        "w": (shares(together), w),
        "1 - w_k": AtMost(1 - c.w, over(c.P * APART[size], axis=0)),
    }


@over(2, 5).claim(
    "ppa/definition-4.3",
    "Definition 4.3 and below Theorem 4.4",
    false="u_i is the mean of P(y_i ≻ y) over y ≠ y_i.",
    neighbour={"of": jnp.mean, "only": "M = 5"},
)
def definition_4_3(c: Case, of: Callable[..., Any] = jnp.min) -> Any:
    """u_i := min_{y≠y_i} P(y_i ≻ y) = 1 - max_{y≠y_i} P(y ≻ y_i), the share left without those who prefer y' to y_i."""
    r, size = places(c.profile.orders), len(c.P)
    P = c.P * APART[size]
    others = np.array([[j for j in range(size) if j != i] for i in range(size)])
    u = of(P[np.arange(size)[:, None], others], axis=1)
    preferred = jnp.argmax(P - np.eye(size), axis=0)  # y', to each y_i
    kept = jnp.where(r[:, preferred] < r, 0, c.profile.weights[:, None])
    return {
        "1 - max": (u, 1 - jnp.max(P, axis=0)),
        "left": (u, jnp.sum(kept, axis=0)),
        "library": (u, share_bounds(c.P)),
    }


@over(2, 4, 6).claim(
    "ppa/theorem-4.4",
    "Theorem 4.4, equations (4), (29), (30)",
    false="W(P) ⊆ {w ∈ Δ : w_i ≤ 0.95 u_i}.",
    neighbour={"scale": 0.95, "only": "M = 2"},
    covers=("ppa/equation-4", "ppa/equation-29", "ppa/equation-30"),
    proof="P_i(y_i ≻ y) = 1 and the other terms of (29) are not negative",
)
def theorem_4_4(c: Case, scale: float = 1.0) -> Any:
    """P(y_i ≻ y) = w_i P_i(y_i ≻ y) + Σ_{k≠i} w_k P_k(y_i ≻ y) ≥ w_i, hence W(P) ⊆ {w ∈ Δ : w_i ≤ u_i}."""
    P, w, size = c.P, c.w, len(c.w)
    first = c.profile.orders[:, :1] == np.arange(size)[None]
    parts = jax.vmap(lambda own: induced(c.profile._replace(weights=own * c.profile.weights)))(first.T)  # w_k P_k
    others = jnp.sum(jnp.where(APART[size][:, :, None], parts, 0), axis=0)
    return {
        "(29)": (jnp.where(APART[size], P - w[:, None] - others, 0), 0.0),
        "(30)": AtMost(jnp.where(APART[size], w[:, None] - P, 0), 0.0),
        "(4)": AtMost(w, scale * c.u),
        "library": AtMost(w, share_bounds(P)),
    }


@over(3).claim(
    "ppa/not-identifiable",
    "below Theorem 4.4",
    false="No policy has a level above 0.95 · 3/4 for both w behind (28).",
    neighbour={"most": 0.95 * 0.75},
    proof="π_1 ≥ 2α/3, π_2 ≥ α/3 and π_3 ≥ α/3 add up to 1 ≥ 4α/3",
)
def not_identifiable(c: Case, most: float = 0.75) -> Any:
    """Perfect PPA is generally unattainable: behind (28) are w = (1/3, 1/3, 1/3) and (2/3, 0, 1/3).

    No policy has a level above 3/4 for both, and F* has 3/4.
    """
    star = proportional(jnp.asarray(EQUATION_28))
    policies = jnp.stack([c.lotteries[0], c.share * star + (1 - c.share) * c.lotteries[0], star])
    levels = jax.vmap(lambda lottery: jnp.minimum(*(ppa_level(lottery, w) for w in SHARES_27)))(policies)
    return {"any": AtMost(levels, most), "F*": (levels[2], 0.75)}


@over(3, 5, of=programs).claim(
    "ppa/identifiable",
    "first version, below Theorem 4.4",
    false="Perfect proportionality for all w ∈ W(P) is always possible.",
    neighbour={"always": True},
    proof="the best level is 1/Σ_k max w_k, of π_k ∝ max w_k",
)
def identifiable(c: Case, always: bool = False) -> Any:
    """Perfect proportionality for all w ∈ W(P) is impossible unless W(P) has a single element.

    The best level is 1/Σ_k max w_k, and Σ_k max w_k - 1 is between the widest range of a share and the sum of all.
    """
    most = largest_shares(c.P)
    ranges = most + np.array([by_definition(c.P, -unit) for unit in np.eye(len(most))])
    return {
        "several": AtMost(ranges.max(), most.sum() - 1),
        "one": AtMost(most.sum() - 1, 0.0 if always else ranges.sum()),
    }
