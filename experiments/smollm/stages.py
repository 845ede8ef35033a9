"""What the experiment does with the setting: train, draw, value, and compare arithmetics with what they stand for."""

from __future__ import annotations

import functools
import resource
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.smollm.setting import REWARDS, SOURCES, Setting, learner_of, rewards_of
from jaxval import coalitions, policies, values
from jaxval.alignment import dispersion_weight
from jaxval.checkpoints import load_state, save_state
from jaxval.coalitions import TokenArithmetic
from jaxval.parallel import progress as progress_bar
from jaxval.sources import Draws, Training, draw_pool, pool_of_draws, value_pool
from jaxval.sources.arithmetic import train_once
from jaxval.sources.pairs import to_train_on
from jaxval.sources.trainings import trainer
from jaxval.types import Grouped, Params

PAIR = (0, 1)  # the sources that are retrained one after the other
SAMPLED = 8  # coalitions from which responses are sampled


def train(setting: Setting) -> tuple[Params, list[Params], Params]:
    """The reference's parameters, those after training on each source, and those after one source and then another."""
    reference = setting.model.init(jax.random.key(setting.options.seed))
    files = [setting.folder / f"source-{number}" for number in range(len(SOURCES))]
    last = setting.folder / "one-after-the-other"
    if all(path.with_suffix(".npz").exists() for path in (*files, last)):
        kept = [load_state(path.with_suffix(".npz"), reference) for path in (*files, last)]
        return reference, kept[:-1], kept[-1]
    options = setting.options
    learner = learner_of(setting)
    how = Training(
        beta=options.beta, epochs=options.epochs, batch_size=options.batch_size, learning_rate=options.learning_rate
    )
    how = how._replace(accumulation=options.accumulation)
    step, _ = trainer(learner, setting.pairs, how, progress=options.progress)
    sources = to_train_on(setting.pairs, np.array([], int))
    key = jax.random.key(options.seed + 1)
    trained = [train_once(step, reference, source, key, path) for source, path in zip(sources, files, strict=True)]
    first, second = PAIR
    return reference, trained, train_once(step, trained[first], sources[second], key, last)


def draw(setting: Setting, reference: Params, trained: list[Params]) -> Draws:
    """The pool."""
    options = setting.options
    return draw_pool(
        jax.random.key(options.seed + 2),
        setting.model,
        reference,
        trained,
        setting.prompts,
        samples=options.samples,
        new_tokens=options.new_tokens,
        end=setting.tokeniser.end,
        names=list(SOURCES),
        folder=setting.folder / "pool",
        progress=options.progress,
    )


def scores(setting: Setting, heads: Any, draws: Draws) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """(prompts, samples, rewards) standardised rewards of the pool, and the mean and the deviation that are used.

    Mean and standard deviation are those of the reference's draws.
    """
    form = np.zeros((*draws.lengths.shape, len(REWARDS)))
    path = setting.folder / "rewards.npz"
    if not path.exists():
        rows = range(len(draws.prompts))
        save_state(path, np.asarray(rewards_of(setting, heads(), rows, draws.tokens, draws.lengths), float))
    table = load_state(path, form)
    own = table[draws.drawn_from == 0]
    standard = own.mean(axis=0), own.std(axis=0)
    return (table - standard[0]) / standard[1], standard


def examples(setting: Setting, draws: Draws, table: np.ndarray) -> list[dict[str, Any]]:
    """For a few prompts the first response of every policy, with its rewards."""
    names = ["reference", *SOURCES, *draws.proposals]
    rows = []
    for row in range(min(3, len(draws.prompts))):
        for label, name in enumerate(names):
            column = int(np.argmax(draws.drawn_from[row] == label))
            ids = draws.tokens[row, column, : draws.lengths[row, column]]
            text = {"prompt": setting.held_out[row][-200:], "from": name, "response": setting.tokeniser.decode(ids)}
            rows.append(text | dict(zip(REWARDS, table[row, column].tolist(), strict=True)))
    return rows


def peak_memory() -> float:
    """The largest memory that this process has held, in gigabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def value(draws: Draws, table: np.ndarray, setting: Setting) -> dict[str, Any]:
    """Values and effective sizes from the pool."""
    pool = pool_of_draws(
        draws, table, prompts=setting.held_out, sources=list(SOURCES), rewards=REWARDS, title="SmolLM2"
    )
    found = value_pool(pool, refuse=False)
    steps = draws.log_probs[1:] - draws.log_probs[0]
    return {
        "values": found.values,
        "standard errors": found.standard_errors,
        "intervals": found.intervals,
        "unreliable": found.unreliable,
        "on weak coalitions": found.weak_shares,
        "utilities": found.utilities,
        "sizes": found.effective_sizes,
        "mean ratios": found.mean_ratios,
        "faults": found.faults,
        "draws": found.draws,
        "spread of steps in nats": steps.std(axis=(1, 2)),
        "mean length": draws.lengths.mean(),
    }


def compare(
    setting: Setting, reference: Params, trained: list[Params], last: Params, draws: Draws, table: np.ndarray
) -> dict[str, Any]:
    """Values by each arithmetic on some prompts, and the pair of sources retrained, from the same responses."""
    count = min(setting.options.arithmetic_prompts, len(draws.prompts))
    part = Draws(
        draws.prompts[:count], *(one[:count] for one in draws[1:4]), draws.log_probs[:, :count], draws.proposals,
        draws.proposal_log_probs[:, :count],
    )  # fmt: skip
    masks = np.asarray(coalitions.all_coalitions(len(trained)))
    log_q = np.asarray(coalitions.pool_proposal(_every(part), part.drawn_from))
    by = {"response": part.log_probs[0] + np.tensordot(masks.astype(float), part.log_probs[1:] - part.log_probs[0], 1)}
    by["token"] = _by_tokens(setting, reference, trained, part, masks)
    by["parameter"] = _by_parameters(setting, trained, part, masks)
    result: dict[str, Any] = {"prompts": count}
    pair = int(sum(2**i for i in PAIR))
    for name, log_probs in by.items():
        utilities, sizes = _weighted(log_probs, log_q, table[:count])
        each = np.asarray(jax.vmap(values.shapley, in_axes=1, out_axes=1)(jnp.asarray(utilities)))
        result[name] = {
            "values": each.mean(axis=1),
            "standard errors": each.std(axis=1, ddof=1) / np.sqrt(count) if count > 1 else np.zeros(each.shape[::2]),
            "utilities": utilities.mean(axis=1),
            "sizes": np.median(sizes, axis=1),
            "by prompt": utilities[pair],
        }
    retrained = _kept(setting, "retrained", part.lengths, functools.partial(_score, setting, [last], part))
    utilities, sizes = _weighted(retrained, log_q, table[:count])
    result["retrained"] = {
        "members": [list(SOURCES)[i] for i in PAIR],
        "utility": utilities[0].mean(axis=0),
        "size": float(np.median(sizes)),
        "differences": {
            name: {
                "utility": (result[name]["by prompt"] - utilities[0]).mean(axis=0),
                "log-probability, root mean square": float(np.sqrt(np.mean((log_probs[pair] - retrained[0]) ** 2)))
                if name != "response"
                else _up_to_constant(log_probs[pair] - retrained[0]),
            }
            for name, log_probs in by.items()
        },
    }
    return result


def _up_to_constant(gap: np.ndarray) -> float:
    """The arithmetic of responses leaves a constant open in each prompt."""
    return float(np.sqrt(np.mean((gap - gap.mean(axis=1, keepdims=True)) ** 2)))


def _every(draws: Draws) -> np.ndarray:
    return np.concatenate([draws.log_probs, draws.proposal_log_probs])


def _weighted(log_probs: np.ndarray, log_q: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(coalitions, prompts, rewards) utilities and (coalitions, prompts) effective sizes, by the pool's weights."""
    logs = log_probs - log_q
    weights = np.exp(logs - logs.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    return np.einsum("sxj,xjr->sxr", weights, table), 1 / (weights**2).sum(axis=2)


def _groups(setting: Setting, draws: Draws) -> list[tuple[Grouped, Any]]:
    """Each prompt with its responses, and the states below the adapters."""
    whole = policies.group_responses(setting.model, draws.prompts, [[[0]]] * len(draws.prompts))
    parts = []
    for row in range(len(draws.prompts)):
        part = slice(row, row + 1)
        grouped = Grouped(
            np.asarray(whole.prompts)[part], np.asarray(whole.prompt_lengths)[part], draws.tokens[part],
            draws.lengths[part],
        )  # fmt: skip
        fixed = setting.model.parts is not None and setting.model.parts.fixed
        parts.append((grouped, policies.trunk_states(setting.model, grouped) if fixed else None))
    return parts


def _kept(setting: Setting, name: str, like: np.ndarray, make: Any, rows: int = 1) -> np.ndarray:
    path = setting.folder / f"{name}.npz"
    if not path.exists():
        save_state(path, make())
    return load_state(path, np.zeros((rows, *like.shape), jnp.zeros(0).dtype))


def _by_tokens(setting: Setting, reference: Params, trained: Any, draws: Draws, masks: np.ndarray) -> np.ndarray:
    """(coalitions, prompts, samples) log-probabilities by the arithmetic of tokens."""
    every = TokenArithmetic(jnp.ones(len(trained)), reference, _stack(trained))

    def make() -> np.ndarray:
        parts = []
        with progress_bar(setting.options.progress, len(draws.prompts), "token arithmetic") as advance:
            for grouped, states in _groups(setting, draws):
                scored = coalitions.score_coalitions(setting.model, every, grouped, masks, states=states)
                parts.append(np.asarray(scored))
                advance(1)
        return np.concatenate(parts, axis=1)

    return _kept(setting, "by-tokens", draws.lengths, make, len(masks))


def _by_parameters(setting: Setting, trained: Any, draws: Draws, masks: np.ndarray) -> np.ndarray:
    """The same by the arithmetic of parameters: sums of the products of adapters."""
    stacked = _stack(trained)
    added = [coalitions.add_adapters(stacked, mask) for mask in masks]
    make = functools.partial(_score, setting, added, draws)
    return _kept(setting, "by-parameters", draws.lengths, make, len(masks))


def _score(setting: Setting, every: list[Params], draws: Draws) -> np.ndarray:
    """(policies, prompts, samples) log-probabilities of the responses."""
    parts = []
    total = len(draws.prompts) * len(every)
    with progress_bar(setting.options.progress, total, "scoring by other policies") as advance:
        for grouped, states in _groups(setting, draws):
            row = []
            for params in every:
                each = policies.score_responses(setting.model, params, grouped, states=states)
                row.append(np.asarray(each.sum(axis=2))[0])
                advance(1)
            parts.append(row)
    return np.moveaxis(np.array(parts), 0, 1)


def _stack(trained: list[Params]) -> Params:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trained)


def sample_coalitions(
    setting: Setting, heads: Any, reference: Params, trained: list[Params], draws: Draws, standard: Any
) -> dict[str, Any]:
    """The rewards of responses sampled token by token from some coalitions, with standard errors."""
    options = setting.options
    n, count = len(trained), min(options.arithmetic_prompts, len(draws.prompts))
    sizes = np.linspace(1, n, SAMPLED).round().astype(int)
    rng = np.random.default_rng(options.seed)
    masks = np.stack([rng.permutation(n) < size for size in sizes])
    every = TokenArithmetic(jnp.ones(n), reference, _stack(trained))
    model = coalitions.token_arithmetic(setting.model, n)
    prompts = policies.pad_sequences(draws.prompts[:count])
    rows = []
    with progress_bar(options.progress, len(masks), "sampling coalitions") as advance:
        for number, mask in enumerate(masks):
            path = setting.folder / f"coalition-{number}.npz"
            if not path.exists():
                drawn = policies.sample(
                    jax.random.key(options.seed + 3 + number),
                    model,
                    every._replace(coalition=jnp.asarray(mask, float)),
                    prompts,
                    num_tokens=options.new_tokens,
                    responses=options.coalition_samples,
                    end=setting.tokeniser.end,
                )
                shape = count, options.coalition_samples
                tokens, lengths = np.asarray(drawn.tokens).reshape(*shape, -1), np.asarray(drawn.lengths).reshape(shape)
                save_state(path, np.asarray(rewards_of(setting, heads(), range(count), tokens, lengths), float))
            table = load_state(path, np.zeros((count, options.coalition_samples, len(REWARDS))))
            table = (table - standard[0]) / standard[1]
            error = np.sqrt(table.var(axis=1, ddof=1).sum(axis=0) / table.shape[1]) / count
            rows.append({"index": int(mask @ 2 ** np.arange(n)), "utility": table.mean(axis=(0, 1)), "error": error})
            advance(1)
    return {"coalitions": rows, "prompts": count, "samples": options.coalition_samples}


def dispersion(setting: Setting, reference: Params, draws: Draws) -> dict[str, Any]:
    """MallowsPO's index of each prompt: the mean entropy of the reference's next token, as a share of log V.

    The paper takes the two responses of a pair; here it is the mean over the pool's responses from the reference.
    """
    indices = []
    for (grouped, states), labels in zip(_groups(setting, draws), draws.drawn_from, strict=True):
        each = np.asarray(policies.response_entropies(setting.model, reference, grouped, states=states))[0]
        means = each.sum(axis=1) / np.asarray(grouped.lengths)[0]
        indices.append(means[labels == 0].mean() / np.log(setting.model.vocabulary))
    index = np.array(indices)
    return {"index": index, "weight": np.asarray(dispersion_weight(jnp.asarray(index)))}
