"""Utilities evaluated where there are machines, each coalition once, and kept.

An `Evaluator` goes wherever a utility goes: to `coalitions.tabulate` and `evaluate`, and to every `values.*` that takes
a utility. Vectorising, chunking, sharding, storing are its business; utilities and estimators know nothing of it.
"""

import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Num

from jaxval import _checks
from jaxval.checkpoints import Store, Stored, fingerprint
from jaxval.checkpoints.store import pack_masks, unpack_mask
from jaxval.coalitions.masks import check_coalitions, check_utilities, checked_utility
from jaxval.parallel import over_mesh, progress, run_all
from jaxval.parallel.executors import check_timeout
from jaxval.types import Coalitions, Utility

__all__ = ["Evaluator", "evaluator"]


def evaluator(
    utility: Utility,
    players: int,
    *,
    batch_size: int = 1024,
    store: Store | str | Path | None = None,
    executor: Executor | None = None,
    mesh: Mesh | None = None,
    timeout: float | None = None,
    host: bool = False,
    progress: bool = False,
) -> "Evaluator":
    """A utility that evaluates many coalitions at a time, on any devices or executor, and remembers them.

    A utility written in JAX runs under `vmap` in chunks of one shape, over a mesh of devices where there is one. A
    function of the host (one that trains a model for each coalition, say) takes one mask as a NumPy array and runs on
    an executor, or in this process with `host=True`. Host functions, and any utility with a store, are never evaluated
    twice for the same coalition; with a store, not even by the next run: what has finished is on the disk.

    Args:
        utility: from a mask (players,) to a number or a vector of objectives.
        players: how many.
        batch_size: coalitions in a chunk; rounded up to a multiple of the mesh's devices.
        store: `checkpoints.Store(path, fingerprint=...)`; or a path, and the fingerprint is that of the utility's
            source and of what it closes over.
        executor: any of `concurrent.futures` for a host function: `parallel.ProcessPool()`, the standard library's
            pools, Dask's `client.get_executor()`.
        mesh: `parallel.mesh()`, for a utility written in JAX.
        timeout: seconds for each evaluation of a host function; the executor must be able to stop a worker, as
            `parallel.ProcessPool` is.
        host: whether the utility is a function of the host, where there is no executor to tell.
        progress: whether a bar with the time left goes to standard error.

    Returns:
        An `Evaluator`.

    Raises:
        ValueError: where options do not fit together, the store belongs to another run, or the utility is no function.

    Example:
        >>> from jaxval import coalitions, values
        >>> calls = []
        >>> def train(mask):
        ...     calls.append(mask.tolist())
        ...     return float(mask.sum()) ** 2
        >>> trained = evaluator(train, 3, host=True)
        >>> values.shapley(coalitions.tabulate(trained, 3)).tolist()
        [3.0, 3.0, 3.0]
        >>> estimate = values.sample_shapley(jax.random.key(0), trained, 3, permutations=10)
        >>> estimate.values.tolist(), len(calls)
        ([3.0, 3.0, 3.0], 8)
    """
    players = _checks.check_size("players", players)
    batch_size = _checks.check_size("batch_size", batch_size)
    if not callable(utility):
        raise ValueError(f"utility: expected a function of a mask; got {type(utility).__name__}")
    host = host or executor is not None
    check_timeout(timeout, executor)
    if host and mesh is not None:
        raise ValueError("mesh: expected a utility written in JAX; got an executor or host=True; pass one of the two")
    if isinstance(executor, ProcessPoolExecutor):
        try:
            pickle.dumps(utility)
        except Exception as error:
            raise ValueError(
                f"utility: expected one that other processes can import, written at the top of a module; got {error}"
            ) from error
    if not host:
        checked_utility(utility, players)
    if store is not None and jax.process_count() > 1:
        raise ValueError(
            f"store: expected one process of JAX; got {jax.process_count()}; they evaluate together, so each would "
            "need the same store; for host functions on many machines pass an executor"
        )
    if isinstance(store, str | Path):
        store = Store(store, fingerprint=fingerprint(utility, players))
    if store is None and host:
        store = Store()
    return Evaluator(utility, players, batch_size, store, executor, mesh, timeout, host, progress)


class Evaluator:
    """What `evaluator` makes: a utility of one mask, and of many.

    Attributes:
        players: how many.
        hosted: whether it must be called from the host: it runs host functions, has a store, or a mesh. Where it is
            not, it may be called under `jit` and `vmap` like the utility itself.
        evaluations: how many evaluations were made by this object; what a store knew is not counted.
    """

    def __init__(
        self, utility: Utility, players: int, batch_size: int, store: Store | None, executor: Executor | None,
        mesh: Mesh | None, timeout: float | None, host: bool, shown: bool,
    ) -> None:  # fmt: skip
        self.players, self.evaluations = players, 0
        self.hosted = host or store is not None or mesh is not None
        self._utility, self._store, self._executor = utility, store, executor
        self._timeout, self._host, self._shown = timeout, host, shown
        devices = 1 if mesh is None else mesh.size
        self._batch_size = -(-batch_size // devices) * devices
        self._run = None if host else over_mesh(jax.vmap(checked_utility(utility, players)), mesh)

    def __call__(self, coalition: Any) -> Any:
        """The utility of one coalition, a mask (players,)."""
        if not self.hosted:
            return self._utility(coalition)
        if isinstance(coalition, jax.core.Tracer):
            raise ValueError(
                "utility: expected known masks; got a tracer; an evaluator with a host function, a store or a mesh is "
                "called from the host: pass it to coalitions.tabulate, evaluate or values.*, or call .many(masks)"
            )
        return self.many(np.asarray(coalition)[None])[0]

    def many(self, coalitions: Coalitions) -> Num[Array, "coalitions *objectives"]:
        """The utilities of many coalitions.

        Args:
            coalitions: (rows, players) masks, repeated ones among them.

        Returns:
            (rows, *objectives) utilities.

        Raises:
            ValueError: where masks are of another shape, or an evaluation failed or was not finite: the others are
                finished and kept first; the message names the first coalition that failed by its members.
        """
        masks = np.asarray(check_coalitions(coalitions))
        if masks.ndim != 2 or masks.shape[1] != self.players or not len(masks):
            raise ValueError(f"coalitions: expected (rows, {self.players}) masks; got shape {masks.shape}")
        if self._store is None:
            return check_utilities(jnp.asarray(self._in_chunks(masks)), lambda row: masks[row])
        return self._with_store(masks, self._store)

    def objectives(self) -> tuple[int, ...]:
        """The shape of a utility, () or (objectives,); a host function is called for the empty coalition to tell."""
        if not self._host:
            return jax.eval_shape(self._utility, jax.ShapeDtypeStruct((self.players,), bool)).shape
        if self._store is not None and self._store.objectives is not None:
            return self._store.objectives
        return np.shape(self.many(np.zeros((1, self.players), bool))[0])

    def _with_store(self, masks: np.ndarray, store: Store) -> Array:
        keys = pack_masks(masks)
        if store.players not in (None, self.players):
            raise ValueError(f"store: expected {self.players} players; got a store of {store.players}")
        known = store.find(dict.fromkeys(keys))
        missing = [key for key in dict.fromkeys(keys) if key not in known]
        with progress(self._shown and bool(missing), len(missing), "coalitions") as advance:
            for finished in (self._by_host if self._host else self._by_chunk)(missing):
                store.record(finished, players=self.players)
                self.evaluations += len(finished)
                advance(len(finished))
        known |= store.find(missing)
        failed = [(key, known[key].error) for key in dict.fromkeys(keys) if known[key].error is not None]
        if failed:
            members = np.flatnonzero(unpack_mask(failed[0][0], self.players)).tolist()
            kept = "" if store.path is None else f" in {store.path}"
            raise ValueError(
                f"utility: expected finite numbers; got {failed[0][1]} for coalition {members}"
                f"{f' and {len(failed) - 1} more failed' if len(failed) > 1 else ''}; the others are kept{kept}; "
                "store.forget_failures() lets the failed ones be tried again"
            )
        return jnp.asarray(np.stack([_value(known[key]) for key in keys]), dtype=float)

    def _by_host(self, keys: Sequence[bytes]) -> Any:
        """One finished evaluation after another, in the order in which they come."""
        masks = {key: unpack_mask(key, self.players) for key in keys}
        call = _OfKey(self._utility, self.players)
        for outcome in run_all(call, masks, executor=self._executor, timeout=self._timeout):
            yield {outcome.item: outcome.error or _number_or_reason(outcome.value, self._store)}

    def _by_chunk(self, keys: Sequence[bytes]) -> Any:
        for start in range(0, len(keys), self._batch_size):
            some = keys[start : start + self._batch_size]
            found = self._in_chunks(np.stack([unpack_mask(key, self.players) for key in some]))
            yield {key: _number_or_reason(value, self._store) for key, value in zip(some, found, strict=True)}

    def _in_chunks(self, masks: np.ndarray) -> np.ndarray:
        """Chunks of one shape, the last filled up with its last row: a value does not depend on its neighbours.

        It may depend on its place in the chunk by rounding, so the chunks of a resumed run are those that were missing.
        """
        assert self._run is not None
        size = self._batch_size
        filled = masks[np.minimum(np.arange(-(-len(masks) // size) * size), len(masks) - 1)]
        parts = []
        with progress(self._shown and self._store is None, len(masks), "coalitions") as advance:
            for start in range(0, len(filled), size):
                parts.append(np.asarray(self._run(filled[start : start + size])))
                self.evaluations += min(size, len(masks) - start) if self._store is None else 0
                advance(min(size, len(masks) - start))
        return np.concatenate(parts)[: len(masks)]


class _OfKey:
    """A host function of a packed mask: small to send to a worker."""

    def __init__(self, utility: Callable[[np.ndarray], Any], players: int) -> None:
        self.utility, self.players = utility, players

    def __call__(self, key: bytes) -> np.ndarray:
        return np.asarray(self.utility(unpack_mask(key, self.players)))


def _number_or_reason(value: Any, store: Store | None) -> Any:
    """A finite number or vector in float64, or the reason why it is none."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.ndim > 1 or array.size == 0:
        return f"{array.dtype} of shape {array.shape}, not a number or a vector of objectives"
    if store is not None and store.objectives not in (None, array.shape):
        return f"shape {array.shape} where others have {store.objectives}"
    array = array.astype(np.float64)
    return array if np.isfinite(array).all() else f"{array}"


def _value(stored: Stored) -> np.ndarray:
    assert stored.value is not None
    return stored.value
