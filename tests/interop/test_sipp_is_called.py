"""SIPp is called: answers that come early, late, twice, from two places or not at all; challenges and refusals.

Every scenario is a file in ``scenarios/callee``; the call is made by the API, which has to tell how it ended.
"""

from __future__ import annotations

import pytest
from kit import sipp
from kit.cases import Case, Fleet, check
from kit.daemon import ROOT
from kit.trees import path
from test_sipp_calls_us import CASES as CALLERS
from test_sipp_transfers import CASES as TRANSFERS

DONE = {"result": "completed", "end.by": "caller", "end.sip": 200}
"""SIPp hung up."""
OURS = {"result": "completed", "end.by": "flow"}
"""The flow did."""


def refuses(text: str, result: str, cause: str, q850: int) -> Case:
    """A call that is refused, and what is told of it (RFC 3398 7.2.4.1)."""
    status, reason = text.split(maxsplit=1)
    end = {
        "result": result,
        "end.sip": int(status),
        "end.sip_reason": reason,
        "end.cause": cause,
        "end.q850": q850,
        "answered_at": None,
    }
    return Case("callee/refuses", end, status, fill={"STATUS": text})


CASES = [
    Case("callee/answers_and_hangs_up", DONE),
    Case("callee/answers_and_hangs_up", DONE, "tcp", transport="t1"),
    refuses("404 Not Found", "failed", "UNALLOCATED_NUMBER", 1),
    refuses("408 Request Timeout", "no-answer", "NO_USER_RESPONSE", 18),
    refuses("410 Gone", "failed", "NUMBER_CHANGED", 22),
    refuses("480 Temporarily Unavailable", "no-answer", "NO_ANSWER", 19),
    refuses("484 Address Incomplete", "failed", "INVALID_NUMBER_FORMAT", 28),
    refuses("486 Busy Here", "busy", "USER_BUSY", 17),
    refuses("488 Not Acceptable Here", "failed", "INCOMPATIBLE_DESTINATION", 88),
    refuses("500 Server Internal Error", "failed", "NORMAL_TEMPORARY_FAILURE", 41),
    refuses("502 Bad Gateway", "failed", "DESTINATION_OUT_OF_ORDER", 27),
    refuses("503 Service Unavailable", "failed", "NORMAL_TEMPORARY_FAILURE", 41),
    refuses("504 Server Time-out", "failed", "RECOVERY_ON_TIMER_EXPIRE", 102),
    refuses("600 Busy Everywhere", "busy", "USER_BUSY", 17),
    refuses("603 Decline", "failed", "CALL_REJECTED", 21),
    refuses("604 Does Not Exist Anywhere", "failed", "UNALLOCATED_NUMBER", 1),
    Case(
        "callee/refuses_with_a_q850_cause",
        {"result": "no-answer", "end.sip": 480, "end.cause": "SUBSCRIBER_ABSENT", "end.q850": 20},
    ),
    # forks
    Case("callee/rings_in_two_places_and_the_second_answers", DONE),
    Case("callee/answers_in_two_places_and_the_second_is_let_go", DONE),
    Case("callee/early_dialog_ends_with_199", DONE),
    # 100rel
    Case("callee/reliable_183_gets_a_prack", DONE),
    Case("callee/reliable_183_out_of_order_gets_none", DONE),
    # credentials
    Case("callee/asks_for_a_password", DONE, trunk=True),
    Case("callee/nonce_goes_stale", DONE, trunk=True),
    Case("callee/asks_for_a_password_without_end", {"result": "failed", "end.sip": 407}, trunk=True),
    Case("callee/refuses_the_password", {"result": "failed", "end.sip": 407}, trunk=True),
    Case("callee/asks_407_without_a_challenge", {"result": "failed", "end.sip": 407}, trunk=True),
    Case("callee/asks_for_a_password_that_we_lack", {"result": "failed", "end.sip": 407}),
    # 3xx, 422
    Case("callee/redirects", {"result": "failed", "end.sip": 302}),
    Case("callee/session_interval_is_too_small", DONE),
    # answers
    Case("callee/ack_is_lost_and_the_200_comes_again", DONE, transport="t1", repeated="ACK sip:"),
    Case("callee/answers_without_a_description", {"result": "failed", "end.sip": 488}),
    Case("callee/answers_with_a_codec_that_was_not_offered", {"result": "failed", "end.sip": 488}),
    # within the call
    Case("callee/holds_and_resumes", DONE, pause=10),
    Case("callee/refuses_our_hold_with_491_once", DONE, act="hold", pause=20),
    Case("callee/asks_for_our_offer_in_mid_call", DONE, pause=10),
    Case("callee/updates_the_session", DONE, pause=10),
    Case("callee/request_out_of_order_gets_500", DONE, pause=10),
    Case("callee/presses_a_key_by_info", {**OURS, "path": path("key:7")}, flow="keys"),
    Case("callee/route_set_is_followed", OURS),
    Case("callee/refreshes_the_target", OURS),
    # CANCEL and BYE
    Case("callee/is_cancelled_before_it_rings", {"result": "no-answer"}, timeout=1),
    Case("callee/answer_crosses_our_cancel", {"result": "no-answer"}, timeout=1),
    Case("callee/our_bye_gets_481", OURS),
    Case("callee/our_bye_is_never_answered", OURS, patience=40, repeated="BYE sip:"),
    Case("callee/is_never_answered", {"result": "no-answer", "end.sip": 408}, patience=40, timeout=60),
]


@pytest.mark.peer("sipp")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_sipp_is_called(fleet: Fleet, case: Case) -> None:
    check(case, fleet.result(case))


def test_every_scenario_has_a_case_and_says_its_rule() -> None:
    cases = [each if isinstance(each, Case) else each.values[0] for each in (*CASES, *CALLERS, *TRANSFERS)]
    files = [file for kind in ("caller", "callee", "transfer") for file in (sipp.SCENARIOS / kind).glob("*.xml")]
    assert {case.scenario for case in cases if isinstance(case, Case)} == {f"{f.parent.name}/{f.stem}" for f in files}
    assert [file.name for file in files if "<!-- RFC " not in file.read_text()] == []
    page = (ROOT / "docs" / "sip.md").read_text()
    assert [file.stem for file in files if f"| `{file.stem}` |" not in page] == []
