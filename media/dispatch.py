"""Commands of the control process, each given to the kernel that it concerns.

Nearly all are about one stream. When that is gone they are ignored, but for those whose end is reported in any case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from media import commands
from media.commands import Command
from media.kernels import Kernels
from media.lifecycle import Lifecycle
from media.recorder import BEEP
from media.reports import Captured, PlayEnded, Recorded, Report
from media.stream import Stream

_GONE = "no such stream"


class Dispatcher:
    """Does what is commanded."""

    def __init__(self, kernels: Kernels, lifecycle: Lifecycle) -> None:
        self._kernels = kernels
        self._lifecycle = lifecycle
        self._handlers: dict[type, Callable[[Stream, Any, float], None]] = {
            commands.Direct: lifecycle.direct,
            commands.Play: self._play,
            commands.Stop: self._stop,
            commands.Hear: self._hear,
            commands.Activity: self._activity,
            commands.DetectMachine: self._detect_machine,
            commands.SendDigits: self._send_digits,
            commands.PassKey: self._pass_key,
            commands.Record: self._record,
            commands.PauseRecord: self._pause_record,
            commands.StopRecord: self._stop_record,
            commands.Capture: self._capture,
            commands.StopCapture: self._stop_capture,
            commands.Join: self._join,
            commands.Leave: self._leave,
            commands.Relay: self._relay,
            commands.RtpTimeout: self._rtp_timeout,
            commands.Drop: self._drop,
        }

    def command(self, message: Command, now: float) -> None:
        """Do what ``message`` says."""
        kernels = self._kernels
        match message:
            case commands.Open():
                self._lifecycle.open(message, now)
            case commands.UseRecogniser():
                kernels.listening.connect(message.path, message.number, message.of, now)
            case _:
                stream = kernels.streams.get(message.stream)
                if stream is not None:
                    self._handlers[type(message)](stream, message, now)
                elif (end := _end_without_stream(message, now)) is not None:
                    kernels.reports.append(end)

    def _drop(self, stream: Stream, message: commands.Drop, now: float) -> None:
        self._lifecycle.drop(stream, now)

    def _rtp_timeout(self, stream: Stream, message: commands.RtpTimeout, now: float) -> None:
        stream.timeout, stream.timeout_since, stream.lost_reported = message.seconds, now, False

    # --- what it sends ------------------------------------------------------------------

    def _play(self, stream: Stream, message: commands.Play, now: float) -> None:
        narrow, wide = self._kernels.player, self._kernels.wideband.player
        player, other = (wide, narrow) if self._kernels.wideband.is_wide[stream.slot] else (narrow, wide)
        other.stop(stream.slot, now, "replaced")
        player.play(stream.slot, stream.number, message.play, message.files, message.start_at, now, loop=message.loop)

    def _stop(self, stream: Stream, message: commands.Stop, now: float) -> None:
        self._kernels.player.stop(stream.slot, now)
        self._kernels.wideband.player.stop(stream.slot, now)

    def _send_digits(self, stream: Stream, message: commands.SendDigits, now: float) -> None:
        as_events = message.method == "rfc4733"
        self._kernels.keypad.press(stream.slot, message.digits, message.on_ms, message.off_ms, as_events=as_events)

    def _pass_key(self, stream: Stream, message: commands.PassKey, now: float) -> None:
        self._kernels.bridging.relays.press(stream.slot, message.digit, apart=True)

    # --- what is made of what it receives -----------------------------------------------

    def _hear(self, stream: Stream, message: commands.Hear, now: float) -> None:
        self._kernels.listening.hear(stream.slot, message)

    def _activity(self, stream: Stream, message: commands.Activity, now: float) -> None:
        self._kernels.listening.activity(stream.slot, message)

    def _detect_machine(self, stream: Stream, message: commands.DetectMachine, now: float) -> None:
        self._kernels.listening.detect_machine(stream.slot, message, now)

    # --- what is put into files ---------------------------------------------------------

    def _record(self, stream: Stream, message: commands.Record, now: float) -> None:
        beep = self._kernels.player.tone(stream.slot, BEEP) if message.beep else 0
        self._kernels.recorder.start(stream.slot, message, wait=beep)

    def _pause_record(self, stream: Stream, message: commands.PauseRecord, now: float) -> None:
        self._kernels.recorder.pause(stream.slot, message.recording, on=message.on)

    def _stop_record(self, stream: Stream, message: commands.StopRecord, now: float) -> None:
        self._kernels.recorder.stop(stream.slot, message.recording)

    def _capture(self, stream: Stream, message: commands.Capture, now: float) -> None:
        self._kernels.captures.start(stream, message)

    def _stop_capture(self, stream: Stream, message: commands.StopCapture, now: float) -> None:
        self._kernels.captures.stop(stream.slot)

    # --- whom it hears ------------------------------------------------------------------

    def _join(self, stream: Stream, message: commands.Join, now: float) -> None:
        self._kernels.bridging.join(
            stream, message.room, muted=message.muted, deaf=message.deaf, gated=message.gated, now=now
        )

    def _leave(self, stream: Stream, message: commands.Leave, now: float) -> None:
        self._kernels.bridging.leave(stream, now)

    def _relay(self, stream: Stream, message: commands.Relay, now: float) -> None:
        self._kernels.bridging.relay(stream, self._kernels.streams.get(message.to))


def _end_without_stream(message: Command, now: float) -> Report | None:
    """How that which ``message`` asked for ended at once, if its end is to be reported: its stream is gone."""
    match message:
        case commands.Play(stream=stream, play=play):
            return PlayEnded(stream, play, now, False, _GONE)
        case commands.Record(stream=stream, recording=recording, path=path):
            return Recorded(stream, recording, path, 0.0, 0, _GONE, "failed")
        case commands.Capture(stream=stream, call=call):
            return Captured(stream, call, 0, "failed", _GONE)
        case _:
            return None
