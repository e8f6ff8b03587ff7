"""Commands: what the control process asks of a media worker.

msgspec structs, tagged, encoded as msgpack arrays. Times are ``time.monotonic()`` seconds: one clock for all processes
of a machine. ``stream`` is a number that the control process chooses, unique for the life of a worker. The answers,
such as ``Opened``, are :mod:`media.reports`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from media.ipc import Message

Sides = Literal["both", "caller", "engine", "mix"]
SoundFormat = Literal["wav", "mp3"]


MAX_STREAMS = 4096
"""Streams that one media worker takes at most."""


class Open(Message, frozen=True):
    """Bind an RTP and RTCP port pair on ``local``. Answer: ``Opened`` or ``OpenFailed``."""

    stream: int
    local: str


class Srtp(msgspec.Struct, array_like=True, frozen=True):
    """Keys of encrypted media: a ``suite`` of RFC 4568 6.2; ``send`` and ``receive`` are master key and salt."""

    suite: str
    send: bytes
    receive: bytes

    def __repr__(self) -> str:
        return f"Srtp({self.suite})"


class Direct(Message, frozen=True):
    """What SDP agreed on: where to send, in which codec. Sent again after each offer/answer.

    ``codec`` is "PCMU", "PCMA", "G722" or "L16", empty: what ``payload_type`` stands for statically
    (RFC 3551 section 6); ``payload_type`` is the number to send; ``event_type`` is the telephone-event
    payload type to send, -1 when there is none; ``relatch`` lets symmetric RTP latch anew.
    The same numbers are expected, but when not -1 ``receive_payload_type`` in place of ``payload_type``,
    and beside them ``receive_event_type``, and for the G.711 laws ``other_payload_type`` (0 or 8), between
    which the peer may change at will.
    The stream sends (silence when nothing plays) from this message on while ``send`` is true. With ``srtp`` it is
    encrypted both ways, RTCP too (RFC 3711), and what cannot be decrypted is not heard.
    """

    stream: int
    host: str
    port: int
    rtcp_port: int
    payload_type: int
    event_type: int = -1
    ptime: int = 20
    send: bool = True
    receive: bool = True
    relatch: bool = False
    receive_event_type: int = -1
    other_payload_type: int = -1
    codec: str = ""
    receive_payload_type: int = -1
    srtp: Srtp | None = None


class Play(Message, frozen=True):
    """Play ``files`` (16-bit mono WAV of 8 or 16 kHz, from the prompt store) one after another.

    Replaces what is playing. ``start_at``: not before this time (0 = now). ``PlayEnded``
    with the same ``play`` follows exactly once, also when stopped or replaced.
    """

    stream: int
    play: int
    files: list[str]
    start_at: float = 0.0
    loop: bool = False


class Stop(Message, frozen=True):
    """Stop what is playing, with a short fade."""

    stream: int


class Hear(Message, frozen=True):
    """Listen for ``words`` (none: no longer). ``ticket`` comes back with what was heard."""

    stream: int
    ticket: int
    words: list[str] = []  # noqa: RUF012 - msgspec gives each message a list of its own
    language: str = "en"


class Activity(Message, frozen=True):
    """Report speech of the far end as ``SpeechStarted`` and ``SpeechEnded``, or stop."""

    stream: int
    on: bool


class MachineLimits(msgspec.Struct, array_like=True, frozen=True):
    """What tells an answering machine from a person, in seconds (``words``: a count)."""

    initial_silence: float = 3.0
    """Nothing said for this long: unsure."""
    greeting: float = 2.0
    """A greeting, its pauses included, of this length or more is a machine's."""
    pause: float = 0.8
    """Silence after a shorter one: a person waits for an answer."""
    words: int = 5
    """More words than this are a machine's."""
    word: float = 0.1
    """Voice of this length is a word."""
    between_words: float = 0.1
    """Silence of this length ends one."""
    total: float = 6.0
    """Something was said, and nothing decided: unsure."""
    message_pause: float = 2.0
    """Silence after a machine's greeting in which no beep came: it listens."""
    patience: float = 30.0
    """A beep is waited for this long after the verdict, and the end of ringback after the answer before it."""


class DetectMachine(Message, frozen=True):
    """Find out who answered: exactly one ``MachineVerdict``, unless the stream ends or ``on`` is false before;
    after that of a machine that is no fax, and whenever a beep is heard, ``MachineListens``, at most one; and
    ``ToneHeard``. Sent with ``answered`` false, it listens to early media: only an announcement, a fax or special
    information tones give a verdict then, and it goes on until it is sent again at the answer, which begins anew.
    """

    stream: int
    on: bool = True
    answered: bool = True
    limits: MachineLimits = MachineLimits()


class SendDigits(Message, frozen=True):
    """Press ``digits``: ``on_ms`` of tone (or event), ``off_ms`` of silence after each."""

    stream: int
    digits: str
    method: Literal["rfc4733", "inband"] = "rfc4733"
    on_ms: int = 100
    off_ms: int = 100


class PassKey(Message, frozen=True):
    """The telephone of ``stream`` sent a key, but not in its sound: who the stream is relayed to gets it pressed."""

    stream: int
    digit: str


class Record(Message, frozen=True):
    """Record into ``path``. ``recording`` is a number that the control process chooses; one that is in use on this
    stream ends the recording before. ``Recorded`` follows exactly once.

    ``sides``: "both" (stereo, received left, sent right), or in mono "caller" (received), "engine" (sent) or "mix"
    (their sum). ``format``: 8 kHz, "wav" (16-bit PCM) or "mp3" (16 kbit/s a side). It ends after ``limit`` seconds of
    sound, and when the caller has said nothing for ``silence`` seconds (0 = no end); ``trim`` cuts off what comes after
    the caller's last words. ``beep``: 1000 Hz are played first, and not recorded.
    """

    stream: int
    recording: int
    path: str
    sides: Sides = "both"
    format: SoundFormat = "wav"
    limit: float = 0.0
    silence: float = 0.0
    trim: bool = False
    beep: bool = False


class PauseRecord(Message, frozen=True):
    """What sounds from now on is left out of the recording; or (``on`` false) recorded again."""

    stream: int
    recording: int
    on: bool


class StopRecord(Message, frozen=True):
    """Close the recording. ``Recorded`` follows when the file is complete."""

    stream: int
    recording: int


class Capture(Message, frozen=True):
    """Put all packets of the stream, both ways, RTCP too, into the file ``path`` (:mod:`media.packetlog`), in place of
    the file before. The streams of one ``call`` in this worker take ``limit`` octets together. ``Captured``
    follows exactly once, unless the same stream is captured into the same file again at once.
    """

    stream: int
    path: str
    call: str
    limit: int


class StopCapture(Message, frozen=True):
    """Put no more of its packets down. ``Captured`` follows when the file is complete."""

    stream: int


class Join(Message, frozen=True):
    """Into the room ``room`` (again: with other rights): the stream sends the sum of the other members' sound, and what
    it plays over that. ``muted``: nobody hears it; ``deaf``: it hears nobody. In a room that is ``gated``, only members
    who talk are in the sum, and ``Talking`` reports them.
    """

    stream: int
    room: int
    muted: bool = False
    deaf: bool = False
    gated: bool = True


class Leave(Message, frozen=True):
    """Out of the room that the stream is in, if it is in one."""

    stream: int


class Relay(Message, frozen=True):
    """Bridge: packets that ``stream`` receives go out of ``to`` (both of this worker) as they are, under the numbering
    of ``to``; in another codec they are transcoded. ``to`` 0: no longer. One direction; the other one is a command of
    its own. While it is relayed to, ``to`` sends nothing else but what it is told to play. A stream between two others
    in codecs that all differ is transcoded to one of them only.
    """

    stream: int
    to: int


class RtpTimeout(Message, frozen=True):
    """Report silence of the network: ``RtpLost`` after ``seconds`` without a packet (0 = off)."""

    stream: int
    seconds: float


class Drop(Message, frozen=True):
    """Close the stream. ``Closed`` follows with its statistics."""

    stream: int


class UseRecogniser(Message, frozen=True):
    """Connect to the recogniser that listens on this Unix socket (again, if it was restarted).

    There are ``of`` recognisers, numbered from 0; streams are dealt out among them by their numbers.
    """

    path: str
    number: int = 0
    of: int = 1


Command = (
    Open
    | Direct
    | Play
    | Stop
    | Hear
    | Activity
    | DetectMachine
    | SendDigits
    | PassKey
    | Record
    | PauseRecord
    | StopRecord
    | Capture
    | StopCapture
    | Join
    | Leave
    | Relay
    | RtpTimeout
    | Drop
    | UseRecogniser
)
