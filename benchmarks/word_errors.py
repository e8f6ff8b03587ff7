"""Word error rate of transcription on the read sentences: ``python -m benchmarks.word_errors [--model FOLDER]``.

The whole way of a recording: decoder, transcriber's process, engine. Each sentence as it was recorded (16 kHz), and as
a call would have recorded it (8 kHz, µ-law). 75 words of two speakers: one word is more than a percent.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import soxr

from engine import log
from engine.transcription import Transcriber
from media import g711
from media.frames import Samples
from media.rates import RATE
from media.recordings import read_wave
from media.tts.store import wav

READ = Path(__file__).parents[1] / "tests" / "data" / "speech" / "read"
SAME = {"mr": "mister"}


def references() -> dict[str, list[str]]:
    """What is said in each recording."""
    lines = (READ / "transcripts.txt").read_text().splitlines()
    return {name: words for name, *words in map(str.split, lines)}


def errors(said: list[str], heard: list[str]) -> int:
    """Words substituted, left out or put in."""
    row = list(range(len(heard) + 1))
    for index, word in enumerate(said):
        before, row[0] = row[0], index + 1
        for place, other in enumerate(heard):
            before, row[place + 1] = row[place + 1], min(before + (word != other), row[place] + 1, row[place + 1] + 1)
    return row[-1]


def on_the_phone(path: Path) -> bytes:
    """The recording as a WAV file of a call."""
    samples, rate = read_wave(path)
    narrow: Samples = soxr.resample(samples, rate, RATE)
    return wav(g711.decode(g711.encode(narrow, g711.Law.PCMU), g711.Law.PCMU), RATE)


async def measure(model: str, *, phone: bool) -> str:
    """A line about all sentences."""
    transcriber = Transcriber(vosk_model=model)
    wrong = words = 0
    seconds = 0.0
    engine = ""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for name, said in references().items():
            path = READ / f"{name}.wav"
            if phone:
                path = Path(folder) / f"{name}.wav"
                path.write_bytes(on_the_phone(READ / f"{name}.wav"))
            transcript = await transcriber.transcribe(path)
            heard = [SAME.get(word, word) for word in transcript.text.split()]
            wrong += errors(said, heard)
            words += len(said)
            seconds += transcript.seconds
            engine = transcript.engine
            print(f"    {transcript.text}")
    channel = "8 kHz µ-law" if phone else "16 kHz"
    spent = time.perf_counter() - began
    rate = f"{wrong} of {words} words wrong, {100 * wrong / words:.0f} %"
    return f"{engine}, {channel}: {rate}; {spent:.0f} s for {seconds:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="", help="folder of a vosk model")
    arguments = parser.parse_args()
    log.setup(level="warning")
    for phone in (False, True):
        print(asyncio.run(measure(arguments.model, phone=phone)))


if __name__ == "__main__":
    main()
