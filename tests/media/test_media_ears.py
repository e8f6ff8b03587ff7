"""Speech found, told of, and led to the recogniser."""

import socket
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_studio import Phone, Studio, rms, samples_of, voice, write_wav

from benchmarks import voice_sweep
from benchmarks.speech_bank import speakers
from media import ipc
from media.commands import Activity, Hear, Play, UseRecogniser
from media.frames import level, powers
from media.rates import FRAME, RATE
from media.reports import PlayEnded, SpeechStarted, UtteranceStarted
from media.speech.messages import Audio, Begin, Cancel, End, HeardWord, ToRecogniser, UtteranceEnded, WordSpotted
from media.utterances import ANSWER_WITHIN, LONGEST, Utterances
from media.vad import SpeechDetector


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(RATE * seconds))


def noise(seconds: float, dbfs: float, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 32768 / np.sqrt(2) * 10 ** (dbfs / 20), round(RATE * seconds))


# --- levels and speech ------------------------------------------------------------------


def test_levels() -> None:
    sine = 32767 * np.sin(2 * np.pi * 0.05 * np.arange(FRAME))
    frames = np.stack([sine, sine / 10, np.zeros(FRAME)]).astype(np.int16)
    assert [level(p) for p in powers(frames)] == pytest.approx([0, -20, -100], abs=0.05)


def speech(sound: np.ndarray) -> list[tuple[float, float, float]]:
    """(since, until, dbfs) of what one detector, next to one in silence, finds."""
    detector = SpeechDetector(2)
    for slot in (0, 1):
        detector.open(slot)
    slots, found = np.array([0, 1]), []
    for index in range(len(sound) // FRAME):
        frame = sound[index * FRAME : (index + 1) * FRAME]
        levels = powers(np.stack([frame, np.zeros(FRAME)]).astype(np.int16))
        now = (index + 1) * 0.02
        begun, ended = detector.feed(slots, detector.voiced(slots, levels), levels, now)
        assert begun in ([], [0])
        found += [(s.since, s.until, s.dbfs) for s in ended]
    return found


@pytest.mark.parametrize("background", [None, -60, -45])
@pytest.mark.parametrize("dbfs", [-12, -20, -30])
def test_finds_a_word(background: float | None, dbfs: float) -> None:
    word = voice(0.4, dbfs=dbfs, syllables=False)
    sound = np.concatenate([silence(2), word, silence(1)])
    if background is not None:
        sound += noise(3.4, background)
    (found,) = speech(sound)
    assert found[0] == pytest.approx(2.0, abs=0.1)
    assert found[1] == pytest.approx(2.4, abs=0.1)
    assert found[2] == pytest.approx(dbfs, abs=3)


def test_a_word_as_the_first_sound_after_digital_silence() -> None:
    assert len(speech(np.concatenate([silence(0.3), voice(0.4), silence(1)]))) == 1


@pytest.mark.parametrize("dbfs", [-60, -45, -36])
def test_steady_noise_is_not_speech(dbfs: float) -> None:
    assert speech(np.concatenate([silence(0.04), noise(10, dbfs), silence(1)])) == []


def test_noise_that_begins_later_is_taken_for_speech_only_until_the_floor_has_risen() -> None:
    found = speech(np.concatenate([silence(3), noise(20, -40)]))
    assert len(found) == 1
    assert found[0][1] - found[0][0] < 2.0


def test_words_three_tenths_apart_are_two() -> None:
    gap = silence(0.4)
    assert len(speech(np.concatenate([silence(1), voice(0.3), gap, voice(0.3, seed=2), silence(1)]))) == 2


# No limit was set on these speakers.
UNSEEN = speakers("lucas", "yweweler", "austen", "go")


@pytest.mark.parametrize(("kind", "most"), [("white", 0.0), ("pink", 0.0), ("hum", 0.0), ("babble", 1.0)])
def test_noise_ten_decibels_below_a_caller_begins_no_utterances(kind: str, most: float) -> None:
    assert voice_sweep.starts_per_minute(UNSEEN, kind, -30.0, streams=6, seconds=90) <= most


@pytest.mark.parametrize(("kind", "snr"), [("none", None), ("white", 20), ("pink", 10), ("hum", 10), ("babble", 10)])
def test_utterances_in_noise_are_found_and_end(kind: str, snr: float | None) -> None:
    row = voice_sweep.measure(UNSEEN, kind, snr, streams=4, seconds=40)
    assert row.begun >= 95
    assert row.reached >= (80 if kind == "babble" else 90)
    assert row.whole >= 95
    assert row.begin_error == pytest.approx((0, 40), abs=60)
    assert 200 <= row.over[0] <= 340  # 300 ms of silence, or less where noise covers the end
    assert row.false <= (15 if kind == "babble" else 6)


# --- utterances -------------------------------------------------------------------------


def begun(ready: bool = True) -> Utterances:
    utterances = Utterances([])
    utterances.ready = ready
    utterances.listen(1, 7, ["yes"], "en")
    utterances.begin(1, 9.9, bytes(3200), 10.0)
    return utterances


def kinds(messages: list) -> list[type]:
    return [type(message) for message in messages]


def test_an_utterance_goes_out_and_its_answer_comes_back() -> None:
    utterances = begun()
    for n in range(4):
        utterances.sound(1, bytes([n]) * 320, 10.0 + n * 0.02)
    utterances.end(1, 10.5)
    assert kinds(utterances.outgoing) == [Begin, Audio, Audio, Audio, End]
    begin = utterances.outgoing[0]
    assert (begin.words, begin.at) == (["yes"], pytest.approx(9.8))
    audio = b"".join(m.pcm for m in utterances.outgoing if isinstance(m, Audio))
    assert audio == bytes(3200) + b"".join(bytes([n]) * 320 for n in range(4))
    spotted = WordSpotted(1, 7, "yes", 1.0, 10.2)
    answer = UtteranceEnded(1, 7, [HeardWord("yes", 1.0, 0, 1)], 10.5)
    utterances.answer(spotted, 10.6)
    utterances.answer(answer, 10.6)
    utterances.answer(answer, 10.7)
    assert utterances.reports == [UtteranceStarted(1, 7, 9.9), spotted, answer]


def test_without_a_recogniser_an_utterance_is_empty_and_counted() -> None:
    utterances = begun(ready=False)
    utterances.sound(1, bytes(320), 10.1)
    utterances.end(1, 10.5)
    assert utterances.outgoing == []
    assert utterances.reports == [UtteranceStarted(1, 7, 9.9), UtteranceEnded(1, 7, [], 10.5)]
    assert utterances.unheard == 1


def test_the_next_utterance_waits_for_the_answer() -> None:
    utterances = begun()
    utterances.end(1, 10.5)
    utterances.begin(1, 10.6, bytes(320), 10.6)
    utterances.end(1, 10.9)
    utterances.begin(1, 11.0, bytes(320), 11.0)
    assert kinds(utterances.outgoing) == [Begin, Audio, End]
    utterances.answer(UtteranceEnded(1, 7, [], 10.5), 11.1)
    assert kinds(utterances.outgoing[3:]) == [Begin, Audio, End]
    utterances.answer(UtteranceEnded(1, 7, [], 10.9), 11.2)
    assert kinds(utterances.outgoing[6:]) == [Begin, Audio]


def test_an_answer_that_does_not_come_is_given_up() -> None:
    utterances = begun()
    utterances.end(1, 10.5)
    utterances.check(10.5 + ANSWER_WITHIN - 0.1)
    assert kinds(utterances.reports) == [UtteranceStarted]
    utterances.check(10.5 + ANSWER_WITHIN)
    assert kinds(utterances.reports) == [UtteranceStarted, UtteranceEnded]
    assert kinds(utterances.outgoing) == [Begin, Audio, End, Cancel]
    utterances.answer(UtteranceEnded(1, 7, [HeardWord("yes", 1, 0, 1)], 14), 14)
    assert kinds(utterances.reports) == [UtteranceStarted, UtteranceEnded]


def test_a_late_answer_is_not_taken_for_that_of_the_next_utterance() -> None:
    utterances = begun()
    utterances.end(1, 10.5)
    utterances.check(10.5 + ANSWER_WITHIN)
    utterances.begin(1, 14.0, bytes(320), 14.0)
    utterances.end(1, 14.5)
    utterances.answer(UtteranceEnded(1, 7, [HeardWord("yes", 1, 0, 1)], 10.5), 14.6)
    ended = UtteranceEnded(1, 7, [HeardWord("no", 1, 0, 1)], 14.5)
    utterances.answer(ended, 14.7)
    assert [r for r in utterances.reports if isinstance(r, UtteranceEnded)][1:] == [ended]


def test_nobody_listens_any_more() -> None:
    utterances = begun()
    utterances.listen(1, 8, ["no"], "en")
    assert kinds(utterances.outgoing) == [Begin, Audio, Cancel]
    utterances.answer(UtteranceEnded(1, 7, [], 11), 11)
    utterances.begin(1, 12.0, bytes(320), 12.0)
    assert utterances.outgoing[3].ticket == 8
    assert [r.ticket for r in utterances.reports] == [7, 8]


def test_the_recogniser_is_gone_in_the_middle() -> None:
    utterances = begun()
    utterances.end(1, 10.5)
    utterances.begin(1, 10.6, bytes(320), 10.6)
    utterances.lose(10.7)
    utterances.sound(1, bytes(320), 10.8)
    utterances.end(1, 10.9)
    assert kinds(utterances.reports) == [UtteranceStarted, UtteranceStarted, UtteranceEnded, UtteranceEnded]
    assert utterances.unheard == 2


class Course:
    """Steps of a stream's life, and what its recogniser and the control process saw of it."""

    def __init__(self) -> None:
        self.utterances = Utterances([])
        self.now, self.ticket = 0.0, 0
        self.sent: list = []

    def listen(self) -> None:
        self.ticket += 1
        self.utterances.listen(1, self.ticket, ["w"], "en")

    def stop(self) -> None:
        self.utterances.stop(1)

    def begin(self) -> None:
        self.utterances.begin(1, self.now, b"\0\0", self.now)

    def sound(self) -> None:
        self.utterances.sound(1, b"\0\0", self.now)

    def end(self) -> None:
        self.utterances.end(1, self.now)

    def answer(self) -> None:
        ends = [message.at for message in self.sent if isinstance(message, End)]
        if ends:
            self.utterances.answer(UtteranceEnded(1, self.ticket, [], ends[-1]), self.now)

    def check(self) -> None:
        self.utterances.check(self.now)

    def lose(self) -> None:
        self.utterances.lose(self.now)
        self.sent.append(None)

    def ready(self) -> None:
        self.utterances.ready = True

    def step(self, name: str) -> None:
        self.now += 1.0
        getattr(self, name)()
        self.sent += self.utterances.outgoing
        self.utterances.outgoing.clear()


STEPS = ["listen", "stop", "begin", "sound", "end", "answer", "check", "lose", "ready"]


@settings(max_examples=200)
@given(st.lists(st.sampled_from(STEPS), max_size=60))
def test_any_course_keeps_the_promises(steps: list[str]) -> None:
    course = Course()
    for name in [*steps, "end", "stop"]:
        course.step(name)
    inside = False
    for message in course.sent:
        if isinstance(message, Begin):
            assert not inside
        elif isinstance(message, Audio | End):
            assert inside
        inside = isinstance(message, Begin | Audio)
    assert not inside
    for ticket in range(1, course.ticket + 1):
        reports = kinds([r for r in course.utterances.reports if r.ticket == ticket])
        assert reports[:1] in ([], [UtteranceStarted])
        assert reports.count(UtteranceEnded) <= reports.count(UtteranceStarted) <= reports.count(UtteranceEnded) + 64


# --- the whole way ----------------------------------------------------------------------


class Ear:
    """A recogniser's socket: takes down what it is told."""

    def __init__(self, path: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen()
        self.link: ipc.Link | None = None
        self.messages: list = []

    def accept(self) -> None:
        self.link = ipc.Link(self.listener.accept()[0], ToRecogniser)

    def take(self) -> list:
        assert self.link is not None
        self.messages += self.link.receive()
        return self.messages

    def sound(self) -> np.ndarray:
        pcm = b"".join(m.pcm for m in self.messages if isinstance(m, Audio))
        return np.frombuffer(pcm, "<i2").astype(float)


@pytest.fixture
def ear(tmp_path: Path, studio: Studio):
    made = Ear(tmp_path / "ear")
    studio.do(UseRecogniser(str(tmp_path / "ear")))
    made.accept()
    yield made
    made.link.close()
    made.listener.close()


def test_an_utterance_reaches_the_recogniser_whole(studio: Studio, phone: Phone, ear: Ear) -> None:
    studio.connect(phone)
    studio.do(Hear(1, 5, ["yes", "no"], "en"))
    word = voice(0.5)
    studio.talk(phone, np.concatenate([silence(1), word, silence(0.6)]))
    assert kinds(ear.take())[0] is Begin
    assert kinds(ear.messages)[-1] is End
    assert ear.messages[0].words == ["yes", "no"]
    sound = ear.sound()
    loud = np.flatnonzero(np.abs(sound) > 300)
    assert loud[0] / RATE == pytest.approx(0.3, abs=0.08)  # the pre-roll
    assert (loud[-1] - loud[0]) / RATE == pytest.approx(0.5, abs=0.06)
    heard = sound[loud[0] - 20 : loud[0] + 4000]
    shifts = np.correlate(heard, word[200:3000], "valid")
    assert shifts.max() / (rms(word[200:3000]) ** 2 * 2800) == pytest.approx(1.0, abs=0.05)
    started = studio.last(UtteranceStarted)
    assert ear.messages[0].at == pytest.approx(started.at - 0.3, abs=0.07)
    ear.link.send(WordSpotted(1, 5, "yes", 3.0, 0.0))
    ear.link.send(UtteranceEnded(1, 5, [HeardWord("yes", 3.0, 0.0, 0.4)], ear.messages[-1].at))
    ear.link.flush()
    studio.run(0.02)
    assert studio.last(UtteranceEnded).words[0].word == "yes"
    assert studio.last(WordSpotted).word == "yes"


def test_a_long_utterance_is_cut_and_goes_on_as_another(studio: Studio, phone: Phone, ear: Ear) -> None:
    studio.connect(phone)
    studio.do(Hear(1, 5, ["yes"]), Activity(1, True))
    talk = np.concatenate([voice(0.45, seed=n) for n in range(26)])  # gaps of less than 0.2 s
    studio.each_tick = ear.take
    studio.talk(phone, np.concatenate([silence(0.5), talk, silence(0.5)]))
    assert studio.reports(SpeechStarted)
    course = [m for m in ear.take() if isinstance(m, Begin | End | Cancel)]
    # Nobody answers: the second one, which has waited for that, is told when the first is given up.
    assert kinds(course) == [Begin, End, Cancel, Begin, End]
    assert course[1].at - course[0].at == pytest.approx(LONGEST + 0.36, abs=0.1)
    assert course[3].at == pytest.approx(course[1].at, abs=0.03)


def test_listening_stops_in_the_middle(studio: Studio, phone: Phone, ear: Ear) -> None:
    studio.connect(phone)
    studio.do(Hear(1, 5, ["yes"]))
    studio.talk(phone, np.concatenate([silence(0.5), voice(0.3)]))
    studio.do(Hear(1, 6, []))
    studio.talk(phone, silence(0.5))
    assert kinds(ear.take())[-1] is Cancel
    assert studio.reports(UtteranceEnded) == []
    studio.do(Hear(1, 7, ["no"]))
    studio.talk(phone, np.concatenate([silence(0.2), voice(0.3), silence(0.1)]))
    studio.drop()
    studio.run(0.02)
    assert kinds(ear.take())[-1] is Cancel


def test_a_recogniser_that_leaves_and_one_that_follows(studio: Studio, phone: Phone, ear: Ear, tmp_path: Path) -> None:
    studio.connect(phone)
    studio.do(Hear(1, 5, ["yes"]))
    studio.talk(phone, np.concatenate([silence(0.5), voice(0.3)]))
    ear.link.close()
    studio.talk(phone, silence(0.5))
    assert studio.last(UtteranceEnded).words == []
    assert studio.plane.load(np.zeros(1), 0.0).not_listening == 1
    studio.do(UseRecogniser(str(tmp_path / "other")))
    studio.talk(phone, np.concatenate([voice(0.3), silence(0.5)]))
    assert len(studio.reports(UtteranceEnded)) == 2
    other = Ear(tmp_path / "other")
    studio.talk(phone, silence(1.1))
    other.accept()
    studio.talk(phone, np.concatenate([voice(0.3), silence(0.5)]))
    assert kinds(other.take())[0] is Begin
    other.link.close()
    other.listener.close()


# --- echo -------------------------------------------------------------------------------


def with_echo(studio: Studio, phone: Phone, sound: np.ndarray, decibels: float, delay: float) -> None:
    """Talk to the plane while what it sends comes back weaker and later."""
    sent = np.zeros(len(sound) + RATE)
    shift, gain = round(delay * RATE), 10 ** (decibels / 20)
    place = 0
    for start in range(0, len(sound) // FRAME * FRAME, FRAME):
        back = sent[max(0, start - shift) : start - shift + FRAME] if start >= shift else np.zeros(FRAME)
        phone.raw(phone.sound(sound[start : start + FRAME] + gain * back))
        studio.run(0.02)
        for packet in phone.take():
            sent[place : place + FRAME] = samples_of(packet)
            place += FRAME


@pytest.mark.parametrize(("decibels", "delay"), [(-15, 0.06), (-10, 0.06), (-20, 0.02), (-15, 0.25)])
def test_our_own_prompt_coming_back_is_not_speech(
    studio: Studio, phone: Phone, tmp_path: Path, decibels: float, delay: float
) -> None:
    prompt = write_wav(tmp_path / "prompt.wav", voice(6, 140, -20, 11))
    studio.connect(phone)
    studio.do(Hear(1, 5, ["yes"]), Play(1, 1, [prompt]))
    with_echo(studio, phone, noise(7, -62), decibels, delay)
    assert studio.reports(UtteranceStarted) == []
    assert studio.last(PlayEnded).complete


def test_a_caller_talks_over_the_echo_and_the_echo_is_left_out(
    studio: Studio, phone: Phone, ear: Ear, tmp_path: Path
) -> None:
    prompt = write_wav(tmp_path / "prompt.wav", voice(6, 140, -20, 11))
    studio.connect(phone)
    studio.do(Hear(1, 5, ["yes"]), Play(1, 1, [prompt]))
    caller = np.concatenate([silence(2.5), voice(0.5, 210, -20, 5), silence(3)]) + noise(6, -62)
    spoke_at = studio.now + 2.5
    with_echo(studio, phone, caller, -15, 0.06)
    starts = studio.reports(UtteranceStarted)
    assert len(starts) == 1
    assert starts[0].at == pytest.approx(spoke_at, abs=0.2)
    assert kinds(ear.take())[-1] is End
    sound = ear.sound()
    assert rms(sound[: round(0.15 * RATE)]) < 150  # the echo before the word
