"""What both sides of a bridge hear while a leg is on hold, and how a leg is put there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.calls.holding import Bridge, Hold, Side
from engine.calls.leg import PeerLeg
from engine.calls.media import Stream
from engine.log import get_logger
from engine.sip import sdp
from media import commands

MUSIC = Path("/music.wav")


class Line:
    """A stream that knows only what it hears."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.to = ""
        self.plays = ""

    def relay(self, to: Line | None) -> None:
        self.to = to.name if to is not None else ""

    def play(self, files: list[Path], *, loop: bool) -> int:
        assert loop
        self.plays = str(files[0])
        return 1

    def stop(self) -> None:
        self.plays = ""


def bridge() -> tuple[Bridge, Line, Line, Hold, Hold]:
    one, other = Line("one"), Line("other")
    holds = Hold(), Hold()
    sides = (Side(cast("Stream", one), holds[0]), Side(cast("Stream", other), holds[1]))
    made = Bridge(*sides, MUSIC)
    made.connect()
    return made, one, other, *holds


def test_both_hear_each_other() -> None:
    made, one, other, _, _ = bridge()
    assert (one.to, other.to, one.plays, other.plays) == ("other", "one", "", "")
    made.disconnect()
    assert (one.to, other.to) == ("", "")


def test_who_talks_with_a_phone_on_hold_hears_music() -> None:
    _, one, other, hold, _ = bridge()
    hold.set(held=True)
    assert (one.to, one.plays) == ("", "")
    assert (other.to, other.plays) == ("", str(MUSIC))
    hold.set(held=False)
    assert (one.to, other.to, other.plays) == ("other", "one", "")


def test_two_phones_that_hold_each_other() -> None:
    _, one, other, first, second = bridge()
    first.set(held=True)
    second.set(held=True)
    first.set(held=False)
    assert (one.to, other.to) == ("", "")
    assert (one.plays, other.plays) == (str(MUSIC), "")
    second.set(held=False)
    assert (one.to, other.to, one.plays, other.plays) == ("other", "one", "", "")


def test_the_other_side_of_a_leg_that_we_hold_hears_nothing() -> None:
    """The leg itself plays the music to the phone that is held."""
    _, one, other, hold, _ = bridge()
    hold.set(holding=True)
    assert (one.to, other.to, one.plays, other.plays) == ("", "", "", "")


def test_a_bridge_that_ends_on_hold_leaves_no_music_behind() -> None:
    made, _, other, hold, _ = bridge()
    hold.set(held=True)
    made.disconnect()
    assert other.plays == ""
    hold.set(held=False)
    assert other.to == ""


def test_watchers_hear_of_changes_only() -> None:
    hold, told = Hold(), []
    hold.watch(lambda: told.append(hold.quiet))
    hold.set(held=False)
    hold.set(held=True)
    hold.set(held=True, holding=False)
    assert told == [True]


# --- a leg that we hold ------------------------------------------------------------------


ANSWER = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 5004 RTP/AVP 0\r\na=%s\r\n"


class Session:
    """A session that keeps what is offered, and takes what the phone offers."""

    ended = False
    state = "confirmed"

    def __init__(self) -> None:
        self.offers: list[bytes] = []
        self.answers: list[bytes] = []

    def reinvite(self, body: bytes, now: float) -> None:
        self.offers.append(body)

    def answer_reoffer(self, body: bytes, now: float) -> bool:
        self.answers.append(body)
        return True

    def direction(self, place: int = -1) -> str:
        description = sdp.parse(self.offers[place])
        return description.direction_of(description.media[0])


def version_of(body: bytes) -> int:
    return int(sdp.parse(body).origin.split()[2])


@pytest.fixture
async def leg() -> tuple[PeerLeg, Session, list[Any]]:
    """A leg whose call was answered."""
    sent: list[Any] = []
    made = PeerLeg(
        host="192.0.2.254",
        codecs=("PCMU",),
        rtp_timeout=20.0,
        on_agreed=lambda agreed, before: None,
        on_changed=lambda: None,
        log=get_logger("test"),
    )
    stream = Stream(cast("Any", SimpleNamespace(send=sent.append)), 1, lambda report: None, lambda reason: None)
    stream.port = 4000
    made.attach(stream)
    made.offer()
    session = Session()
    made.session = cast("Any", session)
    made.answered(ANSWER % b"sendrecv")
    sent.clear()
    return made, session, sent


Made = tuple[PeerLeg, Session, list[Any]]


def pumped() -> None:
    """Nothing to send: the session keeps it."""


async def begin(work: Any) -> asyncio.Task[bool]:
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    return task


async def test_a_leg_is_held_and_resumed_by_re_invite(leg: Made) -> None:
    """RFC 6337 section 5.3: sendonly, and music; then sendrecv again."""
    made, session, sent = leg
    holding = await begin(made.hold(MUSIC, 1.0, pumped))
    assert session.direction() == "sendonly"
    made.reoffer_answered(ANSWER % b"recvonly")
    assert await holding
    assert made.on_hold.holding
    assert not made.on_hold.held
    (direct,) = [message for message in sent if isinstance(message, commands.Direct)]
    assert (direct.send, direct.receive) == (True, False)
    (timeout,) = [message for message in sent if isinstance(message, commands.RtpTimeout)]
    assert timeout.seconds == 0.0
    assert [message.files for message in sent if isinstance(message, commands.Play)] == [[str(MUSIC)]]

    resuming = await begin(made.resume(2.0, pumped))
    assert session.direction() == "sendrecv"
    assert version_of(session.offers[1]) == version_of(session.offers[0]) + 1
    made.reoffer_answered(ANSWER % b"sendrecv")
    assert await resuming
    assert not made.on_hold.holding
    assert [message for message in sent if isinstance(message, commands.Stop)]


@pytest.mark.parametrize("body", [None, b"v=0\r\n"], ids=["refused", "a useless answer"])
async def test_a_phone_that_cannot_be_held_goes_on_talking(leg: Made, body: bytes | None) -> None:
    made, _, sent = leg
    holding = await begin(made.hold(MUSIC, 1.0, pumped))
    if body is None:
        made.reoffer_refused(488)
    else:
        made.reoffer_answered(body)
    assert not await holding
    assert not made.on_hold.holding
    assert not sent


async def test_an_offer_of_the_phone_meanwhile_comes_first(leg: Made) -> None:
    """After a glare (491) ours waits: it is made anew, of a later version, behind the answer to theirs."""
    made, session, _ = leg
    holding = await begin(made.hold(MUSIC, 1.0, pumped))
    made.reoffered(ANSWER % b"sendonly", 1.5)
    assert made.on_hold.held
    assert version_of(session.offers[1]) == version_of(session.answers[0]) + 1
    assert session.direction() == "sendonly"
    made.reoffer_answered(ANSWER % b"inactive")
    assert await holding
    assert made.on_hold.held
    assert made.on_hold.holding


async def test_what_a_held_phone_offers_does_not_end_the_hold(leg: Made) -> None:
    made, session, _ = leg
    holding = await begin(made.hold(MUSIC, 1.0, pumped))
    made.reoffer_answered(ANSWER % b"recvonly")
    assert await holding
    made.reoffered(ANSWER % b"sendrecv", 3.0)
    description = sdp.parse(session.answers[0])
    assert description.direction_of(description.media[0]) == "sendonly"


async def test_a_call_that_is_over_or_not_answered_cannot_be_held(leg: Made) -> None:
    made, session, _ = leg
    session.state = "early"
    assert not await made.hold(MUSIC, 1.0, pumped)
    session.state, session.ended = "confirmed", True
    assert not await made.hold(MUSIC, 1.0, pumped)
    assert session.offers == []
