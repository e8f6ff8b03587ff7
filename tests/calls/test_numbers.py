from __future__ import annotations

import pytest

from engine.calls.numbers import Dialplan, NumberPlan


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
    ("dialled", "expected"),
    [
        ("1000", "exact"),
        ("10-00", "exact"),
        ("+39 1 5", "short"),
        ("+39112", "long"),
        ("0039", "any"),
        ("", "any"),
        ("*", "any"),
        ("1000*", "any"),
    ],
)
def test_numbers_exact_then_longest_prefix_then_star(dialled: str, expected: str) -> None:
    table = {"*": "any", "+391*": "short", "+3911*": "long", "1000": "exact"}
    assert NumberPlan(table.items()).find(dialled) == expected


def test_separators_do_not_count_on_either_side():
    plan = NumberPlan([("+39 (010) 12-34", "bank"), ("jean-luc", "captain"), ("007", "agent")])
    assert plan.find("+390101234") == "bank"
    assert plan.find("+39-010.12 34") == "bank"
    assert plan.find("jean-luc") == "captain"
    assert plan.find("7") is None


def test_twice_is_an_error():
    with pytest.raises(ValueError, match="twice"):
        NumberPlan([("10 00", 1), ("1000", 2)])


def test_a_catch_all_makes_no_number_the_accounts_own() -> None:
    plan = Dialplan(NumberPlan(), {"a": NumberPlan([("1000", "exact"), ("+391*", "prefix"), ("*", "any")])})
    assert [plan.own(number, "a") for number in ("1000", "+39155", "+49", "")] == ["exact", "prefix", None, None]
    assert plan.own("1000", "b") is None
    assert plan.find("+49", "a") == "any"
