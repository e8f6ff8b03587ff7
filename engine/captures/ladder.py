"""SIP messages as a ladder: who sent what to whom, line by line, to be read in a terminal or a mail."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from engine.addresses import bracketed
from engine.transport.tap import Seen

WIDTH = 34
"""Columns of the way between two sides."""


def ladder(messages: Iterable[Seen], us: str = "Ivrea") -> str:
    """The ladder of ``messages``, by time: ``us`` in the first column, everybody else as they come."""
    ordered = sorted(messages, key=lambda each: each.at)
    others = list(dict.fromkeys(_peer(each) for each in ordered))
    names = [us, *others]
    lines = ["time (UTC)    " + "".join(name.ljust(WIDTH) for name in names)]
    for seen in ordered:
        at = datetime.fromtimestamp(seen.at, UTC).strftime("%H:%M:%S.%f")[:12]
        lines.append(f"{at}  {_rung(seen, others.index(_peer(seen)) + 1, len(names))}")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _peer(seen: Seen) -> str:
    host, port = seen.flow.remote
    return f"{seen.flow.transport}:{bracketed(host)}:{port}"


def _rung(seen: Seen, column: int, columns: int) -> str:
    """The lines of all sides, and an arrow between ours and that of ``column``."""
    length = column * WIDTH - 1
    text = f" {_what(seen)} "[: max(length - 3, 0)]
    arrow = text.center(length - 1, "-")
    arrow = f"{arrow}>" if seen.direction == "out" else f"<{arrow}"
    rest = "".join(" " * (WIDTH - 1) + "|" for _ in range(column + 1, columns))
    return f"|{arrow}|{rest}"


def _what(seen: Seen) -> str:
    """The method, or the status with the CSeq that it answers."""
    line = seen.first_line
    if line.startswith("SIP/2.0 "):
        return f"{line[8:]} ({seen.cseq})"
    sdp = " + SDP" if b"\r\n\r\nv=0" in seen.data else ""
    return line.partition(" ")[0] + sdp
