"""MallowsPO: losses whose link comes from a Mallows model of rankings, with a dispersion for every prompt.

A Mallows model gives a ranking μ the probability φ^{d(μ, μ0)} / Z, with dispersion φ in (0, 1]: φ → 0 is consensus, and
φ = 1 is the uniform distribution. The margin m takes the place of the difference in rank. The loss of a pair is
ℓ(m) = -log g(m), where g is the probability that the better response is ranked above the other. Spearman's distance
gives the link θ, and Kendall's distance gives the link φ. The option `dispersion` is φ(x), one number for all pairs or
one for each; see `dispersion_from_index`. A ValueError is raised if it is outside (0, 1].

The link φ jumps at m = 0, where training from the reference starts. At the jump, g(0) is defined as 1/2, so that
g(m) + g(-m) = 1 holds everywhere. The derivative of log g at 0 is defined as g'(0)/g(0); g' is the same from both
sides.
"""

from __future__ import annotations

from math import factorial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval.alignment._pairs import PerPair, check_within
from jaxval.alignment.registry import margin_loss

__all__ = ["mallows_phi", "mallows_phi_limit", "mallows_theta"]

SOURCE = 'Chen et al., "MallowsPO" (ICLR 2025)'
JUMP = "jumps at margin 0 (its continuous limit, alignment.mallows_phi_limit, is smooth)"


@margin_loss(source=SOURCE)
def mallows_theta(margin: Array, *, dispersion: PerPair) -> Array:
    """MallowsPO-θ, ℓ(m) = -log σ(-2 log φ · m).

    This loss is DPO with β' = -2β log φ. It equals DPO at φ = e^{-1/2}, and is constant at φ = 1, where β' = 0. The
    link is the paired-comparison probability of the Mallows-Bradley-Terry form. It equals the marginal probability of
    the Mallows model with Spearman's distance only for two items.

    Example:
        >>> round(float(mallows_theta(-1.0, -2.0, -1.5, -1.5, beta=1.0, dispersion=0.5)), 4)  # log(1 + φ²)
        0.2231
    """
    return -jax.nn.log_sigmoid(2 * _exponent(_check_dispersion(dispersion)) * margin)


@margin_loss(source=SOURCE, obstacle=JUMP)
def mallows_phi(margin: Array, *, dispersion: PerPair) -> Array:
    """MallowsPO-φ, ℓ(m) = -log g(m), g(m) = (m+1)/(1-φ^{m+1}) - m/(1-φ^m) for m > 0 and g(m) = 1 - g(-m) for m < 0.

    For a whole number m, g(m) is the probability under Kendall's distance that an item is ranked above the item m
    ranks below it in the centre. g(0) = 1/2, while g(0±) = 1/2 ± j/2 with the jump j = 2/(1-φ) + 2/log φ - 1, which is
    about -log φ / 6 if φ is near 1. At φ = 1 the link is 1/2 throughout. Inside `jit`, φ = 0 gives the limit, in which
    g is 0, 1/2 or 1 if m is below, at or above 0.

    Example:
        >>> round(float(mallows_phi(-1.0, -2.0, -1.5, -1.5, beta=1.0, dispersion=0.5)), 4)  # g(1) = 8/3 - 2
        0.4055
    """
    return -_phi_log_link(jnp.asarray(margin, dtype=float), _check_dispersion(dispersion))


@margin_loss(source=SOURCE)
def mallows_phi_limit(margin: Array, *, dispersion: PerPair) -> Array:
    """MallowsPO-φ with a smooth link, ℓ(m) = -log g(u), g(u) = (1 - e^{-u} - u e^{-u}) / (1 - e^{-u})², u = -log φ · m.

    This g is the limit of the link φ as φ → 1 with u fixed. It is smooth, g(0) = 1/2, and g(u) + g(-u) = 1.

    Example:
        >>> round(float(mallows_phi_limit(-1.0, -1.0, -1.5, -1.5, beta=1.0, dispersion=0.5)), 4)
        0.6931
    """
    return -_limit_log_link(_exponent(_check_dispersion(dispersion)) * margin)


def _check_dispersion(dispersion: PerPair) -> Array:
    return check_within("dispersion", dispersion, lambda phi: (phi > 0) & (phi <= 1), "a number in (0, 1]")


def _exponent(phi: Array) -> Array:
    """The exponent -log φ, also for subnormal φ, which compiled code would treat as 0."""
    precision = jnp.finfo(phi.dtype)
    whole = jnp.int64 if precision.bits == 64 else jnp.int32
    small = phi < precision.tiny
    # The bits of a subnormal number, read as a whole number, count its smallest steps above 0: φ = steps * unit.
    steps = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(phi), whole).astype(phi.dtype)
    unit = (precision.minexp - precision.nmant) * np.log(2)
    return -jnp.where(small, jnp.log(jnp.where(small, steps, 1)) + unit, jnp.log(jnp.where(small, 1, phi)))


def _phi_log_link(s: Array, phi: Array) -> Array:
    """Log g(s) of the link φ, from log q(|s|) with q(t) = 1 - g(t)."""
    a = _exponent(phi)
    consensus = a == jnp.inf  # φ = 0, which is not refused inside `jit`: g is 0, 1/2 or 1
    a = jnp.where(consensus, 1, a)
    log_q = _log_miss(jnp.where(s < 0, -s, s) * a, a)  # |s| with derivative 1 at 0, where abs has none
    log_q = jnp.where(consensus & (s != 0), -jnp.inf, log_q)
    q = jnp.exp(log_q)
    middle = jnp.log(0.5 + (jax.lax.stop_gradient(q) - q))  # the value log 1/2, the derivative g'(0) / (1/2)
    return jnp.where(s < 0, log_q, jnp.where(s > 0, jnp.log1p(-q), middle))


def _limit_log_link(u: Array) -> Array:
    """Log g(u) of the continuous limit, from log(1 - g(|u|))."""
    log_q = _log_miss(jnp.where(u < 0, -u, u), jnp.zeros_like(u))
    return jnp.where(u < 0, log_q, jnp.log1p(-jnp.exp(log_q)))


@jax.jit
def _log_miss(u: Array, a: Array) -> Array:
    """Log q, q = 1 - g, at u = a|s| >= 0, computed without division by 0 and without cancellation.

    With k(u) = u / (e^u - 1), q = [k(u) - k(u + a)] / a. Let φ1, φ2, φ3 be the remainders of the exponential series,
    φ1(z) = (e^z - 1)/z, φ2(z) = (φ1(z) - 1)/z, φ3(z) = (φ2(z) - 1/2)/z. Over one denominator,

        q = e^{-u} T / [φ1(-u) φ1(-u-a)],    T = e^{-a} [a φ2(a) + u φ2(-u)] / (a + u)
                                               = e^{-a} [1/2 + p a φ3(a) - (1-p) u φ3(-u)],   p = a / (a + u).

    The second form of T has no 0/0 at u = a = 0, and its derivatives are bounded. The first form is exact for large u.
    """
    least = 1e-20 if u.dtype == jnp.float64 else 1e-10
    small = jnp.minimum(u, 1)
    at_small, at_minus, shrink = _remainders(-small), _remainders(-u), jnp.exp(-a)
    a_second, a_third = _shrunk_remainders(a)
    p = a / (small + jnp.maximum(a, least))  # 0 where a = 0, as in the continuous limit
    near = shrink / 2 + p * a_third - (1 - p) * small * shrink * at_small.third
    far = (a_second + u * shrink * at_minus.second) / jnp.maximum(u + a, 1)
    t = jnp.where(u < 1, near, far)
    return jnp.log(t) - jnp.log(at_minus.first) - jnp.log(_remainders(-(u + a)).first) - u


def _shrunk_remainders(a: Array) -> tuple[Array, Array]:
    """e^{-a} a φ2(a) and e^{-a} a φ3(a) for a >= 0, finite also if e^a overflows."""
    near, far, shrink = _remainders(jnp.minimum(a, 1)), jnp.maximum(a, 1), jnp.exp(-a)
    second = -jnp.expm1(-far) / far - shrink
    third = second / far - shrink / 2
    return (
        jnp.where(a < 1, shrink * a * near.second, second),
        jnp.where(a < 1, shrink * a * near.third, third),
    )


class _Remainders(NamedTuple):
    first: Array
    second: Array
    third: Array


SERIES = np.array([1 / factorial(k + 3) for k in range(18)])  # enough for float64 on [-1, 1]; half of it for float32


def _remainders(z: Array) -> _Remainders:
    """φ1, φ2, φ3 at z: for |z| < 1 from the series of φ3, which gives φ2 and φ1; else from the definition of φ1."""
    inside = jnp.clip(z, -1, 1)
    third = jnp.zeros_like(z)
    for coefficient in SERIES[: 18 if z.dtype == jnp.float64 else 10][::-1]:
        third = third * inside + coefficient
    second = 0.5 + inside * third
    series = _Remainders(1 + inside * second, second, third)
    outside = jnp.where(jnp.abs(z) < 1, 1, z)
    first = jnp.expm1(outside) / outside
    second = (first - 1) / outside
    direct = _Remainders(first, second, (second - 0.5) / outside)
    return _Remainders(*(jnp.where(jnp.abs(z) < 1, s, d) for s, d in zip(series, direct, strict=True)))


__test__ = {name: globals()[name].__doc__ for name in __all__}  # doctest does not look into decorated functions
