"""Losses, implicit rewards and gradients of whole batches against the numbers that TRL computed."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np

from jaxval import alignment

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
