"""``ivrea hear`` as people and programs run it."""

from __future__ import annotations

import importlib.util
import json
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from speech_kit import Samples, spoken_digit
from typer.testing import CliRunner, Result

from engine.cli import app
from media.dtmf import tones

ROOM = np.random.default_rng(3)


def room(seconds: float) -> Samples:
    return np.rint(ROOM.normal(0, 8, int(seconds * 8000))).astype(np.int16)


def write(path: Path, *channels: Samples, rate: int = 8000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.stack(channels, axis=1).astype("<i2").tobytes())
    return path


def ivrea(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ "4" pressed after a second, "one" said a second later; on the right channel "9" is pressed."""
    left = np.concatenate([room(1.0), tones("4", 100, 100), room(0.9), spoken_digit(1, "lucas", 0), room(0.7)])
    right = np.zeros_like(left)
    right[4000 : 4000 + 1600] = tones("9", 100, 100)
    return write(tmp_path_factory.mktemp("recordings") / "call.wav", left, right)


def test_what_a_person_reads(recording: Path) -> None:
    result = ivrea("hear", recording, "--words", "One, two,xqzv")
    assert result.exit_code == 0
    assert "xqzv cannot be pronounced" in result.stdout
    assert "key 4" in result.stdout
    assert "key 9" not in result.stdout
    assert "one (" in result.stdout
    assert "none of the words" in result.stdout


def test_what_a_program_reads(recording: Path) -> None:
    result = ivrea("hear", recording, "--words", "one,two,xqzv", "--json", "--law", "mu")
    assert result.exit_code == 0
    heard = json.loads(result.stdout)
    assert heard["unpronounceable"] == ["xqzv"]
    (key,) = heard["keys"]
    assert (key["digit"], key["at"]) == ("4", pytest.approx(1.05, abs=0.05))
    (word,) = [word for utterance in heard["utterances"] for word in utterance["words"]]
    assert word["word"] == "one"
    assert word["start"] == pytest.approx(2.1, abs=0.2)
    assert [utterance["rejected"] for utterance in heard["utterances"]] == [True, False]
    assert {"start", "end", "decided", "words", "spotted", "rejected"} == set(heard["utterances"][0])


@pytest.mark.parametrize(("channel", "keys"), [("left", ["4"]), ("right", ["9"]), ("mix", ["9", "4"])])
def test_the_channel_that_is_asked_for(recording: Path, channel: str, keys: list[str]) -> None:
    result = ivrea("hear", recording, "--channel", channel, "--json")
    assert [key["digit"] for key in json.loads(result.stdout)["keys"]] == keys


def test_another_rate(tmp_path: Path) -> None:
    keys = np.repeat(np.concatenate([room(0.5), tones("7", 100, 100), room(0.5)]), 6)
    result = ivrea("hear", write(tmp_path / "wide.wav", keys, rate=48000), "--json")
    heard = json.loads(result.stdout)
    assert [key["digit"] for key in heard["keys"]] == ["7"]
    assert heard["seconds"] == pytest.approx(1.2, abs=0.03)


def test_levels_are_left_alone(tmp_path: Path) -> None:
    """A whisper is not turned up: a call would not hear it either."""
    faint = (spoken_digit(1, "lucas", 0) / 300).astype(np.int16)
    result = ivrea("hear", write(tmp_path / "faint.wav", np.concatenate([room(1), faint, room(1)])), "--json")
    assert json.loads(result.stdout)["speech"] == []


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (None, 2, "no such file"),
        (b"", 1, "empty"),
        (b"RIFF\x24\0\0\0WAVEfmt " + bytes(range(200)), 1, "garbage.wav"),
        (b"\xff\xfb\x90\x64" * 50, 1, "garbage.wav"),
        (b"#!/bin/sh\n", 1, "not a WAV"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes | None, status: int, said: str) -> None:
    path = tmp_path / "garbage.wav"
    if content is not None:
        path.write_bytes(content)
    result = ivrea("hear", path, "--words", "yes")
    assert result.exit_code == status
    assert said in result.stderr
    assert result.stdout == ""


def test_a_wave_file_without_sound(tmp_path: Path) -> None:
    result = ivrea("hear", write(tmp_path / "none.wav", np.zeros(0, np.int16)))
    assert result.exit_code == 1
    assert "no sound" in result.stderr


def test_a_folder_and_a_channel_that_is_not_there(tmp_path: Path) -> None:
    assert ivrea("hear", tmp_path).exit_code == 1
    mono = write(tmp_path / "mono.wav", room(0.2))
    result = ivrea("hear", mono, "--channel", "right")
    assert result.exit_code == 1
    assert "one channel only" in result.stderr


def test_a_model_folder_that_is_none(recording: Path, tmp_path: Path) -> None:
    result = ivrea("hear", recording, "--words", "yes", "--model", tmp_path)
    assert result.exit_code == 2
    assert "holds no vosk model" in result.stderr


def test_the_model_of_the_configuration(recording: Path, tmp_path: Path) -> None:
    config = tmp_path / "ivrea.toml"
    config.write_text('[speech]\nvosk_model = "model"\n')
    result = ivrea("hear", recording, "--config", config)
    assert result.exit_code == 2
    assert "there is no folder" in result.stderr
    (tmp_path / "model").mkdir()
    for command in (["hear", recording, "--words", "yes"], ["transcribe", recording]):
        result = ivrea(*command, "--config", config)
        assert result.exit_code in {1, 2}
        assert "holds no vosk model" in result.stderr


def test_more_words_than_a_step_may_have(recording: Path) -> None:
    result = ivrea("hear", recording, "--words", ",".join(f"w{n}" for n in range(300)))
    assert result.exit_code == 2
    assert "at most" in result.stderr


def test_a_picture(recording: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "out.png"
    assert ivrea("hear", recording, "--words", "one,$x_{$", "--plot", picture).exit_code == 0
    content = picture.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(content[at : at + 4]) for at in (16, 20))
    assert 1000 < width < 3000
    assert 200 < height < 1000
    assert len(content) > 5000


def test_a_picture_that_cannot_be_written(recording: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = ivrea("hear", recording, "--plot", tmp_path / "nowhere" / "out.png")
    assert result.exit_code == 2
    assert "No such file" in result.stderr


def test_no_picture_without_matplotlib(recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = ivrea("hear", recording, "--plot", tmp_path / "out.png")
    assert result.exit_code == 2
    assert "ivrea[plot]" in result.stderr
    assert not list(tmp_path.iterdir())
