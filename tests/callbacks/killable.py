"""Lives to be killed: calls are told to a journal; a writer carries it into a database, and an outbox sends from it.

What is owed are callbacks of call trees, webhooks of the Voice API and events of the Realtime API. A life is a process
that a fork server makes, which has imported everything.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from sqlalchemy import insert

from engine.accounts import clients, repository, tokens
from engine.api.kwebbl.telling import Teller
from engine.api.messagebird.events import Events
from engine.callbacks import records
from engine.callbacks.announcing import Announcements
from engine.callbacks.journal import Journal
from engine.callbacks.outbox import Outbox, Outcome, Parcel
from engine.callbacks.records import CallAnswered, CallFinished, CallStarted, Noted
from engine.callbacks.writer import Writer
from engine.log import setup
from engine.store import Store, webhooks
from engine.store.realtime import EventSubscription
from flows.call import Callback

WEBHOOK, SUBSCRIPTION = "http://bird/", "http://realtime/"
FINISHED = "finished"


async def prepare(store: Store) -> None:
    """The account with somebody who listens by each API."""
    await store.migrate()
    async with store.writing() as connection:
        await repository.add_account(connection, "default", id="default")
        owner = await tokens.owner_of(connection, "default")
        client, _ = await clients.add(connection, "default", "app", user_id=owner.id)
        await webhooks.add(connection, "default", WEBHOOK, "secret")
        anybody = [{"field": "*", "extension_id": "*", "number": "*"}]
        row = {"id": "s1", "account_id": "default", "user_id": owner.id, "client_id": client.id, "event_types": ["*"]}
        row |= {"agents": anybody, "mode": "detailed", "reach": "company", "callback_url": SUBSCRIPTION, "failures": 0}
        await connection.execute(insert(EventSubscription), {**row, "created_at": 1.0})


def what(parcel: Parcel) -> str:
    """A line that is the same for the same event: URL, call, and what tells it from the others of the call."""
    if parcel.url == WEBHOOK:
        item = json.loads(parcel.body or "")["items"][0]
        return f"{parcel.url} {parcel.call_id} {item['type']}/{item['payload']['status']}"
    if parcel.url == SUBSCRIPTION:
        return f"{parcel.url} {parcel.call_id} {json.loads(parcel.body or '')['event_type']}"
    return f"{parcel.url} {parcel.call_id} {parcel.seq}"


async def _live(folder: Path, url: str, life: str) -> None:
    setup(level="error")
    sent = os.open(folder / "sent", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    said = os.open(folder / f"said-{life}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def send(parcel: Parcel) -> Outcome:
        os.write(sent, f"{what(parcel)}\n".encode())
        return Outcome(status=200)

    journal = Journal.open(folder / "journal", segment_size=2000)
    store = Store(url)
    outbox = Outbox(store, send, keep=3600)
    announcements = Announcements()
    announcements.add(Events())
    announcements.add(Teller(hyphens=True))
    writer = Writer(journal, store, announcements=announcements, on_deliveries=outbox.wake)
    tasks = [asyncio.create_task(writer.run()), asyncio.create_task(outbox.run())]
    for history in journal.unfinished_calls():
        journal.append(CallFinished(5.0, call=history.call, by="error", reason="killed"))
    number = 0
    while life != "last" and not any(task.done() for task in tasks):
        call = f"{life}-{number}"
        journal.append(CallStarted(1.0, call=call, caller="1", callee="2"))
        os.write(said, f"{call} started\n".encode())
        journal.append(CallAnswered(2.0, call=call))
        for seq in (1, 2, 3):
            note = Callback("http://h/", {"id": call, "seq": str(seq)})
            journal.append(Noted(2.0, call=call, note=records.note_to_data(note)))
            os.write(said, f"{call} {seq}\n".encode())
        if number % 5:
            journal.append(CallFinished(3.0, call=call, by="flow", reason="done"))
        number += 1
        await asyncio.sleep(0.005)
    assert await writer.flush(60)
    assert await outbox.close(60)
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await store.close()
    journal.close()
    os.write(said, f"{FINISHED}\n".encode())


def live(folder: Path, url: str, life: str) -> None:
    """One life; that named ``last`` finishes what the others left, and says so at its end."""
    asyncio.run(_live(folder, url, life))
