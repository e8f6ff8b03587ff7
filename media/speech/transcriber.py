"""The process that transcribes one recording: ``python -m media.speech.transcriber --fd N``.

It steps back behind everything else on the machine; processor time and, without a vosk model, memory are limited.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
from pathlib import Path

from media.ipc import Message
from media.recordings import read_wave
from media.servant import Servant
from media.speech.dictation import make_dictation
from media.speech.messages import HeardWord
from media.speech.model import ModelError

NICENESS = 10
_MEMORY = 2 * 1024**3


class Transcribe(Message, frozen=True):
    """Transcribe the WAV file ``path`` (16 bit, mono, 8 or 16 kHz), by the vosk model in a folder if one is given."""

    path: bytes
    vosk_model: bytes = b""


class Transcribed(Message, frozen=True):
    """All words, in order of time, and which engine heard them."""

    words: list[HeardWord]
    engine: str


class TranscriptionRefused(Message, frozen=True):
    """The engine cannot work."""

    reason: str


FromTranscriber = Transcribed | TranscriptionRefused


def answer(request: Transcribe) -> FromTranscriber:
    """Do the work."""
    model = Path(os.fsdecode(request.vosk_model)) if request.vosk_model else None
    try:
        samples, rate = read_wave(Path(os.fsdecode(request.path)))
        dictation = make_dictation(model)
        return Transcribed(dictation.words(samples, rate), dictation.about)
    except ModelError as error:
        return TranscriptionRefused(str(error))
    except MemoryError:
        return TranscriptionRefused("it takes more memory than is allowed")
    except OSError as error:
        return TranscriptionRefused(f"the sound cannot be read: {error.strerror or error}")


def limit_process(cpu_seconds: int, *, memory: bool) -> None:
    """Bound what a recording can cost."""
    limits = [(resource.RLIMIT_CPU, cpu_seconds), (resource.RLIMIT_CORE, 0)]
    if memory:  # how much a vosk model takes is between it and its operator
        limits.append((resource.RLIMIT_AS, _MEMORY))
    for limit, value in limits:
        _, hard = resource.getrlimit(limit)
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (ceiling, hard))
    with contextlib.suppress(OSError):
        os.nice(NICENESS)


def main() -> None:
    """Serve requests until the link ends."""
    parser = argparse.ArgumentParser(prog="media.speech.transcriber", description="Transcribes a recording.")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--cpu-seconds", type=int, required=True)
    arguments = parser.parse_args()
    servant: Servant[Transcribe] = Servant(arguments.fd, Transcribe)
    for request in servant.requests():
        limit_process(arguments.cpu_seconds, memory=not request.vosk_model)
        servant.send(answer(request))


if __name__ == "__main__":
    main()
