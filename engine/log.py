"""Logging: human lines on a terminal, JSON lines otherwise, nothing per packet.

An event name says what happened in a few words; everything that varies is a key.
``call_id`` is bound once per call with :func:`call_context` and then stands on every line
that is written on behalf of that call. Secrets and digits are masked on their way out,
whoever wrote the line.
"""

from __future__ import annotations

import contextlib
import json as jsonlib
import logging
import re
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, TextIO

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

Logger = structlog.typing.FilteringBoundLogger

SECRET_KEYS = frozenset(
    {"password", "secret", "client_secret", "token", "access_token", "authorization", "credentials"}
)
"""Keys whose values are replaced altogether."""
DIGIT_KEYS = frozenset({"digit", "digits", "keys", "pressed"})
"""Keys whose values may be a PIN or a card number: only their length is shown."""

_IN_URL = re.compile(r"(?P<head>[A-Za-z][A-Za-z0-9+.-]*://[^\s/@:]*:)[^\s/@]+(?=@)")
_IN_QUERY = re.compile(
    r"(?i)(?P<head>[?&;](?:password|secret|client_secret|token|access_token|api_?key|signature)=)[^&\s#]+"
)
_IN_HEADER = re.compile(r'(?i)(?P<head>\b(?:response|cnonce)="?|\bBearer\s+|\bBasic\s+)[A-Za-z0-9+/=._~-]{8,}')


def setup(*, level: str = "info", stream: TextIO | None = None, json: bool | None = None) -> None:
    """Send all logging of the process (structlog's and the standard library's) to ``stream`` (stderr).

    ``json=None`` chooses human lines when the stream is a terminal. May be called again.
    Raises :class:`ValueError` for an unknown level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"unknown log level {level!r}")
    stream = stream or sys.stderr
    human = stream.isatty() if json is None else not json
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if human else "iso", utc=not human),
    ]
    last: list[Processor]
    if human:
        last = [mask, structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=0)]
    else:
        last = [
            structlog.processors.format_exc_info,
            mask,
            structlog.processors.JSONRenderer(serializer=_json),
        ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for noisy in ("asyncio", "aiosqlite", "alembic", "sqlalchemy", "aiohttp.access", "uvicorn"):
        logging.getLogger(noisy).setLevel(max(number, logging.WARNING))
    structlog.configure(
        processors=[*shared, *last],
        logger_factory=lambda name="", *_: _Lines(name, stream),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=False,
    )


class _Lines:
    """Where structlog's lines end: written at once, past the standard library, whose records cost as much again."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self.name = name
        self._stream = stream

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a full disk or a closed pipe must end no call
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


_to_json = jsonlib.JSONEncoder(ensure_ascii=False, default=str).encode


def _json(event: EventDict, **_options: Any) -> str:
    return _to_json(event)


def get_logger(name: str) -> Logger:
    """The logger of a module. May be taken before :func:`setup`."""
    logger: Logger = structlog.get_logger(name)
    return logger


def call_context(call_id: str, **more: Any) -> AbstractContextManager[None]:
    """Put ``call_id`` (and ``more``) on every line written in this context, tasks started in it included."""
    return structlog.contextvars.bound_contextvars(call_id=call_id, **more)


def mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Processor: hide secrets and digits in keys, and secrets inside texts."""
    for key, value in event.items():
        event[key] = _masked(key, value)
    return event


def _masked(key: str, value: Any) -> Any:
    name = key.lower()
    if name in SECRET_KEYS and value:
        return "***"
    if name in DIGIT_KEYS and value is not None:
        return "*" * len(str(value))
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        return {inner: _masked(str(inner), each) for inner, each in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", each) for each in value]
    return value


def mask_text(text: str) -> str:
    """``text`` without the passwords in URLs, secrets in queries and credentials of headers in it."""
    if "://" in text:
        text = _IN_URL.sub(r"\g<head>***", text)
    if "=" in text:
        text = _IN_QUERY.sub(r"\g<head>***", text)
    if "=" in text or "earer" in text or "asic" in text:
        text = _IN_HEADER.sub(r"\g<head>***", text)
    return text
