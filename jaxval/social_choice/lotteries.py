"""Maximal lotteries: the equilibria of the symmetric zero-sum game P - 1/2, without a linear program per matrix.

With K = P - Pᵀ the equilibria are {p ∈ Δ : Kᵀp ≥ 0}. An interior-point method follows their central path,

    s = Kᵀp + τ1,  1ᵀp = 1,  p_i s_i = μ,  μ → 0.

The path ends in the analytic centre of the equilibria. This choice among them is symmetric: tied alternatives get equal
probabilities, and renaming the alternatives renames the lottery. When μ is just above rounding, the support is the set
of alternatives with p > s. If the support proves that it has the only equilibrium, a linear system gives that
equilibrium. Otherwise p and s are exchanged in the support, and the path is followed further in the new coordinates,
which resolve its end.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax.linalg import lu, triangular_solve
from jaxtyping import Array, Bool, Float, Int

from jaxval import _checks, _objects
from jaxval.types import Lottery, Matrix, Vector

__all__ = ["LotteryDiagnostics", "c1_maximal_lottery", "exploitability", "maximal_lottery", "maximal_lottery_solve"]

MAX_STEPS = 60
TURNS = 2  # exchanges: the second starts from the support that the first has identified


class Levels(NamedTuple):
    """Levels at which the two parts of the path end, for a game scaled to a largest margin between 1/2 and 1."""

    rough: float  # μ at the end of the first part, just above rounding: the support is where p > s
    near: float  # μ at which a single clear equilibrium is recognised
    end: float  # μ at the end of the second part
    off_centre: float  # largest |p_i s_i / μ - 1| at the end of the second part
    pivot: float  # smallest margin that is exchanged
    rounding: float  # smaller margins between alternatives that are not exchanged count as ties
    change: float  # largest last step of an iterative refinement


LEVELS = {
    32: Levels(rough=1e-6, near=1e-10, end=1e-16, off_centre=3e-5, pivot=1e-5, rounding=3e-7, change=1e-5),
    64: Levels(rough=1e-13, near=1e-13, end=1e-30, off_centre=1e-10, pivot=1e-9, rounding=1e-13, change=1e-10),
}


class LotteryDiagnostics(NamedTuple):
    """Whether the method converged, and how far the lottery is from an equilibrium.

    Attributes:
        converged: whether the exploitability is at most 1e-9 (1e-5 in float32) and the support is certain.
        exploitability: how much more than one half the best reply wins.
        steps: the number of Newton steps.
    """

    converged: Bool[Array, ""]
    exploitability: Float[Array, ""]
    steps: Int[Array, ""]


def exploitability(matrix: Matrix, lottery: Vector) -> Float[Array, ""]:
    """How much more than one half the best reply to a lottery wins, max_j Σ_i P(j ≻ i) p_i - 1/2; 0 at equilibrium.

    Args:
        matrix: (alternatives, alternatives) preference function.
        lottery: (alternatives,) probabilities.

    Returns:
        A number in [0, 1/2].

    Raises:
        ValueError: if the matrix is not a preference function, or the lottery has another length.

    Example:
        >>> float(exploitability([[0.5, 0.75], [0.25, 0.5]], [0.0, 1.0]))
        0.25
    """
    matrix = _objects.check_matrix(matrix)
    return _exploitability(matrix - matrix.T, _objects.check_lottery(lottery, matrix.shape[0]))


def maximal_lottery(matrix: Matrix) -> Lottery:
    """NLHF: the lottery that no other beats, max_p min_q Σ_ij p_i P(i ≻ j) q_j.

    If several lotteries have this property, the result is the analytic centre of their set, which is symmetric under
    renaming. A share within the tolerance of 1/2 (1e-9 in float64, 1e-5 in float32) is a tie. Given the rest of the
    support, some margins can cancel almost completely. The remainder counts as a tie if it is below the rounding of P's
    entries (3e-7 of the largest margin in float32, 1e-13 in float64), because it cannot be distinguished from a tie.
    Games of hundreds of alternatives without a Condorcet winner need float64: in float32 the method does not converge.

    Source: Kim et al., section 2.2; Kreweras (1965), Fishburn (1984).

    Args:
        matrix: (alternatives, alternatives) preference function.

    Returns:
        (alternatives,) lottery. Inside `jit` and `vmap` it is NaN throughout if the method did not converge.

    Raises:
        ValueError: if the matrix is not a preference function.
        RuntimeError: if the method did not converge (outside `jit` and `vmap`).

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
    """`maximal_lottery` with diagnostics; the lottery is NaN throughout if the method did not converge.

    Args:
        matrix: (alternatives, alternatives) preference function.

    Returns:
        (lottery (alternatives,), `LotteryDiagnostics`).

    Raises:
        ValueError: if the matrix is not a preference function.

    Example:
        >>> lottery, diagnostics = maximal_lottery_solve([[0.5, 0.75], [0.25, 0.5]])
        >>> lottery.tolist(), bool(diagnostics.converged)
        ([1.0, 0.0], True)
    """
    return _solve(_objects.check_matrix(matrix))


def c1_maximal_lottery(matrix: Matrix) -> Lottery:
    """Maximal lottery of the majority relation alone: P is replaced by 1, 1/2 or 0 if i beats, ties or loses to j.

    Its support is the bipartisan set.

    Source: Fisher and Ryan (1992), Laffond, Laslier and Le Breton (1993).

    Args:
        matrix: (alternatives, alternatives) preference function; shares within the tolerance of 1/2 are ties.

    Returns:
        (alternatives,) lottery. Inside `jit` and `vmap` it is NaN throughout if the method did not converge.

    Raises:
        ValueError: if the matrix is not a preference function.
        RuntimeError: if the method did not converge (outside `jit` and `vmap`).

    Example:
        >>> cycle = [[0.5, 0.6, 0.2], [0.4, 0.5, 0.8], [0.8, 0.2, 0.5]]
        >>> [round(float(p), 4) for p in c1_maximal_lottery(cycle)]
        [0.3333, 0.3333, 0.3333]
    """
    matrix = _objects.check_matrix(matrix)
    return maximal_lottery((1 + jnp.sign(_without_ties(matrix))) / 2)


def _exploitability(game: Array, lottery: Array) -> Array:
    """The largest gain of a reply to the lottery; infinite if a gain is not finite."""
    gains = game @ lottery
    # A compiled maximum may ignore NaN, so NaN is handled here.
    return jnp.where(jnp.all(jnp.isfinite(gains)), jnp.max(gains) / 2, jnp.inf)


@jax.jit
def _solve(matrix: Array) -> tuple[Array, LotteryDiagnostics]:
    """The Condorcet winner if there is one, and otherwise the end of the central path."""
    game = _without_ties(matrix)
    winners = jnp.sum(game > 0, axis=1) == len(game) - 1

    def elected() -> tuple[Array, LotteryDiagnostics]:
        nothing = jnp.zeros((), game.dtype)
        return winners.astype(game.dtype), LotteryDiagnostics(jnp.asarray(True), nothing, jnp.asarray(0))

    # A single large game takes only one branch. Under `vmap` both are computed, and the path takes nearly all the time.
    return jax.lax.cond(jnp.any(winners), elected, lambda: _end_of_the_path(matrix, game))


def _end_of_the_path(matrix: Array, game: Array) -> tuple[Array, LotteryDiagnostics]:
    game = jnp.ldexp(game, -jnp.frexp(jnp.max(jnp.abs(game)))[1])  # a power of two scales without rounding
    levels = LEVELS[jnp.finfo(game.dtype).bits]
    border = jnp.ones((len(game), 1))
    system = jnp.block([[game.T, border], [-border.T, jnp.zeros((1, 1))]])
    p, tau = jnp.ones(len(game)) / len(game), jnp.max(jnp.abs(game)) + 1

    def follow_to_the_end(state: tuple[State, Array, Array, Array]) -> tuple[State, Array, Array, Array]:
        (p, s, tau, steps), _, _, turns = state
        exchanged, solved, several = _exchange(system, p > s, levels)
        start = (jnp.where(solved, s, p), jnp.where(solved, p, s), tau, steps)
        off_centre = jnp.where(several, levels.off_centre, jnp.inf)  # a single equilibrium needs no centring
        z, w, tau, steps = _follow_central_path(exchanged, start, levels.end, off_centre)
        # For the exchanged alternatives, the system gives p more exactly than the sum of the Newton steps does.
        p, s = jnp.where(solved, (exchanged @ jnp.append(z, tau))[:-1], z), jnp.where(solved, z, w)
        lottery, unique = _only_equilibrium(system, p > s, levels)
        apart = jnp.all(jnp.minimum(p, s) <= 1e-3 * jnp.maximum(p, s)) & ~jnp.any(solved & (p <= s))
        return (
            (p, s, tau, steps),
            jnp.where(unique, lottery, jnp.where(p > s, p, 0)),
            unique | (several & apart),
            turns + 1,
        )

    with jax.default_matmul_precision("highest"):
        start = (p, game.T @ p + tau, tau, jnp.asarray(0))
        # Nearer to the end, rounding hides the path if there are several equilibria, but not if there is only one. The
        # scan compiles the path once for both parts.
        _, parts = jax.lax.scan(
            lambda state, end: 2 * (_follow_central_path(system, state, end, jnp.inf),),
            start,
            jnp.array([levels.rough, levels.near], game.dtype),
        )
        (p, s, tau, _), (near_p, near_s, _, steps) = zip(*parts, strict=True)
        lottery, unique = _only_equilibrium(system, near_p > near_s, levels)
        # Under `vmap`, a `cond` would run both branches. The loop is skipped if every game of the batch has one clear
        # equilibrium.
        (_, _, _, steps), lottery, certain, _ = jax.lax.while_loop(
            lambda state: ~state[2] & (state[3] < TURNS),
            follow_to_the_end,
            ((p, s, tau, steps), lottery, unique, jnp.asarray(0)),
        )
        p = jnp.maximum(lottery, 0)
        p = p / jnp.sum(p)
        exploit = jnp.maximum(_exploitability(matrix - matrix.T, p), 0)
    converged = certain & (steps < MAX_STEPS) & (exploit <= _checks.tolerance(game.dtype))
    return jnp.where(converged, p, jnp.nan), LotteryDiagnostics(converged, exploit, steps)


def _only_equilibrium(system: Array, support: Array, levels: Levels) -> tuple[Array, Array]:
    """The equilibrium of a support, and whether it is the only equilibrium of the game.

    There is no other equilibrium if the system Ap + aτ = 0 on the support, 1ᵀp = 1 has one solution, p > 0 on the
    support, and s > 0 off it. This counts as proved if, to first order, no rounding of the game's entries changes a
    sign.
    """
    inside = jnp.append(support, True)
    inverse = jnp.linalg.inv(jnp.where(jnp.outer(inside, inside), system, jnp.eye(len(system))))
    inverse = jnp.where(jnp.outer(inside, inside), inverse, 0)
    target = jnp.zeros(len(system)).at[-1].set(-1)

    def refine(point: Array, _: None) -> tuple[Array, Array]:
        step = inverse @ (target - _exact_product(system, point[:, None])[:, 0])
        return point + step, jnp.max(jnp.abs(step))

    point, changes = jax.lax.scan(refine, -inverse[:, -1], length=2, unroll=True)
    moved = jnp.finfo(system.dtype).eps * jnp.sum(jnp.abs(inverse), axis=1)
    values = jnp.where(inside, point, system @ point)[:-1]
    unique = jnp.all(values > jnp.where(inside, moved, jnp.abs(system) @ moved)[:-1]) & (changes[-1] <= levels.change)
    return jnp.where(support, point[:-1], 0), unique


def _without_ties(matrix: Array) -> Array:
    """The game P - Pᵀ, with margin 0 for a share within the tolerance of 1/2."""
    margin = matrix - matrix.T
    tie = 2 * _checks.tolerance(matrix.dtype) + 4 * jnp.finfo(matrix.dtype).eps  # a margin has rounding errors
    return jnp.where(jnp.abs(margin) > tie, margin, 0)


State = tuple[Array, Array, Array, Array]


def _follow_central_path(system: Array, start: State, end: Array | float, off_centre: Array | float) -> State:
    """Mehrotra's predictor-corrector method until μ falls to `end`, and then steps to the centre of the path.

    Each step factors one matrix. The path is w = Az + aτ, cᵀz = -1, z_i w_i = μ, with the system [[A, a], [cᵀ, 0]].
    """
    size = len(start[0])
    diagonal = jnp.diag(jnp.append(jnp.ones(size), 0))
    epsilon = jnp.finfo(system.dtype).eps

    def newton(state: State) -> State:
        z, w, tau, steps = state
        mu = z @ w / size
        # The variables are scaled so that z = w. The diagonal is then the identity. It determines the step in the
        # directions that the game leaves free, and is not lost in rounding beside the game.
        scale = jnp.append(jnp.sqrt(z / w), jnp.sqrt(mu))
        factors, _, rows = lu(diagonal + scale[:, None] * system * scale[None, :])
        off_path = system @ jnp.append(z, tau) - jnp.append(w, -1)  # zero except for rounding

        def direction(complementarity: Array) -> tuple[Array, Array, Array]:
            right = (scale * (jnp.append(complementarity / z, 0) - off_path))[rows, None]
            for lower in (True, False):  # L has ones on its diagonal
                right = triangular_solve(factors, right, left_side=True, lower=lower, unit_diagonal=lower)
            step = scale * right[:, 0]
            dz = step[:-1]
            return dz, (complementarity - w * dz) / z, step[-1]

        dz, dw, _ = direction(-z * w)
        reach = jnp.minimum(1, _longest(jnp.append(z, w), jnp.append(dz, dw)))
        after = (z + reach * dz) @ (w + reach * dw) / size
        dz, dw, dtau = direction(jnp.where(mu > end, mu * (after / mu) ** 3, mu) - z * w - dz * dw)
        # The steps stop ever nearer to the boundary, so that the last steps converge quadratically.
        near = jnp.maximum(0.995, 1 - jnp.maximum(mu, 8 * epsilon))
        reach = jnp.minimum(1, near * _longest(jnp.append(z, w), jnp.append(dz, dw)))
        return z + reach * dz, w + reach * dw, tau + reach * dtau, steps + 1

    def unfinished(state: State) -> Array:
        z, w, _, steps = state
        mu = z @ w / size
        return ((mu > end) | (jnp.max(jnp.abs(z * w - mu)) > off_centre * mu)) & (steps < MAX_STEPS)

    return jax.lax.while_loop(unfinished, newton, start)


def _exchange(system: Array, support: Array, levels: Levels) -> tuple[Array, Array, Array]:
    """Exchange p and s for as many alternatives of the support as the game determines by the others.

    For a block R with invertible A_RR, s = Ap becomes p_R = A_RR⁻¹ s_R - A_RR⁻¹ A_RF p_F, s_F = ..., again with a
    skew-symmetric matrix. Pairs are exchanged by elimination with complete pivoting.
    """
    size = len(system)
    index = jnp.arange(size)
    support = jnp.append(support, False)

    def largest(tableau: Array, free: Array) -> tuple[Array, Array]:
        entries = jnp.where(jnp.outer(free, free), jnp.abs(tableau), 0).ravel()
        entry = jnp.argmax(entries)
        return entries[entry], entry

    def exchange(state: State) -> State:
        tableau, free, _, entry = state
        i, j = entry // size, entry % size
        pair = jnp.stack([index == i, index == j])
        pivot = tableau[i, j]
        rows = jnp.stack([tableau[j], -tableau[i]]) / pivot
        inside = jnp.any(pair, axis=0)
        new = tableau + tableau[:, jnp.stack([i, j])] @ rows
        new = jnp.where(inside[:, None], pair.T.astype(rows.dtype) @ rows, new)
        new = jnp.where(inside[None, :], -new.T, new)
        ends = jnp.outer(pair[1], pair[0]).astype(rows.dtype)
        new = jnp.where(jnp.outer(inside, inside), (ends - ends.T) / pivot, new)
        free = free & ~inside
        return new, free, *largest(new, free)

    tableau, free, _, _ = jax.lax.while_loop(
        lambda state: state[2] > levels.pivot, exchange, (system, support, *largest(system, support))
    )
    solved = support & ~free
    both = jnp.outer(solved, solved)
    inverse = jnp.where(both, tableau, 0)
    basis = jnp.where(solved[None, :], 0, jnp.where(solved[:, None], tableau, jnp.eye(size)))

    def refine(basis: Array, _: None) -> tuple[Array, None]:
        return basis - inverse @ jnp.where(solved[:, None], _exact_product(system, basis), 0), None

    basis, _ = jax.lax.scan(refine, basis, length=2)
    rest = _exact_product(system, basis)
    # The margins between alternatives that are not exchanged are zero if the equilibria differ in them. They are set to
    # exact zeros, so that they do not mask the small diagonal of the Newton system.
    rest = jnp.where(jnp.outer(free, free) & (jnp.abs(rest) <= levels.rounding), 0, rest)
    tableau = jnp.where(
        solved[:, None], inverse + jnp.where(both, 0, basis), jnp.where(solved[None, :], -basis.T, rest)
    )
    return tableau, solved[:-1], jnp.sum(free) > 1


def _exact_product(left: Array, right: Array) -> Array:
    """The product to almost twice the precision, for a residual in which the large terms cancel.

    The entries of `left` are at most 1.
    """
    # Both factors are cut into chunks of few bits. The product of the two highest chunks is a sum of scaled integers,
    # which is exact: the chunks are shorter if the sum has more than 256 terms.
    bits = (jnp.finfo(left.dtype).nmant + 1 - max(8, (left.shape[1] - 1).bit_length())) // 2
    exponent = jnp.frexp(jnp.max(jnp.abs(right), axis=0))[1][None, :]

    def chunks(array: Array) -> Array:
        high = jnp.round(array * 2.0**bits) / 2.0**bits
        middle = jnp.round((array - high) * 2.0 ** (2 * bits + 1)) / 2.0 ** (2 * bits + 1)
        return jnp.stack([high, middle, array - high - middle])

    products = jnp.einsum("aij,bjk->abik", chunks(left), chunks(jnp.ldexp(right, -exponent)))
    by_size = [sum(products[a, size - a] for a in range(3) if 0 <= size - a < 3) for size in range(4)]
    return jnp.ldexp(by_size[0] + (by_size[1] + (by_size[2] + by_size[3])), exponent)


def _longest(point: Array, step: Array) -> Array:
    """The longest step, at most 10, that keeps the point non-negative."""
    shrinking = step < 0
    return jnp.minimum(10, jnp.min(jnp.where(shrinking, -point / jnp.where(shrinking, step, -1), jnp.inf)))
