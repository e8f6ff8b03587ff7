"""Paths that are none are answered in an API's own words, whatever stands in them."""

from __future__ import annotations

import pytest
from starlette.routing import compile_path

from engine.api.paths import ANYTHING


@pytest.mark.parametrize("rest", ["", "a/b", "a\nb", "\n", "a\n", "x" * 5000, "é\u2028"])
def test_everything_that_is_left_is_taken(rest: str) -> None:
    regex, _, _ = compile_path(f"/v1/{{rest:{ANYTHING}}}")
    found = regex.match(f"/v1/{rest}")
    assert found is not None
    assert found["rest"] == rest
