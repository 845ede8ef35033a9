"""The figures are computed from what they show; the page of findings from the ledger."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments import figures, findings, gallery, statements
from jaxval import theorems
from jaxval.cli.verify import of_claim


@pytest.mark.float64
def test_both_orders_are_drawn_to_one_place_and_the_union_to_another():
    (axes,) = figures.commutativity().axes
    first, second, union = (np.column_stack(line.get_data()) for line in axes.get_lines())
    np.testing.assert_allclose(first[-1], second[-1], atol=1e-9)
    assert np.abs(first[1] - second[1]).max() > 0.1
    assert np.abs(union[-1] - first[-1]).max() > 0.1


@pytest.mark.float64
def test_counterexamples_are_drawn_where_they_are():
    box, cycle, bound, slack, odds, halves = figures.counterexamples().axes
    assert "0.5 away" in box.get_title(loc="left")
    assert "u₀ = 0.5, feasible 0" in cycle.get_title(loc="left")
    values = bound.get_lines()[0].get_ydata()
    assert values[0] < 0.7 < values[-1]
    promised, best = (line.get_ydata() for line in slack.get_lines())
    assert 0.09 < (promised - best).max() < 0.2
    heights = [bar.get_height() for bar in odds.patches]
    np.testing.assert_allclose(heights, [-np.log(3), np.log(3), 0, np.log(31 / 13)], atol=1e-12)
    assert halves.get_lines()[2].get_ydata()[0] == pytest.approx(0.75)


@pytest.mark.once
def test_the_page_tells_the_findings_of_the_ledger():
    """Every statement that fails has its row, in the ledger's words, and there is no other row."""
    recorded = [of_claim(claim) | {"verdict": claim.verdict, "instances": 0} for claim in theorems.claims()]
    expected = findings.page(recorded).splitlines()
    present = findings.PAGE.read_text(encoding="utf-8").splitlines()
    counted = tuple(f"| {title} |" for title in findings.PAPERS.values())
    present, expected = (  # the numbers of instances come from a run, all else from the ledger
        [line.rsplit("|", 2)[0] if line.startswith(counted) else line for line in lines]
        for lines in (present, expected)
    )
    assert present == expected, (
        "run: jaxval verify --json > verdicts.json; python -m experiments.findings verdicts.json"
    )


@pytest.mark.once
def test_the_record_of_the_last_run_is_of_these_claims():
    """The site's pages of the ledger show it: every claim has what was found, and every failure a counterexample."""
    entries = {entry["id"]: entry for entry in json.loads(findings.PAGE.with_name(findings.RECORD).read_text("utf-8"))}
    again = "run: jaxval verify --json > verdicts.json; python -m experiments.findings verdicts.json"
    assert list(entries) == [claim.id for claim in theorems.claims()], again
    for claim in theorems.claims():
        entry = entries[claim.id]
        assert (entry["verdict"], entry["kind"]) == (claim.verdict, claim.kind), again
        assert bool(claim.kind) == bool(entry.get("sides")) == bool(entry.get("counterexample")), claim.id
        assert entry["scope"].startswith(claim.setting.scope), again


@pytest.mark.once
def test_an_exhibit_is_what_the_record_keeps():
    entries = {entry["id"]: entry for entry in json.loads(findings.PAGE.with_name(findings.RECORD).read_text("utf-8"))}
    (claim,) = theorems.claims(ids=["ads/beta-integral"])
    kept = entries[claim.id]
    made = findings.record([{"id": claim.id, "verdict": claim.verdict, "counterexample": {}}])
    assert made == [{name: kept[name] for name in ("id", "verdict", "counterexample", "sides")}]


@pytest.mark.once
def test_figures_are_kept_small_with_what_made_them(tmp_path):
    drawn, docs = tmp_path / "run", tmp_path / "docs"
    drawn.mkdir()
    docs.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (600, 3000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(drawn / "two_parts.png")
    names = gallery.keep("figures", drawn, "python -m experiments.figures", 12.4, docs)
    assert names == ["figures-two-parts.png"]
    with Image.open(docs / "figures" / names[0]) as image:
        assert image.width < gallery.WIDTH  # noise is small only if it is narrow
    assert (docs / "figures" / names[0]).stat().st_size <= gallery.LARGEST
    Image.fromarray(np.full((100, 2000, 3), 255, np.uint8)).save(drawn / "two_parts.png")
    gallery.keep("figures", drawn, "python -m experiments.figures", 13, docs)
    with Image.open(docs / "figures" / names[0]) as image:
        assert image.width == gallery.WIDTH
    (entry,) = json.loads((docs / "figures.json").read_text("utf-8"))
    assert (entry["seconds"], entry["figures"]) == (13, names)
    assert entry["about"].startswith("Pictures that explain")
    with pytest.raises(FileNotFoundError, match="expected figures"):
        gallery.keep("figures", docs, "", 1, docs)


@pytest.mark.once
def test_the_page_of_findings_is_written_from_verdicts(tmp_path):
    plain = {"source": "Axiom 9", "statement": "a = b.", "quote": "a is b", "why": "No.", "corrected": "c.", "root": ""}
    entries = [plain | {"id": c.id, "kind": "", "verdict": "holds", "instances": 5} for c in theorems.claims()]
    entries[0] |= {"kind": "root error", "verdict": "holds as corrected"}
    entries[1] |= {"kind": "follows", "root": entries[0]["id"], "verdict": "fails as printed"}
    entries[2] |= {"kind": "slip", "verdict": "holds as corrected"}
    page, verdicts = tmp_path / "findings.md", tmp_path / "verdicts.json"
    verdicts.write_text(json.dumps(entries), encoding="utf-8")
    assert findings.main([str(verdicts), "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# What was found\n")
    first, second, third = (entry["id"] for entry in entries[:3])
    told = (
        f"**Axiom 9** (`{first}`)",
        "> a is b",
        "No.",
        "**What holds:** c.",
        f"From it follow the failures of `{second}`.",
    )
    assert "\n\n".join(told) in text
    assert f"- **Axiom 9** (`{third}`): a = b. No. **What holds:** c." in text


@pytest.mark.mistakes
def test_mistakes(tmp_path, capsys):
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    (tmp_path / "few.json").write_text("[]", encoding="utf-8")
    for command, words in (
        (lambda: findings.main([str(tmp_path / "bad.json")]), "expected a file from jaxval verify --json"),
        (lambda: findings.main([str(tmp_path / "few.json")]), "expected all claims"),
        (lambda: statements.main(["--texts", str(tmp_path)]), "missing papers/dpo-shapley.txt"),
        (lambda: figures.main(["--figure", "everything"]), "invalid choice: 'everything'"),
    ):
        with pytest.raises(SystemExit, match="2"):
            command()
        assert words in capsys.readouterr().err
