"""Running a flow test: the simulator, and what came of it held against what was expected."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flows.call import Callback, Fetched, Performed, Trouble
from flows.scripted_world import canned
from flows.simulate import Scenario, Simulation, simulate

from .matching import Between, Entry, Like, align, differs, tidy
from .results import Difference, Result, Row, pointer_row, rows
from .spec import FlowTest, One, Several


def run(test: FlowTest) -> Result:
    """Walk the flow as the test says. Deterministic: the same test always comes to the same."""
    simulation = simulate(test.graph, test.script, settings=test.setting.settings, scenario=_scenario(test))
    differences = []
    for name, expected in test.expected.items():
        difference = _list(name, expected, simulation) if isinstance(expected, Several) else None
        if isinstance(expected, One):
            difference = _value(name, expected, simulation)
        if difference is not None:
            differences.append(difference)
    if simulation.not_reached and not test.unfinished:
        left = "; ".join(map(str, simulation.not_reached))
        asked = Row("-", "the caller does all that the script says", test.line)
        differences.append(Difference("script", test.line, (asked, Row("+", f"the call ended before: {left}"))))
    return Result(test.name, test.line, tuple(differences), simulation)


def _scenario(test: FlowTest) -> Scenario:
    setting = test.setting
    usual = Scenario()
    return Scenario(
        caller=setting.caller,
        callee=setting.callee,
        answered=setting.answered,
        outbound=setting.outbound,
        transfer=setting.transfer or usual.transfer,
        media_length=setting.media.get,
        facts=setting.variables,
        fetch=canned(setting.servers),
        flows=setting.flows,
    )


def _value(name: str, expected: One, simulation: Simulation) -> Difference | None:
    got = VALUES[name](simulation)
    if expected.matcher.matches(got):
        return None
    shown = str(expected.matcher)
    pointing = [] if isinstance(expected.matcher, Between | Like) else pointer_row(shown, got)
    return Difference(name, expected.line, (Row("-", shown, expected.line), Row("+", got), *pointing))


def _list(name: str, expected: Several, simulation: Simulation) -> Difference | None:
    steps = align(expected.items, LISTS[name](simulation))
    return Difference(name, expected.line, rows(steps)) if differs(steps) else None


VALUES: Mapping[str, Callable[[Simulation], str]] = {
    "path": lambda simulation: simulation.path,
    "end.by": lambda simulation: simulation.ending.by,
    "end.reason": lambda simulation: simulation.ending.reason,
    "duration": lambda simulation: f"{simulation.duration:.3f}",
}
"""What there is one of on a call."""


def _spoken(simulation: Simulation) -> list[Entry]:
    return [
        Entry(
            tidy(spoken.prompt.media or spoken.prompt.text),
            {
                "text": spoken.prompt.text,
                "media": spoken.prompt.media,
                "voice": spoken.prompt.voice,
                "language": spoken.prompt.language,
                "at": f"{spoken.at:.3f}",
                "heard": f"{spoken.heard:.3f}",
            },
            spoken.at,
        )
        for spoken in simulation.spoken
    ]


def _heard(simulation: Simulation) -> list[Entry]:
    verbs = {"key": "press", "words": "say"}
    return [
        Entry(f"{verbs[heard.kind]} {heard.value}", {"at": f"{at:.3f}"}, at)
        for heard, at in simulation.heard
        if heard.value
    ]


def _callbacks(simulation: Simulation) -> list[Entry]:
    return [
        Entry(
            f"{callback.params.get('e', callback.method)} {callback.url}",
            {
                "event": callback.params.get("e", ""),
                "url": callback.url,
                "method": callback.method,
                "at": f"{at:.3f}",
                **{f"params.{name}": value for name, value in callback.params.items()},
            },
            at,
        )
        for callback, at in simulation.noted(Callback)
    ]


def _fetches(simulation: Simulation) -> list[Entry]:
    return [
        Entry(
            f"{fetched.method} {fetched.url}",
            {
                "url": fetched.url,
                "method": fetched.method,
                "status": str(fetched.status),
                "problem": fetched.problem,
                "at": f"{at:.3f}",
            },
            at,
        )
        for fetched, at in simulation.noted(Fetched)
    ]


def _recordings(simulation: Simulation) -> list[Entry]:
    return [
        Entry(
            f"{taken.format} {taken.sides}, {taken.duration:g} s",
            {
                "format": taken.format,
                "sides": taken.sides,
                "duration": f"{taken.duration:.3f}",
                "reason": taken.reason,
                "at": f"{taken.began:.3f}",
            },
            taken.began,
        )
        for taken in simulation.recordings
    ]


def _orders(simulation: Simulation) -> list[Entry]:
    return [
        Entry(tidy(performed.story), {"order": performed.order, "story": performed.story, "at": f"{at:.3f}"}, at)
        for performed, at in simulation.noted(Performed)
    ]


def _trouble(simulation: Simulation) -> list[Entry]:
    return [Entry(tidy(trouble.what), {"at": f"{at:.3f}"}, at) for trouble, at in simulation.noted(Trouble)]


LISTS: Mapping[str, Callable[[Simulation], list[Entry]]] = {
    "spoken": _spoken,
    "heard": _heard,
    "callbacks": _callbacks,
    "fetches": _fetches,
    "recordings": _recordings,
    "orders": _orders,
    "trouble": _trouble,
}
"""What there are several of on a call, in order."""
