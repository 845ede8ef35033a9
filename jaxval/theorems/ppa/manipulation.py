"""Kim et al., Theorem 4.11 and Appendices M and N: what groups can gain by misreports; (8) and (38) to (41)."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxval.theorems.ppa._profiles import (
    Case,
    Profile,
    bounds,
    by_hand,
    induced,
    known,
    over,
    places,
    profiles,
    relaxed,
    to_top,
)
from jaxval.theorems.ppa.domination import CLOSE
from jaxval.theorems.records import AtMost


@jax.jit
def misreports(c: Case) -> Array:
    """P of σ'_k for each k: as group k reports it, and with y_k lifted to the top of each report; (1) is linear."""
    reported, names = induced(c.reports), jnp.arange(len(c.w))

    def of_group(k: Array) -> Array:
        others = c.profile._replace(weights=jnp.where(c.profile.orders[:, 0] == k, 0.0, c.profile.weights))
        top = (names == k)[:, None] & (names != k)[None]  # all have y_k above the others
        lifted = jnp.where(top, 1.0, jnp.where(top.T, 0.0, reported))
        return induced(others)[None] + c.w[k] * jnp.stack([reported, lifted])

    return jax.vmap(of_group)(names)


def after_misreports(c: Case, value: Callable[[Array], Array]) -> tuple[Array, Array]:
    """The k-th entry of a value of P at σ'_k for each group k: as reported, and with y_k on top."""
    as_reported, on_top = jnp.diagonal(jax.vmap(jax.vmap(value))(misreports(c)), axis1=0, axis2=2)
    return as_reported, on_top


def proportional(P: Array) -> Array:
    """F* of Definition 4.5."""
    return relaxed(bounds(P))


# Theorem 4.11, Appendices M and N


@profiles.claim(
    "ppa/theorem-4.11",
    "Theorem 4.11, equation (8), Appendix M (38) to (40)",
    covers=("ppa/equation-8", "ppa/equation-38", "ppa/equation-39", "ppa/equation-40"),
    false="After any misreport of group k, π'(y_k) ≤ 0.95 u_k/(u_k+1-w_k).",
    neighbour={"factor": 0.95, "only": "M = 4"},
)
def theorem_4_11(c: Case, factor: float = 1.0) -> Any:
    """After any misreport of group k, π'(y_k) ≤ u_k/(u_k+1-w_k) ≤ (w_k+1)/2, so that Φ* satisfies (1/2, 1/2)-PBM."""
    found = jax.vmap(jax.vmap(bounds))(misreports(c))  # (groups, 2, alternatives)
    total = jnp.sum(found, axis=2).T
    own = jnp.diagonal(found, axis1=0, axis2=2)
    bound = c.u / (c.u + 1 - c.w)
    return {
        "(39)": AtMost((1 - c.w)[None], total - own),
        "(40), first": AtMost(own / total, factor * bound[None]),
        "(40), second": AtMost(bound, (c.w + 1) / 2),
        "(40), its condition": (c.w - c.u + 1) * (c.w - 1),
    }


@profiles.claim(
    "ppa/worst-case-bound",
    "section 4.2, below Theorem 4.11",
    scope="one profile for each M = 2 to 6",
    proof="u_0 = (M-2)/(M-1) for the second choice and u_i = 1/(M-1) for the others",
    false="If M-1 groups of equal shares have one second choice, Φ* gives it at most 0.44, for every M.",
    neighbour={"most": 0.44, "only": "M = 6"},
)
def worst_case_bound(c: Case, most: float = 0.5) -> Any:
    """(1/2, 1/2) is a worst case: if M-1 groups of equal shares have one second choice, Φ* gives it (M-2)/(2M-3).

    That tends to γ2 = 1/2 as M grows, though nobody has it first.
    """
    size = c.profile.orders.shape[1]
    orders = [[first, 0, *(other for other in range(1, size) if other != first)] for first in range(1, size)]
    _, w, u = known(Profile(jnp.array(orders), jnp.full(size - 1, 1 / (size - 1))))
    policy = relaxed(u)[0]
    return {"Φ*": (policy, (size - 2) / (2 * size - 3)), "w": (w[0], 0.0), "γ2": AtMost(policy, most)}


@profiles.claim(
    "ppa/majority-by-manipulation",
    "section 4.2, below Theorem 4.11",
    fails="reading",
    quote="For instance, if u_k ≤ 1/2 and w_k^σ ≤ 1/2, then π'(y_k) ≤ 1/2. This indicates that a non-majority group "
    "cannot elevate their preferred alternative to majority status through manipulation.",
    why="The condition u_k ≤ 1/2 of the sentence before is needed, and w_k ≤ 1/2 is not enough: with abc 1/2, and bac, "
    "cab and cba 1/6 each, u_a = 2/3 and w_a = Φ*(σ)(a) = 1/2; if the first half reports acb, u is (2/3, 1/6, 1/3), "
    "and Φ* gives a 4/7.",
    corrected="If u_k ≤ 1/2 and w_k ≤ 1/2, then π'(y_k) ≤ 1/2 after any misreport of group k.",
    correction={"by_bound": True},
    counterexample=lambda: by_hand(
        (["012", "102", "201", "210"], [1 / 2, 1 / 6, 1 / 6, 1 / 6]), reports=(["021"], [1.0])
    ),
)
def majority_by_manipulation(c: Case, by_bound: bool = False) -> Any:
    """A group with w_k ≤ 1/2 and Φ*(σ)(y_k) ≤ 1/2 has π'(y_k) ≤ 1/2 after any misreport."""
    such = c.u <= 0.5 + CLOSE if by_bound else jnp.maximum(c.w, relaxed(c.u)) <= 0.5 + CLOSE
    reached = jnp.maximum(*after_misreports(c, proportional))
    return AtMost(jnp.where(such, reached, 0.0), 0.5)


@profiles.claim(
    "ppa/section-M-best-report",
    "Appendix M, above equation (39)",
    false="To report the truth never gives group k less than another report.",
    neighbour={"truth": True, "only": "M = 4"},
)
def best_report(c: Case, truth: bool = False) -> Any:
    """To lift y_k to the top of its reports never costs group k anything, and then u'_k = u_k."""
    as_reported, on_top = after_misreports(c, proportional)
    if truth:
        return jnp.where(c.w > 0, on_top - relaxed(c.u), -1.0)
    return {"π'": AtMost(as_reported, on_top), "u'": (after_misreports(c, bounds)[1], c.u)}


@over(3).claim(
    "ppa/strategyproofness",
    "Appendix N",
    scope="abc of share s and cba of share 1-s, M = 3; s in [0, 1] random, the ends among them",
    proof="F*(a) = s/(1+m) by the truth, and s after acb, since then u_b = 0",
    false="Of abc (share s) and cba (1-s), group a gains 1.05 s m/(1+m), m = min(s, 1-s), if it reports acb.",
    neighbour={"factor": 1.05},
)
def strategyproofness(c: Case, factor: float = 1.0) -> Any:
    """Φ* is not strategyproof: of abc (share s) and cba (1-s), group a gains s m/(1+m), m = min(s, 1-s), by acb."""
    weights = jnp.stack([c.share, 1 - c.share])
    truth, lie = (Profile(jnp.array(orders), weights) for orders in ([[0, 1, 2], [2, 1, 0]], [[0, 2, 1], [2, 1, 0]]))
    smaller = jnp.min(weights)
    return proportional(induced(lie))[0] - proportional(induced(truth))[0], factor * c.share * smaller / (1 + smaller)


@profiles.claim(
    "ppa/section-N",
    "Appendix N",
    false="Whatever the other groups report, the truth never gives group k less than another report.",
    neighbour={"truth": True, "only": "M = 4"},
)
def section_n(c: Case, truth: bool = False) -> Any:
    """Whatever all groups report, to lift y_k to the top of group k's reports never costs it anything."""
    reported = proportional(induced(c.profile._replace(orders=c.reports.orders)))

    def gain(k: Array) -> Array:
        better = c.profile.orders if truth else to_top(c.reports.orders, k)
        orders = jnp.where((c.profile.orders[:, 0] == k)[:, None], better, c.reports.orders)
        return reported[k] - proportional(induced(c.profile._replace(orders=orders)))[k]

    return jax.vmap(gain)(jnp.arange(len(reported)))


@over(2, 3, 4).claim(
    "ppa/only-top-reports",
    "Appendix N",
    scope="M = 2, 3 and 4; profiles of up to 6 rankings; all rankings as the common report of a group",
    fails="convention",
    quote="The optimal strategy for G_k is to truthfully report y_k as their top choice. Hence, all groups truthfully "
    "report their top choice regardless of other groups' strategies, meaning P'_k(y_k ≻ y) = 1 for all y ≠ y_k.",
    why="Dominance is weak, and there are ties: with abc, acb, bac and cab, one quarter each, the group of b has 1/5 "
    "by its truth, which is the most that it can have (u'_b ≤ 1/4 and u'_a + u'_c ≥ 1), and 1/5 by cba, too. (41) "
    "holds if all groups do report their top choice.",
    corrected="Among the best common rankings of a group is one with y_k on top.",
    correction={"some": True},
    false="Among the best common rankings of a group is the true ranking of one of its members.",
    neighbour={"some": True, "truth": True, "only": "M = 4"},
    counterexample=lambda: by_hand((["012", "021", "102", "201"], [0.25] * 4)),
    most=2_500,
)
def only_top_reports(c: Case, some: bool = False, truth: bool = False) -> Any:
    """All groups report their top choice: every best common ranking of a group has y_k on top."""
    orders, weights = c.profile
    rankings = jnp.asarray(list(itertools.permutations(range(orders.shape[1]))))
    reported = jax.vmap(lambda ranking: induced(Profile(ranking[None], jnp.ones(1))))(rankings)

    def gap(k: Array) -> Array:
        inside = orders[:, 0] == k
        others = induced(c.profile._replace(weights=jnp.where(inside, 0.0, weights)))
        w_k = jnp.sum(jnp.where(inside, weights, 0.0))
        values = jax.vmap(lambda report: proportional(others + w_k * report)[k])(reported)
        such = rankings[:, 0] == k
        if truth:
            such = jnp.any(jnp.all(rankings[:, None] == orders[None], axis=2) & inside[None], axis=1)
        best = jnp.max(jnp.where(such, values, -1.0))
        best_other = jnp.max(jnp.where(such, -1.0, values))
        broken = best_other - best if some else (best <= best_other + 1e-12).astype(float)
        return jnp.where(w_k > 0, broken, 0.0)

    return jax.vmap(gap)(jnp.arange(orders.shape[1]))


@profiles.claim(
    "ppa/equation-41",
    "Appendix N, equation (41)",
    false="Whatever all groups report, π'(y_k) ≤ u'_k/(u'_k+1-w_k) ≤ (w_k+1)/2, u' of the reports.",
    neighbour={"top": False, "only": "M = 4"},
)
def equation_41(c: Case, top: bool = True) -> Any:
    """If all groups report their top choices, π'(y_k) ≤ u'_k/(u'_k+1-w_k) ≤ (w_k+1)/2, u' of the reports."""
    first = c.profile.orders[:, :1] == jnp.arange(c.profile.orders.shape[1])[None, :]
    orders = jnp.argsort(jnp.where(first & top, 0, places(c.reports.orders)), axis=1)
    w, u = c.w, bounds(induced(c.profile._replace(orders=orders)))
    bound = u / jnp.where(u + 1 - w > 0, u + 1 - w, 1)
    return {"first": AtMost(relaxed(u), bound), "second": AtMost(bound, (w + 1) / 2)}


@profiles.claim(
    "ppa/section-N-not-tight",
    "Appendix N, below equation (41)",
    false="With M alternatives and any misreport, π'(y_k) stays 5(1-w_k)/(16(M-1)) or more below (w_k+1)/2.",
    neighbour={"factor": 1.25, "only": "M = 4"},
)
def section_n_not_tight(c: Case, factor: float = 1.0) -> Any:
    """(w_k+1)/2 is not tight: with M alternatives, π'(y_k) ≤ u_k/(u_k+1-w_k) is (1-w_k)/(4(M-1)) or more below it."""
    reached = jnp.maximum(c.u / (c.u + 1 - c.w), jnp.maximum(*after_misreports(c, proportional)))
    return AtMost(reached, (c.w + 1) / 2 - factor * (1 - c.w) / (4 * (len(c.w) - 1)))
