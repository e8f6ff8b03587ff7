"""No change without a line in the audit log: what an endpoint has not put down itself, its route does.

An endpoint that writes to the database notes a change in the same transaction (:func:`engine.accounts.audit.note`).
What is done to live calls has none: there the route writes the line once it is done, before the answer goes.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from sqlalchemy.exc import SQLAlchemyError

from engine.accounts import audit
from engine.accounts.entities import Caller
from engine.log import get_logger
from engine.store import Store

log = get_logger(__name__)

_LONGEST_ACTION, _LONGEST_SUBJECT, _LONGEST_PATH = 64, 255, 200


@dataclass(slots=True)
class _Change:
    """Who is about to change something, and of what account; ``subject``: what, when the endpoint has said so."""

    store: Store
    caller: Caller
    subject: str = ""


def begins(request: Request, store: Store, caller: Caller, needs: str) -> None:
    """``caller`` may do what ``needs`` the right of this name. With GET, too, calls are made and ended."""
    if needs.endswith(".write") and (request.method not in ("GET", "HEAD") or needs == "calls.write"):
        request.state.change = _Change(store, caller)


def about(request: Request, subject: str) -> None:
    """The change is one of ``subject``, which is neither in the path nor in the answer."""
    change = getattr(request.state, "change", None)
    if change is not None:
        change.subject = subject


def noted(handle: Callable[[Request], Awaitable[Response]], action: str) -> Callable[[Request], Awaitable[Response]]:
    """``handle``, after which there is a line for what it has changed: its own, or one with ``action``."""

    async def watched(request: Request) -> Response:
        with audit.watched() as notes:
            response = await handle(request)
        change: _Change | None = getattr(request.state, "change", None)
        if change is not None and not notes and response.status_code < 400:
            await _note(request, response, change, action[:_LONGEST_ACTION])
        return response

    return watched


async def _note(request: Request, response: Response, change: _Change, action: str) -> None:
    """It is done and cannot be undone: a database that is out of reach now is no reason to say otherwise."""
    subject = (change.subject or _in_path(request) or _in_answer(response))[:_LONGEST_SUBJECT]
    path = request.url.path[:_LONGEST_PATH]
    try:
        async with change.store.writing() as connection:
            await audit.note(connection, change.caller, action, subject, {"request": f"{request.method} {path}"})
    except (SQLAlchemyError, OSError) as error:
        text = f"{type(error).__name__}: {error}"
        log.error("audit_not_written", user=change.caller.user, action=action, subject=subject, error=text)


def _in_path(request: Request) -> str:
    """A call's id, or what is last: the others are those of what has it."""
    found = request.path_params
    return str(found.get("call_id") or next(reversed(found.values()), ""))


def _in_answer(response: Response) -> str:
    """The id of what was made."""
    try:
        told: Any = json.loads(bytes(getattr(response, "body", b"")))
    except ValueError:
        return ""
    if isinstance(told, dict) and isinstance(told.get("data"), list) and told["data"]:
        told = told["data"][0]
    return str(told.get("id") or told.get("call_id") or "") if isinstance(told, dict) else ""
