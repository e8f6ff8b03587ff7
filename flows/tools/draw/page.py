"""A flow as a page: its picture to move and zoom in, and the story of a call beside it; nothing comes from outside."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from importlib.resources import files

from flows import graph as g
from flows.findings import printable
from flows.tools.calllog import CallLog, Visit, place_in_words, visits

from .style import FONT
from .svg import Picture, picture


def draw_page(graph: g.Graph, log: CallLog | None = None, *, name: str = "") -> str:
    """``graph`` as an HTML document; with ``log``, the way that the call went, step by step.

    Raises :class:`~flows.tools.draw.layout.TooLarge`.
    """
    drawn = picture(graph, log, name=name, headed=False)
    folder = files(__package__)
    style = folder.joinpath("page.css").read_text(encoding="utf-8").replace("FONT", FONT)
    script = folder.joinpath("page.js").read_text(encoding="utf-8")
    title = _t(name or graph.name or "flow")
    story = "\n".join(_story(log, drawn)) if log is not None else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body{' class="call"' if story else ""}>
<header>
<h1>{title}</h1>
<nav aria-label="Zoom">
<button type="button" id="closer" title="Zoom in (+)" aria-label="Zoom in">+</button>
<button type="button" id="farther" title="Zoom out (-)" aria-label="Zoom out">−</button>
<button type="button" id="all" title="Show all (0)">All</button>
<button type="button" id="start" title="Show the beginning (1)">1:1</button>
</nav>
</header>
<main>
<div id="view" tabindex="0" aria-label="The flow: drag to move, scroll to zoom">
<div id="sheet" style="width:{drawn.width:.0f}px;height:{drawn.height:.0f}px">
{drawn.svg}</div>
</div>
{story}
</main>
<script>
{script}</script>
</body>
</html>
"""


def _story(log: CallLog, drawn: Picture) -> Iterator[str]:
    lasted = log.ended_at - (log.answered_at or 0.0)
    yield '<aside aria-label="The call">'
    names = (f"<b>{_t(name)}</b>" for name in (log.call_id, log.caller, log.callee))
    yield "<p>Call {} from {} to {}, {:.1f} s</p>".format(*names, lasted)
    yield "<ol>"
    for number, visit in enumerate(visits(log), 1):
        yield from _visit(number, visit, drawn.visits.get(number, ""))
    yield "</ol>"
    yield f"<p>Ended by {_t(log.by)}: {_t(log.reason)}</p>"
    yield "</aside>"


def _visit(number: int, visit: Visit, at: str) -> Iterator[str]:
    link = f' data-at="{at}" tabindex="0"' if at else ""
    yield f'<li value="{number}"{link}><span class="time">{visit.began:.1f} s</span> <b>{_t(visit.verb)}</b>'
    if visit.path:
        yield f'<span class="where">{_t(place_in_words(visit.path))}</span>'
    for text in visit.said:
        yield f'<span class="said">“{_t(text)}”</span>'
    for value, when in visit.heard:
        yield f'<span class="heard">heard “{_t(value)}” at {when:.1f} s</span>'
    for event in visit.events:
        yield f'<span class="event">{_t(event)}</span>'
    yield "</li>"


def _t(text: str) -> str:
    return escape(printable(text), quote=True)
