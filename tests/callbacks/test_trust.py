"""Certificates that are believed of a web server: by a file, a fingerprint, or whatever it shows; of no other."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yarl
from aiohttp import web
from pki import Authority, Pair
from sqlalchemy import insert
from test_forwarding import switch_with

from engine.api.brombler.forwarding import Forwarder
from engine.callbacks.announcing import owed, owed_by_query
from engine.callbacks.fetch import Fetcher, FetchFailed
from engine.callbacks.outbox import Outbox, WallClock, http_sender
from engine.callbacks.records import Noted, UploadOwed, note_to_data
from engine.callbacks.rows import Batch
from engine.callbacks.trust import Trust
from engine.calls.services import flow_fetcher
from engine.store import Store
from engine.store.models import Delivery
from engine.transport.certificates import CertificateError
from flows.call import Callback, Request

Until = Callable[..., Awaitable[None]]
Https = tuple[Any, Authority, Pair]


@pytest.fixture
async def https(server: Any, tmp_path: Path) -> Https:
    """The web server with a certificate of an authority that nobody knows."""
    authority = Authority(tmp_path / "pki")
    pair = authority.sign("hooks", addresses=("127.0.0.1",))
    await server.stop()
    server.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.tls.load_cert_chain(pair.cert, pair.key)
    await server.start()
    return server, authority, pair


def fingerprint(pair: Pair) -> str:
    return "sha256:" + hashlib.sha256(ssl.PEM_cert_to_DER_cert(pair.cert.read_text())).hexdigest()


@asynccontextmanager
async def believing(certificates: Mapping[str, str]) -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(allow_private=True, trust=Trust(certificates))
    try:
        yield fetcher
    finally:
        await fetcher.close()


async def test_what_is_believed_and_what_is_not(https: Https, tmp_path: Path) -> None:
    server, authority, pair = https
    stranger = Authority(tmp_path / "other").sign("hooks", addresses=("127.0.0.1",))
    url, place = f"https://127.0.0.1:{server.port}/", f"127.0.0.1:{server.port}"
    mine, theirs = fingerprint(pair), fingerprint(stranger)
    for certificates in (
        {"127.0.0.1": str(authority.file)},
        {"127.0.0.1": str(pair.cert)},
        {"127.0.0.1": mine},
        {"127.0.0.1": "any"},
        {"127.0.0.1": theirs, place: mine},
    ):
        async with believing(certificates) as fetcher:
            assert (await fetcher.fetch("GET", url, timeout=5)).status == 200, certificates
    came = len(server.requests)
    for certificates, says in (
        ({}, "certificate verify failed"),
        ({"localhost": "any", "127.0.0.1:1": "any", "127.0.0.2": "any"}, "certificate verify failed"),
        ({"127.0.0.1": str(stranger.cert)}, "certificate verify failed"),
        ({"127.0.0.1": theirs}, f"another certificate than expected: {mine}"),
        ({"127.0.0.1": "any", place: theirs}, f"another certificate than expected: {mine}"),
    ):
        async with believing(certificates) as fetcher:
            with pytest.raises(FetchFailed, match=says):
                await fetcher.fetch("POST", url, timeout=5, data=b"secret")
    assert len(server.requests) == came, "something was said before the certificate was looked at"


async def test_a_certificate_by_a_file_is_of_the_host_that_is_asked(https: Https) -> None:
    server, authority, pair = https
    url = f"https://localhost:{server.port}/"
    async with believing({"localhost": str(authority.file)}) as fetcher:
        with pytest.raises(FetchFailed, match="Hostname mismatch"):
            await fetcher.fetch("GET", url, timeout=5)
    async with believing({"localhost": fingerprint(pair)}) as fetcher:
        assert (await fetcher.fetch("GET", url, timeout=5)).status == 200


async def test_a_redirect_is_believed_by_where_it_leads(https: Https) -> None:
    server, _, pair = https

    async def moved(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/end":
            return web.Response()
        return web.Response(status=307, headers={"Location": f"https://localhost:{server.port}/end"})

    server.answer = moved
    url = f"https://127.0.0.1:{server.port}/"
    async with believing({"127.0.0.1": fingerprint(pair)}) as fetcher:
        with pytest.raises(FetchFailed, match="certificate verify failed"):
            await fetcher.fetch("GET", url, timeout=5)
    async with believing({"127.0.0.1": fingerprint(pair), "localhost": "any"}) as fetcher:
        assert (await fetcher.fetch("GET", url, timeout=5)).url.endswith("/end")


async def test_every_kind_of_request_believes_the_same(
    https: Https, store: Store, tmp_path: Path, until: Until
) -> None:
    """Callbacks, status callbacks, webhooks, uploads, documents, and the list that is forwarded."""
    server, _, pair = https
    sound = tmp_path / "sound.wav"
    sound.write_bytes(b"RIFF")
    now, url = WallClock().now(), f"https://127.0.0.1:{server.port}"
    batch = Batch()
    batch.add(Noted(now, call="c", note=note_to_data(Callback(f"{url}/api"))))
    batch.add(Noted(now, call="c", note=note_to_data(Callback(f"{url}/form", {"a": "1"}, "POST", "form"))))
    batch.add(UploadOwed(now, call="c", path=str(sound), url=f"{url}/upload"))
    async with store.writing() as connection:
        await batch.store(connection)
        rows = [owed("c", now, f"{url}/hook", "{}"), owed_by_query("c", now, f"{url}/status", {})]
        await connection.execute(insert(Delivery), rows)
    async with believing({"127.0.0.1": fingerprint(pair)}) as fetcher:
        outbox = Outbox(store, http_sender(fetcher, 5.0), keep=60)
        running = asyncio.create_task(outbox.run())
        Forwarder(switch_with(f"{url}/forward"), fetcher).beat()
        reply = await flow_fetcher(fetcher)(Request(f"{url}/flow"))
        await until(lambda: outbox.counters.delivered == 5 and len(server.requests) == 7)
        running.cancel()
        await asyncio.wait([running])
    assert reply.status == 200
    paths = {request.path for request in server.requests}
    assert paths == {"/api", "/form", "/upload", "/hook", "/status", "/flow", "/forward"}


async def test_who_takes_any_certificate_takes_only_the_one_that_is_named(https: Https) -> None:
    """Subscriptions whose contract allows self-signed certificates: where nothing is said of the host."""
    server, _, pair = https
    url = f"https://127.0.0.1:{server.port}/"
    async with believing({"localhost": "any"}) as fetcher:
        assert (await fetcher.fetch("POST", url, timeout=5, any_certificate=True)).status == 200
    async with believing({"127.0.0.1": f"sha256:{'0' * 64}"}) as fetcher:
        with pytest.raises(FetchFailed, match=fingerprint(pair)):
            await fetcher.fetch("POST", url, timeout=5, any_certificate=True)


def test_hosts_are_known_by_any_spelling() -> None:
    trust = Trust({"Hooks.example": "any", "[2001:DB8:0::1]": "any", "pbx:8443": "any"})
    for url, expected in (
        ("https://hooks.EXAMPLE./x", False),
        ("https://[2001:db8::1]:9/", False),
        ("https://pbx:8443/", False),
        ("https://pbx/", True),
        ("https://more.hooks.example/", True),
    ):
        assert trust.check(yarl.URL(url), any_certificate=False) is expected, url


def test_a_file_without_certificates_is_said(tmp_path: Path) -> None:
    empty = tmp_path / "x.pem"
    empty.write_text("nothing")
    for file, why in ((empty, "no certificate"), (tmp_path / "none.pem", "No such file")):
        with pytest.raises(CertificateError, match=rf"callbacks\.certificates\.a: .*{file.name}: .*{why}"):
            Trust({"a": str(file)})
