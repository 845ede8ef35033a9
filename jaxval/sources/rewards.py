"""Rewards of candidate responses: the scores of the pairs, fitted rewards, tables, or functions."""

import functools
import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxval import _checks
from jaxval.data import PreferencePairs
from jaxval.sources.learners import Learner, log_linear_learner, tabular_learner
from jaxval.sources.pairs import candidates, joined
from jaxval.sources.reward_models import RewardModel
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
    parts = [_resolve(one, pairs, log_linear_learner if learner.generalises else tabular_learner) for one in asked]
    if not parts:
        raise BadArgument("reward", expected="at least one", got="none")
    names = tuple(name for part in parts for name in part.names)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadArgument("reward", expected="different names", got=f"{twice[0]!r} twice")

    def of(contexts: np.ndarray) -> np.ndarray:
        values = np.concatenate([part.of(contexts) for part in parts], axis=2).astype(np.float64)
        present = (candidates(pairs, contexts) >= 0)[..., None]
        for row, response, column in np.argwhere(present & ~np.isfinite(values)):
            prompt = reprlib.repr(pairs.prompts[contexts[row]])
            got = f"{values[row, response, column]} for response {response} to {prompt}, a pair without score"
            raise BadArgument("reward", expected=f"a finite {names[column]!r} for every held-out candidate", got=got)
        return np.where(present, values, 0)

    return Rewards(names, of)


def _resolve(reward: Reward, pairs: PreferencePairs, fitted_by: Callable[[PreferencePairs], Learner]) -> Rewards:
    if isinstance(reward, str):
        kind, _, column = reward.partition(":")
        _checks.check_choice("reward", kind, NAMED)
        scores = pairs.scores
        if column:
            scores = {column: scores[_checks.check_choice("reward", column, scores)]}
        if kind == FITTED:
            return _fitted(pairs, scores, fitted_by(pairs))
        if not scores:
            expected = "pairs with scores, fields such as score_chosen and score_rejected"
            advice = "reward='bradley-terry' fits a reward to the pairs, a function or a table brings one"
            raise BadArgument("reward", expected=expected, got="none", advice=advice)
        reward = scores
    if isinstance(reward, RewardModel):
        return Rewards(reward.names, functools.partial(_scored, reward, pairs))
    if callable(reward):
        return _called(reward, pairs)
    if not isinstance(reward, Mapping):
        table = np.asarray(reward, dtype=float)
        columns = np.moveaxis(table, 2, 0) if table.ndim == 3 else [table]
        reward = dict(zip(_numbered("reward", len(columns)), columns, strict=True))
    shape = len(pairs.prompts), max(map(len, pairs.responses))
    for name, column in reward.items():
        if np.shape(column) != shape:
            got = f"shape {np.shape(column)} of {str(name)!r}"
            raise BadArgument("reward", expected=f"an array {shape}, prompts by responses", got=got)
    table = np.stack([np.asarray(column, dtype=float) for column in reward.values()], axis=2)
    return Rewards(tuple(map(str, reward)), table.__getitem__)


def _fitted(pairs: PreferencePairs, scores: Mapping[str, Any], learner: Learner) -> Rewards:
    """Bradley-Terry rewards fitted to the order of each score, or to the pairs as they are if there is no score."""
    judged = {f"{FITTED}:{name}": _by_scores(pairs.comparisons, np.asarray(table)) for name, table in scores.items()}
    judged = judged or {FITTED: pairs.comparisons}
    train, _ = trainer(learner, pairs, Training(beta=1.0))
    fitted = [train(learner.policy.init(None), comparisons, None, None) for comparisons in judged.values()]

    def of(contexts: np.ndarray) -> np.ndarray:
        ids = candidates(pairs, contexts)
        present = (ids >= 0)[..., None]
        logs = np.stack([learner.policy.log_probs(params, contexts, ids) for params in fitted], axis=2, dtype=float)
        return logs - logs.mean(axis=1, keepdims=True, where=present)

    return Rewards(tuple(judged), of)


def _by_scores(comparisons: Comparisons, scores: np.ndarray) -> Comparisons:
    """Comparisons in which the response with the higher score wins; a tie is half a win for each."""
    context, winner, loser, weight = (np.asarray(field) for field in comparisons)
    gap = scores[context, winner] - scores[context, loser]
    if not np.isfinite(gap).all():
        row = int((~np.isfinite(gap)).argmax())
        got = f"a missing or infinite score in pair {row}"
        raise BadArgument("reward", expected="scores of both responses of every pair", got=got)
    won, lost = (weight * np.heaviside(sign * gap, 0.5) for sign in (1, -1))
    return joined([Comparisons(context, winner, loser, won), Comparisons(context, loser, winner, lost)])


def _scored(model: RewardModel, pairs: PreferencePairs, contexts: np.ndarray) -> np.ndarray:
    """The rewards by a model of texts, for all candidates of some prompts."""
    texts = [pairs.prompts[x] for x in contexts]
    scores = model.score([pairs.chats.get(text, text) for text in texts], [pairs.responses[x] for x in contexts])
    most = max(map(len, pairs.responses))
    return np.pad(scores, ((0, 0), (0, most - scores.shape[1]), (0, 0)))


def _called(function: Callable[[str, str], Any], pairs: PreferencePairs) -> Rewards:
    """The rewards by a function of a prompt and a response, which is called once for each held-out candidate."""

    @functools.cache
    def one(context: int, response: int) -> np.ndarray:
        result = function(pairs.prompts[context], pairs.responses[context][response])
        return np.atleast_1d(np.asarray(result, dtype=float))

    size = one(0, 0).size

    def of(contexts: np.ndarray) -> np.ndarray:
        ids = candidates(pairs, contexts)
        values = np.zeros((*ids.shape, size))
        for row, column in np.argwhere(ids >= 0):
            values[row, column] = one(int(contexts[row]), int(column))
        return values

    return Rewards(_numbered(getattr(function, "__name__", type(function).__name__), size), of)


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return (name,) if count == 1 else tuple(f"{name} {i}" for i in range(count))
