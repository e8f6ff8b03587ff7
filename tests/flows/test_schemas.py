"""Validation by schema: what is told, and where."""

import pytest

from flows.schemas import Problem, problems, schema


@pytest.mark.parametrize("key", ["1", "01", "+1", "-1", "é", "a/b~c", "", "x"])
def test_a_problem_is_told_under_the_key_as_it_is_written(key: str) -> None:
    at = key.replace("~", "~0").replace("/", "~1")
    variables = {"fine": "1", key: []}
    document = {"module": "set_variables", "data": {"custom_application_vars": variables}}
    (problem,) = [each for each in problems("kazoo", document) if each.keyword == "type"]
    assert problem.path == ("data", "custom_application_vars", key)
    assert problem.where == f"/data/custom_application_vars/{at}"


def test_what_is_missing_is_named() -> None:
    assert list(problems("kazoo", {"module": "tts", "data": {}})) == [
        Problem("/data", ("data",), "required", '"text" is a required property', "text")
    ]


def test_the_number_of_problems_is_bounded() -> None:
    endpoints = [{"id": 1}] * 500
    assert len(list(problems("kazoo", {"module": "ring_group", "data": {"endpoints": endpoints}}))) == 200


def test_every_schema_is_one() -> None:
    assert schema("kazoo")["$schema"].endswith("2020-12/schema")
