"""Host functions that other processes can import."""

import os
import time
from pathlib import Path

import numpy as np

WEIGHTS = np.array([3.0, 1.0, 1.0, 0.0, 7.0, 2.0, 4.0, 5.0])


def total(mask):
    return float(WEIGHTS[: len(mask)][mask].sum()) ** 1.5


def logged(mask, path):
    """`total`, and a line for each call, written in one piece."""
    with open(path, "ab", buffering=0) as file:
        file.write((" ".join(map(str, np.flatnonzero(mask))) + "\n").encode())
    time.sleep(0.002)
    return total(mask)


def two(mask):
    return [float(mask.sum()), total(mask)]


def troubled(mask):
    """Raises with player 0, returns NaN with player 1, hangs with player 2, ends its process with player 3."""
    if mask[0]:
        raise RuntimeError("no data")
    if mask[1]:
        return float("nan")
    if mask[2]:
        time.sleep(60)
    if mask[3]:
        os._exit(3)
    return 1.0


def failing(mask, path):
    """The number of players; raises for players 0 and 1 until a file `repaired` stands beside the log of calls."""
    with open(path, "ab", buffering=0) as file:
        file.write(b".")
    time.sleep(0.01)
    if mask[:2].all() and not mask[2:].any() and not Path(path).with_name("repaired").exists():
        fail_deep()
    return int(mask.sum())


def fail_deep():
    raise LookupError("no data")


def threads_of_the_worker(_):
    """What the libraries of linear algebra are told in this process."""
    return {name: value for name, value in os.environ.items() if name.endswith(("_NUM_THREADS", "_MAXIMUM_THREADS"))}
