"""Rewards of candidate responses: the scores of the pairs, fitted rewards, tables, or functions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxval import _checks
from jaxval.data import PreferencePairs
from jaxval.sources.learners import Learner, log_linear_learner, tabular_learner
from jaxval.sources.pairs import candidates
from jaxval.sources.trainings import Training, trainer
from jaxval.types import BadArgument, Comparisons

Reward = str | Callable[[str, str], Any] | np.ndarray | Mapping[str, Any] | Any
FITTED = "bradley-terry"
NAMED = ("score", FITTED)


class Rewards(NamedTuple):
    """The names of the rewards, and `of`, a function of contexts (B,) to rewards (B, most responses, rewards).

    The reward of a missing response is 0.
    """

    names: tuple[str, ...]
    of: Callable[[np.ndarray], np.ndarray]


def resolve_rewards(reward: Reward | Sequence[Reward], pairs: PreferencePairs, learner: Learner) -> Rewards:
    """All rewards side by side.

    The Bradley-Terry reward is a table if the policy is tabular, and else a linear function of features of the text.
    """
    asked = reward if isinstance(reward, list | tuple) else [reward]
    fitted_by = log_linear_learner if learner.generalises else tabular_learner
    parts = [_resolve(one, pairs, fitted_by) for one in asked]
    if not parts:
        raise BadArgument("reward", expected="at least one", got="none")
    names = tuple(name for part in parts for name in part.names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadArgument("reward", expected="different names", got=f"{twice[0]!r} twice")

    def of(contexts: np.ndarray) -> np.ndarray:
        values = np.concatenate([part.of(contexts) for part in parts], axis=2).astype(np.float64)
        present = (candidates(pairs, contexts) >= 0)[..., None]
        wrong = np.argwhere(present & ~np.isfinite(values))
        if len(wrong):
            row, response, column = wrong[0]
            prompt = pairs.prompts[contexts[row]]
            raise BadArgument(
                "reward",
                expected=f"a finite {names[column]!r} for every held-out candidate",
                got=(
                    f"{values[row, response, column]} for response {response} to {_short(prompt)}, a pair without score"
                ),
            )
        return np.where(present, values, 0)

    return Rewards(names, of)


def _resolve(reward: Reward, pairs: PreferencePairs, fitted_by: Callable[[PreferencePairs], Learner]) -> Rewards:
    shape = len(pairs.prompts), max(map(len, pairs.responses))
    if isinstance(reward, str):
        return _named(reward, pairs, fitted_by)
    if isinstance(reward, Mapping):
        columns = [_column(f"reward[{name!r}]", value, shape) for name, value in reward.items()]
        return _of_table(tuple(map(str, reward)), np.stack(columns, axis=2))
    if callable(reward):
        return _called(reward, pairs)
    table = np.asarray(reward, dtype=float)
    if table.ndim not in (2, 3) or table.shape[:2] != shape:
        raise BadArgument("reward", expected=f"an array {shape} or {(*shape, 'rewards')}", got=f"shape {table.shape}")
    table = table.reshape(*shape, -1)
    return _of_table(tuple(f"reward {i}" for i in range(table.shape[2])) if table.shape[2] > 1 else ("reward",), table)


def _named(reward: str, pairs: PreferencePairs, fitted_by: Callable[[PreferencePairs], Learner]) -> Rewards:
    name, _, column = reward.partition(":")
    _checks.check_choice("reward", name, NAMED)
    columns = dict(pairs.scores)
    if column:
        _checks.check_choice("reward", column, tuple(columns))
        columns = {column: columns[column]}
    if name == "score":
        if not columns:
            raise BadArgument(
                "reward",
                expected="pairs with scores, fields such as score_chosen and score_rejected",
                got="none",
                advice="reward='bradley-terry' fits a reward to the pairs, a function or a table brings one",
            )
        return _of_table(tuple(columns), np.stack([np.asarray(c, dtype=float) for c in columns.values()], axis=2))
    judged = {f"{FITTED}:{k}": _by_scores(pairs.comparisons, c) for k, c in columns.items()}
    judged = judged or {FITTED: pairs.comparisons}
    learner = fitted_by(pairs)
    train, start = trainer(learner, pairs, Training(beta=1.0)).train, learner.policy.init(None)
    fitted = [train(start, comparisons, None, None) for comparisons in judged.values()]

    def of(contexts: np.ndarray) -> np.ndarray:
        ids = candidates(pairs, contexts)
        logs = np.stack(
            [np.asarray(learner.policy.log_probs(params, contexts, ids), float) for params in fitted], axis=2
        )
        present = (ids >= 0)[..., None]
        logs = np.where(present, logs, 0)
        return logs - logs.sum(axis=1, keepdims=True) / present.sum(axis=1, keepdims=True)

    return Rewards(tuple(judged), of)


def _by_scores(comparisons: Comparisons, scores: np.ndarray) -> Comparisons:
    """Comparisons in which the response with the higher score wins; a tie is half a win for each."""
    context, winner, loser, weight = (np.asarray(field) for field in comparisons)
    gap = scores[context, winner] - scores[context, loser]
    if not np.isfinite(gap).all():
        row = int((~np.isfinite(gap)).argmax())
        raise BadArgument("reward", expected="scores of both responses of every pair", got=f"none in pair {row}")
    first = np.heaviside(gap, 0.5)
    both = [np.concatenate(parts) for parts in ((context, context), (winner, loser), (loser, winner))]
    shares = np.concatenate([first, 1 - first]) * np.concatenate([weight, weight])
    won = shares > 0
    return Comparisons(both[0][won], both[1][won], both[2][won], shares[won])


def _called(function: Callable[[str, str], Any], pairs: PreferencePairs) -> Rewards:
    """The rewards by a function of a prompt and a response, which is called once for each held-out candidate."""
    known: dict[tuple[int, int], np.ndarray] = {}

    def one(context: int, response: int) -> np.ndarray:
        if (context, response) not in known:
            known[context, response] = np.atleast_1d(
                np.asarray(function(pairs.prompts[context], pairs.responses[context][response]), dtype=float)
            )
        return known[context, response]

    size = one(0, 0).size
    label = getattr(function, "__name__", type(function).__name__)
    most = max(map(len, pairs.responses))

    def of(contexts: np.ndarray) -> np.ndarray:
        values = np.zeros((len(contexts), most, size))
        for row, context in enumerate(contexts.tolist()):
            for response in range(len(pairs.responses[context])):
                values[row, response] = one(context, response)
        return values

    return Rewards((label,) if size == 1 else tuple(f"{label} {i}" for i in range(size)), of)


def _of_table(names: tuple[str, ...], table: np.ndarray) -> Rewards:
    return Rewards(names, lambda contexts: table[contexts])


def _column(name: str, value: Any, shape: tuple[int, int]) -> np.ndarray:
    column = np.asarray(value, dtype=float)
    if column.shape != shape:
        raise BadArgument(name, expected=f"an array {shape}, prompts by responses", got=f"shape {column.shape}")
    return column


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
