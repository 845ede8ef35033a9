"""One seed of the valuation of sources: hold out prompts, train on each source, combine policies, compute values."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import jaxval
from jaxval.checkpoints import fingerprint
from jaxval.checkpoints.files import claim_folder
from jaxval.coalitions import all_coalitions
from jaxval.data import PreferencePairs
from jaxval.parallel import progress as progress_bar
from jaxval.sources.arithmetic import (
    RETRAININGS,
    Setting,
    Tables,
    from_reference,
    retrainer,
    tables,
    train_each,
)
from jaxval.sources.learners import Learner
from jaxval.sources.pairs import candidates, draw_held_out, to_train_on
from jaxval.sources.rewards import Rewards
from jaxval.sources.trainings import Trainer
from jaxval.types import BadArgument, Estimate
from jaxval.values import asymmetric_shapley, permutation_estimator, regression_estimator
from jaxval.values._neighbours import check_groups

EXACT_SOURCES = 12
PERMUTATIONS = 64
TRUSTED_PERMUTATIONS = 20
"""With fewer permutations, antithetic pairs are often equal by chance, and standard errors are far too small."""
DECIDED = 0.99


class Method(NamedTuple):
    """The options of `value_sources` that say which values are computed, and from which coalitions."""

    name: Any
    value_of: Callable[[Any], Array]
    groups: Any
    permutations: int | None
    evaluations: int | None
    arithmetic: str
    reference: str
    truth: bool


class Problem(NamedTuple):
    """The pairs, the policy and the rewards; all seeds share one problem unless each seed draws its own pairs."""

    pairs: PreferencePairs
    learner: Learner
    trainer: Trainer
    rewards: Rewards
    held_out: float | np.ndarray  # a share, or the ids of prompts


class Game(NamedTuple):
    """Values of one seed.

    Attributes:
        by_context: (contexts, sources, rewards) the values of each prompt; their mean is the value.
        utilities: (coalitions, rewards) the means over prompts. In a sample of coalitions, the empty and the full
            coalition come first.
        standard_errors: (sources, rewards) the standard errors of sampling coalitions; 0 if all were evaluated, NaN if
            the sample was too small to estimate them.
    """

    by_context: np.ndarray
    utilities: np.ndarray
    standard_errors: np.ndarray


class Design(NamedTuple):
    """The coalitions that are evaluated, and the estimate from their utilities (coalitions, objectives)."""

    masks: np.ndarray
    estimate: Callable[[Array], Estimate]


class Repetition(NamedTuple):
    """The results of one seed; the keys of `games` are "values", "in_order", "sequential" and "union"."""

    problem: Problem
    contexts: np.ndarray
    counts: np.ndarray
    games: dict[str, Game]
    exact: bool
    efficient: bool
    evaluations: int
    reference_certain: float
    seconds: dict[str, float]


def repeat(problem: Problem, method: Method, key: Array, folder: Path | None, label: str) -> Repetition:
    """One seed: hold out prompts, train on each source, combine the policies and compute values.

    If `method.truth`, every coalition is retrained too.
    """
    pairs, learner, trainer, rewards, held_out = problem
    split, start, train, sample = jax.random.split(key, 4)
    contexts = draw_held_out(split, len(pairs.prompts), held_out) if isinstance(held_out, float) else held_out
    sources = to_train_on(pairs, contexts if learner.generalises else np.array([], int))
    method = _checked(method, learner, len(sources))
    reference = learner.policy.init(start)
    setting = Setting(
        learner, reference, contexts, candidates(pairs, contexts), rewards.of(contexts), folder, bool(label)
    )
    setting, level = from_reference(setting, uniform=method.reference == "uniform")
    clock = time.perf_counter()
    with progress_bar(bool(label), len(sources), f"{label}: a training for each source") as advance:
        trained = train_each(trainer.train, reference, sources, train, folder, advance)
    seconds = {"training": time.perf_counter() - clock}
    clock = time.perf_counter()
    setting = setting._replace(trained=trained)
    designs, evaluations, exact = _designs(method, sample, len(sources))
    masks = np.concatenate([design.masks for design in designs.values()])[: 2 ** len(sources) if exact else None]
    games = _play(designs, tables(method.arithmetic, setting, masks), level, shared=exact)
    if not exact and method.evaluations is None and (method.permutations or PERMUTATIONS) < TRUSTED_PERMUTATIONS:
        games = {name: g._replace(standard_errors=np.full_like(g.standard_errors, np.nan)) for name, g in games.items()}
    seconds["arithmetic"] = time.perf_counter() - clock
    for name in RETRAININGS if method.truth else ():
        clock = time.perf_counter()
        of_mask = retrainer(trainer.train, reference, sources, train, sequential=name == "sequential")
        games |= _play({name: designs["values"]}, tables(name, setting, masks, train=of_mask), level, shared=True)
        seconds[name] = time.perf_counter() - clock
    return Repetition(
        problem, contexts, np.array([np.size(source.weight) for source in sources]), games, exact,
        method.name == "shapley", evaluations, float((setting.own.max(axis=1) > np.log(DECIDED)).mean()), seconds,
    )  # fmt: skip


def _checked(method: Method, learner: Learner, players: int) -> Method:
    """Check, before any training, the groups, the arithmetic, and the options that exclude a sample of coalitions."""
    if method.arithmetic == "token" and (learner.model is None or learner.catalogue is None):
        raise BadArgument(
            "arithmetic",
            expected="'response' or 'parameter' for a policy without tokens",
            got="'token'",
            advice="choose the policy 'transformer', or the folder of a checkpoint",
        )
    budget = {"permutations": method.permutations, "evaluations": method.evaluations}
    asked = [f"{number} {name}" for name, number in budget.items() if number is not None]
    why = asked[0] if asked else f"{players} sources, more than {EXACT_SOURCES}"
    instead = "leave that out, and all coalitions are evaluated"
    if players > EXACT_SOURCES:
        instead = "join sources, or leave some out"
    if (asked or players > EXACT_SOURCES) and method.name != "shapley":
        raise BadArgument(
            "semivalue",
            expected="'shapley', the only one that is estimated from a sample of coalitions",
            got=f"{method.name!r} and {why}",
            advice=instead,
        )
    if (asked or players > EXACT_SOURCES) and method.truth:
        raise BadArgument(
            "truth", expected="no sample, for the truth is retraining of all coalitions", got=why, advice=instead
        )
    return method if method.groups is None else method._replace(groups=check_groups(method.groups, players))


def _designs(method: Method, key: Array, players: int) -> tuple[dict[str, Design], int, bool]:
    """The designs of the values and of the values in order, the number of coalitions, and whether these are all."""
    in_order = {} if method.groups is None else {"in_order": method.groups}
    if method.permutations is not None or method.evaluations is not None or players > EXACT_SOURCES:
        sampled = {
            name: _sampled(method, key, players, groups) for name, groups in {"values": None, **in_order}.items()
        }
        evaluations = len(np.unique(np.concatenate([design.masks for design in sampled.values()]), axis=0))
        if evaluations < 2**players:
            return sampled, evaluations, False
    value_of = {"values": method.value_of} | {
        name: functools.partial(asymmetric_shapley, groups=groups) for name, groups in in_order.items()
    }
    masks = np.asarray(all_coalitions(players))
    return {name: Design(masks, functools.partial(_exactly, of)) for name, of in value_of.items()}, 2**players, True


def _exactly(value_of: Callable[[Any], Array], table: Array) -> Estimate:
    values = value_of(table)
    return Estimate(values, jnp.zeros_like(values), jnp.asarray(len(table)))


def _sampled(method: Method, key: Array, players: int, groups: Any) -> Design:
    """The design of sampled Shapley values, which are asymmetric if groups are given.

    They are estimated by regression if a number of evaluations is given, and else from permutations.
    """
    if method.evaluations is not None:
        estimator = regression_estimator(players, evaluations=method.evaluations, groups=groups)
    else:
        permutations = method.permutations or PERMUTATIONS
        estimator = permutation_estimator(players, permutations=permutations, groups=groups)
    masks = estimator.ask(estimator.init(key))

    def estimate(table: Array) -> Estimate:
        return estimator.estimate(estimator.tell(estimator.init(key, table.shape[1:]), masks, table))

    return Design(np.asarray(masks), estimate)


def _play(designs: dict[str, Design], blocks: Tables, level: np.ndarray, *, shared: bool) -> dict[str, Game]:
    """The values of every prompt, from the tables of one block of prompts after another.

    If `shared`, all designs use all rows of a table. If not, the rows of the designs follow one another.
    """
    ends = np.cumsum([0, *(0 if shared else len(design.masks) for design in designs.values())]).tolist()
    rows = {name: slice(ends[i], None if shared else ends[i + 1]) for i, name in enumerate(designs)}
    by_context: dict[str, list[np.ndarray]] = {name: [] for name in designs}
    total: Any = 0.0
    for table in blocks:
        total = total + table.astype(np.float64).sum(axis=1)
        for name, design in designs.items():
            part = table[rows[name]]
            values = np.asarray(design.estimate(jnp.asarray(part.reshape(len(part), -1))).values)
            by_context[name].append(np.moveaxis(values.reshape(-1, *part.shape[1:]), 1, 0))
    utilities = total / len(level)
    return {
        name: Game(
            np.concatenate(by_context[name]),
            utilities[rows[name]] + level.astype(np.float64).mean(axis=0),
            np.asarray(design.estimate(jnp.asarray(utilities[rows[name]])).standard_errors),
        )
        for name, design in designs.items()
    }


def run_folder(folder: Path, problem: Problem, how: Any) -> Path:
    """Claim the folder of one seed for its pairs, its training and its key; raises if it holds another run."""
    pairs = problem.pairs
    content = fingerprint(
        jaxval.__version__, str(jnp.zeros(0).dtype), pairs.prompts, pairs.responses, tuple(pairs.comparisons),
        np.asarray(pairs.source), pairs.sources, problem.held_out, how,
    )  # fmt: skip
    try:
        return claim_folder(folder, {"fingerprint": content}, note="run.json")
    except BadArgument as error:
        raise BadArgument(
            "folder",
            expected="the unfinished run of these pairs and options",
            got=f"another's in {folder}",
            advice="choose another folder",
        ) from error
