"""The two kinds of rule that axioms take: functions of P and functions of the profile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxtyping import Array

from jaxval import _objects
from jaxval.axioms._functions import numbers_of, takes_one
from jaxval.preferences import preference_matrix
from jaxval.types import BadArgument, Orders, Rule, Weights

__all__ = ["as_profile_rule", "is_matrix_rule"]


def is_matrix_rule(rule: Callable[..., Any], *, name: str = "rule") -> bool:
    """Whether a rule is a function of P (one positional parameter) rather than of the profile (two).

    Args:
        rule: a callable; neither keyword-only parameters nor those that `functools.partial` has set are counted.
        name: the name of the rule in errors.

    Returns:
        True for `rule(matrix)`, False for `rule(orders, weights)`.

    Raises:
        ValueError: if the rule does not have one or two positional parameters.

    Example:
        >>> is_matrix_rule(lambda matrix: matrix[0]), is_matrix_rule(lambda orders, weights=None: weights)
        (True, False)
    """
    return takes_one(rule, name=name, one="matrix", two=("orders", "weights"), option="beta=1.0")


def as_profile_rule(rule: Rule) -> Callable[..., Array]:
    """The rule as a function of the profile: Φ(σ) = F(P^σ) for a rule F of P; a rule Φ of the profile as it is.

    Source: Kim et al., section 2.1 ("implements").

    Args:
        rule: a function of P, or of (orders, weights), to a lottery (alternatives,).

    Returns:
        A function of (orders, weights) to a lottery (alternatives,).

    Raises:
        ValueError: if the rule takes other arguments. The function returned raises if the rule returns another shape or
            is not a function of JAX arrays.

    Example:
        >>> from jaxval import social_choice
        >>> rule = as_profile_rule(social_choice.proportional)
        >>> rule([[0, 1], [1, 0]], [0.75, 0.25]).tolist()
        [0.75, 0.25]
    """
    matrix_rule = is_matrix_rule(rule)

    def profile_rule(orders: Orders, weights: Weights | None = None) -> Array:
        orders = _objects.check_orders(orders)
        weights = _objects.check_weights(weights, orders.shape[0])
        arguments = (preference_matrix(orders, weights),) if matrix_rule else (orders, weights)
        return call(rule, *arguments, alternatives=orders.shape[1])

    return profile_rule


def call(rule: Rule, *arguments: Array, alternatives: int) -> Array:
    """The rule's lottery, its shape checked."""
    lottery = numbers_of(rule, *arguments, name="rule")
    if lottery.shape != (alternatives,):
        raise BadArgument("rule", expected=f"a lottery of shape ({alternatives},)", got=f"shape {lottery.shape}")
    return lottery
