"""Whatever is sent, the Realtime API answers in its own words, and never that it broke."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from kwebbl_kit import ALL, BACK, Office, Template, office_in

WORDS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["*", "201", "+31203080700", "f" * 32, "created", "detailed", BACK, "http://[::1", "code", "S256"]),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "event_types",
        "events",
        "agents",
        "mode",
        "callback_url",
        "callback_content_type",
        "from",
        "to",
        "target",
        "id",
        "transfer_type",
        "caller_id",
        "grant_type",
        "code",
        "redirect_uri",
        "refresh_token",
        "client_id",
        "scope",
    ]
)
BODIES = st.one_of(JSON, st.dictionaries(FIELDS, JSON, max_size=6))
AGENTS = st.dictionaries(st.sampled_from(["field", "number", "extension_id"]), st.one_of(WORDS, st.integers()))
PATHS = st.sampled_from(
    [
        ("POST", "/subscriptions"),
        ("POST", "/calls"),
        ("PUT", "/extensions/{}/caller_id"),
        ("GET", "/extensions/{}"),
        ("GET", "/subscriptions/{}"),
        ("DELETE", "/subscriptions/{}"),
        ("POST", "/calls/{}/{}"),
        ("POST", "/calls/{}/transfer"),
        ("POST", "/token"),
        ("GET", "/{}"),
    ]
)
CODES = {"validation", "invalid_grant", "access_denied", "entity_not_exist", "invalid_request", "invalid_client"}


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture(scope="module")
def hostile(
    loop: asyncio.AbstractEventLoop, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Office, str]]:
    """An office that every example asks, and a token with every scope."""
    folder: Path = tmp_path_factory.mktemp("hostile")
    opened = office_in(folder, template)
    office = loop.run_until_complete(opened.__aenter__())
    token = loop.run_until_complete(office.token("ada", ALL))
    yield office, token
    loop.run_until_complete(opened.__aexit__(None, None, None))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=PATHS, words=st.tuples(WORDS, WORDS), body=BODIES, agents=st.lists(AGENTS, max_size=3))
@example(where=("PUT", "/extensions/{}/caller_id"), words=("/\n", ""), body={}, agents=[])
def test_no_body_or_path_breaks_it(
    loop: asyncio.AbstractEventLoop, hostile: Any, where: Any, words: Any, body: Any, agents: Any
) -> None:
    office, token = hostile
    method, path = where
    if isinstance(body, dict) and agents and path == "/subscriptions":
        body = {"callback_url": "http://example.com/x", **body, "agents": agents}
    data = json.dumps(body).encode("utf-8", "surrogatepass")
    place = path.format(*(_quoted(word) for word in words))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    async def ask() -> tuple[int, Any]:
        url = f"{office.url}/v100{place}"
        async with office.http.request(method, url, data=data, headers=headers, allow_redirects=False) as answer:
            text = await answer.read()
            return answer.status, json.loads(text) if text else None

    status, answer = loop.run_until_complete(ask())
    assert status < 500
    if status >= 400:
        assert answer.get("error_code", answer.get("error")) in CODES
        assert answer.get("status_code", status) == status


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fields=st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "client_id",
                    "redirect_uri",
                    "response_type",
                    "state",
                    "scope",
                    "code_challenge",
                    "code_challenge_method",
                ]
            ),
            st.one_of(WORDS, st.just("own"), st.just(BACK), st.sampled_from(ALL.split())),
        ),
        max_size=8,
    ),
    form=st.one_of(st.binary(max_size=60), WORDS.map(str.encode)),
)
def test_no_authorization_request_breaks_it(
    loop: asyncio.AbstractEventLoop, hostile: Any, fields: list[tuple[str, str]], form: bytes
) -> None:
    office, _ = hostile
    query = "&".join(f"{name}={_quoted(office.own.client_id if value == 'own' else value)}" for name, value in fields)

    async def ask(method: str) -> tuple[int, str]:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        url = f"{office.url}/authorize?{query}"
        async with office.http.request(method, url, data=form, headers=headers, allow_redirects=False) as answer:
            return answer.status, answer.headers.get("Location", "")

    for method in ("GET", "POST"):
        status, location = loop.run_until_complete(ask(method))
        assert status < 500
        assert not location or location.startswith(f"{BACK}?error="), "nobody is sent elsewhere"


def _quoted(word: str) -> str:
    return "".join(f"%{octet:02X}" for octet in word.encode("utf-8", "replace")) or "x"
