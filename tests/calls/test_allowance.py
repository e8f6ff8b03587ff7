"""Where calls may go, and what they have cost: rules without a network."""

from __future__ import annotations

from typing import Any, cast

import pytest

from engine.accounts.entities import Account
from engine.callbacks import records
from engine.calls.allowance import Allowance, NotAllowed
from engine.calls.identity import CameFrom
from engine.calls.spending import DAY, Spending, Spent
from engine.sip.uri import Uri

NOTHING = Spent()


def allowance(spent: Spent = NOTHING, **account: Any) -> Allowance:
    return Allowance(Account("a", "a", **account), lambda: spent)


def refused(check: Any, *arguments: object) -> str:
    """The code of the refusal; empty when there is none."""
    try:
        check(*arguments)
    except NotAllowed as error:
        return f"{error.status} {error.code}"
    return ""


def test_what_may_be_called() -> None:
    free, bound = allowance(), allowance(allowed=("+39", "0", "sip:pbx.example"))
    assert not refused(free.check_number, "+44", "")
    assert not refused(free.check_uri, Uri.parse("sip:a@b"), "")
    assert [refused(bound.check_number, number, "") for number in ("+39011", "0039")] == ["", ""]
    assert [refused(bound.check_number, number, "") for number in ("+44", "39", "", "+3", "sip:pbx.example")] == [
        "403 target_refused"
    ] * 5
    assert not refused(bound.check_uri, Uri.parse("sip:anyone@PBX.example:5070"), "")
    assert refused(bound.check_uri, Uri.parse("sip:+39@elsewhere.example"), "") == "403 target_refused"


def test_whom_callers_may_be_sent_to() -> None:
    bound = allowance(allowed=("+39", "sip:pbx.example"))
    assert [refused(bound.check_transfer, to) for to in ("+39011", "sip:+39011@any", "sip:x@pbx.example")] == [""] * 3
    wrong = ("+44", "sip:+44@any", "tel:+44", "sip:", "mailto:x")
    assert [refused(bound.check_transfer, to) for to in wrong] == ["403 target_refused"] * len(wrong)
    assert not refused(allowance().check_transfer, "+44")


@pytest.mark.parametrize(
    ("relay", "may"),
    [("no", [True, False, False]), ("trunks", [True, True, False]), ("any", [True, True, True])],
)
def test_who_may_be_relayed(relay: str, may: list[bool]) -> None:
    rules = allowance(relay=relay)
    sources = cast("list[CameFrom]", ["", "trunk", "anyone"])
    assert [not refused(rules.check_number, "1", source) for source in sources] == may
    assert [not refused(rules.check_uri, Uri.parse("sip:a@b"), source) for source in sources] == may


def test_caps_of_a_day() -> None:
    assert not refused(allowance(Spent(1, 59.0), calls_per_day=2, minutes_per_day=1).check_number, "1", "")
    assert refused(allowance(Spent(2), calls_per_day=2).check_number, "1", "") == "429 daily_limit"
    assert (
        refused(allowance(Spent(0, 60.0), minutes_per_day=1).check_uri, Uri.parse("sip:a@b"), "") == "429 daily_limit"
    )


def test_what_is_spent_is_counted_by_account_and_day() -> None:
    now = 10 * DAY + 100.0
    spending = Spending(lambda: now)
    spending.take_over([("one", 3, 30.0)])
    for call, account in (("c1", "one"), ("c2", "two")):
        spending.watch(records.CallStarted(now, call=call, caller="", callee="", account=account))
    spending.watch(records.LegStarted(now, call="c1", leg="l1", to="+39 via t", trunk="t"))
    spending.watch(records.LegStarted(now, call="c1", leg="l2", to="desk"))
    spending.watch(records.LegStarted(now, call="c2", leg="l3", to="sip:a@b"))
    spending.watch(records.LegAnswered(now, call="c1", leg="l1", dialog={}))
    spending.watch(records.LegAnswered(now, call="c1", leg="l2", dialog={}))
    now += 20
    assert spending.today("one") == Spent(4, 50.0)
    spending.watch(records.LegFinished(now, call="c1", leg="l1", by="remote", reason="", duration=20.0))
    assert (spending.today("one"), spending.today("two")) == (Spent(4, 50.0), Spent(1, 0.0))
    spending.watch(records.LegAnswered(now, call="c2", leg="l3", dialog={}))
    now = 11 * DAY + 5.0
    assert (spending.today("one"), spending.today("two")) == (Spent(0, 0.0), Spent(0, 5.0))
    spending.watch(records.CallFinished(now, call="c2", by="caller", reason=""))
    now += 60
    assert spending.today("two") == Spent(0, 5.0)
