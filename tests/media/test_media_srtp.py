"""Encrypted streams (RFC 3711): vectors, keys, repetitions, roll-over, RTCP, relays, on both ways of moving packets."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from media_studio import Phone, Studio, rms, samples_of, sine, tone_power
from pylibsrtp import Policy, Session

from media import commands, reports, rtcp
from media.rates import FRAME
from media.srtp import NotSealed, Shield

EIGHTY, THIRTY_TWO = "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"
# RFC 3711 appendix B.3: a master key and salt, and the keys that are made of them.
MASTER = bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6")
CIPHER_KEY = bytes.fromhex("C61E7A93744F39EE10734AFE3FF7A087")
SALT = int("30CBBC08863D8C85D49DB34A9AE1", 16)
AUTH_KEY = bytes.fromhex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
OTHER = bytes(range(30))


def sealed_by_hand(packet: bytes, index: int, tag: int) -> bytes:
    """RFC 3711 sections 4.1.1 and 4.2, by the session keys of appendix B.3."""
    ssrc = int.from_bytes(packet[8:12], "big")
    counter = SALT << 16 ^ ssrc << 64 ^ index << 16
    stream = Cipher(algorithms.AES(CIPHER_KEY), modes.CTR(counter.to_bytes(16, "big"))).encryptor()
    body = packet[:12] + stream.update(packet[12:])
    mac = hmac.HMAC(AUTH_KEY, hashes.SHA1())
    mac.update(body + struct.pack("!I", index >> 16))
    return body + mac.finalize()[:tag]


def rtp_packet(sequence: int, payload: bytes = b"\xab" * 16, ssrc: int = 0xCAFEBABE) -> bytes:
    return struct.pack("!BBHII", 0x80, 0x0F, sequence & 0xFFFF, 0xDECAFBAD, ssrc) + payload


def test_appendix_b_2_the_keystream() -> None:
    """AES in counter mode with the session key and salt of the appendix gives its keystream."""
    key = bytes.fromhex("2B7E151628AED2A6ABF7158809CF4F3C")
    start = int("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000", 16)
    stream = Cipher(algorithms.AES(key), modes.CTR(start.to_bytes(16, "big"))).encryptor().update(bytes(48))
    assert stream.hex().upper() == (
        "E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB41E95B3BB0A2E8DD477901E4FCA894C0"
    )


@pytest.mark.parametrize(("suite", "tag"), [(EIGHTY, 10), (THIRTY_TWO, 4)])
def test_packets_are_sealed_by_the_keys_of_appendix_b_3(suite: str, tag: int) -> None:
    shield = Shield(commands.Srtp(suite, MASTER, MASTER))
    packet = rtp_packet(0x1234)
    assert shield.seal(packet) == sealed_by_hand(packet, 0x1234, tag)
    assert shield.open(sealed_by_hand(packet, 0x1234, tag), control=False) == packet


def test_a_packet_of_libsrtps_own_test() -> None:
    expected = "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb"
    assert Shield(commands.Srtp(EIGHTY, MASTER, OTHER)).seal(rtp_packet(0x1234)).hex() == expected


def test_the_roll_over_counter_goes_up_with_the_numbers_and_outlives_a_new_agreement() -> None:
    shield = Shield(commands.Srtp(EIGHTY, MASTER, MASTER))
    for index in range(0xFFFE, 0x10003):
        packet = rtp_packet(index)
        assert shield.seal(packet) == sealed_by_hand(packet, index, 10)
        assert shield.open(sealed_by_hand(packet, index, 10), control=False) == packet
        shield.rekey(commands.Srtp(EIGHTY, MASTER, MASTER))
    late = rtp_packet(0xFFF0)
    assert shield.open(sealed_by_hand(late, 0xFFF0, 10), control=False) == late, "from before the roll-over"


def test_repetitions_forgeries_and_wrong_keys_are_counted_apart() -> None:
    sender, shield = Shield(commands.Srtp(EIGHTY, MASTER, OTHER)), Shield(commands.Srtp(EIGHTY, OTHER, MASTER))
    packet = sender.seal(rtp_packet(1))
    assert shield.open(packet, control=False) is not None
    assert shield.open(packet, control=False) is None
    assert (shield.repeated, shield.refused) == (1, 0)
    forged = bytearray(sender.seal(rtp_packet(2)))
    forged[20] ^= 1
    for junk in (bytes(forged), rtp_packet(3), b"", b"\x80", bytes(1500), b"\x80\xc8" + bytes(60)):
        assert shield.open(junk, control=False) is None
        assert shield.open(junk, control=True) is None
    assert (shield.repeated, shield.refused) == (1, 12)
    shield.rekey(commands.Srtp(EIGHTY, OTHER, OTHER))
    assert shield.open(sender.seal(rtp_packet(4)), control=False) is None


def test_a_number_is_not_used_twice_under_one_key() -> None:
    shield = Shield(commands.Srtp(EIGHTY, MASTER, OTHER))
    shield.seal(rtp_packet(7))
    with pytest.raises(NotSealed):
        shield.seal(rtp_packet(7, b"other"))
    with pytest.raises(NotSealed):
        shield.seal(rtp_packet(8, bytes(3000)))


@pytest.mark.parametrize(("suite", "key"), [("F8_128_HMAC_SHA1_80", MASTER), (EIGHTY, MASTER[:16])])
def test_keys_that_are_none_are_refused(suite: str, key: bytes) -> None:
    with pytest.raises(ValueError, match=r"suite|key"):
        Shield(commands.Srtp(suite, key, key))


def test_keys_are_not_shown() -> None:
    assert repr(MASTER) not in repr(commands.Direct(1, "h", 1, 1, 0, srtp=commands.Srtp(EIGHTY, MASTER, OTHER)))


# --- in the plane -----------------------------------------------------------------------


class SecurePhone(Phone):
    """A phone that encrypts with libsrtp itself; ``ours`` is its key, ``theirs`` that of the plane."""

    def __init__(self, ours: bytes, theirs: bytes) -> None:
        super().__init__()
        self.out = Session(Policy(ours, Policy.SSRC_ANY_OUTBOUND))
        self.into = Session(Policy(theirs, Policy.SSRC_ANY_INBOUND))

    def raw(self, data: bytes) -> None:
        super().raw(self.out.protect(data))

    def take(self) -> list[bytes]:
        return [self.into.unprotect(packet) for packet in super().take()]

    def take_control(self) -> list[bytes]:
        return [self.into.unprotect_rtcp(packet) for packet in super().take_control()]


@pytest.fixture
def secure() -> Iterator[SecurePhone]:
    phone = SecurePhone(OTHER, MASTER)
    yield phone
    phone.close()


KEYS = commands.Srtp(EIGHTY, MASTER, OTHER)


def sound_of(packets: list[bytes]) -> np.ndarray:
    return np.concatenate([samples_of(packet) for packet in packets if packet[1] & 0x7F == 0])


def test_sound_both_ways_and_rtcp(studio: Studio, secure: SecurePhone, tone: object) -> None:
    studio.connect(secure, srtp=KEYS)
    studio.do(commands.Play(1, 1, [tone(440, 2.0)]))  # type: ignore[operator]
    came = studio.talk(secure, sine(700, 1.0))
    secure.sock.sendto(secure.out.protect_rtcp(rtcp.report(secure.ssrc, sender=None, about=None, cname="x")),
                       (secure.host, secure.to))  # fmt: skip
    studio.run(6.0)
    assert tone_power(sound_of(came)[1600:], 440) > 4000
    assert len(secure.take_control()) >= 1, "reports that the phone could decrypt"
    studio.do(commands.Drop(1))
    stats = studio.last(reports.Closed).stats
    studio.open.clear()
    assert (stats.received, stats.not_decrypted, stats.malformed, stats.foreign) == (50, 0, 0, 0)


def test_plain_packets_and_wrong_keys_are_not_heard_and_move_nothing(studio: Studio, secure: SecurePhone) -> None:
    studio.connect(secure, srtp=KEYS)
    plain, wrong = Phone(), SecurePhone(MASTER, MASTER)
    for intruder in (plain, wrong):
        intruder.to = secure.to
        studio.talk(intruder, sine(900, 0.3))
    studio.talk(secure, sine(700, 0.5))
    studio.talk(plain, sine(900, 0.2))
    assert not plain.take()
    assert not Phone.take(wrong)
    studio.do(commands.Drop(1))
    stats = studio.last(reports.Closed).stats
    studio.open.clear()
    assert (stats.received, stats.foreign) == (25, 0)
    assert stats.not_decrypted == 30, "later ones do not get past the kernel: the stream has latched"
    plain.close()
    wrong.close()


def test_repeated_packets_are_counted_as_such(studio: Studio, secure: SecurePhone) -> None:
    studio.connect(secure, srtp=KEYS)
    for _ in range(20):
        packet = secure.out.protect(secure.sound(sine(700, 0.02)))
        for _ in range(2):
            secure.sock.sendto(packet, (secure.host, secure.to))
        studio.run(0.02)
    studio.do(commands.Drop(1))
    stats = studio.last(reports.Closed).stats
    studio.open.clear()
    assert (stats.received, stats.not_decrypted) == (20, 0)
    assert stats.duplicated == 19, "what lay behind the packet that the stream latched on was thrown away"


def test_a_relay_decrypts_and_encrypts(studio: Studio, secure: SecurePhone) -> None:
    plain = Phone()
    studio.connect(secure, 1, srtp=KEYS)
    studio.connect(plain, 2)
    both = (secure, plain)
    for phone in both:
        studio.talk(phone, np.zeros(6 * FRAME))
    studio.do(commands.Relay(1, 2), commands.Relay(2, 1))
    for phone in both:
        phone.take()
    got: dict[Phone, list[bytes]] = {secure: [], plain: []}
    first, second = sine(600, 1.0), sine(900, 1.0)
    for start in range(0, first.size, FRAME):
        secure.raw(secure.sound(first[start : start + FRAME]))
        plain.raw(plain.sound(second[start : start + FRAME]))
        studio.run(0.02)
        for phone in both:
            got[phone] += phone.take()
    assert tone_power(sound_of(got[secure])[800:], 900) > 0.8 * 8000
    assert tone_power(sound_of(got[plain])[800:], 600) > 0.8 * 8000
    plain.close()


def test_keys_of_telephones_pass_as_events(studio: Studio, secure: SecurePhone) -> None:
    studio.connect(secure, srtp=KEYS)
    studio.talk(secure, np.zeros(5 * FRAME))
    for duration in (160, 320, 480):
        secure.raw(secure.event(5, duration, 99_000, end=duration == 480))
        studio.run(0.02)
    assert [report.digit for report in studio.reports(reports.DigitHeard)] == ["5"]
    studio.do(commands.SendDigits(1, "7"))
    studio.run(0.3)
    assert any(packet[1] & 0x7F == 101 and packet[12] == 7 for packet in secure.take())


def test_encryption_ends_and_begins_with_an_agreement(studio: Studio, secure: SecurePhone) -> None:
    studio.connect(secure)
    assert rms(sound_of(talk_plainly(studio, secure, np.zeros(5 * FRAME)))) < 10
    studio.direct(secure, srtp=KEYS)
    assert len(studio.talk(secure, np.zeros(5 * FRAME))) >= 4
    studio.direct(secure)
    assert len(talk_plainly(studio, secure, np.zeros(5 * FRAME))) >= 4


def talk_plainly(studio: Studio, phone: SecurePhone, sound: np.ndarray) -> list[bytes]:
    """What came back, as it is."""
    came: list[bytes] = []
    for start in range(0, sound.size, FRAME):
        Phone.raw(phone, phone.sound(sound[start : start + FRAME]))
        studio.run(0.02)
        came += Phone.take(phone)
    return came
