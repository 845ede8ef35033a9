"""What a lottery gives each of several given groups of voters, such as parties or opinion groups."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from jaxval import _checks, _objects
from jaxval.preferences import borda_scores
from jaxval.social_choice.rules import certificate, proportional, share_bounds
from jaxval.types import BadArgument, Matrix, Vector

__all__ = ["GroupOutcomes", "group_curve", "group_outcomes", "guaranteed_level"]

Matrices = Float[ArrayLike, "groups alternatives alternatives"] | list[Matrix]
Shares = Float[ArrayLike, "groups"] | list[float] | tuple[float, ...]


class GroupOutcomes(NamedTuple):
    """What a lottery gives each group, and the level of proportionality that the groups see.

    Attributes:
        shares: (groups,) w_g, the shares of the population.
        favourites: (groups, alternatives) the alternatives with the largest Borda score of P_g, all of them if equal.
        favoured: (groups,) the probability that the lottery gives to the group's favourites.
        win_rates: (groups,) how often the group prefers a draw from the lottery to a uniform draw.
        bounds: (groups, alternatives) the share bounds u of P_g.
        certificates: (groups,) 1 / Σu of P_g; NaN if Σu < 1.
        worst_off: the group with the lowest win rate, the first of several.
        level: α, at most 1.
        binding: the favourite at which the minimum α is attained, the first of several.
    """

    shares: Float[Array, "groups"]
    favourites: Bool[Array, "groups alternatives"]
    favoured: Float[Array, "groups"]
    win_rates: Float[Array, "groups"]
    bounds: Float[Array, "groups alternatives"]
    certificates: Float[Array, "groups"]
    worst_off: Int[Array, ""]
    level: Float[Array, ""]
    binding: Int[Array, ""]


def group_outcomes(matrices: Matrices, lottery: Vector, *, shares: Shares | None = None) -> GroupOutcomes:
    """What a lottery π gives each group g with preference function P_g and share w_g.

    A group's favourite has the largest Borda score of P_g. The level of population-proportional alignment by the given
    groups is

        α = min_T π(T) / w_T,  w_T = Σ_g w_g 1{T is a favourite of g} / (number of g's favourites),

    over the alternatives T with w_T > 0. Two groups with the same favourite count once, with the sum of their shares,
    because the probability of the favourite serves both. Tied favourites divide the share of their group.

    This is Definition 3.1 with given groups in place of the groups of voters with the same first choice. For the
    definition in the paper, use `axioms.ppa_level` if the shares of first choices are known. Otherwise
    `guaranteed_level` is a level that holds for all shares that P allows.

    Source: Kim et al., Definition 3.1; section 5.1 for win rates.

    Args:
        matrices: (groups, alternatives, alternatives) the preference function of each group.
        lottery: (alternatives,) probabilities.
        shares: (groups,) shares of the population, which sum to one; None means equal shares.

    Returns:
        `GroupOutcomes`.

    Raises:
        ValueError: if a matrix is not a preference function, or the lottery or the shares have another length or do not
            sum to one.

    Example:
        Two of the three groups have the same favourite. The third has another favourite, which the lottery gives 1/4.

        >>> left, right = [[0.5, 1.0], [0.0, 0.5]], [[0.5, 0.0], [1.0, 0.5]]
        >>> outcomes = group_outcomes([left, left, right], [0.75, 0.25], shares=[0.25, 0.25, 0.5])
        >>> outcomes.favoured.tolist(), outcomes.win_rates.tolist()
        ([0.75, 0.75, 0.25], [0.625, 0.625, 0.375])
        >>> float(outcomes.level), int(outcomes.binding), int(outcomes.worst_off)
        (0.5, 1, 2)
    """
    matrices = _check_matrices(matrices)
    lottery = _objects.check_lottery(lottery, matrices.shape[1])
    return _outcomes(matrices, lottery, _objects.check_weights(shares, len(matrices), name="shares"))


@jax.jit
def _outcomes(matrices: Array, lottery: Array, shares: Array) -> GroupOutcomes:
    borda = jax.vmap(borda_scores)(matrices)
    favourites = borda >= jnp.max(borda, axis=1, keepdims=True) - _checks.tolerance(borda.dtype)
    win_rates = jnp.mean(matrices, axis=2) @ lottery
    needed = shares @ (favourites / jnp.sum(favourites, axis=1, keepdims=True))
    ratios = jnp.where(needed > 0, lottery / jnp.where(needed > 0, needed, 1), jnp.inf)
    return GroupOutcomes(
        shares=shares,
        favourites=favourites,
        favoured=favourites.astype(lottery.dtype) @ lottery,
        win_rates=win_rates,
        bounds=jax.vmap(share_bounds)(matrices),
        certificates=jax.vmap(certificate)(matrices),
        worst_off=jnp.argmin(win_rates),
        level=jnp.minimum(jnp.min(ratios), 1),
        binding=jnp.argmin(ratios),
    )


def group_curve(
    matrix: Matrix, matrices: Matrices, betas: Float[ArrayLike, "betas"] | list[float], *, shares: Shares | None = None
) -> GroupOutcomes:
    """What F^β gives each group for every β, from F* at β = 0 to minimax at β = ∞.

    Args:
        matrix: (alternatives, alternatives) P of the whole population, from which F^β is made.
        matrices: as in `group_outcomes`.
        betas: (betas,) numbers in [0, inf].
        shares: as in `group_outcomes`.

    Returns:
        `GroupOutcomes` whose fields have a leading axis of betas.

    Raises:
        ValueError: as `group_outcomes` and `proportional`.

    Example:
        >>> left, right = [[0.5, 1.0], [0.0, 0.5]], [[0.5, 0.0], [1.0, 0.5]]
        >>> curve = group_curve([[0.5, 0.75], [0.25, 0.5]], [left, right], [0.0, jnp.inf], shares=[0.75, 0.25])
        >>> curve.level.tolist(), curve.favoured.tolist()
        ([1.0, 0.0], [[0.75, 0.25], [1.0, 0.0]])
    """
    betas = _checks.numbers("betas", betas, "(betas,) numbers in [0, inf]")
    if betas.ndim != 1 or (_checks.concrete(betas) and not (betas >= 0).all()):
        raise BadArgument("betas", expected="(betas,) numbers in [0, inf]", got=np.asarray(betas).tolist())
    lotteries = jax.vmap(lambda beta: proportional(matrix, beta=beta))(betas)
    matrices = _check_matrices(matrices)
    shares = _objects.check_weights(shares, len(matrices), name="shares")
    return jax.vmap(lambda lottery: _outcomes(matrices, lottery, shares))(lotteries)


def guaranteed_level(matrix: Matrix, lottery: Vector) -> Float[Array, ""]:
    """The level of proportional alignment that a lottery has whatever the first choices are, min_i π_i / u_i.

    If w are the shares of first choices, the level is min_i π_i / w_i. P does not tell w, but w ≤ u. The result
    is the certificate 1 / Σu for F*, and the bound (46) for F^β. It is zero if the lottery gives nothing to an
    alternative with u > 0.

    Source: Kim et al., Definition 3.1, Theorem 4.4, Lemma 4.7 and equation (46).

    Args:
        matrix: (alternatives, alternatives) preference function.
        lottery: (alternatives,) probabilities.

    Returns:
        A number in [0, 1], or NaN if Σu < 1, so that P comes from no profile of complete rankings.

    Raises:
        ValueError: if the matrix is not a preference function, or the lottery has another length.

    Example:
        >>> matrix = [[0.5, 0.75, 0.5], [0.25, 0.5, 0.75], [0.5, 0.25, 0.5]]
        >>> float(guaranteed_level(matrix, [0.5, 0.25, 0.25])), float(guaranteed_level(matrix, [1.0, 0.0, 0.0]))
        (1.0, 0.0)
    """
    bounds = share_bounds(matrix)
    lottery = _objects.check_lottery(lottery, len(bounds))
    limit = _checks.tolerance(bounds.dtype)
    ratios = jnp.where(bounds > limit, lottery / jnp.where(bounds > limit, bounds, 1), jnp.inf)
    return jnp.where(jnp.sum(bounds) >= 1 - limit, jnp.minimum(jnp.min(ratios), 1), jnp.nan)


def _check_matrices(matrices: Matrices) -> Array:
    """Check the preference functions of the groups, (groups, alternatives, alternatives)."""
    expected = "(groups, alternatives, alternatives) preference functions"
    array = _checks.floating("matrices", matrices, ndim=3, expected=expected)
    if 0 in array.shape:
        raise BadArgument("matrices", expected=expected, got=f"shape {array.shape}")
    for group in range(array.shape[0]):
        _objects.check_matrix(array[group], name=f"matrices[{group}]")
    return array
