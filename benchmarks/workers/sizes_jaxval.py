"""The tasks of `benchmarks.sizes`; each answers with the numbers that the page tells besides time and memory."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxval
from benchmarks.coverage_games import set_cover
from jaxval import preferences, social_choice, values
from jaxval.data import vote_batches

PACKAGES = ("jax", "jaxlib", "numpy")
VERSIONS = {"jaxval": jaxval.__version__, "precision": "float64" if jax.config.jax_enable_x64 else "float32"}
DEVICE = f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}"
VOTERS_AT_A_TIME = 1000

Run = Callable[[], dict[str, np.ndarray]]


def table(inputs: dict[str, np.ndarray], *, players: int) -> Run:
    """The table of an additive game with weights 1, 2, ..., whose values are the weights."""
    weights = np.arange(1.0, players + 1)
    numbers = jnp.zeros(1)
    for weight in weights:
        numbers = jnp.concatenate([numbers, numbers + weight])

    def run() -> dict[str, np.ndarray]:
        found = np.asarray(values.shapley(numbers))
        return {"largest error": np.abs(found - weights).max() / weights.sum()}

    return run


def permutations(inputs: dict[str, np.ndarray], *, players: int, permutations: int) -> Run:
    """Set cover of 200 elements, whose values are known; no error is told that is not the true one."""
    game = set_cover(players, 200, 0.1, 0)

    def run() -> dict[str, np.ndarray]:
        found = values.sample_shapley(jax.random.key(0), game.utility, players, permutations=permutations)
        error = np.asarray(found.values) - game.values
        return {"root mean square error": np.sqrt(np.mean(error**2)) / game.values.mean()}

    return run


def neighbours(inputs: dict[str, np.ndarray], *, instances: int, tests: int, features: int) -> Run:
    """Two overlapping classes; the error is that of efficiency: the values add up to the utility of all."""
    rng = np.random.default_rng(0)
    y, test_y = rng.integers(2, size=instances), rng.integers(2, size=tests)
    x = rng.normal(size=(instances, features)).astype(np.float32) + y[:, None] / 2
    test_x = rng.normal(size=(tests, features)).astype(np.float32) + test_y[:, None] / 2
    x, test_x = x.astype(np.float32), test_x.astype(np.float32)
    right = np.mean([np.mean(y[nearest(x, point)] == label) for point, label in zip(test_x, test_y, strict=True)])

    def run() -> dict[str, np.ndarray]:
        found = np.asarray(values.knn_shapley(x, y, test_x, test_y, neighbours=5), dtype=float)
        return {"error of the sum": np.abs(found.sum() - right)}

    return run


def nearest(x: np.ndarray, point: np.ndarray) -> np.ndarray:
    return np.argpartition(((x - point) ** 2).sum(axis=1), 5)[:5]


def comparisons(inputs: dict[str, np.ndarray], *, voters: int, statements: int, votes: int) -> Run:
    """A file of votes in Polis' layout, read some voters at a time, to P."""
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name, "votes.csv")
    write_votes(path, voters, statements, votes)

    def run() -> dict[str, np.ndarray]:
        wins = sum(np.asarray(preferences.vote_wins(batch.votes), dtype=float) for batch in vote_batches(path))
        jax.block_until_ready(preferences.empirical_matrix(wins))
        return {
            "comparisons": wins.sum() + 0 * len(folder.name),
            "GB of the file": np.float64(path.stat().st_size / 1e9),
        }

    return run


def write_votes(path: Path, voters: int, statements: int, votes: int) -> None:
    """Every voter saw some statements at random."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        file.write(f"participant,group-id,{','.join(map(str, range(statements)))}\n")
        for first in range(0, voters, VOTERS_AT_A_TIME):
            number = min(VOTERS_AT_A_TIME, voters - first)
            seen = rng.permuted(np.arange(statements) < votes * np.ones((number, 1)), axis=1)
            said = np.where(seen, rng.choice(["1", "0", "-1"], (number, statements), p=[0.5, 0.2, 0.3]), "").tolist()
            for voter, row in enumerate(said, first):
                file.write(f"{voter},{voter % 3},{','.join(row)}\n")


def shares(inputs: dict[str, np.ndarray], *, alternatives: int) -> Run:
    """The bounds on shares and F* from P, checked at the door."""
    matrix = random_matrix(alternatives)

    def run() -> dict[str, np.ndarray]:
        found = np.asarray(social_choice.proportional(matrix), dtype=float)
        exact = np.min(np.where(np.eye(alternatives, dtype=bool), 1, matrix), axis=1).astype(float)
        return {"largest error": np.abs(found - exact / exact.sum()).max()}

    return run


def lottery(inputs: dict[str, np.ndarray], *, alternatives: int) -> Run:
    """One maximal lottery; the error is what any alternative wins against it beyond one half."""
    matrix = random_matrix(alternatives)

    def run() -> dict[str, np.ndarray]:
        found = np.asarray(social_choice.maximal_lottery(matrix), dtype=float)
        return {"most won against it, above 1/2": np.max(matrix.astype(float) @ found) - 0.5}

    return run


def random_matrix(alternatives: int) -> np.ndarray:
    """P of independent uniform pairs."""
    upper = np.triu(np.random.default_rng(0).random((alternatives, alternatives), dtype=np.float32), k=1)
    return (upper + np.tril(1 - upper.T, k=-1) + np.eye(alternatives, dtype=np.float32) / 2).astype(np.float32)


TASKS = {
    "table": table,
    "permutations": permutations,
    "neighbours": neighbours,
    "comparisons": comparisons,
    "shares": shares,
    "lottery": lottery,
}
