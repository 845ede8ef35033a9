"""Saving and resuming: states of estimators, checkpoints of a training, a store of finished evaluations."""

from jaxval.checkpoints.fingerprints import fingerprint
from jaxval.checkpoints.states import load_state, save_state
from jaxval.checkpoints.store import Store
from jaxval.checkpoints.trainings import open_checkpoints

__all__ = [
    "Store",
    "fingerprint",
    "load_state",
    "open_checkpoints",
    "save_state",
]
