"""Steps that listen: choices by word or key, and collections of keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from flows import graph as g
from flows.call import Heard, Key
from flows.collecting import Collected, Collecting
from flows.listening import Chosen, Listening, Missed
from flows.prompts import Draft, Prompt
from flows.secrets import HIDDEN
from flows.walk import Walk


@contextmanager
def _in_secret(walk: Walk, step: g.Listen | g.Collect) -> Iterator[None]:
    """What is captured of the call does not tell the keys of a secret step, those included that wait for it."""
    if not step.secret:
        yield
        return
    with walk.call.secret(walk.waiting):
        yield


async def listen(walk: Walk, step: g.Listen) -> str:
    with _in_secret(walk, step):
        return await _listen(walk, step)


async def _listen(walk: Walk, step: g.Listen) -> str:
    call = walk.call
    listening = Listening(step.choices, walk.settings, seconds=step.seconds, repeats=step.repeats)
    verdict = await _until(walk, listening)  # keys pressed ahead decide without the prompt
    prompts = await walk.prepare(step.prompts) if verdict is None else ()
    try:
        if verdict is None:
            call.hear(step.choices.vocabulary)
        while not isinstance(verdict, Chosen):
            walk.speak(prompts)
            listening.begin(call.now(), playing=bool(prompts))
            if not prompts:
                walk.fell_silent(turn=True)
            verdict = await _until(walk, listening)
            if isinstance(verdict, Missed):
                if verdict.heard is not None:
                    _tell(walk, step, verdict.heard)
                if not verdict.again:
                    walk.because = "nothing matched" if verdict.why == "nomatch" else "the caller said nothing"
                    return g.NOMATCH if verdict.why == "nomatch" else g.SILENCE
                walk.count()
                prompts = await walk.prepare(step.again)
    finally:
        call.hear(None)
    walk.waiting.extendleft(reversed(verdict.unused))
    _tell(walk, step, verdict.heard)
    return verdict.exit


def _tell(walk: Walk, step: g.Listen | g.Collect, heard: Heard) -> None:
    walk.call.tell(replace(heard, value=HIDDEN) if step.secret else heard)


async def _until(walk: Walk, listening: Listening) -> Chosen | Missed | None:
    """Feed inputs until an attempt is decided; ``None`` when no keys that were pressed ahead are left."""
    while True:
        deadline = listening.deadline
        heard = await walk.next(walk.call.now() if deadline == float("-inf") else deadline)
        playing = listening.playing
        if heard is None:
            verdict = listening.expire()
            if verdict is None:
                return None
        else:
            verdict = listening.feed(heard)
        if verdict is not None and playing:
            walk.call.stop()
        if isinstance(verdict, Chosen | Missed):
            return verdict


async def collect(walk: Walk, step: g.Collect) -> str:
    with _in_secret(walk, step):
        return await _collect(walk, step)


async def _collect(walk: Walk, step: g.Collect) -> str:
    left = step.repeats
    prompts = step.prompts
    while True:
        outcome = await _attempt(walk, step, prompts)
        if outcome.digits:
            _tell(walk, step, Heard("key", outcome.digits))
        if outcome.exit == g.NEXT or left <= 0:
            break
        left -= 1
        walk.count()
        prompts = step.prompts if step.again is None else step.again
    walk.set(step.into, outcome.digits, secret=step.secret)
    if outcome.exit == g.NEXT:
        return g.NEXT
    walk.because = "the caller pressed nothing" if outcome.exit == g.NONE else "the caller pressed too few keys"
    return outcome.exit


async def _attempt(walk: Walk, step: g.Collect, prompts: tuple[Prompt | Draft, ...]) -> Collected:
    collecting = Collecting(step)
    await walk.gather()
    outcome, taken = collecting.ahead(walk.waiting)
    for _ in range(taken):
        walk.use(walk.waiting.popleft())
    if outcome is not None:
        return outcome
    ready = () if collecting.begun else await walk.prepare(prompts)
    walk.speak(ready)
    collecting.begin(walk.call.now(), playing=bool(ready))
    if not ready:
        walk.fell_silent(turn=True)
    while True:
        playing = collecting.playing
        heard = await walk.take(collecting.deadline)
        outcome = collecting.expire() if heard is None else collecting.feed(heard)
        if playing and not collecting.playing and isinstance(heard, Key):
            walk.call.stop()
        if outcome is not None:
            return outcome
