"""Fingerprints that tell one run from another by its utility, its data and its seed."""

import builtins
import copyreg
import enum
import functools
import hashlib
import importlib
import importlib.util
import pickle
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np

from jaxval.checkpoints._code import OF_THE_FILE, installed_version, is_importable, reads_of
from jaxval.types import BadArgument

__all__ = ["fingerprint"]

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented))
NAMED = (  # functions written in C, and what their types hold
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.ClassMethodDescriptorType,
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
)
DYNAMIC = {"__import__", "eval", "exec", "globals"}  # what these read, no one can tell from the code
OF_THE_CLASS = {  # says nothing of what the class computes, or is told by its methods
    "__abstractmethods__",
    "__annotations__",
    "__annotate__",
    "__annotate_func__",
    "__annotations_cache__",
    "__dataclass_fields__",
    "__dataclass_params__",
    "__dict__",
    "__doc__",
    "__firstlineno__",
    "__match_args__",
    "__module__",
    "__orig_bases__",
    "__parameters__",
    "__qualname__",
    "__static_attributes__",
    "__weakref__",
    "_abc_impl",
}


def fingerprint(*parts: Any) -> str:
    """A digest of everything that a utility's values depend on, the same in every process.

    - Functions count by their compiled code, their defaults, what they close over, and the global variables and own
      functions, classes and modules that they read, and so on through all of these.
    - Functions and classes of installed packages count by name and version; those of JAX by its precision too.
    - Arrays count by type, shape and content; a `pathlib.Path` by the content of its file.
    - Lists, tuples and dictionaries count by their items in order, sets by their items.
    - Other objects count by their class and by what `pickle` would save of them.

    A value that the function itself changes, such as a cache, counts as it is at the time of the call. Files that
    functions open by name and variables of the environment do not count; pass them as further parts.

    Args:
        *parts: everything that the values depend on.

    Returns:
        64 hexadecimal digits. They change with the version of Python, which compiles other code.

    Raises:
        ValueError: if a part has no content that can be read, such as an open file or a lock, or reads names that do
            not appear in its code, such as by `eval`.

    Example:
        >>> data, scale = np.arange(3.0), 2.0
        >>> def accuracy(mask):
        ...     return scale * data[mask].sum()
        >>> before = fingerprint(accuracy, 0)
        >>> before == fingerprint(accuracy, 0), before == fingerprint(accuracy, 1)
        (True, False)
        >>> scale = 3.0
        >>> before == fingerprint(accuracy, 0)
        False
    """
    try:
        reader = _Reader()
        return _mark("parts", *(reader.digest(part, "") for part in parts)).hex()
    except RecursionError as error:
        raise BadArgument(
            "fingerprint",
            expected="parts that are less deeply nested",
            advice="in place of such a part, pass a string that names it",
        ) from error


def _mark(kind: str, *texts: str | bytes | memoryview) -> bytes:
    """The digest of texts, each preceded by its length, so that two sequences of texts are never confused."""
    digest = hashlib.sha256()
    for text in (kind, *texts):
        content = text.encode() if isinstance(text, str) else text
        digest.update(f"{len(content)}:".encode())
        digest.update(content)
    return digest.digest()


class _Reader:
    """Digests of objects; each object is read once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, bytes]] = {}  # by id; the object is kept, so that its id stays its own
        self._open: dict[int, int] = {}  # the objects that are being read, with their depth
        self._trail: list[str] = []
        self._versions: dict[str, str | None] = {}

    def digest(self, part: Any, step: str) -> bytes:
        """The digest of one object; `step` says in errors how it is reached from the object that holds it."""
        if type(part) in PLAIN:
            return _mark(type(part).__name__, part if isinstance(part, str | bytes) else repr(part))
        if id(part) in self._known:
            return self._known[id(part)][1]
        depth = len(self._open)
        if id(part) in self._open:  # a function that calls itself, a list that holds itself
            return _mark("around", str(depth - self._open[id(part)]))
        self._open[id(part)] = depth
        self._trail.append(step)
        content = self._content(part)
        self._trail.pop()
        del self._open[id(part)]
        self._known[id(part)] = (part, content)
        return content

    def _refuse(self, what: str, advice: str = "in its place, pass a string that changes with its content") -> NoReturn:
        trail = " of ".join(step for step in reversed(self._trail) if step)
        raise BadArgument(
            "fingerprint",
            expected="parts whose content can be read",
            got=f"{what}{f' ({trail})' if trail else ''}",
            advice=advice,
        )

    def _version(self, module: str | None) -> str | None:
        module = module or "__main__"
        if module not in self._versions:
            self._versions[module] = installed_version(module)
        return self._versions[module]

    def _content(self, part: Any) -> bytes:
        match part:
            case enum.Enum():
                return _mark("enum", self.digest(type(part), ""), part.name)
            case np.ndarray() | np.generic() | jax.Array():
                return self._array(part)
            case Path():
                return self._file(part)
            case list() | tuple() | types.MappingProxyType() | dict() | set() | frozenset() if type(part) in _KINDS:
                return self._container(part)
            case functools.partial():
                named = self._attributes(part.keywords, "argument")
                return _mark("partial", self.digest(part.func, "function"), self.digest(part.args, "arguments"), named)
            case types.FunctionType():
                return self._function(part)
            case types.MethodType():
                return _mark("method", self.digest(part.__func__, ""), self.digest(part.__self__, "object"))
            case types.CodeType():
                return self._code(part)
            case types.ModuleType():
                return self._module(part)
            case type():
                return self._class(part)
            case property():
                return _mark("property", *(self.digest(one, "") for one in (part.fget, part.fset, part.fdel)))
            case staticmethod() | classmethod():
                return _mark(type(part).__name__, self.digest(part.__func__, ""))
            case functools.cached_property():
                return _mark("cached_property", self.digest(part.func, ""))
            case _ if isinstance(part, NAMED):
                return self._compiled(part)
        return self._object(part)

    def _array(self, part: Any) -> bytes:
        if isinstance(part, jax.core.Tracer):
            self._refuse("a value that JAX is tracing")
        if isinstance(part, jax.Array) and jax.dtypes.issubdtype(part.dtype, jax.dtypes.prng_key):
            return _mark("key", str(part.dtype), self.digest(np.asarray(jax.random.key_data(part)), ""))
        if isinstance(part, np.ndarray) and type(part) not in (np.ndarray, np.memmap):
            return self._object(part)  # a masked array, say: more than its numbers
        array = np.asarray(part)
        head = (array.dtype.name, array.dtype.str, repr(array.shape))
        if array.dtype.names:  # field by field, for there are bytes between fields that mean nothing
            return _mark("record", *head, *(self.digest(array[name], f"field {name}") for name in array.dtype.names))
        if array.dtype.hasobject:
            return _mark("objects", *head, *(self.digest(item, "") for item in array.ravel().tolist()))
        flat = np.ascontiguousarray(array).reshape(-1)
        return _mark("array", *head, flat.view(np.uint8).data if flat.size else b"")

    def _file(self, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                return _mark("file", hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            self._refuse(f"the path {path} ({type(error).__name__})", "pass files that exist, or a string")

    def _container(self, part: Any) -> bytes:
        kind = _KINDS[type(part)]
        if kind == "set":
            return _mark(kind, *sorted(self.digest(item, "") for item in part))
        if kind == "dict":  # in order: a utility may take its players from it by number
            return _mark(kind, *(self.digest(item, f"[{key!r}]") for key in part for item in (key, part[key])))
        return _mark(kind, *(self.digest(item, f"[{i}]") for i, item in enumerate(part)))

    def _attributes(self, named: Mapping[str, Any], what: str) -> bytes:
        """The digest of attributes, which does not depend on the order in which they were set."""
        return _mark(
            "attributes", *(x for name in sorted(named) for x in (name, self.digest(named[name], f"{what} {name}")))
        )

    def _function(self, function: types.FunctionType) -> bytes:
        code = function.__code__
        version = self._version(function.__globals__.get("__name__"))
        if code.co_filename.startswith("<doctest"):  # an example is the user's own, though it bears its module's name
            version = None
        if version is not None and self._version(function.__module__) is not None and is_importable(function):
            return _mark("function of a package", version, function.__module__, function.__qualname__)
        self._trail[-1] = f"{self._trail[-1]} {function.__name__}".strip()
        reads = reads_of(code)
        cells = {}
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                cells[name] = cell.cell_contents
            except ValueError:  # not assigned yet
                cells[name] = NotImplemented
        inside = [self._name(value, name, reads.attributes, "variable") for name, value in sorted(cells.items())]
        if version is None:
            inside += [self._code(code), self._globals(function), self._imports(function)]
        else:  # the wrapper that a package's decorator made, say: its code is that of the version
            inside += [_mark("code of a package", version, code.co_qualname)]
        return _mark(
            "function",
            *inside,
            self.digest(function.__defaults__, "defaults"),
            self._attributes(function.__kwdefaults__ or {}, "default"),
            self._attributes(vars(function), "attribute"),
        )

    def _code(self, code: types.CodeType) -> bytes:
        numbers = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        constants = (self.digest(constant, "") for constant in code.co_consts)
        return _mark("code", repr(numbers), repr(names), code.co_code, code.co_exceptiontable, *constants)

    def _globals(self, function: types.FunctionType) -> bytes:
        reads, scope, marks = reads_of(function.__code__), function.__globals__, []
        for name in reads.names:
            if name not in scope:
                if name in DYNAMIC:
                    self._refuse(
                        f"a function that calls {name}", "pass a string that stands for what the function reads"
                    )
                marks.append(_mark("builtin" if hasattr(builtins, name) else "absent", name))
                continue
            value = scope[name]
            if self._is_own_module(value) and name in reads.passed_on:
                self._refuse(
                    f"a function that passes on the module {name} as a value",
                    "pass a string that stands for what the function reads",
                )
            marks.append(self._name(value, name, reads.attributes, "global"))
        return _mark("globals", *marks)

    def _imports(self, function: types.FunctionType) -> bytes:
        """Modules that the function imports when it runs."""
        reads, marks = reads_of(function.__code__), []
        for level, name in reads.imports:
            package = function.__globals__.get("__package__") or ""
            full = importlib.util.resolve_name("." * level + name, package) if level else name
            version = self._version(full)
            if version is not None:  # need not be imported to be known
                marks.append(_mark("import", version, full))
                continue
            try:
                module = importlib.import_module(full)
            except Exception:
                marks.append(_mark("absent", full))
            else:
                marks.append(self._name(module, full, reads.attributes, "module"))
        return _mark("imports", *marks)

    def _is_own_module(self, value: Any) -> bool:
        return isinstance(value, types.ModuleType) and self._version(value.__name__) is None

    def _name(self, value: Any, name: str, attributes: Iterable[str], what: str) -> bytes:
        """The digest of a name and its value; of a user's own module, only attributes count that the code may read."""
        if not self._is_own_module(value):
            return _mark("name", name, self.digest(value, f"{what} {name}"))
        if id(value) in self._open:  # a package that holds a module that holds the package
            return _mark("name", name)
        self._open[id(value)] = len(self._open)
        self._trail.append(f"module {name}")
        held = [one for one in attributes if one not in OF_THE_FILE and hasattr(value, one)]
        marks = [self._name(getattr(value, one), one, attributes, "global") for one in held]
        self._trail.pop()
        del self._open[id(value)]
        return _mark("own module", name, *marks)

    def _module(self, module: types.ModuleType) -> bytes:
        version = self._version(module.__name__)
        if version is None:
            self._refuse(
                f"the module {module.__name__} as a value", "pass a string that stands for what is read from it"
            )
        return _mark("module", module.__name__, version)

    def _class(self, part: type) -> bytes:
        version = self._version(part.__module__)
        if version is not None and is_importable(part):
            return _mark("class of a package", version, part.__module__, part.__qualname__)
        own = {name: value for name, value in vars(part).items() if name not in OF_THE_CLASS}
        self._trail[-1] = f"{self._trail[-1]} {part.__name__}".strip()
        above = (self.digest(one, "") for one in (type(part), *part.__bases__))
        return _mark("class", *above, self._attributes(own, "attribute"))

    def _compiled(self, part: Any) -> bytes:
        """A function written in C: the object that it is bound to, or the package that it comes with."""
        if isinstance(owner := getattr(part, "__objclass__", None), type):
            slot = isinstance(part, types.MemberDescriptorType | types.GetSetDescriptorType)
            if not slot and self._version(owner.__module__) is None:
                self._refuse(f"the compiled method {part.__name__}")
            return _mark("of a class", owner.__qualname__, part.__name__)
        bound = getattr(part, "__self__", None)
        if bound is not None and not isinstance(bound, types.ModuleType):
            return _mark("bound", self.digest(bound, "object"), part.__name__)
        version = self._version(part.__module__)
        if version is None:
            self._refuse(f"the compiled function {part.__name__}")
        return _mark("compiled", version, part.__module__, part.__qualname__)

    def _object(self, part: Any) -> bytes:
        """What `pickle` would save: how the object is made anew, its attributes, its items."""
        kind = type(part)
        wrapped = getattr(part, "__wrapped__", None)
        if wrapped is not None and (kind is _CACHED or kind.__module__.startswith("jaxlib")):  # lru_cache, jit
            if self._version(getattr(part, "__module__", None)) is not None and is_importable(part):
                return _mark("compiled", str(self._version(part.__module__)), part.__module__, part.__qualname__)
            return _mark("compiled", kind.__name__, self.digest(wrapped, ""))
        if kind is object and len(self._open) == 1:  # elsewhere it is a sentinel, which has nothing that could change
            self._refuse("an object without content")
        try:
            saved = copyreg.dispatch_table[kind](part) if kind in copyreg.dispatch_table else part.__reduce_ex__(4)
        except Exception as error:
            self._refuse(f"{kind.__name__} ({error})")
        if isinstance(saved, str):
            module = pickle.whichmodule(part, saved)  # type: ignore[attr-defined]
            version = self._version(module)
            if version is None:
                self._refuse(f"{kind.__name__} {saved}")
            return _mark("of a package", version, module, saved)
        parts: tuple[Any, ...] = saved
        make, arguments, state, items, pairs = (*parts, None, None, None)[:5]
        marks = [self.digest(make, ""), self.digest(arguments, "")]
        for one in state if isinstance(state, tuple) and len(state) == 2 else (state,):
            if isinstance(one, dict) and all(isinstance(name, str) for name in one):
                marks.append(self._attributes(one, "attribute"))
            else:
                marks.append(self.digest(one, "state"))
        for number, more in enumerate((items, pairs)):
            marks.append(_mark(str(number), *(self.digest(item, "") for item in more or ())))
        return _mark("object", *marks)


_CACHED: type = type(functools.lru_cache(maxsize=None)(lambda: None))
_KINDS: dict[type, str] = {
    list: "list",
    tuple: "tuple",
    dict: "dict",
    types.MappingProxyType: "dict",
    set: "set",
    frozenset: "set",
}
