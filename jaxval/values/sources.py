"""Who contributed what: the value of each source of preference pairs, from one training per source."""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

import jaxval
from jaxval import _checks
from jaxval.checkpoints import fingerprint
from jaxval.coalitions import all_coalitions
from jaxval.data import PreferencePairs, SyntheticPreferences
from jaxval.parallel import progress as progress_bar
from jaxval.types import Estimate, Groups
from jaxval.values import _coalition_policies as made
from jaxval.values._neighbours import check_groups
from jaxval.values._source_games import Game, exact_game, sampled_game
from jaxval.values._source_intervals import over_contexts, over_seeds, rank_correlation
from jaxval.values._source_pairs import as_pairs, candidates, check_share, draw_held_out, to_train_on, with_held_out
from jaxval.values._source_rewards import Reward, Rewards, resolve_rewards
from jaxval.values.learners import (
    Learner,
    checkpoint_learner,
    log_linear_learner,
    tabular_learner,
    transformer_learner,
)
from jaxval.values.ordered import asymmetric_shapley
from jaxval.values.semivalues import banzhaf, beta_shapley, leave_one_out, shapley

__all__ = ["SourceValues", "Truth", "value_sources"]

Pairs = PreferencePairs | SyntheticPreferences
SEMIVALUES: dict[str, Callable[..., Array]] = {
    "shapley": shapley,
    "banzhaf": banzhaf,
    "leave-one-out": leave_one_out,
    "beta-shapley": functools.partial(beta_shapley, alpha=4.0, beta=1.0),
}
LEARNERS: dict[str, Callable[..., Learner]] = {
    "log-linear": log_linear_learner,
    "tabular": tabular_learner,
    "transformer": transformer_learner,
}
EXACT_SOURCES = 12
PERMUTATIONS = 64
DECIDED = 0.99


class Truth(NamedTuple):
    """What retraining every coalition says, beside the arithmetic.

    Attributes:
        values: (sources, rewards) from retraining.
        utilities: (2^n, rewards) likewise.
        gap: (rewards,) the largest |φ̂ - φ| of a source.
        rank_correlation: (rewards,) Spearman's, of φ̂ and φ; NaN where all are equal.
        seconds: what retraining took.
    """

    values: np.ndarray
    utilities: np.ndarray
    gap: np.ndarray
    rank_correlation: np.ndarray
    seconds: float


class SourceValues(NamedTuple):
    """The values of sources, and how far to trust them.

    Attributes:
        names: of the sources.
        rewards: the names of the rewards.
        values: (sources, rewards) φ̂, the mean over seeds.
        context_intervals: (2, sources, rewards) 95 % low and high ends, held-out prompts redrawn; NaN where there is
            one.
        seed_intervals: (2, sources, rewards) 95 % low and high ends, from the spread between seeds; NaN where there is
            one.
        standard_errors: (sources, rewards) of sampling coalitions; 0 where all were evaluated.
        in_order: (sources, rewards) asymmetric values, where there are groups; else None.
        utilities: (2^n, rewards) u(S) of all coalitions, bit i being source i; None where they were sampled.
        efficiency_gap: (rewards,) |Σ φ̂ - (u(N) - u(∅))| relative to the largest |u(S) - u(∅)|; NaN for semivalues
            that need not sum to it.
        by_seed: (seeds, sources, rewards) the values of each.
        pairs: (sources,) how many pairs each had for training, the mean over seeds.
        contexts: how many prompts were held out, or evaluated.
        evaluations: how many distinct coalitions were evaluated.
        decided: the share of held-out prompts where the reference gives one candidate 99 % or more: there sources
            hardly move the policy, and values are near zero whatever they hold.
        truth: by "sequential" and "union", where asked for.
        seconds: what was spent on training once per source, and on arithmetic.
    """

    names: tuple[str, ...]
    rewards: tuple[str, ...]
    values: np.ndarray
    context_intervals: np.ndarray
    seed_intervals: np.ndarray
    standard_errors: np.ndarray
    in_order: np.ndarray | None
    utilities: np.ndarray | None
    efficiency_gap: np.ndarray
    by_seed: np.ndarray
    pairs: np.ndarray
    contexts: int
    evaluations: int
    decided: float
    truth: dict[str, Truth]
    seconds: dict[str, float]

    @property
    def estimate(self) -> Estimate:
        """As the other values come: with the standard errors of sampling, and names."""
        return Estimate(self.values, self.standard_errors, np.asarray(self.evaluations), self.names)


def value_sources(
    pairs: Pairs | Callable[[Any], Pairs],
    *,
    reward: Reward | Sequence[Reward] = "score",
    policy: str | Path | Callable[..., Learner] = "log-linear",
    arithmetic: str = "response",
    beta: float = 0.1,
    ridge: float | None = None,
    held_out: float | PreferencePairs = 0.25,
    seeds: int = 3,
    semivalue: str | Callable[[Any], Array] = "shapley",
    groups: Groups | None = None,
    permutations: int | None = None,
    evaluations: int | None = None,
    truth: bool = False,
    key: Key[Array, ""] | None = None,
    folder: str | Path | None = None,
    progress: bool = False,
) -> SourceValues:
    """The value of each source of preference pairs under one or more rewards, from one training per source.

    1. π_ℓ is DPO on source ℓ alone, from and against the reference π_0.
    2. The policy of a coalition S is made by arithmetic: of responses, π_S ∝ π_0 Π_{ℓ∈S} π_ℓ / π_0; of tokens, the
       same at every position; of parameters, θ_0 + Σ_{ℓ∈S} (θ_ℓ - θ_0).
    3. u(S) = E_x Σ_y π_S(y|x) r(x, y) over held-out prompts and their candidate responses.
    4. φ̂ is the semivalue of u.

    Values are linear in u, so that each held-out prompt has values of its own; the intervals over prompts redraw these.
    A seed draws the held-out prompts and all that is random in training; where neither is, there is one seed and no
    interval over seeds. Seeds share pairs, so that their interval says how far these choices matter, not how far
    other pairs would.

    A table of rewards is in the order of the catalogue (`pairs.prompts`, `pairs.responses`). For tabular and log-linear
    policies the arithmetic of parameters is that of responses.

    Source: Tamine et al., equations (1), (2), (6) and (7).

    Args:
        pairs: of all sources; or a function of a key that draws them, as each seed then does.
        reward: "score", all scores that the pairs have, as they are; "bradley-terry", rewards fitted to the order of
            the scores, or of the pairs where there are none; a function of a prompt and a response to a number or a
            vector; an array (prompts, responses) or (prompts, responses, rewards); a mapping of names to arrays; or a
            list of such.
        policy: "log-linear", "tabular", "transformer", the folder of a Llama checkpoint, or a function
            `policy(pairs, beta=...)` to a `Learner`, such as `partial(values.transformer_learner, width=128)`.
        arithmetic: "response", "token" or "parameter".
        beta: β of DPO.
        ridge: ρ of tabular and log-linear learners; theirs where None.
        held_out: the share of prompts that no source trains on and the rewards are taken on; or pairs whose prompts
            are. Tabular policies learn nothing of prompts without pairs: they are evaluated on all.
        seeds: how many.
        semivalue: "shapley", "banzhaf", "leave-one-out", "beta-shapley" (α = 4, β = 1), or a function of a table.
        groups: (sources,) for asymmetric values besides: group 0 comes first.
        permutations: sample that many instead of evaluating all coalitions; None evaluates all up to 12 sources, and
            beyond samples 64. For Shapley and asymmetric values only.
        evaluations: fit a regression to that many coalitions instead, as `regress_shapley` does: the fewest for a
            given error.
        truth: whether every coalition is retrained too, sequentially and on the union.
        key: a random key; `jax.random.key(0)` where None.
        folder: where finished trainings and evaluations are kept, for a run to go on from that was killed.
        progress: whether a bar goes to standard error.

    Returns:
        `SourceValues`.

    Raises:
        ValueError: where there is one source only, a source has no pair left to train on, a reward is missing for a
            candidate, a name is unknown, groups do not fit, or the folder holds another run.

    Example:
        >>> from jaxval import data, values
        >>> drawn = data.synthetic_preferences(
        ...     jax.random.key(0), contexts=40, responses=4, sources={"experts": 1.0, "copy": "experts", "foes": -0.5})
        >>> found = values.value_sources(drawn, policy="tabular", beta=1.0)
        >>> bool(found.values[0, 0] > 0 > found.values[2, 0]), bool(abs(found.values[0, 0] - found.values[1, 0]) < 1e-5)
        (True, True)
        >>> found.utilities.shape, found.rewards
        ((8, 2), ('helpful', 'harmless'))
    """
    key = jax.random.key(0) if key is None else key
    seeds = _checks.check_size("seeds", seeds)
    _checks.check_choice("arithmetic", arithmetic, made.ARITHMETICS)
    if permutations is not None and evaluations is not None:
        raise ValueError("evaluations: expected permutations or evaluations; got both; leave one out")
    make = _maker(policy, beta, ridge)
    method = _Method(semivalue, _value_of(semivalue), groups, permutations, evaluations, arithmetic, truth)
    draw: Any = pairs if callable(pairs) else None
    problem = None if draw else _problem(pairs, make, reward, held_out)
    repetitions: list[_Repetition] = []
    for seed in range(seeds):
        own = jax.random.fold_in(key, seed)
        here = problem or _problem(draw(own), make, reward, held_out)
        if seed and not draw and not here.learner.random and not isinstance(here.held_out, float):
            break  # nothing is random
        place = None
        if folder is not None:
            what = policy if callable(policy) else str(policy)
            place = _own_folder(Path(folder) / f"seed-{seed}", here, (what, beta, ridge, own))
        repetitions.append(_repeat(here, method, own, place, f"seed {seed + 1} of {seeds}" if progress else ""))
    return _summary(repetitions, distinct=draw is not None)


class _Method(NamedTuple):
    name: Any
    value_of: Callable[[Any], Array]
    groups: Any
    permutations: int | None
    evaluations: int | None
    arithmetic: str
    truth: bool


class _Problem(NamedTuple):
    pairs: PreferencePairs
    learner: Learner
    rewards: Rewards
    held_out: float | np.ndarray  # a share, or the ids of prompts


class _Repetition(NamedTuple):
    """What one seed gives; games by "values", "in_order", "sequential" and "union"."""

    problem: _Problem
    contexts: np.ndarray
    counts: np.ndarray
    games: dict[str, Game]
    exact: bool
    efficient: bool
    evaluations: int
    decided: float
    seconds: dict[str, float]


def _problem(pairs: Any, make: Callable[..., Learner], reward: Any, held_out: Any) -> _Problem:
    pairs = as_pairs(pairs)
    place: float | np.ndarray
    if isinstance(held_out, PreferencePairs):
        pairs, place = with_held_out(pairs, held_out)
    else:
        place = check_share(held_out)
    learner = make(pairs)
    if not learner.generalises:
        place = np.unique(np.asarray(pairs.comparisons.context))
    fitting = _fits_rewards(make, learner)
    return _Problem(pairs, learner, resolve_rewards(reward, pairs, fitting), place)


def _fits_rewards(make: Callable[..., Learner], learner: Learner) -> Callable[[PreferencePairs], Learner]:
    """Rewards are fitted by a table where the policy is one, by features of text elsewhere."""
    del make
    return functools.partial(log_linear_learner if learner.generalises else tabular_learner, beta=1.0)


def _maker(policy: Any, beta: float, ridge: float | None) -> Callable[[PreferencePairs], Learner]:
    options: dict[str, Any] = {"beta": beta} | ({} if ridge is None else {"ridge": ridge})
    if callable(policy):
        return functools.partial(policy, **options)
    if isinstance(policy, str) and policy in LEARNERS:
        make = LEARNERS[policy]
    elif isinstance(policy, str | Path) and Path(policy).is_dir():
        make = functools.partial(checkpoint_learner, folder=policy)
    else:
        _checks.check_choice("policy", policy, (*LEARNERS, "the folder of a checkpoint"))
    if ridge is not None and policy not in ("log-linear", "tabular"):
        raise ValueError(f"ridge: expected None for a policy trained by gradients, {str(policy)!r}; got {ridge}")
    return functools.partial(make, **options)


def _value_of(semivalue: Any) -> Callable[[Any], Array]:
    if callable(semivalue):
        return semivalue
    return SEMIVALUES[_checks.check_choice("semivalue", semivalue, SEMIVALUES)]


def _own_folder(folder: Path, problem: _Problem, how: Any) -> Path:
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


def _repeat(problem: _Problem, method: _Method, key: Array, folder: Path | None, label: str) -> _Repetition:
    """One seed: hold out, train once per source, combine, value; and, for the truth, retrain."""
    pairs, learner, rewards, place = problem
    split, start, train, sample = jax.random.split(key, 4)
    contexts = draw_held_out(split, len(pairs.prompts), place) if isinstance(place, float) else place
    sources = to_train_on(pairs, contexts if learner.generalises else np.array([], int))
    players = len(sources)
    groups = None if method.groups is None else check_groups(method.groups, players)
    exact = method.permutations is None and method.evaluations is None and players <= EXACT_SOURCES
    if not exact and (method.name != "shapley" or method.truth):
        raise ValueError(
            f"semivalue: expected 'shapley' and truth=False where coalitions are sampled, as beyond {EXACT_SOURCES} "
            f"sources; got {method.name!r}, truth={method.truth} and {players} sources"
        )
    table = rewards.of(contexts)
    ids = contexts, candidates(pairs, contexts)
    reference = learner.start(start)
    seconds = {}
    with progress_bar(bool(label), players, f"{label}: a training for each source") as advance:
        clock = time.perf_counter()
        trained = made.train_each(learner, reference, sources, train, folder, advance)
        seconds["training"] = time.perf_counter() - clock
    clock = time.perf_counter()
    if method.arithmetic == "response":
        log_probs = made.by_responses(learner, reference, trained, ids)
    elif method.arithmetic == "parameter":
        log_probs = made.by_parameters(learner, reference, trained, ids, folder)
    else:
        log_probs = made.by_tokens(learner, reference, trained, ids, folder)
    games: dict[str, Game] = {}
    alone = np.asarray(log_probs(np.zeros((1, players), bool), np.arange(len(contexts))))[0]
    decided = float((alone.max(axis=1) > np.log(DECIDED)).mean())
    evaluations = 2**players
    masks = np.asarray(all_coalitions(players)) if exact else np.zeros((0, players), bool)
    if exact:
        games["values"] = exact_game(masks, log_probs, table, method.value_of)
        if groups is not None:
            games["in_order"] = exact_game(masks, log_probs, table, lambda t: asymmetric_shapley(t, groups))
    else:
        budget: dict[str, Any] = {
            "permutations": method.permutations or PERMUTATIONS,
            "evaluations": method.evaluations,
        }
        games["values"], evaluations = sampled_game(sample, players, log_probs, table, **budget)
        if groups is not None:
            games["in_order"], more = sampled_game(sample, players, log_probs, table, groups=groups, **budget)
            evaluations += more
    seconds["arithmetic"] = time.perf_counter() - clock
    for name in ("sequential", "union") if method.truth else ():
        clock = time.perf_counter()
        of_mask = made.retrainer(learner, reference, sources, train, sequential=name == "sequential")
        with progress_bar(bool(label), len(masks), f"{label}: {name} retraining") as advance:
            retrained = made.by_retraining(learner, of_mask, ids, folder, name, advance)
            games[name] = exact_game(masks, retrained, table, method.value_of)
        seconds[name] = time.perf_counter() - clock
    counts = np.array([np.size(source.weight) for source in sources])
    efficient = method.name == "shapley"
    return _Repetition(problem, contexts, counts, games, exact, efficient, evaluations, decided, seconds)


def _summary(repetitions: list[_Repetition], *, distinct: bool) -> SourceValues:
    """The mean over seeds, with intervals; `distinct` where each seed has prompts of its own."""
    first = repetitions[0]
    values = {name: _mean([r.games[name].by_context.mean(axis=0) for r in repetitions]) for name in first.games}
    tables = {name: _mean([r.games[name].utilities for r in repetitions]) for name in first.games}
    by_seed = np.stack([r.games["values"].by_context.mean(axis=0) for r in repetitions])
    ids = np.concatenate(
        [r.contexts + (seed * len(r.problem.pairs.prompts) if distinct else 0) for seed, r in enumerate(repetitions)]
    )
    by_context = np.concatenate([r.games["values"].by_context for r in repetitions])
    squares = [r.games["values"].standard_errors.astype(float) ** 2 for r in repetitions]
    utilities = tables["values"]
    empty, full = (utilities[0], utilities[-1]) if first.exact else (utilities[0], utilities[1])
    scale = np.abs(utilities - empty[None]).max(axis=0)
    gap = np.abs(values["values"].sum(axis=0) - (full - empty)) / np.where(scale > 0, scale, 1)
    truth: dict[str, Truth] = {
        name: Truth(
            values[name], tables[name], np.abs(values["values"] - values[name]).max(axis=0),
            rank_correlation(values["values"], values[name]), sum(r.seconds[name] for r in repetitions),
        )
        for name in ("sequential", "union") if name in values
    }  # fmt: skip
    return SourceValues(
        names=first.problem.pairs.sources,
        rewards=first.problem.rewards.names,
        values=values["values"],
        context_intervals=over_contexts(by_context, ids),
        seed_intervals=over_seeds(by_seed),
        standard_errors=np.sqrt(np.sum(squares, axis=0)) / len(repetitions),
        in_order=values.get("in_order"),
        utilities=utilities if first.exact else None,
        efficiency_gap=gap if first.efficient else np.full(len(gap), np.nan),
        by_seed=by_seed,
        pairs=_mean([r.counts for r in repetitions]),
        contexts=len(first.contexts),
        evaluations=first.evaluations,
        decided=float(np.mean([r.decided for r in repetitions])),
        truth=truth,
        seconds={name: sum(r.seconds[name] for r in repetitions) for name in ("training", "arithmetic")},
    )


def _mean(parts: list[np.ndarray]) -> np.ndarray:
    return np.mean([np.asarray(part, dtype=np.float64) for part in parts], axis=0)
