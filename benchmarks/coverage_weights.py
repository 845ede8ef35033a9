"""How often the 95 % interval of what the best weights of sources gain holds the true gain.

    python -m benchmarks.coverage_weights [--runs N] [--setting NAME ...] [--out FOLDER]

Source ℓ shifts a normal policy along axis ℓ, and the reward falls with the square of the distance to a target that each
prompt draws: u_x(λ) = -|λ - m_x|² / 2. The true gain over equal weights is then known: |λ' - μ|² / 2 - |λ - μ|² / 2 for
the mean μ of all targets. Every run draws prompts anew and calls `sources.best_weights`. Cross-validation estimates the
gain of the weights that were fitted without a fold, the mean over folds; the gain of the weights that were fitted to
all prompts is a little larger, and its coverage is told too. The interval ignores that the fits of the folds share
prompts, which costs coverage if there are few. Settings of at least 40 prompts have to reach .90. Nothing but jaxval
is needed.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.report import machine, save
from jaxval import sources
from jaxval.parallel import progress

WANTED = 0.90
ENOUGH = 40  # prompts from which the coverage has to be reached


class Setting(NamedTuple):
    """The number of prompts and of sources, the weights that are searched, and the freedom of Student's targets."""

    prompts: int
    sources: int
    over: str = "box"
    freedom: float = np.inf


SETTINGS = {
    "20 prompts": Setting(20, 2),
    "40 prompts": Setting(40, 2),
    "100 prompts": Setting(100, 2),
    "100 prompts, 5 sources": Setting(100, 5),
    "100 prompts, 5 sources, simplex": Setting(100, 5, "simplex"),
    "40 prompts, 5 sources, subsets": Setting(40, 5, "subsets"),
    "100 prompts, heavy tails": Setting(100, 2, freedom=3.0),
}


def measure(setting: Setting, runs: int, advance: Any) -> dict[str, Any]:
    """The coverage over all runs, the mean gain and the mean width of its interval."""
    rng = np.random.default_rng(0)
    mean = np.linspace(0.9, 0.2, setting.sources)
    most = {"most": 3.0} if setting.over == "box" else {}
    rows = []
    clock = time.perf_counter()
    for _ in range(runs):
        shape = (setting.prompts, setting.sources)
        noise = rng.normal(size=shape) if np.isinf(setting.freedom) else rng.standard_t(setting.freedom, size=shape)
        targets = jnp.asarray(mean + noise)
        found = sources.best_weights(
            lambda weights, targets=targets: -jnp.sum((weights[None, :] - targets) ** 2, axis=1) / 2,
            setting.sources,
            over=setting.over,
            **most,
        )

        def worth(weights: np.ndarray) -> np.ndarray:
            return -((weights - mean) ** 2).sum(axis=-1) / 2

        equal = worth(found.others["equal"])
        gain, low, high = found.gains["equal"]
        rows.append((gain, low, high, worth(found.by_fold).mean() - equal, worth(found.weights) - equal))
        advance(1)
    gain, low, high, of_folds, of_all = np.array(rows).T
    return {
        **setting._asdict(),
        "freedom": None if np.isinf(setting.freedom) else setting.freedom,
        "runs": runs,
        "covers the folds' gain": float(((low <= of_folds) & (of_folds <= high)).mean()),
        "covers the gain of all": float(((low <= of_all) & (of_all <= high)).mean()),
        "mean estimate": float(gain.mean()),
        "mean gain": float(of_folds.mean()),
        "mean width": float((high - low).mean()),
        "seconds": time.perf_counter() - clock,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run it; the exit status is 1 if a setting of enough prompts has too little coverage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, metavar="N", help="redraws of each setting (default 100)")
    parser.add_argument("--setting", nargs="+", choices=SETTINGS, default=list(SETTINGS), metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("results/coverage-weights"), metavar="FOLDER")
    parser.add_argument("--json", action="store_true", help="print the results alone, as JSON")
    options = parser.parse_args(arguments)
    records = {}
    with progress(sys.stderr.isatty(), options.runs * len(options.setting), "redraws") as advance:
        for name in options.setting:
            records[name] = measure(SETTINGS[name], options.runs, advance)
            save(options.out, {"machine": machine(), "wanted": WANTED, "records": records})
    if options.json:
        print(json.dumps(records, indent=1))
    else:
        table = Table(title="coverage of the 95 % interval of the gain over equal weights", title_justify="left")
        heads = (
            "covers the folds' gain",
            "covers the gain of all",
            "mean estimate",
            "mean gain",
            "mean width",
            "seconds",
        )
        table.add_column("setting")
        for head in heads:
            table.add_column(head, justify="right")
        for name, record in records.items():
            table.add_row(name, *(f"{record[head]:.3g}" for head in heads))
        Console(width=110).print(table)
    short = [r for r in records.values() if r["prompts"] >= ENOUGH and r["covers the folds' gain"] < WANTED]
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
