"""What requests to our own API consist of. Nothing but the forms: commands are made of them too, and begin at once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from engine.accounts.entities import Role
from engine.accounts.redirects import redirect_problem
from engine.addresses import plain_number
from engine.callflow import CallflowKeys
from engine.config.accountkeys import AssignedKeys

_NAME = r"^[^\s/?#%\x00-\x1f\x7f][^/?#%\x00-\x1f\x7f]{0,63}$"

LONGEST_PASSWORD = 256
"""Characters."""

Name = Annotated[str, Field(pattern=_NAME)]
"""What stands in a path without being written otherwise."""


def _number(text: str) -> str:
    plain = plain_number(text)
    if not plain or len(plain) > 64 or any(char.isspace() or char in "/?#%" for char in plain.replace("#", "")):
        raise ValueError("must be a number, or the beginning of numbers with a * behind it")
    return plain


def _address(text: str) -> str:
    if text and ("@" not in text.strip("@") or any(char.isspace() for char in text)):
        raise ValueError("must be a mail address")
    return text.casefold()


class Body(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class AccountBody(AssignedKeys, Body):
    """A customer."""

    name: Name


class UserBody(Body):
    """A person."""

    name: Name
    role: Role = "none"
    """What they may ask of the API: ``owner``, ``admin``, ``agent``, ``viewer`` or ``none``."""
    devices: Annotated[list[str], Field(max_length=100)] = []
    """Their telephones, by name, in order."""
    email: Annotated[str, Field(max_length=254), AfterValidator(_address)] = ""
    """By which they log in."""
    password: Annotated[str, Field(max_length=LONGEST_PASSWORD)] = ""
    """Empty: they do not log in."""


class GroupBody(Body):
    """Users and devices that ring together."""

    name: Name
    members: Annotated[list[str], Field(max_length=1000)]
    """Names of users and devices."""


class NumberBody(CallflowKeys, Body):
    """A number that can be called from outside; one of ``flow`` and ``callflow_url`` is needed."""

    number: Annotated[str, AfterValidator(_number)]
    """The number, or a prefix that ends in ``*``. Separators are ignored."""
    flow: str = ""
    """The flow that runs on calls to it, by name or id."""
    record: bool = False
    """Record calls to it from the answer on."""
    voice: Annotated[str, Field(max_length=64)] = ""
    """Voice for text. Empty: ``speech.voice``."""


class ExtensionBody(Body):
    """A number within the account; one of ``user``, ``group`` and ``flow`` is needed."""

    number: Annotated[str, AfterValidator(_number)]
    user: str | None = None
    """The user who rings, by name or id."""
    group: str | None = None
    """The group that rings, by name or id."""
    flow: str | None = None
    """The flow that runs, by name or id."""


class TokenBody(Body):
    """A token of a user. ``bearer``: for this API; ``access_key``: for that of MessageBird."""

    user: str
    name: Annotated[str, Field(max_length=64)] = ""
    kind: Literal["bearer", "access_key"] = "bearer"
    lifetime: Annotated[float | None, Field(gt=0, le=10 * 366 * 86400.0)] = None
    """Seconds; null: until it is deleted."""


def _redirect_uri(text: str) -> str:
    if problem := redirect_problem(text):
        raise ValueError(problem)
    return text


RedirectUri = Annotated[str, Field(max_length=2000), AfterValidator(_redirect_uri)]


class ClientBody(Body):
    """A program that asks for tokens with an id and a secret (``auth.cas``, OAuth 2)."""

    name: Name
    user: str | None = None
    """In whose name it may have tokens without asking anybody."""
    redirect_uris: Annotated[list[RedirectUri], Field(max_length=20)] = []
    """Where browsers may be sent back to: ``https://…``, ``http://127.0.0.1…``, or the scheme of an app."""
