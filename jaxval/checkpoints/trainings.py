"""Checkpoints of a training: an Orbax folder, and a file beside them that describes the training."""

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxval import _checks
from jaxval.checkpoints.files import claim_folder, write_whole
from jaxval.types import BadArgument

if TYPE_CHECKING:  # Orbax takes as long to load as JAX, so only the functions that need it load it
    import orbax.checkpoint as ocp

__all__ = ["Checkpoints", "open_checkpoints"]

NOTE = "training.json"


@contextmanager
def _without_log() -> Iterator[None]:
    """Orbax logs the traceback of an error that it raises too, and warnings of damaged files; we tell the error."""
    log = logging.getLogger("absl")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


class Checkpoints:
    """The checkpoints of one training in one folder, which `open_checkpoints` opens for reading and writing."""

    def __init__(self, folder: Path, manager: "ocp.CheckpointManager") -> None:
        self._folder, self._manager = folder, manager

    @_without_log()
    def latest(self, like: Any) -> tuple[int, Any] | None:
        """The step and the state of the newest checkpoint, or None if there is none.

        Args:
            like: a state with the structure, the shapes and the types of the saved one.

        Raises:
            ValueError: if the checkpoint has another structure, shape or type, is cut off, or was changed.
        """
        import orbax.checkpoint as ocp

        step = self._manager.latest_step()
        if step is None:
            return None
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype), like)
        try:
            state = self._manager.restore(step, args=ocp.args.StandardRestore(shapes))
        except Exception as error:  # Orbax and its storage raise many kinds
            raise BadArgument(
                "checkpoints",
                expected=f"a whole checkpoint of this training in {self._folder / str(step)}",
                got=f"a checkpoint that is of another shape or is cut off ({_first_line(error)})",
                advice="delete that folder to continue from the checkpoint before it",
            ) from error
        for result, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(shapes), strict=True):
            if result.shape != wanted.shape or result.dtype != wanted.dtype:
                raise BadArgument(
                    "checkpoints",
                    expected=f"arrays of shape {wanted.shape} and {wanted.dtype} in {self._folder / str(step)}",
                    got=f"{result.shape} and {result.dtype}",
                )
        digest = self._digest_of(step)
        # Orbax does not see a changed byte; checkpoints of earlier versions have no digest.
        if digest.exists() and digest.read_bytes().strip() != _digest(state):
            raise BadArgument(
                "checkpoints",
                expected=f"the numbers that were saved in {self._folder / str(step)}",
                got=f"numbers of another checksum than {digest.name} records",
                advice="delete that folder to continue from the checkpoint before it",
            )
        return step, state

    def save(self, step: int, state: Any) -> None:
        """Write a checkpoint, whole or not at all.

        Args:
            step: the number of steps that are done.
            state: a pytree of arrays.

        Raises:
            OSError: if it cannot be written, as on a full disk; the error names its folder.
        """
        import orbax.checkpoint as ocp

        write_whole(self._digest_of(step), _digest(state).decode() + "\n")
        try:
            with _without_log():
                self._manager.save(step, args=ocp.args.StandardSave(state))
                self._manager.wait_until_finished()
        except Exception as error:  # the storage below Orbax tells of a full disk by a ValueError
            said = re.search(r"os_error_code='(\d+)'", str(error))
            place, code = str(self._folder / str(step)), int(said[1]) if said else getattr(error, "errno", None)
            if code is None:
                raise OSError(f"{place}: the checkpoint was not written ({_first_line(error)})") from error
            raise OSError(code, os.strerror(code), place) from error
        kept = {self._digest_of(step) for step in self._manager.all_steps()}
        for path in set(self._folder.glob("*.sha256")) - kept:
            path.unlink(missing_ok=True)

    def _digest_of(self, step: int) -> Path:
        return self._folder / f"{step}.sha256"


@contextmanager
def open_checkpoints(folder: str | Path, what: Mapping[str, Any], *, keep: int = 2) -> Iterator[Checkpoints]:
    """The checkpoints of one training in one folder.

    Args:
        folder: the folder; it is made if it is missing.
        what: words and numbers that describe the training. They are saved with the checkpoints, and a training with
            another description cannot continue from these checkpoints.
        keep: how many of the newest checkpoints are kept.

    Returns:
        A context that gives `Checkpoints`.

    Raises:
        ValueError: if the folder holds another training's checkpoints; the message says how the two differ.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, open_checkpoints(folder, {"steps": 3}) as checkpoints:
        ...     checkpoints.save(1, {"weight": np.ones(2)})
        ...     step, state = checkpoints.latest({"weight": np.zeros(2)})
        >>> step, np.asarray(state["weight"]).tolist()
        (1, [1.0, 1.0])
    """
    keep = _checks.check_size("keep", keep)
    folder = claim_folder(folder, what, note=NOTE, name="checkpoints")
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=False)
    with _without_log():
        opened = ocp.CheckpointManager(folder, options=options)
    with opened as manager:
        yield Checkpoints(folder, manager)


def _digest(state: Any) -> bytes:
    """A checksum of the state's arrays, which changes with each of their bytes."""
    total = hashlib.sha256()
    for leaf in jax.tree.leaves(state):
        total.update(np.ascontiguousarray(leaf).tobytes())
    return total.hexdigest().encode()


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
