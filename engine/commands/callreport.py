"""What a test call came to, as ``ivrea dial`` tells it."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(slots=True)
class CallReport:
    """What the caller saw; times in seconds since the answer."""

    status: int = 0
    reason: str = ""
    answered: bool = False
    duration: float = 0.0
    heard: list[dict[str, float]] = dataclasses.field(default_factory=list)
    sent: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    end: dict[str, str] = dataclasses.field(default_factory=dict)
    lost: int = 0
    jitter_ms: float = 0.0
    finished: bool = False
    """Whether every statement of the script was made."""

    def to_json(self) -> dict[str, Any]:
        """The form of ``dial --json``."""
        return {
            "status": self.status,
            "answered": self.answered,
            "duration": round(self.duration, 3),
            "heard": self.heard,
            "sent": self.sent,
            "end": self.end,
            "rtp": {"lost": self.lost, "jitter_ms": round(self.jitter_ms, 2)},
        }

    def in_words(self) -> list[str]:
        """The report for people."""
        if not self.answered:
            return [f"not answered: {self.status or 'no answer'} {self.reason}".rstrip()]
        happened: list[tuple[float, str]] = [
            (each["from"], f"heard {each['to'] - each['from']:.1f} s of speech at {each['dbfs']:.0f} dBFS")
            for each in self.heard
        ]
        verbs = {"key": "pressed", "words": "said", "hangup": "hung up"}
        happened += [(each["at"], f"{verbs[each['kind']]} {each['value']}".rstrip()) for each in self.sent]
        lines = ["   0.0 s  answered"]
        lines += [f"{at:6.1f} s  {what}" for at, what in sorted(happened)]
        lines.append(f"{self.duration:6.1f} s  ended by the {self.end.get('by', '?')}: {self.end.get('reason', '?')}")
        lines.append(f"{self.lost} packets lost, jitter {self.jitter_ms:.1f} ms")
        if not self.finished:
            lines.append("the call ended before the script did")
        return lines
