"""The ids by which the Realtime API knows calls and legs: ``xxxxxxxxxxxx-xxxxxxxxxxxx``, hexadecimal.

A call's is made of the first 24 digits of its own id. A leg's begins as that of its call and goes on with a hash of its
own, so that an id leads to its call by a range of the primary key; nothing need be kept.
"""

from __future__ import annotations

import hashlib
import re

HALF = 12
_ID = re.compile(r"[0-9a-f]{12}-[0-9a-f]{12}")


def of_call(call: str) -> str:
    """The id of a call."""
    return f"{call[:HALF]}-{call[HALF : 2 * HALF]}"


def of_leg(call: str, leg: str) -> str:
    """The id of a leg that was dialled for ``call``."""
    return f"{call[:HALF]}-{hashlib.blake2b(leg.encode(), digest_size=HALF // 2).hexdigest()}"


def prefix_of(text: str) -> str:
    """How the ids of the calls begin that ``text`` may mean; empty for what is no id."""
    return text[:HALF] if _ID.fullmatch(text) else ""
