r"""What a group gains by misreporting
==================================

What a group can get by reporting other preferences than its own, against its share, under four rules (Kim et al.,
Theorem 4.11).

From a checkout, ``python -m experiments.figures --figure manipulation`` writes the figure to ``results/figures``.
"""

from experiments import figures
from experiments.commands import precision

with precision(True):
    figure = figures.manipulation()
