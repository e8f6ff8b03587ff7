"""SIPp calls: offers, answers and their ACKs, CANCEL and BYE at every moment, registrations, subscriptions, nonsense.

Every scenario is a file in ``scenarios/caller`` that says which rule it is about; its end is asserted on both sides.
"""

from __future__ import annotations

import hashlib

import pytest
from kit import sipp
from kit.cases import NO_CALL, Case, Fleet, check
from kit.trees import path

KEYED = {"by": "flow", "path": path("key:7")}
"""The caller was heard to the end: a key that the flow waits for."""
HUNG_UP = {"by": "caller", "reason": "hung up"}
EXPIRED = {"by": "error", "reason": "the session timer expired"}
CANCELLED = {"by": "caller", "reason": "cancelled before the answer"}
HERE = "sip:[service]@[remote_ip]:[remote_port]"
ALLOW = "Allow: INVITE"


def refused(variant: str, status: int, *, header: str = "Subject: none", uri: str = HERE, answer: str = "SIP") -> Case:
    """An INVITE that never becomes a call."""
    fill = {"STATUS": str(status), "HEADER": header, "URI": uri, "ANSWER": answer, "WHAT": variant}
    return Case("caller/invite_is_refused", NO_CALL, f"{status}_{variant}", fill=fill)


def outside(method: str, status: int, *, header: str = "Subject: none", answer: str = ALLOW) -> Case:
    """A request that belongs to no call."""
    fill = {"METHOD": method, "STATUS": str(status), "HEADER": header, "ANSWER": answer}
    return Case("caller/request_outside_of_calls", NO_CALL, f"{status}_{method}", fill=fill)


def within(variant: str, method: str, status: int, *, cseq: int = 2, header: str = "Subject: none") -> Case:
    """A request that a call survives."""
    fill = {"METHOD": method, "STATUS": str(status), "CSEQ": str(cseq), "HEADER": header}
    return Case("caller/request_within_a_call_is_refused", KEYED, f"{status}_{variant}", fill=fill)


def key_pcap(event_type: int) -> bytes:
    """A capture with key 7."""
    return sipp.dtmf_pcap("7", event_type=event_type)


def stale_response(device: str) -> str:
    """The request-digest of RFC 3261 22.4 for a nonce that was never given out."""

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode()).hexdigest()

    return md5(md5(device, "ivrea", "secret"), "0-0", md5("REGISTER", "sip:ivrea.example"))


STALE = stale_response("register_with_a_stale_nonce_is_told_so")
CASES = [
    # ACK
    Case("caller/ack_comes_late", KEYED, repeated="CSeq: 1 INVITE"),
    Case("caller/ack_is_lost", KEYED, repeated="CSeq: 1 INVITE"),
    Case("caller/ack_comes_twice", KEYED),
    Case("caller/ack_never_comes", {"by": "error", "reason": "the answer was not acknowledged"}, patience=45),
    Case("caller/bye_comes_before_the_ack", HUNG_UP),
    # offers
    Case("caller/invite_without_offer", KEYED),
    Case("caller/invite_without_offer_gets_no_answer", {"by": "error"}),
    Case("caller/offer_is_refused_with_488", {"by": "error"}, "codec", fill={"MEDIA": "audio 40000 RTP/AVP 18"}),
    Case("caller/offer_is_refused_with_488", {"by": "error"}, "video", fill={"MEDIA": "video 40000 RTP/AVP 96"}),
    Case("caller/offer_is_refused_with_488", {"by": "error"}, "srtp", fill={"MEDIA": "audio 40000 RTP/SAVP 0"}),
    Case("caller/video_is_declined_in_place", HUNG_UP),
    Case("caller/body_of_another_type_gets_415", NO_CALL),
    Case("caller/reinvite_without_offer", KEYED),
    Case("caller/reinvite_with_unknown_codec_changes_nothing", KEYED),
    Case("caller/reinvite_before_the_ack_gets_491", KEYED),
    Case("caller/bye_in_flight_of_a_reinvite", HUNG_UP, held=2),
    *(
        Case("caller/hold_and_resume", KEYED, held, fill={"HELD": held, "ANSWER": answer})
        for held, answer in (("sendonly", "recvonly"), ("inactive", "inactive"), ("recvonly", "sendonly"))
    ),
    Case("caller/hold_by_the_address_0000", KEYED),
    pytest.param(
        Case("caller/telephone_event_changes_its_number", {"path": path("key:7")}, files={"key.pcap": key_pcap(96)}),
        marks=pytest.mark.peer("raw-sockets"),
    ),
    # CANCEL and BYE
    Case("caller/cancel_while_it_rings", CANCELLED, number="rings"),
    Case("caller/cancel_comes_right_behind_the_invite", CANCELLED, number="rings", held=0),
    Case("caller/cancel_comes_after_the_200", KEYED),
    Case("caller/cancel_of_nothing_gets_481", NO_CALL),
    Case("caller/bye_while_it_rings", {"by": "caller"}, number="rings"),
    Case("caller/bye_carries_the_cause", {"by": "caller", "reason": "hung up: line cut"}),
    Case("caller/bye_of_ours_is_lost", {"by": "flow"}, number="brief", repeated="BYE sip:"),
    Case("caller/byes_cross", {"by": "flow"}, number="brief", held=2),
    Case("caller/invite_expires_while_it_rings", {"by": "error", "reason": "the INVITE expired"}, number="rings"),
    # what is refused, and what is taken all the same
    refused("unknown_number", 404, uri="sip:nobody@[remote_ip]:[remote_port]"),
    refused("unknown_scheme", 416, uri="http://example.com/"),
    refused("unknown_extension", 420, header="Require: 100rel, teleport", answer="Unsupported: teleport"),
    refused("accept_without_sdp", 406, header="Accept: text/plain"),
    refused("replaces_of_nothing", 481, header="Replaces: nothing@sipp;to-tag=a;from-tag=b"),
    Case("caller/invite_without_from_gets_400", NO_CALL),
    Case("caller/invite_without_contact_gets_400", NO_CALL),
    Case("caller/invite_that_came_two_ways_gets_482", HUNG_UP, held=0),
    Case("caller/compact_and_folded_headers", KEYED),
    Case("caller/huge_headers", KEYED, "udp", fill={"SIZE": "9,000", "SUBJECT": "very " * 1800}),
    Case("caller/huge_headers", KEYED, "tcp", fill={"SIZE": "30,000", "SUBJECT": "very " * 6000}, transport="t1"),
    Case("caller/max_forwards_zero_is_for_us", HUNG_UP),
    *(
        Case("caller/request_of_no_dialog_gets_481", NO_CALL, method, fill={"METHOD": method})
        for method in ("BYE", "INFO", "UPDATE", "PRACK", "INVITE")
    ),
    outside("OPTIONS", 200),
    outside("PUBLISH", 405),
    outside("MESSAGE", 405),
    outside("DANCE", 501),
    outside("REFER", 403, header="Refer-To: <sip:x@example.com>", answer="SIP"),
    Case("caller/options_within_a_call", KEYED),
    within("unknown_method", "DANCE", 501),
    within("unknown_extension", "OPTIONS", 420, header="Require: teleport"),
    within("out_of_order", "OPTIONS", 500, cseq=0),
    Case("caller/request_of_another_from_tag_gets_481", KEYED),
    Case("caller/keys_by_info_of_every_kind", {"path": path("key:1", "key:2", "key:3")}, number="every"),
    # session timers, 100rel, UPDATE
    Case("caller/session_timer_that_is_too_brief_gets_422", HUNG_UP),
    Case(
        "caller/session_timer_expires",
        {"by": "error", "reason": "the session timer expired"},
        patience=75,
        number="stays",
    ),
    Case("caller/session_is_refreshed_by_update", HUNG_UP, patience=60, number="stays"),
    Case("caller/offers_cross_in_update_and_reinvite", HUNG_UP, patience=60, number="stays"),
    Case("caller/early_media_is_acknowledged_by_prack", {"by": "flow"}, number="early"),
    Case("caller/prack_comes_late", {"by": "flow"}, number="early", repeated="RSeq:"),
    Case("caller/prack_never_comes", {"by": "error"}, number="rings", patience=45),
    Case("caller/prack_of_another_response_gets_481", {"by": "flow"}, number="early"),
    Case("caller/update_before_the_answer", {"by": "flow"}, number="early"),
    # the way
    Case("caller/call_moves_to_another_port", KEYED, moves=1),
    Case("caller/invite_in_pieces", KEYED, transport="t1", in_pieces=True),
    Case("caller/connection_closes_after_the_invite", {"by": "error"}, transport="t1", patience=45),
    # devices
    Case("caller/register_two_contacts_and_sign_off", NO_CALL, devices=True),
    Case("caller/register_wildcard_without_expires_gets_400", NO_CALL, devices=True),
    Case("caller/register_too_briefly_gets_423", NO_CALL, devices=True),
    Case("caller/register_out_of_order_gets_500", NO_CALL, devices=True),
    Case("caller/register_with_a_wrong_password_gets_403", NO_CALL, devices=True),
    Case("caller/register_with_a_stale_nonce_is_told_so", NO_CALL, devices=True, fill={"RESPONSE": STALE}),
    Case("caller/subscribe_to_dialogs_and_leave", NO_CALL, devices=True, login="watched"),
    Case("caller/subscribe_to_something_else_gets_489", NO_CALL, devices=True, login="watched"),
    Case("caller/device_calls_with_its_password", KEYED, devices=True, login="keys", house="closed"),
    Case("caller/device_calls_with_a_wrong_password", NO_CALL, devices=True, login="keys", house="closed"),
]


@pytest.mark.peer("sipp")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_sipp_calls(fleet: Fleet, case: Case) -> None:
    check(case, fleet.result(case))
