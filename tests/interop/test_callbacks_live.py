"""Callbacks when the customer's server is down for the whole call, fails, is slow, or is none that may be called."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from kit import checks, trees
from kit.daemon import Daemon
from kit.hooks import HookServer
from kit.phone import Phone
from kit.trees import TWO_HZ
from pki import Authority


def walk_down(daemon: Daemon, number: str = "1000") -> Phone:
    with Phone(daemon.address) as phone:
        assert phone.call(number).status == 200
        phone.rtp.press("1", off=0.3)
        phone.rtp.press("2", off=0.3)
        phone.rtp.wait_for_sound(TWO_HZ, 5)
        phone.wait_for_end()
    return phone


def test_server_down_for_the_whole_call_then_up(daemon_for: Callable[..., Daemon]) -> None:
    server = HookServer().start()
    server.stop()
    daemon = daemon_for({"1000": trees.two_levels(server.url())})
    phone = walk_down(daemon)
    daemon.closing(phone.call_id)
    assert server.hits == []
    server.start()
    server.wait_for("close", patience=20)
    assert server.kinds() == checks.DOWN_TWO
    assert [event["seq"] for event in server.events()] == ["1", "2", "3", "4"]
    server.stop()


def test_server_down_until_after_a_restart(daemon_for: Callable[..., Daemon]) -> None:
    server = HookServer().start()
    server.stop()
    daemon = daemon_for({"1000": trees.two_levels(server.url())})
    walk_down(daemon)
    assert daemon.stop() == 0
    server.start()
    daemon.start()
    server.wait_for("close", patience=20)
    assert server.kinds() == checks.DOWN_TWO
    server.stop()


def test_failures_are_retried_in_order(daemon_for: Callable[..., Daemon]) -> None:
    server = HookServer(status=500).start()
    daemon = daemon_for({"1000": trees.two_levels(server.url())})
    walk_down(daemon)
    server.wait_for("open", count=2)
    assert set(server.kinds()) == {"open"}, "a later event overtook a failed one"
    server.status = 200
    events = server.wait_for("close", patience=15)
    distinct = list(dict.fromkeys((event["seq"], event["e"]) for event in events))
    assert distinct == [("1", "open"), ("2", "tree"), ("3", "tree"), ("4", "close")]
    server.stop()


def test_a_hanging_url_delays_no_other(daemon_for: Callable[..., Daemon]) -> None:
    hanging, good = HookServer(status=0).start(), HookServer().start()
    tree = {f"$api {hanging.url()}": trees.two_levels(good.url())}
    daemon = daemon_for({"1000": tree})
    phone = walk_down(daemon)
    daemon.closing(phone.call_id)
    good.wait_for("close", patience=3)
    assert good.kinds() == checks.DOWN_TWO
    assert hanging.kinds() == ["open"]
    hanging.stop()
    good.stop()


def test_the_urls_own_query_and_odd_host_names_are_kept(daemon_for: Callable[..., Daemon]) -> None:
    server = HookServer().start()
    daemon = daemon_for({"1000": trees.two_levels(server.url("/hook?session=d00d%20e&e=mine&empty="))})
    walk_down(daemon)
    server.wait_for("close")
    for hit in server.hits:
        assert hit.method == "GET"
        assert hit.query.startswith("session=d00d%20e&e=mine&empty=&"), hit.query
    server.stop()


def test_certificates_are_believed_where_that_is_said(daemon_for: Callable[..., Daemon], tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    pairs = [authority.sign(name, addresses=("127.0.0.1",)) for name in ("known", "unknown")]
    known, unknown = (HookServer(certificate=pair.both).start() for pair in pairs)
    shown = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pairs[0].cert.read_text())).hexdigest()
    tree = {f"$api {unknown.url()}": trees.two_levels(known.url())}
    certificates = {f"127.0.0.1:{known.port}": f"sha256:{shown}"}
    daemon = daemon_for({"1000": tree}, settings={"callbacks": {"certificates": certificates}})
    walk_down(daemon)
    known.wait_for("close")
    assert known.kinds() == checks.DOWN_TWO
    assert unknown.hits == []
    for server in (known, unknown):
        server.stop()


def test_private_destinations_are_refused_unless_allowed(daemon_for: Callable[..., Daemon]) -> None:
    server = HookServer().start()
    daemon = daemon_for({"1000": trees.two_levels(server.url())}, settings={"callbacks": {"allow_private": False}})
    phone = walk_down(daemon)
    assert daemon.closing(phone.call_id)["path"] == trees.path("key:1", "key:2")
    with pytest.raises(AssertionError, match="no 'open'"):
        server.wait_for("open", patience=2)
    server.stop()


def test_one_close_also_when_never_answered(daemon_for: Callable[..., Daemon]) -> None:
    """An offer that cannot be answered: ``close`` alone, without ``answered``."""
    server = HookServer().start()
    daemon = daemon_for({"1000": trees.two_levels(server.url())})
    with Phone(daemon.address) as phone:
        offer = phone.offer().replace("RTP/AVP 0 101", "RTP/AVP 18")
        assert phone.call("1000", offer=offer).status == 488
    (event,) = server.wait_for("close")
    assert event["e"] == "close"
    assert "answered" not in event
    assert event["duration"] == "0"
    server.stop()
