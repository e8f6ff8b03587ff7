"""Reports: what a media worker, and every other process of the media plane, tells the control process.

msgspec structs, tagged, encoded as msgpack arrays. Times are ``time.monotonic()`` seconds: one clock for all processes
of a machine. ``stream`` is the number that the command :class:`~media.commands.Open` gave.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from media.ipc import Failed, Message, Ready
from media.speech.messages import RecogniserLoad, UtteranceEnded, WordSpotted

KeyMethod = Literal["rfc4733", "inband", "info"]
RecordingEnd = Literal["stopped", "limit", "silence", "closed", "failed"]
CaptureEnd = Literal["closed", "limit", "failed"]
MachineResult = Literal["human", "machine", "unsure"]
MachineReason = Literal["greeting", "words", "beep", "announcement", "fax", "sit", "silence", "time"]
ToneKind = Literal["beep", "progress", "fax", "sit"]


class Opened(Message, frozen=True):
    """The stream has RTP on ``port``, and RTCP on the one above it."""

    stream: int
    port: int


class OpenFailed(Message, frozen=True):
    """There is no such stream; ``reason`` says why."""

    stream: int
    reason: str


class PlayEnded(Message, frozen=True):
    """``complete`` is false when the play was stopped, replaced or failed (``reason`` says which)."""

    stream: int
    play: int
    at: float
    complete: bool
    reason: str = ""


class DigitHeard(Message, frozen=True):
    """A key went down, by ``method``; de-duplication between methods is not done here."""

    stream: int
    digit: str
    method: KeyMethod
    at: float


class SpeechStarted(Message, frozen=True):
    """The far end began to speak at ``at``."""

    stream: int
    at: float


class SpeechEnded(Message, frozen=True):
    """Speech from ``since`` to ``at``, mean level ``dbfs`` (0 = full scale sine peak)."""

    stream: int
    since: float
    at: float
    dbfs: float


class Talking(Message, frozen=True):
    """A member of a gated room began to talk, or ended."""

    stream: int
    on: bool
    at: float


class UtteranceStarted(Message, frozen=True):
    """Speech began while words are listened for (:class:`~media.commands.Hear`)."""

    stream: int
    ticket: int
    at: float


class ToneHeard(Message, frozen=True):
    """A tone from ``since`` to ``until``: the "beep" of an answering machine, call "progress" (ringback, busy), "fax",
    or special information tones ("sit"; ``hertz`` of the last of them).
    """

    stream: int
    kind: ToneKind
    hertz: float
    since: float
    until: float


class MachineVerdict(Message, frozen=True):
    """Who answered, and why that is thought: the length or the number of words of the greeting, silence, a tone, or
    that time was up. ``confidence``, 0.5 to 1, orders verdicts; it is no probability. ``greeting``: its seconds so far,
    pauses included; ``words``: stretches of voice in it.
    """

    stream: int
    result: MachineResult
    reason: MachineReason
    confidence: float
    at: float
    greeting: float
    words: int


class MachineListens(Message, frozen=True):
    """A message can be spoken now: the "beep" (of ``hertz``) is over, none came in the "silence" after the greeting, or
    "time" was up.
    """

    stream: int
    why: MachineReason
    hertz: float
    at: float


class RtpLost(Message, frozen=True):
    """No packet came for so long (:class:`~media.commands.RtpTimeout`)."""

    stream: int
    seconds: float


class Recorded(Message, frozen=True):
    """The recording is over, and complete on disk unless it failed: ``seconds`` of sound, pauses left out.

    ``why`` it ended: "stopped" by command, "limit", "silence", "closed" with its stream, or "failed"; then ``reason``
    says how (a full disk, a folder that cannot be written to). ``lost`` counts samples that the ring could not hold:
    they are silence in the file.
    """

    stream: int
    recording: int
    path: str
    seconds: float
    lost: int = 0
    reason: str = ""
    why: RecordingEnd = "stopped"


class Captured(Message, frozen=True):
    """A capture is over, and its file complete: of ``octets``. ``why``: the stream was "closed" or is not captured any
    more, the "limit" of its call was reached, or it "failed"; then ``reason`` says how. May come after :class:`Closed`.
    """

    stream: int
    call: str
    octets: int
    why: CaptureEnd
    reason: str = ""


class StreamStats(msgspec.Struct, array_like=True, frozen=True):
    """Counts over the life of a stream; jitter and round trip in milliseconds (-1 = unknown)."""

    received: int = 0
    sent: int = 0
    lost: int = 0
    late: int = 0
    duplicated: int = 0
    reordered: int = 0
    malformed: int = 0
    foreign: int = 0
    jitter_ms: float = 0.0
    remote_lost: int = 0
    remote_jitter_ms: float = -1.0
    round_trip_ms: float = -1.0
    early: int = 0
    concealed: int = 0
    skew_ppm: float = 0.0
    delay_ms: float = 0.0
    """Mean time that sound waited in the jitter buffer."""
    burst_ratio: float = 1.0
    """Mean length of a run of lost packets over that of as many independent losses (ITU-T G.107)."""
    not_decrypted: int = 0
    """Packets of RTP and RTCP under wrong keys, forged, or repeated (RFC 3711)."""


class Closed(Message, frozen=True):
    """The stream is gone; nothing but a last ``Captured`` follows for it."""

    stream: int
    stats: StreamStats


class WorkerLoad(Message, frozen=True):
    """Sent every second: streams open, lateness of the tick in ms (median, p99, worst), drops, words not heard, and
    ``busy``, the share of the second in which the process computed (1.0 = all of one core).
    """

    streams: int
    late_ms_p50: float
    late_ms_p99: float
    late_ms_max: float
    kernel_drops: int
    ring_drops: int
    not_listening: int
    busy: float = 0.0


Report = (
    Ready
    | Failed
    | Opened
    | OpenFailed
    | PlayEnded
    | DigitHeard
    | SpeechStarted
    | SpeechEnded
    | Talking
    | WordSpotted
    | UtteranceStarted
    | UtteranceEnded
    | ToneHeard
    | MachineVerdict
    | MachineListens
    | RtpLost
    | Recorded
    | Captured
    | Closed
    | WorkerLoad
    | RecogniserLoad
)
