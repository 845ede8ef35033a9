"""Values that have some axioms and lack others: each breaks what the axioms of values ask for in one way."""

from functools import partial

import jax.numpy as jnp
import numpy as np

from jaxval import values

ADS = values.asymmetric_shapley
WEIGHTED = partial(values.weighted_shapley, weights=np.array([1.0, 2.0, 3.0]))


def equal_split(table):
    """Everybody gets the same, whatever they do."""
    return jnp.full(players(table), (table[-1] - table[0]) / players(table))


def in_order(table):
    """Marginals in the order of the index."""
    return values.asymmetric_shapley(table, np.arange(players(table)))


def relative(table):
    """Shapley values scaled to sum to one."""
    shares = values.shapley(table)
    return shares / jnp.sum(shares)


def nothing(table):
    return jnp.zeros(players(table))


def backwards(table, groups):
    """ADS with the groups in the opposite order."""
    return values.asymmetric_shapley(table, groups.max() - groups)


def grand(table, groups):
    """Every group shares what it adds equally."""
    prefixes = [sum(1 << z for z in range(len(groups)) if groups[z] <= t) for t in range(-1, groups.max() + 1)]
    adds = jnp.stack([table[prefixes[t + 1]] - table[prefixes[t]] for t in range(groups.max() + 1)])
    return adds[groups] / np.bincount(groups)[groups]


def one_by_one(table, groups):
    """Marginals, group after group and backwards within each."""
    return values.asymmetric_shapley(table, np.argsort(np.lexsort((-np.arange(len(groups)), groups))))


def players(table):
    return len(table).bit_length() - 1


def squared(table):
    """Shapley values of the squared utilities: no linear value."""
    return values.shapley(table**2)
