"""`results.json`, which is never written in part, and from which a run resumes if configuration and versions agree."""

import json
import platform
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxval
from jaxval.checkpoints.files import write_whole

__all__ = ["open_results", "save_results", "versions"]

NAME = "results.json"


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

    Args:
        folder: the folder of `results.json`.
        experiment: the experiment's name.
        configuration: the options on which the numbers depend, in JSON's types.

    Returns:
        The results, which have an entry `runs`, and a sentence about earlier results in the folder, or "" if it had
        none.

    Raises:
        ValueError: if the folder holds a `results.json` that does not belong to this experiment.
    """
    fresh = {"experiment": experiment, "configuration": configuration, "versions": versions(), "runs": {}}
    path = folder / NAME
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out: expected a folder, or a path where none is yet; got the file {folder}")
    if not path.exists():
        return fresh, ""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        same_kind = found["experiment"] == experiment and isinstance(found["runs"], dict)
    except (ValueError, KeyError, TypeError):
        same_kind = False
    if not same_kind:
        raise ValueError(
            f"{path}: expected results of the experiment {experiment!r}; it holds something else; choose another --out"
        )
    if all(found.get(key) == fresh[key] for key in ("configuration", "versions")):
        return found, f"{path} has {len(found['runs'])} finished runs of this configuration; they are kept."
    aside = next(p for i in range(1, 10**6) if not (p := folder / f"results-{i}.json").exists())
    path.rename(aside)
    return fresh, f"{path} was of another configuration or version; it is {aside.name} now."


def save_results(folder: Path, results: dict[str, Any]) -> Path:
    """Write `results.json` to a new file, and replace the old file by it in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    write_whole(path, json.dumps(results, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    return path
