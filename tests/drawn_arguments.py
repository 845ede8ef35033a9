"""Arguments drawn at random for public functions and methods, in place of those of their examples.

Drawn are numbers (NaN, infinite, negative, enormous), arrays of any kind and rank (also without entries, and larger
than any memory), texts, containers, and the good argument changed in one place. One value is drawn for each argument,
by its name alone, the same on every machine. With `JAXVAL_FUZZ=N`, Hypothesis draws N values for each argument, and
arguments of `sources` too, where every draw trains; `JAXVAL_FUZZ_SEED` (0 by default) draws others.
"""

import contextlib
import inspect
import math
import os
import random
import tempfile
import traceback
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import spoiled_arguments
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from jaxval import _checks
from jaxval.sources import PoolValues
from jaxval.types import BadArgument, Estimate

DRAWS = int(os.environ.get("JAXVAL_FUZZ", "0"))
SETTINGS = settings(
    max_examples=max(DRAWS, 1),
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
MEMORY = 2**22  # bytes of the machine that the functions believe to run on
LARGE = 1e15  # squares of larger numbers overflow float32
# Functions in whose results a NaN says that something is missing.
HAVE_NAN = {"cluster_intervals", "feasible_shares_solve", "pool_diagnostics", "read_scores", "value_sources"}
OPAQUE = {"states"}  # arguments that another function has made, in a form that only the model knows
TAKES_LONG = {  # arguments that say how often something is done: 10^9 times may be meant
    *("accumulation", "ascents", "burn_in", "coalitions", "draws", "evaluations", "every", "games", "instances"),
    *("limit", "most", "permutations", "profiles", "rounds", "samples", "seeds", "starts", "steps"),
}
ODD = (math.nan, math.inf, -math.inf, -1, 0, -0.5, 1.5, 1e300, 1e-300, 2**31 - 1, 2**31, 2**62, 10**30, -(10**30), True)
ENORMOUS = (2**62, 10**30, 10**9)
SMALL = (*range(-3, 10), 0.1, 0.25, 2.5, 1e-9, -1e-3, 12345.678, 3.4e38, 1e18, -1e5, -0.0)
DTYPES = ("bool", "int8", "uint64", "int64", "float16", "float32", "float64", "complex64", "<U3", "M8[s]", "O")
SHAPES = ((), (0,), (1,), (3,), (2, 0), (2, 2), (3, 1), (1, 2, 3), (0, 1, 0), (2, 1, 2, 2))
LETTERS = ("a", "0", " ", "/", ".", "\0", "\n", "-", "é", "\u202e", "\ud800", "😀", "{", "%", '"', "\x1b")
ELSE = (None, "", "no such thing", "\0", b"ab", (), [], {}, {1, 2}, [[1], [1, 2]], [None], 1 + 2j, object)


class Constant:
    """A function that returns one value."""

    def __init__(self, value):
        self.value = value

    def __call__(self, *arguments, **options):
        return self.value

    def __repr__(self):
        return f"lambda *_: {self.value!r}"


def by_name(name, further=lambda _: 0):
    """A function that chooses one of some values, again and again, the same ones for the same name.

    `further(n)` is below n and says how far another choice is from that of the name.
    """
    numbers = random.Random(zlib.crc32(name.encode()))  # its `random()` is the same in every version of Python

    def choose(values):
        return values[(int(numbers.random() * len(values)) + further(len(values))) % len(values)]

    return choose


def draw_each(name, check, *, times=1):
    """Call `check(choose)` so many times with what the name draws, or with JAXVAL_FUZZ=N as Hypothesis draws."""

    @seed(zlib.crc32(f"{name}.{os.environ.get('JAXVAL_FUZZ_SEED', '0')}".encode()))
    @SETTINGS
    @given(st.data())
    def check_many(data):
        check(by_name(name, lambda many: data.draw(st.integers(0, many - 1))))

    if DRAWS:
        check_many()
    for turn in range(0 if DRAWS else times):
        check(by_name(f"{name}.{turn}" if turn else name))


def some_array(choose):
    """An array of one number, of any kind and shape."""
    return np.full(choose(SHAPES), choose((0, 1, -1, 100))).astype(choose(DTYPES))


def changed_array(array, choose):
    """The array with numbers of another kind, odd numbers, or another shape."""
    way = choose(("shape", "kind", "number") if array.dtype.kind in "biuf" else ("shape",))
    if way == "kind":
        return array.astype(choose([name for name in DTYPES if name not in ("<U3", "O")]))
    if way == "number":
        return _with_number(array, choose((None, *range(array.size))), choose(ODD[:-3]))
    shapes = [array[None], array[..., None], array.ravel()]
    if array.ndim:
        shapes += [array[:0], array[..., :0], array[:1], array[:-1], np.concatenate([array, array])]
        shapes += [np.moveaxis(array, 0, -1), *([array[0], array[..., 0]] if array.size else [])]
    fill = array.flat[0] if array.size else array.dtype.type(0)
    axes = max(array.ndim, 2)
    return choose([*shapes, np.broadcast_to(fill, (2 ** (40 // axes),) * axes)])


def _with_number(array, place, number):
    changed = np.array(array, dtype=np.result_type(array.dtype, np.min_scalar_type(number)))
    if array.size:
        changed.flat[slice(None) if place is None else place] = number
    return changed


def numbers_of(value):
    """Whether the value is an array, or a list of numbers."""
    if isinstance(value, np.ndarray | jax.Array):
        return not jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)
    return isinstance(value, list | tuple) and not hasattr(value, "_fields") and spoiled_arguments._numbers(value)


def drawn(value, choose, *, enormous=ENORMOUS):
    """A value in place of the good one: as often near it as of any kind."""
    ways = nearly(value, choose, enormous)
    if ways and choose((True, False)):
        return choose(ways)()
    kind = choose((ODD, enormous, SMALL, ELSE, some_array))
    return some_array(choose) if kind is some_array else choose(kind)


def nearly(value, choose, enormous):
    """Functions that make values that differ from the good one in one place."""
    if numbers_of(value):
        return [lambda: changed_array(np.asarray(value), choose)]
    if isinstance(value, int | float | np.number):
        return [lambda: choose(enormous), lambda: choose(ODD), lambda: choose(SMALL)]
    if isinstance(value, str | os.PathLike):
        return [lambda: "".join(choose(LETTERS) for _ in range(choose(range(6))))]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        if len(value) > 4 or any(map(callable, value)):  # no data, as `spoil` has it
            return []
        return [
            lambda field=field: value._replace(**{field: drawn(getattr(value, field), choose)})
            for field in value._fields
        ]
    if isinstance(value, list | tuple) and value:
        return [
            lambda: type(value)([drawn(value[0], choose), *value[1:]]),
            lambda: choose([type(value)(), type(value)([*value, *value])]),
        ]
    if isinstance(value, Mapping) and value:
        first = next(iter(value))
        return [lambda: {**value, first: drawn(value[first], choose)}, lambda: {**value, 3: value[first]}]
    if callable(value):
        return [lambda: Constant(choose([choose(ODD), some_array(choose), choose(ELSE)]))]
    return []


def left_out(function, bound):
    """The arguments that a call leaves at their defaults."""
    skipped = spoiled_arguments.ANYTHING.get(function.__name__, [])
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is not parameter.empty and name not in (*bound.arguments, *skipped):
            yield name


def faults(name, function, bound, argument, *, times=1):
    """What comes of the calls with drawn values of the argument, unless it is right: at most one sentence.

    Right are a result without NaN (or with one if a NaN or an infinity was drawn), `BadArgument`, from a reader a
    `ValueError` or an `OSError` that names the file, and the error of a solver that did not converge.
    """
    if argument in OPAQUE or (name.startswith("jaxval.sources.") and not DRAWS):
        return  # sources are trained for every draw, which takes long
    parameter = inspect.signature(function).parameters[argument]
    good = bound.arguments.get(argument, parameter.default)
    enormous = ENORMOUS[:-1] if argument in TAKES_LONG else ENORMOUS

    def check(choose):
        value = drawn(good, choose, enormous=enormous)
        named = isinstance(value, dict) and all(isinstance(name, str) for name in value)
        if parameter.kind is parameter.VAR_KEYWORD and not named:
            return
        if parameter.kind is parameter.VAR_POSITIONAL and not isinstance(value, tuple):
            value = (value,)
        given = inspect.signature(function).bind(*bound.args, **bound.kwargs)
        given.arguments[argument] = value
        fault = _fault(function, given, value)
        assert fault is None, f"{name}({argument}={value!r:.200}): {fault}"

    try:
        with np.errstate(all="ignore"):
            draw_each(f"{name}.{argument}", check, times=times)
    except AssertionError as error:
        yield str(error)
    if any(isinstance(one, str | os.PathLike) for one in bound.arguments.values()):  # drawn data may have been saved
        spoiled_arguments._result(function, bound)


def _fault(function, given, value):
    memory = mock.patch.object(_checks, "memory_of_machine", return_value=MEMORY)
    try:
        # A drawn text may be taken for the name of a file that is written.
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), warnings.catch_warnings(), memory:
            warnings.simplefilter("ignore")
            result = spoiled_arguments._result(function, given)
    except Exception as error:
        told = f"{type(error).__name__}: {str(error)[:160]} {spoiled_arguments._place(error)}"
        return None if isinstance(error, BadArgument) or _may_be_raised(error, given) else told
    if isinstance(result, Estimate | PoolValues):  # errors and intervals are NaN if too few draws tell something
        result = result.values
    if not spoiled_arguments._has_nan(result) or function.__name__ in HAVE_NAN:
        return None
    leaves = spoiled_arguments._leaves([getattr(one, "value", one) for one in jax.tree.leaves(value)])
    odd = any(not (np.abs(leaf.astype(float)) < LARGE).all() for leaf in leaves if leaf.dtype.kind in "iuf")
    return None if odd else f"{result!r:.120}"


def _may_be_raised(error, given):
    """Whether a reader names its file, a solver did not converge, a contract fails, or a user's function raises."""
    if isinstance(error, ValueError | OSError):
        paths = [str(Path(one)) for one in given.arguments.values() if isinstance(one, str | os.PathLike)]
        if any(path in str(error) or repr(path)[1:-1] in str(error) for path in paths):
            return True
    if isinstance(error, FloatingPointError) or (isinstance(error, RuntimeError) and "converge" in str(error)):
        return True
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    files = [name for name in files if name.startswith("<doctest") or f"{os.sep}jaxval{os.sep}" in name]
    return bool(files) and (files[-1].startswith("<doctest") or files[-1].endswith("contracts.py"))
