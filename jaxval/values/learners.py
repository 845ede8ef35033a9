"""What turns the pairs of one source into a policy: a table, features of text, a transformer, a published checkpoint.

A learner is made once for all sources, over their common catalogue of prompts and responses, so that the policies of
different sources can be combined. The penalty ρ of the first two is stated in rewards, r̂ = β log π/π_k:

Σ_i -log σ(r̂(x_i, y_i⁺) - r̂(x_i, y_i⁻)) + ρ/2 Σ_{x,y} (r̂(x, y) - mean_y r̂(x, y))²

over all responses of the catalogue; it is on the step from the stage's own reference π_k, so that rewards of sources
add up whatever their order. In the units of `training.fit`, ridge = ρ β².
"""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxval import _checks, policies, training
from jaxval.data import PreferencePairs
from jaxval.types import Comparisons, Params, Policy, SequenceModel

__all__ = ["Learner", "checkpoint_learner", "log_linear_learner", "tabular_learner", "transformer_learner"]

TABLE_RIDGE = 0.1
TEXT_RIDGE = 1.0  # of 0.1 to 3, the largest reward of union training, and of seeds' splits, on UltraFeedback pairs


class Learner(NamedTuple):
    """A policy over the catalogue of the pairs, and a way to train it.

    Attributes:
        policy: over the prompts and responses of the pairs.
        start: `start(key)` gives the parameters of the reference.
        train: `train(reference, comparisons, key, folder)` gives parameters after DPO on the comparisons from this
            reference and against it; `folder` is None, or where checkpoints of the training may go.
        generalises: whether training on some prompts says anything of others; where not, all prompts are evaluated.
        random: whether training or the start depend on the key.
        model: the sequence model inside, for arithmetic on tokens; None where there is none.
        catalogue: the tokenised prompts and responses that belong to it.
        adapters: whether parameters are low-rank adapters, whose products add up and not they themselves.
    """

    policy: Policy
    start: Callable[[Any], Params]
    train: Callable[[Params, Comparisons, Any, Path | None], Params]
    generalises: bool
    random: bool
    model: SequenceModel | None = None
    catalogue: policies.Catalogue | None = None
    adapters: bool = False


def tabular_learner(pairs: PreferencePairs, *, beta: float, ridge: float = TABLE_RIDGE) -> Learner:
    """A free reward for every prompt and response, for pairs whose prompts come back: all sources judge the same.

    Args:
        pairs: of all sources.
        beta: β > 0.
        ridge: ρ, which keeps rewards finite where a response never loses; 0 for none.

    Returns:
        A `Learner`; nothing is random, and it says nothing of prompts without pairs.

    Raises:
        ValueError: where β or ρ are out of range; by `train`, where no finite optimum exists.

    Example:
        >>> from jaxval import data
        >>> ids = data.PreferencePairs(
        ...     ("p",), (("a", "b"),), Comparisons([0], [0], [1], [1.0]), jnp.array([0]), ("one",), {}, "example")
        >>> learner = tabular_learner(ids, beta=1.0, ridge=1.0)
        >>> params = learner.train(learner.start(None), ids.comparisons, None, None)
        >>> [round(float(p), 2) for p in jnp.exp(learner.policy.log_probs(params, [0], [[0, 1]]))[0]]
        [0.66, 0.34]
    """
    policy = policies.tabular(len(pairs.prompts), max(2, max(map(len, pairs.responses))))
    return Learner(policy, policy.init, _newton(policy, beta, ridge), generalises=False, random=False)


def log_linear_learner(
    pairs: PreferencePairs, *, beta: float, ridge: float = TEXT_RIDGE, buckets: int = 256
) -> Learner:
    """A weight for each feature of the text, the same for all prompts, for pairs whose prompts are mostly distinct.

    Features are those of `policies.text_features`, in standard deviations. The penalty falls on the weights of all of
    them alike, and is in all as strong as the one above: that one would keep the rewards of prompts without pairs at 0
    where features outnumber prompts.

    Args:
        pairs: of all sources.
        beta: β > 0.
        ridge: ρ, without which distinct prompts can be ranked without a mistake and no finite optimum exists.
        buckets: of the hashed n-grams.

    Returns:
        A `Learner`; nothing is random.

    Raises:
        ValueError: where β or ρ are out of range; by `train`, where no finite optimum exists.

    Example:
        >>> from jaxval import data
        >>> texts = (("A whole answer.", "No."), ("A whole one.", "No!"))
        >>> two = data.PreferencePairs(("p", "q"), texts, Comparisons([0], [0], [1], [1.0]), jnp.array([0]),
        ...     ("one",), {}, "example")
        >>> learner = log_linear_learner(two, beta=1.0, ridge=0.1, buckets=16)
        >>> params = learner.train(learner.start(None), two.comparisons, None, None)
        >>> bool(jnp.exp(learner.policy.log_probs(params, [1], [[0, 1]]))[0, 0] > 0.5)  # a prompt without pairs
        True
    """
    features = policies.text_features(pairs.prompts, pairs.responses, buckets=buckets)
    there = np.arange(features.shape[1])[None, :] < np.array([len(row) for row in pairs.responses])[:, None]
    spread = features.std(axis=(0, 1), where=there[..., None])
    features /= np.where(spread > 0, spread, 1)[None, None]
    policy = policies.log_linear(features, base=np.where(there, 0.0, -np.inf))
    mean = features.mean(axis=1, keepdims=True, where=there[..., None])
    evenly = float(np.sum((features - mean) ** 2, where=there[..., None]) / features.shape[2])
    return Learner(policy, policy.init, _newton(policy, beta, ridge, evenly), generalises=True, random=False)


def transformer_learner(
    pairs: PreferencePairs,
    *,
    beta: float,
    width: int = 64,
    layers: int = 2,
    heads: int = 4,
    prompt_bytes: int = 63,
    response_bytes: int = 128,
    epochs: int = 2,
    batch_size: int = 16,
    learning_rate: float = 1e-3,
) -> Learner:
    """A small transformer over bytes, from a random start, trained by AdamW.

    It sees the last bytes of each prompt and the first of each response.

    Args:
        pairs: of all sources.
        beta: β > 0.
        width: of the transformer.
        layers: of the transformer.
        heads: of its attention.
        prompt_bytes: kept of a prompt.
        response_bytes: kept of a response.
        epochs: how often each pair is seen.
        batch_size: pairs in a step.
        learning_rate: at its highest.

    Returns:
        A `Learner`; start and order of pairs follow from the key.

    Raises:
        ValueError: where a size is below 1.

    Example:
        >>> import jax
        >>> from jaxval import data
        >>> one = data.PreferencePairs(
        ...     ("p",), (("a", "b"),), Comparisons([0], [0], [1], [1.0]), jnp.array([0]), ("one",), {}, "example")
        >>> learner = transformer_learner(one, beta=0.1, width=8, layers=1, heads=2, prompt_bytes=4, response_bytes=4)
        >>> learner.policy.log_probs(learner.start(jax.random.key(0)), [0], [[0, 1]]).shape
        (1, 2)
    """
    length = 1 + prompt_bytes + response_bytes
    model = policies.transformer(
        vocabulary=policies.byte_tokeniser().vocabulary, length=length, width=width, layers=layers, heads=heads
    )
    tokens = policies.encode_catalogue(
        pairs.prompts, pairs.responses, length=length, truncate=(1 + prompt_bytes, response_bytes)
    )
    policy = policies.over_catalogue(model, *tokens, batch_size=64)
    train = _adamw(policy, beta, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    arrays = policies.catalogue(*tokens, length=length)
    return Learner(policy, model.init, train, generalises=True, random=True, model=model, catalogue=arrays)


def checkpoint_learner(
    pairs: PreferencePairs,
    *,
    folder: str | Path,
    beta: float,
    rank: int = 8,
    alpha: float = 16.0,
    prompt_tokens: int = 128,
    response_tokens: int = 128,
    epochs: int = 4,
    batch_size: int = 32,
    learning_rate: float = 2e-5,
) -> Learner:
    """A published Llama checkpoint with low-rank adapters, trained by AdamW; the defaults are those of the paper.

    Source: Tamine et al., section 4.

    Args:
        pairs: of all sources.
        folder: with config.json, model.safetensors and tokenizer.json.
        beta: β > 0.
        rank: of the adapters.
        alpha: their scale.
        prompt_tokens: kept of a prompt, the last.
        response_tokens: kept of a response, the first; fewer of both, in proportion, where the context is shorter.
        epochs: how often each pair is seen.
        batch_size: pairs in a step.
        learning_rate: at its highest.

    Returns:
        A `Learner` whose parameters are the adapters.

    Raises:
        ValueError: where the folder holds no such checkpoint, naming the file.
        ModuleNotFoundError: without the extra `llama`.

    Example:
        >>> from jaxval import data
        >>> one = data.PreferencePairs(
        ...     ("p",), (("a", "b"),), Comparisons([0], [0], [1], [1.0]), jnp.array([0]), ("one",), {}, "example")
        >>> try:
        ...     checkpoint_learner(one, folder="no-such-folder", beta=0.1)
        ... except ValueError as error:
        ...     print(error)
        path: expected a folder with config.json; got no-such-folder
    """
    base, params, tokeniser = policies.read_llama(folder)
    model = policies.low_rank(base, params, rank=rank, alpha=alpha)
    kept = prompt_tokens, response_tokens
    if sum(kept) > model.length:  # each its share of a short context
        kept = model.length * prompt_tokens // sum(kept), model.length - model.length * prompt_tokens // sum(kept)
    tokens = policies.encode_catalogue(
        pairs.prompts, pairs.responses, length=sum(kept), tokeniser=tokeniser, truncate=kept
    )
    policy = policies.over_catalogue(model, *tokens, batch_size=4)
    train = _adamw(policy, beta, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    arrays = policies.catalogue(*tokens, length=model.length)
    return Learner(
        policy, model.init, train, generalises=True, random=True, model=model, catalogue=arrays, adapters=True
    )


def _newton(policy: Policy, beta: float, ridge: float, evenly: float | None = None) -> Callable[..., Params]:
    """To the optimum; the penalty is on rewards, or on weights, each as much as `evenly` squares of features are."""
    _checks.check_number("ridge", ridge, low=0.0, high=1e30, expected="a number of at least 0")
    _checks.check_number("beta", beta, low=1e-30, high=1e30, expected="a number above 0")
    strength = ridge * beta**2
    on_rewards, on_weights = (strength, 0.0) if evenly is None else (0.0, strength * float(evenly))

    def train(reference: Params, comparisons: Comparisons, key: Key[Array, ""] | None, folder: Path | None) -> Params:
        del key, folder
        filled = _filled(_summed(comparisons))
        return training.fit(policy, reference, filled, beta=beta, ridge=on_rewards, decay=on_weights)[0]

    return train


def _adamw(policy: Policy, beta: float, *, epochs: int, batch_size: int, learning_rate: float) -> Callable[..., Params]:
    epochs = _checks.check_size("epochs", epochs)

    @functools.cache  # one optimiser, and so one compilation, for each number of steps
    def optimiser(steps: int) -> Any:
        return training.adamw(learning_rate, steps=steps)

    def train(reference: Params, comparisons: Comparisons, key: Key[Array, ""], folder: Path | None) -> Params:
        steps = epochs * math.ceil(int(np.count_nonzero(comparisons.weight)) / batch_size)
        return training.train(
            policy,
            reference,
            _filled(comparisons),
            beta=beta,
            optimiser=optimiser(steps),
            steps=steps,
            batch_size=batch_size,
            key=key,
            checkpoints=folder,
        )[0]

    return train


def _summed(comparisons: Comparisons) -> Comparisons:
    """Equal comparisons as one row of their weights' sum, in an order of their own."""
    context, winner, loser, weight = (np.asarray(field) for field in comparisons)
    rows, place = np.unique(np.stack([context, winner, loser], axis=1), axis=0, return_inverse=True)
    return Comparisons(rows[:, 0], rows[:, 1], rows[:, 2], np.bincount(place.reshape(-1), weight).astype(weight.dtype))


def _filled(comparisons: Comparisons) -> Comparisons:
    """Rows of weight 0 up to the next of 64, 128, 256, ...: few shapes, so few compilations."""
    rows = np.size(comparisons.weight)
    more = max(64, 2 ** math.ceil(math.log2(max(rows, 1)))) - rows
    context, winner, loser, weight = (
        jnp.asarray(np.pad(np.asarray(field), (0, more), constant_values=fill))
        for field, fill in zip(comparisons, (0, 0, 1, 0), strict=True)
    )
    return Comparisons(context, winner, loser, weight)
