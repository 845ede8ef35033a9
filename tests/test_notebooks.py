"""What notebooks show of results: tables of escaped text, from the numbers that the results hold."""

import html
import re

import jax
import numpy as np
import pytest

from jaxval import theorems
from jaxval._tables import html_table
from jaxval.plots import plot_values
from jaxval.sources import PoolValues, SourceValues
from jaxval.theorems import Verdict
from jaxval.types import Estimate

pytestmark = pytest.mark.once


def cells(text):
    """The rows of a table, as a browser shows them."""
    rows = re.findall(r"<tr>(.*?)</tr>", text)
    return [[html.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def test_tables_show_text_as_it_is():
    shown = html_table(["<b>a</b>", "1 & 2"], [['"x"', "<script>alert(1)</script>"]], ["<i>note</i>"])
    assert not re.search(r"<(b|i|script)>", shown)
    assert cells(shown) == [["<b>a</b>", "1 & 2"], ['"x"', "<script>alert(1)</script>"]]
    assert "&lt;i&gt;note" in shown


def test_estimates_show_their_players():
    values = np.array([0.25, 0.5])
    estimate = Estimate(values, values / 10, 4, np.stack([values - 0.1, values + 0.1]), ("news", "<books>"))
    shown = estimate._repr_html_()
    assert cells(shown)[1:] == [["<books>", "0.5", "0.4 to 0.6"], ["news", "0.25", "0.15 to 0.35"]]
    assert "4 evaluations" in shown
    assert len(cells(Estimate(np.arange(100.0), np.zeros(100), 4)._repr_html_())) == 42  # a head, 20, dots, 20


def test_estimates_without_known_numbers_show_nothing():
    seen = []

    def look(estimate):
        seen.append(estimate._repr_html_())
        return estimate.values

    jax.jit(look)(Estimate(np.ones(2), np.zeros(2), 4))
    assert seen == [None]
    assert jax.tree.map(lambda _: object(), Estimate(np.ones(2), np.zeros(2), 4))._repr_html_() is None


def test_values_of_sources_show_values_and_intervals():
    shape = (2, 1)
    numbers = {name: np.zeros(shape) for name in SourceValues._fields[:11]}
    ends = np.array([[[0.4], [-0.2]], [[0.6], [0.0]]])
    result = SourceValues(
        **numbers
        | {"names": ("<web>", "books"), "rewards": ("help",), "values": np.array([[0.5], [-0.1]])}
        | {"context_intervals": ends, "pairs": np.array([30.0, 2.5])},
        contexts=7,
        evaluations=4,
        reference_certain=0.0,
        truth={},
        seconds={},
    )
    shown = result._repr_html_()
    assert cells(shown)[1:] == [["<web>", "30", "0.5", "0.4 to 0.6"], ["books", "2.5", "-0.1", "-0.2 to 0"]]
    assert "7 prompts, 4 coalitions" in shown


def test_values_from_pools_mark_what_rests_on_few_draws():
    parts = dict.fromkeys(PoolValues._fields)
    parts |= {"names": ("web", "books"), "rewards": ("help",), "values": np.array([[0.5], [-0.1]])}
    parts |= {"intervals": np.array([[[0.4], [-0.2]], [[0.6], [0.0]]]), "unreliable": np.array([False, True])}
    parts |= {"coalitions": np.zeros((4, 2), bool), "prompts": 3, "draws": 96, "faults": ("<wrong>",)}
    shown = PoolValues(**parts)._repr_html_()
    assert cells(shown)[1:] == [["web", "0.5", "0.4 to 0.6"], ["books", "-0.1 †", "-0.2 to 0"]]
    assert "3 prompts, 96 responses, 4 coalitions" in shown
    assert "† rests on" in shown
    assert "&lt;wrong&gt;" in shown


def test_verdicts_show_what_their_page_tells():
    (claim,) = theorems.claims(ids=["ads/beta-integral"])
    verdict = Verdict(claim, "holds as corrected", 5, 0, 1, 0, np.inf, "", None, np.inf, 0.0, 1.0, 0.1)
    rows = dict(cells(verdict._repr_html_()))
    assert rows["ads/beta-integral"] == claim.source
    assert rows["Verdict"] == f"holds as corrected; {claim.kind}"
    assert rows["Why"] == claim.why


def test_figures_show_themselves():
    figure = plot_values(Estimate(np.ones(2), np.zeros(2), 4))
    assert figure._repr_png_().startswith(b"\x89PNG")
