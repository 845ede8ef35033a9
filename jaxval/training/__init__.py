"""Training: Newton's method where it applies, optax elsewhere; sequential and union DPO."""
