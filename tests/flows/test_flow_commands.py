"""``ivrea convert`` and ``ivrea new`` as people type them; the starters themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.cli import app
from flows.check import Knowledge, check_compiled
from flows.dialects import compile_flow, detect
from flows.tools.convert import TARGETS
from flows.tools.flowtest import load, run
from flows.tools.starter import STARTERS, starter
from media.speech.lexicon import pronounceable
from media.tts.voices import known_language, known_voice

TREE = '{"_": "One or two?", "key:1": "One.", "key:2": "Two."}'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tree.json").write_text(TREE)
    (tmp_path / "words.json").write_text('{"_": "Yes or no?", "yes | key:1": "Yes.", "no | key:2": "No."}')
    return tmp_path


def ivrea(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("to", ["kazoo", "messagebird", "brombler"])
def test_a_flow_is_printed_in_another_dialect(folder: Path, to: str) -> None:
    status, out, _ = ivrea("convert", "tree.json", "--to", to)
    assert status == 0
    assert detect(out) == to
    assert compile_flow(out, dialect=to).graph is not None


def test_the_same_dialect_is_the_same_document(folder: Path) -> None:
    assert ivrea("convert", "tree.json", "--to", "brombler") == (0, TREE, "")


def test_what_is_lost_is_listed_and_the_status_says_so(folder: Path) -> None:
    status, _, err = ivrea("convert", "words.json", "--to", "kazoo", "-o", "callflow.json")
    assert status == 1
    assert "'yes | key:1' can only be pressed (1)" in err
    assert "2 things are lost" in err
    assert detect((folder / "callflow.json").read_text()) == "kazoo"
    assert ivrea("convert", "words.json", "--to", "kazoo", "--lossy")[0] == 0


def test_the_list_as_json(folder: Path) -> None:
    status, out, _ = ivrea("convert", "words.json", "--to", "kazoo", "--json")
    told = json.loads(out)
    assert (status, told["dialect"], told["lost"]) == (1, "kazoo", 2)
    assert [finding["code"] for finding in told["findings"]] == ["words", "words"]
    assert detect(told["document"]) == "kazoo"


def test_bad_requests_are_refused(folder: Path) -> None:
    assert ivrea("convert", "tree.json", "--to", "klingon")[0] == 2
    assert ivrea("convert", "none.json", "--to", "kazoo")[0] == 2
    (folder / "bad.json").write_text('{"$x": "y"}')
    assert ivrea("convert", "bad.json", "--to", "kazoo")[0] == 1
    assert ivrea("new", "--dialect", "klingon")[0] == 2


# --- starters ---------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", STARTERS)
def test_a_starter_is_without_findings_and_passes_its_tests(dialect: str) -> None:
    begun = starter(dialect, "a.flow", "a.flowtest.yaml")
    assert detect(begun.document) == dialect
    knowledge = Knowledge(known_voice=known_voice, known_language=known_language, unpronounceable=pronounceable)
    assert check_compiled(compile_flow(begun.document, name=f"a{STARTERS[dialect]}"), knowledge) == ()
    loaded = load(begun.tests, {"a.flow": begun.document.encode()}.__getitem__)
    assert loaded.findings == ()
    assert len(loaded.tests) >= 3
    for test in loaded.tests:
        result = run(test)
        assert result.passed, result.render()


def test_there_is_a_starter_for_every_dialect_that_is_written() -> None:
    assert {*STARTERS} == {*TARGETS}


@pytest.mark.parametrize("dialect", STARTERS)
def test_new_writes_a_flow_and_its_tests(folder: Path, dialect: str) -> None:
    status, out, _ = ivrea("new", "--dialect", dialect)
    flow = f"flow{STARTERS[dialect]}"
    assert status == 0
    assert "ivrea test flow.flowtest.yaml" in out
    assert ivrea("test", "flow.flowtest.yaml")[0] == 0
    before = (folder / flow).read_text()
    assert ivrea("new", "--dialect", dialect)[0] == 2
    assert (folder / flow).read_text() == before


def test_new_overwrites_neither_of_the_two(folder: Path) -> None:
    (folder / "a.flowtest.yaml").write_text("mine")
    assert ivrea("new", "a.json")[0] == 2
    assert not (folder / "a.json").exists()
