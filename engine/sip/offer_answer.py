"""Offer and answer (RFC 3264) for one stream of G.711 audio with telephone-events (RFC 4733)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace

from engine.sip.sdp import Attributes, Connection, MediaDescription, RtpMap, SdpError, SessionDescription

PCMU, PCMA = 0, 8

_ENCODINGS = {PCMU: RtpMap("pcmu", 8000), PCMA: RtpMap("pcma", 8000)}
_NAMES = {PCMU: "PCMU/8000", PCMA: "PCMA/8000"}
_EVENTS = RtpMap("telephone-event", 8000)
_PROTOCOLS = frozenset({"RTP/AVP", "RTP/AVPF"})  # early feedback (RFC 4585) may be sent; we have none to send
_SENDS = frozenset({"sendrecv", "sendonly"})
_RECEIVES = frozenset({"sendrecv", "recvonly"})

MIN_PTIME, MAX_PTIME = 10, 60
"""Milliseconds of sound per packet that the media plane can send, in steps of 10."""


class NotAcceptable(ValueError):
    """No common ground: 488 (RFC 3261 section 21.4.26)."""


@dataclass(frozen=True, slots=True)
class LocalMedia:
    """What our end offers. ``host`` and ``port`` are where RTP shall be sent; ``version`` grows with every
    description that differs from the one before (RFC 3264 section 8). ``event_type`` -1: no telephone-event.
    """

    host: str
    port: int
    session_id: int
    version: int = 1
    codecs: tuple[int, ...] = (PCMU, PCMA)
    event_type: int = 101
    ptime: int = 20
    direction: str = "sendrecv"
    protocol: str = "RTP/AVP"


@dataclass(frozen=True, slots=True)
class Agreed:
    """What both ends settled on. ``host``, ``port``, ``rtcp_port`` are the remote end's (``rtcp_port`` 0: none).

    ``payload_type`` is 0 or 8; ``event_type`` -1 when there are no telephone-events; ``ptime`` is what to send,
    in ms; ``send`` and ``receive`` are seen from here; ``held``: the remote end takes no media from us.

    ``payload_type`` and ``event_type`` are what to send. What else comes (RFC 3264 sections 5.1, 6.1: each end
    sends by the numbers in the other's description, in any format that both list): ``other_payload_type``
    is the other G.711 law, -1 when there is none; ``receive_event_type`` is -1 when it is the same.
    """

    payload_type: int
    event_type: int
    ptime: int
    host: str
    port: int
    rtcp_port: int
    send: bool
    receive: bool
    held: bool
    receive_event_type: int = -1
    other_payload_type: int = -1


def make_offer(local: LocalMedia, previous: SessionDescription | None = None) -> SessionDescription:
    """A full offer of ``local``. ``previous`` is our last description in this session, if there was one:
    its sections keep their places (RFC 3264 section 8), refused ones stay refused, and neither its profile
    nor its payload type for telephone-events is changed (section 8.3.2).
    """
    if previous is not None:
        local = replace(local, event_type=_event_type_of(previous, local.event_type), protocol=_protocol_of(previous))
    ours = _audio(local, local.codecs, local.event_type, local.ptime, local.direction)
    place = 0 if previous is None else _live_section(previous)
    media = [ours] if previous is None or place < 0 else [_refused(section) for section in previous.media]
    if previous is not None and place >= 0:
        media[place] = ours
    return _description(local, tuple(media), (0, 0))


def make_answer(offer: SessionDescription, local: LocalMedia) -> tuple[SessionDescription, Agreed]:
    """Our answer to ``offer`` and what it agrees on.

    The first audio section that we can do is taken, in the first codec of the offer's order that we have;
    all others are refused in their places with port 0 (RFC 3264 section 6). Raises :class:`NotAcceptable`.
    """
    reason = "no audio offered"
    for place, section in enumerate(offer.media):
        if section.kind != "audio" or section.port == 0:
            continue
        try:
            agreed = _agree(offer, section, local)
        except NotAcceptable as error:
            reason = str(error)
            continue
        # One law is answered, so the other does not come either.
        agreed = replace(agreed, other_payload_type=-1)
        media = [_refused(other) for other in offer.media]
        direction = _direction(agreed.send, agreed.receive)
        ours = replace(local, protocol=section.protocol)
        media[place] = _audio(ours, (agreed.payload_type,), agreed.event_type, agreed.ptime, direction)
        # Section 6: "the 't=' line in the answer MUST be exactly the same as the one in the offer".
        return _description(local, tuple(media), offer.time), agreed
    raise NotAcceptable(reason)


def read_answer(offer: SessionDescription, answer: SessionDescription) -> Agreed:
    """What ``answer`` makes of our ``offer``. Raises :class:`NotAcceptable` if nothing can be made of it."""
    place = _live_section(offer)
    if place < 0:
        raise NotAcceptable("nothing was offered")
    if place >= len(answer.media):
        raise NotAcceptable("the answer lacks the audio section")
    ours, theirs = offer.media[place], answer.media[place]
    if theirs.port == 0 or theirs.kind != "audio":
        raise NotAcceptable("audio was refused")
    connection = offer.connection_of(ours)
    local = LocalMedia(
        connection.address if connection else "",
        ours.port,
        0,
        0,
        tuple([int(item) for item in ours.formats if item.isdigit() and int(item) in _ENCODINGS]),
        _event_type_of(offer, -1),
        direction=offer.direction_of(ours),
    )
    agreed = _agree(answer, theirs, local)
    if agreed.event_type < 0 <= local.event_type and str(local.event_type) in theirs.formats:
        # Taken in under our number, its rtpmap forgotten.
        return replace(agreed, event_type=local.event_type)
    if agreed.event_type not in (-1, local.event_type):
        # Section 6.1: they send by the number of our offer, we by that of their answer.
        return replace(agreed, receive_event_type=local.event_type)
    return agreed


def _agree(description: SessionDescription, section: MediaDescription, local: LocalMedia) -> Agreed:
    """What we can do of a remote section. Raises :class:`NotAcceptable`."""
    if section.protocol.upper() not in _PROTOCOLS:
        raise NotAcceptable(f"media over {section.protocol}")
    maps = section.rtpmaps()
    codecs = _codecs(section, maps, local.codecs)
    connection = description.connection_of(section)
    if connection is None:
        raise NotAcceptable("no c= line")
    address_known = _check_address(connection, local.host)
    theirs = description.direction_of(section)
    # c=0.0.0.0 is how RFC 2543 put on hold: no media to them (RFC 3264 section 8.4).
    they_receive = theirs in _RECEIVES and address_known
    return Agreed(
        payload_type=codecs[0],
        event_type=_events(section, maps) if local.event_type >= 0 else -1,
        ptime=_ptime(section, local.ptime),
        host=connection.address,
        port=section.port,
        rtcp_port=_rtcp_port(section),
        send=they_receive and local.direction in _SENDS,
        receive=theirs in _SENDS and local.direction in _RECEIVES,
        held=not they_receive,
        other_payload_type=codecs[1] if len(codecs) > 1 else -1,
    )


def _codecs(section: MediaDescription, maps: dict[str, RtpMap], ours: tuple[int, ...]) -> list[int]:
    """Our codecs in the order of the section, one or two. Static payload types need no rtpmap (RFC 3551)."""
    found: list[int] = []
    for item in section.formats:
        if not (item.isascii() and item.isdigit() and len(item) <= 3 and int(item) in ours):
            continue
        meaning = maps.get(item)
        if int(item) not in found and (meaning is None or meaning == _ENCODINGS[int(item)]):
            found.append(int(item))
    if not found:
        raise NotAcceptable("no common codec (we have PCMU and PCMA)")
    return found


def _events(section: MediaDescription, maps: dict[str, RtpMap]) -> int:
    """The payload type of 8 kHz telephone-events, -1 when there is none (RFC 4733 section 2.4)."""
    for item in section.formats:
        if item.isascii() and item.isdigit() and len(item) <= 3 and int(item) <= 127 and maps.get(item) == _EVENTS:
            return int(item)
    return -1


def _event_type_of(description: SessionDescription, default: int) -> int:
    place = _live_section(description)
    if place < 0:
        return default
    section = description.media[place]
    found = _events(section, section.rtpmaps())
    return found if found >= 0 else default


def _protocol_of(description: SessionDescription) -> str:
    place = _live_section(description)
    return description.media[place].protocol if place >= 0 else "RTP/AVP"


def _check_address(connection: Connection, local_host: str) -> bool:
    """False for an address that stands for "none" (on hold). Raises :class:`NotAcceptable` for one we cannot reach."""
    if connection.address.lower().endswith(".invalid"):  # RFC 6157 section 5.2
        return False
    try:
        address = ipaddress.ip_address(connection.address)
    except ValueError:
        raise NotAcceptable("media address is no IP address") from None
    if connection.is_multicast or address.is_multicast or address == ipaddress.ip_address("255.255.255.255"):
        raise NotAcceptable("media address is no unicast address")
    if address.version != (6 if ":" in local_host else 4):
        raise NotAcceptable(f"media over IPv{address.version}")
    return not address.is_unspecified


def _ptime(section: MediaDescription, default: int) -> int:
    """Milliseconds per packet to send: what they ask for, as far as we can, never above their maxptime."""
    wanted = _milliseconds(section.attribute("ptime")) or default
    longest = _milliseconds(section.attribute("maxptime")) or MAX_PTIME
    wanted = min(max(wanted, MIN_PTIME), longest, MAX_PTIME)
    return max(wanted // 10 * 10, MIN_PTIME)


def _milliseconds(value: str | None) -> int | None:
    digits = (value or "").strip().partition(".")[0]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 6 else None


def _rtcp_port(section: MediaDescription) -> int:
    """RFC 3605; by default the next port (RFC 3550 section 11). A foreign address in a=rtcp is not followed."""
    first = (section.attribute("rtcp") or "").split(" ")[0]
    if first.isascii() and first.isdigit() and len(first) <= 5:
        port = int(first)
        return port if port <= 65535 else 0
    return section.port + 1 if section.port < 65535 else 0


def _live_section(description: SessionDescription) -> int:
    """Place of the audio section that is in use, -1 when there is none."""
    places = (place for place, section in enumerate(description.media) if section.kind == "audio" and section.port)
    return next(places, -1)


def _direction(send: bool, receive: bool) -> str:  # noqa: FBT001 (two halves of one value)
    if send:
        return "sendrecv" if receive else "sendonly"
    return "recvonly" if receive else "inactive"


def _refused(section: MediaDescription) -> MediaDescription:
    """Section 6: "the port number in the corresponding stream in the answer MUST be set to zero"."""
    return MediaDescription(section.kind, 0, section.protocol, section.formats)


def _audio(local: LocalMedia, codecs: tuple[int, ...], event_type: int, ptime: int, direction: str) -> MediaDescription:
    formats = [str(codec) for codec in codecs]
    attributes: list[tuple[str, str | None]] = [("rtpmap", f"{codec} {_NAMES[codec]}") for codec in codecs]
    if event_type >= 0:
        formats.append(str(event_type))
        # Events 0-15 are the sixteen keys (RFC 4733 section 3.2).
        attributes += [("rtpmap", f"{event_type} telephone-event/8000"), ("fmtp", f"{event_type} 0-15")]
    attributes += [("ptime", str(ptime)), (direction, None)]
    return MediaDescription("audio", local.port, local.protocol, tuple(formats), None, tuple(attributes))


def _description(local: LocalMedia, media: tuple[MediaDescription, ...], time: tuple[int, int]) -> SessionDescription:
    family = "IP6" if ":" in local.host else "IP4"
    return SessionDescription(
        origin=f"- {local.session_id} {local.version} IN {family} {local.host}",
        name="-",
        connection=Connection(family, local.host),
        time=time,
        media=media,
    )


__all__ = [
    "PCMA",
    "PCMU",
    "Agreed",
    "Attributes",
    "LocalMedia",
    "NotAcceptable",
    "SdpError",
    "make_answer",
    "make_offer",
    "read_answer",
]
