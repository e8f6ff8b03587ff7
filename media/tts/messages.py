"""The messages between the control process and the process that speaks (:mod:`media.tts.espeak`)."""

from __future__ import annotations

from media.ipc import Failed, Message, Ready


class Render(Message, frozen=True):
    """Speak ``text`` with the engine's voice ``voice`` at ``rate`` words a minute and store it as ``key``."""

    job: int
    key: str
    text: str
    voice: str
    rate: int


class Rendered(Message, frozen=True):
    """The prompt is in the store and lasts ``seconds``."""

    job: int
    seconds: float


class RenderFailed(Message, frozen=True):
    """There is no prompt. ``final``: it would fail again in the same way."""

    job: int
    reason: str
    final: bool


ToSpeaker = Render
FromSpeaker = Ready | Failed | Rendered | RenderFailed
