"""Alembic's migrations. Its configuration is made in code: :func:`engine.store.database.migration_config`."""
