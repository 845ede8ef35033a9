"""Training on several sources: on one source after another, or on all sources at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int, Num

from jaxval import _checks
from jaxval.training.comparisons import stack_sources
from jaxval.training.newton import newton_optimum
from jaxval.types import BadArgument, Comparisons, Params, Policy

__all__ = ["sequential_dpo", "union_dpo"]

SourceWeights = Num[ArrayLike, "sources"] | Bool[ArrayLike, "sources"] | list[Any] | None


def sequential_dpo(
    policy: Policy,
    reference: Params,
    sources: Sequence[Comparisons] | Comparisons,
    order: Int[ArrayLike, "stages"] | Sequence[int],
    *,
    weights: SourceWeights = None,
    train: Callable[..., tuple[Params, Any]] = newton_optimum,
    **options: Any,
) -> tuple[Params, Any]:
    """DPO on one source after another, each stage with the last stage's policy as its reference.

    π_{k+1} = argmax_π Σ_{D_ℓ} log σ(β [log π(y⁺|x)/π_k(y⁺|x) - log π(y⁻|x)/π_k(y⁻|x)]), ℓ = order[k], π_0 the
    reference. At convergence π(y|x) ∝ π_0(y|x) exp(Σ_ℓ r̂_ℓ(x, y) / β), whatever the order.

    With `newton_optimum`, the function may be called under `jit` and `vmap`, over orders or weights. A source of weight
    0 has no effect, so that one call under `vmap` trains all coalitions.

    Source: Tamine et al., Algorithm 1 and equation (6).

    Args:
        policy: the policy to train.
        reference: the policy's parameters at π_0.
        sources: one `Comparisons` for each source, or the record that `stack_sources` makes of them.
        order: (stages,) indices of sources; a source that is not in the order is not trained on.
        weights: (sources,) the factors by which the comparisons of each source are multiplied; None means 1.
        train: the training of one stage; `train(policy, reference, comparisons, **options)` returns (parameters,
            diagnostics).
        **options: the options of `train`; `beta=...` at least.

    Returns:
        (parameters, diagnostics of each stage that was trained); the diagnostics are a list, or stacked under `jit`.

    Raises:
        ValueError: if the order holds an index that belongs to no source, or `train` refuses its input.

    Example:
        >>> from jaxval import policies
        >>> policy = policies.tabular(1, 2)
        >>> sources = [Comparisons([0, 0], [0, 1], [1, 0], [count, 1.0]) for count in (3.0, 2.0)]
        >>> params, _ = sequential_dpo(policy, policy.init(jax.random.key(0)), sources, [0, 1], beta=1.0)
        >>> [round(float(p), 3) for p in jnp.exp(policy.log_probs(params, [0], [[0, 1]]))[0]]  # odds 3 times 2
        [0.857, 0.143]
    """
    fields = _weighted(sources, weights)
    order = _checks.integers("order", order, ndim=1, expected="(stages,) indices of sources")
    _checks.check_function("train", train, "a function that trains, such as newton_optimum")
    known = _checks.concrete(order, fields[3], *jax.tree.leaves(reference))
    if _checks.concrete(order) and order.size:
        values = np.asarray(order)
        if values.min() < 0 or values.max() >= len(fields[3]):
            raise BadArgument("order", expected=f"indices of {len(fields[3])} sources", got=values.tolist())

    def stage(params: Params, source: Any) -> tuple[Params, Any]:
        return train(policy, params, Comparisons(*(field[source] for field in fields)), **options)

    if not known:
        return jax.lax.scan(stage, reference, order)
    taken = [source for source in np.asarray(order).tolist() if np.asarray(fields[3][source]).any()]
    params, diagnostics_of_stages = reference, []
    for source in taken:
        params, diagnostics = stage(params, source)
        diagnostics_of_stages.append(diagnostics)
    return params, diagnostics_of_stages


def union_dpo(
    policy: Policy,
    reference: Params,
    sources: Sequence[Comparisons] | Comparisons,
    *,
    weights: SourceWeights = None,
    train: Callable[..., tuple[Params, Any]] = newton_optimum,
    **options: Any,
) -> tuple[Params, Any]:
    """DPO on the comparisons of all sources at once; the comparisons of a source are multiplied by its weight.

    With `newton_optimum`, the function may be called under `jit` and `vmap`, over weights. One call under `vmap` over
    the masks of all coalitions trains all of them.

    Source: Tamine et al., section 3, "DPO directly to the coalition dataset".

    Args:
        policy: the policy to train.
        reference: the policy's parameters at π_0.
        sources: one `Comparisons` for each source, or the record that `stack_sources` makes of them.
        weights: (sources,) the factors by which the comparisons of each source are multiplied; None means 1.
        train: the training; `train(policy, reference, comparisons, **options)` returns (parameters, diagnostics).
        **options: the options of `train`; `beta=...` at least.

    Returns:
        (parameters, diagnostics of `train`). If all weights are zero and concrete, (the reference, None).

    Raises:
        ValueError: if there is not one weight for each source, or `train` refuses its input.

    Example:
        >>> from jaxval import policies
        >>> policy = policies.tabular(1, 2)
        >>> sources = [Comparisons([0, 0], [0, 1], [1, 0], [count, 1.0]) for count in (3.0, 2.0)]
        >>> params, _ = union_dpo(policy, policy.init(jax.random.key(0)), sources, beta=1.0)
        >>> [round(float(p), 3) for p in jnp.exp(policy.log_probs(params, [0], [[0, 1]]))[0]]  # odds 5 to 2
        [0.714, 0.286]
    """
    fields = _weighted(sources, weights)
    _checks.check_function("train", train, "a function that trains, such as newton_optimum")
    if _checks.concrete(fields[3]) and not np.asarray(fields[3]).any():
        return reference, None
    return train(policy, reference, Comparisons(*(field.reshape(-1) for field in fields)), **options)


def _weighted(sources: Sequence[Comparisons] | Comparisons, weights: SourceWeights) -> list[Array]:
    """The four fields of all sources, (sources, comparisons) each; the weight is multiplied by the source's weight."""
    context, winner, loser, weight = (jnp.asarray(field) for field in stack_sources(sources))
    if weights is None:
        return [context, winner, loser, weight]
    scale = _checks.floating("weights", weights, ndim=1, expected="(sources,) numbers of at least 0")
    if scale.shape != weight.shape[:1]:
        raise BadArgument("weights", expected=f"one for each of {len(weight)} sources", got=f"shape {scale.shape}")
    if _checks.concrete(scale) and (np.asarray(scale) < 0).any():
        raise BadArgument("weights", expected="numbers of at least 0", got=f"{np.asarray(scale).min():g}")
    return [context, winner, loser, weight * scale[:, None]]
