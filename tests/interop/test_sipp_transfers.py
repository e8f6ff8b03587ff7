"""SIPp hands calls on by REFER, and takes them over by INVITEs with Replaces, at every moment.

Every scenario is a file in ``scenarios/transfer``: SIPp is a telephone of the house that talks with another SIPp, in
one dialog or several. Nobody may be left behind: each leg of the call is over in the end, and the call ends once.
"""

from __future__ import annotations

import pytest
from kit.cases import Case, Fleet, check

HUNG_UP = {"by": "caller", "reason": "hung up"}
TRANSFERRED = {"by": "flow", "reason": "transferred"}
HANDED_ON = {"by": "flow"}
"""The call has outlived who began it."""


def refuses_replaces(variant: str, status: int, replaces: str, number: str = "bob", legs: int = 1) -> Case:
    fill = {"STATUS": str(status), "REPLACES": replaces}
    return Case(
        "transfer/replaces_is_refused",
        HUNG_UP,
        f"{status}_{variant}",
        number=number,
        fill=fill,
        devices=True,
        legs=legs,
    )


def refuses_refer(variant: str, status: int, *lines: str) -> Case:
    fill = {"STATUS": str(status), "REFER_TO": "\n      ".join(lines)}
    return Case(
        "transfer/refer_is_refused",
        HUNG_UP,
        f"{status}_{variant}",
        number="bob",
        fill=fill,
        devices=True,
        legs=1,
    )


def transfer(scenario: str, end: dict[str, str], legs: int, number: str = "bob", **more: object) -> Case:
    return Case(f"transfer/{scenario}", end, number=number, legs=legs, devices=True, **more)  # type: ignore[arg-type]


THIS = "[call_id];to-tag=[$one];from-tag=one"
CASES = [
    # Replaces
    transfer("replaces_while_our_bye_is_in_flight", {"by": "flow"}, 0, "brief"),
    transfer("replaces_right_behind_a_bye", HUNG_UP, 1, held=4),
    transfer("replaces_is_overtaken_by_a_bye", HANDED_ON, 3, held=4),
    transfer("replaces_somebody_who_talks", HANDED_ON, 3),
    refuses_replaces("early_only", 486, f"Replaces: {THIS};early-only"),
    *(
        transfer("replaces_who_is_alone_with_a_flow", HUNG_UP, 2, number, variant=number)
        for number in ("stays", "queue", "room")
    ),
    refuses_replaces("another_from_tag", 481, "Replaces: [call_id];to-tag=[$one];from-tag=two"),
    refuses_replaces("no_to_tag", 400, "Replaces: [call_id];from-tag=one"),
    refuses_replaces("twice", 400, f"Replaces: {THIS}\n      Replaces: {THIS}"),
    Case("transfer/replaces_of_a_stranger_gets_403", HUNG_UP, number="bob", legs=1),
    # REFER
    transfer("refer_blind", HANDED_ON, 3, fill={"TARGET": "@BOB@"}, hung_up=True),
    *(
        transfer("refer_blind", TRANSFERRED, 0, number, variant=f"from_{number}", fill={"TARGET": "@CAROL@"})
        for number in ("stays", "queue")
    ),
    transfer("refer_in_a_conference", HUNG_UP, 0, "room"),
    transfer("refer_fails_and_both_talk_on", HUNG_UP, 0, "stays", variant="in_a_menu"),
    transfer("refer_to_nobody_who_talks", HUNG_UP, 0, "stays", variant="404", fill={"TO": "nobody", "TOLD": "404"}),
    transfer("refer_to_nobody_who_talks", HUNG_UP, 0, "stays", variant="603", fill={"TO": "brief", "TOLD": "603"}),
    Case("transfer/refer_of_a_stranger_reaches_nobody_outside", HUNG_UP, "in_a_menu", number="stays", legs=0),
    transfer("refer_and_bye_at_once", HANDED_ON, 3, hung_up=True),
    transfer("refer_fails_and_both_talk_on", HUNG_UP, 3),
    transfer("refer_attended", HANDED_ON, 3, hung_up=True),
    *(
        transfer(f"refer_attended_{way}_a_flow", HANDED_ON, 2, number, variant=number, hung_up=True)
        for way, number in (("to", "stays"), ("from", "stays"), ("to", "queue"), ("from", "room"))
    ),
    transfer("refer_attended_to_a_call_that_is_over", HUNG_UP, 1),
    transfer("refer_without_subscription", HANDED_ON, 3, hung_up=True),
    Case("transfer/refer_of_a_stranger_reaches_nobody_outside", HUNG_UP, number="bob", legs=1),
    refuses_refer("no_target", 400, "Subject: none"),
    refuses_refer("two_targets", 400, "Refer-To: <@BOB@>", "Refer-To: <@BUSY@>"),
    refuses_refer("malformed", 400, "Refer-To: <sip:>"),
    refuses_refer("not_a_call", 416, "Refer-To: <mailto:bob@example.com>"),
    refuses_refer("another_method", 501, "Refer-To: <@BOB@;method=BYE>"),
]


@pytest.mark.peer("sipp")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_sipp_transfers(fleet: Fleet, case: Case) -> None:
    check(case, fleet.result(case))
