"""The steps of a MessageBird call flow as steps of the graph.

All that is particular about them is settled here: times in seconds, whose voice ``in`` and ``out`` are, what follows a
transfer (the next step, however it went), when a machine is looked for (on a call that we made, once), and how
keys that are pressed during a step lead to another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal
from urllib.parse import quote

from flows import graph as g
from flows.findings import Findings
from flows.orders import DetectMachine, Dial, SendDigits, StartRecording, Target
from flows.prompts import Draft, Prompt, prompt
from flows.templates import Condition, Text, var

from .compiling import Chain
from .messagebird_document import HEARING, Flow, Step, template

RING = 30.0
"""Seconds that a destination rings when the step does not say."""
BETWEEN_KEYS = 5.0
"""Seconds without a further key that end the entry of several."""
LOOP_GAP = 1.0
"""Seconds of silence before what loops until a key is heard again."""
ANY_KEY = "0123456789*#"
ANSWERING = (*HEARING, "sendKeys")
"""Actions that answer the call; a transfer does when its destination answers, a fetched flow when it comes to one."""

_FOUND = "machine.found"
"""Whether a machine was found, ``yes`` or ``no``; empty before that was asked, and on calls that were not ours."""
_OUTBOUND = Condition("call.direction", "==", "outbound")
_UNASKED = Condition(_FOUND, "absent")
_MACHINE = Condition(_FOUND, "==", "yes")
_SIDES: Mapping[str, Literal["", "caller", "peer", "each"]] = {"": "", "in": "peer", "out": "caller", "both": "each"}

CALL_QUERY = (
    g.Param(name="callID", value=var("call.id"), always=True, kind="uuid"),
    g.Param(name="source", value=var("call.caller"), always=True, strip="+"),
    g.Param(name="destination", value=var("call.callee"), always=True, strip="+"),
    g.Param(name="variables", each="var.", kind="object"),
)
"""What every request for a flow tells of the call: numbers without ``+``, variables only when there are some."""
RECORDING = (
    g.Param(name="id", value=var("recording.id"), always=True, kind="uuid"),
    g.Param(name="legId", value=var("call.leg"), always=True, kind="uuid"),
    g.Param(name="format", value="wav"),
    g.Param(name="status", value="done"),
    g.Param(name="duration", value=var("recording.duration"), always=True, kind="number"),
)
"""The recording object that ``onFinish`` is told."""


def emit(flow: Flow, findings: Findings) -> tuple[dict[str, g.Step], str]:
    """The steps of the graph, in document order, and the first one's id. Steps that nothing leads to are left out."""
    return _Emitter(flow, findings).emit()


class _Emitter:
    def __init__(self, flow: Flow, findings: Findings) -> None:
        self.flow = flow
        self.findings = findings
        self.steps: dict[str, g.Step] = {}
        self.asked: dict[int, bool] = {}  # by place: whether a machine was looked for on every way to the step
        self._overrides: list[tuple[str, dict[str, str]]] = []
        self._ends = False

    def emit(self) -> tuple[dict[str, g.Step], str]:
        self._walk()
        start = Chain(self.steps, "", 0)
        start.add(g.Enter, "enter", path="")
        if self.flow.record:
            if self.flow.steps and self.flow.steps[0].action in ANSWERING:
                start.add(g.Answer, "answer", origin="/record")
            start.add(g.Perform, "record", order=StartRecording(sides="stereo", on="answer"), origin="/record")
        start.to(self._entry(0))
        for place, step in enumerate(self.flow.steps):
            if place in self.asked:
                self._step(place, step)
            else:
                message = f"The `steps[{place}]` step is never reached: nothing leads to it."
                self.findings.warning("unreachable", step.where, message, "give its id to an onKeypressGoto")
        if self._ends:
            Chain(self.steps, "/steps", len(self.flow.steps) + 1).add(g.HangUp, "end")
        for identity, exits in self._overrides:
            start.link(identity, exits)
        return self.steps, start.first

    # --- what leads where

    def _walk(self) -> None:
        """Which steps can be reached, and on which ways a machine has been looked for by then."""
        ahead: deque[tuple[int, bool]] = deque([(0, False)])
        while ahead:
            place, asked = ahead.popleft()
            if place >= len(self.flow.steps) or (place in self.asked and (asked or not self.asked[place])):
                continue
            self.asked[place] = asked and self.asked.get(place, True)
            step = self.flow.steps[place]
            if step.conditions:  # it may be left out
                ahead.append((place + 1, self.asked[place]))
            asked = self.asked[place] or _looks_for_machine(step)
            ahead.extend((target, asked) for target in _targets(place, step))

    def _entry(self, place: int) -> str:
        """The first graph step of the step at ``place``; behind the last one is the end."""
        if place >= len(self.flow.steps):
            self._ends = True
            return f"{len(self.flow.steps) + 1}.end"
        return f"{place + 1}.{'conditions' if self.flow.steps[place].conditions else 'enter'}"

    # --- one step

    def _step(self, place: int, step: Step) -> None:
        chain = Chain(self.steps, step.where, step.number)
        if step.conditions:
            branch = chain.add(g.Branch, "conditions", cases=(g.Case(exit="holds", conditions=step.conditions),))
            self._override(branch, {"holds": f"{step.number}.enter", g.NEXT: self._entry(place + 1)})
        chain.add(g.Enter, "enter", path=quote(step.name, safe="$"))
        _EMIT[step.action](self, chain, place, step)
        if _goes_on(step):
            chain.to(self._entry(place + 1))

    def _override(self, identity: str, exits: dict[str, str]) -> None:
        """Exits that hold whatever the chain makes of them."""
        self._overrides.append((identity, exits))

    def say(self, chain: Chain, place: int, step: Step) -> None:
        chain.add(g.Answer, "answer")
        self._machine(chain, place, step)
        spoken = prompt(step.template("payload"), voice=step.text("voice"), language=step.text("language"))
        loop = step.options.get("loop")
        self._play(chain, place, step, (spoken,), 0 if loop is True else int(loop or step.whole("repeat")))

    def play(self, chain: Chain, place: int, step: Step) -> None:
        chain.add(g.Answer, "answer")
        media: str | list[str] = step.options["media"]
        urls = [media] if isinstance(media, str) else media
        loop = step.options.get("loop")
        prompts = tuple(prompt(media=template(url)) for url in urls)
        self._play(chain, place, step, prompts, 0 if loop is True else int(loop or 1))

    def pause(self, chain: Chain, place: int, step: Step) -> None:
        chain.add(g.Answer, "answer")
        seconds = float(step.whole("length"))
        if step.takes_keys:
            self._collect(chain, place, step, first=seconds)
        else:
            chain.add(g.Pause, "pause", seconds=seconds)

    def _play(self, chain: Chain, place: int, step: Step, prompts: tuple[Prompt | Draft, ...], times: int) -> None:
        """Let ``prompts`` be heard so many times (0: until a key, or endlessly)."""
        if not step.takes_keys:
            chain.add(g.Say, step.action, prompts=prompts, times=times)
        elif times:
            self._collect(chain, place, step, prompts=prompts, repeats=times - 1, first=0.0)
        else:
            collect = self._collect(chain, place, step, prompts=prompts, first=LOOP_GAP)
            self._override(collect, {g.NONE: collect, g.FINISHED: collect})

    def _collect(self, chain: Chain, place: int, step: Step, **fields: Any) -> str:
        """Take the keys that are pressed meanwhile; with some, the step that they lead to follows.

        An end key alone is no entry: what follows is what follows without a key.
        """
        into = f"var.{step.variable}" if step.variable else "digits.keypress"
        most = step.most_keys or (0 if step.end_key else 1)
        collect = chain.add(
            g.Collect,
            step.action,
            into=into,
            least=1,
            most=most,
            finish=step.end_key,
            keys=ANY_KEY,
            between=BETWEEN_KEYS,
            secret=step.secret,
            **fields,
        )
        if step.goto is not None:
            self._override(collect, {g.NEXT: self._entry(step.goto)})
            if _goes_on(step):
                following = self._entry(place + 1)
                self._override(collect, {g.NONE: following, g.FINISHED: following})
        return collect

    def record(self, chain: Chain, place: int, step: Step) -> None:
        chain.add(g.Answer, "answer")
        finish = step.text("finishOnKey")
        stop_keys = {"none": ANY_KEY if step.takes_keys else "", "any": ANY_KEY}.get(finish, finish)
        record = chain.add(
            g.Record,
            "record",
            limit=float(step.whole("maxLength")),
            silence=float(step.whole("timeout")),
            stop_keys=stop_keys,
            beep=False,
            transcribe=step.text("transcribeLanguage") if step.options.get("transcribe") else "",
        )
        if step.variable:
            chain.add(g.SetVariables, "key", values=((f"var.{step.variable}", var("recording.key")),))
        if step.variable or step.goto is not None or step.text("onFinish"):
            self._override(record, {g.UNSUPPORTED: self._entry(place + 1)})  # there is no recording to tell of
        if step.text("onFinish"):
            request: dict[str, Any] = {
                "url": step.template("onFinish"),
                "method": "POST",
                "query": CALL_QUERY,
                "params": RECORDING,
                "encoding": "json",
                "content_type": "-",
            }
            chain.add(g.Fetch, "finished", readers=(("", ("messagebird",)),), **request)
            aside = Chain(self.steps, step.where, step.number)  # who hangs up has finished the recording, too
            self._override(record, {g.HUNG_UP: aside.add(g.Tell, "hungup", **request)})
        if step.goto is not None:
            pressed = g.Case(exit="pressed", conditions=(Condition("recording.key", "exists"),))
            branch = chain.add(g.Branch, "pressed", cases=(pressed,))
            self._override(branch, {"pressed": self._entry(step.goto)})

    def transfer(self, chain: Chain, place: int, step: Step) -> None:
        self._machine(chain, place, step)
        destination = step.template("destination")
        order = Dial(
            targets=(Target(kind=_kind(destination), value=destination),),
            timeout=float(step.whole("timeout")) or RING,
            record=_SIDES[step.text("record")],
            caller_id=var("call.callee") if step.options.get("mask") else "",
        )
        chain.add(g.Perform, "transfer", order=order, into="dial")

    def fetch(self, chain: Chain, place: int, step: Step) -> None:
        chain.add(g.Fetch, "fetch", url=step.template("url"), query=CALL_QUERY, readers=(("", ("messagebird",)),))
        chain.add(g.HangUp, "failed")

    def send_keys(self, chain: Chain, place: int, step: Step) -> None:
        chain.add(g.Answer, "answer")
        tone, gap = step.whole("duration") / 1000, step.whole("interval") / 1000
        chain.add(g.Perform, "keys", order=SendDigits(digits=step.template("keys"), tone=tone, gap=gap))

    def hang_up(self, chain: Chain, place: int, step: Step) -> None:
        chain.add(g.HangUp, "hangup")

    def _machine(self, chain: Chain, place: int, step: Step) -> None:
        """On a call that we made, find out who has picked up, unless that is known; hang up if that is the wish."""
        wish = step.text("ifMachine")
        if wish == "continue" or (wish == "delay" and self.asked[place]):
            return
        cases = []
        if wish == "hangup":
            cases.append(g.Case(exit="machine", conditions=(_MACHINE,)))
        if not self.asked[place]:
            cases.append(g.Case(exit="ask", conditions=(_OUTBOUND, _UNASKED)))
        branch = chain.add(g.Branch, "who", cases=tuple(cases))
        after = f"{step.number}.{step.action}"
        machine = f"{step.number}.machine"
        if not self.asked[place]:
            order = DetectMachine(patience=step.whole("machineTimeout") / 1000, wait=wish == "delay")
            ask = chain.add(g.Perform, "ask", order=order)
            chain.add(g.SetVariables, "human", values=((_FOUND, "no"),))
            self._override(branch, {"ask": ask, g.NEXT: after})
            self._override(ask, {"machine": machine})
            aside = Chain(self.steps, step.where, step.number)
            aside.add(g.SetVariables, "machine", values=((_FOUND, "yes"),))
            aside.to(after)
        if wish == "hangup":
            aside = Chain(self.steps, step.where, step.number)
            aside.add(g.HangUp, "unwanted", reason="a machine picked up")
            self._override(branch, {"machine": aside.first})
            if machine in self.steps:
                self._override(machine, {g.NEXT: aside.first})


_EMIT: Mapping[str, Callable[[_Emitter, Chain, int, Step], None]] = {
    "say": _Emitter.say,
    "play": _Emitter.play,
    "pause": _Emitter.pause,
    "record": _Emitter.record,
    "transfer": _Emitter.transfer,
    "fetchCallFlow": _Emitter.fetch,
    "sendKeys": _Emitter.send_keys,
    "hangup": _Emitter.hang_up,
}


def _targets(place: int, step: Step) -> Iterator[int]:
    """The places of the steps that may follow this one."""
    if _goes_on(step):
        yield place + 1
    if step.goto is not None and step.takes_keys:
        yield step.goto


def _goes_on(step: Step) -> bool:
    """Whether the next step may follow: not after what loops until a key that leads elsewhere."""
    endless = step.options.get("loop") is True and step.takes_keys and step.goto is not None
    return not endless and step.action not in ("hangup", "fetchCallFlow")


def _looks_for_machine(step: Step) -> bool:
    return step.action in ("say", "transfer") and step.text("ifMachine") != "continue"


def _kind(destination: Text) -> Literal["number", "uri"]:
    """Whether it is a URI is seen from its beginning; what is a variable there is taken for a number."""
    return "uri" if str(destination).lower().startswith(("sip:", "sips:", "tel:")) else "number"
