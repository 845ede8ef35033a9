"""The value of each source of preference pairs, from one training per source."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxval import __version__, _checks, _objects
from jaxval._tables import html_table, interval, text_table
from jaxval.checkpoints import fingerprint
from jaxval.checkpoints.files import claim_folder
from jaxval.data import PreferencePairs, SyntheticPreferences
from jaxval.sources.arithmetic import RETRAININGS, Evaluated
from jaxval.sources.fidelity import Fidelity, check_fidelity, judge
from jaxval.sources.intervals import over_contexts, over_seeds, rank_correlation
from jaxval.sources.learners import Learner, identity_of, learner_of
from jaxval.sources.pairs import as_pairs, with_held_out
from jaxval.sources.repetition import Method, Problem, Repetition, method_of, repeat
from jaxval.sources.rewards import Reward, resolve_rewards
from jaxval.sources.trainings import Training, trainer
from jaxval.types import BadArgument, Groups, Policy, Unions

__all__ = ["SourceValues", "Truth", "UnionTotals", "value_sources"]

HELD_OUT, SEEDS = 0.25, 3


class Truth(NamedTuple):
    """The values from retraining every coalition, and how far the values from the arithmetic are from them.

    Attributes:
        values: (sources, rewards) φ, the values from retraining.
        utilities: (2^n, rewards) the utilities from retraining.
        gap: (rewards,) the largest |φ̂ - φ| of a source.
        rank_correlation: (rewards,) Spearman's rank correlation of φ̂ and φ; NaN if all φ̂ or all φ are equal.
        seconds: the time that retraining took.
    """

    values: np.ndarray
    utilities: np.ndarray
    gap: np.ndarray
    rank_correlation: np.ndarray
    seconds: float


class UnionTotals(NamedTuple):
    """The values of the unions of one level.

    Attributes:
        unions: (sources,) the union of each source.
        values: (unions, rewards) the sum of the values of the sources of each union. At the coarsest level it is the
            Shapley value of the union in the game between the unions.
        context_intervals: (2, unions, rewards) the ends of 95 % intervals over held-out prompts.
    """

    unions: np.ndarray
    values: np.ndarray
    context_intervals: np.ndarray


class SourceValues(NamedTuple):
    """The values of sources, and their uncertainty.

    Attributes:
        names: the names of the sources.
        rewards: the names of the rewards.
        values: (sources, rewards) φ̂, the mean over seeds.
        context_intervals: (2, sources, rewards) the ends of 95 % intervals over held-out prompts; NaN for one prompt.
        seed_intervals: (2, sources, rewards) the ends of 95 % intervals over seeds; NaN for one seed.
        standard_errors: (sources, rewards) the standard errors of sampling coalitions; 0 if all were evaluated, NaN for
            fewer than 20 permutations.
        in_order: (sources, rewards) asymmetric values; None if no groups were given.
        utilities: (2^n, rewards) u(S) of all coalitions, bit i being source i; None if only some were evaluated.
        efficiency_gap: (rewards,) |Σ φ̂ - (u(N) - u(∅))| relative to the largest |u(S) - u(∅)|; NaN for semivalues that
            are not efficient.
        by_seed: (seeds, sources, rewards) the values of each seed.
        pairs: (sources,) the number of pairs on which each source was trained, each counted by its weight, the mean
            over seeds.
        contexts: how many prompts were evaluated; these are the held-out prompts, if any were held out.
        evaluations: how many distinct coalitions were evaluated, the largest number over seeds.
        reference_certain: the share of evaluated prompts at which the reference gives one candidate 99 % or more. At
            such prompts sources hardly change the policy, and values are near zero for every source.
        truth: the results of retraining, by "sequential" and "union"; empty unless `truth` was requested.
        seconds: the time spent on one training per source, and on the arithmetic.
        totals: the values of the unions of each level, coarsest first; empty if no unions were given.
        fidelity: how well the values predict retraining; None if that was not requested.
        evaluated: for each seed, the log-probabilities and rewards from which `weigh_sources` evaluates any weights of
            the sources; empty unless the arithmetic is that of responses.
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
    reference_certain: float
    truth: dict[str, Truth]
    seconds: dict[str, float]
    totals: tuple[UnionTotals, ...] = ()
    fidelity: Fidelity | None = None
    evaluated: tuple[Evaluated, ...] = ()

    @property
    def values_per_pair(self) -> np.ndarray:
        """(sources, rewards) each value divided by the source's pairs, for values grow with the size of a source."""
        return self.values / self.pairs[:, None]

    def __str__(self) -> str:
        """The table that `print` shows: each source's pairs, and its values with intervals over held-out prompts."""
        return text_table(*self._table())

    def _repr_html_(self) -> str:
        """The same table for a notebook."""
        return html_table(*self._table())

    def _table(self) -> tuple[list[str], list[list[str]], list[str]]:
        own = not np.isnan(self.pairs).any()  # adapters that were trained elsewhere have none
        columns = ["source", "pairs"] if own else ["source"]
        for reward in self.rewards:
            columns += [reward, "95 % over prompts"]
        rows = []
        for i, name in enumerate(self.names):
            ends = (interval(*self.context_intervals[:, i, k]) for k in range(len(self.rewards)))
            told = zip((f"{value:.4g}" for value in self.values[i]), ends, strict=True)
            pairs = [f"{self.pairs[i]:.4g}"] if own else []
            rows.append([name, *pairs, *(word for pair in told for word in pair)])
        notes = [f"{self.contexts} prompts, {self.evaluations} coalitions"]
        if self.reference_certain > 0.5:
            notes += [
                f"These values say little: at {self.reference_certain:.0%} of the prompts the reference is certain "
                "of one candidate.",
                'reference="uniform" begins with all candidates alike.',
            ]
        return columns, rows, notes


def value_sources(
    pairs: PreferencePairs | SyntheticPreferences | Callable[[Any], Any],
    *,
    reward: Reward | Sequence[Reward] = "score",
    policy: str | Path | Callable[[PreferencePairs], Policy | Learner] = "log-linear",
    arithmetic: str = "response",
    reference: str = "policy",
    held_out: float | PreferencePairs | None = None,
    seeds: int | None = None,
    semivalue: str | Callable[[Any], Array] = "shapley",
    groups: Groups | None = None,
    unions: Unions | None = None,
    permutations: int | None = None,
    evaluations: int | None = None,
    truth: bool = False,
    fidelity: int | None = None,
    fidelity_scores: Mapping[str, Any] | None = None,
    key: Key[Array, ""] | None = None,
    folder: str | Path | None = None,
    progress: bool = False,
    **training: Any,
) -> SourceValues:
    """The value of each source of preference pairs under one or more rewards, from one training per source.

    1. π_ℓ is trained on source ℓ alone, from and against the reference π_0, by DPO or another loss.
    2. The policy of a coalition S is made by arithmetic. The arithmetic of responses is π_S ∝ π_0 Π_{ℓ∈S} π_ℓ / π_0;
       that of tokens is the same at every position; that of parameters is θ_0 + Σ_{ℓ∈S} (θ_ℓ - θ_0).
    3. u(S) = E_x Σ_y π_S(y|x) r(x, y) over held-out prompts and their candidate responses.
    4. φ̂ is the semivalue of u.

    Values are linear in u, so that the value of a source is the mean of its values at the held-out prompts, which the
    intervals over prompts resample. A seed determines the held-out prompts and all randomness of training. All seeds
    use the same pairs: the interval over seeds shows how much these random choices matter, and not how much other pairs
    would change the values. For tabular and log-linear policies, the arithmetic of parameters is that of responses.

    Source: Tamine et al., equations (1), (2), (6) and (7).

    Args:
        pairs: the pairs of all sources; or a function of a key that draws pairs, which each seed then calls.
        reward: "score" means all scores that the pairs have. "bradley-terry" means rewards fitted to the order of the
            scores, or, if there are none, to the pairs of all sources together, so that values measure how far a source
            agrees with all of them. A reward may also be a function of a prompt and a response to a number or a vector,
            an array (prompts, responses) or (prompts, responses, rewards) in the order of `pairs.prompts` and
            `pairs.responses`, a mapping of names to arrays, or a list of all these.
        policy: "log-linear", "tabular", "transformer", the folder of a Llama checkpoint, or a function of the pairs to
            a `Policy` over their catalogue or to a `Learner`, such as `partial(transformer_learner, width=128)`.
        arithmetic: "response", "token" or "parameter".
        reference: with "policy", u(S) is the expected reward under π_S. With "uniform", it is the expected reward under
            p_S ∝ π_S / π_0. "uniform" is for sequence models, whose π_0 gives nearly all probability to one of two long
            candidates regardless of their content. Other policies start uniform.
        held_out: the share of prompts that no source trains on and on which rewards are evaluated, or pairs that
            contain these prompts; None means 0.25. Tabular policies learn nothing about prompts without pairs, so that
            they are evaluated on all prompts with pairs.
        seeds: the number of seeds; None means 3, or 1 if neither held-out prompts nor training are random.
        semivalue: "shapley", "banzhaf", "leave-one-out", "beta-shapley" (α = 4, β = 1), or a function of a table.
        groups: (sources,) the group of each source, group 0 first, for asymmetric values beside the semivalue.
        unions: (sources,) the union of each source, or (levels, sources), coarsest first: providers, the data sets of
            each, the subsets of those. The values are then Owen values instead of Shapley values, and `totals` holds
            the values of the unions of every level.
        permutations: the number of permutations from which coalitions are sampled, an even number of at least 4, for
            Shapley, Owen and asymmetric values only. None evaluates all coalitions of up to 12 sources, and samples 64
            permutations if there are more sources. If a sample contains all coalitions, values are exact.
        evaluations: the number of coalitions to which a regression is fitted, as by `regress_shapley`, in place of
            permutations. Regression takes the fewest coalitions for a given error.
        truth: whether every coalition is retrained too, sequentially and on the union.
        fidelity: the number of coalitions that are retrained on the union of their pairs, to judge how well the values
            predict it: all but the empty and the full one if these are no more, and otherwise random ones of half of
            the sources. The union of all pairs, and the coalitions without the best sources, are retrained too.
            None retrains none.
        fidelity_scores: by name, (sources,) the scores of another tool, which are judged beside the values.
        key: a random key; None means `jax.random.key(0)`.
        folder: the folder in which finished trainings and evaluations are kept, so that a run that was killed can
            resume; None keeps nothing.
        progress: whether a progress bar goes to standard error.
        **training: the fields of `Training`, the same for every policy.

    Returns:
        `SourceValues`.

    Raises:
        ValueError: if there is only one source, a source has no pair left to train on, a candidate has no reward, a
            name is unknown, groups do not match the sources, an option has no effect, or the folder holds another run.

    Example:
        >>> from jaxval import data, sources
        >>> drawn = data.synthetic_preferences(
        ...     jax.random.key(0), contexts=40, responses=4, sources={"experts": 1.0, "copy": "experts", "foes": -0.5})
        >>> found = sources.value_sources(drawn, policy="tabular", beta=1.0)
        >>> bool(found.values[0, 0] > 0 > found.values[2, 0]), bool(abs(found.values[0, 0] - found.values[1, 0]) < 1e-5)
        (True, True)
        >>> found.utilities.shape, found.rewards
        ((8, 2), ('helpful', 'harmless'))
    """
    key = jax.random.key(0) if key is None else _checks.check_key(key)
    _checks.check_flag("progress", progress)
    how = semivalue, groups, permutations, evaluations, arithmetic, reference, truth, unions, fidelity, fidelity_scores
    method = method_of(*how)
    options = Training(**training)
    draw: Any = pairs if callable(pairs) else None
    problem = _problem(draw(jax.random.fold_in(key, 0)) if draw else pairs, policy, options, reward, held_out)
    if folder is not None:
        _checks.check_path("folder", folder)
    if fidelity is not None:
        check_fidelity(fidelity, problem.pairs.sources, fidelity_scores)
    count = _seeds(seeds, problem, policy, drawn=draw is not None)
    repetitions: list[Repetition] = []
    for seed in range(count):
        seed_key, kept = jax.random.fold_in(key, seed), None
        if draw and seed:
            problem = _problem(draw(seed_key), policy, options, reward, held_out)
        if folder is not None:
            kept = run_folder(Path(folder) / f"seed-{seed}", problem, (identity_of(policy), options, seed_key))
        repetitions.append(repeat(problem, method, seed_key, kept, f"seed {seed + 1} of {count}" if progress else ""))
    return summary(problem, repetitions, method, distinct=draw is not None)


def _problem(pairs: Any, policy: Any, options: Training, reward: Any, held_out: Any) -> Problem:
    """The pairs with the held-out prompts, the policy over them, the training and the rewards."""
    pairs = as_pairs(pairs)
    prompts: float | np.ndarray
    if isinstance(held_out, PreferencePairs):
        pairs, prompts = with_held_out(pairs, held_out)
    else:
        expected, share = "a share of the prompts in (0, 1), or pairs", HELD_OUT if held_out is None else held_out
        prompts = float(_checks.check_number("held_out", share, low=1e-9, high=1 - 1e-9, expected=expected))
    learner = learner_of(policy, pairs)
    if not learner.generalises:
        if held_out is not None:
            expected = f"none with {_called(policy)}, which says nothing of prompts without pairs"
            advice = "leave it out: it is evaluated on all prompts that have pairs"
            got = "pairs" if isinstance(held_out, PreferencePairs) else held_out
            raise BadArgument("held_out", expected=expected, got=got, advice=advice)
        prompts = np.unique(np.asarray(pairs.comparisons.context))
    train, random = trainer(learner, pairs, options)
    rewards = resolve_rewards(reward, pairs, learner)
    return Problem(pairs, learner, train, random or learner.random, rewards, prompts)


def _seeds(seeds: int | None, problem: Problem, policy: Any, *, drawn: bool) -> int:
    """The number of seeds, which is 1 if nothing is random."""
    random = drawn or problem.random or isinstance(problem.held_out, float)
    count = _checks.check_size("seeds", (SEEDS if random else 1) if seeds is None else seeds)
    if count > 1 and not random:
        held_out = " and a file of held-out prompts" if problem.learner.generalises else ""
        raise BadArgument("seeds", expected=f"1 with {_called(policy)}{held_out}, where nothing is random", got=count)
    return count


def _called(policy: Any) -> str:
    return "this policy" if callable(policy) else f"the policy {str(policy)!r}"


def run_folder(folder: Path, problem: Problem, how: Any) -> Path:
    """Claim the folder of one seed for its pairs, its training and its key; raises if it holds another run."""
    pairs, number = problem.pairs, jnp.zeros(0).dtype
    # The types of arrays are those of the precision at which the pairs were read, which need not be that of this run.
    *rows, weight = pairs.comparisons
    held_out = problem.held_out if isinstance(problem.held_out, float) else np.asarray(problem.held_out, np.int64)
    whole = [np.asarray(one, np.int64) for one in (*rows, pairs.source)]
    catalogue = pairs.prompts, pairs.responses, whole, np.asarray(weight, number), pairs.sources
    chats = [pairs.chats[prompt] for prompt in pairs.prompts if prompt in pairs.chats]
    content = fingerprint(__version__, str(number), *catalogue, json.dumps(chats), held_out, how)
    try:
        return claim_folder(folder, {"fingerprint": content}, note="run.json")
    except BadArgument as error:
        expected, got = "the unfinished run of these pairs and options", f"{folder}, the folder of another run"
        raise BadArgument("folder", expected=expected, got=got, advice="choose another folder") from error


def summary(problem: Problem, repetitions: list[Repetition], method: Method, *, distinct: bool) -> SourceValues:
    """The mean over seeds, with intervals; `distinct` says whether each seed has its own prompts."""
    by_context = {name: [r.by_context[name] for r in repetitions] for name in repetitions[0].by_context}
    by_seed = {name: np.stack([part.mean(axis=0) for part in parts]) for name, parts in by_context.items()}
    values = {name: each.mean(axis=0) for name, each in by_seed.items()}
    tables = {name: [r.utilities[name] for r in repetitions] for name in repetitions[0].utilities}
    evaluations = [len(table) for table in tables["values"]]
    utilities = {
        name: np.mean(parts, axis=0) for name, parts in tables.items() if min(evaluations) == 2 ** len(values["values"])
    }
    prompts = [r.contexts + distinct * i * len(problem.pairs.prompts) for i, r in enumerate(repetitions)]
    ids = np.concatenate(prompts)
    gained = np.mean([table[-1] - table[0] for table in tables["values"]], axis=0)
    scale = np.mean([np.abs(table - table[0]).max(axis=0) for table in tables["values"]], axis=0)
    missing = np.abs(values["values"].sum(axis=0) - gained) / np.where(scale > 0, scale, 1)
    seconds = {name: sum(r.seconds[name] for r in repetitions) for name in repetitions[0].seconds}
    truth = {}
    for name in RETRAININGS if "union" in values else ():
        gap = np.abs(values["values"] - values[name]).max(axis=0)
        ranks = rank_correlation(values["values"], values[name])
        truth[name] = Truth(values[name], utilities[name], gap, ranks, seconds[name])
    pairs = np.mean([r.pairs for r in repetitions], axis=0)
    fidelity, judged = None, [r.judged for r in repetitions if r.judged is not None]
    if judged:
        fidelity = judge(judged, ids, seconds["fidelity"])
    return SourceValues(
        names=problem.pairs.sources,
        rewards=problem.rewards.names,
        values=values["values"],
        context_intervals=over_contexts(np.concatenate(by_context["values"]), ids),
        seed_intervals=over_seeds(by_seed["values"]),
        standard_errors=np.linalg.norm([r.standard_errors for r in repetitions], axis=0) / len(repetitions),
        in_order=values.get("in_order"),
        utilities=utilities.get("values"),
        efficiency_gap=missing if method.semivalue == "shapley" else np.full_like(missing, np.nan),
        by_seed=by_seed["values"],
        pairs=pairs,
        contexts=len(repetitions[0].contexts),
        evaluations=max(evaluations),
        reference_certain=float(np.mean([r.reference_certain for r in repetitions])),
        truth=truth,
        seconds={"training": seconds["training"], "arithmetic": seconds["values"]},
        totals=_totals(method.unions, by_context["values"], by_seed["values"], ids),
        fidelity=fidelity,
        evaluated=tuple(
            r.evaluated._replace(prompts=own)
            for r, own in zip(repetitions, prompts, strict=True)
            if r.evaluated is not None
        ),
    )


def _totals(unions: Any, by_context: list[np.ndarray], by_seed: np.ndarray, ids: np.ndarray) -> tuple[UnionTotals, ...]:
    """The totals of the unions of each level, from the values of the prompts of each seed."""
    if unions is None:
        return ()
    levels = []
    for level in _objects.check_unions(unions, by_seed.shape[1]):
        member = np.eye(level.max() + 1)[level].T  # (unions, sources)
        each = np.concatenate([np.einsum("us,xsk->xuk", member, part) for part in by_context])
        levels.append(UnionTotals(level, member @ by_seed.mean(axis=0), over_contexts(each, ids)))
    return tuple(levels)
