"""The OpenAPI document, endpoint by endpoint: closed to other accounts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from kit.daemon import Daemon
from kit.keys import MARK, ask, filled, furnish, keys_of

METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    sections = {"api": {"brombler_rate": 0, "login_failures": 0}, "account": {"allowed": ["+999"]}}
    with Daemon(tmp_path_factory.mktemp("document"), {"1000": "Hello!"}, settings=sections) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def document(house: Daemon) -> dict[str, Any]:
    status, text = ask(house, "GET", "/openapi.json", "")
    assert status == 200
    return dict(json.loads(text))


def endpoints(document: dict[str, Any]) -> list[tuple[str, str, list[str]]]:
    """Method, path and names of the parameters in the path."""
    return [
        (method, path, re.findall(r"{(\w+)(?::\w+)?}", path))
        for path, item in document["paths"].items()
        for method in METHODS
        if method in item
    ]


OPEN = ("/healthz", "/metrics", "/authorize", "/token", "/v100/authorize", "/v100/token", "/auth.cas")
"""What asks for no token, or for other credentials."""


def test_every_endpoint_is_closed_to_other_accounts(house: Daemon, document: dict[str, Any]) -> None:
    one, other = keys_of(house, "one"), keys_of(house, "other")
    ids = furnish(house, one)
    everything = endpoints(document)
    assert len(everything) > 90
    seen_by_owner, leaks, open_doors = 0, [], []
    for method, path, names in everything:
        if path in OPEN:
            continue
        body = {} if method in ("post", "put", "patch") else None
        paths = filled(path, ids)
        if (status := ask(house, method, paths[0], "", body)[0]) not in (401, 403, 404, 405):
            open_doors.append(f"{method} {path}: {status}")
        for each in paths:
            status, text = ask(house, method, each, other.of(path), body)
            told = text
            for part in each.split("/"):  # what was asked for may be said again
                told = told.replace(unquote(part) or MARK.upper(), "")
            if status >= 500 or MARK in told or (names and status < 300 and method in ("get", "delete", "patch")):
                leaks.append(f"{method} {each}: {status} {text[:200]}")
            if method == "get" and names:
                seen_by_owner += ask(house, method, each, one.of(path))[0] == 200
    assert not open_doors, "\n".join(open_doors)
    assert not leaks, "\n".join(leaks)
    assert seen_by_owner > 15, "the ids are good, for whom they belong to"


def test_metrics_are_documented_as_text(document: dict[str, Any]) -> None:
    assert list(document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]) == ["text/plain"]


def test_every_answer_has_its_form_in_the_document(document: dict[str, Any]) -> None:
    bare = []
    for method, path, _ in endpoints(document):
        for status, answer in document["paths"][path][method]["responses"].items():
            bare += [
                f"{method} {path} {status}" for media in answer.get("content", {}).values() if not media.get("schema")
            ]
    assert not bare, "\n".join(bare)
    assert "#/$defs/" not in json.dumps(document), "what a schema refers to is in the document"
