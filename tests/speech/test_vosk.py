"""The vosk engine against a stand-in for the library, and against a real model when IVREA_VOSK_MODEL names one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from speech_kit import DATA, DIGITS, mu_law, on_the_phone, read_sentence, recognise, spoken_digit

from engine.calls.recogniser import RecogniserError, Recognisers
from engine.transcription import Transcriber
from media import commands
from media.frames import powers
from media.hearing import hear
from media.ipc import Framing
from media.listening import Listening
from media.rates import FRAME
from media.speech.dictation import VoskDictation
from media.speech.engine import Key
from media.speech.lexicon import pronounceable
from media.speech.messages import Begin, End, FromRecogniser, UtteranceEnded
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
    for name in ("am/final.mdl", "conf/model.conf", "conf/mfcc.conf", "graph/HCLr.fst", "graph/Gr.fst"):
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
    [
        ("am/final.mdl", "no vosk model"),
        ("conf/model.conf", "no vosk model"),
        ("graph/Gr.fst", "takes no word lists"),
        ("graph/words.txt", "words.txt"),
    ],
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


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 4000])
def test_what_only_looks_like_a_model_is_refused_by_the_library_itself(folder: Path, content: bytes) -> None:
    pytest.importorskip("vosk")
    (folder / "conf/mfcc.conf").write_text("--sample-frequency=8000\n")
    (folder / "conf/model.conf").write_text("--min-active=200\n")
    (folder / "am/final.mdl").write_bytes(content)
    with pytest.raises(ModelError, match="could not be loaded"):
        VoskEngine(folder)
    with pytest.raises(ModelError, match="could not be loaded"):
        VoskDictation(folder)


def test_dictation_takes_all_words_of_all_results(
    folder: Path, decoders: list[Decoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "graph/Gr.fst").unlink()  # a fixed graph will do
    results = [
        {"result": [{"word": "good", "conf": 0.9, "start": 0.1, "end": 0.4}], "text": "good"},
        {"text": ""},
        {"result": [{"word": "morning", "conf": 0.5, "start": 0.5, "end": 1.0}], "text": "morning"},
    ]
    fed: list[int] = []

    class Free(Decoder):
        def __init__(self, model: Any, rate: int) -> None:
            super().__init__(model, rate, "[]")
            assert rate == 16000

        def AcceptWaveform(self, pcm: bytes) -> bool:  # noqa: N802
            fed.append(len(pcm))
            return len(fed) in {2, 3}

        def Result(self) -> str:  # noqa: N802
            return json.dumps(results.pop(0))

        FinalResult = Result

    monkeypatch.setattr(sys.modules["vosk"], "KaldiRecognizer", Free)
    words = VoskDictation(folder).words(np.zeros(16000 + 100, np.int16), 16000)
    assert [tuple(getattr(word, name) for name in ("word", "confidence", "start", "end")) for word in words] == [
        ("good", 0.9, 0.1, 0.4),
        ("morning", 0.5, 0.5, 1.0),
    ]
    assert sum(fed) == 2 * 16100


# --- processes ----------------------------------------------------------------------------

LIBRARY = """
import json

def SetLogLevel(level): pass

class Model:
    def __init__(self, model_path): pass

class KaldiRecognizer:
    def __init__(self, model, rate, grammar): self.words = json.loads(grammar)
    def SetWords(self, on): pass
    def AcceptWaveform(self, pcm): return False
    def PartialResult(self): return "{}"
    def FinalResult(self):
        return json.dumps({"result": [{"word": self.words[0], "conf": 1.0, "start": 0.1, "end": 0.2}]})
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes find the stand-in."""
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "vosk.py").write_text(LIBRARY)
    paths = [str(tmp_path / "library"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


@pytest.fixture
async def recognisers(
    folder: Path, library: None
) -> AsyncIterator[tuple[Recognisers, asyncio.Queue[commands.UseRecogniser]]]:
    """Three processes with a stand-in for the library, and what is told of them."""
    told: asyncio.Queue[commands.UseRecogniser] = asyncio.Queue()
    running = Recognisers(vosk_model=str(folder), vosk_processes=3, max_listening=10, on_new=told.put_nowait)
    await running.start()
    yield running, told
    await running.close()


async def test_several_processes_and_one_that_dies(
    recognisers: tuple[Recognisers, asyncio.Queue[commands.UseRecogniser]],
) -> None:
    running, told = recognisers
    assert "3 processes" in running.about
    first = sorted([told.get_nowait() for _ in range(3)], key=lambda each: each.number)
    assert [(each.number, each.of) for each in first] == [(0, 3), (1, 3), (2, 3)]
    assert len({process.pid for process in running.processes}) == 3
    pid = running.processes[1].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    again = await asyncio.wait_for(told.get(), 30)
    assert (again.number, again.of) == (1, 3)
    assert again.path != first[1].path
    assert [process.restarts for process in running.processes] == [0, 1, 0]


async def test_each_process_recognises_for_its_streams(
    recognisers: tuple[Recognisers, asyncio.Queue[commands.UseRecogniser]],
) -> None:
    _, told = recognisers
    listening = Listening(6, Past(), reports := [])
    for _ in range(3):
        use = told.get_nowait()
        listening.connect(use.path, use.number, use.of, 0.0)
    slots = np.arange(6)
    for slot in range(6):
        listening.open(slot)
        listening.hear(slot, commands.Hear(slot, 1, ["yes"] if slot % 3 else ["no"]))
    nothing = np.zeros((6, FRAME), np.int16)
    loud = np.full((6, FRAME), 3000, np.int16)
    now = 0.0
    for frame in [nothing] * 20 + [loud] * 20 + [nothing] * 20:
        listening.feed(slots, frame, powers(frame), nothing, now := now + 0.02)
        listening.poll(now)
    while len(ended := [each for each in reports if isinstance(each, UtteranceEnded)]) < 6:
        await asyncio.sleep(0.01)
        listening.poll(now)
    heard = {each.stream: [word.word for word in each.words] for each in ended}
    assert heard == {slot: ["yes"] if slot % 3 else ["no"] for slot in range(6)}
    assert listening.unheard == 0


class Past:
    """Silence lies behind."""

    def before(self, slots: np.ndarray) -> np.ndarray:
        return np.zeros((len(slots), FRAME), np.int16)

    def history(self, slot: int, frames: int) -> np.ndarray:
        return np.zeros(frames * FRAME, np.int16)


async def test_callers_beyond_the_limit_are_counted_and_logged(
    folder: Path, library: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[int] = []
    quiet = SimpleNamespace(info=lambda *_, **__: None, warning=lambda _, utterances, **__: warned.append(utterances))
    monkeypatch.setattr("engine.calls.recogniser.log", quiet)
    told: asyncio.Queue[commands.UseRecogniser] = asyncio.Queue()
    running = Recognisers(vosk_model=str(folder), vosk_processes=1, max_listening=2, on_new=told.put_nowait)
    await running.start()
    (process,) = running.processes
    assert list(process.outcomes()) == []
    _, writer = await asyncio.open_unix_connection(told.get_nowait().path)
    framing: Framing[FromRecogniser] = Framing(FromRecogniser)
    for stream in range(5):
        writer.write(framing.encode(Begin(stream, 1, ["yes"], "en", 0.0)))
    for stream in range(5):
        writer.write(framing.encode(End(stream, 1, 1.0)))
    while dict(process.outcomes()) != {"decided": 2, "refused": 3, "cut": 0}:  # noqa: ASYNC110 - told once a second
        await asyncio.sleep(0.01)
    writer.close()
    await running.close()
    assert sum(warned) == 3


async def test_a_broken_model_stops_the_start_and_leaves_nothing(tmp_path: Path) -> None:
    running = Recognisers(
        vosk_model=str(tmp_path), vosk_processes=2, max_listening=10, on_new=lambda use: pytest.fail("it serves")
    )
    with pytest.raises(RecogniserError, match="holds no vosk model"):
        await running.start()
    assert [process.pid and is_alive(process.pid) for process in running.processes] == [False, False]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_without_a_model_there_is_one_process() -> None:
    running = Recognisers(vosk_model="", vosk_processes=4, max_listening=10, on_new=lambda use: None)
    assert len(running.processes) == 1


# --- with a real model --------------------------------------------------------------------

MODEL = os.environ.get("IVREA_VOSK_MODEL", "")
with_a_model = pytest.mark.skipif(not MODEL, reason="IVREA_VOSK_MODEL names no English vosk model")


@with_a_model
def test_a_real_model_hears_a_digit() -> None:
    engine = VoskEngine(Path(MODEL))
    assert recognise(engine, on_the_phone(spoken_digit(1, "lucas", 0)), DIGITS)[0] == ["one"]


@with_a_model
def test_a_real_model_rejects_what_is_none_of_the_words() -> None:
    hearing = hear(mu_law(read_sentence("austen_0870")), DIGITS, VoskEngine(Path(MODEL)))
    assert hearing.words == ()
    assert any(utterance.rejected for utterance in hearing.utterances)


@with_a_model
async def test_a_real_model_transcribes() -> None:
    transcript = await Transcriber(vosk_model=MODEL).transcribe(DATA / "read" / "go_forward_ten_meters.wav")
    assert transcript.text == "go forward ten meters"
    assert transcript.engine == f"vosk model {Path(MODEL).name}"


@with_a_model
async def test_a_real_model_in_its_processes() -> None:
    running = Recognisers(vosk_model=MODEL, vosk_processes=2, max_listening=10, on_new=lambda use: None)
    await running.start()
    assert "2 processes" in running.about
    await running.close()
