"""The ledger: its checks see what is false, its verdicts are those recorded, its counterexamples stand by hand."""

import functools
import importlib
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import statements
from jaxval import theorems
from jaxval.cli import main
from jaxval.cli.verify import _print_tables
from jaxval.theorems import _traces, checks
from jaxval.theorems.pages import literal
from jaxval.theorems.ppa import _profiles, _tasks

# Examples 1.1 and 1.2 continued; statements of papers that are cited.
OTHERS = {"ads/example-1", "ads/example-2", "ads/remark-2.2", "ppa/proposition-2", "ppa/proposition-4"}
KEY = jax.random.key(0)
framework = importlib.import_module("jaxval.theorems.records")


def confined(claim):
    """The claim about one case of an instance alone, to compile less: `jaxval verify` checks all of them.

    It is the case that the counterexample is about, which differs from the one in which voters are opposed; otherwise
    the one in which the false neighbour is refuted, or the largest.
    """
    cases = claim.setting.cases
    if not cases:
        return claim
    name = getattr(claim.neighbour, "keywords", {}).get("only") or list(cases)[-1]
    if claim.counterexample and isinstance(claim.counterexample(), _tasks.Tasks):
        name = "3 responses"
    elif claim.counterexample:
        shown, usual = claim.counterexample(), _profiles.by_hand()
        apart = [name for name, at in cases.items() if not np.array_equal(getattr(shown, at).P, getattr(usual, at).P)]
        if not apart:
            return claim
        name = apart[0]

    def alone(sides):
        return sides and functools.partial(sides, **{"only": name, **getattr(sides, "keywords", {})})

    sides = alone(claim.sides)
    neighbour = sides if claim.neighbour is claim.sides else alone(claim.neighbour)
    return claim._replace(sides=sides, neighbour=neighbour, correction=alone(claim.correction))


@pytest.mark.float64
def test_a_traced_program_is_kept_for_the_same_claim_alone(monkeypatch, tmp_path):
    pytest.importorskip("flatbuffers")
    monkeypatch.setenv("JAXVAL_PROGRAMS", str(tmp_path))
    (claim,) = theorems.claims(ids=["ads/exchanged-binomials"])

    def as_in_a_new_process():
        for made_once in (checks._generator, checks._stream, checks._cases):
            made_once.cache_clear()

    as_in_a_new_process()
    first = theorems.check_claim(claim, KEY, instances=10)
    assert first.outcome == claim.verdict
    assert len(list(tmp_path.glob("traced-*-cache"))) == 2  # its instances, and its sides
    assert theorems.check_claim(claim._replace(sides=claim.correction), KEY, instances=10).outcome != claim.verdict
    monkeypatch.setattr(_traces.export, "export", None)  # nothing is traced again
    as_in_a_new_process()
    assert str(theorems.check_claim(claim, KEY, instances=10)._replace(seconds=0)) == str(first._replace(seconds=0))


@pytest.mark.float64
@pytest.mark.parametrize("claim", theorems.claims(), ids=lambda claim: claim.id)
def test_verdicts_are_as_recorded_and_false_neighbours_are_refuted(claim):
    verdict = theorems.check_claim(confined(claim), KEY, instances=200 if claim.setting.compiled else 3)
    assert verdict.outcome == claim.verdict, theorems.page(verdict)
    assert verdict.refuted_gap > claim.setting.tolerance
    assert not claim.counterexample or verdict.counterexample_gap > claim.setting.tolerance


class Point(NamedTuple):
    x: jax.Array


def uniform(key):
    """Points of [0, 1/4]."""
    return Point(jax.random.uniform(key) / 4)


@pytest.fixture
def make(monkeypatch):
    """A maker of claims that no other test sees: x is at most `most`, unless it is something else that is asked."""
    monkeypatch.setattr(framework, "_registry", {})

    def made(name="toy/claim", *, most=1.0, compiled=True, **given):
        setting = given.pop("setting", theorems.Setting(uniform, "x in [0, 1/4]", compiled=compiled))
        if "fails" in given:
            given = {
                "quote": "x is small",
                "why": "It is not.",
                "counterexample": lambda: Point(jnp.asarray(2.0)),
            } | given
        else:
            given = {"false": "x ≤ 0.", "neighbour": {"most": 0.0}} | given

        @setting.claim(name, "nowhere", **given)
        def at_most(point, most=most):
            """x ≤ most."""
            return theorems.AtMost(point.x, most)

        return framework.registered()[-1]

    return made


@pytest.mark.float64
@pytest.mark.parametrize("compiled", [True, False])
def test_outcomes(make, compiled):
    """A claim that holds, one that fails, one with a correction, a blind one and an idle one."""

    def check(**given):
        claim = make(f"toy/{len(framework.registered())}", compiled=compiled, **given)
        return theorems.check_claim(claim, KEY, instances=7, batch_size=4)

    holds = check()
    assert (holds.outcome, holds.sampled, holds.enumerated, holds.replayed) == ("holds", 7, 0, 0)
    assert holds.as_recorded
    assert check(neighbour={"most": 0.9}).outcome.startswith("blind")
    fails = check(fails="slip", counterexample=lambda: Point(jnp.asarray(3.0)))
    assert (fails.outcome, fails.worst_gap, fails.counterexample_gap) == ("fails as printed", 2, 2)
    assert fails.as_recorded
    idle = check(fails="slip", counterexample=lambda: Point(jnp.asarray(0.5)))
    assert idle.outcome.startswith("idle"), "its counterexample obeys x ≤ 1, though its sibling's does not"
    corrected = {"fails": "convention", "corrected": "x ≤ 3.", "correction": {"most": 3.0}}
    assert check(**corrected).outcome == "holds as corrected"
    assert check(**corrected).corrected_gap == 0
    assert check(**corrected, false="x ≤ 2.5.", neighbour={"most": 2.5}).refuted_gap == 0.5
    too_tight = check(**corrected, false="x ≤ 3.", neighbour={"most": 3.0})
    assert too_tight.outcome.startswith("blind")
    assert not too_tight.as_recorded


@pytest.mark.float64
@pytest.mark.parametrize("compiled", [True, False])
def test_a_counterexample_of_one_claim_is_tried_on_all_claims_of_its_setting(make, compiled):
    first = make("toy/first", most=1.0, compiled=compiled)
    assert theorems.check_claim(first, KEY, instances=5).outcome == "holds"
    make("toy/second", most=0.5, fails="reading", compiled=compiled)
    verdict = theorems.check_claim(first, KEY, instances=5)
    assert (verdict.outcome, verdict.replayed, verdict.worst_gap) == ("fails as printed", 1, 1)
    assert not verdict.as_recorded


@pytest.mark.float64
def test_finite_families_are_checked_beside_random_instances(make):
    setting = theorems.Setting(
        uniform, "x in [0, 1/4]", exhaustive=lambda: Point(np.array([0.0, 3.0])), every="two points"
    )
    verdict = theorems.check_claim(make(setting=setting), KEY, instances=7)
    assert (verdict.outcome, verdict.enumerated, verdict.worst_gap, verdict.worst.x) == ("fails as printed", 2, 2, 3)
    assert theorems.scope(verdict) == "x in [0, 1/4]; 7 sampled; exhausted: two points (2)"


@pytest.mark.float64
def test_more_instances_begin_with_the_same_ones(make):
    claim = make()
    few, many = (theorems.checks.make_cases(claim, KEY, count).instances.x for count in (300, 600))
    np.testing.assert_array_equal(few, many[:300])
    assert len(np.unique(many)) == 600


@pytest.mark.float64
def test_a_search_without_an_answer_is_inconclusive(make, capsys):
    claim = make(compiled=False)

    def searched(point):
        """x ≤ 1."""
        if point.x > 0.1:
            raise theorems.Inconclusive("the search found nothing")
        return theorems.AtMost(point.x, 1.0)

    unknown = claim._replace(sides=searched)
    verdict = theorems.check_claim(unknown, KEY, instances=20)
    assert verdict.outcome == "inconclusive"
    assert 0 < verdict.inconclusive < 20
    assert f"{verdict.inconclusive} without an answer" in theorems.scope(verdict)
    framework._registry["mallows/unknown"] = unknown._replace(id="mallows/unknown")
    assert main(["verify", "--claim", "mallows/unknown", "--instances", "20"]) == 3
    assert "inconclusive" in capsys.readouterr().out
    false = unknown._replace(sides=lambda point: searched(point)._replace(right=0.0))
    assert theorems.check_claim(false, KEY, instances=20).outcome == "fails as printed"


@pytest.mark.float64
def test_numbers_that_are_none_are_infinite_gaps(make):
    """A maximum that is compiled for many instances passes over NaN; the ledger must not."""
    for sides in (
        lambda point: point.x * jnp.array([0.0, jnp.nan, 0.0]),
        lambda point: (point.x * jnp.array([0.0, jnp.nan, 0.0]), jnp.zeros(3)),
        lambda point: theorems.AtMost(point.x * jnp.array([0.0, jnp.nan, 0.0]), jnp.ones(3)),
    ):
        verdict = theorems.check_claim(make("toy/" + str(id(sides)))._replace(sides=sides), KEY, instances=300)
        assert verdict.worst_gap == np.inf
        assert verdict.outcome == "fails as printed"


@pytest.mark.float64
def test_the_part_that_fails_is_named(make):
    sides = {
        "(1)": (jnp.ones(2), jnp.ones(2)),
        "(2)": {"M = 3": theorems.AtMost(2.0, 1.5), "M = 4": jnp.array([-1.0, 0.25])},
    }
    found = {name: float(gap) for name, (_, gap) in theorems.parts(sides).items()}
    assert found == {"(1)": 0, "(2): M = 3": 0.5, "(2): M = 4": 0.25}
    verdict = theorems.check_claim(make()._replace(sides=lambda point: sides), KEY, instances=3)
    assert (verdict.worst_gap, verdict.part) == (0.5, "(2): M = 3")


@pytest.mark.once
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"neighbour": None}, "a false neighbour, in words and as a change"),
        ({"false": "", "neighbour": None}, "a false neighbour, or a quote, a reason and a counterexample"),
        ({"fails": "slip", "quote": ""}, "a false neighbour, or a quote, a reason and a counterexample"),
        ({"fails": "slip", "corrected": "x ≤ 3."}, "a correction in words and as a change"),
        ({"name": "toy/taken"}, "a new id"),
    ],
)
def test_claims_that_lack_something_are_refused(make, given, expected):
    make("toy/taken")
    with pytest.raises(ValueError, match=f"claim toy/.*: expected {expected}"):
        make(**given)


class Profile(NamedTuple):
    orders: np.ndarray
    weights: np.ndarray


@pytest.mark.once
def test_instances_are_printed_as_python_with_fractions():
    assert literal(np.array([1 / 3, 0.25, 2.0, np.pi])) == f"[1/3, 1/4, 2, {np.pi!r}]"
    profile = Profile(np.array([[0, 1], [1, 0], [0, 1]]), np.array([2 / 3, 1 / 3, 0]))
    assert literal(profile) == "Profile(orders=[[0, 1], [1, 0]], weights=[2/3, 1/3])"
    back = eval(literal(profile), {"Profile": Profile})
    np.testing.assert_allclose(back.weights, [2 / 3, 1 / 3], rtol=1e-15)


@pytest.mark.once
def test_every_claim_is_complete():
    claims = {claim.id: claim for claim in theorems.claims()}
    for claim in claims.values():
        assert claim.words.endswith("."), claim.id
        assert (claim.kind == "conjecture") <= claim.id.startswith("conjectures/"), claim.id
        if claim.kind == "follows":
            assert claims[claim.root].kind == "root error", claim.id
        assert claim.setting.scope, claim.id
        assert bool(claim.setting.exhaustive) == bool(claim.setting.every), claim.id


@pytest.mark.once
def test_every_failure_is_confirmed_by_hand():
    """Each claim that fails as printed is named where a test works it out in plain NumPy."""
    tests = "".join(
        path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("test_theorems*.py"))
    )
    named = set(re.findall(r"[a-z0-9-]+/[A-Za-z0-9.-]*[A-Za-z0-9]", tests))
    assert not [claim.id for claim in theorems.claims() if claim.verdict != "holds" and claim.id not in named]


@pytest.mark.once
def test_every_numbered_statement_has_a_claim_or_a_reason_why_not():
    entries = theorems.coverage()
    listed = {entry.id for entry in entries}
    assert len(listed) == len(entries)
    left = [entry.id for entry in entries if not entry.claims and not entry.exemption.endswith(".")]
    assert not left, f"no claim computes {left}"
    both = [entry.id for entry in entries if entry.claims and entry.exemption]
    assert not both, f"a claim and an exemption: {both}"
    unknown = [name for claim in theorems.claims() for name in claim.covers if name not in listed]
    assert not unknown, f"claims name statements that no paper has: {unknown}"


@pytest.mark.once
def test_the_list_holds_what_the_texts_hold():
    """Where the texts are at hand: the list is what the script extracts, and misses nothing that they refer to."""
    texts = Path(os.environ.get("JAXVAL_TEXTS", "texts"))
    if not (texts / "papers").is_dir():
        pytest.skip(f"the papers' texts are not at hand in {texts}")
    listed = [(entry.id, entry.title) for entry in theorems.coverage()]
    found = {name: (texts / text).read_text(encoding="utf-8") for name, text in statements.TEXTS.items()}
    extracted = [(e["id"], e["title"]) for name, text in found.items() for e in statements.extract(text, name)]
    assert extracted == listed
    reference = re.compile(rf"\b({'|'.join(map(str.title, statements.KINDS))})\s+({statements.NUMBER})")
    referred = {f"{name}/{kind.lower()}-{n}" for name, text in found.items() for kind, n in reference.findall(text)}
    assert not referred - OTHERS - {name for name, _ in listed}


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theorems.claims(paper="bible"), "paper: expected one of .coalition., .mallows., .ads., .ppa., .conj"),
        (
            lambda: theorems.claims(ids=["coalition/equation-99"]),
            "ids: expected claims such as coalition/equation-.*equation-99",
        ),
        (lambda: theorems.verify(ids=["coalition/equation-3"], instances=0), "instances|float64"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.float64
def test_another_process_finds_the_same():
    from jaxval.parallel import ProcessPool

    ids = ["mallows/phi-limit", "mallows/dpo-special-case"]
    with ProcessPool(1) as pool:
        apart = theorems.verify(ids=ids, instances=20, executor=pool)
    here = theorems.verify(ids=ids, instances=20)
    for one, other in zip(apart, here, strict=True):
        assert one.claim is other.claim
        np.testing.assert_allclose([one.worst_gap, one.refuted_gap], [other.worst_gap, other.refuted_gap], rtol=1e-12)


@pytest.mark.once
def test_the_command_tells_verdicts_and_unknown_claims(capsys):
    assert main(["verify", "--claim", "mallows/phi-limit", "--instances", "50", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["verdict"] == entry["recorded"] == "holds"
    assert entry["false_gap"] > entry["tolerance"] >= entry["worst_gap"]
    assert entry["scope"].endswith("50 sampled") or "50 sampled;" in entry["scope"]
    assert main(["verify", "--claim", "mallows/none"]) == 2
    said = capsys.readouterr().err
    assert "--claim: expected claims such as" in said
    assert "jaxval verify --list shows all" in said
    assert main(["verify", "--paper", "bible"]) == 2
    assert "--paper: expected one of" in capsys.readouterr().err
    assert main(["verify", "--claim", "Lemma 4.9"]) == 2
    assert "such as ppa/lemma-4.9" in capsys.readouterr().err


@pytest.mark.once
def test_the_command_lists_all_claims_at_once(capsys):
    assert main(["verify", "--list"]) == 0
    said = capsys.readouterr().out
    for claim in theorems.claims():
        assert f"{claim.id} ({claim.source}): {claim.verdict}" in said
        assert claim.words in said
    assert main(["verify", "--list", "--paper", "mallows", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["id"] for entry in listed] == [claim.id for claim in theorems.claims(paper="mallows")]


@pytest.mark.once
def test_the_table_is_short_and_says_how_to_see_the_rest(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    claims = theorems.claims(paper="coalition")
    verdicts = [
        theorems.Verdict(claim, claim.verdict, 5, 0, 0, 0, 0.5, "", None, 0.5, 0.0, 0.5, 0.1) for claim in claims
    ]
    _print_tables(verdicts, 1.0, every=False)
    short = capsys.readouterr().out
    for claim in claims:
        assert (claim.id in short) == (claim.verdict != "holds")
    assert "--all every verdict" in short
    _print_tables(verdicts, 1.0, every=True)
    everything = capsys.readouterr().out
    assert all(claim.id in everything for claim in claims)
    assert len(everything.splitlines()) > len(short.splitlines()) + len(claims)


@pytest.mark.float64
def test_a_page_of_a_claim_can_be_typed_in_again(capsys):
    """Both sides, the counterexample and the lines that replay it, which run."""
    name = next(claim.id for claim in theorems.claims(paper="ppa") if claim.kind == "root error")
    assert main(["verify", "--claim", name, "--instances", "20"]) == 0
    said = capsys.readouterr().out
    (claim,) = theorems.claims(ids=[name])
    for words in ("As printed", "Statement", "Why", "Scope", "Counterexample", "off by"):
        assert words in said, words
    assert claim.quote.split()[0] in said
    lines = said[said.index("import jax") :].splitlines()
    scope = {}
    exec("\n".join(line.strip() for line in lines), scope)
    gaps = [float(gap) for _, gap in theorems.parts(claim.sides(scope["instance"])).values()]
    assert max(gaps) > claim.setting.tolerance
