"""Files that are whole or not there, and folders that belong to one run."""

import errno
import os
import subprocess
import sys

import pytest

from jaxval.checkpoints.files import claim_folder, lock_folder, whole_file, write_whole

pytestmark = pytest.mark.once


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_in_one_step_or_not_at_all(tmp_path):
    path = tmp_path / "result.txt"
    write_whole(path, "once")
    with whole_file(path) as draft:
        draft.write_text("twice")
        assert path.read_text() == "once"
    assert path.read_text() == "twice"
    with pytest.raises(TypeError), whole_file(path) as draft, draft.open("w") as file:
        file.write("thr" + 3)
    assert path.read_text() == "twice"
    with whole_file(path, replace=False) as draft:
        draft.write_text("too late")
    assert path.read_text() == "twice"
    write_whole(path, b"\xff")
    assert path.read_bytes() == b"\xff"
    assert names(tmp_path) == ["result.txt"]


KILLED = """
import os, signal, sys
from jaxval.checkpoints.files import whole_file
with whole_file(sys.argv[1]) as draft:
    draft.write_text("half of")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "run.json"
    write_whole(path, "whole")
    assert subprocess.run([sys.executable, "-c", KILLED, path]).returncode < 0
    assert path.read_text() == "whole"
    path.unlink()
    claim_folder(tmp_path, {"seed": 0}, note="run.json")  # what the kill left is nobody's


def test_a_full_disk_is_told_with_the_file(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: '.*result.txt'"), whole_file(tmp_path / "result.txt"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as writing does, without a name
    with pytest.raises(FileNotFoundError, match=r"other.txt"), whole_file(tmp_path / "result.txt"):
        (tmp_path / "other.txt").read_text()


def test_a_folder_belongs_to_one_run(tmp_path):
    folder = claim_folder(tmp_path / "a" / "b", {"seed": 0, "rate": (1, 2)}, note="run.json")
    assert folder == claim_folder(folder, {"rate": [1, 2], "seed": 0}, note="run.json")
    (folder / "more.txt").touch()
    claim_folder(folder, {"seed": 0, "rate": [1, 2]}, note="run.json")


@pytest.mark.mistakes
def test_folders_of_others_are_refused(tmp_path):
    claim_folder(tmp_path / "run", {"seed": 0}, note="run.json")
    with pytest.raises(ValueError, match=r"--out: .*another run: seed differ \(seed is 1 here and 0 there\)"):
        claim_folder(tmp_path / "run", {"seed": 1}, note="run.json", name="--out")
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(ValueError, match="that says which run the folder belongs to"):
        claim_folder(tmp_path / "run", {"seed": 0}, note="run.json")
    with pytest.raises(ValueError, match="with other files in it"):
        claim_folder(tmp_path, {"seed": 0}, note="run.json")


HOLDER = """
import sys, time
from jaxval.checkpoints.files import lock_folder
with lock_folder(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.mark.mistakes
def test_a_locked_folder_names_the_process_that_holds_it(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"locked\n"
        for _ in range(2):  # being refused does not wipe out who holds it
            with pytest.raises(ValueError, match=f"in which process {holder.pid} is working"), lock_folder(tmp_path):
                pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with lock_folder(tmp_path):  # a killed holder holds nothing
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
