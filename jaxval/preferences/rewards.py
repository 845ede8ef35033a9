"""Bradley-Terry rewards by Newton's method on counts of wins."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from jaxval import _checks
from jaxval.preferences.ballots import check_wins
from jaxval.preferences.newton import damped_newton
from jaxval.preferences.profiles import reachable
from jaxval.types import BadArgument, Number, Wins

__all__ = ["BradleyTerryDiagnostics", "bradley_terry", "bradley_terry_solve"]

ContextWins = Float[ArrayLike, "contexts alternatives alternatives"]

MAX_STEPS = 1000  # a difference of rewards d takes about 1.5 d steps: enough for the largest counts of float64


class BradleyTerryDiagnostics(NamedTuple):
    """How the fit went.

    Attributes:
        converged: whether the last Newton step moved no difference of rewards by more than 1e-11 (1e-5 in float32). If
            a reward is above 1, this tolerance is multiplied by the largest reward.
        strongly_connected: whether wins lead from every alternative to every other; else no finite maximum exists
            without a ridge.
        standard_errors: (alternatives,) of the mean-zero rewards, from the inverse Fisher information.
        steps: Newton steps taken.
        last_step: the largest change of a difference of rewards in the last step.
    """

    converged: Bool[Array, ""]
    strongly_connected: Bool[Array, ""]
    standard_errors: Float[Array, "alternatives"]
    steps: Int[Array, ""]
    last_step: Float[Array, ""]


def bradley_terry(wins: Wins | ContextWins, *, ridge: Number = 0.0) -> Float[Array, "*contexts alternatives"]:
    """Maximum-likelihood rewards of P(i ≻ j) = exp(r_i) / (exp(r_i) + exp(r_j)), mean zero in each context.

    With a ridge ρ > 0 the rewards minimise -Σ wins[i, j] log P(i ≻ j) + ρ/2 Σ r_i², which has a minimum whatever the
    counts are.

    If the alternatives are responses to prompts, the tabular optimum of DPO on the same comparisons is
    `alignment.kl_policy(reference, rewards, beta=beta)`.

    Source: Kim et al., section 2.2; Tamine et al., equation (4); existence is Ford's (1957) condition of strong
    connectivity.

    Args:
        wins: (alternatives, alternatives) counts, `wins[i, j]` times that i beat j; or (contexts, alternatives,
            alternatives), each context by itself.
        ridge: ρ ≥ 0.

    Returns:
        (alternatives,) rewards that sum to zero, or (contexts, alternatives). Inside `jit`, rewards without a finite
        maximum are NaN throughout.

    Raises:
        ValueError: if counts are negative or not square, the ridge is negative, or (without a ridge, outside `jit`) no
            finite maximum exists because some alternatives never lose to the others.
        RuntimeError: if Newton's method did not converge (outside `jit`).

    Example:
        >>> [round(float(reward), 4) for reward in bradley_terry([[0.0, 3.0], [1.0, 0.0]])]  # half of log 3
        [0.5493, -0.5493]
    """
    rewards, diagnostics = bradley_terry_solve(wins, ridge=ridge)
    if not _checks.concrete(rewards):
        return rewards
    tables = np.asarray(wins).reshape(-1, *rewards.shape[-1:] * 2)
    apart = np.flatnonzero(~np.asarray(diagnostics.strongly_connected))
    if apart.size and not np.any(np.asarray(ridge) > 0):
        closed = np.flatnonzero(_unbeaten(tables[apart[0]]))
        raise BadArgument(
            "wins",
            expected="comparisons that connect every alternative to every other by wins",
            got=(
                f"{f'contexts {_first(apart)} with ' if rewards.ndim == 2 else ''}alternatives {_first(closed)} that "
                "never lose to the rest, so no finite rewards exist"
            ),
            advice="drop them, compare more, or add a prior count to every pair (wins + 0.1), or pass ridge=0.1",
        )
    stuck = np.flatnonzero(~np.asarray(diagnostics.converged))
    if stuck.size:
        raise RuntimeError(
            f"bradley_terry did not converge in {MAX_STEPS} Newton steps "
            f"{f'in contexts {_first(stuck)} ' if rewards.ndim == 2 else ''}(last step "
            f"{float(np.ravel(diagnostics.last_step)[stuck[0]]):.2g}): the counts span more orders of magnitude than "
            f"{rewards.dtype} can tell apart; add a prior count to every pair (wins + 0.1), or call "
            "jax.config.update('jax_enable_x64', True); bradley_terry_solve(wins) returns NaN and the diagnostics of "
            "the fit"
        )
    return rewards


def bradley_terry_solve(
    wins: Wins | ContextWins, *, ridge: Number = 0.0
) -> tuple[Float[Array, "*contexts alternatives"], BradleyTerryDiagnostics]:
    """`bradley_terry` with its diagnostics; rewards and standard errors are NaN throughout if it did not converge.

    Newton's method on the concave log-likelihood Σ wins[i, j] log σ(r_i - r_j): the Hessian is a graph Laplacian, and
    the step is damped with d its largest difference between two alternatives that were compared; see `damped_newton`.

    Args:
        wins: (alternatives, alternatives) counts, or (contexts, alternatives, alternatives).
        ridge: ρ ≥ 0.

    Returns:
        (rewards, `BradleyTerryDiagnostics`); both have a leading axis (contexts,) if the counts have.

    Raises:
        ValueError: if counts are negative or not square, or the ridge is negative.

    Example:
        >>> rewards, diagnostics = bradley_terry_solve([[0.0, 3.0], [1.0, 0.0]])
        >>> bool(diagnostics.converged), round(float(diagnostics.standard_errors[0]), 3)
        (True, 0.577)
    """
    tables = check_wins(wins, contexts=True)
    ridge = _checks.check_number("ridge", ridge, low=0.0, high=1e30, expected="a number of at least 0")
    return _solve(tables, ridge) if tables.ndim == 2 else jax.vmap(_solve, in_axes=(0, None))(tables, ridge)


@jax.jit
def _solve(wins: Array, ridge: Array) -> tuple[Array, BradleyTerryDiagnostics]:
    alternatives = wins.shape[0]
    wins = wins - jnp.diag(jnp.diag(wins))
    played = wins + wins.T
    ones = jnp.ones((alternatives, alternatives)) / alternatives

    def outcomes(rewards: Array) -> tuple[Array, Array]:
        """P(j ≻ i) at [i, j], and the Hessian of the loss, which is the Fisher information plus the ridge."""
        chance = jax.nn.sigmoid(rewards[:, None] - rewards[None, :])
        other = chance.T  # not 1 - chance, which rounds to 0
        flow = played * chance * other
        return other, jnp.diag(jnp.sum(flow, axis=1)) - flow + ridge * jnp.eye(alternatives)

    def step_of(rewards: Array) -> tuple[Array, Array, Array]:
        other, hessian = outcomes(rewards)
        # Wins times the chance of the other outcome: wins - played * chance would subtract nearly equal numbers.
        pull = wins * other
        gradient = jnp.sum(pull, axis=1) - jnp.sum(pull, axis=0) - ridge * rewards
        scale = jnp.trace(hessian) / alternatives  # lifts the null direction 1 to the size of the others
        step = jnp.linalg.solve(hessian + scale * ones, gradient)
        bend = jnp.max(jnp.where(played > 0, step[:, None] - step[None, :], 0))
        return step - jnp.mean(step), jnp.max(step) - jnp.min(step), bend

    connected = jnp.all(reachable(wins > 0))
    feasible = connected | (ridge > 0)
    rewards, converged, steps, size = damped_newton(
        step_of, jnp.zeros(alternatives), feasible=feasible, max_steps=MAX_STEPS
    )
    hessian = outcomes(rewards)[1]
    scale = jnp.where(feasible, jnp.trace(hessian) / alternatives, 1.0)
    scale = jnp.where(scale > 0, scale, 1.0)  # one alternative
    covariance = jnp.linalg.inv(jnp.where(feasible, hessian, jnp.eye(alternatives)) + scale * ones) - ones / (
        scale + ridge
    )
    errors = jnp.sqrt(jnp.maximum(jnp.diag(covariance), 0))
    rewards, errors = (jnp.where(converged, value, jnp.nan) for value in (rewards, errors))
    return rewards, BradleyTerryDiagnostics(converged, connected, errors, steps, size)


def _unbeaten(wins: np.ndarray) -> np.ndarray:
    """A smallest set of alternatives that never lose to the rest: it contains all that beat one of its members."""
    reach = np.asarray(reachable(jnp.asarray(wins.T > 0)))  # reach[i, j]: a chain of defeats leads from i to j
    return reach[reach.sum(axis=1).argmin()]


def _first(numbers: np.ndarray) -> str:
    return f"{numbers[:10].tolist()}{' and more' if len(numbers) > 10 else ''}"
