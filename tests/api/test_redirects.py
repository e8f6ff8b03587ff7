"""Redirect URIs are judged when a client is made, not when somebody logs in."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from engine.api.own.bodies import ClientBody


@pytest.mark.parametrize(
    "uri",
    [
        "https://crm.example/back?a=1",
        "https://[2001:db8::1]:8443/cb",
        "http://127.0.0.1:3000/cb",
        "http://[::1]/cb",
        "http://localhost:8080/",
        "nl.crm.app:/done?a=1",
    ],
)
def test_good_ones(uri: str) -> None:
    assert ClientBody(name="crm", redirect_uris=[uri]).redirect_uris == [uri]


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("http://crm.example/back", "must begin with https://"),
        ("http://127.0.0.1.crm.example/back", "must begin with https://"),
        ("http://localhost.example/", "must begin with https://"),
        ("https://crm.example/back#", "fragment"),
        ("https://crm.example/back#x", "fragment"),
        ("https://user@crm.example/", "host"),
        ("https:///path", "host"),
        ("https://crm.example:99999/", "no URI"),
        ("https://[::1/", "no URI"),
        ("/back", "absolute"),
        ("crm:/back", "scheme of an app"),
        ("javascript:alert(1)", "scheme of an app"),
        ("https://crm.example/a b", "absolute"),
        ("https://crm.example/\u00e9", "absolute"),
        ("", "absolute"),
    ],
)
def test_others_are_refused_with_the_reason(uri: str, says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ClientBody(name="crm", redirect_uris=["https://crm.example/", uri])
    (problem,) = refused.value.errors()
    assert problem["loc"] == ("redirect_uris", 1)
    assert says in problem["msg"]
