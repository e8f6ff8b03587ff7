"""Which dialect a document is taken for, and that saying which one overrides it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.dialects import DIALECTS, UnknownDialect, compile_flow, detect
from flows.documents import MAX_BYTES

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(path for path in FOLDER.iterdir() if path.suffix in (".json", ".xml"))

CALL_FLOW = {"title": "x", "steps": [{"action": "hangup"}]}
TREE = {"_": "Hello. Yes or no?", "yes": "a", "no": "b"}

DOCUMENTS = [
    ("Hello", "brombler"),
    ("", "brombler"),
    ("{", "brombler"),
    ('{"_": "Hello"}', "brombler"),
    ({"_": "Hello", "steps": "a"}, "brombler"),
    ('{"_": "say \\"steps\\": [1]"}', "brombler"),
    ("My \"steps\": [1]", "brombler"),
    (TREE, "brombler"),
    (None, "brombler"),
    (7, "brombler"),
    ([CALL_FLOW], "brombler"),
    (CALL_FLOW, "messagebird"),
    ({"steps": []}, "messagebird"),
    ("\ufeff\n" + json.dumps(CALL_FLOW, indent=1), "messagebird"),
    ('{"title": "x", "steps": [{"action": "hangup"},]}', "messagebird"),
    ('{"steps": [' + " " * MAX_BYTES, "messagebird"),
    ('{"_": "steps", "a": {"steps": [1]}}', "brombler"),
    ({"workflow": []}, "verboice"),
    ({"workflow": [], "steps": [{"guid": "s", "external_service_guid": "v"}]}, "verboice"),
    ('{"workflow": [{"id": 1, "type": "hang_up"}], "steps": []}', "verboice"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "dialect"), DOCUMENTS, ids=lambda value: str(value)[:30])
def test_the_dialect_is_seen_from_the_document(document: object, dialect: str) -> None:
    assert detect(document) == dialect
    if isinstance(document, str):
        assert detect(document.encode()) == dialect
        assert detect(bytearray(document.encode())) == dialect


@pytest.mark.parametrize("document", [document for document, _ in DOCUMENTS], ids=lambda value: str(value)[:30])
def test_what_was_detected_compiles_it(document: object) -> None:
    seen = compile_flow(document)
    named = DIALECTS[detect(document)](document)
    assert seen.findings == named.findings
    assert (seen.graph is None) == (named.graph is None)


def test_a_dialect_that_is_named_overrides_detection() -> None:
    assert compile_flow(CALL_FLOW).graph is not None
    assert compile_flow(CALL_FLOW, dialect="brombler").graph is None
    assert compile_flow(TREE, dialect=" MessageBird ").graph is None


def test_a_dialect_that_is_none_is_refused() -> None:
    with pytest.raises(UnknownDialect, match="brombler"):
        compile_flow("Hello", dialect="esperanto")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_detected(path: Path) -> None:
    assert compile_flow(path.read_bytes(), name=path.name).graph is not None


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary(max_size=60)
    | st.text('{}[]"<>:,steps action\\', max_size=60)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["steps", "flow", "data", "_"]), inner)
        ),
        max_leaves=6,
    )
)
def test_any_document_has_a_dialect(document: object) -> None:
    assert detect(document) in DIALECTS
    assert detect(document) == detect(document)
