"""The paper's claims beside the measured results, in sentences with numbers."""

from typing import Any

import numpy as np

__all__ = ["claims"]

EXACT = 1e-8


def claims(found: dict[str, Any]) -> list[dict[str, str]]:
    """One row for each claim of the paper that one of the finished parts tests.

    Args:
        found: the results of each part, by its letter.

    Returns:
        Rows with the fields `claim`, `found` and `verdict`.
    """
    rows: list[dict[str, str]] = []
    for part, speak in (("a", _exact), ("b", _stopped_short), ("c", _real_pairs), ("d", _growth)):
        if part in found:
            rows += [
                {"part": part, "claim": claim, "found": said, "verdict": verdict}
                for claim, said, verdict in speak(found[part])
            ]
    return rows


def _exact(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    entries = list(found.values())

    def worst(name: str) -> float:
        return max(entry[name] for entry in entries)

    orders, gap = worst("gap between orders, nats"), worst("gap to sequential, share of the largest value")
    product = worst("gap between product and (6), nats")
    sequential = worst("gap between sequential and (6), nats")
    sizes = ", ".join(str(n) for n in sorted({entry["n"] for entry in entries}))
    union = "; ".join(
        f"n={entry['n']}, β={entry['beta']:g}: gap {entry['union'][SHARE]['mean']:.0%} of the "
        f"largest value, gain of the union {entry[MEDIAN]:.2f} of sequential's, rank correlation "
        f"{_number(entry['union']['spearman'])}, {entry['values that change sign']} of {entry['values']} values change "
        "sign"
        for entry in entries
    )
    return [
        (
            "The order of sources does not matter at convergence (Algorithm 1)",
            f"log π of all sources differs between orders by {orders:.0e} nats at most",
            "holds" if orders < EXACT else "fails",
        ),
        (
            "Sequential DPO = product of the single policies = equation (6)",
            f"product and (6) differ by {product:.0e} nats, sequential and (6) by {sequential:.0e}",
            "holds" if max(product, sequential) < EXACT else "fails",
        ),
        (
            "n trainings give the values of 2ⁿ retrainings (equation 7)",
            f"n = {sizes}: φ̂ and φ of sequential retraining differ by {gap:.0e} of the largest value",
            "holds" if gap < EXACT else "fails",
        ),
        (
            "Sequential DPO differs only slightly from DPO on the union",
            union,
            "not in size" if max(e["union"][SHARE]["mean"] for e in entries) > 0.2 else "holds",
        ),
    ]


SHARE = "largest gap, share of the largest value"
MEDIAN = "median of union's gain over sequential's"


def _stopped_short(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    rounded = [
        kind for kind in found if kind.startswith("tabular, Adam") and "carried" not in kind and "decay" not in kind
    ]
    linear = [kind for kind in found if "gradient descent" in kind or kind.startswith("log-linear")]
    others = [kind for kind in found if kind not in rounded + linear]

    def most(kinds: list[str]) -> float:
        return max(found[kind][SHORT]["largest"]["value"] for kind in kinds)

    def sentence(kind: str) -> str:
        spread, short = found[kind][RANGE], found[kind][SHORT]
        where = f"β={spread['largest']['beta']:g}, T={spread['largest']['steps']}"
        return (
            f"{kind}: orders change the reward by up to {_percent(spread['largest']['value'])} of its range ({where}) "
            f"and by {_percent(max(spread['most steps']))} at T={found[kind]['steps'][-1]}; φ̂ misses equally short "
            f"retraining by up to {_percent(short['largest']['value'])}"
        )

    def said(kinds: list[str]) -> str:
        return "; ".join(map(sentence, kinds))

    rows = []
    if linear:
        claim = "Does commutativity persist short of convergence? Where log π is linear in the parameters"
        rows.append((claim, said(linear), "yes, exactly" if most(linear) < 1e-6 else f"to {most(linear):.0e}"))
    if rounded:
        claim = (
            "The same by Adam, which divides by the size of the gradient: exact but for rounding, which it amplifies"
        )
        rows.append((claim, said(rounded), f"to {most(rounded):.1%}"))
    if others:
        claim = "The same where a step depends on where its stage begins"
        rows.append((claim, said(others), "no"))
    return rows


def _percent(share: float) -> str:
    return f"{share:.2%}" if share > 1e-4 else f"{share:.0e}"


RANGE, SHORT = "range of the reward over orders", "error against equally short retraining"


def _real_pairs(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for kind, entry in found.items():
        said = "; ".join(
            f"{way}: correlation of values {_number(numbers[0]['pearson'])}, of ranks {_number(numbers[0]['spearman'])}"
            for way, numbers in entry["against"].items()
        )
        rows.append(
            (
                f"Arithmetic approximates retraining on real pairs ({kind}, {entry['seeds']} seeds)",
                said,
                _how_near(entry),
            )
        )
        spent = entry["seconds"]
        once = spent["separate"]["mean"]
        ratios = ", ".join(
            f"{way} {(spent[way]['mean'] + once * (way not in ('sequential', 'union'))) / once:.1f}"
            for way in ("response", "token", "parameter", "sequential", "union")
            if way in spent
        )
        rows.append(
            (
                f"One training for each source instead of one for each coalition ({kind})",
                f"time, compiling included, in units of the four single trainings ({once:.1f} s): {ratios}",
                "saves time"
                if spent["response"]["mean"] < spent["sequential"]["mean"]
                else "not here: a training takes milliseconds",
            )
        )
    return rows


def _growth(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    def cost(entry: dict[str, Any], method: str) -> str:
        evaluations, seconds = (entry[f"{measure} for 1 %"][method] for measure in ("evaluations", "seconds"))
        if evaluations is None:
            last = entry[method][-1]
            return f"{method} {last['error']:.1%} after {last['evaluations']:.0f} evaluations"
        return f"{method} {evaluations:.0f} evaluations, {seconds:.2g} s"

    said = "for an error of 1 %: " + "; ".join(
        f"n={n}: " + ", ".join(cost(entry, method) for method in entry["evaluations for 1 %"])
        for n, entry in found.items()
    )
    powers = {method: _power(found, method) for method in next(iter(found.values()))["evaluations for 1 %"]}
    verdict = ", ".join(f"{method} about n^{power:.1f}" for method, power in powers.items() if power is not None)
    claim = "Sampling or regression needs polynomially many calls instead of 2ⁿ"
    return [(claim, said, verdict or "too few sizes to tell")]


def _power(found: dict[str, Any], method: str) -> float | None:
    """The slope of log evaluations over log n; None if fewer than three sizes have at least 8 sources."""
    points = [(int(n), entry["evaluations for 1 %"][method]) for n, entry in found.items() if int(n) >= 8]
    known = [(n, evaluations) for n, evaluations in points if evaluations is not None]
    if len(known) < 3:
        return None
    return float(np.polyfit(*(np.log(side) for side in zip(*known, strict=True)), 1)[0])


def _how_near(entry: dict[str, Any]) -> str:
    """Whether the arithmetic of responses gives the values of sequential retraining, in every seed."""
    numbers = entry["against"]["response against sequential"][0]
    gap = numbers[SHARE]
    return "exact" if gap["high"] < EXACT else f"gap {gap['mean']:.0%} of the largest value"


def _number(entry: dict[str, Any] | None) -> str:
    return "-" if entry is None else f"{entry['mean']:.3f} ({entry['low']:.3f} to {entry['high']:.3f})"
