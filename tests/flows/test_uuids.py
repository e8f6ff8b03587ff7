"""Ids of calls and of their parts as UUIDs, and back."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.uuids import Part, dashed, digits_of, leg_uuid, part_of, recording_uuid, uuid_of

CALL = "de3ed163d5fc45f4b8c47eea7458c635"


def test_a_call_is_the_same_number() -> None:
    assert dashed(CALL) == "de3ed163-d5fc-45f4-b8c4-7eea7458c635"
    assert digits_of(dashed(CALL).upper()) == CALL
    assert uuid_of(CALL) == dashed(CALL)


@pytest.mark.parametrize("text", ["", "x", CALL[:-1], "de3ed163-d5fc45f4b8c4-7eea7458c635", f"{CALL}\n", "١" * 32])
def test_what_is_no_uuid(text: str) -> None:
    assert digits_of(text) == ""
    assert dashed(text) == text
    assert uuid_of(text) == text
    assert part_of(CALL, digits_of(text)) is None


@given(st.uuids(version=4), st.integers(0, 0x7FFE), st.integers(0, 0x7FFF))
def test_parts_are_found_again(call: uuid.UUID, leg: int, recording: int) -> None:
    for made, kind, number in (
        (leg_uuid(call.hex, leg), "leg", leg),
        (recording_uuid(call.hex, recording), "recording", recording),
    ):
        assert uuid.UUID(made).version == 4
        assert made != str(call)
        assert part_of(call.hex, digits_of(made)) == Part(kind, call.hex, number)  # type: ignore[arg-type]


def test_names_of_parts() -> None:
    assert uuid_of(f"{CALL}-leg2") == leg_uuid(CALL, 2)
    assert uuid_of(f"{CALL}-3") == recording_uuid(CALL, 3)
    assert len({leg_uuid(CALL), leg_uuid(CALL, 1), recording_uuid(CALL), recording_uuid(CALL, 1), dashed(CALL)}) == 5
    assert part_of(CALL, digits_of(dashed(CALL))) is None
    assert part_of(CALL, uuid.uuid4().hex) is None
