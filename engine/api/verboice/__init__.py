"""Verboice's API: calls put into the queue of a channel, projects with schedules and contacts."""

from engine.api.verboice.mounting import mount

__all__ = ["mount"]
