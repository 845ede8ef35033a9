"""Newton's method, sequential and union DPO, and the identities of coalition alignment, against plain definitions."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import minimize

from jaxval import alignment, coalitions, policies, preferences, testing, training
from jaxval.types import Comparisons, LinearLogits, Policy

CONTEXTS, RESPONSES, FEATURES, MOST = 3, 4, 3, 6
BETA = 0.1
RNG = np.random.default_rng(0)
ALL_IDS = (np.arange(CONTEXTS), np.tile(np.arange(RESPONSES), (CONTEXTS, 1)))


def connected_source(rng, rows=24):
    """Random comparisons whose wins go round a cycle through all responses in every context."""
    cycle = [rng.permutation(RESPONSES) for _ in range(CONTEXTS)]
    pairs = [(x, c[i], c[(i + 1) % RESPONSES]) for x, c in enumerate(cycle) for i in range(RESPONSES)]
    while len(pairs) < rows:
        winner, loser = rng.choice(RESPONSES, 2, replace=False)
        pairs.append((int(rng.integers(CONTEXTS)), winner, loser))
    x, winner, loser = np.array(pairs).T
    return Comparisons(x, winner, loser, rng.integers(1, 4, size=len(pairs)).astype(float))


SOURCES = [connected_source(np.random.default_rng(seed)) for seed in range(MOST)]
POLICY = policies.tabular(CONTEXTS, RESPONSES)
THETA = RNG.normal(size=(CONTEXTS, RESPONSES))
DESIGN = RNG.normal(size=(CONTEXTS, RESPONSES, FEATURES))
LINEAR = policies.log_linear(DESIGN, base=RNG.normal(size=(CONTEXTS, RESPONSES)))
OMEGA = RNG.normal(size=FEATURES)
KINDS = {"tabular": (POLICY, THETA), "log-linear": (LINEAR, OMEGA)}


@pytest.fixture(scope="module")
def exact(x64):
    """Newton's accuracy in log π: 1e-9 in float64; in float32 what its limit and β leave."""
    return 1e-9 if x64 else 1e-3


@pytest.fixture(scope="module")
def log_pi():
    return {
        kind: jax.jit(lambda params, policy=policy: policy.log_probs(params, *ALL_IDS))
        for kind, (policy, _) in KINDS.items()
    }


def fit(kind, reference, source, **options):
    return training.newton_optimum(KINDS[kind][0], reference, source, **({"beta": BETA} | options))


@functools.cache
def rewards_by_definition(kind, number):
    """Equation (4) by a general-purpose optimiser in double precision: r̂ (contexts, responses), least squares apart."""
    source = SOURCES[number]
    basis = np.eye(CONTEXTS * RESPONSES).reshape(CONTEXTS, RESPONSES, -1) if kind == "tabular" else DESIGN
    margins = basis[source.context, source.winner] - basis[source.context, source.loser]

    def loss(w):
        s = margins @ w
        chance = 1 / (1 + np.exp(s))
        return source.weight @ np.logaddexp(0, -s), -margins.T @ (source.weight * chance)

    w = minimize(loss, np.zeros(margins.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    for _ in range(3):  # polish
        chance = 1 / (1 + np.exp(margins @ w))
        hessian = (margins.T * (source.weight * chance * (1 - chance))) @ margins
        w -= np.linalg.pinv(hessian, rcond=1e-12) @ loss(w)[1]
    return basis @ w


def closed_form(kind, log_pi, rewards, weights=None):
    """Equations (5) and (6) in plain NumPy: π ∝ π0 exp(Σ r̂ / β)."""
    start = np.asarray(log_pi[kind](jnp.asarray(KINDS[kind][1])), dtype=float)
    scores = start + np.einsum("s,sxy->xy", np.ones(len(rewards)) if weights is None else weights, rewards) / BETA
    return (
        scores
        - np.log(np.exp(scores - scores.max(1, keepdims=True)).sum(1, keepdims=True))
        - scores.max(1, keepdims=True)
    )


def gap(left, right):
    return np.abs(np.asarray(left, float) - np.asarray(right, float)).max()


@pytest.mark.parametrize("kind", KINDS)
def test_dpo_is_the_closed_form_of_its_bradley_terry_fit(kind, log_pi, exact):
    for number in range(2):
        params, diagnostics = fit(kind, KINDS[kind][1], SOURCES[number])
        assert diagnostics.converged
        assert gap(log_pi[kind](params), closed_form(kind, log_pi, [rewards_by_definition(kind, number)])) <= exact


@pytest.mark.float64
def test_tabular_dpo_is_kl_policy_of_our_own_bradley_terry(log_pi, exact):
    source = SOURCES[0]
    start = log_pi["tabular"](jnp.asarray(THETA))
    for x in range(CONTEXTS):
        here = source.context == x
        pairs = Comparisons(*(field[here] for field in source))
        rewards = preferences.bradley_terry(preferences.count_wins(pairs, alternatives=RESPONSES))
        params, _ = fit("tabular", THETA, source)
        assert gap(log_pi["tabular"](params)[x], alignment.kl_policy(start[x], rewards, beta=BETA)) <= exact


@pytest.mark.parametrize("kind", ["tabular", pytest.param("log-linear", marks=pytest.mark.float64)])
def test_sequential_dpo_is_equation_6_is_arithmetic_in_every_order(kind, log_pi, exact, capsys):
    policy, start = KINDS[kind]
    stacked = training.stack_sources(SOURCES)
    reference = log_pi[kind](jnp.asarray(start))
    separate = jnp.stack([log_pi[kind](fit(kind, start, source)[0]) for source in SOURCES])
    run = jax.jit(
        jax.vmap(
            lambda order, weights: training.sequential_dpo(policy, start, stacked, order, beta=BETA, weights=weights)[
                0
            ],
            in_axes=(0, None),
        )
    )
    every = jax.jit(jax.vmap(log_pi[kind]))
    orders = np.array(list(itertools.permutations(range(MOST))))
    worst = 0.0
    for n in range(1, MOST + 1):
        members = (np.arange(MOST) < n).astype(float)
        rewards = [rewards_by_definition(kind, number) for number in range(n)]
        closed = closed_form(kind, log_pi, rewards)
        arithmetic = coalitions.combine(reference, separate, jnp.asarray(members))
        trained = every(run(orders, members))  # the others are left out: every order of the n
        assert np.isfinite(np.asarray(trained)).all()
        worst = max(worst, gap(arithmetic, closed), gap(trained, np.broadcast_to(closed, trained.shape)))
    with capsys.disabled():
        print(f" [{kind}: orders, (6) and arithmetic agree to {worst:.1e}]", end="")
    assert worst <= exact * 2


@pytest.mark.parametrize("kind", KINDS)
def test_union_dpo_differs_and_agrees_where_it_must(kind, log_pi, exact, capsys):
    policy, start = KINDS[kind]
    union = log_pi[kind](training.union_dpo(policy, start, SOURCES[:2], beta=BETA)[0])
    closed = closed_form(kind, log_pi, [rewards_by_definition(kind, number) for number in range(2)])
    with capsys.disabled():
        print(f" [{kind}: union and sequential DPO differ by {gap(union, closed):.2f} in log π]", end="")
    assert gap(union, closed) > 0.1
    # twice the same source: the union learns its rewards once, the sequence twice
    twice = log_pi[kind](training.union_dpo(policy, start, [SOURCES[0], SOURCES[0]], beta=BETA)[0])
    assert gap(twice, closed_form(kind, log_pi, [rewards_by_definition(kind, 0)])) <= exact
    again = log_pi[kind](training.sequential_dpo(policy, start, [SOURCES[0]] * 2, [0, 1], beta=BETA)[0])
    assert gap(again, closed_form(kind, log_pi, [rewards_by_definition(kind, 0)] * 2)) <= 2 * exact


def test_weights_multiply_the_comparisons_of_their_source(log_pi, exact):
    weights = np.array([2.0, 0.5])
    scaled = [part._replace(weight=factor * part.weight) for factor, part in zip(weights, SOURCES, strict=False)]
    for stages in (training.union_dpo, lambda *given, **options: training.sequential_dpo(*given, [0, 1], **options)):
        found, _ = stages(POLICY, THETA, SOURCES[:2], beta=BETA, weights=weights)
        expected, _ = stages(POLICY, THETA, scaled, beta=BETA)
        assert gap(log_pi["tabular"](found), log_pi["tabular"](expected)) <= exact


@pytest.mark.parametrize("kind", ["tabular", pytest.param("log-linear", marks=pytest.mark.float64)])
def test_all_coalitions_in_one_call(kind, log_pi, exact):
    policy, start = KINDS[kind]
    masks = coalitions.all_coalitions(3).astype(float)
    stacked = training.stack_sources(SOURCES[:3])
    for train in (
        lambda weights: training.union_dpo(policy, start, stacked, beta=BETA, weights=weights)[0],
        lambda weights: training.sequential_dpo(policy, start, stacked, np.arange(3), beta=BETA, weights=weights)[0],
    ):
        together = jax.jit(jax.vmap(train))(masks)
        assert gap(together[0], start) <= exact  # the empty coalition stays where it was
        for row in (3, 7):
            assert gap(log_pi[kind](together[row]), log_pi[kind](train(np.asarray(masks[row])))) <= exact


@pytest.mark.float64
def test_the_reference_keeps_what_no_comparison_sees(log_pi, exact):
    pairs = Comparisons([0, 0], [0, 1], [1, 0], [3.0, 1.0])
    params, _ = fit("tabular", THETA, pairs, beta=1.0)
    step = np.asarray(params) - THETA
    expected = np.zeros_like(THETA)
    expected[0, :2] = [np.log(3) / 2, -np.log(3) / 2]
    assert gap(step, expected) <= exact


@pytest.mark.float64
@pytest.mark.parametrize("kind", KINDS)
def test_ridge_on_the_stages_own_step_keeps_the_order_irrelevant(kind, log_pi, exact):
    policy, start = KINDS[kind]
    one_sided = [
        Comparisons([0, 1, 1, 2], [0, 2, 1, 3], [1, 3, 0, 0], np.ones(4)),
        Comparisons([0, 1, 2, 2], [2, 0, 1, 0], [0, 3, 2, 1], np.ones(4)),
    ]
    trained = [
        log_pi[kind](training.sequential_dpo(policy, start, one_sided, order, beta=1.0, ridge=0.5)[0])
        for order in ([0, 1], [1, 0])
    ]
    assert gap(*trained) <= exact
    separate = jnp.stack([log_pi[kind](fit(kind, start, source, beta=1.0, ridge=0.5)[0]) for source in one_sided])
    assert gap(trained[0], coalitions.combine(log_pi[kind](jnp.asarray(start)), separate, [1.0, 1.0])) <= exact
    # the definition: the objective's gradient in plain NumPy is zero there
    basis = np.eye(CONTEXTS * RESPONSES).reshape(CONTEXTS, RESPONSES, -1) if kind == "tabular" else DESIGN
    step = np.ravel(np.asarray(fit(kind, start, one_sided[0], beta=1.0, ridge=0.5)[0], float) - start)
    source = one_sided[0]
    margins = basis[source.context, source.winner] - basis[source.context, source.loser]
    centred = (basis - basis.mean(1, keepdims=True)).reshape(-1, basis.shape[-1])
    gradient = -margins.T @ (1 / (1 + np.exp(margins @ step))) + 0.5 * centred.T @ (centred @ step)
    assert np.abs(gradient).max() <= exact


@pytest.mark.float64
def test_decay_of_the_weights_is_its_definition_and_keeps_the_order_irrelevant(log_pi, exact):
    one_sided = [
        Comparisons([0, 1, 1, 2], [0, 2, 1, 3], [1, 3, 0, 0], np.ones(4)),
        Comparisons([0, 1, 2, 2], [2, 0, 1, 0], [0, 3, 2, 1], np.ones(4)),
    ]
    step = np.asarray(fit("log-linear", OMEGA, one_sided[0], beta=1.0, decay=0.5)[0], float) - OMEGA
    source = one_sided[0]
    margins = DESIGN[source.context, source.winner] - DESIGN[source.context, source.loser]
    gradient = -margins.T @ (1 / (1 + np.exp(margins @ step))) + 0.5 * step
    assert np.abs(gradient).max() <= exact
    trained = [
        log_pi["log-linear"](training.sequential_dpo(LINEAR, OMEGA, one_sided, order, beta=1.0, decay=0.5)[0])
        for order in ([0, 1], [1, 0])
    ]
    assert gap(*trained) <= exact


@pytest.mark.once
def test_a_penalty_towards_the_first_reference_makes_the_order_matter():
    """One prompt, two responses, one number t = log π(0) - log π(1): the second stage pays for what the first did."""

    def stage(reference, wins, losses, centre):
        def slope(t):
            chance = 1 / (1 + np.exp(-(t - reference)))
            return -wins * (1 - chance) + losses * chance + 0.5 * (t - centre)

        low, high = -50.0, 50.0
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if slope(middle) < 0 else (low, middle)
        return middle

    towards_first = [stage(stage(0.0, *a, 0.0), *b, 0.0) for a, b in (((4, 0), (1, 2)), ((1, 2), (4, 0)))]
    assert abs(towards_first[0] - towards_first[1]) > 0.5
    own = []
    for a, b in (((4, 0), (1, 2)), ((1, 2), (4, 0))):
        first = stage(0.0, *a, 0.0)
        own.append(stage(first, *b, first))
    assert abs(own[0] - own[1]) < 1e-12


@pytest.mark.float64
def test_mallows_theta_with_a_dispersion_for_each_prompt_is_dpo_with_a_beta_for_each(log_pi, exact):
    dispersion = np.array([0.2, np.exp(-0.5), 0.9])
    source = SOURCES[0]
    params, _ = training.newton_optimum(
        POLICY, THETA, source, beta=1.0, loss=alignment.mallows_theta, context_options={"dispersion": dispersion}
    )
    for x, phi in enumerate(dispersion):
        plain, _ = training.newton_optimum(POLICY, THETA, source, beta=float(-2 * np.log(phi)))
        assert gap(log_pi["tabular"](params)[x], log_pi["tabular"](plain)[x]) <= exact


@pytest.mark.float64
def test_a_smoothed_loss_has_an_optimum_where_dpo_has_none(exact):
    one_sided = Comparisons([0], [0], [1], [1.0])
    params, _ = fit("tabular", THETA, one_sided, beta=1.0, loss=functools.partial(alignment.dpo, label_smoothing=0.1))
    step = np.asarray(params) - THETA
    assert abs(step[0, 0] - step[0, 1] - np.log(9)) <= exact


@pytest.mark.parametrize("kind", KINDS)
def test_inside_jit_no_optimum_is_nan(kind):
    one_sided = Comparisons(np.array([0]), np.array([0]), np.array([1]), np.array([1.0]))
    params, diagnostics = jax.jit(lambda weight: fit(kind, KINDS[kind][1], one_sided._replace(weight=weight)))(
        np.ones(1)
    )
    assert np.isnan(np.asarray(params)).all()
    assert not diagnostics.converged


PROMPTS, ANSWERS = RNG.normal(size=(CONTEXTS, 2)), RNG.normal(size=(RESPONSES, 3))


def of_logits(logits, zeros):
    """A policy of the user's own, (contexts, responses) logits being a linear function of a pytree of parameters."""

    def log_probs(params, contexts, responses):
        log_pi = jax.nn.log_softmax(logits(params), axis=1)[jnp.asarray(contexts)]
        taken = jnp.take_along_axis(log_pi, jnp.maximum(jnp.asarray(responses), 0), axis=1)
        return jnp.where(jnp.asarray(responses) < 0, -jnp.inf, taken)

    return Policy(lambda key: zeros, log_probs, LinearLogits(logits(zeros), jax.jacobian(logits)(zeros)))


@pytest.mark.float64
def test_a_users_own_bilinear_policy_is_fitted_as_log_linear(exact):
    user = of_logits(lambda params: jnp.asarray(PROMPTS) @ params @ jnp.asarray(ANSWERS).T, jnp.zeros((2, 3)))
    testing.check_policy(user, contexts=CONTEXTS, responses=RESPONSES, complete=True)
    ours = policies.log_linear(np.einsum("xi,yj->xyij", PROMPTS, ANSWERS).reshape(CONTEXTS, RESPONSES, 6))
    start = RNG.normal(size=(2, 3))
    for options in ({}, {"ridge": 0.3, "decay": 0.1}):
        params, diagnostics = training.newton_optimum(user, start, SOURCES[0], beta=BETA, **options)
        expected, _ = training.newton_optimum(ours, start.reshape(-1), SOURCES[0], beta=BETA, **options)
        assert params.shape == (2, 3)
        assert bool(diagnostics.converged)
        assert gap(user.log_probs(params, *ALL_IDS), ours.log_probs(expected, *ALL_IDS)) <= exact
    # stages, under `jit`, by the arithmetic of responses
    stacked = training.stack_sources(SOURCES[:2])
    run = jax.jit(lambda order: training.sequential_dpo(user, start, stacked, order, beta=BETA)[0])
    separate = [training.newton_optimum(user, start, source, beta=BETA)[0] for source in SOURCES[:2]]
    arithmetic = coalitions.combine(
        user.log_probs(start, *ALL_IDS), jnp.stack([user.log_probs(p, *ALL_IDS) for p in separate]), [1.0, 1.0]
    )
    assert gap(user.log_probs(run(np.array([1, 0])), *ALL_IDS), arithmetic) <= 2 * exact


def test_a_users_own_table_with_shared_biases_is_fitted_as_a_table(exact):
    zeros = {"bias": jnp.zeros(RESPONSES), "rewards": jnp.zeros((CONTEXTS, RESPONSES))}
    user = of_logits(lambda params: params["rewards"] + params["bias"][None, :], zeros)
    testing.check_policy(user, contexts=CONTEXTS, responses=RESPONSES, complete=True)
    start = {"bias": RNG.normal(size=RESPONSES), "rewards": RNG.normal(size=(CONTEXTS, RESPONSES))}
    params, _ = training.newton_optimum(user, start, SOURCES[0], beta=BETA)
    expected, _ = training.newton_optimum(POLICY, start["bias"] + start["rewards"], SOURCES[0], beta=BETA)
    assert set(params) == set(zeros)
    assert gap(user.log_probs(params, *ALL_IDS), POLICY.log_probs(expected, *ALL_IDS)) <= exact


@pytest.mark.float64
def test_a_table_may_have_fewer_responses_in_a_context(exact):
    """In the second context response 3 is missing: the penalty is on the others, as for features that mark each."""
    base = np.where(np.arange(CONTEXTS * RESPONSES).reshape(CONTEXTS, RESPONSES) == 7, -np.inf, 0.0)
    marks = np.eye(CONTEXTS * RESPONSES).reshape(CONTEXTS, RESPONSES, -1)
    pairs = Comparisons([0, 1, 1], [0, 2, 1], [1, 0, 2], np.ones(3))
    table = POLICY._replace(linear=LinearLogits(base))
    for ridge in (0.5, 1e-3):
        step = np.asarray(training.newton_optimum(table, np.zeros_like(THETA), pairs, beta=1.0, ridge=ridge)[0])
        ours = policies.log_linear(marks, base=base)
        params, _ = training.newton_optimum(ours, ours.init(None), pairs, beta=1.0, ridge=ridge)
        expected = np.asarray(params).reshape(CONTEXTS, RESPONSES)
        assert gap(step - step[:, :1], expected - expected[:, :1]) <= exact
        assert step[1, 3] == 0


@pytest.mark.float64
def test_the_continuous_limit_of_the_link_phi_is_fitted(exact):
    """One prompt, three wins to one: the optimum has g(u) = 3/4 at u = -log φ · β m."""
    pairs = Comparisons([0, 0], [0, 1], [1, 0], [3.0, 1.0])
    for phi in (0.1, 0.5, 0.9, 0.99):
        smooth = functools.partial(alignment.mallows_phi_limit, dispersion=phi)
        step = np.asarray(fit("tabular", THETA, pairs, loss=smooth)[0]) - THETA
        link = -alignment.losses["mallows_phi_limit"].link(
            jnp.asarray(BETA * (step[0, 0] - step[0, 1])), dispersion=phi
        )
        assert abs(np.exp(link) - 0.75) <= exact


@pytest.mark.once
def test_the_link_phi_is_refused_for_its_jump_and_trained_by_minibatches():
    for phi in (0.1, 0.99):
        jumping = functools.partial(alignment.mallows_phi, dispersion=phi)
        with pytest.raises(
            ValueError, match=r"mallows_phi, which jumps at margin 0.*mallows_phi_limit.*train_minibatches"
        ):
            fit("tabular", THETA, SOURCES[0], loss=jumping)
    with pytest.raises(ValueError, match="mallows_phi, which jumps at margin 0"):
        training.newton_optimum(
            POLICY,
            THETA,
            Comparisons([1, 1], [0, 1], [1, 0], [1.0, 1.0]),
            beta=1.0,
            loss=alignment.mallows_phi,
            context_options={"dispersion": [1.0, 0.5, 0.5]},
        )
    params, curves = training.train_minibatches(
        POLICY,
        jnp.asarray(THETA),
        SOURCES[0],
        beta=1.0,
        loss=functools.partial(alignment.mallows_phi, dispersion=0.5),
        optimiser=optax.sgd(0.5),
        steps=30,
        batch_size=24,
        key=jax.random.key(0),
    )
    assert curves.losses[-1] < 0.9 * curves.losses[0]
    assert np.isfinite(np.asarray(params)).all()


@pytest.mark.once
@pytest.mark.parametrize("loss", [alignment.mallows_theta, alignment.mallows_phi, alignment.mallows_phi_limit])
def test_the_dispersion_of_a_uniform_reference_makes_a_constant_loss(loss):
    uniform = POLICY.log_probs(POLICY.init(None), *ALL_IDS)
    dispersion = alignment.dispersion_from_index(alignment.response_entropy_index(uniform))
    assert (np.asarray(dispersion) == 1).all()
    with pytest.raises(ValueError, match=r"constant one in context 0,.*dispersion 1.*uniform reference"):
        training.newton_optimum(
            POLICY, THETA, SOURCES[0], beta=1.0, loss=loss, context_options={"dispersion": dispersion}
        )
    if loss is alignment.mallows_theta:  # a context without pairs asks nothing of its dispersion
        pairs = Comparisons([1, 1], [0, 1], [1, 0], [3.0, 1.0])
        found, _ = training.newton_optimum(
            POLICY, THETA, pairs, beta=1.0, loss=loss, context_options={"dispersion": [1.0, 0.5, 1.0]}
        )
        assert gap(found[1, 0] - found[1, 1], THETA[1, 0] - THETA[1, 1] + np.log(3) / np.log(4)) < 1e-4
        with pytest.raises(ValueError, match="constant one in context 1,"):
            training.newton_optimum(
                POLICY, THETA, pairs, beta=1.0, loss=loss, context_options={"dispersion": [0.5, 1.0, 1.0]}
            )


def test_a_sources_key_is_its_content():
    key = jax.random.key(1)
    source = SOURCES[0]
    shuffled = Comparisons(*(field[::-1] for field in source))
    padded = training.stack_sources(
        [
            source,
            SOURCES[1]._replace(
                **{name: np.concatenate([field, field[:1]]) for name, field in SOURCES[1]._asdict().items()}
            ),
        ]
    )
    same = training.comparisons.source_key(key, source)
    assert same == training.comparisons.source_key(key, shuffled)
    assert same == training.comparisons.source_key(key, Comparisons(*(field[0] for field in padded)))
    assert same != training.comparisons.source_key(key, SOURCES[1])
    assert same != training.comparisons.source_key(jax.random.key(2), source)


@alignment.margin_loss(source="a loss without a minimum")
def concave(margin):
    return -(margin**2)


@alignment.margin_loss(source="the exponential loss of boosting")
def exponential(margin, *, scale=1.0):
    return jnp.exp(-scale * margin)


def test_a_link_of_the_users_own_is_fitted_and_trained(exact):
    """Three wins to one under exp(-m): 3 exp(-m) + exp(m) is least at m = log(3) / 2."""
    pairs = Comparisons([0, 0], [0, 1], [1, 0], [3.0, 1.0])
    for scale in (1.0, 2.0):
        loss = functools.partial(exponential, scale=scale)
        step = np.asarray(fit("tabular", THETA, pairs, beta=1.0, loss=loss)[0]) - THETA
        assert abs(step[0, 0] - step[0, 1] - np.log(3) / 2 / scale) <= exact
    params, _ = training.train_minibatches(
        POLICY,
        jnp.asarray(THETA),
        pairs,
        beta=1.0,
        loss=exponential,
        optimiser=optax.sgd(0.5),
        steps=60,
        batch_size=2,
        key=jax.random.key(0),
    )
    step = np.asarray(params) - THETA
    assert abs(step[0, 0] - step[0, 1] - np.log(3) / 2) <= 1e-3


@pytest.mark.once
def test_equal_partials_of_a_loss_are_compiled_once():
    """Each call makes its partial anew; an option that cannot be hashed is compiled anew, and is no mistake."""
    from jaxval.training import _losses, newton

    pairs = Comparisons([0, 0], [0, 1], [1, 0], [3.0, 1.0])
    steps, sizes = [], []
    for scale in (1.25, 1.25, np.array(1.25)):
        loss = functools.partial(exponential, scale=scale)
        steps.append(np.asarray(fit("tabular", THETA, pairs, beta=1.0, loss=loss)[0]))
        sizes.append((_losses._derivatives._cache_size(), newton._fit_table._cache_size()))
    assert sizes[0] == sizes[1]
    np.testing.assert_array_equal(steps[0], steps[1])
    np.testing.assert_allclose(steps[2], steps[0], atol=1e-6)


ONE = Comparisons([0], [0], [1], [1.0])


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fit("tabular", THETA, ONE), ValueError, "no finite optimum exists.*by ridge, such as 0.1"),
        (lambda: fit("log-linear", OMEGA, ONE), ValueError, "ranks without a mistake.*by ridge, such as 0.1"),
        (
            lambda: fit("tabular", THETA, ONE._replace(loser=[0])),
            ValueError,
            "the chosen and the rejected response to differ; got response 0",
        ),
        (
            lambda: fit("tabular", THETA, ONE._replace(winner=[9])),
            ValueError,
            r"winner: expected ids in 0..3.*9 in row 0",
        ),
        (lambda: fit("tabular", THETA, ONE._replace(context=[-1])), ValueError, "context: expected ids in 0..2"),
        (
            lambda: fit("tabular", THETA, ONE._replace(weight=[0.0])),
            ValueError,
            "at least one comparison of positive weight",
        ),
        (
            lambda: fit("tabular", THETA, ONE._replace(weight=[-1.0])),
            ValueError,
            "weight: expected finite numbers of at",
        ),
        (lambda: fit("tabular", THETA, ONE._replace(weight=[1.0, 1.0])), ValueError, "four fields of one length"),
        (lambda: fit("tabular", THETA, Comparisons([], [], [], [])), ValueError, "comparisons"),
        (lambda: fit("tabular", OMEGA, ONE), ValueError, "reference: expected parameters of shape"),
        (lambda: fit("tabular", THETA, SOURCES[0], beta=0.0), ValueError, "beta: expected a number above 0"),
        (lambda: fit("tabular", THETA, SOURCES[0], ridge=-1.0), ValueError, "ridge: expected a number of at least 0"),
        (lambda: fit("tabular", THETA, SOURCES[0], decay=1.0), ValueError, "decay: expected 0 for a tabular policy"),
        (lambda: fit("tabular", THETA, SOURCES[0], loss="dpo"), ValueError, "loss: expected a function"),
        (
            lambda: fit("tabular", THETA, SOURCES[0], loss=alignment.hinge),
            ValueError,
            "loss: expected a smooth convex.*hinge, which has a kink.*train_minibatches",
        ),
        (lambda: fit("tabular", THETA, SOURCES[0], loss=alignment.exo), ValueError, "exo, which is not convex"),
        (lambda: fit("tabular", THETA, SOURCES[0], loss=concave), ValueError, "concave, which is not convex"),
        (
            lambda: fit("tabular", THETA, SOURCES[0], loss=alignment.length_normalised_dpo),
            ValueError,
            "divides by the lengths",
        ),
        (
            lambda: fit("tabular", THETA, ONE, loss=functools.partial(alignment.ipo, chosen_length=3)),
            ValueError,
            "ipo, which is given lengths",
        ),
        (
            lambda: fit("tabular", THETA, ONE, loss=functools.partial(alignment.dpo, divergence="forward_kl")),
            ValueError,
            "dpo, which has another divergence",
        ),
        (lambda: fit("tabular", THETA, ONE, loss=lambda *pair, beta: 0.0), ValueError, "alignment.margin_loss"),
        (
            lambda: fit("tabular", THETA, ONE, loss=alignment.mallows_theta),
            ValueError,
            "context_options: expected dispersion",
        ),
        (
            lambda: fit("tabular", THETA, ONE, context_options={"dispersion": [0.5] * 3}),
            ValueError,
            "context_options: expected one of 'label_smoothing'; got 'dispersion'",
        ),
        (
            lambda: fit("tabular", THETA, SOURCES[0], loss=alignment.sppo),
            ValueError,
            "sppo, which depends on the rewards of both responses, so on their level",
        ),
        (
            lambda: fit("tabular", THETA, ONE, loss=alignment.mallows_theta, context_options={"dispersion": [0.5]}),
            ValueError,
            r"context_options\['dispersion'\]: expected shape \(3,\)",
        ),
        (
            lambda: training.newton_optimum(POLICY._replace(linear=None), THETA, ONE, beta=1.0),
            ValueError,
            "tabular or log-linear.*training.train_minibatches",
        ),
        (
            lambda: training.newton_optimum(POLICY._replace(linear=LinearLogits(np.zeros(3))), THETA, ONE, beta=1.0),
            ValueError,
            r"policy.linear.base: expected shape \(contexts, responses\); got \(3,\)",
        ),
        (
            lambda: training.newton_optimum(
                LINEAR._replace(linear=LINEAR.linear._replace(features=DESIGN[:2])), OMEGA, ONE, beta=1.0
            ),
            ValueError,
            r"policy.linear.features: .* \(3, 4\) first.* got \(2, 4, 3\)",
        ),
        (
            lambda: training.newton_optimum(
                LINEAR._replace(linear=LINEAR.linear._replace(features={"w": DESIGN})), OMEGA, ONE, beta=1.0
            ),
            ValueError,
            "reference: expected a pytree as policy.linear.features is",
        ),
        (lambda: training.stack_sources([]), ValueError, "at least one source; got none"),
        (
            lambda: training.stack_sources([ONE, Comparisons([], [], [], [])]),
            ValueError,
            r"sources\[1\].*positive weight",
        ),
        (lambda: training.stack_sources(ONE), ValueError, r"pass \[comparisons\]"),
        (lambda: training.sequential_dpo(POLICY, THETA, SOURCES, [6], beta=1.0), ValueError, "indices of 6 sources"),
        (
            lambda: training.union_dpo(POLICY, THETA, SOURCES, beta=1.0, weights=[1.0]),
            ValueError,
            "one for each of 6 sources",
        ),
        (lambda: training.union_dpo(POLICY, THETA, SOURCES[:1], beta=1.0, weights=[-1.0]), ValueError, "at least 0"),
    ],
)
def test_mistakes(call, error, message):
    with pytest.raises(error, match=message):
        call()
