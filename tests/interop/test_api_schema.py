"""The OpenAPI document is the truth: whatever is sent to an API, the answer is one of those that it has, in their form.

Requests are made of the document by schemathesis, by hypothesis in turn: such as it has, such as break it somewhere,
and such as have it with ids and names of what is there. They are the same in every run; ``IVREA_SCHEMA_EXAMPLES`` is
the number of each kind for each endpoint. All calls go to a trunk on this machine, and nowhere else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest import SkipTest
from urllib.parse import urlencode

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from kit import sipp
from kit.api import Api
from kit.daemon import Daemon
from kit.keys import MARK, Keys, ask, furnish, keys_of
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.errors import SerializationNotPossible
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from engine.api.kwebbl.callids import of_call

pytestmark = pytest.mark.peer("sipp")

EXAMPLES = int(os.environ.get("IVREA_SCHEMA_EXAMPLES", "2"))
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

LENIENT = ("Verboice",)
"""Where what breaks the document need not be refused by the status: Verboice says with 200 what is wrong with something
that is created or updated, and it takes numbers for texts as Rails does.
"""

KINDS = ((GenerationMode.POSITIVE, False), (GenerationMode.NEGATIVE, False), (GenerationMode.POSITIVE, True))
"""How requests are made, and whether ids and names of what is there are put into them."""

SYSTEMS = {"Brombler", "Verboice", "Kazoo", "Kwebbl", "MessageBird Voice", "Ivrea"}
DIALLED = "+99911"
"""Of the numbers that may be called."""
PAUSE = {"title": "p", "record": False, "steps": [{"action": "pause", "options": {"length": 1000}}]}


@dataclass(slots=True)
class There:
    """What the account has: credentials, and parameters of paths and fields that are good, by the system's prefix."""

    keys: Keys
    api: Api
    places: dict[str, dict[str, str]] = field(default_factory=dict)
    """By what stands before it in the path."""

    def place(self, path: str, name: str) -> str:
        """What fits into a path for a parameter."""
        before = path.split("{" + name, maxsplit=1)[0].rstrip("/").rpartition("/")[2]
        system = next(prefix for prefix in ("/api/v1", "/api", "/v2", "/v100", "/v1") if path.startswith(f"{prefix}/"))
        known = self.places[system]
        return known.get(before, known.get(name, "none"))

    def begin_call(self) -> str:
        """A call that talks and is recorded; the last one, if that lives."""
        known = self.places["/api/v1"].get("calls")
        if known and self.api.get(known)["status"] == "answered":
            return known
        flow = {"document": PAUSE, "dialect": "messagebird"}
        call = self.api.call(DIALLED, flow, record=True, trunk="carrier")
        self.api.wait(call, "answered")
        self.places["/api/v1"]["calls"] = call
        self.places.setdefault("/v100", {})["calls"] = of_call(call)
        return call

    def fields(self, path: str) -> dict[str, Any]:
        """What fits into the fields of a body or the parameters of a query."""
        own, kwebbl = self.places["/api/v1"], self.places["/v100"]
        by_path: dict[str, dict[str, Any]] = {
            "/call.cas": {"who": DIALLED, "tree": "Hello!"},
            "/close.cas": {"who": own["calls"]},
            "/refer.cas": {"who": own["calls"], "user": f"{MARK}-ann"},
            "/v100/calls": {"from": {"number": "4711"}, "to": {"number": DIALLED}},
            "/v100/calls/{call_id}/transfer": {"target": {"number": "4711"}, "transfer_type": "blind"},
            "/v100/subscriptions": {"callback_url": "https://told.example/", "agents": [], "event_types": ["*"]},
            "/v100/extensions/{extension_id}/caller_id": {"caller_id": kwebbl["caller_id"]},
            "/v1/calls": {"source": "+390115550147", "destination": DIALLED, "callFlow": PAUSE},
            "/v1/webhooks": {"url": "https://told.example/", "token": "t", "title": "t"},
            "/v1/call-flows": PAUSE,
            "/v1/call-flows/{flow_id}": PAUSE,
            "/v1/call-flows/{flow_id}/numbers": {"numbers": ["+390115550199"]},
            "/api/call": {"channel": "carrier", "address": DIALLED, "call_flow": f"{MARK}-flow"},
        }
        common = {"to": DIALLED, "flow": f"{MARK}-flow", "user": f"{MARK}-ann", "role": "viewer", "trunk": "carrier"}
        common |= {"members": [f"{MARK}-ann"], "devices": [f"{MARK}-desk"], "not_before": "", "not_after": ""}
        common |= {"time_zone": "UTC", "schedule": None, "host": "127.0.0.1", "group": None, "machine_detection": ""}
        common |= {"page": 1, "perPage": 10, "before": "", "callflow_url": "", "dialect": "", "from": ""}
        return by_path.get(path, common if path.startswith("/api/v1") else {})


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("schema")
    carrier = sipp.start("uas_echo", folder / "carrier", calls=100_000, together=20, patience=3600, traced=False)
    daemon = Daemon(
        folder,
        {"1000": "Hello!"},
        settings={"api": {"brombler_rate": 0}, "account": {"allowed": ["+999"]}, "rtp": {"timeout": 0}},
        trunks=[{"name": "carrier", "host": f"127.0.0.1:{carrier.port}", "inbound": "none"}],
    )
    with daemon:
        yield daemon
        api = Api(daemon)  # nobody need be waited for
        for call in api.ask("GET", "/calls?status=live&limit=200")[1]["calls"]:
            api.ask("DELETE", f"/calls/{call['id']}")
    carrier.stop()


@pytest.fixture(scope="module")
def document(house: Daemon) -> dict[str, Any]:
    return dict(json.loads(ask(house, "GET", "/openapi.json", "")[1]))


@pytest.fixture(scope="module")
def there(house: Daemon) -> There:
    """One of everything, and a call that talks and is recorded."""
    keys = keys_of(house, "default")
    ids = {place: found[0] for place, found in furnish(house, keys).items()}
    api = Api(house, keys.bearer.removeprefix("Bearer "))
    other = api.ask("POST", "/accounts", {"name": "other"})[1]
    own = {**ids, "outbox": "1", "recordings": "1", "accounts": other["id"], "media": "tone", "calls": ""}
    found = There(keys, api, {"/api/v1": own})
    call = found.begin_call()

    def made(method: str, path: str, body: object = None) -> Any:
        status, text = ask(house, method, path, keys.of(path), body)
        assert status in (200, 201), (path, status, text)
        return json.loads(text)

    def first(path: str) -> str:
        listed = made("GET", path)
        return str((listed["data"] if isinstance(listed, dict) else listed)[0]["id"])

    project = first("/api/projects")
    base = f"/api/projects/{project}"
    nine = {"name": "nine", "time_from_str": "09:00", "time_to_str": "18:00", "weekdays": "1", "retries": "1h"}
    made("POST", f"{base}/schedules", nine)
    contact = made("POST", f"{base}/contacts", {"address": "4711"})
    wish = {"channel": "carrier", "address": DIALLED, "call_flow": f"{MARK}-flow", "not_before": "2099-01-01"}
    found.places["/api"] = {
        "projects": project,
        "schedules": "nine",
        "by_address": str(contact["addresses"][0]),
        "project_variables": str(made("POST", f"{base}/project_variables", {"name": "colour"})["id"]),
        "call_flows": first(f"{base}/call_flows"),
        "channels": str(next(each["id"] for each in made("GET", "/api/channels/all") if each["name"] == "carrier")),
        "calls": str(made("GET", f"/api/call?{urlencode(wish)}")["call_id"]),
        "logs": call,
    }
    found.places["/v2"] = {"accounts": keys.account, "debug": call}
    subscription = made("POST", "/v100/subscriptions", {"callback_url": "https://told.example/"})["id"]
    extension = first("/v100/extensions")
    shown = made("GET", f"/v100/extensions/{extension}/multiple_caller_ids")
    found.places["/v100"] = {
        "subscriptions": subscription,
        "extensions": extension,
        "calls": of_call(call),
        "caller_id": shown[0]["caller_id"] if shown else "",
    }
    voice = next(each["id"] for each in made("GET", "/v1/calls?perPage=100")["data"] if each["destination"] in DIALLED)
    leg = first(f"/v1/calls/{voice}/legs")
    recording = first(f"/v1/calls/{voice}/legs/{leg}/recordings")
    found.places["/v1"] = {**ids, "calls": voice, "legs": leg, "recordings": recording}
    return found


def requests(
    operation: Any, mode: GenerationMode, base: str, there: There, *, fitting: bool, seen: set[tuple[str, int]]
) -> Callable[[], None]:
    """Some requests to an endpoint, and a look at each answer."""
    lenient = operation.tags[0] in LENIENT
    checks = CHECKS if lenient or mode is GenerationMode.POSITIVE else [*CHECKS, negative_data_rejection]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def attempt(case: Any) -> None:
        if fitting:
            fit(case, operation.path, there)
        answer = case.call(base_url=base, headers={"Authorization": there.keys.of(operation.path)}, timeout=20)
        seen.add((operation.label, answer.status_code))
        case.validate_response(answer, checks=checks)

    return attempt


def fit(case: Any, path: str, there: There) -> None:
    """Put ids and names into a request that are there."""
    for name in case.path_parameters or {}:
        case.path_parameters[name] = there.place(path, name)
    fields = there.fields(path)
    if isinstance(case.body, dict):
        schema = case.operation.body[0].definition["schema"] if case.operation.body else {}
        known = schema.get("properties", {})
        case.body = {**case.body, **{name: value for name, value in fields.items() if name in known}}
    if fields and isinstance(case.query, Mapping):
        known = {each.name for each in case.operation.query}
        case.query = {**case.query, **{name: value for name, value in fields.items() if name in known}}


HANDED_ON = ("/transfer", "/redirect", "/refer.cas", "/flow", "/{destination}")
ENDED = ("/terminate", "/hangup", "/close.cas", "/cancel")


def order(operation: Any) -> int:
    """What is only looked at comes first, what takes something away last."""
    if operation.method == "delete" or operation.path.endswith(ENDED):
        return 3
    return 2 if operation.path.endswith(HANDED_ON) else int(operation.method != "get")


def breakable(operation: Any) -> bool:
    """Whether a request can break the document: any text is a good name in a path."""
    parameters = [*operation.path_parameters, *operation.query]
    return bool(operation.body) or any(
        {key for key in each.definition["schema"] if key not in ("title", "description")} != {"type"}
        or each.definition["schema"]["type"] != "string"
        for each in parameters
    )


@pytest.mark.timeout(90 * max(1, EXAMPLES))
def test_answers_are_those_of_the_document(house: Daemon, document: dict[str, Any], there: There) -> None:
    base = f"http://127.0.0.1:{house.http_port}"
    operations = [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]
    assert {operation.tags[0].partition(":")[0] for operation in operations} - {"Operation"} == SYSTEMS
    failures: list[str] = []
    seen: set[tuple[str, int]] = set()
    for operation in sorted(operations, key=order):
        if order(operation) >= 2:
            there.begin_call()
        for mode, fitting in KINDS:
            if mode is GenerationMode.NEGATIVE and not breakable(operation):
                continue
            try:
                requests(operation, mode, base, there, fitting=fitting, seen=seen)()
            except (Unsatisfiable, SkipTest, SerializationNotPossible):
                continue  # nothing of this kind can be sent to the endpoint
            except (FailureGroup, AssertionError, ExceptionGroup) as error:
                failures.append(f"{operation.label}: {error}")
    good = {label for label, status in seen if status < 300}
    assert not failures, "\n\n".join(failures)
    assert len(good) > 100
