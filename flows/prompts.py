"""What a caller hears: one text or sound, with the voice and language it is spoken in."""

from __future__ import annotations

from dataclasses import dataclass

from .templates import Text, Variables, fill, fill_media


@dataclass(frozen=True, slots=True)
class Prompt:
    """One thing to hear: ``text`` to speak, or ``media`` (a URL or a file) to play."""

    text: str = ""
    media: str = ""
    voice: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A prompt that has variables in it, and so is only known on the call."""

    text: Text = ""
    media: Text = ""
    voice: str = ""
    language: str = ""

    def fill(self, variables: Variables) -> Prompt:
        """Raises :class:`~flows.templates.UnsafeUrl`."""
        return Prompt(fill(self.text, variables), fill_media(self.media, variables), self.voice, self.language)


def prompt(text: Text = "", media: Text = "", voice: str = "", language: str = "") -> Prompt | Draft:
    """A :class:`Prompt`, or a :class:`Draft` where variables ask for one."""
    if isinstance(text, str) and isinstance(media, str):
        return Prompt(text, media, voice, language)
    return Draft(text, media, voice, language)
