"""The papers' experiments, one module per figure or table; each runs by `python -m experiments.NAME`."""
