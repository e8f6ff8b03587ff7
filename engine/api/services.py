"""What the APIs are made of: handed to each of them when it is mounted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from engine.accounts.media import MediaShelf
from engine.accounts.secrets import PasswordDesk
from engine.callbacks.fetch import Fetcher
from engine.callbacks.service import CallbackService
from engine.calls.directory import Directory
from engine.calls.flowbook import FlowBook
from engine.calls.origination import Originator
from engine.calls.switch import Switch
from engine.campaigns.dialler import Dialler
from engine.captures.shelf import CaptureShelf
from engine.config import Config
from engine.store import Store
from engine.transport.tap import Tap


@dataclass(frozen=True, slots=True)
class ApiServices:
    """The daemon, as far as APIs may know it.

    ``callbacks`` has the database, the outbox and those who announce events; ``directory`` the accounts as calls see
    them, ``changed`` has calls see what was changed in the database; ``background`` runs a task until the daemon stops.
    """

    config: Config
    callbacks: CallbackService
    switch: Switch
    originator: Originator
    flows: FlowBook
    shelf: MediaShelf
    captures: CaptureShelf
    tap: Tap
    fetcher: Fetcher
    directory: Callable[[], Directory]
    changed: Callable[[], Awaitable[None]]
    public_url: Callable[[], str]
    """The address under which others reach the web server, without a slash at the end; known once it is up."""
    background: Callable[[Coroutine[Any, Any, None]], None]
    dialler: Dialler
    passwords: PasswordDesk = field(default_factory=PasswordDesk)

    @property
    def store(self) -> Store:
        """The database."""
        return self.callbacks.store
