"""`jaxval aggregate` on votes of groups: contexts, votes that say little, 80 columns, tables and pages of files."""

import contextlib
import csv
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.cells import cell_len

from jaxval.cli import aggregate, main, votes_report, votes_words
from jaxval.cli._tables import shortened
from jaxval.cli._votes_facts import in_steps
from jaxval.data import NamedComparisons, VoteMatrix, read_votes, textbook_election
from jaxval.social_choice import group_outcomes, maximal_lottery
from jaxval.types import UNSEEN, Comparisons

pytestmark = pytest.mark.once
RULES = ("--rule", "proportional", "--rule", "borda")
SCRIPT = "<script>alert('owl')</script>"
LONG = "ünïcödé 界 & \x1b[31m" * 30


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """Thirty voters in two groups and in none; nobody but one voter saw the last statement, whose name is an attack."""
    rng = np.random.default_rng(0)
    lines = [f"participant,group-id,0,1,2,{SCRIPT}"]
    for v in range(30):
        group = ("left", "right", "")[v % 3]
        votes = [str(1 if (v + k + v // 9) % 3 else -1) if rng.random() < 0.9 else "" for k in range(3)]
        lines.append(",".join([f"v{v}", group, *votes, "1" if v == 0 else ""]))
    folder = tmp_path_factory.mktemp("town")
    (folder / "participants-votes.csv").write_text("\n".join(lines) + "\n")
    with (folder / "comments.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["comment-id", "comment-body"], ["0", LONG], [SCRIPT, f"</style>{SCRIPT}"]])
    return folder


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    """Two questions with three answers each, nine voters."""
    path = tmp_path_factory.mktemp("questions") / "questions.csv"
    rows = [
        f"{question},{question}{a},{question}{b},{'left' if (v + a + b) % 3 else 'tie'},v{v},{'XY'[v % 2]}"
        for question in "pq"
        for v in range(9)
        for a, b in ((0, 1), (1, 2))
    ]
    path.write_text("context,left,right,winner,voter,group\n" + "\n".join(rows) + "\n")
    return path


class Outline(HTMLParser):
    """The tags of a page, and what it would load."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.loaded = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        names = ("src", "href", "xlink:href", "data", "action")
        self.loaded += [value for name, value in attributes if name in names]


def test_the_report_is_one_page_that_runs_nothing(town, capsys):
    """Names and texts of strangers are shown as they are, and nothing is loaded."""
    page = town / "report.html"
    words = ["aggregate", str(town / "participants-votes.csv"), "--names", str(town / "comments.csv"), *RULES]
    assert main([*words, "--report", str(page), "--csv", str(town / "all.csv")]) == 0
    text, printed = page.read_text(), capsys.readouterr().out
    outline = Outline(text)
    assert not outline.tags & {"script", "iframe", "object", "embed", "img", "base", "form"}
    assert {"svg", "table", "style"} <= outline.tags
    assert all(link.startswith(("#", "data:,")) for link in outline.loaded), outline.loaded
    assert not re.search(r"url\((?!#)|@import|\son\w+=", text)
    assert "&lt;script&gt;alert(" in text
    assert "<h1>town" in text.replace(str(town.name), "town")  # Polis names the folder, not the file
    assert "\x1b" not in printed
    with (town / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["0", "1", "2", SCRIPT]
    assert sum(float(row["proportional"]) for row in rows) == pytest.approx(1)
    assert len(re.findall(r'\sid="([^"]+)"', text)) == len(set(re.findall(r'\sid="([^"]+)"', text)))


def test_a_winner_that_one_voter_saw_is_marked_and_left_out_on_request(town, capsys):
    words = ["aggregate", str(town / "participants-votes.csv"), *RULES]
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["winners"]["borda"]["name"] == SCRIPT
    assert result["winners"]["borda"]["votes"] == 1
    assert result["alternatives"][3]["votes"] == 1
    assert main(words) == 0
    printed = capsys.readouterr().out
    (line,) = [line for line in printed.splitlines() if line.strip().startswith("Borda ")]
    assert " 1† " in line
    assert "(only 1 vote" in printed
    assert main([*words, "--least-votes", "10", "--json"]) == 0
    kept = json.loads(capsys.readouterr().out)
    assert (len(kept["alternatives"]), kept["left_out"]) == (3, 1)
    assert main([*words, "--least-votes", "31"]) == 2
    assert "--least-votes: expected a number that leaves an alternative" in capsys.readouterr().err


def test_what_groups_get_is_what_the_formula_says(town, close):
    votes = read_votes(town / "participants-votes.csv")
    result = aggregate(votes, rules=("proportional",))
    wins = np.zeros((2, 4, 4))
    for row, g in zip(votes.votes, votes.group, strict=True):
        for i, j in np.argwhere((row[:, None] != UNSEEN) & (row[None] != UNSEEN)):
            wins[g, i, j] += 0 if g < 0 or i == j else float(row[i] > row[j]) + (row[i] == row[j]) / 2
    seen = wins + wins.transpose(0, 2, 1)
    matrices = np.where(seen > 0, wins / np.where(seen > 0, seen, 1), 0.5)
    lottery = [row["proportional"] for row in result["alternatives"]]
    expected = group_outcomes(matrices, lottery, shares=[0.5, 0.5])
    rows = result["groups"]
    assert [row["name"] for row in rows] == ["left", "right"]
    assert [row["voters"] for row in rows] == [10, 10]
    close([row["rules"]["proportional"]["win_rate"] for row in rows], expected.win_rates)
    assert result["levels"]["proportional"]["by_groups"] == pytest.approx(float(expected.level), rel=1e-5)
    for row in rows:
        low, high = row["rules"]["proportional"]["win_rate_interval"]
        assert low <= row["rules"]["proportional"]["win_rate"] <= high


def test_a_group_of_one_voter_has_no_interval(questions, tmp_path, capsys):
    """One voter does not tell how much the voters of a group differ."""
    header, *rows = questions.read_text().splitlines()
    lines = [row[:-1] + ("X" if ",v0," in row else "Y") for row in rows]
    path = tmp_path / "alone.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    page = tmp_path / "page.html"
    assert main(["aggregate", str(path), *RULES, "--by", "context", "--report", str(page), "--json"]) == 0
    alone, others = json.loads(capsys.readouterr().out)["by_context"][0]["groups"]
    assert [row["name"] for row in (alone, others)] == ["X", "Y"]
    assert alone["rules"]["borda"]["win_rate_interval"] is None
    assert len(others["rules"]["borda"]["win_rate_interval"]) == 2
    assert "one voter" in page.read_text()


def test_a_result_for_each_context(questions, tmp_path, capsys):
    words = ["aggregate", str(questions), "--by", "context", *RULES]
    assert main([*words, "--json", "--csv", str(tmp_path / "all.csv")]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [part["title"] for part in result["by_context"]] == ["p", "q"]
    assert "pooled" not in result  # no answer is in both
    first, second = result["by_context"]
    assert [row["name"] for row in first["alternatives"]] == ["p0", "p1", "p2"]
    assert first["comparisons"] == 18
    assert first["pairs"] == {"compared": 2, "of": 3}
    assert second["win_rates"] == first["win_rates"]
    assert {row["name"] for row in first["groups"]} == {"X", "Y"}
    text = (tmp_path / "all.csv").read_text()
    assert text.startswith("context,name,votes,share_bound,")
    assert text.count("\n") == 7
    assert main(words) == 0
    assert "2 contexts." in capsys.readouterr().out
    assert main([*words, "--figure", str(tmp_path / "x.png")]) == 2
    assert "--figure: expected one pool of votes; got --by" in capsys.readouterr().err


def test_a_model_in_two_contexts_is_pooled_too(monkeypatch):
    """Two prompts with the same two models, the winners exchanged; the bar ends at its total."""
    bars = []

    @contextlib.contextmanager
    def counted(shown, total, title):
        bars.append([shown, total])
        yield lambda count: bars[-1].append(count)

    monkeypatch.setattr("jaxval.parallel.progress", counted)
    comparisons = Comparisons(np.array([0, 0, 1]), np.array([0, 0, 1]), np.array([1, 1, 0]), np.ones(3))
    votes = NamedComparisons(comparisons, ("a", "b"), ("one", "two"), "models")
    result = aggregate(votes, rules=("borda",), by="context", progress=True)
    assert bars == [[True, 9] + [1] * 9]  # three pools: the counts, the rule and the intervals of each
    assert [part["winners"]["borda"]["name"] for part in result["by_context"]] == ["a", "b"]
    assert result["pooled"]["alternatives"][0]["share_bound"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("number", [5, 60, 1000])
def test_tables_fit_80_columns(number, capsys):
    """Names of one letter and of a hundred, wide ones among them; the rows left out are counted."""
    rng = np.random.default_rng(number)
    names = [f"{'界x'[k % 2] * (1 + 37 * k % 100)}{k}" for k in range(number)]
    share = rng.dirichlet(np.ones(number))
    rules = list(votes_words.HEADINGS)
    rows = [
        {"name": name, "votes": 123456.0, "share_bound": 0.5, "share_bound_interval": [0.123, 0.987]}
        | dict.fromkeys(rules, float(share[k]))
        for k, name in enumerate(names)
    ]
    pairs = {"compared": 400_000, "few": 0, "of": 499_500}
    winner = {
        "name": names[-1],
        "probability": 0.123,
        "equal": number,
        "supported": number,
        "votes": 9.0,
        "pairs": pairs,
    }
    rates = {rule: {"favoured": 0.1, "win_rate": 0.5, "win_rate_interval": [0.1, 0.9]} for rule in rules}
    group = {"name": "G" * 50, "voters": 123456.0, "share": 0.5, "favourites": names[-3:], "rules": rates}
    result = {
        "title": "t" * 200, "comparisons": 1e7, "beta": 0.0, "few": 10, "alternatives": rows, "left_out": 0,
        "win_rates": dict.fromkeys(rules, 0.512), "winners": dict.fromkeys(rules, winner), "least_votes": 0,
        "sum_of_share_bounds": number / 2, "certificate": 0.01, "certificate_holds": "yes", "pairs": pairs,
        "condorcet_winner": None, "top_cycle": names, "groups": [group, {**group, "name": "H"}],
        "levels": {rule: {"guaranteed": 0.1, "by_groups": 0.1} for rule in rules},
    }  # fmt: skip
    votes_report.print_result(result, top=20)
    tables = capsys.readouterr().out.split("comparisons of")[0].splitlines()[:-1]
    assert max(map(cell_len, tables)) <= 80
    assert len(tables) < 60
    groups = [line for line in tables if line.startswith((" GGG", " H "))]
    assert [line.count("(.10–.90)") for line in groups] == [3, 3]  # no number is cut
    if number > 21:
        assert any(f"{number - 21:,} more" in line for line in tables)


def test_a_paragraph_says_whether_the_order_of_groups_is_certain(town):
    result = aggregate(read_votes(town / "participants-votes.csv"), rules=("proportional",))
    best, worst = sorted(result["groups"], key=lambda row: -row["rules"]["proportional"]["win_rate"])
    apart = best["rules"]["proportional"], worst["rules"]["proportional"]
    apart[0]["win_rate_interval"], apart[1]["win_rate_interval"] = [0.6, 0.7], [0.4, 0.5]
    line = votes_words.paragraphs(result)[1]
    assert f"In group {best['name']}, which it serves best" in line
    assert "not certain" not in line
    apart[1]["win_rate_interval"] = [0.4, 0.61]
    assert "so the order of the two is not certain" in votes_words.paragraphs(result)[1]


def test_what_nothing_is_marked_by_is_not_explained(town, capsys):
    """A dagger is explained if there is one; the certificate and the levels are sentences of their own."""
    votes_report.print_result(aggregate(textbook_election(), rules=("borda",)), top=5)
    printed = capsys.readouterr().out
    assert "†" not in printed
    assert not printed.endswith("\n\n")
    result = aggregate(read_votes(town / "participants-votes.csv"), rules=("borda",))
    votes_report.print_result(result, top=5)
    printed = capsys.readouterr().out
    assert "† fewer than 10 votes" in printed
    assert "pairs of the" in printed
    (levels,) = [line for line in votes_words.sentences(result) if "level α" in line]
    assert levels.startswith("The level α")
    ungrouped = {key: value for key, value in result.items() if key != "groups"}
    assert "No groups are told apart" in votes_words.paragraphs(ungrouped)[0]
    assert "No groups" not in votes_words.paragraphs(result)[0]


def test_a_long_cycle_is_not_listed(town):
    """Names of strangers keep to one line; of a cycle that holds all, no name is told."""
    result = aggregate(read_votes(town / "participants-votes.csv"), rules=("borda",))
    names = ["\x1b[2Jowl " * 9, *"bcdefghij"]
    cycle = {**result, "condorcet_winner": None, "top_cycle": names, "certain_cycle": names[:3]}
    some = votes_words.sentences({**cycle, "alternatives": [*result["alternatives"], *names]})[-2]
    assert "among 10 at the top" in some
    assert "b, c, d, e, f, g, h and others)" in some
    assert "\x1b" not in some
    assert "at the top (all statements)" in votes_words.sentences({**cycle, "alternatives": names})[-2]
    assert "\x1b" not in votes_words.sentences({**cycle, "condorcet_winner": names[0]})[-2]


def test_each_voter_counts_as_one():
    """A voter with six pairs, and one with one pair that is the other way round."""
    seen = np.array([[1, 0, -1, -1], [-1, 0, UNSEEN, UNSEEN]], dtype=np.int8)
    votes = VoteMatrix(seen, tuple("abcd"), "two", ("v", "w"))
    by_pair, by_voter = (aggregate(votes, rules=("borda",), each=each) for each in ("pair", "voter"))
    assert by_pair["alternatives"][0]["share_bound"] == 0.5  # one each for a over b
    assert by_voter["alternatives"][0]["share_bound"] == pytest.approx(1 / 7)  # a sixth against one


def test_filling_up_changes_no_lottery(rng, close):
    wins = rng.integers(1, 9, size=(5, 5))
    matrix = np.where(np.eye(5), 0.5, wins / (wins + wins.T))
    close(in_steps(maximal_lottery)(matrix), maximal_lottery(matrix), atol=1e-5)


def test_names_are_cut_by_columns_and_without_control_characters():
    assert shortened("Code Llama Instruct (13B)", 16) == "Code Llama…(13B)"
    assert cell_len(shortened("界" * 30, 11)) <= 11
    assert shortened("a\x1b[2Jb\nc", 80) == "a [2Jb c"


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--by", "context"], "--by: expected comparisons in several contexts"),
        (["--group", "town"], "line 1: expected a column 'town'"),
        (["--names", "no-such.csv"], "no-such.csv: there is no such file"),
        (["--csv", "table.txt"], "--csv: expected a name that ends in .csv"),
        (["--report", "nowhere/report.html"], "--report: expected a name that ends in .html, in a folder that exists"),
        (["--top", "0"], "--top: expected a whole number of at least 1"),
    ],
)
def test_options_that_are_wrong_are_named(town, words, message, capsys):
    try:
        status = main(["aggregate", str(town / "participants-votes.csv"), *words])
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert message in capsys.readouterr().err
