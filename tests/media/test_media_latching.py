"""Whom a stream exchanges packets with: the peer of SDP, or where its packets come from; strangers and moves."""

import errno
import socket

import numpy as np
import pytest
from media_studio import (
    SILENCE,
    Phone,
    Studio,
)

from media import commands
from media.rates import FRAME


def test_an_address_that_cannot_be_sent_to(studio: Studio, phone: Phone) -> None:
    for host, port in (("0.0.0.0", 4000), ("example.org", 4000), ("127.0.0.1", 0), ("224.0.0.1", 4000)):
        studio.connect(phone)
        studio.do(commands.Direct(1, host, port, 0, 0))
        studio.run(0.1)
        phone.raw(phone.sound(SILENCE))
        phone.raw(phone.sound(SILENCE))
        phone.take()
        studio.run(0.1)
        assert len(phone.take()) >= 4  # sent to where its packets come from
        studio.drop()


def test_latches_once_and_again_only_on_sdp(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    other = Phone()
    other.to, other.ssrc = phone.to, 0x1234
    studio.talk(phone, np.zeros(3 * FRAME))
    studio.talk(other, np.zeros(5 * FRAME))
    assert other.take() == []
    phone.take()
    studio.direct(phone)
    studio.talk(other, np.zeros(5 * FRAME))
    assert other.take() == []
    assert phone.take()
    studio.do(commands.Direct(1, phone.host, phone.port, 0, 0, 101, relatch=True))
    studio.talk(other, np.zeros(5 * FRAME))
    phone.take()
    studio.run(0.1)
    assert len(other.take()) >= 4
    assert phone.take() == []
    stats = studio.drop()
    assert stats.received == 3 + 4
    other.close()


def test_a_single_stray_packet_does_not_take_over(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    stray = Phone()
    stray.to = phone.to
    stray.raw(stray.sound(SILENCE))
    studio.run(0.1)
    assert phone.take()
    assert stray.take() == []
    studio.talk(phone, np.zeros(3 * FRAME))
    stats = studio.drop()
    assert (stats.received, stats.foreign) == (3, 1)
    stray.close()


def test_a_stranger_does_not_take_a_call_whose_peer_is_where_sdp_says(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    stranger = Phone()
    stranger.to, stranger.ssrc = phone.to, phone.ssrc
    assert studio.talk(stranger, np.zeros(5 * FRAME))  # it may be the peer behind a NAT: it is answered for now
    studio.talk(phone, np.zeros(5 * FRAME))
    stranger.take()
    studio.talk(stranger, np.zeros(5 * FRAME))
    assert stranger.take() == []
    assert len(studio.talk(phone, np.zeros(5 * FRAME))) >= 5
    assert studio.drop().received == 4 + 10
    stranger.close()


def test_a_peer_behind_a_nat_is_answered_at_once_and_latched_in_the_end(studio: Studio, phone: Phone) -> None:
    outside, stranger = Phone(), Phone()
    studio.connect(phone)
    outside.to = stranger.to = phone.to
    stranger.ssrc = outside.ssrc
    assert studio.talk(outside, np.zeros(3 * FRAME))
    for _ in range(100):
        stranger.raw(stranger.sound(SILENCE))  # the same source, not from there: it disturbs nothing
        studio.talk(outside, np.zeros(FRAME))
    assert stranger.take() == []
    phone.take()
    studio.talk(outside, np.zeros(5 * FRAME))
    assert phone.take() == []
    stats = studio.drop()
    assert 106 <= stats.received <= 107
    assert (stats.lost, stats.duplicated) == (0, 0)
    assert 70 <= stats.foreign <= 80  # then the kernel filters
    for one in (outside, stranger):
        one.close()


def test_after_a_move_the_old_peer_is_left_behind(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    new = Phone()
    new.to = phone.to
    studio.talk(phone, np.zeros(5 * FRAME))
    phone.raw(phone.sound(SILENCE))
    phone.raw(phone.sound(SILENCE))
    studio.direct(new)
    phone.take()
    studio.talk(phone, np.zeros(20 * FRAME))  # still under way
    assert phone.take() == []
    assert len(studio.talk(new, np.zeros(5 * FRAME))) >= 5
    studio.talk(phone, np.zeros(100 * FRAME))
    assert phone.take() == []
    assert studio.drop().received == 5 + 5
    new.close()


def test_what_waits_from_the_old_peer_goes_with_it(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    studio.talk(phone, np.zeros(5 * FRAME))
    for _ in range(3):
        phone.raw(phone.sound(SILENCE))
    new = Phone()
    studio.direct(new)
    assert studio.sockets.receive(np.array([0]), anew=True) == 0
    new.close()


def test_a_kernel_that_will_not_let_go_of_a_peer_is_survived(
    studio: Studio, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.connect(phone)
    studio.talk(phone, np.zeros(5 * FRAME))

    def refuse(sock: socket.socket) -> None:
        raise OSError(errno.ENOBUFS, "no buffer space")

    monkeypatch.setattr("media.sockets.disconnect", refuse)
    new = Phone()
    studio.direct(new)
    new.to = phone.to
    studio.run(0.2)
    assert len(new.take()) >= 9
    assert studio.sockets.refused == 1
    new.close()
