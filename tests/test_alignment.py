"""Losses against TRL's numbers and plain NumPy definitions, Mallows links against enumerated rankings, closed forms."""

import functools
import itertools
import json
from decimal import Decimal, localcontext

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxval import alignment, preferences
from jaxval.types import Comparisons

SETTINGS = settings(deadline=None, derandomize=True, max_examples=25)

# --- What TRL computes ----------------------------------------------------------------------------------------------

TRL = {
    "sigmoid": "dpo",
    "robust": "robust_dpo",
    "exo_pair": "exo",
    "nca_pair": "nca",
    "bco_pair": "bco",
    "sppo_hard": "sppo",
    "sigmoid_norm": "length_normalised_dpo",
}
DIVERGENCES = {"forward_kl": "forward_kl", "js_divergence": "jensen_shannon"}


def trl_losses(kind, pair, lengths, options):
    """One loss for each pair by the name that TRL has for it."""
    if kind in ("aot", "aot_unpaired"):
        return getattr(alignment, kind)(*pair, **options)
    name = TRL.get(kind, kind)
    if name in ("ipo", "length_normalised_dpo"):
        pair = (*pair, *lengths)
    return alignment.find_loss(name)(*pair, **options)


def trl_batch(case, tokens):
    """The loss of a batch and its implicit rewards, from the policy's token log-probabilities, chosen rows first."""
    params, mask = case["params"], np.array(case["mask"])
    reference, lengths = np.array(case["ref_token_logps"]), np.split(mask.sum(axis=1), 2)
    options = {
        new: params[old]
        for old, new in (("beta", "beta"), ("label_smoothing", "label_smoothing"), ("discopop_tau", "temperature"))
        if old in params
    }
    if "f_div" in params:
        options["divergence"] = DIVERGENCES.get(params["f_div"]) or functools.partial(
            alignment.alpha_divergence, alpha=params["f_alpha"]
        )
    add = alignment.response_log_prob
    arguments = ()
    if "ld_alpha" in params:
        add = functools.partial(alignment.desensitised_log_prob, alpha=params["ld_alpha"])
        arguments = (np.tile(np.minimum(*lengths), 2),)
    log_probs, base = (jax.vmap(add)(rows, mask, *arguments) for rows in (tokens, reference))
    (chosen, rejected), (base_chosen, base_rejected) = jnp.split(log_probs, 2), jnp.split(base, 2)
    weights = jnp.ones(len(chosen))
    if params.get("use_weighting"):
        both = jax.vmap(alignment.confidence_weight)(tokens, mask, np.array(case["log_sum_sq_probs"]))
        weights = jnp.prod(both.reshape(2, -1), axis=0)
    loss = 0.0
    for kind, share in zip(case["loss_type"], params.get("weights", [1.0]), strict=True):
        if kind == "sft":
            told = jax.vmap(alignment.negative_log_likelihood)(jnp.split(tokens, 2)[0], np.split(mask, 2)[0])
            loss += share * jnp.sum(told) / lengths[0].sum()
        else:
            pair = (chosen, rejected, base_chosen, base_rejected)
            loss += share * jnp.mean(weights * trl_losses(kind, pair, lengths, options))
    beta = params["beta"]
    rewards = [
        alignment.implicit_reward(chosen, base_chosen, beta=beta),
        alignment.implicit_reward(rejected, base_rejected, beta=beta),
    ]
    return loss, (rewards, chosen, rejected)


def test_losses_rewards_and_gradients_are_those_of_trl(vectors_path, x64):
    path = vectors_path("dpo_trl.json")
    cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
    assert len(cases) == 39
    for case in cases:
        exact = "error" not in case["out"]["f64"]  # where its float64 path fails, TRL computed in float32
        limit = 1e-10 if x64 and exact and "exo_pair" not in case["loss_type"] else 1e-7 if x64 and exact else 1e-6
        told = case["out"]["f64" if exact else "f32"]
        tokens = jnp.array(case["policy_token_logps"], dtype=float)
        batch = jax.jit(jax.value_and_grad(functools.partial(trl_batch, case), has_aux=True))
        (loss, (rewards, chosen, rejected)), slope = batch(tokens)
        found = {
            "rewards/chosen": rewards[0].mean(),
            "rewards/rejected": rewards[1].mean(),
            "rewards/accuracies": (rewards[0] > rewards[1]).mean(),
            "rewards/margins": (rewards[0] - rewards[1]).mean(),
            "logps/chosen": chosen.mean(),
            "logps/rejected": rejected.mean(),
        }
        assert set(found) == set(told["metrics"])
        check = functools.partial(np.testing.assert_allclose, rtol=limit, atol=limit, err_msg=case["name"])
        check(loss, told["loss"])
        for name, value in found.items():
            # TRL averages the accuracies in float32, whatever the rest is in
            check(value, told["metrics"][name], **({"atol": 1e-7} if name == "rewards/accuracies" else {}))
        check(slope, case["grad_policy_token_logps"])


# --- Every loss against its definition ------------------------------------------------------------------------------


def log_sigmoid(x):
    return -np.logaddexp(0, -x)


def sigmoid(x):
    return np.exp(log_sigmoid(x))


def phi_by_definition(s, phi):
    """log g(s) of the link φ in 250 digits, straight from (s+1)/(1-φ^{s+1}) - s/(1-φ^s)."""
    with localcontext() as context:
        context.prec = 250
        t, phi = Decimal(float(abs(s))), Decimal(float(phi))
        g = (t + 1) / (1 - phi ** (t + 1)) - t / (1 - phi**t) if t else Decimal("0.5")
        return float((g if s >= 0 else 1 - g).ln())


def limit_by_definition(u):
    """log g(u) of the continuous limit in 250 digits, straight from (1 - e^{-u} - u e^{-u}) / (1 - e^{-u})²."""
    with localcontext() as context:
        context.prec = 250
        t = Decimal(float(abs(u)))
        e = (-t).exp()
        g = (1 - e - t * e) / (1 - e) ** 2 if t else Decimal("0.5")
        return float((g if u >= 0 else 1 - g).ln())


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


BETA, FLIPPED, DISPERSION = 0.5, 0.25, 0.5
DEFINITIONS = {  # of (r+, r-), the log-ratios of both responses; β = 1/2
    "dpo": ({}, lambda p, m: -log_sigmoid(BETA * (p - m))),
    "dpo, smoothed": (
        {"label_smoothing": FLIPPED},
        lambda p, m: -0.75 * log_sigmoid(BETA * (p - m)) - 0.25 * log_sigmoid(BETA * (m - p)),
    ),
    "robust_dpo": (
        {"label_smoothing": FLIPPED},
        lambda p, m: (-0.75 * log_sigmoid(BETA * (p - m)) + 0.25 * log_sigmoid(BETA * (m - p))) / 0.5,
    ),
    "hinge": ({}, lambda p, m: max(0.0, 1 - BETA * (p - m))),
    "ipo": ({}, lambda p, m: (p - m - 1) ** 2),
    "exo": (
        {"label_smoothing": FLIPPED},
        lambda p, m: (
            sigmoid(BETA * (p - m)) * (log_sigmoid(BETA * (p - m)) - np.log(0.75))
            + sigmoid(BETA * (m - p)) * (log_sigmoid(BETA * (m - p)) - np.log(0.25))
        ),
    ),
    "discopop": (
        {"temperature": 0.5},
        lambda p, m: -log_sigmoid(BETA * (p - m)) * sigmoid(m - p) + np.exp(-BETA * (p - m) + log_sigmoid(p - m)),
    ),
    "nca": (
        {},
        lambda p, m: -log_sigmoid(BETA * p) - log_sigmoid(-BETA * p) / 2 - log_sigmoid(-BETA * m) / 2,
    ),
    "bco": ({"shift": 0.25}, lambda p, m: -log_sigmoid(BETA * p - 0.25) - log_sigmoid(0.25 - BETA * m)),
    "sppo": ({"probability": 0.75}, lambda p, m: (p - 0.5) ** 2 + (m + 0.5) ** 2),
    "apo_zero": ({}, lambda p, m: 1 - sigmoid(BETA * p) + sigmoid(BETA * m)),
    "apo_down": ({}, lambda p, m: sigmoid(BETA * p) + 1 - sigmoid(BETA * (p - m))),
    "mallows_theta": ({"dispersion": DISPERSION}, lambda p, m: -log_sigmoid(np.log(4) * BETA * (p - m))),
    "mallows_phi": ({"dispersion": DISPERSION}, lambda p, m: -phi_by_definition(BETA * (p - m), DISPERSION)),
    "mallows_phi_limit": (
        {"dispersion": DISPERSION},
        lambda p, m: -limit_by_definition(np.log(2) * BETA * (p - m)),
    ),
}
MARGIN_ONLY = {"dpo", "dpo, smoothed", "robust_dpo", "hinge", "ipo", "exo", "discopop"} | {
    name for name in DEFINITIONS if name.startswith("mallows")
}
RATIOS = np.array(  # log-ratios; the last rows give |s| = 300 with β = 1/2
    [[0.5, -0.25], [-1.5, 2.0], [0.25, 0.25], [4.0, 1.0], [-3.0, -3.5], [30.0, -30.0], [-300.0, 300.0], [300.0, -300.0]]
)


def loss_of_ratios(name, p, m, **options):
    """The loss at references of -7 and -3, with every option of its definition."""
    loss = alignment.find_loss(name.split(",")[0])
    return loss(p - 7, m - 3, jnp.full_like(p, -7), jnp.full_like(m, -3), beta=BETA, **options)


def test_every_loss_has_a_definition_here():
    assert {name.split(",")[0] for name in DEFINITIONS} | {"length_normalised_dpo"} == set(alignment.losses)
    for name, record in alignment.losses.items():
        assert record.function is getattr(alignment, name) is alignment.find_loss(name)
        assert name in alignment.__all__
        assert record.source
    assert not hasattr(alignment, "sigmoid")


def test_the_record_says_which_losses_are_smooth_and_convex():
    """Links without an obstacle have a positive second derivative and no jump at 0; every other link fails in one."""
    margins = jnp.linspace(-6, 6, 49)
    for name in MARGIN_ONLY:
        record = alignment.losses[name.split(",")[0]]
        options = {} if name == "discopop" else DEFINITIONS[name][0]  # convex at the temperature tested above
        link = functools.partial(record.at, beta=BETA, **options)
        below, above = link(jnp.array([-1e-6, 1e-6]))
        convex = (jax.vmap(jax.grad(jax.grad(link)))(margins) > 0).all()
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


numbers = st.floats(-50, 50, width=32)
shares = st.floats(0, 0.4375, width=32)


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


@SETTINGS
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


def test_no_gradient_goes_through_a_shift_or_a_weight():
    assert jax.grad(lambda delta: alignment.bco(-1.0, -2.0, -1.5, -1.5, beta=1.0, shift=delta))(0.5) == 0
    slope = jax.grad(lambda tokens: alignment.confidence_weight(tokens, np.array([1, 1, 0])))(jnp.array([-1.0, -2, 0]))
    assert not slope.any()


# --- Mallows --------------------------------------------------------------------------------------------------------

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


@SETTINGS
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


# --- Dispersion -----------------------------------------------------------------------------------------------------


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


# --- Closed forms ---------------------------------------------------------------------------------------------------


def test_kl_policy_is_the_tilted_reference(rng, close):
    reference, rewards = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))
    for beta in (0.1, 1.0, 25.0):
        tilted = np.exp(reference + rewards / beta)
        expected = tilted / tilted.sum(axis=-1, keepdims=True)
        close(np.exp(alignment.kl_policy(reference, rewards, beta=beta)), expected)
    base = np.exp(reference) / np.exp(reference).sum(axis=-1, keepdims=True)
    close(np.exp(alignment.kl_policy(reference, rewards, beta=np.inf)), base)
    policy = alignment.kl_policy(np.log(base), rewards, beta=0.5)
    back = alignment.implicit_reward(policy, np.log(base), beta=0.5)
    close(back - back[..., :1], rewards - rewards[..., :1], atol=1e-5 if back.dtype == jnp.float32 else 1e-12)


def test_kl_policy_maximises_the_regularised_reward(rng):
    base, rewards = rng.dirichlet(np.ones(4)), rng.normal(size=4)

    def objective(policy):
        return policy @ rewards - 0.3 * policy @ (np.log(policy) - np.log(base))

    best = np.exp(np.array(alignment.kl_policy(np.log(base), rewards, beta=0.3), dtype=float))
    others = [objective(policy) for policy in rng.dirichlet(np.ones(4), size=200)]
    nearby = [objective(0.99 * best + 0.01 * policy) for policy in rng.dirichlet(np.ones(4), size=200)]
    assert max(*others, *nearby) <= objective(best / best.sum()) + 1e-7


def test_kl_policy_at_no_temperature_shares_ties_in_proportion_to_the_reference(close):
    with np.errstate(divide="ignore"):
        reference = np.log([[0.2, 0.6, 0.2, 0.0], [0.0, 0.5, 0.25, 0.25]])
    rewards = np.array([[1.0, 1.0, 0.5, 9.0], [np.nan, 0.0, 2.0, 2.0 + 1e-12]])  # nobody can give the response at -inf
    greedy = alignment.kl_policy(reference, rewards, beta=0.0)
    close(np.exp(greedy), [[0.25, 0.75, 0, 0], [0, 0, 0.5, 0.5]])
    close(np.exp(alignment.kl_policy(reference, rewards, beta=1e-3)), np.exp(greedy), atol=1e-6)
    for beta in (0.0, 1e-300, 1.0, np.inf):
        policy = jax.jit(lambda b: alignment.kl_policy(reference, rewards, beta=b))(beta)
        assert (policy[:, [3, 0]].diagonal() == -np.inf).all()
        assert not np.isnan(policy).any()


def test_kl_policy_has_gradients_where_responses_are_missing():
    reference = jnp.array([-1.0, -1.0, -jnp.inf])
    slope = jax.grad(lambda r: alignment.kl_policy(reference, r, beta=0.5)[0])(jnp.array([0.3, 0.1, 0.0]))
    assert np.isfinite(slope).all()
    np.testing.assert_allclose(slope[0], 2 * sigmoid(-0.4), rtol=1e-5)


@pytest.fixture(scope="module")
def wins():
    return np.random.default_rng(3).integers(1, 9, size=(3, 4, 4)).astype(float)


def test_bradley_terry_rewards_solve_the_likelihoods_equations(wins, x64):
    rewards = np.array(preferences.bradley_terry(wins), dtype=float)
    np.testing.assert_allclose(rewards.sum(axis=1), 0, atol=1e-5)
    for table, reward in zip(wins * (1 - np.eye(4)), rewards, strict=True):
        expected = (table + table.T) * sigmoid(reward[:, None] - reward[None, :])
        np.testing.assert_allclose(table.sum(axis=1), expected.sum(axis=1), atol=1e-9 if x64 else 1e-3)


def test_the_optimum_of_dpo_is_the_closed_form_of_its_bradley_terry_fit(wins, rng, x64):
    reference = jax.nn.log_softmax(jnp.array(rng.normal(size=(3, 4))))
    policy = alignment.kl_policy(reference, preferences.bradley_terry(wins), beta=0.1)
    i, j = (index.ravel() for index in np.nonzero(1 - np.eye(4)))

    def total(log_probs):
        each = alignment.dpo(log_probs[:, i], log_probs[:, j], reference[:, i], reference[:, j], beta=0.1)
        return jnp.sum(wins[:, i, j] * each)

    np.testing.assert_allclose(jax.grad(total)(policy), np.zeros((3, 4)), atol=1e-9 if x64 else 1e-4)
    moved = policy + 0.1 * jnp.array(rng.normal(size=(3, 4)))
    assert total(moved) > total(policy)


def test_bradley_terry_loss_is_dpo_of_implicit_rewards(rng, close):
    columns = rng.normal(size=(4, 5))
    rewards = [alignment.implicit_reward(columns[k], columns[k + 2], beta=0.3) for k in (0, 1)]
    close(alignment.bradley_terry(*rewards), alignment.dpo(*columns, beta=0.3))


def test_context_wins_counts(rng):
    context, winner = rng.integers(3, size=30), rng.integers(4, size=30)
    loser, weight = (winner + rng.integers(1, 4, size=30)) % 4, rng.integers(1, 3, size=30).astype(float)
    expected = np.zeros((3, 4, 4))
    for row in zip(context, winner, loser, weight, strict=True):
        expected[row[:3]] += row[3]
    comparisons = Comparisons(context, winner, loser, weight)
    assert np.array_equal(preferences.count_wins(comparisons, contexts=3, alternatives=4), expected)


def test_a_context_without_a_finite_fit_is_nan_and_named(wins):
    apart = wins.copy()
    apart[1, :, 0] = 0  # nobody beats response 0
    rewards, diagnostics = preferences.bradley_terry_solve(apart)
    assert diagnostics.converged.tolist() == diagnostics.strongly_connected.tolist() == [True, False, True]
    assert np.isnan(rewards[1]).all()
    assert np.isfinite(rewards[0]).all()
    assert np.isnan(jax.jit(preferences.bradley_terry)(apart)[1]).all()
    with pytest.raises(ValueError, match=r"contexts \[1\]"):
        preferences.bradley_terry(apart)


# --- Tokens ---------------------------------------------------------------------------------------------------------


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


# --- What users get wrong -------------------------------------------------------------------------------------------

GOOD = (-1.0, -2.0, -1.5, -1.5)


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
    (lambda: alignment.mallows_theta(*GOOD, beta=1.0, dispersion=0.0), r"dispersion: .*\(0, 1\]; got 0"),
    (lambda: alignment.mallows_phi(*GOOD, beta=1.0, dispersion=1.5), "dispersion: .*got 1.5"),
    (lambda: alignment.mallows_phi_limit(*GOOD, beta=1.0, dispersion=np.nan), "dispersion: .*got nan"),
    (lambda: alignment.aot(*GOOD, beta=1.0), "whole batch: call it without vmap"),
    (lambda: alignment.kl_policy([-1.0, -1.0], [1.0, 2.0], beta=-1.0), r"beta: expected a number in \[0, inf\]"),
    (lambda: alignment.kl_policy([-1.0, -1.0], [1.0, np.nan], beta=1.0), "rewards: expected finite numbers"),
    (lambda: alignment.kl_policy([-1.0, np.nan], [1.0, 0.0], beta=1.0), "reference: .*got NaN"),
    (lambda: alignment.kl_policy([-np.inf, -np.inf], [1.0, 0.0], beta=1.0), "reference: .*a row without"),
    (lambda: alignment.kl_policy([-1.0, -1.0], [1.0], beta=1.0), r"rewards: .*\(2,\); got shape \(1,\)"),
    (lambda: alignment.kl_policy(-1.0, 1.0, beta=1.0), r"reference: .*\(\.\.\., responses\)"),
    (lambda: preferences.bradley_terry(np.ones((1, 2, 3))), "wins: .*shape"),
    (lambda: preferences.bradley_terry(-np.ones((1, 2, 2))), "wins: expected non-negative counts"),
    (
        lambda: preferences.count_wins(Comparisons([0], [1], [1], [1.0]), contexts=1, alternatives=2),
        "two different alternatives; got 1 twice",
    ),
    (
        lambda: preferences.count_wins(Comparisons([5], [1], [0], [1.0]), contexts=2, alternatives=2),
        r"comparisons.context: expected indices in 0\.\.1; got 5",
    ),
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


def test_known_options_are_checked_inside_a_transformation_too():
    with pytest.raises(ValueError, match="beta"):
        jax.jit(lambda c: alignment.dpo(c, -1.0, -1.0, -1.0, beta=-1.0))(jnp.array(-1.0))
    with pytest.raises(ValueError, match="label_smoothing"):
        jax.vmap(lambda c: alignment.exo(c, -1.0, -1.0, -1.0, beta=1.0, label_smoothing=0.5))(jnp.zeros(2))
