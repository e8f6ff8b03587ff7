"""Schedules of :mod:`schedules`: a sample of them, or as many as ``IVREA_SCHEDULES`` says (``make soak`` wants 5000).

``IVREA_SCHEDULES_SEED`` is the first seed; ``IVREA_SCHEDULES_REPORT`` a file for what they came to.
"""

from __future__ import annotations

import os
import time
import traceback
from pathlib import Path

import pytest
from schedules import METHODS, Told, World, run

from engine.sip.session import Session

SAMPLE = 200
COUNT = int(os.environ.get("IVREA_SCHEDULES", SAMPLE))
FIRST = int(os.environ.get("IVREA_SCHEDULES_SEED", "1"))
FOUND = """\
- A PRACK that came after the answer and our hanging up, while the BYE waited for the ACK, was told behind the end of
  its session (3 of 10,000 schedules): it gets its 200, and nothing is told.
"""
"""Mistakes of the machines that these schedules have found, all of them mended."""
EVENTS = (
    "Invited", "Answered", "Acknowledged", "Progressed", "ProgressAcknowledged", "Reoffered", "ReofferAnswered",
    "ReofferRefused", "InfoReceived", "ReferRequested", "ReferProgress", "Refused", "Ended", "RegistrationChanged",
    "DeviceChanged", "SubscriptionChanged",
)  # fmt: skip


@pytest.mark.timeout(7200)
def test_everything_ends_once_on_any_network() -> None:
    """Both sides of every schedule come to an end of everything, and nothing is left."""
    total, failed = Told(), {}
    began = time.perf_counter()
    for seed in range(FIRST, FIRST + COUNT):
        try:
            total.add(run(seed))
        except Exception:  # noqa: BLE001 - all seeds that fail are told, with what went wrong
            failed[seed] = traceback.format_exc(limit=-3)
    if path := os.environ.get("IVREA_SCHEDULES_REPORT"):
        Path(path).write_text(report(total, failed, time.perf_counter() - began))
    assert not failed, f"{len(failed)} of {COUNT} schedules failed:\n" + "\n".join(
        f"seed {seed}: {what}" for seed, what in list(failed.items())[:5]
    )
    if COUNT >= SAMPLE:  # nothing was left out
        assert [method for method in METHODS if not total.packets[method]] == []
        assert [event for event in EVENTS if not total.events[event]] == []
        assert total.lost > COUNT


def test_a_seed_is_a_schedule() -> None:
    assert run(FIRST) == run(FIRST)


def test_what_is_left_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that forgets to close itself fails the schedule."""
    monkeypatch.setattr(Session, "_close", lambda _session: None)
    world = World(FIRST)
    world.do(world.bob, "call")
    world.network.run(1.0)
    world.close()
    with pytest.raises(AssertionError):
        world.judge()


def report(total: Told, failed: dict[int, str], seconds: float) -> str:
    """What many schedules came to, as a page."""
    packets = sum(total.packets.values())
    lines = [
        "# Random schedules of SIP in virtual time",
        "",
        "`make soak-schedules`: two switches that call each other, a registration between them, a telephone with a",
        "lamp, on networks that lose, double, delay (also beyond the timers of 32 s) and reorder. After each schedule",
        "every session has ended once, with nothing after its end; no dialog, transaction, subscription, registration",
        "or timer is left. These are the machines of `engine/sip`, without sockets: whether the whole daemon leaves",
        "ports and tasks behind is what `make soak` looks at.",
        "",
        "| | |",
        "|---|---|",
        f"| schedules | {COUNT:,} |",
        f"| seeds | {FIRST} to {FIRST + COUNT - 1} |",
        f"| failed | {len(failed)}{': ' + ', '.join(map(str, failed)) if failed else ''} |",
        f"| took | {seconds:.0f} s |",
        f"| virtual time | {total.seconds / 3600:,.0f} h |",
        f"| packets sent | {packets:,} |",
        f"| never arrived | {total.lost:,} ({100 * total.lost / max(1, packets):.0f} %) |",
        "",
        "| messages, with responses and repeats | |",
        "|---|---|",
        *(f"| {name} | {number:,} |" for name, number in total.packets.most_common()),
        "",
        "| events | |",
        "|---|---|",
        *(f"| {name} | {number:,} |" for name, number in total.events.most_common()),
        "",
        "Found, and mended:",
        "",
        FOUND,
    ]
    return "\n".join(lines)
