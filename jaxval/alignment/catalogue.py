"""All losses of one pair by name, for options that name one."""

import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from jaxval import _checks
from jaxval.alignment import mallows, margin_losses, reward_losses

__all__ = ["find_loss", "losses"]

PAIR = ["chosen", "rejected", "reference_chosen", "reference_rejected"]


def _losses_of(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """The functions of a module that take the four log-probabilities of a pair, in the order of the file."""
    functions = {name: vars(module)[name] for name in vars(module) if name in module.__all__}
    return {name: one for name, one in functions.items() if list(inspect.signature(one).parameters)[:4] == PAIR}


losses: Mapping[str, Callable[..., Any]] = {
    name: loss for module in (margin_losses, reward_losses, mallows) for name, loss in _losses_of(module).items()
}
"""Every loss of one pair: (chosen, rejected, reference_chosen, reference_rejected, *, beta, ...), by its own name.

Beyond these, `length_normalised_dpo` wants the lengths of both responses, and MallowsPO a dispersion.
"""


def find_loss(name: str) -> Callable[..., Any]:
    """The loss of a name.

    Args:
        name: a key of `losses`.

    Returns:
        The function.

    Raises:
        ValueError: where there is no such loss; the message lists those that there are.

    Example:
        >>> find_loss("dpo") is margin_losses.dpo
        True
    """
    return losses[_checks.check_choice("loss", name, losses)]
