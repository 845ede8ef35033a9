"""One run: in every round each method values what is offered, buys the dataset of the largest value, and trains on it.

v(S; A) = -AvgErr of the state A fine-tuned on the union of the datasets S; the next state is A fine-tuned on the
dataset that was bought. Utilities have two objectives, -AvgErr as the paper defines it, by which methods choose, and
that from the identified part of the part-worths.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.procurement.market import (
    NOISY,
    PROFILES,
    Candidates,
    draw_candidates,
    draw_market,
    estimation_errors,
    identified,
    ratings_of,
)
from experiments.procurement.raters import Rater
from jaxval import values
from jaxval.checkpoints import load_state, save_state
from jaxval.types import Params

__all__ = ["METHODS", "Size", "evaluations_of", "one_run", "trainer", "value_round"]

METHODS = ("ADS", "leave-one-out", "random", "cleanest")
VALUES = {"ADS": values.sequential_shapley, "leave-one-out": values.sequential_leave_one_out}
SUBSETS = {"ADS": 8, "leave-one-out": 4, "random": 0, "cleanest": 0}  # that are evaluated in a round
SELLERS = len(NOISY)


class Size(NamedTuple):
    """How much there is of everything.

    Attributes:
        rounds: how many rounds.
        instances: ratings in a dataset.
        biased: ratings on which the model is trained at first.
        draws: ratings of the model for each product when it is evaluated.
    """

    rounds: int
    instances: int
    biased: int
    draws: int


class State(NamedTuple):
    """Parameters, and the index of the coalition that they were trained on in this round."""

    params: Params
    coalition: int


def evaluations_of(size: Size) -> int:
    """How many times the model is evaluated in a run, for the progress bar."""
    return 1 + sum(size.rounds * (1 + SUBSETS[method]) for method in METHODS)


def trainer(rater: Rater, params: Params, offered: Candidates, key: Any) -> Callable[[Any], State]:
    """From a coalition of datasets to the state after fine-tuning on their union, which trains once for each coalition.

    Args:
        rater: the model.
        params: its parameters at the realised state, which stay if the coalition is empty.
        offered: the datasets.
        key: a random key of the round. A training depends on it and on the coalition alone.

    Returns:
        The function.
    """
    trained = {0: State(params, 0)}

    def after(coalition: Any) -> State:
        mask = np.asarray(coalition)
        index = int(mask @ 2 ** np.arange(SELLERS))
        if index not in trained:
            rows = offered.products[mask].ravel(), offered.ratings[mask].ravel()
            tuned = rater.tune(params, *rows, jax.random.fold_in(key, index), rater.later)
            trained[index] = State(tuned, index)
        return trained[index]

    return after


def value_round(
    method: str, rater: Rater, after: Callable[[Any], State], part_worths: np.ndarray, key: Any, draws: int
) -> values.SequentialValues:
    """The values of a round's datasets at the realised state, by ADS or leave-one-out, with two objectives.

    Args:
        method: ADS or leave-one-out.
        rater: the model.
        after: from a coalition to the state after it.
        part_worths: (12,) the true ones.
        key: a random key of the round.
        draws: ratings for each product.

    Returns:
        Values of one round.
    """

    def evaluate(state: State) -> np.ndarray:
        drawn = rater.rate(jax.random.fold_in(key, 2**SELLERS + state.coalition), state.params, draws)
        return -np.array(estimation_errors(drawn, part_worths))

    nobody = after(np.zeros(SELLERS, bool))
    return VALUES[method](lambda _, coalition: after(coalition), evaluate, nobody, [range(SELLERS)])


def one_run(
    rater: Rater, seed: int, size: Size, folder: Path, advance: Callable[[int], Any] = lambda count: None
) -> dict[str, Any]:
    """All methods in one market, from the same start and with the same offers.

    Args:
        rater: the model.
        seed: of the market, its offers and the trainings.
        size: how much there is of everything.
        folder: where unfinished work is kept; it resumes from there.
        advance: called with the number of finished evaluations.

    Returns:
        For each method the errors (rounds + 1, 2) on test ratings, the datasets bought, and the values.
    """

    def rate(*arguments: Any) -> np.ndarray:
        drawn = rater.rate(*arguments)
        advance(1)
        return drawn

    market = draw_market(np.random.default_rng([seed, 0]))
    start = _start(rater, market.biased, seed, size, folder)
    watched, key = rater._replace(rate=rate), jax.random.fold_in(jax.random.key(seed), 1)
    first = watched.rate(jax.random.fold_in(jax.random.key(seed), 2), start, size.draws)
    found = {}
    for method in METHODS:
        kept = _kept(size, start, first, market.true)
        path = folder / f"{seed}-{method}.npz"
        if path.exists():
            kept = load_state(path, kept)
            advance(int(kept["rounds"]) * (1 + SUBSETS[method]))
        for t in range(int(kept["rounds"]), size.rounds):
            offered = draw_candidates(np.random.default_rng([seed, 2, t]), market, size.instances)
            chance = int(np.random.default_rng([seed, 3, t]).integers(SELLERS))
            _next_round(watched, method, kept, offered, market.true, chance, jax.random.fold_in(key, t), size.draws)
            save_state(path, kept)
        found[method] = {name: np.asarray(kept[name]).tolist() for name in kept if name not in ("params", "rounds")}
    floor = float(np.abs(market.true - identified(market.true)).mean())
    return {"methods": found, "least AvgErr": floor}


def _start(rater: Rater, biased: np.ndarray, seed: int, size: Size, folder: Path) -> Params:
    """The parameters after the training on biased ratings."""
    key = jax.random.fold_in(jax.random.key(seed), 0)
    initial = rater.start(key)
    path = folder / f"{seed}-start.npz"
    if not path.exists():
        rng = np.random.default_rng([seed, 1])
        products = rng.integers(0, len(PROFILES), size.biased)
        save_state(path, rater.tune(initial, products, ratings_of(rng, biased, products), key, rater.first))
    return load_state(path, initial)


def _kept(size: Size, start: Params, drawn: np.ndarray, part_worths: np.ndarray) -> dict[str, Any]:
    """What is kept of a method's rounds: the realised state, and arrays that fill up round by round."""
    kept = {
        "params": start,
        "rounds": np.array(0),
        "errors": np.zeros((size.rounds + 1, 2)),
        "unread": np.zeros(size.rounds + 1),
        "bought": np.zeros(size.rounds, int),
        "values": np.zeros((size.rounds, SELLERS, 2)),
        "efficiency": np.zeros(size.rounds),
    }
    kept["errors"][0] = estimation_errors(drawn, part_worths)
    kept["unread"][0] = np.isnan(drawn).mean()
    return kept


def _next_round(
    rater: Rater,
    method: str,
    kept: dict[str, Any],
    offered: Candidates,
    part_worths: np.ndarray,
    chance: int,
    key: Any,
    draws: int,
) -> None:
    """Value what is offered, buy, train, and test; `kept` is changed."""
    t = int(kept["rounds"])
    after = trainer(rater, kept["params"], offered, key)
    if method in VALUES:
        found = value_round(method, rater, after, part_worths, key, draws)
        kept["values"][t] = found.values[0]
        if found.tables:
            added = found.tables[0][-1] - found.tables[0][0]
            kept["efficiency"][t] = np.abs(np.asarray(found.values[0]).sum(axis=0) - added).max()
    choices = {"random": chance, "cleanest": np.argmin(NOISY)}
    kept["bought"][t] = choices.get(method, np.argmax(kept["values"][t][:, 0]))
    kept["params"] = after(np.arange(SELLERS) == kept["bought"][t]).params
    drawn = rater.rate(jax.random.fold_in(key, 2 ** (SELLERS + 1)), kept["params"], draws)
    kept["errors"][t + 1] = estimation_errors(drawn, part_worths)
    kept["unread"][t + 1] = np.isnan(drawn).mean()
    kept["rounds"] = np.array(t + 1)
