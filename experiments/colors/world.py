"""A draw of the paper's data on colours, how a policy is measured, and the paper's figures with what they allow."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.episodes import ppa_level
from jaxval import preferences, social_choice
from jaxval.types import Comparisons

__all__ = ["BETAS", "COLOURS", "METHODS", "PAPER", "PROMPTS", "World", "draw_world", "limits", "measured", "name_of"]

BETAS = (0.0, 1e-4, 1e-2, 1.0, 10.0, 100.0)
PROMPTS = (
    "Which color do you find the most appealing?",
    "Which color best represents your personality?",
    "When decorating your room, what color do you prefer?",
    "What is your favorite color?",
    "Which color do you like the most?",
    "If you had to choose just one color, which would it be?",
    "Among all colors, what's your top pick?",
    "If you could only wear one color forever, what would you choose?",
    "What color makes you feel happiest?",
    "Which color do you prefer most?",
)
COLOURS = ("Red", "Blue", "Green", "Yellow", "Purple", "Orange", "Pink", "Brown", "Black", "White")
PAPER = {  # Table 2: win rate against the pretrained model, PPA level
    "β = 0": (0.6157, 0.0883),
    "β = 0.0001": (0.6880, 0.0235),
    "β = 0.01": (0.6961, 0.0183),
    "β = 1": (0.8429, 0.0003),
    "DPO": (0.8566, 0.0000),
}


def name_of(beta: float) -> str:
    """The name of F^β in tables."""
    return f"β = {beta:g}"


METHODS = (*map(name_of, BETAS), "DPO")


class World(NamedTuple):
    """Evaluators and their comparisons.

    Attributes:
        matrices: (prompts, colours, colours) P of the evaluators.
        shares: (prompts, colours) w, the shares of first choices.
        comparisons: the comparisons that were drawn from P, counted.
    """

    matrices: np.ndarray
    shares: np.ndarray
    comparisons: Comparisons


def draw_world(seed: int, *, evaluators: int, comparisons: int) -> World:
    """Centre rewards N(0, 1) and for each evaluator noise N(0, 1); then comparisons of random pairs, drawn from P.

    Args:
        seed: of everything that is drawn.
        evaluators: the number of evaluators of each prompt.
        comparisons: the number of comparisons of all prompts together; prompts and pairs are equally likely.
    """
    rng = np.random.default_rng(seed)
    size = (len(PROMPTS), len(COLOURS))
    rewards = rng.normal(size=(size[0], 1, size[1])) + rng.normal(size=(size[0], evaluators, size[1]))
    orders = jnp.asarray(np.argsort(-rewards, axis=2))
    matrices = np.asarray(jax.vmap(preferences.preference_matrix)(orders))
    shares = np.asarray(jax.vmap(preferences.first_choice_shares)(orders))
    i, j = np.triu_indices(size[1], 1)
    cells = size[0] * len(i)
    compared = rng.multinomial(comparisons, np.full(cells, 1 / cells)).reshape(size[0], len(i))
    won = rng.binomial(compared, np.clip(matrices[:, i, j], 0, 1))
    wins = np.zeros(matrices.shape)
    wins[:, i, j], wins[:, j, i] = won, compared - won
    return World(matrices, shares, all_pairs(wins))


def all_pairs(wins: np.ndarray) -> Comparisons:
    """Comparisons of every ordered pair of colours, with the numbers of wins as weights."""
    context, winner, loser = np.nonzero(np.broadcast_to(~np.eye(wins.shape[1], dtype=bool), wins.shape))
    return Comparisons(context, winner, loser, wins[context, winner, loser])


@jax.jit
def _measures(policies: Any, matrices: Any, shares: Any) -> tuple[Any, ...]:
    win = jax.vmap(social_choice.win_rate_over_uniform)(matrices, policies)
    against = jnp.einsum("xi,xij->xj", policies, matrices)
    return win, jax.vmap(ppa_level)(policies, shares), against.min(axis=1), against.max(axis=1)


def measured(policies: np.ndarray, world: World) -> dict[str, float]:
    """The measures of a policy, means over prompts.

    Args:
        policies: (prompts, colours) probabilities.
        world: whose P and w a policy is measured against.

    Returns:
        The win rate against a uniform reference, the PPA level, and the win rates against the references that answer
        what is hardest and what is easiest to beat.
    """
    numbers = _measures(jnp.asarray(policies), jnp.asarray(world.matrices), jnp.asarray(world.shares))
    names = ("win rate", "PPA level", "least win rate", "largest win rate")
    return {name: float(np.mean(number)) for name, number in zip(names, numbers, strict=True)}


def limits() -> list[dict[str, Any]]:
    """How far the paper's figures can differ between two β if only the rule differs, and û is the same.

    Let π_β ∝ û exp(βû) with û in [0, 1], and d = β' - β. Then π_β'(y) / π_β(y) = exp(dû(y)) / E_β exp(dû) is at least
    e^{-d}, so that a PPA level, and a mean of PPA levels, is at least e^{-d} times what it was. The likelihood ratios
    of two responses differ by at most a factor e^d, so that the total variation between the policies is at most
    tanh(d/4), and so is the change of a win rate against any reference.

    Returns:
        For each step from one β of the paper to the next, its figures and these bounds.
    """
    rows = []
    named = [(beta, name_of(beta)) for beta in BETAS if name_of(beta) in PAPER]
    for (low, before), (high, after) in itertools.pairwise(named):
        (win, level), (later_win, later_level) = PAPER[before], PAPER[after]
        rows.append(
            {
                "from": before,
                "to": after,
                "PPA ratio": later_level / level,
                "smallest PPA ratio": float(np.exp(low - high)),
                "win rate change": later_win - win,
                "largest win rate change": float(np.tanh((high - low) / 4)),
            }
        )
    return rows
