"""How a dialled leg ends that nobody on the other side ended."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.calls.channels import Channels
from engine.calls.peer import LOCAL_FAULT, Peer
from engine.log import get_logger


@pytest.fixture
def peer() -> Peer:
    leg = SimpleNamespace(detach=lambda: None)
    made = Peer("p", cast("Any", None), cast("Any", leg), cast("Any", None), lambda: 1.0, lambda: None, get_logger("t"))
    made.state = "ringing"
    return made


@pytest.mark.parametrize("answered", [False, True])
def test_a_worker_that_dies_is_no_phone_that_does_not_answer(peer: Peer, answered: bool) -> None:
    said: list[str] = []
    peer.session = cast("Any", SimpleNamespace(terminate=lambda now, reason: said.append(reason)))
    peer.answered_at = 0.5 if answered else None
    peer.worker_lost("the worker died")
    assert peer.end is not None
    assert (peer.end.status, peer.end.by, peer.end.cause) == (200 if answered else 503, "local", LOCAL_FAULT)
    assert said == ["the worker died"], "CANCEL or BYE"
    peer.hang_up("later")
    assert peer.end.reason == "the worker died", "the first word counts"


def test_who_is_given_up_was_not_at_fault(peer: Peer) -> None:
    peer.hang_up()
    assert peer.end is not None
    assert (peer.end.status, peer.end.cause) == (487, "")


def test_the_channel_is_free_when_the_leg_has_ended(peer: Peer) -> None:
    channels = Channels()
    peer.channel = channels.take("t", 1)
    assert channels.take("t", 1) is None
    peer.hang_up()
    assert channels.take("t", 1) is not None
    peer.release()
    assert channels.used["t"] == 1, "not given back twice"
