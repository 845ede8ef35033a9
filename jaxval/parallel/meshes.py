"""Devices of one process or of several: a mesh, and a function of many rows distributed over it."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxval import _checks
from jaxval.types import BadArgument

__all__ = ["connect", "mesh", "over_mesh"]

VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh of devices along one axis, `coalitions`.

    Args:
        devices: the devices; None means all devices of all processes.

    Returns:
        A mesh of JAX.

    Raises:
        ValueError: if there is no device.

    Example:
        >>> mesh(jax.devices()[:1]).axis_names
        ('coalitions',)
    """
    chosen = jax.devices() if devices is None else list(_checks.check_list("devices", devices, "a list of devices"))
    if not all(isinstance(device, jax.Device) for device in chosen):
        raise BadArgument("devices", expected="devices of JAX, such as jax.devices()[:2]", got=f"{devices!r:.80}")
    if not chosen:
        raise BadArgument("devices", expected="at least one", got="none", advice="leave it out for all there are")
    return Mesh(np.array(chosen), ("coalitions",))


def connect() -> int:
    """Join the processes that were launched together. If the variables below are not set, it does nothing.

    The same script runs once for each process. Variables give the address of the first process, the number of processes
    and the number of this one:

        export JAX_COORDINATOR_ADDRESS=127.0.0.1:9876 JAX_NUM_PROCESSES=2
        JAX_PROCESS_ID=0 python values.py & JAX_PROCESS_ID=1 python values.py

    On several machines the address is that of the first machine. The script calls `connect()` before it uses JAX, and
    then does the same in every process. `mesh()` holds the devices of all processes. They evaluate together, without a
    store.

    Returns:
        The number of this process; 0 if there is only one.

    Raises:
        ValueError: if some of the variables are missing, the address has no port, or the numbers do not fit.
        RuntimeError: if JAX was used before this call; JAX raises it. If a process does not join within five minutes,
            as with a wrong port, JAX ends all of them.

    Example:
        >>> connect()
        0
    """
    given = [os.environ.get(variable) for variable in VARIABLES]
    if given == [None] * len(VARIABLES):
        return 0
    for variable, text in zip(VARIABLES, given, strict=True):
        if not text or (variable != VARIABLES[0] and not text.isdecimal()):
            raise BadArgument(
                variable,
                expected=f"{', '.join(VARIABLES)} all set, the address of process 0 and two whole numbers",
                got=f"{text!r}",
            )
    address, processes, process = str(given[0]), int(str(given[1])), int(str(given[2]))
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise BadArgument(
            VARIABLES[0], expected="the address of process 0 with a port, such as 127.0.0.1:9876", got=f"{address!r}"
        )
    if processes < 1:
        raise BadArgument(VARIABLES[1], expected="at least 1", got=processes)
    if process >= processes:
        raise BadArgument(VARIABLES[2], expected=f"a number in [0, {processes})", got=process)
    if processes > 1:
        waits = f"process {process} of {processes} waits for the others at {address}, five minutes at most"
        print(waits, file=sys.stderr)
    jax.distributed.initialize(address, processes, process)
    return process


def over_mesh(function: Callable[[Any], Any], devices: Mesh | None = None) -> Callable[[Any], Any]:
    """A function of many rows, compiled, with the rows shared out among the devices of a mesh.

    Each device runs the function on its own share and waits for no other. Rows come as NumPy arrays, the same in every
    process, and every process gets all results.

    Args:
        function: from a pytree of arrays whose first axis is rows to one of as many rows. It treats each row alone.
        devices: the mesh; None means the default device alone.

    Returns:
        The same function; the number of rows must be a multiple of the number of devices.

    Example:
        >>> over_mesh(jax.vmap(lambda row: row.sum()), mesh())(np.ones((8, 2))).tolist()[:3]
        [2.0, 2.0, 2.0]
    """
    if devices is None:
        return jax.jit(function)
    rows = PartitionSpec(devices.axis_names)
    share = jax.shard_map(function, mesh=devices, in_specs=rows, out_specs=rows, check_vma=False)
    # every process gets all results; what was sharded is gathered by the compiled function itself
    run = jax.jit(share, out_shardings=NamedSharding(devices, PartitionSpec()))
    sharded = NamedSharding(devices, rows)

    def place(array: Any) -> Any:
        array = np.asarray(array)
        return jax.make_array_from_callback(array.shape, sharded, lambda index: array[index])

    return lambda arguments: jax.tree.map(np.asarray, run(jax.tree.map(place, arguments)))
