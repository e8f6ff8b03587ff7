"""What each step does: ``async (walk, step) -> exit``. One function for each class of :mod:`flows.graph`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from flows import graph as g
from flows.walk import Walk

from . import hearing, plain, speaking, web

Verb = Callable[[Walk, Any], Awaitable[str]]

VERBS: Mapping[type[g.Step], Verb] = {
    g.Answer: plain.answer,
    g.Enter: plain.enter,
    g.Notify: plain.notify,
    g.Subscribe: plain.subscribe,
    g.Forward: plain.forward,
    g.SetVariables: plain.set_variables,
    g.Branch: plain.branch,
    g.Flush: plain.flush,
    g.Transfer: plain.transfer,
    g.Perform: plain.perform,
    g.HangUp: plain.hang_up,
    g.Say: speaking.say,
    g.Pause: speaking.pause,
    g.Record: speaking.record,
    g.Listen: hearing.listen,
    g.Collect: hearing.collect,
    g.Fetch: web.fetch,
    g.Jump: web.jump,
    g.Tell: web.tell,
}
