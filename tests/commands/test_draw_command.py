"""``ivrea draw``: files by their ending, with a call of any origin, and what is refused."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

FLOW = {"_": "Press one.", "1": "Good bye."}

Run = Callable[..., Result]


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    path = tmp_path / "menu.json"
    path.write_text(json.dumps(FLOW))
    return path


def test_svg_and_page_by_the_ending_of_the_name(tmp_path: Path, flow: Path, run: Run) -> None:
    run("draw", flow)
    assert ET.parse(tmp_path / "flow.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
    run("draw", flow, "-o", "a.html")
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")
    assert run("draw", flow, "-o", "-").stdout.startswith("<svg ")


def test_a_simulated_call_and_a_logged_one_are_drawn_alike(tmp_path: Path, flow: Path, run: Run) -> None:
    run("draw", flow, "-o", "one.svg", "--simulate", "press 1")
    (tmp_path / "log.json").write_text(run("simulate", flow, "-s", "press 1", "--json").stdout)
    run("draw", flow, "-o", "two.svg", "--log", "log.json")
    drawn = (tmp_path / "one.svg").read_text()
    assert "heard “1” at" in drawn
    assert drawn == (tmp_path / "two.svg").read_text()


def test_a_silent_caller_is_one_too(tmp_path: Path, flow: Path, run: Run) -> None:
    run("draw", flow, "--simulate", "")
    assert "call simulated" in (tmp_path / "flow.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "flow.png"), "--output flow.png: the name of a picture ends in .svg or .html"),
        (("-o", "none/flow.svg"), "--output none/flow.svg: No such file or directory"),
        (("--log", "x", "--simulate", "press 1"), "--log and --simulate: a picture has one call"),
        (("--log", "x"), "there is no call 'x'"),
        (("--simulate", "jump"), "'jump' is none of say"),
    ],
)
def test_what_is_refused(flow: Path, run: Run, arguments: tuple[str, ...], message: str) -> None:
    assert message in run("draw", flow, *arguments, status=2).stderr


def test_a_flow_without_a_graph_is_not_drawn(tmp_path: Path, run: Run) -> None:
    (tmp_path / "bad.json").write_text('{"_": ["no"]')
    result = run("draw", "bad.json", status=1)
    assert "error" in result.stderr
    assert not (tmp_path / "flow.svg").exists()


def test_settings_of_calls_are_those_of_the_configuration(tmp_path: Path, flow: Path, run: Run) -> None:
    (tmp_path / "my.toml").write_text("[calls]\nrepeats = 0\n")
    run("draw", flow, "-o", "usual.svg", "--simulate", "")
    run("draw", flow, "-o", "quick.svg", "--simulate", "", "--config", "my.toml")
    assert (tmp_path / "usual.svg").read_text() != (tmp_path / "quick.svg").read_text()
