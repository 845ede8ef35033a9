"""DPO on 1,000 real UltraFeedback pairs: a small byte-level transformer beside a log-linear policy and length alone.

    python -m experiments.ultrafeedback [--seeds N] [--epochs N] [--data FOLDER] [--out FOLDER]

The transformer starts at random and sees the last bytes of each prompt and the first of each response; how many is an
option and stands in the results. The measure is the accuracy on held-out pairs: the share of pairs whose chosen
response gains more log-probability over the reference than the rejected one; a tie counts one half. A training that
was interrupted goes on from its last checkpoint when the command is called again.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.commands import guarded, positive, precision
from experiments.results import open_results, save_results, unfinished_folder
from experiments.ridge import choose_ridge, fitted, right
from jaxval import policies, training
from jaxval.data import PreferencePairs, data_folder, read_preferences, source_comparisons
from jaxval.types import Comparisons

BETA = 0.1
LEARNING_RATE = 3e-4
BATCH = 16
REDRAWS = 10_000
LENGTH = -3  # the column of text_features that holds log(1 + words)
SETS = ("ultrafeedback_train_clean", "ultrafeedback_eval_clean")


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment; the exit status is 0, 2 if input is wrong or missing, 130 if interrupted."""
    kept = "what was finished is kept, and the same command goes on after it"
    without = "there is none: the experiment is about real pairs"
    return guarded(run, parse(arguments), kept=kept, without_data=without)


def run(options: argparse.Namespace, notes: Console) -> None:
    """Make the runs that are missing, print all, and draw the figure."""
    files = data_folder("preferences", path=options.data)
    pairs = read_preferences([files / f"{name}.jsonl.gz" for name in SETS], source=None, skip_unusable=True)
    configuration = {
        name: value for name, value in vars(options).items() if name not in ("data", "out", "json", "seeds")
    }
    results, found = open_results(options.out, "ultrafeedback", configuration)
    if found:
        notes.print(found, markup=False)
    train, held_out = source_comparisons(pairs)
    results["pairs"] = {"train": len(train.weight), "held out": len(held_out.weight)}
    results["truncation"] = truncation(pairs, options)
    cut, folder = cut_texts(pairs, options), unfinished_folder(options.out, results)
    makers = {
        "length only": lambda: log_linear(
            pairs.prompts, pairs.responses, train, held_out, columns=slice(LENGTH, LENGTH + 1)
        ),
        "log-linear, whole texts": lambda: log_linear(pairs.prompts, pairs.responses, train, held_out),
        "log-linear, cut texts": lambda: log_linear(*cut, train, held_out),
        **{
            f"transformer, seed {seed}": transformer(pairs, train, held_out, seed, options, folder / str(seed))
            for seed in range(options.seeds)
        },
    }
    with precision(False):
        for name, maker in makers.items():
            if name not in results["runs"]:
                notes.print(name, markup=False)
                started = time.perf_counter()
                results["runs"][name] = maker() | {"seconds": time.perf_counter() - started}
                save_results(options.out, results)
    results["held out accuracy"] = summary({name: results["runs"][name] for name in makers})
    save_results(options.out, results)
    try:
        draw(results, makers).savefig(options.out / "training.png", dpi=200)
    except ImportError as error:
        notes.print(f"no figure: {error}", markup=False)
    if options.json:
        print(json.dumps(results, indent=1, allow_nan=False))
    else:
        show(results, Console(width=max(Console().width, 100)))
    notes.print(f"written to {options.out}", markup=False)


def truncation(pairs: PreferencePairs, options: argparse.Namespace) -> dict[str, Any]:
    """How much of the texts is cut off before the transformer reads them."""
    prompts = [len(prompt.encode()) for prompt in pairs.prompts]
    responses = [len(response.encode()) for row in pairs.responses for response in row]
    return {
        "prompt bytes kept, the last": options.prompt_bytes,
        "response bytes kept, the first": options.response_bytes,
        "share of prompts cut": float(np.mean(np.array(prompts) > options.prompt_bytes)),
        "share of responses cut": float(np.mean(np.array(responses) > options.response_bytes)),
        "median bytes of a response": float(np.median(responses)),
    }


def cut_texts(pairs: PreferencePairs, options: argparse.Namespace) -> tuple[list[str], list[list[str]]]:
    """The texts as the transformer reads them; a part of a character at a cut is dropped."""
    prompts = [prompt.encode()[-options.prompt_bytes :].decode(errors="ignore") for prompt in pairs.prompts]
    responses = [
        [response.encode()[: options.response_bytes].decode(errors="ignore") for response in row]
        for row in pairs.responses
    ]
    return prompts, responses


def log_linear(
    prompts: Any, responses: Any, train: Comparisons, held_out: Comparisons, *, columns: slice = slice(None)
) -> dict[str, Any]:
    """The optimum on hashed n-grams and lengths; its ridge is chosen by cross-validation on the training pairs."""
    features = policies.text_features(prompts, responses)[..., columns].astype(float)
    deviation = features.reshape(-1, features.shape[-1]).std(axis=0)
    policy = policies.log_linear(features / np.where(deviation > 0, deviation, 1))
    chosen = choose_ridge(policy, train, beta=BETA)
    params = fitted(policy, train, beta=BETA, ridge=chosen["ridge"])
    return {
        "features": features.shape[-1],
        "ridge": chosen["ridge"],
        "cross-validated accuracy": chosen["best accuracy"],
        "right": right(policy, params, policy.init(None), held_out).tolist(),
        "train accuracy": float(right(policy, params, policy.init(None), train).mean()),
    }


def transformer(
    pairs: PreferencePairs,
    train: Comparisons,
    held_out: Comparisons,
    seed: int,
    options: argparse.Namespace,
    checkpoints: Path,
) -> Any:
    """A function that trains one transformer from random initial parameters."""

    def run() -> dict[str, Any]:
        length = 1 + options.prompt_bytes + options.response_bytes
        model = policies.transformer(
            vocabulary=policies.byte_tokeniser().vocabulary,
            length=length,
            width=options.width,
            layers=options.layers,
            heads=4,
            key_value_heads=2,
        )
        truncate = (1 + options.prompt_bytes, options.response_bytes)
        tokens = policies.encode_catalogue(pairs.prompts, pairs.responses, length=length, truncate=truncate)
        policy = policies.over_catalogue(model, *tokens)
        key = jax.random.key(seed)
        reference = policy.init(key)
        steps = options.epochs * -(-len(train.weight) // BATCH)
        params, curves = training.train_minibatches(
            policy,
            reference,
            train,
            beta=BETA,
            steps=steps,
            batch_size=BATCH,
            key=key,
            every=10,
            progress=True,
            optimiser=training.adamw(LEARNING_RATE, steps=steps, weight_decay=0.01),
            checkpoints=checkpoints,
        )
        return {
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
            "steps": steps,
            "right": right(policy, params, reference, held_out).tolist(),
            **{name: np.asarray(curve, dtype=float).tolist() for name, curve in curves._asdict().items()},
        }

    return run


def summary(runs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Mean held-out accuracy with a 95 % interval, which resamples pairs and, for the transformer, seeds."""
    groups: dict[str, list[list[float]]] = {}
    for name, run in runs.items():
        groups.setdefault(name.split(", seed")[0], []).append(run["right"])
    rng = np.random.default_rng(0)
    found = {}
    for name, rows in groups.items():
        table = np.array(rows)
        seeds, pairs = table.shape
        draws = [
            table[np.ix_(rng.integers(seeds, size=seeds), rng.integers(pairs, size=pairs))].mean()
            for _ in range(REDRAWS)
        ]
        low, high = np.quantile(draws, [0.025, 0.975])
        found[name] = {
            "mean": float(table.mean()),
            "low": float(low),
            "high": float(high),
            "seeds": table.mean(axis=1).tolist(),
        }
    return found


def show(results: dict[str, Any], console: Console) -> None:
    """Print the table of accuracies and the sentences about it."""
    table = Table(title=f"accuracy on {results['pairs']['held out']} held-out pairs, 95 % interval")
    for column in ("policy", "accuracy", "interval", "by seed"):
        table.add_column(column)
    for name, entry in results["held out accuracy"].items():
        seeds = ", ".join(f"{seed:.3f}" for seed in entry["seeds"]) if len(entry["seeds"]) > 1 else ""
        table.add_row(name, f"{entry['mean']:.3f}", f"{entry['low']:.3f} to {entry['high']:.3f}", seeds)
    console.print(table)
    for what, value in results["truncation"].items():
        console.print(f"{what}: {value:.3g}", markup=False)
    for name, run in results["runs"].items():
        if "steps" in run:
            size = f"{run['parameters']:,} parameters, {run['steps']} steps of {BATCH} pairs"
            console.print(f"{name}: {size}, {run['seconds']:.0f} s", markup=False)


def draw(results: dict[str, Any], shown: Any) -> Any:
    """Margin and accuracy of the minibatches along training, each seed and their mean; held-out accuracy beside it."""
    from matplotlib.figure import Figure

    runs = [results["runs"][name] for name in shown if "steps" in results["runs"][name]]
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    margin, accuracy, held_out = figure.subplots(1, 3, width_ratios=[1, 1, 1.15])
    window, epoch = 25, -(-results["pairs"]["train"] // BATCH)
    for axes, curve, label in ((margin, "margins", "reward margin (β × nats)"), (accuracy, "accuracies", "accuracy")):
        smooth = [np.convolve(run[curve], np.ones(window) / window, mode="valid") for run in runs]
        steps = np.arange(len(smooth[0])) + window / 2
        for seed, line in enumerate(smooth):
            axes.plot(steps, line, color="#56B4E9", linewidth=0.8, label=None if seed else "one seed")
        axes.plot(steps, np.mean(smooth, axis=0), color="#0072B2", linewidth=1.8, label=f"mean of {len(runs)}")
        for end in range(epoch, len(smooth[0]), epoch):
            axes.axvline(end, color="0.6", linewidth=0.8, linestyle="--", label="epoch ends" if end == epoch else None)
        axes.set_xlabel(f"step (mean of {window})")
        axes.set_title(f"training: {label}", fontsize=8, loc="left")
    margin.legend(fontsize=7, frameon=False, loc="upper left")
    accuracy.axhline(0.5, color="0.6", linewidth=0.8, linestyle=":")
    entries = results["held out accuracy"]
    places = np.arange(len(entries))[::-1]
    means = np.array([entry["mean"] for entry in entries.values()])
    ends = np.array([[entry["low"], entry["high"]] for entry in entries.values()]).T
    held_out.errorbar(means, places, xerr=np.abs(ends - means), fmt="o", color="#0072B2", capsize=3, markersize=4)
    held_out.axvline(0.5, color="0.6", linewidth=0.8, linestyle=":")
    held_out.set_yticks(places, [name.replace(", ", ",\n") for name in entries])
    held_out.set_title("held out: accuracy, 95 %", fontsize=8, loc="left")
    for axes in (margin, accuracy, held_out):
        axes.tick_params(labelsize=7)
        axes.xaxis.label.set_size(8)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m experiments.ultrafeedback", description=__doc__.split("\n")[0])
    parser.add_argument("--data", metavar="FOLDER", help="the folder of data sets (default: $JAXVAL_DATA, then data)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("results", "ultrafeedback"),
        metavar="FOLDER",
        help="the folder for results (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the results alone, as JSON, on standard output")
    for name, default, help_text in (
        ("seeds", 3, "number of trainings of the transformer"),
        ("epochs", 2, "how many times a training sees every pair"),
        ("width", 128, "width of the transformer"),
        ("layers", 5, "number of layers of the transformer"),
        ("prompt-bytes", 63, "how many of the last bytes of a prompt the transformer reads"),
        ("response-bytes", 192, "how many of the first bytes of a response the transformer reads"),
    ):
        parser.add_argument(
            f"--{name}", type=positive, default=default, metavar="N", help=f"{help_text} (default: {default})"
        )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
