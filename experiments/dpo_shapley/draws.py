"""Sources whose judgements are drawn from two true rewards, with a different quality for each source."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval.data import SyntheticPreferences, synthetic_preferences
from jaxval.preferences import count_wins
from jaxval.training import newton_optimum
from jaxval.types import Comparisons, Policy

__all__ = ["draw_preferences", "log_probs_of_sources", "wins_of"]

LOWEST, HIGHEST = -0.6, 1.0


def draw_preferences(
    seed: int, *, sources: int, contexts: int, responses: int, lowest: float = LOWEST, highest: float = HIGHEST
) -> SyntheticPreferences:
    """Sources with qualities uniform in [lowest, highest] under either reward: most are useful, some are harmful."""
    qualities = np.random.default_rng(seed).uniform(lowest, highest, (sources, 2))
    return synthetic_preferences(
        jax.random.key(seed),
        contexts=contexts,
        responses=responses,
        sources={f"source {i}": quality.tolist() for i, quality in enumerate(qualities)},
    )


def wins_of(drawn: SyntheticPreferences) -> Array:
    """(sources, contexts, responses, responses) how often each source preferred one response to another."""
    contexts, responses = drawn.responses.shape
    return jnp.stack([count_wins(part, alternatives=responses, contexts=contexts) for part in drawn.comparisons])


def log_probs_of_sources(policy: Policy, wins: Array, *, beta: float) -> tuple[Array, Array]:
    """Log π_0 (contexts, responses), and log π at the optimum of each source's wins, (sources, contexts, responses)."""
    _, contexts, responses, _ = wins.shape
    ids = np.arange(contexts), np.tile(np.arange(responses), (contexts, 1))
    x, y, z = np.nonzero(np.broadcast_to(~np.eye(responses, dtype=bool), wins.shape[1:]))
    start = policy.init(None)
    separate = [newton_optimum(policy, start, Comparisons(x, y, z, source[x, y, z]), beta=beta)[0] for source in wins]
    return policy.log_probs(start, *ids), jnp.stack([policy.log_probs(params, *ids) for params in separate])
