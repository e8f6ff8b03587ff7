"""The recogniser that is always there: the numpy matcher over the bundled English model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from media.protocol import HeardWord
from media.speech import channel, model
from media.speech.engine import Key, Spotted
from media.speech.features import RATE, SHIFT, SPAN, Floats, FrontEnd, with_differences
from media.speech.lexicon import Lexicon, bundled, is_english
from media.speech.matcher import Matcher, Segment
from media.speech.network import Network
from media.speech.scoring import Densities

ACCEPTED = 0.8
"""Confidence from which a word counts at the end of its utterance."""
SPOTTED = 2.5
"""Confidence from which a word counts at once."""
_NETWORKS_KEPT = 64
_FRAME = SHIFT / RATE


class _Utterance:
    def __init__(self, network: Network, at: float) -> None:
        self.network = network
        self.at = at
        self.front_end = FrontEnd()
        self.energies: list[Floats] = []


class KeywordMatcher:
    """Token passing over a telephone-adapted English model, word lists compiled once and kept."""

    def __init__(self, lexicon: Lexicon | None = None, telephone: channel.Telephone | None = None) -> None:
        """Raises :class:`~media.speech.model.ModelError`."""
        self._telephone = telephone or channel.load()
        self._model = self._telephone.adapt(model.load())
        self._densities = Densities(self._model)
        self._lexicon = lexicon or bundled()
        self._networks: OrderedDict[tuple[str, ...], Network] = OrderedDict()
        self._utterances: dict[Key, _Utterance] = {}
        self.about = "numpy matcher over the US English model of PocketSphinx"

    def begin(self, key: Key, words: Sequence[str], language: str, at: float) -> None:
        """See :class:`media.speech.engine.Recogniser`."""
        heard = words if is_english(language) else ()
        self._utterances[key] = _Utterance(self._network(tuple(dict.fromkeys(heard))), at)

    def audio(self, key: Key, pcm: bytes) -> list[Spotted]:
        """See :class:`media.speech.engine.Recogniser`."""
        utterance = self._utterances.get(key)
        if utterance is not None:
            utterance.energies.append(utterance.front_end.feed(np.frombuffer(pcm, "<i2")))
        return []

    def end(self, key: Key) -> list[HeardWord]:
        """See :class:`media.speech.engine.Recogniser`."""
        utterance = self._utterances.pop(key, None)
        if utterance is None or not utterance.energies:
            return []
        return [
            HeardWord(
                segment.word,
                round(segment.confidence, 2),
                utterance.at + segment.start * _FRAME,
                utterance.at + segment.end * _FRAME,
            )
            for segment in self._decode(utterance)
            if segment.confidence >= ACCEPTED
        ]

    def cancel(self, key: Key) -> None:
        """See :class:`media.speech.engine.Recogniser`."""
        self._utterances.pop(key, None)

    def _decode(self, utterance: _Utterance) -> list[Segment]:
        energies = np.concatenate(utterance.energies)
        if len(energies) == 0:
            return []
        cepstra = (energies - energies.mean(axis=0)) @ self._telephone.cepstra.T
        padded = np.pad(cepstra, ((SPAN, SPAN), (0, 0)), mode="edge")
        matcher = Matcher(utterance.network)
        matcher.feed(with_differences(padded))
        return matcher.segments()

    def _network(self, words: tuple[str, ...]) -> Network:
        if words in self._networks:
            self._networks.move_to_end(words)
        else:
            spoken = [(word, self._lexicon.pronunciations(word)) for word in words]
            self._networks[words] = Network(self._model, self._densities, spoken)
            if len(self._networks) > _NETWORKS_KEPT:
                self._networks.popitem(last=False)
        return self._networks[words]
