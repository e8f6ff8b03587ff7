"""Static checks of documents and graphs."""

from collections.abc import Iterable

import pytest
from flow_kit import graph_of

from flows import graph as g
from flows.check import Knowledge, check_document, check_graph
from flows.dialects import UnknownDialect, compile_flow
from flows.findings import Finding
from flows.prompts import Prompt

RINGS = {"module": "resources", "data": {"to_did": "sip:x@y", "ringback": "none.wav"}, "children": {}}
DEAF = {"banana", "șase", "unu", "una"}


def unpronounceable(words: Iterable[str], language: str) -> set[str]:
    return set(words) & DEAF if language == "en" else set(words)


KNOWLEDGE = Knowledge(
    known_voice=lambda voice: voice in ("male", "female"),
    known_language=lambda language: language in ("en", "ro"),
    unpronounceable=unpronounceable,
    media_problem=lambda media: "" if media.startswith("http") else "there is no such file",
    text_problem=lambda text: "nothing to say" if text == "…" else "",
)


def found(document: object) -> list[tuple[str, str, str]]:
    return [(f.code, f.severity, f.where) for f in check_document(document, knowledge=KNOWLEDGE)]


@pytest.mark.parametrize(
    ("document", "code", "severity", "where"),
    [
        ({"_": "?", "yes | banana": "x"}, "unpronounceable", "warning", "/yes | banana"),
        ({"_": "?", "banana": {"_": "?", "yes": "x"}, "no": "x"}, "unpronounceable", "warning", "/banana"),
        ({"_": "?", '"big banana"': "x", "yes": "y"}, "unpronounceable", "warning", '/"big banana"'),
        ({"_": "?", "banana": "x"}, "unpronounceable", "warning", ""),
        ({"_": "?", "a": {"_": "?", "da | 1": "x", "$language": "ro"}}, "unpronounceable", "warning", "/a"),
        ({"_": "?", "a": {"_": "?", "1": "x", "da": "y", "$language": "xx"}}, "unknown-language", "error", "/a"),
        ({"_": "hi", "$voice": "Darth"}, "unknown-voice", "error", ""),
        ({"_": "none.wav", "1": "none.wav"}, "bad-media", "error", ""),
        (RINGS, "bad-media", "warning", ""),
        ({"_": "…"}, "bad-text", "error", ""),
        ({"_": "x" * 5001}, "text-too-long", "error", ""),
        ({"_": "x", "yes": "y", "sure | yes": "z"}, "shadowed", "warning", "/sure | yes"),
        ("{", "bad-json", "error", "line 1, column 2"),
    ],
)
def test_findings(document: object, code: str, severity: str, where: str) -> None:
    assert (code, severity, where) in found(document)


@pytest.mark.parametrize(
    "document",
    [
        "Hello",
        {"_": "http://h/a.wav", "yes | 1": "x", "-banana no": "y"},
        {"_": "?", "banana* | apple": "x"},
        {"_": "?", "key:1": "x", "*": "y"},
    ],
)
def test_nothing_to_find(document: object) -> None:
    assert found(document) == []


def test_a_number_that_cannot_be_said_can_still_be_pressed() -> None:
    knowledge = Knowledge(unpronounceable=lambda words, language: {"one"} & set(words))
    ((finding),) = check_document({"_": "?", "1": "x", "yes": "y"}, knowledge=knowledge)
    assert (finding.severity, finding.where) == ("info", "/1")


def test_what_is_wrong_everywhere_is_told_once() -> None:
    document = {"_": "a", "$voice": "Darth", "1": "b", "2": {"_": "c", "3": "d"}}
    assert [code for code, _, _ in found(document)] == ["unknown-voice"]


def test_without_knowledge_nothing_is_assumed() -> None:
    assert check_document({"_": "none.wav", "$voice": "Darth", "banana": "x"}) == ()


def test_a_finding_reads_well() -> None:
    assert (
        str(Finding("code", "error", "/a", "this is wrong", "do that")) == "error: /a: this is wrong (do that) [code]"
    )
    assert str(Finding("code", "info", "", "fine")) == "info: the document: fine [code]"


def ring(*steps: g.Step) -> g.Graph:
    return g.Graph({step.id: step for step in steps}, steps[0].id)


def test_loops_of_graphs() -> None:
    empty = ring(
        g.Notify(id="a", origin="/a", exits={"next": "b"}), g.Enter(id="b", origin="/b", path="b", exits={"next": "a"})
    )
    assert [(f.code, f.severity) for f in check_graph(empty)] == [("loop", "error")]
    talking = ring(g.Say(id="a", origin="/a", prompts=(Prompt("x"),), exits={"next": "a"}))
    assert [(f.code, f.severity) for f in check_graph(talking)] == [("loop", "warning")]
    (listen,) = graph_of({"_": "?", "1": "x"}).listens()
    listening = ring(g.Listen(id="a", origin="", choices=listen.choices, exits={"next": "a"}))
    assert check_graph(listening) == ()


def test_steps_that_nothing_leads_to() -> None:
    graph = g.Graph({"a": g.HangUp(id="a", origin="/a"), "b": g.HangUp(id="b", origin="/b")}, "a")
    assert [(f.code, f.where) for f in check_graph(graph)] == [("unreachable", "/b")]


def test_dialects() -> None:
    assert compile_flow("Hello", dialect="Brombler").graph is not None
    with pytest.raises(UnknownDialect, match="known are brombler"):
        compile_flow("Hello", dialect="klingon")
