"""The mark of axioms of values: axioms of rules are checked on profiles, and axioms of values on games."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

from jaxval import _checks
from jaxval.types import BadArgument

__all__ = ["GamesOf", "of_values"]

Axiom = TypeVar("Axiom", bound=Callable[..., Any])
MARK = "_games_of_this_axiom"
SIGNATURES = (
    ("value", "table"),
    ("value", "table", "groups"),
    ("value", "table", "other"),
    ("value", "table", "other", "groups"),
)


class GamesOf(NamedTuple):
    """The arguments that an axiom of values takes besides the value.

    Attributes:
        games: 1 for (value, table), 2 for (value, table, other).
        groups: whether the axiom takes the groups of the players.
        needs_groups: whether the axiom requires the groups.
    """

    games: int
    groups: bool
    needs_groups: bool


def of_values(axiom: Axiom) -> Axiom:
    """Mark a function as an axiom of values, so that `find_counterexample` searches games and not profiles.

    Args:
        axiom: `axiom(value, table)`, or `axiom(value, table, other)` if the axiom compares two games. Either may have a
            further parameter `groups`, and options are keyword-only. The axiom returns (gap, witness), and a larger gap
            is worse.

    Returns:
        The same function.

    Raises:
        ValueError: if the axiom has other parameters.

    Example:
        >>> from jaxval import axioms, values
        >>> @of_values
        ... def nobody_pays(value, table):
        ...     values_of_players = value(table)
        ...     return -values_of_players.min(), values_of_players
        >>> print(axioms.find_counterexample(values.shapley, nobody_pays, players=2))
        nobody_pays violated by 1 with 1 player:
          -1 for {0}
          0 for all others
        witness: [-1.]
    """
    _checks.check_function("axiom", axiom, "a function of a value and a table")
    parameters = inspect.signature(axiom).parameters
    names = tuple(name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD)
    if names not in SIGNATURES:
        known = " or ".join(f"({', '.join(signature)})" for signature in SIGNATURES)
        raise BadArgument(
            "axiom",
            expected=f"the parameters {known}, and options keyword-only",
            got=f"({', '.join(map(str, parameters.values()))})",
        )
    groups = parameters.get("groups")
    needs_groups = groups is not None and groups.default is inspect.Parameter.empty
    vars(axiom)[MARK] = GamesOf(2 if "other" in names else 1, groups is not None, needs_groups)
    return axiom


def games_of(axiom: Callable[..., Any]) -> GamesOf | None:
    """The mark of an axiom of values; None for an axiom of rules, which is any axiom without the mark."""
    return getattr(unwrapped(axiom), MARK, None)


def unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function without the `functools.partial` around it."""
    while isinstance(function, partial):
        function = function.func
    return function


def name_of(function: Callable[..., Any]) -> str:
    """The name of an axiom, a rule or a value in messages."""
    function = unwrapped(function)
    return getattr(function, "__name__", type(function).__name__)
