"""The pages of the dialects name tests that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in (ROOT / "docs" / "dialects").glob("*.md") if path.name != "README.md")
TESTS = {
    name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    named = set(re.findall(r"`(test_\w+)`", page.read_text()))
    assert len(named) > 5
    assert named <= TESTS, sorted(named - TESTS)


def test_the_index_has_every_page() -> None:
    index = (ROOT / "docs" / "dialects" / "README.md").read_text()
    assert all(f"]({page.name})" in index for page in PAGES)
