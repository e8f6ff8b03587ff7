"""Who is offered encrypted sound, who may go without, and what a refusal of it leads to."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.accounts import entities as e
from engine.calls.dialling import Dialling
from engine.calls.directory import AccountTrunk, Directory
from engine.calls.identity import Caller
from engine.calls.peer import Destination, PeerEnd
from engine.calls.routes import Routes
from engine.calls.trunking import OutboundTrunk
from engine.config import Config, TrunkConfig
from engine.security import MediaSecurity, Policy, SrtpPolicies
from engine.sip.flow import Flow
from engine.sip.uri import Address, Uri
from flows.orders import Dial, Target

UDP = Flow("udp", ("192.0.2.9", 5060), ("192.0.2.1", 5060))
TLS = Flow("tls", ("192.0.2.9", 5061), ("192.0.2.1", 40000), 7)


@pytest.mark.parametrize(
    ("policy", "flow", "without_tls", "keys", "plain"),
    [
        ("off", TLS, True, False, True),
        ("optional", TLS, False, True, True),
        ("optional", UDP, False, False, True),
        ("optional", UDP, True, True, True),
        ("required", TLS, False, True, False),
        ("required", UDP, False, False, False),
        ("required", UDP, True, True, False),
    ],
)
def test_what_a_policy_comes_to(policy: Policy, flow: Flow, without_tls: bool, keys: bool, plain: bool) -> None:
    assert SrtpPolicies(policy, without_tls).allowed(policy, flow) == MediaSecurity(keys, plain)


def test_policies_of_what_is_in_the_database() -> None:
    """Trunks of other accounts than that of the file by their labels."""
    settings = {"a": {"srtp": "required"}, "b": {}, "c": {"srtp": "nonsense"}}
    devices = {name: e.Device(name, "default", "api", 0.0, name, each) for name, each in settings.items()}
    trunk = TrunkConfig.model_validate({"name": "a", "host": "tls:h.example", "srtp": "optional"})
    trunks = (AccountTrunk("default", trunk, shared=False), AccountTrunk("other", trunk, shared=False))
    policies = Directory(devices=devices, trunks=trunks).srtp(Config.given({"rtp": {"srtp": "off"}}).rtp)
    sources = ("device", "a"), ("device", "b"), ("device", "c"), ("trunk", "a"), ("trunk", "other/a"), ("anyone", "a")
    found = [policies.of_source(*source) for source in sources]
    assert found == ["required", "off", "off", "optional", "optional", "off"]


def routes(policies: SrtpPolicies, flow: Flow) -> Routes:
    binding = SimpleNamespace(contact=Uri.parse("sip:a@192.0.2.1"), flow=flow, domain="", path=())
    registrar = SimpleNamespace(password=lambda _name: "x", bindings=lambda _name: [binding])
    trunks = [
        OutboundTrunk("t", Flow("tls", ("", 0), ("t.example", 5061))),
        OutboundTrunk("u", Flow("udp", ("", 0), ("u.example", 5060))),
    ]
    return Routes(cast("Any", registrar), lambda _flow: ("192.0.2.9", 5060), trunks, policies=policies)


def offers(found: list[list[Destination]]) -> list[tuple[bool, bool]]:
    """Of one line: whether SRTP is offered, and whether only after a refusal."""
    (line,) = found or [[]]
    return [(each.srtp, each.fallback) for each in line]


@pytest.mark.parametrize(
    ("policy", "flow", "expected"),
    [
        ("optional", TLS, [(True, False), (False, True)]),
        ("optional", UDP, [(False, False)]),
        ("required", TLS, [(True, False)]),
        ("required", UDP, []),
        ("off", TLS, [(False, False)]),
    ],
)
def test_telephones(policy: Policy, flow: Flow, expected: list[tuple[bool, bool]]) -> None:
    order = Dial(targets=())
    found = routes(SrtpPolicies(devices={"a": policy}), flow).find(Target(kind="device", value="a"), order, Caller("1"))
    assert offers(found) == expected


def test_trunks_are_offered_what_is_said_of_them() -> None:
    def numbers(policies: SrtpPolicies) -> list[tuple[str, bool, bool]]:
        """The number is no telephone's."""
        there = routes(policies, TLS)
        there.registrar.password = lambda _name: None  # type: ignore[method-assign]
        ((*line,),) = there.find(Target(kind="number", value="+39"), Dial(targets=()), Caller("1"))
        return [(each.trunk, each.srtp, each.fallback) for each in line]

    assert numbers(SrtpPolicies()) == [("t", False, False), ("u", False, False)]
    assert numbers(SrtpPolicies("required")) == [("t", True, False)]
    assert numbers(SrtpPolicies(trunks={"t": "optional"})) == [
        ("t", True, False),
        ("t", False, True),
        ("u", False, False),
    ]


def test_a_sips_uri_goes_by_tls_and_is_asked_for_encryption() -> None:
    (line,) = routes(SrtpPolicies(), UDP).find(
        Target(kind="uri", value="sips:bob@h.example"), Dial(targets=()), Caller("1")
    )
    assert [each.flow for each in line] == [Flow("tls", ("", 0), ("h.example", 0))] * 2
    assert offers([line]) == [(True, False), (False, True)]


class Phones:
    """A house whose peers end at once, each with the next of ``statuses``."""

    def __init__(self, line: list[Destination], statuses: list[int]) -> None:
        self.line, self.statuses = line, statuses
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None

    def find(self, target: Target, order: Dial) -> list[list[Destination]]:
        return [self.line]

    async def make_peer(self, destination: Destination) -> Any:
        self.called.append(destination.label)
        changed = asyncio.Event()
        changed.set()
        return SimpleNamespace(state="ended", claim=None, end=PeerEnd(self.statuses.pop(0), "no"), changed=changed)

    async def located(self, destination: Destination) -> list[Destination]:
        return [destination]

    async def forget(self, peer: Any) -> None:
        pass

    async def ring_back(self, media: str) -> None:
        pass

    async def unless_over(self, work: asyncio.Task[Any]) -> Any:
        return await work


def destination(label: str, *, fallback: bool = False) -> Destination:
    uri = Uri.parse("sip:a@h")
    return Destination(label, uri, UDP, Address(uri), Address(uri), fallback=fallback)


@pytest.mark.parametrize(
    ("statuses", "called"),
    [
        ([488, 200], ["t", "t plain"]),
        ([606, 503, 486], ["t", "t plain", "u"]),
        ([503, 486], ["t", "u"]),
        ([486], ["t"]),
        ([488, 488], ["t", "t plain"]),
    ],
)
async def test_after_a_refusal_of_encryption_the_same_is_called_without(statuses: list[int], called: list[str]) -> None:
    line = [destination("t"), destination("t plain", fallback=True), destination("u")]
    phones = Phones(line, list(statuses))
    await Dialling(Dial(targets=(Target(kind="uri", value="x"),)), cast("Any", phones)).run()
    assert phones.called == called
