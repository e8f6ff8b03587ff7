"""Steps that let something be heard, or wait while the caller is: prompts, pauses, recordings."""

from __future__ import annotations

from flows import graph as g
from flows.call import CallEnded, Key, PromptEnded, Recorded, RecordingEnded, RecordingOrder, Unsupported
from flows.templates import UnsafeUrl
from flows.walk import Walk


async def say(walk: Walk, step: g.Say) -> str:
    prompts = await walk.prepare(step.prompts)
    if not prompts:
        return g.NEXT
    if step.stop_keys:
        await walk.gather()
    heard = 0
    while step.times == 0 or heard < step.times:
        heard += 1
        walk.count()
        walk.speak(prompts)
        if not step.stop_keys:
            await walk.played()
        elif await _stopped(walk, step):
            break
    return g.NEXT


async def _stopped(walk: Walk, step: g.Say) -> bool:
    """Wait for the end of a prompt, or a key that ends it."""
    while True:
        heard = await walk.take(None, turn=False)
        if isinstance(heard, PromptEnded):
            return False
        if isinstance(heard, Key):
            if heard.digit in step.stop_keys:
                walk.call.stop()
                walk.stopped_by(heard, step.into)
                return True
            walk.waiting.append(heard)


async def pause(walk: Walk, step: g.Pause) -> str:
    if not step.stop_keys:
        await walk.call.pause(step.seconds)
        return g.NEXT
    until = walk.call.now() + step.seconds
    walk.fell_silent(turn=True)
    while (heard := await walk.take(until)) is not None:
        if isinstance(heard, Key):
            walk.waiting.append(heard)
            if heard.digit in step.stop_keys:
                break
    return g.NEXT


async def record(walk: Walk, step: g.Record) -> str:
    """Record the caller. Keys pressed before it began do not end it, and those that end it are not kept."""
    if prompts := await walk.prepare(step.prompts):
        walk.speak(prompts)
        await walk.played()
    await walk.gather()
    walk.waiting.clear()
    walk.forget(f"{step.into}.")
    try:
        upload = walk.upload(step.upload)
    except UnsafeUrl as error:
        walk.trouble(f"the recording is not sent anywhere: {error}")
        upload = None
    order = RecordingOrder(
        step.format,
        step.sides,
        step.limit,
        step.silence,
        step.beep,
        step.trim,
        upload=upload,
        transcribe=step.transcribe,
    )
    try:
        recording = walk.call.record(order)
    except Unsupported as error:
        walk.trouble(str(error))
        return g.UNSUPPORTED if g.UNSUPPORTED in step.exits else g.NONE
    walk.recorded()
    key = ""
    walk.fell_silent(turn=True)
    try:
        while True:
            heard = await walk.take(None)
            if isinstance(heard, Key) and heard.digit in step.stop_keys and not key:
                key = heard.digit
                walk.call.stop_recording(recording)
            elif isinstance(heard, RecordingEnded) and heard.recording == recording:
                break
    except CallEnded:
        await _ended_with_the_call(walk, step, order, recording)
        raise
    finally:
        walk.call.stop_recording(recording)
    _learn(walk, step, order, heard, key)
    return g.NEXT if heard.duration > 0 else g.NONE


def _learn(walk: Walk, step: g.Record, order: RecordingOrder, ended: RecordingEnded, key: str) -> None:
    sent = order.upload is not None and ended.duration > 0
    walk.call.tell(Recorded(ended.recording, step.format, ended.duration, ended.reason))
    walk.learn(
        step.into,
        {
            "id": ended.recording,
            "url": order.upload.place if sent and order.upload is not None else ended.url,
            "duration": str(int(ended.duration)),
            "key": key,
            "reason": "key" if key else ended.reason,
        },
    )


async def _ended_with_the_call(walk: Walk, step: g.Record, order: RecordingOrder, recording: str) -> None:
    """Know of the recording what there is to know, if anybody wants to be told; without a sound nobody is."""
    if g.HUNG_UP not in step.exits:
        return
    ended = await walk.call.recording_end(recording)
    if ended.duration > 0:
        _learn(walk, step, order, ended, "")
        walk.last_words = step.exits[g.HUNG_UP]
