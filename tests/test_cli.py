"""The command `jaxval` as a user runs it: a process of its own, real files, one mistake of each kind."""

import contextlib
import importlib.util
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from jaxval.cli import main

pytestmark = pytest.mark.once
PAGE = 4096  # bytes that SQLite writes at least for an evaluation
JAXVAL = [sys.executable, "-m", "jaxval.cli"]


def run_process(*words, **options):
    """The command in a process of its own."""
    return subprocess.run([*JAXVAL, *map(str, words)], capture_output=True, text=True, timeout=100, **options)


def run(*words):
    """The command in this process, which has JAX loaded: most tests need no other."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([*map(str, words)])
        except SystemExit as end:
            status = end.code
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def result_of(*words):
    done = run("aggregate", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_help_loads_nothing():
    code = (
        "import sys; from jaxval.cli import main\n"
        "for command in ('aggregate', 'value'):\n"
        "    try: main([command, '--help'])\n"
        "    except SystemExit as end: assert end.code == 0\n"
        "heavy = {'jax', 'numpy', 'scipy', 'rich', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    words = ("--rule", "--beta", "--unranked", "--json", "--figure", "PrefLib", "proportional-borda")
    for word in (*words, "--reward", "--truth", "--resume", "--group", "module:function", "metadata.provider"):
        assert word in done.stdout


def test_the_textbook_election():
    """Malkevitch's 55 voters: RLHF elects Dan, NLHF Eve; u = (18, 16, 12, 27, 28) / 55 by hand."""
    result = result_of()
    by_name = {row["name"]: row for row in result["alternatives"]}
    bounds = {"Ada": 18, "Ben": 16, "Cleo": 12, "Dan": 27, "Eve": 28}
    for name, votes in bounds.items():
        assert by_name[name]["share_bound"] == pytest.approx(votes / 55)
        assert by_name[name]["proportional"] == pytest.approx(votes / 101)
    assert by_name["Dan"]["borda"] == by_name["Eve"]["maximal-lottery"] == by_name["Eve"]["minimax"] == 1
    assert by_name["Ada"]["dictatorship"] == pytest.approx(18 / 55)
    assert result["certificate"] == pytest.approx(55 / 101)
    assert result["certificate_holds"] == "yes"
    assert result["condorcet_winner"] == "Eve"
    assert result["pairs"] == {"compared": 10, "of": 10}


def test_the_table_says_what_the_json_says():
    done = run_process("aggregate", "--rule", "maximal-lottery", "--rule", "proportional", "--beta", "inf")
    assert done.returncode == 0, done.stderr
    for words in (" .509 ", "Certificate 1/Σu = 0.5446", "Condorcet winner: Eve", "10 of 10"):
        assert words in done.stdout, words
    assert "RLHF" not in done.stdout
    assert done.stdout.index("maximal ") < done.stdout.index("F^∞ ", done.stdout.index("most to"))
    assert "no guarantee of the F^β above" in done.stdout


def test_comparisons_bring_intervals_and_a_conditional_certificate(tmp_path):
    file = tmp_path / "drinks.csv"
    rows = ["tea,coffee"] * 30 + ["coffee,tea"] * 20 + ["tea,milk"] * 25 + ["milk,tea"] * 5
    file.write_text("winner,loser\n" + "\n".join(rows) + "\n")
    result = result_of(file)
    tea = next(row for row in result["alternatives"] if row["name"] == "tea")
    assert tea["share_bound"] == pytest.approx(0.6)
    low, high = tea["share_bound_interval"]
    assert low < 0.6 < high
    assert "dictatorship" not in tea
    assert result["pairs"] == {"compared": 2, "of": 3}
    assert result["certificate_holds"] == "if P is that of complete rankings"
    figure = tmp_path / "drinks.png"
    done = run("aggregate", file, "--figure", figure, "--rule", "proportional")
    assert done.returncode == 0, done.stderr
    assert "A pair never compared counts as a tie" in done.stdout
    assert figure.read_bytes()[:4] == b"\x89PNG"


def test_a_cycle_without_certificate(tmp_path):
    file = tmp_path / "cycle.csv"
    file.write_text("winner,loser\na,b\nb,c\nc,a\n")
    done = run("aggregate", file, "--rule", "proportional")
    assert done.returncode == 0, done.stderr
    assert "No certificate" in done.stdout
    assert "among 3 at the top (a, b, c)" in done.stdout


def test_unranked_readings_differ(tmp_path):
    file = tmp_path / "ballots.csv"
    file.write_text("count,1,2\n3,a,\n2,b,c\n")
    below, ignored = result_of(file), result_of(file, "--unranked", "ignored")
    assert below["pairs"]["compared"] == 3
    assert ignored["pairs"]["compared"] == 1
    assert below["certificate_holds"] == "yes"


def test_real_elections(data_path):
    result = result_of(data_path("preflib", "00008-glasgow", "00008-00000001.soi"), "--rule", "proportional")
    assert result["ballots"] == 6900
    assert len(result["alternatives"]) == 9
    assert sum(row["proportional"] for row in result["alternatives"]) == pytest.approx(1)


def test_real_votes_on_language_models(data_path):
    result = result_of(data_path("votes", "llmfao", "crowd-comparisons.csv"))
    assert len(result["alternatives"]) == 59
    assert result["comparisons"] == 8931
    assert result["pairs"] == {"compared": 927, "of": 1711}
    assert sum(row["share_bound"] == 0 for row in result["alternatives"]) > 20
    assert sum(row["maximal-lottery"] for row in result["alternatives"]) == pytest.approx(1)


MISTAKES = {
    "no such file": (["aggregate", "nowhere.csv"], "nowhere.csv"),
    "unknown ending": (["aggregate", "pyproject.toml"], "expected a file that ends in"),
    "a folder": (["aggregate", "tests"], "tests"),
    "negative beta": (["aggregate", "--beta", "-1"], "\\[0, inf\\]"),
    "beta in words": (["aggregate", "--beta", "much"], "--beta"),
    "unknown rule": (["aggregate", "--rule", "plurality"], "plurality"),
    "no command": ([], "COMMAND"),
    "unknown command": (["agregate"], "agregate"),
    "beta in letters": (["aggregate", "--beta", "abc"], "\\[0, inf\\].*abc"),
    "an empty name": (["aggregate", ""], "FILE.*empty"),
    "figure without an ending": (["aggregate", "--figure", "x"], "--figure.*ends in .png"),
    "unseen pairs of ballots": (
        ["aggregate", "--unseen", "low-rank"],
        "--unseen: expected votes that it can change; got",
    ),
    "a group of no file": (
        ["aggregate", "--group", "party"],
        "--group: expected a FILE with such a column; got no FILE",
    ),
    "figure into nowhere": (["aggregate", "--figure", "no/such/folder/x.png"], "--figure.*folder that exists"),
}


@pytest.mark.mistakes
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named_without_a_traceback(mistake, request, monkeypatch):
    words, message = MISTAKES[mistake]
    monkeypatch.chdir(request.config.rootpath)
    done = run(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert re.search(message, done.stderr), done.stderr


@pytest.mark.mistakes
def test_a_truncated_file_names_its_line(tmp_path):
    file = tmp_path / "cut.csv"
    file.write_text("winner,loser\na,b\nc")
    done = run("aggregate", file)  # which lets nothing but the command's own mistakes pass
    assert done.returncode == 2
    assert "line 3" in done.stderr


@pytest.mark.mistakes
def test_dictatorship_of_comparisons(tmp_path):
    file = tmp_path / "drinks.csv"
    file.write_text("winner,loser\ntea,coffee\n")
    done = run("aggregate", file, "--rule", "dictatorship")
    assert done.returncode == 2
    assert "expected ballots; got comparisons" in done.stderr


def test_an_infinite_beta_goes_into_json():
    result = result_of("--beta", "inf", "--rule", "proportional")
    assert result["beta"] == "inf"
    assert {row["name"]: row["proportional"] for row in result["alternatives"]}["Eve"] == 1


def without_seconds(folder):
    result = json.loads((folder / "results.json").read_text())
    return {
        name: {kind: {**truth, "seconds": 0} for kind, truth in value.items()} if name == "truth" else value
        for name, value in result.items()
        if name != "seconds"
    }


def test_values_without_a_file(tmp_path):
    """What the answer looks like: a copy like its original, less when it comes later; noise; an adversary."""
    done = run("value", "--out", tmp_path / "new")
    assert done.returncode == 0, done.stderr
    for words in ("experts", "in order", "95 % over prompts", "Efficiency", "the same evidence twice", "utilities"):
        assert words in done.stdout, words
    result = json.loads((tmp_path / "new" / "results.json").read_text())
    assert (tmp_path / "new" / "signature.png").read_bytes()[:4] == b"\x89PNG"
    rows = {row["name"]: row for row in result["sources"]}
    for reward in result["rewards"]:
        values = {name: row["values"][reward] for name, row in rows.items()}
        assert values["crowd"] == pytest.approx(values["copy of crowd"], rel=1e-9)
        assert min(values["experts"], values["crowd"]) > 2 * abs(values["noise"])
        assert values["adversary"] < 0
        assert 0 < rows["copy of crowd"]["values_in_order"][reward] < values["copy of crowd"]
        low, high = rows["experts"]["context_intervals"][reward]
        assert low < values["experts"] < high
        assert result["efficiency_gap"][reward] < 1e-10
    assert len(result["utilities"]) == 32


def pairs_file(path, *, count=120, sources=("one", "two", "three", "foe")):
    with path.open("w") as file:
        for i in range(count):
            texts = [f"yes gladly {i % 7}", f"never {i % 5} at all"]
            source = sources[i % len(sources)]
            texts = texts[::-1] if source == "foe" else texts
            file.write(
                json.dumps(
                    {"prompt": f"{i}?", "chosen": texts[0], "rejected": texts[1], "provider": {"name": source}}
                    | {"score_chosen": float(source != "foe"), "score_rejected": float(source == "foe")}
                )
                + "\n"
            )
    return path


def retrained(folder):
    """The coalitions that have been retrained one source after another, once the run that did so has ended."""
    (path,) = folder.glob("sequential-*.store")
    with contextlib.closing(sqlite3.connect(path)) as database:
        return set(database.execute("select mask, value from evaluations"))


def test_a_killed_run_goes_on_to_the_same_numbers(tmp_path, capsys):
    """SIGKILL once some coalitions are retrained; the resumed run computes the others only."""
    file = pairs_file(tmp_path / "pairs.jsonl", count=60, sources=("one", "two", "foe"))
    words = ["value", str(file), "--source", "provider.name", "--truth", "--seeds", "1", "--group", "foe", "--json"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    done = run(*words, "--out", whole)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["sources"][2]["values"]["score"] < 0 < result["sources"][0]["values"]["score"]
    assert result["truth"]["sequential"]["largest_gap"]["score"] < 1e-8
    process = subprocess.Popen([*JAXVAL, *words, "--out", str(cut)], stdout=subprocess.DEVNULL)
    kept = cut / "finished" / "seed-0"
    while sum(path.stat().st_size for path in kept.glob("sequential-*.store-wal")) < 5 * PAGE:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (cut / "results.json").exists()
    before = {path: path.stat().st_mtime_ns for path in kept.glob("*.npz")}
    done = retrained(kept)
    assert done
    assert main([*words, "--out", str(cut)]) == 2
    assert "add --resume to continue the run in it" in capsys.readouterr().err
    resumed = run(*words, "--out", cut, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert without_seconds(cut) == without_seconds(whole)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert done <= retrained(kept)
    assert len(retrained(kept)) == 8
    assert "nothing was left" not in resumed.stderr
    again = run(*words, "--out", cut, "--resume")
    assert f"nothing was left to train: the run in {cut} was complete" in again.stderr
    assert without_seconds(cut) == without_seconds(whole)


def test_two_runs_do_not_write_to_one_folder(tmp_path, capsys):
    """The lock is the system's: it ends with its process, and a file that a killed one left blocks nobody."""
    fcntl = pytest.importorskip("fcntl", reason="needs locks of files, which this system has none of")
    file = pairs_file(tmp_path / "pairs.jsonl", count=24, sources=("one", "foe"))
    words = ["value", str(file), "--source", "provider.name", "--seeds", "1", "--json", "--out", str(tmp_path / "out")]
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("w") as other:
        other.write("4711\n")
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        assert main(words) == 2
        assert re.search("--out: expected a folder that no other run writes to.*process 4711", capsys.readouterr().err)
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out)
    one, foe = (row["values"]["score"] for row in result["sources"])
    assert one > 0 > foe
    assert result["values_by_seed"] == [{"one": {"score": one}, "foe": {"score": foe}}]


OWN = """
import jax
from jaxval import alignment, policies

def policy(pairs):
    return policies.log_linear(policies.text_features(pairs.prompts, pairs.responses, buckets=4))

@alignment.margin_loss(source="our own")
def loss(margin):
    return jax.nn.softplus(-margin)
"""


def test_a_policy_and_a_loss_of_the_users_own(tmp_path, monkeypatch, capsys):
    """By module:function, from the working folder; a run of another loss does not go on from its folder."""
    (tmp_path / "own_policy_and_loss.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    file = pairs_file(tmp_path / "pairs.jsonl", count=24, sources=("one", "foe"))
    words = ["value", str(file), "--source", "provider.name", "--seeds", "1", "--json", "--out", "out"]
    words += ["--policy", "own_policy_and_loss:policy"]
    assert main([*words, "--loss", "own_policy_and_loss:loss"]) == 0
    one, foe = (row["values"]["score"] for row in json.loads(capsys.readouterr().out)["sources"])
    assert one > 0 > foe
    assert main([*words, "--loss", "dpo", "--resume"]) == 2
    assert "--out: expected the unfinished run of these pairs and options" in capsys.readouterr().err


def test_what_is_said_where_it_holds(tmp_path, capsys):
    """Groups without a copy, a fitted reward without scores, a copy in a file, few permutations, one seed."""
    scored = pairs_file(tmp_path / "scored.jsonl", count=48)
    rows = [json.loads(line) for line in scored.read_text().splitlines()]
    plain = tmp_path / "plain.jsonl"
    more = [{**row, "provider": {"name": "again"}} for row in rows if row["provider"]["name"] == "one"]
    kept = ("prompt", "chosen", "rejected", "provider")
    plain.write_text("".join(json.dumps({name: row[name] for name in kept}) + "\n" for row in rows + more))
    options = ["--source", "provider.name", "--seeds", "1"]
    assert main(["value", str(scored), *options, "--group", "foe", "--permutations", "4"]) == 0
    said = capsys.readouterr().out
    assert "same evidence twice" not in said
    assert "fitted to the pairs" not in said
    assert "Fewer than 20 permutations tell no standard error" in said
    assert "-0.0000" not in said
    assert main(["value", str(plain), *options, "--group", "again", "--permutations", "400"]) == 0
    said = capsys.readouterr().out
    assert "plain: bradley-terry\n" in said.replace("  ", "").replace(" \n", "\n")
    assert "fitted to the pairs of all sources together" in said
    assert "again: the same as a source before" in said
    assert "The sample would have met every coalition" in said
    assert "all 32 coalitions" in said
    assert "standard error " not in said
    assert "over seeds" not in said


def test_a_report_wants_its_packages_before_it_computes(monkeypatch, capsys):
    """A package that is missing is named at once, not after the trainings."""
    known = importlib.util.find_spec
    monkeypatch.setattr("jaxval.cli._folders.find_spec", lambda name: None if name == "jinja2" else known(name))
    for command in ("value", "aggregate"):
        assert main([command, "--report", "report.html"]) == 2
        assert "--report: expected jinja2 to be installed; got none; pip install" in capsys.readouterr().err


def test_a_hierarchy_of_providers(tmp_path, capsys):
    """Sources named provider/dataset: totals of the providers in JSON, and a table of them with names only."""
    file = pairs_file(tmp_path / "pairs.jsonl", count=48, sources=("acme/chat", "acme/code", "foe/web"))
    words = ["value", str(file), "--source", "provider.name", "--seeds", "1", "--hierarchy"]
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    (providers,) = result["unions"]
    assert [union["name"] for union in providers] == ["acme", "foe"]
    assert providers[0]["sources"] == ["acme/chat", "acme/code"]
    of_source = {row["name"]: row["values"]["score"] for row in result["sources"]}
    assert providers[0]["values"]["score"] == pytest.approx(of_source["acme/chat"] + of_source["acme/code"])
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "totals of unions: score" in shown
    assert re.search(r"acme +2 ", shown)


def test_numbers_show_three_digits_and_no_minus_zero():
    from jaxval.cli import _tables

    assert _tables.places([0.4, -0.2]) == 4
    assert _tables.places([3.1e-5, -2e-7]) == 7
    assert _tables.places([0.0]) == 4
    assert _tables.signed(-1e-6, 4) == "0.0000"
    assert _tables.signed(-1e-4, 4) == "-0.0001"
    assert _tables.fixed(None, 4) == "–"


VALUE_MISTAKES = {
    "no such file": (["nowhere.jsonl"], "nowhere.jsonl"),
    "another ending": (["pyproject.toml"], "ends in .jsonl.*; got the ending .toml"),
    "a pool without its option": (["{pool}"], "line 1: .*a table of log-probabilities is read by .* by --log-probs"),
    "an option with a slip": (["--fidelty", "6"], r"^jaxval value: .*; did you mean --fidelity\?; jaxval value --help"),
    "no such source field": (["{pairs}"], "line 1: expected the field 'source'"),
    "one source": (["{one}"], "at least 2 sources"),
    "no score": (["{pairs}", "--source", "provider.name", "--reward", "score:taste"], "'score'; got 'taste'"),
    "no such function": (["{pairs}", "--source", "provider.name", "--reward", "json:nothing"], "json:nothing"),
    "no such reward": (["{pairs}", "--source", "provider.name", "--reward", "nice"], "--reward: .*'nice'"),
    "group of nobody": (["{pairs}", "--source", "provider.name", "--group", "four"], "--group.*'one'.*'four'"),
    "a hierarchy without levels": (
        ["{pairs}", "--source", "provider.name", "--hierarchy"],
        "--hierarchy: expected sources that are named provider/dataset.*; got 'one'",
    ),
    "a report of another ending": (["--report", "report.pdf"], "--report: expected a name that ends in .html"),
    "a statement in no folder": (["--statement", "nowhere/s.json"], "--statement: .*a folder that exists; got nowhere"),
    "the same file twice": (["{pairs}", "{pairs}"], "FILE: expected each file once"),
    "a source of generated pairs": (["--source", "provider"], "--source: expected a FILE; got none"),
    "fidelity of one coalition": (["--fidelity", "2"], "--fidelity: expected at least 3 coalitions"),
    "twice in a group": (["--group", "crowd", "--group", "crowd"], "--group.*twice"),
    "all held out": (["{pairs}", "--source", "provider.name", "--held-out", "1"], "--held-out"),
    "texts that are not there": (["--policy", "log-linear"], "--policy: expected tabular"),
    "rewards of generated pairs": (["--reward", "score"], "expected a FILE"),
    "resume of nothing": (["--resume"], "--resume: expected --out"),
    "out is a file": (["--out", "pyproject.toml"], "--out: expected a folder"),
    "out is not empty": (["--out", "tests"], "--out: expected a new or empty folder"),
    "beta of zero": (["--beta", "0"], r"^jaxval value: --beta: expected a number above 0; got 0; jaxval value --help"),
    "ridge in words": (["--ridge", "some"], "a number of at least 0"),
    "no seeds": (["--seeds", "0"], "at least 1"),
    "unknown policy": (
        ["{pairs}", "--source", "provider.name", "--policy", "gpt"],
        "--policy: expected one of 'log-linear', .*module:function.*; got 'gpt'; there is no folder of that name",
    ),
    "odd permutations": (["--permutations", "5"], "--permutations: expected an even number of at least 4.*'5'"),
    "few evaluations": (["--evaluations", "3"], r"--evaluations: expected at least 6, [^;]*; got 3; allow"),
    "sampled Banzhaf": (
        ["--semivalue", "banzhaf", "--permutations", "4"],
        "--semivalue: expected 'shapley', .*; got 'banzhaf' and 4 permutations; leave that out",
    ),
    "truth of a sample": (["--truth", "--evaluations", "8"], "--truth: expected no sample.*got 8 evaluations"),
    "tokens of features": (
        ["{pairs}", "--source", "provider.name", "--arithmetic", "token"],
        "--arithmetic: .*choose the policy 'transformer'",
    ),
    "nothing held out of a table": (
        ["{pairs}", "--source", "provider.name", "--policy", "tabular", "--held-out", "0.5"],
        "--held-out: expected none with the policy 'tabular'",
    ),
    "seeds of a table": (
        ["{pairs}", "--source", "provider.name", "--policy", "tabular", "--seeds", "4"],
        "--seeds: expected 1 .*random; got 4",
    ),
    "seeds of a fixed split": (
        ["{pairs}", "--source", "provider.name", "--held-out", "{pairs}", "--seeds", "2"],
        "--seeds: expected 1 with the policy 'log-linear' and a file",
    ),
    "epochs of Newton's method": (
        ["{pairs}", "--source", "provider.name", "--epochs", "2"],
        "--epochs: expected the policy 'transformer' .*; got 2",
    ),
    "a ridge for a transformer": (
        ["{pairs}", "--source", "provider.name", "--policy", "transformer", "--ridge", "1"],
        "--ridge: expected the policy",
    ),
    "a reference of features": (
        ["{pairs}", "--source", "provider.name", "--reference", "uniform"],
        "--reference: expected 'policy' for a policy that starts uniform; got 'uniform'",
    ),
    "unknown loss": (["{pairs}", "--source", "provider.name", "--loss", "dop"], "--loss: expected one of 'dpo'"),
    "a loss that cannot be imported": (["--loss", "json:nothing"], "--loss: .*json:nothing"),
    "a loss without its option": (["--loss", "mallows_phi"], "--loss-option: expected dispersion"),
    "an option that is no number": (["--loss-option", "a", "b"], "--loss-option: expected a name and a number.*a b"),
    "a policy that cannot be imported": (
        ["{pairs}", "--source", "provider.name", "--policy", "json:it"],
        "--policy: .*",
    ),
    "a folder without a checkpoint": (
        ["{pairs}", "--source", "provider.name", "--policy", "tests"],
        "--policy: expected a folder with config.json",
    ),
    "an empty response": (["{empty}"], "line 1: .*; --skip-unusable leaves such pairs out"),
    "no such field": (["{pairs}", "--source", "nobody"], "give that field by --source, such as metadata.provider"),
    "no penalty": (
        ["{pairs}", "--source", "provider.name", "--ridge", "0", "--reward", "score"],
        "FILE: expected some that the features cannot explain; .*; compare more, or regularise .* by ridge, such as 0",
    ),
    "invalid UTF-8": (["{bytes}"], "line 2"),
    "a million sources": (["{many}"], "line 1001.*looks like an id"),
    "a pair without score": (
        ["{scoreless}", "--source", "provider.name"],
        "line 121: .*got no score, which line 1 has; a score",
    ),
    "a missing field": (["{missing}"], "line 1: .*got no rejected"),
    "scores without retraining": (["--fidelity-scores", "x.csv"], "--fidelity-scores: expected --fidelity N beside it"),
    "a floor without weights": (["--floor", "helpful", "0"], "--floor: expected --weights FOLDER beside it"),
    "weights of tokens": (["--weights", "w", "--arithmetic", "token"], "--arithmetic: expected response beside --wei"),
    "weights over nothing": (["--weights", "w", "--over", "-1"], "--over: expected a number above 0, simplex or subse"),
    "a floor that is no number": (["--weights", "w", "--floor", "helpful", "high"], "--floor: .*; got helpful high"),
    "an objective twice": (
        ["--weights", "w", "--objective", "helpful", "1", "--objective", "helpful", "2"],
        "--objective: expected each reward once; got helpful twice",
    ),
    "weights into a folder in use": (["--weights", "tests"], "--weights: expected a new or empty folder; got tests"),
    "draws of candidates": (["--weights", "w", "--least-effective", "5"], "--least-effective: expected a pool of dra"),
}


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--floor", "helpful", "99"], "--floor: expected floors that some weights reach, not 99 for helpful; got .*"),
        (["--objective", "brief", "1"], "--objective: expected rewards among 'helpful', 'harmless'; got 'brief'"),
    ],
)
def test_weights_that_cannot_be_found_do_not_undo_the_values(words, message, tmp_path):
    done = run("value", "--seeds", "1", "--weights", tmp_path / "w", *words)
    assert done.returncode == 2
    assert re.search(message, done.stderr)
    assert "experts" in done.stdout
    assert not (tmp_path / "w").exists()


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("broken")
    row = '{"prompt": "p", "chosen": "a", "rejected": "b", "source": "one"}\n'
    files = {
        name: folder / f"{name}.jsonl"
        for name in ("pairs", "one", "bytes", "many", "scoreless", "missing", "empty", "pool")
    }
    pairs_file(files["pairs"])
    files["one"].write_text(row)
    files["bytes"].write_bytes(row.encode() + b'{"prompt": "\xff"}\n')
    files["many"].write_text("".join(row.replace("one", f"user {i}") for i in range(1500)))
    files["missing"].write_text('{"prompt": "p", "chosen": "a", "source": "one"}\n')
    files["pool"].write_text('{"prompt": "p", "response": "a", "log_prob_reference": -1}\n')
    files["empty"].write_text(row.replace('"b"', '""'))
    pairs_file(files["scoreless"])
    with files["scoreless"].open("a") as file:
        file.write(json.dumps({"prompt": "x", "chosen": "a", "rejected": "b", "provider": {"name": "one"}}) + "\n")
    return files


@pytest.mark.mistakes
@pytest.mark.parametrize("mistake", VALUE_MISTAKES)
def test_mistakes_of_value_are_named(mistake, broken, request, monkeypatch):
    """In this process: none of them comes as far as a training."""
    words, message = VALUE_MISTAKES[mistake]
    monkeypatch.chdir(request.config.rootpath)
    done = run("value", *(word.format(**broken) for word in words))
    err = done.stderr
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.search(message, err), err
    assert not re.search(r"\w=\w|\w=\(|True|False|None", err), err  # nor does it speak Python
    assert len(err.splitlines()) == 1
