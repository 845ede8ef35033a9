"""Coalitions: masks and indices, utilities over all of them, games whose values are known.

A coalition is a mask (players,) of booleans, or the index whose bit i is player i; a utility maps one mask to a number
or to a vector of objectives; a table holds the utilities of all 2^n coalitions.
"""

from jaxval.coalitions import games
from jaxval.coalitions.games import Game
from jaxval.coalitions.masks import (
    all_coalitions,
    coalition_index,
    coalition_sizes,
    evaluate,
    index_coalition,
    tabulate,
)

__all__ = [
    "Game",
    "all_coalitions",
    "coalition_index",
    "coalition_sizes",
    "evaluate",
    "games",
    "index_coalition",
    "tabulate",
]
