"""The generator's checks see what is wrong: numbering, times, sound."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import checks
from benchmarks.checks import Log, compare, examine
from media.rates import FRAME, RATE

FRAMES = 200


def stream_log(streams: int = 3, frames: int = FRAMES, first_sequence: int = 65500) -> Log:
    """Perfect packets of all streams, frame by frame, as they would come in; numbers and timestamps wrap on the way."""
    count = streams * frames
    frame = np.repeat(np.arange(frames), streams)
    stream = np.tile(np.arange(streams, dtype=np.int32), frames)
    return Log(
        stream=stream,
        sequence=((first_sequence + frame) & 0xFFFF).astype(np.uint16),
        timestamp=((2**32 - 50 * FRAME + frame * FRAME) & 0xFFFFFFFF).astype(np.uint32),
        ssrc=(1000 + stream).astype(np.uint32),
        second=np.zeros(count, np.uint8),
        length=np.full(count, 12 + FRAME, np.int32),
        arrival=(frame * 20_000_000 + stream * 1_000_000).astype(np.int64),
    )


def without(log: Log, *places: int) -> Log:
    kept = np.ones(len(log.stream), np.bool_)
    kept[list(places)] = False
    return log.only(kept)


def swapped(log: Log, one: int, other: int) -> Log:
    """What arrives in place of ``one`` and of ``other`` exchanged; the times stay."""
    order = np.arange(len(log.stream))
    order[[one, other]] = other, one
    arrival = log.arrival
    moved = log.only(order)
    moved.arrival = arrival
    return moved


def test_perfect_packets_have_no_problems() -> None:
    heard = examine(stream_log(), 3)
    assert heard.problems() == []
    assert (heard.packets, heard.lost, heard.long_gaps, heard.paced, heard.skipped) == (600, 0, 0, 3, 0)
    assert heard.histogram.sum() == 3 * (FRAMES - 1)
    assert heard.histogram[round(20 / checks.BIN_MS)] == 3 * (FRAMES - 1)


def test_loss_is_counted_over_the_wrap_of_the_numbers() -> None:
    wrap = 3 * 36  # the frame whose sequence number is 0
    heard = examine(without(stream_log(), wrap, wrap + 3, 300), 3)
    assert heard.lost == 3
    assert heard.problems() == ["3 packets lost"]


def test_what_the_kernel_dropped_on_our_side_is_not_held_against_the_engine() -> None:
    heard = examine(without(stream_log(), 150, 300), 3)
    assert heard.problems(kernel_drops=2) == []


def test_reordering_is_not_loss() -> None:
    heard = examine(swapped(stream_log(), 300, 303), 3)
    assert (heard.lost, heard.duplicated, heard.reordered) == (0, 0, 1)
    assert any("out of order" in problem for problem in heard.problems())


def test_repetition_is_counted_and_is_not_loss() -> None:
    log = stream_log()
    doubled = log.only(np.sort(np.concatenate([np.arange(len(log.stream)), [301]])))
    heard = examine(doubled, 3)
    assert (heard.lost, heard.duplicated) == (0, 1)


def test_a_stream_that_was_never_heard_is_missed() -> None:
    assert examine(stream_log(2), 3).silent_streams == 1
    assert examine(stream_log().first(0), 3).silent_streams == 3


def test_timestamps_that_run_wrong_are_seen() -> None:
    log = stream_log()
    log.timestamp[300:] += 7
    heard = examine(log, 3)
    assert heard.wrong_timestamps == 3
    assert heard.skipped == 0


def test_frames_left_out_by_a_late_sender_are_no_fault_of_the_timestamps() -> None:
    log = stream_log()
    log.timestamp[300:] += np.uint32(12 * FRAME)
    heard = examine(log, 3)
    assert (heard.wrong_timestamps, heard.skipped) == (0, 36)


def test_timestamps_that_stand_still_are_wrong() -> None:
    log = stream_log()
    log.timestamp[:] = 5
    assert examine(log, 3).wrong_timestamps == 3 * (FRAMES - 1)


def test_another_ssrc_in_the_middle_is_seen() -> None:
    log = stream_log()
    log.ssrc[303::3] = 77
    assert examine(log, 3).changed_ssrc == 1


def test_packets_of_another_size_are_malformed() -> None:
    log = stream_log()
    log.length[5] = 12 + FRAME - 1
    assert examine(log, 3).malformed == 1


def test_key_events_among_the_sound_are_no_fault() -> None:
    log = stream_log()
    events = slice(300, 315, 3)  # five frames of stream 0
    log.second[events] = 101
    log.length[events] = 16
    log.timestamp[events] = log.timestamp[300]
    assert examine(log, 3).problems() == []


def test_pace_is_judged_by_stream() -> None:
    log = stream_log()
    late = np.flatnonzero(log.stream == 1)[10::20]
    log.arrival[late] += 5_000_000  # one packet in twenty, 5 ms late: off by more than 3 ms, before and after
    heard = examine(log, 3)
    assert heard.paced == 2
    assert heard.p99_off_ms.tolist() == pytest.approx([0, 5, 0])


def test_a_rare_late_packet_does_not_break_the_pace() -> None:
    log = stream_log()
    log.arrival[np.flatnonzero(log.stream == 1)[100]] += 5_000_000
    assert examine(log, 3).paced == 2  # two of 199 intervals are off: just over one percent
    longer = stream_log(frames=500)
    longer.arrival[np.flatnonzero(longer.stream == 1)[100]] += 5_000_000
    assert examine(longer, 3).paced == 3


def test_long_gaps_are_counted() -> None:
    log = stream_log()
    log.arrival[300:] += 25_000_000
    heard = examine(log, 3)
    assert heard.long_gaps == 3
    assert heard.longest_gap_ms == pytest.approx(45)


# --- sound ------------------------------------------------------------------------------------


def speechlike(seed: int, seconds: int = 8) -> np.ndarray:
    dice = np.random.default_rng(seed)
    envelope = 1 + np.sin(np.arange(seconds * RATE) / 700)
    return (dice.normal(0, 1500, seconds * RATE) * envelope).astype(np.int16)


def test_the_prompt_is_recognised_wherever_it_begins() -> None:
    prompt = speechlike(1)
    heard = np.roll(prompt, -12345)[: 4 * RATE]
    verdict = compare(0, heard, [prompt], 0.9)
    assert (verdict.loud, verdict.right, verdict.wrong) == (4, 4, False)


def test_another_sound_is_wrong() -> None:
    verdict = compare(0, speechlike(2)[: 4 * RATE], [speechlike(1)], 0.9)
    assert (verdict.loud, verdict.right, verdict.wrong) == (4, 0, True)


def test_one_wrong_second_is_wrong() -> None:
    prompt = speechlike(1)
    heard = prompt[: 4 * RATE].copy()
    heard[2 * RATE : 3 * RATE] = speechlike(2)[:RATE]
    verdict = compare(0, heard, [prompt], 0.9)
    assert (verdict.loud, verdict.right, verdict.wrong) == (4, 3, True)


def test_frames_in_the_wrong_order_are_wrong() -> None:
    prompt = speechlike(1)
    frames = prompt[: 4 * RATE].reshape(-1, FRAME)
    heard = frames.reshape(-1, 2, FRAME)[:, ::-1].reshape(-1)
    assert compare(0, heard, [prompt], 0.9).wrong


def test_silence_in_place_of_sound_is_wrong() -> None:
    assert compare(0, np.zeros(2 * RATE, np.int16), [speechlike(1)], 0.9).wrong


def test_silence_where_there_may_be_pauses_is_wrong_only_if_there_is_nothing_else() -> None:
    quiet = compare(0, np.zeros(12 * RATE, np.int16), [speechlike(1)], 0.9, pauses=True)
    assert not quiet.wrong
    heard = examine(stream_log(), 3)
    heard.sounds = [quiet]
    assert heard.problems() == []
    heard.sounds = [quiet, quiet]
    assert heard.problems() == ["nothing but silence in the compared streams"]


def test_seconds_with_gaps_are_not_compared() -> None:
    prompt = speechlike(1)
    heard = prompt[: 4 * RATE].copy()
    heard[RATE : RATE + 10 * FRAME] = 0
    present = np.ones(4 * RATE // FRAME, np.bool_)
    present[RATE // FRAME : RATE // FRAME + 10] = False
    verdict = compare(0, heard, [prompt], 0.9, present)
    assert (verdict.whole, verdict.right, verdict.wrong) == (3, 3, False)


def test_a_mixture_has_one_of_its_sources_in_it() -> None:
    one, two = speechlike(1), speechlike(2)
    mixed = ((one.astype(np.int32) + two) // 2).astype(np.int16)[: 2 * RATE]
    assert not compare(0, mixed, [speechlike(3), two], 0.4).wrong
    assert compare(0, mixed, [speechlike(3)], 0.4).wrong
