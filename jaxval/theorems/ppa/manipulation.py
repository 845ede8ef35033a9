"""Kim et al., Theorem 4.11 and Appendices M and N: what groups can gain by misreports; (8) and (38) to (41)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval import axioms, social_choice
from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ppa._elections import (
    ALTERNATIVES,
    APART,
    CLOSE,
    RANKINGS,
    Election,
    all_small_elections,
    bounds,
    election,
    generate,
    highest,
    manipulated,
    matrix,
    place,
    relaxed,
    shares,
    to_top,
)

__all__ = ["CLAIMS"]

GROUPS = np.arange(ALTERNATIVES)


# Theorem 4.11, Appendices M and N


def manipulations(e: Election) -> tuple[Array, Array, Array]:
    """P of σ'_k as reported, as reported with y_k on top, for each k; and the true u."""
    k = jnp.asarray(GROUPS)
    as_reported = jax.vmap(lambda k: manipulated(e, k, e.reports))(k)
    on_top = jax.vmap(lambda k: manipulated(e, k, to_top(e.reports, k)))(k)
    return as_reported, on_top, bounds(matrix(e.orders, e.weights))


def pushed(e: Election, factor: float) -> Array:
    """Theorem 4.11 and its steps: the largest violation over all groups, reported so or with y_k on top."""
    as_reported, on_top, u = manipulations(e)
    w = shares(e.orders, e.weights)
    bound = u / (u + 1 - w)
    affine = (w + 1) / 2
    gaps = [jnp.max(factor * bound - affine), jnp.max((w - u + 1) * (w - 1))]
    for P in (as_reported, on_top):
        found = jax.vmap(bounds)(P)
        own = jnp.diagonal(found)
        policy = own / jnp.sum(found, axis=1)  # (38)
        direct = jnp.diagonal(jax.vmap(social_choice.proportional)(P))
        rest = jnp.sum(found, axis=1) - own
        gaps += [jnp.max(policy - factor * bound), largest(policy - direct), jnp.max(1 - w - rest)]  # (39)
    return highest(jnp.stack(gaps))


def best_report(e: Election, *, truth: bool = False) -> Array:
    """What a group gains by not putting y_k on top (or, by not telling the truth); and |u'_k - u_k| where it does."""
    as_reported, on_top, u = manipulations(e)
    w = shares(e.orders, e.weights)
    policies = jax.vmap(lambda P: jnp.diagonal(jax.vmap(lambda P: relaxed(bounds(P)))(P)))
    found, lifted = policies(jnp.stack([as_reported, on_top]))
    if truth:
        return highest(jnp.where(w > 0, lifted - relaxed(u), -1))
    same = jnp.diagonal(jax.vmap(bounds)(on_top)) - u
    return jnp.maximum(jnp.max(jnp.where(w > 0, found - lifted, -1)), largest(same))


def all_report(e: Election, *, truth: bool = False) -> Array:
    """Appendix N: whatever all others report, to lift y_k (or to report the truth) never costs group k."""
    reported = relaxed(bounds(matrix(e.reports, e.weights)))

    def own(k: Array) -> Array:
        better = e.orders if truth else to_top(e.reports, k)
        orders = jnp.where((e.orders[:, 0] == k)[:, None], better, e.reports)
        return reported[k] - relaxed(bounds(matrix(orders, e.weights)))[k]

    return highest(jax.vmap(own)(jnp.asarray(GROUPS)))


def top_ranked(e: Election, *, always: bool = True) -> Array:
    """(41) where each ballot of each group has its own alternative on top, the rest as reported; u' of the reports."""
    orders = e.reports
    if always:
        own = e.orders[:, :1] == jnp.arange(ALTERNATIVES)[None, :]
        orders = jnp.argsort(jnp.where(own, -1, place(e.reports)), axis=1)
    w = shares(e.orders, e.weights)
    u = bounds(matrix(orders, e.weights))
    bound = u / jnp.where(u + 1 - w > 0, u + 1 - w, 1)
    return highest(jnp.stack([jnp.max(relaxed(u) - bound), jnp.max(bound - (w + 1) / 2)]))


def distance_to_bound(e: Election, factor: float) -> Array:
    """A part of (1 - w_k)/(4(M - 1)) less how far below (w_k + 1)/2 group k stays, reported so or with y_k on top."""
    as_reported, on_top, u = manipulations(e)
    w = shares(e.orders, e.weights)
    policies = [jnp.diagonal(jax.vmap(lambda P: relaxed(bounds(P)))(P)) for P in (as_reported, on_top)]
    reached = jnp.maximum(jnp.maximum(*policies), u / (u + 1 - w))
    return highest(factor * (1 - w) / (4 * (ALTERNATIVES - 1)) - ((w + 1) / 2 - reached))


def common_reports(e: Election, *, only: str) -> Array:
    """Whether some group's best common ranking is another than the statement says: 1 where a tie breaks 'only'."""
    P = matrix(e.orders, e.weights)
    tables = jnp.asarray(RANKINGS)
    r = jnp.argsort(tables, axis=1)
    above = (r[:, :, None] < r[:, None, :]) + jnp.eye(ALTERNATIVES)[None] / 2

    def gap(k: Array) -> Array:
        inside = jnp.where(e.orders[:, 0] == k, e.weights, 0)
        w_k = jnp.sum(inside)
        rest = P - matrix(e.orders, inside) + (1 - w_k) * jnp.eye(ALTERNATIVES) / 2
        rest = jnp.where(jnp.asarray(APART), rest, (1 - w_k) / 2)
        values = jax.vmap(lambda table: relaxed(bounds(rest + w_k * table))[k])(above)
        top = tables[:, 0] == k
        best = jnp.max(values)
        if only == "top":
            found = jnp.max(jnp.where(top, -1, values)) >= best - 1e-12
            return jnp.where(w_k > 0, found.astype(float), 0)
        if only == "true":
            first = jnp.argmax(e.orders[:, 0] == k)
            truth = jnp.all(tables == e.orders[first][None], axis=1)
            return jnp.where(w_k > 0, best - jnp.max(jnp.where(truth, values, -1)), 0)
        return jnp.where(w_k > 0, best - jnp.max(jnp.where(top, values, -1)), 0)

    return highest(jax.vmap(gap)(jnp.asarray(GROUPS)))


def majority_by_manipulation(e: Election, *, where: str) -> Array:
    """How far π'(y_k) rises above 1/2 over the groups with w_k ≤ 1/2 (and Φ*(σ)(y_k) ≤ 1/2, or u_k ≤ 1/2)."""
    as_reported, on_top, u = manipulations(e)
    w = shares(e.orders, e.weights)
    small = w <= 0.5 + CLOSE
    inside = {
        "minority before": small & (relaxed(u) <= 0.5 + CLOSE),
        "bound": small & (u <= 0.5 + CLOSE),
        "bound alone": u <= 0.5 + CLOSE,
        "share": small,
        "any": w <= 1,
    }[where]
    policies = [jnp.diagonal(jax.vmap(lambda P: relaxed(bounds(P)))(P)) for P in (as_reported, on_top)]
    return highest(jnp.where(inside, jnp.maximum(*policies) - 0.5, -1))


def enumerated(e: Election, *, gamma: float | None = None) -> float:
    """The library's gaps of PBM, over all reports of three ballots of three alternatives, and of Appendix N."""
    orders = np.argsort(np.argsort(e.orders[:3], axis=1)[:, :3], axis=1)
    weights = (1 + np.floor(4 * e.lottery[:3])) / np.sum(1 + np.floor(4 * e.lottery[:3]))
    profile = social_choice.proportional, orders, weights
    if gamma is not None:
        return float(axioms.population_bounded_manipulability(*profile, gamma=gamma)[0])
    bounded, _ = axioms.population_bounded_manipulability(*profile, bound="share_bounds")
    return max(float(bounded), float(axioms.population_bounded_strategyproofness(*profile)[0]))


class Second(NamedTuple):
    """Everybody's second choice.

    Attributes:
        groups: m, from 2 to 12: so many groups of equal shares have different first choices and the same second.
        share: s in (0, 1).
    """

    groups: Int[Array, ""]
    share: Float[Array, ""]


LARGEST = 12


def generate_second(key: Key[Array, ""]) -> Second:
    """M from 2 to 12."""
    keys = jax.random.split(key)
    return Second(jax.random.randint(keys[0], (), 2, LARGEST + 1), jax.random.randint(keys[1], (), 1, 64) / 64)


def second_everywhere(c: Second, gamma: float) -> Array:
    """F* where m voters put y_1, ..., y_m first and y_0 second: |Φ*(y_0) - (m-1)/(2m-1)|, Φ*(y_0) - γ2."""
    voters, names = np.arange(LARGEST), np.arange(LARGEST + 1)
    orders = np.stack([np.concatenate([[i + 1, 0], np.delete(names, [0, int(i) + 1])]) for i in voters])
    r = jnp.asarray(np.argsort(orders, axis=1))
    r = jnp.where(jnp.asarray(names)[None, :] > c.groups, 100 + r, r)
    weights = (jnp.asarray(voters) < c.groups) / c.groups
    P = jnp.sum((r[:, :, None] < r[:, None, :]) * weights[:, None, None], axis=0)
    u = jnp.min(jnp.where(jnp.eye(LARGEST + 1, dtype=bool), 1, P), axis=1)
    policy = (u / jnp.sum(u))[0]
    return jnp.maximum(jnp.abs(policy - (c.groups - 1) / (2 * c.groups - 1)), policy - gamma)


def buried(c: Second, factor: float) -> Array:
    """The gain s m/(1 + m) times a factor, m = min(s, 1-s), less what group a of abc (s), cba (1-s) gains by acb."""
    names = np.array([[0, 1, 2], [2, 1, 0]])
    lied = np.array([[0, 2, 1], [2, 1, 0]])
    weights = jnp.stack([c.share, 1 - c.share])
    truth, after = (social_choice.proportional(matrix(jnp.asarray(orders), weights))[0] for orders in (names, lied))
    smaller = jnp.minimum(c.share, 1 - c.share)
    return factor * c.share * smaller / (1 + smaller) - (after - truth)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "ppa/theorem-4.11",
        "Theorem 4.11, equation (8), Appendix M (38) to (40)",
        Statement(
            "After any misreport of group k, π'(y_k) ≤ u_k/(u_k+1-w_k) ≤ (w_k+1)/2; so Φ* satisfies (1/2, 1/2)-PBM.",
            lambda e: pushed(e, 1.0),
            "π'(y_k) ≤ 0.95 u_k/(u_k+1-w_k).",
            lambda e: pushed(e, 0.95),
        ),
        generate,
        covers=(
            "ppa/equation-8",
            "ppa/equation-38",
            "ppa/equation-39",
            "ppa/equation-40",
            "ppa-v1/theorem-4.11",
            "ppa-v1/equation-8",
            "ppa-v1/equation-41",
            "ppa-v1/equation-42",
            "ppa-v1/equation-43",
        ),
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/theorem-4.11-enumerated",
        "Theorem 4.11 and Appendix N, by the library's axioms",
        Statement(
            "Over all reports of three voters' ballots the axioms' gaps for (8) and for Appendix N are at most 0.",
            enumerated,
            "So they are for PBM with γ = (0.9, 0.1).",
            lambda e: enumerated(e, gamma=0.9),
        ),
        generate,
        most=40,
        compiled=False,
    ),
    Claim(
        "ppa/worst-case-bound",
        "section 4.2, below Theorem 4.11",
        Statement(
            "(1/2, 1/2) is a worst case: where m groups have one second choice, Φ* gives it (m-1)/(2m-1) → 1/2, w = 0.",
            lambda c: second_everywhere(c, 0.5),
            "γ2 = 0.475 would do.",
            lambda c: second_everywhere(c, 0.475),
        ),
        generate_second,
    ),
    Claim(
        "ppa/half",
        "section 4.2, below Theorem 4.11",
        Statement(
            "If u_k ≤ 1/2 and w_k ≤ 1/2, then π'(y_k) ≤ 1/2.",
            lambda e: majority_by_manipulation(e, where="bound"),
            "If w_k ≤ 1/2.",
            lambda e: majority_by_manipulation(e, where="share"),
        ),
        generate,
    ),
    Claim(
        "ppa/majority-by-manipulation",
        "section 4.2, below Theorem 4.11",
        Statement(
            "A non-majority group, w_k ≤ 1/2, cannot elevate y_k from at most 1/2 to majority status by a misreport.",
            lambda e: majority_by_manipulation(e, where="minority before"),
            "No group can.",
            lambda e: majority_by_manipulation(e, where="any"),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "Three voters abc, and bac, cab, cba: u_a = 2/3, w_a = Φ*(σ)(a) = 1/2; the three report acb, u falls to "
            "(2/3, 1/6, 1/3), and Φ* gives a 4/7. It is u_k ≤ 1/2 that protects, not w_k ≤ 1/2."
        ),
        corrected=Statement(
            "A group with u_k ≤ 1/2 (so w_k ≤ 1/2) cannot.",
            lambda e: majority_by_manipulation(e, where="bound alone"),
            "A group with w_k ≤ 1/2 cannot, where Φ*(σ)(y_k) ≤ 1/2.",
            lambda e: majority_by_manipulation(e, where="minority before"),
        ),
        counterexample=lambda: election(["abc", "bac", "cab", "cba"], [1 / 2, 1 / 6, 1 / 6, 1 / 6], reports=["acb"]),
    ),
    Claim(
        "ppa/section-M-best-report",
        "Appendix M, above equation (39)",
        Statement(
            "To report y_k as the top choice never costs group k, and then u'_k = u_k.",
            best_report,
            "To report the truth never costs group k.",
            lambda e: best_report(e, truth=True),
        ),
        generate,
    ),
    Claim(
        "ppa/strategyproofness",
        "Appendix N",
        Statement(
            "Φ* is not strategyproof: of abc (s) and cba (1-s), group a gains s m/(1+m), m = min(s, 1-s), by acb.",
            lambda c: jnp.abs(buried(c, 1.0)),
            "It gains 5 % more.",
            lambda c: buried(c, 1.05),
        ),
        generate_second,
    ),
    Claim(
        "ppa/section-N",
        "Appendix N",
        Statement(
            "Whatever all groups report, to lift y_k to the top of group k's reports never costs it: it dominates.",
            all_report,
            "Whatever the others report, the truth costs it nothing.",
            lambda e: all_report(e, truth=True),
        ),
        generate,
    ),
    Claim(
        "ppa/only-top-reports",
        "Appendix N",
        Statement(
            "Hence all groups report their top choice: a group's best common ranking always has y_k on top.",
            lambda e: common_reports(e, only="top"),
            "It is always the truth.",
            lambda e: common_reports(e, only="true"),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "Dominance is weak: with abc, acb, bac and cab the group of b has 1/5 by its truth, which is the most it "
            "can have (u'_b ≤ 1/4 and u'_a + u'_c ≥ 1), and 1/5 by cba, too. (41) holds where all do report their top "
            "choice."
        ),
        corrected=Statement(
            "Among a group's best common rankings is one with y_k on top.",
            lambda e: common_reports(e, only="also"),
            "Among them is the truth.",
            lambda e: common_reports(e, only="true"),
        ),
        counterexample=lambda: election(["abc", "acb", "bac", "cab"], [0.25] * 4),
        most=2_500,
    ),
    Claim(
        "ppa/equation-41",
        "Appendix N, equation (41)",
        Statement(
            "Where all groups report their top choices, π'(y_k) ≤ u'_k/(u'_k+1-w_k) ≤ (w_k+1)/2, u' of the reports.",
            top_ranked,
            "Whatever they report.",
            lambda e: top_ranked(e, always=False),
        ),
        generate,
        covers=("ppa-v1/equation-44",),
    ),
    Claim(
        "ppa/section-N-not-tight",
        "Appendix N, below equation (41)",
        Statement(
            "(w_k+1)/2 is not tight: with M alternatives group k stays (1-w_k)/(4(M-1)) or more below it.",
            lambda e: distance_to_bound(e, 1.0),
            "It stays 5/4 of that below it.",
            lambda e: distance_to_bound(e, 1.25),
        ),
        generate,
        exhaustive=all_small_elections,
    ),
)
