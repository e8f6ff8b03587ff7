"""Whom to call and which number to show, as requests say it."""

from __future__ import annotations

import re

from engine.addresses import plain_number
from engine.sip.uri import Uri

_NUMBER = re.compile(r"\+?[0-9][0-9 ().*#-]{0,63}")
_NAME = re.compile(r"\+?[0-9A-Za-z_.~*#-]{1,128}")


def party(text: str) -> str:
    """A number (without its separators), a name of the account, or a SIP URI. Raises :class:`ValueError`."""
    if text.lower().startswith(("sip:", "sips:")):
        Uri.parse(text)
        return text
    if _NUMBER.fullmatch(text):
        return plain_number(text)
    if not _NAME.fullmatch(text):
        raise ValueError("must be a number, a user, a device or a SIP URI")
    return text


def shown_number(text: str) -> str:
    """A number to show, or a name without blanks; empty for none. Raises :class:`ValueError`."""
    if text and not _NUMBER.fullmatch(text) and not _NAME.fullmatch(text):
        raise ValueError("must be a number, or a name without blanks")
    return plain_number(text) if _NUMBER.fullmatch(text) else text
