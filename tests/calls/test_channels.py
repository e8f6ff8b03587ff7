"""Channels of trunks: how many are free, and that each is given back once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.calls.channels import Channels
from engine.calls.household import Outside
from engine.calls.peer import NoChannel


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


def test_a_leg_to_outside_counts_as_a_call_of_its_account() -> None:
    """Telephones of the account ring as many as there are; a leg by a trunk takes what a call takes, until it ends."""
    there = cast("Any", SimpleNamespace(legs=Channels(), calls=lambda _account: 1))
    outside, telephone = (cast("Any", SimpleNamespace(device=name)) for name in ("", "desk"))
    assert Outside.leg(there, telephone, "acme", 1) is None
    leg = Outside.leg(there, outside, "acme", 2)
    assert leg is not None
    with pytest.raises(NoChannel, match="as many calls"):
        Outside.leg(there, outside, "acme", 2)
    assert Outside.leg(there, outside, "acme", 0) is not None, "no limit"
    assert there.legs.used["acme"] == 2
    leg.release()
    assert there.legs.used["acme"] == 1
