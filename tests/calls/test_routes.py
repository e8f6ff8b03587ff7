"""Where the targets of a dial are, and where a redirection may lead."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.accounts.entities import Account
from engine.calls.allowance import Allowance
from engine.calls.identity import Caller
from engine.calls.peer import Destination, Redirects
from engine.calls.routes import Routes
from engine.calls.spending import Spent
from engine.calls.trunking import OutboundTrunk
from engine.sip.flow import Flow
from engine.sip.uri import Address, Uri
from flows.orders import Dial, Target

PROXY = Address.parse("<sip:192.0.2.50;lr>")


def binding(name: str, host: str, path: tuple[Address, ...] = ()) -> Any:
    flow = Flow("udp", ("192.0.2.9", 5060), (host, 5060))
    return SimpleNamespace(contact=Uri.parse(f"sip:{name}@{host}"), flow=flow, domain="pbx.example", path=path)


def routes(redirects: Redirects = "no", **trunk: Any) -> Routes:
    places = {
        "desk": [binding("desk", "192.0.2.1"), binding("desk", "192.0.2.2", (PROXY,))],
        "attic": [binding("attic", "192.0.2.3")],
    }
    registrar = SimpleNamespace(
        password=lambda name: "x" if name in places else None, bindings=lambda name: places.get(name, [])
    )
    trunks = [
        OutboundTrunk("t", Flow("udp", ("", 0), ("t.example", 5060)), order=1, label="acme/t", channels=3, **trunk),
        OutboundTrunk("u", Flow("udp", ("", 0), ("u.example", 5060)), order=2),
    ]
    return Routes(
        cast("Any", registrar),
        lambda _flow: ("192.0.2.9", 5060),
        trunks,
        extensions={"201": ("attic",)},
        redirects={"desk": redirects},
    )


ANNA = Caller("100", "Anna")


def find(kind: Any, value: str, there: Routes) -> list[list[Destination]]:
    return there.find(Target(kind=kind, value=value), Dial(targets=()), ANNA)


def test_every_place_of_a_device_rings_at_once_those_behind_proxies_by_them() -> None:
    first, second = find("device", "desk", routes())
    assert [str(each.uri) for each in (*first, *second)] == ["sip:desk@192.0.2.1", "sip:desk@192.0.2.2"]
    assert [each.route for each in (*first, *second)] == [(), (PROXY,)]
    assert {str(each.to) for each in (*first, *second)} == {"<sip:desk@pbx.example>"}


def test_a_trunk_that_does_not_answer_is_tried_last() -> None:
    (line,) = find("number", "+39011", routes())
    assert [each.trunk for each in line] == ["t", "u"]
    assert line[0].line is not None
    assert (line[0].line.trunk, line[0].line.most) == ("acme/t", 3)
    (line,) = find("number", "+39011", routes(down=True))
    assert [each.trunk for each in line] == ["u", "t"]


def test_the_number_that_a_user_chose_is_shown_outside_unless_the_flow_or_the_caller_say_otherwise() -> None:
    there = routes(caller_id="+39000")
    there.shown = {"desk": "+39099"}

    def seen(caller: Caller, **order: Any) -> list[str]:
        (line,) = there.find(Target(kind="number", value="+39011"), Dial(targets=(), **order), caller)
        return [each.caller.uri.user or "" for each in line]

    assert seen(Caller("desk", "Anna")) == ["+39099", "+39099"], "also where the trunk has a number of its own"
    assert seen(Caller("attic")) == ["+39000", "attic"]
    assert seen(Caller("desk"), caller_id="+39055") == ["+39055", "+39055"]
    assert "+39099" not in seen(Caller("desk", withheld=True))
    ((place,), _) = there.find(Target(kind="device", value="desk"), Dial(targets=()), Caller("desk"))
    assert place.caller.uri.user == "desk", "inside it stays who it is"


def test_through_an_outbound_proxy_the_number_stays_the_trunks() -> None:
    proxied = {"domain": ("udp", "t.example", 0), "route": (PROXY,)}
    (line,) = find("number", "+39011", routes(**proxied))
    assert (str(line[0].uri), line[0].route, line[0].flow.remote) == (
        "sip:+39011@t.example", (PROXY,), ("t.example", 5060),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("allowed", "uri", "expected"),
    [
        ("no", "sip:201@192.0.2.9", []),
        ("inside", "sip:201@192.0.2.9", ["attic"]),
        ("inside", "sip:201@pbx.example;transport=tcp", ["attic"]),
        ("inside", "sip:201@elsewhere.example", []),
        ("inside", "sip:+39011@192.0.2.9", []),
        ("numbers", "sip:+39011@192.0.2.9", ["+39011 via t", "+39011 via u"]),
        ("numbers", "sip:bob@elsewhere.example", []),
        ("any", "sip:bob@elsewhere.example", ["sip:bob@elsewhere.example"]),
        ("any", "tel:+39011", []),
    ],
)
def test_a_telephone_forwards_as_far_as_it_may(allowed: Redirects, uri: str, expected: list[str]) -> None:
    there = routes(allowed)
    origin = find("device", "desk", there)[0][0]
    found = there.follow(origin, Uri.parse(uri), Dial(targets=()), ANNA)
    assert [each.label for line in found for each in line] == expected


def test_a_flow_that_wants_forwards_gets_those_to_telephones() -> None:
    there = routes()
    origin = find("device", "desk", there)[0][0]
    order = Dial(targets=(), ignore_forwards=False)
    for uri, expected in (("sip:201@pbx.example", ["attic"]), ("sip:+39011@pbx.example", [])):
        found = there.follow(origin, Uri.parse(uri), order, ANNA)
        assert [each.label for line in found for each in line] == expected


@pytest.mark.parametrize(
    ("allowed", "uri", "expected"),
    [
        ("no", "sip:+39012@t.example", []),
        ("same", "sip:+39012@t.example", [("+39012 via t", "t", ("t.example", 5060))]),
        ("same", "sip:+39012@T.example:5090", [("+39012 via t", "t", ("T.example", 5090))]),
        ("same", "sip:201@192.0.2.9", []),
        ("same", "sip:+39012@u.example", []),
        ("any", "sip:+39012@u.example", [("sip:+39012@u.example", "", ("u.example", 0))]),
    ],
)
def test_a_trunk_redirects_as_far_as_it_may(
    allowed: Redirects, uri: str, expected: list[tuple[str, str, tuple[str, int]]]
) -> None:
    there = routes(redirects="any", credentials=None)
    there.trunks = [OutboundTrunk("t", Flow("udp", ("", 0), ("t.example", 5060)), redirects=cast("Any", allowed))]
    ((origin,),) = find("number", "+39011", there)
    found = there.follow(origin, Uri.parse(uri), Dial(targets=()), ANNA)
    assert [(each.label, each.trunk, each.flow.remote) for line in found for each in line] == expected
    assert all(each.credentials is None for line in found for each in line if not each.trunk)


def test_what_redirects_leads_nowhere_the_account_may_not_call() -> None:
    there = routes("any")
    there.trunks = [OutboundTrunk("t", Flow("udp", ("", 0), ("t.example", 5060)), redirects="any")]
    account = Account("a", "a", allowed=("+39", "sip:friend.example"))
    there.allowance = Allowance(account, Spent)
    ((trunk,),) = find("number", "+39011", there)
    device = find("device", "desk", there)[0][0]
    wanted = {
        (trunk, "sip:+39012@t.example"): ["+39012 via t"],
        (trunk, "sip:+44@t.example"): [],
        (trunk, "sip:bob@elsewhere.example"): [],
        (trunk, "sip:bob@friend.example"): ["sip:bob@friend.example"],
        (device, "sip:+39011@pbx.example"): ["+39011 via t"],
        (device, "sip:+44@pbx.example"): [],
        (device, "sip:201@pbx.example"): ["attic"],
        (device, "sip:+39011@elsewhere.example"): [],
    }
    for (origin, uri), expected in wanted.items():
        found = there.follow(origin, Uri.parse(uri), Dial(targets=()), ANNA)
        assert [each.label for line in found for each in line] == expected, uri


def test_trunks_of_one_order_share_the_calls_by_weight() -> None:
    there = routes()
    there.trunks = [
        OutboundTrunk(name, Flow("udp", ("", 0), (f"{name}.example", 5060)), order=order, weight=weight)
        for name, order, weight in (("spare", 1, 0), ("one", 1, 1), ("three", 1, 3), ("last", 2, 9))
    ]
    firsts: Counter[str] = Counter()
    for _ in range(2000):
        (line,) = find("number", "+39011", there)
        firsts[line[0].trunk] += 1
        assert [each.trunk for each in line[2:]] == ["spare", "last"]
    assert set(firsts) == {"one", "three"}
    assert 0.70 < firsts["three"] / 2000 < 0.80, "three of four; six standard deviations are 0.06"


def test_a_telephone_that_forwards_to_a_number_outside_is_told_to_the_trunk() -> None:
    there = routes("numbers", history="diversion")
    there.extensions = {"202": ("desk",)}
    origin = find("device", "desk", there)[0][0]
    ((first, second),) = there.follow(origin, Uri.parse("sip:+39011@pbx.example"), Dial(targets=()), ANNA)
    assert dict(first.headers) == {"Diversion": "<sip:202@192.0.2.9>;reason=unknown;counter=1;privacy=off"}
    assert second.headers == ()
