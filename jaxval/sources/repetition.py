"""One seed of the valuation of sources: hold out prompts, train on each source, combine policies, compute values."""

import functools
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from jaxval import _checks, _objects, values
from jaxval.coalitions import all_coalitions
from jaxval.data import PreferencePairs
from jaxval.parallel import progress as progress_bar
from jaxval.sources.arithmetic import (
    ARITHMETICS,
    RETRAININGS,
    Evaluated,
    Setting,
    Tables,
    evaluated,
    from_reference,
    retrainer,
    tables,
    train_once,
    with_each,
)
from jaxval.sources.fidelity import Judged, cheap_scores, fidelity_coalitions, without_best
from jaxval.sources.learners import Learner
from jaxval.sources.pairs import candidates, to_train_on
from jaxval.sources.rewards import Rewards
from jaxval.sources.trainings import Train
from jaxval.types import BadArgument, Params

SEMIVALUES: dict[str, Callable[..., Array]] = {
    "shapley": values.shapley,
    "banzhaf": values.banzhaf,
    "leave-one-out": values.leave_one_out,
    "beta-shapley": functools.partial(values.beta_shapley, alpha=4.0, beta=1.0),
}
EXACT_SOURCES = 12
PERMUTATIONS = 64
TRUSTED_PERMUTATIONS = 20
"""With fewer permutations, antithetic pairs are often equal by chance, and standard errors are far too small."""
CERTAIN = 0.99


class Method(NamedTuple):
    """The options of `value_sources` that say which values are computed, and from which coalitions."""

    semivalue: Any
    groups: Any
    permutations: int | None
    evaluations: int | None
    arithmetic: str
    reference: str
    truth: bool
    unions: Any = None  # (sources,) or (levels, sources), for Owen values
    fidelity: int | None = None  # the number of coalitions that are retrained to judge the values; None means none
    scores: Any = None  # by name, (sources,) the scores of other tools, which are judged too


def method_of(
    semivalue: Any,
    groups: Any,
    permutations: int | None,
    evaluations: int | None,
    arithmetic: str,
    reference: str,
    truth: bool,
    unions: Any = None,
    fidelity: int | None = None,
    scores: Any = None,
) -> Method:
    """The options of values, each checked to be one that exists."""
    _checks.check_choice("arithmetic", arithmetic, ARITHMETICS)
    _checks.check_flag("truth", truth)
    _checks.check_choice("reference", reference, ("policy", "uniform"))
    if not callable(semivalue):
        _checks.check_choice("semivalue", semivalue, SEMIVALUES)
    for name, number in {"permutations": permutations, "evaluations": evaluations}.items():
        if number is not None:
            _checks.check_size(name, number)
    if not isinstance(scores, Mapping | None):
        raise BadArgument("fidelity_scores", expected="scores by the names of tools", got=f"{scores!r:.80}")
    if permutations is not None and evaluations is not None:
        raise BadArgument("evaluations", expected="permutations or evaluations", got="both", advice="give only one")
    if unions is not None and (semivalue != "shapley" or evaluations is not None):
        got = "a regression" if evaluations is not None else "another semivalue"
        raise BadArgument("unions", expected="Shapley values from all coalitions or from permutations", got=got)
    if fidelity is not None:
        fidelity = _checks.check_size("fidelity", fidelity)
    elif scores:
        raise BadArgument("fidelity_scores", expected="fidelity beside it, the number of retrainings", got="none")
    return Method(semivalue, groups, permutations, evaluations, arithmetic, reference, truth, unions, fidelity, scores)


class Problem(NamedTuple):
    """The pairs, the policy and the rewards; all seeds share one problem unless each seed draws its own pairs."""

    pairs: PreferencePairs
    learner: Learner
    train: Train
    random: bool  # whether the training or the initial parameters are
    rewards: Rewards
    held_out: float | np.ndarray  # a share, or the ids of prompts
    reference: Params = None  # the parameters at π_0 if sources were trained elsewhere; None means initial ones
    trained: Sequence[Params] = ()  # the parameters of each source if they were trained elsewhere


Design = tuple[Any, Callable[[Array], tuple[Array, Any]]]
"""The rows of a table that an estimate takes, and the estimate: (rows, objectives) to values and standard errors."""


class Repetition(NamedTuple):
    """The results of one seed, by "values", "in_order" (no utilities), "sequential" and "union"."""

    contexts: np.ndarray  # (contexts,) the ids of the evaluated prompts
    pairs: np.ndarray  # (sources,) the number of pairs on which each source was trained
    by_context: dict[str, np.ndarray]  # (contexts, sources, rewards) the values of each prompt; their mean is the value
    utilities: dict[str, np.ndarray]  # (coalitions, rewards) means over prompts, ∅ first and N last
    standard_errors: np.ndarray  # (sources, rewards) as in `SourceValues`
    reference_certain: float  # as in `SourceValues`
    seconds: dict[str, float]  # also of "training"
    evaluated: Evaluated | None = None  # None unless the arithmetic is that of responses
    judged: Judged | None = None  # None unless values are judged by retraining


def repeat(problem: Problem, method: Method, key: Array, folder: Path | None, label: str) -> Repetition:
    """One seed: hold out prompts, train on each source, combine the policies and compute values.

    If `method.truth`, every coalition is retrained too. If the sources were trained elsewhere, nothing is trained.
    """
    pairs, learner, train, _, rewards, contexts, reference, trained = problem
    if method.arithmetic == "token" and (learner.model is None or learner.catalogue is None):
        expected = "'response' or 'parameter' for a policy without tokens"
        advice = "choose the policy 'transformer', or the folder of a checkpoint"
        raise BadArgument("arithmetic", expected=expected, got="'token'", advice=advice)
    split, start, of_training, sample = jax.random.split(key, 4)
    if isinstance(contexts, float):  # a share of the prompts, at least one prompt
        count = max(1, round(contexts * len(pairs.prompts)))
        contexts = np.sort(np.asarray(jax.random.permutation(split, len(pairs.prompts)))[:count])
    sources = [] if trained else to_train_on(pairs, contexts if learner.generalises else np.array([], int))
    designs, masks = _designs(method, sample, len(pairs.sources))
    reference, shown = learner.policy.init(start) if reference is None else reference, bool(label)
    setting = Setting(learner, reference, contexts, candidates(pairs, contexts), rewards.of(contexts), folder, shown)
    setting = from_reference(setting, uniform=method.reference == "uniform")
    clock = time.perf_counter()
    trained = list(trained)
    with progress_bar(shown and bool(sources), len(sources), f"{label}: a training for each source") as advance:
        for number, source in enumerate(sources):
            trained.append(train_once(train, reference, source, of_training, folder and folder / f"source-{number}"))
            advance(1)
    if sources and folder is not None and learner.write is not None:
        for name, params in zip(folder_names(pairs.sources), trained, strict=True):
            learner.write(folder / "adapters" / name, params)
    setting = setting._replace(trained=trained)
    seconds = {"training": time.perf_counter() - clock}
    by_context: dict[str, np.ndarray] = {}
    utilities: dict[str, np.ndarray] = {}
    for name in ("values", *(RETRAININGS if method.truth else ())):
        clock = time.perf_counter()
        way = method.arithmetic if name == "values" else name
        if name == "values" and (way == "response" or method.fidelity is not None):
            setting = with_each(setting)
        retrained = retrainer(train, reference, sources, of_training, sequential=name == "sequential")
        wanted = designs if name == "values" else {name: designs["values"]}
        result, utilities[name] = _values_by_context(wanted, tables(way, setting, masks, retrained))
        by_context |= result
        seconds[name] = time.perf_counter() - clock
    judged = None
    if method.fidelity is not None:
        clock = time.perf_counter()
        retrained = retrainer(train, reference, sources, of_training, sequential=False)
        judged = _judged(setting, method, by_context["values"], sources, retrained)
        seconds["fidelity"] = time.perf_counter() - clock
    rows, estimate = designs["values"]
    mean, errors = estimate(_checks.known_array(utilities["values"][rows]))
    level = setting.level.astype(np.float64).mean(axis=0)
    counts = np.array([float(np.sum(source.weight)) for source in sources] or [np.nan] * len(trained))
    reference_certain = float((setting.own.max(axis=1) > np.log(CERTAIN)).mean())
    utilities = {name: table + level for name, table in utilities.items()}
    errors = np.broadcast_to(np.asarray(errors, float), mean.shape)
    found = evaluated(setting) if method.arithmetic == "response" else None
    return Repetition(contexts, counts, by_context, utilities, errors, reference_certain, seconds, found, judged)


def _judged(setting: Setting, method: Method, values: np.ndarray, sources: Any, retrained: Any) -> Judged:
    """The scores of the sources, and the utilities of the coalitions on which they are judged, by retraining."""
    players, objectives = values.shape[1:]
    scores = {"values": values.mean(axis=0), **cheap_scores(setting, sources)}
    for name, each in (method.scores or {}).items():
        scores[name] = np.broadcast_to(np.asarray(each, float)[:, None], (players, objectives))
    masks = fidelity_coalitions(method.fidelity or 0, players)
    left = [without_best(each[:, k], len(masks)) for each in scores.values() for k in range(objectives)]
    every = np.unique(np.concatenate([masks, np.ones((1, players), bool), *left]), axis=0)
    utilities = np.concatenate(list(tables("union", setting, every, retrained)), axis=1).astype(np.float64)
    return Judged(masks, every, utilities, setting.level.astype(np.float64).mean(axis=0), scores, values)


def folder_names(names: Sequence[str]) -> list[str]:
    """A name of a folder for each name of a source, all different, also where capitals do not count, and short."""
    plain = [re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).lstrip(".")[:60] or "source" for name in names]
    taken = {name.casefold() for name in plain if plain.count(name) == 1}
    found: list[str] = []
    for i, name in enumerate(plain):
        alone = [other.casefold() for other in plain].count(name.casefold()) == 1
        while not alone and (name == plain[i] or name.casefold() in taken):
            name = f"{name}-{i}"
        taken.add(name.casefold())
        found.append(name)
    return found


def _values_by_context(designs: dict[str, Design], blocks: Tables) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The values of every prompt and the mean utilities, from the tables of one block of prompts after another."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in designs}
    total: Any = 0.0
    for table in blocks:
        total = total + table.astype(np.float64).sum(axis=1)
        for name, (rows, estimate) in designs.items():
            part = table[rows]
            result = np.asarray(estimate(_checks.known_array(part.reshape(len(part), -1)))[0], float)
            parts[name].append(np.moveaxis(result.reshape(-1, *table.shape[1:]), 1, 0))
    by_context = {name: np.concatenate(each) for name, each in parts.items()}
    return by_context, total / len(next(iter(by_context.values())))


def _designs(method: Method, key: Array, players: int) -> tuple[dict[str, Design], np.ndarray]:
    """The designs of the values and of the values in order, and the coalitions that they take, each once."""
    in_order = {} if method.groups is None else {"in_order": _objects.check_groups(method.groups, players)}
    groups = {"values": None, **in_order}
    budget = {name: getattr(method, name) for name in ("permutations", "evaluations")}
    why = [f"{number} {name}" for name, number in budget.items() if number is not None]
    if not why and players > EXACT_SOURCES:
        why = [f"{players} sources, more than {EXACT_SOURCES}"]
    if why:
        _check_sample(method, why[0], players)
        asked, estimates = zip(*(_sampled(method, key, players, of) for of in groups.values()), strict=True)
        # In the order of `unique`, the empty coalition is the first and the full one the last, as in a table.
        masks, rows = np.unique(np.concatenate(asked), axis=0, return_inverse=True)
        if len(masks) < 2**players:
            of_each = np.split(rows.reshape(-1), np.cumsum([len(part) for part in asked])[:-1])
            return dict(zip(groups, zip(of_each, estimates, strict=True), strict=True)), masks
    value_of: Any = {n: functools.partial(values.asymmetric_shapley, groups=of) for n, of in in_order.items()}
    value_of["values"] = method.semivalue if callable(method.semivalue) else SEMIVALUES[method.semivalue]
    if method.unions is not None:
        value_of["values"] = functools.partial(values.owen, unions=method.unions)
    exact: Any = {name: (slice(None), lambda table, of=of: (of(table), 0.0)) for name, of in value_of.items()}
    return exact, np.asarray(all_coalitions(players))


def _check_sample(method: Method, why: str, players: int) -> None:
    """Raise for options that exclude a sample of coalitions."""
    too_many = players > EXACT_SOURCES
    advice = "join sources, or leave some out" if too_many else "leave that out, and all coalitions are evaluated"
    if method.semivalue != "shapley":
        expected = "'shapley', the only one that is estimated from a sample of coalitions"
        raise BadArgument("semivalue", expected=expected, got=f"{method.semivalue!r} and {why}", advice=advice)
    if method.truth:
        expected = "no sample, for the truth is retraining of all coalitions"
        raise BadArgument("truth", expected=expected, got=why, advice=advice)


def _sampled(method: Method, key: Array, players: int, groups: Any) -> tuple[np.ndarray, Callable[..., Any]]:
    """The coalitions from which Shapley, Owen or asymmetric values (with groups) are sampled, and the estimate.

    Values are estimated by regression if a number of evaluations is given, and else from permutations.
    """
    permutations = method.permutations or PERMUTATIONS
    trusted = method.evaluations is not None or permutations >= TRUSTED_PERMUTATIONS
    if method.evaluations is not None:
        estimator = values.regression_estimator(players, evaluations=method.evaluations, groups=groups)
    else:
        unions = method.unions if groups is None else None  # values in order know no unions
        estimator = values.permutation_estimator(players, permutations=permutations, groups=groups, unions=unions)
    masks = estimator.ask(estimator.init(key))

    def estimate(table: Array) -> tuple[Array, Any]:
        result = estimator.estimate(estimator.tell(estimator.init(key, table.shape[1:]), masks, table))
        return result.values, result.standard_errors if trusted else np.nan

    return np.asarray(masks), estimate
