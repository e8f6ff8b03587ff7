"""A flow as SVG: blocks with what is said in them, lines between them, and the way of a call on top."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from flows import graph as g
from flows.findings import printable
from flows.tools.calllog import CallLog

from .blocks import Block, Entry, Way, blocks_of
from .layout import Box, Layout, Line, Point, lay_out
from .style import sheet
from .text import shorten, width, wrap
from .walked import Scene, Stop, Walked, scenes, story, walked
from .words import Kind

WIDTH = 264.0
PAD = 12.0
ROOM = WIDTH - 2 * PAD - 4
MARGIN = 24.0
MAX_SAID, MAX_DETAIL, MAX_STOPS = 4, 2, 4
MAX_TOLD = 28
"""Lines about visits in one entry."""
_ROUND = 38.0
"""How far a line goes aside where it turns round."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of text in a block: its class, its height, the size of its font."""

    text: str
    style: str
    height: float
    size: float
    badge: int = 0
    went: bool = False


@dataclass(slots=True)
class _Part:
    """An entry of a block as rows, with the colour of its bar."""

    kind: Kind
    rows: list[Row]
    tooltip: str

    @property
    def height(self) -> float:
        return sum(row.height for row in self.rows) + 14.0


@dataclass(slots=True)
class _Drawing:
    """A block ready to be drawn."""

    block: Block
    identity: str
    parts: list[_Part]
    ways: list[Row]
    box: Box


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG document, and the ids of the elements at which the visits of the call are drawn, by number."""

    svg: str
    width: float
    height: float
    visits: Mapping[int, str]


def draw_svg(graph: g.Graph, log: CallLog | None = None, *, name: str = "") -> str:
    """``graph`` as an SVG document; with ``log``, the way that the call went, and the flows that it fetched.

    Raises :class:`~flows.tools.draw.layout.TooLarge`.
    """
    return picture(graph, log, name=name).svg


def picture(graph: g.Graph, log: CallLog | None = None, *, name: str = "", headed: bool = True) -> Picture:
    """:func:`draw_svg`, with what a page around it has to know; ``headed``: with name and call above it."""
    body: list[str] = []
    at: dict[int, str] = {}
    y = MARGIN
    widest = 400.0
    for scene in scenes(graph, log):
        heads = list(_heads(scene, log, name)) if headed or scene.flow else []
        text, right, bottom, visits = _scene(scene, log, heads, y)
        body += text
        at |= visits
        widest = max(widest, right)
        y = bottom + 2 * MARGIN
    across, down = widest + MARGIN, y - MARGIN
    title = printable(name or graph.name or "flow")
    size = f'width="{_n(across)}" height="{_n(down)}" viewBox="0 0 {_n(across)} {_n(down)}"'
    svg = "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="ivrea-flow" role="img" {size}>',
            f"<title>{_t(title)}</title>",
            f"<style>{sheet()}</style>",
            f'<rect class="page" width="{_n(across)}" height="{_n(down)}"/>',
            *body,
            "</svg>",
            "",
        ]
    )
    return Picture(svg, across, down, at)


def _scene(
    scene: Scene, log: CallLog | None, heads: Sequence[tuple[str, str, float]], top: float
) -> tuple[list[str], float, float, dict[int, str]]:
    """One graph from ``top`` down: its elements, its right and its lower end, and where visits are drawn."""
    blocks = blocks_of(scene.graph)
    went = walked(scene, blocks, log) if log is not None else Walked()
    drawings = {
        block.id: _drawing(block, f"flow{scene.flow}-block{number}", went)
        for number, block in enumerate(blocks.values())
    }
    lines = [
        Line(block.id, number, way.target)
        for block in blocks.values()
        for number, way in enumerate(block.ways)
        if way.target
    ]
    layout = lay_out([drawing.box for drawing in drawings.values()], lines)
    right = MARGIN + layout.width
    out: list[str] = []
    y = top
    for text, style, size in heads:
        y += size + 6
        out.append(f'<text class="{style}" x="{_n(MARGIN)}" y="{_n(y)}">{_t(text)}</text>')
        right = max(right, MARGIN + width(text, size, bold=style == "head"))
    y += 18 if heads else 0
    out.append(f'<g transform="translate({_n(MARGIN)} {_n(y)})">')
    order = sorted(range(len(lines)), key=lambda place: _taken(went, lines[place]))  # walked lines on top
    for place in order:
        taken = _taken(went, lines[place])
        out += _line(layout.routes[place], went=taken > 0, missed=log is not None and not taken)
    for drawing in drawings.values():
        missed = log is not None and drawing.block.id not in went.blocks
        out += _block(drawing, layout, went=drawing.block.id in went.blocks, missed=missed)
    out.append("</g>")
    visits = {
        stop.number: f"{drawings[block].identity}-{place}"
        for (block, place), stops in went.stops.items()
        for stop in stops
    }
    return out, right, y + layout.height, visits


def _taken(went: Walked, line: Line) -> int:
    return went.ways.get((line.source, line.port), 0)


def _heads(scene: Scene, log: CallLog | None, name: str) -> Iterator[tuple[str, str, float]]:
    """Lines above a graph: text, class and size."""
    if scene.flow:
        yield shorten(printable(f"fetched: {scene.source}"), 16, 900, bold=True), "head", 16
        return
    yield shorten(printable(name or scene.graph.name or "flow"), 16, 900, bold=True), "head", 16
    if log is not None:
        lasted = log.ended_at - (log.answered_at or 0.0)
        call = f"call {log.call_id} from {log.caller} to {log.callee}: {lasted:.1f} s"
        yield shorten(printable(call), 12, 700), "about", 12
        yield shorten(printable(f"ended by {log.by}: {log.reason}"), 12, 700), "about", 12


# --- blocks -------------------------------------------------------------------------------


def _drawing(block: Block, identity: str, went: Walked) -> _Drawing:
    parts = [_part(entry, went.stops.get((block.id, place), ())) for place, entry in enumerate(block.entries)]
    body = sum(part.height for part in parts)
    ways: list[Row] = []
    ports: list[float] = []
    y = body + 4
    for number, way in enumerate(block.ways):
        rows = list(_way_rows(way, went.ways.get((block.id, number), 0)))
        beside = 19.0 if len(parts) == 1 else body - parts[-1].height + 19.0
        ports.append(y + rows[0].height / 2 if rows else beside)
        y += sum(row.height for row in rows)
        ways += rows
    height = y + 4 if ways else body
    return _Drawing(block, identity, parts, ways, Box(block.id, WIDTH, height, 19.0, tuple(ports)))


def _part(entry: Entry, stops: Sequence[Stop]) -> _Part:
    described = entry.described
    rows = [Row(line, "small", 15, 11) for text in entry.small for line in wrap(printable(text), 11, ROOM, 2)]
    rows.insert(0, Row(shorten(printable(described.title), 13, ROOM, bold=True), "title", 17, 13))
    texts = " ".join(described.said)
    rows += [Row(line, "said", 16, 12) for line in wrap(printable(texts), 12, ROOM, MAX_SAID)]
    for text in described.details:
        rows += [Row(line, "detail", 15, 11) for line in wrap(printable(text), 11, ROOM, MAX_DETAIL)]
    rows += _stop_rows(stops)
    told = [entry.step.origin or "the document", *entry.small, *described.said, *described.details]
    return _Part(described.kind, rows, "\n".join(map(printable, told))[:2000])


def _stop_rows(stops: Sequence[Stop]) -> Iterator[Row]:
    left = MAX_TOLD
    for stop in stops[:MAX_STOPS]:
        for place, text in enumerate(story(stop)):
            if left <= 0:
                break
            indent = 0 if place == 0 else 1
            for line in wrap(printable(text), 11, (ROOM - 26) / 1.1, 2):  # bold
                yield Row(line, "stop", 17 if place == 0 else 15, 11, badge=stop.number if indent == 0 else -1)
                indent = 1
                left -= 1
        if stop.last:
            yield Row("the call ended here", "stop", 15, 11, badge=-1)
    if len(stops) > MAX_STOPS:
        yield Row(f"and {len(stops) - MAX_STOPS} more times", "stop", 15, 11, badge=-1)


def _way_rows(way: Way, taken: int) -> Iterator[Row]:
    """What stands where a line begins; nothing for the only way on."""
    told = f"{way.told}: {way.ends}" if way.told and way.ends else way.told or way.ends
    times = f" ({taken}×)" if taken > 1 else ""
    room = ROOM / 1.1 if taken else ROOM  # bold
    for place, line in enumerate(wrap(printable(told + times), 11.5, room, 2)):
        yield Row(line, "end" if way.ends else "way", 19 if place == 0 else 15, 11.5, went=taken > 0)


def _block(drawing: _Drawing, layout: Layout, *, went: bool, missed: bool) -> Iterator[str]:
    x, y = layout.places[drawing.block.id]
    box = drawing.box
    style = " ".join(name for name, on in (("block", True), ("went", went), ("missed", missed)) if on)
    yield f'<g class="{style}" id="{drawing.identity}" transform="translate({_n(x)} {_n(y)})">'
    yield f'<rect class="box" width="{_n(box.width)}" height="{_n(box.height)}" rx="7"/>'
    top = 0.0
    for number, part in enumerate(drawing.parts):
        if number:
            yield f'<path class="rule" d="M1 {_n(top)}H{_n(box.width - 1)}"/>'
        yield f'<g id="{drawing.identity}-{number}"><title>{_t(part.tooltip)}</title>'
        bar = "end-bar" if part.kind == "end" else part.kind
        yield f'<rect class="{bar}" x="4" y="{_n(top + 6)}" width="4" height="{_n(part.height - 12)}" rx="2"/>'
        yield from _rows(part.rows, top + 5)
        yield "</g>"
        top += part.height
    if drawing.ways:
        yield f'<path class="rule" d="M1 {_n(top)}H{_n(box.width - 1)}"/>'
        top += 4
    for row in drawing.ways:
        if row.went:
            yield (
                f'<rect class="mark" x="9" y="{_n(top + 1)}" width="{_n(box.width - 14)}" '
                f'height="{_n(row.height - 2)}" rx="4"/>'
            )
        style = f"{row.style} went" if row.went else row.style
        yield (
            f'<text class="{style}" x="{_n(box.width - PAD)}" y="{_n(top + row.height - 5.5)}" '
            f'text-anchor="end">{_t(row.text)}</text>'
        )
        top += row.height
    yield "</g>"


def _rows(rows: Iterable[Row], top: float) -> Iterator[str]:
    for row in rows:
        base = top + row.height - 4
        x = PAD + 4
        if row.badge > 0:
            label = str(row.badge)
            wide = max(16.0, width(label, 10, bold=True) + 8)
            yield (
                f'<rect class="badge" x="{_n(x)}" y="{_n(base - 10.5)}" width="{_n(wide)}" height="14" rx="7"/>'
                f'<text class="number" x="{_n(x + wide / 2)}" y="{_n(base)}" text-anchor="middle">{label}</text>'
            )
        if row.badge:
            x += 26
        yield f'<text class="{row.style}" x="{_n(x)}" y="{_n(base)}">{_t(row.text)}</text>'
        top += row.height


# --- lines --------------------------------------------------------------------------------


def _line(points: Sequence[Point], *, went: bool, missed: bool) -> Iterator[str]:
    style = " ".join(name for name, on in (("went", went), ("missed", missed)) if on)
    path = [f"M{_n(points[0][0])} {_n(points[0][1])}"]
    heading = 1.0
    for number, ((x1, y1), (x2, y2)) in enumerate(pairwise(points)):
        last = number == len(points) - 2
        then = 1.0 if last else heading_of(points, number + 1, heading)
        if y1 == y2 and heading == then:
            path.append(f"H{_n(x2)}")
        else:
            reach = _ROUND if heading != then else max(24.0, abs(x2 - x1) / 2)
            path.append(f"C{_n(x1 + heading * reach)} {_n(y1)} {_n(x2 - then * reach)} {_n(y2)} {_n(x2)} {_n(y2)}")
        heading = then
    x, y = points[-1]
    yield f'<path class="line {style}" d="{"".join(path)}"/>'
    yield f'<path class="tip {style}" d="M{_n(x)} {_n(y)}l-9 -4.5v9z"/>'


def heading_of(points: Sequence[Point], place: int, before: float) -> float:
    """Which way a line runs where it passes the point at ``place``: 1 to the right, -1 to the left."""
    if place + 1 >= len(points):
        return 1.0
    across = points[place + 1][0] - points[place][0]
    return before if across == 0 else 1.0 if across > 0 else -1.0


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _t(text: str) -> str:
    return escape("".join(c for c in text if c >= " " or c in "\n\t"), quote=True)
