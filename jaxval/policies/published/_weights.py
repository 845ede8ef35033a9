"""From the tensors of a Llama, under the names that `transformers` gives them, to a model and its parameters."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxval import _checks
from jaxval.policies.transformer import transformer
from jaxval.types import BadArgument, Params, SequenceModel

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


class Tensors(NamedTuple):
    """The tensors of a checkpoint.

    Attributes:
        path: the checkpoint.
        files: the file of each tensor by its name.
        read: `read(name)` gives the tensor as an array.
    """

    path: Path
    files: Mapping[str, Path]
    read: Callable[[str], Any]


def read_model(
    tensors: Tensors,
    shape: Mapping[str, Any],
    *,
    length: int | None,
    dtype: DTypeLike | None,
    others: Collection[str] = (),
) -> tuple[SequenceModel, Params]:
    """A model and its parameters, from tensors and a shape: the arguments of `transformer`, with the largest `length`.

    The caller reads the tensors `others`; any further tensor is refused.
    """
    most = shape["length"]
    length = most if length is None else _checks.check_size("length", length)
    if length > most:
        raise BadArgument("length", expected=f"at most the {most} tokens of the checkpoint", got=length)
    model = transformer(**{**shape, "length": length})
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    kind = jnp.zeros(0).dtype if dtype is None else jnp.dtype(dtype)
    rest = {"lm_head.weight", *others} if shape["tied"] else others  # if tied, lm_head is a copy of the embedding
    return model, _params_of(tensors, shapes, layers=shape["layers"], dtype=kind, others=rest)


def _params_of(tensors: Tensors, shapes: Params, *, layers: int, dtype: Any, others: Collection[str]) -> Params:
    """The parameters of the model, each from one tensor, or from one tensor for each layer."""
    files = tensors.files
    wanted = [name for (branch, _), (name, _) in OUTSIDE.items() if branch in shapes]
    wanted += [f"model.layers.{layer}.{name}" for layer in range(layers) for name, _ in LAYER.values()]
    for name in wanted:
        if name not in files:
            raise BadArgument(tensors.path, expected=f"the tensor {name}", got="files without it")
    unknown = sorted(
        name for name in set(files) - set(wanted) - set(others) if not name.endswith("rotary_emb.inv_freq")
    )
    if unknown:
        raise BadArgument(
            files[unknown[0]], expected=f"only the tensors of a Llama of {layers} layers", got=f"{unknown[0]} as well"
        )

    def read(name: str, turned: bool, shape: tuple[int, ...]) -> Any:
        tensor = tensors.read(name)
        if not jnp.issubdtype(tensor.dtype, jnp.floating):
            raise BadArgument(
                files[name], expected=f"floating-point numbers in the tensor {name}", got=f"{tensor.dtype} numbers"
            )
        expected = shape[::-1] if turned else shape
        if tensor.shape != expected:
            raise BadArgument(
                files[name], expected=f"the tensor {name} of shape {expected}", got=f"shape {tensor.shape}"
            )
        return jnp.asarray(tensor.T if turned else tensor, dtype)

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
