"""P from a file of votes on statements, read some voters at a time: seconds and memory.

    python -m benchmarks.vote_stream [--voters N] [--statements M] [--votes V]

It writes a file of random votes, V of each voter, reads it in a process of its own, and prints the time of reading and
of the products, and how much memory was in use at most. Nothing but jaxval is needed. By default 10^7 votes.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def write_votes(path: Path, voters: int, statements: int, votes: int) -> None:
    """Write a file in Polis' layout: every voter saw some statements at random."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        file.write(f"participant,group-id,{','.join(map(str, range(statements)))}\n")
        for voter in range(voters):
            row = [""] * statements
            seen = rng.choice(statements, votes, replace=False).tolist()
            for statement, vote in zip(seen, rng.choice(["1", "0", "-1"], votes, p=[0.5, 0.2, 0.3]), strict=True):
                row[statement] = vote
            file.write(f"{voter},{voter % 3},{','.join(row)}\n")


def read_votes(path: Path) -> dict[str, float]:
    """The seconds and the memory that P takes, in this process."""
    import jax

    from jaxval.data import vote_batches
    from jaxval.preferences import empirical_matrix, vote_wins
    from jaxval.types import UNSEEN

    vote_wins([[1, 0], [0, 1]])
    before = _megabytes()
    wins, votes, products, start = 0.0, 0, 0.0, time.perf_counter()
    for batch in vote_batches(path):
        began = time.perf_counter()
        wins = jax.block_until_ready(wins + vote_wins(batch.votes))
        products += time.perf_counter() - began
        votes += int((batch.votes != UNSEEN).sum())
    jax.block_until_ready(empirical_matrix(wins))
    seconds, used = time.perf_counter() - start, time.process_time()
    return {
        "votes": votes,
        "seconds": seconds,
        "seconds of products": products,
        "seconds of the processor, the start included": used,
        "megabytes before": before,
        "megabytes at most": _megabytes(),
        "megabytes of the file": path.stat().st_size / 2**20,
    }


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: list[str] | None = None) -> int:
    """Write, read, print; or, with --read, only read."""
    parser = argparse.ArgumentParser(prog="benchmarks.vote_stream", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--voters", type=int, default=100_000, metavar="N")
    parser.add_argument("--statements", type=int, default=1000, metavar="M")
    parser.add_argument("--votes", type=int, default=100, metavar="V", help="of each voter (default: %(default)s)")
    parser.add_argument("--read", type=Path, metavar="FILE", help="read this file and print the numbers as JSON")
    options = parser.parse_args(arguments)
    if options.read is not None:
        print(json.dumps(read_votes(options.read)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "votes.csv")
        write_votes(path, options.voters, options.statements, options.votes)
        command = [sys.executable, "-m", "benchmarks.vote_stream", "--read", str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    for name, number in json.loads(done.stdout).items():
        print(f"{name:45}{number:>14,.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
