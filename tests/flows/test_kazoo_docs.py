"""``docs/dialects/kazoo.md`` and the schema say the same, and the tests that it names are there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from flows.dialects.kazoo.compiler import MODULES
from flows.schemas import schema

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "dialects" / "kazoo.md").read_text()
SECTIONS = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^### |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def options(form: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every option of a module, those inside of others too."""
    for name, option in form.get("properties", {}).items():
        if name == "skip_module":
            continue
        resolved = _resolved(option)
        yield prefix + name, resolved
        yield from options(resolved, f"{prefix}{name}.")
        yield from options(_resolved(resolved.get("items", {})), f"{prefix}{name}[].")


def _resolved(form: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = schema("kazoo")["$defs"][form["$ref"].rpartition("/")[2]] if "$ref" in form else form
    return found


def test_every_module_has_its_section() -> None:
    assert SECTIONS.keys() == MODULES.keys()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_every_option_is_in_the_table_with_its_default_and_state(module: str) -> None:
    rows = {line.split("`")[1]: line for line in SECTIONS[module].splitlines() if line.startswith("| `")}
    known = dict(options(schema("kazoo")["$defs"][module]))
    assert rows.keys() == known.keys()
    for name, form in known.items():
        default = form.get("default")
        if default is not None and not isinstance(default, list):
            assert f"| `{json.dumps(default)}` |" in rows[name]
        assert ("**Ignored**" in rows[name]) == ("x-ignored" in form)
    assert re.search(r"^State: (live|simulated only)", SECTIONS[module], re.MULTILINE)


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    there = {
        name
        for path in Path(__file__).parents[1].rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert named
    assert named <= there, named - there


def test_the_example_of_the_page_compiles() -> None:
    example = re.search(r"^    (\{.*?)\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert example
    assert json.loads(example.group(1))["module"] == "tts"
