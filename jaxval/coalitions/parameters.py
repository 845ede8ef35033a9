"""Model arithmetic on parameters: sums of steps from the reference, in full or as low-rank adapters."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from jaxval import _checks
from jaxval.types import BadArgument, Params

__all__ = ["add_adapters", "add_parameters"]

Members = Shaped[ArrayLike, "sources"] | list[Any]


def add_parameters(base: Params, sources: Params, coalition: Members) -> Params:
    """The parameters of a coalition from the parameters of the sources: θ_S = θ_0 + Σ_{ℓ∈S} (θ_ℓ - θ_0).

    For a policy whose log-probabilities are linear in its parameters up to a constant (tabular, log-linear) this is the
    arithmetic of `combine`; for a transformer it is another approximation.

    Source: Tamine et al., section 5 (their experiment adds adapters like this); Ilharco et al. (2023), task arithmetic.

    Args:
        base: θ_0, a pytree.
        sources: the θ_ℓ, a pytree with the structure of `base` whose leaves have a further first axis (sources,).
        coalition: (sources,) a mask, or a weight for each source.

    Returns:
        Parameters of the shapes of `base`. The empty coalition gives exactly the base.

    Raises:
        ValueError: if the trees differ in structure, or a shape does not fit.

    Example:
        >>> add_parameters(jnp.array([1.0, 1.0]), jnp.array([[2.0, 1.0], [1.0, 5.0]]), [True, True]).tolist()
        [2.0, 5.0]
    """
    members = _members(coalition)
    _checks.check_leaves("base", base)
    _checks.check_leaves("sources", sources)
    ours, theirs = str(jax.tree.structure(base)), str(jax.tree.structure(sources))
    if ours != theirs:
        raise BadArgument("sources", expected=f"the tree structure of base, {ours}", got=theirs)

    for leaf, stacked in zip(jax.tree.leaves(base), jax.tree.leaves(sources), strict=True):
        if jnp.shape(stacked) != (len(members), *jnp.shape(leaf)):
            raise BadArgument(
                "sources",
                expected=f"leaves of shape {(len(members), *jnp.shape(leaf))}, the first axis as long as the coalition",
                got=f"shape {jnp.shape(stacked)}",
            )
    return _moved(base, sources, members)


@jax.jit  # one program, not four for every shape of a leaf
def _moved(base: Params, sources: Params, members: Array) -> Params:
    def add(leaf: Array, stacked: Array) -> Array:
        return leaf + jnp.tensordot(members.astype(leaf.dtype), stacked - leaf[None], 1)

    return jax.tree.map(add, base, sources)


def add_adapters(adapters: Params, coalition: Members) -> Params:
    """The LoRA adapter of a coalition from those of the sources: A_S B_S = Σ_{ℓ∈S} A_ℓ B_ℓ.

    It is the sum of the products, not the product of the sums. It has n times the rank: A_S = [A_1, ..., A_n] side by
    side, B_S = n [c_1 B_1; ...; c_n B_n] one below the other. The factor n keeps α the same: `policies.merge` divides
    by r, which is n times as large.

    Source: Tamine et al., section 5; the adapters are those of Hu et al. (2021).

    Args:
        adapters: nested dictionaries with leaves A (sources, ..., in, r) and B (sources, ..., r, out).
        coalition: (sources,) a mask, or a weight for each source.

    Returns:
        Adapters with leaves A (..., in, n r) and B (..., n r, out).

    Raises:
        ValueError: if the number of sources is not that of the coalition.

    Example:
        >>> A, B = jnp.array([[[1.0]], [[2.0]]]), jnp.array([[[3.0]], [[5.0]]])
        >>> together = add_adapters({"query": {"A": A, "B": B}}, [True, True])["query"]
        >>> (together["A"] @ together["B"] / 2).tolist()  # 1·3 + 2·5
        [[13.0]]
    """
    members = _members(coalition)
    _checks.check_leaves("adapters", adapters)

    def add(branch: Params) -> Params:
        if not isinstance(branch, dict):
            raise BadArgument("adapters", expected="nested dictionaries of A and B", got=type(branch).__name__)
        if "A" not in branch:
            return {name: add(below) for name, below in branch.items()}
        if "B" not in branch or jnp.ndim(branch["A"]) < 3 or jnp.ndim(branch["B"]) < 3:
            got = f"shapes {[jnp.shape(branch[part]) for part in ('A', 'B') if part in branch]}"
            raise BadArgument("adapters", expected="A (sources, ..., in, r) and B (sources, ..., r, out)", got=got)
        a, b = branch["A"], branch["B"]
        if len(a) != len(members) or len(b) != len(members):
            raise BadArgument("coalition", expected=f"one entry for each of {len(a)} sources", got=len(members))
        weights = members.astype(b.dtype).reshape(-1, *(1,) * (b.ndim - 1))
        return {
            "A": jnp.concatenate(list(a), axis=-1),
            "B": jnp.concatenate(list(len(members) * weights * b), axis=-2),
        }

    return add(adapters)


def _members(coalition: Any) -> Array:
    members = _checks.check_members("coalition", coalition, "a mask or weights of shape (sources,)")
    if members.ndim != 1 or not len(members):
        raise BadArgument("coalition", expected="a mask or weights of shape (sources,)", got=f"shape {members.shape}")
    return members
