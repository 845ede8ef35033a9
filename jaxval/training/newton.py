"""DPO to the optimum by Newton's method, for policies whose logits are linear in the parameters.

Let Δ = θ - θ_k be the step from the reference π_k. The margin of a pair, m = log π(y⁺)/π_k(y⁺) - log π(y⁻)/π_k(y⁻), is
linear in Δ. Hence Σ_i w_i ℓ(m_i) + λ/2 Σ_{x,y} (centred log π - log π_k)² is convex in Δ. Directions of Δ that change
neither a margin nor the penalty stay 0.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from jaxval import _checks
from jaxval.alignment import dpo
from jaxval.preferences.newton import damped_newton
from jaxval.preferences.profiles import reachable
from jaxval.training._losses import check_loss, check_options, link_of, one_of_equals, steepness
from jaxval.training.comparisons import check_comparisons
from jaxval.types import BadArgument, Comparisons, LinearLogits, Number, Params, Policy

__all__ = ["NewtonDiagnostics", "newton_optimum"]

# If no optimum exists, a margin grows by less than 1 in each step. A hundred steps do not yet underflow in float32.
MAX_STEPS = 100


class NewtonDiagnostics(NamedTuple):
    """The diagnostics of Newton's method.

    Attributes:
        converged: whether the last Newton step moved no log π(y|x) by more than 1e-11 (1e-5 in float32). If a parameter
            has changed by more than 1, this tolerance is multiplied by the largest change.
        finite_optimum: False if the comparisons of some context can be ranked without a mistake, so that no finite
            optimum exists. This is checked only if each parameter is one logit. With features the field is True, and a
            fit without an optimum does not converge.
        steps: the number of Newton steps, in the context that took most.
        last_step: the largest change of a log π(y|x) in the last step.
        loss: Σ_i w_i ℓ(m_i) at the end, without the penalty.
    """

    converged: Bool[Array, ""]
    finite_optimum: Bool[Array, ""]
    steps: Int[Array, ""]
    last_step: Float[Array, ""]
    loss: Float[Array, ""]


def newton_optimum(
    policy: Policy,
    reference: Params,
    comparisons: Comparisons,
    *,
    beta: Number,
    loss: Callable[..., Array] = dpo,
    context_options: Mapping[str, Any] | None = None,
    ridge: Number = 0.0,
    decay: Number = 0.0,
) -> tuple[Params, NewtonDiagnostics]:
    """The policy that minimises Σ_i w_i ℓ(m_i) + λ/2 Σ_{x,y} (centred log π - log π_k)², π_k the reference.

    Newton's method uses the linear map from parameters to logits, `Policy.linear`. If each parameter is one logit, each
    context is solved separately, and all contexts are solved in one batch. If not, all parameters are solved together.
    The penalty is on the step from the reference of this stage, so that the order of stages does not matter. The
    function may be called under `jit` and `vmap`, over comparisons of equal length (rows of weight 0 fill them up),
    references or weights.

    Source: the DPO objective of Tamine et al., section 2.3; damping by log(1 + d) / d after Sun and Tran-Dinh (2019).

    Args:
        policy: a policy with linear logits, such as a tabular or log-linear one; see `types.LinearLogits`.
        reference: the policy's parameters at the reference π_k.
        comparisons: the comparisons of one source; weights are at least 0, and context, winner and loser are ids.
        beta: β > 0.
        loss: a loss of one pair with a smooth convex link of the margin, such as `alignment.dpo`,
            `alignment.mallows_theta`, `functools.partial(alignment.dpo, label_smoothing=0.1)`, or a loss made by
            `alignment.margin_loss`. The link φ of `alignment.mallows_phi` jumps at 0, so that only `train_minibatches`
            takes it; `alignment.mallows_phi_limit` is smooth.
        context_options: options of the loss that differ between contexts, (contexts,) each, such as `{"dispersion":
            phi}`; None means that no option does.
        ridge: λ ≥ 0.
        decay: μ ≥ 0 of a further penalty μ/2 |θ - θ_k|² on weights, for policies with features. Unlike the penalty on
            the rewards of the catalogue, it lets training change prompts without pairs even if there are more features
            than prompts.

    Returns:
        (parameters, `NewtonDiagnostics`). Inside `jit`, all parameters are NaN if no finite optimum exists or the
        method did not converge.

    Raises:
        ValueError: if the policy has no linear map, ids are outside the catalogue, chosen and rejected are the same, no
            comparison has weight, the loss has no such link or is constant, or (outside `jit`) no finite optimum
            exists.
        RuntimeError: if Newton's method did not converge (outside `jit`).

    Example:
        >>> from jaxval import policies
        >>> policy = policies.tabular(1, 2)
        >>> pairs = Comparisons(context=[0, 0], winner=[0, 1], loser=[1, 0], weight=[3.0, 1.0])
        >>> params, diagnostics = newton_optimum(policy, policy.init(jax.random.key(0)), pairs, beta=1.0)
        >>> [round(float(p), 3) for p in jnp.exp(policy.log_probs(params, [0], [[0, 1]]))[0]]
        [0.75, 0.25]
        >>> bool(diagnostics.converged)
        True
    """
    linear = _check_linear(policy)
    contexts, responses = linear.base.shape
    comparisons = check_comparisons(comparisons, contexts=contexts, responses=responses)
    beta = _checks.check_number("beta", beta, low=1e-30, high=1e30, expected="a number above 0")
    ridge, decay = (
        _checks.check_number(name, value, low=0.0, high=1e30, expected="a number of at least 0")
        for name, value in (("ridge", ridge), ("decay", decay))
    )
    loss = one_of_equals(loss)
    options = check_options(loss, context_options, contexts)
    check_loss(loss, beta, options, comparisons)
    reference = _check_reference(reference, linear)
    if linear.features is None:
        if _checks.concrete(decay) and float(decay) > 0:
            raise BadArgument(
                "decay",
                expected="0 for a tabular policy, without weights",
                got=f"{float(decay):g}",
                advice="pass ridge",
            )
        params, diagnostics = _fit_table(linear.base, reference, comparisons, beta, ridge, options, loss=loss)
    else:
        params, diagnostics = _fit_features(
            linear, reference, comparisons, beta, ridge, options, decay=decay, loss=loss
        )
    if _checks.concrete(diagnostics.converged, *jax.tree.leaves(params)):
        _raise_unless_solved(linear, comparisons, diagnostics)
    return params, diagnostics


def _check_linear(policy: Policy) -> LinearLogits:
    """The policy's linear map; raises if there is none, or if the shapes of its parts do not match."""
    _checks.check_record("policy", policy, Policy)
    linear = policy.linear
    if not isinstance(linear, LinearLogits):
        raise BadArgument(
            "policy",
            expected=(
                "one whose logits are linear in the parameters, such as a tabular or log-linear one, and "
                "that brings the map (types.LinearLogits)"
            ),
            got=type(linear).__name__,
            advice="for others call training.train_minibatches",
        )
    base = jnp.asarray(linear.base, dtype=float)
    if base.ndim != 2:
        raise BadArgument("policy.linear.base", expected="shape (contexts, responses)", got=base.shape)
    features = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype=float), linear.features)
    for leaf in jax.tree.leaves(features):
        if leaf.shape[:2] != base.shape:
            raise BadArgument(
                "policy.linear.features",
                expected=f"arrays (contexts, responses, *shape of the parameter), {base.shape} first as the base has",
                got=leaf.shape,
            )
    return LinearLogits(base, features)


def _check_reference(reference: Params, linear: LinearLogits) -> Params:
    """The parameters at the reference, checked to have the shapes that the linear map takes."""

    def check(shape: tuple[int, ...], value: Any) -> Array:
        array = _checks.numbers("reference", value)
        if array.shape != shape:
            raise BadArgument("reference", expected=f"parameters of shape {shape}", got=array.shape)
        return array

    if linear.features is None:
        return check(linear.base.shape, reference)
    if isinstance(linear.features, jax.Array):
        return check(linear.features.shape[2:], reference)
    expected, came = (str(jax.tree.structure(tree)) for tree in (linear.features, reference))
    if came != expected:
        raise BadArgument("reference", expected=f"a pytree as policy.linear.features is, {expected}", got=came)
    return jax.tree.map(lambda features, value: check(features.shape[2:], value), linear.features, reference)


def design(linear: LinearLogits) -> Float[Array, "contexts responses parameters"]:
    """The features of all parameters side by side, in the order of `ravel_pytree`."""
    leaves = [jnp.reshape(leaf, (*linear.base.shape, -1)) for leaf in jax.tree.leaves(linear.features)]
    return leaves[0] if len(leaves) == 1 else jnp.concatenate(leaves, axis=2)


@functools.partial(jax.jit, static_argnames="loss")
def _fit_table(
    base: Array,
    reference: Array,
    comparisons: Comparisons,
    beta: Array,
    ridge: Array,
    options: dict[str, Array],
    *,
    loss: Callable[..., Array],
) -> tuple[Array, NewtonDiagnostics]:
    """The optimum if each parameter is one logit: the Hessian is block-diagonal, with one block for each context."""
    contexts, responses = base.shape
    context, winner, loser, weight = (jnp.asarray(field) for field in comparisons)
    flat = (context * responses + winner) * responses + loser
    wins = jnp.zeros(contexts * responses**2).at[flat].add(weight).reshape(contexts, responses, responses)
    value_of, slope, curvature = link_of(loss, beta)
    apart = ~jnp.eye(responses, dtype=bool)

    def in_context(base: Array, wins: Array, options: dict[str, Array]) -> tuple[Array, ...]:
        def over_pairs(function: Callable[..., Array], delta: Array) -> Array:
            margins = delta[:, None] - delta[None, :]
            each = jax.vmap(jax.vmap(function, in_axes=(0, None)), in_axes=(0, None))(margins, options)
            return jnp.where(wins > 0, wins * each, 0)

        bends_by = steepness(curvature, options, beta)
        # If the loss rises again at large margins, as IPO's does, a comparison bounds its margin from both sides.
        rises = slope(30 / beta, options) > 0
        edges = (wins > 0) | ((wins.T > 0) & rises)
        reach = reachable(edges)
        feasible = jnp.all(~(wins > 0) | reach.T) | (ridge > 0)
        component = jnp.where(reach & reach.T, 1.0, 0.0)
        present = jnp.isfinite(base)
        share = jnp.where(present, 1 / jnp.sum(present), 0)
        ones = share[:, None] * present[None, :]
        centring = jnp.diag(jnp.where(present, 1.0, 0.0)) - ones
        # The directions that do not change the objective. With a penalty these are a constant added to all logits, and
        # the logits of missing responses. Without one, they are a constant added to each connected component.
        # Their projection is added to the Hessian, which is singular in these directions.
        unseen = jnp.where(
            ridge > 0, jnp.eye(responses) - centring, component / jnp.sum(component, axis=1, keepdims=True)
        )

        def step_of(delta: Array) -> tuple[Array, Array, Array]:
            slopes, bends = over_pairs(slope, delta), over_pairs(curvature, delta)
            gradient = (
                jnp.sum(slopes, axis=1)
                - jnp.sum(slopes, axis=0)
                + ridge * jnp.where(present, delta - jnp.sum(share * delta), 0)
            )
            bends = bends + bends.T
            hessian = jnp.diag(jnp.sum(bends, axis=1)) - bends + ridge * centring
            scale = jnp.trace(hessian) / responses
            step = -jnp.linalg.solve(hessian + jnp.where(scale > 0, scale, 1.0) * unseen, gradient)
            size = jnp.max(step) - jnp.min(step)
            return step, size, bends_by * size

        delta, converged, steps, size = damped_newton(
            step_of, jnp.zeros(responses), feasible=feasible, max_steps=MAX_STEPS
        )
        value = jnp.sum(jnp.where(apart, over_pairs(value_of, delta), 0))
        return delta, converged, feasible, steps, size, value

    delta, converged, feasible, steps, size, value = jax.vmap(in_context)(base, wins, options)
    solved = jnp.all(converged)
    diagnostics = NewtonDiagnostics(solved, jnp.all(feasible), jnp.max(steps), jnp.max(size), jnp.sum(value))
    return jnp.where(solved, reference + delta, jnp.nan), diagnostics


@functools.partial(jax.jit, static_argnames="loss")
def _fit_features(
    linear: LinearLogits,
    reference: Params,
    comparisons: Comparisons,
    beta: Array,
    ridge: Array,
    options: dict[str, Array],
    *,
    decay: Array,
    loss: Callable[..., Array],
) -> tuple[Params, NewtonDiagnostics]:
    """The optimum if all contexts share the parameters, with one Hessian."""
    features = design(linear)
    context, winner, loser, weight = (jnp.asarray(field) for field in comparisons)
    differences = features[context, winner] - features[context, loser]
    pair_options = {name: value[context] for name, value in options.items()}
    value_of, slope, curvature = link_of(loss, beta)
    bends_by = (
        jnp.max(jax.vmap(lambda options: steepness(curvature, options, beta))(options))
        if options
        else steepness(curvature, options, beta)
    )
    present = jnp.isfinite(linear.base)[..., None]
    share = 1 / jnp.sum(present, axis=1, keepdims=True)
    centred = jnp.where(present, features - jnp.sum(jnp.where(present, features, 0), axis=1, keepdims=True) * share, 0)
    flat = centred.reshape(-1, centred.shape[-1])
    penalty = jnp.where(ridge > 0, ridge, 0.0) * (flat.T @ flat) + decay * jnp.eye(flat.shape[1])
    seen = jnp.where((weight > 0)[:, None], differences, 0)
    unseen = _null_projector(seen.T @ seen + penalty)

    def each(function: Callable[..., Array], delta: Array) -> Array:
        return jnp.where(weight > 0, weight * jax.vmap(function)(differences @ delta, pair_options), 0)

    def step_of(delta: Array) -> tuple[Array, Array, Array]:
        gradient = each(slope, delta) @ differences + penalty @ delta
        hessian = (differences * each(curvature, delta)[:, None]).T @ differences + penalty
        scale = jnp.trace(hessian) / len(hessian)
        gradient = gradient - unseen @ gradient
        step = -jnp.linalg.solve(hessian + jnp.where(scale > 0, scale, 1.0) * unseen, gradient)
        change = jnp.where(present[..., 0], centred @ step, 0)
        size = jnp.max(jnp.max(change, axis=1) - jnp.min(change, axis=1))
        return step, size, bends_by * size

    start, unravel = ravel_pytree(reference)
    delta, converged, steps, size = damped_newton(
        step_of, jnp.zeros_like(start), feasible=jnp.asarray(True), max_steps=MAX_STEPS
    )
    diagnostics = NewtonDiagnostics(converged, jnp.asarray(True), steps, size, jnp.sum(each(value_of, delta)))
    return unravel(jnp.where(converged, start + delta, jnp.nan)), diagnostics


def _null_projector(gram: Array) -> Array:
    """The projection on the null space of a positive semidefinite matrix, up to rounding."""
    values, vectors = jnp.linalg.eigh(gram)
    limit = 10 * len(gram) * jnp.finfo(gram.dtype).eps * jnp.maximum(values[-1], 0)
    null = jnp.where((values <= limit)[None, :], vectors, 0)
    return null @ null.T


def _raise_unless_solved(linear: LinearLogits, comparisons: Comparisons, diagnostics: NewtonDiagnostics) -> None:
    advice = "compare more, or regularise the step from the reference by ridge, such as 0.1"
    if not diagnostics.finite_optimum:
        raise BadArgument(
            "comparisons",
            expected="wins that lead back from every loser to its winner",
            got=("a context where some responses never lose to those they beat, so that no finite optimum exists"),
            advice=advice,
        )
    if not diagnostics.converged:
        if linear.features is not None and separable(linear, comparisons):
            raise BadArgument(
                "comparisons",
                expected="some that the features cannot explain",
                got=(
                    "pairs that a weighting of the features ranks without a mistake, so that no finite optimum exists"
                ),
                advice=advice,
            )
        raise RuntimeError(
            f"newton_optimum did not converge in {int(diagnostics.steps)} steps (last step "
            f"{float(diagnostics.last_step):.2g} in a log-probability); standardise the features, pass ridge, "
            "or compute in float64: jax.config.update('jax_enable_x64', True)"
        )


def separable(linear: LinearLogits, comparisons: Comparisons) -> bool:
    """Whether some θ has θ·(f(x, y⁺) - f(x, y⁻)) ≥ 0 for all pairs and > 0 for one, so that no finite optimum exists.

    Such a θ exists if and only if the linear program max Σ_i t_i, 0 ≤ t_i = δ_i·θ ≤ 1, has an optimum above 0, where
    δ_i = f(x_i, y_i⁺) - f(x_i, y_i⁻) (Albert and Anderson, 1984).
    """
    from scipy.optimize import linprog  # it takes as long to load as JAX, so only this function loads it

    context, winner, loser, weight = (np.asarray(field) for field in comparisons)
    features = np.asarray(design(linear), dtype=float)
    differences = (features[context, winner] - features[context, loser])[weight > 0]
    free = [(None, None)] * differences.shape[1]
    bounds = np.concatenate([np.zeros(len(differences)), np.ones(len(differences))])
    solution = linprog(
        -differences.sum(axis=0), A_ub=np.vstack([-differences, differences]), b_ub=bounds, bounds=free, method="highs"
    )
    return bool(solution.status == 0 and -solution.fun > 1e-6)
