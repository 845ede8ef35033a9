"""The best weights of sources: which mixture of their policies has the largest reward, and its gain on new prompts.

Weights λ stand for the policy π_λ ∝ π_0 Π_ℓ (π_ℓ / π_0)^{λ_ℓ}. A mask is a vector of weights 0 and 1, and real weights
lie between coalitions. `coalitions.reward_utility` and `coalitions.pool_utility` take them, and their gradients are
exact: ∂u/∂λ_ℓ = Cov_{π_λ}(r, log π_ℓ/π_0).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Int
from scipy import optimize, stats

from jaxval import _checks
from jaxval.coalitions import all_coalitions
from jaxval.sources.curation import source_weights
from jaxval.sources.intervals import LEVEL
from jaxval.types import BadArgument
from jaxval.values import shapley

__all__ = ["BestWeights", "best_weights"]

OVER = ("simplex", "box", "subsets")
MOST_TABULATED = 12  # sources of which all coalitions are evaluated
TOLERANCE = 1e-6  # by which a constraint may be missed, relative to its size


class BestWeights(NamedTuple):
    """The best weights of sources, and what the weights gain on prompts that they were not fitted on.

    The names of `utilities`, `held_out` and `gains` are "best", "equal" (every source alike), and, for at most 12
    sources, "coalition" (the best coalition) and "values" (weights in proportion to positive Shapley values, of which
    none is above `most`).

    Attributes:
        weights: (sources,) λ, fitted on all prompts.
        utilities: by name, (rewards,) u on all prompts of the weights fitted on these prompts, which is biased upwards.
        held_out: by name, (rewards,) u on each fold of prompts, of the weights that were fitted on the other folds.
        gains: by name other than "best", (3,) the held-out objective of the best weights minus that of the others, with
            the ends of its 95 % interval over prompts, by Student's t. The interval ignores that the folds' fits share
            prompts. `python -m benchmarks.coverage_weights` measures how often it holds the true gain of the folds'
            weights, and that of the weights fitted on all prompts, which it holds less often.
        others: by name other than "best", (sources,) the weights that the best ones are compared with.
        by_fold: (folds, sources) the weights fitted without each fold. The less the weights vary from fold to fold, the
            more they can be trusted.
        effective_size: the geometric mean over prompts of the effective sample size at λ; None if `best_weights` had no
            `effective_sizes`.
    """

    weights: np.ndarray
    utilities: dict[str, np.ndarray]
    held_out: dict[str, np.ndarray]
    gains: dict[str, np.ndarray]
    others: dict[str, np.ndarray]
    by_fold: np.ndarray
    effective_size: float | None


class _Goal(NamedTuple):
    """What is maximised, over which weights, and under which constraints."""

    sources: int
    over: str
    most: float
    share: np.ndarray  # (rewards,) the weight of each reward in the objective
    floors: dict[int, float]  # the least utility under a reward
    names: list[str]  # of the rewards
    least_effective: float  # 0 if there is no such constraint
    outcome: Callable[[Any, Any], np.ndarray]  # λ, prompts' shares -> (rewards + 1,): u and the log effective size
    slopes: Callable[[Any, Any], np.ndarray]  # its derivative, (rewards + 1, sources)


def best_weights(
    utility: Callable[[Any], Array],
    sources: int,
    *,
    rewards: int | Sequence[str] = 1,
    over: str = "simplex",
    most: float = 1.0,
    objective: Sequence[float] | None = None,
    floors: Mapping[int, float] | None = None,
    effective_sizes: Callable[[Any], Array] | None = None,
    least_effective: float = 10.0,
    prompts: Int[ArrayLike, "rows"] | None = None,
    folds: int = 5,
) -> BestWeights:
    """The weights of sources with the largest expected reward, λ* = argmax_λ Σ_k c_k u_k(λ), and their held-out gain.

    λ ranges over the simplex {λ ≥ 0, Σ λ = 1}, the box [0, most]^n, or the coalitions {0, 1}^n. The function u need
    not be concave: sequential quadratic programming (SciPy's SLSQP, with exact gradients) starts from equal weights,
    from each of the two best single sources, and, for at most 12 sources, from the best coalition and from weights in
    proportion to Shapley values. The best of all starts and ends is kept. Subsets are enumerated instead.

    The weights are fitted to the prompts, so that their utility on these prompts is too large. Cross-validation fits
    the weights without each fold of prompts and evaluates them on that fold. The weights that the best ones are
    compared with are fitted in the same way.

    Source: Tamine et al., section 5, who propose algorithms that weight their data as future work.

    Args:
        utility: a JAX function of weights (sources,) to the utilities (prompts * rewards,), those of one prompt
            together: `coalitions.reward_utility` or `coalitions.pool_utility` with `by_context=True`.
        sources: the number n of sources.
        rewards: the number of rewards, or their names, by which errors call them.
        over: "simplex", "box" or "subsets"; subsets of at most 12 sources.
        most: the largest weight of a source in the box; at weight 1 a source counts as it was trained.
        objective: (rewards,) the weight c_k of each reward; None means the mean of all rewards.
        floors: the least utility by the index of a reward, such as {1: 0.2}; None means none. If no weights reach a
            floor on the prompts without some fold, those nearest to it are taken there.
        effective_sizes: a JAX function of weights to the effective sample size of each prompt (prompts,), for a utility
            from a pool, such as `coalitions.pool_sizes(...)`; None means that there is no sampling.
        least_effective: the least geometric mean over prompts of the effective sizes.
        prompts: (rows,) the id of the prompt of each row of the utility, if several trainings were evaluated on some of
            the prompts. A prompt is in one fold, and intervals redraw prompts. None means a prompt for each row.
        folds: the number of folds of prompts, at least 2.

    Returns:
        `BestWeights`.

    Raises:
        ValueError: if an argument is outside its range, there are fewer prompts than folds, a utility is not finite, or
            no weights reach the floors or the effective size.

    Example:
        >>> from jaxval import coalitions
        >>> rng = np.random.default_rng(0)
        >>> policies = jnp.asarray(rng.normal(size=(3, 40, 5)))  # the reference and two sources
        >>> rewards = 0.5 * policies[1] - policies[1] ** 2 / 8  # what source 0 likes, but not too much of it
        >>> utility = coalitions.reward_utility(policies[0], policies[1:], rewards, by_context=True)
        >>> found = best_weights(utility, 2, over="box", most=4.0)
        >>> bool(found.weights[0] > 1 > found.weights[1]), bool(found.gains["equal"][1] > 0)
        (True, True)
    """
    sources, folds = _checks.check_size("sources", sources), _checks.check_size("folds", folds)
    _checks.check_memory("sources", sources, folds)
    _checks.check_choice("over", over, OVER)
    _checks.check_function("utility", utility, "a function of weights")
    if effective_sizes is not None:
        _checks.check_function("effective_sizes", effective_sizes, "a function of weights")
    most = float(_checks.check_number("most", most, low=1e-6, high=1e6, expected="a finite number above 0"))
    if over == "subsets" and sources > MOST_TABULATED:
        advice = "choose the simplex or the box"
        raise BadArgument("over", expected=f"subsets of at most {MOST_TABULATED} sources", got=sources, advice=advice)
    if not isinstance(rewards, int | np.integer):
        names = list(_checks.check_names("rewards", rewards, "a number, or names"))
    else:
        _checks.check_memory("rewards", _checks.check_size("rewards", rewards))
        names = [f"reward {index}" for index in range(_checks.check_size("rewards", rewards))]
    rewards = _checks.check_size("rewards", len(names))
    by_prompt = jax.jit(lambda weights: _of_rewards(utility(weights), rewards))
    equal = _equal(sources, over, most)
    rows = len(_known(by_prompt(equal)))
    if rows < 2:
        advice = "pass by_context=True to coalitions.reward_utility or coalitions.pool_utility"
        raise BadArgument("utility", expected="utilities of two prompts or more", got=f"{rows}", advice=advice)
    if most != 1 and over != "box":
        raise BadArgument("most", expected="over='box' beside it", got=f"over={over!r}")
    prompt = _check_prompts(prompts, rows)
    if not 2 <= folds <= prompt.max() + 1:
        raise BadArgument("folds", expected=f"a number from 2 to {prompt.max() + 1}, the prompts", got=folds)
    table: Any = None
    size_table: Any = None
    if sources <= MOST_TABULATED:
        masks = all_coalitions(sources).astype(float)
        table = _known(jax.jit(lambda masks: jax.lax.map(by_prompt, masks))(masks))
        if over == "subsets" and effective_sizes is not None:
            size_table = _known(jax.jit(lambda masks: jax.lax.map(effective_sizes, masks))(masks))
    goal = _Goal(
        sources,
        over,
        most,
        _check_objective(objective, rewards),
        _check_floors(floors, rewards),
        names,
        0.0 if effective_sizes is None else float(least_effective),
        *_outcome(by_prompt, effective_sizes, table, size_table),
    )

    def of_rows(weights: np.ndarray) -> np.ndarray:
        row = None if table is None else _coalition(weights)
        return _known(by_prompt(weights)) if row is None else table[row]

    fold = prompt % folds
    whole = _fit(goal, np.full(rows, 1 / rows), table, strict=True)
    parts = [_fit(goal, (fold != k) / (fold != k).sum(), table, strict=False) for k in range(folds)]
    held_out = {name: np.empty((rows, rewards)) for name in whole}
    for k, part in enumerate(parts):
        for name, weights in part.items():
            held_out[name][fold == k] = of_rows(weights)[fold == k]
    gains = {}
    for name in whole:
        if name != "best":
            gains[name] = _mean_with_ends((held_out["best"] - held_out[name]) @ goal.share, prompt)
    size = None
    if effective_sizes is not None:
        size = float(np.exp(np.log(_known(effective_sizes(jnp.asarray(whole["best"])))).mean()))
    return BestWeights(
        weights=whole["best"],
        utilities={name: of_rows(weights).mean(axis=0) for name, weights in whole.items()},
        held_out={name: each.mean(axis=0) for name, each in held_out.items()},
        gains=gains,
        others={name: weights for name, weights in whole.items() if name != "best"},
        by_fold=np.stack([part["best"] for part in parts]),
        effective_size=size,
    )


def _check_prompts(prompts: Any, rows: int) -> np.ndarray:
    """The prompt of each row, numbered from 0 without gaps."""
    if prompts is None:
        return np.arange(rows)
    ids = np.asarray(prompts)
    if ids.shape != (rows,) or ids.dtype.kind not in "iu":
        raise BadArgument("prompts", expected=f"({rows},) ids of prompts", got=f"{ids.dtype} of {ids.shape}")
    return np.unique(ids, return_inverse=True)[1].reshape(-1)


def _mean_with_ends(gains: np.ndarray, prompt: np.ndarray) -> np.ndarray:
    """The mean over rows with the ends of its interval over prompts by Student's t, (3,).

    The standard error is that of a ratio, Σ_x (t_x - n_x m)² for the sum t_x of the n_x rows of prompt x.
    """
    mean, count = gains.mean(), prompt.max() + 1
    apart = np.bincount(prompt, gains - mean)
    error = np.sqrt(count / (count - 1) * (apart**2).sum()) / len(gains)
    reach = stats.t.ppf((1 + LEVEL) / 2, count - 1) * error
    return mean + np.array([0.0, -reach, reach])


def _coalition(weights: np.ndarray) -> int | None:
    """The row of a table with these weights; None if they are not a coalition."""
    inside = np.asarray(weights) == 1
    return int(inside @ (1 << np.arange(len(inside)))) if (inside | (np.asarray(weights) == 0)).all() else None


def _known(array: Any) -> np.ndarray:
    values = np.asarray(array, dtype=np.float64)
    if not np.isfinite(values).all():
        raise BadArgument("utility", expected="finite utilities of every prompt", got=values[~np.isfinite(values)][0])
    return values


def _check_objective(objective: Any, rewards: int) -> np.ndarray:
    if objective is None:
        return np.full(rewards, 1 / rewards)
    share = np.asarray(_checks.floating("objective", objective, ndim=1, expected=f"({rewards},) weights of rewards"))
    if share.shape != (rewards,) or not share.any():
        raise BadArgument("objective", expected=f"{rewards} weights of rewards, not all 0", got=share.tolist())
    return share.astype(np.float64)


def _check_floors(floors: Mapping[int, float] | None, rewards: int) -> dict[int, float]:
    if floors is not None and not isinstance(floors, Mapping):
        raise BadArgument("floors", expected="utilities by the index of a reward", got=f"{floors!r:.80}")
    for reward, floor in (floors or {}).items():
        known = isinstance(reward, int) and reward in range(rewards) and isinstance(floor, int | float | np.number)
        if not known or not np.isfinite(float(floor)):
            expected = f"finite utilities by the index of a reward, 0 to {rewards - 1}"
            raise BadArgument("floors", expected=expected, got=f"{floor} for {reward!r}")
    return dict(floors or {})


def _outcome(by_prompt: Any, effective_sizes: Any, table: Any, size_table: Any) -> tuple[Any, Any]:
    """The utilities and the mean log effective size over prompts with given shares, and their derivative.

    What the tables hold is not evaluated again.
    """

    def outcome(weights: Array, shares: Array) -> Array:
        means = shares @ by_prompt(weights)
        size = jnp.zeros(()) if effective_sizes is None else shares @ jnp.log(effective_sizes(weights))
        return jnp.append(means, size)

    values, slopes = jax.jit(outcome), jax.jit(jax.jacfwd(outcome))

    def of_weights(weights: np.ndarray, shares: np.ndarray) -> np.ndarray:
        tabulated = table is not None and (effective_sizes is None or size_table is not None)
        row = _coalition(weights) if tabulated else None
        if row is None:
            return _known(values(jnp.asarray(weights), jnp.asarray(shares)))
        return np.append(shares @ table[row], 0.0 if size_table is None else shares @ np.log(size_table[row]))

    return of_weights, lambda *at: _known(slopes(*map(jnp.asarray, at)))


def _of_rewards(utilities: Any, rewards: int) -> Array:
    """The utilities as (rows, rewards)."""
    utilities = _checks.numbers("utility", utilities)
    if utilities.size % rewards:
        expected = f"utilities under each of {rewards} rewards"
        raise BadArgument("utility", expected=expected, got=f"shape {utilities.shape}")
    return utilities.reshape(-1, rewards)


def _equal(sources: int, over: str, most: float) -> np.ndarray:
    """Every source alike: shares that sum to one in the simplex, and otherwise every source as it was trained."""
    return np.full(sources, 1 / sources if over == "simplex" else min(1.0, most))


def _fit(goal: _Goal, shares: np.ndarray, table: np.ndarray | None, *, strict: bool) -> dict[str, np.ndarray]:
    """The best weights for prompts with given shares, and those they are compared with.

    If no weights meet the constraints on these prompts, a strict fit raises, and another takes the nearest weights.
    """
    fitted = {"equal": _equal(goal.sources, goal.over, goal.most)}
    starts = [fitted["equal"]]
    if table is not None:
        masks, worth = np.asarray(all_coalitions(goal.sources)), np.einsum("sxk,x,k->s", table, shares, goal.share)
        fitted["coalition"] = masks[worth.argmax()].astype(float)
        values = np.asarray(shapley(worth))
        if (values > 0).any():
            weights = np.asarray(source_weights(values), float) * fitted["equal"][0]
            fitted["values"] = weights * min(1.0, goal.most / weights.max())  # in proportion, and in the box
        else:
            fitted["values"] = np.zeros(goal.sources) if goal.over != "simplex" else fitted["equal"]
        starts += [fitted["values"], fitted["coalition"]]
    single = np.eye(goal.sources) * (1.0 if goal.over == "simplex" else fitted["equal"][0])
    worth_single = [goal.share @ goal.outcome(one, shares)[:-1] for one in single]
    starts += [single[ranked] for ranked in np.argsort(worth_single)[::-1][:2]]
    if goal.over == "subsets":
        candidates = list(np.asarray(all_coalitions(goal.sources)).astype(float))
    else:
        candidates = [end for start in starts for end in (_inside(goal, start), _climb(goal, start, shares))]
    outcomes = np.stack([goal.outcome(weights, shares) for weights in candidates])
    slacks = np.min(np.stack([_slacks(goal, outcome) for outcome in outcomes]), axis=1, initial=np.inf)
    feasible = slacks >= -TOLERANCE
    if strict and not feasible.any():
        raise _unreachable(goal, outcomes)
    feasible = feasible if feasible.any() else slacks >= slacks.max()
    worth = np.where(feasible, outcomes[:, :-1] @ goal.share, -np.inf)
    return {"best": candidates[int(worth.argmax())], **fitted}


def _slacks(goal: _Goal, outcome: np.ndarray) -> np.ndarray:
    """By how much each constraint is met: floors, then the effective size."""
    slacks = [outcome[reward] - floor for reward, floor in goal.floors.items()]
    if goal.least_effective > 0:
        slacks.append(outcome[-1] - np.log(goal.least_effective))
    return np.array(slacks)


def _inside(goal: _Goal, weights: np.ndarray) -> np.ndarray:
    """The weights clipped to the box, or scaled into the simplex."""
    if goal.over == "box":
        return np.clip(weights, 0, goal.most)
    return weights / weights.sum() if weights.sum() > 0 else np.full(goal.sources, 1 / goal.sources)


def _climb(goal: _Goal, start: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The end of a sequential quadratic program from one start."""
    outcome, slopes = _at_last(goal.outcome, shares), _at_last(goal.slopes, shares)
    rows = [*goal.floors, *([-1] if goal.least_effective > 0 else [])]
    constraints = []
    if rows:
        constraints.append(
            {
                "type": "ineq",
                "fun": lambda at: _slacks(goal, outcome(at)),
                "jac": lambda at: slopes(at)[rows],
            }
        )
    if goal.over == "simplex":
        constraints.append({"type": "eq", "fun": lambda at: at.sum() - 1, "jac": np.ones_like})
    result = optimize.minimize(
        lambda at: -goal.share @ outcome(at)[:-1],
        _inside(goal, start),
        jac=lambda at: -goal.share @ slopes(at)[:-1],
        bounds=[(0.0, 1.0 if goal.over == "simplex" else goal.most)] * goal.sources,
        constraints=constraints,
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 200},
    )
    return _inside(goal, np.clip(result.x, 0, None))


def _at_last(function: Callable[[Any, Any], np.ndarray], shares: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The function of weights, which keeps its last result: the objective and the constraints ask at one point."""
    kept = functools.lru_cache(maxsize=1)(lambda point: function(np.frombuffer(point), shares))
    return lambda at: kept(np.asarray(at, np.float64).tobytes())


def _unreachable(goal: _Goal, outcomes: np.ndarray) -> BadArgument:
    """The error that says which constraint no weights met, and how near the search came."""
    slacks = np.stack([_slacks(goal, outcome) for outcome in outcomes])
    nearest = slacks[slacks.min(axis=1).argmax()]
    worst = int(nearest.argmin())
    if worst < len(goal.floors):
        reward = list(goal.floors)[worst]
        reached = f"{goal.floors[reward] + nearest[worst]:.4g} for {goal.names[reward]} at the nearest weights"
        expected = f"floors that some weights reach, not {goal.floors[reward]:g} for {goal.names[reward]}"
        return BadArgument("floors", expected=expected, got=reached)
    reached = f"{goal.least_effective * np.exp(nearest[worst]):.4g} at the nearest weights"
    return BadArgument(
        "least_effective",
        expected=f"an effective size that some weights reach, not {goal.least_effective:g}",
        got=reached,
    )
