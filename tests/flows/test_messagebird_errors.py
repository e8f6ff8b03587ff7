"""What is refused, and how it is told: codes and messages of the API (contract §5)."""

import json
from typing import Any

import pytest
from messagebird_kit import codes_of, flow, graph_of, say, step

from flows.dialects.messagebird import compile_messagebird, errors
from flows.documents import MAX_BYTES, MAX_DEPTH, MAX_NODES
from flows.findings import MAX_FINDINGS
from flows.orders import Dial

URL = "https://example.org/next"

# The three documents of the seed, as they stand there.
SEED_REQUEST = """{ "title": "Example Call Flow", "steps": [ { "id": "foo", "action": "transfer", "options":
{ "destination": "31612345678" } }, { "id": "bar", "action": "hangup" } ] }"""
SEED_FLOW = """{ "id": "de3ed163-d5fc-45f4-b8c4-7eea7458c635", "title": "Forward call to 31612345678", "record": true,
"steps": [ { "id": "3538a6b8-5a2e-4537-8745-f72def6bd393", "action": "transfer", "options": {
"destination": "31612345678" } }, ], "createdAt": "2017-03-06T13:34:14Z", "updatedAt": "2017-03-06T13:34:14Z" }"""
SEED_ERROR = "The `title` parameter is required."


def test_the_sample_request_of_the_seed() -> None:
    """§5 seed: JSON REQUEST PAYLOAD EXAMPLE"""
    graph = graph_of(SEED_REQUEST)
    assert [step_id for step_id in graph.steps if step_id.endswith("enter")] == ["0.enter", "1.enter", "2.enter"]
    assert "Dial" in str(graph.steps["1.transfer"])
    assert compile_messagebird(SEED_REQUEST).findings == ()


def test_the_sample_flow_of_the_seed_is_not_json() -> None:
    """§0.6 Samples in the seeds are not valid JSON; §5 seed: CALL FLOW OBJECT EXAMPLE"""
    compiled = compile_messagebird(SEED_FLOW)
    assert compiled.graph is None
    (finding,) = compiled.findings
    assert (finding.code, finding.where) == ("bad-json", "line 3, column 35")
    assert "comma" in finding.hint
    assert [each["code"] for each in errors(compiled.findings)] == [16]
    repaired = compile_messagebird(SEED_FLOW.replace("}, ]", "} ]"))
    assert repaired.graph is not None
    assert repaired.findings == ()
    assert isinstance(repaired.graph.steps["1.transfer"].order, Dial)  # type: ignore[attr-defined]


def test_the_sample_error_of_the_seed() -> None:
    """§5.1 Errors … table says `description`, sample says `message`; §5.3 Errors carry both"""
    assert errors(compile_messagebird({"steps": []}).findings) == [
        {"code": 11, "message": SEED_ERROR, "description": SEED_ERROR}
    ]
    assert codes_of({"title": "", "steps": []}) == [(11, SEED_ERROR)]


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({}, "title"),
        ({"title": "x"}, "steps"),
        ({"title": "x", "steps": None}, "steps"),
        (flow({}), "steps[0].action"),
        (flow(step("transfer")), "steps[0].options.destination"),
        (flow(say(payload=None)), "steps[0].options.payload"),
        (flow(say(payload="")), "steps[0].options.payload"),
        (flow(say(language=None)), "steps[0].options.language"),
        (flow(step("hangup"), say(voice=None)), "steps[1].options.voice"),
        (flow(step("play")), "steps[0].options.media"),
        (flow(step("pause")), "steps[0].options.length"),
        (flow({"action": "pause"}), "steps[0].options.length"),
        (flow({"action": "pause", "options": None}), "steps[0].options.length"),
        (flow(step("record", transcribe=True)), "steps[0].options.transcribeLanguage"),
        (flow(step("fetchCallFlow")), "steps[0].options.url"),
        (flow(step("sendKeys")), "steps[0].options.keys"),
        (flow(say(extra={"conditions": [{"operator": "==", "value": 1}]})), "steps[0].conditions[0].variable"),
        (flow(say(extra={"conditions": [{"variable": "x", "value": 1}]})), "steps[0].conditions[0].operator"),
        (flow(say(extra={"conditions": [{"variable": "x", "operator": "=="}]})), "steps[0].conditions[0].value"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_11_missing(document: object, path: str) -> None:
    """§5.1 Errors: 11 missing param; §5.3 `transcribe` without transcribeLanguage -> 11"""
    assert (11, f"The `{path}` parameter is required.") in codes_of(document)
    assert {code for code, _ in codes_of(document)} == {11}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (flow(say(), record="true"), "record"),
        (flow(say(), title=7), "title"),
        (flow(say(), default="no"), "default"),
        ({"title": "x", "steps": {}}, "steps"),
        ({"title": "x", "steps": "say"}, "steps"),
        (flow(7), "steps[0]"),
        (flow(None), "steps[0]"),
        (flow(step("dance")), "steps[0].action"),
        (flow(step("Say")), "steps[0].action"),
        (flow({"action": "hangup", "options": "none"}), "steps[0].options"),
        (flow(step("hangup"), step("hangup"), say(voice="robot")), "steps[2].options.voice"),
        (flow(say(voice="Male")), "steps[0].options.voice"),
        (flow(say(payload=5)), "steps[0].options.payload"),
        (flow(say(language="english")), "steps[0].options.language"),
        (flow(say(repeat=0)), "steps[0].options.repeat"),
        (flow(say(repeat=11)), "steps[0].options.repeat"),
        (flow(say(repeat="0")), "steps[0].options.repeat"),
        (flow(say(repeat=2.5)), "steps[0].options.repeat"),
        (flow(say(repeat="many")), "steps[0].options.repeat"),
        (flow(say(repeat=True)), "steps[0].options.repeat"),
        (flow(say(loop=-1)), "steps[0].options.loop"),
        (flow(say(ifMachine="wait")), "steps[0].options.ifMachine"),
        (flow(say(machineTimeout=399)), "steps[0].options.machineTimeout"),
        (flow(say(machineTimeout="399")), "steps[0].options.machineTimeout"),
        (flow(say(machineTimeout=10001)), "steps[0].options.machineTimeout"),
        (flow(step("play", media="hello.wav")), "steps[0].options.media"),
        (flow(step("play", media=["http://h/a.wav", "ftp://h/b.wav"])), "steps[0].options.media[1]"),
        (flow(step("play", media=["http://h/a.wav", 5])), "steps[0].options.media[1]"),
        (flow(step("play", media=[])), "steps[0].options.media"),
        (flow(step("pause", length=-1)), "steps[0].options.length"),
        (flow(step("pause", length="long")), "steps[0].options.length"),
        (flow(step("record", maxLength=-1)), "steps[0].options.maxLength"),
        (flow(step("record", finishOnKey="5")), "steps[0].options.finishOnKey"),
        (flow(step("record", finishOnKey=5)), "steps[0].options.finishOnKey"),
        (flow(step("record", transcribe="yes")), "steps[0].options.transcribe"),
        (flow(step("record", transcribe=True, transcribeLanguage="fi-FI")), "steps[0].options.transcribeLanguage"),
        (flow(step("record", onFinish="example.org")), "steps[0].options.onFinish"),
        (flow(step("transfer", destination="nobody")), "steps[0].options.destination"),
        (flow(step("transfer", destination="a@example.org")), "steps[0].options.destination"),
        (flow(step("transfer", destination=True)), "steps[0].options.destination"),
        (flow(step("transfer", destination="1", record="all")), "steps[0].options.record"),
        (flow(step("transfer", destination="1", mask="yes")), "steps[0].options.mask"),
        (flow(step("fetchCallFlow", url="//example.org/")), "steps[0].options.url"),
        (flow(step("sendKeys", keys="1 2")), "steps[0].options.keys"),
        (flow(step("sendKeys", keys="1", duration=39)), "steps[0].options.duration"),
        (flow(say(extra={"id": "x"}), say(extra={"id": "x"})), "steps[1].id"),
        (flow(say(extra={"id": 1}), say(extra={"id": "1"})), "steps[1].id"),
        (flow(say(extra={"onKeypressGoto": "nowhere"})), "steps[0].onKeypressGoto"),
        (flow(say(extra={"onKeypressVar": "a b"})), "steps[0].onKeypressVar"),
        (flow(say(extra={"onKeypressVar": "source"})), "steps[0].onKeypressVar"),
        (flow(say(extra={"onKeypressVar": "x", "endKey": "##"})), "steps[0].endKey"),
        (flow(say(extra={"onKeypressVar": "x", "maxNumKeys": 0})), "steps[0].maxNumKeys"),
        (flow(say(extra={"conditions": {}})), "steps[0].conditions"),
        (flow(say(extra={"conditions": [1]})), "steps[0].conditions[0]"),
        (
            flow(say(extra={"conditions": [{"variable": "x", "operator": "~", "value": 1}]})),
            "steps[0].conditions[0].operator",
        ),
        (
            flow(say(extra={"conditions": [{"variable": "x y", "operator": "exists"}]})),
            "steps[0].conditions[0].variable",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_12_bad_value(document: object, path: str) -> None:
    """§5.1 12 bad value; §0.3 MessageBird: reject with error 12; §5.3 12, naming the path; duplicate step ids: 12"""
    ((code, message),) = codes_of(document)
    assert code == 12
    assert message.startswith(f"The `{path}` parameter must ")


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ('{"title": "x", "steps": [}', "line 1, column 26"),
        ("{", "line 1, column 2"),
        ("", "line 1, column 1"),
        ("title: x", "line 1, column 1"),
        ('{"title": NaN, "steps": []}', ""),
        (b'{"title": "\xff"}', "line 1"),
    ],
)
def test_16_unparsable(document: str | bytes, where: str) -> None:
    """§5.1 Errors: 16 unparsable body"""
    compiled = compile_messagebird(document)
    assert [each["code"] for each in errors(compiled.findings)] == [16]
    assert [finding.where for finding in compiled.findings] == [where]


@pytest.mark.parametrize("document", [None, 7, "7", '"x"', [], "[]", True, {1: 2}, {"title": object(), "steps": []}])
def test_what_is_no_object_is_a_bad_value(document: object) -> None:
    assert [code for code, _ in codes_of(document)] == [12]


def test_findings_have_a_pointer_and_a_hint() -> None:
    document = flow(step("sayy"), say(voice="femal"), say(extra={"onKeypressGoto": "mena"}), step("hangup"))
    findings = [(each.where, each.hint) for each in compile_messagebird(document).findings]
    assert findings == [
        ("/steps/0/action", "did you mean say?"),
        ("/steps/1/options/voice", "did you mean female?"),
    ]
    (finding,) = compile_messagebird(flow(say(extra={"id": "menu", "onKeypressGoto": "mena"}))).findings
    assert finding.hint == "did you mean menu?"


def test_a_key_that_is_there_twice_is_refused() -> None:
    """Which of the two counts differs from reader to reader."""
    document = '{"title": "x", "steps": [{"action": "say", "action": "hangup"}]}'
    (finding,) = compile_messagebird(document).findings
    assert (finding.code, finding.where, finding.severity) == ("duplicate-key", "/steps/0/action", "error")
    assert codes_of(document) == [(12, "The `steps[0].action` parameter is given twice.")]


def test_limits() -> None:
    """A document is at most 1 MiB, 10,000 steps, depth 64."""
    steps = [{"action": "hangup"}] * MAX_NODES
    assert compile_messagebird({"title": "x", "steps": steps}).graph is not None
    assert compile_messagebird({"title": "x", "steps": [*steps, {}]}).findings[0].code == "too-many-steps"
    (finding,) = compile_messagebird(json.dumps(flow(say("x" * MAX_BYTES)))).findings
    assert finding.code == "too-large"
    deep: Any = "x"
    for _ in range(MAX_DEPTH + 1):
        deep = {"x": deep}
    assert [each.code for each in compile_messagebird(deep).findings] == ["too-deep"]
    assert [each.code for each in compile_messagebird("[" * 100_000 + "]" * 100_000).findings] == ["too-deep"]


def test_a_document_that_contains_itself_ends() -> None:
    loop: dict[str, Any] = {"title": "x"}
    loop["steps"] = [loop, loop, loop]
    loop["more"] = loop
    assert compile_messagebird(loop).graph is None


HOSTILE = {
    "unknown keys": flow(say(), **{f"k{n}": 1 for n in range(50_000)}),
    "unknown options": flow(*(say(**{f"o{n}": 1 for n in range(20)}) for _ in range(5000))),
    "gotos": flow(*(say(extra={"id": f"i{n}", "onKeypressGoto": f"j{n}"}) for n in range(5000))),
    "bad values": flow(*(say(voice="x" * 50) for _ in range(5000))),
    "caseless": flow(*(step("record", transcribe=True, transcribeLanguage="NL-nl") for _ in range(500)), {}),
    "loops": flow(*(say(extra={"id": f"i{n}", "onKeypressGoto": f"i{n - 1 if n else 0}"}) for n in range(5000))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents_take_neither_time_nor_memory(name: str) -> None:
    findings = compile_messagebird(HOSTILE[name]).findings
    assert len(findings) <= MAX_FINDINGS + 1
    assert sum(len(str(finding)) for finding in findings) < 400_000


def test_long_keys_are_not_copied_for_each_value_below_them() -> None:
    twice = ", ".join(['{"a": 1, "a": 1}'] * 10_000)
    findings = compile_messagebird(f'{{"{"k" * 500_000}": [{twice}]}}').findings
    assert sum(len(str(finding)) for finding in findings) < 400_000


def test_lone_surrogates_do_no_harm() -> None:
    graph = graph_of('{"title": "\\ud800", "steps": [{"id": "\\udfff", "action": "say", "options": '
                     '{"payload": "a\\ud800", "language": "en-gb", "voice": "male"}}]}')  # fmt: skip
    graph.name.encode()
    for prompt in graph.prompts():
        prompt.text.encode()


def test_findings_obey_no_terminal() -> None:
    (finding,) = compile_messagebird(flow(say(), **{"\x1b[31m": 1})).findings
    assert str(finding).isprintable()
