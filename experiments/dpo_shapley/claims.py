"""The paper's claims beside the measured results, in sentences with numbers."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.dpo_shapley.measures import SHARE, SHORT, spent

__all__ = ["claims"]

EXACT = 1e-8
Row = tuple[str, str, str]
"""A claim of the paper, what was found, and the verdict."""


def claims(found: dict[str, Any]) -> list[dict[str, str]]:
    """One row for each claim of the paper that one of the finished parts tests.

    Args:
        found: the results of each part, by its letter.

    Returns:
        Rows with the fields `part`, `claim`, `found` and `verdict`.
    """
    parts = {"a": _exact, "b": _stopped_short, "c": _real_pairs, "d": _growth}
    return [
        {"part": part, "claim": claim, "found": said, "verdict": verdict}
        for part, rows in parts.items()
        if part in found
        for claim, said, verdict in rows(found[part])
    ]


def _exact(found: dict[str, Any]) -> Iterator[Row]:
    entries = list(found.values())
    orders, product, sequential, gap = (
        max(entry[name] for entry in entries)
        for name in (
            "gap between orders, nats",
            "gap between product and (6), nats",
            "gap between sequential and (6), nats",
            "gap to sequential, share of the largest value",
        )
    )
    said = f"log π of all sources differs between orders by {orders:.0e} nats at most"
    yield "The order of sources does not matter at convergence (Algorithm 1)", said, _holds(orders)
    claim = "Sequential DPO = product of the single policies = equation (6)"
    said = f"product and (6) differ by {product:.0e} nats, sequential and (6) by {sequential:.0e}"
    yield claim, said, _holds(max(product, sequential))
    sizes = ", ".join(str(n) for n in sorted({entry["n"] for entry in entries}))
    said = f"n = {sizes}: φ̂ and φ of sequential retraining differ by {gap:.0e} of the largest value"
    yield "n trainings give the values of 2ⁿ retrainings (equation 7)", said, _holds(gap)
    said = "; ".join(
        f"n={entry['n']}, β={entry['beta']:g}: gap {entry['union'][SHARE]['mean']:.0%} of the largest value, gain of "
        f"the union {entry[MEDIAN]:.2f} of sequential's, rank correlation {_number(entry['union']['spearman'])}, "
        f"{entry['values that change sign']} of {entry['values']} values change sign"
        for entry in entries
    )
    verdict = "not in size" if max(entry["union"][SHARE]["mean"] for entry in entries) > 0.2 else "holds"
    yield "Sequential DPO differs only slightly from DPO on the union", said, verdict


MEDIAN = "median of union's gain over sequential's"


def _holds(gap: float) -> str:
    return "holds" if gap < EXACT else "fails"


def _stopped_short(found: dict[str, Any]) -> Iterator[Row]:
    linear = [kind for kind in found if "gradient descent" in kind or kind.startswith("log-linear")]
    rounded = [kind for kind in ("tabular, Adam", "tabular, Adam, no ties") if kind in found]
    others = [kind for kind in found if kind not in rounded + linear]

    def sentence(kind: str) -> str:
        spread, short = found[kind]["range of the reward over orders"], found[kind][SHORT]
        where = f"β={spread['largest']['beta']:g}, T={spread['largest']['steps']}"
        return (
            f"{kind}: orders change the reward by up to {_percent(spread['largest']['value'])} of its range ({where}) "
            f"and by {_percent(max(spread['most steps']))} at T={found[kind]['steps'][-1]}; φ̂ misses equally short "
            f"retraining by up to {_percent(short['largest']['value'])}"
        )

    for kinds, claim in (
        (linear, "Does commutativity persist short of convergence? Where log π is linear in the parameters"),
        (
            rounded,
            "The same by Adam, which divides by the size of the gradient: exact but for rounding, which it amplifies",
        ),
        (others, "The same where a step depends on where its stage begins"),
    ):
        if kinds:
            most = max(found[kind][SHORT]["largest"]["value"] for kind in kinds)
            verdict = "yes, exactly" if most < 1e-6 else f"to {most:.0e}"
            if kinds is not linear:
                verdict = f"to {most:.1%}" if kinds is rounded else "no"
            yield claim, "; ".join(map(sentence, kinds)), verdict


def _percent(share: float) -> str:
    return f"{share:.2%}" if share > 1e-4 else f"{share:.0e}"


def _real_pairs(found: dict[str, Any]) -> Iterator[Row]:
    for kind, entry in found.items():
        said = "; ".join(
            f"{way}: correlation of values {_number(numbers[0]['pearson'])}, of ranks {_number(numbers[0]['spearman'])}"
            for way, numbers in entry["against"].items()
        )
        gap = entry["against"]["response against sequential"][0][SHARE]
        verdict = "exact" if gap["high"] < EXACT else f"gap {gap['mean']:.0%} of the largest value"
        yield f"Arithmetic approximates retraining on real pairs ({kind}, {entry['seeds']} seeds)", said, verdict
        once, seconds = entry["seconds"]["separate"]["mean"], entry["seconds"]
        ratios = ", ".join(f"{way} {value / once:.1f}" for way, value in spent(entry).items())
        said = f"time, compiling included, in units of the four single trainings ({once:.1f} s): {ratios}"
        saves = seconds["response"]["mean"] < seconds["sequential"]["mean"]
        verdict = "saves time" if saves else "not here: a training takes milliseconds"
        yield f"One training for each source instead of one for each coalition ({kind})", said, verdict


def _growth(found: dict[str, Any]) -> Iterator[Row]:
    def cost(entry: dict[str, Any], method: str) -> str:
        evaluations, seconds = (entry[f"{measure} for 1 %"][method] for measure in ("evaluations", "seconds"))
        if evaluations is None:
            last = entry[method][-1]
            return f"{method} {last['error']:.1%} after {last['evaluations']:.0f} evaluations"
        return f"{method} {evaluations:.0f} evaluations, {seconds:.2g} s"

    methods = list(next(iter(found.values()))["evaluations for 1 %"])
    said = "; ".join(f"n={n}: " + ", ".join(cost(entry, method) for method in methods) for n, entry in found.items())
    powers = {method: _power(found, method) for method in methods}
    verdict = ", ".join(f"{method} about n^{power:.1f}" for method, power in powers.items() if power is not None)
    claim = "Sampling or regression needs polynomially many calls instead of 2ⁿ"
    yield claim, f"for an error of 1 %: {said}", verdict or "too few sizes to tell"


def _power(found: dict[str, Any], method: str) -> float | None:
    """The slope of log evaluations over log n; None if fewer than three sizes have at least 8 sources."""
    points = [(int(n), entry["evaluations for 1 %"][method]) for n, entry in found.items() if int(n) >= 8]
    known = [(n, evaluations) for n, evaluations in points if evaluations is not None]
    return float(np.polyfit(*np.log(np.transpose(known)), 1)[0]) if len(known) >= 3 else None


def _number(entry: dict[str, Any] | None) -> str:
    return "-" if entry is None else f"{entry['mean']:.3f} ({entry['low']:.3f} to {entry['high']:.3f})"
