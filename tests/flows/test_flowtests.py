"""Flow tests in YAML: what can be expected, how a difference reads, what is said of a bad document."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.commands.testing import find, load_file
from flows.tools.flowtest import FlowTest, Result, load, run
from flows.tools.flowtest.matching import Entry, Exactly, Item, Like, align, differs

ROOT = Path(__file__).parents[2]
EXAMPLES = [(path, test) for path in find([ROOT / "examples"]) for test in load_file(path).tests]
TREE = 'document: {_: "Yes or no?", yes: {_: "Sure?", "1": Good., "2": Bad.}, no: Bye.}'


def nothing(name: str) -> bytes:
    raise FileNotFoundError(2, "No such file", name)


def result(expect: str, script: str = "say yes; press 1", more: str = "", flow: str = TREE) -> Result:
    """One test on a small tree."""
    loaded = load(f"{flow}\ntests:\n- name: t\n  script: {script}\n  expect: {expect}\n{more}", nothing)
    assert loaded.findings == ()
    return run(loaded.tests[0])


def problems(text: str) -> list[str]:
    loaded = load(text, nothing)
    assert loaded.tests == ()
    return [f"{finding.where}: {finding.message}" for finding in loaded.findings]


@pytest.mark.parametrize(("path", "test"), EXAMPLES, ids=lambda each: each.name)
def test_the_examples_pass_their_own_tests(path: Path, test: FlowTest) -> None:
    came = run(test)
    assert came.passed, came.render()


def test_every_example_has_flow_tests() -> None:
    files = list(find([ROOT / "examples"]))
    assert [finding for path in files for finding in load_file(path).findings] == []
    flows = {path.stem for path in (ROOT / "examples").iterdir() if path.suffix in (".json", ".xml")}
    assert flows - {path.name.partition(".")[0] for path in files} == set()


@pytest.mark.parametrize(
    "expect",
    [
        "{path: yes/1, end: flow, duration: 10}",
        "{path: [yes, 1], end: {by: flow, reason: {contains: end of}}}",
        '{spoken: ["Yes or no?", "Sure?", Good.]}',
        '{spoken: ["...", Good.]}',
        '{spoken: ["Yes or no?", "..."]}',
        '{spoken: ["...", {contains: "ure"}, "..."]}',
        '{spoken: ["...", {like: "G*d*"}]}',
        '{spoken: ["...", {text: Good., at: {least: 1, most: 4}, heard: 2}]}',
        '{spoken: ["Yes or\n    no?", "...", "Good."]}',
        "{heard: [say yes, press 1]}",
        "{callbacks: [], fetches: [], recordings: [], orders: [], trouble: []}",
        "{duration: {least: 1, most: 5}}",
    ],
)
def test_what_is_as_expected_passes(expect: str) -> None:
    came = result(expect)
    assert came.passed, came.render()


@pytest.mark.parametrize(
    ("expect", "what"),
    [
        ("{path: yes/2}", ["path"]),
        ("{path: [yes, 2]}", ["path"]),
        ("{spoken: [Good.]}", ["spoken"]),
        ('{spoken: ["Yes or no?", "Sure?", Bad.]}', ["spoken"]),
        ('{spoken: ["...", Good., Good.]}', ["spoken"]),
        ('{spoken: ["...", {text: Good., voice: ana}]}', ["spoken"]),
        ('{spoken: ["Sure?", "Yes or no?", Good.]}', ["spoken"]),
        ("{spoken: []}", ["spoken"]),
        ("{heard: [press 1]}", ["heard"]),
        ("{end: caller}", ["end.by"]),
        ("{end: {by: flow, reason: other}}", ["end.reason"]),
        ("{duration: 1}", ["duration"]),
        ("{duration: {least: 60}, path: x}", ["duration", "path"]),
        ("{callbacks: [{event: open}]}", ["callbacks"]),
    ],
)
def test_what_is_not_as_expected_is_told(expect: str, what: list[str]) -> None:
    assert [difference.what for difference in result(expect).differences] == what


def test_a_difference_shows_both_sides_with_their_lines() -> None:
    came = result('\n    spoken:\n    - Yes or no?\n    - "Sure!"\n    - Good.')
    (difference,) = came.differences
    assert difference.render().splitlines() == [
        "spoken, line 6:  (- expected, + came)",
        "    7  Yes or no?   [at 0.0 s]",
        "  - 8  Sure!",
        f"  +    Sure?   [at {came.simulation.spoken[1].at:.1f} s]",
        "  ?        ^",
        f"    9  Good.   [at {came.simulation.spoken[2].at:.1f} s]",
    ]
    assert "the caller pressed: 1" in came.render()
    told = came.to_json()["differences"][0]["rows"]
    assert [(row["mark"], row["text"], row["line"]) for row in told] == [
        (" ", "Yes or no?", 7),
        ("-", "Sure!", 8),
        ("+", "Sure?", None),
        (" ", "Good.", 9),
    ]
    json.dumps(came.to_json())


def test_far_from_a_difference_nothing_is_shown() -> None:
    document = f"document: {{_: Again, yes: {'{_: Again, yes: ' * 9}End.{'}' * 10}"
    texts = "".join("\n    - Again" for _ in range(10)) + "\n    - Other."
    came = result(f"\n    spoken:{texts}", "; ".join(["say yes"] * 10), flow=document)
    (difference,) = came.differences
    assert [row.text for row in difference.rows] == ["(…)", "Again", "Again", "Other.", "End."]


def test_a_script_that_is_not_played_out_fails_unless_that_is_meant() -> None:
    assert [each.what for each in result("{end: flow}", "say no; press 1").differences] == ["script"]
    assert result("{end: flow}", "say no; press 1", "  unfinished: true").passed


def test_who_calls_whom_and_what_the_world_does() -> None:
    flow = (
        'document: {"$api http://a/": "", "$redirect 100": One moment., $fail: Nobody.}\ncaller: "+3901"\ncallee: 007'
    )
    expect = (
        "{callbacks: [{event: open, method: GET, params: {from: +3901, to: 007}}, '...'], spoken: ['...', Nobody.]}"
    )
    assert result(expect, '""', "  transfer: 486", flow=flow).passed
    assert not result(expect, '""', flow=flow).passed
    assert result("{spoken: []}", '""', "  answered: false", flow=flow).passed
    assert result("{spoken: [], end: {by: caller}}", "busy", "  outbound: true", flow=flow).passed
    assert not result("{spoken: [], end: {by: caller}}", "busy", "  unfinished: true", flow=flow).passed


SERVED = """document: <Response><Redirect>http://a/x</Redirect></Response>
servers:
  post http://a/x:
  - <Response><Say>One.</Say><Redirect>http://a/x</Redirect></Response>
  - {body: <Response><Redirect>http://a/y</Redirect></Response>, type: text/xml}
  http://a/y: {fail: it is down}
"""


def test_servers_answer_as_those_of_simulations_do() -> None:
    expect = '{spoken: [One.], fetches: ["...", {problem: it is down}], end: {reason: {contains: it is down}}}'
    came = result(expect, '""', flow=SERVED)
    assert came.passed, came.render()


def test_settings_and_the_length_of_sounds() -> None:
    flow = "document: {_: a.wav, yes: Sure.}"
    more = "  listen: 1\n  repeats: 0\n  media: {a.wav: 20}"
    assert result("{spoken: [a.wav], duration: {least: 21, most: 21}}", '""', more, flow=flow).passed
    assert result("{spoken: [{media: a.wav}], duration: 21}", '""', more, flow=flow).passed


def test_no_yaml_type_spoils_a_text() -> None:
    flow = "document: {_: 12:30, no: 1e3, yes: 0x10, on: 007}"
    assert result("{path: no, spoken: [12:30, 1e3]}", "say no", flow=flow).passed
    assert result("{path: yes, spoken: [12:30, 0x10]}", "say yes", flow=flow).passed
    assert result("{path: on, spoken: [12:30, 007]}", "say on", flow=flow).passed


# --- bad documents ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "there is nothing in the document"),
        ("tests: []\nflow: a", "line 1: tests: [] has less than 1 item"),
        ("flow: a", "line 1: tests is missing"),
        ("flow: a\ntests:\n- name: a", "line 3: tests.0: expect is missing"),
        ("flow: a\ndocument: b\ntests:\n- {name: a, expect: {end: flow}}", "either flow (a file) or document"),
        (
            "document: a\ntests:\n- {name: a, skript: say a, expect: {end: flow}}",
            "line 3: tests.0: skript: there is no",
        ),
        ("document: a\ntests:\n- {name: a,\n   expect: {end: nobody}}", "line 4: tests.0.expect.end"),
        ("document: a\ntests:\n- name: a\n  script: shout\n  expect: {end: flow}", "line 4: character 1 of the script"),
        ("flow: b.json\ntests:\n- {name: a, expect: {end: flow}}", "line 1: b.json: No such file"),
        ("document: {$x: y}\ntests:\n- {name: a, expect: {end: flow}}", "line 1: the flow: /$x: $x is not known"),
        ("document: a\ndialect: x\ntests:\n- {name: a, expect: {end: flow}}", "line 2: unknown dialect 'x'"),
        (
            "document: a\ntests:\n- {name: a, expect: {end: flow}}\n- {name: a, expect: {end: flow}}",
            "line 4: the test of line 3 is called 'a' as well",
        ),
        (
            "document: a\nservers: {http://a: {body: a, json: {}}}\ntests:\n- {name: a, expect: {end: flow}}",
            "line 2: http://a: an answer has one of body and json",
        ),
        (
            "document: a\nservers:\n  http://a:\n  - x\n  - {file: b}\ntests:\n- {name: a, expect: {end: flow}}",
            "line 5: http://a[1].file: b: No such file",
        ),
        (
            "document: a\nservers: {next: x}\ntests:\n- {name: a, expect: {end: flow}}",
            "line 2: 'next' is neither a URL nor a method and a URL",
        ),
        ("tests:\n - name: a: b", "line 2, column 11: not valid YAML"),
        ("tests: *a", "not valid YAML"),
        ("a: 1\na: 2", "line 2: 'a' is there twice"),
        ("a: !x y", "line 1: the tag !x means nothing here"),
        ("? [a]\n: b", "line 1: a key is a text"),
        ("a: \x00", "not valid YAML"),
        ("a: &x [*x]", "nested deeper than"),
        ("[" * 80 + "]" * 80, "nested deeper than"),
        ("[" * 5000, "nested deeper than"),
        (
            "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
            + "".join(
                f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcde", "bcdef", strict=True)
            ),
            "more than 50,000 values",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, problem: str) -> None:
    found = problems(text)
    assert any(problem in each for each in found), found


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60) | st.text('tests: -{}[]&*!"expct\n', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    loaded = load(text, nothing)
    assert loaded.tests == () or not loaded.findings


# --- matching ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("a*", "a", True),
        ("a*a", "a", False),
        ("*b*", "abc", True),
        ("*b*b*", "abc", False),
        ("a*b*c", "a b b c", True),
        ("a?c", "abc", False),
        ("[a]*", "[a] b", True),
        ("", "", True),
        ("*", "", True),
    ],
)
def test_wildcards(pattern: str, text: str, expected: bool) -> None:
    assert Like(pattern).matches(text) is expected


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from("abc.")), st.lists(st.sampled_from("abc"), max_size=12))
def test_two_lists_side_by_side(expected: list[str], got: list[str]) -> None:
    items = [Item(1, gap=True) if each == "." else Item(1, (("", Exactly(each)),)) for each in expected]
    entries = [Entry(each) for each in got]
    steps = align(items, entries)
    assert [item for _, item, _ in steps if item] == items
    assert [entry for _, _, entry in steps if entry] == entries
    pattern = "".join("*" if each == "." else each for each in expected)
    assert differs(steps) is not Like(pattern).matches("".join(got))


# --- commands ---------------------------------------------------------------------------


def command(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "tree.json").write_text('{"_": "Yes?", "yes": "Good.", "no": "Bad."}')
    (tmp_path / "inner" / "a.flowtest.yaml").write_text(
        "flow: tree.json\ntests:\n"
        "- {name: good, script: say yes, expect: {path: 'yes'}}\n"
        "- {name: bad, script: say no, expect: {spoken: ['Yes?', Good.]}}\n"
    )
    return tmp_path


def test_the_command(folder: Path) -> None:
    run_all = command("engine.cli", "test", ".", "--json", folder=folder)
    assert run_all.returncode == 1
    told = json.loads(run_all.stdout)
    assert (told["passed"], told["failed"]) == (1, 1)
    assert [(test["name"], test["passed"]) for test in told["files"][0]["tests"]] == [("good", True), ("bad", False)]
    run_one = command("engine.cli", "test", "inner/a.flowtest.yaml", "-k", "GOOD", folder=folder)
    assert (run_one.returncode, run_one.stdout.splitlines()[-1]) == (0, "1 passed")
    assert command("engine.cli", "test", "-k", "none", ".", folder=folder).returncode == 2


def test_the_plugin(folder: Path) -> None:
    came = command("pytest", "-p", "engine.pytest_plugin", "-q", folder=folder)
    assert came.returncode == 1
    assert "1 failed, 1 passed" in came.stdout
    assert "- 4  Good." in came.stdout
    assert "+    Bad." in came.stdout
    (folder / "inner" / "a.flowtest.yaml").write_text("tests: 1")
    came = command("pytest", "-p", "engine.pytest_plugin", "-q", folder=folder)
    assert "a.flowtest.yaml, line 1: tests: 1 is not of type" in came.stdout
