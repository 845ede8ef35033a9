"""Votes from any file, folders of real data, and elections that need no file."""

import gzip
import itertools
import re
from functools import partial

import jax
import numpy as np
import pytest

from jaxval.data import (
    Election,
    NamedComparisons,
    data_folder,
    rating_ballots,
    read_comparisons_csv,
    read_movielens,
    read_preflib,
    read_rankings_csv,
    read_votes,
    synthetic_mallows_mixture,
    textbook_election,
)
from jaxval.preferences import ballot_wins, empirical_matrix, first_choice_shares

LUNCH = """# NUMBER ALTERNATIVES: 2
# NUMBER VOTERS: 3
# NUMBER UNIQUE ORDERS: 1
# ALTERNATIVE NAME 1: soup
# ALTERNATIVE NAME 2: pie
3: 2,1
"""


def same(one, other):
    assert type(one) is type(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        *((f"lunch.{ending}", LUNCH, read_preflib) for ending in ("soc", "soi", "toc", "toi", "SOC")),
        ("a.csv", "1,2\ntea,juice\n", read_rankings_csv),
        ("b.csv", "tea,juice\n1,2\n", read_rankings_csv),
        ("c.CSV", "winner,loser\ntea,juice\n", read_comparisons_csv),
        ("d.csv", "prompt,left,right,Winner\np,tea,juice,left\n", read_comparisons_csv),
        ("e.csv", "model_a,model_b,winner\ntea,juice,tie\n", read_comparisons_csv),
    ],
)
def test_files_are_told_apart(tmp_path, name, text, read):
    (tmp_path / name).write_text(text)
    votes = read_votes(tmp_path / name)
    assert type(votes) is (NamedComparisons if read is read_comparisons_csv else Election)
    same(votes, read(tmp_path / name))
    same(votes, read_votes(str(tmp_path / name)))


def test_a_folder_of_movielens(tmp_path):
    movies = "".join(f"{movie}::Movie {movie}::Drama\n" for movie in range(1, 31))
    (tmp_path / "movies.dat").write_text(movies)
    ratings = "".join(f"{user}::{movie}::{(user * movie) % 5 + 1}::0\n" for user in (1, 2) for movie in range(1, 26))
    (tmp_path / "ratings.dat.gz").write_bytes(gzip.compress(ratings.encode()))
    votes = read_votes(tmp_path)
    assert votes.names == tuple(f"Movie {movie}" for movie in range(1, 21))
    same(votes, rating_ballots(read_movielens(tmp_path)))


def test_a_folder_of_something_else_lists_what_is_readable_in_it(tmp_path):
    with pytest.raises(ValueError, match=r"without files that end in \.soc, \.soi, \.toc, \.toi, \.csv$"):
        read_votes(tmp_path)
    (tmp_path / "inner").mkdir()
    for name in ("b.csv", "a.toi", "c.txt", "inner/d.soc"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"one of its files will do: a\.toi, b\.csv, inner/d\.soc$"):
        read_votes(tmp_path)
    for number in range(20):
        (tmp_path / f"{number}.csv").touch()
    with pytest.raises(ValueError, match=r": 0\.csv, 1\.csv, .* and 11 more$"):
        read_votes(tmp_path)


def test_what_is_not_readable_says_what_is(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv: there is no such file or folder"):
        read_votes(tmp_path / "none.csv")
    for name, got in (("votes.txt", r"the ending \.txt"), ("votes", "no ending")):
        (tmp_path / name).touch()
        with pytest.raises(ValueError, match=rf"\.soc, .*\.csv, .*, or the folder of MovieLens 1M; got {got}$"):
            read_votes(tmp_path / name)
    (tmp_path / "ratings.dat.gz").touch()
    with pytest.raises(ValueError, match=rf"for MovieLens, pass the folder {re.escape(str(tmp_path))}$"):
        read_votes(tmp_path / "ratings.dat.gz")
    (tmp_path / "winner.csv").write_text("winner,second\ntea,juice\n")
    with pytest.raises(ValueError, match=r"line 1: expected columns winner and loser, or left"):
        read_votes(tmp_path / "winner.csv")


def test_the_folder_of_real_votes_names_its_comparisons(data_path):
    with pytest.raises(ValueError, match=r"will do: crowd-comparisons\.csv, gpt3-comparisons\.csv, .*csv$"):
        read_votes(data_path("votes", "llmfao"))


def test_folders_are_looked_for_in_order(tmp_path, monkeypatch):
    given, variable, default = (tmp_path / name for name in ("given", "variable", "work/data"))
    work = tmp_path / "work"
    for folder in [root / "ml-1m" for root in (given, variable, default)]:
        folder.mkdir(parents=True)
    (default / "votes" / "llmfao").mkdir(parents=True)
    monkeypatch.chdir(work)
    monkeypatch.setenv("JAXVAL_DATA", str(variable))
    assert data_folder("ml-1m", path=given) == given / "ml-1m"
    assert data_folder("ml-1m", path=given / "ml-1m") == given / "ml-1m"
    assert data_folder("ml-1m") == variable / "ml-1m"
    assert data_folder("votes/llmfao").resolve() == default / "votes" / "llmfao"
    monkeypatch.delenv("JAXVAL_DATA")
    assert data_folder("ml-1m").resolve() == default / "ml-1m"


def test_a_missing_set_says_where_was_looked_and_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAXVAL_DATA", "elsewhere")
    looked = r"looked for the folder elsewhere/ml-1m, data/ml-1m"
    with pytest.raises(
        FileNotFoundError, match=rf"no data set 'ml-1m': {looked}; get it from https://grouplens.*--data"
    ):
        data_folder("ml-1m")
    monkeypatch.delenv("JAXVAL_DATA")
    with pytest.raises(FileNotFoundError, match=r"no data set 'other': .*; get it, then pass.*set JAXVAL_DATA$"):
        data_folder("other")
    (tmp_path / "votes").mkdir()
    with pytest.raises(FileNotFoundError, match="looked for the folder votes/ml-1m; "):  # a path that is given is final
        data_folder("ml-1m", path="votes")


def test_the_textbook_election_has_five_rules_and_five_winners():
    election = textbook_election()
    positions, weights = map(np.asarray, election.ballots)
    assert weights.sum() == 55
    orders = np.argsort(positions, axis=1)
    assert ["".join(election.names[i][0] for i in order) for order in orders] == [
        "ADECB",
        "BEDCA",
        "CBEDA",
        "DCEBA",
        "EBDCA",
        "ECDBA",
    ]
    shares = np.asarray(first_choice_shares(orders, weights / 55))
    assert election.names[shares.argmax()] == "Ada"
    runoff = np.argsort(-shares)[:2]
    wins = np.asarray(ballot_wins(election.ballots))
    first, second = sorted(runoff, key=lambda i: -wins[i, runoff].sum())
    assert (election.names[first], election.names[second]) == ("Ben", "Ada")
    left = set(range(5))
    while len(left) > 1:  # instant runoff: who has the fewest first choices goes
        tops = [min(left, key=row.__getitem__) for row in positions.tolist()]
        left.remove(min(left, key=lambda i: sum(weights[[top == i for top in tops]])))
    assert election.names[left.pop()] == "Cleo"
    borda = wins.sum(axis=1)
    assert borda.tolist() == [72, 101, 107, 136, 134]
    assert election.names[borda.argmax()] == "Dan"
    condorcet = [name for name, row, column in zip(election.names, wins, wins.T, strict=True) if (row >= column).all()]
    assert condorcet == ["Eve"]
    bounds = (wins + 100 * np.eye(5)).min(axis=1)
    assert bounds.tolist() == [18, 16, 12, 27, 28]
    np.testing.assert_allclose(empirical_matrix(wins).sum(axis=1), borda / 55 + 0.5, rtol=1e-5)


@pytest.mark.once
def test_a_synthetic_population_gathers_around_its_groups():
    make = partial(synthetic_mallows_mixture, jax.random.key(3), alternatives=5, voters=3000, groups=3)
    profile, names = make(dispersion=0.0)
    assert profile.orders.shape == (3000, 5)
    assert names == tuple(f"alternative {i}" for i in range(1, 6))
    np.testing.assert_allclose(np.asarray(profile.weights), 1 / 3000, rtol=1e-6)
    centers, counts = np.unique(np.asarray(profile.orders), axis=0, return_counts=True)
    assert len(centers) == 3  # without dispersion everybody holds a center, a third of the voters each
    assert (abs(counts - 1000) < 5 * np.sqrt(3000 * 1 / 3 * 2 / 3)).all()
    same(make(dispersion=0.0), (profile, names))
    spread, _ = make(dispersion=1.0)
    _, counts = np.unique(np.asarray(spread.orders), axis=0, return_counts=True)
    assert len(counts) == 120  # uniform over rankings: 25 expected each
    assert counts.max() < 25 + 6 * 5

    def distance(one, other):
        place = np.argsort(other)
        return sum(place[i] > place[j] for i, j in itertools.combinations(one, 2))

    near, _ = make(dispersion=0.3)
    nearest = [min(distance(order, center) for center in centers) for order in np.asarray(near.orders)[:300]]
    assert np.mean(nearest) < 2  # 0.3 puts a voter 1.4 swaps from the own center on average, uniform ones 5


@pytest.mark.mistakes
def test_sizes_below_one_and_dispersions_out_of_range():
    make = partial(synthetic_mallows_mixture, jax.random.key(0))
    right = {"alternatives": 3, "voters": 4, "groups": 2, "dispersion": 0.5}
    for name, value in (("alternatives", 0), ("voters", 0), ("groups", 0), ("dispersion", 1.5)):
        with pytest.raises(ValueError, match=f"{name}: expected"):
            make(**{**right, name: value})
