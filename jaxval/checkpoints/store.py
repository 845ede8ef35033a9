"""A store of finished evaluations: one SQLite file, keyed by the mask of the coalition.

Recorded evaluations survive the end of the process or of the machine: every call of `record` is one transaction that is
written through to the disk. Numbers are kept as float64, to the bit. One run at a time uses a store, and a store
belongs to one fingerprint for ever.
"""

import contextlib
import os
import sqlite3
import threading
import weakref
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxval import _checks
from jaxval.checkpoints.files import whole_file
from jaxval.types import BadArgument

__all__ = ["Store", "Stored"]

FORMAT = "jaxval evaluations 2"
EARLIER = ("jaxval evaluations 1",)
TABLES = """
create table facts (name text primary key, fact text not null) without rowid;
create table evaluations (mask blob primary key, value blob, error text, checksum integer not null,
check ((value is null) <> (error is null))) without rowid;
"""
FACTS = {"format", "fingerprint", "players", "objectives", "checksum"}
TOGETHER = 500  # masks in one question
LONGEST = 1e6  # seconds; SQLite counts milliseconds in 32 bits
KEYS = "keys of coalitions, as pack_masks makes them"


class Stored(NamedTuple):
    """One evaluation.

    Attributes:
        value: a float64 scalar or vector of objectives; None if the evaluation failed.
        error: why it failed; None if it did not.
    """

    value: np.ndarray | None
    error: str | None


class Store:
    """The finished evaluations of one run, in a file.

    Keys are `pack_masks(masks)`. While the store is open, or after a kill, there may be two more files beside it. The
    one that ends in `-wal` holds the latest records, so copy all of them together.

    Args:
        path: the file, made if it is missing. None means a store in memory, which ends with the process.
        fingerprint: a digest of what the values depend on, such as `checkpoints.fingerprint(utility, data, seed)`.
        timeout: seconds to wait for another process that has the store open.

    Raises:
        ValueError: if the file belongs to another fingerprint, is not a store, is cut off, or is open in another
            process.

    Example:
        >>> import tempfile
        >>> keys = pack_masks(np.array([[True, False], [True, True]]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Store(f"{folder}/run.sqlite", fingerprint="utility 1, seed 0") as store:
        ...         store.record({keys[0]: 0.5, keys[1]: "ValueError: no data"}, players=2)
        ...     with Store(f"{folder}/run.sqlite", fingerprint="utility 1, seed 0") as store:
        ...         found = store.find(keys)
        >>> float(found[keys[0]].value), found[keys[1]].error
        (0.5, 'ValueError: no data')
    """

    def __init__(self, path: str | Path | None = None, *, fingerprint: str = "", timeout: float = 10.0) -> None:
        if not isinstance(fingerprint, str) or (path is not None and not fingerprint) or _encoded(fingerprint) is None:
            raise BadArgument(
                "fingerprint",
                expected="a string that changes with the utility, its data and its seed",
                got=f"{fingerprint!r}",
                advice="call checkpoints.fingerprint(utility, data, seed)",
            )
        timeout = min(_checks.check_finite("timeout", timeout, "seconds, at least 0"), LONGEST)
        self.path = None if path is None else Path(_checks.check_path("path", path))
        self.fingerprint = fingerprint
        self._lock = threading.Lock()
        if self.path is None:
            self._database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
            weakref.finalize(self, self._database.close)
            self._database.executescript(TABLES)
            self._facts: dict[str, str] = {}
            return
        if not self.path.exists():
            with _explained(self.path, timeout):  # such as a full disk
                _make(self.path, fingerprint)
        with _explained(self.path, timeout):  # such as a folder of this name
            self._database = sqlite3.connect(self.path, timeout=timeout, check_same_thread=False, isolation_level=None)
        weakref.finalize(self, self._database.close)  # Python 3.13 warns of connections that nobody closes
        try:
            with _explained(self.path, timeout):
                _check_length(self.path)
                self._facts = _opened(self._database)
                if self._facts.get("format") == FORMAT:
                    _check_facts(self._facts)
                    _check_rows(self._database)
            if self._facts.get("format") != FORMAT:
                earlier = self._facts.get("format") in EARLIER
                kind = "one without checksums, of an earlier version," if earlier else "another database"
                raise BadArgument(
                    "store",
                    expected="a store of evaluations",
                    got=f"{kind} at {self.path}",
                    advice="choose another file, or delete this one" if earlier else None,
                )
            if self._facts["fingerprint"] != fingerprint:
                raise BadArgument(
                    "store",
                    expected=f"a store with the fingerprint {fingerprint!r}, of this utility, data and seed",
                    got=f"{self.path} with {self._facts['fingerprint']!r}, of another run",
                    advice=(
                        "choose another path; or, if you are sure that its values are those of this utility, pass "
                        f"Store(path, fingerprint={self._facts['fingerprint']!r})"
                    ),
                )
        except BaseException:
            self._database.close()
            raise

    @property
    def players(self) -> int | None:
        """The number of players; None before anything is recorded."""
        return int(self._facts["players"]) if "players" in self._facts else None

    @property
    def objectives(self) -> tuple[int, ...] | None:
        """The shape of a value, () or (objectives,); None before any is recorded."""
        if "objectives" not in self._facts:
            return None
        return tuple(int(size) for size in self._facts["objectives"].split())

    def __len__(self) -> int:
        with self._lock:
            return int(self._database.execute("select count(*) from evaluations").fetchone()[0])

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the store, so that another process can open it."""
        with self._lock:
            self._database.close()

    def find(self, keys: Iterable[bytes]) -> dict[bytes, Stored]:
        """The finished evaluations among the coalitions with these keys."""
        keys = _check_keys("keys", _checks.check_items("keys", keys, KEYS))
        result = {}
        with self._lock:
            for start in range(0, len(keys), TOGETHER):
                some = keys[start : start + TOGETHER]
                marks = ",".join("?" * len(some))
                for mask, value, error in self._database.execute(
                    f"select mask, value, error from evaluations where mask in ({marks})", some
                ):
                    result[mask] = self._stored(value, error)
        return result

    def __iter__(self) -> Iterator[tuple[bytes, Stored]]:
        """All evaluations, in the order of the keys."""
        with self._lock:
            rows = self._database.execute("select mask, value, error from evaluations order by mask").fetchall()
        for mask, value, error in rows:
            yield mask, self._stored(value, error)

    def record(self, evaluations: Mapping[bytes, Any], *, players: int) -> None:
        """Keep evaluations, all or none of them; when this returns, they are on the disk.

        Args:
            evaluations: by key, a number or a vector of objectives, or a string that says why it failed.
            players: how many there are.

        Raises:
            ValueError: if the number of players or the shape of a value differs from before, or a value is not finite.
                Evaluations that the store already has stay as they are.
        """
        if not isinstance(evaluations, Mapping):
            raise BadArgument("evaluations", expected="values by key", got=f"{evaluations!r:.80}")
        _check_keys("evaluations", list(evaluations))
        facts = dict(self._facts)
        rows: list[tuple[bytes, bytes | None, str | None, int]] = []
        _settle(facts, "players", str(_checks.check_size("players", players)))
        for key, value in evaluations.items():
            if isinstance(value, str):
                value = value.encode(errors="replace").decode()  # a lone half of a character, as file names may have
                rows.append((key, None, value, _checksum(key, None, value)))
                continue
            array = _checks.host_numbers("evaluations", value, "numbers, or a string that says what failed")
            _settle(facts, "objectives", " ".join(map(str, array.shape)))
            if not np.isfinite(array).all():
                raise BadArgument("store", expected="finite values, or a string that says what failed", got=array)
            rows.append((key, array.tobytes(), None, _checksum(key, array.tobytes(), None)))
        facts["checksum"] = _sum_of(facts)
        with self._lock, self._transaction():
            new = [(name, fact) for name, fact in facts.items() if self._facts.get(name) != fact]
            self._database.executemany("insert or replace into facts values (?, ?)", new)
            self._database.executemany("insert or ignore into evaluations values (?, ?, ?, ?)", rows)
        self._facts = facts

    def forget_failures(self) -> int:
        """Forget the evaluations that failed, so that they are tried again; return how many there were."""
        with self._lock, self._transaction():
            return self._database.execute("delete from evaluations where error is not null").rowcount

    def _stored(self, value: bytes | None, error: str | None) -> Stored:
        if value is None:
            return Stored(None, error)
        return Stored(np.frombuffer(value, np.float64).reshape(self.objectives or ()), None)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("begin immediate")
        try:
            yield
            self._database.execute("commit")
        except BaseException as error:
            if self._database.in_transaction:
                self._database.execute("rollback")
            if isinstance(error, sqlite3.OperationalError):  # the disk is full, or gone
                raise OSError(f"{self.path}: the evaluations cannot be written ({error})") from error
            raise


def pack_masks(masks: np.ndarray) -> list[bytes]:
    r"""The keys of (rows, players) masks: bit i, counted from the left, is player i.

    Example:
        >>> pack_masks(np.array([[True, False, True]]))
        [b'\xa0']
    """
    return [row.tobytes() for row in np.packbits(np.asarray(masks, dtype=bool), axis=1)]


def unpack_mask(key: bytes, players: int) -> np.ndarray:
    r"""The mask (players,) of a key.

    Example:
        >>> unpack_mask(b"\xa0", 3).tolist()
        [True, False, True]
    """
    return np.unpackbits(np.frombuffer(key, np.uint8), count=players).astype(bool)


def _encoded(text: str) -> bytes | None:
    """None if the text has half a character, which no file can keep."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return None


def _check_keys(name: str, keys: list[Any]) -> list[bytes]:
    for key in keys:
        if not isinstance(key, bytes):
            raise BadArgument(name, expected=KEYS, got=f"{key!r:.80} among them")
    return keys


def _make(path: Path, fingerprint: str) -> None:
    """A new store, complete before it gets its name: a kill leaves no store or a whole one.

    If another process was first, its store stays, and its fingerprint is checked.
    """
    with (
        whole_file(path, replace=False) as draft,
        contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as database,
    ):
        database.executescript("pragma journal_mode = wal; pragma synchronous = full;")
        database.executescript(TABLES)
        facts = {"format": FORMAT, "fingerprint": fingerprint}
        facts["checksum"] = _sum_of(facts)
        database.executemany("insert or replace into facts values (?, ?)", facts.items())


def _check_length(path: Path) -> None:
    """The file must consist of whole pages: SQLite does not report a file that lacks its last few bytes."""
    with path.open("rb") as file:
        header = file.read(100)
        length = file.seek(0, os.SEEK_END)
    page = int.from_bytes(header[16:18], "big")  # SQLite's header; 1 stands for 65,536
    if header[:15] == b"SQLite format 3" and (len(header) < 100 or length % (65_536 if page == 1 else max(page, 1))):
        raise sqlite3.DatabaseError(f"{length} bytes are no whole number of pages")


def _opened(database: sqlite3.Connection) -> dict[str, str]:
    """The facts of a store that is whole and that only this process has open."""
    database.executescript("pragma locking_mode = exclusive; pragma synchronous = full;")
    database.execute("begin immediate")  # takes the lock, and with the mode above keeps it
    database.execute("commit")
    damage = database.execute("pragma quick_check(1)").fetchone()[0]
    if damage != "ok":
        raise sqlite3.DatabaseError(damage)
    if not database.execute("select 1 from sqlite_master where name = 'facts'").fetchone():
        return {}
    return dict(database.execute("select name, fact from facts").fetchall())


def _checksum(mask: bytes, value: bytes | None, error: str | None) -> int:
    """A checksum of an evaluation, which changes with each of its bytes."""
    return zlib.crc32((error or "").encode(), zlib.crc32(value or b"", zlib.crc32(mask)))


def _sum_of(facts: Mapping[str, str]) -> str:
    """A checksum of the facts, which changes with each of their bytes."""
    return str(zlib.crc32(repr(sorted((name, fact) for name, fact in facts.items() if name != "checksum")).encode()))


def _check_facts(facts: Mapping[str, str]) -> None:
    """SQLite does not see a changed byte of a fact, nor of its name; stores of earlier versions have no checksum."""
    whole = {"format", "fingerprint"} <= set(facts) <= FACTS
    if not whole or facts.get("checksum", _sum_of(facts)) != _sum_of(facts):
        raise sqlite3.DatabaseError("what it records of the run was changed")


def _check_rows(database: sqlite3.Connection) -> None:
    """SQLite keeps pages in order, but does not see a changed byte of a value."""
    for mask, value, error, checksum in database.execute("select mask, value, error, checksum from evaluations"):
        typed = isinstance(mask, bytes) and isinstance(value, bytes | None) and isinstance(error, str | None)
        if not typed or _checksum(mask, value, error) != checksum:
            raise sqlite3.DatabaseError(f"the evaluation of the mask {mask!r} was changed")


@contextlib.contextmanager
def _explained(path: Path, timeout: float) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise BadArgument(
                "store",
                expected="one that no other process has open",
                got=f"{path}, locked for {timeout:g} s",
                advice="wait for the other run to end, or choose another path",
            ) from error
        raise BadArgument("store", expected="a file that can be read and written", got=f"{path} ({error})") from error
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise BadArgument(
            "store", expected="a whole store of evaluations", got=f"{path}, damaged or cut off ({error})"
        ) from error


def _settle(facts: dict[str, str], name: str, fact: str) -> None:
    """The first evaluation fixes the number of players and the shape of a value."""
    if facts.setdefault(name, fact) != fact:
        raise BadArgument(
            "store", expected=f"{name} {facts[name] or 'none'!r}, as in the store", got=f"{fact or 'none'!r}"
        )
