"""All losses of one pair by name, for options that name one."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxval import _checks
from jaxval.alignment.mallows import mallows_phi, mallows_phi_limit, mallows_theta
from jaxval.alignment.margin_losses import discopop, dpo, exo, hinge, ipo, length_normalised_dpo, robust_dpo
from jaxval.alignment.reward_losses import apo_down, apo_zero, bco, nca, sppo

__all__ = ["find_loss", "losses"]

losses: Mapping[str, Callable[..., Any]] = {
    "dpo": dpo,
    "robust_dpo": robust_dpo,
    "hinge": hinge,
    "ipo": ipo,
    "length_normalised_dpo": length_normalised_dpo,
    "exo": exo,
    "discopop": discopop,
    "nca": nca,
    "bco": bco,
    "sppo": sppo,
    "apo_zero": apo_zero,
    "apo_down": apo_down,
    "mallows_theta": mallows_theta,
    "mallows_phi": mallows_phi,
    "mallows_phi_limit": mallows_phi_limit,
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
        >>> find_loss("dpo") is dpo
        True
    """
    return losses[_checks.check_choice("loss", name, losses)]
