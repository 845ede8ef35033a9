"""One seed of valuing sources: hold out, train once per source, combine, value; and, for the truth, retrain."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array

import jaxval
from jaxval.checkpoints import fingerprint
from jaxval.data import PreferencePairs
from jaxval.parallel import progress as progress_bar
from jaxval.policies import normalise
from jaxval.types import Params
from jaxval.values import _coalition_policies as made
from jaxval.values._coalition_policies import LogProbsOf
from jaxval.values._neighbours import check_groups
from jaxval.values._source_games import Game, count_coalitions, exact_game, sampled_game, sampler
from jaxval.values._source_pairs import candidates, draw_held_out, to_train_on
from jaxval.values._source_rewards import Rewards
from jaxval.values.learners import Learner
from jaxval.values.ordered import asymmetric_shapley

EXACT_SOURCES = 12
PERMUTATIONS = 64
DECIDED = 0.99


class Method(NamedTuple):
    """What is valued, and by how many coalitions; see `value_sources`."""

    name: Any
    value_of: Callable[[Any], Array]
    groups: Any
    permutations: int | None
    evaluations: int | None
    arithmetic: str
    reference: str
    truth: bool


class Problem(NamedTuple):
    """What all seeds share, where each does not draw its own."""

    pairs: PreferencePairs
    learner: Learner
    rewards: Rewards
    held_out: float | np.ndarray  # a share, or the ids of prompts


class Repetition(NamedTuple):
    """What one seed gives; games by "values", "in_order", "sequential" and "union"."""

    problem: Problem
    contexts: np.ndarray
    counts: np.ndarray
    games: dict[str, Game]
    exact: bool
    efficient: bool
    evaluations: int
    decided: float
    seconds: dict[str, float]


def repeat(problem: Problem, method: Method, key: Array, folder: Path | None, label: str) -> Repetition:
    """One seed: hold out, train once per source, combine, value; and, for the truth, retrain."""
    pairs, learner, rewards, place = problem
    split, start, train, sample = jax.random.split(key, 4)
    contexts = draw_held_out(split, len(pairs.prompts), place) if isinstance(place, float) else place
    sources = to_train_on(pairs, contexts if learner.generalises else np.array([], int))
    method = _checked(method, learner, len(sources))
    table = rewards.of(contexts)
    ids = contexts, candidates(pairs, contexts)
    reference = learner.start(start)
    clock = time.perf_counter()
    with progress_bar(bool(label), len(sources), f"{label}: a training for each source") as advance:
        trained = made.train_each(learner, reference, sources, train, folder, advance)
    seconds = {"training": time.perf_counter() - clock}
    clock = time.perf_counter()
    from_start = _from_uniform(learner, reference, ids) if method.reference == "uniform" else lambda of: of
    log_probs = from_start(_by_arithmetic(method.arithmetic, learner, reference, trained, ids, folder))
    alone = np.asarray(log_probs(np.zeros((1, len(sources)), bool), np.arange(len(contexts))))[0]
    games, evaluations, exact = _games(method, sample, len(sources), log_probs, table)
    seconds["arithmetic"] = time.perf_counter() - clock
    for name in ("sequential", "union") if method.truth else ():
        clock = time.perf_counter()
        of_mask = made.retrainer(learner, reference, sources, train, sequential=name == "sequential")
        with progress_bar(bool(label), 2 ** len(sources), f"{label}: {name} retraining") as advance:
            retrained = made.by_retraining(learner, of_mask, ids, folder, name, advance)
            games[name] = exact_game(len(sources), from_start(retrained), table, method.value_of)
        seconds[name] = time.perf_counter() - clock
    return Repetition(
        problem, contexts, np.array([np.size(source.weight) for source in sources]), games, exact,
        method.name == "shapley", evaluations, float((alone.max(axis=1) > np.log(DECIDED)).mean()), seconds,
    )  # fmt: skip


def _checked(method: Method, learner: Learner, players: int) -> Method:
    """Before anything is trained: groups that fit, an arithmetic that there is, and nothing exact of a sample."""
    if method.arithmetic == "token" and (learner.model is None or learner.catalogue is None):
        raise ValueError(
            "arithmetic: expected 'response' or 'parameter' for a policy without tokens; got 'token'; "
            "pass policy='transformer', or the folder of a checkpoint"
        )
    budget = {"permutations": method.permutations, "evaluations": method.evaluations}
    asked = [f"{name}={number}" for name, number in budget.items() if number is not None]
    why = asked[0] if asked else f"{players} sources, more than {EXACT_SOURCES}"
    instead = "leave that out, and all coalitions are evaluated"
    if players > EXACT_SOURCES:
        instead = "join sources, or leave some out"
    if (asked or players > EXACT_SOURCES) and method.name != "shapley":
        raise ValueError(
            f"semivalue: expected 'shapley', the only one that is estimated from a sample of coalitions; "
            f"got {method.name!r} and {why}; {instead}"
        )
    if (asked or players > EXACT_SOURCES) and method.truth:
        raise ValueError(
            f"truth: expected no sample, for the truth is retraining of all coalitions; got {why}; {instead}"
        )
    return method if method.groups is None else method._replace(groups=check_groups(method.groups, players))


def _by_arithmetic(name: str, learner: Learner, reference: Params, trained: Any, ids: Any, folder: Any) -> LogProbsOf:
    if name == "response":
        return made.by_responses(learner, reference, trained, ids)
    by = made.by_parameters if name == "parameter" else made.by_tokens
    return by(learner, reference, trained, ids, folder)


def _from_uniform(learner: Learner, reference: Params, ids: Any) -> Callable[[LogProbsOf], LogProbsOf]:
    """Policies as they would be from a uniform reference: p_S ∝ π_S / π_0 over the candidates."""
    own = made.over(learner, reference, *ids)
    there = np.isfinite(own)

    def from_uniform(log_probs: LogProbsOf) -> LogProbsOf:
        def of(masks: np.ndarray, block: np.ndarray) -> np.ndarray:
            start, known = own[block][None], there[block][None]
            ratios = log_probs(masks, block) - np.where(known, start, 0)
            return np.asarray(normalise(np.where(known, ratios, -np.inf)))

        return of

    return from_uniform


def _games(
    method: Method, key: Array, players: int, log_probs: LogProbsOf, table: np.ndarray
) -> tuple[dict[str, Game], int, bool]:
    """Values, and those in order; how many coalitions they took; and whether these were all, and the values exact."""
    in_order = {} if method.groups is None else {"in_order": method.groups}
    samplers = {}
    if method.permutations is not None or method.evaluations is not None or players > EXACT_SOURCES:
        samplers = {
            name: sampler(key, players, method.permutations or PERMUTATIONS, method.evaluations, groups)
            for name, groups in {"values": None, **in_order}.items()
        }
    evaluations = count_coalitions([one.masks for one in samplers.values()]) if samplers else 2**players
    if evaluations < 2**players:
        return {name: sampled_game(one, log_probs, table) for name, one in samplers.items()}, evaluations, False
    value_of = {"values": method.value_of} | {
        name: functools.partial(asymmetric_shapley, groups=groups) for name, groups in in_order.items()
    }
    return {name: exact_game(players, log_probs, table, of) for name, of in value_of.items()}, evaluations, True


def own_folder(folder: Path, problem: Problem, how: Any) -> Path:
    """The folder of one seed, which belongs to its pairs, its learner and its key."""
    pairs = problem.pairs
    content = fingerprint(
        jaxval.__version__, str(jax.numpy.zeros(0).dtype), pairs.prompts, pairs.responses, tuple(pairs.comparisons),
        np.asarray(pairs.source), pairs.sources, problem.held_out, how,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "fingerprint"
    if not note.exists():
        draft = folder / "fingerprint.part"
        draft.write_text(content)
        draft.replace(note)
    if note.read_text() != content:
        raise ValueError(
            f"folder: expected the unfinished run of these pairs and options; got another's in {folder}; "
            "choose another folder"
        )
    return folder
