"""``ivrea hear`` and ``ivrea transcribe``: what is in a recording, on the terminal, as JSON and as a picture."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape

from engine import log, loop
from engine.commands.console import AsJson, ConfigFile, fail, out, read_config
from engine.transcription import Transcriber, Transcript, TranscriptionError
from flows.findings import printable
from media import g711
from media.files import AsRecorded, MediaError
from media.frames import Samples
from media.hearing import Hearing, Utterance, hear
from media.rates import RATE
from media.recordings import Recording, read_recording
from media.speech.engine import Recogniser
from media.speech.lexicon import pronounceable
from media.speech.model import ModelError
from media.speech.recogniser import MOST_WORDS, make_recogniser

speech_app = typer.Typer()


class Channel(StrEnum):
    """Which channel of a file is listened to."""

    left = "left"
    right = "right"
    mix = "mix"

    @property
    def number(self) -> int | None:
        """From 0, or ``None`` for all of them."""
        return {"left": 0, "right": 1}.get(self.value)


class LawName(StrEnum):
    """The coding of a call that the sound goes through first."""

    none = "none"
    mu = "mu"
    a = "a"


SoundFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A recording: WAV, MP3, Ogg or FLAC, at most half an hour.")
]
Model = Annotated[
    Path | None, typer.Option(help="Folder of a vosk model. Without it that of the configuration, or what is built in.")
]
Language = Annotated[str, typer.Option(help="Language that is spoken, as en or en-GB.")]


def read_sound(path: Path, wanted: AsRecorded) -> Recording:
    """The sound of a file; or the end, with status 2 if there is none, with 1 if it is not usable."""
    if not path.exists():
        fail(f"{path}: there is no such file")
    try:
        return loop.run(read_recording(path, wanted))
    except MediaError as error:
        fail(str(error), status=1)


@speech_app.command(name="hear")
def hear_command(
    file: SoundFile,
    words: Annotated[
        str,
        typer.Option("--words", "-w", help="Words to listen for, separated by commas. Without: keys and speech only."),
    ] = "",
    language: Language = "en",
    channel: Annotated[
        Channel, typer.Option(help="Of a stereo file; in Ivrea's own recordings the caller is left.")
    ] = Channel.left,
    law: Annotated[LawName, typer.Option(help="Take the sound through G.711 first, as a call does.")] = LawName.none,
    model: Model = None,
    config: ConfigFile = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw sound, speech, keys and words into this PNG file (needs matplotlib).")
    ] = None,
    as_json: AsJson = False,  # noqa: FBT002 - typer's way to declare a flag
) -> None:
    """Print what the ears of a call make of a recording: keys, speech, words, and what was rejected."""
    if plot is not None and (problem := _cannot_plot()):
        fail(problem)
    vocabulary = _vocabulary(words)
    model = _model(model, config)
    samples = _over(law, read_sound(file, AsRecorded(RATE, channel.number)).samples)
    try:
        unheard = pronounceable(vocabulary, language, model)
        recogniser = _recogniser(vocabulary, model)
    except ModelError as error:
        fail(str(error))
    heard = hear(samples, vocabulary, recogniser, language)
    unpronounceable = [word for word in vocabulary if word in unheard]
    about = recogniser.about if recogniser is not None else ""
    if plot is not None:
        _draw(plot, samples, heard, file.name)
    if as_json:
        print(json.dumps(_as_json(heard, unpronounceable, about), ensure_ascii=False))  # noqa: T201
    else:
        _show(heard, unpronounceable, about)


@speech_app.command()
def transcribe(
    file: SoundFile,
    language: Language = "en",
    channel: Annotated[Channel, typer.Option(help="Of a stereo file.")] = Channel.mix,
    model: Model = None,
    config: ConfigFile = None,
    as_json: AsJson = False,  # noqa: FBT002 - typer's way to declare a flag
) -> None:
    """Write down what is said in a recording. English without a vosk model, and then with many errors."""
    if not file.exists():
        fail(f"{file}: there is no such file")
    model = _model(model, config)
    log.setup(level="warning")

    async def work() -> Transcript:
        transcriber = Transcriber(vosk_model=str(model or ""))
        return await transcriber.transcribe(file, language, channel=channel.number)

    try:
        transcript = loop.run(work())
    except TranscriptionError as error:
        fail(str(error), status=1)
    except KeyboardInterrupt:
        fail("interrupted", status=1)
    if as_json:
        print(json.dumps(transcript.to_json(), ensure_ascii=False))  # noqa: T201
    else:
        out.print(escape(printable(transcript.text)) or "[dim]no words[/dim]")
        out.print(f"[dim]{transcript.seconds:.1f} s by {escape(transcript.engine)}[/dim]")


def _model(given: Path | None, config: Path | None) -> Path | None:
    """The folder of the vosk model that calls would be listened to with, unless another one is given."""
    if given is not None:
        return given
    configured = read_config(config).speech.vosk_model
    return Path(configured) if configured else None


def _vocabulary(words: str) -> list[str]:
    vocabulary = list(dict.fromkeys(word.strip().casefold() for word in words.split(",") if word.strip()))
    if len(vocabulary) > MOST_WORDS:
        fail(f"--words: {len(vocabulary)} words, but a step listens for {MOST_WORDS} at most")
    return vocabulary


def _recogniser(vocabulary: list[str], model: Path | None) -> Recogniser | None:
    return make_recogniser(model) if vocabulary else None


def _over(law: LawName, samples: Samples) -> Samples:
    if law is LawName.none:
        return samples
    which = g711.Law.PCMU if law is LawName.mu else g711.Law.PCMA
    return g711.decode(g711.encode(samples, which), which)


def _cannot_plot() -> str:
    from media.hearing_plot import missing_extra

    return missing_extra()


def _draw(path: Path, samples: Samples, heard: Hearing, title: str) -> None:
    from media.hearing_plot import draw

    try:
        draw(path, samples, heard, printable(title))
    except OSError as error:
        fail(f"{path}: {error.strerror or error}")


def _as_json(heard: Hearing, unpronounceable: list[str], about: str) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(heard)
    for each, utterance in zip(found["utterances"], heard.utterances, strict=True):
        each["rejected"] = utterance.rejected
    return {**found, "unpronounceable": unpronounceable, "recogniser": about}


def _show(heard: Hearing, unpronounceable: list[str], about: str) -> None:
    """A line for each thing that was heard, in order of time."""
    for word in unpronounceable:
        out.print(f"[yellow]{escape(printable(word))}[/yellow] cannot be pronounced: it is never heard")
    lines = [(key.at, f"{_clock(key.at)}  [bold]key {escape(key.digit)}[/bold]") for key in heard.keys]
    if about:
        lines += [(each.start, _utterance(each)) for each in heard.utterances]
    else:
        lines += [
            (span.start, f"{_clock(span.start)}  speech until {span.end:.2f}, {span.dbfs:.0f} dBFS")
            for span in heard.speech
        ]
    for _, line in sorted(lines, key=lambda each: each[0]):
        out.print(line)
    out.print(_summary(heard, about))


def _utterance(utterance: Utterance) -> str:
    span = f"{_clock(utterance.start)}  utterance until {utterance.end:.2f}"
    if utterance.rejected:
        return f"{span}: [dim]none of the words[/dim]"
    words = ", ".join(
        f"[bold]{escape(printable(word.word))}[/bold] ({100 * word.confidence:.0f} %, {word.start:.2f}–{word.end:.2f})"
        for word in utterance.words
    )
    first = f", a prompt stops at {utterance.spotted[0].at:.2f}" if utterance.spotted else ""
    return f"{span}: {words}; decided at {utterance.decided:.2f}{first}"


def _clock(seconds: float) -> str:
    return f"{seconds:8.2f}"


def _summary(heard: Hearing, about: str) -> str:
    rejected = sum(utterance.rejected for utterance in heard.utterances)
    counts = [f"{heard.seconds:.1f} s", _count(len(heard.keys), "key")]
    if about:
        counts += [
            f"{_count(len(heard.utterances), 'utterance')} ({rejected} rejected)",
            f"{_count(len(heard.words), 'word')} by the {about}",
        ]
    else:
        counts.append(f"speech {_count(len(heard.speech), 'time')}")
    return f"[dim]{escape(', '.join(counts))}[/dim]"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
