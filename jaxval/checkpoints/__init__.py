"""Saving and resuming: states of estimators, checkpoints of a training, a store of finished evaluations."""

from jaxval.checkpoints.files import claim_folder, lock_folder, whole_file, write_whole
from jaxval.checkpoints.fingerprints import fingerprint
from jaxval.checkpoints.states import load_state, save_state
from jaxval.checkpoints.store import Store, Stored
from jaxval.checkpoints.trainings import Checkpoints, open_checkpoints

__all__ = [
    "Checkpoints",
    "Store",
    "Stored",
    "claim_folder",
    "fingerprint",
    "load_state",
    "lock_folder",
    "open_checkpoints",
    "save_state",
    "whole_file",
    "write_whole",
]
