"""Model arithmetic token by token: next-token distributions combined, and sampled from."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from jaxval import _checks
from jaxval.coalitions.responses import combine
from jaxval.parallel.chunks import map_chunks
from jaxval.policies.scoring import check_grouped, map_tokens, response_states
from jaxval.policies.transformer import held_by, rebind
from jaxval.types import BadArgument, Grouped, Params, SequenceModel

__all__ = ["TokenArithmetic", "combine_next_tokens", "score_coalitions", "token_arithmetic"]

TOGETHER = 8  # coalitions whose next-token logits are held at a time


class TokenArithmetic(NamedTuple):
    """The parameters of a token-level combination.

    Attributes:
        coalition: (sources,) a mask, or a weight for each source.
        reference: the parameters of the reference.
        sources: the same pytree with an axis (sources,) in front of each leaf.
    """

    coalition: Shaped[ArrayLike, "sources"]
    reference: Params
    sources: Params


def combine_next_tokens(
    reference_logits: Float[ArrayLike, "*positions vocabulary"] | list[Any],
    source_logits: Float[ArrayLike, "sources *positions vocabulary"] | list[Any],
    coalition: Shaped[ArrayLike, "sources"] | list[Any],
) -> Float[Array, "*positions vocabulary"]:
    """The next-token log-probabilities of a coalition: log p_S = Σ_{ℓ∈S} log p_ℓ + (1 - |S|) log p_0 - log Z.

    It is normalised over the vocabulary at every position. With weights c for the mask, and 1 - Σ c for 1 - |S|, it is
    the linear formula of language model arithmetic, (Σ λ_ℓ log p_ℓ) / Σ λ, for c = λ / Σ λ. A token that the reference
    never gives (-inf) stays impossible; one that a member never gives has probability 0.

    Source: Dekoninck et al. (2024), theorem 1; Tamine et al. for the sum over sources.

    Args:
        reference_logits: (..., V) logits of the reference, or log-probabilities.
        source_logits: (sources, ..., V) those of the sources.
        coalition: (sources,) a mask, or a weight for each source.

    Returns:
        (..., V) log-probabilities.

    Raises:
        ValueError: if shapes do not fit, a logit is NaN, or the members leave no token at a position. Under `jit` the
            result is NaN there.

    Example:
        >>> import numpy as np
        >>> sources = np.log([[0.75, 0.25], [0.25, 0.75]])
        >>> jnp.exp(combine_next_tokens([0.0, 0.0], sources, [True, False])).round(4).tolist()
        [0.75, 0.25]
        >>> jnp.exp(combine_next_tokens([0.0, 0.0], sources, [True, True])).round(4).tolist()
        [0.5, 0.5]
    """
    return combine(reference_logits, source_logits, coalition)


def token_arithmetic(model: SequenceModel, sources: int) -> SequenceModel:
    """A reference and its sources, all of one model, as one model of a coalition: their next tokens combined.

    Logits are those of `combine_next_tokens`, at every position.

    The coalition is part of the parameters: if you `vmap` over the coalition or change it, nothing is compiled anew. If
    the model has a cache, the combination has one for the reference and one for each source. Over whole
    responses this is another distribution than `combine` gives, except for responses of one token.

    Source: Dekoninck et al. (2024), section 3.

    Args:
        model: the model of the reference and of each source.
        sources: n, the number of sources.

    Returns:
        A model whose parameters are a `TokenArithmetic`, and whose logits are log-probabilities.

    Raises:
        ValueError: if the number of sources is not a whole number of at least 1.

    Example:
        >>> from jaxval.policies import sample
        >>> bigram = SequenceModel(lambda key: jnp.zeros((3, 3)), lambda params, tokens: params[tokens], 3, 8)
        >>> up, down = 9 * jnp.roll(jnp.eye(3), 1, axis=1), 4 * jnp.roll(jnp.eye(3), 2, axis=1)
        >>> params = TokenArithmetic(jnp.array([True, False]), jnp.zeros((3, 3)), jnp.stack([up, down]))
        >>> combined = token_arithmetic(bigram, 2)
        >>> for coalition in ([True, False], [False, True], [True, True]):
        ...     now = params._replace(coalition=jnp.array(coalition))
        ...     print(sample(jax.random.key(0), combined, now, [[0]], num_tokens=3, temperature=0.0).tokens[0].tolist())
        [1, 2, 0]
        [2, 1, 0]
        [1, 2, 0]
    """
    n = _checks.check_size("sources", sources)
    _checks.check_record("model", model, SequenceModel)

    @jax.jit
    def init(key: Any) -> TokenArithmetic:
        own, *others = jax.random.split(key, n + 1)
        return TokenArithmetic(jnp.ones(n, dtype=bool), model.init(own), jax.vmap(model.init)(jnp.stack(others)))

    @jax.jit
    def logits(params: TokenArithmetic, tokens: Any) -> Array:
        _check_sources(params, n)
        of_sources = jax.vmap(lambda source: model.logits(source, tokens))(params.sources)
        return combine_next_tokens(model.logits(params.reference, tokens), of_sources, params.coalition)

    if model.start is None or model.advance is None:
        return SequenceModel(init, logits, model.vocabulary, model.length)
    read, step = model.start, model.advance
    axes = 0 if model.parts is None else model.parts.cache_axes  # layers that do not depend on parameters are run once

    @functools.partial(jax.jit, static_argnames=("room", "copies"))
    def start(params: TokenArithmetic, tokens: Any, lengths: Any, room: int, copies: int) -> tuple[Array, Any]:
        _check_sources(params, n)
        every = jax.vmap(lambda one: read(one, tokens, lengths, room, copies), out_axes=(0, axes))
        own, caches = every(_with_reference(params))
        return combine_next_tokens(own[0], own[1:], params.coalition), caches

    @jax.jit
    def advance(params: TokenArithmetic, caches: Any, tokens: Any) -> tuple[Array, Any]:
        every = jax.vmap(lambda one, cache: step(one, cache, tokens), in_axes=(0, axes), out_axes=(0, axes))
        own, caches = every(_with_reference(params), caches)
        return combine_next_tokens(own[0], own[1:], params.coalition), caches

    bind = None if model.bind is None else lambda held: token_arithmetic(model.bind(held), n)  # type: ignore[misc]
    return SequenceModel(init, logits, model.vocabulary, model.length, start, advance, held=model.held, bind=bind)


def score_coalitions(
    model: SequenceModel,
    params: TokenArithmetic,
    grouped: Grouped,
    coalitions: Any,
    *,
    states: Any = None,
    temperature: float = 1.0,
) -> Float[Array, "coalitions rows responses"]:
    """The log-probabilities of responses under many coalitions, log π_S(y|x) = Σ_t log p_S(y_t | x, y_<t).

    Each is the sum over the tokens of a response of the logits of `token_arithmetic`. Every policy reads a prompt and
    its responses once for all coalitions, and the layers below all adapters are computed once for all policies.

    Source: Dekoninck et al. (2024), theorem 1; Tamine et al., section 3.

    Args:
        model: the model of the reference and of each source, a transformer or adapters of one.
        params: the parameters; `params.coalition` is not used.
        grouped: prompts with responses.
        coalitions: (coalitions, sources) masks, or weights.
        states: what `policies.trunk_states` returned for the prompts and responses; None computes it.
        temperature: above 0; next-token distributions are those of logits / temperature, as `sample` draws them.

    Returns:
        (coalitions, B, R) sums over the tokens of a response; 0 for a response of length 0.

    Raises:
        ValueError: if the model has no parts, or shapes do not fit.

    Example:
        >>> from jaxval import policies
        >>> model = policies.transformer(vocabulary=5, length=8, width=8, layers=1, heads=2)
        >>> one, other = (model.init(jax.random.key(k)) for k in (0, 1))
        >>> params = TokenArithmetic([True], one, jax.tree.map(lambda leaf: leaf[None], other))
        >>> grouped = policies.group_responses(model, [[0, 1]], [[[2], [3, 4, 2]]])
        >>> combined = score_coalitions(model, params, grouped, [[False], [True]])
        >>> own = policies.score_responses(model, other, grouped).sum(axis=2)
        >>> combined.shape, bool(jnp.allclose(combined[1], own, atol=1e-5))
        ((2, 1, 2), True)
    """
    _checks.check_record("model", model, SequenceModel)
    _checks.check_record("params", params, TokenArithmetic)
    check_grouped(grouped)
    for name in ("reference", "sources"):
        _checks.check_leaves(f"params.{name}", getattr(params, name))
    masks = _checks.check_members("coalitions", coalitions, "(coalitions, sources) masks")
    heat = _checks.check_number("temperature", temperature, low=1e-30, high=np.inf, expected="a number above 0")
    if masks.ndim != 2 or len(masks) == 0:
        raise BadArgument("coalitions", expected="(coalitions, sources) masks", got=f"shape {masks.shape}")
    if model.parts is None:
        raise BadArgument("model", expected="a model with parts, such as a transformer", got="one without")
    _check_sources(params, masks.shape[1])
    weights = jnp.concatenate([1 - jnp.sum(masks, axis=1, keepdims=True), masks], axis=1) / heat
    return _score_coalitions(model, held_by(model), _with_reference(params), grouped, weights, states)


@functools.partial(jax.jit, static_argnames="model")
def _score_coalitions(
    model: SequenceModel, held: Any, every: Params, grouped: Grouped, weights: Array, states: Any
) -> Array:
    model = rebind(model, held)
    responses, lengths = jnp.asarray(grouped.responses), jnp.asarray(grouped.lengths)
    ends = jax.lax.map(lambda one: response_states(model, one, grouped, states=states)[:, :, :-1], every)
    head: Any = model.parts.head if model.parts else None

    def of_tokens(tokens: Array, states: Array) -> Array:
        logits = jax.vmap(head)(every, jnp.moveaxis(states, 1, 0))  # (policies, tokens, vocabulary)

        def combined(rows: Array) -> Array:
            # The sum of logits is that of log-probabilities up to a constant, which the normalisation takes away.
            sums = jnp.tensordot(weights[rows], logits, 1)
            chosen = jnp.take_along_axis(sums, tokens[None, :, None], axis=2)[..., 0]
            return chosen - jax.nn.logsumexp(sums, axis=2)

        return map_chunks(combined, len(weights), TOGETHER).T

    log_probs = map_tokens(of_tokens, responses, jnp.moveaxis(ends, 0, 3))
    inside = jnp.arange(responses.shape[2])[None, None, :] < lengths[:, :, None]
    return jnp.moveaxis(jnp.sum(jnp.where(inside[..., None], log_probs, 0), axis=2), 2, 0)


def _with_reference(params: TokenArithmetic) -> Params:
    """The parameters of the reference and of the sources, stacked."""
    return jax.tree.map(lambda own, others: jnp.concatenate([own[None], others]), params.reference, params.sources)


def _check_sources(params: TokenArithmetic, n: int) -> None:
    """Parameters of the sources: those of the reference, with an axis of `n` in front of every leaf."""
    advice = "stack them: jax.tree.map(lambda *leaves: jnp.stack(leaves), *list_of_parameters)"
    expected = f"one pytree like params.reference, with an axis of {n} sources in front of every leaf"
    structures: list[Any] = [jax.tree.structure(tree) for tree in (params.sources, params.reference)]
    if structures[0] != structures[1]:
        kind = type(params.sources).__name__
        got = f"a {kind} of {len(params.sources)}" if isinstance(params.sources, list | tuple) else f"another {kind}"
        raise BadArgument("params.sources", expected=expected, got=got, advice=advice)
    for leaf, like in zip(jax.tree.leaves(params.sources), jax.tree.leaves(params.reference), strict=True):
        if jnp.shape(leaf) != (n, *jnp.shape(like)):
            got = f"a leaf of shape {jnp.shape(leaf)} where the reference has {jnp.shape(like)}"
            raise BadArgument("params.sources", expected=expected, got=got, advice=advice)
