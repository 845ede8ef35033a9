"""Policies from the comparisons, each stage nearer to a trained transformer than the one before.

rule         F^β of the true P; for DPO, the Bradley-Terry optimum of P
estimated    the same of P̂, the shares of the comparisons won: what a tabular policy learns without a KL coefficient
coefficient  the tabular optimum of what is trained: both phases with a KL coefficient, towards a uniform reference
transformer  a small one over words, trained by AdamW on the same; its reference is uniform, as its last layer is 0
printed      the tabular optimum of the losses (50) and (53) as the paper prints them, with the same coefficient
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.colors.world import BETAS, COLOURS, PROMPTS, World, all_pairs, name_of
from experiments.commands import precision
from jaxval import policies, preferences, social_choice, training
from jaxval.types import Policy

__all__ = ["STAGES", "Transformer", "exact_stages", "printed_optimum", "printed_selector"]

STAGES = ("rule", "estimated", "coefficient", "transformer", "printed")
COEFFICIENT = 0.1  # Table 6; also β of DPO
RIDGE = 1e-3  # of the Bradley-Terry fits: a colour that never lost has no finite optimum
LEAST = 1e-9  # a share that a selector leaves
IDS = (np.arange(len(PROMPTS)), np.tile(np.arange(len(COLOURS)), (len(PROMPTS), 1)))

KL: dict[str, Any] = {"selector_coefficient": COEFFICIENT, "policy_coefficient": COEFFICIENT}

By = dict[str, np.ndarray]  # (prompts, colours) probabilities by method


def exact_stages(world: World) -> dict[str, By]:
    """The policies of all stages without a transformer, by stage and method."""
    wins = preferences.count_wins(world.comparisons, alternatives=len(COLOURS), contexts=len(PROMPTS))
    estimates = np.asarray(jax.vmap(preferences.empirical_matrix)(wins))
    each = float(np.sum(world.comparisons.weight)) / (len(PROMPTS) * len(COLOURS) * (len(COLOURS) - 1) / 2)
    found = {
        "rule": {**_rule(world.matrices), "DPO": _bradley_terry(all_pairs(each * world.matrices))},
        "estimated": {**_rule(estimates), "DPO": _bradley_terry(world.comparisons)},
        "coefficient": {name_of(beta): _regularised(world, beta) for beta in BETAS},
        "printed": {name_of(beta): printed_optimum(np.asarray(wins), beta) for beta in BETAS},
    }
    found["coefficient"]["DPO"] = found["estimated"]["DPO"]  # DPO has its coefficient from the start
    return found


def _rule(matrices: np.ndarray) -> By:
    """F^β for every β."""
    betas = jnp.asarray(BETAS)
    lotteries = jax.vmap(lambda beta: jax.vmap(lambda one: social_choice.proportional(one, beta=beta))(matrices))(betas)
    return {name_of(beta): np.asarray(lottery) for beta, lottery in zip(BETAS, lotteries, strict=True)}


def _bradley_terry(pairs: Any) -> np.ndarray:
    """The optimum of DPO over a table."""
    table = policies.tabular(len(PROMPTS), len(COLOURS))
    params, _ = training.newton_optimum(table, table.init(None), pairs, beta=COEFFICIENT, ridge=RIDGE)
    return np.exp(table.log_probs(params, *IDS))


def _regularised(world: World, beta: float) -> np.ndarray:
    """The tabular optimum of both phases with the KL coefficient, for β."""
    table, asked = (policies.tabular(rows, len(COLOURS)) for rows in (len(PROMPTS), len(PROMPTS) * len(COLOURS)))
    selector = training.Selector(asked, asked.init(None))
    params, _ = training.proportional(table, table.init(None), world.comparisons, beta=beta, selector=selector, **KL)
    return np.exp(table.log_probs(params, *IDS))


def printed_selector(wins: np.ndarray, *, coefficient: float = COEFFICIENT) -> np.ndarray:
    """The tabular minimiser of (50) with a KL to the uniform reference: μ(z|x, y) at [x, y, z], also for z = y."""
    cost = wins.shape[1] * wins / np.maximum(wins.sum(axis=2, keepdims=True), 1)
    selector = np.exp(-(cost - cost.min(axis=2, keepdims=True)) / coefficient)
    return selector / selector.sum(axis=2, keepdims=True)


def printed_optimum(wins: np.ndarray, beta: float, *, coefficient: float = COEFFICIENT) -> np.ndarray:
    """The tabular minimiser of (50) and then of (53) as printed, each with a KL to the uniform reference.

    π_d is uniform, as the pairs are. With c(y) how often y was compared, relative to the mean, and s(y) the sum of
    what (53) has in the logarithm for y, (53) is Σ_y [c π log π - s π], plus the coefficient times Σ_y π log π: each
    log π(y) is (λ + s(y) - c(y)) / (c(y) + coefficient), with λ such that π sums to one.

    Args:
        wins: (prompts, colours, colours) how often the first was preferred to the second.
        beta: β.
        coefficient: of both KLs.

    Returns:
        (prompts, colours) probabilities.
    """
    many, selector = wins.shape[1], printed_selector(wins, coefficient=coefficient)
    back = np.swapaxes(selector, 1, 2)  # [x, w, l]: μ(w|x, l)
    of_winner = np.log(0.5 + 0.5 * back) + beta * (0.5 + 0.5 * back)
    of_loser = np.log(np.maximum(0.5 - 0.5 * selector, LEAST)) + beta * (0.5 - 0.5 * back)
    scale = many / wins.sum(axis=(1, 2), keepdims=True)[..., 0]
    times = (wins.sum(axis=1) + wins.sum(axis=2)) * scale
    score = ((wins * of_winner).sum(axis=2) + (wins * of_loser).sum(axis=1)) * scale
    low, high = np.full((len(wins), 1), -1e4), np.full((len(wins), 1), 1e4)
    for _ in range(100):
        middle = (low + high) / 2
        with np.errstate(over="ignore"):
            above = np.exp((middle - times + score) / (times + coefficient)).sum(axis=1, keepdims=True) > 1
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    shares = np.exp((low - times + score) / (times + coefficient))
    return shares / shares.sum(axis=1, keepdims=True)


class Transformer:
    """A transformer over words: a prompt is its words, a colour is one token, as it is for a language model.

    Args:
        steps: the minibatches of each training.
        width: of the transformer.
    """

    def __init__(self, steps: int, width: int) -> None:
        words = [re.findall(r"[\w']+|[^\w\s]", prompt) for prompt in PROMPTS]
        every = sorted({word for prompt in words for word in prompt})
        ids = {word: number for number, word in enumerate([*every, *COLOURS])}
        prompts, colours = [[ids[word] for word in prompt] for prompt in words], [[ids[name]] for name in COLOURS]
        answers = [colours] * len(prompts)
        asked, opponents = policies.selector_prompts(prompts, answers, separator=[len(ids)])
        longest = max(map(len, asked)) + 1
        with precision(False):
            self.model = policies.transformer(
                vocabulary=len(ids) + 1, length=longest, width=width, layers=2, heads=2, tied=False
            )
            self.policy = policies.over_catalogue(self.model, prompts, answers)
            self.asked = policies.over_catalogue(self.model, asked, opponents)
            self.optimiser = training.adamw(1e-2, steps=steps)
        self.steps = steps

    def start(self, seed: int) -> Any:
        """Parameters at random, but for the last layer, which is 0: the reference is uniform."""
        params = self.model.init(jax.random.key(seed))
        return {**params, "scores": jax.tree.map(jnp.zeros_like, params["scores"])}

    def train(self, world: World, seed: int, advance: Callable[[], None]) -> By:
        """The policies of all methods; û of phase 1 serves every β."""
        found: By = {}
        bounds = None
        how: dict[str, Any] = {"optimiser": self.optimiser, "steps": self.steps, "every": self.steps}
        with precision(False):
            reference, key = self.start(seed), jax.random.key(seed)
            for beta in BETAS:
                given: dict[str, Any] = {"bounds": bounds}
                if bounds is None:
                    given = {"selector": training.Selector(self.asked, reference)}
                params, found_both = training.proportional(
                    self.policy, reference, world.comparisons, beta=beta, batch_size=10, key=key, **given, **KL, **how
                )
                bounds = np.asarray(found_both.bounds)
                found[name_of(beta)] = probabilities(self.policy, params)
                advance()
            params, _ = training.train_minibatches(
                self.policy, reference, world.comparisons, beta=COEFFICIENT, batch_size=90, key=key, **how
            )
            found["DPO"] = probabilities(self.policy, params)
            advance()
        return found


def probabilities(policy: Policy, params: Any) -> np.ndarray:
    """(prompts, colours) probabilities among the colours, in float64."""
    shares = np.exp(np.asarray(policies.normalise(policy.log_probs(params, *IDS)), dtype=float))
    return shares / shares.sum(axis=1, keepdims=True)
