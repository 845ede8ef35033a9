"""Kim et al., section 4.2 and Appendices K and L: what F* guarantees (Definition 4.5 to Lemma 4.7, (5) and (6))."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval.social_choice import certificate, proportional, share_bounds
from jaxval.theorems.ppa._profiles import Case, Instance, bounds, by_hand, lifts, over, profiles, relaxed
from jaxval.theorems.ppa._programs import largest_shares, programs
from jaxval.theorems.records import AtMost

CLOSE = 1e-9


@profiles.claim(
    "ppa/definition-4.5",
    "Definition 4.5, equation (5)",
    false="u itself is a policy for every P of a profile.",
    neighbour={"normalised": False, "only": "M = 4"},
    covers=("ppa/equation-5",),
    proof="Σu ≥ Σw = 1 by Theorem 4.4",
)
def definition_4_5(c: Case, normalised: bool = True) -> Any:
    """F*(P) = u/Σu is a policy for every P of a profile, for which Σu ≥ 1."""
    policy = proportional(c.P) if normalised else c.u
    return {
        "(5)": (policy * jnp.sum(c.u), c.u),
        "Σu": AtMost(1.0, jnp.sum(c.u)),
        "a policy": (jnp.sum(policy), 1.0),
        "library": (share_bounds(c.P), c.u),
    }


def two_to_one() -> Instance:
    """Three quarters of the voters have 0 above 1."""
    return by_hand((["01", "10"], [0.75, 0.25]), lotteries=((0.0, 1.0), (0.0, 1.0)))


@profiles.claim(
    "ppa/definition-4.5-optimal",
    "section 4.2, below equation (5)",
    fails="slip",
    quote="Formally, it solves max_{π ∈ Δ(𝒴)} min_{w ∈ W̄(P)} ‖π/w‖_∞.",
    why="‖π/w‖_∞ is the largest ratio, at least 1 for all w. F* lies in the box, so that w = π gives it 1, the least "
    "of all policies: if three quarters of the voters have 0 above 1, the box is w = (3/4, 1/4), F* has 1, and π = (0, "
    "1) has 4. F* maximises the smallest ratio; it solves min_π max_w ‖w/π‖_∞.",
    corrected="F* solves max_π min_{w ∈ W̄(P)} min_i π_i/w_i, over the w_i > 0, alone; its value is 1/Σu.",
    correction={"smallest": True},
    counterexample=two_to_one,
    proof="max w_i = u_i over the box, as Σu ≥ 1, so that π has the value v = min_i π_i/u_i; Σ(π_i - v u_i) = 1 - vΣu",
)
def definition_4_5_optimal(c: Case, smallest: bool = False) -> Any:
    """F* solves max_π min_{w ∈ W̄(P)} ‖π/w‖_∞."""
    u = c.u
    star = relaxed(u)
    policies = jnp.concatenate([c.lotteries, jnp.eye(len(u)), (c.lotteries + star[None]) / 2])

    def value(policy: Array) -> Array:
        ratio = policy / jnp.where(u > 0, u, 1)  # at w_i = u_i, which is in the box
        if smallest:
            return jnp.min(jnp.where(u > 0, ratio, jnp.inf))
        # w ≥ π/t and w ≤ u have a common w in the simplex just if t ≥ 1 and π ≤ t u.
        return jnp.maximum(1.0, jnp.max(jnp.where((u == 0) & (policy > 0), jnp.inf, ratio)))

    values = jax.vmap(value)(policies)
    if not smallest:
        return AtMost(values, value(star))
    return {
        "optimal": AtMost(values, value(star)),
        "value": (value(star), 1 / jnp.sum(u)),
        "alone": AtMost(jnp.abs(policies - star[None]), (1 - values * jnp.sum(u))[:, None]),
    }


@programs.claim(
    "ppa/definition-4.5-misalignment",
    "section 4.2, below equation (5)",
    fails="reading",
    quote="By doing so, the algorithm minimizes the worst-case misalignment caused by the inevitable information loss "
    "from pairwise comparisons.",
    why="What P does not tell is which w of W(P), Proposition 4.2, is true; the box W̄(P), over which F* is optimal, "
    "is larger. If half of the voters rank 10324 and half 20413, F* = (1/3, 1/3, 1/3, 0, 0) has the level 2/3 for the "
    "only w in W(P), (0, 1/2, 1/2, 0, 0), and that w as a policy has 1.",
    corrected="π_k ∝ max_{w ∈ W(P)} w_k minimises the worst-case misalignment over W(P), at the level 1/Σ_k max w_k. "
    "For M = 2, 3, 4 that was F* for every P tried, u_k being the share of y_k in some w ∈ W(P); for M = 5 it need not "
    "be.",
    correction={"by_box": 4},
    counterexample=lambda: by_hand((["10324", "20413"], [0.5, 0.5])),
    most=12,
)
def definition_4_5_misalignment(c: Case, by_box: int = 6) -> Any:
    """No policy has a larger min_i π_i/w_i, over all w that are feasible given P, than F*."""
    most = largest_shares(c.P)
    policy = c.u / c.u.sum() if len(c.u) <= by_box else most / most.sum()
    return AtMost(1 / most.sum(), (policy[most > CLOSE] / most[most > CLOSE]).min())


@profiles.claim(
    "ppa/theorem-4.6",
    "Theorem 4.6",
    false="A lift of one alternative never raises the probability of another under Φ*.",
    neighbour={"others": True, "only": "M = 3"},
    covers=("ppa-v1/theorem-4.6",),
    proof="a lift of y cannot lower u_y nor raise u_j; who is below another in all rankings has u = 0",
)
def theorem_4_6(c: Case, others: bool = False) -> Any:
    """Φ* satisfies monotonicity, for lifts of all or of some voters of a ranking, and Pareto efficiency."""
    P, u = c.P, c.u
    policy = relaxed(u)
    after, y = lifts(c, jnp.where(c.share < 0.5, 1.0, c.share))
    change = jax.vmap(lambda P: relaxed(bounds(P)))(after) - policy[None]
    own = np.arange(len(u))[None] == y[:, None]
    return {
        "monotonicity": AtMost(jnp.where(own, -change, change if others else 0), 0.0),
        "Pareto": AtMost(jnp.where(P >= 1 - CLOSE, policy[None] - policy[:, None], 0), 0.0),
    }


@over(2, 4, 6).claim(
    "ppa/section-K",
    "Appendix K",
    false="A lift of y_i that changes P raises u_i, unless u_i is 1.",
    neighbour={"strictly": True, "only": "M = 4"},
)
def section_k(c: Case, strictly: bool = False) -> Any:
    """A lift of y_i cannot lower u_i nor raise u_j; whom all rank below some other has u_j = 0 = Φ*(σ)(y_j)."""
    after, y = lifts(c)
    change = jax.vmap(bounds)(after) - c.u[None]
    own = np.arange(len(c.u))[None] == y[:, None]
    moved = jnp.max(jnp.abs(after - c.P[None]), axis=(1, 2)) > CLOSE
    below = jnp.any(c.P >= 1 - CLOSE, axis=0)
    unmoved = own & moved[:, None] & (c.u < 1)[None] & (change <= CLOSE)
    return {
        "u_i": AtMost(jnp.where(own, -change, 0), 0.0),
        **({"strictly": AtMost(1.0 * unmoved, 0.0)} if strictly else {}),
        "u_j": AtMost(jnp.where(own, 0, change), 0.0),
        "below": (jnp.where(below, c.u + relaxed(c.u), 0), 0.0),
    }


@profiles.claim(
    "ppa/lemma-4.7",
    "Lemma 4.7, equation (6), Appendix L (33)",
    false="π(y_i)/w_i ≥ 1.05/Σu for the groups with members.",
    neighbour={"factor": 1.05, "only": "M = 2"},
    covers=("ppa/equation-6", "ppa/equation-33"),
    proof="w_i ≤ u_i by Theorem 4.4",
)
def lemma_4_7(c: Case, factor: float = 1.0) -> Any:
    """π(y_i)/w_i = u_i/(w_i Σu) ≥ 1/Σu for the groups with members, since w_i ≤ u_i."""
    members = c.w > 0
    ratio, printed = (jnp.where(members, part / jnp.where(members, c.w, 1), 0) for part in (relaxed(c.u), c.u))
    return {
        "(33)": (ratio, printed / jnp.sum(c.u)),
        "(6)": AtMost(factor / jnp.sum(c.u), jnp.where(members, ratio, jnp.inf)),
        "library": (certificate(c.P), 1 / jnp.sum(c.u)),
    }
