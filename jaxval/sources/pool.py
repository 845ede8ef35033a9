"""The value of each source from a pool of sampled responses, or from candidates, with log-probabilities alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxval import _checks
from jaxval._tables import html_table, interval, text_table
from jaxval.coalitions.masks import all_coalitions
from jaxval.coalitions.pool_checks import SLICE, check_pool, pool_faults, wrong_pool
from jaxval.coalitions.pool_errors import PoolEstimates, pool_estimates
from jaxval.coalitions.pools import WeighedPool, label_shares, mixture, weigh_pool
from jaxval.data import SamplePool
from jaxval.sources.repetition import SEMIVALUES
from jaxval.types import BadArgument, Estimate, Groups
from jaxval.values import (
    asymmetric_shapley,
    permutation_estimator,
    regression_estimator,
)

__all__ = ["PoolValues", "value_pool"]

MOST_EXACT = 16  # sources of which all coalitions are evaluated by default
PERMUTATIONS = 64
FLOOR = 10.0  # the median effective sample size below which the utility of a coalition is not to be trusted
SHARE = 0.1  # the share of a value's weight on such coalitions above which the value is unreliable
LEVEL = 0.95


class PoolValues(NamedTuple):
    """The values of sources from a pool, and how far they can be trusted.

    Attributes:
        names: the names of the sources.
        rewards: the names of the rewards.
        values: (sources, rewards) φ, the mean over prompts.
        standard_errors: (sources, rewards) over prompts and draws, and over coalitions if they were sampled; NaN for
            one prompt.
        within_errors: (sources, rewards) standard errors for these prompts and other draws; 0 for candidates.
        sampling_errors: (sources, rewards) standard errors of sampling coalitions; 0 if all were evaluated.
        intervals: (2, sources, rewards) the ends of 95 % intervals from `standard_errors`, by Student's t.
        bias: (sources, rewards) the estimated bias of order 1/m, from halves of the pool; values are not corrected.
        bias_errors: (sources, rewards) the standard errors of that estimate.
        weak_shares: (sources,) the share of the weight of a value that is on weak coalitions, whose median effective
            sample size over prompts is below 10.
        unreliable: (sources,) whether that share is above 10 %.
        coalitions: (coalitions, sources) masks of the coalitions that were evaluated, each once.
        utilities: (coalitions, rewards) u(S).
        utility_errors: (2, coalitions, rewards) standard errors over prompts and within prompts.
        effective_sizes: (coalitions,) the median over prompts of the effective sample size; None for candidates.
        exact: whether all coalitions were evaluated.
        mean_ratios: the mean of π/q over the draws by the name of a policy; empty for candidates.
        prompts: how many.
        draws: how many.
        faults: what the checks of the pool say against it.
        pool: the pool itself, from which `weigh_sources` evaluates any weights of the sources.
    """

    names: tuple[str, ...]
    rewards: tuple[str, ...]
    values: np.ndarray
    standard_errors: np.ndarray
    within_errors: np.ndarray
    sampling_errors: np.ndarray
    intervals: np.ndarray
    bias: np.ndarray
    bias_errors: np.ndarray
    weak_shares: np.ndarray
    unreliable: np.ndarray
    coalitions: np.ndarray
    utilities: np.ndarray
    utility_errors: np.ndarray
    effective_sizes: np.ndarray | None
    exact: bool
    mean_ratios: dict[str, tuple[float, float]]
    prompts: int
    draws: int
    faults: tuple[str, ...]
    pool: SamplePool

    def __str__(self) -> str:
        """The table that `print` shows: values with intervals; † marks those that rest on few draws."""
        return text_table(*self._table())

    def _repr_html_(self) -> str:
        """The same table for a notebook."""
        return html_table(*self._table())

    def _table(self) -> tuple[list[str], list[list[str]], list[str]]:
        columns = ["source", *(word for reward in self.rewards for word in (reward, "95 %"))]
        rows = []
        for i, name in enumerate(self.names):
            mark = " †" if self.unreliable[i] else ""
            ends = (interval(*self.intervals[:, i, k]) for k in range(len(self.rewards)))
            told = zip((f"{value:.4g}{mark}" for value in self.values[i]), ends, strict=True)
            rows.append([name, *(word for pair in told for word in pair)])
        notes = [f"{self.prompts} prompts, {self.draws} responses, {len(self.coalitions)} coalitions", *self.faults]
        if self.unreliable.any():
            notes.insert(1, "† rests on coalitions to which few draws matter: draw more responses")
        return columns, rows, notes


def value_pool(
    pool: SamplePool,
    *,
    semivalue: str | Callable[[Any], Array] = "shapley",
    groups: Groups | None = None,
    permutations: int | None = None,
    evaluations: int | None = None,
    key: Key[Array, ""] | None = None,
    refuse: bool = True,
) -> PoolValues:
    """The value of each source from a pool of samples, u(S) = E_x E_{y~π_S} r(x, y) for all coalitions from one pool.

    A semivalue is linear in the utilities, and so are the influences of the draws on it. Its error within prompts is
    therefore exact to first order in 1/m, for all coalitions together. Candidates that were given and not drawn have no
    such error.

    A coalition of many or strong sources may give nearly all weight to few draws. Its utility then has an effective
    sample size far below the number of draws, and standard errors that are too small. A value with more than 10 % of
    its weight on coalitions whose median effective size is below 10 is marked as unreliable. More samples, draws from
    the coalition of all sources as a further proposal, or smaller steps help.

    Source: `coalitions.pool_utility`; Tamine et al., equations (3) and (6).

    Args:
        pool: the pool, from `data.read_log_probs`.
        semivalue: "shapley", "banzhaf", "leave-one-out", "beta-shapley" (α = 4, β = 1), or a linear function of a
            table.
        groups: (sources,) the group of each source, group 0 first, for asymmetric Shapley values; None means one group.
        permutations: the number of permutations from which coalitions are sampled, an even number of at least 4. None
            evaluates all coalitions of up to 16 sources, and samples 64 permutations if there are more.
        evaluations: the number of coalitions to which a regression is fitted, in place of permutations.
        key: a random key for permutations and evaluations; None means `jax.random.key(0)`.
        refuse: whether a pool is refused if the mean of π/q over its draws is not 1 for a policy, if labels do not
            agree with the log-probabilities (see `coalitions.pool_diagnostics`), or if a source never differs from the
            reference. Otherwise `faults` tells.

    Returns:
        `PoolValues`.

    Raises:
        ValueError: if the pool is refused, a prompt has only one response, or options do not fit together.

    Example:
        >>> import numpy as np
        >>> from jaxval.data import SamplePool
        >>> log_probs = np.log([[[0.5, 0.5]], [[0.75, 0.25]], [[0.5, 0.5]]])
        >>> pool = SamplePool(
        ...     ("2+2?",), ("school", "noise"), ("right",), log_probs, np.array([[[1.0], [0.0]]]),
        ...     np.zeros((1, 2)), None, (), np.zeros((0, 1, 2)), True, "sums")
        >>> value_pool(pool, refuse=False).values.round(4).tolist()
        [[0.25], [0.0]]
    """
    key = jax.random.key(0) if key is None else _checks.check_key(key)
    _checks.check_record("pool", pool, SamplePool)
    sources = len(_checks.check_names("pool.sources", pool.sources, "the names of the sources"))
    if (policies := np.shape(pool.log_probs)[:1]) != (sources + 1,):
        raise BadArgument("pool.sources", expected=f"a name for each of {policies} policies but the first", got=sources)
    linear = _linear_map(sources, semivalue, groups, permutations, evaluations, key)
    proposal, shares = pool_log_q(pool)
    ratios, faults = _faults(pool, proposal, shares)
    if _checks.check_flag("refuse", refuse) and faults:
        raise wrong_pool("pool", faults)
    drawn = proposal < np.inf
    if drawn.sum(axis=1).min() < 2:
        got = f"one to prompt {int(drawn.sum(axis=1).argmin())}"
        raise BadArgument("pool", expected="at least two responses to every prompt", got=got)
    result = pool_estimates(_weighed(pool, proposal), linear.masks, linear.contributions, labels=pool.drawn_from)
    return _summary(pool, linear, result, ratios, faults, int(drawn.sum()))


class _LinearMap(NamedTuple):
    """Values as a linear function of utilities.

    Attributes:
        masks: (coalitions, sources).
        contributions: (sources, coalitions).
        exact: whether the masks are all coalitions.
        estimate: the estimate from the utilities of sampled coalitions; None if exact.
    """

    masks: np.ndarray
    contributions: np.ndarray
    exact: bool
    estimate: Callable[[Any], Estimate] | None


def _linear_map(
    sources: int, semivalue: Any, groups: Any, permutations: int | None, evaluations: int | None, key: Any
) -> _LinearMap:
    if permutations is not None and evaluations is not None:
        raise BadArgument("evaluations", expected="permutations or evaluations", got="both", advice="give only one")
    if not callable(semivalue):
        _checks.check_choice("semivalue", semivalue, SEMIVALUES)
    if semivalue != "shapley" and groups is not None:
        got = "this function" if callable(semivalue) else f"{semivalue!r}"
        raise BadArgument("semivalue", expected="shapley with groups, for asymmetric values", got=got)
    sampled = permutations is not None or evaluations is not None
    if not sampled and sources <= MOST_EXACT:
        of_table: Any = semivalue if callable(semivalue) else SEMIVALUES[semivalue]
        if groups is not None:
            of_table = functools.partial(asymmetric_shapley, groups=groups)
        # A linear function is its derivative, at any table.
        contributions = np.asarray(jax.jit(jax.jacrev(of_table))(jnp.zeros(2**sources)))
        probe = np.random.default_rng(0).uniform(size=2**sources)  # two linear functions that agree here are the same
        if callable(semivalue) and not np.allclose(of_table(jnp.asarray(probe)), contributions @ probe, atol=1e-4):
            raise BadArgument("semivalue", expected="a linear function of a table", got="one that is not linear")
        return _LinearMap(np.asarray(all_coalitions(sources)), contributions, True, None)
    if semivalue != "shapley":
        raise BadArgument(
            "semivalue", expected="shapley if coalitions are sampled", got=f"{semivalue!r} of {sources} sources"
        )
    if evaluations is not None:
        return _regressed(sources, groups, evaluations, key)
    return _permuted(sources, groups, PERMUTATIONS if permutations is None else permutations, key)


def _permuted(sources: int, groups: Any, permutations: int, key: Any) -> _LinearMap:
    """The mean marginals of sampled permutations, which are linear in the utilities."""
    estimator = permutation_estimator(sources, permutations=permutations, groups=groups)
    asked = jax.jit(estimator.ask)(estimator.init(key))

    @jax.jit
    def estimate(utilities: Array) -> Estimate:
        state = estimator.init(key, utilities.shape[1:])
        return estimator.estimate(estimator.tell(state, asked, utilities))

    contributions = jax.jit(jax.jacrev(lambda table: estimate(table).values))(jnp.zeros(len(asked)))
    return _distinct(np.asarray(asked), np.asarray(contributions), estimate)


def _regressed(sources: int, groups: Any, evaluations: int, key: Any) -> _LinearMap:
    """A regression on sampled coalitions.

    The adjusted values are no linear function of the utilities, but the errors of the utilities carry over to them as
    to any values of the same game: by least squares on the same coalitions, which is one.
    """
    adjusted, least_squares = (
        regression_estimator(sources, evaluations=evaluations, groups=groups, method=method)
        for method in ("adjusted", "least_squares")
    )
    asked = adjusted.ask(adjusted.init(key))

    def of(estimator: Any, utilities: Any) -> Estimate:
        state = estimator.init(key, np.shape(utilities)[1:])
        return estimator.estimate(estimator.tell(state, asked, jnp.asarray(utilities)))

    contributions = np.asarray(of(least_squares, np.eye(len(asked))).values)
    return _LinearMap(np.asarray(asked), contributions, False, functools.partial(of, adjusted))


def _distinct(asked: np.ndarray, contributions: np.ndarray, estimate: Callable[[Any], Estimate]) -> _LinearMap:
    """The same function of distinct coalitions, each of them once."""
    masks, first = np.unique(asked, axis=0, return_inverse=True)
    first = first.reshape(-1)
    summed = np.zeros((len(contributions), len(masks)))
    np.add.at(summed.T, first, contributions.T.astype(np.float64))
    return _LinearMap(masks, summed, False, lambda utilities: estimate(jnp.asarray(utilities)[first]))


def _weighed(pool: SamplePool, proposal: np.ndarray) -> WeighedPool:
    """The pool in JAX's precision, some prompts at a time, for the differences are taken in float64."""
    together = max(1, SLICE // proposal.shape[1])
    parts = [slice(start, start + together) for start in range(0, len(proposal), together)]
    weighed = [weigh_pool(pool.log_probs[:, part], pool.scores[part], proposal[part]) for part in parts]
    base, steps, rewards, centre = zip(*weighed, strict=True)
    return WeighedPool(
        np.concatenate(base), np.concatenate(steps, axis=1), np.concatenate(rewards), np.concatenate(centre)
    )


def _every(pool: SamplePool) -> np.ndarray:
    """The log-probabilities of all policies and further proposals."""
    if not pool.proposals:
        return pool.log_probs
    return np.concatenate([pool.log_probs, pool.proposal_log_probs])


def pool_log_q(pool: SamplePool) -> tuple[np.ndarray, np.ndarray | None]:
    """(prompts, samples) log q, inf without a draw, and the shares (policies, prompts) if they are known."""
    if pool.drawn_from is None:
        assert pool.proposal is not None
        return pool.proposal, None
    every = _every(pool)
    shares = label_shares(pool.drawn_from, len(every))
    return mixture(every, shares, pool.drawn_from >= 0), shares


def _faults(
    pool: SamplePool, proposal: np.ndarray, shares: np.ndarray | None
) -> tuple[dict[str, tuple[float, float]], tuple[str, ...]]:
    """The mean of π/q of every policy with its error, and what speaks against the pool."""
    drawn = proposal < np.inf
    same = [
        f"{name} never differs from the reference: its adapter may have been loaded and never applied"
        for name, log_probs in zip(pool.sources, pool.log_probs[1:], strict=True)
        if np.array_equal(log_probs[drawn], pool.log_probs[0][drawn])
    ]
    if pool.candidates:
        return {}, tuple(same)
    every = _every(pool)
    names = ["reference", *pool.sources, *pool.proposals]
    checks = check_pool(every, proposal, shares, pool.drawn_from)
    means = zip(names, checks.mean_ratios.tolist(), checks.mean_errors.tolist(), strict=True)
    return {name: (mean, error) for name, mean, error in means}, (*same, *pool_faults(names, checks))


def _summary(
    pool: SamplePool,
    linear: _LinearMap,
    result: PoolEstimates,
    ratios: dict[str, tuple[float, float]],
    faults: tuple[str, ...],
    draws: int,
) -> PoolValues:
    prompts = len(result.values)
    values = result.values.mean(axis=0)
    sampling = np.zeros_like(values)
    if linear.estimate is not None:
        estimate = linear.estimate(result.utilities)
        values, sampling = (np.asarray(part, np.float64) for part in (estimate.values, estimate.standard_errors))
    over = np.full_like(values, np.nan)
    reach = np.nan
    if prompts > 1:
        from scipy.special import stdtrit

        over = result.values.std(axis=0, ddof=1) / np.sqrt(prompts)
        reach = stdtrit(prompts - 1, (1 + LEVEL) / 2)
    errors = np.sqrt(over**2 + sampling**2)
    within, bias, bias_errors = result.within_errors, result.bias, result.bias_errors
    weights = np.abs(linear.contributions)
    weak = (result.median_sizes < FLOOR) & (not pool.candidates)
    shares = weights[:, weak].sum(axis=1) / weights.sum(axis=1)
    if pool.candidates:
        within, bias, bias_errors = (np.zeros_like(part) for part in (within, bias, bias_errors))
    return PoolValues(
        names=pool.sources,
        rewards=pool.rewards,
        values=values,
        standard_errors=errors,
        within_errors=within,
        sampling_errors=sampling,
        intervals=values + reach * np.stack([-errors, errors]),
        bias=bias,
        bias_errors=bias_errors,
        weak_shares=shares,
        unreliable=shares > SHARE,
        coalitions=linear.masks,
        utilities=result.utilities,
        utility_errors=result.utility_errors,
        effective_sizes=None if pool.candidates else result.median_sizes,
        exact=linear.exact,
        mean_ratios=ratios,
        prompts=prompts,
        draws=draws,
        faults=faults,
        pool=pool,
    )
