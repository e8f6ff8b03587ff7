"""Host names: one question at a time, answers remembered, failures too."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.addresses import is_literal
from engine.transport import names
from engine.transport.names import Names


class Resolver:
    """Stands in for ``socket.getaddrinfo``."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.known: dict[str, list[str]] = {"two.example": ["192.0.2.1", "2001:db8::1"]}
        self.at_once = self.most_at_once = 0
        self.answering = threading.Event()
        self.answering.set()
        self._lock = threading.Lock()

    def getaddrinfo(self, host: str, _port: Any, **_: Any) -> list[Any]:
        with self._lock:
            self.asked.append(host)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(0.005)
        self.answering.wait(5.0)
        with self._lock:
            self.at_once -= 1
        if host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(0, 0, 0, "", (address, 0)) for address in self.known[host] for _ in range(2)]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    return Resolver()


@pytest.fixture
async def book(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Names]:
    monkeypatch.setattr(socket, "getaddrinfo", resolver.getaddrinfo)
    book = Names()
    yield book
    resolver.answering.set()
    await book.close()


async def ask(book: Names, host: str) -> list[str]:
    answer: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
    book.resolve(host, answer.set_result)
    return await asyncio.wait_for(answer, 2.0)


@pytest.mark.parametrize("host", ["192.0.2.1", "::1", "2001:db8::1", "fe80::1%eth0"])
async def test_addresses_need_no_question(book: Names, resolver: Resolver, host: str) -> None:
    assert is_literal(host)
    found: list[list[str]] = []
    book.resolve(host, found.append)
    assert found == [[host]]
    assert resolver.asked == []


async def test_answers_are_remembered(book: Names, resolver: Resolver) -> None:
    assert book.known("two.example") is None
    assert await ask(book, "two.example") == ["192.0.2.1", "2001:db8::1"]
    assert await ask(book, "TWO.example") == ["192.0.2.1", "2001:db8::1"]
    assert book.known("two.example") == ["192.0.2.1", "2001:db8::1"]
    assert resolver.asked == ["two.example"]


async def test_answers_grow_old(book: Names, resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "TIME_TO_LIVE", 0.0)
    await ask(book, "two.example")
    await asyncio.sleep(0.01)
    await ask(book, "two.example")
    assert resolver.asked == ["two.example"] * 2


async def test_failures_are_remembered_for_a_short_time(book: Names, resolver: Resolver) -> None:
    assert await ask(book, "none.example") == []
    assert await ask(book, "none.example") == []
    assert resolver.asked == ["none.example"]
    assert book.failures == 1


async def test_many_who_ask_for_one_name_are_one_question(book: Names, resolver: Resolver) -> None:
    found: list[list[str]] = []
    for _ in range(5):
        book.resolve("two.example", found.append)
    await ask(book, "two.example")
    assert len(found) == 5
    assert resolver.asked == ["two.example"]


async def test_a_flood_of_names_is_bounded(book: Names, resolver: Resolver) -> None:
    answers: list[list[str]] = []
    for index in range(names._WAITING + 100):
        book.resolve(f"host{index}.example", answers.append)
    assert len(answers) == 100  # refused at once
    await asyncio.sleep(0.1)
    assert resolver.most_at_once <= names._AT_ONCE


async def test_slow_names_do_not_hold_up_what_else_needs_a_thread(book: Names, resolver: Resolver) -> None:
    resolver.answering.clear()
    for index in range(names._WAITING):
        book.resolve(f"host{index}.example", lambda _found: None)
    await asyncio.sleep(0.05)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "the disk"), 1.0) == "the disk"


async def test_a_name_that_cannot_even_be_asked_for() -> None:
    book = Names()
    assert await ask(book, "a" * 70 + ".example") == []
    await book.close()
