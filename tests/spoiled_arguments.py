"""Working calls of public functions, from the examples in docstrings, and the same calls with one argument spoiled."""

import contextlib
import functools
import importlib
import inspect
import io
import os
import sys
import traceback
import types
import warnings
from pathlib import PurePath

import jax
import numpy as np

import jaxval
from jaxval.types import BadArgument

ANYTHING = {  # arguments that are handed on to a user's own functions, or may be whatever they are
    "fingerprint": ["parts"],
    "largest": ["difference"],  # a NaN gives infinity
    "open_checkpoints": ["what"],
    "sequential_leave_one_out": ["state"],
    "sequential_shapley": ["state"],
    "warm_path": ["params"],
}


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
def followed(module, then):
    """Within it, `then(name, function, bound)` follows the first calls of the module's functions by an example.

    There is a call for each argument that some example gives; files that the example has made are still there.
    """
    changed = []
    for name, function in public_functions(module):
        wrapper = _followed(name, function, then)
        for holder in list(sys.modules.values()):
            if getattr(holder, "__name__", "").split(".")[0] == "jaxval" and holder.__dict__.get(name) is function:
                changed.append((holder, name, function))
                setattr(holder, name, wrapper)
    try:
        yield
    finally:
        for holder, name, function in changed:
            setattr(holder, name, function)


def _followed(name, function, then):
    signature, known = inspect.signature(function), set()

    @functools.wraps(function)
    def wrapper(*arguments, **options):
        result = function(*arguments, **options)
        if sys._getframe(1).f_code.co_filename.startswith("<doctest"):
            bound = signature.bind(*arguments, **options)
            if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((arguments, options))):
                for argument in set(bound.arguments) - known - set(ANYTHING.get(name, [])):
                    known.add(argument)
                    then(name, function, bound, argument)
        return result

    return wrapper


def faults(name, function, bound, argument):
    """What comes of the call with each spoiling of the argument, unless it is right: sentences.

    Right are `BadArgument`, the result that the good argument gives (the spoiled part is then not looked at), and NaN
    where a NaN was put in, also inside a function, a model or a figure that is returned. Readers may find no such file,
    and trainings say that a loss is no number.
    """
    parameter = inspect.signature(function).parameters[argument]
    expected = None
    for what, spoiled in spoil(bound.arguments[argument]):
        if parameter.kind is parameter.VAR_KEYWORD and not isinstance(spoiled, dict):
            continue
        if parameter.kind is parameter.VAR_POSITIONAL and not isinstance(spoiled, tuple):
            spoiled = (spoiled,)
        given = inspect.signature(function).bind(*bound.args, **bound.kwargs)
        given.arguments[argument] = spoiled
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = _result(function, given)
        except (BadArgument, FileNotFoundError, FloatingPointError):
            continue
        except Exception as error:
            yield f"{name}({argument} = {what}): {type(error).__name__}: {str(error)[:120]} {_place(error)}"
            continue
        if expected is None:
            expected = _result(function, bound)
        if not (_same(result, expected) or (what.endswith("a NaN") and (_has_nan(result) or not _leaves(result)))):
            yield f"{name}({argument} = {what}): {result!r:.120}"


def _place(error):
    inside = [
        frame for frame in traceback.extract_tb(error.__traceback__) if f"{os.sep}jaxval{os.sep}" in frame.filename
    ]
    return (
        "at {}:{}".format(inside[-1].filename.split(f"{os.sep}jaxval{os.sep}")[-1], inside[-1].lineno) if inside else ""
    )


def _result(function, bound):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        result = function(*bound.args, **bound.kwargs)
        if inspect.isgenerator(result):
            return list(result)
        if isinstance(result, contextlib.AbstractContextManager) and not isinstance(result, PurePath):
            with contextlib.suppress(AttributeError), result as inside:
                return type(inside)
    return result


def _leaves(result):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(result) if isinstance(leaf, np.ndarray | jax.Array | float)]


def _same(result, expected):
    if type(result) is not type(expected):
        return False
    one, other = _leaves(result), _leaves(expected)
    if not one:
        return callable(result) or result == expected
    return len(one) == len(other) and all(
        a.shape == b.shape and (a.dtype.kind not in "biuf" or np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
        for a, b in zip(one, other, strict=True)
    )


def _has_nan(result):
    return any(leaf.dtype.kind == "f" and np.isnan(leaf).any() for leaf in _leaves(result))


def spoil(value):
    """Pairs of what was done and a spoiled value, none of which can be right."""
    yield "an object", object()
    yield "a complex number", 1 + 2j
    if not isinstance(value, str | os.PathLike):
        yield "a text", "no such thing"
    if (isinstance(value, np.ndarray | jax.Array) and not jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)) or (
        isinstance(value, list) and value and _numbers(value)
    ):
        yield from spoil_array(np.asarray(value))
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        if len(value) <= 4 and not any(map(callable, value)):  # data, no results, policies or models
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
    """Arrays of no real numbers, or with a number that is none."""
    yield "complex numbers", array.astype(complex)
    yield "texts", array.astype(str)
    if array.size:
        yield "ragged", [[1.0], [1.0, 2.0]]
    if array.dtype.kind == "f" and array.size:
        spoiled = array.copy()
        spoiled.flat[array.size // 2] = np.nan
        yield "a NaN", spoiled


def alone(name, function):
    """What comes of a function that no example calls, if every argument without a default is spoiled: sentences."""
    parameters = inspect.signature(function).parameters.values()
    needed = [
        one for one in parameters if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    if needed:
        options = {one.name: object() for one in needed if one.kind is one.KEYWORD_ONLY}
        try:
            function(*(object() for one in needed if one.kind is not one.KEYWORD_ONLY), **options)
        except BadArgument:
            return
        except Exception as error:
            yield f"{name}(objects): {type(error).__name__}: {str(error)[:120]} {_place(error)}"
        else:
            yield f"{name}(objects) returned"
