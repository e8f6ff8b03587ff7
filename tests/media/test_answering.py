"""People and answering machines told apart; beeps, ringback and other tones. All greetings are synthetic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from media_studio import Phone, Studio, voice

from benchmarks import greeting_sweep, voice_sweep
from benchmarks.greeting_sweep import listen, other_tones, sine
from benchmarks.key_sweep import coded
from benchmarks.speech_bank import rms_of, speakers
from media.answering import kind_of
from media.commands import Activity, DetectMachine, Drop, MachineLimits
from media.g711 import Law
from media.rates import FRAME, RATE
from media.reports import MachineListens, MachineVerdict, Report, SpeechEnded, ToneHeard
from media.steady import Tone, single_tone
from media.tts.synth import missing_extra


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(RATE * seconds))


def said(seconds: float, dbfs: float = -20.0, seed: int = 1) -> np.ndarray:
    return voice(seconds, dbfs=dbfs, seed=seed, syllables=False)


def talking(seconds: float, seed: int = 1) -> np.ndarray:
    """Syllables with gaps of less than 0.2 s: talk that goes on is taken for noise if it has none."""
    return voice(seconds, dbfs=-20.0, seed=seed)


def heard(*parts: np.ndarray, law: Law = Law.PCMU, **how: object) -> list[Report]:
    """What is said of a call with this sound, in faint noise."""
    sound = np.concatenate(parts)
    sound = sound + np.random.default_rng(7).normal(0, rms_of(-60.0), len(sound))
    return listen([coded(sound, law)], **how)[0]


def verdict(reports: list[Report]) -> MachineVerdict:
    (found,) = (report for report in reports if isinstance(report, MachineVerdict))
    return found


def of(reports: list[Report], kind: type) -> list:
    return [report for report in reports if isinstance(report, kind)]


# --- verdicts ---------------------------------------------------------------------------


def test_a_word_and_silence_is_a_person() -> None:
    found = verdict(heard(silence(0.7), said(0.5), silence(3)))
    assert (found.result, found.reason, found.words) == ("human", "greeting", 1)
    assert found.greeting == pytest.approx(0.5, abs=0.1)
    assert found.at == pytest.approx(0.7 + 0.5 + 0.8, abs=0.15)


def test_the_longer_the_greeting_of_a_person_the_less_sure() -> None:
    sure = [verdict(heard(silence(0.7), said(length), silence(3))).confidence for length in (0.4, 0.8, 1.2)]
    assert sure == sorted(sure, reverse=True)
    assert 0.5 <= sure[2] < sure[0] <= 1


def test_a_long_greeting_is_a_machine_before_it_is_over() -> None:
    found = verdict(heard(silence(0.7), talking(4), silence(3)))
    assert (found.result, found.reason) == ("machine", "greeting")
    assert found.at == pytest.approx(0.7 + 2.0, abs=0.2)


def test_many_words_are_a_machine() -> None:
    words = [part for n in range(6) for part in (said(0.2, seed=n), silence(0.16))]
    found = verdict(heard(silence(0.5), *words, silence(3), limits=MachineLimits(greeting=9, words=4)))
    assert (found.result, found.reason, found.words) == ("machine", "words", 5)


def test_nothing_said_is_unsure() -> None:
    found = verdict(heard(silence(6)))
    assert (found.result, found.reason, found.confidence, found.words) == ("unsure", "silence", 0.5, 0)
    assert found.at == pytest.approx(3.0, abs=0.2)


def test_time_is_up_before_anything_is_clear() -> None:
    reports = heard(silence(0.5), said(1.5), silence(3), limits=MachineLimits(total=1.8))
    assert (verdict(reports).result, verdict(reports).reason) == ("unsure", "time")


@pytest.mark.parametrize(
    ("limits", "result"),
    [
        (MachineLimits(greeting=0.8), "machine"),
        (MachineLimits(greeting=3.0), "human"),
        (MachineLimits(pause=9), "unsure"),
    ],
)
def test_limits_can_be_set(limits: MachineLimits, result: str) -> None:
    assert verdict(heard(silence(0.5), said(1.2), silence(7), limits=limits)).result == result


def test_a_click_is_no_word() -> None:
    assert verdict(heard(silence(0.5), said(0.05), silence(4))).reason == "silence"


def test_people_in_the_background_are_not_the_greeting() -> None:
    behind = np.concatenate([said(0.4, -38, n) for n in range(10)])
    sound = np.concatenate([silence(1.5), said(0.6), silence(len(behind) / RATE - 2.1)]) + behind
    found = verdict(heard(sound, silence(3)))
    assert found.result == "human"
    assert found.greeting == pytest.approx(0.6, abs=0.15)


# --- beeps ------------------------------------------------------------------------------


@pytest.mark.parametrize("law", list(Law))
@pytest.mark.parametrize("hertz", [425, 850, 1000, 1400, 2000])
@pytest.mark.parametrize("seconds", [0.16, 0.5])
def test_a_beep_after_the_greeting(hertz: float, seconds: float, law: Law) -> None:
    beep = 0.5 + 3.0 + 0.6
    reports = heard(silence(0.5), talking(3), silence(0.6), sine(hertz, seconds, -16), silence(4), law=law)
    assert verdict(reports).result == "machine"
    (tone,) = of(reports, ToneHeard)
    assert tone.kind == "beep"
    assert tone.hertz == pytest.approx(hertz, abs=3)
    assert tone.since == pytest.approx(beep, abs=0.045)
    assert tone.until == pytest.approx(beep + seconds, abs=0.045)
    (listens,) = of(reports, MachineListens)
    assert (listens.why, listens.hertz) == ("beep", tone.hertz)
    assert listens.at == pytest.approx(beep + seconds + 0.12, abs=0.05)


@pytest.mark.parametrize("shift", range(0, FRAME, 16))
def test_a_beep_of_150_ms_wherever_frames_begin(shift: int) -> None:
    reports = heard(silence(0.5), talking(3), silence(0.6), np.zeros(shift), sine(1000, 0.15, -20), silence(1))
    assert [tone.kind for tone in of(reports, ToneHeard)] == ["beep"]


def test_a_beep_alone_is_a_machine_at_once() -> None:
    reports = heard(silence(0.4), said(0.5), silence(0.3), sine(1000, 0.3, -16), silence(2))
    assert (verdict(reports).result, verdict(reports).reason) == ("machine", "beep")
    assert of(reports, MachineListens)[0].why == "beep"


@pytest.mark.parametrize("pause", [0.6, 0.7, 0.78])
def test_silence_that_a_beep_ends_is_not_that_of_a_person(pause: float) -> None:
    """It was, when the time was up before the end of the beep."""
    reports = heard(silence(0.4), said(0.9), silence(pause), sine(1000, 0.5, -16), silence(2))
    assert (verdict(reports).result, verdict(reports).reason) == ("machine", "beep")


@pytest.mark.parametrize("patience", np.arange(1.8, 2.5, 0.06).round(2).tolist())
def test_time_is_up_about_a_beep(patience: float) -> None:
    sound = silence(0.5), talking(2.5), silence(0.5), sine(1000, 0.3, -16), silence(2)
    (listens,) = of(heard(*sound, limits=MachineLimits(greeting=1.0, patience=patience)), MachineListens)
    assert listens.why in ("time", "beep")


def test_a_beep_after_a_wrong_verdict_is_told_of() -> None:
    reports = heard(silence(0.4), said(0.9), silence(1.2), sine(1000, 0.3, -16), silence(2))
    assert verdict(reports).result == "human"
    assert of(reports, MachineListens)[0].why == "beep"


def test_a_machine_without_a_beep_listens_after_silence() -> None:
    reports = heard(silence(0.5), talking(3), silence(5))
    (listens,) = of(reports, MachineListens)
    assert (listens.why, listens.hertz) == ("silence", 0.0)
    assert listens.at == pytest.approx(3.5 + 2.0, abs=0.2)


def test_the_silence_before_it_listens_is_not_counted_through_a_long_beep() -> None:
    """It was: a beep of 0.9 s that began a second after the greeting came too late to be told of."""
    reports = heard(silence(0.5), talking(3), silence(1.4), sine(1000, 0.9, -16), silence(3))
    assert [listens.why for listens in of(reports, MachineListens)] == ["beep"]


def test_a_machine_that_never_ends_is_given_up() -> None:
    reports = heard(silence(0.5), *[talking(1, seed=n) for n in range(9)], limits=MachineLimits(patience=3.0))
    (listens,) = of(reports, MachineListens)
    assert listens.why == "time"
    assert listens.at == pytest.approx(verdict(reports).at + 3, abs=0.2)


def test_no_beep_in_ten_minutes_of_human_speech() -> None:
    """There were two a minute, of vowels with one strong harmonic, before the pitch had to be held."""
    assert greeting_sweep.false_beeps(voice_sweep.talk_coded(speakers("lucas", "yweweler", "austen"), 600)) == []


# --- other tones, early media -----------------------------------------------------------

TONES = {name: (kinds, sound) for name, kinds, sound in other_tones()}


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("name", TONES)
def test_tones_that_are_no_beep(name: str, answered: bool) -> None:
    kinds, sound = TONES[name]
    reports = heard(sound, answered=answered, limits=MachineLimits(initial_silence=60))
    assert {tone.kind for tone in of(reports, ToneHeard)} == kinds
    assert of(reports, MachineListens) == []
    wanted = kinds & {"fax", "sit"}
    assert {found.reason for found in of(reports, MachineVerdict)} <= wanted | (
        set() if kinds else {"greeting", "words"}
    )


def test_ringback_after_the_answer_is_neither_greeting_nor_silence() -> None:
    ring = sine(425, 1.0, -18)
    reports = heard(
        silence(1),
        ring,
        silence(2.5),
        ring,
        silence(0.3),
        said(0.5),
        silence(3),
        limits=MachineLimits(initial_silence=4),
    )
    found = verdict(reports)
    assert (found.result, found.words) == ("human", 1)


def test_who_rings_for_ever_is_given_up() -> None:
    found = verdict(heard(silence(0.5), sine(425, 8, -18), limits=MachineLimits(patience=5)))
    assert (found.result, found.reason) == ("unsure", "time")
    assert found.at == pytest.approx(5, abs=0.2)


def test_an_announcement_before_the_answer() -> None:
    reports = heard(silence(0.5), talking(4), silence(4), talking(4), answered=False)
    assert (verdict(reports).result, verdict(reports).reason) == ("machine", "announcement")
    assert of(reports, MachineListens) == []


def test_a_word_before_the_answer_decides_nothing() -> None:
    assert heard(silence(0.5), said(0.6), silence(9), answered=False) == []


def test_what_tones_are() -> None:
    assert kind_of([Tone(0, 1000.0, 10, True)], spoken=False) == "beep"
    assert kind_of([Tone(0, 1000.0, 200, True)], spoken=True) is None
    assert kind_of([Tone(0, 440.0, 20, True)], spoken=False) == "progress"
    assert kind_of([Tone(0, 440.0, 20, True)], spoken=True) == "beep"
    assert kind_of([Tone(0, 1050.0, 20, False)], spoken=True) is None
    assert kind_of([Tone(0, 914.0, 14, True), Tone(0, 1371.0, 14, True)], spoken=True) is None


def test_one_sine_and_two() -> None:
    length = 5 * FRAME / RATE
    one, harmonic, near = sine(1000, length, -16), sine(2000, length, -30), sine(1040, length, -22)
    assert single_tone(coded(one, Law.PCMU)) == (True, pytest.approx(1000, abs=1))
    assert single_tone(coded(one + harmonic, Law.PCMU))[0]
    assert not single_tone(coded(one + near, Law.PCMU))[0]
    assert not single_tone(coded(sine(770, length, -14) + sine(1336, length, -22), Law.PCMU))[0]


# --- spoken greetings -------------------------------------------------------------------


def test_greetings_by_espeak(tmp_path: Path) -> None:
    """A few of the texts and voices that no limit was set on; all of them are in the benchmarks."""
    if reason := missing_extra():
        pytest.skip(reason)
    rows, beeps = greeting_sweep.measure(greeting_sweep.spoken(tmp_path, "test", 7))
    for row in rows:
        assert (row.human if row.who == "people" else row.machine) >= 80, row
    for row in beeps:
        assert row.found >= 70, row
        assert row.false == row.early == 0, row


# --- the whole way ----------------------------------------------------------------------


@pytest.fixture
def called(studio: Studio, phone: Phone) -> Iterator[Studio]:
    studio.connect(phone)
    studio.do(DetectMachine(1))
    return studio


def test_through_the_plane(called: Studio, phone: Phone) -> None:
    called.talk(phone, np.concatenate([silence(0.5), talking(2.5), silence(0.5), sine(1000, 0.4, -16), silence(0.4)]))
    assert called.last(MachineVerdict).result == "machine"
    assert called.last(MachineListens).why == "beep"
    assert called.last(ToneHeard).hertz == pytest.approx(1000, abs=3)
    called.talk(phone, np.concatenate([talking(3), silence(1)]))
    assert len(called.reports(MachineVerdict)) == 1


def test_words_are_heard_as_well(called: Studio, phone: Phone) -> None:
    called.do(Activity(1, True))
    called.talk(phone, np.concatenate([silence(0.5), said(0.5), silence(1.5)]))
    assert called.last(MachineVerdict).result == "human"
    assert len(called.reports(SpeechEnded)) == 1
    called.do(DetectMachine(1, on=False))
    called.talk(phone, np.concatenate([said(0.5), silence(0.5)]))
    assert len(called.reports(SpeechEnded)) == 2


def test_asked_no_longer_or_gone(called: Studio, phone: Phone) -> None:
    called.talk(phone, np.concatenate([silence(0.3), said(0.3)]))
    called.do(DetectMachine(1, on=False), DetectMachine(1, on=False))
    called.talk(phone, silence(2))
    called.do(DetectMachine(1))
    called.talk(phone, said(1))
    called.do(Drop(1), DetectMachine(1))
    called.open.clear()
    called.run(0.1)
    assert called.reports(MachineVerdict) == []


def test_from_early_media_to_the_answer(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    studio.do(DetectMachine(1, answered=False))
    studio.talk(phone, np.concatenate([silence(0.5), sine(425, 1, -18), silence(1)]))
    assert studio.last(ToneHeard).kind == "progress"
    studio.do(DetectMachine(1))
    answered = studio.now
    studio.talk(phone, np.concatenate([silence(0.5), said(0.5), silence(1.2)]))
    found = studio.last(MachineVerdict)
    assert found.result == "human"
    assert found.at - answered == pytest.approx(0.5 + 0.5 + 0.8, abs=0.3)
