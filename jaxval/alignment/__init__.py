"""Pure mathematics of alignment: arrays of log-probabilities in, losses and closed forms out.

A loss is a function of one pair, `loss(chosen, rejected, reference_chosen, reference_rejected, *, beta, ...)`, of the
log-probabilities that the policy and its reference give to the preferred response and to the other. All arguments are
scalars, or arrays of one shape for many pairs at once. Means and weights are the caller's:
`jnp.mean(weights * dpo(...))`. Every loss of `losses` is an attribute here under its own name; a loss of your own
begins with `margin_loss`.

Values are checked outside `jit`, `vmap` and `grad`. Inside, a log-probability of -inf counts as any number would and
may give infinity or NaN: replace rows that are padding before the loss, not after.
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
from jaxval.alignment.registry import Loss, PairLoss, margin_loss, record_of, reward_loss
from jaxval.alignment.reward_losses import implicit_reward
from jaxval.alignment.tokens import (
    confidence_weight,
    desensitised_log_prob,
    negative_log_likelihood,
    response_log_prob,
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
    "record_of",
    "response_entropy_index",
    "response_log_prob",
    "reverse_kl",
    "reward_loss",
]
__all__ += list(losses)


def __getattr__(name: str) -> PairLoss:
    if name in losses:  # a new loss is an attribute without being named here
        return losses[name].function
    raise AttributeError(f"module 'jaxval.alignment' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *losses})
