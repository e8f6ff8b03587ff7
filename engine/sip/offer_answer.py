"""Offer and answer (RFC 3264) for one stream of audio with telephone-events (RFC 4733)."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from engine.sip import sdes
from engine.sip.sdes import SECURE_PROFILES, Crypto, SrtpKeys
from engine.sip.sdp import Attributes, Connection, MediaDescription, RtpMap, SdpError, SessionDescription

CODECS = ("PCMU", "PCMA", "G722", "L16")
"""All that we have, by their encoding names, mono; the RTP clock of each is 8 kHz, also that of G.722."""

G711 = {"PCMU": 0, "PCMA": 8}
"""Its two laws, with their payload types (RFC 3551 section 6)."""

_STATIC = {**G711, "G722": 9}
"""Payload types that need no rtpmap (RFC 3551 section 6)."""

_MEANINGS = {RtpMap(name.lower(), 8000): name for name in CODECS}
_DYNAMIC = range(96, 128)
_EVENTS = RtpMap("telephone-event", 8000)
_PROTOCOLS = frozenset({"RTP/AVP", "RTP/AVPF"}) | SECURE_PROFILES
"""Early feedback (RFC 4585) may be sent; we have none to send."""

_ip = lru_cache(maxsize=4096)(ipaddress.ip_address)
_BROADCAST = ipaddress.ip_address("255.255.255.255")
_SENDS = frozenset({"sendrecv", "sendonly"})
_RECEIVES = frozenset({"sendrecv", "recvonly"})

MIN_PTIME, MAX_PTIME = 10, 60
"""Milliseconds of sound per packet that the media plane can send, in steps of 10."""


class NotAcceptable(ValueError):
    """No common ground: 488 (RFC 3261 section 21.4.26)."""


@dataclass(frozen=True, slots=True)
class LocalMedia:
    """What our end offers. ``host`` and ``port`` are where RTP shall be sent; ``version`` grows with every
    description that differs from the one before (RFC 3264 section 8). ``codecs`` are names of :data:`CODECS`, the
    one that we like best first. ``event_type`` -1: no telephone-event. ``crypto`` are our keys for SRTP (none: there
    is no SRTP); ``plain``: RTP may go unencrypted.
    """

    host: str
    port: int
    session_id: int
    version: int = 1
    codecs: tuple[str, ...] = tuple(G711)
    event_type: int = 101
    ptime: int = 20
    direction: str = "sendrecv"
    protocol: str = "RTP/AVP"
    crypto: tuple[Crypto, ...] = ()
    plain: bool = True


@dataclass(frozen=True, slots=True)
class Agreed:
    """What both ends settled on. ``host``, ``port``, ``rtcp_port`` are the remote end's (``rtcp_port`` 0: none).

    ``codec`` is one of :data:`CODECS`; ``event_type`` -1 when there are no telephone-events; ``ptime`` is what to
    send, in ms; ``send`` and ``receive`` are seen from here; ``held``: the remote end takes no media from us.

    ``payload_type`` and ``event_type`` are what to send. What else comes (RFC 3264 sections 5.1, 6.1: each end
    sends by the numbers in the other's description, in any format that both list): ``receive_payload_type`` and
    ``receive_event_type`` in place of them, -1 when they are the same; ``other_payload_type`` is the other G.711
    law beside the one in ``codec``, -1 when there is none. ``srtp``: the keys of encrypted media.
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
    codec: str = "PCMU"
    receive_payload_type: int = -1
    srtp: SrtpKeys | None = None


def make_offer(local: LocalMedia, previous: SessionDescription | None = None) -> SessionDescription:
    """A full offer of ``local``. ``previous`` is our last description in this session, if there was one:
    its sections keep their places (RFC 3264 section 8), refused ones stay refused, and neither its profile
    nor the meaning of its payload types is changed (section 8.3.2).
    """
    maps: dict[str, RtpMap] = {}
    crypto = local.crypto if local.protocol in SECURE_PROFILES else ()
    if previous is not None:
        local = replace(local, protocol=_protocol_of(previous))
        maps = _rtpmaps_of(previous)
        crypto = local.crypto if _is_encrypted(previous) else ()
    numbers, event_type = _numbers(local, maps)
    ours = _audio(local, numbers, event_type, local.ptime, local.direction, crypto)
    place = 0 if previous is None else _live_section(previous)
    media = [ours] if previous is None or place < 0 else [_refused(section) for section in previous.media]
    if previous is not None and place >= 0:
        media[place] = ours
    return _description(local, tuple(media), (0, 0))


def make_answer(
    offer: SessionDescription, local: LocalMedia, prefer: Sequence[str] = ()
) -> tuple[SessionDescription, Agreed]:
    """Our answer to ``offer`` and what it agrees on.

    The first audio section that we can do is taken, in the first codec of ``prefer`` that is in it, or else in the
    first of the offer's order that we have; all other sections are refused in their places with port 0 (RFC 3264
    section 6). Raises :class:`NotAcceptable`.
    """
    place, agreed, lines = _taken(offer, local, prefer)
    numbers = {agreed.codec: agreed.payload_type}
    media = [_refused(other) for other in offer.media]
    direction = _direction(agreed.send, agreed.receive)
    ours = replace(local, protocol=offer.media[place].protocol)
    media[place] = _audio(ours, numbers, agreed.event_type, agreed.ptime, direction, lines)
    # Section 6: "the 't=' line in the answer MUST be exactly the same as the one in the offer".
    return _description(local, tuple(media), offer.time), agreed


def codecs_offered(offer: SessionDescription, local: LocalMedia) -> tuple[str, ...]:
    """Those that :func:`make_answer` chooses from, in the order of ``offer``; none if nothing can be made of it."""
    try:
        place, _, _ = _taken(offer, local)
    except NotAcceptable:
        return ()
    section = offer.media[place]
    return tuple(name for name, _ in _codecs(section, section.rtpmaps(), local.codecs, _STATIC))


def _taken(
    offer: SessionDescription, local: LocalMedia, prefer: Sequence[str] = ()
) -> tuple[int, Agreed, tuple[Crypto, ...]]:
    """(place of the section of ``offer`` that we take, what is agreed, our ``a=crypto`` lines). Raises
    :class:`NotAcceptable`.
    """
    reason = "no audio offered"
    for place, section in enumerate(offer.media):
        if section.kind != "audio" or section.port == 0:
            continue
        try:
            lines, keys = _secure(section, local)
            agreed = _agree(offer, section, local, _STATIC, prefer)
        except NotAcceptable as error:
            reason = str(error)
            continue
        # One law is answered, so the other does not come either.
        return place, replace(agreed, other_payload_type=-1, srtp=keys), lines
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
    maps = ours.rtpmaps()
    numbers = dict(_codecs(ours, maps, CODECS, _STATIC))
    local = LocalMedia(
        connection.address if connection else "",
        ours.port,
        0,
        0,
        tuple(numbers),
        _events(ours, maps),
        direction=offer.direction_of(ours),
    )
    # What they took in under our numbers, forgetting the rtpmap, means what it meant in the offer.
    agreed = replace(_agree(answer, theirs, local, numbers), srtp=_secured(ours, theirs))
    if agreed.event_type < 0 <= local.event_type and str(local.event_type) in theirs.formats:
        agreed = replace(agreed, event_type=local.event_type)
    # Section 6.1: they send by the numbers of our offer, we by those of their answer.
    if agreed.event_type not in (-1, local.event_type):
        agreed = replace(agreed, receive_event_type=local.event_type)
    if agreed.payload_type != numbers[agreed.codec]:
        agreed = replace(agreed, receive_payload_type=numbers[agreed.codec])
    return agreed


def _agree(
    description: SessionDescription,
    section: MediaDescription,
    local: LocalMedia,
    known: Mapping[str, int],
    prefer: Sequence[str] = (),
) -> Agreed:
    """What we can do of a remote section; ``known`` are numbers that need no rtpmap. Raises :class:`NotAcceptable`."""
    if section.protocol.upper() not in _PROTOCOLS:
        raise NotAcceptable(f"media over {section.protocol}")
    maps = section.rtpmaps()
    codecs = _codecs(section, maps, local.codecs, known)
    if not codecs:
        raise NotAcceptable(f"no common codec (we have {', '.join(local.codecs)})")
    rank = {name: place for place, name in enumerate(prefer)}
    (codec, payload_type), *others = sorted(codecs, key=lambda found: rank.get(found[0], len(rank)))
    connection = description.connection_of(section)
    if connection is None:
        raise NotAcceptable("no c= line")
    address_known = _check_address(connection, local.host)
    theirs = description.direction_of(section)
    # c=0.0.0.0 is how RFC 2543 put on hold: no media to them (RFC 3264 section 8.4).
    they_receive = theirs in _RECEIVES and address_known
    return Agreed(
        payload_type=payload_type,
        event_type=_events(section, maps) if local.event_type >= 0 else -1,
        ptime=_ptime(section, local.ptime),
        host=connection.address,
        port=section.port,
        rtcp_port=_rtcp_port(section),
        send=they_receive and local.direction in _SENDS,
        receive=theirs in _SENDS and local.direction in _RECEIVES,
        held=not they_receive,
        other_payload_type=next((number for name, number in others if {codec, name} == set(G711)), -1),
        codec=codec,
    )


def _secure(section: MediaDescription, local: LocalMedia) -> tuple[tuple[Crypto, ...], SrtpKeys | None]:
    """Our ``a=crypto`` lines in the answer to an offered section, and the keys. Raises :class:`NotAcceptable`.

    RTP/AVP with keys is a wish for encryption that who lacks it may overlook (RFC 8643).
    """
    chosen = sdes.choose(sdes.read(section), local.crypto)
    if chosen is not None:
        return (chosen[0],), chosen[1]
    if section.protocol.upper() in SECURE_PROFILES:
        why = "no common crypto suite" if local.crypto else "SRTP is not allowed here"
        raise NotAcceptable(f"media over {section.protocol}: {why}")
    if not local.plain:
        raise NotAcceptable("RTP without encryption is not allowed here")
    return (), None


def _secured(ours: MediaDescription, theirs: MediaDescription) -> SrtpKeys | None:
    """The keys of an answered section. Raises :class:`NotAcceptable` for a profile that we did not offer."""
    secure = ours.protocol.upper() in SECURE_PROFILES
    if secure != (theirs.protocol.upper() in SECURE_PROFILES):
        raise NotAcceptable(f"{theirs.protocol} in the answer to {ours.protocol}")
    keys = sdes.accepted(sdes.read(ours), sdes.read(theirs))
    if secure and keys is None:
        raise NotAcceptable("the answer has no key to one of our crypto suites")
    return keys


def _codecs(
    section: MediaDescription, maps: Mapping[str, RtpMap], ours: Collection[str], known: Mapping[str, int]
) -> list[tuple[str, int]]:
    """Those of ``ours`` that are in the section, in its order, each with its first payload type.

    An rtpmap says what a number means; without one, ``known`` does. G.711 goes by its static numbers alone.
    """
    unmapped = {str(number): name for name, number in known.items()}
    found: dict[str, int] = {}
    for item in section.formats:
        meaning = maps.get(item)
        name = unmapped.get(item) if meaning is None else _MEANINGS.get(meaning)
        number = _payload_type(item)
        if name is None or name in found or name not in ours:
            continue
        if number >= 0 and G711.get(name, number) == number:
            found[name] = number
    return list(found.items())


def _payload_type(item: str) -> int:
    """The number of a format, -1 when it is none."""
    number = int(item) if item.isascii() and item.isdigit() and len(item) <= 3 else -1
    return number if number <= 127 else -1


def _numbers(local: LocalMedia, maps: Mapping[str, RtpMap]) -> tuple[dict[str, int], int]:
    """Payload types for our codecs and for telephone-events; those of ``maps`` keep their meaning."""
    meant = {_MEANINGS[meaning]: int(item) for item, meaning in maps.items() if meaning in _MEANINGS}
    taken = {int(item) for item in maps}
    event_type = next((int(item) for item, meaning in maps.items() if meaning == _EVENTS), local.event_type)
    if event_type >= 0 and maps.get(str(event_type), _EVENTS) != _EVENTS:
        event_type = next(number for number in _DYNAMIC if number not in taken)
    free = (number for number in _DYNAMIC if number not in {*taken, event_type})
    numbers: dict[str, int] = {}
    for name in local.codecs:
        number = meant.get(name, _STATIC.get(name, -1))
        numbers[name] = number if number >= 0 else next(free)
    return numbers, event_type


def _events(section: MediaDescription, maps: dict[str, RtpMap]) -> int:
    """The payload type of 8 kHz telephone-events, -1 when there is none (RFC 4733 section 2.4)."""
    for item in section.formats:
        if maps.get(item) == _EVENTS and _payload_type(item) >= 0:
            return _payload_type(item)
    return -1


def _rtpmaps_of(description: SessionDescription) -> dict[str, RtpMap]:
    """What the payload types of the section in use mean."""
    place = _live_section(description)
    return description.media[place].rtpmaps() if place >= 0 else {}


def _protocol_of(description: SessionDescription) -> str:
    place = _live_section(description)
    return description.media[place].protocol if place >= 0 else "RTP/AVP"


def _is_encrypted(description: SessionDescription) -> bool:
    place = _live_section(description)
    return place >= 0 and description.media[place].attribute("crypto") is not None


def _check_address(connection: Connection, local_host: str) -> bool:
    """False for an address that stands for "none" (on hold). Raises :class:`NotAcceptable` for one we cannot reach."""
    if connection.address.lower().endswith(".invalid"):  # RFC 6157 section 5.2
        return False
    try:
        address = _ip(connection.address)
    except ValueError:
        raise NotAcceptable("media address is no IP address") from None
    if connection.is_multicast or address.is_multicast or address == _BROADCAST:
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


def _audio(
    local: LocalMedia,
    numbers: Mapping[str, int],
    event_type: int,
    ptime: int,
    direction: str,
    crypto: Collection[Crypto] = (),
) -> MediaDescription:
    formats = [str(number) for number in numbers.values()]
    attributes: list[tuple[str, str | None]] = [("rtpmap", f"{number} {name}/8000") for name, number in numbers.items()]
    if event_type >= 0:
        formats.append(str(event_type))
        # Events 0-15 are the sixteen keys (RFC 4733 section 3.2).
        attributes += [("rtpmap", f"{event_type} telephone-event/8000"), ("fmtp", f"{event_type} 0-15")]
    attributes += [("crypto", str(line)) for line in crypto]
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
    "CODECS",
    "G711",
    "Agreed",
    "Attributes",
    "LocalMedia",
    "NotAcceptable",
    "SdpError",
    "codecs_offered",
    "make_answer",
    "make_offer",
    "read_answer",
]
