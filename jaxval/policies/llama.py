"""Published checkpoints of Llama's shape, read from their folder (extra `llama`).

A folder in the usual layout holds `config.json`, `tokenizer.json`, and the weights in `model.safetensors` or in several
files that `model.safetensors.index.json` lists.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array

from jaxval import _checks
from jaxval.policies.text import Tokeniser
from jaxval.policies.transformer import RopeScaling, transformer
from jaxval.types import BadArgument, Params, SequenceModel

__all__ = ["read_llama"]

LAYER = {  # our name: the name in the checkpoint, and whether the matrix there is (out, in)
    ("attention_norm", "scale"): ("input_layernorm.weight", False),
    ("query", "kernel"): ("self_attn.q_proj.weight", True),
    ("key", "kernel"): ("self_attn.k_proj.weight", True),
    ("value", "kernel"): ("self_attn.v_proj.weight", True),
    ("output", "kernel"): ("self_attn.o_proj.weight", True),
    ("hidden_norm", "scale"): ("post_attention_layernorm.weight", False),
    ("gate", "kernel"): ("mlp.gate_proj.weight", True),
    ("up", "kernel"): ("mlp.up_proj.weight", True),
    ("down", "kernel"): ("mlp.down_proj.weight", True),
}
OUTSIDE = {
    ("embedding", "embedding"): ("model.embed_tokens.weight", False),
    ("norm", "scale"): ("model.norm.weight", False),
    ("scores", "kernel"): ("lm_head.weight", True),
}
REFUSED = {"attention_bias": False, "mlp_bias": False, "hidden_act": "silu", "partial_rotary_factor": 1.0}
SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
)


def read_llama(
    path: str | Path, *, length: int | None = None, dtype: DTypeLike | None = None
) -> tuple[SequenceModel, Params, Tokeniser]:
    """A published checkpoint of Llama's shape, such as SmolLM-135M: the model, its parameters, its tokeniser.

    The function reads the sizes, `rope_theta`, `rope_scaling` of type llama3, `rms_norm_eps`, `tie_word_embeddings` and
    `num_key_value_heads`. It refuses a checkpoint with any other setting that would change the log-probabilities.

    Args:
        path: the folder of the checkpoint.
        length: the largest number of tokens in a sequence and in the cache; None means the checkpoint's own limit.
        dtype: the type of the parameters, in which the model also computes. None means JAX's default precision,
            whatever type the file has.

    Returns:
        `(model, params, tokeniser)`. The tokeniser's `begin` is None if the published tokeniser adds no token
        in front of a text.

    Raises:
        ValueError: if a file is missing, cut off or of another format, if the checkpoint has another architecture, or
            if a tensor is missing, unknown or of another shape. The message names the tensor and its file.
        ModuleNotFoundError: if the extra `llama` is not installed.

    Example:
        >>> read_llama("no/such/folder")
        Traceback (most recent call last):
        jaxval.types.BadArgument: path: expected a folder with config.json; got no/such/folder
    """
    folder = Path(path)
    config = _read_config(folder)
    most = config["max_position_embeddings"]
    length = most if length is None else _checks.check_size("length", length)
    if length > most:
        raise BadArgument("length", expected=f"at most the {most} tokens of the checkpoint", got=length)
    files = _find_tensors(folder)
    tokeniser = _read_tokeniser(folder, config)
    tied = bool(config.get("tie_word_embeddings", False))
    heads = config["num_attention_heads"]
    rope = config.get("rope_parameters") or {}  # newer files; older ones have rope_theta and rope_scaling
    model = transformer(
        vocabulary=config["vocab_size"],
        length=length,
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        key_value_heads=config.get("num_key_value_heads") or heads,
        head_width=config.get("head_dim") or config["hidden_size"] // heads,
        hidden=config["intermediate_size"],
        rope_base=float(config.get("rope_theta") or rope.get("rope_theta", 10000.0)),
        rope_scaling=_rope_scaling(config.get("rope_scaling") or rope, folder),
        epsilon=float(config.get("rms_norm_eps", 1e-6)),
        tied=tied,
    )
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    kind = jnp.zeros(0).dtype if dtype is None else jnp.dtype(dtype)
    return model, _read_params(folder, files, shapes, config["num_hidden_layers"], tied, kind), tokeniser


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise BadArgument("path", expected="a folder with config.json", got=folder)
    config = _read_json(path)
    if config.get("model_type") != "llama" or config.get("architectures", ["LlamaForCausalLM"]) != ["LlamaForCausalLM"]:
        result = f"model_type {config.get('model_type')!r} and architectures {config.get('architectures')}"
        raise BadArgument(path, expected="model_type 'llama' and architectures ['LlamaForCausalLM']", got=result)
    for name, wanted in REFUSED.items():
        if config.get(name, wanted) != wanted:
            raise BadArgument(path, expected=f"{name} {wanted!r}", got=f"{config[name]!r}, which is not supported")
    if config.get("quantization_config"):
        raise BadArgument(
            path,
            expected="weights that are not quantised",
            got="a quantization_config",
            advice="use a checkpoint without quantisation",
        )
    for name in SIZES:
        if name not in config:
            raise BadArgument(path, expected=f"the field {name}", got="a configuration without it")
        _checks.check_size(f"{path}: {name}", config[name])
    return config


def _rope_scaling(rope: dict[str, Any], folder: Path) -> RopeScaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind != "llama3":
        raise BadArgument(folder / "config.json", expected="rope_scaling of type llama3, or none", got=f"{kind!r}")
    names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    missing = [name for name in names if name not in rope]
    if missing:
        raise BadArgument(
            folder / "config.json", expected=f"{', '.join(names)} in rope_scaling", got=f"no {missing[0]}"
        )
    return RopeScaling(*(rope[name] for name in names))


def _read_params(folder: Path, files: dict[str, Path], shapes: Params, layers: int, tied: bool, dtype: Any) -> Params:
    """The parameters of the model, each from one tensor of the files, or from one tensor for each layer."""
    wanted = [name for (branch, _), (name, _) in OUTSIDE.items() if not (tied and branch == "scores")]
    wanted += [f"model.layers.{layer}.{name}" for layer in range(layers) for name, _ in LAYER.values()]
    for name in wanted:
        if name not in files:
            raise BadArgument(folder, expected=f"the tensor {name}", got="files without it")
    passed = {"lm_head.weight"} if tied else set()  # a copy of the embedding
    unknown = sorted(name for name in set(files) - set(wanted) - passed if not name.endswith("rotary_emb.inv_freq"))
    if unknown:
        raise BadArgument(
            files[unknown[0]], expected=f"only the tensors of a Llama of {layers} layers", got=f"{unknown[0]} as well"
        )
    open_file = _extra("safetensors").safe_open
    opened = {file: open_file(file, framework="flax") for file in set(files.values())}

    def read(name: str, turned: bool, shape: tuple[int, ...]) -> Array:
        tensor = opened[files[name]].get_tensor(name)
        if not jnp.issubdtype(tensor.dtype, jnp.floating):
            raise BadArgument(
                files[name], expected=f"floating-point numbers in the tensor {name}", got=f"{tensor.dtype} numbers"
            )
        expected = shape[::-1] if turned else shape
        if tensor.shape != expected:
            raise BadArgument(
                files[name], expected=f"the tensor {name} of shape {expected}", got=f"shape {tensor.shape}"
            )
        return (tensor.T if turned else tensor).astype(dtype)

    params: Params = {}
    for (branch, leaf), (name, turned) in OUTSIDE.items():
        if branch in shapes:
            params[branch] = {leaf: read(name, turned, shapes[branch][leaf].shape)}
    params["layers"] = {}
    for (branch, leaf), (name, turned) in LAYER.items():
        shape = shapes["layers"][branch][leaf].shape[1:]
        stacked = jnp.stack([read(f"model.layers.{layer}.{name}", turned, shape) for layer in range(layers)])
        params["layers"][branch] = {leaf: stacked}
    return params


def _find_tensors(folder: Path) -> dict[str, Path]:
    """The file of each tensor. Every file is opened, so that a file that is cut off is detected."""
    safetensors = _extra("safetensors")
    index = folder / "model.safetensors.index.json"
    single = folder / "model.safetensors"
    listed: dict[str, str] = {}
    if single.is_file():
        paths = [single]
    elif index.is_file():
        listed = _read_json(index).get("weight_map", {})
        if not listed:
            raise BadArgument(index, expected="a weight_map from tensors to files", got="none")
        paths = [folder / file for file in sorted(set(listed.values()))]
    else:
        raise BadArgument(folder, expected="model.safetensors or model.safetensors.index.json", got="neither")
    files: dict[str, Path] = {}
    for path in paths:
        if not path.is_file():
            raise BadArgument(path, expected=f"a file of tensors, because {index.name} lists it", got="no such file")
        try:
            with safetensors.safe_open(path, framework="flax") as tensors:
                files |= dict.fromkeys(tensors.keys(), path)
        except safetensors.SafetensorError as error:
            raise BadArgument(
                path, expected="a whole file of tensors", got=f"a file that is cut off or damaged ({error})"
            ) from error
    for name, file in listed.items():
        if files.get(name) != folder / file:
            raise BadArgument(
                folder / file, expected=f"the tensor {name}, because {index.name} lists it", got="a file without it"
            )
    return files


def _read_tokeniser(folder: Path, config: dict[str, Any]) -> Tokeniser:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise BadArgument(folder, expected="tokenizer.json", got="a folder without it")
    try:
        tokenizer = _extra("tokenizers").Tokenizer.from_file(str(path))
    except Exception as error:  # for a damaged file the package raises a plain Exception
        if isinstance(error, ImportError):
            raise
        raise BadArgument(path, expected="a tokeniser", got=f"a file that is cut off or damaged ({error})") from error
    vocabulary = tokenizer.get_vocab_size(with_added_tokens=True)
    if vocabulary > config["vocab_size"]:
        raise BadArgument(
            path,
            expected=f"at most vocab_size={config['vocab_size']} tokens, as config.json says",
            got=f"{vocabulary} tokens",
        )

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False).ids

    begin, end = config.get("bos_token_id"), config.get("eos_token_id")
    end = end[0] if isinstance(end, list) else end
    in_front = tokenizer.encode("a").ids[:1] == [begin] and encode("a")[:1] != [begin]
    pad = config.get("pad_token_id")
    return Tokeniser(
        encode,
        lambda ids: tokenizer.decode([int(i) for i in ids], skip_special_tokens=True),
        vocabulary,
        begin if in_front else None,
        end,
        pad if isinstance(pad, int) and pad >= 0 else 0,
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadArgument(path, expected="JSON", got=f"a file that is cut off or damaged ({error})") from error
    if not isinstance(content, dict):
        raise BadArgument(path, expected="a JSON object", got=type(content).__name__)
    return content


def _extra(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{name} is not installed, which published checkpoints need; call pip install 'jaxval[llama]'", name=name
        ) from error
