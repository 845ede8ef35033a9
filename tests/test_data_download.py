"""The download, against a real server on the loopback address: all of the archive, or nothing."""

import hashlib
import io
import signal
import socket
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from jaxval.data import download_movielens, read_movielens
from jaxval.data.download import MOVIELENS_MD5, MOVIELENS_URL

pytestmark = pytest.mark.once


def zipped(files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


ARCHIVE = zipped(
    {
        "ml-1m/": "",
        "ml-1m/README": "SUMMARY",
        "ml-1m/movies.dat": "7::Up (2009)::Comedy\n",
        "ml-1m/ratings.dat": "4::7::3::0\n" + "".join(f"{user}::7::5::0\n" for user in range(5, 20_000)),
    }
)
MD5 = hashlib.md5(ARCHIVE).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self):
        if self.path == "/missing.zip":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/unsized.zip":
            self.send_header("Content-Length", str(len(ARCHIVE)))
        self.end_headers()
        if self.path in ("/cut.zip", "/interrupted.zip"):
            self.wfile.write(ARCHIVE[: len(ARCHIVE) // 2])
            self.wfile.flush()
            if self.path == "/interrupted.zip":
                while not any(file.stat().st_size for file in self.server.watched.rglob("archive.zip")):
                    time.sleep(0.01)
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                time.sleep(0.5)
        else:
            self.wfile.write(ARCHIVE)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as service:
        service.watched = tmp_path_factory.getbasetemp()
        service.daemon_threads = True
        thread = threading.Thread(target=service.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{service.server_address[1]}"
        service.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["whole.zip", "unsized.zip"])
def test_the_archive_is_unpacked_in_place(server, tmp_path, name, capsys):
    path = download_movielens(tmp_path / "new" / "data", url=f"{server}/{name}", md5=MD5.upper())
    assert path == tmp_path / "new" / "data" / "ml-1m"
    assert sorted(file.name for file in path.iterdir()) == ["README", "movies.dat", "ratings.dat"]
    assert [file.name for file in path.parent.iterdir()] == ["ml-1m"]
    assert read_movielens(path).users.shape == (19_996,)
    assert capsys.readouterr().out == ""  # progress goes to standard error


def test_a_set_that_is_there_is_not_overwritten(server, tmp_path):
    (tmp_path / "ml-1m").mkdir()
    with pytest.raises(ValueError, match=r"expected a folder without ml-1m; .*read_movielens, or remove it"):
        download_movielens(tmp_path, url=f"{server}/whole.zip", md5=MD5)


@pytest.mark.parametrize(
    ("name", "md5", "error", "message"),
    [
        ("whole.zip", "0" * 32, ValueError, f"the MD5 checksum {'0' * 32}; got {MD5}; nothing was kept"),
        ("whole.zip", MOVIELENS_MD5, ValueError, MOVIELENS_MD5),
        ("cut.zip", MD5, ConnectionError, f"{len(ARCHIVE) // 2} (of {len(ARCHIVE)} bytes|bytes read)"),
        ("missing.zip", MD5, ConnectionError, "404"),
        ("interrupted.zip", MD5, KeyboardInterrupt, None),
    ],
    ids=["checksum", "published checksum", "cut", "missing", "interrupted"],
)
def test_whatever_goes_wrong_leaves_nothing_behind(server, tmp_path, name, md5, error, message):
    folder = tmp_path / "new" / "data"
    with pytest.raises(error, match=message):
        download_movielens(folder, url=f"{server}/{name}", md5=md5)
    assert list(tmp_path.iterdir()) == []
    folder.mkdir(parents=True)
    (folder / "other.txt").touch()
    with pytest.raises(error, match=message):
        download_movielens(folder, url=f"{server}/{name}", md5=md5)
    assert [file.name for file in folder.iterdir()] == ["other.txt"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "expected a zip archive"),
        (ARCHIVE[:-30], "expected a zip archive"),
        (zipped({"ml-1m/ratings.dat": "4::7::3::0\n"}), "expected an archive with ml-1m/movies.dat"),
        (zipped({"ml-100k/u.data": ""}), "expected an archive with ml-1m/ratings.dat"),
    ],
    ids=["no archive", "half an archive", "half a set", "another set"],
)
def test_archives_of_something_else(tmp_path, monkeypatch, server, content, message):
    monkeypatch.setitem(globals(), "ARCHIVE", content)
    with pytest.raises(ValueError, match=message):
        download_movielens(tmp_path, url=f"{server}/whole.zip", md5=hashlib.md5(content).hexdigest())
    assert list(tmp_path.iterdir()) == []


def test_nobody_answers(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as service:
        port = service.getsockname()[1]
    with pytest.raises(ConnectionError, match=f"127.0.0.1:{port}.*: the download failed"):
        download_movielens(tmp_path, url=f"http://127.0.0.1:{port}/whole.zip", md5=MD5)
    assert list(tmp_path.iterdir()) == []


def test_addresses_of_other_kinds(tmp_path):
    with pytest.raises(ValueError, match=r"url: expected an address that starts with https:// or http://; got 'ftp:"):
        download_movielens(tmp_path, url="ftp://127.0.0.1/ml-1m.zip")
    assert MOVIELENS_URL.startswith("https://")
