"""Working calls of public functions, taken from the examples in docstrings, and the same calls with one argument spoiled."""

import contextlib
import functools
import importlib
import inspect
import os
import sys
import types

import jax
import numpy as np

import jaxval

GOOD_ENDS = (RuntimeError, FloatingPointError)  # of solvers, if they say that they did not converge


@functools.cache
def handed_out():
    """All that the rooms hand out, and what the modules among it hand out."""
    things = [getattr(room, name) for room in map(_room, jaxval.__all__) for name in room.__all__]
    modules = [thing for thing in things if isinstance(thing, types.ModuleType)]
    return [*things, *(getattr(module, name) for module in modules for name in getattr(module, "__all__", []))]


def _room(name):
    return importlib.import_module(f"jaxval.{name}")


def public_functions(module):
    """The functions that the module itself defines and a room hands out, with their names."""
    for thing in handed_out():
        if isinstance(thing, types.FunctionType | jax.stages.Wrapped) and thing.__module__ == module.__name__:
            yield thing.__name__, thing


@contextlib.contextmanager
def recorded(module):
    """Within it, working calls of the module's public functions are kept: for each argument one call that gives it.

    Yields {name of the function: {name of the argument: bound arguments}}.
    """
    calls, changed = {}, []
    for name, function in public_functions(module):
        wrapper = _recording(function, calls.setdefault(name, {}))
        for holder in list(sys.modules.values()):
            if getattr(holder, "__name__", "").split(".")[0] == "jaxval" and holder.__dict__.get(name) is function:
                changed.append((holder, name, function))
                setattr(holder, name, wrapper)
    try:
        yield calls
    finally:
        for holder, name, function in changed:
            setattr(holder, name, function)


def _recording(function, kept):
    signature, depth = inspect.signature(function), 0

    @functools.wraps(function)
    def wrapper(*arguments, **options):
        result = function(*arguments, **options)
        if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((arguments, options))):
            bound = signature.bind(*arguments, **options)
            shown = sys._getframe(1).f_code.co_filename.startswith("<doctest")  # by the example, not by other code
            for argument in bound.arguments:
                if shown or argument not in kept:
                    kept[argument] = bound
        return result

    return wrapper


def spoil(value):
    """Pairs of what was done and a spoiled value, none of which can be right."""
    yield "an object", object()
    yield "a complex number", 1 + 2j
    if not isinstance(value, str | os.PathLike):
        yield "a text", "no such thing"
    if isinstance(value, np.ndarray | jax.Array) and not jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        yield from spoil_array(np.asarray(value))
    elif isinstance(value, list) and value and _numbers(value):
        yield from spoil_array(np.asarray(value))
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for field in value._fields:
            for what, spoiled in spoil(getattr(value, field)):
                yield f".{field}: {what}", value._replace(**{field: spoiled})
    elif isinstance(value, list | tuple) and value:
        for what, spoiled in spoil(value[0]):
            yield f"[0]: {what}", type(value)([spoiled, *value[1:]])
    elif isinstance(value, dict) and value:
        first = next(iter(value))
        for what, spoiled in spoil(value[first]):
            yield f"[{first!r}]: {what}", {**value, first: spoiled}


def _numbers(value):
    try:
        return np.asarray(value).dtype.kind in "biuf"
    except ValueError:
        return False


def spoil_array(array):
    """Arrays of another rank, of no numbers, or with a number that is none."""
    yield "three axes more", array[None, None, None]
    yield "complex numbers", array.astype(complex)
    yield "texts", array.astype(str)
    if array.size:
        yield "ragged", [[1.0], [1.0, 2.0]]
    if array.dtype.kind == "f" and array.size:
        spoiled = array.copy()
        spoiled.flat[array.size // 2] = np.nan
        yield "a NaN", spoiled


def spoil_more(value):
    """Pairs of what was done and a value that may be wrong or right."""
    yield "None", None
    yield "an empty dictionary", {}
    yield "an empty list", []
    yield "bytes", b"ab"
    yield "a function", lambda *a, **b: "text"
    yield "a set", {1, 2}
    yield "ragged list", [[1], [1, 2]]
    if isinstance(value, str):
        yield "empty text", ""
        yield "other text", "\x1b[31m../../x\n"
        yield "zero byte", "a\0b"
    if isinstance(value, bool) or isinstance(value, np.bool_):
        yield "2", 2
    elif isinstance(value, int | float | np.number):
        for number in (float("nan"), float("inf"), -float("inf"), -1, 0, 1.5, 1e-300, 1e300, 10**30, -(10**30), True, "1"):
            yield repr(number), number
        yield "array of one", np.array([value])
        yield "2^62", 2**62
        yield "10^9", 10**9
    if callable(value):
        yield "function of nothing", lambda: 0
        for what, result in [("text", "x"), ("None", None), ("NaN", np.nan), ("a vector", np.zeros(3)), ("a list", [1, [2]])]:
            yield f"function that returns {what}", lambda *a, _r=result, **b: _r
    if (isinstance(value, np.ndarray | jax.Array) and not jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)) or (
        isinstance(value, list) and value and _numbers(value)
    ):
        array = np.asarray(value)
        yield "scalar", 1.0
        yield "one axis more", array[None]
        yield "one axis more at the end", array[..., None]
        yield "shape (0,)", np.zeros(0, array.dtype)
        yield "shape (0, 0)", np.zeros((0, 0), array.dtype)
        for axis in range(array.ndim):
            yield f"axis {axis} empty", np.take(array, [], axis=axis)
            yield f"axis {axis} shorter", np.take(array, range(array.shape[axis] - 1), axis=axis)
            yield f"axis {axis} longer", np.concatenate([array, np.take(array, [-1] * bool(array.shape[axis]), axis=axis)], axis)
            yield f"axis {axis} of 100", np.take(array, np.zeros(100, int) if array.shape[axis] else [], axis=axis)
        if array.ndim:
            yield "one row", array[:1]
            if array.shape[0]:
                yield "axis less", array[0]
        for number in (np.nan, np.inf, -np.inf, -1, -2, 0, 1, 0.5, 1e300, 2**31, 2**40, 1e30, 1e-40):
            with np.errstate(all="ignore"):
                full = np.full(array.shape, number)
                yield f"all {number}", full
                if array.size:
                    some = array.astype(np.result_type(array.dtype, np.min_scalar_type(number)) if array.dtype.kind != "b" else float)
                    some.flat[array.size // 2] = number
                    yield f"one {number}", some
        yield "as float", array.astype(float)
        yield "as bool", array.astype(bool)
        yield "as int8", array.astype(np.int8)
        yield "as uint64", array.astype(np.uint64)
        yield "as float16", array.astype(np.float16)
        yield "as object", array.astype(object)
        yield "datetimes", array.astype("datetime64[s]") if array.dtype.kind in "iu" else array.astype(int).astype("datetime64[s]")
        yield "records", np.zeros(array.shape, [("a", int)])
        yield "tuple", tuple(array.tolist()) if array.ndim else array.item()
    elif isinstance(value, jax.Array):  # keys
        yield "a seed", 0
        yield "two keys", jax.random.split(value)
        yield "floats", np.zeros(2)
        yield "no key", np.zeros((0,), np.uint32)
        yield "three words", np.zeros(3, np.uint32)
        yield "raw words", np.zeros(2, np.uint32)
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield "plain tuple", tuple(value)
        yield "shorter tuple", tuple(value)[:-1]
        for field in value._fields:
            for what, spoiled in spoil_more(getattr(value, field)):
                yield f".{field}: {what}", value._replace(**{field: spoiled})
    elif isinstance(value, list | tuple) and value:
        yield "doubled", type(value)([*value, *value])
        yield "shorter", value[:-1]
        yield "as dict", dict(enumerate(value))
        for what, spoiled in spoil_more(value[0]):
            yield f"[0]: {what}", type(value)([spoiled, *value[1:]])
    elif isinstance(value, dict) and value:
        first = next(iter(value))
        yield "key number", {**value, 3: value[first]}
        yield "key gone", {k: v for k, v in value.items() if k != first}
        for what, spoiled in spoil_more(value[first]):
            yield f"[{first!r}]: {what}", {**value, first: spoiled}
