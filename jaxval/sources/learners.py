"""The policies that are trained on each source: a table, features of text, a transformer, a published checkpoint.

A policy is made once for all sources, over their common catalogue of prompts and responses, so that the policies of
different sources can be combined. To add a policy, write a function from the pairs to a `Learner` or to a plain
`Policy`; an entry in `NAMED` gives it a name. The module `trainings` trains the policies.
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxval import _checks, policies
from jaxval.data import PreferencePairs
from jaxval.sources.pairs import candidates, check_pairs
from jaxval.types import BadArgument, Comparisons, Params, Policy, SequenceModel

__all__ = ["Learner", "checkpoint_learner", "log_linear_learner", "tabular_learner", "transformer_learner"]

ACTIVATIONS = 2**28  # numbers that a gradient keeps of one batch
_ZERO: Any = np.array([0])
EXAMPLE = PreferencePairs(
    ("p",), (("a", "b"),), Comparisons(_ZERO, _ZERO, _ZERO + 1, np.ones(1)), _ZERO, ("one",), {}, "one"
)
"""One pair of one source, for examples."""


class Learner(NamedTuple):
    """A policy over the catalogue of the pairs, and its properties that the valuation of sources uses.

    Attributes:
        policy: the policy over the prompts and responses of the pairs.
        generalises: whether training on some prompts changes the policy at others. If not, no prompt is held out, and
            the policy is evaluated on all prompts with pairs.
        random: whether the initial parameters depend on the key.
        defaults: this policy's defaults of options of `trainings.Training`.
        feature_scale: the sum over the catalogue of the mean square of a feature. A penalty on a squared weight is
            multiplied by it, so that it is one on squared rewards. None means that rewards are penalised themselves.
        model: the sequence model inside the policy, for the arithmetic of tokens; None if the policy has none.
        catalogue: the tokenised prompts and responses of the sequence model; None if the policy has none.
        tokeniser: the tokeniser of the sequence model; None if the policy has none.
        adapters: whether the parameters are low-rank adapters, of which the arithmetic adds the products.
        write: `write(folder, params)` writes parameters for use elsewhere; None if there is no format for them.
    """

    policy: Policy
    generalises: bool = True
    random: bool = True
    defaults: Mapping[str, Any] = MappingProxyType({})
    feature_scale: float | None = None
    model: SequenceModel | None = None
    catalogue: policies.Catalogue | None = None
    tokeniser: policies.Tokeniser | None = None
    adapters: bool = False
    write: Callable[[Path, Params], None] | None = None


def tabular_learner(pairs: PreferencePairs) -> Learner:
    """A table with one logit for every prompt and response, for pairs whose sources judge the same prompts.

    Args:
        pairs: the pairs of all sources.

    Returns:
        A `Learner` whose initial parameters are zero. Training does not change it at prompts without pairs.

    Example:
        >>> learner = tabular_learner(EXAMPLE)
        >>> learner.policy.init(None).shape, learner.generalises
        ((1, 2), False)
    """
    check_pairs(pairs)
    policy = policies.tabular(len(pairs.prompts), max(2, max(map(len, pairs.responses))))
    return Learner(policy, generalises=False, random=False, defaults={"ridge": 0.1})


def log_linear_learner(pairs: PreferencePairs, *, buckets: int = 256) -> Learner:
    """A log-linear policy with one weight for each feature of the text, for pairs whose prompts are mostly distinct.

    The features are those of `policies.text_features`, divided by their standard deviations. All weights are penalised
    equally, with the total strength of a penalty on rewards. A penalty on rewards itself would keep the rewards of
    prompts without pairs at 0 if there are more features than prompts. Among values of `ridge` from 0.1 to 3, the
    default 1 gave the largest reward of union training on UltraFeedback pairs, and the smallest differences between
    seeds.

    Args:
        pairs: the pairs of all sources.
        buckets: the number of buckets of the hashed n-grams.

    Returns:
        A `Learner` whose initial parameters are zero.

    Example:
        >>> two = EXAMPLE._replace(responses=(("A whole answer.", "No."),))
        >>> learner = log_linear_learner(two, buckets=16)
        >>> log_probs = learner.policy.log_probs(learner.policy.init(None), [0], [[0, 1]])
        >>> [round(float(log_prob), 2) for log_prob in log_probs[0]]
        [-0.69, -0.69]
    """
    check_pairs(pairs)
    features = policies.text_features(pairs.prompts, pairs.responses, buckets=buckets)
    return log_linear_of(pairs, features, ridge=1.0)[0]


def log_linear_of(pairs: PreferencePairs, features: np.ndarray, *, ridge: float) -> tuple[Learner, np.ndarray]:
    """A log-linear policy over (contexts, responses, features), and the deviations by which features are divided."""
    present = candidates(pairs, np.arange(len(pairs.prompts)))[..., None] >= 0
    deviation = features.std(axis=(0, 1), where=present)
    deviation = np.where(deviation > 0, deviation, 1)
    features = features / deviation
    policy = policies.log_linear(features, base=np.where(present[..., 0], 0.0, -np.inf))
    mean = features.mean(axis=1, keepdims=True, where=present)
    scale = float(np.sum((features - mean) ** 2, where=present) / features.shape[2])
    return Learner(policy, random=False, defaults={"ridge": ridge}, feature_scale=scale), deviation


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
    """A small transformer over bytes: the last bytes of each prompt, and the first bytes of each response.

    Args:
        pairs: the pairs of all sources.
        prompt_bytes: the number of bytes kept of a prompt.
        response_bytes: the number of bytes kept of a response.
        width: as in `policies.transformer`, like `layers`, `heads` and all options of `shape`.
        layers: the number of layers.
        heads: the number of attention heads.
        **shape: further options.

    Returns:
        A `Learner`; `policy.init(key)` draws the initial parameters.

    Raises:
        ValueError: if a size is below 1.

    Example:
        >>> import jax
        >>> learner = transformer_learner(EXAMPLE, width=8, layers=1, heads=2, prompt_bytes=4, response_bytes=4)
        >>> learner.policy.log_probs(learner.policy.init(jax.random.key(0)), [0], [[0, 1]]).shape
        (1, 2)
    """
    check_pairs(pairs)
    prompt_bytes = _checks.check_size("prompt_bytes", prompt_bytes)
    response_bytes = _checks.check_size("response_bytes", response_bytes)
    kept, size = (1 + prompt_bytes, response_bytes), policies.byte_tokeniser().vocabulary
    model = policies.transformer(vocabulary=size, length=sum(kept), width=width, layers=layers, heads=heads, **shape)
    return _over_tokens(pairs, model, kept, batch_size=64)


def checkpoint_learner(
    pairs: PreferencePairs,
    *,
    folder: str | Path,
    rank: int = 8,
    alpha: float = 16.0,
    layers: int | None = None,
    prompt_tokens: int = 128,
    response_tokens: int = 128,
) -> Learner:
    """A published Llama checkpoint with low-rank adapters; the defaults are those of the paper.

    With adapters in the last layers alone, what the layers below compute is computed once for all sources and epochs,
    and kept if it takes at most two gigabytes.

    Source: Tamine et al., section 4.

    Args:
        pairs: the pairs of all sources.
        folder: the folder with config.json, model.safetensors and tokenizer.json, or a GGUF file.
        rank: the rank of the adapters.
        alpha: the scale of the adapters.
        layers: the number of last layers that have adapters; None means that all layers have, as in the paper.
        prompt_tokens: the number of tokens kept of a prompt, its last ones.
        response_tokens: the number of tokens kept of a response, its first ones. If the model's context is shorter than
            `prompt_tokens` and `response_tokens` together, both are reduced in proportion.

    Returns:
        A `Learner` whose parameters are the adapters.

    Raises:
        ValueError: if the folder holds no such checkpoint; the message names the file.
        ModuleNotFoundError: if the extra `llama` is not installed.

    Example:
        >>> try:
        ...     checkpoint_learner(EXAMPLE, folder="no-such-folder")
        ... except ValueError as error:
        ...     print(error)
        path: expected a folder with config.json; got no folder no-such-folder
    """
    base, params, tokeniser = policies.read_llama(folder)
    model = policies.low_rank(base, params, rank=rank, alpha=alpha, layers=layers)
    learner = over_checkpoint(pairs, model, tokeniser, prompt_tokens, response_tokens)
    numbers = None if layers is None or model.parts is None else range(model.parts.fixed, model.parts.layers)
    write = functools.partial(_write, alpha=alpha, base=str(folder), layers=numbers)
    return learner._replace(defaults={"epochs": 4, "batch_size": 32, "learning_rate": 2e-5}, write=write)


def over_checkpoint(
    pairs: PreferencePairs,
    model: SequenceModel,
    tokeniser: policies.Tokeniser,
    prompt_tokens: int = 128,
    response_tokens: int = 128,
) -> Learner:
    """An adapted checkpoint over the catalogue of the pairs; numbers of tokens as in `checkpoint_learner`."""
    kept = tokens_kept(model, prompt_tokens, response_tokens)
    learner = _over_tokens(pairs, model, kept, batch_size=_responses_at_a_time(model, sum(kept)), tokeniser=tokeniser)
    return learner._replace(adapters=True, tokeniser=tokeniser)


def tokens_kept(model: SequenceModel, prompt_tokens: int, response_tokens: int) -> tuple[int, int]:
    """How many tokens of a prompt and of a response are kept: both are reduced if the model's context is shorter."""
    asked = prompt_tokens + response_tokens
    first = min(asked, model.length) * prompt_tokens // asked
    return first, min(asked, model.length) - first


def _responses_at_a_time(model: SequenceModel, tokens: int) -> int:
    """The number of responses for which a gradient keeps a gigabyte, the products of all matrices above the trunk."""
    parts = model.parts
    if parts is None or model.held is None:
        return 4
    numbers = sum(leaf.shape[-1] for leaf in jax.tree.leaves(model.held()["layers"]) if leaf.ndim == 3)
    return max(2, ACTIVATIONS // (numbers * (parts.layers - parts.fixed) * tokens))


def _write(folder: Path, params: Params, *, alpha: float, base: str, layers: Any) -> None:
    policies.write_adapter(folder, params, alpha=alpha, base=base, layers=layers)


def _over_tokens(pairs: PreferencePairs, model: SequenceModel, kept: Any, *, batch_size: int, **how: Any) -> Learner:
    """A sequence model over the tokenised catalogue, with `kept` tokens of each prompt and of each response."""
    prompts: Any = pairs.prompts
    if "tokeniser" in how and how["tokeniser"].chat is not None:
        prompts = [pairs.chats.get(prompt, prompt) for prompt in prompts]
    tokens = policies.encode_catalogue(prompts, pairs.responses, length=sum(kept), truncate=kept, **how)
    policy = policies.over_catalogue(model, *tokens, batch_size=batch_size)
    return Learner(policy, model=model, catalogue=policies.catalogue(*tokens, length=model.length))


NAMED: dict[str, Callable[[PreferencePairs], Learner]] = {
    "log-linear": log_linear_learner,
    "tabular": tabular_learner,
    "transformer": transformer_learner,
}
IN_FLOAT64 = ("log-linear", "tabular")
"""The policies that the command line computes in float64, in which Newton's method converges to its optimum."""


def is_checkpoint(policy: Any) -> bool:
    """Whether a policy is the path of a checkpoint: a folder, or a GGUF file."""
    return isinstance(policy, str | Path) and (Path(policy).is_dir() or Path(policy).suffix == ".gguf")


def learner_of(policy: Any, pairs: PreferencePairs) -> Learner:
    """The learner over these pairs, from a policy's name, the folder of a checkpoint, or a function of the pairs."""
    if callable(policy):
        made = policy(pairs)
        if not isinstance(made, Policy | Learner):
            got = f"a function that returns {type(made).__name__}"
            raise BadArgument("policy", expected="a function of the pairs to a Policy or a Learner", got=got)
        return Learner(made) if isinstance(made, Policy) else made
    if policy not in NAMED and is_checkpoint(policy):
        try:
            return checkpoint_learner(pairs, folder=policy)
        except BadArgument as error:  # `path` of the checkpoint's reader is the argument `policy` of the caller
            raise error.renamed("policy" if error.name == "path" else error.name) from error
    if not isinstance(policy, str) or policy not in NAMED:
        expected = f"one of {', '.join(map(repr, NAMED))}, a function of the pairs (module:function), or a checkpoint: "
        expected += "a folder, or a file that ends in .gguf"
        raise BadArgument("policy", expected=expected, got=f"{str(policy)!r:.80}; there is no folder of that name")
    return NAMED[policy](pairs)


def identity_of(policy: Any) -> Any:
    """What identifies a policy: its name or function, and for a checkpoint also the names and sizes of its files."""
    folder = policy.keywords.get("folder") if isinstance(policy, functools.partial) else policy
    if not isinstance(folder, str | Path) or not is_checkpoint(folder):
        return policy if callable(policy) else str(policy)
    paths = sorted(Path(folder).iterdir()) if Path(folder).is_dir() else [Path(folder)]
    files = [(path.name, path.stat().st_size) for path in paths if path.is_file()]
    return (functools.partial(policy, folder=str(folder)) if callable(policy) else str(policy)), files
