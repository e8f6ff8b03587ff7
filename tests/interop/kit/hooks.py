"""A customer's web server that remembers who called back, and can be down, slow or failing."""

from __future__ import annotations

import ssl
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is killed in the middle is no news."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Hit:
    at: float
    method: str
    path: str
    query: str
    params: dict[str, str]
    host: str
    body: bytes = b""


@dataclass(slots=True)
class HookServer:
    """An HTTP server on loopback. ``status`` is what it answers; 0 means that it hangs until closed. With a
    ``certificate`` (PEM, key included) it speaks HTTPS.
    """

    port: int = 0
    status: int = 200
    certificate: Path | None = None
    hits: list[Hit] = field(default_factory=list)
    _server: _Server | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _closing: threading.Event = field(default_factory=threading.Event)

    def start(self) -> HookServer:
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                parts = urlsplit(self.path)
                params = dict(parse_qsl(parts.query, keep_blank_values=True))
                hit = Hit(
                    time.time(), self.command, parts.path, parts.query, params, self.headers.get("Host", ""), body
                )
                with hooks._changed:
                    hooks.hits.append(hit)
                    hooks._changed.notify_all()
                if not hooks.status:
                    hooks._closing.wait()
                    self.close_connection = True
                    return
                self.send_response(hooks.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Nothing on stderr."""

        self._closing.clear()
        self._server = _Server(("127.0.0.1", self.port), Handler)
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop listening: connections are refused from now on. ``start`` brings it back on the same port."""
        self._closing.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def url(self, path: str = "/hook") -> str:
        return f"{'http' if self.certificate is None else 'https'}://127.0.0.1:{self.port}{path}"

    def events(self, path: str = "/hook") -> list[dict[str, str]]:
        return [hit.params for hit in list(self.hits) if hit.path == path]

    def kinds(self, path: str = "/hook") -> list[str]:
        return [params.get("e", "") for params in self.events(path)]

    def wait_for(
        self, event: str, path: str = "/hook", patience: float = 10.0, *, count: int = 1
    ) -> list[dict[str, str]]:
        """Wait until ``event`` arrived ``count`` times; all events of that path."""
        with self._changed:
            there = self._changed.wait_for(lambda: self.kinds(path).count(event) >= count, patience)
        assert there, f"no {event!r} at {path} within {patience} s; came: {self.kinds(path)}"
        return self.events(path)

    def nothing_more(self, event: str, count: int, *, within: float, path: str = "/hook") -> None:
        """No further ``event`` comes ``within`` seconds, repeats of one (same ``id`` and ``seq``) aside."""

        def too_many() -> bool:
            told = {(row.get("id"), row.get("seq")) for row in self.events(path) if row.get("e") == event}
            return len(told) > count

        with self._changed:
            assert not self._changed.wait_for(too_many, within), f"more than {count} {event!r}"
