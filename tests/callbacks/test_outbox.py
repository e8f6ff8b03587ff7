"""Deliveries: in order per call and URL, at least once, retried in virtual time, nobody waits for a hanging server."""

from __future__ import annotations

import asyncio
import heapq
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web as web_server
from pki import Authority
from sqlalchemy import event, insert, select

from engine.callbacks import ledger, signing
from engine.callbacks import outbox as outboxes
from engine.callbacks.announcing import owed, owed_by_query
from engine.callbacks.fetch import Fetcher
from engine.callbacks.outbox import Outbox, Outcome, Parcel, http_sender
from engine.callbacks.records import Noted, UploadOwed, note_to_data
from engine.callbacks.rows import Batch
from engine.store import Store
from engine.store.models import Delivery
from flows.call import Callback

Until = Callable[..., Awaitable[None]]
START = 1_000_000.0


class VirtualClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.time = START
        self._waiting: list[tuple[float, int, asyncio.Event]] = []
        self._count = 0
        self._event: asyncio.Event | None = None

    @property
    def idle(self) -> bool:
        """Whether its user waits, with nothing that would wake it."""
        return self._event is not None and not self._event.is_set()

    def now(self) -> float:
        return self.time

    async def wait(self, event: asyncio.Event, until: float | None) -> None:
        due = asyncio.Event()
        self._event = event
        if until is not None:
            self._count += 1
            heapq.heappush(self._waiting, (until, self._count, due))
        tasks = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(due.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._event = None
            for task in tasks:
                task.cancel()

    def advance_to(self, time: float) -> None:
        self.time = max(self.time, time)
        if self._waiting and self._waiting[0][0] <= self.time:
            self._event = None
        while self._waiting and self._waiting[0][0] <= self.time:
            heapq.heappop(self._waiting)[2].set()

    @property
    def next_due(self) -> float | None:
        return self._waiting[0][0] if self._waiting else None


class Web:
    """Answers by URL; notes each attempt with its (virtual) time."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.attempts: list[tuple[float, str, int | None]] = []
        self.answers: dict[str, Outcome] = {}
        self.hanging: dict[str, asyncio.Event] = {}
        self.most_at_once: dict[str, int] = {}
        self._now: dict[str, int] = {}

    async def send(self, parcel: Parcel) -> Outcome:
        self.attempts.append((self.clock.time - START, parcel.url, parcel.seq))
        self._now[parcel.host] = self._now.get(parcel.host, 0) + 1
        self.most_at_once[parcel.host] = max(self.most_at_once.get(parcel.host, 0), self._now[parcel.host])
        try:
            if parcel.url in self.hanging:
                await self.hanging[parcel.url].wait()
            else:
                await asyncio.sleep(0)
            return self.answers.get(parcel.url, Outcome(status=200))
        finally:
            self._now[parcel.host] -= 1


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def web(clock: VirtualClock) -> Web:
    return Web(clock)


async def owe(store: Store, *owed: tuple[str, str, int], at: float = START) -> None:
    """Put (call, url, seq) into the outbox, as the writer does."""
    batch = Batch()
    for call, url, seq in owed:
        batch.add(Noted(at, call=call, note=note_to_data(Callback(url, {"id": call, "seq": str(seq)}))))
    async with store.writing() as connection:
        await batch.store(connection)


async def states(store: Store) -> list[tuple[str, int]]:
    async with store.reading() as connection:
        found = await connection.execute(select(Delivery.state, Delivery.attempts).order_by(Delivery.id))
        return [(row.state, row.attempts) for row in found]


@asynccontextmanager
async def running(
    store: Store, send: outboxes.Sender, clock: Any, keep: float = 86400.0, **more: float
) -> AsyncIterator[Outbox]:
    outbox = Outbox(store, send, keep=keep, clock=clock, **more)
    task = asyncio.create_task(outbox.run())
    try:
        yield outbox
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None


async def let_it_work(outbox: Outbox, clock: VirtualClock) -> None:
    """Until it waits for the clock with nothing under way; the database answers in real time."""
    async with asyncio.timeout(10):
        while outbox.under_way or not clock.idle:  # noqa: ASYNC110 - no event of the outbox says so
            await asyncio.sleep(0.001)


async def pass_time(outbox: Outbox, clock: VirtualClock, until: float) -> None:
    await let_it_work(outbox, clock)
    while clock.next_due is not None and clock.next_due <= until:
        clock.advance_to(clock.next_due)
        await let_it_work(outbox, clock)
    clock.advance_to(until)
    await let_it_work(outbox, clock)


async def test_in_order_per_call_and_url(store: Store, clock: VirtualClock, web: Web) -> None:
    await owe(store, *[(f"c{call}", f"http://h{url}/", seq) for seq in (1, 2, 3) for call in (1, 2) for url in (1, 2)])
    async with running(store, web.send, clock) as outbox:
        await let_it_work(outbox, clock)
        assert outbox.counters.delivered == 12
    assert {state for state, _ in await states(store)} == {"delivered"}
    for url in ("http://h1/", "http://h2/"):
        order = [seq for _, there, seq in web.attempts if there == url]
        assert sorted(order) == [1, 1, 2, 2, 3, 3]
        assert order.index(2) > order.index(1)
        assert order.index(3) > order.index(2)


async def test_retries_come_at_the_times_of_the_contract_until_keep(
    store: Store, clock: VirtualClock, web: Web
) -> None:
    url = "http://down/"
    web.answers[url] = Outcome(status=500)
    await owe(store, ("c", url, 1))
    async with running(store, web.send, clock) as outbox:
        await pass_time(outbox, clock, START + 90_000)
        assert outbox.counters.dead == 1
    times = [time for time, _, _ in web.attempts]
    assert times[:8] == [0, 1, 6, 36, 156, 756, 4356, 7956]
    assert times[-1] <= 86400 < times[-1] + 3600
    assert await states(store) == [("dead", len(times))]


async def test_what_waits_behind_a_failure_keeps_its_place(store: Store, clock: VirtualClock, web: Web) -> None:
    url = "http://down/"
    web.answers[url] = Outcome(error="connection refused")
    await owe(store, ("c", url, 1), ("c", url, 2), ("c", "http://up/", 3))
    async with running(store, web.send, clock) as outbox:
        await pass_time(outbox, clock, START + 100)
        assert [seq for _, there, seq in web.attempts if there == url] == [1, 1, 1, 1]
        await owe(store, ("c", url, 4), at=START + 100)
        outbox.wake()
        await let_it_work(outbox, clock)
        web.answers[url] = Outcome(status=204)
        await pass_time(outbox, clock, START + 200)
    assert [(time, seq) for time, there, seq in web.attempts if there == url][4:] == [(156, 1), (156, 2), (156, 4)]
    assert ("http://up/", 3) in [(there, seq) for _, there, seq in web.attempts]
    assert {state for state, _ in await states(store)} == {"delivered"}


async def test_the_next_of_a_lane_follows_a_dead_letter(store: Store, clock: VirtualClock, web: Web) -> None:
    url = "http://x/"
    web.answers[url] = Outcome(error="refused: private", hopeless=True)
    await owe(store, ("c", url, 1), ("c", url, 2))
    async with running(store, web.send, clock) as outbox:
        await let_it_work(outbox, clock)
    assert await states(store) == [("dead", 1), ("dead", 1)]
    assert [seq for _, _, seq in web.attempts] == [1, 2]


async def test_a_short_keep(store: Store, clock: VirtualClock, web: Web) -> None:
    web.answers["http://x/"] = Outcome(status=503)
    await owe(store, ("c", "http://x/", 1))
    async with running(store, web.send, clock, keep=3) as outbox:
        await pass_time(outbox, clock, START + 100)
    assert [time for time, _, _ in web.attempts] == [0, 1]
    assert await states(store) == [("dead", 2)]


async def test_a_hanging_server_delays_nobody_else(store: Store, clock: VirtualClock, web: Web, until: Until) -> None:
    web.hanging = {f"http://hang/{number}": asyncio.Event() for number in range(1000)}
    await owe(store, *[(f"c{number}", f"http://hang/{number}", 1) for number in range(1000)])
    await owe(store, *[(f"c{number}", f"http://good{number % 3}/", 2) for number in range(30)])
    async with running(store, web.send, clock) as outbox:
        await until(lambda: outbox.counters.delivered == 30)
        assert web.most_at_once["hang"] == outboxes.PER_HOST
        assert outbox.under_way == outboxes.PER_HOST


async def test_a_call_has_one_request_at_a_time_per_url(
    store: Store, clock: VirtualClock, web: Web, until: Until
) -> None:
    url = "http://x/"
    web.hanging[url] = asyncio.Event()
    await owe(store, *[("c", url, seq) for seq in range(1, 6)])
    async with running(store, web.send, clock) as outbox:
        await until(lambda: bool(web.attempts))
        for _ in range(5):
            outbox.wake()
            await asyncio.sleep(0.01)
        assert len(web.attempts) == 1
        web.hanging[url].set()
        await let_it_work(outbox, clock)
    assert [seq for _, _, seq in web.attempts] == [1, 2, 3, 4, 5]
    assert web.most_at_once["x"] == 1


async def test_a_restart_goes_on_and_repeats_only_what_had_no_answer(
    store: Store, clock: VirtualClock, web: Web, until: Until
) -> None:
    web.hanging["http://hang/"] = asyncio.Event()
    web.answers["http://down/"] = Outcome(status=500)
    await owe(store, ("c", "http://hang/", 1), ("c", "http://ok/", 2), ("c", "http://down/", 3))
    async with running(store, web.send, clock) as outbox:
        await until(lambda: outbox.counters.delivered == outbox.counters.failed_attempts == 1)
    web.hanging["http://hang/"].set()
    web.answers.clear()
    async with running(store, web.send, clock) as outbox:
        await pass_time(outbox, clock, START + 1)
    assert sorted(seq or 0 for _, _, seq in web.attempts) == [1, 1, 2, 3, 3]
    assert {state for state, _ in await states(store)} == {"delivered"}


async def test_close_sends_what_is_due_and_gives_up_on_what_hangs(store: Store, clock: VirtualClock, web: Web) -> None:
    await owe(store, ("c", "http://a/", 1), ("c", "http://a/", 2))
    outbox = Outbox(store, web.send, keep=100, clock=clock)
    task = asyncio.create_task(outbox.run())
    assert await outbox.close(5)
    await task
    assert {state for state, _ in await states(store)} == {"delivered"}

    web.hanging["http://hang/"] = asyncio.Event()
    await owe(store, ("d", "http://hang/", 1))
    outbox = Outbox(store, web.send, keep=100, clock=clock)
    task = asyncio.create_task(outbox.run())
    assert not await outbox.close(0.1)
    task.cancel()
    await asyncio.wait([task])
    assert (await states(store))[-1] == ("pending", 0)


async def test_a_sender_that_breaks_stops_nothing(store: Store, clock: VirtualClock) -> None:
    async def broken(parcel: Parcel) -> Outcome:
        if parcel.call_id == "bad":
            raise RuntimeError("a defect")
        return Outcome(status=200)

    await owe(store, ("bad", "http://a/", 1), ("good", "http://a/", 1))
    async with running(store, broken, clock) as outbox:
        await let_it_work(outbox, clock)
        assert (outbox.counters.delivered, outbox.counters.failed_attempts) == (1, 1)


async def test_a_database_that_is_gone_is_waited_for(store: Store, clock: VirtualClock, web: Web) -> None:
    await owe(store, ("c", "http://a/", 1))
    real, failures = store.reading, iter([OSError("gone"), OSError("gone")])

    def reading() -> Any:
        for failure in failures:
            raise failure
        return real()

    store.reading = reading  # type: ignore[method-assign]
    async with running(store, web.send, clock) as outbox:
        await pass_time(outbox, clock, START + 5)
        assert outbox.counters.database_failures == 2
        assert outbox.counters.delivered == 1
    assert [time for time, _, _ in web.attempts] == [2]


async def test_a_server_is_asked_again_when_it_said(store: Store, clock: VirtualClock, web: Web) -> None:
    """No sooner than our own retries, no later than the bound, and not beyond the time for which it is tried."""
    asked = {"http://soon/": 0.0, "http://later/": 20.0, "http://never/": 1e9}
    web.answers = {url: Outcome(status=429, retry_after=seconds) for url, seconds in asked.items()}
    await owe(store, *[(f"c{number}", url, 1) for number, url in enumerate(asked)])
    await owe_bodies(store, owed("c", START, "http://hook/", "{}", plan="short"))
    web.answers["http://hook/"] = Outcome(status=503, retry_after=40.0)
    async with running(store, web.send, clock, keep=2 * outboxes.LONGEST_RETRY_AFTER + 100) as outbox:
        await pass_time(outbox, clock, START + 4 * outboxes.LONGEST_RETRY_AFTER)
        assert outbox.counters.dead == 4
    times = {url: [time for time, there, _ in web.attempts if there == url] for url in (*asked, "http://hook/")}
    assert times["http://soon/"][:5] == [0, 1, 6, 36, 156]
    assert times["http://later/"][:5] == [0, 20, 40, 70, 190]
    assert times["http://never/"] == [0, 3600, 7200, 7300]
    assert times["http://hook/"] == [0, 40, 80, 120]


async def test_what_waits_behind_it_waits_as_long(store: Store, clock: VirtualClock, web: Web) -> None:
    web.answers["http://x/"] = Outcome(status=503, retry_after=50.0)
    await owe(store, ("c", "http://x/", 1), ("c", "http://x/", 2))
    async with running(store, web.send, clock) as outbox:
        await let_it_work(outbox, clock)
        web.answers.clear()
        await pass_time(outbox, clock, START + 100)
    assert [(time, seq) for time, _, seq in web.attempts] == [(0, 1), (50, 1), (50, 2)]


async def test_a_server_that_is_down_is_left_alone_and_tried_with_one_request(
    store: Store, clock: VirtualClock, web: Web, until: Until
) -> None:
    """All others go on; when it is back everything goes out in order."""
    down = [f"http://down/{number}" for number in range(40)]
    web.answers = dict.fromkeys(down, Outcome(error="connection refused"))
    await owe(store, *[(f"c{number}", url, seq) for number, url in enumerate(down) for seq in (1, 2)])
    async with running(store, web.send, clock) as outbox:
        await let_it_work(outbox, clock)
        first = len(web.attempts)
        assert first == outboxes.PER_HOST, "those that were under way when it turned out"
        assert (outbox.hosts_down, outbox.counters.pauses) == (1, 1)
        await owe(store, *[(f"d{number}", f"http://up{number}/", 1) for number in range(5)], at=clock.time)
        outbox.wake()
        await let_it_work(outbox, clock)
        assert outbox.counters.delivered == 5, "nobody else waits"
        await pass_time(outbox, clock, START + 29)
        assert len(web.attempts) == first + 5, "it is left alone"
        await pass_time(outbox, clock, START + 100)
        probes = [(time, url) for time, url, _ in web.attempts[first + 5 :]]
        assert [time for time, _ in probes] == [30, 90], "one request each time"
        assert len({url for _, url in probes}) == 2, "not always the same one"
        web.answers.clear()
        web.hanging = {url: asyncio.Event() for url in down}
        clock.advance_to(START + 210)
        await until(lambda: outbox.under_way == 1)
        for _ in range(3):
            outbox.wake()
            await asyncio.sleep(0.01)
        assert outbox.under_way == 1, "until one is answered"
        for each in web.hanging.values():
            each.set()
        await until(lambda: outbox.hosts_down == 0)
        await pass_time(outbox, clock, START + 2000)
        assert outbox.counters.delivered == 5 + 80
    seen: dict[str, list[int | None]] = {}
    for _, url, seq in web.attempts:
        seen.setdefault(url, []).append(seq)
    assert all(seen[url] == sorted(seen[url], key=int) and seen[url][-1] == 2 for url in down)  # type: ignore[arg-type]


async def test_a_server_that_answers_no_is_not_down(store: Store, clock: VirtualClock, web: Web) -> None:
    web.answers = {"http://x/gone": Outcome(status=404), "http://x/private": Outcome(error="private", hopeless=True)}
    await owe(store, *[(f"c{number}", url, 1) for number in range(30) for url in web.answers])
    async with running(store, web.send, clock) as outbox:
        await let_it_work(outbox, clock)
        assert len(web.attempts) == 60
        assert (outbox.hosts_down, outbox.counters.pauses) == (0, 0)


async def test_what_was_delivered_goes_after_a_while_and_dead_letters_stay(
    store: Store, clock: VirtualClock, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "TIDY_AT_ONCE", 10)
    web.answers = {
        "http://dead/": Outcome(error="private", hopeless=True),
        "http://late/": Outcome(error="no", retry_after=0),
    }
    await owe(store, *[(f"c{number}", f"http://h{number}/", 1) for number in range(25)])
    await owe(store, ("d", "http://dead/", 1), ("l", "http://late/", 1))
    async with running(store, web.send, clock, keep=40 * 86400.0, keep_delivered=10_000.0) as outbox:
        await pass_time(outbox, clock, START + 9_999)
        assert outbox.counters.forgotten == 0
        await pass_time(outbox, clock, START + 10_000 + 2 * outboxes.TIDY_EVERY)
        assert outbox.counters.forgotten == 25
    assert [state for state, _ in await states(store)] == ["dead", "pending"]


# --- against a real web server ----------------------------------------------------------


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(allow_private=True)
    yield fetcher
    await fetcher.close()


async def test_over_http(store: Store, server: Any, fetcher: Fetcher, until: Until) -> None:
    url = f"{server.url}/my hook?session=d%2f00de&x=ă"
    batch = Batch()
    params = {"e": "open", "path": "a%20b/$redirect", "from": "+391", "id": "c@h", "seq": "1"}
    now = outboxes.WallClock().now()
    batch.add(Noted(now, call="c", note=note_to_data(Callback(url, params))))
    batch.add(Noted(now, call="c", note=note_to_data(Callback(f"{server.url}/post?q=1", {"a": "ț &"}, "POST"))))
    batch.add(Noted(now, call="c", note=note_to_data(Callback(f"{server.url}/json", {"a": "ț"}, "POST", "json"))))
    bare = {"content_type": "", "body": '{"n":1,"b":"ă"}'}
    batch.add(Noted(now, call="c", note=note_to_data(Callback(f"{server.url}/bare", bare, "POST", "body"))))
    typed = {"content_type": "text/x", "body": "as it is"}
    batch.add(Noted(now, call="c", note=note_to_data(Callback(f"{server.url}/typed", typed, "POST", "body"))))
    async with store.writing() as connection:
        await batch.store(connection)
    async with running(store, http_sender(fetcher, 5.0), None) as outbox:
        await until(lambda: outbox.counters.delivered == 5)
    get = next(request for request in server.requests if request.method == "GET")
    assert get.raw_path == (
        "/my%20hook?session=d%2f00de&x=%C4%83&e=open&path=a%2520b/$redirect&from=%2B391&id=c%40h&seq=1"
    )
    assert dict(get.query)["path"] == "a%20b/$redirect"
    post = next(request for request in server.requests if request.method == "POST")
    assert post.raw_path == "/post?q=1"
    assert post.content_type == "application/x-www-form-urlencoded"
    assert b"a=%C8%9B+%26" in server.bodies
    told = next(request for request in server.requests if request.raw_path == "/json")
    assert told.content_type == "application/json"
    assert '{"a":"ț"}'.encode() in server.bodies
    assert '{"n":1,"b":"ă"}'.encode() in server.bodies
    assert b"as it is" in server.bodies
    bare_request, typed_request = (
        next(request for request in server.requests if request.raw_path == path) for path in ("/bare", "/typed")
    )
    assert ("Content-Type" in bare_request.headers, typed_request.content_type) == (False, "text/x")


async def test_server_down_for_the_whole_call_then_up(
    store: Store, server: Any, fetcher: Fetcher, clock: VirtualClock
) -> None:
    await server.stop()
    await owe(store, *[("c", f"{server.url}/", seq) for seq in (1, 2, 3)])
    async with running(store, http_sender(fetcher, 5.0), clock) as outbox:
        await pass_time(outbox, clock, START + 10)
        assert outbox.counters.failed_attempts == 3
        await server.start()
        await pass_time(outbox, clock, START + 40)
        assert outbox.counters.delivered == 3
    assert [query["seq"] for query in server.queries] == ["1", "2", "3"]


async def test_a_timeout_is_a_failure(store: Store, server: Any, fetcher: Fetcher, until: Until) -> None:
    server.answer = server.hang
    await owe(store, ("c", f"{server.url}/", 1), at=outboxes.WallClock().now())
    async with running(store, http_sender(fetcher, 0.1), None) as outbox:
        await until(lambda: outbox.counters.failed_attempts == 1)
        server.answer = server.ok
        await until(lambda: outbox.counters.delivered == 1)
    async with store.reading() as connection:
        row = (await connection.execute(select(Delivery.attempts, Delivery.status))).one()
    assert tuple(row) == (2, 200)


@pytest.mark.parametrize(
    ("status", "said", "waits"),
    [
        (429, "7", 7),
        (503, "  12 ", 12),
        (503, "Thu, 01 Jan 1970 00:00:00 GMT", 0),
        (503, "{in 60 s}", 60),
        (429, "soon", 0),
        (429, "-5", 0),
        (429, "1e3", 0),
        (429, "9" * 400, 1e11),
        (429, "Mon, 99 Foo 99999999999 00:00:00", 0),
        (500, "7", 0),
    ],
)
async def test_retry_after(server: Any, fetcher: Fetcher, status: int, said: str, waits: float) -> None:
    """RFC 9110 section 10.2.3: seconds or a date, of 429 and 503; whatever else it says is no wish."""
    now = outboxes.WallClock().now()
    said = said.replace("{in 60 s}", formatdate(now + 60, usegmt=True))

    async def answer(_request: Any) -> web_server.Response:
        return web_server.Response(status=status, headers={"Retry-After": said})

    server.answer = answer
    parcel = Parcel(1, "c", 1, "l", "h", "GET", f"{server.url}/", (), "query", None, now, 0)
    outcome = await http_sender(fetcher, 5.0)(parcel)
    assert outcome.status == status
    if waits > 1e9:
        assert outcome.retry_after > 1e9
    else:
        assert outcome.retry_after == pytest.approx(waits, abs=2.0)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_what_is_told_is_told_where_a_redirect_leads(
    store: Store, server: Any, fetcher: Fetcher, until: Until, tmp_path: Path, status: int
) -> None:
    """Bodies, forms, JSON and files alike; else the content would be lost and the delivery counted."""
    sound = tmp_path / "sound.wav"
    sound.write_bytes(b"RIFF")

    async def moved(request: web_server.BaseRequest) -> web_server.StreamResponse:
        if request.path.startswith("/new"):
            return web_server.Response(status=204)
        return web_server.Response(status=status, headers={"Location": f"/new{request.path}"})

    server.answer = moved
    now = outboxes.WallClock().now()
    form = note_to_data(Callback(f"{server.url}/form", {"a": "1"}, "POST", "form"))
    batch = Batch()
    batch.add(Noted(now, call="c", note=form))
    batch.add(UploadOwed(now, call="c", path=str(sound), url=f"{server.url}/file", method="PUT"))
    async with store.writing() as connection:
        await batch.store(connection)
    await owe_bodies(store, owed("c", now, f"{server.url}/body", '{"x":1}'))
    async with running(store, http_sender(fetcher, 5.0), None) as outbox:
        await until(lambda: outbox.counters.delivered == 3)
    got = {(request.method, request.path): body for request, body in zip(server.requests, server.bodies, strict=True)}
    assert {key: body for key, body in got.items() if key[1].startswith("/new")} == {
        ("POST", "/new/form"): b"a=1",
        ("PUT", "/new/file"): b"RIFF",
        ("POST", "/new/body"): b'{"x":1}',
    }


async def test_what_is_sent_to_see_something_else_is_not_delivered(
    store: Store, server: Any, fetcher: Fetcher, until: Until
) -> None:
    async def other(request: web_server.BaseRequest) -> web_server.StreamResponse:
        if request.path == "/login":
            return web_server.Response(text="who are you?")
        return web_server.Response(status=303, headers={"Location": "/login"})

    server.answer = other
    await owe_bodies(store, owed("c", outboxes.WallClock().now(), f"{server.url}/", '{"x":1}'))
    async with running(store, http_sender(fetcher, 5.0), None) as outbox:
        await until(lambda: outbox.counters.delivered + outbox.counters.failed_attempts >= 1)
        assert outbox.counters.delivered == 0
    async with store.reading() as connection:
        row = (await connection.execute(select(Delivery.state, Delivery.status, Delivery.error))).one()
    assert row == ("pending", 303, "HTTP status 303")


async def test_a_refused_destination_is_a_dead_letter_at_once(store: Store, server: Any, until: Until) -> None:
    guarded = Fetcher(allow_private=False)
    await owe(store, ("c", f"{server.url}/", 1), at=outboxes.WallClock().now())
    async with running(store, http_sender(guarded, 5.0), None) as outbox:
        await until(lambda: outbox.counters.dead == 1)
    await guarded.close()
    assert server.requests == []
    async with store.reading() as connection:
        assert "private address" in str(await connection.scalar(select(Delivery.error)))


async def test_what_is_told_of_a_call_that_was_never_made_is_seen_and_sent_again(
    store: Store, server: Any, fetcher: Fetcher, until: Until
) -> None:
    server.answer = server.fail
    now, url = outboxes.WallClock().now(), f"{server.url}/status"
    told = owed_by_query("queued-7", now, url, {"CallStatus": "expired"}, account="a")
    await owe_bodies(store, told, owed_by_query("queued-8", now, url, {"CallStatus": "expired"}, account="b"))
    async with running(store, http_sender(fetcher, 5.0), None) as outbox:
        await until(lambda: outbox.counters.failed_attempts == 2)
        async with store.writing() as connection:
            (mine,) = await ledger.entries(connection, "a", state="pending", call_id="queued-7")
            assert (mine.url, mine.status, mine.attempts) == (url, 500, 1)
            server.answer = server.ok
            assert await ledger.redeliver(connection, "b", mine.id) is None
            assert await ledger.redeliver(connection, "a", mine.id) is not None
        outbox.wake()
        await until(lambda: outbox.counters.delivered >= 1)
    async with store.reading() as connection:
        delivered = await ledger.entry(connection, "a", mine.id)
    assert delivered is not None
    assert delivered.state == "delivered"


async def test_the_query_uses_its_indexes(store: Store, web: Web, clock: VirtualClock) -> None:
    """A dead host's backlog of a day must not be read at every wake-up."""
    seen: list[tuple[str, Any]] = []
    event.listen(
        store.engine.sync_engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, parameters, *_: seen.append((statement, parameters)),
    )
    async with running(store, web.send, clock) as outbox:
        await let_it_work(outbox, clock)
    statement, parameters = next(each for each in seen if "row_number" in each[0])
    async with store.reading() as connection:
        plan = str((await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)).all())
    assert "deliveries USING INDEX ix_deliveries_due_pending (due_at<?)" in plan
    assert "ix_deliveries_lane_pending (lane=?" in plan


async def owe_bodies(store: Store, *rows: dict[str, Any]) -> None:
    async with store.writing() as connection:
        await connection.execute(insert(Delivery), list(rows))


async def test_a_body_is_sent_as_it_is_and_signed_at_each_attempt(
    store: Store, server: Any, fetcher: Fetcher, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sign(url: str, body: bytes, secret: str, now: float) -> dict[str, str]:
        return {"X-Signed": f"{url} {len(body)} {secret} {now > START}"}

    monkeypatch.setitem(signing.SIGNERS, "test", sign)
    now, url = outboxes.WallClock().now(), f"{server.url}/hook?a=1"
    signed = owed("c", now, url, '{"x":"ț"}', signer="test", secret="s3", subscription="sub")
    bare = owed("c", now, url, "plain", content_type="", method="PUT")
    await owe_bodies(store, signed, bare)
    async with running(store, http_sender(fetcher, 5.0), None) as outbox:
        told: list[tuple[str | None, bool]] = []
        outbox.observers.append(lambda parcel, outcome: told.append((parcel.subscription, outcome.delivered)))
        await until(lambda: outbox.counters.delivered == 2)
    by_method = {request.method: request for request in server.requests}
    assert by_method["POST"].headers["X-Signed"] == f"{url} 10 s3 True"
    assert by_method["POST"].headers["Content-Type"] == "application/json"
    assert "X-Signed" not in by_method["PUT"].headers
    assert sorted(server.bodies) == [b"plain", '{"x":"ț"}'.encode()]
    assert sorted(told, key=str) == [("sub", True), (None, True)]


async def test_other_retries_than_the_usual_are_these_and_no_more(store: Store, clock: VirtualClock, web: Web) -> None:
    web.answers["https://hooks.example/x"] = Outcome(status=500)
    await owe_bodies(store, owed("c", START, "https://hooks.example/x", "{}", plan="short"))
    async with running(store, web.send, clock) as outbox:
        await pass_time(outbox, clock, START + 86_400)
        assert outbox.counters.dead == 1
    assert [time for time, _, _ in web.attempts] == [0, 1, 6, 36]


async def test_a_certificate_of_nobody_known_is_taken_where_that_is_wished(
    store: Store, server: Any, fetcher: Fetcher, until: Until, tmp_path: Path
) -> None:
    pair = Authority(tmp_path / "pki").sign("hooks", addresses=("127.0.0.1",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    await server.stop()
    server.tls = context
    await server.start()
    url, now = f"https://127.0.0.1:{server.port}/", outboxes.WallClock().now()
    await owe_bodies(store, owed("c1", now, url, "known"), owed("c2", now, url, "any", any_certificate=True))
    async with running(store, http_sender(fetcher, 5.0), None) as outbox:
        await until(lambda: outbox.counters.delivered == 1 and outbox.counters.failed_attempts >= 1)
    assert server.bodies == [b"any"]
