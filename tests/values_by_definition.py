"""Values of a game by plain enumeration of their definitions: the yardstick of every faster method."""

import itertools
import math

import numpy as np


def players_of(table):
    return int(np.log2(len(table)))


def subsets(players):
    """All subsets as indices."""
    for size in range(len(players) + 1):
        for chosen in itertools.combinations(players, size):
            yield sum(1 << player for player in chosen), size


def semivalue(table, weights):
    """φ_i = Σ_{S⊆N∖{i}} w_{|S|} [v(S∪{i}) - v(S)]."""
    n = players_of(table)
    values = np.zeros((n, *table.shape[1:]))
    for i in range(n):
        for index, size in subsets([j for j in range(n) if j != i]):
            values[i] += weights[size] * (table[index | 1 << i] - table[index])
    return values


def shapley_weights(n):
    return [math.factorial(s) * math.factorial(n - s - 1) / math.factorial(n) for s in range(n)]


def shapley(table):
    return semivalue(table, shapley_weights(players_of(table)))


def interactions(table, weights):
    """I_ij = Σ_{S⊆N∖{i,j}} w_{|S|} [v(S∪{i,j}) - v(S∪{i}) - v(S∪{j}) + v(S)], 0 on the diagonal."""
    n = players_of(table)
    values = np.zeros((n, n, *table.shape[1:]))
    for i, j in itertools.permutations(range(n), 2):
        for index, size in subsets([k for k in range(n) if k not in (i, j)]):
            both, one, other = index | 1 << i | 1 << j, index | 1 << i, index | 1 << j
            values[i, j] += weights[size] * (table[both] - table[one] - table[other] + table[index])
    return values


def orders_in_groups(groups):
    """All permutations of the players whose groups are in order."""
    members = [[i for i, group in enumerate(groups) if group == t] for t in range(max(groups) + 1)]
    for parts in itertools.product(*(itertools.permutations(part) for part in members)):
        yield [player for part in parts for player in part]


def probability(order, groups, weights):
    """Equation (14): Π_j λ_{o_j} / Σ of λ over the latest group present among the first j."""
    chance = 1.0
    for j, player in enumerate(order):
        latest = max(groups[other] for other in order[: j + 1])
        chance *= weights[player] / sum(weights[other] for other in order[: j + 1] if groups[other] == latest)
    return chance


def random_order_value(table, groups, weights):
    """Equation (13): Σ_π p_π [v(π^{<z}∪{z}) - v(π^{<z})]."""
    values = np.zeros((players_of(table), *table.shape[1:]))
    total = 0.0
    for order in orders_in_groups(groups):
        chance = probability(order, groups, weights)
        total += chance
        for player, marginal in marginals(table, order):
            values[player] += chance * marginal
    assert abs(total - 1) < 1e-12
    return values


def marginals(table, order):
    """Each player of an order with what it adds."""
    index = 0
    for player in order:
        yield player, table[index | 1 << player] - table[index]
        index |= 1 << player


def ordered_partitions(players):
    """All group vectors 0, 1, ... without a gap."""
    for groups in itertools.product(range(players), repeat=players):
        if set(groups) == set(range(max(groups) + 1)):
            yield groups


def orders_in_unions(levels):
    """All permutations of the players in which every union of every level stands together, by sieving."""
    n = len(levels[0])
    for order in itertools.permutations(range(n)):
        together = all(
            positions[-1] - positions[0] == len(positions) - 1
            for row in levels
            for union in set(row)
            for positions in [[k for k, player in enumerate(order) if row[player] == union]]
        )
        if together:
            yield order


def owen(table, levels):
    """The mean marginal over the permutations in which every union stands together."""
    values, orders = np.zeros((players_of(table), *table.shape[1:])), 0
    for order in orders_in_unions(levels):
        orders += 1
        for player, marginal in marginals(table, order):
            values[player] += marginal
    return values / orders


def hierarchies(players, depth):
    """All hierarchies of at most `depth` levels, (levels, players), of unions numbered by their first members."""

    def partitions(members):
        """All partitions of a list, each a list of lists."""
        if not members:
            yield []
            return
        first, rest = members[0], members[1:]
        for size in range(len(rest) + 1):
            for others in itertools.combinations(rest, size):
                for remaining in partitions([m for m in rest if m not in others]):
                    yield [[first, *others], *remaining]

    def numbered(parts):
        row = [0] * players
        for number, part in enumerate(sorted(parts)):
            for member in part:
                row[member] = number
        return row

    def below(parts, depth):
        """All sequences of finer and finer partitions under a partition."""
        yield []
        if depth > 1:
            for finer in itertools.product(*(list(partitions(part)) for part in parts)):
                finer = [part for each in finer for part in each]
                for rest in below(finer, depth - 1):
                    yield [numbered(finer), *rest]

    for parts in partitions(list(range(players))):
        for rest in below(parts, depth):
            yield [numbered(parts), *rest]
