"""All 49 messages of RFC 4475 against ``torture_verdicts``, and what was understood of the valid ones."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from torture_verdicts import VERDICTS

from engine.sip.endpoint import Endpoint
from engine.sip.events import Invited
from engine.sip.flow import Flow
from engine.sip.message import Malformed, Request, Response
from engine.sip.parser import StreamParser, parse

FOLDER = Path(__file__).parent
FILES = {path.stem: path for path in FOLDER.glob("*/*.dat")}


def load(name: str) -> bytes:
    return FILES[name].read_bytes()


def request(name: str) -> Request:
    message = parse(load(name))
    assert isinstance(message, Request)
    return message


def test_the_table_is_complete() -> None:
    assert len(VERDICTS) == 49
    assert FILES.keys() == VERDICTS.keys()
    for name, verdict in VERDICTS.items():
        assert FILES[name].parent.name == ("valid" if verdict.parser == "ok" else "invalid")


UNDERSTOOD = [name for name, verdict in VERDICTS.items() if verdict.parser == "ok"]
REFUSED = [name for name in VERDICTS if name not in UNDERSTOOD]


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_understood(name: str) -> None:
    message = parse(load(name))
    # And understood again from what we write.
    again = parse(message.encode())
    for twin in (again, message):
        twin.headers.remove("Content-Length")
    assert again.headers == message.headers
    assert again.vias == message.vias
    assert (again.from_, again.to, again.cseq) == (message.from_, message.to, message.cseq)
    assert again.body == message.body


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    expected = VERDICTS[name].parser
    with pytest.raises(Malformed) as refusal:
        parse(load(name))
    error = refusal.value
    assert (error.status or "drop") == expected, error.reason
    assert (error.response is None) == (error.status is None)
    if error.response is not None:
        assert error.response.encode().startswith(f"SIP/2.0 {expected} ".encode())


@pytest.mark.parametrize("name", VERDICTS)
def test_answer_of_the_endpoint(name: str) -> None:
    expected = VERDICTS[name].answer
    endpoint = Endpoint(random=Random(1), contact_host=lambda _: ("192.0.2.254", 5060))
    endpoint.receive(load(name), Flow("udp", ("192.0.2.254", 5060), ("192.0.2.1", 5060)), 0.0)
    for event in endpoint.events():
        assert isinstance(event, Invited)
        event.session.trying(0.0)
    # Only the status is read: a refusal repeats headers as broken as they came.
    sent = [data.split(b" ", 2) for _, data in endpoint.outgoing()]
    assert all(version == b"SIP/2.0" for version, _, _ in sent)
    statuses = [int(status) for _, status, _ in sent]
    if expected is not None:
        assert statuses == ([] if expected == "none" else [expected])


@pytest.mark.parametrize("name", VERDICTS)
def test_a_stream_survives_or_ends_cleanly(name: str) -> None:
    """Byte by byte over a stream: the same verdict, or the framing is given up; never an exception."""
    expected = VERDICTS[name].parser
    parser = StreamParser()
    found = []
    for index in range(len(data := load(name))):
        if parser.broken:
            break
        found += parser.feed(data[index : index + 1])
    if name == "dblreq":
        # Two messages on a stream; a CRLF between them is no keep-alive, and the second is malformed SDP only.
        assert [item.method for item in found if isinstance(item, Request)] == ["REGISTER", "INVITE"]
    elif name in ("baddn", "clerr"):
        assert found == []
        assert parser.partial  # the blank line, the rest of the body: still to come
    elif name == "inv2543":
        assert "Content-Length missing" in parser.broken
    else:
        first = found[0]
        assert ("ok" if not isinstance(first, Malformed) else first.status or "drop") == expected
        assert bool(parser.broken) == (name in ("ncl", "mcl01"))


# --- the meaning of the valid ones ------------------------------------------------------


def test_wsinv() -> None:
    message = request("wsinv")
    assert message.to.tag == "1918181833n"
    assert message.from_.display == 'J Rosenberg \\"'
    assert message.from_.tag == "98asjd8"
    assert message.max_forwards == 68
    assert (message.cseq.number, message.cseq.method) == (9, "INVITE")
    assert [(via.transport, via.host, via.branch) for via in message.vias] == [
        ("UDP", "192.0.2.2", "390skdjuw"),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", "z9hG4bK30239"),
    ]
    (contact,) = message.contacts
    assert contact.display == 'Quoted string ""'
    assert contact.param("newparam") == "newvalue"
    assert contact.param("secondparam") == ""
    assert contact.param("q") == "0.33"
    assert message.routes[0].uri.lr
    assert message.headers.get("NewFangledHeader") == "newfangled value continued newfangled value"
    assert message.headers.get("s") == ""
    assert len(message.body) == 150


def test_intmeth() -> None:
    message = request("intmeth")
    assert message.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert message.ruri.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert message.ruri.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert message.to.display == "BEL: NUL: DEL:"  # control characters are no text
    assert message.from_.display == "token1~` token2'+_ token3*%!.-"
    assert message.from_.tag == "_token~1'+`*%!-."
    assert message.headers.get("extensionheader-!.%*+_`'~") == "\ufeff大停電"


def test_escapes() -> None:
    message = request("esc01")
    assert message.ruri.user == "sips:user@example.com"
    assert message.ruri.host == "example.net"
    assert str(message.ruri) == message.uri
    assert message.to.uri.user == "user"
    assert message.from_.uri.user == "I have spaces"
    assert message.contacts[0].uri.params == (("lr", None), ("name", "value%41"))


def test_escaped_zeros_stay_escaped() -> None:
    message = request("escnull")
    assert message.to.uri.user == "null-%00-null"
    assert [contact.uri.user for contact in message.contacts] == ["%00", "%00%00"]


def test_escapes_are_not_undone_where_there_are_none() -> None:
    message = request("esc02")
    assert message.method == "RE%47IST%45R"
    assert message.to.display == "%Z%45"
    assert message.via.branch == "z9hG4bK209%fzsnel234"
    assert [contact.uri.user for contact in message.contacts] == ["alias1", "alias3"]


def test_longreq() -> None:
    message = request("longreq")
    assert len(message.vias) == 34
    assert len(message.from_.tag) > 150
    assert message.call_id.endswith("reallylongcallid")
    assert message.body.startswith(b"v=0")


def test_dblreq() -> None:
    message = request("dblreq")
    assert message.method == "REGISTER"
    assert message.body == b""


def test_semiuri() -> None:
    assert request("semiuri").ruri.user == "user;par=u@example.net"


def test_mpart01() -> None:
    message = request("mpart01")
    assert message.content_type == "multipart/mixed"
    assert len(message.body) == 553


def test_reasons() -> None:
    message = parse(load("unreason"))
    assert isinstance(message, Response)
    assert message.reason.endswith("простое")
    message = parse(load("noreason"))
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (100, "")


def test_oversized_scalars_other_than_cseq_count_as_absent() -> None:
    message = parse(load("scalar02").replace(b"36893488147419103232", b"36"))
    assert message.max_forwards is None
    assert message.expires is None


def test_baddn_is_refused_for_its_names_too() -> None:
    with pytest.raises(Malformed, match="address") as error:
        parse(load("baddn") + b"\r\n")
    assert error.value.status == 400


def test_contact_parameters_belong_where_they_stand() -> None:
    (contact,) = request("cparam01").contacts
    assert (contact.param("unknownparam"), contact.uri.params) == ("", ())
    (contact,) = request("cparam02").contacts
    assert (contact.params, contact.uri.param("unknownparam")) == ((), "")


def test_uri_headers_are_kept() -> None:
    (contact,) = request("regescrt").contacts
    assert contact.uri.headers == "Route=%3Csip:sip.example.com%3E"


def test_inv2543() -> None:
    message = request("inv2543")
    assert message.via.branch == ""
    assert message.from_.tag == ""
    assert message.max_forwards is None
    assert message.to.uri.user == "+16505552222"
    assert message.to.param("user") == "phone"


def test_unknown_schemes_in_headers() -> None:
    message = request("unksm2")
    assert (message.to.uri.scheme, message.to.uri.opaque) == ("isbn", "2983792873")
    assert str(message.from_.uri) == "http://www.example.com"
    assert message.contacts[0].uri.scheme == "name"


def test_stateless_answer_repeats_what_there_is() -> None:
    with pytest.raises(Malformed) as error:
        parse(load("insuf"))
    response = error.value.response
    assert response is not None
    assert response.via.branch == "z9hG4bKkdj.insuf"
    assert response.cseq.number == 193942
    assert "Call-ID" not in response.headers
