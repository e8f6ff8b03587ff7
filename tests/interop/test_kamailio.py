"""Kamailio in front: it record-routes, and every request of a call has to go through it, from both ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from kit import checks, sipp, sound, trees
from kit.api import Api
from kit.baresip import Baresip
from kit.daemon import Daemon
from kit.kamailio import Kamailio, lacks_tls
from kit.ports import free_port
from pki import Authority
from test_bridges import tone_in, transfer_to
from test_outgoing import registered
from test_sipp_calls import caller_with_keys

pytestmark = pytest.mark.peer("kamailio")
PAUSE = {"document": {"title": "p", "steps": [{"id": "p", "action": "pause", "options": {"length": 1}}]}}
CALLER, CALLEE = 600.0, 900.0


@dataclass(frozen=True, slots=True)
class Behind:
    """A daemon behind Kamailio, which is also its trunk; who is called through that is at ``callee``, a port."""

    house: Daemon
    proxy: Kamailio
    callee: int
    transport: str

    def both_ways(self, *methods: str) -> None:
        """All of ``methods`` went through the proxy within the call, and nothing else did."""
        self.proxy.wait_followed(methods[-1])
        assert [method for method, _ in self.proxy.followed()] == list(methods)
        self.proxy.forget()


@pytest.fixture(scope="module", params=["udp", "tls"])
def behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    secure = request.param == "tls"
    if secure and (why := lacks_tls()):
        pytest.skip(why)
    port, tls_port, callee = free_port(), free_port(), free_port(following=1)
    folder = tmp_path_factory.mktemp("proxied")
    authority = Authority(folder / "ca")
    own = authority.sign("ivrea", addresses=("127.0.0.1",))
    trunk = {"name": "proxy", "host": f"127.0.0.1:{port}"}
    if secure:
        trunk |= {"host": f"tls:127.0.0.1:{tls_port}", "tls_cert": str(own.cert), "tls_key": str(own.key)}
    daemon = Daemon(
        folder / "daemon",
        {"2000": trees.two_levels(), "3000": trees.two_levels(root="long.wav"), "5000": transfer_to("+39012")},
        sounds=trees.SOUNDS,
        trunks=[trunk],
    )
    if secure:
        daemon.secure(own.cert, own.key, authority.file, tls_verify_clients=True)
    tls = (authority.sign("proxy", addresses=("127.0.0.1",)), authority.file) if secure else None
    outward = f"sip:127.0.0.1:{callee}"
    with daemon, Kamailio(folder / "proxy", daemon, port=port, outward=outward, tls_port=tls_port, tls=tls) as proxy:
        yield Behind(daemon, proxy, callee, request.param)


@pytest.mark.peer("sipp")
def test_a_caller_behind_the_proxy_is_heard_and_let_go(behind: Behind, tmp_path: Path) -> None:
    """Two keys in its sound, then our BYE: along the Route set, which has two entries where the transport changes."""
    caller = sipp.start("uac_audio", tmp_path, server=behind.proxy.address, number="2000", audio=caller_with_keys())
    caller.finish()
    assert checks.last_path(behind.house, "2000") == trees.path("key:1", "key:2")
    behind.both_ways("ACK", "BYE")
    record_routes = caller.messages().count("\nRecord-Route: <sip:127.0.0.1")
    assert record_routes >= (2 if behind.transport == "tls" else 1)


@pytest.mark.peer("sipp")
def test_a_caller_behind_the_proxy_hangs_up(behind: Behind, tmp_path: Path) -> None:
    sipp.start("uac_hangup", tmp_path, server=behind.proxy.address, number="3000", fill={"TALK_MS": "300"}).finish()
    assert behind.house.wait_closed(behind.house.calls_to("3000")[-1])["by"] == "caller"
    behind.both_ways("ACK", "BYE")


@pytest.mark.peer("sipp")
def test_a_caller_gives_up_through_the_proxy(behind: Behind, tmp_path: Path) -> None:
    """The CANCEL goes hop by hop, on both sides of us."""
    uas = sipp.start("uas_rings_on", tmp_path / "uas", port=behind.callee)
    sipp.start("uac_cancels", tmp_path / "uac", server=behind.proxy.address, number="5000").finish()
    uas.finish()
    end = behind.house.wait_closed(behind.house.calls_to("5000")[-1])
    assert (end["by"], end["reason"]) == ("caller", "cancelled before the answer")


@pytest.mark.peer("sipp")
@pytest.mark.parametrize("who", ["callee", "we"])
def test_who_is_called_through_the_proxy(behind: Behind, tmp_path: Path, who: str) -> None:
    """Either side hangs up; ours goes to the callee's Contact by the Route that the answer recorded."""
    scenario = "uas_behind_a_proxy" if who == "callee" else "uas_behind_a_proxy_waits"
    uas = sipp.start(scenario, tmp_path, port=behind.callee, fill={"TALK_MS": "200"})
    api = Api(behind.house)
    call = api.call("+39012", PAUSE)
    uas.finish()
    ended = api.wait(call, "ended")
    assert (ended["result"], ended["end"]["by"]) == ("completed", "caller" if who == "callee" else "flow")
    behind.both_ways("ACK", "BYE")


@pytest.mark.peer("baresip")
def test_softphones_talk_through_the_proxy_on_both_legs(behind: Behind, tmp_path: Path) -> None:
    """alice comes by Kamailio, bob is called by it; holding re-INVITEs go there as well."""
    proxy = f"sip:127.0.0.1:{behind.proxy.port}"
    with (
        Baresip(tmp_path / "bob", user="+39012", port=behind.callee, audio=sound.tone(CALLEE, 30), keep=True,
                answers=True, proxy=proxy) as bob,
        Baresip(tmp_path / "alice", user="alice", audio=sound.tone(CALLER, 30), keep=True, proxy=proxy) as alice,
    ):  # fmt: skip
        alice.dial(f"sip:5000@127.0.0.1:{behind.proxy.port}")
        alice.wait_event("CALL_ESTABLISHED")
        bob.wait_event("CALL_ESTABLISHED")
        alice.wait_heard(CALLEE)
        bob.wait_heard(CALLER)
        bob.command("hold")
        behind.house.wait_log('"held"')
        bob.hangup()
        alice.wait_event("CALL_CLOSED")
    assert tone_in(alice.heard(), CALLEE)
    assert tone_in(bob.heard(), CALLER)
    behind.proxy.wait_followed("BYE")
    assert [method for method, _ in behind.proxy.followed()].count("INVITE") >= 1
    behind.proxy.forget()


@pytest.mark.peer("baresip")
def test_a_telephone_that_registers_through_the_proxy_is_called_by_its_path(
    daemon_for: Callable[..., Daemon], tmp_path: Path
) -> None:
    """RFC 3327: Kamailio adds Path to the REGISTER, and our INVITE comes back to it with that as its Route."""
    house = daemon_for(
        {"5000": {"module": "device", "data": {"id": "bob"}, "children": {}}},
        devices=[{"name": "bob", "password": "geheim"}],
    )
    port = free_port()
    with (
        Kamailio(tmp_path / "proxy", house, port=port, outward="sip:127.0.0.1:1", edge=True) as proxy,
        registered(house, tmp_path, "bob", answers=True, proxy=f"sip:127.0.0.1:{port}") as bob,
        Baresip(tmp_path / "alice", user="alice") as alice,
    ):
        alice.dial(house.uri("5000"))
        alice.wait_event("CALL_ESTABLISHED")
        bob.wait_event("CALL_ESTABLISHED")
        alice.hangup()
        bob.wait_event("CALL_CLOSED")
        house.wait_ended()
        assert "followed the path: INVITE to sip:bob" in proxy.log()
        proxy.wait_followed("BYE")
