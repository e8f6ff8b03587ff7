from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from transport_kit import Rig, UdpPeer


@pytest.fixture
async def rig() -> AsyncIterator[Callable[..., Rig]]:
    """Makes rigs that are closed after the test."""
    made: list[Rig] = []

    def make(**settings: Any) -> Rig:
        made.append(Rig(**settings))
        return made[-1]

    yield make
    for one in made:
        await one.transport.close()


@pytest.fixture
async def peer() -> AsyncIterator[UdpPeer]:
    one = await UdpPeer.open()
    yield one
    one.close()
