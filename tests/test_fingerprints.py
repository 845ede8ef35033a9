"""Fingerprints: the same in every process, and others as soon as anything changes that a utility's value depends on."""

import collections
import dataclasses
import enum
import functools
import re
import subprocess
import sys
import threading
import types
from pathlib import Path

import evaluator_tasks as tasks
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import coalitions
from jaxval.checkpoints import fingerprint

pytestmark = pytest.mark.once

D = 1
LOCK = threading.Lock()


def scaled(x):
    return D * x


def direct(mask):
    return float(mask.sum()) * D


def called(mask):
    return scaled(mask.sum())


def nested(mask):
    def inside():
        return [scaled(x) for x in mask]

    return sum(inside())


def default(mask, rule=scaled):
    return rule(mask.sum())


def recursive(mask, left=2):
    return scaled(mask.sum()) if left == 0 else mutual(mask, left - 1)


def mutual(mask, left):
    return recursive(mask, left)


def closing(factor=scaled):
    return lambda mask: factor(mask.sum())


class Model:
    def __init__(self, weights):
        self.weights = weights

    def __call__(self, mask):
        return self.score(mask) * self.rate

    def score(self, mask):
        return (mask * self.weights).sum()

    @property
    def rate(self):
        return D


@functools.wraps(direct)
def decorated(*args):
    return direct(*args)


@functools.lru_cache
def cached(size):
    return scaled(size)


@jax.jit
def jitted(mask):
    return jnp.sum(mask) * D


def of_cached(mask):
    return cached(int(mask.sum()))


READERS = {
    "global": direct,
    "called": called,
    "nested": nested,
    "default": default,
    "recursive": recursive,
    "closed over": closing(),
    "lambda": lambda mask: mask.sum() * D,
    "partial": functools.partial(called),
    "object": Model(np.ones(3)),
    "method": Model(np.ones(3)).__call__,
    "class": lambda mask: Model(np.ones(3))(mask),
    "decorated": decorated,
    "cached": of_cached,
    "jitted": jitted,
    "transformed": jax.vmap(jax.grad(lambda x: scaled(x))),
    "contained": {"rules": [(called,)]},
}


@pytest.mark.parametrize("name", READERS)
def test_a_global_counts_however_it_is_read(name, monkeypatch):
    before = fingerprint(READERS[name])
    assert before == fingerprint(READERS[name])
    monkeypatch.setitem(globals(), "D", -1)
    assert before != fingerprint(READERS[name])


def of_module(mask):
    return tasks.total(mask)


def of_import(mask):
    import evaluator_tasks

    return evaluator_tasks.total(mask)


def of_import_from(mask):
    from evaluator_tasks import total

    return total(mask)


@pytest.mark.parametrize("utility", [of_module, of_import, of_import_from])
def test_own_modules_count_by_what_is_read_of_them(utility, monkeypatch):
    before = fingerprint(utility)
    monkeypatch.setattr(tasks, "logged", None)  # not read
    assert before == fingerprint(utility)
    monkeypatch.setattr(tasks, "WEIGHTS", tasks.WEIGHTS + 1e-12)
    assert before != fingerprint(utility)


LAZY = types.ModuleType("lazy_module_of_ours")
LAZY.__getattr__ = lambda name: D if name == "rate" else object.__getattribute__(LAZY, name)


def test_what_an_own_module_makes_when_asked_counts(monkeypatch):
    def utility(mask):
        return mask.sum() * LAZY.rate

    before = fingerprint(utility)
    monkeypatch.setitem(globals(), "D", -1)
    assert before != fingerprint(utility)


def test_a_store_does_not_answer_for_another_global(tmp_path, monkeypatch):
    path, masks = tmp_path / "run.sqlite", np.eye(3, dtype=bool)
    first = coalitions.evaluator(called, 3, traced=False, store=path)
    assert first.many(masks).tolist() == [1.0, 1.0, 1.0]
    del first
    again = coalitions.evaluator(called, 3, traced=False, store=path)
    assert again.many(masks).tolist() == [1.0, 1.0, 1.0]
    assert again.computed == 0
    del again
    monkeypatch.setitem(globals(), "D", -1)
    with pytest.raises(ValueError, match="another run"):
        coalitions.evaluator(called, 3, traced=False, store=path)
    other = coalitions.evaluator(called, 3, traced=False, store=tmp_path / "other.sqlite")
    assert other.many(masks).tolist() == [-1.0, -1.0, -1.0]


@dataclasses.dataclass(frozen=True)
class Setting:
    rate: float = 0.1
    layers: tuple = (2, 3)


class Kind(enum.Enum):
    ONE = 1
    TWO = 2


Point = collections.namedtuple("Point", "x y")

BASE = np.arange(4.0)
PAIRS = [
    ([1], (1,)),
    ([1, [2]], [1, 2]),
    (1, 1.0),
    (1, True),
    ("1", b"1"),
    (Setting(), Setting(layers=(3, 2))),
    (Kind.ONE, Kind.TWO),
    (Point(1, 2), (1, 2)),
    (BASE, BASE + 1e-15),
    (BASE, BASE.astype(np.float32)),
    (BASE, BASE.reshape(2, 2)),
    (BASE, jnp.zeros(4, jnp.bfloat16)),
    (jax.random.key(0), jax.random.key(1)),
    (np.ma.masked_array([1, 2], [0, 1]), np.ma.masked_array([1, 2], [1, 0])),
    (np.array([1, "a"], dtype=object), np.array(["1", "a"], dtype=object)),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),  # players may be taken from a dictionary by number
    ({1, 2}, {1, 3}),
    (collections.defaultdict(list), collections.defaultdict(set)),
    (np.random.default_rng(0), np.random.default_rng(1)),
    (re.compile("a"), re.compile("a", re.IGNORECASE)),
    (lambda mask: 1.0, lambda mask: 2.0),  # on one line: their source is the same
    (lambda mask: mask in {"a", "b"}, lambda mask: mask in {"a", "c"}),
    (functools.partial(called, 1), functools.partial(called, 2)),
    (Model(np.ones(2)), Model(np.zeros(2))),
    (np.add, np.subtract),
    ([1].count, [2].count),
    (jnp.sum, jnp.prod),
    (slice(0, 2), slice(0, 3)),
]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=[str(i) for i in range(len(PAIRS))])
def test_other_content_has_another_fingerprint(one, other):
    assert fingerprint(one) == fingerprint(one)
    assert fingerprint(one) != fingerprint(other)


def test_equal_content_has_the_same_fingerprint():
    def made():
        rows = np.empty(3, [("label", "i1"), ("score", "f8")])  # seven bytes in each row mean nothing
        rows["label"], rows["score"] = 1, [0.1, 0.2, np.nan]
        loop = [1, rows]
        loop.append(loop)
        return fingerprint(
            loop, Setting(), float("nan"), {"ab", "cd", "ef"}, np.asfortranarray(np.arange(6.0).reshape(2, 3)), Model(3)
        )

    assert made() == made()
    assert fingerprint(np.arange(6.0)[::2]) == fingerprint(np.array([0.0, 2.0, 4.0]))
    backwards, forwards = Model(1), Model(1)
    backwards.a, backwards.b, forwards.b, forwards.a = 1, 2, 2, 1
    assert fingerprint(backwards) == fingerprint(forwards)
    assert fingerprint(functools.partial(scaled, a=1, b=2)) == fingerprint(functools.partial(scaled, b=2, a=1))


def test_packages_count_by_version(monkeypatch):
    def utility(mask):
        return jnp.sum(np.linalg.norm(mask))

    before = fingerprint(utility)
    for package in (np, jax):
        with monkeypatch.context() as patched:
            patched.setattr(package, "__version__", "0.0")
            assert before != fingerprint(utility)
    precision = jax.config.jax_enable_x64
    try:
        jax.config.update("jax_enable_x64", not precision)
        assert before != fingerprint(utility)
    finally:
        jax.config.update("jax_enable_x64", precision)
    assert before == fingerprint(utility)


SCRIPT = """
import pickle, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import evaluator_tasks as tasks
import jax
from jaxval.checkpoints import fingerprint
NAMES, TABLE = {"one", "two", "three", "four"}, {"b": np.ones(2), "a": {3, 4}}
class Model:
    names = NAMES
    def __call__(self, mask):
        return tasks.total(mask) * (len(NAMES) if str(mask) in {"x", "y", "z"} else TABLE["b"])
@jax.jit
def jitted(mask):
    return mask.sum()
utility = lambda mask: Model()(mask) + tasks.total(mask)
if len(sys.argv) > 2:
    import cloudpickle
    utility = pickle.loads(cloudpickle.dumps(utility))
print(fingerprint(utility, Model(), TABLE, jitted))
"""


def test_every_process_finds_the_same_fingerprint():
    pytest.importorskip("cloudpickle")
    import os

    runs = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), *more],
            env=os.environ | {"PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed, more in (("1", []), ("2", ["by value"]))
    ]
    assert len({run.communicate(timeout=120)[0] for run in runs}) == 1
    assert all(run.returncode == 0 for run in runs)


def locking(mask):
    with LOCK:
        return mask.sum()


def dynamic(mask):
    return eval("D") * mask.sum()


def passing_on(mask):
    return scaled(tasks)


class Broken:
    def __reduce__(self):
        raise RuntimeError("no content")


REFUSALS = {
    "lock": (lambda: locking, r"got lock .*\(global LOCK of locking\)"),
    "open file": (lambda: open(__file__), "got TextIOWrapper"),  # noqa: SIM115
    "generator": (lambda: (i for i in range(3)), "got generator"),
    "object": (object, "got an object without content"),
    "broken": (lambda: [Broken()], r"got Broken \(no content\)"),
    "eval": (lambda: dynamic, "a function that calls eval"),
    "module": (lambda: passing_on, "passes on the module tasks as a value"),
    "own module": (lambda: [tasks], "the module evaluator_tasks as a value"),
    "vectorised in C": (lambda: np.frompyfunc(scaled, 1, 1), "got ufunc"),
    "no file": (lambda: Path("nowhere.csv"), r"the path nowhere.csv \(FileNotFoundError\)"),
    "folder": (lambda: Path(__file__).parent, "IsADirectoryError"),
    "depth": (lambda: functools.reduce(lambda inner, _: [inner], range(100_000), []), "less deeply nested"),
}


@pytest.mark.mistakes
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_seen_through_is_refused(name):
    make, message = REFUSALS[name]
    with pytest.raises(ValueError, match=message):
        fingerprint(make())


@pytest.mark.mistakes
def test_a_path_store_asks_for_a_fingerprint_where_it_cannot_see(tmp_path):
    with pytest.raises(ValueError, match=r"store: .*global LOCK of locking.*Store\(path, fingerprint=\.\.\.\)"):
        coalitions.evaluator(locking, 3, traced=False, store=tmp_path / "run.sqlite")
    assert not (tmp_path / "run.sqlite").exists()
