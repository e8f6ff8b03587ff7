"""Where boxes stand and how lines run: a layered layout from left to right.

The way of Sugiyama, Tagawa and Toda: ways back are turned round, each box gets a column behind those that lead to it, a
line that passes a column gets a place in it like a box, columns are put in an order with few crossings, and then
each box moves as near to its neighbours' height as the others let it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

COLUMN_GAP = 76.0
ROW_GAP = 26.0
LANE = 14.0
"""Height of a line that passes a column."""
SWEEPS = 8
MAX_BOXES, MAX_PASSES = 3000, 30_000
"""Boxes, and columns that lines pass, all lines together."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A box to be placed. Lines go out at ``ports``, heights from its top, and come in at ``entry``."""

    id: str
    width: float
    height: float
    entry: float
    ports: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A line from a port of ``source`` to the entry of ``target``."""

    source: str
    port: int
    target: str


@dataclass(slots=True)
class Layout:
    """Left upper corners of the boxes, and the points of each line: out, straight across columns, in."""

    places: dict[str, Point]
    routes: list[list[Point]]
    width: float
    height: float


@dataclass(slots=True)
class _Node:
    """A box or, without one, the place where a line passes a column."""

    column: int
    height: float
    box: Box | None = None
    left: list[tuple[_Node, float, float]] = field(default_factory=list)  # neighbour, its height, mine
    right: list[tuple[_Node, float, float]] = field(default_factory=list)
    y: float = 0.0
    order: float = 0.0


class TooLarge(ValueError):
    """More boxes and lines than anybody could look at."""


def lay_out(boxes: Sequence[Box], lines: Sequence[Line]) -> Layout:
    """Place ``boxes``, the first of which is where it all begins. Raises :class:`TooLarge`."""
    if not boxes:
        return Layout({}, [], 0.0, 0.0)
    columns_of = _columns(boxes, lines)
    passes = sum(abs(columns_of[line.target] - columns_of[line.source]) + 1 for line in lines)
    if len(boxes) > MAX_BOXES or passes > MAX_PASSES:
        raise TooLarge(f"{len(boxes):,} boxes with {len(lines):,} lines between them are too much for a picture")
    nodes = {box.id: _Node(columns_of[box.id], box.height, box) for box in boxes}
    chains = [_chain(nodes, line) for line in lines]
    every = list(nodes.values())
    for line, (passed, back) in zip(lines, chains, strict=True):
        _connect(nodes, line, passed, back=back)
        every += passed
    columns = _initial_order(every, nodes[boxes[0].id])
    _untangle(columns)
    _set_heights(columns)
    return _finish(nodes, columns, lines, chains)


def _columns(boxes: Sequence[Box], lines: Sequence[Line]) -> dict[str, int]:
    """The column of each box: behind the last that leads to it, ways back aside."""
    follows: dict[str, list[str]] = {box.id: [] for box in boxes}
    for line in lines:
        follows[line.source].append(line.target)
    done: dict[str, bool] = {}  # False: under way
    finished: list[str] = []
    forward: dict[str, list[str]] = {box.id: [] for box in boxes}
    for box in boxes:
        if box.id in done:
            continue
        done[box.id] = False
        stack = [(box.id, iter(follows[box.id]))]
        while stack:
            name, rest = stack[-1]
            target = next(rest, None)
            if target is None:
                done[name] = True
                finished.append(name)
                stack.pop()
            elif target not in done:
                done[target] = False
                forward[name].append(target)
                stack.append((target, iter(follows[target])))
            elif done[target]:
                forward[name].append(target)
    columns = dict.fromkeys(follows, 0)
    for name in reversed(finished):  # a topological order
        for target in forward[name]:
            columns[target] = max(columns[target], columns[name] + 1)
    return columns


def _chain(nodes: Mapping[str, _Node], line: Line) -> tuple[list[_Node], bool]:
    """The places where a line passes columns, from its source on; whether it goes back."""
    start, end = nodes[line.source].column, nodes[line.target].column
    if end > start:
        return [_Node(column, LANE) for column in range(start + 1, end)], False
    return [_Node(column, LANE) for column in range(start, end - 1, -1)], True


def _connect(nodes: Mapping[str, _Node], line: Line, passed: Sequence[_Node], *, back: bool) -> None:
    source, target = nodes[line.source], nodes[line.target]
    assert source.box is not None
    assert target.box is not None
    out, into = source.box.ports[line.port], target.box.entry
    if back:  # turns round beside its source and beside its target
        heights = [out, *(LANE / 2 for _ in passed), into]
        chain = [source, *passed, target]
        for here, there, at_here, at_there in zip(chain, chain[1:], heights, heights[1:], strict=False):
            here.left.append((there, at_there, at_here))
            there.right.append((here, at_here, at_there))
        return
    before, at = source, out
    for node in (*passed, target):
        mine = into if node is target else LANE / 2
        before.right.append((node, mine, at))
        node.left.append((before, at, mine))
        before, at = node, LANE / 2


# --- order --------------------------------------------------------------------------------


def _initial_order(nodes: Sequence[_Node], first: _Node) -> list[list[_Node]]:
    """Columns in the order of a walk from the first box: a tree has no crossings then."""
    columns: list[list[_Node]] = [[] for _ in range(max(node.column for node in nodes) + 1)]
    seen: set[int] = set()
    for start in (first, *nodes):
        stack = [start]
        while stack:
            node = stack.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            columns[node.column].append(node)
            ahead = sorted(node.right, key=lambda each: each[2])
            stack += [there for there, _, _ in reversed(ahead)]
    return columns


def _untangle(columns: list[list[_Node]]) -> None:
    """Put columns into the order of their neighbours, to and fro, and keep the best that came of it."""
    _number(columns)
    best, fewest = [list(column) for column in columns], _crossings(columns)
    for sweep in range(SWEEPS):
        if fewest == 0:
            break
        forward = sweep % 2 == 0
        for column in columns if forward else columns[::-1]:
            for node in column:
                beside = node.left if forward else node.right
                if beside:
                    node.order = sum(there.order + at / (there.height + 1) for there, at, _ in beside) / len(beside)
            column.sort(key=lambda node: node.order)
            for place, node in enumerate(column):
                node.order = float(place)
        if (now := _crossings(columns)) < fewest:
            best, fewest = [list(column) for column in columns], now
    columns[:] = best
    _number(columns)


def _number(columns: Sequence[Sequence[_Node]]) -> None:
    for column in columns:
        for place, node in enumerate(column):
            node.order = float(place)


def _crossings(columns: Sequence[Sequence[_Node]]) -> int:
    """How many pairs of lines cross between columns that are next to each other."""
    total = 0
    for column in columns:
        ends = [
            there.order + at / (there.height + 1)
            for node in column
            for there, at, _ in sorted(node.right, key=lambda each: each[2])
            if there.column == node.column + 1
        ]
        total += _inversions(ends)
    return total


def _inversions(values: Sequence[float]) -> int:
    """Pairs in which the greater comes first, counted while sorting by merging."""
    if len(values) < 2:
        return 0
    middle = len(values) // 2
    left, right = list(values[:middle]), list(values[middle:])
    count = _inversions(left) + _inversions(right)
    left.sort()
    right.sort()
    at = 0
    for value in left:
        while at < len(right) and right[at] < value:
            at += 1
        count += at
    return count


# --- heights ------------------------------------------------------------------------------


def _set_heights(columns: Sequence[Sequence[_Node]]) -> None:
    """Move each column as near to its neighbours as it goes without overlapping, from both sides in turn."""
    for column in columns:
        y = 0.0
        for node in column:
            node.y = y
            y += node.height + ROW_GAP
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        for column in columns if forward else columns[::-1]:
            wanted = [_wanted(node, forward=forward) for node in column]
            for node, y in zip(column, _without_overlap(column, wanted), strict=True):
                node.y = y
    # Last, everything a line leads to stands beside where it comes from.
    for column in columns[1:]:
        wanted = [_wanted(node, forward=True) for node in column]
        for node, y in zip(column, _without_overlap(column, wanted), strict=True):
            node.y = y


def _wanted(node: _Node, *, forward: bool) -> float:
    beside = [each for each in (node.left if forward else node.right) if each[0].column != node.column]
    if not beside:
        return node.y
    return sum(there.y + at - mine for there, at, mine in beside) / len(beside)


def _without_overlap(column: Sequence[_Node], wanted: Sequence[float]) -> Iterator[float]:
    """The heights nearest to ``wanted`` (least squares) that keep the order and the gaps: pooled neighbours."""
    offsets: list[float] = []
    offset = 0.0
    for node in column:
        offsets.append(offset)
        offset += node.height + (ROW_GAP if node.box is not None else LANE)
    pools: list[tuple[float, int]] = []  # the mean of wanted heights, and how many nodes have it
    for want, shift in zip(wanted, offsets, strict=True):
        pools.append((want - shift, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (low, few), (high, more) = pools.pop(), pools.pop()
            pools.append(((low * few + high * more) / (few + more), few + more))
    flat = [mean for mean, count in pools for _ in range(count)]
    yield from (mean + shift for mean, shift in zip(flat, offsets, strict=True))


# --- the picture --------------------------------------------------------------------------


def _finish(
    nodes: Mapping[str, _Node],
    columns: Sequence[Sequence[_Node]],
    lines: Sequence[Line],
    chains: Sequence[tuple[list[_Node], bool]],
) -> Layout:
    top = min(node.y for column in columns for node in column)
    widths = [max((node.box.width for node in column if node.box is not None), default=0.0) for column in columns]
    lefts: list[float] = []
    x = 0.0
    for width in widths:
        lefts.append(x)
        x += width + COLUMN_GAP
    places = {name: (lefts[node.column], node.y - top) for name, node in nodes.items()}
    routes: list[list[Point]] = []
    for line, (passed, back) in zip(lines, chains, strict=True):
        source, target = nodes[line.source], nodes[line.target]
        assert source.box is not None
        assert target.box is not None
        points = [(lefts[source.column] + source.box.width, source.y - top + source.box.ports[line.port])]
        for node in passed:
            left, right = lefts[node.column], lefts[node.column] + widths[node.column]
            y = node.y - top + LANE / 2
            points += [(right, y), (left, y)] if back else [(left, y), (right, y)]
        points.append((lefts[target.column], target.y - top + target.box.entry))
        routes.append(points)
    bottom = max(node.y + node.height for column in columns for node in column) - top
    return Layout(places, routes, x - COLUMN_GAP, bottom)
