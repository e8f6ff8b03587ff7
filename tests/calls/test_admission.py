"""Who calls: trunks by their addresses, and which of several at one address."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from engine.calls.admission import TrunkAddress, TrunkBook, likeliest, plain_address
from engine.calls.numbers import Dialplan, NumberPlan
from engine.sip.headers import Headers
from engine.sip.message import Request


async def test_a_trunk_is_known_by_its_address():
    book = TrunkBook([TrunkAddress("carrier", "127.0.0.1", 5070, "to"), TrunkAddress("six", "::1")])
    assert await book.resolve()
    (found,) = book.at("127.0.0.1")
    assert (found.name, found.kind, found.number_from, found.host) == ("carrier", "trunk", "to", "127.0.0.1:5070")
    assert book.at("::ffff:127.0.0.1") == (found,)
    assert len(book.at("::1")) == 1
    assert book.at("127.0.0.2") == ()


async def test_calls_come_by_the_outbound_proxy_too():
    trunk = TrunkAddress("carrier", "127.0.0.1", proxies=(("127.0.0.2", ""),))
    book = TrunkBook([trunk])
    assert await book.resolve()
    assert [each.name for host in ("127.0.0.1", "127.0.0.2") for each in book.at(host)] == ["carrier", "carrier"]
    book.replace([dataclasses.replace(trunk, proxies=(("no-such-host.invalid", ""),))])
    assert not await book.resolve()
    assert len(book.at("127.0.0.1")) == 1, "one name that is not found takes nothing from the others"


async def test_a_name_that_does_not_resolve_is_no_error():
    book = TrunkBook([TrunkAddress("carrier", "no-such-host.invalid")])
    assert not await book.resolve()
    assert book.at("127.0.0.1") == ()


async def test_a_trunk_delivers_its_own_numbers_only():
    book = TrunkBook([TrunkAddress("carrier", "127.0.0.1", numbers=("+39 011-1", "1000"))])
    await book.resolve()
    (found,) = book.at("127.0.0.1")
    assert found.delivers("+390111")
    assert found.delivers("10 00")
    assert not found.delivers("+390112")
    everything = TrunkAddress("carrier", "::1").source()
    assert everything.delivers("anything")
    assert everything.host == "[::1]"


async def test_trunks_are_replaced_and_a_name_that_is_gone_for_a_moment_keeps_its_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two = TrunkAddress("one", "127.0.0.1"), TrunkAddress("two", "127.0.0.1")
    named = TrunkAddress("named", "localhost", by_digest=True, user="me", password="x")
    book = TrunkBook([one, two, named])
    await book.resolve()
    assert [each.name for each in book.at("127.0.0.1")] == ["one", "two", "named"]
    more = TrunkAddress("more", "127.0.0.2")
    book.replace([dataclasses.replace(two, channels=3), named, more])
    assert [(each.name, each.trunk and each.trunk.channels) for each in book.at("127.0.0.1")] == [
        ("two", 3),
        ("named", 0),
    ], "what is changed of a trunk counts at once"
    looking = asyncio.create_task(book.keep_resolving())
    async with asyncio.timeout(5):
        while not book.at("127.0.0.2"):  # noqa: ASYNC110 - it has no event for it
            await asyncio.sleep(0.01)
    looking.cancel()
    book.replace([two, named])

    def gone(*_: object, **__: object) -> None:
        raise socket.gaierror("no name server")

    monkeypatch.setattr(socket, "getaddrinfo", gone)
    assert not await book.resolve()
    assert [each.name for each in book.at("127.0.0.1")] == ["two", "named"]
    assert (book.by_user("me"), book.by_user("you")) == (named.source(), None)


def invite(number: str = "+39011", *, to: str = "sip:x@here", caller: str = "sip:1@there") -> Request:
    headers = Headers([("From", f"<{caller}>;tag=1"), ("To", f"<{to}>")])
    return Request("INVITE", f"sip:{number}@192.0.2.1", headers)


LISTED = TrunkAddress("listed", "a.example", 5070, numbers=("+39011",))
REGISTERED = TrunkAddress("registered", "a.example", 5070, "to", user="acme", registers=True)
OTHER = TrunkAddress("other", "b.example", 5080, account="other")
RULED = TrunkAddress("ruled", "c.example", numbers=("+3922",), dialled_rules=(("0", "+39"),))
PROVING = TrunkAddress("proving", "d.example", by_digest=True, user="prover", password="x")


@pytest.mark.parametrize(
    ("trunks", "request_", "port", "user", "expected"),
    [
        ((OTHER, LISTED, REGISTERED), invite(), 5080, "", "listed"),
        ((OTHER, LISTED, REGISTERED), invite("acme", to="sip:+39011@here"), 5080, "", "registered"),
        ((LISTED, OTHER), invite("+39012"), 5070, "", "other"),
        ((LISTED, RULED, OTHER), invite("022"), 5080, "", "ruled"),
        ((TrunkAddress("any", "a.example"), OTHER), invite("77"), 5060, "", "other"),
        ((TrunkAddress("any", "a.example"), TrunkAddress("by port", "x", 5090)), invite("1"), 5090, "", "by port"),
        ((TrunkAddress("any", "a.example"), TrunkAddress("b", "b.example")), invite("1"), 5060, "", "any"),
        (
            (TrunkAddress("any", "a.example"), TrunkAddress("b", "b.example")),
            invite("1", caller="sip:2@B.example"), 5060, "", "b",
        ),
        ((PROVING, LISTED), invite(), 5070, "", "listed"),
        ((LISTED, PROVING), invite(), 5070, "prover", "proving"),
        ((LISTED, PROVING), invite(caller="sip:prover@x"), 5070, "", "proving"),
        ((LISTED, PROVING), invite(), 5070, "somebody", "listed"),
    ],
)  # fmt: skip
def test_trunks_at_one_address_are_told_apart(
    trunks: Sequence[TrunkAddress], request_: Request, port: int, user: str, expected: str
) -> None:
    def known(number: str, account: str) -> bool:
        return (number, account) == ("77", "other")

    sources = [trunk.source() for trunk in trunks]
    assert likeliest(sources, request_, port, user, known).name == expected


CARRIER = "127.0.0.1"
"""Where everybody's provider is."""


@pytest.mark.parametrize(
    ("trunk", "ruri", "user", "brings"),
    [
        (TrunkAddress("x", CARRIER), "sip:+39011@here", "", True),
        (TrunkAddress("x", CARRIER, believed=()), "sip:+39011@here", "", False),
        (TrunkAddress("x", CARRIER, believed=(ip_network("127.0.0.0/30"),)), "sip:+39011@here", "", True),
        (TrunkAddress("x", CARRIER, believed=(ip_network("192.0.2.0/24"),)), "sip:+39011@here", "", False),
        (TrunkAddress("x", CARRIER, user="+39011", registers=True, believed=()), "sip:+39011@here", "", False),
        (TrunkAddress("x", CARRIER, line="abc", registers=True, believed=()), "sip:+39011@here;line=abc", "", True),
        (TrunkAddress("x", CARRIER, line="abc", registers=True, believed=()), "sip:+39011@here;line=%C3%A9", "", False),
        (TrunkAddress("x", CARRIER, registers=True, believed=()), "sip:+39011@here;line", "", False),
        (TrunkAddress("x", CARRIER, by_digest=True, user="me", password="x", believed=()), "sip:1@here", "me", True),
        (TrunkAddress("x", CARRIER, by_digest=True, user="1", password="x", believed=()), "sip:1@here", "", False),
    ],
)
async def test_what_tells_that_a_call_is_a_customers(trunk: TrunkAddress, ruri: str, user: str, brings: bool) -> None:
    book = TrunkBook([trunk])
    await book.resolve()
    request = Request("INVITE", ruri, Headers([("From", "<sip:1@there>;tag=1"), ("To", "<sip:+39011@here>")]))
    assert bool(book.bringing(request, "::ffff:127.0.0.1", user)) == brings
    assert book.bringing(request, "127.0.0.2", user) == ()


@pytest.mark.parametrize(
    "thief",
    [
        TrunkAddress("thief", CARRIER, account="thief", numbers=("+39011",)),
        TrunkAddress("thief", CARRIER, account="thief", user="+39011", registers=True),
        TrunkAddress("thief", CARRIER, account="thief", numbers=("+39011",), user="+39011", registers=True),
    ],
)
@pytest.mark.parametrize(
    "rightful", [TrunkAddress("rightful", CARRIER, account="owner"), TrunkAddress("rightful", CARRIER)]
)
def test_a_call_is_for_who_has_the_number_and_not_for_who_names_it(thief: TrunkAddress, rightful: TrunkAddress) -> None:
    """Also where both accounts may have calls from that address, and the other one answers all numbers."""
    plan = Dialplan(
        NumberPlan([("+39011", "owner")]),
        {"owner": NumberPlan([("+39011", "owner")]), "thief": NumberPlan([("*", "thief")])},
    )

    def known(number: str, account: str) -> int:
        if plan.held(number) is not None and account in ("", plan.held(number)):
            return 2
        return int(plan.find(number, account) is not None)

    sources = [thief.source(), rightful.source()]
    assert likeliest(sources, invite(), 5060, "", known).name == "rightful"


def test_a_line_says_more_than_all_else() -> None:
    request_ = Request("INVITE", "sip:77@192.0.2.1;line=abc", invite().headers)
    lined = TrunkAddress("lined", CARRIER, account="one", line="abc", registers=True, user="x")
    sources = [TrunkAddress("any", CARRIER, numbers=("77",)).source(), lined.source()]
    assert likeliest(sources, request_, 5060, "", lambda _number, account: 2 if not account else 0).name == "lined"


def test_addresses_have_one_spelling():
    assert plain_address("[fe80::1%eth0]") == "fe80::1"
    assert plain_address("::ffff:10.0.0.1") == "10.0.0.1"
    assert plain_address("pbx.example") == "pbx.example"
