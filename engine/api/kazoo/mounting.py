"""``/v2/accounts/{id}/pivot/debug``: what Pivot asked and was answered, of calls whose flows say ``debug: true``.

Fields are those of Kazoo's own log: a request has three entries, what was asked, status and headers of the answer, and
its body. Times are Gregorian seconds, as Kazoo has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from engine.accounts import callbook, tokens
from engine.accounts.entities import Caller
from engine.api.answers import told
from engine.api.kazoo.cdrs import GREGORIAN, CallRecords
from engine.api.kazoo.envelopes import KazooError, KazooRoute, bad, fine
from engine.api.paths import ANYTHING
from engine.api.reading import query_of
from engine.api.services import ApiServices

PAGE, MOST = 50, 200
FLUSH_PATIENCE = 1.0
NODE = "ivrea"

_ENTRY: dict[str, Any] = {
    "type": "object",
    "required": ["call_id", "created", "debug_id", "iteration", "node"],
    "properties": {
        "call_id": {"type": "string"},
        "created": {"type": "integer", "description": "Gregorian seconds."},
        "debug_id": {"type": "string", "description": "The id with year and month; either is good in the path."},
        "iteration": {"type": "integer", "description": "Which request of the call, from 1."},
        "node": {"type": "string"},
        "status_code": {"type": "string"},
        "has_schema_errors": {"type": "boolean", "description": "An answer came, and is no callflow."},
        "error": {"type": "string", "description": "Why no callflow came; ours."},
        "uri": {"type": "string"},
        "id": {"type": "string"},
        "method": {"type": "string"},
        "req_headers": {"type": "object"},
        "req_body": {"type": "string"},
        "resp_status_code": {"type": "string"},
        "resp_headers": {"type": "object"},
        "resp_body": {"type": "string"},
    },
}
_FOUND: dict[str, Any] = {
    "type": "object",
    "required": ["data", "request_id", "status"],
    "properties": {
        "data": {"type": "array", "items": _ENTRY},
        "page_size": {"type": "integer"},
        "request_id": {"type": "string"},
        "status": {"const": "success"},
        "version": {"type": "string"},
    },
}


def _query(name: str, about: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": about, "schema": schema}


def mount(services: ApiServices) -> APIRouter:
    """The endpoints; from now on the records that flows ask for are owed when calls end."""
    services.callbacks.announcements.add(CallRecords())
    debug = _Debug(services)
    api = APIRouter(prefix="/v2", route_class=KazooRoute, tags=["Kazoo"])
    base = "/accounts/{account_id}/pivot/debug"
    paging = [
        _query("page_size", f"Calls, {PAGE} if it is not given.", type="integer", minimum=1, maximum=MOST),
        _query("created_from", "Gregorian seconds.", type="integer", minimum=0),
        _query("created_to", "Gregorian seconds.", type="integer", minimum=0),
    ]
    api.add_api_route(
        base, debug.list, methods=["GET"], summary="Calls with a debug log, the newest first",
        openapi_extra={"parameters": paging}, responses={200: told(_FOUND)}, response_class=Response,
    )  # fmt: skip
    api.add_api_route(
        base + "/{call_id}", debug.one, methods=["GET"], summary="What was asked and answered on a call",
        responses={200: told(_FOUND)}, response_class=Response,
    )  # fmt: skip
    every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    api.add_api_route(f"/{{rest:{ANYTHING}}}", _nothing, methods=every, include_in_schema=False)
    return api


async def _nothing(request: Request, rest: str) -> Response:
    raise KazooError(404, "not_found", {"cause": rest[:200]})


@dataclass(frozen=True, slots=True)
class _Debug:
    services: ApiServices

    async def list(self, request: Request, account_id: str) -> Response:
        """Calls whose flows had ``debug: true``, each with its last request."""
        caller = await self._caller(request, account_id)
        given = dict(query_of(request))
        page = _whole(given, "page_size", PAGE, least=1, most=MOST)
        since = _whole(given, "created_from", 0) - GREGORIAN if "created_from" in given else None
        until = _whole(given, "created_to", 0) - GREGORIAN if "created_to" in given else None
        await self.services.callbacks.flush(FLUSH_PATIENCE)
        async with self.services.store.reading() as connection:
            found = await callbook.kept_fetches(connection, caller.account_id, since=since, until=until, calls=page)
        last: dict[str, tuple[int, dict[str, Any]]] = {}
        for each in found:
            number = last[each["call_id"]][0] + 1 if each["call_id"] in last else 1
            last[each["call_id"]] = number, each
        data = [{**_common(each, number), **_outcome(each)} for number, each in last.values()]
        data.sort(key=lambda entry: (entry["created"], entry["call_id"]), reverse=True)
        return fine(request, data, page_size=len(data))

    async def one(self, request: Request, account_id: str, call_id: str) -> Response:
        """Every request of a call with its answer, in order."""
        caller = await self._caller(request, account_id)
        wanted = call_id[7:] if len(call_id) > 7 and call_id[:6].isdigit() and call_id[6] == "-" else call_id
        await self.services.callbacks.flush(FLUSH_PATIENCE)
        async with self.services.store.reading() as connection:
            found = await callbook.kept_fetches(connection, caller.account_id, call_id=wanted)
        if not found:
            raise KazooError(404, "not_found", {"cause": call_id[:200]})
        data = [entry for number, each in enumerate(found, 1) for entry in _entries(each, number)]
        return fine(request, data)

    async def _caller(self, request: Request, account_id: str) -> Caller:
        """Whom ``X-Auth-Token`` (or a bearer token) speaks for. Raises :class:`KazooError`: 401, 403."""
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        token = request.headers.get("X-Auth-Token", "") or (bearer if scheme.lower() == "bearer" else "")
        caller = None
        if token.strip():
            async with self.services.store.reading() as connection:
                caller = await tokens.verify(connection, token.strip())
        if caller is None:
            raise KazooError(401, "invalid_credentials", WWW_Authenticate='Bearer realm="ivrea"')
        if account_id != caller.account_id or not caller.may("calls.read"):
            raise KazooError(403, "forbidden")
        return caller


def _whole(given: Mapping[str, str], name: str, default: int, *, least: int = 0, most: int = 10**12) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 13 and least <= int(text) <= most):
        raise bad(name, f"must be a whole number from {least} to {most}")
    return int(text)


def _common(each: Mapping[str, Any], iteration: int) -> dict[str, Any]:
    began = datetime.fromtimestamp(each["at"], UTC)
    return {
        "call_id": each["call_id"],
        "created": int(each["at"]) + GREGORIAN,
        "debug_id": f"{began:%Y%m}-{each['call_id']}",
        "iteration": iteration,
        "node": NODE,
    }


def _outcome(each: Mapping[str, Any]) -> dict[str, Any]:
    detail = each["detail"]
    told: dict[str, Any] = {"has_schema_errors": bool(detail.get("unreadable")), "uri": detail["url"]}
    if detail.get("status"):
        told["status_code"] = str(detail["status"])
    if detail.get("problem"):
        told["error"] = detail["problem"]
    return told


def _entries(each: Mapping[str, Any], iteration: int) -> list[dict[str, Any]]:
    """What was asked; status and headers, and body of the answer, if one came."""
    detail, common = each["detail"], _common(each, iteration)
    kind = detail.get("sent_type", "")
    asked = {
        "method": str(detail["method"]).lower(),
        "uri": detail["url"],
        "req_headers": {"content-type": kind} if kind else {},
        "req_body": detail.get("sent", ""),
    }
    if not detail.get("status"):
        entries = [{**asked, "error": detail.get("problem", "")}]
    else:
        answered = {"resp_status_code": str(detail["status"]), "resp_headers": detail.get("headers", {})}
        wrong = {"has_schema_errors": bool(detail.get("unreadable"))}
        if detail.get("problem"):
            wrong["error"] = detail["problem"]
        entries = [asked, {**answered, **wrong}, {"resp_body": detail.get("body", "")}]
    ids = (f"{each['id']}-{place}" for place in range(1, 4))
    return [{**common, "id": own, **entry} for own, entry in zip(ids, entries, strict=False)]
