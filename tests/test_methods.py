"""Methods of public classes with arguments drawn at random, as functions have them in test_house.py.

The methods are found by the names that rooms hand out: a new one with arguments needs a call that works, in CALLS.
"""

import dataclasses
import functools
import inspect
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import drawn_arguments
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import spoiled_arguments

from jaxval import alignment, coalitions, values
from jaxval.alignment import registry
from jaxval.checkpoints.store import Store, pack_masks
from jaxval.parallel import ProcessPool, processes
from jaxval.sources import RewardModel
from jaxval.theorems import records
from jaxval.types import BadArgument, Estimate

pytestmark = [pytest.mark.mistakes, pytest.mark.once]

CALLED = ("__init__", "__call__", "__getitem__", "__contains__")
MADE_BY_FUNCTIONS = (coalitions.Evaluator, values.ModelUtility)  # which check what is handed to them
TIMES = 4  # as often is each argument drawn
STANDARD = {ProcessPool: {"args", "kwargs"}}  # handed on to a user's function
KEYS = pack_masks(np.eye(3, dtype=bool))
MASKS = np.eye(3, dtype=bool)


def size(mask):
    return float(np.sum(mask))


def walks():
    def walk():
        utility = yield MASKS[0]
        yield MASKS[int(utility or 0)]  # the same walk may be given twice

    return [walk(), walk()]


class Mean:
    def fit(self, x, y):
        self.mean = np.mean(y)

    def predict(self, x):
        return np.full(len(x), self.mean)


def stored():
    store = Store()
    store.record(dict(zip(KEYS, (0.5, 1.5, "ValueError: none"), strict=True)), players=3)
    return store


def on_threads(method, *arguments):
    with ThreadPoolExecutor(1) as executor:
        return getattr(coalitions.evaluator(size, 3, executor=executor), method)(*arguments)


def in_pool(method, *arguments, **options):
    """In a pool whose workers are no processes, and take no call."""
    with mock.patch.object(processes, "_Worker"):
        return getattr(ProcessPool(1), method)(*arguments, **options)


def claimed(*arguments, **options):
    """Register a claim, and take it out again."""
    before = dict(records._registry)
    numbers = records.Setting(jax.random.normal, "one real number")

    def squares(x, least=0.0):
        "x² ≥ 0 for every x."
        return records.AtMost(least, x**2)

    try:
        return numbers.claim(*arguments, **options)(squares)
    finally:
        records._registry.clear()
        records._registry.update(before)


claimed.__signature__ = inspect.signature(records.Setting(len, "texts").claim)


@functools.cache
def fitted():
    rows = np.arange(4.0)[:, None], np.array([0.0, 1.0, 1.0, 3.0])
    return values.model_utility(Mean, rows, rows, score="squared_error")


def error():
    return BadArgument("beta", expected="a number", got=-1, advice="pass {0}", mentions=("beta",))


def call(function, *arguments, **options):
    return function, arguments, options


# Of each method: a function that makes an object and calls the method, and arguments that work.
CALLS = {
    "Loss.at": lambda: call(registry.record_of(alignment.dpo).at, jnp.ones(2), beta=0.5),
    "Store.__init__": lambda: call(Store, "store.sqlite", fingerprint="one", timeout=0.1),
    "Store.find": lambda: call(lambda keys: stored().find(keys), KEYS),
    "Store.record": lambda: call(
        lambda evaluations, players: stored().record(evaluations, players=players), {KEYS[0]: 0.5}, players=3
    ),
    "Evaluation.many": lambda: call(coalitions.as_evaluation(jnp.sum, 3).many, MASKS),
    "Evaluator.__call__": lambda: call(coalitions.evaluator(size, 3, traced=False), MASKS[0]),
    "Evaluator.many": lambda: call(coalitions.evaluator(size, 3, traced=False).many, MASKS),
    "Evaluator.walk_ahead": lambda: call(lambda walks: on_threads("walk_ahead", walks), walks()),
    "ProcessPool.__init__": lambda: call(ProcessPool, 1, threads=1),
    "ProcessPool.submit": lambda: call(lambda function: in_pool("submit", function), len),
    "ProcessPool.submit_within": lambda: call(
        lambda seconds, function: in_pool("submit_within", seconds, function), 1.0, len
    ),
    "ProcessPool.shutdown": lambda: call(
        lambda wait, cancel_futures: in_pool("shutdown", wait, cancel_futures=cancel_futures), True, False
    ),
    "RewardModel.__call__": lambda: call(RewardModel(("r",), lambda *_: np.ones((1, 1, 1))), "2+2?", "4"),
    "Setting.claim": lambda: call(claimed, "ours/squares", "ours", false="x² ≥ 1.", neighbour={"least": 1}),
    "BadArgument.__init__": lambda: call(BadArgument, "beta", expected="a number", mentions=("beta",)),
    "BadArgument.under": lambda: call(error().under, "beta", {"beta": "--beta"}),
    "BadArgument.renamed": lambda: call(error().renamed, "gamma"),
    "BadArgument.with_advice": lambda: call(error().with_advice, "pass {gamma}"),
    "Estimate.with_names": lambda: call(Estimate(np.ones(2), np.zeros(2), 4).with_names, ["a", "b"]),
    "ModelUtility.__call__": lambda: call(fitted(), np.array([True, False, True, False])),
}


def methods():
    """The names of the methods with arguments, and those arguments."""
    result = {}
    for thing in spoiled_arguments.handed_out():
        for kind in getattr(thing, "__mro__", ()):
            made = (
                thing in MADE_BY_FUNCTIONS or getattr(thing, "_is_protocol", False) or dataclasses.is_dataclass(thing)
            )
            for name, method in vars(kind).items() if kind.__module__.startswith("jaxval.") else ():
                public = not name.startswith("_") or name in CALLED
                if inspect.isfunction(method) and public and not (name == "__init__" and made):
                    _, *arguments = inspect.signature(method).parameters
                    arguments = [one for one in arguments if one not in STANDARD.get(thing, ())]
                    result |= {f"{thing.__name__}.{name}": arguments} if arguments else {}
    return result


def test_every_method_with_arguments_has_a_call_that_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert set(CALLS) == set(methods())
    for make in CALLS.values():
        function, arguments, options = make()
        function(*arguments, **options)


@pytest.mark.parametrize("name", CALLS)
def test_methods_with_a_drawn_argument_refuse_it_or_work(name, tmp_path, monkeypatch):
    """`BadArgument` and nothing else; JAXVAL_FUZZ=N draws N values of each argument in place of a few."""
    monkeypatch.chdir(tmp_path)
    found = []
    for argument in methods()[name]:
        function, arguments, options = CALLS[name]()
        bound = inspect.signature(function).bind(*arguments, **options)
        found += drawn_arguments.faults(name, function, bound, argument, times=TIMES)
    assert not found, "\n".join(found)
