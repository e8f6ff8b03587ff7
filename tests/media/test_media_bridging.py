"""Streams that hear each other: relayed packets, transcoding, rooms."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from media_studio import Phone, Studio, Tone, assert_continuous, headers, read_wav, rms, samples_of, sine, tone_power

from media import codecs, commands, reports, rtp
from media.g711 import Law
from media.rates import FRAME

PAIR = (1, 2)


@pytest.fixture
def phones() -> Iterator[list[Phone]]:
    made = [Phone() for _ in range(4)]
    yield made
    for each in made:
        each.close()


def bridge(studio: Studio, phones: list[Phone], **direct: object) -> None:
    """Phones 0 and 1 on the streams 1 and 2, both heard already, and each relayed to the other."""
    for stream, each in zip(PAIR, phones, strict=False):
        studio.connect(each, stream, **direct)
    talk(studio, phones[:2], [np.zeros(6 * FRAME)] * 2)
    studio.do(commands.Relay(1, 2), commands.Relay(2, 1))


def talk(studio: Studio, phones: list[Phone], sounds: list[np.ndarray]) -> list[list[bytes]]:
    """All phones send at the same time; returns what each of them got."""
    got: list[list[bytes]] = [[] for _ in phones]
    for start in range(0, len(sounds[0]) // FRAME * FRAME, FRAME):
        for each, sound in zip(phones, sounds, strict=True):
            each.raw(each.sound(sound[start : start + FRAME]))
        studio.run(0.02)
        for each, came in zip(phones, got, strict=True):
            came.extend(each.take())
    return got


def sound_of(packets: list[bytes], law: Law = Law.PCMU) -> np.ndarray:
    return np.concatenate([samples_of(packet, law) for packet in packets if packet[1] & 0x7F == law])


# --- relays -----------------------------------------------------------------------------


def test_a_bridge_passes_the_sound_of_each_to_the_other(studio: Studio, phones: list[Phone]) -> None:
    bridge(studio, phones)
    first, second = talk(studio, phones[:2], [sine(500, 1), sine(900, 1)])
    for packets, own, other in ((first, 500, 900), (second, 900, 500)):
        assert_continuous(packets)
        sound = sound_of(packets)[3 * FRAME :]
        assert len(packets) == pytest.approx(50, abs=1)
        assert tone_power(sound, other) == pytest.approx(8000, rel=0.03)
        assert tone_power(sound, own) < 80


def test_relayed_packets_keep_their_octets_and_do_not_wait(studio: Studio, phones: list[Phone]) -> None:
    bridge(studio, phones)
    talk(studio, phones[:2], [np.zeros(2 * FRAME)] * 2)
    packet = phones[0].sound(np.random.default_rng(1).normal(0, 3000, FRAME))
    phones[0].raw(packet)
    studio.run(0.01)
    (came,) = phones[1].take()
    assert came[12:] == packet[12:]


def test_what_the_network_did_shows_at_the_other_end(studio: Studio, phones: list[Phone]) -> None:
    """Lost packets leave gaps in the numbers, late ones come late, and nothing is sent in place of silence."""
    bridge(studio, phones)
    talk(studio, phones[:2], [np.zeros(2 * FRAME)] * 2)
    phones[1].take()
    packets = [phones[0].sound(np.full(FRAME, 100.0 * n)) for n in range(6)]
    came: list[bytes] = []
    for packet in (packets[0], packets[1], packets[4], packets[3], packets[5]):
        phones[0].raw(packet)
        studio.run(0.02)
        came += phones[1].take()
    heads = headers(came)
    assert [rtp.sequence_delta(head.sequence, heads[0].sequence) for head in heads] == [0, 1, 4, 3, 5]
    assert [rtp.timestamp_delta(head.timestamp, heads[0].timestamp) // FRAME for head in heads] == [0, 1, 4, 3, 5]
    studio.run(0.2)
    assert phones[1].take() == []


def test_repeated_packets_are_passed_on_once(studio: Studio, phones: list[Phone]) -> None:
    bridge(studio, phones)
    packet = phones[0].sound(sine(500, 0.02))
    phones[0].raw(packet)
    phones[0].raw(packet)
    phones[1].take()
    studio.run(0.06)
    assert len(phones[1].take()) == 1


def test_numbers_go_on_when_a_bridge_begins_and_ends(studio: Studio, phones: list[Phone], tone: Tone) -> None:
    """Own sound, relayed sound, own sound again: one stream for the far end."""
    for stream, each in zip(PAIR, phones, strict=False):
        studio.connect(each, stream)
    quiet = [np.zeros(10 * FRAME)] * 2
    packets = talk(studio, phones[:2], quiet)[0]
    studio.do(commands.Relay(2, 1))
    packets += talk(studio, phones[:2], quiet)[0]
    studio.do(commands.Relay(2, 0))
    packets += talk(studio, phones[:2], quiet)[0]
    heads = headers(packets)
    assert {rtp.sequence_delta(two.sequence, one.sequence) for one, two in itertools.pairwise(heads)} == {1}
    steps = [rtp.timestamp_delta(two.timestamp, one.timestamp) for one, two in itertools.pairwise(heads)]
    assert sum(step != FRAME for step in steps) <= 2
    assert all(0 < step <= 3 * FRAME for step in steps)


def test_a_prompt_takes_the_place_of_what_is_relayed(studio: Studio, phones: list[Phone], tone: Tone) -> None:
    bridge(studio, phones)
    talk(studio, phones[:2], [sine(500, 0.2), sine(900, 0.2)])
    studio.do(commands.Play(1, 1, [tone(1500, 0.5)]))
    packets = talk(studio, phones[:2], [sine(500, 1), sine(900, 1)])[0]
    heads = headers(packets)
    assert [rtp.sequence_delta(two.sequence, one.sequence) for one, two in itertools.pairwise(heads)] == [1] * (
        len(heads) - 1
    )
    sound = sound_of(packets)
    during, after = sound[5 * FRAME : 20 * FRAME], sound[-15 * FRAME :]
    assert tone_power(during, 1500) > 7000
    assert tone_power(during, 900) < 300
    assert tone_power(after, 900) > 7000
    assert tone_power(after, 1500) < 100


def test_keys_pass_a_bridge_and_are_heard_on_the_way(studio: Studio, phones: list[Phone]) -> None:
    bridge(studio, phones, event_type=101)
    studio.direct(phones[1], 2, event_type=97)
    stamp = phones[0].timestamp
    for n in range(5):
        phones[0].raw(phones[0].event(7, FRAME * (n + 1), stamp, end=n == 4))
        studio.run(0.02)
    assert [(key.stream, key.digit) for key in studio.reports(reports.DigitHeard)] == [(1, "7")]
    events = [packet for packet in headers(phones[1].take()) if packet.payload_type == 97]
    assert len(events) == 5
    assert len({event.timestamp for event in events}) == 1
    assert [struct.unpack("!BBH", event.payload)[2] // FRAME for event in events] == [1, 2, 3, 4, 5]


def test_another_codec_is_transcoded(studio: Studio, phones: list[Phone]) -> None:
    phones[1].law = Law.PCMA
    bridge(studio, phones)
    first, second = talk(studio, phones[:2], [sine(500, 1), sine(900, 1)])
    assert_continuous(first)
    assert_continuous(second)
    assert {packet[1] & 0x7F for packet in second} == {Law.PCMA}
    for packets, law, own, other in ((first, Law.PCMU, 500, 900), (second, Law.PCMA, 900, 500)):
        sound = sound_of(packets, law)[8 * FRAME :]
        assert tone_power(sound, other) == pytest.approx(8000, rel=0.05)
        assert tone_power(sound, own) < 80


def test_a_new_codec_in_the_middle_of_a_bridge(studio: Studio, phones: list[Phone]) -> None:
    bridge(studio, phones)
    talk(studio, phones[:2], [sine(500, 0.2), sine(900, 0.2)])
    phones[1].law = Law.PCMA
    studio.direct(phones[1], 2)
    first, second = talk(studio, phones[:2], [sine(500, 1), sine(900, 1)])
    assert tone_power(sound_of(first)[10 * FRAME :], 900) == pytest.approx(8000, rel=0.05)
    assert tone_power(sound_of(second, Law.PCMA)[10 * FRAME :], 500) == pytest.approx(8000, rel=0.05)
    phones[1].law = Law.PCMU
    studio.direct(phones[1], 2)
    first, second = talk(studio, phones[:2], [sine(500, 1), sine(900, 1)])
    assert tone_power(sound_of(first)[10 * FRAME :], 900) == pytest.approx(8000, rel=0.05)
    assert tone_power(sound_of(second)[10 * FRAME :], 500) == pytest.approx(8000, rel=0.05)


def test_keys_pass_between_codecs(studio: Studio, phones: list[Phone]) -> None:
    phones[1].law = Law.PCMA
    bridge(studio, phones)
    stamp = phones[0].timestamp
    for n in range(5):
        phones[0].raw(phones[0].event(5, FRAME * (n + 1), stamp, end=n == 4))
        studio.run(0.02)
    studio.run(0.2)
    events = [packet for packet in headers(phones[1].take()) if packet.payload_type == 101]
    assert {bytes(event.payload)[0] for event in events} == {5}
    assert len({event.timestamp for event in events}) == 1


@pytest.mark.parametrize("law", [Law.PCMU, Law.PCMA])
def test_a_key_that_did_not_come_in_the_sound_is_pressed_at_the_other_end(
    studio: Studio, phones: list[Phone], law: Law
) -> None:
    """In one codec, where packets pass as they are, and between two; nobody is there, nothing is pressed."""
    studio.do(commands.PassKey(1, "1"))
    phones[1].law = law
    bridge(studio, phones)
    studio.do(commands.PassKey(1, "5"))
    first, second = talk(studio, phones[:2], [np.zeros(20 * FRAME)] * 2)
    events = [packet for packet in headers(second) if packet.payload_type == 101]
    assert {bytes(event.payload)[0] for event in events} == {5}
    assert len({event.timestamp for event in events}) == 1
    assert not [packet for packet in headers(first) if packet.payload_type == 101]


def test_who_leaves_a_bridge_leaves_the_other_one_in_peace(studio: Studio, phones: list[Phone]) -> None:
    bridge(studio, phones)
    talk(studio, phones[:2], [sine(500, 0.2), sine(900, 0.2)])
    studio.do(commands.Drop(2))
    studio.open.discard(2)
    packets = talk(studio, phones[:1], [sine(500, 0.4)])[0]
    assert len(packets) == pytest.approx(20, abs=2)
    assert rms(sound_of(packets)[2 * FRAME :]) < 10


def test_a_recorded_bridge_has_both_sides(studio: Studio, phones: list[Phone], tmp_path: Path) -> None:
    bridge(studio, phones)
    studio.do(commands.Record(1, 1, str(tmp_path / "leg.wav")))
    talk(studio, phones[:2], [sine(500, 1), sine(900, 1)])
    studio.do(commands.StopRecord(1, 1))
    studio.run(0.02)
    sound = read_wav(tmp_path / "leg.wav")[10 * FRAME : 45 * FRAME]
    for side, hertz, other in ((0, 500, 900), (1, 900, 500)):
        assert tone_power(sound[:, side], hertz) == pytest.approx(8000, rel=0.05)
        assert tone_power(sound[:, side], other) < 80


def test_one_who_is_relayed_elsewhere_is_not_relayed_here_any_more(studio: Studio, phones: list[Phone]) -> None:
    bridge(studio, phones)
    studio.connect(phones[2], 3)
    studio.do(commands.Relay(1, 3))
    _, second, third = talk(studio, phones[:3], [sine(500, 0.6), sine(900, 0.6), sine(1300, 0.6)])
    assert tone_power(sound_of(third)[5 * FRAME :], 500) > 7000
    assert rms(sound_of(second)[5 * FRAME :]) < 10


# --- rooms ------------------------------------------------------------------------------


def room(studio: Studio, phones: list[Phone], **rights: object) -> None:
    for stream, each in enumerate(phones, 1):
        studio.connect(each, stream)
    talk(studio, phones, [np.zeros(6 * FRAME)] * len(phones))
    for stream in range(1, len(phones) + 1):
        studio.do(commands.Join(stream, 7, **rights))


def test_members_of_a_room_hear_the_others_and_not_themselves(studio: Studio, phones: list[Phone]) -> None:
    room(studio, phones)
    hertz = [500, 700, 1100, 1700]
    heard = talk(studio, phones, [sine(each, 1, 4000) for each in hertz])
    for place, packets in enumerate(heard):
        assert_continuous(packets)
        sound = sound_of(packets)[10 * FRAME :]
        for other, tone_hertz in enumerate(hertz):
            expected = 0 if other == place else 4000
            assert tone_power(sound, tone_hertz) == pytest.approx(expected, abs=200)
    talking = studio.reports(reports.Talking)
    assert sorted(each.stream for each in talking if each.on) == [1, 2, 3, 4]


def test_rights_in_a_room(studio: Studio, phones: list[Phone]) -> None:
    room(studio, phones[:3])
    studio.do(commands.Join(1, 7, muted=True), commands.Join(2, 7, deaf=True))
    first, second, third = talk(studio, phones[:3], [sine(500, 1), sine(700, 1), sine(1100, 1)])
    sounds = [sound_of(packets)[10 * FRAME :] for packets in (first, second, third)]
    assert tone_power(sounds[0], 700) > 7000
    assert tone_power(sounds[0], 1100) > 7000
    assert rms(sounds[1]) < 10
    assert tone_power(sounds[2], 500) < 80
    assert tone_power(sounds[2], 700) > 7000


def test_a_prompt_is_heard_over_the_room(studio: Studio, phones: list[Phone], tone: Tone) -> None:
    room(studio, phones[:2])
    studio.do(commands.Play(1, 1, [tone(1500, 1.0)]))
    first, _ = talk(studio, phones[:2], [np.zeros(FRAME * 40), sine(700, 0.8)])
    sound = sound_of(first)[10 * FRAME :]
    assert tone_power(sound, 1500) > 7000
    assert tone_power(sound, 700) > 7000


def test_who_left_a_room_hears_it_no_more(studio: Studio, phones: list[Phone]) -> None:
    room(studio, phones[:3])
    talk(studio, phones[:3], [sine(500, 0.2), sine(700, 0.2), sine(1100, 0.2)])
    studio.do(commands.Leave(1))
    first, second, _ = talk(studio, phones[:3], [sine(500, 0.6), sine(700, 0.6), sine(1100, 0.6)])
    assert rms(sound_of(first)[5 * FRAME :]) < 10
    assert tone_power(sound_of(second)[5 * FRAME :], 500) < 80
    assert tone_power(sound_of(second)[5 * FRAME :], 1100) > 7000


def test_a_member_that_is_relayed_stays_in_its_room(studio: Studio, phones: list[Phone]) -> None:
    """Both at once: its packets go to the other one as well."""
    room(studio, phones[:2])
    studio.connect(phones[2], 3)
    studio.do(commands.Relay(1, 3))
    _, second, third = talk(studio, phones[:3], [sine(500, 0.6), sine(700, 0.6), sine(1100, 0.6)])
    assert tone_power(sound_of(second)[8 * FRAME :], 500) > 7000
    assert tone_power(sound_of(third)[5 * FRAME :], 500) > 7000


# --- other codecs -----------------------------------------------------------------------


def test_wideband_passes_a_bridge_untouched(studio: Studio, phones: list[Phone]) -> None:
    for stream, each in zip(PAIR, phones, strict=False):
        studio.connect(each, stream, payload_type=9, codec="G722")
    encoders = [codecs.G722.encoder(), codecs.G722.encoder()]
    time = np.arange(32000) / 16000
    sounds = [8000 * np.sin(2 * np.pi * hertz * time) for hertz in (5000, 6000)]
    studio.do(commands.Relay(1, 2), commands.Relay(2, 1))
    sent: list[list[bytes]] = [[], []]
    got: list[list[bytes]] = [[], []]
    for start in range(0, 32000, 320):
        for side, each in enumerate(phones[:2]):
            payload = encoders[side].encode(sounds[side][start : start + 320].astype(np.int16))
            each.raw(each.packet(payload, 9))
            each.timestamp += FRAME
            sent[side].append(payload)
        studio.run(0.02)
        for side, each in enumerate(phones[:2]):
            got[side] += [packet[12:] for packet in each.take() if packet[1] & 0x7F == 9]
    for side in (0, 1):
        assert got[side][-60:] == sent[1 - side][-61:-1] or got[side][-60:] == sent[1 - side][-60:]


def test_wideband_and_narrowband_in_one_room(studio: Studio, phones: list[Phone]) -> None:
    studio.connect(phones[0], 1, payload_type=9, codec="G722")
    studio.connect(phones[1], 2)
    encoder, decoder = codecs.G722.encoder(), codecs.G722.decoder(16000)
    wide = (8000 * np.sin(2 * np.pi * 500 * np.arange(16000) / 16000)).astype(np.int16)
    narrow = sine(900, 1)
    studio.do(commands.Join(1, 7), commands.Join(2, 7))
    got: list[list[bytes]] = [[], []]
    for frame in range(50):
        phones[0].raw(phones[0].packet(encoder.encode(wide[frame * 320 : (frame + 1) * 320]), 9))
        phones[0].timestamp += FRAME
        phones[1].raw(phones[1].sound(narrow[frame * FRAME : (frame + 1) * FRAME]))
        studio.run(0.02)
        for side in (0, 1):
            got[side] += phones[side].take()
    heard = np.concatenate([decoder.decode(packet[12:]) for packet in got[0]]).astype(float)[20 * 320 :]
    tone = 2 * abs(np.mean(heard * np.exp(-2j * np.pi * 900 * np.arange(len(heard)) / 16000)))
    assert tone == pytest.approx(8000, rel=0.1)
    assert tone_power(sound_of(got[1])[20 * FRAME :], 500) == pytest.approx(8000, rel=0.1)


def test_a_peer_that_sends_the_other_law_is_transcoded(studio: Studio, phones: list[Phone]) -> None:
    """Both laws were agreed on, and the peer changes at will: what goes on must be what it says it is."""
    bridge(studio, phones, other_payload_type=int(Law.PCMA))
    phones[0].law = Law.PCMA
    first, second = talk(studio, phones[:2], [sine(500, 1), sine(900, 1)])
    assert {packet[1] & 0x7F for packet in second} == {Law.PCMU}
    assert tone_power(sound_of(second)[15 * FRAME :], 500) == pytest.approx(8000, rel=0.05)
    assert tone_power(sound_of(first)[15 * FRAME :], 900) == pytest.approx(8000, rel=0.05)


# --- what may go wrong ------------------------------------------------------------------


@pytest.mark.parametrize("other", [0, 1])
def test_either_side_may_send_the_other_law_and_a_refresh_changes_nothing(
    studio: Studio, phones: list[Phone], other: int
) -> None:
    bridge(studio, phones, other_payload_type=int(Law.PCMA))
    phones[other].law = Law.PCMA
    for refreshed in (None, other, 1 - other):
        if refreshed is not None:
            studio.direct(phones[refreshed], PAIR[refreshed], payload_type=0, other_payload_type=int(Law.PCMA))
        first, second = talk(studio, phones[:2], [sine(500, 1), sine(900, 1)])
        assert tone_power(sound_of(second)[15 * FRAME :], 500) == pytest.approx(8000, rel=0.05)
        assert tone_power(sound_of(first)[15 * FRAME :], 900) == pytest.approx(8000, rel=0.05)


def test_no_packet_goes_on_under_the_wrong_payload_type(studio: Studio, phones: list[Phone]) -> None:
    """A peer that changes its law with every packet: silence stays silence."""
    bridge(studio, phones, other_payload_type=int(Law.PCMA))
    heard: list[bytes] = []
    for number in range(40):
        phones[0].law = Law.PCMA if number % 2 else Law.PCMU
        phones[0].raw(phones[0].sound(np.zeros(FRAME)))
        studio.run(0.02)
        heard += phones[1].take()
    assert {packet[1] & 0x7F for packet in heard} == {Law.PCMU}
    assert np.abs(sound_of(heard)).max() < 20


def test_time_never_goes_back_for_the_far_end(studio: Studio, phones: list[Phone]) -> None:
    """A source whose clock runs ahead, then a re-INVITE, another SSRC, another numbering, the end of the bridge."""
    bridge(studio, phones)
    heard: list[bytes] = []

    def speak(frames: int) -> None:
        for _ in range(frames):
            phones[0].raw(phones[0].sound(sine(500, 0.02)))
            studio.run(0.02)
        heard.extend(phones[1].take())

    speak(5)
    phones[0].timestamp += 30 * FRAME  # 600 ms ahead
    speak(5)
    studio.direct(phones[0], 1)
    speak(5)
    phones[0].ssrc, phones[0].sequence, phones[0].timestamp = 77, 9, 123456
    speak(5)
    phones[0].sequence, phones[0].timestamp = 40000, 2**31
    speak(5)
    studio.do(commands.Relay(1, 0))
    studio.run(0.2)
    heard += phones[1].take()
    heads = headers(heard)
    assert len(heads) > 25
    for one, two in itertools.pairwise(heads):
        assert 0 < rtp.sequence_delta(two.sequence, one.sequence) <= 3
        assert 0 < rtp.timestamp_delta(two.timestamp, one.timestamp) <= 40 * FRAME


@pytest.mark.parametrize("ptime", [30, 40])
def test_time_goes_on_after_a_bridge_also_for_long_packets(studio: Studio, phones: list[Phone], ptime: int) -> None:
    bridge(studio, phones, ptime=ptime)
    for _ in range(10):
        phones[0].raw(phones[0].sound(sine(500, ptime / 1000)))
        studio.run(ptime / 1000)
    studio.do(commands.Relay(1, 0))
    studio.run(0.5)
    heads = headers(phones[1].take())[1:]
    for one, two in itertools.pairwise(heads):
        assert rtp.sequence_delta(two.sequence, one.sequence) == 1
        assert rtp.timestamp_delta(two.timestamp, one.timestamp) >= 8 * ptime


def test_hold_is_kept_by_bridges(studio: Studio, phones: list[Phone]) -> None:
    """Nothing goes to a leg that may not be sent to; the partner of a held leg hears silence, and sound after it."""
    bridge(studio, phones)
    studio.direct(phones[0], 1, send=False, receive=False)
    first, second = talk(studio, phones[:2], [sine(500, 0.5), sine(900, 0.5)])
    assert first[2:] == []
    assert len(second) == pytest.approx(25, abs=2)
    assert rms(sound_of(second)[3 * FRAME :]) < 10
    studio.direct(phones[0], 1)
    first, second = talk(studio, phones[:2], [sine(500, 0.8), sine(900, 0.8)])
    assert tone_power(sound_of(first)[10 * FRAME :], 900) == pytest.approx(8000, rel=0.05)
    assert tone_power(sound_of(second)[10 * FRAME :], 500) == pytest.approx(8000, rel=0.05)


def test_a_flood_of_keys_is_bounded_and_ends_with_the_bridge(studio: Studio, phones: list[Phone]) -> None:
    bridge(studio, phones)
    for number in range(300):
        event = phones[0].event(number % 10, FRAME, phones[0].timestamp + 4 * FRAME * number)
        phones[0].raw(event[:8] + b"\0\0\0\7" + event[12:])  # a source of its own, as some gateways have it
        studio.run(0.005)
    studio.do(commands.Relay(1, 0))
    studio.run(0.3)
    phones[1].take()
    studio.run(1.0)
    assert {packet[1] & 0x7F for packet in phones[1].take()} == {Law.PCMU}


def test_keys_become_tones_where_events_were_not_agreed_on(studio: Studio, phones: list[Phone]) -> None:
    bridge(studio, phones)
    studio.direct(phones[1], 2, event_type=-1)
    stamp = phones[0].timestamp
    for n in range(5):
        phones[0].raw(phones[0].event(5, FRAME * (n + 1), stamp, end=n == 4))
        studio.run(0.02)
    studio.run(0.2)
    came = phones[1].take()
    sound = sound_of(came)
    assert tone_power(sound[-len(sound) // 2 :], 770) + tone_power(sound, 770) > 1000
    assert all(rtp.sequence_delta(two.sequence, one.sequence) == 1 for one, two in itertools.pairwise(headers(came)))


def test_talking_is_told_of_who_talked(studio: Studio, phones: list[Phone]) -> None:
    room(studio, phones[:2])
    talk(studio, phones[:2], [sine(500, 0.3), np.zeros(15 * FRAME)])
    studio.do(commands.Leave(1), commands.Leave(2), commands.Drop(1))
    studio.open.discard(1)
    studio.connect(phones[2], 9)
    studio.run(0.5)
    studio.do(commands.Join(9, 7))
    studio.run(0.5)
    assert [(each.stream, each.on) for each in studio.reports(reports.Talking)] == [(1, True), (1, False)]
