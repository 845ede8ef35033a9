"""Kim et al., section 4.3 and Appendix Q: F^β between F* and the minimax rule; (9), (42) to (46)."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxval import social_choice
from jaxval.theorems.ppa._profiles import APART, Case, bounds, by_hand, lifts, profiles, relaxed
from jaxval.theorems.ppa.condorcet import is_winner, limit
from jaxval.theorems.ppa.domination import CLOSE
from jaxval.theorems.ppa.manipulation import after_misreports
from jaxval.theorems.records import AtMost

# F^β


@profiles.claim(
    "ppa/equation-9",
    "section 4.3, equation (9)",
    false="The library's F^β is π(y_i) = e^{βu_i} / Σ_j e^{βu_j}.",
    neighbour={"tilt_only": True, "only": "M = 4"},
)
def equation_9(c: Case, tilt_only: bool = False) -> Any:
    """π(y_i) = u_i e^{βu_i} / Σ_j u_j e^{βu_j} is the library's F^β, and F* at β = 0."""
    scores = jnp.exp(c.beta * c.u) * (1 if tilt_only else c.u)
    return {
        "the library's": (social_choice.proportional(c.P, beta=c.beta), scores / jnp.sum(scores)),
        "β = 0": (social_choice.proportional(c.P, beta=0.0), c.u / jnp.sum(c.u)),
    }


@profiles.claim(
    "ppa/relaxed-limit",
    "section 4.3, below equation (9)",
    fails="convention",
    quote="As β→∞, the policy becomes deterministic and converges to π(y*)=1, where y*=argmax_{i∈[M]} u_i.",
    why="If the largest u is shared, no argmax is single: with ab and ba, half each, π = (1/2, 1/2) for every β.",
    corrected="As β → ∞, the policy converges to the uniform policy on the alternatives with the largest u.",
    correction={"shared": True},
    false="The policy is uniform on the alternatives with the largest u when β is 10 over the gap to the next u.",
    neighbour={"shared": True, "steps": 10.0, "only": "M = 4"},
    counterexample=lambda: by_hand((["01", "10"], [0.5, 0.5])),
)
def relaxed_limit(c: Case, shared: bool = False, steps: float = 40.0) -> Any:
    """As β → ∞, the policy becomes deterministic: it converges to π(y*) = 1 with y* = argmax_i u_i."""
    best = jnp.max(c.u)
    margin = best - jnp.max(jnp.where(c.u < best - CLOSE, c.u, -1.0))
    alone = (jnp.arange(len(c.u)) == jnp.argmax(c.u)).astype(float)
    return relaxed(c.u, steps / margin), limit(c.u) if shared else alone


def two_policies(c: Case) -> tuple[Array, Array]:
    """The policies of β and of a larger one."""
    return relaxed(c.u, c.beta), relaxed(c.u, c.beta + 10 * c.level)


@profiles.claim(
    "ppa/concentration",
    "section 4.3, below equation (9)",
    false="As β rises, the second largest probability never falls.",
    neighbour={"second": True, "only": "M = 4"},
)
def concentration(c: Case, second: bool = False) -> Any:
    """As β rises, π(y_i)/π(y_j) with u_i ≥ u_j never falls, nor does the mean of u under the policy."""
    before, after = two_policies(c)
    if second:
        return AtMost(jnp.sort(before)[-2], jnp.sort(after)[-2])
    crossed = before[:, None] * after[None, :] - after[:, None] * before[None, :]
    return {"odds": jnp.where(c.u[:, None] >= c.u[None, :], crossed, -1.0), "mean": AtMost(before @ c.u, after @ c.u)}


@profiles.claim(
    "ppa/trade-off",
    "section 4.3, at its end, and Appendix Q, equation (46)",
    false="As β rises, a Condorcet winner's probability never falls, and the level min_i π(y_i)/w_i never rises.",
    neighbour={"level": True, "only": "M = 4"},
)
def trade_off(c: Case, level: bool = False) -> Any:
    """As β rises, the probability of a Condorcet winner never falls, and the level that (46) guarantees never rises."""
    before, after = two_policies(c)
    first, second = level_of_46(c.u, c.beta), level_of_46(c.u, c.beta + 10 * c.level)
    if level:
        first, second = (jnp.where(c.w > 0, policy / c.w, jnp.inf) for policy in (before, after))
    winner = jnp.where(is_winner(c.P), before - after, -1.0)
    return {"Condorcet winner": winner, "level": AtMost(jnp.min(second), jnp.min(first))}


def level_of_46(u: Array, beta: Array | float) -> Array:
    """(Σ_j u_j exp(β(u_j - u_i)))⁻¹ for each i."""
    return 1 / jnp.sum(u[None, :] * jnp.exp(beta * (u[None, :] - u[:, None])), axis=1)


# Appendix Q


@profiles.claim(
    "ppa/proposition-Q.1",
    "Proposition Q.1, equations (42) and (43)",
    covers=("ppa/equation-42", "ppa/equation-43"),
    fails="root error",
    quote="Let y_i be a Condorcet winner with u_i > 0.5. Then, the softmax policy satisfies π(y_i) ≥ α_c if β ≥ 1/(u_i "
    "- 0.5) log((M-1)α_c / (2(1-α_c))).",
    why="(43) bounds e^{βu_i}, and (44) needs the bound for u_i e^{βu_i}, which is smaller: the β of (42) is too "
    "small. With abcd and adcb 0.3 each, bcda and dcba 0.2 each, u = (3, 2, 2, 2)/5; at α_c = 2/5 the logarithm is 0, "
    "so that β = 0 is allowed, and π(a) = 1/3. 2u_i in place of 2 is enough; since u_j ≤ 1 - u_i for j ≠ i, there is a "
    "smaller bound, exact if all u_j are 1 - u_i.",
    corrected="A Condorcet winner has π(y_i) ≥ α_c if β ≥ max(0, 1/(2u_i - 1) log((M-1)(1-u_i)α_c / (u_i(1-α_c)))).",
    correction={"exact": True},
    false="A Condorcet winner has π(y_i) ≥ α_c if β ≥ 0.95 max(0, 1/(2u_i - 1) log((M-1)(1-u_i)α_c / (u_i(1-α_c)))).",
    neighbour={"exact": True, "factor": 0.95, "only": "M = 4"},
    counterexample=lambda: by_hand((["0123", "0321", "1230", "3210"], [0.3, 0.3, 0.2, 0.2]), level=0.4),
)
def proposition_q_1(c: Case, exact: bool = False, factor: float = 1.0) -> Any:
    """A Condorcet winner has π(y_i) ≥ α_c if β ≥ 1/(u_i - 1/2) log((M-1)α_c / (2(1-α_c))) and β ≥ 0."""
    winner, odds = is_winner(c.P), (len(c.u) - 1) * c.level / (1 - c.level)
    star, exists = jnp.argmax(winner), jnp.any(winner)
    bound = jnp.where(exists, c.u[star], 0.75)
    if exact:
        needed = jnp.log(odds * jnp.maximum(1 - bound, 0) / bound) / (2 * bound - 1)
    else:
        needed = jnp.log(odds / 2) / (bound - 0.5)
    least = factor * jnp.maximum(needed, 0)
    return {
        name: jnp.where(exists, c.level - relaxed(c.u, beta)[star], -1.0)
        for name, beta in {"the smallest β": least, "a larger β": least + c.beta}.items()
    }


@profiles.claim(
    "ppa/equation-44",
    "Appendix Q, equation (44)",
    root="ppa/proposition-Q.1",
    quote="From the given condition [(43)], we can establish the following lower bound: u_i exp(βu_i) ≥ α_c/(1-α_c) "
    "(M-1)(0.5 exp(0.5β)) ≥ α_c/(1-α_c) Σ_{j≠i} u_j exp(βu_j).",
    why="(43) says that e^{βu_i} is at least the middle of (44), and u_i < 1 times it can be less: M = 4, u_i = 3/5, "
    "α_c = 2/5 and β = 0, where the logarithm in (43) is 0, give 3/5 on the left and 1 in the middle.",
    corrected="From β ≥ 1/(u_i - 1/2) log((M-1)α_c / (2u_i(1-α_c))) and β ≥ 0, u_i e^{βu_i} ≥ α_c/(1-α_c) (M-1) "
    "e^{β/2}/2 ≥ α_c/(1-α_c) Σ_{j≠i} u_j e^{βu_j}.",
    correction={"factor": 1.0},
    false="From β ≥ 1/(u_i - 1/2) log((M-1)α_c / (2.1u_i(1-α_c))) and β ≥ 0, u_i e^{βu_i} ≥ α_c/(1-α_c) (M-1) "
    "e^{β/2}/2.",
    neighbour={"factor": 1.05, "only": "M = 4"},
    counterexample=lambda: by_hand((["0123", "0321", "1230", "3210"], [0.3, 0.3, 0.2, 0.2]), level=0.4),
)
def equation_44(c: Case, factor: float | None = None) -> Any:
    """From (43) and β ≥ 0, u_i e^{βu_i} ≥ α_c/(1-α_c) (M-1) e^{β/2}/2 ≥ α_c/(1-α_c) Σ_{j≠i} u_j e^{βu_j}."""
    winner, odds = is_winner(c.P), c.level / (1 - c.level)
    exists = jnp.any(winner)
    star = exists & (jnp.arange(len(c.u)) == jnp.argmax(winner))
    bound = jnp.where(exists, jnp.sum(c.u * star), 0.75)
    # (43) has 2 where the correction has 2 u_i.
    under = 2.0 if factor is None else 2 * factor * bound
    beta = jnp.maximum(jnp.log((len(c.u) - 1) * odds / under) / (bound - 0.5), 0)
    middle = odds * (len(c.u) - 1) / 2  # all sides are divided by e^{β/2}, and then by the middle
    others = odds * jnp.sum(jnp.where(star, 0, c.u * jnp.exp(beta * (c.u - 0.5))))
    return {
        "first": AtMost(1.0, bound * jnp.exp(beta * (bound - 0.5)) / middle),
        "second": AtMost(jnp.where(exists, others / middle, 0.0), 1.0),
    }


@profiles.claim(
    "ppa/equation-45",
    "Appendix Q, equation (45)",
    false="If u_i e^{βu_i} ≥ α_c/(1-α_c) Σ_{j≠i} u_j e^{βu_j}, then π(y_i) ≥ 1.05 α_c.",
    neighbour={"factor": 1.05, "only": "M = 4"},
)
def equation_45(c: Case, factor: float = 1.0) -> Any:
    """If u_i e^{βu_i} ≥ α_c/(1-α_c) Σ_{j≠i} u_j e^{βu_j}, then π(y_i) ≥ α_c."""
    scores = c.u * jnp.exp(c.beta * c.u)
    others = jnp.sum(scores) - scores
    odds = jnp.where(others > 0, scores / jnp.where(others > 0, others, 1), 0.0)
    largest_level = jnp.maximum(odds / (1 + odds), jnp.where(c.level / (1 - c.level) <= odds, c.level, 0))
    return AtMost(factor * largest_level, relaxed(c.u, c.beta))


@profiles.claim(
    "ppa/equation-46",
    "Appendix Q, equation (46)",
    false="π(y_i) ≥ 1.05 w_i (Σ_j u_j exp(β(u_j-u_i)))⁻¹ for every β ≥ 0.",
    neighbour={"factor": 1.05, "only": "M = 4"},
)
def equation_46(c: Case, factor: float = 1.0) -> Any:
    """For every β ≥ 0, π(y_i)/w_i ≥ (Σ_j u_j exp(β(u_j-u_i)))⁻¹, which goes to 0 as β → ∞ unless u_i is the largest."""
    below = jnp.max(c.u) - c.u
    behind = below > CLOSE
    late = level_of_46(c.u, 60 / jnp.min(jnp.where(behind, below, 1.0)))
    return {
        "(46)": AtMost(factor * c.w * level_of_46(c.u, c.beta), relaxed(c.u, c.beta)),
        "to 0": AtMost(jnp.where(behind, late, 0.0), 0.0),
        "not to 0": AtMost(jnp.where(behind, 0.0, 1 / len(c.u)), late),
    }


# Table 1 for F^β


@profiles.claim(
    "ppa/relaxed-monotone",
    "Table 1, the proposed framework, for F^β",
    false="If one alternative is lifted in a ranking, Φ^β gives no other alternative more.",
    neighbour={"others": True, "only": "M = 4"},
)
def relaxed_monotone(c: Case, others: bool = False) -> Any:
    """Φ^β satisfies monotonicity and Pareto efficiency for every β ≥ 0, and so does Φ^∞."""
    P, u = c.P, c.u
    after, lifted = lifts(c)
    is_lifted = jnp.arange(len(u))[None, :] == lifted[:, None]
    unanimous = jnp.asarray(APART[len(u)]) & (1 - CLOSE <= P)
    found = {}
    for name, rule in {"Φ^β": lambda u: relaxed(u, c.beta), "Φ^∞": limit}.items():
        policy, lifted_policies = rule(u), jax.vmap(lambda P, rule=rule: rule(bounds(P)))(after)
        falls = policy[None] - lifted_policies
        found[f"{name}, monotone"] = jnp.where(is_lifted, falls, -falls if others else -1.0)
        found[f"{name}, Pareto"] = jnp.where(unanimous, policy[None, :] - policy[:, None], -1.0)
    return found


@profiles.claim(
    "ppa/relaxed-manipulability",
    "Table 1, the proposed framework, for F^β, with a bound of ours",
    proof="g(x) = x e^{βx} rises, u'_k ≤ u_k and u'_i ≥ w_i for i ≠ k, as in Theorem 4.11",
    false="For every β, Φ^β has π'(y_k) ≤ u_k/(u_k+1-w_k) ≤ (w_k+1)/2 after any misreport of group k.",
    neighbour={"of_theorem_4_11": True, "only": "M = 4"},
)
def relaxed_manipulability(c: Case, of_theorem_4_11: bool = False) -> Any:
    """Φ^β satisfies γ-PBM with γ = (1, e^β)/(1 + e^β), which is (1/2, 1/2) at β = 0.

    After any misreport of group k, π'(y_k) ≤ g(u_k)/(g(u_k) + Σ_{i≠k} g(w_i)) ≤ γ1 w_k + γ2 with g(x) = x e^{βx}.
    """

    def g(x: Array) -> Array:
        return x * jnp.exp(c.beta * (x - 1))

    first = c.u / (c.u + 1 - c.w) if of_theorem_4_11 else g(c.u) / (g(c.u) + jnp.sum(g(c.w)) - g(c.w))
    gamma = 0.5 if of_theorem_4_11 else 1 / (1 + jnp.exp(-c.beta))
    as_reported, on_top = after_misreports(c, lambda P: relaxed(bounds(P), c.beta))
    return {
        "as reported": AtMost(as_reported, first),
        "with y_k on top": AtMost(on_top, first),
        "γ": AtMost(first, (1 - gamma) * c.w + gamma),
    }
