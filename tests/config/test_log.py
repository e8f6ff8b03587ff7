"""Logging: one form for people and one for programs, call ids on every line, secrets on none."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest

from engine import log as logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_carry_the_call_id_only_within_the_call() -> None:
    stream = io.StringIO()
    logs.setup(stream=stream)
    log = logs.get_logger("engine.test")
    with logs.call_context("abc", leg="1"):
        log.info("call answered", after=1.5)
        logging.getLogger("aiohttp").warning("foreign %s", "line")
    log.info("idle")
    first, second, third = lines(stream)
    assert (first["event"], first["call_id"], first["leg"], first["after"]) == ("call answered", "abc", "1", 1.5)
    assert (first["level"], first["logger"]) == ("info", "engine.test")
    assert first["timestamp"].endswith("Z")
    assert (second["event"], second["call_id"]) == ("foreign line", "abc")
    assert "call_id" not in third


def test_terminal_gets_lines_for_people() -> None:
    stream = Terminal()
    logs.setup(stream=stream)
    logs.get_logger("x").info("ivrea is up", where="sip:1000@127.0.0.1")
    assert "ivrea is up" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_level_and_noise() -> None:
    stream = io.StringIO()
    logs.setup(stream=stream, level="warning")
    logs.get_logger("x").info("no")
    logging.getLogger("aiosqlite").info("no")
    logs.get_logger("x").warning("yes")
    assert [line["event"] for line in lines(stream)] == ["yes"]
    with pytest.raises(ValueError, match="loud"):
        logs.setup(level="loud")


def test_exceptions_are_part_of_the_line() -> None:
    stream = io.StringIO()
    logs.setup(stream=stream)
    try:
        raise ValueError("http://me:hush@h/")
    except ValueError:
        logs.get_logger("x").exception("broke")
    (line,) = lines(stream)
    assert "ValueError" in line["exception"]
    assert "hush" not in line["exception"]


@pytest.mark.parametrize(
    ("key", "value", "hidden"),
    [
        ("password", "hush", "hush"),
        ("digits", "4711", "4711"),
        ("url", "https://me:hush@example.net/x", "hush"),
        ("url", "https://example.net/?session=1&token=hush&x=2", "hush"),
        ("header", 'Digest username="a", response="0123456789abcdef0123456789abcdef"', "0123456789abcdef"),
        ("header", "Authorization: Bearer abcdefgh12345678", "abcdefgh12345678"),
        ("detail", {"password": "hush", "deep": [{"token": "hush"}, "http://a:hush@b/"]}, "hush"),
    ],
)
def test_secrets_and_digits_are_masked(key: str, value: object, hidden: str) -> None:
    stream = io.StringIO()
    logs.setup(stream=stream)
    logs.get_logger("x").info("something", **{key: value})
    assert hidden not in stream.getvalue()
    assert "*" in stream.getvalue()


def test_what_is_no_secret_stays() -> None:
    text = "https://example.net/a?session=d00de&x=1 and a = b"
    assert logs.mask_text(text) == text


class Broken(io.StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError


def test_a_stream_that_is_gone_breaks_nothing() -> None:
    logs.setup(stream=Broken())
    logs.get_logger("x").info("nobody reads this")


def test_what_json_cannot_say_is_said_in_words_and_arguments_are_filled_in() -> None:
    stream = io.StringIO()
    logs.setup(stream=stream)
    logs.get_logger("x").bind(call_id="c").info("%s of %d", "one", 2, where={3}, half="è")
    (line,) = lines(stream)
    assert (line["event"], line["where"], line["call_id"], line["half"]) == ("one of 2", "{3}", "c", "è")
