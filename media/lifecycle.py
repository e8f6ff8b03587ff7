"""The life of a stream: opened, directed by SDP as often as it is agreed on anew, and dropped, with its statistics."""

from __future__ import annotations

from random import Random

from media.codecs import PCMU, codec_of
from media.commands import Direct, Open
from media.g711 import Law
from media.kernels import Kernels
from media.rates import RATE, WIDE_RATE
from media.reporting import Reporter
from media.reports import Closed, Opened, OpenFailed, StreamStats
from media.sockets import NoPort, literal
from media.stream import Stream


class Lifecycle:
    """Lets streams begin, change and end in all kernels. ``wall`` is the wall clock minus the monotonic one."""

    def __init__(self, kernels: Kernels, random: Random, wall: float) -> None:
        self._kernels = kernels
        self._random = random
        self._wall = wall

    def open(self, message: Open, now: float) -> None:
        """Bind ports; tells of :class:`Opened` or :class:`OpenFailed`."""
        try:
            port = self._open(message, now)
        except NoPort as error:
            self._kernels.reports.append(OpenFailed(message.stream, str(error)))
        else:
            self._kernels.reports.append(Opened(message.stream, port))

    def _open(self, message: Open, now: float) -> int:
        """The RTP port. Raises :class:`NoPort`."""
        kernels = self._kernels
        if kernels.streams.get(message.stream) is not None:
            raise NoPort("stream is open")
        place = kernels.streams.place()
        if place is None:
            raise NoPort("no room for more streams")
        slot, phase = place
        port = kernels.sockets.open(slot, message.local, now)
        kernels.sender.open(slot)
        reporter = Reporter(self._random, kernels.sender.ssrc[slot], self._wall, now)
        kernels.streams.add(Stream(message.stream, slot, phase, reporter, f"{self._random.getrandbits(96):024x}"))
        kernels.intake.open(slot, now)
        kernels.jitter.open(slot)
        kernels.tones.open(slot)
        kernels.listening.open(slot)
        return port

    def direct(self, stream: Stream, message: Direct, now: float) -> None:
        """Exchange packets with whom, and as, SDP says."""
        kernels, slot = self._kernels, stream.slot
        kernels.shields.direct(slot, message.srtp)
        remote = literal(message.host, message.port)
        moved = remote != stream.latch.remote or message.relatch or not stream.live
        stream.latch.direct(remote, now, anew=message.relatch)
        if moved:
            kernels.sockets.direct(slot, remote)
        stream.live = True
        _agree_on_sound(stream, message)
        stream.event_types = frozenset({message.event_type, message.receive_event_type} - {-1})
        stream.may_send, stream.may_receive = message.send, message.receive
        stream.timeout_since, stream.lost_reported = now, False
        kernels.rtcp.direct(stream, message.rtcp_port, moved=moved)
        kernels.intake.direct(stream)
        kernels.sender.direct(slot, stream.codec, message.payload_type, message.ptime, message.event_type)
        kernels.wideband.direct(slot, wide=stream.codec.rate == WIDE_RATE)
        kernels.bridging.direct(stream)
        kernels.captures.changed(slot)
        kernels.streams.deal(stream)

    def drop(self, stream: Stream, now: float) -> None:
        """End all that goes on with ``stream``, and close it; tells of :class:`Closed`."""
        kernels, slot = self._kernels, stream.slot
        kernels.bridging.drop(stream, now)
        kernels.player.drop(slot, now)
        kernels.wideband.drop(slot, now)
        kernels.recorder.drop(slot)
        kernels.listening.close(slot, stream.number)
        if stream.live:
            kernels.rtcp.send(stream, now, leaving=True)
        kernels.captures.stop(slot)
        statistics = self._statistics(stream)
        kernels.sender.close(slot)
        kernels.shields.close(slot)
        kernels.intake.close(slot)
        kernels.rtcp.close(slot)
        kernels.sockets.close(slot, now)
        kernels.streams.remove(stream)
        kernels.reports.append(Closed(stream.number, statistics))

    def _statistics(self, stream: Stream) -> StreamStats:
        kernels, slot = self._kernels, stream.slot
        reception, jitter, reporter = kernels.reception, kernels.jitter, stream.reporter
        refused, repeated = kernels.shields.counts(slot)
        return StreamStats(
            received=reception.received(slot),
            sent=int(kernels.sender.sent[slot]),
            lost=reception.lost(slot),
            late=int(jitter.late[slot]),
            duplicated=int(reception.duplicated[slot]) + repeated,
            reordered=int(reception.reordered[slot]),
            malformed=stream.malformed,
            foreign=stream.foreign,
            jitter_ms=float(reception.jitter[slot]) * 1000 / RATE,
            remote_lost=reporter.remote_lost,
            remote_jitter_ms=reporter.remote_jitter,
            round_trip_ms=reporter.round_trip,
            early=int(jitter.early[slot]),
            concealed=int(jitter.concealed[slot]),
            skew_ppm=reception.skew_ppm(slot),
            delay_ms=1000 * jitter.delay(slot),
            burst_ratio=reception.burst_ratio(slot),
            not_decrypted=refused,
        )


def _agree_on_sound(stream: Stream, message: Direct) -> None:
    """The codec, and the payload types that it may come in; a codec that is not known counts as PCMU."""
    try:
        codec = codec_of(message.codec, message.payload_type)
    except ValueError:
        codec = PCMU
    if codec.is_g711:
        stream.decoder = None
        stream.sound_type = codec.payload_type
        stream.sound_types = frozenset({codec.payload_type, message.other_payload_type} & set(Law))
    else:
        if stream.decoder is None or codec is not stream.codec:
            stream.decoder = codec.decoder()
        other = message.receive_payload_type
        stream.sound_type = message.payload_type if other < 0 else other
        stream.sound_types = frozenset({stream.sound_type})
    stream.codec = codec
