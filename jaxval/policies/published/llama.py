"""Published checkpoints of Llama's shape, read from their folder.

A folder in the usual layout holds `config.json`, `tokenizer.json`, and the weights in `model.safetensors` or in several
files that `model.safetensors.index.json` lists. It may hold a chat template, in `chat_template.jinja` or
`tokenizer_config.json`.
"""

from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jaxval import _checks
from jaxval.policies.published._files import CUT_OFF, extra, read_json
from jaxval.policies.published._weights import Tensors, read_model
from jaxval.policies.published.chat import chat_template
from jaxval.policies.published.gguf import read_gguf
from jaxval.policies.published.tokenisers import tokeniser_of
from jaxval.policies.text import Tokeniser
from jaxval.policies.transformer import RopeScaling
from jaxval.types import BadArgument, Params, SequenceModel

__all__ = ["read_llama", "read_reward"]

REFUSED = {"attention_bias": False, "mlp_bias": False, "hidden_act": "silu", "partial_rotary_factor": 1.0}
SCORE = "score.weight"
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
        path: the folder of the checkpoint, or a file that ends in .gguf (see `read_gguf`).
        length: the largest number of tokens in a sequence and in the cache; None means the checkpoint's own limit.
        dtype: the type of the parameters, in which the model also computes. None means JAX's default precision,
            whatever type the file has.

    Returns:
        `(model, params, tokeniser)`. The tokeniser's `begin` is None if the published tokeniser adds no token
        in front of a text, and its `chat` is None if there is no chat template. With a template, `end` is the end of
        a turn.

    Raises:
        ValueError: if a file is missing, cut off or of another format, if the checkpoint has another architecture, or
            if a tensor is missing, unknown or of another shape. The message names the tensor and its file.
        ModuleNotFoundError: if the extra `llama` is not installed.

    Example:
        >>> read_llama("no/such/folder")
        Traceback (most recent call last):
        jaxval.types.BadArgument: path: expected a folder with config.json; got no folder no/such/folder
    """
    if Path(_checks.check_path("path", path)).suffix == ".gguf":
        return read_gguf(path, length=length, dtype=dtype)
    folder = Path(path)
    config = _read_config(folder)
    tensors = _find_tensors(folder)
    tokeniser = _read_tokeniser(folder, config)
    return *read_model(tensors, _shape(folder, config), length=length, dtype=dtype), tokeniser


def read_reward(path: str | Path) -> tuple[SequenceModel, Params, Tokeniser, np.ndarray]:
    """A checkpoint of the architecture LlamaForSequenceClassification, whose rewards are linear in the last states.

    Args:
        path: the folder of the checkpoint.

    Returns:
        `(model, params, tokeniser, weight)`: as from `read_llama`, of a model whose logits mean nothing, and the matrix
        (width, labels) from the normalised hidden state of the last token to the rewards.

    Raises:
        ValueError: as `read_llama`, also for a checkpoint of a language model.
        ModuleNotFoundError: if the extra `llama` is not installed.

    Example:
        >>> read_reward("no/such/folder")
        Traceback (most recent call last):
        jaxval.types.BadArgument: path: expected a folder with config.json; got no folder no/such/folder
    """
    folder = Path(_checks.check_path("path", path))
    config = _read_config(folder, architecture="LlamaForSequenceClassification")
    tensors = _find_tensors(folder)
    shape = _shape(folder, config) | {"tied": True}  # there is no head for the vocabulary
    if SCORE not in tensors.files:
        raise BadArgument(folder, expected=f"the tensor {SCORE}", got="files without it")
    weight = np.asarray(jnp.asarray(tensors.read(SCORE), jnp.float32)).T
    if weight.ndim != 2 or weight.shape[0] != shape["width"]:
        expected = f"the tensor {SCORE} of shape (labels, {shape['width']})"
        raise BadArgument(tensors.files[SCORE], expected=expected, got=f"shape {weight.shape[::-1]}")
    model, params = read_model(tensors, shape, length=None, dtype=None, others=[SCORE])
    return model, params, _read_tokeniser(folder, config), weight


def _shape(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `transformer`."""
    heads = config["num_attention_heads"]
    rope = config.get("rope_parameters") or {}  # newer files; older ones have rope_theta and rope_scaling
    return {
        "vocabulary": config["vocab_size"],
        "length": config["max_position_embeddings"],
        "width": config["hidden_size"],
        "layers": config["num_hidden_layers"],
        "heads": heads,
        "key_value_heads": config.get("num_key_value_heads") or heads,
        "head_width": config.get("head_dim") or config["hidden_size"] // heads,
        "hidden": config["intermediate_size"],
        "rope_base": float(config.get("rope_theta") or rope.get("rope_theta", 10000.0)),
        "rope_scaling": _rope_scaling(config.get("rope_scaling") or rope, folder),
        "epsilon": float(config.get("rms_norm_eps", 1e-6)),
        "tied": bool(config.get("tie_word_embeddings", False)),
    }


def _read_config(folder: Path, *, architecture: str = "LlamaForCausalLM") -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise BadArgument(
            "path", expected="a folder with config.json", got=folder if folder.exists() else f"no folder {folder}"
        )
    config = read_json(path)
    if config.get("model_type") != "llama" or config.get("architectures", [architecture]) != [architecture]:
        result = f"model_type {config.get('model_type')!r} and architectures {config.get('architectures')}"
        raise BadArgument(path, expected=f"model_type 'llama' and architectures ['{architecture}']", got=result)
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


def _find_tensors(folder: Path) -> Tensors:
    """The tensors of the folder. Every file is opened, so that a file that is cut off is detected."""
    safetensors = extra("safetensors")
    index = folder / "model.safetensors.index.json"
    single = folder / "model.safetensors"
    listed: dict[str, str] = {}
    if single.is_file():
        paths = [single]
    elif index.is_file():
        listed = read_json(index).get("weight_map", {})
        if not listed:
            raise BadArgument(index, expected="a weight_map from tensors to files", got="none")
        paths = [folder / file for file in sorted(set(listed.values()))]
    else:
        raise BadArgument(folder, expected="model.safetensors or model.safetensors.index.json", got="neither")
    files: dict[str, Path] = {}
    opened: dict[Path, Any] = {}
    for path in paths:
        if not path.is_file():
            raise BadArgument(path, expected=f"a file of tensors, because {index.name} lists it", got="no such file")
        try:
            opened[path] = safetensors.safe_open(path, framework="flax")
            files |= dict.fromkeys(opened[path].keys(), path)
        except safetensors.SafetensorError as error:
            raise BadArgument(path, expected="a whole file of tensors", got=f"{CUT_OFF} ({error})") from error
    for name, file in listed.items():
        if files.get(name) != folder / file:
            raise BadArgument(
                folder / file, expected=f"the tensor {name}, because {index.name} lists it", got="a file without it"
            )
    return Tensors(folder, files, lambda name: opened[files[name]].get_tensor(name))


def _read_tokeniser(folder: Path, config: dict[str, Any]) -> Tokeniser:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise BadArgument(folder, expected="tokenizer.json", got="a folder without it")
    try:
        tokenizer = extra("tokenizers").Tokenizer.from_file(str(path))
    except Exception as error:  # for a damaged file the package raises a plain Exception
        if isinstance(error, ImportError):
            raise
        raise BadArgument(path, expected="a tokeniser", got=f"{CUT_OFF} ({error})") from error
    vocabulary = tokenizer.get_vocab_size(with_added_tokens=True)
    if vocabulary > config["vocab_size"]:
        raise BadArgument(
            path,
            expected=f"at most vocab_size={config['vocab_size']} tokens, as config.json says",
            got=f"{vocabulary} tokens",
        )

    begin, end, pad = (config.get(f"{name}_token_id") for name in ("bos", "eos", "pad"))
    end = end[0] if isinstance(end, list) else end
    encode = partial(tokenizer.encode, add_special_tokens=False)
    in_front = tokenizer.encode("a").ids[:1] == [begin] and encode("a").ids[:1] != [begin]
    template, special = _read_template(folder)
    if template is not None:  # its end of a turn may differ from the end of a text
        own = tokenizer.token_to_id(special.get("eos_token", ""))
        end = end if own is None else own
    chat = None if template is None else chat_template(template[1], name=template[0], **special)
    return tokeniser_of(tokenizer, begin=begin if in_front else None, end=end, pad=pad, chat=chat)


def _read_template(folder: Path) -> tuple[tuple[Path, str] | None, dict[str, str]]:
    """The chat template with its file, None if there is none, and the special tokens that it may write."""
    path, own = folder / "tokenizer_config.json", folder / "chat_template.jinja"
    settings = read_json(path) if path.is_file() else {}
    tokens = {name: settings.get(name) for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    texts = {name: token.get("content") if isinstance(token, dict) else token for name, token in tokens.items()}
    special = {name: token for name, token in texts.items() if isinstance(token, str)}
    if own.is_file():
        return (own, own.read_text(encoding="utf-8")), special
    template = settings.get("chat_template")
    if isinstance(template, list):  # several, by name
        template = next((one.get("template") for one in template if one.get("name") == "default"), None)
    if template is not None and not isinstance(template, str):
        raise BadArgument(path, expected="text in chat_template", got=type(template).__name__)
    return (None if template is None else (path, template)), special
