"""The statement of contributions and its page: the schema, the numbers, strangers' names, other schemas."""

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
    words = ["value", str(folder / "pairs.jsonl"), "--seeds", "1", "--group", "foe", "--json"]
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
    (read,) = stated["made"]["inputs"]
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
        assert kinds == ["semivalue"] * 4 + ["order"] * 2 + ["reward"]


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
    assert "script" not in reader.tags
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"schema": "jaxval/statement/0"}', r"expected a statement of the schema jaxval/statement/1; got jaxval/st"),
        ("[1]", "got no schema"),
        ("{", "expected a statement in JSON"),
    ],
)
def test_other_files_are_no_statements(tmp_path, text, words):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_statement(tmp_path / "s.json")
