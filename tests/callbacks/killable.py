"""A process to be killed: tells call after call to a journal, which a writer carries into a database.

``python killable.py FOLDER LIFE`` prints each record's number once ``append`` has returned.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from engine.callbacks import records
from engine.callbacks.journal import Journal
from engine.callbacks.outbox import Outbox, Outcome, Parcel
from engine.callbacks.records import CallFinished, CallStarted, Noted
from engine.callbacks.writer import Writer
from engine.log import setup
from engine.store import Store
from flows.call import Callback


async def main(folder: Path, life: str) -> None:
    setup(level="error")
    sent = os.open(folder / "sent", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def send(parcel: Parcel) -> Outcome:
        os.write(sent, f"{parcel.call_id} {parcel.seq}\n".encode())
        return Outcome(status=200)

    journal = Journal.open(folder / "journal", segment_size=2000)
    store = Store(f"sqlite+aiosqlite:///{folder / 'ivrea.db'}")
    outbox = Outbox(store, send, keep=3600)
    writer = Writer(journal, store, on_deliveries=outbox.wake)
    tasks = [asyncio.create_task(writer.run()), asyncio.create_task(outbox.run())]
    for history in journal.unfinished_calls():
        journal.append(CallFinished(5.0, call=history.call, by="error", reason="killed"))
    number = 0
    while life != "last" and not any(task.done() for task in tasks):
        call = f"{life}-{number}"
        journal.append(CallStarted(1.0, call=call, caller="1", callee="2"))
        for seq in (1, 2, 3):
            note = Callback("http://h/", {"id": call, "seq": str(seq)})
            journal.append(Noted(2.0, call=call, note=records.note_to_data(note)))
            os.write(1, f"{call} {seq}\n".encode())
        if number % 5:
            journal.append(CallFinished(3.0, call=call, by="flow", reason="done"))
        number += 1
        await asyncio.sleep(0.001)
    assert await writer.flush(20)
    assert await outbox.close(20)
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await store.close()
    journal.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
