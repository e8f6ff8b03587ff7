"""Bodies that the OpenAPI document shows, endpoint by endpoint.

They are requests as somebody would send them, in an order in which each finds what it names: a test sends them all.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_JSON, _FORM = "application/json", "application/x-www-form-urlencoded"
_STEP: Json = {"action": "say", "options": {"payload": "Hello!", "language": "en-GB", "voice": "female"}}
_FLOW: Json = {"title": "Greeting", "record": False, "steps": [_STEP]}
_TWIML = "<Response><Say>Hello</Say></Response>"
_PROJECT, _ACCOUNT = "/api/projects/{project_id}", "/api/v1"
_CALL, _BIRD = "/api/v1/calls/{call_id}", "/v1/call-flows/{flow_id}"

_OWN: dict[tuple[str, str], Json] = {
    ("post", f"{_ACCOUNT}/flows"): {"name": "hello", "document": {"_": "Press one.", "key:1": "Thank you."}},
    ("post", f"{_ACCOUNT}/devices"): {"name": "desk", "password": "correct horse battery"},
    ("patch", f"{_ACCOUNT}/devices/{{wanted}}"): {"password": "staple correct horse"},
    ("post", f"{_ACCOUNT}/users"): {
        "name": "anna",
        "role": "agent",
        "devices": ["desk"],
        "email": "anna@example.com",
        "password": "correct horse battery",
    },
    ("patch", f"{_ACCOUNT}/users/{{wanted}}"): {"role": "viewer"},
    ("post", f"{_ACCOUNT}/groups"): {"name": "sales", "members": ["anna"]},
    ("patch", f"{_ACCOUNT}/groups/{{wanted}}"): {"members": ["anna", "desk"]},
    ("post", f"{_ACCOUNT}/extensions"): {"number": "201", "user": "anna"},
    ("patch", f"{_ACCOUNT}/extensions/{{wanted}}"): {"user": "anna"},
    ("post", f"{_ACCOUNT}/numbers"): {"number": "+390115550147", "flow": "hello"},
    ("patch", f"{_ACCOUNT}/numbers/{{wanted}}"): {"record": True},
    ("post", f"{_ACCOUNT}/trunks"): {"name": "backup", "host": "sip.example.com", "inbound": "none"},
    ("patch", f"{_ACCOUNT}/trunks/{{wanted}}"): {"channels": 10},
    ("post", f"{_ACCOUNT}/accounts"): {"name": "customer", "max_calls": 10, "allowed": ["+39"]},
    ("patch", f"{_ACCOUNT}/accounts/{{wanted}}"): {"max_calls": 20},
    ("post", f"{_ACCOUNT}/tokens"): {"user": "anna", "name": "reports", "lifetime": 86400},
    ("post", f"{_ACCOUNT}/clients"): {"name": "shop", "user": "anna"},
    ("post", f"{_ACCOUNT}/queue"): {
        "to": "+390115550100",
        "flow": "hello",
        "not_before": "2030-01-02 09:00:00",
        "time_zone": "Europe/Rome",
        "schedule": {"days": [1, 2, 3, 4, 5], "from": "9:00", "to": "18:00", "retries": "15m,2h"},
    },
    ("post", f"{_ACCOUNT}/calls"): {
        "to": "+390115550100",
        "from": "+390115550000",
        "flow": "hello",
        "variables": {"name": "Ada"},
    },
    ("post", f"{_CALL}/hold"): {"party": "line"},
    ("post", f"{_CALL}/resume"): {"party": "line"},
    ("post", f"{_CALL}/record"): {},
    ("post", f"{_CALL}/stop-record"): {},
    ("post", f"{_CALL}/flow"): {"flow": "hello"},
    ("post", f"{_CALL}/transfer"): {"to": "+390115550101"},
}
_VERBOICE: dict[tuple[str, str], Json] = {
    ("post", "/api/projects"): {
        "name": "clinic",
        "time_zone": "Rome",
        "status_callback_url": "https://clinic.example/status",
    },
    ("put", _PROJECT): {"time_zone": "Europe/Rome"},
    ("post", f"{_PROJECT}/project_variables"): {"name": "age"},
    ("post", f"{_PROJECT}/schedules"): {
        "name": "mornings",
        "time_from_str": "09:00",
        "time_to_str": "12:00",
        "weekdays": "1,2,3,4,5",
        "retries": "15m,2h",
    },
    ("put", f"{_PROJECT}/schedules/{{name}}"): {"retries": "30m"},
    ("post", f"{_PROJECT}/contacts"): {"address": "+390115550100", "vars": {"age": "38"}},
    ("post", f"{_PROJECT}/call_flows"): {"name": "greeting", "flow": _TWIML},
    ("put", f"{_PROJECT}/call_flows/{{flow_id}}"): {"flow": _TWIML},
    ("post", "/api/channels"): {
        "kind": "custom_sip",
        "name": "provider",
        "call_flow": "greeting",
        "config": {"domain": "sip.example.com", "number": "+390115550000", "direction": "outbound"},
    },
    ("put", "/api/channels/{name}"): {"config": {"limit": 10}},
    ("post", "/api/call"): {"channel": "provider", "address": "+390115550100", "call_flow": "greeting"},
}
_BROMBLER: dict[tuple[str, str], Json] = {
    ("post", "/auth.cas"): {"client_id": "a1b2c3…", "client_secret": "ivrea_…", "exp": 3600},
    ("post", "/call.cas"): {
        "who": "+390115550100",
        "tree": {"_": "Do you want to talk?", "yes": "Good.", "no": "Bye."},
        "timeout": 60,
    },
    ("post", "/refer.cas"): {"who": "0f8fad5bd9cb469fa16570867728950e", "user": "anna"},
    ("post", "/close.cas"): {"who": "0f8fad5bd9cb469fa16570867728950e"},
}
_MESSAGEBIRD: dict[tuple[str, str], Json] = {
    ("post", "/v1/call-flows"): _FLOW,
    ("put", _BIRD): {**_FLOW, "title": "Another greeting"},
    ("post", f"{_BIRD}/numbers"): {"numbers": ["+390115550148"]},
    ("put", f"{_BIRD}/numbers"): {"numbers": ["+390115550149"]},
    ("post", "/v1/calls"): {"source": "+390115550000", "destination": "+390115550100", "callFlow": _FLOW},
    ("put", "/v1/calls/{call_id}"): {"callFlow": _FLOW},
    ("post", "/v1/recordings/{recording_id}/transcriptions"): {"language": "en-US"},
    ("post", "/v1/calls/{call_id}/legs/{leg_id}/recordings/{recording_id}/transcriptions"): {"language": "en-US"},
    ("post", "/v1/webhooks"): {"url": "https://shop.example/calls", "token": "correct horse", "title": "Calls"},
    ("put", "/v1/webhooks/{webhook_id}"): {"title": "All calls"},
}
EXAMPLES: dict[tuple[str, str], Json] = {**_OWN, **_VERBOICE, **_BROMBLER, **_MESSAGEBIRD}
"""By method and path."""

QUERIES: dict[tuple[str, str, str], Any] = {
    ("get", "/api/call", "channel"): "provider",
    ("get", "/api/call", "address"): "+390115550100",
    ("get", "/api/call", "call_flow"): "greeting",
    ("post", "/api/call", "channel"): "provider",
    ("post", "/api/call", "address"): "+390115550100",
    ("put", f"{_PROJECT}/contacts/all.json", "vars"): {"age": "39"},
    ("put", f"{_PROJECT}/contacts/by_address/{{address}}", "vars"): {"age": "40"},
}
"""Values of parameters, by method, path and name."""


def illustrated(document: Json) -> Json:
    """The document with them. A form has the same fields, if none of them is an object."""
    for (method, path), example in EXAMPLES.items():
        operation = document["paths"][path][method]
        body = operation["requestBody"]  # endpoints may have the same
        flat = not any(isinstance(value, dict) for value in example.values())
        kinds = (_JSON, _FORM) if flat else (_JSON,)
        shown = {kind: {**body["content"][kind], "example": example} for kind in kinds if kind in body["content"]}
        operation["requestBody"] = {**body, "content": {**body["content"], **shown}}
    for (method, path, name), value in QUERIES.items():
        operation = document["paths"][path][method]
        operation["parameters"] = [
            {**each, "example": value} if each["name"] == name else each for each in operation["parameters"]
        ]
    return document
