"""Can values be trusted with decisions on real pairs: how well do they predict retraining, and what do weights gain?

    python -m experiments.decisions [--set SET ...] [--policy POLICY ...] [--pairs N] [--seeds N] [--out FOLDER]

Sources of real preference pairs; a quarter of the prompts is held out, and coalitions are retrained on the union of
their pairs:

ultrafeedback  the files clean, 20 % flipped, 30 % flipped, weak quality; the reward is the score of a response
hh             helpful and harmless pairs, each in two halves; the reward is 1 for the chosen response, 0 for the other
judgebench     the four sources of questions; the same reward

Policies are log-linear over features of text (for which the arithmetic of parameters is that of responses), and a small
transformer over bytes, from a random start and with a uniform reference. For each of the three arithmetics: the linear
datamodelling score of Shapley values, of other semivalues, and of cheap scores; what retraining loses without the best
source and without half of them, beside the loss that values promise; the time. Then the gain of the best weights over
equal weights on prompts that they were not fitted on. Written to `--out`: `results.json`. Finished runs are kept.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.commands import documented_parser, guarded, positive, precision
from experiments.results import open_results, save_results, unfinished_folder
from jaxval import data, sources, values
from jaxval.types import Comparisons

__all__ = ["main", "read_pairs"]

SETS = ("ultrafeedback", "hh", "judgebench")
FILES = ("train_clean", "label_flip_20", "label_flip_30", "weak_quality_20")
POLICIES = {"log-linear": ("response",), "transformer": ("response", "token", "parameter")}
SEMIVALUES = {"banzhaf": values.banzhaf, "leave-one-out": values.leave_one_out}
RETRAINED = 14  # all proper coalitions of four sources


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment; the exit status is 2 if the data are missing."""
    parser = documented_parser("experiments.decisions", __doc__)
    parser.add_argument("--set", nargs="+", choices=SETS, default=list(SETS), metavar="SET")
    parser.add_argument("--policy", nargs="+", choices=POLICIES, default=list(POLICIES), metavar="POLICY")
    parser.add_argument("--pairs", type=positive, default=500, metavar="N", help="pairs of a source (default 500)")
    parser.add_argument("--seeds", type=positive, default=3, metavar="N", help="seeds of prompts (default 3)")
    parser.add_argument("--data", metavar="FOLDER", help="the folder of data sets (default: $JAXVAL_DATA, then data)")
    parser.add_argument("--out", type=Path, default=Path("results", "decisions"), metavar="FOLDER")
    parser.add_argument("--json", action="store_true", help="print the results alone, as JSON")
    without = "there is none: the experiment is about real pairs"
    return guarded(run, parser.parse_args(arguments), kept="finished runs are kept", without_data=without)


def run(options: argparse.Namespace, notes: Console) -> None:
    """Every data set under every policy and arithmetic, each kept when it is finished."""
    folder = data.data_folder("preferences", path=options.data)
    results, found = open_results(options.out, "decisions", {"pairs": options.pairs, "seeds": options.seeds})
    if found:
        notes.print(found, markup=False)
    for kind in options.set:
        for policy in options.policy:
            for arithmetic in POLICIES[policy]:
                name = f"{kind}, {policy}, {arithmetic}"
                if name not in results["runs"]:
                    notes.print(name, markup=False)
                    pairs = read_pairs(folder, kind, options.pairs)
                    kept = unfinished_folder(options.out, results) / f"{kind}-{policy}"
                    results["runs"][name] = judged(pairs, policy, arithmetic, options.seeds, kept)
                    save_results(options.out, results)
    save_results(options.out, results)
    if options.json:
        print(json.dumps(results, indent=1, allow_nan=False))
        return
    for table in tables(results["runs"]):
        Console(width=110).print(table)


def read_pairs(folder: Path, kind: str, most: int) -> data.PreferencePairs:
    """At most `most` random pairs of each source of a data set, with scores.

    Args:
        folder: the folder of the files.
        kind: one of `SETS`.
        most: the largest number of pairs of a source.
    """
    files, source = {
        "ultrafeedback": ([f"ultrafeedback_{name}" for name in FILES], None),
        "hh": (["hh_helpful", "hh_harmless"], "source"),
        "judgebench": (["judgebench_pairs"], "source"),
    }[kind]
    paths = [folder / f"{name}.jsonl.gz" for name in files]
    pairs = data.read_preferences(paths, source=source, skip_unusable=True)
    rng = np.random.default_rng(zlib.crc32(kind.encode()))
    source_of, names = np.asarray(pairs.source).copy(), list(pairs.sources)
    if kind == "hh":  # two sources have one order; their halves have more, and should be of about equal value
        source_of = 2 * source_of + rng.integers(2, size=len(source_of))
        names = [f"{name} {half}" for name in names for half in (1, 2)]
    rows = np.concatenate([rng.permutation(np.flatnonzero(source_of == index))[:most] for index in range(len(names))])
    comparisons = Comparisons(*(np.asarray(field)[rows] for field in pairs.comparisons))
    scores: Any = {name: table for name, table in pairs.scores.items() if kind == "ultrafeedback"}
    return _of_prompts(
        pairs._replace(comparisons=comparisons, source=source_of[rows], sources=tuple(names), scores=scores)
    )


def _of_prompts(pairs: data.PreferencePairs) -> data.PreferencePairs:
    """The pairs with the prompts that they have, and 1 and 0 as scores of responses if there are none."""
    prompts, context = np.unique(np.asarray(pairs.comparisons.context), return_inverse=True)
    comparisons = pairs.comparisons._replace(context=context)
    scores = {name: np.asarray(table)[prompts] for name, table in pairs.scores.items()}
    if not scores:
        shape = len(prompts), max(len(pairs.responses[x]) for x in prompts)
        won, met = np.zeros(shape), np.zeros(shape)
        np.add.at(won, (context, np.asarray(comparisons.winner)), 1)
        for side in (comparisons.winner, comparisons.loser):
            np.add.at(met, (context, np.asarray(side)), 1)
        scores = {"preferred": np.where(met > 0, won / np.maximum(met, 1), 0.0)}
    texts = tuple(pairs.prompts[x] for x in prompts)
    responses = tuple(pairs.responses[x] for x in prompts)
    most = max(map(len, responses))
    scores = {name: table[:, :most] for name, table in scores.items()}
    return pairs._replace(prompts=texts, responses=responses, comparisons=comparisons, scores=scores)


def judged(pairs: data.PreferencePairs, policy: str, arithmetic: str, seeds: int, kept: Path) -> dict[str, Any]:
    """What is told of one data set under one policy and one arithmetic, in JSON's types."""
    how: dict[str, Any] = {"policy": "log-linear"}
    if policy == "transformer":
        small = functools.partial(sources.transformer_learner, width=32, layers=1, response_bytes=96)
        how = {"policy": small, "reference": "uniform", "epochs": 2}
    with precision(policy == "log-linear"):
        valued = sources.value_sources(
            pairs,
            arithmetic=arithmetic,
            seeds=seeds,
            fidelity=RETRAINED,
            key=jax.random.key(0),
            folder=kept,
            progress=sys.stderr.isatty(),
            **how,
        )
        weighed = sources.weigh_sources(valued) if arithmetic == "response" else None
    fidelity: Any = valued.fidelity
    scores = dict(fidelity.scores)
    for name, of_table in SEMIVALUES.items():
        other = np.asarray(of_table(valued.utilities[:, 0]))
        scores[name] = (values.datamodelling_score(other, fidelity.coalitions, fidelity.utilities[:, 0]),)
    half = len(valued.names) - len(valued.names) // 2
    return {
        "sources": list(valued.names),
        "reward": valued.rewards[0],
        "values": valued.values[:, 0].tolist(),
        "intervals": valued.context_intervals[:, :, 0].tolist(),
        "prompts": valued.contexts,
        "scores": {
            name: None if each[0] is None else [each[0].score, *each[0].interval.tolist()]
            for name, each in scores.items()
        },
        "drops": {
            name: {
                str(count): {
                    "loss": [float(drops.drop[row, 0]), *drops.intervals[:, row, 0].tolist()],
                    "promised": None
                    if drops.promised is None
                    else [float(drops.promised[row, 0]), *drops.promised_intervals[:, row, 0].tolist()],
                }
                for row, count in enumerate(drops.left_out.tolist())
                if count in (1, half)
            }
            for name, drops in fidelity.drops.items()
        },
        "weights": None
        if weighed is None
        else {
            "weights": weighed.weights.tolist(),
            "by fold": weighed.by_fold.tolist(),
            "gains": {name: gain.tolist() for name, gain in weighed.gains.items()},
        },
        "seconds": valued.seconds | {"retraining": fidelity.seconds},
    }


def tables(runs: dict[str, Any]) -> list[Table]:
    """The scores by method, the losses without the best sources, and the gains of weights."""
    methods = list(dict.fromkeys(name for one in runs.values() for name in one["scores"]))
    scores = Table(title="linear datamodelling score: rank correlation with retraining", title_justify="left")
    scores.add_column("data, policy, arithmetic")
    for method in methods:
        scores.add_column(method, justify="right")
    losses = Table(title="loss by retraining without the best source, promised and true", title_justify="left")
    for head in ("data, policy, arithmetic", "promised", "loss", "95 %", "random", "trainings s", "retraining s"):
        losses.add_column(head, justify="left" if head.startswith("data") else "right")
    gains = Table(title="gain of the best weights over all sources alike, held out", title_justify="left")
    for head in ("data, policy, arithmetic", "gain", "95 %", "weights"):
        gains.add_column(head, justify="left" if head.startswith("data") else "right")
    for name, one in runs.items():
        told = [one["scores"].get(method) for method in methods]
        scores.add_row(name, *("–" if each is None else f"{each[0]:+.2f}" for each in told))
        first = one["drops"]["values"]["1"]
        loss, low, high = first["loss"]
        seconds = one["seconds"]
        losses.add_row(
            name,
            f"{first['promised'][0]:+.4f}",
            f"{loss:+.4f}",
            f"{low:+.4f} to {high:+.4f}",
            f"{one['drops']['random']['1']['loss'][0]:+.4f}",
            f"{seconds['training'] + seconds['arithmetic']:.1f}",
            f"{seconds['retraining']:.1f}",
        )
        if one["weights"] is not None:
            gain, low, high = one["weights"]["gains"]["equal"]
            weights = ", ".join(f"{weight:.2f}" for weight in one["weights"]["weights"])
            gains.add_row(name, f"{gain:+.4f}", f"{low:+.4f} to {high:+.4f}", weights)
    return [scores, losses, gains]


if __name__ == "__main__":
    sys.exit(main())
