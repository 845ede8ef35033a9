"""MallowsPO (Chen et al.): where weighting pairs by the dispersion of their prompt helps, and where it does not.

    python -m experiments.mallows [--part PART ...] [--quick] [--seeds N] [--model FILE] [--data FOLDER] [--out FOLDER]
        [--json]

bandit      prompts of known dispersion φ; votes from Mallows-θ, Mallows-φ, and the Bradley-Terry form of Mallows-θ.
            A table and a log-linear policy by DPO, IPO, MallowsPO-θ and MallowsPO-φ, told the true φ or an estimate of
            it, the entropy of the reference. Every method has its best ridge, and methods are compared at equal mean
            KL: true reward, and votes won against the reference, as shares of the best possible at that KL. A map
            over prompts, votes on each, and spread, which is the largest -log φ over the smallest.
families    a small byte-level transformer on two families of prompts, one consensual and one divided: its index
            against the true φ, and reward, entropy, length and KL on held-out prompts during training
annotators  whether the index of a reference model orders prompts as the disagreement of people does: PandaLM's three
            annotators, by a small transformer trained on UltraFeedback or by --model, and votes on campus protests

Written to `--out`: `results.json` and figures. What is finished is kept: 54 units of the bandit, each seed of the
transformer, each reference and every eight prompts of the published model. --quick shows in about two minutes what the
experiment does; its numbers mean little.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.commands import documented_parser, guarded, positive, precision, progress
from experiments.inequalities import inequality, inequality_table
from experiments.mallows import annotators, bandit, figures, maps
from experiments.mallows.families import LOSSES, Size, one_seed, reward_at_equal_divergence
from experiments.mallows.indices import rank_correlation
from experiments.results import open_results, save_results
from jaxval import alignment, policies

PARTS = ("annotators", "families", "bandit")


class Settings(NamedTuple):
    """How much is done; the numbers of `--quick` are behind the default ones."""

    prompts: tuple[int, ...] = (4, 8, 32)
    pairs: tuple[int, ...] = (4, 16, 64, 256)
    spreads: tuple[float, ...] = (1.0, 4.0, 16.0, 64.0)
    models: tuple[str, ...] = tuple(bandit.MODELS)
    policies: tuple[str, ...] = bandit.POLICIES
    redraws: tuple[int, ...] = (16, 8, 4)  # data sets for each problem, fewer if there are more prompts
    central: tuple[int, int, float] = (32, 32, 16.0)  # prompts, votes and spread of the frontiers
    families: Size = Size()
    family_seeds: int = 3
    reference_steps: int = 200
    small_prompts: int = 170


QUICK = Settings(
    prompts=(4,),
    pairs=(4, 64),
    spreads=(1.0, 16.0),
    models=("Mallows-θ",),
    policies=("table",),
    redraws=(2,),
    central=(4, 16, 16.0),
    families=Size(steps=12, reference_steps=20, numbers=2, votes=4, width=16, layers=1),
    family_seeds=2,
    reference_steps=5,
    small_prompts=16,
)


class Unit(NamedTuple):
    """One piece of work: how many seconds it takes about, its precision, and the function that does it."""

    seconds: float
    x64: bool
    work: Callable[[], Any]


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment and return the exit status: 0, 2 for input that is wrong, 130 if interrupted."""
    kept = "what was finished is kept, and the same command goes on"
    return guarded(run, parse(arguments), kept=kept, without_data="--part bandit families")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = documented_parser("experiments.mallows", __doc__)
    add = parser.add_argument
    add("--part", nargs="+", choices=PARTS, default=list(PARTS), help="(default: all)")
    add("--quick", action="store_true", help="few and small cells, short trainings")
    add("--seeds", type=positive, metavar="N", help="problems of the bandit (default: 20; with --quick 3)")
    add("--model", type=Path, metavar="FILE", help="a published reference model for PandaLM, such as a GGUF file")
    add("--prompts", type=positive, default=40, metavar="N", help="prompts that --model reads (default: %(default)s)")
    add("--data", type=Path, metavar="FOLDER", help="folder of data sets")
    add("--out", type=Path, default=Path("results/mallows"), metavar="FOLDER", help="(default: %(default)s)")
    add("--json", action="store_true", help="print the claims alone, as JSON, on standard output")
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or (3 if options.quick else 20)
    return options


def run(options: argparse.Namespace, notes: Console) -> None:
    """Do what is missing, print all, and draw the figures."""
    if options.model is not None and not options.model.exists():
        raise ValueError(f"--model: expected a GGUF file or a folder of a checkpoint; there is no {options.model}")
    settings = QUICK if options.quick else Settings()
    configuration = {"quick": options.quick, "seeds": options.seeds}
    results, note = open_results(options.out, "mallows", configuration)
    if note:
        notes.print(note, markup=False)
    units = all_units(options, settings)
    missing = {label: unit for label, unit in units.items() if label not in results["runs"]}
    with progress(notes) as bar:
        task = bar.add_task("", total=sum(unit.seconds for unit in missing.values()))
        for label, unit in missing.items():
            bar.update(task, description=label)
            began = time.perf_counter()
            with precision(unit.x64):
                results["runs"][label] = {"found": unit.work(), "seconds": time.perf_counter() - began}
            bar.advance(task, unit.seconds)
            save_results(options.out, results)
    runs = {label: one["found"] for label, one in results["runs"].items()}  # also of parts that were asked for before
    results["found"] = found(runs)
    save_results(options.out, results)
    drawn = figures.draw_all(options.out, runs, results["found"])
    if options.json:
        print(json.dumps(results["found"], indent=1, ensure_ascii=False))
    else:
        show(results["found"])
    notes.print(f"written to {options.out}: {', '.join(['results.json', *drawn])}", markup=False)


def all_units(options: argparse.Namespace, settings: Settings) -> dict[str, Unit]:
    """The work of the requested parts, by label, in the order in which it is done."""
    units: dict[str, Unit] = {}
    if "annotators" in options.part:
        units["campus"] = Unit(5, True, lambda: annotators.campus(options.data))
        units |= pandalm_units(options, settings)
    if "families" in options.part:
        for seed in range(settings.family_seeds):
            units[f"families, {seed}"] = Unit(25, False, functools.partial(one_seed, seed, settings.families))
    if "bandit" in options.part:
        units |= bandit_units(settings, options.seeds)
    return units


def bandit_units(settings: Settings, seeds: int) -> dict[str, Unit]:
    units = {}
    for policy in settings.policies:
        for count_, redraws in zip(settings.prompts, settings.redraws, strict=True):
            for model in settings.models:
                work = functools.partial(
                    maps.map_unit, model, policy, count_,
                    pairs=settings.pairs, spreads=settings.spreads, seeds=seeds, redraws=redraws,
                )  # fmt: skip
                units[f"map, {model}, {policy}, {count_}"] = Unit(4 + count_ / 4, True, work)
        for name, (kind, told) in bandit.FITTED.items():
            for model in settings.models:
                one = functools.partial(frontier_unit, model, policy, kind, told, settings.central, seeds)
                units[f"frontier, {model}, {policy}, {name}"] = Unit(3, True, one)
    return units


def frontier_unit(
    model: str, policy: str, kind: str, told: str, central: tuple[int, int, float], seeds: int
) -> dict[str, Any]:
    """The frontier of one method in JSON's types."""
    count, pairs, spread = central
    number, which = list(bandit.MODELS).index(model), bandit.TOLD.index(told)
    arrays = bandit.frontier(number, spread, pairs, which, policy=policy, kind=kind, count=count, seeds=seeds)
    return {part: np.asarray(numbers).round(6).tolist() for part, numbers in arrays.items()}


def pandalm_units(options: argparse.Namespace, settings: Settings) -> dict[str, Unit]:
    """The small reference in one piece; the published model in pieces of a few prompts, as it takes long."""
    items = annotators.read_items(options.data)

    def of_small() -> Any:
        reference = annotators.small_reference(options.data, steps=settings.reference_steps)
        return list(annotators.text_indices(first_prompts(items, settings.small_prompts), *reference))

    units = {"PandaLM, small": Unit(60, False, of_small)}
    if options.model is not None:
        read = functools.lru_cache(maxsize=1)(lambda: policies.read_llama(options.model))
        chosen = first_prompts(items, options.prompts)
        prompts = list(dict.fromkeys(item.prompt for item in chosen))
        for start in range(0, len(prompts), annotators.TOGETHER):
            some = set(prompts[start : start + annotators.TOGETHER])
            part = [item for item in chosen if item.prompt in some]

            def work(part: list[annotators.Item] = part, start: int = start) -> Any:
                rows = list(annotators.text_indices(part, *read()))
                return [row | {"prompt": [start + one for one in row["prompt"]]} for row in rows]

            units[f"PandaLM, {options.model.name}, {start}"] = Unit(40, False, work)
    return units


def first_prompts(items: list[annotators.Item], count: int) -> list[annotators.Item]:
    """The pairs of some prompts; the same random ones for every model."""
    prompts = np.array(list(dict.fromkeys(item.prompt for item in items)), object)
    chosen = set(np.random.default_rng(0).permutation(prompts)[:count])
    return [item for item in items if item.prompt in chosen]


def found(runs: dict[str, Any]) -> dict[str, Any]:
    """Claims, sentences and correlations of the finished parts."""
    claims = maps.claims(runs)
    words: list[str] = []
    correlations: dict[str, Any] = {}
    if any(label.startswith("map, ") for label in runs):
        words = maps.sentences(runs)
    seeds = [run for label, run in runs.items() if label.startswith("families, ")]
    if seeds:
        claims += family_claims(seeds)
        correlations |= family_correlations(seeds)
        words.append(family_words(seeds))
    if "campus" in runs:
        for name in ("pairs", "questions"):
            correlations[f"campus, {name}: index of half the voters against votes of the others"] = runs["campus"][name]
    agreements = {}
    for name in dict.fromkeys(label.split(", ")[1] for label in runs if label.startswith("PandaLM, ")):
        parts = [row for label, rows in runs.items() if label.startswith(f"PandaLM, {name}") for row in rows]
        agreements[name] = annotators.pandalm_agreement(parts)
        for measure in ("index", "index of pairs", "length of responses", "reliability"):
            if measure in agreements[name]:
                correlations[f"PandaLM, {name}: {measure}"] = agreements[name][measure]
    return {"claims": claims, "sentences": words, "correlations": correlations, "PandaLM": agreements}


def family_claims(seeds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The paper's claims on the transformer: what its index tells, and what weighting earns at equal KL."""
    index = [[np.mean(np.array(run["index"])[np.array(run["family"]) == f]) for run in seeds] for f in (0, 1)]
    rows = [inequality("transformer: the index is larger on divided prompts", index[1], index[0], level=maps.LEVEL)]
    rewards = [reward_at_equal_divergence(run["curves"]) for run in seeds]
    for name in LOSSES:
        if name != "DPO":
            text = f"transformer: {name} earns more reward than DPO at equal KL"
            rows.append(inequality(text, *([r[one] for r in rewards] for one in (name, "DPO")), level=maps.LEVEL))
    return rows


def family_correlations(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Spearman's correlation of the index with the true φ over the prompts of all seeds, whole and by family."""
    index, phi, family, seed = (
        np.concatenate(parts)
        for parts in zip(
            *(
                (r["index"], np.exp(-np.array(r["sharpness"])), r["family"], [k] * len(r["index"]))
                for k, r in enumerate(seeds)
            ),
            strict=True,
        )
    )
    which = {"all prompts": family >= 0, "consensual prompts": family == 0, "divided prompts": family == 1}
    return {
        f"transformer, index against true φ: {name}": rank_correlation(
            index[rows], phi[rows], level=maps.LEVEL, clusters=seed[rows] if len(seeds) > 2 else None
        )
        for name, rows in which.items()
    }


def family_words(seeds: list[dict[str, Any]]) -> str:
    """How widely the weights by the index vary over the prompts of all seeds, and how widely the true weights vary."""
    index, sharpness = (np.concatenate([run[name] for run in seeds]) for name in ("index", "sharpness"))
    weights = np.asarray(alignment.dispersion_weight(index))
    return (
        f"transformer: the largest weight of a prompt by its index, -c log Ĥ, is {weights.max() / weights.min():.1f} "
        f"times the smallest; of the true weights, -2 log φ, it is {sharpness.max() / sharpness.min():.0f} times."
    )


def show(results: dict[str, Any]) -> None:
    """Print the claims, where weighting helps, and the correlations."""
    console = Console(highlight=False, width=max(Console().width, 110))
    if results["claims"]:
        title = "What the paper claims; gaps in points of the best gain at equal KL, or in rewards (transformer)"
        console.print(inequality_table(results["claims"], level=maps.LEVEL, title=title))
    for sentence in results["sentences"]:
        console.print(sentence, markup=False)
    if results["correlations"]:
        table = Table("Spearman's correlation", "value", f"{maps.LEVEL:.0%} interval", "n", box=None, title="\nOrders")
        for name, row in results["correlations"].items():
            whole, ends = "unknown", "unknown"
            if row["correlation"] is not None:
                whole, ends = f"{row['correlation']:+.2f}", f"{row['low']:+.2f} to {row['high']:+.2f}"
            table.add_row(name, whole, ends, f"{row['n']:,}")
        console.print(table)


if __name__ == "__main__":
    sys.exit(main())
