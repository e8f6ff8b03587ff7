"""SIP and SDP alone: our transport, endpoint and offer/answer in one process, without flows, media, journal or logs."""

from __future__ import annotations

import asyncio
import random
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from engine.loop import run, settle_garbage
from engine.sip import sdp
from engine.sip.endpoint import Endpoint
from engine.sip.events import Acknowledged, Invited
from engine.sip.offer_answer import LocalMedia, make_answer
from engine.transport import SipTransport

if TYPE_CHECKING:
    from engine.sip.core import Event


def answer_all(pipe: Connection) -> None:
    """Say the port down ``pipe``; then answer every INVITE with a description, and hang up on its ACK."""
    run(_answer_all(pipe))


async def _answer_all(pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    media = LocalMedia("127.0.0.1", 40_000, 1)

    def take(event: Event) -> None:
        if isinstance(event, Invited):
            offer = event.session.offer
            assert offer is not None
            answer, _ = make_answer(sdp.parse(offer), media)
            event.session.accept(answer.encode(), loop.time())
        elif isinstance(event, Acknowledged):
            event.session.bye(loop.time())

    transport = SipTransport(
        lambda host: Endpoint(random=random.SystemRandom(), user_agent="Ivrea", contact_host=host), on_event=take
    )
    await transport.listen(["udp:127.0.0.1:0"])
    settle_garbage()
    pipe.send(transport.addresses[0].port)
    await asyncio.Event().wait()
