"""Signatures of deliveries: each attempt is signed anew, for what is signed has a time in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Signer = Callable[[str, bytes, str, float], Mapping[str, str]]
"""From URL, body, secret and time (seconds since the epoch) to the headers that prove who sent it."""

SIGNERS: dict[str, Signer] = {}
"""By the name that a delivery has as its ``signer``."""
