"""All losses of one pair by name."""

from collections.abc import Mapping

from jaxval import _checks
from jaxval.alignment import mallows, margin_losses, reward_losses
from jaxval.alignment.registry import Loss, PairLoss

__all__ = ["find_loss", "losses"]

losses: Mapping[str, Loss] = {
    name: vars(module)[name].record
    for module in (margin_losses, reward_losses, mallows)
    for name in vars(module)
    if isinstance(getattr(vars(module)[name], "record", None), Loss)
}
"""The record of every loss of one pair, by its name: its function, link, options and source."""


def find_loss(name: str) -> PairLoss:
    """The loss with a given name.

    Args:
        name: a key of `losses`.

    Returns:
        The function of one pair, which is also `getattr(jaxval.alignment, name)`.

    Raises:
        ValueError: if no loss has the name; the message lists all names.

    Example:
        >>> find_loss("dpo") is margin_losses.dpo
        True
    """
    return losses[_checks.check_choice("loss", name, losses)].function
