"""Every loss of preference pairs by its definition, in plain NumPy and, for the Mallows links, in 250 digits."""

from decimal import Decimal, localcontext

import jax.numpy as jnp
import numpy as np

from jaxval import alignment


def log_sigmoid(x):
    return -np.logaddexp(0, -x)


def sigmoid(x):
    return np.exp(log_sigmoid(x))


def phi_by_definition(s, phi):
    """log g(s) of the link φ in 250 digits, straight from (s+1)/(1-φ^{s+1}) - s/(1-φ^s)."""
    with localcontext() as context:
        context.prec = 250
        t, phi = Decimal(float(abs(s))), Decimal(float(phi))
        g = (t + 1) / (1 - phi ** (t + 1)) - t / (1 - phi**t) if t else Decimal("0.5")
        return float((g if s >= 0 else 1 - g).ln())


def limit_by_definition(u):
    """log g(u) of the continuous limit in 250 digits, straight from (1 - e^{-u} - u e^{-u}) / (1 - e^{-u})²."""
    with localcontext() as context:
        context.prec = 250
        t = Decimal(float(abs(u)))
        e = (-t).exp()
        g = (1 - e - t * e) / (1 - e) ** 2 if t else Decimal("0.5")
        return float((g if u >= 0 else 1 - g).ln())


BETA, FLIPPED, DISPERSION = 0.5, 0.25, 0.5
DEFINITIONS = {  # of (r+, r-), the log-ratios of both responses; β = 1/2
    "dpo": ({}, lambda p, m: -log_sigmoid(BETA * (p - m))),
    "dpo, smoothed": (
        {"label_smoothing": FLIPPED},
        lambda p, m: -0.75 * log_sigmoid(BETA * (p - m)) - 0.25 * log_sigmoid(BETA * (m - p)),
    ),
    "robust_dpo": (
        {"label_smoothing": FLIPPED},
        lambda p, m: (-0.75 * log_sigmoid(BETA * (p - m)) + 0.25 * log_sigmoid(BETA * (m - p))) / 0.5,
    ),
    "hinge": ({}, lambda p, m: max(0.0, 1 - BETA * (p - m))),
    "ipo": ({}, lambda p, m: (p - m - 1) ** 2),
    "exo": (
        {"label_smoothing": FLIPPED},
        lambda p, m: (
            sigmoid(BETA * (p - m)) * (log_sigmoid(BETA * (p - m)) - np.log(0.75))
            + sigmoid(BETA * (m - p)) * (log_sigmoid(BETA * (m - p)) - np.log(0.25))
        ),
    ),
    "discopop": (
        {"temperature": 0.5},
        lambda p, m: -log_sigmoid(BETA * (p - m)) * sigmoid(m - p) + np.exp(-BETA * (p - m) + log_sigmoid(p - m)),
    ),
    "nca": (
        {},
        lambda p, m: -log_sigmoid(BETA * p) - log_sigmoid(-BETA * p) / 2 - log_sigmoid(-BETA * m) / 2,
    ),
    "bco": ({"shift": 0.25}, lambda p, m: -log_sigmoid(BETA * p - 0.25) - log_sigmoid(0.25 - BETA * m)),
    "sppo": ({"probability": 0.75}, lambda p, m: (p - 0.5) ** 2 + (m + 0.5) ** 2),
    "apo_zero": ({}, lambda p, m: 1 - sigmoid(BETA * p) + sigmoid(BETA * m)),
    "apo_down": ({}, lambda p, m: sigmoid(BETA * p) + 1 - sigmoid(BETA * (p - m))),
    "mallows_theta": ({"dispersion": DISPERSION}, lambda p, m: -log_sigmoid(np.log(4) * BETA * (p - m))),
    "mallows_phi": ({"dispersion": DISPERSION}, lambda p, m: -phi_by_definition(BETA * (p - m), DISPERSION)),
    "mallows_phi_limit": (
        {"dispersion": DISPERSION},
        lambda p, m: -limit_by_definition(np.log(2) * BETA * (p - m)),
    ),
}
MARGIN_ONLY = {"dpo", "dpo, smoothed", "robust_dpo", "hinge", "ipo", "exo", "discopop"} | {
    name for name in DEFINITIONS if name.startswith("mallows")
}
RATIOS = np.array(  # log-ratios; the last rows give |s| = 300 with β = 1/2
    [[0.5, -0.25], [-1.5, 2.0], [0.25, 0.25], [4.0, 1.0], [-3.0, -3.5], [30.0, -30.0], [-300.0, 300.0], [300.0, -300.0]]
)


def loss_of_ratios(name, p, m, **options):
    """The loss at references of -7 and -3, with every option of its definition."""
    loss = alignment.find_loss(name.split(",")[0])
    return loss(p - 7, m - 3, jnp.full_like(p, -7), jnp.full_like(m, -3), beta=BETA, **options)
