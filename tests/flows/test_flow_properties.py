"""Whatever a document, whatever a caller: findings or a graph, an end, one close for each URL."""

import json
from collections import Counter

from flow_kit import HandCall
from graph_kit import walkable_graphs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.call import (
    BargeIn,
    Callback,
    CallEnded,
    Input,
    Key,
    PromptEnded,
    SpeechStarted,
    TransferOutcome,
    Words,
)
from flows.check import check_graph
from flows.dialects.brombler import compile_brombler
from flows.executor import Executor, Settings
from flows.findings import has_errors
from flows.graph import Graph
from flows.keywords import Choice, Choices, parse_pattern
from flows.prompts import Prompt
from flows.script import Fail, Hangup, Leg, Machine, Press, Say, ScriptError, Wait, parse_script
from flows.simulate import Scenario, Simulation, run_sync, simulate

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

urls = st.sampled_from(["http://a/", "http://b_b/?x=1", "https://c/x y"])
words = st.sampled_from(["yes", "no", "want", "not", "1", "2", "12", "*"])
patterns = st.sampled_from(
    ["yes", "no | sure", "want -not", "1", "2", "12", "key:1", "key:12", "*", "#", "yes no", "-no", '"want not"', "ye*"]
)
leaves = st.one_of(
    st.sampled_from(["", "Hello.", "a.wav", "$redirect 100"]), urls.map(lambda url: f"$api {url}"), st.text(max_size=5)
)


def node(children: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    keys = st.one_of(
        patterns,
        urls.map(lambda url: f"$api {url}"),
        urls.map(lambda url: f"$forward {url}"),
        st.sampled_from(["$redirect 200", "$nomatch", "$silence", "$timeout", "$fail"]),
    )
    branches = st.dictionaries(keys, children, max_size=5)
    prompts = st.one_of(st.just({}), st.fixed_dictionaries({"_": st.sampled_from(["What?", "b.wav", ""])}))
    return st.tuples(prompts, branches).map(lambda both: {**both[0], **both[1]})


trees = st.recursive(leaves, node, max_leaves=15)
statements = st.one_of(
    st.builds(Say, st.lists(words, min_size=1, max_size=4).map(" ".join), st.booleans()),
    st.builds(Press, st.text("129*#", min_size=1, max_size=4), st.booleans()),
    st.builds(Wait, st.floats(0, 30)),
    st.just(Hangup()),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | patterns | leaves, inner, max_size=4)
    ),
    max_leaves=20,
)


def check(simulation: Simulation) -> None:
    events = [each for each, _ in simulation.callbacks]
    assert [each.params["seq"] for each in events] == [str(n + 1) for n in range(len(events))]
    by_url: dict[str, list[str]] = {}
    for each in events:
        by_url.setdefault(each.url, []).append(each.params["e"])
    for told in by_url.values():
        assert Counter(told)["close"] == 1
        assert told[-1] == "close"
        assert "open" not in told[1:]
    assert simulation.ending.by in ("caller", "flow", "limit")
    assert all(spoken.heard >= 0 for spoken in simulation.spoken)
    json.dumps(simulation.to_json())
    simulation.render()


@quick
@given(json_values)
def test_any_json_value_compiles_to_a_graph_or_errors(value: object) -> None:
    for document in (value, json.dumps(value), json.dumps(value).encode()):
        compiled = compile_brombler(document, name="x.json")
        assert (compiled.graph is None) == has_errors(compiled.findings)
        if compiled.graph is not None:
            assert not has_errors(check_graph(compiled.graph))
            check(simulate(compiled.graph, "press! 1; say yes"))


@quick
@given(st.binary(max_size=200) | st.text('{}[]",:\\u_$ap 1', max_size=60))
def test_any_bytes_compile_to_a_graph_or_errors(document: bytes | str) -> None:
    compiled = compile_brombler(document)
    assert (compiled.graph is None) == has_errors(compiled.findings)


@quick
@given(trees, st.lists(statements, max_size=8), st.booleans(), st.booleans())
def test_every_call_ends_and_says_so_once(tree: object, script: list[object], answered: bool, accepted: bool) -> None:
    compiled = compile_brombler(tree)
    if compiled.graph is None:
        return
    outcome = TransferOutcome(accepted=accepted, status=200 if accepted else 0, reason="")
    scenario = Scenario(answered=answered, transfer=outcome)
    simulation = simulate(compiled.graph, script, scenario=scenario)  # type: ignore[arg-type]
    check(simulation)
    assert simulation.to_json() == simulate(compiled.graph, script, scenario=scenario).to_json()  # type: ignore[arg-type]


def inputs(at: float, kind: int) -> Input:
    return [
        *(Key("1", at), Key("2", at), Key("9", at), SpeechStarted(at), BargeIn("yes", at)),
        *(Words((), at), Words(("yes",), at), Words(("want", "not"), at), PromptEnded(at)),
    ][kind]


@quick
@given(trees, st.lists(st.tuples(st.floats(0, 3), st.integers(0, 8)), max_size=30))
def test_inputs_in_any_order_and_time_do_no_harm(tree: object, steps: list[tuple[float, int]]) -> None:
    compiled = compile_brombler(tree)
    if compiled.graph is None:
        return
    at, given_inputs = 0.0, []
    for gap, kind in steps:
        at += gap
        given_inputs.append(inputs(at, kind))
    call = HandCall(given_inputs)
    ending = run_sync(Executor(compiled.graph).run(call))
    assert ending.by in ("caller", "flow")
    closes = Counter(note.url for note in call.notes if isinstance(note, Callback) and note.params["e"] == "close")
    assert set(closes.values()) <= {1}


class Dying(HandCall):
    """A call that ends at its ``after``-th question."""

    def __init__(self, after: int) -> None:
        super().__init__([Key("1", 1.0), Key("2", 2.0), Key("1", 3.0)])
        self.left = after

    def _ask(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise CallEnded("caller", "gone")

    async def answer(self) -> None:
        self._ask()
        await super().answer()

    def start(self, prompts: object) -> None:
        self._ask()

    async def played(self) -> None:
        self._ask()

    async def next(self, deadline: float | None) -> Input | None:
        self._ask()
        return await super().next(deadline)

    async def transfer(self, target: str) -> TransferOutcome:
        self._ask()
        return await super().transfer(target)


@quick
@given(trees, st.integers(0, 12))
def test_a_call_may_end_at_any_point(tree: object, after: int) -> None:
    compiled = compile_brombler({"$api http://root/": tree})
    if compiled.graph is None:
        return
    call = Dying(after)
    run_sync(Executor(compiled.graph).run(call))
    told = [note.params["e"] for note in call.notes if isinstance(note, Callback) and note.url == "http://root/"]
    assert told.count("close") == 1
    assert told[-1] == "close"


@quick
@given(st.text(max_size=40) | st.text('|-"*key: 12#ș', max_size=30), st.lists(st.text(max_size=6), max_size=5))
def test_any_pattern_can_be_asked_anything(pattern: str, heard: list[str]) -> None:
    parsed, _ = parse_pattern(pattern)
    choices = Choices([Choice("x", parsed)])
    assert choices.said(heard) in (None, "x")
    assert all(choices.pressed(keys) == "x" for keys in parsed.keys)
    if choices.vocabulary is not None:
        assert all(word and not any(c.isspace() for c in word) for word in choices.vocabulary.words)


@quick
@given(st.text(max_size=40) | st.text('saypres !;"1wt', max_size=40))
def test_any_script_is_read_or_refused(text: str) -> None:
    position = 1
    statements: tuple[object, ...] = ()
    try:
        statements = parse_script(text)
    except ScriptError as error:
        position = error.position
    assert 1 <= position <= max(len(text), 1)
    assert parse_script("; ".join(map(str, statements))) == statements


@quick
@given(st.lists(patterns, min_size=2, max_size=5, unique=True), st.lists(words, max_size=5))
def test_a_branch_called_hidden_is_never_taken(keys: list[str], heard: list[str]) -> None:
    compiled = compile_brombler({"_": "?", **dict.fromkeys(keys, "x")})
    assert compiled.graph is not None
    (listen,) = compiled.graph.listens()
    hidden = {
        f.where.removeprefix("/") for f in compiled.findings if f.code == "shadowed" and "is never taken: " in f.message
    }
    whole = {exit_name for exit_name in hidden if any(f.message.startswith(repr(exit_name)) for f in compiled.findings)}
    assert listen.choices.said(heard) not in whole
    assert listen.choices.pressed("".join(heard)) not in whole


def test_prompts_can_be_rendered_ahead() -> None:
    compiled = compile_brombler({"_": "a", "1": "b", "2": {"_": "a", "3": "c.wav"}})
    assert compiled.graph is not None
    assert compiled.graph.prompts() == (Prompt("a"), Prompt("b"), Prompt(media="c.wav"))


everybody = st.one_of(
    statements,
    st.builds(Leg, st.sampled_from([0, 200, 404, 486, 503, 603]), st.floats(0.1, 60)),
    st.builds(Machine, st.sampled_from([0.0, 4.0])),
    st.builds(Fail, st.sampled_from([0, 404, 500])),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(walkable_graphs(), st.lists(everybody, max_size=8))
def test_any_graph_that_the_check_passes_ends_for_any_caller(graph: Graph, script: list[object]) -> None:
    if has_errors(check_graph(graph)):
        return
    scenario = Scenario(max_duration=600.0)
    simulation = simulate(graph, script, scenario=scenario, settings=Settings(max_steps=5000))  # type: ignore[arg-type]
    assert simulation.ending.by in ("caller", "flow", "limit"), simulation.ending
    assert simulation.duration <= 600.0
    json.dumps(simulation.to_json())
    simulation.render()
