r"""Alignment against the sum of share bounds
=========================================

How well the worst served group fares under F*, against its certificate 1/Σu, and what other rules leave such groups
(Kim et al., Lemma 4.7).

From a checkout, ``python -m experiments.figures --figure alignment`` writes the figure to ``results/figures``.
"""

from experiments import figures
from experiments.commands import precision

with precision(True):
    figure = figures.alignment()
