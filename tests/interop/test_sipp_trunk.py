"""SIPp as a trunk's registrar: 401, 423, 503, a short registration, and its refresh in time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from kit import sipp, trees
from kit.daemon import Daemon
from kit.phone import Phone

pytestmark = pytest.mark.peer("sipp")


def test_registration_through_every_refusal(daemon_for: Callable[..., Daemon], tmp_path: Path) -> None:
    expires = 10
    registrar = sipp.start("registrar", tmp_path, fill={"EXPIRES": str(expires), "REFRESH_MS": str(expires * 1000)})
    trunk = {
        "name": "trunk",
        "host": f"127.0.0.1:{registrar.port}",
        "register": True,
        "username": "ivrea",
        "password": "geheim",
    }
    daemon_for({"1000": trees.two_levels()}, trunks=[trunk])
    registrar.finish(60)
    requests = registrar.messages().count("\nREGISTER sip:")
    assert requests >= 5, "401, 423, 503, 200, refresh"


def test_only_trunks_and_devices_may_call(daemon_for: Callable[..., Daemon]) -> None:
    """``open = false``: a stranger is refused, a registered device and a trunk's address are not."""
    closed = daemon_for(
        {"1000": trees.two_levels()},
        settings={"sip": {"open": False}},
        devices=[{"name": "device", "password": "secret"}],
    )
    with Phone(closed.address, user="stranger") as stranger:
        assert stranger.call("1000").status in {401, 403}
    with Phone(closed.address, user="device", password="wrong") as impostor:
        assert impostor.register().status in {401, 403}
        assert impostor.call("1000").status in {401, 403}
    with Phone(closed.address, user="device", password="secret") as device:
        assert device.register().status == 200
        assert device.call("1000").status == 200
        assert device.hangup().status == 200
