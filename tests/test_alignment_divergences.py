"""Divergences between policy and reference, inside the losses and on their own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from losses_by_definition import RATIOS, loss_of_ratios

from jaxval import alignment

numbers = st.floats(-50, 50, width=32)
shares = st.floats(0, 0.4375, width=32)


@pytest.mark.parametrize("name", ["forward_kl", "jensen_shannon"])  # reverse_kl: above
def test_divergences_at_extreme_ratios_stay_finite(name, x64):
    for loss in ("dpo", "exo", "discopop", "bco", "mallows_phi"):
        options = {"dispersion": 0.5} if loss.startswith("mallows") else {}
        function = functools.partial(loss_of_ratios, loss, divergence=name, **options)
        p, m = (jnp.array(column) for column in RATIOS.T.copy())
        found, slopes = jax.jit(jax.vmap(jax.value_and_grad(function, argnums=(0, 1))))(p, m)
        assert np.isfinite(found).all(), loss
        assert np.isfinite(slopes).all(), loss


def test_divergences_are_derivatives_of_their_functions(close):
    ratio = np.array([0.25, 0.5, 1.0, 2.0, 5.0])
    log_ratio = jnp.log(jnp.array(ratio))
    close(alignment.reverse_kl(log_ratio), np.log(ratio))
    close(alignment.forward_kl(log_ratio), 1 - 1 / ratio)
    close(alignment.jensen_shannon(log_ratio), np.log(2 * ratio / (1 + ratio)))
    for alpha in (-1.0, 0.0, 0.5, 2.0):
        expected = (ratio ** (alpha - 1) - 1) / (alpha - 1)
        close(alignment.alpha_divergence(log_ratio, alpha=alpha) / expected[-1], expected / expected[-1])
    close(alignment.alpha_divergence(log_ratio, alpha=1.0), np.log(ratio))
    beyond = alignment.alpha_divergence(log_ratio, alpha=1 + 1e-6)  # continuous there
    np.testing.assert_allclose(beyond, np.log(ratio), atol=1e-5)


def test_alpha_divergence_at_extreme_ratios_has_finite_values_and_gradients():
    for alpha in (0.0, 0.5, 2.0):
        score = functools.partial(alignment.alpha_divergence, alpha=alpha)
        log_ratios = jnp.array([-1000.0, -300.0, 300.0, 1000.0])
        assert np.isfinite(score(log_ratios)).all()
        assert np.isfinite(jax.vmap(jax.grad(score))(log_ratios)).all()
        assert (np.diff(score(log_ratios)) >= 0).all()


@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.tuples(numbers, numbers, numbers, numbers), shares)
def test_label_smoothing_and_its_inverse(pair, flipped):
    chosen, rejected, base_chosen, base_rejected = pair
    swapped = (rejected, chosen, base_rejected, base_chosen)
    for divergence in alignment.divergences:
        right, wrong = (alignment.dpo(*p, beta=0.1, divergence=divergence) for p in (pair, swapped))
        if not np.isfinite([right, wrong]).all() or max(right, wrong) > 1e4:
            continue
        smoothed = alignment.dpo(*pair, beta=0.1, label_smoothing=flipped, divergence=divergence)
        np.testing.assert_allclose(smoothed, (1 - flipped) * right + flipped * wrong, rtol=1e-5, atol=1e-5)
        robust = [
            alignment.robust_dpo(*p, beta=0.1, label_smoothing=flipped, divergence=divergence) for p in (pair, swapped)
        ]
        unbiased = (1 - flipped) * robust[0] + flipped * robust[1]
        size = 1 + abs(robust[0]) + abs(robust[1])
        np.testing.assert_allclose(unbiased / size, right / size, atol=3e-6)
