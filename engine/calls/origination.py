"""From what somebody asks for to a call that goes out: its flow is found or compiled, its account looked at."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

from engine.calls.directory import Directory, plan_of
from engine.calls.flowbook import Document, FlowBook, FlowError, Ready
from engine.calls.outbound import OutgoingCall, Wish
from engine.calls.switch import Switch
from flows.graph import Graph, HangUp, Perform
from flows.orders import DetectMachine

IfMachine = Literal["", "continue", "delay", "hangup"]
"""What follows when a machine picks up: the flow at once, after its greeting, or nothing. Empty: nobody asks."""

DETECTION_SECONDS = 7.0


class Originator:
    """Makes calls for accounts."""

    def __init__(self, switch: Switch, flows: FlowBook, directory: Callable[[], Directory]) -> None:
        self._switch = switch
        self._flows = flows
        self._directory = directory

    async def stored(self, account: str, flow: str) -> Ready:
        """A stored flow of the account, by id or name. Raises :class:`FlowError`."""
        return await self._flows.stored(account, flow)

    async def inline(self, account: str, document: str, dialect: str) -> Ready:
        """A flow that came with the wish. Raises :class:`FlowError` with its findings."""
        return await self._flows.ready(Document("inline", document, dialect, account=account), render=False)

    def call(
        self, account: str, wish: Wish, flow: Ready, if_machine: IfMachine = "", *, record: bool = False
    ) -> OutgoingCall:
        """Begin the call.

        Raises :class:`~engine.calls.media.MediaError` when there is no room for it, and :class:`FlowError` for an
        account that is not there.
        """
        owner = self._directory().accounts.get(account)
        if owner is None:
            raise FlowError(f"there is no account {account!r}")
        if if_machine:
            flow = dataclasses.replace(flow, graph=with_detection(flow.graph, if_machine))
        return self._switch.originate(wish, plan_of(self._flows, owner, flow, record=record))


def with_detection(graph: Graph, if_machine: IfMachine) -> Graph:
    """``graph`` behind a step that finds out who picked up; its facts become ``machine.NAME``."""
    detect, end = "$detect", "$machine"
    order = DetectMachine(patience=DETECTION_SECONDS, wait=if_machine == "delay")
    exits = {"next": graph.start, "machine": end if if_machine == "hangup" else graph.start}
    first = Perform(id=detect, origin="", order=order, into="machine", exits=exits)
    last = HangUp(id=end, origin="", reason="a machine picked up")
    return Graph({detect: first, end: last, **graph.steps}, detect, name=graph.name)
