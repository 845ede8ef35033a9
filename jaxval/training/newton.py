"""DPO to the optimum by Newton's method, where log-probabilities are linear in the parameters.

With Δ = θ - θ_k the step from the reference π_k, the margin of a pair is m = log π(y⁺)/π_k(y⁺) - log π(y⁻)/π_k(y⁻),
linear in Δ, and Σ_i w_i ℓ(m_i) + λ/2 Σ_{x,y} (centred log π - log π_k)² is convex in it. Directions that no comparison
sees stay where the reference has them.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy.optimize import linprog

from jaxval import _checks
from jaxval.alignment import dpo
from jaxval.preferences.profiles import reachable
from jaxval.training.comparisons import check_comparisons
from jaxval.types import Comparisons, LogLinear, Number, Params, Policy, Tabular

__all__ = ["FitDiagnostics", "fit", "suits_newton"]

MAX_STEPS = 100  # where there is no optimum a margin grows by less than 1 a step: short of underflow in float32


class FitDiagnostics(NamedTuple):
    """How the fit went.

    Attributes:
        converged: whether the last Newton step moved no log π(y|x) by more than 1e-11 in float64 (in float32 by 1e-5 of
            the largest).
        finite_optimum: False where the comparisons of some context can be ranked without a mistake, so that no finite
            optimum exists (known for tabular policies; elsewhere True, and such a fit does not converge).
        steps: Newton steps taken, of the slowest context.
        last_step: the largest change of a log π(y|x) in the last step.
        loss: Σ_i w_i ℓ(m_i) at the end, without the penalty.
    """

    converged: Bool[Array, ""]
    finite_optimum: Bool[Array, ""]
    steps: Int[Array, ""]
    last_step: Float[Array, ""]
    loss: Float[Array, ""]


def fit(
    policy: Policy,
    reference: Params,
    comparisons: Comparisons,
    *,
    beta: Number,
    loss: Callable[..., Array] = dpo,
    per_context: Mapping[str, Any] | None = None,
    ridge: Number = 0.0,
    decay: Number = 0.0,
) -> tuple[Params, FitDiagnostics]:
    """The policy that minimises Σ_i w_i ℓ(m_i) + λ/2 Σ_{x,y} (centred log π - log π_k)², π_k the reference.

    Newton's method in each context of a tabular policy, all of them side by side, and on the weights of a log-linear
    one. The penalty is on the step from this stage's own reference: only then does the order of stages not matter. May
    be called under `jit` and `vmap`, over comparisons of equal length (weight 0 fills them up), references or weights.

    Source: the DPO objective of Tamine et al., section 2.3; damping by log(1 + d) / d after Sun and Tran-Dinh (2019).

    Args:
        policy: a tabular or log-linear policy.
        reference: its parameters at the reference π_k.
        comparisons: of one source; `weight` may be any number of at least 0, context, winner and loser are ids.
        beta: β > 0.
        loss: of one pair, convex and smooth, a function of the difference of its log-ratios: `alignment.dpo`,
            `alignment.mallows_theta`, `functools.partial(alignment.dpo, label_smoothing=0.1)`.
        per_context: options of the loss that differ between contexts, (contexts,) each: `{"dispersion": phi}`.
        ridge: λ ≥ 0.
        decay: of a log-linear policy, μ ≥ 0 of a penalty μ/2 |θ - θ_k|² besides: on weights and not on the rewards of
            the catalogue's prompts, so that prompts without pairs are learnt about even where features outnumber them.

    Returns:
        (parameters, `FitDiagnostics`); parameters are NaN throughout inside `jit` where there is no finite optimum or
        it was not reached.

    Raises:
        ValueError: where the policy is neither tabular nor log-linear, ids are outside the catalogue, chosen and
            rejected are the same, no comparison has weight, the loss is not as said, or (outside `jit`) no finite
            optimum exists.
        RuntimeError: where Newton's method did not converge (outside `jit`).

    Example:
        >>> from jaxval import policies
        >>> policy = policies.tabular(1, 2)
        >>> pairs = Comparisons(context=[0, 0], winner=[0, 1], loser=[1, 0], weight=[3.0, 1.0])
        >>> params, diagnostics = fit(policy, policy.init(jax.random.key(0)), pairs, beta=1.0)
        >>> [round(float(p), 3) for p in jnp.exp(policy.log_probs(params, [0], [[0, 1]]))[0]]
        [0.75, 0.25]
        >>> bool(diagnostics.converged)
        True
    """
    structure = policy.structure
    if not isinstance(structure, Tabular | LogLinear):
        raise ValueError(
            "policy: expected a tabular or log-linear one, whose log-probabilities are linear in the parameters; got "
            f"{type(structure).__name__}; for others call training.train"
        )
    contexts, responses = (
        structure if isinstance(structure, Tabular) else (structure.features.shape[0], structure.features.shape[1])
    )
    comparisons = check_comparisons(comparisons, contexts=contexts, responses=responses)
    beta = _checks.check_number("beta", beta, low=1e-30, high=1e30, expected="a number above 0")
    ridge, decay = (
        _checks.check_number(name, value, low=0.0, high=1e30, expected="a number of at least 0")
        for name, value in (("ridge", ridge), ("decay", decay))
    )
    if isinstance(structure, Tabular) and _checks.concrete(decay) and float(decay) > 0:
        raise ValueError(f"decay: expected 0 for a tabular policy, without weights; got {float(decay):g}; pass ridge")
    options = _context_options(per_context or {}, contexts)
    _check_loss(loss, beta, options)
    reference = jnp.asarray(reference, dtype=float)
    shape = tuple(structure) if isinstance(structure, Tabular) else structure.features.shape[2:]
    if reference.shape != shape:
        raise ValueError(f"reference: expected parameters of shape {shape}; got {reference.shape}")
    if isinstance(structure, Tabular):
        params, diagnostics = _fit_tabular(structure, reference, comparisons, beta, ridge, options, loss=loss)
    else:
        params, diagnostics = _fit_log_linear(
            structure, reference, comparisons, beta, ridge, options, decay=decay, loss=loss
        )
    if _checks.concrete(params, diagnostics.converged):
        _raise_unless_solved(structure, comparisons, diagnostics)
    return params, diagnostics


def _context_options(per_context: Mapping[str, Any], contexts: int) -> dict[str, Array]:
    options = {}
    for name, value in per_context.items():
        options[name] = _checks.floating(f"per_context[{name!r}]", value, ndim=1, expected="(contexts,) numbers")
        if options[name].shape != (contexts,):
            raise ValueError(f"per_context[{name!r}]: expected shape {(contexts,)}; got {options[name].shape}")
    return options


def _check_loss(loss: Callable[..., Array], beta: Array, options: dict[str, Array]) -> None:
    """A smooth convex loss of the difference of log-ratios, as far as a few numbers can tell."""
    if not callable(loss):
        raise ValueError(f"loss: expected a function of one pair, such as alignment.dpo; got {type(loss).__name__}")
    if not _checks.concrete(beta, *options.values()):
        return
    firsts = {name: value[0] for name, value in options.items()}
    with jax.ensure_compile_time_eval():
        seen = np.asarray(_loss_probe(loss, beta, firsts))
    scale = max(1.0, np.abs(seen[:3]).max())
    if np.abs(seen[0] - seen[1]).max() > 1e-4 * scale or np.abs(seen[0] - seen[2]).max() > 1e-4 * scale:
        raise ValueError(
            "loss: expected a function of the difference of the pair's log-ratios alone; got one that also depends on "
            "their level; call training.train"
        )
    if not (seen[3] > 0).all():
        raise ValueError(
            "loss: expected a smooth convex function of the margin; got one that is not; use training.train"
        )


def suits_newton(loss: Callable[..., Array], *, beta: Number) -> bool:
    """Whether `fit` takes a loss: a smooth convex function of the difference of a pair's log-ratios.

    Args:
        loss: of one pair.
        beta: β > 0.

    Returns:
        False for a loss that only `train` can minimise.

    Raises:
        ValueError: if the loss is no function, or lacks an option.

    Example:
        >>> from jaxval import alignment
        >>> suits_newton(alignment.dpo, beta=0.1), suits_newton(alignment.hinge, beta=0.1)
        (True, False)
    """
    try:
        _check_loss(loss, jnp.asarray(beta, dtype=float), {})
    except ValueError as error:
        if "training.train" not in str(error):  # which the message recommends for a loss of another shape
            raise
        return False
    return True


@functools.partial(jax.jit, static_argnames="loss")
def _loss_probe(loss: Callable[..., Array], beta: Array, options: dict[str, Array]) -> Array:
    margins = jnp.array([-1.5, -0.5, 0.0, 0.75, 1.25]) / beta
    shift = 0.7 / beta

    def call(margin: Array, chosen: Array, reference: Array) -> Array:
        return loss(margin + chosen, chosen - reference, reference, jnp.zeros(()), beta=beta, **options)

    zero = jnp.zeros(())
    plain = jax.vmap(lambda m: call(m, zero, zero))
    curvature = jax.vmap(jax.grad(jax.grad(lambda m: call(m, zero, zero))))(margins)
    return jnp.stack(
        [
            plain(margins),
            jax.vmap(lambda m: call(m, shift, zero))(margins),
            jax.vmap(lambda m: call(m, zero, shift) * 0 + loss(m, zero, shift, shift, beta=beta, **options))(margins),
            curvature,
        ]
    )


def _margin_loss(loss: Callable[..., Array], beta: Array) -> tuple[Callable[..., Array], ...]:
    """ℓ(m) of one pair and its first two derivatives, with the options of its context."""
    zero = jnp.zeros_like(beta)

    def of_margin(margin: Array, options: dict[str, Array]) -> Array:
        return loss(margin, zero, zero, zero, beta=beta, **options)

    return of_margin, jax.grad(of_margin), jax.grad(jax.grad(of_margin))


def _steepness(curvature: Callable[..., Array], options: dict[str, Array], beta: Array) -> Array:
    """The largest |ℓ'''| / ℓ'' on margins around 0, the scale on which the loss bends; β for DPO."""
    margins = jnp.linspace(-8.0, 8.0, 65) / beta
    bend, turn = jax.vmap(jax.value_and_grad(curvature), in_axes=(0, None))(margins, options)
    return jnp.max(jnp.where(bend > 1e-6 * jnp.max(bend), jnp.abs(turn) / jnp.where(bend > 0, bend, 1), 0))


def _limit(dtype: Any) -> float:
    return 1e-11 if dtype == jnp.float64 else 1e-5


def _newton(
    step_of: Callable[[Array], tuple[Array, Array]], start: Array, steepness: Array, feasible: Array
) -> tuple[Array, Array, Array, Array]:
    """Damped Newton steps until the largest change of a log-probability is within the limit.

    `step_of(Δ)` gives the step and the largest change of a log-probability that it makes.
    """
    limit = _limit(start.dtype)

    def allowed(delta: Array) -> Array:
        largest = jnp.max(jnp.abs(delta))
        return jnp.asarray(limit) if start.dtype == jnp.float64 else limit * jnp.maximum(largest, 1.0)

    def body(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        delta, _, steps = state
        step, size = step_of(delta)
        bend = steepness * size
        damping = jnp.where(bend > 0, jnp.log1p(bend) / jnp.where(bend > 0, bend, 1), 1)
        return delta + damping * step, size, steps + 1

    def unfinished(state: tuple[Array, Array, Array]) -> Array:
        delta, size, steps = state
        return (size > allowed(delta)) & (steps < MAX_STEPS)

    state = (start, jnp.where(feasible, jnp.inf, 0.0).astype(start.dtype), jnp.asarray(0))
    delta, size, steps = jax.lax.while_loop(unfinished, body, state)
    sound = jnp.all(jnp.isfinite(delta))  # said apart: a compiled maximum may pass over NaN
    return delta, feasible & sound & (size <= allowed(delta)), steps, size


@functools.partial(jax.jit, static_argnames=("structure", "loss"))
def _fit_tabular(
    structure: Tabular,
    reference: Array,
    comparisons: Comparisons,
    beta: Array,
    ridge: Array,
    options: dict[str, Array],
    *,
    loss: Callable[..., Array],
) -> tuple[Array, FitDiagnostics]:
    contexts, responses = structure
    context, winner, loser, weight = (jnp.asarray(field) for field in comparisons)
    flat = (context * responses + winner) * responses + loser
    wins = jnp.zeros(contexts * responses**2).at[flat].add(weight).reshape(contexts, responses, responses)
    of_margin, slope, curvature = _margin_loss(loss, beta)
    ones = jnp.full((responses, responses), 1 / responses)
    apart = ~jnp.eye(responses, dtype=bool)

    def in_context(wins: Array, options: dict[str, Array]) -> tuple[Array, ...]:
        def over_pairs(function: Callable[..., Array], delta: Array) -> Array:
            margins = delta[:, None] - delta[None, :]
            each = jax.vmap(jax.vmap(function, in_axes=(0, None)), in_axes=(0, None))(margins, options)
            return jnp.where(wins > 0, wins * each, 0)

        steepness = _steepness(curvature, options, beta)
        rises = slope(30 / beta, options) > 0  # a loss that rises again bounds every comparison from both sides
        edges = (wins > 0) | ((wins.T > 0) & rises)
        reach = reachable(edges)
        feasible = jnp.all(~(wins > 0) | reach.T) | (ridge > 0)
        component = jnp.where(reach & reach.T, 1.0, 0.0)
        unseen = jnp.where(ridge > 0, ones, component / jnp.sum(component, axis=1, keepdims=True))

        def step_of(delta: Array) -> tuple[Array, Array]:
            slopes, bends = over_pairs(slope, delta), over_pairs(curvature, delta)
            gradient = jnp.sum(slopes, axis=1) - jnp.sum(slopes, axis=0) + ridge * (delta - jnp.mean(delta))
            bends = bends + bends.T
            hessian = jnp.diag(jnp.sum(bends, axis=1)) - bends + ridge * (jnp.eye(responses) - ones)
            scale = jnp.trace(hessian) / responses
            step = -jnp.linalg.solve(hessian + jnp.where(scale > 0, scale, 1.0) * unseen, gradient)
            return step, jnp.max(step) - jnp.min(step)

        delta, converged, steps, size = _newton(step_of, jnp.zeros(responses), steepness, feasible)
        value = jnp.sum(jnp.where(apart, over_pairs(of_margin, delta), 0))
        return delta, converged, feasible, steps, size, value

    delta, converged, feasible, steps, size, value = jax.vmap(in_context)(wins, options)
    solved = jnp.all(converged)
    diagnostics = FitDiagnostics(solved, jnp.all(feasible), jnp.max(steps), jnp.max(size), jnp.sum(value))
    return jnp.where(solved, reference + delta, jnp.nan), diagnostics


@functools.partial(jax.jit, static_argnames="loss")
def _fit_log_linear(
    structure: LogLinear,
    reference: Array,
    comparisons: Comparisons,
    beta: Array,
    ridge: Array,
    options: dict[str, Array],
    *,
    decay: Array,
    loss: Callable[..., Array],
) -> tuple[Array, FitDiagnostics]:
    features = structure.features
    context, winner, loser, weight = (jnp.asarray(field) for field in comparisons)
    differences = features[context, winner] - features[context, loser]
    here = {name: value[context] for name, value in options.items()}
    of_margin, slope, curvature = _margin_loss(loss, beta)
    steepness = (
        jnp.max(jax.vmap(lambda options: _steepness(curvature, options, beta))(options))
        if options
        else (_steepness(curvature, options, beta))
    )
    there = jnp.isfinite(structure.base)[..., None]
    share = 1 / jnp.sum(there, axis=1, keepdims=True)
    centred = jnp.where(there, features - jnp.sum(jnp.where(there, features, 0), axis=1, keepdims=True) * share, 0)
    flat = centred.reshape(-1, centred.shape[-1])
    penalty = jnp.where(ridge > 0, ridge, 0.0) * (flat.T @ flat) + decay * jnp.eye(flat.shape[1])
    seen = jnp.where((weight > 0)[:, None], differences, 0)
    unseen = _null_projector(seen.T @ seen + penalty)

    def each(function: Callable[..., Array], delta: Array) -> Array:
        return jnp.where(weight > 0, weight * jax.vmap(function)(differences @ delta, here), 0)

    def step_of(delta: Array) -> tuple[Array, Array]:
        gradient = each(slope, delta) @ differences + penalty @ delta
        hessian = (differences * each(curvature, delta)[:, None]).T @ differences + penalty
        scale = jnp.trace(hessian) / len(hessian)
        gradient = gradient - unseen @ gradient
        step = -jnp.linalg.solve(hessian + jnp.where(scale > 0, scale, 1.0) * unseen, gradient)
        change = jnp.where(there[..., 0], centred @ step, 0)
        return step, jnp.max(jnp.max(change, axis=1) - jnp.min(change, axis=1))

    start = jnp.zeros_like(reference)
    delta, converged, steps, size = _newton(step_of, start, steepness, jnp.asarray(True))
    diagnostics = FitDiagnostics(converged, jnp.asarray(True), steps, size, jnp.sum(each(of_margin, delta)))
    return jnp.where(converged, reference + delta, jnp.nan), diagnostics


def _null_projector(gram: Array) -> Array:
    """The projection on the directions in which a positive semidefinite matrix is zero, up to rounding."""
    values, vectors = jnp.linalg.eigh(gram)
    limit = 10 * len(gram) * jnp.finfo(gram.dtype).eps * jnp.maximum(values[-1], 0)
    null = jnp.where((values <= limit)[None, :], vectors, 0)
    return null @ null.T


def _raise_unless_solved(structure: Tabular | LogLinear, comparisons: Comparisons, found: FitDiagnostics) -> None:
    advice = "compare more, or regularise the step from the reference: fit(..., ridge=0.1)"
    if not found.finite_optimum:
        raise ValueError(
            "comparisons: expected wins that lead back from every loser to its winner; got a context where some "
            f"responses never lose to those they beat, so that no finite optimum exists; {advice}"
        )
    if not found.converged:
        if isinstance(structure, LogLinear) and separable(structure, comparisons):
            raise ValueError(
                "comparisons: expected some that the features cannot explain; got pairs that a weighting of the "
                f"features ranks without a mistake, so that no finite optimum exists; {advice}"
            )
        raise RuntimeError(
            f"fit did not converge in {int(found.steps)} Newton steps (last step {float(found.last_step):.2g} in a "
            "log-probability); standardise the features, or pass ridge"
        )


def separable(structure: LogLinear, comparisons: Comparisons) -> bool:
    """Whether some θ has θ·(f(x, y⁺) - f(x, y⁻)) ≥ 0 for all pairs and > 0 for one: then no finite optimum exists.

    The linear program max Σ_i t_i, 0 ≤ t_i = δ_i·θ ≤ 1, is above 0 exactly then (Albert and Anderson, 1984).
    """
    context, winner, loser, weight = (np.asarray(field) for field in comparisons)
    features = np.asarray(structure.features, dtype=float)
    differences = (features[context, winner] - features[context, loser])[weight > 0]
    free = [(None, None)] * differences.shape[1]
    bounds = np.concatenate([np.zeros(len(differences)), np.ones(len(differences))])
    solution = linprog(
        -differences.sum(axis=0), A_ub=np.vstack([-differences, differences]), b_ub=bounds, bounds=free, method="highs"
    )
    return bool(solution.status == 0 and -solution.fun > 1e-6)
