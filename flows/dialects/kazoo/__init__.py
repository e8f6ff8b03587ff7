"""Kazoo callflows, as switches of that family answer Pivot requests with them (CONTRACTS §3)."""

from __future__ import annotations

from .compiler import compile_kazoo
from .document import looks_like_kazoo

__all__ = ["compile_kazoo", "looks_like_kazoo"]
