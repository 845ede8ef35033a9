"""The two-phase algorithm: from comparisons to a policy that represents people in proportion, for every `Policy`.

Phase 1 finds for each response y of a context x how it fares against its strongest opponent, û(y|x). Phase 2 fits the
policy to π̂_β ∝ û exp(βû). Both minimise a mean over rows of candidates: a row is a pair (x, y) with its opponents in
phase 1, and a context x with its responses in phase 2.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Key

from jaxval import _checks, preferences
from jaxval.alignment import kl_policy, proportional_policy, selected_shares
from jaxval.alignment.divergences import Divergence, find_divergence
from jaxval.training._losses import one_of_equals
from jaxval.training._rows import FLOOR, Rows, candidate_log_probs, fit_rows, policy_loss, selector_loss
from jaxval.training.comparisons import check_comparisons
from jaxval.training.gradient import ANY
from jaxval.types import BadArgument, Comparisons, Number, Params, Policy

__all__ = ["ProportionalDiagnostics", "Selector", "proportional"]

Candidates = Bool[ArrayLike, "contexts responses"] | list[Any]
Propensities = Float[ArrayLike, "contexts responses"] | list[Any]


class Selector(NamedTuple):
    """A policy that is trained in phase 1 to select the strongest opponent of a response.

    Attributes:
        policy: μ(z|x, y). Its context `first + x R + y` asks for the opponent of response y of context x, where R is
            the number of responses of a context; the candidates are the responses z of x. If one policy serves both
            phases, its first contexts are those of phase 2, and `first` is the number of these; see
            `policies.selector_prompts`.
        reference: the parameters of the policy at the start; None if the policy of phase 2 serves both phases.
        first: the id of the first context of the selector.
    """

    policy: Policy
    reference: Params | None = None
    first: int = 0


class ProportionalDiagnostics(NamedTuple):
    """What the two phases found.

    Attributes:
        trained: (contexts,) whether a context has comparisons. A context without comparisons is in neither loss.
        matrices: (contexts, responses, responses) P̂.
        bounds: (contexts, responses) û; -inf if the context has no comparisons, or does not have the response.
        target: (contexts, responses) log π̂_β; -inf where `bounds` is -inf.
        selector: the parameters of the selector, or None if the exact minimiser took its place.
        selector_losses: (steps,) the losses of phase 1, or None if they were not minimised by gradients.
        policy_losses: (steps,) the losses of phase 2, or None if they were not minimised by gradients.
    """

    trained: np.ndarray
    matrices: Float[Array, "contexts responses responses"]
    bounds: Float[Array, "contexts responses"]
    target: np.ndarray
    selector: Params | None
    selector_losses: Float[Array, "steps"] | None
    policy_losses: Float[Array, "steps"] | None


def proportional(
    policy: Policy,
    reference: Params,
    comparisons: Comparisons,
    *,
    beta: Number,
    selector: Selector | None = None,
    bounds: Propensities | None = None,
    candidates: Candidates | None = None,
    unseen: str | preferences.Strengths = "tie",
    propensities: Propensities | None = None,
    divergence: Divergence = "reverse_kl",
    selector_coefficient: Number = 0.0,
    policy_coefficient: Number = 0.0,
    optimiser: optax.GradientTransformation | None = None,
    steps: int = 1000,
    batch_size: int = 32,
    key: Key[Array, ""] | None = None,
    checkpoints: str | Path | None = None,
    every: int = 50,
    progress: bool = False,
) -> tuple[Params, ProportionalDiagnostics]:
    """A policy near F^β, π(y|x) ∝ u(y|x) exp(β u(y|x)), from comparisons, in two phases.

    Phase 1: û(y|x) = Σ_z P̂(y ≻ z|x) μ(z|x, y), with the selector μ that minimises

        E_{x,y} [2 Σ_z P̂(y ≻ z|x) μ(z|x, y) + β_μ KL(μ(.|x, y) ‖ π_ref(.|x, y))]

    over the z ≠ y that were compared with y. This is the loss of `alignment.selector_loss`, summed over all comparisons
    of a pair. Without a selector, μ is the exact minimiser for a uniform π_ref, and û(y|x) = min_z P̂(y ≻ z|x) if
    β_μ = 0.

    Phase 2: π minimises E_x [D(π(.|x) ‖ π̂_β(.|x)) + β_π KL(π(.|x) ‖ π_ref(.|x))] with π̂_β ∝ û exp(βû).

    Contexts count as often as they occur in the comparisons, and responses as often as they were compared. A policy is
    conditioned on the candidates of the context. If every pair of a context was compared, P̂ is the share of wins.

    Without an optimiser, the phases are solved to their optimum: in closed form for a tabular policy, by natural
    gradient steps for another policy with linear logits. An optimiser trains any policy. To save memory, give
    `policies.over_catalogue` a `batch_size`: the policy then reads about that many candidates at a time, and at least
    those of one context.

    Source: Kim et al., Appendix T, with the corrections that `alignment.two_phase` lists.

    Args:
        policy: any policy.
        reference: the parameters of π_ref, where training starts.
        comparisons: the comparisons.
        beta: β in [0, ∞].
        selector: the policy to train in phase 1; None takes the exact minimiser for every x and y.
        bounds: (contexts, responses) û of an earlier call on the same comparisons, which does not depend on β, in place
            of phase 1; None estimates it.
        candidates: (contexts, responses) whether a context has a response. None means the candidates of a policy with
            linear logits, and for other policies the responses that were compared.
        unseen: P̂ of pairs that were never compared: "tie" leaves them out of phase 1; "bradley-terry", "low-rank" or
            `preferences.Strengths` take it from a model of the context's counts, and shrink the other pairs towards it.
        propensities: (contexts, responses) π_d(y|x) for the loss (50) as it is printed. None takes the number of
            comparisons of each pair instead, which is right however the pairs were chosen.
        divergence: D of phase 2; a name in `alignment.divergences`, or a function from log u to f'(u).
        selector_coefficient: β_μ ≥ 0.
        policy_coefficient: β_π ≥ 0.
        optimiser: `adamw(...)`, or any optimiser of optax, for both phases.
        steps: the number of minibatches of each phase.
        batch_size: the number of rows in a minibatch: pairs (x, y) in phase 1, contexts in phase 2.
        key: a random key, for the optimiser and for the choice of a model's strengths; None means `jax.random.key(0)`.
        checkpoints: the folder for checkpoints; None keeps none. A training that was killed resumes from it.
        every: the number of steps between checkpoints, and between updates of the progress bar.
        progress: whether a bar with the remaining time goes to standard error.

    Returns:
        (parameters, `ProportionalDiagnostics`).

    Raises:
        ValueError: if a compared response is not a candidate, a candidate was never compared and `unseen`
            is "tie", a propensity is not above 0, or an option does not fit the policy.
        RuntimeError: if the natural gradient steps, or the model of P, did not converge.
        FloatingPointError: if a loss is no longer finite.

    Example:
        >>> from jaxval import policies
        >>> policy = policies.tabular(1, 3)
        >>> pairs = Comparisons([0] * 6, [0, 1, 1, 2, 0, 2], [1, 0, 2, 1, 2, 0], [3.0, 1.0, 3.0, 1.0, 1.0, 1.0])
        >>> params, found = proportional(policy, policy.init(None), pairs, beta=0.0)
        >>> found.bounds.tolist(), jnp.exp(policy.log_probs(params, [0], [[0, 1, 2]])).round(3).tolist()
        ([[0.5, 0.25, 0.25]], [[0.5, 0.25, 0.25]])
    """
    find_divergence(divergence)
    coefficients = [
        _checks.check_number(name, value, low=0.0, high=1e30, expected="a number of at least 0")
        for name, value in (("selector_coefficient", selector_coefficient), ("policy_coefficient", policy_coefficient))
    ]
    key = jax.random.key(0) if key is None else _checks.check_key(key)
    present, comparisons = _candidates(policy, comparisons, candidates)
    wins = preferences.count_wins(comparisons, alternatives=present.shape[1], contexts=len(present))
    times = np.asarray(wins).sum(axis=2) + np.asarray(wins).sum(axis=1)  # how often each response was compared
    trained = times.sum(axis=1) > 0
    present = present & trained[:, None]
    matrices, opponents = _preferences(key, wins, present, unseen)
    costs = 2 * matrices if propensities is None else _printed_costs(wins, propensities, present, unseen)
    fit = functools.partial(
        fit_rows,
        key=key,
        optimiser=optimiser,
        options={"steps": steps, "batch_size": batch_size, "every": every, "progress": progress},
        checkpoints=checkpoints,
    )

    if selector is not None:
        _checks.check_record("selector", selector, Selector)
    start, params_1, losses_1 = reference, None, None
    if bounds is not None:
        estimates: Any = _given_bounds(bounds, present, selector)
    elif selector is None:
        estimates = _exact_bounds(matrices, costs, opponents, coefficients[0])
    else:
        x, y = np.nonzero(present)
        opponent = np.where(opponents, np.arange(present.shape[1]), -1)[x, y]
        rows = Rows(selector.first + x * present.shape[1] + y, opponent, np.asarray(costs)[x, y])
        weight = np.where(times > 0, times, 1)[x, y]
        before = reference if selector.reference is None else selector.reference
        params_1, losses_1 = fit("selector", selector_loss, selector.policy, before, rows, weight, coefficients[0])
        chosen = candidate_log_probs(selector.policy, params_1, rows, batch_size)
        estimates = np.full(present.shape, -np.inf, matrices.dtype)
        estimates[x, y] = selected_shares(np.asarray(matrices)[x, y], chosen)
        start = params_1 if selector.reference is None else reference

    target = _targets(estimates, trained, beta)
    x = np.flatnonzero(trained)
    ids = np.where(present, np.arange(present.shape[1]), -1)[x]
    rows = Rows(x, ids, np.where(ids < 0, -np.inf, np.maximum(target[x], FLOOR)))
    loss = one_of_equals(functools.partial(policy_loss, divergence))
    params, losses = fit("policy", loss, policy, start, rows, times[x].sum(axis=1), coefficients[1], reference)
    return params, ProportionalDiagnostics(trained, matrices, estimates, target, params_1, losses_1, losses)


@jax.jit
def _exact_bounds(matrices: Array, costs: Array, opponents: Array, coefficient: Array) -> Array:
    """û with the exact minimiser of phase 1, near a uniform reference; -inf for a response without opponents."""
    selector = kl_policy(jnp.where(opponents, 0, -jnp.inf), -costs, beta=coefficient)
    return jnp.where(jnp.any(opponents, axis=2), selected_shares(matrices, selector), -jnp.inf)


def _given_bounds(bounds: Propensities, present: np.ndarray, selector: Selector | None) -> np.ndarray:
    """û of an earlier call; -inf where a context has no comparisons or does not have the response."""
    if selector is not None:
        raise BadArgument("selector", expected="None, because bounds take the place of phase 1", got="a selector")
    given = _checks.host_numbers("bounds", bounds)
    if given.shape != present.shape:
        raise BadArgument("bounds", expected=f"shape {present.shape}", got=given.shape)
    if not np.isfinite(given[present]).all():
        row, column = np.argwhere(present & ~np.isfinite(given))[0]
        raise BadArgument(
            "bounds",
            expected="a share for every candidate that has comparisons",
            got=f"{given[row, column]} for response {column} of context {row}",
        )
    return np.where(present, given, -np.inf)


def _targets(bounds: Array | np.ndarray, trained: np.ndarray, beta: Number) -> np.ndarray:
    """Log π̂_β; -inf throughout in a context without comparisons."""
    return np.where(trained[:, None], proportional_policy(np.where(trained[:, None], bounds, 0), beta=beta), -np.inf)


def _candidates(
    policy: Policy, comparisons: Comparisons, candidates: Candidates | None
) -> tuple[np.ndarray, Comparisons]:
    """(contexts, responses) whether a context has a response, and the comparisons, checked to be between candidates."""
    _checks.check_record("policy", policy, Policy)
    if candidates is not None:
        present = np.asarray(candidates)
        if present.dtype != bool or present.ndim != 2:
            raise BadArgument(
                "candidates", expected="(contexts, responses) of True and False", got=f"{present.dtype} {present.shape}"
            )
    elif policy.linear is not None:
        present = np.isfinite(np.asarray(policy.linear.base))
    else:
        checked = check_comparisons(comparisons, contexts=ANY, responses=ANY)
        x, one, other = (np.asarray(field) for field in checked[:3])
        present = np.zeros((x.max() + 1, max(one.max(), other.max()) + 1), dtype=bool)
        present[x, one] = present[x, other] = True
    comparisons = check_comparisons(comparisons, contexts=present.shape[0], responses=present.shape[1])
    for name in ("winner", "loser"):
        context, response = np.asarray(comparisons.context), np.asarray(getattr(comparisons, name))
        outside = ~present[context, response]
        if outside.any():
            row = int(outside.argmax())
            raise BadArgument(
                f"comparisons.{name}",
                expected="candidates of their context",
                got=f"response {response[row]} of context {context[row]} in row {row}",
            )
    return present, comparisons


def _preferences(
    key: Array, wins: Array, present: np.ndarray, unseen: str | preferences.Strengths
) -> tuple[Array, np.ndarray]:
    """P̂ of each context, and which opponents the selector may choose for each response."""
    pairs = present[:, :, None] & present[:, None, :] & ~np.eye(present.shape[1], dtype=bool)[None]
    compared = np.asarray(wins) + np.swapaxes(np.asarray(wins), 1, 2) > 0
    complete = (compared | ~pairs).all(axis=(1, 2))
    counted = _counted(wins)
    if isinstance(unseen, str):
        _checks.check_choice("unseen", unseen, ("tie", "bradley-terry", "low-rank"))
    else:
        _checks.check_record("unseen", unseen, preferences.Strengths)
    if (isinstance(unseen, str) and unseen == "tie") or complete.all():
        alone = present & ~(pairs & compared).any(axis=2)
        if alone.any():
            context, response = np.argwhere(alone)[0]
            raise BadArgument(
                "comparisons",
                expected="at least one of every candidate of a context that has comparisons",
                got=f"none of response {response} of context {context}",
                advice="pass unseen='bradley-terry' for a model of P, or leave the response out of candidates",
            )
        return counted, pairs & compared
    strengths = unseen
    if isinstance(strengths, str):
        strengths = preferences.choose_strengths(key, wins[~complete], model=strengths)
    model = jax.lax.map(functools.partial(preferences.smoothed_matrix, strengths=strengths), wins)
    if np.isnan(np.asarray(model)).any():
        raise RuntimeError("the model of P did not converge in a context; pass larger unseen=preferences.Strengths")
    return jnp.where(jnp.asarray(complete)[:, None, None], counted, model), pairs


_counted = jax.jit(jax.vmap(preferences.empirical_matrix))


def _printed_costs(wins: Array, propensities: Any, present: np.ndarray, unseen: Any) -> Array:
    """The costs of the loss (50) as it is printed, wins[y, z] / (n π_d(y) π_d(z)), about 2 P(y ≻ z) if π_d is right."""
    if unseen != "tie":
        raise BadArgument("propensities", expected="None, because unseen is a model of P", got="propensities")
    drawn = _checks.floating("propensities", propensities, ndim=2, expected="(contexts, responses) probabilities")
    if drawn.shape != present.shape:
        raise BadArgument("propensities", expected=f"shape {present.shape}", got=drawn.shape)
    wrong = present & (np.asarray(drawn) <= 0)
    if wrong.any():
        context, response = np.argwhere(wrong)[0]
        raise BadArgument(
            "propensities",
            expected="a probability above 0 for every candidate",
            got=f"{float(drawn[context, response]):g} for response {response} of context {context}",
            advice="a response that is never drawn is never compared: leave it out of candidates",
        )
    shares = np.where(present, drawn, 1)
    rows = np.maximum(np.asarray(wins).sum(axis=(1, 2)), 1e-30)
    return jnp.asarray(wins / (rows[:, None, None] * shares[:, :, None] * shares[:, None, :]))
