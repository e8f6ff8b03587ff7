"""TwiML verbs that ask the caller for something, and a URL what comes next: ``<Gather>`` and ``<Record>``."""

from __future__ import annotations

from dataclasses import dataclass, field

from flows import graph as g
from flows.markup import Element
from flows.orders import Upload
from flows.prompts import Prompt
from flows.templates import var

from .compiling import Chain
from .twiml_flavours import DIGITS
from .twiml_options import Options
from .twiml_script import Script, Verb
from .uploads import check_folder, is_for_files, upload_to

MAX_DIGITS = 1000
MAX_PROMPTS = 100
"""In one ``<Gather>``, a prompt that is repeated counted each time; an endless one is heard so often."""

SPEECH_OPTIONS = (
    *("hints", "speechTimeout", "speechModel", "profanityFilter", "enhanced", "language"),
    *("partialResultCallback", "partialResultCallbackMethod", "debug"),
)
TRIMMED = {"trim-silence": True, "do-not-trim": False}


@dataclass(slots=True)
class _Part:
    """Prompts of a ``<Gather>``, and the seconds of silence after them; without a pause the timeout."""

    prompts: list[Prompt] = field(default_factory=list)
    pause: float | None = None


def gather(script: Script, verb: Verb) -> bool:
    """Prompt and take keys; with some, go on with what ``action`` answers, without, with the next verb.

    A pause between prompts ends a collection that takes all there is to take, as the one after it does: only when
    nobody pressed anything until then is the next prompt heard.
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
    secret = options.flag("secret", default=False)
    _keys_only(options)
    options.done()

    parts = _parts(script, verb.element)
    if not barge_in:
        _without_barge_in(verb, parts)
        parts = [_Part()]
    collections = [
        verb.chain.add(
            *(g.Collect, f"gather{number or ''}"),
            into=DIGITS,
            prompts=tuple(part.prompts),
            least=most if flavour.exact_digits and most else 1,
            most=most,
            finish=finish,
            first=timeout if part.pause is None else part.pause,
            between=timeout,
            secret=secret,
        )
        for number, part in enumerate(parts)
    ]
    asking = script.side(verb)
    asked = script.request(asking, verb, url, method, flavour.after_gather, returns=flavour.returns) if url else ""
    missed = asked if asked and ask_anyway else script.after(verb)
    asked = asked or missed
    for collection, following in zip(collections, (*collections[1:], missed), strict=True):
        verb.chain.link(collection, {g.NEXT: asked, g.NONE: following, g.SHORT: missed, g.FINISHED: missed})
    return missed != asked or not url or flavour.returns


def _keys_only(options: Options) -> None:
    kinds = options.text("input", "dtmf").lower().replace(",", " ").split()
    if "dtmf" not in kinds or len(kinds) > 1:
        options.ignored("input", "keys are taken, speech is not", 'input="dtmf"')
    options.no_effect(*SPEECH_OPTIONS, why="speech is not taken")


def _parts(script: Script, element: Element) -> list[_Part]:
    """The prompts of a ``<Gather>``, cut where there is a pause; at least one part."""
    parts = [_Part()]
    prompts = 0
    for child in _heard(script, element):
        options = script.options(child)
        if child.name == "Pause":
            script.empty(child)
            parts[-1].pause = options.seconds("length", 1.0, 0.0, 3600.0)
            parts.append(_Part())
        else:
            prompt = script.spoken(child, options) if child.name == "Say" else script.played(child)
            times = script.times(options) or MAX_PROMPTS
            if prompt is not None:
                if prompts + times > MAX_PROMPTS >= prompts:
                    message = f"more than {MAX_PROMPTS} prompts in a <Gather>, repeats counted: the rest is not heard"
                    script.findings.warning("out-of-range", child.where, message)
                parts[-1].prompts += [prompt] * max(0, min(times, MAX_PROMPTS - prompts))
                prompts += times
        options.done()
    if not prompts:
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


def _without_barge_in(verb: Verb, parts: list[_Part]) -> None:
    """Let everything be heard before keys are taken; those pressed meanwhile wait."""
    for number, part in enumerate(parts):
        if part.prompts:
            verb.chain.add(g.Say, f"say{number or ''}", prompts=tuple(part.prompts))
        if part.pause is not None:
            verb.chain.add(g.Pause, f"pause{number or ''}", seconds=part.pause)


def record(script: Script, verb: Verb) -> bool:
    """Record the caller, then go on with what ``action`` answers; without a recording, with the next verb."""
    flavour = script.flavour
    options = script.options(verb.element)
    script.empty(verb.element)
    script.answer(verb)
    url = script.action(verb.element, options)
    method = options.method(flavour.method)
    limit, silence = flavour.record_limit, flavour.record_silence
    if flavour.timeout_is_length:
        limit = options.seconds("timeout", limit, 1.0, 3600.0)
    else:
        silence = options.seconds("timeout", silence, 1.0, 3600.0)
    limit = options.seconds("maxLength", limit, 1.0, 3600.0)
    recorded = verb.chain.add(
        *(g.Record, "record"),
        format=flavour.record_format,
        limit=limit,
        silence=silence,
        stop_keys=options.keys("finishOnKey", flavour.record_keys),
        beep=options.flag("playBeep", default=True),
        trim=options.choice("trim", TRIMMED, default=flavour.record_trim),
        upload=_upload(script, verb.element, options),
        transcribe=_language(script, options),
    )
    told = script.side(verb)  # although the caller has hung up
    _status(script, verb, options, verb.chain, told)
    options.done()
    if url and flavour.asks_after_hangup:
        script.tell(told, url, method, flavour.after_record)
    if told.first:
        verb.chain.link(recorded, {g.HUNG_UP: told.first})
    if not url:
        verb.chain.link(recorded, {g.NONE: script.after(verb)})
        return verb.go_on()
    asked = script.request(verb.chain, verb, url, method, flavour.after_record, returns=flavour.returns)
    verb.chain.link(recorded, {g.NONE: asked if flavour.asks_without_recording else script.after(verb)})
    return flavour.returns or not flavour.asks_without_recording


def _upload(script: Script, element: Element, options: Options) -> Upload | None:
    """Where ``recordingUrl`` sends the recording."""
    url = options.text("recordingUrl").strip()
    if not url:
        return None
    if is_for_files(url):
        check_folder(url, "recordingUrl", element.where, script.findings)
    else:
        url = script.resolve(element, url)
    return upload_to(url, script.flavour.record_format)


def _language(script: Script, options: Options) -> str:
    options.no_effect("transcribeCallback", why="a transcription is kept with its recording, nobody is told")
    wanted = options.flag("transcribe", default=False) or options.given("transcribeCallback")
    return (script.language or "en-US") if wanted else ""


def _status(script: Script, verb: Verb, options: Options, *chains: Chain) -> None:
    """Tell ``recordingStatusCallback`` that the recording is done, in each of ``chains``."""
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
    for number, chain in enumerate(chains):
        chain.add(g.Tell, f"status{number or ''}", url=told, method=method, query=query, params=body)
