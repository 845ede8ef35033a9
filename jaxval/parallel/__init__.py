"""Meshes of devices, several processes and executors for evaluations.

Work that JAX can trace is distributed over a `mesh` of devices, of one process or of several that `connect` to each
other. Any other function runs on a `concurrent.futures.Executor`: a `ProcessPool`, whose workers can be stopped, a pool
of the standard library, or the executor of a cluster.
"""

from jaxval.parallel.meshes import connect, mesh
from jaxval.parallel.processes import ProcessPool
from jaxval.parallel.progress import progress

__all__ = ["ProcessPool", "connect", "mesh", "progress"]
