"""Sources whose judgements are drawn from two true rewards, each with a quality of its own."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxval.data import synthetic_preferences
from jaxval.training import stack_sources
from jaxval.types import Comparisons

__all__ = ["Drawn", "draw_sources"]

LOWEST, HIGHEST = -0.6, 1.0


class Drawn(NamedTuple):
    """A table of prompts and responses, its rewards, and what the sources say of it.

    Attributes:
        rewards: (contexts, responses, 2) the two true rewards.
        stacked: `Comparisons` of all sources, fields (sources, comparisons).
        wins: (sources, contexts, responses, responses) the same as counts.
    """

    rewards: Float[Array, "contexts responses objectives"]
    stacked: Comparisons
    wins: Float[Array, "sources contexts responses responses"]


def draw_sources(
    seed: int, *, sources: int, contexts: int, responses: int, lowest: float = LOWEST, highest: float = HIGHEST
) -> Drawn:
    """Sources with qualities uniform in [lowest, highest] under either reward: most are useful, some do harm."""
    qualities = np.random.default_rng(seed).uniform(lowest, highest, (sources, 2))
    drawn = synthetic_preferences(
        jax.random.key(seed), contexts=contexts, responses=responses,
        sources={f"source {i}": quality.tolist() for i, quality in enumerate(qualities)},
    )  # fmt: skip
    stacked = stack_sources(drawn.comparisons)
    who = jnp.broadcast_to(jnp.arange(sources)[:, None], stacked.weight.shape)
    wins = jnp.zeros((sources, contexts, responses, responses))
    wins = wins.at[who, stacked.context, stacked.winner, stacked.loser].add(stacked.weight)
    return Drawn(jnp.asarray(drawn.rewards), stacked, wins)
