"""Kim et al., section 4.3, Appendices O, P and R: Condorcet consistency and majority rankings; (47), (48)."""

import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval import axioms, preferences, social_choice
from jaxval.theorems.ppa._profiles import APART, Case, Profile, by_hand, known, over, profiles, relaxed
from jaxval.theorems.ppa.domination import CLOSE
from jaxval.theorems.records import AtMost


def is_winner(P: Array, majority: float = 0.5) -> Array:
    """Which alternatives are preferred by more than a majority to every other."""
    return jnp.all((majority + CLOSE < P) | jnp.eye(len(P), dtype=bool), axis=1)


def limit(u: Array) -> Array:
    """Φ^∞: the largest u, ties shared."""
    best = u >= jnp.max(u) - CLOSE
    return best / jnp.sum(best)


# Condorcet consistency


@profiles.claim(
    "ppa/definition-4.12",
    "Definition 4.12",
    false="At most one alternative is preferred to every other by half or more of the voters.",
    neighbour={"majority": 0.5 - 1e-6, "only": "M = 4"},
)
def definition_4_12(c: Case, majority: float = 0.5) -> Any:
    """At most one alternative is preferred to every other by more than half of the voters, a Condorcet winner y*.

    The library finds it, and its axiom's gap is 1 - π(y*), what a policy π lacks.
    """
    winner, policy = is_winner(c.P), c.lotteries[0]
    exists, star = jnp.any(winner), jnp.argmax(winner)
    axiom = axioms.condorcet(lambda orders, weights: policy, *c.profile)[0]
    return {
        "one": AtMost(jnp.sum(is_winner(c.P, majority)), 1),
        "the library's winner": (preferences.condorcet_winner(c.P), jnp.where(exists, star, -1)),
        "the library's axiom": (jnp.maximum(axiom, -1), jnp.where(exists, 1 - policy[star], -1)),
    }


@profiles.claim(
    "ppa/proposition-4.13",
    "Proposition 4.13",
    covers=("ppa-v1/proposition-4.13",),
    proof="π(y_j) ≥ α w_j - ε and π(y*) ≥ 1 - ε give α w_j ≤ 2ε",
    false="If y* is a Condorcet winner, every policy violates π(y*) = 1 or π ≥ αw by 1.05 α w_j/2 or more, for j ≠ y*.",
    neighbour={"factor": 1.05, "only": "M = 4"},
)
def proposition_4_13(c: Case, factor: float = 1.0) -> Any:
    """If y* is a Condorcet winner, every policy violates π(y*) = 1 or π ≥ αw by α w_j/2 or more, for all j ≠ y*.

    If some w_j > 0, no policy has both, so that no PSCF satisfies α-PPA and Condorcet consistency.
    """
    winner = is_winner(c.P)
    star = winner & (jnp.arange(len(c.w)) == jnp.argmax(winner))
    others = jnp.where(star, 0, c.w)
    least = factor * c.level * jnp.max(others) / 2

    def violation(policy: Array) -> Array:
        return jnp.maximum(1 - jnp.sum(policy * star), jnp.max(c.level * c.w - policy))

    half = c.level * jnp.max(others) / 2
    nearest = jnp.where(star, 1 - half, half * (jnp.arange(len(c.w)) == jnp.argmax(others)))
    policies = {"any policy": c.lotteries[0], "the nearest": nearest}
    return {name: jnp.where(jnp.any(winner), least - violation(policy), -1.0) for name, policy in policies.items()}


@profiles.claim(
    "ppa/condorcet-inconsistent",
    "section 4.3",
    false="Φ* denies a Condorcet winner y* of share w* at least 1.05 (1-w*)/(2-w*).",
    neighbour={"factor": 1.05, "only": "M = 4"},
)
def condorcet_inconsistent(c: Case, factor: float = 1.0) -> Any:
    """Φ* is not Condorcet consistent: it denies a winner y* of share w* < 1 at least (1-w*)/(2-w*)."""
    return jnp.where(is_winner(c.P), factor * (1 - c.w) / (2 - c.w) - (1 - relaxed(c.u)), -1.0)


@profiles.claim(
    "ppa/minimax",
    "section 4.3, below equation (9)",
    false="The largest u_i is where the Borda score is largest.",
    neighbour={"borda": True, "only": "M = 4"},
)
def minimax(c: Case, borda: bool = False) -> Any:
    """Argmax_i u_i is the minimax Condorcet method: the smallest worst defeat, max_{j≠i} P(y_j ≻ y_i)."""
    worst_defeats = jnp.max(jnp.where(jnp.asarray(APART[len(c.P)]), c.P, 0), axis=0)
    rule = limit(jnp.sum(c.P, axis=1) if borda else -worst_defeats)
    return {"argmax u": (limit(c.u), rule), "the library's": (social_choice.minimax(c.P), rule)}


@profiles.claim(
    "ppa/proposition-4.14",
    "Proposition 4.14",
    covers=("ppa-v1/proposition-4.14",),
    false="Φ^∞ gives 1 to an alternative that at least half of the voters prefer to every other.",
    neighbour={"majority": 0.5 - 1e-6, "only": "M = 4"},
)
def proposition_4_14(c: Case, majority: float = 0.5) -> Any:
    """Φ^∞ satisfies Condorcet consistency."""
    policy = social_choice.proportional(c.P, beta=jnp.inf)
    return {
        "Φ^∞": jnp.where(is_winner(c.P, majority), 1 - policy, -1.0),
        "the library's axiom": axioms.condorcet(social_choice.minimax, *c.profile)[0],
    }


# Appendix R


def beats(P: Array) -> Array:
    """P(y_i ≻ y_j) > 1/2."""
    return (CLOSE + 0.5 < P) & jnp.asarray(APART[len(P)])


def majority_places(P: Array) -> tuple[Array, Array]:
    """Definition R.1: r^σ(y), 0 for the first, and whether there is a PMC ranking."""
    r = jnp.sum(beats(P), axis=0)  # if there is such a ranking, exactly those above y beat it
    untied = jnp.sum(beats(P)) == len(r) * (len(r) - 1) // 2
    return r, untied & jnp.all(beats(P) == (r[:, None] < r[None, :]))


def violation(P: Array, policy: Array) -> Array:
    """Definition R.2: π(y_j) - π(y_i) where r^σ(y_i) < r^σ(y_j), and -1 elsewhere."""
    r, exists = majority_places(P)
    return jnp.where(exists & (r[:, None] < r[None, :]), policy[None, :] - policy[:, None], -1.0)


@over(2, 3, 4, 5).claim(
    "ppa/definition-R.1",
    "Definition R.1",
    covers=("ppa-v1/definition-4.15",),
    false="One ranking has P(y_i ≻ y_j) > 1/2 iff r(y_i) < r(y_j) for all i ≠ j if there is a Condorcet winner, and at "
    "most one if there is none.",
    neighbour={"with_winner": True, "only": "M = 4"},
)
def definition_r_1(c: Case, with_winner: bool = False) -> Any:
    """At most one of all rankings has P(y_i ≻ y_j) > 1/2 iff r(y_i) < r(y_j) for all i ≠ j; the library finds it."""
    rankings = np.array(list(itertools.permutations(range(len(c.P)))))
    r = np.argsort(rankings, axis=1)
    fits = jnp.all(jnp.asarray(r[:, :, None] < r[:, None, :]) == beats(c.P)[None], axis=(1, 2))
    ranking = jnp.where(jnp.any(fits), jnp.asarray(rankings)[jnp.argmax(fits)], -1)
    least = jnp.any(is_winner(c.P)) if with_winner else 0
    return {
        "one": AtMost(jnp.stack([jnp.sum(fits), least]), jnp.stack([1, jnp.sum(fits)])),
        "the library's ranking": (preferences.pmc_ranking(c.P), ranking),
    }


@profiles.claim(
    "ppa/definition-R.2",
    "Definition R.2",
    false="The gap of the library's axiom is the largest π(y_j) - π(y_i) over all y_i that a majority prefers to y_j, "
    "even if there is no PMC ranking.",
    neighbour={"all_majorities": True, "only": "M = 4"},
)
def definition_r_2(c: Case, all_majorities: bool = False) -> Any:
    """The gap of the library's axiom is the largest π(y_j) - π(y_i) with r^σ(y_i) < r^σ(y_j), r^σ the PMC ranking."""
    policy = c.lotteries[0]
    axiom = axioms.pairwise_majority(lambda orders, weights: policy, *c.profile)[0]
    everywhere = jnp.where(beats(c.P), policy[None, :] - policy[:, None], -1.0)
    return jnp.maximum(axiom, -1), jnp.max(everywhere if all_majorities else violation(c.P, policy))


@profiles.claim(
    "ppa/pmc-stronger",
    "section 4.3 and Appendix R",
    fails="reading",
    quote="Additionally, Appendix R discusses the connection to pairwise majority consistency (PMC) [24], which "
    "imposes a stronger consistency requirement, ensuring the entire policy ranking aligns with majority preferences.",
    why="With the weak inequality of Definition R.2 the uniform policy has every order: if all voters say abcd, it "
    "satisfies PMC and gives the Condorcet winner 1/4. It is Condorcet consistency that implies PMC, as the proof of "
    "Proposition R.3 shows; with strict inequalities neither implies the other.",
    corrected="Condorcet consistency implies PMC: a policy with π(y*) = 1 is in the order of the PMC ranking.",
    correction={"converse": True},
    counterexample=lambda: by_hand((["0123"], [1.0]), lotteries=[[0.25] * 4, [1.0]]),
)
def pmc_stronger(c: Case, converse: bool = False) -> Any:
    """PMC implies Condorcet consistency: a policy in the order of the PMC ranking has π(y*) = 1."""
    r, exists = majority_places(c.P)
    if converse:
        return violation(c.P, (r == 0).astype(float))
    policy = jnp.sort(c.lotteries[0])[::-1][r]  # in the order of the PMC ranking
    return jnp.where(exists & (r == 0), 1 - policy, -1.0)


HAND_RANKINGS, HAND_SHARES = np.array([[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]), np.array([0.3, 0.1, 0.3, 0.3])
HAND_MATRIX = np.array([[0.5, 0.6, 0.3], [0.4, 0.5, 0.4], [0.7, 0.6, 0.5]])


@over(3).claim(
    "ppa/proposition-R.3",
    "Proposition R.3, first part, equations (47) and (48)",
    covers=("ppa/equation-47", "ppa/equation-48", "ppa-v1/proposition-4.17"),
    scope="the profile (47), M = 3; β ≥ 0 random, often 0",
    proof="u = (3/10, 2/5, 3/5), and π(y2)/π(y1) = 4/3 e^{β/10} ≥ 4/3 for every β ≥ 0",
    false="On (47), Φ^β(σ)(y2) ≥ 4/3 Φ^β(σ)(y3) for every finite β ≥ 0.",
    neighbour={"below": 2},
)
def proposition_r_3(c: Case, below: int = 0) -> Any:
    """On (47), Φ^β violates PMC for every finite β ≥ 0: Φ^β(σ)(y2) ≥ 4/3 Φ^β(σ)(y1), and the PMC ranking is y3, y1, y2.

    (47) has the preference function (48) and u = (0.3, 0.4, 0.6).
    """
    P, _, u = known(Profile(jnp.asarray(HAND_RANKINGS), jnp.asarray(HAND_SHARES)))
    r, exists = majority_places(P)
    policy = relaxed(u, c.beta)
    return {
        "(48)": (P, HAND_MATRIX),
        "u": (u, jnp.array([0.3, 0.4, 0.6])),
        "r^σ": (jnp.where(exists, r, -1), jnp.array([1, 2, 0])),
        "π": AtMost(4 / 3 * policy[below], policy[1]),
    }


@profiles.claim(
    "ppa/proposition-R.3-limit",
    "Proposition R.3, second part",
    false="Φ^10 satisfies PMC, and gives 1 to the first of the PMC ranking.",
    neighbour={"beta": 10.0, "only": "M = 4"},
)
def proposition_r_3_limit(c: Case, beta: float = np.inf) -> Any:
    """Φ^∞ satisfies PMC: it gives 1 to the first of the PMC ranking and 0 to the others."""
    r, exists = majority_places(c.P)
    policy = limit(c.u) if np.isinf(beta) else relaxed(c.u, beta)
    return {"PMC": violation(c.P, policy), "π": (jnp.where(exists, policy, r == 0), (r == 0).astype(float))}


@profiles.claim(
    "ppa/pmc-slack",
    "Appendix R, at its end",
    false="For ε = 0.01, on each profile, Φ^β satisfies PMC with slack from β = 1/(u¹ - u²) on, u¹ > u² the largest u.",
    neighbour={"steps": 1.0, "only": "M = 4"},
)
def pmc_slack(c: Case, steps: float = 40.0) -> Any:
    """For ε = 0.01, on each profile, Φ^β(y_i) ≥ Φ^β(y_j) - ε if r^σ(y_i) < r^σ(y_j), from some β on.

    Here from β = 40/(u¹ - u²) on, u¹ > u² the two largest u.
    """
    margin = jnp.max(c.u) - jnp.sort(c.u)[-2]  # positive, since the first of the PMC ranking is a Condorcet winner
    policy = relaxed(c.u, steps / jnp.where(margin > 0, margin, 1.0) + c.beta)
    return violation(c.P, policy) - 0.01
