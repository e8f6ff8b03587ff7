"""Kazoo's API, as far as it concerns Pivot: its debug log under ``/v2``, and records of calls that flows ask for."""
