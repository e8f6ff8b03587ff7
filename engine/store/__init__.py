"""The database: SQLAlchemy models, migrations and the engine under them.

SQLite (WAL) on one machine, PostgreSQL beyond it. Calls never wait for it: everything comes out
of the journal (:mod:`engine.callbacks.writer`).
"""

from engine.store.database import Store

__all__ = ["Store"]
