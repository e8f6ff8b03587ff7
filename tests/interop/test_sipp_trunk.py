"""SIPp as a trunk's registrar: 401, 423, 503, a short registration, and its refresh in time."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from kit import sipp, trees
from kit.api import Api
from kit.daemon import Daemon
from kit.phone import Phone
from name_server import NameServer
from test_bridges import menu_after
from test_outgoing import PAUSE

DaemonFor = Callable[..., Daemon]
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


def test_what_goes_to_a_provider_takes_its_proxy_and_the_service_route_of_its_registrar(
    daemon_for: Callable[..., Daemon], tmp_path: Path
) -> None:
    """RFC 3608: nobody is at the provider's address; all goes to its proxy, and calls name the Service-Route behind
    that.
    """
    edge = sipp.start("uas_edge", tmp_path, calls=2)  # a registration and a call
    trunk = {
        "name": "provider",
        "host": "192.0.2.1",
        "outbound_proxy": f"127.0.0.1:{edge.port}",
        "register": True,
        "username": "ivrea",
        "password": "geheim",
    }
    house = daemon_for({}, trunks=[trunk])
    house.wait_log('"event": "registered"')
    api = Api(house)
    call = api.call("+390111", PAUSE, trunk="provider")
    ended = api.wait(call, "ended")
    assert (ended["result"], ended["end"]["by"]) == ("completed", "caller")
    house.stop()
    edge.finish()
    proxy, service = f"<sip:127.0.0.1:{edge.port};lr>", "<sip:service.provider.example;lr>"
    came = [text for _, text in edge.received() if text.startswith(("REGISTER ", "INVITE "))]
    ways = [(text.partition(" SIP/2.0")[0], re.findall(r"^Route: (.*)$", text, re.MULTILINE)) for text in came]
    assert ways == [
        ("REGISTER sip:192.0.2.1", [proxy]),
        ("INVITE sip:+390111@192.0.2.1", [proxy, service]),
        ("REGISTER sip:192.0.2.1", [proxy]),
    ]


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


def test_a_trunk_that_srv_says_is_at_two_places_is_called_at_the_second_when_the_first_is_down(
    daemon_for: Callable[..., Daemon], tmp_path: Path
) -> None:
    """RFC 3263 section 4.3: after a 503 the next place of the same domain."""
    first = sipp.start("uas_refuse", tmp_path / "first", fill={"STATUS": "503 Service Unavailable"})
    second = sipp.start("uas_refuse", tmp_path / "second", fill={"STATUS": "486 Busy Here"})
    zone = {
        ("_sip._udp.carrier.example.", "SRV"): [f"20 0 {second.port} two.example.", f"10 0 {first.port} one.example."],
        ("one.example.", "A"): ["127.0.0.1"],
        ("two.example.", "A"): ["127.0.0.1"],
    }
    with NameServer(zone) as names:
        house = daemon_for(
            {"5000": menu_after("+390111")},
            settings={"sip": {"dns": [f"127.0.0.1:{names.address[1]}"]}},
            trunks=[{"name": "carrier", "host": "carrier.example"}],
        )
        caller = sipp.start("uac_waits", tmp_path / "uac", server=house.address, number="5000")
        for each in (first, second, caller):
            each.finish()
        house.wait_ended()
    assert "INVITE sip:+390111@carrier.example SIP/2.0" in first.messages()
    assert [row["status"] for row in house.events() if row.get("event") == "leg ended"] == [503, 486]


def test_a_silent_place_of_a_name_does_not_keep_the_call_from_the_next(daemon_for: DaemonFor, tmp_path: Path) -> None:
    """RFC 3263 section 4.3: silence is a failure too, of a trunk's place as of one that a URI names."""
    busy = sipp.start("uas_refuse", tmp_path / "busy", fill={"STATUS": "486 Busy Here"}, calls=2)
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as silent:
        silent.bind(("127.0.0.1", 0))
        zone = {
            ("_sip._udp.carrier.example.", "SRV"): [
                f"10 0 {silent.getsockname()[1]} one.example.",
                f"20 0 {busy.port} two.example.",
            ],
            ("one.example.", "A"): ["127.0.0.1"],
            ("two.example.", "A"): ["127.0.0.1"],
        }
        with NameServer(zone) as names:
            house = daemon_for(
                {"5000": menu_after("+390111")},
                settings={"sip": {"dns": [f"127.0.0.1:{names.address[1]}"]}},
                trunks=[{"name": "carrier", "host": "carrier.example", "respond_within": 1.0}],
            )
            api = Api(house)
            calls = [api.call(to, PAUSE, timeout=20) for to in ("sip:bob@carrier.example", "+390111")]
            ended = [api.wait(call, "ended") for call in calls]
            busy.finish()
    assert [(call["result"], [leg["sip"] for leg in call["legs"]]) for call in ended] == [("busy", [408, 486])] * 2
