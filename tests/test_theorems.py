"""The ledger: its checks see what is false, its verdicts are those recorded, its counterexamples stand by hand."""

import os
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import statements
from jaxval import theorems
from jaxval.theorems import mallows
from jaxval.theorems.checks import largest

# Examples 1.1 and 1.2 continued; statements of papers that are cited.
OTHERS = {"ads/example-1", "ads/example-2", "ads/remark-2.2", "ppa/proposition-2", "ppa/proposition-4"}


@pytest.mark.float64
@pytest.mark.parametrize("claim", theorems.claims(), ids=lambda claim: claim.id)
def test_verdicts_are_as_recorded_and_false_neighbours_are_refuted(claim):
    (verdict,) = theorems.verify(ids=[claim.id], instances=200 if claim.compiled else 30)
    assert verdict.outcome == claim.verdict, verdict
    assert verdict.refuted_gap > claim.tolerance


@pytest.mark.float64
def test_a_check_that_cannot_fail_is_called_blind():
    claim = theorems.claims(ids=["mallows/phi-limit"])[0]
    same = claim.printed._replace(false_gap=claim.printed.gap)
    verdict = theorems.check_claim(claim._replace(printed=same), jax.random.key(0), instances=50)
    assert verdict.outcome.startswith("blind")
    assert not verdict.as_recorded


@pytest.mark.float64
@pytest.mark.parametrize("compiled", [True, False])
def test_finite_cases_and_counterexamples_are_looked_at(compiled):
    """Random instances are 0; of the finite case one is 1, the counterexample is 2; batches do not divide the count."""
    claim = theorems.Claim(
        "toy/zero",
        "nowhere",
        theorems.Statement("x = 0", lambda x: abs(x), "x > -1", lambda x: 1 - x),
        lambda key: 0.0 * jax.random.uniform(key),
        exhaustive=lambda: np.array([0.0, 0.0, 1.0]),
        compiled=compiled,
    )
    verdict = theorems.check_claim(claim, jax.random.key(0), instances=7, batch_size=4)
    assert (verdict.outcome, verdict.instances, verdict.worst_gap, verdict.witness) == ("fails as printed", 10, 1, 1)
    corrected = theorems.Statement("x < 3", lambda x: x - 3, "x < 2", lambda x: x - 1.9)
    claim = claim._replace(counterexample=lambda: jnp.asarray(2.0), corrected=corrected)
    verdict = theorems.check_claim(claim, jax.random.key(0), instances=7, batch_size=4)
    assert (verdict.outcome, verdict.instances, verdict.worst_gap, verdict.witness) == ("holds as corrected", 11, 2, 2)
    assert verdict.corrected_gap == -1
    idle = claim._replace(counterexample=lambda: jnp.asarray(0.0), corrected=None)
    assert theorems.check_claim(idle, jax.random.key(0), instances=7).outcome[:4] == "idle"
    blind = corrected._replace(false_gap=lambda x: x - 2)
    assert theorems.check_claim(claim._replace(corrected=blind), jax.random.key(0), instances=7).outcome[:5] == "blind"


@pytest.mark.float64
def test_numbers_that_are_none_are_infinite_gaps():
    """A maximum that is compiled for many instances passes over NaN; the ledger must not."""
    claim = theorems.claims(ids=["mallows/phi-limit"])[0]
    broken = claim.printed._replace(gap=lambda c: largest(jnp.array([0.0, jnp.nan, 0.0]) * c.gap))
    verdict = theorems.check_claim(claim._replace(printed=broken), jax.random.key(0), instances=2_500)
    assert verdict.worst_gap == np.inf
    assert verdict.outcome == "fails as printed"


@pytest.mark.once
def test_every_claim_is_complete():
    claims = theorems.claims()
    assert len({claim.id for claim in claims}) == len(claims)
    for claim in claims:
        fails = claim.verdict != "holds"
        assert fails == bool(claim.why) == (claim.counterexample is not None), claim.id
        assert (claim.verdict == "holds as corrected") == (claim.corrected is not None), claim.id


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


@pytest.mark.once
def test_one_comparison_has_no_best_rewards_by_hand():
    """coalition/equation-4: log σ(t) rises for ever."""
    likelihoods = [-np.log1p(np.exp(-t)) for t in (0.0, 1.0, 10.0, 30.0)]
    assert likelihoods == sorted(likelihoods)
    assert likelihoods[-1] < 0


@pytest.mark.once
def test_a_collection_with_itself_by_hand():
    """coalition/figure-1: odds 3 to 1 at β = 1 from even odds; the union with itself keeps them."""
    policy = np.array([3.0, 1.0]) / 4
    product = policy * policy / np.array([0.5, 0.5])
    np.testing.assert_allclose(product / product.sum(), [0.9, 0.1])


@pytest.mark.once
def test_three_items_in_spearmans_model_by_hand():
    """mallows/theta-link at φ = 3/4: distances 0, 2, 2, 6, 6, 8; the first two are in order in three."""
    weights = {distance: 0.75**distance for distance in (0, 2, 6, 8)}
    total = weights[0] + 2 * weights[2] + 2 * weights[6] + weights[8]
    in_order = (weights[0] + weights[2] + weights[6]) / total
    np.testing.assert_allclose(in_order, np.asarray(mallows.marginals(0.75, 3, "spearman"))[0], atol=1e-6)
    assert abs(in_order - 1 / (1 + 0.75**2)) > 0.03


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theorems.claims(paper="bible"), "paper: expected one of coalition, mallows, ads, ppa, conj"),
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
def test_two_processes_find_the_same():
    from jaxval.parallel import ProcessPool

    ids = ["mallows/phi-limit", "mallows/dpo-special-case"]
    with ProcessPool(2) as pool:
        apart = theorems.verify(ids=ids, instances=20, executor=pool)
    here = theorems.verify(ids=ids, instances=20)
    for one, other in zip(apart, here, strict=True):
        assert one.claim is other.claim
        np.testing.assert_allclose(one[2:6], other[2:6], rtol=1e-12)


@pytest.mark.once
def test_the_command_tells_verdicts_and_unknown_claims(capsys):
    import json

    from jaxval.cli import main

    assert main(["verify", "--claim", "mallows/phi-limit", "--instances", "50", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["verdict"] == entry["recorded"] == "holds"
    assert entry["false_gap"] > entry["tolerance"] >= entry["worst_gap"]
    assert main(["verify", "--claim", "mallows/none"]) == 2
    assert "expected claims such as" in capsys.readouterr().err
    assert main(["verify", "--claim", "Lemma 4.9"]) == 2
    assert "such as ppa/lemma-4.9" in capsys.readouterr().err
