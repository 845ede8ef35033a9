"""The names that the code of a function reads besides its arguments, and the installed package of an object."""

import dis
import importlib.metadata
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import jax

import jaxval

__all__ = ["Reads", "installed_version", "is_importable", "reads_of"]

GLOBAL = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
ATTRIBUTE = {"LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM"}  # LOAD_METHOD until Python 3.11
OF_THE_FILE = {"__builtins__", "__doc__", "__file__", "__loader__", "__name__", "__package__", "__spec__"}


class Reads(NamedTuple):
    """The names that a code object and the functions defined within it read.

    Attributes:
        names: global variables, sorted.
        passed_on: the global variables whose value itself is used, and not only an attribute of it.
        attributes: names of attributes, sorted.
        imports: modules imported by the code: level, name.
    """

    names: list[str]
    passed_on: set[str]
    attributes: list[str]
    imports: list[tuple[int, str]]


def reads_of(code: CodeType) -> Reads:
    """Every name that the code can look up outside itself.

    Example:
        >>> reads_of((lambda mask: numpy.log(scale) * mask.sum()).__code__)[:3]
        (['numpy', 'scale'], {'scale'}, ['log', 'sum'])
    """
    names, passed_on, attributes, imports = set(), set(), set(), set()
    for one in _nested(code):
        steps = [step for step in dis.get_instructions(one) if step.opname not in ("CACHE", "EXTENDED_ARG")]
        for i, step in enumerate(steps):
            if step.opname in GLOBAL and step.argval not in OF_THE_FILE:
                names.add(step.argval)
                if i + 1 == len(steps) or steps[i + 1].opname not in ATTRIBUTE:
                    passed_on.add(step.argval)
            elif step.opname in ATTRIBUTE:
                attributes.add(step.argval)
            elif step.opname == "IMPORT_NAME":  # the two instructions before load the level and the names
                imports.add((steps[i - 2].argval, step.argval))
    return Reads(sorted(names), passed_on, sorted(attributes), sorted(imports))


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def installed_version(module: str) -> str | None:
    """The package of a module with its version, or None if the module is the user's own code.

    Python's standard library counts as a package, and so does jaxval, wherever it lies. A package that is installed in
    editable mode counts as the user's own. JAX's version says in which precision it computes.

    Example:
        >>> import numpy as np
        >>> installed_version("numpy.linalg") == f"numpy {np.__version__}", installed_version("__main__")
        (True, None)
    """
    package = module.partition(".")[0]
    if package == "jaxval":
        return f"jaxval {jaxval.__version__}"
    file = _file(package)
    installed = file is not None and bool({"site-packages", "dist-packages"} & set(file.parts))
    if package in sys.stdlib_module_names and not installed and (file is None or _is_standard(file)):
        return f"python {sys.version_info.major}.{sys.version_info.minor}"
    if not installed:
        return None
    version = _version(package)
    if package == "jax" and version is not None:
        version += " float64" if jax.config.read("jax_enable_x64") else " float32"
    return None if version is None else f"{package} {version}"


def _file(package: str) -> Path | None:
    module = sys.modules.get(package)
    if module is not None:
        files = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
    else:
        try:
            spec = importlib.util.find_spec(package)
        except (ImportError, ValueError):
            spec = None
        files = [] if spec is None else [spec.origin if spec.has_location else None]
        files += [] if spec is None else list(spec.submodule_search_locations or [])
    return next((Path(file) for file in files if file), None)


def _is_standard(file: Path) -> bool:
    roots = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
    return any(root in file.resolve().parents for root in roots)


def _version(package: str) -> str | None:
    version = getattr(sys.modules.get(package), "__version__", None)
    if isinstance(version, str):
        return version
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        distributions = sorted(importlib.metadata.packages_distributions().get(package, []))
        return ", ".join(f"{one} {importlib.metadata.version(one)}" for one in distributions) or None


def is_importable(part: Any) -> bool:
    """Whether the object is what its module holds under its name.

    Example:
        >>> is_importable(installed_version), is_importable(lambda mask: 0.0)
        (True, False)
    """
    result = sys.modules.get(getattr(part, "__module__", None) or "")
    for name in getattr(part, "__qualname__", "").split("."):
        result = getattr(result, name, None)
    return result is part
