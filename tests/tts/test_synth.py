"""The real engine in its process, judged by its sound."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from media.levels import active_level
from media.tts import voices
from media.tts.store import PromptStore
from media.tts.synth import Speech, Synth, SynthError, render_all
from media.tts.text import MAX_CHARACTERS

Reader = Callable[[Path], NDArray[np.float32]]
SENTENCE = "Welcome to our service. Please say yes or no, or press one."


def pitch(sound: NDArray[np.float32]) -> float:
    """Median fundamental frequency of the voiced frames, by autocorrelation."""
    found = []
    for start in range(0, sound.size - 512, 256):
        frame = sound[start : start + 512] - sound[start : start + 512].mean()
        power = float(frame @ frame)
        if power / frame.size < 0.002:
            continue
        lags = np.correlate(frame, frame, "full")[511:]
        best = 20 + int(lags[20:130].argmax())  # 62 to 400 Hz
        if lags[best] > 0.4 * power:
            found.append(8000 / best)
    return float(np.median(found))


async def test_a_prompt_is_speech_at_its_level(synth: Synth, sound_of: Reader) -> None:
    sound = sound_of(await synth.render(SENTENCE, voice="en-us"))
    assert 2.5 < sound.size / 8000 < 5.5
    assert active_level(sound, 8000) == pytest.approx(-20, abs=3)
    assert 10 * np.log10(np.mean(sound**2)) == pytest.approx(-20, abs=3)
    assert np.abs(sound).max() < 0.9
    assert 70 < pitch(sound) < 150
    spectrum = np.abs(np.fft.rfft(sound)) ** 2
    band = slice(int(100 * sound.size / 8000), int(3400 * sound.size / 8000))
    assert spectrum[band].sum() > 0.95 * spectrum.sum()
    frames = sound[: sound.size // 800 * 800].reshape(-1, 800).std(axis=1)
    assert frames.max() > 5 * np.sort(frames)[len(frames) // 10], "no pauses: not speech"


async def test_sound_begins_at_once_and_ends_soon(synth: Synth, sound_of: Reader) -> None:
    sound = sound_of(await synth.render("yes"))
    loud = np.flatnonzero(np.abs(sound) > 0.01)
    assert loud[0] < 0.040 * 8000
    assert sound.size - loud[-1] < 0.150 * 8000


async def test_a_female_voice_is_higher(synth: Synth, sound_of: Reader) -> None:
    low, high = [pitch(sound_of(await synth.render(SENTENCE, voice=voice))) for voice in ("male", "female")]
    assert high > 1.4 * low


async def test_a_higher_rate_is_shorter(synth: Synth, sound_of: Reader) -> None:
    slow, fast = [sound_of(await synth.render(SENTENCE, rate=rate)).size for rate in (120, 240)]
    assert fast < 0.7 * slow


@pytest.mark.parametrize(
    ("text", "voice", "least", "most"),
    [
        ("1", "en", 0.2, 1.5),
        ("12345678901234567890", "en", 5, 20),
        ("+40 (0)21 555-0199", "en", 2, 15),
        ("Bună ziua! Spuneți „da” sau „nu”: ăâîșț ĂÂÎȘȚ", "ro", 2, 8),
        ("Für Öffnungszeiten drücken Sie die Eins, Straße", "de", 2, 8),
        ("你好世界", "zh-cn", 0.5, 4),
        ("😀", "en", 0.3, 4),
        ("<b>bold</b> &amp; [[x]]", "en", 0.5, 6),
        ("a" * MAX_CHARACTERS, "en", 5, 600),
        ("", "en", 0.2, 0.2),
        ("  \n ", "en", 0.2, 0.2),
        ("... - …", "en", 0.2, 0.2),
    ],
)
async def test_any_text(synth: Synth, store: PromptStore, text: str, voice: str, least: float, most: float) -> None:
    path = await synth.render(text, voice=voice)
    assert least <= store.seconds(path.stem) <= most
    assert synth.restarts == 0


async def test_every_voice_of_the_table_speaks_and_differs_from_the_last(
    synth: Synth, sound_of: Reader, wide_sound_of: Reader
) -> None:
    """An engine that ignores a voice goes on with the one before: its prompt would be the same."""
    wanted = [Speech("hello 123", voice=base) for base in sorted(voices._BASES)]
    results = await render_all(synth, wanted)
    failed = {speech.voice: str(result) for speech, result in results.items() if not isinstance(result, Path)}
    assert failed == {}
    paths = [result for result in results.values() if isinstance(result, Path)]
    assert all(active_level(sound_of(path), 8000) == pytest.approx(-20, abs=3) for path in paths)
    durations = {speech.voice: wide_sound_of(path).size for speech, path in zip(wanted, paths, strict=True)}
    assert len(set(durations.values())) > 0.7 * len(durations)


async def test_rendered_once(synth: Synth, store: PromptStore) -> None:
    paths = await asyncio.gather(*(synth.render("one and the same") for _ in range(20)))
    assert len(set(paths)) == 1
    assert len(list(store.folder.rglob("*.wav"))) == 1
    before = paths[0].stat().st_mtime_ns
    await synth.render("  one and\nthe same ")
    assert paths[0].stat().st_mtime_ns == before
    again = Synth(store)
    assert await again.render("one and the same") == paths[0]
    assert again.pid is None, "a cached prompt needs no process"
    await again.close()


async def test_killed_in_the_middle_it_recovers(synth: Synth, store: PromptStore) -> None:
    long = asyncio.create_task(synth.render("A long text that takes its time. " * 150))
    behind = asyncio.create_task(synth.render("something short"))
    await asyncio.sleep(0.05)
    assert not long.done()
    assert synth.pid is not None
    os.kill(synth.pid, signal.SIGKILL)
    assert store.seconds((await long).stem) > 100
    assert store.seconds((await behind).stem) > 0.4
    assert synth.restarts == 1


async def test_wrong_requests_are_clear_errors(synth: Synth) -> None:
    for arguments, message in (
        ({"voice": "klingon"}, "no voice 'klingon'"),
        ({"language": "xx"}, "language 'xx'"),
        ({"rate": 10}, "10 words a minute"),
    ):
        with pytest.raises(SynthError, match=message):
            await synth.render("hello", **arguments)  # type: ignore[arg-type]
    with pytest.raises(SynthError, match=f"may have {MAX_CHARACTERS}"):
        await synth.render("x" * (MAX_CHARACTERS + 1))
    assert synth.restarts == 0


async def test_a_whole_tree_with_its_errors(synth: Synth) -> None:
    texts = [Speech(f"Prompt number {number}.") for number in range(40)]
    bad = Speech("hello", voice="klingon")
    results = await render_all(synth, [*texts, bad, *texts])
    assert len(results) == 41
    assert all(isinstance(results[speech], Path) for speech in texts)
    assert isinstance(results[bad], SynthError)
    assert synth.restarts == 0


async def test_an_unwritable_store_is_a_clear_error(tmp_path: Path, synth: Synth) -> None:
    (tmp_path / "prompts").mkdir(exist_ok=True)
    blocked = Synth(PromptStore(tmp_path / "prompts" / "file"))
    (tmp_path / "prompts" / "file").write_text("not a folder")
    with pytest.raises(SynthError, match="cannot be stored"):
        await blocked.render("hello")
    await blocked.close()


async def test_a_voice_that_the_engine_lacks_is_an_error(synth: Synth, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine itself would say it with the voice before."""
    await synth.render("hello", voice="ro")
    monkeypatch.setattr(voices, "resolve", lambda voice, language: "xx-none")
    with pytest.raises(SynthError, match="voice 'xx-none'"):
        await synth.render("hello")
    assert synth.restarts == 0
