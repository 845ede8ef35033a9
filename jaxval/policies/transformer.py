"""A small Llama-shaped transformer as a `SequenceModel`: causal, so padding on the right changes nothing.

Tokens are embedded, pass `layers` equal blocks, are normalised and scored against the vocabulary. The blocks' weights
are stacked along their first axis and scanned over, which compiles in the time of one block. The shape is that of the
published Llama models, so that their weights fit (`policies.read_llama`).
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxval import _checks
from jaxval.types import BadArgument, Grouped, Params, Parts, SequenceModel

__all__ = ["Cache", "RopeScaling", "rotary_frequencies", "transformer"]


Kept = tuple[Array, ...]
"""Keys and values of some layers: two of the prompts, (layers, B, P, key_value_heads, head_width), which all responses
to a prompt share, and two of the responses, (layers, B, copies, room, key_value_heads, head_width)."""


class Cache(NamedTuple):
    """What a transformer keeps of the tokens read so far, with room for the new tokens alone.

    Attributes:
        below: keys and values of the layers that do not depend on the parameters, `Kept`.
        above: keys and values of the others.
        lengths: (B,) how many tokens of each prompt count; later slots are never read.
        used: how many new tokens each response has.
    """

    below: Kept
    above: Kept
    lengths: Int[Array, "rows"]
    used: Int[Array, ""]


class RopeScaling(NamedTuple):
    """How the rotary frequencies are stretched to a context longer than the one trained on (Llama 3.1).

    Attributes:
        factor: by how much the slow frequencies are divided.
        low_frequency_factor: frequencies of wavelengths above `original_length / low_frequency_factor` are divided.
        high_frequency_factor: frequencies of wavelengths below `original_length / high_frequency_factor` are unchanged;
            those in between are divided in part.
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
    _checks.check_memory("head_width", _checks.check_size("head_width", head_width))
    base = _checks.check_finite("base", base, "a finite number above 0", above=True)
    frequencies = base ** (-np.arange(0, head_width, 2) / head_width)
    if scaling is None:
        return frequencies
    for name, value in zip(RopeScaling._fields, _checks.check_record("scaling", scaling, RopeScaling), strict=True):
        _checks.check_finite(f"scaling.{name}", value, "a finite number above 0", above=True)
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

    The cache has room for the prompts and for as many new tokens as `start` is told; logits beyond them are NaN.

    Source: Touvron et al. (2023), section 2.2; grouped heads are Ainslie et al. (2023).

    Args:
        vocabulary: V, how many tokens there are.
        length: the most tokens that a sequence may have; parameters do not depend on it.
        width: the width of the residual stream.
        layers: how many blocks.
        heads: the number of heads of queries.
        key_value_heads: the number of heads of keys and values, each of which serves heads / key_value_heads heads of
            queries; None means `heads`.
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
    from jaxval.policies import _blocks  # loads flax, which whoever scores a table never needs

    dtype = jnp.zeros(0).dtype
    block: dict[str, Any] = {
        "heads": heads,
        "key_value_heads": shared,
        "head_width": head_width,
        "hidden": hidden,
        "epsilon": epsilon,
        "dtype": dtype,
    }
    frequencies = rotary_frequencies(head_width, base=rope_base, scaling=rope_scaling)
    module = _blocks.Transformer(vocabulary, width, layers, _checks.check_flag("tied", tied), block)

    @jax.jit
    def init(key: Array) -> Params:
        return module.init(_checks.check_key(key), jnp.zeros((1, 1), dtype=int))["params"]

    def embed(params: Params, tokens: Array) -> Array:
        check_params(params, jax.eval_shape(init, jax.random.key(0)))
        return params["embedding"]["embedding"][tokens]

    def run(params: Params, x: Array, positions: Array, attention: Any, layers: slice, kept: Any = None) -> Any:
        """Hidden states after some of the layers, and what their attention keeps."""
        turns = positions[:, :, None, None] * jnp.asarray(frequencies, jnp.zeros(0).dtype)[None, None, None, :]
        one = _blocks.Block(**block, attention=attention)
        angles = jnp.cos(turns), jnp.sin(turns)

        # A gradient recomputes all but the products with matrices: a third of the memory, and hardly more time.
        @functools.partial(jax.checkpoint, policy=jax.checkpoint_policies.dots_with_no_batch_dims_saveable)
        def step(x: Array, of_layer: Any) -> tuple[Array, Any]:
            return one.apply({"params": of_layer[0]}, x, angles, of_layer[1])

        return _scan(step, x, params["layers"], kept, layers)

    def finish(params: Params, x: Array) -> Array:
        return _blocks.norm(epsilon, dtype).apply({"params": params["norm"]}, x)  # type: ignore[return-value]

    def head(params: Params, x: Array) -> Array:
        return x @ (params["embedding"]["embedding"].T if tied else params["scores"]["kernel"])

    def adapt(full: Callable[[Any, Params], Params], fixed: int, held: Any) -> SequenceModel:
        """The model of `full(held, params)`, of which the first `fixed` layers do not depend on `params`.

        The arrays that are held are arguments of what is compiled: as constants they would be copied into it.
        """
        every, lower, upper = slice(0, layers), slice(0, fixed), slice(fixed, layers)

        @jax.jit
        def logits(held: Any, params: Params, tokens: Array) -> Array:
            whole, positions = full(held, params), _count(tokens)
            x, _ = run(whole, embed(whole, tokens), positions, _blocks.within(positions), every)
            return head(whole, finish(whole, x))

        @functools.partial(jax.jit, static_argnames=("room", "copies"))
        def start(
            held: Any, params: Params, tokens: Array, lengths: Array, room: int, copies: int
        ) -> tuple[Array, Cache]:
            whole, positions, kept = full(held, params), _count(tokens), []
            x, attention = embed(whole, tokens), _blocks.within(positions, keep=True)
            for part in (lower, upper):
                x, read = run(whole, x, positions, attention, part)
                own = [jnp.zeros((len(one), len(tokens), copies, room, *one.shape[3:]), one.dtype) for one in read]
                kept.append((*read, *own))
            ends = jnp.repeat(x[jnp.arange(len(tokens)), lengths - 1], copies, axis=0)
            return head(whole, finish(whole, ends)), Cache(kept[0], kept[1], lengths, jnp.zeros((), int))

        @jax.jit
        def advance(held: Any, params: Params, cache: Cache, tokens: Array) -> tuple[Array, Cache]:
            whole, lengths, used = full(held, params), cache.lengths, cache.used
            x = embed(whole, tokens.reshape(len(lengths), -1))
            positions = jnp.broadcast_to((lengths + used)[:, None], x.shape[:2])
            attention, kept = _blocks.after_kept(lengths, used), []
            for part, before in ((lower, cache.below), (upper, cache.above)):
                x, own = run(whole, x, positions, attention, part, before)
                kept.append((*before[:2], *own))
            scores = head(whole, finish(whole, x.reshape(-1, x.shape[-1])))
            return jnp.where(used < cache.above[2].shape[3], scores, jnp.nan), Cache(
                kept[0], kept[1], lengths, used + 1
            )

        def layout(grouped: Grouped) -> tuple[Array, Array, Any]:
            prompts, lengths, responses, _ = (jnp.asarray(field) for field in grouped)
            count, new = responses.shape[1:]
            after = jnp.tile(jnp.arange(new), count)[None, :] + lengths[:, None]
            tokens = jnp.concatenate([prompts, responses.reshape(len(prompts), -1)], axis=1)
            return tokens, jnp.concatenate([_count(prompts), after], axis=1), (prompts.shape[1], count, lengths)

        @jax.jit
        def below(held: Any, params: Params, grouped: Grouped) -> Array:
            tokens, positions, form = layout(grouped)
            whole = full(held, params)
            return run(whole, embed(whole, tokens), positions, _blocks.after_prompts(*form), lower)[0]

        @jax.jit
        def above(held: Any, params: Params, grouped: Grouped, states: Array) -> Array:
            tokens, positions, (slots, count, lengths) = layout(grouped)
            whole, rows = full(held, params), len(tokens)
            x, _ = run(whole, states, positions, _blocks.after_prompts(slots, count, lengths), upper)
            ends = x[jnp.arange(rows), lengths - 1][:, None, None]
            own = x[:, slots:].reshape(rows, count, -1, width)
            ends = jnp.broadcast_to(ends, (rows, count, 1, width))
            return finish(whole, jnp.concatenate([ends, own], axis=2))

        def begin(params: Params, tokens: Any, lengths: Any, room: int, copies: int) -> tuple[Array, Cache]:
            tokens = check_tokens(tokens, vocabulary, length)
            return start(held, params, tokens, check_lengths(lengths, tokens), room, copies)

        parts = Parts(
            layers=layers,
            fixed=fixed,
            below=functools.partial(below, held),
            above=functools.partial(above, held),
            head=lambda params, states: head(full(held, params), states),
            cache_axes=Cache(None, 0, None, None),  # type: ignore[arg-type]
            adapt=adapt,
        )
        return SequenceModel(
            init,
            lambda params, tokens: logits(held, params, check_tokens(tokens, vocabulary, length)),
            vocabulary,
            length,
            start=begin,
            advance=functools.partial(advance, held),
            parts=parts,
            held=None if held is None else lambda: held,
            bind=functools.partial(adapt, full, fixed),
        )

    return adapt(lambda held, params: params, 0, None)


def _count(tokens: Array) -> Array:
    """(B, T) the positions 0, 1, ... of each row."""
    return jnp.broadcast_to(jnp.arange(tokens.shape[1])[None, :], tokens.shape)


def _scan(step: Any, x: Array, params: Params, kept: Any, layers: slice) -> tuple[Array, Any]:
    """`step` through some layers, the parameters of which are stacked; adapters belong to the last layers alone."""
    if layers.start == layers.stop:
        return x, ()
    total = max(len(leaf) for leaf in jax.tree.leaves(params))
    starts = {total - len(leaf) for leaf in jax.tree.leaves(params)}
    ends = sorted({layers.start, layers.stop, *(at for at in starts if layers.start < at < layers.stop)})
    results = []
    for first, last in itertools.pairwise(ends):
        some = _slice(params, total, first, last)
        part = jax.tree.map(lambda leaf, a=first, b=last: leaf[a - layers.start : b - layers.start], kept)
        x, result = jax.lax.scan(step, x, (some, part))
        results.append(result)
    return x, jax.tree.map(lambda *parts: jnp.concatenate(parts), *results) if len(results) > 1 else results[0]


def _slice(params: Params, total: int, first: int, last: int) -> Params:
    """The parameters of the layers from `first` to before `last`, without adapters that begin above them."""
    if not isinstance(params, dict):
        missing = total - len(params)
        return params[first - missing : last - missing]
    return {
        name: _slice(branch, total, first, last)
        for name, branch in params.items()
        if isinstance(branch, dict) or total - len(branch) <= first
    }


def held_by(model: SequenceModel) -> Any:
    """The arrays that a model holds besides its parameters, or None if it holds none."""
    _checks.check_record("model", model, SequenceModel)
    return None if model.held is None else model.held()


def rebind(model: SequenceModel, held: Any) -> SequenceModel:
    """The model on the arrays `held`, which are those of `held_by(model)` as arguments of a compiled function."""
    return model if model.bind is None else model.bind(held)


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
