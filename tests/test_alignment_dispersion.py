"""From token log-probabilities to a response's: masks, weights, and how widely responses are dispersed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import alignment


def test_what_is_masked_does_not_matter_nor_its_gradient(close):
    tokens, mask = jnp.array([jnp.nan, -1.0, -2.0, -jnp.inf]), np.array([0, 1, 1, 0])
    for function, expected in (
        (alignment.response_log_prob, [0, 1, 1, 0]),
        (alignment.negative_log_likelihood, [0, -1, -1, 0]),
        (lambda t, m: alignment.desensitised_log_prob(t, m, 1, alpha=0.25), [0, 1, 0.25, 0]),
    ):
        value, slope = jax.value_and_grad(function)(tokens, mask)
        close(slope, expected)
        close(value, np.array(expected)[1:3] @ [-1.0, -2.0])
    close(alignment.confidence_weight(tokens, mask, [0.0, -0.5, -0.5, 0.0]), np.exp(-1.0))


def test_no_gradient_goes_through_a_weight():
    slope = jax.grad(lambda tokens: alignment.confidence_weight(tokens, np.array([1, 1, 0])))(jnp.array([-1.0, -2, 0]))
    assert not slope.any()


def test_entropy_index_is_its_formula_and_ignores_what_is_masked(rng, close):
    entropies = rng.uniform(0, np.log(7), size=(2, 5))
    masks = np.array([[0, 1, 1, 1, 0], [0, 0, 1, 0, 0]])
    expected = np.mean([row[mask == 1].mean() / np.log(7) for row, mask in zip(entropies, masks, strict=True)])
    entropies = np.where(masks == 1, entropies, np.nan)
    found = alignment.entropy_index(entropies[0], masks[0], entropies[1], masks[1], vocabulary=7)
    close(found, expected)
    assert alignment.entropy_index([0.0], [1], [0.0], [1], vocabulary=7, floor=0.125) == 0.125
    assert not jax.grad(lambda e: alignment.entropy_index(e, masks[0], e, masks[1], vocabulary=7))(jnp.ones(5)).any()


def test_response_entropy_index_of_tables(close):
    reference = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.9, 0.05, 0.05]])
    with np.errstate(divide="ignore"):
        found = alignment.response_entropy_index(np.log(reference) + 2, floor=0.01)
    last = -(0.9 * np.log(0.9) + 0.1 * np.log(0.05)) / np.log(3)
    close(found, [1.0, 0.01, 1.0, last])


def test_an_index_becomes_a_weight_and_a_dispersion(close):
    index = np.array([0.01, 0.25, 0.5, 1.0])
    weight = alignment.dispersion_weight(index, scale=0.29)
    close(weight, -0.29 * np.log(index))
    close(-2 * jnp.log(alignment.dispersion_from_index(index)), weight)
    close(alignment.dispersion_from_index(index, scale=2.0), index)


MISTAKES = [
    (lambda: alignment.response_log_prob([-1.0, -1.0], [0, 0]), "mask: expected a response of at least one token"),
    (lambda: alignment.response_log_prob([-1.0, np.nan], [1, 1]), "token_log_probs: expected finite"),
    (lambda: alignment.response_log_prob([-1.0, -1.0], [1]), "token_log_probs: .*mask of that length"),
    (lambda: alignment.desensitised_log_prob([-1.0], [1], 1, alpha=2.0), r"alpha: .*\[0, 1\]; got 2"),
    (lambda: alignment.entropy_index([0.5], [1], [0.5], [1], vocabulary=1), "vocabulary: expected at least 2"),
    (lambda: alignment.entropy_index([-0.5], [1], [0.5], [1], vocabulary=9), "chosen_entropies: .*not negative"),
    (lambda: alignment.entropy_index([0.5], [1], [0.5], [1], vocabulary=9, floor=0.0), r"floor: .*\(0, 1\]"),
    (lambda: alignment.dispersion_from_index(0.0), r"index: .*\(0, 1\]; got 0"),
    (lambda: alignment.dispersion_weight(0.5, scale=-1.0), "scale: .*got -1"),
    (lambda: alignment.response_entropy_index([-np.inf, -np.inf]), "reference: .*row of -inf"),
]


@pytest.mark.mistakes
@pytest.mark.parametrize(("call", "message"), MISTAKES)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
