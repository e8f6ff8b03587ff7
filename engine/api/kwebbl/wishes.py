"""What a body asks for: subscriptions and agents, checked field by field.

Every function raises :class:`~engine.api.kwebbl.errors.Problem`: ``validation`` (400) that names the field, or
``access_denied`` (403) for a subscription that the granted scopes do not reach.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.api.kwebbl.agents import Agents, Extension
from engine.api.kwebbl.errors import Grant, Problem, invalid
from engine.api.kwebbl.events import EVENTS, PRESENCE, SPELLINGS
from engine.callbacks.urls import Refused, check_address, literal_address, target

MOST_AGENTS = 100
MODES = ("presence", "detailed")
FIELDS = ("*", "from", "to")

NUMBER = re.compile(r"\+?[0-9]{3,15}")
_SUBSCRIPTION = frozenset(
    {"id", "event_types", "events", "agents", "mode", "callback_url", "callback_content_type"}
)  # the list's sample still says "events", which was renamed in revision 16


@dataclass(frozen=True, slots=True)
class Draft:
    """A subscription to be made. ``agents`` as they are shown; ``reach``: ``company``, ``presence`` or ``personal``."""

    event_types: list[str]
    agents: list[dict[str, str]]
    mode: str
    callback_url: str
    reach: str


def as_object(value: Any, where: str = "the body") -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise invalid(f"{where}: must be a JSON object")
    return value


def known_keys(value: Mapping[str, Any], known: frozenset[str], where: str = "") -> None:
    """Refuses what nobody would look at."""
    for key in value:
        if key not in known:
            raise invalid(f"{where}{key[:100]}: there is no such field")


def draft_of(body: Any, grant: Grant, agents: Agents, *, allow_private: bool) -> Draft:
    """The subscription that a body describes."""
    wanted = as_object(body)
    known_keys(wanted, _SUBSCRIPTION)
    event_types = _event_types(wanted)
    mode = wanted.get("mode", "presence")
    if mode not in MODES:
        raise invalid("mode: must be presence or detailed")
    if wanted.get("callback_content_type", "application/json") != "application/json":
        raise invalid("callback_content_type: must be application/json")
    filters = _filters(wanted.get("agents"), agents)
    url = callback_url(wanted.get("callback_url"), allow_private=allow_private)
    reach, filters = _reach(grant, agents, event_types, mode, filters)
    return Draft(event_types, filters, mode, url, reach)


def _event_types(wanted: Mapping[str, Any]) -> list[str]:
    name = "event_types" if "event_types" in wanted else "events"
    kinds = wanted.get(name)
    if kinds is None:
        return list(PRESENCE)
    if not isinstance(kinds, list) or not kinds or len(kinds) > 50:
        raise invalid(f"{name}: must be a list of event types")
    for place, kind in enumerate(kinds):
        if not isinstance(kind, str) or (kind != "*" and kind not in SPELLINGS):
            raise invalid(f"{name}[{place}]: must be * or one of {', '.join(EVENTS)}")
    return ["*"] if "*" in kinds else list(dict.fromkeys(SPELLINGS[kind] for kind in kinds))


def _filters(value: Any, agents: Agents) -> list[dict[str, str]] | None:
    """The agents, ``None`` when it is left to us. Rules: "Notes about agents[] fields"."""
    if value is None or value == []:
        return None
    if not isinstance(value, list) or len(value) > MOST_AGENTS:
        raise invalid(f"agents: must be a list of at most {MOST_AGENTS} agents")
    return [_filter(each, f"agents[{place}]", agents) for place, each in enumerate(value)]


def _filter(value: Any, where: str, agents: Agents) -> dict[str, str]:
    wanted = as_object(value, where)
    known_keys(wanted, frozenset({"field", "number", "extension_id"}), f"{where}.")
    field = wanted.get("field") or "*"
    if field not in FIELDS:
        raise invalid(f"{where}.field: must be *, from or to")
    number, extension_id = number_in(wanted, where), _id_in(wanted, where)
    if not number and not extension_id:
        return {"field": "*", "extension_id": "*", "number": "*"}
    if extension_id and extension_id != "*":
        if agents.by_id(extension_id) is None:
            raise invalid(f"{where}.extension_id: there is no such extension")
        return {"field": field, "extension_id": extension_id, "number": "*"}
    number = number or "*"
    if number != "*" and not NUMBER.fullmatch(number) and agents.by_number(number) is None:
        raise invalid(f"{where}.number: must be 3 to 15 digits")
    return {"field": field, "extension_id": "*", "number": number}


def number_in(wanted: Mapping[str, Any], where: str) -> str:
    """A number, as text; one that came as a JSON number has lost its zeros, and is taken all the same."""
    number = wanted.get("number")
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 10**15:
        return str(number)
    if number is not None and not isinstance(number, str):
        raise invalid(f"{where}.number: must be a string of digits")
    return (number or "").strip()


def _id_in(wanted: Mapping[str, Any], where: str) -> str:
    extension_id = wanted.get("extension_id")
    if extension_id is not None and not isinstance(extension_id, str):
        raise invalid(f"{where}.extension_id: must be a string")
    return extension_id or ""


def callback_url(value: Any, *, allow_private: bool) -> str:
    """A URL that events can be sent to: absolute, of https or http, at a host that we may ask."""
    if not isinstance(value, str) or not value.strip():
        raise invalid("callback_url: is required, with protocol and domain")
    try:
        there = target(value)
        address = literal_address(there.host)
        if address is not None:
            check_address(address, allow_private=allow_private)
    except Refused as error:
        raise invalid(f"callback_url: {error}") from None
    return value.strip()


def _reach(
    grant: Grant, agents: Agents, event_types: Sequence[str], mode: str, filters: list[dict[str, str]] | None
) -> tuple[str, list[dict[str, str]]]:
    """How far the scopes let it reach, and the agents that it has then ("Notes about scopes and permissions")."""
    everybody = filters or [{"field": "*", "extension_id": "*", "number": "*"}]
    if grant.has("calls.events"):
        return "company", everybody
    only_presence = mode == "presence" and set(event_types) <= set(PRESENCE)
    if grant.has("calls.events.presence") and only_presence:
        return "presence", everybody
    if grant.has("calls.events.personal"):
        own = agents.of_user(grant.caller.user_id)
        if filters is None:
            if not own:
                raise invalid("agents: the user of the token has no extension")
            return "personal", [{"field": "*", "extension_id": each.id, "number": "*"} for each in own]
        for place, each in enumerate(filters):
            if not any(_is(each, extension) for extension in own):
                raise Problem(403, "access_denied", f"agents[{place}]: calls.events.personal is for the user alone")
        return "personal", filters
    raise Problem(
        403, "access_denied", "calls.events.presence allows created, ringing, answered, terminated in presence mode"
    )


def _is(wanted: Mapping[str, str], extension: Extension) -> bool:
    return wanted["extension_id"] == extension.id or (
        wanted["extension_id"] == "*" and wanted["number"].removeprefix("+") == extension.number
    )


# --- agents of a call -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Somebody to call: an extension, or a number outside."""

    extension: Extension | None
    number: str

    @property
    def is_outside(self) -> bool:
        """Whether it is nobody of the account."""
        return self.extension is None

    @property
    def reach(self) -> str:
        """The number by which a call reaches it."""
        return self.extension.reach if self.extension is not None else self.number

    @property
    def is_dialplan(self) -> bool:
        """Whether it has no telephone of its own."""
        return self.extension is not None and self.extension.type == "dialplan"


def place_in(wanted: Mapping[str, Any], name: str, agents: Agents) -> Place | None:
    """The agent in a field; ``None`` when it is left out."""
    value = wanted.get(name)
    if value is None:
        return None
    agent = as_object(value, name)
    known_keys(agent, frozenset({"number", "extension_id"}), f"{name}.")
    extension_id, number = _id_in(agent, name), number_in(agent, name)
    if extension_id:
        found = agents.by_id(extension_id)
        if found is None:
            raise invalid(f"{name}.extension_id: there is no such extension")
        return Place(found, found.number)
    if not number:
        raise invalid(f"{name}: number or extension_id is needed")
    found = agents.by_number(number)
    if found is not None:
        return Place(found, number)
    if not NUMBER.fullmatch(number):
        raise invalid(f"{name}.number: must be an extension, or 3 to 15 digits with or without +")
    return Place(None, number)
