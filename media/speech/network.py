"""What can be said at a step, as chains of tied states: its words, silence, and a loop of all phones.

The loop of phones is the background: it explains any sound at all, a little worse than the
right word explains itself. It is there twice: once beside the words, and once alone, so that
every stretch of sound has a score that words had no part in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from media.speech.lexicon import Pronunciation
from media.speech.model import BEGIN, END, INTERNAL, SINGLE, AcousticModel, Floats, Indices, Phones
from media.speech.scoring import Densities, Scorer

NEVER = np.float32(-1e30)

WORD_PENALTY = -8.0
"""Log probability of a word's beginning, against silence."""
PHONE_PENALTY = -12.0
"""Log probability of a phone's beginning in the background loop."""


@dataclass(frozen=True, slots=True)
class Chain:
    """States from left to right: senones and the phones (codebooks, transitions) that they belong to."""

    senones: tuple[int, ...]
    phones: tuple[int, ...]
    penalty: float


def word_chain(phones: Phones, pronunciation: Pronunciation, penalty: float = WORD_PENALTY) -> Chain:
    """A word said on its own: its triphones between silences."""
    numbers = [phones.index(name) for name in pronunciation]
    senones: list[int] = []
    padded = [phones.silence, *numbers, phones.silence]
    for i, phone in enumerate(numbers):
        alone = len(numbers) == 1
        position = SINGLE if alone else BEGIN if i == 0 else END if i == len(numbers) - 1 else INTERNAL
        senones += phones.triphone(phone, padded[i], padded[i + 2], position)
    return Chain(tuple(senones), tuple(np.repeat(numbers, 3).tolist()), penalty)


def phone_chain(phones: Phones, phone: int, penalty: float) -> Chain:
    """A phone without context."""
    return Chain(phones.single(phone), (phone,) * 3, penalty)


class Network:
    """Chains laid end to end in flat arrays. ``word[c]`` is the number of the word of chain ``c``, −1 for background.

    The first half of the chains is the decoding network, the rest (from chain ``background_from``)
    the background alone.
    """

    def __init__(
        self,
        model: AcousticModel,
        densities: Densities,
        words: Sequence[tuple[str, Sequence[Pronunciation]]],
    ) -> None:
        phones = model.phones
        self.words = tuple(word for word, _ in words)
        chains: list[Chain] = []
        owner: list[int] = []
        for number, (_, pronunciations) in enumerate(words):
            for pronunciation in pronunciations:
                chains.append(word_chain(phones, pronunciation))
                owner.append(number)
        background = [phone_chain(phones, phones.silence, 0.0)] + [
            phone_chain(phones, phone, PHONE_PENALTY) for phone in range(len(phones.names)) if phone != phones.silence
        ]
        self.background_from = len(chains) + len(background)
        chains += background * 2
        self.word: npt.NDArray[np.int32] = np.array(owner + [-1] * (2 * len(background)), np.int32)
        lengths = np.array([len(chain.senones) for chain in chains])
        self.last: npt.NDArray[np.intp] = np.cumsum(lengths) - 1
        self.first: npt.NDArray[np.intp] = self.last - lengths + 1
        self.penalty: Floats = np.array([chain.penalty for chain in chains], np.float32)
        senones = np.array([senone for chain in chains for senone in chain.senones], np.int32)
        owners = np.array([phone for chain in chains for phone in chain.phones])
        place = np.arange(len(senones)) - np.repeat(self.first, lengths)
        # Every phone has three states: a word's state is its phone's first, second or third.
        self.stay: Floats = model.transitions[owners, place % 3, place % 3]
        self.leave: Floats = model.transitions[owners, place % 3, place % 3 + 1]
        self._scorer = Scorer(model, densities, senones)
        self._columns: Indices = self._scorer.column(senones)

    @property
    def states(self) -> int:
        return len(self.stay)

    def observe(self, frames: Floats) -> Floats:
        """Log likelihood of each frame in each state, (n, states), for features (n, 39)."""
        return self._scorer.score(frames)[:, self._columns]
