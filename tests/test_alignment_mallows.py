"""Mallows links against enumerated rankings and against their formulas in 100 digits."""

import functools
import itertools
from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxval import alignment

GOOD = (-1.0, -2.0, -1.5, -1.5)


def phi_miss(t, phi):
    """1 - g(t) of the link φ: t φ^t / (1-φ^t) - (t+1) φ^{t+1} / (1-φ^{t+1}), the same by algebra."""
    return sum(sign * x * phi**x / (1 - phi**x) for sign, x in ((1, t), (-1, t + 1)))


def limit_miss(u):
    """1 - g(u) of the continuous limit: e^{-u} (u - 1 + e^{-u}) / (1 - e^{-u})², the same by algebra."""
    e = (-u).exp()
    return e * (u - 1 + e) / (1 - e) ** 2


def log_link_in_digits(miss, s):
    """log g(s) and its derivative, from 1 - g(t), in 100 digits."""
    with localcontext() as context:
        context.prec = 100
        t, h = Decimal(float(abs(s))), Decimal(10) ** -30
        q, slope = miss(t), (miss(t + h) - miss(t - h)) / (2 * h)
        if s < 0:
            return float(q.ln()), float(-slope / q)
        return float((1 - q).ln() if q > Decimal(10) ** -50 else -q), float(-slope / (1 - q))


SPREADS = (0.2, 0.5, 0.8, 0.95)


def log_link(name):
    """log g of a Mallows loss, of which ℓ(m) = -log g(m) is the link."""
    return lambda gap, *, dispersion: -alignment.losses[name].link(jnp.asarray(gap, dtype=float), dispersion=dispersion)


mallows_theta_log_link, mallows_phi_log_link, mallows_phi_limit_log_link = map(
    log_link, ("mallows_theta", "mallows_phi", "mallows_phi_limit")
)


def kendall_marginals(items, phi):
    """P(i above j) for i before j in the centre, by enumerating all rankings: {(i, j): probability}."""
    total, above = 0.0, dict.fromkeys(itertools.combinations(range(items), 2), 0.0)
    for order in itertools.permutations(range(items)):
        place = np.argsort(order)
        chance = phi ** sum(place[i] > place[j] for i, j in above)
        total += chance
        for i, j in above:
            above[i, j] += chance * (place[i] < place[j])
    return {pair: share / total for pair, share in above.items()}


@pytest.mark.parametrize("items", [2, 3, 4, 5, 6])
def test_phi_link_is_the_enumerated_marginal_of_kendalls_distance(items, close):
    for phi in SPREADS:
        for (i, j), share in kendall_marginals(items, phi).items():
            link = np.exp(mallows_phi_log_link(np.array([j - i, i - j], dtype=float), dispersion=phi))
            close(link, [share, 1 - share])


def test_theta_link_is_the_enumerated_marginal_of_spearmans_distance_for_two_items_only(close):
    for items in (2, 3):
        for phi in SPREADS:
            weights = {
                order: phi
                ** float(sum((place - item) ** 2 for place, item in zip(np.argsort(order), range(items), strict=True)))
                for order in itertools.permutations(range(items))
            }
            share = sum(w for order, w in weights.items() if order.index(0) < order.index(1)) / sum(weights.values())
            link = float(np.exp(mallows_theta_log_link(1.0, dispersion=phi)))
            if items == 2:
                close(link, share)
            else:
                assert abs(link - share) > 1e-3


def test_theta_is_dpo_of_another_temperature(rng):
    columns = rng.normal(size=(4, 50)).astype(np.float32) * 10
    for phi in (*SPREADS, 1e-3):
        beta = -2 * jnp.log(jnp.asarray(phi, dtype=float)) * 0.3
        theta = alignment.mallows_theta(*columns, beta=0.3, dispersion=phi)
        # To the bit of one margin; (-2 log φ · β) · gap and -2 log φ · (β · gap) differ by roundings of the margin,
        # and -log σ by at most as much.
        margin = 0.3 * (jnp.asarray(columns[0] - columns[2]) - jnp.asarray(columns[1] - columns[3]))
        margins = beta * (margin / 0.3)
        limit = 4 * np.finfo(theta.dtype).eps * (1 + np.abs(np.asarray(margins)))
        assert (np.abs(np.asarray(theta) - np.asarray(alignment.dpo(*columns, beta=beta))) <= limit).all()
    gap = columns[0]
    theta = mallows_theta_log_link(gap, dispersion=np.exp(-0.5))
    limit = 2 * np.finfo(theta.dtype).eps  # e^{-1/2} itself is rounded
    np.testing.assert_allclose(theta, jax.nn.log_sigmoid(jnp.asarray(gap, dtype=float)), rtol=20 * limit)
    close_to_dpo = alignment.mallows_theta(*columns, beta=0.3, dispersion=np.exp(-0.5))
    np.testing.assert_allclose(close_to_dpo, alignment.dpo(*columns, beta=0.3), rtol=20 * limit)
    assert np.array_equal(
        alignment.mallows_theta(*columns, beta=0.3, dispersion=1.0), jnp.full(50, jnp.log(2.0))
    )  # at φ = 1 the weight vanishes


@jax.jit
def phi_slopes(gaps, phi):
    """Values and derivatives of log g by s, compiled once for all φ."""
    return jax.vmap(jax.value_and_grad(lambda s, phi: mallows_phi_log_link(s, dispersion=phi)), (0, None))(gaps, phi)


GAPS = (1e-6, 1e-3, 0.1, 0.9, 1.0, 3.0, 30.0, 300.0)
CLOSE_TO_ONE = (1e-6, 1e-3, 0.2, 0.5, 0.9, 0.99, 0.9999, 1 - 2.0**-20, 1 - 2.0**-24)


@pytest.mark.parametrize("phi", CLOSE_TO_ONE)
def test_phi_link_and_its_derivative_in_100_digits(phi, x64):
    gaps = np.array([sign * gap for gap in GAPS for sign in (1, -1)]).astype(np.float32).astype(float)
    phi = float(np.float32(phi))  # what float32 sees
    found = phi_slopes(jnp.array(gaps), phi)
    in_digits(found, functools.partial(phi_miss, phi=Decimal(phi)), gaps, np.log(phi), x64)


def test_phi_link_near_consensus_is_finite_and_its_values_exact():
    phi = float(np.float32(1e-30))
    gaps = np.array([-300.0, -1.0, -0.125, 0.125, 1.0, 300.0])
    found, slopes = phi_slopes(jnp.array(gaps), phi)
    expected = np.array([log_link_in_digits(functools.partial(phi_miss, phi=Decimal(phi)), gap) for gap in gaps])
    np.testing.assert_allclose(found, expected[:, 0], rtol=1e-5, atol=1e-37)
    # in float32 a derivative below 1e-27 loses a hundredth: what it is made of underflows on the way back
    np.testing.assert_allclose(slopes, expected[:, 1], rtol=1e-5, atol=1e-27)


@pytest.mark.parametrize(
    "kind", ["below the smallest normal number", "the smallest number", "the smallest normal number"]
)
def test_links_of_the_smallest_dispersions_in_100_digits(kind, x64):
    precision = np.finfo(np.float64 if x64 else np.float32)
    phi = {
        "below the smallest normal number": 1e-310 if x64 else float(np.float32(1e-40)),
        "the smallest number": float(precision.smallest_subnormal),
        "the smallest normal number": float(precision.tiny),
    }[kind]
    with localcontext() as context:
        context.prec = 110
        a = float(-Decimal(phi).ln())
    gaps = np.array([-300.0, -1.0, -0.125, 0.125, 1.0, 300.0])
    for link, miss in (
        (mallows_phi_log_link, functools.partial(phi_miss, phi=Decimal(phi))),
        (mallows_phi_limit_log_link, lambda t: limit_miss(-Decimal(phi).ln() * t)),
    ):
        found = link(gaps, dispersion=phi)
        expected = np.array([log_link_in_digits(miss, gap)[0] for gap in gaps])
        np.testing.assert_allclose(found, expected, rtol=1e-13 if x64 else 1e-5, atol=4 * float(precision.tiny))
    theta = mallows_theta_log_link(gaps, dispersion=phi)
    np.testing.assert_allclose(theta, -np.logaddexp(0, -2 * a * gaps), rtol=1e-13 if x64 else 1e-5, atol=1e-37)


def test_phi_link_of_certain_consensus_is_its_limit_inside_jit():
    found = jax.jit(mallows_phi_log_link)(jnp.array([-2.0, -0.5, 0.0, 0.5, 2.0]), dispersion=0.0)
    np.testing.assert_allclose(found, [-np.inf, -np.inf, np.log(0.5), 0, 0], rtol=1e-6)


def test_limit_link_and_its_derivative_in_100_digits(x64):
    gaps = np.array([sign * gap for gap in GAPS for sign in (1, -1)]).astype(np.float32).astype(float)
    with localcontext() as context:
        context.prec = 110
        a = Decimal(2).ln()
    link = functools.partial(mallows_phi_limit_log_link, dispersion=0.5)
    value, slope = jax.value_and_grad(link)(0.0)
    np.testing.assert_allclose([value, slope], [np.log(0.5), np.log(2) / 3], rtol=1e-6)  # g'(u) = 1/6 at 0
    found = jax.jit(jax.vmap(jax.value_and_grad(link)))(jnp.array(gaps))
    in_digits(found, lambda t: limit_miss(a * t), gaps, np.log(0.5), x64)


def in_digits(found, miss, gaps, exponent, x64):
    """Values and derivatives to some roundings; where s > 0, log g = -e^{-a s}...: of the exponent as well."""
    expected = np.array([log_link_in_digits(miss, gap) for gap in gaps])
    precision = np.finfo(np.float64 if x64 else np.float32)
    limit = 40 * float(precision.eps) * (1 + np.abs((gaps + 1) * exponent) * (gaps > 0))
    for got, wanted in zip(found, expected.T, strict=True):
        assert np.isfinite(got).all()
        error = np.abs(np.array(got, dtype=float) - wanted)
        assert (error <= limit * np.abs(wanted) + 10 * float(precision.tiny)).all(), (error, wanted)


def test_phi_link_tends_to_its_continuous_limit():
    u, gaps = np.array([-5.0, -0.5, 0.5, 5.0]), []
    for phi in (0.9, 0.99, 0.999):
        s = -u / np.log(phi)
        exact, limit = (
            np.exp(function(s, dispersion=phi)) for function in (mallows_phi_log_link, mallows_phi_limit_log_link)
        )
        gaps.append(np.abs(exact - limit).max())
    assert gaps[0] > 5 * gaps[1] > 25 * gaps[2] > 0


def test_phi_link_at_zero_is_a_half_with_the_derivative_of_both_sides(x64):
    for phi in (*SPREADS, 0.9999):
        (below, value, above), slopes = phi_slopes(jnp.array([-1e-7, 0.0, 1e-7]), phi)
        assert value == jnp.log(0.5)
        assert slopes[1] > 0
        sides = np.exp([below, above]) * slopes[np.array([0, 2])]  # g' = g (log g)'
        np.testing.assert_allclose(sides, np.full(2, 0.5 * slopes[1]), rtol=1e-5)
        jump = 2 / (1 - phi) + 2 / np.log(phi) - 1
        np.testing.assert_allclose(np.exp(above) - np.exp(below), jump, atol=1e-6, rtol=1e-5)
    loss = functools.partial(alignment.mallows_phi, reference_chosen=-1.0, reference_rejected=-2.0)
    slope = jax.grad(lambda c, r: loss(c, r, beta=0.1, dispersion=0.5), argnums=(0, 1))(-1.0, -2.0)
    assert slope[0] < 0 < slope[1]  # training from the reference moves


def test_uniform_dispersion_is_indifferent_and_its_gradients_are_finite():
    gaps = jnp.array([-300.0, -1.0, 0.0, 1.0, 300.0])
    for link in (mallows_phi_log_link, mallows_phi_limit_log_link):
        np.testing.assert_allclose(link(gaps, dispersion=1.0), np.full(5, np.log(0.5)), rtol=1e-6)
        slopes = jax.jit(jax.vmap(jax.grad(lambda s, phi: link(s, dispersion=phi), (0, 1)), (0, None)))  # noqa: B023
        np.testing.assert_allclose(slopes(gaps, 1.0)[0], np.zeros(5), atol=1e-9)
        assert np.isfinite(slopes(gaps, 0.999)).all()
        assert np.isfinite(slopes(gaps, 1.0)).all()


@settings(deadline=None, derandomize=True, max_examples=25)
@given(
    st.floats(-300, 300, width=32),
    st.floats(-300, 300, width=32),
    st.floats(0.0009765625, 1, width=32),
)
def test_links_are_probabilities_that_grow(s, t, phi):
    for link in (
        mallows_phi_log_link,
        mallows_phi_limit_log_link,
        mallows_theta_log_link,
    ):
        low, high, back = np.exp(link(np.array([min(s, t), max(s, t), -max(s, t)]), dispersion=phi))
        np.testing.assert_allclose(high + back, 1, atol=1e-6)
        assert 0 <= low <= high + 1e-6 <= 1 + 2e-6
    for divergence in alignment.divergences:
        score = alignment.divergences[divergence]
        gap = 0.5 * (score(min(s, 50.0)) - score(min(t, 50.0)))
        if np.isfinite(gap) and abs(gap) < 1e30:
            loss = alignment.mallows_theta(
                min(s, 50.0), min(t, 50.0), 0.0, 0.0, beta=0.5, dispersion=phi, divergence=divergence
            )
            np.testing.assert_allclose(loss, -mallows_theta_log_link(gap, dispersion=phi), rtol=1e-5)


MISTAKES = [
    (lambda: alignment.mallows_theta(*GOOD, beta=1.0, dispersion=0.0), r"dispersion: .*\(0, 1\]; got 0"),
    (lambda: alignment.mallows_phi(*GOOD, beta=1.0, dispersion=1.5), "dispersion: .*got 1.5"),
    (lambda: alignment.mallows_phi_limit(*GOOD, beta=1.0, dispersion=np.nan), "dispersion: .*got nan"),
]


@pytest.mark.mistakes
@pytest.mark.parametrize(("call", "message"), MISTAKES)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
