"""Hypothesis on every reader: what is written is read back; what is spoiled is refused by line, or is a valid record.

Spoiled files are cut, and have bytes replaced, repeated, taken out or put in. Nothing but a `ValueError` with the file
and the line may come of that, and no PrefLib file may yield other than the voters that its header states.
"""

import csv
import gzip
import io
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxval.data import read_comparisons_csv, read_movielens, read_preflib, read_rankings_csv, read_votes

pytestmark = pytest.mark.once

EXAMPLES = settings(max_examples=50, deadline=None, derandomize=True)
ENDINGS = ("soc", "soi", "toc", "toi")
NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="=\ufeff"), min_size=1, max_size=6
)


@st.composite
def elections(draw, ending="toi"):
    """Names, and ballots of groups of alternatives, best first, with their numbers of voters."""
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique_by=str.lower))
    ballots = []
    for _ in range(draw(st.integers(1, 5))):
        order = draw(st.permutations(range(len(names))))
        if ending[-1] == "i":
            order = order[: draw(st.integers(1, len(order)))]
        ties = (
            draw(st.lists(st.booleans(), min_size=len(order), max_size=len(order))) if ending[0] == "t" else [False] * 5
        )
        groups = [[order[0]]]
        for alternative, tied in zip(order[1:], ties, strict=False):
            groups[-1].append(alternative) if tied else groups.append([alternative])
        ballots.append((draw(st.integers(1, 1000)), groups))
    return names, ballots


@st.composite
def matches(draw):
    """Rows of context, first, second, whether they tied, and weight."""
    names = draw(st.lists(NAMES, min_size=2, max_size=4, unique=True))
    pairs = st.lists(st.sampled_from(names), min_size=2, max_size=2, unique=True)
    row = st.tuples(NAMES, pairs, st.booleans(), st.integers(1, 64).map(lambda count: count / 8))
    return [(topic, *pair, tied, weight) for topic, pair, tied, weight in draw(st.lists(row, min_size=1, max_size=6))]


@st.composite
def spoilings(draw):
    """A function that spoils bytes in one to three places."""
    kinds = st.sampled_from(["cut", "replace", "repeat", "remove", "insert"])
    alien = st.one_of(
        st.binary(min_size=1, max_size=4), st.sampled_from([b"\n", b",", b"::", b"{", b'"', b"9" * 30, b"\xc3"])
    )
    steps = draw(st.lists(st.tuples(kinds, st.floats(0, 1), st.integers(1, 12), alien), min_size=1, max_size=3))

    def spoil(content):
        for kind, where, length, text in steps:
            at = int(where * len(content))
            piece = {
                "cut": b"",
                "replace": text + content[at + len(text) :],
                "repeat": content[at : at + length] + content[at:],
                "remove": content[at + length :],
                "insert": text + content[at:],
            }[kind]
            content = content[:at] + piece
        return content

    return spoil


def preflib(names, ballots, ending):
    lines = [
        f"# DATA TYPE: {ending}",
        f"# NUMBER ALTERNATIVES: {len(names)}",
        f"# NUMBER VOTERS: {sum(count for count, _ in ballots)}",
        f"# NUMBER UNIQUE ORDERS: {len(ballots)}",
        *(f"# ALTERNATIVE NAME {i}: {name}" for i, name in enumerate(names, 1)),
    ]
    for count, groups in ballots:
        numbers = [[str(alternative + 1) for alternative in group] for group in groups]
        lines.append(f"{count}: " + ",".join(one[0] if len(one) == 1 else "{" + ",".join(one) + "}" for one in numbers))
    return "".join(line + "\n" for line in lines).encode()


def table(rows):
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def ranking_rows(names, ballots):
    ranked = [(count, *("=".join(names[i] for i in group) for group in groups)) for count, groups in ballots]
    return [["count", *range(1, len(names) + 1)], *([*row, *[""] * (len(names) + 1 - len(row))] for row in ranked)]


def positions(names, ballots):
    expected = np.full((len(ballots), len(names)), -1)
    for row, (_, groups) in zip(expected, ballots, strict=True):
        for place, group in enumerate(groups):
            row[group] = place
    return expected


def valid_election(election):
    place, weights = map(np.asarray, election.ballots)
    assert len(election.names) == len(set(election.names)) == place.shape[1]
    assert place.shape[0] == len(weights) > 0
    assert (weights > 0).all()
    for row in place.tolist():  # places run from 0 without gaps
        assert set(row) - {-1} == set(range(max(row) + 1))


def valid_matches(record):
    context, winner, loser, weight = map(np.asarray, record.comparisons)
    assert len(context) == len(winner) == len(loser) == len(weight) > 0
    assert set(context) == set(range(len(record.contexts)))
    assert set(winner) | set(loser) == set(range(len(record.names)))
    assert (winner != loser).all()
    assert (weight > 0).all()


def read_spoiled(read, content, name, faults_in=""):
    """What `read` makes of the content, or None where it refuses it by file (or a second, `faults_in`) and line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        try:
            return read(path)
        except ValueError as error:
            message = str(error)
    files = "|".join(re.escape(str(Path(folder, file))) for file in (name, faults_in or name))
    assert re.match(rf"({files}), line [1-9]\d*: ", message)
    return None


@EXAMPLES
@given(st.data(), st.sampled_from(ENDINGS))
def test_preflib_is_read_back(data, ending):
    names, ballots = data.draw(elections(ending))
    election = read_spoiled(read_preflib, preflib(names, ballots, ending), f"a.{ending}")
    assert election.names == tuple(names)
    np.testing.assert_array_equal(election.ballots.positions, positions(names, ballots))
    assert election.ballots.weights.tolist() == [count for count, _ in ballots]


@settings(EXAMPLES, max_examples=150)
@given(st.data(), st.sampled_from(ENDINGS), spoilings())
def test_spoiled_preflib_is_refused_or_valid(data, ending, spoil):
    content = spoil(preflib(*data.draw(elections(ending)), ending))
    election = read_spoiled(read_votes, content, f"a.{ending}")
    if election is not None:
        valid_election(election)
        stated = re.search(rb"^#+\s*NUMBER VOTERS\s*:\s*(\d+)", content, flags=re.MULTILINE)
        assert np.asarray(election.ballots.weights, dtype=float).sum() == pytest.approx(int(stated[1]), rel=1e-6)


@settings(EXAMPLES, max_examples=25)
@given(st.data(), st.sampled_from(ENDINGS))
def test_cut_preflib_is_refused(data, ending):
    content = preflib(*data.draw(elections(ending)), ending)
    end = data.draw(st.integers(1, len(content) - 1 - (ending[-1] == "c")))
    assert read_spoiled(read_preflib, content[:end], f"a.{ending}") is None


@EXAMPLES
@given(elections())
def test_rankings_are_read_back(election):
    names, ballots = election
    record = read_spoiled(read_rankings_csv, table(ranking_rows(names, ballots)), "a.csv")
    named = sorted({names[i] for _, groups in ballots for group in groups for i in group})
    assert record.names == tuple(named)
    expected = positions(names, ballots)[:, [names.index(name) for name in named]]
    np.testing.assert_array_equal(record.ballots.positions, expected)
    assert record.ballots.weights.tolist() == [count for count, _ in ballots]


@EXAMPLES
@given(elections())
def test_ranks_are_read_back(election):
    _, ballots = election
    names = [f"name {chr(97 + i)}" for i in range(len(election[0]))]
    cells = np.where(positions(names, ballots) < 0, "", (positions(names, ballots) + 1).astype(str)).tolist()
    rows = [["count", *names], *([count, *row] for (count, _), row in zip(ballots, cells, strict=True))]
    record = read_spoiled(read_rankings_csv, table(rows), "a.csv")
    assert record.names == tuple(names)
    np.testing.assert_array_equal(record.ballots.positions, positions(names, ballots))


@settings(EXAMPLES, max_examples=100)
@given(elections(), spoilings())
def test_spoiled_rankings_are_refused_or_valid(election, spoil):
    record = read_spoiled(read_rankings_csv, spoil(table(ranking_rows(*election))), "a.csv")
    if record is not None:
        valid_election(record)


@EXAMPLES
@given(matches())
def test_comparisons_are_read_back(rows):
    named = [["context", "winner", "loser", "tie", "weight"], *([*row[:3], int(row[3]), row[4]] for row in rows)]
    sides = [["prompt", "model_a", "model_b", "winner", "count"]]
    sides += [
        [topic, loser, winner, "tie" if tied else "model_b", weight] for topic, winner, loser, tied, weight in rows
    ]
    for layout in (named, sides):
        record = read_spoiled(read_comparisons_csv, table(layout), "a.csv")
        valid_matches(record)
        fields = zip(*(np.asarray(field).tolist() for field in record.comparisons), strict=True)
        read = {}
        for context, winner, loser, weight in fields:
            key = record.contexts[context], record.names[winner], record.names[loser]
            read[key] = read.get(key, 0) + weight
        expected = {}
        for topic, winner, loser, tied, weight in rows:
            for key in [(topic, winner, loser), (topic, loser, winner)][: 1 + tied]:
                expected[key] = expected.get(key, 0) + weight / (1 + tied)
        assert read == expected  # eighths are exact in either precision


@settings(EXAMPLES, max_examples=100)
@given(matches(), spoilings())
def test_spoiled_comparisons_are_refused_or_valid(rows, spoil):
    content = spoil(
        table([["context", "winner", "loser", "tie", "weight"], *([*row[:3], int(row[3]), row[4]] for row in rows)])
    )
    record = read_spoiled(read_comparisons_csv, content, "a.csv")
    if record is not None:
        valid_matches(record)


MOVIES = "1::Toy (1995)::Comedy\n2::Käse (1996)::Drama\n30::Heat (1997)::Action\n".encode("latin-1")
RATED = st.lists(
    st.tuples(st.integers(1, 40), st.sampled_from([1, 2, 30]), st.integers(1, 5), st.integers(0, 10**9)),
    min_size=1,
    max_size=12,
    unique_by=lambda row: row[:2],
)


def read_ratings(content, name="ratings.dat", movies=MOVIES):
    def read(path):
        path.with_name("movies.dat").write_bytes(movies)
        return read_movielens(path.parent)

    return read_spoiled(read, content, name)


@EXAMPLES
@given(RATED, st.booleans())
def test_ratings_are_read_back(rows, packed):
    content = "".join("::".join(map(str, row)) + "\n" for row in rows).encode()
    ratings = read_ratings(gzip.compress(content) if packed else content, "ratings.dat.gz" if packed else "ratings.dat")
    users, items, stars, user_ids, item_ids = (np.asarray(part) for part in ratings[:5])
    read = zip(user_ids[users].tolist(), item_ids[items].tolist(), stars.tolist(), strict=True)
    assert list(read) == [row[:3] for row in rows]


@settings(EXAMPLES, max_examples=100)
@given(RATED, spoilings(), st.booleans())
def test_spoiled_ratings_are_refused_or_valid(rows, spoil, packed):
    content = "".join("::".join(map(str, row)) + "\n" for row in rows).encode()
    spoiled = spoil(gzip.compress(content) if packed else content)
    ratings = read_ratings(spoiled, "ratings.dat.gz" if packed else "ratings.dat")
    if ratings is not None:
        lines = (gzip.decompress(spoiled) if packed else spoiled).count(b"\n")
        assert len(ratings.users) == len(ratings.items) == len(ratings.ratings) == lines
        assert set(np.asarray(ratings.ratings).tolist()) <= {1, 2, 3, 4, 5}
        assert set(np.asarray(ratings.users).tolist()) == set(range(len(ratings.user_ids)))
        assert set(np.asarray(ratings.item_ids)[np.asarray(ratings.items)].tolist()) <= {1, 2, 30}


@EXAMPLES
@given(spoilings())
def test_spoiled_movies_are_refused_or_valid(spoil):
    def read(path):
        path.with_name("ratings.dat").write_bytes(b"4::1::5::0\n")
        return read_movielens(path.parent)

    ratings = read_spoiled(read, spoil(MOVIES), "movies.dat", faults_in="ratings.dat")
    if ratings is not None:
        assert 1 in np.asarray(ratings.item_ids)
        assert len(ratings.names) == len(set(ratings.names)) == len(ratings.item_ids)


@settings(EXAMPLES, max_examples=100)
@given(st.binary(max_size=60), st.sampled_from(["a.csv", *(f"a.{ending}" for ending in ENDINGS)]))
def test_random_bytes_are_refused_or_valid(content, name):
    record = read_spoiled(read_votes, content, name)
    if record is not None:
        valid_election(record) if "ballots" in record._fields else valid_matches(record)
