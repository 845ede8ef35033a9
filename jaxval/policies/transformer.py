"""A small Llama-shaped transformer as a `SequenceModel`: causal, so padding on the right changes nothing.

Tokens are embedded, pass `layers` equal blocks, are normalised and scored against the vocabulary. The blocks' weights
are stacked along their first axis and scanned over, which compiles in the time of one block. The shape is that of the
published Llama models, so that their weights fit (`policies.read_llama`).
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxval import _checks
from jaxval.types import BadArgument, Params, SequenceModel

__all__ = ["Cache", "RopeScaling", "rotary_frequencies", "transformer"]


class Cache(NamedTuple):
    """What a transformer keeps of the tokens read so far.

    Attributes:
        keys: (layers, B, length, key_value_heads, head_width) keys, rotated to their positions.
        values: the same shape.
        lengths: (B,) how many tokens of each row have been read; later slots are never read.
    """

    keys: Float[Array, "layers rows slots heads head_width"]
    values: Float[Array, "layers rows slots heads head_width"]
    lengths: Int[Array, "rows"]


class RopeScaling(NamedTuple):
    """How the rotary frequencies are stretched to a context longer than the one trained on (Llama 3.1).

    Attributes:
        factor: by how much the slow frequencies are divided.
        low_frequency_factor: wavelengths above `original_length` / this are divided in full.
        high_frequency_factor: wavelengths below `original_length` / this are left alone; between them it is mixed.
        original_length: the context that the model was first trained on.
    """

    factor: float
    low_frequency_factor: float
    high_frequency_factor: float
    original_length: int


def rotary_frequencies(
    head_width: int, *, base: float = 10000.0, scaling: RopeScaling | None = None
) -> Float[np.ndarray, "{head_width}//2"]:
    """The angles by which one step forward turns the pairs of coordinates: f_i = base^(-2i / head_width).

    Scaled, f becomes (1 - m) f / factor + m f, where m goes from 0 to 1 as the wavelength 2π/f goes from
    original_length / low_frequency_factor to original_length / high_frequency_factor, linearly in 1 / wavelength.

    Source: Su et al. (2021), equation 15; the scaling is that of Llama 3.1.

    Args:
        head_width: coordinates of a head, even.
        base: the slowest wavelength is about 2π base.
        scaling: the stretch, or None.

    Returns:
        (head_width / 2,) frequencies.

    Example:
        >>> rotary_frequencies(4).round(4).tolist()
        [1.0, 0.01]
    """
    frequencies = base ** (-np.arange(0, head_width, 2) / head_width)
    if scaling is None:
        return frequencies
    turns = scaling.original_length * frequencies / (2 * math.pi)
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    mixed = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return (1 - mixed) * frequencies / scaling.factor + mixed * frequencies


def transformer(
    *,
    vocabulary: int,
    length: int,
    width: int,
    layers: int,
    heads: int,
    key_value_heads: int | None = None,
    hidden: int | None = None,
    head_width: int | None = None,
    rope_base: float = 10000.0,
    rope_scaling: RopeScaling | None = None,
    epsilon: float = 1e-5,
    tied: bool = True,
) -> SequenceModel:
    """A Llama-shaped causal transformer with a cache.

    With e the embedding, x⁰ = e[tokens], each layer

        h = x + W_o attention(rotate(W_q n(x)), rotate(W_k n(x)), W_v n(x)),
        x' = h + W_d (silu(W_g n(h)) · W_u n(h)),

    where n is the root-mean-square norm, n(x) = scale · x / √(mean(x²) + epsilon); logits are e n(x) if `tied`, else
    W n(x). Position t attends to 0..t alone, so what stands to the right of it, padding included, changes nothing.
    Parameters are a nested dictionary of arrays in JAX's default precision; those of the layers are stacked, first axis
    `layers`, and matrices multiply from the right, (in, out). Each function is compiled once per shape of its tokens.

    The cache of `start` has room for `length` tokens; logits of tokens beyond it are NaN.

    Source: Touvron et al. (2023), section 2.2; grouped heads are Ainslie et al. (2023).

    Args:
        vocabulary: V, how many tokens there are.
        length: the most tokens that a sequence may have; parameters do not depend on it.
        width: of the residual stream.
        layers: how many blocks.
        heads: of queries.
        key_value_heads: of keys and values, each shared by heads / key_value_heads queries; None means `heads`.
        hidden: width of the gated layer; None means 8/3 of `width`, rounded up to a multiple of 8.
        head_width: coordinates of a head, even; None means width / heads.
        rope_base: base of the rotary frequencies.
        rope_scaling: the stretch of the rotary frequencies, or None.
        epsilon: of the norms.
        tied: whether the embedding scores the vocabulary too.

    Returns:
        The model, with a cache.

    Raises:
        ValueError: if a size is no whole number of at least 1, heads do not divide the width or are no multiple of
            `key_value_heads`, or the width of a head is odd. The model's functions raise if tokens are not
            (B, T) ids of the vocabulary or are longer than `length`, or if parameters are missing or of another shape.

    Example:
        >>> model = transformer(vocabulary=5, length=8, width=8, layers=2, heads=2)
        >>> params = model.init(jax.random.key(0))
        >>> model.logits(params, jnp.array([[1, 4, 2]])).shape
        (1, 3, 5)
        >>> params["layers"]["query"]["kernel"].shape
        (2, 8, 8)
    """
    sizes = {"vocabulary": vocabulary, "length": length, "width": width, "layers": layers, "heads": heads}
    for name, size in sizes.items():
        _checks.check_size(name, size)
    shared = _checks.check_size("key_value_heads", heads if key_value_heads is None else key_value_heads)
    if heads % shared:
        raise BadArgument("heads", expected=f"a multiple of key_value_heads={shared}", got=heads)
    if head_width is None and width % heads:
        raise BadArgument("width", expected=f"a multiple of heads={heads}", got=width, advice="or pass head_width=")
    head_width = _checks.check_size("head_width", width // heads if head_width is None else head_width)
    if head_width % 2:
        raise BadArgument("head_width", expected="an even number, for coordinates turn in pairs", got=head_width)
    hidden = _checks.check_size("hidden", 8 * -(-width // 3) if hidden is None else hidden)
    from jaxval.policies._blocks import Transformer  # loads flax, which whoever scores a table never needs

    dtype = jnp.zeros(0).dtype
    block = {
        "heads": heads,
        "key_value_heads": shared,
        "head_width": head_width,
        "hidden": hidden,
        "epsilon": epsilon,
        "dtype": dtype,
    }
    frequencies = tuple(rotary_frequencies(head_width, base=rope_base, scaling=rope_scaling).tolist())
    module = Transformer(vocabulary, width, layers, tied, block, frequencies)
    apply: Any = module.apply

    @jax.jit
    def init(key: Array) -> Params:
        nothing = jnp.zeros((1, 1), dtype=int)
        return module.init(_checks.check_key(key), nothing, nothing, None, None)["params"]

    @jax.jit
    def run(params: Params, tokens: Array) -> Array:
        check_params(params, jax.eval_shape(init, jax.random.key(0)))
        positions = jnp.broadcast_to(jnp.arange(tokens.shape[1])[None, :], tokens.shape)
        return apply({"params": params}, tokens, positions, None, None)[0]

    @jax.jit
    def read(params: Params, tokens: Array, lengths: Array) -> tuple[Array, Cache]:
        check_params(params, jax.eval_shape(init, jax.random.key(0)))
        kind = params["layers"]["key"]["kernel"].dtype
        empty = jnp.zeros((layers, len(tokens), length, shared, head_width), dtype=kind)
        positions = jnp.broadcast_to(jnp.arange(tokens.shape[1])[None, :], tokens.shape)
        logits, (keys, values) = apply({"params": params}, tokens, positions, (empty, empty), lengths - 1)
        return logits[:, 0], Cache(keys, values, lengths)

    @jax.jit
    def step(params: Params, cache: Cache, tokens: Array) -> tuple[Array, Cache]:
        at = cache.lengths[:, None]
        logits, (keys, values) = apply({"params": params}, tokens[:, None], at, cache[:2], None)
        return jnp.where(at < length, logits[:, 0], jnp.nan), Cache(keys, values, cache.lengths + 1)

    return SequenceModel(
        init,
        lambda params, tokens: run(params, check_tokens(tokens, vocabulary, length)),
        vocabulary,
        length,
        lambda params, tokens, lengths: read(
            params, check_tokens(tokens, vocabulary, length), check_lengths(lengths, tokens)
        ),
        step,
    )


def check_tokens(tokens: Any, vocabulary: int, length: int, *, name: str = "tokens") -> Array:
    """(B, T) ids of the vocabulary, at most `length` in a row."""
    array = _checks.integers(name, tokens, ndim=2, expected="(B, T) ids of tokens, padded on the right")
    if not 1 <= array.shape[1] <= length:
        raise BadArgument(name, expected=f"rows of 1 to length={length} tokens", got=array.shape[1])
    if _checks.concrete(array) and array.size:
        values = np.asarray(array)
        if values.min() < 0 or values.max() >= vocabulary:
            wrong = values[(values < 0) | (values >= vocabulary)][0]
            raise BadArgument(name, expected=f"ids in [0, {vocabulary}), padding included", got=wrong)
    return array


def check_lengths(lengths: Any, tokens: Any, *, name: str = "lengths", least: int = 1) -> Array:
    """(B,) numbers of tokens in rows that are padded on the right, from `least` to the rows' width."""
    rows, width = np.shape(tokens)
    array = _checks.integers(name, lengths, ndim=1, expected="(B,) numbers of tokens")
    if array.shape != (rows,):
        raise BadArgument(name, expected=f"one for each of {rows} rows", got=f"shape {array.shape}")
    if _checks.concrete(array) and array.size:
        values = np.asarray(array)
        if values.min() < least or values.max() > width:
            wrong = int(np.argmax((values < least) | (values > width)))
            raise BadArgument(name, expected=f"numbers in [{least}, {width}]", got=f"{values[wrong]} in row {wrong}")
    return array


def check_params(params: Any, shapes: Any, *, path: tuple[str, ...] = ()) -> None:
    """Every array that a model needs, of its shape; others, such as adapters, may stand beside them."""
    for name, expected in shapes.items():
        where = "/".join((*path, name))
        if not isinstance(params, dict) or name not in params:
            raise BadArgument("params", expected=where, got="parameters without it")
        if isinstance(expected, dict):
            check_params(params[name], expected, path=(*path, name))
        elif jnp.shape(params[name]) != expected.shape:
            raise BadArgument("params", expected=f"{where} of shape {expected.shape}", got=jnp.shape(params[name]))
