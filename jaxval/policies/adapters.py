"""Low-rank adapters (LoRA): a small tree beside parameters that do not change, or merged into them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxval import _checks
from jaxval.types import BadArgument, Params, SequenceModel

__all__ = ["attach", "init_adapters", "low_rank", "merge"]


def low_rank(
    model: SequenceModel,
    params: Params,
    *,
    rank: int,
    alpha: float,
    targets: Iterable[str] = ("query", "value"),
    layers: int | None = None,
    merged: bool = False,
) -> SequenceModel:
    """A model whose parameters are low-rank adapters (LoRA) of fixed parameters.

    For each matrix W among the targets, x W becomes x W + (α/r) (x A) B with A (in, r) and B (r, out); the parameters
    of the new model are the A and B alone. B starts at zero, so that the new model starts as the old one.

    With adapters in the last layers alone, the layers below need to be computed only once for all adapters: see
    `policies.over_catalogue` and `policies.trunk_states`.

    Source: Hu et al., "LoRA" (2021), section 4.1.

    Args:
        model: a model of `transformer`; with `merged`, any other model whose matrices are leaves named "kernel".
        params: its parameters, which stay as they are.
        rank: r, of each A and B.
        alpha: α; the products are scaled by α/r.
        targets: names of the linear layers: query, key, value, output, gate, up, down.
        layers: in how many layers, the last ones, there are adapters; None means in all.
        merged: whether to form W + (α/r) A B at every call instead of (x A) B. That is faster if a call has many
            tokens and matrices are small. Log-probabilities are equal.

    Returns:
        The model; `init(key)` gives adapters.

    Raises:
        ValueError: if the rank is not a whole number of at least 1, a target names no matrix, or the model has
            fewer layers.

    Example:
        >>> from jaxval.policies import transformer
        >>> model = transformer(vocabulary=5, length=8, width=8, layers=2, heads=2)
        >>> params = model.init(jax.random.key(0))
        >>> adapted = low_rank(model, params, rank=2, alpha=4.0)
        >>> jax.tree.map(jnp.shape, adapted.init(jax.random.key(1)))["layers"]["query"]
        {'A': (2, 8, 2), 'B': (2, 2, 8)}
    """
    _checks.check_record("model", model, SequenceModel)
    _checks.check_leaves("params", params)
    names = _names(targets)
    _checks.check_size("rank", rank)
    _checks.check_number("alpha", alpha, low=-jnp.inf, high=jnp.inf, expected="a number")
    _find_targets(params, names)
    place: Callable[..., Params] = merge if _checks.check_flag("merged", merged) else attach
    parts = model.parts
    most = None if parts is None else parts.layers
    depth = most if layers is None else _checks.check_size("layers", layers)
    if layers is not None and (most is None or layers > most):
        got = f"{layers} for a model {'without parts' if most is None else f'of {most} layers'}"
        raise BadArgument("layers", expected="at most as many layers as the model has", got=got)

    def full(base: Params, adapters: Params) -> Params:
        return base if adapters is None else place(base, adapters, alpha=alpha)

    init = jax.jit(lambda key: init_adapters(key, _last(params, depth), rank=rank, targets=names))
    if parts is not None and depth is not None:
        return parts.adapt(full, parts.layers - depth, params)._replace(init=init)
    start, advance = model.start, model.advance
    return SequenceModel(
        init,
        lambda adapters, tokens: model.logits(full(params, adapters), tokens),
        model.vocabulary,
        model.length,
        None if start is None else lambda adapters, *prompts: start(full(params, adapters), *prompts),
        None if advance is None else lambda adapters, cache, tokens: advance(full(params, adapters), cache, tokens),
    )


def init_adapters(key: Any, params: Params, *, rank: int, targets: Iterable[str] = ("query", "value")) -> Params:
    """LoRA adapters at their start: A uniform in ±1/√in, B zero, for each matrix (..., in, out) among the targets.

    Args:
        key: a JAX random key.
        params: nested dictionaries in which a target holds a "kernel".
        rank: r.
        targets: names of linear layers.

    Returns:
        The same nesting, a target's `{"A": (..., in, r), "B": (..., r, out)}` in place of its kernel, and nothing else.

    Raises:
        ValueError: if the rank is not a whole number of at least 1, or a target names no matrix.

    Example:
        >>> adapters = init_adapters(jax.random.key(0), {"query": {"kernel": jnp.eye(3)}}, rank=1, targets=["query"])
        >>> adapters["query"]["B"].tolist()
        [[0.0, 0.0, 0.0]]
    """
    _checks.check_size("rank", rank)
    paths = _find_targets(params, _names(targets))
    adapters: Params = {}
    for one, path in zip(jax.random.split(_checks.check_key(key), len(paths)), paths, strict=True):
        kernel = _checks.check_leaves("params", _reach(params, path)["kernel"])
        if len(kernel.shape) < 2:
            raise BadArgument("params", expected="kernels (..., in, out)", got=f"shape {kernel.shape}")
        *stack, width_in, width_out = kernel.shape
        _checks.check_memory("rank", *stack, width_in + width_out, rank)
        bound = width_in**-0.5
        place = adapters
        for name in path:
            place = place.setdefault(name, {})
        place["A"] = jax.random.uniform(one, (*stack, width_in, rank), kernel.dtype, -bound, bound)
        place["B"] = jnp.zeros((*stack, rank, width_out), kernel.dtype)
    return adapters


def merge(params: Params, adapters: Params, *, alpha: float) -> Params:
    """The parameters with the LoRA adapters in them: W + (α/r) A B.

    Args:
        params: as `low_rank` took them.
        adapters: A and B of each target; r is read from their shapes. Of stacked layers, there may be A and B of the
            last ones alone.
        alpha: α.

    Returns:
        Parameters of the same shapes as `params`.

    Raises:
        ValueError: if an adapter has no matrix, or does not fit it.

    Example:
        >>> adapters = {"query": {"A": jnp.ones((2, 1)), "B": jnp.array([[1.0, 0.0]])}}
        >>> merge({"query": {"kernel": jnp.eye(2)}}, adapters, alpha=2.0)["query"]["kernel"].tolist()
        [[3.0, 0.0], [2.0, 1.0]]
    """
    _checks.check_number("alpha", alpha, low=-jnp.inf, high=jnp.inf, expected="a number")

    def place(kernel: Array, a: Array, b: Array) -> Params:
        product = alpha / a.shape[-1] * (a @ b)
        if product.shape == kernel.shape:
            return {"kernel": kernel + product}
        return {"kernel": kernel.at[-len(product) :].add(product)}

    return _with_adapters(params, adapters, place)


def attach(params: Params, adapters: Params, *, alpha: float) -> Params:
    """The parameters with the LoRA adapters beside their matrices, scaled, as the transformer applies them unmerged.

    Arguments and errors are those of `merge`.

    Returns:
        Parameters in which each target holds its kernel, (α/r) A and B.

    Example:
        >>> adapters = {"query": {"A": jnp.ones((2, 1)), "B": jnp.array([[1.0, 0.0]])}}
        >>> attach({"query": {"kernel": jnp.eye(2)}}, adapters, alpha=2.0)["query"]["A"].tolist()
        [[2.0], [2.0]]
    """
    return _with_adapters(
        params, adapters, lambda kernel, a, b: {"kernel": kernel, "A": alpha / a.shape[-1] * a, "B": b}
    )


def _with_adapters(params: Params, adapters: Params, place: Callable[[Array, Array, Array], Params]) -> Params:
    """A copy of the nested dictionaries with each target's matrix, A and B put together by `place`."""
    _checks.check_leaves("params", params)
    _checks.check_leaves("adapters", adapters)

    def together(params: Params, adapters: Params, path: tuple[str, ...]) -> Params:
        for name, branch in (("params", params), ("adapters", adapters)):
            if not isinstance(branch, Mapping):
                raise BadArgument(name, expected="nested dictionaries", got=f"{branch!r:.80} at {'/'.join(path)!r}")
        if "A" in adapters:
            if "kernel" not in params:
                raise BadArgument(
                    "adapters", expected="adapters of matrices in params", got=f"no matrix at {'/'.join(path)}"
                )
            if "B" not in adapters or jnp.ndim(adapters["A"]) < 2 or jnp.ndim(adapters["B"]) < 2:
                raise BadArgument(
                    "adapters", expected="A (..., in, r) and B (..., r, out)", got=f"others at {'/'.join(path)}"
                )
            kernel, a, b = params["kernel"], adapters["A"], adapters["B"]
            shape = (*a.shape[:-1], b.shape[-1])
            partial = kernel.ndim == 3 and shape[0] < len(kernel) and shape[1:] == kernel.shape[1:]  # the last layers
            if not (shape == kernel.shape or partial) or a.shape[-1] != b.shape[-2]:
                raise BadArgument(
                    "adapters",
                    expected=f"A and B that multiply to shape {kernel.shape} at {'/'.join(path)}",
                    got=f"{a.shape} and {b.shape}",
                )
            return {**params, **place(kernel, a, b)}
        unknown = set(adapters) - set(params)
        if unknown:
            raise BadArgument("adapters", expected=f"names among {sorted(params)} at {'/'.join(path)!r}", got=unknown)
        return {
            name: together(branch, adapters[name], (*path, name)) if name in adapters else branch
            for name, branch in params.items()
        }

    return together(params, adapters, ())


def _names(targets: Iterable[str]) -> tuple[str, ...]:
    if isinstance(targets, str) or not isinstance(targets, Iterable):
        raise BadArgument("targets", expected="the names of linear layers", got=f"{targets!r:.80}")
    return tuple(_checks.check_text(f"targets[{number}]", name) for number, name in enumerate(targets))


def _find_targets(params: Params, targets: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The paths of the targets: every entry of such a name that holds a kernel."""
    result: list[tuple[str, ...]] = []
    linear: set[str] = set()

    def look(branch: Params, path: tuple[str, ...]) -> None:
        if isinstance(branch, dict):
            if "kernel" in branch and path:
                linear.add(path[-1])
                if path[-1] in targets:
                    result.append(path)
            for name, below in branch.items():
                look(below, (*path, name))

    look(params, ())
    missing = sorted(set(targets) - {path[-1] for path in result})
    if missing or not result:
        raise BadArgument("targets", expected=f"names among {sorted(linear)}", got=missing or list(targets))
    return result


def _last(params: Params, layers: int | None) -> Params:
    """The parameters of the last layers, of which the first axis counts the layers."""
    if layers is None:
        return params
    return {**params, "layers": jax.tree.map(lambda leaf: leaf[-layers:], params["layers"])}


def _reach(params: Params, path: tuple[str, ...]) -> Params:
    for name in path:
        params = params[name]
    return params
