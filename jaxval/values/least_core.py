"""The least core: the allocations that minimise the most that a coalition could gain by acting alone."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxval import _checks
from jaxval.types import BadArgument, Table
from jaxval.values._tables import check_table

__all__ = ["LeastCoreDiagnostics", "least_core", "least_core_solve"]

Values = Float[Array, "players *objectives"]
SLACK = 1e-10  # tolerance of the constraints, as a share of the largest utility, when one solution is chosen
MOST_ROUNDS = 100


class LeastCoreDiagnostics(NamedTuple):
    """Whether the linear program was solved, and how well.

    Attributes:
        deficit: (*objectives) the least e, the largest amount that a coalition lacks. It is at most 0 if the core is
            not empty.
        violation: (*objectives) the largest amount by which the values returned violate a constraint.
        converged: (*objectives) whether the program was solved and the violation is within 1e-8 of the largest utility.
    """

    deficit: Float[Array, "*objectives"]
    violation: Float[Array, "*objectives"]
    converged: Bool[Array, "*objectives"]


def least_core(table: Table) -> Values:
    """The least core: x with the least e with x(N) = v(N) - v(∅), x(S) + e ≥ v(S) - v(∅) for all S except ∅ and N.

    If several x satisfy this, the one nearest to equal shares is returned, so that renaming the players renames their
    values.

    Source: Maschler, Peleg and Shapley (1979); Yan and Procaccia (2021) for data, who make the same choice.

    Args:
        table: (2^n, *objectives) utilities of all coalitions; known numbers, no tracer, because HiGHS runs on the host.

    Returns:
        (n, *objectives) values. A single player gets v(N) - v(∅).

    Raises:
        ValueError: if the table's length is not a power of two of at least 2, or a utility is not finite.
        RuntimeError: if the linear program was not solved.

    Example:
        >>> [round(float(value), 4) for value in least_core([0.0, 1.0, 2.0, 4.0])]
        [1.5, 2.5]
    """
    values, diagnostics = least_core_solve(table)
    if not np.asarray(diagnostics.converged).all():
        raise RuntimeError(
            f"the least core was not reached: {diagnostics}; least_core_solve(table) returns NaN and this"
        )
    return values


def least_core_solve(table: Table) -> tuple[Values, LeastCoreDiagnostics]:
    """`least_core` with diagnostics.

    A linear program over (x, e) gives the deficit. Among its solutions, the least Σ_i (x_i - x(N)/n)² is a
    least-distance problem (Lawson and Hanson, 1974, chapter 23), to which violated constraints are added in rounds.

    Args:
        table: (2^n, *objectives) utilities of all coalitions; known numbers, no tracer.

    Returns:
        Values (n, *objectives), NaN for an objective that has not converged, and `LeastCoreDiagnostics`. With one
        player the deficit is 0, because only ∅ and N are coalitions.

    Raises:
        ValueError: if the table's length is not a power of two of at least 2, or a utility is not finite.

    Example:
        >>> _, diagnostics = least_core_solve([0.0, 1.0, 2.0, 4.0])
        >>> round(float(diagnostics.deficit), 4), bool(diagnostics.converged)
        (-0.5, True)
    """
    checked = check_table(table)
    if not _checks.concrete(checked):
        raise BadArgument(
            "table", expected="known numbers, as the linear program is solved on the host", got="a tracer"
        )
    known = np.asarray(checked, dtype=np.float64)
    games = known.reshape(len(known), -1)
    solved = [_least_core(game - game[0]) for game in games.T]
    shape = known.shape[1:]
    values, deficits, violations, converged = (np.array(part) for part in zip(*solved, strict=True))
    diagnostics = LeastCoreDiagnostics(
        jnp.asarray(deficits.reshape(shape), dtype=checked.dtype),
        jnp.asarray(violations.reshape(shape), dtype=checked.dtype),
        jnp.asarray(converged.reshape(shape)),
    )
    return jnp.asarray(values.T.reshape(-1, *shape), dtype=checked.dtype), diagnostics


def _least_core(game: np.ndarray) -> tuple[np.ndarray, float, float, bool]:
    """Values, deficit, violation and whether the program was solved, for one game with v(∅) = 0."""
    from scipy.optimize import linprog

    players = len(game).bit_length() - 1
    scale = float(np.abs(game).max()) or 1.0
    members = ((np.arange(1, len(game) - 1)[:, None] >> np.arange(players)[None, :]) & 1).astype(float)
    worth, total = game[1:-1] / scale, game[-1] / scale
    if players == 1:
        return np.array([game[-1]]), 0.0, 0.0, True
    program = linprog(
        np.append(np.zeros(players), 1),
        A_ub=-np.column_stack([members, np.ones(len(members))]),
        b_ub=-worth,
        A_eq=np.append(np.ones(players), 0)[None],
        b_eq=[total],
        bounds=(None, None),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if program.status != 0:
        return np.full(players, np.nan), np.nan, np.nan, False
    deficit = program.x[-1]
    values = _nearest_to_equal(members, worth - deficit, total, first=program.x[:-1])
    violation = max((worth - deficit - members @ values).max(), abs(values.sum() - total), 0.0)
    converged = bool(violation <= 1e-8)
    return np.where(converged, scale * values, np.nan), scale * deficit, scale * violation, converged


def _nearest_to_equal(members: np.ndarray, least: np.ndarray, total: float, *, first: np.ndarray) -> np.ndarray:
    """The x nearest to equal shares with x(N) = total and x(S) ≥ least(S); `first` is any x with these properties."""
    equal = total / members.shape[1]
    needed = least - SLACK - members.sum(axis=1) * equal
    active = members @ first - least < 1e-9
    step = first - equal
    for _ in range(MOST_ROUNDS):
        step = _least_distance(members[active], needed[active])
        short = needed - members @ step
        if not (short > SLACK).any():
            break
        active |= short >= max(short.max() / 2, SLACK)
    return step + equal


def _least_distance(rows: np.ndarray, needed: np.ndarray) -> np.ndarray:
    """The shortest y with Σ_i y_i = 0 and rows y ≥ needed, by non-negative least squares."""
    from scipy.optimize import nnls

    players = rows.shape[1]
    rows = np.vstack([rows, np.ones(players), -np.ones(players)])
    needed = np.concatenate([needed, [0.0, 0.0]])
    system = np.vstack([rows.T, needed])
    target = np.append(np.zeros(players), 1)
    multipliers, _ = nnls(system, target, maxiter=100 * len(needed))
    residual = system @ multipliers - target
    return -residual[:-1] / residual[-1]
