"""MovieLens 1M as published: a million ratings. They are parsed as whole arrays, and still every line is checked."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from jaxval import _checks
from jaxval.data._arrays import floats, indices
from jaxval.data._tables import numbered
from jaxval.data._text import FilePath, file_bytes, shorten, unfinished, whole, wrong
from jaxval.data.records import Election
from jaxval.types import BadArgument, Ballots

__all__ = ["Ratings", "rating_ballots", "rating_table", "read_movielens", "with_user_groups"]

USER_FIELDS = ("gender", "age", "occupation", "zip-code")
STARS = (1, 2, 3, 4, 5)
LINE = "User::Movie::Rating::Timestamp, such as 1::1193::5::978300760"
_RATING = re.compile(rb"[0-9]{1,9}::[0-9]{1,9}::[0-9]::[0-9]{1,12}")
_BLOCK = 2**20


class Ratings(NamedTuple):
    """Who rated which movie with how many stars, in the file's order.

    Attributes:
        users: (ratings,) index of the user.
        items: (ratings,) index of the movie.
        ratings: (ratings,) whole stars, 1 to 5.
        user_ids: (users,) the users' own numbers in the file, increasing.
        item_ids: (items,) the movies' own numbers in the file, increasing; unrated movies are among them.
        names: (items,) titles with years.
    """

    users: Int[Array, "ratings"]
    items: Int[Array, "ratings"]
    ratings: Int[Array, "ratings"]
    user_ids: Int[Array, "users"]
    item_ids: Int[Array, "items"]
    names: tuple[str, ...]


def read_movielens(folder: FilePath) -> Ratings:
    r"""The ratings and titles of MovieLens 1M, or of a folder in its format.

    Args:
        folder: the folder that holds `ratings.dat` or `ratings.dat.gz` (`User::Movie::Rating::Timestamp`, the first of
            the two if the folder has both) and `movies.dat` (`Movie::Title::Genres`, latin-1). If it also holds
            `users.dat`, every user listed in that file must have rated something, as in the published set. This
            detects ratings that were cut off between two lines.

    Returns:
        `Ratings` in the file's order.

    Raises:
        ValueError: if a line is malformed, rates an unknown movie or repeats a rating, or a file is cut off. The
            message names the line.
        FileNotFoundError: if the folder or one of the files is missing.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = pathlib.Path(folder, "movies.dat").write_text("7::Up (2009)::Comedy\n9::Alien (1979)::Horror\n")
        ...     _ = pathlib.Path(folder, "ratings.dat").write_text("4::9::5::0\n4::7::3::0\n6::9::4::0\n")
        ...     ratings = read_movielens(folder)
        >>> ratings.names, ratings.users.tolist(), ratings.items.tolist(), ratings.ratings.tolist()
        (('Up (2009)', 'Alien (1979)'), [0, 0, 1], [1, 0, 1], [5, 3, 4])

    Source: Harper and Konstan (2015), "The MovieLens datasets: history and context".
    """
    _checks.check_path("folder", folder)
    movies, users = Path(folder, "movies.dat"), Path(folder, "users.dat")
    plain, packed = Path(folder, "ratings.dat"), Path(folder, "ratings.dat.gz")
    if not movies.is_file() or not (plain.is_file() or packed.is_file()):
        raise FileNotFoundError(
            f"{folder}: expected a folder with movies.dat and ratings.dat or ratings.dat.gz; "
            "jaxval.data.download_movielens(folder) gets them"
        )
    item_ids, names = _read_movies(movies)
    path = plain if plain.is_file() else packed
    ratings = _read_ratings(path, file_bytes(path) if path == plain else _unpacked(path), item_ids, names)
    if users.is_file():
        _check_users(path, users, ratings)
    return ratings


def rating_table(
    ratings: Ratings, *, alternatives: int = 20
) -> tuple[Float[Array, "voters alternatives"], tuple[str, ...]]:
    """The ratings of the most-rated movies, NaN if a user did not rate a movie.

    The most-rated movies come first; of two rated equally often, the one with the smaller number in the file.

    Args:
        ratings: as `read_movielens` gives them.
        alternatives: how many movies.

    Returns:
        The (voters, alternatives) table, one row for every user, even for those who rated none of these movies; and
        the titles.

    Raises:
        ValueError: if fewer movies than `alternatives` were rated.

    Example:
        >>> import jax.numpy as jnp
        >>> ratings = Ratings(*map(jnp.array, ([0, 0, 1], [1, 0, 1], [5, 3, 4], [4, 6], [7, 9])), ("Up", "Alien"))
        >>> table, names = rating_table(ratings, alternatives=2)
        >>> names, table.tolist()
        (('Alien', 'Up'), [[5.0, 3.0], [4.0, nan]])
    """
    _checks.check_record("ratings", ratings, Ratings)
    _checks.check_names("ratings.names", ratings.names, "a title for each item")
    columns = (
        _checks.integers(f"ratings.{name}", getattr(ratings, name), ndim=1, expected="whole numbers")
        for name in Ratings._fields[:5]
    )
    users, items, stars, user_ids, item_ids = (np.asarray(column) for column in columns)
    if not len(users) == len(items) == len(stars) or len(ratings.names) != len(item_ids):
        lengths = ", ".join(str(len(column)) for column in (users, items, stars))
        got = f"columns of lengths {lengths}, and {len(ratings.names)} names for {len(item_ids)} items"
        raise BadArgument("ratings", expected="columns of one length, and a name for each item", got=got)
    for name, ids, count in (("users", users, len(user_ids)), ("items", items, len(item_ids))):
        if len(ids) and not 0 <= ids.min() <= ids.max() < count:
            raise BadArgument(
                f"ratings.{name}", expected=f"numbers in 0..{count - 1}", got=f"{ids.min()} to {ids.max()}"
            )
    rated = np.bincount(items, minlength=len(item_ids))
    most = int((rated > 0).sum())
    if not 1 <= _checks.check_size("alternatives", alternatives) <= most:
        raise BadArgument("alternatives", expected=f"1 to {most}, the number of rated movies", got=alternatives)
    top = np.lexsort((item_ids, -rated))[:alternatives]
    column = np.full(len(item_ids), -1)
    column[top] = np.arange(alternatives)
    kept = column[items] >= 0
    table = np.full((len(user_ids), alternatives), np.nan)
    table[users[kept], column[items[kept]]] = stars[kept]
    return floats(table), tuple(ratings.names[i] for i in top)


def rating_ballots(ratings: Ratings, *, alternatives: int = 20) -> Election:
    """The ratings of the most-rated movies as ballots: equal ratings are tied, unrated movies unranked.

    Args:
        ratings: as `read_movielens` gives them.
        alternatives: how many movies, as in `rating_table`.

    Returns:
        `Election` of one ballot of weight 1 per user; users who rated none of these movies cast no ballot. The voters'
        names are the users' numbers.

    Raises:
        ValueError: if fewer movies than `alternatives` were rated.

    Example:
        >>> import jax.numpy as jnp
        >>> ratings = Ratings(*map(jnp.array, ([0, 0, 1], [1, 0, 1], [5, 3, 4], [4, 6], [7, 9])), ("Up", "Alien"))
        >>> rating_ballots(ratings, alternatives=2).ballots.positions.tolist()
        [[0, 1], [0, -1]]
    """
    table, names = rating_table(ratings, alternatives=alternatives)
    stars = np.asarray(table)
    voted = ~np.isnan(stars).all(axis=1)
    stars = stars[voted]
    positions = np.where(np.isnan(stars), -1, 0)
    for star in STARS:
        given = (stars == star).any(axis=1, keepdims=True)
        positions += given & (stars < star)
    title = f"MovieLens: the {alternatives} most-rated movies"
    ballots = Ballots(indices(positions), floats(np.ones(len(stars))))
    voters = tuple(str(number) for number in np.asarray(ratings.user_ids)[voted].tolist())
    return Election(ballots, names, title, np.arange(len(voters), dtype=np.int32), voters)


def with_user_groups(election: Election, folder: FilePath, field: str) -> Election:
    r"""The election of `rating_ballots` with groups of users, from `users.dat`.

    Args:
        election: what `rating_ballots` returned; its voters are users.
        folder: as `read_movielens` takes it, with `users.dat` in it.
        field: gender, age, occupation or zip-code; age and occupation are the file's codes.

    Returns:
        The same `Election` with `group` and `groups`.

    Raises:
        ValueError: if `field` is another word, or a voter is not in the file.
        FileNotFoundError: if the folder has no `users.dat`.

    Example:
        >>> import pathlib, tempfile
        >>> import jax.numpy as jnp
        >>> ratings = Ratings(*map(jnp.array, ([0, 0, 1], [1, 0, 1], [5, 3, 4], [4, 6], [7, 9])), ("Up", "Alien"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = pathlib.Path(folder, "users.dat").write_text("4::F::1::10::48067\n6::M::56::16::70072\n")
        ...     election = with_user_groups(rating_ballots(ratings, alternatives=2), folder, "gender")
        >>> election.groups, election.group.tolist()
        (('F', 'M'), [0, 1])
    """
    place = {name: i for i, name in enumerate(USER_FIELDS)}.get(field.strip().lower())
    if place is None:
        raise BadArgument("group", expected=f"a field of users.dat, {', '.join(USER_FIELDS)}", got=repr(field))
    path = Path(folder, "users.dat")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file to read the groups of users from")
    fields = dict(user for _, user in _read_users(path))
    missing = next((user for user in election.voters if int(user) not in fields), None)
    if missing is not None:
        raise BadArgument(path, expected=f"a line for user {missing}", got="none")
    own = [fields[int(user)][place] for user in election.voters]
    groups, index = numbered(own)
    return election._replace(group=np.array([index[name] for name in own], dtype=np.int32), groups=groups)


def _read_movies(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    movies: dict[int, str] = {}
    titles: set[str] = set()
    lines = _whole_lines(path, file_bytes(path)).split(b"\n")[:-1]
    for number, line in enumerate(lines, 1):
        digits, _, rest = line.decode("latin-1").partition("::")
        title, _, genres = rest.rpartition("::")
        movie = whole(digits)
        if movie is None or movie >= 10**9 or not title.strip() or not genres.strip():
            raise wrong(path, number, expected="Movie::Title::Genres", got=shorten(line.decode("latin-1")))
        if movie in movies or title.strip() in titles:
            raise wrong(path, number, expected="a new number and a new title", got=shorten(f"{movie}::{title}"))
        movies[movie] = title.strip()
        titles.add(title.strip())
    return np.array(sorted(movies), dtype=np.int32), tuple(movies[movie] for movie in sorted(movies))


def _check_users(path: Path, listed: Path, ratings: Ratings) -> None:
    """Every user in users.dat must have rated. If one has not, the ratings were cut off."""
    missing: set[int] = set()
    missing.update(user for _, (user, _) in _read_users(listed))
    missing -= set(np.asarray(ratings.user_ids).tolist())
    if missing:
        raise wrong(
            path,
            len(ratings.users),
            expected="a rating by every user of users.dat",
            got=f"none by {len(missing)} of them, user {min(missing)} among them: the file may be cut off",
            advice="if it is a part taken on purpose, take users.dat away",
        )


def _read_users(path: Path) -> Iterator[tuple[int, tuple[int, list[str]]]]:
    """Each line's number, and its user with the fields `USER_FIELDS`."""
    for number, line in enumerate(_whole_lines(path, file_bytes(path)).split(b"\n")[:-1], 1):
        digits, *fields = line.decode("latin-1").split("::")
        if whole(digits) is None or len(fields) != len(USER_FIELDS):
            raise wrong(path, number, expected="User::Gender::Age::Occupation::Zip-code", got=f"{line[:60]!r}")
        yield number, (int(digits), fields)


def _read_ratings(path: Path, content: bytes, item_ids: np.ndarray, names: tuple[str, ...]) -> Ratings:
    user, movie, stars = _parse(path, _whole_lines(path, content))
    user_ids, users = np.unique(user, return_inverse=True)
    items = np.searchsorted(item_ids, movie).clip(max=len(item_ids) - 1)
    unknown = item_ids[items] != movie
    if unknown.any():
        row = int(unknown.argmax())
        raise wrong(path, row + 1, expected="a movie of movies.dat", got=f"movie {movie[row]}")
    pair = users.astype(np.int64) * len(item_ids) + items
    order = np.argsort(pair, kind="stable")
    again = order[1:][pair[order][1:] == pair[order][:-1]]
    if again.size:
        row = int(again.min())
        raise wrong(
            path, row + 1, expected="one rating of a movie by a user", got=f"user {user[row]}, movie {movie[row]} again"
        )
    return Ratings(indices(users), indices(items), indices(stars), indices(user_ids), indices(item_ids), names)


def _parse(path: Path, content: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, movies and stars. In every line, the characters that are no digits must be six colons and a newline."""
    text = np.frombuffer(content, dtype=np.uint8)
    other = np.flatnonzero((text < ord("0")) | (text > ord("9")))
    pattern = np.frombuffer(b"::::::\n", dtype=np.uint8)
    if len(other) % 7 or not (text[other].reshape(-1, 7) == pattern).all():
        raise _first_wrong(path, content)
    marks = other.reshape(-1, 7)
    starts = np.concatenate([[0], marks[:-1, 6] + 1])
    widths = np.stack([marks[:, 0] - starts, *(marks[:, i + 1] - marks[:, i] - 1 for i in range(6))], axis=1)
    low, high = np.array([[1, 0, 1, 0, 1, 0, 1], [9, 0, 9, 0, 1, 0, 12]])
    if ((widths < low) | (widths > high)).any():
        raise _first_wrong(path, content)
    stars = _numbers(text, marks[:, 3] + 1, widths[:, 4])
    if not np.isin(stars, STARS).all():
        row = int((~np.isin(stars, STARS)).argmax())
        raise wrong(path, row + 1, expected="a rating of 1 to 5 stars", got=stars[row])
    return _numbers(text, starts, widths[:, 0]), _numbers(text, marks[:, 1] + 1, widths[:, 2]), stars


def _numbers(text: np.ndarray, starts: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """The numbers of `widths` digits from `starts` on, by Horner's rule over all lines at once."""
    numbers = np.zeros(len(starts), dtype=np.int32)
    for place in range(int(widths.max())):
        digits = text[np.minimum(starts + place, len(text) - 1)] - np.int32(ord("0"))
        numbers = np.where(place < widths, 10 * numbers + digits, numbers)
    return numbers


def _first_wrong(path: Path, content: bytes) -> ValueError:
    lines = content.split(b"\n")
    number = next(i for i, line in enumerate(lines, 1) if not _RATING.fullmatch(line))
    return wrong(path, number, expected=LINE, got=shorten(lines[number - 1].decode("latin-1")))


def _whole_lines(path: Path, content: bytes) -> bytes:
    """The content with plain newlines; its last line must end with one."""
    if not content.endswith(b"\n"):
        raise unfinished(path, content.count(b"\n") + 1)
    return content.replace(b"\r\n", b"\n")


def _unpacked(path: Path) -> bytes:
    """A gzip file's content, block by block, so that an error can say where the fault is."""
    packed = file_bytes(path)
    content = bytearray()
    while packed:
        unzip = zlib.decompressobj(wbits=31)
        try:
            for start in range(0, len(packed), _BLOCK):
                content += unzip.decompress(packed[start : start + _BLOCK])
                if unzip.eof:
                    packed = unzip.unused_data + packed[start + _BLOCK :]
                    break
            else:
                raise zlib.error("it ends too early; the file is cut off")
        except zlib.error as error:
            number = content.count(b"\n") + 1
            raise wrong(path, number, expected="a whole gzip file", got=f"a fault here or later: {error}") from None
    return bytes(content)
