"""The documents say what is true: every key is documented, every link leads somewhere, the examples load."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from engine.config import Config, load

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.md")])


def sections() -> list[tuple[str, type[BaseModel]]]:
    found: list[tuple[str, type[BaseModel]]] = []
    for name, field in Config.model_fields.items():
        kind = field.annotation
        model = next((each for each in (kind, *get_args(kind)) if isinstance(each, type)), None)
        assert model is not None
        assert issubclass(model, BaseModel)
        found.append((name, model))
    return found


@pytest.mark.parametrize(("name", "model"), sections(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_key_is_documented_with_its_default(name: str, model: type[BaseModel]) -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    heading = re.search(rf"^## `\[+{name}\]+`.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert heading, f"no section for [{name}]"
    rows = dict(re.findall(r"^\| `(\w+)` \| *(.*?) *\|", heading[0], re.MULTILINE))
    keys = {field.alias or key: field for key, field in model.model_fields.items()}
    assert set(rows) == set(keys)
    for key, field in keys.items():
        if field.is_required():
            assert rows[key] == "", f"{key} has no default"
            continue
        default = field.default.get_secret_value() if hasattr(field.default, "get_secret_value") else field.default
        shown = rows[key].strip("`")
        assert shown in {str(default), repr(default).replace("'", '"'), f'"{default}"', str(default).lower()} or (
            isinstance(default, float) and float(shown) == default
        ), f"{key}: {shown} is documented, {default!r} is the default"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"^    make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_configuration_that_make_serve_runs() -> None:
    config = load(ROOT / "examples" / "ivrea.toml")
    assert "1000" in {each.number for each in config.numbers}
    for number in config.numbers:
        assert Path(number.flow).is_file(), number.flow
    assert all(address.host == "127.0.0.1" for address in config.sip.addresses)
