"""What an account may do, as the file and the API say it."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from engine.accounts.entities import Relay
from engine.addresses import plain_number

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")


def _allowed(text: str) -> str:
    """The beginning of numbers, or ``sip:HOST``. Raises :class:`ValueError`."""
    if text[:4].lower() == "sip:":
        if not _HOST.fullmatch(text[4:]):
            raise ValueError("must be sip:HOST, without a user and a port")
        return f"sip:{text[4:].lower()}"
    number = plain_number(text)
    if not re.fullmatch(r"\+?[0-9*#]{1,63}|\+", number):
        raise ValueError("must be the beginning of numbers, or sip:HOST")
    return number


def _assigned_number(text: str) -> str:
    number = plain_number(text)
    if not re.fullmatch(r"\+?[0-9A-Za-z_.#]{0,63}\*?", number) or number in ("", "+"):
        raise ValueError("must be a number, or the beginning of numbers with a * behind it")
    return number


def _assigned_address(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    except ValueError:
        raise ValueError("must be an IP address, or a network as in 192.0.2.0/24") from None


Cap = Annotated[int, Field(ge=0, le=1_000_000)]


class AccountKeys(BaseModel):
    """The keys; 0 and an empty list: no limit."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    max_calls: Cap = 0
    """Calls at a time; 0: no limit of its own."""
    allowed: Annotated[list[Annotated[str, AfterValidator(_allowed)]], Field(max_length=1000)] = []
    """Beginnings of the numbers that may be called by trunks, and ``sip:HOST`` for SIP addresses. Empty: all."""
    calls_per_day: Cap = 0
    """Calls a day (UTC) that leave us: by trunks and to SIP addresses. 0: no limit."""
    minutes_per_day: Cap = 0
    """Minutes a day that they talk; a call that talks is not cut. 0: no limit."""
    relay: Relay = "trunks"
    """Calls from outside that flows may have go outside again: ``no``, those that ``trunks`` bring, ``any``."""

    def values(self) -> dict[str, Any]:
        """The columns."""
        return {name: getattr(self, name) for name in ACCOUNT_COLUMNS if name in type(self).model_fields}


class AssignedKeys(AccountKeys):
    """And what is assigned to an account other than ``default``, which needs no assignment."""

    assigned_numbers: Annotated[list[Annotated[str, AfterValidator(_assigned_number)]], Field(max_length=10_000)] = []
    """Numbers that it may take, and beginnings of numbers with a ``*``; of several accounts the longest counts."""
    assigned_addresses: Annotated[list[Annotated[str, AfterValidator(_assigned_address)]], Field(max_length=1000)] = []
    """IP addresses and networks that its trunks may be known by, when they neither register nor prove themselves."""


ACCOUNT_COLUMNS = tuple(AssignedKeys.model_fields)
