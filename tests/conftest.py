"""One suite, two legs: `JAX_ENABLE_X64=1` runs it in float64, `JAXVAL_TYPECHECK=1` with jaxtyping's hook on.

`JAXVAL_FIRST_CASES=1` is for a look at other versions of Python and of JAX. All examples in docstrings run, which call
every public function; of each file run the first four tests, with the first case of each, and those marked `versions`.

With the hook on, a wrong argument meets the type checker before it meets our own message, so the tests of users'
mistakes (marked `mistakes`) are left to the leg without it.
"""

import atexit
import collections
import contextlib
import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from importlib.metadata import version
from pathlib import Path

import pytest

# A shell's background jobs are deaf to interruptions, and so would be the tests of them and their child processes.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# One BLAS thread a process, as in the pools of the library: `pytest -n` fills the cores, and threads that wait spin.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# Most of a test's time is compiling: let XLA optimise less. Child processes and the workers of `pytest -n` inherit it.
OPTIMISE_LESS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
# Old emitters compile in a third of the time, one LLVM module in four fifths of that of many. XLA aborts if it lacks a
# flag.
OLD_EMITTERS = "--xla_cpu_use_fusion_emitters=false"
IN_ONE_PIECE = "--xla_cpu_parallel_codegen_split_count=1 --xla_cpu_emitter_verification_level=0"
SILENT = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
JAX = tuple(map(int, version("jax").split(".")[:2]))
trial = None
if "XLA_FLAGS" not in os.environ:
    os.environ["XLA_FLAGS"] = OPTIMISE_LESS
    if JAX < (0, 12):  # JAX 0.12 has no old emitters
        os.environ["XLA_FLAGS"] += f" {OLD_EMITTERS} {IN_ONE_PIECE}"
    if JAX < (0, 12) and JAX != (0, 10):  # JAX 0.10 has all of these
        trial = subprocess.Popen([sys.executable, "-c", "import jax; jax.devices()"], **SILENT)


def remove(folder):
    """Remove a folder without waiting for it: that of the compiled programs holds ten thousands of files."""
    if os.name == "posix":
        subprocess.Popen(["rm", "-rf", folder], **SILENT)
    else:
        shutil.rmtree(folder, ignore_errors=True)


# What one process compiles, the other workers and the child processes load, from a folder that is removed at the end.
# With JAX_COMPILATION_CACHE_DIR, a folder of yours is used and kept: the next run then compiles only what has changed.
# JAX 0.12 has crashed while it wrote large programs there, late in a run, so newer versions go without.
KEEPS_PROGRAMS = JAX < (0, 11)
if not KEEPS_PROGRAMS:
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
elif "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="jaxval-tests-")
    atexit.register(remove, os.environ["JAX_COMPILATION_CACHE_DIR"])
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ["JAXVAL_CACHE"] = "off"  # the folder that the commands keep is the user's

MOST_MAPS = 40_000

# Tracing makes many objects and little garbage; with the default threshold a tenth of the time goes to collecting it.
gc.set_threshold(20_000, 20, 20)

FIRST_TESTS = 4 if os.environ.get("JAXVAL_FIRST_CASES") == "1" else None  # of each file
TYPECHECK = os.environ.get("JAXVAL_TYPECHECK") == "1"
if TYPECHECK:
    from jaxtyping import install_import_hook

    install_import_hook("jaxval", "beartype.beartype")

import jax  # noqa: E402
import numpy as np  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")

if trial is not None and trial.wait() != 0:  # it ran while JAX was imported, which reads no flags yet
    os.environ["XLA_FLAGS"] = OPTIMISE_LESS


def share_contexts(programs=50):
    """Write some programs in turn in one MLIR context, as newer JAX does: a new one for each loads its dialects."""
    from jax._src.interpreters import mlir

    make, inside, kept = mlir.make_ir_context, mlir.ir.InsertionPoint, threading.local()

    def context():
        with contextlib.suppress(ValueError):  # nothing is being written
            return inside.current and make()  # a program within another one needs a context of its own
        if getattr(kept, "left", 0) == 0:
            kept.left, kept.context = programs, make()
        kept.left -= 1
        return kept.context

    mlir.make_ir_context = context


if KEEPS_PROGRAMS:  # a quarter of the time that a small program takes
    with contextlib.suppress(ImportError, AttributeError):  # tests are then only slower
        share_contexts()


def among_the_first(items):
    """The first case of the first tests of each file, all of test_house.py, and what is marked `versions`."""
    functions = collections.defaultdict(set)
    for item in items:
        name, of_file = item.nodeid.split("[")[0], functions[item.path]
        first = name not in of_file and (len(of_file) < FIRST_TESTS or item.get_closest_marker("versions"))
        if first:
            of_file.add(name)
        if first or item.path.name == "test_house.py":
            yield item


def pytest_collection_modifyitems(config, items):
    elsewhere = {"mistakes"} if FIRST_TESTS else {"mistakes", "once"} if TYPECHECK else set()
    if not jax.config.jax_enable_x64:
        elsewhere.add("float64")
    nowhere = [item.nodeid for item in items if {"once", "float64"} <= {mark.name for mark in item.iter_markers()}]
    assert not nowhere, f"marked for float32 only and for float64 only: {nowhere}"
    kept = [item for item in items if not any(item.get_closest_marker(name) for name in elsewhere)]
    kept = list(among_the_first(kept)) if FIRST_TESTS else kept
    left = set(items).difference(kept)
    config.hook.pytest_deselected(items=[item for item in items if item in left])
    items[:] = kept


def pytest_runtest_teardown(item, nextitem):
    """Let compiled programs go between files if a process has many: Linux allows one 65,530 pieces of memory."""
    if nextitem is None or nextitem.path == item.path:
        return
    maps = Path("/proc/self/maps")
    before_all_examples = nextitem.path.name == "test_house.py"  # which fill half of that
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS // (2 if before_all_examples else 1):
        jax.clear_caches()
        gc.collect()


def pytest_collection_finish(session):
    """Modules and tests stay to the end: the garbage collector need not look through them in every round."""
    gc.collect()
    gc.freeze()
    if "PYTEST_XDIST_WORKER" in os.environ:  # a worker does not free its ten thousand programs one by one at the end
        atexit.register(os._exit, 0)


@pytest.fixture(autouse=True)
def precision_stays():
    """A test that leaves another precision behind would change what the tests after it test."""
    before = jax.config.jax_enable_x64
    yield
    assert jax.config.jax_enable_x64 == before


@pytest.fixture(scope="session")
def x64():
    return jax.config.jax_enable_x64


@pytest.fixture(scope="session")
def close(x64):
    """Equal to rounding: absolute 1e-12 in float64, 2e-6 in float32."""

    def assert_close(actual, expected, *, atol=1e-12 if x64 else 2e-6):
        np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), rtol=0, atol=atol)

    return assert_close


@pytest.fixture
def rng():
    """A generator of the test's own, so that its draws do not depend on which tests ran before it."""
    return np.random.default_rng(0)


def real_data(*parts):
    """A file or folder of real data, or a skip that says what is missing."""
    root = Path(os.environ.get("JAXVAL_DATA", "data"))
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no {'/'.join(parts)} in {root}; set JAXVAL_DATA to the folder that holds it")
    return path


@pytest.fixture(scope="session")
def data_path():
    return real_data


@pytest.fixture(scope="session")
def vectors_path():
    """A file of test vectors that other implementations computed, beside the papers' texts."""

    def find(name):
        path = Path(os.environ.get("JAXVAL_TEXTS", "texts"), "vectors", name)
        if not path.exists():
            pytest.skip(f"no {path}; set JAXVAL_TEXTS to the folder that holds vectors/{name}")
        return path

    return find
