"""URIs and addresses: RFC 3261 sections 19.1, 20.10, RFC 3966."""

from __future__ import annotations

import pytest

from engine.sip.uri import Address, Uri


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sip:alice@atlanta.com", ("sip", "alice", None, "atlanta.com", None, ())),
        ("SIPS:alice:secret@Atlanta.com:5061", ("sips", "alice", "secret", "Atlanta.com", 5061, ())),
        ("sip:192.0.2.4", ("sip", None, None, "192.0.2.4", None, ())),
        (
            "sip:+39-02-1234@gw.example;user=phone",
            ("sip", "+39-02-1234", None, "gw.example", None, (("user", "phone"),)),
        ),
        ("sip:*31#0123@gw", ("sip", "*31#0123", None, "gw", None, ())),
        ("sip:a%40b%3Bc@h;lr", ("sip", "a@b;c", None, "h", None, (("lr", None),))),
        ("sip:%C8%99tefan@h", ("sip", "ștefan", None, "h", None, ())),
        ("sip:%FFx@h", ("sip", "ÿx", None, "h", None, ())),
        ("sip:[2001:db8::9:1]:5070", ("sip", None, None, "[2001:db8::9:1]", 5070, ())),
        ("sip:my_host.local", ("sip", None, None, "my_host.local", None, ())),
        ("tel:+39-02;phone-context=+39", ("tel", "+39-02", None, "", None, (("phone-context", "+39"),))),
    ],
)
def test_parts(text: str, expected: tuple[object, ...]) -> None:
    uri = Uri.parse(text)
    assert (uri.scheme, uri.user, uri.password, uri.host, uri.port, uri.params) == expected
    assert str(uri) == text


def test_headers_are_kept_as_text() -> None:
    uri = Uri.parse("sip:a@b;x?Subject=hi%20there&Priority=urgent")
    assert uri.headers == "Subject=hi%20there&Priority=urgent"
    assert str(uri.as_request_uri()) == "sip:a@b;x"


def test_unknown_schemes_are_opaque() -> None:
    uri = Uri.parse("urn:service:sos")
    assert (uri.scheme, uri.opaque, uri.is_sip) == ("urn", "service:sos", False)
    assert str(uri) == "urn:service:sos"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip:",
        "sip:@host",
        "sip:alice@",
        "sip:a b@host",
        "sip:alice@host:0",
        "sip:alice@host:65536",
        "sip:alice@host:port",
        "sip:2001:db8::10",
        "sip:[2001:db8::g]",
        "sip:[1:2:3]",
        "sip:alice@ho st",
        "sip:%4@host",
        "sip:alice@host;",
        "sip:alice@host;=x",
        "sip:alice@host\r\nEvil: 1",
        "sip:alice@host>",
        "tel:",
        "tel:hello",
        "<sip:a@b>",
        "alice",
        "1x:y",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Uri.parse(text)


# RFC 3261 section 19.1.4: the examples of the RFC and the rules behind them.
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        ("TEL:+1-2", "tel:+1-2"),
    ],
)
def test_equal(one: str, other: str) -> None:
    assert Uri.parse(one).matches(Uri.parse(other))
    assert Uri.parse(other).matches(Uri.parse(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ("sip:carol@chicago.com", "sips:carol@chicago.com"),
        ("sip:bob:pw@biloxi.com", "sip:bob@biloxi.com"),
        ("sip:biloxi.com", "tel:1"),
    ],
)
def test_not_equal(one: str, other: str) -> None:
    assert not Uri.parse(one).matches(Uri.parse(other))
    assert not Uri.parse(other).matches(Uri.parse(one))


def test_what_is_built_is_escaped() -> None:
    uri = Uri("sip", user="a b@ș%", host="h", params=(("x", "1;2"),))
    assert str(uri) == "sip:a%20b%40%C8%99%25@h;x=1%3B2"
    assert Uri.parse(str(uri)) == uri


def test_control_characters_stay_escaped_both_ways() -> None:
    uri = Uri.parse("sip:a%00%0D%0Ab%41@h")
    assert uri.user == "a%00%0D%0AbA"
    assert str(uri.with_param("lr")) == "sip:a%00%0D%0AbA@h;lr"


def test_users_in_text() -> None:
    assert Uri.parse("sip:a%3E%2Cb%40c@h").escaped_user == "a%3E,b%40c"
    assert Uri.parse("sip:h").escaped_user == ""


def test_params() -> None:
    uri = Uri.parse("sip:h;LR;Transport=TCP;x=%3b")
    assert uri.lr
    assert uri.transport == "tcp"
    assert uri.param("X") == ";"
    assert uri.param("y") is None
    assert str(uri.without_params("transport")) == "sip:h;LR;x=%3B"
    assert str(uri.without_params()) == "sip:h"
    assert str(uri.with_param("transport", "udp")) == "sip:h;LR;Transport=udp;x=%3B"


def test_parsed_and_built_compare_by_their_parts() -> None:
    assert Uri.parse("sip:alice@h") == Uri("sip", user="alice", host="h")


# --- addresses --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "display", "uri", "params"),
    [
        ("sip:a@b;tag=1", "", "sip:a@b", (("tag", "1"),)),
        ("<sip:a@b;x=1>;tag=1", "", "sip:a@b;x=1", (("tag", "1"),)),
        ('"A. G. Bell" <sip:a@b>', "A. G. Bell", "sip:a@b", ()),
        ('"say \\"hi\\\\" <sip:a@b>', 'say "hi\\', "sip:a@b", ()),
        ('""<sip:a@b>', "", "sip:a@b", ()),
        ("Bob Q<sip:a@b>\t; q = 0.5 ;x", "Bob Q", "sip:a@b", (("q", "0.5"), ("x", None))),
        ("Müller (2) <sip:a@b>", "Müller (2)", "sip:a@b", ()),
        ('<sip:a@b>;+sip.instance="<urn:uuid:1>"', "", "sip:a@b", (("+sip.instance", '"<urn:uuid:1>"'),)),
        ("<sip:a@b?Replaces=x%3Bto-tag%3D1>", "", "sip:a@b?Replaces=x%3Bto-tag%3D1", ()),
        ("<tel:+1;phone-context=x>", "", "tel:+1;phone-context=x", ()),
    ],
)
def test_address(text: str, display: str, uri: str, params: tuple[object, ...]) -> None:
    address = Address.parse(text)
    assert (address.display, str(address.uri), address.params) == (display, uri, params)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<>",
        "<sip:a@b",
        "sip:a@b>",
        '"open <sip:a@b>',
        "< sip:a@b>",
        "<sip:a@b >",
        "Bell, A <sip:a@b>",
        "<sip:a@b>;=",
        "<sip:a@b;=x>",
        "<sip:a@b@c>",
        "<sip:a@b:00>",
        "<sip:é@é>",
        "<sip:a@b> x",
        "<sip:a@b>;tag=",
        "sip:a@b?x=y",
        "<sip:a@b>,<sip:c@d>",
        "<<sip:a@b>>",
    ],
)
def test_address_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Address.parse(text)


def test_lists_split_only_outside_of_quotes_and_brackets() -> None:
    found = Address.parse_many('"Smith, J" <sip:j,s@h>;x="a,b" , sip:k@h,<sip:l@h>')
    assert [str(address.uri) for address in found] == ["sip:j,s@h", "sip:k@h", "sip:l@h"]
    for text in ('<sip:a@b>,"x', "<sip:a@b>,<", "<sip:a@b>,;"):
        with pytest.raises(ValueError, match=r".+"):
            Address.parse_many(text)


@pytest.mark.parametrize("text", ["sip:a@b,", ",sip:a@b", " , sip:a@b,\t,"])
def test_empty_elements_of_a_list_are_skipped(text: str) -> None:
    assert Address.parse_many(text) == (Address(Uri.parse("sip:a@b")),)
    assert Address.parse_many(text.replace("sip:a@b", "")) == Address.parse_many("") == Address.parse_many(" ") == ()


@pytest.mark.parametrize(
    ("text", "user", "host", "port", "params"),
    [
        ("<sip:@192.0.2.4>", "", "192.0.2.4", None, ()),
        ("<sip:josé@h>", "josé", "h", None, ()),
        ("sip:50%@h", "50%", "h", None, ()),
        ("<sip:a|b^c%41:p|@h:5070>", "a|b^cA", "h", 5070, ()),
        ("<sip:a@h:0>", "a", "h", None, ()),
        ("<sip:a@h;>", "a", "h", None, ()),
        ("<sip:a@h;;lr;>", "a", "h", None, (("lr", None),)),
        ("<sip:a@h;x=y@z>", "a", "h", None, (("x", "y@z"),)),
    ],
)
def test_mistakes_in_addresses_that_leave_the_meaning_clear(text, user, host, port, params) -> None:
    uri = Address.parse(text).uri
    assert (uri.user, uri.host, uri.port, uri.params) == (user, host, port, params)
    assert str(uri) == text.strip("<>")  # repeated as it came
    with pytest.raises(ValueError, match=r"malformed|out of range"):
        Uri.parse(str(uri))  # nobody may send us a request to it


@pytest.mark.parametrize(
    ("text", "display"),
    [("O'Neil; PhD <sip:a@b>;;tag=1;", "O'Neil; PhD"), ("Foo (x) \\ Bar <sip:a@b> ; ; tag=1 ; ", "Foo (x) \\ Bar")],
)
def test_names_that_should_have_been_quoted(text: str, display: str) -> None:
    address = Address.parse(text)
    assert (address.display, address.tag, address.params) == (display, "1", (("tag", "1"),))
    assert Address.parse(str(address)) == address


def test_tags() -> None:
    address = Address.parse("<sip:a@b>;TAG=x")
    assert address.tag == "x"
    assert str(address.with_tag("y")) == "<sip:a@b>;TAG=y"
    assert str(Address.parse("sip:a@b").with_tag("t")) == "<sip:a@b>;tag=t"
    assert Address.parse("sip:a@b").tag == ""


def test_display_names_are_quoted_when_they_must_be() -> None:
    assert str(Address(Uri.parse("sip:a@b"), "Bob Smith")) == "Bob Smith <sip:a@b>"
    assert str(Address(Uri.parse("sip:a@b"), 'B, "C"\r\nX: y')) == '"B, \\"C\\"X: y" <sip:a@b>'
