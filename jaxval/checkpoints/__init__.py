"""Saving and resuming: checkpoints of a training, a store of finished evaluations."""
