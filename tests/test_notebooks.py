"""What notebooks and `print` show of results: tables of plain text, from the numbers that the results hold."""

import html
import re

import jax
import numpy as np
import pytest
from rich.cells import cell_len

from jaxval import theorems
from jaxval._tables import html_table
from jaxval.data import Election, NamedComparisons, VoteMatrix
from jaxval.plots import plot_values
from jaxval.sources import PoolValues, SourceValues
from jaxval.theorems import Verdict
from jaxval.types import UNSEEN, Ballots, Comparisons, Estimate
from jaxval.values import estimate_table

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


def same_on_the_terminal(result):
    """The table of a notebook and that of `print` have the same cells; lines are short and plain."""
    printed = str(result)
    told = [cell for row in cells(result._repr_html_()) for cell in row]
    assert all(cell in " ".join(printed.split()) for cell in map(" ".join, map(str.split, told)))
    assert max(map(cell_len, printed.splitlines())) <= 100
    assert "\x1b" not in printed
    assert printed != repr(result)
    return printed


def test_wide_tables_go_on_below_and_long_names_are_cut():
    names = ("界" * 60, "\x1b[31mred" + "x" * 90)
    printed = str(Estimate(np.ones((2, 9)) / 3, np.ones((2, 9)), 4, None, names))
    assert max(map(cell_len, printed.splitlines())) <= 100
    assert [f"value {k}" in printed for k in range(10)] == [True] * 9 + [False]
    assert "\x1b" not in printed
    assert "界…" in printed


def test_votes_show_what_was_counted():
    ballots = Ballots(np.array([[0, 1], [1, 0], [-1, 0]]), np.array([2.0, 1.0, 1.0]))
    election = Election(ballots, ("tea", "juice"), "drinks", groups=("north", "south"))
    lines = same_on_the_terminal(election).splitlines()
    assert [line.split() for line in lines[1:3]] == [["tea", "3", "2"], ["juice", "4", "2"]]
    assert lines[3:] == ["drinks", "4 ballots, groups: north, south"]
    rows = Comparisons(*(np.array(column) for column in ([0, 0, 0], [0, 0, 1], [1, 1, 0], [1.0, 0.5, 0.5])))
    named = NamedComparisons(rows, ("tea", "juice"), ("",), "cups", voters=("ann", "bob"))
    lines = same_on_the_terminal(named).splitlines()
    assert [line.split() for line in lines[1:3]] == [["tea", "1.5", "0.5"], ["juice", "0.5", "1.5"]]
    assert lines[3:] == ["cups", "2 comparisons, 2 voters"]
    matrix = VoteMatrix(np.array([[1, UNSEEN], [-1, 0]], np.int8), ("a", "b"), "town", ("ann", "bob"))
    lines = same_on_the_terminal(matrix).splitlines()
    assert [line.split() for line in lines[1:3]] == [["a", "1", "0", "1"], ["b", "0", "1", "0"]]


def test_estimates_show_their_players():
    values = np.array([0.25, 0.5])
    estimate = Estimate(values, values / 10, 4, np.stack([values - 0.1, values + 0.1]), ("news", "<books>"))
    shown = estimate._repr_html_()
    assert cells(shown)[1:] == [["<books>", "0.5", "0.4 to 0.6"], ["news", "0.25", "0.15 to 0.35"]]
    assert "4 evaluations" in shown
    assert estimate_table(estimate) == f"{estimate}"
    assert repr(estimate).startswith("Estimate(values=array(")
    assert len(cells(Estimate(np.arange(100.0), np.zeros(100), 4)._repr_html_())) == 42  # a head, 20, dots, 20


def test_estimates_without_known_numbers_show_nothing():
    seen = []

    def look(estimate):
        seen.append(estimate._repr_html_())
        return estimate.values

    jax.jit(look)(Estimate(np.ones(2), np.zeros(2), 4))
    assert seen == [None]
    unknown = jax.eval_shape(lambda: Estimate(np.ones(2), np.zeros(2), 4))
    assert str(unknown) == repr(unknown)
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
    same_on_the_terminal(result)


def test_values_from_pools_mark_what_rests_on_few_draws():
    parts = dict.fromkeys(PoolValues._fields)
    parts |= {"names": ("web", "books"), "rewards": ("help",), "values": np.array([[0.5], [-0.1]])}
    parts |= {"intervals": np.array([[[0.4], [-0.2]], [[0.6], [0.0]]]), "unreliable": np.array([False, True])}
    parts |= {"coalitions": np.zeros((4, 2), bool), "prompts": 3, "draws": 96, "faults": ("<wrong>",)}
    assert "† rests on" in same_on_the_terminal(PoolValues(**parts))
    shown = PoolValues(**parts)._repr_html_()
    assert cells(shown)[1:] == [["web", "0.5", "0.4 to 0.6"], ["books", "-0.1 †", "-0.2 to 0"]]
    assert "3 prompts, 96 responses, 4 coalitions" in shown
    assert "† rests on" in shown
    assert "&lt;wrong&gt;" in shown


def test_verdicts_show_what_their_page_tells():
    (claim,) = theorems.claims(ids=["ads/beta-integral"])
    verdict = Verdict(claim, "holds as corrected", 5, 0, 1, 0, np.inf, "", None, np.inf, 0.0, 1.0, 0.1)
    same_on_the_terminal(verdict)
    rows = dict(cells(verdict._repr_html_()))
    assert rows["ads/beta-integral"] == claim.source
    assert rows["Verdict"] == f"holds as corrected; {claim.kind}"
    assert rows["Why"] == claim.why


def test_figures_show_themselves():
    figure = plot_values(Estimate(np.ones(2), np.zeros(2), 4))
    assert figure._repr_png_().startswith(b"\x89PNG")
