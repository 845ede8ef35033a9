"""Sources, alternatives, voters and rewards that an attacker has named do no harm in what is printed and written.

Names try terminal escapes, HTML, formulas of spreadsheets, paths, right-to-left overrides, new lines, the markup of
tables and of mathematics, and lengths that no file name may have. One list of names goes through all commands that read
names, and through the public functions that print, draw or write them.
"""

import csv
import html.parser
import io
import json
import unicodedata

import numpy as np
import pytest
from rich.console import Console

from experiments import sparse_votes
from experiments.commands import guarded
from experiments.deliberation.__main__ import show as show_deliberation
from experiments.deliberation.figures import plot_groups
from jaxval import data, plots, values
from jaxval.cli import main
from jaxval.parallel import progress
from jaxval.plots._drawing import new_figure
from jaxval.sources.repetition import folder_names
from jaxval.types import BadArgument, Estimate

pytestmark = pytest.mark.once

HOSTILE = (
    "\x1b[31mred\x1b]0;title\x07\x9b31m\x7f\x85!",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "=cmd|' /C calc'!A0",
    "../../escaped",
    "\u202egnp.exe\u2066",
    "two\nlines\rback",
    "[bold]x[/y][link=http://x]",
    "$\\frac{1}$ ${7*7} {{7*7}}",
    "a" * 300,
)
BAD = {"Cc", "Cf", "Cs"}  # control characters, overrides of direction, lone surrogates


class Page(html.parser.HTMLParser):
    """The tags and the attributes of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes = set(), set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {(name, value or "") for name, value in attributes}


def assert_terminal_is_safe(text):
    bad = {hex(ord(letter)) for letter in text if letter != "\n" and unicodedata.category(letter) in BAD}
    assert not bad, (
        bad,
        [line for line in text.splitlines() if any(unicodedata.category(letter) in BAD for letter in line)],
    )
    assert not any(line.startswith(("lines", "back")) for line in text.splitlines())


def assert_page_is_safe(text):
    assert not {hex(ord(letter)) for letter in text if letter != "\n" and unicodedata.category(letter) in BAD}
    page = Page()
    page.feed(text)
    assert not {"script", "img", "iframe", "object", "embed"} & page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert not any(value.lstrip().lower().startswith("javascript:") for _, value in page.attributes)


def assert_files_are_safe(folder, within):
    """Every file lies within some of the folders, under a name that a terminal can print."""
    for path in folder.rglob("*"):
        assert any(path == one or one in path.parents for one in within), path
        assert not {unicodedata.category(letter) for letter in path.name} & BAD, ascii(path.name)


def assert_no_formulas(path):
    """No cell of a table is computed by a spreadsheet or moves a cursor."""
    for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"))):
        for cell in row:
            assert not cell.startswith(("=", "+", "@", "\t", "\r", "\uff1d")), cell
            assert not (cell.startswith("-") and not cell[1:2].isdigit()), cell
            assert_terminal_is_safe(cell)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    with (folder / "pairs.jsonl").open("w") as file:
        for i in range(36):
            texts = [f"yes gladly {i % 7}", f"never {i % 5} at all"]
            row = {"prompt": f"{HOSTILE[i % 9]} {i}?", "chosen": texts[i % 2], "rejected": texts[1 - i % 2]}
            row |= {"source": HOSTILE[i % 9], f"score_{HOSTILE[0]}_chosen": 1.0, f"score_{HOSTILE[0]}_rejected": i / 36}
            file.write(json.dumps(row) + "\n")
    return folder / "pairs.jsonl"


def test_values_of_pairs(pairs, tmp_path, capsys):
    out, weights = tmp_path / "out", tmp_path / "weights"
    pages = ["--statement", str(tmp_path / "s.json"), "--report", str(tmp_path / "r.html")]
    words = ["value", str(pairs), "--seeds", "1", "--out", str(out), "--weights", str(weights), *pages]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert_terminal_is_safe(printed.out)
    assert_terminal_is_safe(printed.err)
    assert_page_is_safe((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert_files_are_safe(tmp_path, [out, weights, tmp_path / "s.json", tmp_path / "r.html"])
    named = {row["name"] for row in json.loads((out / "results.json").read_text(encoding="utf-8"))["sources"]}
    assert named == set(HOSTILE)  # data keep names as they are


def test_values_of_log_probabilities(tmp_path, capsys):
    rows = []
    for x in range(12):
        row = {
            "prompt": f"{HOSTILE[x % 9]} {x}",
            "log_prob_reference": -1.0,
        }
        for good in (0, 1):
            chances = {f"log_prob_{name}": float(np.log(0.4 + 0.2 * good)) for name in HOSTILE[:4]}
            rows.append(json.dumps({**row, "response": f"{good}", **chances, f"reward_{HOSTILE[5]}": float(good)}))
    (tmp_path / "pool.jsonl").write_text("\n".join(rows) + "\n")
    words = ["value", "--log-probs", str(tmp_path / "pool.jsonl"), "--candidates", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert_terminal_is_safe(printed.out)
    assert_terminal_is_safe(printed.err)
    assert_files_are_safe(tmp_path, [tmp_path / "pool.jsonl", tmp_path / "out"])


def test_rules_of_votes(tmp_path, capsys):
    with (tmp_path / "votes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["winner", "loser"])
        writer.writerows([HOSTILE[i % 9], HOSTILE[(i * i + 1) % 9]] for i in range(60) if i % 9 != (i * i + 1) % 9)
    written = {name: tmp_path / f"r.{name}" for name in ("html", "csv", "png")}
    words = ["aggregate", tmp_path / "votes.csv", "--rule", "proportional"]
    for option, path in zip(("--report", "--csv", "--figure"), written.values(), strict=True):
        words += [option, path]
    assert main([*map(str, words)]) == 0
    printed = capsys.readouterr()
    assert_terminal_is_safe(printed.out)
    assert_terminal_is_safe(printed.err)
    assert_page_is_safe(written["html"].read_text(encoding="utf-8"))
    assert_files_are_safe(tmp_path, [tmp_path / "votes.csv", *written.values()])
    assert_no_formulas(written["csv"])


@pytest.mark.parametrize("shown", [["--report", "p.html", "--csv", "p.csv"], ["--json"]])
def test_rules_of_votes_of_groups(shown, tmp_path, monkeypatch, capsys):
    """Voters, groups and the texts of statements have names of strangers; the page, the table and JSON tell them."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    votes = [[name, HOSTILE[2 * (i % 4)], *rng.integers(-1, 2, 9)] for i, name in enumerate(HOSTILE)]
    rows = {"votes.csv": [["participant", "group-id", *range(9)], *votes]}
    rows["texts.csv"] = [["comment-id", "comment-body"], *enumerate(HOSTILE)]
    for name, table in rows.items():
        with open(name, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(table)
    assert main(["aggregate", "votes.csv", "--names", "texts.csv", *shown]) == 0
    printed = capsys.readouterr()
    assert_terminal_is_safe(printed.out)
    assert_terminal_is_safe(printed.err)
    if shown == ["--json"]:
        named = {row["text"] for row in json.loads(printed.out)["alternatives"]}
        assert named == {" ".join(name.split()) for name in HOSTILE}  # escaped, and read back as they are
    else:
        assert_page_is_safe((tmp_path / "p.html").read_text(encoding="utf-8"))
        assert_no_formulas(tmp_path / "p.csv")
    matrix = data.read_vote_matrix("votes.csv")
    assert_terminal_is_safe(f"{matrix}{matrix!r}")
    assert_page_is_safe(matrix._repr_html_())


def test_errors_and_warnings_are_safe_to_print():
    """A traceback prints a message as it is, and so does Python a warning."""
    for name in HOSTILE:
        assert_terminal_is_safe(str(BadArgument(name, expected=name, got=name, advice=name)).replace("\n", " "))
    labels = np.array([HOSTILE[0], HOSTILE[4], HOSTILE[1]])
    with pytest.warns(UserWarning, match="no test row has the class") as told:
        values.model_utility(Common, (np.zeros((3, 1)), labels), (np.zeros((1, 1)), labels[:1]), score="accuracy")
    assert_terminal_is_safe(str(told[0].message))


class Common:
    """A model that predicts the first label."""

    def fit(self, x, y):
        self.label = y[0]

    def predict(self, x):
        return np.full(len(x), self.label)


def test_progress_bars_show_any_title(capsys):
    with progress(True, 1, "".join(HOSTILE[:7])) as advance:
        advance(1)
    assert_terminal_is_safe(capsys.readouterr().err.replace("\x1b[?25l", "").replace("\x1b[?25h", ""))


@pytest.mark.parametrize("content", [HOSTILE, ["\ud800"]])
def test_errors_name_strangers_safely(content, tmp_path, capsys):
    """A file of one side of a pair twice, whose error tells the name."""
    for name in content:
        row = {"prompt": name, "chosen": "same", "rejected": "same", "source": name}
        (tmp_path / "pairs.jsonl").write_text(json.dumps(row) + "\n")
        assert (
            main(["value", str(tmp_path / "pairs.jsonl"), "--source", name if "\ud800" not in name else "source"]) == 2
        )
        assert_terminal_is_safe(capsys.readouterr().err)


def test_estimates_are_printed_drawn_and_written(tmp_path):
    estimate = Estimate(np.arange(9.0), np.full(9, 0.1), 4).with_names(HOSTILE)
    assert_terminal_is_safe(values.estimate_table(estimate))
    assert_page_is_safe(estimate._repr_html_())
    values.save_estimate(estimate, tmp_path / "values.npz")
    assert values.load_estimate(tmp_path / "values.npz").names == HOSTILE
    assert_files_are_safe(tmp_path, [tmp_path / "values.npz"])


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font:UserWarning")
def test_figures_draw_any_name(tmp_path):
    numbers = np.linspace(0.1, 0.3, 9)
    estimate = Estimate(numbers, numbers / 9, 4).with_names(HOSTILE)
    figures = [
        plots.plot_values(estimate, title=HOSTILE[7]),
        plots.plot_lotteries(HOSTILE, {HOSTILE[7]: numbers}, title=HOSTILE[0]),
        plots.plot_groups(HOSTILE[:8], {HOSTILE[7]: numbers[:8]}, title=HOSTILE[5]),
        plots.plot_signature(HOSTILE, np.stack([numbers, -numbers], axis=1), [HOSTILE[7], HOSTILE[5]]),
    ]
    for number, figure in enumerate(figures):
        figure.savefig(tmp_path / f"{number}.svg")
        text = (tmp_path / f"{number}.svg").read_text(encoding="utf-8")
        assert_page_is_safe(text)
        figure.savefig(tmp_path / f"{number}.png")
        assert not any(unicodedata.category(letter) in BAD - {"Cc"} for letter in text)


def hostile_poll():
    """A poll of the experiment on deliberations, whose groups and statements an attacker has named."""
    ends = {"estimate": 0.5, "low": 0.25, "high": 0.75}
    both = {name: [value] * 2 for name, value in ends.items()}
    rates = {"win_rate": ends, "win_rates": both, "level": 1.0, "same_votes": {"win_rate": 0.5, "win_rates": [0.5] * 2}}
    gap = {"statement": HOSTILE[0], "rival": HOSTILE[5], "reason": "few votes", "agreed": [0.5, 0.5], "bound": 0.5}
    gap |= dict.fromkeys(("rank_by_consensus", "rank_by_bound", "rank_by_bound_if_groups_weigh_the_same"), 1)
    return {
        "groups": [HOSTILE[7], HOSTILE[6]],
        "shares": [0.5, 0.5],
        "rules": {"F*": rates},
        "pairs": {"compared": 1, "of": 1},
        "majorities": {"certain": 1, "pairs": 1, "top_cycle": 1, "cycle": HOSTILE},
        "alternatives": len(HOSTILE),
        "voters": 4,
        "votes_per_compared_pair": 1,
        "consensus": {
            "rank_correlation": {},
            "same_winner": False,
            "winners": dict.fromkeys(("consensus", "F*"), HOSTILE[4]),
            "largest_gaps": [{**gap, "votes_on_that_pair": 2}],
        },
    }


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font:UserWarning")
def test_experiments_show_any_name(tmp_path, capsys):
    """Experiments on deliberations and on sparse votes print and draw names of the data that they are given."""
    show_deliberation({"poll": hostile_poll()}, Console(width=110, force_terminal=True, no_color=True))
    ends = {name: np.linspace(0.1, 0.2, len(HOSTILE)).tolist() for name in ("estimate", "low", "high")}
    found = {"rules": dict.fromkeys(("u", *sparse_votes.RULES), ends), "condorcet winner": 6, "top cycle": 1}
    runs = {f"lotteries, {model}": {**found, "sum of bounds": 1.0} for model in sparse_votes.MODELS}
    sparse_votes._print(runs, list(HOSTILE))
    printed = capsys.readouterr().out
    assert "[/y]" in printed  # markup is shown, not obeyed
    assert_terminal_is_safe(printed.replace("\x1b[1m", "").replace("\x1b[3m", "").replace("\x1b[0m", ""))
    plot_groups({"poll": hostile_poll()}).savefig(tmp_path / "groups.png")
    figure = new_figure(3, 3)
    sparse_votes._draw_lotteries(runs, list(HOSTILE), figure.subplots())
    figure.savefig(tmp_path / "votes.png")


def test_experiments_name_strangers_safely_in_errors(capsys):
    def work(options, notes):
        raise ValueError(HOSTILE[0])

    assert guarded(work, None, kept="", without_data="") == 2
    assert_terminal_is_safe(capsys.readouterr().err)


def test_folders_of_sources_are_different_short_and_inside():
    names = folder_names([*HOSTILE, "x", "x", "x-0", "X", "..", ".", "", "a/b", "a_b", "con"])
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert 0 < len(name.encode()) <= 100
        assert not set(name) & set("/\\\n\r\x1b\u202e")
        assert name not in (".", "..")


def test_weighted_pairs_stay_one_line_each(pairs, tmp_path):
    data.write_weighted(pairs, tmp_path / "w.jsonl", dict.fromkeys(HOSTILE, 0.5))
    rows = [json.loads(line) for line in (tmp_path / "w.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["source"] for row in rows} == set(HOSTILE)
