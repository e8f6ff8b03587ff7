"""What a live call asks of those who set it up: SIP, its recordings, others to talk with."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn, Protocol, cast

from flows.call import CallEnded, Note, RecordingOrder
from flows.orders import BridgeSession, Conference, Dial, Enqueue, Outcome, Park, Voicemail
from media import commands


class Signalling(Protocol):
    """What a live call needs of SIP and of its recordings; the supervisor has it."""

    async def answer(self) -> float:
        """Answer; the time of the 200. Raises CallEnded if there is nobody to answer any more."""

    def early_media(self) -> str:
        """Have sound reach the caller before the answer; why that cannot be, empty if it can."""

    def respond(self, status: int, reason: str) -> None:
        """What to refuse the call with when it ends, or to say when it hangs up."""

    def send_digits(self, digits: str, tone: float, gap: float) -> None: ...

    def detect_machine(self, limits: commands.MachineLimits | None) -> None:
        """Find out who answered (``None``: no longer); :meth:`LiveCall.report` gets what is found."""

    def publish(self, entity: str, state: str) -> None:
        """Tell the subscribers of ``entity`` that it is ``idle``, ``ringing`` or ``busy``."""

    async def dial(self, order: Dial) -> Outcome:
        """Ring others and bridge the caller with one. Raises CallEnded, and Unsupported where calls stay inside."""

    async def meet(self, order: Conference | Park | Enqueue | BridgeSession) -> Outcome:
        """Bring the caller together with others who called. Raises CallEnded."""

    async def voicemail(self, order: Voicemail) -> Outcome:
        """Let the caller leave a message, or hear those that were left. Raises CallEnded."""

    def keys_are_secret(self, since: float | None) -> None:
        """Nothing that is captured of the call is to tell the keys pressed ``since`` then, on the loop's clock, until
        it is told so again (``None``: no longer).
        """

    def begin_recording(self, order: RecordingOrder, path: Path | None = None, *, listed: bool = True) -> str:
        """Record from now on, into ``path`` or a file of its own name; the recording's id. What is not ``listed`` is
        not put down as a recording of the call.

        Raises :class:`~flows.call.Unsupported`.
        """

    async def complete_recording(self, recording: str) -> tuple[float, str]:
        """End it, if it has not ended, and wait for its file: its seconds, and why it ended or what went wrong."""

    def end_recording(self, recording: str) -> None: ...

    def refer(self, target: str) -> None: ...

    def put_down(self, note: Note) -> None: ...


class _Gone:
    """The signalling of a call that nobody will ask for anything: who does all the same hears that it is over."""

    def __getattr__(self, name: str) -> NoReturn:
        raise CallEnded("error", "the call is over")


GONE = cast("Signalling", _Gone())
"""For who has nobody to ask any more."""
