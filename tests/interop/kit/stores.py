"""Tests that run on both databases.

The daemon of a module takes the settings of the fixture ``store``. A test with :data:`on_both` runs with a daemon on
PostgreSQL first, then with that of the other tests of its module, which is on SQLite. If it is the first of its module,
no daemon is started more than once for it.
"""

from __future__ import annotations

import pytest

on_both = pytest.mark.parametrize(
    "store",
    [
        pytest.param("postgresql", id="postgresql", marks=pytest.mark.peer("initdb", "pg_ctl", "postgres", "psql")),
        pytest.param(None, id="sqlite"),
    ],
    indirect=True,
)
