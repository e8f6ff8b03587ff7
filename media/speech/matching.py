"""The recogniser that is always there: the numpy matcher over the bundled English model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

from media.protocol import HeardWord
from media.speech import channel, decision, model
from media.speech.engine import Key, Spotted
from media.speech.features import RATE, SHIFT, SPAN, Floats, FrontEnd, contrast, levelled, spread, with_differences
from media.speech.lexicon import Lexicon, bundled, is_english
from media.speech.matcher import Matcher
from media.speech.network import Network
from media.speech.scoring import Densities

COMMON = (
    "the of and to in is you that it he was for on are with as his they at be this have from or had by not but what "
    "all were we when your can said there use an each which she do how their if will up other about out many then "
    "them these so some her would make like him into time has look two more write go see number no way could people "
    "my than first water been call who oil its now find long down day did get come made may part"
)
"""The background's words: among the most frequent of English."""

_NETWORKS_KEPT = 16
_FRAME = SHIFT / RATE
_SLICE = 32
"""Frames that are scored at once: keeps the densities of a slice in the cache."""
_FIRST_LOOK, _LOOKS_EVERY, _LAST_LOOK = 60, 15, 200
"""Frames after which a running utterance is searched for words that may stop a prompt."""


class _Utterance:
    def __init__(self, network: Network, at: float) -> None:
        self.network = network
        self.at = at
        self.front_end = FrontEnd()
        self.energies: list[Floats] = []
        self.frames = 0
        self.look_at = _FIRST_LOOK
        self.spotted: set[str] = set()


class KeywordMatcher:
    """Token passing over the bundled model; word lists are compiled once and kept."""

    def __init__(self) -> None:
        """Raises :class:`~media.speech.model.ModelError`."""
        self._cepstra = channel.load().T.copy()
        self._model = model.load()
        self._densities = Densities(self._model)
        self._lexicon: Lexicon = bundled()
        self._common = [(word, self._lexicon.pronunciations(word)) for word in COMMON.split()]
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
        if utterance is None or not utterance.network.words:
            return []
        energies = utterance.front_end.feed(np.frombuffer(pcm, "<i2"))
        utterance.energies.append(energies)
        utterance.frames += len(energies)
        if not utterance.look_at <= utterance.frames <= _LAST_LOOK:
            return []
        utterance.look_at = utterance.frames + _LOOKS_EVERY
        found = [word for word in self._decide(utterance, decision.spotted) if word.word not in utterance.spotted]
        utterance.spotted.update(word.word for word in found)
        return [Spotted(word.word, round(word.confidence, 2), utterance.at + word.end * _FRAME) for word in found]

    def end(self, key: Key) -> list[HeardWord]:
        """See :class:`media.speech.engine.Recogniser`."""
        utterance = self._utterances.pop(key, None)
        if utterance is None or not utterance.frames:
            return []
        return [
            HeardWord(
                word.word,
                round(word.confidence, 2),
                utterance.at + word.start * _FRAME,
                utterance.at + word.end * _FRAME,
            )
            for word in self._decide(utterance, decision.said)
        ]

    def cancel(self, key: Key) -> None:
        """See :class:`media.speech.engine.Recogniser`."""
        self._utterances.pop(key, None)

    def _decide(
        self, utterance: _Utterance, rule: Callable[[Matcher, decision.Sound], list[decision.Accepted]]
    ) -> list[decision.Accepted]:
        energies = np.concatenate(utterance.energies)
        sound = decision.Sound(spread(energies), contrast(energies))
        return rule(self._search(utterance.network, energies), sound)

    def _search(self, network: Network, energies: Floats) -> Matcher:
        cepstra = levelled(energies) @ self._cepstra
        features = with_differences(np.pad(cepstra, ((SPAN, SPAN), (0, 0)), mode="edge"))
        matcher = Matcher(network)
        for start in range(0, len(features), _SLICE):
            matcher.feed(features[start : start + _SLICE])
        return matcher

    def _network(self, words: tuple[str, ...]) -> Network:
        if words in self._networks:
            self._networks.move_to_end(words)
        else:
            spoken = [(word, self._lexicon.spoken(word)) for word in words]
            spoken = [(word, pronunciations) for word, pronunciations in spoken if pronunciations]
            self._networks[words] = Network(self._model, self._densities, spoken, self._common)
            if len(self._networks) > _NETWORKS_KEPT:
                self._networks.popitem(last=False)
        return self._networks[words]
