"""From ratings with gaps and ties to evaluators with complete strict rankings.

The paper uses the rankings of 20 movies by 1,297 evaluators, and does not say how these rankings were made. A ranking
rule answers three questions; it is written `K:UNRATED:TIES`, or `K:predictions`.

- Who is an evaluator? Every user who rated at least K of the movies.
- Where do unrated movies go? With `random`, all ways to insert them are equally likely; with `mean`, they go by the
  movie's mean rating among the evaluators; with `low-rank`, by the prediction of a low-rank completion of the
  evaluators' ratings; with `last`, below all rated movies.
- Which of equally rated movies comes first? `random`, `mean` and `low-rank` have the same meaning.

With `predictions`, the completion ranks all movies, rated movies too. Remaining ties are broken at random.
"""

from typing import NamedTuple

import numpy as np

__all__ = ["DEFAULT", "Completion", "RankingRule", "low_rank_completion", "rank_evaluators"]

UNRATED = ("random", "mean", "low-rank", "last")
TIES = ("random", "mean", "low-rank")


class RankingRule(NamedTuple):
    """Who is an evaluator, where unrated movies go, and which of equally rated movies comes first.

    Attributes:
        at_least: K, the smallest number of movies that an evaluator has rated.
        unrated: a word in `UNRATED`, or "predictions".
        ties: a word in `TIES`; it has no effect with "predictions".
    """

    at_least: int
    unrated: str
    ties: str = "random"

    @classmethod
    def parse(cls, text: str) -> "RankingRule":
        """A rule from `K:UNRATED:TIES` or `K:predictions`.

        Example:
            >>> RankingRule.parse("14:mean:random")
            RankingRule(at_least=14, unrated='mean', ties='random')
        """
        at_least, *words = text.split(":")
        rated = int(at_least) if at_least.isdecimal() else 0
        if rated >= 1 and words == ["predictions"]:
            return cls(rated, "predictions")
        if rated >= 1 and len(words) == 2 and words[0] in UNRATED and words[1] in TIES:
            return cls(rated, *words)
        raise ValueError(
            f"expected K:UNRATED:TIES with UNRATED one of {', '.join(UNRATED)} and TIES one of {', '.join(TIES)}, or "
            f"K:predictions, such as 14:mean:random; got {text!r}"
        )

    def __str__(self) -> str:
        words = [self.unrated] if self.unrated == "predictions" else [self.unrated, self.ties]
        return ":".join([str(self.at_least), *words])

    def describe(self, movies: int) -> str:
        """The rule as a sentence."""
        who = f"rated at least {self.at_least} of the {movies}"
        if self.unrated == "predictions":
            return f"{who}; all ranked by the low-rank completion"
        names = {"random": "at random", "mean": "by movie mean", "low-rank": "by low-rank completion", "last": "last"}
        return f"{who}; unrated {names[self.unrated]}, equal ratings {names[self.ties]}"


class Completion(NamedTuple):
    """The settings of `low_rank_completion`.

    Attributes:
        rank: the number of factors.
        penalty: λ.
        sweeps: how many times the factors of both sides are solved for.
    """

    rank: int = 4
    penalty: float = 0.05
    sweeps: int = 20


DEFAULT = Completion()


def rank_evaluators(
    table: np.ndarray, rule: RankingRule, *, completion: Completion = DEFAULT, seed: int = 0
) -> np.ndarray:
    """The rankings of the evaluators under a ranking rule.

    Args:
        table: (users, movies) ratings, NaN where unrated.
        rule: a `RankingRule`.
        completion: the settings of the low-rank completion of the evaluators' ratings, if the rule uses it.
        seed: the seed of random ties, random insertions and the initial factors of the completion.

    Returns:
        (evaluators, movies) rankings, best first.

    Raises:
        ValueError: if no user rated as many movies as the rule requires.

    Example:
        >>> table = np.array([[5.0, 3.0, np.nan], [4.0, 4.0, 1.0], [np.nan, np.nan, 2.0]])
        >>> rank_evaluators(table, RankingRule(2, "last", "mean")).tolist()
        [[0, 1, 2], [0, 1, 2]]
    """
    rated = ~np.isnan(table)
    inside = rated.sum(axis=1) >= rule.at_least
    if not inside.any():
        raise ValueError(
            f"rules: expected somebody who rated at least {rule.at_least} of the {table.shape[1]} movies; "
            f"got {rated.sum(axis=1).max(initial=0)} at most"
        )
    table, rated = table[inside], rated[inside]
    generator = np.random.default_rng(seed)
    chance = generator.random(table.shape)
    words = {rule.unrated, rule.ties}
    predicted = low_rank_completion(table, completion, seed=seed) if words & {"low-rank", "predictions"} else chance
    if rule.unrated == "predictions":
        return _best_first(predicted, chance)
    every = rated.any(axis=0)
    mean = np.where(every, np.where(rated, table, 0).sum(axis=0) / np.maximum(rated.sum(axis=0), 1), 0)
    guesses = {"random": chance, "mean": np.broadcast_to(mean, table.shape), "low-rank": predicted}
    guesses["last"] = np.full(table.shape, -np.inf)
    scores = np.where(rated, table, guesses[rule.unrated])
    if rule.unrated == "random":
        scores = _insert_at_random(np.where(rated, table, -np.inf), rated, guesses[rule.ties], generator)
    return _best_first(scores, guesses[rule.ties], chance)


def low_rank_completion(table: np.ndarray, completion: Completion = DEFAULT, *, seed: int = 0) -> np.ndarray:
    """Predictions of all ratings, m + a_v + b_i + x_v · y_i, by alternating least squares with weighted λ.

    The offsets a, b are means shrunk by five ratings of the average. The factors minimise

        Σ_{(v, i) rated} (r_vi - m - a_v - b_i - x_v · y_i)² + λ (Σ_v n_v |x_v|² + Σ_i n_i |y_i|²),

    where n is the number of ratings of a voter or movie. The factors of one side are solved for at a time, from small
    random initial factors.

    Source: Zhou, Wilkinson, Schreiber and Pan (2008), "Large-scale parallel collaborative filtering for the Netflix
    prize".

    Args:
        table: (voters, movies) ratings, NaN if unrated; every voter rated at least one movie.
        completion: the rank, λ and the number of sweeps.
        seed: the seed of the initial factors.

    Returns:
        (voters, movies) predictions, also for rated movies.
    """
    rated = (~np.isnan(table)).astype(float)
    ratings = np.where(rated > 0, table, 0).astype(float)
    offsets = _offsets(ratings, rated)
    rest = rated * (ratings - offsets)
    generator = np.random.default_rng(seed)
    voters = 0.3 * generator.normal(size=(table.shape[0], completion.rank))
    movies = 0.3 * generator.normal(size=(table.shape[1], completion.rank))
    for _ in range(completion.sweeps):
        voters = _ridge(rest, rated, movies, completion.penalty)
        movies = _ridge(rest.T, rated.T, voters, completion.penalty)
    return offsets + voters @ movies.T


def _offsets(ratings: np.ndarray, rated: np.ndarray, *, shrink: float = 5, sweeps: int = 10) -> np.ndarray:
    mean = ratings.sum() / rated.sum()
    voter, movie = np.zeros((len(ratings), 1)), np.zeros(ratings.shape[1])
    for _ in range(sweeps):
        voter = (rated * (ratings - mean - movie)).sum(axis=1, keepdims=True) / (
            rated.sum(axis=1, keepdims=True) + shrink
        )
        movie = (rated * (ratings - mean - voter)).sum(axis=0) / (rated.sum(axis=0) + shrink)
    return mean + voter + movie


def _ridge(rest: np.ndarray, rated: np.ndarray, factors: np.ndarray, penalty: float) -> np.ndarray:
    """The best factors of the rows, given the factors of the columns; a row without ratings gets zeros."""
    rank = factors.shape[1]
    products = (factors[:, :, None] * factors[:, None, :]).reshape(len(factors), rank**2)
    count = np.maximum(rated.sum(axis=1), 1)[:, None, None]
    system = (rated @ products).reshape(-1, rank, rank) + penalty * count * np.eye(rank)
    return np.linalg.solve(system, (rest @ factors)[:, :, None])[:, :, 0]


def _insert_at_random(
    table: np.ndarray, rated: np.ndarray, ties: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Scores under which every way to insert the unrated movies among the rated ones is equally likely.

    All movies draw a random position. The rated movies then exchange their positions so that they stand in their order.
    """
    draws = generator.random(table.shape)
    order = np.lexsort((-generator.random(table.shape), -ties, -table))  # the rated ones come first
    places = -np.sort(np.where(rated, -draws, np.inf), axis=1)  # their draws, largest first
    scores = draws.copy()
    np.put_along_axis(
        scores, order, np.where(np.isinf(places), np.take_along_axis(draws, order, axis=1), places), axis=1
    )
    return scores


def _best_first(*keys: np.ndarray) -> np.ndarray:
    """Rankings by the first key, largest first; equal entries are ranked by the next key."""
    return np.lexsort([-key for key in reversed(keys)], axis=1)
