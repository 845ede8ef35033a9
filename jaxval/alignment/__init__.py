"""Pure mathematics of alignment: arrays of log-probabilities in, losses and closed forms out."""
