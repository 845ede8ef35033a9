"""Sources whose judgements are drawn from two true rewards, with a different quality for each source."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxval.data import SyntheticPreferences, synthetic_preferences
from jaxval.training import newton_optimum, stack_sources
from jaxval.types import Comparisons, Policy

__all__ = ["Drawn", "as_arrays", "draw_preferences", "log_probs_of_sources"]

LOWEST, HIGHEST = -0.6, 1.0


class Drawn(NamedTuple):
    """The true rewards of prompts and responses, and the comparisons of the sources.

    Attributes:
        rewards: (contexts, responses, 2) the two true rewards.
        stacked: `Comparisons` of all sources, fields (sources, comparisons).
        wins: (sources, contexts, responses, responses) the comparisons as counts.
    """

    rewards: Float[Array, "contexts responses objectives"]
    stacked: Comparisons
    wins: Float[Array, "sources contexts responses responses"]


def draw_preferences(
    seed: int, *, sources: int, contexts: int, responses: int, lowest: float = LOWEST, highest: float = HIGHEST
) -> SyntheticPreferences:
    """Sources with qualities uniform in [lowest, highest] under either reward: most are useful, some are harmful."""
    qualities = np.random.default_rng(seed).uniform(lowest, highest, (sources, 2))
    return synthetic_preferences(
        jax.random.key(seed), contexts=contexts, responses=responses,
        sources={f"source {i}": quality.tolist() for i, quality in enumerate(qualities)},
    )  # fmt: skip


def as_arrays(drawn: SyntheticPreferences) -> Drawn:
    """The drawn preferences without names, as a pytree of arrays."""
    contexts, responses = drawn.responses.shape
    stacked = stack_sources(drawn.comparisons)
    who = jnp.broadcast_to(jnp.arange(len(drawn.sources))[:, None], stacked.weight.shape)
    wins = jnp.zeros((len(drawn.sources), contexts, responses, responses))
    wins = wins.at[who, stacked.context, stacked.winner, stacked.loser].add(stacked.weight)
    return Drawn(jnp.asarray(drawn.rewards), stacked, wins)


def log_probs_of_sources(policy: Policy, wins: Array, *, beta: float) -> tuple[Array, Array]:
    """Log π_0 (contexts, responses), and log π at the optimum of each source's wins, (sources, contexts, responses)."""
    _, contexts, responses, _ = wins.shape
    ids = np.arange(contexts), np.tile(np.arange(responses), (contexts, 1))
    x, y, z = np.nonzero(np.broadcast_to(~np.eye(responses, dtype=bool), wins.shape[1:]))
    start = policy.init(None)
    separate = [newton_optimum(policy, start, Comparisons(x, y, z, source[x, y, z]), beta=beta)[0] for source in wins]
    return policy.log_probs(start, *ids), jnp.stack([policy.log_probs(params, *ids) for params in separate])
