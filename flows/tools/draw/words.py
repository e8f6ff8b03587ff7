"""A step in a few words: what it does, what is heard, and the details that matter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from flows import graph as g
from flows import orders as o
from flows.prompts import Draft, Prompt
from flows.tools.calllog import place_in_words

Kind = Literal["speak", "hear", "call", "web", "logic", "end"]


@dataclass(frozen=True, slots=True)
class Described:
    """``said`` is what is heard, one text for each prompt; ``details`` are lines of small print."""

    title: str
    kind: Kind
    said: tuple[str, ...] = ()
    details: tuple[str, ...] = ()


EXITS = {
    g.NOMATCH: "no match",
    g.SILENCE: "silence",
    g.FAILED: "failed",
    g.NONE: "nothing",
    g.SHORT: "too few keys",
    g.HUNG_UP: "hung up",
    g.FINISHED: "finished early",
    g.UNSUPPORTED: "not possible",
}


def exit_in_words(step: g.Step, name: str) -> str:
    """An exit of ``step``, as it is written where a line begins."""
    if name != g.NEXT:
        return EXITS.get(name, name)
    if isinstance(step, g.Fetch | g.Jump):  # whoever goes on in another flow comes here only when it comes back
        return "back from there" if step.returns else EXITS[g.FAILED]
    return "otherwise" if isinstance(step, g.Listen | g.Branch) else "done"


def describe(step: g.Step) -> Described:  # noqa: C901 - one case for each verb
    """``step`` in a few words."""
    match step:
        case g.Say():
            played = all(prompt.media for prompt in step.prompts)
            return Described("Play" if played else "Say", "speak", said(step.prompts), _say(step))
        case g.Pause():
            return Described(f"Pause {step.seconds:g} s", "speak", (), _until(step.stop_keys))
        case g.Listen():
            return Described("Listen", "hear", said(step.prompts), _listen(step))
        case g.Collect():
            return Described("Collect keys", "hear", said(step.prompts), (_collect(step),))
        case g.Record():
            return Described("Record", "hear", said(step.prompts), _record(step))
        case g.Fetch():
            return Described("Fetch a flow", "web", (), (f"{step.method} {step.url}",))
        case g.Jump():
            return Described("Go on with a flow", "web", (), (str(step.flow),))
        case g.Tell():
            return Described("Tell", "web", (), (f"{step.method} {step.url}",))
        case g.Subscribe():
            return Described("Events", "web", (), (f"events to {step.url}",))
        case g.Forward():
            return Described("Calls", "web", (), (f"list of calls to {step.url}",))
        case g.Branch():
            return Described("Branch", "logic")
        case g.SetVariables():
            return Described("Set", "logic", (), tuple(f"{name} = {value or '(empty)'}" for name, value in step.values))
        case g.Flush():
            return Described("Forget keys", "logic", (), (f"and {step.prefix}…",) if step.prefix else ())
        case g.Enter():
            return Described("Node", "logic", (), (place_in_words(step.path),))
        case g.Notify():
            return Described("Notify", "web")
        case g.Answer():
            return Described("Answer", "call")
        case g.Transfer():
            return Described("Transfer", "call", (), (f"to {step.target}",))
        case g.HangUp():
            return Described("Hang up", "end", (), (step.reason,) if step.reason else ())
        case g.Perform():
            return _order(step.order)
        case _:
            return Described(step.verb, "call")


def said(prompts: Iterable[Prompt | Draft]) -> tuple[str, ...]:
    """Texts in quotation marks, sounds by their names."""
    return tuple(
        f"♪ {str(prompt.media).rpartition('/')[2] or prompt.media}" if prompt.media else f"“{prompt.text}”"
        for prompt in prompts
        if prompt.media or prompt.text
    )


def cases(step: g.Branch) -> dict[str, str]:
    """The conditions of each exit, in words."""
    words: dict[str, str] = {}
    for case in step.cases:
        text = " and ".join(_condition(each.variable, each.operator, str(each.value)) for each in case.conditions)
        words[case.exit] = f"{words[case.exit]} or {text}" if case.exit in words else text
    return words


def _condition(variable: str, operator: str, value: str) -> str:
    if operator in ("exists", "absent"):
        return f"{variable} {'is set' if operator == 'exists' else 'is empty'}"
    return f"{variable} {operator} {value or '(empty)'}"


def _say(step: g.Say) -> tuple[str, ...]:
    times = () if step.times == 1 else ("again and again",) if step.times == 0 else (f"{step.times} times",)
    return times + _until(step.stop_keys)


def _until(keys: str) -> tuple[str, ...]:
    if not keys:
        return ()
    return ("any key ends it",) if len(keys) >= 12 else (f"ended by {' '.join(keys)}",)


def _listen(step: g.Listen) -> tuple[str, ...]:
    parts = [f"waits {step.seconds:g} s"] if step.seconds is not None else []
    if step.repeats is not None:
        parts.append(f"asks {step.repeats + 1} times" if step.repeats else "asks once")
    return (", ".join(parts),) if parts else ()


def _collect(step: g.Collect) -> str:
    if step.most:
        many = f"{step.most}" if step.least == step.most else f"{step.least} to {step.most}"
    else:
        many = f"{step.least} or more"
    parts = [f"{many} {'key' if many == '1' else 'keys'} into {step.into}"]
    if step.finish:
        parts.append(f"{' '.join(step.finish)} ends")
    if step.secret:
        parts.append("secret")
    return ", ".join(parts)


def _record(step: g.Record) -> tuple[str, ...]:
    parts = [f"up to {step.limit:g} s"] if step.limit else []
    if step.silence:
        parts.append(f"until {step.silence:g} s of silence")
    if step.upload is not None:
        parts.append(f"sent to {step.upload.url}")
    return (", ".join(parts),) if parts else ()


def _order(order: o.Order) -> Described:  # noqa: C901 - one case for each order
    match order:
        case o.Dial():
            targets = ", ".join(str(target.value) for target in order.targets)
            return Described("Dial", "call", (), (targets, f"for {order.timeout:g} s, {order.strategy}"))
        case o.Conference():
            return Described("Conference", "call", (), (str(order.room),))
        case o.Voicemail():
            return Described("Voicemail", "call", (), (f"{order.action} {order.box}",))
        case o.Park():
            return Described("Park", "call", (), _some(f"slot {order.slot}" if order.slot else "a free slot"))
        case o.Enqueue():
            return Described("Queue", "call", (), _some(str(order.queue)))
        case o.SendDigits():
            return Described("Send keys", "call", (), _some(str(order.digits)))
        case o.Presence():
            return Described("Presence", "call", (), (f"{order.entity} is {order.state}",))
        case o.Respond():
            return Described("Refuse", "end", said(order.prompts), (f"{order.code} {order.reason}".rstrip(),))
        case o.DetectMachine():
            return Described("Person or machine?", "hear", (), (f"for {order.patience:g} s",))
        case o.StartRecording():
            return Described("Start recording", "call", (), _some(order.label))
        case o.StopRecording():
            return Described("Stop recording", "call")
        case o.BridgeSession():
            return Described("Bridge", "call", (), _some(str(order.session)))
        case _:
            return Described(_spaced(type(order).__name__), "call")


def _some(*lines: str) -> tuple[str, ...]:
    return tuple(line for line in lines if line)


def _spaced(name: str) -> str:
    """``LeaveQueue`` as ``Leave queue``."""
    words: Sequence[str] = "".join(f" {c.lower()}" if c.isupper() else c for c in name).split()
    return " ".join(words).capitalize()
