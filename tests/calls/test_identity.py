"""Who calls, as it is read and written: RFC 3261, 3323, 3325, 5806, 7044."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.calls.identity import ANONYMOUS, Caller, Diversion, history_headers, read_caller
from engine.calls.trunking import OutboundTrunk
from engine.sip.flow import Flow
from engine.sip.headers import Headers
from engine.sip.message import Request
from engine.sip.uri import Uri

HIDDEN = '"Anonymous" <sip:anonymous@anonymous.invalid>'
OPEN = "Anna <sip:0119@p.example>"


def read(from_: str, *headers: tuple[str, str], trusted: bool = True) -> Caller:
    request = Request("INVITE", "sip:1@here", Headers([("From", f"{from_};tag=1"), ("To", "<sip:1@here>"), *headers]))
    return read_caller(request, trusted=trusted, rules=(("00", "+"), ("0", "+39")))


PAI = ("P-Asserted-Identity", '"Carla" <sip:00441@p.example>, <tel:+441>')


@pytest.mark.parametrize(
    ("from_", "headers", "trusted", "number", "name", "seen"),
    [
        (OPEN, (), True, "+39119", "Anna", "+39119"),
        (OPEN, (PAI,), True, "+441", "Carla", "+441"),
        (OPEN, (PAI,), False, "+39119", "Anna", "+39119"),
        (HIDDEN, (PAI, ("Privacy", "id")), True, "+441", "Carla", ANONYMOUS),
        (HIDDEN, (PAI,), True, "+441", "Carla", ANONYMOUS),
        (OPEN, (PAI, ("Privacy", "none")), True, "+441", "Carla", "+441"),
        (OPEN, (("Privacy", "header; id;critical"),), False, "+39119", "Anna", ANONYMOUS),
        (HIDDEN, (("P-Asserted-Identity", "<tel:+4412>"),), True, "+4412", "", ANONYMOUS),
        (HIDDEN, (PAI,), False, ANONYMOUS, "Anonymous", ANONYMOUS),
        (OPEN, (("P-Asserted-Identity", "<sip:\x01"), ("P-Asserted-Identity", "<mailto:a@b>")), True,
         "+39119", "Anna", "+39119"),
    ],
)  # fmt: skip
def test_what_is_believed(
    from_: str, headers: tuple[tuple[str, str], ...], trusted: bool, number: str, name: str, seen: str
) -> None:
    caller = read(from_, *headers, trusted=trusted)
    assert (caller.number, caller.name, caller.seen) == (number, name, seen)


def test_forwards_before_ours_are_kept_if_they_are_believed() -> None:
    said = [
        ("Diversion", "<sip:0111@x>;reason=user-busy;privacy=full, <tel:+442>;reason=\"no-answer\""),
        ("Diversion", "<sip:3@x>;reason=\"a;b\""),
        ("Diversion", ", ".join(["<sip:4@x>"] * 20)),
    ]  # fmt: skip
    caller = read(OPEN, *said)
    assert caller.diversions == (
        Diversion("+39111", "user-busy", private=True),
        Diversion("+442", "no-answer"),
        Diversion("3", "unknown"),
        Diversion("4", "unknown"),
        Diversion("4", "unknown"),
    )
    assert read(OPEN, *said, trusted=False).diversions == ()


@given(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=60), st.booleans())
def test_whatever_a_trunk_says_of_a_caller_can_be_read_and_written(text: str, quoted: bool) -> None:
    value = f'"{text}" <sip:{text}@x>;reason="{text}"' if quoted else text
    headers = [(name, value) for name in ("P-Asserted-Identity", "Diversion", "Privacy")]
    caller = read(OPEN, *headers)
    for history in ("diversion", "history"):
        for line in sent(trunk(history=history, identity="asserted"), caller)[2]:
            Headers([line])


def test_a_history_is_a_line_from_the_first_to_the_last() -> None:
    diversions = (Diversion("2", "user-busy"), Diversion("1", "no-answer", private=True))
    assert history_headers("history", diversions, Uri.parse("sip:3@t"), "us") == (
        ("History-Info", "<sip:1@us?Privacy=history>;index=1"),
        ("History-Info", "<sip:2@us;cause=408>;index=1.1;mp=1"),
        ("History-Info", "<sip:3@t;cause=486>;index=1.1.1;mp=1.1"),
    )
    assert history_headers("diversion", diversions, Uri.parse("sip:3@t"), "us") == (
        ("Diversion", "<sip:2@us>;reason=user-busy;counter=1;privacy=off"),
        ("Diversion", "<sip:1@us>;reason=no-answer;counter=1;privacy=full"),
    )
    assert history_headers("none", diversions, Uri.parse("sip:3@t"), "us") == ()
    assert history_headers("history", (), Uri.parse("sip:3@t"), "us") == ()


def trunk(**options: object) -> OutboundTrunk:
    return OutboundTrunk("t", Flow("udp", ("", 0), ("t.example", 5060)), **options)  # type: ignore[arg-type]


def sent(way: OutboundTrunk, caller: Caller, *headers: tuple[str, str]) -> tuple[str, str, list[tuple[str, str]]]:
    """Request-URI, From, and headers of an INVITE."""
    found = way.destination("+39011", caller, lambda _flow: ("192.0.2.9", 5062), headers, chosen=False)
    return str(found.uri), str(found.caller), list(found.headers)


def test_caller_ids_as_trunks_want_them() -> None:
    anna = Caller("+39119", "Anna")
    hidden = Caller("+39119", "Anna", withheld=True)
    assert sent(trunk(), anna) == ("sip:+39011@t.example", "Anna <sip:+39119@192.0.2.9:5062>", [])
    nobody = "Anonymous <sip:anonymous@anonymous.invalid>"
    assert sent(trunk(), hidden) == ("sip:+39011@t.example", nobody, [("Privacy", "id")])
    strict = trunk(
        identity="asserted",
        from_user="acme",
        from_domain="p.example",
        caller_rules=(("+39", "0"),),
        dialled_rules=(("+39", "0"), ("+", "00")),
    )
    uri, from_, headers = sent(strict, anna, ("X-Ours", "1"), ("privacy", "none"), ("P-Asserted-Identity", "<sip:x@y>"))
    assert (uri, from_) == ("sip:0011@t.example", "Anna <sip:acme@p.example>")
    assert headers == [("X-Ours", "1"), ("P-Asserted-Identity", "Anna <sip:0119@p.example>")]
    assert sent(strict, hidden) == (
        "sip:0011@t.example", nobody, [("P-Asserted-Identity", "<sip:0119@p.example>"), ("Privacy", "id")],
    )  # fmt: skip
    unknown = Caller(ANONYMOUS, withheld=True)
    assert sent(strict, unknown)[2] == [("Privacy", "id")]
    shown = sent(trunk(identity="preferred", caller_id="+39099"), anna)
    assert shown[1:] == (
        'Anna <sip:+39099@192.0.2.9:5062>', [("P-Preferred-Identity", 'Anna <sip:+39099@192.0.2.9>')],
    )  # fmt: skip


def test_a_forwarded_call_says_for_whom_it_was() -> None:
    caller = Caller("+441", diversions=(Diversion("+39011"),))
    assert sent(trunk(history="diversion"), caller)[2] == [
        ("Diversion", "<sip:+39011@192.0.2.9>;reason=unconditional;counter=1;privacy=off")
    ]
    assert sent(trunk(), caller)[2] == []
