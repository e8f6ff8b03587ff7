"""Channels of trunks: how many are free, and that each is given back once."""

from __future__ import annotations

from engine.calls.channels import Channels


def test_a_trunk_has_no_more_calls_than_channels() -> None:
    channels = Channels()
    first, second = channels.take("a", 2), channels.take("a", 2)
    assert first is not None
    assert second is not None
    assert channels.take("a", 2) is None
    assert channels.take("b", 2) is not None, "another trunk"
    first.release()
    first.release()
    assert channels.used["a"] == 1, "given back once, whoever says it twice"
    assert channels.take("a", 2) is not None
    assert channels.take("a", 2) is None
    assert channels.take("a", 0) is not None, "no limit, and counted"
    assert channels.used["a"] == 3
