"""Header collection, Via, CSeq."""

from __future__ import annotations

import pytest

from engine.sip.headers import CSeq, Headers, Via, read_seconds


def test_names_are_case_insensitive_and_compact_forms_are_the_same() -> None:
    headers = Headers([("v", "1"), ("X-Own", "a"), ("VIA", "2"), ("call-id", "c")])
    assert headers.all("Via") == ["1", "2"]
    assert headers.get("i") == "c"
    assert headers.get("x-own") == headers.get("X-OWN") == "a"
    assert headers.items() == [("Via", "1"), ("X-Own", "a"), ("Via", "2"), ("Call-ID", "c")]
    assert "From" not in headers


def test_editing() -> None:
    headers = Headers([("To", "t"), ("Via", "1"), ("Via", "2"), ("From", "f")])
    headers.insert_first("Via", "0")
    assert headers.all("Via") == ["0", "1", "2"]
    headers.insert_first("Route", "r")
    assert headers.items()[0] == ("Route", "r")
    headers.replace_first("Via", ["a", "b"])
    assert headers.all("Via") == ["a", "b", "1", "2"]
    headers.set("via", "only")
    assert headers.all("Via") == ["only"]
    headers.set("Subject", "s")
    headers.remove("T")
    assert headers.items() == [("Route", "r"), ("Via", "only"), ("From", "f"), ("Subject", "s")]


@pytest.mark.parametrize("value", ["a\r\nInjected: yes", "a\nb", "a\r"])
def test_line_breaks_are_refused(value: str) -> None:
    headers = Headers([("Via", "v")])
    for edit in (headers.add, headers.set, headers.insert_first):
        with pytest.raises(ValueError, match="line break"):
            edit("Subject", value)
    with pytest.raises(ValueError, match="line break"):
        headers.replace_first("Via", [value])
    assert headers.items() == [("Via", "v")]


@pytest.mark.parametrize("name", ["", "A B", "A:", "A\r\n", "ü"])
def test_impossible_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="header name"):
        Headers().add(name, "x")


def test_views_follow_changes() -> None:
    headers = Headers([("CSeq", "1 INVITE")])
    calls = []

    def read(values: list[str]) -> CSeq:
        calls.append(values)
        return CSeq.parse(values[0])

    assert headers.view("CSeq", read).number == 1
    assert headers.view("CSeq", read).number == 1
    twin = headers.copy()
    headers.set("CSeq", "2 INVITE")
    assert headers.view("CSeq", read).number == 2
    assert twin.view("CSeq", read).number == 1
    assert len(calls) == 2


def test_tokens() -> None:
    headers = Headers([("Require", "100rel, timer"), ("k", "a"), ("Require", " path ,")])
    assert headers.tokens("Require") == ["100rel", "timer", "path"]


# --- Via --------------------------------------------------------------------------------


def test_via() -> None:
    via = Via.parse(
        "SIP / 2.0 / udp first.example.com : 4000 ; ttl=16 ; rport\t;maddr=224.2.0.1;branch=z9hG4bKa7c6a8dlze.1"
    )
    assert (via.transport, via.host, via.port, via.version) == ("UDP", "first.example.com", 4000, "2.0")
    assert via.branch == "z9hG4bKa7c6a8dlze.1"
    assert via.rport == 0
    assert via.sent_by == ("first.example.com", 4000)
    assert Via.parse(str(via)) == via


@pytest.mark.parametrize("text", ["SIP/2.0/UDP host;branch=x;", "SIP/2.0/UDP host; ;;branch=x ;"])
def test_via_with_empty_parameters(text: str) -> None:
    assert Via.parse(text).params == (("branch", "x"),)


def test_via_list_is_never_empty() -> None:
    assert Via.parse_many("SIP/2.0/UDP a,,SIP/2.0/UDP b,") == (Via("UDP", "a"), Via("UDP", "b"))
    for text in ("", " ", ",", "SIP/2.0/UDP a,;"):
        with pytest.raises(ValueError, match="Via"):
            Via.parse_many(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0 host",
        "SIP/2.0/UDPhost",
        "HTTP/1.1/TCP host",
        "SIP/2.0/UDP host:0",
        "SIP/2.0/UDP host:99999",
        "SIP/2.0/UDP host;=",
        "SIP/2.0/UDP host;;,branch=x",
        "SIP/2.0/UDP [::1;branch=x",
        "SIP/2.0/UDP [12345::1]",
        "SIP/2.0/UDP host extra",
    ],
)
def test_via_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Via.parse(text)


def test_default_ports() -> None:
    assert Via.parse("SIP/2.0/UDP H").sent_by == ("h", 5060)
    assert Via.parse("SIP/2.0/TLS H").sent_by == ("h", 5061)


def test_source_is_noted_only_when_it_differs_or_was_asked_for() -> None:
    plain = Via.parse("SIP/2.0/UDP 192.0.2.1:5070;branch=b")
    assert plain.with_source("192.0.2.1", 999) == plain
    assert str(plain.with_source("192.0.2.9", 999)) == "SIP/2.0/UDP 192.0.2.1:5070;branch=b;received=192.0.2.9"
    named = Via.parse("SIP/2.0/UDP phone.example;branch=b")
    assert named.with_source("192.0.2.1", 1).received == "192.0.2.1"
    # RFC 3581 section 4: received goes with rport even when the address is the same.
    asked = Via.parse("SIP/2.0/UDP 192.0.2.1;rport;branch=b").with_source("192.0.2.1", 999)
    assert (asked.received, asked.rport) == ("192.0.2.1", 999)
    # What the sender claims is overwritten.
    liar = Via.parse("SIP/2.0/UDP 192.0.2.1;rport=1;received=203.0.113.9").with_source("192.0.2.1", 999)
    assert (liar.received, liar.rport) == ("192.0.2.1", 999)
    six = Via.parse("SIP/2.0/UDP [2001:DB8::1];branch=b")
    assert six.with_source("2001:db8::1", 1) == six


def test_response_address() -> None:
    assert Via.parse("SIP/2.0/UDP h:5070;branch=b;received=192.0.2.9").response_address() == ("192.0.2.9", 5070)
    assert Via.parse("SIP/2.0/UDP h:5070;rport=99;received=192.0.2.9").response_address() == ("192.0.2.9", 99)
    assert Via.parse("SIP/2.0/UDP h;maddr=192.0.2.7;received=192.0.2.9").response_address() == ("192.0.2.7", 5060)
    assert Via.parse("SIP/2.0/UDP [2001:db8::1]").response_address() == ("2001:db8::1", 5060)


def test_broken_rport_is_as_if_asked_for() -> None:
    assert Via.parse("SIP/2.0/UDP h;rport=x").rport == 0
    assert Via.parse("SIP/2.0/UDP h").rport is None


# --- CSeq and numbers -------------------------------------------------------------------


def test_cseq() -> None:
    assert CSeq.parse("0009 \t INVITE ") == CSeq(9, "INVITE")
    assert str(CSeq(2**31 - 1, "BYE")) == "2147483647 BYE"
    for text in (
        "",
        "INVITE",
        "1",
        "1INVITE",
        "-1 INVITE",
        "2147483648 INVITE",
        "1 IN VITE",
        "9" * 4000 + " BYE",
        "1 ",
    ):
        with pytest.raises(ValueError, match="CSeq"):
            CSeq.parse(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3600", 3600),
        (" 0 ", 0),
        ("0000000000000060", 60),
        ("4294967295", 4294967295),
        ("4294967296", None),
        ("9" * 5000, None),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("²", None),
        ("٣", None),
        (None, None),
    ],
)
def test_read_seconds(text: str | None, seconds: int | None) -> None:
    assert read_seconds(text) == seconds
