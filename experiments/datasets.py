"""Adult, MNIST and Omniglot as features and labels (docs/experiments.md on the data)."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxval import data

__all__ = ["Split", "adult", "draw_rows", "flip_labels", "mnist", "omniglot", "principal_components"]

Count = int | tuple[int, ...]

NUMBERS = ("age", "education-num", "capital-gain", "capital-loss", "hours-per-week")
CATEGORIES = ("workclass", "marital-status", "occupation", "relationship", "race", "sex")
COLUMNS = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship"),
    *("race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income"),
)
LOGARITHMS = ("capital-gain", "capital-loss")


class Split(NamedTuple):
    """Rows to train on and rows to test on.

    Attributes:
        train_x: (train, features) features.
        train_y: (train,) classes 0, 1, ...
        test_x: (test, features).
        test_y: (test,).
    """

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


def draw_rows(rng: np.random.Generator, labels: np.ndarray, count: Count) -> np.ndarray:
    """Random rows: `count` in all, or `count[k]` of each class k, one class after the other."""
    if isinstance(count, int):
        return rng.choice(len(labels), count, replace=False)
    parts = [rng.choice(np.flatnonzero(labels == k), one, replace=False) for k, one in enumerate(count)]
    return np.concatenate(parts)


def adult(folder: Path, rng: np.random.Generator, *, train: Count, test: Count) -> Split:
    """Random rows of Adult: five numbers in standard deviations and six categories as 0 and 1; class 1 earns more.

    Capital gains and losses are taken as logarithms of one plus the amount. Means, deviations and categories are those
    of the whole training file.
    """
    x, y, numbers = _adult_rows(folder / "adult.data.gz")
    other_x, other_y, other_numbers = _adult_rows(folder / "adult.test.gz")
    mean, deviation = numbers.mean(axis=0), numbers.std(axis=0)
    blocks, other_blocks = [(numbers - mean) / deviation], [(other_numbers - mean) / deviation]
    for column, other in zip(x.T, other_x.T, strict=True):
        words = np.unique(column)
        blocks.append((column[:, None] == words[None, :]).astype(float))
        other_blocks.append((other[:, None] == words[None, :]).astype(float))
    rows, others = draw_rows(rng, y, train), draw_rows(rng, other_y, test)
    return Split(np.hstack(blocks)[rows], y[rows], np.hstack(other_blocks)[others], other_y[others])


def mnist(folder: Path, rng: np.random.Generator, *, train: Count, test: Count) -> Split:
    """Random images of MNIST as (rows, 784) shares of white, from the files of training and of test images."""
    parts = []
    for name, count in (("train", train), ("t10k", test)):
        images = data.read_idx(folder / f"{name}-images-idx3-ubyte.gz")
        labels = data.read_idx(folder / f"{name}-labels-idx1-ubyte.gz")
        rows = draw_rows(rng, labels, count)
        parts += [images[rows].reshape(len(rows), -1) / 255.0, labels[rows].astype(np.int32)]
    return Split(*parts)


def omniglot(folder: Path, rng: np.random.Generator, *, classes: int, train: int, test: int, side: int = 28) -> Split:
    """Random characters of Omniglot and random drawings of each, as (rows, side²) shares of ink."""
    with np.load(folder / "images_background.npz") as file:
        images = file["images"]
    characters = rng.choice(len(images), classes, replace=False)
    drawings = np.stack([rng.choice(images.shape[1], train + test, replace=False) for _ in characters])
    ink = 1.0 - images[characters[:, None], drawings]
    ink = np.asarray(jax.image.resize(ink, (*ink.shape[:2], side, side), "linear")).reshape(*ink.shape[:2], -1)
    labels = np.repeat(np.arange(classes, dtype=np.int32), train + test).reshape(classes, -1)
    x, test_x = (part.reshape(-1, side**2) for part in np.split(ink, [train], axis=1))
    y, test_y = (part.ravel() for part in np.split(labels, [train], axis=1))
    return Split(x, y, test_x, test_y)


def principal_components(split: Split, *, dimensions: int) -> Split:
    """All rows in the first principal components of the training rows, divided by the deviation along the first one."""
    mean = split.train_x.mean(axis=0)
    _, sizes, axes = np.linalg.svd(split.train_x - mean, full_matrices=False)
    scale = sizes[0] / np.sqrt(len(split.train_y))
    project = axes[:dimensions].T / scale
    return split._replace(train_x=(split.train_x - mean) @ project, test_x=(split.test_x - mean) @ project)


def flip_labels(
    rng: np.random.Generator, labels: np.ndarray, *, share: float, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of which a share is replaced by another class, uniformly drawn, and a mask of those."""
    flipped = np.zeros(len(labels), bool)
    flipped[rng.choice(len(labels), round(share * len(labels)), replace=False)] = True
    moved = (labels + rng.integers(1, classes, len(labels))) % classes
    return np.where(flipped, moved, labels), flipped


def _adult_rows(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The categories (rows, 6), the classes (rows,) and the numbers (rows, 5) of one file of Adult."""
    with gzip.open(path, "rt", encoding="ascii") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file) if len(row) == len(COLUMNS)]
    table = np.array(rows)
    columns = {name: table[:, i] for i, name in enumerate(COLUMNS)}
    numbers = np.stack(
        [np.log1p(columns[n].astype(float)) if n in LOGARITHMS else columns[n].astype(float) for n in NUMBERS], axis=1
    )
    income = np.char.rstrip(columns["income"], ".")
    return np.stack([columns[name] for name in CATEGORIES], axis=1), (income == ">50K").astype(np.int32), numbers
