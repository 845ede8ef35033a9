r"""Two sources in both orders
==========================

Two sources, one after another in both orders, and their union (Tamine et al., Algorithm 1). In sequence, rewards add;
in the union, evidence is pooled.

From a checkout, ``python -m experiments.figures --figure commutativity`` writes the figure to ``results/figures``.
"""

from experiments import figures
from experiments.commands import precision

with precision(True):
    figure = figures.commutativity()
