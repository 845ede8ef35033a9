"""Colours: the synthetic columns of Table 2 of Kim et al., told apart into rule, estimation and learning.

    python -m experiments.colors [--draws N] [--seeds N] [--quick] [--out FOLDER] [--json]

Ten prompts with ten colours; 1,000 evaluators, with centre rewards N(0, 1) and each with noise N(0, 1); 10,000
comparisons in all. F^β for β = 0, 0.0001, 0.01, 1, 10, 100 and DPO, at these stages, each of which adds one thing to
the one before:

rule         F^β of the true P; for DPO the Bradley-Terry optimum of the true P
estimated    the same of P̂: what a tabular policy learns; adds the estimation error
coefficient  the tabular optimum with the paper's KL coefficient of 0.1 in both phases
transformer  a small transformer trained on the same; adds the error of the policies and of their training
printed      apart from these: the tabular optimum of the losses (50) and (53) as they are printed

Win rate and PPA level are those of the probabilities among the colours, against the true P and w, means over prompts.
The reference is uniform. The paper's is a language model whose answers are not known. If its answers do not depend on
the rewards, then the expected win rate against it is the one against a uniform reference; beside it stands what the
best- and the worst-chosen reference would give.

--draws is the number of draws for the exact stages; the transformer takes the first --seeds of them. `results.json` and
`colors.png` are written to `--out`. Draws that are finished are kept.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.colors.figures import LEVEL, draw
from experiments.colors.stages import STAGES, Transformer, exact_stages
from experiments.colors.world import METHODS, PAPER, World, draw_world, limits, measured
from experiments.commands import documented_parser, guarded, positive, progress
from experiments.inequalities import half_width, inequality, inequality_table
from experiments.results import open_results, save_results

MEASURES = ("win rate", "PPA level")
CLAIMED = ("rule", "estimated", "coefficient", "transformer")


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment; the exit status is 0, 2 if input is wrong, 130 if interrupted."""
    kept = "draws that were finished are kept, and the same command goes on after them"
    return guarded(run, parse(arguments), kept=kept, without_data="it needs none")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = documented_parser("experiments.colors", __doc__)
    add = parser.add_argument
    numbers = {
        "draws": (20, "draws of evaluators and comparisons"),
        "seeds": (8, "of them on which the transformer is trained too"),
        "comparisons": (10_000, "comparisons of a draw"),
        "evaluators": (1000, "evaluators of a prompt"),
        "steps": (600, "minibatches of each training"),
        "width": (32, "of the transformer"),
    }
    for name, (default, text) in numbers.items():
        add(f"--{name}", type=positive, default=default, metavar="N", help=f"{text} (default: %(default)s)")
    add("--quick", action="store_true", help="4 draws, 2 trainings of 60 steps: half a minute")
    add("--out", type=Path, default=Path("results", "colors"), metavar="FOLDER", help="(default: %(default)s)")
    add("--json", action="store_true", help="print the results alone, as JSON, on standard output")
    options = parser.parse_args(arguments)
    if options.quick:
        options.draws, options.seeds, options.steps = 4, 2, 60
    return options


def run(options: argparse.Namespace, notes: Console) -> None:
    """Make the draws that are missing, print all, and draw the figure."""
    if options.width % 4:
        raise ValueError(f"--width: expected a multiple of 4; got {options.width}")
    names = ("comparisons", "evaluators", "steps", "width")
    results, note = open_results(options.out, "colors", {name: getattr(options, name) for name in names})
    if note:
        notes.print(note, markup=False)
    runs = results["runs"]
    seeds = min(options.seeds, options.draws)
    wanted = [*(f"exact, {k}" for k in range(options.draws)), *(f"transformer, {k}" for k in range(seeds))]
    missing = [name for name in wanted if name not in runs]
    trainer = Transformer(options.steps, options.width) if any(name[0] == "t" for name in missing) else None
    with progress(notes) as bar:
        task = bar.add_task("policies", total=sum(len(METHODS) if name[0] == "t" else 1 for name in missing))
        for name in missing:
            started, seed = time.perf_counter(), int(name.split(", ")[1])
            world = draw_world(seed, evaluators=options.evaluators, comparisons=options.comparisons)
            if name[0] == "t":
                runs[name] = trained(trainer, world, seed, lambda: bar.advance(task))  # type: ignore[arg-type]
            else:
                runs[name] = exact(world)
                bar.advance(task)
            runs[name]["seconds"] = time.perf_counter() - started
            save_results(options.out, results)
    stages = collected(runs, options.draws, seeds)
    results |= {"paper": PAPER, "limits": limits(), "claims": claims(stages), "summary": summary(stages)}
    save_results(options.out, results)
    draw(stages).savefig(options.out / "colors.png", dpi=200)
    if options.json:
        print(json.dumps({name: results[name] for name in ("summary", "claims", "limits")}, indent=1, allow_nan=False))
    else:
        show(stages, results, [runs[f"exact, {k}"] for k in range(options.draws)])
    notes.print(f"written to {options.out}: results.json, colors.png", markup=False)


def exact(world: World) -> dict[str, Any]:
    """The measures of the stages without a transformer, how far each is from the one before, and the best win rates."""
    found = exact_stages(world)
    measures = {
        stage: {method: measured(policy, world) for method, policy in by.items()} for stage, by in found.items()
    }
    for stage, before in (("estimated", "rule"), ("coefficient", "estimated"), ("printed", "rule")):
        for method, policy in found[stage].items():
            measures[stage][method]["moved"] = distance(policy, found[before][method])
    return {"measures": measures, "best win rates": world.matrices.mean(axis=2).max(axis=1).tolist()}


def trained(trainer: Transformer, world: World, seed: int, advance: Any) -> dict[str, Any]:
    """The measures of the transformer, and how far it is from the tabular optimum of what it was trained on."""
    found = trainer.train(world, seed, advance)
    aim = exact_stages(world)["coefficient"]
    of = {
        method: {**measured(policy, world), "moved": distance(policy, aim[method])} for method, policy in found.items()
    }
    return {"measures": {"transformer": of}}


def distance(policies: np.ndarray, others: np.ndarray) -> float:
    """The total variation between two policies, ½ Σ |π - π'|, the mean over prompts."""
    return float(np.abs(policies - others).sum(axis=1).mean() / 2)


Stages = dict[str, dict[str, dict[str, Any]]]


def collected(runs: dict[str, Any], draws: int, seeds: int) -> Stages:
    """(draws,) numbers by stage, method and measure; a transformer has `seeds` of them."""
    stages: Stages = {}
    for stage in STAGES:
        kind, count = ("transformer", seeds) if stage == "transformer" else ("exact", draws)
        of = [runs[f"{kind}, {k}"]["measures"][stage] for k in range(count)]
        stages[stage] = {
            method: {measure: np.array([one[method][measure] for one in of]) for measure in of[0][method]}
            for method in of[0]
        }
    return stages


def summary(stages: Stages) -> dict[str, Any]:
    """Mean, standard deviation over draws, and half width of the mean's interval, by stage, method and measure."""

    def told(numbers: np.ndarray) -> dict[str, Any]:
        reach = float(half_width(numbers, level=LEVEL))
        known = len(numbers) > 1
        return {
            "mean": float(numbers.mean()),
            "std": float(numbers.std(ddof=1)) if known else None,
            "half width": reach if known else None,
        }

    return {
        stage: {method: {name: told(numbers) for name, numbers in of.items()} for method, of in by.items()}
        for stage, by in stages.items()
    }


def claims(stages: Stages) -> list[dict[str, Any]]:
    """The orderings of the paper's Table 2, at each stage."""
    rows = []
    for measure, low, high in (
        ("win rate", "β = 0", "β = 0.0001"),
        ("win rate", "β = 0", "β = 1"),
        ("win rate", "β = 1", "β = 10"),
        ("win rate", "β = 1", "DPO"),
        ("PPA level", "β = 1", "β = 0"),
        ("PPA level", "β = 10", "β = 1"),
        ("PPA level", "DPO", "β = 1"),
    ):
        for stage in CLAIMED:
            of = stages[stage]
            text = f"{measure}, {stage}: {high} above {low}"
            rows.append(inequality(text, of[high][measure], of[low][measure], level=LEVEL))
    return rows


def show(stages: Stages, results: dict[str, Any], exact_runs: list[dict[str, Any]]) -> None:
    """Print the figures beside the paper's, what each stage adds, the claims, and what the rule has to do with it."""
    console = Console(highlight=False, width=max(Console().width, 120))
    told = results["summary"]
    draws, seeds = (len(stages[stage]["DPO"]["win rate"]) for stage in ("rule", "transformer"))
    title = f"win rate / PPA level; {draws} draws, transformer {seeds}; ± {LEVEL:.0%} interval of the mean"
    table = Table("", "paper", *STAGES, box=box.SIMPLE_HEAD, title=title)
    for method in METHODS:
        reported = "\n".join(f"{number:.4f}" for number in PAPER[method]) if method in PAPER else ""
        table.add_row(method, reported, *(cell(told[stage].get(method)) for stage in STAGES))
    console.print(table)
    console.print(steps_table(stages, seeds))
    console.print(inequality_table(results["claims"], level=LEVEL, title="the paper's orderings, stage by stage"))
    table = Table("from", "to", "PPA ratio", "the rule's least", "win rate", "the rule's largest", box=box.SIMPLE_HEAD)
    table.title = "the paper's steps beside what the rule can do from one û"
    for row in results["limits"]:
        table.add_row(
            row["from"],
            row["to"],
            f"{row['PPA ratio']:.4f}",
            f"{row['smallest PPA ratio']:.4f}",
            f"{row['win rate change']:+.4f}",
            f"{row['largest win rate change']:.5f}",
        )
    console.print(table)
    for sentence in sentences(told, results["limits"], np.array([run["best win rates"] for run in exact_runs])):
        console.print(sentence, soft_wrap=True)


def cell(of: dict[str, Any] | None) -> str:
    """Win rate and PPA level of a method at a stage, below each other."""
    if of is None:
        return ""
    return "\n".join(
        f"{of[name]['mean']:.3f}" + ("" if of[name]["half width"] is None else f" ±{of[name]['half width']:.3f}")
        for name in MEASURES
    )


def steps_table(stages: Stages, seeds: int) -> Table:
    """What estimation, coefficient and transformer each add to the rule, on the draws that all stages have."""
    names = ("estimation", "KL coefficient", "transformer")
    steps = [(name, *pair) for name, pair in zip(names, itertools.pairwise(CLAIMED), strict=True)]
    title = f"what each step adds to the rule, means over {seeds} draws: win rate / PPA level / total variation"
    table = Table("", *(name for name, _, _ in steps), "all together", box=box.SIMPLE_HEAD, title=title)
    for method in METHODS:
        cells = []
        for _, before, after in (*steps, ("", "rule", "transformer")):
            now, then = (stages[stage][method] for stage in (after, before))
            added = " / ".join(f"{np.mean(now[name][:seeds] - then[name][:seeds]):+.3f}" for name in MEASURES)
            whole = (before, after) == ("rule", "transformer")
            moved = "" if whole else f" / {np.mean(now.get('moved', np.zeros(1))[:seeds]):.3f}"
            cells.append(added + moved)
        table.add_row(method, *cells)
    return table


def sentences(told: dict[str, Any], rows: list[dict[str, Any]], best: np.ndarray) -> list[str]:
    """What in the paper's figures comes from the rule, and what does not."""

    def mean(stage: str, method: str, measure: str) -> float:
        return told[stage][method][measure]["mean"]

    rise, fall = (mean("rule", "β = 1", name) - mean("rule", "β = 0", name) for name in MEASURES)
    win, level = PAPER["β = 1"]
    start, start_level = PAPER["β = 0"]
    over = [row for row in rows if row["PPA ratio"] < row["smallest PPA ratio"]]
    jumps = [row for row in rows if row["win rate change"] > row["largest win rate change"]]
    above = int((best.mean(axis=1) >= PAPER["DPO"][0]).sum())
    return [
        f"From the rule: between β = 0 and 1 it changes the win rate by {rise:+.3f} and the PPA level by {fall:+.3f}; "
        f"the paper has {win - start:+.3f} and {level - start_level:+.3f}. The trade-off comes at larger β: at 10 the "
        f"rule has {mean('rule', 'β = 10', 'win rate'):.3f} and {mean('rule', 'β = 10', 'PPA level'):.3f}.",
        f"Not from the rule: in {len(over)} of {len(rows)} steps of the paper's β the PPA level falls further than any "
        f"F^β of one û can, and in {len(jumps)} the win rate against whichever reference rises further. Their policies "
        "differ in what was learned.",
        f"From estimation: with P̂ in place of P, the PPA level at β = 0 is "
        f"{mean('estimated', 'β = 0', 'PPA level'):.3f} in place of {mean('rule', 'β = 0', 'PPA level'):.3f}, as an û "
        f"of 0 gives a group nothing; the paper has {start_level:.4f}. With the KL coefficient, which softens the "
        f"minimum, it is {mean('coefficient', 'β = 0', 'PPA level'):.3f}, and the transformer has "
        f"{mean('transformer', 'β = 0', 'PPA level'):.3f}.",
        f"As printed, (50) and (53) have an optimum near the uniform policy: at β = 0 and 1 win rates of "
        f"{mean('printed', 'β = 0', 'win rate'):.3f} and {mean('printed', 'β = 1', 'win rate'):.3f}.",
        f"The win rate of any policy against uniform is at most {best.mean():.3f} (mean of the draws; the paper's "
        f"{PAPER['DPO'][0]:.4f} is reached in {above} of {len(best)}; if all prompts shared their rewards, in "
        f"{(best >= PAPER['DPO'][0]).mean():.0%}). Against the reference that is easiest to beat, the rule has "
        f"{mean('rule', 'β = 1', 'largest win rate'):.3f} at β = 1, against the hardest "
        f"{mean('rule', 'β = 1', 'least win rate'):.3f}: the level of the paper's win rates may come from its "
        "reference.",
    ]


if __name__ == "__main__":
    sys.exit(main())
