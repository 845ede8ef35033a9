"""Pools of samples by their definition, in plain NumPy: weights, utilities, and errors by the delta method."""

import numpy as np

from experiments.pool_coverage import MASKS
from jaxval.data import SamplePool


def plain_weights(log_probs, log_q, members):
    """w_j / Σ w of every prompt, a list of arrays, one number after another."""
    shares = []
    for x in range(log_probs.shape[1]):
        weights = np.zeros(log_probs.shape[2])
        for j in range(log_probs.shape[2]):
            reference = log_probs[0, x, j]
            if log_q[x, j] == np.inf or reference == -np.inf:
                continue
            total = reference - log_q[x, j]
            for source, weight in enumerate(members):
                if weight:
                    total += weight * (log_probs[source + 1, x, j] - reference)
            weights[j] = np.exp(total)
        shares.append(weights / weights.sum())
    return np.array(shares)


def plain_mixture(log_probs):
    return np.log(np.mean(np.exp(log_probs), axis=0))


def plain_utility(log_probs, rewards, log_q, members):
    shares = plain_weights(log_probs, log_q, members)
    return np.mean([share @ np.nan_to_num(reward) for share, reward in zip(shares, rewards, strict=True)], axis=0)


def random_pool(rng, *, prompts=5, samples=7, objectives=2, policies=4):
    log_probs = np.log(rng.dirichlet(np.ones(30), size=(policies, prompts)))[:, :, :samples]
    return log_probs, rng.normal(size=(prompts, samples, objectives)) + 2


def as_sample_pool(log_probs, rewards, *, proposal=None, drawn_from=None, further=None, candidates=False):
    names = tuple(f"s{i}" for i in range(len(log_probs) - 1))
    if proposal is None and drawn_from is None:
        proposal = plain_mixture(log_probs)
    further = np.zeros((0, *log_probs.shape[1:])) if further is None else further
    return SamplePool(
        tuple(f"p{x}" for x in range(log_probs.shape[1])),
        names,
        tuple(f"r{k}" for k in range(rewards.shape[2])),
        log_probs,
        rewards,
        proposal,
        drawn_from,
        tuple(f"q{i}" for i in range(len(further))),
        further,
        candidates,
        "pool",
    )


def plain_errors(log_probs, rewards, log_q, weights, masks=MASKS):
    """Utilities at each prompt, the delta method's errors within prompts of utilities and values, and sizes."""
    prompts, counts = log_probs.shape[1], (log_q < np.inf).sum(axis=1)
    utilities, moves, sizes = [], [], []
    for mask in masks:
        shares = plain_weights(log_probs, log_q, mask)
        utility = np.einsum("xj,xjr->xr", shares, rewards)
        utilities.append(utility)
        moves.append(shares[:, :, None] * (rewards - utility[:, None]))
        sizes.append(1 / (shares**2).sum(axis=1))
    unbiased = (counts / (counts - 1))[:, None]

    def error(influences):  # (prompts, samples, objectives)
        return np.sqrt((unbiased * (influences**2).sum(axis=1)).sum(axis=0)) / prompts

    of_values = [error(sum(c * move for c, move in zip(row, moves, strict=True))) for row in weights]
    return np.array(utilities), np.array([error(move) for move in moves]), np.array(of_values), np.array(sizes)
