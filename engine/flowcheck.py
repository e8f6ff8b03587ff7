"""What flows have to be told to be checked: voices, pronounceable words, readable media."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from engine.callbacks.urls import Refused, target
from flows.check import Knowledge
from media.speech.lexicon import pronounceable
from media.tts import text as texts
from media.tts.synth import missing_extra
from media.tts.voices import known_language, known_voice


def knowledge(folder: Path | None, *, vosk_model: str = "") -> Knowledge:
    """For flows whose media files are named relative to ``folder``; without one they name URLs and stored media."""
    return Knowledge(
        known_voice=known_voice,
        known_language=known_language,
        unpronounceable=partial(pronounceable, vosk_model=Path(vosk_model) if vosk_model else None),
        media_problem=partial(_media_problem, folder),
        text_problem=_text_problem,
    )


def _media_problem(folder: Path | None, media: str) -> str:
    if urlsplit(media).scheme.lower() not in ("http", "https"):
        if folder is None:
            return ""  # what is stored may come and go
        path = folder / media
        return "" if path.is_file() else f"there is no file {path}"
    try:
        target(media)
    except Refused as error:
        return str(error)
    return ""


def _text_problem(text: str) -> str:
    missing = missing_extra()
    if missing:
        return missing
    try:
        texts.clean(text)
    except texts.Unspeakable as error:
        return str(error)
    return ""
