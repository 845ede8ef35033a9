"""Figures from results: lotteries, what they give to groups, trade-offs, values, removal curves, signatures.

Every function returns a matplotlib `Figure` and does not show it: `figure.savefig("name.png", dpi=200)` writes it.
Matplotlib is the extra `plots`. Colours are Okabe and Ito's, which colour-blind readers can tell apart.
Names are drawn as they are, never as formulas.
"""

from jaxval.plots.groups import plot_groups
from jaxval.plots.lotteries import plot_lotteries
from jaxval.plots.removal import plot_removal
from jaxval.plots.signature import plot_signature
from jaxval.plots.tradeoff import plot_tradeoff
from jaxval.plots.values import plot_values

__all__ = [
    "plot_groups",
    "plot_lotteries",
    "plot_removal",
    "plot_signature",
    "plot_tradeoff",
    "plot_values",
]
