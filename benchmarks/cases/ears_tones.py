"""Keys in the sound, voice in noise, answering machines: how well they are found, and what that costs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import ears_cost, greeting_sweep, key_sweep, voice_sweep
from benchmarks.bench import Bench, Section, Table
from benchmarks.figures import number
from benchmarks.speech_bank import NOISES, speakers
from media.tts.synth import SynthError, missing_extra

GOALS = {"keys": 0.03, "voice": 0.02}
"""ms of CPU per call-second at 500 calls and more."""

UNSEEN = ("lucas", "yweweler", "austen", "go")
"""Those who speak in the recordings by which no limit of the speech detector was set."""


class EarsTones:
    name = "ears_tones"
    title = "Keys, voice and answering machines"

    def steps(self, bench: Bench) -> int:
        voices = 1 + len(NOISES) * (len(voice_sweep.SNRS) - 1)
        hours = bench.size(20, 1)
        return len(key_sweep.CRITERIA) + hours + voices + len(NOISES) + len(greeting_sweep.NOISES) + 1 + 6

    def run(self, bench: Bench) -> Section:
        section = Section(self.title)
        self._keys(bench, section)
        self._voice(bench, section)
        self._machines(bench, section)
        self._cost(bench, section)
        return section

    def _keys(self, bench: Bench, section: Section) -> None:
        rows = list(key_sweep.sweep(bench.size(10, 1), advance=lambda what: bench.advance(f"keys: {what}")))
        section.tables.append(Table(*key_sweep.table(rows)))
        missed = [
            row[0].criterion.name
            for row in rows
            if row[0].criterion.goal and any(cell.right != cell.presses for cell in row)
        ]
        hours, each = bench.size(20, 1), bench.seconds(1.0, 0.05)
        heard = []
        for hour in range(hours):
            bench.advance(f"keys: talk-off, {hour + 1} of {hours}")
            heard += key_sweep.talk_off(each, seed=hour)
        section.text += [
            (
                "**Keys** (ITU-T Q.23, Q.24): sixteen keys at random phases, coded and decoded by each law; the first "
                "table has the percentage of presses that were heard. The limits of twist and purity were set on this "
                "sweep, the others before it. Criteria that are asked for and not met by every press: "
                f"{', '.join(missed) or 'none'}."
            ),
            (
                f"Talk-off: {len(heard)} keys heard in {number(hours * each, 1)} hours of the recorded speech (four "
                "minutes of it, in random order, levels and alignment), in white, pink and hum noise. No limit was set "
                "on it."
            ),
        ]

    def _voice(self, bench: Bench, section: Section) -> None:
        chosen = speakers(*UNSEEN)
        streams, seconds = bench.size(20, 2), bench.seconds(60.0, 10.0)
        rows = []
        for row in voice_sweep.table(chosen, streams, seconds):
            bench.advance(f"voice: {row.noise}")
            rows.append(row)
        section.tables.append(Table(*voice_sweep.words_of(rows)))
        starts = []
        for kind in NOISES:
            bench.advance(f"voice: {kind} alone")
            figures = [
                voice_sweep.starts_per_minute(chosen, kind, dbfs, streams, 3 * seconds) for dbfs in (-40.0, -30.0)
            ]
            starts.append([kind, *(number(figure) for figure in figures)])
        section.tables.append(Table(["noise alone", "utterances a minute, −40 dBFS", "−30 dBFS"], starts))
        section.text.append(
            "**Voice**: people at −20 dBFS, in noise so far below them, through G.711. In brackets the 90th percentile."
            " Times are whole frames of 20 ms. Speech is over after 300 ms of silence, so about 300 ms are due. Babble "
            "is 24 recordings at once. The limits were set on two speakers of digits and babble made of them; these "
            "are two other speakers and all that is read, and babble made of those. An earlier detector, which had one "
            "limit for all noises, was given up when it failed on this babble (1.3 utterances a minute)."
        )

    def _machines(self, bench: Bench, section: Section) -> None:
        if reason := missing_extra():
            section.left_out.append(f"answering machines: {reason}")
            return
        with tempfile.TemporaryDirectory() as folder:
            try:
                greetings = greeting_sweep.spoken(Path(folder), "test", 10 if bench.quick else 1)
            except SynthError as error:
                section.failures.append(f"answering machines: {error}")
                return
        rows, beeps = greeting_sweep.measure(greetings, advance=lambda what: bench.advance(f"machines: {what}"))
        section.tables += [
            Table(*greeting_sweep.words_of(rows)),
            Table(*greeting_sweep.words_of_beeps(beeps)),
            Table(["tone that is no beep", "before the answer", "after it"], greeting_sweep.tone_table()),
        ]
        bench.advance("machines: beeps in speech")
        minutes = bench.size(60, 3)
        false = voice_sweep.talk_coded(speakers(*UNSEEN), 60.0 * minutes)
        section.text.append(
            "**Answering machines**: all synthetic, greetings spoken by espeak-ng, generated beeps and noise. The "
            "limits were set on other texts and voices than these. In brackets the 90th percentile. In "
            f"{minutes} minutes of recorded human speech, {len(greeting_sweep.false_beeps(false))} tones were heard; "
            "that a beep must hold its pitch was found when vowels of all speakers passed for beeps, how well it must "
            "was set on the others."
        )

    def _cost(self, bench: Bench, section: Section) -> None:
        sizes = (1, 20) if bench.quick else (1, 20, 100, 500, 1000)
        rows = []
        for name in ears_cost.KERNELS:
            for kind in ears_cost.SOUNDS:
                bench.advance(f"cost: {name}, {kind}")
                figures = [
                    ears_cost.cost(
                        name,
                        kind,
                        size,
                        steps=max(50, min(500, bench.size(100_000, 2_000) // size)),
                        repeats=bench.size(5, 1),
                    )
                    for size in sizes
                ]
                goal = f"{GOALS[name]}" if name in GOALS else "–"
                rows.append([name, kind, goal, *(number(figure, 4) for figure in figures)])
        head = ["ms of CPU per call-second", "sound", "goal", "1 call", *(f"{size} calls" for size in sizes[1:])]
        section.tables.append(Table(head, rows))
        section.text.append(
            "**Cost** of each kernel by itself, in batches of a quarter of the calls, the least of several runs. That "
            "of voice and of answering machines is due only while somebody listens for them; who looks for answering "
            "machines needs voice too."
        )
