"""Models that rate products, all used in the same way: a policy to fine-tune on ratings, and a function that rates.

A model computes in float32, whatever the precision outside is.

linear       log π(y|x) = θ·f(x, y) - y²/2s²: a discretised normal rating whose mean is a sum of part-worths
transformer  a small one over bytes, which writes "Rating: 57" after the words of a product
smollm       SmolLM2-135M-Instruct with low-rank adapters; the paper's prompt is its system message
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import optax

from experiments.commands import precision
from experiments.procurement.market import ATTRIBUTES, DESIGN, PROFILES
from jaxval import policies, training
from jaxval.types import Params, Policy, SequenceModel

__all__ = ["POLICIES", "Rater", "make_rater", "read_rating"]

TEMPERATURE = 0.7
RATINGS = np.arange(101)
SPREAD = 10.0  # s, the standard deviation of the linear policy's ratings at temperature 1
INSTRUCTION = (
    "You are a consumer who rates products based on their attributes. Please provide a rating for the given product "
    "information. The score should be an integer between 0 and 100. Do not include any explanations. The rating format "
    "must be 'Rating: X'."
)
POLICIES = ("linear", "transformer", "smollm")


class Stage(NamedTuple):
    """How the policy is fine-tuned: by which optimiser, in how many epochs and with how many ratings in a minibatch."""

    optimiser: optax.GradientTransformation
    epochs: int
    batch_size: int


class Rater(NamedTuple):
    """A model that rates products.

    Attributes:
        policy: contexts are the 64 products, responses the 101 ratings.
        rate: `rate(key, params, draws)` gives (64, draws) ratings at temperature 0.7, NaN for an answer that is no
            rating.
        first: how it is fine-tuned on the biased ratings.
        later: how it is fine-tuned on what was bought.
    """

    policy: Policy
    rate: Callable[[Any, Params, int], np.ndarray]
    first: Stage
    later: Stage

    def tune(self, params: Params, products: np.ndarray, ratings: np.ndarray, key: Any, stage: Stage) -> Params:
        """The parameters after fine-tuning on ratings of products."""
        steps = stage.epochs * -(-len(products) // stage.batch_size)
        how = {"optimiser": stage.optimiser, "steps": steps, "batch_size": stage.batch_size, "key": key}
        with precision(False):
            return training.fine_tune(self.policy, params, products, ratings, every=steps, **how)[0]

    def start(self, key: Any) -> Params:
        """The parameters of a model that has seen no rating."""
        with precision(False):
            return self.policy.init(key)


def make_rater(name: str, model: str | None = None, layers: int = 6) -> Rater:
    """The rater of a name.

    Args:
        name: linear, transformer or smollm.
        model: the GGUF file of SmolLM2; None means that of the installed package.
        layers: in how many of SmolLM2's layers, the last ones, there are adapters.
    """
    makers = {"linear": _linear, "transformer": _transformer, "smollm": lambda: _smollm(model, layers)}
    with precision(False):
        return makers[name]()


def _linear() -> Rater:
    features = (RATINGS / SPREAD)[None, :, None] * DESIGN[:, None, :]
    base = np.broadcast_to(-((RATINGS / SPREAD) ** 2) / 2, features.shape[:2])
    policy = policies.log_linear(features, base=base)
    candidates = np.tile(RATINGS, (len(PROFILES), 1))

    def rate(key: Any, params: Params, draws: int) -> np.ndarray:
        with precision(False):
            drawn = policies.sample_responses(
                key, policy, params, np.arange(len(PROFILES)), candidates, num=draws, temperature=TEMPERATURE
            )
        return np.asarray(drawn, float)

    later = Stage(optax.sgd(0.2), epochs=2, batch_size=10)
    return Rater(policy, rate, later._replace(epochs=10), later)


def _transformer() -> Rater:
    tokeniser = policies.byte_tokeniser()
    model = policies.transformer(vocabulary=tokeniser.vocabulary, length=48, width=64, layers=2, heads=4)
    prompts = [" ".join(profile) for profile in PROFILES]
    first = Stage(optax.adamw(3e-3), epochs=40, batch_size=50)
    return _writer(model, tokeniser, prompts, first, Stage(optax.adamw(1e-3), epochs=4, batch_size=10))


def _smollm(file: str | None, layers: int) -> Rater:
    from experiments.smollm.setting import find_model  # it loads the rooms of sources, which the others do not need

    base, params, tokeniser = policies.read_llama(find_model(file))
    model = policies.low_rank(base, params, rank=8, alpha=16.0, layers=layers)
    products = [
        ", ".join(f"{n}: {level}" for n, level in zip(ATTRIBUTES, profile, strict=True)) for profile in PROFILES
    ]
    chats = [[{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": product}] for product in products]
    stage = Stage(optax.adamw(2e-3), epochs=2, batch_size=10)
    return _writer(model, tokeniser, chats, stage, stage)


def _writer(
    model: SequenceModel, tokeniser: policies.Tokeniser, prompts: Sequence[Any], first: Stage, later: Stage
) -> Rater:
    """A sequence model that writes its rating after the prompt."""
    asked = [policies.encode_prompt(tokeniser, prompt) for prompt in prompts]
    answers = [[*tokeniser.encode(f"Rating: {rating}"), tokeniser.end] for rating in RATINGS]
    policy = policies.over_catalogue(model, asked, [answers] * len(asked), batch_size=32)
    padded = policies.pad_sequences(asked)
    longest = max(map(len, answers))

    def rate(key: Any, params: Params, draws: int) -> np.ndarray:
        how: dict[str, Any] = {"num_tokens": longest, "responses": draws, "end": tokeniser.end}
        with precision(False):
            drawn = policies.sample(key, model, params, padded, temperature=TEMPERATURE, **how)
        texts = [
            tokeniser.decode(row[:length])
            for row, length in zip(np.asarray(drawn.tokens).tolist(), np.asarray(drawn.lengths).tolist(), strict=True)
        ]
        return np.array([read_rating(text) for text in texts]).reshape(len(asked), draws)

    return Rater(policy, rate, first, later)


def read_rating(text: str) -> float:
    """The number of an answer "Rating: X" from 0 to 100; NaN for any other text."""
    found = re.fullmatch(r"Rating: (\d{1,3})", text.strip())
    return float(found[1]) if found and int(found[1]) <= 100 else float("nan")
