"""The recogniser of an operator who brings a vosk model: grammar of the step's words, everything else unknown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from media.rates import RATE
from media.speech.engine import Key, Spotted
from media.speech.messages import HeardWord
from media.speech.model import ModelError

UNKNOWN = "[unk]"
ACCEPTED = 0.7
"""Confidence from which a word of a final result counts."""
SPOTTED_AFTER = 3
"""Partial results in a row that must agree on a word before it is spotted: partials carry no confidence."""
_LAYOUTS = (("am/final.mdl", "conf/model.conf", "conf/mfcc.conf"), ("final.mdl", "mfcc.conf"))
"""What every vosk model has, in one of the two layouts that the library reads."""


def check_model(folder: Path, *, with_grammar: bool = True) -> None:
    """Raises :class:`~media.speech.model.ModelError` unless ``folder`` holds a model, one that takes grammars if asked.

    Looked at before the library is: it answers a wrong path with a bare exception, and an empty
    one by asking the network.
    """
    if not folder.is_dir():
        raise ModelError(f"speech.vosk_model: {folder} is not a folder")
    if not any(all((folder / name).is_file() for name in layout) for layout in _LAYOUTS):
        raise ModelError(f"speech.vosk_model: {folder} holds no vosk model ({', '.join(_LAYOUTS[0])})")
    if not with_grammar:
        return
    graphs = [folder / "graph", folder]
    if not any((graph / "HCLr.fst").is_file() and (graph / "Gr.fst").is_file() for graph in graphs):
        raise ModelError(
            f"speech.vosk_model: {folder} has a fixed graph and takes no word lists;"
            " use a model with graph/HCLr.fst and graph/Gr.fst (the small ones have them)"
        )


def unknown_words(words: Iterable[str], folder: Path) -> set[str]:
    """Those of ``words`` that the model's own list lacks. Raises :class:`~media.speech.model.ModelError`."""
    check_model(folder)
    known = _word_list(folder)
    return {word for word in words if word.casefold() not in known}


def _word_list(folder: Path) -> frozenset[str]:
    for path in (folder / "graph" / "words.txt", folder / "words.txt"):
        if path.is_file():
            try:
                return frozenset(line.split(" ", 1)[0] for line in path.read_text("utf-8").splitlines())
            except (OSError, UnicodeDecodeError) as error:
                raise ModelError(f"cannot read {path}: {error}") from error
    raise ModelError(f"speech.vosk_model: {folder} has no graph/words.txt")


class _Utterance:
    def __init__(self, decoder: Any, words: frozenset[str], at: float) -> None:
        self.decoder = decoder
        self.words = words
        self.at = at
        self.samples = 0
        self.found: list[HeardWord] = []
        self.agreed: dict[str, int] = {}


class VoskEngine:
    """One Kaldi decoder per utterance over one shared model."""

    def __init__(self, folder: Path) -> None:
        """Raises :class:`~media.speech.model.ModelError`."""
        check_model(folder)
        self._known = _word_list(folder)
        try:
            import vosk
        except ImportError as error:
            raise ModelError(f"speech.vosk_model is set, but vosk cannot be loaded: {error}") from error
        vosk.SetLogLevel(-1)
        try:
            self._model = vosk.Model(model_path=str(folder))
        except Exception as error:
            raise ModelError(f"speech.vosk_model: {folder} could not be loaded: {error}") from error
        self._decoder_class: Any = vosk.KaldiRecognizer
        self._utterances: dict[Key, _Utterance] = {}
        self.about = f"vosk model {folder.name}"

    def begin(self, key: Key, words: Sequence[str], language: str, at: float) -> None:
        """See :class:`media.speech.engine.Recogniser`. The model's language is the operator's choice."""
        heard = frozenset(word.casefold() for word in words) & self._known
        decoder = self._decoder_class(self._model, RATE, json.dumps([*sorted(heard), UNKNOWN], ensure_ascii=False))
        decoder.SetWords(True)
        self._utterances[key] = _Utterance(decoder, heard, at)

    def audio(self, key: Key, pcm: bytes) -> list[Spotted]:
        """See :class:`media.speech.engine.Recogniser`."""
        utterance = self._utterances.get(key)
        if utterance is None:
            return []
        utterance.samples += len(pcm) // 2
        if utterance.decoder.AcceptWaveform(pcm):
            utterance.found += self._words(utterance, utterance.decoder.Result())
            utterance.agreed.clear()
            return []
        partial = set(json.loads(utterance.decoder.PartialResult()).get("partial", "").split()) & utterance.words
        utterance.agreed = {word: utterance.agreed.get(word, 0) + 1 for word in partial}
        now = utterance.at + utterance.samples / RATE
        return [Spotted(word, ACCEPTED, now) for word, times in utterance.agreed.items() if times == SPOTTED_AFTER]

    def end(self, key: Key) -> list[HeardWord]:
        """See :class:`media.speech.engine.Recogniser`."""
        utterance = self._utterances.pop(key, None)
        if utterance is None:
            return []
        return utterance.found + self._words(utterance, utterance.decoder.FinalResult())

    def cancel(self, key: Key) -> None:
        """See :class:`media.speech.engine.Recogniser`."""
        self._utterances.pop(key, None)

    def _words(self, utterance: _Utterance, result: str) -> list[HeardWord]:
        return [
            HeardWord(
                entry["word"],
                round(float(entry.get("conf", 1.0)), 2),
                utterance.at + float(entry["start"]),
                utterance.at + float(entry["end"]),
            )
            for entry in json.loads(result).get("result", ())
            if entry["word"] in utterance.words and float(entry.get("conf", 1.0)) >= ACCEPTED
        ]
