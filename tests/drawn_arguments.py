"""Arguments that Hypothesis draws for public functions, in place of those in the examples of their docstrings.

Drawn are numbers (NaN, infinite, negative, enormous), arrays of any kind and rank (also without entries, and larger
than any memory), texts, containers, and the good argument changed in one place. `JAXVAL_FUZZ=N` draws N values for each
argument in place of two.
"""

import inspect
import math
import os
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
from jaxval.types import BadArgument

DRAWS = int(os.environ.get("JAXVAL_FUZZ", "2"))
SETTINGS = settings(
    max_examples=DRAWS,
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
OPAQUE = {"states"}  # arguments that another function has made, in a form that only the model knows
MEMORY = 2**22  # bytes of the machine that the functions believe to run on
TAKES_LONG = {  # arguments that say how often something is done: 10^9 times may be meant
    *(
        "accumulation",
        "ascents",
        "burn_in",
        "coalitions",
        "draws",
        "evaluations",
        "every",
        "games",
        "instances",
        "limit",
    ),
    *("most", "permutations", "profiles", "rounds", "samples", "seeds", "starts", "steps"),
}

LARGE = 1e15  # squares of larger numbers overflow float32
HAVE_NAN = {"read_scores"}  # functions in whose results a NaN says that something is missing

ODD = (math.nan, math.inf, -math.inf, -1, 0, -0.5, 1.5, 1e300, 1e-300, 2**31 - 1, 2**31, 2**62, 10**30, -(10**30), True)
ENORMOUS = (10**9, 2**62, 10**30)
DTYPES = ("bool", "int8", "uint64", "int64", "float16", "float32", "float64", "complex64", "<U3", "M8[s]", "O")
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
ARRAYS = st.tuples(st.sampled_from(DTYPES), SHAPES, st.sampled_from((0, 1, -1, 2, 10**6))).map(
    lambda drawn: np.full(drawn[1], drawn[2] if drawn[0] != "float16" else 1).astype(drawn[0])
)
ELSE = st.sampled_from(
    (None, "", "no such thing", "\0", b"ab", (), [], {}, {1, 2}, [[1], [1, 2]], [None], 1 + 2j, object)
)


@st.composite
def changed_array(draw, array):
    """The array with numbers of another kind, odd numbers, or another shape."""
    kind = draw(st.sampled_from(("one", "all", "dtype", "shape", "huge")))
    if kind in ("one", "all") and array.dtype.kind in "biuf":
        number = draw(st.sampled_from(ODD[:-3]))
        changed = np.array(array, dtype=np.result_type(array.dtype, np.min_scalar_type(number)))
        with np.errstate(all="ignore"):
            changed[(draw(st.integers(0, array.size - 1)) if array.size else slice(0),) if array.ndim == 1 else ...] = (
                number
            )
        return changed
    if kind == "dtype" and array.dtype.kind in "biufU":
        with np.errstate(all="ignore"):
            return array.astype(
                draw(st.sampled_from([one for one in DTYPES if array.dtype.kind != "U" or one[0] in "<O"]))
            )
    if kind == "huge":
        return np.broadcast_to(array.flat[0] if array.size else array.dtype.type(0), (2**20,) * max(array.ndim, 2))
    shapes = [array[None], array[..., None], np.moveaxis(array, 0, -1) if array.ndim else array, array.ravel()]
    shapes += [array[:0], array[..., :0], array[0:1], array[:-1], np.concatenate([array, array])] if array.ndim else []
    shapes += [array[0], array[..., 0]] if array.size and array.ndim else []
    return draw(st.sampled_from(shapes))


class Constant:
    """A function that returns one value."""

    def __init__(self, value):
        self.value = value

    def __call__(self, *arguments, **options):
        return self.value

    def __repr__(self):
        return f"lambda *_: {self.value!r}"


def numbers_of(value):
    """Whether the value is an array, or a list of numbers."""
    if isinstance(value, np.ndarray | jax.Array):
        return not jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)
    return isinstance(value, list | tuple) and not hasattr(value, "_fields") and spoiled_arguments._numbers(value)


def drawn(value, turn, *, enormous=ENORMOUS):
    """A strategy of values in place of the good one. `turn` chooses which kind Hypothesis tries first."""
    kinds = [st.sampled_from(ODD), st.sampled_from(enormous), ARRAYS, ELSE, st.integers(-3, 9), st.floats()]
    near = []
    if numbers_of(value):
        near = [changed_array(np.asarray(value))] * 3
    elif isinstance(value, int | float | np.number):
        near = [st.sampled_from(enormous), st.sampled_from(ODD)]
    elif isinstance(value, str | os.PathLike):
        near = [st.text(max_size=5)]
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        fields = value._fields if len(value) <= 4 and not any(map(callable, value)) else ()  # as `spoil` does
        near = [
            drawn(getattr(value, field), turn).map(lambda one, field=field: value._replace(**{field: one}))
            for field in fields
        ]
    elif isinstance(value, list | tuple) and value:
        near = [
            drawn(value[0], turn).map(lambda one: type(value)([one, *value[1:]])),
            st.just(type(value)()),
            st.just(type(value)([*value, *value])),
        ]
    elif isinstance(value, Mapping) and value:
        first = next(iter(value))
        near = [drawn(value[first], turn).map(lambda one: {**value, first: one}), st.just({**value, 3: value[first]})]
    elif callable(value):
        near = [(st.sampled_from(ODD) | ARRAYS | ELSE).map(Constant)]
    kinds += near * 2
    turn %= len(kinds)
    return st.one_of(*kinds[turn:], *kinds[:turn])


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
    if argument in OPAQUE:
        return
    parameter = inspect.signature(function).parameters[argument]
    number = zlib.crc32(f"{name}.{argument}".encode())
    enormous = ENORMOUS[1:] if argument in TAKES_LONG else ENORMOUS

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
        check()
    except AssertionError as error:
        yield str(error)
    if any(isinstance(one, str | os.PathLike) for one in bound.arguments.values()):  # drawn data may have been saved
        spoiled_arguments._result(function, bound)


def _fault(function, given, value):
    try:
        with warnings.catch_warnings(), mock.patch.object(_checks, "memory_of_machine", return_value=MEMORY):
            warnings.simplefilter("ignore")
            result = spoiled_arguments._result(function, given)
    except Exception as error:
        told = f"{type(error).__name__}: {str(error)[:160]} {spoiled_arguments._place(error)}"
        return None if isinstance(error, BadArgument) or _may_be_raised(error, given) else told
    if not spoiled_arguments._has_nan(result) or function.__name__ in HAVE_NAN:
        return None
    leaves = spoiled_arguments._leaves([getattr(one, "value", one) for one in jax.tree.leaves(value)])
    odd = any(not (np.abs(leaf.astype(float)) < LARGE).all() for leaf in leaves if leaf.dtype.kind in "iuf")
    return None if odd else f"{result!r:.120}"


def _may_be_raised(error, given):
    """Whether a reader names its file, a solver says that it did not converge, or a function in the example raised."""
    if isinstance(error, ValueError | OSError):
        paths = [Path(one) for one in given.arguments.values() if isinstance(one, str | os.PathLike)]
        return any(str(path) in str(error) for path in paths)
    if isinstance(error, FloatingPointError) or (isinstance(error, RuntimeError) and "converge" in str(error)):
        return True
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    files = [name for name in files if name.startswith("<doctest") or f"{os.sep}jaxval{os.sep}" in name]
    return bool(files) and files[-1].startswith("<doctest")
