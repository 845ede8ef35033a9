"""The two-phase proportional algorithm: how fast it comes near F^β, and whether all makers of policies agree.

    python -m experiments.two_phase [--part PART ...] [--replicates N] [--steps N] [--out FOLDER]

exact     every comparison as often as P says: the largest error of a probability under a tabular and a log-linear
          policy, and a transformer whose one model serves both phases
sampled   N comparisons drawn from P, by N: the mean error of the policy, and its slope in logarithms from 100,000 on

P is that of 15 voters on five responses. The error of a policy is the sum of |π(y) - F^β(y)| over responses.

Written to `--out`: `results.json` and `two_phase.png`. Parts that are finished are kept.
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.commands import documented_parser, guarded, positive, progress
from experiments.results import open_results, save_results
from jaxval import policies, preferences, social_choice, training
from jaxval.plots._drawing import BLUE, GREEN, GREY, NORMAL, SMALL, VERMILLION, new_figure
from jaxval.types import Comparisons

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw", "exact", "main", "population", "sampled"]

BETAS = (0.0, 1.0, 100.0)
COLOURS = dict(zip(BETAS, (BLUE, GREEN, VERMILLION), strict=True))
CONTEXTS, RESPONSES, VOTERS = 3, 5, 15
SIZES = (100, 316, 1000, 3162, 10_000, 31_623, 100_000, 316_228, 1_000_000, 3_162_278, 10_000_000)
FIRST = 100_000  # comparisons from which the slope is fitted: β times the error of û has to be small


def population(contexts: int = CONTEXTS) -> np.ndarray:
    """(contexts, responses, responses) P of voters around one ranking in each context."""
    keys = jax.random.split(jax.random.key(0), contexts)
    center = jnp.arange(RESPONSES)
    profiles = [preferences.sample_mallows(key, center, dispersion=0.8, num=VOTERS) for key in keys]
    return np.stack([preferences.preference_matrix(orders) for orders in profiles])


def rule(matrices: np.ndarray, beta: float) -> np.ndarray:
    """F^β in each context."""
    return np.stack([social_choice.proportional(matrix, beta=beta) for matrix in matrices])


def exact(steps: int) -> dict[str, Any]:
    """The largest error of a probability for each policy and β, with the comparisons of P itself."""
    matrices = population()
    x, y, z = np.nonzero(np.broadcast_to(~np.eye(RESPONSES, dtype=bool), matrices.shape))
    pairs = Comparisons(x, y, z, VOTERS * matrices[x, y, z])
    size = CONTEXTS * RESPONSES
    prompts, answers = [[i] for i in range(CONTEXTS)], [[[CONTEXTS + i] for i in range(RESPONSES)]] * CONTEXTS
    separator = CONTEXTS + RESPONSES
    asked, opponents = policies.selector_prompts(prompts, answers, separator=[separator])
    model = policies.transformer(vocabulary=separator + 1, length=6, width=32, layers=2, heads=2)
    both = policies.over_catalogue(model, [*prompts, *asked], [*answers, *opponents])
    makers: dict[str, tuple[Any, dict[str, Any]]] = {
        "tabular": (policies.tabular(CONTEXTS, RESPONSES), {}),
        "log-linear": (policies.log_linear(np.eye(size).reshape(CONTEXTS, RESPONSES, size)), {}),
        "transformer": (
            both,
            {
                "optimiser": training.adamw(1e-2, steps=steps),
                "steps": steps,
                "batch_size": size,
                "selector": training.Selector(both, first=CONTEXTS),
            },
        ),
    }
    ids = (np.arange(CONTEXTS), np.tile(np.arange(RESPONSES), (CONTEXTS, 1)))
    bounds = np.stack([social_choice.share_bounds(matrix) for matrix in matrices])
    result: dict[str, Any] = {}
    for name, (policy, options) in makers.items():
        for beta in BETAS:
            params, found = training.proportional(policy, policy.init(jax.random.key(1)), pairs, beta=beta, **options)
            shares = np.exp(policies.normalise(policy.log_probs(params, *ids)))
            result[f"{name}, β = {beta:g}"] = {
                "error of π": float(np.abs(shares - rule(matrices, beta)).max()),
                "error of û": float(np.abs(np.asarray(found.bounds)[:CONTEXTS] - bounds).max()),
            }
    return result


def sampled(replicates: int) -> dict[str, Any]:
    """The mean over replicates of the error by the number of comparisons, for each β; a context is a replicate."""
    matrix = population(1)[0]
    policy = policies.tabular(replicates, RESPONSES)
    ids = (np.arange(replicates), np.tile(np.arange(RESPONSES), (replicates, 1)))
    i, j = np.triu_indices(RESPONSES, 1)
    exact = {beta: rule(matrix[None], beta) for beta in BETAS}
    errors: dict[str, list[float]] = {f"{beta:g}": [] for beta in BETAS}
    for size in SIZES:
        rng = np.random.default_rng(size)
        compared = rng.multinomial(size, np.full(len(i), 1 / len(i)), size=replicates)
        won = rng.binomial(compared, matrix[i, j])
        context = np.repeat(np.arange(replicates), len(i))
        one, other = np.tile(i, replicates), np.tile(j, replicates)
        pairs = Comparisons(
            np.tile(context, 2),
            np.concatenate([one, other]),
            np.concatenate([other, one]),
            np.concatenate([won.ravel(), (compared - won).ravel()]).astype(float),
        )
        for beta in BETAS:
            params, _ = training.proportional(policy, policy.init(None), pairs, beta=beta)
            away = np.abs(np.exp(policy.log_probs(params, *ids)) - exact[beta]).sum(axis=1)
            errors[f"{beta:g}"].append(float(away.mean()))
    fitted = np.array(SIZES) >= FIRST
    slopes = {
        beta: float(np.polyfit(np.log(np.array(SIZES)[fitted]), np.log(np.array(error)[fitted]), 1)[0])
        for beta, error in errors.items()
    }
    return {
        "sizes": list(SIZES),
        "errors": errors,
        "slopes": slopes,
        "F^β": {f"{b:g}": exact[b][0].tolist() for b in BETAS},
    }


def draw(run: dict[str, Any]) -> Figure:
    """The error by the number of comparisons, with a line of slope -1/2."""
    figure = new_figure(4.2, 2.8)
    axis = figure.subplots()
    sizes = np.array(run["sizes"])
    for beta in BETAS:
        errors = np.array(run["errors"][f"{beta:g}"])
        axis.loglog(sizes, errors, "o-", color=COLOURS[beta], ms=3.5, lw=1.2)
        label = f"β = {beta:g}, slope {run['slopes'][f'{beta:g}']:.2f}".replace("-", "−")
        place = {0.0: "top", 1.0: "bottom"}.get(beta, "center")
        axis.text(sizes[-1] * 1.3, errors[-1], label, color=COLOURS[beta], fontsize=SMALL, va=place)
    line = 12 / np.sqrt(sizes)
    axis.loglog(sizes[3:], line[3:], ":", color=GREY, lw=1)
    axis.text(sizes[6], line[6] * 1.2, "slope −1/2", color=GREY, fontsize=SMALL)
    axis.set_xlim(sizes[0] * 0.7, sizes[-1] * 200)
    axis.set_xticks([10.0**power for power in range(2, 8)])
    axis.minorticks_off()
    axis.set_xlabel("comparisons", fontsize=NORMAL)
    axis.set_ylabel("Σ |π(y) − Fᵝ(y)|, mean", fontsize=NORMAL)
    axis.tick_params(labelsize=SMALL)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment and return the exit status: 0, 2 for input that is wrong, 130 if interrupted."""
    parser = documented_parser("experiments.two_phase", __doc__)
    add = parser.add_argument
    add("--part", action="append", choices=("exact", "sampled"), help="may be repeated (default: both)")
    add("--replicates", type=positive, default=200, metavar="N", help="draws of each size (default: %(default)s)")
    add("--steps", type=positive, default=600, metavar="N", help="of the transformer, a phase (default: %(default)s)")
    add("--out", type=Path, default=Path("results/two_phase"), metavar="FOLDER", help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    return guarded(run, options, kept="parts that were finished are kept", without_data="it needs none")


def run(options: argparse.Namespace, notes: Console) -> None:
    """Run the parts that are missing, print all, and draw the figure."""
    configuration = {"replicates": options.replicates, "steps": options.steps}
    results, note = open_results(options.out, "two_phase", configuration)
    if note:
        notes.print(note)
    parts = {
        "exact": functools.partial(exact, options.steps),
        "sampled": functools.partial(sampled, options.replicates),
    }
    chosen = options.part or list(parts)
    with progress(notes) as bar:
        task = bar.add_task("two phases", total=len(chosen))
        for name in chosen:
            if name not in results["runs"]:
                results["runs"][name] = parts[name]()
                save_results(options.out, results)
            bar.advance(task)
    console = Console(highlight=False, soft_wrap=True)
    runs = results["runs"]
    if "exact" in chosen:
        table = Table("policy", "largest error of π", "of û", title="comparisons of P itself")
        for name, row in runs["exact"].items():
            table.add_row(name, f"{row['error of π']:.1e}", f"{row['error of û']:.1e}")
        console.print(table)
    if "sampled" in chosen:
        table = Table("comparisons", *(f"β = {beta:g}" for beta in BETAS), title="mean error of π")
        for k, size in enumerate(runs["sampled"]["sizes"]):
            table.add_row(f"{size:,}", *(f"{runs['sampled']['errors'][f'{beta:g}'][k]:.4f}" for beta in BETAS))
        table.add_row("slope", *(f"{runs['sampled']['slopes'][f'{beta:g}']:.3f}" for beta in BETAS))
        console.print(table)
        draw(runs["sampled"]).savefig(options.out / "two_phase.png", dpi=300)
        notes.print(f"figure written to {options.out / 'two_phase.png'}")


if __name__ == "__main__":
    sys.exit(main())
