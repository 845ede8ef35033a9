"""Elections: the cases of `_profiles` with what sections 4.2 and 4.3 make of them, computed once for all claims."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxval.theorems.ppa import _profiles
from jaxval.theorems.ppa._profiles import (
    Case,
    Instance,
    Profile,
    bounds,
    halved,
    induced,
    known,
    manipulated,
    profiles,
    to_top,
)

__all__ = ["CLOSE", "Election", "Elections", "after_misreports", "by_hand", "elections", "proportional"]

CLOSE = 1e-9  # what differs by rounding is a tie


class Election(NamedTuple):
    """A profile, what follows from it, and the parameters of the statements.

    Attributes:
        profile: σ.
        reports: what voters report instead: a mixture of rankings.
        P: (M, M) the preference function, 1/2 on its diagonal.
        w: (M,) the population shares.
        u: (M,) u_i = min_{j≠i} P(i ≻ j).
        misreported: (M, 2, M, M) P of σ'_k for each k, of Definition 3.2, if group k reports the mixture as it is, and
            if it lifts y_k to the top of each of its rankings.
        policy: (M,) any policy.
        share: in [0, 1], the ends among them.
        delta: δ in [0, 1], often an entry of P.
        beta: β ≥ 0, often 0.
        level: α or α_c in (0, 1).
    """

    profile: Profile
    reports: Profile
    P: Float[Array, "alternatives alternatives"]
    w: Float[Array, "alternatives"]
    u: Float[Array, "alternatives"]
    misreported: Float[Array, "alternatives 2 alternatives alternatives"]
    policy: Float[Array, "alternatives"]
    share: Float[Array, ""]
    delta: Float[Array, ""]
    beta: Float[Array, ""]
    level: Float[Array, ""]


class Elections(NamedTuple):
    """One election of each size."""

    two: Election
    three: Election
    four: Election
    five: Election
    six: Election


def elect(c: Case) -> Election:
    """The election of a case."""

    def of_group(k: Array) -> Array:
        both = jnp.stack([c.reports.orders, to_top(c.reports.orders, k)])
        return jax.vmap(lambda orders: misreport(k, c.reports._replace(orders=orders)))(both)

    def misreport(k: Array, reports: Profile) -> Array:
        return halved(induced(manipulated(c.profile, k, reports)))

    groups = jnp.arange(c.profile.orders.shape[1])
    return Election(
        c.profile,
        c.reports,
        *known(c.profile),
        jax.vmap(of_group)(groups),
        c.lotteries[0],
        *(c.share, c.delta, c.beta, c.level),
    )


@jax.jit
def elect_all(c: Instance) -> Elections:
    """The elections of all cases."""
    return Elections(*map(elect, c))


def generate(key: Key[Array, ""]) -> Elections:
    """The elections of random cases."""
    return elect_all(_profiles.generate(key))


@functools.cache
def every() -> Elections:
    """The elections of all small profiles."""
    return jax.jit(jax.vmap(elect_all))(_profiles.every())


def by_hand(*ballots: Any, **fields: Any) -> Elections:
    """Elections to replay by hand, see `_profiles.by_hand`."""
    return elect_all(_profiles.by_hand(*ballots, **fields))


elections = profiles._replace(generate=generate, exhaustive=every)


# What claims compute from it


def proportional(P: Array) -> Array:
    """F* of Definition 4.5."""
    return _profiles.relaxed(bounds(P))


def after_misreports(c: Election, value: Callable[[Array], Array]) -> tuple[Array, Array]:
    """The k-th entry of a value of P at σ'_k for each group k: as reported, and with y_k on top."""
    values = jax.vmap(jax.vmap(value))(c.misreported)
    as_reported, on_top = jnp.diagonal(values, axis1=0, axis2=2)
    return as_reported, on_top
