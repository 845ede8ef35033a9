"""Arguments that Hypothesis draws for public functions, in place of those in the examples of their docstrings.

Drawn are numbers (NaN, infinite, negative, enormous), arrays of any kind and rank (also without entries, and larger
than any memory), texts, containers, and the good argument changed in one place. `JAXVAL_FUZZ=N` draws N values for each
argument in place of one, and also draws arguments of `sources`, where every draw trains.
"""

import contextlib
import inspect
import math
import os
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
from hypothesis.extra import numpy as arrays

from jaxval import _checks
from jaxval.types import BadArgument, Estimate

DRAWS = int(os.environ.get("JAXVAL_FUZZ", "1"))
SETTINGS = settings(
    max_examples=DRAWS,
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
MEMORY = 2**22  # bytes of the machine that the functions believe to run on
LARGE = 1e15  # squares of larger numbers overflow float32
# Functions in whose results a NaN says that something is missing.
HAVE_NAN = {"cluster_intervals", "read_scores", "value_sources"}
OPAQUE = {"states"}  # arguments that another function has made, in a form that only the model knows
TAKES_LONG = {  # arguments that say how often something is done: 10^9 times may be meant
    *("accumulation", "ascents", "burn_in", "coalitions", "draws", "evaluations", "every", "games", "instances"),
    *("limit", "most", "permutations", "profiles", "rounds", "samples", "seeds", "starts", "steps"),
}
ODD = (math.nan, math.inf, -math.inf, -1, 0, -0.5, 1.5, 1e300, 1e-300, 2**31 - 1, 2**31, 2**62, 10**30, -(10**30), True)
ENORMOUS = (2**62, 10**30, 10**9)
DTYPES = ("bool", "int8", "uint64", "int64", "float16", "float32", "float64", "complex64", "<U3", "M8[s]", "O")
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
ELSE = (None, "", "no such thing", "\0", b"ab", (), [], {}, {1, 2}, [[1], [1, 2]], [None], 1 + 2j, object)


class Constant:
    """A function that returns one value."""

    def __init__(self, value):
        self.value = value

    def __call__(self, *arguments, **options):
        return self.value

    def __repr__(self):
        return f"lambda *_: {self.value!r}"


def some(values, turn):
    """One of the values; the first that Hypothesis tries depends on `turn`, so that one draw differs by argument."""
    turn %= len(values)
    return st.sampled_from([*values[turn:], *values[:turn]])


def some_array(turn):
    """An array of one number, of any kind and shape."""
    return st.tuples(
        some(DTYPES, turn), some(((0,), (2, 0), (), (3,)), turn) | SHAPES, some((0, 1, -1, 100), turn)
    ).map(lambda parts: np.full(parts[1], parts[2]).astype(parts[0]))


def changed_arrays(array, turn):
    """Strategies of arrays with numbers of another kind, odd numbers, or another shape."""
    shapes = [array[None], array[..., None], array.ravel()]
    if array.ndim:
        shapes += [array[:0], array[..., :0], array[:1], array[:-1], np.concatenate([array, array])]
        shapes += [np.moveaxis(array, 0, -1), *([array[0], array[..., 0]] if array.size else [])]
    fill = array.flat[0] if array.size else array.dtype.type(0)
    axes = max(array.ndim, 2)
    yield some([*shapes, np.broadcast_to(fill, (2 ** (40 // axes),) * axes)], turn)
    if array.dtype.kind in "biuf":
        yield some([name for name in DTYPES if name not in ("<U3", "O")], turn).map(array.astype)
        places = st.integers(0, max(array.size - 1, 0)) | st.none()
        yield st.tuples(places, some(ODD[:-3], turn)).map(lambda parts: _with_number(array, *parts))


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


def drawn(value, turn, *, enormous=ENORMOUS):
    """A strategy of values in place of the good one. `turn` chooses what Hypothesis tries first."""
    kinds = [some(ODD, turn), some(enormous, turn), some_array(turn), some(ELSE, turn), st.integers(-3, 9), st.floats()]
    near = list(nearly(value, turn // 7, enormous)) * 2
    kinds = [kinds[i // 2] if i % 2 == 0 or not near else near[i // 2 % len(near)] for i in range(2 * len(kinds))]
    turn = turn // 3 % len(kinds)
    return st.one_of(*kinds[turn:], *kinds[:turn])


def nearly(value, turn, enormous):
    """Strategies of values that differ from the good one in one place."""
    if numbers_of(value):
        yield from changed_arrays(np.asarray(value), turn)
    elif isinstance(value, int | float | np.number):
        yield some(enormous, turn)
        yield some(ODD, turn)
    elif isinstance(value, str | os.PathLike):
        yield st.text(max_size=5)
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        if len(value) <= 4 and not any(map(callable, value)):  # data, as `spoil` has it
            for field in value._fields:
                yield drawn(getattr(value, field), turn).map(lambda one, field=field: value._replace(**{field: one}))
    elif isinstance(value, list | tuple) and value:
        yield drawn(value[0], turn).map(lambda one: type(value)([one, *value[1:]]))
        yield some([type(value)(), type(value)([*value, *value])], turn)
    elif isinstance(value, Mapping) and value:
        first = next(iter(value))
        yield drawn(value[first], turn).map(lambda one: {**value, first: one})
        yield st.just({**value, 3: value[first]})
    elif callable(value):
        yield (some(ODD, turn) | some_array(turn) | some(ELSE, turn)).map(Constant)


def left_out(function, bound):
    """The arguments that a call leaves at their defaults."""
    skipped = spoiled_arguments.ANYTHING.get(function.__name__, [])
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is not parameter.empty and name not in (*bound.arguments, *skipped):
            yield name


def faults(name, function, bound, argument):
    """What comes of the call with drawn values of the argument, unless it is right: at most one sentence.

    Right are a result without NaN (or with one if a NaN or an infinity was drawn), `BadArgument`, from a reader a
    `ValueError` or an `OSError` that names the file, and the error of a solver that did not converge.
    """
    if argument in OPAQUE or (name.startswith("jaxval.sources.") and "JAXVAL_FUZZ" not in os.environ):
        return  # sources are trained for every draw, which takes long
    parameter = inspect.signature(function).parameters[argument]
    number = zlib.crc32(f"{name}.{argument}".encode())
    enormous = ENORMOUS[:-1] if argument in TAKES_LONG else ENORMOUS

    @seed(number)
    @SETTINGS
    @given(drawn(bound.arguments.get(argument, parameter.default), number, enormous=enormous))
    def check(value):
        if parameter.kind is parameter.VAR_KEYWORD and not isinstance(value, dict):
            return
        if parameter.kind is parameter.VAR_POSITIONAL and not isinstance(value, tuple):
            value = (value,)
        given = inspect.signature(function).bind(*bound.args, **bound.kwargs)
        given.arguments[argument] = value
        fault = _fault(function, given, value)
        assert fault is None, f"{name}({argument}={value!r:.200}): {fault}"

    try:
        with np.errstate(all="ignore"):
            check()
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
    if isinstance(result, Estimate):  # errors and intervals are NaN if too few draws tell something
        result = result.values
    if not spoiled_arguments._has_nan(result) or function.__name__ in HAVE_NAN:
        return None
    leaves = spoiled_arguments._leaves([getattr(one, "value", one) for one in jax.tree.leaves(value)])
    odd = any(not (np.abs(leaf.astype(float)) < LARGE).all() for leaf in leaves if leaf.dtype.kind in "iuf")
    return None if odd else f"{result!r:.120}"


def _may_be_raised(error, given):
    """Whether a reader names its file, a solver did not converge, a contract fails, or a user's function raises."""
    if isinstance(error, ValueError | OSError):
        paths = [Path(one) for one in given.arguments.values() if isinstance(one, str | os.PathLike)]
        if any(str(path) in str(error) for path in paths):
            return True
    if isinstance(error, FloatingPointError) or (isinstance(error, RuntimeError) and "converge" in str(error)):
        return True
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    files = [name for name in files if name.startswith("<doctest") or f"{os.sep}jaxval{os.sep}" in name]
    return bool(files) and (files[-1].startswith("<doctest") or files[-1].endswith("contracts.py"))
