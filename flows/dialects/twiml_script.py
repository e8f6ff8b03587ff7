"""A TwiML document while it is compiled: its steps so far, its URL, and what verbs need to write theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urljoin

from flows import graph as g
from flows.findings import Findings
from flows.markup import Element
from flows.prompts import Prompt
from flows.targets import is_url, url_problem

from .compiling import Chain
from .twiml_flavours import Flavour
from .twiml_options import Options

MAX_LOOPS = 1000

_VOICES = {"man": "male", "woman": "female", "alice": "female"}
_VENDORS = ("polly.", "google.", "azure.")


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb and where its steps go. ``following`` is the first step of the next verb, empty at the end."""

    element: Element
    number: int
    chain: Chain
    following: str

    @property
    def name(self) -> str:
        return self.element.name

    @property
    def where(self) -> str:
        return self.element.where

    def go_on(self) -> bool:
        """After the last step comes the next verb."""
        if self.following:
            self.chain.to(self.following)
        return True


class Script:
    """What the verbs of one document have in common."""

    def __init__(self, flavour: Flavour, findings: Findings, *, language: str, base: str) -> None:
        self.flavour = flavour
        self.findings = findings
        self.language = language
        self.base = base if is_url(base) else ""
        self.steps: dict[str, g.Step] = {}

    def options(self, element: Element) -> Options:
        return Options(element, self.findings)

    def answer(self, verb: Verb) -> None:
        """Answer the call, unless the flavour does not for this verb; a second time it does nothing."""
        if verb.name not in self.flavour.unanswered:
            verb.chain.add(g.Answer, "answer")

    def side(self, verb: Verb) -> Chain:
        """A chain for steps of ``verb`` that are not on its straight way."""
        return Chain(self.steps, verb.where, verb.number)

    def after(self, verb: Verb) -> str:
        """The step that comes after ``verb``: where there is none, one that does nothing and ends the document."""
        return verb.following or self.side(verb).add(g.SetVariables, "end", values=())

    # --- what stands in an element ------------------------------------------------------

    def empty(self, element: Element) -> None:
        """Report whatever stands in an element that should have nothing in it."""
        if element.content and (element.children or element.own_text):
            message = f"what stands in <{element.name}> is ignored"
            self.findings.warning("ignored-option", element.where, message)

    def no_text(self, element: Element) -> None:
        if text := element.own_text:
            message = f"text in <{element.name}> is ignored: {text[:60]!r}"
            self.findings.warning("ignored-option", element.where, message)

    def stray(self, element: Element, why: str) -> None:
        self.findings.warning("ignored-option", element.where, f"<{element.name[:80]}> is ignored: {why}")

    # --- sound --------------------------------------------------------------------------

    def spoken(self, element: Element, options: Options) -> Prompt | None:
        """What a ``<Say>`` speaks; ``None`` when it is empty."""
        language = options.text("language") or self.language
        voice = options.text("voice")
        voice = _VOICES.get(voice.lower(), voice)
        if voice.lower().startswith(_VENDORS):
            options.ignored("voice", "it is another vendor's voice", "male and female are known everywhere")
            voice = ""
        options.no_effect("engine", why="there is one engine")
        for child in element.children:
            message = f"<{child.name[:80]}> in <Say> has no effect: what stands in it is spoken as any other text"
            self.findings.warning("ignored-option", child.where, message)
        text, limit = element.text, self.flavour.say_limit
        if limit and len(text) > limit:
            message = f"a text of {len(text):,} characters is cut after {limit:,}"
            self.findings.warning("text-too-long", element.where, message)
            text = text[:limit]
        if not text:
            self.findings.warning("says-nothing", element.where, "<Say> without a text says nothing")
            return None
        return Prompt(text=text, voice=voice, language=language)

    def played(self, element: Element) -> Prompt | None:
        """What a ``<Play>`` plays; ``None`` when it is empty."""
        self._no_children(element)
        media = element.own_text
        if not media:
            return None
        if self.base or is_url(media):
            media = self.resolve(element, media)
        return Prompt(media=media)

    def times(self, options: Options) -> int:
        return options.whole("loop", 1, 0, MAX_LOOPS)

    def _no_children(self, element: Element) -> None:
        for child in element.children:
            self.stray(child, f"only text belongs in <{element.name}>")

    # --- requests -----------------------------------------------------------------------

    def resolve(self, element: Element, url: str) -> str:
        """``url`` as seen from the document's own; what is wrong with it is among the findings."""
        url = url.strip()
        if not is_url(url) and not self.base:
            hint = "write the whole URL: this document was not fetched from one"
            self.findings.error("bad-url", element.where, f"{url[:200]!r} is not an http:// or https:// URL", hint)
            return url
        try:
            whole = urljoin(self.base, url) if self.base else url
        except ValueError as error:
            self.findings.error("bad-url", element.where, f"{url[:200]!r} is no URL: {error}")
            return url
        if problem := url_problem(whole):
            self.findings.error("bad-url", element.where, f"no request can be made to {whole[:200]!r}: {problem}")
        return whole

    def action(self, element: Element, options: Options) -> str:
        """The URL of ``action``; without one that of the document; empty, with a warning, where there is neither."""
        action = options.text("action")
        if action:
            return self.resolve(element, action)
        if not self.base:
            message = (
                f"<{element.name}> has no action, and the document no URL of its own: nobody is asked what comes next"
            )
            self.findings.warning("missing-action", element.where, message, "name a URL in action")
        return self.base

    def tell(self, chain: Chain, url: str, method: Literal["GET", "POST"], after: tuple[g.Param, ...]) -> None:
        """Write the step that makes the same request for a call that is over: its caller has hung up."""
        hung_up = g.Param(name="Digits", value="hangup")
        params = self.flavour.params((*(param for param in after if param.name != hung_up.name), hung_up))
        query, body = (params, ()) if method == "GET" else ((), params)
        chain.add(g.Tell, "hungup", url=url, method=method, query=query, params=body)

    def request(
        self,
        chain: Chain,
        verb: Verb,
        url: str,
        method: Literal["GET", "POST"],
        after: tuple[g.Param, ...] = (),
        *,
        returns: bool = False,
    ) -> str:
        """Write the step that asks ``url`` what comes next; its id. It comes back only where something follows."""
        flavour = self.flavour
        params = flavour.params(after)
        returns = returns and bool(verb.following)
        step = chain.add(
            g.Fetch,
            "request",
            url=url,
            method=method,
            query=params if method == "GET" else (),
            params=params if method == "POST" else (),
            readers=flavour.readers,
            patience=flavour.patience,
            returns=returns,
            clear=flavour.clear,
        )
        if returns:
            lost = self.side(verb).add(g.HangUp, "lost")
            chain.link(step, {g.NEXT: verb.following, g.FAILED: lost})
        return step
