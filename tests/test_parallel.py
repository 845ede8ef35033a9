"""One, two and eight devices, and two processes: the same masks to the bit, the same values to rounding.

The number of devices is fixed when JAX starts, so one process has eight, of which it takes one, two, and all; two more
have two each.
"""

import os
import socket
import subprocess
import sys
import time
from concurrent.futures import CancelledError
from pathlib import Path

import evaluator_tasks as tasks
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import checkpoints, coalitions, parallel

ROOT = Path(__file__).parent.parent
PLAYERS = 6
WEIGHTS = np.arange(1.0, PLAYERS + 1)

# what a user's script looks like: the same in every process; it keeps which masks were evaluated
SCRIPT = """
import sys
import numpy as np
from jaxval import checkpoints, coalitions, parallel, values
process = parallel.connect()
import jax
import jax.numpy as jnp

def utility(mask):
    total = jnp.sum(jnp.where(mask, jnp.arange(1.0, 7.0), 0.0))
    return jnp.stack([jnp.sqrt(total), jnp.sin(total)])

for devices in map(int, sys.argv[2:]):
    mesh = parallel.mesh() if devices == len(jax.devices()) else parallel.mesh(jax.devices()[:devices])
    shared = coalitions.evaluator(utility, 6, batch_size=24, mesh=mesh)
    asked, many = [], shared.many
    shared.many = lambda masks: asked.append(np.asarray(masks)) or many(masks)
    table = coalitions.tabulate(shared, 6)
    estimate = values.sample_shapley(jax.random.key(5), shared, 6, permutations=10)
    rng = np.random.default_rng(0)
    log_probs, rewards = -rng.exponential(size=(7, 5, 8)), rng.normal(size=(5, 8))
    pool = coalitions.tabulate(coalitions.evaluator(coalitions.pool_utility(log_probs, rewards), 6, mesh=mesh), 6)
    refusal = ""
    try:
        coalitions.evaluator(utility, 6, store=checkpoints.Store())
    except ValueError as error:
        refusal = str(error)
    np.savez(
        f"{sys.argv[1]}-{devices}-{process}.npz", refusal=refusal,
        devices=mesh.size, processes=jax.process_count(), masks=np.concatenate(asked), table=table, pool=pool,
        values=estimate.values, standard_errors=estimate.standard_errors, evaluations=estimate.evaluations,
    )
"""


def environment(devices, **variables):
    """A process on CPUs, in float32, with so many devices."""
    kept = {name: value for name, value in os.environ.items() if name not in parallel.meshes.VARIABLES}
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    return kept | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "0", **variables}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def finish(tmp_path_factory):
    """All processes start at the same time; `finish(setting, devices)` is what the script leaves in each of them."""
    folder = tmp_path_factory.mktemp("parallel")
    variables = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}", "JAX_NUM_PROCESSES": "2"}
    settings = {
        "1 process": ([environment(8)], (1, 2, 8)),
        "2 processes": ([environment(2, **variables, JAX_PROCESS_ID=str(process)) for process in range(2)], (4,)),
    }

    def launch(setting, variables, devices):
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(folder / setting), *map(str, devices)],
            cwd=ROOT,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    launched = {
        setting: [launch(setting, one, devices) for one in several] for setting, (several, devices) in settings.items()
    }

    def finish(setting, devices):
        found = []
        for number, process in enumerate(launched[setting]):
            if process.stdout and not process.stdout.closed:
                said, _ = process.communicate(timeout=120)
                assert process.returncode == 0, said
            with np.load(folder / f"{setting}-{devices}-{number}.npz") as archive:
                found.append(dict(archive))
        return found

    yield finish
    for process in (process for several in launched.values() for process in several):
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def one_device(finish):
    return finish("1 process", 1)[0]


def assert_same(found, expected):
    """Masks and counts to the bit; values to 1e-5, relative to the largest."""
    np.testing.assert_array_equal(found["masks"], expected["masks"])
    assert found["evaluations"] == expected["evaluations"]
    for name in ("table", "pool", "values", "standard_errors"):
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-5 * scale, err_msg=name)


@pytest.mark.once
def test_one_device_evaluates_what_the_definition_says(one_device):
    members = (np.arange(2**PLAYERS)[:, None] >> np.arange(PLAYERS)) % 2 == 1
    totals = (members * WEIGHTS).sum(axis=1)
    assert one_device["devices"] == one_device["processes"] == 1
    np.testing.assert_allclose(one_device["table"], np.stack([np.sqrt(totals), np.sin(totals)], axis=1), atol=1e-5)
    np.testing.assert_array_equal(one_device["masks"][: 2**PLAYERS], members)
    asked = np.unique(one_device["masks"][2**PLAYERS :], axis=0)
    assert len(asked) == one_device["evaluations"] > PLAYERS
    rng = np.random.default_rng(0)
    pool, rewards = -rng.exponential(size=(PLAYERS + 1, 5, 8)), rng.normal(size=(5, 8))
    weights = np.exp(pool[0] + np.einsum("sl,lpd->spd", members, pool[1:] - pool[0])) / np.exp(pool).mean(axis=0)
    expected = (weights * rewards).sum(axis=-1) / weights.sum(axis=-1)
    np.testing.assert_allclose(one_device["pool"], expected.mean(axis=-1), atol=1e-5)
    gains = one_device["table"][-1] - one_device["table"][0]
    np.testing.assert_allclose(one_device["values"].sum(axis=0), gains, atol=1e-5)


@pytest.mark.once
@pytest.mark.parametrize("devices", [2, 8])
def test_many_devices_give_the_same(one_device, finish, devices):
    (found,) = finish("1 process", devices)
    assert found["devices"] == devices
    assert_same(found, one_device)


@pytest.mark.once
def test_two_processes_with_two_devices_each_give_the_same_in_both(one_device, finish):
    found = finish("2 processes", 4)
    assert len(found) == 2
    for of_one in found:
        assert of_one["processes"] == 2
        assert of_one["devices"] == 4
        assert "store: expected one process of JAX; got 2" in str(of_one["refusal"])
        assert_same(of_one, one_device)
    assert not str(one_device["refusal"])
    for name in found[0]:
        np.testing.assert_array_equal(found[0][name], found[1][name])


def test_chunks_after_an_interruption_are_those_of_an_undisturbed_run(tmp_path, rng):
    """A product of matrices may round a row by its place in the chunk, so the bits tell whether chunks are the same."""
    weights, masks = jnp.asarray(rng.normal(size=(16, 257))), rng.random((307, 16)) < 0.5

    def utility(mask):
        return jnp.tanh(jnp.where(mask, 1.0, 0.0) @ weights) @ weights[0]

    def evaluator(store):
        return coalitions.evaluator(utility, 16, batch_size=100, store=store)

    def interrupt(finished, *, players):
        if len(store) == 200:
            raise KeyboardInterrupt
        record(finished, players=players)

    with checkpoints.Store(tmp_path / "run.sqlite", fingerprint="run") as store:
        record, store.record = store.record, interrupt
        with pytest.raises(KeyboardInterrupt):
            evaluator(store).many(masks)
    with checkpoints.Store(tmp_path / "run.sqlite", fingerprint="run") as store:
        resumed = evaluator(store)
        found = np.asarray(resumed.many(masks))
    assert resumed.computed == len(np.unique(masks, axis=0)) - 200
    np.testing.assert_array_equal(found, np.asarray(evaluator(checkpoints.Store()).many(masks)))


@pytest.mark.once
@pytest.mark.timeout(60)
def test_a_pool_that_is_shutting_down_can_still_be_killed():
    pool = parallel.ProcessPool(2)
    calls = [pool.submit(time.sleep, 300) for _ in range(4)]
    pool.shutdown(wait=False)
    pool.kill()
    assert all(call.cancelled() or isinstance(call.exception(), CancelledError) for call in calls)
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(abs, 1)


@pytest.mark.once
def test_workers_have_as_many_threads_of_linear_algebra_as_they_are_given(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    before = dict(os.environ)
    for options, expected in (({}, "1"), ({"threads": 3}, "3")):
        with parallel.ProcessPool(1, **options) as pool:
            said = pool.submit(tasks.threads_of_the_worker, 0).result()
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
        assert {said[name] for name in names} == {expected}
    with parallel.ProcessPool(1, threads=None) as pool:
        said = pool.submit(tasks.threads_of_the_worker, 0).result()
    assert said["OMP_NUM_THREADS"] == "7"
    assert "OPENBLAS_NUM_THREADS" not in said
    assert os.environ == before


@pytest.mark.once
def test_an_exception_comes_back_with_the_traceback_of_its_worker(tmp_path):
    with parallel.ProcessPool(1) as pool:
        error = pool.submit(tasks.failing, np.ones(2, bool), tmp_path / "calls").exception()
    assert isinstance(error, LookupError)
    assert "in fail_deep" in str(error.__cause__)


@pytest.mark.mistakes
@pytest.mark.parametrize("threads", [0, -1, 1.5, "two"])
def test_threads_are_a_whole_number(threads):
    with pytest.raises(ValueError, match="threads: expected"):
        parallel.ProcessPool(1, threads=threads)


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("address", "processes", "process", "said"),
    [
        ("127.0.0.1:9876", None, "0", "JAX_NUM_PROCESSES: expected .* all set.*got None"),
        (None, None, "1", "JAX_COORDINATOR_ADDRESS: expected .* all set.*got None"),
        ("127.0.0.1:9876", "two", "0", "JAX_NUM_PROCESSES: .*two whole numbers; got 'two'"),
        ("127.0.0.1:9876", "2", "-1", "JAX_PROCESS_ID: .*two whole numbers; got '-1'"),
        ("127.0.0.1:9876", "2", "2", r"JAX_PROCESS_ID: expected a number in \[0, 2\); got 2"),
        ("127.0.0.1:9876", "0", "0", "JAX_NUM_PROCESSES: expected at least 1; got 0"),
        ("127.0.0.1", "2", "0", "JAX_COORDINATOR_ADDRESS: expected .* with a port, such as .*; got '127.0.0.1'"),
        ("127.0.0.1:port", "2", "0", "JAX_COORDINATOR_ADDRESS: expected .* with a port"),
        (":9876", "2", "0", "JAX_COORDINATOR_ADDRESS: expected .* with a port"),
    ],
)
def test_variables_that_do_not_fit_are_named(monkeypatch, address, processes, process, said):
    for variable, text in zip(parallel.meshes.VARIABLES, (address, processes, process), strict=True):
        if text is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, text)
    with pytest.raises(ValueError, match=said):
        parallel.connect()


@pytest.mark.mistakes
def test_a_mesh_of_nothing_is_refused():
    with pytest.raises(ValueError, match="devices: expected at least one; got none"):
        parallel.mesh([])
