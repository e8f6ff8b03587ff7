"""The recogniser's process: ``python -m media.speech.recogniser --fd N --listen SOCKET``.

Media workers connect to the Unix socket and stream utterances (:data:`media.speech.messages.ToRecogniser`);
the control process holds the other end of ``--fd`` and is told :class:`~media.ipc.Ready` or
:class:`~media.ipc.Failed`, then :class:`~media.speech.messages.RecogniserLoad`. When that end closes, the process
leaves.

Sound is queued per utterance and worked off in turns: a tenth of a second of every utterance that
has sound waiting, all of them together, so that a long utterance delays a short one by little and
many cost less than as many single ones. What does not fit is dropped and counted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from media.ipc import Failed, Link, LinkClosed, Message, Ready, detach_from_terminal
from media.process import lower_priority
from media.reports import Report
from media.speech.engine import BatchRecogniser, Key, OneByOne
from media.speech.messages import (
    Audio,
    Begin,
    Cancel,
    End,
    FromRecogniser,
    RecogniserLoad,
    ToRecogniser,
    UtteranceEnded,
    WordSpotted,
)
from media.speech.model import ModelError

TURN = 1600
"""Bytes of sound of an utterance in one turn: 100 ms."""
TURN_EVERY = 0.04
"""Seconds from one turn to the next unless one falls behind: the more sound there is at a time, the less it costs."""
LONGEST = 10.0
"""Seconds of one utterance; workers end theirs after eight and a pre-roll."""
MOST_WAITING = 30.0
"""Seconds of sound that may wait in all; beyond it new utterances are refused."""
MOST_WORDS = 200
MOST_UNREAD = 1 << 20
"""Bytes of answers that a worker may leave unread before its connection is broken off."""
_BYTES_PER_SECOND = 16000


@dataclass(slots=True)
class Counters:
    """Since the start of the process."""

    decided: int = 0
    refused: int = 0
    cut: int = 0
    broken: int = 0


@dataclass(slots=True)
class _Waiting:
    """An utterance's unheard sound; ``ends_at`` once its end has come."""

    room: int = int(LONGEST * _BYTES_PER_SECOND)
    sound: bytearray = field(default_factory=bytearray)
    ends_at: float | None = None
    refused: bool = False
    cut: bool = False


class Desk:
    """Takes messages of many connections, gives the recogniser its turns, collects the answers. No I/O."""

    def __init__(self, recogniser: BatchRecogniser, max_listening: int) -> None:
        self.counters = Counters()
        self.waiting_bytes = 0
        self._listening = 0  # utterances that were not refused
        self._recogniser = recogniser
        self._max_listening = max_listening
        self._open: dict[Key, _Waiting] = {}
        self._line: dict[Key, _Waiting] = {}  # those with sound, or an end, that was not worked off

    @property
    def utterances(self) -> int:
        return len(self._open)

    @property
    def busy(self) -> bool:
        """Whether :meth:`turn` has something to do."""
        return bool(self._line)

    def take(self, connection: int, message: ToRecogniser) -> None:
        """A message came from a worker."""
        key = Key(connection, message.stream, message.ticket)
        match message:
            case Begin():
                self._begin(key, message)
            case Audio():
                self._audio(key, message.pcm)
            case End():
                waiting = self._open.get(key)
                if waiting is not None and waiting.ends_at is None:
                    waiting.ends_at = message.at
                    self._line[key] = waiting
            case Cancel():
                self._forget(key)

    def disconnect(self, connection: int) -> None:
        """A worker is gone, and with it whoever waited for its utterances."""
        for key in [key for key in self._open if key.connection == connection]:
            self._forget(key)

    def turn(self) -> list[tuple[int, FromRecogniser]]:
        """Work off a little of every utterance in line: answers, each with its connection."""
        line, self._line = self._line, {}
        sounds: dict[Key, bytes] = {}
        for key, waiting in line.items():
            if waiting.sound:
                sounds[key] = bytes(waiting.sound[:TURN])
                del waiting.sound[:TURN]
        self.waiting_bytes -= sum(map(len, sounds.values()))
        answers: list[tuple[int, FromRecogniser]] = [
            (key.connection, WordSpotted(key.stream, key.ticket, *spotted))
            for key, spotted in (self._recogniser.advance(sounds) if sounds else ())
        ]
        self._line.update((key, waiting) for key, waiting in line.items() if waiting.sound)
        ended = [key for key, waiting in line.items() if waiting.ends_at is not None and not waiting.sound]
        heard = [key for key in ended if not line[key].refused]
        words = dict(zip(heard, self._recogniser.finish(heard) if heard else (), strict=True))
        self._listening -= len(heard)
        self.counters.decided += len(heard)
        for key in ended:
            del self._open[key]
            at = line[key].ends_at
            assert at is not None
            answers.append((key.connection, UtteranceEnded(key.stream, key.ticket, words.get(key, []), at)))
        return answers

    def _begin(self, key: Key, message: Begin) -> None:
        self._forget(key)
        waiting = self._open[key] = _Waiting()
        full = self._listening >= self._max_listening or self.waiting_bytes > MOST_WAITING * _BYTES_PER_SECOND
        if full or len(message.words) > MOST_WORDS:
            waiting.refused = True
            self.counters.refused += 1
            return
        self._listening += 1
        self._recogniser.begin(key, message.words, message.language, message.at)

    def _audio(self, key: Key, pcm: bytes) -> None:
        waiting = self._open.get(key)
        if waiting is None or waiting.refused or waiting.ends_at is not None:
            return
        taken = pcm[: min(len(pcm), waiting.room) & ~1]
        if len(taken) < len(pcm) and not waiting.cut:
            waiting.cut = True
            self.counters.cut += 1
        if not taken:
            return
        waiting.room -= len(taken)
        self.waiting_bytes += len(taken)
        waiting.sound += taken
        self._line[key] = waiting

    def _forget(self, key: Key) -> None:
        waiting = self._open.pop(key, None)
        if waiting is None:
            return
        self.waiting_bytes -= len(waiting.sound)
        self._line.pop(key, None)
        if not waiting.refused:
            self._listening -= 1
            self._recogniser.cancel(key)


class Server:
    """The loop: control link, listening socket, workers' links, and turns in between."""

    def __init__(self, control: Link[Message], listener: socket.socket, desk: Desk) -> None:
        self._control = control
        self._listener = listener
        self._desk = desk
        self._links: dict[int, Link[ToRecogniser]] = {}
        self._next = 1
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ, 0)
        self._selector.register(listener, selectors.EVENT_READ, -1)
        self._turn_at = 0.0
        self._told: RecogniserLoad | None = None
        self._tell_at = 0.0

    def run(self) -> None:
        """Serve until the control link ends."""
        with contextlib.suppress(LinkClosed):
            while True:
                wait = max(self._turn_at - time.monotonic(), 0.0) if self._desk.busy else 1.0
                for key, events in self._selector.select(wait):
                    if key.data == 0:
                        self._control.receive()
                    elif key.data == -1:
                        self._accept()
                    else:
                        self._serve(key.data, events)
                self._turn(time.monotonic())
                self._tell()

    def _turn(self, now: float) -> None:
        if not self._desk.busy or now < self._turn_at:
            return
        for connection, answer in self._desk.turn():
            self._answer(connection, answer)
        self._turn_at = now if self._desk.busy else now + TURN_EVERY

    def _accept(self) -> None:
        try:
            connected, _ = self._listener.accept()
        except OSError:
            return  # gone again before we looked, or no descriptor free: the worker tries anew
        link: Link[ToRecogniser] = Link(connected, ToRecogniser)
        self._links[self._next] = link
        self._selector.register(link, selectors.EVENT_READ, self._next)
        self._next += 1

    def _serve(self, connection: int, events: int) -> None:
        link = self._links.get(connection)
        if link is None:
            return
        try:
            if events & selectors.EVENT_WRITE:
                self._flush(connection, link)
            if events & selectors.EVENT_READ:
                for message in link.receive():
                    self._desk.take(connection, message)
        except LinkClosed:
            self._drop(connection)
        except msgspec.MsgspecError:
            self._desk.counters.broken += 1
            self._drop(connection)

    def _answer(self, connection: int, answer: FromRecogniser) -> None:
        link = self._links.get(connection)
        if link is None:
            return
        link.send(answer)
        try:
            self._flush(connection, link)
        except LinkClosed:
            self._drop(connection)

    def _flush(self, connection: int, link: Link[ToRecogniser]) -> None:
        link.flush()
        if link.pending > MOST_UNREAD:
            self._desk.counters.broken += 1
            raise LinkClosed("answers are not read")
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.pending else 0)
        self._selector.modify(link, wanted, connection)

    def _drop(self, connection: int) -> None:
        link = self._links.pop(connection)
        self._selector.unregister(link)
        link.close()
        self._desk.disconnect(connection)

    def _tell(self) -> None:
        now = time.monotonic()
        if now < self._tell_at:
            return
        self._tell_at = now + 1.0
        desk, counters = self._desk, self._desk.counters
        waiting = round(desk.waiting_bytes / _BYTES_PER_SECOND, 2)
        load = RecogniserLoad(
            desk.utterances, waiting, counters.decided, counters.refused, counters.cut, counters.broken
        )
        if load != self._told:
            self._told = load
            self._control.send(load)
        self._control.flush()


def make_recogniser(vosk_model: Path | None) -> BatchRecogniser:
    """Vosk when a model folder is given, otherwise the matcher. Raises :class:`~media.speech.model.ModelError`."""
    if vosk_model is not None:
        from media.speech.vosk_engine import VoskEngine

        return OneByOne(VoskEngine(vosk_model))
    from media.speech.matching import KeywordMatcher

    return KeywordMatcher()


def listen(path: Path) -> socket.socket:
    """The socket for workers, readable by this user alone; a dead predecessor's is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o077)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(64)
    listener.setblocking(False)
    return listener


def main(arguments: list[str] | None = None) -> int:
    """Run the process; 1 when it cannot work at all."""
    parser = argparse.ArgumentParser(prog="media.speech.recogniser")
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the control link")
    parser.add_argument("--listen", type=Path, required=True, help="Unix socket for media workers")
    parser.add_argument("--vosk-model", type=Path, default=None, help="folder of a vosk model (default: own matcher)")
    parser.add_argument("--max-listening", type=int, default=100, help="utterances at a time")
    options = parser.parse_args(arguments)
    detach_from_terminal()
    lower_priority()
    control: Link[Message] = Link.from_fd(options.fd, Report)
    try:
        recogniser = make_recogniser(options.vosk_model)
        listener = listen(options.listen)
    except (ModelError, OSError) as error:
        control.send(Failed(str(error)))
        with contextlib.suppress(LinkClosed):
            control.flush()
        return 1
    control.send(Ready(os.getpid(), recogniser.about))
    with contextlib.suppress(LinkClosed):
        control.flush()
    try:
        Server(control, listener, Desk(recogniser, options.max_listening)).run()
    finally:
        listener.close()
        options.listen.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
