"""Contract tests of a user's own rules and policies."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxval import _checks, axioms
from jaxval.types import LinearLogits, Policy, Rule

__all__ = ["check_policy", "check_rule"]


def check_rule(
    rule: Rule,
    *,
    alternatives: tuple[int, ...] = (2, 3, 4),
    anonymity: bool = True,
    neutrality: bool = True,
    tolerance: float | None = None,
) -> None:
    """The contract of a rule: a lottery for every profile, the same under `jit` and `vmap`, blind to names.

    It is checked on 12 profiles of five ballots for each M, from a fixed seed. Among them are a unanimous one, a cycle,
    ties, unequal shares and a ballot that nobody holds.

    Args:
        rule: a function of P, or of (orders, weights), to a lottery.
        alternatives: the numbers of alternatives to try.
        anonymity: whether `axioms.anonymity` must hold.
        neutrality: whether `axioms.neutrality` must hold.
        tolerance: how far sums may be from one and results from each other; None means 1e-9 in float64 and 1e-5 in
            float32.

    Raises:
        AssertionError: if the rule fails. The message names the property and the profile.
        ValueError: if the rule is not a function of P or of (orders, weights), or JAX cannot trace it.

    Example:
        >>> from jaxval import social_choice
        >>> check_rule(social_choice.proportional, alternatives=(3,))
        >>> check_rule(lambda matrix: matrix[0], alternatives=(3,))
        Traceback (most recent call last):
        ...
        AssertionError: rule: probabilities sum to 2.5, not to 1, on
          5 x a > b > c
    """
    limit = _limit(tolerance)
    profile_rule = axioms.as_profile_rule(rule)
    for count in _checks.check_list("alternatives", alternatives, "several numbers of alternatives"):
        _checks.check_memory("alternatives", _checks.check_size("alternatives", count), count)
        orders, weights = _contract_profiles(count)
        together = np.asarray(jax.jit(jax.vmap(profile_rule))(orders, weights))
        compiled = jax.jit(profile_rule)
        for row, (one, shares) in enumerate(zip(orders, weights, strict=True)):
            where = f", on\n{axioms.format_profile(one, shares, indent='  ')}"
            lottery = np.asarray(profile_rule(one, shares))
            assert np.isfinite(lottery).all(), f"rule: expected finite probabilities; got {lottery.tolist()}{where}"
            assert lottery.min() >= -limit, f"rule: expected probabilities of at least 0; got {lottery.min():g}{where}"
            total = float(lottery.sum())
            assert abs(total - 1) <= limit * count, f"rule: probabilities sum to {total:g}, not to 1{where}"
            for name, other in (("jit", np.asarray(compiled(one, shares))), ("vmap", together[row])):
                difference = np.abs(other - lottery).max()
                assert difference <= limit, f"rule: differs by {difference:g} under {name}{where}"
        for name, wanted in (("anonymity", anonymity), ("neutrality", neutrality)):
            if _checks.check_flag(name, wanted):
                axiom = getattr(axioms, name)
                gaps = np.asarray(jax.jit(jax.vmap(lambda o, w, axiom=axiom: axiom(rule, o, w)[0]))(orders, weights))
                worst = int(gaps.argmax())
                where = f", on\n{axioms.format_profile(orders[worst], weights[worst], indent='  ')}"
                assert gaps[worst] <= limit, f"rule: violates {name} by {gaps[worst]:g}{where}"


def check_policy(
    policy: Policy, *, contexts: int, responses: int, complete: bool = False, tolerance: float | None = None
) -> None:
    """The contract of a policy: log-probabilities of ids, -inf for -1, row by row, the same under `jit` and `vmap`.

    If the policy brings a linear map of its logits, `Policy.linear`, that map gives the same differences.

    It is checked at the parameters of `policy.init`, moved at random, on rows that repeat, reorder and leave out
    candidates.

    Args:
        policy: the policy to check.
        contexts: how many prompts its catalogue has.
        responses: how many candidates each prompt has; ids 0..responses - 1 must exist in all of them.
        complete: whether the candidates are all possible responses, so that their probabilities sum to one.
        tolerance: how far results may be from each other; None means 1e-9 in float64 and 1e-5 in float32.

    Raises:
        AssertionError: if the policy fails. The message names the property.

    Example:
        >>> from jaxval import policies
        >>> check_policy(policies.tabular(3, 2), contexts=3, responses=2, complete=True)
    """
    limit = 10 * _limit(tolerance)
    _checks.check_record("policy", policy, Policy)
    contexts, responses = _checks.check_size("contexts", contexts), _checks.check_size("responses", responses)
    _checks.check_memory("contexts", contexts, 2, responses)
    rng = np.random.default_rng(0)
    start = policy.init(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf + jnp.asarray(0.1 * rng.normal(size=leaf.shape), leaf.dtype), start)
    rows = jnp.asarray(rng.permutation(np.arange(contexts)).repeat(2))
    ids = np.stack([rng.permutation(responses) for _ in rows])
    whole = np.asarray(policy.log_probs(params, rows, jnp.asarray(ids)), dtype=float)
    assert whole.shape == ids.shape, f"log_probs: expected shape {ids.shape}, as the ids have; got {whole.shape}"
    assert np.isfinite(whole).all(), "log_probs: expected finite numbers for candidates of the catalogue"
    assert whole.max() <= limit, f"log_probs: expected at most 0; got {whole.max():g}"
    sums = np.exp(whole).sum(axis=1)
    assert sums.max() <= 1 + limit, f"log_probs: probabilities of the candidates sum to {sums.max():g}, above 1"
    if complete:
        assert sums.min() >= 1 - limit, f"log_probs: probabilities of all candidates sum to {sums.min():g}, not to 1"
    sorted_rows = [whole[row][np.argsort(ids[row])] for row in range(len(rows))]
    for row, context in enumerate(np.asarray(rows)):
        first = sorted_rows[int((np.asarray(rows) == context).argmax())]
        gap = np.abs(first - sorted_rows[row]).max()
        assert gap <= limit, f"log_probs: depends on the order of ids, prompt {context}"
    left = ids.copy()
    left[:, -1] = -1
    some = np.asarray(policy.log_probs(params, rows, jnp.asarray(left)), dtype=float)
    assert (some[:, -1] == -np.inf).all(), "log_probs: expected -inf where the id is -1"
    assert np.abs(some[:, :-1] - whole[:, :-1]).max() <= limit, "log_probs: an absent candidate changes the others"
    one = np.asarray(policy.log_probs(params, rows[:1], jnp.asarray(ids[:1])), dtype=float)
    assert np.abs(one - whole[:1]).max() <= limit, "log_probs: a row depends on the rows beside it"
    compiled = np.asarray(jax.jit(policy.log_probs)(params, rows, jnp.asarray(ids)), dtype=float)
    assert np.abs(compiled - whole).max() <= limit, "log_probs: differs under jit"
    stacked = jax.tree.map(lambda leaf, other: jnp.stack([leaf, other]), start, params)
    both = np.asarray(jax.vmap(policy.log_probs, in_axes=(0, None, None))(stacked, rows, jnp.asarray(ids)), dtype=float)
    assert np.abs(both[1] - whole).max() <= limit, "log_probs: differs under vmap over parameters"

    def total(params: Any) -> Any:
        taken = policy.log_probs(params, rows, jnp.asarray(left))
        return jnp.sum(jnp.where(jnp.asarray(left) < 0, 0, taken))

    slopes = jax.tree.leaves(jax.grad(total)(params))
    assert all(np.isfinite(np.asarray(slope)).all() for slope in slopes), "log_probs: a gradient is not finite"
    if policy.linear is not None:
        log_z = _logits(policy.linear, params)[np.asarray(rows)[:, None], ids] - whole
        gap = np.abs(log_z - log_z[:, :1]).max()
        assert gap <= limit * max(1, np.abs(log_z).max()), f"linear: its logits differ from log_probs by {gap:g}"


def _logits(linear: LinearLogits, params: Any) -> np.ndarray:
    """The logits that a linear map gives, b + f·θ, (contexts, responses)."""
    base = np.asarray(linear.base, dtype=float)
    if linear.features is None:
        return base + np.asarray(params)
    parts = jax.tree.map(lambda f, value: np.tensordot(f, value, axes=np.ndim(value)), linear.features, params)
    return base + sum(jax.tree.leaves(parts))


def _limit(tolerance: float | None) -> float:
    """The tolerance, or that of the precision."""
    if tolerance is None:
        return _checks.tolerance(jnp.result_type(float))
    expected = "a finite number of at least 0, or None"
    return float(_checks.check_number("tolerance", tolerance, low=0, high=1e30, expected=expected))


def _contract_profiles(alternatives: int) -> tuple[np.ndarray, np.ndarray]:
    """(12, 5, alternatives) orders and (12, 5) shares."""
    random = np.random.default_rng(0)
    orders = random.permuted(np.broadcast_to(np.arange(alternatives), (12, 5, alternatives)), axis=-1)
    orders[0] = np.arange(alternatives)
    orders[1] = [np.roll(np.arange(alternatives), -voter) for voter in range(5)]
    orders[2:4, 1::2] = orders[2:4, :4:2, ::-1]
    weights = np.full((12, 5), 0.2)
    weights[2:4] = [0.25, 0.25, 0.25, 0.25, 0]
    weights[8:] = random.multinomial(16, [0.2] * 5, size=4) / 16
    return orders.astype(np.int32), weights.astype(jnp.result_type(float))
