"""What the API's documents look like, for OpenAPI: schemas, and examples of the seed as valid JSON."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_ID: Json = {"type": "string", "pattern": "^[a-f0-9]{32}$", "example": "a5dc443c0983ff28edf4a11798fcecfe"}
_NUMBER: Json = {"type": "string", "example": "31101111111"}

PROBLEM: Json = {
    "type": "object",
    "required": ["status_code", "error_code", "message"],
    "properties": {
        "status_code": {"type": "integer"},
        "error_code": {"type": "string"},
        "message": {"type": "string"},
    },
}

EXTENSION: Json = {
    "type": "object",
    "required": ["id", "name", "number", "type"],
    "properties": {
        "id": _ID,
        "name": {"type": "string", "example": "Sales Dept"},
        "number": {"type": "string", "example": "345"},
        "external_number": {"type": "string", "example": "31102612345"},
        "type": {"type": "string", "enum": ["user", "dialplan"]},
    },
}

_AGENT: Json = {
    "type": "object",
    "properties": {
        "field": {"type": "string", "enum": ["*", "from", "to"]},
        "number": {"type": "string", "example": "*"},
        "extension_id": {"type": "string", "example": "*"},
    },
}
_WISH: Json = {
    "event_types": {"type": "array", "items": {"type": "string"}, "example": ["*"]},
    "agents": {"type": "array", "items": _AGENT},
    "mode": {"type": "string", "enum": ["presence", "detailed"]},
    "callback_url": {"type": "string", "example": "https://example.com/callback"},
    "callback_content_type": {"type": "string", "enum": ["application/json"]},
}
SUBSCRIPTION: Json = {
    "type": "object",
    "required": ["id", *_WISH, "status", "failures", "last_error"],
    "properties": {
        "id": _ID,
        **_WISH,
        "status": {"type": "string", "enum": ["active", "suspended"]},
        "failures": {"type": "integer"},
        "last_error": {"type": ["string", "null"]},
    },
}

PLACE: Json = {"type": "object", "properties": {"number": _NUMBER, "extension_id": _ID}, "additionalProperties": False}

CALLER_ID: Json = {
    "type": "object",
    "required": ["caller_id", "caller_number"],
    "properties": {"caller_id": _ID, "caller_number": _NUMBER},
}
CHOSEN: Json = {
    "type": "object",
    "required": ["extension_id", "caller_id"],
    "properties": {"extension_id": _ID, "caller_id": _ID},
}
USER: Json = {
    "type": "object",
    "required": ["id", "name", "role", "extensions"],
    "properties": {
        "id": _ID,
        "name": {"type": "string"},
        "role": {"type": "string", "enum": ["admin", "user"]},
        "extensions": {"type": "array", "items": EXTENSION},
    },
}

_MEANINGS = {
    400: "`validation`: a field that cannot be used",
    401: "`invalid_grant`: the access token is invalid or expired",
    403: "`access_denied`: a scope is missing, or does not reach this",
    404: "`entity_not_exist`: there is none with this id",
    409: "`conflict`: the call is not in a state to do this, or somebody else is changing the same",
    503: "`no_room`: no call can be made now",
}


def problems(*statuses: int) -> dict[int | str, Json]:
    """Errors, for the description of an endpoint. The database may be out of reach for each."""
    content = {"application/json": {"schema": PROBLEM}}
    return {status: {"description": _MEANINGS[status], "content": content} for status in (*statuses, 503)}


def told(success: int, schema: Json | list[Json], *statuses: int) -> dict[int | str, Json]:
    """What an endpoint answers: ``schema`` (of a list: an array of them) with ``success``, or errors."""
    shape: Json = {"type": "array", "items": schema[0]} if isinstance(schema, list) else schema
    good = {"description": "Done.", "content": {"application/json": {"schema": shape}}}
    return {success: good, **problems(*statuses)}


def body(schema: Json, example: Json, *, required: bool = True) -> Json:
    """``openapi_extra`` of an endpoint that takes JSON."""
    return {
        "requestBody": {
            "required": required,
            "content": {"application/json": {"schema": schema, "example": example}},
        }
    }


SUBSCRIPTION_WISH = body(
    {
        "type": "object",
        "required": ["callback_url"],
        "properties": {"id": {}, "events": _WISH["event_types"], **_WISH},
        "additionalProperties": False,
    },
    {"event_types": ["*"], "mode": "detailed", "callback_url": "https://example.com/callback"},
)
