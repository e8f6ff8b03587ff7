"""How good a call sounded, by the E-model (ITU-T G.107) with the values of G.113: from counts to R and MOS.

Of the model, what a packet network changes: loss, with its burstiness and the codec's robustness, and delay. Everything
else has the default of the Recommendation, echo control included, which makes R 93.2 and MOS 4.41 at best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from media.reports import StreamStats

BEST = 93.2
"""R with all parameters at their default (G.107 7.7)."""

PACKET_MS = 20.0


@dataclass(frozen=True, slots=True)
class Codec:
    """The equipment impairment ``ie`` of a codec without loss, and its robustness ``bpl`` to it (G.113 Appendix I)."""

    ie: float
    bpl: float


WAVEFORM = Codec(0.0, 25.1)
"""G.711 with packet loss concealment: PCMU, PCMA, and L16, which loses as little."""

CODECS = {"PCMU": WAVEFORM, "PCMA": WAVEFORM, "L16": WAVEFORM, "G722": WAVEFORM}
"""By RTP encoding name. G.722 is put on the scale of narrowband telephony, so that calls can be compared: there it is
no worse than G.711 and gets the same values. What the wider band adds, up to 129 on the scale of G.107.1, does not
show.
"""


@dataclass(frozen=True, slots=True)
class Quality:
    """The rating ``r`` (0 to 93.2) and mean opinion ``mos`` (1 to 4.41) of what was heard; ``loss`` is a share of 1."""

    r: float
    mos: float
    loss: float


def delay_impairment(delay_ms: float) -> float:
    """Idd of a one-way delay without echo (G.107 7.4): nothing up to 100 ms."""
    if delay_ms <= 100:
        return 0.0
    x = math.log2(delay_ms / 100)
    return 25 * (math.pow(1 + x**6, 1 / 6) - 3 * math.pow(1 + (x / 3) ** 6, 1 / 6) + 2)


def loss_impairment(loss: float, burst_ratio: float = 1.0, codec: Codec = WAVEFORM) -> float:
    """Ie,eff of a share ``loss`` (0 to 1) of packets that come in runs ``burst_ratio`` times as long as by chance
    (G.107 7.5).
    """
    percent = 100 * min(max(loss, 0.0), 1.0)
    return codec.ie + (95 - codec.ie) * percent / (percent / max(burst_ratio, 0.01) + codec.bpl)


def rating(loss: float, burst_ratio: float = 1.0, delay_ms: float = 0.0, codec: Codec = WAVEFORM) -> float:
    """R, from 0 (worst) to BEST."""
    return max(0.0, BEST - delay_impairment(delay_ms) - loss_impairment(loss, burst_ratio, codec))


def opinion(r: float) -> float:
    """The mean opinion score that a rating stands for (G.107 Annex B), from 1 to 4.5."""
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)


def judge(stats: StreamStats, encoding: str = "PCMU", packet_ms: float = PACKET_MS) -> Quality | None:
    """The quality of what a stream received: None when nothing came. What was lost on the way or came too late is lost;
    delay is half the round trip, if that is known, the wait in the jitter buffer, and the time to fill a packet.
    Raises :class:`KeyError` for an encoding that is not in CODECS.
    """
    if not stats.received:
        return None
    loss = min(1.0, (stats.lost + stats.late) / (stats.received + stats.lost))
    delay = max(0.0, stats.round_trip_ms) / 2 + stats.delay_ms + packet_ms
    r = rating(loss, stats.burst_ratio, delay, CODECS[encoding])
    return Quality(r, opinion(r), loss)
