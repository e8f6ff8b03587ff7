"""TwiML verbs that ask the caller for something, and a URL what comes next: ``<Gather>`` and ``<Record>``."""

from __future__ import annotations

from dataclasses import dataclass

from flows import graph as g
from flows.markup import Element
from flows.orders import Upload
from flows.prompts import Prompt
from flows.templates import Template, Var, var

from .twiml_flavours import ALL_KEYS, DIGITS
from .twiml_options import Options
from .twiml_script import Script, Verb

MAX_DIGITS = 1000
SPEECH_OPTIONS = (
    *("hints", "speechTimeout", "speechModel", "profanityFilter", "enhanced", "language"),
    *("partialResultCallback", "partialResultCallbackMethod", "debug"),
)
TRIMMED = {"trim-silence": True, "do-not-trim": False}


@dataclass(slots=True)
class _Part:
    """Something that a ``<Gather>`` lets be heard: ``prompts`` so many times, or ``pause`` seconds of silence."""

    prompts: tuple[Prompt, ...] = ()
    times: int = 1
    pause: float = 0.0


def gather(script: Script, verb: Verb) -> bool:
    """Prompt and take keys; with some, go on with what ``action`` answers, without, with the next verb.

    Prompts that are all heard once belong to the collection itself. Where one is repeated, or there is a pause
    between, they come before it, and any key ends them: keys pressed ahead are collected.
    """
    flavour = script.flavour
    options = script.options(verb.element)
    script.no_text(verb.element)
    script.answer(verb)
    timeout = options.seconds("timeout", flavour.gather_timeout, 1.0, 3600.0)
    finish = options.keys("finishOnKey", "#")
    most = options.whole("numDigits", 0, 1, MAX_DIGITS)
    url = script.action(verb.element, options)
    method = options.method(flavour.method)
    ask_anyway = options.flag("actionOnEmptyResult", default=False)
    barge_in = options.flag("bargeIn", default=True)
    _keys_only(options)
    options.done()

    parts = _parts(script, verb.element)
    prompts = _last_of(parts) if barge_in else ()
    for number, part in enumerate(parts):
        _sound(verb, number, part, ALL_KEYS if barge_in else "")
    least = most if flavour.exact_digits and most else 1
    collect = verb.chain.add(
        *(g.Collect, "gather"),
        into=DIGITS,
        prompts=prompts,
        least=least,
        most=most,
        finish=finish,
        first=timeout,
        between=timeout,
    )
    asked = script.request(script.side(verb), verb, url, method, flavour.after_gather) if url else ""
    missed = asked if asked and ask_anyway else script.after(verb)
    asked = asked or missed
    verb.chain.link(collect, {g.NEXT: asked, g.NONE: missed, g.SHORT: missed, g.FINISHED: missed})
    return missed != asked or not url


def _keys_only(options: Options) -> None:
    kinds = options.text("input", "dtmf").lower().replace(",", " ").split()
    if "dtmf" not in kinds or len(kinds) > 1:
        options.ignored("input", "keys are taken, speech is not", 'input="dtmf"')
    options.no_effect(*SPEECH_OPTIONS, why="speech is not taken")


def _parts(script: Script, element: Element) -> list[_Part]:
    """The prompts of a ``<Gather>``; neighbours that are heard once are together."""
    parts: list[_Part] = []
    for child in _heard(script, element):
        options = script.options(child)
        if child.name == "Pause":
            script.empty(child)
            parts.append(_Part(pause=options.seconds("length", 1.0, 0.0, 3600.0)))
        else:
            prompt = script.spoken(child, options) if child.name == "Say" else script.played(child)
            times = script.times(options)
            if prompt is None:
                pass
            elif times == 1 and parts and parts[-1].prompts and parts[-1].times == 1:
                parts[-1].prompts += (prompt,)
            else:
                parts.append(_Part((prompt,), times))
        options.done()
    if not parts:
        message = "<Gather> without a prompt: the caller is not told here what to press"
        script.findings.info("missing-prompt", element.where, message)
    return parts


def _heard(script: Script, element: Element) -> list[Element]:
    """The children of a ``<Gather>`` that are heard, the rest reported."""
    kinds = ("Say", "Play") if script.flavour.one_prompt else ("Say", "Play", "Pause")
    for child in element.children:
        if child.name not in kinds:
            script.stray(child, f"only {', '.join(kinds)} belong in <Gather>")
    heard = [child for child in element.children if child.name in kinds]
    if script.flavour.one_prompt:
        for child in heard[:-1]:
            script.stray(child, "of several prompts in a <Gather> only the last is heard")
        return heard[-1:]
    return heard


def _last_of(parts: list[_Part]) -> tuple[Prompt, ...]:
    """Take the last prompts off ``parts`` if they are heard once: the collection has them itself."""
    return parts.pop().prompts if parts and parts[-1].prompts and parts[-1].times == 1 else ()


def _sound(verb: Verb, number: int, part: _Part, stop_keys: str) -> None:
    if part.prompts:
        verb.chain.add(g.Say, f"say{number}", prompts=part.prompts, times=part.times, stop_keys=stop_keys)
    else:
        verb.chain.add(g.Pause, f"pause{number}", seconds=part.pause, stop_keys=stop_keys)


def record(script: Script, verb: Verb) -> bool:
    """Record the caller, then go on with what ``action`` answers; without a recording, with the next verb."""
    flavour = script.flavour
    options = script.options(verb.element)
    script.empty(verb.element)
    script.answer(verb)
    url = script.action(verb.element, options)
    method = options.method(flavour.method)
    recorded = verb.chain.add(
        *(g.Record, "record"),
        format=flavour.record_format,
        limit=options.seconds("maxLength", flavour.record_limit, 1.0, 3600.0),
        silence=options.seconds("timeout", flavour.record_silence, 1.0, 3600.0),
        stop_keys=options.keys("finishOnKey", flavour.record_keys),
        beep=options.flag("playBeep", default=True),
        trim=options.choice("trim", TRIMMED, default=flavour.record_trim),
        upload=_upload(script, verb.element, options),
        transcribe=_language(script, options),
    )
    _status(script, verb, options)
    options.done()
    if not url:
        verb.chain.link(recorded, {g.NONE: script.after(verb)})
        return verb.go_on()
    asked = script.request(verb.chain, verb, url, method, flavour.after_record, returns=flavour.returns)
    verb.chain.link(recorded, {g.NONE: asked if flavour.asks_without_recording else script.after(verb)})
    return flavour.returns or not flavour.asks_without_recording


def _upload(script: Script, element: Element, options: Options) -> Upload | None:
    """Where ``recordingUrl`` sends the recording, named after the call (CONTRACTS §3.1)."""
    url = options.text("recordingUrl")
    if not url:
        return None
    name = Template(("call_recording_", Var("call.id"), f".{script.flavour.record_format}"))
    return Upload(script.resolve(element, url).rstrip("/"), "PUT", name)


def _language(script: Script, options: Options) -> str:
    options.no_effect("transcribeCallback", why="a transcription is kept with its recording, nobody is told")
    wanted = options.flag("transcribe", default=False) or options.given("transcribeCallback")
    return (script.language or "en-US") if wanted else ""


def _status(script: Script, verb: Verb, options: Options) -> None:
    """Tell ``recordingStatusCallback`` that the recording is done."""
    url = options.text("recordingStatusCallback")
    words = {"get": "GET", "post": "POST"}
    method = options.choice("recordingStatusCallbackMethod", words, default="POST", expected="GET or POST")
    events = options.text("recordingStatusCallbackEvent", "completed").lower().split()
    if not url:
        return
    if "completed" not in events:
        options.ignored("recordingStatusCallback", "only its event completed is told")
        return
    if len(events) > 1:
        options.ignored("recordingStatusCallbackEvent", "only completed is told")
    params = (
        g.Param(name="CallSid", value=var("call.id")),
        g.Param(name="AccountSid", value=var("call.account")),
        g.Param(name="RecordingSid", value=var("recording.id")),
        g.Param(name="RecordingUrl", value=var("recording.url")),
        g.Param(name="RecordingDuration", value=var("recording.duration")),
        g.Param(name="RecordingStatus", value="completed"),
    )
    query, body = (params, ()) if method == "GET" else ((), params)
    told = script.resolve(verb.element, url)
    verb.chain.add(g.Tell, "status", url=told, method=method, query=query, params=body)
