"""Original and synthetic training rows of Adult, MNIST and Omniglot, and the utilities of their coalitions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.datasets import Split, adult, mnist, omniglot
from jaxval import data, values
from jaxval.types import Utility

__all__ = ["SETS", "Setting", "Task", "deform", "draw_task", "make_task", "path_utility", "utility"]

ROTATION, SHIFT, SCALE = 45.0, 0.0625, (0.9, 1.1)  # degrees, share of the width, factors


class Setting(NamedTuple):
    """A set of the paper with its model.

    Attributes:
        title: the name in tables and figures.
        folder: the name of its data.
        neighbours: K of the KNN values, and of the classifier if it is one of nearest neighbours.
        linear: whether the classifier is a logistic regression instead.
        permutations: the paper's number of permutations.
        milliseconds: about how long a permutation takes, which only the progress bar uses.
    """

    title: str
    folder: str
    neighbours: int
    linear: bool
    permutations: int
    milliseconds: float


SETS = {
    "adult": Setting("Adult, 5-NN", "adult", 5, False, 5_000, 11),
    "mnist": Setting("MNIST, 5-NN", "mnist", 5, False, 3_000, 8),
    "omniglot": Setting("Omniglot, logistic", "omniglot", 3, True, 2_000, 300),
    "omniglot-3nn": Setting("Omniglot, 3-NN", "omniglot", 3, False, 2_000, 2),
}


class Task(NamedTuple):
    """Training rows in random order, and test rows.

    Attributes:
        split: the rows; the first half of the test rows is that of the utility, the rest is fresh.
        synthetic: (train,) which training rows are synthetic.
        neighbours: K.
        linear: whether the classifier is a logistic regression.
    """

    split: Split
    synthetic: np.ndarray
    neighbours: int
    linear: bool = False

    @property
    def tests(self) -> int:
        """The number of test rows of the utility."""
        return len(self.split.test_y) // 2

    @property
    def train(self) -> tuple[np.ndarray, np.ndarray]:
        """Features and classes of the training rows."""
        return self.split.train_x, self.split.train_y

    @property
    def test(self) -> tuple[np.ndarray, np.ndarray]:
        """Features and classes of the test rows of the utility."""
        return self.split.test_x[: self.tests], self.split.test_y[: self.tests]

    @property
    def fresh(self) -> tuple[np.ndarray, np.ndarray]:
        """Features and classes of the test rows that no value has seen."""
        return self.split.test_x[self.tests :], self.split.test_y[self.tests :]


def draw_task(name: str, folder: Path | None, seed: int) -> Task:
    """The rows of one seed as the paper draws them, with twice as many test rows: half of them are fresh."""
    setting = SETS[name]
    rng = np.random.default_rng(seed)
    path = data.data_folder(setting.folder, path=folder)
    if name == "adult":
        split = adult(path, rng, train=(800, 200), test=(800, 200))
        more_x, more_y = oversample(rng, split.train_x, split.train_y)
    else:
        if name == "mnist":
            split = mnist(path, rng, train=(50,) * 10, test=(100,) * 10)
        else:
            split = omniglot(path, rng, classes=20, train=5, test=10)
        more_x, more_y = deform(rng, split.train_x), split.train_y
    return make_task(rng, split, more_x, more_y, neighbours=setting.neighbours, linear=setting.linear)


def make_task(
    rng: np.random.Generator, split: Split, more_x: np.ndarray, more_y: np.ndarray, *, neighbours: int, linear: bool
) -> Task:
    """Originals and synthetic rows together, in random order, for equal values go in the order of the rows.

    Args:
        rng: the source of the order.
        split: the originals, and an even number of test rows of each class, class by class.
        more_x: (synthetic, features) synthetic rows.
        more_y: (synthetic,) their classes.
        neighbours: K.
        linear: whether the classifier is a logistic regression.
    """
    order = rng.permutation(len(split.train_y) + len(more_y))
    x, y = np.concatenate([split.train_x, more_x])[order], np.concatenate([split.train_y, more_y])[order]
    counts = np.bincount(split.test_y)
    first = np.concatenate([np.arange(count) < count // 2 for count in counts])
    test_x, test_y = (np.concatenate([part[first], part[~first]]) for part in (split.test_x, split.test_y))
    if linear:  # the optimum is in the span of the training rows, whose coordinates are fewer than the pixels
        basis, _ = np.linalg.qr(x.T)
        x, test_x = x @ basis, test_x @ basis
    return Task(Split(x, y, test_x, test_y), order >= len(split.train_y), neighbours, linear)


def oversample(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows that Borderline-SMOTE adds until the classes are equally large (Han et al. 2005), 3 neighbours."""
    try:
        from imblearn.over_sampling import BorderlineSMOTE
    except ModuleNotFoundError as error:
        raise RuntimeError("Borderline-SMOTE needs imbalanced-learn: pip install 'jaxval[experiments]'") from error
    sampler = BorderlineSMOTE(k_neighbors=3, random_state=int(rng.integers(2**31)))
    all_x, all_y = sampler.fit_resample(x, y)
    return all_x[len(y) :], all_y[len(y) :]


def deform(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """Each image rotated by up to 45°, shifted by up to 1/16 of the width, and scaled by 0.9 to 1.1, all at random."""
    from scipy.ndimage import affine_transform

    side = round(images.shape[1] ** 0.5)
    middle = np.full(2, (side - 1) / 2)
    deformed = np.empty_like(images)
    for row, image in enumerate(images):
        angle = np.deg2rad(rng.uniform(-ROTATION, ROTATION))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        back = turn / rng.uniform(*SCALE)  # from a pixel of the new image to a point of the old one
        offset = middle - back @ (middle + rng.uniform(-SHIFT, SHIFT, 2) * side)
        deformed[row] = affine_transform(image.reshape(side, side), back, offset, order=1).ravel()
    return deformed


def path_utility(task: Task) -> Callable[[Any], Any]:
    """The accuracy of the classifier on all prefixes of a permutation of the training rows."""
    if task.linear:
        return values.weighted_path_utility(_logistic(task), task.train, task.test)
    return values.knn_path_utility(*task.train, *task.test, neighbours=task.neighbours, measure="accuracy")


def utility(task: Task) -> Utility:
    """The accuracy on the test rows, and that on fresh ones, of the classifier trained on a coalition."""
    if task.linear:
        model, tests = _logistic(task), task.tests

        def scores(params: Any, x: Any, y: Any) -> Any:
            return jnp.stack([model.score(params, x[rows], y[rows]) for rows in (slice(tests), slice(tests, None))])

        both = task.split.test_x, task.split.test_y
        return values.weighted_utility(model._replace(score=scores), task.train, both)
    parts = [
        values.knn_utility(*task.train, *test, neighbours=task.neighbours, measure="accuracy")
        for test in (task.test, task.fresh)
    ]
    return lambda coalition: jnp.stack([part(coalition) for part in parts])


def _logistic(task: Task) -> values.WeightedModel:
    """The loss of scikit-learn's solver "liblinear" with its default C = 1."""
    return values.logistic_regression(ridge=1.0, classes=int(task.split.train_y.max()) + 1)
