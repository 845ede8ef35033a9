"""The command `jaxval aggregate` as a user runs it: a process of its own, real files, one mistake of each kind."""

import json
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.once
JAXVAL = [sys.executable, "-m", "jaxval.cli"]


def run(*words, **options):
    return subprocess.run([*JAXVAL, *map(str, words)], capture_output=True, text=True, timeout=100, **options)


def result_of(*words):
    done = run("aggregate", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_help_loads_nothing():
    code = (
        "import sys; from jaxval.cli import main\n"
        "try: main(['aggregate', '--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'jax', 'numpy', 'scipy', 'rich', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for word in ("--rule", "--beta", "--unranked", "--json", "--figure", "PrefLib", "proportional-borda"):
        assert word in done.stdout


def test_the_textbook_election():
    """Malkevitch's 55 voters: RLHF elects Dan, NLHF Eve; u = (18, 16, 12, 27, 28) / 55 by hand."""
    result = result_of()
    by_name = {row["name"]: row for row in result["alternatives"]}
    bounds = {"Ada": 18, "Ben": 16, "Cleo": 12, "Dan": 27, "Eve": 28}
    for name, votes in bounds.items():
        assert by_name[name]["share_bound"] == pytest.approx(votes / 55)
        assert by_name[name]["proportional"] == pytest.approx(votes / 101)
    assert by_name["Dan"]["borda"] == by_name["Eve"]["lottery"] == by_name["Eve"]["minimax"] == 1
    assert by_name["Ada"]["dictatorship"] == pytest.approx(18 / 55)
    assert result["certificate"] == pytest.approx(55 / 101)
    assert result["certificate_holds"] == "yes"
    assert result["condorcet_winner"] == "Eve"
    assert result["pairs"] == {"compared": 10, "of": 10}


def test_the_table_says_what_the_json_says():
    done = run("aggregate", "--rule", "lottery", "--rule", "proportional", "--beta", "inf")
    assert done.returncode == 0, done.stderr
    for words in ("0.509", "win rate", "Certificate 1/Σu = 0.5446", "Condorcet winner: Eve", "10 of 10"):
        assert words in done.stdout, words
    assert "RLHF" not in done.stdout
    assert done.stdout.index("NLHF") < done.stdout.index("F^∞")
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
    assert sum(row["lottery"] for row in result["alternatives"]) == pytest.approx(1)


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
    "figure into nowhere": (["aggregate", "--figure", "no/such/folder/x.png"], "--figure.*folder that exists"),
}


@pytest.mark.mistakes
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named_without_a_traceback(mistake, request):
    words, message = MISTAKES[mistake]
    done = run(*words, cwd=request.config.rootpath)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert re.search(message, done.stderr), done.stderr


@pytest.mark.mistakes
def test_a_truncated_file_names_its_line(tmp_path):
    file = tmp_path / "cut.csv"
    file.write_text("winner,loser\na,b\nc")
    done = run("aggregate", file)
    assert done.returncode == 2
    assert "line 3" in done.stderr
    assert "Traceback" not in done.stderr


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
