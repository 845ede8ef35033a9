"""The statement of contributions and its page: the schema, the numbers, strangers' names, other schemas."""

import csv
import functools
import hashlib
import html.parser
import json
from pathlib import Path

import jax
import jsonschema
import numpy as np
import pytest

import jaxval.cli
from jaxval import axioms, data, sources, values
from jaxval.cli import main
from jaxval.cli.value_page import dependence, page
from jaxval.cli.value_report import describe
from jaxval.cli.value_statement import read_statement, statement

pytestmark = pytest.mark.once
NAMES = ("<script>alert(1)</script>", "Ünïcødé " * 36 + "…", "=cmd|' /C calc'!A0", "foe")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A statement and a page of pairs whose sources are named by a stranger, under two rewards."""
    folder = tmp_path_factory.mktemp("statement")
    with (folder / "pairs.jsonl").open("w") as file:
        for i in range(48):
            source = NAMES[i % 4]
            texts = [f"yes gladly {i % 7}", f"never {i % 5} at all"]
            chosen, rejected = texts[::-1] if source == "foe" else texts
            row = {"prompt": f"{i}?", "chosen": chosen, "rejected": rejected, "source": source}
            row |= {"score_chosen": float(source != "foe"), "score_rejected": float(source == "foe")}
            row |= {"brief_chosen": -len(chosen) / 10, "brief_rejected": -len(rejected) / 10}
            file.write(json.dumps(row) + "\n")
        empty = {"prompt": "?", "chosen": "", "rejected": "no", "source": NAMES[0]}
        file.write(json.dumps(empty | {"score_chosen": 0, "score_rejected": 0, "brief_chosen": 0, "brief_rejected": 0}))
    with (folder / "scores.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["source", "<b>trak</b>"], *([name, i] for i, name in enumerate(NAMES))])
    words = ["value", str(folder / "pairs.jsonl"), "--seeds", "1", "--group", "foe", "--skip-unusable", "--json"]
    words += ["--fidelity", "14", "--fidelity-scores", str(folder / "scores.csv")]
    words += ["--weights", str(folder / "weights"), "--floor", "score", "0"]
    assert main([*words, "--statement", str(folder / "s.json"), "--report", str(folder / "r.html")]) == 0
    return folder


def test_a_statement_fits_its_schema(made):
    schema = json.loads((Path(jaxval.cli.__file__).parent / "statement.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    stated = read_statement(made / "s.json")
    jsonschema.validate(stated, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**stated, "sources": stated["sources"][:1]}, schema)
    assert len(stated["rewards"]) == 2


def test_the_numbers_of_a_statement(made):
    """Payments sum to what was gained, shares to one; the file's hash; choices that are varied."""
    stated = read_statement(made / "s.json")
    read, scores = stated["made"]["inputs"]
    assert scores["file"] == "scores.csv"
    assert stated["skipped"] == 1
    assert read["sha256"] == hashlib.sha256((made / "pairs.jsonl").read_bytes()).hexdigest()
    for reward in stated["rewards"]:
        gained = reward["utility"]["all"] - reward["utility"]["none"]
        assert reward["utility"]["gained"] == pytest.approx(gained, abs=1e-5)
        assert sum(row["payment"] for row in reward["contributions"]) == pytest.approx(gained, abs=1e-5)
        shares = [row["share"] for row in reward["contributions"]]
        assert None in shares if gained <= 0 else sum(shares) == pytest.approx(1)
        axioms = {row["axiom"]: row for row in reward["axioms"]}
        assert axioms["efficiency"]["holds"]
        assert axioms["group efficiency, in order"]["gap"] < 1e-6
        kinds = [each["kind"] for each in reward["sensitivity"]["variations"]]
        assert kinds == ["semivalue"] * 4 + ["order"] * 2 + ["reward"] + ["beta"] * 2 + ["copy"] * 4
        copied = {
            each["name"]: each["values"] for each in reward["sensitivity"]["variations"] if each["kind"] == "copy"
        }
        for row in reward["sensitivity"]["copies"]:
            assert row["both_together"] == 2 * copied[row["source"]][row["source"]]


def test_weights_and_drops_of_a_statement(made):
    """The weights are those of the file beside the pairs, which have them; what is not weighted is left out."""
    stated = read_statement(made / "s.json")
    weighed = stated["weights"]
    assert weighed == json.loads((made / "weights" / "weights.json").read_text())
    assert weighed["held_out"]["best"]["score"] >= -1e-6
    assert sum(row["sampling_share"] for row in weighed["sources"]) == pytest.approx(1)
    weights = {row["source"]: row["weight"] for row in weighed["sources"]}
    written = data.read_preferences(made / "weights" / "pairs.jsonl")
    assert set(written.sources) == {name for name, weight in weights.items() if weight > 0}
    for index, name in enumerate(written.sources):
        own = np.asarray(written.comparisons.weight)[np.asarray(written.source) == index]
        np.testing.assert_allclose(own, weights[name], rtol=1e-6)
    for rows in stated["fidelity"]["drops"].values():
        assert [row["left_out"] for row in rows] == [1, 2, 3]
    assert set(stated["fidelity"]["scores"]) == {"values", "alone", "agreement", "pairs", "<b>trak</b>", "random"}


def test_axioms_of_a_hierarchy_are_those_of_owens_value():
    """A copy in another union adds the same and has another value, which the statement must not hide."""
    sources_of = {"a/experts": 1.0, "b/copy": "a/experts", "b/noise": 0.2}
    drawn = data.synthetic_preferences(jax.random.key(0), contexts=8, responses=3, sources=sources_of)
    unions = [0, 1, 1]
    valued = sources.value_sources(drawn, policy="tabular", beta=1.0, unions=unions)
    stated = statement(valued, describe(valued, title="a copy"), groups=None, command=["value"], inputs=[])
    table = valued.utilities[:, 0]
    gap, _ = axioms.symmetry(functools.partial(values.owen, unions=unions), table)
    (symmetry,) = (row for row in stated["rewards"][0]["axioms"] if row["axiom"] == "symmetry")
    assert symmetry["gap"] == pytest.approx(float(gap) / np.abs(table - table[0]).max(), rel=1e-4)
    assert symmetry["gap"] > 0.01
    assert not symmetry["holds"]


class Texts(html.parser.HTMLParser):
    """The tags of a page, the addresses in it, and its text."""

    def __init__(self):
        super().__init__()
        self.tags, self.addresses, self.text = set(), [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data):
        self.text += data


def test_the_page_escapes_strangers_and_loads_nothing(made):
    reader = Texts()
    reader.feed((made / "r.html").read_text())
    assert not {"script", "b"} & reader.tags
    assert all(address.startswith(("#", "data:,")) for address in reader.addresses)
    for name in NAMES:
        assert name in reader.text or name.strip() in reader.text
    assert "contributed most" in reader.text
    assert page(read_statement(made / "s.json"), command=["value"]).count("<svg") == 2


def test_what_conclusions_depend_on_is_said():
    pairs = [
        {"higher": name, "lower": "z", "reversed_by": [{"kind": "semivalue", "name": "banzhaf"}]} for name in "abcd"
    ]
    signs = {"a": "above 0", "b": None}
    said = dependence(
        {"sensitivity": {"variations": [{"kind": "semivalue"}], "signs_that_hold": signs, "orders": pairs}}, most=1
    )
    assert said == [
        "The order of a above z depends on the semivalue (banzhaf).",
        "So do the orders of 3 more neighbours.",
        "The sign of the value of b depends on such choices.",
    ]
    assert dependence({"sensitivity": {"variations": [], "signs_that_hold": {}, "orders": []}}) == []
    pair = {
        "higher": "a",
        "lower": "b",
        "reversed_by": [{"kind": "copy", "name": "a"}, {"kind": "beta", "name": "half"}],
    }
    copies = [{"source": "a", "value": 0.2, "both_together": 0.3}, {"source": "b", "value": 0.1, "both_together": 0.1}]
    found = {"variations": [{"kind": "copy"}], "signs_that_hold": {"a": "above 0"}, "orders": [pair], "copies": copies}
    assert dependence({"sensitivity": found}) == [
        "The order of a above b depends on whether pairs are handed in twice (a) and on β (half).",
        "By handing in its pairs twice, as two sources, a would gain most: +0.3000 in all instead of +0.2000.",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"schema": "jaxval/statement/1"}', r"expected a statement of the schema jaxval/statement/2; got jaxval/st"),
        ("[1]", "got no schema"),
        ("{", "expected a statement in JSON"),
    ],
)
def test_other_files_are_no_statements(tmp_path, text, words):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_statement(tmp_path / "s.json")
