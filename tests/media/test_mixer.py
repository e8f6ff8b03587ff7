"""Rooms: who hears what."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_studio import rms, sine, tone_power, voice

from media.frames import NO_SLOTS, powers
from media.mixer import FADE, HANGOVER, Mixer
from media.rates import FRAME, PHASES

CAPACITY = 12
PHASE = [slot % PHASES for slot in range(CAPACITY)]


class Hall:
    """A mixer and its ticks. ``sources`` make the next frame of a slot, ``ears`` collect what each member heard."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.mixer = Mixer(capacity)
        self.phase = [slot % PHASES for slot in range(capacity)]
        self.number = 0
        self.sources: dict[int, np.ndarray] = {}
        self.ears: dict[int, list[np.ndarray]] = {}
        self.events: list[tuple[int, int, bool]] = []

    def talk(self, slot: int, sound: np.ndarray) -> None:
        self.sources[slot] = np.asarray(sound)

    def _next(self, slot: int) -> np.ndarray:
        sound = self.sources.get(slot, np.zeros(0))
        self.sources[slot] = sound[FRAME:]
        return np.pad(sound[:FRAME], (0, FRAME - len(sound[:FRAME])))

    def tick(self) -> None:
        here = [slot for slot in np.flatnonzero(self.mixer.member) if self.phase[slot] == self.number % PHASES]
        slots = np.array(here, np.intp)
        if here:
            frames = np.stack([self._next(slot) for slot in here]).astype(np.int16)
            self.mixer.feed(slots, frames, powers(frames), self.number)
            for slot, heard in zip(here, self.mixer.output(slots), strict=True):
                self.ears.setdefault(slot, []).append(heard.astype(float))
        self.events += [(self.number, slot, on) for slot, on in self.mixer.talking]
        self.mixer.talking.clear()
        self.number += 1

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 50) * PHASES):
            self.tick()

    def heard(self, slot: int) -> np.ndarray:
        return np.concatenate(self.ears.get(slot, [np.zeros(0)]))

    def forget(self) -> None:
        self.ears.clear()


# --- against a model --------------------------------------------------------------------

RAMP = 2 * np.arange(FADE) + 1


@dataclass
class Person:
    room: int
    muted: bool
    deaf: bool
    own: np.ndarray = field(default_factory=lambda: np.zeros(FRAME, int))
    audible: bool = False
    hears: bool = False
    fed: int = 0


def begun(frame: np.ndarray) -> np.ndarray:
    frame = frame.copy()
    frame[:FADE] = frame[:FADE] * RAMP // (2 * FADE)
    return frame


def ended(frame: np.ndarray) -> np.ndarray:
    frame = frame.copy()
    frame[:FADE] = frame[:FADE] * RAMP[::-1] // (2 * FADE)
    frame[FADE:] = 0
    return frame


class Model:
    """The same, person by person."""

    def __init__(self) -> None:
        self.people: dict[int, Person] = {}
        self.ghosts: list[tuple[int, int, list[np.ndarray]]] = []  # room, tick of the first change, frames

    def join(self, slot: int, room: int, *, muted: bool, deaf: bool) -> None:
        person = self.people.get(slot)
        if person is not None and person.room == room:
            person.muted, person.deaf = muted, deaf
            return
        self.leave(slot)
        self.people[slot] = Person(room, muted, deaf)

    def leave(self, slot: int) -> None:
        person = self.people.pop(slot, None)
        if person is None:
            return
        if any(other.room == person.room for other in self.people.values()):
            mirrored = np.pad(person.own[::-1][:FADE], (0, FRAME - FADE))
            frames = [person.own, ended(mirrored), np.zeros(FRAME, int)]
            self.ghosts.append((person.room, person.fed + PHASES, frames))
        else:
            self.ghosts = [ghost for ghost in self.ghosts if ghost[0] != person.room]

    def feed(self, slots: list[int], frames: np.ndarray, tick: int) -> None:
        for slot, frame in zip(slots, frames.astype(int), strict=True):
            person = self.people[slot]
            audible = not person.muted
            if audible:
                person.own = frame if person.audible else begun(frame)
            else:
                person.own = ended(frame) if person.audible else np.zeros(FRAME, int)
            person.audible, person.fed = audible, tick

    def output(self, slot: int, tick: int) -> np.ndarray:
        listener = self.people[slot]
        total = np.zeros(FRAME, int)
        for other in self.people.values():
            if other is not listener and other.room == listener.room:
                total += other.own
        for room, due, frames in self.ghosts:
            if room == listener.room:
                total += frames[min(2, max(0, (tick - due) // PHASES + 1))]
        total = np.clip(total, -32768, 32767)
        hears, listener.hears, before = not listener.deaf, not listener.deaf, listener.hears
        if hears:
            return total if before else begun(total)
        return ended(total) if before else np.zeros(FRAME, int)


STEPS = st.one_of(
    st.tuples(
        st.just("join"), st.integers(0, CAPACITY - 1), st.integers(1, 3), st.booleans(), st.sampled_from([0, 0, 0, 1])
    ),
    st.tuples(st.just("leave"), st.integers(0, CAPACITY - 1)),
    st.tuples(st.just("run"), st.integers(1, 9)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=40), st.integers(0, 2**32 - 1), st.sampled_from([300, 9000, 32767]))
def test_any_course_sounds_as_person_by_person(steps: list, seed: int, loudest: int) -> None:
    mixer, model, rng, number = Mixer(CAPACITY), Model(), np.random.default_rng(seed), 0
    for step in [*steps, ("run", 12)]:
        if step[0] == "join":
            _, slot, room, muted, deaf = step
            for each in (partial(mixer.join, gated=False), model.join):
                each(slot, room, muted=muted, deaf=bool(deaf))
            continue
        if step[0] == "leave":
            mixer.leave(step[1])
            model.leave(step[1])
            continue
        for _ in range(step[1]):
            here = [slot for slot in sorted(model.people) if PHASE[slot] == number % PHASES]
            if here:
                slots = rng.permutation(here)
                frames = rng.integers(-loudest, loudest + 1, (len(here), FRAME)).astype(np.int16)
                mixer.feed(slots, frames, powers(frames), number)
                model.feed(slots.tolist(), frames, number)
                for slot, heard in zip(slots.tolist(), mixer.output(slots), strict=True):
                    assert heard.tolist() == model.output(slot, number).tolist()
            number += 1
        rooms = [person.room for person in model.people.values()]
        assert mixer.rooms == {room: rooms.count(room) for room in set(rooms)}
        assert np.flatnonzero(mixer.member).tolist() == sorted(model.people)


def test_an_empty_room_leaves_nothing_behind() -> None:
    hall = Hall()
    for slot in range(8):
        hall.mixer.join(slot, 7, gated=False)
        hall.talk(slot, voice(4, 100 + 10 * slot, -3, slot))
    hall.run(3)
    for slot in range(8):
        hall.mixer.leave(slot)
    assert hall.mixer.rooms == {}
    hall.forget()
    for slot in range(2):
        hall.mixer.join(slot, 8, gated=False)
        hall.talk(slot, [])
    hall.run(0.2)
    assert not hall.heard(0).any()
    assert not hall.heard(1).any()


def test_leaving_one_by_one_leaves_silence_to_the_last() -> None:
    hall = Hall()
    for slot in range(CAPACITY):
        hall.mixer.join(slot, 1, gated=False)
        hall.talk(slot, voice(3, 90 + 9 * slot, -1, slot))
    hall.run(2)
    for slot in range(1, CAPACITY):
        hall.mixer.leave(slot)
    hall.run(0.1)
    hall.forget()
    hall.run(0.1)
    assert not hall.heard(0).any()


# --- sound ------------------------------------------------------------------------------

TONES = [400.0, 550.0, 700.0, 850.0, 1100.0, 1300.0]


def party(members: int = 6, seconds: float = 2.0, *, gated: bool = False) -> Hall:
    hall = Hall()
    for slot in range(members):
        hall.mixer.join(slot, 1, gated=gated)
        hall.talk(slot, sine(TONES[slot], seconds, 3000))
    return hall


@pytest.mark.parametrize("gated", [False, True])
def test_each_hears_all_others_and_not_itself(gated: bool) -> None:
    hall = party(gated=gated)
    hall.run(1)
    for slot in range(6):
        heard = hall.heard(slot)[4000:]
        for other in range(6):
            expected = 0 if other == slot else 3000
            assert tone_power(heard, TONES[other]) == pytest.approx(expected, abs=30)


def test_each_frame_comes_once_and_in_order() -> None:
    hall = Hall()
    sound = voice(2, 130, -12)
    for slot in (1, 2, 3, 4):
        hall.mixer.join(slot, 1, gated=False)
    hall.talk(1, sound)
    hall.run(1.5)
    whole = np.trunc(sound)
    for slot, late in ((2, 0), (3, 0), (4, 1)):  # phase 0 ticks before phase 1: it hears a frame at its next tick
        heard = hall.heard(slot)[late * FRAME :]
        assert (heard[FADE:] == whole[FADE : heard.size]).all()


def test_full_scale_voices_saturate() -> None:
    hall = Hall()
    for slot in range(4):
        hall.mixer.join(slot, 1, gated=False)
        hall.talk(slot, np.full(8000, 30000 if slot else -30000))
    hall.run(0.5)
    assert (hall.heard(0)[2 * FRAME :] == 32767).all()
    assert (hall.heard(1)[2 * FRAME :] == 30000).all()


def test_muted_and_deaf() -> None:
    hall = party(3)
    hall.run(0.2)
    hall.mixer.join(0, 1, muted=True, gated=False)
    hall.mixer.join(1, 1, deaf=True, gated=False)
    hall.run(0.06)
    hall.forget()
    hall.run(0.5)
    assert tone_power(hall.heard(2), TONES[0]) == pytest.approx(0, abs=30)
    assert tone_power(hall.heard(2), TONES[1]) == pytest.approx(3000, abs=30)
    assert tone_power(hall.heard(0), TONES[2]) == pytest.approx(3000, abs=30)
    assert not hall.heard(1).any()
    hall.mixer.join(0, 1, gated=False)
    hall.mixer.join(1, 1, gated=False)
    hall.run(0.06)
    hall.forget()
    hall.run(0.5)
    assert tone_power(hall.heard(2), TONES[0]) == pytest.approx(3000, abs=30)
    assert tone_power(hall.heard(1), TONES[0]) == pytest.approx(3000, abs=30)


def test_rooms_do_not_mix() -> None:
    hall = party(4)
    hall.mixer.join(2, 5, gated=False)
    hall.mixer.join(3, 5, gated=False)
    hall.run(0.6)
    for slot, other in ((0, 1), (1, 0), (2, 3), (3, 2)):
        heard = hall.heard(slot)[800:]
        assert rms(heard) == pytest.approx(3000 / np.sqrt(2), rel=0.01)
        assert tone_power(heard, TONES[other]) == pytest.approx(3000, abs=30)


@pytest.mark.parametrize("ticks", range(PHASES))
def test_a_leaver_is_silent_at_once(ticks: int) -> None:
    """Whoever hears it: what is left of the frame under way, and a fade of 5 ms."""
    hall = Hall()
    for slot in range(5):
        hall.mixer.join(slot, 1, gated=False)
    hall.talk(1, sine(440, 2, 8000))
    hall.run(0.2)
    for _ in range(ticks):
        hall.tick()
    hall.forget()
    hall.mixer.leave(1)
    hall.run(0.1)
    for slot in (0, 2, 3, 4):
        heard = hall.heard(slot)
        last = np.flatnonzero(np.abs(heard) > 8)[-1]
        assert last <= FRAME + FADE
        assert np.abs(np.diff(heard)).max() <= 8000 * 2 * np.pi * 440 / 8000 * 1.05


# --- no clicks --------------------------------------------------------------------------


def steepest(sound: np.ndarray) -> float:
    return float(np.abs(np.diff(sound)).max())


@pytest.mark.parametrize("change", ["join", "mute", "deaf", "move", "leave", "hearer"])
def test_nothing_clicks(change: str) -> None:
    """A low tone has small steps; a click would be a large one."""
    hall = Hall()
    hertz, amplitude = 100, 12000
    steps = amplitude * (2 * np.pi * hertz / 8000 + 1 / FADE)
    for slot in range(3):
        hall.mixer.join(slot, 1, gated=False)
    if change == "join":
        hall.mixer.leave(2)
    hall.talk(2, amplitude * np.cos(2 * np.pi * hertz * np.arange(16000) / 8000))
    hall.run(0.11)
    match change:
        case "join":
            hall.mixer.join(2, 1, gated=False)
        case "mute":
            hall.mixer.join(2, 1, gated=False, muted=True)
        case "deaf":
            hall.mixer.join(0, 1, gated=False, deaf=True)
        case "move":
            hall.mixer.join(2, 9, gated=False)
        case "leave":
            hall.mixer.leave(2)
        case "hearer":
            hall.mixer.join(3, 1, gated=False)
    hall.run(0.1)
    sound = {slot: hall.heard(slot) for slot in (0, 1, 3) if hall.heard(slot).size}
    for each in sound.values():
        assert steepest(np.concatenate([[0], each])) <= steps
    assert max(rms(each) for each in sound.values()) > 4000


# --- talkers ----------------------------------------------------------------------------


def test_only_talkers_are_in_a_gated_room() -> None:
    rng = np.random.default_rng(3)
    hall = Hall()
    for slot in range(6):
        hall.mixer.join(slot, 1)
        hall.talk(slot, rng.normal(0, 60, 80000))  # lines with noise at -52 dBFS
    hall.run(1)
    assert not any(hall.heard(slot).any() for slot in range(6))
    speech = voice(2, 120, -20, 1)
    hall.talk(3, speech + rng.normal(0, 60, speech.size))
    hall.forget()
    hall.run(2)
    assert not hall.heard(3).any()
    assert rms(hall.heard(4)) == pytest.approx(rms(speech), rel=0.1)
    talking = [(slot, on) for _, slot, on in hall.events]
    assert set(talking) == {(3, True)} | ({(3, False)} & set(talking))


def test_noise_that_grows_closes_its_gate_again() -> None:
    rng = np.random.default_rng(4)
    hall = Hall()
    hall.mixer.join(0, 1)
    hall.mixer.join(1, 1)
    hall.talk(1, rng.normal(0, 230, 12 * 8000))  # a fan at -40 dBFS
    hall.run(10)
    hall.forget()
    hall.run(1)
    assert not hall.heard(0).any()
    assert hall.events[-1][1:] == (1, False)


def test_loud_sound_stays_in_however_steady() -> None:
    hall = Hall()
    hall.mixer.join(0, 1)
    hall.mixer.join(1, 1)
    hall.talk(1, sine(500, 60, 2000))
    hall.run(59)
    assert rms(hall.heard(0)[-8000:]) == pytest.approx(2000 / np.sqrt(2), rel=0.01)
    assert [on for _, _, on in hall.events] == [True]


def test_the_gate_opens_with_the_first_loud_frame_and_closes_after_the_hangover() -> None:
    hall = Hall()
    hall.mixer.join(0, 1)
    hall.mixer.join(1, 1)
    hall.talk(1, np.concatenate([np.zeros(8000), sine(500, 0.5, 3000), np.full(8000, 40)]))
    hall.run(2)
    heard = hall.heard(0)
    sounding = np.flatnonzero(heard)
    assert 8000 <= sounding[0] - FRAME < 8000 + FADE  # phase 0 hears phase 1 a frame later
    assert heard[8000 + FRAME + 2 * FADE : 12000 + FRAME] == pytest.approx(sine(500, 0.5, 3000)[2 * FADE :], abs=1)
    assert 0 <= sounding[-1] - FRAME - (12000 + HANGOVER * FRAME) < FADE
    (start, _, begins), (stop, _, ends) = hall.events
    assert (begins, ends) == (True, False)
    assert (stop - start) / PHASES == 25 + HANGOVER


def test_a_muted_talker_is_not_reported() -> None:
    hall = Hall()
    hall.mixer.join(0, 1)
    hall.mixer.join(1, 1, muted=True)
    hall.talk(1, sine(500, 4, 6000))
    hall.run(1)
    assert hall.events == []
    hall.mixer.join(1, 1)
    hall.run(0.1)
    hall.mixer.join(1, 1, muted=True)
    hall.run(1)
    assert [(slot, on) for _, slot, on in hall.events] == [(1, True), (1, False)]


@pytest.mark.parametrize("leaves", [True, False])
def test_a_talker_that_leaves_or_needs_no_gate_ends_talking(leaves: bool) -> None:
    hall = Hall()
    hall.mixer.join(0, 1)
    hall.mixer.join(1, 1)
    hall.talk(1, sine(500, 4, 6000))
    hall.run(0.2)
    if leaves:
        hall.mixer.leave(1)
    else:
        hall.mixer.join(1, 1, gated=False)
    hall.run(0.1)
    assert [(slot, on) for _, slot, on in hall.events] == [(1, True), (1, False)]


def test_nothing_to_feed() -> None:
    mixer = Mixer(4)
    mixer.feed(NO_SLOTS, np.zeros((0, FRAME), np.int16), np.zeros(0, np.float32), 0)
    mixer.leave(2)
    assert mixer.rooms == {}
    assert mixer.output(NO_SLOTS).shape == (0, FRAME)
