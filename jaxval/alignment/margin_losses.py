"""DPO and other losses of the margin, which is how much more the policy has raised the chosen than the rejected.

Each function below is a link ℓ(m). `margin_loss` turns a link into the loss of one pair of log-probabilities with
margin m. `registry` documents the arguments that all losses take.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxval.alignment._pairs import PerPair, check_smoothing, check_within
from jaxval.alignment.registry import margin_loss

__all__ = ["discopop", "dpo", "exo", "hinge", "ipo", "length_normalised_dpo", "robust_dpo"]

TULU = 'Lambert et al., "Tülu 3" (2024); Meng et al., "SimPO" (2024) without a reference'


@margin_loss(source="Rafailov et al. (2023), equation (7); conservative DPO: Mitchell (2023)")
def dpo(margin: Array, *, label_smoothing: PerPair = 0.0) -> Array:
    """Direct preference optimisation, ℓ(m) = -(1-ε) log σ(m) - ε log σ(-m).

    The label smoothing ε in [0, 1/2) is the assumed share of flipped labels; ε > 0 is conservative DPO.

    Example:
        >>> round(float(dpo(-1.0, -2.0, -1.5, -1.5, beta=1.0)), 4)  # log(1 + 1/e)
        0.3133
    """
    flipped = check_smoothing(label_smoothing)
    return -(1 - flipped) * jax.nn.log_sigmoid(margin) - flipped * jax.nn.log_sigmoid(-margin)


@margin_loss(source='Chowdhury et al., "Provably Robust DPO" (2024)')
def robust_dpo(margin: Array, *, label_smoothing: PerPair = 0.0) -> Array:
    """Robust DPO, ℓ(m) = [-(1-ε) log σ(m) + ε log σ(-m)] / (1 - 2ε).

    This loss is an unbiased estimate of DPO's loss if a share ε in [0, 1/2) of the labels is flipped. It has no lower
    bound if ε > 0.

    Example:
        >>> round(float(robust_dpo(-1.0, -2.0, -1.5, -1.5, beta=1.0, label_smoothing=0.25)), 4)
        -0.1867
    """
    flipped = check_smoothing(label_smoothing)
    clean = -(1 - flipped) * jax.nn.log_sigmoid(margin) + flipped * jax.nn.log_sigmoid(-margin)
    return clean / (1 - 2 * flipped)


@margin_loss(source='Zhao et al., "SLiC-HF" (2023); Liu et al., "RSO" (2024)', obstacle="has a kink at margin 1")
def hinge(margin: Array) -> Array:
    """The hinge loss, ℓ(m) = max(0, 1 - m), which is 0 if the log-ratios differ by 1/β or more; ℓ'(1) is 0.

    Example:
        >>> float(hinge(-1.0, -2.0, -1.5, -1.5, beta=0.5))
        0.5
    """
    return jax.nn.relu(1 - margin)


@margin_loss(source="Azar et al. (2024), equation (17), with τ for β; TRL's with lengths in tokens")
def ipo(margin: Array, *, beta: Array | float) -> Array:
    """Identity preference optimisation, ℓ(m) = ((m - 1/2) / β)²: the target of the gap of log-ratios is 1/(2β).

    Lengths of 1 give the paper's loss. With lengths in tokens, β is comparable between long and short responses.

    Example:
        >>> float(ipo(-1.0, -2.0, -1.5, -1.5, beta=0.25))
        1.0
    """
    return ((margin - 0.5) / beta) ** 2


@margin_loss(source=TULU, per_token=True, obstacle="divides by the lengths of responses")
def length_normalised_dpo(margin: Array) -> Array:
    """DPO with log-ratios per token, ℓ(m) = -log σ(m), m = β[ρ(y+)/|y+| - ρ(y-)/|y-|].

    Example:
        >>> round(float(length_normalised_dpo(-1.0, -2.0, -1.5, -1.5, 2, 1, beta=4.0)), 4)  # log(1 + e^-3)
        0.0486
    """
    return -jax.nn.log_sigmoid(margin)


@margin_loss(source='Ji et al., "EXO" (2024), equation (16)', obstacle="is not convex")
def exo(margin: Array, *, label_smoothing: PerPair = 1e-3) -> Array:
    """Efficient exact optimisation, ℓ(m) = KL(q || p) with q = (σ(m), σ(-m)) and p = (1-ε, ε), ε in (0, 1/2).

    The loss is at least 0; it would be infinite at ε = 0.

    Example:
        >>> round(float(exo(-1.0, -1.0, -1.0, -1.0, beta=1.0, label_smoothing=0.1)), 4)
        0.5108
    """
    flipped = check_smoothing(label_smoothing, positive=True)
    right = jax.nn.sigmoid(margin) * (jax.nn.log_sigmoid(margin) - jnp.log1p(-flipped))
    wrong = jax.nn.sigmoid(-margin) * (jax.nn.log_sigmoid(-margin) - jnp.log(flipped))
    return right + wrong


@margin_loss(source='Lu et al., "DiscoPOP" (2024), equation (5)', obstacle="is convex at high temperatures only")
def discopop(margin: Array, *, temperature: PerPair = 0.05) -> Array:
    """DiscoPOP's log-ratio modulated loss, ℓ(m) = -σ(-m/τ) log σ(m) + σ(m/τ) e^{-m}.

    The temperature is τ > 0. If τ > 1, the loss grows exponentially as m → -∞, and overflows for very negative m.

    Example:
        >>> round(float(discopop(-1.0, -1.0, -1.0, -1.0, beta=1.0)), 4)  # half of 1 + log 2
        0.8466
    """
    sharp = margin / check_within("temperature", temperature, lambda tau: tau > 0, "a positive number")
    logistic = -jax.nn.sigmoid(-sharp) * jax.nn.log_sigmoid(margin)
    exponential = jnp.exp(jax.nn.log_sigmoid(sharp) - margin)  # one exponent: σ(m/τ) · e^{-m} would be 0 · ∞
    return logistic + exponential


__test__ = {name: globals()[name].__doc__ for name in __all__}  # doctest does not look into decorated functions
