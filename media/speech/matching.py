"""The recogniser that is always there: the numpy matcher over the bundled English model.

All utterances that have sound waiting are heard together: one front end, one set of matrix
products for the densities, one token passing over the states of all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from media.speech import decision
from media.speech.engine import Key, Spotted
from media.speech.features import RATE, SHIFT, Floats, cut
from media.speech.language import Language, english
from media.speech.messages import HeardWord
from media.speech.network import Network
from media.speech.scoring import Densities, score
from media.speech.search import Search, advance
from media.speech.voice import Voice

_NETWORKS_KEPT = 64
_CALLS_KEPT = 2000
"""Streams whose mean is remembered from one utterance to the next."""
_FRAME = SHIFT / RATE
_LOOKS_EVERY, _LAST_LOOK = 15, 200
"""Frames after which a running utterance is looked at for words that may stop a prompt."""

Decision = Callable[[Search, decision.Sound], list[decision.Accepted]]


class _Utterance:
    def __init__(self, network: Network, voice: Voice, at: float) -> None:
        self.at = at
        self.voice = voice
        self.pcm = bytearray()
        self.search = Search(network)
        self.look_at = 1
        self.spotted: set[str] = set()
        self._held: Floats = np.empty((0, network.scorer.count), np.float32)

    def to_score(self, features: Floats) -> Floats:
        """Every second frame; the one after it sounds alike."""
        return features[self.search.frames % 2 :: 2]

    def observed(self, frames: int, scored: Floats) -> Floats:
        """Scores of so many frames, (frames, senones), from those that were scored."""
        rows = (
            np.concatenate([self._held, scored.repeat(2, axis=0)])
            if self.search.frames % 2
            else scored.repeat(2, axis=0)
        )
        self._held = rows[frames - 1 :][:1]
        return rows[:frames]

    @property
    def sound(self) -> decision.Sound:
        return decision.Sound(self.voice.energies, self.pcm)


class KeywordMatcher:
    """Token passing over the model of ``language``; word lists are compiled once and kept.

    ``decide`` makes words of a finished search.
    """

    def __init__(self, language: Language | None = None, decide: Decision = decision.said) -> None:
        """Raises :class:`~media.speech.model.ModelError`."""
        self._language = language or english()
        self._densities = Densities(self._language.model)
        self._decide = decide
        self._networks: OrderedDict[tuple[str, ...], Network] = OrderedDict()
        self._utterances: dict[Key, _Utterance] = {}
        self._calls: OrderedDict[tuple[int, int], Floats] = OrderedDict()
        self.about = f"numpy matcher over {self._language.about}"

    def begin(self, key: Key, words: Sequence[str], language: str, at: float) -> None:
        """See :class:`media.speech.engine.Recogniser`."""
        heard = tuple(dict.fromkeys(words)) if self._language.speaks(language) else ()
        voice = Voice(self._language.cepstra, self._calls.get(key[:2]))
        self._utterances[key] = _Utterance(self._network(heard), voice, at)

    def audio(self, key: Key, pcm: bytes) -> list[Spotted]:
        """See :class:`media.speech.engine.Recogniser`."""
        return [spotted for _, spotted in self.advance({key: pcm})]

    def end(self, key: Key) -> list[HeardWord]:
        """See :class:`media.speech.engine.Recogniser`."""
        return self.finish([key])[0]

    def cancel(self, key: Key) -> None:
        """See :class:`media.speech.engine.Recogniser`."""
        self._utterances.pop(key, None)

    def advance(self, sounds: Mapping[Key, bytes]) -> list[tuple[Key, Spotted]]:
        """See :class:`media.speech.engine.BatchRecogniser`. An odd last byte is ignored."""
        heard = {key: utterance for key in sounds if (utterance := self._utterances.get(key)) is not None}
        heard = {key: utterance for key, utterance in heard.items() if utterance.search.network.words}
        pieces = [sounds[key][: len(sounds[key]) & ~1] for key in heard]
        front_ends = [utterance.voice.front_end for utterance in heard.values()]
        energies = cut(front_ends, [np.frombuffer(pcm, "<i2") for pcm in pieces])
        for utterance, pcm, frames in zip(heard.values(), pieces, energies, strict=True):
            utterance.pcm += pcm
            utterance.voice.add(frames)
        self._search(heard.values(), ended=False)
        return [(key, spotted) for key, utterance in heard.items() for spotted in self._spotted(utterance)]

    def finish(self, keys: Sequence[Key]) -> list[list[HeardWord]]:
        """See :class:`media.speech.engine.BatchRecogniser`."""
        ended = [(key, self._utterances.pop(key, None)) for key in keys]
        self._search([utterance for _, utterance in ended if utterance and utterance.voice.frames], ended=True)
        return [self._said(key, utterance) if utterance else [] for key, utterance in ended]

    def _search(self, utterances: Iterable[_Utterance], *, ended: bool) -> None:
        waiting = [(utterance, utterance.voice.features(ended=ended)) for utterance in utterances]
        waiting = [(utterance, features) for utterance, features in waiting if len(features)]
        waiting.sort(key=lambda each: id(each[0].search.network))
        jobs = [(utterance.search.network.scorer, utterance.to_score(features)) for utterance, features in waiting]
        scores = score(self._densities, jobs)
        observed = [
            utterance.observed(len(features), scored)
            for (utterance, features), scored in zip(waiting, scores, strict=True)
        ]
        advance([utterance.search for utterance, _ in waiting], observed)

    def _said(self, key: Key, utterance: _Utterance) -> list[HeardWord]:
        if not utterance.search.frames:
            return []
        found = self._decide(utterance.search, utterance.sound)
        mean = utterance.voice.mean()
        if found and mean is not None:
            self._calls[key[:2]] = mean
            self._calls.move_to_end(key[:2])
            if len(self._calls) > _CALLS_KEPT:
                self._calls.popitem(last=False)
        start, at = utterance.at, _FRAME
        return [
            HeardWord(word.word, round(word.confidence, 2), start + word.start * at, start + word.end * at)
            for word in found
        ]

    def _spotted(self, utterance: _Utterance) -> list[Spotted]:
        frames = utterance.search.frames
        if not utterance.look_at <= frames <= _LAST_LOOK:
            return []
        utterance.look_at = frames + _LOOKS_EVERY
        found = decision.spotted(utterance.search, utterance.sound)
        found = [word for word in found if word.word not in utterance.spotted]
        utterance.spotted.update(word.word for word in found)
        return [Spotted(word.word, round(word.confidence, 2), utterance.at + word.end * _FRAME) for word in found]

    def _network(self, words: tuple[str, ...]) -> Network:
        if words in self._networks:
            self._networks.move_to_end(words)
        else:
            self._language.lexicon.learn(words)
            spoken = [(word, self._language.lexicon.spoken(word)) for word in words]
            spoken = [(word, pronunciations) for word, pronunciations in spoken if pronunciations]
            self._networks[words] = Network(self._language.model, spoken, self._language.common)
            if len(self._networks) > _NETWORKS_KEPT:
                self._networks.popitem(last=False)
        return self._networks[words]
