"""Recordings to text: in processes of their own, whatever happens to them."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import tempfile
import wave
from pathlib import Path

import numpy as np
import pytest
from speech_kit import DATA, Samples, mu_law, read_sentence, read_wave
from typer.testing import CliRunner

from engine.cli import app
from engine.transcription import (
    LanguageNotInstalled,
    NotTranscribable,
    Transcriber,
    TranscriberFailed,
    TranscriptionError,
)
from media.speech.dictation import LONGEST, MARGIN, language_of_model, model_for, pieces
from media.speech.transcriber import Transcribe, TranscriptionRefused, answer

METERS = DATA / "read" / "go_forward_ten_meters.wav"

STAND_IN = """
import argparse, os, signal, sys, time
from pathlib import Path
parser = argparse.ArgumentParser()
parser.add_argument("--fd")
parser.add_argument("--cpu-seconds")
parser.parse_args()
Path(os.environ["PID_FILE"]).write_text(str(os.getpid()))
{does}
"""


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go: empty again after every transcription."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


class StandIn:
    """A module that is run in place of the transcriber's."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.pid_file = folder / "pid"
        monkeypatch.setenv("PID_FILE", str(self.pid_file))
        monkeypatch.setenv("PYTHONPATH", str(folder) + os.pathsep + os.environ.get("PYTHONPATH", ""))

    def that(self, does: str) -> str:
        (self.folder / "stand_in.py").write_text(STAND_IN.format(does=does))
        return "stand_in"

    async def pid(self) -> int:
        """That of the process, once it runs."""
        while not (self.pid_file.exists() and self.pid_file.read_text()):  # noqa: ASYNC110 - written by another process
            await asyncio.sleep(0.01)
        return int(self.pid_file.read_text())


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return StandIn(tmp_path, monkeypatch)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def left_behind(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def write(path: Path, *channels: Samples) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.stack(channels, axis=1).astype("<i2").tobytes())
    return path


# --- what comes out -----------------------------------------------------------------------


async def test_words_with_times_and_confidence(scratch: Path) -> None:
    transcript = await Transcriber().transcribe(METERS, "en-US")
    assert transcript.text == "go forward ten meters"
    assert transcript.seconds == pytest.approx(2.79, abs=0.02)
    assert "PocketSphinx" in transcript.engine
    times = [(word.start, word.end) for word in transcript.words]
    assert times == sorted(times)
    assert times[0][0] == pytest.approx(0.5, abs=0.25)
    assert times[-1][1] == pytest.approx(2.1, abs=0.3)
    assert all(0.0 <= word.confidence <= 1.0 for word in transcript.words)
    assert left_behind(scratch) == []


async def test_speech_far_into_a_channel_of_a_call(scratch: Path, tmp_path: Path) -> None:
    words = mu_law(read_wave(METERS))
    left = np.concatenate([np.zeros(8000 * 30, np.int16), words, np.zeros(8000, np.int16)])
    right = np.zeros_like(left)
    path = write(tmp_path / "call.wav", left, right)
    transcriber = Transcriber(at_once=2)
    caller, engine = await asyncio.gather(
        transcriber.transcribe(path, channel=0), transcriber.transcribe(path, channel=1)
    )
    assert caller.text.startswith("go forward")
    assert caller.words[0].start == pytest.approx(30.5, abs=0.3)
    assert (engine.text, engine.words) == ("", ())
    assert left_behind(scratch) == []


def test_speech_is_cut_into_pieces() -> None:
    sentence = read_sentence("austen_0930")
    pause = np.zeros(8000 * 2, np.int16)
    assert pieces(pause, 8000) == []
    found = pieces(np.concatenate([pause, sentence, pause, sentence]), 8000)
    starts = [start / 8000 for start, _ in found]
    assert starts == pytest.approx([2.0 - MARGIN, 4.0 + len(sentence) / 8000 - MARGIN], abs=0.4)


def test_long_speech_is_cut_where_it_is_quiet() -> None:
    generator = np.random.default_rng(5)
    syllable = np.concatenate([generator.normal(0, 2000, 2800), generator.normal(0, 10, 800)])
    sound = np.concatenate([np.zeros(8000), np.tile(syllable, 150)]).astype(np.int16)  # 67 s, no pause of 300 ms
    found = pieces(sound, 8000)
    assert len(found) >= 4
    assert all(0 < end - start <= LONGEST * 8000 for start, end in found)
    for (_, end), (start, _) in itertools.pairwise(found):
        assert start == end
        assert np.abs(sound[start : start + 160]).max() < 100
    assert found[-1][1] >= len(sound) - 320


# --- refusals -----------------------------------------------------------------------------


async def test_a_language_that_is_not_installed(scratch: Path) -> None:
    with pytest.raises(LanguageNotInstalled, match="'it-IT' is not installed") as caught:
        await Transcriber().transcribe(METERS, "it-IT")
    assert caught.value.language == "it-IT"
    with pytest.raises(LanguageNotInstalled):
        Transcriber().check("it")


@pytest.mark.parametrize(
    ("folder", "language"),
    [
        ("vosk-model-small-en-us-0.15", "en"),
        ("vosk-model-en-us-0.42-gigaspeech", "en"),
        ("vosk-model-de-0.21", "de"),
        ("vosk-model-small-cn-0.22", "zh"),
        ("vosk-model-el-gr-0.7", "el"),
        ("my-model", ""),
    ],
)
def test_the_language_of_a_model_is_in_its_name(folder: str, language: str) -> None:
    assert language_of_model(Path(folder)) == language


def test_which_engine_hears_which_language() -> None:
    german, unnamed = Path("vosk-model-de-0.21"), Path("ours")
    assert model_for("de-DE", german) == german
    assert model_for("en-GB", german) is None
    assert model_for("it", unnamed) == unnamed
    with pytest.raises(LanguageNotInstalled):
        model_for("it", german)


@pytest.mark.parametrize("content", [None, b"", b"RIFF\x24\0\0\0WAVEfmt " + bytes(range(200)), b"hello"])
async def test_what_is_no_recording(tmp_path: Path, scratch: Path, content: bytes | None) -> None:
    path = tmp_path / "garbage.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NotTranscribable, match=r"garbage\.wav"):
        await Transcriber().transcribe(path)
    assert left_behind(scratch) == []


async def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(TranscriberFailed, match="holds no vosk model"):
        await Transcriber(vosk_model=str(tmp_path)).transcribe(METERS)


def test_a_model_that_goes_while_we_wait(tmp_path: Path) -> None:
    refused = answer(Transcribe(os.fsencode(METERS), os.fsencode(tmp_path / "gone")))
    assert isinstance(refused, TranscriptionRefused)
    assert "not a folder" in refused.reason
    assert isinstance(answer(Transcribe(b"/nowhere")), TranscriptionRefused)


# --- the process --------------------------------------------------------------------------


async def test_killed_in_the_middle(scratch: Path, stand_in: StandIn) -> None:
    transcriber = Transcriber(module=stand_in.that("time.sleep(1e6)"))
    task = asyncio.create_task(transcriber.transcribe(METERS))
    os.kill(await stand_in.pid(), signal.SIGKILL)
    with pytest.raises(TranscriberFailed, match="ended with status -9"):
        await task
    assert left_behind(scratch) == []


async def test_one_that_takes_too_long_is_killed(scratch: Path, stand_in: StandIn) -> None:
    module = stand_in.that("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1e6)")
    with pytest.raises(TranscriberFailed, match="took more than"):
        await Transcriber(module=module, patience=1.0, pace=0.0).transcribe(METERS)
    assert not is_alive(await stand_in.pid())
    assert left_behind(scratch) == []


async def test_cancelled_in_the_middle(scratch: Path, stand_in: StandIn) -> None:
    transcriber = Transcriber(module=stand_in.that("time.sleep(1e6)"))
    task = asyncio.create_task(transcriber.transcribe(METERS))
    waiting = asyncio.create_task(transcriber.transcribe(METERS))
    pid = await stand_in.pid()
    waiting.cancel()
    task.cancel()
    done = await asyncio.gather(task, waiting, return_exceptions=True)
    assert [type(each) for each in done] == [asyncio.CancelledError] * 2
    assert not is_alive(pid)
    assert left_behind(scratch) == []


async def test_one_that_cannot_start_or_talks_nonsense(scratch: Path, stand_in: StandIn) -> None:
    with pytest.raises(TranscriberFailed, match="ended with status 1"):
        await Transcriber(module="no.such.module").transcribe(METERS)
    nonsense = stand_in.that(
        "fd = int(sys.argv[sys.argv.index('--fd') + 1]); os.write(fd, b'\\0\\0\\0\\1\\xc1'); time.sleep(1e6)"
    )
    with pytest.raises(TranscriberFailed, match="ended with status -9"):
        await Transcriber(module=nonsense).transcribe(METERS)
    assert left_behind(scratch) == []


def test_all_errors_are_of_one_kind() -> None:
    for kind in (LanguageNotInstalled, NotTranscribable, TranscriberFailed):
        assert issubclass(kind, TranscriptionError)


# --- the command --------------------------------------------------------------------------


def test_the_command() -> None:
    result = CliRunner().invoke(app, ["transcribe", str(METERS), "--json"])
    assert result.exit_code == 0
    transcript = json.loads(result.stdout)
    assert transcript["text"] == "go forward ten meters"
    assert [word["word"] for word in transcript["words"]] == transcript["text"].split()
    assert {"word", "confidence", "start", "end"} == set(transcript["words"][0])
    assert "go forward ten meters\n" in CliRunner().invoke(app, ["transcribe", str(METERS)]).stdout


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nowhere.wav"], 2, "no such file"),
        ([str(METERS), "--language", "nl"], 1, "not installed"),
        ([__file__], 1, "not a WAV"),
        ([str(METERS), "--channel", "right"], 1, "one channel only"),
        ([str(METERS), "--model", str(DATA)], 1, "holds no vosk model"),
    ],
)
def test_the_command_refuses(arguments: list[str], status: int, said: str) -> None:
    result = CliRunner().invoke(app, ["transcribe", *arguments])
    assert result.exit_code == status
    assert said in result.stderr
