"""The database: SQLAlchemy models, migrations and the engine under them.

SQLite (WAL) on one machine, PostgreSQL beyond it. Calls never wait for it: everything that happens on them comes out
of the journal (:mod:`engine.callbacks.writer`).
"""

from engine.store import accounts as accounts  # whoever has the metadata has all tables
from engine.store import projects as projects
from engine.store import queued as queued
from engine.store import realtime as realtime
from engine.store import transcriptions as transcriptions
from engine.store import webhooks as webhooks
from engine.store.database import Store, about_to_write

__all__ = ["Store", "about_to_write"]
