"""The idx format against bytes written by hand."""

import gzip

import numpy as np
import pytest

from jaxval import data
from jaxval.types import BadArgument

pytestmark = pytest.mark.once

IMAGES = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 9, 8, 7, 255])


def test_images_and_numbers_are_read(tmp_path):
    (tmp_path / "plain").write_bytes(IMAGES)
    (tmp_path / "zipped.gz").write_bytes(gzip.compress(IMAGES))
    for name in ("plain", "zipped.gz"):
        assert data.read_idx(tmp_path / name).tolist() == [[[9, 8]], [[7, 255]]]
    (tmp_path / "floats").write_bytes(bytes([0, 0, 0x0D, 1, 0, 0, 0, 1]) + np.array([-1.5], ">f4").tobytes())
    found = data.read_idx(tmp_path / "floats")
    assert found.tolist() == [-1.5]
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (IMAGES[:-1], "expected 20 bytes for an array .2, 1, 2.; got 19 bytes"),
        (IMAGES + b"\0", "got 21 bytes"),
        (IMAGES[:9], "expected the lengths of 3 axes"),
        (b"winner,loser\n", "expected a file in the idx format"),
        (gzip.compress(IMAGES, mtime=0)[:-9], "expected a whole gzipped file"),
        (bytes([0, 0, 8, 2, 255, 255, 255, 255, 255, 255, 255, 255]), "expected 18446744065119617037 bytes"),
    ],
)
@pytest.mark.mistakes
def test_what_is_no_whole_file_is_named(content, message, tmp_path):
    path = tmp_path / "some"
    path.write_bytes(content)
    with pytest.raises(BadArgument, match=f"some: .*{message}"):
        data.read_idx(path)


def test_mnist_is_read(data_path):
    folder = data_path("mnist")
    labels = data.read_idx(folder / "t10k-labels-idx1-ubyte.gz")
    assert labels.shape == (10_000,)
    assert labels[:3].tolist() == [7, 2, 1]
