"""Utilities evaluated on any device, process or executor, each coalition once, and remembered.

An `Evaluator` goes wherever a utility goes: to `coalitions.tabulate` and `evaluate_coalitions`, and to every `values.*`
that takes a utility. It vectorises, chunks, shards and stores; utilities and estimators do none of this.
"""

import contextlib
import pickle
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Num

from jaxval import _checks
from jaxval.checkpoints import Store, fingerprint
from jaxval.checkpoints.store import Stored, pack_masks, unpack_mask
from jaxval.coalitions.evaluation import Evaluation, as_evaluation, check_utilities, checked_utility
from jaxval.coalitions.masks import check_coalitions
from jaxval.parallel import progress
from jaxval.parallel.chunks import each_chunk
from jaxval.parallel.executors import check_timeout, run_all
from jaxval.parallel.meshes import over_mesh
from jaxval.types import BadArgument, Coalitions, Utility

__all__ = ["Evaluator", "evaluator"]

Walk = Generator[np.ndarray, np.ndarray, None]
WALKS = "generators that yield masks"
TOGETHER = 0.1  # seconds for which finished evaluations are gathered, to be recorded in one transaction


def evaluator(
    utility: Utility,
    players: int,
    *,
    batch_size: int = 1024,
    store: Store | str | Path | None = None,
    executor: Executor | None = None,
    mesh: Mesh | None = None,
    timeout: float | None = None,
    traced: bool = True,
    keep_going: bool = False,
    progress: bool = False,
) -> "Evaluator":
    """A utility that evaluates many coalitions at a time, on any devices or executor, and remembers them.

    A utility written in JAX runs under `vmap` in chunks of one shape, over a mesh of devices if there is one. A
    function that JAX cannot trace (one that trains a model for each coalition, say) takes one mask as a NumPy array and
    runs on an executor, or in this process with `traced=False`. Such a function, and any utility with a store, is never
    evaluated twice for the same coalition. A store keeps finished evaluations on the disk for the next run too. What an
    executor finishes is on the disk within half a second, and what is evaluated in this process at once. A new
    evaluator, as in the next run, tries again what failed.

    Args:
        utility: from a mask (players,) to a number or a vector of objectives.
        players: how many.
        batch_size: coalitions in a chunk; rounded up to a multiple of the mesh's devices.
        store: `checkpoints.Store(path, fingerprint=...)`; or a path. The fingerprint is then
            `checkpoints.fingerprint` of the utility: of its code and of everything that the code reads.
        executor: any of `concurrent.futures`, for a function of NumPy masks: `parallel.ProcessPool()`, the standard
            library's pools, Dask's `client.get_executor()`.
        mesh: `parallel.mesh()`, for a utility written in JAX.
        timeout: seconds for each evaluation on an executor, which must be able to stop a worker, as
            `parallel.ProcessPool` is.
        traced: whether JAX traces the utility; False for a function of NumPy masks. An executor implies False, and so
            does a utility whose attribute `traceable` is False, such as `values.model_utility` makes.
        keep_going: whether the other coalitions are evaluated before the first failure is reported. By default a
            failure is reported at once.
        progress: whether a bar with the time left goes to standard error.

    Returns:
        An `Evaluator`.

    Raises:
        ValueError: if options do not fit together, the store belongs to another run, the utility is no function, or a
            store is given as a path and the utility reads an object whose content cannot be fingerprinted.

    Example:
        >>> from jaxval import coalitions, values
        >>> calls = []
        >>> def train(mask):
        ...     calls.append(mask.tolist())
        ...     return float(mask.sum()) ** 2
        >>> trained = evaluator(train, 3, traced=False)
        >>> values.shapley(coalitions.tabulate(trained, 3)).tolist()
        [3.0, 3.0, 3.0]
        >>> estimate = values.sample_shapley(jax.random.key(0), trained, 3, permutations=10)
        >>> estimate.values.tolist(), len(calls)
        ([3.0, 3.0, 3.0], 8)
    """
    players = _checks.check_size("players", players)
    batch_size = _checks.check_size("batch_size", batch_size)
    if not callable(utility):
        raise BadArgument("utility", expected="a function of a mask", got=type(utility).__name__)
    for name, flag in (("traced", traced), ("keep_going", keep_going)):
        _checks.check_flag(name, flag)
    traced = traced and executor is None and getattr(utility, "traceable", True)
    check_timeout(timeout, executor)
    if not traced and mesh is not None:
        raise BadArgument(
            "mesh", expected="a utility written in JAX", got="an executor or traced=False", advice="pass one of the two"
        )
    if isinstance(executor, ProcessPoolExecutor):
        try:
            pickle.dumps(utility)
        except Exception as error:
            raise BadArgument(
                "utility", expected="one that other processes can import, written at the top of a module", got=error
            ) from error
    if traced:
        checked_utility(utility, players)
    if store is not None and jax.process_count() > 1:
        raise BadArgument(
            "store",
            expected="one process of JAX",
            got=jax.process_count(),
            advice="they evaluate together, so each would need the same store; on many machines pass an executor",
        )
    if isinstance(store, str | Path):
        store = Store(store, fingerprint=_fingerprint(utility, players))
    if not isinstance(store, Store | None):
        raise BadArgument("store", expected="a checkpoints.Store, or a path", got=f"{store!r:.80}")
    if store is None and not traced:
        store = Store()
    if store is not None:  # what failed may have had a cause that is gone: a full disk, or a machine that was busy
        store.forget_failures()
    return Evaluator(utility, players, batch_size, store, executor, mesh, timeout, traced, keep_going, progress)


def _fingerprint(utility: Utility, players: int) -> str:
    try:
        return fingerprint(utility, players)
    except BadArgument as error:
        raise BadArgument(
            "store",
            expected="a utility whose content tells which values are its own, if the store is a path",
            got=error.got,
            advice="pass store=checkpoints.Store(path, fingerprint=...) with a string that changes with the utility, "
            "its data and its seed",
        ) from error


class Evaluator:
    """What `evaluator` makes: a utility of one mask, and of many.

    Attributes:
        players: how many.
        traceable: whether it may be called under `jit` and `vmap` like the utility itself. It may not if it has a
            store, a mesh, an executor or a progress bar, or if JAX cannot trace the utility.
        computed: how many utilities this object computed; those read from a store are not counted.
    """

    def __init__(
        self,
        utility: Utility,
        players: int,
        batch_size: int,
        store: Store | None,
        executor: Executor | None,
        mesh: Mesh | None,
        timeout: float | None,
        traced: bool,
        keep_going: bool,
        shown: bool,
    ) -> None:
        self.players, self.computed = players, 0
        self.traceable = traced and store is None and mesh is None and not shown and not keep_going
        self._utility, self._store, self._executor = utility, store, executor
        self._timeout, self._traced, self._keep_going, self._shown = timeout, traced, keep_going, shown
        devices = 1 if mesh is None else mesh.size
        self._batch_size = -(-batch_size // devices) * devices
        self._run = over_mesh(jax.vmap(checked_utility(utility, players)), mesh) if traced else None

    def __call__(self, coalition: Any) -> Any:
        """The utility of one coalition, a mask (players,)."""
        if self.traceable:
            return self._utility(coalition)
        if isinstance(coalition, jax.core.Tracer):
            raise BadArgument(
                "utility",
                expected="known masks",
                got="a tracer",
                advice=(
                    "an evaluator with a store, a mesh, a bar, or a function of NumPy masks is not traced: pass "
                    "it to coalitions.tabulate, evaluate_coalitions or values.*, or call .many"
                ),
            )
        mask = _checks.real_array("coalition", coalition, f"a mask of {self.players} players")
        return self.many(mask[None])[0]

    def many(self, coalitions: Coalitions) -> Num[Array, "coalitions *objectives"]:
        """The utilities of many coalitions.

        Args:
            coalitions: (rows, players) masks, repeated ones among them.

        Returns:
            (rows, *objectives) utilities.

        Raises:
            ValueError: if masks are of another shape, or an evaluation fails or is not finite. The message names the
                coalition by its members; the exception of the utility is the cause. What has finished is kept. With
                `keep_going` the others are evaluated first, and the message tells how many failed.
        """
        masks = np.asarray(check_coalitions(coalitions))
        if masks.ndim != 2 or masks.shape[1] != self.players or not len(masks):
            raise BadArgument("coalitions", expected=f"(rows, {self.players}) masks", got=f"shape {masks.shape}")
        if self._store is None:
            return check_utilities(jnp.asarray(self._in_chunks(masks)), lambda row: masks[row])
        return self._with_store(masks, self._store)

    def objectives(self) -> tuple[int, ...]:
        """The shape of a utility, () or (objectives,); a function of NumPy masks is called for the empty coalition."""
        if self._traced:
            return jax.eval_shape(self._utility, jax.ShapeDtypeStruct((self.players,), bool)).shape
        if self._store is not None and self._store.objectives is not None:
            return self._store.objectives
        return np.shape(self.many(np.zeros((1, self.players), bool))[0])

    def as_evaluation(self) -> Evaluation:
        """Itself: it fulfils the contract of `coalitions.evaluation`."""
        return as_evaluation(self._utility, self.players, batch_size=self._batch_size) if self.traceable else self

    @property
    def identity(self) -> None:
        """None: no compiled program contains it."""
        return None

    def forget_failures(self) -> int:
        """Forget the evaluations that failed, so that they are made again when next asked for; how many they were."""
        return 0 if self._store is None else self._store.forget_failures()

    def _with_store(self, masks: np.ndarray, store: Store) -> Array:
        keys = pack_masks(masks)
        if store.players not in (None, self.players):
            raise BadArgument("store", expected=f"{self.players} players", got=f"a store of {store.players}")
        distinct = list(dict.fromkeys(keys))
        known = store.find(distinct)
        before = [key for key in distinct if key in known and known[key].error is not None]
        failed = {key: f"{known[key].error} (in an earlier call)" for key in before}
        if failed and not self._keep_going:
            raise self._failure(failed, store, None)
        missing = [key for key in distinct if key not in known]
        self._evaluate(deque(missing), store, failed)
        known |= store.find(missing)
        return jnp.asarray(np.stack([_value(known[key]) for key in keys]), dtype=float)

    def walk_ahead(self, walks: Iterable[Walk]) -> None:
        """Evaluate the coalitions that several walks ask for, while no walk waits for another.

        A later call of `many` finds the utilities in the store. Without an executor nothing is done, because coalitions
        are then evaluated one after another in any case.

        Args:
            walks: generators that yield the mask (players,) of a coalition, are sent its utility, a NumPy array in
                float64, and decide with it which mask to yield next, if any.

        Raises:
            ValueError: if an evaluation fails, as in `many`.
        """
        walks = _checks.check_items("walks", walks, WALKS)
        for walk in walks:
            if not isinstance(walk, Generator):
                raise BadArgument("walks", expected=WALKS, got=f"{walk!r:.80} among them")
        store = self._store
        if self._executor is None or store is None:
            return
        missing: deque[bytes] = deque()
        waiting: dict[bytes, list[Walk]] = {}
        known: dict[bytes, Any] = {}  # utilities, and reasons of failures

        def go_on(walk: Walk, utility: Any = None) -> None:
            while not isinstance(utility, str):  # `many` tells of a failure in an earlier call
                try:
                    (key,) = pack_masks(walk.send(utility)[None])
                except StopIteration:
                    return
                if key not in known:
                    known.update({key: stored.error or stored.value for key, stored in store.find([key]).items()})
                if key not in known:
                    if key not in waiting:
                        missing.append(key)
                    waiting.setdefault(key, []).append(walk)
                    return
                utility = known[key]

        def then(key: bytes, utility: Any) -> None:
            known[key] = utility
            for walk in waiting.pop(key):
                go_on(walk, utility)

        for walk in walks:
            go_on(walk)
        self._evaluate(missing, store, {}, then)

    def _evaluate(
        self, missing: deque[bytes], store: Store, failed: dict[bytes, str], then: Callable[..., None] | None = None
    ) -> None:
        """Evaluate and record until nothing is missing; `then` gets each key and its utility, and may add keys."""
        causes: dict[bytes, BaseException] = {}
        finished: dict[bytes, Any] = {}  # and not recorded yet
        shape, since, total = store.objectives, 0.0, len(missing) if then is None else None
        with (
            progress(self._shown and bool(missing), total, "coalitions") as advance,
            contextlib.closing((self._by_chunk if self._traced else self._by_item)(missing, causes)) as evaluations,
        ):
            try:
                for some in evaluations:
                    since = since if finished else time.monotonic()
                    for key, result in some.items():
                        finished[key] = utility = _number_or_reason(result, shape)
                        if isinstance(utility, str):
                            failed[key] = utility
                        else:
                            shape = utility.shape
                        if then is not None:
                            then(key, utility)
                    self.computed += len(some)
                    advance(len(some))
                    if failed and not self._keep_going:  # what runs is given up, what waits is taken back
                        break
                    if finished and (not some or time.monotonic() > since + TOGETHER):
                        store.record(finished, players=self.players)
                        finished = {}
            except KeyboardInterrupt as stop:
                if store.path is not None:
                    stop.add_note(f"What is finished is kept in {store.path}: the same call goes on after it.")
                raise
            finally:
                if finished:
                    store.record(finished, players=self.players)
        if failed:
            first = next(iter(causes or failed))
            cause = causes.get(first)
            raise self._failure({first: failed[first]} | failed, store, cause) from cause

    def _failure(self, failed: dict[bytes, str], store: Store, cause: BaseException | None) -> ValueError:
        """The error that names the first of the coalitions that failed."""
        key, reason = next(iter(failed.items()))
        members = np.flatnonzero(unpack_mask(key, self.players)).tolist()
        more = f" and {len(failed) - 1} more failed" if len(failed) > 1 else ""
        going = "" if self._keep_going else "; keep_going=True evaluates the other coalitions before it tells"
        return BadArgument(
            "utility",
            expected="finite numbers" if cause is None else "a number for every coalition",
            got=f"{reason} for coalition {members}{more}",
            advice=(
                f"the others are kept{'' if store.path is None else f' in {store.path}'}; "
                f"what failed is tried again by a new evaluator, or after evaluator.forget_failures(){going}"
            ),
        )

    def _by_item(self, keys: deque[bytes], causes: dict[bytes, BaseException]) -> Any:
        """One finished evaluation after another, in the order in which they come, and the reason of each failure.

        An empty dictionary comes whenever it may take long until the next evaluation finishes.
        """
        call = _OfKey(self._utility, self.players)
        for outcome in run_all(call, keys, executor=self._executor, timeout=self._timeout):
            if outcome is not None and outcome.cause is not None and not causes:
                causes[outcome.item] = outcome.cause
            yield {} if outcome is None else {outcome.item: outcome.error or outcome.value}

    def _by_chunk(self, keys: Iterable[bytes], _: dict[bytes, BaseException]) -> Any:
        keys = list(keys)
        for start in range(0, len(keys), self._batch_size):
            some = keys[start : start + self._batch_size]
            result = self._in_chunks(np.stack([unpack_mask(key, self.players) for key in some]))
            yield dict(zip(some, result, strict=True))
            yield {}

    def _in_chunks(self, masks: np.ndarray) -> np.ndarray:
        """Chunks of one shape, the last filled up with its last row: a value does not depend on its neighbours.

        It may depend on its place in the chunk by rounding, so the chunks of a resumed run are those that were missing.
        """
        run, alone = self._run, self._store is None
        assert run is not None

        def of_rows(rows: np.ndarray) -> Any:
            result = np.asarray(run(masks[rows]))
            if alone and not self._keep_going and not np.isfinite(result).all():
                check_utilities(jnp.asarray(result), lambda row: masks[rows[row]])
            return result

        with progress(self._shown and alone, len(masks), "coalitions") as advance:

            def finished(rows: int) -> None:
                self.computed += rows if alone else 0
                advance(rows)

            return each_chunk(of_rows, len(masks), self._batch_size, advance=finished)


class _OfKey:
    """A function of a packed mask: small to send to a worker."""

    def __init__(self, utility: Callable[[np.ndarray], Any], players: int) -> None:
        self.utility, self.players = utility, players

    def __call__(self, key: bytes) -> Any:
        utility = np.asarray(self.utility(unpack_mask(key, self.players)))
        return float(utility) if utility.dtype.kind in "biuf" and utility.ndim == 0 else utility  # small to send back


def _number_or_reason(result: Any, shape: tuple[int, ...] | None) -> Any:
    """A finite number or vector in float64, of this shape if one is known, or the reason why it is none."""
    if isinstance(result, str):
        return result
    array = np.asarray(result)
    if array.dtype.kind not in "biuf" or array.ndim > 1 or array.size == 0:
        if array.dtype.kind in "US":
            return f"text, {str(result)!r:.60}"
        return f"{array.dtype} of shape {array.shape}, not a number or a vector of objectives"
    if shape not in (None, array.shape):
        return f"shape {array.shape}, but other coalitions have {shape}"
    array = array.astype(np.float64)
    return array if np.isfinite(array).all() else f"{array}"


def _value(stored: Stored) -> np.ndarray:
    assert stored.value is not None
    return stored.value
