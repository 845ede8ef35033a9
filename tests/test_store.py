"""The store of finished evaluations, states of estimators in files, and fingerprints."""

import contextlib
import errno
import functools
import os
import re
import resource
import sqlite3
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval.checkpoints import Store, fingerprint, load_state, open_checkpoints, save_state
from jaxval.checkpoints.store import pack_masks, unpack_mask
from jaxval.types import BadArgument

MASKS = np.array([[True, False, True], [False, False, False], [True, True, True]])
KEYS = pack_masks(MASKS)


def filled(path, **options):
    store = Store(path, fingerprint="one", **options)
    store.record({KEYS[0]: np.array([0.1, 1 / 3]), KEYS[1]: "ValueError: no data"}, players=3)
    return store


@pytest.mark.once
def test_what_was_recorded_is_there_to_the_bit(tmp_path):
    filled(tmp_path / "run.sqlite").close()
    with Store(tmp_path / "run.sqlite", fingerprint="one") as store:
        found = store.find(KEYS)
        assert set(found) == set(KEYS[:2])
        assert found[KEYS[0]].value.tolist() == [0.1, 1 / 3]
        assert found[KEYS[1]].error == "ValueError: no data"
        assert (store.players, store.objectives, len(store)) == (3, (2,), 2)
        assert [unpack_mask(key, 3).tolist() for key, _ in store] == [[False] * 3, [True, False, True]]
        store.record({KEYS[0]: np.array([9.0, 9.0])}, players=3)  # what is known stays
        assert store.find(KEYS[:1])[KEYS[0]].value.tolist() == [0.1, 1 / 3]
        assert store.forget_failures() == 1
        assert len(store) == 1


@pytest.mark.once
def test_a_failure_told_with_half_a_character_is_kept_with_what_is_beside_it(tmp_path):
    """As in the name of a file whose bytes are no text; SQLite keeps none, and the transaction was lost."""
    with Store(tmp_path / "run.sqlite", fingerprint="one") as store:
        store.record({b"\x80": 0.5, b"\x40": "OSError: no file \udcff"}, players=2)
        assert store.find([b"\x80", b"\x40"])[b"\x40"].error == "OSError: no file ?"
        assert len(store) == 2


def test_any_number_of_players_has_keys():
    masks = np.random.default_rng(0).random((50, 1000)) < 0.5
    keys = pack_masks(masks)
    assert len(set(keys)) == 50
    np.testing.assert_array_equal([unpack_mask(key, 1000) for key in keys], masks)


@pytest.mark.once
def test_a_refused_record_changes_nothing(tmp_path):
    with filled(tmp_path / "run.sqlite") as store:
        for values, players, message in (
            ({KEYS[2]: 1.0}, 3, "objectives"),
            ({KEYS[2]: np.ones(2)}, 4, "players"),
            ({KEYS[2]: np.array([1.0, np.nan])}, 3, "finite"),
        ):
            with pytest.raises(ValueError, match=message):
                store.record(values, players=players)
        assert len(store) == 2


def another_database(path):
    with sqlite3.connect(path) as database:
        database.execute("create table thesis (words text)")
    database.close()


def cut_off(path):
    with filled(path) as store:
        masks = np.random.default_rng(0).random((400, 64)) < 0.5
        store.forget_failures()
        store.record({key: np.ones(2) for key in pack_masks(masks)}, players=3)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: filled(path).close(), "of another run; choose another path"),
        (another_database, "expected a store of evaluations"),
        (lambda path: path.write_text("not a database, and long enough to look like a page of one" * 20), "damaged"),
        (cut_off, r"damaged or cut off|another run"),
        (lambda path: (filled(path).close(), path.write_bytes(path.read_bytes()[:-1])), "damaged or cut off"),
    ],
)
def test_stores_that_are_none_of_this_run(tmp_path, make, message):
    path = tmp_path / "run.sqlite"
    make(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        Store(path, fingerprint="two")
    assert path.read_bytes() == before


def changed_bytes(path):
    """The file with one bit changed, at the ends and within every page of 4,096 bytes; then the file as it was."""
    content = path.read_bytes()
    for at in sorted(
        {0, len(content) // 2, len(content) - 1, *range(1111, len(content), 1024)} & set(range(len(content)))
    ):
        path.write_bytes(content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :])
        yield at
    path.write_bytes(content)


@pytest.mark.mistakes
def test_a_changed_byte_in_any_page_of_a_store_is_named_or_harmless(tmp_path):
    path, masks = tmp_path / "run.sqlite", np.random.default_rng(0).random((400, 64)) < 0.5
    expected = {key: np.arange(2.0) + i for i, key in enumerate(pack_masks(masks))}
    with Store(path, fingerprint="one") as store:
        store.record(expected, players=64)
    refused = 0
    for _ in changed_bytes(path):
        try:
            with Store(path, fingerprint="one") as store:
                kept = dict(store)
        except BadArgument as error:
            assert str(path) in str(error)  # noqa: PT017
            refused += 1
        else:
            assert kept.keys() == expected.keys()
            assert all((kept[key].value == value).all() for key, value in expected.items())
    assert refused > 15


@pytest.mark.mistakes
def test_a_changed_byte_of_what_a_store_says_of_its_run_is_named(tmp_path):
    """SQLite sees no change in the number of players or the shape of a value, nor in their names."""
    path = tmp_path / "run.sqlite"
    filled(path).close()
    content = path.read_bytes()
    for word, length in ((b"players3", 8), (b"objectives2", 11), (b"fingerprintone", 14), (b"checksum", 9)):
        start = content.index(word)
        for at in range(start, start + length):
            for bit in (1, 128):
                path.write_bytes(content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])
                with pytest.raises(ValueError, match=re.escape(str(path))):
                    Store(path, fingerprint="one")


@pytest.mark.mistakes
# Where one array cannot be read, TensorStore tells of the others after the loop that waited for them is closed.
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
def test_a_changed_byte_in_a_state_or_in_a_checkpoint_is_named_or_harmless(tmp_path):
    like = {"weight": np.random.default_rng(0).normal(size=(60, 20)).astype(np.float32), "count": np.arange(3)}
    save_state(tmp_path / "state.npz", like)
    with open_checkpoints(tmp_path / "training", {"steps": 3}) as checkpoints:
        checkpoints.save(1, like)

    def latest():
        with open_checkpoints(tmp_path / "training", {"steps": 3}) as checkpoints:
            return checkpoints.latest(like)[1]

    largest = max((path for path in (tmp_path / "training").rglob("*") if path.is_file()), key=os.path.getsize)
    for path, read in [(tmp_path / "state.npz", lambda: load_state(tmp_path / "state.npz", like)), (largest, latest)]:
        refused = 0
        for _ in changed_bytes(path):
            try:
                state = read()
            except BadArgument as error:
                assert str(tmp_path) in str(error)  # noqa: PT017
                refused += 1
            else:
                assert all((np.asarray(state[name]) == values).all() for name, values in like.items())
        assert refused > 3


@pytest.mark.mistakes
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
def test_a_checkpoint_without_room_is_told_by_its_folder_alone(tmp_path, caplog):
    state = {"weight": np.random.default_rng(0).normal(size=20_000)}
    with open_checkpoints(tmp_path / "training", {"steps": 3}) as checkpoints:
        checkpoints.save(1, state)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # no file may be larger, as on a full disk
        try:
            with pytest.raises(OSError, match=r"large.*training/2'$") as told:
                checkpoints.save(2, state)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert told.value.errno == errno.EFBIG
        checkpoints.save(3, state)
    with open_checkpoints(tmp_path / "training", {"steps": 3}) as checkpoints:
        assert checkpoints.latest(state)[0] == 3
    assert not [record for record in caplog.records if record.levelname == "ERROR"]  # Orbax logs what it raises


@pytest.mark.mistakes
def test_a_changed_byte_in_the_list_of_an_archive_is_named_or_harmless(tmp_path):
    state = (np.arange(2), np.array(3))
    save_state(tmp_path / "state.npz", state)
    content = (tmp_path / "state.npz").read_bytes()
    for at in range(content.index(b"PK\1\2"), len(content)):
        (tmp_path / "state.npz").write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        try:
            found = load_state(tmp_path / "state.npz", state)
        except BadArgument as error:
            assert str(tmp_path) in str(error)  # noqa: PT017
        else:
            assert (found[0].tolist(), found[1].tolist()) == ([0, 1], 3)


HOLDER = """
import sys, time
from jaxval.checkpoints import Store
store = Store(sys.argv[1], fingerprint="one")
print("open", flush=True)
time.sleep(60)
"""


@pytest.mark.mistakes
def test_a_store_that_is_open_elsewhere(tmp_path):
    path = tmp_path / "run.sqlite"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"open\n"
        started = time.monotonic()
        with pytest.raises(ValueError, match=r"no other process has open.*locked for 0\.2 s"):
            Store(path, fingerprint="one", timeout=0.2)
        assert time.monotonic() - started < 20
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    Store(path, fingerprint="one").close()  # a killed holder holds nothing


@pytest.mark.mistakes
def test_a_path_needs_a_fingerprint(tmp_path):
    with pytest.raises(ValueError, match="changes with the utility"):
        Store(tmp_path / "run.sqlite")


def test_states_with_keys_survive_to_the_bit(tmp_path):
    state = {"key": jax.random.key(7), "mean": jnp.asarray([0.1, 1 / 3]), "count": jnp.asarray(3)}
    save_state(tmp_path / "state.npz", state)
    found = load_state(tmp_path / "state.npz", like=jax.tree.map(lambda leaf: leaf, state))
    assert jax.random.uniform(found["key"]) == jax.random.uniform(state["key"])
    np.testing.assert_array_equal(found["mean"], state["mean"])


@pytest.mark.mistakes
def test_states_of_another_kind_or_cut_off(tmp_path):
    path = tmp_path / "state.npz"
    save_state(path, {"mean": jnp.zeros(3)})
    with pytest.raises(ValueError, match="expected a state of"):
        load_state(path, like={"mean": jnp.zeros(4)})
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="written by save_state"):
        load_state(path, like={"mean": jnp.zeros(3)})


@pytest.mark.once
def test_fingerprints_change_with_everything_a_value_depends_on(tmp_path):
    data = np.arange(6.0)

    def utility(mask, scale=1.0):
        return scale * data[mask].sum()

    file = tmp_path / "data.csv"
    file.write_text("1")
    one = fingerprint(utility, data, 0, {"a": 1}, file)
    assert one == fingerprint(utility, data.copy(), 0, {"a": 1}, file)
    others = [
        fingerprint(utility, data + 1e-15, 0, {"a": 1}, file),
        fingerprint(utility, data.astype(np.float32), 0, {"a": 1}, file),
        fingerprint(utility, data.reshape(2, 3), 0, {"a": 1}, file),
        fingerprint(utility, data, 1, {"a": 1}, file),
        fingerprint(utility, data, 0, {"a": 2}, file),
        fingerprint(functools.partial(utility, scale=2.0), data, 0, {"a": 1}, file),
        fingerprint(utility, data, jax.random.key(0), {"a": 1}, file),
    ]
    file.write_text("2")
    others.append(fingerprint(utility, data, 0, {"a": 1}, file))
    data[0] = 7.0  # what the function closes over
    others.append(fingerprint(utility, np.arange(6.0), 0, {"a": 1}, file))
    assert len({one, *others}) == len(others) + 1
    with pytest.raises(ValueError, match="pass a string that changes with its content"):
        fingerprint(object())


@pytest.mark.mistakes
def test_a_full_disk_is_named_and_loses_nothing(tmp_path):
    path = tmp_path / "run.sqlite"
    with filled(path) as store:
        kept = dict(store)
        pages = store._database.execute("pragma page_count").fetchone()[0]
        store._database.execute(f"pragma max_page_count = {pages}")
        many = pack_masks(np.arange(3 * 9999).reshape(-1, 3) % 7 < 3) + [bytes([k, 255]) for k in range(200)]
        with pytest.raises(
            OSError, match=r"run.sqlite: the evaluations cannot be written \(database or disk is full\)"
        ):
            store.record(dict.fromkeys(many, "no" * 999), players=3)
        assert dict(store).keys() == kept.keys()
    with Store(path, fingerprint="one") as store:
        assert dict(store).keys() == kept.keys()


@pytest.mark.mistakes
def test_a_store_of_an_earlier_version_is_named(tmp_path):
    path = tmp_path / "run.sqlite"
    Store(path, fingerprint="run").close()
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("update facts set fact = 'jaxval evaluations 1' where name = 'format'")
    with pytest.raises(ValueError, match=r"without checksums, of an earlier version, at .*delete this one"):
        Store(path, fingerprint="run")
