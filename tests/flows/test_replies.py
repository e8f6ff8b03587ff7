"""Answers of web servers from a table: every form, and what is wrong with one, named."""

from __future__ import annotations

from typing import Any

import pytest

from flows.call import FetchFailed, Reply, Request
from flows.scripted_world import canned
from flows.tools.replies import RepliesError, read_replies

URL = "https://example.org/next"
FILES = {"flow.xml": b"<Response/>", "flow.json": b"{}", "flow": b"  {}"}


def read_file(name: str) -> bytes:
    if name not in FILES:
        raise FileNotFoundError(2, "No such file or directory", name)
    return FILES[name]


def first(value: Any) -> Reply:
    answer = read_replies({URL: value}, read_file)[URL][0]
    assert isinstance(answer, Reply)
    return answer


@pytest.mark.parametrize(
    ("value", "body", "kind"),
    [
        ("hello", b"hello", "text/plain"),
        ("<Response/>", b"<Response/>", "text/xml"),
        ({"body": '{"_": "x"}'}, b'{"_": "x"}', "application/json"),
        ({"body": 7}, b"7", "text/plain"),
        ({"body": "x", "type": "text/x-flow"}, b"x", "text/x-flow"),
        ({"json": ["ü"]}, '["ü"]'.encode(), "application/json"),
        ({"file": "flow.xml"}, b"<Response/>", "text/xml"),
        ({"file": "flow.json"}, b"{}", "application/json"),
        ({"file": "flow"}, b"  {}", "application/json"),
        ({}, b"", "text/plain"),
    ],
)
def test_bodies_and_their_types(value: Any, body: bytes, kind: str) -> None:
    assert first(value) == Reply(200, kind, body, URL)


def test_a_status_and_a_server_that_is_down() -> None:
    assert first({"status": 503}).status == 503
    (failure,) = read_replies({URL: {"fail": "it is down"}}, read_file)[URL]
    assert isinstance(failure, FetchFailed)
    assert str(failure) == "it is down"


def test_answers_in_a_list_are_given_one_after_the_other() -> None:
    ask = canned(read_replies({f"post {URL}": ["one", {"fail": ""}, "last"]}, read_file))
    post = Request(URL, "POST")
    assert ask(post).body == b"one"
    with pytest.raises(FetchFailed, match="no answer came"):
        ask(post)
    assert [ask(post).body, ask(post).body] == [b"last", b"last"]
    with pytest.raises(FetchFailed, match="no answer from"):
        ask(Request(URL))


def test_somebody_else_answers_what_the_table_does_not() -> None:
    ask = canned(read_replies({URL: "known"}, read_file), lambda request: Reply(200, "", b"other", request.url))
    assert (ask(Request(URL)).body, ask(Request("http://b/")).body) == (b"known", b"other")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "the replies are URLs, each with its answer"),
        ({"next": "x"}, "'next' is neither a URL nor a method and a URL"),
        ({1: "x"}, "1 is neither a URL"),
        ({URL: []}, f"{URL}: an empty list of answers"),
        ({URL: ["x", 5]}, rf"{URL}\[1\]: an answer is a text or an object with status, type"),
        ({URL: {"bdy": "x"}}, "'bdy' is none of status, type, body, json, file, fail"),
        ({URL: {"body": "x", "file": "y"}}, "one of body and file, not both"),
        ({URL: {"status": "200"}}, "status: '200' is no HTTP status from 100 to 599"),
        ({URL: {"status": True}}, "status: True is no HTTP status"),
        ({URL: {"type": 5}}, "type: a content type is a text"),
        ({URL: {"file": "none"}}, "file: none: No such file or directory"),
        ({URL: {"file": 5}}, "file: the name of a file is a text"),
        ({URL: {"body": {}}}, "body: a body is a text; a value to send as JSON stands under json"),
        ({URL: {"json": {1, 2}}}, "json: Object of type set is not JSON serializable"),
    ],
)
def test_what_is_wrong_is_named(table: Any, message: str) -> None:
    with pytest.raises(RepliesError, match=message):
        read_replies(table, read_file)
