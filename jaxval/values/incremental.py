"""Sampled Shapley values of utilities that are cheap to evaluate along a permutation.

For some utilities one more player changes little, as with nearest neighbours, counts or sums. One pass along a
permutation then gives the utilities of all its prefixes for about the price of one. Design, state and estimate are
those of `permutation_estimator`; only the evaluation of the coalitions of an ask differs.

Arguments that a function does not list are described in `jaxval.values`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path as FilePath
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from jaxval import _checks
from jaxval.coalitions.evaluation import identity_of
from jaxval.types import BadArgument, Estimate, Groups
from jaxval.values.estimators import check_finite, run
from jaxval.values.permutations import permutation_estimator

__all__ = ["sample_shapley_along_paths"]

Path = Callable[[Array], Any]


def sample_shapley_along_paths(
    key: Key[Array, ""],
    path_utility: Path,
    players: int,
    *,
    permutations: int,
    groups: Groups | None = None,
    antithetic: bool = True,
    strata: int = 1,
    spread: float | Sequence[float] | None = None,
    per_ask: int = 32,
    save: str | FilePath | None = None,
    progress: bool | Callable[[int], None] = False,
) -> Estimate:
    """Shapley values, or asymmetric ones if `groups` is given, from utilities along sampled permutations.

    With the same key the permutations are those of `sample_shapley`, and the values are the same up to rounding.

    Source: Zheng et al., Algorithm 1; Ghorbani and Zou (2019).

    Args:
        path_utility: a JAX function from a permutation (players,) to the utilities (players + 1, *objectives) of its
            prefixes, the empty prefix first. `knn_path_utility` makes such functions.
        per_ask: the number of permutations evaluated at a time.
        save: a file for the state, from which a second call with the same arguments resumes after an interruption; None
            means that no state is saved.
        progress: whether a progress bar with the time left is written to standard error; or a function that is called
            with the number of asks (of `per_ask` permutations) that were done, for a bar of your own.

    Returns:
        An `Estimate`; `evaluations` counts distinct coalitions.

    Raises:
        ValueError: if the permutations are too few for a standard error, or no multiple of those drawn together;
            there is not one group for each player, or a group number is left out; or the utilities are not finite or
            not of length players + 1.

    Example:
        >>> gifts = jnp.array([1.0, 2.0, 3.0])
        >>> along = lambda order: jnp.append(0, jnp.cumsum(gifts[order]))
        >>> sample_shapley_along_paths(jax.random.key(0), along, 3, permutations=4).values.tolist()
        [1.0, 2.0, 3.0]
    """
    players = _checks.check_size("players", players)
    per_ask = _checks.check_size("per_ask", per_ask)
    estimator = permutation_estimator(
        players,
        permutations=permutations,
        groups=groups,
        antithetic=antithetic,
        strata=strata,
        spread=spread,
        per_ask=per_ask,
    )
    state = run(key, estimator, _Along(path_utility, players), save=save, progress=progress)
    return check_finite(estimator.estimate(state))


class _Along:
    """The evaluation of the coalitions of `permutation_estimator`, permutation by permutation."""

    traceable = True

    def __init__(self, path_utility: Path, players: int) -> None:
        self._path_utility = path_utility
        self.many = _evaluate_paths(path_utility, players)
        self._shape = jax.eval_shape(path_utility, _order(players)).shape[1:]

    @property
    def identity(self) -> Hashable:
        return identity_of("along", self._path_utility)

    def objectives(self) -> tuple[int, ...]:
        return self._shape


def _evaluate_paths(path_utility: Path, players: int) -> Callable[[Array], Array]:
    """A function that evaluates the coalitions of `permutation_estimator`, permutation by permutation.

    Args:
        path_utility: from a permutation (players,) to the utilities (players + 1, *objectives) of its prefixes.
        players: the number n of players.

    Returns:
        A function from the (rows, players) coalitions of one ask to their (rows, *objectives) utilities, for `tell`.

    Raises:
        ValueError: if the utilities have another length.

    Example:
        >>> estimator = permutation_estimator(3, permutations=2, antithetic=False)
        >>> evaluate = _evaluate_paths(lambda order: jnp.append(0, jnp.cumsum(order + 1)), 3)
        >>> state = estimator.init(jax.random.key(0))
        >>> coalitions = estimator.ask(state)
        >>> bool((evaluate(coalitions) == coalitions @ jnp.array([1, 2, 3])).all())
        True
    """
    _checks.check_function("path_utility", path_utility, "a function of an order")
    expected = f"utilities ({players + 1}, *objectives)"

    def along(order: Array) -> Any:
        return _checks.check_result("path_utility", path_utility(order), expected)

    found = jax.eval_shape(along, _order(players))
    shape = jax.tree.map(jnp.shape, found)
    if not isinstance(found, jax.ShapeDtypeStruct) or len(shape) not in (1, 2) or shape[0] != players + 1 or 0 in shape:
        raise BadArgument("path_utility", expected=expected, got=f"shape {shape}")

    def evaluate(coalitions: Array) -> Array:
        count = max(1, (len(coalitions) - 2) // max(players - 1, 1))
        inside = coalitions[2:].reshape(count, players - 1, players)
        orders = jnp.argsort(players - 1 - jnp.sum(inside, axis=1), axis=1)
        along = jax.vmap(lambda order: jnp.asarray(path_utility(order), dtype=float))(orders)
        between = along[:, 1:-1].reshape(count * (players - 1), *along.shape[2:])
        return jnp.concatenate([along[0, :1], along[0, -1:], between])

    return evaluate


def _order(players: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((players,), jnp.arange(1).dtype)
