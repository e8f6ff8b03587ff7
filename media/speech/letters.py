"""Letters to sounds: how words that no dictionary has are said, by espeak-ng.

Names above all. The library comes with the extra ``tts`` and runs in a process of its own
(``python -m media.speech.letters``), as it does when it speaks; without it such words have no pronunciation.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence

Pronunciation = tuple[str, ...]

WITHIN = 10.0
"""Seconds in which all words must be said."""
_PHONEMES_ONLY, _NO_EXIT = 2, 0x8000  # AUDIO_OUTPUT_SYNCHRONOUS, espeakINITIALIZE_DONT_EXIT
_UTF8 = 1
_IPA = 2

SOUNDS = {
    "tʃ": "CH", "dʒ": "JH", "aɪɚ": "AY ER", "aɪə": "AY AH", "aɪ": "AY", "aʊ": "AW", "eɪ": "EY", "oʊ": "OW",
    "əʊ": "OW", "ɔɪ": "OY", "oː": "AO", "oːɹ": "AO R", "ɔːɹ": "AO R", "ɔː": "AO", "ɔ": "AO", "ɑːɹ": "AA R",
    "ɑː": "AA", "ɑ": "AA", "ɒ": "AA", "iː": "IY", "iə": "IY AH", "i": "IY", "ɪɹ": "IH R", "ɪ": "IH", "ᵻ": "IH",
    "uː": "UW", "u": "UW", "ʊɹ": "UH R", "ʊ": "UH", "ɜː": "ER", "ɝ": "ER", "ɚ": "ER", "ɛ": "EH", "e": "EH",
    "æ": "AE", "a": "AE", "aː": "AA", "ʌ": "AH", "ə": "AH", "ɐ": "AH", "o": "OW", "n̩": "AH N", "l̩": "AH L",
    "əl": "AH L", "p": "P", "b": "B", "t": "T", "d": "D", "k": "K", "ɡ": "G", "g": "G", "f": "F", "v": "V",
    "θ": "TH", "ð": "DH", "s": "S", "z": "Z", "ʃ": "SH", "ʒ": "ZH", "h": "HH", "m": "M", "n": "N", "ŋ": "NG",
    "l": "L", "ɫ": "L", "ɹ": "R", "r": "R", "ɾ": "T", "ʔ": "T", "j": "Y", "w": "W", "x": "K", "ç": "HH",
}  # fmt: skip
"""IPA as espeak-ng writes US English, to the phones of the dictionary."""
_LONGEST = max(map(len, SOUNDS))
_STRESS = "ˈˌ"


def phones(ipa: str) -> Pronunciation:
    """The phones of what espeak-ng wrote; empty if it holds anything but sounds of one English word."""
    rest = "".join(letter for letter in ipa.strip() if letter not in _STRESS)
    found: list[str] = []
    while rest:
        length = next((size for size in range(_LONGEST, 0, -1) if rest[:size] in SOUNDS), 0)
        if not length:
            return ()
        found += SOUNDS[rest[:length]].split()
        rest = rest[length:]
    return tuple(found)


def spell(words: Iterable[str]) -> dict[str, Pronunciation]:
    """Pronunciations of those of ``words`` that can be said; none where espeak-ng is missing or fails."""
    asked = sorted(set(words))
    if not asked:
        return {}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "media.speech.letters"],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=WITHIN,
            check=True,
        )
        said: list[str] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
    return {word: found for word, ipa in zip(asked, said, strict=True) if (found := phones(ipa))}


def _say(words: Sequence[str]) -> list[str]:
    """IPA of each word. In a process of its own: the library is GPL-3, and may end its process."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
    if library.espeak_Initialize(_PHONEMES_ONLY, 0, espeakng_loader.get_data_path().encode(), _NO_EXIT) < 0:
        raise OSError("espeak-ng does not start")
    if library.espeak_SetVoiceByName(b"en-us"):
        raise OSError("espeak-ng has no US English")
    said = []
    for word in words:
        text = ctypes.c_char_p(word.encode())
        said.append((library.espeak_TextToPhonemes(ctypes.byref(text), _UTF8, _IPA) or b"").decode())
    return said


def main() -> None:
    """Words come as a JSON list, their IPA leaves as one."""
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write(json.dumps(_say(json.loads(sys.stdin.buffer.read().decode("utf-8"))), ensure_ascii=False))


if __name__ == "__main__":
    main()
