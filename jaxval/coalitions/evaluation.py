"""One contract of evaluation, `Evaluation`: every function that takes a utility turns it into one first.

A utility is written for one mask. `as_evaluation` turns it into an `Evaluation`, which maps many masks to their
utilities and knows the shape of one utility. Tables, sampled values and regressed values use this contract alone. The
object that fulfils it decides whether the utility is plain JAX, runs on many devices, trains a model in another process
or is read from a store.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num

from jaxval import _checks
from jaxval.checkpoints import fingerprint
from jaxval.coalitions.masks import check_coalitions, check_fits, check_players, index_coalition
from jaxval.parallel.chunks import each_chunk, map_chunks
from jaxval.types import BadArgument, Coalitions, Utility

__all__ = ["Evaluation", "as_evaluation", "evaluate_coalitions", "tabulate"]

# By default 256 coalitions at a time: what 128 contexts of 32 responses hold for so many stays in a cache of some
# megabytes, which takes a fifth off the time that 1,024 take, and tiny utilities lose nothing.
HOST_CHUNK = 2**16  # how many masks an evaluation on the host is given at a time
MOST_PROGRAMS = 256
OBJECTIVES = "a scalar or a vector of objectives"


@runtime_checkable
class Evaluation(Protocol):
    """A function from many masks to their utilities, and the shape of one utility.

    Attributes:
        traceable: whether `many` may stand inside a compiled program, under `jit` and `vmap`; if not, it is called
            between compiled pieces, with known masks.
    """

    traceable: bool

    @property
    def identity(self) -> Hashable:
        """Equal for two evaluations whose compiled programs are the same; None if that cannot be told."""
        ...

    def many(self, coalitions: Any, /) -> Num[Array, "coalitions *objectives"]:
        """The utilities (rows, *objectives) of masks (rows, players)."""
        ...

    def objectives(self) -> tuple[int, ...]:
        """The shape of one utility: () or (objectives,)."""
        ...


class _Plain:
    """A utility written in JAX, vectorised over chunks of masks."""

    traceable = True

    def __init__(self, utility: Utility, players: int, batch_size: int) -> None:
        self._utility, self._players, self._batch_size = utility, players, batch_size
        self._call = checked_utility(utility, players)
        self._shape = jax.eval_shape(self._call, jax.ShapeDtypeStruct((players,), bool))

    @property
    def identity(self) -> Hashable:
        return identity_of(self._utility, self._players, self._batch_size)

    def many(self, coalitions: Any, /) -> Array:
        masks = check_coalitions(coalitions)
        if masks.ndim != 2 or masks.shape[1] != self._players:
            raise BadArgument("coalitions", expected=f"(rows, {self._players}) masks", got=f"shape {masks.shape}")
        return map_chunks(lambda rows: jax.vmap(self._call)(masks[rows]), len(masks), self._batch_size)

    def objectives(self) -> tuple[int, ...]:
        return self._shape.shape


def as_evaluation(utility: Utility, players: int, *, batch_size: int = 256) -> Evaluation:
    """Turn a utility into an `Evaluation`, which gives the utilities of many masks and the shape of one utility.

    Args:
        utility: from a mask (players,) to a scalar or a vector of objectives, written in JAX; or an `evaluator`.
        players: how many, n.
        batch_size: how many coalitions a utility written in JAX evaluates at a time. An evaluator uses its own
            `batch_size`.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: if the utility cannot be traced, returns anything but a number or a vector of numbers, or is an
            evaluator of another number of players.

    Example:
        >>> sizes = as_evaluation(lambda coalition: coalition.sum(), 2)
        >>> sizes.many(jnp.array([[True, False], [True, True]])).tolist(), sizes.objectives()
        ([1.0, 2.0], ())
    """
    batch_size = _checks.check_size("batch_size", batch_size)
    as_evaluation: Any = getattr(utility, "as_evaluation", None)
    if as_evaluation is None:
        return _Plain(utility, players, batch_size)
    if utility.players != players:  # type: ignore[attr-defined]
        raise BadArgument("utility", expected=f"an evaluator of {players} players", got=f"one of {utility.players}")  # type: ignore[attr-defined]
    return as_evaluation()


def evaluate_coalitions(
    utility: Utility, coalitions: Coalitions, *, batch_size: int = 256
) -> Num[Array, "coalitions *objectives"]:
    """The utility of each coalition, `batch_size` of them at a time.

    A utility is written for one mask, and this function vectorises it. The last batch is filled up, so that every
    batch has the same shape and a value does not depend on its neighbours.

    Args:
        utility: from a mask (n,) to a scalar or a vector of objectives, written in JAX; or an `evaluator`.
        coalitions: (coalitions, n) masks.
        batch_size: how many at a time; memory grows with it. An evaluator uses its own `batch_size`.

    Returns:
        (coalitions, *objectives) utilities.

    Raises:
        ValueError: if the masks are not (coalitions, n) booleans, the utility cannot be traced, returns anything but
            a number or a vector of numbers, or a number that is not finite.

    Example:
        >>> evaluate_coalitions(lambda coalition: coalition.sum(), [[True, False], [True, True]]).tolist()
        [1.0, 2.0]
    """
    masks = check_coalitions(coalitions)
    if masks.ndim != 2 or 0 in masks.shape:
        raise BadArgument("coalitions", expected="(coalitions, players) masks", got=f"shape {masks.shape}")
    of_many = as_evaluation(utility, masks.shape[1], batch_size=batch_size)
    if not of_many.traceable:
        return of_many.many(masks)
    run = compiled(of_many.many, (of_many.identity, "evaluate_coalitions"))
    return check_utilities(run(masks), lambda row: np.asarray(masks)[row])


def tabulate(utility: Utility, players: int, *, batch_size: int = 256) -> Num[Array, "coalitions *objectives"]:
    """The utilities of all 2^n coalitions, `batch_size` of them at a time; row k is coalition k.

    Besides the table, memory holds one batch: no more than `batch_size` masks exist at a time.

    Args:
        utility: from a mask (n,) to a scalar or a vector of objectives, written in JAX; or an `evaluator`.
        players: how many, n.
        batch_size: how many at a time. An evaluator uses its own `batch_size`.

    Returns:
        (2^n, *objectives) utilities.

    Raises:
        ValueError: if the table cannot fit (before anything is allocated), the utility cannot be traced, returns
            anything but a number or a vector of numbers, or a number that is not finite.

    Example:
        >>> tabulate(lambda coalition: coalition.sum(), 2).tolist()
        [0.0, 1.0, 1.0, 2.0]
    """
    players = check_players(players)
    check_fits(players, row_bytes=4)
    rows = 2**players
    of_many = as_evaluation(utility, players, batch_size=batch_size)

    def of_indices(index: Any) -> Array:
        return of_many.many(index_coalition(jnp.asarray(index), players))

    if not of_many.traceable:
        return jnp.asarray(each_chunk(of_indices, rows, min(HOST_CHUNK, rows)))
    check_fits(players, row_bytes=int(np.prod(of_many.objectives())) * jnp.zeros(0).dtype.itemsize)
    run = compiled(lambda: map_chunks(of_indices, rows, batch_size), (of_many.identity, "tabulate"))
    return check_utilities(run(), lambda row: np.asarray(index_coalition(row, players)))


PROGRAMS: OrderedDict[Hashable, Callable[..., Any]] = OrderedDict()


def compiled(function: Callable[..., Any], identity: tuple[Hashable, ...]) -> Callable[..., Any]:
    """`jax.jit(function)`, and the same object again for the same identity, so that nothing is compiled twice.

    If a part of the identity is None, the identity is unknown and nothing is kept. Only the programs of
    the `MOST_PROGRAMS` identities used last are kept.
    """
    if None in identity:
        return jax.jit(function)
    program = PROGRAMS.pop(identity, None) or jax.jit(function)
    PROGRAMS[identity] = program
    if len(PROGRAMS) > MOST_PROGRAMS:
        PROGRAMS.popitem(last=False)
    return program


def identity_of(*parts: Any) -> Hashable:
    """A fingerprint of all that a compiled program depends on; None if it cannot be told, as for a traced array."""
    try:
        return fingerprint(*parts)
    except ValueError:
        return None


def checked_utility(utility: Utility, players: int) -> Utility:
    """Check what a utility returns; the result is the utility as a function to a floating-point scalar or vector."""
    if not callable(utility):
        raise BadArgument("utility", expected="a function of a mask", got=type(utility).__name__)
    players = _checks.check_size("players", players)

    def returned(coalition: Array) -> Any:
        value = utility(coalition)
        if isinstance(value, int) and not -(2**31) <= value < 2**31:  # JAX takes whole numbers of 32 bits
            value = _checks.check_finite("utility", value, "finite numbers", least=-np.inf)
        return value

    def call(coalition: Array) -> Array:
        value = jnp.asarray(returned(coalition))
        return value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(float)

    try:
        mask = jax.ShapeDtypeStruct((players,), bool)
        result = jax.eval_shape(lambda mask: _checks.check_result("utility", returned(mask), OBJECTIVES), mask)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        raise BadArgument(
            "utility",
            expected="a function that JAX can trace",
            got="one that needs the values of its mask",
            advice=(
                "pass coalitions.evaluator(utility, players, traced=False), which calls it with NumPy masks, each once"
            ),
        ) from error
    leaves = jax.tree.leaves(result)
    if len(leaves) != 1 or leaves[0] is not result or result.ndim > 1 or 0 in result.shape:
        got = [leaf.shape for leaf in leaves]
        raise BadArgument("utility", expected=OBJECTIVES, got=f"shape {got[0] if got else None}")
    if not (jnp.issubdtype(result.dtype, jnp.floating) or result.dtype.kind in "biu"):
        raise BadArgument("utility", expected="real numbers", got=f"dtype {result.dtype}")
    return call


def check_utilities(values: Array, coalition: Any) -> Array:
    """Check that all utilities are finite. The error names the members of the first coalition whose utility is not."""
    if _checks.concrete(values):
        finite = np.isfinite(values)
        if not finite.all():
            row = int(np.argwhere(~finite)[0, 0])
            members = np.flatnonzero(coalition(row)).tolist()
            raise BadArgument(
                "utility", expected="finite numbers", got=f"{np.asarray(values[row])} for coalition {members}"
            )
    return values
