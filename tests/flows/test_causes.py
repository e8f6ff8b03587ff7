"""Why a call was not connected, and what may help: by the cause that came, else by the status."""

from __future__ import annotations

import pytest

from flows.causes import CAUSES, cause_of, dial_outcome, remedy_of


@pytest.mark.parametrize(
    ("sip", "q850", "name", "remedy"),
    [
        (486, None, "USER_BUSY", "time"),
        (503, 17, "USER_BUSY", "time"),
        (500, 1, "UNALLOCATED_NUMBER", "none"),
        (503, 21, "CALL_REJECTED", "none"),
        (403, 21, "CALL_REJECTED", "none"),
        (403, None, "CALL_REJECTED", "time"),  # it is us whom the trunk refuses
        (480, 20, "SUBSCRIBER_ABSENT", "time"),
        (480, 34, "NORMAL_CIRCUIT_CONGESTION", "way"),
        (404, 3, "NO_ROUTE_DESTINATION", "way"),
        (404, None, "UNALLOCATED_NUMBER", "none"),
        (410, None, "NUMBER_CHANGED", "none"),
        (484, None, "INVALID_NUMBER_FORMAT", "none"),
        (604, None, "UNALLOCATED_NUMBER", "none"),
        (603, None, "CALL_REJECTED", "none"),
        (603, 17, "USER_BUSY", "time"),
        (603, 34, "NORMAL_CIRCUIT_CONGESTION", "none"),  # a 6xx is the last word of who was called
        (600, None, "USER_BUSY", "time"),
        (408, None, "NO_USER_RESPONSE", "way"),
        (408, 18, "NO_USER_RESPONSE", "time"),
        (302, None, "NORMAL_UNSPECIFIED", "time"),
        # numbers that say nothing, and those that nobody knows: the status counts
        (486, 16, "USER_BUSY", "time"),
        (486, 31, "USER_BUSY", "time"),
        (404, 127, "UNALLOCATED_NUMBER", "none"),
        (503, 0, "NORMAL_TEMPORARY_FAILURE", "way"),
        (503, 99, "NORMAL_TEMPORARY_FAILURE", "way"),
        *((status, None, None, "way") for status in (500, 501, 502, 503, 504, 505, 513, 580)),
    ],
)
def test_cause_and_remedy(sip: int, q850: int | None, name: str | None, remedy: str) -> None:
    assert name is None or cause_of(sip, q850).name == name
    assert remedy_of(sip, q850) == remedy


def test_a_cause_that_was_put_down_counts_most() -> None:
    assert cause_of(503, 17, "NO_ANSWER").name == "NO_ANSWER"
    assert cause_of(None, None, None).name == "NORMAL_UNSPECIFIED"
    assert cause_of(200, 16).status == "completed"


def test_numbers_are_told_apart() -> None:
    assert len({cause.q850 for cause in CAUSES}) == len({cause.name for cause in CAUSES}) == len(CAUSES)


def test_facts_have_the_number_that_came() -> None:
    assert dial_outcome(cause_of(503, 17), sip=503, q850=17).exits == ("USER_BUSY", "sip:503", "failed")
    assert dial_outcome(cause_of(480, 31), sip=480, q850=31).facts["q850"] == "31"
    assert dial_outcome(cause_of(480), sip=480).facts["q850"] == "19"
