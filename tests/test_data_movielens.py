"""MovieLens 1M: a small set by hand, faults by line, and the published set where it is at hand."""

import gzip
import re

import jax
import numpy as np
import pytest

from jaxval.data import Ratings, rating_ballots, rating_table, read_movielens

MOVIES = """3::Grumpy (1995)::Comedy
1::Käse (1995)::Animation|Comedy
10::Heat: Again (1995)::Action
4::Unseen (1990)::Drama
"""
LINES = [
    "7::1::5::978300760",
    "7::3::3::0",
    "2::10::4::978302109",
    "2::1::4::978301968",
    "2::3::1::97",
    "9::10::2::1046454590",
]
RATINGS = "".join(line + "\n" for line in LINES)
USERS = "2::F::1::10::48067\n7::M::56::16::70072\n9::M::25::15::55117\n"


@pytest.fixture
def folder(tmp_path):
    def write(ratings=RATINGS, movies=MOVIES, name="ratings.dat", users=None):
        content = ratings if isinstance(ratings, bytes) else ratings.encode()
        (tmp_path / name).write_bytes(content)
        (tmp_path / "movies.dat").write_bytes(movies.encode("latin-1"))
        if users is not None:
            (tmp_path / "users.dat").write_text(users)
        return tmp_path

    return write


def test_indices_lead_back_to_the_numbers_in_the_file(folder):
    ratings = read_movielens(folder())
    assert ratings.user_ids.tolist() == [2, 7, 9]
    assert ratings.item_ids.tolist() == [1, 3, 4, 10]
    assert ratings.names == ("Käse (1995)", "Grumpy (1995)", "Unseen (1990)", "Heat: Again (1995)")
    read = zip(ratings.user_ids[ratings.users], ratings.item_ids[ratings.items], ratings.ratings, strict=True)
    assert ["::".join(map(str, map(int, row))) for row in read] == [line.rpartition("::")[0] for line in LINES]


def test_packed_and_plain_say_the_same(folder, tmp_path):
    plain = read_movielens(folder())
    (tmp_path / "ratings.dat").unlink()
    halves = gzip.compress(RATINGS[:30].encode()) + gzip.compress(RATINGS[30:].encode())
    for packed in (gzip.compress(RATINGS.encode()), halves):
        jax.tree.map(np.testing.assert_array_equal, read_movielens(folder(packed, name="ratings.dat.gz")), plain)


def test_windows_line_ends_do_not_count(folder):
    plain = read_movielens(folder())
    other = read_movielens(folder(RATINGS.replace("\n", "\r\n"), MOVIES.replace("\n", "\r\n")))
    jax.tree.map(np.testing.assert_array_equal, other, plain)


def test_the_most_rated_movies_first_and_ties_by_number(folder):
    table, names = rating_table(read_movielens(folder()), alternatives=3)
    # movies 1, 3 and 10 are rated twice each; rows are users 2, 7 and 9
    assert names == ("Käse (1995)", "Grumpy (1995)", "Heat: Again (1995)")
    np.testing.assert_array_equal(table, [[4, 1, 4], [5, 3, np.nan], [np.nan, np.nan, 2]])
    table, names = rating_table(read_movielens(folder(RATINGS + "9::3::5::0\n")), alternatives=1)
    assert names == ("Grumpy (1995)",)
    assert table.tolist() == [[1], [3], [5]]


def test_equal_ratings_are_tied_and_users_who_rated_none_cast_no_ballot(folder):
    election = rating_ballots(read_movielens(folder()), alternatives=3)
    assert election.ballots.positions.tolist() == [[0, 1, 0], [0, 1, -1], [-1, -1, 0]]
    assert election.ballots.weights.tolist() == [1, 1, 1]
    election = rating_ballots(read_movielens(folder()), alternatives=2)
    assert election.ballots.positions.tolist() == [[0, 1], [0, 1]]
    assert election.title == "MovieLens: the 2 most-rated movies"


def test_ballots_against_an_enumeration(rng):
    stars = rng.integers(0, 6, size=(40, 6))
    stars[:, 0] = 0  # nobody rated the first movie
    users, items = np.nonzero(stars)
    names = tuple("ABCDEF")
    ratings = Ratings(users, items, stars[users, items], np.arange(40), np.arange(6), names)
    election = rating_ballots(ratings, alternatives=5)
    order = [names.index(name) for name in election.names]
    expected = []
    for row in stars[:, order]:
        given = sorted({int(star) for star in row if star}, reverse=True)
        if given:
            expected.append([given.index(star) if star else -1 for star in row.tolist()])
    assert election.ballots.positions.tolist() == expected


def spoil(line, text):
    return "".join((text if i == line else one) + "\n" for i, one in enumerate(LINES, 1))


FAULTS = {
    "a field too few": (spoil(3, "2::10::4"), 3, "User::Movie::Rating::Timestamp, such as"),
    "a field too many": (spoil(3, "2::10::4::1::1"), 3, "User::Movie::Rating::Timestamp"),
    "one colon": (spoil(2, "7:3::3::0"), 2, "User::Movie::Rating::Timestamp"),
    "a letter": (spoil(4, "2::1a::4::978301968"), 4, "got '2::1a::4::978301968'"),
    "a sign": (spoil(1, "-7::1::5::978300760"), 1, "got '-7::1::5::978300760'"),
    "half a star": (spoil(5, "2::3::1.5::97"), 5, "got '2::3::1.5::97'"),
    "no user": (spoil(6, "::10::2::1046454590"), 6, "got '::10::2"),
    "an empty line": (spoil(2, ""), 2, "got ''"),
    "a huge number": (spoil(2, f"{'7' * 400}::3::3::0"), 2, r"got '7+\.\.\.'"),
    "stars": (spoil(5, "2::3::6::97"), 5, "1 to 5 stars; got 6"),
    "no stars": (spoil(5, "2::3::0::97"), 5, "1 to 5 stars; got 0"),
    "an unknown movie": (spoil(2, "7::2::3::0"), 2, "a movie of movies.dat; got movie 2"),
    "a movie beyond all": (spoil(2, "7::11::3::0"), 2, "got movie 11"),
    "twice": (spoil(6, "2::3::2::1"), 6, "user 2, movie 3 again"),
    "cut off": (RATINGS[:-4], 6, "got none: the file may be cut off"),
    "cut off after a line": (
        RATINGS[: -len(LINES[-1]) - 1],
        5,
        "none by 1 of them, user 9 among them: the file may be cut",
    ),
    "empty": ("", 1, "got an empty file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_ratings_name_the_file_and_the_line(folder, fault):
    content, line, message = FAULTS[fault]
    path = folder(content, users=USERS)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path / 'ratings.dat'))}, line {line}: .*{message}"):
        read_movielens(path)


@pytest.mark.parametrize("keep", [4, 20, -1, -9])
def test_a_packed_file_that_is_cut_off(folder, keep):
    path = folder(gzip.compress(RATINGS.encode())[:keep], name="ratings.dat.gz")
    with pytest.raises(ValueError, match=r"ratings.dat.gz, line \d+: .*cut off"):
        read_movielens(path)


def test_a_packed_file_cut_in_the_middle_says_how_far_it_went(folder, rng):
    lines = [
        f"{user}::{movie}::{star}::{when}\n"
        for user, (star, when) in enumerate(
            zip(rng.integers(1, 6, 40_000), rng.integers(0, 2**30, 40_000), strict=True)
        )
        for movie in (1, 3)
    ]
    packed = gzip.compress("".join(lines).encode())
    path = folder(packed[: len(packed) // 2], name="ratings.dat.gz")
    with pytest.raises(ValueError, match="cut off") as error:
        read_movielens(path)
    line = int(re.search(r"line (\d+)", str(error.value))[1])
    assert 0.4 * len(lines) < line < 0.6 * len(lines)
    path = folder(packed[:-6] + bytes(2) + packed[-4:], name="ratings.dat.gz")
    with pytest.raises(ValueError, match=r"line \d+: expected a whole gzip file; .*incorrect data check"):
        read_movielens(path)
    path = folder(RATINGS, name="ratings.dat.gz")
    with pytest.raises(ValueError, match=r"line 1: expected a whole gzip file; .*incorrect header check"):
        read_movielens(path)


@pytest.mark.parametrize(
    ("movies", "line", "message"),
    [
        (MOVIES.replace("::Action", ""), 3, "Movie::Title::Genres; got '10::Heat: Again "),
        (MOVIES.replace("10::", "x::"), 3, "Movie::Title::Genres"),
        (MOVIES.replace("4::", "3::"), 4, "a new number and a new title; got '3::Unseen "),
        (MOVIES.replace("Unseen (1990)", "Grumpy (1995)"), 4, "a new number and a new title"),
        (MOVIES[:-3], 4, "cut off"),
        ("", 1, "empty"),
    ],
)
def test_faults_of_movies_name_the_file_and_the_line(folder, movies, line, message):
    with pytest.raises(ValueError, match=rf"movies.dat, line {line}: .*{message}"):
        read_movielens(folder(movies=movies))


def test_faults_of_users_name_the_file_and_the_line(folder):
    with pytest.raises(ValueError, match=r"users.dat, line 2: expected User::Gender"):
        read_movielens(folder(users=USERS.replace("7::M", "M::7")))


def test_files_that_are_missing(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"movies.dat and ratings.dat or ratings.dat.gz; .*download_movielens"):
        read_movielens(tmp_path)
    (folder() / "movies.dat").unlink()
    with pytest.raises(FileNotFoundError, match=r"movies\.dat"):
        read_movielens(tmp_path)


def test_more_alternatives_than_rated_movies(folder):
    ratings = read_movielens(folder())
    for alternatives, expected in ((0, "a whole number of at least 1"), (4, "1 to 3, .*")):
        with pytest.raises(ValueError, match=f"alternatives: expected {expected}; got {alternatives}"):
            rating_table(ratings, alternatives=alternatives)


def test_the_published_set(data_path):
    """Its README: 1,000,209 ratings by 6,040 users; 3,883 lines of movies; 1,323 users rated 14 of the 20 or more."""
    ratings = read_movielens(data_path("ml-1m", "movies.dat").parent)
    assert ratings.users.shape == ratings.items.shape == ratings.ratings.shape == (1_000_209,)
    assert ratings.user_ids.tolist() == list(range(1, 6041))
    assert len(ratings.item_ids) == len(set(ratings.names)) == 3883
    assert "Misérables, Les (1995)" in ratings.names
    assert np.bincount(np.asarray(ratings.ratings)).tolist() == [0, 56174, 107557, 261197, 348971, 226310]
    table, names = rating_table(ratings)
    assert table.shape == (6040, 20)
    assert names[:3] == (
        "American Beauty (1999)",
        "Star Wars: Episode IV - A New Hope (1977)",
        "Star Wars: Episode V - The Empire Strikes Back (1980)",
    )
    rated = ~np.isnan(np.asarray(table))
    assert rated[:, 0].sum() == 3428
    assert (rated.sum(axis=1) >= 14).sum() == 1323
    election = rating_ballots(ratings)
    assert len(election.ballots.positions) == rated.any(axis=1).sum()
