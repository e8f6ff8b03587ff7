"""The way of a call, laid over the blocks of its flow; and the flows that it fetched on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flows import graph as g
from flows.call import Fetched, Reached, Reply
from flows.requests import read_reply
from flows.tools.calllog import CallLog, Visit, visits

from .blocks import Block, entry_of


@dataclass(frozen=True, slots=True)
class Stop:
    """A visit of the call to a step; ``number`` counts from 1 over the whole call. ``last``: it ended there."""

    number: int
    visit: Visit
    last: bool = False


@dataclass(slots=True)
class Walked:
    """Where a call came by in one flow: by block and entry, and by block and way."""

    stops: dict[tuple[str, int], list[Stop]] = field(default_factory=dict)
    ways: dict[tuple[str, int], int] = field(default_factory=dict)
    """How often each was taken."""

    @property
    def blocks(self) -> set[str]:
        return {block for block, _ in self.stops}


@dataclass(frozen=True, slots=True)
class Scene:
    """A graph to draw: number ``flow`` of the call, from ``source``."""

    graph: g.Graph
    flow: int
    source: str


def scenes(graph: g.Graph, log: CallLog | None) -> list[Scene]:
    """``graph`` and, if there is a call, those that it fetched and took over."""
    found = [Scene(graph, 0, graph.name)]
    if log is None:
        return found
    graphs = {0: graph}
    fetching: Reached | None = None
    answer: Fetched | None = None
    for note, _ in log.notes:
        if isinstance(note, Fetched):
            answer = note
        elif isinstance(note, Reached):
            if note.flow not in graphs and fetching is not None and answer is not None:
                taken = _fetched(graphs.get(fetching.flow), fetching.step, answer)
                if taken is not None:
                    graphs[note.flow] = taken
                    found.append(Scene(taken, note.flow, answer.source or answer.url))
            fetching, answer = note, None
    return found


def _fetched(graph: g.Graph | None, name: str, answer: Fetched) -> g.Graph | None:
    """The flow in an answer, read as the step did that asked for it; ``None`` when that is not known."""
    step = None if graph is None else graph.steps.get(name)
    if not isinstance(step, g.Fetch) or answer.problem or not answer.body:
        return None
    reply = Reply(answer.status, answer.content_type, answer.body.encode(), answer.source or answer.url)
    return read_reply(step, reply).graph


def walked(scene: Scene, blocks: Mapping[str, Block], log: CallLog) -> Walked:
    """Where ``log`` came by in ``scene``."""
    result = Walked()
    every = visits(log)
    entries = entry_of(blocks)
    for number, visit in enumerate(every, 1):
        if visit.flow != scene.flow or visit.step not in scene.graph.steps:
            continue
        last = number == len(every)
        if (at := entries.get(visit.step)) is not None:
            result.stops.setdefault(at, []).append(Stop(number, visit, last))
            for way in _ways(every, number - 1, scene.graph, blocks[at[0]], at[1]):
                result.ways[at[0], way] = result.ways.get((at[0], way), 0) + 1
    return result


def _ways(every: Sequence[Visit], place: int, graph: g.Graph, block: Block, entry: int) -> Iterator[int]:
    """The ways out of ``block`` that were taken after the visit at ``place``, if it was out of the block at all."""
    visit = every[place]
    if entry < len(block.entries) - 1 or place == len(every) - 1:
        return
    name = visit.way
    if every[place + 1].flow != visit.flow:  # another flow took over, or the one before goes on
        if every[place + 1].flow > visit.flow:
            yield from (number for number, way in enumerate(block.ways) if way.away)
        if all(later.flow != visit.flow for later in every[place + 1 :]):
            return
        name = g.NEXT
    if name not in graph.steps[visit.step].exits:
        name = g.NEXT
    yield from (number for number, way in enumerate(block.ways) if name in way.names)


def story(stop: Stop) -> Iterator[str]:
    """What there is to tell about a visit, in short lines."""
    visit = stop.visit
    yield f"{visit.began:.1f} s, for {visit.seconds:.1f} s" if visit.seconds >= 0.05 else f"{visit.began:.1f} s"
    for value, at in visit.heard:
        yield f"heard “{value}” at {at:.1f} s"
    yield from visit.events
