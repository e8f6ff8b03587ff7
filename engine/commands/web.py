"""Options of commands that simulate calls: answers of web servers from a file, or really asked for; the way it goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
import yaml

from engine.callbacks.fetch import Fetcher
from engine.callbacks.trust import Trust
from engine.calls.services import flow_fetcher
from engine.commands.console import fail, read_config
from engine.transport.certificates import CertificateError
from flows.call import Reply, Request
from flows.scripted_world import canned, nothing_known
from flows.tools.replies import Replies as TableOfReplies
from flows.tools.replies import RepliesError, read_replies

Replies = Annotated[
    Path | None,
    typer.Option("--replies", help="What web servers answer: YAML or JSON, from URLs to answers."),
]
Fetch = Annotated[
    bool, typer.Option("--fetch", help="Really ask web servers for what [b]--replies[/b] does not answer.")
]
Outbound = Annotated[
    bool,
    typer.Option(
        "--outbound",
        help="A call that was made: the script may begin with answer, human, machine, busy, noanswer or reject.",
    ),
]


def answers(replies: Path | None, *, fetch: bool, config: Path | None) -> Callable[[Request], Reply]:
    """Who answers the requests of a simulated call; the end with status 2 when ``replies`` cannot be read."""
    other = _asking(config) if fetch else nothing_known
    return other if replies is None else canned(_read(replies), other)


def _read(path: Path) -> TableOfReplies:
    try:
        table = yaml.safe_load(path.read_bytes())
        return read_replies(table, lambda name: (path.parent / name).read_bytes())
    except OSError as error:
        fail(f"{path}: {error.strerror or error}")
    except (yaml.YAMLError, RecursionError) as error:
        fail(f"{path}: {error}")
    except RepliesError as error:
        fail(f"{path}: {error}")


def _asking(config: Path | None) -> Callable[[Request], Reply]:
    """The client that live calls have; private addresses and certificates as the configuration allows them."""
    callbacks = read_config(config).callbacks
    try:
        trust = Trust(callbacks.certificates)
    except CertificateError as error:
        fail(str(error))

    async def ask(request: Request) -> Reply:
        fetcher = Fetcher(allow_private=callbacks.allow_private, trust=trust)
        try:
            return await flow_fetcher(fetcher)(request)
        finally:
            await fetcher.close()

    return lambda request: asyncio.run(ask(request))
