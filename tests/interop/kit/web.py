"""A customer's web server: answers with flows, takes recordings, remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

from kit.daemon import poll


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The parameters of query and form body, the last one of each name."""
        pairs = {**self.query, **parse_qs(self.body.decode(errors="replace"), keep_blank_values=True)}
        return {name: values[-1] for name, values in pairs.items()}


Answer = tuple[int, str, str | bytes]
"""Status, content type, body."""


class WebServer:
    """``pages``: path → answer, or a function from the request to one. Everything else gets 204 (GET: 404)."""

    def __init__(self, pages: dict[str, Answer | Callable[[Asked], Answer]] | None = None) -> None:
        self.pages = pages or {}
        self.requests: list[Asked] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                parts = urlsplit(self.path)
                asked = Asked(
                    self.command,
                    parts.path,
                    parse_qs(parts.query, keep_blank_values=True),
                    {name.lower(): value for name, value in self.headers.items()},
                    self._chunks()
                    if "chunked" in self.headers.get("Transfer-Encoding", "")
                    else self.rfile.read(length),
                )
                page = server.pages.get(asked.path, (404 if self.command == "GET" else 204, "text/plain", ""))
                status, kind, body = page(asked) if callable(page) else page
                server.requests.append(asked)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                data = body if isinstance(body, bytes) else body.encode()
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _chunks(self) -> bytes:
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def do_GET(self) -> None:
                self._serve()

            def do_POST(self) -> None:
                self._serve()

            def do_PUT(self) -> None:
                self._serve()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def wait_for(self, method: str, path: str, patience: float = 15.0) -> Asked:
        """The first request of this kind."""
        return poll(
            lambda: next((each for each in self.requests if (each.method, each.path) == (method, path)), None),
            patience,
            f"no {method} {path}; there were {[(each.method, each.path) for each in self.requests]}",
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
