"""TwiML verbs that bring others into the call: ``<Dial>`` with its nouns, ``<Bridge>``, ``<Enqueue>``, ``<Leave>``.

After a bridge, however it went, the flow goes on: with what ``action`` answers, else with the next verb
(CONTRACTS §0, 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from flows import graph as g
from flows.markup import Element
from flows.orders import BridgeSession, Conference, Dial, Enqueue, LeaveQueue, Order, Target
from flows.targets import is_media, is_url, transfer_target
from flows.templates import Condition, var

from .twiml_options import Options
from .twiml_script import Script, Verb

_Kind = Literal["number", "uri", "device", "user", "group", "queue"]

TARGETS: Mapping[str, _Kind] = {
    "Number": "number",
    "Sip": "uri",
    "Client": "user",
    "User": "user",
    "Device": "device",
    "Queue": "queue",
}
RECORDINGS: Mapping[str, Literal["", "stereo"]] = {
    "do-not-record": "",
    "false": "",
    "true": "stereo",
    "record-from-answer": "stereo",
    "record-from-ringing": "stereo",
    "record-from-answer-dual": "stereo",
    "record-from-ringing-dual": "stereo",
}
STATUS_OPTIONS = ("statusCallback", "statusCallbackEvent", "statusCallbackMethod")
RECORDING_OPTIONS = (
    *("recordingStatusCallback", "recordingStatusCallbackMethod", "recordingStatusCallbackEvent", "recordingTrack"),
    "trim",
)
DIALLED = "dial"
STATUS = "var.dial_status"
"""The outcome of a dial in the flavour's own words."""


def dial(script: Script, verb: Verb) -> bool:
    """Ring somebody and bridge the caller with whoever answers; a conference is joined, a queue served."""
    flavour = script.flavour
    options = script.options(verb.element)
    order = _order(script, verb, options)
    action = options.text("action")
    method = options.method(flavour.method)
    url = script.resolve(verb.element, action) if action else ""
    options.done()
    if order is None:
        verb.chain.add(g.HangUp, "hangup")
        return False
    verb.chain.add(g.Perform, "dial", order=order, into=DIALLED)
    if not url:
        return verb.go_on()
    asked = script.side(verb)
    script.request(asked, verb, url, method, flavour.after_dial, returns=flavour.returns)
    _in_its_words(script, verb, asked.first)
    return flavour.returns


def _in_its_words(script: Script, verb: Verb, then: str) -> None:
    """Put the outcome into :data:`STATUS` in the flavour's words, if it has any, before ``then``."""
    words = script.flavour.dial_words
    if words:
        verb.chain.add(g.SetVariables, "status", values=((STATUS, var(f"{DIALLED}.status")),))
        cases = tuple(g.Case(exit=ours, conditions=(Condition(f"{DIALLED}.status", "==", ours),)) for ours in words)
        branch = verb.chain.add(g.Branch, "words", cases=cases)
        for ours, theirs in words.items():
            named = script.side(verb)
            named.add(g.SetVariables, f"status.{ours}", values=((STATUS, theirs),))
            named.to(then)
            verb.chain.link(branch, {ours: named.first})
    verb.chain.to(then)


def _order(script: Script, verb: Verb, options: Options) -> Order | None:
    """What a ``<Dial>`` asks for; ``None``, reported, when the flavour stops at it."""
    element = verb.element
    nouns = element.children
    rooms = [noun for noun in nouns if noun.name in ("Conference", "Queue")]
    if rooms and len(nouns) > 1:
        message = f"<{rooms[0].name}> stands alone in a <Dial>: nothing else is dialled"
        script.findings.warning("ignored-option", rooms[0].where, message)
    if nouns:
        script.no_text(element)
    if rooms and rooms[0].name == "Queue" and not script.flavour.queues:
        message = "<Queue> cannot be dialled here: the call ends when it comes there"
        script.findings.warning("unsupported", rooms[0].where, message)
        _bridge_options(script, element, options, timeout=0.0)
        return None
    if rooms and rooms[0].name == "Conference":
        verb.chain.add(g.Answer, "answer")
        return _conference(script, rooms[0], options)
    targets = _targets(script, element, rooms or nouns)
    single = len(targets) == 1 and targets[0].kind == "number"
    on_bridge = options.flag("answerOnBridge", default=not (single or script.flavour.dial_answers_endpoints))
    if not on_bridge:
        verb.chain.add(g.Answer, "answer")
    timeout = script.flavour.dial_timeout if single else script.flavour.endpoint_timeout
    return Dial(targets=targets, **_bridge_options(script, element, options, timeout=timeout))


def _bridge_options(script: Script, element: Element, options: Options, *, timeout: float) -> dict[str, Any]:
    strategies: Mapping[str, Literal["simultaneous", "single"]] = {"simultaneous": "simultaneous", "single": "single"}
    strategy = options.choice("strategy", strategies, default="simultaneous")
    if options.flag("sequential", default=False):
        strategy = "single"
    hang_up_on = options.keys("hangupOn", "")
    if options.flag("hangupOnStar", default=False):
        hang_up_on = "*"
    ringback = options.text("ringTone")
    if ringback and not is_media(ringback):
        options.ignored("ringTone", "the caller hears what the other side sends", "a URL of a sound is played")
        ringback = ""
    options.no_effect("continueOnFail", why="the flow goes on after a failure in any case")
    options.no_effect("referUrl", "referMethod", why="the other side cannot refer the caller")
    options.no_effect(*RECORDING_OPTIONS, why="a recording of a bridge is kept as it is, nobody is told")
    return {
        "timeout": options.seconds("timeout", timeout, 1.0, 3600.0),
        "time_limit": options.seconds("timeLimit", script.flavour.dial_limit, 0.0, 86_400.0),
        "strategy": strategy,
        "caller_id": options.text("callerId"),
        "caller_name": options.text("callerName"),
        "hangup_on_key": hang_up_on,
        "record": options.choice("record", RECORDINGS, default=""),
        "ringback": script.resolve(element, ringback) if script.base and ringback else ringback,
        "trunk": options.text("channel"),
        "success_after": options.duration("successfulAfter"),
    }


def _targets(script: Script, element: Element, nouns: list[Element]) -> tuple[Target, ...]:
    targets: list[Target] = []
    if not nouns and element.own_text:
        targets += _target(script, element, "number", element.own_text)
    for noun in nouns:
        if noun.name not in TARGETS:
            script.stray(noun, f"only {', '.join((*TARGETS, 'Conference'))} can be dialled")
            continue
        targets += _noun(script, noun)
    if not targets and not (nouns or element.own_text):
        message = "<Dial> whom? There is nothing in it"
        script.findings.error("missing-target", element.where, message, "as in <Dial>+40212345678</Dial>")
    elif not targets:
        script.findings.error("missing-target", element.where, "nothing in this <Dial> can be dialled")
    return tuple(targets)


def _noun(script: Script, noun: Element) -> list[Target]:
    options = script.options(noun)
    options.no_effect(*STATUS_OPTIONS, why="nobody is told about one leg")
    options.no_effect("url", "method", why="nothing is played to the one who answers")
    options.no_effect("sendDigits", why="no keys are sent to the one who answers")
    options.no_effect("username", "password", why="the trunk's account is used")
    options.no_effect("byoc", "machineDetection", why="the configured trunk is used, and no machine is looked for")
    options.done()
    identity = next((child for child in noun.children if child.name == "Identity" and noun.name == "Client"), None)
    for child in noun.children:
        if child is not identity:
            script.stray(child, f"only text belongs in <{noun.name}>")
    text = identity.own_text if identity is not None else noun.own_text
    return _target(script, noun, TARGETS[noun.name], text)


def _target(script: Script, element: Element, kind: _Kind, text: str) -> list[Target]:
    """The target that ``text`` names, none after an error."""
    if kind not in ("number", "uri"):
        if text:
            return [Target(kind=kind, value=text)]
        script.findings.error("missing-target", element.where, f"<{element.name}> is empty")
        return []
    try:
        value = transfer_target(text)
    except ValueError as error:
        script.findings.error("bad-target", element.where, f"{text[:200]!r} cannot be dialled: {error}")
        return []
    is_uri = value[:1].isalpha()
    if kind == "uri" and not is_uri:
        message = f"{text[:200]!r} cannot be dialled: a SIP URI begins with sip:"
        script.findings.error("bad-target", element.where, message, "a number stands in <Number>")
        return []
    return [Target(kind="uri" if is_uri else "number", value=value)]


def _conference(script: Script, room: Element, dial_options: Options) -> Conference:
    options = script.options(room)
    for child in room.children:
        script.stray(child, "only text belongs in <Conference>")
    if not room.own_text:
        script.findings.error("missing-target", room.where, "<Conference> has no name")
    tones: Mapping[str, tuple[str, str]] = {
        "true": ("default", "default"),
        "false": ("", ""),
        "onenter": ("default", ""),
        "onexit": ("", "default"),
    }
    entry, leaving = options.choice("beep", tones, default=tones["true"])
    starts = options.flag("startConferenceOnEnter", default=True)
    records: Mapping[str, bool] = {"do-not-record": False, "false": False, "record-from-start": True, "true": True}
    limit = dial_options.seconds("timeLimit", script.flavour.dial_limit, 0.0, 86_400.0)
    dial_options.no_effect(
        *("timeout", "callerId", "callerName", "hangupOnStar", "hangupOn", "record", "strategy", "sequential"),
        *("ringTone", "answerOnBridge", "channel", "successfulAfter", "continueOnFail", *RECORDING_OPTIONS),
        why="a conference is joined, nobody is rung",
    )
    order = Conference(
        room=room.own_text,
        moderator=starts,
        wait_for_moderator=not starts,
        ends_with_member=options.flag("endConferenceOnExit", default=False),
        muted=options.flag("muted", default=False),
        deaf=options.flag("deaf", default=False),
        announce_name=options.flag("play_name", default=False),
        most=options.whole("maxParticipants", script.flavour.conference_members, 2, script.flavour.conference_members),
        entry_tone=entry,
        exit_tone=leaving,
        welcome="",
        music=_music(script, room, options, "waitUrl"),
        record=options.choice("record", records, default=False),
        time_limit=limit,
    )
    options.no_effect("waitMethod", why="a sound is fetched with GET")
    options.no_effect("coach", "region", "jitterBufferSize", "participantLabel", why="there is no such thing here")
    options.no_effect("eventCallbackUrl", *STATUS_OPTIONS, why="nobody is told about a conference")
    options.no_effect(*RECORDING_OPTIONS, why="the recording is kept as it is, nobody is told")
    options.done()
    return order


def _music(script: Script, element: Element, options: Options, name: str) -> str:
    """A sound to wait with; a URL that is no sound would have to be asked for TwiML, which is not done."""
    url = options.text(name)
    if not url:
        return ""
    if not is_media(url):
        options.ignored(name, "it is not the URL of a sound", "what is played ends in .wav, .mp3 or .ogg")
        return ""
    return script.resolve(element, url) if script.base or is_url(url) else url


def bridge(script: Script, verb: Verb) -> bool:
    """Bridge the caller with another call of the account (Verboice, CONTRACTS §2.3)."""
    options = script.options(verb.element)
    script.empty(verb.element)
    session = options.text("session_id")
    options.done()
    if not session:
        message = "<Bridge> with whom? It needs session_id, the id of a call"
        script.findings.error("missing-target", verb.where, message)
    script.answer(verb)
    verb.chain.add(g.Perform, "bridge", order=BridgeSession(session=session), into="bridge")
    return verb.go_on()


def enqueue(script: Script, verb: Verb) -> bool:
    """Wait in a queue; afterwards go on with what ``action`` answers, or with the next verb."""
    flavour = script.flavour
    options = script.options(verb.element)
    for child in verb.element.children:
        script.stray(child, "only text belongs in <Enqueue>")
    queue = verb.element.own_text
    action = options.text("action")
    url = script.resolve(verb.element, action) if action else ""
    method = options.method(flavour.method)
    music = _music(script, verb.element, options, "waitUrl")
    every = options.seconds("announcePosition", 0.0, 0.0, 3600.0)
    options.no_effect("waitUrlMethod", why="a sound is fetched with GET")
    options.no_effect("workflowSid", why="there are no workflows, only queues")
    options.done()
    if not queue:
        script.findings.error("missing-target", verb.where, "<Enqueue> into which queue? There is no name in it")
    script.answer(verb)
    order = Enqueue(queue=queue, music=music, announce_every=every, language=script.language)
    verb.chain.add(g.Perform, "queue", order=order, into="queue")
    if not url:
        return verb.go_on()
    script.request(verb.chain, verb, url, method, flavour.after_queue, returns=flavour.returns)
    return flavour.returns


def leave(script: Script, verb: Verb) -> bool:
    """Leave the queue that the caller waits in."""
    script.empty(verb.element)
    script.options(verb.element).done()
    verb.chain.add(g.Perform, "leave", order=LeaveQueue())
    return False
