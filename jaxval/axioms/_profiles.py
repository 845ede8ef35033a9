"""What the axioms share: the check of a profile, tables of permutations, and mapping over many changed profiles."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import lru_cache, partial, wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxval import _checks, _objects
from jaxval.types import BadArgument, Orders, Rule, Weights

__all__ = ["cached", "checked_profile", "compiled", "each", "finish", "permutation_table", "rankings", "violated"]

AT_ONCE = 1 << 22  # numbers alive at a time when changed profiles are mapped in chunks


def checked_profile(orders: Orders, weights: Weights | None) -> tuple[Array, Array]:
    """Check the profile; return its rankings and its weights, which are equal if `weights` is None."""
    orders = _objects.check_orders(orders)
    return orders, _objects.check_weights(weights, orders.shape[0])


def cached(build: Callable[..., Any]) -> Callable[..., Any]:
    """`build` with a cache of its results; arguments that cannot be hashed, such as some rules, bypass the cache."""
    kept = lru_cache(maxsize=128)(build)

    @wraps(build)
    def get(*arguments: Any) -> Any:
        try:
            hash(arguments)
        except TypeError:
            return build(*arguments)
        return kept(*arguments)

    return get


def compiled(core: Callable[..., Any], rule: Rule, **options: Any) -> Callable[..., Any]:
    """`core(rule, ..., **options)`, compiled once for each rule, each choice of options and each shape.

    As everywhere in JAX, a function is known by its identity: a rule whose closure changes later is not traced again.
    """
    return _compiled(core, rule, tuple(options.items()))


@cached
def _compiled(core: Callable[..., Any], rule: Rule, options: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    return jax.jit(partial(core, rule, **dict(options)))


def finish(gap: Array, *, of: str = "rule") -> Array:
    """The gap; raises if it is a concrete NaN, for then the axiom neither holds nor fails."""
    if _checks.concrete(gap) and np.isnan(gap):
        raise BadArgument(of, expected="finite numbers", got="NaN on this profile, so the axiom says nothing of it")
    return gap


def violated(gap: ArrayLike, *, tolerance: float | None = None) -> Array:
    """Whether the axiom is violated: gap > tolerance. None means a tolerance of 1e-9 in float64 and 1e-5 in float32.

    Example:
        >>> bool(violated(0.1)), bool(violated(0.0)), bool(violated(-jnp.inf))
        (True, False, False)
    """
    gap = _checks.numbers("gap", gap, "a gap")
    return gap > (_checks.tolerance(gap.dtype) if tolerance is None else tolerance)


def each(function: Callable[..., Any], *candidates: Array | np.ndarray, numbers: int) -> Any:
    """`function` of each candidate, in chunks if all at once would hold too many numbers.

    `numbers` is how many numbers one candidate holds.
    """
    num = len(candidates[0])
    chunk = max(1, AT_ONCE // max(numbers, 1))
    if num <= chunk:
        return jax.vmap(function)(*candidates)
    return jax.lax.map(lambda one: function(*one), tuple(map(jnp.asarray, candidates)), batch_size=chunk)


@lru_cache(maxsize=16)
def rankings(alternatives: int) -> np.ndarray:
    """All rankings, (M!, M), in lexicographic order; the first is the identity."""
    return np.array(list(itertools.permutations(range(alternatives))), dtype=np.int32)


@lru_cache(maxsize=64)
def permutation_table(size: int) -> np.ndarray:
    """The permutations that axioms try: all of them up to size 4, and generators and 32 random ones beyond.

    The generators are the exchanges of neighbours, the rotations by one in either direction and the reversal. The
    random permutations come from a fixed seed. The identity is the first entry.
    """
    if size <= 4:
        return rankings(size)
    identity = np.arange(size)
    table = [identity]
    for i in range(size - 1):
        exchanged = identity.copy()
        exchanged[[i, i + 1]] = i + 1, i
        table.append(exchanged)
    table += [np.roll(identity, 1), np.roll(identity, -1), identity[::-1]]
    random = np.random.default_rng(0)
    table += [random.permutation(size) for _ in range(32)]
    return np.array(table, dtype=np.int32)
