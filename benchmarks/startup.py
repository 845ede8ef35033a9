"""How long the three commands take when they run for the first time, and when they run again.

    python -m benchmarks.startup [--case CASE ...] [--quick] [--out FOLDER]

Cases: `jaxval value`, `jaxval aggregate` and `jaxval verify` whole, each in a process of its own: a first run, whose
folder of compiled programs is empty, and a later run, which finds what an earlier one has compiled. Then first runs
until a terminal shows a word, and until it shows the progress bar. Sides run in turn; all are ours.
"""

import argparse
import sys
from functools import partial

from benchmarks.command import Cases, run_benchmark
from benchmarks.environments import OURS
from benchmarks.harness import Bench, Pair, sides_of

FIRST, LATER = "first run", "later run"
COMMANDS = ("value", "aggregate", "verify")
ONE_CLAIM = ("--claim", "coalition/equation-3", "--instances", "10")
ROUNDS_OF_VERIFY = 2  # a round takes minutes

side = sides_of("startup")


def command(name: str, bench: Bench, options: argparse.Namespace) -> None:
    """The whole command, with its own example."""
    words = [name, *(ONE_CLAIM if options.quick and name == "verify" else ())]
    bench.race(
        f"jaxval {' '.join(words)}",
        {"cores": options.cores},
        {},
        [
            side(FIRST, OURS, "command", words=words, again=False),
            side(LATER, OURS, "command", words=words, again=True),
        ],
        pairs=[Pair(LATER, FIRST, None if options.quick else 2)],
        repeats=min(options.repeats, ROUNDS_OF_VERIFY) if name == "verify" else None,
    )


def answers(bench: Bench, options: argparse.Namespace) -> None:
    """How long a user waits for a sign of life."""
    for until in ("word", "bar"):
        bench.race(
            f"until the first {until}",
            {"cores": options.cores},
            {},
            [side(f"jaxval {name}", OURS, "command", words=[name], again=False, until=until) for name in COMMANDS],
            seconds={} if options.quick else {f"jaxval {name}": 2 for name in COMMANDS},
        )


CASES: Cases = {**{name: partial(command, name) for name in COMMANDS}, "answers": answers}

main = partial(run_benchmark, "startup", __doc__, CASES, ())

if __name__ == "__main__":
    sys.exit(main())
