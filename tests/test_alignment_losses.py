"""Every loss of preference pairs against its definition: values, gradients, options, and what users get wrong."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from losses_by_definition import BETA, DEFINITIONS, MARGIN_ONLY, RATIOS, loss_of_ratios, sigmoid

from jaxval import alignment

SETTINGS = settings(deadline=None, derandomize=True, max_examples=25)
GOOD = (-1.0, -2.0, -1.5, -1.5)
numbers = st.floats(-50, 50, width=32)


def test_every_loss_has_a_definition_here():
    assert {name.split(",")[0] for name in DEFINITIONS} | {"length_normalised_dpo"} == set(alignment.losses)
    for name, record in alignment.losses.items():
        assert record.function is getattr(alignment, name) is alignment.find_loss(name)
        assert name in alignment.__all__
        assert record.source
    assert not hasattr(alignment, "sigmoid")


@pytest.mark.once
def test_the_record_says_which_losses_are_smooth_and_convex():
    """Links without an obstacle have a positive second derivative and no jump at 0; every other link fails in one."""
    margins, sides = jnp.linspace(-6, 6, 49), jnp.array([-1e-6, 1e-6])
    for name in MARGIN_ONLY:
        record = alignment.losses[name.split(",")[0]]
        options = {} if name == "discopop" else DEFINITIONS[name][0]  # convex at the temperature tested above
        link = functools.partial(record.at, beta=BETA, **options)
        (below, above), curvatures = jax.jit(
            lambda link=link: (link(sides), jax.vmap(jax.grad(jax.grad(link)))(margins))
        )()
        convex = (curvatures > 0).all()
        assert record.of_margin
        assert bool(convex and abs(above - below) < 1e-3) == (not record.obstacle), name


def test_options_set_by_partial_are_in_the_record():
    margin = jnp.array(0.7)
    smoothed = alignment.registry.record_of(functools.partial(alignment.dpo, label_smoothing=0.25))
    np.testing.assert_allclose(
        smoothed.at(margin, beta=1.0), alignment.dpo(0.7, 0.0, 0.0, 0.0, beta=1.0, label_smoothing=0.25), rtol=1e-6
    )
    for unequal in ({"divergence": "forward_kl"}, {"chosen_length": 3}):
        assert alignment.registry.record_of(functools.partial(alignment.ipo, **unequal)).obstacle
    assert not alignment.registry.record_of(functools.partial(alignment.ipo, divergence="reverse_kl")).obstacle
    assert "margin_loss" in alignment.registry.record_of(lambda *pair, beta: 0.0).obstacle


def test_arguments_that_a_loss_lacks_are_named():
    with pytest.raises(TypeError, match="temprature"):
        alignment.discopop(*GOOD, beta=1.0, temprature=1.0)
    with pytest.raises(TypeError, match="beta"):
        alignment.dpo(*GOOD)
    with pytest.raises(TypeError, match="dispersion"):
        alignment.mallows_phi(*GOOD, beta=1.0)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_values_and_gradients_are_those_of_the_definition(name, x64):
    options, definition = DEFINITIONS[name]
    loss = functools.partial(loss_of_ratios, name, **options)
    p, m = (jnp.array(column) for column in RATIOS.T.copy())
    expected = np.array([definition(*row) for row in RATIOS])
    steps = 1e-5 * np.eye(2)
    slopes = np.array([[definition(*(row + h)) - definition(*(row - h)) for h in steps] for row in RATIOS]) / 2e-5
    found = loss(p, m)
    assert found.shape == p.shape
    np.testing.assert_allclose(found, expected, rtol=1e-12 if x64 else 3e-6, atol=1e-12 if x64 else 1e-6)
    found = np.stack(jax.jit(jax.vmap(jax.grad(loss, argnums=(0, 1))))(p, m), axis=1)
    assert np.isfinite(found).all()
    away = (RATIOS[:, 0] != RATIOS[:, 1]) | (name != "mallows_phi")  # it jumps at 0: tested apart
    np.testing.assert_allclose(found[away], slopes[away], rtol=1e-6 if x64 else 1e-5, atol=1e-6 if x64 else 3e-6)


@SETTINGS
@given(st.tuples(numbers, numbers, numbers, numbers), st.floats(-20, 20, width=32))
def test_losses_of_the_margin_depend_on_nothing_else(pair, shift):
    chosen, rejected, base_chosen, base_rejected = pair
    same = [
        (chosen + shift, rejected, base_chosen + shift, base_rejected),
        (chosen, rejected + shift, base_chosen, base_rejected + shift),
        (chosen + shift, rejected + shift, base_chosen, base_rejected),
        (chosen, rejected, base_chosen + shift, base_rejected + shift),
    ]
    columns = np.array([pair, *same], dtype=float).T
    for name in MARGIN_ONLY:
        losses = alignment.find_loss(name.split(",")[0])(*columns, beta=BETA, **DEFINITIONS[name][0])
        jump = name == "mallows_phi" and abs(chosen - base_chosen - rejected + base_rejected) < 1e-3
        if not jump:
            np.testing.assert_allclose(losses, np.full(5, losses[0]), rtol=1e-4, atol=1e-4)


def test_exo_is_a_divergence_and_its_minimum_is_where_the_margin_says_so():
    margin = jnp.array(np.log(0.9 / 0.1))
    loss = functools.partial(alignment.exo, rejected=0.0, reference_chosen=0.0, reference_rejected=0.0, beta=1.0)
    value, slope = jax.value_and_grad(lambda m: loss(m, label_smoothing=0.1))(margin)
    np.testing.assert_allclose([value, slope], [0, 0], atol=1e-6)


def test_lengths_divide_log_ratios(close):
    pair = (-2.0, -3.0, -4.0, -1.0)  # log-ratios 2 and -2
    close(alignment.ipo(*pair, 4, 2, beta=1.0), (0.5 + 1 - 0.5) ** 2)
    close(alignment.length_normalised_dpo(*pair, 4, 2, beta=2.0), np.log1p(np.exp(-3.0)))
    close(alignment.length_normalised_dpo(*pair, 1, 1, beta=2.0), alignment.dpo(*pair, beta=2.0))


def test_weights_and_temperatures_of_pairs_are_the_callers(rng, close, x64):
    columns = jnp.array(rng.normal(size=(4, 6)))
    betas, weights = jnp.array(rng.uniform(0.1, 1, 6)), jnp.array(rng.uniform(0, 2, 6))

    @jax.jit
    @chex.assert_max_traces(1)
    def mean(columns, weights, betas):
        each = jax.vmap(lambda pair, beta: alignment.dpo(*pair, beta=beta), in_axes=(1, 0))(columns, betas)
        return jnp.mean(weights * each)

    slope = jax.grad(lambda c: jnp.mean(weights * alignment.dpo(*c, beta=betas)))(columns)
    expected = [alignment.dpo(*columns[:, i], beta=betas[i]) for i in range(6)]
    chex.clear_trace_counter()
    for _ in range(2):
        close(mean(columns, weights, betas), np.mean(np.array(expected) * np.array(weights)))
    margin = np.array(columns[0] - columns[2] - columns[1] + columns[3])
    close(slope[0], -np.array(weights * betas) * sigmoid(-np.array(betas) * margin) / 6)


def test_no_gradient_goes_through_a_shift():
    assert jax.grad(lambda delta: alignment.bco(-1.0, -2.0, -1.5, -1.5, beta=1.0, shift=delta))(0.5) == 0


# --- What users get wrong -------------------------------------------------------------------------------------------


MISTAKES = [
    (lambda: alignment.find_loss("sigmoid"), r"loss: expected one of 'dpo', .*; got 'sigmoid'"),
    (lambda: alignment.dpo(*GOOD, beta=-0.1), "beta: expected a positive finite number; got -0.1"),
    (lambda: alignment.dpo(*GOOD, beta=0.0), "beta: expected a positive finite number; got 0"),
    (lambda: alignment.hinge(*GOOD, beta=np.inf), "beta: .*; got inf"),
    (lambda: alignment.nca(*GOOD, beta=np.nan), "beta: .*; got nan"),
    (lambda: alignment.dpo(*GOOD, beta="0.1"), "beta"),
    (lambda: alignment.dpo(*GOOD, beta=None), "beta: .*NoneType"),
    (lambda: alignment.dpo(*GOOD, beta=1.0, label_smoothing=0.5), r"label_smoothing: .*\[0, 1/2\); got 0.5"),
    (lambda: alignment.robust_dpo(*GOOD, beta=1.0, label_smoothing=0.5), r"label_smoothing: .*\[0, 1/2\)"),
    (lambda: alignment.robust_dpo(*GOOD, beta=1.0, label_smoothing=-0.1), "label_smoothing: .*got -0.1"),
    (lambda: alignment.exo(*GOOD, beta=1.0, label_smoothing=0.0), r"label_smoothing: .*\(0, 1/2\); got 0"),
    (lambda: alignment.discopop(*GOOD, beta=1.0, temperature=0.0), "temperature: expected a positive number"),
    (lambda: alignment.sppo(*GOOD, beta=1.0, probability=1.5), r"probability: .*\[0, 1\]; got 1.5"),
    (lambda: alignment.bco(*GOOD, beta=1.0, shift=np.nan), "shift: .*got nan"),
    (lambda: alignment.dpo(*GOOD, beta=1.0, divergence="js"), "divergence: expected one of 'reverse_kl'.*'js'"),
    (lambda: alignment.dpo(*GOOD, beta=1.0, divergence="alpha_divergence"), "functools.partial"),
    (lambda: alignment.alpha_divergence(1.0, alpha=np.nan), "alpha: .*got nan"),
    (lambda: alignment.dpo(np.nan, *GOOD[1:], beta=1.0), "chosen: expected finite log-probabilities.*got nan"),
    (lambda: alignment.ipo(*GOOD[:3], -np.inf, beta=1.0), "reference_rejected: expected finite.*got -inf"),
    (lambda: alignment.dpo([-1.0, -2.0], [-1.0] * 3, -1.0, -1.0, beta=1.0), r"rejected: .*\(2,\); got \(3,\)"),
    (lambda: alignment.ipo(*GOOD, 0, 3, beta=1.0), "chosen_length: expected lengths of at least one.*got 0"),
    (lambda: alignment.length_normalised_dpo(*GOOD, 3, 0, beta=1.0), "rejected_length: .*got 0"),
    (lambda: alignment.aot(*GOOD, beta=1.0), "whole batch: call it without vmap"),
]


@pytest.mark.mistakes
@pytest.mark.parametrize(("call", "message"), MISTAKES)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_known_options_are_checked_inside_a_transformation_too():
    with pytest.raises(ValueError, match="beta"):
        jax.jit(lambda c: alignment.dpo(c, -1.0, -1.0, -1.0, beta=-1.0))(jnp.array(-1.0))
    with pytest.raises(ValueError, match="label_smoothing"):
        jax.vmap(lambda c: alignment.exo(c, -1.0, -1.0, -1.0, beta=1.0, label_smoothing=0.5))(jnp.zeros(2))
