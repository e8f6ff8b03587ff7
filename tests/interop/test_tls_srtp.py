"""TLS and SRTP with peers that are not ours: baresip, SIPp, openssl."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import capture, sipp, sound, trees
from kit.baresip import Baresip
from kit.daemon import Daemon, poll
from kit.ports import free_port
from kit.tunnel import Tunnel
from pki import Authority, Pair
from test_bridges import menu_after, tone_in, transfer_to

CALLER, CALLEE = 600.0, 900.0
BOB, CAROL = "601", "602"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def phone_pair(authority: Authority) -> Pair:
    return authority.sign("phone", dns=("phone.example",), addresses=("127.0.0.1",))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, authority: Authority, trunk_port: int) -> Iterator[Daemon]:
    """One daemon for all: TLS beside UDP and TCP, two telephones of which one has to encrypt, a trunk over TLS."""
    own = authority.sign("localhost", dns=("localhost",), addresses=("127.0.0.1",))
    shown = authority.sign("ivrea", dns=("ivrea.example",))
    daemon = Daemon(
        tmp_path_factory.mktemp("secured"),
        {
            "1000": trees.two_levels(),
            "5001": transfer_to(BOB, {"action": "hangup", "id": "end"}),
            "5002": transfer_to(CAROL, {"action": "hangup", "id": "end"}),
            "5003": menu_after("+390111"),
        },
        devices=[{"name": BOB, "password": "geheim", "srtp": "required"}, {"name": CAROL, "password": "geheim"}],
        trunks=[
            {
                "name": "secure",
                "host": f"tls:localhost:{trunk_port}",
                "tls_cert": str(shown.cert),
                "tls_key": str(shown.key),
            }
        ],
        sounds=trees.SOUNDS,
        settings={"calls": {"capture": True, "capture_media": "all"}},
    )
    daemon.secure(own.cert, own.key, authority.file)
    with daemon:
        yield daemon


@pytest.fixture(scope="module")
def trunk_port() -> int:
    return free_port(socket.SOCK_STREAM)


def tls_uri(daemon: Daemon, number: str) -> str:
    return f"sip:{number}@127.0.0.1:{daemon.tls_port};transport=tls"


def wait_registered(phone: Baresip) -> None:
    """By its log: the event may come before anybody listens."""
    poll(lambda: "[1 binding]" in phone.log() or None, 10, "the telephone did not register")


def talk(alice: Baresip, bob: Baresip, uri: str) -> None:
    """They talk until both have heard each other, then bob hangs up."""
    alice.dial(uri)
    alice.wait_event("CALL_ESTABLISHED")
    bob.wait_event("CALL_ESTABLISHED")
    alice.wait_heard(CALLEE, 1.0)
    bob.wait_heard(CALLER, 1.0)
    bob.hangup()
    alice.wait_event("CALL_CLOSED")
    bob.wait_event("CALL_CLOSED")
    assert tone_in(alice.heard(), CALLEE)
    assert not tone_in(alice.heard(), CALLER)
    assert tone_in(bob.heard(), CALLER)


@pytest.mark.peer("baresip")
def test_baresip_calls_and_is_called_over_tls_with_srtp(
    secured: Daemon, authority: Authority, phone_pair: Pair, tmp_path: Path
) -> None:
    """Both tones arrive at the other end through two encrypted legs; bob's telephone is reached on its connection."""
    safe = {"certificate": phone_pair.both, "authority": authority.file, "srtp": "srtp-mand", "keep": True}
    server = f"127.0.0.1:{secured.tls_port}"
    with (
        Baresip(tmp_path / "bob", user=BOB, audio=sound.tone(CALLEE, 20), answers=True, server=server,
                password="geheim", **safe) as bob,
        Baresip(tmp_path / "alice", user="alice", audio=sound.tone(CALLER, 20), **safe) as alice,
    ):  # fmt: skip
        wait_registered(bob)
        talk(alice, bob, tls_uri(secured, "5001"))
    end = secured.wait_closed(secured.calls_to("5001")[-1])
    assert (end["by"], end["lost"]) == ("flow", 0)
    for phone in (alice, bob):
        assert re.search(r"m=audio \d+ RTP/SAVP ", phone.log())
        assert "RTP/AVP" not in phone.log()
    assert "inline:" not in secured.log(), "keys are not for logs"


@pytest.mark.peer("baresip")
def test_a_leg_with_srtp_is_bridged_with_one_without(
    secured: Daemon, authority: Authority, phone_pair: Pair, tmp_path: Path
) -> None:
    """carol's telephone lacks SRTP: refused with 488 it is called again without, as it need not encrypt. A capture has
    the sound of both legs, readable.
    """
    safe = {"certificate": phone_pair.both, "authority": authority.file, "keep": True}
    server = f"127.0.0.1:{secured.tls_port}"
    with (
        Baresip(tmp_path / "carol", user=CAROL, audio=sound.tone(CALLEE, 20), answers=True, server=server,
                password="geheim", **safe) as carol,
        Baresip(tmp_path / "alice", user="alice", audio=sound.tone(CALLER, 20), srtp="srtp-mand", **safe) as alice,
    ):  # fmt: skip
        wait_registered(carol)
        talk(alice, carol, tls_uri(secured, "5002"))
    (call,) = secured.calls_to("5002")
    secured.wait_closed(call)
    found = capture.fetch(secured, call)
    assert found.says(b"RTP/SAVP")
    said = {port: capture.heard(found.rtp(to=port)) for port in found.ports()}
    told = {port: capture.heard(found.rtp(source=port)) for port in found.ports()}
    for sounds in (said, told):
        tones = [[hertz for hertz in (CALLER, CALLEE) if sound.find_tone(each, hertz)] for each in sounds.values()]
        assert sorted(tones) == [[CALLER], [CALLEE]]
    assert {len(each.payload) for port in said for each in found.rtp(to=port) if each.kind == 0} == {160}, "no tags"


@pytest.mark.peer("baresip")
def test_a_telephone_that_has_to_encrypt_is_not_called_without_tls(secured: Daemon, tmp_path: Path) -> None:
    with (
        Baresip(tmp_path / "bob", user=BOB, answers=True, server=f"127.0.0.1:{secured.sip_port}",
                password="geheim") as bob,
        Baresip(tmp_path / "alice", user="alice") as alice,
    ):  # fmt: skip
        wait_registered(bob)
        alice.dial(secured.uri("5001"))
        alice.wait_event("CALL_CLOSED")
    secured.wait_log("srtp_needs_tls")
    assert not any(event.get("type") == "CALL_INCOMING" for event in bob.events)


@pytest.mark.peer("baresip")
def test_srtp_without_tls_is_refused(secured: Daemon, tmp_path: Path) -> None:
    with Baresip(tmp_path, user="alice", srtp="srtp-mand") as alice:
        alice.dial(secured.uri("1000"))
        closed = alice.wait_event("CALL_CLOSED")
    assert "488" in closed["param"]


@pytest.mark.peer("sipp")
def test_sipp_calls_over_tls(secured: Daemon, authority: Authority, tmp_path: Path) -> None:
    """SIPp of the distributions lacks TLS: a tunnel does that part for it."""
    context = ssl.create_default_context(cafile=str(authority.file))
    with Tunnel(("127.0.0.1", secured.tls_port), client=context) as tunnel:
        caller = sipp.start(
            "uac_hangup", tmp_path, server=("127.0.0.1", tunnel.port), fill={"TALK_MS": "300"}, transport="t1"
        )
        caller.finish()
    assert f"\nContact: <sip:1000@127.0.0.1:{secured.tls_port};transport=tls>" in caller.messages()


@pytest.mark.peer("sipp")
def test_a_trunk_over_tls_is_called_by_its_name_and_shown_our_certificate(
    secured: Daemon, authority: Authority, trunk_port: int, tmp_path: Path
) -> None:
    uas = sipp.start("uas_refuse", tmp_path / "uas", fill={"STATUS": "486 Busy Here"}, transport="t1")
    pair = authority.sign("trunk", dns=("localhost",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    with Tunnel(("127.0.0.1", uas.port), port=trunk_port, server=context) as tunnel:
        caller = sipp.start("uac_waits", tmp_path / "uac", server=secured.address, number="5003")
        uas.finish()
        caller.finish()
        secured.wait_closed(secured.calls_to("5003")[-1])
    assert f"INVITE sip:+390111@localhost:{trunk_port};transport=tls" in uas.messages()
    (peer,) = tunnel.peers
    assert ("DNS", "ivrea.example") in peer["subjectAltName"]


@pytest.mark.peer("sipp")
def test_a_trunk_with_the_certificate_of_another_is_not_called(
    secured: Daemon, authority: Authority, trunk_port: int, tmp_path: Path
) -> None:
    pair = authority.sign("impostor", dns=("impostor.example",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    with Tunnel(("127.0.0.1", 1), port=trunk_port, server=context):
        caller = sipp.start("uac_waits", tmp_path, server=secured.address, number="5003")
        caller.finish()
        secured.wait_closed(secured.calls_to("5003")[-1])
    secured.wait_log("certificate refused: it is for impostor.example, not for localhost")


def openssl(daemon: Daemon, *arguments: str, send: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{daemon.tls_port}", *arguments]
    return subprocess.run(command, input=send, capture_output=True, timeout=20, check=False)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_and_worse(secured: Daemon, authority: Authority) -> None:
    """Old protocols, garbage in place of a handshake and within TLS, handshakes that do not go on: all are counted,
    and calls go on.
    """
    verified = openssl(secured, "-CAfile", str(authority.file), "-verify_return_error", "-brief", send=b"Q\n")
    assert b"Verification: OK" in verified.stdout + verified.stderr
    assert openssl(secured, "-tls1_1").returncode != 0
    garbage = openssl(secured, "-quiet", "-ign_eof", send=b"GET / HTTP/1.1\r\n\r\n" + bytes(range(256)) * 64)
    assert garbage.returncode == 0, "closed by the daemon"
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(_connection(secured)) for _ in range(20)]
        for each in slow[:10]:
            each.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello
        for each in slow[10:15]:
            each.sendall(b"INVITE sip:1000@ivrea SIP/2.0\r\n\r\n")
        good = openssl(secured, "-brief", send=b"Q\n")
        assert b"CONNECTION ESTABLISHED" in good.stdout + good.stderr, "others are served meanwhile"

    def failures() -> int | None:
        match = re.search(r'ivrea_sip_total\{what="tls_handshake_failures"\} (\S+)', secured.get("/metrics"))
        assert match, "no such metric"
        return int(float(match[1])) if float(match[1]) >= 21 else None

    poll(failures, 5, "handshakes that came to nothing were not counted")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_renewed_certificate_is_shown_after_sighup(secured: Daemon, authority: Authority) -> None:
    """Also: one that cannot be read leaves everything as it was."""
    cert, key = authority.folder / "localhost.crt", authority.folder / "localhost.key"
    before = _shown(secured)
    cert.write_text("nothing")
    secured.signal(signal.SIGHUP)
    secured.wait_log("reload_failed")
    assert _shown(secured) == before
    renewed = authority.sign("renewed", dns=("localhost",), addresses=("127.0.0.1",))
    cert.write_bytes(renewed.cert.read_bytes())
    key.write_bytes(renewed.key.read_bytes())
    secured.signal(signal.SIGHUP)
    secured.wait_log('"event": "reloaded"')
    assert "CN = renewed" in _shown(secured) or "CN=renewed" in _shown(secured)


def _shown(daemon: Daemon) -> str:
    """The subject of the certificate that the daemon shows."""
    text = openssl(daemon, send=b"Q\n").stdout.decode()
    match = re.search(r"^subject=(.*)$", text, re.MULTILINE)
    assert match, text
    return match[1]


def _connection(daemon: Daemon) -> socket.socket:
    return socket.create_connection(("127.0.0.1", daemon.tls_port), timeout=5)
