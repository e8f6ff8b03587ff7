"""Modules that are heard: ``tts`` (and its alias ``say``), ``play``, ``audio_macro``.

They answer the call first. A key of ``terminators`` ends what is heard, is put into the collection ``default`` and
waits for the next module that takes keys (CONTRACTS §3.3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from flows import graph as g
from flows.dialects.options import Options
from flows.prompts import Draft, Prompt

from .node import Module, Node

DEFAULT = f"digits.{g.DEFAULT_COLLECTION}"
"""The variable of the collection that keys go to when nobody names one."""
_SCHEME = re.compile(r"([A-Za-z][\w+.-]*)://")


def _tts(node: Node, options: Options) -> None:
    text = options.text("text")
    if not text:
        node.missing("text", "nothing is said")
    node.answer()
    prompt = Prompt(text=text, voice=options.text("voice"), language=node.language(options))
    _heard(node, options, (prompt,) if text else (), times=0 if options.flag("endless_playback") else 1)


def _play(node: Node, options: Options) -> None:
    media = options.text("id")
    if not media:
        node.missing("id", "nothing is played")
    if options.flag("answer"):
        node.answer()
    times = 0 if options.flag("endless_playback") else options.whole("loop_count")
    _heard(node, options, (sound(node, options, "id"),) if media else (), times=times)


def _audio_macro(node: Node, options: Options) -> None:
    node.answer()
    prompts = []
    for macro in options.groups("macros"):
        macro.report_ignored()
        kind = macro.text("macro")
        name = "id" if kind in ("play", "prompt") else "text"
        if not macro.text(name):
            message = f"{kind}: {name} is missing: it is not heard"
            node.findings.warning("missing-option", macro.where, message)
        elif name == "id":
            prompts.append(sound(node, macro, "id"))
        else:
            voice = macro.text("voice") if kind == "tts" else ""
            language = macro.text("language") or node.language(options)
            prompts.append(Prompt(text=macro.text("text"), voice=voice, language=language))
    _heard(node, options, tuple(prompts), times=1)


def _heard(node: Node, options: Options, prompts: tuple[Prompt | Draft, ...], *, times: int) -> None:
    if prompts:
        node.add(g.Say, "say", prompts=prompts, times=times, stop_keys=keys_of(options, "terminators"), into=DEFAULT)
    node.go_on()


def keys_of(options: Options, name: str) -> str:
    """A list of keys as one text, each once."""
    return "".join(dict.fromkeys(options.texts(name)))


def sound(node: Node, options: Options, name: str) -> Prompt:
    """A media id or URL to play."""
    media = options.text(name)
    scheme = _SCHEME.match(media)
    if scheme and scheme.group(1).lower() not in ("http", "https"):
        message = f"{name}: {scheme.group(1)}:// cannot be played: it is not heard"
        node.findings.warning("bad-media", options.at(name), message, "a stored sound, or a URL of http or https")
    return Prompt(media=media)


MODULES: Mapping[str, Module] = {"tts": _tts, "say": _tts, "play": _play, "audio_macro": _audio_macro}
