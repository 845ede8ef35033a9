"""The two-phase algorithm: every loss against its definition and its optimum, and all makers of policies."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxval import alignment, policies, preferences, social_choice, training
from jaxval.training import _rows
from jaxval.types import Comparisons, SequenceModel

CONTEXTS, RESPONSES = 2, 4
BETAS = (0.0, 1.0, 100.0)
DIVERGENCES = {
    "reverse_kl": lambda p, q: (p * np.log(p / q)).sum(),
    "forward_kl": lambda p, q: (q * np.log(q / p)).sum(),
    "jensen_shannon": lambda p, q: (p * np.log(2 * p / (p + q))).sum() + (q * np.log(2 * q / (p + q))).sum(),
    functools.partial(alignment.alpha_divergence, alpha=0.5): lambda p, q: 4 * (1 - np.sqrt(p * q).sum()),
}


def normalised(scores):
    return scores / scores.sum(axis=-1, keepdims=True)


def random_policy(rng, *shape):
    return normalised(0.05 + rng.random(shape) ** 2)


def profile_matrices(rng, contexts=CONTEXTS, responses=RESPONSES, voters=7):
    """P of a few voters in each context, so that u is positive for some responses and zero for others."""
    matrices = np.full((contexts, responses, responses), 0.5)
    for x in range(contexts):
        orders = [rng.permutation(responses) for _ in range(voters)]
        for y, z in itertools.permutations(range(responses), 2):
            matrices[x, y, z] = np.mean([list(order).index(y) < list(order).index(z) for order in orders])
    return matrices


def all_comparisons(matrices, weight=70.0):
    """The comparisons that have P exactly: each pair of each context, won in these shares."""
    x, y, z = np.nonzero(~np.eye(matrices.shape[1], dtype=bool)[None].repeat(len(matrices), 0))
    return Comparisons(x, y, z, weight * matrices[x, y, z])


def proportional_by_definition(matrix, beta):
    """u_i = min_{j≠i} P(i ≻ j), then π_i ∝ u_i exp(β u_i)."""
    u = np.min(matrix + np.eye(len(matrix)), axis=1)
    return normalised(u * np.exp(beta * (u - u.max())))


MATRICES = profile_matrices(np.random.default_rng(0))
PAIRS = all_comparisons(MATRICES)
EXPECTED = {beta: np.stack([proportional_by_definition(matrix, beta) for matrix in MATRICES]) for beta in BETAS}
TABULAR = policies.tabular(CONTEXTS, RESPONSES)
ONE_HOT = policies.log_linear(np.eye(CONTEXTS * RESPONSES).reshape(CONTEXTS, RESPONSES, -1))
BIGRAM = SequenceModel(
    lambda key: jnp.zeros((CONTEXTS + RESPONSES,) * 2), lambda params, tokens: params[tokens], CONTEXTS + RESPONSES, 8
)
PROMPTS, ANSWERS = [[x] for x in range(CONTEXTS)], [[[CONTEXTS + y] for y in range(RESPONSES)]] * CONTEXTS
CATALOGUE = policies.over_catalogue(BIGRAM, PROMPTS, ANSWERS, batch_size=3)
ALL_IDS = (np.arange(CONTEXTS), np.tile(np.arange(RESPONSES), (CONTEXTS, 1)))


def probabilities(policy, params, ids=ALL_IDS):
    return np.exp(policies.normalise(policy.log_probs(params, *ids)))


# The losses


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=lambda d: d if isinstance(d, str) else "alpha")
def test_divergences_of_policies_are_their_definition(rng, close, divergence):
    p, q = random_policy(rng, 3, 5), random_policy(rng, 3, 5)
    found = alignment.policy_divergence(np.log(p), np.log(q), divergence=divergence)
    close(found, [DIVERGENCES[divergence](*rows) for rows in zip(p, q, strict=True)], atol=2e-6)
    close(alignment.policy_divergence(np.log(q), np.log(q), divergence=divergence), np.zeros(3))
    absent = np.pad(np.log(p), ((0, 0), (0, 1)), constant_values=-np.inf)
    target = np.pad(np.log(q), ((0, 0), (0, 1)), constant_values=-np.inf)
    close(alignment.policy_divergence(absent, target, divergence=divergence), found)


def test_derivatives_of_divergences_are_exact(rng, close, x64):
    """Against the closed form of KL(π ‖ π̂), to the second order, with a response that is nearly impossible."""
    logits, target = rng.normal(size=4), np.log(normalised(np.array([1e-12, 1.0, 2.0, 3.0])))

    def mine(theta):
        return alignment.policy_divergence(jax.nn.log_softmax(theta), target)

    def closed(theta):
        log_p = jax.nn.log_softmax(theta)
        return jnp.sum(jnp.exp(log_p) * (log_p - target))

    for order in (jax.grad, jax.hessian):
        close(jax.jit(order(mine))(logits), jax.jit(order(closed))(logits), atol=1e-11 if x64 else 1e-4)


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=lambda d: d if isinstance(d, str) else "alpha")
def test_the_target_alone_minimises_phase_two(rng, divergence):
    target = random_policy(rng, RESPONSES)
    others = random_policy(rng, 50, RESPONSES)
    losses = alignment.policy_divergence(
        np.log(others), np.broadcast_to(np.log(target), others.shape), divergence=divergence
    )
    slope = jax.jit(
        jax.grad(
            lambda theta: alignment.policy_divergence(jax.nn.log_softmax(theta), np.log(target), divergence=divergence)
        )
    )(np.log(target))
    assert np.abs(slope).max() < 1e-6
    assert float(jnp.min(losses)) > 1e-5


def test_the_offline_loss_is_minimised_by_the_target(rng, close, x64):
    """Its mean over queries from π_d is 2 Σ_y π log π/(û exp(βû)): the definition, and no policy does better."""
    drawn, bounds, beta = random_policy(rng, RESPONSES), 0.1 + 0.4 * rng.random(RESPONSES), 2.0
    y, z = (part.ravel() for part in np.meshgrid(*[np.arange(RESPONSES)] * 2, indexing="ij"))

    def mean(policy):
        log_p = np.log(policy)
        losses = alignment.offline_policy_loss(
            log_p[y], log_p[z], bounds[y], bounds[z], np.log(drawn)[y], np.log(drawn)[z], beta=beta
        )
        return float(jnp.sum(drawn[y] * drawn[z] * losses))

    scores = bounds * np.exp(beta * bounds)
    target = np.exp(alignment.proportional_policy(bounds, beta=beta))
    close(target, normalised(scores))
    best = mean(target)
    for other in random_policy(rng, 20, RESPONSES):
        assert mean(other) > best
        assert mean(other) == pytest.approx(2 * (other * np.log(other / scores)).sum(), abs=1e-9 if x64 else 1e-5)


@pytest.mark.parametrize("beta", [*BETAS, np.inf])
def test_the_target_is_the_rule(close, beta):
    for matrix in MATRICES:
        bounds = social_choice.share_bounds(matrix)
        target = np.exp(alignment.proportional_policy(bounds, beta=beta))
        close(target, social_choice.proportional(matrix, beta=beta), atol=1e-6)
    close(np.exp(alignment.proportional_policy([0.0, 0.0], beta=beta)), [0.5, 0.5])


def test_the_selector_loss_is_minimised_by_the_strongest_opponent(rng, close):
    """(50) with counted propensities, on pairs compared unequally often: any other selector costs more.

    With π_d(y^l|x) in place of how often y^w met y^l, as printed, another opponent may cost less.
    """
    compared = np.triu(rng.integers(1, 30, (RESPONSES,) * 2), 1)
    compared = (compared + compared.T).astype(float)
    wins = compared * MATRICES[0]
    met = compared / compared.sum(axis=1, keepdims=True)
    y, z = np.nonzero(compared)

    def total(selector):
        losses = alignment.selector_loss(np.log(selector)[y, z], np.log(met)[y, z])
        return float(jnp.sum(wins[y, z] * losses))

    alone = np.where(np.eye(RESPONSES, dtype=bool), np.inf, MATRICES[0])
    with np.errstate(divide="ignore"):
        best = (alone == alone.min(axis=1, keepdims=True)).astype(float)
        best /= best.sum(axis=1, keepdims=True)
        least = total(best)
        assert least == pytest.approx((compared.sum(axis=1) * alone.min(axis=1)).sum(), rel=1e-5)
        for _ in range(20):
            assert total(normalised(random_policy(rng, RESPONSES, RESPONSES) * (compared > 0))) >= least - 1e-4
        close(alignment.selected_shares(MATRICES[0], np.log(best)), alone.min(axis=1), atol=1e-6)


def test_regularised_optima_are_closed_forms(rng, close, x64):
    """Of both phases with (54): random rivals, and a gradient that vanishes."""
    reference, costs, target = random_policy(rng, 5), 2 * rng.random(5), random_policy(rng, 5)
    for coefficient in (0.3, 3.0):
        selector = alignment.kl_policy(np.log(reference), -costs, beta=coefficient)
        policy = alignment.kl_policy(np.log(reference), np.log(target / reference), beta=1 + coefficient)
        close(np.exp(selector), normalised(reference * np.exp(-costs / coefficient)))
        close(np.exp(policy), normalised((target * reference**coefficient) ** (1 / (1 + coefficient))))

        def phase_1(log_p, c=coefficient):
            return jnp.sum(jnp.exp(log_p) * costs) + c * alignment.policy_divergence(log_p, np.log(reference))

        def phase_2(log_p, c=coefficient):
            apart = alignment.policy_divergence(log_p, np.log(target))
            return apart + c * alignment.policy_divergence(log_p, np.log(reference))

        for loss, optimum in ((phase_1, selector), (phase_2, policy)):
            slope = jax.jit(jax.grad(lambda theta, loss=loss: loss(jax.nn.log_softmax(theta))))(optimum)
            close(slope, np.zeros(5), atol=1e-12 if x64 else 1e-5)


# The training


@pytest.mark.parametrize("beta", BETAS)
def test_tables_and_features_reach_the_rule(close, x64, beta):
    """Full support and exact P: both phases at their exact minimisers give F^β."""
    for policy in (TABULAR, ONE_HOT):
        params, found = training.proportional(policy, policy.init(None), PAIRS, beta=beta)
        close(probabilities(policy, params), EXPECTED[beta], atol=1e-6 if x64 else 1e-4)
        close(found.bounds, [social_choice.share_bounds(matrix) for matrix in MATRICES], atol=1e-6)
    assert found.selector is None
    assert found.trained.all()


def test_bounds_of_one_beta_serve_another(close):
    """û does not depend on β: given, it takes the place of phase 1."""
    for policy in (TABULAR, ONE_HOT):
        bounds = training.proportional(policy, policy.init(None), PAIRS, beta=0.0)[1].bounds
        given, found = training.proportional(policy, policy.init(None), PAIRS, beta=2.0, bounds=bounds)
        direct, _ = training.proportional(policy, policy.init(None), PAIRS, beta=2.0)
        close(probabilities(policy, given), probabilities(policy, direct))
        close(found.bounds, bounds)


def test_arrays_that_a_linear_policy_holds_are_arguments_of_one_compiled_program():
    """Logits f·θ + f·held: both policies end at the same probabilities, by one program."""

    def log_probs(held, params, contexts, responses):
        return ONE_HOT.log_probs(params + held, contexts, responses)

    def trained(held):
        features = ONE_HOT.linear.features
        linear = ONE_HOT.linear._replace(base=np.einsum("xyf,f->xy", features, held))
        policy = ONE_HOT._replace(log_probs=jax.tree_util.Partial(log_probs, jnp.asarray(held)), linear=linear)
        return probabilities(policy, training.proportional(policy, policy.init(None), PAIRS, beta=1.0)[0])

    held = np.linspace(-0.5, 0.5, CONTEXTS * RESPONSES).astype(jnp.result_type(float))
    trained(0 * held)
    before = _rows._naturally._cache_size()
    np.testing.assert_allclose(trained(held), EXPECTED[1.0], atol=1e-4)
    assert _rows._naturally._cache_size() == before


@pytest.mark.once
def test_a_sequence_model_trained_by_gradients_reaches_the_rule():
    """A bigram model represents every policy over answers of one token; three candidates go through it at a time."""
    options = {"optimiser": optax.adam(0.1), "steps": 150, "batch_size": 8, "every": 150}
    params, found = training.proportional(CATALOGUE, BIGRAM.init(None), PAIRS, beta=1.0, **options)
    np.testing.assert_allclose(probabilities(CATALOGUE, params), EXPECTED[1.0], atol=3e-3)
    assert found.policy_losses[-1] < 1e-3 < found.policy_losses[0]


def selector_by_definition(matrix, coefficient):
    """μ(z|x, y) ∝ exp(-2 P(y ≻ z)/β_μ) on z ≠ y, and û from it."""
    selector = normalised(np.exp(-2 * matrix / coefficient) * (1 - np.eye(len(matrix))))
    return (selector * matrix).sum(axis=1)


@pytest.mark.once
def test_one_policy_serves_both_phases(x64):
    """Contexts 2 + 4x + y of a log-linear policy select an opponent of y; its contexts x are the policy."""
    size = CONTEXTS * (1 + RESPONSES)
    both = policies.log_linear(np.eye(size * RESPONSES).reshape(size, RESPONSES, -1))
    params, found = training.proportional(
        both,
        both.init(None),
        PAIRS,
        beta=1.0,
        candidates=np.ones((CONTEXTS, RESPONSES), dtype=bool),
        selector=training.Selector(both, first=CONTEXTS),
        selector_coefficient=0.1,
    )
    bounds = np.stack([selector_by_definition(matrix, 0.1) for matrix in MATRICES])
    expected = normalised(bounds * np.exp(bounds))
    np.testing.assert_allclose(found.bounds, bounds, atol=1e-6 if x64 else 1e-3)
    np.testing.assert_allclose(probabilities(both, params), expected, atol=1e-6 if x64 else 1e-3)


@pytest.mark.once
def test_one_transformer_serves_both_phases(tmp_path):
    """Separators tell the selector's prompts apart; a training that is called again goes on from its checkpoints."""
    separator = CONTEXTS + RESPONSES
    asked, opponents = policies.selector_prompts(PROMPTS, ANSWERS, separator=[separator])
    assert asked[RESPONSES + 1] == [1, separator, CONTEXTS + 1, separator]
    model = policies.transformer(vocabulary=separator + 1, length=6, width=16, layers=1, heads=2)
    both = policies.over_catalogue(model, [*PROMPTS, *asked], [*ANSWERS, *opponents])
    start = model.init(jax.random.key(0))
    train = functools.partial(
        training.proportional,
        both,
        start,
        PAIRS,
        beta=1.0,
        selector=training.Selector(both, first=CONTEXTS),
        optimiser=optax.adam(0.02),
        steps=60,
        batch_size=8,
        every=30,
        checkpoints=tmp_path,
    )
    params, found = train()
    assert found.selector_losses[-1] < found.selector_losses[0]
    assert found.policy_losses[-1] < 0.2 * found.policy_losses[0]
    exact = np.stack([social_choice.share_bounds(matrix) for matrix in MATRICES])
    uniform = (MATRICES.sum(axis=2) - 0.5) / (RESPONSES - 1)
    assert np.abs(found.bounds - exact).max() < 0.5 * np.abs(uniform - exact).max()
    again, _ = train()
    jax.tree.map(np.testing.assert_array_equal, params, again)


def test_selectors_and_regularisers_of_tables(close, x64):
    """A tabular selector is the closed form; π ∝ (π̂_β π_ref^{β_π})^{1/(1+β_π)} from a reference that is not uniform."""
    selector = policies.tabular(CONTEXTS * RESPONSES, RESPONSES)
    reference = np.log(random_policy(np.random.default_rng(3), CONTEXTS, RESPONSES))
    _, found = training.proportional(
        TABULAR,
        reference,
        PAIRS,
        beta=1.0,
        selector=training.Selector(selector, selector.init(None)),
        selector_coefficient=0.1,
    )
    close(found.bounds, [selector_by_definition(matrix, 0.1) for matrix in MATRICES], atol=1e-6)
    params, found = training.proportional(TABULAR, reference, PAIRS, beta=1.0, policy_coefficient=0.5)
    target = np.exp(found.target)
    close(probabilities(TABULAR, params), normalised((target * np.exp(reference) ** 0.5) ** (1 / 1.5)), atol=1e-6)
    one_hot, _ = training.proportional(
        ONE_HOT._replace(linear=ONE_HOT.linear),
        jnp.asarray(reference.ravel()),
        PAIRS,
        beta=1.0,
        policy_coefficient=0.5,
        divergence="reverse_kl",
    )
    close(probabilities(ONE_HOT, one_hot), probabilities(TABULAR, params), atol=1e-6 if x64 else 1e-4)


@pytest.mark.parametrize("divergence", ["forward_kl", "jensen_shannon"])
def test_every_divergence_has_the_same_optimum(close, x64, divergence):
    params, _ = training.proportional(ONE_HOT, ONE_HOT.init(None), PAIRS, beta=1.0, divergence=divergence)
    close(probabilities(ONE_HOT, params), EXPECTED[1.0], atol=1e-6 if x64 else 1e-3)


def test_features_find_the_nearest_policy(rng, x64):
    """A policy that cannot represent the target: no other weights have a smaller loss."""
    features = rng.normal(size=(CONTEXTS, RESPONSES, 2))
    policy = policies.log_linear(features)
    params, found = training.proportional(policy, policy.init(None), PAIRS, beta=1.0)

    def loss(theta):
        log_p = policies.normalise(policy.log_probs(theta, *ALL_IDS))
        return float(jnp.mean(alignment.policy_divergence(log_p, found.target)))

    best = loss(params)
    assert best > 0.01
    for _ in range(10):
        assert loss(params + 0.1 * rng.normal(size=2)) > best - (0 if x64 else 1e-5)


@pytest.mark.once
def test_contexts_without_comparisons_stay_at_the_reference(close):
    policy = policies.tabular(CONTEXTS + 1, RESPONSES)
    reference = np.random.default_rng(2).normal(size=(CONTEXTS + 1, RESPONSES))
    params, found = training.proportional(policy, reference, PAIRS, beta=1.0)
    close(params[CONTEXTS], reference[CONTEXTS])
    assert found.trained.tolist() == [True, True, False]
    assert np.isneginf(found.bounds[CONTEXTS]).all()
    features = np.concatenate([np.asarray(ONE_HOT.linear.features), np.asarray(ONE_HOT.linear.features)[:1]])
    shared = policies.log_linear(features)  # the new context has the features of the first
    params, _ = training.proportional(shared, shared.init(None), PAIRS, beta=1.0)
    ids = (np.array([2]), np.arange(RESPONSES)[None])
    close(probabilities(shared, params, ids)[0], EXPECTED[1.0][0], atol=1e-4)


def test_candidates_keep_the_mass_that_they_had(close):
    """The policy is conditioned on the candidates; a response that is none keeps its probability."""
    present = np.ones((CONTEXTS, RESPONSES), dtype=bool)
    present[:, 3] = False
    few = Comparisons(*(field[(PAIRS.winner < 3) & (PAIRS.loser < 3)] for field in PAIRS))
    reference = np.random.default_rng(2).normal(size=(CONTEXTS, RESPONSES))
    params, found = training.proportional(TABULAR, reference, few, beta=0.0, candidates=present)
    before, after = (np.exp(TABULAR.log_probs(p, *ALL_IDS)) for p in (reference, params))
    close(after[:, 3], before[:, 3])
    expected = [proportional_by_definition(matrix[:3, :3], 0.0) for matrix in MATRICES]
    close(after[:, :3] / after[:, :3].sum(axis=1, keepdims=True), expected, atol=1e-6)
    assert np.isneginf(found.target[:, 3]).all()


@pytest.mark.once
def test_pairs_that_were_never_compared(close):
    """A tie leaves them to the other pairs; a model decides them; complete contexts are left to their counts."""
    missing = ((PAIRS.winner == 0) & (PAIRS.loser == 1)) | ((PAIRS.winner == 1) & (PAIRS.loser == 0))
    missing &= PAIRS.context == 0
    some = Comparisons(*(field[~missing] for field in PAIRS))
    _, counted = training.proportional(TABULAR, TABULAR.init(None), some, beta=0.0)
    strengths = preferences.Strengths(ridge=0.5)
    _, modelled = training.proportional(TABULAR, TABULAR.init(None), some, beta=0.0, unseen=strengths)
    wins = preferences.count_wins(some, alternatives=RESPONSES, contexts=CONTEXTS)
    expected = preferences.smoothed_matrix(wins[0], strengths)
    without = np.where(np.eye(RESPONSES, dtype=bool), 1, MATRICES[0])
    without[0, 1] = without[1, 0] = 1
    close(counted.bounds[0], without.min(axis=1), atol=1e-6)
    close(modelled.matrices[0], expected, atol=1e-5)
    close(modelled.matrices[1], MATRICES[1], atol=1e-6)
    close(modelled.bounds[0], social_choice.share_bounds(expected), atol=1e-5)
    _, chosen = training.proportional(TABULAR, TABULAR.init(None), some, beta=0.0, unseen="bradley-terry")
    assert 0 < chosen.matrices[0, 0, 1] < 1
    assert abs(chosen.matrices[0, 0, 1] - 0.5) > 1e-3


def test_printed_propensities_need_balanced_pairs(close, x64):
    """If pairs are compared in proportion to π_d(y) π_d(z), (50) as printed finds the strongest opponents too.

    If they are not, it selects those that were seldom met: here a is compared most with b, which it beats least.
    """
    drawn = random_policy(np.random.default_rng(4), CONTEXTS, RESPONSES)
    pairs = 1000 * drawn[:, :, None] * drawn[:, None, :]
    x, y, z = PAIRS.context, PAIRS.winner, PAIRS.loser
    balanced = PAIRS._replace(weight=(pairs * MATRICES)[x, y, z])
    options = {"beta": 0.0, "propensities": drawn}
    _, found = training.proportional(TABULAR, TABULAR.init(None), balanced, **options)
    exact = np.stack([social_choice.share_bounds(matrix) for matrix in MATRICES])
    close(found.bounds, exact, atol=1e-5 if x64 else 1e-3)
    matrix = np.array([[0.5, 0.6, 0.7], [0.4, 0.5, 0.5], [0.3, 0.5, 0.5]])
    often = np.array([[0, 90.0, 10.0], [90.0, 0, 10.0], [10.0, 10.0, 0]])
    y, z = np.nonzero(often)
    unequal = Comparisons(np.zeros_like(y), y, z, (often * matrix)[y, z])
    policy = policies.tabular(1, 3)
    for propensities, bound in ((None, 0.6), ([[1 / 3] * 3], 0.7)):
        _, found = training.proportional(policy, policy.init(None), unequal, beta=0.0, propensities=propensities)
        assert found.bounds[0, 0] == pytest.approx(bound)


def tables(**options):
    return training.proportional(TABULAR, TABULAR.init(None), options.pop("pairs", PAIRS), **({"beta": 0.0} | options))


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tables(pairs=PAIRS._replace(winner=PAIRS.winner + 4)), "comparisons.winner: expected ids in 0..3"),
        (
            lambda: tables(pairs=Comparisons(*(f[(PAIRS.winner < 3) & (PAIRS.loser < 3)] for f in PAIRS))),
            "response 3 of context 0; pass unseen='bradley-terry'",
        ),
        (lambda: tables(candidates=np.eye(2, 4, dtype=bool)), "candidates of their context; got response"),
        (lambda: tables(candidates=[[1.0, 0.0]]), "candidates: expected .contexts, responses. of True and False"),
        (
            lambda: tables(propensities=[[0.5, 0.5, 0.0, 0.0]] * 2),
            "expected a probability above 0.*response 2",
        ),
        (lambda: tables(propensities=[[0.25] * 4]), r"propensities: expected shape \(2, 4\)"),
        (lambda: tables(propensities=[[0.25] * 4] * 2, unseen="low-rank"), "propensities: expected None"),
        (lambda: tables(pairs=Comparisons([0], [1], [1], [1.0])), "the chosen and the rejected response to differ"),
        (lambda: tables(pairs=PAIRS._replace(weight=0 * PAIRS.weight)), "positive weight"),
        (lambda: tables(bounds=[[0.5] * 4]), r"bounds: expected shape \(2, 4\)"),
        (
            lambda: tables(bounds=[[0.5] * 4, [0.5, 0.5, np.nan, 0.5]]),
            "bounds: expected a share.*response 2 of context 1",
        ),
        (lambda: tables(bounds=[[0.5] * 4] * 2, selector=training.Selector(TABULAR)), "selector: expected None"),
        (lambda: tables(unseen="guess"), "unseen: expected one of 'tie'"),
        (lambda: tables(divergence="chi"), "divergence: expected one of"),
        (lambda: tables(divergence="forward_kl", policy_coefficient=1.0), "divergence: expected 'reverse_kl'"),
        (lambda: tables(policy_coefficient=-1.0), "policy_coefficient"),
        (lambda: tables(beta=-1.0), "beta"),
        (lambda: tables(optimiser=optax.sgd(1.0), batch_size=0), "batch_size"),
        (
            lambda: training.proportional(CATALOGUE, BIGRAM.init(None), PAIRS, beta=0.0),
            "optimiser: expected an optimiser for phase 2",
        ),
        (
            lambda: tables(selector=training.Selector(CATALOGUE, BIGRAM.init(None))),
            "optimiser: expected an optimiser for phase 1|contexts: expected ids",
        ),
        (
            lambda: training.proportional(
                ONE_HOT, ONE_HOT.init(None), PAIRS, beta=0.0, selector=training.Selector(ONE_HOT, first=-8)
            ),
            "contexts|selector",
        ),
        (lambda: policies.tabular(1, 1), "at least 2 candidates"),
        (lambda: alignment.selector_loss(0.0, -np.inf), "propensity: expected finite"),
        (lambda: alignment.offline_policy_loss(0.0, 0.0, 0.5, 0.5, -np.inf, 0.0, beta=0.0), "chosen_propensity"),
        (lambda: alignment.proportional_policy([0.5, 1.5], beta=0.0), "bounds: expected shares"),
        (lambda: alignment.policy_divergence([0.0], [0.0, 0.0]), "target: expected the shape"),
        (lambda: alignment.selected_shares([0.5], [0.0, 0.0]), "selector: expected the shape"),
        (lambda: policies.selector_prompts([[0]], [], separator=[1]), "one list of candidates"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(ValueError, match=message):
        call()
