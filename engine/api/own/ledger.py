"""``/api/v1/outbox`` and ``/api/v1/audit``: what the account's web servers are owed, and who changed what."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from engine.accounts import audit
from engine.api.answers import TEXT, WHOLE, many, or_null, schema_of_row, shape, table, told
from engine.api.guard import ApiError, GuardedRoute, caller_of
from engine.api.services import ApiServices
from engine.callbacks import ledger
from engine.callbacks.ledger import Entry
from engine.log import mask_text

_LARGEST = (1 << 63) - 1

Before = Annotated[int, Query(ge=0, le=_LARGEST)]
Limit = Annotated[int, Query(ge=1, le=200)]


def mount(services: ApiServices) -> APIRouter:
    """The endpoints."""
    books = _Books(services)
    api = APIRouter(prefix="/api/v1", route_class=GuardedRoute, tags=["Ivrea: outbox and audit"])
    page = shape(deliveries=many(_DELIVERY), next=or_null(WHOLE))
    for path, act, method, schema, summary in (
        ("/outbox", books.outbox, "GET", page, "What is and was owed to web servers"),
        ("/outbox/{wanted}", books.one, "GET", _WHOLE_DELIVERY, "A delivery with its body"),
        ("/outbox/{wanted}/redeliver", books.redeliver, "POST", _DELIVERY, "Send it (again), now"),
        ("/outbox/{wanted}", books.give_up, "DELETE", _DELIVERY, "Owe it no more"),
        ("/audit", books.audit, "GET", shape(entries=many(schema_of_row(audit.Entry)), next=or_null(WHOLE)),
         "Who changed what by the API"),
    ):  # fmt: skip
        api.add_api_route(path, act, methods=[method], summary=summary, responses={200: told(schema)})
    return api


_ROW = schema_of_row(Entry)["properties"]
_TOLD = {name: each for name, each in _ROW.items() if name not in ("body", "file")}
_DELIVERY = shape(**{**_TOLD, "params": table(TEXT)})
_WHOLE_DELIVERY = shape(**_DELIVERY["properties"], body=or_null(TEXT))


@dataclass(frozen=True, slots=True)
class _Books:
    services: ApiServices

    async def outbox(
        self,
        request: Request,
        state: Literal["", "pending", "delivered", "dead"] = "",
        call: Annotated[str, Query(max_length=255)] = "",
        before: Before = 0,
        limit: Limit = 50,
    ) -> dict[str, Any]:
        """A page of deliveries, the newest first."""
        caller = await caller_of(request, self.services.store, "account.read")
        async with self.services.store.reading() as connection:
            found = await ledger.entries(
                connection, caller.account_id, state=state or None, call_id=call, before=before, limit=limit
            )
        return {"deliveries": [_told(each) for each in found], "next": found[-1].id if len(found) == limit else None}

    async def one(self, request: Request, wanted: int) -> dict[str, Any]:
        """A delivery with what is sent."""
        caller = await caller_of(request, self.services.store, "account.read")
        async with self.services.store.reading() as connection:
            found = await ledger.entry(connection, caller.account_id, _number(wanted))
        return {**_told(_there(found, wanted)), "body": _there(found, wanted).body}

    async def redeliver(self, request: Request, wanted: int) -> dict[str, Any]:
        """Send a delivery, whatever became of it, with all its retries before it."""
        caller = await caller_of(request, self.services.store, "account.write")
        async with self.services.store.writing() as connection:
            found = await ledger.redeliver(connection, caller.account_id, _number(wanted))
            told = _told(_there(found, wanted))
            await audit.note(connection, caller, "delivery sent again", str(wanted))
        self.services.callbacks.wake()
        return told

    async def give_up(self, request: Request, wanted: int) -> dict[str, Any]:
        """Owe a delivery no more; what waits behind it goes out."""
        caller = await caller_of(request, self.services.store, "account.write")
        async with self.services.store.writing() as connection:
            found = await ledger.give_up(connection, caller.account_id, _number(wanted))
            told = _told(_there(found, wanted))
            await audit.note(connection, caller, "delivery given up", str(wanted))
        self.services.callbacks.wake()
        return told

    async def audit(self, request: Request, before: Before = 0, limit: Limit = 50) -> dict[str, Any]:
        """A page of changes, the newest first."""
        caller = await caller_of(request, self.services.store, "account.read")
        async with self.services.store.reading() as connection:
            found = await audit.entries(connection, caller.account_id, before=before, limit=limit)
        return {"entries": [asdict(each) for each in found], "next": found[-1].id if len(found) == limit else None}


def _number(wanted: int) -> int:
    if not 0 < wanted <= _LARGEST:
        raise ApiError(404, "not_found", f"there is no delivery {wanted}")
    return wanted


def _there(found: Entry | None, wanted: int) -> Entry:
    if found is None:
        raise ApiError(404, "not_found", f"there is no delivery {wanted}")
    return found


def _told(entry: Entry) -> dict[str, Any]:
    told = asdict(entry)
    del told["body"], told["file"]
    return {**told, "url": mask_text(entry.url), "params": dict(map(tuple, entry.params))}  # type: ignore[arg-type]
