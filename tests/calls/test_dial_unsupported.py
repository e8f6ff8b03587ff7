"""What a live call cannot dial is said before anybody is rung."""

from __future__ import annotations

from typing import Any, cast

import pytest

from engine.calls.dialling import Dialling
from flows.call import Unsupported
from flows.orders import Dial, Target


@pytest.mark.parametrize(
    ("order", "what"),
    [
        (Dial(targets=(Target(kind="queue", value="support"),)), "queues"),
    ],
    ids=["queue"],
)
async def test_what_cannot_be_dialled_is_said(order: Dial, what: str) -> None:
    with pytest.raises(Unsupported, match=what):
        await Dialling(order, cast("Any", None)).run()
