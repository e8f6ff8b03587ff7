"""Writing TwiML: verbs one after the other.

A document does not choose by itself what comes next: only the server that a ``<Gather>`` asks does. So what a menu
leads to is lost, and told, unless a request follows the keys anyway.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

from flows import graph as g
from flows import orders as o
from flows.prompts import Prompt
from flows.targets import is_media, is_url

from .losses import Losses
from .shape import Act, Block, Menu
from .writing import Writer, only_prompts, rest_of

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOUNS = {"number": "Number", "uri": "Sip", "device": "Device", "user": "Client", "queue": "Queue"}
_VOICES = {"male": "man", "female": "woman"}

Attributes = Mapping[str, str | int | None]


class TwimlWriter(Writer):
    dialect = "TwiML"

    def __init__(self, losses: Losses, most: int) -> None:
        super().__init__(losses, most)
        self.lines: list[str] = []

    def document(self, block: Block, title: str) -> str:
        self.block(block)
        body = "".join(f"    {line}\n" for line in self.lines)
        head = '<?xml version="1.0" encoding="UTF-8"?>\n'
        return f"{head}<Response>\n{body}</Response>\n"

    def refuses(self, step: g.Step) -> bool:
        match step:
            case g.Perform(order=o.Dial(targets=targets)):
                return not any(target.kind in _NOUNS for target in targets)
            case g.Perform(order=order):
                return isinstance(order, o.Voicemail | o.Park | o.BridgeSession | o.Presence | o.DetectMachine)
            case _:
                return isinstance(step, g.Jump)

    def block(self, block: Block) -> None:
        """Write down a block, and what a silent caller hears of what follows it."""
        while True:
            block = self.straight(block)
            for number, act in enumerate(block.acts):
                rest = rest_of(block, number)
                following = rest.acts[0].step if rest.acts else None
                if not self.room(act.step.origin):
                    return
                if isinstance(act.step, g.Collect) and isinstance(following, g.Fetch):
                    self._gather_and_ask(act.step, following)
                    return
                if self._act(act, rest):
                    return
            if not isinstance(block.end, Menu):
                self.verb("Hangup")
                return
            self._menu(block.end)
            block = block.end.silence

    def verb(self, name: str, attributes: Attributes | None = None, content: str | list[str] | None = None) -> None:
        """One element: with text, with lines of elements in it, or empty."""
        start = f"{name}{_written(attributes or {})}"
        if content is None or content == []:
            self.lines.append(f"<{start}/>")
        elif isinstance(content, str):
            self.lines.append(f"<{start}>{escape(_clean(content))}</{name}>")
        else:
            self.lines += [f"<{start}>", *(f"    {line}" for line in content), f"</{name}>"]

    # --- speaking -----------------------------------------------------------------------------

    def _sound(self, step: g.Step, prompt: Prompt, *, times: int = 1, stop_keys: str = "") -> None:
        more: dict[str, str | int | None] = {"loop": times if times != 1 else None, "terminators": stop_keys or None}
        if prompt.media:
            self.verb("Play", more, prompt.media)
            return
        if _clean(prompt.text) != prompt.text:
            self.losses.changed("text", step.origin, "characters that XML cannot have are taken out of a text")
        voice = _VOICES.get(prompt.voice, prompt.voice)
        self.verb("Say", {"voice": voice or None, "language": prompt.language or None, **more}, prompt.text)

    def _inside(self, step: g.Step, prompts: tuple[Prompt, ...]) -> list[str]:
        """Prompts as lines that stand in a ``<Gather>``."""
        outside, self.lines = self.lines, []
        for prompt in prompts:
            self._sound(step, prompt)
        inside, self.lines = self.lines, outside
        return inside

    # --- menus ----------------------------------------------------------------------------------

    def _menu(self, menu: Menu) -> None:
        """Ask as often as the menu does."""
        step = g.Collect(id="", origin=menu.where, into="", first=menu.seconds, most=menu.most, finish=menu.finish)
        (asked, method) = _request(menu)
        if not asked:
            for choice in menu.choices:
                name = choice.pattern or ", ".join(choice.keys) or "any key"
                message = f"what {name!r} leads to is lost: a server has to answer the keys"
                self.losses.lost("branch", choice.where or menu.where, message, "name it as the action of the Gather")
            if not menu.nomatch.empty and menu.nomatch != menu.silence:
                self.losses.lost("branch", menu.where, "what a wrong key leads to is lost")
        for attempt in range(menu.attempts):
            prompts = self.fixed(step, menu.again if attempt else menu.prompts)
            action: Attributes = {"action": asked, "method": method} if asked else {}
            self.verb("Gather", self._keys(step, action), self._inside(step, only_prompts(prompts)))

    def _keys(self, step: g.Collect, action: Attributes) -> Attributes:
        seconds = max(1, round(step.first))
        if seconds != step.first:
            self.losses.changed("time", step.origin, f"{step.first:g} seconds become {seconds}: TwiML knows whole ones")
        finish = step.finish if step.finish != "#" else None
        secret = "true" if step.secret else None
        return {"timeout": seconds, "numDigits": step.most or None, "finishOnKey": finish, "secret": secret, **action}

    def _gather_and_ask(self, step: g.Collect, following: g.Fetch) -> None:
        """Keys, and the request that tells them: one verb."""
        action = {"action": self.plain(following, following.url, "the URL"), "method": following.method}
        self._reader(following)
        inside = self._inside(step, only_prompts(self.fixed(step, step.prompts)))
        self.verb("Gather", self._keys(step, {**action, "actionOnEmptyResult": "true"}), inside)

    # --- acts -----------------------------------------------------------------------------------

    def _act(self, act: Act, rest: Block) -> bool:
        """Write an act; whether the document is over behind it."""
        step = act.step
        self.lost_exits(act, rest)
        match step:
            case g.Say():
                self._say(step)
            case g.Pause():
                self._pause(step)
            case g.Collect():
                inside = self._inside(step, only_prompts(self.fixed(step, step.prompts)))
                self.verb("Gather", self._keys(step, {}), inside)
                self.losses.lost("keys", step.origin, "the keys are taken, and nobody is told them", "name an action")
            case g.Record():
                self._record(step)
            case g.Fetch():
                return self._fetch(step, rest)
            case g.Transfer():
                self._transfer(step)
            case g.SetVariables():
                self._variables(step)
            case g.Perform():
                return self._order(step, step.order)
            case g.Flush():
                self.flushed(step)
            case _:
                self.lost_step(step)
        return False

    def _say(self, step: g.Say) -> None:
        prompts = only_prompts(self.fixed(step, step.prompts))
        times = step.times if len(prompts) == 1 else 1
        if step.times not in (1, times) and prompts:
            self.losses.lost("repeat", step.origin, "several prompts are not repeated together: each is heard once")
        if len(prompts) > 1 and step.stop_keys:
            self.losses.changed("keys", step.origin, "a key ends the prompt that is heard, not those behind it")
        for prompt in prompts:
            self._sound(step, prompt, times=min(times, 1000), stop_keys=step.stop_keys)

    def _pause(self, step: g.Pause) -> None:
        seconds = min(max(1, round(step.seconds)), 3600)
        if seconds != step.seconds:
            self.losses.changed("time", step.origin, f"a pause of {step.seconds:g} s becomes one of {seconds}")
        self.verb("Pause", {"length": seconds})

    def _transfer(self, step: g.Transfer) -> None:
        target = self.plain(step, step.target, "the target")
        noun = "Sip" if ":" in target else "Number"
        if target:
            self.verb("Dial", {}, [f"<{noun}>{escape(_clean(target))}</{noun}>"])
        message = "TwiML bridges the caller and stays in the call; it goes on when that is over"
        self.losses.changed("transfer", step.origin, message)

    def _record(self, step: g.Record) -> None:
        for prompt in self.fixed(step, step.prompts):
            self._sound(step, prompt)
        url = None
        if step.upload is not None:
            url = self.plain(step, step.upload.url, "the URL of a recording") or None
        self.verb(
            "Record",
            {
                "maxLength": min(max(1, round(step.limit)), 3600) if step.limit else 3600,
                "timeout": max(1, round(step.silence)) if step.silence else 3600,
                "finishOnKey": step.stop_keys,
                "playBeep": "true" if step.beep else "false",
                "trim": "trim-silence" if step.trim else "do-not-trim",
                "transcribe": "true" if step.transcribe else None,
                "recordingUrl": url,
            },
        )

    def _reader(self, step: g.Fetch) -> None:
        readers = {reader for _, several in step.readers for reader in several}
        if not readers & {"twiml", "pivot", "verboice"}:
            message = f"{step.url} is asked for TwiML, with other parameters: the server must answer so"
            self.losses.lost("request", step.origin, message)

    def _fetch(self, step: g.Fetch, rest: Block) -> bool:
        url = self.plain(step, step.url, "the URL")
        if not url:
            return False
        self._reader(step)
        self.verb("Redirect", {"method": step.method}, url)
        if step.returns:
            self.lost_rest(step, rest, "when the fetched document is")
        return True

    def _variables(self, step: g.SetVariables) -> None:
        lines = []
        for name, value in step.values:
            if name.startswith("var."):
                text = _clean(self.plain(step, value, f"the value of {name}"))
                lines.append(f"<Variable key={quoteattr(name.removeprefix('var.'))} value={quoteattr(text)}/>")
            elif not name.startswith("param."):
                self.losses.lost("variable", step.origin, f"{name} cannot be set in TwiML")
        if lines:
            self.verb("Set", {}, lines)

    def _order(self, step: g.Perform, order: o.Order) -> bool:
        match order:
            case o.Dial():
                self._dial(step, order)
            case o.Conference():
                self._conference(step, order)
            case o.Enqueue():
                queue = self.plain(step, order.queue, "the queue")
                if queue:
                    every = round(order.announce_every) or None
                    self.verb("Enqueue", {"waitUrl": self._music(step, order.music), "announcePosition": every}, queue)
                    self.unsaid(step, order, ("queue", "music", "announce_every", "language"))
            case o.LeaveQueue():
                self.verb("Leave")
            case o.SendDigits():
                digits = self.plain(step, order.digits, "the keys")
                if digits:
                    self.verb("Play", {"digits": digits})
                    self.unsaid(step, order, ("digits",))
            case o.Respond():
                self._reject(step, order)
                return True
            case _:
                self.lost_step(step)
        return False

    def _reject(self, step: g.Perform, order: o.Respond) -> None:
        if order.code not in (486, 603):
            message = f"the call is rejected with 603, not with {order.code} {order.reason}".rstrip()
            self.losses.changed("order", step.origin, message)
        if order.prompts:
            self.losses.lost("prompts", step.origin, "what is heard before the call is rejected is lost")
        self.verb("Reject", {"reason": "busy" if order.code == 486 else "rejected"})

    def _conference(self, step: g.Perform, order: o.Conference) -> None:
        room = self.plain(step, order.room, "the room")
        if not room:
            return
        beep = {("default", ""): "onEnter", ("", "default"): "onExit", ("", ""): "false"}
        said: Attributes = {
            "muted": "true" if order.muted else None,
            "deaf": "true" if order.deaf else None,
            "play_name": "true" if order.announce_name else None,
            "beep": beep.get((order.entry_tone, order.exit_tone)),
            "startConferenceOnEnter": "false" if order.wait_for_moderator and not order.moderator else None,
            "endConferenceOnExit": "true" if order.ends_with_member else None,
            "maxParticipants": order.most if 2 <= order.most < 250 else None,
            "waitUrl": self._music(step, order.music),
            "record": "record-from-start" if order.record else None,
        }
        noun = f"Conference{_written(said)}"
        limit = round(order.time_limit) if order.time_limit not in (0, 14_400) else None
        self.verb("Dial", {"timeLimit": limit}, [f"<{noun}>{escape(_clean(room))}</Conference>"])
        if order.welcome:
            self.losses.changed("order", step.origin, "who comes into a conference is not welcomed")
        if order.moderator and order.wait_for_moderator:
            self.losses.changed("order", step.origin, "a moderator begins a conference, as everybody else here may")
        written = ("room", "muted", "deaf", "announce_name", "wait_for_moderator", "moderator", "ends_with_member")
        tones = ("entry_tone", "exit_tone") if {order.entry_tone, order.exit_tone} <= {"", "default"} else ()
        self.unsaid(step, order, (*written, *tones, "most", "music", "record", "time_limit", "welcome"))

    def _music(self, step: g.Step, music: str) -> str | None:
        """A sound to wait with; what is no sound with a URL is lost."""
        if music and not (is_media(music) and is_url(music)):
            self.losses.lost("media", step.origin, f"TwiML waits with a sound that has a URL, not with {music}")
            return None
        return music or None

    def _dial(self, step: g.Perform, order: o.Dial) -> None:
        nouns = []
        for target in order.targets:
            noun = _NOUNS.get(target.kind)
            text = self.plain(step, target.value, "who is rung")
            if noun is None:
                self.losses.lost("targets", step.origin, f"a {target.kind} ({text}) cannot be dialled in TwiML")
            elif text:
                nouns.append(f"<{noun}>{escape(_clean(text))}</{noun}>")
        if not nouns:
            self.lost_step(step, "ringing this")
            return
        caller_id = self.plain(step, order.caller_id, "the caller id")
        record = {"": None, "stereo": "record-from-answer-dual"}.get(order.record, "record-from-answer-dual")
        attributes: Attributes = {
            "timeout": max(1, round(order.timeout)) if order.timeout else None,
            "timeLimit": round(order.time_limit) if order.time_limit not in (0, 14_400) else None,
            "callerId": caller_id or None,
            "callerName": self.plain(step, order.caller_name, "the caller name") or None,
            "hangupOn": order.hangup_on_key or None,
            "ringTone": self._music(step, order.ringback),
            "channel": order.trunk or None,
            "successfulAfter": round(order.success_after) or None,
            "record": record,
            "sequential": "true" if order.strategy == "single" and len(nouns) > 1 else None,
            "answerOnBridge": "true",
        }
        if order.strategy in ("weighted", "page"):
            self.losses.changed("dial", step.origin, "all are rung at once")
        self.verb("Dial", attributes, nouns)
        written = ("targets", "strategy", "timeout", "time_limit", "caller_id", "caller_name", "record", "trunk")
        self.unsaid(step, order, (*written, "ringback", "success_after", "hangup_on_key"), {"resources": "local"})
        self.unsaid_targets(step, order.targets, *(() if len(nouns) > 1 else ("weight",)))


def _request(menu: Menu) -> tuple[str, str]:
    """The URL and method of the request that every choice of a menu makes, if that is so."""
    steps = {act.step.id: act.step for choice in menu.choices for act in choice.block.acts[:1]}
    first = next(iter(steps.values()), None)
    if len(steps) == 1 and isinstance(first, g.Fetch) and isinstance(first.url, str):
        return first.url, first.method
    return "", ""


def _written(attributes: Attributes) -> str:
    """Attributes as they stand in an element; those without a value are left out."""
    given = ((key, value) for key, value in attributes.items() if value is not None)
    return "".join(f" {key}={quoteattr(_clean(str(value)))}" for key, value in given)


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("", text)
