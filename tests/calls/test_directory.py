"""The picture that calls are routed by: whose numbers, whose telephones, whose trunks, whose flows."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from engine.accounts import entities as e
from engine.accounts import repository
from engine.accounts.media import MediaShelf
from engine.calls.directory import Directory, load_directory, read_directory
from engine.calls.flowbook import FlowBook, FlowError
from engine.calls.identity import Caller
from engine.calls.origination import with_detection
from engine.calls.routes import Routes
from engine.calls.services import PromptError, Renderer
from engine.config import Config
from engine.serving.trunks import inbound_trunk, outbound_trunk
from engine.sip.flow import Flow
from engine.store import Store
from engine.store.accounts import DEFAULT_ACCOUNT
from flows.graph import Perform, Say
from flows.orders import DetectMachine, Dial, Target
from flows.prompts import Prompt

NUMBER = {"number": "1", "dialect": "kazoo"}
KAZOO = '{"module": "callflow", "data": {"id": "inner"}, "children": {}}'


class Registrar:
    """Every device is at home."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def password(self, name: str) -> str | None:
        return "x" if name in self.names else None

    def bindings(self, name: str) -> list[Any]:
        from engine.sip.registrar import Binding
        from engine.sip.uri import Uri

        flow = Flow("udp", ("192.0.2.9", 5060), ("192.0.2.8", 5060))
        return [Binding(name, Uri.parse(f"sip:{name}@192.0.2.8"), flow, flow, 0.0, "", 1, pinned=False)]


class House:
    """A configuration with one flow file, a database, and a second account in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(f"sqlite+aiosqlite:///{folder}/ivrea.db")
        self.rendered: list[tuple[Path | None, str]] = []
        self.shelf = MediaShelf(folder / "media", self.store)
        self.flows = FlowBook(self._renderer, self.store, self.shelf)
        self.write("hello.json", '{"_": "Hello"}')

    def _renderer(self, folder: Path | None, voice: str) -> Renderer:
        async def render(prompt: Prompt) -> Path:
            if prompt.media and folder is None:
                raise PromptError("no files")
            self.rendered.append((folder, prompt.media or prompt.text))
            return Path("/sound.wav")

        return render

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def config(self, **changed: Any) -> Config:
        return Config.given(
            {
                "numbers": [{"number": "1000", "flow": str(self.folder / "hello.json")}],
                "devices": [{"name": "desk", "password": "x"}],
                "users": [{"name": "anna", "devices": ["desk"]}],
                "extensions": [{"number": "201", "user": "anna"}],
                "trunks": [
                    {"name": "shared", "host": "192.0.2.1", "shared": True},
                    {"name": "private", "host": "192.0.2.2"},
                ],
                **changed,
            }
        )

    async def load(self, before: Directory | None = None, **changed: Any) -> Directory:
        return await load_directory(self.store, self.flows, self.config(**changed), before)

    async def second_account(self) -> str:
        async with self.store.writing() as connection:
            other = await repository.add_account(connection, "other", max_calls=2)
            await repository.add_device(connection, other.id, "fax", {"password": "y"})
            anna = await repository.add_user(connection, other.id, "anna", devices=["fax"])
            await repository.add_extension(connection, other.id, "201", user_id=anna.id)
            flow = (await repository.save_flow(connection, other.id, "outer", KAZOO, dialect="kazoo")).flow
            await repository.save_flow(connection, other.id, "inner", '{"_": "Inner"}')
            await repository.add_number(connection, other.id, "2000", flow.id)
            await repository.add_trunk(connection, other.id, "own", {"host": "192.0.2.3"})
        return other.id


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    await house.store.migrate()
    yield house
    await house.store.close()


def where(routes: Routes, kind: Any, value: str) -> list[list[str]]:
    found = routes.find(Target(kind=kind, value=value), Dial(targets=()), Caller("100"))
    return [[destination.label for destination in line] for line in found]


async def test_numbers_that_nobody_has_are_not_for_the_first_account_that_takes_them(house: House) -> None:
    """A customer's ``+*`` catches what its own trunk brings, and not what comes to all by a trunk that they share."""
    await house.load()
    other = await house.second_account()
    async with house.store.writing() as connection:
        flow = await repository.get(connection, e.Flow, other, "inner")
        for number in ("*", "+*", "+39*", "+3901*"):
            await repository.add_number(connection, other, number, flow.id)
    plans = (await house.load()).plans
    assert [plans.find(number) for number in ("77", "+1555", "+39555", "0011")] == [None] * 4
    for number in ("77", "+1555", "+39555", "+39011"):
        assert plans.find(number, other) is not None
    public = plans.find("+39011")
    assert public is not None
    assert public.account == other


async def test_everybody_reaches_their_own_and_no_others(house: House) -> None:
    await house.load()
    other = await house.second_account()
    directory = await house.load()
    assert (directory.account_of("desk"), directory.account_of("fax")) == (DEFAULT_ACCOUNT, other)
    assert directory.passwords() == {"desk": "x", "fax": "y"}
    plans = directory.plans
    found = {number: plans.find(number) for number in ("1000", "2000", "201")}
    assert {number: plan and plan.account for number, plan in found.items()} == {
        "1000": DEFAULT_ACCOUNT, "2000": other, "201": None,
    }  # fmt: skip
    assert found["2000"] is not None
    assert found["2000"].most_calls == 2
    assert plans.find("2000", DEFAULT_ACCOUNT) is None
    assert plans.find("1000", other) is None
    assert plans.find("1000", "-") is None, "a device that is gone"
    for account, device in ((DEFAULT_ACCOUNT, "desk"), (other, "fax")):
        plan = plans.find("201", account)
        assert plan is not None
        assert plan.account == account
        routes = directory.routes(
            account, Registrar({"desk", "fax"}), lambda flow: ("192.0.2.9", 5060), outbound_trunk  # type: ignore[arg-type]
        )  # fmt: skip
        stranger = "fax" if device == "desk" else "desk"
        assert where(routes, "user", "anna") == [[device]]
        assert where(routes, "number", "201") == [[device]]
        assert where(routes, "device", stranger) == []
        own = "private" if account == DEFAULT_ACCOUNT else "own"
        (trunks,) = where(routes, "number", "+39011")
        assert set(trunks) == {f"+39011 via {own}", "+39011 via shared"}
    assert {trunk.label for trunk in directory.trunks} == {"shared", "private", f"{other}/own"}


async def test_where_calls_of_customers_trunks_are_believed_to_come_from(house: House) -> None:
    """And by what line their registrations are told apart, the same after a restart."""
    await house.load()
    other = await house.second_account()
    me = {"username": "acme", "password": "x"}
    async with house.store.writing() as connection:
        await repository.add_trunk(connection, other, "line", {"host": "192.0.2.3", "register": True, **me})
    label = f"{other}/own"

    async def believed(**changed: Any) -> dict[str, Any]:
        return {each.label: each.believed for each in (await house.load(**changed)).trunks}

    assert await believed() == {"shared": None, "private": None, label: (), f"{other}/line": ()}
    assert (await believed(accounts={"free_addresses": True}))[label] is None
    async with house.store.writing() as connection:
        await repository.change_account(connection, other, name="other", assigned_addresses=["192.0.2.0/24"])
    assert (await believed())[label] == (ip_network("192.0.2.0/24"),)
    lines = (await house.load()).lines()
    assert list(lines) == [f"{other}/line"]
    assert len(lines[f"{other}/line"]) == 24
    assert (await house.load()).lines() == lines
    inbound = {each.label: inbound_trunk(each) for each in (await house.load()).trunks}
    assert inbound[f"{other}/line"].line == lines[f"{other}/line"]
    assert (inbound[label].line, inbound[label].believed) == ("", (ip_network("192.0.2.0/24"),))


async def test_users_show_the_numbers_that_they_chose(house: House) -> None:
    await house.load()
    async with house.store.writing() as connection:
        anna = await repository.get(connection, e.User, DEFAULT_ACCOUNT, "anna")
        number = await repository.get(connection, e.Number, DEFAULT_ACCOUNT, "1000")
        await repository.set_shown_number(connection, DEFAULT_ACCOUNT, anna.id, number.id)
        with pytest.raises(repository.Unknown):
            await repository.set_shown_number(connection, "other", anna.id, number.id)
    assert (await house.load()).shown == {"desk": "1000"}


async def test_stored_flows_are_found_in_the_account_and_outlive_the_database(house: House) -> None:
    await house.load()
    other = await house.second_account()
    directory = await house.load()
    plan = directory.plans.find("2000")
    assert plan is not None
    inner = await plan.stored("inner")
    assert (inner.version, [step for step in inner.graph.steps.values() if isinstance(step, Say)] != []) == (1, True)
    mine = directory.plans.find("1000")
    assert mine is not None
    with pytest.raises(FlowError, match="there is no flow 'inner'"):
        await mine.stored("inner")
    async with house.store.writing() as connection:
        await repository.save_flow(connection, other, "inner", '{"_": "Changed"}')
    assert (await plan.stored("inner")).version == 2
    await house.store.close()
    house.flows._store = Store("postgresql+asyncpg://ivrea@127.0.0.1:1/none")
    assert (await plan.stored("inner")).version == 2
    with pytest.raises(FlowError, match="out of reach"):
        await plan.stored("outer")
    await house.flows._store.close()


async def test_a_bad_flow_of_the_file_changes_nothing_and_one_made_otherwise_keeps_its_plan(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    before = await house.load()
    other = await house.second_account()
    before = await house.load(before)
    house.write("hello.json", '{"module": 1}')
    with pytest.raises(FlowError, match=r"hello\.json"):
        await house.load(before, numbers=[{**NUMBER, "flow": str(house.folder / "hello.json")}])
    async with house.store.reading() as connection:
        assert [each.number for each in await repository.all_of(connection, e.Number, DEFAULT_ACCOUNT)] == ["1000"]
    house.write("hello.json", '{"_": "Hello"}')
    async with house.store.writing() as connection:
        await repository.save_flow(connection, other, "outer", '{"module": 1}', dialect="kazoo")
    with caplog.at_level(logging.ERROR):
        after = await house.load(before)
    assert after.plans.find("2000") is before.plans.find("2000")
    clashing = [{"number": number, "flow": str(house.folder / "hello.json")} for number in ("2000", "3000")]
    after = await house.load(before, numbers=clashing)
    (conflict,) = after.conflicts
    assert conflict.startswith("numbers: '2000': is there already")
    assert (await read_directory(house.store, house.flows, after)).conflicts == (conflict,)
    taken, free = after.plans.find("2000"), after.plans.find("3000")
    assert taken is before.plans.find("2000"), "who has it keeps it"
    assert free is not None, "the rest of the file is served"


async def test_stored_media_is_heard_by_its_account_alone(house: House) -> None:
    await house.load()
    other = await house.second_account()
    media = await house.shelf.add(other, "welcome", b"RIFF", content_type="audio/wav")
    assert (house.folder / "media" / media.digest).read_bytes() == b"RIFF"
    house.rendered.clear()
    await house.flows.renderer(other)(Prompt(media="welcome"))
    assert house.rendered == [(house.folder / "media", media.digest)]
    with pytest.raises(PromptError, match="there is no media 'welcome'"):
        await house.flows.renderer(DEFAULT_ACCOUNT)(Prompt(media="welcome"))


async def test_a_call_that_asks_for_a_machine_first(house: House) -> None:
    directory = await house.load()
    plan = directory.plans.find("1000")
    assert plan is not None
    start = plan.graph.start
    for wish, waits, to in (("continue", False, start), ("delay", True, start), ("hangup", False, "$machine")):
        graph = with_detection(plan.graph, wish)  # type: ignore[arg-type]
        first = graph.steps[graph.start]
        assert isinstance(first, Perform)
        assert isinstance(first.order, DetectMachine)
        assert (first.order.wait, first.exits["machine"], first.exits["next"]) == (waits, to, plan.graph.start)
