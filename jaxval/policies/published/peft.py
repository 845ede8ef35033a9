"""Folders of low-rank adapters as PEFT 0.21 writes them: `adapter_config.json` and `adapter_model.safetensors`.

An adapter adds ΔW = s B A to a matrix W of its base, with s = lora_alpha / r, or lora_alpha / √r if `use_rslora`. Here
B is multiplied by s, and factors of smaller ranks are filled up with zeros. Adapters of any ranks and scales can then
be stacked and added: with ranks side by side, the ΔW of several adapters is the sum of theirs.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval import _checks
from jaxval.checkpoints.files import write_whole
from jaxval.policies.published._files import CUT_OFF, extra, read_json
from jaxval.policies.published._weights import LAYER
from jaxval.types import BadArgument, Params

__all__ = ["Adapter", "read_adapter", "stack_adapters", "write_adapter"]

CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
NAMES = {leaf[0]: name.removesuffix(".weight") for leaf, (name, turned) in LAYER.items() if turned}
KEY = re.compile(r"base_model\.model\.model\.layers\.(\d+)\.(.+)\.lora_([AB])\.weight")
READ = {  # what `_targets`, `_scale` and `read_adapter` read
    "peft_type",
    "base_model_name_or_path",
    "r",
    "lora_alpha",
    "use_rslora",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "init_lora_weights",
}
WITHOUT_EFFECT = {  # on the log-probabilities of a finished adapter
    "auto_mapping",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "inference_mode",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
}
PLAIN = {"bias": "none"}  # values, other than nothing, that change no number
STARTS = (True, False, "gaussian", "orthogonal", "eva")  # starts of A and B that leave the base as it is


class Adapter(NamedTuple):
    """A low-rank adapter (LoRA) of a model.

    Attributes:
        params: A and B of every target, stacked over the layers, as `merge` and `low_rank` take them with `alpha`;
            zeros in layers without the target.
        alpha: α, which is equal to the rank r of the factors, so that the scale α/r is 1.
        base: the name or the path of the base, from the folder; None if the folder names no base.
        layers: the numbers of the layers that the adapter changes.
    """

    params: Params
    alpha: float
    base: str | None
    layers: tuple[int, ...]


def _check_layers(name: str, params: Any, arrays: tuple[str, ...] = ("A", "B")) -> None:
    """Check `{"layers": {target: {array: (layers, ..., ...)}}}`."""
    if not isinstance(params, Mapping) or not isinstance(layers := params.get("layers", {}), Mapping):
        raise BadArgument(name, expected="nested dictionaries with the key 'layers'", got=f"{params!r:.80}")
    for target, place in layers.items():
        _checks.check_text(f"a name in {name}['layers']", target)
        for array in arrays if target in NAMES else ():
            if not isinstance(place, Mapping) or array not in place:
                raise BadArgument(f"{name}['layers'][{target!r}]", expected=f"an array {array!r}", got=f"{place!r:.80}")
            which = f"{name}['layers'][{target!r}][{array!r}]"
            shape = getattr(_checks.check_leaves(which, place[array]), "shape", ())
            if len(shape) != 3:
                raise BadArgument(which, expected="an array of three axes", got=f"shape {shape}")


def read_adapter(folder: str | Path, params: Params) -> Adapter:
    """An adapter from a folder of PEFT.

    The function reads `peft_type` (LORA), `r`, `lora_alpha`, `use_rslora`, `rank_pattern`, `alpha_pattern`,
    `target_modules`, `exclude_modules`, `layers_to_transform` and `layers_pattern`, as PEFT matches them to modules,
    and `init_lora_weights`, some values of which change the base and are refused. The function refuses by name every
    other field that would change log-probabilities, such as `use_dora` (whose changes do not add), `bias`, `lora_bias`,
    `modules_to_save`, `trainable_token_indices`, `target_parameters`, `layer_replication`, and every unknown field.

    Args:
        folder: the folder that holds `adapter_config.json`; for a named adapter it is FOLDER/NAME.
        params: the parameters of the base, from `read_llama`, whose shapes the adapter must fit.

    Returns:
        The adapter, in the precision of `params`.

    Raises:
        ValueError: if a file is missing, cut off or a pickle, if a field is refused, or if the tensors do not agree
            with the fields or do not fit the base.
        ModuleNotFoundError: if the extra `llama` is not installed.

    Example:
        >>> read_adapter("no/such/folder", {})
        Traceback (most recent call last):
        jaxval.types.BadArgument: adapter: expected a folder with adapter_config.json; got no folder no/such/folder

    Source: Hu et al., "LoRA" (2021); the fields are those of peft.LoraConfig.
    """
    folder = Path(_checks.check_path("folder", folder))
    _check_layers("params", params, arrays=("kernel",))
    config = _read_config(folder)
    tensors = _read_tensors(folder)
    if "query" not in params.get("layers", {}):
        raise BadArgument("params", expected="the parameters of the base, with layers", got=f"{list(params)!r:.80}")
    modules = {(layer, module) for layer, module, _ in tensors}
    layers = params["layers"]["query"]["kernel"].shape[0]
    expected = {
        (layer, module) for layer in range(layers) for module in NAMES.values() if _targeted(config, layer, module)
    }
    for layer, module in sorted(modules ^ expected):
        where = f"model.layers.{layer}.{module}"
        got = "tensors of it, which the fields exclude" if (layer, module) in modules else "no tensors of it"
        if layer >= layers:
            got = f"tensors of it, for a base of {layers} layers"
        raise BadArgument(folder / WEIGHTS, expected=f"the modules that {CONFIG} names, for {where} too", got=got)
    ours = {theirs: name for name, theirs in NAMES.items()}
    rank = max(tensors[layer, module, "A"].shape[0] for layer, module in modules)
    result: Params = {"layers": {}}
    for layer, module in sorted(modules):
        kernel = params["layers"][ours[module]]["kernel"]
        a, b = (tensors[layer, module, side] for side in "AB")
        scale = _scale(folder, config, layer, module, a.shape[0])
        if a.shape != (a.shape[0], kernel.shape[1]) or b.shape != (kernel.shape[2], a.shape[0]):
            raise BadArgument(
                folder / WEIGHTS,
                expected=f"A (r, {kernel.shape[1]}) and B ({kernel.shape[2]}, r) of {module} in layer {layer}, "
                "which fit the base",
                got=f"{a.shape} and {b.shape}",
                advice="an adapter belongs to the base on which it was trained",
            )
        target = result["layers"].setdefault(
            ours[module],
            {
                "A": np.zeros((layers, kernel.shape[1], rank)),
                "B": np.zeros((layers, rank, kernel.shape[2])),
            },
        )
        target["A"][layer, :, : len(a)] = a.T
        target["B"][layer, : len(a)] = scale * b.T
    dtype = params["layers"]["query"]["kernel"].dtype
    changed = tuple(sorted({layer for layer, _ in modules}))
    of_base = config.get("base_model_name_or_path") or None
    return Adapter(jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), result), float(rank), of_base, changed)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        named = sorted(below.parent.name for below in folder.glob(f"*/{CONFIG}")) if folder.is_dir() else []
        advice = (
            f"name one of the adapters in it: {', '.join(map(str, map(folder.joinpath, named)))}" if named else None
        )
        got = f"{folder}, a model" if (folder / "config.json").is_file() else folder
        got = got if folder.exists() else f"no folder {folder}"
        raise BadArgument("adapter", expected=f"a folder with {CONFIG}", got=got, advice=advice)
    config = read_json(path)
    if config.get("peft_type") != "LORA":
        raise BadArgument(path, expected="peft_type 'LORA'", got=repr(config.get("peft_type")))
    for name, value in sorted(config.items()):
        if name not in READ | WITHOUT_EFFECT and value and PLAIN.get(name) != value:
            why = "an adapter that adds to matrices of the layers and changes nothing else"
            raise BadArgument(path, expected=why, got=f"{name} {value!r}, which is not supported")
    start = config.get("init_lora_weights", True)
    if start not in STARTS:
        advice = "save it as a plain adapter, by path_initial_model_for_weight_conversion"
        raise BadArgument(
            path, expected="init_lora_weights that leaves the base unchanged", got=f"{start!r}", advice=advice
        )
    for name in ("r", "lora_alpha", "target_modules"):
        if config.get(name) is None:
            raise BadArgument(path, expected=f"the field {name}", got="none")
    return config


def _read_tensors(folder: Path) -> dict[tuple[int, str, str], np.ndarray]:
    """A (r, in) and B (out, r) by layer, module and side."""
    path = folder / WEIGHTS
    if not path.is_file():
        got = f"{PICKLE}, a pickle, which may run any program" if (folder / PICKLE).exists() else "a folder without it"
        advice = "save it as safetensors" if (folder / PICKLE).exists() else None
        raise BadArgument(folder, expected=WEIGHTS, got=got, advice=advice)
    safetensors = extra("safetensors")
    tensors: dict[tuple[int, str, str], np.ndarray] = {}
    try:
        with safetensors.safe_open(path, framework="flax") as opened:
            for key in list(opened.keys()):
                match = KEY.fullmatch(key)
                if not match or match[2] not in NAMES.values():
                    expected = "only lora_A and lora_B of the matrices of layers"
                    raise BadArgument(path, expected=expected, got=f"{key} as well")
                tensors[int(match[1]), match[2], match[3]] = np.asarray(opened.get_tensor(key).astype(jnp.float32))
    except safetensors.SafetensorError as error:
        raise BadArgument(path, expected="a whole file of tensors", got=f"{CUT_OFF} ({error})") from error
    for layer, module, side in tensors:
        if (layer, module, "B" if side == "A" else "A") not in tensors:
            raise BadArgument(path, expected=f"lora_A and lora_B of {module} in layer {layer}", got="one of them")
    if not tensors:
        raise BadArgument(path, expected="at least one lora_A and lora_B", got="none")
    return tensors


def _targeted(config: Mapping[str, Any], layer: int, module: str) -> bool:
    """Whether the fields name this module, as PEFT matches them."""
    key = f"model.layers.{layer}.{module}"

    def named(names: Any) -> bool:
        if isinstance(names, str):
            return re.fullmatch(names, key) is not None
        return any(key == name or key.endswith(f".{name}") for name in names)

    if config.get("exclude_modules") and named(config["exclude_modules"]):
        return False
    if not named(config["target_modules"]):
        return False
    only = config.get("layers_to_transform")
    if isinstance(config["target_modules"], str) or only is None or only == []:
        return True
    patterns = config.get("layers_pattern") or []
    patterns = [patterns] if isinstance(patterns, str) else patterns
    if patterns and not any(re.match(rf"(?:^|.*?\.){pattern}\.\d+\.", key) for pattern in patterns):
        return False
    return layer in ([only] if isinstance(only, int) else only)


def _scale(folder: Path, config: Mapping[str, Any], layer: int, module: str, rank: int) -> float:
    """lora_alpha / r or lora_alpha / √r of a module, whose rank must be that of the fields."""
    key = f"model.layers.{layer}.{module}"

    def of(name: str, patterns: str) -> Any:
        for pattern, value in (config.get(patterns) or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", key):
                return value
        return config[name]

    wanted, alpha = of("r", "rank_pattern"), of("lora_alpha", "alpha_pattern")
    if wanted != rank:
        raise BadArgument(folder / WEIGHTS, expected=f"rank {wanted} of {key}, as {CONFIG} says", got=rank)
    return float(alpha / rank**0.5 if config.get("use_rslora") else alpha / rank)


def stack_adapters(adapters: Sequence[Adapter]) -> tuple[list[Params], float]:
    """Adapters of one base with the same targets and the same rank, filled up with zeros, and their common α.

    Args:
        adapters: as `read_adapter` returned them.

    Returns:
        `(params, alpha)`: the A and B of each, of equal shapes, and the rank of all of them.

    Raises:
        ValueError: if there is none.

    Example:
        >>> narrow, wide = ({"A": jnp.ones((1, 2, r)), "B": jnp.ones((1, r, 2))} for r in (1, 3))
        >>> one = Adapter({"layers": {"up": narrow}}, 1.0, None, (0,))
        >>> two = Adapter({"layers": {"key": wide}}, 3.0, None, (0,))
        >>> params, alpha = stack_adapters([one, two])
        >>> sorted(params[0]["layers"]), params[0]["layers"]["up"]["A"].shape, alpha
        (['key', 'up'], (1, 2, 3), 3.0)
    """
    if not adapters:
        raise BadArgument("adapters", expected="at least one", got="none")
    _checks.check_list("adapters", adapters, "at least one adapter")
    for number, one in enumerate(adapters):
        place = f"adapters[{number}]"
        _check_layers(f"{place}.params", _checks.check_record(place, one, Adapter).params)
        _checks.check_number(f"{place}.alpha", one.alpha, low=-1e30, high=1e30, expected="a number")
    rank = int(max(one.alpha for one in adapters))
    shapes: dict[str, Any] = {}
    for one in adapters:
        shapes |= {name: (target["A"], target["B"]) for name, target in one.params["layers"].items()}

    def filled(one: Adapter, name: str) -> dict[str, Array]:
        a, b = (jnp.zeros_like(part) for part in shapes[name])
        if name in one.params["layers"]:
            a, b = (one.params["layers"][name][side] for side in "AB")
        more = [(0, 0), (0, 0), (0, rank - a.shape[-1])]
        return {"A": jnp.pad(a, more), "B": jnp.pad(b, [more[0], (0, rank - b.shape[1]), more[0]])}

    return [{"layers": {name: filled(one, name) for name in sorted(shapes)}} for one in adapters], float(rank)


def write_adapter(
    folder: str | Path,
    adapters: Params,
    *,
    alpha: float,
    base: str | None = None,
    layers: Iterable[int] | None = None,
) -> None:
    """Write adapters as a folder that PEFT loads: `PeftModel.from_pretrained(base, folder)`.

    Args:
        folder: the folder, which is made if it does not exist. Files of the same names are replaced, each whole or not
            at all.
        adapters: A (layers, in, r) and B (layers, r, out) of targets under "layers", from `init_adapters` or training.
        alpha: α; the product of A and B is scaled by α/r.
        base: the name or the path of the base.
        layers: for each layer of `adapters`, its number in the model; None means 0, 1, ...

    Raises:
        ValueError: if an adapter has other targets than matrices of the layers, the shapes of A and B do not fit each
            other, or `layers` does not have one number for each layer.

    Example:
        >>> import tempfile
        >>> params = {"layers": {"query": {"kernel": jnp.zeros((2, 3, 4))}}}
        >>> adapter = {"layers": {"query": {"A": jnp.ones((2, 3, 1)), "B": jnp.ones((2, 1, 4))}}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_adapter(folder, adapter, alpha=2.0, base="mine")
        ...     back = read_adapter(folder, params)
        >>> back.base, back.layers, back.params["layers"]["query"]["B"][0, 0].tolist()
        ('mine', (0, 1), [2.0, 2.0, 2.0, 2.0])
    """
    folder = Path(_checks.check_path("folder", folder))
    if base is not None:
        _checks.check_text("base", base)
    _check_layers("adapters", adapters)
    targets = adapters.get("layers", {})
    if set(adapters) != {"layers"} or not targets or set(targets) - set(NAMES):
        expected = f"targets among {', '.join(NAMES)} under layers"
        raise BadArgument("adapters", expected=expected, got=f"keys {sorted(adapters)}, targets {sorted(targets)}")
    depth, _, rank = next(iter(targets.values()))["A"].shape
    numbers = list(range(depth))
    if layers is not None:
        numbers = _checks.integers("layers", layers, ndim=1, expected=f"{depth} numbers of layers").tolist()
    if len(numbers) != depth or len(set(numbers)) != depth:
        raise BadArgument("layers", expected=f"{depth} different numbers of layers", got=numbers)
    whole = _checks.check_number("alpha", alpha, low=-1e30, high=1e30, expected="a number")
    tensors: dict[str, np.ndarray] = {}
    for name, target in targets.items():
        if target["A"].shape[::2] != (depth, rank) or target["B"].shape[:2] != (depth, rank):
            raise BadArgument(
                "adapters", expected=f"{depth} layers of rank {rank} of every target", got=f"others of {name}"
            )
        for row, layer in enumerate(numbers):
            key = f"base_model.model.model.layers.{layer}.{NAMES[name]}"
            for side in "AB":
                tensors[f"{key}.lora_{side}.weight"] = np.ascontiguousarray(np.asarray(target[side][row], np.float32).T)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": int(alpha) if float(whole).is_integer() else float(alpha),
        "target_modules": sorted(NAMES[name].rpartition(".")[2] for name in targets),
        "layers_to_transform": None if layers is None else numbers,
        "bias": "none",
        "lora_dropout": 0.0,
    }
    folder.mkdir(parents=True, exist_ok=True)
    content = extra("safetensors.numpy").save(tensors, metadata={"format": "pt"})
    write_whole(folder / WEIGHTS, content)
    write_whole(folder / CONFIG, json.dumps(config, indent=1) + "\n")
