"""Words said by the variants of espeak-ng, for tests and figures of the recogniser."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_SPEAK = """
import ctypes, json, sys, wave, espeakng_loader
library = ctypes.CDLL(espeakng_loader.get_library_path())
rate = library.espeak_Initialize(1, 0, espeakng_loader.get_data_path().encode(), 0x8000)
heard = bytearray()
@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
def collect(samples, count, events):
    if count > 0:
        heard.extend(ctypes.string_at(samples, 2 * count))
    return 0
library.espeak_SetSynthCallback(collect)
for voice, text, path in json.load(sys.stdin):
    heard.clear()
    if library.espeak_SetVoiceByName(voice.encode()):
        sys.exit(f"no voice {voice}")
    said = text.encode()
    library.espeak_Synth(said, len(said) + 1, 0, 0, 0, 1, None, None)
    library.espeak_Synchronize()
    with wave.open(path, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(heard)
"""


def spoken_by_machine(folder: Path, sayings: Sequence[tuple[str, str]], *, timeout: float) -> list[Path]:
    """Wave files of (voice, text) pairs in ``folder``, synthesised in a process of its own.

    Raises CalledProcessError for an unknown voice, TimeoutExpired after ``timeout`` seconds.
    """
    order = [(voice, text, str(folder / f"{i}.wav")) for i, (voice, text) in enumerate(sayings)]
    subprocess.run([sys.executable, "-c", _SPEAK], input=json.dumps(order), text=True, check=True, timeout=timeout)
    return [Path(path) for _, _, path in order]
