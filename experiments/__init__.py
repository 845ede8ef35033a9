"""The papers' experiments, one module for each figure or table; run one by `python -m experiments.NAME`."""
