"""The evaluator: the same values wherever it runs, each coalition once, nothing lost, failures named."""

import contextlib
import functools
import multiprocessing
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import evaluator_tasks as tasks
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import coalitions, parallel, values
from jaxval.checkpoints import Store, fingerprint

PLAYERS = 6
KEY = jax.random.key(0)


def traced(mask):
    return jnp.sum(jnp.where(mask, jnp.asarray(tasks.WEIGHTS[:PLAYERS]), 0)) ** 1.5


def unstored(function):
    return coalitions.evaluator(function, 3, traced=False)


def counted():
    calls = []

    def utility(mask):
        calls.append(mask.tolist())
        return tasks.total(mask)

    return utility, calls


ESTIMATES = {
    "sample_shapley": lambda u: values.sample_shapley(KEY, u, PLAYERS, permutations=20, batch_size=16),
    "sample_banzhaf": lambda u: values.sample_banzhaf(KEY, u, PLAYERS, coalitions=40, batch_size=16),
    "sample_truncated_shapley": lambda u: values.sample_truncated_shapley(
        KEY, u, PLAYERS, permutations=6, tolerance=0.5
    ),
    "sample_until": lambda u: values.sample_until(KEY, u, PLAYERS, half_width=5.0, most=512, batch_size=64),
    "regress_shapley": lambda u: values.regress_shapley(KEY, u, PLAYERS, evaluations=64),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=getattr(pytest.mark, "float64" if name == "sample_until" else "once"))
        for name in ESTIMATES
    ],
)
def test_an_evaluator_goes_wherever_a_utility_goes(name, close):
    utility, calls = counted()
    expected = ESTIMATES[name](traced)
    found = ESTIMATES[name](coalitions.evaluator(utility, PLAYERS, traced=False))
    close(found.values, expected.values, atol=1e-4)
    assert int(found.evaluations) == int(expected.evaluations)
    assert len(calls) == len({tuple(call) for call in calls})  # never twice
    assert len(calls) <= int(found.evaluations) + 1  # and the empty one, which tells the shape


def test_tables_and_chunks(tmp_path, close):
    table = coalitions.tabulate(traced, PLAYERS)
    chunked = coalitions.evaluator(traced, PLAYERS, batch_size=7)
    close(coalitions.tabulate(chunked, PLAYERS), table, atol=1e-5)
    assert chunked.traceable  # it may be traced as the utility itself
    close(jax.jit(jax.vmap(chunked))(coalitions.all_coalitions(PLAYERS)), table, atol=1e-5)
    with Store(tmp_path / "run.sqlite", fingerprint="table") as store:
        kept = coalitions.evaluator(traced, PLAYERS, batch_size=7, store=store)
        first = kept.many(coalitions.all_coalitions(PLAYERS)[:20])
        again = coalitions.tabulate(kept, PLAYERS)
        assert kept.computed == 64
        np.testing.assert_array_equal(first, again[:20])
        close(again, table, atol=1e-5)
    with Store(tmp_path / "run.sqlite", fingerprint="table") as store:
        kept = coalitions.evaluator(traced, PLAYERS, store=store)
        np.testing.assert_array_equal(coalitions.tabulate(kept, PLAYERS), again)
        assert kept.computed == 0


@pytest.mark.once
def test_a_path_takes_its_fingerprint_from_the_utility(tmp_path):
    path = tmp_path / "run.sqlite"
    with Store(path, fingerprint=fingerprint(tasks.total, 3)) as store:
        coalitions.evaluator(tasks.total, 3, traced=False, store=store).many([[True, False, True]])
    with pytest.raises(ValueError, match="another run"):
        coalitions.evaluator(tasks.two, 3, traced=False, store=path)
    again = coalitions.evaluator(tasks.total, 3, traced=False, store=path)
    again.many([[True, False, True]])
    assert again.computed == 0


@pytest.mark.once
@pytest.mark.parametrize("pool", [parallel.ProcessPool, ThreadPoolExecutor])
def test_executors_give_the_same_table(pool, close):
    with pool(2) as executor:
        table = coalitions.tabulate(coalitions.evaluator(tasks.two, 5, executor=executor), 5)
    close(table, [tasks.two(mask) for mask in np.asarray(coalitions.all_coalitions(5))], atol=1e-4)


@pytest.mark.once
@pytest.mark.versions
def test_the_standard_pool_of_processes(close):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        evaluator = coalitions.evaluator(tasks.total, 4, executor=executor)
        close(evaluator.many([[True] * 4, [False] * 4]), [tasks.total(np.ones(4, bool)), 0.0], atol=1e-4)


@pytest.mark.once
@pytest.mark.versions
@pytest.mark.filterwarnings("ignore")
def test_a_local_dask_cluster():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        evaluator = coalitions.evaluator(tasks.total, 4, executor=client.get_executor())
        table = coalitions.tabulate(evaluator, 4)
    np.testing.assert_allclose(table, [tasks.total(m) for m in np.asarray(coalitions.all_coalitions(4))], rtol=1e-5)


@pytest.mark.once
def test_failures_are_recorded_and_named_and_the_rest_is_kept(tmp_path):
    masks = np.eye(6, dtype=bool)[[5, 0, 1, 2, 3, 4]]
    with parallel.ProcessPool(1) as pool, Store(tmp_path / "run.sqlite", fingerprint="troubled") as store:
        evaluator = coalitions.evaluator(tasks.troubled, 6, executor=pool, store=store, timeout=1.0, keep_going=True)
        with pytest.raises(ValueError, match=r"RuntimeError: no data for coalition \[0\] and 3 more failed.*kept in"):
            evaluator.many(masks)
        reasons = [stored.error for _, stored in store if stored.error]
        assert sum(stored.value is not None for _, stored in store) == 2
        assert sorted(reason.split(":")[0] for reason in reasons) == [
            "ChildProcessError",
            "RuntimeError",
            "TimeoutError",
            "nan",
        ]
        assert evaluator.many(masks[[0, 5]]).tolist() == [1.0, 1.0]
        before = evaluator.computed
        with pytest.raises(ValueError, match=r"coalition \[1\]; the others"):
            evaluator.many(masks[2:3])
        assert evaluator.computed == before  # not even a failed one is evaluated twice
        assert evaluator.forget_failures() == 4
        with pytest.raises(ValueError, match=r"nan for coalition \[1\]"):
            evaluator.many(masks[2:3])
        assert evaluator.computed == before + 1


@pytest.mark.once
@pytest.mark.parametrize("pool", [None, ThreadPoolExecutor, ProcessPoolExecutor, parallel.ProcessPool])
def test_the_first_failure_stops_the_run_and_keeps_its_cause(tmp_path, pool):
    masks = np.asarray(coalitions.all_coalitions(6))
    utility = functools.partial(tasks.failing, path=tmp_path / "calls")
    options = {"mp_context": multiprocessing.get_context("spawn")} if pool is ProcessPoolExecutor else {}
    with pool(1, **options) if pool else contextlib.nullcontext() as executor, Store() as store:
        evaluator = coalitions.evaluator(utility, 6, executor=executor, traced=False, store=store)
        with pytest.raises(ValueError, match=r"LookupError: no data for coalition \[0, 1\]; the others") as caught:
            evaluator.many(masks)
        at_once = len((tmp_path / "calls").read_bytes())
        assert at_once == 4 if pool is None else at_once <= 12  # a pool has begun the next ones
        assert isinstance(caught.value.__cause__, LookupError)
        told = "".join(traceback.format_exception(caught.value))
        assert "in fail_deep" in told  # the line that failed, also in another process
        with pytest.raises(ValueError, match="in an earlier call"):  # at once, before others are evaluated
            evaluator.many(masks)
        (tmp_path / "repaired").touch()
        assert evaluator.forget_failures() == 1
        assert evaluator.many(masks).tolist() == masks.sum(axis=1).tolist()


@pytest.mark.once
def test_failures_in_jax_stop_the_run():
    ran = []

    def utility(mask):
        jax.debug.callback(lambda: ran.append(1))
        return jnp.log(2.0 - mask.sum())

    masks = np.asarray(coalitions.all_coalitions(6))
    for options, most in (({}, 1), ({"store": Store()}, 1), ({"keep_going": True}, 16)):
        ran.clear()
        with pytest.raises(ValueError, match=r"finite numbers; got -inf for coalition \[0, 1\]"):
            coalitions.evaluator(utility, 6, batch_size=4, **options).many(masks)
        assert len(ran) == most  # chunks


@pytest.mark.once
def test_a_repaired_run_goes_on_with_a_path_as_its_store(tmp_path):
    utility = functools.partial(tasks.failing, path=str(tmp_path / "calls"))
    evaluator = coalitions.evaluator(utility, 3, traced=False, store=tmp_path / "run.sqlite")
    with pytest.raises(ValueError, match=r"forget_failures\(\)"):
        coalitions.tabulate(evaluator, 3)
    del evaluator
    (tmp_path / "repaired").touch()
    evaluator = coalitions.evaluator(utility, 3, traced=False, store=tmp_path / "run.sqlite")
    assert coalitions.tabulate(evaluator, 3).tolist() == [0, 1, 1, 2, 1, 2, 2, 3]  # what failed is tried again
    assert evaluator.computed == 5


CHILD = """
import functools, sys
sys.path.insert(0, sys.argv[1])
import evaluator_tasks as tasks
from jaxval import coalitions
utility = functools.partial(tasks.logged, path=sys.argv[2])
coalitions.tabulate(coalitions.evaluator(utility, 8, traced=False, store=sys.argv[3]), 8)
"""


@pytest.mark.once
def test_killed_at_any_moment_it_repeats_and_loses_nothing(tmp_path):
    log, store = tmp_path / "calls", tmp_path / "run.sqlite"
    wanted = random.Random(0).randint(10, 200)
    process = subprocess.Popen([sys.executable, "-c", CHILD, Path(__file__).parent, log, store])
    while not log.exists() or len(log.read_bytes().splitlines()) < wanted:
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    utility = functools.partial(tasks.logged, path=str(log))
    table = coalitions.tabulate(coalitions.evaluator(utility, 8, traced=False, store=store), 8)
    calls = log.read_bytes().splitlines()
    assert len(set(calls)) == 256
    assert len(calls) <= 256 + 1  # only what ran at the moment of the kill ran again
    np.testing.assert_allclose(table, [tasks.total(m) for m in np.asarray(coalitions.all_coalitions(8))], rtol=1e-5)


def left_by_a_kill(path, folder):
    """A copy of the files of a store, as the death of the process that has it open would leave them."""
    folder.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        shutil.copy(file, folder)
    with Store(folder / path.name, fingerprint="one") as store:
        return len(store)


@pytest.mark.once
def test_what_an_executor_has_finished_does_not_wait_for_the_next(tmp_path, close):
    begun, go_on = threading.Event(), threading.Event()
    utility, calls = counted()

    def long_at_last(mask):
        if mask.all():
            begun.set()
            go_on.wait(60)
        return utility(mask)

    with (
        ThreadPoolExecutor(1) as pool,
        ThreadPoolExecutor(1) as caller,
        Store(tmp_path / "run.sqlite", fingerprint="one") as store,
    ):
        record, records = store.record, []
        store.record = lambda *args, **kwargs: (records.append(time.monotonic()), record(*args, **kwargs))
        started = time.monotonic()
        evaluator = coalitions.evaluator(long_at_last, 8, executor=pool, store=store)
        table = caller.submit(coalitions.tabulate, evaluator, 8)
        assert begun.wait(60)
        copies = (left_by_a_kill(store.path, tmp_path / f"copy-{k}") for k in range(20) if time.sleep(0.5) is None)
        assert 255 in copies  # while the last one still runs
        go_on.set()
        close(table.result()[255], tasks.total(np.ones(8, bool)), atol=1e-4)
        assert evaluator.computed == len(store) == len(calls) == 256
        # They share transactions, one in a tenth of a second.
        assert len(records) <= 2 + (time.monotonic() - started) / 0.1


def by_walks(utility, **options):
    options = {"permutations": 6, "tolerance": 0.5, "burn_in": 2, "walks": 4} | options
    return values.sample_truncated_shapley(KEY, utility, PLAYERS, **options)


@pytest.mark.once
@pytest.mark.parametrize(
    "options", [{}, {"tolerance": 9.0}, {"tolerance": 1e3}, {"groups": [0, 0, 1, 1, 1, 2], "walks": 1}]
)
@pytest.mark.filterwarnings("ignore:tolerance")  # 1000 exceeds v(N) - v(∅)
def test_truncated_walks_do_not_wait_for_each_other(options):
    one_by_one, calls = counted()
    expected = by_walks(coalitions.evaluator(one_by_one, PLAYERS, traced=False), **options)
    utility, others = counted()
    first = calls[2]  # after the two ends, of the first walk

    def slow_for_the_first(mask):
        value = utility(mask)
        limit = time.monotonic() + 60
        while options == {} and mask.tolist() == first and len(others) < 12:  # the three other walks have gone on
            assert time.monotonic() < limit
            time.sleep(0.001)
        return value

    with ThreadPoolExecutor(2) as pool:
        evaluator = coalitions.evaluator(slow_for_the_first, PLAYERS, executor=pool)
        found = by_walks(evaluator, **options)
        jax.tree.map(np.testing.assert_array_equal, found, expected)
        assert sorted(others) == sorted(calls)  # the same coalitions, each once
        by_walks(evaluator, **options)
        assert evaluator.computed == len(calls)


@pytest.mark.once
def test_failures_of_walks_are_named_and_the_rest_is_kept():
    def failing(mask):
        return tasks.total(mask) if mask.sum() != 2 else float("nan")

    with ThreadPoolExecutor(1) as pool:
        evaluator = coalitions.evaluator(failing, PLAYERS, executor=pool)
        with pytest.raises(ValueError, match=r"got nan for coalition \[\d, \d\]; the others are kept"):
            by_walks(evaluator)
        evaluator = coalitions.evaluator(failing, PLAYERS, executor=pool, keep_going=True)
        with pytest.raises(ValueError, match=r"nan for coalition \[\d, \d\] and \d more failed"):
            by_walks(evaluator)
        before = evaluator.computed
        with pytest.raises(ValueError, match="in an earlier call"):
            by_walks(evaluator)
        assert evaluator.computed == before  # not even a failed one is evaluated twice


@pytest.mark.once
def test_an_estimate_resumes_from_its_saved_state(tmp_path):
    estimator = values.permutation_estimator(PLAYERS, permutations=12, per_ask=2)
    whole, calls = counted()
    expected = values.run_estimator(KEY, estimator, coalitions.evaluator(whole, PLAYERS, traced=False), PLAYERS)

    def interrupted(mask, left=[25]):  # noqa: B006 (it counts)
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return tasks.total(mask)

    save = tmp_path / "state.npz"
    with pytest.raises(KeyboardInterrupt):
        values.run_estimator(
            KEY, estimator, coalitions.evaluator(interrupted, PLAYERS, traced=False), PLAYERS, save=save
        )
    assert save.exists()
    rest, more = counted()
    found = values.run_estimator(KEY, estimator, coalitions.evaluator(rest, PLAYERS, traced=False), PLAYERS, save=save)
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.standard_errors, expected.standard_errors)
    assert len(more) < len(calls)
    with pytest.raises(ValueError, match="the state of another key"):
        values.run_estimator(
            jax.random.key(1), estimator, coalitions.evaluator(rest, PLAYERS, traced=False), PLAYERS, save=save
        )


@pytest.mark.once
def test_forty_players_are_sampled_and_not_tabulated():
    weights = np.arange(40.0)
    evaluator = coalitions.evaluator(lambda mask: float(weights[mask].sum()), 40, traced=False)
    with pytest.warns(UserWarning, match="12 for each of 40 players"):
        estimate = values.regress_shapley(KEY, evaluator, 40, evaluations=200)
    np.testing.assert_allclose(estimate.values, weights, atol=1e-3)
    with pytest.raises(ValueError, match="at most 30"):
        coalitions.tabulate(evaluator, 40)


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: coalitions.evaluator("train", 3), "expected a function of a mask"),
        (lambda: coalitions.evaluator(tasks.total, 3), r"evaluator\(utility, players, traced=False\)"),
        (lambda: coalitions.evaluator(tasks.total, 0, traced=False), "players: expected a whole number"),
        (lambda: coalitions.evaluator(tasks.total, 3, traced=False, timeout=1.0), "can stop a worker; got no executor"),
        (lambda: coalitions.evaluator(lambda m: 1.0, 3, executor=ProcessPoolExecutor(1)), "other processes can import"),
        (lambda: coalitions.evaluator(tasks.total, 3, executor=ThreadPoolExecutor(1), timeout=1), "got ThreadPoolExec"),
        (lambda: coalitions.evaluator(tasks.total, 3, traced=False, mesh=parallel.mesh()), "written in JAX"),
        (lambda: unstored(tasks.total).many([[True, False]]), r"expected \(rows, 3\) masks"),
        (lambda: unstored(tasks.total).many(np.zeros((0, 3), bool)), r"expected \(rows, 3\)"),
        (lambda: coalitions.evaluator(lambda m: "a", 2, traced=False).many([[True, True]]), r"got text.*\[0, 1\]"),
        (
            lambda: coalitions.evaluator(lambda m: m * 1.0 if m[0] else 1.0, 2, traced=False).many(
                np.eye(2, dtype=bool)
            ),
            r"but other coalitions have",
        ),
        (lambda: jax.jit(coalitions.evaluator(tasks.total, 3, traced=False))(np.zeros(3, bool)), "got a tracer"),
        (lambda: coalitions.evaluator(lambda m: m.sum() / 0.0, 2).many([[False, True]]), r"inf for coalition \[1\]"),
        (
            lambda: values.sample_shapley(KEY, coalitions.evaluator(tasks.total, 3, traced=False), 4, permutations=4),
            "evaluator of 4 players; got one of 3",
        ),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.once
def test_partials_name_their_source_in_a_store(tmp_path):
    log = tmp_path / "calls"
    utility = functools.partial(tasks.logged, path=str(log))
    coalitions.evaluator(utility, 3, traced=False, store=tmp_path / "a.sqlite").many([[True, True, False]])
    assert log.read_text() == "0 1\n"
