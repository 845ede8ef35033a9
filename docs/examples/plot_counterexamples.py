r"""Six questions whose answer is no
================================

Each question at the smallest instance that answers it.

From a checkout, ``python -m experiments.figures --figure counterexamples`` writes the figure to ``results/figures``.
"""

from experiments import figures
from experiments.commands import precision

with precision(True):
    figure = figures.counterexamples()
