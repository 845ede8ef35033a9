"""The ledger: its checks see what is false, its verdicts are those recorded, its counterexamples stand by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import theorems
from jaxval.theorems import mallows
from jaxval.theorems.checks import largest

CHEAP = [
    "coalition/equation-3", "coalition/shapley-unique", "coalition/equation-4", "coalition/equation-5",
    "mallows/theta-link", "mallows/phi-link", "mallows/phi-limit", "mallows/dispersion-index",
]  # fmt: skip


@pytest.mark.float64
@pytest.mark.parametrize("name", CHEAP)
def test_verdicts_are_as_recorded_and_false_neighbours_are_refuted(name):
    (verdict,) = theorems.verify(ids=[name], instances=300)
    assert verdict.as_recorded, verdict
    assert verdict.refuted_gap > verdict.claim.tolerance


@pytest.mark.float64
def test_a_check_that_cannot_fail_is_called_blind():
    claim = theorems.claims(ids=["mallows/phi-limit"])[0]
    same = claim.printed._replace(false_gap=claim.printed.gap)
    verdict = theorems.check_claim(claim._replace(printed=same), jax.random.key(0), instances=50)
    assert verdict.outcome.startswith("blind")
    assert not verdict.as_recorded


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
        (lambda: theorems.claims(paper="bible"), "paper: expected one of coalition, mallows"),
        (lambda: theorems.claims(ids=["coalition/equation-99"]), "ids: expected some of.*equation-99"),
        (lambda: theorems.verify(ids=["coalition/equation-3"], instances=0), "instances|float64"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.once
def test_the_command_tells_verdicts_and_unknown_claims(capsys):
    import json

    from jaxval.cli import main

    assert main(["verify", "--claim", "mallows/phi-limit", "--instances", "50", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["verdict"] == entry["recorded"] == "holds"
    assert entry["false_gap"] > entry["tolerance"] >= entry["worst_gap"]
    assert main(["verify", "--claim", "mallows/none"]) == 2
    assert "expected some of" in capsys.readouterr().err
