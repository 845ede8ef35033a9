"""MovieLens 1M from its publisher: downloaded whole and with the right checksum, or not at all."""

import contextlib
import hashlib
import http.client
import os
import tempfile
import urllib.request
import zipfile
from pathlib import Path

from rich.console import Console
from rich.progress import DownloadColumn, Progress

from jaxval import _checks
from jaxval.data._text import FilePath
from jaxval.types import BadArgument

__all__ = ["MOVIELENS_MD5", "MOVIELENS_URL", "download_movielens"]

MOVIELENS_URL = "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
MOVIELENS_MD5 = "c4d9eecfca2ab87c1945afe126590906"
NAME = "ml-1m"
SECONDS = 60  # without a byte before the connection counts as lost
_BLOCK = 2**16


def download_movielens(folder: FilePath, *, url: str = MOVIELENS_URL, md5: str = MOVIELENS_MD5) -> Path:
    """Download MovieLens 1M into `folder/ml-1m`, with progress on standard error.

    The archive is downloaded to a temporary folder inside `folder`, compared with its checksum, unpacked there and
    moved to its final path in one step. A wrong checksum, a lost connection or an interruption leaves nothing behind.

    The data may be used for research, with acknowledgement, and may not be passed on: see the README in the archive.

    Args:
        folder: the folder of data sets, such as `data`; it is made if it is missing.
        url: the archive's address, https or http.
        md5: the archive's published MD5 checksum, in hexadecimal.

    Returns:
        The path of `folder/ml-1m`, for `read_movielens`.

    Raises:
        ValueError: if `folder/ml-1m` exists, the address is neither https nor http, or the download is not the archive.
        ConnectionError: if the address does not answer, or the connection is lost.

    Example:
        >>> download_movielens("data", url="file:///etc/hosts")
        Traceback (most recent call last):
        jaxval.types.BadArgument: url: expected an address that starts with https:// or http://; got 'file:///etc/hosts'
    """
    target = Path(_checks.check_path("folder", folder), NAME)
    if not _checks.check_text("url", url).startswith(("https://", "http://")):
        raise BadArgument("url", expected="an address that starts with https:// or http://", got=f"{url!r}")
    if target.exists():
        raise BadArgument(
            "folder",
            expected=f"a folder without {NAME}",
            got=target,
            advice="read it with read_movielens, or remove it",
        )
    missing = [parent for parent in (target.parent, *target.parent.parents) if not parent.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{NAME}-", dir=target.parent) as work:
            archive = Path(work, "archive.zip")
            _fetch(url, archive)
            _check(archive, url, md5)
            os.replace(_unpack(archive, url), target)
    except BaseException:
        with contextlib.suppress(OSError):
            for parent in missing:
                parent.rmdir()
        raise
    return target


def _fetch(url: str, archive: Path) -> None:
    columns = (*Progress.get_default_columns(), DownloadColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer, archive.open("wb") as file, progress:
            size = int(answer.headers.get("Content-Length") or 0)
            task = progress.add_task(f"{NAME}.zip", total=size or None)
            while block := answer.read(_BLOCK):
                file.write(block)
                progress.update(task, advance=len(block))
            got = file.tell()
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(f"{url}: the download failed: {error}; try again") from error
    if got < size:
        raise ConnectionError(f"{url}: the connection was lost after {got} of {size} bytes; try again")


def _check(archive: Path, url: str, md5: str) -> None:
    with archive.open("rb") as file:
        came = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if came != md5.lower():
        raise BadArgument(url, expected=f"an archive with the MD5 checksum {md5}", got=came, advice="nothing was kept")


def _unpack(archive: Path, url: str) -> Path:
    unpacked = archive.parent / "unpacked"
    try:
        with zipfile.ZipFile(archive) as file:
            file.extractall(unpacked)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise BadArgument(url, expected="a zip archive", got=f"a file that cannot be unpacked ({error})") from error
    for name in ("ratings.dat", "movies.dat"):
        if not (unpacked / NAME / name).is_file():
            raise BadArgument(url, expected=f"an archive with {NAME}/{name}", got="an archive without it")
    return unpacked / NAME
