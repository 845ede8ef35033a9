"""Coalitions: masks and indices, utilities over all of them, games whose values are known.

A coalition is a mask (players,) of booleans, or the index whose bit i is player i; a utility maps one mask to a number
or to a vector of objectives; a table holds the utilities of all 2^n coalitions.
"""

from jaxval.coalitions import games
from jaxval.coalitions.evaluation import Evaluation, as_evaluation, evaluate_coalitions, tabulate
from jaxval.coalitions.evaluator import Evaluator, evaluator
from jaxval.coalitions.games import Game
from jaxval.coalitions.masks import (
    all_coalitions,
    coalition_index,
    coalition_sizes,
    index_coalition,
)
from jaxval.coalitions.parameters import add_adapters, add_parameters
from jaxval.coalitions.pool_checks import PoolChecks, PoolDiagnostics, pool_diagnostics
from jaxval.coalitions.pools import pool_proposal, pool_sizes, pool_utility
from jaxval.coalitions.responses import combine, expected_reward, reward_utility
from jaxval.coalitions.tokens import TokenArithmetic, combine_next_tokens, score_coalitions, token_arithmetic

__all__ = [
    "Evaluation",
    "Evaluator",
    "Game",
    "PoolChecks",
    "PoolDiagnostics",
    "TokenArithmetic",
    "add_adapters",
    "add_parameters",
    "all_coalitions",
    "as_evaluation",
    "coalition_index",
    "coalition_sizes",
    "combine",
    "combine_next_tokens",
    "evaluate_coalitions",
    "evaluator",
    "expected_reward",
    "games",
    "index_coalition",
    "pool_diagnostics",
    "pool_proposal",
    "pool_sizes",
    "pool_utility",
    "reward_utility",
    "score_coalitions",
    "tabulate",
    "token_arithmetic",
]
