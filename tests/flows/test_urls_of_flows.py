"""What variables may make of URLs: parts of paths and queries, and nothing else."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from messagebird_kit import codes_of, flow, step
from test_verbs import graph, make, reply, say, spoken

from engine.callbacks.urls import target
from flows import graph as g
from flows.call import Fetched, Performed, Trouble
from flows.orders import Dial, Target, Upload, filled
from flows.prompts import Draft
from flows.scripted_world import canned
from flows.simulate import Scenario, simulate
from flows.templates import Template, UnsafeUrl, Var, fill_url, parse_template, url_template_problem

NASTY = "a b/../c?d=e&f=g#h%2f\\@evil.example:80;x=ă\ud800"
X = Var("var.x")


def url(text: str) -> Template:
    template = parse_template(text)
    assert isinstance(template, Template)
    return template


def test_a_value_is_percent_encoded_but_for_unreserved_characters() -> None:
    """RFC 3986, section 2.3."""
    assert fill_url(url("http://h/{{x}}?q={{x}}"), {"var.x": "aZ09-._~"}) == "http://h/aZ09-._~?q=aZ09-._~"
    filled = fill_url(url("http://h/{{x}}"), {"var.x": "é /?#[]@!$&'()*+,;=:%"})
    assert filled == "http://h/%C3%A9%20%2F%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2B%2C%3B%3D%3A%25"
    assert fill_url("http://h/{{x}} as it is", {}) == "http://h/{{x}} as it is"


@given(st.text() | st.just(NASTY))
def test_no_value_changes_host_path_or_query(value: str) -> None:
    try:
        filled = fill_url(url("https://user@h.example:8080/a/{{x}}/b?q={{x}}&r=1#f"), {"var.x": value})
    except UnsafeUrl:
        assert value in (".", "..")
        return
    parts = urlsplit(filled)
    known = value.encode("utf-8", "replace").decode()
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "user@h.example:8080", "f")
    segments = parts.path.split("/")
    assert [segments[0], segments[1], unquote(segments[2]), *segments[3:]] == ["", "a", known, "b"]
    assert parse_qs(parts.query, keep_blank_values=True) == {"q": [known], "r": ["1"]}
    ready = target(filled)  # what the client makes of it
    assert (ready.host, len(ready.url.raw_path.split("/"))) == ("h.example", 4)


@pytest.mark.parametrize("value", [".", ".."])
def test_a_value_leads_to_no_other_folder(value: str) -> None:
    for text in ("http://h/a/{{x}}/b", "http://h/a/{{x}}", "http://h/{{x}}?a"):
        with pytest.raises(UnsafeUrl, match="part of the path"):
            fill_url(url(text), {"var.x": value})
    for text in ("http://h/a/.{{x}}", "http://h/a/%2E{{x}}/"):
        with pytest.raises(UnsafeUrl, match="part of the path"):
            fill_url(url(text), {"var.x": "."})
    assert fill_url(url("http://h/../{{x}}"), {"var.x": "a"}) == "http://h/../a"
    assert fill_url(url("http://h/a?{{x}}"), {"var.x": value}) == f"http://h/a?{value}"


@pytest.mark.parametrize(
    "text",
    [
        *("{{x}}", "{{x}}/path", "{{x}}://h/", "http://{{x}}", "http://{{x}}/", "http://a{{x}}/", "http://h:{{x}}/"),
        *("http://h{{x}}", "http://{{x}}@h/", "http:{{x}}", "a.wav?{{x}}", "//h/{{x}}"),
        *("sip:{{x}}", "sip:1@{{x}}", "sips:a{{x}}.example", "sip:{{x}}@h:{{x}}", "sip:1@h{{x}};a"),
    ],
)
def test_variables_stand_for_no_host(text: str) -> None:
    assert url_template_problem(url(text))
    with pytest.raises(UnsafeUrl):
        fill_url(url(text), {"var.x": "http://evil.example"})


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("sip:{{x}}@h.example", "sip:%2B1%40evil%3B2@h.example"),
        ("sip:a{{x}}@h;user=phone", "sip:a%2B1%40evil%3B2@h;user=phone"),
        ("sip:1@h;x={{x}}", "sip:1@h;x=%2B1%40evil%3B2"),
        ("tel:{{x}}", "tel:%2B1%40evil%3B2"),
    ],
)
def test_a_value_is_a_part_of_a_sip_uri(text: str, filled: str) -> None:
    assert fill_url(url(text), {"var.x": "+1@evil;2"}).replace("+", "%2B") == filled


def test_a_request_for_a_flow_and_one_that_only_tells() -> None:
    place = Template(("http://h/f/", X, "?q=", X))
    steps = graph(
        make(g.SetVariables, "set", values=(("var.x", "1/2?&"),)),
        make(g.Tell, "tell", url=place, method="GET"),
        make(g.Fetch, "fetch", url=place, readers=(("", ("brombler",)),)),
    )
    asked = "http://h/f/1%2F2%3F%26?q=1%2F2%3F%26"
    simulation = simulate(steps, scenario=Scenario(fetch=canned({asked: reply('{"_": "came"}')})))
    assert [note.url for note, _ in simulation.noted(Fetched)] == [asked]
    assert [callback.url for callback, _ in simulation.callbacks] == [asked]
    assert spoken(simulation) == ["came"]


def test_a_url_that_a_variable_spoils_is_not_asked() -> None:
    whole = Template((X,))
    steps = graph(
        make(g.SetVariables, "set", values=(("var.x", "http://evil.example/"),)),
        make(g.Tell, "tell", url=whole),
        make(g.Fetch, "fetch", url=whole, readers=(("", ("brombler",)),)),
        fetch={g.FAILED: "failed"},
    )
    simulation = simulate(steps, scenario=Scenario(fetch=canned({"http://evil.example/": reply('{"_": "came"}')})))
    assert (spoken(simulation), simulation.callbacks, simulation.noted(Fetched)) == (["failed"], [], [])
    assert ["behind the host" in note.what for note, _ in simulation.noted(Trouble)] == [True, True]


def test_media_and_targets() -> None:
    known = {"var.x": "../a.wav?"}
    assert Draft(media=Template(("http://h/", X))).fill(known).media == "http://h/..%2Fa.wav%3F"
    assert Draft(media=Template((X, "b"))).fill(known).media == "../a.wav?b"
    assert Draft(text=Template((X,))).fill(known).text == "../a.wav?"
    for draft in (Draft(media=Template((X,))), Draft(media=Template(("http://", X)))):
        with pytest.raises(UnsafeUrl):
            draft.fill({"var.x": "http://evil.example/a.wav"})
    dial = Dial(targets=(Target(kind="uri", value=Template(("sip:", X, "@h"))),))
    assert filled(dial, {"var.x": "1@evil"}).targets[0].value == "sip:1%40evil@h"
    with pytest.raises(UnsafeUrl):
        filled(Target(kind="number", value=Template((X,))), {"var.x": "sip:1@evil"})


def test_what_is_spoiled_is_left_out_and_told() -> None:
    sound = make(g.Say, "sound", prompts=(Draft(media=Template((X,))), Draft(text="still heard")))
    dial = make(g.Perform, "dial", order=Dial(targets=(Target(kind="number", value=Template((X,))),)), into="dial")
    away = make(g.Transfer, "away", target=Template(("sip:", X)))
    steps = graph(
        make(g.SetVariables, "set", values=(("var.x", "sip:a@evil.example"), ("var.x", "tel:1"))),
        dial,
        away,
        make(g.SetVariables, "again", values=(("var.x", "http://evil.example/a.wav"),)),
        sound,
    )
    simulation = simulate(steps)
    assert spoken(simulation) == ["still heard"]
    assert next(note.what for note, _ in simulation.noted(Trouble)) == "a variable would make a URI of a number"
    assert [(note.order, note.exits[-1]) for note, _ in simulation.noted(Performed)] == [
        ("Dial", "failed"),
        ("Transfer", "failed"),
    ]


def test_an_upload_is_escaped() -> None:
    upload = Upload(Template(("http://h/", X)), "PUT", Template(("r_", X, ".wav")), numbered=True)
    assert filled(upload, {"var.x": "a/b"}).place == "http://h/a%2Fb/r_a%2Fb.wav"


@pytest.mark.parametrize("address", ["{{x}}", "http://{{x}}/", "http://h{{x}}", "https://{{x}}.h.example/"])
def test_messagebird_refuses_variables_in_place_of_a_host(address: str) -> None:
    for document in (
        flow(step("fetchCallFlow", url=address)),
        flow(step("record", onFinish=address)),
        flow(step("play", media=[address])),
    ):
        ((code, message),) = codes_of(document)
        assert code == 12
        assert "steps[0].options" in message
    ((code, message),) = codes_of(flow(step("transfer", destination="sip:1@{{x}}")))
    assert (code, "destination" in message) == (12, True)


def test_say_is_not_escaped() -> None:
    """Only URLs are."""
    steps = graph(make(g.SetVariables, "set", values=(("var.x", "a/b"),)), say("x"))
    assert spoken(simulate(steps)) == ["x"]
    assert Draft(text=Template((X,))).fill({"var.x": "a/b c"}).text == "a/b c"
