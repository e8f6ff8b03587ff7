"""What the matcher knows of a language: another one is another model folder, dictionary and map of the telephone."""

from __future__ import annotations

from dataclasses import dataclass

from media.speech import adaptation, channel, model
from media.speech.features import Floats
from media.speech.letters import Pronunciation
from media.speech.lexicon import ENGLISH, Lexicon, bundled, primary

COMMON = (
    "the of and to in is you that it he was for on are with as his they at be this have from or had by not but "
    "what all were we when your can said there use an each which she do how their if will up other about"
)
"""The background's words: the fifty most frequent of English."""


@dataclass(frozen=True, slots=True)
class Language:
    """``cepstra``: the map of :mod:`media.speech.channel`, transposed, (HEARD, 13); ``common``: words that explain
    what nobody listens for, with their pronunciations; ``tags``: the language tags that it answers to, before the
    first hyphen.
    """

    about: str
    tags: frozenset[str]
    model: model.AcousticModel
    lexicon: Lexicon
    cepstra: Floats
    common: tuple[tuple[str, tuple[Pronunciation, ...]], ...]

    def speaks(self, tag: str) -> bool:
        """Whether words of the language that ``tag`` names ("en", "en-GB", "en_us") are heard."""
        return primary(tag) in self.tags


def english(adapted: adaptation.Adaptation | None = None) -> Language:
    """The English that is shipped; its voices are brought to the telephone by ``adapted`` (None: as shipped).

    Raises :class:`~media.speech.model.ModelError`.
    """
    lexicon = bundled()
    return Language(
        about="the US English model of PocketSphinx",
        tags=ENGLISH,
        model=adaptation.apply(model.load(), adapted or adaptation.load()),
        lexicon=lexicon,
        cepstra=channel.load().T.copy(),
        common=tuple((word, lexicon.pronunciations(word)) for word in COMMON.split()),
    )
