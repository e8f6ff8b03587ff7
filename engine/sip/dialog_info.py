"""The document of the dialog event package: which calls somebody has (RFC 4235)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

CONTENT_TYPE = "application/dialog-info+xml"
NAMESPACE = "urn:ietf:params:xml:ns:dialog-info"

DialogState = Literal["trying", "proceeding", "early", "confirmed", "terminated"]
"""Section 3.7.1. ``early`` makes a lamp blink, ``confirmed`` makes it shine."""

# What XML 1.0 cannot say, not even escaped (its section 2.2).
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class DialogInfo:
    """One call of whom is watched. ``id`` tells it from the others, ``remote`` is the URI of the other end, if told.

    ``call_id`` and the tags, as who is watched has them, are what a telephone needs to pick the call up (RFC 3891).
    """

    id: str
    state: DialogState
    direction: Literal["initiator", "recipient"] = "recipient"
    remote: str = ""
    call_id: str = ""
    local_tag: str = ""
    remote_tag: str = ""


def write_dialog_info(entity: str, version: int, dialogs: Iterable[DialogInfo]) -> bytes:
    """All that is known of ``entity``, a URI (section 4.1): ``version`` goes up by one with each document."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<dialog-info xmlns="{NAMESPACE}" version="{version}" state="full" entity={quoteattr(_clean(entity))}>',
    ]
    for dialog in dialogs:
        named = (("call-id", dialog.call_id), ("local-tag", dialog.local_tag), ("remote-tag", dialog.remote_tag))
        names = "".join(f" {name}={quoteattr(_clean(value))}" for name, value in named if value)
        lines.append(f'<dialog id={quoteattr(_clean(dialog.id))}{names} direction="{dialog.direction}">')
        lines.append(f"<state>{dialog.state}</state>")
        if dialog.remote:
            uri = _clean(dialog.remote)
            lines.append(f"<remote><identity>{escape(uri)}</identity><target uri={quoteattr(uri)}/></remote>")
        lines.append("</dialog>")
    lines.append("</dialog-info>")
    return "\r\n".join([*lines, ""]).encode()


def _clean(text: str) -> str:
    return _NOT_XML.sub("", text)
