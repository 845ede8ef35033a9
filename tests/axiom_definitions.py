"""The axioms word by word, in plain Python on small profiles: what the library's arrays are held against.

A profile is a list of (ranking, share), a ranking a tuple, best first. A rule is a function of such a profile to a list
of probabilities. Nothing here is shared with the library.
"""

import itertools
import math

import numpy as np


def profile_of(orders, weights):
    return [(tuple(ranking), float(share)) for ranking, share in zip(np.asarray(orders).tolist(), weights, strict=True)]


def preferred(profile, i, j):
    """P(i ≻ j)."""
    return math.fsum(share for ranking, share in profile if ranking.index(i) < ranking.index(j))


def alternatives_of(profile):
    return range(len(profile[0][0]))


def shares_of(profile):
    return [math.fsum(share for ranking, share in profile if ranking[0] == k) for k in alternatives_of(profile)]


def bounds_of(profile):
    return [min(preferred(profile, i, j) for j in alternatives_of(profile) if j != i) for i in alternatives_of(profile)]


def shared(scores):
    winners = [score >= max(scores) - 1e-7 for score in scores]
    return [winner / sum(winners) for winner in winners]


def proportional(profile, beta=0.0):
    weights = [u * math.exp(beta * u) for u in bounds_of(profile)]
    return [weight / sum(weights) for weight in weights]


def minimax(profile):
    return shared(bounds_of(profile))


def maximal_borda(profile):
    last = len(profile[0][0]) - 1
    return shared([math.fsum(s * (last - r.index(i)) for r, s in profile) for i in alternatives_of(profile)])


def random_dictatorship(profile):
    return shares_of(profile)


def fewest_first_choices(profile):
    """A rule against everything: the alternative with the smallest share of first choices, ties shared."""
    return shared([-share for share in shares_of(profile)])


def first_voter(profile):
    return [float(i == profile[0][0][0]) for i in alternatives_of(profile)]


def first_name(profile):
    """The first name with a Borda score above the mean (the matrix has 1/2 on its diagonal)."""
    last = len(profile[0][0]) - 1
    scores = [math.fsum(s * (last - r.index(i)) for r, s in profile) for i in alternatives_of(profile)]
    above = [score + 0.5 > 1.5 for score in scores]
    return [float(i == above.index(True) if any(above) else i == 0) for i in alternatives_of(profile)]


def lift(ranking, alternative, place):
    rest = [other for other in ranking if other != alternative]
    return (*rest[:place], alternative, *rest[place:])


def monotonicity(rule, profile, *, moving="ballot", share=1.0):
    """Definition D.1: lift y in one ballot (or in all ballots like it), to each better place."""
    before = rule(profile)
    worst = -math.inf
    for row, (ranking, weight) in enumerate(profile):
        if weight == 0:
            continue
        for y in ranking:
            for place in range(ranking.index(y)):
                after = []
                for other, (r, s) in enumerate(profile):
                    moves = r == ranking if moving == "bloc" else other == row
                    after += [(r, s * (1 - share)), (lift(r, y, place), s * share)] if moves else [(r, s)]
                worst = max(worst, before[y] - rule([(r, s) for r, s in after if s > 0])[y])
    return worst


def pareto(rule, profile):
    """Definition D.2."""
    lottery = rule(profile)
    held = [ranking for ranking, share in profile if share > 0]
    pairs = itertools.permutations(alternatives_of(profile), 2)
    return max(
        (lottery[j] - lottery[i] for i, j in pairs if all(r.index(i) < r.index(j) for r in held)), default=-math.inf
    )


def condorcet(rule, profile):
    """Definition 4.12."""
    for i in alternatives_of(profile):
        if all(preferred(profile, i, j) > 0.5 + 1e-7 for j in alternatives_of(profile) if j != i):
            return 1 - rule(profile)[i]
    return -math.inf


def pairwise_majority(rule, profile):
    """Definitions R.1 and R.2, over all rankings."""
    lottery = rule(profile)
    for ranking in itertools.permutations(alternatives_of(profile)):
        pairs = list(itertools.combinations(ranking, 2))
        if all(preferred(profile, i, j) > 0.5 + 1e-7 for i, j in pairs):
            return max((lottery[j] - lottery[i] for i, j in pairs), default=-math.inf)
    return -math.inf


def anonymity(rule, profile):
    """Every order of the ballots, every ballot split in a third and two thirds, equal ballots merged."""
    before = rule(profile)
    rewritings = [list(p) for p in itertools.permutations(profile)]
    for row, (ranking, share) in enumerate(profile):
        rewritings.append([*profile[:row], (ranking, share * 2 / 3), *profile[row + 1 :], (ranking, share / 3)])
    merged = {}
    for ranking, share in profile:
        merged[ranking] = merged.get(ranking, 0) + share
    rewritings.append(list(merged.items()))
    return max(abs(a - b) for other in rewritings for a, b in zip(rule(other), before, strict=True))


def neutrality(rule, profile):
    before = rule(profile)
    worst = 0.0
    for names in itertools.permutations(alternatives_of(profile)):
        after = rule([(tuple(names[i] for i in ranking), share) for ranking, share in profile])
        worst = max(worst, *(abs(after[names[i]] - before[i]) for i in alternatives_of(profile)))
    return worst


def pairwise_only(rule, profile, *, mixture=0.5):
    """Crossed, exchanged and mixed profiles, each pair with one P."""
    every = list(itertools.permutations(alternatives_of(profile)))
    pairs = []
    for (a, (r, s)), (b, (q, t)) in itertools.combinations(enumerate(profile), 2):
        moved = min(s, t)
        rest = [(x, y - moved if row in (a, b) else y) for row, (x, y) in enumerate(profile)]
        for length in range(1, len(r)):
            if set(r[:length]) == set(q[:length]):
                crossed = [(r[:length] + q[length:], moved), (q[:length] + r[length:], moved)]
                pairs.append((profile, rest + crossed))
        if r == q[::-1]:
            pairs += [(profile, [*rest, (one, moved), (one[::-1], moved)]) for one in every]
    thinned = [(r, s * (1 - mixture)) for r, s in profile]

    def mixed(one):
        return [*thinned, (one, mixture / 2), (one[::-1], mixture / 2)]

    if mixture:
        pairs += [(mixed(every[0]), mixed(one)) for one in every]
    worst = -math.inf
    for one, other in pairs:
        one, other = ([(r, s) for r, s in p if s > 1e-12] for p in (one, other))
        for i, j in itertools.permutations(alternatives_of(profile), 2):
            assert abs(preferred(one, i, j) - preferred(other, i, j)) < 1e-12
        worst = max(worst, *(abs(a - b) for a, b in zip(rule(one), rule(other), strict=True)))
    return worst


def ppa_level(lottery, shares):
    return min(1.0, *(p / w for p, w in zip(lottery, shares, strict=True) if w > 0))


def lemma_4_9(profile, delta):
    """Equation (7)."""
    count = len(profile[0][0])
    free = sum(
        all(preferred(profile, other, y) < delta - 1e-7 for other in alternatives_of(profile) if other != y)
        for y in alternatives_of(profile)
    )
    largest, second = sorted([*shares_of(profile), 0.0], reverse=True)[:2]
    return 1 / ((free - 1) * (1 - largest) + (1 - second) + (count - free) * (1 - delta))


def manipulation_gains(rule, profile, *, common=False):
    """Definition 3.2: every joint report of every group."""
    every = list(itertools.permutations(alternatives_of(profile)))
    before = rule(profile)
    gains = []
    for k in alternatives_of(profile):
        rows = [row for row, (ranking, share) in enumerate(profile) if ranking[0] == k and share > 0]
        best = before[k]
        joint = itertools.product(every, repeat=len(rows)) if not common else ((r,) * len(rows) for r in every)
        for reports in joint:
            report_of = dict(zip(rows, reports, strict=True))
            after = [(report_of.get(row, ranking), share) for row, (ranking, share) in enumerate(profile)]
            best = max(best, rule(after)[k])
        gains.append(best - before[k])
    return gains


def top_ranking_costs(rule, profile):
    """Appendix N, first claim: for every set of ballots and every y, lift y to the top in all of them."""
    before = rule(profile)
    worst = -math.inf
    for size in range(1, len(profile) + 1):
        for rows in itertools.combinations(range(len(profile)), size):
            for y in alternatives_of(profile):
                after = [(lift(r, y, 0) if row in rows else r, s) for row, (r, s) in enumerate(profile)]
                worst = max(worst, before[y] - rule(after)[y])
    return worst


def above_bound(rule, profile):
    """Appendix N, second claim, equation (41)."""
    lottery, shares, bounds = rule(profile), shares_of(profile), bounds_of(profile)
    return max(p - u / (u + 1 - w) for p, u, w in zip(lottery, bounds, shares, strict=True) if w > 0)
