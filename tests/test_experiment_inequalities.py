"""Claims as inequalities: gaps and intervals that can be checked by hand."""

import pytest

from experiments.inequalities import inequality, inequality_table

pytestmark = pytest.mark.once


def test_a_claim_holds_fails_or_stays_open():
    # differences 0.1, 0.2, 0.3: mean 0.2, deviation 0.1, Student's 0.975 quantile of 2 degrees of freedom 4.302653
    row = inequality("a above b", [1.1, 1.2, 1.3], [1.0, 1.0, 1.0], level=0.95)
    assert row["gap"] == pytest.approx(0.2)
    assert row["high"] - row["gap"] == pytest.approx(4.302653 * 0.1 / 3**0.5)
    assert row["verdict"] == "open"
    assert inequality("", [1.1, 1.2, 1.3], [1.0, 1.0, 1.0], level=0.9)["verdict"] == "holds"
    assert inequality("", [1.0, 1.0, 1.0], [1.1, 1.2, 1.3], level=0.9)["verdict"] == "fails"
    one = inequality("", [2.0], [1.0], level=0.95)
    assert (one["low"], one["verdict"]) == (None, "open")


def test_the_table_names_the_seeds_against_a_claim():
    rows = [inequality("a above b", [1.0, 3.0, 1.0], [2.0, 2.0, 1.0], level=0.95)]
    assert rows[0]["against"] == [0]  # equal numbers are not against it
    assert list(inequality_table(rows, level=0.95, title="t").columns[-1].cells) == ["1 of 3: 0"]
