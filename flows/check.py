"""``ivrea check``: everything that can be known to be wrong with a flow before a phone rings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from .dialects import compile_flow
from .dialects.compiling import Compiled
from .findings import Finding, Findings
from .graph import (
    Answer,
    Collect,
    Fetch,
    Graph,
    Listen,
    Pause,
    Perform,
    Record,
    Say,
    Step,
    Transfer,
    prompts_of,
)
from .keywords import Alternative, Term
from .prompts import Draft

MAX_TEXT = 5000
"""Characters of one prompt; nobody listens to more."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a check has to be told, since flows know neither voices nor recognisers.

    Each may be left out; what it would have found is then not looked for.
    """

    known_voice: Callable[[str], bool] | None = None
    known_language: Callable[[str], bool] | None = None
    unpronounceable: Callable[[Iterable[str], str], set[str]] | None = None
    """Of some words in a language, those that the recogniser cannot listen for."""
    media_problem: Callable[[str], str] | None = None
    """Why a URL or file cannot be played; empty when it can."""
    text_problem: Callable[[str], str] | None = None
    """Why a text cannot be spoken; empty when it can."""


_NOTHING = Knowledge()


def check_document(
    document: object, *, name: str = "", dialect: str = "", knowledge: Knowledge = _NOTHING
) -> tuple[Finding, ...]:
    """All findings about a document. :class:`~flows.dialects.UnknownDialect` for a dialect that is none."""
    return check_compiled(compile_flow(document, name=name, dialect=dialect), knowledge)


def check_compiled(compiled: Compiled, knowledge: Knowledge = _NOTHING) -> tuple[Finding, ...]:
    """The findings of the compiler and, if it made a graph, those about the graph."""
    if compiled.graph is None:
        return compiled.findings
    return (*compiled.findings, *check_graph(compiled.graph, knowledge))


def check_graph(graph: Graph, knowledge: Knowledge = _NOTHING) -> tuple[Finding, ...]:
    """What is wrong with a graph, whatever dialect it was written in."""
    findings = Findings()
    _check_reach(graph, findings)
    _check_loops(graph, findings)
    _check_prompts(graph, knowledge, findings)
    _check_sounds(graph, knowledge, findings)
    if knowledge.unpronounceable is not None:
        _check_words(graph, knowledge.unpronounceable, findings)
    return findings.all()


def _check_reach(graph: Graph, findings: Findings) -> None:
    reached = {graph.start}
    ahead = [graph.start]
    while ahead:
        for target in graph.steps[ahead.pop()].exits.values():
            if target not in reached:
                reached.add(target)
                ahead.append(target)
    for step in graph.steps.values():
        if step.id not in reached:
            findings.warning("unreachable", step.origin, "nothing leads to this step")


_LISTENING = (Listen, Collect, Record)
_WAITING = (*_LISTENING, Say, Pause, Transfer, Answer, Fetch, Perform)


def _check_loops(graph: Graph, findings: Findings) -> None:
    """A way round that never listens goes on until a limit ends the call; one that takes no time is worse."""
    if (loop := _loop(graph, _WAITING)) is not None:
        findings.error("loop", loop.origin, "the flow goes round here without ever waiting for anything")
    elif (loop := _loop(graph, _LISTENING)) is not None:
        findings.warning("loop", loop.origin, "the flow goes round here without ever listening to the caller")


def _loop(graph: Graph, breaking: tuple[type[Step], ...]) -> Step | None:
    """A step on a way round that has no step of the kinds ``breaking``."""
    follows: Mapping[str, list[str]] = {
        step.id: [] if isinstance(step, breaking) else list(step.exits.values()) for step in graph.steps.values()
    }
    try:
        TopologicalSorter(follows).prepare()
    except CycleError as error:
        return graph.steps[error.args[1][0]]
    return None


def _check_prompts(graph: Graph, knowledge: Knowledge, findings: Findings) -> None:
    told: set[tuple[str, str]] = set()

    def once(code: str, what: str, step: Step, message: str, hint: str = "") -> None:
        if (code, what) not in told:
            told.add((code, what))
            findings.error(code, step.origin, message, hint)

    for step in graph.steps.values():
        for prompt in dict.fromkeys(prompts_of(step)):
            if isinstance(prompt, Draft):
                continue  # known on the call only
            if prompt.media:
                if knowledge.media_problem and (problem := knowledge.media_problem(prompt.media)):
                    once("bad-media", prompt.media, step, f"{prompt.media} cannot be played: {problem}")
                continue
            if len(prompt.text) > MAX_TEXT:
                message = f"a text of {len(prompt.text):,} characters; the limit is {MAX_TEXT:,}"
                once("text-too-long", prompt.text, step, message, "nobody listens that long")
            elif knowledge.text_problem and (problem := knowledge.text_problem(prompt.text)):
                once("bad-text", prompt.text, step, f"a text cannot be spoken: {problem}")
            if prompt.voice and knowledge.known_voice and not knowledge.known_voice(prompt.voice):
                once("unknown-voice", prompt.voice, step, f"there is no voice {prompt.voice!r}")
            if prompt.language and knowledge.known_language and not knowledge.known_language(prompt.language):
                message = f"the language {prompt.language!r} cannot be spoken"
                once("unknown-language", prompt.language, step, message, "a tag as in en, en-GB, ro or pt-BR")


def _check_sounds(graph: Graph, knowledge: Knowledge, findings: Findings) -> None:
    """What orders play besides: a call goes on without it."""
    for step in graph.steps.values():
        for sound in step.order.sounds if isinstance(step, Perform) else ():
            if knowledge.media_problem and (problem := knowledge.media_problem(sound.media)):
                message = f"{sound.media} cannot be played: {problem}"
                findings.warning("bad-media", step.origin, message, "the call hears what is usual there instead")


def _check_words(graph: Graph, unpronounceable: Callable[[Iterable[str], str], set[str]], findings: Findings) -> None:
    words: dict[str, set[str]] = {}
    for step in graph.listens():
        if (vocabulary := step.choices.vocabulary) is not None:
            words.setdefault(vocabulary.language, set()).update(vocabulary.words)
    deaf = {language: unpronounceable(sorted(known), language) for language, known in words.items()}
    for step in graph.listens():
        if (vocabulary := step.choices.vocabulary) is None:
            _check_alternatives(step, set(), findings)
        elif deaf[vocabulary.language].issuperset(vocabulary.words):
            message = f"none of the words can be heard: {', '.join(vocabulary.words[:8])}"
            hint = f"the recogniser knows none of them in the language {vocabulary.language!r}; offer keys as well"
            findings.warning("unpronounceable", step.origin, message, hint)
        else:
            _check_alternatives(step, deaf[vocabulary.language], findings)


def _check_alternatives(step: Listen, deaf: set[str], findings: Findings) -> None:
    for choice in step.choices.items:
        for alternative in choice.pattern.alternatives:
            lost = _lost(alternative, deaf)
            if lost is None:
                continue
            message = f"{choice.exit!r}: {alternative.source!r} cannot be said: no pronunciation is known for {lost}"
            if alternative.keys:
                findings.info("unpronounceable", choice.origin, message, "it can be pressed")
            else:
                findings.warning("unpronounceable", choice.origin, message, "another word, or a key as well")


def _lost(alternative: Alternative, deaf: set[str]) -> str | None:
    """A word that makes ``alternative`` impossible to say; ``None`` when it can be said."""
    for term in alternative.plain:
        if not _can_be_said(term, deaf):
            return repr(term.spoken[0]) if term.spoken else f"the number {alternative.keys or alternative.source}"
    return None


def _can_be_said(term: Term, deaf: set[str]) -> bool:
    if term.prefix or term.readings[0][0].isdigit():  # any way of saying it will do
        return any(word not in deaf for word in term.spoken)
    return deaf.isdisjoint(term.spoken)
