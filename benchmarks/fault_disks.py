"""Broken disks: a full one, a read-only one, two runs in one folder, and files of which a byte was changed.

A full and a read-only disk are mounted, which takes the rights of root and Linux; without them they are left out.
"""

import collections
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.fault_kills import outcome, resumed_from
from benchmarks.fault_starts import End, Starter

__all__ = ["DISKS", "PAGES", "flipped_pages"]

PAGE = 4096


class Disk:
    """A small disk in memory, mounted on a folder; needs root."""

    def __init__(self, folder: Path, size: str) -> None:
        self.folder = folder
        folder.mkdir()
        self._do("mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder))

    def change(self, option: str) -> None:
        """Mount again with an option."""
        self._do("mount", "-o", f"remount,{option}", str(self.folder))

    def __enter__(self) -> "Disk":
        return self

    def __exit__(self, *_: Any) -> None:
        self._do("umount", str(self.folder))

    @staticmethod
    def _do(*words: str) -> None:
        subprocess.run(words, check=True, capture_output=True)


def full_disk(starter: Starter, words: tuple[str, ...], calm: Path, half: Path) -> str:
    """Room for half of what the run resumes from, then enough."""
    size = sum(path.stat().st_size for path in resumed_from(calm))
    with Disk(calm.with_name("full"), f"{max(8, size // 2048)}k") as disk:
        first = starter.run(words, disk.folder / "out")
        disk.change("size=2g")
        second = starter.run(words, disk.folder / "out")
        same = second.status == 0 and outcome(disk.folder / "out") == outcome(calm)
        told = _told(first, disk.folder)
    return f"{told}; with room {'the same' if same else f'DIFFERENT ({_short(second)})'}"


def read_only(starter: Starter, words: tuple[str, ...], calm: Path, half: Path) -> str:
    """A folder that cannot be written."""
    with Disk(calm.with_name("read-only"), "1m") as disk:
        disk.change("ro")
        return _told(starter.run(words, disk.folder / "out"), disk.folder)


def second_run(starter: Starter, words: tuple[str, ...], calm: Path, half: Path) -> str:
    """A second run in the folder of one that is running."""
    out = calm.with_name("twice")
    first = starter.start(words, out)
    while not (out.exists() and any(out.iterdir())) and not first.ended():
        time.sleep(0.02)
    second = starter.run(words, out)
    end = first.wait()
    assert end is not None
    same = end.status == 0 and outcome(out) == outcome(calm)
    return f"{_told(second, out)}; the first {'the same' if same else f'DIFFERENT ({_short(end)})'}"


def changed_byte(starter: Starter, words: tuple[str, ...], calm: Path, half: Path) -> str:
    """A byte in the middle of the largest file of each kind of a killed run is changed; then the run is resumed."""
    refused = harmless = 0
    for path in {path.suffix: path for path in resumed_from(half)}.values():
        changed = calm.with_name("changed")
        shutil.copytree(half, changed)
        copy = changed / path.relative_to(half)
        content = bytearray(copy.read_bytes())
        content[len(content) // 2] ^= 16
        copy.write_bytes(content)
        end = starter.run(words, changed)
        if end.status == 0 and outcome(changed) == outcome(calm):
            harmless += 1
        elif (told := _told(end, changed)) == "named":
            refused += 1
        else:
            return f"{path.relative_to(half)}: {'USED' if end.status == 0 else told}"
        shutil.rmtree(changed)
    return f"{refused} refused, {harmless} without influence"


DISKS = {"full disk": full_disk, "read-only": read_only, "second run": second_run, "changed byte": changed_byte}


def _told(end: End, folder: Path) -> str:
    """Whether the error was told in words that name the folder or a file in it, without a traceback."""
    if end.status == 2 and "Traceback" not in end.said and str(folder) in end.said:
        return "named"
    return f"NOT NAMED (status {end.status}: {_short(end)})"


def _short(end: End) -> str:
    return " ".join(end.said.split())[-200:]


class Kind(NamedTuple):
    """A kind of file: `make` writes it to a folder, and `read` gives what the library reads, to be compared."""

    make: Callable[[Path], Any]
    read: Callable[[Path], Any]


def flipped_pages(kind: Kind, rng: random.Random) -> dict[str, int]:
    """Change one byte in every page of every file of a kind, and count what its reader says.

    Returns:
        How often the reader refused and named the file or its folder ("named"), read the same as before
        ("the same"), raised an error that does not name it ("NOT NAMED"), or read something else ("USED"); and the
        number of pages.
    """
    counts: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as work:
        folder, copy = Path(work, "whole"), Path(work, "changed")
        folder.mkdir()
        kind.make(folder)
        whole = kind.read(folder)
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            content = path.read_bytes()
            for start in range(0, len(content), PAGE):
                shutil.copytree(folder, copy)
                changed = bytearray(content)
                changed[rng.randrange(start, min(start + PAGE, len(content)))] ^= 1 << rng.randrange(8)
                (copy / path.relative_to(folder)).write_bytes(changed)
                try:
                    counts["the same" if _equal(kind.read(copy), whole) else "USED"] += 1
                except (ValueError, OSError) as error:
                    counts["named" if str(copy) in str(error) else "NOT NAMED"] += 1
                counts["pages"] += 1
                shutil.rmtree(copy)
    return dict(counts)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping):
        return set(one) == set(other) and all(_equal(one[name], other[name]) for name in one)
    return np.array_equal(np.asarray(one), np.asarray(other))


NUMBERS = np.random.default_rng(0).normal(size=40_000)
STEPS = {"steps": 3}


def _make_store(folder: Path) -> None:
    from jaxval.checkpoints.store import Store, pack_masks

    masks = np.random.default_rng(0).permutation(2**14)[:4096, None] >> np.arange(14) & 1
    with Store(folder / "run.store", fingerprint="one") as store:
        store.record(dict(zip(pack_masks(masks), NUMBERS.reshape(-1, 4), strict=False)), players=14)


def _read_store(folder: Path) -> Any:
    from jaxval.checkpoints.store import Store

    with Store(folder / "run.store", fingerprint="one") as store:
        return {"players": store.players, **{key: found.value for key, found in store}}


def _state() -> dict[str, Any]:
    import jax

    return {"key": jax.random.key_data(jax.random.key(0)), "mean": NUMBERS, "drawn": np.array(7)}


def _make_state(folder: Path) -> None:
    from jaxval.checkpoints import save_state

    save_state(folder / "state.npz", _state())


def _read_state(folder: Path) -> Any:
    from jaxval.checkpoints import load_state

    return load_state(folder / "state.npz", _state())


def _make_checkpoint(folder: Path) -> None:
    from jaxval.checkpoints import open_checkpoints

    with open_checkpoints(folder, STEPS) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, {"weights": NUMBERS.astype(np.float32) * step, "step": np.array(step)})


def _read_checkpoint(folder: Path) -> Any:
    from jaxval.checkpoints import open_checkpoints

    with open_checkpoints(folder, STEPS) as checkpoints:
        step, state = checkpoints.latest({"weights": NUMBERS.astype(np.float32), "step": np.array(0)}) or (0, {})
    return {"step": step, **state}


def _results(of: str, folder: Path) -> Any:
    from experiments import results

    with results.locks:
        found, _ = results.open_results(folder, "numbers", {"seed": 0})
        if of == "make":
            found["runs"] = {str(k): part.tolist() for k, part in enumerate(NUMBERS[:10_000].reshape(100, -1))}
            results.save_results(folder, found)
        return found["runs"]


PAGES = {
    "store of evaluations": Kind(_make_store, _read_store),
    "state of an estimator": Kind(_make_state, _read_state),
    "checkpoint of a training": Kind(_make_checkpoint, _read_checkpoint),
    "results of an experiment": Kind(partial(_results, "make"), partial(_results, "read")),
}
