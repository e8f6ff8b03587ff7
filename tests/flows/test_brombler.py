"""What call trees compile to, and what is said about those that are not good."""

import json

import pytest
from flow_kit import graph_of, play, texts

from flows.dialects.brombler import compile_brombler
from flows.graph import Listen, Transfer
from flows.prompts import Prompt


def codes(document: object, **options: str) -> dict[str, str]:
    """Code to severity of the findings."""
    return {finding.code: finding.severity for finding in compile_brombler(document, **options).findings}


def errors(document: object) -> list[tuple[str, str]]:
    compiled = compile_brombler(document)
    assert compiled.graph is None
    return [(finding.code, finding.where) for finding in compiled.findings if finding.severity == "error"]


@pytest.mark.parametrize(
    "document",
    ["Hello", b"Hello", '"Hello"', '{"_": "Hello"}', {"_": "Hello"}, "\ufeffHello", b"\xef\xbb\xbfHello", " Hello\n"],
)
def test_text_is_spoken_and_the_call_ends(document: object) -> None:
    simulation = play(document)
    assert texts(simulation) == ["Hello"]
    assert simulation.ending.by == "flow"
    assert simulation.path == ""


@pytest.mark.parametrize(
    ("text", "media"),
    [
        ("https://example.org/a.wav", True),
        ("http://example.org/a.MP3?x=1", True),
        ("https://example.org/get?file=a.ogg", True),
        ("prompts/welcome.wav", True),
        ("./my welcome.wav", True),
        ("/srv/a.wav", True),
        ("Please listen to hello.wav", False),
        ("hello", False),
        ("5.wave", False),
    ],
)
def test_sounds_are_played(text: str, media: bool) -> None:
    (prompt,) = graph_of({"_": text}).prompts()
    assert prompt == (Prompt(media=text) if media else Prompt(text=text))


def test_voice_and_language_hold_from_their_node_down() -> None:
    document = {
        "1": {"_": "unu", "$language": "ro", "2": "doi", "3": {"$voice": "female", "_": "trei", "x": "y"}},
        "4": "four",
        "$voice": "male",
        "_": "zero",
    }
    found = {prompt.text: (prompt.voice, prompt.language) for prompt in graph_of(document).prompts()}
    assert found == {
        "zero": ("male", ""),
        "unu": ("male", "ro"),
        "doi": ("male", "ro"),
        "trei": ("female", "ro"),
        "y": ("female", "ro"),
        "four": ("male", ""),
    }
    languages = {step.origin: step.choices.language for step in graph_of(document).listens()}
    assert languages == {"": "en", "/1": "ro", "/1/3": "ro"}


def test_an_api_key_with_an_object_continues_its_node() -> None:
    document = {"$api http://h/": {"_": "Question?", "yes": "A", "$silence": "B"}, "no": "C"}
    (listen,) = (step for step in graph_of(document).steps.values() if isinstance(step, Listen))
    assert [choice.exit for choice in listen.choices.items] == ["yes", "no"]
    assert listen.prompts == (Prompt("Question?"),)
    assert play(document, "say yes").path == "yes"
    assert play(document, "say no").path == "no"
    assert play(document).path == "$silence"


def test_prompts_are_said_in_document_order_and_only_the_prompt_is_repeated() -> None:
    document = {"$api http://h/": "Welcome.", "_": "Yes?", "$api http://i/": "Well?", "yes": "A"}
    assert texts(play(document))[:5] == ["Welcome.", "Yes?", "Well?", "Yes?", "Yes?"]
    assert texts(play({"$api http://h/": "Yes?", "yes": "A"})) == ["Yes?"] * 3


def test_redirect_targets_lose_their_separators() -> None:
    document = {"1": "$redirect +40 (21) 123-456", "2": {"$redirect sip:agent@example.org;transport=tcp": "Wait."}}
    transfers = [step for step in graph_of(document).steps.values() if isinstance(step, Transfer)]
    assert [step.target for step in transfers] == ["+4021123456", "sip:agent@example.org;transport=tcp"]


def test_numbers_keep_their_digits() -> None:
    document = b'{"_": 123456789012345678901234567890.10, "1": 7, "2": "007"}'
    assert [p.text for p in graph_of(document).prompts()] == ["123456789012345678901234567890.10", "7", "007"]
    assert [p.text for p in graph_of({"_": 1.5, "1": 7}).prompts()] == ["1.5", "7"]


@pytest.mark.parametrize(
    ("text", "where", "hint"),
    [
        ('{\n  "_": "x",\n}', "line ", "comma before the closing bracket"),
        ('{"_": "x" "y": "z"}', "line 1, column 11", "comma or a bracket is missing"),
        ('{"_": "x"', "line 1, column 10", "comma or a bracket is missing"),
        ("{'_': 1}", "line 1, column 2", "double quotes"),
        ('{"_": "a\nb"}', "line 1, column 9", "line break"),
        ('{"_": ', "line 1, column 7", "ends too early"),
        ('{"_": NaN}', "", ""),
        ('{"_": [' * 100_000, "", ""),
    ],
)
def test_bad_json_is_placed(text: str, where: str, hint: str) -> None:
    compiled = compile_brombler(text)
    assert compiled.graph is None
    (finding,) = compiled.findings
    assert finding.code in ("bad-json", "too-deep")
    assert finding.where.startswith(where)
    assert hint in finding.hint


def test_a_json_file_is_never_taken_for_text() -> None:
    assert compile_brombler('"_": "Hello"', name="hello.json").graph is None
    assert compile_brombler('"Hello", she said', name="hello.txt").graph is not None
    assert compile_brombler("[laughs] Hello").graph is not None


@pytest.mark.parametrize(
    ("document", "code", "where"),
    [
        (None, "wrong-type", ""),
        (True, "wrong-type", ""),
        (["a"], "wrong-type", ""),
        ({"_": {"yes": "x"}}, "wrong-type", "/_"),
        ({"_": "$redirect 100"}, "wrong-type", "/_"),
        ({"yes": None}, "wrong-type", "/yes"),
        ({"yes": ["x"]}, "wrong-type", "/yes"),
        ({"$voice": {}}, "wrong-type", "/$voice"),
        ({"a/b": {"c~d": False}}, "wrong-type", "/a~1b/c~0d"),
        ({"$nomtach": "x"}, "unknown-key", "/$nomtach"),
        ({"yes": "$redirct 100"}, "unknown-key", "/yes"),
        ({"yes": "$redirect"}, "missing-argument", "/yes"),
        ({"$api": "x"}, "missing-argument", "/$api"),
        ({"$api website.com/x": ""}, "bad-url", "/$api website.com~1x"),
        ({"$api ftp://h/": ""}, "bad-url", "/$api ftp:~1~1h~1"),
        ({"$api http://": ""}, "bad-url", "/$api http:~1~1"),
        ({"$api http://[::1/": ""}, "bad-url", "/$api http:~1~1[::1~1"),
        ({"$forward http://h:99999/": ""}, "bad-url", "/$forward http:~1~1h:99999~1"),
        ({"yes": "$redirect [your_phone_number]"}, "bad-target", "/yes"),
        ({"yes": "$redirect agent@example.org"}, "bad-target", "/yes"),
        ({"yes": "$redirect sip:a b@c"}, "bad-target", "/yes"),
        ({"": "x"}, "empty-pattern", "/"),
        ({"key:": "x"}, "bad-pattern", "/key:"),
        ({1: "x"}, "wrong-type", ""),
    ],
)
def test_errors(document: object, code: str, where: str) -> None:
    assert (code, where) in errors(document)


def test_hints_help() -> None:
    hints = {
        finding.hint
        for document in ({"$nomtach": "x"}, {"yes": "$redirect agent@example.org"}, {"yes": ["a"]})
        for finding in compile_brombler(document).findings
    }
    assert any("did you mean $nomatch?" in hint for hint in hints)
    assert any("JSON_FORCE_OBJECT" in hint for hint in hints)


def test_a_key_given_twice_is_an_error() -> None:
    assert errors('{"_": "a", "yes": "b", "yes": "c"}') == [("duplicate-key", "/yes")]


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"yes": "x"}, "missing-prompt"),
        ({"_": "?", "yes": "a", "yes please": "b"}, "shadowed"),
        ({"_": "?", "yes": "a", "yes | sure": "b"}, "shadowed"),
        ({"_": "?", "one": "a", "1 now": "b"}, "shadowed"),
        ({"_": "?", "key:1": "a", "key:1 | key:1": "b"}, "shadowed"),
        ({"_": "?", "want": "a", "want -not": "b"}, "shadowed"),
        ({"_": "?", "wa*": "a", "want": "b"}, "shadowed"),
        ({"_": "?", '"call me"': "a", '"please call me"': "b"}, "shadowed"),
        ({"_": "?", "yes": "a", "yes ": "b"}, "duplicate-key"),
        ({"_": "?", "yes | -no": "a"}, "never-matches"),
        ({"_": "?", "$timeout": "a"}, "unreachable"),
        ({"_": "?", "$fail": "a", "yes": "b"}, "unreachable"),
        ({"_": "?", "yes": "b", "$nomatch": "c", "$silence": "d", "$timeout": "e"}, "unreachable"),
        ({"$redirect 100": "wait", "yes": "b"}, "unreachable"),
        ({"$redirect 100": {"yes": "b"}}, "unreachable"),
        ({"$redirect 100": "a", "$redirect 200": "b"}, "unreachable"),
        ({"yes": [], "_": "x"}, "empty-node"),
        ({"_": "https://example.org/page"}, "url-spoken"),
    ],
)
def test_warnings_leave_a_graph(document: object, code: str) -> None:
    compiled = compile_brombler(document)
    assert compiled.graph is not None
    assert codes(document).get(code) == "warning"


@pytest.mark.parametrize(
    "document",
    [
        {"_": "?", "want -not": "a", "want": "b"},
        {"_": "?", "yes please": "a", "yes": "b"},
        {"_": "?", "1": "a", "12": "b", "two three": "c"},
        {"_": "?", "key:1": "a", "1": "b"},
        {"_": "?", "want": "a", "wa*": "b"},
        {"_": "?", '"a b"': "a", "b a": "b"},
        {"_": "?", "-no yes": "a", "-now yes": "b"},
    ],
)
def test_nothing_is_called_hidden_that_can_be_reached(document: object) -> None:
    assert "shadowed" not in codes(document)


def test_limits() -> None:
    deep: object = "x"
    for _ in range(70):
        deep = {"yes": deep}
    assert codes(deep)["too-deep"] == "error"
    assert codes(json.dumps(deep))["too-deep"] == "error"
    assert codes({f"w{n}": "x" for n in range(10_001)})["too-many-nodes"] == "error"
    assert codes("x" * (1024 * 1024 + 1)) == {"too-large": "error"}
    assert codes(b"{\xff}") == {"not-utf8": "error"}
    assert codes(" | ".join(f'w{n}": "x", "' for n in range(3))) == {}


def test_a_document_that_contains_itself_ends() -> None:
    loop: dict[str, object] = {"_": "x"}
    loop["$api http://a/"] = loop["$api http://b/"] = loop["yes"] = loop["no"] = loop
    assert compile_brombler(loop).graph is None


def test_ten_thousand_choices_compile_in_time() -> None:
    document = {f"w{n} x": "y" for n in range(9_900)}
    assert compile_brombler(json.dumps(document)).graph is not None


def test_lone_surrogates_do_no_harm() -> None:
    document = '{"_": "a\\ud800", "$api http://h/\\udfff": "", "k\\ud800": "b", "$voice": "\\ud800"}'
    for prompt in graph_of(document).prompts():
        (prompt.text + prompt.voice).encode()
    play(document, "say k?")


def test_findings_are_bounded() -> None:
    assert len(compile_brombler({f"${n}x": "" for n in range(5000)}).findings) == 501


@pytest.mark.parametrize(
    "keys",
    [
        ["1" * 500_000],
        ["yes" * 100_000],
        ["-" * 500_000],
        ['"' * 500_000],
        ["a " * 300_000],
        [f"a b{n}" for n in range(9000)],
    ],
    ids=["digits", "word", "minus", "quotes", "words", "alike"],
)
def test_hostile_keys_take_neither_time_nor_memory(keys: list[str]) -> None:
    compiled = compile_brombler(json.dumps({"_": "?", **dict.fromkeys(keys, "x")}))
    assert sum(len(str(finding)) for finding in compiled.findings) < 200_000


def test_a_wide_tree_under_long_keys_stays_small() -> None:
    tree: object = {f"w{n}": "" for n in range(3000)}
    for _ in range(40):
        tree = {"w" * 3000: tree}
    assert codes(json.dumps(tree))["too-deep"] == "error"


def test_findings_obey_no_terminal() -> None:
    (finding,) = (f for f in compile_brombler({"$x\x1b[31m\n": "y"}).findings if f.code == "unknown-key")
    assert str(finding).isprintable()
