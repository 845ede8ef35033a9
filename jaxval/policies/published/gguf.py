"""Models of Llama's shape in GGUF, the file format of llama.cpp, read by the package `gguf` and dequantised."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jax.typing import DTypeLike

from jaxval import _checks
from jaxval.policies.published._files import CUT_OFF, extra
from jaxval.policies.published._weights import Tensors, read_model
from jaxval.policies.published.chat import chat_template
from jaxval.policies.published.tokenisers import byte_level_tokenizer, tokeniser_of
from jaxval.policies.text import Tokeniser
from jaxval.policies.transformer import RopeScaling, rotary_frequencies
from jaxval.types import BadArgument, Params, SequenceModel

__all__ = ["read_gguf"]

OUTSIDE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
LAYER = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
SIZES = {
    "vocabulary": "vocab_size",
    "length": "context_length",
    "width": "embedding_length",
    "hidden": "feed_forward_length",
    "layers": "block_count",
    "heads": "attention.head_count",
}
OTHERS = (  # further fields that are read or checked
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.type",
    "expert_count",
    "expert_used_count",
)
STRETCH = "rope_freqs.weight"  # by how much each rotary frequency is divided


def read_gguf(
    path: str | Path, *, length: int | None = None, dtype: DTypeLike | None = None
) -> tuple[SequenceModel, Params, Tokeniser]:
    """A model of Llama's shape from a GGUF file: the model, its dequantised parameters, its tokeniser.

    Tokeniser and chat template come from the file. The format permutes the rows of the query and key matrices, so that
    a pair of rotated coordinates lies side by side; the function undoes this.

    Args:
        path: a file of the architecture llama, whose tokeniser merges bytes (`gpt2`).
        length: the largest number of tokens of a sequence and of the cache; None means the file's own limit.
        dtype: the type of the parameters, in which the model also computes. None means JAX's default precision.

    Returns:
        `(model, params, tokeniser)`, as from `read_llama`.

    Raises:
        ValueError: if the file is cut off, has another architecture, or has a setting or a tensor that the model lacks.
        ModuleNotFoundError: if the extra `llama` is not installed.

    Example:
        >>> read_gguf("no/such/file.gguf")
        Traceback (most recent call last):
        jaxval.types.BadArgument: path: expected a GGUF file; got no/such/file.gguf, which is not there

    Source: the format of https://github.com/ggml-org/ggml, docs/gguf.md.
    """
    path = Path(_checks.check_path("path", path))
    fields, tensors = _open(path)
    if fields.get("general.architecture") != "llama":
        got = f"{fields.get('general.architecture')!r}"
        raise BadArgument(path, expected="a GGUF file of the architecture llama", got=got)
    shape = _shape(path, fields, tensors)
    names = _names(path, tensors, shape["layers"])
    turned = {"self_attn.q_proj.weight": shape["heads"], "self_attn.k_proj.weight": shape["key_value_heads"]}

    def read(name: str) -> np.ndarray:
        tensor = tensors[names[name]]()
        heads = next((heads for end, heads in turned.items() if name.endswith(end)), None)
        return tensor if heads is None else _in_halves(tensor, heads)

    files = dict.fromkeys(names, path)
    model = read_model(Tensors(path, files, read), shape, length=length, dtype=dtype)
    return *model, _tokeniser(path, fields)


def _open(path: Path) -> tuple[dict[str, Any], dict[str, Callable[[], np.ndarray]]]:
    """The fields of a file, and functions that dequantise its tensors, by name."""
    if not path.is_file():
        raise BadArgument("path", expected="a GGUF file", got=f"{path}, which is not there")
    package = extra("gguf")

    class Reader(package.GGUFReader):
        """A reader that raises at the end of the file, and slices the file as plain arrays, which is fast."""

        @property
        def data(self) -> np.ndarray:
            return self._plain

        @data.setter
        def data(self, mapped: np.ndarray) -> None:
            self._plain = np.asarray(mapped)

        def _get(self, offset: int, dtype: Any, count: Any = 1, *how: Any, **named: Any) -> np.ndarray:
            result = super()._get(offset, dtype, count, *how, **named)
            if len(result) != count:
                raise EOFError(f"at byte {offset}")
            return result

    try:
        reader = Reader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
    except Exception as error:  # the package says nothing of its errors
        raise BadArgument(path, expected="a whole GGUF file", got=f"{CUT_OFF} ({error})") from error

    def read(tensor: Any) -> np.ndarray:
        try:
            return package.quants.dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError as error:
            expected = f"weights in a format that the package gguf dequantises, for {tensor.name}"
            raise BadArgument(path, expected=expected, got=tensor.tensor_type.name) from error

    return fields, {tensor.name: lambda tensor=tensor: read(tensor) for tensor in reader.tensors}  # type: ignore[misc]


def _shape(path: Path, fields: dict[str, Any], tensors: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `transformer`; settings that it lacks are refused."""
    own = {name.removeprefix("llama."): value for name, value in fields.items() if name.startswith("llama.")}
    if unknown := sorted(set(own) - {*SIZES.values(), *OTHERS}):
        raise BadArgument(path, expected="only the settings of a Llama", got=f"llama.{unknown[0]} as well")
    own.setdefault("vocab_size", len(fields.get("tokenizer.ggml.tokens") or ()))
    if missing := [name for name in SIZES.values() if name not in own]:
        raise BadArgument(path, expected=f"the field llama.{missing[0]}", got="a file without it")
    shape = {ours: _checks.check_size(f"{path}: llama.{name}", own[name]) for ours, name in SIZES.items()}
    shape["key_value_heads"] = own.get("attention.head_count_kv", shape["heads"])
    shape["head_width"] = own.get("attention.key_length", shape["width"] // shape["heads"])
    base = float(own.get("rope.freq_base", 10000.0))
    for name, wanted in (
        ("attention.value_length", shape["head_width"]),
        ("rope.dimension_count", shape["head_width"]),
        ("rope.scaling.type", "none"),
        ("expert_count", 0),
    ):
        if own.get(name, wanted) != wanted:
            raise BadArgument(path, expected=f"llama.{name} {wanted!r}", got=f"{own[name]!r}, which is not supported")
    stretch = tensors[STRETCH]() if STRETCH in tensors else None
    return shape | {
        "rope_base": base,
        "rope_scaling": _stretch(path, stretch, shape["head_width"], base),
        "epsilon": float(own.get("attention.layer_norm_rms_epsilon", 1e-5)),
        "tied": "output.weight" not in tensors,
    }


def _stretch(path: Path, factors: np.ndarray | None, head_width: int, base: float) -> RopeScaling | None:
    """The stretch of the rotary frequencies that gives these factors; any other than that of Llama 3.1 is refused."""
    if factors is None:
        return None
    stretch = RopeScaling(float(factors.max()), 1.0, 4.0, 8192)
    plain = rotary_frequencies(head_width, base=base)
    expected = plain / rotary_frequencies(head_width, base=base, scaling=stretch)
    if factors.shape != expected.shape or not np.allclose(factors, expected, rtol=1e-3):
        raise BadArgument(path, expected=f"{STRETCH} as in Llama 3.1, or none", got="other factors")
    return stretch


def _names(path: Path, tensors: dict[str, Any], layers: int) -> dict[str, str]:
    """The name of each tensor in the file, by the name that `transformers` gives the tensor."""
    ours = {theirs: own for own, theirs in OUTSIDE.items()}
    for layer in range(layers):
        ours |= {f"model.layers.{layer}.{theirs}": f"blk.{layer}.{own}" for own, theirs in LAYER.items()}
    if unknown := sorted(set(tensors) - set(ours.values()) - {STRETCH}):
        raise BadArgument(path, expected=f"only the tensors of a Llama of {layers} layers", got=f"{unknown[0]} as well")
    return {theirs: own for theirs, own in ours.items() if own in tensors}


def _in_halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """The rows of each head, reordered from pair by pair, as in GGUF, to all first and then all second coordinates."""
    out, width = rows.shape
    return rows.reshape(heads, out // heads // 2, 2, width).swapaxes(1, 2).reshape(out, width)


def _tokeniser(path: Path, fields: dict[str, Any]) -> Tokeniser:
    tokenizer = byte_level_tokenizer(fields, path)
    begin, end, pad = (fields.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos", "padding"))
    template, words = fields.get("tokenizer.chat_template"), fields["tokenizer.ggml.tokens"]
    chat = None
    if template is not None:
        named = {"bos_token": begin, "eos_token": end}
        special = {name: words[i] for name, i in named.items() if i is not None and i < len(words)}
        chat = chat_template(template, name=path, **special)
    in_front = fields.get("tokenizer.ggml.add_bos_token", fields.get("tokenizer.ggml.pre") == "llama-bpe")
    return tokeniser_of(tokenizer, begin=begin if in_front else None, end=end, pad=pad, chat=chat)
