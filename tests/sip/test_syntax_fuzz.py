"""Whatever comes in: understood, or refused in the one way that is declared. What is written is read again."""

from __future__ import annotations

import contextlib
import string
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.sip import sdp
from engine.sip.digest import Challenge, Challenger
from engine.sip.headers import CSeq, Headers, Via
from engine.sip.message import Malformed, Message, Request, Response
from engine.sip.offer_answer import CODECS, LocalMedia, NotAcceptable, make_answer, make_offer, read_answer
from engine.sip.parser import StreamParser, parse
from engine.sip.uri import Address, Uri

TORTURE = [path.read_bytes() for path in sorted(Path(__file__).parent.parent.glob("torture/*/*.dat"))]
PIECES = [
    *(piece for message in TORTURE for piece in message.split(b"\r\n")),
    b"\r\n",
    b"\r\n\r\n",
    b"\r\n ",
    b"\0",
    b"\xff",
    b"Content-Length: 5",
    b"Via: SIP/2.0/UDP [::1]:5060;branch=z9hG4bK1",
]
PROPERTIES = [
    "call_id", "cseq", "via", "vias", "from_", "to", "contacts", "contact_is_wildcard", "routes", "record_routes",
    "max_forwards", "expires", "content_type",
]  # fmt: skip


def examine(message: Message) -> None:
    """After the parser no property raises, and the message can be sent on."""
    for name in PROPERTIES:
        getattr(message, name)
    if isinstance(message, Request):
        str(message.ruri)
        response = message.response(180, to_tag="x")
        response.note_source("192.0.2.1", 5060)
        parse(response.encode()) if len(message.vias) == 1 else response.encode()
        Challenger("realm", b"key").verify(message, lambda _: "x", 0.0)
    message.note_source("192.0.2.1", 5060)
    again = parse(message.encode())
    assert type(again) is type(message)
    assert again.encode() == message.encode()


def feed(data: bytes) -> None:
    try:
        message = parse(data)
    except Malformed as error:
        refusal = error.response
    else:
        examine(message)
        return
    if refusal is not None:
        refusal.note_source("192.0.2.1", 5060)
        assert refusal.encode().startswith(b"SIP/2.0 ")


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=400))
def test_noise(data: bytes) -> None:
    feed(data)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=20).map(b"\r\n".join))
def test_shuffled_torture(data: bytes) -> None:
    feed(data)


def test_mutated_torture() -> None:
    random = Random(4475)
    for _ in range(3000):
        data = bytearray(random.choice(TORTURE))
        for _ in range(random.randint(1, 6)):
            start = random.randrange(len(data) + 1)
            end = min(len(data), start + random.choice([0, 1, 1, 2, 8, 64]))
            data[start:end] = random.choice([b"", bytes([random.randrange(256)]), random.choice(PIECES)[:40]])
        feed(bytes(data))


def test_mutated_streams_give_the_same_however_they_are_cut() -> None:
    random = Random(5118)
    for _ in range(400):
        data = bytearray(b"".join(random.choices(TORTURE, k=3)))
        for _ in range(random.randint(0, 4)):
            data[random.randrange(len(data))] = random.randrange(256)
        whole, cut = StreamParser(), StreamParser()
        expected = [repr(item) for item in whole.feed(bytes(data))]
        found: list[str] = []
        position = 0
        while position < len(data) and not cut.broken:
            size = random.choice([1, 3, 50, 1000])
            found += [repr(item) for item in cut.feed(bytes(data[position : position + size]))]
            position += size
        assert found == expected
        assert cut.broken == whole.broken


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_values_raise_value_errors_only(text: str) -> None:
    for read in (Uri.parse, Address.parse, Address.parse_many, Via.parse, Via.parse_many, CSeq.parse, Challenge.parse):
        with contextlib.suppress(ValueError):
            str(read(text))
    for prefix in ("sip:", "tel:", "<sip:a@b>;", "sip:a@", "Digest "):
        for read in (Uri.parse, Address.parse, Challenge.parse):
            with contextlib.suppress(ValueError):
                str(read(prefix + text))


# --- round trips ------------------------------------------------------------------------

TOKEN = st.text(string.ascii_letters + string.digits + "-.!%*_+`'~", min_size=1, max_size=12)
NAME = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
# Any text but what control characters and escapes of them would become.
TEXT = st.text(
    st.characters(min_codepoint=32, exclude_characters="%\x7f", exclude_categories=("Cs", "Cc")), max_size=12
)
HOST = st.one_of(NAME, st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(lambda ip: f"[{ip}]"))
PORT = st.one_of(st.none(), st.integers(1, 65535))
URIS = st.builds(
    Uri,
    scheme=st.sampled_from(["sip", "sips"]),
    user=TEXT.filter(bool),
    password=st.one_of(st.none(), TEXT),
    host=HOST,
    port=PORT,
    params=st.lists(st.tuples(NAME, st.one_of(st.none(), TEXT)), max_size=3).map(tuple),
)


@settings(max_examples=300, deadline=None)
@given(URIS)
def test_uris(uri: Uri) -> None:
    again = Uri.parse(str(uri))
    assert again == uri
    assert again.matches(uri)
    assert uri.matches(again)


@settings(max_examples=200, deadline=None)
@given(URIS, TEXT, st.lists(st.tuples(NAME, st.one_of(st.none(), TOKEN)), max_size=3).map(tuple))
def test_addresses(uri: Uri, display: str, params: tuple[tuple[str, str | None], ...]) -> None:
    address = Address(uri, display, params)
    again = Address.parse(str(address))
    assert (again.uri, again.params) == (uri, params)
    assert again.display == display
    assert Address.parse_many(f"{address}, {address}") == (again, again)


@settings(max_examples=200, deadline=None)
@given(TOKEN, HOST, PORT, st.lists(st.tuples(NAME, st.one_of(st.none(), TOKEN)), max_size=3).map(tuple))
def test_vias(transport: str, host: str, port: int | None, params: tuple[tuple[str, str | None], ...]) -> None:
    via = Via(transport.upper(), host, port, params)
    assert Via.parse(str(via)) == via


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(TOKEN, TEXT.map(str.strip)), max_size=6),
    st.binary(max_size=60),
    st.integers(100, 699),
    TEXT,
)
def test_messages(extra: list[tuple[str, str]], body: bytes, status: int, reason: str) -> None:
    base = [
        ("Via", "SIP/2.0/UDP h;branch=z9hG4bK1"),
        ("From", "<sip:a@b>;tag=1"),
        ("To", "<sip:c@d>"),
        ("Call-ID", "x"),
        ("CSeq", "1 BYE"),
    ]
    known = {name for name, _ in Headers((name, "") for name, _ in extra)}
    plain = [(name, value) for name, value in extra if not known & {"Via", "From", "To", "Call-ID", "CSeq", "Contact"}]
    response = Response(status, reason, Headers(base + plain), body)
    with contextlib.suppress(Malformed):  # an extra header may be a second Expires, say
        again = parse(response.encode())
        assert isinstance(again, Response)
        assert (again.status, again.reason, again.body) == (status, reason, body)


# --- session descriptions ---------------------------------------------------------------

SDP_LINES = st.sampled_from(
    [
        b"v=0", b"o=- 1 1 IN IP4 1.2.3.4", b"s=-", b"t=0 0", b"c=IN IP4 192.0.2.1", b"c=IN IP6 ::1",
        b"c=IN IP4 0.0.0.0",
        b"m=audio 5004 RTP/AVP 0 8 101", b"m=audio 0 RTP/AVP 0", b"m=video 5006 RTP/AVP 31", b"m=audio 7 RTP/SAVP 8",
        b"a=rtpmap:0 PCMU/8000", b"a=rtpmap:101 telephone-event/8000", b"a=sendonly", b"a=inactive", b"a=ptime:30",
        b"a=rtcp:6000", b"a=maxptime:5", b"a=rtpmap:8 X/1", b"\xff", b"m=", b"a=", b"a=:", b"c=",
    ]
)  # fmt: skip
US = LocalMedia("192.0.2.254", 16384, 1, codecs=CODECS)


@settings(max_examples=500, deadline=None)
@given(st.lists(SDP_LINES, max_size=14), st.sampled_from([b"\r\n", b"\n"]))
def test_descriptions(lines: list[bytes], end: bytes) -> None:
    examine_description(end.join([b"v=0", *lines]))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=120))
def test_description_noise(data: bytes) -> None:
    examine_description(data)
    examine_description(b"v=0\r\nm=audio 1 RTP/AVP 0\r\n" + data)


def examine_description(body: bytes) -> None:
    try:
        description = sdp.parse(body)
    except sdp.SdpError:
        return
    assert sdp.parse(description.encode()) == description
    with contextlib.suppress(NotAcceptable):
        read_answer(make_offer(US), description)
    try:
        answer, agreed = make_answer(description, US)
    except NotAcceptable:
        return
    assert len(answer.media) == len(description.media)
    assert sum(1 for media in answer.media if media.port) == 1
    assert agreed.payload_type in (0, 8)
    assert 10 <= agreed.ptime <= 60
    assert sdp.parse(answer.encode()) == answer
    assert len(make_offer(US, previous=answer).media) == len(answer.media)
