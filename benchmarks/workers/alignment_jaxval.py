"""The tasks of `benchmarks.alignment` by jaxval."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

import jaxval
from jaxval import alignment

PACKAGES = ("jax", "jaxlib", "numpy")
VERSIONS = {"jaxval": jaxval.__version__, "precision": "float64" if jax.config.jax_enable_x64 else "float32"}
DEVICE = f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}"

Run = Callable[[], dict[str, np.ndarray]]


def losses(inputs: dict[str, np.ndarray], *, names: Sequence[str], calls: int = 1) -> Run:
    """Every loss of every pair, each written out, and their means beside."""
    arrays = {name: jnp.asarray(array, dtype=float) for name, array in inputs.items()}

    def forward(name: str) -> Callable[[dict[str, jax.Array]], tuple[jax.Array, jax.Array]]:
        loss = alignment.find_loss(name)

        def run(arrays: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
            pairs = tuple(arrays["log_probs"])
            if name == "length_normalised_dpo":
                pairs += tuple(arrays["lengths"])
            options = {"dispersion": arrays["dispersion"]} if "dispersion" in alignment.losses[name].options else {}
            each = loss(*pairs, beta=0.1, **options)
            return each, jnp.mean(each)

        return jax.jit(run)

    compiled = [forward(name) for name in names]

    def run() -> dict[str, np.ndarray]:
        for _ in range(calls):
            found = [jax.block_until_ready(call(arrays)) for call in compiled]
        return {"means": np.array([mean for _, mean in found])}

    return run


def log_sigmoid(inputs: dict[str, np.ndarray], *, calls: int = 1) -> Run:
    """The least that a loss of the margin must do: read one array, write one."""
    margin, once = jnp.asarray(inputs["log_probs"][0], dtype=float), jax.jit(jax.nn.log_sigmoid)

    def run() -> dict[str, np.ndarray]:
        for _ in range(calls):
            found = jax.block_until_ready(once(margin))
        return {"first": np.asarray(found[:1])}

    return run


TASKS = {"losses": losses, "log_sigmoid": log_sigmoid}
