"""Sides that measure the machine, for profiles: how fast it multiplies matrices, and how fast it moves memory.

Each does what one piece of work of the other sides needs, so that its share of their time is a limit: a side whose
time is nearly all products, or nearly all moving of memory, cannot become much faster.
"""

from benchmarks.environments import OURS
from benchmarks.harness import Side

__all__ = ["copies", "products"]

SIZE = 1024  # of the matrices
MEGABYTES = 64  # more than the caches hold


def products(*, operations: float, size: int = SIZE, x64: bool = False) -> Side:
    """The product of two square matrices; one piece of work has this many additions and multiplications."""
    name = f"products of {size} x {size} matrices, {_precision(x64)}"
    return Side(name, OURS, "machine_jaxval", "product", {"size": size}, 2 * size**3 / operations, x64)


def copies(*, read: float, megabytes: float = MEGABYTES) -> Side:
    """An array that is read and written to another; one piece of work reads this many bytes, and writes as many."""
    name = f"copies of {megabytes:g} MB"
    return Side(name, OURS, "machine_jaxval", "copy", {"megabytes": megabytes}, megabytes * 1e6 / read)


def _precision(x64: bool) -> str:
    return "float64" if x64 else "float32"
