"""What can be said at a step, as chains of tied states laid end to end in flat arrays.

Three networks run side by side over the same sound. *Background*: silence, single phones and
common words, which explain whatever is said. *Open*: the step's words among that background.
And one word *alone*, between a lead and a tail of silence or noise. How much better a network
with words explains the sound than the background is the evidence for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from media.speech.letters import Pronunciation
from media.speech.model import BEGIN, END, INTERNAL, SINGLE, AcousticModel, Floats, Indices, Phones
from media.speech.scoring import Scorer

Entries = Sequence[tuple[str, Sequence[Pronunciation]]]

WORD_PENALTY = 0.0
"""Log probability of a word's beginning, against silence."""
BACKGROUND_PENALTY = -12.0
"""Log probability of the beginning of a phone or a common word of the background."""


class Part(IntEnum):
    """The parts of the networks; a token that leaves one may enter those that name it in :data:`SOURCES`."""

    OPEN = 0
    BACKGROUND = 1
    LEAD = 2
    ALONE = 3
    TAIL = 4


SOURCES = {
    Part.OPEN: (Part.OPEN,),
    Part.BACKGROUND: (Part.BACKGROUND,),
    Part.LEAD: (Part.LEAD,),
    Part.ALONE: (Part.LEAD,),
    Part.TAIL: (Part.ALONE, Part.TAIL),
}
FIRST = frozenset(Part) - {Part.TAIL}
"""Parts that an utterance may begin in."""


@dataclass(frozen=True, slots=True)
class Chain:
    """States from left to right: senones and the phones (codebooks, transitions) that they belong to."""

    senones: tuple[int, ...]
    phones: tuple[int, ...]


def word_chain(phones: Phones, pronunciation: Pronunciation) -> Chain:
    """A word said on its own: its triphones between silences."""
    numbers = [phones.index(name) for name in pronunciation]
    senones: list[int] = []
    padded = [phones.silence, *numbers, phones.silence]
    for i, phone in enumerate(numbers):
        alone = len(numbers) == 1
        position = SINGLE if alone else BEGIN if i == 0 else END if i == len(numbers) - 1 else INTERNAL
        senones += phones.triphone(phone, padded[i], padded[i + 2], position)
    return Chain(tuple(senones), tuple(phone for phone in numbers for _ in range(3)))


def linked_chain(phones: Phones, pronunciation: Pronunciation) -> Chain:
    """A word in the midst of others: its first and last phones take any neighbour."""
    alone = word_chain(phones, pronunciation)
    first, last = phones.single(alone.phones[0]), phones.single(alone.phones[-1])
    return Chain((*first, *alone.senones[3:-3], *last) if len(alone.senones) > 3 else first, alone.phones)


def phone_chain(phones: Phones, phone: int) -> Chain:
    """A phone without context."""
    return Chain(phones.single(phone), (phone,) * 3)


_KINDS = {
    phone: kind
    for kind, some in enumerate(
        (
            "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW",
            "P B T D K G CH JH",
            "F V TH DH S Z SH ZH HH",
            "M N NG",
            "L R W Y",
        )
    )
    for phone in some.split()
}
"""Phones of a kind are taken for each other on the telephone."""


def _sounds_like(pronunciation: Pronunciation, others: Iterable[Pronunciation]) -> bool:
    """Whether one of ``others`` is the same but for one phone of the same kind."""
    for other in others:
        if len(other) == len(pronunciation):
            unlike = [pair for pair in zip(pronunciation, other, strict=True) if pair[0] != pair[1]]
            if len(unlike) < 2 and all(_KINDS.get(a) == _KINDS.get(b, -1) for a, b in unlike):
                return True
    return False


class Network:
    """``part[p]``: the chains of a part, as a slice; ``word[c]``: number of the word of chain ``c``, -1 if of none.

    Flat arrays for the search: of each chain its first and last state, its penalty and its part (``group``); of each
    part its first chain (``bounds``); of each state the log probabilities to stay and to leave and the column of its
    senone in the scores of ``scorer``.
    """

    def __init__(self, model: AcousticModel, words: Entries, common: Entries = ()) -> None:
        phones = model.phones
        self.words = tuple(word for word, _ in words)
        said = {pronunciation for _, pronunciations in words for pronunciation in pronunciations}
        chains = [
            (number, word_chain(phones, pronunciation))
            for number, (_, pronunciations) in enumerate(words)
            for pronunciation in pronunciations
        ]
        silence = (-1, phone_chain(phones, phones.silence), 0.0)
        plain = [phone for phone in range(len(phones.names)) if phone != phones.silence]
        noise = [(-1, phone_chain(phones, phone), BACKGROUND_PENALTY) for phone in plain]
        # A common word that sounds like one of the step's would explain it away.
        heard = [word_chain(phones, some[0]) for _, some in common if some and not _sounds_like(some[0], said)]
        background = [silence, *noise, *((-1, chain, BACKGROUND_PENALTY) for chain in heard)]
        around = [silence, *((-1, phone_chain(phones, phone), BACKGROUND_PENALTY) for phone in phones.fillers())]
        spoken = [(number, chain, WORD_PENALTY) for number, chain in chains]
        linked = [
            (number, linked_chain(phones, pronunciation), WORD_PENALTY)
            for number, (_, pronunciations) in enumerate(words)
            for pronunciation in pronunciations
        ]
        parts = (spoken + linked + background, background, around, spoken, around)
        rows = [row for part in parts for row in part]
        ends = np.cumsum([0, *map(len, parts)]).tolist()
        self.part = {part: slice(ends[part], ends[part + 1]) for part in Part}
        self.word: npt.NDArray[np.int32] = np.array([number for number, _, _ in rows], np.int32)
        self.penalty: Floats = np.array([penalty for _, _, penalty in rows], np.float32)
        self.bounds: npt.NDArray[np.intp] = np.array(ends[:-1])
        self.group: npt.NDArray[np.intp] = np.repeat(np.arange(len(parts)), np.diff(ends))
        self._lay_out(model, [chain for _, chain, _ in rows])

    def _lay_out(self, model: AcousticModel, chains: Sequence[Chain]) -> None:
        lengths = np.array([len(chain.senones) for chain in chains])
        self.last: npt.NDArray[np.intp] = np.cumsum(lengths) - 1
        self.first: npt.NDArray[np.intp] = self.last - lengths + 1
        senones = np.array([senone for chain in chains for senone in chain.senones], np.int32)
        owners = np.array([phone for chain in chains for phone in chain.phones])
        # Every phone has three states: a chain's state is its phone's first, second or third.
        third = (np.arange(len(senones)) - np.repeat(self.first, lengths)) % 3
        self.stay: Floats = model.transitions[owners, third, third]
        self.leave: Floats = model.transitions[owners, third, third + 1]
        self.scorer = Scorer(model, senones)
        self.columns: Indices = self.scorer.column(senones)

    @property
    def states(self) -> int:
        return len(self.stay)
