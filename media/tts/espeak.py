"""The process that speaks: ``python -m media.tts.espeak --fd N --store FOLDER``.

pyttsx3 over the espeak-ng library of the ``espeakng-loader`` wheel, one prompt at a time. The
finished prompt (16 kHz, trimmed, at its level) is put into the store by this process, so that no
sound passes through the control process. Both libraries are imported here and nowhere else.

What pyttsx3 needs: the library loaded globally by its full path, with the data path set, *before*
the import; one file per run; the engine's own thread at rest before and after each run, else the
run is cancelled as if asked to stop; standard output out of its way. A hang is ended by our
parent, whose socket a thread watches.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import threading
import wave
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from media.ipc import Failed, Ready
from media.levels import Samples, active_level, normalise, to_int16, trim
from media.rates import WIDE_RATE
from media.servant import Servant
from media.tts import text as texts
from media.tts.messages import Render, Rendered, RenderFailed, ToSpeaker
from media.tts.store import PromptStore

_SILENCE = np.zeros(WIDE_RATE // 5, np.int16)
"""What a text without anything to say lasts: 200 ms."""


class SpeakingFailed(Exception):
    """The engine refused; ``final`` when it would refuse again."""

    def __init__(self, reason: str, *, final: bool) -> None:
        super().__init__(reason)
        self.final = final


class Speaker:
    """pyttsx3 with a memory file to speak into."""

    def __init__(self) -> None:
        import espeakng_loader

        os.environ["ESPEAK_DATA_PATH"] = espeakng_loader.get_data_path()
        self._library = ctypes.CDLL(espeakng_loader.get_library_path(), mode=ctypes.RTLD_GLOBAL)
        self._library.espeak_Info.restype = ctypes.c_char_p
        version = self._library.espeak_Info(None).decode("ascii", "replace")
        import pyttsx3

        self.about = f"espeak-ng {version}"
        self._engine = pyttsx3.init("espeak")
        self._engine.connect("finished-utterance", self._finished)
        self._engine.connect("error", self._failed)
        self._over = threading.Event()
        self._complete = False
        self._error: Exception | None = None
        self._memory = os.memfd_create("prompt")
        self._library.espeak_Synchronize()
        self._engine.runAndWait()  # empty: takes the engine out of its initial "busy", in which settings are put off

    def speak(self, text: str, voice: str, rate: int) -> tuple[Samples, int]:
        """The sound of ``text`` and its sampling rate. Raises :class:`SpeakingFailed`."""
        os.ftruncate(self._memory, 0)
        self._over.clear()
        self._complete, self._error = False, None
        self._engine.setProperty("voice", voice)
        self._engine.setProperty("rate", rate)
        self._library.espeak_Synchronize()  # queued settings look like speech that is to be stopped
        self._engine.save_to_file(text, f"/proc/self/fd/{self._memory}")
        self._engine.runAndWait()
        self._over.wait()
        self._library.espeak_Synchronize()  # the event comes from the engine's thread, which is still at work
        if self._error is not None:
            raise SpeakingFailed(f"voice {voice!r}: {self._error}", final=True)
        if not self._complete:
            raise SpeakingFailed("the engine stopped in the middle", final=False)
        return self._read()

    def _read(self) -> tuple[Samples, int]:
        try:
            with wave.open(f"/proc/self/fd/{self._memory}", "rb") as file:
                pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
                return (pcm / 32768.0).astype(np.float32), file.getframerate()
        except (EOFError, wave.Error) as error:
            raise SpeakingFailed(f"the engine wrote no sound: {error}", final=False) from error

    def _finished(self, name: Any, completed: bool) -> None:  # noqa: FBT001 (pyttsx3's signature)
        self._complete = completed
        self._over.set()

    def _failed(self, name: Any, exception: Exception) -> None:
        self._error = exception


def make_prompt(speaker: Speaker, request: Render) -> NDArray[np.int16]:
    """One finished prompt, 16 kHz. Raises :class:`SpeakingFailed`."""
    if not request.text:
        return _SILENCE
    sound, rate = speaker.speak(request.text, request.voice, request.rate)
    sound = trim(soxr.resample(sound, rate, WIDE_RATE) if sound.size else sound, WIDE_RATE)
    if not sound.size or active_level(sound, WIDE_RATE) < -60:
        if texts.must_sound(request.text):
            raise SpeakingFailed(f"voice {request.voice!r} says nothing for this text", final=False)
        return _SILENCE
    seconds = sound.size / WIDE_RATE
    if not texts.plausible(request.text, request.rate, seconds):
        raise SpeakingFailed(f"{seconds:.1f} s is no plausible length for this text", final=False)
    return to_int16(normalise(sound, WIDE_RATE))


def answer(speaker: Speaker, store: PromptStore, request: Render) -> Rendered | RenderFailed:
    """Make and store one prompt."""
    try:
        samples = make_prompt(speaker, request)
        store.put(request.key, samples, WIDE_RATE)
    except SpeakingFailed as error:
        return RenderFailed(request.job, str(error), error.final)
    except OSError as error:
        return RenderFailed(request.job, f"the prompt cannot be stored: {error}", final=True)
    return Rendered(request.job, samples.size / WIDE_RATE)


def main() -> None:
    """Serve requests until the link ends."""
    parser = argparse.ArgumentParser(prog="media.tts.espeak", description="Speaks prompts into a store.")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--store", type=Path, required=True)
    arguments = parser.parse_args()
    servant: Servant[ToSpeaker] = Servant(arguments.fd, ToSpeaker)
    try:
        speaker = Speaker()
    except Exception as error:  # noqa: BLE001 (whatever a foreign library raises is the reason we give)
        servant.send(Failed(f"speech synthesis cannot start: {error}"))
        return
    store = PromptStore(arguments.store)
    servant.send(Ready(os.getpid(), speaker.about))
    for request in servant.requests():
        servant.send(answer(speaker, store, request))


if __name__ == "__main__":
    main()
