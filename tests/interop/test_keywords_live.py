"""Spoken keywords on live calls, at the one threshold that is shipped.

Accuracy over all recordings is measured next to the recogniser; here a part of them goes the whole
way: G.711, RTP, jitter buffer, voice activity, recogniser, executor, path. Calls run many at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from kit import sound, trees
from kit.daemon import ROOT, Daemon
from kit.phone import Phone
from kit.trees import ROOT_HZ, TWO_HZ

from media.arena import read_clip
from media.levels import trim

SPEECH = ROOT / "tests" / "data" / "speech"
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPEAKERS = ("george", "jackson", "lucas", "yweweler")
TAKES = (2, 7)
AT_ONCE = 8

pytestmark = [pytest.mark.alone, pytest.mark.sound, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    flows: dict[str, object] = {
        "10": trees.words(*DIGITS),
        "11": trees.words("yes", "no"),
        "12": trees.words("yes | sure", "no", "maybe"),
    }
    settings = {"calls": {"listen": 4.0, "repeats": 0}, "speech": {"max_listening": 100}}
    daemon = Daemon(tmp_path_factory.mktemp("words"), flows, sounds=trees.SOUNDS, settings=settings)
    with daemon:
        yield daemon


def speech(path: Path, seed: int = 1) -> sound.Samples:
    rate, channels = sound.read_wav(path)
    return sound.to_8k(channels[0], rate)


def with_noise(samples: sound.Samples, snr: float | None, seed: int) -> sound.Samples:
    """Near silence around and below, or noise ``snr`` dB under the speech."""
    if snr is None:
        return samples + sound.noise(len(samples) / sound.RATE, -65, seed)[: len(samples)]
    return samples + sound.noise(len(samples) / sound.RATE, sound.level(samples) - snr, seed)[: len(samples)]


def path_after_saying(daemon: Daemon, number: str, said: sound.Samples) -> str:
    """Call, wait for the prompt to end, say it, and see where the call went."""
    with Phone(daemon.address) as phone:
        assert phone.call(number).status == 200
        phone.rtp.wait_for_sound(ROOT_HZ, 5)
        phone.rtp.wait_for_quiet(0.2)
        phone.rtp.say(np.concatenate([sound.noise(0.3, -65), said, sound.noise(0.5, -65, 2)]))
        phone.wait_for_end(len(said) / sound.RATE + 20)
    return str(daemon.closing(phone.call_id)["path"])


def test_human_digits_at_a_ten_word_node(listening: Daemon) -> None:
    """At least 70 % right, at most 25 % wrong; the rest is not understood, which asks again."""
    takes = [(digit, speaker, take) for digit in range(10) for speaker in SPEAKERS for take in TAKES]

    def right(item: tuple[int, str, int]) -> str:
        digit, speaker, take = item
        said = with_noise(speech(SPEECH / "digits" / f"{digit}_{speaker}_{take}.wav"), None, digit)
        path = path_after_saying(listening, "10", said)
        return "right" if path == DIGITS[digit] else "wrong" if path else "none"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts = list(pool.map(right, takes))
    tally = {verdict: verdicts.count(verdict) for verdict in ("right", "wrong", "none")}
    assert tally["right"] >= 0.70 * len(takes), tally
    assert tally["wrong"] <= 0.25 * len(takes), tally


@pytest.mark.peer("pyttsx3", "espeakng_loader")
def test_synthetic_yes_and_no(listening: Daemon, tmp_path: Path) -> None:
    """Ten voices that nothing was tuned on; at least 19 of 20."""
    files = rendered(tmp_path)

    def heard(item: tuple[str, Path]) -> bool:
        word, path = item
        said = narrow(path)
        said = said * 10 ** ((-20 - sound.level(said)) / 20)
        return path_after_saying(listening, "11", with_noise(said, None, len(said))) == word

    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts = list(pool.map(heard, files))
    wrong = [path.stem for (_, path), good in zip(files, verdicts, strict=True) if not good]
    assert sum(verdicts) >= 19, wrong


def narrow(path: Path) -> sound.Samples:
    """A prompt as a telephone gets it: 8 kHz, without the quiet ends that only a wider band fills."""
    samples = read_clip(str(path), sound.RATE).astype(np.float32) / 32768
    return np.asarray(trim(samples, sound.RATE), np.float64)


VOICES = (
    "en-us",
    "en-gb-scotland",
    "en-gb-x-rp",
    "en-029",
    "en-us+f1",
    "en-us+f3",
    "en+f2",
    "en+m3",
    "en+m7",
    "en-gb+f4",
)


def rendered(folder: Path) -> list[tuple[str, Path]]:
    """The words, spoken by the synthesiser's own program interface in a process of its own."""
    import asyncio

    from media.tts.store import PromptStore
    from media.tts.synth import Synth

    async def render() -> list[tuple[str, Path]]:
        synth = Synth(PromptStore(folder / "prompts"))
        await synth.start()
        try:
            return [(word, await synth.render(word, voice=voice)) for voice in VOICES for word in ("yes", "no")]
        finally:
            await synth.close()

    return asyncio.run(render())


def read_aloud() -> sound.Samples:
    """All read sentences, one after the other with pauses, about 28 s."""
    parts: list[sound.Samples] = []
    for path in sorted((SPEECH / "read").glob("austen_*.wav")):
        parts += [speech(path), sound.silence(0.7)]
    return np.concatenate(parts)


def test_read_sentences_take_at_most_one_branch(daemon_for: Callable[..., Daemon]) -> None:
    """Eight offsets, clean and at 20 and 10 dB SNR: none of it contains a yes or a no."""
    daemon = daemon_for({"1": trees.words("yes", "no")}, settings={"calls": {"listen": 60.0, "repeats": 0}})
    text = read_aloud()
    runs = [(offset, snr) for offset in range(8) for snr in (None, 20.0, 10.0)]

    def taken(item: tuple[int, float | None]) -> str:
        offset, snr = item
        said = with_noise(np.roll(text, -offset * len(text) // 8), snr, offset)
        with Phone(daemon.address) as phone:
            assert phone.call("1").status == 200
            phone.rtp.wait_for_sound(ROOT_HZ, 5)
            phone.rtp.wait_for_quiet(0.2)
            phone.rtp.say(said)
            phone.serve(len(said) / sound.RATE)
            if not phone.ended_by_far_end:
                phone.hangup()
        row = daemon.closing(phone.call_id)
        return f"{row['path']} after {row['duration']} s" if row["path"] else ""

    with ThreadPoolExecutor(len(runs)) as pool:
        branches = {run: path for run, path in zip(runs, pool.map(taken, runs), strict=True) if path}
    assert len(branches) <= 1, branches


@pytest.mark.peer("pyttsx3", "espeakng_loader")
def test_the_prompts_own_echo_takes_no_branch(daemon_for: Callable[..., Daemon]) -> None:
    """The prompt names its words; it comes back 60 ms later and 15 dB lower."""
    tree = {
        "_": "Please say yes or no. Say yes if you agree. Say no if you do not. Yes or no?",
        "yes": "Yes.",
        "no": "No.",
    }
    daemon = daemon_for({"1": tree}, settings={"calls": {"listen": 2.0, "repeats": 1}})

    def echoed(_: int) -> str:
        phone = Phone(daemon.address)
        phone.rtp.echo_delay, phone.rtp.echo_db = 0.060, -15.0
        with phone:
            assert phone.call("1").status == 200
            phone.wait_for_end(40)
        return str(daemon.closing(phone.call_id)["path"])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(echoed, range(4))) == [""] * 4


def test_a_branch_is_taken_soon_after_the_word(listening: Daemon) -> None:
    """From the last of the word to the first of the branch's prompt, with the 300 ms that end an utterance."""

    def waited(digit: int) -> float:
        word = speech(SPEECH / "digits" / f"{digit}_lucas_4.wav")
        loud = np.flatnonzero(np.abs(word) > 0.1 * np.abs(word).max())
        with Phone(listening.address) as phone:
            assert phone.call("10").status == 200
            phone.rtp.wait_for_sound(ROOT_HZ, 5)
            phone.rtp.wait_for_quiet(0.2)
            phone.rtp.say(np.concatenate([sound.noise(0.3, -65), word, sound.noise(1.5, -65, 2)]), "word")
            heard = phone.rtp.wait_for_sound(TWO_HZ, 5)
            return heard - phone.rtp.sent_at["word"] - 0.3 - float(loud[-1]) / sound.RATE

    times = sorted(waited(digit) for digit in (1, 3, 4, 5, 8, 9, 0))
    assert times[len(times) // 2] <= 0.5, times


def test_hangup_in_the_middle_of_a_word(listening: Daemon) -> None:
    with Phone(listening.address) as phone:
        assert phone.call("11").status == 200
        phone.rtp.wait_for_sound(ROOT_HZ, 5)
        phone.rtp.say(speech(SPEECH / "read" / "austen_0870.wav"))
        phone.serve(1.0)
        assert phone.hangup().status == 200
    row = listening.closing(phone.call_id)
    assert row["by"] == "caller"
    assert row["path"] == ""
    assert not re.search(r'"level": "error"', listening.log())
