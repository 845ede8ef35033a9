"""The mathematics of alignment: losses and closed forms as functions of arrays of log-probabilities.

A loss is a function of one pair, `loss(chosen, rejected, reference_chosen, reference_rejected, *, beta, ...)`. Its
first four arguments are the log-probabilities that the policy and its reference give to the preferred response and to
the other. All arguments are scalars, or arrays of one shape for many pairs at once. The caller takes means and applies
weights: `jnp.mean(weights * dpo(...))`. Every loss in `losses` is an attribute of this module under its name.
`margin_loss` makes a new loss. The losses of the two-phase proportional algorithm are in `two_phase`.

Values are checked outside `jit`, `vmap` and `grad` only. Inside, a log-probability of -inf is not refused, and may
give infinity or NaN. Replace the log-probabilities of padding rows before the loss is computed, not after.
"""

from jaxval.alignment.batch_losses import aot, aot_unpaired
from jaxval.alignment.catalogue import find_loss, losses
from jaxval.alignment.closed_form import bradley_terry, kl_policy
from jaxval.alignment.dispersion import (
    dispersion_from_index,
    dispersion_weight,
    entropy_index,
    response_entropy_index,
)
from jaxval.alignment.divergences import (
    alpha_divergence,
    divergences,
    forward_kl,
    jensen_shannon,
    reverse_kl,
)
from jaxval.alignment.registry import Loss, PairLoss, margin_loss, reward_loss
from jaxval.alignment.reward_losses import implicit_reward
from jaxval.alignment.tokens import (
    confidence_weight,
    desensitised_log_prob,
    negative_log_likelihood,
    response_log_prob,
)
from jaxval.alignment.two_phase import (
    offline_policy_loss,
    policy_divergence,
    proportional_policy,
    selected_shares,
    selector_loss,
)

__all__ = [
    "Loss",
    "alpha_divergence",
    "aot",
    "aot_unpaired",
    "bradley_terry",
    "confidence_weight",
    "desensitised_log_prob",
    "dispersion_from_index",
    "dispersion_weight",
    "divergences",
    "entropy_index",
    "find_loss",
    "forward_kl",
    "implicit_reward",
    "jensen_shannon",
    "kl_policy",
    "losses",
    "margin_loss",
    "negative_log_likelihood",
    "offline_policy_loss",
    "policy_divergence",
    "proportional_policy",
    "response_entropy_index",
    "response_log_prob",
    "reverse_kl",
    "reward_loss",
    "selected_shares",
    "selector_loss",
]
__all__ += list(losses)


def __getattr__(name: str) -> PairLoss:
    if name in losses:  # so that a new loss becomes an attribute without an import in this file
        return losses[name].function
    raise AttributeError(f"module 'jaxval.alignment' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *losses})
