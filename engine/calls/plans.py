"""What is known of a call before it begins: the plan, its limits, who calls whom; and its end in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from engine.calls.identity import Caller
from engine.calls.services import Renderer, StoredFlow, no_stored_flows
from engine.security import OPEN, MediaSecurity
from flows.call import EndedBy
from flows.executor import Settings
from flows.graph import Graph
from flows.prompts import Prompt


@dataclasses.dataclass(frozen=True, slots=True)
class CallPlan:
    """What to do with a call, as the number plan had it when the call came in."""

    flow_name: str
    graph: Graph
    prompts: Mapping[Prompt, Path]
    settings: Settings
    render: Renderer
    """Makes prompts that are known on the call only."""
    recordings: Path
    record: bool = False
    """Whether all calls to this number are recorded, from the answer on."""
    account: str = "default"
    most_calls: int = 0
    """Calls that the account may have at a time; 0: no limit of its own."""
    flow_version: int = 0
    """Of a stored flow."""
    stored: StoredFlow = no_stored_flows
    """Finds the stored flows that this one may go on with."""


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """Hard limits of a call, in seconds, and the addresses and codecs of its media."""

    max_duration: float
    rtp_timeout: float
    settle: float
    bind_host: str
    media_host: str
    codecs: tuple[str, ...]
    security: MediaSecurity = OPEN
    max_silence: float = 0.0
    """0: no limit."""


@dataclasses.dataclass(frozen=True, slots=True)
class Parties:
    """Who calls whom: user parts of the numbers; ``source`` is a trunk's or device's name or ``anyone``.

    Numbers that the caller is transferred to are looked for at ``refer_host``. ``known``: the caller, as those who are
    dialled for the call may see them; ``outside``: who is no telephone of ours, whose call is forwarded when it goes
    out again. ``device`` is the caller's telephone, if it is one of the account.
    """

    caller: str
    callee: str
    source: str
    refer_host: str
    known: Caller | None = None
    outside: bool = False
    device: str = ""


def in_words(by: EndedBy, reason: str, path: str, duration: float | None) -> str:
    """How a call ended, why, and after what path, in a sentence. ``duration``: ``None`` if it was never answered."""
    match by:
        case "caller":
            how = f"the caller {reason}" if duration is not None else f"the call was {reason}"
        case "flow":
            how = f"the flow ended the call ({reason})"
        case "limit":
            how = f"a limit ended the call ({reason})"
        case "error":
            how = f"an error ended the call ({reason})"
    if duration is None:
        return how
    return f"{how} after {duration:.1f} s, {f'at {path}' if path else 'at the root'}"
