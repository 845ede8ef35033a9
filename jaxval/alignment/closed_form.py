"""Closed forms: the KL-regularised optimum of a reward, and the Bradley-Terry rewards that go into it."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxval import _checks
from jaxval.alignment._pairs import PerPair, check_log_probs
from jaxval.preferences import BradleyTerryDiagnostics, bradley_terry_solve, count_wins
from jaxval.types import BadArgument, Comparisons, Number

__all__ = ["bradley_terry", "bradley_terry_rewards", "bradley_terry_rewards_solve", "context_wins", "kl_policy"]

Wins = Float[ArrayLike, "contexts responses responses"] | list
LogProbs = Float[ArrayLike, "*batch responses"] | list


def kl_policy(reference: LogProbs, rewards: LogProbs, *, beta: Number) -> Float[Array, "*batch responses"]:
    """The optimum of a reward near a reference policy, log π(y|x) = log π0(y|x) + r(x, y)/β - log Z(x).

    It maximises E_π r(x, y) - β KL(π(.|x) || π0(.|x)). β = ∞ gives the reference, normalised; β = 0 the limit: the best
    responses among those that the reference can give, where rewards closer than the tolerance (1e-9 in float64, 1e-5
    in float32) are equal and share in proportion to the reference. A response at -inf in the reference stays at -inf,
    and its reward is not looked at.

    Source: Tamine et al., equation (5).

    Args:
        reference: (..., responses) log π0, normalised or not.
        rewards: the same shape, r.
        beta: β in [0, ∞].

    Returns:
        (..., responses) log-probabilities.

    Raises:
        ValueError: where shapes differ, a reward is not finite, a reference is NaN, +inf or -inf throughout, or β is
            negative.

    Example:
        >>> import numpy as np
        >>> reference = np.log([0.5, 0.25, 0.25])
        >>> [round(float(p), 3) for p in np.exp(kl_policy(reference, [0.0, np.log(2), np.log(2)], beta=1.0))]
        [0.333, 0.333, 0.333]
        >>> [round(float(p), 3) for p in np.exp(kl_policy(reference, [1.0, 1.0, 0.0], beta=0.0))]
        [0.667, 0.333, 0.0]
    """
    base, rewards = _check_tilt(reference, rewards)
    beta = _checks.check_number("beta", beta, low=0, high=jnp.inf, expected="a number in [0, inf]")
    possible = base > -jnp.inf
    rewards = jnp.where(possible, rewards, 0)
    best = jnp.max(jnp.where(possible, rewards, -jnp.inf), axis=-1, keepdims=True)
    gain = rewards - jax.lax.stop_gradient(best)  # at most 0, so that a small β overflows to -inf and not to +inf
    greedy = jnp.where(gain >= -_checks.tolerance(base.dtype), 0, -jnp.inf)
    tilt = jnp.where(beta == 0, greedy, gain / jnp.where(beta == 0, 1, beta))
    return jax.nn.log_softmax(base + tilt, axis=-1)


def bradley_terry(chosen_reward: PerPair, rejected_reward: PerPair) -> Float[Array, "..."]:
    """The Bradley-Terry loss of one pair, -log σ(r(x, y+) - r(x, y-)); DPO is this loss of its implicit rewards.

    Source: Tamine et al., equation (4).

    Args:
        chosen_reward: r(x, y+), a scalar or any shape.
        rejected_reward: r(x, y-).

    Returns:
        The loss, of the same shape.

    Raises:
        ValueError: where a reward is not finite or shapes differ.

    Example:
        >>> round(float(bradley_terry(1.0, 1.0)), 4)
        0.6931
    """
    chosen, rejected = check_log_probs(chosen_reward=chosen_reward, rejected_reward=rejected_reward)
    return -jax.nn.log_sigmoid(chosen - rejected)


def context_wins(
    comparisons: Comparisons, *, contexts: int, responses: int
) -> Float[Array, "contexts responses responses"]:
    """How often response i was preferred to j in each context: wins[x, i, j] = Σ weight 1{context = x, i beats j}.

    Args:
        comparisons: `Comparisons`, all fields (comparisons,); winner and loser are the numbers of responses.
        contexts: how many contexts there are.
        responses: how many responses each has.

    Returns:
        (contexts, responses, responses) counts.

    Raises:
        ValueError: where lengths differ, an index is out of range, chosen and rejected are the same, or a weight is
            negative.

    Example:
        >>> comparisons = Comparisons(context=[0, 1], winner=[0, 1], loser=[1, 0], weight=[1.0, 2.0])
        >>> context_wins(comparisons, contexts=2, responses=2).tolist()
        [[[0.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [2.0, 0.0]]]
    """
    contexts, responses = _checks.check_size("contexts", contexts), _checks.check_size("responses", responses)
    count_wins(comparisons, alternatives=responses)  # its checks are ours
    context = _checks.integers("comparisons.context", comparisons.context, ndim=1, expected="(comparisons,) integers")
    winner, loser = jnp.asarray(comparisons.winner), jnp.asarray(comparisons.loser)
    if context.shape != winner.shape:
        raise BadArgument("comparisons.context", expected=f"the length of winner, {winner.shape}", got=context.shape)
    if _checks.concrete(context) and context.size:
        low, high = np.asarray(context).min(), np.asarray(context).max()
        if low < 0 or high >= contexts:
            raise BadArgument("comparisons.context", expected=f"indices in 0..{contexts - 1}", got=f"{low} to {high}")
    weight = jnp.asarray(comparisons.weight, dtype=float)
    return jnp.zeros((contexts, responses, responses)).at[context, winner, loser].add(weight)


def bradley_terry_rewards(wins: Wins) -> Float[Array, "contexts responses"]:
    """Maximum-likelihood rewards of every context, r̂ = argmax Σ wins[x, i, j] log σ(r(x, i) - r(x, j)).

    They sum to zero in each context. With a temperature β the tabular
    optimum of DPO on the same comparisons is `kl_policy(reference, r̂, beta=beta)`.

    Source: Tamine et al., equation (4).

    Args:
        wins: (contexts, responses, responses) counts, as `context_wins` gives them.

    Returns:
        (contexts, responses) rewards; inside `jit`, NaN throughout a context that has no finite maximum.

    Raises:
        ValueError: where counts are negative or of another shape, or a context has no finite maximum because some of
            its responses never lose to the others (outside `jit`).
        RuntimeError: where Newton's method did not converge (outside `jit`).

    Example:
        >>> rewards = bradley_terry_rewards([[[0.0, 3.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]])
        >>> [[round(float(reward), 4) for reward in row] for row in rewards]  # half of log 3
        [[0.5493, -0.5493], [0.0, 0.0]]
    """
    rewards, diagnostics = bradley_terry_rewards_solve(wins)
    if not _checks.concrete(rewards):
        return rewards
    apart = np.flatnonzero(~np.asarray(diagnostics.strongly_connected))
    if apart.size:
        raise BadArgument(
            "wins",
            expected="comparisons that connect every response of a context to every other by wins",
            got=(
                f"contexts {apart[:10].tolist()}{' and more' if apart.size > 10 else ''} that do not, so no "
                "finite rewards exist there"
            ),
            advice="drop them, compare more, or add a prior count to every pair (wins + 0.1)",
        )
    stuck = np.flatnonzero(~np.asarray(diagnostics.converged))
    if stuck.size:
        raise RuntimeError(
            f"bradley_terry_rewards did not converge in contexts {stuck[:10].tolist()}; "
            "bradley_terry_rewards_solve(wins) returns NaN there, the other contexts' rewards, and the diagnostics"
        )
    return rewards


def bradley_terry_rewards_solve(
    wins: Wins,
) -> tuple[Float[Array, "contexts responses"], BradleyTerryDiagnostics]:
    """`bradley_terry_rewards` with the diagnostics of every context; NaN where a context did not converge.

    Args:
        wins: (contexts, responses, responses) counts.

    Returns:
        (rewards (contexts, responses), `BradleyTerryDiagnostics` with a leading axis (contexts,)).

    Raises:
        ValueError: where counts are negative or of another shape.

    Example:
        >>> rewards, diagnostics = bradley_terry_rewards_solve([[[0.0, 3.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]])
        >>> diagnostics.converged.tolist()
        [True, False]
    """
    expected = "counts of wins (contexts, responses, responses)"
    array = _checks.floating("wins", wins, ndim=3, expected=expected)
    if array.shape[1] != array.shape[2] or 0 in array.shape:
        raise BadArgument("wins", expected=expected, got=f"shape {array.shape}")
    if _checks.concrete(array) and np.asarray(array).min() < 0:
        raise BadArgument("wins", expected="non-negative counts", got=f"{np.asarray(array).min():g}")
    return jax.vmap(bradley_terry_solve)(array)


def _check_tilt(reference: LogProbs, rewards: LogProbs) -> tuple[Array, Array]:
    base, gains = (
        jnp.asarray(_numbers(name, value), dtype=float)
        for name, value in (("reference", reference), ("rewards", rewards))
    )
    if base.ndim == 0 or base.shape[-1] == 0:
        raise BadArgument("reference", expected="log-probabilities (..., responses)", got=f"shape {base.shape}")
    if gains.shape != base.shape:
        raise BadArgument("rewards", expected=f"the shape of reference, {base.shape}", got=gains.shape)
    if _checks.concrete(base):
        values = np.asarray(base)
        if np.isnan(values).any() or (values == np.inf).any():
            raise BadArgument("reference", expected="log-probabilities, finite or -inf", got="NaN or inf")
        if (values == -np.inf).all(axis=-1).any():
            raise BadArgument(
                "reference", expected="at least one response above -inf in every row", got="a row without"
            )
        if _checks.concrete(gains) and not np.isfinite(np.asarray(gains)[values > -np.inf]).all():
            raise BadArgument(
                "rewards", expected="finite numbers where the reference is above -inf", got="NaN or infinity"
            )
    return base, gains


def _numbers(name: str, value: LogProbs) -> ArrayLike:
    if isinstance(value, jax.Array):
        return value
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise BadArgument(name, expected="numbers (..., responses)", got=type(value).__name__) from None
