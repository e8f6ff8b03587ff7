"""SIP over TLS: who is believed, whose connections are used again, what strangers cost."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from pki import Authority, Pair
from transport_kit import Rig, options, until

from engine.sip.flow import Flow
from engine.sip.message import Request
from engine.transport import TcpLimits
from engine.transport.certificates import CertificateBook, CertificateError, ClientFiles, ServerFiles, load

pytestmark = pytest.mark.both_loops

Make = Callable[..., Rig]
LOCAL = ("", 0)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def own(authority: Authority) -> Pair:
    return authority.sign("localhost", dns=("localhost",), addresses=("127.0.0.1",))


def book(
    authority: Authority, own: Pair | None, client: ClientFiles | None = None, *, verify: bool = False, port: int = 0
) -> CertificateBook:
    files = ServerFiles(str(own.cert), str(own.key), str(authority.file), verify) if own else ServerFiles()
    return load(files, {("localhost", port): client} if client else {})


def trusting(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    context.check_hostname = False
    return context


async def connect(
    one: Rig, context: ssl.SSLContext, pair: Pair | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if pair is not None:
        context.load_cert_chain(pair.cert, pair.key)
    return await asyncio.open_connection("127.0.0.1", one.port, ssl=context, server_hostname="localhost")


class Server:
    """Somebody else's TLS listener, with a certificate of its own; ``asked`` is what clients said they looked for."""

    def __init__(self, pair: Pair, authority: Authority, *, verify: bool = False) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pair.cert, pair.key)
        if verify:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(authority.file)
        self.asked: list[str | None] = []
        self.context.sni_callback = lambda _socket, name, _context: self.asked.append(name)
        self.received = bytearray()
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def start(self) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        return int(self.server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while data := await reader.read(65536):
                self.received += data
        except OSError:
            pass

    def close(self) -> None:
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()


# --- in ---------------------------------------------------------------------------------


async def test_request_answer_and_keep_alive(rig: Make, authority: Authority, own: Pair) -> None:
    one = rig(real=True, certificates=book(authority, own))
    await one.listen("tls:127.0.0.1:0")
    reader, writer = await connect(one, trusting(authority))
    writer.write(b"\r\n\r\n" + options("one", transport="TLS"))
    text = b""
    while b"SIP/2.0 200" not in text:
        text += await asyncio.wait_for(reader.read(65536), 2.0)
    assert text.startswith(b"\r\n"), "RFC 5626 section 4.4.1"
    assert b"Via: SIP/2.0/TLS 127.0.0.1;" in text
    assert (one.counts()["tls_accepted"], one.counts()["tls_keep_alives"], one.counts()["tcp_accepted"]) == (1, 1, 0)
    writer.transport.abort()


async def test_a_new_certificate_is_shown_to_those_who_come_then(rig: Make, authority: Authority, own: Pair) -> None:
    one = rig(certificates=book(authority, own))
    await one.listen("tls:127.0.0.1:0")
    for pair in (own, authority.sign("renewed", dns=("renewed",))):
        one.transport.streams.certificates = book(authority, pair)
        _, writer = await connect(one, trusting(authority))
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert shown == ssl.PEM_cert_to_DER_cert(pair.cert.read_text())
        writer.transport.abort()


async def test_clients_without_a_certificate_of_ours_are_turned_away(
    rig: Make, authority: Authority, own: Pair, tmp_path: Path
) -> None:
    one = rig(real=True, certificates=book(authority, own, verify=True))
    await one.listen("tls:127.0.0.1:0")
    stranger = Authority(tmp_path, "Another CA").sign("phone", dns=("phone.example",))
    for pair in (None, stranger):
        # Over TLS 1.3 the client is done first, and learns of the refusal with the first byte that it reads.
        with contextlib.suppress(OSError):
            reader, writer = await connect(one, trusting(authority), pair)
            writer.write(options("one", transport="TLS"))
            assert await asyncio.wait_for(reader.read(1), 2.0) == b""
    await until(lambda: one.counts()["tls_handshake_failures"] == 2)
    reader, writer = await connect(one, trusting(authority), authority.sign("phone", dns=("phone.example",)))
    writer.write(options("two", transport="TLS"))
    assert await asyncio.wait_for(reader.read(11), 2.0) == b"SIP/2.0 200"
    writer.transport.abort()


async def test_slow_and_many_handshakes_are_bounded_and_counted(rig: Make, authority: Authority, own: Pair) -> None:
    limits = TcpLimits(handshake=0.2, handshakes=3, per_source=2)
    one = rig(certificates=book(authority, own), limits=limits)
    await one.listen("tls:127.0.0.1:0")
    silent = [await asyncio.open_connection("127.0.0.1", one.port) for _ in range(2)]
    third, writer = await asyncio.open_connection("127.0.0.1", one.port)
    assert await asyncio.wait_for(third.read(), 2.0) == b"", "the source has its share"
    assert one.counts()["tls_refused"] == 1
    for reader, _ in silent:
        assert await asyncio.wait_for(reader.read(), 2.0) == b""
    await until(lambda: one.counts()["tls_handshake_failures"] == 2)
    assert one.counts()["tls_accepted"] == 0
    _, again = await connect(one, trusting(authority))
    again.transport.abort()
    for each in (writer, *(writer for _, writer in silent)):
        each.close()


async def test_what_is_no_tls_goes(rig: Make, authority: Authority, own: Pair) -> None:
    one = rig(certificates=book(authority, own))
    await one.listen("tls:127.0.0.1:0")
    reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
    writer.write(options("plain", transport="TLS"))
    await asyncio.wait_for(reader.read(), 2.0)
    await until(lambda: one.counts()["tls_handshake_failures"] == 1)
    assert not one.fake.heard
    writer.close()


# --- out --------------------------------------------------------------------------------


async def test_the_name_is_asked_for_and_the_connection_used_again(rig: Make, authority: Authority, own: Pair) -> None:
    server = Server(own, authority)
    port = await server.start()
    client = ClientFiles("trunks[a]", authorities=str(authority.file))
    one = rig(certificates=book(authority, None, client, port=port))
    for text in (b"one", b"two"):
        one.send(Flow("tls", LOCAL, ("LocalHost", port)), text)
        await until(lambda text=text: text in server.received)
    assert (server.connections, [name.lower() for name in server.asked]) == (1, ["localhost"])
    server.close()


@pytest.mark.parametrize("verification", ["name", "wildcard", "none"])
async def test_a_certificate_for_another_name_is_refused_unless_that_is_allowed(
    rig: Make, authority: Authority, verification: str
) -> None:
    server = Server(authority.sign("other", dns=("other.example", "*.local")), authority)
    port = await server.start()
    client = ClientFiles("trunks[a]", verification, authorities=str(authority.file))
    one = rig(certificates=book(authority, None, client, port=port))
    flow = Flow("tls", LOCAL, ("localhost", port))
    one.send(flow, b"secret")
    if verification == "none":
        await until(lambda: server.received == b"secret")
    else:
        await until(lambda: one.fake.lost == [flow])
        assert (server.received, one.counts()["tls_connect_failures"]) == (b"", 1)
    server.close()


async def test_a_certificate_of_nobody_we_know_is_refused(rig: Make, authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "Another CA").sign("localhost", dns=("localhost",))
    server = Server(stranger, authority)
    port = await server.start()
    flow = Flow("tls", LOCAL, ("localhost", port))
    client = ClientFiles("trunks[a]", authorities=str(authority.file))
    one = rig(certificates=book(authority, None, client, port=port))
    one.send(flow, b"secret")
    await until(lambda: one.fake.lost == [flow])
    pinned = ClientFiles("trunks[a]", authorities=str(stranger.cert))
    one.transport.streams.certificates = book(authority, None, pinned, port=port)
    one.send(flow, b"hello")
    await until(lambda: server.received == b"hello")
    server.close()


async def test_our_certificate_is_shown_to_a_trunk_that_wants_it(rig: Make, authority: Authority, own: Pair) -> None:
    server = Server(own, authority, verify=True)
    port = await server.start()
    pair = authority.sign("ivrea", dns=("ivrea.example",))
    client = ClientFiles("trunks[a]", "name", str(authority.file), str(pair.cert), str(pair.key))
    one = rig(certificates=book(authority, None, client, port=port))
    one.send(Flow("tls", LOCAL, ("localhost", port)), b"hello")
    await until(lambda: server.received == b"hello")
    (subject,) = server.writers[0].get_extra_info("peercert")["subject"][0]
    assert subject == ("commonName", "ivrea")
    server.close()


async def test_a_proven_name_may_be_called_back_on_its_connection(rig: Make, authority: Authority, own: Pair) -> None:
    """RFC 5923: the Via says alias, and the certificate proves the name in it."""
    one = rig(certificates=book(authority, own, verify=True))
    await one.listen("tls:127.0.0.1:0")
    reader, writer = await connect(one, trusting(authority), authority.sign("proxy", dns=("proxy.example",)))
    for host in ("proxy.example", "other.example"):
        message = options(host, transport="TLS").replace(b"TLS 127.0.0.1;", f"TLS {host};alias;".encode())
        writer.write(message)
    await until(lambda: sum(isinstance(message, Request) for message, _ in one.fake.heard) == 2)
    one.transport._names._known["proxy.example"] = (1e12, ["192.0.2.1"])
    one.send(Flow("tls", LOCAL, ("proxy.example", 5061)), b"back")
    assert await asyncio.wait_for(reader.readexactly(4), 2.0) == b"back"
    assert ("tls", ("other.example", 5061)) not in one.transport.streams.by_place
    writer.transport.abort()
    await until(lambda: not one.transport.streams.by_place)


async def test_a_peer_that_was_called_by_its_name_is_known_by_its_address(rig: Make, authority: Authority) -> None:
    """Contacts have addresses, certificates have not: after the connection broke, the one has to be for the other."""
    server = Server(authority.sign("named", dns=("localhost",)), authority)
    port = await server.start()
    client = ClientFiles("trunks[a]", authorities=str(authority.file))
    one = rig(certificates=book(authority, None, client, port=port))
    by_name, by_address = (Flow("tls", LOCAL, (host, port)) for host in ("localhost", "127.0.0.1"))
    one.send(by_address, b"too early")
    await until(lambda: one.fake.lost == [by_address])
    one.send(by_name, b"invite")
    await until(lambda: b"invite" in server.received)
    one.send(by_address, b"ack")
    await until(lambda: server.received.endswith(b"ack"))
    assert len(one.transport.streams.connections) == 1, "it serves both"
    for writer in server.writers:
        writer.transport.abort()
    await until(lambda: not one.transport.streams.connections)
    one.send(by_address, b"bye")
    await until(lambda: server.received.endswith(b"bye"))
    server.close()


# --- files ------------------------------------------------------------------------------


async def test_errors_name_the_field(authority: Authority, own: Pair, tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("nothing")
    with pytest.raises(CertificateError, match=r"sip\.tls_cert, sip\.tls_key: .*junk\.pem"):
        load(ServerFiles(str(junk), str(own.key)), {})
    with pytest.raises(CertificateError, match="key values mismatch"):
        load(ServerFiles(str(own.cert), str(authority.sign("x").key)), {})
    with pytest.raises(CertificateError, match=r"trunks\[a\]\.tls_ca: .*junk\.pem"):
        load(ServerFiles(), {("a", 1): ClientFiles("trunks[a]", authorities=str(junk))})
