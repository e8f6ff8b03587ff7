from __future__ import annotations

import pytest

from engine.calls.numbers import NumberPlan, normalise


def test_exact_then_longest_prefix_then_star():
    plan = NumberPlan([("*", "any"), ("+39*", "italy"), ("+391*", "piedmont"), ("+39 11-1", "one"), ("1000", "hello")])
    assert plan.find("+39111") == "one"
    assert plan.find("+391234") == "piedmont"
    assert plan.find("+392") == "italy"
    assert plan.find("1000") == "hello"
    assert plan.find("bob") == "any"
    assert plan.find("") == "any"


def test_nothing_found():
    assert NumberPlan([("1000", 1)]).find("1001") is None


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("+39 (010) 12-34", "+390101234"),
        ("010.12/34", "0101234"),
        ("%2B3912", "+3912"),
        ("jean-luc", "jean-luc"),
        ("007", "007"),
    ],
)
def test_separators(written: str, compared: str):
    assert normalise(written) == compared


def test_twice_is_an_error():
    with pytest.raises(ValueError, match="twice"):
        NumberPlan([("10 00", 1), ("1000", 2)])
