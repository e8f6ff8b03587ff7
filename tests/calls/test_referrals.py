"""REFER from telephones, as far as the account's allow-list has a say: telephones that only pretend."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.accounts.entities import Account
from engine.calls.allowance import Allowance
from engine.calls.referrals import follow_referral
from engine.calls.routes import Routes
from engine.calls.spending import Spent
from engine.calls.trunking import OutboundTrunk
from engine.sip.flow import Flow
from engine.sip.uri import Uri


def bound(*allowed: str) -> Routes:
    registrar = SimpleNamespace(password=lambda name: None, bindings=lambda name: [])
    trunk = OutboundTrunk("t", Flow("udp", ("", 0), ("t.example", 5060)))
    routes = Routes(cast("Any", registrar), lambda _flow: ("192.0.2.9", 5060), [trunk])
    routes.allowance = Allowance(Account("a", "a", allowed=allowed), Spent)
    return routes


@pytest.mark.parametrize(
    ("target", "told", "asked"),
    [
        ("sip:+44113@192.0.2.9", [403], 0),
        ("tel:+44113", [403], 0),
        ("sip:+39011@elsewhere.example", [403], 0),
        ("sip:+39011@192.0.2.9", [], 1),
        ("sip:anyone@friend.example", [], 1),
    ],
)
async def test_a_telephone_hands_nobody_on_to_where_the_account_may_not_call(
    target: str, told: list[int], asked: int
) -> None:
    heard: list[int] = []
    changes: list[Any] = []
    routes = bound("+39", "sip:friend.example")
    log = SimpleNamespace(warning=lambda *_, **__: None, info=lambda *_, **__: None)
    call = SimpleNamespace(
        id="c1",
        conversation=SimpleNamespace(ask=changes.append, changing=False, peer=SimpleNamespace(id="c1-leg1")),
        session=SimpleNamespace(dialog=SimpleNamespace(local_uri=Uri.parse("sip:1000@pbx.example"))),
        line_device="desk",
        line_name="201",
        plan=SimpleNamespace(account="a"),
        outside=SimpleNamespace(
            routes=lambda account: routes,
            plan=lambda number, account: None,
            is_ours=lambda uri: uri.host == "192.0.2.9",
            transfers_outside="telephones",
        ),
        log=log,
        pump=lambda: None,
    )
    referral = SimpleNamespace(
        replaces=None, target=Uri.parse(target), notify=lambda status, now, reason: heard.append(status)
    )
    follow_referral(cast("Any", call), None, cast("Any", referral))
    assert (heard, len(changes)) == (told, asked)
