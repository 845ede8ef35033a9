"""Bradley-Terry rewards by Newton's method on counts of wins."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxval import _checks
from jaxval.preferences.ballots import check_wins
from jaxval.preferences.profiles import reachable
from jaxval.types import BadArgument, Wins

__all__ = ["BradleyTerryDiagnostics", "bradley_terry", "bradley_terry_solve"]

MAX_STEPS = 1000  # a difference of rewards d takes about 1.5 d steps: enough for the largest counts of float64


class BradleyTerryDiagnostics(NamedTuple):
    """How the fit went.

    Attributes:
        converged: whether the last Newton step moved no difference of rewards by more than 1e-11 (1e-5 in float32), or
            by more than that share of the largest reward where it is above 1.
        strongly_connected: whether wins lead from every alternative to every other; else no finite maximum exists.
        standard_errors: (alternatives,) of the mean-zero rewards, from the inverse Fisher information.
        steps: Newton steps taken.
        last_step: the largest change of a difference of rewards in the last step.
    """

    converged: Bool[Array, ""]
    strongly_connected: Bool[Array, ""]
    standard_errors: Float[Array, "alternatives"]
    steps: Int[Array, ""]
    last_step: Float[Array, ""]


def bradley_terry(wins: Wins) -> Float[Array, "alternatives"]:
    """Maximum-likelihood rewards of P(i ≻ j) = exp(r_i) / (exp(r_i) + exp(r_j)), mean zero.

    Source: Kim et al., section 2.2; existence is Ford's (1957) condition of strong connectivity.

    Args:
        wins: (alternatives, alternatives) counts, `wins[i, j]` times that i beat j.

    Returns:
        (alternatives,) rewards that sum to zero; NaN throughout inside `jit` where there is no finite maximum.

    Raises:
        ValueError: if counts are negative or not square, or no finite maximum exists because some alternatives
            never lose to the others (outside `jit`).
        RuntimeError: if Newton's method did not converge (outside `jit`).

    Example:
        >>> [round(float(reward), 4) for reward in bradley_terry([[0.0, 3.0], [1.0, 0.0]])]  # half of log 3
        [0.5493, -0.5493]
    """
    rewards, diagnostics = bradley_terry_solve(wins)
    if not _checks.concrete(rewards):
        return rewards
    if not diagnostics.strongly_connected:
        closed = np.flatnonzero(_unbeaten(np.asarray(wins)))
        raise BadArgument(
            "wins",
            expected="comparisons that connect every alternative to every other by wins",
            got=(
                f"alternatives {closed[:10].tolist()}{' and more' if len(closed) > 10 else ''} that never "
                "lose to the rest, so no finite rewards exist"
            ),
            advice="drop them, compare more, or add a prior count to every pair (wins + 0.1)",
        )
    if not diagnostics.converged:
        raise RuntimeError(
            f"bradley_terry did not converge in {MAX_STEPS} Newton steps (last step "
            f"{float(diagnostics.last_step):.2g}): the counts span more orders of magnitude than {rewards.dtype} can "
            "tell apart; add a prior count to every pair (wins + 0.1), or call jax.config.update('jax_enable_x64', "
            "True); bradley_terry_solve(wins) returns NaN and the diagnostics of the fit"
        )
    return rewards


def bradley_terry_solve(
    wins: Wins,
) -> tuple[Float[Array, "alternatives"], BradleyTerryDiagnostics]:
    """`bradley_terry` with its diagnostics; rewards and standard errors are NaN throughout if it did not converge.

    Newton's method on the concave log-likelihood Σ wins[i, j] log σ(r_i - r_j): the Hessian is a graph Laplacian, and
    the step is damped by log(1 + d) / d with d its largest difference between two alternatives that were compared,
    which keeps it monotone (Sun and Tran-Dinh, 2019).

    Args:
        wins: (alternatives, alternatives) counts.

    Returns:
        (rewards (alternatives,), `BradleyTerryDiagnostics`).

    Raises:
        ValueError: if counts are negative or not square.

    Example:
        >>> rewards, diagnostics = bradley_terry_solve([[0.0, 3.0], [1.0, 0.0]])
        >>> bool(diagnostics.converged), round(float(diagnostics.standard_errors[0]), 3)
        (True, 0.577)
    """
    return _solve(check_wins(wins))


@jax.jit
def _solve(wins: Array) -> tuple[Array, BradleyTerryDiagnostics]:
    alternatives = wins.shape[0]
    wins = wins - jnp.diag(jnp.diag(wins))
    played = wins + wins.T
    limit = 1e-11 if wins.dtype == jnp.float64 else 1e-5
    ones = jnp.ones((alternatives, alternatives)) / alternatives

    def chances(rewards: Array) -> Array:
        return jax.nn.sigmoid(rewards[:, None] - rewards[None, :])

    def information(chance: Array) -> Array:
        flow = played * chance * chance.T  # not chance (1 - chance), which is 0 where the chance rounds to 1
        return jnp.diag(jnp.sum(flow, axis=1)) - flow

    def newton(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        rewards, _, steps = state
        chance = chances(rewards)
        # Wins times the chance of the other outcome: wins - played * chance would subtract nearly equal numbers.
        pull = wins * chance.T
        gradient = jnp.sum(pull - pull.T, axis=1)
        hessian = information(chance)
        scale = jnp.trace(hessian) / alternatives  # lifts the null direction 1 to the size of the others
        step = jnp.linalg.solve(hessian + scale * ones, gradient)
        size = jnp.max(jnp.where(played > 0, jnp.abs(step[:, None] - step[None, :]), 0))
        damping = jnp.where(size > 0, jnp.log1p(size) / jnp.where(size > 0, size, 1), 1)
        rewards = rewards + damping * step
        return rewards - jnp.mean(rewards), jnp.max(step) - jnp.min(step), steps + 1

    def allowed(rewards: Array) -> Array:
        return limit * jnp.maximum(jnp.max(jnp.abs(rewards)), 1)

    def unfinished(state: tuple[Array, Array, Array]) -> Array:
        rewards, size, steps = state
        return (size > allowed(rewards)) & (steps < MAX_STEPS)

    connected = jnp.all(reachable(wins > 0))
    start = (jnp.zeros(alternatives), jnp.where(connected, jnp.inf, 0.0), jnp.asarray(0))
    rewards, size, steps = jax.lax.while_loop(unfinished, newton, start)
    converged = connected & (size <= allowed(rewards)) & jnp.all(jnp.isfinite(rewards))
    hessian = information(chances(rewards))
    scale = jnp.where(connected, jnp.trace(hessian) / alternatives, 1.0)
    scale = jnp.where(scale > 0, scale, 1.0)  # one alternative
    covariance = jnp.linalg.inv(jnp.where(connected, hessian, jnp.eye(alternatives)) + scale * ones) - ones / scale
    errors = jnp.sqrt(jnp.maximum(jnp.diag(covariance), 0))
    rewards, errors = (jnp.where(converged, value, jnp.nan) for value in (rewards, errors))
    return rewards, BradleyTerryDiagnostics(converged, connected, errors, steps, size)


def _unbeaten(wins: np.ndarray) -> np.ndarray:
    """A set of alternatives that never loses to the rest: the smallest set closed under being beaten by."""
    reach = np.asarray(reachable(jnp.asarray(wins.T > 0)))  # reach[i, j]: a chain of defeats leads from i to j
    return reach[reach.sum(axis=1).argmin()]
