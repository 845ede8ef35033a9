"""`results.json`, which is never written in part, and from which a run resumes if configuration and versions agree.

One run at a time has a folder. A changed byte of `results.json` is found by a digest that it keeps of its own content.
"""

import contextlib
import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxval
from jaxval._errors import json_text
from jaxval.checkpoints.files import lock_folder, write_whole

__all__ = ["locks", "open_results", "save_results", "unfinished_folder", "versions"]

NAME = "results.json"
DIGEST = "sha256"
locks = contextlib.ExitStack()  # of the folders that were opened; an experiment closes it at its end


def versions() -> dict[str, str]:
    """The versions that the numbers depend on."""
    return {
        "jaxval": jaxval.__version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def open_results(folder: Path, experiment: str, configuration: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The results from which a run resumes, or empty ones; results of another run are set aside, not overwritten.

    The folder is made if it is missing, and locked until `locks` is closed or the process ends.

    Args:
        folder: the folder of `results.json`.
        experiment: the experiment's name.
        configuration: the options on which the numbers depend, in JSON's types.

    Returns:
        The results, which have an entry `runs`, and a sentence about earlier results in the folder, or "" if it had
        none.

    Raises:
        ValueError: if the folder holds a `results.json` that does not belong to this experiment or was changed, or if
            another run works in the folder.
    """
    fresh = {"experiment": experiment, "configuration": configuration, "versions": versions(), "runs": {}}
    path = folder / NAME
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out: expected a folder, or a path where none is yet; got the file {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    locks.enter_context(lock_folder(folder, name="--out"))
    if not path.exists():
        return fresh, ""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        digest = found.pop(DIGEST, None)
        same_kind = found["experiment"] == experiment and isinstance(found["runs"], dict)
    except (ValueError, KeyError, TypeError, AttributeError):
        same_kind = False
    if not same_kind:
        raise ValueError(
            f"{path}: expected results of the experiment {experiment!r}; it holds something else, or is damaged; "
            "choose another --out"
        )
    if digest is not None and digest != _digest(found):  # results of earlier versions have none
        raise ValueError(f"{path}: expected what was saved; it was changed; choose another --out, or delete that file")
    if all(found.get(key) == fresh[key] for key in ("configuration", "versions")):
        return found, f"{path} has {len(found['runs'])} finished runs of this configuration; they are kept."
    aside = next(p for i in range(1, 10**6) if not (p := folder / f"results-{i}.json").exists())
    path.rename(aside)
    return fresh, f"{path} was of another configuration or version; it is {aside.name} now."


def save_results(folder: Path, results: dict[str, Any]) -> Path:
    """Write `results.json` to a new file, and replace the old file by it in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    content = {**results, DIGEST: _digest(results)}
    write_whole(path, json_text(content) + "\n")
    return path


def unfinished_folder(folder: Path, results: dict[str, Any]) -> Path:
    """A folder for parts of runs, named after configuration and versions, so that other runs' parts are never met."""
    what = json.dumps([results["configuration"], results["versions"]], sort_keys=True)
    return folder.absolute() / f"unfinished-{hashlib.sha256(what.encode()).hexdigest()[:12]}"


def _digest(results: dict[str, Any]) -> str:
    """A checksum of the results, which changes with each of their numbers and words."""
    return hashlib.sha256(json.dumps(results, allow_nan=False).encode()).hexdigest()
