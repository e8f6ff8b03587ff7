"""The TwiML compiler: an XML document of verbs becomes a step graph. One compiler, three flavours.

A document is a ``<Response>`` with verbs in it, which are carried out one after the other; after the last one the
call is hung up. Verbs that ask a URL what comes next (``<Redirect>``, ``<Gather>``, ``<Record>``, ``<Dial action>``)
put the document that it answers in place of this one. What the flavours do differently is in
:mod:`flows.dialects.twiml_flavours`; CONTRACTS §2.3, §3.5 and §6 say what each verb means.

=====================================================  =====================================
``Say Play Pause Hangup Reject Redirect Set``          here
``Gather Record``                                      :mod:`flows.dialects.twiml_asking`
``Dial Bridge Enqueue Leave``                          :mod:`flows.dialects.twiml_dialling`
=====================================================  =====================================
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from flows import graph as g
from flows.findings import Findings, has_errors
from flows.markup import Element, parse_xml
from flows.orders import Respond, SendDigits
from flows.prompts import Prompt

from .compiling import Chain, Compiled, kind_of
from .twiml_asking import gather, record
from .twiml_dialling import bridge, dial, enqueue, leave
from .twiml_flavours import DIGITS, PARAMS, PIVOT, TWIML, VERBOICE, Flavour
from .twiml_options import Options
from .twiml_script import Script, Verb

MAX_TONES = 64
"""Characters of ``digits`` in a ``<Play>``."""
LONGEST_PAUSE = 3600.0
WAIT = 0.5
"""Seconds that a ``w`` among digits stands for."""

_NAME = re.compile(r"[A-Za-z_][\w.-]{0,63}\Z", re.ASCII)


def compile_twiml(document: object, *, name: str = "", language: str = "", base: str = "") -> Compiled:
    """Compile a TwiML document with Twilio's defaults. Never raises: what is wrong is among the findings.

    ``document`` is XML (``str`` or ``bytes``), ``base`` the URL that it came from: relative URLs are seen from there,
    and it is what a missing ``action`` means. ``language`` is that of texts which name none.
    """
    return _compile(document, TWIML, name, language, base)


def compile_verboice_twiml(document: object, *, name: str = "", language: str = "", base: str = "") -> Compiled:
    """The same as Verboice's broker reads it."""
    return _compile(document, VERBOICE, name, language, base)


def compile_pivot(document: object, *, name: str = "", language: str = "", base: str = "") -> Compiled:
    """The same as Kazoo's Pivot reads it."""
    return _compile(document, PIVOT, name, language, base)


def _compile(document: object, flavour: Flavour, name: str, language: str, base: str) -> Compiled:
    findings = Findings()
    root = _read(document, findings)
    if root is None:
        return Compiled(None, findings.all())
    script = Script(flavour, findings, language=language, base=base)
    start = _write(script, root)
    if has_errors(findings):
        return Compiled(None, findings.all())
    return Compiled(g.Graph(script.steps, start, name=name), findings.all())


def _read(document: object, findings: Findings) -> Element | None:
    if isinstance(document, bytearray | memoryview):
        document = bytes(document)
    if not isinstance(document, str | bytes):
        findings.error("wrong-type", "", f"{kind_of(document)} where an XML text should be")
        return None
    root = parse_xml(document, findings)
    if root is not None and root.name != "Response":
        message = f"the document is a <{root.name[:80]}>, not a <Response>"
        findings.error("bad-root", root.where, message, "verbs stand in <Response> … </Response>")
        return None
    return root


def _write(script: Script, root: Element) -> str:
    """Write the steps of a document; the first one's id."""
    Options(root, script.findings).done()
    script.no_text(root)
    verbs = [
        (position, element)
        for position, element in enumerate(root.children, 1)
        if element.name in _VERBS or _unknown(script, element)
    ]
    entry = Chain(script.steps, root.where, 0)
    start = entry.add(g.Enter, "enter", path="")
    if not verbs:
        script.findings.info("says-nothing", root.where, "there is no verb in it: the call just ends")
        return start
    entry.to(_first(verbs[0][0]))
    for index, (position, element) in enumerate(verbs):
        following = _first(verbs[index + 1][0]) if index + 1 < len(verbs) else ""
        chain = Chain(script.steps, element.where, position)
        chain.add(g.Enter, "enter", path=f"{element.name}.{position}")
        goes_on = _VERBS.get(element.name, _stop)(script, Verb(element, position, chain, following))
        if not goes_on:
            if following:
                never = verbs[index + 1][1]
                message = f"<{never.name[:80]}> and what follows is never reached after <{element.name[:80]}>"
                script.findings.warning("unreachable", never.where, message)
            break
    return start


def _first(position: int) -> str:
    return f"{position}.enter"


def _unknown(script: Script, element: Element) -> bool:
    """Report a verb that nobody knows, by the flavour's policy; whether it is written down all the same."""
    name = element.name[:80]
    policy = script.flavour.unknown_verb
    near = [] if script.findings.full else difflib.get_close_matches(name.capitalize(), _VERBS, 1)
    hint = f"did you mean <{near[0]}>?" if near else f"known are {', '.join(_VERBS)}"
    told = {
        "skip": "it is skipped",
        "stop": "the call ends when it comes there",
        "refuse": "the whole flow is invalid",
    }
    message = f"<{name}> is not a verb: {told[policy]}"
    script.findings.add("unknown-verb", "error" if policy == "refuse" else "warning", element.where, message, hint)
    return policy == "stop"


def _stop(script: Script, verb: Verb) -> bool:
    verb.chain.add(g.HangUp, "hangup", reason=f"<{verb.name[:80]}> is not a verb")
    return False


# --- verbs: each writes its steps, and says whether the next verb can be reached ---------


def _say(script: Script, verb: Verb) -> bool:
    options = script.options(verb.element)
    script.answer(verb)
    return _sound(script, verb, options, script.spoken(verb.element, options))


def _play(script: Script, verb: Verb) -> bool:
    options = script.options(verb.element)
    script.answer(verb)
    prompt = script.played(verb.element)
    tones = options.text("digits")
    if prompt is None and not tones:
        message = "<Play> of what? There is no URL in it"
        script.findings.error("missing-media", verb.where, message, "as in <Play>https://example.org/a.wav</Play>")
    if tones:
        _tones(script, verb, tones)
    return _sound(script, verb, options, prompt)


def _sound(script: Script, verb: Verb, options: Options, prompt: Prompt | None) -> bool:
    times = script.times(options)
    stop_keys = options.keys("terminators", script.flavour.stop_keys)
    options.done()
    if prompt is None:
        return verb.go_on()
    into = DIGITS if stop_keys else ""
    verb.chain.add(g.Say, "say", prompts=(prompt,), times=times, stop_keys=stop_keys, into=into)
    endless = times == 0 and not stop_keys
    return False if endless else verb.go_on()


def _tones(script: Script, verb: Verb, tones: str) -> None:
    """``digits`` of a ``<Play>``: keys to send, ``w`` for half a second of nothing."""
    text = tones.lower()
    if len(text) > MAX_TONES or not re.fullmatch(r"[0-9*#a-dw]+", text):
        message = f"digits of <Play> are {tones[:80]!r}: at most {MAX_TONES} of 0-9 * # A-D w are possible"
        script.findings.error("bad-value", verb.where, message)
        return
    for number, part in enumerate(re.findall(r"w+|[^w]+", text)):
        if part.startswith("w"):
            verb.chain.add(g.Pause, f"wait{number}", seconds=len(part) * WAIT)
        else:
            verb.chain.add(g.Perform, f"tones{number}", order=SendDigits(digits=part.upper()))


def _pause(script: Script, verb: Verb) -> bool:
    options = script.options(verb.element)
    script.empty(verb.element)
    script.answer(verb)
    seconds = options.seconds("length", 1.0, 0.0, LONGEST_PAUSE)
    options.done()
    verb.chain.add(g.Pause, "pause", seconds=seconds)
    return verb.go_on()


def _hang_up(script: Script, verb: Verb) -> bool:
    script.empty(verb.element)
    script.options(verb.element).done()
    script.answer(verb)
    verb.chain.add(g.HangUp, "hangup")
    return False


def _reject(script: Script, verb: Verb) -> bool:
    options = script.options(verb.element)
    script.empty(verb.element)
    codes = script.flavour.reject_codes
    code = options.choice("reason", codes, default=codes["rejected"])
    media = options.text("prompt")
    if media and (script.base or "://" in media):
        media = script.resolve(verb.element, media)
    options.done()
    reason = "Busy Here" if code == codes["busy"] else "Rejected"
    order = Respond(code=code, reason=reason, prompts=(Prompt(media=media),) if media else ())
    verb.chain.add(g.Perform, "reject", order=order)
    verb.chain.add(g.HangUp, "hangup")
    return False


def _redirect(script: Script, verb: Verb) -> bool:
    options = script.options(verb.element)
    script.answer(verb)
    method = options.method(script.flavour.method)
    options.done()
    _variables(script, verb)
    text = verb.element.own_text
    if not text and not script.base:
        message = "<Redirect> where to? There is no URL in it, and the document has none of its own"
        script.findings.error("missing-url", verb.where, message)
    url = script.resolve(verb.element, text) if text else script.base
    script.request(verb.chain, verb, url, method, returns=script.flavour.returns)
    return script.flavour.returns


def _set(script: Script, verb: Verb) -> bool:
    script.no_text(verb.element)
    script.options(verb.element).done()
    script.answer(verb)
    _variables(script, verb)
    if not verb.element.children:
        message = "<Set> without a <Variable> sets nothing"
        script.findings.warning("missing-variable", verb.where, message, '<Variable key="name" value="…"/>')
    return verb.go_on()


def _variables(script: Script, verb: Verb) -> None:
    """The ``<Variable key value/>`` in an element: variables of the flow, sent with every request from here on."""
    values: list[tuple[str, str]] = []
    for child in verb.element.children:
        if child.name != "Variable":
            script.stray(child, f"only <Variable> belongs in <{verb.name}>")
            continue
        options = script.options(child)
        script.empty(child)
        key, value = options.text("key"), options.text("value")
        options.done()
        if _NAME.match(key) and key.casefold() in script.flavour.owned:
            _owned(script, child, key)
        elif _NAME.match(key):
            values += [(f"var.{key}", value), (f"{PARAMS}{key}", value)]
        else:
            message = f"key of <Variable> is {key[:80]!r}: a name has letters, digits, - . _ and begins with a letter"
            script.findings.error("bad-value", child.where, message)
    if values:
        verb.chain.add(g.SetVariables, "set", values=tuple(values))


def _owned(script: Script, variable: Element, key: str) -> None:
    """Report a variable with the name of a parameter of the requests themselves, by the flavour's policy."""
    refused = script.flavour.unknown_verb == "refuse"
    message = f"key of <Variable> is {key!r}, which requests have of their own"
    message += "" if refused else ": it is not set"
    script.findings.add("reserved-name", "error" if refused else "warning", variable.where, message, "another name")


_VERBS: Mapping[str, Callable[[Script, Verb], bool]] = MappingProxyType(
    {
        "Say": _say,
        "Play": _play,
        "Pause": _pause,
        "Gather": gather,
        "Record": record,
        "Dial": dial,
        "Redirect": _redirect,
        "Hangup": _hang_up,
        "Reject": _reject,
        "Set": _set,
        "Bridge": bridge,
        "Enqueue": enqueue,
        "Leave": leave,
    }
)
