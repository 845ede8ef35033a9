"""JSON files of a checkpoint, and the packages of the extra `llama`."""

import importlib
import json
from pathlib import Path
from typing import Any

from jaxval.types import BadArgument

CUT_OFF = "a file that is cut off or damaged"


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadArgument(path, expected="JSON", got=f"{CUT_OFF} ({error})") from error
    if not isinstance(content, dict):
        raise BadArgument(path, expected="a JSON object", got=type(content).__name__)
    return content


def extra(name: str) -> Any:
    """A module of a package of the extra `llama`."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{name} is not installed, which published checkpoints need; call pip install 'jaxval[llama]'", name=name
        ) from error
