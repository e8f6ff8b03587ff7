"""What Verboice's requests and answers look like, for OpenAPI: schemas of bodies, and of what is told."""

from __future__ import annotations

from engine.api.answers import (
    ANYTHING,
    TEXT,
    WHOLE,
    YES_OR_NO,
    Json,
    Responses,
    choice,
    many,
    or_null,
    shape,
    table,
    told,
)

CALL = shape(call_id=WHOLE, state=TEXT)
DETAILS = shape(
    call_id=WHOLE,
    state=TEXT,
    direction=choice("incoming", "outgoing"),
    optional={
        **dict.fromkeys(("started_at", "finished_at", "not_before", "fail_reason", "fail_code", "fail_details"), TEXT),
        **dict.fromkeys(("project_name", "channel_name", "call_flow_name", "schedule_name", "contact_address"), TEXT),
        **dict.fromkeys(("project_id", "channel_id", "call_flow_id", "schedule_id", "contact_id"), WHOLE),
    },
)

_CHANNEL_CONFIG = shape(
    domain=TEXT,
    username=TEXT,
    number=TEXT,
    register=YES_OR_NO,
    direction=choice("both", "inbound", "outbound"),
    limit=or_null(WHOLE),
)
CHANNEL = shape(
    id=WHOLE,
    name=TEXT,
    kind=TEXT,
    enabled=YES_OR_NO,
    call_flow=or_null(TEXT),
    shared=YES_OR_NO,
    config={"anyOf": [_CHANNEL_CONFIG, {**shape(), "description": "Of a trunk of the operator nothing is told."}]},
)
FLOW = shape(id=WHOLE, name=TEXT)
PROJECT = shape(
    id=WHOLE,
    name=TEXT,
    time_zone=TEXT,
    status_callback_url=or_null(TEXT),
    call_flows=many(FLOW),
    schedules=many(TEXT),
    contact_vars=many(TEXT),
)
SCHEDULE = shape(id=WHOLE, name=TEXT, retries=TEXT, weekdays=TEXT, time_from_str=TEXT, time_to_str=TEXT)
CONTACT = shape(id=WHOLE, addresses=many(TEXT), vars=table({"type": ["string", "integer"]}))
VARIABLE = shape(id=WHOLE, name=TEXT)

PROBLEMS = shape(summary=TEXT, properties=many(table(TEXT)))
"""What is wrong with something that is created or updated; it comes with 200."""


def saved(schema: Json) -> Json:
    """The answer to something that is created or updated."""
    return told({"anyOf": [schema, PROBLEMS]}, "It as it is now, or what is wrong with it.")


CONTACT_PROBLEMS: Responses = {
    400: {
        "description": "What is wrong: with an address, with a variable (plain text), or with the request.",
        "content": {
            "application/json": {"schema": {"anyOf": [shape(error=TEXT), table(many(TEXT))]}},
            "text/plain": {"schema": TEXT},
        },
    }
}

# --- bodies -----------------------------------------------------------------------------

_ANY_SCALAR: Json = {"type": ["string", "number", "boolean", "null"]}


def in_query(name: str, about: str = "") -> Json:
    """A parameter; ``name[key]`` is one for each key (``vars[age]=38``)."""
    one = {"name": name, "in": "query", "description": about, "required": False, "schema": TEXT}
    if not name.endswith("]"):
        return one
    return {**one, "name": name.partition("[")[0], "style": "deepObject", "explode": True, "schema": table(TEXT)}


def _json(properties: Json, *required: str) -> Json:
    schema = {"type": "object", "required": list(required), "properties": properties}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _form(properties: Json) -> Json:
    found = _json(properties)
    content = found["requestBody"]["content"]
    content["application/x-www-form-urlencoded"] = content["application/json"]
    return found


_TRUNK = dict.fromkeys(("domain", "username", "password", "number", "register", "direction", "limit"), _ANY_SCALAR)
_CHANNEL = {"kind": TEXT, "name": TEXT, "call_flow": TEXT, "config": {"type": "object", "properties": _TRUNK}}
_PROJECT = dict.fromkeys(
    ("name", "time_zone", "status_callback_url", "status_callback_user", "status_callback_password"), TEXT
)
_SCHEDULE = {
    "name": TEXT,
    "time_from_str": {**TEXT, "example": "09:00"},
    "time_to_str": {**TEXT, "example": "18:00"},
    "weekdays": {**TEXT, "example": "1,2,3"},
    "retries": {**TEXT, "example": "15m,2h"},
}
_VARS = {"vars": {"type": "object", "additionalProperties": _ANY_SCALAR}}

BODIES: dict[str, Json] = {
    "new channel": _json(_CHANNEL, "name", "config"),
    "channel": _json(_CHANNEL),
    "new project": _json(_PROJECT, "name"),
    "project": _json(_PROJECT),
    "new schedule": _json(_SCHEDULE, "name", "time_from_str", "time_to_str"),
    "schedule": _json(_SCHEDULE),
    "variable": _json({"name": TEXT}, "name"),
    "flow": _form({"name": TEXT, "flow": ANYTHING, "callback_url": TEXT}),
    "contact": _form({"address": TEXT, "addresses": many(TEXT), **_VARS}),
    "values": {"parameters": [in_query("vars[name]", "Values of variables of the project.")]},
}
"""By what is sent."""
