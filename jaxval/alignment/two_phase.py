"""The two-phase proportional algorithm: losses and closed forms of its selector and of its policy.

The aim is F^β, π(y|x) ∝ u(y|x) exp(β u(y|x)) with u(y|x) = min_{z≠y} P(y ≻ z|x). Phase 1 learns a selector
μ(z|x, y), a policy over the opponents z of y, whose û(y|x) = Σ_z P̂(y ≻ z|x) μ(z|x, y) is u at the optimum. Phase 2
fits the policy to π̂_β ∝ û exp(β û). All functions take log-probabilities. The docstring of each loss tells the optimum
of the loss. With the regularisers of (54), the optima over all policies are closed forms:

- phase 1 with the regulariser of (54): μ = kl_policy(log π_ref, -2 P̂(y ≻ .), beta=β_μ), -inf at z = y;
- π̂_β = kl_policy(log û, û, beta=1/β), which is `proportional_policy`;
- phase 2 with the regulariser: π = kl_policy(log π_ref, log π̂_β - log π_ref, beta=1 + β_π).

Source: Kim et al., Appendices T and U. Some printed forms have other minimisers; `theorems.page("ppa/equation-53")` and
its neighbours show counterexamples.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxval import _checks
from jaxval.alignment._pairs import PerPair, check_log_probs, check_within
from jaxval.alignment.closed_form import kl_policy
from jaxval.alignment.divergences import Divergence, find_divergence
from jaxval.types import BadArgument, Number

__all__ = ["offline_policy_loss", "policy_divergence", "proportional_policy", "selected_shares", "selector_loss"]

PerResponse = Float[ArrayLike, "*rows responses"] | list[Any]
LEAST = 1e-9  # the smallest û: a policy of finite logits has no probability of 0
NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)


def selector_loss(selector: PerPair, propensity: PerPair) -> Float[Array, "..."]:
    """Phase 1: the loss of one comparison, μ(y^l|x, y^w) / π_d(y^l|x, y^w).

    Let π_d(z|x, y) be the share of comparisons with z among all comparisons of y. The sum of the losses is then
    Σ_{x,y} n(x, y) Σ_z P̂(y ≻ z|x) μ(z|x, y), where n(x, y) is how often y was compared. Take the selectors on the z ≠ y
    that were compared with y. Those that minimise the sum select only opponents z with the smallest P̂(y ≻ z|x), and û
    is this smallest P̂.

    Two changes from the printed loss are necessary. A selector on all responses would select y itself, whose cost is
    too small, so the policy of μ must leave y out. And (50) divides by π_d(y^l|x). Its minimum is the same only if
    every pair is compared in proportion to π_d(y|x) π_d(z|x); otherwise (50) selects opponents that y seldom met.

    Source: Kim et al., equation (50).

    Args:
        selector: log μ(y^l|x, y^w), a scalar or an array of any shape; normalised over the z ≠ y^w.
        propensity: log π_d(y^l|x, y^w), of the same shape.

    Returns:
        The loss, of the same shape.

    Raises:
        ValueError: if a propensity is not finite, such as the logarithm of zero, or shapes differ.

    Example:
        >>> round(float(selector_loss(np.log(0.5), np.log(0.25))), 4)
        2.0
    """
    selector = _checks.numbers("selector", selector)  # -inf is an opponent that is never selected
    propensity = check_within(
        "propensity",
        propensity,
        lambda values: np.isfinite(values) & (values <= 1e-5),
        "finite logarithms of at most 0; a response that was never drawn is in no comparison",
    )
    return jnp.exp(selector - propensity)


def selected_shares(matrix: PerResponse, selector: PerResponse) -> Float[Array, "*rows"]:
    """The estimate û(y|x) = Σ_z P̂(y ≻ z|x) μ(z|x, y); with the optimal selector, min_{z≠y} P̂(y ≻ z|x).

    Source: Kim et al., Appendix T.2 and equation (55).

    Args:
        matrix: (..., responses) P̂(y ≻ z|x) of one y and all z in each row.
        selector: (..., responses) log μ(z|x, y); -inf at z = y.

    Returns:
        (...,) û.

    Raises:
        ValueError: if shapes differ.

    Example:
        >>> round(float(selected_shares([0.5, 0.8, 0.2], [-np.inf, np.log(0.25), np.log(0.75)])), 4)
        0.35
    """
    matrix, selector = _checks.numbers("matrix", matrix), _checks.numbers("selector", selector)
    if matrix.shape != selector.shape or matrix.ndim == 0:
        raise BadArgument("selector", expected=f"the shape of matrix, {matrix.shape}", got=selector.shape)
    return jnp.sum(matrix * jnp.exp(selector), axis=-1)


def proportional_policy(bounds: PerResponse, *, beta: Number) -> Float[Array, "*rows responses"]:
    """The target of phase 2, log π̂_β(y|x) with π̂_β ∝ û exp(βû).

    π̂_β maximises Σ_y π(y) û(y) - KL(π ‖ F*) / β, where F* ∝ û. A û below 1e-9 counts as 1e-9, so that every policy can
    represent the target. If û is zero throughout, the target is uniform. If û are the share bounds of P, the target is
    `social_choice.proportional`. With β = ∞ the target is uniform on the largest û, and -inf elsewhere.

    Source: Kim et al., equation (49), with the minimum in u over z ≠ y.

    Args:
        bounds: (..., responses) û in [0, 1]; -inf for a response that a context does not have.
        beta: β in [0, ∞].

    Returns:
        (..., responses) log-probabilities.

    Raises:
        ValueError: if û is NaN or above 1, a row has no response, or β is negative.

    Example:
        >>> np.exp(proportional_policy([0.5, 0.25, 0.25], beta=0.0)).round(3).tolist()
        [0.5, 0.25, 0.25]
    """
    bounds = check_within(
        "bounds", bounds, lambda u: (u <= 1 + 1e-5) & ((u >= -1e-5) | (u == -np.inf)), "shares in [0, 1]"
    )
    beta = _checks.check_number("beta", beta, low=0, high=np.inf, expected="a number in [0, inf]")
    if _checks.concrete(bounds) and (bounds.ndim == 0 or bool((np.asarray(bounds) == -np.inf).all(axis=-1).any())):
        raise BadArgument("bounds", expected="(..., responses) shares, and a response in every row", got=bounds.shape)
    return _proportional(bounds, beta)


@jax.jit
def _proportional(bounds: Array, beta: Array) -> Array:
    logs = jnp.where(bounds == -jnp.inf, -jnp.inf, jnp.log(jnp.clip(bounds, LEAST, 1)))
    return kl_policy(logs, jnp.where(bounds == -jnp.inf, 0, bounds), beta=1 / beta)


def policy_divergence(
    policy: PerResponse, target: PerResponse, *, divergence: Divergence = "reverse_kl"
) -> Float[Array, "*rows"]:
    """KL or another divergence of one policy from another, D_f(π ‖ π̂) = Σ_y π̂(y) f(π(y) / π̂(y)).

    It is the loss of phase 2, where π̂ is the target. The target is the only minimiser over all policies, whatever the
    divergence. With "reverse_kl" it is KL(π ‖ π̂_β) of (51), and with π_ref in place of π̂_β it is the regulariser of
    (54). The form (52) leaves the exponential out, so that the minimiser of (52) is F* for every β.

    f is the integral of f', which `alignment.divergences` gives as a function of log u: π̂ f(u) = ∫ f'(s) π̂ e^s ds from
    0 to log u, by 64 points. Derivatives are computed from f' itself, and are exact to every order.

    Source: Kim et al., equations (51) and (54).

    Args:
        policy: (..., responses) log π(y|x), each row normalised; -inf for a response that the context does not have.
        target: (..., responses) log π̂(y|x); finite where the policy is.
        divergence: "reverse_kl", "forward_kl", "jensen_shannon", or a function from log u to f'(u).

    Returns:
        (...,) divergences.

    Raises:
        ValueError: if shapes differ, or the divergence is unknown.

    Example:
        >>> half = np.log([0.5, 0.5])
        >>> round(float(policy_divergence(np.log([0.25, 0.75]), half)), 4)  # log 2 less the entropy
        0.1308
    """
    policy, target = _checks.numbers("policy", policy), _checks.numbers("target", target)
    if policy.shape != target.shape or policy.ndim == 0:
        raise BadArgument("target", expected=f"the shape of policy, {policy.shape}", got=target.shape)
    return _summed(find_divergence(divergence), policy, target)


@functools.partial(jax.jit, static_argnums=0)
def _summed(slope: Any, policy: Array, target: Array) -> Array:
    absent = (policy == -jnp.inf) & (target == -jnp.inf)
    # The mask comes before the function: where both are -inf, the derivative of their difference is NaN.
    return jnp.sum(_generated(slope, jnp.where(absent, -1e4, policy), jnp.where(absent, -1e4, target)), axis=-1)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _generated(slope: Any, policy: Array, target: Array) -> Array:
    """π̂ f(π / π̂), response by response."""
    log_ratio = policy - target
    nodes, weights = (jnp.asarray(numbers, policy.dtype) for numbers in (NODES, WEIGHTS))
    steps = log_ratio[..., None] * (nodes.reshape((1,) * policy.ndim + (-1,)) + 1) / 2
    inside = slope(steps) * jnp.exp(target[..., None] + steps)  # at most π or π̂: e^s alone would overflow
    return log_ratio * (inside @ weights) / 2


@_generated.defjvp
def _generated_jvp(slope: Any, primals: Any, tangents: Any) -> tuple[Array, Array]:
    policy, target = primals
    value, pull = _generated(slope, policy, target), jnp.exp(policy) * slope(policy - target)
    return value, pull * tangents[0] + (value - pull) * tangents[1]


def offline_policy_loss(
    chosen: PerPair,
    rejected: PerPair,
    chosen_bound: PerPair,
    rejected_bound: PerPair,
    chosen_propensity: PerPair,
    rejected_propensity: PerPair,
    *,
    beta: Number,
) -> Float[Array, "..."]:
    """Phase 2 on one comparison: Σ_{y ∈ {y^w, y^l}} π(y|x) / π_d(y|x) · log π(y|x) / (û(y|x) exp(β û(y|x))).

    If the data draw both responses from π_d(.|x), the mean is 2 E_x Σ_y π log π / (û exp(βû)), which is 2 KL(π ‖ π̂_β)
    up to a constant. The minimiser over policies is π̂_β ∝ û exp(βû). The printed form replaces û by an estimate of û
    from this one comparison, with the two selectors exchanged. The mean of the logarithm of an estimate is not the
    logarithm of its mean. The printed form therefore has another minimiser, and it is infinite if a selector puts all
    probability on one opponent.

    π must be normalised over the responses of the context. A sequence model also gives probability to texts outside the
    catalogue, and could lower the loss by giving them more. Condition such a policy by `policies.normalise`.

    Source: Kim et al., equation (53), mended.

    Args:
        chosen: log π(y^w|x), a scalar or an array of any shape.
        rejected: log π(y^l|x).
        chosen_bound: û(y^w|x); below 1e-9 it counts as 1e-9.
        rejected_bound: û(y^l|x).
        chosen_propensity: log π_d(y^w|x).
        rejected_propensity: log π_d(y^l|x).
        beta: β ≥ 0.

    Returns:
        The loss, of the same shape.

    Raises:
        ValueError: if a log-probability or a propensity is not finite, such as the logarithm of zero, or shapes differ.

    Example:
        >>> half = np.log(0.5)
        >>> round(float(offline_policy_loss(half, half, 0.5, 0.5, half, half, beta=0.0)), 4)  # log 1 twice
        0.0
    """
    chosen, rejected, *others = check_log_probs(
        chosen=chosen,
        rejected=rejected,
        chosen_bound=chosen_bound,
        rejected_bound=rejected_bound,
        chosen_propensity=chosen_propensity,
        rejected_propensity=rejected_propensity,
    )
    beta = _checks.check_number("beta", beta, low=0, high=1e30, expected="a number of at least 0")
    return _offline(chosen, *others[0::2], beta) + _offline(rejected, *others[1::2], beta)


@jax.jit
def _offline(log_prob: Array, bound: Array, propensity: Array, beta: Array) -> Array:
    score = jnp.log(jnp.maximum(bound, LEAST)) + beta * bound
    return jnp.exp(log_prob - propensity) * (log_prob - score)
