"""The vosk engine against a stand-in for the library, and against a real model when IVREA_VOSK_MODEL names one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from speech_kit import DIGITS, on_the_phone, recognise, spoken_digit

from media.speech.engine import Key
from media.speech.lexicon import pronounceable
from media.speech.model import ModelError
from media.speech.vosk_engine import UNKNOWN, VoskEngine, check_model

KEY = Key(1, 2, 3)


class Decoder:
    def __init__(self, model: Any, rate: int, grammar: str) -> None:
        self.grammar, self.rate = json.loads(grammar), rate
        self.partial, self.final = "", "{}"

    def SetWords(self, on: bool) -> None:  # noqa: N802 - the library's name
        assert on

    def AcceptWaveform(self, pcm: bytes) -> bool:  # noqa: N802
        return False

    def PartialResult(self) -> str:  # noqa: N802
        return json.dumps({"partial": self.partial})

    def FinalResult(self) -> str:  # noqa: N802
        return self.final


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("am/final.mdl", "conf/mfcc.conf", "graph/HCLr.fst", "graph/Gr.fst"):
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "model/graph/words.txt").write_text("<eps> 0\nyes 1\nno 2\nda 3\n")
    return tmp_path / "model"


@pytest.fixture
def decoders(monkeypatch: pytest.MonkeyPatch) -> list[Decoder]:
    made: list[Decoder] = []

    def make(*arguments: Any) -> Decoder:
        made.append(Decoder(*arguments))
        return made[-1]

    def model(*, model_path: str) -> object:  # any other call would ask the network
        assert Path(model_path).is_dir()
        return object()

    library = SimpleNamespace(SetLogLevel=lambda level: None, Model=model, KaldiRecognizer=make)
    monkeypatch.setitem(sys.modules, "vosk", library)
    return made


def test_the_grammar_is_the_words_that_the_model_knows(folder: Path, decoders: list[Decoder]) -> None:
    engine = VoskEngine(folder)
    engine.begin(KEY, ["Yes", "no", "xqzv"], "en", 0.0)
    assert decoders[0].grammar == ["no", "yes", UNKNOWN]
    assert decoders[0].rate == 8000


def test_words_with_confidence_and_time(folder: Path, decoders: list[Decoder]) -> None:
    engine = VoskEngine(folder)
    engine.begin(KEY, ["yes", "no"], "en", 50.0)
    engine.audio(KEY, b"\0" * 320)
    decoders[0].final = json.dumps(
        {
            "result": [
                {"word": "[unk]", "conf": 1.0, "start": 0.0, "end": 0.2},
                {"word": "yes", "conf": 0.95, "start": 0.2, "end": 0.5},
                {"word": "no", "conf": 0.3, "start": 0.6, "end": 0.7},
            ]
        }
    )
    (word,) = engine.end(KEY)
    assert (word.word, word.confidence, word.start, word.end) == ("yes", 0.95, 50.2, 50.5)
    assert engine.end(KEY) == []


def test_a_word_is_spotted_once_when_partial_results_settle(folder: Path, decoders: list[Decoder]) -> None:
    engine = VoskEngine(folder)
    engine.begin(KEY, ["yes", "no"], "en", 0.0)
    spotted = []
    for partial in ("", "no", "[unk]", "yes", "yes", "yes", "yes no", "yes no", "yes no"):
        decoders[0].partial = partial
        spotted += [found.word for found in engine.audio(KEY, b"\0" * 1600)]
    assert spotted == ["yes", "no"]


@pytest.mark.parametrize(
    ("missing", "said"),
    [("am/final.mdl", "no vosk model"), ("graph/Gr.fst", "takes no word lists"), ("graph/words.txt", "words.txt")],
)
def test_an_incomplete_model_is_refused_before_the_library_is_asked(folder: Path, missing: str, said: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=said):
        VoskEngine(folder)


def test_no_folder_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a folder"):
        check_model(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="no vosk model"):
        check_model(tmp_path)


def test_the_librarys_own_failure_is_passed_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*, model_path: str) -> object:
        raise Exception("Failed to create a model")

    library = SimpleNamespace(SetLogLevel=lambda level: None, Model=broken, KaldiRecognizer=Decoder)
    monkeypatch.setitem(sys.modules, "vosk", library)
    with pytest.raises(ModelError, match="Failed to create a model"):
        VoskEngine(folder)


def test_pronounceable_asks_the_models_word_list(folder: Path) -> None:
    assert pronounceable(["yes", "da", "maybe"], "ro", folder) == {"maybe"}


@pytest.mark.skipif("IVREA_VOSK_MODEL" not in os.environ, reason="IVREA_VOSK_MODEL names no English vosk model")
def test_a_real_model_hears_a_digit() -> None:
    engine = VoskEngine(Path(os.environ["IVREA_VOSK_MODEL"]))
    assert recognise(engine, on_the_phone(spoken_digit(1, "lucas", 0)), DIGITS)[0] == ["one"]
