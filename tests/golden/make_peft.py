"""Make the folders of adapters in `tests/golden/peft`, as PEFT writes them, and the logits that it computes with them.

    pip install torch==2.13.0 transformers==5.23.0 peft==0.21.2 && python tests/golden/make_peft.py

Random adapters of the random checkpoint `tests/golden/tied`: plain, rank-stabilised, of ranks and scales by module, on
one layer, two named ones in one folder, one whose B is zero, and kinds that do not add or are more than adapters.
"""

import json
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM

HERE = Path(__file__).parent
FOLDER = HERE / "peft"
TOKENS = [[1, 9, 33, 4, 60, 17]]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CASES = {
    "plain": {"r": 4, "lora_alpha": 8},
    "rslora": {"r": 3, "lora_alpha": 5, "use_rslora": True, "target_modules": ALL},
    "patterns": {
        "r": 4,
        "lora_alpha": 6,
        "target_modules": r".*\.(q_proj|v_proj|down_proj)",
        "rank_pattern": {r"layers\.1\.self_attn\.q_proj": 2, "down_proj": 1},
        "alpha_pattern": {"v_proj": 3, r"model\.layers\.0\.mlp\.down_proj": 2},
    },
    "layers": {"r": 2, "lora_alpha": 8, "target_modules": ["o_proj", "up_proj"], "layers_to_transform": [1]},
    "zero": {"r": 2, "lora_alpha": 4},
    "dora": {"r": 2, "lora_alpha": 4, "use_dora": True},
    "saved": {"r": 2, "lora_alpha": 4, "modules_to_save": ["lm_head"]},
}


def base() -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(HERE / "tied", dtype=torch.float32)


def randomise(model: torch.nn.Module, name: str) -> None:
    """Both factors of a size that moves the logits; new adapters would have a B of zero."""
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    for key, parameter in model.named_parameters():
        if "lora_A" in key or ("lora_B" in key and name != "zero"):
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)


def logits(model: torch.nn.Module) -> list[list[list[float]]]:
    with torch.no_grad():
        rows = model.eval()(torch.tensor(TOKENS)).logits
    return [[[round(float(x), 6) for x in row] for row in part] for part in rows]


def write(model: PeftModel, folder: Path) -> None:
    model.save_pretrained(folder)
    for path in folder.rglob("*"):
        if path.name == "README.md":
            path.unlink()
        if path.name == "adapter_config.json":
            settings = json.loads(path.read_text(encoding="utf-8")) | {"base_model_name_or_path": "golden/tied"}
            path.write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    golden = {"tokens": TOKENS, "logits": {"base": logits(base())}}
    for name, settings in CASES.items():
        model = get_peft_model(base(), LoraConfig(task_type="CAUSAL_LM", **settings))
        randomise(model, name)
        write(model, FOLDER / name)
        golden["logits"][name] = logits(model)
    model = get_peft_model(base(), LoraConfig(task_type="CAUSAL_LM", **CASES["plain"]), adapter_name="one")
    model.add_adapter("two", LoraConfig(task_type="CAUSAL_LM", **CASES["patterns"]))
    randomise(model, "named")
    write(model, FOLDER / "named")
    for name in ("one", "two"):
        model.set_adapter(name)
        golden["logits"][f"named/{name}"] = logits(model)
    model = PeftModel.from_pretrained(base(), FOLDER / "plain", adapter_name="plain")
    model.load_adapter(FOLDER / "layers", adapter_name="layers")
    model.base_model.set_adapter(["plain", "layers"])  # both active: their products add
    golden["logits"]["plain + layers"] = logits(model)
    text = json.dumps(golden).replace("]], ", "]],\n")
    (FOLDER / "golden.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
