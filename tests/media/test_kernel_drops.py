"""What the kernel dropped is counted, a few sockets at a time."""

from __future__ import annotations

import numpy as np
import pytest
from media_studio import Phone, Studio


def dropped(studio: Studio) -> int:
    return studio.plane.load(np.zeros(1), 0.0).kernel_drops


def test_drops_of_open_and_closed_streams_are_told(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    for _ in range(5000):
        phone.raw(bytes(172))
    studio.run(1.0)
    told = dropped(studio)
    assert 1000 < told < 5000
    studio.drop()
    assert dropped(studio) == told
    studio.connect(phone, 2)  # in the same slot
    studio.run(1.0)
    assert dropped(studio) == told


def test_each_socket_is_looked_at_now_and_then_and_never_all_at_once(
    studio: Studio, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stream in range(1, 25):
        studio.connect(phone, stream)
    looks: list[int] = []

    def note(slots: np.ndarray) -> None:
        looks.extend(slots.tolist())

    monkeypatch.setattr(studio.sockets, "note_drops", note)
    per_tick = []
    for _ in range(800):
        before = len(looks)
        studio.tick()
        per_tick.append(len(looks) - before)
    assert len(looks) == len(set(looks)) == 24
    assert max(per_tick) == 1
    dropped(studio)
    assert len(looks) == 24
