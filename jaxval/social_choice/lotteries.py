"""Maximal lotteries: the equilibria of the symmetric zero-sum game P - 1/2, without a linear program per matrix.

With K = P - Pᵀ the equilibria are {p ∈ Δ : Kᵀp ≥ 0}. An interior-point method follows their central path,

    s = Kᵀp + τ1,  1ᵀp = 1,  p_i s_i = μ,  μ → 0,

on which τ = Mμ, because pᵀKp = 0. The path ends in the analytic centre of the equilibria: a choice among them that
knows no names, so that ties are shared and renaming the alternatives renames the lottery.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import lu_factor, lu_solve
from jaxtyping import Array, Bool, Float, Int

from jaxval import _checks
from jaxval.types import Lottery, Matrix, Vector

__all__ = ["LotteryDiagnostics", "c1_maximal_lottery", "exploitability", "maximal_lottery", "maximal_lottery_solve"]

MAX_STEPS = 60
CENTRING_STEPS = 8
EXPLOITABLE = {32: 1e-5, 64: 1e-9}


class LotteryDiagnostics(NamedTuple):
    """How far the lottery is from an equilibrium.

    Attributes:
        converged: whether the exploitability is at most 1e-9 (1e-5 in float32).
        exploitability: how much the best reply wins above one half.
        steps: Newton steps taken.
    """

    converged: Bool[Array, ""]
    exploitability: Float[Array, ""]
    steps: Int[Array, ""]


def exploitability(matrix: Matrix, lottery: Vector) -> Float[Array, ""]:
    """How much the best reply to a lottery wins above one half, max_j Σ_i P(j ≻ i) p_i - 1/2; zero at equilibrium.

    Args:
        matrix: (alternatives, alternatives) preference function.
        lottery: (alternatives,) probabilities.

    Returns:
        A number in [0, 1/2].

    Raises:
        ValueError: where the matrix is no preference function, or the lottery has another length.

    Example:
        >>> float(exploitability([[0.5, 0.75], [0.25, 0.5]], [0.0, 1.0]))
        0.25
    """
    matrix = _checks.check_matrix(matrix)
    return _exploitability(matrix - matrix.T, _checks.check_lottery(lottery, matrix.shape[0]))


def maximal_lottery(matrix: Matrix) -> Lottery:
    """NLHF: the lottery that no other beats, max_p min_q Σ_ij p_i P(i ≻ j) q_j.

    Where several are, the analytic centre of their set, which is symmetric under renaming.

    Source: Kim et al., section 2.2; Kreweras (1965), Fishburn (1984).

    Args:
        matrix: (alternatives, alternatives) preference function.

    Returns:
        (alternatives,) lottery; NaN throughout inside `jit` and `vmap` where the method did not converge.

    Raises:
        ValueError: where the matrix is no preference function.
        RuntimeError: where the method did not converge (outside `jit` and `vmap`).

    Example:
        >>> cycle = [[0.5, 0.6, 0.2], [0.4, 0.5, 0.8], [0.8, 0.2, 0.5]]
        >>> [round(float(p), 4) for p in maximal_lottery(cycle)]
        [0.4286, 0.4286, 0.1429]
    """
    lottery, diagnostics = maximal_lottery_solve(matrix)
    if _checks.concrete(lottery) and not diagnostics.converged:
        raise RuntimeError(
            f"maximal_lottery did not converge in {MAX_STEPS} steps (exploitability "
            f"{float(diagnostics.exploitability):.2g}); try float64, jax.config.update('jax_enable_x64', True)"
        )
    return lottery


def maximal_lottery_solve(matrix: Matrix) -> tuple[Lottery, LotteryDiagnostics]:
    """`maximal_lottery` with its diagnostics; NaN throughout where it did not converge.

    Args:
        matrix: (alternatives, alternatives) preference function.

    Returns:
        (lottery (alternatives,), `LotteryDiagnostics`).

    Raises:
        ValueError: where the matrix is no preference function.

    Example:
        >>> lottery, diagnostics = maximal_lottery_solve([[0.5, 0.75], [0.25, 0.5]])
        >>> lottery.tolist(), bool(diagnostics.converged)
        ([1.0, 0.0], True)
    """
    return _solve(_checks.check_matrix(matrix))


def c1_maximal_lottery(matrix: Matrix) -> Lottery:
    """Maximal lottery of the majority relation alone: P is replaced by 1, 1/2 or 0 as i beats, ties or loses to j.

    Source: Fisher and Ryan (1992), Laffond, Laslier and Le Breton (1993), the bipartisan set.

    Args:
        matrix: (alternatives, alternatives) preference function; shares within the tolerance of 1/2 are ties.

    Returns:
        (alternatives,) lottery; NaN throughout inside `jit` and `vmap` where the method did not converge.

    Raises:
        ValueError: where the matrix is no preference function.
        RuntimeError: where the method did not converge (outside `jit` and `vmap`).

    Example:
        >>> cycle = [[0.5, 0.6, 0.2], [0.4, 0.5, 0.8], [0.8, 0.2, 0.5]]
        >>> [round(float(p), 4) for p in c1_maximal_lottery(cycle)]
        [0.3333, 0.3333, 0.3333]
    """
    matrix = _checks.check_matrix(matrix)
    margin = matrix - matrix.T
    majority = jnp.where(jnp.abs(margin) > 2 * _checks.tolerance(matrix.dtype), jnp.sign(margin), 0)
    return maximal_lottery((1 + majority) / 2)


def _exploitability(game: Array, lottery: Array) -> Array:
    """The largest gain; infinite where it is no number, for a compiled maximum may pass over NaN."""
    gains = game @ lottery
    return jnp.where(jnp.all(jnp.isfinite(gains)), jnp.max(gains) / 2, jnp.inf)


@jax.jit
def _solve(matrix: Array) -> tuple[Array, LotteryDiagnostics]:
    game = matrix - matrix.T
    p, s, steps = _follow_central_path(game)
    centred = _centre(game, p, p > s)
    limit = EXPLOITABLE[jnp.finfo(game.dtype).bits]
    centred = jnp.maximum(centred, 0) / jnp.sum(jnp.maximum(centred, 0))
    p = jnp.where(_exploitability(game, centred) <= limit, centred, p / jnp.sum(p))
    exploit = jnp.maximum(_exploitability(game, p), 0)
    converged = exploit <= limit
    return jnp.where(converged, p, jnp.nan), LotteryDiagnostics(converged, exploit, steps)


def _follow_central_path(game: Array) -> tuple[Array, Array, Array]:
    """Mehrotra's predictor and corrector on one factorisation a step, until μ is lost in rounding."""
    alternatives = len(game)
    epsilon = jnp.finfo(game.dtype).eps
    enough = epsilon * (1e3 if game.dtype == jnp.float64 else 1)
    border = jnp.ones(alternatives)

    def newton(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        p, s, tau, steps = state
        system = jnp.zeros((alternatives + 1, alternatives + 1))
        system = system.at[:-1, :-1].set(jnp.diag(s / p) + game.T).at[:-1, -1].set(border).at[-1, :-1].set(border)
        factors = lu_factor(system)
        off_path = game.T @ p + tau - s  # zero but for rounding

        def direction(complementarity: Array) -> tuple[Array, Array, Array]:
            solved = lu_solve(factors, jnp.append(complementarity / p - off_path, 1 - jnp.sum(p)))
            dp, dtau = solved[:-1], solved[-1]
            return dp, game.T @ dp + dtau + off_path, dtau

        mu = p @ s / alternatives
        dp, ds, _ = direction(-p * s)
        reach = jnp.minimum(1, _longest(jnp.append(p, s), jnp.append(dp, ds)))
        after = (p + reach * dp) @ (s + reach * ds) / alternatives
        dp, ds, dtau = direction(mu * (after / mu) ** 3 - p * s - dp * ds)
        near = jnp.maximum(0.995, 1 - mu)  # ever nearer to the boundary: the last steps converge quadratically
        reach = jnp.minimum(1, near * _longest(jnp.append(p, s), jnp.append(dp, ds)))
        return p + reach * dp, s + reach * ds, tau + reach * dtau, steps + 1

    def unfinished(state: tuple[Array, Array, Array, Array]) -> Array:
        p, s, _, steps = state
        return (p @ s / alternatives > enough) & (steps < MAX_STEPS)

    p = border / alternatives
    tau = jnp.max(jnp.abs(game)) + 1
    p, s, _, steps = jax.lax.while_loop(unfinished, newton, (p, game.T @ p + tau, tau, jnp.asarray(0)))
    return p, s, steps


def _centre(game: Array, p: Array, support: Array) -> Array:
    """The analytic centre of the equilibria, max Σ_support log p_i + Σ_rest log s_i, by Newton from an equilibrium p.

    Equilibria differ by d with d = 0 off the support, Kᵀd = 0 on it and Σd = 0; where there is one, d = 0. Rounding
    blurs the end of the central path along those directions, so the last steps are taken within them.
    """
    p = jnp.where(support, p, 0)
    p = p / jnp.sum(p)
    among = jnp.where(jnp.outer(support, support), game, 0)
    ones = jnp.outer(support, support) / len(game)
    values, vectors = jnp.linalg.eigh(among @ among.T + ones + jnp.diag(jnp.where(support, 0.0, 1.0)))
    free = vectors * (values < _checks.tolerance(game.dtype))[None, :]
    flat = free @ free.T

    def newton(p: Array) -> Array:
        s = game.T @ p
        at_p, at_s = (
            jnp.where(support, 1 / jnp.where(support, p, 1), 0),
            jnp.where(support, 0, 1 / jnp.where(support, 1, s)),
        )
        gradient = at_p + game @ at_s
        hessian = jnp.diag(at_p**2) + (game * at_s[None, :] ** 2) @ game.T
        step = flat @ jnp.linalg.solve(flat @ hessian @ flat + jnp.eye(len(game)) - flat, flat @ gradient)
        reach = _longest(jnp.where(support, p, s), jnp.where(support, step, game.T @ step))
        return p + jnp.minimum(1, 0.9 * reach) * step

    several = jnp.any(values < _checks.tolerance(game.dtype))  # a batch without any takes no step at all
    _, p = jax.lax.while_loop(
        lambda state: several & (state[0] < CENTRING_STEPS), lambda state: (state[0] + 1, newton(state[1])), (0, p)
    )
    return jnp.where(support, p, 0)


def _longest(point: Array, step: Array) -> Array:
    """The longest step, at most 10, that keeps the point non-negative."""
    shrinking = step < 0
    return jnp.minimum(10, jnp.min(jnp.where(shrinking, -point / jnp.where(shrinking, step, -1), jnp.inf)))
