"""Pictures that explain the papers' statements, drawn from computations that run now.

    python -m experiments.figures [--figure NAME ...] [--out FOLDER]

alignment        how well the worst served group fares against Σu, and the certificate 1/Σu (Kim et al., Lemma 4.7)
manipulation     what a group can get by misreporting against its share, under four rules (Kim et al., Theorem 4.11)
commutativity    two sources, one after another in both orders, and their union (Tamine et al., Algorithm 1)
counterexamples  six questions whose answer is no, each at its smallest instance
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from itertools import pairwise, permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.commands import documented_parser
from jaxval import preferences, social_choice, training, values
from jaxval.plots._drawing import BLACK, BLUE, GREEN, GREY, NORMAL, ORANGE, VERMILLION
from jaxval.policies import tabular
from jaxval.types import Comparisons

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["alignment", "commutativity", "counterexamples", "label", "main", "manipulation", "panels"]

Rule = Callable[[Any], Any]
RULES: dict[str, tuple[Rule, str]] = {
    "F*": (social_choice.proportional, BLUE),
    "Fᵝ, β = 10": (lambda matrix: social_choice.proportional(matrix, beta=10.0), GREEN),
    "maximal lotteries": (social_choice.maximal_lottery, ORANGE),
    "maximal Borda": (social_choice.maximal_borda, VERMILLION),
}
VOTERS = 9
SMALL = 6.5  # points


def profiles(key: Any, alternatives: int, num: int) -> jax.Array:
    """(num, voters, alternatives) profiles: impartial, around one ranking, and around two opposed, a third each."""
    impartial, mallows, camps = jax.random.split(key, 3)
    center = jnp.arange(alternatives)
    each = num // 3

    def around(key: Any, center: Any) -> jax.Array:
        return preferences.sample_mallows(key, center, dispersion=0.6, num=each * VOTERS)

    one, other = (around(k, c) for k, c in zip(jax.random.split(camps), (center, center[::-1]), strict=True))
    first = jnp.arange(VOTERS)[None, :, None] < VOTERS // 2 + 1
    shape = (each, VOTERS, alternatives)
    return jnp.concatenate(
        [
            preferences.sample_impartial_culture(impartial, alternatives=alternatives, num=each * VOTERS).reshape(
                shape
            ),
            around(mallows, center).reshape(shape),
            jnp.where(first, one.reshape(shape), other.reshape(shape)),
        ]
    )


def level(lottery: Any, orders: Any) -> jax.Array:
    """min_k π(y_k)/w_k over the groups with w_k > 0, at most 1 (Definition 3.1)."""
    shares = preferences.first_choice_shares(orders)
    return jnp.minimum(1.0, jnp.min(jnp.where(shares > 0, lottery / jnp.where(shares > 0, shares, 1), jnp.inf)))


def alignment() -> Figure:
    """Left: F* against its certificate. Right: the levels that four rules reach on the same profiles."""
    figure, (left, right) = panels(2, 3.2)
    levels: dict[str, list[np.ndarray]] = {name: [] for name in RULES}
    for alternatives, colour, marker in ((3, BLUE, "o"), (5, ORANGE, "s"), (8, GREEN, "^")):
        orders = profiles(jax.random.key(alternatives), alternatives, 300)
        matrices = jax.vmap(preferences.preference_matrix)(orders)
        sums = jnp.sum(jax.vmap(social_choice.share_bounds)(matrices), axis=1)
        for name, (rule, _) in RULES.items():
            levels[name].append(np.asarray(jax.vmap(level)(jax.vmap(rule)(matrices), orders)))
        left.scatter(
            sums, levels["F*"][-1], s=9, color=colour, marker=marker, linewidth=0, alpha=0.7, label=f"{alternatives}"
        )
    line = np.linspace(1, left.get_xlim()[1], 100)
    left.plot(line, 1 / line, color=BLACK, linewidth=1)
    left.annotate(
        "1/Σu, the certificate",
        (line[25], 1 / line[25]),
        (-52, -30),
        textcoords="offset points",
        fontsize=SMALL,
        arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.5},
    )
    label(left, x="Σu, the sum of the share bounds", y="worst group's π(y)/w under F*")
    left.legend(title="alternatives", title_fontsize=SMALL, fontsize=SMALL, frameon=False)
    for (name, (_, colour)), dashes in zip(RULES.items(), ("-", "--", "-.", ":"), strict=True):
        found = np.sort(np.concatenate(levels[name]))
        right.plot(
            np.concatenate([[0], found, [1]]),
            np.concatenate([[0], np.arange(1, len(found) + 1) / len(found), [1]]),
            dashes,
            color=colour,
            linewidth=1.4,
            drawstyle="steps-post",
            label=name,
        )
    label(right, x="worst group's π(y)/w", y="share of profiles at or below")
    right.legend(fontsize=SMALL, frameon=False, loc="lower right")
    label(left, f"No profile falls below the certificate\n(900 profiles of {VOTERS} voters)")
    label(right, "Winners who take all leave groups with 0\n(the same profiles)")
    return figure


def best_report(rule: Rule, orders: Any, weights: Any) -> tuple[jax.Array, jax.Array]:
    """(alternatives,) shares w_k, and the largest π'(y_k) if all voters of group k report the same ranking."""
    alternatives = orders.shape[1]
    reports = jnp.asarray(list(permutations(range(alternatives))))

    def of(group: Any, report: Any) -> jax.Array:
        told = jnp.where((orders[:, 0] == group)[:, None], report[None], orders)
        return rule(preferences.preference_matrix(told, weights))[group]

    each = jax.vmap(lambda group: jnp.max(jax.vmap(lambda report: of(group, report))(reports)))
    return preferences.first_choice_shares(orders, weights), each(jnp.arange(alternatives))


def manipulation() -> Figure:
    """A panel for each rule: the share of each group, and the most probability that a common misreport gets it."""
    figure, each = panels(4, 2.9)
    keys = jax.random.split(jax.random.key(0), 2)
    orders = profiles(keys[0], 4, 300)[:, :6]
    weights = jax.random.dirichlet(keys[1], jnp.ones(6), (len(orders),))
    for axes, (name, (rule, colour)) in zip(each, RULES.items(), strict=True):
        shares, most = jax.lax.map(lambda profile, rule=rule: best_report(rule, *profile), (orders, weights))
        w, found = np.asarray(shares).ravel(), np.asarray(most).ravel()
        bound = (w + 1) / 2
        above = (w > 0) & (found > bound + 1e-6)
        axes.scatter(w[w > 0], found[w > 0], s=5, color=colour, linewidth=0, alpha=0.6)
        axes.plot([0, 1], [0.5, 1], color=BLACK, linewidth=1)
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.6, linestyle=":")
        label(axes, x="share w of the group")
        axes.set_xticks([0, 0.5, 1])
        axes.set_title(
            f"{name}\n{100 * above.sum() / (w > 0).sum():.0f} % above the bound", fontsize=NORMAL, loc="left"
        )
    label(each[0], y="largest π′(y) by misreporting")
    each[0].text(0.02, 0.78, "(w + 1)/2,\nF*'s bound", fontsize=SMALL)
    each[0].text(0.82, 0.68, "w", fontsize=SMALL, color=GREY)
    return figure


def commutativity() -> Figure:
    """Policies over three responses as points of a triangle: both orders end at one point, the union at another."""
    figure, (axes,) = panels(1, 3.4, width=3.5)
    policy = tabular(contexts=1, responses=3)
    reference = policy.init(jax.random.key(0))
    pairs = [(0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (2, 0)]

    def source(*wins: float) -> Comparisons:
        return Comparisons([0] * 6, [a for a, _ in pairs], [b for _, b in pairs], list(wins))

    ours, theirs = (6, 1, 1, 6, 2, 2), (5, 30, 30, 20, 5, 15)
    sources = [source(*ours), source(*theirs)]
    union = source(*np.add(ours, theirs))
    corners = np.array([[0, 0], [1, 0], [0.5, 3**0.5 / 2]])

    def place(params: Any) -> np.ndarray:
        return np.asarray(jnp.exp(policy.log_probs(params, [0], [[0, 1, 2]]))[0]) @ corners

    axes.fill(*corners.T, color="#F7F7F7", edgecolor=GREY, linewidth=0.8)
    for corner, (name, shift) in zip(
        corners, (("response 0", (0, -10)), ("response 1", (0, -10)), ("response 2", (0, 4))), strict=True
    ):
        axes.annotate(name, corner, shift, textcoords="offset points", ha="center", fontsize=SMALL, color=GREY)
    for order, colour, style in (((0, 1), BLUE, "-"), ((1, 0), ORANGE, "--")):
        stops = [reference]
        for stage in order:
            stops.append(training.newton_optimum(policy, stops[-1], sources[stage], beta=1.0)[0])
        path = np.stack([place(stop) for stop in stops])
        axes.plot(*path.T, style, color=colour, linewidth=1.3, marker="o", markersize=4)
        left = order[0] == 0
        axes.annotate(
            f"{'A' if left else 'B'} alone",
            path[1],
            (-6, -3) if left else (6, -3),
            textcoords="offset points",
            fontsize=SMALL,
            color=colour,
            ha="right" if left else "left",
        )
    ends = [training.sequential_dpo(policy, reference, sources, order, beta=1.0)[0] for order in ([0, 1], [1, 0])]
    apart = np.abs(place(ends[0]) - place(ends[1])).max()
    together, start = place(training.newton_optimum(policy, reference, union, beta=1.0)[0]), place(reference)
    axes.plot(*np.stack([start, together]).T, ":", color=VERMILLION, linewidth=1.3, marker="v", markersize=5)
    axes.annotate("union", together, (-6, 4), textcoords="offset points", fontsize=SMALL, color=VERMILLION, ha="right")
    axes.annotate("reference", start, (0, -12), textcoords="offset points", fontsize=SMALL, ha="center")
    axes.annotate("A then B, B then A", place(ends[0]), (0, 7), textcoords="offset points", fontsize=SMALL, ha="center")
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_title(
        f"Both orders of sequential DPO meet\n(π apart by {max(apart, 1e-16):.0e} at most)", fontsize=NORMAL, loc="left"
    )
    return figure


def counterexamples() -> Figure:
    """Six questions whose answer is no, at instances that can be checked by hand."""
    figure, each = panels(6, 5.4, rows=2)
    drawings = (_box, _cycle, _broken_bound, _slack, _cancelling, _halving)
    for axes, draw in zip(each, drawings, strict=True):
        draw(axes)
    return figure


def _matrix(*rankings: str) -> np.ndarray:
    return np.asarray(preferences.preference_matrix([[int(i) for i in ranking] for ranking in rankings]), dtype=float)


def _box(axes: Axes) -> None:
    """Voters 0123 and 2130: each bound can be attained, but not both together."""
    matrix = _matrix("0123", "2130")
    gap, ends = social_choice.box_distance(matrix), social_choice.feasible_shares(matrix)
    at = np.arange(4)
    axes.bar(
        at,
        ends.largest - ends.smallest,
        bottom=ends.smallest,
        width=0.7,
        color="#CFE3F2",
        edgecolor=BLUE,
        label="feasible alone",
    )
    axes.hlines(np.asarray(social_choice.share_bounds(matrix)), at - 0.4, at + 0.4, color=BLACK, linewidth=1, label="u")
    axes.plot(at - 0.12, gap.shares, "v", color=VERMILLION, markersize=5, label="in the box")
    axes.plot(at + 0.12, gap.nearest, "o", color=BLUE, markersize=4, label="nearest feasible")
    axes.set_xticks(at, [str(i) for i in at])
    axes.set_ylim(-0.05, 0.95)
    label(axes, x="alternative", y="share of first choices")
    axes.legend(fontsize=SMALL, frameon=False, ncols=2, loc="upper left", handletextpad=0.3, columnspacing=0.8)
    label(axes, f"Is every w ≤ u feasible?\nvoters 0123, 2130: {gap.distance:.2g} away")


def _cycle(axes: Axes) -> None:
    """Voters 10324 and 20413: a voter with 0 first would have a cycle among the other alternatives."""
    matrix = _matrix("10324", "20413")
    u = float(social_choice.share_bounds(matrix)[0])
    largest = float(social_choice.feasible_shares(matrix).largest[0])
    ring = {
        name: (np.cos(a), np.sin(a)) for name, a in zip((4, 1, 3, 2), np.pi / 2 - np.arange(4) * np.pi / 2, strict=True)
    }
    cycle = [4, 1, 3, 2, 4]
    for better, worse in pairwise(cycle):
        always = matrix[better, worse] == 1
        axes.annotate(
            "",
            ring[worse],
            ring[better],
            arrowprops={
                "arrowstyle": "-|>",
                "color": BLACK if always else VERMILLION,
                "linewidth": 1.2,
                "linestyle": "-" if always else "--",
                "shrinkA": 11,
                "shrinkB": 11,
            },
        )
    for name, place in ring.items():
        axes.text(
            *place,
            str(name),
            ha="center",
            va="center",
            fontsize=NORMAL,
            bbox={"boxstyle": "circle", "fc": "white", "ec": GREY},
        )
    axes.text(0, 0, "0 first implies\nall four", ha="center", va="center", fontsize=SMALL)
    axes.plot([], [], color=BLACK, label="for every voter")
    axes.plot([], [], "--", color=VERMILLION, label="where 0 is first")
    axes.legend(fontsize=SMALL, frameon=False, loc="lower center", ncols=2, bbox_to_anchor=(0.5, -0.18))
    axes.set_xlim(-1.5, 1.5)
    axes.set_ylim(-1.4, 1.3)
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_title(
        f"Is u the largest feasible share?\n10324, 20413: u₀ = {u:.2g}, feasible {abs(largest):.2g}",
        fontsize=NORMAL,
        loc="left",
    )


def _broken_bound(axes: Axes) -> None:
    """Two voters abcd, and one each bacd, cabd and dabc: the bound of Theorem 4.11 is for β = 0."""
    orders = jnp.asarray([[int(i) for i in r] for r in ("0123", "0123", "1023", "2013", "3012")])
    betas, weights, share = jnp.linspace(0, 4, 41), jnp.ones(5) / 5, 0.4

    def most(beta: Any) -> jax.Array:
        return best_report(lambda matrix: social_choice.proportional(matrix, beta=beta), orders, weights)[1][0]

    found = jax.jit(jax.vmap(most))(betas)
    axes.plot(betas, found, color=BLUE, linewidth=1.4)
    axes.axhline((share + 1) / 2, color=BLACK, linewidth=1)
    axes.text(4, (share + 1) / 2 - 0.01, "(w + 1)/2", fontsize=SMALL, ha="right", va="top")
    label(axes, "Does Fᵝ keep F*'s bound?\ntwo 0123, then 1023, 2013, 3012", x="β", y="largest π′(0)")


def _slack(axes: Axes) -> None:
    """Half of the voters rank 0 first, and a quarter each rank 1203 and 2103."""
    orders = jnp.asarray([[0, 1, 2, 3], [1, 2, 0, 3], [2, 1, 0, 3]])
    shares = jnp.linspace(0.02, 0.98, 49)

    def of(share: Any) -> tuple[jax.Array, jax.Array]:
        weights = jnp.stack([share, (1 - share) / 2, (1 - share) / 2])
        u = social_choice.share_bounds(preferences.preference_matrix(orders, weights))[0]
        return u / (u + 1 - share), best_report(social_choice.proportional, orders, weights)[1][0]

    bounds, found = jax.jit(jax.vmap(of))(shares)
    axes.plot(shares, bounds, color=BLACK, linewidth=1, label="u/(u + 1 - w)")
    axes.plot(shares, found, "--", color=BLUE, linewidth=1.4, label="the best report")
    label(axes, x="share w of the group that wants 0", y="π′(0) under F*")
    axes.legend(fontsize=SMALL, frameon=False)
    label(axes, "Is the bound attained?\nthe others split: 1203, 2103")


def _cancelling(axes: Axes) -> None:
    """Two sources with opposed counts, 1 to 3 and 30 to 10."""
    wins = np.array([[1.0, 3.0], [30.0, 10.0]])
    each = np.log(wins[:, 0] / wins[:, 1])
    bars = {
        "A\n1 : 3": each[0],
        "B\n30 : 10": each[1],
        "A, then B": each.sum(),
        "union\n31 : 13": np.log(wins.sum(0)[0] / wins.sum(0)[1]),
    }
    axes.bar(list(bars), list(bars.values()), color=[GREY, GREY, BLUE, VERMILLION], width=0.65)
    axes.axhline(0, color=BLACK, linewidth=0.8)
    axes.annotate("0", (2, 0), (0, 3), textcoords="offset points", fontsize=SMALL, color=BLUE, ha="center")
    axes.tick_params(axis="x", labelsize=SMALL)
    label(axes, "Is the union milder?\nsources that disagree", y="β × change of log-odds")


def _halving(axes: Axes) -> None:
    """Two sources that are both needed, and their duplicates."""
    table = np.array([0, 0, 0, 1.0])
    doubled = table[[(mask | mask >> 2) & 3 for mask in range(16)]]
    chances = np.linspace(0.02, 0.98, 49)

    def total(game: np.ndarray, players: int, p: Any) -> jax.Array:
        sizes = jnp.arange(players)
        return jnp.sum(values.semivalue(game, weights=p**sizes * (1 - p) ** (players - 1 - sizes))[:2])

    def kept(p: Any) -> jax.Array:
        return total(doubled, 4, p) / total(table, 2, p)

    ratio = jax.jit(jax.vmap(kept))(chances)
    axes.plot(chances, ratio, color=BLUE, linewidth=1.4)
    axes.axhline(0.5, color=BLACK, linewidth=1)
    axes.text(0.03, 0.53, "a half: Shapley", fontsize=SMALL)
    axes.plot(0.5, kept(0.5), "o", color=VERMILLION, markersize=5)
    axes.annotate("Banzhaf", (0.5, 0.75), (6, 4), textcoords="offset points", fontsize=SMALL, color=VERMILLION)
    label(axes, x="chance p of each other player", y="originals' total, after/before")
    axes.set_ylim(0, 2)
    label(axes, "Does a copy of all halve values?\ntwo sources, both needed")


FIGURES = {
    "alignment": alignment,
    "manipulation": manipulation,
    "commutativity": commutativity,
    "counterexamples": counterexamples,
}


def panels(count: int, height: float, *, rows: int = 1, width: float = 7.0) -> tuple[Figure, list[Axes]]:
    """A figure of `width` by `height` inches, and its panels row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    every = list(np.ravel(figure.subplots(rows, count // rows)))
    for axes in every:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=SMALL)
    return figure, every


def label(axes: Axes, title: str = "", *, x: str = "", y: str = "") -> None:
    """The title, on the left, and the names of the axes, all in one size; "" leaves a text as it is."""
    if title:
        axes.set_title(title, fontsize=NORMAL, loc="left")
    if x:
        axes.set_xlabel(x, fontsize=NORMAL)
    if y:
        axes.set_ylabel(y, fontsize=NORMAL)


def main(arguments: list[str] | None = None) -> int:
    """Draw the figures, and return the exit status."""
    parser = documented_parser("experiments.figures", __doc__)
    parser.add_argument(
        "--figure", nargs="+", choices=FIGURES, metavar="NAME", help="draw only these figures (default: all)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("results/figures"),
        metavar="FOLDER",
        help="the folder for the figures (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.figure or FIGURES:
        path = options.out / f"{name}.png"
        FIGURES[name]().savefig(path, dpi=200)
        print(path)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "Agg")
    sys.exit(main())
