"""How well people and answering machines are told apart, beeps found, and other tones known for what they are.

All of it is synthetic: greetings spoken by espeak-ng, generated tones and noise. The texts and voices come in two
halves; limits were set on the first ("set"), and figures are quoted on the second ("test").
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.key_sweep import Press, coded
from benchmarks.speech_bank import Sound, at_level, noise, rms_of
from media.answering import Answering
from media.arena import read_clip
from media.commands import DetectMachine, MachineLimits
from media.dtmf import KEYS
from media.frames import Samples, Slots, powers
from media.g711 import Law
from media.rates import FRAME, FRAME_SECONDS, RATE
from media.reports import MachineListens, MachineVerdict, Report, ToneHeard
from media.steady import SteadyTones
from media.tts.store import PromptStore
from media.tts.synth import Speech, Synth, SynthError, render_all
from media.vad import SpeechDetector

PEOPLE = {
    "set": [
        "Hello?",
        "Yes?",
        "Hi, it's Anna.",
        "Good morning, Miller and Sons.",
        "Smith speaking.",
        "Hello, who is this?",
        "Reception.",
    ],
    "test": [
        "Hello.",
        "Yeah, hello?",
        "Peter Brown.",
        "Good afternoon, city library.",
        "Hello, this is Laura.",
        "Who's calling?",
        "Front desk, hello.",
    ],
}
MACHINES = {
    "set": [
        "Hi, you've reached Tom and Susan. We can't come to the phone now. Please leave a message after the tone.",
        "The person you are calling is not available. Please leave your message after the beep.",
        "Hello, this is the voicemail of David Green. I am out of the office until Monday. Leave your name and number.",
        "Your call has been forwarded to an automatic voice message system.",
        "Thank you for calling. Our office is closed. Our hours are nine to five, Monday through Friday.",
        "Sorry I missed your call, leave a message.",
    ],
    "test": [
        "This is Karen. I am either away from my desk or on another line. Please leave a message and I will call back.",
        "Welcome to the mailbox of oh five five, one two three, four. Speak after the signal.",
        "Hey, it's Mike! You know what to do. Wait for the beep.",
        "The customer you have dialled cannot take your call at present. Please record your message after the tone.",
        "You have reached the dental practice of doctor Wilson. For appointments, please call back tomorrow morning.",
        "Hi, I can't talk now, please try again later or send me a text.",
    ],
}
VOICES = {
    "set": ["en-us", "en+f2", "en+m3", "en-gb-scotland", "en-us+f4"],
    "test": ["en", "en-us+f3", "en-gb-x-rp+m5", "en-us+m7", "en+f5"],
}
RATES = (140, 175)
BEEPS = [(hertz, seconds) for hertz in (425, 440, 620, 850, 1000, 1400, 2000) for seconds in (0.16, 0.25, 0.5, 0.9)]
"""Hz and seconds. Those in the band of ringback last 0.5 s at most."""

NOISES = (("quiet", -62.0), ("white", -40.0), ("pink", -35.0), ("babble", -38.0))


@dataclass(slots=True)
class Call:
    """An answered call: what sounds from the answer on, and what is true of it (seconds after the answer)."""

    sound: Sound
    is_machine: bool
    greeting: tuple[float, float]
    beep: tuple[float, float] | None = None
    reports: list[Report] = field(default_factory=list)

    def report(self, kind: type) -> Report | None:
        """The first report of ``kind``."""
        return next((report for report in self.reports if isinstance(report, kind)), None)


def listen(
    sounds: Sequence[Samples], *, answered: bool = True, limits: MachineLimits | None = None
) -> list[list[Report]]:
    """What detectors say of calls, side by side, that were answered at 0 s."""
    length = -(-max(map(len, sounds)) // FRAME)
    frames = np.zeros((len(sounds), length * FRAME), np.int16)
    for row, sound in zip(frames, sounds, strict=True):
        row[: len(sound)] = sound
    frames = frames.reshape(len(sounds), length, FRAME)
    reports: list[Report] = []
    index = 0

    def before(slots: Slots) -> Samples:
        return frames[slots, index - 1] if index else np.zeros((slots.size, FRAME), np.int16)

    def history(slot: int, count: int) -> Samples:
        return frames[slot, index + 1 - count : index + 1].reshape(-1)

    detector = SpeechDetector(len(sounds))
    answering = Answering(len(sounds), SteadyTones(len(sounds), before, history), reports)
    for slot in range(len(sounds)):
        detector.open(slot)
        answering.watch(slot, DetectMachine(slot, answered=answered, limits=limits or MachineLimits()), 0.0)
    for index in range(length):
        slots = np.flatnonzero(answering.watching)
        if not slots.size:
            break
        now, heard = (index + 1) * FRAME_SECONDS, np.ascontiguousarray(frames[slots, index])
        levels = powers(heard)
        voiced = detector.voiced(slots, levels)
        answering.feed(slots, voiced, heard, levels, now)
        detector.feed(slots, voiced, levels, now)
    found: list[list[Report]] = [[] for _ in sounds]
    for report in reports:
        found[report.stream].append(report)  # type: ignore[union-attr]
    return found


def sine(hertz: float, seconds: float, dbfs: float) -> Sound:
    """A tone with edges of 4 ms."""
    time = np.arange(round(seconds * RATE)) / RATE
    edge = np.minimum(1.0, np.minimum(time, time[::-1]) / 0.004)
    return np.sqrt(2) * rms_of(dbfs) * edge * np.sin(2 * np.pi * hertz * time)


def spoken(folder: Path, half: str, every: int = 1) -> dict[str, list[Sound]]:
    """Greetings of "people" and "machines" by all voices of a half (of them, each ``every``-th), at -20 dBFS; rendered
    prompts stay in ``folder``. Raises SynthError.
    """
    wanted = {
        who: [Speech(text, voice, rate=rate) for text in texts[half] for voice in VOICES[half] for rate in RATES][
            ::every
        ]
        for who, texts in (("people", PEOPLE), ("machines", MACHINES))
    }
    return asyncio.run(_render(folder, wanted))


async def _render(folder: Path, wanted: dict[str, list[Speech]]) -> dict[str, list[Sound]]:
    synth = Synth(PromptStore(folder))
    await synth.start()
    try:
        found: dict[str, list[Sound]] = {}
        for who, speeches in wanted.items():
            paths = await render_all(synth, speeches)
            found[who] = []
            for path in paths.values():
                if isinstance(path, SynthError):
                    raise path
                found[who].append(at_level(read_clip(str(path), RATE).astype(np.float64), -20.0))
        return found
    finally:
        await synth.close()


def call(greeting: Sound, *, is_machine: bool, rng: np.random.Generator, kind: str, dbfs: float) -> Call:
    """An answer with ``greeting``, in noise; every third machine has no beep."""
    before = rng.uniform(0.2, 1.8 if is_machine else 1.2)
    parts = [np.zeros(round(before * RATE)), greeting * 10 ** (rng.uniform(-6, 4) / 20)]
    ends = before + len(greeting) / RATE
    beep = None
    if is_machine and rng.random() < 2 / 3:
        hertz, seconds = BEEPS[rng.integers(len(BEEPS))]
        if hertz < 500:
            seconds = min(seconds, 0.5)
        pause = rng.uniform(0.2, 1.2)
        parts += [np.zeros(round(pause * RATE)), sine(hertz, seconds, rng.uniform(-24, -10))]
        beep = ends + pause, ends + pause + seconds
    parts.append(np.zeros(round(3.5 * RATE)))
    sound = np.concatenate(parts)
    seconds = len(sound) / RATE + 0.1
    dirt = noise("white" if kind == "quiet" else kind, seconds, dbfs, rng)[: len(sound)]
    return Call(sound + dirt, is_machine, (before, ends), beep)


@dataclass(frozen=True, slots=True)
class Row:
    """Percent of calls by verdict; seconds from the end of a person's greeting, or the begin of a machine's, to the
    verdict (median, 90th percentile).
    """

    who: str
    noise: str
    calls: int
    human: float
    machine: float
    unsure: float
    after: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Beeps:
    """Of machines with a beep, the percent that were found, of those without, the percent in which one was heard;
    percent of them that were told to listen too early; ms from the end of the beep to the report (median, 90th
    percentile).
    """

    noise: str
    calls: int
    found: float
    false: float
    early: float
    after: tuple[float, float]


def measure(
    greetings: dict[str, list[Sound]], *, advance: Callable[[str], None] = lambda _: None, seed: int = 1
) -> tuple[list[Row], list[Beeps]]:
    """All greetings once under each noise."""
    rng = np.random.default_rng(seed)
    rows, beeps = [], []
    for kind, dbfs in NOISES:
        advance(kind)
        name = f"{kind}, {dbfs:.0f} dBFS"
        machines: list[Call] = []
        for who, sounds in greetings.items():
            calls = [call(sound, is_machine=who == "machines", rng=rng, kind=kind, dbfs=dbfs) for sound in sounds]
            heard = listen([coded(each.sound, list(Law)[index % 2]) for index, each in enumerate(calls)])
            for each, reports in zip(calls, heard, strict=True):
                each.reports = reports
            rows.append(_row(who, name, calls))
            machines += calls if who == "machines" else []
        beeps.append(_beeps(name, machines))
    return rows, beeps


def _row(who: str, name: str, calls: list[Call]) -> Row:
    results = {"human": 0, "machine": 0, "unsure": 0}
    after = []
    for each in calls:
        verdict = each.report(MachineVerdict)
        if isinstance(verdict, MachineVerdict):
            results[verdict.result] += 1
            after.append(verdict.at - each.greeting[0 if each.is_machine else 1])
    share = [100 * results[result] / len(calls) for result in results]
    return Row(who, name, len(calls), *share, _middle(after))


def _beeps(name: str, calls: list[Call]) -> Beeps:
    found, false, early, after = 0, 0, 0, []
    with_beep = [each for each in calls if each.beep]
    for each in calls:
        listens = each.report(MachineListens)
        if not isinstance(listens, MachineListens):
            continue
        if each.beep is None:
            false += listens.why == "beep"
            early += listens.at < each.greeting[1]
        elif listens.at < each.beep[1]:
            early += 1
        elif listens.why == "beep":
            found += 1
            after.append(1000 * (listens.at - each.beep[1]))
    without = len(calls) - len(with_beep)
    share = 100 * found / max(1, len(with_beep)), 100 * false / max(1, without), 100 * early / max(1, len(calls))
    return Beeps(name, len(calls), *share, _middle(after))


def words_of(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of text."""
    head = ["who", "noise", "calls", "human", "machine", "unsure", "verdict after, s"]
    return head, [
        [
            row.who,
            row.noise,
            str(row.calls),
            *(f"{share:.1f} %" for share in (row.human, row.machine, row.unsure)),
            f"{row.after[0]:.2f} ({row.after[1]:.2f}) {'of its begin' if row.who == 'machines' else 'of the end'}",
        ]
        for row in rows
    ]


def words_of_beeps(rows: Sequence[Beeps]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of text."""
    head = ["noise", "machines", "beeps found", "beeps where there is none", "told to speak too early"]
    head.append("told after the beep, ms")
    return head, [
        [
            row.noise,
            str(row.calls),
            *(f"{share:.1f} %" for share in (row.found, row.false, row.early)),
            f"{row.after[0]:.0f} ({row.after[1]:.0f})",
        ]
        for row in rows
    ]


def _middle(values: list[float]) -> tuple[float, float]:
    return (float(np.median(values)), float(np.percentile(values, 90))) if values else (float("nan"), float("nan"))


def _cadence(tone: Callable[[float], Sound], *pattern: float) -> Sound:
    """Sound and silence by turns, in seconds."""
    parts = [tone(each) if not index % 2 else np.zeros(round(each * RATE)) for index, each in enumerate(pattern)]
    return np.concatenate([np.zeros(RATE // 2), *parts, np.zeros(RATE)])


def _pair(low: float, high: float) -> Callable[[float], Sound]:
    return lambda seconds: sine(low, seconds, -19) + sine(high, seconds, -19)


def other_tones() -> Iterator[tuple[str, set[str], Sound]]:
    """(name, kinds that may be heard, sound) of tones that are no beep."""

    def one(hertz: float) -> Callable[[float], Sound]:
        return lambda seconds: sine(hertz, seconds, -16)

    yield "ringback, US: 440 + 480 Hz", {"progress"}, _cadence(_pair(440, 480), 2, 4, 2)
    yield "ringback, UK: 400 + 450 Hz", {"progress"}, _cadence(_pair(400, 450), 0.4, 0.2, 0.4, 2, 0.4, 0.2, 0.4)
    yield "ringback, Europe: 425 Hz", {"progress"}, _cadence(one(425), 1, 4, 1)
    yield "busy, US: 480 + 620 Hz", {"progress"}, _cadence(_pair(480, 620), 0.5, 0.5, 0.5, 0.5, 0.5)
    yield "busy, Europe: 425 Hz", {"progress"}, _cadence(one(425), 0.5, 0.5, 0.5, 0.5, 0.5)
    yield "dial tone, US: 350 + 440 Hz", {"progress"}, _cadence(_pair(350, 440), 3)
    sit = [sine(hertz, 0.33, -16) for hertz in (950, 1400, 1800)]
    yield "special information tones", {"sit"}, _cadence(lambda _: np.concatenate(sit), 1)
    yield "fax answer tone: 2100 Hz", {"fax"}, _cadence(one(2100), 3)
    rng = np.random.default_rng(3)
    for twist in (0, 4, -8):
        keys = [Press(ms=300, twist=twist, dbm0=-10).sound(key, Law.PCMU, rng) for key in KEYS]
        yield f"all keys, twist {twist:+d} dB", set(), np.concatenate(keys)


def tone_table() -> list[list[str]]:
    """Rows of (tone, what was heard, whether that is right), before the answer and after it."""
    rows = []
    for name, right, sound in other_tones():
        noisy = sound + np.random.default_rng(4).normal(0, rms_of(-45), len(sound))
        cells = []
        for answered in (False, True):
            (reports,) = listen([coded(noisy, Law.PCMU)], answered=answered, limits=MachineLimits(initial_silence=60.0))
            kinds = [report.kind for report in reports if isinstance(report, ToneHeard)]
            verdict = "right" if set(kinds) == right else "wrong"
            cells.append(f"{verdict}: {', '.join(f'{kinds.count(k)} {k}' for k in sorted(set(kinds))) or 'nothing'}")
        rows.append([name, *cells])
    return rows


def false_beeps(sound: Samples) -> list[ToneHeard]:
    """Tones that are heard in speech."""
    pieces = [sound[start : start + 60 * RATE] for start in range(0, len(sound), 60 * RATE)]
    forever = MachineLimits(patience=1e9, message_pause=1e9)
    heard = listen(pieces, answered=False, limits=forever)
    return [report for reports in heard for report in reports if isinstance(report, ToneHeard)]
