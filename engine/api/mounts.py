"""Where which API is: a line for each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, FastAPI

from engine.api import calls, messagebird
from engine.api.brombler import mount as brombler
from engine.api.kazoo import mounting as kazoo
from engine.api.kwebbl import mounting as kwebbl
from engine.api.own import access, accounts, capturing, flows, kinds, ledger, queue, sounds, telling
from engine.api.own.resources import routes_of
from engine.api.reference import add_reference
from engine.api.services import ApiServices
from engine.api.verboice import mount as verboice

MOUNTS: tuple[Callable[[ApiServices], APIRouter], ...] = (
    calls.mount,
    queue.mount,
    telling.mount,
    capturing.mount,
    accounts.mount,
    *(partial(routes_of, each) for each in kinds.RESOURCES),
    flows.mount,
    sounds.mount,
    access.mount,
    ledger.mount,
    brombler.mount,
    kwebbl.mount,
    messagebird.mount,
    verboice,
    kazoo.mount,
)
"""Each makes the routes of an API; what comes first has the path that two want."""


def mount_all(app: FastAPI, services: ApiServices) -> None:
    """Give ``app`` all APIs."""
    for mount in MOUNTS:
        app.include_router(mount(services))
    add_reference(app)
