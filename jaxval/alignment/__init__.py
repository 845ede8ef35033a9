"""Pure mathematics of alignment: arrays of log-probabilities in, losses and closed forms out.

A loss is a function of one pair, `loss(chosen, rejected, reference_chosen, reference_rejected, *, beta, ...)`, of the
log-probabilities that the policy and its reference give to the preferred response and to the other. Means and weights
are the caller's: `jnp.mean(weights * dpo(...))`. `losses` holds them all by name.
"""

from jaxval.alignment.batch_losses import aot, aot_unpaired
from jaxval.alignment.catalogue import find_loss, losses
from jaxval.alignment.closed_form import (
    bradley_terry,
    bradley_terry_rewards,
    bradley_terry_rewards_solve,
    context_wins,
    kl_policy,
)
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
from jaxval.alignment.mallows import (
    mallows_phi,
    mallows_phi_limit,
    mallows_phi_limit_log_link,
    mallows_phi_log_link,
    mallows_theta,
    mallows_theta_log_link,
)
from jaxval.alignment.margin_losses import discopop, dpo, exo, hinge, ipo, length_normalised_dpo, robust_dpo
from jaxval.alignment.reward_losses import apo_down, apo_zero, bco, implicit_reward, nca, sppo
from jaxval.alignment.tokens import (
    confidence_weight,
    desensitised_log_prob,
    negative_log_likelihood,
    response_log_prob,
)

__all__ = [
    "alpha_divergence",
    "aot",
    "aot_unpaired",
    "apo_down",
    "apo_zero",
    "bco",
    "bradley_terry",
    "bradley_terry_rewards",
    "bradley_terry_rewards_solve",
    "confidence_weight",
    "context_wins",
    "desensitised_log_prob",
    "discopop",
    "dispersion_from_index",
    "dispersion_weight",
    "divergences",
    "dpo",
    "entropy_index",
    "exo",
    "find_loss",
    "forward_kl",
    "hinge",
    "implicit_reward",
    "ipo",
    "jensen_shannon",
    "kl_policy",
    "length_normalised_dpo",
    "losses",
    "mallows_phi",
    "mallows_phi_limit",
    "mallows_phi_limit_log_link",
    "mallows_phi_log_link",
    "mallows_theta",
    "mallows_theta_log_link",
    "nca",
    "negative_log_likelihood",
    "response_entropy_index",
    "response_log_prob",
    "reverse_kl",
    "robust_dpo",
    "sppo",
]
