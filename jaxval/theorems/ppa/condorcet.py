"""Kim et al., section 4.3, Appendices O, P and R: Condorcet consistency and majority rankings; (47), (48)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval import axioms, preferences, social_choice
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
    known,
    matrix,
    relaxed,
)

__all__ = ["CLAIMS"]

PLACES = np.argsort(RANKINGS, axis=1)


def is_winner(P: Array, majority: float = 0.5) -> Array:
    """Which alternatives are preferred by more than a majority to every other."""
    return jnp.all((majority + CLOSE < P) | jnp.eye(ALTERNATIVES, dtype=bool), axis=1)


def limit(u: Array) -> Array:
    """Φ^∞: the largest u, ties shared."""
    found = u >= jnp.max(u) - CLOSE
    return found / jnp.sum(found)


# Condorcet consistency


def one_winner(e: Election, majority: float) -> Array:
    """More than one winner; the library's winner, and the axiom's gap, against the definition."""
    P, _, _ = known(e)
    winner = is_winner(P, majority)
    named = preferences.condorcet_winner(P)
    agrees = jnp.where(jnp.any(is_winner(P)), ~is_winner(P)[named], named != -1).astype(float)
    lottery = e.lottery
    lacking = jnp.max(jnp.where(is_winner(P), 1 - lottery, -jnp.inf))
    axiom = axioms.condorcet(lambda orders, weights: lottery, e.orders, e.weights)[0]
    same = jnp.where(jnp.isinf(lacking), jnp.where(axiom == lacking, 0.0, 1.0), jnp.abs(lacking - axiom))
    return highest(jnp.stack([jnp.sum(winner) - 1.0, agrees, same]))


def at_odds(e: Election, factor: float) -> Array:
    """The bound α w_j/2 times a factor, j the largest other group, less what a policy lacks of both axioms.

    It lacks max(1 - π(y*), max_j α w_j - π(y_j)). One policy is any, the other the one that comes nearest to both.
    """
    P, w, _ = known(e)
    winner = is_winner(P)
    star = jnp.argmax(winner)
    others = jnp.where(jnp.arange(ALTERNATIVES) == star, 0, w)
    rival = jnp.argmax(others)
    half = e.level * others[rival] / 2
    nearest = jnp.where(jnp.arange(ALTERNATIVES) == star, 1 - half, 0.0)
    nearest = nearest + half * (jnp.arange(ALTERNATIVES) == rival)
    found = []
    for lottery in (e.lottery, nearest):
        lacking = jnp.maximum(1 - lottery[star], jnp.max(e.level * w - lottery))
        found.append(factor * half - lacking)
    return jnp.where(jnp.any(winner), highest(jnp.stack(found)), 0)


def not_consistent(e: Election, factor: float) -> Array:
    """A part of (1 - w*)/(2 - w*) less what Φ* denies to a Condorcet winner."""
    P, w, u = known(e)
    winner = is_winner(P)
    star = jnp.argmax(winner)
    return jnp.where(jnp.any(winner), factor * (1 - w[star]) / (2 - w[star]) - (1 - relaxed(u)[star]), 0)


def simpson(e: Election, *, rule: str) -> Array:
    """Argmax u against the rule: the smallest worst defeat, or the largest Borda score; and the library's minimax."""
    P, _, _ = known(e)
    defeats = jnp.max(jnp.where(jnp.asarray(APART), P, 0), axis=0)
    scores = -defeats if rule == "minimax" else jnp.sum(P, axis=1)
    return largest(social_choice.minimax(P) - limit(scores))


def limit_is_consistent(e: Election, *, majority: float = 0.5, beta: float = jnp.inf) -> Array:
    """1 - Φ^∞(y*) for a Condorcet winner y*, and the axiom's gap."""
    P, _, _ = known(e)
    policy = social_choice.proportional(P, beta=beta)
    lacking = jnp.max(jnp.where(is_winner(P, majority), 1 - policy, -1))
    if not np.isinf(beta) or majority < 0.5:
        return lacking
    return jnp.maximum(lacking, axioms.condorcet(social_choice.minimax, e.orders, e.weights)[0])


# Appendix R


def agrees_with_majorities(P: Array, *, weakly: bool = False) -> Array:
    """(24,) which rankings are PMC: P(y_i ≻ y_j) > 1/2 iff r(y_i) < r(y_j), for all i ≠ j."""
    places = jnp.asarray(PLACES)
    above = places[:, :, None] < places[:, None, :]
    beats = 0.5 - CLOSE <= P if weakly else 0.5 + CLOSE < P
    return jnp.all((above == beats[None]) | jnp.eye(ALTERNATIVES, dtype=bool)[None], axis=(1, 2))


def majority_ranking(e: Election, *, ties: bool = False) -> Array:
    """At most one PMC ranking, and the library's is it; with `ties`: one exists wherever a Condorcet winner does."""
    P, _, _ = known(e)
    fits = agrees_with_majorities(P)
    found = preferences.pmc_ranking(P)
    wanted = jnp.where(jnp.any(fits), jnp.asarray(RANKINGS)[jnp.argmax(fits)], -1)
    gap = jnp.maximum(jnp.sum(fits) - 1.0, largest((found - wanted).astype(float)))
    return jnp.maximum(gap, (jnp.any(is_winner(P)) & ~jnp.any(fits)).astype(float)) if ties else gap


def violation(P: Array, policy: Array, *, strictly: bool = False, top: bool = False) -> Array:
    """Definition R.2: the largest π(y_j) - π(y_i) with r^σ(y_i) < r^σ(y_j); -inf without a PMC ranking.

    With `strictly` equal probabilities violate it by 1, `top` looks at pairs with the first of the ranking alone.
    """
    fits = agrees_with_majorities(P)
    places = jnp.asarray(PLACES)[jnp.argmax(fits)]
    above = places[:, None] < places[None, :]
    if top:
        above = above & (places[:, None] == 0)
    differences = policy[None, :] - policy[:, None]
    if strictly:
        differences = (differences > -CLOSE).astype(float)
    return jnp.where(jnp.any(fits), jnp.max(jnp.where(above, differences, -jnp.inf)), -jnp.inf)


def by_the_axiom(e: Election, *, all_majorities: bool = False) -> Array:
    """Definition R.2 against the library's axiom, on any policy."""
    P, _, _ = known(e)
    lottery = e.lottery
    plain = violation(P, lottery)
    if all_majorities:
        plain = jnp.max(jnp.where(0.5 + CLOSE < P, lottery[None, :] - lottery[:, None], -jnp.inf))
    axiom = axioms.pairwise_majority(lambda orders, weights: lottery, e.orders, e.weights)[0]
    return jnp.where(jnp.isinf(plain) | jnp.isinf(axiom), (axiom != plain).astype(float), jnp.abs(plain - axiom))


HAND = election(["abc", "bca", "cab", "cba"], [0.3, 0.1, 0.3, 0.3])
HAND_MATRIX = np.array([[0.5, 0.6, 0.3], [0.4, 0.5, 0.4], [0.7, 0.6, 0.5]])


def hand_profile(e: Election, *, below: int = 0, above: int = 1) -> Array:
    """(47) has P of (48), u = (0.3, 0.4, 0.6), the ranking y3, y1, y2, and π(y1) < π(y2) at every finite β.

    π(y2)/π(y1) ≥ 4/3 by u alone; so the violation is at least a third of π(y1).
    """
    P = matrix(jnp.asarray(HAND.orders), jnp.asarray(HAND.weights))
    u = bounds(P)
    policy = relaxed(u, e.beta)
    ranking = agrees_with_majorities(P)[int(np.argmax((np.array([2, 0, 1, 3]) == RANKINGS).all(axis=1)))]
    gaps = [largest(P[:3, :3] - HAND_MATRIX), largest(u - jnp.array([0.3, 0.4, 0.6, 0.0])), 1.0 - ranking]
    violated = policy[below] / 3 - (policy[above] - policy[below])
    agrees = jnp.abs(violation(P, policy) - (policy[1] - policy[0]))
    return highest(jnp.stack([*gaps, violated, agrees]))


def limit_and_majorities(e: Election, *, strictly: bool = False, top: bool = False, beta: float = jnp.inf) -> Array:
    """Definition R.2 for Φ^∞."""
    P, _, u = known(e)
    policy = limit(u) if np.isinf(beta) else relaxed(u, beta)
    found = violation(P, policy, strictly=strictly, top=top)
    return jnp.maximum(found, -1.0)


def consistent_without_winner(e: Election, *, converse: bool = False) -> Array:
    """1 - π(y*) where π keeps the PMC ranking's order (or: the violation of that order where π(y*) = 1)."""
    P, _, _ = known(e)
    fits = agrees_with_majorities(P)
    ranking = jnp.asarray(RANKINGS)[jnp.argmax(fits)]
    if converse:
        certain = (jnp.arange(ALTERNATIVES) == ranking[0]).astype(float)
        return jnp.where(jnp.any(fits), violation(P, certain), -1)
    lottery = jnp.zeros(ALTERNATIVES).at[ranking].set(jnp.sort(e.lottery)[::-1])
    kept = violation(P, lottery) <= 0
    return jnp.where(jnp.any(fits) & kept, 1 - lottery[ranking[0]], -1)


def middle_without_winner(e: Election) -> Array:
    """The violation where π is certain, of any alternative."""
    P, _, _ = known(e)
    fits = agrees_with_majorities(P)
    ranking = jnp.asarray(RANKINGS)[jnp.argmax(fits)]
    return jnp.where(jnp.any(fits), violation(P, (jnp.arange(ALTERNATIVES) == ranking[1]).astype(float)), -1)


def slack(e: Election, *, uniform: bool, epsilon: float = 0.01) -> Array:
    """Violation of PMC less ε: on the profile itself with β = 40/margin, or on a profile near a tie with any β."""
    if uniform:
        P = near_tie(e)
        return violation(P, relaxed(bounds(P), e.beta)) - epsilon
    P, _, u = known(e)
    best = jnp.max(u)
    below = jnp.max(jnp.where(u < best - CLOSE, u, -1.0))
    return jnp.maximum(violation(P, relaxed(u, 40 / (best - below))), -1.0) - epsilon


def near_tie(e: Election) -> Array:
    """P of bac (1/2 - η) and acb (1/2 + η) with η = 1/(1000 (1 + β)): the ranking is a, c, b and u_c = 0."""
    eta = 0.001 / (1 + e.beta)
    orders = jnp.array([[1, 0, 2, 3], [0, 2, 1, 3]])
    return matrix(orders, jnp.stack([0.5 - eta, 0.5 + eta]))


CLAIMS = (
    Claim(
        "ppa/definition-4.12",
        "Definition 4.12",
        Statement(
            "There is at most one Condorcet winner; the axiom's gap is what it lacks, 1 - π(y*), on any policy.",
            lambda e: one_winner(e, 0.5),
            "At most one is preferred to every other by half or more.",
            lambda e: one_winner(e, 0.5 - 1e-6),
        ),
        generate,
        covers=("ppa-v1/definition-4.12",),
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/proposition-4.13",
        "Proposition 4.13",
        Statement(
            "No policy has π(y*) = 1 and π ≥ α w where y* wins without all: one of them is missed by α w_j/2 or more.",
            lambda e: at_odds(e, 1.0),
            "By 1.05 α w_j/2 or more.",
            lambda e: at_odds(e, 1.05),
        ),
        generate,
        covers=("ppa-v1/proposition-4.13",),
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/condorcet-inconsistent",
        "section 4.3",
        Statement(
            "Φ* is not Condorcet consistent: a winner with w* < 1 lacks at least (1-w*)/(2-w*), by Theorem 4.11.",
            lambda e: not_consistent(e, 1.0),
            "It lacks at least (1-w*) · 1.05/(2-w*).",
            lambda e: not_consistent(e, 1.05),
        ),
        generate,
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/minimax",
        "section 4.3, below equation (9)",
        Statement(
            "argmax_i u_i is the minimax Condorcet method: the smallest worst defeat max_j P(y_j ≻ y_i).",
            lambda e: simpson(e, rule="minimax"),
            "It is the largest Borda score.",
            lambda e: simpson(e, rule="borda"),
        ),
        generate,
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/proposition-4.14",
        "Proposition 4.14",
        Statement(
            "Φ^∞ satisfies Condorcet consistency.",
            limit_is_consistent,
            "It gives all to an alternative that at least half prefer to every other.",
            lambda e: limit_is_consistent(e, majority=0.5 - 1e-6),
        ),
        generate,
        covers=("ppa-v1/proposition-4.14",),
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/definition-R.1",
        "Definition R.1",
        Statement(
            "P(y_i ≻ y_j) > 1/2 iff r(y_i) < r(y_j) for all i ≠ j: at most one of all rankings, and the library's.",
            majority_ranking,
            "And there is one where there is a Condorcet winner.",
            lambda e: majority_ranking(e, ties=True),
        ),
        generate,
        covers=("ppa-v1/definition-4.15",),
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/definition-R.2",
        "Definition R.2",
        Statement(
            "Φ(σ)(y_i) ≥ Φ(σ)(y_j) wherever the PMC ranking has y_i above y_j: the axiom's gap, on any policy.",
            by_the_axiom,
            "Wherever a majority prefers y_i to y_j, PMC ranking or none.",
            lambda e: by_the_axiom(e, all_majorities=True),
        ),
        generate,
        covers=("ppa-v1/definition-4.16",),
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/pmc-stronger",
        "section 4.3 and Appendix R",
        Statement(
            "PMC imposes a stronger requirement than Condorcet consistency: a policy in the PMC ranking's order has "
            "π(y*) = 1.",
            consistent_without_winner,
            "A policy that is certain of the ranking's second is in its order.",
            middle_without_winner,
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "With the weak inequality of Definition R.2 the uniform policy has every order: where all say abcd it "
            "satisfies PMC and gives the winner 1/4. It is Condorcet consistency that implies PMC, as the proof of "
            "Proposition R.3 shows; with strict inequalities neither implies the other."
        ),
        corrected=Statement(
            "Condorcet consistency implies PMC: a policy with π(y*) = 1 is in the PMC ranking's order.",
            lambda e: consistent_without_winner(e, converse=True),
            "A policy in the PMC ranking's order has π(y*) = 1.",
            consistent_without_winner,
        ),
        counterexample=lambda: election(["abcd"], [1.0]),
    ),
    Claim(
        "ppa/proposition-R.3",
        "Proposition R.3, first part, equations (47) and (48)",
        Statement(
            "(47) has P of (48), the ranking y3, y1, y2, and π(y2) ≥ 4/3 π(y1) at every finite β, against PMC.",
            hand_profile,
            "π(y2) ≥ 4/3 π(y3).",
            lambda e: hand_profile(e, below=2),
        ),
        generate,
        covers=(
            "ppa/equation-47",
            "ppa/equation-48",
            "ppa-v1/proposition-4.17",
            "ppa-v1/equation-50",
            "ppa-v1/equation-51",
        ),
    ),
    Claim(
        "ppa/proposition-R.3-limit",
        "Proposition R.3, second part",
        Statement(
            "Φ^∞ satisfies PMC.",
            limit_and_majorities,
            "Φ^β does with β = 10.",
            lambda e: limit_and_majorities(e, beta=10.0),
        ),
        generate,
        covers=("ppa-v1/proposition-4.17",),
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/proposition-R.3-strictly",
        "Proposition R.3, second part, Definition R.2 as 'has the same ranking'",
        Statement(
            "Φ^∞(σ) has the same ranking as r^σ: Φ(y_i) > Φ(y_j) where r^σ(y_i) < r^σ(y_j).",
            lambda e: limit_and_majorities(e, strictly=True),
            "So has Φ^β with β = 1.",
            lambda e: limit_and_majorities(e, strictly=True, beta=1.0),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "It gives 0 to all but one, so from three alternatives on the rest is tied: in (47) the ranking is y3, y1, "
            "y2 and the policy (0, 0, 1). The proposition needs the weak inequality."
        ),
        corrected=Statement(
            "The first of r^σ is strictly above the rest.",
            lambda e: limit_and_majorities(e, strictly=True, top=True),
            "The first two are strictly above the rest.",
            lambda e: limit_and_majorities(e, strictly=True),
        ),
        counterexample=lambda: HAND,
    ),
    Claim(
        "ppa/pmc-slack",
        "Appendix R, at its end, read with one β for all profiles",
        Statement(
            "For ε = 0.01, Φ^β satisfies PMC with slack, Φ(y_i) ≥ Φ(y_j) - ε on all profiles, once β is large enough.",
            lambda e: slack(e, uniform=True),
            "It does so for ε = 0 on each profile.",
            lambda e: jnp.maximum(slack(e, uniform=True, epsilon=0.0), slack(e, uniform=False, epsilon=0.0)),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "No β is large enough for all profiles: bac (1/2 - η) and acb (1/2 + η) have the ranking a, c, b and "
            "u = (1/2 + η, 1/2 - η, 0), so that as η → 0 b has 1/2 and c 0, whatever β is. On each profile for itself "
            "it is so."
        ),
        corrected=Statement(
            "For ε = 0.01, on each profile, from a β of its own on.",
            lambda e: slack(e, uniform=False),
            "From one β on for all profiles.",
            lambda e: slack(e, uniform=True),
        ),
        counterexample=lambda: election(["bac", "acb"], [0.499, 0.501], beta=0.0),
    ),
)
