"""An HTTP client for addresses that customers choose.

It resolves a name once, judges every address, and connects to what it has judged; each redirect
is judged anew, and takes no password to another host. Slow names, slow servers and large answers
cost their own request and no other.
"""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from engine.callbacks.trust import FINGERPRINT, Trust
from engine.callbacks.urls import Refused, Target, check_address, literal_address, target

MAX_REDIRECTS = 5
MAX_LOOKUPS = 64
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class FetchFailed(Exception):
    """No answer came; the text says why. Another attempt may do better."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A final answer. ``body`` is cut at the limit that was asked for; ``complete`` tells whether it was."""

    status: int
    url: str
    headers: Mapping[str, str]
    body: bytes
    complete: bool


@dataclass(frozen=True, slots=True)
class _Wish:
    body_limit: int
    trusting: bool
    insisting: bool


class Fetcher:
    """One client for the process; its connections are kept and shared. :meth:`close` it."""

    def __init__(self, *, allow_private: bool, trust: Trust | None = None, user_agent: str = "Ivrea") -> None:
        """``trust``: how certificates are checked; without it by the system's authorities."""
        self._allow_private = allow_private
        self._trust = trust or Trust({})
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        timeout: float,  # noqa: ASYNC109 - one budget for name, redirects and body, not for the await alone
        data: bytes | Path | None = None,
        headers: Mapping[str, str] | None = None,
        body_limit: int = 65536,
        any_certificate: bool = False,
        insist: bool = False,
    ) -> Answer:
        """Make a request and follow its redirects within ``timeout`` seconds. Of a path in ``data``, the file is sent.

        With ``any_certificate`` the server's certificate is not looked at, unless something is said of that server: the
        connection is encrypted, no more.

        Who has something to tell does ``insist``: a redirect has method and ``data`` sent again where it leads, and one
        to something to be read instead (303) is the answer. Who asks for something gets that with GET, as browsers do.

        Raises :class:`~engine.callbacks.urls.Refused` or :class:`FetchFailed`.
        """
        try:
            async with asyncio.timeout(timeout):
                wish = _Wish(body_limit, trusting=any_certificate, insisting=insist)
                return await self._follow(method, url, data, dict(headers or {}), wish)
        except TimeoutError as error:
            raise FetchFailed(f"no answer within {timeout:g} s") from error
        except aiohttp.ServerFingerprintMismatch as error:
            raise FetchFailed(f"another certificate than expected: {FINGERPRINT}{error.got.hex()}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if (refused := _refusal_in(error)) is not None:
                raise refused from error
            raise FetchFailed(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _follow(
        self, method: str, url: str, data: bytes | Path | None, headers: dict[str, str], wish: _Wish
    ) -> Answer:
        before: Target | None = None
        for _ in range(MAX_REDIRECTS + 1):
            there = self._judge(url)
            if before is not None and there.url.origin() != before.url.origin():
                headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
            before = there
            body_sent = await asyncio.to_thread(data.open, "rb") if isinstance(data, Path) else data
            async with self._open_session().request(
                method,
                there.url,
                data=body_sent,
                headers=headers,
                allow_redirects=False,
                ssl=self._trust.check(there.url, any_certificate=wish.trusting),
                skip_auto_headers=("Content-Type",),  # what a request has is what its caller says
            ) as response:
                location = response.headers.get("Location")
                told = wish.insisting and method != "GET"
                if response.status in _REDIRECTS and location and not (told and response.status == 303):
                    url = urljoin(str(there.url), location)
                    if response.status == 303 or (response.status in (301, 302) and method == "POST" and not told):
                        method, data = "GET", None  # RFC 9110 sections 15.4.2 to 15.4.4
                        headers.pop("Content-Type", None)
                    continue
                body, complete = await _read(response, wish.body_limit)
                return Answer(response.status, str(there.url), response.headers, body, complete)
        raise FetchFailed(f"more than {MAX_REDIRECTS} redirects")

    def _judge(self, url: str) -> Target:
        there = target(url)
        address = literal_address(there.host)
        if address is not None:
            check_address(address, allow_private=self._allow_private)
        return there

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, resolver=_JudgingResolver(allow_private=self._allow_private), keepalive_timeout=15
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity"},
                auto_decompress=False,
            )
        return self._session


def retry_after(answer: Answer, now: float) -> float:
    """Seconds that a server which is asked too much (429) or cannot now (503) wants to be left alone; 0: says nothing.

    RFC 9110 section 10.2.3: a number of seconds, or a date. ``now``: seconds since the epoch.
    """
    value = answer.headers.get("Retry-After", "").strip()
    if answer.status not in (429, 503) or not value:
        return 0.0
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        when = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return max(when - now, 0.0)


async def _read(response: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """At most ``limit`` bytes; a connection with more to come is closed, not read on."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(16384):
        body += chunk
        if len(body) > limit:
            response.close()
            return bytes(body[:limit]), False
    return bytes(body), True


def _refusal_in(error: BaseException | None) -> Refused | None:
    """Aiohttp wraps what its resolver raises."""
    while error is not None:
        if isinstance(error, _RefusedAddress):
            return Refused(str(error))
        error = error.__cause__ or error.__context__
    return None


class _RefusedAddress(OSError):
    """A name led to an address that may not be asked."""


class _JudgingResolver(AbstractResolver):
    """Resolves in daemon threads of its own: a name server that hangs blocks neither the loop nor the exit."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._free = asyncio.Semaphore(MAX_LOOKUPS)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Those addresses of ``host`` that may be asked; aiohttp connects to no others."""
        async with self._free:
            found = await _look_up(host, port, family)
        results: list[ResolveResult] = []
        refusal: Refused | None = None
        for each_family, _, protocol, _, address in found:
            try:
                check_address(ipaddress.ip_address(address[0]), allow_private=self._allow_private)
            except Refused as error:
                refusal = error
                continue
            results.append(
                ResolveResult(
                    hostname=host,
                    host=str(address[0]),
                    port=port,
                    family=each_family,
                    proto=protocol,
                    flags=int(socket.AI_NUMERICHOST | socket.AI_NUMERICSERV),
                )
            )
        if refusal is not None and not results:
            raise _RefusedAddress(f"{host}: {refusal}") from refusal
        return results

    async def close(self) -> None:
        """Nothing to release."""


_Found = list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str | int, ...]]]


async def _look_up(host: str, port: int, family: socket.AddressFamily) -> _Found:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[_Found] = loop.create_future()

    def settle(found: _Found | None, error: OSError | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(found or [])

    def ask() -> None:
        found: _Found | None = None
        failure: OSError | None = None
        try:
            found = list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))  # type: ignore[arg-type]
        except (OSError, UnicodeError) as error:
            failure = error if isinstance(error, OSError) else OSError(str(error))
        try:
            loop.call_soon_threadsafe(settle, found, failure)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    return await answer
