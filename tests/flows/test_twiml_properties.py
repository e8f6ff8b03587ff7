"""Whatever the document: a graph, or errors with a place; whatever the caller then does: an end."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twiml_kit import BASE, FLAVOURS

from flows.call import FetchFailed, Reply, Request
from flows.dialects import DIALECTS, compile_flow
from flows.dialects.compiling import Compiled
from flows.findings import has_errors
from flows.script import Press, Say, Wait
from flows.simulate import Scenario, simulate

quick = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = """Say Play Pause Gather Record Dial Redirect Hangup Reject Set Bridge Enqueue Leave Number Sip Client User
    Device Conference Queue Variable Sms Response"""
OPTIONS = """timeout length loop numDigits finishOnKey action method maxLength playBeep key value reason callerId
    session_id digits beep record bargeIn actionOnEmptyResult terminators recordingStatusCallback waitUrl strategy
    channel successfulAfter language voice foo"""
VALUES = (
    """0 1 2 -1 4000 1.5 true false # 12* x next http://h/a http:// get a.wav //h busy single 30s 1w2 http://[ ro"""
)

WITHOUT_PLACE = ("wrong-type", "too-large", "bad-xml", "more-findings")

names = st.sampled_from(NAMES.split())
options = st.sampled_from(OPTIONS.split())
values = st.text(max_size=5) | st.sampled_from(VALUES.split())
texts = ["", "Hello", "a.wav", "http://h/b.wav", "next", "100", "sip:a@b", "+40 21"]
text = st.sampled_from(texts) | st.text(max_size=8)


def element(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda name, attributes, content: f"<{name}{''.join(attributes)}>{''.join(content)}</{name}>\n",
        names,
        st.dictionaries(options, values, max_size=4).map(
            lambda pairs: [f" {name}={quoteattr(clean(value))}" for name, value in pairs.items()]
        ),
        st.lists(inner, max_size=4),
    )


def clean(value: str) -> str:
    """Without the characters that XML has no way to write."""
    return "".join(c for c in value if c in "\t\n\r" or 0x20 <= ord(c) < 0xD800 or 0xDFFF < ord(c) < 0xFFFE)


verbs = st.recursive(text.map(lambda each: escape(clean(each))), element, max_leaves=12)
documents = st.lists(verbs, max_size=5).map(lambda each: f"<Response>\n{''.join(each)}</Response>")
flavours = st.sampled_from(FLAVOURS)
bases = st.sampled_from(["", BASE, "not a url"])
statements = st.one_of(
    st.builds(Say, st.just("hello"), st.booleans()),
    st.builds(Press, st.text("129*#", min_size=1, max_size=4), st.booleans()),
    st.builds(Wait, st.floats(0, 30)),
)


def sound(compiled: Compiled) -> None:
    """A graph or errors; each error with a line, unless there is no document at all."""
    assert (compiled.graph is None) == has_errors(compiled.findings)
    for finding in compiled.findings:
        assert finding.message
        assert finding.where.startswith("line ") or finding.code in (
            "wrong-type",
            "too-large",
            "bad-xml",
            "more-findings",
        )
    if compiled.graph is not None:
        assert all(step.origin.startswith("line ") for step in compiled.graph.steps.values())


@quick
@given(documents, flavours, bases)
def test_any_verbs_compile_or_are_refused(document: str, flavour: str, base: str) -> None:
    for form in (document, document.encode()):
        sound(compile_flow(form, dialect=flavour, base=base))


@quick
@given(
    st.binary(max_size=200)
    | st.text('<>/="&;!?[]- aRS', max_size=60)
    | st.text(max_size=30)
    | st.none()
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
    flavours,
)
def test_anything_at_all_compiles_or_is_refused(document: object, flavour: str) -> None:
    compiled = DIALECTS[flavour](document, base=BASE)
    assert (compiled.graph is None) == has_errors(compiled.findings)


@quick
@given(documents, st.text(max_size=6), st.integers(0, 400))
def test_a_damaged_document_compiles_or_is_refused(document: str, damage: str, at: int) -> None:
    sound(compile_flow(document[:at] + damage + document[at:], dialect="twiml", base=BASE))


@settings(quick, max_examples=60)
@given(documents, flavours, st.lists(statements, max_size=5), documents)
def test_every_call_ends(document: str, flavour: str, script: list[object], answer: str) -> None:
    compiled = compile_flow(document, dialect=flavour, base=BASE)
    if compiled.graph is None:
        return

    left = [answer] * 3

    def fetch(request: Request) -> Reply:
        if not left:
            raise FetchFailed("gone")
        return Reply(200, "text/xml", left.pop().encode(), request.url)

    simulation = simulate(
        compiled.graph,
        script,
        scenario=Scenario(fetch=fetch, max_duration=600.0),  # type: ignore[arg-type]
    )
    assert simulation.ending.by in ("caller", "flow", "limit")
    simulation.render()


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize(
    "verbs",
    [
        "<Say>a</Say>" * 9_000,
        "<Gather>" + "<Say loop='0'>a</Say>" * 9_000 + "</Gather>",
        "<Gather>" + "<Say>a</Say><Pause/>" * 4_900 + "</Gather>",
        "<Set>" + "<Variable key='a' value='b'/>" * 9_000 + "</Set>",
        "<Dial>" + "<Number>1</Number>" * 9_000 + "</Dial>",
        "<Foo/>" * 9_000,
        ("<Say " + " ".join(f"a{n}=''" for n in range(60)) + ">a</Say>") * 2_000,
        "<Dial>" * 60 + "</Dial>" * 60,
        "<Say>" + "<b>" * 60 + "x" * 900_000 + "</b>" * 60 + "</Say>",
        "<Play digits='" + "1w" * 400_000 + "'/>",
    ],
    ids=["verbs", "repeats", "pauses", "variables", "numbers", "unknown", "options", "deep", "text", "digits"],
)
def test_large_documents_stay_small(flavour: str, verbs: str) -> None:
    compiled = DIALECTS[flavour](f"<Response>{verbs}</Response>", base=BASE)
    sound(compiled)
    assert sum(len(str(finding)) for finding in compiled.findings) < 200_000
    if compiled.graph is not None:
        assert len(compiled.graph.steps) <= 40_000
