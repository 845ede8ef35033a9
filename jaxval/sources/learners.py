"""The policies that are trained on each source: a table, features of text, a transformer, a published checkpoint.

A policy is made once for all sources, over their common catalogue of prompts and responses, so that the policies of
different sources can be combined. A new one is a function of the pairs to a `Learner`, or to a plain `Policy`; in
`NAMED` it has a name. How policies are trained stands in `trainings`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from jaxval import _checks, policies
from jaxval.data import PreferencePairs
from jaxval.sources.pairs import candidates
from jaxval.types import BadArgument, Comparisons, Policy, SequenceModel

__all__ = ["Learner", "checkpoint_learner", "log_linear_learner", "tabular_learner", "transformer_learner"]

_ZERO: Any = np.array([0])
EXAMPLE = PreferencePairs(
    ("p",), (("a", "b"),), Comparisons(_ZERO, _ZERO, _ZERO + 1, np.ones(1)), _ZERO, ("one",), {}, "one"
)
"""The smallest pairs, for examples."""


class Learner(NamedTuple):
    """A policy over the catalogue of the pairs, and what valuing sources needs to know of it.

    Attributes:
        policy: over the prompts and responses of the pairs.
        generalises: whether training on some prompts says anything of others; if not, all prompts are evaluated.
        random: whether the start depends on the key.
        defaults: options of `trainings.Training` that are this policy's unless others are asked for.
        feature_scale: the mean square of a feature, summed over the catalogue. Where it is given, the penalty falls on
            weights, each as much as on `feature_scale` squares of rewards; None penalises the rewards themselves.
        model: the sequence model inside, for arithmetic on tokens; None if there is none.
        catalogue: the tokenised prompts and responses that belong to it.
        adapters: whether parameters are low-rank adapters, whose products add up instead of the parameters.
    """

    policy: Policy
    generalises: bool = True
    random: bool = True
    defaults: Mapping[str, Any] = MappingProxyType({})
    feature_scale: float | None = None
    model: SequenceModel | None = None
    catalogue: policies.Catalogue | None = None
    adapters: bool = False


def tabular_learner(pairs: PreferencePairs) -> Learner:
    """A free reward for every prompt and response, for pairs whose prompts come back: all sources judge the same.

    Args:
        pairs: of all sources.

    Returns:
        A `Learner`; nothing is random, and it says nothing of prompts without pairs.

    Example:
        >>> learner = tabular_learner(EXAMPLE)
        >>> learner.policy.init(None).shape, learner.generalises
        ((1, 2), False)
    """
    policy = policies.tabular(len(pairs.prompts), max(2, max(map(len, pairs.responses))))
    return Learner(policy, generalises=False, random=False, defaults={"ridge": 0.1})


def log_linear_learner(pairs: PreferencePairs, *, buckets: int = 256) -> Learner:
    """A weight for each feature of the text, the same for all prompts, for pairs whose prompts are mostly distinct.

    Features are those of `policies.text_features`, in standard deviations. The penalty falls on the weights of all of
    them alike, and is in all as strong as the one on rewards: that one would keep the rewards of prompts without pairs
    at 0 if features outnumber prompts. The default ρ = 1 is, of 0.1 to 3, the one of the largest reward of union
    training, and of the smallest spread between seeds, on UltraFeedback pairs.

    Args:
        pairs: of all sources.
        buckets: of the hashed n-grams.

    Returns:
        A `Learner`; nothing is random.

    Example:
        >>> two = EXAMPLE._replace(responses=(("A whole answer.", "No."),))
        >>> learner = log_linear_learner(two, buckets=16)
        >>> log_probs = learner.policy.log_probs(learner.policy.init(None), [0], [[0, 1]])
        >>> [round(float(log_prob), 2) for log_prob in log_probs[0]]
        [-0.69, -0.69]
    """
    features = policies.text_features(pairs.prompts, pairs.responses, buckets=buckets)
    there = candidates(pairs, np.arange(len(pairs.prompts))) >= 0
    deviation = features.std(axis=(0, 1), where=there[..., None])
    features /= np.where(deviation > 0, deviation, 1)[None, None]
    policy = policies.log_linear(features, base=np.where(there, 0.0, -np.inf))
    mean = features.mean(axis=1, keepdims=True, where=there[..., None])
    scale = float(np.sum((features - mean) ** 2, where=there[..., None]) / features.shape[2])
    return Learner(policy, random=False, defaults={"ridge": 1.0}, feature_scale=scale)


def transformer_learner(
    pairs: PreferencePairs,
    *,
    prompt_bytes: int = 63,
    response_bytes: int = 128,
    width: int = 64,
    layers: int = 2,
    heads: int = 4,
    **shape: Any,
) -> Learner:
    """A small transformer over bytes, from a random start.

    It sees the last bytes of each prompt and the first of each response.

    Args:
        pairs: of all sources.
        prompt_bytes: kept of a prompt.
        response_bytes: kept of a response.
        width: of the transformer.
        layers: of the transformer.
        heads: of its attention.
        **shape: other options of `policies.transformer`.

    Returns:
        A `Learner` whose start follows from the key.

    Raises:
        ValueError: if a size is below 1.

    Example:
        >>> import jax
        >>> learner = transformer_learner(EXAMPLE, width=8, layers=1, heads=2, prompt_bytes=4, response_bytes=4)
        >>> learner.policy.log_probs(learner.policy.init(jax.random.key(0)), [0], [[0, 1]]).shape
        (1, 2)
    """
    length = 1 + prompt_bytes + response_bytes
    model = policies.transformer(
        vocabulary=policies.byte_tokeniser().vocabulary, length=length, width=width, layers=layers, heads=heads, **shape
    )
    return _over_tokens(pairs, model, kept=(1 + prompt_bytes, response_bytes), batch_size=64)


def checkpoint_learner(
    pairs: PreferencePairs,
    *,
    folder: str | Path,
    rank: int = 8,
    alpha: float = 16.0,
    prompt_tokens: int = 128,
    response_tokens: int = 128,
) -> Learner:
    """A published Llama checkpoint with low-rank adapters; the defaults are those of the paper.

    Source: Tamine et al., section 4.

    Args:
        pairs: of all sources.
        folder: with config.json, model.safetensors and tokenizer.json.
        rank: of the adapters.
        alpha: their scale.
        prompt_tokens: kept of a prompt, the last.
        response_tokens: kept of a response, the first. If the model's context is shorter than both together, each
            keeps its share of the context.

    Returns:
        A `Learner` whose parameters are the adapters.

    Raises:
        ValueError: if the folder holds no such checkpoint, naming the file.
        ModuleNotFoundError: without the extra `llama`.

    Example:
        >>> try:
        ...     checkpoint_learner(EXAMPLE, folder="no-such-folder")
        ... except ValueError as error:
        ...     print(error)
        path: expected a folder with config.json; got no-such-folder
    """
    base, params, tokeniser = policies.read_llama(folder)
    model = policies.low_rank(base, params, rank=rank, alpha=alpha)
    kept = prompt_tokens, response_tokens
    if sum(kept) > model.length:
        kept = model.length * prompt_tokens // sum(kept), model.length - model.length * prompt_tokens // sum(kept)
    defaults = {"epochs": 4, "batch_size": 32, "learning_rate": 2e-5}
    learner = _over_tokens(pairs, model, kept=kept, batch_size=4, tokeniser=tokeniser)
    return learner._replace(defaults=defaults, adapters=True)


def _over_tokens(
    pairs: PreferencePairs, model: SequenceModel, *, kept: tuple[int, int], batch_size: int, **tokeniser: Any
) -> Learner:
    """A sequence model over the tokenised catalogue, of which `kept` tokens of prompts and responses are left."""
    tokens = policies.encode_catalogue(pairs.prompts, pairs.responses, length=sum(kept), truncate=kept, **tokeniser)
    policy = policies.over_catalogue(model, *tokens, batch_size=batch_size)
    return Learner(policy, model=model, catalogue=policies.catalogue(*tokens, length=model.length))


NAMED: dict[str, Callable[[PreferencePairs], Learner]] = {
    "log-linear": log_linear_learner,
    "tabular": tabular_learner,
    "transformer": transformer_learner,
}
IN_FLOAT64 = ("log-linear", "tabular")
"""The command line computes these in float64, in which Newton's method reaches its optimum."""


def learner_of(policy: Any, pairs: PreferencePairs) -> Learner:
    """The learner over these pairs that a policy's name, the folder of a checkpoint, or a maker stands for."""
    if callable(policy):
        made = policy(pairs)
        if not isinstance(made, Policy | Learner):
            raise BadArgument(
                "policy",
                expected="a function of the pairs to a Policy or a Learner",
                got=f"{type(made).__name__} from it",
            )
        return Learner(made) if isinstance(made, Policy) else made
    if isinstance(policy, str | Path) and policy not in NAMED and Path(policy).is_dir():
        try:
            return checkpoint_learner(pairs, folder=policy)
        except BadArgument as error:  # the path of the checkpoint is this policy
            name = "policy" if error.name == "path" else error.name
            raise BadArgument(name, expected=error.expected, got=error.got, advice=error.advice) from error
    return NAMED[_checks.check_choice("policy", policy, (*NAMED, "the folder of a checkpoint"))](pairs)
