"""What a call may use beside its SIP session and its stream: sounds that are made for it, and the web."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.callbacks import fetch
from engine.callbacks.urls import Refused
from flows.call import FetchFailed, Reply, Request
from flows.documents import MAX_BYTES
from flows.findings import Finding
from flows.graph import Graph
from flows.prompts import Prompt
from flows.requests import with_query

Renderer = Callable[[Prompt], Awaitable[Path]]
"""Makes the sound of a prompt, or raises :class:`PromptError`."""

Fetch = Callable[[Request], Awaitable[Reply]]
"""Makes a request of a flow, or raises :class:`~flows.call.FetchFailed`."""


class FlowError(Exception):
    """A flow cannot be used; the text says which and why, a line for each finding."""

    def __init__(self, text: str, findings: tuple[Finding, ...] = ()) -> None:
        super().__init__(text)
        self.findings = findings


@dataclass(frozen=True, slots=True)
class Ready:
    """A flow that can be run, and the sounds of its prompts. ``version``: 0 if it is not a stored one."""

    name: str
    graph: Graph
    prompts: Mapping[Prompt, Path] = field(default_factory=dict)
    version: int = 0


StoredFlow = Callable[[str], Awaitable[Ready]]
"""Finds a stored flow of one account by id or name, or raises :class:`FlowError`."""


class PromptError(Exception):
    """A prompt cannot be heard: the text cannot be spoken, or the media cannot be read."""


def flow_fetcher(fetcher: fetch.Fetcher) -> Fetch:
    """Requests for flows by the guarded client: an answer of :data:`flows.documents.MAX_BYTES` at most."""

    async def ask(request: Request) -> Reply:
        headers = {"Content-Type": request.content_type} if request.content_type else {}
        try:
            answer = await fetcher.fetch(
                request.method,
                with_query(request.url, request.query),
                timeout=request.patience,
                data=request.body if request.method == "POST" else None,
                headers=headers,
                body_limit=MAX_BYTES,
            )
        except (Refused, fetch.FetchFailed) as error:
            raise FetchFailed(str(error)) from error
        if not answer.complete:
            raise FetchFailed(f"the answer is larger than {MAX_BYTES >> 10} KiB")
        kind = next((value for name, value in answer.headers.items() if name.lower() == "content-type"), "")
        return Reply(answer.status, kind, answer.body, answer.url, answer.headers)

    return ask


async def no_web(request: Request) -> Reply:
    """For calls that may not fetch anything."""
    raise FetchFailed("this call may not use the web")


async def no_stored_flows(wanted: str) -> Ready:
    """For calls that have no flows but their own."""
    raise FlowError(f"there is no flow {wanted!r}")
