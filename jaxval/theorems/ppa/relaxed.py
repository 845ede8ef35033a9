"""Kim et al., section 4.3 and Appendix Q: F^β between F* and the minimax rule; (9), (42) to (46)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxval import social_choice
from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ppa._elections import (
    ALTERNATIVES,
    APART,
    CLOSE,
    Election,
    all_small_elections,
    bounds,
    election,
    generate,
    highest,
    known,
    lifts,
    manipulated,
    relaxed,
    to_top,
)
from jaxval.theorems.ppa.condorcet import is_winner, limit

__all__ = ["CLAIMS"]


# F^β


def softmax_relaxed(e: Election, *, tilt_only: bool = False) -> Array:
    """(9) against the library, β = 0 against F*."""
    P, _, u = known(e)
    scores = jnp.exp(e.beta * u) * (1 if tilt_only else u)
    found = social_choice.proportional(P, beta=e.beta)
    gaps = [largest(found - scores / jnp.sum(scores)), jnp.abs(jnp.sum(found) - 1)]
    gaps += [largest(social_choice.proportional(P, beta=0.0) - u / jnp.sum(u))]
    return highest(jnp.stack(gaps))


def towards_largest(e: Election, *, ties: str, steps: float = 40.0) -> Array:
    """How far Φ^β is from one alternative (or from all of the largest u, evenly), β = steps / the margin."""
    _, _, u = known(e)
    best = jnp.max(u)
    below = jnp.max(jnp.where(u < best - CLOSE, u, -1.0))
    policy = relaxed(u, steps / (best - below))
    if ties == "one":
        return 1 - jnp.max(policy)
    return largest(policy - limit(u))


def concentration(e: Election, *, of: str) -> Array:
    """By how much something falls (for the level: rises) from β to a larger β'."""
    P, w, u = known(e)
    more = e.beta + 10 * e.level
    before, after = relaxed(u, e.beta), relaxed(u, more)
    wins = jnp.mean(P, axis=1)
    level = [jnp.min(jnp.where(w > 0, policy / jnp.where(w > 0, w, 1), jnp.inf)) for policy in (before, after)]
    guarantee = [
        jnp.min(1 / jnp.sum(u[None, :] * jnp.exp(b * (u[None, :] - u[:, None])), axis=1)) for b in (e.beta, more)
    ]
    star = is_winner(P)
    odds = after[:, None] * before[None, :] - before[:, None] * after[None, :]
    ordered = jnp.max(jnp.where(u[:, None] >= u[None, :], -odds, -1))
    falls = {
        "mean bound": before @ u - after @ u,
        "odds": ordered,
        "winner": jnp.max(jnp.where(star, before - after, -1)),
        "win rate": before @ wins - after @ wins,
        "level": level[1] - level[0],
        "guarantee": guarantee[1] - guarantee[0],
        "second": jnp.sort(before)[-2] - jnp.sort(after)[-2],
    }
    return highest(jnp.stack([falls[name] for name in of.split(", ")]))


# Appendix Q


def needed(e: Election, u: Array, form: str) -> Array:
    """The β that (42) asks for, at least 0; its corrected form."""
    odds = (ALTERNATIVES - 1) * e.level / (1 - e.level)
    if form == "printed":
        return jnp.log(odds / 2) / (u - 0.5)
    return jnp.log(odds * (1 - u) / u) / (2 * u - 1)


def enough(e: Election, *, form: str, factor: float = 1.0) -> Array:
    """α_c - π(y_i) for a Condorcet winner at the smallest β ≥ 0 that is enough, and at a larger one."""
    P, _, u = known(e)
    winner = is_winner(P)
    i = jnp.argmax(winner)
    bound = jnp.where(jnp.any(winner), u[i], 0.75)
    least = factor * jnp.maximum(needed(e, bound, form), 0)
    gaps = jnp.stack([e.level - relaxed(u, beta)[i] for beta in (least, least + e.beta)])
    return jnp.where(
        jnp.any(winner) & (bound < 1 - CLOSE), jnp.max(gaps), jnp.where(jnp.any(winner), 1 - relaxed(u)[i], 0)
    )


def chain(e: Election, *, first: str, second: float = 1.0) -> Array:
    """(44) divided by its right sides: u_i e^{βu_i} ≥ c (M-1) e^{β/2}/2 ≥ c Σ_{j≠i} u_j e^{βu_j}, c = α_c/(1-α_c).

    β is the smallest that (43) allows, at least 0; with `first` "corrected", 2 in (43) is 2u_i.
    """
    P, _, u = known(e)
    winner = is_winner(P)
    i = jnp.argmax(winner)
    bound = jnp.where(jnp.any(winner), u[i], 0.75)
    odds = e.level / (1 - e.level)
    under = {"printed": jnp.asarray(2.0), "corrected": 2 * bound, "tight": 2.1 * bound}[first]
    beta = jnp.maximum(jnp.log((ALTERNATIVES - 1) * odds / under) / (bound - 0.5), 0)
    middle = odds * (ALTERNATIVES - 1) / 2
    left = bound * jnp.exp(beta * (bound - 0.5))
    others = jnp.where(jnp.arange(ALTERNATIVES) == i, 0, u * jnp.exp(beta * (u - 0.5)))
    gaps = jnp.maximum(1 - left / middle, second * odds * jnp.sum(others) / middle - 1)
    return jnp.where(jnp.any(winner), gaps, 0)


def share_of_chain(e: Election, factor: float) -> Array:
    """(45): where u_i e^{βu_i} ≥ c Σ_{j≠i} u_j e^{βu_j}, π(y_i) ≥ α_c, on the largest α_c that has it."""
    _, _, u = known(e)
    scores = u * jnp.exp(e.beta * u)
    odds = scores / jnp.where(jnp.sum(scores) - scores > 0, jnp.sum(scores) - scores, jnp.inf)
    level = jnp.where(jnp.isfinite(odds), odds / (1 + odds), 0)
    by_level = jnp.where(e.level / (1 - e.level) <= odds, e.level, 0)
    return highest(factor * jnp.maximum(level, by_level) - relaxed(u, e.beta))


def relaxed_alignment(e: Election, factor: float) -> Array:
    """(46): factor w_i (Σ_j u_j exp(β(u_j - u_i)))⁻¹ - π(y_i); and 0 its limit unless u_i is the largest, then not."""
    _, w, u = known(e)

    def bound(beta: Array) -> Array:
        return 1 / jnp.sum(u[None, :] * jnp.exp(beta * (u[None, :] - u[:, None])), axis=1)

    margin = jnp.max(u) - u
    smallest = jnp.min(jnp.where(margin > CLOSE, margin, 1.0))
    vanishing = jnp.max(jnp.where(margin > CLOSE, bound(60 / smallest), 0))
    staying = jnp.max(jnp.where(margin > CLOSE, 0, 1 / ALTERNATIVES - bound(60 / smallest)))
    return highest(jnp.stack([jnp.max(factor * w * bound(e.beta) - relaxed(u, e.beta)), vanishing, staying]))


# Table 1 for F^β


def relaxed_never_lower(e: Election, *, limit_too: bool = True, others_neither: bool = False) -> Array:
    """Monotonicity and Pareto efficiency of Φ^β and of Φ^∞."""
    P, _, u = known(e)
    after, y = lifts(e, 1.0)
    lifted = jnp.arange(ALTERNATIVES)[None, :] == y[:, None]
    unanimous = jnp.asarray(APART) & (1 - CLOSE <= P)
    found = []
    for rule in (lambda u: relaxed(u, e.beta), limit) if limit_too else (lambda u: relaxed(u, e.beta),):
        policy = rule(u)
        change = policy[None] - jax.vmap(lambda P, rule=rule: rule(bounds(P)))(after)
        found.append(jnp.max(jnp.where(lifted, change, -change if others_neither else -jnp.inf)))
        found.append(jnp.max(jnp.where(unanimous, policy[None, :] - policy[:, None], -jnp.inf)))
    return highest(jnp.stack(found))


def relaxed_pushed(e: Election, *, bound: str, factor: float = 1.0) -> Array:
    """The largest Φ^β(σ'_k)(y_k) less its bound: of Theorem 4.11, or what takes its place for β > 0."""
    groups = jnp.arange(ALTERNATIVES)
    _, w, u = known(e)

    def g(x: Array) -> Array:
        return x * jnp.exp(e.beta * (x - 1))

    tight = g(u) / (g(u) + jnp.sum(g(w)) - g(w))
    steep = 1 / (1 + jnp.exp(-e.beta))
    loose = (1 - steep) * w + steep
    limits = {"printed": jnp.minimum(u / (u + 1 - w), (1 + w) / 2), "corrected": jnp.minimum(factor * tight, loose)}[
        bound
    ]
    gaps = [jnp.max(tight - loose)]
    for reports in (lambda k: e.reports, lambda k: to_top(e.reports, k)):
        found = jax.vmap(lambda k, reports=reports: relaxed(bounds(manipulated(e, k, reports(k))), e.beta)[k])(groups)
        gaps.append(jnp.max(found - limits))
    return highest(jnp.stack(gaps))


CLAIMS = (
    Claim(
        "ppa/equation-9",
        "section 4.3, equation (9)",
        Statement(
            "π(y_i) = u_i e^{βu_i} / Σ_j u_j e^{βu_j} is a policy, F* at β = 0; the library's is this.",
            softmax_relaxed,
            "π(y_i) ∝ e^{βu_i}.",
            lambda e: softmax_relaxed(e, tilt_only=True),
        ),
        generate,
        covers=("ppa-v1/equation-9",),
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/relaxed-limit",
        "section 4.3, below equation (9)",
        Statement(
            "As β → ∞ the policy becomes deterministic, π(y*) = 1 with y* = argmax u.",
            lambda e: towards_largest(e, ties="one"),
            "It is so at β = 10/margin.",
            lambda e: towards_largest(e, ties="one", steps=10.0),
        ),
        generate,
        verdict="holds as corrected",
        why="Where the largest u is shared there is no argmax: ab and ba, half each, have π = (1/2, 1/2) for all β.",
        corrected=Statement(
            "It converges to the uniform policy on the alternatives of the largest u.",
            lambda e: towards_largest(e, ties="all"),
            "It is there at β = 10/margin.",
            lambda e: towards_largest(e, ties="all", steps=10.0),
        ),
        counterexample=lambda: election(["ab", "ba"], [0.5, 0.5]),
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/concentration",
        "section 4.3, below equation (9)",
        Statement(
            "β concentrates the policy on larger u: odds of larger to smaller u, and the mean of u, never fall with β.",
            lambda e: concentration(e, of="odds, mean bound"),
            "Nor does the second largest probability.",
            lambda e: concentration(e, of="second"),
        ),
        generate,
    ),
    Claim(
        "ppa/trade-off",
        "sections 4.3 and 5.1 (seen on MovieLens), read as a rule for every profile",
        Statement(
            "As β increases, the win rate against the uniform policy rises and the level min_i π(y_i)/w_i falls.",
            lambda e: concentration(e, of="win rate, level"),
            "The level rises.",
            lambda e: -concentration(e, of="level"),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "Neither is so on every profile. abc, abc, cab, cba: u = (1/2, 1/4, 1/2), w = (1/2, 0, 1/2), the level is "
            "0.8 at β = 0 and 0.837 at β = 1, since F* gives less than w to those with the largest u. Three voters "
            "abc, two bca: u = (3/5, 2/5, 0), and the win rate falls from 0.5933 to 0.5902, since b, of the smaller u, "
            "has the larger Borda score."
        ),
        corrected=Statement(
            "The mean of u and a Condorcet winner's probability rise; the guarantee, min_i of (46), falls.",
            lambda e: concentration(e, of="mean bound, winner, guarantee"),
            "What falls is the level.",
            lambda e: concentration(e, of="level"),
        ),
        counterexample=lambda: election(["abc", "cab", "cba"], [0.5, 0.25, 0.25], beta=0.0, level=0.1),
    ),
    Claim(
        "ppa/proposition-Q.1",
        "Proposition Q.1, equations (42) and (43)",
        Statement(
            "A Condorcet winner has π(y_i) ≥ α_c if β ≥ 1/(u_i - 1/2) · log((M-1)α_c / (2(1-α_c))), β ≥ 0.",
            lambda e: enough(e, form="printed"),
            "If β is at least half of that.",
            lambda e: enough(e, form="printed", factor=0.5),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "(43) gives e^{βu_i}, not u_i e^{βu_i}, the lower bound of (44). abcd and adcb 0.3 each, bcda and dcba 0.2 "
            "each: u = (3, 2, 2, 2)/5; with α_c = 2/5 the logarithm is 0, β = 0 is allowed, and π(a) = 1/3. So with "
            "two alternatives, 3/5 for a and α_c = 13/20. u_j ≤ 1 - u_i gives a bound that is sharp there."
        ),
        corrected=Statement(
            "If β ≥ max(0, 1/(2u_i - 1) · log((M-1)(1-u_i)α_c / (u_i(1-α_c)))); 2u_i for 2 in (42) does, too.",
            lambda e: enough(e, form="corrected"),
            "If β is 0.95 times that or more.",
            lambda e: enough(e, form="corrected", factor=0.95),
        ),
        counterexample=lambda: election(["abcd", "adcb", "bcda", "dcba"], [0.3, 0.3, 0.2, 0.2], level=0.4),
        covers=(
            "ppa/equation-42",
            "ppa/equation-43",
            "ppa-v1/proposition-N.1",
            "ppa-v1/equation-45",
            "ppa-v1/equation-46",
        ),
    ),
    Claim(
        "ppa/equation-44",
        "Appendix Q, equation (44)",
        Statement(
            "u_i e^{βu_i} ≥ α_c/(1-α_c) (M-1) e^{β/2}/2 ≥ α_c/(1-α_c) Σ_{j≠i} u_j e^{βu_j} from (43).",
            lambda e: chain(e, first="printed"),
            "From (43), whatever the others' u.",
            lambda e: chain(e, first="printed", second=2.0),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "(43) bounds e^{βu_i} by the middle, and u_i < 1 times it can be less: M = 4, u_i = 3/5, α_c = 2/5, β = 0 "
            "(the logarithm is 0): 3/5 against 1."
        ),
        corrected=Statement(
            "The same from β ≥ 1/(u_i - 1/2) · log((M-1)α_c / (2u_i(1-α_c))) and β ≥ 0.",
            lambda e: chain(e, first="corrected"),
            "With 2.1 u_i for 2u_i.",
            lambda e: chain(e, first="tight"),
        ),
        counterexample=lambda: election(["ab", "ba"], [0.6, 0.4], level=0.4),
        covers=("ppa-v1/equation-47",),
    ),
    Claim(
        "ppa/equation-45",
        "Appendix Q, equation (45)",
        Statement(
            "Where u_i e^{βu_i} ≥ α_c/(1-α_c) Σ_{j≠i} u_j e^{βu_j}, π(y_i) ≥ α_c.",
            lambda e: share_of_chain(e, 1.0),
            "Then π(y_i) ≥ 1.05 α_c.",
            lambda e: share_of_chain(e, 1.05),
        ),
        generate,
        covers=("ppa-v1/equation-48",),
    ),
    Claim(
        "ppa/equation-46",
        "Appendix Q, equation (46)",
        Statement(
            "π(y_i)/w_i ≥ (Σ_j u_j exp(β(u_j-u_i)))⁻¹, which goes to 0 as β → ∞ unless u_i is the largest.",
            lambda e: relaxed_alignment(e, 1.0),
            "1.05 times that.",
            lambda e: relaxed_alignment(e, 1.05),
        ),
        generate,
        covers=("ppa-v1/equation-49",),
        exhaustive=all_small_elections,
    ),
    Claim(
        "ppa/relaxed-monotone",
        "Table 1, the proposed framework, for F^β",
        Statement(
            "Φ^β satisfies monotonicity and Pareto efficiency for every β ≥ 0, and so does Φ^∞.",
            relaxed_never_lower,
            "A lift of one alternative never raises another's probability either.",
            lambda e: relaxed_never_lower(e, others_neither=True),
        ),
        generate,
    ),
    Claim(
        "ppa/relaxed-theorem-4.11",
        "Table 1 (F^β has PBM, for some γ), read with the bounds of Theorem 4.11",
        Statement(
            "The bounds of Theorem 4.11 hold for Φ^β.",
            lambda e: relaxed_pushed(e, bound="printed"),
            "The corrected bound times 0.95 does.",
            lambda e: relaxed_pushed(e, bound="corrected", factor=0.95),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "Two abcd, and bacd, cabd, dabc: w_a = 2/5, u = (4, 1, 1, 1)/5, and at β = 1 the truth gives a 0.708 > "
            "(1 + w_a)/2 = 0.7. The proof's steps give, for all β, π'(y_k) ≤ g(u_k)/(g(u_k) + Σ_{i≠k} g(w_i)) with "
            "g(x) = x e^{βx}, and PBM with γ = (1, e^β)/(1 + e^β): (1/2, 1/2) at β = 0."
        ),
        corrected=Statement(
            "π'(y_k) ≤ g(u_k)/(g(u_k) + Σ_{i≠k} g(w_i)) ≤ γ1 w_k + γ2, γ = (1, e^β)/(1 + e^β), g(x) = x e^{βx}.",
            lambda e: relaxed_pushed(e, bound="corrected"),
            "0.95 times the first bound.",
            lambda e: relaxed_pushed(e, bound="corrected", factor=0.95),
        ),
        counterexample=lambda: election(["abcd", "bacd", "cabd", "dabc"], [0.4, 0.2, 0.2, 0.2], beta=1.0),
    ),
)
