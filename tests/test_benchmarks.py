"""Races as processes: a tiny one for real, and peers that cannot be had. No test asks how fast anything is."""

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import evaluator, fault_disks, faults, sizes, social_choice
from benchmarks.__main__ import main as together
from benchmarks.environments import Environments, MissingPeerError, Peer
from benchmarks.harness import Agreement, Bench, FailedRunError, Pair, Profile, Side
from benchmarks.peers import NUMPY
from benchmarks.report import disagreements, growth, tables
from benchmarks.workers import evaluator_run, startup_jaxval
from jaxval.checkpoints import Store
from jaxval.checkpoints.store import pack_masks

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[1]
HERE = Path(sys.executable)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """`python -m benchmarks.social_choice` on tiny sizes: this interpreter as NumPy's, no environment for another."""
    folder = tmp_path_factory.mktemp("benchmark")
    done = subprocess.run(
        [
            HERE,
            "-m",
            "benchmarks.social_choice",
            "--quick",
            "--repeats",
            "2",
            "--json",
            "--out",
            folder,
            "--case",
            "lotteries",
            "ballots",
            "--environment",
            f"numpy={HERE}",
            f"pref_voting={folder / 'nowhere'}",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return json.loads(done.stdout)


def test_a_race_measures_every_side_that_can_be_had(quick):
    assert [record["case"] for record in quick["records"]] == ["maximal lotteries", "ballots to P"]
    for record in quick["records"]:
        for entry in record["sides"]:
            if entry["peer"] == "pref_voting":
                assert "nowhere" in entry["missing"]
                continue
            assert len(entry["seconds"]) == len(entry["cpu_seconds"]) == 2
            assert min(entry["seconds"]) <= entry["median"] <= max(entry["seconds"])
            assert entry["first_seconds"] > 0
            assert entry["rate"] == pytest.approx(entry["items"] / entry["median"])


def test_answers_of_both_sides_are_compared_in_the_same_run(quick):
    for record in quick["records"]:
        for pair in record["pairs"]:
            if pair["theirs"] == "pref_voting":
                assert not {"ratio", "agrees"} & set(pair)
            else:
                assert pair["agrees"]
                assert pair["gap"] <= pair["limit"]
                assert pair["ratio_range"][0] <= pair["ratio"] * (1 + 1e-9)


def test_all_benchmarks_come_together_in_one_table(quick, tmp_path, capsys):
    """A benchmark that has finished with the same options is not run again: this one cannot, for want of a folder."""
    options = ["--only", "social_choice", "--quick", "--ours", "--out", str(tmp_path)]
    command = ["benchmarks.social_choice", "--quick", "--ours", "--python", str(HERE), "--environments", ".benchmarks"]
    finished = {"name": "social_choice", "command": [*command, "--out", str(tmp_path / "social_choice")]}
    (tmp_path / "social_choice").mkdir()
    (tmp_path / "social_choice" / "finished.json").write_text(
        json.dumps({**finished, "status": 0, "seconds": 3, **quick})
    )
    assert together([*options, "--python", str(HERE)]) == 0
    text = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert text.count("\n## ") == 4  # times, ratios, versions and status: --quick has no targets, and one size each
    race = quick["records"][0]["pairs"][0]
    assert f"| jaxval, float64 | SciPy HiGHS | {race['ratio']:.3g} |" in text
    assert f"| social_choice | jaxval | python {quick['versions']['jaxval']['python']}, jax" in text
    assert json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))[0]["records"] == quick["records"]
    assert "social_choice" in capsys.readouterr().out


def test_a_command_runs_until_its_terminal_shows_what_is_waited_for():
    command = startup_jaxval.TASKS["command"]
    assert command({}, words=["aggregate"], again=False, until="word")() == {}
    with pytest.raises(RuntimeError, match=r"(?s)jaxval aggregate nowhere.csv ended with 2: .*nowhere.csv"):
        command({}, words=["aggregate", "nowhere.csv"], again=False, until="bar")()


def test_growth_is_told_where_one_size_alone_differs():
    sides = lambda seconds: [{"side": "jaxval", "median": seconds}, {"side": "a peer"}]  # noqa: E731
    given = [{"voters": 10, "M": 5}, {"voters": 1000, "M": 5}, {"voters": 1000, "M": 6}, {"voters": 10, "M": 7}]
    records = [
        {"case": "P", "sizes": s, "sides": sides(t)} for s, t in zip(given, (1.0, 100.0, 150.0, 1.0), strict=True)
    ]
    table = growth(records)
    columns = [list(column.cells) for column in table.columns]
    assert columns[2:] == [
        ["voters", "M", "M"],
        ["10", "5", "5"],
        ["1000", "7", "6"],
        ["100", "1", "1.5"],
        ["1.00", "0.00", "2.22"],
    ]


def test_the_page_of_sizes_carries_on_by_the_last_exponent():
    def record(size, seconds, gigabytes):
        entry = {"side": "jaxval", "median": seconds, "gigabytes": gigabytes, "numbers": {"largest error": 0.5}}
        return {"case": "Alternatives, F*", "sizes": {"alternatives": size}, "sides": [entry]}

    records = [record(1000, 9.0, 1.0), record(3000, 1.0, 1.0), record(10_000, 10.0, 10.1)]
    text = sizes.page({"machine": {"processor": "a machine", "system": ""}, "records": records})
    slope = np.log(10) / np.log(10 / 3)
    memory = 10.1 + 9.1 / (1e8 - 9e6) * (1e10 - 1e8)  # of a matrix
    assert f"| *100,000* | *{10 * 10**slope:,.0f}* | *{memory:,.0f}* |  |" in text
    assert f"alternatives^{slope:.2f}" in text
    assert "| 10,000 | 10 | 10 | 0.5 |" in text


@pytest.mark.mistakes
def test_a_peer_that_needs_a_newer_python_than_there_is_says_so(tmp_path):
    peer = Peer("tomorrow", ("tomorrow>=1",), python=(3, 99))
    with pytest.raises(MissingPeerError, match=r"tomorrow>=1 wants Python 3\.99 or newer, and none is at hand"):
        Environments(tmp_path).interpreter(peer)


def test_versions_of_every_side_are_kept(quick):
    assert quick["versions"]["jaxval, float64"]["precision"] == "float64"
    assert quick["versions"]["jaxval"]["precision"] == "float32"
    assert quick["versions"]["numpy"]["numpy"] == np.__version__


WORKER = """
import os
import time
import numpy as np
PACKAGES = ("numpy",)
def echo(inputs, *, add):
    print("a package that talks")
    return lambda: {"sum": inputs["numbers"] + add}
def fails(inputs):
    raise ArithmeticError("no answer to this")
def hangs(inputs):
    return lambda: time.sleep(60)
def dies(inputs):
    return lambda: os._exit(3)
TASKS = {"echo": echo, "fails": fails, "hangs": hangs, "dies": dies}
"""


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A bench whose only worker is the one above."""
    package = tmp_path / "benchmarks"
    (package / "workers").mkdir(parents=True)
    for name in ("__init__.py", "worker.py", "workers/__init__.py"):
        (package / name).write_text((ROOT / "benchmarks" / name).read_text(encoding="utf-8"), encoding="utf-8")
    (package / "workers" / "tried.py").write_text(WORKER, encoding="utf-8")
    monkeypatch.setattr("benchmarks.harness.ROOT", tmp_path)
    with Bench(Environments(tmp_path, given={"numpy": HERE}), repeats=1, limit=10) as bench:
        yield bench


def test_sides_run_in_turn_one_at_a_time(bench):
    started = []
    ask = bench._ask
    bench._ask = lambda side, *rest: started.append(side.name) or ask(side, *rest)
    sides = [Side(name, NUMPY, "tried", "echo", {"add": add}, items=10) for name, add in (("ours", 1), ("theirs", 2))]
    record = bench.race(
        "race",
        {},
        {"numbers": np.zeros(2)},
        sides,
        repeats=2,
        rates={"ours": 1e-9},
        seconds={"ours": 0},
        pairs=[
            Pair("ours", "theirs", at_least=1e-9, at_most=1e9),
            Pair("theirs", "ours", at_least=1e9),
            Pair("ours", "ours"),
        ],
        profiles=[Profile("theirs", ["ours"], "nothing to do")],
        compare=lambda inputs, ours, theirs: Agreement(np.abs(ours["sum"] - theirs["sum"]).max(), 0.5, ""),
    )
    assert started == ["ours", "theirs"] * 3
    assert [target["met"] for target in record["targets"]] == [True, False, True, False, True]
    assert [pair["agrees"] for pair in record["pairs"]] == [False, False, True]
    assert record in bench.records
    ours, theirs = (entry["median"] for entry in record["sides"])
    *_, targets, profiles = tables(bench.records)
    assert list(targets.columns[3].cells)[-1] == f"{ours / theirs:.4g}"
    assert [list(column.cells) for column in profiles.columns[1:]] == [
        ["theirs"],
        ["ours"],
        [f"{ours / theirs:.0%}"],
        ["nothing to do"],
    ]


def test_what_a_package_prints_is_no_answer(bench):
    side = Side("echo", NUMPY, "tried", "echo", {"add": 1})
    assert bench.once(side, {"numbers": np.arange(3)})["sum"].tolist() == [1, 2, 3]


def test_a_side_that_fails_is_told_and_the_others_go_on(bench):
    sides = [
        Side(task, NUMPY, "tried", task, options)
        for task, options in (("fails", {}), ("dies", {}), ("echo", {"add": 2}))
    ]
    record = bench.race("race", {}, {"numbers": np.zeros(2)}, sides, pairs=[Pair("echo", "dies", at_least=1)])
    fails, dies, echo = record["sides"]
    assert "no answer to this" in fails["missing"]
    assert "ended" in dies["missing"]
    assert len(echo["seconds"]) == 1
    assert record["targets"][0]["met"] is None


def test_a_call_that_takes_too_long_is_ended(bench):
    bench._limit = 4
    with pytest.raises(FailedRunError, match="within 4 s"):
        bench.once(Side("hangs", NUMPY, "tried", "hangs"), {})


@pytest.mark.parametrize(
    ("environments", "said"),
    [
        (Environments(Path("unused"), given={"peer": Path("no", "such", "folder")}), "no interpreter at"),
        (Environments(Path("unused"), python="no-such-python"), "no-such-python does not run"),
    ],
)
def test_a_peer_that_cannot_be_had_says_why(environments, said):
    with pytest.raises(MissingPeerError, match=said):
        environments.interpreter(Peer("peer", ("some-package>=1",)))


def test_answers_that_differ_and_failures_of_ours_are_found():
    pair = {"ours": "a", "theirs": "b", "agrees": False, "gap": 0.5, "unit": "units"}
    sides = [{"side": "a", "peer": "jaxval", "missing": "it broke"}, {"side": "b", "peer": "numpy", "missing": "gone"}]
    found = disagreements([{"case": "case", "sizes": {"size": 3}, "pairs": [pair], "sides": sides}])
    assert found == ["case, size 3: a and b differ by 0.5 units", "case, size 3: a: it broke"]


def test_lotteries_and_rankings_that_differ_are_told_apart():
    assert social_choice.same_lotteries({}, {"lotteries": np.eye(2)}, {"lotteries": np.eye(2)[::-1]}).gap == 1
    center = np.array([2, 0, 1])
    assert social_choice.kendall_distances(np.array([[2, 0, 1], [0, 2, 1], [1, 0, 2]]), center).tolist() == [0, 1, 3]
    assert np.isnan(social_choice.kendall_distances(np.array([[0, 0, 1]]), center)).all()
    same = {"orders": np.array([[2, 0, 1], [0, 2, 1]] * 50)}
    other = {"orders": np.array([[1, 0, 2], [1, 2, 0]] * 50)}
    assert social_choice.same_distribution({"center": center}, same, same).gap == 0
    assert social_choice.same_distribution({"center": center}, same, other).gap > 4
    nan = social_choice.same_distribution({"center": center}, same, {"orders": np.zeros((9, 3), dtype=int)})
    assert not nan.gap <= nan.limit


def test_comparisons_are_drawn_from_a_preference_function():
    inputs = social_choice.compared_draws(np.random.default_rng(0), 4, 0.8, 3)
    np.testing.assert_allclose(inputs["matrix"] + inputs["matrix"].T, 1, atol=1e-12)
    for compared in social_choice.PER_PAIR:
        wins = inputs[f"wins_{compared}"]
        both = wins + wins.transpose(0, 2, 1)
        assert np.array_equal(both, np.broadcast_to(compared * (1 - np.eye(4, dtype=int)), both.shape))


def test_options_that_name_no_peer_are_refused(capsys, tmp_path):
    assert social_choice.main(["--environment", "numppy=here", "--out", str(tmp_path)]) == 2
    assert "expected one of numpy, pref_voting, prefsampling, evalica; got numppy" in capsys.readouterr().err


@pytest.fixture
def killed_and_alone(tmp_path):
    """A run of three coalitions that was killed once, with the second running, and one that was left alone."""
    for name in ("killed", "alone"):
        (tmp_path / name).mkdir()
        masks = np.arange(3)[:, None] == np.arange(evaluator_run.PLAYERS)
        with Store(tmp_path / name / "store.sqlite", fingerprint="run") as store:
            store.record(dict(zip(pack_masks(masks), (1.0, 2.0, 3.0), strict=True)), players=evaluator_run.PLAYERS)
        np.savez(tmp_path / name / "values.npz", values=np.ones(3, np.float32))
    first, second, third = ("".join("01"[int(member)] for member in mask) for mask in masks)
    steps = [f"begun {first}", f"ended {first}", f"begun {second}"]
    steps += [f"{what} {mask}" for mask in (second, third) for what in ("begun", "ended")]
    (tmp_path / "killed" / "calls.log").write_text("\n".join(steps) + "\n", encoding="utf-8")
    return tmp_path / "killed", tmp_path / "alone", (first, second, third)


def kill_targets(killed, alone, masks, recorded):
    killing = evaluator.Killing(killed, [recorded], [3], [0.0, 0.0])
    record = evaluator.judged("run", killing, alone, set(masks), 1)
    return {target["what"]: target["got"] for target in record["targets"] if not target["met"]}, record


def test_a_killed_run_is_judged_by_what_its_store_held(killed_and_alone):
    killed, alone, masks = killed_and_alone
    held = evaluator.held(killed)
    assert {mask: np.frombuffer(value)[0] for mask, value in held.items()} == dict(zip(masks, (1, 2, 3), strict=True))
    missed, record = kill_targets(killed, alone, masks, {masks[0]: held[masks[0]]})
    assert not missed
    assert not disagreements([record])
    assert record["measured"]["running at a kill, run again"] == 1
    missed, _ = kill_targets(killed, alone, masks, {mask: held[mask] for mask in masks[:2]})
    assert missed == {"recorded and evaluated again": 1}
    missed, _ = kill_targets(killed, alone, masks, {masks[0]: np.float64(7).tobytes()})
    assert missed == {"recorded and lost": 1}
    missed, _ = kill_targets(killed, alone, [*masks, "1" * evaluator_run.PLAYERS], {})
    assert missed == {"coalitions missed": 1}
    np.savez(killed / "values.npz", values=np.nextafter(np.ones(3, np.float32), np.float32([1, 2, 1])))
    missed, record = kill_targets(killed, alone, masks, {})
    assert missed == {"numbers that are not the same to the bit": 1}
    assert disagreements([record])


EXPERIMENT = """
import json, pathlib, sys, time
way, out = sys.argv[1], pathlib.Path(sys.argv[-1])
out.mkdir(exist_ok=True)
path = out / "results.json"
runs = json.loads(path.read_text())["runs"] if path.exists() and way != "forgets" else {}
while len(runs) < 8:
    time.sleep(0.1)
    runs[str(len(runs))] = {"value": len(runs), "seconds": time.time()}
    if way != "lumps" or len(runs) == 8:
        (out / "draft").write_text(json.dumps({"runs": runs}))
        (out / "draft").rename(path)
"""


@pytest.mark.parametrize(
    ("way", "status", "told"),
    [
        ("keeps", 0, "0 finished parts were lost or made again; the results are the same"),
        ("forgets", 1, "[1-8] finished parts were lost or made again"),
        ("lumps", 1, "runs ENDED before their kill: ask for more parts"),  # nothing was finished before all was
    ],
)
def test_kills_tell_whether_finished_parts_are_kept(tmp_path, monkeypatch, capsys, way, status, told):
    (tmp_path / "some_experiment.py").write_text(EXPERIMENT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert faults.main(["--kills", "2", "--longest", "0.01", "some_experiment", way]) == status
    assert re.search(told, capsys.readouterr().out)


def test_a_changed_byte_in_a_page_is_counted_by_what_its_reader_says(tmp_path):
    def checked(folder):
        content = (folder / "file").read_bytes()
        if content.count(0) < len(content):
            raise ValueError(f"{folder}: changed")
        return content

    readers = {
        "named": checked,
        "the same": lambda folder: 1,
        "USED": lambda folder: list((folder / "file").read_bytes()),
        "NOT NAMED": lambda folder: bool((folder / "file").read_bytes().strip(b"\0")) and int("none"),
    }
    for told, read in readers.items():
        kind = fault_disks.Kind(lambda folder: (folder / "file").write_bytes(bytes(3 * 4096 + 1)), read)
        assert fault_disks.flipped_pages(kind, random.Random(0)) == {told: 4, "pages": 4}


def test_the_table_of_faults_tells_what_does_not_hold():
    row = {"CPU seconds": [9.1, 4.0], "parts": 9, "kills": 50, "runs": 2, "telling": 48}
    row |= {"lost or repeated": 0, "same": True}
    bad = row | {"lost or repeated": 2, "fault": "2 parts LOST or repeated"}
    pages = {"pages": 3, "every page": "3 named"}
    told = faults.table({"colors": row, "value": bad, "results of an experiment": pages})
    assert "| colors | 9 | cold 9, then 4.0 | 50 | 2 | 48 | 0 | the same |" in told
    assert "| results of an experiment | 3 | 3 named |" in told
    assert not faults.is_bad(row)
    assert faults.is_bad(bad)
    assert faults.is_bad({"read-only": "NOT NAMED (status 1: error)"})
