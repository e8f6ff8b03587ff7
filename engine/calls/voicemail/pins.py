"""PINs of mailboxes: what one looks like. :mod:`engine.accounts.secrets` keeps them, and counts the wrong ones."""

from __future__ import annotations

import re

from engine.accounts.secrets import MOST_WRONG, WINDOW, Guesses, hashed, matches

__all__ = ["LONGEST", "MOST_WRONG", "SHORTEST", "WINDOW", "Guesses", "hashed", "is_pin", "matches"]

SHORTEST, LONGEST = 4, 12

_PIN = re.compile(rf"[0-9]{{{SHORTEST},{LONGEST}}}\Z")


def is_pin(text: str) -> bool:
    """Whether ``text`` can be a PIN: 4 to 12 digits."""
    return _PIN.match(text) is not None
