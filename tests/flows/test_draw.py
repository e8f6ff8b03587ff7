"""Pictures of flows: all of the graph is in them, nothing lies over anything else, and a call's way is marked."""

from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from flow_kit import graph_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_verbs import graph, make, say

from flows import graph as g
from flows.call import Reply
from flows.dialects import compile_flow
from flows.keywords import Choice, Choices, parse_pattern
from flows.orders import Dial, Target
from flows.prompts import Prompt
from flows.scripted_world import canned
from flows.simulate import Scenario, simulate
from flows.templates import Condition
from flows.tools.calllog import log_of
from flows.tools.draw import TooLarge, draw_page, draw_svg
from flows.tools.draw.blocks import Block, blocks_of
from flows.tools.draw.layout import Box, Layout, Line, lay_out
from flows.tools.draw.text import shorten, width, wrap

SVG = "{http://www.w3.org/2000/svg}"
EXAMPLES = [
    path for path in sorted((Path(__file__).parents[2] / "examples").iterdir()) if path.suffix in (".json", ".xml")
]
MENU = {"_": "Press one or two.", "1 | sales": {"_": "One. Once more?", "yes": "Good bye."}, "2": "Two."}
URL = "http://flows.example/next"
TEXTS = (
    "Press one.",
    "An_unbreakable_word_" * 5,
    "您好，欢迎致电本公司。请按一选择销售，按二选择技术支持。",
    "<&>\"'\x07",
)


def of_many(count: int, seed: int, *, loops: bool) -> g.Graph:
    """A flow of steps of all kinds, with ways back if there are ``loops``."""
    dice = random.Random(seed)
    steps: dict[str, g.Step] = {"bye": make(g.HangUp, "bye")}
    for number in range(count):
        below = [f"s{child}" for child in range(3 * number + 1, 3 * number + 4) if child < count]
        back = f"s{dice.randrange(count)}" if loops else "bye"
        prompts = (Prompt(dice.choice(TEXTS)),)
        kind = dice.choice(("listen", "collect", "branch", "dial", "say") if below else ("say", "hangup"))
        name = f"s{number}"
        if kind == "listen":
            patterns = ["1 | sales", "2 | a long pattern of many words that goes on", "key:3"][: len(below)]
            choices = Choices(Choice(pattern, parse_pattern(pattern)[0]) for pattern in patterns)
            exits = {**dict(zip(patterns, below, strict=True)), g.SILENCE: back, g.NEXT: "bye"}
            steps[name] = make(g.Listen, name, choices=choices, prompts=prompts, exits=exits)
        elif kind == "collect":
            exits = dict(zip((g.NEXT, g.NONE, g.SHORT), below, strict=False))
            steps[name] = make(g.Collect, name, into="digits.pin", prompts=prompts, exits=exits)
        elif kind == "branch":
            exits = dict(zip((g.NEXT, "a", "b"), below, strict=False))
            conditions = (Condition("var.customer", "==", "12"),)
            cases = tuple(g.Case(exit=each, conditions=conditions) for each in exits if each != g.NEXT)
            steps[name] = make(g.Branch, name, cases=cases, exits=exits)
        elif kind == "dial":
            exits = dict(zip((g.NEXT, "USER_BUSY", g.FAILED), below, strict=False))
            order = Dial(targets=(Target(kind="uri", value="sip:someone@example.org"),))
            steps[name] = make(g.Perform, name, order=order, exits=exits)
        elif kind == "hangup":
            steps[name] = make(g.HangUp, name, reason="done with it")
        else:
            steps[name] = make(g.Say, name, prompts=prompts, exits={g.NEXT: below[0] if below else back})
    return g.Graph(steps, "s0")


def read(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in read(svg).iter(f"{SVG}text")]


def boxes(svg: str) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, right and bottom of every block; blocks of several flows stand in groups of their own."""
    found: dict[str, tuple[float, float, float, float]] = {}
    for outer in read(svg).findall(f"{SVG}g"):
        left, top = place(outer)
        for block in outer.findall(f"{SVG}g"):
            x, y = place(block)
            box = next(rect for rect in block if rect.get("class") == "box")
            across, down = float(box.get("width", "")), float(box.get("height", ""))
            found[block.get("id", "")] = (left + x, top + y, left + x + across, top + y + down)
    return found


def place(group: ET.Element) -> tuple[float, float]:
    numbers = re.findall(r"[-\d.]+", group.get("transform", ""))
    return float(numbers[0]), float(numbers[1])


def assert_tidy(svg: str) -> None:
    """No block lies over another, all are in the picture, and no text is wider or lower than its block."""
    root = read(svg)
    every = boxes(svg)
    across, down = float(root.get("width", "")), float(root.get("height", ""))
    for left, top, right, bottom in every.values():
        assert 0 <= left < right <= across
        assert 0 <= top < bottom <= down
    for one, other in combinations(every.values(), 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    for block in (each for outer in root.findall(f"{SVG}g") for each in outer.findall(f"{SVG}g")):
        box = next(rect for rect in block if rect.get("class") == "box")
        heights = []
        for text in block.iter(f"{SVG}text"):
            if text.get("class") == "number":
                continue
            x, y = float(text.get("x", "")), float(text.get("y", ""))
            wide = width("".join(text.itertext()), 11, bold="stop" in text.get("class", ""))
            start = x - wide if text.get("text-anchor") == "end" else x
            assert 0 <= start <= start + wide <= float(box.get("width", "")) + 1
            assert 0 < y < float(box.get("height", ""))
            heights.append(y)
        assert all(lower - upper >= 13 for upper, lower in pairwise(heights))


def drawn_call(flow: g.Graph, script: str, scenario: Scenario | None = None) -> str:
    scenario = scenario or Scenario()
    return draw_svg(flow, log_of(simulate(flow, script, scenario=scenario), scenario))


# --- blocks -------------------------------------------------------------------------------


def only(flow: g.Graph) -> Block:
    (block,) = blocks_of(flow).values()
    return block


def test_plumbing_is_small_print_of_the_step_behind_it() -> None:
    steps = [make(g.Enter, "e", path="a"), make(g.Notify, "n"), make(g.SetVariables, "v", values=(("var.a", "1"),))]
    block = only(graph(*steps, say("hello"), make(g.HangUp, "h")))
    (entry,) = block.entries
    assert entry.step.id == "hello"
    assert entry.steps == ("answer", "e", "n", "v", "hello")
    assert entry.small == ("var.a = 1",)
    assert [way.ends for way in block.ways] == ["hangs up"]


def test_steps_that_follow_each_other_share_a_block_of_a_few() -> None:
    flow = graph(*(say(f"step {number}") for number in range(20)))
    assert [len(block.entries) for block in blocks_of(flow).values()] == [8, 8, 4]


def test_what_only_ends_the_call_is_told_at_the_exit() -> None:
    listen, *_ = blocks_of(graph_of(MENU)).values()
    assert [(way.told, way.ends) for way in listen.ways] == [("1 | sales", ""), ("2", ""), ("otherwise", "hangs up")]


def test_exits_that_lead_to_the_same_step_are_one_way() -> None:
    collect = make(g.Collect, "c", into="digits.a")
    flow = graph(collect, say("done"), c={g.NONE: "sorry", g.SHORT: "sorry"})
    assert [way.told for way in next(iter(blocks_of(flow).values())).ways] == ["nothing, too few keys", "done"]


def test_every_step_is_drawn_or_ends_the_call_at_an_exit() -> None:
    for loops in (False, True):
        flow = of_many(120, 5, loops=loops)
        drawn = {name for block in blocks_of(flow).values() for entry in block.entries for name in entry.steps}
        assert {name for name in flow.steps if name not in drawn} <= {
            step.id for step in flow.steps.values() if isinstance(step, g.HangUp)
        }


def test_a_flow_that_is_only_a_hang_up_is_drawn() -> None:
    assert "Hang up" in texts(draw_svg(g.Graph({"h": make(g.HangUp, "h")}, "h")))


def test_a_way_round_without_a_choice_is_drawn() -> None:
    flow = g.Graph({"a": say("a", "a", exits={g.NEXT: "b"}), "b": say("b", "b", exits={g.NEXT: "a"})}, "a")
    assert len(boxes(draw_svg(flow))) == 1
    assert len(boxes(draw_svg(g.Graph({"a": say("a", "a", exits={g.NEXT: "a"})}, "a")))) == 1


# --- layout -------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=14),
    ends=st.lists(st.tuples(st.integers(0, 13), st.integers(0, 3), st.integers(0, 13)), max_size=40),
)
def test_boxes_never_lie_over_each_other_and_lines_join_them(
    sizes: list[int], ends: list[tuple[int, int, int]]
) -> None:
    every = [
        Box(f"b{number}", 200, 40 + 20 * ports, 19, tuple(50 + 20.0 * port for port in range(ports)))
        for number, ports in enumerate(sizes)
    ]
    lines = [
        Line(f"b{source % len(every)}", port % sizes[source % len(every)], f"b{target % len(every)}")
        for source, port, target in ends
    ]
    layout = lay_out(every, lines)
    assert_apart(every, layout)
    for line, route in zip(lines, layout.routes, strict=True):
        (x1, y1), (x2, y2) = layout.places[line.source], layout.places[line.target]
        ports = next(box.ports for box in every if box.id == line.source)
        assert route[0] == (x1 + 200, y1 + ports[line.port])
        assert route[-1] == (x2, y2 + 19)


def assert_apart(every: list[Box], layout: Layout) -> None:
    for one, other in combinations(every, 2):
        (x1, y1), (x2, y2) = layout.places[one.id], layout.places[other.id]
        assert x1 != x2 or y1 + one.height <= y2 + 1e-6 or y2 + other.height <= y1 + 1e-6
    assert min(y for _, y in layout.places.values()) >= 0


def test_lines_that_pass_a_column_keep_clear_of_its_boxes() -> None:
    every = [Box(name, 200, 80, 19, (50.0, 65.0)) for name in "abc"]
    layout = lay_out(every, [Line("a", 0, "b"), Line("b", 0, "c"), Line("a", 1, "c")])
    _, top = layout.places["b"]
    assert all(y < top or y > top + 80 for _, y in layout.routes[2][1:3])


def test_a_tree_has_no_crossings() -> None:
    every = [Box(f"b{number}", 200, 80, 19, (30.0, 50.0, 70.0)) for number in range(40)]
    lines = [Line(f"b{n}", port, f"b{3 * n + port + 1}") for n in range(13) for port in range(3)]
    layout = lay_out(every, lines)
    for one, other in combinations(zip(lines, layout.routes, strict=True), 2):
        (_, first), (_, second) = one, other
        if first[0][0] == second[0][0]:
            assert (first[0][1] - second[0][1]) * (first[-1][1] - second[-1][1]) > 0


def test_nobody_could_look_at_a_picture_of_thousands_of_boxes() -> None:
    every = [Box(f"b{number}", 200, 80, 19, (30.0,)) for number in range(3001)]
    with pytest.raises(TooLarge, match="3,001 boxes"):
        lay_out(every, [])
    chain = [Line(f"b{n}", 0, f"b{n + 1}") for n in range(299)] + [Line("b0", 0, "b299")] * 200
    with pytest.raises(TooLarge, match="too much for a picture"):
        lay_out(every[:300], chain)


# --- text ---------------------------------------------------------------------------------


@given(st.text(max_size=200), st.floats(40, 300), st.integers(1, 4))
def test_lines_fit_and_nothing_is_lost_without_a_sign(text: str, room: float, most: int) -> None:
    lines = wrap(text, 12, room, most)
    assert len(lines) <= most
    assert all(width(line, 12) <= room for line in lines)
    whole = "".join(text.split())
    told = "".join("".join(lines).split())
    assert told == whole or (told.endswith("…") and whole.startswith(told[:-1]))


def test_a_long_word_is_broken_where_the_line_is_full() -> None:
    lines = wrap("GET https://example.org/" + "a" * 60, 12, 240, 3)
    assert lines[0].startswith("GET https://example.org/a")
    assert shorten("a  text\n in lines", 12, 500) == "a text in lines"


# --- pictures -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_drawn_tidily(path: Path) -> None:
    flow = compile_flow(path.read_bytes(), name=path.name).graph
    assert flow is not None
    assert_tidy(draw_svg(flow))
    assert_tidy(drawn_call(flow, "press 1; say yes; press 2; press 12"))


@pytest.mark.parametrize(("count", "loops"), [(1, False), (50, False), (50, True), (200, True)])
def test_large_flows_are_drawn_tidily(count: int, loops: bool) -> None:
    svg = draw_svg(of_many(count, 3, loops=loops))
    assert_tidy(svg)
    assert drawn_call(of_many(count, 3, loops=loops), "press 1; say sales; press 2")


def test_a_picture_says_what_is_asked_and_where_each_answer_leads() -> None:
    told = texts(draw_svg(graph_of(MENU), name="menu.json"))
    assert {"menu.json", "Listen", "“Press one or two.”", "1 | sales", "2", "otherwise: hangs up", "“Two.”"} <= set(
        told
    )


def test_a_picture_of_a_call_marks_its_way_with_times_and_what_was_heard() -> None:
    svg = drawn_call(graph_of(MENU), "press 1; say yes")
    told = texts(svg)
    assert "heard “1” at 1.0 s" in told
    assert "call simulated from caller to callee: 3.3 s" in told
    assert [text for text in told if text.isdigit() and text != "2"] == ["1", "3"]
    root = read(svg)
    assert len([path for path in root.iter(f"{SVG}path") if path.get("class") == "line went"]) == 2
    assert len([path for path in root.iter(f"{SVG}path") if path.get("class") == "line missed"]) == 1
    assert len([block for block in root.iter(f"{SVG}g") if block.get("class") == "block missed"]) == 1


def test_where_a_call_ended_in_the_middle_of_a_step_is_marked() -> None:
    assert "the call ended here" in texts(drawn_call(graph_of(MENU), "wait 1; hangup"))


def test_flows_that_a_call_fetched_are_drawn_below() -> None:
    fetch = make(g.Fetch, "f", url=URL, readers=(("", ("brombler",)),), returns=True)
    scenario = Scenario(fetch=canned({URL: Reply(200, "text/plain", b'{"_": "Yes?", "yes": "fine"}', URL)}))
    svg = drawn_call(graph(fetch, say("after")), "say yes", scenario)
    assert f"fetched: {URL}" in texts(svg)
    assert {"flow0-block0", "flow1-block0", "flow1-block1"} <= set(boxes(svg))
    assert_tidy(svg)


def test_a_page_needs_nothing_from_outside_and_tells_the_story() -> None:
    flow = graph_of({"_": "<script>alert('x')</script> & so on", "1": "Good bye."})
    scenario = Scenario()
    page = draw_page(flow, log_of(simulate(flow, "press 1"), scenario), name="<menu>")
    assert "<script>alert" not in page
    assert page.count("<script>") == 1
    assert not re.search(r"(src|href)=|url\(|@import", page)
    assert "<title>&lt;menu&gt;</title>" in page
    assert "heard “1” at" in page
    identities = set(re.findall(r'id="([^"]+)"', page))
    assert set(re.findall(r'data-at="([^"]+)"', page)) <= identities
    assert "<aside" not in draw_page(flow)


def test_pictures_have_no_characters_that_xml_cannot_have() -> None:
    assert_tidy(draw_svg(graph_of({"_": "bell \x07 and \x00 and \ud800", "1": "\u202e backwards"})))
