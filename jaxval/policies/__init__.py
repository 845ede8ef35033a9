"""Policies: log-probabilities of candidate responses, from a table, from features, from a transformer."""
